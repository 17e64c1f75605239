/* The trail's pieces as they come: what goes on in order is one run, what does not begins another.
 */
#include <stdarg.h>

#include "service/watch/prove_private.h"

void prove_tell(struct proof *p, const struct prove_finding *f, const char *format, ...)
{
    struct prove_finding told = *f;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(told.text, sizeof told.text, format, args);
    va_end(args);
    if (prove_kind_is_bad(told.kind)) {
        p->report.bad++;
    } else {
        p->report.notes++;
    }
    if (p->setup->found != NULL) {
        p->setup->found(p->setup->ctx, &told);
    }
}

static void add(struct proof *p, struct buf *list, const void *one, size_t size)
{
    enum err err = buf_append(list, slice_of(one, size), PROVE_PLACES_MAX * size);
    if (err == ERR_TOO_LARGE) {
        p->is_shredded = true;
    } else if (p->err == OK) {
        p->err = err;
    }
}

/* ---- keys ---- */

static void note_key(struct proof *p, const uint8_t key[ED25519_PUBLIC_BYTES], uint64_t seq)
{
    for (size_t i = 0; i < p->n_keys; i++) {
        struct prove_key *k = &p->keys[i];
        if (memcmp(k->key, key, sizeof k->key) == 0) {
            k->first = seq < k->first ? seq : k->first;
            k->last = seq > k->last ? seq : k->last;
            return;
        }
    }
    if (p->n_keys == PROVE_KEYS_MAX) {
        p->is_shredded = true;
        return;
    }
    struct prove_key *k = &p->keys[p->n_keys++];
    memcpy(k->key, key, sizeof k->key);
    k->first = k->last = seq;
}

static void note_roll(struct proof *p, const struct chain_checkpoint *c, uint64_t seq)
{
    if (memcmp(c->key, c->next_key, sizeof c->key) == 0) {
        return;
    }
    if (p->n_rolls == PROVE_KEYS_MAX) {
        p->is_shredded = true;
        return;
    }
    struct prove_roll *r = &p->rolls[p->n_rolls++];
    memcpy(r->from, c->key, sizeof r->from);
    memcpy(r->to, c->next_key, sizeof r->to);
    r->seq = seq;
}

/* ---- entries ---- */

static void take_checkpoint(struct proof *p, const struct trail_piece *piece,
                            const struct chain_entry *e)
{
    struct chain_checkpoint c;
    struct prove_finding bad = {.kind = PROVE_rewritten,
                                .file = piece->file,
                                .offset = piece->offset,
                                .bytes = piece->bytes,
                                .first = e->seq,
                                .last = e->seq,
                                .after_ms = e->wall_ms,
                                .before_ms = e->wall_ms};
    enum err err = chain_checkpoint_decode(e->body, &c);
    if (err == OK) {
        err = chain_checkpoint_verify(&c, e);
    }
    if (err == ERR_NOMEM) {
        p->err = err;
    } else if (err != OK) {
        prove_tell(p, &bad, "checkpoint %llu is not signed by the key it names",
                   (unsigned long long)e->seq);
    }
    if (err != OK) {
        return;
    }
    p->report.checkpoints++;
    note_key(p, c.key, e->seq);
    note_roll(p, &c, e->seq);
    if (c.torn_bytes > 0) {
        struct prove_torn t = {c.torn_file, c.torn_at, c.torn_bytes, e->seq, e->wall_ms};
        add(p, &p->torns, &t, sizeof t);
    }
    if (p->newest_seq > 0 && memcmp(c.trail, p->newest.trail, sizeof c.trail) != 0) {
        prove_tell(p, &bad, "checkpoint %llu is of another trail", (unsigned long long)e->seq);
        return;
    }
    if (c.reason == CHAIN_REASON_begin) {
        p->begin = c;
        p->begin_seq = e->seq;
    }
    if (e->seq >= p->newest_seq) {
        p->newest = c;
        p->newest_seq = e->seq;
    }
    p->last_reason = c.reason;
}

static void match_anchors(struct proof *p, uint64_t seq, const struct digest *head)
{
    for (size_t i = 0; i < p->n_anchors; i++) {
        struct prove_anchor *a = &p->anchors[i];
        if (a->a.count == seq) {
            a->is_seen = true;
            a->is_same = a->is_same || slice_equal(digest_slice(head), digest_slice(&a->a.head));
        }
    }
}

static bool was_there(const struct proof *p, uint64_t seq)
{
    for (size_t i = 0; i < prove_n_runs(p); i++) {
        const struct prove_run *r = prove_run_at(p, i);
        if (!r->is_copy && r->first <= seq && seq <= r->last) {
            return true;
        }
    }
    return false;
}

static void take_entry(struct proof *p, const struct trail_piece *piece)
{
    struct chain_entry e;
    struct digest leaf, head;
    enum err err = chain_entry_decode(piece->plain, &e);
    if (err == OK) {
        err = chain_leaf(piece->plain, &leaf);
    }
    if (err == OK) {
        err = chain_head(&e.prev, &leaf, &head);
    }
    if (err != OK) { /* sealed by somebody who has the key and writes something else */
        struct prove_finding bad = {.kind = PROVE_rewritten,
                                    .file = piece->file,
                                    .offset = piece->offset,
                                    .bytes = piece->bytes};
        prove_tell(p, &bad, "a record that is no entry of the chain");
        p->is_broken = true;
        return;
    }
    size_t n = prove_n_runs(p);
    struct prove_run *run = n > 0 ? prove_run_at(p, n - 1) : NULL;
    bool goes_on = run != NULL && !p->is_broken && e.seq == run->last + 1 &&
                   slice_equal(digest_slice(&e.prev), digest_slice(&run->last_head));
    bool is_copy = (!goes_on || run->is_copy) && was_there(p, e.seq);
    goes_on = goes_on && is_copy == run->is_copy;
    match_anchors(p, e.seq, &head);
    p->report.records++;
    p->last_reason = CHAIN_REASON_none;
    if (e.kind == CHAIN_CHECKPOINT) {
        take_checkpoint(p, piece, &e);
    }
    if (!goes_on) {
        struct prove_run next = {
            .first = e.seq,
            .first_prev = e.prev,
            .first_ms = e.wall_ms,
            .file = piece->file,
            .offset = piece->offset,
            .written = {piece->written_file, piece->written_offset},
            .at = n,
            .begins_checked = e.kind == CHAIN_CHECKPOINT,
            .is_swapped = p->swapped_file == piece->file,
            .is_copy = is_copy,
        };
        add(p, &p->runs, &next, sizeof next);
        if (prove_n_runs(p) == n) {
            return;
        }
        run = prove_run_at(p, n);
        p->is_broken = false;
    }
    run->last = e.seq;
    run->last_head = head;
    run->last_ms = e.wall_ms;
    run->end_file = piece->file;
    run->end_offset = piece->offset + piece->bytes;
}

/* ---- files, heads, the rest ---- */

static void take_file(struct proof *p, const struct trail_piece *piece)
{
    p->report.files++;
    p->first_file = p->first_file == 0 ? piece->file : p->first_file;
    p->last_file = piece->file;
    p->is_broken = p->is_broken || p->swapped_file != 0;
    p->swapped_file = 0;
}

static void take_head(struct proof *p, const struct trail_piece *piece)
{
    if (piece->written_file == piece->file || p->swapped_file == piece->file) {
        return;
    }
    char name[TRAIL_NAME_BYTES];
    char other[TRAIL_NAME_BYTES];
    trail_name(piece->file, name);
    trail_name(piece->written_file, other);
    struct prove_finding f = {.kind = PROVE_swapped, .file = piece->file};
    prove_tell(p, &f, "%s is what was written as %s", name, other);
    p->swapped_file = piece->file;
    p->is_broken = true;
}

static void take_line(struct proof *p, const struct trail_piece *piece)
{
    if (prove_n_runs(p) == 0) {
        enum err err = trail_older_add(&p->older, piece->plain);
        p->err = p->err == OK ? err : p->err;
        p->report.older_lines++;
        return;
    }
    if (!p->has_unchained) {
        struct prove_finding f = {
            .kind = PROVE_unchained, .file = piece->file, .offset = piece->offset};
        prove_tell(p, &f,
                   "lines without a chain stand behind its beginning: an older version "
                   "wrote here, or somebody who has the keys");
    }
    p->has_unchained = true;
}

void prove_piece(void *ctx, const struct trail_piece *piece)
{
    struct proof *p = ctx;
    if (p->err != OK || p->is_shredded) {
        return;
    }
    switch (piece->kind) {
    case TRAIL_PIECE_FILE:
        take_file(p, piece);
        break;
    case TRAIL_PIECE_HEAD:
        take_head(p, piece);
        break;
    case TRAIL_PIECE_LINE:
        take_line(p, piece);
        break;
    case TRAIL_PIECE_END:
        break;
    case TRAIL_PIECE_ENTRY:
        take_entry(p, piece);
        break;
    case TRAIL_PIECE_BAD: {
        struct prove_bad bad = {.file = piece->file,
                                .offset = piece->offset,
                                .bytes = piece->bytes,
                                .is_torn = piece->is_torn,
                                .is_last = piece->is_last,
                                .before = prove_n_runs(p)};
        add(p, &p->bads, &bad, sizeof bad);
        p->is_broken = true;
        break;
    }
    }
}

/* The judgement: runs put in order of their numbers, and what is between them. */
#include "service/watch/prove.h"

#include <stdlib.h>

#include "base/mem.h"
#include "service/watch/prove_private.h"

static const struct {
    const char *name, *meaning;
    bool is_bad;
} kinds[PROVE_KIND_COUNT] = {
#define X(name, is_bad, meaning) [PROVE_##name] = {#name, meaning, is_bad},
    PROVE_KINDS(X)
#undef X
};

const char *prove_kind_name(enum prove_kind k)
{
    return kinds[k].name;
}

bool prove_kind_is_bad(enum prove_kind k)
{
    return kinds[k].is_bad;
}

const char *prove_kind_meaning(enum prove_kind k)
{
    return kinds[k].meaning;
}

static void proof_done(struct proof *p)
{
    buf_done(&p->runs);
    buf_done(&p->bads);
    buf_done(&p->torns);
}

static size_t n_bads(const struct proof *p)
{
    return p->bads.n / sizeof(struct prove_bad);
}

static struct prove_bad *bad_at(const struct proof *p, size_t i)
{
    return (struct prove_bad *)(void *)p->bads.p + i;
}

typedef unsigned long long ull;

/* ---- what a crash explains ---- */

static const struct prove_torn *explained(const struct proof *p, const struct prove_bad *b)
{
    const struct prove_torn *all = (const struct prove_torn *)(const void *)p->torns.p;
    for (size_t i = 0; i < p->torns.n / sizeof *all; i++) {
        if (all[i].file == b->file && b->offset >= all[i].at &&
            b->offset + b->bytes <= all[i].at + all[i].bytes) {
            return &all[i];
        }
    }
    return NULL;
}

static void judge_torn(struct proof *p)
{
    for (size_t i = 0; i < n_bads(p); i++) {
        struct prove_bad *b = bad_at(p, i);
        const struct prove_torn *t = b->is_torn ? explained(p, b) : NULL;
        bool is_end = b->is_torn && b->is_last && b->file == p->last_file;
        bool is_older = b->is_torn && b->before == 0 && p->report.older_lines > 0;
        struct prove_finding f = {
            .kind = PROVE_crash, .file = b->file, .offset = b->offset, .bytes = b->bytes};
        if (t != NULL) {
            f.first = f.last = t->seq;
            f.before_ms = t->wall_ms;
            prove_tell(p, &f,
                       "half a record: the daemon was killed, or a write failed; checkpoint "
                       "%llu, which went on behind it, says so",
                       (ull)t->seq);
        } else if (is_end || is_older) {
            prove_tell(p, &f,
                       "half a record at the end: the daemon writes right now, or was killed "
                       "and has not started again");
        }
        b->is_told = t != NULL || is_end || is_older;
    }
}

/* ---- order ---- */

/* The runs that are in order: of all rising sequences the one with most records. */
static enum err find_order(struct proof *p)
{
    size_t n = prove_n_runs(p);
    AUTO(buf_done) struct buf memory = {0};
    uint8_t *room;
    TRY(buf_room(&memory, n * 2 * sizeof(uint64_t) + 1, SIZE_MAX, &room));
    uint64_t *weight = (uint64_t *)(void *)room; /* of the best sequence that ends here */
    uint64_t *from = weight + n;                 /* the run before it there; n: none */
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        const struct prove_run *r = prove_run_at(p, i);
        bool is_apart = r->is_swapped || r->is_copy;
        weight[i] = is_apart ? 0 : r->last - r->first + 1;
        from[i] = n;
        for (size_t k = 0; k < i && !is_apart; k++) {
            const struct prove_run *b = prove_run_at(p, k);
            uint64_t sum = weight[k] + (r->last - r->first + 1);
            if (weight[k] > 0 && b->last < r->first && sum > weight[i]) {
                weight[i] = sum;
                from[i] = k;
            }
        }
        if (!is_apart && (best == n || weight[i] > weight[best])) {
            best = i;
        }
    }
    for (size_t i = 0; i < n; i++) {
        prove_run_at(p, i)->is_moved = weight[i] > 0;
    }
    for (; best < n; best = (size_t)from[best]) {
        prove_run_at(p, best)->is_moved = false;
    }
    return OK;
}

static void judge_moved(struct proof *p)
{
    for (size_t i = 0; i < prove_n_runs(p); i++) {
        const struct prove_run *r = prove_run_at(p, i);
        if (!r->is_moved && !r->is_copy) {
            continue;
        }
        struct prove_finding f = {.kind = r->is_copy ? PROVE_inserted : PROVE_reordered,
                                  .file = r->file,
                                  .offset = r->offset,
                                  .bytes = r->end_file == r->file ? r->end_offset - r->offset : 0,
                                  .first = r->first,
                                  .last = r->last,
                                  .after_ms = r->first_ms,
                                  .before_ms = r->last_ms};
        uint64_t behind = i > 0 ? prove_run_at(p, i - 1)->last : 0;
        prove_tell(p, &f, "records %llu to %llu stand behind record %llu%s", (ull)r->first,
                   (ull)r->last, (ull)behind,
                   f.kind == PROVE_inserted ? ", a second time" : ", where they were not written");
    }
}

static int by_number(const void *a, const void *b)
{
    const struct prove_run *x = a;
    const struct prove_run *y = b;
    return x->first != y->first ? (x->first < y->first ? -1 : 1) : x->at < y->at ? -1 : 1;
}

/* ---- what is missing ---- */

/* The bytes that do not verify in front of this run, and nobody has spoken of; *f has their place
 * then. Several are told as one. *ret_is_cut: they are the half of a record that a cut left. */
static bool take_bads(struct proof *p, size_t before, struct prove_finding *f, bool *ret_is_cut)
{
    bool any = false;
    *ret_is_cut = true;
    for (size_t i = 0; i < n_bads(p); i++) {
        struct prove_bad *b = bad_at(p, i);
        if (b->before != before || b->is_told) {
            continue;
        }
        if (!any) {
            f->file = b->file;
            f->offset = b->offset;
            f->bytes = 0;
        }
        f->bytes += b->bytes;
        *ret_is_cut = *ret_is_cut && b->is_torn && b->is_last;
        b->is_told = true;
        any = true;
    }
    return any;
}

static void judge_gap(struct proof *p, const struct prove_run *a, const struct prove_run *b)
{
    struct prove_finding f = {.kind = PROVE_edited,
                              .first = a->last + 1,
                              .last = b->first - 1,
                              .after_ms = a->last_ms,
                              .before_ms = b->first_ms};
    char name[TRAIL_NAME_BYTES];
    bool is_cut;
    bool has_bads = take_bads(p, b->at, &f, &is_cut);
    trail_name(f.file, name);
    if (has_bads && is_cut) {
        f.kind = PROVE_deleted;
        prove_tell(p, &f, "records %llu to %llu are gone: %s was cut off in the middle of a record",
                   (ull)f.first, (ull)f.last, name);
        return;
    }
    if (has_bads) {
        prove_tell(p, &f,
                   "records %llu to %llu do not verify: %llu bytes of %s from byte %llu on "
                   "were changed, or written over",
                   (ull)f.first, (ull)f.last, (ull)f.bytes, name, (ull)f.offset);
        return;
    }
    f.kind = PROVE_deleted;
    f.file = a->end_file;
    f.offset = a->end_offset;
    trail_name(a->end_file, name);
    if (b->file > a->end_file + 1) {
        f.file = a->end_file + 1;
        f.offset = 0;
        prove_tell(p, &f, "records %llu to %llu are gone: %u files behind %s are not there",
                   (ull)f.first, (ull)f.last, (unsigned)(b->file - a->end_file - 1), name);
        return;
    }
    prove_tell(p, &f, "records %llu to %llu are gone from %s, byte %llu", (ull)f.first, (ull)f.last,
               name, (ull)f.offset);
}

static void judge_joint(struct proof *p, const struct prove_run *a, const struct prove_run *b)
{
    struct prove_finding f = {.kind = PROVE_rewritten,
                              .file = b->file,
                              .offset = b->offset,
                              .first = a->last,
                              .last = b->first,
                              .after_ms = a->last_ms,
                              .before_ms = b->first_ms};
    if (!slice_equal(digest_slice(&a->last_head), digest_slice(&b->first_prev))) {
        prove_tell(p, &f,
                   "record %llu is not the one that record %llu was written behind: one of "
                   "them was made anew by somebody who has the keys",
                   (ull)a->last, (ull)b->first);
        return;
    }
    bool is_cut;
    if (!take_bads(p, b->at, &f, &is_cut)) {
        return;
    }
    uint64_t shift_a = a->offset - a->written.offset;
    uint64_t shift_b = b->offset - b->written.offset;
    f.kind = shift_a != shift_b && a->file == b->file ? PROVE_inserted : PROVE_edited;
    f.first = a->last;
    f.last = b->first;
    prove_tell(p, &f,
               "%llu bytes between records %llu and %llu are not what was written; no record "
               "is missing",
               (ull)f.bytes, (ull)a->last, (ull)b->first);
}

static void judge_front(struct proof *p, const struct prove_run *r)
{
    struct prove_finding f = {.kind = PROVE_deleted,
                              .file = r->file,
                              .last = r->first - 1,
                              .first = r->first > 1 ? 1 : 0,
                              .before_ms = r->first_ms};
    uint32_t oldest = p->newest_seq > 0 ? p->newest.oldest_file : p->first_file;
    bool is_cut;
    bool has_bads = take_bads(p, r->at, &f, &is_cut);
    if (p->first_file > oldest) {
        f.file = oldest;
        f.offset = f.bytes = 0;
        prove_tell(p, &f,
                   "records before %llu are gone: the files from %x to %x are not there, and "
                   "nobody had forgotten them",
                   (ull)r->first, (unsigned)oldest, (unsigned)(p->first_file - 1));
    } else if (has_bads) {
        f.kind = is_cut ? PROVE_deleted : PROVE_edited;
        f.first = p->first_file == 1 && r->first > 1 ? 1 : 0; /* others forgot what is before */
        prove_tell(p, &f, "%llu bytes in front of record %llu do not verify, the first that does",
                   (ull)f.bytes, (ull)r->first);
    } else if (r->first > 1 && (!r->begins_checked || r->written.offset != r->offset)) {
        prove_tell(p, &f, "records before %llu are gone from the front", (ull)r->first);
    } else if (r->first > 1 && r->first == p->begin_seq) {
        prove_tell(p, &f,
                   "records 1 to %llu are gone: the daemon found none of them when it began "
                   "anew",
                   (ull)(r->first - 1));
    } else if (r->first > 1) {
        f.kind = PROVE_forgotten;
        prove_tell(p, &f, "records 1 to %llu were in files that were forgotten in order",
                   (ull)(r->first - 1));
    }
}

static uint64_t newest_known(const struct proof *p)
{
    uint64_t count = 0;
    for (size_t i = 0; i < p->n_anchors; i++) {
        const struct prove_anchor *a = &p->anchors[i];
        bool is_ours =
            p->newest_seq == 0 || memcmp(a->a.trail, p->newest.trail, sizeof a->a.trail) == 0;
        if (a->is_good && is_ours && a->a.count > count) {
            count = a->a.count;
        }
    }
    return count;
}

static void judge_end(struct proof *p, const struct prove_run *r)
{
    uint64_t last = r != NULL ? r->last : 0;
    uint64_t known = newest_known(p);
    struct prove_finding f = {.kind = PROVE_edited,
                              .first = known > last ? last + 1 : 0,
                              .last = known > last ? known : 0,
                              .after_ms = r != NULL ? r->last_ms : 0};
    bool is_cut;
    if (take_bads(p, prove_n_runs(p), &f, &is_cut)) {
        prove_tell(p, &f,
                   "%llu bytes behind record %llu do not verify, and are no end that a crash "
                   "leaves",
                   (ull)f.bytes, (ull)last);
        return;
    }
    f.kind = PROVE_truncated;
    f.file = r != NULL ? r->end_file : 0;
    f.offset = r != NULL ? r->end_offset : 0;
    if (known > last) {
        prove_tell(p, &f, "records %llu to %llu are gone from the end", (ull)last + 1, (ull)known);
    } else if (r != NULL && p->last_reason != CHAIN_REASON_stop) {
        f.kind = PROVE_open;
        f.first = p->report.signed_to < last ? p->report.signed_to + 1 : 0;
        f.last = p->report.signed_to < last ? last : 0;
        prove_tell(p, &f,
                   "the trail was not closed: the daemon runs, or was killed. %llu records "
                   "behind the last checkpoint are not signed; that more were there, only "
                   "an anchor could say",
                   p->report.signed_to < last ? (ull)last - p->report.signed_to : 0);
    }
}

static void judge_runs(struct proof *p)
{
    size_t n = prove_n_runs(p);
    if (n > 1) {
        qsort(p->runs.p, n, sizeof(struct prove_run), by_number);
    }
    const struct prove_run *before = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct prove_run *r = prove_run_at(p, i);
        if (before == NULL) {
            judge_front(p, r);
        } else if (r->is_copy || r->first <= before->last) {
            continue; /* which was told */
        } else if (r->first == before->last + 1) {
            judge_joint(p, before, r);
        } else {
            judge_gap(p, before, r);
        }
        before = r;
    }
    if (before != NULL) {
        p->report.first = prove_run_at(p, 0)->first;
        p->report.first_ms = prove_run_at(p, 0)->first_ms;
        p->report.last = before->last;
        p->report.last_ms = before->last_ms;
    }
    judge_end(p, before);
    /* Bytes at the side of what was moved, for which nobody has spoken yet. */
    for (size_t i = 0; i < n_bads(p); i++) {
        struct prove_bad *b = bad_at(p, i);
        struct prove_finding f = {
            .kind = PROVE_edited, .file = b->file, .offset = b->offset, .bytes = b->bytes};
        if (!b->is_told) {
            prove_tell(p, &f, "%llu bytes that do not verify", (ull)b->bytes);
        }
    }
}

/* ---- keys, anchors, what was before ---- */

static int by_use(const void *a, const void *b)
{
    const struct prove_key *x = a;
    const struct prove_key *y = b;
    return x->first < y->first ? -1 : x->first > y->first ? 1 : 0;
}

static bool is_introduced(const struct proof *p, const struct prove_key *from,
                          const struct prove_key *to)
{
    for (size_t i = 0; i < p->n_rolls; i++) {
        const struct prove_roll *r = &p->rolls[i];
        if (memcmp(r->from, from->key, sizeof r->from) == 0 &&
            memcmp(r->to, to->key, sizeof r->to) == 0 && r->seq >= from->first &&
            r->seq < to->first) {
            return true;
        }
    }
    return false;
}

static bool is_known_key(const struct proof *p, const uint8_t key[ED25519_PUBLIC_BYTES])
{
    for (size_t i = 0; i < p->n_keys; i++) {
        if (memcmp(p->keys[i].key, key, ED25519_PUBLIC_BYTES) == 0) {
            return true;
        }
    }
    return p->newest_seq > 0 && memcmp(p->newest.next_key, key, ED25519_PUBLIC_BYTES) == 0;
}

static void judge_keys(struct proof *p)
{
    if (p->n_keys > 1) {
        qsort(p->keys, p->n_keys, sizeof p->keys[0], by_use);
    }
    for (size_t i = 1; i < p->n_keys; i++) {
        const struct prove_key *k = &p->keys[i];
        struct prove_finding f = {.kind = PROVE_key, .first = k->first, .last = k->last};
        if (!is_introduced(p, &p->keys[i - 1], k)) {
            prove_tell(p, &f,
                       "from checkpoint %llu on another key signs, which the one before did "
                       "not introduce",
                       (ull)k->first);
        }
    }
    const uint8_t *pinned = p->setup->key;
    struct prove_finding f = {.kind = PROVE_key};
    if (pinned != NULL && !is_known_key(p, pinned)) {
        prove_tell(p, &f,
                   "the key that was given signed nothing here, nor anything that led to "
                   "who did");
    }
}

static void judge_anchors(struct proof *p)
{
    for (size_t i = 0; i < p->n_anchors; i++) {
        const struct prove_anchor *a = &p->anchors[i];
        const char *whose = a->is_own ? "of " ANCHOR_FILE : "from outside";
        struct prove_finding f = {.kind = PROVE_anchor,
                                  .first = a->a.count,
                                  .last = a->a.count,
                                  .after_ms = a->a.wall_ms};
        bool is_other =
            p->newest_seq > 0 && memcmp(a->a.trail, p->newest.trail, sizeof a->a.trail) != 0;
        if (!a->is_good) {
            prove_tell(p, &f, "the anchor %s (%llu records) is not signed by the key it names",
                       whose, (ull)a->a.count);
        } else if (is_other) {
            prove_tell(p, &f,
                       "the anchor %s is of another trail: another directory, or all of "
                       "this one was replaced",
                       whose);
        } else if (p->newest_seq > 0 && !is_known_key(p, a->a.key)) {
            f.kind = PROVE_key;
            prove_tell(p, &f, "the anchor %s is signed by a key that is not one of this trail",
                       whose);
        } else if (a->is_seen && !a->is_same) {
            f.kind = PROVE_rewritten;
            prove_tell(p, &f, "the first %llu records are not those that the anchor %s was made of",
                       (ull)a->a.count, whose);
        } else if (p->report.first > a->a.count) {
            f.kind = PROVE_forgotten;
            prove_tell(p, &f, "the anchor %s is older than the oldest record that is kept", whose);
        }
    }
    struct prove_finding f = {.kind = PROVE_deleted};
    if (p->is_own_unread) {
        f.kind = PROVE_edited;
        prove_tell(p, &f, ANCHOR_FILE " is no anchor");
    } else if (!p->has_own && p->report.checkpoints > 1) {
        prove_tell(p, &f,
                   ANCHOR_FILE " is gone: whether the end is all there, only an anchor from "
                               "outside says");
    }
}

static void judge_older(struct proof *p)
{
    struct prove_finding f = {.kind = PROVE_older, .file = p->first_file};
    if (p->begin_seq == 0) {
        if (p->report.older_lines > 0) {
            prove_tell(p, &f, "%llu lines of before the chain, which nothing signs",
                       (ull)p->report.older_lines);
        }
        return;
    }
    bool is_all = p->first_file <= p->begin.oldest_file;
    bool is_same = p->report.older_lines == p->begin.older_lines &&
                   slice_equal(digest_slice(&p->older), digest_slice(&p->begin.older));
    if (p->begin.older_lines == 0 && p->report.older_lines == 0) {
        return;
    }
    if (is_all && !is_same) {
        f.kind = PROVE_edited;
        prove_tell(p, &f,
                   "the lines of before the chain are not those it began behind: %llu then, "
                   "%llu now",
                   (ull)p->begin.older_lines, (ull)p->report.older_lines);
    } else {
        prove_tell(p, &f, "%llu lines of the version before the chain%s",
                   (ull)p->report.older_lines,
                   is_all ? ", as they were when it began"
                          : "; some were forgotten, so nothing proves the rest");
    }
}

/* ---- all ---- */

static enum err take_own(struct proof *p)
{
    AUTO(buf_done) struct buf text = {0};
    struct prove_anchor own = {.is_own = true};
    enum err err = anchor_load(p->setup->disk, &text);
    if (err == ERR_NOT_FOUND) {
        return OK;
    }
    if (err == OK) {
        err = anchor_decode(buf_slice(&text), &own.a);
    }
    if (err == ERR_NOMEM || err == ERR_IO || err == ERR_DENIED) {
        return err;
    }
    p->has_own = err == OK;
    p->is_own_unread = err != OK;
    if (err == OK) {
        p->anchors[p->n_anchors++] = own;
    }
    return OK;
}

static enum err gather(struct proof *p)
{
    const struct prove_setup *s = p->setup;
    struct trail_report report;
    TRY(take_own(p)); /* first: the daemon may go on meanwhile */
    for (size_t i = 0; i < s->n_anchors && i < PROVE_ANCHORS_MAX; i++) {
        p->anchors[p->n_anchors++].a = s->anchors[i];
    }
    for (size_t i = 0; i < p->n_anchors; i++) {
        enum err err = anchor_verify(&p->anchors[i].a);
        if (err == ERR_NOMEM) {
            return err;
        }
        p->anchors[i].is_good = err == OK;
    }
    struct trail_sink sink = {.ctx = p, .piece = prove_piece};
    TRY(trail_read(s->disk, s->root, 0, &sink, &report));
    return p->err;
}

static void proof_free(struct proof **p)
{
    if (*p != NULL) {
        proof_done(*p);
        mem_free(*p);
    }
}

enum err prove_trail(const struct prove_setup *s, struct prove_report *ret)
{
    AUTO(proof_free) struct proof *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->setup = s;
    TRY(gather(p));
    if (p->is_shredded) {
        struct prove_finding f = {.kind = PROVE_shredded, .file = p->first_file};
        prove_tell(p, &f, "more than %u broken places; the rest was not looked at",
                   (unsigned)PROVE_PLACES_MAX);
        *ret = p->report;
        return OK;
    }
    p->report.signed_to = p->newest_seq;
    p->report.has_trail = p->newest_seq > 0;
    memcpy(p->report.trail, p->newest.trail, sizeof p->report.trail);
    memcpy(p->report.key, p->newest.next_key, sizeof p->report.key);
    TRY(find_order(p));
    judge_torn(p);
    judge_moved(p);
    judge_runs(p);
    judge_keys(p);
    judge_anchors(p);
    judge_older(p);
    *ret = p->report;
    return OK;
}

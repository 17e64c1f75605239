/* The writer of the trail. */
#include "service/watch/trail.h"

#include "base/mem.h"
#include "service/watch/anchor.h"
#include "service/watch/trail_key.h"
#include "service/watch/trail_private.h"

struct trail {
    struct disk *disk;
    struct clock clock;
    struct random_source random;
    uint8_t root[TRAIL_ROOT_BYTES], key_seal[TRAIL_ROOT_BYTES];
    uint64_t file_bytes;
    uint32_t number; /* of the file */
    uint32_t oldest; /* that is kept */
    struct disk_file *file;
    uint64_t size;
    struct trail_seal seal; /* of the opening; none before its first line */
    uint64_t next_number;
    uint8_t id[CHAIN_ID_BYTES];
    uint64_t seq; /* of the last entry */
    struct digest head;
    struct ed25519 *key; /* in force; NULL: one is to be made */
    uint64_t n_unsigned; /* entries behind the last checkpoint */
    uint64_t sign_at_ms, anchor_at_ms;
    struct anchor newest;    /* at the last checkpoint, or the last entry; not signed */
    bool is_unsaved;         /* audit.head does not have it yet */
    enum chain_reason opens; /* why the next opening begins, and what its checkpoint says */
    uint32_t torn_file;
    uint64_t torn_at, torn_bytes;
    uint64_t older_lines;
    struct digest older;
    struct trail_amiss amiss;
    uint8_t plain[TRAIL_PLAIN_MAX];
    uint8_t record[TRAIL_RECORD_MAX];
};

static enum err open_file(struct trail *t)
{
    char name[TRAIL_NAME_BYTES];
    trail_name(t->number, name);
    TRY(t->disk->ops->open(t->disk, name, DISK_APPEND, &t->file));
    return t->disk->ops->size(t->file, &t->size);
}

static void close_file(struct trail *t)
{
    if (t->file != NULL) {
        t->disk->ops->close(t->file);
        t->file = NULL;
    }
}

/* The oldest files go until TRAIL_FILES_MAX are left. */
static enum err forget_old(struct trail *t)
{
    AUTO(trail_files_done) struct trail_files files = {0};
    TRY(trail_files_list(t->disk, &files));
    size_t n = trail_files_n(&files);
    for (size_t i = 0; i + TRAIL_FILES_MAX < n; i++) {
        char name[TRAIL_NAME_BYTES];
        trail_name(trail_files_at(&files, i), name);
        enum err err = t->disk->ops->remove(t->disk, name);
        if (err != OK && err != ERR_NOT_FOUND) {
            return err;
        }
        t->oldest = trail_files_at(&files, i + 1);
    }
    return OK;
}

/* ---- records ---- */

/* Half of something lies there: what comes next says so. */
static void note_torn(struct trail *t, uint64_t from)
{
    bool is_more = t->torn_bytes > 0 && t->torn_file == t->number;
    t->torn_at = is_more ? t->torn_at : from;
    t->torn_file = t->number;
    t->torn_bytes = t->size - t->torn_at;
    if (t->opens == CHAIN_REASON_none) {
        t->opens = CHAIN_REASON_failed;
    }
    trail_seal_done(&t->seal);
}

/* Behind what was written, however a write before went. */
static enum err put(struct trail *t, struct slice bytes)
{
    uint64_t before = t->size;
    enum err err = t->disk->ops->append(t->file, bytes);
    enum err sized = t->disk->ops->size(t->file, &t->size);
    if (err != OK && sized == OK && t->size > before) {
        note_torn(t, before);
    }
    return err != OK ? err : sized;
}

/* A number is used up also when its record did not reach the file: its bytes may lie there. */
static enum err put_entry(struct trail *t, struct chain_entry *e)
{
    struct digest leaf, head;
    struct wr w = wr_into(t->plain, sizeof t->plain);
    chain_entry_encode(e, &w);
    struct slice plain = wr_slice(&w);
    TRY(chain_leaf(plain, &leaf));
    TRY(chain_head(&e->prev, &leaf, &head));
    struct trail_place place = {.file = t->number, .offset = t->size};
    TRY(trail_record_write(&t->seal, place, t->next_number++, plain, t->record));
    TRY(put(t, slice_of(t->record, TRAIL_RECORD_MIN + plain.n)));
    t->seq = e->seq;
    t->head = head;
    return OK;
}

static struct chain_entry next_entry(struct trail *t, enum chain_kind kind)
{
    struct chain_entry e = {.prev = t->head,
                            .kind = kind,
                            .seq = t->seq + 1,
                            .wall_ms = t->clock.wall_ms(t->clock.ctx)};
    t->random.fill(t->random.ctx, e.salt, sizeof e.salt);
    return e;
}

/* next_key: ED25519_PUBLIC_BYTES. */
static enum err put_checkpoint(struct trail *t, enum chain_reason reason, struct slice next_key)
{
    bool is_opening = reason == t->opens;
    uint8_t body[CHAIN_CHECKPOINT_BYTES];
    struct chain_entry e = next_entry(t, CHAIN_CHECKPOINT);
    struct chain_checkpoint c = {.reason = reason, .file = t->number, .oldest_file = t->oldest};
    memcpy(c.trail, t->id, sizeof c.trail);
    slice_copy(c.next_key, next_key);
    if (is_opening) {
        c.torn_file = t->torn_file;
        c.torn_at = t->torn_at;
        c.torn_bytes = t->torn_bytes;
    }
    if (reason == CHAIN_REASON_begin) {
        c.older_lines = t->older_lines;
        c.older = t->older;
    }
    TRY(chain_checkpoint_sign(t->key, &e, &c));
    struct wr w = wr_into(body, sizeof body);
    chain_checkpoint_encode(&c, &w);
    e.body = wr_slice(&w);
    TRY(put_entry(t, &e));
    if (is_opening) {
        t->opens = CHAIN_REASON_none;
        t->torn_file = 0;
        t->torn_at = t->torn_bytes = 0;
    }
    t->n_unsigned = 0;
    t->newest = (struct anchor){.count = t->seq, .head = t->head, .wall_ms = e.wall_ms};
    memcpy(t->newest.trail, t->id, sizeof t->newest.trail);
    t->is_unsaved = true;
    return OK;
}

/* ---- signing ---- */

static enum err save_newest(struct trail *t)
{
    AUTO(buf_done) struct buf text = {0};
    if (!t->is_unsaved) {
        return OK;
    }
    TRY(anchor_sign(t->key, &t->newest));
    TRY(anchor_encode(&t->newest, &text));
    TRY(disk_save(t->disk, ANCHOR_FILE, buf_slice(&text)));
    t->is_unsaved = false;
    return OK;
}

/* What audit.head says must be in the files first. */
static enum err settle(struct trail *t)
{
    if (t->file == NULL) {
        return OK;
    }
    TRY(t->disk->ops->sync(t->file));
    return save_newest(t);
}

static enum err sign(struct trail *t, enum chain_reason reason)
{
    return put_checkpoint(t, reason, ed25519_public(t->key));
}

/* ---- openings and files ---- */

static enum err put_heads(struct trail *t)
{
    AUTO(trail_seal_done) struct trail_seal seal = {0};
    uint8_t salt[TRAIL_SALT_BYTES];
    uint8_t heads[TRAIL_HEADS * TRAIL_HEAD_BYTES];
    t->random.fill(t->random.ctx, salt, sizeof salt);
    TRY(trail_seal_new(TRAIL_VERSION_CHAIN, slice_of(t->root, sizeof t->root), salt, &seal));
    for (uint32_t i = 0; i < TRAIL_HEADS; i++) {
        size_t at = (size_t)i * TRAIL_HEAD_BYTES;
        struct trail_place place = {.file = t->number, .offset = t->size + at};
        TRY(trail_head_write(&seal, place, i, heads + at));
    }
    seal.written.file = t->number;
    TRY(put(t, slice_of(heads, sizeof heads)));
    t->seal = seal;
    seal.aead = NULL;
    t->next_number = 0;
    return OK;
}

static enum err begin_opening(struct trail *t)
{
    TRY(put_heads(t));
    if (t->opens == CHAIN_REASON_none) {
        t->opens = CHAIN_REASON_file;
    }
    enum err err = sign(t, t->opens);
    if (err == OK) {
        err = settle(t);
    }
    if (err != OK) {
        trail_seal_done(&t->seal); /* an opening begins with its checkpoint */
    }
    return err;
}

static enum err next_file(struct trail *t)
{
    if (t->seal.aead != NULL) {
        enum err err = sign(t, CHAIN_REASON_full);
        (void)err; /* without room for it, forgetting old files is what helps */
        trail_seal_done(&t->seal);
    }
    enum err err = settle(t);
    close_file(t);
    TRY(err);
    TRY(forget_old(t));
    t->number++;
    return OK;
}

static struct slice key_seal(const struct trail *t)
{
    return slice_of(t->key_seal, sizeof t->key_seal);
}

static enum err new_key(struct trail *t)
{
    AUTO(trail_seeds_wipe) struct trail_seeds seeds = {.n = 1};
    AUTO(ed25519_autofree) struct ed25519 *key = NULL;
    trail_seed_make(&t->random, seeds.seed[0]);
    TRY(ed25519_new(slice_of(seeds.seed[0], ED25519_SEED_BYTES), &key));
    TRY(trail_seeds_save(t->disk, key_seal(t), &t->random, &seeds));
    t->key = TAKE(key);
    return OK;
}

static enum err be_open(struct trail *t)
{
    if (t->key == NULL) {
        TRY(new_key(t));
    }
    if (t->file == NULL) {
        TRY(open_file(t));
    }
    return t->seal.aead == NULL ? begin_opening(t) : OK;
}

enum err trail_append(struct trail *t, struct slice line)
{
    if (line.n == 0 || line.n > TRAIL_LINE_MAX) {
        return ERR_TOO_LARGE;
    }
    if (t->file != NULL && t->size > 0 && t->size + TRAIL_LINE_OVERHEAD + line.n > t->file_bytes) {
        TRY(next_file(t));
    }
    TRY(be_open(t));
    if (t->n_unsigned >= TRAIL_SIGN_ENTRIES) {
        TRY(sign(t, CHAIN_REASON_routine));
    }
    struct chain_entry e = next_entry(t, CHAIN_EVENT);
    e.body = line;
    TRY(put_entry(t, &e));
    uint64_t now_ms = t->clock.mono_ms(t->clock.ctx);
    if (t->n_unsigned++ == 0) {
        t->sign_at_ms = now_ms + TRAIL_SIGN_MS;
    }
    t->anchor_at_ms = now_ms + TRAIL_IDLE_MS;
    return OK;
}

static uint64_t sign_deadline(const struct trail *t)
{
    return t->n_unsigned > 0 && t->seal.aead != NULL ? t->sign_at_ms : UINT64_MAX;
}

uint64_t trail_deadline(const struct trail *t)
{
    uint64_t at = sign_deadline(t);
    return at != UINT64_MAX && t->newest.count < t->seq && t->anchor_at_ms < at ? t->anchor_at_ms
                                                                                : at;
}

uint32_t trail_file(const struct trail *t)
{
    return t->number;
}

/* An anchor says as much about the end as a checkpoint, and the trail does not grow by it. */
static void anchor_end(struct trail *t)
{
    t->newest.count = t->seq;
    t->newest.head = t->head;
    t->newest.wall_ms = t->clock.wall_ms(t->clock.ctx);
    memcpy(t->newest.trail, t->id, sizeof t->newest.trail);
    t->is_unsaved = true;
}

enum err trail_sync(struct trail *t)
{
    uint64_t now_ms = t->clock.mono_ms(t->clock.ctx);
    if (now_ms >= sign_deadline(t)) {
        t->sign_at_ms = now_ms + TRAIL_SIGN_MS; /* should it fail */
        TRY(sign(t, CHAIN_REASON_routine));
    } else if (now_ms >= trail_deadline(t)) {
        anchor_end(t);
    }
    return settle(t);
}

enum err trail_anchor(struct trail *t, struct anchor *ret)
{
    TRY(be_open(t));
    if (t->n_unsigned > 0) {
        TRY(sign(t, CHAIN_REASON_asked));
    }
    TRY(settle(t));
    struct anchor a = t->newest;
    TRY(anchor_sign(t->key, &a));
    *ret = a;
    return OK;
}

/* A crash leaves a file with both seeds, and the last checkpoint says which is in force. */
static enum err change_key(struct trail *t, struct trail_seeds *seeds)
{
    AUTO(ed25519_autofree) struct ed25519 *next = NULL;
    TRY(trail_seeds_load(t->disk, key_seal(t), seeds));
    for (size_t i = 0; i < seeds->n; i++) { /* that in force to the front */
        AUTO(ed25519_autofree) struct ed25519 *k = NULL;
        TRY(ed25519_new(slice_of(seeds->seed[i], ED25519_SEED_BYTES), &k));
        if (slice_equal(ed25519_public(k), ed25519_public(t->key))) {
            memmove(seeds->seed[0], seeds->seed[i], ED25519_SEED_BYTES);
        }
    }
    trail_seed_make(&t->random, seeds->seed[1]);
    seeds->n = 2;
    TRY(ed25519_new(slice_of(seeds->seed[1], ED25519_SEED_BYTES), &next));
    TRY(trail_seeds_save(t->disk, key_seal(t), &t->random, seeds));
    TRY(put_checkpoint(t, CHAIN_REASON_key, ed25519_public(next)));
    ed25519_free(t->key);
    t->key = TAKE(next);
    TRY(settle(t));
    memcpy(seeds->seed[0], seeds->seed[1], ED25519_SEED_BYTES);
    seeds->n = 1;
    return trail_seeds_save(t->disk, key_seal(t), &t->random, seeds);
}

enum err trail_roll_key(struct trail *t)
{
    AUTO(trail_seeds_wipe) struct trail_seeds seeds = {0};
    TRY(be_open(t));
    return change_key(t, &seeds);
}

struct trail_amiss trail_amiss(const struct trail *t)
{
    return t->amiss;
}

/* ---- going on where it was ---- */

struct found {
    uint64_t seq;
    struct digest head;
    bool has_checkpoint;
    struct chain_checkpoint checkpoint; /* the last */
    uint32_t torn_file;                 /* what is behind the last record */
    uint64_t torn_at, torn_bytes;
    uint64_t older_lines;
    struct digest older;
    enum err err;
};

static enum err take_entry(struct found *f, struct slice plain)
{
    struct chain_entry e;
    struct digest leaf;
    TRY(chain_entry_decode(plain, &e));
    if (e.seq <= f->seq) {
        return OK;
    }
    TRY(chain_leaf(plain, &leaf));
    TRY(chain_head(&e.prev, &leaf, &f->head));
    f->seq = e.seq;
    f->torn_bytes = 0;
    if (e.kind == CHAIN_CHECKPOINT && chain_checkpoint_decode(e.body, &f->checkpoint) == OK) {
        f->has_checkpoint = true;
    }
    return OK;
}

enum err trail_older_add(struct digest *older, struct slice line)
{
    struct digest leaf;
    TRY(digest_sha256(line, &leaf));
    return chain_head(older, &leaf, older);
}

static void take_piece(void *ctx, const struct trail_piece *p)
{
    struct found *f = ctx;
    bool is_moved = p->written_file != p->file || p->written_offset != p->offset;
    enum err err = OK;
    if (p->kind == TRAIL_PIECE_ENTRY && !is_moved) {
        err = take_entry(f, p->plain);
    } else if (p->kind == TRAIL_PIECE_LINE) {
        f->older_lines++;
        err = trail_older_add(&f->older, p->plain);
    } else if (p->kind == TRAIL_PIECE_BAD) {
        bool is_more = f->torn_bytes > 0 && f->torn_file == p->file;
        f->torn_at = is_more ? f->torn_at : p->offset;
        f->torn_file = p->file;
        f->torn_bytes = p->offset + p->bytes - f->torn_at;
    }
    if (f->err == OK && err != ERR_TRUNCATED && err != ERR_MALFORMED) {
        f->err = err;
    }
}

static enum err find_end(struct trail *t, struct found *ret)
{
    static const unsigned depths[] = {1, 0}; /* the newest file; all of them */
    for (size_t i = 0; i < COUNT_OF(depths); i++) {
        struct trail_report report;
        *ret = (struct found){0};
        struct trail_sink sink = {.ctx = ret, .piece = take_piece};
        TRY(trail_read(t->disk, slice_of(t->root, sizeof t->root), depths[i], &sink, &report));
        TRY(ret->err);
        if (ret->has_checkpoint) {
            break;
        }
    }
    return OK;
}

/* audit.head only tells that something is missing: what goes on is counted behind it, also when
 * all is missing. */
static enum err heed_anchor(struct trail *t, bool has_checkpoint)
{
    AUTO(buf_done) struct buf text = {0};
    struct anchor a;
    enum err err = anchor_load(t->disk, &text);
    if (err == ERR_NOT_FOUND || err == ERR_TOO_LARGE) {
        return OK;
    }
    TRY(err);
    bool is_ours = anchor_decode(buf_slice(&text), &a) == OK && anchor_verify(&a) == OK &&
                   (!has_checkpoint || memcmp(a.trail, t->id, sizeof a.trail) == 0);
    if (is_ours && !has_checkpoint) {
        memcpy(t->id, a.trail, sizeof t->id);
    }
    if (is_ours && a.count > t->seq && a.count < UINT64_MAX / 2) {
        t->amiss.missing = a.count - t->seq;
        t->seq = a.count;
    }
    return OK;
}

static enum err find_key(struct trail *t, const struct found *f)
{
    AUTO(trail_seeds_wipe) struct trail_seeds seeds = {0};
    enum err err = trail_seeds_load(t->disk, key_seal(t), &seeds);
    if (err != OK && err != ERR_NOT_FOUND && err != ERR_CRYPTO && err != ERR_MALFORMED &&
        err != ERR_TRUNCATED && err != ERR_UNSUPPORTED && err != ERR_TOO_LARGE) {
        return err;
    }
    for (size_t i = 0; err == OK && i < seeds.n; i++) {
        AUTO(ed25519_autofree) struct ed25519 *k = NULL;
        TRY(ed25519_new(slice_of(seeds.seed[i], ED25519_SEED_BYTES), &k));
        struct slice named = slice_of(f->checkpoint.next_key, ED25519_PUBLIC_BYTES);
        if (!f->has_checkpoint || slice_equal(ed25519_public(k), named)) {
            t->key = TAKE(k);
            return OK;
        }
    }
    t->amiss.has_new_key = f->has_checkpoint;
    return OK; /* it is made before the first line: a full disk keeps nobody from starting */
}

static enum err go_on(struct trail *t)
{
    struct found f;
    TRY(find_end(t, &f));
    t->seq = f.seq;
    t->head = f.head;
    t->torn_file = f.torn_bytes > 0 ? f.torn_file : 0;
    t->torn_at = f.torn_bytes > 0 ? f.torn_at : 0;
    t->torn_bytes = f.torn_bytes;
    if (f.has_checkpoint) {
        t->opens = CHAIN_REASON_start;
        memcpy(t->id, f.checkpoint.trail, sizeof t->id);
        t->oldest = f.checkpoint.oldest_file;
    } else {
        t->opens = CHAIN_REASON_begin;
        t->random.fill(t->random.ctx, t->id, sizeof t->id);
        t->older_lines = f.older_lines;
        t->older = f.older;
    }
    TRY(heed_anchor(t, f.has_checkpoint));
    return find_key(t, &f);
}

/* The newest file goes on, unless it begins with something that is not ours (another format, a bad
 * sector): that is left as it is. */
static enum err find_file(struct trail *t)
{
    AUTO(trail_files_done) struct trail_files files = {0};
    AUTO(trail_seal_done) struct trail_seal seal = {0};
    uint8_t head[TRAIL_HEADS * TRAIL_HEAD_BYTES];
    size_t got;
    uint32_t copy;
    TRY(trail_files_list(t->disk, &files));
    size_t n = trail_files_n(&files);
    t->number = n > 0 ? trail_files_at(&files, n - 1) : 1;
    t->oldest = n > 0 ? trail_files_at(&files, 0) : 1;
    TRY(open_file(t));
    TRY(t->disk->ops->read_at(t->file, 0, head, sizeof head, &got));
    for (uint32_t i = 0; i < TRAIL_HEADS && got == sizeof head; i++) {
        size_t at = (size_t)i * TRAIL_HEAD_BYTES;
        struct trail_place place = {.file = t->number, .offset = at};
        enum err err = trail_head_read(slice_of(t->root, sizeof t->root), place,
                                       slice_of(head + at, TRAIL_HEAD_BYTES), &seal, &copy);
        bool is_here = seal.written.file == place.file && seal.written.offset == place.offset;
        if (err == OK && seal.version == TRAIL_VERSION_CHAIN && is_here) {
            return OK;
        }
        if (err != OK && err != ERR_NOT_FOUND) {
            return err;
        }
    }
    if (t->size == 0 || t->number == UINT32_MAX) {
        return OK;
    }
    close_file(t);
    t->number++;
    return open_file(t);
}

/* A version before had both beside the trail, and the key under the root. */
static enum err take_former(struct trail *t)
{
    AUTO(buf_done) struct buf text = {0};
    if (disk_load(t->disk, ANCHOR_FILE, ANCHOR_BYTES_MAX, &text) == ERR_NOT_FOUND) {
        enum err err = t->disk->ops->rename(t->disk, ANCHOR_FILE_FORMER, ANCHOR_FILE);
        (void)err; /* it is read where it was, then */
    }
    return trail_seeds_adopt(t->disk, slice_of(t->root, sizeof t->root), key_seal(t), &t->random);
}

enum err trail_open(const struct trail_setup *s, struct trail **ret)
{
    AUTO(trail_autofree) struct trail *t = mem_zalloc(sizeof *t);
    if (t == NULL) {
        return ERR_NOMEM;
    }
    struct slice seal = s->key_seal.n > 0 ? s->key_seal : s->root;
    if (s->root.n != TRAIL_ROOT_BYTES || seal.n != TRAIL_ROOT_BYTES) {
        return ERR_CRYPTO;
    }
    t->disk = s->disk;
    t->clock = s->clock;
    t->random = s->random;
    t->file_bytes = s->file_bytes > 0 ? s->file_bytes : TRAIL_FILE_BYTES;
    memcpy(t->root, s->root.p, sizeof t->root);
    memcpy(t->key_seal, seal.p, sizeof t->key_seal);
    TRY(t->disk->ops->make_dir(t->disk, TRAIL_DIR));
    TRY(t->disk->ops->make_dir(t->disk, TRAIL_OWN_DIR));
    TRY(take_former(t));
    TRY(find_file(t));
    TRY(go_on(t));
    *ret = TAKE(t);
    return OK;
}

struct trail *trail_free(struct trail *t)
{
    if (t == NULL) {
        return NULL;
    }
    if (t->seal.aead != NULL) {
        enum err err = sign(t, CHAIN_REASON_stop);
        if (err == OK) {
            err = settle(t);
        }
        (void)err; /* without it the end counts as torn; the next reader finds what is there */
    }
    close_file(t);
    t->key = ed25519_free(t->key);
    trail_seal_done(&t->seal);
    mem_wipe(t, sizeof *t);
    return mem_free(t);
}

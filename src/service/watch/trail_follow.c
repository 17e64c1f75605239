/* The trail, read behind its writer. */
#include "service/watch/trail_follow.h"

#include "base/mem.h"
#include "base/rd.h"
#include "service/watch/trail_private.h"

enum { WINDOW_BYTES = 64 * 1024, SPOT_CLEAR_BYTES = 8 + 4 + 8 + 8 + 8 };
static const uint8_t spot_magic[8] = {'S', 'P', 'S', 'P', 'O', 'T', '0', '1'};

struct trail_follow {
    struct disk *disk;
    uint8_t root[TRAIL_ROOT_BYTES];
    struct trail_spot spot;
    struct disk_file *f; /* spot.file, or NULL */
    uint64_t size;
    uint64_t scanned; /* of spot.file nothing begins before this, from spot.offset on */
    struct trail_seal seal;
    uint64_t window_at;
    size_t window_n;
    uint8_t window[WINDOW_BYTES];
    uint8_t plain[TRAIL_PLAIN_MAX];
};

/* ---- the spot ---- */

void trail_spot_encode(const struct trail_spot *s, uint8_t dst[TRAIL_SPOT_BYTES])
{
    struct digest d = {0};
    struct wr w = wr_into(dst, TRAIL_SPOT_BYTES);
    wr_bytes(&w, slice_of(spot_magic, sizeof spot_magic));
    wr_u32(&w, s->file);
    wr_u64(&w, s->opening);
    wr_u64(&w, s->offset);
    wr_u64(&w, s->seq);
    if (digest_sha256(wr_slice(&w), &d) != OK) {
        d = (struct digest){0}; /* it will not be read back: all is sent again */
    }
    wr_bytes(&w, slice_head(digest_slice(&d), TRAIL_SPOT_BYTES - SPOT_CLEAR_BYTES));
}

enum err trail_spot_decode(struct slice bytes, struct trail_spot *ret)
{
    struct rd r = rd_from(bytes);
    struct digest d;
    struct slice magic = rd_bytes(&r, sizeof spot_magic);
    struct trail_spot s = {.file = rd_u32(&r)};
    s.opening = rd_u64(&r);
    s.offset = rd_u64(&r);
    s.seq = rd_u64(&r);
    struct slice check = rd_rest(&r);
    TRY(digest_sha256(slice_head(bytes, SPOT_CLEAR_BYTES), &d));
    bool is_whole =
        bytes.n == TRAIL_SPOT_BYTES &&
        slice_equal(magic, slice_of(spot_magic, sizeof spot_magic)) &&
        slice_equal(check, slice_head(digest_slice(&d), TRAIL_SPOT_BYTES - SPOT_CLEAR_BYTES));
    if (!is_whole || s.offset > INT64_MAX ||
        (s.opening > INT64_MAX && s.opening != TRAIL_NO_OPENING)) {
        return ERR_MALFORMED;
    }
    *ret = s;
    return OK;
}

/* ---- files ---- */

static void leave(struct trail_follow *f)
{
    if (f->f != NULL) {
        f->disk->ops->close(f->f);
    }
    f->f = NULL;
    f->window_n = 0;
    f->size = 0;
    f->scanned = 0;
    trail_seal_done(&f->seal);
}

enum err trail_follow_new(struct disk *d, struct slice root, struct trail_follow **ret)
{
    struct trail_follow *f;
    if (root.n != TRAIL_ROOT_BYTES) {
        return ERR_CRYPTO;
    }
    f = mem_zalloc(sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    f->disk = d;
    memcpy(f->root, root.p, sizeof f->root);
    *ret = f;
    return OK;
}

struct trail_follow *trail_follow_free(struct trail_follow *f)
{
    if (f != NULL) {
        leave(f);
        mem_wipe(f, sizeof *f);
    }
    return mem_free(f);
}

void trail_follow_to(struct trail_follow *f, const struct trail_spot *s)
{
    leave(f);
    f->spot = *s;
}

struct trail_spot trail_follow_spot(const struct trail_follow *f)
{
    return f->spot;
}

static void begin_file(struct trail_follow *f, uint32_t file)
{
    leave(f);
    f->spot = (struct trail_spot){
        .file = file, .opening = TRAIL_NO_OPENING, .offset = 0, .seq = f->spot.seq};
}

/* The first file behind this one; 0: there is none. When all are before it, the trail is another
 * one, and begins anew. */
static enum err file_behind(struct trail_follow *f, uint32_t file, bool is_there, uint32_t *ret)
{
    AUTO(trail_files_done) struct trail_files files = {0};
    TRY(trail_files_list(f->disk, &files));
    size_t n = trail_files_n(&files);
    *ret = 0;
    for (size_t i = 0; i < n && *ret == 0; i++) {
        *ret = trail_files_at(&files, i) > file ? trail_files_at(&files, i) : 0;
    }
    if (*ret == 0 && n > 0 && !is_there) {
        *ret = trail_files_at(&files, 0);
    }
    return OK;
}

static enum err enter(struct trail_follow *f)
{
    char name[TRAIL_NAME_BYTES];
    enum err err = ERR_NOT_FOUND;
    if (f->f != NULL) {
        return OK;
    }
    if (f->spot.file > 0) {
        trail_name(f->spot.file, name);
        err = f->disk->ops->open(f->disk, name, DISK_READ, &f->f);
    }
    if (err == ERR_NOT_FOUND) {
        uint32_t file;
        TRY(file_behind(f, f->spot.file, false, &file));
        if (file == 0) {
            return ERR_AGAIN;
        }
        begin_file(f, file);
        trail_name(file, name);
        err = f->disk->ops->open(f->disk, name, DISK_READ, &f->f);
    }
    if (err != OK) {
        f->f = NULL;
        return err == ERR_NOT_FOUND ? ERR_AGAIN : err;
    }
    f->scanned = f->spot.offset;
    return f->disk->ops->size(f->f, &f->size);
}

static enum err look(struct trail_follow *f, uint64_t at, struct slice *ret)
{
    uint64_t left = f->size > at ? f->size - at : 0;
    size_t want = left < TRAIL_RECORD_MAX ? (size_t)left : TRAIL_RECORD_MAX;
    if (at < f->window_at || at + want > f->window_at + f->window_n) {
        TRY(f->disk->ops->read_at(f->f, at, f->window, WINDOW_BYTES, &f->window_n));
        f->window_at = at;
    }
    *ret =
        slice_head(slice_from(slice_of(f->window, f->window_n), (size_t)(at - f->window_at)), want);
    return OK;
}

/* ---- records ---- */

static bool is_place(struct trail_place a, struct trail_place b)
{
    return a.file == b.file && a.offset == b.offset;
}

/* ERR_NOT_FOUND: no head stands there. */
static enum err take_head(struct trail_follow *f, uint64_t at)
{
    AUTO(trail_seal_done) struct trail_seal found = {0};
    struct trail_place place = {.file = f->spot.file, .offset = at};
    struct slice here;
    uint32_t copy;
    TRY(look(f, at, &here));
    TRY(trail_head_read(slice_of(f->root, sizeof f->root), place, here, &found, &copy));
    if (!is_place(found.written, place)) {
        return ERR_NOT_FOUND;
    }
    trail_seal_done(&f->seal);
    f->seal = found;
    found.aead = NULL;
    f->spot.opening = at;
    return OK;
}

/* After a pause: the keys of the opening that the spot is in. When they are not there, the file is
 * read from its beginning: rather twice than never. */
static enum err reopen(struct trail_follow *f)
{
    if (f->seal.aead != NULL || f->spot.opening == TRAIL_NO_OPENING) {
        return OK;
    }
    enum err err = f->spot.opening < f->size && f->spot.offset <= f->size
                       ? take_head(f, f->spot.opening)
                       : ERR_NOT_FOUND;
    if (err == ERR_NOT_FOUND) {
        f->spot.opening = TRAIL_NO_OPENING;
        f->spot.offset = 0;
        f->scanned = 0;
        return OK;
    }
    return err;
}

/* ERR_NOT_FOUND: none begins there; ERR_TRUNCATED: one does, and is not whole. */
static enum err take_record(struct trail_follow *f, uint64_t at, struct trail_record *ret_record,
                            struct slice *ret_plain)
{
    struct trail_place place = {.file = f->spot.file, .offset = at};
    struct slice here;
    TRY(look(f, at, &here));
    if (f->seal.aead == NULL || !trail_record_head(&f->seal, place, here, ret_record) ||
        !is_place(ret_record->written, place)) {
        return ERR_NOT_FOUND;
    }
    if (ret_record->bytes > here.n) {
        return ERR_TRUNCATED;
    }
    enum err err = trail_record_open(&f->seal, ret_record, here, f->plain, ret_plain);
    return err == ERR_CRYPTO ? ERR_NOT_FOUND : err;
}

/* To the next thing that verifies. ERR_AGAIN: there is none to the end of the file. */
static enum err advance(struct trail_follow *f, struct slice *ret_plain)
{
    uint64_t at = f->scanned > f->spot.offset ? f->scanned : f->spot.offset;
    for (; at < f->size; at++) {
        struct trail_record record;
        enum err err = take_record(f, at, &record, ret_plain);
        if (err == OK) {
            f->spot.offset = at + record.bytes;
            f->scanned = f->spot.offset;
            return OK;
        }
        if (err == ERR_TRUNCATED) {
            break;
        }
        err = err == ERR_NOT_FOUND ? take_head(f, at) : err;
        if (err == OK) {
            f->spot.offset = at + trail_head_bytes(f->seal.version);
            f->scanned = f->spot.offset;
            *ret_plain = (struct slice){0};
            return OK;
        }
        if (err != ERR_NOT_FOUND) {
            return err;
        }
    }
    /* What is being written begins at most this far from the end. */
    uint64_t tail = f->size > TRAIL_RECORD_MAX ? f->size - TRAIL_RECORD_MAX : 0;
    f->scanned = at < tail ? at : tail > f->scanned ? tail : f->scanned;
    f->window_n = 0; /* it was read while it grew */
    return ERR_AGAIN;
}

/* The end of this file: is it the end of all? */
static enum err move_on(struct trail_follow *f)
{
    uint64_t size;
    uint32_t file;
    TRY(file_behind(f, f->spot.file, true, &file));
    TRY(f->disk->ops->size(f->f, &size));
    if (size != f->size) {
        f->size = size;
        return OK;
    }
    if (file == 0) {
        return ERR_AGAIN;
    }
    begin_file(f, file);
    return OK;
}

enum err trail_follow_next(struct trail_follow *f, struct trail_next *ret)
{
    for (;;) {
        struct slice plain;
        TRY(enter(f));
        TRY(reopen(f));
        enum err err = advance(f, &plain);
        if (err == ERR_AGAIN) {
            TRY(move_on(f));
            continue;
        }
        TRY(err);
        bool is_entry = plain.n > 0 && f->seal.version == TRAIL_VERSION_CHAIN &&
                        chain_entry_decode(plain, &ret->entry) == OK;
        if (is_entry) {
            f->spot.seq = ret->entry.seq;
            return chain_leaf(plain, &ret->leaf);
        }
    }
}

enum err trail_follow_is_last_chance(struct disk *d, const struct trail_spot *s, bool *ret)
{
    AUTO(trail_files_done) struct trail_files files = {0};
    TRY(trail_files_list(d, &files));
    size_t n = trail_files_n(&files);
    *ret = n > TRAIL_FILES_MAX && s->file <= trail_files_at(&files, 0);
    return OK;
}

/* The trail's files, read through: records, and what is none. */
#include "base/mem.h"
#include "service/watch/trail_private.h"

enum { WINDOW_BYTES = 256 * 1024 };

struct reader {
    struct disk *disk;
    struct slice root;
    const struct trail_sink *sink;
    struct trail_report *report;
    struct disk_file *f;
    uint32_t file;
    uint64_t size;
    struct trail_seal seal;
    uint64_t next_number; /* of the opening's next record */
    bool has_head;        /* the first copy of the opening's head was good */
    uint64_t bad_from;    /* what does not verify begins here; UINT64_MAX: nothing */
    uint8_t *window;      /* WINDOW_BYTES of the file */
    uint64_t window_at;
    size_t window_n;
    uint8_t plain[TRAIL_PLAIN_MAX];
};

static void reader_done(struct reader *r)
{
    trail_seal_done(&r->seal);
    if (r->f != NULL) {
        r->disk->ops->close(r->f);
    }
    mem_free(r->window);
    mem_wipe(r->plain, sizeof r->plain);
}

/* Up to TRAIL_RECORD_MAX bytes of the file at `at`, fewer at its end. */
static enum err look(struct reader *r, uint64_t at, struct slice *ret)
{
    uint64_t left = r->size - at;
    size_t want = left < TRAIL_RECORD_MAX ? (size_t)left : TRAIL_RECORD_MAX;
    if (at < r->window_at || at + want > r->window_at + r->window_n) {
        TRY(r->disk->ops->read_at(r->f, at, r->window, WINDOW_BYTES, &r->window_n));
        r->window_at = at;
    }
    *ret =
        slice_head(slice_from(slice_of(r->window, r->window_n), (size_t)(at - r->window_at)), want);
    return OK;
}

/* ---- what is no record ---- */

static bool is_zeros(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != 0) {
            return false;
        }
    }
    return true;
}

/* The front of a head, or of the two. */
static bool is_begun_head(struct slice s)
{
    static const char magic[] = "SPAUDIT";
    size_t n = s.n < sizeof magic - 1 ? s.n : sizeof magic - 1;
    return s.n < (size_t)TRAIL_HEADS * TRAIL_HEAD_BYTES &&
           slice_equal(slice_head(s, n), slice_of(magic, n));
}

/* Of version 1 nothing in front of it tells, so any end may be torn. */
static enum err looks_torn(struct reader *r, uint64_t from, uint64_t until, bool *ret)
{
    uint8_t bytes[1024];
    size_t got;
    struct trail_record record;
    struct trail_place at = {.file = r->file, .offset = from};
    uint64_t left = until - from;
    TRY(r->disk->ops->read_at(r->f, from, bytes, sizeof bytes, &got));
    struct slice here = slice_of(bytes, got < left ? got : (size_t)left);
    bool is_cut_short = left < TRAIL_RECORD_HEAD_BYTES || (left == here.n && is_begun_head(here)) ||
                        (r->seal.aead != NULL && trail_record_head(&r->seal, at, here, &record) &&
                         record.bytes > left);
    if (is_cut_short || (r->seal.aead != NULL && r->seal.version == TRAIL_VERSION_LINES)) {
        *ret = true;
        return OK;
    }
    for (uint64_t done = 0; done < left; done += here.n) {
        TRY(r->disk->ops->read_at(r->f, from + done, bytes, sizeof bytes, &got));
        here = slice_of(bytes, got < left - done ? got : (size_t)(left - done));
        if (here.n == 0 || !is_zeros(here)) {
            *ret = false;
            return OK;
        }
    }
    *ret = true;
    return OK;
}

static void tell(struct reader *r, struct trail_piece p)
{
    if (r->sink->piece != NULL) {
        p.file = r->file;
        r->sink->piece(r->sink->ctx, &p);
    }
}

static void tell_bad(struct reader *r, uint64_t until, bool is_torn)
{
    tell(r, (struct trail_piece){.kind = TRAIL_PIECE_BAD,
                                 .offset = r->bad_from,
                                 .bytes = until - r->bad_from,
                                 .is_torn = is_torn,
                                 .is_last = until == r->size});
    r->bad_from = UINT64_MAX;
}

static void damaged(struct reader *r, uint64_t until, uint64_t lines)
{
    struct trail_damage d = {
        .file = r->file, .offset = r->bad_from, .bytes = until - r->bad_from, .lines = lines};
    if (r->report->damages++ == 0) {
        r->report->first = d;
    }
    if (r->sink->damage != NULL) {
        r->sink->damage(r->sink->ctx, &d);
    }
    tell_bad(r, until, false);
}

/* The bytes before `until` that do not verify are the end of an opening or of a file. */
static enum err ended(struct reader *r, uint64_t until)
{
    bool is_torn;
    if (r->bad_from == UINT64_MAX) {
        return OK;
    }
    TRY(looks_torn(r, r->bad_from, until, &is_torn));
    if (!is_torn) {
        damaged(r, until, 0);
        return OK;
    }
    r->report->torn_bytes += until - r->bad_from;
    tell_bad(r, until, true);
    return OK;
}

/* ---- heads and records ---- */

static bool is_in_place(struct trail_place written, struct trail_place at)
{
    return written.file == at.file && written.offset == at.offset;
}

static enum err take_head(struct reader *r, uint64_t at, struct slice here, size_t *ret_took)
{
    AUTO(trail_seal_done) struct trail_seal found = {0};
    struct trail_place place = {.file = r->file, .offset = at};
    uint32_t copy;
    enum err err = trail_head_read(r->root, place, here, &found, &copy);
    if (err == ERR_NOT_FOUND ||
        (err == OK && r->sink->piece == NULL && !is_in_place(found.written, place))) {
        return OK;
    }
    TRY(err);
    size_t bytes = trail_head_bytes(found.version);
    if (copy > 0 && !r->has_head && r->bad_from != UINT64_MAX) {
        /* The copy before it was bad, which is damage; what was bad before that one is not ours. */
        uint64_t first = at >= bytes ? at - bytes : 0;
        uint64_t from = r->bad_from;
        if (from < first) {
            TRY(ended(r, first));
        }
        r->bad_from = from > first ? from : first;
        damaged(r, at, 0);
    } else {
        TRY(ended(r, at));
    }
    bool is_same = slice_equal(slice_of(found.salt, sizeof found.salt),
                               slice_of(r->seal.salt, sizeof r->seal.salt));
    if (copy == 0 || !is_same) {
        r->next_number = 0;
    }
    r->has_head = copy == 0;
    trail_seal_done(&r->seal);
    r->seal = found;
    found.aead = NULL;
    tell(r, (struct trail_piece){.kind = TRAIL_PIECE_HEAD,
                                 .offset = at,
                                 .bytes = bytes,
                                 .written_file = r->seal.written.file,
                                 .written_offset = r->seal.written.offset});
    *ret_took = bytes;
    return OK;
}

/* What a record says, for those who read lines. */
static void take_plain(struct reader *r, struct slice plain)
{
    struct chain_entry e = {.kind = CHAIN_EVENT, .body = plain};
    bool is_chain = r->seal.version == TRAIL_VERSION_CHAIN;
    if (is_chain && chain_entry_decode(plain, &e) != OK) {
        return;
    }
    if (e.kind != CHAIN_EVENT || e.body.n == 0) {
        return; /* a checkpoint; or the end of an opening of version 1 */
    }
    r->report->lines++;
    if (r->sink->line != NULL) {
        r->sink->line(r->sink->ctx, e.body);
    }
}

static void take_record(struct reader *r, uint64_t at, struct slice here, size_t *ret_took)
{
    struct trail_place place = {.file = r->file, .offset = at};
    struct trail_record record;
    struct slice plain;
    if (!trail_record_head(&r->seal, place, here, &record) ||
        (r->sink->piece == NULL && !is_in_place(record.written, place)) ||
        trail_record_open(&r->seal, &record, here, r->plain, &plain) != OK) {
        return;
    }
    if (r->bad_from != UINT64_MAX) {
        uint64_t lines = record.number > r->next_number ? record.number - r->next_number : 0;
        damaged(r, at, lines);
    }
    r->next_number = record.number + 1;
    r->has_head = false;
    *ret_took = record.bytes;
    take_plain(r, plain);
    tell(r, (struct trail_piece){.kind = r->seal.version == TRAIL_VERSION_CHAIN ? TRAIL_PIECE_ENTRY
                                         : plain.n > 0                          ? TRAIL_PIECE_LINE
                                                                                : TRAIL_PIECE_END,
                                 .offset = at,
                                 .bytes = record.bytes,
                                 .written_file = record.written.file,
                                 .written_offset = record.written.offset,
                                 .plain = plain});
}

static enum err read_records(struct reader *r)
{
    for (uint64_t at = 0; at < r->size;) {
        struct slice here;
        size_t took = 0;
        TRY(look(r, at, &here));
        if (here.n == 0) {
            return ERR_IO; /* somebody cut the file while we read it */
        }
        if (r->seal.aead != NULL) {
            take_record(r, at, here, &took);
        }
        if (took == 0) {
            TRY(take_head(r, at, here, &took));
        }
        if (took == 0 && r->bad_from == UINT64_MAX) {
            r->bad_from = at;
            r->has_head = false;
        }
        at += took > 0 ? took : 1;
    }
    return ended(r, r->size);
}

static enum err read_file(struct reader *r, uint32_t file)
{
    char name[TRAIL_NAME_BYTES];
    trail_name(file, name);
    enum err err = r->disk->ops->open(r->disk, name, DISK_READ, &r->f);
    if (err == ERR_NOT_FOUND) {
        return OK; /* forgotten since we looked */
    }
    TRY(err);
    r->file = file;
    r->window_n = 0;
    r->window_at = 0;
    r->bad_from = UINT64_MAX;
    r->has_head = false;
    trail_seal_done(&r->seal);
    err = r->disk->ops->size(r->f, &r->size);
    if (err == OK) {
        tell(r, (struct trail_piece){.kind = TRAIL_PIECE_FILE, .bytes = r->size});
        err = read_records(r);
    }
    r->disk->ops->close(r->f);
    r->f = NULL;
    r->report->files++;
    r->report->bytes += r->size;
    return err;
}

enum err trail_read(struct disk *d, struct slice root, unsigned n_files,
                    const struct trail_sink *sink, struct trail_report *ret)
{
    AUTO(trail_files_done) struct trail_files files = {0};
    struct trail_report report = {0};
    AUTO(reader_done) struct reader r = {.disk = d, .root = root, .sink = sink, .report = &report};
    if (root.n != TRAIL_ROOT_BYTES) {
        return ERR_CRYPTO;
    }
    TRY(trail_files_list(d, &files));
    r.window = mem_alloc(WINDOW_BYTES);
    if (r.window == NULL) {
        return ERR_NOMEM;
    }
    size_t n = trail_files_n(&files);
    for (size_t i = n_files > 0 && n_files < n ? n - n_files : 0; i < n; i++) {
        TRY(read_file(&r, trail_files_at(&files, i)));
    }
    *ret = report;
    return OK;
}

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
    uint8_t line[TRAIL_LINE_MAX];
};

static void reader_done(struct reader *r)
{
    trail_seal_done(&r->seal);
    if (r->f != NULL) {
        r->disk->ops->close(r->f);
    }
    mem_free(r->window);
    mem_wipe(r->line, sizeof r->line);
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
    r->bad_from = UINT64_MAX;
}

/* The bytes before `until` that do not verify are the end of an opening, or of no opening at all.
 */
static void ended(struct reader *r, uint64_t until)
{
    if (r->bad_from == UINT64_MAX) {
        return;
    }
    if (r->seal.aead == NULL) {
        damaged(r, until, 0);
        return;
    }
    r->report->torn_bytes += until - r->bad_from;
    r->bad_from = UINT64_MAX;
}

static enum err take_head(struct reader *r, uint64_t at, struct slice here, size_t *ret_took)
{
    struct trail_seal found = {0};
    struct trail_place place = {.file = r->file, .offset = at};
    uint32_t copy;
    enum err err = trail_head_read(r->root, place, here, &found, &copy);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    if (copy > 0 && !r->has_head && r->bad_from != UINT64_MAX) {
        /* The copy before it was bad, which is damage; what was bad before that one is not ours. */
        uint64_t first = at >= TRAIL_HEAD_BYTES ? at - TRAIL_HEAD_BYTES : 0;
        uint64_t from = r->bad_from;
        if (from < first) {
            ended(r, first);
        }
        r->bad_from = from > first ? from : first;
        damaged(r, at, 0);
    } else {
        ended(r, at);
    }
    bool is_same = slice_equal(slice_of(found.salt, sizeof found.salt),
                               slice_of(r->seal.salt, sizeof r->seal.salt));
    if (copy == 0 || !is_same) {
        r->next_number = 0;
    }
    r->has_head = copy == 0;
    trail_seal_done(&r->seal);
    r->seal = found;
    *ret_took = TRAIL_HEAD_BYTES;
    return OK;
}

static void take_record(struct reader *r, uint64_t at, struct slice here, size_t *ret_took)
{
    struct trail_place place = {.file = r->file, .offset = at};
    struct trail_record record;
    struct slice line;
    if (!trail_record_head(&r->seal, place, here, &record) ||
        trail_record_open(&r->seal, place, &record, here, r->line, &line) != OK) {
        return;
    }
    if (r->bad_from != UINT64_MAX) {
        uint64_t lines = record.number > r->next_number ? record.number - r->next_number : 0;
        damaged(r, at, lines);
    }
    r->next_number = record.number + 1;
    r->has_head = false;
    *ret_took = record.bytes;
    if (line.n > 0) { /* else the end of an opening */
        r->report->lines++;
        if (r->sink->line != NULL) {
            r->sink->line(r->sink->ctx, line);
        }
    }
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
    ended(r, r->size);
    return OK;
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

#include "service/watch/audit_plain.h"

#include <stdio.h>

#include "base/mem.h"

enum { PIECE_BYTES = 64 * 1024 };
_Static_assert((int)PIECE_BYTES > (int)TRAIL_LINE_MAX, "a piece holds a line");

struct plain {
    struct disk *disk;
    struct disk_file *f;
    uint8_t *piece; /* PIECE_BYTES */
};

static void plain_done(struct plain *p)
{
    if (p->f != NULL) {
        p->disk->ops->close(p->f);
    }
    mem_free(p->piece);
}

static bool is_json(struct slice line)
{
    return line.n > 2 && line.n <= TRAIL_LINE_MAX && line.p[0] == '{' && line.p[line.n - 2] == '}';
}

static enum err take_lines(struct plain *p, struct trail *t, uint64_t *lines)
{
    for (uint64_t at = 0;;) {
        size_t got;
        TRY(p->disk->ops->read_at(p->f, at, p->piece, PIECE_BYTES, &got));
        struct slice rest = slice_of(p->piece, got);
        size_t end = slice_find(rest, '\n');
        if (end == rest.n && got < PIECE_BYTES) {
            return OK; /* a torn last line, or nothing */
        }
        if (end == rest.n) {
            at += got; /* no event is so long */
            continue;
        }
        for (; end < rest.n; end = slice_find(rest, '\n')) {
            struct slice line = slice_head(rest, end + 1);
            if (is_json(line)) {
                TRY(trail_append(t, line));
                (*lines)++;
            }
            rest = slice_from(rest, end + 1);
            at += end + 1;
        }
    }
}

static enum err overwrite(struct plain *p)
{
    uint64_t size;
    TRY(p->disk->ops->size(p->f, &size));
    memset(p->piece, 0, PIECE_BYTES);
    for (uint64_t at = 0; at < size; at += PIECE_BYTES) {
        uint64_t left = size - at;
        size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        TRY(p->disk->ops->write_at(p->f, at, slice_of(p->piece, n)));
    }
    return p->disk->ops->sync(p->f);
}

static enum err take_file(struct disk *d, const char *name, struct trail *t, uint64_t *lines)
{
    AUTO(plain_done) struct plain p = {.disk = d};
    struct disk_file *there;
    enum err err = d->ops->open(d, name, DISK_READ, &there);
    if (err == ERR_NOT_FOUND) {
        return OK;
    }
    TRY(err);
    d->ops->close(there);
    TRY(d->ops->open(d, name, DISK_WRITE, &p.f)); /* which would have made it */
    p.piece = mem_alloc(PIECE_BYTES);
    if (p.piece == NULL) {
        return ERR_NOMEM;
    }
    TRY(take_lines(&p, t, lines));
    TRY(trail_sync(t));
    TRY(overwrite(&p));
    return d->ops->remove(d, name);
}

enum err audit_plain_take(struct disk *d, struct trail *t, uint64_t *ret_lines)
{
    *ret_lines = 0;
    for (unsigned i = AUDIT_PLAIN_OLD_MAX; i > 0; i--) {
        char name[32];
        (void)snprintf(name, sizeof name, AUDIT_PLAIN_FILE ".%u", i);
        TRY(take_file(d, name, t, ret_lines));
    }
    return take_file(d, AUDIT_PLAIN_FILE, t, ret_lines);
}

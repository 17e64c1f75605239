#include "sim_disk.h"

#include <assert.h>

#include "base/mem.h"

enum { FILES_MAX = 16, NAME_MAX_BYTES = 64, FILE_MAX_BYTES = 1 << 24 };

struct disk_file {
    char name[NAME_MAX_BYTES];
    bool is_used;
    unsigned n_open;
    struct buf bytes;
};

struct sim_disk {
    struct disk disk; /* first */
    struct disk_file files[FILES_MAX];
};

static struct sim_disk *of(struct disk *d)
{
    return (struct sim_disk *)(void *)d;
}

static struct disk_file *find(struct disk *d, const char *path)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct disk_file *f = &of(d)->files[i];
        if (f->is_used && slice_is(slice_text(f->name), path)) {
            return f;
        }
    }
    return NULL;
}

static enum err sim_open(struct disk *d, const char *path, enum disk_mode mode,
                         struct disk_file **ret)
{
    struct disk_file *f = find(d, path);
    for (size_t i = 0; f == NULL && mode != DISK_READ && i < FILES_MAX; i++) {
        struct disk_file *free_one = &of(d)->files[i];
        if (!free_one->is_used && slice_to_text(slice_text(path), free_one->name, NAME_MAX_BYTES)) {
            free_one->is_used = true;
            f = free_one;
        }
    }
    if (f == NULL) {
        return mode == DISK_READ ? ERR_NOT_FOUND : ERR_SPACE;
    }
    f->n_open++;
    *ret = f;
    return OK;
}

static void sim_close(struct disk_file *f)
{
    assert(f->n_open > 0);
    f->n_open--;
}

static enum err sim_read_at(struct disk_file *f, uint64_t at, void *dst, size_t n, size_t *ret_n)
{
    struct slice part = slice_head(slice_from(buf_slice(&f->bytes), (size_t)at), n);
    if (part.n > 0) {
        memcpy(dst, part.p, part.n);
    }
    *ret_n = part.n;
    return OK;
}

static enum err sim_write_at(struct disk_file *f, uint64_t at, struct slice s)
{
    uint8_t *room;
    size_t end = (size_t)at + s.n;
    if (end > f->bytes.n) {
        size_t more = end - f->bytes.n;
        TRY(buf_room(&f->bytes, more, FILE_MAX_BYTES, &room));
        memset(room, 0, more);
        f->bytes.n = end;
    }
    if (s.n > 0) {
        memcpy(f->bytes.p + at, s.p, s.n);
    }
    return OK;
}

static enum err sim_append(struct disk_file *f, struct slice s)
{
    return buf_append(&f->bytes, s, FILE_MAX_BYTES);
}

static enum err sim_sync(struct disk_file *f)
{
    (void)f;
    return OK;
}

static enum err sim_size(struct disk_file *f, uint64_t *ret)
{
    *ret = f->bytes.n;
    return OK;
}

static enum err sim_remove(struct disk *d, const char *path)
{
    struct disk_file *f = find(d, path);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    assert(f->n_open == 0);
    buf_done(&f->bytes);
    *f = (struct disk_file){0};
    return OK;
}

static enum err sim_rename(struct disk *d, const char *from, const char *to)
{
    struct disk_file *f = find(d, from);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    enum err ignored = sim_remove(d, to); /* it need not be there */
    (void)ignored;
    bool fits = slice_to_text(slice_text(to), f->name, NAME_MAX_BYTES);
    return fits ? OK : ERR_TOO_LARGE;
}

static struct disk *sim_free(struct disk *d)
{
    for (size_t i = 0; d != NULL && i < FILES_MAX; i++) {
        buf_done(&of(d)->files[i].bytes);
    }
    mem_free(d);
    return NULL;
}

static const struct disk_ops sim_disk_ops = {.open = sim_open,
                                             .close = sim_close,
                                             .read_at = sim_read_at,
                                             .write_at = sim_write_at,
                                             .append = sim_append,
                                             .sync = sim_sync,
                                             .size = sim_size,
                                             .rename = sim_rename,
                                             .remove = sim_remove,
                                             .free = sim_free};

struct disk *sim_disk_new(void)
{
    struct sim_disk *d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        return NULL;
    }
    d->disk.ops = &sim_disk_ops;
    return &d->disk;
}

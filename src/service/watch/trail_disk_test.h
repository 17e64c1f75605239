/* trail_disk_test - a disk in memory, so that tests and the fuzzer can reach every bit of it. Only
 * what the trail asks of a disk; full after `room` bytes. */
#ifndef SERVICE_WATCH_TRAIL_DISK_TEST_H
#define SERVICE_WATCH_TRAIL_DISK_TEST_H

#include <string.h>

#include "base/disk.h"
#include "base/mem.h"

enum { MEMORY_FILES_MAX = 64, MEMORY_FILE_MAX = 1 << 20 };

struct memory_disk;

struct disk_file {
    struct memory_disk *of;
    char path[64];
    struct buf bytes;
    bool is_there;
};

struct memory_disk {
    struct disk disk; /* first: a struct disk * is one of these */
    struct disk_file files[MEMORY_FILES_MAX];
    size_t room; /* bytes that may still be appended */
    bool tears;  /* an append that does not fit leaves its first half */
    unsigned syncs;
};

static inline struct disk_file *memory_find(struct memory_disk *m, const char *path)
{
    for (size_t i = 0; i < MEMORY_FILES_MAX; i++) {
        if (m->files[i].is_there && strcmp(m->files[i].path, path) == 0) {
            return &m->files[i];
        }
    }
    return NULL;
}

static inline enum err memory_open(struct disk *d, const char *path, enum disk_mode mode,
                                   struct disk_file **ret)
{
    struct memory_disk *m = (struct memory_disk *)(void *)d;
    struct disk_file *f = memory_find(m, path);
    for (size_t i = 0; i < MEMORY_FILES_MAX && f == NULL && mode != DISK_READ; i++) {
        if (!m->files[i].is_there) {
            f = &m->files[i];
            f->of = m;
            f->is_there = true;
            (void)slice_to_text(slice_text(path), f->path, sizeof f->path);
        }
    }
    if (f == NULL) {
        return mode == DISK_READ ? ERR_NOT_FOUND : ERR_SPACE;
    }
    *ret = f;
    return OK;
}

static inline void memory_close(struct disk_file *f)
{
    (void)f;
}

static inline enum err memory_read_at(struct disk_file *f, uint64_t at, void *dst, size_t n,
                                      size_t *ret_n)
{
    struct slice s = slice_head(slice_from(buf_slice(&f->bytes), (size_t)at), n);
    slice_copy(dst, s);
    *ret_n = s.n;
    return OK;
}

static inline enum err memory_write_at(struct disk_file *f, uint64_t at, struct slice s)
{
    if (at == f->bytes.n) { /* a small file anew: takes none of the room */
        return buf_append(&f->bytes, s, MEMORY_FILE_MAX);
    }
    if (at + s.n > f->bytes.n) {
        return ERR_SPACE;
    }
    slice_copy(f->bytes.p + at, s);
    return OK;
}

static inline enum err memory_append(struct disk_file *f, struct slice s)
{
    if (s.n > f->of->room) {
        enum err half =
            f->of->tears ? buf_append(&f->bytes, slice_head(s, s.n / 2), MEMORY_FILE_MAX) : OK;
        return half == OK ? ERR_SPACE : half;
    }
    f->of->room -= s.n;
    return buf_append(&f->bytes, s, MEMORY_FILE_MAX);
}

static inline enum err memory_sync(struct disk_file *f)
{
    f->of->syncs++;
    return OK;
}

static inline enum err memory_size(struct disk_file *f, uint64_t *ret)
{
    *ret = f->bytes.n;
    return OK;
}

static inline enum err memory_remove(struct disk *d, const char *path)
{
    struct disk_file *f = memory_find((struct memory_disk *)(void *)d, path);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    buf_done(&f->bytes);
    f->is_there = false;
    return OK;
}

static inline enum err memory_rename(struct disk *d, const char *from, const char *to)
{
    struct memory_disk *m = (struct memory_disk *)(void *)d;
    struct disk_file *f = memory_find(m, from);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    if (memory_find(m, to) != NULL) {
        enum err err = memory_remove(d, to);
        (void)err;
    }
    (void)slice_to_text(slice_text(to), f->path, sizeof f->path);
    return OK;
}

static inline enum err memory_make_dir(struct disk *d, const char *path)
{
    (void)d;
    (void)path;
    return OK;
}

static inline enum err memory_list(struct disk *d, const char *dir,
                                   void (*each)(void *ctx, const char *name), void *ctx)
{
    struct memory_disk *m = (struct memory_disk *)(void *)d;
    size_t n = strlen(dir);
    for (size_t i = 0; i < MEMORY_FILES_MAX; i++) {
        const struct disk_file *f = &m->files[i];
        if (f->is_there && strncmp(f->path, dir, n) == 0 && f->path[n] == '/') {
            each(ctx, f->path + n + 1);
        }
    }
    return OK;
}

static inline void memory_disk_init(struct memory_disk *m)
{
    static const struct disk_ops ops = {.open = memory_open,
                                        .close = memory_close,
                                        .read_at = memory_read_at,
                                        .write_at = memory_write_at,
                                        .append = memory_append,
                                        .sync = memory_sync,
                                        .size = memory_size,
                                        .rename = memory_rename,
                                        .remove = memory_remove,
                                        .make_dir = memory_make_dir,
                                        .list = memory_list};
    memset(m, 0, sizeof *m);
    m->disk.ops = &ops;
    m->room = MEMORY_FILE_MAX;
}

static inline void memory_disk_done(struct memory_disk *m)
{
    for (size_t i = 0; i < MEMORY_FILES_MAX; i++) {
        buf_done(&m->files[i].bytes);
    }
}

#endif

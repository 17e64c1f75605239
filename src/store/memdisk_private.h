/*
 * memdisk - a disk in memory for this folder's tests and fuzz targets.
 *
 * It keeps the bytes of files that lost their names (is_gone), so that a test can look whether they
 * were overwritten, and fails on request: from the n-th operation that changes something on,
 * everything that changes something says ERR_IO, as after a power cut that the program survived.
 */
#ifndef STORE_MEMDISK_PRIVATE_H
#define STORE_MEMDISK_PRIVATE_H

#include <assert.h>
#include <stdio.h>

#include "base/disk.h"
#include "base/mem.h"

enum { MEMDISK_FILES = 128, MEMDISK_NAME_BYTES = 64, MEMDISK_FILE_MAX = 1 << 26 };

struct disk_file {
    char name[MEMDISK_NAME_BYTES];
    struct memdisk *disk;
    bool is_used, is_gone;
    unsigned n_open;
    struct buf bytes;
};

struct memdisk {
    struct disk disk; /* first */
    struct disk_file files[MEMDISK_FILES];
    long fail_after;    /* changes that still succeed; below 0: all */
    uint64_t bad_at;    /* reads that touch [bad_at, bad_at + bad_n) fail */
    uint64_t bad_n;     /* 0: none do */
    uint64_t room_free; /* what space and reserve know; UINT64_MAX: no end */
};

static struct memdisk *memdisk_of(struct disk *d)
{
    return (struct memdisk *)(void *)d;
}

static enum err memdisk_change(struct memdisk *m)
{
    if (m->fail_after == 0) {
        return ERR_IO;
    }
    m->fail_after -= m->fail_after > 0;
    return OK;
}

static struct disk_file *memdisk_find(struct memdisk *m, const char *path)
{
    for (size_t i = 0; i < MEMDISK_FILES; i++) {
        struct disk_file *f = &m->files[i];
        if (f->is_used && !f->is_gone && slice_is(slice_text(f->name), path)) {
            return f;
        }
    }
    return NULL;
}

static enum err memdisk_open(struct disk *d, const char *path, enum disk_mode mode,
                             struct disk_file **ret)
{
    struct memdisk *m = memdisk_of(d);
    struct disk_file *f = memdisk_find(m, path);
    if (f == NULL && mode == DISK_READ) {
        return ERR_NOT_FOUND;
    }
    if (f == NULL) {
        TRY(memdisk_change(m));
    }
    for (size_t i = 0; f == NULL && i < MEMDISK_FILES; i++) {
        struct disk_file *one = &m->files[i];
        if (!one->is_used && slice_to_text(slice_text(path), one->name, sizeof one->name)) {
            one->is_used = true;
            one->disk = m;
            f = one;
        }
    }
    if (f == NULL) {
        return ERR_SPACE;
    }
    f->n_open++;
    *ret = f;
    return OK;
}

static void memdisk_close(struct disk_file *f)
{
    assert(f->n_open > 0);
    f->n_open--;
}

static enum err memdisk_read_at(struct disk_file *f, uint64_t at, void *dst, size_t n,
                                size_t *ret_n)
{
    if (f->disk->bad_n > 0 && at < f->disk->bad_at + f->disk->bad_n && f->disk->bad_at < at + n) {
        return ERR_IO;
    }
    struct slice part = slice_head(slice_from(buf_slice(&f->bytes), (size_t)at), n);
    slice_copy(dst, part);
    *ret_n = part.n;
    return OK;
}

static enum err memdisk_grow(struct disk_file *f, size_t end)
{
    if (end > f->bytes.n) {
        uint8_t *room = NULL;
        size_t more = end - f->bytes.n;
        TRY(buf_room(&f->bytes, more, MEMDISK_FILE_MAX, &room));
        memset(room, 0, more);
        f->bytes.n = end;
    }
    return OK;
}

static enum err memdisk_write_at(struct disk_file *f, uint64_t at, struct slice s)
{
    TRY(memdisk_change(f->disk));
    TRY(memdisk_grow(f, (size_t)at + s.n));
    if (s.n > 0) {
        slice_copy(f->bytes.p + at, s);
    }
    return OK;
}

static enum err memdisk_append(struct disk_file *f, struct slice s)
{
    TRY(memdisk_change(f->disk));
    return buf_append(&f->bytes, s, MEMDISK_FILE_MAX);
}

static enum err memdisk_sync(struct disk_file *f)
{
    return memdisk_change(f->disk);
}

static enum err memdisk_size(struct disk_file *f, uint64_t *ret)
{
    *ret = f->bytes.n;
    return OK;
}

static enum err memdisk_remove(struct disk *d, const char *path)
{
    struct disk_file *f = memdisk_find(memdisk_of(d), path);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(memdisk_change(memdisk_of(d)));
    f->is_gone = true;
    return OK;
}

static enum err memdisk_rename(struct disk *d, const char *from, const char *to)
{
    struct disk_file *f = memdisk_find(memdisk_of(d), from);
    struct disk_file *old = memdisk_find(memdisk_of(d), to);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(memdisk_change(memdisk_of(d)));
    if (old != NULL) {
        old->is_gone = true;
    }
    return slice_to_text(slice_text(to), f->name, sizeof f->name) ? OK : ERR_TOO_LARGE;
}

static enum err memdisk_reserve(struct disk_file *f, uint64_t size)
{
    TRY(memdisk_change(f->disk));
    uint64_t more = size > f->bytes.n ? size - f->bytes.n : 0;
    if (more > f->disk->room_free) {
        return ERR_SPACE;
    }
    return memdisk_grow(f, (size_t)size);
}

static enum err memdisk_make_dir(struct disk *d, const char *path)
{
    (void)path;
    return memdisk_change(memdisk_of(d));
}

static enum err memdisk_list(struct disk *d, const char *dir,
                             void (*each)(void *ctx, const char *name), void *ctx)
{
    char prefix[MEMDISK_NAME_BYTES];
    bool is_root = dir[0] == '\0' || slice_is(slice_text(dir), ".");
    (void)snprintf(prefix, sizeof prefix, "%s%s", is_root ? "" : dir, is_root ? "" : "/");
    for (size_t i = 0; i < MEMDISK_FILES; i++) {
        const struct disk_file *f = &memdisk_of(d)->files[i];
        struct slice name = slice_text(f->name);
        struct slice last = slice_from(name, strlen(prefix));
        if (f->is_used && !f->is_gone && slice_has_prefix(name, slice_text(prefix)) &&
            slice_find(last, '/') == last.n) {
            each(ctx, f->name + strlen(prefix));
        }
    }
    return OK;
}

static enum err memdisk_space(struct disk *d, const char *dir, uint64_t *ret_total,
                              uint64_t *ret_free)
{
    (void)dir;
    *ret_total = UINT64_C(1) << 40;
    *ret_free = memdisk_of(d)->room_free;
    return OK;
}

static struct disk *memdisk_free(struct disk *d)
{
    for (size_t i = 0; d != NULL && i < MEMDISK_FILES; i++) {
        assert(memdisk_of(d)->files[i].n_open == 0);
        buf_done(&memdisk_of(d)->files[i].bytes);
    }
    mem_free(d);
    return NULL;
}

static struct memdisk *memdisk_new(void)
{
    static const struct disk_ops ops = {
        .open = memdisk_open,
        .close = memdisk_close,
        .read_at = memdisk_read_at,
        .write_at = memdisk_write_at,
        .append = memdisk_append,
        .sync = memdisk_sync,
        .size = memdisk_size,
        .rename = memdisk_rename,
        .remove = memdisk_remove,
        .reserve = memdisk_reserve,
        .make_dir = memdisk_make_dir,
        .list = memdisk_list,
        .space = memdisk_space,
        .free = memdisk_free,
    };
    struct memdisk *m = mem_zalloc(sizeof *m);
    assert(m != NULL);
    m->disk.ops = &ops;
    m->fail_after = -1;
    m->room_free = UINT64_MAX;
    return m;
}

#endif

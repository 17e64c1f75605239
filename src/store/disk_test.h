/*
 * disk_test - a disk in memory for tests of what stands on one: it can fail its n-th call, be full,
 * lose its power. Names are durable at once, contents after sync; a power cut keeps any sectors of
 * what was not synced. After a failed sync the sectors that did not reach the disk are lost without
 * a word, as on Linux: a later sync of the same file says OK.
 */
#ifndef STORE_DISK_TEST_H
#define STORE_DISK_TEST_H

#include <stdio.h>

#include "base/disk.h"
#include "base/mem.h"
#include "base/random.h"

enum { TEST_DISK_FILES = 256, TEST_SECTOR_BYTES = 512, TEST_NAME_BYTES = 64 };

struct test_file {
    char name[TEST_NAME_BYTES]; /* empty: a free place */
    uint8_t *now, *durable;
    uint8_t *dirty; /* one for each sector */
    uint64_t size;  /* of all */
    uint64_t given; /* back, of it */
    unsigned n_open;
    bool is_removed;
};

struct test_disk {
    struct disk disk; /* first */
    struct test_file *files[TEST_DISK_FILES];
    uint64_t capacity; /* bytes of all files */
    struct random_source random;
    uint64_t random_state;
    /* Calls that change something (open for writing, write, sync, rename, remove, reserve,
     * make_dir) count. */
    uint64_t n_calls, n_syncs, n_writes;
    uint64_t fail_from, fail_to; /* calls numbered so fail, from 1; 0: none */
    enum err fail_with;
    bool is_unreadable; /* it takes what is written, and gives nothing back */
    bool is_dead;       /* the power is off: nothing works, nothing changes */
    uint64_t die_at;    /* at this call */
};

struct disk_file {
    struct test_disk *disk;
    struct test_file *file;
    enum disk_mode mode;
};

static inline struct test_disk *test_disk_of(struct disk *d)
{
    return (struct test_disk *)(void *)d;
}

static inline uint64_t test_sectors(uint64_t bytes)
{
    return (bytes + TEST_SECTOR_BYTES - 1) / TEST_SECTOR_BYTES;
}

/* test_disk_cut - the power goes: of what was not synced each sector is there or not. */
static inline void test_disk_cut(struct test_disk *t)
{
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        struct test_file *f = t->files[i];
        for (uint64_t s = 0; f != NULL && s < test_sectors(f->size); s++) {
            if (f->dirty[s] == 0) {
                continue;
            }
            uint64_t at = s * TEST_SECTOR_BYTES;
            size_t n =
                (size_t)(f->size - at < TEST_SECTOR_BYTES ? f->size - at : TEST_SECTOR_BYTES);
            bool survives = random_below(&t->random, 2) == 0;
            memcpy((survives ? f->durable : f->now) + at, (survives ? f->now : f->durable) + at, n);
            f->dirty[s] = 0;
        }
    }
}

/* test_disk_call - counts; what the call must answer. */
static inline enum err test_disk_call(struct test_disk *t)
{
    if (t->is_dead) {
        return ERR_IO;
    }
    t->n_calls++;
    if (t->die_at != 0 && t->n_calls >= t->die_at) {
        t->is_dead = true;
        return ERR_IO;
    }
    return t->fail_from != 0 && t->n_calls >= t->fail_from && t->n_calls <= t->fail_to
               ? t->fail_with
               : OK;
}

static inline uint64_t test_disk_used(const struct test_disk *t)
{
    uint64_t n = 0;
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        n += t->files[i] != NULL ? t->files[i]->size - t->files[i]->given : 0;
    }
    return n;
}

static inline struct test_file *test_disk_find(struct test_disk *t, const char *path)
{
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        if (t->files[i] != NULL && !t->files[i]->is_removed &&
            strcmp(t->files[i]->name, path) == 0) {
            return t->files[i];
        }
    }
    return NULL;
}

static inline void test_file_drop(struct test_disk *t, struct test_file *f)
{
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        if (t->files[i] == f) {
            t->files[i] = NULL;
        }
    }
    mem_free(f->now);
    mem_free(f->durable);
    mem_free(f->dirty);
    mem_free(f);
}

static inline enum err test_file_grow(struct test_disk *t, struct test_file *f, uint64_t size)
{
    if (size <= f->size) {
        return OK;
    }
    if (test_disk_used(t) - f->size + size > t->capacity) {
        return ERR_SPACE;
    }
    uint8_t *now = mem_zalloc(size), *durable = mem_zalloc(size);
    uint8_t *dirty = mem_zalloc(test_sectors(size));
    if (now == NULL || durable == NULL || dirty == NULL) {
        mem_free(now);
        mem_free(durable);
        mem_free(dirty);
        return ERR_NOMEM;
    }
    slice_copy(now, slice_of(f->now, f->size));
    slice_copy(durable, slice_of(f->durable, f->size));
    slice_copy(dirty, slice_of(f->dirty, test_sectors(f->size)));
    mem_free(f->now);
    mem_free(f->durable);
    mem_free(f->dirty);
    f->now = now;
    f->durable = durable;
    f->dirty = dirty;
    f->size = size;
    return OK;
}

static inline enum err test_disk_open(struct disk *d, const char *path, enum disk_mode mode,
                                      struct disk_file **ret)
{
    struct test_disk *t = test_disk_of(d);
    struct test_file *f = test_disk_find(t, path);
    if (mode != DISK_READ) {
        TRY(test_disk_call(t));
    }
    if (f == NULL && mode == DISK_READ) {
        return ERR_NOT_FOUND;
    }
    struct disk_file *handle = mem_zalloc(sizeof *handle);
    if (handle == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; f == NULL && i < TEST_DISK_FILES; i++) {
        if (t->files[i] == NULL && (t->files[i] = f = mem_zalloc(sizeof *f)) != NULL) {
            (void)snprintf(f->name, sizeof f->name, "%s", path);
        }
    }
    if (f == NULL) {
        mem_free(handle);
        return ERR_NOMEM;
    }
    f->n_open++;
    *handle = (struct disk_file){.disk = t, .file = f, .mode = mode};
    *ret = handle;
    return OK;
}

static inline void test_disk_close(struct disk_file *h)
{
    if (h != NULL) {
        h->file->n_open--;
        if (h->file->is_removed && h->file->n_open == 0) {
            test_file_drop(h->disk, h->file);
        }
        mem_free(h);
    }
}

static inline enum err test_disk_read(struct disk_file *h, uint64_t at, void *dst, size_t n,
                                      size_t *ret_n)
{
    if (h->disk->is_unreadable) {
        return ERR_IO;
    }
    struct slice there = slice_head(slice_from(slice_of(h->file->now, h->file->size), at), n);
    slice_copy(dst, there);
    *ret_n = there.n;
    return OK;
}

static inline enum err test_disk_write(struct disk_file *h, uint64_t at, struct slice s)
{
    struct test_file *f = h->file;
    enum err err = test_disk_call(h->disk);
    h->disk->n_writes++;
    if (err == ERR_SPACE ||
        (err != OK && h->disk->is_dead && h->disk->die_at != h->disk->n_calls)) {
        return err;
    }
    TRY(test_file_grow(h->disk, f, at + s.n));
    if (err != OK) {
        s = slice_head(s, s.n / 2); /* some of it may have gone before it failed */
    }
    slice_copy(f->now + at, s);
    for (uint64_t i = at / TEST_SECTOR_BYTES; s.n > 0 && i <= (at + s.n - 1) / TEST_SECTOR_BYTES;
         i++) {
        f->dirty[i] = 1;
    }
    return err;
}

static inline enum err test_disk_append(struct disk_file *h, struct slice s)
{
    return test_disk_write(h, h->file->size, s);
}

static inline enum err test_disk_sync(struct disk_file *h)
{
    struct test_file *f = h->file;
    enum err err = test_disk_call(h->disk);
    h->disk->n_syncs++;
    if (h->disk->is_dead) {
        return ERR_IO;
    }
    for (uint64_t s = 0; s < test_sectors(f->size); s++) {
        if (f->dirty[s] != 0 && (err == OK || random_below(&h->disk->random, 2) == 0)) {
            uint64_t at = s * TEST_SECTOR_BYTES;
            size_t n =
                (size_t)(f->size - at < TEST_SECTOR_BYTES ? f->size - at : TEST_SECTOR_BYTES);
            memcpy(f->durable + at, f->now + at, n);
        }
        f->dirty[s] = 0; /* also after an error: nobody tries these again */
    }
    return err;
}

static inline enum err test_disk_size(struct disk_file *h, uint64_t *ret)
{
    *ret = h->file->size;
    return OK;
}

static inline enum err test_disk_remove(struct disk *d, const char *path)
{
    struct test_disk *t = test_disk_of(d);
    TRY(test_disk_call(t));
    struct test_file *f = test_disk_find(t, path);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    f->is_removed = true;
    if (f->n_open == 0) {
        test_file_drop(t, f);
    }
    return OK;
}

static inline enum err test_disk_rename(struct disk *d, const char *from, const char *to)
{
    struct test_disk *t = test_disk_of(d);
    TRY(test_disk_call(t));
    struct test_file *f = test_disk_find(t, from), *old = test_disk_find(t, to);
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    if (old != NULL) {
        old->is_removed = true;
        if (old->n_open == 0) {
            test_file_drop(t, old);
        }
    }
    (void)snprintf(f->name, sizeof f->name, "%s", to);
    return OK;
}

static inline enum err test_disk_reserve(struct disk_file *h, uint64_t size)
{
    TRY(test_disk_call(h->disk));
    return test_file_grow(h->disk, h->file, size);
}

static inline enum err test_disk_make_dir(struct disk *d, const char *path)
{
    (void)path;
    return test_disk_call(test_disk_of(d));
}

static inline enum err test_disk_list(struct disk *d, const char *dir,
                                      void (*each)(void *ctx, const char *name), void *ctx)
{
    struct test_disk *t = test_disk_of(d);
    struct slice under = slice_text(dir);
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        const struct test_file *f = t->files[i];
        if (f != NULL && !f->is_removed && slice_has_prefix(slice_text(f->name), under) &&
            f->name[under.n] == '/') {
            each(ctx, &f->name[under.n + 1]);
        }
    }
    return OK;
}

static inline enum err test_disk_space(struct disk *d, const char *dir, uint64_t *ret_total,
                                       uint64_t *ret_free)
{
    (void)dir;
    struct test_disk *t = test_disk_of(d);
    uint64_t used = test_disk_used(t);
    *ret_total = t->capacity;
    *ret_free = used < t->capacity ? t->capacity - used : 0;
    return OK;
}

static inline struct disk *test_disk_free(struct disk *d)
{
    (void)d;
    return NULL;
}

static inline enum err test_disk_give_back(struct disk_file *h, uint64_t from)
{
    struct test_file *f = h->file;
    TRY(test_disk_call(h->disk));
    if (from < f->size) {
        memset(f->now + from, 0, f->size - from);
        memset(f->durable + from, 0, f->size - from);
        f->given = f->size - from;
    }
    return OK;
}

/* By whole sectors. */
static inline enum err test_disk_written_to(struct disk_file *h, uint64_t *ret)
{
    const struct test_file *f = h->file;
    uint64_t n = f->size;
    if (h->disk->is_dead) {
        return ERR_IO;
    }
    while (n > 0 && f->now[n - 1] == 0) {
        n--;
    }
    n = test_sectors(n) * TEST_SECTOR_BYTES;
    *ret = n < f->size ? n : f->size;
    return OK;
}

/* test_disk_init - an empty disk of the caller's; seed decides what a power cut keeps. */
static inline void test_disk_init(struct test_disk *t, uint64_t capacity, uint64_t seed)
{
    static const struct disk_ops ops = {.open = test_disk_open,
                                        .close = test_disk_close,
                                        .read_at = test_disk_read,
                                        .write_at = test_disk_write,
                                        .append = test_disk_append,
                                        .sync = test_disk_sync,
                                        .size = test_disk_size,
                                        .rename = test_disk_rename,
                                        .remove = test_disk_remove,
                                        .reserve = test_disk_reserve,
                                        .give_back = test_disk_give_back,
                                        .written_to = test_disk_written_to,
                                        .make_dir = test_disk_make_dir,
                                        .list = test_disk_list,
                                        .space = test_disk_space,
                                        .free = test_disk_free};
    *t = (struct test_disk){.disk.ops = &ops, .capacity = capacity, .fail_with = ERR_IO};
    t->random_state = seed;
    t->random = random_seeded(&t->random_state);
}

static inline void test_disk_done(struct test_disk *t)
{
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        if (t->files[i] != NULL) {
            test_file_drop(t, t->files[i]);
        }
    }
}

/* test_disk_fail - the calls numbered from now + after (0: the next one), n of them, fail. */
static inline void test_disk_fail(struct test_disk *t, uint64_t after, uint64_t n, enum err with)
{
    t->fail_from = t->n_calls + after + 1;
    t->fail_to = n == UINT64_MAX ? n : t->fail_from + n - 1;
    t->fail_with = with;
}

static inline void test_disk_heal(struct test_disk *t)
{
    t->fail_from = t->fail_to = t->die_at = 0;
    t->is_dead = false;
}

#endif

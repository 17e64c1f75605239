#include "sim_disk.h"

#include <assert.h>

#include "base/mem.h"

enum { NAMES_MAX = 256, NAME_MAX_BYTES = 64 };
static const uint64_t FILE_MAX_BYTES = 1 << 26;

/* What a name stands for; an open file keeps it when the name goes. */
struct inode {
    unsigned refs;
    uint64_t size, safe_size, cap; /* cap: of the three arrays, whole sectors */
    uint8_t *pages, *safe;
    bool *is_dirty; /* sectors that a sync would write */
};

struct name {
    char text[NAME_MAX_BYTES]; /* empty: unused */
    struct inode *inode;
};

struct sim_disk {
    struct disk disk; /* first */
    struct random_source random;
    struct sim_disk_faults faults;
    struct sim_disk_watch watch;
    bool is_stopped;
    unsigned life, n_open;
    uint64_t n_syncs;
    struct name names[NAMES_MAX];
};

struct disk_file {
    struct sim_disk *disk;
    struct inode *inode;
    enum disk_mode mode;
    unsigned life;
};

static struct sim_disk *of(struct disk *d)
{
    return (struct sim_disk *)(void *)d;
}

static bool chance(struct sim_disk *d, unsigned thousandths)
{
    return thousandths > 0 && random_below(&d->random, 1000) < thousandths;
}

static bool is_dead(const struct disk_file *f)
{
    return f->disk->is_stopped || f->life != f->disk->life;
}

/* ---- files ---- */

static void inode_unref(struct inode *i)
{
    if (i != NULL && --i->refs == 0) {
        mem_free(i->pages);
        mem_free(i->safe);
        mem_free(i->is_dirty);
        mem_free(i);
    }
}

static enum err inode_room(struct inode *i, uint64_t size)
{
    if (size <= i->cap) {
        return OK;
    }
    if (size > FILE_MAX_BYTES) {
        return ERR_SPACE;
    }
    uint64_t cap = i->cap > 0 ? i->cap : 8 * (uint64_t)SIM_SECTOR_BYTES;
    while (cap < size) {
        cap *= 2;
    }
    size_t more = (size_t)(cap - i->cap);
    uint8_t *pages = mem_grow(i->pages, (size_t)cap);
    i->pages = pages != NULL ? pages : i->pages;
    uint8_t *safe = pages != NULL ? mem_grow(i->safe, (size_t)cap) : NULL;
    i->safe = safe != NULL ? safe : i->safe;
    bool *is_dirty = safe != NULL ? mem_grow(i->is_dirty, (size_t)cap / SIM_SECTOR_BYTES) : NULL;
    if (is_dirty == NULL) {
        return ERR_NOMEM;
    }
    i->is_dirty = is_dirty;
    memset(i->pages + i->cap, 0, more);
    memset(i->safe + i->cap, 0, more);
    memset(i->is_dirty + i->cap / SIM_SECTOR_BYTES, 0, more / SIM_SECTOR_BYTES);
    i->cap = cap;
    return OK;
}

static uint64_t n_sectors(const struct inode *i)
{
    return (i->size + SIM_SECTOR_BYTES - 1) / SIM_SECTOR_BYTES;
}

static void sector_save(struct inode *i, uint64_t sector)
{
    memcpy(i->safe + sector * SIM_SECTOR_BYTES, i->pages + sector * SIM_SECTOR_BYTES,
           SIM_SECTOR_BYTES);
}

/* ---- names ---- */

static struct name *find(struct disk *d, const char *path)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        struct name *n = &of(d)->names[i];
        if (n->inode != NULL && slice_is(slice_text(n->text), path)) {
            return n;
        }
    }
    return NULL;
}

static const char *name_of(const struct disk_file *f)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (f->disk->names[i].inode == f->inode) {
            return f->disk->names[i].text;
        }
    }
    return "";
}

static uint64_t used(const struct sim_disk *d)
{
    uint64_t n = 0;
    for (size_t i = 0; i < NAMES_MAX; i++) {
        n += d->names[i].inode != NULL ? d->names[i].inode->size : 0;
    }
    return n;
}

/* Is there room for a file that becomes this much longer? */
static bool has_room(struct sim_disk *d, uint64_t more)
{
    bool fits = d->faults.capacity == 0 || used(d) + more <= d->faults.capacity;
    return more == 0 || (fits && !chance(d, d->faults.space));
}

static enum err name_new(struct sim_disk *d, const char *path, struct name **ret)
{
    for (size_t i = 0; i < NAMES_MAX; i++) {
        struct name *n = &d->names[i];
        if (n->inode == NULL) {
            if (!slice_to_text(slice_text(path), n->text, NAME_MAX_BYTES)) {
                return ERR_TOO_LARGE;
            }
            n->inode = mem_zalloc(sizeof(*n->inode));
            if (n->inode == NULL) {
                return ERR_NOMEM;
            }
            n->inode->refs = 1;
            *ret = n;
            return OK;
        }
    }
    return ERR_SPACE;
}

static enum err sim_open(struct disk *base, const char *path, enum disk_mode mode,
                         struct disk_file **ret)
{
    struct sim_disk *d = of(base);
    if (d->is_stopped) {
        return ERR_IO;
    }
    struct disk_file *f = mem_zalloc(sizeof(*f));
    if (f == NULL) {
        return ERR_NOMEM;
    }
    struct name *n = find(base, path);
    enum err err = n == NULL && mode == DISK_READ ? ERR_NOT_FOUND : OK;
    if (n == NULL && err == OK) {
        err = name_new(d, path, &n);
    }
    if (err != OK) {
        mem_free(f);
        return err;
    }
    n->inode->refs++;
    d->n_open++;
    *f = (struct disk_file){.disk = d, .inode = n->inode, .mode = mode, .life = d->life};
    *ret = f;
    return OK;
}

static void sim_close(struct disk_file *f)
{
    if (f != NULL) {
        assert(f->disk->n_open > 0);
        f->disk->n_open--;
        inode_unref(f->inode);
        mem_free(f);
    }
}

/* ---- bytes ---- */

static enum err sim_read_at(struct disk_file *f, uint64_t at, void *dst, size_t n, size_t *ret_n)
{
    if (is_dead(f) || chance(f->disk, f->disk->faults.read_io)) {
        return ERR_IO;
    }
    const struct inode *i = f->inode;
    uint64_t left = at < i->size ? i->size - at : 0;
    *ret_n = left < n ? (size_t)left : n;
    if (*ret_n > 0) {
        memcpy(dst, i->pages + at, *ret_n);
    }
    return OK;
}

static void put(struct inode *i, uint64_t at, struct slice s)
{
    if (s.n == 0) {
        return;
    }
    memcpy(i->pages + at, s.p, s.n);
    i->size = at + s.n > i->size ? at + s.n : i->size;
    for (uint64_t k = at / SIM_SECTOR_BYTES; k <= (at + s.n - 1) / SIM_SECTOR_BYTES; k++) {
        i->is_dirty[k] = true;
    }
}

static enum err write_bytes(struct disk_file *f, uint64_t at, struct slice s)
{
    struct sim_disk *d = f->disk;
    struct inode *i = f->inode;
    if (is_dead(f)) {
        return ERR_IO;
    }
    uint64_t end = at + s.n;
    if (!has_room(d, end > i->size ? end - i->size : 0)) {
        return ERR_SPACE;
    }
    TRY(inode_room(i, end));
    if (chance(d, d->faults.write_io)) {
        if (f->mode == DISK_WRITE) {
            put(i, at, slice_head(s, (size_t)random_below(&d->random, s.n + 1)));
        }
        return ERR_IO;
    }
    put(i, at, s);
    if (d->watch.wrote != NULL) {
        d->watch.wrote(d->watch.ctx, name_of(f), at, s);
    }
    return OK;
}

static enum err sim_write_at(struct disk_file *f, uint64_t at, struct slice s)
{
    assert(f->mode == DISK_WRITE);
    return write_bytes(f, at, s);
}

static enum err sim_append(struct disk_file *f, struct slice s)
{
    assert(f->mode == DISK_APPEND);
    return write_bytes(f, f->inode->size, s);
}

/* After a sync that failed the kernel calls the pages clean: nobody writes them again. */
static enum err sim_sync(struct disk_file *f)
{
    struct sim_disk *d = f->disk;
    struct inode *i = f->inode;
    if (is_dead(f)) {
        return ERR_IO;
    }
    d->n_syncs++;
    bool fails = chance(d, d->faults.sync_io);
    for (uint64_t k = 0; k < n_sectors(i); k++) {
        if (i->is_dirty[k] && (!fails || chance(d, 500))) {
            sector_save(i, k);
        }
        i->is_dirty[k] = false;
    }
    i->safe_size = !fails || chance(d, 500) ? i->size : i->safe_size;
    return fails ? ERR_IO : OK;
}

static enum err sim_size(struct disk_file *f, uint64_t *ret)
{
    if (is_dead(f)) {
        return ERR_IO;
    }
    *ret = f->inode->size;
    return OK;
}

static enum err sim_reserve(struct disk_file *f, uint64_t size)
{
    struct inode *i = f->inode;
    if (is_dead(f)) {
        return ERR_IO;
    }
    if (!has_room(f->disk, size > i->size ? size - i->size : 0)) {
        return ERR_SPACE;
    }
    TRY(inode_room(i, size));
    i->size = size > i->size ? size : i->size;
    return sim_sync(f);
}

/* ---- the directory ---- */

static enum err sim_remove(struct disk *d, const char *path)
{
    struct name *n = find(d, path);
    if (of(d)->is_stopped) {
        return ERR_IO;
    }
    if (n == NULL) {
        return ERR_NOT_FOUND;
    }
    inode_unref(n->inode);
    *n = (struct name){0};
    return OK;
}

static enum err sim_rename(struct disk *d, const char *from, const char *to)
{
    struct name *n = find(d, from);
    struct slice name = slice_text(to);
    if (of(d)->is_stopped || chance(of(d), of(d)->faults.write_io)) {
        return ERR_IO;
    }
    if (n == NULL || name.n >= NAME_MAX_BYTES) {
        return n == NULL ? ERR_NOT_FOUND : ERR_TOO_LARGE;
    }
    enum err ignored = slice_is(slice_text(from), to) ? OK : sim_remove(d, to);
    (void)ignored; /* it need not be there */
    bool fits = slice_to_text(name, n->text, NAME_MAX_BYTES);
    return fits ? OK : ERR_TOO_LARGE;
}

/* Directories are no more than parts of names. */
static enum err sim_make_dir(struct disk *d, const char *path)
{
    (void)path;
    return of(d)->is_stopped ? ERR_IO : OK;
}

static enum err sim_list(struct disk *d, const char *dir, void (*each)(void *ctx, const char *name),
                         void *ctx)
{
    if (of(d)->is_stopped) {
        return ERR_IO;
    }
    struct slice folder = slice_text(dir);
    bool is_root = folder.n == 0 || slice_is(folder, ".");
    for (size_t i = 0; i < NAMES_MAX; i++) {
        const struct name *n = &of(d)->names[i];
        struct slice rest = slice_text(n->text);
        if (n->inode == NULL) {
            continue;
        }
        if (!is_root) {
            if (!slice_has_prefix(rest, folder) || n->text[folder.n] != '/') {
                continue;
            }
            rest = slice_from(rest, folder.n + 1);
        }
        if (memchr(rest.p, '/', rest.n) == NULL) {
            each(ctx, n->text + (is_root ? 0 : folder.n + 1));
        }
    }
    return OK;
}

static enum err sim_space(struct disk *base, const char *dir, uint64_t *ret_total,
                          uint64_t *ret_free)
{
    (void)dir;
    struct sim_disk *d = of(base);
    if (d->is_stopped) {
        return ERR_IO;
    }
    uint64_t total = d->faults.capacity > 0 ? d->faults.capacity : (uint64_t)1 << 30;
    uint64_t taken = used(d);
    *ret_total = total;
    *ret_free = taken < total ? total - taken : 0;
    return OK;
}

static struct disk *sim_free(struct disk *d)
{
    for (size_t i = 0; d != NULL && i < NAMES_MAX; i++) {
        inode_unref(of(d)->names[i].inode);
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
                                             .reserve = sim_reserve,
                                             .make_dir = sim_make_dir,
                                             .list = sim_list,
                                             .space = sim_space,
                                             .free = sim_free};

struct disk *sim_disk_new(struct random_source random)
{
    struct sim_disk *d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        return NULL;
    }
    d->disk.ops = &sim_disk_ops;
    d->random = random;
    return &d->disk;
}

void sim_disk_set_faults(struct disk *d, const struct sim_disk_faults *f)
{
    of(d)->faults = *f;
}

void sim_disk_set_watch(struct disk *d, const struct sim_disk_watch *w)
{
    of(d)->watch = *w;
}

/* ---- bad days ---- */

void sim_disk_stop(struct disk *d)
{
    of(d)->is_stopped = true;
}

/* One weather for the whole cut: all lost, all kept, or sector by sector. */
static void inode_cut(struct sim_disk *d, struct inode *i, unsigned kept)
{
    for (uint64_t k = 0; k < n_sectors(i); k++) {
        if (i->is_dirty[k] && chance(d, kept)) {
            sector_save(i, k);
        }
        i->is_dirty[k] = false;
    }
    if (i->size != i->safe_size && chance(d, kept)) {
        i->safe_size = i->size;
    }
    i->size = i->safe_size;
    if (i->cap == 0) {
        return;
    }
    memset(i->safe + i->size, 0, (size_t)(i->cap - i->size));
    memcpy(i->pages, i->safe, (size_t)i->cap);
}

void sim_disk_cut(struct disk *base)
{
    struct sim_disk *d = of(base);
    assert(d->is_stopped);
    static const unsigned weathers[] = {0, 1000, 100, 500, 900};
    unsigned kept = weathers[random_below(&d->random, sizeof(weathers) / sizeof(weathers[0]))];
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (d->names[i].inode != NULL) {
            inode_cut(d, d->names[i].inode, kept);
        }
    }
}

/* What a failed sync left in the pages alone is gone from them by then, as after the cache was
 * dropped. On a real disk it may stay there a while, and no sync of the next process would help. */
static void inode_evict(struct inode *i)
{
    for (uint64_t k = 0; k < n_sectors(i); k++) {
        if (!i->is_dirty[k]) {
            memcpy(i->pages + k * SIM_SECTOR_BYTES, i->safe + k * SIM_SECTOR_BYTES,
                   SIM_SECTOR_BYTES);
        }
    }
}

void sim_disk_start(struct disk *d)
{
    assert(of(d)->n_open == 0);
    for (size_t i = 0; i < NAMES_MAX; i++) {
        if (of(d)->names[i].inode != NULL) {
            inode_evict(of(d)->names[i].inode);
        }
    }
    of(d)->is_stopped = false;
    of(d)->life++;
}

bool sim_disk_flip(struct disk *base, const char *prefix)
{
    struct sim_disk *d = of(base);
    struct inode *found = NULL;
    unsigned n = 0;
    for (size_t i = 0; i < NAMES_MAX; i++) {
        struct inode *f = d->names[i].inode;
        if (f != NULL && f->size > 0 &&
            slice_has_prefix(slice_text(d->names[i].text), slice_text(prefix))) {
            n++;
            found = random_below(&d->random, n) == 0 ? f : found;
        }
    }
    if (found == NULL) {
        return false;
    }
    uint64_t at = random_below(&d->random, found->size);
    uint8_t bit = (uint8_t)(1u << random_below(&d->random, 8));
    found->pages[at] ^= bit;
    found->safe[at] ^= bit;
    return true;
}

uint64_t sim_disk_syncs(const struct disk *d)
{
    return ((const struct sim_disk *)(const void *)d)->n_syncs;
}

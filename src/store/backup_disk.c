/* A backup seen as a disk, so that a store can be opened in it as after a restore, and nothing is
 * written. */
#include <stdio.h>

#include "base/mem.h"
#include "store/backup_private.h"

enum { NAME_BYTES = 256, MEMORY_MAX = 1 << 30, ROOM_BYTES = 1 << 30 };

/* A file that was written here. */
struct written {
    char name[NAME_BYTES];
    struct buf bytes;
    struct written *next;
    bool is_removed;
};

struct disk_file {
    struct backup *backup; /* NULL: it is a written one */
    size_t i;
    struct written *written;
    enum disk_mode mode;
};

struct view {
    struct disk disk; /* first: a struct disk * is one of these */
    struct backup *backup;
    struct written *files;
};

static struct view *view_of(struct disk *d)
{
    return (struct view *)(void *)d;
}

static struct written *find_written(struct view *v, const char *path)
{
    for (struct written *w = v->files; w != NULL; w = w->next) {
        if (!w->is_removed && slice_is(slice_text(path), w->name)) {
            return w;
        }
    }
    return NULL;
}

static bool find_stored(const struct view *v, const char *path, size_t *ret)
{
    size_t n = v->backup != NULL ? backup_count(v->backup) : 0;
    for (size_t i = 0; i < n; i++) {
        if (slice_is(slice_text(path), backup_name(v->backup, i))) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static enum err make_written(struct view *v, const char *path, struct written **ret)
{
    struct written *w = mem_zalloc(sizeof *w);
    if (w == NULL) {
        return ERR_NOMEM;
    }
    if (!slice_to_text(slice_text(path), w->name, sizeof w->name)) {
        mem_free(w);
        return ERR_TOO_LARGE;
    }
    w->next = v->files;
    v->files = w;
    *ret = w;
    return OK;
}

static enum err view_open(struct disk *d, const char *path, enum disk_mode mode,
                          struct disk_file **ret)
{
    struct view *v = view_of(d);
    struct disk_file found = {.written = find_written(v, path), .mode = mode};
    if (found.written == NULL && find_stored(v, path, &found.i)) {
        found.backup = v->backup;
    } else if (found.written == NULL && mode == DISK_READ) {
        return ERR_NOT_FOUND;
    } else if (found.written == NULL) {
        TRY(make_written(v, path, &found.written));
    }
    struct disk_file *f = mem_alloc(sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    *f = found;
    *ret = f;
    return OK;
}

static void view_close(struct disk_file *f)
{
    mem_free(f);
}

static enum err view_read_at(struct disk_file *f, uint64_t at, void *dst, size_t n, size_t *ret_n)
{
    if (f->backup != NULL) {
        return backup_read(f->backup, f->i, at, dst, n, ret_n);
    }
    struct slice all = buf_slice(&f->written->bytes);
    struct slice s = at < all.n ? slice_head(slice_from(all, (size_t)at), n) : (struct slice){0};
    slice_copy(dst, s);
    *ret_n = s.n;
    return OK;
}

/* At least `size` bytes; what is new is zeros. */
static enum err grow(struct disk_file *f, uint64_t size)
{
    if (f->backup != NULL || f->mode == DISK_READ) {
        return ERR_DENIED;
    }
    struct buf *b = &f->written->bytes;
    uint8_t *room;
    if (size <= b->n) {
        return OK;
    }
    if (size > MEMORY_MAX) {
        return ERR_SPACE;
    }
    size_t more = (size_t)size - b->n;
    TRY(buf_room(b, more, MEMORY_MAX, &room));
    memset(room, 0, more);
    b->n += more;
    return OK;
}

static enum err view_write_at(struct disk_file *f, uint64_t at, struct slice s)
{
    if (at > MEMORY_MAX) {
        return ERR_SPACE;
    }
    TRY(grow(f, at + s.n));
    if (s.n > 0) {
        slice_copy(f->written->bytes.p + at, s);
    }
    return OK;
}

static enum err view_append(struct disk_file *f, struct slice s)
{
    return f->backup != NULL ? ERR_DENIED : buf_append(&f->written->bytes, s, MEMORY_MAX);
}

static enum err view_sync(struct disk_file *f)
{
    (void)f;
    return OK;
}

static enum err view_size(struct disk_file *f, uint64_t *ret)
{
    *ret = f->backup != NULL ? backup_size(f->backup, f->i) : f->written->bytes.n;
    return OK;
}

static enum err view_remove(struct disk *d, const char *path)
{
    size_t i;
    struct written *w = find_written(view_of(d), path);
    if (w == NULL) {
        return find_stored(view_of(d), path, &i) ? ERR_DENIED : ERR_NOT_FOUND;
    }
    w->is_removed = true; /* an open one is still read */
    return OK;
}

static enum err view_rename(struct disk *d, const char *from, const char *to)
{
    size_t i;
    struct written *w = find_written(view_of(d), from);
    if (w == NULL) {
        return find_stored(view_of(d), from, &i) ? ERR_DENIED : ERR_NOT_FOUND;
    }
    enum err err = view_remove(d, to);
    if (err != OK && err != ERR_NOT_FOUND) {
        return err;
    }
    return slice_to_text(slice_text(to), w->name, sizeof w->name) ? OK : ERR_TOO_LARGE;
}

static enum err view_make_dir(struct disk *d, const char *path)
{
    (void)d;
    (void)path;
    return OK;
}

static void tell(const char *name, struct slice dir, void (*each)(void *ctx, const char *name),
                 void *ctx)
{
    struct slice all = slice_text(name);
    struct slice rest = slice_from(all, dir.n);
    bool is_root = dir.n == 0 || slice_is(dir, ".");
    if (is_root && slice_find(all, '/') == all.n) {
        each(ctx, name);
    } else if (!is_root && slice_has_prefix(all, dir) && rest.n > 1 && rest.p[0] == '/' &&
               slice_find(slice_from(rest, 1), '/') == rest.n - 1) {
        each(ctx, name + dir.n + 1);
    }
}

static enum err view_list(struct disk *d, const char *dir,
                          void (*each)(void *ctx, const char *name), void *ctx)
{
    const struct view *v = view_of(d);
    size_t n = v->backup != NULL ? backup_count(v->backup) : 0;
    for (size_t i = 0; i < n; i++) {
        tell(backup_name(v->backup, i), slice_text(dir), each, ctx);
    }
    for (const struct written *w = v->files; w != NULL; w = w->next) {
        if (!w->is_removed) {
            tell(w->name, slice_text(dir), each, ctx);
        }
    }
    return OK;
}

static enum err view_space(struct disk *d, const char *dir, uint64_t *ret_total, uint64_t *ret_free)
{
    (void)dir;
    (void)d;
    *ret_total = ROOM_BYTES;
    *ret_free = ROOM_BYTES;
    return OK;
}

static struct disk *view_free(struct disk *d)
{
    if (d != NULL) {
        struct view *v = view_of(d);
        while (v->files != NULL) {
            struct written *w = v->files;
            v->files = w->next;
            buf_wipe(&w->bytes);
            mem_free(w);
        }
        mem_free(v);
    }
    return NULL;
}

enum err backup_disk(struct backup *b, struct disk **ret)
{
    static const struct disk_ops ops = {.open = view_open,
                                        .close = view_close,
                                        .read_at = view_read_at,
                                        .write_at = view_write_at,
                                        .append = view_append,
                                        .sync = view_sync,
                                        .size = view_size,
                                        .rename = view_rename,
                                        .remove = view_remove,
                                        .reserve = grow,
                                        .make_dir = view_make_dir,
                                        .list = view_list,
                                        .space = view_space,
                                        .free = view_free};
    struct view *v = mem_zalloc(sizeof *v);
    if (v == NULL) {
        return ERR_NOMEM;
    }
    v->disk.ops = &ops;
    v->backup = b;
    *ret = &v->disk;
    return OK;
}

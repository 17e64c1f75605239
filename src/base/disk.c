#include "base/disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

enum { DISK_NAME_MAX = 255, DISK_PATH_MAX = 1023, WRITE_PIECE_BYTES = 64 * 1024, PARTS_MAX = 64 };

struct disk_system {
    struct disk disk; /* first: a struct disk * is one of these */
    int dir_fd;
    struct disk_porter porter; /* ctx NULL: there is none */
};

struct disk_file {
    int fd;
    enum disk_mode mode;
};

static void fd_autoclose(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

static enum err err_from_errno(void)
{
    switch (errno) {
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_SPACE;
    case ENOMEM:
        return ERR_NOMEM;
    case ELOOP:   /* a symbolic link where a file should be */
    case ENOTDIR: /* ... or where a directory should be */
    case EISDIR:
    case ENXIO: /* a pipe or socket */
    case EACCES:
    case EPERM:
        return ERR_DENIED;
    default: /* EROFS too: a disk that was remounted read-only is trouble, not a wrong path */
        return ERR_IO;
    }
}

static int fd_of(const struct disk *d)
{
    return ((const struct disk_system *)(const void *)d)->dir_fd;
}

/* The porter, when what was refused just now is what it is for. */
static const struct disk_porter *porter_of(const struct disk *d)
{
    const struct disk_system *s = (const struct disk_system *)(const void *)d;
    return errno == EACCES && s->porter.ctx != NULL ? &s->porter : NULL;
}

/* As a system call has it. */
static int as_call(int answer)
{
    errno = answer < 0 ? -answer : errno;
    return answer < 0 ? -1 : answer;
}

static int open_retry(int dir_fd, const char *name, int flags)
{
    int fd = -1;
    do {
        fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static enum err name_check(struct slice name)
{
    if (name.n > DISK_NAME_MAX) {
        return ERR_TOO_LARGE;
    }
    if (name.n == 0 || slice_is(name, ".") || slice_is(name, "..")) {
        return ERR_DENIED;
    }
    return OK;
}

/*
 * Walks to the directory that holds the last name of path, one directory at a time and never
 * through a symbolic link, so that nobody who can write below the directory can lead us out of it.
 * The kernel has one call for this (openat2), but sandboxes and old kernels refuse it, and a second
 * way that only they take would be the less tested one.
 */
static enum err parent_open(const struct disk *d, const char *path, int *ret_fd,
                            char ret_name[DISK_NAME_MAX + 1])
{
    struct slice rest = slice_text(path);
    if (rest.n > DISK_PATH_MAX) {
        return ERR_TOO_LARGE;
    }
    AUTO(fd_autoclose) int at = open_retry(fd_of(d), ".", O_RDONLY | O_DIRECTORY);
    if (at < 0) {
        return err_from_errno();
    }
    char name[DISK_NAME_MAX + 1];
    bool more = true;
    while (true) {
        struct slice part = slice_cut(&rest, '/', &more);
        TRY(name_check(part));
        (void)slice_to_text(part, name, sizeof name);
        if (!more) {
            break;
        }
        int inner = open_retry(at, name, O_RDONLY | O_DIRECTORY);
        if (inner < 0) {
            return err_from_errno();
        }
        (void)close(at);
        at = inner;
    }
    memcpy(ret_name, name, sizeof name);
    *ret_fd = at;
    at = -1;
    return OK;
}

static enum err fd_sync(int fd, int (*sync_call)(int))
{
    int failed = 0;
    do {
        failed = sync_call(fd);
    } while (failed != 0 && errno == EINTR);
    return failed == 0 ? OK : err_from_errno();
}

static int open_here(const struct disk *d, int dir, const char *name, const char *path, int flags)
{
    int fd = open_retry(dir, name, flags);
    const struct disk_porter *porter = fd < 0 ? porter_of(d) : NULL;
    return porter != NULL ? as_call(porter->open(porter->ctx, path, flags)) : fd;
}

static enum err system_open(struct disk *d, const char *path, enum disk_mode mode,
                            struct disk_file **ret)
{
    AUTO(fd_autoclose) int dir = -1;
    AUTO(fd_autoclose) int fd = -1;
    char name[DISK_NAME_MAX + 1];
    TRY(parent_open(d, path, &dir, name));
    int flags = mode == DISK_READ ? O_RDONLY : mode == DISK_WRITE ? O_RDWR : O_RDWR | O_APPEND;
    fd = open_here(d, dir, name, path, flags);
    if (fd < 0 && errno == ENOENT && mode != DISK_READ) {
        fd = open_here(d, dir, name, path, flags | O_CREAT | O_EXCL);
        if (fd >= 0) {
            TRY(fd_sync(dir, fsync)); /* the name, else a power cut loses the file with its data */
        }
    }
    if (fd < 0) {
        return err_from_errno();
    }
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_from_errno();
    }
    if (!S_ISREG(st.st_mode)) {
        return ERR_DENIED;
    }
    struct disk_file *f = mem_zalloc(sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    *f = (struct disk_file){.fd = fd, .mode = mode};
    fd = -1;
    *ret = f;
    return OK;
}

static void system_close(struct disk_file *f)
{
    if (f != NULL) {
        (void)close(f->fd);
        mem_free(f);
    }
}

static enum err offset_check(uint64_t at, size_t n)
{
    return at > INT64_MAX || n > (uint64_t)INT64_MAX - at ? ERR_TOO_LARGE : OK;
}

static enum err system_read_at(struct disk_file *f, uint64_t at, void *dst, size_t n, size_t *ret_n)
{
    TRY(offset_check(at, n));
    uint8_t *p = dst;
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(f->fd, p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_from_errno();
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_n = done;
    return OK;
}

/* In pieces: for a large write Linux looks for large pages, and finding or clearing them can cost
 * ten times the copy. */
static enum err system_write_at(struct disk_file *f, uint64_t at, struct slice s)
{
    assert(f->mode == DISK_WRITE);
    TRY(offset_check(at, s.n));
    for (size_t done = 0; done < s.n;) {
        struct slice piece = slice_head(slice_from(s, done), WRITE_PIECE_BYTES);
        ssize_t put = pwrite(f->fd, piece.p, piece.n, (off_t)(at + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put == 0 ? ERR_IO : err_from_errno();
        }
        done += (size_t)put;
    }
    return OK;
}

static enum err system_size(struct disk_file *f, uint64_t *ret)
{
    struct stat st;
    if (fstat(f->fd, &st) != 0) {
        return err_from_errno();
    }
    *ret = (uint64_t)st.st_size;
    return OK;
}

static enum err append_all(struct disk_file *f, struct slice s)
{
    for (size_t done = 0; done < s.n;) {
        ssize_t put = write(f->fd, s.p + done, s.n - done);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put == 0 ? ERR_IO : err_from_errno();
        }
        done += (size_t)put;
    }
    return OK;
}

static enum err system_append(struct disk_file *f, struct slice s)
{
    assert(f->mode == DISK_APPEND);
    uint64_t before = 0;
    TRY(system_size(f, &before));
    enum err e = append_all(f, s);
    if (e != OK) {
        /* Half a record in the middle of a file would hide all that follow it. When even this
         * fails, the reader of the file meets a torn end, as after a power cut. */
        int failed = ftruncate(f->fd, (off_t)before);
        (void)failed;
    }
    return e;
}

static enum err system_sync(struct disk_file *f)
{
    return fd_sync(f->fd, fdatasync);
}

static enum err system_rename(struct disk *d, const char *from, const char *to)
{
    AUTO(fd_autoclose) int from_dir = -1;
    AUTO(fd_autoclose) int to_dir = -1;
    char from_name[DISK_NAME_MAX + 1];
    char to_name[DISK_NAME_MAX + 1];
    TRY(parent_open(d, from, &from_dir, from_name));
    TRY(parent_open(d, to, &to_dir, to_name));
    int failed = renameat(from_dir, from_name, to_dir, to_name);
    const struct disk_porter *porter = failed != 0 ? porter_of(d) : NULL;
    if (porter != NULL) {
        failed = as_call(porter->rename(porter->ctx, from, to));
    }
    if (failed != 0) {
        return err_from_errno();
    }
    TRY(fd_sync(to_dir, fsync));
    return fd_sync(from_dir, fsync);
}

static enum err system_remove(struct disk *d, const char *path)
{
    AUTO(fd_autoclose) int dir = -1;
    char name[DISK_NAME_MAX + 1];
    TRY(parent_open(d, path, &dir, name));
    int failed = unlinkat(dir, name, 0);
    const struct disk_porter *porter = failed != 0 ? porter_of(d) : NULL;
    if (porter != NULL) {
        failed = as_call(porter->remove(porter->ctx, path));
    }
    if (failed != 0) {
        return err_from_errno();
    }
    return fd_sync(dir, fsync);
}

/* For file systems without fallocate. Holes in front of `from` stay: our own files have none. */
static enum err zeros_write(struct disk_file *f, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[64 * 1024];
    while (from < to) {
        size_t n = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        TRY(system_write_at(f, from, slice_of(zeros, n)));
        from += n;
    }
    return OK;
}

static enum err room_take(struct disk_file *f, uint64_t before, uint64_t size)
{
    int failed = 0;
    do {
        failed = fallocate(f->fd, 0, 0, (off_t)size);
    } while (failed != 0 && errno == EINTR);
    if (failed == 0) {
        return OK;
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
        return zeros_write(f, before, size);
    }
    return err_from_errno();
}

static enum err system_reserve(struct disk_file *f, uint64_t size)
{
    assert(f->mode == DISK_WRITE);
    TRY(offset_check(size, 0));
    uint64_t before = 0;
    TRY(system_size(f, &before));
    enum err e = size > 0 ? room_take(f, before, size) : OK;
    if (e != OK) {
        int failed = ftruncate(f->fd, (off_t)before); /* gives back what it took already */
        (void)failed;
        return e;
    }
    return system_sync(f);
}

static enum err system_give_back(struct disk_file *f, uint64_t from)
{
    assert(f->mode == DISK_WRITE);
    uint64_t size = 0;
    TRY(system_size(f, &size));
    TRY(offset_check(from, 0));
    int failed = 0;
    do {
        failed = from < size ? fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                         (off_t)from, (off_t)(size - from))
                             : 0;
    } while (failed != 0 && errno == EINTR);
    return failed == 0 ? OK : err_from_errno();
}

/* Nobody uses the offset that lseek sets. */
static enum err system_written_to(struct disk_file *f, uint64_t *ret)
{
    off_t behind = 0;
    TRY(system_size(f, ret));
    for (unsigned i = 0; i < PARTS_MAX; i++) {
        off_t data = lseek(f->fd, behind, SEEK_DATA);
        if (data < 0 && errno == ENXIO) {
            *ret = (uint64_t)behind;
            return OK;
        }
        behind = data < 0 ? data : lseek(f->fd, data, SEEK_HOLE);
        if (behind < 0) {
            return err_from_errno();
        }
    }
    return OK;
}

static enum err system_make_dir(struct disk *d, const char *path)
{
    AUTO(fd_autoclose) int dir = -1;
    char name[DISK_NAME_MAX + 1];
    TRY(parent_open(d, path, &dir, name));
    if (mkdirat(dir, name, 0700) != 0) {
        struct stat st;
        if (errno != EEXIST || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            return err_from_errno();
        }
        if (!S_ISDIR(st.st_mode)) {
            return ERR_DENIED;
        }
    }
    return fd_sync(dir, fsync); /* also when it was there: its maker may not have come so far */
}

static enum err list_open(struct disk *d, const char *path, DIR **ret)
{
    AUTO(fd_autoclose) int dir = -1;
    AUTO(fd_autoclose) int fd = -1;
    struct slice name = slice_text(path);
    if (name.n == 0 || slice_is(name, ".")) {
        fd = open_retry(fd_of(d), ".", O_RDONLY | O_DIRECTORY);
    } else {
        char last[DISK_NAME_MAX + 1];
        TRY(parent_open(d, path, &dir, last));
        fd = open_retry(dir, last, O_RDONLY | O_DIRECTORY);
    }
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (stream == NULL) {
        return err_from_errno();
    }
    fd = -1; /* the stream's */
    *ret = stream;
    return OK;
}

static bool is_regular(int dir_fd, const struct dirent *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_REG;
    }
    return fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static enum err system_list(struct disk *d, const char *dir,
                            void (*each)(void *ctx, const char *name), void *ctx)
{
    DIR *stream = NULL;
    TRY(list_open(d, dir, &stream));
    assert(stream != NULL);
    const struct dirent *entry = NULL;
    do {
        errno = 0;
        entry = readdir(stream);
        if (entry != NULL && is_regular(dirfd(stream), entry)) {
            each(ctx, entry->d_name);
        }
    } while (entry != NULL);
    enum err e = errno == 0 ? OK : err_from_errno();
    (void)closedir(stream);
    return e;
}

static enum err system_space(struct disk *d, const char *dir, uint64_t *ret_total,
                             uint64_t *ret_free)
{
    struct statvfs st;
    int failed = 0;
    DIR *stream = NULL; /* it may be a mount of its own */
    TRY(list_open(d, dir, &stream));
    assert(stream != NULL);
    do {
        failed = fstatvfs(dirfd(stream), &st);
    } while (failed != 0 && errno == EINTR);
    enum err err = failed != 0 ? err_from_errno() : OK;
    (void)closedir(stream);
    TRY(err);
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    return OK;
}

static struct disk *system_free(struct disk *d)
{
    if (d != NULL) {
        (void)close(fd_of(d));
        mem_free(d);
    }
    return NULL;
}

enum err disk_system(int dir_fd, struct disk **ret)
{
    const struct disk_porter none = {.ctx = NULL};
    return disk_system_with(dir_fd, &none, ret);
}

enum err disk_system_with(int dir_fd, const struct disk_porter *porter, struct disk **ret)
{
    static const struct disk_ops ops = {
        .open = system_open,
        .close = system_close,
        .read_at = system_read_at,
        .write_at = system_write_at,
        .append = system_append,
        .sync = system_sync,
        .size = system_size,
        .rename = system_rename,
        .remove = system_remove,
        .reserve = system_reserve,
        .give_back = system_give_back,
        .written_to = system_written_to,
        .make_dir = system_make_dir,
        .list = system_list,
        .space = system_space,
        .free = system_free,
    };
    struct disk_system *d = mem_zalloc(sizeof *d);
    if (d == NULL) {
        (void)close(dir_fd);
        return ERR_NOMEM;
    }
    d->disk.ops = &ops;
    d->dir_fd = dir_fd;
    d->porter = *porter;
    *ret = &d->disk;
    return OK;
}

static enum err load_all(struct disk *d, struct disk_file *f, size_t limit, struct buf *ret)
{
    uint64_t size = 0;
    TRY(d->ops->size(f, &size));
    if (size > limit || size > SIZE_MAX - ret->n) {
        return ERR_TOO_LARGE;
    }
    uint8_t *p = NULL;
    TRY(buf_room(ret, (size_t)size, ret->n + (size_t)size, &p));
    size_t got = 0;
    TRY(d->ops->read_at(f, 0, p, (size_t)size, &got));
    if (got != size) {
        return ERR_IO; /* somebody cut the file while we read it */
    }
    ret->n += got;
    return OK;
}

enum err disk_load(struct disk *d, const char *path, size_t limit, struct buf *ret)
{
    struct disk_file *f = NULL;
    TRY(d->ops->open(d, path, DISK_READ, &f));
    enum err e = load_all(d, f, limit, ret);
    d->ops->close(f);
    return e;
}

static enum err save_new(struct disk *d, const char *path, struct slice contents)
{
    struct disk_file *f = NULL;
    TRY(d->ops->open(d, path, DISK_WRITE, &f));
    enum err e = d->ops->write_at(f, 0, contents);
    if (e == OK) {
        e = d->ops->sync(f);
    }
    d->ops->close(f);
    return e;
}

enum err disk_save(struct disk *d, const char *path, struct slice contents)
{
    static const char suffix[] = ".new";
    char temporary[DISK_PATH_MAX + sizeof suffix];
    int n = snprintf(temporary, sizeof temporary, "%s%s", path, suffix);
    if (n < 0 || (size_t)n >= sizeof temporary) {
        return ERR_TOO_LARGE;
    }
    /* What an interrupted save left behind could be longer than the new contents. */
    enum err e = d->ops->remove(d, temporary);
    if (e != OK && e != ERR_NOT_FOUND) {
        return e;
    }
    e = save_new(d, temporary, contents);
    if (e == OK) {
        e = d->ops->rename(d, temporary, path);
    }
    if (e != OK) {
        enum err cleanup = d->ops->remove(d, temporary);
        (void)cleanup; /* the next save removes it */
    }
    return e;
}

enum err disk_shred(struct disk *d, struct disk_file *f, const struct random_source *random)
{
    uint8_t noise[4096];
    uint64_t size = 0;
    TRY(d->ops->size(f, &size));
    for (uint64_t at = 0; at < size; at += sizeof noise) {
        size_t n = size - at < sizeof noise ? (size_t)(size - at) : sizeof noise;
        random->fill(random->ctx, noise, n);
        TRY(d->ops->write_at(f, at, slice_of(noise, n)));
    }
    return d->ops->sync(f);
}

/* The files of this machine, as the readers of foreign configurations get them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/cli/doctor_facts.h"
#include "base/scope.h"

enum { PIECE = 65536 };

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static enum err of_errno(void)
{
    return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND
           : errno == EACCES || errno == EPERM ? ERR_DENIED
                                               : ERR_IO;
}

static void fill(const struct stat *s, struct source_look *ret)
{
    ret->mode = (uint32_t)s->st_mode & 07777;
    ret->changed_wall_ms = (int64_t)s->st_mtim.tv_sec * 1000;
}

/* Only regular files are read: a pipe would wait for ever. */
static enum err read_path(void *ctx, const char *path, struct buf *ret, struct source_look *look)
{
    struct stat s;
    (void)ctx;
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &s) != 0) {
        return of_errno();
    }
    if (!S_ISREG(s.st_mode)) {
        return ERR_IO;
    }
    for (;;) {
        uint8_t *room;
        TRY(buf_room(ret, PIECE, SOURCE_BYTES_MAX + PIECE, &room));
        ssize_t n = read(fd, room, PIECE);
        if (n < 0 && errno != EINTR) {
            return ERR_IO;
        }
        if (n == 0) {
            fill(&s, look);
            return OK;
        }
        ret->n += n > 0 ? (size_t)n : 0;
        if (ret->n > SOURCE_BYTES_MAX) {
            return ERR_TOO_LARGE;
        }
    }
}

static enum err look_path(void *ctx, const char *path, struct source_look *ret)
{
    struct stat s;
    (void)ctx;
    if (stat(path, &s) != 0) {
        return of_errno();
    }
    fill(&s, ret);
    return OK;
}

static void close_dir(DIR **d)
{
    if (*d != NULL) {
        closedir(*d);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct source_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum err list_path(void *ctx, const char *path, struct source_entry entries[SOURCE_LIST_MAX],
                          size_t *ret_n)
{
    (void)ctx;
    AUTO(close_dir) DIR *d = opendir(path);
    size_t n = 0;
    if (d == NULL) {
        return of_errno();
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        size_t length = strlen(e->d_name);
        if (e->d_name[0] == '.' || length <= 5 || strcmp(e->d_name + length - 5, ".conf") != 0) {
            continue;
        }
        if (n == SOURCE_LIST_MAX ||
            !slice_to_text(slice_text(e->d_name), entries[n].name, sizeof entries[n].name)) {
            return ERR_LIMIT;
        }
        n++;
    }
    qsort(entries, n, sizeof entries[0], by_name);
    *ret_n = n;
    return OK;
}

const struct source *doctor_source(void)
{
    static const struct source disk = {NULL, read_path, look_path, list_path};
    return &disk;
}

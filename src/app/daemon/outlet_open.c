#include "app/daemon/outlet_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { NAME_BYTES = COURIER_PATH_BYTES + 8 };

/* The folder, so that a rename in it lasts; *ret_name: the file's name in it. */
static int open_folder(const char *path, const char **ret_name)
{
    char folder[COURIER_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    size_t n = slash != NULL ? (size_t)(slash - path) : 0;
    if (slash == NULL || n >= sizeof folder || slash[1] == '\0') {
        errno = EINVAL;
        return -1;
    }
    memcpy(folder, path, n);
    folder[n] = '\0';
    *ret_name = slash + 1;
    return open(n > 0 ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Waits for nobody: a FIFO under this name is opened, and refused. */
static int open_lines(int folder, const char *name, uint64_t *ret_size)
{
    struct stat s;
    int fd = openat(folder, name,
                    O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                    OUTLET_FILE_MODE);
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode) || s.st_nlink != 1) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    *ret_size = (uint64_t)s.st_size;
    return fd;
}

/* audit.jsonl.1 is the newest of the old ones, and the oldest is gone. */
static bool rotate(int folder, const char *name, uint32_t kept)
{
    char from[NAME_BYTES], to[NAME_BYTES];
    for (uint32_t i = kept; i > 0; i--) {
        (void)snprintf(to, sizeof to, "%s.%u", name, (unsigned)i);
        (void)snprintf(from, sizeof from, "%s.%u", name, (unsigned)(i - 1));
        const char *before = i > 1 ? from : name;
        if (renameat(folder, before, folder, to) != 0 && errno != ENOENT) {
            return false;
        }
    }
    return fsync(folder) == 0;
}

static int open_file(const struct courier_sink *s)
{
    const char *name = NULL;
    uint64_t size = 0;
    int folder = open_folder(s->path, &name);
    int fd = folder >= 0 ? open_lines(folder, name, &size) : -1;
    if (fd >= 0 && size >= s->file_bytes) {
        close(fd);
        fd = rotate(folder, name, s->files_kept) ? open_lines(folder, name, &size) : -1;
    }
    if (fd >= 0 && size == 0 && (fchmod(fd, OUTLET_FILE_MODE) != 0 || fsync(folder) != 0)) {
        close(fd);
        fd = -1;
    }
    if (folder >= 0) {
        close(folder);
    }
    return fd;
}

static int open_socket(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof to.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(to.sun_path, path, n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)(const void *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int outlet_open(const struct courier_sink *s)
{
    return s->way == COURIER_FILE ? open_file(s) : open_socket(s->path);
}

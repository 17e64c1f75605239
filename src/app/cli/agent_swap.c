#include "app/cli/agent_swap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/scope.h"
#include "service/pki/bundle.h"

#define RENEWED ".renewed"
#define PROVEN  ".proven"

/* The key goes last into its place: whoever looks meanwhile has a pair that does not fit for the
 * shortest time. */
static const enum bundle_file files[] = {BUNDLE_CA, BUNDLE_CERT, BUNDLE_KEY};

static void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

static enum err failed(const char *dir, const char *name, struct why *why)
{
    int e = errno;
    why_set(why, "%s/%s: %s", dir, name, strerror(e));
    return e == ENOENT ? ERR_NOT_FOUND : e == ENOSPC ? ERR_SPACE : ERR_IO;
}

static enum err open_at(const char *dir, const char *name, int *ret, struct why *why)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s%s%s", dir, name[0] != '\0' ? "/" : "", name);
    *ret = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret >= 0 ? OK : failed(dir, name, why);
}

static enum err remove_all(const char *dir, const char *name, struct why *why)
{
    AUTO(close_fd) int fd = -1;
    enum err err = open_at(dir, name, &fd, why);
    char path[PATH_MAX];
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        if (unlinkat(fd, bundle_file_name(files[i]), 0) != 0 && errno != ENOENT) {
            return failed(dir, name, why);
        }
    }
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return rmdir(path) == 0 ? OK : failed(dir, name, why);
}

enum err agent_swap_drop(const char *dir, struct why *why)
{
    return remove_all(dir, RENEWED, why);
}

static void bundle_release(struct bundle *b)
{
    bundle_done(b);
}

enum err agent_swap_keep(const char *dir, struct slice key_pem, struct slice chain_pem,
                         struct slice ca_pem, struct why *why)
{
    AUTO(bundle_release) struct bundle b = {.file = {{0}}};
    char path[PATH_MAX];
    TRY(remove_all(dir, RENEWED, why));
    TRY(buf_append(&b.file[BUNDLE_KEY], key_pem, BUNDLE_FILE_MAX));
    TRY(buf_append(&b.file[BUNDLE_CERT], chain_pem, BUNDLE_FILE_MAX));
    TRY(buf_append(&b.file[BUNDLE_CA], ca_pem, BUNDLE_FILE_MAX));
    (void)snprintf(path, sizeof path, "%s/" RENEWED, dir);
    return bundle_save(&b, path, why);
}

static enum err read_file(int dir_fd, enum bundle_file f, struct buf *ret)
{
    AUTO(close_fd)
    int fd = openat(dir_fd, bundle_file_name(f), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = 0;
    if (fd < 0) {
        return ERR_NOT_FOUND;
    }
    do {
        uint8_t *room;
        TRY(buf_room(ret, 4096, BUNDLE_FILE_MAX + 4096, &room));
        n = read(fd, room, 4096);
        ret->n += n > 0 ? (size_t)n : 0;
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0 && ret->n > 0 ? OK : ERR_NOT_FOUND;
}

enum err agent_swap_kept(const char *dir, struct buf *ret_key_pem, struct buf *ret_chain_pem,
                         struct buf *ret_ca_pem)
{
    AUTO(close_fd) int fd = -1;
    TRY(open_at(dir, RENEWED, &fd, NULL));
    TRY(read_file(fd, BUNDLE_KEY, ret_key_pem));
    TRY(read_file(fd, BUNDLE_CERT, ret_chain_pem));
    return read_file(fd, BUNDLE_CA, ret_ca_pem);
}

enum err agent_swap_finish(const char *dir, struct why *why)
{
    AUTO(close_fd) int to = -1;
    AUTO(close_fd) int from = -1;
    TRY(open_at(dir, "", &to, why));
    enum err err = open_at(dir, PROVEN, &from, why);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        const char *name = bundle_file_name(files[i]);
        if (renameat(from, name, to, name) != 0 && errno != ENOENT) { /* done before the crash */
            return failed(dir, name, why);
        }
    }
    if (fsync(to) != 0 || fsync(from) != 0) {
        return failed(dir, PROVEN, why);
    }
    return unlinkat(to, PROVEN, AT_REMOVEDIR) == 0 && fsync(to) == 0 ? OK
                                                                     : failed(dir, PROVEN, why);
}

enum err agent_swap_take(const char *dir, struct why *why)
{
    AUTO(close_fd) int fd = -1;
    TRY(open_at(dir, "", &fd, why));
    if (renameat(fd, RENEWED, fd, PROVEN) != 0 || fsync(fd) != 0) {
        return failed(dir, RENEWED, why);
    }
    return agent_swap_finish(dir, why);
}

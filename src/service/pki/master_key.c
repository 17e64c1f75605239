#include "service/pki/master_key.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

static void fd_autoclose(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

struct key_bytes {
    uint8_t bytes[MASTER_KEY_BYTES + 1]; /* one more, so that a longer file shows */
};

static void key_bytes_wipe(struct key_bytes *k)
{
    mem_wipe(k, sizeof *k);
}

static enum err write_all(int fd, struct slice s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno != EINTR) {
            return errno == ENOSPC || errno == EDQUOT ? ERR_SPACE : ERR_IO;
        }
        s = n > 0 ? slice_from(s, (size_t)n) : s;
    }
    return OK;
}

enum err master_key_create(const char *path, const struct random_source *random,
                           struct secret **ret, struct why *why)
{
    AUTO(fd_autoclose)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        bool exists = errno == EEXIST;
        why_set(why, "%s: %s", path,
                exists ? "there is a master key already; name another file or move it away"
                       : strerror(errno));
        return exists ? ERR_EXISTS : ERR_IO;
    }
    AUTO(key_bytes_wipe) struct key_bytes key;
    random->fill(random->ctx, key.bytes, MASTER_KEY_BYTES);
    struct slice bytes = slice_of(key.bytes, MASTER_KEY_BYTES);
    AUTO(secret_autofree) struct secret *secret = NULL;
    enum err err = fchmod(fd, 0600) == 0 ? write_all(fd, bytes) : ERR_IO;
    if (err == OK && fsync(fd) != 0) {
        err = ERR_IO;
    }
    if (err == OK) {
        err = secret_new(bytes, &secret);
    }
    if (err != OK) {
        why_set(why, "%s: the master key could not be written: %s", path, err_name(err));
        (void)unlink(path);
        return err;
    }
    *ret = TAKE(secret);
    return OK;
}

static enum err check_file(int fd, const char *path, bool root_may_own, struct why *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        why_set(why, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        why_set(why, "%s is not a regular file; the master key is a file of 32 bytes", path);
        return ERR_DENIED;
    }
    if ((st.st_mode & 077) != 0) {
        why_set(why,
                "%s can be read by others (mode %04o): run `chmod 600 %s`, and if somebody may "
                "have read it, start a new fortress",
                path, (unsigned)st.st_mode & 07777, path);
        return ERR_DENIED;
    }
    if (st.st_uid != geteuid() && !(root_may_own && st.st_uid == 0)) {
        why_set(why, "%s belongs to user %u: run `chown %u %s`", path, (unsigned)st.st_uid,
                (unsigned)geteuid(), path);
        return ERR_DENIED;
    }
    if (st.st_size != MASTER_KEY_BYTES) {
        why_set(why, "%s holds %lld bytes instead of %d: it is not a master key", path,
                (long long)st.st_size, MASTER_KEY_BYTES);
        return ERR_CONFIG;
    }
    return OK;
}

static enum err read_key(int fd, const char *path, bool root_may_own, struct secret **ret,
                         struct why *why)
{
    TRY(check_file(fd, path, root_may_own, why));
    AUTO(key_bytes_wipe) struct key_bytes key;
    size_t n = 0;
    while (n < sizeof key.bytes) {
        ssize_t got = pread(fd, key.bytes + n, sizeof key.bytes - n, (off_t)n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            why_set(why, "%s: %s", path, strerror(errno));
            return ERR_IO;
        }
        if (got == 0) {
            break;
        }
        n += (size_t)got;
    }
    if (n != MASTER_KEY_BYTES) {
        why_set(why, "%s does not hold %d bytes: it is not a master key", path, MASTER_KEY_BYTES);
        return ERR_CONFIG;
    }
    return secret_new(slice_of(key.bytes, MASTER_KEY_BYTES), ret);
}

enum err master_key_open(const char *path, struct secret **ret, struct why *why)
{
    AUTO(fd_autoclose) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        int e = errno;
        why_set(why, "%s: %s", path,
                e == ELOOP ? "a symbolic link; name the master key's file itself" : strerror(e));
        return e == ENOENT ? ERR_NOT_FOUND : e == ELOOP ? ERR_DENIED : ERR_IO;
    }
    return read_key(fd, path, false, ret, why);
}

enum err master_key_read(int fd, const char *path, struct secret **ret, struct why *why)
{
    return read_key(fd, path, true, ret, why);
}

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

enum err master_key_copy(const char *path, const struct secret *key, struct why *why)
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
    enum err err = fchmod(fd, 0600) == 0 ? write_all(fd, secret_bytes(key)) : ERR_IO;
    if (err == OK && fsync(fd) != 0) {
        err = ERR_IO;
    }
    if (err != OK) {
        why_set(why, "%s: the master key could not be written: %s", path, err_name(err));
        (void)unlink(path);
    }
    return err;
}

enum err master_key_create(const char *path, const struct random_source *random,
                           struct secret **ret, struct why *why)
{
    AUTO(key_bytes_wipe) struct key_bytes key;
    AUTO(secret_autofree) struct secret *secret = NULL;
    random->fill(random->ctx, key.bytes, MASTER_KEY_BYTES);
    TRY(secret_new(slice_of(key.bytes, MASTER_KEY_BYTES), &secret));
    TRY(master_key_copy(path, secret, why));
    *ret = TAKE(secret);
    return OK;
}

/* Whose file may it be, and who else may read it? */
struct leave {
    bool root_may_own, group_may_read;
};

static enum err check_file(int fd, const char *path, struct leave leave, struct why *why)
{
    mode_t others = leave.group_may_read ? 037 : 077;
    struct stat st;
    if (fstat(fd, &st) != 0) {
        why_set(why, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        why_set(why, "%s is not a regular file; the master key is a file of 32 bytes", path);
        return ERR_DENIED;
    }
    if ((st.st_mode & others) != 0) {
        why_set(why,
                "%s can be read by others (mode %04o): run `chmod 600 %s`, and if somebody may "
                "have read it, start a new fortress",
                path, (unsigned)st.st_mode & 07777, path);
        return ERR_DENIED;
    }
    if (st.st_uid != geteuid() && !(leave.root_may_own && st.st_uid == 0)) {
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

static enum err read_key(int fd, const char *path, struct leave leave, struct secret **ret,
                         struct why *why)
{
    TRY(check_file(fd, path, leave, why));
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
    return read_key(fd, path, (struct leave){0}, ret, why);
}

enum err master_key_read(int fd, const char *path, bool group_may_read, struct secret **ret,
                         struct why *why)
{
    struct leave leave = {.root_may_own = true, .group_may_read = group_may_read};
    return read_key(fd, path, leave, ret, why);
}

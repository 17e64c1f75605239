#include "service/pki/key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/utf8.h"

/* ---- a file ---- */

static bool check_path(struct slice name)
{
    return name.n > 0 && name.p[0] == '/' && utf8_check(name, UTF8_STRICT, NULL) == OK;
}

static enum err open_file(const char *name, int *ret_fd, struct why *why)
{
    /* Not blocking: somebody may have put a pipe there. */
    int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int e = errno;
        why_set(why, "the master key %s: %s; it was made by `sallyport init`, put it back there",
                name, strerror(e));
        return e == ENOENT ? ERR_NOT_FOUND : e == ELOOP || e == EACCES ? ERR_DENIED : ERR_IO;
    }
    *ret_fd = fd;
    return OK;
}

/* ---- a credential of systemd ---- */

static bool check_credential(struct slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        uint8_t c = name.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || (c == '.' && i > 0);
        if (!good) {
            return false;
        }
    }
    return name.n > 0 && name.n <= 64;
}

static enum err open_credential(const char *name, int *ret_fd, struct why *why)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    char path[4096];
    if (dir == NULL || dir[0] != '/') {
        why_set(why,
                "the master key is credential %s, but systemd gave none: put "
                "LoadCredentialEncrypted=%s into the unit, and start it by systemctl",
                name, name);
        return ERR_NOT_FOUND;
    }
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int e = errno;
        why_set(why,
                "the master key, credential %s: %s; is LoadCredentialEncrypted=%s in the unit?",
                name, strerror(e), name);
        return e == ENOENT ? ERR_NOT_FOUND : e == ELOOP || e == EACCES ? ERR_DENIED : ERR_IO;
    }
    *ret_fd = fd;
    return OK;
}

/* ---- all of them ---- */

static const struct key_source sources[KEY_SOURCE_COUNT] = {
    [KEY_SOURCE_FILE] = {.prefix = "", .check = check_path, .open = open_file},
    [KEY_SOURCE_CREDENTIAL] =
        {.prefix = "credential:",
         .check = check_credential,
         .open = open_credential,
         .group_may_read = true,
         .no_rotation = "the master key is a credential of systemd, which only systemd "
                        "can replace: name a file as master_key, restart, rotate, make "
                        "the new credential of it by systemd-creds encrypt, and go back"},
};

const struct key_source *key_source_of(const char *text, const char **ret_name)
{
    const struct key_source *found = &sources[KEY_SOURCE_FILE];
    for (unsigned i = 0; i < KEY_SOURCE_COUNT; i++) {
        if (slice_has_prefix(slice_text(text), slice_text(sources[i].prefix))) {
            found = &sources[i]; /* every text has the empty prefix: a longer one is further down */
        }
    }
    *ret_name = text + strlen(found->prefix);
    return found;
}

const struct key_source *key_source_at(unsigned index)
{
    return &sources[index < KEY_SOURCE_COUNT ? index : KEY_SOURCE_FILE];
}

unsigned key_source_index(const struct key_source *s)
{
    return (unsigned)(s - sources);
}

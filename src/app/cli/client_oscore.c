#include "app/cli/client_oscore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "security/crypto/digest.h"

enum { LOOK_AGAIN_MS = 50 };

void client_oscore_done(struct client_oscore *o)
{
    if (o->has_record && o->next < o->record.next) {
        struct oscore_record r = o->record;
        AUTO(buf_done) struct buf text = {0};
        r.next = o->next;
        if (oscore_record_write(&r, &text) == OK) {
            /* Not kept: then they are never used. */
            (void)!disk_save(o->disk, o->name, buf_slice(&text));
        }
    }
    o->disk = o->disk != NULL ? o->disk->ops->free(o->disk) : NULL;
    oscore_given_wipe(&o->given);
    if (o->lock >= 0) {
        (void)close(o->lock);
    }
    o->lock = -1;
    o->has_record = false;
}

/* ---- numbers ---- */

static enum err keep(struct client_oscore *o, const struct oscore_record *r)
{
    AUTO(buf_done) struct buf text = {0};
    enum err err = oscore_record_write(r, &text);
    err = err == OK ? disk_save(o->disk, o->name, buf_slice(&text)) : err;
    if (err != OK) {
        (void)cli_fail(o->cli,
                       "%s cannot be kept (%s): without a record of its numbers an OSCORE context "
                       "is not used.\n  The directory of the bundle must be writable",
                       o->name, err_name(err));
        return err;
    }
    o->record = *r;
    o->has_record = true;
    return OK;
}

enum err client_oscore_number(void *ctx, uint64_t *ret)
{
    struct client_oscore *o = ctx;
    if (o->next >= o->record.next) {
        struct oscore_record r = o->record;
        r.next = o->next + CLIENT_OSCORE_RESERVED;
        if (r.next > COAP_OSCORE_PIV_MAX) {
            (void)cli_fail(o->cli, "the numbers of this OSCORE context are used up: run it again");
            return ERR_LIMIT;
        }
        TRY(keep(o, &r));
    }
    *ret = o->next++;
    return OK;
}

enum err client_oscore_begin(void *ctx, struct slice id_context)
{
    struct client_oscore *o = ctx;
    struct oscore_record r = o->record;
    if (id_context.n == 0 || id_context.n > sizeof(r.id_context)) {
        return ERR_TOO_LARGE;
    }
    r.id_context_n = id_context.n;
    slice_copy(r.id_context, id_context);
    r.next = CLIENT_OSCORE_RESERVED;
    TRY(keep(o, &r));
    o->next = 0;
    return OK;
}

/* ---- files ---- */

/* Another command with the same context would use the same numbers. */
static int take_lock(struct client_oscore *o, const char *path, uint64_t wait_ms)
{
    struct clock clock = clock_system();
    uint64_t end_ms = clock.mono_ms(clock.ctx) + wait_ms;
    while (flock(o->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return cli_fail(o->cli, "%s cannot be locked: %s", path, strerror(errno));
        }
        if (clock.mono_ms(clock.ctx) >= end_ms) {
            return cli_fail(o->cli,
                            "%s is in use by another command: an OSCORE context has one user at a "
                            "time.\n  Wait for it, or give this one a device of its own",
                            path);
        }
        (void)poll(NULL, 0, LOOK_AGAIN_MS);
    }
    return CLI_DONE;
}

static int open_file(struct client_oscore *o, const char *path, uint64_t wait_ms)
{
    struct stat st;
    o->lock = open(path, O_RDONLY | O_CLOEXEC);
    if (o->lock < 0 || fstat(o->lock, &st) != 0) {
        return cli_fail(o->cli, "%s: %s", path, strerror(errno));
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return cli_fail(o->cli,
                        "%s can be read by others on this machine, and whoever reads it is this "
                        "device: `chmod 600 %s`, and `device rotate` if somebody may have",
                        path, path);
    }
    return take_lock(o, path, wait_ms);
}

static int read_given(struct client_oscore *o, const char *path)
{
    AUTO(buf_wipe) struct buf text = {0};
    int code = client_file(o->cli, path, OSCORE_FILE_MAX, &text);
    if (code != CLI_DONE) {
        return code;
    }
    enum err err = oscore_given_read(buf_slice(&text), &o->given);
    err = err == OK ? oscore_given_mark(&o->given, o->record.mark) : err;
    switch ((unsigned)err) {
    case OK:
        return CLI_DONE;
    case ERR_UNSUPPORTED:
        return cli_fail(o->cli,
                        "%s: this client knows AES-CCM-16-64-128 with HKDF-SHA-256, without an ID "
                        "context of its own",
                        path);
    case ERR_DENIED:
        return cli_fail(o->cli, "%s: the master secret is under %d bytes, or both ids are the same",
                        path, (int)OSCORE_SECRET_MIN);
    default:
        return cli_fail(o->cli, "%s is no oscore.json of a bundle", path);
    }
}

/* Where a record counts: this directory of this machine. A copy of it would use the same numbers.
 */
static enum err place_of(int dir, char dst[OSCORE_MARK_CHARS + 1])
{
    struct stat st;
    struct digest d;
    char text[128] = "", hex[DIGEST_HEX_BYTES];
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, 32) : 0;
    size_t at = n > 0 ? (size_t)n : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (fstat(dir, &st) != 0) {
        return ERR_IO;
    }
    (void)snprintf(text + at, sizeof(text) - at, ":%llx:%llx", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino);
    TRY(digest_sha256(slice_text(text), &d));
    digest_hex(&d, hex);
    memcpy(dst, hex, OSCORE_MARK_CHARS);
    dst[OSCORE_MARK_CHARS] = '\0';
    return OK;
}

static int open_directory(struct client_oscore *o, const char *path)
{
    static const char suffix[] = ".json";
    char dir[CLIENT_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t n = strlen(name), tail = sizeof(suffix) - 1;
    n -= n > tail && strcmp(name + n - tail, suffix) == 0 ? tail : 0;
    int wrote = snprintf(o->name, sizeof(o->name), "%.*s.state", (int)n, name);
    if (wrote < 0 || (size_t)wrote >= sizeof(o->name) || strlen(path) >= sizeof(dir)) {
        return cli_fail(o->cli, "%s: the path is too long", path);
    }
    (void)snprintf(dir, sizeof(dir), "%.*s", slash != NULL ? (int)(slash - path + 1) : 2,
                   slash != NULL ? path : "./");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return cli_fail(o->cli, "%s: %s", dir, strerror(errno));
    }
    if (place_of(fd, o->record.place) != OK) {
        (void)close(fd);
        return cli_fail(o->cli, "%s cannot be looked at", dir);
    }
    return disk_system(fd, &o->disk) == OK ? CLI_DONE : cli_fail(o->cli, "no memory");
}

/* A record that cannot be used is none: it only costs a message more. */
static int read_record(struct client_oscore *o)
{
    AUTO(buf_done) struct buf text = {0};
    struct oscore_record r;
    enum err err = disk_load(o->disk, o->name, OSCORE_FILE_MAX, &text);
    if (err == ERR_NOMEM) {
        return cli_fail(o->cli, "no memory");
    }
    o->has_record = err == OK && oscore_record_read(buf_slice(&text), &r) == OK &&
                    strcmp(r.mark, o->record.mark) == 0 && strcmp(r.place, o->record.place) == 0 &&
                    r.next <= COAP_OSCORE_PIV_MAX - CLIENT_OSCORE_RESERVED;
    if (o->has_record) {
        o->record = r;
        o->next = r.next;
    }
    return CLI_DONE;
}

int client_oscore_open(struct cli *cli, const char *path, uint64_t wait_ms,
                       struct client_oscore *ret)
{
    *ret = (struct client_oscore){.cli = cli, .lock = -1};
    int code = open_file(ret, path, wait_ms);
    code = code == CLI_DONE ? read_given(ret, path) : code;
    code = code == CLI_DONE ? open_directory(ret, path) : code;
    return code == CLI_DONE ? read_record(ret) : code;
}

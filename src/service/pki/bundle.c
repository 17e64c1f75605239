#include "service/pki/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "service/pki/bundle_private.h"

static const char *const names[BUNDLE_FILES] = {
    [BUNDLE_JSON] = "bundle.json",      [BUNDLE_CA] = "ca.pem",
    [BUNDLE_CERT] = "cert.pem",         [BUNDLE_KEY] = "key.pem",
    [BUNDLE_PSK] = "psk.txt",           [BUNDLE_HOWTO] = "howto.txt",
    [BUNDLE_PASSWORD] = "password.txt", [BUNDLE_OSCORE] = "oscore.json",
    [BUNDLE_SCRAM] = "scram.txt",
};

static void json_autofree(json_t **json)
{
    json_decref(*json);
}

static void fd_autoclose(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

void bundle_done(struct bundle *b)
{
    for (size_t i = 0; i < BUNDLE_FILES; i++) {
        buf_wipe(&b->file[i]);
    }
}

const char *bundle_file_name(enum bundle_file f)
{
    return names[f];
}

static enum err make_json(const struct bundle_order *o, struct buf *ret)
{
    AUTO(json_autofree)
    json_t *json = json_pack("{s:i, s:s%, s:s%, s:s%}", "version", 1, "device", o->device.p,
                             o->device.n, "role", o->role.n > 0 ? (const char *)o->role.p : "",
                             o->role.n, "host", o->host.p, o->host.n);
    if (json == NULL) {
        return ERR_NOMEM;
    }
    json_t *ports = json_object();
    if (json_object_set_new(json, "ports", ports) != 0) {
        return ERR_NOMEM;
    }
    if ((o->mqtts_port != 0 &&
         json_object_set_new(ports, "mqtts", json_integer(o->mqtts_port)) != 0) ||
        (o->coaps_port != 0 &&
         json_object_set_new(ports, "coaps", json_integer(o->coaps_port)) != 0) ||
        (o->coap_port != 0 &&
         json_object_set_new(ports, "coap", json_integer(o->coap_port)) != 0) ||
        (o->coaps_tcp_port != 0 &&
         json_object_set_new(ports, "coaps+tcp", json_integer(o->coaps_tcp_port)) != 0) ||
        (o->coaps_ws_port != 0 &&
         json_object_set_new(ports, "coaps+ws", json_integer(o->coaps_ws_port)) != 0) ||
        (o->wss_port != 0 && json_object_set_new(ports, "wss", json_integer(o->wss_port)) != 0) ||
        (o->enrol_port != 0 &&
         json_object_set_new(ports, "enrol", json_integer(o->enrol_port)) != 0)) {
        return ERR_NOMEM;
    }
    char *text = json_dumps(json, JSON_INDENT(2));
    if (text == NULL) {
        return ERR_NOMEM;
    }
    enum err err = buf_append(ret, slice_text(text), BUNDLE_FILE_MAX);
    free(text); /* the library's own allocation */
    TRY(err);
    return buf_append(ret, slice_text("\n"), BUNDLE_FILE_MAX);
}

static enum err put_hex(const char *name, struct slice s, const char *end, struct buf *ret)
{
    char line[160];
    int n = snprintf(line, sizeof line, "  \"%s\": \"", name);
    for (size_t i = 0; i < s.n; i++) {
        n += snprintf(line + n, sizeof line - (size_t)n, "%02x", s.p[i]);
    }
    n += snprintf(line + n, sizeof line - (size_t)n, "\"%s\n", end);
    enum err err = buf_append(ret, slice_of(line, (size_t)n), BUNDLE_FILE_MAX);
    mem_wipe(line, sizeof line);
    return err;
}

/* The names say whose each id is, as seen by the device. */
static enum err make_oscore(const struct bundle_order *o, struct buf *ret)
{
    static const uint8_t our_id[] = {OSCORE_OUR_ID};
    static const char head[] = "{\n  \"version\": 1,\n  \"algorithm\": \"AES-CCM-16-64-128\",\n"
                               "  \"hkdf\": \"HKDF-SHA-256\",\n  \"window\": 32,\n";
    uint8_t *room = NULL;
    if (o->oscore == NULL) {
        return OK;
    }
    TRY(buf_room(ret, 1024, BUNDLE_FILE_MAX, &room)); /* growing would leave copies behind */
    TRY(buf_append(ret, slice_text(head), BUNDLE_FILE_MAX));
    TRY(put_hex("master_secret", slice_of(o->oscore->secret, sizeof o->oscore->secret), ",", ret));
    TRY(put_hex("master_salt", slice_of(o->oscore->salt, sizeof o->oscore->salt), ",", ret));
    TRY(put_hex("sender_id", oscore_kid_slice(&o->oscore->kid), ",", ret));
    TRY(put_hex("recipient_id", slice_of(our_id, sizeof our_id), "", ret));
    return buf_append(ret, slice_text("}\n"), BUNDLE_FILE_MAX);
}

static enum err make_line(struct slice name, struct slice secret, struct buf *ret)
{
    if (secret.n == 0) {
        return OK;
    }
    if (name.n > 0) {
        TRY(buf_append(ret, name, BUNDLE_FILE_MAX));
        TRY(buf_append(ret, slice_text(":"), BUNDLE_FILE_MAX));
    }
    TRY(buf_append(ret, secret, BUNDLE_FILE_MAX));
    return buf_append(ret, slice_text("\n"), BUNDLE_FILE_MAX);
}

enum err bundle_make(const struct bundle_order *o, struct bundle *ret, struct why *why)
{
    if (o->device.n == 0 || o->host.n == 0) {
        why_set(why, "a bundle needs the device's name and the server's host");
        return ERR_MALFORMED;
    }
    AUTO(bundle_done) struct bundle b = {0};
    TRY(make_json(o, &b.file[BUNDLE_JSON]));
    TRY(buf_append(&b.file[BUNDLE_CA], o->ca_pem, BUNDLE_FILE_MAX));
    TRY(buf_append(&b.file[BUNDLE_CERT], o->cert_pem, BUNDLE_FILE_MAX));
    TRY(buf_append(&b.file[BUNDLE_KEY], o->key_pem, BUNDLE_FILE_MAX));
    TRY(make_line((struct slice){0}, o->password, &b.file[BUNDLE_PASSWORD]));
    TRY(make_line((struct slice){0}, o->scram, &b.file[BUNDLE_SCRAM]));
    TRY(make_line(o->psk_identity.n > 0 ? o->psk_identity : o->device, o->psk,
                  &b.file[BUNDLE_PSK]));
    TRY(make_oscore(o, &b.file[BUNDLE_OSCORE]));
    TRY(bundle_howto(o, &b.file[BUNDLE_HOWTO]));
    *ret = b;
    b = (struct bundle){0};
    return OK;
}

enum err bundle_to_json(const struct bundle *b, json_t **ret)
{
    AUTO(json_autofree) json_t *json = json_object();
    for (size_t i = 0; i < BUNDLE_FILES; i++) {
        struct slice s = buf_slice(&b->file[i]);
        if (s.n > 0 &&
            json_object_set_new(json, names[i], json_stringn((const char *)s.p, s.n)) != 0) {
            return ERR_NOMEM;
        }
    }
    if (json == NULL) {
        return ERR_NOMEM;
    }
    *ret = TAKE(json);
    return OK;
}

static bool find_file(const char *name, enum bundle_file *ret)
{
    for (enum bundle_file f = BUNDLE_JSON; f < BUNDLE_FILES; f++) {
        if (strcmp(name, names[f]) == 0) {
            *ret = f;
            return true;
        }
    }
    return false;
}

enum err bundle_from_json(const json_t *json, struct bundle *ret)
{
    if (!json_is_object(json)) {
        return ERR_MALFORMED;
    }
    AUTO(bundle_done) struct bundle b = {0};
    /* the library's iterators take a non-const object that they do not change */
    json_t *object = (json_t *)(uintptr_t)json;
    for (void *at = json_object_iter(object); at != NULL; at = json_object_iter_next(object, at)) {
        const json_t *value = json_object_iter_value(at);
        enum bundle_file f;
        if (!find_file(json_object_iter_key(at), &f) || !json_is_string(value)) {
            return ERR_MALFORMED;
        }
        TRY(buf_append(&b.file[f], slice_of(json_string_value(value), json_string_length(value)),
                       BUNDLE_FILE_MAX));
    }
    *ret = b;
    b = (struct bundle){0};
    return OK;
}

static enum err save_file(int dir_fd, const char *dir, const char *name, struct slice s,
                          bool is_synced, struct why *why)
{
    AUTO(fd_autoclose)
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    while (fd >= 0 && s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno != EINTR) {
            break;
        }
        s = n > 0 ? slice_from(s, (size_t)n) : s;
    }
    if (fd < 0 || s.n > 0 || (is_synced && fsync(fd) != 0)) {
        int e = errno;
        why_set(why, "%s/%s: %s", dir, name, strerror(e));
        return e == EEXIST ? ERR_EXISTS : e == ENOSPC ? ERR_SPACE : ERR_IO;
    }
    return OK;
}

static enum err save(const struct bundle *b, const char *dir, bool is_synced, struct why *why)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        why_set(why, "%s: %s", dir, strerror(errno));
        return errno == ENOSPC ? ERR_SPACE : ERR_IO;
    }
    AUTO(fd_autoclose) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir_fd < 0) {
        why_set(why, "%s: %s", dir, strerror(errno));
        return ERR_IO;
    }
    for (size_t i = 0; i < BUNDLE_FILES; i++) {
        struct stat st;
        if (b->file[i].n > 0 && fstatat(dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0) {
            why_set(why, "%s/%s is there already: name another directory with --out", dir,
                    names[i]);
            return ERR_EXISTS;
        }
    }
    for (size_t i = 0; i < BUNDLE_FILES; i++) {
        if (b->file[i].n > 0) {
            TRY(save_file(dir_fd, dir, names[i], buf_slice(&b->file[i]), is_synced, why));
        }
    }
    return OK;
}

enum err bundle_save(const struct bundle *b, const char *dir, struct why *why)
{
    return save(b, dir, true, why);
}

enum err bundle_save_unsynced(const struct bundle *b, const char *dir, struct why *why)
{
    return save(b, dir, false, why);
}

#include "app/cli/client_target.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "app/cli/client_url.h"
#include "base/mem.h"
#include "base/scope.h"
#include "service/pki/bundle.h"

enum { READ_STEP = 16 * 1024, MQTTS_PORT = 8883, WSS_PORT = 8084, COAPS_PORT_DEFAULT = 5684 };

static void close_fd(const int *fd)
{
    if (*fd > STDERR_FILENO) {
        (void)close(*fd);
    }
}

static void json_release(json_t **j)
{
    json_decref(*j);
}

void client_target_done(struct client_target *t)
{
    struct buf *all[] = {&t->ca,       &t->chain,        &t->key, &t->username,
                         &t->password, &t->psk_identity, &t->psk};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buf_wipe(all[i]);
    }
}

int client_file(struct cli *cli, const char *path, size_t most, struct buf *ret)
{
    AUTO(close_fd)
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cli_fail(cli, "%s: %s", path, strerror(errno));
    }
    for (;;) {
        uint8_t *room;
        enum err err = buf_room(ret, READ_STEP, most + READ_STEP, &room);
        if (err != OK || ret->n > most) {
            return err == ERR_NOMEM
                       ? cli_fail(cli, "%s: no memory", path)
                       : cli_fail(cli, "%s: larger than the %zu bytes that it may have", path,
                                  most);
        }
        ssize_t n = read(fd, room, READ_STEP);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? CLI_DONE : cli_fail(cli, "%s: %s", path, strerror(errno));
        }
        ret->n += (size_t)n;
    }
}

bool client_number(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                   const char *option, long least, long most, long absent, long *ret)
{
    const char *text = cli_value(a, option);
    if (text == NULL) {
        *ret = absent;
        return true;
    }
    char *end;
    errno = 0;
    long v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || v < least || v > most) {
        (void)cli_usage(cli, self, "%s takes a number from %ld to %ld", option, least, most);
        return false;
    }
    *ret = v;
    return true;
}

/* ---- a bundle ---- */

static int bundle_path(struct cli *cli, const char *dir, enum bundle_file f,
                       char path[CLIENT_PATH_BYTES])
{
    int n = snprintf(path, CLIENT_PATH_BYTES, "%s/%s", dir, bundle_file_name(f));
    return n < CLIENT_PATH_BYTES ? CLI_DONE : cli_fail(cli, "%s: the path is too long", dir);
}

/* A file of the bundle; one that is not there leaves *ret empty. */
static int bundle_part(struct cli *cli, const char *dir, enum bundle_file f, struct buf *ret)
{
    char path[CLIENT_PATH_BYTES];
    int code = bundle_path(cli, dir, f, path);
    if (code != CLI_DONE || (access(path, F_OK) != 0 && errno == ENOENT)) {
        return code;
    }
    return client_file(cli, path, BUNDLE_FILE_MAX, ret);
}

static void cut_line_end(struct buf *b)
{
    while (b->n > 0 && (b->p[b->n - 1] == '\n' || b->p[b->n - 1] == '\r')) {
        b->n--;
    }
}

static const char *port_name(const struct client_target *t, enum client_door door)
{
    switch (door) {
    case CLIENT_COAPS:
        return "coaps";
    case CLIENT_COAPS_TCP:
        return "coaps+tcp";
    case CLIENT_COAP:
        return "coap";
    case CLIENT_ENROL:
        return "enrol";
    case CLIENT_MQTTS:
        break;
    }
    return t->is_websocket ? "wss" : "mqtts";
}

static int read_bundle_json(struct cli *cli, const char *dir, enum client_door door,
                            struct client_target *t)
{
    AUTO(buf_done) struct buf text = {0};
    char path[CLIENT_PATH_BYTES];
    int code = bundle_path(cli, dir, BUNDLE_JSON, path);
    code = code == CLI_DONE ? client_file(cli, path, BUNDLE_FILE_MAX, &text) : code;
    if (code != CLI_DONE) {
        return code;
    }
    AUTO(json_release)
    json_t *json = json_loadb((const char *)text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    const char *door_name = port_name(t, door);
    const char *device = json_string_value(json_object_get(json, "device"));
    const char *host = json_string_value(json_object_get(json, "host"));
    json_int_t port =
        json_integer_value(json_object_get(json_object_get(json, "ports"), door_name));
    if (device == NULL || host == NULL ||
        !slice_to_text(slice_text(device), t->device, sizeof(t->device)) ||
        !slice_to_text(slice_text(host), t->host, sizeof(t->host))) {
        return cli_fail(cli, "%s is not a bundle's: it must name device and host", path);
    }
    t->port = port > 0 && port <= UINT16_MAX ? (uint16_t)port : 0;
    return CLI_DONE;
}

/* psk.txt is NAME:KEY; the key is what stands behind the last colon. */
static int split_psk(struct cli *cli, const char *dir, const struct buf *line,
                     struct client_target *t)
{
    size_t at = line->n;
    while (at > 0 && line->p[at - 1] != ':') {
        at--;
    }
    if (at < 2 || at == line->n) {
        return cli_fail(cli, "%s/psk.txt is not one line NAME:KEY", dir);
    }
    enum err err = buf_append(&t->psk_identity, slice_of(line->p, at - 1), BUNDLE_FILE_MAX);
    err = err == OK ? buf_append(&t->psk, slice_of(line->p + at, line->n - at), BUNDLE_FILE_MAX)
                    : err;
    return err == OK ? CLI_DONE : cli_fail(cli, "no memory");
}

static int read_bundle(struct cli *cli, const char *dir, enum client_door door,
                       struct client_target *t)
{
    AUTO(buf_wipe) struct buf psk = {0};
    int code = read_bundle_json(cli, dir, door, t);
    if (door == CLIENT_COAP) {
        return code;
    }
    code = code == CLI_DONE ? bundle_path(cli, dir, BUNDLE_CA, t->ca_path) : code;
    code = code == CLI_DONE ? bundle_part(cli, dir, BUNDLE_CA, &t->ca) : code;
    code = code == CLI_DONE ? bundle_part(cli, dir, BUNDLE_CERT, &t->chain) : code;
    code = code == CLI_DONE ? bundle_part(cli, dir, BUNDLE_KEY, &t->key) : code;
    code = code == CLI_DONE ? bundle_part(cli, dir, BUNDLE_PASSWORD, &t->password) : code;
    code = code == CLI_DONE ? bundle_part(cli, dir, BUNDLE_PSK, &psk) : code;
    if (code != CLI_DONE) {
        return code;
    }
    cut_line_end(&t->password);
    cut_line_end(&psk);
    if (psk.n > 0 && door != CLIENT_COAPS_TCP) {
        code = split_psk(cli, dir, &psk, t);
    }
    if (code == CLI_DONE && t->password.n > 0 &&
        buf_append(&t->username, slice_text(t->device), CLIENT_NAME_BYTES) != OK) {
        return cli_fail(cli, "no memory");
    }
    if ((door == CLIENT_MQTTS || door == CLIENT_ENROL) && t->chain.n > 0) {
        buf_wipe(&t->password); /* one identity: the certificate */
        buf_wipe(&t->username);
    }
    if (code == CLI_DONE && door == CLIENT_COAPS && t->psk.n == 0 && t->chain.n == 0) {
        return cli_fail(cli,
                        "%s holds neither psk.txt nor cert.pem, and CoAP needs one of them: "
                        "`device rotate %s --credential psk`",
                        dir, t->device);
    }
    if (code == CLI_DONE && door == CLIENT_COAPS_TCP && t->chain.n == 0) {
        return cli_fail(cli,
                        "%s holds no cert.pem, and over TCP a certificate says who asks: `device "
                        "rotate %s --credential x509`",
                        dir, t->device);
    }
    return code;
}

/* ---- flags ---- */

static int replace_file(struct cli *cli, const struct cli_args *a, const char *option, size_t most,
                        struct buf *ret)
{
    const char *path = cli_value(a, option);
    if (path == NULL) {
        return CLI_DONE;
    }
    buf_wipe(ret);
    return client_file(cli, path, most, ret);
}

static int replace_text(struct cli *cli, const struct cli_args *a, const char *option,
                        struct buf *ret)
{
    const char *text = cli_value(a, option);
    if (text == NULL) {
        return CLI_DONE;
    }
    buf_wipe(ret);
    return buf_append(ret, slice_text(text), BUNDLE_FILE_MAX) == OK
               ? CLI_DONE
               : cli_fail(cli, "no memory, or %s is too long", option);
}

static int read_flags(struct cli *cli, const struct cli_args *a, struct client_target *t)
{
    const char *host = cli_value(a, "--host");
    const char *ca = cli_value(a, "--cafile");
    if (host != NULL && !slice_to_text(slice_text(host), t->host, sizeof(t->host))) {
        return cli_fail(cli, "the host name is too long");
    }
    if (ca != NULL) {
        (void)snprintf(t->ca_path, sizeof(t->ca_path), "%s", ca);
    }
    int code = replace_file(cli, a, "--cafile", CLIENT_CA_BYTES_MAX, &t->ca);
    code = code == CLI_DONE ? replace_file(cli, a, "-R", CLIENT_CA_BYTES_MAX, &t->ca) : code;
    code = code == CLI_DONE ? replace_file(cli, a, "--cert", BUNDLE_FILE_MAX, &t->chain) : code;
    code = code == CLI_DONE ? replace_file(cli, a, "--key", BUNDLE_FILE_MAX, &t->key) : code;
    code = code == CLI_DONE ? replace_text(cli, a, "--username", &t->username) : code;
    code = code == CLI_DONE ? replace_text(cli, a, "--psk-identity", &t->psk_identity) : code;
    code = code == CLI_DONE ? replace_text(cli, a, "--psk", &t->psk) : code;
    code = code == CLI_DONE ? replace_text(cli, a, "--pw", &t->password) : code;
    code = code == CLI_DONE ? replace_file(cli, a, "--password-file", BUNDLE_FILE_MAX, &t->password)
                            : code;
    if (code == CLI_DONE && cli_has(a, "--password-file")) {
        cut_line_end(&t->password);
    }
    return code;
}

/* ---- -L ---- */

static int in_the_clear(struct cli *cli, const struct cli_command *self, const struct client_url *u)
{
    bool is_ws = u->scheme == CLIENT_URL_WS;
    return cli_usage(cli, self,
                     "%s:// is in the clear, and this command always verifies whom it talks to: "
                     "use %s://HOST%s with --bundle DIR.\n  A server of ours has a plain listener "
                     "only for a time and a reason (`sallyport exception add`), for devices that "
                     "know no TLS",
                     is_ws ? "ws" : "mqtt", is_ws ? "wss" : "mqtts", is_ws ? "/mqtt" : "/TOPIC");
}

static int bad_url(struct cli *cli, const struct cli_command *self, enum err err)
{
    return cli_usage(cli, self,
                     "-L: %s; it looks like mqtts://HOST:8883/TOPIC or wss://HOST:8084/mqtt, and "
                     "%%40 is @ in a password",
                     err == ERR_UNSUPPORTED ? "another kind of URL"
                     : err == ERR_TOO_LARGE ? "the URL is too long"
                                            : "the URL is not right");
}

/* What a URL says; the flags after it have the last word. */
static int take_url(struct cli *cli, const struct cli_command *self, const struct client_url *u,
                    struct client_target *t)
{
    if (u->scheme == CLIENT_URL_MQTT || u->scheme == CLIENT_URL_WS) {
        return in_the_clear(cli, self, u);
    }
    t->is_websocket = u->scheme == CLIENT_URL_WSS;
    char *to = t->is_websocket ? t->path : t->topic;
    if (t->is_websocket && u->path.n == 0) {
        (void)snprintf(to, CLIENT_PATH_BYTES, "/mqtt");
    } else if (t->is_websocket && slice_find(u->path, ' ') < u->path.n) {
        return bad_url(cli, self, ERR_MALFORMED);
    } else if (u->path.n + 2 > CLIENT_PATH_BYTES) {
        return bad_url(cli, self, ERR_TOO_LARGE);
    } else {
        (void)snprintf(to, CLIENT_PATH_BYTES, "%s%.*s", t->is_websocket ? "/" : "",
                       SLICE_ARG(u->path));
    }
    return CLI_DONE;
}

static int use_url(struct cli *cli, const struct client_url *u, struct client_target *t)
{
    (void)snprintf(t->host, sizeof(t->host), "%s", u->host);
    t->port = u->port != 0 ? u->port : t->port;
    if (u->username[0] == '\0') {
        return CLI_DONE;
    }
    buf_wipe(&t->username);
    buf_wipe(&t->password);
    enum err err = buf_append(&t->username, slice_text(u->username), CLIENT_URL_MAX);
    err = err == OK ? buf_append(&t->password, slice_text(u->password), CLIENT_URL_MAX) : err;
    return err == OK ? CLI_DONE : cli_fail(cli, "no memory");
}

static void url_wipe(struct client_url *u)
{
    mem_wipe(u, sizeof(*u));
}

/* ---- the whole ---- */

int client_no_insecure(struct cli *cli, const struct cli_command *self)
{
    return cli_usage(
        cli, self,
        "there is no --insecure: without verification anybody on the way reads and changes what "
        "you send.\n"
        "  A bundle holds everything it needs: --bundle DIR (`sallyport device add NAME --role "
        "R`).\n"
        "  Another server: give the file of the authority that signed it with --cafile FILE.\n"
        "  \"not for this name\": connect by a name that the certificate carries (-h NAME), or "
        "give\n"
        "  the server one with this name, there (`sallyport certs renew --host NAME`)");
}

static int read_tls(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                    struct client_target *t)
{
    const char *version = cli_value(a, "--tls-version");
    t->from = cli_value(a, "-A");
    t->ca_dir = cli_value(a, "--capath");
    t->alpn = cli_value(a, "--tls-alpn");
    t->ciphers = cli_value(a, "--ciphers");
    t->use_os_authorities = cli_has(a, "--tls-use-os-certs");
    t->tls13_only = version != NULL && strcmp(version, "tlsv1.3") == 0;
    if (version != NULL && !t->tls13_only && strcmp(version, "tlsv1.2") != 0) {
        return cli_usage(cli, self,
                         "--tls-version takes tlsv1.3 or tlsv1.2, the oldest to accept: what came "
                         "before them is broken and not offered.\n  A server that has nothing "
                         "newer needs an update");
    }
    return CLI_DONE;
}

static int check_target(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                        enum client_door door, struct client_target *t)
{
    const char *bundle = cli_value(a, "--bundle");
    if (door == CLIENT_COAP) {
        return CLI_DONE; /* the URI says where */
    }
    if (door == CLIENT_COAPS_TCP) {
        t->port = COAPS_PORT_DEFAULT; /* for what follows: the URI says it */
    }
    if (t->port == 0 && bundle == NULL) {
        t->port = door == CLIENT_COAPS ? COAPS_PORT_DEFAULT
                  : t->is_websocket    ? WSS_PORT
                                       : MQTTS_PORT;
    }
    if (t->port == 0) {
        return cli_fail(cli, "%s/bundle.json names no port for %s: the server has no such listener",
                        bundle, door == CLIENT_COAPS ? "CoAP" : port_name(t, door));
    }
    if (t->host[0] == '\0') {
        (void)snprintf(t->host, sizeof(t->host), "localhost");
    }
    if (t->ca.n == 0 && t->psk.n == 0 && t->ca_dir == NULL && !t->use_os_authorities) {
        return cli_usage(cli, self,
                         "whom to trust? Give --bundle DIR, or --cafile FILE with the server's "
                         "certificate authority");
    }
    if ((t->psk.n == 0) != (t->psk_identity.n == 0)) {
        return cli_usage(cli, self, "a pre-shared key has a name: give both -u NAME and -k KEY");
    }
    if ((t->chain.n == 0) != (t->key.n == 0)) {
        return cli_usage(cli, self, "a certificate needs its key: give both --cert and --key");
    }
    return CLI_DONE;
}

int client_target_read(struct cli *cli, const struct cli_command *self, const struct cli_args *a,
                       enum client_door door, struct client_target *t)
{
    AUTO(url_wipe) struct client_url u = {0};
    const char *url = cli_value(a, "--url");
    const char *bundle = cli_value(a, "--bundle");
    long port;
    if (cli_has(a, "--insecure")) {
        return client_no_insecure(cli, self);
    }
    if (!client_number(cli, self, a, "--port", 1, UINT16_MAX, 0, &port)) {
        return CLI_USAGE;
    }
    enum err err = url != NULL ? client_url_parse(slice_text(url), &u) : OK;
    if (err != OK) {
        return bad_url(cli, self, err);
    }
    int code = url != NULL ? take_url(cli, self, &u, t) : CLI_DONE;
    code = code == CLI_DONE ? read_tls(cli, self, a, t) : code;
    code = code == CLI_DONE && bundle != NULL ? read_bundle(cli, bundle, door, t) : code;
    code = code == CLI_DONE && url != NULL ? use_url(cli, &u, t) : code;
    code = code == CLI_DONE ? read_flags(cli, a, t) : code;
    if (code != CLI_DONE) {
        return code;
    }
    t->port = port > 0 ? (uint16_t)port : t->port;
    return check_target(cli, self, a, door, t);
}

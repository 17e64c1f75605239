#include "app/daemon/config_export.h"

#include <fcntl.h>

#include "net/peer.h"
#include "net/tls.h"
#include "service/directory/settings.h"

#define COMPLAIN(r, node, ...) yaml_complain((r)->doc, (node), (r)->complaint, __VA_ARGS__)

struct reading {
    const struct yaml_doc *doc;
    struct yaml_complaint *complaint;
};

static bool is_word(struct slice text, const char *more)
{
    bool good = text.n > 0;
    for (size_t i = 0; good && i < text.n; i++) {
        uint8_t c = text.p[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c < 0x7f && strchr(more, c) != NULL && c != 0);
    }
    return good;
}

/* A file of DIR, or of one of its folders: "pki/siem-ca.pem". */
static enum err read_file(const struct reading *r, const struct yaml_node *n, const char *what,
                          char dst[COURIER_FILE_BYTES])
{
    bool good = n->kind == YAML_SCALAR && is_word(n->text, "-_./") && n->text.p[0] != '/' &&
                n->text.p[0] != '.' && slice_to_text(n->text, dst, COURIER_FILE_BYTES);
    return good && strstr(dst, "..") == NULL
               ? OK
               : COMPLAIN(r, n, "%s must be a file of this directory, like siem-ca.pem", what);
}

static void host_of(const struct net_peer *to, struct courier_sink *s)
{
    char text[NET_PEER_TEXT_BYTES];
    net_peer_text(to, text);
    struct slice ip = slice_text(text);
    while (ip.n > 0 && ip.p[ip.n - 1] != ':') {
        ip.n--;
    }
    ip = slice_head(ip, ip.n > 0 ? ip.n - 1 : 0);
    if (ip.n > 2 && ip.p[0] == '[') {
        ip = slice_from(slice_head(ip, ip.n - 1), 1);
    }
    (void)slice_to_text(ip, s->host, sizeof s->host);
}

static enum err read_to(const struct reading *r, const struct yaml_node *n, struct courier_sink *s)
{
    struct net_peer to;
    if (n == NULL || n->kind != YAML_SCALAR || net_peer_parse(n->text, &to) != OK || to.port == 0 ||
        net_peer_is_multicast(&to) || !slice_to_text(n->text, s->to, sizeof s->to)) {
        return COMPLAIN(r, n,
                        "to must be an address and a port, like \"192.0.2.7:6514\" or "
                        "\"[2001:db8::7]:6514\"; names are not looked up, host says which name "
                        "the certificate must carry");
    }
    host_of(&to, s);
    return OK;
}

static enum err read_silence(const struct reading *r, const struct yaml_node *n,
                             struct courier_sink *s)
{
    static const struct setting row = {
        "silence", SETTING_DURATION, CONFIG_SILENCE_MIN_S, CONFIG_SILENCE_MAX_S, "", 0, 4};
    char why[SETTING_WHY_BYTES];
    uint64_t v = 0;
    TRY(yaml_expect(r->doc, n, YAML_SCALAR, "silence", r->complaint));
    if (setting_parse(&row, n->text, 0, why, &v) != OK) {
        return COMPLAIN(r, n, "%s", why);
    }
    s->silence_s = (uint32_t)v;
    return OK;
}

static enum err read_own_certificate(const struct reading *r, const struct yaml_node *n,
                                     struct courier_sink *s)
{
    const struct yaml_node *cert = yaml_find(n, "cert"), *key = yaml_find(n, "key");
    if ((cert == NULL) != (key == NULL)) {
        return COMPLAIN(r, n, "cert and key belong together: our own certificate and its key");
    }
    if (cert != NULL) {
        TRY(read_file(r, cert, "cert", s->cert));
        TRY(read_file(r, key, "key", s->key));
    }
    return OK;
}

static enum err read_host(const struct reading *r, const struct yaml_node *n,
                          struct courier_sink *s)
{
    const struct yaml_node *v = yaml_find(n, "host");
    return v == NULL || (v->kind == YAML_SCALAR && is_word(v->text, "-_.:") &&
                         slice_to_text(v->text, s->host, sizeof s->host))
               ? OK
               : COMPLAIN(r, v, "host must be the name or address in the receiver's certificate");
}

/* One of a few words; absent: the first. */
static enum err read_choice(const struct reading *r, const struct yaml_node *n, const char *key,
                            const char *first, const char *second, bool *ret_is_second)
{
    const struct yaml_node *v = yaml_find(n, key);
    *ret_is_second = v != NULL && v->kind == YAML_SCALAR && slice_is(v->text, second);
    return v == NULL || *ret_is_second || (v->kind == YAML_SCALAR && slice_is(v->text, first))
               ? OK
               : COMPLAIN(r, v, "%s must be one of: %s, %s", key, first, second);
}

static enum err read_json_format(const struct reading *r, const struct yaml_node *n,
                                 struct courier_sink *s)
{
    bool is_ocsf;
    TRY(read_choice(r, n, "format", "json", "ocsf", &is_ocsf));
    s->format = is_ocsf ? SHIPMENT_OCSF : SHIPMENT_RECORD;
    return OK;
}

/* ---- a stream over TLS ---- */

static enum err read_stream(const struct reading *r, const struct yaml_node *n,
                            struct courier_sink *s)
{
    static const char *const keys[] = {"name", "format", "to",      "host", "ca",
                                       "cert", "key",    "silence", "only", NULL};
    const struct yaml_node *ca = yaml_find(n, "ca"), *to = yaml_find(n, "to");
    const struct yaml_node *format = yaml_find(n, "format");
    TRY(yaml_only(r->doc, n, keys, "a sink", r->complaint));
    if (format == NULL || to == NULL || ca == NULL) {
        return COMPLAIN(r, n,
                        "a sink needs name, format, to and ca, like { name: siem, format: syslog, "
                        "to: \"192.0.2.7:6514\", ca: siem-ca.pem }; or webhook, file or journald");
    }
    if (format->kind != YAML_SCALAR || !shipment_format_find(format->text, &s->format) ||
        s->format == SHIPMENT_JSON) {
        return COMPLAIN(r, format, "format must be one of: syslog, ocsf");
    }
    TRY(read_to(r, to, s));
    TRY(read_file(r, ca, "ca", s->ca));
    TRY(read_own_certificate(r, n, s));
    return read_host(r, n, s);
}

/* ---- a webhook ---- */

/* Where to connect: what url says when it has an address, else `to`. */
static enum err read_place(const struct reading *r, const struct yaml_node *n,
                           const struct webhook_url *url, struct courier_sink *s)
{
    const struct yaml_node *to = yaml_find(n, "to");
    struct net_peer peer;
    char text[WEBHOOK_URL_BYTES + 8];
    bool is_six = slice_find(url->host, ':') < url->host.n;
    (void)snprintf(text, sizeof text, "%s%.*s%s:%u", is_six ? "[" : "", SLICE_ARG(url->host),
                   is_six ? "]" : "", (unsigned)url->port);
    bool is_address = net_peer_parse(slice_text(text), &peer) == OK;
    if (to == NULL && (!is_address || net_peer_is_multicast(&peer))) {
        return COMPLAIN(r, n,
                        "names are not looked up: say by to where %.*s is, like to: "
                        "\"192.0.2.7:%u\"; its certificate must carry the name in url",
                        SLICE_ARG(slice_head(url->host, 64)), (unsigned)url->port);
    }
    if (to != NULL) {
        TRY(read_to(r, to, s));
    } else if (!slice_to_text(slice_text(text), s->to, sizeof s->to)) {
        return COMPLAIN(r, n, "the address in url is too long");
    }
    return slice_to_text(url->host, s->host, sizeof s->host) ? OK : ERR_CONFIG;
}

static enum err read_webhook(const struct reading *r, const struct yaml_node *n,
                             struct courier_sink *s)
{
    static const char *const outer[] = {"name", "webhook", "format", "only", "silence", NULL};
    static const char *const keys[] = {"url", "to", "secret_file", "ca", "cert", "key", NULL};
    const struct yaml_node *hook = yaml_find(n, "webhook");
    struct webhook_url url;
    const char *why = "";
    TRY(yaml_only(r->doc, n, outer, "a sink with webhook", r->complaint));
    TRY(yaml_expect(r->doc, hook, YAML_MAP, "webhook", r->complaint));
    TRY(yaml_only(r->doc, hook, keys, "webhook", r->complaint));
    const struct yaml_node *address = yaml_find(hook, "url"), *ca = yaml_find(hook, "ca");
    const struct yaml_node *secret = yaml_find(hook, "secret_file");
    if (address == NULL || secret == NULL || ca == NULL) {
        return COMPLAIN(r, hook,
                        "a webhook needs url, secret_file and ca, like { url: "
                        "\"https://192.0.2.7:8443/alerts\", secret_file: hook.secret, ca: "
                        "hook-ca.pem }; to trust a public authority copy its root to this "
                        "directory");
    }
    if (address->kind != YAML_SCALAR || webhook_url_read(address->text, &url, &why) != OK ||
        !slice_to_text(address->text, s->url, sizeof s->url)) {
        return COMPLAIN(r, address, "%s", why[0] != '\0' ? why : "url must be a text");
    }
    s->way = COURIER_WEBHOOK;
    TRY(read_place(r, hook, &url, s));
    TRY(read_file(r, secret, "secret_file", s->secret));
    TRY(read_file(r, ca, "ca", s->ca));
    TRY(read_own_certificate(r, hook, s));
    return read_json_format(r, n, s);
}

/* ---- on this machine ---- */

/* An absolute path of plain characters. */
static enum err read_path(const struct reading *r, const struct yaml_node *n, const char *what,
                          const char *example, struct courier_sink *s)
{
    bool good = n->kind == YAML_SCALAR && is_word(n->text, "-_./") && n->text.p[0] == '/' &&
                slice_to_text(n->text, s->path, sizeof s->path);
    if (!good || strstr(s->path, "..") != NULL || strstr(s->path, "//") != NULL) {
        return COMPLAIN(r, n, "%s must be an absolute path of [A-Za-z0-9-_./], like %s", what,
                        example);
    }
    (void)snprintf(s->to, sizeof s->to, "%.63s", s->path);
    return OK;
}

static enum err read_number(const struct reading *r, const struct yaml_node *n,
                            const struct setting *row, uint64_t *v)
{
    char why[SETTING_WHY_BYTES];
    if (n == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, n, YAML_SCALAR, row->name, r->complaint));
    return setting_parse(row, n->text, 0, why, v) == OK ? OK : COMPLAIN(r, n, "%s", why);
}

static enum err read_lines(const struct reading *r, const struct yaml_node *n,
                           struct courier_sink *s)
{
    static const char *const keys[] = {"name",    "file",         "format",     "only",
                                       "silence", "rotate_bytes", "keep_files", NULL};
    static const struct setting bytes = {
        "rotate_bytes", SETTING_BYTES, CONFIG_ROTATE_MIN_BYTES, CONFIG_ROTATE_MAX_BYTES, "", 0, 8};
    static const struct setting files = {
        "keep_files", SETTING_COUNT, CONFIG_KEEP_MIN, CONFIG_KEEP_MAX, "", 0, 8};
    static const char suffix[] = ".jsonl";
    uint64_t kept = COURIER_FILES_KEPT;
    TRY(yaml_only(r->doc, n, keys, "a sink with file", r->complaint));
    const struct yaml_node *path = yaml_find(n, "file");
    TRY(read_path(r, path, "file", "/var/log/sallyport/audit.jsonl", s));
    size_t length = strlen(s->path);
    if (length <= sizeof suffix - 1 ||
        strcmp(s->path + length - (sizeof suffix - 1), suffix) != 0) {
        return COMPLAIN(r, path, "file must end in .jsonl, so that no other file is taken for it");
    }
    s->way = COURIER_FILE;
    s->file_bytes = COURIER_FILE_MAX_BYTES;
    TRY(read_number(r, yaml_find(n, "rotate_bytes"), &bytes, &s->file_bytes));
    TRY(read_number(r, yaml_find(n, "keep_files"), &files, &kept));
    s->files_kept = (uint32_t)kept;
    return read_json_format(r, n, s);
}

static enum err read_journald(const struct reading *r, const struct yaml_node *n,
                              struct courier_sink *s)
{
    static const char *const keys[] = {"name", "journald", "only", "silence", NULL};
    TRY(yaml_only(r->doc, n, keys, "a sink with journald", r->complaint));
    TRY(read_path(r, yaml_find(n, "journald"), "journald", "/run/systemd/journal/socket", s));
    if (strlen(s->path) > CONFIG_SOCKET_PATH_MAX) {
        return COMPLAIN(r, yaml_find(n, "journald"),
                        "the path of a socket has at most %d "
                        "characters",
                        CONFIG_SOCKET_PATH_MAX);
    }
    s->way = COURIER_JOURNALD;
    s->format = SHIPMENT_JOURNAL;
    return OK;
}

/* ---- all ---- */

static enum err read_name(const struct reading *r, const struct yaml_node *n,
                          const struct config_export *c, struct courier_sink *s)
{
    const struct yaml_node *name = yaml_find(n, "name");
    if (name == NULL || name->kind != YAML_SCALAR || name->text.n > 32 ||
        !is_word(name->text, "-_") || !slice_to_text(name->text, s->name, sizeof s->name)) {
        return COMPLAIN(r, name != NULL ? name : n,
                        "a sink needs name: name must be 1 to 32 of [A-Za-z0-9_-]");
    }
    for (size_t i = 0; i < c->n; i++) {
        if (strcmp(c->sinks[i].name, s->name) == 0) {
            return COMPLAIN(r, name, "a sink named \"%s\" is there already", s->name);
        }
    }
    return OK;
}

static enum err read_way(const struct reading *r, const struct yaml_node *n, struct courier_sink *s)
{
    if (yaml_find(n, "webhook") != NULL) {
        return read_webhook(r, n, s);
    }
    if (yaml_find(n, "file") != NULL) {
        return read_lines(r, n, s);
    }
    return yaml_find(n, "journald") != NULL ? read_journald(r, n, s) : read_stream(r, n, s);
}

static enum err read_sink(const struct reading *r, const struct yaml_node *n,
                          struct config_export *c)
{
    struct courier_sink s = {.silence_s = COURIER_SILENCE_S};
    const struct yaml_node *silence;
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a sink", r->complaint));
    TRY(read_name(r, n, c, &s));
    TRY(read_way(r, n, &s));
    TRY(read_choice(r, n, "only", "all", "alerts", &s.only_alerts));
    if ((silence = yaml_find(n, "silence")) != NULL) {
        TRY(read_silence(r, silence, &s));
    }
    c->sinks[c->n++] = s;
    return OK;
}

enum err config_read_export(const struct yaml_doc *doc, const struct yaml_node *n,
                            struct yaml_complaint *ret_complaint, struct config_export *ret)
{
    struct reading r = {.doc = doc, .complaint = ret_complaint};
    struct config_export c = {.n = 0};
    if (n == NULL) {
        return OK;
    }
    TRY(yaml_expect(doc, n, YAML_LIST, "export", ret_complaint));
    for (const struct yaml_node *one = n->first; one != NULL; one = one->next) {
        if (c.n == COURIER_SINKS_MAX) {
            return COMPLAIN(&r, one, "more than %d sinks in export", COURIER_SINKS_MAX);
        }
        TRY(read_sink(&r, one, &c));
    }
    *ret = c;
    return OK;
}

bool config_export_equal(const struct config_export *a, const struct config_export *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++) {
        const struct courier_sink *x = &a->sinks[i], *y = &b->sinks[i];
        same = strcmp(x->name, y->name) == 0 && x->format == y->format &&
               strcmp(x->to, y->to) == 0 && strcmp(x->host, y->host) == 0 &&
               strcmp(x->ca, y->ca) == 0 && strcmp(x->cert, y->cert) == 0 &&
               strcmp(x->key, y->key) == 0 && x->silence_s == y->silence_s && x->way == y->way &&
               x->only_alerts == y->only_alerts && strcmp(x->url, y->url) == 0 &&
               strcmp(x->path, y->path) == 0 && strcmp(x->secret, y->secret) == 0 &&
               x->file_bytes == y->file_bytes && x->files_kept == y->files_kept;
    }
    return same;
}

/* Its certificates, its secret. */
static enum err check_files(struct disk *disk, const struct courier_sink *s, char *ret_text)
{
    AUTO(buf_wipe) struct buf secret = {0};
    struct tls *tls = NULL;
    if (s->way >= COURIER_FILE) {
        return OK;
    }
    enum err err = courier_sink_tls(disk, s, ret_text, &tls);
    tls_free(tls);
    return err == OK && s->way == COURIER_WEBHOOK ? courier_sink_secret(disk, s, ret_text, &secret)
                                                  : err;
}

enum err config_check_export_by(struct disk *disk, const char *dir, const struct config_export *c,
                                struct yaml_complaint *ret_complaint)
{
    enum err err = OK;
    for (size_t i = 0; err == OK && i < c->n; i++) {
        char text[TLS_TEXT_BYTES] = "";
        err = check_files(disk, &c->sinks[i], text);
        if (err != OK) {
            (void)snprintf(ret_complaint->text, sizeof ret_complaint->text,
                           "%s/sallyport.yaml: export: %s: %s; ca is the certificate of who signed "
                           "the receiver's, cert and key are ours",
                           dir, c->sinks[i].name, text);
            err = ERR_CONFIG;
        }
    }
    return err;
}

enum err config_check_export(int dir_fd, const char *dir, const struct config_export *c,
                             struct yaml_complaint *ret_complaint)
{
    int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    struct disk *disk = NULL;
    enum err err = fd >= 0 ? disk_system(fd, &disk) : ERR_IO;
    err = err == OK ? config_check_export_by(disk, dir, c, ret_complaint) : err;
    if (disk != NULL) {
        disk->ops->free(disk);
    }
    return err;
}

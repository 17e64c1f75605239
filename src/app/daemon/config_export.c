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
    char text[NET_PEER_TEXT_BYTES];
    net_peer_text(&to, text);
    struct slice ip = slice_text(text);
    while (ip.n > 0 && ip.p[ip.n - 1] != ':') {
        ip.n--;
    }
    ip = slice_head(ip, ip.n > 0 ? ip.n - 1 : 0);
    if (ip.n > 2 && ip.p[0] == '[') {
        ip = slice_from(slice_head(ip, ip.n - 1), 1);
    }
    (void)slice_to_text(ip, s->host, sizeof s->host);
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

static enum err read_sink(const struct reading *r, const struct yaml_node *n,
                          struct config_export *c)
{
    static const char *const keys[] = {"name", "format", "to",      "host", "ca",
                                       "cert", "key",    "silence", NULL};
    struct courier_sink s = {.silence_s = COURIER_SILENCE_S};
    const struct yaml_node *v;
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a sink", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a sink", r->complaint));
    const struct yaml_node *name = yaml_find(n, "name"), *ca = yaml_find(n, "ca");
    const struct yaml_node *format = yaml_find(n, "format"), *to = yaml_find(n, "to");
    if (name == NULL || format == NULL || to == NULL || ca == NULL) {
        return COMPLAIN(r, n,
                        "a sink needs name, format, to and ca, like { name: siem, format: syslog, "
                        "to: \"192.0.2.7:6514\", ca: siem-ca.pem }");
    }
    if (name->kind != YAML_SCALAR || name->text.n > 32 || !is_word(name->text, "-_") ||
        !slice_to_text(name->text, s.name, sizeof s.name)) {
        return COMPLAIN(r, name, "name must be 1 to 32 of [A-Za-z0-9_-]");
    }
    for (size_t i = 0; i < c->n; i++) {
        if (strcmp(c->sinks[i].name, s.name) == 0) {
            return COMPLAIN(r, name, "a sink named \"%s\" is there already", s.name);
        }
    }
    if (format->kind != YAML_SCALAR || !shipment_format_find(format->text, &s.format) ||
        s.format == SHIPMENT_JSON) {
        return COMPLAIN(r, format, "format must be one of: syslog, ocsf");
    }
    TRY(read_to(r, to, &s));
    TRY(read_file(r, ca, "ca", s.ca));
    TRY(read_own_certificate(r, n, &s));
    if ((v = yaml_find(n, "host")) != NULL &&
        (v->kind != YAML_SCALAR || !is_word(v->text, "-_.:") ||
         !slice_to_text(v->text, s.host, sizeof s.host))) {
        return COMPLAIN(r, v, "host must be the name or address in the receiver's certificate");
    }
    if ((v = yaml_find(n, "silence")) != NULL) {
        TRY(read_silence(r, v, &s));
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
               strcmp(x->key, y->key) == 0 && x->silence_s == y->silence_s;
    }
    return same;
}

enum err config_check_export_by(struct disk *disk, const char *dir, const struct config_export *c,
                                struct yaml_complaint *ret_complaint)
{
    enum err err = OK;
    for (size_t i = 0; err == OK && i < c->n; i++) {
        char text[TLS_TEXT_BYTES] = "";
        struct tls *tls = NULL;
        err = courier_sink_tls(disk, &c->sinks[i], text, &tls);
        tls_free(tls);
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

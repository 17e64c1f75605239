#include "app/daemon/config_private.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/daemon/config_pki.h"
#include "app/daemon/config_proxy.h"
#include "core/principal.h"
#include "service/pki/key_source.h"

static bool is_host_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == ':';
}

/* Clients show it to people and feed it to their resolvers: nothing else is let through. */
static enum err read_reference(const struct reading *r, const struct yaml_node *n,
                               char dst[CONFIG_REFERENCE_BYTES])
{
    bool good = n->kind == YAML_SCALAR && n->text.n > 0;
    for (size_t i = 0; good && i < n->text.n; i++) {
        good = is_host_byte(n->text.p[i]) || n->text.p[i] == '[' || n->text.p[i] == ']';
    }
    if (!good || !slice_to_text(n->text, dst, CONFIG_REFERENCE_BYTES)) {
        return COMPLAIN(r, n,
                        "server_reference must be the address of one server, like "
                        "other.example:8883, of at most %d bytes",
                        CONFIG_REFERENCE_BYTES - 1);
    }
    return OK;
}

static enum err read_hosts(const struct reading *r, const struct yaml_node *list, struct config *c)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "hosts", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        bool good = n->kind == YAML_SCALAR && n->text.n > 0;
        for (size_t i = 0; good && i < n->text.n; i++) {
            good = is_host_byte(n->text.p[i]);
        }
        if (!good || c->n_hosts == CONFIG_HOSTS_MAX ||
            !slice_to_text(n->text, c->hosts[c->n_hosts], CONFIG_HOST_BYTES)) {
            return COMPLAIN(r, n, "a host is a DNS name or an address; there may be %d",
                            CONFIG_HOSTS_MAX);
        }
        c->n_hosts++;
    }
    return OK;
}

static enum err read_master_key(const struct reading *r, const struct yaml_node *n,
                                char dst[CONFIG_HOST_BYTES])
{
    char text[CONFIG_HOST_BYTES];
    const char *name = NULL;
    bool good = n->kind == YAML_SCALAR && slice_to_text(n->text, text, sizeof text);
    const struct key_source *source = good ? key_source_of(text, &name) : NULL;
    if (source == NULL || !source->check(slice_text(name))) {
        return COMPLAIN(r, n,
                        "master_key must be the whole path of a file, from /, or credential:NAME "
                        "of systemd");
    }
    memcpy(dst, text, sizeof text);
    return OK;
}

static enum err read_settings(const struct reading *r, const struct yaml_node *map,
                              const struct setting *table, size_t n_table, const char *where,
                              void *values)
{
    TRY(yaml_expect(r->doc, map, YAML_MAP, where, r->complaint));
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        const struct setting *s = setting_find(table, n_table, n->key);
        if (s == NULL) {
            struct slice shown = slice_head(n->key, 40);
            char list[300] = "";
            size_t at = 0;
            for (size_t i = 0; i < n_table && at < sizeof list; i++) {
                at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i > 0 ? ", " : "",
                                       table[i].name);
            }
            return yaml_complain_key(r->doc, n, r->complaint,
                                     "unknown key \"%.*s\" in %s; allowed are: %s",
                                     SLICE_ARG(shown), where, list);
        }
        TRY(yaml_expect(r->doc, n, YAML_SCALAR, s->name, r->complaint));
        char why[SETTING_WHY_BYTES];
        if (setting_apply(s, n->text, r->machine->ram_bytes, why, values) != OK) {
            return COMPLAIN(r, n, "%s", why);
        }
    }
    return OK;
}

static enum err read_workers(const struct reading *r, const struct yaml_node *n, struct config *c)
{
    static const struct setting row = {"workers", SETTING_COUNT, 1, CONFIG_WORKERS_MAX, "", 0, 8};
    char why[SETTING_WHY_BYTES];
    uint64_t v;
    TRY(yaml_expect(r->doc, n, YAML_SCALAR, "workers", r->complaint));
    if (slice_is(n->text, "auto")) {
        return OK;
    }
    if (setting_parse(&row, n->text, 0, why, &v) != OK) {
        return COMPLAIN(r, n, "workers must be auto, or a number from 1 to %d", CONFIG_WORKERS_MAX);
    }
    c->workers = (unsigned)v;
    return OK;
}

static enum err read_claim(const struct reading *r, const struct yaml_node *n, const char *what,
                           char *dst, size_t cap)
{
    bool good = n->kind == YAML_SCALAR && n->text.n > 0 && slice_to_text(n->text, dst, cap);
    return good ? OK : COMPLAIN(r, n, "%s must be a text of 1 to %zu bytes", what, cap - 1);
}

static enum err read_issuer(const struct reading *r, const struct yaml_node *n,
                            struct config_tokens *tokens)
{
    static const struct setting skew_row = {"skew", SETTING_DURATION, 0, JWT_SKEW_MAX_S, "", 0, 4};
    static const char *const keys[] = {"keys", "issuer", "audience", "skew", NULL};
    TRY(yaml_expect(r->doc, n, YAML_MAP, "tokens", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "tokens", r->complaint));
    const struct yaml_node *file = yaml_find(n, "keys");
    const struct yaml_node *issuer = yaml_find(n, "issuer");
    const struct yaml_node *audience = yaml_find(n, "audience");
    const struct yaml_node *skew = yaml_find(n, "skew");
    struct config_issuer t = {.skew_s = TRUST_SKEW_DEFAULT_S};
    if (file == NULL || issuer == NULL || audience == NULL) {
        return COMPLAIN(r, n,
                        "tokens needs keys (a JWK set in this directory), issuer and audience");
    }
    TRY(config_read_name(r, file, "keys", t.keys));
    TRY(read_claim(r, issuer, "issuer", t.issuer, sizeof t.issuer));
    TRY(read_claim(r, audience, "audience", t.audience, sizeof t.audience));
    if (skew != NULL) {
        char why[SETTING_WHY_BYTES];
        uint64_t v = 0;
        TRY(yaml_expect(r->doc, skew, YAML_SCALAR, "skew", r->complaint));
        if (setting_parse(&skew_row, skew->text, 0, why, &v) != OK) {
            return COMPLAIN(r, skew, "skew must be a time from 0s to %ds", JWT_SKEW_MAX_S);
        }
        t.skew_s = (uint32_t)v;
    }
    for (size_t i = 0; i < tokens->n; i++) {
        if (strcmp(tokens->issuers[i].issuer, t.issuer) == 0) {
            return COMPLAIN(r, issuer, "an issuer named \"%s\" is there already", t.issuer);
        }
    }
    tokens->issuers[tokens->n++] = t;
    return OK;
}

static enum err read_tokens(const struct reading *r, const struct yaml_node *n,
                            struct config_tokens *tokens)
{
    if (n->kind != YAML_LIST) {
        return read_issuer(r, n, tokens);
    }
    for (const struct yaml_node *one = n->first; one != NULL; one = one->next) {
        if (tokens->n == TRUST_ISSUERS_MAX) {
            return COMPLAIN(r, one, "more than %d issuers in tokens", TRUST_ISSUERS_MAX);
        }
        TRY(read_issuer(r, one, tokens));
    }
    return tokens->n > 0 ? OK : COMPLAIN(r, n, "tokens names no issuer: leave it out");
}

static enum err read_all(const struct reading *r, struct config *c)
{
    static const char *const keys[] = {"version", "workers",          "user",      "master_key",
                                       "hosts",   "listeners",        "limits",    "role_limits",
                                       "tokens",  "server_reference", "proxy",     "enrol",
                                       "pki",     "export",           "responses", NULL};
    const struct yaml_node *root = yaml_root(r->doc);
    TRY(yaml_expect(r->doc, root, YAML_MAP, "the configuration", r->complaint));
    TRY(yaml_only(r->doc, root, keys, "the configuration", r->complaint));
    const struct yaml_node *v = yaml_find(root, "version");
    if (v == NULL || v->kind != YAML_SCALAR || !slice_is(v->text, "1")) {
        return COMPLAIN(r, v != NULL ? v : root, "the configuration must say version: 1");
    }
    if ((v = yaml_find(root, "workers")) != NULL) {
        TRY(read_workers(r, v, c));
    }
    if ((v = yaml_find(root, "user")) != NULL) {
        TRY(config_read_name(r, v, "user", c->user));
    }
    if ((v = yaml_find(root, "master_key")) != NULL) {
        TRY(read_master_key(r, v, c->master_key));
    }
    if ((v = yaml_find(root, "hosts")) != NULL) {
        TRY(read_hosts(r, v, c));
    }
    if ((v = yaml_find(root, "limits")) != NULL) {
        TRY(read_settings(r, v, global_setting_table, n_global_settings, "limits", &c->settings));
    }
    if ((v = yaml_find(root, "role_limits")) != NULL) {
        TRY(read_settings(r, v, role_setting_table, n_role_settings, "role_limits",
                          &c->role_limits));
    }
    if ((v = yaml_find(root, "tokens")) != NULL) {
        TRY(read_tokens(r, v, &c->tokens));
    }
    if ((v = yaml_find(root, "server_reference")) != NULL) {
        TRY(read_reference(r, v, c->server_reference));
    }
    if ((v = yaml_find(root, "proxy")) != NULL) {
        TRY(config_read_proxy(r->doc, v, r->complaint, &c->proxy));
    }
    TRY(config_read_pki(r->doc, yaml_find(root, "pki"), r->complaint, c->pki_url));
    TRY(config_read_export(r->doc, yaml_find(root, "export"), r->complaint, &c->sinks));
    TRY(config_read_respond(r->doc, yaml_find(root, "responses"), r->complaint, &c->responses));
    if ((v = yaml_find(root, "enrol")) != NULL) {
        TRY(config_read_enrol(r->doc, v, r->complaint, &c->enrol));
    }
    if ((v = yaml_find(root, "listeners")) == NULL) {
        return COMPLAIN(r, root, "the configuration needs listeners (they may be empty: [])");
    }
    return config_read_listeners(r, v, c);
}

enum err config_parse(struct slice bytes, const char *file, const struct config_machine *machine,
                      struct yaml_complaint *ret_complaint, struct config *ret)
{
    AUTO(yaml_doc_autofree) struct yaml_doc *doc = NULL;
    TRY(yaml_read(bytes, file, ret_complaint, &doc));
    unsigned cores = machine->cores < CONFIG_WORKERS_MAX ? machine->cores : CONFIG_WORKERS_MAX;
    struct config c = {.workers = cores < 2 ? 2 : cores,
                       .user = "sallyport",
                       .settings = global_settings_preset(machine->ram_bytes),
                       .role_limits = ROLE_LIMITS_DEFAULT};
    struct reading r = {.doc = doc, .complaint = ret_complaint, .machine = machine};
    TRY(read_all(&r, &c));
    *ret = c;
    return OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static enum err load_failed(const char *file, struct yaml_complaint *ret, const char *what)
{
    snprintf(ret->text, sizeof ret->text, "%s: %s", file, what);
    return ERR_CONFIG;
}

enum err config_read_file(int dir_fd, const char *name, const char *shown,
                          struct yaml_complaint *ret_complaint, struct buf *ret)
{
    AUTO(close_fd) int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return load_failed(shown, ret_complaint,
                           "cannot be read; `sallyport init DIR` makes a new directory");
    }
    if (st.st_size > YAML_BYTES_MAX) {
        return load_failed(shown, ret_complaint, "is larger than 1 MiB");
    }
    for (;;) {
        uint8_t *room;
        if (buf_room(ret, 4096, YAML_BYTES_MAX + 8192, &room) != OK) {
            return yaml_no_memory(shown, ret_complaint);
        }
        ssize_t n = read(fd, room, 4096);
        if (n < 0) {
            return load_failed(shown, ret_complaint, "cannot be read");
        }
        if (n == 0) {
            return OK;
        }
        ret->n += (size_t)n;
    }
}

enum err config_load(int dir_fd, const char *dir, const struct config_machine *machine,
                     struct yaml_complaint *ret_complaint, struct config *ret)
{
    AUTO(buf_done) struct buf bytes = {0};
    char shown[300];
    snprintf(shown, sizeof shown, "%s/sallyport.yaml", dir);
    TRY(config_read_file(dir_fd, "sallyport.yaml", shown, ret_complaint, &bytes));
    return config_parse(buf_slice(&bytes), shown, machine, ret_complaint, ret);
}

enum err config_load_by(struct disk *disk, const char *dir, const struct config_machine *machine,
                        struct yaml_complaint *ret_complaint, struct config *ret)
{
    AUTO(buf_done) struct buf bytes = {0};
    char shown[300];
    snprintf(shown, sizeof shown, "%s/sallyport.yaml", dir);
    enum err err = disk_load(disk, "sallyport.yaml", YAML_BYTES_MAX, &bytes);
    if (err == ERR_NOMEM) {
        return yaml_no_memory(shown, ret_complaint);
    }
    if (err != OK) {
        return load_failed(shown, ret_complaint,
                           err == ERR_TOO_LARGE
                               ? "is larger than 1 MiB"
                               : "cannot be read; `sallyport init DIR` makes a new directory");
    }
    return config_parse(buf_slice(&bytes), shown, machine, ret_complaint, ret);
}

const struct config_listener *config_listener_find(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_listeners; i++) {
        if (strcmp(c->listeners[i].name, name) == 0) {
            return &c->listeners[i];
        }
    }
    return NULL;
}

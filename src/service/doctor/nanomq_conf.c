/* nanomq.conf */
#include "service/doctor/hocon_conf.h"
#include "service/doctor/hocon_private.h"
#include "service/doctor/lines.h"

/* ---- listeners ---- */

static enum err version(struct slice text, int64_t *ret)
{
    static const char *const names[] = {"tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (lines_same(text, names[i])) {
            *ret = 10 + (int64_t)i;
            return OK;
        }
    }
    return ERR_MALFORMED;
}

static enum err read_tls(const struct hocon_reading *r, const char *below, struct facts_listener *l)
{
    struct facts_value peer, needed;
    TRY(hocon_below(r, below, "verify_peer", hocon_switch, 0, &peer));
    TRY(hocon_below(r, below, "fail_if_no_peer_cert", hocon_switch, 0, &needed));
    l->client_certificate = peer.is_known && peer.n != 0 ? needed : peer;
    TRY(hocon_below(r, below, "tls_version", version, 12, &l->tls_min));
    return hocon_tls_files(r, below);
}

static enum err read_listener(const struct hocon_reading *r, const struct hocon_door *kind,
                              const char *below, const char *name)
{
    const struct hocon_entry *bind = hocon_find(r->h, "%s.bind", below);
    struct facts_value is_on;
    struct facts_listener *l;
    TRY(hocon_below(r, below, "enable", hocon_switch, 1, &is_on));
    if (is_on.is_known && is_on.n == 0) {
        return OK;
    }
    TRY(facts_add_listener(r->f, &l));
    if (l == NULL) {
        return OK;
    }
    facts_text(l->name, slice_text(name));
    hocon_bind(l, bind != NULL ? bind->text : slice_text(kind->preset));
    l->at = bind != NULL ? bind->at : (struct facts_place){0};
    l->door = kind->door;
    l->is_tls = kind->is_tls;
    TRY(hocon_below(r, below, "max_connections", hocon_count, 0, &l->connections));
    return kind->is_tls ? read_tls(r, below, l) : OK;
}

/* listeners.tcp { bind } or listeners.tcp.NAME { bind } */
static enum err read_kind(const struct hocon_reading *r, const struct hocon_door *kind)
{
    char below[FACTS_TEXT], inner[2 * FACTS_TEXT], name[FACTS_TEXT];
    (void)snprintf(below, sizeof below, "listeners.%s", kind->type);
    if (hocon_find(r->h, "%s.bind", below) != NULL) {
        return read_listener(r, kind, below, kind->type);
    }
    for (size_t at = 0; hocon_child(r->h, below, &at, name);) {
        (void)snprintf(inner, sizeof inner, "%s.%s", below, name);
        const struct hocon_entry *e = hocon_find(r->h, "%s", inner);
        if (e != NULL && e->is_object) {
            TRY(read_listener(r, kind, inner, name));
        }
    }
    return OK;
}

static enum err read_listeners(const struct hocon_reading *r)
{
    for (size_t i = 0; i < HOCON_DOORS; i++) {
        TRY(read_kind(r, &hocon_doors[i]));
    }
    return r->f->n_listeners > 0 || hocon_find(r->h, "listeners") != NULL
               ? OK
               : read_listener(r, &hocon_doors[0], "listeners.tcp", "tcp");
}

static enum err read_http(const struct hocon_reading *r)
{
    const struct hocon_entry *server = hocon_find(r->h, "http_server");
    const struct hocon_entry *address = hocon_find(r->h, "http_server.ip_addr");
    const struct hocon_entry *password = hocon_find(r->h, "http_server.password");
    struct facts_listener *l;
    if (server == NULL || hocon_is(r->h, "http_server.enable", "false")) {
        return OK;
    }
    TRY(facts_add_listener(r->f, &l));
    if (l != NULL) {
        l->at = address != NULL ? address->at : server->at;
        l->door = FACTS_API;
        facts_text(l->name, slice_text("http_server"));
        facts_text(l->bind, address != NULL ? address->text : slice_text("0.0.0.0"));
        l->is_loopback = facts_is_loopback(slice_text(l->bind));
    }
    if (password != NULL) {
        return hocon_secret_of(r, password, "http_server", true);
    }
    struct facts_account *a;
    TRY(facts_add_account(r->f, &a));
    if (a != NULL) { /* admin, public */
        a->at = server->at;
        a->is_default = true;
        a->is_management = true;
        facts_text(a->name, slice_text("http_server"));
    }
    return OK;
}

/* ---- who, and what ---- */

static enum err read_passwords(const struct hocon_reading *r)
{
    char name[FACTS_TEXT];
    for (size_t at = 0; hocon_child(r->h, "auth.password", &at, name);) {
        const struct hocon_entry *e = hocon_find(r->h, "auth.password.%s", name);
        if (e != NULL) {
            TRY(hocon_secret_of(r, e, name, false));
        }
    }
    return OK;
}

/* Whose rule it is: "username meter", or everybody's. */
static bool who_of(const struct hocon_reading *r, const char *below, char dst[FACTS_TEXT])
{
    static const char *const keys[] = {"username", "ipaddr", "clientid"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct hocon_entry *e = hocon_find(r->h, "%s.%s", below, keys[i]);
        if (e != NULL && !slice_is(e->text, "#")) {
            char text[2 * FACTS_TEXT];
            struct slice shown = slice_head(e->text, FACTS_TEXT - 16);
            (void)snprintf(text, sizeof text, "%s %.*s", keys[i], SLICE_ARG(shown));
            facts_text(dst, slice_text(text));
            return true;
        }
    }
    facts_text(dst, slice_text("everybody"));
    return false;
}

static enum err add_grant(const struct hocon_reading *r, const char *below,
                          const struct facts_place *at, struct slice filter)
{
    const struct hocon_entry *action = hocon_find(r->h, "%s.action", below);
    struct facts_grant *g;
    TRY(facts_add_grant(r->f, &g));
    if (g == NULL) {
        return OK;
    }
    g->at = *at;
    g->can_publish = action == NULL || !slice_is(action->text, "subscribe");
    g->can_subscribe = action == NULL || !slice_is(action->text, "publish");
    g->is_everybody = !who_of(r, below, g->who);
    facts_text(g->filter, filter);
    g->is_each = g->is_everybody;
    g->is_client_id = strstr(g->filter, "${clientid}") != NULL;
    g->is_everybody = g->is_everybody && strchr(g->filter, '$') == NULL;
    return OK;
}

static enum err read_rule(const struct hocon_reading *r, const char *below)
{
    const struct hocon_entry *permit = hocon_find(r->h, "%s.permit", below);
    char path[2 * FACTS_TEXT + 16], name[FACTS_TEXT];
    size_t n = 0;
    if (permit == NULL || !slice_is(permit->text, "allow")) {
        return OK;
    }
    (void)snprintf(path, sizeof path, "%s.topics", below);
    for (size_t at = 0; hocon_child(r->h, path, &at, name); n++) {
        const struct hocon_entry *e = hocon_find(r->h, "%s.%s", path, name);
        if (e != NULL && !e->is_object) {
            TRY(add_grant(r, below, &e->at, e->text));
        }
    }
    return n > 0 ? OK : add_grant(r, below, &permit->at, slice_text("#"));
}

static enum err read_rules(const struct hocon_reading *r)
{
    char name[FACTS_TEXT], below[2 * FACTS_TEXT];
    size_t n = 0;
    for (size_t at = 0; hocon_child(r->h, "auth.acl.rules", &at, name); n++) {
        (void)snprintf(below, sizeof below, "auth.acl.rules.%s", name);
        TRY(read_rule(r, below));
    }
    for (size_t i = 0; i < r->f->n_listeners; i++) {
        struct facts_listener *l = &r->f->listeners[i];
        if (l->door != FACTS_API) {
            l->acl = facts_preset(n > 0, 0);
        }
    }
    return OK;
}

static enum err read_auth(const struct hocon_reading *r)
{
    static const struct hocon_number rows[] = {
        {"auth.no_match", hocon_allow, 1, FACTS_DEFAULT_ALLOW},
        {"auth.deny_action", hocon_ignore, 1, FACTS_DENY_IGNORED}};
    struct facts_value anonymous;
    TRY(hocon_numbers(r, rows, COUNT_OF(rows)));
    TRY(hocon_value(r->h, "auth.allow_anonymous", hocon_switch, 1, r->f, &anonymous));
    for (size_t i = 0; i < r->f->n_listeners; i++) {
        struct facts_listener *l = &r->f->listeners[i];
        if (l->door != FACTS_API) {
            l->anonymous = anonymous;
        }
    }
    TRY(read_passwords(r));
    return read_rules(r);
}

/* ---- bridges ---- */

static bool is_wide(const struct hocon_reading *r, const char *below)
{
    char path[2 * FACTS_TEXT + 32], name[FACTS_TEXT];
    (void)snprintf(path, sizeof path, "%s.subscription", below);
    for (size_t at = 0; hocon_child(r->h, path, &at, name);) {
        const struct hocon_entry *e = hocon_find(r->h, "%s.%s.remote_topic", path, name);
        if (e != NULL && slice_is(e->text, "#")) {
            return true;
        }
    }
    return false;
}

static enum err read_bridges(const struct hocon_reading *r)
{
    char name[FACTS_TEXT], below[2 * FACTS_TEXT];
    for (size_t at = 0; hocon_child(r->h, "bridges.mqtt", &at, name);) {
        (void)snprintf(below, sizeof below, "bridges.mqtt.%s", name);
        const struct hocon_entry *server = hocon_find(r->h, "%s.server", below);
        struct facts_bridge *b;
        if (server == NULL) {
            continue;
        }
        TRY(facts_add_bridge(r->f, &b));
        if (b == NULL) {
            return OK;
        }
        struct slice rest = server->text;
        size_t slashes = slice_find(rest, '/');
        b->at = server->at;
        facts_text(b->name, slice_text(name));
        facts_text(b->address, server->text);
        b->is_loopback = slashes + 2 < rest.n && facts_is_loopback(slice_from(rest, slashes + 2));
        b->is_tls = slice_has_prefix(rest, slice_text("tls"));
        b->is_verified = hocon_find(r->h, "%s.ssl.cacertfile", below) != NULL;
        b->is_wide = is_wide(r, below);
    }
    return OK;
}

static enum err read_numbers(const struct hocon_reading *r)
{
    static const struct hocon_number rows[] = {
        {"mqtt.max_packet_size", hocon_bytes, 260 << 20, FACTS_PACKET_BYTES},
        {"mqtt.max_mqueue_len", hocon_count, 2048, FACTS_QUEUE_MESSAGES}};
    const struct hocon_entry *store = hocon_find(r->h, "sqlite");
    bool is_on = store != NULL && !hocon_is(r->h, "sqlite.enable", "false");
    struct facts_value batch;
    TRY(hocon_numbers(r, rows, COUNT_OF(rows)));
    r->f->numbers[FACTS_PERSISTENCE] = is_on ? facts_said(1, store->at) : facts_preset(0, 0);
    TRY(hocon_value(r->h, "sqlite.flush_mem_threshold", hocon_count, 100, r->f, &batch));
    r->f->numbers[FACTS_SAVE_MESSAGES] = is_on ? batch : (struct facts_value){0};
    if (hocon_is(r->h, "log.level", "none") || hocon_is(r->h, "log.level", "off")) {
        r->f->numbers[FACTS_LOG] = facts_said(0, hocon_find(r->h, "log.level")->at);
    }
    return OK;
}

enum err nanomq_conf_read(const struct source *source, const char *path, struct facts *f)
{
    AUTO(hocon_autofree) struct hocon *h = NULL;
    TRY(hocon_read(source, path, f, &h));
    struct hocon_reading r = {source, f, h, path};
    TRY(read_listeners(&r));
    TRY(read_http(&r));
    TRY(read_auth(&r));
    TRY(read_bridges(&r));
    return read_numbers(&r);
}

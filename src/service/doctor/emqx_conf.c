/* emqx.conf */
#include "service/doctor/hocon_conf.h"
#include "service/doctor/hocon_private.h"
#include "service/doctor/lines.h"
#include "service/doctor/weak_words.h"

/* ---- listeners ---- */

/* "verify_peer": a certificate that is not there is still taken, until the other key says not. */
static enum err verify(struct slice text, int64_t *ret)
{
    bool is_peer = slice_is(text, "verify_peer");
    if (!is_peer && !slice_is(text, "verify_none")) {
        return ERR_MALFORMED;
    }
    *ret = is_peer;
    return OK;
}

static int64_t version_of(struct slice text)
{
    return slice_is(text, "tlsv1")     ? 10
           : slice_is(text, "tlsv1.1") ? 11
           : slice_is(text, "tlsv1.2") ? 12
                                       : 13;
}

static enum err read_tls(const struct hocon_reading *r, const char *below, struct facts_listener *l)
{
    struct facts_value peer, needed;
    char path[HOCON_PATH_MAX + FACTS_TEXT], name[FACTS_TEXT];
    TRY(hocon_below(r, below, "ssl_options.verify", verify, 0, &peer));
    TRY(hocon_below(r, below, "ssl_options.fail_if_no_peer_cert", hocon_switch, 0, &needed));
    l->client_certificate = peer.is_known && peer.n != 0 ? needed : peer;
    TRY(hocon_below(r, below, "ssl_options.enable_crl_check", hocon_switch, 0, &l->revocation));
    l->tls_min = facts_preset(12, 0);
    (void)snprintf(path, sizeof path, "%s.ssl_options.versions", below);
    for (size_t at = 0; hocon_child(r->h, path, &at, name);) {
        const struct hocon_entry *e = hocon_find(r->h, "%s.%s", path, name);
        if (e != NULL && version_of(e->text) < l->tls_min.n) {
            l->tls_min = facts_said(version_of(e->text), e->at);
        }
    }
    (void)snprintf(path, sizeof path, "%s.ssl_options.ciphers", below);
    for (size_t at = 0; l->ciphers[0] == '\0' && hocon_child(r->h, path, &at, name);) {
        const struct hocon_entry *e = hocon_find(r->h, "%s.%s", path, name);
        if (e != NULL && is_weak_cipher(e->text)) {
            facts_text(l->ciphers, e->text);
            l->ciphers_at = e->at;
        }
    }
    (void)snprintf(path, sizeof path, "%s.ssl_options", below);
    return hocon_tls_files(r, path);
}

static enum err read_listener(const struct hocon_reading *r, const struct hocon_door *kind,
                              const char *name, const struct hocon_entry *bind)
{
    char below[HOCON_PATH_MAX];
    struct facts_value is_on, checks;
    struct facts_listener *l;
    (void)snprintf(below, sizeof below, "listeners.%s.%.*s", kind->type, FACTS_TEXT, name);
    TRY(hocon_below(r, below, "enable", hocon_switch, 1, &is_on));
    if (is_on.is_known && is_on.n == 1 && is_on.at.line == 0) {
        TRY(hocon_below(r, below, "enabled", hocon_switch, 1, &is_on));
    }
    if (is_on.is_known && is_on.n == 0) {
        return OK;
    }
    TRY(facts_add_listener(r->f, &l));
    if (l == NULL) {
        return OK;
    }
    char shown[2 * FACTS_TEXT];
    (void)snprintf(shown, sizeof shown, "%s:%s", kind->type, name);
    facts_text(l->name, slice_text(shown));
    hocon_bind(l, bind != NULL ? bind->text : slice_text(kind->preset));
    l->at = bind != NULL ? bind->at : (struct facts_place){0};
    l->door = kind->door;
    l->is_tls = kind->is_tls;
    TRY(hocon_below(r, below, "max_connections", hocon_count, 0, &l->connections));
    TRY(hocon_below(r, below, "proxy_protocol", hocon_switch, 0, &l->proxy));
    TRY(hocon_below(r, below, "enable_authn", hocon_authn, 1, &checks));
    l->anonymous = checks.is_known ? (struct facts_value){true, checks.n == 0, checks.at}
                                   : (struct facts_value){0};
    if (kind->door == FACTS_WEBSOCKET) {
        TRY(hocon_below(r, below, "websocket.check_origin_enable", hocon_switch, 0, &l->origin));
    }
    return kind->is_tls ? read_tls(r, below, l) : OK;
}

static enum err read_listeners(const struct hocon_reading *r)
{
    char name[FACTS_TEXT], below[FACTS_TEXT];
    for (size_t i = 0; i < HOCON_DOORS; i++) {
        bool has_default = false;
        (void)snprintf(below, sizeof below, "listeners.%s", hocon_doors[i].type);
        for (size_t at = 0; hocon_child(r->h, below, &at, name);) {
            has_default = has_default || strcmp(name, "default") == 0;
            TRY(read_listener(r, &hocon_doors[i], name,
                              hocon_find(r->h, "%s.%s.bind", below, name)));
        }
        if (!has_default) { /* it is there without a word about it */
            TRY(read_listener(r, &hocon_doors[i], "default", NULL));
        }
    }
    return OK;
}

/* ---- dashboard ---- */

static enum err read_dashboard(const struct hocon_reading *r)
{
    static const char *const names[] = {"http", "https"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct hocon_entry *bind = hocon_find(r->h, "dashboard.listeners.%s.bind", names[i]);
        struct facts_listener *l;
        bool is_on = bind != NULL ? !slice_is(bind->text, "0") : i == 0;
        if (!is_on) {
            continue;
        }
        TRY(facts_add_listener(r->f, &l));
        if (l == NULL) {
            return OK;
        }
        facts_text(l->name, slice_text(i == 0 ? "dashboard" : "dashboard:https"));
        hocon_bind(l, bind != NULL ? bind->text : slice_text("18083"));
        l->at = bind != NULL ? bind->at : (struct facts_place){0};
        l->door = FACTS_DASHBOARD;
        l->is_tls = i == 1;
    }
    return OK;
}

/* What EMQX takes when nothing is written. */
static enum err default_account(const struct hocon_reading *r, const char *name)
{
    struct facts_account *a;
    TRY(facts_add_account(r->f, &a));
    if (a != NULL) {
        facts_text(a->name, slice_text(name));
        a->is_default = true;
        a->is_management = true;
    }
    return OK;
}

static enum err read_secrets(const struct hocon_reading *r)
{
    const struct hocon_entry *e = hocon_find(r->h, "dashboard.default_password");
    TRY(e != NULL ? hocon_secret_of(r, e, "admin of the dashboard", true)
                  : default_account(r, "admin of the dashboard"));
    e = hocon_find(r->h, "node.cookie");
    return e != NULL ? hocon_secret_of(r, e, "cookie of the cluster", true) : OK;
}

/* ---- who, and what ---- */

/* One fast hash of passwords is enough to be found. */
static enum err read_hash(const struct hocon_reading *r, const char *name)
{
    static const char *const fast[] = {"plain", "md5", "sha", "sha256", "sha512"};
    const struct hocon_entry *e =
        hocon_find(r->h, "authentication.%s.password_hash_algorithm.name", name);
    const struct hocon_entry *how = hocon_find(r->h, "authentication.%s.mechanism", name);
    struct facts_account *a;
    bool is_fast = e == NULL && how != NULL && slice_is(how->text, "password_based");
    for (size_t i = 0; e != NULL && i < COUNT_OF(fast); i++) {
        is_fast = is_fast || slice_is(e->text, fast[i]);
    }
    if (!is_fast) {
        return OK;
    }
    TRY(facts_add_account(r->f, &a));
    if (a != NULL) {
        a->at = e != NULL ? e->at : how->at;
        a->kind = e != NULL && slice_is(e->text, "plain") ? FACTS_SECRET_CLEAR : FACTS_SECRET_FAST;
        facts_text(a->name, slice_text("every user"));
    }
    return OK;
}

static enum err read_authentication(const struct hocon_reading *r)
{
    char name[FACTS_TEXT];
    size_t n = 0;
    for (size_t at = 0; hocon_child(r->h, "authentication", &at, name);) {
        const struct hocon_entry *on = hocon_find(r->h, "authentication.%s.enable", name);
        if (on == NULL || !lines_same(on->text, "false")) {
            n++;
            TRY(read_hash(r, name));
        }
    }
    /* Without any way to say who one is, everybody is let in. */
    for (size_t i = 0; n == 0 && i < r->f->n_listeners; i++) {
        struct facts_listener *l = &r->f->listeners[i];
        if (l->door != FACTS_DASHBOARD) {
            l->anonymous = facts_preset(1, 0);
        }
    }
    return OK;
}

/* A file of Erlang terms: only the line that lets everybody do everything is known here. */
static enum err read_rules(const struct hocon_reading *r, const struct hocon_entry *e)
{
    AUTO(buf_done) struct buf text = {0};
    char path[SOURCE_PATH_BYTES];
    struct source_look look = {0};
    uint32_t file = 0;
    enum err err = source_place(r->path, e->text, path);
    err = err == OK ? facts_add_file(r->f, e->text, &file) : err;
    err = err == OK ? r->source->read(r->source->ctx, path, &text, &look) : err;
    if (err != OK) {
        return err == ERR_NOMEM ? err
                                : facts_unread(r->f, e->at, e->text, "its rules cannot be read");
    }
    facts_seen(&r->f->files[file], look.mode, look.changed_wall_ms);
    struct lines lines = {.rest = buf_slice(&text)};
    struct slice line;
    bool has_others = false;
    while (lines_next(&lines, &line)) {
        struct facts_place at = {file, lines.number};
        struct facts_grant *g;
        bool is_rule = line.n > 0 && line.p[0] == '{';
        bool is_open = slice_is(line, "{allow, all}.") || slice_is(line, "{allow,all}.");
        has_others =
            has_others || (is_rule && !is_open && !slice_has_prefix(line, slice_text("{deny")));
        if (is_open) {
            TRY(facts_add_grant(r->f, &g));
            if (g != NULL) {
                g->at = at;
                g->can_publish = g->can_subscribe = g->is_everybody = g->is_each = true;
                facts_text(g->who, slice_text("everybody"));
                facts_text(g->filter, slice_text("#"));
            }
        }
    }
    return has_others
               ? facts_unread(r->f, e->at, e->text, "of its rules only {allow, all} is judged")
               : OK;
}

static enum err read_authorization(const struct hocon_reading *r)
{
    static const struct hocon_number rows[] = {
        {"authorization.no_match", hocon_allow, 1, FACTS_DEFAULT_ALLOW},
        {"authorization.deny_action", hocon_ignore, 1, FACTS_DENY_IGNORED}};
    char name[FACTS_TEXT];
    const struct hocon_entry *sources = hocon_find(r->h, "authorization.sources");
    size_t n = 0;
    TRY(hocon_numbers(r, rows, COUNT_OF(rows)));
    for (size_t at = 0; hocon_child(r->h, "authorization.sources", &at, name);) {
        const struct hocon_entry *path = hocon_find(r->h, "authorization.sources.%s.path", name);
        const struct hocon_entry *on = hocon_find(r->h, "authorization.sources.%s.enable", name);
        if (on != NULL && lines_same(on->text, "false")) {
            continue;
        }
        n++;
        TRY(path != NULL ? read_rules(r, path)
                         : facts_unread(r->f, sources->at, slice_text("authorization.sources"),
                                        "what a database allows is not seen here"));
    }
    for (size_t i = 0; sources != NULL && i < r->f->n_listeners; i++) {
        struct facts_listener *l = &r->f->listeners[i];
        if (l->door != FACTS_DASHBOARD) {
            l->acl = facts_said(n > 0, sources->at);
        }
    }
    return OK;
}

/* ---- bridges ---- */

static enum err read_bridge(const struct hocon_reading *r, const char *below, const char *name)
{
    const struct hocon_entry *server = hocon_find(r->h, "%s.%s.server", below, name);
    const struct hocon_entry *tls = hocon_find(r->h, "%s.%s.ssl.enable", below, name);
    const struct hocon_entry *how = hocon_find(r->h, "%s.%s.ssl.verify", below, name);
    const struct hocon_entry *in = hocon_find(r->h, "%s.%s.ingress.remote.topic", below, name);
    struct facts_bridge *b;
    if (server == NULL) {
        return OK;
    }
    TRY(facts_add_bridge(r->f, &b));
    if (b != NULL) {
        b->at = server->at;
        facts_text(b->name, slice_text(name));
        facts_text(b->address, server->text);
        b->is_loopback = facts_is_loopback(server->text);
        b->is_tls = tls != NULL && lines_same(tls->text, "true");
        b->is_verified = how != NULL && slice_is(how->text, "verify_peer");
        b->is_wide = in != NULL && slice_is(in->text, "#");
    }
    return OK;
}

static enum err read_bridges(const struct hocon_reading *r)
{
    static const char *const places[] = {"bridges.mqtt", "connectors.mqtt"};
    char name[FACTS_TEXT];
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        for (size_t at = 0; hocon_child(r->h, places[i], &at, name);) {
            TRY(read_bridge(r, places[i], name));
        }
    }
    return OK;
}

/* ---- numbers ---- */

static enum err read_client_ids(const struct hocon_reading *r)
{
    struct facts_value by_name;
    const struct hocon_entry *by_cert = hocon_find(r->h, "mqtt.peer_cert_as_clientid");
    bool is_cert = by_cert != NULL && !slice_is(by_cert->text, "disabled");
    TRY(hocon_value(r->h, "mqtt.use_username_as_clientid", hocon_switch, 0, r->f, &by_name));
    r->f->numbers[FACTS_CLIENT_ID_BOUND] = is_cert ? facts_said(1, by_cert->at) : by_name;
    return OK;
}

/* Nothing anywhere: the log is off only when somebody has said so of both. */
static void read_log(const struct hocon_reading *r)
{
    bool is_off = hocon_is(r->h, "log.file.enable", "false") ||
                  hocon_is(r->h, "log.file.default.enable", "false");
    if (is_off && hocon_is(r->h, "log.console.enable", "false")) {
        r->f->numbers[FACTS_LOG] = facts_said(0, hocon_find(r->h, "log.console.enable")->at);
    }
}

static enum err read_numbers(const struct hocon_reading *r)
{
    static const struct hocon_number rows[] = {
        {"mqtt.max_packet_size", hocon_bytes, 1048576, FACTS_PACKET_BYTES},
        {"mqtt.max_mqueue_len", hocon_count, 1000, FACTS_QUEUE_MESSAGES},
        {"mqtt.max_inflight", hocon_count, 32, FACTS_INFLIGHT},
        {"mqtt.session_expiry_interval", hocon_seconds, 7200, FACTS_SESSION_EXPIRY_S},
        {"durable_sessions.enable", hocon_switch, 0, FACTS_PERSISTENCE}};
    struct facts_value most, ends;
    TRY(hocon_numbers(r, rows, COUNT_OF(rows)));
    const char *where = hocon_find(r->h, "retainer.max_retained_messages") != NULL
                            ? "retainer.max_retained_messages"
                            : "retainer.backend.max_retained_messages";
    TRY(hocon_value(r->h, where, hocon_count, 0, r->f, &most));
    TRY(hocon_value(r->h, "retainer.msg_expiry_interval", hocon_seconds, 0, r->f, &ends));
    r->f->numbers[FACTS_RETAINED] = most.is_known && most.n == 0 ? ends : most;
    if (hocon_is(r->h, "retainer.enable", "false")) {
        r->f->numbers[FACTS_RETAINED] = facts_preset(1, 0);
    }
    read_log(r);
    return read_client_ids(r);
}

enum err emqx_conf_read(const struct source *source, const char *path, struct facts *f)
{
    AUTO(hocon_autofree) struct hocon *h = NULL;
    TRY(hocon_read(source, path, f, &h));
    struct hocon_reading r = {source, f, h, path};
    TRY(read_listeners(&r));
    TRY(read_dashboard(&r));
    TRY(read_secrets(&r));
    TRY(read_authentication(&r));
    TRY(read_authorization(&r));
    TRY(read_bridges(&r));
    return read_numbers(&r);
}

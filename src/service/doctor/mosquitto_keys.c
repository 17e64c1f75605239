/* The lines of mosquitto.conf, one by one. */
#include "service/doctor/mosquitto_private.h"

static enum err not_read(struct reading *r, struct facts_place at, struct slice key,
                         const char *reason)
{
    return facts_unread(r->f, at, key, reason); /* the value may be a secret */
}

/* ---- listeners ---- */

static enum err begin_listener(struct reading *r, struct facts_place at,
                               struct facts_listener **ret)
{
    struct facts_listener *l;
    TRY(facts_add_listener(r->f, &l));
    r->listener = l != NULL ? r->f->n_listeners : MOSQUITTO_LOST;
    if (l != NULL) {
        l->at = at;
        l->connections = facts_preset(0, at.file);
    }
    *ret = l;
    return OK;
}

static void bind_to(struct facts_listener *l, struct slice address, struct slice port)
{
    char text[2 * FACTS_TEXT];
    struct slice shown = slice_head(address, FACTS_TEXT - 8), digits = slice_head(port, 5);
    bool is_six = slice_find(address, ':') < address.n;
    (void)snprintf(text, sizeof text, is_six ? "[%.*s]:%.*s" : "%.*s:%.*s", SLICE_ARG(shown),
                   SLICE_ARG(digits));
    facts_text(l->bind, slice_text(text));
    facts_text(l->name, port);
    l->is_loopback = facts_is_loopback(slice_text(l->bind));
}

enum err mosquitto_listener_of(struct reading *r, struct facts_place at,
                               struct facts_listener **ret)
{
    bool is_known = r->listener > 0 && r->listener <= r->f->n_listeners;
    *ret = is_known ? &r->f->listeners[r->listener - 1] : NULL;
    if (r->listener > 0) {
        return OK;
    }
    TRY(begin_listener(r, at, ret));
    if (*ret != NULL) {
        r->default_listener = r->listener;
        bind_to(*ret, slice_text("0.0.0.0"), slice_text("1883"));
    }
    return OK;
}

static enum err take_listener(struct reading *r, struct facts_place at, struct slice value)
{
    struct slice port = words_next(&value), address = words_next(&value);
    int64_t n;
    struct facts_listener *l;
    r->bridge = NULL;
    if (lines_number(port, &n) != OK || n < 0 || n > 65535) {
        return not_read(r, at, slice_text("listener"), "a listener has a port of 0 to 65535");
    }
    TRY(begin_listener(r, at, &l));
    if (l == NULL) {
        return OK;
    }
    bool is_local = n == 0 && address.n > 0 && address.p[0] == '/';
    bind_to(l, address.n > 0 && !is_local ? address : slice_text("0.0.0.0"), port);
    if (is_local) { /* a UNIX socket */
        facts_text(l->bind, address);
        facts_text(l->name, address);
        l->is_loopback = true;
    }
    return OK;
}

static enum err take_default(struct reading *r, struct facts_place at, struct slice value,
                             bool is_port)
{
    struct facts_listener *l;
    size_t before = r->listener;
    r->listener = r->default_listener;
    enum err e = mosquitto_listener_of(r, at, &l);
    if (e == OK && l != NULL) {
        bool is_six = l->bind[0] == '[';
        struct slice rest = slice_text(l->bind + (is_six ? 1 : 0));
        bool more;
        struct slice address = slice_cut(&rest, is_six ? ']' : ':', &more);
        char kept[FACTS_TEXT], port[FACTS_TEXT];
        facts_text(kept, address);
        facts_text(port, slice_text(l->name));
        bind_to(l, is_port ? slice_text(kept) : value, is_port ? value : slice_text(port));
    }
    r->listener = before > 0 ? before : r->listener;
    return e;
}

/* ---- settings of a scope ---- */

static struct scope *scope_of(const struct reading *r)
{
    return &r->scopes[mosquitto_scope(r, r->listener)];
}

/* Without per_listener_settings the last one is everybody's, wherever it stands: whoever writes it
 * twice, or opens one listener, meant something else. With it, what stands before all listeners is
 * the default one's. */
static void doubt_scope(struct reading *r, struct facts_place at, bool is_repeated)
{
    bool is_below = r->listener != r->default_listener;
    if (r->scoped_at.line == 0 && (r->per_listener ? !is_below : is_below && is_repeated)) {
        r->scoped_at = at;
    }
}

static void name_file(struct reading *r, struct named_file *n, struct facts_place at,
                      struct slice value)
{
    n->is_named = source_place(r->path, value, n->path) == OK;
    n->at = at;
}

static void name_scoped(struct reading *r, struct named_file *n, struct facts_place at,
                        struct slice value)
{
    doubt_scope(r, at, n->is_named);
    name_file(r, n, at, value);
}

static enum err take_scope_key(struct reading *r, struct facts_place at, struct slice key,
                               struct slice value, bool *ret_is_mine)
{
    bool flag = false;
    *ret_is_mine = true;
    if (slice_is(key, "allow_anonymous") || slice_is(key, "allow_zero_length_clientid")) {
        if (lines_flag(value, &flag) != OK) {
            return not_read(r, at, key, "is true or false");
        }
        bool is_anonymous = slice_is(key, "allow_anonymous");
        struct scope *s = scope_of(r);
        struct facts_value *v = is_anonymous ? &s->anonymous : &s->empty_client_id;
        doubt_scope(r, at, v->is_known || (is_anonymous && flag));
        *v = facts_said(flag, at);
    } else if (slice_is(key, "password_file")) {
        name_scoped(r, &scope_of(r)->passwords, at, value);
    } else if (slice_is(key, "acl_file")) {
        name_scoped(r, &scope_of(r)->acl, at, value);
    } else if (slice_is(key, "psk_file")) {
        name_scoped(r, &scope_of(r)->keys, at, value);
    } else if (slice_is(key, "plugin") || slice_is(key, "auth_plugin") ||
               slice_is(key, "global_plugin")) {
        scope_of(r)->has_plugin = true;
        return not_read(r, at, key, "whom a plugin lets in, and what it allows, is not seen here");
    } else {
        *ret_is_mine = false;
    }
    return OK;
}

/* ---- keys of a listener ---- */

static enum err take_tls_version(struct facts_listener *l, struct reading *r, struct facts_place at,
                                 struct slice value)
{
    static const struct {
        const char *name;
        int64_t version;
    } versions[] = {
        {"tlsv1", 10}, {"tlsv1.0", 10}, {"tlsv1.1", 11}, {"tlsv1.2", 12}, {"tlsv1.3", 13}};
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        if (lines_same(value, versions[i].name)) {
            l->tls_min = facts_said(versions[i].version, at);
            return OK;
        }
    }
    return not_read(r, at, slice_text("tls_version"), "is tlsv1.1, tlsv1.2 or tlsv1.3");
}

static enum err take_listener_flag(struct reading *r, struct facts_place at, struct slice key,
                                   struct slice value, struct facts_listener *l)
{
    bool flag;
    if (lines_flag(value, &flag) != OK) {
        return not_read(r, at, key, "is true or false");
    }
    if (slice_is(key, "require_certificate")) {
        l->client_certificate = facts_said(flag, at);
    } else { /* the client id is the user's name */
        r->is_user_the_id[r->listener] = flag;
    }
    return OK;
}

static enum err take_listener_key(struct reading *r, struct facts_place at, struct slice key,
                                  struct slice value, bool *ret_is_mine)
{
    static const char *const mine[] = {"certfile",
                                       "keyfile",
                                       "cafile",
                                       "crlfile",
                                       "capath",
                                       "require_certificate",
                                       "use_username_as_clientid",
                                       "tls_version",
                                       "ciphers",
                                       "protocol",
                                       "http_dir",
                                       "max_connections",
                                       "psk_hint",
                                       "websockets_origin",
                                       "bind_interface"};
    size_t i = 0;
    while (i < COUNT_OF(mine) && !slice_is(key, mine[i])) {
        i++;
    }
    *ret_is_mine = i < COUNT_OF(mine);
    struct facts_listener *l = NULL;
    int64_t n;
    if (!*ret_is_mine) {
        return OK;
    }
    TRY(mosquitto_listener_of(r, at, &l));
    if (l == NULL) {
        return OK; /* of one that did not fit, which is counted */
    }
    if (slice_is(key, "certfile")) {
        name_file(r, &r->certificate[r->listener], at, value);
    } else if (slice_is(key, "keyfile")) {
        name_file(r, &r->key[r->listener], at, value);
    } else if (slice_is(key, "cafile")) {
        name_file(r, &r->authority[r->listener], at, value);
    } else if (slice_is(key, "crlfile")) {
        l->revocation = facts_said(1, at);
    } else if (slice_is(key, "psk_hint")) {
        r->has_psk[r->listener] = true;
    } else if (slice_is(key, "tls_version")) {
        return take_tls_version(l, r, at, value);
    } else if (slice_is(key, "ciphers")) {
        facts_text(l->ciphers, value);
        l->ciphers_at = at;
    } else if (slice_is(key, "protocol")) {
        l->door = slice_is(value, "websockets") ? FACTS_WEBSOCKET
                  : slice_is(value, "http_api") ? FACTS_API
                                                : FACTS_MQTT;
        l->origin = l->door == FACTS_WEBSOCKET && !l->origin.is_known ? facts_preset(0, at.file)
                                                                      : l->origin;
    } else if (slice_is(key, "http_dir")) {
        l->pages = facts_said(1, at);
    } else if (slice_is(key, "websockets_origin")) {
        l->origin = facts_said(1, at);
    } else if (slice_is(key, "max_connections")) {
        if (lines_number(value, &n) != OK) {
            return not_read(r, at, key, "is a number");
        }
        l->connections = facts_said(n < 0 ? 0 : n, at);
    } else if (slice_is(key, "require_certificate") || slice_is(key, "use_username_as_clientid")) {
        return take_listener_flag(r, at, key, value, l);
    } else if (slice_is(key, "bind_interface")) {
        l->is_loopback = slice_is(value, "lo");
    }
    return OK;
}

/* ---- numbers and switches of the whole ---- */

/* "7d" in seconds; a day is the shortest that mosquitto writes as a letter but h. */
static enum err expiry_of(struct slice value, int64_t *ret)
{
    static const struct {
        uint8_t letter;
        int64_t seconds;
    } units[] = {{'h', 3600}, {'d', 86400}, {'w', 604800}, {'m', 2592000}, {'y', 31536000}};
    int64_t n;
    for (size_t i = 0; value.n > 0 && i < COUNT_OF(units); i++) {
        if (value.p[value.n - 1] == units[i].letter) {
            TRY(lines_number(slice_head(value, value.n - 1), &n));
            if (n < 0 || n > 1000000) {
                return ERR_LIMIT;
            }
            *ret = n * units[i].seconds;
            return OK;
        }
    }
    return ERR_MALFORMED;
}

static enum err take_number(struct reading *r, struct facts_place at, struct slice key,
                            struct slice value, bool *ret_is_mine)
{
    static const struct {
        const char *key;
        enum facts_number number;
    } rows[] = {{"max_packet_size", FACTS_PACKET_BYTES},
                {"max_queued_messages", FACTS_QUEUE_MESSAGES},
                {"max_queued_bytes", FACTS_QUEUE_BYTES},
                {"max_inflight_messages", FACTS_INFLIGHT},
                {"autosave_interval", FACTS_SAVE_INTERVAL_S}};
    int64_t n;
    *ret_is_mine = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (slice_is(key, rows[i].key)) {
            if (lines_number(value, &n) != OK || n < 0) {
                return not_read(r, at, key, "is a number from 0");
            }
            r->f->numbers[rows[i].number] = facts_said(n, at);
            return OK;
        }
    }
    if (slice_is(key, "persistent_client_expiration")) {
        if (expiry_of(value, &n) != OK) {
            return not_read(r, at, key, "is a number with h, d, w, m or y");
        }
        r->f->numbers[FACTS_SESSION_EXPIRY_S] = facts_said(n, at);
        return OK;
    }
    *ret_is_mine = false;
    return OK;
}

static enum err take_switch(struct reading *r, struct facts_place at, struct slice key,
                            struct slice value, bool *ret_is_mine)
{
    static const struct {
        const char *key;
        enum facts_number number;
    } rows[] = {{"persistence", FACTS_PERSISTENCE},
                {"connection_messages", FACTS_CONNECTION_LOG},
                {"retain_available", FACTS_RETAINED}};
    bool flag;
    *ret_is_mine = true;
    if (slice_is(key, "user")) {
        r->f->numbers[FACTS_AS_ROOT] = facts_said(slice_is(value, "root"), at);
        return OK;
    }
    if (slice_is(key, "log_dest")) {
        r->f->numbers[FACTS_LOG] = facts_said(!slice_is(value, "none"), at);
        return OK;
    }
    if (slice_is(key, "log_type")) {
        if (slice_is(value, "none")) {
            r->f->numbers[FACTS_LOG] = facts_said(0, at);
        }
        return OK;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (slice_is(key, rows[i].key)) {
            if (lines_flag(value, &flag) != OK) {
                return not_read(r, at, key, "is true or false");
            }
            /* Where no message may be retained, there is a bound: none. */
            bool is_retained = rows[i].number == FACTS_RETAINED;
            r->f->numbers[rows[i].number] = facts_said(is_retained ? !flag : flag, at);
            return OK;
        }
    }
    *ret_is_mine = false;
    return OK;
}

/* ---- bridges ---- */

static enum err begin_bridge(struct reading *r, struct facts_place at, struct slice name)
{
    TRY(facts_add_bridge(r->f, &r->bridge));
    if (r->bridge != NULL) {
        r->bridge->at = at;
        r->bridge->is_verified = true;
        facts_text(r->bridge->name, name);
    }
    return OK;
}

static enum err take_bridge_key(struct reading *r, struct facts_place at, struct slice key,
                                struct slice value, bool *ret_is_mine)
{
    struct facts_bridge *b = r->bridge;
    bool flag;
    *ret_is_mine = true;
    if (slice_is(key, "connection")) {
        return begin_bridge(r, at, value);
    }
    if (b == NULL) {
        *ret_is_mine = false;
        return OK;
    }
    if (slice_is(key, "address") || slice_is(key, "addresses")) {
        facts_text(b->address, words_next(&value));
        b->is_loopback = facts_is_loopback(slice_text(b->address));
    } else if (slice_is(key, "bridge_cafile") || slice_is(key, "bridge_capath") ||
               slice_is(key, "bridge_psk") || slice_is(key, "bridge_certfile")) {
        b->is_tls = true;
    } else if (slice_is(key, "bridge_insecure")) {
        if (lines_flag(value, &flag) != OK) {
            return not_read(r, at, key, "is true or false");
        }
        b->is_verified = !flag;
        b->at = flag ? at : b->at;
    } else if (slice_is(key, "topic")) {
        struct slice filter = words_next(&value), way = words_next(&value);
        b->is_wide = b->is_wide || (slice_is(filter, "#") && !slice_is(way, "out"));
    } else {
        *ret_is_mine = false;
    }
    if (slice_is(key, "bridge_psk")) {
        r->f->files[at.file].is_secret = true;
    }
    return OK;
}

/* ---- */

/* What changes nothing that a rule looks at. */
static bool is_known(struct slice key)
{
    static const char *const keys[] = {"pid_file",
                                       "persistence_file",
                                       "persistence_location",
                                       "log_timestamp",
                                       "log_timestamp_format",
                                       "log_facility",
                                       "autosave_on_changes",
                                       "sys_interval",
                                       "max_keepalive",
                                       "max_inflight_bytes",
                                       "memory_limit",
                                       "message_size_limit",
                                       "set_tcp_nodelay",
                                       "upgrade_outgoing_qos",
                                       "queue_qos0_messages",
                                       "check_retain_source",
                                       "allow_duplicate_messages",
                                       "auto_id_prefix",
                                       "clientid_prefixes",
                                       "max_qos",
                                       "max_topic_alias",
                                       "mount_point",
                                       "socket_domain",
                                       "ciphers_tls1.3",
                                       "dhparamfile",
                                       "use_identity_as_username",
                                       "use_subject_as_username",
                                       "tls_engine",
                                       "tls_keyform",
                                       "tls_engine_kpass_sha1",
                                       "websockets_log_level",
                                       "websockets_headers_size",
                                       "retry_interval",
                                       "store_clean_interval",
                                       "accept_protocol_versions",
                                       "capath",
                                       "remote_clientid",
                                       "remote_username",
                                       "local_clientid",
                                       "local_username",
                                       "cleansession",
                                       "clean_session",
                                       "local_cleansession",
                                       "keepalive_interval",
                                       "start_type",
                                       "idle_timeout",
                                       "threshold",
                                       "restart_timeout",
                                       "round_robin",
                                       "try_private",
                                       "notifications",
                                       "notification_topic",
                                       "notifications_local_only",
                                       "bridge_attempt_unsubscribe",
                                       "bridge_protocol_version",
                                       "bridge_keyfile",
                                       "bridge_tls_version",
                                       "bridge_alpn",
                                       "bridge_identity",
                                       "bridge_require_ocsp",
                                       "bridge_bind_address",
                                       "bridge_outgoing_retain",
                                       "bridge_max_packet_size",
                                       "bridge_max_topic_alias",
                                       "bridge_receive_maximum",
                                       "bridge_session_expiry_interval",
                                       "bridge_tcp_keepalive",
                                       "bridge_tcp_user_timeout",
                                       "enable_control_api",
                                       "log_dest_file"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (slice_is(key, keys[i])) {
            return true;
        }
    }
    return slice_has_prefix(key, slice_text("plugin_opt_")) ||
           slice_has_prefix(key, slice_text("auth_opt_")) ||
           slice_has_prefix(key, slice_text("plugin_use_"));
}

enum err mosquitto_key(struct reading *r, struct facts_place at, struct slice key,
                       struct slice value)
{
    static enum err (*const takers[])(struct reading *, struct facts_place, struct slice,
                                      struct slice, bool *) = {
        take_bridge_key, take_scope_key, take_listener_key, take_number, take_switch};
    bool flag, is_mine = false;
    if (value.n == 0) {
        return not_read(r, at, key, "has no value");
    }
    if (slice_is(key, "per_listener_settings")) {
        if (lines_flag(value, &flag) != OK) {
            return not_read(r, at, key, "is true or false");
        }
        r->per_listener = flag;
        return OK;
    }
    if (slice_is(key, "listener")) {
        return take_listener(r, at, value);
    }
    if (slice_is(key, "port") || slice_is(key, "bind_address")) {
        return take_default(r, at, value, slice_is(key, "port"));
    }
    if (slice_is(key, "remote_password") || slice_is(key, "local_password")) {
        r->f->files[at.file].is_secret = true;
        return OK;
    }
    for (size_t i = 0; i < COUNT_OF(takers) && !is_mine; i++) {
        TRY(takers[i](r, at, key, value, &is_mine));
    }
    return is_mine || is_known(key)
               ? OK
               : not_read(r, at, key, "is no word that is known here; is it of a newer mosquitto?");
}

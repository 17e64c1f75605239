/* device add, rotate, list, show; what changes one is in verbs_change.c */
#include <stdarg.h>

#include "base/mem.h"
#include "service/admin/admin_private.h"
#include "service/admin/fleet_private.h"

/* ---- add, rotate ---- */

enum err order_attrs(const json_t *attrs, struct principal_attr *dst, size_t cap, size_t *ret_n,
                     struct why *why)
{
    size_t n = 0;
    const char *key;
    json_t *value;
    /* jansson's own loop takes a mutable object, but changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)attrs, key, value)
    {
        struct slice text = slice_of(json_string_value(value), json_string_length(value));
        if (n == cap) {
            why_set(why, "a device has at most %zu attributes", cap);
            return ERR_LIMIT;
        }
        if (!json_is_string(value) ||
            !slice_to_text(slice_text(key), dst[n].key, sizeof dst[n].key) ||
            !slice_to_text(text, dst[n].value, sizeof dst[n].value)) {
            why_set(why, "attribute %.64s: a value is text of at most %d bytes", key,
                    PRINCIPAL_ATTR_MAX);
            return ERR_MALFORMED;
        }
        if (strcmp(key, PRINCIPAL_SEGMENT) == 0 && !principal_name_ok(text)) {
            why_set(why, "attribute segment: a segment is a name of [A-Za-z0-9._-], as in "
                         "sallyport.yaml");
            return ERR_MALFORMED;
        }
        n++;
    }
    *ret_n = n;
    return OK;
}

enum err order_credentials(const json_t *list, unsigned *ret, struct why *why)
{
    unsigned all = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        unsigned bit = provision_credential_find(slice_text(name));
        if (bit == 0) {
            why_set(why, "kinds of credentials are x509, password, scram, psk, oscore");
            return ERR_MALFORMED;
        }
        all |= bit;
    }
    *ret = all;
    return OK;
}

static const struct admin_listener *listener_of(const struct admin *a, enum event_protocol door,
                                                bool is_websocket, bool is_oscore, bool is_stream)
{
    static const struct admin_listener none;
    for (size_t i = 0; i < a->setup.n_listeners; i++) {
        const struct admin_listener *l = &a->setup.listeners[i];
        if (l->door == door && !l->is_plain && (l->path != NULL) == is_websocket &&
            l->is_oscore == is_oscore && l->is_stream == is_stream) {
            return l;
        }
    }
    return &none;
}

static uint16_t port_of(const struct admin *a, enum event_protocol door, bool is_websocket,
                        bool is_oscore, bool is_stream)
{
    return listener_of(a, door, is_websocket, is_oscore, is_stream)->port;
}

struct provision admin_provision(const struct admin *a)
{
    const struct admin_listener *wss = listener_of(a, EVENT_PROTOCOL_mqtt, true, false, false);
    return (struct provision){.directory = a->setup.directory,
                              .authority = a->setup.authority,
                              .ca_pem = pki_roots_pem(a->setup.pki),
                              .policy = a->policy,
                              .random = a->setup.random,
                              .host = slice_text(a->setup.host),
                              .mqtts_port = port_of(a, EVENT_PROTOCOL_mqtt, false, false, false),
                              .coaps_port = port_of(a, EVENT_PROTOCOL_coap, false, false, false),
                              .coap_port = port_of(a, EVENT_PROTOCOL_coap, false, true, false),
                              .coaps_tcp_port = port_of(a, EVENT_PROTOCOL_coap, false, false, true),
                              .coaps_ws_port = port_of(a, EVENT_PROTOCOL_coap, true, false, true),
                              .wss_port = wss->port,
                              .enrol_port = port_of(a, EVENT_PROTOCOL_https, false, false, false),
                              .wss_path = slice_text(wss->path)};
}

/* note may be empty. */
static json_t *bundle_line(const char *name, const struct bundle *bundle, const char *note)
{
    json_t *files = NULL;
    return bundle_to_json(bundle, &files) == OK
               ? json_pack("{s:s,s:o,s:s*}", "name", name, "bundle", files, "note",
                           note[0] != '\0' ? note : NULL)
               : NULL;
}

enum err verb_device_add(void *ctx, const struct control_request *r, uint64_t token,
                         struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX];
    const char *name = control_arg_text(r, "name");
    struct provision_order o = {.name = slice_text(name),
                                .is_opaque = control_arg_flag(r, "opaque"),
                                .role = slice_text(control_arg_text(r, "role")),
                                .gateway = slice_text(control_arg_text(r, "gateway")),
                                .attrs = attrs,
                                .save_dir = slice_text(control_arg_text(r, "save_dir"))};
    AUTO(bundle_done) struct bundle bundle = {0};
    struct provision p = admin_provision(a);
    enum err e =
        order_attrs(json_object_get(r->args, "attrs"), attrs, COUNT_OF(attrs), &o.n_attrs, &why);
    if (e == OK) {
        e = order_credentials(json_object_get(r->args, "credentials"), &o.credentials, &why);
    }
    if (e == OK) {
        e = provision_device(&p, &o, admin_wall_ms(a), &bundle, &why);
    }
    if (e != OK) {
        return admin_refuse(reply, "the device", e, &why);
    }
    admin_act(a, token, EVENT_device_change, SEVERITY_NOTICE, name, "added with role %.64s",
              control_arg_text(r, "role"));
    admin_act(a, token, EVENT_credential_issued, SEVERITY_NOTICE, name,
              "its first credentials were issued in a bundle");
    return admin_changed(a, token, reply, bundle_line(name, &bundle, ""));
}

enum err verb_device_rotate(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    const char *name = control_arg_text(r, "name");
    int64_t overlap_s = control_arg_number(r, "overlap_s", 0);
    size_t n_waiting = admin_waiting_count(a, slice_text(name));
    char note[512];
    struct provision_order o = {.name = slice_text(name),
                                .is_opaque = control_arg_flag(r, "opaque"),
                                .save_dir = slice_text(control_arg_text(r, "save_dir"))};
    AUTO(bundle_done) struct bundle bundle = {0};
    struct provision p = admin_provision(a);
    if (control_arg_flag(r, "abort") || control_arg_flag(r, "now")) {
        return admin_decide_rotation(a, r, token, reply);
    }
    enum err e = order_credentials(json_object_get(r->args, "credentials"), &o.credentials, &why);
    if (overlap_s < 0 || overlap_s > PROVISION_OVERLAP_MAX_S) {
        return control_finish(reply, 1, "old and new credentials overlap for at most 30 days");
    }
    if (e == OK) {
        e = provision_rotate(&p, &o, overlap_s * 1000, admin_wall_ms(a), &bundle, &why);
    }
    if (e != OK) {
        return admin_refuse(reply, "the device", e, &why);
    }
    admin_rotation_note(a, slice_text(name), n_waiting, note, sizeof note);
    admin_act(
        a, token, EVENT_credential_rotated, SEVERITY_NOTICE, name,
        "new credentials were issued in a bundle; the old ones of their kind end in %lld s%s%s",
        (long long)overlap_s, note[0] != '\0' ? ", and of secrets: " : "", note);
    return admin_changed(a, token, reply, bundle_line(name, &bundle, note));
}

/* One row of a batch. `again`: an earlier run had begun it and may have registered it, and its
 * bundle was not saved whole: then it gets new credentials. */
enum err verb_enrol_row(void *ctx, const struct control_request *r, uint64_t token,
                        struct control_reply *reply)
{
    const struct admin *a = ctx;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const char *name = control_arg_text(r, "name");
    bool is_there = directory_find(v, slice_text(name)) != NULL;
    if (control_arg_flag(r,
                         "check")) { /* before the signer is told that it may have a certificate */
        bool is_other = is_there && !control_arg_flag(r, "again");
        return is_other
                   ? control_finish(reply, 1, "%.64s is there already, and not by this batch", name)
                   : control_finish(reply, 0, NULL);
    }
    return is_there && control_arg_flag(r, "again") ? verb_device_rotate(ctx, r, token, reply)
                                                    : verb_device_add(ctx, r, token, reply);
}

/* ---- list, show ---- */

static json_t *attrs_json(const struct principal *p)
{
    json_t *attrs = json_object();
    for (size_t i = 0; i < p->n_attrs; i++) {
        (void)json_object_set_new(attrs, p->attrs[i].key, json_string(p->attrs[i].value));
    }
    return attrs;
}

/* The kinds of live credentials, each once: "x509,psk". */
static void kinds_text(const struct directory_entry *e, int64_t now, char *dst, size_t cap)
{
    size_t at = 0;
    dst[0] = '\0';
    for (unsigned kind = 0; kind < CREDENTIAL_KINDS; kind++) {
        bool found = false;
        for (size_t i = 0; i < e->n_credentials; i++) {
            found |= e->credentials[i]->kind == (enum credential_kind)kind &&
                     credential_is_live(e->credentials[i], now);
        }
        if (found && at < cap) {
            int n = snprintf(dst + at, cap - at, "%s%s", at > 0 ? "," : "",
                             credential_kind_name((enum credential_kind)kind));
            at += n > 0 ? (size_t)n : 0;
        }
    }
    if (at == 0) {
        snprintf(dst, cap, "-");
    }
}

static int by_name(const void *a, const void *b)
{
    const struct directory_entry *const *x = a;
    const struct directory_entry *const *y = b;
    return strcmp((*x)->principal->name, (*y)->principal->name);
}

static void array_release(const struct directory_entry ***array)
{
    *array = mem_free(*array);
}

/* "-": none, or it is not there any more. */
static const char *gateway_name(const struct directory_version *v, const struct principal *p)
{
    const struct directory_entry *e = p->gateway != 0 ? directory_find_id(v, p->gateway) : NULL;
    return e != NULL ? e->principal->name : "-";
}

static enum err list_line(const struct directory_version *v, const struct directory_entry *e,
                          int64_t now, struct control_reply *reply)
{
    const struct principal *p = e->principal;
    char kinds[64];
    char text[256];
    kinds_text(e, now, kinds, sizeof kinds);
    snprintf(text, sizeof text, "%-24s %-12s %-9s %s", p->name, p->role,
             principal_status_name(p->status), kinds);
    return control_line(reply, json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:s}", "name", p->name,
                                         "gateway", gateway_name(v, p), "role", p->role, "status",
                                         principal_status_name(p->status), "attrs", attrs_json(p),
                                         "credentials", kinds, "text", text));
}

enum err verb_device_list(void *ctx, const struct control_request *r, uint64_t token,
                          struct control_reply *reply)
{
    struct admin *a = ctx;
    struct selector selector;
    struct why why = {{0}};
    (void)token;
    if (control_arg_flag(r, "duplicates")) {
        return admin_list_duplicates(a, reply);
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    if (selector_read(json_object_get(r->args, "where"), v, &selector, &why) != OK) {
        return control_finish(reply, 1, "%s", why.text);
    }
    AUTO(array_release)
    const struct directory_entry **all =
        mem_array(directory_version_count(v) + 1, sizeof(struct directory_entry *));
    if (all == NULL) {
        return ERR_NOMEM;
    }
    size_t n = 0;
    size_t at = 0;
    for (const struct directory_entry *e = directory_next(v, &at); e != NULL;
         e = directory_next(v, &at)) {
        if (selector_matches(&selector, e)) {
            all[n++] = e;
        }
    }
    qsort(all, n, sizeof all[0], by_name);
    for (size_t i = 0; i < n; i++) {
        TRY(list_line(v, all[i], admin_wall_ms(a), reply));
    }
    return control_finish(reply, 0, NULL);
}

/* What a person sees of one device, line by line. */
struct card {
    char text[8192];
    size_t at;
};

__attribute__((format(printf, 3, 4))) static void card_line(struct card *c, const char *label,
                                                            const char *format, ...)
{
    char value[768];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    int n = snprintf(c->text + c->at, sizeof c->text - c->at, "%-13s%s\n", label, value);
    if (n > 0 && (size_t)n < sizeof c->text - c->at) {
        c->at += (size_t)n;
    } else {
        c->text[c->at] = '\0'; /* whole lines only */
    }
}

/* What else is to be said of a credential; empty: nothing. */
static const char *standing(const struct directory_version *v, const struct credential *c,
                            int64_t now)
{
    return credential_waits(c) ? ", UNCONFIRMED: the device has not used it yet"
           : secret_reported_at(directory_ages(v), c) <= now ? ", OLD: give it a new one"
                                                             : "";
}

static void lane_line(const struct admin *a, const struct directory_entry *e,
                      const struct credential *c, int64_t now, struct card *card)
{
    char since[CLOCK_ISO8601_BYTES], until[CLOCK_ISO8601_BYTES];
    int64_t until_wall_ms = renewals_until(a, e, c, now);
    if (until_wall_ms != 0) {
        admin_time_text(c->expires_wall_ms, since);
        admin_time_text(until_wall_ms, until);
        card_line(card, "", "in the renewal lane since %s: until %s it may connect to renew it",
                  since, until);
    }
}

static json_t *credentials_json(const struct admin *a, const struct directory_version *v,
                                const struct directory_entry *e, int64_t now, struct card *card)
{
    json_t *list = json_array();
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        char created[CLOCK_ISO8601_BYTES];
        char expires[CLOCK_ISO8601_BYTES];
        char used[CLOCK_ISO8601_BYTES];
        char serial[SERIAL_HEX_BYTES];
        int64_t used_wall_ms = atomic_load_explicit(&c->used_wall_ms, memory_order_relaxed);
        bool live = directory_is_live(v, c, now);
        bool waits = credential_waits(c);
        const char *identity = c->kind == CREDENTIAL_PSK ? c->identity : "";
        admin_time_text(c->created_wall_ms, created);
        admin_time_text(directory_ends(v, c), expires);
        admin_time_text(used_wall_ms, used);
        card_line(card, "credential", "%-9s created %s, %s %s, last used %s%s%s%s",
                  credential_kind_name(c->kind), created,
                  live                       ? "expires"
                  : credential_is_revoked(c) ? "REVOKED"
                                             : "EXPIRED",
                  expires, used, identity[0] != '\0' ? ", identity " : "", identity,
                  standing(v, c, now));
        lane_line(a, e, c, now, card);
        (void)json_array_append_new(
            list,
            json_pack("{s:s,s:s,s:s,s:s,s:b,s:b,s:s*,s:b,s:s*}", "kind",
                      credential_kind_name(c->kind), "created", created, "expires", expires,
                      "last_used", used, "live", live ? 1 : 0, "unconfirmed", waits ? 1 : 0,
                      "identity", identity[0] != '\0' ? identity : NULL, "revoked",
                      credential_is_revoked(c) ? 1 : 0, "serial", admin_serial_text(c, serial)));
    }
    return list;
}

static json_t *refusal_json(const struct recalled_refusal *k, const char *label, struct card *card)
{
    char target[256];
    char reason[512];
    char when[CLOCK_ISO8601_BYTES];
    admin_shown(slice_text(k->target), target, sizeof target);
    admin_shown(slice_text(k->reason), reason, sizeof reason);
    admin_time_text(k->wall_ms, when);
    card_line(card, label, "%s %s from %s%s%s%s", when, event_category_name(k->category),
              k->peer[0] != '\0' ? k->peer : "-", target[0] != '\0' ? ", " : "", target,
              k->is_claimed ? " (the name was claimed, not proven)" : "");
    card_line(card, "", "%s", reason);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:b}", "time", when, "category",
                     event_category_name(k->category), "target", target[0] != '\0' ? target : "-",
                     "reason", reason, "peer", k->peer[0] != '\0' ? k->peer : "-", "claimed",
                     k->is_claimed ? 1 : 0);
}

/* Who fails before it can say who it is may be this device: at the address where it was seen last,
 * or, when it was not seen yet, anywhere. */
static json_t *nameless_json(const struct admin *a, const struct recalled *k, struct card *card)
{
    struct slice home = k != NULL ? slice_text(k->peer) : (struct slice){0};
    const struct recalled_refusal *n = recall_nameless(a->recall, home);
    bool is_newer = n != NULL && (k == NULL || n->wall_ms >= k->seen_wall_ms);
    if (!is_newer) {
        return json_null();
    }
    json_t *line = refusal_json(n, "nameless", card);
    card_line(card, "", "(somebody %s who named nobody here; perhaps this device)",
              home.n > 0 ? "at its last address" : "at any address");
    return line;
}

enum err verb_device_show(void *ctx, const struct control_request *r, uint64_t token,
                          struct control_reply *reply)
{
    struct admin *a = ctx;
    struct slice name = slice_text(control_arg_text(r, "name"));
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = directory_find(v, name);
    if (e == NULL) {
        return admin_refuse_device(reply, name, ERR_NOT_FOUND, NULL);
    }
    const struct principal *p = e->principal;
    const struct recalled *k = recall_find(a->recall, name);
    struct card card = {.at = 0};
    char seen[CLOCK_ISO8601_BYTES];
    admin_time_text(k != NULL ? k->seen_wall_ms : 0, seen);
    card_line(&card, "device", "%s", p->name);
    card_line(&card, "status", "%s%s%s", principal_status_name(p->status),
              e->reason[0] != '\0' ? ": " : "", e->reason);
    card_line(&card, "role", "%s%s", p->role,
              policy_has_role(a->policy, slice_text(p->role))
                  ? ""
                  : " (the policy in force does not know it: everything is denied)");
    if (p->gateway != 0) {
        card_line(&card, "gateway", "%s%s", gateway_name(v, p),
                  directory_find_id(v, p->gateway) == NULL
                      ? " (it was removed: nobody speaks for it)"
                      : " may speak for it");
    }
    for (size_t i = 0; i < p->n_attrs; i++) {
        card_line(&card, "attribute", "%s=%s", p->attrs[i].key, p->attrs[i].value);
    }
    json_t *credentials = credentials_json(a, v, e, admin_wall_ms(a), &card);
    const char *peer = k != NULL && k->peer[0] != '\0' ? k->peer : "-";
    card_line(&card, "last seen", "%s from %s", seen, peer);
    json_t *refusal = json_null();
    json_t *proven = json_null();
    if (k != NULL && k->refusal.wall_ms != 0) {
        refusal = refusal_json(&k->refusal, "last refusal", &card);
    }
    if (k != NULL && k->refusal.is_claimed && k->proven.wall_ms != 0) {
        proven = refusal_json(&k->proven, "its own", &card);
    }
    json_t *nameless = nameless_json(a, k, &card);
    return control_line(reply,
                        json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:s,s:s,s:o,s:o,s:o,s:s}",
                                  "name", p->name, "gateway", gateway_name(v, p), "role", p->role,
                                  "status", principal_status_name(p->status), "reason",
                                  e->reason[0] != '\0' ? e->reason : "-", "created",
                                  admin_time(e->created_wall_ms), "attrs", attrs_json(p),
                                  "credentials", credentials, "last_seen", seen, "peer", peer,
                                  "last_refusal", refusal, "last_proven_refusal", proven,
                                  "nameless_refusal", nameless, "text", card.text)) == OK
               ? control_finish(reply, 0, NULL)
               : ERR_NOMEM;
}

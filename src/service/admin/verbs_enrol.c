/* enrol token, list, approve, reject; and one row of a batch */
#include "base/mem.h"
#include "service/admin/admin_private.h"

enum { TOKENS_MOST = 1000, FOR_S_MOST = 30 * 86400 };

static enum err no_authority(struct control_reply *reply)
{
    return control_finish(reply, 1, "this server has no authority that signs");
}

/* ---- tokens ---- */

static uint16_t enrol_port(const struct admin *a)
{
    for (size_t i = 0; i < a->setup.n_listeners; i++) {
        if (a->setup.listeners[i].door == EVENT_PROTOCOL_https) {
            return a->setup.listeners[i].port;
        }
    }
    return 0;
}

/* The root's fingerprint, by which a device knows our authority before it trusts it. */
static enum err root_hex(const struct admin *a, char dst[DIGEST_HEX_BYTES])
{
    AUTO(x509_autofree) struct x509 *root = NULL;
    AUTO(buf_done) struct buf der = {0};
    struct slice pem = pki_ca_pem(a->setup.pki);
    struct digest d;
    TRY(x509_next_pem(&pem, &root));
    TRY(x509_to_der(root, &der));
    TRY(digest_sha256(buf_slice(&der), &d));
    digest_hex(&d, dst);
    return OK;
}

static enum err one_token(struct admin *a, const struct authority_claim *c,
                          struct control_reply *reply, const char *ca_hex, struct why *why)
{
    char token[AUTHORITY_TOKEN_BYTES];
    char text[512];
    uint16_t port = enrol_port(a);
    TRY(authority_token_make(a->setup.authority, c, admin_wall_ms(a), token, why));
    if (port != 0) {
        (void)snprintf(text, sizeof text,
                       "%s\n  sallyport enrol join --server %s:%u --token %s --ca-sha256 %s%s%.*s",
                       token, a->setup.host, port, token, ca_hex,
                       c->name.n > 0 ? " --name " : " --name NAME", SLICE_ARG(c->name));
    } else {
        (void)snprintf(text, sizeof text,
                       "%s\n  no listener takes it yet: sallyport.yaml needs one with door: enrol",
                       token);
    }
    json_t *line = json_pack("{s:s,s:s,s:s,s:I,s:I,s:s}", "token", token, "ca_sha256", ca_hex,
                             "host", a->setup.host, "port", (json_int_t)port, "expires_wall_ms",
                             (json_int_t)c->expires_wall_ms, "text", text);
    mem_wipe(token, sizeof token);
    mem_wipe(text, sizeof text);
    return control_line(reply, line);
}

enum err verb_enrol_token(void *ctx, const struct control_request *r, uint64_t token,
                          struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    struct principal_attr ignored[PRINCIPAL_ATTRS_MAX];
    size_t n_attrs = 0;
    char ca_hex[DIGEST_HEX_BYTES];
    char attrs_text[2048] = "{}";
    int64_t for_s = control_arg_number(r, "for_s", 3600);
    int64_t count = control_arg_number(r, "count", 1);
    int64_t uses = control_arg_number(r, "uses", 1);
    const json_t *attrs = json_object_get(r->args, "attrs");
    const char *role = control_arg_text(r, "role");
    if (a->enrol == NULL) {
        return no_authority(reply);
    }
    if (for_s < 1 || for_s > FOR_S_MOST || count < 1 || count > TOKENS_MOST || uses < 1 ||
        uses > 100000) {
        return control_finish(reply, 1,
                              "a token is good for 1 second to 30 days and 1 to 100000 devices, "
                              "and at most %d are made at once",
                              TOKENS_MOST);
    }
    if (role == NULL || !policy_has_role(a->policy, slice_text(role))) {
        return control_finish(reply, 1, "the policy in force has no role %.64s",
                              role != NULL ? role : "(none given)");
    }
    enum err e = enrol_attrs(attrs, ignored, COUNT_OF(ignored), &n_attrs, &why);
    if (e == OK && attrs != NULL) {
        size_t n = json_dumpb(attrs, attrs_text, sizeof attrs_text - 1, JSON_COMPACT);
        e = n > 0 && n < sizeof attrs_text ? OK : ERR_TOO_LARGE;
        attrs_text[n < sizeof attrs_text ? n : 0] = '\0';
    }
    struct authority_claim c = {.name = slice_text(control_arg_text(r, "name")),
                                .pattern = slice_text(control_arg_text(r, "pattern")),
                                .role = slice_text(role),
                                .attrs_json = slice_text(attrs_text),
                                .expires_wall_ms = admin_wall_ms(a) + for_s * 1000,
                                .uses = (unsigned)uses};
    if (c.name.n == 0 && c.pattern.n == 0) {
        c.pattern = slice_text("*");
    }
    e = e == OK ? root_hex(a, ca_hex) : e;
    for (int64_t i = 0; e == OK && i < count; i++) {
        e = one_token(a, &c, reply, ca_hex, &why);
    }
    if (e != OK) {
        return admin_refuse(reply, "the claim token", e, &why);
    }
    admin_act(a, token, EVENT_enrolment, SEVERITY_NOTICE,
              c.name.n > 0 ? (const char *)c.name.p : "",
              "%lld claim tokens were made for role %.64s, good for %lld s", (long long)count, role,
              (long long)for_s);
    return control_finish(reply, 0, NULL);
}

/* ---- the queue ---- */

static const char *state_name(enum enrol_state s)
{
    switch (s) {
    case ENROL_PENDING:
        return "waits";
    case ENROL_APPROVED:
        return "approved";
    case ENROL_REJECTED:
        return "rejected";
    }
    return "unknown";
}

static json_t *row_json(const struct enrol_waiting *w)
{
    char peer[NET_PEER_TEXT_BYTES], hex[DIGEST_HEX_BYTES], text[300], first[CLOCK_ISO8601_BYTES];
    net_peer_text(&w->peer, peer);
    digest_hex(&w->spki, hex);
    admin_time_text(w->first_wall_ms, first);
    (void)snprintf(text, sizeof text, "%-4llu %-9s %-24s %-24s key %.16s...  from %s",
                   (unsigned long long)w->id, state_name(w->state), w->name, first, hex, peer);
    return json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:o,s:s}", "id", (json_int_t)w->id, "state",
                     state_name(w->state), "name", w->name, "peer", peer, "key_sha256", hex,
                     "since", first, "last", admin_time(w->last_wall_ms), "text", text);
}

enum err verb_enrol_list(void *ctx, const struct control_request *r, uint64_t token,
                         struct control_reply *reply)
{
    const struct admin *a = ctx;
    size_t at = 0;
    const struct enrol_waiting *w;
    (void)r, (void)token;
    if (a->enrol == NULL) {
        return no_authority(reply);
    }
    while ((w = enrol_next(a->enrol, &at)) != NULL) {
        TRY(control_line(reply, row_json(w)));
    }
    return control_finish(reply, 0, NULL);
}

/* Which rows are meant: one id, or all that wait and match. */
struct choice {
    int64_t id; /* 0: not by id */
    bool all;
    struct slice name;          /* a pattern; empty: any */
    struct net_network network; /* of bits 0: any */
    bool has_network;
};

static bool read_choice(const struct control_request *r, struct choice *ret)
{
    const char *from = control_arg_text(r, "from");
    bool is_exact = false;
    *ret = (struct choice){.id = control_arg_number(r, "id", 0),
                           .all = control_arg_flag(r, "all"),
                           .name = slice_text(control_arg_text(r, "name"))};
    ret->has_network = from != NULL;
    return from == NULL ||
           (net_network_parse(slice_text(from), &is_exact, &ret->network) == OK && is_exact);
}

static bool is_chosen(const struct choice *c, const struct enrol_waiting *w)
{
    if (!c->all) {
        return (int64_t)w->id == c->id;
    }
    return w->state == ENROL_PENDING &&
           (c->name.n == 0 || authority_pattern_matches(c->name, slice_text(w->name))) &&
           (!c->has_network || net_network_contains(&c->network, &w->peer));
}

enum err verb_enrol_approve(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    struct choice choice;
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX];
    size_t n_attrs = 0, at = 0;
    unsigned n = 0;
    const char *role = control_arg_text(r, "role");
    const struct enrol_waiting *w;
    if (a->enrol == NULL) {
        return no_authority(reply);
    }
    if (!read_choice(r, &choice)) {
        return control_finish(reply, 1, "--where from= takes a network like 10.1.0.0/16");
    }
    enum err e =
        enrol_attrs(json_object_get(r->args, "attrs"), attrs, COUNT_OF(attrs), &n_attrs, &why);
    while (e == OK && (w = enrol_next(a->enrol, &at)) != NULL) {
        if (!is_chosen(&choice, w)) {
            continue;
        }
        e = enrol_approve(a->enrol, w->id, slice_text(role), attrs, n_attrs, admin_wall_ms(a),
                          &why);
        if (e == OK) {
            n++;
            admin_act(a, token, EVENT_enrolment, SEVERITY_NOTICE, w->name,
                      "its request was approved, with role %.64s", role != NULL ? role : "");
        }
    }
    if (n == 0 && e == OK) {
        return control_finish(reply, 1, "no such request waits; see `sallyport enrol list`");
    }
    if (e != OK && n == 0) {
        return admin_refuse(reply, "the approval", e, &why);
    }
    char text[WHY_BYTES + 64];
    (void)snprintf(text, sizeof text, "%u approved; they have it when they ask again%s%s", n,
                   e != OK ? ". Then: " : "", e != OK ? why.text : "");
    return admin_changed(a, token, reply,
                         json_pack("{s:I,s:s}", "approved", (json_int_t)n, "text", text));
}

enum err verb_enrol_reject(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    int64_t id = control_arg_number(r, "id", 0);
    if (a->enrol == NULL) {
        return no_authority(reply);
    }
    if (enrol_reject(a->enrol, (uint64_t)id) != OK) {
        return control_finish(reply, 1, "no such request waits; see `sallyport enrol list`");
    }
    admin_act(a, token, EVENT_enrolment, SEVERITY_NOTICE, "", "request %lld was rejected",
              (long long)id);
    return control_finish(reply, 0, NULL);
}

/* enrol list, approve, reject, and what a token is printed with */
#include "service/admin/admin_private.h"

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

/* What a token is printed with, and whether one may be made for this: the signer makes it, asked by
 * the operator. */
enum err verb_enrol_terms(void *ctx, const struct control_request *r, uint64_t token,
                          struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    struct principal_attr ignored[PRINCIPAL_ATTRS_MAX];
    size_t n_attrs = 0;
    char ca_hex[DIGEST_HEX_BYTES];
    const char *role = control_arg_text(r, "role");
    if (a->enrol == NULL) {
        return no_authority(reply);
    }
    if (role == NULL || !policy_has_role(a->policy, slice_text(role))) {
        return control_finish(reply, 1, "the policy in force has no role %.64s",
                              role != NULL ? role : "(none given)");
    }
    enum err e =
        enrol_attrs(json_object_get(r->args, "attrs"), ignored, COUNT_OF(ignored), &n_attrs, &why);
    e = e == OK ? root_hex(a, ca_hex) : e;
    if (e != OK) {
        return admin_refuse(reply, "the claim token", e, &why);
    }
    admin_act(a, token, EVENT_enrolment, SEVERITY_NOTICE, "",
              "%lld claim tokens are made for role %.64s, good for %lld s",
              (long long)control_arg_number(r, "count", 1), role,
              (long long)control_arg_number(r, "for_s", 0));
    TRY(control_line(reply, json_pack("{s:s,s:s,s:I}", "ca_sha256", ca_hex, "host", a->setup.host,
                                      "port", (json_int_t)enrol_port(a))));
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

/* check: whether it would be done, before the signer is told. */
enum err verb_enrol_approve(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX];
    size_t n_attrs = 0;
    const char *role = control_arg_text(r, "role");
    int64_t id = control_arg_number(r, "id", 0);
    bool is_check = control_arg_flag(r, "check");
    char text[64];
    if (a->enrol == NULL) {
        return no_authority(reply);
    }
    enum err e =
        enrol_attrs(json_object_get(r->args, "attrs"), attrs, COUNT_OF(attrs), &n_attrs, &why);
    if (e == OK) {
        e = enrol_approve(a->enrol, (uint64_t)id, slice_text(role), attrs, n_attrs, is_check,
                          admin_wall_ms(a), &why);
    }
    if (e != OK || is_check) {
        return e != OK ? admin_refuse(reply, "the approval", e, &why)
                       : control_finish(reply, 0, NULL);
    }
    admin_act(a, token, EVENT_enrolment, SEVERITY_NOTICE, control_arg_text(r, "name"),
              "request %lld was approved, with role %.64s", (long long)id, role);
    (void)snprintf(text, sizeof text, "%lld is approved: it has it when it asks again",
                   (long long)id);
    return admin_changed(a, token, reply,
                         json_pack("{s:I,s:s}", "approved", (json_int_t)id, "text", text));
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

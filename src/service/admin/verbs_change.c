/* device disable, enable, revoke, remove, role, assign: the change of one device, and its event. A
 * batch of them: verbs_fleet.c. */
#include "service/admin/fleet_private.h"

static const char *const KIND_NAME[DEVICE_CHANGES] = {
    [DEVICE_DISABLE] = "disable", [DEVICE_ENABLE] = "enable", [DEVICE_REVOKE] = "revoke",
    [DEVICE_REMOVE] = "remove",   [DEVICE_ROLE] = "role",     [DEVICE_ASSIGN] = "assign",
};

static bool find_kind(const char *name, enum device_change_kind *ret)
{
    for (size_t i = 0; name != NULL && i < DEVICE_CHANGES; i++) {
        if (strcmp(name, KIND_NAME[i]) == 0) {
            *ret = (enum device_change_kind)i;
            return true;
        }
    }
    return false;
}

enum err admin_refuse_device(struct control_reply *reply, struct slice name, enum err e,
                             const struct why *why)
{
    if (e == ERR_NOT_FOUND && (why == NULL || why->text[0] == '\0')) {
        struct slice shown = slice_head(name, 64);
        return control_finish(reply, 1, "there is no device %.*s; see `sallyport device list`",
                              SLICE_ARG(shown));
    }
    return admin_refuse(reply, "the device", e, why);
}

enum err device_change_read(const struct admin *a, const struct control_request *r,
                            const char *kind, struct device_change *ret, struct why *why)
{
    struct device_change c = {.reason = control_arg_text(r, "reason"),
                              .role = control_arg_text(r, "role"),
                              .gateway = control_arg_text(r, "gateway")};
    if (!find_kind(kind, &c.kind)) {
        why_set(why, "no such change of a device");
        return ERR_MALFORMED;
    }
    if (c.kind == DEVICE_ROLE &&
        (c.role == NULL || !policy_has_role(a->policy, slice_text(c.role)))) {
        why_set(why, "the policy in force has no role %.64s; `policy apply` a policy that has",
                c.role != NULL ? c.role : "");
        return ERR_NOT_FOUND;
    }
    if (c.kind == DEVICE_ASSIGN && c.gateway == NULL) {
        why_set(why, "device assign needs --gateway: a gateway, or none");
        return ERR_MALFORMED;
    }
    if (c.kind == DEVICE_REVOKE && (c.reason == NULL || c.reason[0] == '\0')) {
        c.reason = "no reason given";
    }
    *ret = c;
    return OK;
}

static struct slice gateway_of(const struct device_change *c)
{
    struct slice gateway = slice_text(c->gateway);
    return slice_is(gateway, "none") ? (struct slice){0} : gateway;
}

bool device_change_is_done(const struct directory_version *v, const struct device_change *c,
                           struct slice name)
{
    const struct directory_entry *e = directory_find(v, name);
    const struct principal *p = e != NULL ? e->principal : NULL;
    const struct directory_entry *gateway = NULL;
    if (p == NULL) {
        return c->kind == DEVICE_REMOVE;
    }
    switch (c->kind) {
    case DEVICE_DISABLE:
        return p->own_status == PRINCIPAL_DISABLED;
    case DEVICE_ENABLE:
        return p->own_status == PRINCIPAL_ACTIVE;
    case DEVICE_REVOKE:
        return p->status == PRINCIPAL_REVOKED;
    case DEVICE_ROLE:
        return strcmp(p->role, c->role) == 0;
    case DEVICE_ASSIGN:
        gateway = directory_find(v, gateway_of(c));
        return gateway != NULL ? p->gateway == gateway->principal->id
                               : p->gateway == 0 && gateway_of(c).n == 0;
    case DEVICE_REMOVE:
    case DEVICE_CHANGES:
        break;
    }
    return false;
}

enum err device_change_apply(struct admin *a, const struct device_change *c, struct slice name,
                             struct why *why)
{
    struct directory *d = a->setup.directory;
    enum err e = ERR_MALFORMED;
    switch (c->kind) {
    case DEVICE_DISABLE:
        e = directory_disable(d, name, slice_text(c->reason));
        if (e == ERR_DENIED) {
            why_set(why, "%.*s is revoked for good: remove it and add it anew",
                    SLICE_ARG(slice_head(name, PRINCIPAL_NAME_MAX)));
        }
        return e;
    case DEVICE_ENABLE:
        return directory_enable(d, name, why);
    case DEVICE_REVOKE:
        return directory_revoke(d, name, slice_text(c->reason));
    case DEVICE_REMOVE:
        return directory_remove(d, name);
    case DEVICE_ROLE:
        return directory_set_role(d, name, slice_text(c->role), why);
    case DEVICE_ASSIGN:
        return directory_assign(d, name, gateway_of(c), why);
    case DEVICE_CHANGES:
        break;
    }
    return e;
}

void device_change_note(struct admin *a, uint64_t token, const struct device_change *c,
                        const char *name)
{
    bool has_gateway = gateway_of(c).n > 0;
    switch (c->kind) {
    case DEVICE_DISABLE:
        admin_act(a, token, EVENT_device_change, SEVERITY_NOTICE, name, "disabled: %s",
                  c->reason != NULL ? c->reason : "no reason given");
        break;
    case DEVICE_ENABLE:
        admin_act(a, token, EVENT_device_change, SEVERITY_NOTICE, name, "enabled%s%s",
                  c->reason != NULL ? ": " : "", c->reason != NULL ? c->reason : "");
        break;
    case DEVICE_REVOKE:
        admin_act(a, token, EVENT_revoked, SEVERITY_WARNING, name,
                  "revoked for good: %s. Its sessions end and its credentials open nothing",
                  c->reason);
        break;
    case DEVICE_REMOVE:
        admin_act(a, token, EVENT_device_change, SEVERITY_NOTICE, name, "removed%s%s",
                  c->reason != NULL ? ": " : "", c->reason != NULL ? c->reason : "");
        break;
    case DEVICE_ROLE:
        admin_act(a, token, EVENT_device_change, SEVERITY_NOTICE, name, "its role is %.64s now",
                  c->role);
        break;
    case DEVICE_ASSIGN:
        admin_act(a, token, EVENT_device_change, SEVERITY_NOTICE, name,
                  has_gateway ? "gateway %.64s may speak for it, and no other"
                              : "no gateway may speak for it (%.64s)",
                  c->gateway);
        break;
    case DEVICE_CHANGES:
        break;
    }
}

enum err device_change_register(struct admin *a, const struct device_change *c, const char *name)
{
    enum err err = OK;
    if (c->kind == DEVICE_REVOKE) {
        err = authority_revoke(a->setup.authority, slice_text(name), NULL, AUTHORITY_UNSPECIFIED,
                               admin_wall_ms(a));
    } else if (c->kind == DEVICE_REMOVE && authority_is_operators(a->setup.authority)) {
        /* Where it may not, whoever removes has told the signer first. */
        err = authority_forget(a->setup.authority, slice_text(name), admin_wall_ms(a));
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

/* ---- one device ---- */

static enum err changed(struct admin *a, uint64_t token, struct control_reply *reply,
                        const char *name, const char *what)
{
    return admin_changed(
        a, token, reply,
        json_pack("{s:s,s:s,s:s++}", "name", name, "change", what, "text", name, " is ", what));
}

/* The directory has it, so it opens nothing any more; the authority's register has it not. */
static enum err refuse_half(struct admin *a, uint64_t token, struct control_reply *reply,
                            const char *name, const char *done, enum err e)
{
    admin_act(a, token, EVENT_enrolment, SEVERITY_ALERT, name,
              "%s, but the authority did not put that on its register: %s", done, err_name(e));
    admin_push_realm(a);
    return control_finish(reply, 1,
                          "%.64s is %s and opens nothing here, but the authority did not put that "
                          "on its register (%s): its certificates are not listed as revoked. Mend "
                          "that, and say it again",
                          name, done, err_name(e));
}

static enum err change_one(struct admin *a, const struct control_request *r, const char *kind,
                           uint64_t token, struct control_reply *reply, const char *what)
{
    struct device_change c;
    struct why why = {{0}};
    const char *name = control_arg_text(r, "name");
    enum err e = device_change_read(a, r, kind, &c, &why);
    if (e == OK) {
        e = device_change_apply(a, &c, slice_text(name), &why);
    }
    if (e != OK) {
        return admin_refuse_device(reply, slice_text(name), e, &why);
    }
    device_change_note(a, token, &c, name);
    e = device_change_register(a, &c, name);
    return e == OK ? changed(a, token, reply, name, what)
                   : refuse_half(a, token, reply, name, what, e);
}

enum err verb_device_disable(void *ctx, const struct control_request *r, uint64_t token,
                             struct control_reply *reply)
{
    return change_one(ctx, r, "disable", token, reply, "disabled");
}

enum err verb_device_enable(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    return change_one(ctx, r, "enable", token, reply, "enabled");
}

enum err verb_device_revoke(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    return change_one(ctx, r, "revoke", token, reply, "revoked");
}

enum err verb_device_remove(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    return change_one(ctx, r, "remove", token, reply, "removed, and what it had stored is erased");
}

enum err verb_device_role(void *ctx, const struct control_request *r, uint64_t token,
                          struct control_reply *reply)
{
    char what[PRINCIPAL_NAME_MAX + 32];
    const char *role = control_arg_text(r, "role");
    snprintf(what, sizeof what, "of role %.64s", role != NULL ? role : "");
    return change_one(ctx, r, "role", token, reply, what);
}

/* A role that grants nothing to a gateway is no mistake, yet: the policy may come later. */
enum err verb_device_assign(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    const struct admin *a = ctx;
    const char *gateway = control_arg_text(r, "gateway");
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = directory_find(v, slice_text(gateway));
    char what[320];
    if (e == NULL) {
        snprintf(what, sizeof what, "assigned to no gateway");
    } else if (policy_is_gateway(a->policy, slice_text(e->principal->role))) {
        snprintf(what, sizeof what, "assigned to gateway %.64s", gateway);
    } else {
        snprintf(
            what, sizeof what,
            "assigned to gateway %.64s, whose role %s has no grant with ${assigned}: it speaks "
            "for nobody until policy.yaml gives it one",
            gateway, e->principal->role);
    }
    return change_one(ctx, r, "assign", token, reply, what);
}

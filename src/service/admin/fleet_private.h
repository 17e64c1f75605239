/*
 * fleet_private - what the verbs of devices share: which ones are meant, what an order says, and a
 * change of one device, whether it is the only one or one of many.
 */
#ifndef SERVICE_ADMIN_FLEET_PRIVATE_H
#define SERVICE_ADMIN_FLEET_PRIVATE_H

#include "service/admin/admin_private.h"

/* ---- which devices (selector.c) ---- */

enum { SELECTOR_TERMS_MAX = 16 };

/* KEY=VALUE terms that all hold; none: everybody. Borrows from the request. */
struct selector {
    struct {
        struct slice key, value;
        uint64_t gateway; /* where key is "gateway"; 0: assigned to none */
    } terms[SELECTOR_TERMS_MAX];
    size_t n;
};

/* selector_read - where: an array of "KEY=VALUE", one text, or NULL. KEY is name, role, status,
 * gateway (VALUE none: assigned to nobody) or an attribute. ERR_MALFORMED, ERR_NOT_FOUND (such a
 * gateway), ERR_LIMIT, each with *why. */
MUST_USE enum err selector_read(const json_t *where, const struct directory_version *v,
                                struct selector *ret, struct why *why);
bool selector_matches(const struct selector *s, const struct directory_entry *e);
const char *principal_status_name(enum principal_status s);

/* ---- orders (verbs_device.c) ---- */

MUST_USE enum err order_attrs(const json_t *attrs, struct principal_attr *dst, size_t cap,
                              size_t *ret_n, struct why *why);
/* order_credentials - a set of enum provision_credential; 0 for none. */
MUST_USE enum err order_credentials(const json_t *list, unsigned *ret, struct why *why);
struct provision admin_provision(const struct admin *a);
/* admin_refuse_device - the final line for an error about this device. */
MUST_USE enum err admin_refuse_device(struct control_reply *reply, struct slice name, enum err e,
                                      const struct why *why);

/* ---- one change (verbs_change.c) ---- */

enum device_change_kind {
    DEVICE_DISABLE,
    DEVICE_ENABLE,
    DEVICE_REVOKE,
    DEVICE_REMOVE,
    DEVICE_ROLE,
    DEVICE_ASSIGN,
    DEVICE_CHANGES
};

/* Borrowed; only what its kind needs is read. */
struct device_change {
    enum device_change_kind kind;
    const char *reason;  /* NULL: none given */
    const char *role;    /* checked to be in the policy */
    const char *gateway; /* "none": nobody may speak for it */
};

/* device_change_read - the arguments of a request, kind "disable", "role" ... ERR_MALFORMED,
 * ERR_NOT_FOUND with *why: nothing that could be done. */
MUST_USE enum err device_change_read(const struct admin *a, const struct control_request *r,
                                     const char *kind, struct device_change *ret, struct why *why);
/* device_change_is_done - it is so already; ERR: not in the version at all is done for REMOVE. */
bool device_change_is_done(const struct directory_version *v, const struct device_change *c,
                           struct slice name);
/* device_change_apply - to the directory, in its batch when there is one. Errors and *why as of the
 * directory's functions. */
MUST_USE enum err device_change_apply(struct admin *a, const struct device_change *c,
                                      struct slice name, struct why *why);
/* device_change_register - what the authority's register is to know of it, when it is saved: who is
 * revoked or removed has no certificates any more. Errors as authority_revoke. */
MUST_USE enum err device_change_register(struct admin *a, const struct device_change *c,
                                         const char *name);
/* device_change_note - the event, when it is saved. */
void device_change_note(struct admin *a, uint64_t token, const struct device_change *c,
                        const char *name);

#endif

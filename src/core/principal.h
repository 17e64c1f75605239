/*
 * principal - who acts: a device, a gateway, a user or a service. Immutable and shared; a change
 * makes a new one with a newer epoch. Credentials are not here: workers never see secrets
 * (service/directory keeps them).
 */
#ifndef CORE_PRINCIPAL_H
#define CORE_PRINCIPAL_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/slice.h"

enum { PRINCIPAL_NAME_MAX = 64, PRINCIPAL_ATTR_MAX = 128, PRINCIPAL_ATTRS_MAX = 16 };

enum principal_status { PRINCIPAL_ACTIVE, PRINCIPAL_DISABLED, PRINCIPAL_REVOKED };

/* What misuse is answered with while it lasts, as bits. docs/decisions/0086 */
enum principal_answer {
    PRINCIPAL_THROTTLED = 1,   /* it publishes a tenth as often */
    PRINCIPAL_STEPPED_UP = 2,  /* a ticket or a bearer secret alone does not let it in */
    PRINCIPAL_QUARANTINED = 4, /* what it publishes stays in $quarantine/NAME/; it hears nothing */
    PRINCIPAL_SHUT_OUT = 8     /* its status is not active, whatever own_status says */
};

struct principal_attr {
    char key[PRINCIPAL_NAME_MAX + 1];
    char value[PRINCIPAL_ATTR_MAX +
               1]; /* any UTF-8 without control bytes; substituted as one literal level */
};

/* As long as it has to be: each anonymous client is one. */
struct principal {
    atomic_uint refs;
    uint8_t n_attrs;
    uint8_t answers;       /* bits of enum principal_answer */
    bool is_anonymous : 1; /* made by an exception for one connection; has no credentials */
    bool is_late : 1; /* its certificate's time is over: it may renew that, and do nothing else */
    enum principal_status status;     /* own_status, or disabled while an answer shuts it out */
    enum principal_status own_status; /* as a person set it */
    uint64_t id;                      /* never reused, never 0 */
    uint64_t epoch;                   /* directory epoch of its last change */
    uint64_t step_up;                 /* number of the answer that is PRINCIPAL_STEPPED_UP; 0 */
    uint64_t gateway; /* id of the principal that may speak for it (${assigned}); 0: none */
    const char *name; /* both behind the attributes, at most PRINCIPAL_NAME_MAX long */
    const char *role;
    struct principal_attr attrs[];
};

/* principal_name_ok - [A-Za-z0-9._-]{1,64}. */
bool principal_name_ok(struct slice name);

/* principal_new - one reference for the caller. attrs are copied. ERR_MALFORMED: name, role or an
 * attribute key is not a valid name, or a value holds a control byte; ERR_LIMIT: over
 * PRINCIPAL_ATTRS_MAX; ERR_NOMEM. */
MUST_USE enum err principal_new(uint64_t id, struct slice name, struct slice role,
                                const struct principal_attr *attrs, size_t n_attrs,
                                struct principal **ret);
const struct principal *principal_ref(const struct principal *p);
const struct principal *principal_unref(const struct principal *p);
/* principal_attr - the value of an attribute, or NULL. "device" answers the name, "role" the role;
 * "segment" without a value is PRINCIPAL_SEGMENT_DEFAULT. */
#define PRINCIPAL_SEGMENT         "segment"
#define PRINCIPAL_SEGMENT_DEFAULT "field" /* of listeners that name none, too */
const char *principal_attr(const struct principal *p, struct slice key);

#endif

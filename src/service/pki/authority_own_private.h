/* authority_own_private - what the parts of the authority in this process share. */
#ifndef SERVICE_PKI_AUTHORITY_OWN_PRIVATE_H
#define SERVICE_PKI_AUTHORITY_OWN_PRIVATE_H

#include "core/quota.h"
#include "service/pki/authority_own.h"
#include "service/pki/authority_private.h"

struct authority_own {
    struct authority base;
    struct authority_own_setup setup;
    struct authority_policy policy; /* with its defaults */
    struct bucket all;
};

static inline struct authority_own *authority_own_of(struct authority *a)
{
    return CONTAINER_OF(a, struct authority_own, base);
}

/* authority_serial_of - ERR_MALFORMED: none, or too long. */
MUST_USE enum err authority_serial_of(struct slice serial, struct authority_serial *ret);

#endif

/*
 * whoami - whom the server takes the holder of a certificate for, so that a client can prove a new
 * one before it gives up the old: GET /.well-known/sallyport/whoami at the enrolment door.
 */
#ifndef SERVICE_ENROL_WHOAMI_H
#define SERVICE_ENROL_WHOAMI_H

#include "base/slice.h"
#include "service/broker/realm.h"

#define WHOAMI_PATH "/.well-known/sallyport/whoami"
#define WHOAMI_TYPE "application/json"

enum { WHOAMI_BYTES = 256 };

struct whoami {
    unsigned status;         /* 200; 401: no certificate, or nobody's; 403: whose it is may not */
    char text[WHOAMI_BYTES]; /* {"name", "role", "not_after"}, or a line for the person there */
};

/* whoami_answer - leaf_der: the client's certificate, as TLS has proven it; empty: none. Counts as
 * a use of the credential, but when it has ended: then it may renew for grace_s, which is a 403
 * that says so, or when a list of the realm's has taken it back. ERR_NOMEM. */
MUST_USE enum err whoami_answer(const struct realm *realm, struct slice leaf_der, uint32_t grace_s,
                                int64_t now_wall_ms, struct whoami *ret);

#endif

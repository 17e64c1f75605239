/*
 * oscore_secret - what a device and we are given to derive one OSCORE context from: a random master
 * secret, a salt, and what the device calls itself. We are always OSCORE_OUR_ID.
 */
#ifndef SERVICE_DIRECTORY_OSCORE_SECRET_H
#define SERVICE_DIRECTORY_OSCORE_SECRET_H

#include "base/err.h"
#include "base/random.h"
#include "base/slice.h"

enum {
    OSCORE_MASTER_BYTES = 16,
    OSCORE_SALT_BYTES = 8,
    OSCORE_KID_MIN = 2, /* so that it never is OSCORE_OUR_ID */
    OSCORE_KID_MAX = 7, /* SPEC: RFC8613 3.3: what the nonce has room for */
    OSCORE_OUR_ID = 0,  /* one byte */
    OSCORE_SECRET_BYTES = OSCORE_MASTER_BYTES + OSCORE_SALT_BYTES + OSCORE_KID_MAX
};

struct oscore_kid {
    uint8_t n;
    uint8_t bytes[OSCORE_KID_MAX];
};

/* Secret: wipe it. */
struct oscore_secret {
    uint8_t secret[OSCORE_MASTER_BYTES], salt[OSCORE_SALT_BYTES];
    struct oscore_kid kid;
};

/* oscore_secret_generate - with a kid of kid_n random bytes (OSCORE_KID_MIN..OSCORE_KID_MAX): it
 * travels in every request, so a short one that nobody has is the best. */
void oscore_secret_generate(const struct random_source *random, size_t kid_n,
                            struct oscore_secret *ret);
void oscore_secret_wipe(struct oscore_secret *s);

/* oscore_secret_write - master secret, salt, kid, one behind the other; gives how many bytes. */
size_t oscore_secret_write(const struct oscore_secret *s, uint8_t dst[OSCORE_SECRET_BYTES]);
/* oscore_secret_read - ERR_MALFORMED: not of such a length. */
MUST_USE enum err oscore_secret_read(struct slice bytes, struct oscore_secret *ret);

bool oscore_kid_ok(struct slice kid);

static inline struct slice oscore_kid_slice(const struct oscore_kid *k)
{
    return slice_of(k->bytes, k->n);
}

#endif

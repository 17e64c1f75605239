/*
 * secret_ages - how old shared secrets may get: pre-shared keys, OSCORE contexts, passwords. A
 * certificate says its own end.
 */
#ifndef SERVICE_DIRECTORY_SECRET_AGES_H
#define SERVICE_DIRECTORY_SECRET_AGES_H

#include "service/directory/credential.h"

enum secret_age { SECRET_AGE_PSK, SECRET_AGE_OSCORE, SECRET_AGE_PASSWORD, SECRET_AGES };

/* In seconds; 0: no bound. */
struct secret_ages {
    uint32_t report_s[SECRET_AGES]; /* from then on somebody is told */
    uint32_t refuse_s[SECRET_AGES]; /* from then on it opens nothing */
    uint32_t wait_s;                /* the one before a rotation waits for its successor's use */
};

#define SECRET_AGE_REPORT_S (365U * 86400U)
#define SECRET_WAIT_S       (90U * 86400U)

/* credential_is_secret - shared with the device, not a certificate. */
bool credential_is_secret(const struct credential *c);
/* secret_refused_at - the first moment at which it is refused: its own end, or that of its age;
 * CREDENTIAL_NEVER. */
int64_t secret_refused_at(const struct secret_ages *a, const struct credential *c);
/* secret_reported_at - the same for the age at which it is reported; CREDENTIAL_NEVER for a
 * certificate. */
int64_t secret_reported_at(const struct secret_ages *a, const struct credential *c);
/* secret_waits_until - until when the one before waits for a rotation of now. */
int64_t secret_waits_until(const struct secret_ages *a, int64_t now_wall_ms);

#endif

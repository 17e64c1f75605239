/* credential_private - how the writer makes credentials. */
#ifndef SERVICE_DIRECTORY_CREDENTIAL_PRIVATE_H
#define SERVICE_DIRECTORY_CREDENTIAL_PRIVATE_H

#include "base/random.h"
#include "base/scope.h"
#include "service/directory/credential.h"

/* credential_guard_new - a fresh random secret under which PSKs lie in memory. ERR_NOMEM. */
MUST_USE enum err credential_guard_new(const struct random_source *random,
                                       const struct credential_guard **ret);
const struct credential_guard *credential_guard_ref(const struct credential_guard *g);
const struct credential_guard *credential_guard_unref(const struct credential_guard *g);

/* credential_set_psk - hides key (at most PSK_KEY_MAX bytes) in c; shares guard. The mask comes
 * from the id, which no two keys share. ERR_TOO_LARGE, ERR_CRYPTO. */
MUST_USE enum err credential_set_psk(struct credential *c, const struct credential_guard *guard,
                                     struct slice key);

/* credential_set_oscore - the same with what a context is made of. ERR_CRYPTO. */
MUST_USE enum err credential_set_oscore(struct credential *c, const struct credential_guard *guard,
                                        const struct oscore_secret *s);

/* credential_new - zeroed, one reference, expires never. NULL: no memory. */
struct credential *credential_new(uint64_t id, enum credential_kind kind, int64_t created_wall_ms);
/* credential_until - the same credential with another end, waiting for nobody. ERR_NOMEM. */
MUST_USE enum err credential_until(const struct credential *c, int64_t expires_wall_ms,
                                   const struct credential **ret);

/* credential_confirmed - the same with its own end. ERR_NOMEM. */
MUST_USE enum err credential_confirmed(const struct credential *c, const struct credential **ret);
/* credential_taken_back - the same certificate, revoked now (> 0). ERR_NOMEM. */
MUST_USE enum err credential_taken_back(const struct credential *c, unsigned reason,
                                        int64_t now_wall_ms, const struct credential **ret);

/* credential_kept - the writer saved this time of last use. */
void credential_kept(const struct credential *c, int64_t used_wall_ms);

static inline void credential_guard_autofree(const struct credential_guard **g)
{
    *g = credential_guard_unref(*g);
}

static inline void credential_autofree(struct credential **c)
{
    (void)credential_unref(*c);
}

#endif

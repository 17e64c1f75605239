/* credential_private - how the writer makes credentials. */
#ifndef SERVICE_DIRECTORY_CREDENTIAL_PRIVATE_H
#define SERVICE_DIRECTORY_CREDENTIAL_PRIVATE_H

#include "base/scope.h"
#include "service/directory/credential.h"

/* credential_new - zeroed, one reference, expires never. NULL: no memory. */
struct credential *credential_new(uint64_t id, enum credential_kind kind, int64_t created_wall_ms);
/* credential_until - the same credential with another end. ERR_NOMEM. */
MUST_USE enum err credential_until(const struct credential *c, int64_t expires_wall_ms,
                                   const struct credential **ret);

static inline void credential_autofree(struct credential **c)
{
    (void)credential_unref(*c);
}

#endif

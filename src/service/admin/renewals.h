/* renewals - the requests for new certificates that are with the service thread. */
#ifndef SERVICE_ADMIN_RENEWALS_H
#define SERVICE_ADMIN_RENEWALS_H

#include <stdint.h>

#include "base/err.h"
#include "base/scope.h"

struct admin;
struct renewals;

/* renewals_new - ERR_NOMEM. */
MUST_USE enum err renewals_new(struct renewals **ret);
struct renewals *renewals_free(struct renewals *r);
/* admin_renew - decides what came, some at a time, and tells what the workers know of. Returns when
 * it wants to be called again. */
uint64_t admin_renew(struct admin *a, uint64_t now_ms);

/* renewals_grace_s - renewal_grace, as of now. */
uint32_t renewals_grace_s(const struct admin *a);

struct directory_entry;
struct credential;
/* renewals_until - c, of this entry, is a certificate that has ended and may still be renewed,
 * until then; 0: it is not. */
int64_t renewals_until(const struct admin *a, const struct directory_entry *e,
                       const struct credential *c, int64_t now_wall_ms);

#endif

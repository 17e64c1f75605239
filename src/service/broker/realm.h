/*
 * realm - all that a decision stands on, at one epoch: the directory's version and the policy in
 * force. Immutable, shared by reference; the service thread makes a new one for every change and
 * gives it to every worker (docs/ORDER.md, rule 10).
 */
#ifndef SERVICE_BROKER_REALM_H
#define SERVICE_BROKER_REALM_H

#include <stdatomic.h>

#include "core/policy.h"
#include "security/crypto/crl.h"
#include "security/token/trust.h"
#include "service/directory/directory_version.h"

struct realm {
    atomic_uint refs;
    uint64_t
        epoch; /* of the directory; grows with every change of principals, exceptions or policy */
    const struct directory_version *directory;   /* owned reference */
    const struct policy *policy;                 /* owned reference */
    const struct trust *trust;                   /* owned reference; NULL: no tokens are taken */
    const struct crl_set *own_list, *extra_list; /* owned references; NULL: none */
};

/* realm_new - shares both. ERR_NOMEM. */
MUST_USE enum err realm_new(const struct directory_version *directory, const struct policy *policy,
                            const struct realm **ret);
/* realm_new_trusting - the same; trust may be NULL. */
MUST_USE enum err realm_new_trusting(const struct directory_version *directory,
                                     const struct policy *policy, const struct trust *trust,
                                     const struct realm **ret);
/* Lists of certificates that were taken back; borrowed. */
struct realm_lists {
    const struct crl_set *own, *extra; /* our authority's, an operator's; NULL: none */
};
/* realm_new_revoking - the same with these lists. A new list comes with a new epoch. */
MUST_USE enum err realm_new_revoking(const struct directory_version *directory,
                                     const struct policy *policy, const struct trust *trust,
                                     const struct realm_lists *lists, const struct realm **ret);
/* realm_revokes - is the certificate with this id (x509_info.id) taken back by a list? */
static inline bool realm_revokes(const struct realm *r, const struct digest *certificate)
{
    return crl_set_lists(r->own_list, certificate) || crl_set_lists(r->extra_list, certificate);
}
const struct realm *realm_ref(const struct realm *r);
const struct realm *realm_unref(const struct realm *r);

#endif

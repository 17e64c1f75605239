/*
 * late - who comes with a certificate whose time is over, all else being right: may it renew, and
 * as whom? The renewal lane (docs/decisions/0071).
 *
 * Such a client is a principal of its own, with the name, role and attributes of the device and
 * is_late: nothing of the device's sessions, budgets and messages is its, and the passage lets it
 * do nothing.
 */
#ifndef SERVICE_DIRECTORY_LATE_H
#define SERVICE_DIRECTORY_LATE_H

#include "base/why.h"
#include "service/directory/directory_version.h"

/* What the certificate says that TLS has verified, but for its end. */
struct late_claim {
    struct slice name;
    const struct digest *spki;
    const struct digest *id; /* which it is, for lists of revoked ones; not read by late_look */
    int64_t ends_wall_ms;
};

/* late_is - the certificate's time is over. */
static inline bool late_is(int64_t ends_wall_ms, int64_t now_wall_ms)
{
    return ends_wall_ms != 0 && ends_wall_ms <= now_wall_ms;
}

/*
 * late_look - may it be in the lane?
 *
 * ERR_AUTH: the key is not that principal's; ERR_DENIED: disabled or revoked (*ret_entry is written
 * then, too); ERR_EXPIRED: beyond the grace, or its credential was ended before its certificate;
 * ERR_EXISTS: a newer certificate of it has been used. *why who, what, why and the fix, but for
 * ERR_DENIED. Both are borrowed from v.
 */
MUST_USE enum err late_look(const struct directory_version *v, const struct late_claim *claim,
                            uint32_t grace_s, int64_t now_wall_ms,
                            const struct directory_entry **ret_entry,
                            const struct credential **ret_credential, struct why *why);
/* late_principal - the device of this entry in the lane; one reference. ERR_NOMEM. */
MUST_USE enum err late_principal(const struct directory_entry *entry, const struct principal **ret);
/* late_entry - of a late principal, the device's as v has it; NULL: it was removed. */
const struct directory_entry *late_entry(const struct directory_version *v,
                                         const struct principal *late);
/* late_stands - is it still there, active, and its credential neither replaced nor gone? */
bool late_stands(const struct directory_version *v, const struct principal *late,
                 uint64_t credential);

#endif

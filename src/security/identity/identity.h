/*
 * identity - which principal does a certificate name?
 *
 * The answer is a name, not a permission: the caller has verified the chain and asks the directory
 * whether this name owns this key.
 */
#ifndef SECURITY_IDENTITY_IDENTITY_H
#define SECURITY_IDENTITY_IDENTITY_H

#include "base/err.h"
#include "base/slice.h"
#include "security/crypto/x509.h"

enum { IDENTITY_NAME_MAX = 64, IDENTITY_NAME_BYTES = IDENTITY_NAME_MAX + 1 };

#define IDENTITY_URI_PREFIX "urn:sallyport:device:"

/* Which claims count, as bits. The URI comes first, then DNS, then CN. */
enum identity_rule {
    IDENTITY_URI = 1,
    IDENTITY_DNS = 2,
    IDENTITY_CN = 4,
    IDENTITY_ANY = IDENTITY_URI | IDENTITY_DNS | IDENTITY_CN
};

/* identity_name_ok - [A-Za-z0-9._-]{1,64}. */
bool identity_name_ok(struct slice name);

/*
 * identity_from_x509 - the name a leaf certificate claims
 *
 * rule  bits of enum identity_rule.
 * ret   a valid name with a NUL.
 *
 * The first kind of claim that is present decides; a bad or repeated claim is refused and never
 * falls through to the next kind. Claims of kinds outside the rule are ignored.
 * ERR_NOT_FOUND: no such claim. ERR_MALFORMED: not a valid name. ERR_LIMIT: more than one claim of
 * the deciding kind. ERR_DENIED: a CA certificate, or one whose EKU does not allow clients.
 */
MUST_USE enum err identity_from_x509(const struct x509 *x, unsigned rule,
                                     char ret[IDENTITY_NAME_BYTES]);

#endif

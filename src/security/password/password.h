/*
 * password - passwords as argon2id hashes (PHC strings).
 *
 * Two profiles. A *chosen* password is somebody's idea and gets 64 MiB and three passes. A
 * *generated* one is PASSWORD_GENERATED_PREFIX and 128 random bits, which nobody guesses, so 256
 * KiB and one pass keep a fleet's return after a restart short. The profile is taken from the
 * presented string, never from the stored hash: what a login costs tells nothing about who exists.
 */
#ifndef SECURITY_PASSWORD_PASSWORD_H
#define SECURITY_PASSWORD_PASSWORD_H

#include "base/err.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/why.h"

#define PASSWORD_GENERATED_PREFIX "sp1_"

enum {
    PASSWORD_CHOSEN_MIN = 12,
    PASSWORD_MAX = 256,            /* longer ones are refused before any work */
    PASSWORD_GENERATED_BYTES = 31, /* sp1_ + 26 base32 characters + NUL */
    PASSWORD_PHC_BYTES = 128,      /* room for a PHC string and its NUL */
    PASSWORD_HASHES_MAX = 2        /* old and new during a rotation */
};

/* password_prepare - once, before a sandbox closes: the library finds its source of randomness.
 * ERR_CRYPTO. */
MUST_USE enum err password_prepare(void);

enum password_profile { PASSWORD_CHOSEN, PASSWORD_GENERATED };

/* password_profile_of - GENERATED only for the exact form that password_generate makes. O(n). */
enum password_profile password_profile_of(struct slice presented);

/* password_generate - PASSWORD_GENERATED_PREFIX and 128 bits in base32. The caller wipes it. */
void password_generate(const struct random_source *random, char ret[PASSWORD_GENERATED_BYTES]);

/* password_check_new - may `name` use this password from now on? ERR_DENIED with *why (may be
 * NULL): shorter than 12 characters, well known, made of the name, or too uniform; ERR_TOO_LARGE;
 * ERR_UTF8: holds control characters. */
MUST_USE enum err password_check_new(struct slice password, struct slice name, struct why *why);

/* password_hash - a PHC string of the password's own profile, random salt. ERR_NOMEM: argon2id got
 * no memory; ERR_TOO_LARGE. Costs up to 80 ms and 64 MiB: never on a worker. */
MUST_USE enum err password_hash(struct slice password, char ret[PASSWORD_PHC_BYTES]);

/*
 * password_verify - does the presented password match one of these hashes?
 *
 * phc     n (0..PASSWORD_HASHES_MAX) PHC strings, borrowed; 0 for somebody unknown.
 * ret_at  which of them; may be NULL.
 *
 * Hashes of the other profile are passed over; hashes of nobody are computed in place of those that
 * are missing, so unknown, wrong and right cost the same, in a rotation too. ERR_AUTH: no.
 * ERR_NOMEM: could not tell, so no. ERR_TOO_LARGE. Costs PASSWORD_HASHES_MAX times password_hash.
 */
MUST_USE enum err password_verify(struct slice presented, const char *const *phc, size_t n,
                                  size_t *ret_at);

/* password_phc_ok - a PHC string that password_hash could have made: argon2id, version 19, the
 * costs of one of the two profiles, nothing else. For files: a foreign hash never decides what a
 * login costs. */
bool password_phc_ok(struct slice phc, enum password_profile *ret);

#endif

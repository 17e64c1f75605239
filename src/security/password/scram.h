/*
 * scram - SCRAM-SHA-256, the server's side: a login by password in which the password never leaves
 * the client, and what we keep of it is not enough to log in.
 *
 * Three messages: the client's first (name, nonce), our challenge (nonce, salt, iterations), the
 * client's proof; our answer to it proves that we know the password's image. No I/O, no clock. The
 * passwords are generated ones (password_generate), so few iterations are enough.
 *
 * Unknown names are answered as known ones: the salt of a name is a keyed function of it, the same
 * before, while and after it exists, and the same work is done for the proof.
 *
 * Channel binding is not there (docs/decisions/0036): a client that insists on it is refused, `y`
 * and `n` are taken.
 */
#ifndef SECURITY_PASSWORD_SCRAM_H
#define SECURITY_PASSWORD_SCRAM_H

#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/slice.h"
#include "base/wr.h"
#include "security/crypto/digest.h"

#define SCRAM_METHOD "SCRAM-SHA-256"

enum {
    SCRAM_SALT_BYTES = 16,
    SCRAM_ITERATIONS = 4096, /* SPEC: RFC7677 4, at least so many */
    SCRAM_ITERATIONS_MAX = 1000000,
    SCRAM_KEYS_MAX = 2,      /* old and new during a rotation */
    SCRAM_MESSAGE_MAX = 512, /* of the client's */
    SCRAM_ANSWER_MAX = 512,  /* of ours; room for any */
    SCRAM_NAME_MAX = 64,
    SCRAM_NONCE_MIN = 8, /* the client's */
    SCRAM_NONCE_MAX = 128,
    SCRAM_NONCE_CHARS = 24 /* that scram_nonce makes, 144 bits */
};

/* What is kept of a password. */
struct scram_keys {
    struct digest stored_key, server_key;
};

struct scram_salt {
    uint8_t bytes[SCRAM_SALT_BYTES];
    uint32_t iterations;
};

/* scram_salt_of - the salt of a name, existing or not, under a key of this installation. Two
 * passwords of one name share it, which is what lets old and new work during a rotation.
 * ERR_CRYPTO.
 */
MUST_USE enum err scram_salt_of(struct slice key, struct slice name, struct scram_salt *ret);
/* scram_make - the keys of a password. It is 1 or more printable ASCII characters, so that it needs
 * no preparation: else ERR_MALFORMED. ERR_CRYPTO. Costs salt->iterations hashes, some 2 ms.
 * SPEC: RFC5802 3. */
MUST_USE enum err scram_make(struct slice password, const struct scram_salt *salt,
                             struct scram_keys *ret);
/* scram_nonce - our part of the nonce. */
void scram_nonce(const struct random_source *random, uint8_t ret[SCRAM_NONCE_CHARS]);

struct scram; /* one login */

/* scram_new - reads the client's first message. ERR_MALFORMED, ERR_TOO_LARGE (SCRAM_MESSAGE_MAX,
 * SCRAM_NONCE_MAX), ERR_UNSUPPORTED: channel binding, an extension that must be understood;
 * ERR_DENIED: it wants to act for another name than its own; ERR_NOMEM. SPEC: RFC5802 5.1, 7. */
MUST_USE enum err scram_new(struct slice client_first, struct scram **ret);
struct scram *scram_free(struct scram *s);
AUTOFREE(scram, scram_free)
/* scram_name - who it says it is; borrowed. Empty when that cannot be anybody's name here: go on as
 * with any other unknown one. */
const char *scram_name(const struct scram *s);

/*
 * scram_challenge - writes our first message
 *
 * salt   the name's.
 * keys   n (0..SCRAM_KEYS_MAX) of its passwords; copied. 0 for somebody unknown.
 * nonce  our part, printable ASCII without a comma; from scram_nonce.
 * Called once. ERR_SPACE: w has no room (SCRAM_ANSWER_MAX is enough). SPEC: RFC5802 5.1.
 */
MUST_USE enum err scram_challenge(struct scram *s, const struct scram_salt *salt,
                                  const struct scram_keys *keys, size_t n, struct slice nonce,
                                  struct wr *w);
/*
 * scram_finish - checks the client's proof and writes our last message
 *
 * ret_at  which of the keys; may be NULL.
 * After scram_challenge, once. ERR_AUTH: unknown or wrong, at the same cost; ERR_MALFORMED,
 * ERR_TOO_LARGE, ERR_SPACE, ERR_CRYPTO. Whatever it gives, this login is over. SPEC: RFC5802
 * 3, 5.1.
 */
MUST_USE enum err scram_finish(struct scram *s, struct slice client_final, size_t *ret_at,
                               struct wr *w);

#endif

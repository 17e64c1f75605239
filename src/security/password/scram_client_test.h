/* scram_client_test - the client's side of a login by SCRAM-SHA-256, for tests only. */
#ifndef SECURITY_PASSWORD_SCRAM_CLIENT_TEST_H
#define SECURITY_PASSWORD_SCRAM_CLIENT_TEST_H

#include <assert.h>
#include <stdio.h>

#include "base/base64.h"
#include "security/crypto/kdf.h"
#include "security/password/scram.h"

static inline void scram_client_must(enum err err)
{
    assert(err == OK);
    (void)err;
}

static inline void scram_client_first(const char *name, char dst[SCRAM_MESSAGE_MAX])
{
    (void)snprintf(dst, SCRAM_MESSAGE_MAX, "n,,n=%s,r=12345678", name);
}

/* The answer to a challenge, by who knows this password. */
static inline void scram_client_final(const char *name, const struct scram_salt *salt,
                                      struct slice password, struct slice challenge,
                                      char dst[SCRAM_MESSAGE_MAX])
{
    char text[2 * SCRAM_MESSAGE_MAX];
    struct digest salted, client_key, stored_key, signature;
    struct slice rest = challenge;
    bool more;
    struct slice nonce = slice_cut(&rest, ',', &more);
    scram_client_must(kdf_pbkdf2(password, slice_of(salt->bytes, sizeof salt->bytes),
                                 salt->iterations, salted.bytes, sizeof salted.bytes));
    scram_client_must(digest_hmac(digest_slice(&salted), slice_text("Client Key"), &client_key));
    scram_client_must(digest_sha256(digest_slice(&client_key), &stored_key));
    (void)snprintf(text, sizeof text, "n=%s,r=12345678,%.*s,c=biws,%.*s", name,
                   SLICE_ARG(challenge), SLICE_ARG(nonce));
    scram_client_must(digest_hmac(digest_slice(&stored_key), slice_text(text), &signature));
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        client_key.bytes[i] ^= signature.bytes[i];
    }
    struct wr w = wr_into(dst, SCRAM_MESSAGE_MAX - 1);
    wr_bytes(&w, slice_text("c=biws,"));
    wr_bytes(&w, nonce);
    wr_bytes(&w, slice_text(",p="));
    base64_encode(BASE64_PADDED, digest_slice(&client_key), &w);
    dst[wr_slice(&w).n] = '\0';
}

#endif

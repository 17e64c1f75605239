/*
 * oscore_context - what two OSCORE peers share: keys derived from one master secret, nonces, and
 * the data that ties an answer to its request. Values without I/O, clock or heap.
 *
 * AES-CCM-16-64-128 and HKDF-SHA-256 alone: what RFC 8613 makes mandatory. SPEC: RFC8613 3, 5.
 */
#ifndef ENGINE_OSCORE_CONTEXT_H
#define ENGINE_OSCORE_CONTEXT_H

#include "security/crypto/ccm.h"
#include "wire/coap/oscore.h"

enum {
    OSCORE_ID_MAX = CCM_NONCE_BYTES - 6, /* SPEC: RFC8613 3.3: bytes of a sender or recipient ID */
    OSCORE_ID_CONTEXT_MAX = 64,
    OSCORE_SECRET_MIN = 16,
    OSCORE_SECRET_MAX = 64,
    OSCORE_SALT_MAX = 64,
    OSCORE_AAD_MAX = 64 /* bytes of the additional data that a request has */
};

/* What both sides were given. All borrowed. */
struct oscore_material {
    struct slice secret, salt; /* salt may be empty */
    struct slice sender_id, recipient_id;
    bool has_id_context;
    struct slice id_context;
};

struct oscore_id {
    uint8_t n;
    uint8_t bytes[OSCORE_ID_MAX];
};

/* One side's view; the other side has sender and recipient exchanged. Secret: wipe it. */
struct oscore_keys {
    uint8_t sender_key[CCM_KEY_BYTES], recipient_key[CCM_KEY_BYTES];
    uint8_t common_iv[CCM_NONCE_BYTES];
    struct oscore_id sender, recipient;
};

/* oscore_keys_derive - ERR_TOO_LARGE: a part over its bound; ERR_DENIED: a secret under
 * OSCORE_SECRET_MIN, or both ids the same, which would give both sides one key; ERR_CRYPTO. Three
 * HKDF: some ten microseconds. SPEC: RFC8613 3.2, 3.3. */
MUST_USE enum err oscore_keys_derive(const struct oscore_material *m, struct oscore_keys *ret);
void oscore_keys_wipe(struct oscore_keys *k);

/* The request that an answer belongs to: whose number it bears. The same on both sides. */
struct oscore_binding {
    uint64_t piv;
    struct oscore_id kid;
};

/* oscore_nonce - of the number `piv` of whoever has this id. SPEC: RFC8613 5.2. */
void oscore_nonce(const struct oscore_keys *k, const struct oscore_id *id, uint64_t piv,
                  uint8_t dst[CCM_NONCE_BYTES]);
/* oscore_aad - what is authenticated beside a request's or its answers' text; borrows from dst.
 * SPEC: RFC8613 5.4. */
struct slice oscore_aad(const struct oscore_binding *b, uint8_t dst[OSCORE_AAD_MAX]);

static inline struct slice oscore_id_slice(const struct oscore_id *id)
{
    return slice_of(id->bytes, id->n);
}

/* ---- the replay window ---- */

enum { OSCORE_WINDOW = 32 }; /* SPEC: RFC8613 3.2.2 */

/* Which numbers of the other side were taken. Zeroed: nothing is known, and nothing passes. */
struct oscore_window {
    uint64_t highest;
    uint32_t seen; /* bit i: highest - i was taken */
    bool is_known;
};

/* oscore_window_open - everything up to `piv` counts as taken from now on. */
void oscore_window_open(struct oscore_window *w, uint64_t piv);
/* oscore_window_is_fresh - not taken and not left of the window; changes nothing. */
bool oscore_window_is_fresh(const struct oscore_window *w, uint64_t piv);
/* oscore_window_take - takes it when it is fresh and says whether it was. In one step, and only
 * after the message has proven to be its sender's. */
MUST_USE bool oscore_window_take(struct oscore_window *w, uint64_t piv);

#endif

/*
 * dtls_record - records of DTLS 1.2 under keys that a handshake has agreed on, without a library's
 * session: reading and sealing them, and the window that drops what came before.
 *
 * Epoch 1 alone, as nobody renegotiates. Pure but for the cipher. SPEC: RFC6347 4.1, RFC5288 3,
 * RFC6655 3.
 */
#ifndef NET_DTLS_RECORD_H
#define NET_DTLS_RECORD_H

#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/prf.h"
#include "security/crypto/record_aead.h"

enum dtls_content {
    DTLS_CHANGE_CIPHER = 20, /* SPEC: RFC5246 6.2.1 */
    DTLS_ALERT = 21,
    DTLS_HANDSHAKE = 22,
    DTLS_APPLICATION = 23
};

enum dtls_handshake {
    DTLS_CLIENT_HELLO = 1, /* SPEC: RFC5246 7.4 */
    DTLS_NEW_TICKET = 4,
    DTLS_FINISHED = 20
};

enum {
    DTLS_VERSION = 0xfefd,
    DTLS_HEADER_BYTES = 13,
    DTLS_EXPLICIT_BYTES = 8, /* of the nonce, in front of the sealed text */
    DTLS_SALT_BYTES = 4,     /* of the nonce, never sent */
    DTLS_RANDOM_BYTES = 32,
    DTLS_MASTER_BYTES = 48,
    DTLS_WINDOW = 64
};

#define DTLS_NUMBER_MAX ((UINT64_C(1) << 48) - 1) /* of a record; no nonce comes after it */

struct dtls_record {
    uint8_t type; /* enum dtls_content, or nothing known */
    uint16_t version, epoch;
    uint64_t number;
    struct slice body;
};

/* dtls_record_read - the next record of a datagram; borrows. False: there is no whole one left. */
bool dtls_record_read(struct rd *r, struct dtls_record *ret);

/* Which numbers were taken. Zeroed: none, and the first may be any. */
struct dtls_window {
    uint64_t highest;
    uint64_t seen; /* bit i: highest - i was taken */
};

/* dtls_window_is_fresh - not taken, and not left of the window. */
bool dtls_window_is_fresh(const struct dtls_window *w, uint64_t number);
/* dtls_window_take - it is taken from now on. Only for one that is fresh, and whose record has
 * proven to be the peer's. SPEC: RFC6347 4.1.2.6. */
void dtls_window_take(struct dtls_window *w, uint64_t number);

/* What one side seals by. */
struct dtls_side {
    uint8_t key[RECORD_AEAD_KEY_BYTES];
    uint8_t salt[DTLS_SALT_BYTES];
};

struct dtls_keys {
    struct dtls_side client, server;
};

/* dtls_keys_make - out of what the handshake agreed on; the randoms have DTLS_RANDOM_BYTES each.
 * ERR_CRYPTO. SPEC: RFC5246 6.3. */
MUST_USE enum err dtls_keys_make(struct prf *prf, struct slice master, struct slice client_random,
                                 struct slice server_random, struct dtls_keys *ret);

/* dtls_record_seal - one record of epoch 1 behind what w has. plain has at least one byte; a number
 * is never given twice. ERR_SPACE, ERR_CRYPTO. */
MUST_USE enum err dtls_record_seal(struct record_aead *a, enum record_suite suite,
                                   const struct dtls_side *side, uint8_t type, uint64_t number,
                                   struct slice plain, struct wr *w);

/*
 * dtls_record_open - what a record of epoch 1 says
 *
 * dst  cap bytes; *ret_plain borrows from there. Wiped where the record is not the peer's.
 * ERR_CRYPTO: not sealed by side, or no record of epoch 1. ERR_SPACE: longer than cap.
 * ERR_TRUNCATED: too short to have been sealed.
 */
MUST_USE enum err dtls_record_open(struct record_aead *a, enum record_suite suite,
                                   const struct dtls_side *side, const struct dtls_record *record,
                                   uint8_t *dst, size_t cap, struct slice *ret_plain);

#endif

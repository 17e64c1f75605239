/*
 * dtls_taken - an open association whose records are ours: the keys of a handshake that OpenSSL has
 * done, the numbers where it left off, and the last flight for a peer that has not heard it.
 *
 * What it costs is this struct and, until the peer's first words, some hundred bytes of flight.
 * SPEC: RFC6347 4.1.2.6, 4.2.4.
 */
#ifndef NET_DTLS_TAKEN_H
#define NET_DTLS_TAKEN_H

#include <openssl/ssl.h>

#include "base/buf.h"
#include "net/dtls_record.h"

enum {
    DTLS_SENT_MAX = 8192, /* bytes of one flight; longer ones are not kept */
    DTLS_HEARD = 4,
    DTLS_HEARD_BYTES = 64,   /* a sealed Finished has at most 61 */
    DTLS_ANSWER_MS = 1000,   /* a peer's repeated Finished is answered once in so long */
    DTLS_FLIGHT_MS = 240000, /* twice the life of a segment. SPEC: RFC6347 4.2.4, RFC793 3.3 */
    DTLS_ALERT_BYTES = 2
};

enum dtls_alert {
    DTLS_ALERT_WARNING = 1, /* SPEC: RFC5246 7.2 */
    DTLS_ALERT_FATAL = 2,
    DTLS_ALERT_CLOSE = 0,
    DTLS_ALERT_NO_RENEGOTIATION = 100
};

/* What left of a server's handshake: read off the headers that its BIO saw. Zeroed: nothing yet. */
struct dtls_sent {
    uint64_t next[2];    /* behind the highest number that left, of epochs 0 and 1 */
    struct buf flight;   /* the records of the newest flight, one behind the other */
    bool begins, broken; /* the next datagram begins a flight; not all of this one is kept */
};

/* dtls_sent_next - what leaves from here on is another flight than what left before. */
void dtls_sent_next(struct dtls_sent *s);
void dtls_sent_note(struct dtls_sent *s, struct slice datagram);

/* What came sealed before the handshake was done: one of them is the peer's Finished, and anybody
 * can send the others. Zeroed: nothing yet. */
struct dtls_heard {
    uint8_t n_bytes[DTLS_HEARD], next;
    uint8_t bytes[DTLS_HEARD][DTLS_HEARD_BYTES];
};

void dtls_heard_note(struct dtls_heard *h, struct slice datagram);

struct dtls_flight;

struct dtls_taken {
    struct dtls_keys keys;
    struct dtls_window window;  /* of the peer's numbers */
    uint64_t next;              /* number of our next record */
    uint64_t answer_at_ms;      /* before it nothing of a handshake is answered */
    struct dtls_flight *flight; /* NULL: the peer has heard it, or needs none */
    uint8_t suite;              /* enum record_suite */
};

/*
 * dtls_take - takes the records of a handshake that is done, as its server
 *
 * ssl      SSL_do_handshake has said that it is over; unchanged, the caller frees it.
 * sent     everything that ssl has sent since the hello was proven.
 * ret      written on success; dtls_taken_done.
 *
 * ERR_UNSUPPORTED: the suite is not one of ours (others than AES-128 in GCM or CCM8, with SHA-256).
 * ERR_CRYPTO: the keys do not open our own Finished, or the flight was not kept. ERR_NOMEM. The
 * association goes on with ssl then.
 */
MUST_USE enum err dtls_take(struct record_aead *a, struct prf *prf, const SSL *ssl,
                            const struct dtls_sent *sent, const struct dtls_heard *heard,
                            struct dtls_taken *ret);
/* dtls_taken_done - overwrites the keys and drops the flight. */
void dtls_taken_done(struct dtls_taken *t);

/* dtls_taken_open - as dtls_record_open, and each number once: ERR_EXISTS for one that was there
 * before or is too old. Nothing changes but on success. */
MUST_USE enum err dtls_taken_open(struct dtls_taken *t, struct record_aead *a,
                                  const struct dtls_record *record, uint8_t *dst, size_t cap,
                                  struct slice *ret_plain);
/* dtls_taken_seal - as dtls_record_seal, under the next number. */
MUST_USE enum err dtls_taken_seal(struct dtls_taken *t, struct record_aead *a, uint8_t type,
                                  struct slice plain, struct wr *w);

/* dtls_taken_may_answer - at most one answer in DTLS_ANSWER_MS to what a peer says of handshakes:
 * is it time? Then the time begins anew. */
bool dtls_taken_may_answer(struct dtls_taken *t, uint64_t now_ms);

/* dtls_taken_flight - the records of the last flight from *at on, under new numbers, as many as w
 * has room for. *at begins at 0; false: nothing was left. */
bool dtls_taken_flight(struct dtls_taken *t, struct record_aead *a, size_t *at, struct wr *w);
/* dtls_taken_heard - the peer is in: no flight is needed any more. */
void dtls_taken_heard(struct dtls_taken *t);

#endif

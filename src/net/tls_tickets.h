/*
 * tls_tickets - the keys of session tickets: with one a client that comes back skips the
 * certificates and signatures of a handshake, half of its price with TLS 1.3, more with 1.2.
 *
 * A ticket holds what the client had proven (its certificate), where (the listener with its CA and
 * its own certificate) and when. It proves no more than that: it is taken only at that listener,
 * before its end and that of every certificate behind it, and who logs in by it is looked up in the
 * directory of now, as after any handshake. What is not taken costs the client a full handshake,
 * nothing else. No 0-RTT; TLS 1.3 with fresh keys each time (psk_dhe_ke); TLS 1.2 only with an
 * extended master secret. SPEC: RFC8446 4.6.1, RFC5077 4, RFC7627 5.3.
 *
 * TLS 1.2 gives its ticket in the handshake. TLS 1.3 does so when the owner of the stream says so
 * (stream_give_ticket), because sealing one is a fifth of the price of a handshake: when there is
 * time for it, only to who has logged in, and again while the connection lasts.
 *
 * One object for all listeners and all workers; a struct tls shares it, so it outlives a reload of
 * certificates. Keys are random, in locked pages, and replaced by time: the newest seals, it and
 * the former ones open. A lock of some ten nanoseconds guards them, beside a handshake's hundred
 * microseconds.
 */
#ifndef NET_TLS_TICKETS_H
#define NET_TLS_TICKETS_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/scope.h"

enum {
    TLS_TICKET_KEYS = 3,                /* the newest and those that still open */
    TLS_TICKETS_LIFE_S_MAX = 7 * 86400, /* SPEC: RFC8446 4.6.1 */
    TLS_TICKETS_ROTATE_S_MIN = 60,
    TLS_TICKETS_SAVED_MAX = 1 + TLS_TICKET_KEYS * (16 + 8 + 64)
};

struct tls_tickets;

struct tls_tickets_setup {
    uint32_t life_s; /* 1..TLS_TICKETS_LIFE_S_MAX, counted from the full handshake */
    struct clock clock;
    struct random_source random;
};

/* tls_tickets_new - with one fresh key; gives. ERR_CONFIG: life_s; ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err tls_tickets_new(const struct tls_tickets_setup *s, struct tls_tickets **ret);
/* tls_tickets_ref - one more owner; any thread. */
struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);
struct tls_tickets *tls_tickets_free(struct tls_tickets *t);
AUTOFREE(tls_tickets, tls_tickets_free)

/* tls_tickets_rotate - when the newest key has sealed for half a life (or is from the future), a
 * fresh one takes its place; keys that open nothing any more are wiped. *ret_changed: the saved
 * keys are out of date. ERR_NOMEM: nothing changed, try again. Any thread. */
MUST_USE enum err tls_tickets_rotate(struct tls_tickets *t, bool *ret_changed);

/* tls_tickets_save - appends the keys (secret: wipe it), at most TLS_TICKETS_SAVED_MAX. ERR_NOMEM.
 */
MUST_USE enum err tls_tickets_save(struct tls_tickets *t, struct buf *ret);
/* tls_tickets_load - takes saved keys in place of its own, but for those that open nothing any
 * more. ERR_MALFORMED, ERR_NOMEM: nothing changed. */
MUST_USE enum err tls_tickets_load(struct tls_tickets *t, struct slice saved);

/* tls_tickets_open - is it a ticket that one of the keys has sealed? Whoever presents it may be
 * another, and it may not be taken. Some microseconds. */
bool tls_tickets_open(struct tls_tickets *t, struct slice ticket);

#endif

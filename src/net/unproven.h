/*
 * unproven - what may leave to an address that has not proven itself: at most UNPROVEN_TIMES the
 * bytes of the datagram that it is about, and every byte is counted.
 *
 * A server of datagrams has one account. It opens it with each datagram of such an address, and
 * asks it before each datagram that leaves to one: whatever the code above it wants to say, more
 * than that is withheld. Who writes a false source address on its datagrams has a server answer to
 * somebody else; so the bound holds for every single one, not for their sum.
 * SPEC: RFC9175 2.4, 2.6; RFC6347 4.2.1
 */
#ifndef NET_UNPROVEN_H
#define NET_UNPROVEN_H

#include "engine/coap_endpoint.h"

enum { UNPROVEN_TIMES = 3, UNPROVEN_PER_MILLE = 1000 };

struct unproven {
    struct coap_counters *counters; /* borrowed for life; NULL: nobody counts */
    size_t heard_bytes, said_bytes; /* of the datagram that the account is open for */
};

/* unproven_open - n bytes came from an unproven address. O(1), as the other one. */
void unproven_open(struct unproven *u, size_t n);
/* unproven_reopen - what is said now is about n bytes that were counted when they came. */
void unproven_reopen(struct unproven *u, size_t n);
/* unproven_may_say - may n bytes leave about it? Counted either way. */
bool unproven_may_say(struct unproven *u, size_t n);
/* unproven_close - nothing more leaves about it. */
void unproven_close(struct unproven *u);

#endif

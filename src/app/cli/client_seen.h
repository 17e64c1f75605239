/*
 * client_seen - which numbers of one sender one receiver has seen: finds what comes twice and what
 * comes late, in one word of memory. What never comes is for the caller to count.
 */
#ifndef APP_CLI_CLIENT_SEEN_H
#define APP_CLI_CLIENT_SEEN_H

#include <stdint.h>

enum { SEEN_BITS = 64 };

/* { 0 } has seen nothing. */
struct seen {
    uint64_t next; /* the highest number and one */
    uint64_t bits; /* of the last SEEN_BITS numbers below next, lowest bit the highest */
};

enum seen_verdict {
    SEEN_NEW,  /* higher than all before; may leave a gap, which is loss or order */
    SEEN_LATE, /* the first time, behind a higher one: out of order */
    SEEN_AGAIN /* a second time; also what is more than SEEN_BITS behind */
};

enum seen_verdict seen_count(struct seen *s, uint64_t number);

#endif

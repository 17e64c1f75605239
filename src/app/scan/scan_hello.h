/*
 * scan_hello - a ClientHello made by hand, of TLS and DTLS, and what a server answers to it.
 *
 * By hand, because a server that still takes RC4 or SSL 3 is only found by asking for them, and no
 * library of today does. Nothing follows the hello: the connection ends with the answer. SPEC:
 * RFC5246 7.4.1, RFC8446 4.1, RFC6347 4.2.
 */
#ifndef APP_SCAN_SCAN_HELLO_H
#define APP_SCAN_SCAN_HELLO_H

#include "base/random.h"
#include "base/rd.h"
#include "base/wr.h"

enum {
    SCAN_HELLO_BYTES = 1024,               /* room for every hello of ours */
    SCAN_HELLO_ANSWER_MAX = 5 + 16 * 1024, /* of an answer, more is none of a ServerHello */
    SCAN_TLS10 = 0x0301,
    SCAN_TLS11,
    SCAN_TLS12,
    SCAN_TLS13,
    SCAN_DTLS12 = 0xfefd
};

struct scan_hello {
    uint16_t version; /* the newest that is offered, and the only one of 1.3 */
    const uint16_t *suites;
    size_t n_suites;
    const char *host; /* the name asked for; NULL: none */
};

/* scan_hello_encode - one record. The writer's error sticks. */
MUST_USE enum err scan_hello_encode(const struct scan_hello *h, const struct random_source *random,
                                    struct wr *w);

enum scan_hello_kind {
    SCAN_HELLO_SERVER, /* it goes on: version and suite */
    SCAN_HELLO_VERIFY, /* DTLS: a cookie first */
    SCAN_HELLO_ALERT   /* it does not: alert */
};

struct scan_hello_answer {
    enum scan_hello_kind kind;
    uint16_t version, suite;
    uint8_t alert;
};

/* scan_hello_decode - the first record of what came. ERR_AGAIN: it is not whole yet. ERR_MALFORMED,
 * ERR_TRUNCATED, ERR_TOO_LARGE: this is no TLS (no DTLS). O(bytes). */
MUST_USE enum err scan_hello_decode(struct slice bytes, bool is_dtls,
                                    struct scan_hello_answer *ret);

#endif

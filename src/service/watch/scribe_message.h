/*
 * scribe_message - what the broker and the scribe say to each other, one datagram each, in network
 * byte order.
 *
 *   broker -> scribe   HELLO    u8, run u64, first u64: the number of the oldest line it still has
 *                      APPEND   u8, run u64, first u64, n u16, n times: line (u16 and bytes)
 *                      ANCHOR, ROLL_KEY, FLUSH   u8, id u32
 *   scribe -> broker   WELCOME, BEGUN  u8, run u64, last u64
 *                      ACK      u8, run u64, last u64, code u8
 *                      REFUSED  u8, run u64, last u64
 *                      DONE     u8, id u32, code u8, text (u16 and bytes): an anchor, or nothing
 *
 * A run is one life of a broker; it counts its lines from 1. `last` is the last line of the run
 * that is in the trail: what was not acknowledged is sent again from there, and the scribe passes
 * over what it has. `code` is an enum err as a number.
 */
#ifndef SERVICE_WATCH_SCRIBE_MESSAGE_H
#define SERVICE_WATCH_SCRIBE_MESSAGE_H

#include "base/rd.h"
#include "base/wr.h"
#include "service/watch/anchor.h"
#include "service/watch/trail.h"

enum {
    SCRIBE_DATAGRAM_MAX = 32 * 1024,
    SCRIBE_LINES_MAX = 256, /* of one APPEND */
    SCRIBE_APPEND_HEAD_BYTES = 1 + 8 + 8 + 2
};

enum scribe_type {
    SCRIBE_HELLO = 1,
    SCRIBE_APPEND,
    SCRIBE_ANCHOR,
    SCRIBE_ROLL_KEY,
    SCRIBE_FLUSH, /* synced when it is answered */
    SCRIBE_WELCOME = 65,
    SCRIBE_ACK,
    SCRIBE_REFUSED, /* this run, or the number it began at, is not taken */
    SCRIBE_DONE,
    SCRIBE_BEGUN /* a scribe has come, unasked */
};

struct scribe_request {
    enum scribe_type type;
    uint64_t run;       /* not 0 */
    uint64_t first;     /* of HELLO and APPEND, not 0 */
    unsigned n;         /* lines, 1..SCRIBE_LINES_MAX */
    struct slice lines; /* borrowed; every one has been measured: scribe_next_line */
    uint32_t id;
};

struct scribe_answer {
    enum scribe_type type;
    uint64_t run, last;
    uint32_t id;
    enum err code;
    struct slice text; /* borrowed, at most ANCHOR_BYTES_MAX */
};

/* scribe_request_encode - into dst; of APPEND what scribe_append_begin and _line write. ERR_SPACE.
 */
MUST_USE enum err scribe_request_encode(const struct scribe_request *q, void *dst, size_t cap,
                                        size_t *ret_n);
/* scribe_request_decode - the whole of bytes; ret->lines borrows. ERR_TRUNCATED, ERR_TRAILING,
 * ERR_MALFORMED, ERR_LIMIT. */
MUST_USE enum err scribe_request_decode(struct slice bytes, struct scribe_request *ret);
/* scribe_next_line - takes the next of the lines of a request that was decoded. */
struct slice scribe_next_line(struct rd *lines);

MUST_USE enum err scribe_answer_encode(const struct scribe_answer *a, void *dst, size_t cap,
                                       size_t *ret_n);
/* scribe_answer_decode - as scribe_request_decode. */
MUST_USE enum err scribe_answer_decode(struct slice bytes, struct scribe_answer *ret);

#endif

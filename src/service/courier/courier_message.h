/*
 * courier_message - what the courier's process tells the broker: how each sink stands, and what
 * became of it. Typed, binary, decoded by cursors; one datagram of a SOCK_SEQPACKET pair each. The
 * broker says nothing back.
 */
#ifndef SERVICE_COURIER_COURIER_MESSAGE_H
#define SERVICE_COURIER_COURIER_MESSAGE_H

#include "service/courier/courier.h"

enum { COURIER_MESSAGE_BYTES_MAX = 512 };

enum courier_message_type {
    COURIER_STATE = 1, /* numbers; text: the last failure, or empty */
    COURIER_REPORT     /* news, n, text */
};

struct courier_message {
    enum courier_message_type type;
    uint32_t edition; /* which courier says so: its numbers begin at 0 */
    char sink[COURIER_NAME_BYTES];
    struct courier_numbers numbers;
    enum courier_news news; /* never COURIER_SILENT: that is the broker's to find */
    uint64_t n;
    char text[COURIER_TEXT_BYTES];
};

/* courier_message_encode - controls in text become '?'. ERR_SPACE. */
MUST_USE enum err courier_message_encode(const struct courier_message *m, void *dst, size_t cap,
                                         size_t *ret_n);
/* courier_message_decode - the whole of bytes. ERR_TRUNCATED, ERR_TRAILING, ERR_MALFORMED. */
MUST_USE enum err courier_message_decode(struct slice bytes, struct courier_message *ret);

#endif

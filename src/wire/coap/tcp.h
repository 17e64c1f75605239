/*
 * tcp - one CoAP message over a reliable transport: its length in front, no type, no message id.
 *
 *   |  Len  |  TKL  | extended length (0, 1, 2 or 4 bytes) |     Code      |
 *   | token (TKL bytes) ... | options ... | 0xFF, payload ...               |
 *
 * Len counts what is behind the token. In a WebSocket frame it is 0, for the frame knows. A decoded
 * message is the same struct as over datagrams: its type is COAP_CON, its id 0. Codes of class 7
 * are signals, whose options have numbers of their own. SPEC: RFC8323 3.2, 4.2, 5; RFC8974 2.1.
 */
#ifndef WIRE_COAP_TCP_H
#define WIRE_COAP_TCP_H

#include "wire/coap/option.h"

enum {
    COAP_TCP_BASE_BYTES = 1152, /* SPEC: RFC8323 5.3.1: what everybody takes until it says else */
    COAP_TCP_HEAD_MAX = 1 + 4 + 1 + 2 /* what stands before a token */
};

enum coap_tcp_form { COAP_TCP_STREAM, COAP_TCP_FRAMED };

enum coap_signal {
    COAP_CSM = 0xE1,
    COAP_PING = 0xE2,
    COAP_PONG = 0xE3,
    COAP_RELEASE = 0xE4,
    COAP_ABORT = 0xE5
};

/* Numbers that count only beside their signal. SPEC: RFC8323 11.2, RFC8974 2.2.1 */
enum coap_signal_option {
    COAP_CSM_MAX_MESSAGE_SIZE = 2,
    COAP_CSM_BLOCK_WISE_TRANSFER = 4,
    COAP_CSM_EXTENDED_TOKEN_LENGTH = 6,
    COAP_PING_CUSTODY = 2, /* of Pong, too */
    COAP_RELEASE_ALTERNATIVE_ADDRESS = 2,
    COAP_RELEASE_HOLD_OFF = 4,
    COAP_ABORT_BAD_CSM_OPTION = 2
};

static inline bool coap_code_is_signal(uint8_t code)
{
    return coap_code_class(code) == 7;
}

/* coap_signal_name - "CSM", "Ping"; NULL for a signal that is not known here. Static text. */
const char *coap_signal_name(uint8_t code);

/*
 * coap_tcp_size - how long is the message that these bytes begin with?
 *
 * ERR_AGAIN      more of its head is needed
 * ERR_TOO_LARGE  more than `most`, with what is known so far
 * ERR_MALFORMED  a token length that is reserved
 */
MUST_USE enum err coap_tcp_size(struct slice bytes, uint64_t most, size_t *ret);

/*
 * coap_tcp_decode - one message, whole and nothing behind it
 *
 * message    borrows; the slices of *ret point into it.
 * token_max  the longest token the caller wants: COAP_TOKEN_BYTES refuses RFC 8974 altogether.
 *
 * ERR_MALFORMED  as coap_message_decode, but that class 7 is no reserved one and an empty message
 *                may carry anything; a Len that is not the message's, or not 0 in a frame
 * ERR_TOO_LARGE  well-formed so far, but the token is longer than token_max
 * O(bytes), allocates nothing.
 */
MUST_USE enum err coap_tcp_decode(struct slice message, enum coap_tcp_form form, size_t token_max,
                                  struct coap_message *ret);

/* coap_tcp_bytes - what coap_tcp_encode of this message will write; type and mid are not looked at.
 */
uint64_t coap_tcp_bytes(const struct coap_message *m, enum coap_tcp_form form);
/* coap_tcp_encode - ERR_SPACE, ERR_MALFORMED, ERR_TOO_LARGE (token, or more than Len can say) as
 * coap_message_encode. */
MUST_USE enum err coap_tcp_encode(const struct coap_message *m, enum coap_tcp_form form, void *dst,
                                  size_t cap, size_t *ret_n);

#endif

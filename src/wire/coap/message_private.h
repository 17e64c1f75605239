/* message_private - what is the same in a datagram (message.c) and over a reliable transport
 * (tcp.c): token, options, payload. */
#ifndef WIRE_COAP_MESSAGE_PRIVATE_H
#define WIRE_COAP_MESSAGE_PRIVATE_H

#include "wire/coap/message.h"

/* coap_rd_extended - the value that a nibble announces; ERR_MALFORMED sticks for 15. SPEC: RFC7252
 * 3.1 */
uint32_t coap_rd_extended(struct rd *r, unsigned nibble);
unsigned coap_nibble_of(uint32_t value);
void coap_wr_extended(struct wr *w, uint32_t value);

/* coap_rd_body - all that is behind the header, into token, options and payload of *m. whole is
 * what r reads. Errors as coap_message_decode. */
MUST_USE enum err coap_rd_body(struct rd *r, struct slice whole, unsigned token_nibble,
                               size_t token_max, struct coap_message *m);
void coap_wr_body(struct wr *w, const struct coap_message *m);
/* coap_body_check - may it be written? ERR_TOO_LARGE: the token; ERR_MALFORMED: the options. */
MUST_USE enum err coap_body_check(const struct coap_message *m);

#endif

/*
 * oscore_message - CoAP messages under OSCORE: what is hidden, what stays readable, and back.
 *
 * Pure: keys, bytes and numbers in, bytes out. Whoever calls owns the numbers: a sender's number is
 * used once, a recipient's is taken from the replay window after the message opened. Class of each
 * option: RFC 8613, Figure 5. An option that is not known is hidden. SPEC: RFC8613 4, 8.
 */
#ifndef ENGINE_OSCORE_MESSAGE_H
#define ENGINE_OSCORE_MESSAGE_H

#include "engine/oscore_context.h"
#include "wire/coap/option.h"

enum {
    OSCORE_MESSAGE_MAX = 2048, /* bytes of any message here, and of the room each call needs */
    OSCORE_NAME_BYTES = 8      /* of a token that its server puts in the place of the client's */
};

/* Whose keys, sealed by what. Borrowed for the call. */
struct oscore_peer {
    const struct oscore_keys *keys;
    struct ccm *ccm;
};

/* ---- as a server ---- */

/*
 * oscore_request_open - the request inside
 *
 * outer    a decoded message with an OSCORE option.
 * o        that option, decoded; has kid and Partial IV, its kid is the recipient's.
 * room     OSCORE_MESSAGE_MAX bytes; *ret points into it, and into outer for its token.
 * ret      type, mid and token of outer; the rest is the client's. Options that intermediaries need
 *          (Uri-Host and the like) are those of outer; all others of outer are not looked at.
 *
 * ERR_CRYPTO     not sealed for us, or changed     ERR_TRUNCATED  shorter than a tag and a code
 * ERR_MALFORMED  it opened, but is no request      ERR_TOO_LARGE  over OSCORE_MESSAGE_MAX
 * ERR_CRYPTO and ERR_TRUNCATED are said before anything of it is believed.
 */
MUST_USE enum err oscore_request_open(const struct oscore_peer *p, const struct coap_message *outer,
                                      const struct coap_oscore *o, uint8_t room[OSCORE_MESSAGE_MAX],
                                      struct coap_message *ret, struct oscore_binding *ret_binding);

/* oscore_request_named - the request that oscore_request_open left in room, as one message with
 * this message id and a token of OSCORE_NAME_BYTES; borrows from room, where its parts stay. */
struct slice oscore_request_named(uint8_t room[OSCORE_MESSAGE_MAX],
                                  const struct coap_message *inner, uint16_t mid, uint64_t name);

/*
 * oscore_response_protect - an answer to the request `b`
 *
 * piv   a number of ours that is used for nothing else; NULL: the request's own nonce, which one
 *       answer alone may use.
 * plain code, options and payload of the answer; Observe in it is hidden without its value, and
 *       stays readable with it.
 * room  OSCORE_MESSAGE_MAX bytes that *ret points into: code, options, payload as they travel.
 * ERR_TOO_LARGE, ERR_MALFORMED (options), ERR_CRYPTO. SPEC: RFC8613 8.3.
 */
MUST_USE enum err oscore_response_protect(const struct oscore_peer *p,
                                          const struct oscore_binding *b, const uint64_t *piv,
                                          const struct coap_message *plain,
                                          uint8_t room[OSCORE_MESSAGE_MAX],
                                          struct coap_message *ret);

/* oscore_renewal_protect - the same with the request's own nonce and a kid context, under keys that
 * seal nothing else. SPEC: RFC8613 B.2. */
MUST_USE enum err oscore_renewal_protect(const struct oscore_peer *p,
                                         const struct oscore_binding *b, struct slice kid_context,
                                         const struct coap_message *plain,
                                         uint8_t room[OSCORE_MESSAGE_MAX],
                                         struct coap_message *ret);

/* ---- as a client ---- */

/* oscore_request_protect - with the number piv, used once. has_kid_context and kid_context as they
 * shall be sent. Errors as above. SPEC: RFC8613 8.1. */
struct oscore_outgoing {
    uint64_t piv;
    bool has_kid_context;
    struct slice kid_context;
};
MUST_USE enum err oscore_request_protect(const struct oscore_peer *p,
                                         const struct oscore_outgoing *how,
                                         const struct coap_message *plain,
                                         uint8_t room[OSCORE_MESSAGE_MAX], struct coap_message *ret,
                                         struct oscore_binding *ret_binding);

/* oscore_response_open - the answer inside; errors as oscore_request_open. An Observe inside has
 * the three low bytes of the Partial IV as its value. SPEC: RFC8613 8.4. */
MUST_USE enum err oscore_response_open(const struct oscore_peer *p, const struct oscore_binding *b,
                                       const struct coap_message *outer,
                                       const struct coap_oscore *o,
                                       uint8_t room[OSCORE_MESSAGE_MAX], struct coap_message *ret);

#endif

/*
 * forward - what a request asks of a proxy, and the options as they go on: to the next server, and
 * back. Pure; whose request may go where is asked elsewhere.
 *
 * An option goes on when it is known here or its number says that it is safe to forward; what is
 * neither is named, so that the request is refused and the answer not given. The OSCORE option,
 * code and payload are no business of a proxy: they pass as they are. SPEC: RFC7252 5.4.2, 5.7,
 * 5.10.2; RFC8613 10; RFC8768 3.
 */
#ifndef WIRE_COAP_FORWARD_H
#define WIRE_COAP_FORWARD_H

#include "wire/coap/uri.h"

enum {
    COAP_FORWARD_BYTES = 2048, /* of an option block that goes on */
    COAP_FORWARD_HOPS = 16     /* SPEC: RFC8768 3, the default */
};

/* Where a request wants to go. */
struct coap_forward {
    bool secure;
    struct slice host; /* as text, an IPv6 address without brackets; borrows from the request */
    uint16_t port;
    struct slice uri; /* Uri-Path and Uri-Query options of the target; borrows from `into` */
};

/* coap_forward_is_asked - has it a Proxy-Uri or a Proxy-Scheme, well-formed or not? */
bool coap_forward_is_asked(struct slice options);

/*
 * coap_forward_read - the target of such a request
 *
 * options  a well-formed block; borrowed by *ret.
 * into     COAP_FORWARD_BYTES for the options of *ret.
 *
 * ERR_UNSUPPORTED  a scheme other than coap and coaps: 5.05
 * ERR_MALFORMED    no URI, no Uri-Host beside Proxy-Scheme, both or several of the options
 * ERR_TOO_LARGE    a part of it is longer than an option may be, or than COAP_URI_BYTES
 */
MUST_USE enum err coap_forward_read(struct slice options, uint8_t into[COAP_FORWARD_BYTES],
                                    struct coap_forward *ret);

/* coap_forward_hops - the Hop-Limit that the request goes on with. ERR_MALFORMED: its own is not 1
 * to 255; ERR_LIMIT: it has been everywhere: 5.08. */
MUST_USE enum err coap_forward_hops(struct slice options, uint8_t *ret);

/* What changes in the options of a request. All borrowed for the call. */
struct coap_forward_change {
    struct slice uri; /* its Uri-Host, Uri-Path, Uri-Query at the next server */
    uint8_t hops;
    struct slice etag; /* one more ETag; empty: none */
    struct slice tag;  /* its only Request-Tag from here on; empty: its own stay */
    bool drops_observe;
};

/* coap_forward_request - the options that go on into dst. ERR_UNSUPPORTED: *ret_number must not go
 * on: 4.02; ERR_TOO_LARGE; ERR_MALFORMED (change.uri is not in order). */
MUST_USE enum err coap_forward_request(struct slice options,
                                       const struct coap_forward_change *change,
                                       uint8_t dst[COAP_FORWARD_BYTES], struct slice *ret,
                                       uint16_t *ret_number);

/* coap_forward_answer - the options of an answer that go back, without Observe; where names what
 * stands before its Location-Path (Location-Path options; empty: nothing). Errors as above: 5.02.
 */
MUST_USE enum err coap_forward_answer(struct slice options, struct slice where,
                                      uint8_t dst[COAP_FORWARD_BYTES], struct slice *ret,
                                      uint16_t *ret_number);

#endif

/* response - the head of an HTTP/1.1 response, as strict as request.h. SPEC: RFC9112 4, 5 */
#ifndef WIRE_HTTP1_RESPONSE_H
#define WIRE_HTTP1_RESPONSE_H

#include "wire/http1/request.h"

struct http1_response {
    unsigned status;             /* 100 to 599 */
    struct http1_request fields; /* only its fields: what looks for one works here, too */
};

/* http1_response_decode - a complete head as http1_head_find cut it; borrows. Errors as
 * http1_request_decode. */
MUST_USE enum err http1_response_decode(struct slice head, struct http1_response *ret);
/* http1_response_decode_old - the same, of HTTP/1.0 too: *ret_old says so. Its connection ends with
 * the body. SPEC: RFC9112 9.3. */
MUST_USE enum err http1_response_decode_old(struct slice head, struct http1_response *ret,
                                            bool *ret_old);

#endif

/*
 * request - the head of an HTTP/1.1 request: request line and fields, as slices of what came.
 *
 * Strict where the specification leaves a choice: CRLF only, no folded lines, origin-form targets
 * only. SPEC: RFC9112 2, 3, 5.
 */
#ifndef WIRE_HTTP1_REQUEST_H
#define WIRE_HTTP1_REQUEST_H

#include "base/err.h"
#include "base/slice.h"

enum {
    HTTP1_HEAD_MAX = 8 * 1024, /* all of it, with the empty line */
    HTTP1_LINE_MAX = 2 * 1024, /* the request line, without its CRLF */
    HTTP1_FIELDS_MAX = 64
};

struct http1_field {
    struct slice name;  /* a token */
    struct slice value; /* without white space around it; may be empty */
};

struct http1_request {
    struct slice method; /* a token */
    struct slice target; /* "/path?query", printable ASCII */
    struct http1_field fields[HTTP1_FIELDS_MAX];
    size_t n_fields;
};

/*
 * http1_head_find - where the head ends, while it still comes in
 *
 * bytes  all that came so far.
 * from   how many of them were looked at by a former call that gave ERR_AGAIN; 0 at first.
 * ret_n  bytes of the head, its empty line included; what is behind is not looked at.
 *
 * ERR_AGAIN      it is not complete
 * ERR_MALFORMED  it can never become a head: a control byte, or a line that does not end with CRLF
 * O(bytes.n - from).
 */
MUST_USE enum err http1_head_find(struct slice bytes, size_t from, size_t *ret_n);

/*
 * http1_request_decode - a complete head as http1_head_find cut it; borrows from it
 *
 * ERR_TOO_LARGE    more than HTTP1_HEAD_MAX, or a request line over HTTP1_LINE_MAX
 * ERR_LIMIT        more than HTTP1_FIELDS_MAX fields
 * ERR_UNSUPPORTED  a request, but not of HTTP/1.1
 * ERR_MALFORMED    anything else that is no request
 */
MUST_USE enum err http1_request_decode(struct slice head, struct http1_request *ret);
/* http1_request_decode_old - the same, of HTTP/1.0 too: *ret_old says so. Such a request may name
 * no host, and its connection ends with the answer. SPEC: RFC9112 9.3, C.2.1. */
MUST_USE enum err http1_request_decode_old(struct slice head, struct http1_request *ret,
                                           bool *ret_old);

/* http1_request_count - how many fields have this name (in any case). */
size_t http1_request_count(const struct http1_request *r, const char *name);
/* http1_request_find - the first field of this name; false when there is none. Borrows. */
bool http1_request_find(const struct http1_request *r, const char *name, struct slice *ret);
/* http1_request_lists - whether a member of the comma-separated lists under this name is `member`.
 * exact: compare case too. */
bool http1_request_lists(const struct http1_request *r, const char *name, const char *member,
                         bool exact);

#endif

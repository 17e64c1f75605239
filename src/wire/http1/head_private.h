/* head_private - what requests and responses have in common; not for other folders. */
#ifndef WIRE_HTTP1_HEAD_PRIVATE_H
#define WIRE_HTTP1_HEAD_PRIVATE_H

#include "base/rd.h"
#include "wire/http1/request.h"

/* http1_line_take - one line without its CRLF; the reader fails when there is none. */
struct slice http1_line_take(struct rd *r);
/* http1_is_version - "HTTP/1.1", whichever the numbers. */
bool http1_is_version(struct slice s);
/* http1_fields_decode - the rest of a head into ret->fields, behind those that are there.
 * ERR_LIMIT, ERR_MALFORMED. */
MUST_USE enum err http1_fields_decode(struct rd *r, struct http1_request *ret);

#endif

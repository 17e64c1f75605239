/*
 * code - CoAP method and response codes and content formats, by number and by name.
 *
 * A code is one byte: three bits of class, five of detail, written "2.05". SPEC: RFC7252 3, 12.1.
 */
#ifndef WIRE_COAP_CODE_H
#define WIRE_COAP_CODE_H

#include "base/err.h"
#include "base/slice.h"

enum coap_code {
    COAP_EMPTY = 0x00,
    COAP_GET = 0x01,
    COAP_POST = 0x02,
    COAP_PUT = 0x03,
    COAP_DELETE = 0x04,
    COAP_FETCH = 0x05,
    COAP_PATCH = 0x06,
    COAP_IPATCH = 0x07,
    COAP_CREATED = 0x41,
    COAP_DELETED = 0x42,
    COAP_VALID = 0x43,
    COAP_CHANGED = 0x44,
    COAP_CONTENT = 0x45,
    COAP_CONTINUE = 0x5F,
    COAP_BAD_REQUEST = 0x80,
    COAP_UNAUTHORIZED = 0x81,
    COAP_BAD_OPTION = 0x82,
    COAP_FORBIDDEN = 0x83,
    COAP_NOT_FOUND = 0x84,
    COAP_METHOD_NOT_ALLOWED = 0x85,
    COAP_NOT_ACCEPTABLE = 0x86,
    COAP_REQUEST_INCOMPLETE = 0x88,
    COAP_CONFLICT = 0x89,
    COAP_PRECONDITION_FAILED = 0x8C,
    COAP_REQUEST_TOO_LARGE = 0x8D,
    COAP_UNSUPPORTED_FORMAT = 0x8F,
    COAP_UNPROCESSABLE = 0x96,
    COAP_TOO_MANY_REQUESTS = 0x9D,
    COAP_INTERNAL_ERROR = 0xA0,
    COAP_NOT_IMPLEMENTED = 0xA1,
    COAP_BAD_GATEWAY = 0xA2,
    COAP_UNAVAILABLE = 0xA3,
    COAP_GATEWAY_TIMEOUT = 0xA4,
    COAP_PROXYING_NOT_SUPPORTED = 0xA5,
    COAP_HOP_LIMIT_REACHED = 0xA8,
};

static inline uint8_t coap_code_class(uint8_t code)
{
    return (uint8_t)(code >> 5);
}

/* 0.01 to 0.31: a request, of a known method or not. */
static inline bool coap_code_is_request(uint8_t code)
{
    return code != COAP_EMPTY && coap_code_class(code) == 0;
}

/* 2.xx, 4.xx or 5.xx, known or not. */
static inline bool coap_code_is_response(uint8_t code)
{
    uint8_t class = coap_code_class(code);
    return class == 2 || class == 4 || class == 5;
}

static inline bool coap_code_is_success(uint8_t code)
{
    return coap_code_class(code) == 2;
}

/* Classes 1, 6 and 7 have no meaning over datagrams. SPEC: RFC7252 3 */
static inline bool coap_code_is_reserved(uint8_t code)
{
    uint8_t class = coap_code_class(code);
    return class == 1 || class == 3 || class >= 6;
}

/* coap_code_name - "GET", "Content", "Not Found"; NULL for a code without a name. Static text. */
const char *coap_code_name(uint8_t code);

/* coap_code_text - "2.05" and a NUL into dst. */
enum { COAP_CODE_TEXT_BYTES = 5 };
void coap_code_text(uint8_t code, char dst[COAP_CODE_TEXT_BYTES]);

/* Content formats used here; coap_format_name knows more. */
enum coap_format {
    COAP_FORMAT_TEXT = 0,
    COAP_FORMAT_LINK = 40,
    COAP_FORMAT_XML = 41,
    COAP_FORMAT_OCTETS = 42,
    COAP_FORMAT_JSON = 50,
    COAP_FORMAT_MERGE_PATCH = 52,
    COAP_FORMAT_CBOR = 60,
    COAP_FORMAT_MULTIPART = 62, /* SPEC: RFC8710 3 */
    COAP_FORMAT_SENML_JSON = 110,
    COAP_FORMAT_SENML_CBOR = 112,
    COAP_FORMAT_PROBLEM_CBOR = 257,
    COAP_FORMAT_PKCS7_CERTS = 281, /* SPEC: RFC9148 7.1 */
    COAP_FORMAT_PKCS8 = 284,
    COAP_FORMAT_CSRATTRS = 285,
    COAP_FORMAT_PKCS10 = 286,
    COAP_FORMAT_PKIX_CERT = 287,
    COAP_FORMAT_SENML_ETCH_JSON = 320, /* SPEC: RFC8790 7.1 */
    COAP_FORMAT_SENML_ETCH_CBOR = 322,
};

/* coap_format_name - the media type of a content format ("application/cbor"), NULL when unknown.
 * Static text. */
const char *coap_format_name(uint16_t format);

/* coap_format_find - the content format of a media type (borrows; compared without regard to case;
 * "text/plain" and any parameters of it mean 0). ERR_NOT_FOUND. O(formats). */
MUST_USE enum err coap_format_find(struct slice media_type, uint16_t *ret);

#endif

#include "wire/coap/code.h"

#include "base/scope.h"

struct name {
    uint16_t number;
    const char *text;
};

static const struct name code_names[] = {
    {COAP_EMPTY, "Empty"},
    {COAP_GET, "GET"},
    {COAP_POST, "POST"},
    {COAP_PUT, "PUT"},
    {COAP_DELETE, "DELETE"},
    {COAP_FETCH, "FETCH"},
    {COAP_PATCH, "PATCH"},
    {COAP_IPATCH, "iPATCH"},
    {COAP_CREATED, "Created"},
    {COAP_DELETED, "Deleted"},
    {COAP_VALID, "Valid"},
    {COAP_CHANGED, "Changed"},
    {COAP_CONTENT, "Content"},
    {COAP_CONTINUE, "Continue"},
    {COAP_BAD_REQUEST, "Bad Request"},
    {COAP_UNAUTHORIZED, "Unauthorized"},
    {COAP_BAD_OPTION, "Bad Option"},
    {COAP_FORBIDDEN, "Forbidden"},
    {COAP_NOT_FOUND, "Not Found"},
    {COAP_METHOD_NOT_ALLOWED, "Method Not Allowed"},
    {COAP_NOT_ACCEPTABLE, "Not Acceptable"},
    {COAP_REQUEST_INCOMPLETE, "Request Entity Incomplete"},
    {COAP_CONFLICT, "Conflict"},
    {COAP_PRECONDITION_FAILED, "Precondition Failed"},
    {COAP_REQUEST_TOO_LARGE, "Request Entity Too Large"},
    {COAP_UNSUPPORTED_FORMAT, "Unsupported Content-Format"},
    {COAP_UNPROCESSABLE, "Unprocessable Entity"},
    {COAP_TOO_MANY_REQUESTS, "Too Many Requests"},
    {COAP_INTERNAL_ERROR, "Internal Server Error"},
    {COAP_NOT_IMPLEMENTED, "Not Implemented"},
    {COAP_BAD_GATEWAY, "Bad Gateway"},
    {COAP_UNAVAILABLE, "Service Unavailable"},
    {COAP_GATEWAY_TIMEOUT, "Gateway Timeout"},
    {COAP_PROXYING_NOT_SUPPORTED, "Proxying Not Supported"},
    {COAP_HOP_LIMIT_REACHED, "Hop Limit Reached"},
};

static const struct name format_names[] = {
    {COAP_FORMAT_TEXT, "text/plain; charset=utf-8"},
    {16, "application/cose; cose-type=\"cose-encrypt0\""},
    {17, "application/cose; cose-type=\"cose-mac0\""},
    {18, "application/cose; cose-type=\"cose-sign1\""},
    {19, "application/ace+cbor"},
    {COAP_FORMAT_LINK, "application/link-format"},
    {COAP_FORMAT_XML, "application/xml"},
    {COAP_FORMAT_OCTETS, "application/octet-stream"},
    {47, "application/exi"},
    {COAP_FORMAT_JSON, "application/json"},
    {51, "application/json-patch+json"},
    {COAP_FORMAT_MERGE_PATCH, "application/merge-patch+json"},
    {COAP_FORMAT_CBOR, "application/cbor"},
    {61, "application/cwt"},
    {COAP_FORMAT_MULTIPART, "application/multipart-core"},
    {63, "application/cbor-seq"},
    {64, "application/edhoc+cbor-seq"},
    {65, "application/cid-edhoc+cbor-seq"},
    {96, "application/cose; cose-type=\"cose-encrypt\""},
    {97, "application/cose; cose-type=\"cose-mac\""},
    {98, "application/cose; cose-type=\"cose-sign\""},
    {101, "application/cose-key"},
    {102, "application/cose-key-set"},
    {COAP_FORMAT_SENML_JSON, "application/senml+json"},
    {111, "application/sensml+json"},
    {COAP_FORMAT_SENML_CBOR, "application/senml+cbor"},
    {113, "application/sensml+cbor"},
    {256, "application/coap-group+json"},
    {COAP_FORMAT_PROBLEM_CBOR, "application/concise-problem-details+cbor"},
    {272, "application/missing-blocks+cbor-seq"},
    {280, "application/pkcs7-mime; smime-type=server-generated-key"},
    {COAP_FORMAT_PKCS7_CERTS, "application/pkcs7-mime; smime-type=certs-only"},
    {COAP_FORMAT_PKCS8, "application/pkcs8"},
    {COAP_FORMAT_CSRATTRS, "application/csrattrs"},
    {COAP_FORMAT_PKCS10, "application/pkcs10"},
    {COAP_FORMAT_PKIX_CERT, "application/pkix-cert"},
    {290, "application/aif+cbor"},
    {291, "application/aif+json"},
    {COAP_FORMAT_SENML_ETCH_JSON, "application/senml-etch+json"},
    {COAP_FORMAT_SENML_ETCH_CBOR, "application/senml-etch+cbor"},
};

static const char *name_of(const struct name *names, size_t n, uint16_t number)
{
    for (size_t i = 0; i < n; i++) {
        if (names[i].number == number) {
            return names[i].text;
        }
    }
    return NULL;
}

const char *coap_code_name(uint8_t code)
{
    return name_of(code_names, COUNT_OF(code_names), code);
}

void coap_code_text(uint8_t code, char dst[COAP_CODE_TEXT_BYTES])
{
    unsigned detail = code & 0x1FU;
    dst[0] = (char)('0' + coap_code_class(code));
    dst[1] = '.';
    dst[2] = (char)('0' + detail / 10);
    dst[3] = (char)('0' + detail % 10);
    dst[4] = '\0';
}

const char *coap_format_name(uint16_t format)
{
    return name_of(format_names, COUNT_OF(format_names), format);
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static bool equal_ignoring_case(struct slice a, struct slice b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

enum err coap_format_find(struct slice media_type, uint16_t *ret)
{
    for (size_t i = 0; i < COUNT_OF(format_names); i++) {
        if (equal_ignoring_case(media_type, slice_text(format_names[i].text))) {
            *ret = format_names[i].number;
            return OK;
        }
    }
    struct slice text_plain = slice_text("text/plain");
    struct slice type = slice_head(media_type, slice_find(media_type, ';'));
    if (equal_ignoring_case(type, text_plain)) {
        *ret = COAP_FORMAT_TEXT;
        return OK;
    }
    return ERR_NOT_FOUND;
}

#include "service/enrol/est.h"

#include <string.h>

#include "base/base64.h"
#include "wire/coap/code.h"

static const struct {
    const char *name, *method;
} operations[EST_OPERATIONS] = {
    [EST_CACERTS] = {"cacerts", "GET"},
    [EST_SIMPLEENROLL] = {"simpleenroll", "POST"},
    [EST_SIMPLEREENROLL] = {"simplereenroll", "POST"},
    [EST_SERVERKEYGEN] = {"serverkeygen", "POST"},
    [EST_CSRATTRS] = {"csrattrs", "GET"},
};

enum { TEXT_MAX = 64 * 1024 };

static bool is_operation(struct slice name, enum est_operation *ret)
{
    for (size_t i = 0; i < EST_OPERATIONS; i++) {
        if (slice_is(name, operations[i].name)) {
            *ret = (enum est_operation)i;
            return true;
        }
    }
    return false;
}

enum err est_find(struct slice path, enum est_operation *ret, const char **ret_why)
{
    static const char before[] = "/.well-known/est/"; /* SPEC: RFC7030 3.2.2 */
    *ret_why = "";
    if (!slice_has_prefix(path, slice_text(before))) {
        return ERR_NOT_FOUND;
    }
    struct slice rest = slice_from(path, sizeof before - 1);
    if (is_operation(rest, ret)) {
        return OK;
    }
    if (slice_is(rest, "fullcmc")) {
        *ret_why = "full CMC is not spoken here: use simpleenroll";
        return ERR_UNSUPPORTED;
    }
    bool more;
    (void)slice_cut(&rest, '/', &more);
    if (more && is_operation(rest, ret)) {
        *ret_why = "this server has one authority and no labels: leave the label out of the path";
        return ERR_UNSUPPORTED;
    }
    return ERR_NOT_FOUND;
}

const char *est_method(enum est_operation o)
{
    return operations[o].method;
}

static const struct est_short shorts[] = {
    {"crts", "ace.est.crts", EST_CACERTS, false},
    {"sen", "ace.est.sen", EST_SIMPLEENROLL, false},
    {"sren", "ace.est.sren", EST_SIMPLEREENROLL, false},
    {"att", "ace.est.att", EST_CSRATTRS, false},
    {"skg", "ace.est.skg", EST_SERVERKEYGEN, false},
    {"skc", "ace.est.skc", EST_SERVERKEYGEN, true},
};

const struct est_short *est_short_next(size_t *at)
{
    return *at < COUNT_OF(shorts) ? &shorts[(*at)++] : NULL;
}

const struct est_short *est_short_find(struct slice name)
{
    size_t at = 0;
    const struct est_short *s;
    while ((s = est_short_next(&at)) != NULL && !slice_is(name, s->name)) {
    }
    return s;
}

struct slice est_csr_attributes(void)
{
    static const uint8_t der[] = {
        0x30, 0x21,                                                 /* SEQUENCE of */
        0x30, 0x15,                                                 /* an attribute: */
        0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,       /* id-ecPublicKey, */
        0x31, 0x0a,                                                 /* whose values are */
        0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, /* prime256v1 */
        0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, /* ecdsa-with-SHA256 */
    };
    return slice_of(der, sizeof der);
}

static bool is_white(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Clients of before RFC 8951 break the lines. */
enum err est_body(struct slice text, size_t most, struct buf *ret)
{
    AUTO(buf_done) struct buf plain = {0};
    for (size_t i = 0; i < text.n; i++) {
        if (!is_white(text.p[i])) {
            TRY(buf_append(&plain, slice_of(&text.p[i], 1), TEXT_MAX));
        }
    }
    size_t cap = BASE64_BYTES_MAX(plain.n), n = 0;
    uint8_t *room;
    if (cap > most + 2) {
        return ERR_TOO_LARGE;
    }
    TRY(buf_room(ret, cap, ret->n + cap, &room));
    TRY(base64_decode(BASE64_PADDED, buf_slice(&plain), room, cap, &n));
    ret->n += n;
    return n <= most ? OK : ERR_TOO_LARGE;
}

enum err est_text(struct slice der, struct buf *ret)
{
    uint8_t *room;
    size_t cap = BASE64_TEXT_BYTES(der.n), n = 0;
    TRY(buf_room(ret, cap, TEXT_MAX, &room));
    struct wr w = wr_into(room, cap);
    base64_encode(BASE64_PADDED, der, &w);
    TRY(wr_done(&w, &n));
    ret->n += n;
    return OK;
}

enum err est_basic(const struct http1_request *r, char user[ENROLMENT_NAME_BYTES],
                   char secret[ENROLMENT_SECRET_MAX + 1])
{
    static const char scheme[] = "basic ";
    struct slice field;
    user[0] = secret[0] = '\0';
    if (!http1_request_find(r, "Authorization", &field)) {
        return ERR_NOT_FOUND;
    }
    bool is_basic = field.n > sizeof scheme - 1 && http1_request_count(r, "Authorization") == 1;
    for (size_t i = 0; is_basic && i < sizeof scheme - 1; i++) {
        is_basic = (field.p[i] | 0x20) == (uint8_t)scheme[i];
    }
    if (!is_basic) {
        return ERR_MALFORMED;
    }
    AUTO(buf_wipe) struct buf plain = {0};
    TRY(est_body(slice_from(field, sizeof scheme - 1), ENROLMENT_NAME_BYTES + ENROLMENT_SECRET_MAX,
                 &plain));
    bool more;
    struct slice rest = buf_slice(&plain);
    struct slice name = slice_cut(&rest, ':', &more);
    return more && slice_to_text(name, user, ENROLMENT_NAME_BYTES) &&
                   slice_to_text(rest, secret, ENROLMENT_SECRET_MAX + 1)
               ? OK
               : ERR_MALFORMED;
}

static enum err put(struct buf *b, const char *text)
{
    return buf_append(b, slice_text(text), TEXT_MAX);
}

enum err est_pair(struct slice key_der, struct slice certs_der, struct buf *ret)
{
    TRY(put(ret, "--estServerKeyGenBoundary\r\nContent-Type: application/pkcs8\r\n"
                 "Content-Transfer-Encoding: base64\r\n\r\n"));
    TRY(est_text(key_der, ret));
    TRY(put(ret, "\r\n--estServerKeyGenBoundary\r\nContent-Type: " EST_CERTS_TYPE "\r\n"
                 "Content-Transfer-Encoding: base64\r\n\r\n"));
    TRY(est_text(certs_der, ret));
    return put(ret, "\r\n--estServerKeyGenBoundary--\r\n");
}

/* CBOR of what is needed here: an array, numbers and byte strings. SPEC: RFC8949 3.1 */
enum { CBOR_ARRAY_OF_4 = 0x84, CBOR_U16 = 0x19, CBOR_BYTES = 0x40, CBOR_1_BYTE = 24, CBOR_2 = 25 };

static enum err put_part(struct buf *b, uint16_t format, struct slice bytes)
{
    uint8_t head[8];
    struct wr w = wr_into(head, sizeof head);
    if (bytes.n > UINT16_MAX) {
        return ERR_TOO_LARGE;
    }
    wr_u8(&w, CBOR_U16);
    wr_u16(&w, format);
    if (bytes.n < CBOR_1_BYTE) {
        wr_u8(&w, (uint8_t)(CBOR_BYTES | bytes.n));
    } else if (bytes.n <= UINT8_MAX) {
        wr_u8(&w, CBOR_BYTES | CBOR_1_BYTE);
        wr_u8(&w, (uint8_t)bytes.n);
    } else {
        wr_u8(&w, CBOR_BYTES | CBOR_2);
        wr_u16(&w, (uint16_t)bytes.n);
    }
    TRY(buf_append(b, wr_slice(&w), SIZE_MAX));
    return buf_append(b, bytes, SIZE_MAX);
}

enum err est_pair_core(struct slice key_der, uint16_t certs_format, struct slice certs,
                       struct buf *ret)
{
    static const uint8_t array[] = {CBOR_ARRAY_OF_4};
    TRY(buf_append(ret, slice_of(array, sizeof array), SIZE_MAX));
    TRY(put_part(ret, COAP_FORMAT_PKCS8, key_der));
    return put_part(ret, certs_format, certs);
}

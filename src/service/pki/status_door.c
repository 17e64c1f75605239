#include "service/pki/status_door.h"

#include "base/base64.h"
#include "base/wr.h"
#include "security/crypto/crl_make.h"

enum { GET_PATH_MAX = 2 * OCSP_REQUEST_MAX, LIST_AGE_S = 60 };

/* ---- the question ---- */

static int hex_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* SPEC: RFC3986 2.1; a bare '+' is itself in a path. */
static enum err decode_percent(struct slice text, struct wr *w)
{
    while (text.n > 0) {
        int high = 0, low = text.p[0];
        if (low == '%') {
            high = text.n > 2 ? hex_of(text.p[1]) : -1;
            low = text.n > 2 ? hex_of(text.p[2]) : -1;
            if (high < 0 || low < 0) {
                return ERR_MALFORMED;
            }
            text = slice_from(text, 2);
        }
        wr_u8(w, (uint8_t)(high * 16 + low));
        text = slice_from(text, 1);
    }
    return wr_ok(w) ? OK : ERR_TOO_LARGE;
}

/* The last segment is the question in base64, escaped. SPEC: RFC6960 A.1 */
static enum err read_get(struct slice text, struct status_question *ret)
{
    uint8_t plain[GET_PATH_MAX];
    struct wr decoded = wr_into(plain, sizeof plain);
    if (text.n > GET_PATH_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(decode_percent(text, &decoded));
    enum err err = base64_decode(BASE64_PADDED, wr_slice(&decoded), ret->ocsp_der,
                                 sizeof ret->ocsp_der, &ret->n);
    TRY(err == ERR_SPACE ? ERR_TOO_LARGE : err);
    return ret->n > 0 ? OK : ERR_MALFORMED;
}

static enum err read_post(const struct status_request *r, struct status_question *ret)
{
    if (!slice_is(r->type, "application/ocsp-request")) {
        return ERR_PROTOCOL;
    }
    if (r->body.n > sizeof ret->ocsp_der) {
        return ERR_TOO_LARGE;
    }
    slice_copy(ret->ocsp_der, r->body);
    ret->n = r->body.n;
    return OK;
}

static enum err read_ocsp(const struct status_request *r, struct status_question *ret,
                          const char **ret_allow)
{
    struct slice rest = slice_from(r->path, sizeof STATUS_DOOR_OCSP_PATH - 1);
    bool is_get = slice_is(r->method, "GET");
    *ret_allow = rest.n <= 1 ? "POST" : "GET";
    if (rest.n <= 1 ? !slice_is(r->method, "POST") : !is_get) {
        return ERR_UNSUPPORTED;
    }
    ret->kind = STATUS_OCSP;
    return is_get ? read_get(slice_from(rest, 1), ret) : read_post(r, ret);
}

static bool is_below(struct slice path, struct slice prefix)
{
    return slice_has_prefix(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/');
}

enum err status_door_find(const struct status_request *r, struct status_question *ret,
                          const char **ret_allow)
{
    bool is_pem = slice_is(r->path, "/crl.pem");
    ret->n = 0;
    if (is_below(r->path, slice_text(STATUS_DOOR_OCSP_PATH))) {
        return read_ocsp(r, ret, ret_allow);
    }
    if (!is_pem && !slice_is(r->path, STATUS_DOOR_LIST_PATH)) {
        return ERR_NOT_FOUND;
    }
    *ret_allow = "GET";
    ret->kind = is_pem ? STATUS_LIST_PEM : STATUS_LIST_DER;
    return slice_is(r->method, "GET") ? OK : ERR_UNSUPPORTED;
}

/* ---- the answer ---- */

static void answer_release(struct status_answer *a)
{
    buf_done(&a->body);
}

static enum err answer_list(struct authority *a, bool is_pem, int64_t now_wall_ms,
                            struct status_answer *ret)
{
    AUTO(buf_done) struct buf der = {0};
    int64_t next = 0;
    TRY(authority_crl(a, now_wall_ms, &der, &next));
    ret->max_age_s = LIST_AGE_S;
    if (is_pem) {
        ret->type = "application/x-pem-file";
        return crl_to_pem(buf_slice(&der), &ret->body);
    }
    ret->type = "application/pkix-crl"; /* SPEC: RFC2585 4.2 */
    ret->body = der;
    der = (struct buf){0};
    return OK;
}

enum err status_door_answer(struct authority *a, const struct status_question *q,
                            int64_t now_wall_ms, struct status_answer *ret)
{
    AUTO(answer_release) struct status_answer made = {.type = "application/ocsp-response"};
    if (q->kind == STATUS_OCSP) {
        TRY(authority_ocsp(a, slice_of(q->ocsp_der, q->n), now_wall_ms, &made.body));
    } else {
        TRY(answer_list(a, q->kind == STATUS_LIST_PEM, now_wall_ms, &made));
    }
    *ret = made;
    made = (struct status_answer){0};
    return OK;
}

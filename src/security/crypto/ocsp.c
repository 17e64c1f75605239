#include "security/crypto/ocsp.h"

#include <openssl/ocsp.h>

#include "security/crypto/x509_private.h"

enum { NONCE_HEADER = 3 /* the longest of an OCTET STRING within OCSP_NONCE_MAX */ };

static void request_autofree(OCSP_REQUEST **q)
{
    OCSP_REQUEST_free(*q);
}

static void response_autofree(OCSP_RESPONSE **r)
{
    OCSP_RESPONSE_free(*r);
}

static void basic_autofree(OCSP_BASICRESP **b)
{
    OCSP_BASICRESP_free(*b);
}

static void id_autofree(OCSP_CERTID **id)
{
    OCSP_CERTID_free(*id);
}

static void time_autofree(ASN1_TIME **t)
{
    ASN1_TIME_free(*t);
}

/* ---- the question ---- */

static bool is_nonce(X509_EXTENSION *e)
{
    return OBJ_obj2nid(X509_EXTENSION_get_object(e)) == NID_id_pkix_OCSP_Nonce;
}

static bool is_acceptable(X509_EXTENSION *e)
{
    int n = ASN1_STRING_length(X509_EXTENSION_get_data(e));
    return is_nonce(e) ? n > 0 && n <= OCSP_NONCE_MAX + NONCE_HEADER
                       : X509_EXTENSION_get_critical(e) == 0; /* SPEC: RFC6960 4.4 */
}

/* What is critical and unknown to us cannot be answered. */
static bool are_extensions_fine(OCSP_REQUEST *q)
{
    bool fine = true;
    for (int i = 0; fine && i < OCSP_REQUEST_get_ext_count(q); i++) {
        fine = is_acceptable(OCSP_REQUEST_get_ext(q, i));
    }
    for (int k = 0; fine && k < OCSP_request_onereq_count(q); k++) {
        OCSP_ONEREQ *one = OCSP_request_onereq_get0(q, k);
        for (int i = 0; fine && i < OCSP_ONEREQ_get_ext_count(one); i++) {
            fine = X509_EXTENSION_get_critical(OCSP_ONEREQ_get_ext(one, i)) == 0;
        }
    }
    return fine;
}

/* The answer names each certificate as the request does. The library reads names that it cannot
 * write, as with parameters of an algorithm that are a constructed tag 0. */
static bool can_be_named(OCSP_REQUEST *q)
{
    bool all = true;
    for (int i = 0; all && i < OCSP_request_onereq_count(q); i++) {
        OCSP_CERTID *copy = OCSP_CERTID_dup(OCSP_onereq_get0_id(OCSP_request_onereq_get0(q, i)));
        all = copy != NULL;
        OCSP_CERTID_free(copy);
    }
    return all;
}

/* NULL: there is none, or more than fits. */
static OCSP_REQUEST *read_request(struct slice der)
{
    const uint8_t *at = der.p;
    if (der.n == 0 || der.n > OCSP_REQUEST_MAX) {
        return NULL;
    }
    OCSP_REQUEST *q = d2i_OCSP_REQUEST(NULL, &at, (long)der.n);
    int n = q != NULL ? OCSP_request_onereq_count(q) : 0;
    if (at != der.p + der.n || n < 1 || n > OCSP_CERTIFICATES_MAX || !are_extensions_fine(q) ||
        !can_be_named(q)) {
        OCSP_REQUEST_free(q);
        q = NULL;
    }
    ERR_clear_error();
    return q;
}

bool ocsp_request_has_nonce(struct slice request_der)
{
    AUTO(request_autofree) OCSP_REQUEST *q = read_request(request_der);
    return q == NULL || OCSP_REQUEST_get_ext_by_NID(q, NID_id_pkix_OCSP_Nonce, -1) >= 0;
}

enum err ocsp_request(const struct x509 *leaf, const struct x509 *issuer, struct buf *ret)
{
    AUTO(request_autofree) OCSP_REQUEST *q = OCSP_REQUEST_new();
    AUTO(id_autofree) OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf->cert, issuer->cert);
    if (q == NULL || id == NULL || OCSP_request_add0_id(q, id) == NULL) {
        return crypto_fail(ERR_CRYPTO);
    }
    id = NULL; /* the request has it */
    uint8_t *at = NULL;
    int n = i2d_OCSP_REQUEST(q, NULL);
    TRY(n > 0 ? OK : crypto_fail(ERR_CRYPTO));
    TRY(buf_room(ret, (size_t)n, ret->n + OCSP_REQUEST_MAX, &at));
    ret->n += (size_t)i2d_OCSP_REQUEST(q, &at);
    return OK;
}

/* ---- the answer ---- */

static enum err append_response(OCSP_RESPONSE *r, struct buf *ret)
{
    uint8_t *at = NULL;
    int n = r != NULL ? i2d_OCSP_RESPONSE(r, NULL) : 0;
    TRY(n > 0 ? OK : crypto_fail(ERR_NOMEM));
    TRY(buf_room(ret, (size_t)n, ret->n + OCSP_RESPONSE_MAX, &at));
    ret->n += (size_t)i2d_OCSP_RESPONSE(r, &at);
    return OK;
}

enum err ocsp_refuse(enum ocsp_refusal how, struct buf *ret)
{
    AUTO(response_autofree) OCSP_RESPONSE *r = OCSP_response_create((int)how, NULL);
    return append_response(r, ret);
}

/* Does it ask about a certificate of this issuer? By the digests that clients use. */
static bool is_of(OCSP_CERTID *id, const struct x509 *issuer, struct slice *ret_serial)
{
    ASN1_OBJECT *digest = NULL;
    ASN1_INTEGER *serial = NULL;
    (void)OCSP_id_get0_info(NULL, &digest, NULL, &serial, id);
    int nid = OBJ_obj2nid(digest);
    const EVP_MD *md = nid == NID_sha1 ? EVP_sha1() : nid == NID_sha256 ? EVP_sha256() : NULL;
    AUTO(id_autofree)
    OCSP_CERTID *own = md != NULL ? OCSP_cert_to_id(md, NULL, issuer->cert) : NULL;
    int n = ASN1_STRING_length(serial);
    bool is_positive = ASN1_STRING_type(serial) == V_ASN1_INTEGER && n > 0;
    *ret_serial = slice_of(ASN1_STRING_get0_data(serial), is_positive ? (size_t)n : 0);
    return own != NULL && is_positive && OCSP_id_issuer_cmp(own, id) == 0;
}

struct times {
    ASN1_TIME *now, *next;
};

static void times_done(struct times *t)
{
    ASN1_TIME_free(t->now);
    ASN1_TIME_free(t->next);
}

static enum err add_status(OCSP_BASICRESP *b, OCSP_CERTID *id, const struct times *times,
                           const struct ocsp_signer *s)
{
    struct slice serial;
    struct ocsp_status status = {.standing = OCSP_UNKNOWN};
    AUTO(time_autofree) ASN1_TIME *revoked = NULL;
    if (is_of(id, s->issuer, &serial)) {
        TRY(s->look(s->ctx, serial, &status));
    }
    int code = V_OCSP_CERTSTATUS_UNKNOWN, reason = OCSP_REVOKED_STATUS_NOSTATUS;
    if (status.standing == OCSP_REVOKED) {
        code = V_OCSP_CERTSTATUS_REVOKED;
        reason = status.reason != 0 ? (int)status.reason : OCSP_REVOKED_STATUS_NOSTATUS;
        revoked = ASN1_GENERALIZEDTIME_set(NULL, (time_t)(status.revoked_wall_ms / 1000));
    } else if (status.standing == OCSP_GOOD) {
        code = V_OCSP_CERTSTATUS_GOOD;
    }
    OCSP_SINGLERESP *one =
        OCSP_basic_add1_status(b, id, code, reason, revoked, times->now, times->next);
    return one != NULL ? OK : crypto_fail(ERR_NOMEM);
}

/* By our clock, not by the library's. */
static enum err sign(OCSP_BASICRESP *b, const struct ocsp_signer *s)
{
    ASN1_GENERALIZEDTIME *produced =
        (ASN1_GENERALIZEDTIME *)(uintptr_t)OCSP_resp_get0_produced_at(b);
    bool ok = ASN1_GENERALIZEDTIME_set(produced, (time_t)(s->now_wall_ms / 1000)) != NULL &&
              OCSP_basic_sign(b, s->issuer->cert, s->issuer_key->pkey, EVP_sha256(), NULL,
                              OCSP_NOCERTS | OCSP_NOTIME | OCSP_RESPID_KEY) == 1;
    return ok ? OK : crypto_fail(ERR_CRYPTO);
}

enum err ocsp_answer(const struct ocsp_signer *s, struct slice request_der, struct buf *ret)
{
    AUTO(request_autofree) OCSP_REQUEST *q = read_request(request_der);
    AUTO(basic_autofree) OCSP_BASICRESP *b = OCSP_BASICRESP_new();
    AUTO(times_done)
    struct times times = {
        .now = ASN1_GENERALIZEDTIME_set(NULL, (time_t)(s->now_wall_ms / 1000)),
        .next = ASN1_GENERALIZEDTIME_set(NULL, (time_t)(s->next_update_wall_ms / 1000))};
    if (q == NULL) {
        return ocsp_refuse(OCSP_MALFORMED, ret);
    }
    if (b == NULL || times.now == NULL || times.next == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    for (int i = 0; i < OCSP_request_onereq_count(q); i++) {
        TRY(add_status(b, OCSP_onereq_get0_id(OCSP_request_onereq_get0(q, i)), &times, s));
    }
    if (OCSP_copy_nonce(b, q) == 0) { /* 2: there is none; SPEC: RFC6960 4.4.1 */
        return crypto_fail(ERR_NOMEM);
    }
    TRY(sign(b, s));
    AUTO(response_autofree)
    OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, b);
    return append_response(r, ret);
}

/* ---- reading one ---- */

static enum err check_signature(OCSP_BASICRESP *b, const struct x509 *issuer)
{
    STACK_OF(X509) *own = sk_X509_new_null();
    X509_STORE *store = X509_STORE_new();
    /* The issuer itself must have signed: nobody else is looked for, and its chain is not ours to
     * judge here. */
    bool ok = own != NULL && store != NULL && sk_X509_push(own, issuer->cert) > 0 &&
              OCSP_basic_verify(b, own, store, OCSP_NOINTERN | OCSP_NOVERIFY) == 1;
    sk_X509_free(own);
    X509_STORE_free(store);
    return crypto_fail(ok ? OK : ERR_AUTH);
}

static enum err read_times(const ASN1_GENERALIZEDTIME *from, const ASN1_GENERALIZEDTIME *next,
                           int64_t now_wall_ms, int64_t *ret_next)
{
    int64_t from_ms = 0, next_ms = INT64_MAX;
    TRY(x509_time(from, &from_ms));
    if (next != NULL) {
        TRY(x509_time(next, &next_ms));
    }
    *ret_next = next_ms;
    return from_ms / 1000 <= now_wall_ms / 1000 && now_wall_ms < next_ms ? OK : ERR_EXPIRED;
}

enum err ocsp_read(struct slice response_der, const struct x509 *leaf, const struct x509 *issuer,
                   int64_t now_wall_ms, struct ocsp_status *ret, int64_t *ret_next_update_wall_ms)
{
    const uint8_t *at = response_der.p;
    if (response_der.n == 0 || response_der.n > OCSP_RESPONSE_MAX) {
        return ERR_MALFORMED;
    }
    AUTO(response_autofree)
    OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &at, (long)response_der.n);
    if (r == NULL || at != response_der.p + response_der.n) {
        return crypto_fail(ERR_MALFORMED);
    }
    if (OCSP_response_status(r) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        return ERR_NOT_FOUND;
    }
    AUTO(basic_autofree) OCSP_BASICRESP *b = OCSP_response_get1_basic(r);
    AUTO(id_autofree) OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf->cert, issuer->cert);
    if (b == NULL || id == NULL) {
        return crypto_fail(ERR_MALFORMED);
    }
    TRY(check_signature(b, issuer));
    int code = 0, reason = 0;
    ASN1_GENERALIZEDTIME *revoked = NULL, *from = NULL, *next = NULL;
    if (OCSP_resp_find_status(b, id, &code, &reason, &revoked, &from, &next) != 1) {
        return crypto_fail(ERR_NOT_FOUND);
    }
    TRY(read_times(from, next, now_wall_ms, ret_next_update_wall_ms));
    *ret = (struct ocsp_status){.standing = code == V_OCSP_CERTSTATUS_GOOD      ? OCSP_GOOD
                                            : code == V_OCSP_CERTSTATUS_REVOKED ? OCSP_REVOKED
                                                                                : OCSP_UNKNOWN,
                                .reason = reason > 0 ? (unsigned)reason : 0};
    return revoked != NULL ? x509_time(revoked, &ret->revoked_wall_ms) : OK;
}

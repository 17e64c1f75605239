/* Enrolment over CoAP: what each resource takes, and from whom. SPEC: RFC9148 4.1, 4.3, 4.4 */
#include "security/crypto/x509.h"
#include "security/crypto/x509_certs.h"
#include "service/enrol/est.h"
#include "service/gateway/door_private.h"

/* Without a wish for a format it is PKCS#7. SPEC: RFC9148 4.3 */
static void answer_der(const struct request *rq, uint16_t format, struct slice der)
{
    uint8_t block[8];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = der};
    coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, format);
    if (coap_option_writer_done(&o, &answer.options) == OK) {
        (void)answer_send(&rq->asker, &answer);
    }
}

static void refuse_format(const struct request *rq, const char *words)
{
    request_refuse(rq, EVENT_protocol_error, COAP_NOT_ACCEPTABLE, words, words);
}

/* ---- what is the same for everybody ---- */

/* The root: the one that signs itself. ERR_EXISTS: there are several. */
static enum err only_root(struct slice certs, struct buf *ret)
{
    AUTO(buf_done) struct buf pem = {0};
    TRY(x509_certs_read(certs, &pem));
    struct slice rest = buf_slice(&pem);
    enum err err = OK;
    while (err == OK) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        err = x509_next_pem(&rest, &x);
        if (err == OK && slice_equal(x509_info(x)->issuer, x509_info(x)->subject)) {
            err = ret->n == 0 ? x509_to_der(x, ret) : ERR_EXISTS;
        }
    }
    return err == ERR_NOT_FOUND && ret->n > 0 ? OK : err;
}

/* The root by itself, for who reads no PKCS#7. While it rolls over there are two, and to leave one
 * out would be to say which of them counts. */
static void give_single(const struct request *rq, struct slice certs)
{
    AUTO(buf_done) struct buf der = {0};
    enum err err = only_root(certs, &der);
    if (err == OK) {
        answer_der(rq, COAP_FORMAT_PKIX_CERT, buf_slice(&der));
    } else if (err == ERR_EXISTS) {
        (void)answer_text(&rq->asker, COAP_NOT_ACCEPTABLE,
                          "there are two authorities now: ask for content format 281");
    } else {
        request_refuse_unavailable(&rq->asker);
    }
}

static void give_certs(const struct request *rq)
{
    const struct asker *asker = &rq->asker;
    struct slice certs = asker->a->door->setup.entrance->cacerts;
    if (asker->has_accept && asker->accept == COAP_FORMAT_PKIX_CERT) {
        give_single(rq, certs);
    } else if (asker->has_accept && asker->accept != COAP_FORMAT_PKCS7_CERTS) {
        (void)answer_text(asker, COAP_NOT_ACCEPTABLE, "it is in content format 281 or 287");
    } else {
        answer_der(rq, COAP_FORMAT_PKCS7_CERTS, certs);
    }
}

static void give(const struct request *rq, enum est_operation o)
{
    struct association *a = rq->asker.a;
    if (!bucket_take(&a->reads, 1, a->door->now_ms)) {
        struct decision why = {.limit = LIMIT_replay_rate,
                               .rule = "it reads faster than replay_rate of its role"};
        request_refuse_by_passage(rq, ERR_QUOTA, &why,
                                  bucket_wait_ms(&a->reads, 1, a->door->now_ms));
    } else if (o == EST_CACERTS) {
        give_certs(rq);
    } else if (rq->asker.has_accept && rq->asker.accept != COAP_FORMAT_CSRATTRS) {
        (void)answer_text(&rq->asker, COAP_NOT_ACCEPTABLE, "it is in content format 285");
    } else {
        answer_der(rq, COAP_FORMAT_CSRATTRS, est_csr_attributes());
    }
}

/* ---- certificates ---- */

static bool is_signed(const struct est_short *what)
{
    return what != NULL && what->operation != EST_CACERTS && what->operation != EST_CSRATTRS;
}

/* Who came by a key alone has nothing that could be certified anew. SPEC: RFC9148 3 */
static bool has_certificate(const struct association *a)
{
    return a->cert_id != NULL;
}

static bool is_outside_lane(const struct association *a, const struct est_short *what)
{
    return a->account->principal->is_late && what->operation != EST_SIMPLEREENROLL;
}

bool est_offers(const struct association *a, const struct est_short *what)
{
    return !is_signed(what) || (has_certificate(a) && !is_outside_lane(a, what));
}

static bool may_ask(const struct request *rq, const struct est_short *what)
{
    const struct association *a = rq->asker.a;
    if (a->account->is_closed) {
        request_refuse(rq, EVENT_revoked, COAP_FORBIDDEN, "not granted",
                       "the principal is not active any more");
    } else if (!has_certificate(a)) {
        request_refuse(rq, EVENT_enrolment, COAP_UNAUTHORIZED,
                       "a certificate is given here to who came by one: enrol over HTTPS, with a "
                       "claim token",
                       "it came by a key, and over CoAP a certificate is given only to who came by "
                       "one (RFC 9148). Let it enrol over HTTPS with a token of `sallyport enrol "
                       "token`");
    } else if (is_outside_lane(a, what)) {
        request_refuse(rq, EVENT_credential_expiring, COAP_FORBIDDEN,
                       "the certificate has ended: sren renews it, nothing else is open",
                       "its certificate has ended, and in the renewal lane there is sren alone: "
                       "let it POST a CSR to /est/sren, or `sallyport device rotate`");
    } else {
        return true;
    }
    return false;
}

static bool is_acceptable(const struct request *rq, const struct est_short *what)
{
    const struct asker *asker = &rq->asker;
    if (!asker->has_accept) {
        return true;
    }
    if (what->operation == EST_SERVERKEYGEN) {
        if (asker->accept != COAP_FORMAT_MULTIPART) {
            refuse_format(rq, "a key and its certificate are in content format 62");
            return false;
        }
    } else if (asker->accept != COAP_FORMAT_PKCS7_CERTS && asker->accept != COAP_FORMAT_PKIX_CERT) {
        refuse_format(rq, "certificates are in content format 281 or 287");
        return false;
    }
    return true;
}

/* Nothing is carried here, decided or signed before this. */
static bool admits(const struct request *rq, const struct est_short *what)
{
    uint32_t format = UINT32_MAX;
    if (!may_ask(rq, what) || !is_acceptable(rq, what)) {
        return false;
    }
    if (!coap_options_find_uint(rq->m->options, COAP_OPTION_CONTENT_FORMAT, &format) ||
        format != COAP_FORMAT_PKCS10) { /* SPEC: RFC9148 4.3 */
        request_refuse(rq, EVENT_protocol_error, COAP_UNSUPPORTED_FORMAT,
                       "a certificate request is PKCS#10 in DER, content format 286",
                       "its certificate request is not in content format 286 (PKCS#10, DER). "
                       "`openssl req -outform DER` makes one");
        return false;
    }
    if (rq->m->payload.n > ENROLMENT_CSR_MAX) {
        request_refuse_size(rq, ENROLMENT_CSR_MAX,
                            "its certificate request is over 8 KiB; let it ask for less in it");
        return false;
    }
    return true;
}

bool est_takes_body(const struct request *rq)
{
    return rq->path.kind == DOOR_PATH_EST && rq->m->code == COAP_POST &&
           is_signed(est_short_find(rq->path.text));
}

bool est_admits(const struct request *rq)
{
    return admits(rq, est_short_find(rq->path.text));
}

static void sign(const struct request *rq, const struct est_short *what)
{
    bool is_rest = !rq->asker.has_block1 && rq->asker.has_block2 && rq->asker.block2.number > 0;
    if (is_rest && may_ask(rq, what)) {
        est_sign_rest(rq, what);
    } else if (!is_rest && admits(rq, what)) {
        est_sign(rq, what);
    }
}

/* ---- all ---- */

void est_serve(const struct request *rq)
{
    struct association *a = rq->asker.a;
    const struct est_short *what = est_short_find(rq->path.text);
    if (a->account->is_closed) {
        request_refuse(rq, EVENT_revoked, COAP_FORBIDDEN, "not granted",
                       "the principal is not active any more");
    } else if (what == NULL ||
               (what->operation == EST_CACERTS && a->door->setup.entrance->cacerts.n == 0)) {
        (void)answer_text(&rq->asker, COAP_NOT_FOUND,
                          "EST over CoAP has crts, att, sen, sren, skg and skc");
    } else if (rq->m->code != (is_signed(what) ? COAP_POST : COAP_GET)) {
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED,
                       is_signed(what) ? "it takes POST" : "it takes GET",
                       is_signed(what) ? "this resource of EST takes POST"
                                       : "this resource of EST takes GET");
    } else if (is_signed(what)) {
        sign(rq, what);
    } else {
        give(rq, what->operation);
    }
}

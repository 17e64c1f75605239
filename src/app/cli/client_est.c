#include "app/cli/client_est.h"

#include "app/cli/client_https.h"
#include "base/log.h"
#include "security/crypto/x509.h"
#include "security/crypto/x509_certs.h"
#include "service/enrol/est.h"

enum { AGAIN_S = 60 };

/* The server's own words, for a terminal. */
static void quote(const struct client_https_answer *a, struct why *why)
{
    char safe[WHY_BYTES / 2];
    struct slice text = buf_slice(&a->body);
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '.')) {
        text = slice_head(text, text.n - 1);
    }
    log_escape((const char *)text.p, text.n, safe, sizeof safe);
    why_set(why, "the server says %u: %s", a->status, safe);
}

static enum err read_certs(const struct client_https_answer *a, struct buf *ret, struct why *why)
{
    AUTO(buf_done) struct buf der = {0};
    enum err err = est_body(buf_slice(&a->body), CLIENT_HTTPS_BODY_MAX, &der);
    err = err == OK ? x509_certs_read(buf_slice(&der), ret) : err;
    if (err != OK) {
        why_set(why, "the server's answer holds no certificates: is it the enrolment door?");
    }
    return err;
}

static enum err keep_roots(struct slice pem, struct buf *ret)
{
    enum err err;
    for (;;) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        if ((err = x509_next_pem(&pem, &x)) != OK) {
            return err == ERR_NOT_FOUND ? OK : err;
        }
        if (slice_equal(x509_info(x)->issuer, x509_info(x)->subject)) {
            TRY(x509_to_pem(x, ret));
        }
    }
}

enum err client_est_authorities(const struct client_target *t, struct buf *ret, struct why *why)
{
    AUTO(client_https_done) struct client_https_answer a = {.status = 0};
    AUTO(buf_done) struct buf all = {0};
    const struct client_https q = {
        .target = t, .method = "GET", .path = "/.well-known/est/cacerts"};
    TRY(client_https_ask(&q, &a, why));
    if (a.status != 200) {
        quote(&a, why);
        return ERR_DENIED;
    }
    TRY(read_certs(&a, &all, why));
    return keep_roots(buf_slice(&all), ret);
}

static enum err judge(const struct client_https_answer *a, unsigned *ret_again_s, struct why *why)
{
    if (a->status == 200) {
        return OK;
    }
    quote(a, why);
    *ret_again_s = a->retry_after_s > 0 ? a->retry_after_s : AGAIN_S;
    if (a->status == 202 || a->status == 429 || a->status == 503) {
        return ERR_AGAIN;
    }
    return a->status == 401 ? ERR_AUTH : ERR_DENIED;
}

enum err client_est_certificate(const struct client_target *t, enum client_est_want want,
                                const char *authorization, struct slice csr_der,
                                struct buf *ret_chain_pem, unsigned *ret_again_s, struct why *why)
{
    static const char *const paths[] = {
        [CLIENT_EST_ENROLL] = "/.well-known/est/simpleenroll",
        [CLIENT_EST_REENROLL] = "/.well-known/est/simplereenroll",
    };
    AUTO(client_https_done) struct client_https_answer a = {.status = 0};
    AUTO(buf_done) struct buf text = {0};
    *ret_again_s = 0;
    TRY(est_text(csr_der, &text));
    const struct client_https q = {.target = t,
                                   .method = "POST",
                                   .path = paths[want],
                                   .authorization = authorization,
                                   .content_type = EST_CSR_TYPE,
                                   .body = buf_slice(&text)};
    TRY(client_https_ask(&q, &a, why));
    TRY(judge(&a, ret_again_s, why));
    return read_certs(&a, ret_chain_pem, why);
}

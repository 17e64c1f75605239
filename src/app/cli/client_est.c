#include "app/cli/client_est.h"

#include "app/cli/https_client.h"
#include "base/log.h"
#include "base/why.h"
#include "security/crypto/x509.h"
#include "security/crypto/x509_certs.h"
#include "service/enrol/est.h"
#include "service/enrol/whoami.h"

enum { AGAIN_S = 60 };

static void https_release(struct https_client **c)
{
    *c = https_free(*c);
}

/* Copies the body: it is the connection's, which ends here. */
static enum err ask(struct cli *cli, const struct client_target *t, const struct https_request *r,
                    struct https_answer *ret, struct buf *ret_body)
{
    AUTO(https_release) struct https_client *c = NULL;
    if (https_open(cli, t, (struct slice){0}, &c) != CLI_DONE || https_ask(c, r, ret) != CLI_DONE) {
        return ERR_CLOSED;
    }
    TRY(buf_append(ret_body, ret->body, HTTPS_ANSWER_MAX));
    ret->body = buf_slice(ret_body);
    return OK;
}

/* The server's own words, for a terminal. */
static void quote(struct cli *cli, const struct https_answer *a)
{
    char safe[WHY_BYTES];
    struct slice text = a->body;
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '.')) {
        text = slice_head(text, text.n - 1);
    }
    log_escape(text.p, text.n, safe, sizeof safe);
    (void)cli_fail(cli, "the server says %u: %s", a->status, safe);
}

static enum err read_certs(struct cli *cli, const struct https_answer *a, struct buf *ret)
{
    AUTO(buf_done) struct buf der = {0};
    enum err err = est_body(a->body, HTTPS_ANSWER_MAX, &der);
    err = err == OK ? x509_certs_read(buf_slice(&der), ret) : err;
    if (err != OK) {
        (void)cli_fail(cli, "the server's answer holds no certificates");
    }
    return err == OK || err == ERR_NOMEM ? err : ERR_MALFORMED;
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

enum err client_est_authorities(struct cli *cli, const struct client_target *t, struct buf *ret)
{
    AUTO(buf_done) struct buf body = {0};
    AUTO(buf_done) struct buf all = {0};
    const struct https_request r = {.method = "GET", .path = "/.well-known/est/cacerts"};
    struct https_answer a;
    TRY(ask(cli, t, &r, &a, &body));
    if (a.status != 200) {
        quote(cli, &a);
        return ERR_DENIED;
    }
    TRY(read_certs(cli, &a, &all));
    return keep_roots(buf_slice(&all), ret);
}

enum err client_est_renew(struct cli *cli, const struct client_target *t, struct slice csr_der,
                          struct buf *ret, unsigned *ret_again_s)
{
    AUTO(buf_done) struct buf body = {0};
    AUTO(buf_done) struct buf text = {0};
    struct https_answer a;
    *ret_again_s = 0;
    TRY(est_text(csr_der, &text));
    const struct https_request r = {.method = "POST",
                                    .path = "/.well-known/est/simplereenroll",
                                    .type = EST_CSR_TYPE,
                                    .body = buf_slice(&text)};
    TRY(ask(cli, t, &r, &a, &body));
    if (a.status == 200) {
        return read_certs(cli, &a, ret);
    }
    quote(cli, &a);
    if (a.status == 202 || a.status == 429 || a.status == 503) {
        *ret_again_s = a.retry_after_s > 0 ? a.retry_after_s : AGAIN_S;
        return ERR_AGAIN;
    }
    return ERR_DENIED;
}

enum err client_est_prove(struct cli *cli, const struct client_target *t)
{
    AUTO(buf_done) struct buf body = {0};
    const struct https_request r = {.method = "GET", .path = WHOAMI_PATH};
    struct https_answer a;
    TRY(ask(cli, t, &r, &a, &body));
    if (a.status == 200) {
        return OK;
    }
    quote(cli, &a);
    return a.status == 401 || a.status == 403 ? ERR_DENIED : ERR_AGAIN;
}

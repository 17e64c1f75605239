#include "service/pki/authority_remote.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "service/pki/authority_private.h"
#include "service/pki/signer_message.h"

struct remote {
    struct authority base;
    int fd;
    bool is_operator;
    uint32_t id;
    struct clock clock;
    uint8_t datagram[SIGNER_PIECE_HEAD_BYTES + SIGNER_PIECE_MAX];
};

static struct remote *remote_of(struct authority *a)
{
    return CONTAINER_OF(a, struct remote, base);
}

static uint64_t now_ms(const struct remote *r)
{
    return r->clock.mono_ms(r->clock.ctx);
}

/* Until the socket can be used or time is over. */
static enum err await(const struct remote *r, short events, uint64_t until_ms)
{
    for (;;) {
        uint64_t now = now_ms(r);
        struct pollfd polled = {.fd = r->fd, .events = events};
        if (now >= until_ms) {
            return ERR_TIMEOUT;
        }
        int n = poll(&polled, 1, (int)(until_ms - now));
        if (n > 0) {
            return OK;
        }
        if (n < 0 && errno != EINTR) {
            return ERR_IO;
        }
    }
}

static enum err send_request(const struct remote *r, struct slice bytes, uint64_t until_ms)
{
    for (;;) {
        if (send(r->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
            return OK;
        }
        if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
            return ERR_CLOSED;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return ERR_IO;
        }
        TRY(await(r, POLLOUT, until_ms));
    }
}

static enum err receive_piece(struct remote *r, uint64_t until_ms, struct signer_piece *ret)
{
    for (;;) {
        TRY(await(r, POLLIN, until_ms));
        ssize_t n = recv(r->fd, r->datagram, sizeof r->datagram, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            return ERR_CLOSED;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return ERR_IO;
        }
        if (n > 0) {
            return signer_piece_decode(slice_of(r->datagram, (size_t)n), ret);
        }
    }
}

static enum err receive_answer(struct remote *r, uint64_t until_ms, struct buf *ret)
{
    struct signer_piece piece = {.is_last = false};
    for (;;) {
        TRY(receive_piece(r, until_ms, &piece));
        if (piece.id != r->id) {
            continue; /* of a call that did not wait for it */
        }
        TRY(buf_append(ret, piece.bytes, SIGNER_ANSWER_MAX));
        if (piece.is_last) {
            return OK;
        }
    }
}

static enum err exchange(struct remote *r, struct signer_request *q, struct signer_answer *ret)
{
    AUTO(buf_wipe) struct buf request = {0};
    AUTO(buf_wipe) struct buf answer = {0};
    uint64_t until_ms = now_ms(r) + AUTHORITY_WAIT_MS;
    q->id = ++r->id;
    TRY(signer_request_encode(q, &request));
    TRY(send_request(r, buf_slice(&request), until_ms));
    TRY(receive_answer(r, until_ms, &answer));
    return signer_answer_decode(q->type, buf_slice(&answer), ret);
}

/* One call; *why may be NULL. */
static enum err call(struct authority *base, struct signer_request *q, struct signer_answer *ret,
                     struct why *why)
{
    struct remote *r = remote_of(base);
    enum err err = exchange(r, q, ret);
    mem_wipe(r->datagram, sizeof r->datagram);
    if (err == ERR_TIMEOUT || err == ERR_CLOSED || err == ERR_IO) {
        why_set(why,
                "the signer, which holds the authority's key, does not answer (%s): the "
                "daemon starts it again; try once more, and see its log",
                err_name(err));
        return err;
    }
    if (err == ERR_TOO_LARGE) {
        why_set(why, "this is more than the signer takes");
    }
    TRY(err);
    if (why != NULL) {
        *why = ret->why;
    }
    return ret->err;
}

static enum err certificate_of(struct authority *a, struct signer_request *q,
                               struct authority_certificate *ret, struct why *why)
{
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    TRY(call(a, q, &answer, why));
    *ret = answer.certificate;
    answer.certificate = (struct authority_certificate){.serial = {.n = 0}};
    return OK;
}

static enum err plain(struct authority *a, struct signer_request *q, struct why *why)
{
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    return call(a, q, &answer, why);
}

static enum err remote_issue(struct authority *a, const struct authority_order *o,
                             int64_t now_wall_ms, struct authority_certificate *ret,
                             struct why *why)
{
    struct signer_request q = {.type = SIGNER_ISSUE, .order = *o};
    (void)now_wall_ms; /* the signer goes by its own clock */
    return certificate_of(a, &q, ret, why);
}

static enum err remote_issue_server(struct authority *a, struct slice csr_der, int64_t now_wall_ms,
                                    struct authority_certificate *ret, struct why *why)
{
    struct signer_request q = {.type = SIGNER_ISSUE_SERVER, .order = {.csr_der = csr_der}};
    (void)now_wall_ms;
    return certificate_of(a, &q, ret, why);
}

static enum err remote_revoke(struct authority *a, struct slice name,
                              const struct authority_serial *serial, enum authority_reason reason,
                              int64_t now_wall_ms)
{
    struct signer_request q = {.type = SIGNER_REVOKE, .order = {.name = name}, .reason = reason};
    (void)now_wall_ms;
    if (serial != NULL) {
        q.serial = *serial;
    }
    return plain(a, &q, NULL);
}

static enum err remote_crl(struct authority *a, int64_t now_wall_ms, struct buf *ret_der,
                           int64_t *ret_next_update_wall_ms)
{
    struct signer_request q = {.type = SIGNER_CRL};
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    (void)now_wall_ms;
    TRY(call(a, &q, &answer, NULL));
    TRY(buf_append(ret_der, buf_slice(&answer.bytes), SIZE_MAX));
    *ret_next_update_wall_ms = answer.next_update_wall_ms;
    return OK;
}

static enum err remote_ocsp(struct authority *a, struct slice request_der, int64_t now_wall_ms,
                            struct buf *ret_der)
{
    struct signer_request q = {.type = SIGNER_OCSP, .ocsp = request_der};
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    (void)now_wall_ms;
    TRY(call(a, &q, &answer, NULL));
    return buf_append(ret_der, buf_slice(&answer.bytes), SIZE_MAX);
}

static enum err remote_enrol(struct authority *a, struct slice name, const struct digest *spki,
                             int64_t now_wall_ms, struct why *why)
{
    struct signer_request q = {.type = SIGNER_ENROL, .order = {.name = name}};
    (void)now_wall_ms;
    if (spki != NULL) {
        q.has_spki = true;
        q.spki = *spki;
    }
    return plain(a, &q, why);
}

static enum err remote_allow(struct authority *a, struct slice name, int64_t now_wall_ms,
                             struct why *why)
{
    struct signer_request q = {.type = SIGNER_ALLOW, .order = {.name = name}};
    (void)now_wall_ms;
    return plain(a, &q, why);
}

static enum err remote_forget(struct authority *a, struct slice name, int64_t now_wall_ms)
{
    struct signer_request q = {.type = SIGNER_FORGET, .order = {.name = name}};
    (void)now_wall_ms;
    return plain(a, &q, NULL);
}

static enum err remote_token_make(struct authority *a, const struct authority_claim *c,
                                  int64_t now_wall_ms, char ret[AUTHORITY_TOKEN_BYTES],
                                  struct why *why)
{
    struct signer_request q = {.type = SIGNER_TOKEN_MAKE, .claim = *c};
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    (void)now_wall_ms;
    TRY(call(a, &q, &answer, why));
    memcpy(ret, answer.token, sizeof answer.token);
    return OK;
}

static enum err remote_token_ask(struct authority *a, struct slice token, int64_t now_wall_ms,
                                 struct buf *ret_json)
{
    struct signer_request q = {.type = SIGNER_TOKEN_ASK, .order = {.token = token}};
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    (void)now_wall_ms;
    TRY(call(a, &q, &answer, NULL));
    return buf_append(ret_json, buf_slice(&answer.bytes), SIZE_MAX);
}

static enum err remote_tokens(struct authority *a, int64_t now_wall_ms, struct buf *ret_lines)
{
    struct signer_request q = {.type = SIGNER_TOKENS};
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    (void)now_wall_ms;
    TRY(call(a, &q, &answer, NULL));
    return buf_append(ret_lines, buf_slice(&answer.bytes), SIZE_MAX);
}

static enum err remote_token_cancel(struct authority *a, struct slice which, int64_t now_wall_ms,
                                    char ret_id[AUTHORITY_TOKEN_ID_BYTES], struct why *why)
{
    struct signer_request q = {.type = SIGNER_TOKEN_CANCEL, .order = {.token = which}};
    AUTO(signer_answer_done) struct signer_answer answer = {.err = OK};
    (void)now_wall_ms;
    TRY(call(a, &q, &answer, why));
    return slice_to_text(slice_text(answer.token), ret_id, AUTHORITY_TOKEN_ID_BYTES)
               ? OK
               : ERR_MALFORMED;
}

static enum err remote_roll(struct authority *a, enum authority_roll_step step, int64_t now_wall_ms,
                            struct why *why)
{
    struct signer_request q = {.type = SIGNER_ROLL, .step = step};
    (void)now_wall_ms;
    return plain(a, &q, why);
}

static enum err remote_host(struct authority *a, struct slice host, struct why *why)
{
    struct signer_request q = {.type = SIGNER_HOST, .host = host};
    return plain(a, &q, why);
}

static enum err remote_reload(struct authority *a, struct why *why)
{
    struct signer_request q = {.type = SIGNER_RELOAD};
    return plain(a, &q, why);
}

static bool remote_is_operators(const struct authority *a)
{
    return ((const struct remote *)(const void *)a)->is_operator;
}

static struct authority *remote_free(struct authority *a)
{
    struct remote *r = remote_of(a);
    (void)close(r->fd);
    mem_free(r);
    return NULL;
}

static const struct authority_ops remote_ops = {.issue = remote_issue,
                                                .issue_server = remote_issue_server,
                                                .revoke = remote_revoke,
                                                .crl = remote_crl,
                                                .ocsp = remote_ocsp,
                                                .enrol = remote_enrol,
                                                .allow = remote_allow,
                                                .forget = remote_forget,
                                                .token_make = remote_token_make,
                                                .roll = remote_roll,
                                                .host = remote_host,
                                                .reload = remote_reload,
                                                .token_ask = remote_token_ask,
                                                .tokens = remote_tokens,
                                                .token_cancel = remote_token_cancel,
                                                .is_operators = remote_is_operators,
                                                .free = remote_free};

MUST_USE enum err authority_remote_new(int fd, bool is_operator, const struct random_source *random,
                                       struct authority **ret)
{
    struct remote *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    r->base.ops = &remote_ops;
    r->fd = fd;
    r->is_operator = is_operator;
    r->clock = clock_system();
    /* Answers to the broker before this one may still come. */
    r->id = (uint32_t)random_u64(random);
    *ret = &r->base;
    return OK;
}

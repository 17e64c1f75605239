#include "app/cli/client_https.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/listener.h"
#include "net/stream.h"
#include "wire/http1/response.h"

enum { CONNECT_MS = 10000, REQUEST_MAX = 32 * 1024, RETRY_DIGITS = 6 };

struct ask {
    const struct client_https *q;
    struct client_https_answer *answer;
    struct why *why;
    struct clock clock;
    uint64_t until_ms;
    struct tls *tls;
    struct stream *stream;
    struct stream_io *io;
    struct buf request, in;
    bool is_sent, has_head;
    size_t body_n; /* of the answer */
};

static void ask_done(struct ask *k)
{
    stream_free(k->stream);
    stream_io_free(k->io);
    tls_free(k->tls);
    buf_wipe(&k->request);
    buf_wipe(&k->in);
}

void client_https_done(struct client_https_answer *a)
{
    buf_wipe(&a->body);
}

static uint64_t now_of(const struct ask *k)
{
    return k->clock.mono_ms(k->clock.ctx);
}

/* ---- the request ---- */

static enum err put(struct buf *b, const char *text)
{
    return buf_append(b, slice_text(text), REQUEST_MAX);
}

static enum err put_field(struct buf *b, const char *name, const char *value)
{
    if (value == NULL) {
        return OK;
    }
    TRY(put(b, name));
    TRY(put(b, ": "));
    TRY(put(b, value));
    return put(b, "\r\n");
}

static enum err make_request(const struct client_https *q, struct buf *ret)
{
    char host[CLIENT_HOST_BYTES + 16], length[24];
    bool is_six = strchr(q->target->host, ':') != NULL;
    (void)snprintf(host, sizeof host, "%s%s%s:%u", is_six ? "[" : "", q->target->host,
                   is_six ? "]" : "", (unsigned)q->target->port);
    (void)snprintf(length, sizeof length, "%zu", q->body.n);
    TRY(put(ret, q->method));
    TRY(put(ret, " "));
    TRY(put(ret, q->path));
    TRY(put(ret, " HTTP/1.1\r\n"));
    TRY(put_field(ret, "Host", host));
    TRY(put_field(ret, "Connection", "close"));
    TRY(put_field(ret, "Authorization", q->authorization));
    TRY(put_field(ret, "Content-Type", q->content_type));
    TRY(put_field(ret, "Content-Length", q->content_type != NULL ? length : NULL));
    TRY(put(ret, "\r\n"));
    return buf_append(ret, q->body, REQUEST_MAX);
}

static enum err start(struct ask *k)
{
    const struct client_target *t = k->q->target;
    char text[TLS_TEXT_BYTES];
    int fd;
    struct tls_client_config tls = {.ca_pem = buf_slice(&t->ca),
                                    .host = t->host,
                                    .chain_pem = buf_slice(&t->chain),
                                    .key_pem = buf_slice(&t->key)};
    TRY(make_request(k->q, &k->request));
    enum err err = tls_client_new(&tls, text, &k->tls);
    if (err != OK) {
        why_set(k->why, "certificates: %s", text);
        return err;
    }
    err = net_connect_tcp_from(t->host, t->port, NULL, CONNECT_MS, &fd);
    if (err != OK) {
        why_set(k->why, "%s port %u cannot be reached (%s): is the server up, and the port right?",
                t->host, (unsigned)t->port, err_name(err));
        return err;
    }
    TRY(stream_new(fd, STREAM_CLIENT, k->tls, &k->stream));
    TRY(stream_io_new(&k->io));
    stream_io_now(k->io, now_of(k));
    return stream_start(k->stream, k->io);
}

/* ---- the answer ---- */

static bool read_number(struct slice text, size_t most, unsigned *ret)
{
    unsigned n = 0;
    if (text.n == 0 || text.n > most) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        n = n * 10 + (unsigned)(text.p[i] - '0');
    }
    *ret = n;
    return true;
}

/* SPEC: RFC9112 6.3: only what says its length is taken */
static enum err read_head(struct ask *k)
{
    struct http1_response r;
    struct slice field;
    unsigned length = 0;
    size_t n;
    TRY(http1_head_find(buf_slice(&k->in), 0, &n));
    TRY(http1_response_decode(slice_head(buf_slice(&k->in), n), &r));
    if (http1_request_count(&r.fields, "transfer-encoding") > 0 ||
        http1_request_count(&r.fields, "content-length") > 1) {
        return ERR_MALFORMED;
    }
    if (http1_request_find(&r.fields, "content-length", &field)) {
        TRY(read_number(field, 9, &length) ? OK : ERR_MALFORMED);
    }
    if (length > CLIENT_HTTPS_BODY_MAX) {
        return ERR_TOO_LARGE;
    }
    k->answer->status = r.status;
    if (http1_request_find(&r.fields, "retry-after", &field)) {
        (void)read_number(field, RETRY_DIGITS, &k->answer->retry_after_s);
    }
    if (http1_request_find(&r.fields, "content-type", &field)) {
        (void)slice_to_text(field, k->answer->type, sizeof k->answer->type);
    }
    buf_drop(&k->in, n);
    k->body_n = length;
    k->has_head = true;
    return OK;
}

/* ERR_AGAIN: more has to come. */
static enum err read_answer(struct ask *k)
{
    if (!k->has_head) {
        enum err err = read_head(k);
        if (err != OK && err != ERR_AGAIN) {
            why_set(k->why, "%s port %u answers, but not as an HTTP server should: is it the port "
                            "of the enrolment door?",
                    k->q->target->host, (unsigned)k->q->target->port);
        }
        TRY(err);
    }
    if (k->in.n < k->body_n) {
        return ERR_AGAIN;
    }
    return buf_append(&k->answer->body, slice_head(buf_slice(&k->in), k->body_n),
                      CLIENT_HTTPS_BODY_MAX);
}

static enum err explain(struct ask *k, enum err err)
{
    const char *text = k->stream != NULL ? stream_error(k->stream) : "";
    char verify[TLS_TEXT_BYTES];
    if (k->why->text[0] != '\0') {
        return err;
    }
    if (k->stream != NULL && stream_verify(k->stream) != TLS_VERIFY_OK) {
        tls_verify_text(stream_verify(k->stream), "server", verify);
        why_set(k->why, "%s: nothing was sent to %s port %u", verify, k->q->target->host,
                (unsigned)k->q->target->port);
        return ERR_AUTH;
    }
    why_set(k->why, "%s port %u ended the connection%s%s", k->q->target->host,
            (unsigned)k->q->target->port, text[0] != '\0' ? ": " : "", text);
    return err;
}

static enum err send_request(struct ask *k)
{
    struct slice part = buf_slice(&k->request);
    if (stream_is_blocked(k->stream)) {
        enum err err = stream_flush(k->stream, k->io);
        return err == ERR_AGAIN ? OK : err;
    }
    if (k->is_sent || !stream_is_ready(k->stream)) {
        return OK;
    }
    k->is_sent = true;
    return stream_write(k->stream, k->io, &part, 1);
}

/* One wait and what it brought. OK: the answer is there; ERR_AGAIN: go on. */
static enum err turn(struct ask *k)
{
    struct slice plain = {0};
    uint64_t now = now_of(k);
    short out = stream_is_blocked(k->stream) ? POLLOUT : 0;
    struct pollfd p = {.fd = stream_fd(k->stream), .events = (short)(POLLIN | out)};
    if (now >= k->until_ms) {
        why_set(k->why, "%s port %u does not answer", k->q->target->host,
                (unsigned)k->q->target->port);
        return ERR_TIMEOUT;
    }
    if (!stream_has_pending(k->stream) && poll(&p, 1, (int)(k->until_ms - now)) < 0) {
        return errno == EINTR ? ERR_AGAIN : ERR_IO;
    }
    stream_io_now(k->io, now_of(k));
    if (stream_has_pending(k->stream) || (p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        TRY(stream_read(k->stream, k->io, &plain));
        TRY(buf_append(&k->in, plain, CLIENT_HTTPS_BODY_MAX + HTTP1_HEAD_MAX));
    }
    TRY(send_request(k));
    return k->is_sent ? read_answer(k) : ERR_AGAIN;
}

enum err client_https_ask(const struct client_https *q, struct client_https_answer *ret,
                          struct why *why)
{
    AUTO(ask_done) struct ask k = {.q = q, .answer = ret, .why = why, .clock = clock_system()};
    why->text[0] = '\0';
    k.until_ms = now_of(&k) + CLIENT_HTTPS_MS;
    enum err err = start(&k);
    if (err == OK) {
        err = send_request(&k);
        err = err == OK ? ERR_AGAIN : err;
    }
    while (err == ERR_AGAIN) {
        err = turn(&k);
    }
    if (err != OK) {
        return explain(&k, err);
    }
    stream_close(k.stream, k.io);
    return OK;
}

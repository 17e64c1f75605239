#include "app/cli/https_client.h"

#include <errno.h>
#include <poll.h>

#include "app/cli/client_trust.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/stream.h"

enum { CONNECT_MS = 10 * 1000, REQUEST_MAX = 64 * 1024 };

struct https_client {
    struct cli *cli;
    const struct client_target *target;
    struct clock clock;
    struct tls *tls;
    struct stream_io *io;
    struct stream *stream;
    struct buf out, in;
    bool is_pinned; /* trusted by the digest of a root */
};

struct https_client *https_free(struct https_client *c)
{
    if (c != NULL) {
        if (c->stream != NULL) {
            stream_close(c->stream, c->io);
        }
        stream_free(c->stream);
        stream_io_free(c->io);
        tls_free(c->tls);
        buf_wipe(&c->out);
        buf_wipe(&c->in);
        mem_free(c);
    }
    return NULL;
}

static uint64_t now_of(const struct https_client *c)
{
    return c->clock.mono_ms(c->clock.ctx);
}

static int start(struct https_client *c, struct slice root_sha256)
{
    const struct client_target *t = c->target;
    struct tls_client_config config = {.root_sha256 = root_sha256,
                                       .ca_pem = root_sha256.n == 0 ? buf_slice(&t->ca)
                                                                    : (struct slice){0},
                                       .alpn = "http/1.1",
                                       .host = t->host,
                                       .chain_pem = buf_slice(&t->chain),
                                       .key_pem = buf_slice(&t->key)};
    char text[TLS_TEXT_BYTES];
    int fd;
    if (tls_client_new(&config, text, &c->tls) != OK) {
        return cli_fail(c->cli, "certificates: %s", text);
    }
    enum err err = net_connect_tcp(t->host, t->port, CONNECT_MS, &fd);
    if (err != OK) {
        return client_unreached(c->cli, t, err);
    }
    if (stream_new(fd, STREAM_CLIENT, c->tls, &c->stream) != OK || stream_io_new(&c->io) != OK) {
        return cli_fail(c->cli, "no memory");
    }
    stream_io_now(c->io, now_of(c));
    return stream_start(c->stream, c->io) == OK ? CLI_DONE
                                                : client_broken(c->cli, t, stream_error(c->stream));
}

int https_open(struct cli *cli, const struct client_target *target, struct slice root_sha256,
               struct https_client **ret)
{
    struct https_client *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return cli_fail(cli, "no memory");
    }
    *c = (struct https_client){
        .cli = cli, .target = target, .clock = clock_system(), .is_pinned = root_sha256.n > 0};
    int code = start(c, root_sha256);
    if (code != CLI_DONE) {
        https_free(c);
        return code;
    }
    *ret = c;
    return CLI_DONE;
}

/* ---- one exchange ---- */

__attribute__((format(printf, 2, 3))) static enum err put(struct buf *b, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof line) {
        return ERR_TOO_LARGE;
    }
    enum err err = buf_append(b, slice_of(line, (size_t)n), REQUEST_MAX);
    mem_wipe(line, sizeof line);
    return err;
}

static enum err write_request(struct https_client *c, const struct https_request *r)
{
    struct buf *b = &c->out;
    bool is_six = strchr(c->target->host, ':') != NULL;
    TRY(put(b, "%s %s HTTP/1.1\r\nHost: %s%s%s:%u\r\n", r->method, r->path, is_six ? "[" : "",
            c->target->host, is_six ? "]" : "", (unsigned)c->target->port));
    if (r->authorization != NULL) {
        TRY(put(b, "Authorization: %s\r\n", r->authorization));
    }
    if (r->type != NULL) {
        TRY(put(b, "Content-Type: %s\r\nContent-Length: %zu\r\n", r->type, r->body.n));
    }
    TRY(put(b, "\r\n"));
    return buf_append(b, r->body, REQUEST_MAX);
}

/* OK: *ret is whole. ERR_AGAIN. */
static enum err read_answer(const struct https_client *c, struct https_answer *ret)
{
    struct slice all = buf_slice(&c->in), text;
    struct http1_response r;
    size_t head = 0, n = 0;
    TRY(http1_head_find(all, 0, &head));
    TRY(http1_response_decode(slice_head(all, head), &r));
    *ret = (struct https_answer){.status = r.status};
    if (http1_request_find(&r.fields, "Content-Length", &text)) {
        for (size_t i = 0; i < text.n && i < 7; i++) {
            n = n * 10 + (size_t)(text.p[i] - '0') % 10;
        }
    }
    if (http1_request_find(&r.fields, "Retry-After", &text)) {
        for (size_t i = 0; i < text.n && i < 4; i++) {
            ret->retry_after_s = ret->retry_after_s * 10 + (unsigned)(text.p[i] - '0') % 10;
        }
    }
    ret->body = slice_head(slice_from(all, head), n);
    return ret->body.n == n ? OK : n > HTTPS_ANSWER_MAX ? ERR_TOO_LARGE : ERR_AGAIN;
}

static enum err flush(struct https_client *c)
{
    if (stream_is_blocked(c->stream)) {
        enum err err = stream_flush(c->stream, c->io);
        return err == ERR_AGAIN ? OK : err;
    }
    if (!stream_is_ready(c->stream) || c->out.n == 0) {
        return OK;
    }
    struct slice part = buf_slice(&c->out);
    TRY(stream_write(c->stream, c->io, &part, 1));
    buf_wipe(&c->out);
    return OK;
}

static enum err read_some(struct https_client *c)
{
    struct slice plain;
    do {
        TRY(stream_read(c->stream, c->io, &plain));
        TRY(buf_append(&c->in, plain, HTTPS_ANSWER_MAX + HTTP1_HEAD_MAX));
    } while (stream_has_pending(c->stream));
    return OK;
}

static int failed(struct https_client *c, enum err err)
{
    if (err == ERR_AUTH && !c->is_pinned) {
        return client_untrusted(c->cli, c->target, stream_verify(c->stream));
    }
    if (err == ERR_AUTH) {
        return cli_fail(c->cli,
                        "the server at %s port %u is not the one of --ca-sha256, or its "
                        "certificate does not carry this name: %s. Compare with what `enrol token` "
                        "printed, and use a name of the certificate: `certs renew --host NAME` on "
                        "the server adds one",
                        c->target->host, (unsigned)c->target->port, stream_error(c->stream));
    }
    if (err == ERR_MALFORMED || err == ERR_TOO_LARGE) {
        return cli_fail(c->cli, "what answers at %s port %u is no enrolment door of Sallyport",
                        c->target->host, (unsigned)c->target->port);
    }
    return client_broken(c->cli, c->target, stream_error(c->stream));
}

int https_ask(struct https_client *c, const struct https_request *r, struct https_answer *ret)
{
    uint64_t end_ms = now_of(c) + HTTPS_ANSWER_MS;
    enum err err = ERR_AGAIN;
    buf_clear(&c->in);
    if (write_request(c, r) != OK) {
        return cli_fail(c->cli, "the request is too large");
    }
    while (err == ERR_AGAIN && now_of(c) < end_ms) {
        short out = stream_is_blocked(c->stream) ? POLLOUT : 0;
        struct pollfd p = {.fd = stream_fd(c->stream), .events = (short)(POLLIN | out)};
        stream_io_now(c->io, now_of(c));
        err = flush(c);
        if (err == OK && poll(&p, 1, loop_timeout(now_of(c), end_ms)) < 0 && errno != EINTR) {
            err = ERR_IO;
        }
        if (err == OK && (p.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            err = read_some(c);
        }
        err = err == OK ? read_answer(c, ret) : err;
    }
    if (err == ERR_AGAIN) {
        return cli_fail(c->cli, "no answer came from %s port %u within %d s", c->target->host,
                        (unsigned)c->target->port, HTTPS_ANSWER_MS / 1000);
    }
    return err == OK ? CLI_DONE : failed(c, err);
}

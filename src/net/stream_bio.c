/* stream_bio - how a stream's bytes leave, and the BIO that joins TLS to the worker's buffers. */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/stream_private.h"

enum err stream_fail(struct stream *s, enum err e, const char *text)
{
    if (s->failed == OK) {
        s->failed = e;
        s->error = text;
    }
    return s->failed;
}

enum err stream_fail_errno(struct stream *s)
{
    bool gone = errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT || errno == ENOTCONN;
    return stream_fail(s, gone ? ERR_CLOSED : ERR_IO, strerrordesc_np(errno));
}

/* For all parts at once: a buffer that doubles would hold more than what waits. */
static enum err make_room(struct stream *s, size_t n)
{
    uint8_t *unused = NULL;
    s->pending = s->pending != NULL ? s->pending : mem_zalloc(sizeof(*s->pending));
    enum err err = s->pending != NULL ? buf_room(&s->pending->bytes, n, STREAM_PENDING_MAX, &unused)
                                      : ERR_NOMEM;
    if (err == ERR_NOMEM) {
        return stream_fail(s, err, "there is no memory for what the peer has not read");
    }
    if (err != OK) {
        return stream_fail(s, ERR_LIMIT, "the peer does not read: too much is waiting for it");
    }
    return OK;
}

/* sendmsg costs more than send, and most output is of one part. */
static ssize_t send_now(const struct stream *s, struct iovec *parts, size_t n_parts)
{
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = n_parts};
    return n_parts == 1 ? send(s->source.fd, parts[0].iov_base, parts[0].iov_len, flags)
                        : sendmsg(s->source.fd, &m, flags);
}

/* What the socket did not take, behind the first `sent` bytes. */
static enum err keep(struct stream *s, const struct iovec *parts, size_t n_parts, size_t sent)
{
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++) {
        n += parts[i].iov_len;
    }
    if (sent == n) {
        return OK;
    }
    TRY(make_room(s, n - sent));
    for (size_t i = 0; i < n_parts; i++) {
        struct slice part = slice_of(parts[i].iov_base, parts[i].iov_len);
        size_t skip = sent < part.n ? sent : part.n;
        sent -= skip;
        TRY(buf_append(&s->pending->bytes, slice_from(part, skip), STREAM_PENDING_MAX));
    }
    return OK;
}

enum err stream_send_parts(struct stream *s, struct iovec *parts, size_t n_parts)
{
    size_t sent = 0;
    if (!stream_is_blocked(s)) {
        ssize_t n = send_now(s, parts, n_parts);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return stream_fail_errno(s);
        }
        sent = n > 0 ? (size_t)n : 0;
    }
    return keep(s, parts, n_parts, sent);
}

static enum err send_by(struct stream *s, struct iovec *vector, const struct slice *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* sendmsg does not write through it. */
        vector[i] =
            (struct iovec){.iov_base = (void *)(uintptr_t)parts[i].p, .iov_len = parts[i].n};
    }
    return stream_send_parts(s, vector, n);
}

/* What is on the stack is cleared when it comes there, so not all of it for a few parts. */
static enum err send_few(struct stream *s, const struct slice *parts, size_t n)
{
    struct iovec vector[PARTS_FEW];
    return send_by(s, vector, parts, n);
}

static enum err send_many(struct stream *s, const struct slice *parts, size_t n)
{
    struct iovec vector[PARTS_MAX];
    return send_by(s, vector, parts, n);
}

enum err stream_send_plain(struct stream *s, const struct slice *parts, size_t n_parts)
{
    for (size_t at = 0; at < n_parts;) {
        size_t n = n_parts - at < PARTS_MAX ? n_parts - at : PARTS_MAX;
        TRY(n <= PARTS_FEW ? send_few(s, parts + at, n) : send_many(s, parts + at, n));
        at += n;
    }
    return OK;
}

enum err stream_send_sealed(struct stream *s, struct stream_io *io)
{
    if (io->sealed_n == 0) {
        return OK;
    }
    struct iovec part = {.iov_base = io->sealed, .iov_len = io->sealed_n};
    io->sealed_n = 0;
    TRY(stream_send_parts(s, &part, 1));
    return OK;
}

/* The BIO between TLS and the worker's buffers. */

/* Clearing walks the whole queue of the library, full or not; looking does not. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0) {
        ERR_clear_error();
    }
}

void stream_aim(struct stream *s, struct stream_io *io)
{
    assert(io->sealed_n == 0 && io->in.n == 0);
    s->tls->io = io;
    forget_errors();
}

void stream_unaim(struct stream *s)
{
    s->tls->io->in = (struct slice){0};
    s->tls->io = NULL;
    forget_errors();
}

static int bio_read(BIO *b, char *dst, int size)
{
    struct stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    struct slice in = s->tls->io != NULL ? s->tls->io->in : (struct slice){0};
    if (in.n == 0 || size <= 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    struct slice taken = slice_head(in, (size_t)size);
    memcpy(dst, taken.p, taken.n);
    s->tls->io->in = slice_from(in, taken.n);
    return (int)taken.n;
}

static int bio_write(BIO *b, const char *src, int size)
{
    struct stream *s = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    struct slice bytes = slice_of(src, size > 0 ? (size_t)size : 0);
    if (s->tls->io == NULL || bytes.n == 0 || bytes.n > SEALED_BYTES) {
        return -1;
    }
    if (bytes.n > SEALED_BYTES - s->tls->io->sealed_n && stream_send_sealed(s, s->tls->io) != OK) {
        return -1;
    }
    memcpy(&s->tls->io->sealed[s->tls->io->sealed_n], bytes.p, bytes.n);
    s->tls->io->sealed_n += bytes.n;
    return size;
}

static long bio_ctrl(BIO *b, int what, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *stream_bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
    if (m != NULL && BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1) {
        return m;
    }
    BIO_meth_free(m);
    return NULL;
}

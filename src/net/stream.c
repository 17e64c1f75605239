#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/wr.h"
#include "net/stream_private.h"

enum { FRAMES_AT_ONCE = 32 };

/* The worker's buffers. */

struct stream_io *stream_io_free(struct stream_io *io)
{
    if (io != NULL) {
        mem_wipe(io->plain, sizeof(io->plain));
        mem_wipe(io->out, sizeof(io->out));
    }
    return mem_free(io);
}

enum err stream_io_new(struct stream_io **ret)
{
    struct stream_io *io = mem_alloc(sizeof(*io));
    if (io == NULL) {
        return ERR_NOMEM;
    }
    io->now_ms = 0;
    io->in = (struct slice){0};
    io->sealed_n = 0;
    *ret = io;
    return OK;
}

void stream_io_now(struct stream_io *io, uint64_t now_ms)
{
    io->now_ms = now_ms;
}

uint8_t *stream_io_out(struct stream_io *io)
{
    return io->out;
}

enum err stream_watch(struct stream *s)
{
    uint32_t events = (s->held ? 0 : EPOLLIN) | (stream_is_blocked(s) ? EPOLLOUT : 0);
    return s->loop != NULL ? loop_change(s->loop, &s->source, events) : OK;
}

/* TLS 1.3 KeyUpdate and anything else of a handshake that comes when the handshake is over. */
static void on_message(int writing, int version, int content, const void *bytes, size_t n, SSL *ssl,
                       void *ctx)
{
    (void)version;
    (void)bytes;
    (void)n;
    (void)ctx;
    struct tls_note *note = SSL_get_app_data(ssl);
    if (writing == 0 && content == SSL3_RT_HANDSHAKE && note->established) {
        note->n_handshake_records++;
    }
}

/* Life. */

static enum err tls_setup(struct stream *s, enum stream_role role, struct tls *tls)
{
    s->tls = mem_zalloc(sizeof(*s->tls));
    if (s->tls == NULL) {
        return ERR_NOMEM;
    }
    s->tls->shared = tls_ref(tls);
    s->tls->ssl = SSL_new(tls_ctx(tls));
    if (s->tls->ssl == NULL) {
        return ERR_NOMEM;
    }
    BIO *b = BIO_new(tls_bio_method(tls));
    if (b == NULL) {
        return ERR_NOMEM;
    }
    BIO_set_data(b, s);
    BIO_set_init(b, 1);
    SSL_set_bio(s->tls->ssl, b, b);
    if (SSL_set_app_data(s->tls->ssl, &s->tls->note) != 1) {
        return ERR_NOMEM;
    }
    SSL_set_msg_callback(s->tls->ssl, on_message);
    if (role == STREAM_SERVER) {
        SSL_set_accept_state(s->tls->ssl);
        return OK;
    }
    SSL_set_connect_state(s->tls->ssl);
    const char *host = tls_host(tls);
    if (host != NULL && !tls_host_is_address(host) &&
        SSL_set_tlsext_host_name(s->tls->ssl, host) != 1) {
        return ERR_CRYPTO;
    }
    return OK;
}

size_t stream_bytes(void)
{
    return sizeof(struct stream);
}

enum err stream_begin(struct stream *s, int fd, enum stream_role role, struct tls *tls)
{
    s->source.fd = fd;
    if (tls != NULL) {
        ERR_clear_error();
        assert(tls_is_server(tls) == (role == STREAM_SERVER));
        enum err e = tls_setup(s, role, tls);
        if (e != OK) {
            stream_end(s);
            return e;
        }
    }
    return OK;
}

enum err stream_new(int fd, enum stream_role role, struct tls *tls, struct stream **ret)
{
    struct stream *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    enum err e = stream_begin(s, fd, role, tls);
    if (e != OK) {
        mem_free(s);
        return e;
    }
    *ret = s;
    return OK;
}

enum err stream_upgrade(struct stream *s, const struct ws_rules *rules)
{
    assert(s->ws == NULL && (s->tls == NULL || tls_is_server(s->tls->shared)));
    return ws_new(rules, s->tls != NULL ? s->tls->shared : NULL, &s->ws);
}

enum err stream_upgrade_client(struct stream *s, const struct ws_target *target, uint64_t frame_max)
{
    assert(s->ws == NULL && (s->tls == NULL || !tls_is_server(s->tls->shared)));
    struct random_source random = random_system();
    return ws_client_new(target, &random, frame_max, &s->ws);
}

static void tls_done(struct stream *s)
{
    if (s->tls != NULL) {
        SSL_free(s->tls->ssl);
        s->tls->shared = tls_free(s->tls->shared);
        tls_note_done(&s->tls->note);
        s->tls = mem_free(s->tls);
    }
}

static void pending_forget(struct stream *s)
{
    if (s->pending != NULL) {
        buf_done(&s->pending->bytes);
        s->pending = mem_free(s->pending);
    }
}

void stream_end(struct stream *s)
{
    if (s->loop != NULL) {
        loop_forget(s->loop, &s->source); /* nobody duplicates the descriptor of a stream */
    }
    s->ws = ws_free(s->ws);
    tls_done(s);
    pending_forget(s);
    stream_settle(s);
    (void)close(s->source.fd);
}

struct stream *stream_free(struct stream *s)
{
    if (s != NULL) {
        stream_end(s);
    }
    return mem_free(s);
}

static void source_ready(struct loop_source *source, uint32_t events)
{
    struct stream *s = CONTAINER_OF(source, struct stream, source);
    s->ready(s->owner, events);
}

enum err stream_attach(struct stream *s, struct loop *l,
                       void (*ready)(void *owner, uint32_t events), void *owner)
{
    assert(s->loop == NULL);
    s->source.ready = source_ready;
    s->ready = ready;
    s->owner = owner;
    TRY(loop_add(l, &s->source, EPOLLIN));
    s->loop = l;
    return stream_watch(s);
}

void stream_detach(struct stream *s)
{
    if (s->loop != NULL) {
        stream_settle(s);
        loop_remove(s->loop, &s->source);
        s->loop = NULL;
        s->poll_once = true;
    }
}

enum err stream_hold(struct stream *s, bool held)
{
    s->held = held;
    return stream_watch(s);
}

/* Reading. */

/* Turns what SSL_get_error says into the stream's first error; ERR_AGAIN when it only waits. */
static enum err judge(struct stream *s, int result)
{
    int why = SSL_get_error(s->tls->ssl, result);
    char text[TLS_TEXT_BYTES];
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        return ERR_AGAIN;
    }
    if (why == SSL_ERROR_ZERO_RETURN) {
        s->cleanly = true;
        return stream_fail(s, ERR_CLOSED, "");
    }
    if (s->failed != OK) {
        return s->failed; /* our BIO met the real reason */
    }
    enum err err = tls_judge(s->tls->ssl, &s->tls->note,
                             tls_is_server(s->tls->shared) ? "client" : "server", text);
    s->tls->note.text = mem_strdup(text);
    return stream_fail(s, err, s->tls->note.text != NULL ? s->tls->note.text : "TLS failed");
}

static enum err check_updates(struct stream *s, uint64_t now_ms)
{
    struct tls_note *note = &s->tls->note;
    if (now_ms - note->updates_from_ms >= MINUTE_MS) {
        note->updates_from_ms = now_ms;
        note->n_updates = 0;
    }
    note->n_updates += note->n_handshake_records;
    note->n_handshake_records = 0;
    if (note->n_updates > tls_key_updates(s->tls->shared)) {
        return stream_fail(s, ERR_QUOTA, "too many TLS key updates");
    }
    return OK;
}

/* One step of the handshake or one record. ERR_AGAIN: nothing came of it. */
static enum err step(struct stream *s, struct stream_io *io, size_t *n_plain)
{
    if (!s->tls->note.established) {
        int result = SSL_do_handshake(s->tls->ssl);
        if (result != 1) {
            return judge(s, result);
        }
        s->tls->note.established = true;
        s->tls->note.updates_from_ms = io->now_ms;
        if (tls_is_server(s->tls->shared)) {
            tls_settle(s->tls->ssl, &s->tls->note);
        }
        return OK;
    }
    size_t n = 0;
    int result = SSL_read_ex(s->tls->ssl, &io->plain[*n_plain], PLAIN_BYTES - *n_plain, &n);
    TRY(check_updates(s, io->now_ms));
    if (result != 1) {
        return judge(s, result);
    }
    *n_plain += n;
    return OK;
}

/* What came, and what of a record did not fit into the plaintext before it. */
static bool has_more(const struct stream *s, const struct stream_io *io, size_t n_plain)
{
    return io->in.n > 0 || (n_plain < PLAIN_BYTES && SSL_pending(s->tls->ssl) > 0);
}

/* Everything that the received bytes complete. */
static size_t drive(struct stream *s, struct stream_io *io)
{
    size_t n_plain = 0;
    unsigned n_fruitless = 0;
    enum err e = OK;
    /* A record that is not data ends a step with ERR_AGAIN although more was received, and some
     * steps only finish what the one before began. When all is taken there is no step that asks in
     * vain: it would cost the library a buffer. */
    do {
        size_t before = io->in.n;
        e = step(s, io, &n_plain);
        n_fruitless = e == ERR_AGAIN && io->in.n == before ? n_fruitless + 1 : 0;
    } while ((e == OK && has_more(s, io, n_plain)) ||
             (e == ERR_AGAIN && io->in.n > 0 && n_fruitless < FRUITLESS_MAX));
    if (io->in.n > 0) {
        (void)stream_fail(s, ERR_PROTOCOL, "TLS does not take what was received");
    }
    /* Handshake flights, key updates and alerts leave at once; a second error changes nothing. */
    enum err sent = stream_send_sealed(s, io);
    if (sent == OK && stream_watch(s) != OK) {
        (void)stream_fail(s, ERR_IO, "the event loop refuses the connection");
    }
    return n_plain;
}

static size_t receive(struct stream *s, struct stream_io *io)
{
    ssize_t n = recv(s->source.fd, io->recv, sizeof(io->recv), MSG_DONTWAIT);
    s->has_drained = n < (ssize_t)sizeof(io->recv);
    if (n == 0) {
        (void)stream_fail(s, ERR_CLOSED, "");
        /* Without TLS the end of the stream is all the orderly close there is. */
        s->cleanly = s->tls == NULL;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        (void)stream_fail_errno(s);
    }
    return n > 0 ? (size_t)n : 0;
}

/* Much is received as ever: it is no lone message, and would be copied twice. */
static size_t glance(struct stream *s, struct stream_io *io)
{
    ssize_t n = recv(s->source.fd, io->recv, STREAM_GLANCE_BYTES, MSG_DONTWAIT | MSG_PEEK);
    if (n <= 0 || n == STREAM_GLANCE_BYTES) {
        return receive(s, io);
    }
    s->has_drained = true;
    s->glanced_n = (uint16_t)n;
    return (size_t)n;
}

void stream_settle(struct stream *s)
{
    uint8_t unused[STREAM_GLANCE_BYTES];
    if (s->glanced_n > 0) {
        /* They are there, unless the connection has gone; nothing is copied. */
        (void)!recv(s->source.fd, unused, s->glanced_n, MSG_DONTWAIT | MSG_TRUNC);
        s->glanced_n = 0;
    }
}

enum err stream_start(struct stream *s, struct stream_io *io)
{
    if (s->tls != NULL && s->failed == OK) {
        stream_aim(s, io);
        (void)drive(s, io);
        stream_unaim(s);
    }
    return s->failed;
}

/* Writing. */

static enum err seal(struct stream *s, struct slice plain)
{
    size_t n = 0;
    if (plain.n == 0) {
        return OK;
    }
    int result = SSL_write_ex(s->tls->ssl, plain.p, plain.n, &n);
    if (result == 1 && n == plain.n) {
        return OK;
    }
    enum err e = judge(s, result);
    /* Our BIO takes everything, so waiting means that something is wrong. */
    return e != ERR_AGAIN ? e
                          : stream_fail(s, ERR_PROTOCOL, "TLS stopped in the middle of a record");
}

/* Small parts share a record, so that a turn of many small packets costs few records; what fills
 * records on its own, or comes last, is sealed from where it is. */
static enum err seal_parts(struct stream *s, struct stream_io *io, const struct slice *parts,
                           size_t n_parts)
{
    struct wr record = wr_into(io->record, RECORD_BYTES);
    for (size_t i = 0; i < n_parts; i++) {
        struct slice rest = parts[i];
        while (rest.n > 0) {
            bool is_last = i + 1 == n_parts;
            if (record.at == 0 && (is_last || rest.n >= RECORD_BYTES)) {
                struct slice whole =
                    is_last ? rest : slice_head(rest, rest.n - rest.n % RECORD_BYTES);
                TRY(seal(s, whole));
                rest = slice_from(rest, whole.n);
                continue;
            }
            struct slice piece = slice_head(rest, wr_left(&record));
            wr_bytes(&record, piece);
            rest = slice_from(rest, piece.n);
            if (wr_left(&record) == 0) {
                TRY(seal(s, wr_slice(&record)));
                record = wr_into(io->record, RECORD_BYTES);
            }
        }
    }
    return seal(s, wr_slice(&record));
}

/* Sends the parts, sealed where there is TLS. */
static enum err put(struct stream *s, struct stream_io *io, const struct slice *parts,
                    size_t n_parts)
{
    if (s->tls == NULL) {
        TRY(stream_send_plain(s, parts, n_parts));
        return stream_watch(s);
    }
    stream_aim(s, io);
    enum err e = seal_parts(s, io, parts, n_parts);
    if (e == OK) {
        e = stream_send_sealed(s, io);
    }
    io->sealed_n = 0;
    stream_unaim(s);
    TRY(e);
    return stream_watch(s);
}

/* With WebSocket between. */

/* What WebSocket says itself. A pong waits while the socket is full, so that pings of a peer that
 * does not read take no memory; the last words are few and go behind what is kept. */
static enum err ws_speak(struct stream *s, struct stream_io *io)
{
    uint8_t bytes[WS_OUTPUT_BYTES];
    if (stream_is_blocked(s) && !ws_is_over(s->ws)) {
        return OK;
    }
    struct slice words = slice_of(bytes, ws_output(s->ws, bytes, sizeof(bytes)));
    return words.n > 0 ? put(s, io, &words, 1) : OK;
}

static void ws_say(struct stream *s, struct stream_io *io)
{
    enum err told = ws_speak(s, io);
    if (told != OK) {
        (void)stream_fail(s, told, "the answer cannot be sent"); /* the next read returns it */
    }
}

static struct slice ws_take(struct stream *s, struct stream_io *io, uint8_t *bytes, size_t n)
{
    struct slice data = ws_input(s->ws, bytes, n, io->now_ms);
    ws_delay_close(s->ws, data.n > 0 && !ws_is_client(s->ws));
    ws_say(s, io);
    return data;
}

/* The end of WebSocket, once; the socket may be fine. */
static bool ws_has_news(const struct stream *s)
{
    return s->ws != NULL && ws_failure(s->ws) != OK && !s->ws_failure_told && !s->closing;
}

static enum err ws_tell(struct stream *s, struct stream_io *io)
{
    s->ws_failure_told = true;
    ws_delay_close(s->ws, false);
    ws_say(s, io);
    return ws_failure(s->ws);
}

static enum err read_by(struct stream *s, struct stream_io *io, struct slice *ret_plain,
                        size_t (*take)(struct stream *s, struct stream_io *io))
{
    struct slice plain = {0};
    stream_settle(s);
    s->poll_once = false;
    if (ws_has_news(s)) {
        return ws_tell(s, io);
    }
    if (s->failed != OK) {
        s->failure_told = true;
        return s->failed;
    }
    size_t n = take(s, io);
    uint8_t *bytes = io->recv;
    s->opening_n = s->has_opened ? 0 : (uint32_t)n;
    s->has_opened = s->has_opened || n > 0;
    if (s->tls != NULL && s->failed == OK) {
        stream_aim(s, io);
        io->in = slice_of(io->recv, n);
        n = drive(s, io);
        bytes = io->plain;
        stream_unaim(s);
    }
    /* A client's request leaves when TLS is ready for it. */
    bool through_ws = s->ws != NULL && stream_is_established(s);
    plain = through_ws ? ws_take(s, io, bytes, n) : slice_of(bytes, n);
    if (plain.n == 0 && ws_has_news(s)) {
        return ws_tell(s, io);
    }
    if (s->failed != OK && plain.n == 0) {
        s->failure_told = true;
        return s->failed;
    }
    *ret_plain = plain;
    return OK;
}

enum err stream_read(struct stream *s, struct stream_io *io, struct slice *ret_plain)
{
    return read_by(s, io, ret_plain, receive);
}

enum err stream_glance(struct stream *s, struct stream_io *io, struct slice *ret_plain)
{
    return read_by(s, io, ret_plain, glance);
}

bool stream_has_pending(const struct stream *s)
{
    return s->poll_once || ws_has_news(s) || (s->failed != OK && !s->failure_told) ||
           (s->tls != NULL && SSL_pending(s->tls->ssl) > 0);
}

/* A client's frames are masked, so they are copies; what it says is little. */
static enum err write_masked(struct stream *s, struct stream_io *io, const struct slice *parts,
                             size_t n_parts)
{
    uint8_t frame[WS_CLIENT_FRAME_BYTES];
    for (size_t i = 0; i < n_parts; i++) {
        struct slice rest = parts[i];
        while (rest.n > 0) {
            struct slice piece = slice_head(rest, WS_CLIENT_CHUNK);
            struct slice whole = slice_of(frame, ws_client_frame(s->ws, piece, frame));
            TRY(put(s, io, &whole, 1));
            rest = slice_from(rest, piece.n);
        }
    }
    return OK;
}

enum err stream_write(struct stream *s, struct stream_io *io, const struct slice *parts,
                      size_t n_parts)
{
    size_t total = 0;
    if (s->failed != OK) {
        return s->failed;
    }
    for (size_t i = 0; i < n_parts; i++) {
        if (parts[i].n > STREAM_SEND_BYTES - total) {
            return ERR_TOO_LARGE;
        }
        total += parts[i].n;
    }
    if (!stream_is_ready(s) || s->closing || stream_is_blocked(s)) {
        return ERR_AGAIN;
    }
    if (s->ws == NULL) {
        return put(s, io, parts, n_parts);
    }
    if (ws_is_client(s->ws)) {
        return write_masked(s, io, parts, n_parts);
    }
    uint8_t head[WS_FRAME_HEAD_BYTES];
    struct slice framed[1 + STREAM_WS_PARTS_MAX];
    if (total == 0 || n_parts > STREAM_WS_PARTS_MAX) {
        return total == 0 ? OK : ERR_TOO_LARGE;
    }
    framed[0] = slice_of(head, ws_frame_head(total, head));
    memcpy(&framed[1], parts, n_parts * sizeof(*parts));
    return put(s, io, framed, n_parts + 1);
}

/* Takes up to FRAMES_AT_ONCE packets off the front as frames of their own; `all`: the rest as one.
 */
static enum err put_frames(struct stream *s, struct stream_io *io, struct slice *bytes,
                           size_t (*cut)(struct slice bytes), bool all)
{
    uint8_t heads[FRAMES_AT_ONCE][WS_FRAME_HEAD_BYTES];
    struct slice parts[2 * FRAMES_AT_ONCE];
    size_t n = 0;
    while (bytes->n > 0 && n < FRAMES_AT_ONCE) {
        size_t size = all ? 0 : cut(*bytes);
        struct slice packet = slice_head(*bytes, size > 0 ? size : bytes->n);
        parts[2 * n] = slice_of(heads[n], ws_frame_head(packet.n, heads[n]));
        parts[2 * n + 1] = packet;
        *bytes = slice_from(*bytes, packet.n);
        n++;
    }
    return put(s, io, parts, 2 * n);
}

enum err stream_write_packets(struct stream *s, struct stream_io *io, struct slice bytes,
                              size_t (*cut)(struct slice bytes))
{
    if (s->ws == NULL || s->failed != OK) {
        return stream_write(s, io, &bytes, 1);
    }
    if (bytes.n > STREAM_SEND_BYTES) {
        return ERR_TOO_LARGE;
    }
    if (!stream_is_ready(s) || s->closing || stream_is_blocked(s)) {
        return ERR_AGAIN;
    }
    /* Not all, because the heads have to fit beside the data in what is kept for a slow reader. */
    for (size_t n = 0; bytes.n > 0; n += FRAMES_AT_ONCE) {
        TRY(put_frames(s, io, &bytes, cut, n >= STREAM_FRAMES_MAX));
    }
    return OK;
}

static void finish_closing(struct stream *s)
{
    if (s->closing && !stream_is_blocked(s)) {
        /* It fails when the peer has gone, which is what was wanted. */
        (void)shutdown(s->source.fd, SHUT_WR);
    }
}

enum err stream_flush(struct stream *s, struct stream_io *io)
{
    if (s->failed != OK) {
        return s->failed;
    }
    if (stream_is_blocked(s)) {
        struct slice rest = slice_from(buf_slice(&s->pending->bytes), s->pending->at);
        ssize_t n = send(s->source.fd, rest.p, rest.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return stream_fail_errno(s);
        }
        s->pending->at += n > 0 ? (size_t)n : 0;
        if (stream_is_blocked(s)) {
            return ERR_AGAIN;
        }
        /* An idle connection holds no buffer. */
        pending_forget(s);
        finish_closing(s);
        if (s->ws != NULL && !s->closing) {
            TRY(ws_speak(s, io));
            return stream_is_blocked(s) ? ERR_AGAIN : stream_watch(s);
        }
    }
    return stream_watch(s);
}

bool stream_is_blocked(const struct stream *s)
{
    return stream_pending_bytes(s) > 0;
}

bool stream_is_established(const struct stream *s)
{
    return s->tls == NULL || s->tls->note.established;
}

bool stream_is_ready(const struct stream *s)
{
    return stream_is_established(s) && (s->ws == NULL || ws_is_writable(s->ws));
}

size_t stream_pending_bytes(const struct stream *s)
{
    return s->pending != NULL ? s->pending->bytes.n - s->pending->at : 0;
}

void stream_close(struct stream *s, struct stream_io *io)
{
    if (s->closing || (s->failed != OK && s->failed != ERR_CLOSED)) {
        return;
    }
    if (s->ws != NULL && stream_is_established(s)) {
        ws_close(s->ws);
        ws_delay_close(s->ws, false);
        enum err said = ws_speak(s, io);
        (void)said; /* like a close_notify that cannot leave */
    }
    s->closing = true;
    if (s->tls != NULL && s->tls->note.established) {
        stream_aim(s, io);
        /* Nothing is left to do about a close_notify that cannot leave. */
        (void)SSL_shutdown(s->tls->ssl);
        enum err e = stream_send_sealed(s, io);
        stream_unaim(s);
        if (e != OK || stream_watch(s) != OK) {
            return; /* the error sticks; the caller frees the stream at its deadline */
        }
    }
    finish_closing(s);
}

void stream_abort(struct stream *s)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    /* When it fails the close is an ordinary one. */
    (void)setsockopt(s->source.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

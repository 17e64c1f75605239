#include "net/stream.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/certs_test.h"

enum { GOT_MAX = 8 << 20, ROUNDS_MAX = 20000 };

enum who { CA, SERVER, CLIENT, EXPIRED, FUTURE, SELF, PURPOSE, WEAK, FOREIGN_CA, FOREIGN, N_WHO };

static struct test_cert certs[N_WHO];

struct side {
    struct stream *s;
    struct stream_io *io;
    struct buf got;
    enum err err;
    size_t n_reads;
};

struct duo {
    struct side client, server;
};

static int make_certs(void **state)
{
    (void)state;
    const char *names = "DNS:localhost,IP:127.0.0.1";
    const struct test_cert_spec specs[N_WHO] = {
        [CA] = {.name = "ca", .ca = true},
        [SERVER] = {.name = "server", .issuer = &certs[CA], .san = names, .eku = "serverAuth"},
        [CLIENT] = {.name = "client", .issuer = &certs[CA], .eku = "clientAuth"},
        [EXPIRED] = {"expired", &certs[CA], NULL, "clientAuth", false, false, -7200, -3600},
        [FUTURE] = {"future", &certs[CA], NULL, "clientAuth", false, false, 3600, 7200},
        [SELF] = {.name = "self", .san = names},
        [PURPOSE] = {.name = "purpose", .issuer = &certs[CA], .san = names, .eku = "serverAuth"},
        [WEAK] = {.name = "weak", .issuer = &certs[CA], .eku = "clientAuth", .rsa1024 = true},
        [FOREIGN_CA] = {.name = "foreign ca", .ca = true},
        [FOREIGN] = {.name = "foreign", .issuer = &certs[FOREIGN_CA], .san = names},
    };
    for (size_t i = 0; i < N_WHO; i++) {
        test_cert_make(&certs[i], &specs[i]);
    }
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_WHO; i++) {
        test_cert_done(&certs[i]);
    }
    return 0;
}

static struct tls *server_tls(enum who who, bool required, bool allow_tls12)
{
    struct tls_server_config c = {.chain_pem = test_cert_pem(&certs[who]),
                                  .key_pem = test_key_pem(&certs[who]),
                                  .client_ca_pem = test_cert_pem(&certs[CA]),
                                  .client_cert_required = required,
                                  .allow_tls12 = allow_tls12};
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    enum err e = tls_server_new(&c, text, &t);
    if (e != OK) {
        fail_msg("%s: %s", err_name(e), text);
    }
    return t;
}

static struct tls *client_tls(const char *host, const struct test_cert *own)
{
    struct tls_client_config c = {.ca_pem = test_cert_pem(&certs[CA]), .host = host};
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    if (own != NULL) {
        c.chain_pem = test_cert_pem(own);
        c.key_pem = test_key_pem(own);
    }
    enum err e = tls_client_new(&c, text, &t);
    if (e != OK) {
        fail_msg("%s: %s", err_name(e), text);
    }
    return t;
}

static void socket_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
}

static void duo_init(struct duo *d, struct tls *client, struct tls *server)
{
    int fds[2];
    socket_pair(fds);
    *d = (struct duo){0};
    assert_int_equal(stream_io_new(&d->client.io), OK);
    assert_int_equal(stream_io_new(&d->server.io), OK);
    assert_int_equal(stream_new(fds[0], STREAM_CLIENT, client, &d->client.s), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, server, &d->server.s), OK);
    (void)tls_free(client); /* the streams hold their own shares */
    (void)tls_free(server);
    d->client.err = stream_start(d->client.s, d->client.io);
}

static void side_done(struct side *side)
{
    side->s = stream_free(side->s);
    side->io = stream_io_free(side->io);
    buf_done(&side->got);
}

static void duo_done(struct duo *d)
{
    struct side *sides[2] = {&d->client, &d->server};
    for (int i = 0; i < 2; i++) {
        side_done(sides[i]);
    }
}

static void side_turn(struct side *side)
{
    if (side->err != OK) {
        return;
    }
    if (stream_is_blocked(side->s)) {
        enum err e = stream_flush(side->s, side->io);
        if (e != OK && e != ERR_AGAIN) {
            side->err = e;
            return;
        }
    }
    do {
        struct slice plain = {0};
        side->err = stream_read(side->s, side->io, &plain);
        side->n_reads++;
        if (side->err == OK) {
            assert_int_equal(buf_append(&side->got, plain, GOT_MAX), OK);
        }
    } while (side->err == OK && stream_has_pending(side->s));
}

static void duo_turn(struct duo *d)
{
    side_turn(&d->server);
    side_turn(&d->client);
}

static void duo_connect(struct duo *d)
{
    for (int i = 0; i < 10; i++) {
        duo_turn(d);
    }
    if (d->client.err != OK || d->server.err != OK) {
        fail_msg("client: %s, server: %s", stream_error(d->client.s), stream_error(d->server.s));
    }
    assert_true(stream_is_ready(d->client.s) && stream_is_ready(d->server.s));
}

static enum err write_text(struct side *side, struct slice s)
{
    return stream_write(side->s, side->io, &s, 1);
}

static void assert_got(const struct side *side, struct slice expected)
{
    assert_int_equal(side->got.n, expected.n);
    assert_true(slice_equal(buf_slice(&side->got), expected));
}

static void tls13_both_ways_and_orderly_close(void **state)
{
    (void)state;
    struct duo d;
    struct buf cert = {0};
    duo_init(&d, client_tls("localhost", &certs[CLIENT]), server_tls(SERVER, true, false));
    assert_int_equal(write_text(&d.client, slice_text("early")), ERR_AGAIN);
    duo_connect(&d);
    assert_string_equal(stream_version(d.server.s), "TLSv1.3");
    assert_string_equal(stream_cipher(d.server.s), "TLS_AES_128_GCM_SHA256");
    assert_int_equal(stream_peer_cert(d.server.s, &cert), OK);
    uint8_t *der = NULL;
    int n = i2d_X509(certs[CLIENT].x509, &der);
    assert_true(slice_equal(buf_slice(&cert), slice_of(der, (size_t)n)));
    OPENSSL_free(der);
    buf_done(&cert);
    assert_int_equal(write_text(&d.client, slice_text("ping")), OK);
    assert_int_equal(write_text(&d.server, slice_text("pong")), OK);
    duo_turn(&d);
    assert_got(&d.server, slice_text("ping"));
    assert_got(&d.client, slice_text("pong"));
    assert_int_equal(write_text(&d.client, slice_text("!")), OK);
    stream_close(d.client.s, d.client.io);
    assert_int_equal(write_text(&d.client, slice_text("late")), ERR_AGAIN);
    duo_turn(&d);
    assert_got(&d.server, slice_text("ping!"));
    assert_int_equal(d.server.err, ERR_CLOSED);
    assert_true(stream_closed_cleanly(d.server.s));
    duo_done(&d);
}

static void without_certificate_when_optional(void **state)
{
    (void)state;
    struct duo d;
    struct buf cert = {0};
    duo_init(&d, client_tls("127.0.0.1", NULL), server_tls(SERVER, false, false));
    duo_connect(&d);
    assert_int_equal(stream_peer_cert(d.server.s, &cert), ERR_NOT_FOUND);
    /* FIN without close_notify */
    d.client.s = stream_free(d.client.s);
    d.client.err = ERR_CLOSED;
    duo_turn(&d);
    assert_int_equal(d.server.err, ERR_CLOSED);
    assert_false(stream_closed_cleanly(d.server.s));
    duo_done(&d);
}

static void client_certificates_that_do_not_verify(void **state)
{
    (void)state;
    static const struct {
        enum who who;
        enum tls_verify verify;
        const char *text;
    } cases[] = {
        {EXPIRED, TLS_VERIFY_EXPIRED, "the client certificate has expired"},
        {FUTURE, TLS_VERIFY_NOT_YET_VALID,
         "the client certificate is not valid yet (is a clock wrong?)"},
        {FOREIGN, TLS_VERIFY_UNKNOWN_CA,
         "the client certificate is signed by a CA that is not trusted here"},
        {SELF, TLS_VERIFY_SELF_SIGNED,
         "the client certificate is self-signed, not signed by a trusted CA"},
        {PURPOSE, TLS_VERIFY_WRONG_PURPOSE, "the client certificate is not made for this purpose"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct duo d;
        duo_init(&d, client_tls("localhost", &certs[cases[i].who]),
                 server_tls(SERVER, false, false));
        for (int k = 0; k < 10; k++) {
            duo_turn(&d);
        }
        assert_int_equal(d.server.err, ERR_AUTH);
        assert_int_equal(stream_verify(d.server.s), cases[i].verify);
        assert_string_equal(stream_error(d.server.s), cases[i].text);
        assert_false(stream_is_ready(d.server.s));
        assert_int_equal(d.client.err, ERR_PROTOCOL); /* the alert arrived */
        duo_done(&d);
    }
}

static void missing_certificate_when_required(void **state)
{
    (void)state;
    struct duo d;
    duo_init(&d, client_tls("localhost", NULL), server_tls(SERVER, true, false));
    for (int k = 0; k < 10; k++) {
        duo_turn(&d);
    }
    assert_int_equal(d.server.err, ERR_AUTH);
    duo_done(&d);
}

static void server_certificates_that_do_not_verify(void **state)
{
    (void)state;
    static const struct {
        enum who who;
        const char *host;
        enum tls_verify verify;
    } cases[] = {{SERVER, "example.org", TLS_VERIFY_WRONG_NAME},
                 {SERVER, "127.0.0.2", TLS_VERIFY_WRONG_NAME},
                 {SELF, "localhost", TLS_VERIFY_SELF_SIGNED},
                 {FOREIGN, "localhost", TLS_VERIFY_UNKNOWN_CA},
                 {CLIENT, "localhost", TLS_VERIFY_WRONG_PURPOSE}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct duo d;
        duo_init(&d, client_tls(cases[i].host, NULL), server_tls(cases[i].who, false, false));
        for (int k = 0; k < 10; k++) {
            duo_turn(&d);
        }
        assert_int_equal(d.client.err, ERR_AUTH);
        assert_int_equal(stream_verify(d.client.s), cases[i].verify);
        assert_false(stream_is_ready(d.client.s));
        assert_non_null(strstr(stream_error(d.client.s), "the server certificate"));
        duo_done(&d);
    }
}

/* A bare client of the library, to speak what ours never would. */
struct raw {
    SSL_CTX *ctx;
    SSL *ssl;
};

static void raw_init(struct raw *r, int fd, int version, const char *suites)
{
    r->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(r->ctx, 0);
    if (version != 0) {
        SSL_CTX_set_min_proto_version(r->ctx, version);
        SSL_CTX_set_max_proto_version(r->ctx, version);
    }
    if (suites != NULL) {
        assert_int_equal(SSL_CTX_set_cipher_list(r->ctx, suites), 1);
    }
    r->ssl = SSL_new(r->ctx);
    SSL_set_fd(r->ssl, fd);
    SSL_set_connect_state(r->ssl);
}

static void raw_done(struct raw *r)
{
    SSL_free(r->ssl);
    SSL_CTX_free(r->ctx);
}

static enum err serve_raw(int version, const char *suites, bool allow_tls12)
{
    int fds[2];
    struct raw r;
    struct side server = {0};
    struct tls *t = server_tls(SERVER, false, allow_tls12);
    socket_pair(fds);
    assert_int_equal(stream_io_new(&server.io), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, t, &server.s), OK);
    (void)tls_free(t);
    raw_init(&r, fds[0], version, suites);
    for (int i = 0; i < 6; i++) {
        (void)SSL_do_handshake(r.ssl);
        side_turn(&server);
    }
    enum err e = server.err;
    assert_true(e != OK || stream_is_ready(server.s));
    assert_true(e == OK || stream_error(server.s)[0] != '\0');
    raw_done(&r);
    close(fds[0]);
    side_done(&server);
    return e;
}

static void old_versions_and_suites_are_refused(void **state)
{
    (void)state;
    assert_int_equal(serve_raw(TLS1_VERSION, NULL, true), ERR_PROTOCOL);
    assert_int_equal(serve_raw(TLS1_1_VERSION, NULL, true), ERR_PROTOCOL);
    assert_int_equal(serve_raw(TLS1_2_VERSION, NULL, false), ERR_PROTOCOL);
    assert_int_equal(serve_raw(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", true), ERR_PROTOCOL);
    assert_int_equal(serve_raw(TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA", true), ERR_PROTOCOL);
    assert_int_equal(serve_raw(TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", true), OK);
    assert_int_equal(serve_raw(TLS1_3_VERSION, NULL, false), OK);
}

static void plain_bytes_at_a_tls_door(void **state)
{
    (void)state;
    static const char *const cases[] = {"GET / HTTP/1.1\r\n\r\n", "\x10\x0c\0\4MQTT\4\2\0\1\0\0"};
    static const size_t sizes[] = {18, 14};
    for (size_t i = 0; i < 2; i++) {
        int fds[2];
        struct side server = {0};
        struct tls *t = server_tls(SERVER, false, true);
        socket_pair(fds);
        assert_int_equal(stream_io_new(&server.io), OK);
        assert_int_equal(stream_new(fds[1], STREAM_SERVER, t, &server.s), OK);
        (void)tls_free(t);
        assert_int_equal(write(fds[0], cases[i], sizes[i]), (ssize_t)sizes[i]);
        side_turn(&server);
        assert_int_equal(server.err, ERR_PROTOCOL);
        assert_true(stream_error(server.s)[0] != '\0');
        close(fds[0]);
        side_done(&server);
    }
}

static void alpn(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        unsigned n;
        bool ok;
    } cases[] = {{"\4mqtt", 5, true}, {"\2h2\4mqtt", 8, true}, {"\2h2", 3, false}};
    for (size_t i = 0; i < 3; i++) {
        int fds[2];
        struct raw r;
        struct side server = {0};
        struct tls *t = server_tls(SERVER, false, false);
        socket_pair(fds);
        assert_int_equal(stream_io_new(&server.io), OK);
        assert_int_equal(stream_new(fds[1], STREAM_SERVER, t, &server.s), OK);
        (void)tls_free(t);
        raw_init(&r, fds[0], 0, NULL);
        SSL_set_alpn_protos(r.ssl, (const unsigned char *)cases[i].offer, cases[i].n);
        for (int k = 0; k < 4; k++) {
            (void)SSL_do_handshake(r.ssl);
            side_turn(&server);
        }
        assert_int_equal(server.err == OK, cases[i].ok);
        if (cases[i].ok) {
            assert_true(slice_is(stream_alpn(server.s), "mqtt"));
        }
        raw_done(&r);
        close(fds[0]);
        side_done(&server);
    }
}

/* Carries bytes between two sockets, at most `chunk` at a time, and lets both sides act after each.
 */
static void bytes_arrive_in_pieces(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 2, 3, 5, 7, 100};
    for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
        int a[2], b[2];
        socket_pair(a);
        socket_pair(b);
        struct duo d = {0};
        struct tls *ct = client_tls("localhost", &certs[CLIENT]);
        struct tls *st = server_tls(SERVER, true, false);
        assert_int_equal(stream_io_new(&d.client.io), OK);
        assert_int_equal(stream_io_new(&d.server.io), OK);
        assert_int_equal(stream_new(a[0], STREAM_CLIENT, ct, &d.client.s), OK);
        assert_int_equal(stream_new(b[0], STREAM_SERVER, st, &d.server.s), OK);
        (void)tls_free(ct);
        (void)tls_free(st);
        d.client.err = stream_start(d.client.s, d.client.io);
        bool said = false;
        for (int i = 0; i < ROUNDS_MAX && d.server.got.n < 5; i++) {
            char piece[100];
            ssize_t n = read(a[1], piece, chunks[c]);
            if (n > 0) {
                assert_int_equal(write(b[1], piece, (size_t)n), n);
            }
            n = read(b[1], piece, chunks[c]);
            if (n > 0) {
                assert_int_equal(write(a[1], piece, (size_t)n), n);
            }
            duo_turn(&d);
            assert_int_equal(d.client.err, OK);
            assert_int_equal(d.server.err, OK);
            if (!said && stream_is_ready(d.client.s)) {
                said = true;
                assert_int_equal(write_text(&d.client, slice_text("hello")), OK);
            }
        }
        assert_got(&d.server, slice_text("hello"));
        duo_done(&d);
        close(a[1]);
        close(b[1]);
    }
}

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)(i * 31 + i / 251);
    }
}

/* Many parts of all sizes through a socket that takes little: nothing lost, nothing reordered. */
static void partial_writes(struct tls *ct, struct tls *st)
{
    struct duo d;
    duo_init(&d, ct, st);
    int tiny = 4096;
    assert_int_equal(setsockopt(stream_fd(d.client.s), SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny)),
                     0);
    duo_connect(&d);
    uint8_t *all = mem_alloc(STREAM_SEND_BYTES);
    assert_non_null(all);
    fill(all, STREAM_SEND_BYTES);
    struct slice rest = slice_of(all, STREAM_SEND_BYTES);
    struct slice parts[100] = {0};
    size_t sizes[] = {1, 16384, 16385, 3, 40000, 16383, 70000, 0, 2, 500};
    size_t n_parts = 0;
    for (; n_parts < 99 && rest.n > 0; n_parts++) {
        parts[n_parts] = slice_head(rest, sizes[n_parts % 10]);
        rest = slice_from(rest, sizes[n_parts % 10]);
    }
    parts[n_parts++] = rest;
    assert_int_equal(stream_write(d.client.s, d.client.io, parts, n_parts), OK);
    assert_true(stream_is_blocked(d.client.s));
    assert_int_equal(write_text(&d.client, slice_text("x")), ERR_AGAIN);
    for (int i = 0; i < ROUNDS_MAX && d.server.got.n < STREAM_SEND_BYTES; i++) {
        duo_turn(&d);
    }
    assert_got(&d.server, slice_of(all, STREAM_SEND_BYTES));
    assert_int_equal(stream_flush(d.client.s, d.client.io), OK);
    assert_false(stream_is_blocked(d.client.s));
    assert_int_equal(stream_pending_bytes(d.client.s), 0);
    parts[0] = slice_of(all, STREAM_SEND_BYTES);
    parts[1] = slice_text("x");
    assert_int_equal(stream_write(d.client.s, d.client.io, parts, 2), ERR_TOO_LARGE);
    (void)mem_free(all);
    duo_done(&d);
}

static void partial_writes_plain(void **state)
{
    (void)state;
    partial_writes(NULL, NULL);
}

static void partial_writes_tls(void **state)
{
    (void)state;
    partial_writes(client_tls("localhost", NULL), server_tls(SERVER, false, false));
}

/* KeyUpdate floods end the connection, ordinary ones do not, and the budget is per minute. */
static void key_updates(void **state)
{
    (void)state;
    int fds[2];
    struct raw r;
    struct side server = {0};
    struct tls *t = server_tls(SERVER, false, false);
    socket_pair(fds);
    assert_int_equal(stream_io_new(&server.io), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, t, &server.s), OK);
    (void)tls_free(t);
    raw_init(&r, fds[0], 0, NULL);
    for (int i = 0; i < 4; i++) {
        (void)SSL_do_handshake(r.ssl);
        side_turn(&server);
    }
    assert_true(stream_is_ready(server.s));
    int n_ok = 0;
    for (int minute = 0; minute < 2; minute++) {
        stream_io_now(server.io, (uint64_t)(minute + 1) * 60000);
        int limit = minute == 0 ? STREAM_KEY_UPDATES_PER_MIN : 2 * STREAM_KEY_UPDATES_PER_MIN;
        for (int i = 0; i < limit && server.err == OK; i++) {
            char nothing[16];
            assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(r.ssl), 1);
            (void)SSL_read(r.ssl, nothing, sizeof(nothing));
            assert_int_equal(SSL_write(r.ssl, "x", 1), 1);
            side_turn(&server);
            n_ok += server.err == OK ? 1 : 0;
        }
    }
    assert_int_equal(server.err, ERR_QUOTA);
    assert_int_equal(n_ok, 2 * STREAM_KEY_UPDATES_PER_MIN);
    raw_done(&r);
    close(fds[0]);
    side_done(&server);
}

static void key_updates_without_data(void **state)
{
    (void)state;
    int fds[2];
    struct raw r;
    struct side server = {0};
    struct tls *t = server_tls(SERVER, false, false);
    socket_pair(fds);
    assert_int_equal(stream_io_new(&server.io), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, t, &server.s), OK);
    (void)tls_free(t);
    raw_init(&r, fds[0], 0, NULL);
    for (int i = 0; i < 4; i++) {
        (void)SSL_do_handshake(r.ssl);
        side_turn(&server);
    }
    for (int i = 0; i <= STREAM_KEY_UPDATES_PER_MIN; i++) {
        assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(r.ssl), 1);
    }
    side_turn(&server); /* all in one turn */
    assert_int_equal(server.err, ERR_QUOTA);
    raw_done(&r);
    close(fds[0]);
    side_done(&server);
}

/* A connection moves between the loops of two threads in the middle of a stream of data. */

enum { MOVED_BYTES = 1 << 20, MOVE_EVERY_BYTES = 50 * 1000 };

struct worker {
    struct loop *loop;
    struct stream_io *io;
    struct mover *mover;
    pthread_t thread;
    int index;
};

struct mover {
    struct worker workers[2];
    _Atomic(struct stream *) handed[2]; /* to worker i */
    atomic_bool finished;
    struct buf got; /* travels with the stream */
    size_t n_moves, next_move_at;
    struct stream *held; /* by the worker that serves it */
};

static void worker_ready(void *owner, uint32_t events)
{
    struct worker *w = owner;
    struct mover *m = w->mover;
    (void)events;
    do {
        struct slice plain = {0};
        enum err e = stream_read(m->held, w->io, &plain);
        if (e != OK || buf_append(&m->got, plain, GOT_MAX) != OK) {
            m->held = stream_free(m->held);
            atomic_store(&m->finished, true);
            loop_wake(m->workers[0].loop);
            loop_wake(m->workers[1].loop);
            return;
        }
    } while (stream_has_pending(m->held));
    if (m->got.n >= m->next_move_at) {
        m->next_move_at = m->got.n + MOVE_EVERY_BYTES;
        m->n_moves++;
        struct stream *s = m->held;
        stream_detach(s);
        struct worker *other = &m->workers[1 - w->index];
        atomic_store(&m->handed[other->index], s);
        loop_wake(other->loop);
    }
}

static void *worker_run(void *ctx)
{
    struct worker *w = ctx;
    struct mover *m = w->mover;
    while (!atomic_load(&m->finished)) {
        size_t n = 0;
        if (loop_turn(w->loop, 1000, &n) != OK) {
            return NULL;
        }
        struct stream *s = atomic_exchange(&m->handed[w->index], NULL);
        if (s != NULL) {
            m->held = s;
            if (stream_attach(s, w->loop, worker_ready, w) != OK) {
                return NULL;
            }
            worker_ready(w, 0); /* once: epoll may have nothing to say */
        }
    }
    return NULL;
}

static void wait_for_room(struct side *side)
{
    struct pollfd p = {.fd = stream_fd(side->s), .events = POLLOUT};
    (void)poll(&p, 1, 1000);
    (void)!stream_flush(side->s, side->io);
}

static void *writer_run(void *ctx)
{
    struct side *side = ctx;
    uint8_t *out = stream_io_out(side->io);
    size_t at = 0;
    while (at < MOVED_BYTES) {
        if (stream_is_blocked(side->s)) {
            wait_for_room(side);
            continue;
        }
        size_t n = 1 + at % 30000;
        n = n < MOVED_BYTES - at ? n : MOVED_BYTES - at;
        for (size_t i = 0; i < n; i++) {
            out[i] = (uint8_t)((at + i) % 251);
        }
        struct slice part = slice_of(out, n);
        if (stream_write(side->s, side->io, &part, 1) != OK) {
            return NULL;
        }
        at += n;
    }
    while (stream_is_blocked(side->s)) {
        wait_for_room(side);
    }
    stream_close(side->s, side->io);
    return NULL;
}

static void hand_over_between_threads(void **state)
{
    (void)state;
    struct duo d;
    struct mover m = {.next_move_at = MOVE_EVERY_BYTES};
    pthread_t writer;
    duo_init(&d, client_tls("localhost", &certs[CLIENT]), server_tls(SERVER, true, false));
    duo_connect(&d);
    for (int i = 0; i < 2; i++) {
        m.workers[i] = (struct worker){.mover = &m, .index = i};
        assert_int_equal(loop_new(&m.workers[i].loop), OK);
        assert_int_equal(stream_io_new(&m.workers[i].io), OK);
    }
    atomic_store(&m.handed[0], d.server.s);
    d.server.s = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&m.workers[i].thread, NULL, worker_run, &m.workers[i]), 0);
    }
    loop_wake(m.workers[0].loop);
    assert_int_equal(pthread_create(&writer, NULL, writer_run, &d.client), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(m.workers[i].thread, NULL);
        m.workers[i].loop = loop_free(m.workers[i].loop);
        m.workers[i].io = stream_io_free(m.workers[i].io);
    }
    pthread_join(writer, NULL);
    assert_int_equal(m.got.n, MOVED_BYTES);
    for (size_t i = 0; i < m.got.n; i++) {
        assert_int_equal(m.got.p[i], i % 251);
    }
    assert_true(m.n_moves >= 10);
    buf_done(&m.got);
    duo_done(&d);
}

static void bad_credentials_are_explained(void **state)
{
    (void)state;
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    struct tls_server_config c = {.chain_pem = test_cert_pem(&certs[SERVER]),
                                  .key_pem = test_key_pem(&certs[CLIENT])};
    assert_int_equal(tls_server_new(&c, text, &t), ERR_CONFIG);
    assert_non_null(strstr(text, "does not belong"));
    c.key_pem = slice_text("nonsense");
    assert_int_equal(tls_server_new(&c, text, &t), ERR_CONFIG);
    c.key_pem = (struct slice){0};
    assert_int_equal(tls_server_new(&c, text, &t), ERR_CONFIG);
    c.chain_pem = test_cert_pem(&certs[WEAK]);
    c.key_pem = test_key_pem(&certs[WEAK]);
    assert_int_equal(tls_server_new(&c, text, &t), ERR_CONFIG);
    struct tls_client_config cc = {.ca_pem = test_cert_pem(&certs[CA])};
    assert_int_equal(tls_client_new(&cc, text, &t), ERR_CONFIG);
    cc = (struct tls_client_config){.host = "localhost"};
    assert_int_equal(tls_client_new(&cc, text, &t), ERR_CONFIG);
    assert_null(t);
    assert_null(tls_free(NULL));
    assert_null(stream_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls13_both_ways_and_orderly_close),
        cmocka_unit_test(without_certificate_when_optional),
        cmocka_unit_test(client_certificates_that_do_not_verify),
        cmocka_unit_test(missing_certificate_when_required),
        cmocka_unit_test(server_certificates_that_do_not_verify),
        cmocka_unit_test(old_versions_and_suites_are_refused),
        cmocka_unit_test(plain_bytes_at_a_tls_door),
        cmocka_unit_test(alpn),
        cmocka_unit_test(bytes_arrive_in_pieces),
        cmocka_unit_test(partial_writes_plain),
        cmocka_unit_test(partial_writes_tls),
        cmocka_unit_test(key_updates),
        cmocka_unit_test(key_updates_without_data),
        cmocka_unit_test(hand_over_between_threads),
        cmocka_unit_test(bad_credentials_are_explained),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

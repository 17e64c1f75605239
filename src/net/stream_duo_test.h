/* stream_duo_test - two streams over a socket pair and the certificates between them, for tests. */
#ifndef NET_STREAM_DUO_TEST_H
#define NET_STREAM_DUO_TEST_H

#include <sys/socket.h>

#include "base/mem.h"
#include "net/certs_test.h"
#include "net/stream.h"
#include "security/crypto/x509.h"

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

static inline int make_certs(void **state)
{
    (void)state;
    const char *names = "DNS:localhost,IP:127.0.0.1,IP:::1";
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

static inline int drop_certs(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_WHO; i++) {
        test_cert_done(&certs[i]);
    }
    return 0;
}

static inline struct tls *server_tls_updates(enum who who, bool required, bool allow_tls12,
                                             uint32_t key_updates)
{
    struct tls_server_config c = {.chain_pem = test_cert_pem(&certs[who]),
                                  .key_pem = test_key_pem(&certs[who]),
                                  .client_ca_pem = test_cert_pem(&certs[CA]),
                                  .client_cert_required = required,
                                  .allow_tls12 = allow_tls12,
                                  .key_updates_per_minute = key_updates};
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    enum err e = tls_server_new(&c, text, &t);
    if (e != OK) {
        fail_msg("%s: %s", err_name(e), text);
    }
    return t;
}

static inline struct tls *server_tls(enum who who, bool required, bool allow_tls12)
{
    return server_tls_updates(who, required, allow_tls12, 0);
}

static inline struct tls *client_tls(const char *host, const struct test_cert *own)
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

static inline void socket_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
}

static inline void duo_init_over(struct duo *d, int type, struct tls *client, struct tls *server)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds), 0);
    *d = (struct duo){0};
    assert_int_equal(stream_io_new(&d->client.io), OK);
    assert_int_equal(stream_io_new(&d->server.io), OK);
    assert_int_equal(stream_new(fds[0], STREAM_CLIENT, client, &d->client.s), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, server, &d->server.s), OK);
    (void)tls_free(client); /* the streams hold their own shares */
    (void)tls_free(server);
    d->client.err = stream_start(d->client.s, d->client.io);
}

static inline void duo_init(struct duo *d, struct tls *client, struct tls *server)
{
    duo_init_over(d, SOCK_STREAM, client, server);
}

/* A server alone, with its share of `tls`; gives the descriptor of whoever speaks to it. */
static inline int side_serves(struct side *server, struct tls *tls)
{
    int fds[2];
    socket_pair(fds);
    assert_int_equal(stream_io_new(&server->io), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, tls, &server->s), OK);
    (void)tls_free(tls);
    return fds[0];
}

static inline void side_done(struct side *side)
{
    side->s = stream_free(side->s);
    side->io = stream_io_free(side->io);
    buf_done(&side->got);
}

static inline void duo_done(struct duo *d)
{
    struct side *sides[2] = {&d->client, &d->server};
    for (int i = 0; i < 2; i++) {
        side_done(sides[i]);
    }
}

static inline void side_turn(struct side *side)
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

static inline void duo_turn(struct duo *d)
{
    side_turn(&d->server);
    side_turn(&d->client);
}

static inline void duo_connect(struct duo *d)
{
    for (int i = 0; i < 10; i++) {
        duo_turn(d);
    }
    if (d->client.err != OK || d->server.err != OK) {
        fail_msg("client: %s, server: %s", stream_error(d->client.s), stream_error(d->server.s));
    }
    assert_true(stream_is_ready(d->client.s) && stream_is_ready(d->server.s));
}

/* The DER of who is at the other end. */
static inline enum err peer_der(const struct side *side, struct buf *ret)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    TRY(stream_peer_cert(side->s, &x));
    return x509_to_der(x, ret);
}

static inline enum err write_text(struct side *side, struct slice s)
{
    return stream_write(side->s, side->io, &s, 1);
}

static inline void assert_got(const struct side *side, struct slice expected)
{
    assert_int_equal(side->got.n, expected.n);
    assert_true(slice_equal(buf_slice(&side->got), expected));
}

#endif

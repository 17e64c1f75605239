#include "net/stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include "net/stream_duo_test.h"
#include "net/tls_private.h"

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
    assert_int_equal(peer_der(&d.server, &cert), OK);
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
    assert_int_equal(peer_der(&d.server, &cert), ERR_NOT_FOUND);
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
        struct tls_refusal r = stream_refusal_of_tls(d.server.s);
        struct buf der = {0};
        assert_int_equal(r.failure, TLS_FAILED_CERTIFICATE);
        assert_int_equal(r.verify, cases[i].verify);
        assert_int_equal(tls_cert_der(certs[cases[i].who].x509, &der), OK);
        assert_true(slice_equal(r.cert, buf_slice(&der)));
        buf_done(&der);
        duo_done(&d);
    }
}

static int64_t two_hours_later(void *ctx)
{
    const struct clock *c = ctx;
    return c->wall_ms(c->ctx) + 2 * 3600 * 1000;
}

/* The machine's clock says that the certificate is good; the one that counts says otherwise. */
static void certificates_are_judged_by_the_clock_given(void **state)
{
    (void)state;
    struct clock machine = clock_system();
    struct clock later = {.wall_ms = two_hours_later, .ctx = &machine};
    struct tls_server_config c = {.chain_pem = test_cert_pem(&certs[SERVER]),
                                  .key_pem = test_key_pem(&certs[SERVER]),
                                  .client_ca_pem = test_cert_pem(&certs[CA]),
                                  .clock = &later};
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    struct duo d;
    assert_int_equal(tls_server_new(&c, text, &t), OK);
    duo_init(&d, client_tls("localhost", &certs[CLIENT]), t);
    for (int k = 0; k < 10; k++) {
        duo_turn(&d);
    }
    assert_int_equal(d.server.err, ERR_AUTH);
    assert_int_equal(stream_verify(d.server.s), TLS_VERIFY_EXPIRED);
    duo_done(&d);
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
        const char *alert;
    } cases[] = {{SERVER, "example.org", TLS_VERIFY_WRONG_NAME, "bad certificate"},
                 {SERVER, "127.0.0.2", TLS_VERIFY_WRONG_NAME, "bad certificate"},
                 {SELF, "localhost", TLS_VERIFY_SELF_SIGNED, "unknown CA"},
                 {FOREIGN, "localhost", TLS_VERIFY_UNKNOWN_CA, "unknown CA"},
                 {CLIENT, "localhost", TLS_VERIFY_WRONG_PURPOSE, "unsupported certificate"}};
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
        /* The server hears of it by the client's alert, and names it. */
        struct tls_refusal r = stream_refusal_of_tls(d.server.s);
        assert_int_equal(d.server.err, ERR_PROTOCOL);
        assert_int_equal(r.failure, TLS_FAILED_ALERT);
        assert_string_equal(tls_alert_name(r.alert), cases[i].alert);
        assert_int_equal(r.cert.n, 0);
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

static enum err serve_raw(int version, const char *suites, bool allow_tls12,
                          struct tls_refusal *ret)
{
    struct raw r;
    struct side server = {0};
    int peer = side_serves(&server, server_tls(SERVER, false, allow_tls12));
    raw_init(&r, peer, version, suites);
    for (int i = 0; i < 6; i++) {
        (void)SSL_do_handshake(r.ssl);
        side_turn(&server);
    }
    enum err e = server.err;
    *ret = stream_refusal_of_tls(server.s);
    ret->text = ""; /* goes with the stream */
    assert_true(e != OK || stream_is_ready(server.s));
    assert_true(e == OK || stream_error(server.s)[0] != '\0');
    raw_done(&r);
    close(peer);
    side_done(&server);
    return e;
}

static void old_versions_and_suites_are_refused(void **state)
{
    (void)state;
    static const struct {
        int version;
        const char *suites;
        bool allow_tls12;
        enum err err;
        enum tls_failure failure;
        const char *name; /* of the version that the refusal names */
    } cases[] = {
        {TLS1_VERSION, NULL, true, ERR_PROTOCOL, TLS_FAILED_VERSION, "TLS 1.0"},
        {TLS1_1_VERSION, NULL, true, ERR_PROTOCOL, TLS_FAILED_VERSION, "TLS 1.1"},
        {TLS1_2_VERSION, NULL, false, ERR_PROTOCOL, TLS_FAILED_VERSION, "TLS 1.2"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", true, ERR_PROTOCOL, TLS_FAILED_TERMS, NULL},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA", true, ERR_PROTOCOL, TLS_FAILED_TERMS, NULL},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", true, OK, TLS_FAILED_OTHER, NULL},
        {TLS1_3_VERSION, NULL, false, OK, TLS_FAILED_OTHER, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tls_refusal r;
        assert_int_equal(serve_raw(cases[i].version, cases[i].suites, cases[i].allow_tls12, &r),
                         cases[i].err);
        assert_int_equal(r.failure, cases[i].failure);
        if (cases[i].name != NULL) {
            assert_string_equal(tls_version_name(r.version), cases[i].name);
        }
    }
}

static void plain_bytes_at_a_tls_door(void **state)
{
    (void)state;
    static const char *const cases[] = {"GET / HTTP/1.1\r\n\r\n", "\x10\x0c\0\4MQTT\4\2\0\1\0\0"};
    static const size_t sizes[] = {18, 14};
    for (size_t i = 0; i < 2; i++) {
        struct side server = {0};
        int peer = side_serves(&server, server_tls(SERVER, false, true));
        assert_int_equal(write(peer, cases[i], sizes[i]), (ssize_t)sizes[i]);
        side_turn(&server);
        assert_int_equal(server.err, ERR_PROTOCOL);
        assert_true(stream_error(server.s)[0] != '\0');
        /* Who asks at once sees what came. */
        assert_true(slice_equal(stream_opening(server.s, server.io), slice_of(cases[i], sizes[i])));
        close(peer);
        side_done(&server);
    }
}

/* What came before the last read is gone with the worker's buffer. */
static void an_opening_in_pieces_is_not_kept(void **state)
{
    (void)state;
    struct side server = {0};
    int peer = side_serves(&server, server_tls(SERVER, false, true));
    assert_int_equal(write(peer, "G", 1), 1);
    side_turn(&server);
    assert_int_equal(server.err, OK);
    assert_int_equal(write(peer, "ET / HTTP/1.1\r\n\r\n", 17), 17);
    side_turn(&server);
    assert_int_equal(server.err, ERR_PROTOCOL);
    assert_int_equal(stream_opening(server.s, server.io).n, 0);
    close(peer);
    side_done(&server);
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
        struct raw r;
        struct side server = {0};
        int peer = side_serves(&server, server_tls(SERVER, false, false));
        raw_init(&r, peer, 0, NULL);
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
        close(peer);
        side_done(&server);
    }
}

/* KeyUpdate floods end the connection, ordinary ones do not, and the budget is per minute. */
static void key_updates(void **state)
{
    (void)state;
    struct raw r;
    struct side server = {0};
    int peer = side_serves(&server, server_tls(SERVER, false, false));
    raw_init(&r, peer, 0, NULL);
    for (int i = 0; i < 4; i++) {
        (void)SSL_do_handshake(r.ssl);
        side_turn(&server);
    }
    assert_true(stream_is_ready(server.s));
    int n_ok = 0;
    for (int minute = 0; minute < 2; minute++) {
        stream_io_now(server.io, (uint64_t)(minute + 1) * 60000);
        int limit = minute == 0 ? TLS_KEY_UPDATES_PER_MIN : 2 * TLS_KEY_UPDATES_PER_MIN;
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
    assert_int_equal(n_ok, 2 * TLS_KEY_UPDATES_PER_MIN);
    raw_done(&r);
    close(peer);
    side_done(&server);
}

/* At the limit it stays, one more ends it. */
static void updates_without_data(uint32_t configured, int n, enum err expected)
{
    struct raw r;
    struct side server = {0};
    int peer = side_serves(&server, server_tls_updates(SERVER, false, false, configured));
    raw_init(&r, peer, 0, NULL);
    for (int i = 0; i < 4; i++) {
        (void)SSL_do_handshake(r.ssl);
        side_turn(&server);
    }
    for (int i = 0; i < n; i++) {
        assert_int_equal(SSL_key_update(r.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(r.ssl), 1);
    }
    side_turn(&server); /* all in one turn */
    assert_int_equal(server.err, expected);
    raw_done(&r);
    close(peer);
    side_done(&server);
}

static void key_updates_without_data(void **state)
{
    (void)state;
    updates_without_data(0, TLS_KEY_UPDATES_PER_MIN, OK);
    updates_without_data(0, TLS_KEY_UPDATES_PER_MIN + 1, ERR_QUOTA);
    updates_without_data(3, 3, OK);
    updates_without_data(3, 4, ERR_QUOTA);
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

/* The sizes of the records that wait in front of the client. */
static size_t records_of(const struct side *client, size_t sizes[8])
{
    static uint8_t bytes[128 * 1024];
    ssize_t got = recv(stream_fd(client->s), bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    size_t n = 0, at = 0;
    while (got > 0 && at + 5 <= (size_t)got && n < 8) {
        sizes[n] = (size_t)bytes[at + 3] << 8 | bytes[at + 4];
        at += 5 + sizes[n++];
    }
    assert_int_equal(at, got > 0 ? got : 0);
    return n;
}

static void output_fills_records(void **state)
{
    (void)state;
    enum { FULL = 16 * 1024, AROUND = 17 }; /* the content's type and the tag */
    static const uint8_t bytes[40 * 1024] = {1, 2, 3};
    static const struct {
        size_t parts[4], n_parts, records[4], n_records;
    } rows[] = {
        {{10, 20, 30}, 3, {60}, 1},
        {{FULL - 1}, 1, {FULL - 1}, 1},
        {{FULL}, 1, {FULL}, 1},
        {{FULL + 1}, 1, {FULL, 1}, 2},
        {{40 * 1024}, 1, {FULL, FULL, 8 * 1024}, 3},
        {{100, 20 * 1024}, 2, {FULL, 4 * 1024 + 100}, 2},
        {{20 * 1024, 100}, 2, {FULL, 4 * 1024 + 100}, 2},
        {{FULL, 0, 7, 0}, 4, {FULL, 7}, 2},
        {{100, FULL, 40 * 1024}, 3, {FULL, FULL, FULL, 8 * 1024 + 100}, 4},
    };
    struct duo d;
    duo_init_over(&d, SOCK_STREAM, client_tls("localhost", NULL), server_tls(SERVER, false, false));
    duo_connect(&d);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct slice parts[4];
        size_t sizes[8];
        for (size_t k = 0; k < rows[i].n_parts; k++) {
            parts[k] = slice_of(bytes, rows[i].parts[k]);
        }
        assert_int_equal(stream_write(d.server.s, d.server.io, parts, rows[i].n_parts), OK);
        assert_int_equal(records_of(&d.client, sizes), rows[i].n_records);
        for (size_t k = 0; k < rows[i].n_records; k++) {
            assert_int_equal(sizes[k], rows[i].records[k] + AROUND);
        }
        size_t before = d.client.got.n, total = 0;
        for (size_t k = 0; k < rows[i].n_parts; k++) {
            total += rows[i].parts[k];
        }
        duo_turn(&d);
        duo_turn(&d);
        assert_int_equal(d.client.got.n - before, total);
    }
    duo_done(&d);
}

/* Payloads lie between what was gathered, more of them than one call takes. The socket takes as
 * much as it has room for, in the middle of any of them; the rest waits in a buffer that is no
 * larger than it. */
static void parts_are_taken_in_pieces(void **state)
{
    (void)state;
    static const size_t n_parts[] = {1,
                                     2,
                                     STREAM_PARTS_ONCE - 1,
                                     STREAM_PARTS_ONCE,
                                     STREAM_PARTS_ONCE + 1,
                                     3 * STREAM_PARTS_ONCE};
    enum { LEAST = 4096, BYTES = 448 * 1024, AROUND = 256 };
    static uint8_t bytes[BYTES];
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) * 7);
    }
    for (size_t i = 0; i < COUNT_OF(n_parts); i++) {
        for (int size = LEAST; size <= BYTES; size = size * 5 / 2) {
            struct duo d;
            struct slice parts[3 * STREAM_PARTS_ONCE], rest = slice_of(bytes, BYTES);
            duo_init(&d, NULL, NULL);
            assert_int_equal(
                setsockopt(stream_fd(d.server.s), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
            for (size_t k = 0; k < n_parts[i]; k++) { /* small and large by turns */
                size_t share = BYTES / n_parts[i];
                size_t n = k % 2 == 0 ? share / 16 : 2 * share - share / 16;
                parts[k] = slice_head(rest, k + 1 < n_parts[i] ? n : rest.n);
                rest = slice_from(rest, parts[k].n);
            }
            uint64_t before = mem_used();
            assert_int_equal(stream_write(d.server.s, d.server.io, parts, n_parts[i]), OK);
            if (n_parts[i] <= STREAM_PARTS_ONCE) {
                assert_in_range(mem_used() - before, stream_pending_bytes(d.server.s),
                                stream_pending_bytes(d.server.s) + AROUND);
            }
            assert_true(size > LEAST || stream_is_blocked(d.server.s));
            for (int k = 0; k < ROUNDS_MAX && d.client.got.n < BYTES; k++) {
                duo_turn(&d);
            }
            assert_got(&d.client, slice_of(bytes, BYTES));
            assert_false(stream_is_blocked(d.server.s));
            duo_done(&d);
        }
    }
}

/* As many as one call takes, and one more; in their order. */
static void parts_go_in_order(void **state)
{
    (void)state;
    enum { MOST = 130 };
    static const size_t counts[] = {1, 2, 7, 8, 9, 63, 64, 65, 128, MOST};
    uint8_t bytes[MOST];
    struct slice parts[MOST];
    for (size_t i = 0; i < MOST; i++) {
        bytes[i] = (uint8_t)i;
        parts[i] = slice_of(&bytes[i], 1);
    }
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct duo d;
        duo_init(&d, NULL, NULL);
        assert_int_equal(stream_write(d.server.s, d.server.io, parts, counts[i]), OK);
        duo_turn(&d);
        assert_got(&d.client, slice_of(bytes, counts[i]));
        duo_done(&d);
    }
}

/* The library judges a call by a queue of errors that all of its users share. */
static void errors_of_others_do_no_harm(void **state)
{
    (void)state;
    struct duo d;
    duo_init(&d, client_tls("localhost", NULL), server_tls(SERVER, false, false));
    duo_connect(&d);
    for (int i = 0; i < 3; i++) {
        ERR_raise(ERR_LIB_SSL, ERR_R_INTERNAL_ERROR);
        duo_turn(&d); /* nothing came: the library waits */
        ERR_raise(ERR_LIB_SSL, ERR_R_INTERNAL_ERROR);
        assert_int_equal(write_text(&d.client, slice_text("x")), OK);
        assert_int_equal(ERR_peek_error(), 0);
        ERR_raise(ERR_LIB_SSL, ERR_R_INTERNAL_ERROR);
        duo_turn(&d);
    }
    assert_got(&d.server, slice_text("xxx"));
    assert_int_equal(d.server.err, OK);
    assert_int_equal(d.client.err, OK);
    duo_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls13_both_ways_and_orderly_close),
        cmocka_unit_test(without_certificate_when_optional),
        cmocka_unit_test(client_certificates_that_do_not_verify),
        cmocka_unit_test(certificates_are_judged_by_the_clock_given),
        cmocka_unit_test(missing_certificate_when_required),
        cmocka_unit_test(server_certificates_that_do_not_verify),
        cmocka_unit_test(old_versions_and_suites_are_refused),
        cmocka_unit_test(plain_bytes_at_a_tls_door),
        cmocka_unit_test(parts_go_in_order),
        cmocka_unit_test(an_opening_in_pieces_is_not_kept),
        cmocka_unit_test(alpn),
        cmocka_unit_test(output_fills_records),
        cmocka_unit_test(parts_are_taken_in_pieces),
        cmocka_unit_test(errors_of_others_do_no_harm),
        cmocka_unit_test(key_updates),
        cmocka_unit_test(key_updates_without_data),
        cmocka_unit_test(bad_credentials_are_explained),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

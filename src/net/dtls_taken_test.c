/* Associations whose records are ours, against OpenSSL's own client: every suite, every flight
 * lost, doubled and out of order, and what somebody forges, repeats or ends. */
#include <openssl/err.h>

#include "base/heap_test.h"
#include "base/mem.h"
#include "base/scope.h"
#include "net/dtls_bench_test.h"
#include "net/dtls_private.h"

enum { T0 = 5000000, N_DATAGRAMS = 64, NUMBERS = 256 };

/* A client of one suite, whose datagrams and time are the test's; and the server that it talks to.
 */
struct duo {
    struct end server; /* its handler's */
    struct net net;    /* of it: the clock alone is used */
    struct dtls *dtls;
    struct dtls_link link;
    struct dtls_handler client_handler;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    struct packet to_server[N_DATAGRAMS], to_client[N_DATAGRAMS];
    size_t n_to_server, n_to_client;
    uint64_t now_ms;
    bool sent[NUMBERS]; /* numbers of epoch 1 that the server has used */
};

static struct duo duo; /* large */

static void push(struct packet *queue, size_t *n, struct slice datagram)
{
    assert_true(*n < N_DATAGRAMS && datagram.n <= DTLS_DATAGRAM_MAX);
    queue[*n].n = datagram.n;
    memcpy(queue[*n].bytes, datagram.p, datagram.n);
    (*n)++;
}

static void client_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    (void)ctx, (void)to;
    push(duo.to_server, &duo.n_to_server, datagram);
}

/* No number of epoch 1 is ever used twice: a nonce would be. */
static void server_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    (void)ctx, (void)to;
    struct rd r = rd_from(datagram);
    struct dtls_record record;
    while (rd_left(&r) > 0) {
        assert_true(dtls_record_read(&r, &record));
        if (record.epoch == 1 && record.number < NUMBERS) {
            assert_false(duo.sent[record.number]);
            duo.sent[record.number] = true;
        }
    }
    push(duo.to_client, &duo.n_to_client, datagram);
}

static unsigned give_psk(SSL *ssl, const char *hint, char *identity, unsigned max_identity,
                         unsigned char *psk, unsigned max_psk)
{
    (void)ssl, (void)hint;
    assert_true(slice_to_text(slice_text("meter-1"), identity, max_identity));
    assert_true(max_psk >= sizeof(key) - 1);
    memcpy(psk, key, sizeof(key) - 1);
    return sizeof(key) - 1;
}

static void duo_server(bool keeps_openssl)
{
    memset(&duo, 0, sizeof(duo));
    duo.now_ms = T0;
    duo.net.clock = clock_system();
    duo.server.net = &duo.net;
    struct dtls_server_config c = {.chain_pem = test_cert_pem(&certs[SERVER]),
                                   .key_pem = test_key_pem(&certs[SERVER]),
                                   .client_ca_pem = test_cert_pem(&certs[CA]),
                                   .random = &rng,
                                   .retransmit_ms = RETRANSMIT_MS,
                                   .keeps_openssl = keeps_openssl};
    struct dtls_handler handler = handler_of(&duo.server);
    char text[TLS_TEXT_BYTES];
    handler.transmit = server_transmit;
    assert_int_equal(dtls_server_openssl(&c, &handler, text, &duo.dtls), OK);
    duo.server.dtls = duo.dtls;
}

static void duo_client(const char *suites)
{
    char text[TLS_TEXT_BYTES];
    bool psk = strstr(suites, "PSK") != NULL;
    duo.method = dtls_method_new();
    assert_int_equal(dtls_ctx_new(false, !psk, psk, &duo.ctx), OK);
    assert_int_equal(SSL_CTX_set_cipher_list(duo.ctx, suites), 1);
    if (psk) {
        SSL_CTX_set_psk_client_callback(duo.ctx, give_psk);
    } else {
        assert_int_equal(tls_ctx_identity(duo.ctx, test_cert_pem(&certs[CLIENT]),
                                          test_key_pem(&certs[CLIENT]), text),
                         OK);
    }
    assert_int_equal(net_peer_parse(slice_text("192.0.2.9:4711"), &duo.link.peer), OK);
    duo.client_handler = (struct dtls_handler){.transmit = client_transmit};
    assert_int_equal(
        dtls_link_init(&duo.link, duo.ctx, duo.method, &duo.client_handler, RETRANSMIT_MS), OK);
    SSL_set_connect_state(duo.link.ssl);
}

static void duo_done(void)
{
    duo.dtls = dtls_free(duo.dtls);
    dtls_link_done(&duo.link);
    SSL_CTX_free(duo.ctx);
    BIO_meth_free(duo.method);
}

static void to_server(struct slice datagram)
{
    dtls_input(duo.dtls, &duo.link.peer, datagram, duo.now_ms);
}

static void serve_all(void)
{
    for (size_t i = 0; i < duo.n_to_server; i++) {
        to_server(slice_of(duo.to_server[i].bytes, duo.to_server[i].n));
    }
    duo.n_to_server = 0;
}

/* The client takes what came; true when its handshake is over. */
static bool client_step(void)
{
    bool is_over = SSL_do_handshake(duo.link.ssl) == 1;
    for (size_t i = 0; i < duo.n_to_client; i++) {
        duo.link.in = slice_of(duo.to_client[i].bytes, duo.to_client[i].n);
        is_over = SSL_do_handshake(duo.link.ssl) == 1;
    }
    duo.n_to_client = 0;
    duo.link.in = (struct slice){0};
    ERR_clear_error();
    return is_over;
}

static void shake(void)
{
    for (int i = 0; !client_step(); i++) {
        assert_true(i < 20);
        serve_all();
    }
    assert_int_equal(duo.server.n_opened, 1);
    duo.n_to_server = duo.n_to_client = 0;
}

/* Up to the server's last flight, which the client does not hear. */
static void shake_but_for_the_end(void)
{
    for (int i = 0; duo.server.n_opened == 0; i++) {
        assert_true(i < 20);
        assert_false(client_step());
        serve_all();
    }
    duo.n_to_client = 0;
}

static void begin(const char *suites)
{
    duo_server(false);
    duo_client(suites);
    shake();
    assert_int_equal(dtls_counts(duo.dtls)->taken, 1);
}

static void client_says(const char *text)
{
    int n = (int)strlen(text);
    assert_int_equal(SSL_write(duo.link.ssl, text, n), n);
    serve_all();
}

/* Behind what was repeated meanwhile: the client has a timer. */
static void client_hears(const char *text)
{
    char got[64];
    int n = 0;
    for (size_t i = 0; i < duo.n_to_client && n <= 0; i++) {
        duo.link.in = slice_of(duo.to_client[i].bytes, duo.to_client[i].n);
        n = SSL_read(duo.link.ssl, got, sizeof(got));
    }
    assert_true(n > 0 && slice_is(slice_of(got, (size_t)n), text));
    duo.link.in = (struct slice){0};
    duo.n_to_client = 0;
    ERR_clear_error();
}

/* The keys of both sides, out of the client. */
static struct dtls_keys keys_of_client(void)
{
    uint8_t master[DTLS_MASTER_BYTES], client[DTLS_RANDOM_BYTES], server[DTLS_RANDOM_BYTES];
    AUTO(prf_autofree) struct prf *prf = NULL;
    struct dtls_keys keys;
    assert_int_equal(prf_new(&prf), OK);
    assert_int_equal(
        SSL_SESSION_get_master_key(SSL_get_session(duo.link.ssl), master, sizeof(master)),
        sizeof(master));
    (void)SSL_get_client_random(duo.link.ssl, client, sizeof(client));
    (void)SSL_get_server_random(duo.link.ssl, server, sizeof(server));
    assert_int_equal(dtls_keys_make(prf, slice_of(master, sizeof(master)),
                                    slice_of(client, sizeof(client)),
                                    slice_of(server, sizeof(server)), &keys),
                     OK);
    return keys;
}

/* One record of the client's under a number of the test's choice. */
static void forge(uint8_t type, uint64_t number, struct slice plain)
{
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    struct dtls_keys keys = keys_of_client();
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    assert_int_equal(record_aead_new(&a), OK);
    assert_int_equal(dtls_record_seal(a, RECORD_AES128_GCM, &keys.client, type, number, plain, &w),
                     OK);
    to_server(slice_of(bytes, w.at));
}

/* The server's last datagram is one record that says this. */
static void assert_said(uint8_t type, struct slice expected)
{
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    struct dtls_keys keys = keys_of_client();
    struct dtls_record record;
    uint8_t text[64];
    struct slice got;
    assert_int_equal(duo.n_to_client, 1);
    struct rd r = rd_from(slice_of(duo.to_client[0].bytes, duo.to_client[0].n));
    assert_true(dtls_record_read(&r, &record));
    assert_int_equal(record.type, type);
    assert_int_equal(record_aead_new(&a), OK);
    assert_int_equal(
        dtls_record_open(a, RECORD_AES128_GCM, &keys.server, &record, text, sizeof(text), &got),
        OK);
    assert_true(slice_equal(got, expected));
    duo.n_to_client = 0;
}

#define BYTES(...) slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
static const char gcm[] = "PSK-AES128-GCM-SHA256:@SECLEVEL=0";

static void every_suite(void **state)
{
    (void)state;
    static const struct {
        const char *suites, *name;
        bool is_ours;
    } cases[] = {
        {"PSK-AES128-GCM-SHA256:@SECLEVEL=0", "PSK-AES128-GCM-SHA256", true},
        {"PSK-AES128-CCM8:@SECLEVEL=0", "PSK-AES128-CCM8", true},
        {"ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0", "ECDHE-ECDSA-AES128-GCM-SHA256", true},
        {"ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0", "ECDHE-ECDSA-AES128-CCM8", true},
        {"ECDHE-PSK-CHACHA20-POLY1305:@SECLEVEL=0", "ECDHE-PSK-CHACHA20-POLY1305", false},
    };
    for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
        bool keeps_openssl = i >= COUNT_OF(cases), server_ends = i % 2 == 0;
        size_t at = i % COUNT_OF(cases);
        struct dtls_info info;
        duo_server(keeps_openssl);
        duo_client(cases[at].suites);
        shake();
        assert_int_equal(dtls_counts(duo.dtls)->taken, cases[at].is_ours && !keeps_openssl ? 1 : 0);
        assert_true(dtls_info(duo.dtls, duo.server.id, &info));
        assert_string_equal(info.cipher, cases[at].name);
        bool is_psk = strstr(cases[at].name, "PSK") != NULL;
        assert_string_equal(duo.server.identity, is_psk ? "meter-1" : "");
        assert_int_equal(duo.server.psk_credential, is_psk ? 7 : 0);
        assert_int_equal(info.peer_cert.n > 0, !is_psk);
        assert_true(net_peer_equal(&info.peer, &duo.link.peer));
        assert_int_equal(info.plain_max, DTLS_PLAIN_MAX);
        duo.server.echo = true;
        for (int k = 0; k < 3; k++) {
            client_says("hello");
            assert_string_equal(duo.server.got, "hello");
            client_hears("hello");
        }
        static const uint8_t big[DTLS_PLAIN_MAX + 1];
        uint64_t id = duo.server.id;
        assert_int_equal(dtls_send(duo.dtls, id, slice_of(big, sizeof(big)), duo.now_ms),
                         ERR_TOO_LARGE);
        assert_int_equal(dtls_send(duo.dtls, id, slice_of(big, DTLS_PLAIN_MAX), duo.now_ms), OK);
        assert_int_equal(duo.n_to_client, 1);
        duo.n_to_client = 0;
        if (server_ends) {
            dtls_close(duo.dtls, id);
            assert_int_equal(duo.n_to_client, 1);
            duo.link.in = slice_of(duo.to_client[0].bytes, duo.to_client[0].n);
            char none[8];
            int n = SSL_read(duo.link.ssl, none, sizeof(none));
            assert_int_equal(SSL_get_error(duo.link.ssl, n), SSL_ERROR_ZERO_RETURN);
        } else {
            (void)SSL_shutdown(duo.link.ssl);
            serve_all();
            assert_int_equal(duo.server.n_closed, 1);
            assert_int_equal(duo.server.closed_why, OK);
        }
        assert_int_equal(dtls_counts(duo.dtls)->open, 0);
        duo_done();
    }
}

/* Each datagram of a handshake lost, doubled, or behind the one after it; both ends end it. */
static void every_flight(void **state)
{
    (void)state;
    enum { N = 14, WAYS = 3 };
    for (unsigned i = 0; i < N * WAYS * 2; i++) {
        unsigned at = i % N, way = i / N % WAYS;
        struct net n;
        net_init(&n);
        n.lose = way == 0 ? 1U << at : 0;
        n.repeat = way == 1 ? 1U << at : 0;
        n.delay = way == 2 ? 1U << at : 0;
        if (i / N / WAYS == 0) {
            client_psk(&n, "meter-1", key);
        } else {
            client_x509(&n, CLIENT, "coap.example");
        }
        run(&n, &n.client.n_opened, 1);
        run(&n, &n.server.n_opened, 1);
        n.lose = n.repeat = n.delay = 0;
        talk(&n);
        talk(&n);
        assert_int_equal(n.server.n_opened, 1);
        assert_int_equal(n.server.n_failed + n.client.n_failed, 0);
        assert_int_equal(dtls_counts(n.server.dtls)->taken, 1);
        struct end *closer = i % 2 == 0 ? &n.server : &n.client;
        struct end *other = i % 2 == 0 ? &n.client : &n.server;
        dtls_close(closer->dtls, closer->id);
        run(&n, &other->n_closed, 1);
        assert_int_equal(other->closed_why, OK);
        assert_int_equal(dtls_counts(n.server.dtls)->open, 0);
        net_done(&n);
    }
}

/* The client's time for a repeat comes by the library's clock. */
static void client_repeats(void)
{
    duo.n_to_server = 0;
    while (duo.n_to_server == 0) {
        (void)poll(NULL, 0, 5);
        (void)DTLSv1_handle_timeout(duo.link.ssl);
    }
}

static void a_lost_last_flight(void **state)
{
    (void)state;
    static const char *const suites[] = {gcm, "PSK-AES128-CCM8:@SECLEVEL=0",
                                         "ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=0"};
    for (size_t i = 0; i < COUNT_OF(suites); i++) {
        duo_server(false);
        duo_client(suites[i]);
        shake_but_for_the_end();
        client_repeats();
        serve_all();
        assert_true(duo.n_to_client > 0); /* lost, too */
        duo.n_to_client = 0;
        duo.now_ms += DTLS_ANSWER_MS - 1;
        client_repeats();
        serve_all();
        assert_int_equal(duo.n_to_client, 0); /* too soon */
        duo.now_ms += 1;
        client_repeats();
        struct packet copy[N_DATAGRAMS];
        size_t n_copies = duo.n_to_server;
        memcpy(copy, duo.to_server, n_copies * sizeof(copy[0]));
        serve_all();
        assert_true(duo.n_to_client > 0);
        size_t n_sent = duo.n_to_client;
        duo.now_ms += DTLS_ANSWER_MS;
        for (size_t k = 0; k < n_copies; k++) { /* the same records again are no repeat of it */
            to_server(slice_of(copy[k].bytes, copy[k].n));
        }
        assert_int_equal(duo.n_to_client, n_sent);
        assert_int_equal(duo.server.n_replayed, 0); /* which is no misuse */
        assert_true(client_step());
        duo.server.echo = true;
        client_says("in");
        client_hears("in");
        assert_int_equal(duo.server.n_opened, 1);
        assert_int_equal(dtls_counts(duo.dtls)->unreadable, 0);
        duo_done();
    }
}

/* Who has spoken has heard it; who never speaks has its time. */
static void a_flight_is_forgotten(void **state)
{
    (void)state;
    static const uint8_t finished[] = {
        DTLS_FINISHED, 0, 0, 12, 0, 2, 0, 0, 0, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6};
    struct slice again = slice_of(finished, sizeof(finished));
    begin(gcm);
    assert_int_equal(dtls_deadline(duo.dtls), T0 + DTLS_FLIGHT_MS);
    forge(DTLS_HANDSHAKE, 20, again);
    assert_int_equal(duo.n_to_client, 1);
    duo.n_to_client = 0;
    client_says("x");
    assert_true(dtls_deadline(duo.dtls) == UINT64_MAX);
    duo.now_ms += DTLS_ANSWER_MS;
    forge(DTLS_HANDSHAKE, 21, again);
    assert_int_equal(duo.n_to_client, 0);
    duo_done();

    begin(gcm);
    duo.now_ms = T0 + DTLS_FLIGHT_MS - 1;
    dtls_tick(duo.dtls, duo.now_ms);
    forge(DTLS_HANDSHAKE, 20, again);
    assert_int_equal(duo.n_to_client, 1);
    duo.n_to_client = 0;
    duo.now_ms += DTLS_ANSWER_MS;
    dtls_tick(duo.dtls, duo.now_ms);
    forge(DTLS_HANDSHAKE, 21, again);
    assert_int_equal(duo.n_to_client, 0);
    assert_true(dtls_deadline(duo.dtls) == UINT64_MAX);
    duo_done();
}

static void nobody_renegotiates(void **state)
{
    (void)state;
    begin(gcm);
    struct slice hello =
        BYTES(DTLS_CLIENT_HELLO, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 0xfe, 0xfd, 0, 0);
    forge(DTLS_HANDSHAKE, 20, hello);
    assert_said(DTLS_ALERT, BYTES(DTLS_ALERT_WARNING, DTLS_ALERT_NO_RENEGOTIATION));
    duo.now_ms += DTLS_ANSWER_MS - 1;
    forge(DTLS_HANDSHAKE, 21, hello);
    assert_int_equal(duo.n_to_client, 0);
    duo.now_ms += 1;
    forge(DTLS_HANDSHAKE, 22, hello);
    assert_said(DTLS_ALERT, BYTES(DTLS_ALERT_WARNING, DTLS_ALERT_NO_RENEGOTIATION));
    /* other messages of a handshake, and records of no known kind, say nothing */
    duo.now_ms += DTLS_ANSWER_MS;
    forge(DTLS_HANDSHAKE, 23, BYTES(16, 0, 0));
    forge(DTLS_CHANGE_CIPHER, 24, BYTES(1));
    forge(99, 25, BYTES(1));
    assert_int_equal(duo.n_to_client, 0);
    assert_int_equal(dtls_counts(duo.dtls)->open, 1);
    duo_done();
}

static void alerts(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[3];
        size_t n;
        bool ends, is_answered;
        enum err why;
    } cases[] = {
        {{DTLS_ALERT_WARNING, DTLS_ALERT_CLOSE}, 2, true, true, OK},
        {{DTLS_ALERT_WARNING, 90}, 2, false, false, OK},
        {{DTLS_ALERT_FATAL, 40}, 2, true, false, ERR_PROTOCOL},
        {{DTLS_ALERT_WARNING}, 1, true, false, ERR_PROTOCOL}, /* no alert at all */
        {{DTLS_ALERT_WARNING, 90, 0}, 3, true, false, ERR_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin(gcm);
        forge(DTLS_ALERT, 20, slice_of(cases[i].bytes, cases[i].n));
        assert_int_equal(duo.server.n_closed, cases[i].ends);
        assert_int_equal(dtls_counts(duo.dtls)->open, !cases[i].ends);
        if (cases[i].ends) {
            assert_int_equal(duo.server.closed_why, cases[i].why);
            assert_int_equal(duo.server.closed_id, duo.server.id);
        }
        if (cases[i].is_answered) {
            assert_said(DTLS_ALERT, BYTES(DTLS_ALERT_WARNING, DTLS_ALERT_CLOSE));
        }
        assert_int_equal(duo.n_to_client, 0);
        duo_done();
    }
}

static void the_window_of_a_peer(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        bool is_taken;
    } cases[] = {{1000, true},
                 {1000, false},
                 {1000 - (DTLS_WINDOW - 1), true},  /* the last in it */
                 {1000 - (DTLS_WINDOW - 1), false}, /* again */
                 {1000 - DTLS_WINDOW, false},       /* left of it */
                 {1001, true},
                 {999, true},
                 {1001, false},
                 {5, false},
                 {DTLS_NUMBER_MAX, true},
                 {DTLS_NUMBER_MAX, false}};
    int n_taken = 0, n_repeated = 0;
    begin(gcm);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        forge(DTLS_APPLICATION, cases[i].number, slice_text("x"));
        n_taken += cases[i].is_taken;
        n_repeated += !cases[i].is_taken;
        assert_int_equal(duo.server.n_received, n_taken);
        assert_int_equal(duo.server.n_replayed, n_repeated); /* each is told */
    }
    assert_int_equal(dtls_counts(duo.dtls)->unreadable, 0);
    duo_done();
}

/* The number of the client's Finished is taken from the beginning. */
static void the_window_begins_with_the_finished(void **state)
{
    (void)state;
    begin(gcm);
    forge(DTLS_APPLICATION, 0, slice_text("x"));
    assert_int_equal(duo.server.n_received, 0);
    forge(DTLS_APPLICATION, 1, slice_text("x"));
    assert_int_equal(duo.server.n_received, 1);
    duo_done();
}

/* Without the keys nothing can be said: no answer, no end, and the next word of the peer counts. */
static void what_strangers_forge(void **state)
{
    (void)state;
    begin(gcm);
    const struct dtls_counts *counts = dtls_counts(duo.dtls);
    assert_true(SSL_write(duo.link.ssl, "hello", 5) == 5);
    struct packet good = duo.to_server[0];
    duo.n_to_server = 0;
    for (size_t bit = 0; bit < 8 * good.n; bit++) {
        struct packet bad = good;
        bad.bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        to_server(slice_of(bad.bytes, bad.n));
    }
    for (size_t n = 0; n < good.n; n++) {
        to_server(slice_of(good.bytes, n));
    }
    assert_true(counts->unreadable > 100);
    uint8_t other[][15] = {
        {DTLS_ALERT, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, DTLS_ALERT_WARNING, 0},
        {DTLS_ALERT, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, DTLS_ALERT_FATAL, 40},
        {DTLS_ALERT, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 2, DTLS_ALERT_FATAL, 40},
        {DTLS_ALERT, 0xfe, 0xfd, 0, 2, 0, 0, 0, 0, 0, 9, 0, 2, DTLS_ALERT_FATAL, 40},
    };
    for (size_t i = 0; i < COUNT_OF(other); i++) {
        to_server(slice_of(other[i], sizeof(other[i])));
    }
    assert_int_equal(duo.n_to_client, 0);
    assert_int_equal(duo.server.n_closed + duo.server.n_received, 0);
    assert_int_equal(duo.server.n_replayed, 1); /* the bit that makes its number the Finished's */
    to_server(slice_of(good.bytes, good.n));
    assert_int_equal(duo.server.n_received, 1);
    assert_string_equal(duo.server.got, "hello");
    duo_done();
}

/* Forged records before the client's last flight are no reason to keep OpenSSL, and do not move the
 * window. */
static void forged_before_the_finished(void **state)
{
    (void)state;
    duo_server(false);
    duo_client(gcm);
    for (int i = 0; duo.server.n_opened == 0; i++) {
        assert_true(i < 20);
        assert_false(client_step());
        for (uint8_t k = 0; i > 1 && k < 2 * DTLS_HEARD; k++) {
            uint8_t bad[61] = {DTLS_HANDSHAKE, 0xfe, 0xfd, 0, 1, 0xff, 0, 0, 0, 0, k, 0, 48, 1};
            to_server(slice_of(bad, sizeof(bad)));
        }
        serve_all();
    }
    assert_true(client_step());
    assert_int_equal(dtls_counts(duo.dtls)->taken, 1);
    duo.server.echo = true;
    client_says("hello");
    client_hears("hello");
    duo_done();
}

static void several_records_in_a_datagram(void **state)
{
    (void)state;
    begin(gcm);
    uint8_t both[256];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SSL_write(duo.link.ssl, "xyz", 3), 3);
        memcpy(both + n, duo.to_server[0].bytes, duo.to_server[0].n);
        n += duo.to_server[0].n;
        duo.n_to_server = 0;
    }
    to_server(slice_of(both, n));
    assert_int_equal(duo.server.n_received, 3);
    to_server(slice_of(both, n));
    assert_int_equal(duo.server.n_received, 3);
    assert_int_equal(duo.server.n_replayed, 3);
    /* an owner who ends it at the first hears nothing of the others */
    duo.server.close_on_receive = true;
    for (uint64_t number = 50; number < 52; number++) {
        forge(DTLS_APPLICATION, number, slice_text("bye"));
    }
    assert_int_equal(duo.server.n_received, 4);
    duo_done();
}

static void numbers_end(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    struct dtls_taken t = {.next = DTLS_NUMBER_MAX};
    uint8_t bytes[64];
    assert_int_equal(record_aead_new(&a), OK);
    struct wr w = wr_into(bytes, sizeof(bytes));
    assert_int_equal(dtls_taken_seal(&t, a, DTLS_APPLICATION, slice_text("x"), &w), OK);
    for (int i = 0; i < 3; i++) { /* and none begins anew */
        w = wr_into(bytes, sizeof(bytes));
        assert_int_equal(dtls_taken_seal(&t, a, DTLS_APPLICATION, slice_text("x"), &w), ERR_CRYPTO);
        assert_int_equal(w.at, 0);
    }
}

/* What the server keeps of an idle peer with a pre-shared key. */
static void an_idle_peer_is_small(void **state)
{
    (void)state;
    enum { MOST = 384 };
    duo_server(false);
    duo_client(gcm);
    assert_false(client_step());
    serve_all(); /* the spare is there */
    struct dtls *server = duo.dtls;
    size_t begin_n = 0, end_n = 0;
    for (uint32_t i = 0; i < 3; i++) {
        dtls_link_done(&duo.link);
        SSL_CTX_free(duo.ctx);
        BIO_meth_free(duo.method);
        duo.link = (struct dtls_link){0};
        duo.n_to_server = duo.n_to_client = 0;
        memset(duo.sent, 0, sizeof(duo.sent));
        duo.server.n_opened = 0;
        duo_client(gcm);
        duo.link.peer.port = 5000 + i;
        shake();
        client_says("x");
        assert_int_equal(dtls_counts(server)->open, i + 1);
        begin_n = end_n;
        duo.n_to_server = duo.n_to_client = 0;
        /* without a spare, which is made when somebody comes: renewed, it is dropped */
        struct dtls_server_config c = {.random = &rng};
        struct dtls_handler handler = handler_of(&duo.server);
        char text[TLS_TEXT_BYTES];
        assert_int_equal(dtls_renew(server, &c, &handler, text), OK);
        end_n = heap_in_use();
    }
    if (end_n - begin_n > MOST) {
        fail_msg("one more idle peer costs %zu bytes", end_n - begin_n);
    }
    duo_done();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_suite),
        cmocka_unit_test(every_flight),
        cmocka_unit_test(a_lost_last_flight),
        cmocka_unit_test(a_flight_is_forgotten),
        cmocka_unit_test(nobody_renegotiates),
        cmocka_unit_test(alerts),
        cmocka_unit_test(the_window_of_a_peer),
        cmocka_unit_test(the_window_begins_with_the_finished),
        cmocka_unit_test(what_strangers_forge),
        cmocka_unit_test(forged_before_the_finished),
        cmocka_unit_test(several_records_in_a_datagram),
        cmocka_unit_test(numbers_end),
        cmocka_unit_test(an_idle_peer_is_small),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

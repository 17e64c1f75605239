/*
 * handshake - what a TLS handshake with a client certificate costs the server, in full and by a
 * ticket. By hand, on a quiet machine:
 *
 *   ninja -C build tests/bench/handshake && build/tests/bench/handshake [HANDSHAKES]
 *   (in an optimized build with tests)
 *
 * Both ends in this process over a socket pair, HANDSHAKES (2,000) of each kind in turns; told is
 * the CPU time of the server's calls alone, by microseconds of one; beside it what a full one costs
 * where no tickets are given, and looking ahead in a hello for the line.
 */
#include <stdio.h>
#include <time.h>

#include "net/stream_duo_test.h"
#include "net/tls_private.h"

enum { HANDSHAKES = 2000, ROUNDS = 6, LIFE_S = 3600 };

struct stage {
    struct tls *server, *client;
    struct stream_io *server_io, *client_io;
    struct ssl_session_st *session;
};

struct cost {
    double server_us, look_us, seal_us;
    size_t n, n_resumed;
};

static double cpu_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(enum err err)
{
    if (err != OK) {
        (void)fprintf(stderr, "handshake: %s\n", err_name(err));
        exit(2);
    }
}

static void one(struct stage *s, struct ssl_session_st *session, struct cost *cost)
{
    struct stream *client = NULL, *server = NULL;
    struct slice plain;
    int fds[2];
    socket_pair(fds);
    must(stream_new(fds[0], STREAM_CLIENT, s->client, &client));
    must(stream_resume(client, session));
    must(stream_start(client, s->client_io));
    double begin = cpu_us();
    must(stream_new(fds[1], STREAM_SERVER, s->server, &server));
    double look = cpu_us();
    bool is_offered = stream_offers_ticket(server, s->server_io);
    cost->look_us += cpu_us() - look;
    cost->server_us += look - begin;
    assert_int_equal(is_offered, session != NULL);
    for (int i = 0; i < ROUNDS; i++) {
        begin = cpu_us();
        must(stream_read(server, s->server_io, &plain));
        cost->server_us += cpu_us() - begin;
        must(stream_read(client, s->client_io, &plain));
    }
    AUTO(x509_autofree) struct x509 *peer = NULL;
    begin = cpu_us();
    must(stream_peer_cert(server, &peer));
    cost->server_us += cpu_us() - begin;
    assert_true(stream_is_established(server) && stream_is_established(client));
    if (stream_ticket_ms(server) != 0) {
        begin = cpu_us();
        must(stream_give_ticket(server, s->server_io));
        cost->seal_us += cpu_us() - begin;
        must(stream_read(client, s->client_io, &plain));
    }
    cost->n++;
    cost->n_resumed += stream_is_resumed(server) ? 1 : 0;
    struct ssl_session_st *next = stream_session(client);
    s->session = next != NULL ? (stream_session_free(s->session), next) : s->session;
    begin = cpu_us();
    (void)stream_free(server);
    cost->server_us += cpu_us() - begin;
    (void)stream_free(client);
}

static void stage_open(struct stage *s, bool is_old, struct tls_tickets *tickets)
{
    char text[TLS_TEXT_BYTES];
    struct tls_server_config server = {.chain_pem = test_cert_pem(&certs[SERVER]),
                                       .key_pem = test_key_pem(&certs[SERVER]),
                                       .client_ca_pem = test_cert_pem(&certs[CA]),
                                       .client_cert_required = true,
                                       .allow_tls12 = true,
                                       .tickets = tickets,
                                       .name = "mqtts"};
    struct tls_client_config client = {.ca_pem = test_cert_pem(&certs[CA]),
                                       .host = "localhost",
                                       .takes_tickets = true,
                                       .chain_pem = test_cert_pem(&certs[CLIENT]),
                                       .key_pem = test_key_pem(&certs[CLIENT])};
    *s = (struct stage){.server = NULL};
    must(tls_server_new(&server, text, &s->server));
    must(tls_client_new(&client, text, &s->client));
    must(stream_io_new(&s->server_io));
    must(stream_io_new(&s->client_io));
    if (is_old) {
        (void)SSL_CTX_set_options(tls_ctx(s->client), SSL_OP_NO_TLSv1_3);
    }
}

static void stage_close(struct stage *s)
{
    s->session = stream_session_free(s->session);
    s->server = tls_free(s->server);
    s->client = tls_free(s->client);
    s->server_io = stream_io_free(s->server_io);
    s->client_io = stream_io_free(s->client_io);
}

static void measure(bool is_old, size_t n, struct tls_tickets *tickets)
{
    struct stage s, bare;
    struct cost warm = {0}, full = {0}, resumed = {0}, none = {0};
    const unsigned char *ticket = NULL;
    size_t ticket_n = 0;
    stage_open(&s, is_old, tickets);
    stage_open(&bare, is_old, NULL);
    one(&s, NULL, &warm);
    one(&bare, NULL, &warm);
    for (size_t i = 0; i < n; i++) {
        one(&bare, NULL, &none);
        one(&s, NULL, &full);
        one(&s, s.session, &resumed);
    }
    SSL_SESSION_get0_ticket(s.session, &ticket, &ticket_n);
    assert_true(full.n_resumed == 0 && resumed.n_resumed == n);
    double of_full = full.server_us / (double)n, of_resumed = resumed.server_us / (double)n;
    (void)printf(
        "TLS 1.%d  full %6.1f us (without tickets %6.1f)   by a ticket %6.1f us, %.1f times   "
        "ticket later %.1f us   looking ahead %.1f us (no ticket: %.1f us)   %zu bytes\n",
        is_old ? 2 : 3, of_full, none.server_us / (double)n, of_resumed, of_full / of_resumed,
        resumed.seal_us / (double)n, resumed.look_us / (double)n, full.look_us / (double)n,
        ticket_n);
    stage_close(&s);
    stage_close(&bare);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : HANDSHAKES;
    struct tls_tickets_setup setup = {
        .life_s = LIFE_S, .clock = clock_system(), .random = random_system()};
    struct tls_tickets *tickets = NULL;
    must(tls_tickets_new(&setup, &tickets));
    (void)make_certs(NULL);
    measure(false, n, tickets);
    measure(true, n, tickets);
    (void)drop_certs(NULL);
    tickets = tls_tickets_free(tickets);
    return 0;
}

/* dtls_bench_test - a DTLS client and a server joined by a network in memory that loses and repeats
 * what the test wants, and the certificates between them, for tests. */
#ifndef NET_DTLS_BENCH_TEST_H
#define NET_DTLS_BENCH_TEST_H

#include <poll.h>

#include "base/clock.h"
#include "net/certs_test.h"
#include "net/dtls.h"
#include "net/loop.h"

enum { QUEUE = 64, RETRANSMIT_MS = 20, WAIT_MS = 8000 };

enum who { CA, SERVER, CLIENT, EXPIRED, FOREIGN_CA, FOREIGN, N_WHO };

static struct test_cert certs[N_WHO];
static const char key[] = "0123456789abcdefghijklmnopqrstuv";
static struct random_source rng;
static uint64_t seed = 42;
static uint32_t pace_ms = RETRANSMIT_MS; /* both sides' first wait; a test puts it back */

struct packet {
    size_t n;
    struct net_peer from;
    uint8_t bytes[DTLS_DATAGRAM_MAX];
};

struct end {
    struct net *net;
    struct dtls *dtls;
    struct net_peer self;
    struct packet queue[QUEUE]; /* on the way to this end */
    size_t n_queued;
    int n_opened, n_received, n_closed, n_failed, n_asked, n_foreign, n_replayed;
    bool is_closed_to_strangers;
    uint64_t id, closed_id;
    enum err closed_why;
    enum dtls_failure failure;
    char failed_identity[DTLS_IDENTITY_MAX + 1];
    char error[TLS_TEXT_BYTES];
    char got[256];
    char identity[DTLS_IDENTITY_MAX + 1];
    uint64_t psk_credential;
    size_t cert_n;
    char cipher[64];
    bool echo, close_on_receive;
};

struct net {
    struct end server, client;
    size_t n_datagrams, n_bytes_to_client;
    size_t n_ticks;  /* a timer was due: something may have gone twice */
    unsigned lose;   /* bit i: the i-th datagram is lost */
    bool repeat_all; /* every datagram comes twice */
    unsigned repeat; /* bit i: the i-th one does */
    unsigned delay;  /* bit i: the i-th one comes behind the next to the same end */
    struct packet late;
    struct end *late_to; /* NULL: none is */
    struct clock clock;
};

static inline uint64_t now(const struct net *n)
{
    return n->clock.mono_ms(n->clock.ctx);
}

static inline void carry(struct end *from, const struct net_peer *to, struct slice datagram)
{
    struct net *net = from->net;
    struct end *target = from == &net->server ? &net->client : &net->server;
    size_t index = net->n_datagrams++;
    if (from == &net->server) {
        net->n_bytes_to_client += datagram.n;
    }
    if (!net_peer_equal(to, &target->self) || (index < 32 && (net->lose >> index & 1) != 0)) {
        return;
    }
    assert_true(datagram.n <= DTLS_DATAGRAM_MAX);
    struct packet p = {.n = datagram.n, .from = from->self};
    memcpy(p.bytes, datagram.p, datagram.n);
    if (index < 32 && (net->delay >> index & 1) != 0 && net->late_to == NULL) {
        net->late = p;
        net->late_to = target;
        return;
    }
    bool is_twice = net->repeat_all || (index < 32 && (net->repeat >> index & 1) != 0);
    for (int i = 0; i < (is_twice ? 2 : 1) && target->n_queued < QUEUE; i++) {
        target->queue[target->n_queued++] = p;
    }
    if (net->late_to == target && target->n_queued < QUEUE) {
        target->queue[target->n_queued++] = net->late;
        net->late_to = NULL;
    }
}

static inline void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    carry(ctx, to, datagram);
}

static inline void on_opened(void *ctx, const struct dtls_info *info)
{
    struct end *e = ctx;
    e->n_opened++;
    e->id = info->id;
    e->cert_n = info->peer_cert.n;
    assert_true(slice_to_text(info->psk_identity, e->identity, sizeof(e->identity)));
    e->psk_credential = info->psk_credential;
    (void)snprintf(e->cipher, sizeof(e->cipher), "%s", info->cipher);
}

static inline void on_received(void *ctx, uint64_t id, struct slice plain)
{
    struct end *e = ctx;
    e->n_received++;
    assert_true(slice_to_text(plain, e->got, sizeof(e->got)));
    if (e->echo) {
        assert_int_equal(dtls_send(e->dtls, id, plain, now(e->net)), OK);
    }
    if (e->close_on_receive) {
        dtls_close(e->dtls, id);
    }
}

static inline void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct end *e = ctx;
    e->n_closed++;
    e->closed_id = id;
    e->closed_why = why;
}

static inline void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                             struct slice identity, const struct tls_refusal *how)
{
    struct end *e = ctx;
    (void)peer;
    e->n_failed++;
    e->failure = why;
    assert_true(slice_to_text(identity, e->failed_identity, sizeof(e->failed_identity)));
    (void)snprintf(e->error, sizeof(e->error), "%s", how->text);
}

static inline enum err on_find_psk(void *ctx, struct slice identity, uint8_t *ret_key,
                                   size_t *ret_n, uint64_t *ret_credential)
{
    (void)ctx;
    *ret_credential = 7;
    if (!slice_is(identity, "meter-1")) {
        return ERR_NOT_FOUND;
    }
    memcpy(ret_key, key, sizeof(key) - 1);
    *ret_n = sizeof(key) - 1;
    return OK;
}

static inline bool on_admit(void *ctx, const struct net_peer *peer)
{
    struct end *e = ctx;
    (void)peer;
    e->n_asked++;
    return !e->is_closed_to_strangers;
}

static inline void on_foreign(void *ctx, const struct net_peer *peer, struct slice datagram)
{
    struct end *e = ctx;
    (void)peer;
    (void)datagram;
    e->n_foreign++;
}

static inline void on_replayed(void *ctx, uint64_t id)
{
    struct end *e = ctx;
    assert_int_equal(id, e->id);
    e->n_replayed++;
}

static inline struct dtls_handler handler_of(struct end *e)
{
    return (struct dtls_handler){.ctx = e,
                                 .transmit = on_transmit,
                                 .admit = on_admit,
                                 .opened = on_opened,
                                 .received = on_received,
                                 .closed = on_closed,
                                 .failed = on_failed,
                                 .find_psk = on_find_psk,
                                 .replayed = on_replayed,
                                 .foreign = on_foreign};
}

static inline void net_init_with(struct net *n, uint32_t handshake_ms)
{
    *n = (struct net){.clock = clock_system()};
    n->server.net = n->client.net = n;
    assert_int_equal(net_peer_parse(slice_text("192.0.2.1:5684"), &n->server.self), OK);
    assert_int_equal(net_peer_parse(slice_text("192.0.2.2:40000"), &n->client.self), OK);
    struct dtls_server_config c = {.chain_pem = test_cert_pem(&certs[SERVER]),
                                   .key_pem = test_key_pem(&certs[SERVER]),
                                   .client_ca_pem = test_cert_pem(&certs[CA]),
                                   .random = &rng,
                                   .half_open_max = 8,
                                   .handshake_ms = handshake_ms,
                                   .retransmit_ms = pace_ms};
    struct dtls_handler handler = handler_of(&n->server);
    char text[TLS_TEXT_BYTES];
    enum err e = dtls_server_openssl(&c, &handler, text, &n->server.dtls);
    if (e != OK) {
        fail_msg("%s: %s", err_name(e), text);
    }
}

static inline void net_init(struct net *n)
{
    net_init_with(n, 0);
}

static inline void client_init(struct net *n, const struct dtls_client_config *c)
{
    struct dtls_handler handler = handler_of(&n->client);
    char text[TLS_TEXT_BYTES];
    n->client.dtls = dtls_free(n->client.dtls);
    n->client.n_queued = 0;
    enum err e = dtls_client_openssl(c, &n->server.self, &handler, text, &n->client.dtls);
    if (e != OK) {
        fail_msg("%s: %s", err_name(e), text);
    }
}

static inline void client_psk(struct net *n, const char *identity, const char *psk)
{
    struct dtls_client_config c = {
        .psk_identity = slice_text(identity), .psk = slice_text(psk), .retransmit_ms = pace_ms};
    client_init(n, &c);
}

static inline void client_x509(struct net *n, enum who who, const char *host)
{
    struct dtls_client_config c = {.ca_pem = test_cert_pem(&certs[CA]),
                                   .host = host,
                                   .chain_pem = test_cert_pem(&certs[who]),
                                   .key_pem = test_key_pem(&certs[who]),
                                   .retransmit_ms = pace_ms};
    client_init(n, &c);
}

static inline void net_done(struct net *n)
{
    n->client.dtls = dtls_free(n->client.dtls);
    n->server.dtls = dtls_free(n->server.dtls);
}

static inline void deliver(struct end *e)
{
    struct packet queue[QUEUE];
    size_t n = e->n_queued;
    memcpy(queue, e->queue, n * sizeof(queue[0]));
    e->n_queued = 0;
    for (size_t i = 0; i < n; i++) {
        dtls_input(e->dtls, &queue[i].from, slice_of(queue[i].bytes, queue[i].n), now(e->net));
    }
}

/* Lets both ends act until nothing is on the way; then waits for the next timer if `until` is not
 * reached. */
static inline void run(struct net *n, const int *until, int value)
{
    uint64_t end_at = now(n) + WAIT_MS;
    struct end *ends[2] = {&n->client, &n->server};
    for (;;) {
        for (int i = 0; i < 2; i++) {
            if (dtls_deadline(ends[i]->dtls) <= now(n)) {
                n->n_ticks++;
                dtls_tick(ends[i]->dtls, now(n));
            }
            deliver(ends[i]);
        }
        bool idle = n->client.n_queued == 0 && n->server.n_queued == 0;
        if (idle && (until == NULL || *until >= value)) {
            return;
        }
        if (idle) {
            uint64_t a = dtls_deadline(n->client.dtls);
            uint64_t b = dtls_deadline(n->server.dtls);
            assert_true(now(n) < end_at && (a != UINT64_MAX || b != UINT64_MAX));
            (void)poll(NULL, 0, loop_timeout(now(n), a < b ? a : b));
        }
    }
}

static inline void talk(struct net *n)
{
    n->server.echo = true;
    int before = n->client.n_received;
    assert_int_equal(dtls_send(n->client.dtls, 1, slice_text("hello"), now(n)), OK);
    run(n, &n->client.n_received, before + 1);
    assert_string_equal(n->client.got, "hello");
}

/* The first datagram of a client, to be sent from anywhere. */
static inline struct packet first_hello(struct net *n)
{
    dtls_tick(n->client.dtls, now(n));
    assert_int_equal(n->server.n_queued, 1);
    n->server.n_queued = 0;
    return n->server.queue[0];
}

static inline int make_certs(void **state)
{
    (void)state;
    const struct test_cert_spec specs[N_WHO] = {
        [CA] = {.name = "ca", .ca = true},
        [SERVER] = {.name = "server", .issuer = &certs[CA], .san = "DNS:coap.example"},
        [CLIENT] = {.name = "client", .issuer = &certs[CA], .eku = "clientAuth"},
        [EXPIRED] = {"expired", &certs[CA], NULL, "clientAuth", false, false, -7200, -3600},
        [FOREIGN_CA] = {.name = "foreign ca", .ca = true},
        [FOREIGN] = {.name = "foreign", .issuer = &certs[FOREIGN_CA]},
    };
    rng = random_seeded(&seed);
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

#endif

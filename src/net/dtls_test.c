#include "net/dtls.h"

#include <poll.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/certs_test.h"
#include "net/loop.h"

/* Client and server joined by a network in memory that loses and repeats what the test wants. */

enum { QUEUE = 64, RETRANSMIT_MS = 20, N_SPOOFED = 10000, WAIT_MS = 8000 };

enum who { CA, SERVER, CLIENT, EXPIRED, FOREIGN_CA, FOREIGN, N_WHO };

static struct test_cert certs[N_WHO];
static const char key[] = "0123456789abcdefghijklmnopqrstuv";
static struct random_source rng;
static uint64_t seed = 42;

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
    int n_opened, n_received, n_closed, n_failed, n_asked, n_foreign;
    bool is_closed_to_strangers;
    uint64_t id, closed_id;
    enum err closed_why;
    enum dtls_failure failure;
    char failed_identity[DTLS_IDENTITY_MAX + 1];
    char error[TLS_TEXT_BYTES];
    char got[256];
    char identity[DTLS_IDENTITY_MAX + 1];
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
    struct clock clock;
};

static uint64_t now(const struct net *n)
{
    return n->clock.mono_ms(n->clock.ctx);
}

static void carry(struct end *from, const struct net_peer *to, struct slice datagram)
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
    for (int i = 0; i < (net->repeat_all ? 2 : 1) && target->n_queued < QUEUE; i++) {
        struct packet *p = &target->queue[target->n_queued++];
        p->n = datagram.n;
        p->from = from->self;
        memcpy(p->bytes, datagram.p, datagram.n);
    }
}

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    carry(ctx, to, datagram);
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    struct end *e = ctx;
    e->n_opened++;
    e->id = info->id;
    e->cert_n = info->peer_cert.n;
    assert_true(slice_to_text(info->psk_identity, e->identity, sizeof(e->identity)));
    (void)snprintf(e->cipher, sizeof(e->cipher), "%s", info->cipher);
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
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

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct end *e = ctx;
    e->n_closed++;
    e->closed_id = id;
    e->closed_why = why;
}

static void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                      struct slice identity, const struct tls_refusal *how)
{
    struct end *e = ctx;
    (void)peer;
    e->n_failed++;
    e->failure = why;
    assert_true(slice_to_text(identity, e->failed_identity, sizeof(e->failed_identity)));
    (void)snprintf(e->error, sizeof(e->error), "%s", how->text);
}

static enum err on_find_psk(void *ctx, struct slice identity, uint8_t *ret_key, size_t *ret_n)
{
    (void)ctx;
    if (!slice_is(identity, "meter-1")) {
        return ERR_NOT_FOUND;
    }
    memcpy(ret_key, key, sizeof(key) - 1);
    *ret_n = sizeof(key) - 1;
    return OK;
}

static bool on_admit(void *ctx, const struct net_peer *peer)
{
    struct end *e = ctx;
    (void)peer;
    e->n_asked++;
    return !e->is_closed_to_strangers;
}

static void on_foreign(void *ctx, const struct net_peer *peer, struct slice datagram)
{
    struct end *e = ctx;
    (void)peer;
    (void)datagram;
    e->n_foreign++;
}

static struct dtls_handler handler_of(struct end *e)
{
    return (struct dtls_handler){.ctx = e,
                                 .transmit = on_transmit,
                                 .admit = on_admit,
                                 .opened = on_opened,
                                 .received = on_received,
                                 .closed = on_closed,
                                 .failed = on_failed,
                                 .find_psk = on_find_psk,
                                 .foreign = on_foreign};
}

static void net_init_with(struct net *n, uint32_t handshake_ms)
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
                                   .retransmit_ms = RETRANSMIT_MS};
    struct dtls_handler handler = handler_of(&n->server);
    char text[TLS_TEXT_BYTES];
    enum err e = dtls_server_openssl(&c, &handler, text, &n->server.dtls);
    if (e != OK) {
        fail_msg("%s: %s", err_name(e), text);
    }
}

static void net_init(struct net *n)
{
    net_init_with(n, 0);
}

static void client_init(struct net *n, const struct dtls_client_config *c)
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

static void client_psk(struct net *n, const char *identity, const char *psk)
{
    struct dtls_client_config c = {.psk_identity = slice_text(identity),
                                   .psk = slice_text(psk),
                                   .retransmit_ms = RETRANSMIT_MS};
    client_init(n, &c);
}

static void client_x509(struct net *n, enum who who, const char *host)
{
    struct dtls_client_config c = {.ca_pem = test_cert_pem(&certs[CA]),
                                   .host = host,
                                   .chain_pem = test_cert_pem(&certs[who]),
                                   .key_pem = test_key_pem(&certs[who]),
                                   .retransmit_ms = RETRANSMIT_MS};
    client_init(n, &c);
}

static void net_done(struct net *n)
{
    n->client.dtls = dtls_free(n->client.dtls);
    n->server.dtls = dtls_free(n->server.dtls);
}

static void deliver(struct end *e)
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
static void run(struct net *n, const int *until, int value)
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

static void talk(struct net *n)
{
    n->server.echo = true;
    int before = n->client.n_received;
    assert_int_equal(dtls_send(n->client.dtls, 1, slice_text("hello"), now(n)), OK);
    run(n, &n->client.n_received, before + 1);
    assert_string_equal(n->client.got, "hello");
}

/* Not in answer to anything: the record buffers were given back after the last datagram. */
static void the_server_speaks_first(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 1);
    talk(&n);
    int before = n.client.n_received;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dtls_send(n.server.dtls, n.server.id, slice_text("news"), now(&n)), OK);
    }
    run(&n, &n.client.n_received, before + 3);
    assert_string_equal(n.client.got, "news");
    dtls_close(n.server.dtls, n.server.id);
    run(&n, &n.client.n_closed, 1);
    net_done(&n);
}

static void psk_both_ways(void **state)
{
    (void)state;
    struct net n;
    struct dtls_info info;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 1);
    assert_int_equal(n.server.n_opened, 1);
    assert_string_equal(n.server.identity, "meter-1");
    assert_string_equal(n.server.cipher, "PSK-AES128-GCM-SHA256");
    assert_int_equal(n.server.cert_n, 0);
    talk(&n);
    assert_true(dtls_info(n.server.dtls, n.server.id, &info));
    assert_true(net_peer_equal(&info.peer, &n.client.self));
    assert_int_equal(dtls_send(n.server.dtls, n.server.id + 1, slice_text("x"), now(&n)),
                     ERR_NOT_FOUND);
    static const uint8_t big[DTLS_PLAIN_MAX + 1] = {0};
    assert_int_equal(dtls_send(n.server.dtls, n.server.id, slice_of(big, sizeof(big)), now(&n)),
                     ERR_TOO_LARGE);
    dtls_close(n.client.dtls, 1);
    run(&n, &n.server.n_closed, 1);
    assert_int_equal(n.server.closed_why, OK);
    assert_int_equal(n.server.closed_id, n.server.id);
    assert_int_equal(dtls_counts(n.server.dtls)->open, 0);
    assert_int_equal(dtls_send(n.server.dtls, n.server.id, slice_text("x"), now(&n)),
                     ERR_NOT_FOUND);
    dtls_close(n.server.dtls, n.server.id);
    net_done(&n);
}

static void x509_both_ways(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_x509(&n, CLIENT, "coap.example");
    run(&n, &n.client.n_opened, 1);
    assert_string_equal(n.server.cipher, "ECDHE-ECDSA-AES128-GCM-SHA256");
    assert_true(n.server.cert_n > 100);
    assert_string_equal(n.server.identity, "");
    talk(&n);
    net_done(&n);
}

static void certificates_that_do_not_verify(void **state)
{
    (void)state;
    static const struct {
        enum who who;
        const char *host, *server_text, *client_text;
    } cases[] = {
        {EXPIRED, "coap.example", "the client certificate has expired", NULL},
        {FOREIGN, "coap.example",
         "the client certificate is signed by a CA that is not trusted here", NULL},
        {CLIENT, "other.example", NULL,
         "the server certificate is for another host name or address"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net n;
        net_init(&n);
        client_x509(&n, cases[i].who, cases[i].host);
        run(&n, cases[i].server_text != NULL ? &n.server.n_failed : &n.client.n_failed, 1);
        assert_int_equal(n.server.n_opened, 0);
        if (cases[i].server_text != NULL) {
            assert_int_equal(n.server.failure, DTLS_FAILED_CERTIFICATE);
            assert_string_equal(n.server.error, cases[i].server_text);
            assert_int_equal(dtls_counts(n.server.dtls)->half_open, 0);
        } else {
            assert_int_equal(n.client.failure, DTLS_FAILED_CERTIFICATE);
            assert_string_equal(n.client.error, cases[i].client_text);
        }
        net_done(&n);
    }
}

/* The ten to sixteen datagrams of a handshake, each lost once, and all of them repeated. */
static void lost_and_repeated_datagrams(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 14; i++) {
        for (int x509 = 0; x509 < 2; x509++) {
            struct net n;
            net_init(&n);
            n.lose = i < 13 ? 1U << i : 0x55;
            n.repeat_all = i % 2 == 0;
            if (x509 != 0) {
                client_x509(&n, CLIENT, "coap.example");
            } else {
                client_psk(&n, "meter-1", key);
            }
            run(&n, &n.client.n_opened, 1);
            run(&n, &n.server.n_opened, 1);
            n.lose = 0;
            talk(&n);
            assert_int_equal(n.server.n_opened, 1);
            assert_int_equal(n.server.n_closed, 0);
            assert_int_equal(dtls_counts(n.server.dtls)->open, 1);
            net_done(&n);
        }
    }
}

static void repeated_data_is_delivered_once(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 1);
    n.repeat_all = true;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(dtls_send(n.client.dtls, 1, slice_text("x"), now(&n)), OK);
    }
    run(&n, NULL, 0);
    assert_int_equal(n.server.n_received, 10);
    net_done(&n);
}

static void wrong_key_and_unknown_identity(void **state)
{
    (void)state;
    static const struct {
        const char *identity, *psk;
        enum dtls_failure why;
    } cases[] = {{"meter-1", "another-key-of-the-same-lengthXX", DTLS_FAILED_KEY},
                 {"meter-2", key, DTLS_FAILED_IDENTITY},
                 {"meter-1x", key, DTLS_FAILED_IDENTITY}};
    size_t n_bytes[3], n_tries = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]);) {
        struct net n;
        net_init(&n);
        client_psk(&n, cases[i].identity, cases[i].psk);
        run(&n, &n.server.n_failed, 1);
        assert_int_equal(n.server.failure, cases[i].why);
        assert_string_equal(n.server.failed_identity, cases[i].identity);
        assert_int_equal(n.server.n_opened, 0);
        n_bytes[i] = n.n_bytes_to_client; /* what the stranger sees is the same */
        n_tries++;
        /* On a machine that stood still a handshake goes twice: look again. */
        i += n.n_ticks <= 1 || n_tries > 1000 ? 1 : 0;
        uint64_t later = now(&n) + DTLS_HANDSHAKE_MS;
        assert_true(dtls_deadline(n.server.dtls) <= later);
        dtls_tick(n.server.dtls, later);
        assert_int_equal(dtls_counts(n.server.dtls)->half_open, 0);
        assert_int_equal(n.server.n_failed, 1); /* told once */
        net_done(&n);
    }
    assert_int_equal(n_bytes[0], n_bytes[1]);
}

/* The first datagram of a client, to be sent from anywhere. */
static struct slice first_hello(struct net *n)
{
    dtls_tick(n->client.dtls, now(n));
    assert_int_equal(n->server.n_queued, 1);
    n->server.n_queued = 0;
    return slice_of(n->server.queue[0].bytes, n->server.queue[0].n);
}

static void strangers_cost_nothing(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    struct slice hello = first_hello(&n);
    struct net_peer spoofed = {.address = {0x20, 1, 0xd, 0xb8}};
    const struct dtls_counts *counts = dtls_counts(n.server.dtls);
    n.n_bytes_to_client = 0;
    dtls_input(n.server.dtls, &spoofed, hello, now(&n)); /* makes the one spare */
    mem_fail_after(0); /* from here on an allocation of ours would fail and show */
    for (uint32_t i = 0; i < N_SPOOFED; i++) {
        spoofed.port = i;
        dtls_input(n.server.dtls, &spoofed, hello, now(&n));
    }
    assert_int_equal(mem_fail_after(-1), 0);
    assert_int_equal(counts->hellos, N_SPOOFED + 1);
    assert_int_equal(counts->cookies, 0);
    assert_int_equal(counts->half_open, 0);
    assert_int_equal(counts->open, 0);
    assert_true(n.n_bytes_to_client <= (N_SPOOFED + 1) * hello.n); /* no amplification */
    assert_int_equal(dtls_deadline(n.server.dtls), UINT64_MAX);
    net_done(&n);
}

static void a_cookie_is_bound_to_its_address_and_time(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    const struct dtls_counts *counts = dtls_counts(n.server.dtls);
    client_psk(&n, "meter-1", key);
    dtls_tick(n.client.dtls, now(&n));
    uint64_t at = now(&n);
    deliver(&n.server); /* the hello; the cookie goes back */
    deliver(&n.client); /* the second hello is on its way */
    assert_int_equal(n.server.n_queued, 1);
    struct packet hello = n.server.queue[0];
    n.server.n_queued = 0;
    struct net_peer other = n.client.self;
    other.port++;
    dtls_input(n.server.dtls, &other, slice_of(hello.bytes, hello.n), at);
    assert_int_equal(counts->cookies, 0);
    dtls_input(n.server.dtls, &n.client.self, slice_of(hello.bytes, hello.n),
               at + 3 * (uint64_t)DTLS_COOKIE_ROTATE_MS);
    assert_int_equal(counts->cookies, 0);
    assert_int_equal(counts->half_open, 0);
    net_done(&n);
}

static void a_handshake_has_its_time(void **state)
{
    (void)state;
    struct net n;
    net_init_with(&n, 2000);
    const struct dtls_counts *counts = dtls_counts(n.server.dtls);
    client_psk(&n, "meter-1", key);
    dtls_tick(n.client.dtls, now(&n));
    deliver(&n.server);
    deliver(&n.client);
    uint64_t before_ms = now(&n);
    deliver(&n.server); /* the proven hello; the client then falls silent */
    dtls_tick(n.server.dtls, before_ms + 1999);
    assert_int_equal(counts->half_open, 1);
    dtls_tick(n.server.dtls, now(&n) + 2000);
    assert_int_equal(counts->half_open, 0);
    net_done(&n);
}

static void who_is_not_welcome_costs_nothing(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    const struct dtls_counts *counts = dtls_counts(n.server.dtls);
    n.server.is_closed_to_strangers = true;
    client_psk(&n, "meter-1", key);
    dtls_tick(n.client.dtls, now(&n));
    deliver(&n.server);
    assert_int_equal(n.server.n_asked, 0); /* nobody is asked about an address that may be forged */
    deliver(&n.client);
    deliver(&n.server);
    assert_int_equal(n.server.n_asked, 1);
    assert_int_equal(counts->refused, 1);
    assert_int_equal(counts->half_open, 0);
    assert_int_equal(n.server.n_failed, 0);
    net_done(&n);
}

static void half_open_handshakes_are_capped(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    const struct dtls_counts *counts = dtls_counts(n.server.dtls);
    for (uint32_t i = 0; i < 12; i++) {
        n.client.self.port = 1000 + i;
        n.server.n_queued = 0;
        client_psk(&n, "meter-1", key);
        dtls_tick(n.client.dtls, now(&n));
        deliver(&n.server);
        deliver(&n.client);
        deliver(&n.server); /* the proven hello; the client then falls silent */
    }
    assert_int_equal(counts->cookies, 12);
    assert_int_equal(counts->half_open, 8);
    assert_int_equal(counts->refused, 0);
    assert_int_equal(counts->crowded_out, 4);
    assert_int_equal(n.server.n_failed, 4);
    dtls_tick(n.server.dtls, now(&n) + DTLS_HANDSHAKE_MS);
    assert_int_equal(counts->half_open, 0);
    assert_int_equal(n.server.n_failed, 12);
    assert_int_equal(n.server.failure, DTLS_FAILED_TIMEOUT);
    net_done(&n);
}

/* Strangers go when memory is short; who is in stays. */
static void unfinished_handshakes_are_turned_away(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    const struct dtls_counts *counts = dtls_counts(n.server.dtls);
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 1);
    for (uint32_t i = 0; i < 3; i++) {
        n.client.self.port = 1000 + i;
        n.server.n_queued = 0;
        client_psk(&n, "meter-1", key);
        dtls_tick(n.client.dtls, now(&n));
        deliver(&n.server);
        deliver(&n.client);
        deliver(&n.server);
    }
    assert_int_equal(counts->half_open, 3);
    assert_int_equal(dtls_turn_away(n.server.dtls), 3);
    assert_int_equal(counts->half_open, 0);
    assert_int_equal(counts->open, 1);
    assert_int_equal(n.server.n_failed, 0); /* it was not they who failed */
    assert_int_equal(dtls_turn_away(n.server.dtls), 0);
    assert_int_equal(dtls_turn_away(n.client.dtls), 0);
    net_done(&n);
}

/* SPEC: RFC6347 4.2.8 */
static void an_old_association_lives_until_the_new_one_is_complete(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    const struct dtls_counts *counts = dtls_counts(n.server.dtls);
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 1);
    uint64_t old_id = n.server.id;
    struct dtls *old = n.client.dtls;
    n.client.dtls = NULL;
    /* A new client at the same address, with the wrong key: the old one is untouched. */
    client_psk(&n, "meter-1", "wrong-wrong-wrong-wrong-wrong-wr");
    run(&n, &n.server.n_failed, 1);
    assert_int_equal(counts->open, 1);
    struct dtls *wrong = n.client.dtls;
    n.client.dtls = old;
    n.client.n_queued = 0;
    n.client.id = 1;
    talk(&n);
    assert_int_equal(n.server.id, old_id);
    wrong = dtls_free(wrong);
    /* With the right key it replaces the old one. */
    n.client.dtls = NULL;
    client_psk(&n, "meter-1", key);
    run(&n, &n.server.n_opened, 2);
    assert_int_equal(n.server.n_closed, 1);
    assert_int_equal(n.server.closed_id, old_id);
    assert_int_equal(n.server.closed_why, ERR_EXISTS);
    assert_true(n.server.id != old_id);
    assert_int_equal(counts->open, 1);
    assert_int_equal(counts->half_open, 0);
    run(&n, &n.client.n_opened, 2);
    talk(&n);
    old = dtls_free(old);
    net_done(&n);
}

static void closing_inside_a_callback(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 1);
    n.server.echo = true;
    n.server.close_on_receive = true;
    assert_int_equal(dtls_send(n.client.dtls, 1, slice_text("bye"), now(&n)), OK);
    run(&n, &n.client.n_closed, 1);
    assert_string_equal(n.client.got, "bye");
    assert_int_equal(dtls_counts(n.server.dtls)->open, 0);
    net_done(&n);
}

static enum err renew(struct net *n, enum who chain, enum who private, bool takes_psk)
{
    struct dtls_server_config c = {.chain_pem = test_cert_pem(&certs[chain]),
                                   .key_pem = test_key_pem(&certs[private]),
                                   .client_ca_pem = test_cert_pem(&certs[CA])};
    struct dtls_handler handler = handler_of(&n->server);
    char text[TLS_TEXT_BYTES];
    handler.find_psk = takes_psk ? on_find_psk : NULL;
    enum err err = dtls_renew(n->server.dtls, &c, &handler, text);
    assert_true((err == OK) == (text[0] == '\0'));
    return err;
}

static void a_renewal_is_for_new_handshakes(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_x509(&n, CLIENT, "coap.example");
    run(&n, &n.client.n_opened, 1);
    assert_int_equal(renew(&n, SERVER, CLIENT, true), ERR_CONFIG); /* not a pair: the old stays */
    talk(&n);
    struct dtls *old = n.client.dtls;
    n.client.dtls = NULL;
    client_x509(&n, CLIENT, "coap.example");
    run(&n, &n.client.n_opened, 2);
    old = dtls_free(old);

    assert_int_equal(renew(&n, FOREIGN, FOREIGN, true), OK);
    talk(&n);
    old = n.client.dtls;
    n.client.dtls = NULL;
    client_x509(&n, CLIENT, "coap.example");
    run(&n, &n.client.n_failed, 1); /* it was shown the new one */
    assert_int_equal(renew(&n, SERVER, SERVER, true), OK);
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 3);
    assert_int_equal(renew(&n, SERVER, SERVER, false), OK);
    talk(&n);
    old = dtls_free(old);
    net_done(&n);
}

/* At every datagram of a handshake the keys are taken away. */
static void a_renewal_inside_a_handshake(void **state)
{
    (void)state;
    for (size_t at = 0; at < 8; at++) {
        struct net n;
        net_init(&n);
        client_psk(&n, "meter-1", key);
        dtls_tick(n.client.dtls, now(&n));
        for (size_t i = 0; i < 12; i++) {
            if (i == at) {
                assert_int_equal(renew(&n, SERVER, SERVER, false), OK);
            }
            deliver(i % 2 == 0 ? &n.server : &n.client);
        }
        assert_int_equal(n.server.n_opened, at > 4 ? 1 : 0); /* the fourth brings the identity */
        net_done(&n);
    }
}

static void junk_is_dropped(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    struct slice hello = first_hello(&n);
    uint8_t copy[DTLS_DATAGRAM_MAX];
    struct slice random = {0};
    memcpy(copy, hello.p, hello.n);
    assert_int_equal(dtls_kind_of(slice_of(copy, hello.n), &random), DTLS_KIND_HELLO);
    assert_int_equal(random.n, 32);
    for (size_t i = 0; i < hello.n; i++) {
        assert_int_equal(dtls_kind_of(slice_of(copy, i), NULL), DTLS_KIND_NONE);
        dtls_input(n.server.dtls, &n.client.self, slice_of(copy, i), now(&n));
        assert_int_equal(n.server.n_foreign, (int)i + 1); /* who listens hears of each */
    }
    for (size_t i = 0; i < hello.n * 8; i++) {
        copy[i / 8] ^= (uint8_t)(1U << i % 8);
        dtls_input(n.server.dtls, &n.client.self, slice_of(copy, hello.n), now(&n));
        copy[i / 8] ^= (uint8_t)(1U << i % 8);
    }
    static const uint8_t sealed[] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0};
    assert_int_equal(dtls_kind_of(slice_of(sealed, sizeof(sealed)), NULL), DTLS_KIND_SEALED);
    dtls_input(n.server.dtls, &n.client.self, slice_of(sealed, sizeof(sealed)), now(&n));
    assert_int_equal(dtls_counts(n.server.dtls)->half_open, 0);
    assert_int_equal(dtls_counts(n.server.dtls)->cookies, 0);
    n.client.n_queued = 0;
    client_psk(&n, "meter-1", key);
    run(&n, &n.client.n_opened, 1); /* and a good client still comes in */
    net_done(&n);
}

static int make_certs(void **state)
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

static int drop_certs(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_WHO; i++) {
        test_cert_done(&certs[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_speaks_first),
        cmocka_unit_test(psk_both_ways),
        cmocka_unit_test(x509_both_ways),
        cmocka_unit_test(certificates_that_do_not_verify),
        cmocka_unit_test(lost_and_repeated_datagrams),
        cmocka_unit_test(repeated_data_is_delivered_once),
        cmocka_unit_test(wrong_key_and_unknown_identity),
        cmocka_unit_test(strangers_cost_nothing),
        cmocka_unit_test(a_cookie_is_bound_to_its_address_and_time),
        cmocka_unit_test(half_open_handshakes_are_capped),
        cmocka_unit_test(unfinished_handshakes_are_turned_away),
        cmocka_unit_test(a_handshake_has_its_time),
        cmocka_unit_test(who_is_not_welcome_costs_nothing),
        cmocka_unit_test(an_old_association_lives_until_the_new_one_is_complete),
        cmocka_unit_test(closing_inside_a_callback),
        cmocka_unit_test(a_renewal_is_for_new_handshakes),
        cmocka_unit_test(a_renewal_inside_a_handshake),
        cmocka_unit_test(junk_is_dropped),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

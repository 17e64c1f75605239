/* What a client has to prove, and that who proves nothing costs nothing. */
#include "base/mem.h"
#include "net/dtls_bench_test.h"

enum { N_SPOOFED = 10000 };

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
    pace_ms =
        DTLS_RETRANSMIT_MS; /* nothing is lost here; the library repeats by its own clock, too */
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
    pace_ms = RETRANSMIT_MS;
    assert_int_equal(n_bytes[0], n_bytes[1]);
}

static void strangers_cost_nothing(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    struct packet first = first_hello(&n);
    struct slice hello = slice_of(first.bytes, first.n);
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
    pace_ms = DTLS_RETRANSMIT_MS; /* one second hello, however slow the machine */
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
    pace_ms = RETRANSMIT_MS;
}

/* Made just before its key became the one before, and shown just before that one goes: or not. */
static void a_cookie_outlives_one_rotation(void **state)
{
    (void)state;
    for (uint64_t more = 0; more < 2; more++) {
        struct net n;
        pace_ms = DTLS_RETRANSMIT_MS;
        net_init(&n);
        const struct dtls_counts *counts = dtls_counts(n.server.dtls);
        client_psk(&n, "meter-1", key);
        dtls_tick(n.client.dtls, now(&n));
        uint64_t at = now(&n);
        struct packet first = n.server.queue[0];
        n.server.n_queued = 0;
        /* Hours later: both keys are new then. */
        at += 10 * (uint64_t)DTLS_COOKIE_ROTATE_MS;
        dtls_input(n.server.dtls, &n.client.self, slice_of(first.bytes, first.n), at);
        deliver(&n.client);
        assert_int_equal(n.server.n_queued, 1);
        struct packet second = n.server.queue[0];
        struct net_peer other = n.client.self;
        other.port++;
        at += DTLS_COOKIE_ROTATE_MS;
        dtls_input(n.server.dtls, &other, slice_of(first.bytes, first.n), at);
        at += DTLS_COOKIE_ROTATE_MS - 1 + more;
        dtls_input(n.server.dtls, &n.client.self, slice_of(second.bytes, second.n), at);
        assert_int_equal(counts->cookies, more == 0 ? 1 : 0);
        n.server.n_queued = 0;
        net_done(&n);
    }
    pace_ms = RETRANSMIT_MS;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_that_do_not_verify),
        cmocka_unit_test(wrong_key_and_unknown_identity),
        cmocka_unit_test(strangers_cost_nothing),
        cmocka_unit_test(a_cookie_is_bound_to_its_address_and_time),
        cmocka_unit_test(a_cookie_outlives_one_rotation),
        cmocka_unit_test(who_is_not_welcome_costs_nothing),
        cmocka_unit_test(a_renewal_is_for_new_handshakes),
        cmocka_unit_test(a_renewal_inside_a_handshake),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

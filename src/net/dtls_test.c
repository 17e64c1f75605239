/* Associations: how they open, what they carry, and how they end. */
#include "net/dtls_bench_test.h"

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
    assert_true(n.server.psk_credential == 7);
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
    assert_true(n.server.psk_credential == 0);
    talk(&n);
    net_done(&n);
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
    assert_int_equal(n.server.n_replayed, 10); /* and each repeat is told */
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

static void junk_is_dropped(void **state)
{
    (void)state;
    struct net n;
    net_init(&n);
    client_psk(&n, "meter-1", key);
    struct packet hello = first_hello(&n);
    struct slice random = {0};
    assert_int_equal(dtls_kind_of(slice_of(hello.bytes, hello.n), &random), DTLS_KIND_HELLO);
    assert_int_equal(random.n, 32);
    for (size_t i = 0; i < hello.n; i++) {
        assert_int_equal(dtls_kind_of(slice_of(hello.bytes, i), NULL), DTLS_KIND_NONE);
        dtls_input(n.server.dtls, &n.client.self, slice_of(hello.bytes, i), now(&n));
        assert_int_equal(n.server.n_foreign, (int)i + 1); /* who listens hears of each */
    }
    for (size_t i = 0; i < hello.n * 8; i++) {
        hello.bytes[i / 8] ^= (uint8_t)(1U << i % 8);
        dtls_input(n.server.dtls, &n.client.self, slice_of(hello.bytes, hello.n), now(&n));
        hello.bytes[i / 8] ^= (uint8_t)(1U << i % 8);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_speaks_first),
        cmocka_unit_test(psk_both_ways),
        cmocka_unit_test(x509_both_ways),
        cmocka_unit_test(lost_and_repeated_datagrams),
        cmocka_unit_test(repeated_data_is_delivered_once),
        cmocka_unit_test(half_open_handshakes_are_capped),
        cmocka_unit_test(unfinished_handshakes_are_turned_away),
        cmocka_unit_test(a_handshake_has_its_time),
        cmocka_unit_test(an_old_association_lives_until_the_new_one_is_complete),
        cmocka_unit_test(closing_inside_a_callback),
        cmocka_unit_test(junk_is_dropped),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

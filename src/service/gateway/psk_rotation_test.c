/* Two keys of one identity, of which one waits for its device: which one a handshake tries. */
#include "service/gateway/door_bench_test.h"

/* Who slept does not notice; and a proof by the old key never counts as one by the new. */
static void a_key_that_waits_goes_second(void **state)
{
    struct fortress *f = *state;
    static const char next[] = "Zk3vQ8mT1xWr7bLpH5nC9dYs2fGjKaUe";
    struct directory_secret s = {.kind = CREDENTIAL_PSK,
                                 .expires_wall_ms = CREDENTIAL_NEVER,
                                 .psk = slice_of(next, sizeof(next) - 1)};
    struct fake *k = &f->fakes[0];
    struct directory_confirmation told[DIRECTORY_SETTLE_MAX];
    uint8_t key[DTLS_PSK_MAX];
    size_t n = 0;
    bool changed = false;
    assert_int_equal(
        directory_succeed(f->directory, slice_text("dev1"), &s, 60000, f->wall_ms, NULL), OK);
    publish_realm(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "dev1"));

    /* A handshake by the old key is under way when somebody else fails in its name. */
    struct dtls_info slow = {
        .id = 3, .peer = peer_of(3), .psk_identity = slice_text("dev1"), .cipher = "PSK-TEST"};
    assert_int_equal(
        k->handler.find_psk(k->handler.ctx, slow.psk_identity, key, &n, &slow.psk_credential), OK);
    assert_false(link_psk(f, 0, 4, "dev1", slice_text("wrong key, wrong key, wrong key")));
    k->open[3] = true;
    k->handler.opened(k->handler.ctx, &slow);
    assert_true(k->open[3]);
    assert_int_equal(directory_settle(f->directory, f->wall_ms, told, &n, &changed), OK);
    assert_int_equal(n, 0);
    assert_false(changed);

    /* Now it is the new one's turn, at every worker, and from its first use on it goes first. */
    assert_true(link_psk(f, 1, 5, "dev1", s.psk));
    assert_true(link_psk(f, 0, 6, "dev1", s.psk));
    assert_int_equal(directory_settle(f->directory, f->wall_ms, told, &n, &changed), OK);
    assert_int_equal(n, 1);
    publish_realm(f);
    assert_true(link_psk(f, 0, 7, "dev1", s.psk));
    assert_true(k->open[1]);
    pass(f, 61000);
    assert_false(k->open[1]); /* the old one's hour is over, and so is what came by it */
    assert_true(k->open[7]);
    assert_false(link_device(f, 0, 8, "dev1"));

    /* A number that is no key of this identity opens nothing. */
    slow.id = 9;
    slow.psk_credential = 12345;
    k->open[9] = true;
    k->handler.opened(k->handler.ctx, &slow);
    assert_false(k->open[9]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        a_key_that_waits_goes_second, fortress_open, fortress_close)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "net/udp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/listener.h"

static struct udp *open_at(const char *where, struct net_peer *ret_at)
{
    int fd = -1;
    struct udp *u = NULL;
    assert_int_equal(net_listen_udp(slice_text(where), 1, &fd), OK);
    assert_int_equal(net_local(fd, ret_at), OK);
    assert_int_equal(udp_new(fd, &u), OK);
    assert_int_equal(udp_fd(u), fd);
    return u;
}

static void batches(void **state)
{
    (void)state;
    struct net_peer at_a, at_b;
    struct udp *a = open_at("127.0.0.1:0", &at_a);
    struct udp *b = open_at("[::]:0", &at_b);
    struct net_peer to_b;
    assert_int_equal(net_peer_parse(slice_text("127.0.0.1:1"), &to_b), OK);
    to_b.port = at_b.port;
    const struct udp_datagram *in = NULL;
    size_t n = 9, total = 0;
    assert_int_equal(udp_recv(b, &in, &n), OK);
    assert_int_equal(n, 0);
    for (uint8_t i = 0; i < 40; i++) {
        uint8_t bytes[2] = {i, 7};
        assert_int_equal(udp_send(a, &to_b, slice_of(bytes, i % 3)), OK); /* empty ones too */
    }
    udp_flush(a);
    while (udp_recv(b, &in, &n) == OK && n > 0) {
        for (size_t i = 0; i < n; i++, total++) {
            assert_true(net_peer_equal(&in[i].peer, &at_a));
            assert_int_equal(in[i].bytes.n, total % 3);
            assert_true(in[i].bytes.n == 0 || in[i].bytes.p[0] == total);
        }
    }
    assert_int_equal(total, 40);
    assert_int_equal(udp_counts(a)->sent, 40);
    assert_int_equal(udp_counts(b)->received, 40);
    a = udp_free(a);
    b = udp_free(b);
    assert_null(udp_free(NULL));
}

static void limits(void **state)
{
    (void)state;
    static const uint8_t big[UDP_DATAGRAM_MAX + 1] = {1};
    struct net_peer at, six;
    struct udp *u = open_at("127.0.0.1:0", &at);
    const struct udp_datagram *in = NULL;
    size_t n = 0;
    int fd = -1;
    assert_int_equal(udp_send(u, &at, slice_of(big, sizeof(big))), ERR_TOO_LARGE);
    assert_int_equal(udp_send(u, &at, slice_of(big, UDP_DATAGRAM_MAX)), OK);
    assert_int_equal(net_peer_parse(slice_text("[2001:db8::1]:1"), &six), OK);
    assert_int_equal(udp_send(u, &six, slice_of(big, 1)), OK); /* wrong family: dropped */
    assert_int_equal(udp_counts(u)->dropped_out, 1);
    udp_flush(u);
    assert_int_equal(udp_recv(u, &in, &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(in[0].bytes.n, UDP_DATAGRAM_MAX);
    assert_int_equal(net_connect_udp("127.0.0.1", (uint16_t)at.port, &fd), OK);
    assert_int_equal(send(fd, big, sizeof(big), 0), (ssize_t)sizeof(big));
    assert_int_equal(udp_recv(u, &in, &n), OK);
    assert_int_equal(n, 0);
    assert_int_equal(udp_counts(u)->dropped_in, 1);
    close(fd);
    u = udp_free(u);
}

/* A connected socket takes answers only from where it sent to. */
static void answers_leave_from_the_address_that_was_asked(void **state)
{
    static const char *const asked[] = {"127.0.0.1", "127.0.0.2", "127.9.9.9"};
    struct net_peer at;
    struct udp *u = open_at(*state, &at);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        const struct udp_datagram *in = NULL;
        size_t n = 0;
        char byte = 0;
        int fd = -1;
        assert_int_equal(net_connect_udp(asked[i], (uint16_t)at.port, &fd), OK);
        assert_int_equal(send(fd, "?", 1, 0), 1);
        assert_int_equal(udp_recv(u, &in, &n), OK);
        assert_int_equal(n, 1);
        assert_int_equal(udp_send(u, &in[0].peer, slice_text("!")), OK);
        udp_flush(u);
        assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 1);
        assert_int_equal(byte, '!');
        close(fd);
    }
    u = udp_free(u);
}

int main(void)
{
    char v4[] = "0.0.0.0:0", v6[] = "[::]:0";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches), cmocka_unit_test(limits),
        cmocka_unit_test_prestate(answers_leave_from_the_address_that_was_asked, v4),
        cmocka_unit_test_prestate(answers_leave_from_the_address_that_was_asked, v6)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

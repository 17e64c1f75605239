#include "net/multicast.h"
#include "net/udp.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/scope.h"
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

/* Many, few, none, too long: what one turn has left behind is nothing to the next. */
static void turns_of_any_size(void **state)
{
    (void)state;
    static const uint8_t big[UDP_DATAGRAM_MAX + 1] = {1};
    static const size_t sizes[] = {UDP_BATCH, 1, 0, 2, UDP_BATCH, UDP_BATCH - 1, 1};
    struct net_peer at_a, at_b, to_b;
    struct udp *a = open_at("127.0.0.1:0", &at_a);
    struct udp *b = open_at("[::]:0", &at_b); /* which says where each went, too */
    const struct udp_datagram *in = NULL;
    int fd = -1;
    assert_int_equal(net_peer_parse(slice_text("127.0.0.1:1"), &to_b), OK);
    to_b.port = at_b.port;
    assert_int_equal(net_connect_udp("127.0.0.1", (uint16_t)at_b.port, &fd), OK);
    for (size_t turn = 0; turn < COUNT_OF(sizes); turn++) {
        size_t n = 9, want = sizes[turn];
        if (turn == 3) { /* the second of its turn is dropped */
            assert_int_equal(udp_send(a, &to_b, slice_text("x")), OK);
            udp_flush(a);
            assert_int_equal(send(fd, big, sizeof(big), 0), (ssize_t)sizeof(big));
            want = 1;
        }
        for (size_t i = 0; turn != 3 && i < want; i++) {
            assert_int_equal(udp_send(a, &to_b, slice_of(big, 1 + i)), OK);
        }
        udp_flush(a);
        assert_int_equal(udp_recv(b, &in, &n), OK);
        assert_int_equal(n, want);
        for (size_t i = 0; i < n; i++) {
            assert_true(net_peer_equal(&in[i].peer, &at_a));
            assert_int_equal(in[i].bytes.n, 1 + i);
            assert_int_equal(udp_send(b, &in[i].peer, in[i].bytes), OK);
        }
        udp_flush(b);
        assert_int_equal(udp_recv(a, &in, &n), OK); /* and back, from where it went to */
        assert_int_equal(n, want);
        for (size_t i = 0; i < n; i++) {
            assert_true(net_peer_equal(&in[i].peer, &to_b));
        }
    }
    assert_int_equal(udp_counts(b)->dropped_in, 1);
    assert_true(net_udp_room(udp_fd(b)) > 0);
    assert_int_equal(net_udp_room(-1), 0);
    (void)close(fd);
    udp_free(a);
    udp_free(b);
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

/* Sends a datagram to `where` out of the loopback interface; false: this machine cannot. */
static bool send_to_many(const char *where, unsigned port)
{
    struct sockaddr_storage to;
    socklen_t n = 0;
    struct net_peer p;
    int one = 1;
    struct in_addr out = {.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned loopback = if_nametoindex("lo");
    assert_int_equal(net_peer_parse(slice_text(where), &p), OK);
    p.port = port;
    p.scope = net_peer_is_v4(&p) ? 0 : loopback;
    int family = net_peer_is_v4(&p) ? AF_INET : AF_INET6;
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(net_peer_to(&p, family, &to, &n), OK);
    (void)setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
    if (family == AF_INET) {
        (void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof(out));
    } else {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &loopback, sizeof(loopback));
    }
    bool is_sent = sendto(fd, "?", 1, 0, (struct sockaddr *)&to, n) == 1;
    close(fd);
    return is_sent;
}

/* A member of the groups, as other programs are: it hears what our socket must not. */
static int member(int family, unsigned *ret_port)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct ip_mreq v4 = {.imr_interface.s_addr = htonl(INADDR_LOOPBACK)};
    struct ipv6_mreq v6 = {.ipv6mr_interface = if_nametoindex("lo")};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6};
    struct sockaddr_in any4 = {.sin_family = AF_INET};
    struct net_peer at;
    assert_int_equal(inet_pton(AF_INET, "224.0.1.187", &v4.imr_multiaddr), 1);
    assert_int_equal(inet_pton(AF_INET6, "ff02::fd", &v6.ipv6mr_multiaddr), 1);
    if (family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &v6, sizeof(v6));
        assert_int_equal(bind(fd, (struct sockaddr *)&any6, sizeof(any6)), 0);
    } else {
        (void)setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &v4, sizeof(v4));
        assert_int_equal(bind(fd, (struct sockaddr *)&any4, sizeof(any4)), 0);
    }
    assert_int_equal(net_local(fd, &at), OK);
    *ret_port = at.port;
    return fd;
}

/* Groups that others here have joined, and broadcasts: nothing of it comes in. SPEC: RFC7252 8.1 */
static void what_goes_to_many_is_not_for_us(void **state)
{
    static const struct {
        const char *where;
        int family;
    } cases[] = {{"224.0.1.187:0", AF_INET},
                 {"224.0.0.1:0", AF_INET},
                 {"127.255.255.255:0", AF_INET},
                 {"[ff02::fd]:0", AF_INET6},
                 {"[ff02::1]:0", AF_INET6}};
    struct net_peer at;
    const char *bound = *state;
    assert_non_null(bound);
    struct udp *u = open_at(bound, &at);
    bool is_v4 = bound[0] == '0';
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct udp_datagram *in = NULL;
        unsigned port = 0;
        size_t n = 0;
        char byte = 0;
        if (is_v4 && cases[i].family == AF_INET6) {
            continue;
        }
        int fd = member(cases[i].family, &port);
        bool is_there = send_to_many(cases[i].where, port) && recv(fd, &byte, 1, 0) == 1;
        close(fd);
        if (!is_there) {
            print_message("%s does not work on this machine\n", cases[i].where);
        }
        fd = member(cases[i].family, &port); /* the group has a member here */
        (void)send_to_many(cases[i].where, at.port);
        close(fd);
        assert_int_equal(udp_recv(u, &in, &n), OK);
        assert_int_equal(n, 0);
    }
    u = udp_free(u);
}

/* What a rule lets in, and what it is answered from. */
static void groups_that_were_joined(void **state)
{
    static const char *const groups[] = {"224.0.1.187", "ff02::fd"};
    const char *bound = *state, *where = NULL;
    struct net_peer at;
    assert_non_null(bound);
    for (size_t i = 0; i < (bound[0] == '0' ? 1U : 2U); i++) {
        struct net_multicast m = {.n_groups = 1, .n_interfaces = 1, .interfaces = {"lo"}};
        const struct udp_datagram *in = NULL;
        size_t n = 0;
        char text[64];
        struct udp *u = open_at(bound, &at);
        assert_int_equal(net_multicast_group_parse(slice_text(groups[i]), &m.groups[0]), OK);
        assert_int_equal(net_multicast_join(udp_fd(u), &m, &where), OK);
        assert_int_equal(net_multicast_join(udp_fd(u), &m, &where), OK); /* once more is fine */
        snprintf(text, sizeof(text), i == 0 ? "%s:0" : "[%s]:0", groups[i]);
        if (!send_to_many(text, at.port)) {
            print_message("this machine sends nothing to %s over loopback\n", groups[i]);
            u = udp_free(u);
            skip();
        }
        assert_int_equal(udp_recv(u, &in, &n), OK);
        assert_int_equal(n, 0); /* joined, and still not asked for */
        udp_hear_groups(u);
        assert_true(send_to_many(text, at.port));
        assert_int_equal(udp_recv(u, &in, &n), OK);
        assert_int_equal(n, 1);
        assert_true(in[0].is_for_group);
        (void)send_to_many("127.255.255.255:0", at.port); /* everybody is no group */
        assert_int_equal(udp_recv(u, &in, &n), OK);
        assert_int_equal(n, 0);
        (void)snprintf(m.interfaces[0], sizeof(m.interfaces[0]), "none0");
        assert_int_equal(net_multicast_join(udp_fd(u), &m, &where), ERR_NOT_FOUND);
        assert_string_equal(where, "none0");
        u = udp_free(u);
    }
}

int main(void)
{
    char v4[] = "0.0.0.0:0", v6[] = "[::]:0";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches),
        cmocka_unit_test(turns_of_any_size),
        cmocka_unit_test(limits),
        cmocka_unit_test_prestate(what_goes_to_many_is_not_for_us, v4),
        cmocka_unit_test_prestate(what_goes_to_many_is_not_for_us, v6),
        cmocka_unit_test_prestate(groups_that_were_joined, v4),
        cmocka_unit_test_prestate(groups_that_were_joined, v6),
        cmocka_unit_test_prestate(answers_leave_from_the_address_that_was_asked, v4),
        cmocka_unit_test_prestate(answers_leave_from_the_address_that_was_asked, v6)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_SOCKETS = 4, N_CLIENTS = 64 };

static uint64_t fake_now_ms;

static uint64_t fake_mono(void *ctx)
{
    (void)ctx;
    return fake_now_ms;
}

static const struct clock fake_clock = {.mono_ms = fake_mono};

struct seen {
    int n, fd;
    struct net_peer last;
};

static void keep(void *ctx, int fd, const struct net_peer *peer)
{
    struct seen *s = ctx;
    s->n++;
    s->last = *peer;
    s->fd = fd;
    close(fd);
}

static int dial(int listening)
{
    struct net_peer at;
    int fd = -1;
    assert_int_equal(net_local(listening, &at), OK);
    assert_int_equal(net_connect_tcp("127.0.0.1", (uint16_t)at.port, 1000, &fd), OK);
    return fd;
}

static void accepts_and_names_the_peer(void **state)
{
    (void)state;
    struct loop *loop = NULL;
    struct listener *l = NULL;
    struct seen seen = {0};
    struct listener_handler handler = {&seen, keep};
    int fd = -1;
    size_t n = 0;
    assert_int_equal(net_listen_tcp(slice_text("127.0.0.1:0"), 1, &fd), OK);
    assert_int_equal(loop_new(&loop), OK);
    assert_int_equal(listener_new(fd, loop, &fake_clock, &handler, &l), OK);
    int clients[20];
    for (int i = 0; i < 20; i++) {
        clients[i] = dial(fd);
    }
    assert_int_equal(loop_turn(loop, 1000, &n), OK);
    assert_int_equal(seen.n, LISTENER_BATCH); /* the rest in the next turn */
    assert_int_equal(loop_turn(loop, 1000, &n), OK);
    assert_int_equal(seen.n, 20);
    struct net_peer self;
    assert_int_equal(net_local(clients[19], &self), OK);
    assert_true(net_peer_equal(&self, &seen.last));
    listener_pause(l);
    close(clients[0]);
    clients[0] = dial(fd);
    assert_int_equal(loop_turn(loop, 0, &n), OK);
    assert_int_equal(seen.n, 20);
    listener_resume(l);
    assert_int_equal(loop_turn(loop, 1000, &n), OK);
    assert_int_equal(seen.n, 21);
    for (int i = 0; i < 20; i++) {
        close(clients[i]);
    }
    l = listener_free(l);
    loop = loop_free(loop);
}

static void survives_running_out_of_descriptors(void **state)
{
    (void)state;
    struct loop *loop = NULL;
    struct listener *l = NULL;
    struct seen seen = {0};
    struct listener_handler handler = {&seen, keep};
    struct rlimit before, none;
    int fd = -1;
    size_t n = 0;
    fake_now_ms = 1000;
    assert_int_equal(net_listen_tcp(slice_text("127.0.0.1:0"), 1, &fd), OK);
    assert_int_equal(loop_new(&loop), OK);
    assert_int_equal(listener_new(fd, loop, &fake_clock, &handler, &l), OK);
    int a = dial(fd);
    int b = dial(fd);
    int highest = dup(0);
    close(highest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)highest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(loop_turn(loop, 1000, &n), OK);
    assert_int_equal(seen.n, 0);
    assert_int_equal(listener_counts(l)->shed, 1);
    assert_int_equal(listener_counts(l)->pauses, 1);
    assert_int_equal(loop_turn(loop, 0, &n), OK); /* no spinning meanwhile */
    assert_int_equal(n, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(listener_deadline(l), 1000 + LISTENER_PAUSE_MS);
    listener_tick(l, listener_deadline(l) - 1);
    assert_int_equal(loop_turn(loop, 0, &n), OK);
    assert_int_equal(seen.n, 0);
    listener_tick(l, listener_deadline(l));
    assert_int_equal(listener_deadline(l), UINT64_MAX);
    assert_int_equal(loop_turn(loop, 1000, &n), OK);
    assert_int_equal(seen.n, 1);
    close(a);
    close(b);
    l = listener_free(l);
    loop = loop_free(loop);
}

static int readable(const int *fds)
{
    char byte;
    int found = -1;
    for (int i = 0; i < N_SOCKETS; i++) {
        while (recv(fds[i], &byte, 1, MSG_DONTWAIT) >= 0) {
            assert_true(found == -1 || found == i);
            found = i;
        }
    }
    return found;
}

/* Each peer always meets the same worker, and all workers get some. */
static void udp_peers_stay_with_a_worker(void **state)
{
    const char *where = *state;
    int fds[N_SOCKETS];
    int hits[N_SOCKETS] = {0};
    struct net_peer at;
    bool v6 = where[0] == '[';
    assert_int_equal(net_listen_udp(slice_text(where), N_SOCKETS, fds), OK);
    assert_int_equal(net_local(fds[0], &at), OK);
    for (int i = 0; i < N_CLIENTS; i++) {
        int fd = -1;
        assert_int_equal(net_connect_udp(v6 ? "::1" : "127.0.0.1", (uint16_t)at.port, &fd), OK);
        int first = -1;
        for (int k = 0; k < 3; k++) {
            assert_int_equal(send(fd, "x", 1, 0), 1);
            int now = readable(fds);
            assert_true(now >= 0);
            assert_true(k == 0 || now == first);
            first = now;
        }
        hits[first]++;
        close(fd);
    }
    for (int i = 0; i < N_SOCKETS; i++) {
        assert_true(hits[i] > 0 && hits[i] < N_CLIENTS / 2);
        close(fds[i]);
    }
}

static void tcp_is_spread_over_workers(void **state)
{
    (void)state;
    int fds[N_SOCKETS];
    int hits[N_SOCKETS] = {0};
    assert_int_equal(net_listen_tcp(slice_text("[::]:0"), N_SOCKETS, fds), OK);
    for (int i = 0; i < N_CLIENTS; i++) {
        int client = dial(fds[0]); /* IPv4 to a dual-stack socket */
        for (int k = 0; k < N_SOCKETS; k++) {
            int fd = accept(fds[k], NULL, NULL);
            if (fd >= 0) {
                hits[k]++;
                close(fd);
            }
        }
        close(client);
    }
    int sum = 0;
    for (int i = 0; i < N_SOCKETS; i++) {
        assert_true(hits[i] > 0);
        sum += hits[i];
        close(fds[i]);
    }
    assert_int_equal(sum, N_CLIENTS);
}

static void errors(void **state)
{
    (void)state;
    int fd = -1, other = -1;
    struct net_peer at;
    char text[NET_PEER_TEXT_BYTES];
    assert_int_equal(net_listen_tcp(slice_text("nonsense"), 1, &fd), ERR_MALFORMED);
    assert_int_equal(net_listen_tcp(slice_text("127.0.0.1:0"), 0, &fd), ERR_MALFORMED);
    assert_int_equal(net_listen_tcp(slice_text("192.0.2.1:0"), 1, &fd), ERR_DENIED);
    assert_int_equal(net_listen_tcp(slice_text("127.0.0.1:0"), 1, &fd), OK);
    assert_int_equal(net_local(fd, &at), OK);
    net_peer_text(&at, text);
    assert_int_equal(net_listen_tcp(slice_text(text), 1, &other), ERR_EXISTS);
    close(fd);
    assert_int_equal(net_connect_tcp("127.0.0.1", (uint16_t)at.port, 500, &fd), ERR_CLOSED);
}

static void udp_from_an_address(void **state)
{
    (void)state;
    int fd = -1;
    struct net_peer at, want;
    assert_int_equal(net_peer_parse(slice_text("127.0.0.2:0"), &want), OK);
    assert_int_equal(net_connect_udp_from("127.0.0.1", 5683, "127.0.0.2", &fd), OK);
    assert_int_equal(net_local(fd, &at), OK);
    want.port = at.port;
    assert_true(net_peer_equal(&at, &want));
    close(fd);
    assert_int_equal(net_connect_udp_from("127.0.0.1", 5683, "192.0.2.1", &fd), ERR_CONFIG);
    assert_int_equal(net_connect_udp_from("127.0.0.1", 5683, "::1", &fd), ERR_CONFIG);
}

int main(void)
{
    char v4[] = "127.0.0.1:0", v6[] = "[::1]:0", any[] = "[::]:0";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_and_names_the_peer),
        cmocka_unit_test(survives_running_out_of_descriptors),
        cmocka_unit_test_prestate(udp_peers_stay_with_a_worker, v4),
        cmocka_unit_test_prestate(udp_peers_stay_with_a_worker, v6),
        cmocka_unit_test_prestate(udp_peers_stay_with_a_worker, any),
        cmocka_unit_test(udp_from_an_address),
        cmocka_unit_test(tcp_is_spread_over_workers),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

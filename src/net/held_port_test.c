#include "net/held_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/listener.h"

static struct net_peer local_of(int fd)
{
    struct net_peer at;
    assert_int_equal(net_local(fd, &at), OK);
    return at;
}

static int held(const char *where)
{
    int fd = -1;
    assert_int_equal(held_port_take(slice_text(where), &fd), OK);
    return fd;
}

static enum err dial(uint32_t port, int *ret_fd)
{
    return net_connect_tcp("127.0.0.1", (uint16_t)port, 1000, ret_fd);
}

/* As servers do: SO_REUSEADDR, bind, listen. False: the address is in use. */
static bool serves(uint32_t port, bool shared_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    if (shared_port) {
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    }
    bool good = bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 1) == 0;
    if (!good) {
        assert_int_equal(errno, EADDRINUSE);
    }
    close(fd);
    return good;
}

static void opens_and_closes(void **state)
{
    (void)state;
    int fd = held("127.0.0.1:0");
    uint32_t port = local_of(fd).port;
    for (int round = 0; round < 3; round++) {
        int client = -1, served = -1;
        assert_int_equal(dial(port, &client), ERR_CLOSED);
        for (int twice = 0; twice < 2; twice++) {
            held_port_close(fd);
        }
        assert_int_equal(dial(port, &client), ERR_CLOSED);
        for (int twice = 0; twice < 2; twice++) {
            assert_int_equal(held_port_open(fd), OK);
        }
        assert_int_equal(dial(port, &client), OK);
        served = accept(fd, NULL, NULL);
        assert_true(served >= 0);
        held_port_close(fd);
        assert_int_equal(send(client, "x", 1, MSG_NOSIGNAL), 1); /* who was let in stays */
        char got = 0;
        assert_int_equal(recv(served, &got, 1, 0), 1);
        close(served); /* first: what is left of it waits at our port */
        close(client);
    }
    close(fd);
}

static void keeps_others_away(void **state)
{
    (void)state;
    int fd = held("127.0.0.1:0"), again = -1;
    uint32_t port = local_of(fd).port;
    char where[32];
    (void)snprintf(where, sizeof(where), "127.0.0.1:%u", (unsigned)port);
    for (int round = 0; round < 3; round++) {
        assert_false(serves(port, false));
        assert_false(serves(port, true));
        assert_int_equal(held_port_take(slice_text(where), &again), ERR_EXISTS);
        assert_int_equal(net_listen_tcp(slice_text(where), 1, &again), ERR_EXISTS);
        if (round % 2 == 0) {
            assert_int_equal(held_port_open(fd), OK);
        } else {
            held_port_close(fd);
        }
    }
    close(fd);
    fd = held(where); /* nothing of it stays */
    close(fd);
    assert_true(serves(port, false));
}

static void finds_who_is_there(void **state)
{
    (void)state;
    char where[32];
    int first[2], fd = -1;
    for (size_t n = 1; n <= 2; n++) {
        assert_int_equal(net_listen_tcp(slice_text("127.0.0.1:0"), n, first), OK);
        (void)snprintf(where, sizeof(where), "127.0.0.1:%u", (unsigned)local_of(first[0]).port);
        assert_int_equal(held_port_take(slice_text(where), &fd), ERR_EXISTS);
        (void)snprintf(where, sizeof(where), "0.0.0.0:%u", (unsigned)local_of(first[0]).port);
        assert_int_equal(held_port_take(slice_text(where), &fd), ERR_EXISTS);
        for (size_t i = 0; i < n; i++) {
            close(first[i]);
        }
    }
    assert_int_equal(held_port_take(slice_text("127.0.0.1"), &fd), ERR_MALFORMED);
    assert_int_equal(held_port_take(slice_text("192.0.2.1:0"), &fd), ERR_DENIED);
    assert_int_equal(fd, -1);
}

/* What is left of a server that has just ended is no reason to wait. */
static void follows_at_once(void **state)
{
    (void)state;
    char where[32];
    int fd = held("127.0.0.1:0"), client = -1;
    (void)snprintf(where, sizeof(where), "127.0.0.1:%u", (unsigned)local_of(fd).port);
    assert_int_equal(held_port_open(fd), OK);
    assert_int_equal(dial(local_of(fd).port, &client), OK);
    int served = accept(fd, NULL, NULL);
    assert_true(served >= 0);
    close(served);
    close(client);
    close(fd);
    fd = held(where);
    assert_int_equal(held_port_open(fd), OK);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_closes),
        cmocka_unit_test(keeps_others_away),
        cmocka_unit_test(finds_who_is_there),
        cmocka_unit_test(follows_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

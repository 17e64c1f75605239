/* One connection: its limits in bytes and time, and how it ends. */
#include "app/scan/scan_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/listener.h"
#include "net/stream.h"

/* A server in the same thread: the kernel takes connections for it. */
struct server {
    int listening, fd; /* fd: of the connection that was accepted */
    struct scan_door door;
    struct scan_net net;
};

static void ignore(void *ctx, const struct scan_door *door, const char *what)
{
    (void)ctx;
    (void)door;
    (void)what;
}

static void open_server(struct server *s)
{
    struct net_peer at;
    *s = (struct server){.fd = -1};
    assert_int_equal(net_listen_tcp(slice_text("127.0.0.1:0"), 1, &s->listening), OK);
    assert_int_equal(net_local(s->listening, &at), OK);
    s->door = (struct scan_door){SCAN_MQTT, (uint16_t)at.port};
    s->net = (struct scan_net){.host = "localhost",
                               .address = at,
                               .ws_path = "/mqtt",
                               .clock = clock_system(),
                               .random = random_system(),
                               .probe_ms = 10000,
                               .tell = ignore};
    s->net.address.port = 0;
    s->net.end_ms = scan_net_now(&s->net) + 60000;
    assert_int_equal(stream_io_new(&s->net.io), OK);
}

static void close_server(struct server *s)
{
    s->net.io = stream_io_free(s->net.io);
    if (s->fd >= 0) {
        assert_int_equal(close(s->fd), 0);
    }
    if (s->listening >= 0) {
        assert_int_equal(close(s->listening), 0);
    }
}

static struct scan_link *open_link(struct server *s)
{
    struct scan_link *l = NULL;
    assert_int_equal(scan_link_open(&s->net, &s->door, SCAN_TO_MQTT, &l), OK);
    assert_non_null(l);
    s->fd = accept(s->listening, NULL, NULL);
    assert_true(s->fd >= 0);
    return l;
}

/* Sends n bytes while the link takes them; what the link says in the end. */
static enum err pour(struct server *s, struct scan_link *l, size_t n)
{
    static const char bytes[4096] = {0};
    enum err err = OK;
    while (err == OK && l->n_received < n) {
        size_t left = n - l->n_received;
        ssize_t sent = write(s->fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes));
        assert_true(sent > 0);
        for (size_t had = l->n_received; err == OK && l->n_received < had + (size_t)sent;) {
            err = scan_link_receive(l, scan_net_until(&s->net, 10000));
        }
    }
    return err;
}

static void as_much_as_is_allowed(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct server s;
        open_server(&s);
        struct scan_link *l = open_link(&s);
        assert_int_equal(pour(&s, l, SCAN_LINK_BYTES_MAX + over), over == 0 ? OK : ERR_LIMIT);
        assert_true(l->in.n <= SCAN_LINK_BYTES_MAX);
        l = scan_link_free(l);
        close_server(&s);
    }
}

/* What was dropped counts all the same: a server without an end is left. */
static void what_was_dropped_counts(void **state)
{
    (void)state;
    struct server s;
    open_server(&s);
    struct scan_link *l = open_link(&s);
    assert_int_equal(pour(&s, l, SCAN_LINK_BYTES_MAX), OK);
    buf_drop(&l->in, l->in.n);
    assert_int_equal(pour(&s, l, SCAN_LINK_BYTES_MAX + 1), ERR_LIMIT);
    l = scan_link_free(l);
    close_server(&s);
}

static void both_ways(void **state)
{
    (void)state;
    struct server s;
    char got[5];
    open_server(&s);
    struct scan_link *l = open_link(&s);
    assert_int_equal(scan_link_send(l, slice_text("hello")), OK);
    assert_int_equal(read(s.fd, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(write(s.fd, "world", 5), 5);
    assert_int_equal(scan_link_receive(l, scan_net_until(&s.net, 10000)), OK);
    assert_true(slice_is(buf_slice(&l->in), "world"));
    uint8_t huge[SCAN_LINK_SEND_MAX + 1] = {0};
    assert_int_equal(scan_link_send(l, slice_of(huge, sizeof(huge))), ERR_TOO_LARGE);
    assert_int_equal(scan_link_send(l, slice_of(huge, SCAN_LINK_SEND_MAX)), OK);
    l = scan_link_free(l);
    close_server(&s);
}

static void silence_and_the_end(void **state)
{
    (void)state;
    struct server s;
    open_server(&s);
    struct scan_link *l = open_link(&s);
    assert_int_equal(scan_link_receive(l, scan_net_until(&s.net, 1)), ERR_TIMEOUT);
    assert_int_equal(scan_link_receive(l, scan_net_now(&s.net)), ERR_TIMEOUT);
    assert_int_equal(close(s.fd), 0);
    s.fd = -1;
    assert_int_equal(scan_link_receive(l, scan_net_until(&s.net, 10000)), ERR_CLOSED);
    l = scan_link_free(l);
    close_server(&s);
}

static void nobody_there(void **state)
{
    (void)state;
    struct server s;
    struct scan_link *l = NULL;
    open_server(&s);
    assert_int_equal(close(s.listening), 0);
    s.listening = -1;
    assert_int_equal(scan_link_open(&s.net, &s.door, SCAN_TO_SOCKET, &l), ERR_CLOSED);
    assert_null(l);
    close_server(&s);
}

/* Nothing begins when the time of the scan is over, and no wait goes past it. */
static void the_time_of_the_scan(void **state)
{
    (void)state;
    struct server s;
    struct scan_link *l = NULL;
    open_server(&s);
    s.net.end_ms = scan_net_now(&s.net);
    assert_true(scan_net_is_over(&s.net));
    assert_int_equal(scan_net_until(&s.net, 10000), s.net.end_ms);
    assert_int_equal(scan_link_open(&s.net, &s.door, SCAN_TO_SOCKET, &l), ERR_TIMEOUT);
    assert_null(l);
    scan_net_pause(&s.net, 10000); /* returns at once */
    close_server(&s);
}

static void names_and_digits(void **state)
{
    (void)state;
    struct scan_net net = {.host = "broker.example", .random = random_system()};
    char hex[17];
    assert_string_equal(scan_net_name(&net), "broker.example");
    net.host = "192.0.2.1";
    assert_null(scan_net_name(&net));
    net.host = "2001:db8::1";
    assert_null(scan_net_name(&net));
    scan_net_hex(&net, hex, 8);
    assert_int_equal(strlen(hex), 16);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_much_as_is_allowed),
        cmocka_unit_test(what_was_dropped_counts),
        cmocka_unit_test(both_ways),
        cmocka_unit_test(silence_and_the_end),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(the_time_of_the_scan),
        cmocka_unit_test(names_and_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "service/broker/perimeter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct scene {
    struct entrance entrance;
    struct counters counters;
    struct perimeter perimeter;
    struct perimeter_post post[2]; /* two workers */
    struct event last;
    unsigned n_events;
};

static void on_event(void *ctx, const struct event *e)
{
    struct scene *s = ctx;
    s->last = *e;
    s->n_events++;
}

static void scene_init(struct scene *s, const char *const *from)
{
    *s = (struct scene){.entrance = {.name = "mqtts", .protocol = EVENT_PROTOCOL_mqtt}};
    for (; from != NULL && *from != NULL; from++) {
        bool is_exact;
        struct net_networks *list = &s->perimeter.from;
        assert_int_equal(net_network_parse(slice_text(*from), &is_exact, &list->at[list->n++]), OK);
    }
    for (size_t i = 0; i < 2; i++) {
        s->post[i] = (struct perimeter_post){.perimeter = &s->perimeter,
                                             .entrance = &s->entrance,
                                             .counters = &s->counters,
                                             .ctx = s,
                                             .event = on_event};
    }
}

static bool admits(struct scene *s, unsigned worker, const char *peer, uint64_t now_ms)
{
    struct net_peer p;
    assert_int_equal(net_peer_parse(slice_text(peer), &p), OK);
    return perimeter_admits(&s->post[worker], &p, now_ms);
}

static uint64_t refused(const struct scene *s)
{
    return atomic_load(&s->counters.refused_from);
}

static void a_peer_outside_is_refused_and_named(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, (const char *const[]){"10.0.0.0/8", "fd00::/8", NULL});
    assert_true(admits(&s, 0, "10.255.255.255:1", 5));
    assert_true(admits(&s, 0, "[::ffff:10.0.0.0]:1", 5));
    assert_true(admits(&s, 0, "[fdff::1]:1", 5));
    assert_int_equal(s.n_events, 0);
    assert_false(admits(&s, 0, "11.0.0.0:4711", 5));
    assert_int_equal(s.n_events, 1);
    assert_int_equal(s.last.category, EVENT_probe);
    assert_string_equal(s.last.peer, "11.0.0.0:4711");
    assert_string_equal(s.last.listener, "mqtts");
    assert_non_null(strstr(s.last.reason, "10.0.0.0/8, fd00::/8"));
    assert_non_null(strstr(s.last.reason, "`from`"));
    assert_false(admits(&s, 1, "[fe00::1]:1", 5));
    assert_int_equal(refused(&s), 2);
}

/* The fix is in the event however long the list is. */
static void a_long_list_leaves_room_for_the_fix(void **state)
{
    (void)state;
    struct scene s;
    const char *from[NET_NETWORKS_MAX + 1] = {NULL};
    for (size_t i = 0; i < NET_NETWORKS_MAX; i++) {
        from[i] = "1111:2222:3333:4444:5555:6666:7777:8888/128";
    }
    scene_init(&s, from);
    assert_false(admits(&s, 0, "192.0.2.1:1", 5));
    assert_non_null(strstr(s.last.reason, "more)"));
    assert_non_null(strstr(s.last.reason, "reload (SIGHUP)"));
}

static void a_flood_is_counted_and_not_told_in_full(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, (const char *const[]){"10.0.0.0/8", NULL});
    for (unsigned i = 0; i < 1000; i++) {
        assert_false(admits(&s, 0, "192.0.2.1:1", 7 + i));
    }
    assert_int_equal(s.n_events, PERIMETER_EVENTS_PER_SECOND);
    assert_int_equal(refused(&s), 1000);
    assert_false(admits(&s, 0, "192.0.2.1:1", 1007));
    assert_int_equal(s.n_events, PERIMETER_EVENTS_PER_SECOND + 1);
}

static void the_first_public_peer_is_an_exposure(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, NULL);
    assert_true(admits(&s, 0, "127.0.0.1:1", 0));
    assert_true(admits(&s, 1, "192.168.1.1:1", 1));
    assert_true(admits(&s, 1, "[fe80::1]:1", 2));
    assert_int_equal(s.n_events, 0);
    assert_true(admits(&s, 1, "203.0.113.7:4711", 3));
    assert_int_equal(s.n_events, 1);
    assert_int_equal(s.last.category, EVENT_exposure);
    assert_int_equal(s.last.severity, SEVERITY_ALERT);
    assert_string_equal(s.last.peer, "203.0.113.7:4711");
    assert_string_equal(s.last.listener, "mqtts");
    assert_non_null(strstr(s.last.reason, "`from`"));
    /* Once a day for all workers. */
    assert_true(admits(&s, 0, "203.0.113.8:1", 4));
    assert_true(admits(&s, 1, "203.0.113.7:1", PERIMETER_EXPOSURE_MS + 2));
    assert_int_equal(s.n_events, 1);
    assert_true(admits(&s, 0, "203.0.113.7:1", PERIMETER_EXPOSURE_MS + 3));
    assert_int_equal(s.n_events, 2);
    assert_int_equal(refused(&s), 0);
}

/* Whoever wrote networks has decided; also who wrote down everybody. */
static void networks_end_the_exposure(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, (const char *const[]){"0.0.0.0/0", "::/0", NULL});
    assert_true(admits(&s, 0, "203.0.113.7:1", 3));
    assert_true(admits(&s, 0, "[2001:db8::1]:1", 3));
    assert_int_equal(s.n_events, 0);
    s.post[0].perimeter = NULL;
    assert_true(admits(&s, 0, "203.0.113.7:1", 3));
    assert_int_equal(s.n_events, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_peer_outside_is_refused_and_named),
                                       cmocka_unit_test(a_long_list_leaves_room_for_the_fix),
                                       cmocka_unit_test(a_flood_is_counted_and_not_told_in_full),
                                       cmocka_unit_test(the_first_public_peer_is_an_exposure),
                                       cmocka_unit_test(networks_end_the_exposure)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

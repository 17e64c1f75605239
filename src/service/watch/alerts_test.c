#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/watch/alerts.h"
#include "service/watch/recall.h"

static const int64_t now = INT64_C(1795000000000);

static struct event event_for(enum event_category c, const char *principal, int64_t wall_ms)
{
    struct event e = event_make(c);
    e.wall_ms = wall_ms;
    EVENT_TEXT(&e, principal, slice_text(principal));
    return e;
}

static size_t count_open(const struct alerts *a, int64_t at_wall_ms)
{
    size_t n = 0;
    size_t at = 0;
    while (alerts_next(a, &at, at_wall_ms) != NULL) {
        n++;
    }
    return n;
}

static void test_folded_by_category_and_principal(void **state)
{
    static struct alerts a;
    size_t at = 0;
    (void)state;
    a = (struct alerts){.forgotten = 0};
    struct event events[] = {
        event_for(EVENT_clone, "a", now),     event_for(EVENT_clone, "a", now + 5),
        event_for(EVENT_clone, "b", now),     event_for(EVENT_flood, "a", now),
        event_for(EVENT_auth_fail, "a", now),  /* a warning */
        event_for(EVENT_exception, "a", now)}; /* listed from the directory */
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        alerts_note(&a, &events[i], now);
    }
    assert_int_equal(count_open(&a, now), 3);
    const struct alert *first = alerts_next(&a, &at, now);
    assert_int_equal(first->count, 2);
    assert_int_equal(first->first_wall_ms, now);
    assert_int_equal(first->last.wall_ms, now + 5);
}

static struct event poison(const char *principal, const char *client, unsigned topic, int64_t at)
{
    struct event e = event_for(EVENT_poison_message, principal, at);
    char text[16];
    (void)snprintf(text, sizeof text, "t/%u", topic);
    EVENT_TEXT(&e, client_id, slice_text(client));
    EVENT_TEXT(&e, target, slice_text(text));
    return e;
}

/* Each client and topic for itself, until it is handled; a warning about it closes nothing. */
static void test_poison(void **state)
{
    static struct alerts a;
    const int64_t later = now + 10 * (int64_t)ALERTS_OPEN_MS;
    (void)state;
    a = (struct alerts){.forgotten = 0};
    struct event events[] = {poison("a", "c", 1, now), poison("a", "c", 2, now),
                             poison("a", "d", 1, now), poison("b", "c", 1, now),
                             poison("a", "c", 1, now)};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        alerts_note(&a, &events[i], now);
    }
    assert_int_equal(count_open(&a, later), 4);
    events[0].severity = SEVERITY_WARNING;
    alerts_note(&a, &events[0], later);
    assert_int_equal(count_open(&a, later), 4);
    events[0].severity = SEVERITY_NOTICE;
    alerts_note(&a, &events[0], later);
    alerts_note(&a, &events[0], later);
    assert_int_equal(count_open(&a, later), 3);
    struct event acted = poison("admin", "c", 2, now);
    acted.severity = SEVERITY_NOTICE;
    alerts_note(&a, &acted, later);
    assert_int_equal(count_open(&a, later), 3);
}

static void test_poison_of_one_is_bounded(void **state)
{
    static struct alerts a;
    (void)state;
    a = (struct alerts){.forgotten = 0};
    struct event other = event_for(EVENT_clone, "b", now - 1);
    alerts_note(&a, &other, now);
    for (unsigned i = 0; i <= 2 * ALERTS_MAX; i++) {
        struct event e = poison("a", "c", i, now + i);
        alerts_note(&a, &e, now + i);
        assert_int_equal(count_open(&a, now),
                         1 + (i < ALERTS_OF_ONE_MAX ? i + 1 : ALERTS_OF_ONE_MAX));
    }
    assert_true(a.forgotten > 0);
}

static void test_a_day(void **state)
{
    static struct alerts a;
    (void)state;
    a = (struct alerts){.forgotten = 0};
    struct event e = event_for(EVENT_clone, "a", now);
    alerts_note(&a, &e, now);
    assert_int_equal(count_open(&a, now + ALERTS_OPEN_MS - 1), 1);
    assert_int_equal(count_open(&a, now + ALERTS_OPEN_MS), 0);
    e.wall_ms = now + ALERTS_OPEN_MS;
    alerts_note(&a, &e, now + ALERTS_OPEN_MS);
    size_t at = 0;
    assert_int_equal(alerts_next(&a, &at, now + ALERTS_OPEN_MS)->count, 1);
}

static void test_bounded(void **state)
{
    static struct alerts a;
    (void)state;
    a = (struct alerts){.forgotten = 0};
    for (int i = 0; i < ALERTS_MAX + 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        struct event e = event_for(EVENT_clone, name, now + i);
        alerts_note(&a, &e, now + i);
    }
    assert_int_equal(count_open(&a, now + ALERTS_MAX), ALERTS_MAX);
    assert_int_equal(a.forgotten, 3);
    size_t at = 0;
    for (const struct alert *r = alerts_next(&a, &at, now); r != NULL;
         r = alerts_next(&a, &at, now)) {
        assert_true(r->last.wall_ms >= now + 3); /* the oldest left */
    }
}

static void test_states_stay_open_until_they_end(void **state)
{
    static struct alerts a;
    (void)state;
    a = (struct alerts){.forgotten = 0};
    struct event e = event_for(EVENT_store_space, "", now);
    alerts_note(&a, &e, now);
    alerts_hold(&a, "store full", &e, now);
    alerts_hold(&a, "store full", &e, now + 1);
    assert_int_equal(count_open(&a, now), 2);
    assert_int_equal(count_open(&a, now + 9 * (int64_t)ALERTS_OPEN_MS), 1);
    for (int i = 0; i < ALERTS_MAX; i++) { /* nothing pushes it out */
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        struct event other = event_for(EVENT_clone, name, now + 2 + i);
        alerts_note(&a, &other, now + 2 + i);
    }
    assert_int_equal(count_open(&a, now + 9 * (int64_t)ALERTS_OPEN_MS), 1);
    assert_true(alerts_release(&a, "store full"));
    assert_false(alerts_release(&a, "store full"));
    assert_int_equal(count_open(&a, now + 9 * (int64_t)ALERTS_OPEN_MS), 0);
}

static void test_recall(void **state)
{
    struct recall *r = NULL;
    struct random_source random = random_system();
    (void)state;
    assert_int_equal(recall_new(&random, &r), OK);
    assert_null(recall_find(r, slice_text("a")));
    struct event seen = event_for(EVENT_connect, "a", now);
    EVENT_TEXT(&seen, peer, slice_text("192.0.2.1:7"));
    recall_note(r, &seen);
    struct event refused = event_for(EVENT_acl_deny, "a", now + 1);
    event_reason(&refused, "no grant; add one");
    recall_note(r, &refused);
    struct event nobody = event_for(EVENT_acl_deny, "", now);
    recall_note(r, &nobody);
    const struct recalled *k = recall_find(r, slice_text("a"));
    assert_int_equal(k->seen_wall_ms, now);
    assert_string_equal(k->peer, "192.0.2.1:7");
    assert_int_equal(k->refusal.wall_ms, now + 1);
    assert_string_equal(k->refusal.reason, "no grant; add one");
    assert_int_equal(k->proven.wall_ms, now + 1);
    for (int i = 0; i < RECALL_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        struct event e = event_for(EVENT_connect, name, now);
        recall_note(r, &e);
    }
    assert_null(recall_find(r, slice_text("a")));
    assert_non_null(recall_find(r, slice_text("d0")));
    r = recall_free(r);
}

/* What somebody else does in a name stands beside what its owner did. */
static void test_recall_of_a_claim(void **state)
{
    struct recall *r = NULL;
    struct random_source random = random_system();
    (void)state;
    assert_int_equal(recall_new(&random, &r), OK);
    struct event own = event_for(EVENT_acl_deny, "a", now);
    event_reason(&own, "own");
    recall_note(r, &own);
    struct event claim = event_for(EVENT_auth_fail, "a", now + 1);
    claim.is_claimed = true;
    event_reason(&claim, "claimed");
    recall_note(r, &claim);
    const struct recalled *k = recall_find(r, slice_text("a"));
    assert_string_equal(k->refusal.reason, "claimed");
    assert_true(k->refusal.is_claimed);
    assert_string_equal(k->proven.reason, "own");
    own.wall_ms = now + 2;
    recall_note(r, &own);
    assert_string_equal(k->refusal.reason, "own");
    assert_false(k->refusal.is_claimed);
    r = recall_free(r);
}

static struct event nameless(const char *peer, int64_t wall_ms, const char *reason)
{
    struct event e = event_for(EVENT_tls_reject, "", wall_ms);
    EVENT_TEXT(&e, peer, slice_text(peer));
    event_reason(&e, "%s", reason);
    return e;
}

static void test_recall_without_a_name(void **state)
{
    struct recall *r = NULL;
    struct random_source random = random_system();
    (void)state;
    assert_int_equal(recall_new(&random, &r), OK);
    assert_null(recall_nameless(r, (struct slice){0}));
    struct event first = nameless("192.0.2.1:7", now, "one");
    struct event second = nameless("[2001:db8::1]:7", now + 1, "two");
    struct event seen = event_for(EVENT_connect, "", now + 2);
    struct event placeless = nameless("", now + 3, "nowhere");
    recall_note_nameless(r, &first);
    recall_note_nameless(r, &second);
    recall_note_nameless(r, &seen);
    recall_note_nameless(r, &placeless);
    assert_string_equal(recall_nameless(r, (struct slice){0})->reason, "two");
    assert_string_equal(recall_nameless(r, slice_text("192.0.2.1:9"))->reason, "one");
    assert_string_equal(recall_nameless(r, slice_text("[2001:db8::1]:9"))->reason, "two");
    assert_null(recall_nameless(r, slice_text("192.0.2.2:7")));
    /* One row for an address, and the address longest quiet makes room. */
    for (int i = 0; i < RECALL_NAMELESS_MAX - 1; i++) {
        char peer[32];
        snprintf(peer, sizeof peer, "198.51.100.%d:1", i);
        struct event e = nameless(peer, now + 4 + i, "flood");
        recall_note_nameless(r, &e);
        recall_note_nameless(r, &e);
    }
    assert_null(recall_nameless(r, slice_text("192.0.2.1:7")));
    assert_non_null(recall_nameless(r, slice_text("[2001:db8::1]:7")));
    r = recall_free(r);
}

static void test_found(void **state)
{
    static struct alerts a;
    size_t at = 0;
    char peer[56];
    (void)state;
    a = (struct alerts){.forgotten = 0};
    struct alert_finding f = {.detector = "two_places", .answer = "find both"};
    struct event e = event_for(EVENT_clone, "meter", now);
    alerts_note(&a, &e, now); /* raised by no detector: a row of its own */
    alerts_found(&a, &e, &f, now - 5000, now);
    alerts_found(&a, &e, &f, now - 1, now);
    f.detector = "ping_pong";
    alerts_found(&a, &e, &f, now - 1, now);
    assert_int_equal(count_open(&a, now), 3);
    (void)alerts_next(&a, &at, now);
    const struct alert *row = alerts_next(&a, &at, now);
    assert_string_equal(row->finding.detector, "two_places");
    assert_int_equal(row->first_wall_ms, now - 5000);
    assert_int_equal(row->count, 2);
    assert_int_equal(count_open(&a, now + ALERTS_OPEN_MS), 0);

    e = event_for(EVENT_auth_bruteforce, "", now);
    for (int i = 0; i < 3 * ALERTS_OF_ONE_MAX; i++) { /* strangers have so many rows, and no more */
        (void)snprintf(peer, sizeof peer, "192.0.2.%d:%d", i, i);
        EVENT_TEXT(&e, peer, slice_text(peer));
        e.wall_ms = now + i;
        alerts_found(&a, &e, &f, now, now + i);
        (void)snprintf(peer, sizeof peer, "192.0.2.%d:%d", i, i + 1); /* another port is no other */
        EVENT_TEXT(&e, peer, slice_text(peer));
        alerts_found(&a, &e, &f, now, now + i);
    }
    assert_int_equal(count_open(&a, now + 100), 3 + ALERTS_OF_ONE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folded_by_category_and_principal),
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_poison_of_one_is_bounded),
        cmocka_unit_test(test_a_day),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_states_stay_open_until_they_end),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_recall_of_a_claim),
        cmocka_unit_test(test_recall_without_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

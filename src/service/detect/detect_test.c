/* Each detector that is fed with events: quiet below its threshold, found at it, told once; and
 * what strangers and forgotten devices cost. */
#include "service/detect/detect_test_private.h"

#include "base/heap_test.h"
#include "base/mem.h"

enum { METER = 7 };

#define HOME      "192.0.2.1:1000"
#define ELSEWHERE "198.51.100.9:2000"

/* ---- one of each, n times ---- */

typedef void act_fn(struct scene *c, unsigned i);

static void fail_as(struct scene *c, const char *name, uint64_t id, const char *peer)
{
    struct event e = happening(EVENT_auth_fail, name, peer);
    e.is_claimed = true;
    show(c, &e, id);
}

static void fail_same_name(struct scene *c, unsigned i)
{
    (void)i;
    fail_as(c, "nobody", 0, HOME);
}

static void fail_for_meter(struct scene *c, unsigned i)
{
    char peer[56];
    (void)snprintf(peer, sizeof peer, "10.0.%u.1:9", i % 5); /* below name_sources */
    fail_as(c, "meter", METER, peer);
}

static void refuse_topic(struct scene *c, unsigned i)
{
    struct event e = happening(EVENT_acl_deny, "meter", HOME);
    (void)snprintf(e.target, sizeof e.target, "plant/%u/state", i);
    show(c, &e, METER);
}

static void refuse_wide(struct scene *c, unsigned i)
{
    static const char *const filters[] = {"#", "+/#", "$share/g/#"};
    struct event e = happening(EVENT_acl_deny, "meter", HOME);
    EVENT_TEXT(&e, target, slice_text(filters[i % COUNT_OF(filters)]));
    show(c, &e, METER);
}

static void grant_wide(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_allow, "meter", HOME);
    EVENT_TEXT(&e, target, slice_text("#"));
    show(c, &e, METER);
}

static void ask_costly(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_wildcard, "meter", HOME);
    EVENT_TEXT(&e, target, slice_text("plant/#"));
    show(c, &e, METER);
}

static void refuse_command(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_acl_deny, "meter", HOME);
    EVENT_TEXT(&e, target, slice_text("pumps/3/cmd"));
    show(c, &e, METER);
}

static void take_over(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_takeover, "meter", HOME);
    show(c, &e, METER);
    e.category = EVENT_connect;
    show(c, &e, METER);
}

static void fire_will(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_will, "meter", HOME);
    show(c, &e, METER);
}

static void repeat(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_replay, "meter", HOME);
    show(c, &e, METER);
}

static void repeat_as_stranger(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_replay, "", HOME);
    show(c, &e, 0);
}

static void forge(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_amplification, "", HOME);
    show(c, &e, 0);
}

static void ask_for_nothing(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_probe, "", HOME);
    show(c, &e, 0);
}

static void show_certificate(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_auth_fail, "meter", HOME);
    e.is_foreign_key = true;
    show(c, &e, METER);
}

static void show_old_certificate(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_auth_fail, "removed", HOME);
    e.is_foreign_key = true;
    show(c, &e, 0);
}

static void use_revoked(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_revoked, "meter", HOME);
    show(c, &e, METER);
}

static void claim(struct scene *c, unsigned i)
{
    (void)i;
    struct event e = happening(EVENT_identity_mismatch, "meter", HOME);
    show(c, &e, METER);
}

#define AT(name) offsetof(struct detect_thresholds, name)

static const struct burst {
    const char *name;
    act_fn *act;
    enum detector detector;
    size_t threshold, window, weight; /* weight 0: each counts one */
    bool is_sketch;                   /* two different ones may count as one */
} bursts[] = {
    {"failures of one network", fail_same_name, DETECTOR_login_source, AT(source_failures),
     AT(short_window_s), 0, false},
    {"failures in one name", fail_for_meter, DETECTOR_login_name, AT(name_failures),
     AT(short_window_s), 0, false},
    {"topics", refuse_topic, DETECTOR_probing, AT(probe_targets), AT(short_window_s), 0, true},
    {"asks for nothing", ask_for_nothing, DETECTOR_probing, AT(probe_asks), AT(short_window_s), 0,
     false},
    {"wide filters refused", refuse_wide, DETECTOR_wide_filter, AT(wildcard_points),
     AT(long_window_s), AT(wildcard_refused), false},
    {"wide filters granted", grant_wide, DETECTOR_wide_filter, AT(wildcard_points),
     AT(long_window_s), 0, false},
    {"costly filters", ask_costly, DETECTOR_wide_filter, AT(wildcard_points), AT(long_window_s),
     AT(wildcard_refused), false},
    {"commands", refuse_command, DETECTOR_command_write, AT(command_refusals), AT(long_window_s), 0,
     false},
    {"takeovers", take_over, DETECTOR_ping_pong, AT(takeovers), AT(short_window_s), 0, false},
    {"wills", fire_will, DETECTOR_will_storm, AT(wills), AT(short_window_s), 0, false},
    {"replays", repeat, DETECTOR_replay_burst, AT(replays), AT(short_window_s), 0, false},
    {"replays of a stranger", repeat_as_stranger, DETECTOR_replay_burst, AT(replays),
     AT(short_window_s), 0, false},
    {"forged addresses", forge, DETECTOR_reflection, AT(amplification), AT(short_window_s), 0,
     false},
    {"certificates", show_certificate, DETECTOR_certificate_key, AT(certificate_misuse),
     AT(long_window_s), 0, false},
    {"certificates of who was removed", show_old_certificate, DETECTOR_certificate_key,
     AT(certificate_misuse), AT(long_window_s), 0, false},
    {"revoked", use_revoked, DETECTOR_revoked_use, AT(revoked_uses), AT(long_window_s), 0, false},
    {"claims", claim, DETECTOR_impersonation, AT(impersonations), AT(long_window_s), 0, false},
};

static uint32_t threshold(const struct scene *c, size_t at)
{
    uint32_t value;
    memcpy(&value, (const uint8_t *)&c->t + at, sizeof value);
    return value;
}

static unsigned needed(const struct scene *c, const struct burst *b)
{
    uint32_t weight = b->weight != 0 ? threshold(c, b->weight) : 1;
    return (threshold(c, b->threshold) + weight - 1) / weight;
}

static void under_at_and_over_each_threshold(void **state)
{
    for (size_t k = 0; k < COUNT_OF(bursts); k++) {
        const struct burst *b = &bursts[k];
        print_message("%s\n", b->name);
        assert_int_equal(scene_setup(state), 0);
        struct scene *c = *state;
        unsigned n = needed(c, b);
        for (unsigned i = 0; i < n - 1; i++) {
            b->act(c, i);
            assert_int_equal(found_in_all(c), 0);
        }
        for (unsigned i = n - 1; i < (b->is_sketch ? 2 * n : n); i++) {
            b->act(c, i);
        }
        assert_int_equal(c->n[b->detector], 1);
        for (unsigned i = 0; i < 2 * n; i++) {
            b->act(c, i);
        }
        assert_int_equal(c->n[b->detector], 1); /* told once */
        assert_int_equal(found_in_all(c), 1);
        assert_int_equal(c->last.since_ms, c->now_ms);
        assert_true(c->last.evidence[0] != '\0');
        c->now_ms += 1000 * (uint64_t)c->t.again_s;
        for (unsigned i = 0; i < 2 * n; i++) {
            b->act(c, i);
        }
        assert_int_equal(c->n[b->detector], 2); /* it goes on, and is told again */
        assert_int_equal(scene_teardown(state), 0);
    }
}

static void the_same_spread_over_time_is_nothing(void **state)
{
    for (size_t k = 0; k < COUNT_OF(bursts); k++) {
        const struct burst *b = &bursts[k];
        print_message("%s\n", b->name);
        assert_int_equal(scene_setup(state), 0);
        struct scene *c = *state;
        unsigned n = needed(c, b);
        for (unsigned i = 0; i < 20 * n; i++) {
            b->act(c, i);
            /* Never as many as the threshold in two windows. */
            c->now_ms += 1000 * (uint64_t)(2 * threshold(c, b->window) / (n - 1) + 1);
        }
        assert_int_equal(found_in_all(c), 0);
        assert_int_equal(scene_teardown(state), 0);
    }
}

/* ---- places ---- */

static void come(struct scene *c, const char *client, const char *peer, bool takes_over)
{
    struct event e = happening(EVENT_takeover, "meter", HOME);
    EVENT_TEXT(&e, client_id, slice_text(client));
    if (takes_over) {
        show(c, &e, METER);
    }
    e.category = EVENT_connect;
    EVENT_TEXT(&e, peer, slice_text(peer));
    show(c, &e, METER);
    c->now_ms += 15 * 1000;
}

static void two_places_by_turns_are_a_clone(void **state)
{
    struct scene *c = *state;
    come(c, "meter", HOME, false);
    come(c, "meter", ELSEWHERE, true);
    for (unsigned i = 0; i + 1 < c->t.clone_returns; i++) {
        come(c, "meter", i % 2 == 0 ? HOME : ELSEWHERE, true);
        assert_int_equal(found_in_all(c), 0);
    }
    come(c, "meter", c->t.clone_returns % 2 == 1 ? HOME : ELSEWHERE, true);
    assert_int_equal(c->n[DETECTOR_two_places], 1);
    assert_string_equal(c->last.principal, "meter");
    assert_true(c->last.since_ms < c->now_ms);
    assert_int_equal(found_in_all(c), 1);
}

static void roaming_is_no_clone(void **state)
{
    struct scene *c = *state;
    char peer[56];
    for (unsigned i = 0; i < 200;
         i++) { /* each time somewhere new, the old connection still there */
        (void)snprintf(peer, sizeof peer, "10.%u.%u.1:1000", i / 50, i % 50);
        come(c, "meter", peer, true);
    }
    for (unsigned i = 0; i < 200; i++) { /* to and fro, having said goodbye */
        come(c, "meter", i % 2 == 0 ? HOME : ELSEWHERE, false);
    }
    for (unsigned i = 0; i < 200; i++) { /* another port of the same place */
        (void)snprintf(peer, sizeof peer, "192.0.2.1:%u", 2000 + i);
        come(c, "meter", peer, true);
    }
    for (unsigned i = 0; i < 200; i++) { /* many clients of one principal, each in its place */
        come(c, i % 2 == 0 ? "left" : "right", i % 2 == 0 ? HOME : ELSEWHERE, true);
    }
    assert_int_equal(found_in_all(c), 0);
}

/* ---- logins ---- */

static void a_network_that_tries_names(void **state)
{
    struct scene *c = *state;
    char name[24], peer[56];
    unsigned n = 0;
    for (; n < 2 * c->t.source_names && c->n[DETECTOR_login_source] == 0; n++) {
        (void)snprintf(name, sizeof name, "guess-%u", n);
        (void)snprintf(peer, sizeof peer, "192.0.2.%u:5", n); /* all of one /24 */
        fail_as(c, name, 0, peer);
    }
    assert_in_range(n, c->t.source_names, 2 * c->t.source_names);
    assert_int_equal(c->n[DETECTOR_login_source], 1);
    assert_string_equal(c->last.principal, ""); /* a claim is nobody's deed */
}

static void many_networks_for_one_name(void **state)
{
    struct scene *c = *state;
    char peer[56];
    for (unsigned i = 0; i < 2 * c->t.name_sources; i++) {
        (void)snprintf(peer, sizeof peer, "10.1.%u.1:5", i);
        fail_as(c, "meter", METER, peer);
        assert_true(c->n[DETECTOR_login_name] == 0 || i + 1 >= c->t.name_sources);
    }
    assert_int_equal(c->n[DETECTOR_login_name], 1);
    assert_string_equal(c->last.principal, "meter");
}

static void many_networks_for_many_names(void **state)
{
    struct scene *c = *state;
    char peer[56], name[24];
    for (unsigned i = 0; i < 64; i++) { /* two tries each: no network and no name stands out */
        (void)snprintf(peer, sizeof peer, "10.2.%u.1:5", i);
        (void)snprintf(name, sizeof name, "user-%u", i);
        fail_as(c, name, 0, peer);
        fail_as(c, name, 0, peer);
    }
    assert_int_equal(c->n[DETECTOR_login_spray], 1);
    assert_int_equal(found_in_all(c), 1);
}

static void a_wrong_pre_shared_key_is_a_failed_login(void **state)
{
    struct scene *c = *state;
    struct event e = happening(EVENT_tls_reject, "meter", HOME);
    for (unsigned i = 0; i < c->t.name_failures; i++) {
        show(c, &e, METER); /* not claimed: a certificate that was refused, say */
    }
    assert_int_equal(found_in_all(c), 0);
    e.is_claimed = true;
    for (unsigned i = 0; i < c->t.name_failures; i++) {
        show(c, &e, METER);
    }
    assert_int_equal(c->n[DETECTOR_login_name], 1);
}

/* ---- what is no misuse ---- */

static void what_was_not_asked_for_is_no_probing(void **state)
{
    struct scene *c = *state;
    struct event e = happening(EVENT_acl_deny, "meter", HOME);
    e.is_unasked = true;
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(e.target, sizeof e.target, "plant/%u/cmd", i);
        show(c, &e, METER);
    }
    assert_int_equal(found_in_all(c), 0);
}

/* Its connections are closed with it, and it logs in by more than certificates. */
static void the_end_of_a_device_is_no_use_of_it(void **state)
{
    struct scene *c = *state;
    struct event ended = happening(EVENT_revoked, "meter", HOME);
    struct event failed = happening(EVENT_auth_fail, "meter", HOME);
    ended.is_unasked = true;
    for (unsigned i = 0; i < 100; i++) {
        show(c, &ended, METER);
        show(c, &failed, METER); /* it failed to authenticate again, say */
    }
    assert_int_equal(found_in_all(c), 0);
}

static void administrators_are_not_watched(void **state)
{
    struct scene *c = *state;
    struct event e = happening(EVENT_revoked, "meter", "");
    e.protocol = EVENT_PROTOCOL_control;
    for (unsigned i = 0; i < 100; i++) {
        show(c, &e, METER);
    }
    assert_int_equal(found_in_all(c), 0);
    assert_int_equal(detect_watched(c->detect), 0);
}

static void folded_repeats_count(void **state)
{
    struct scene *c = *state;
    struct event e = happening(EVENT_replay, "meter", HOME);
    e.count = c->t.replays;
    show(c, &e, METER);
    assert_int_equal(c->n[DETECTOR_replay_burst], 1);
}

/* ---- room ---- */

static void strangers_cost_nothing(void **state)
{
    struct scene *c = *state;
    char name[24], peer[56];
    size_t before = heap_in_use();
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof name, "made-up-%u", i);
        (void)snprintf(peer, sizeof peer, "[2001:db8:%x:%x00::1]:5", i >> 8, i & 255);
        fail_as(c, name, 0, peer);
    }
    assert_int_equal(heap_in_use(), before);
    assert_int_equal(detect_watched(c->detect), 0);
    assert_int_equal(c->n[DETECTOR_login_spray], 1); /* and it is seen */
}

static void a_device_costs_what_is_said(void **state)
{
    struct scene *c = *state;
    enum { N = 4096 };
    struct event e = happening(EVENT_connect, "meter", HOME);
    size_t before = heap_in_use();
    for (uint64_t id = 1; id <= N; id++) {
        show(c, &e, id);
    }
    size_t each = (heap_in_use() - before) / N;
    print_message("%zu bytes each\n", each);
    assert_in_range(each, 100, DETECT_IDENTITY_BYTES);
    assert_int_equal(detect_watched(c->detect), N);
}

static void the_longest_quiet_is_forgotten(void **state)
{
    struct scene *c = *state;
    for (unsigned i = 0; i + 1 < c->t.certificate_misuse; i++) {
        show_certificate(c, i); /* METER is one short of a finding */
    }
    struct event e = happening(EVENT_connect, "other", HOME);
    for (uint64_t id = 1000; id < 1000 + DETECT_IDENTITIES_MAX; id++) {
        show(c, &e, id);
    }
    assert_int_equal(detect_watched(c->detect), DETECT_IDENTITIES_MAX);
    assert_int_equal(detect_forgotten(c->detect), 1);
    show_certificate(c, 0);
    assert_int_equal(found_in_all(c), 0);
}

static void findings_that_nobody_takes_are_counted(void **state)
{
    struct scene *c = *state;
    struct event e = happening(EVENT_replay, "meter", HOME);
    struct detect_finding f;
    e.count = c->t.replays;
    for (uint64_t id = 1; id <= DETECT_FINDINGS_MAX + 3; id++) {
        struct detect_who who = {.id = id};
        detect_event(c->detect, &e, &who, c->now_ms);
    }
    assert_int_equal(detect_dropped(c->detect), 3);
    for (unsigned i = 0; i < DETECT_FINDINGS_MAX; i++) {
        assert_true(detect_next(c->detect, &f));
    }
    assert_false(detect_next(c->detect, &f));
}

static void without_memory_nobody_is_watched(void **state)
{
    struct scene *c = *state;
    struct event e = happening(EVENT_replay, "meter", HOME);
    e.count = c->t.replays;
    struct event other = happening(EVENT_replay, "pump", HOME);
    other.count = 1;
    show(c, &other, METER + 1);    /* the first one of a map needs no table */
    for (long n = 0; n < 2; n++) { /* the row, its place in the map */
        (void)mem_fail_after(n);
        show(c, &e, METER);
        assert_int_equal(mem_fail_after(-1), 1);
        assert_int_equal(detect_watched(c->detect), 1);
    }
    assert_int_equal(c->n[DETECTOR_replay_burst], 1); /* by its network */
    struct detect *none = NULL;
    struct random_source random = random_seeded(&c->seed);
    (void)mem_fail_after(0);
    assert_int_equal(detect_new(&c->t, &random, &none), ERR_NOMEM);
    (void)mem_fail_after(-1);
}

/* ---- words ---- */

static void what_is_said_fits_an_event(void **state)
{
    (void)state;
    struct event e = event_make(EVENT_clone);
    for (size_t i = 0; i < DETECTOR_COUNT; i++) {
        const struct detector_words *w = detector_words((enum detector)i);
        size_t n = strlen(w->name) + strlen(w->answer) + DETECT_EVIDENCE_BYTES + 4;
        print_message("%s %zu\n", w->name, n);
        assert_true(n < sizeof e.reason);
    }
}

int main(void)
{
#define SCENE(f) cmocka_unit_test_setup_teardown(f, scene_setup, scene_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(under_at_and_over_each_threshold),
        cmocka_unit_test(the_same_spread_over_time_is_nothing),
        SCENE(two_places_by_turns_are_a_clone),
        SCENE(roaming_is_no_clone),
        SCENE(a_network_that_tries_names),
        SCENE(many_networks_for_one_name),
        SCENE(many_networks_for_many_names),
        SCENE(a_wrong_pre_shared_key_is_a_failed_login),
        SCENE(what_was_not_asked_for_is_no_probing),
        SCENE(administrators_are_not_watched),
        SCENE(the_end_of_a_device_is_no_use_of_it),
        SCENE(folded_repeats_count),
        SCENE(strangers_cost_nothing),
        SCENE(a_device_costs_what_is_said),
        SCENE(the_longest_quiet_is_forgotten),
        SCENE(findings_that_nobody_takes_are_counted),
        SCENE(without_memory_nobody_is_watched),
        cmocka_unit_test(what_is_said_fits_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

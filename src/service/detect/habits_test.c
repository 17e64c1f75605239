/* The detectors that know what is usual: learned from for an hour, quiet below their thresholds,
 * found at them, and never when the peers do the same. */
#include "service/detect/detect_test_private.h"

enum { METER = 1, PEERS = 10, MINUTE_MS = 60 * 1000 };

static void publish(struct scene *c, uint64_t id, unsigned n, uint64_t bytes)
{
    struct detect_sample s = {.principal = id, .at_ms = c->now_ms, .n = n, .bytes = bytes};
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
}

static void look(struct scene *c)
{
    detect_tick(c->detect, c->now_ms);
    take_findings(c);
}

/* Devices 1 to n speak once a minute for so long. */
static void live(struct scene *c, unsigned n, unsigned n_minutes)
{
    for (unsigned i = 0; i < n_minutes; i++) {
        for (uint64_t id = 1; id <= n; id++) {
            publish(c, id, 1, 100);
        }
        c->now_ms += MINUTE_MS;
        look(c);
    }
}

/* ---- periods and sizes ---- */

static void faster_for_half_a_minute(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 90);
    assert_int_equal(found_in_all(c), 0);
    publish(c, METER, 1, 100);
    for (unsigned i = 0; i * 5 < c->t.drift_s; i++) {
        c->now_ms += 5000;
        publish(c, METER, 5, 500);
        assert_int_equal(found_in_all(c), 0);
    }
    c->now_ms += 5000;
    publish(c, METER, 5, 500);
    assert_int_equal(c->n[DETECTOR_faster], 1);
    assert_int_equal(c->last.id, METER);
    assert_int_equal(found_in_all(c), 1);
}

static void what_is_not_faster_enough_or_long_enough(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 90);
    for (unsigned i = 0; i < 60; i++) { /* seven times as often: below three octaves */
        c->now_ms += 9000;
        publish(c, METER, 1, 100);
    }
    live(c, PEERS, 60);
    for (unsigned i = 0; i < 4; i++) { /* what it kept, at once */
        c->now_ms += 5000;
        publish(c, METER, 250, 25000);
    }
    live(c, PEERS, 5);
    assert_int_equal(found_in_all(c), 0);
}

static void before_an_hour_nothing_is_usual(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 50);
    for (unsigned i = 0; i < 60; i++) {
        c->now_ms += 5000;
        publish(c, METER, 5, 50000);
    }
    assert_int_equal(found_in_all(c), 0);
}

static void who_does_as_its_peers_is_not_told(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 90);
    for (unsigned i = 0; i < 30; i++) {
        c->now_ms += 5000;
        for (uint64_t id = 1; id <= PEERS; id++) {
            publish(c, id, 5, 50000);
        }
    }
    assert_int_equal(found_in_all(c), 0);
}

static void what_goes_on_becomes_usual(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 90);
    for (unsigned i = 0; i < 2 * c->t.adopt_s / 5; i++) {
        c->now_ms += 5000;
        publish(c, METER, 5, 500);
    }
    unsigned n = c->n[DETECTOR_faster];
    assert_in_range(n, 1, c->t.adopt_s / c->t.again_s + 1);
    for (unsigned i = 0; i < 1000; i++) {
        c->now_ms += 5000;
        publish(c, METER, 5, 500);
    }
    assert_int_equal(c->n[DETECTOR_faster], n);
}

static void sizes(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 90);
    for (unsigned i = 0; i < 10; i++) { /* three times as large */
        c->now_ms += MINUTE_MS;
        publish(c, METER, 1, 300);
    }
    assert_int_equal(found_in_all(c), 0);
    live(c, PEERS, 30);
    for (unsigned i = 0; i < c->t.drift_samples; i++) {
        assert_int_equal(found_in_all(c), 0);
        c->now_ms += MINUTE_MS;
        publish(c, METER, 1, 3000);
    }
    assert_int_equal(c->n[DETECTOR_size_drift], 1);
    assert_int_equal(found_in_all(c), 1);
}

/* ---- silence ---- */

static void live_without(struct scene *c, unsigned n_silent, unsigned n_minutes)
{
    for (unsigned i = 0; i < n_minutes; i++) {
        for (uint64_t id = 1 + n_silent; id <= PEERS; id++) {
            publish(c, id, 1, 100);
        }
        c->now_ms += MINUTE_MS;
        look(c);
    }
}

static void one_falls_silent(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 90);
    live_without(c, 1, (c->t.silence_s + c->t.silence_confirm_s) / 60 - 2);
    assert_int_equal(found_in_all(c), 0);
    live_without(c, 1, 5);
    assert_int_equal(c->n[DETECTOR_silent_device], 1);
    assert_int_equal(c->last.id, METER);
    live_without(c, 1, 600);
    assert_int_equal(found_in_all(c), 1); /* once, until it speaks */
    live(c, PEERS, 90);
    live_without(c, 1, 300);
    assert_int_equal(found_in_all(c), 1); /* it has been silent for longer before */
    live_without(c, 1, 2000);
    assert_int_equal(found_in_all(c), 2);
}

static void many_fall_silent_and_one_does_not_come_back(void **state)
{
    struct scene *c = *state;
    live(c, PEERS, 90);
    live_without(c, 5, 300);
    assert_int_equal(found_in_all(c), 0);
    live_without(c, 1, 600); /* the other four are back */
    assert_int_equal(c->n[DETECTOR_silent_device], 1);
    assert_int_equal(c->last.id, METER);
}

static void who_is_silent_with_its_site_is_not_told(void **state)
{
    struct scene *c = *state;
    for (uint64_t id = 1; id <= 40;
         id++) { /* a fleet in which three are few; they are neighbours */
        struct event e = happening(EVENT_connect, "meter", id <= 3 ? "10.0.0.1:5" : "10.9.9.9:5");
        show(c, &e, id);
    }
    for (unsigned i = 0; i < 90 + 300; i++) {
        for (uint64_t id = i < 90 ? 1 : 4; id <= 40; id++) {
            publish(c, id, 1, 100);
        }
        c->now_ms += MINUTE_MS;
        look(c);
    }
    assert_int_equal(found_in_all(c), 0);
}

/* ---- retained, QoS 2 ---- */

static void retain(struct scene *c, unsigned n)
{
    struct detect_sample s = {.principal = METER, .at_ms = c->now_ms, .n = n, .n_retained = n};
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
}

static void retained_messages(void **state)
{
    struct scene *c = *state;
    retain(c, c->t.retained - 1);
    assert_int_equal(found_in_all(c), 0);
    c->now_ms += 2000 * (uint64_t)c->t.short_window_s;
    retain(c, c->t.retained - 1); /* spread over time */
    assert_int_equal(found_in_all(c), 0);
    retain(c, 1);
    assert_int_equal(c->n[DETECTOR_retained_flood], 1);
}

static void hold(struct scene *c, unsigned n, unsigned n_released)
{
    struct detect_sample s = {
        .principal = METER, .at_ms = c->now_ms, .n_held = n, .n_released = n_released};
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
    c->now_ms += 5000;
}

static void packet_ids_that_are_not_released(void **state)
{
    struct scene *c = *state;
    for (unsigned i = 0; i < 10; i++) {
        hold(c, c->t.held_ids - 1, 0);
        hold(c, 1000, 250); /* much under way */
    }
    assert_int_equal(found_in_all(c), 0);
    for (unsigned i = 0; i * 5 < c->t.held_s; i++) {
        hold(c, c->t.held_ids, 0);
        assert_int_equal(found_in_all(c), 0);
    }
    hold(c, c->t.held_ids, 0);
    assert_int_equal(c->n[DETECTOR_qos2_hoard], 1);
}

/* ---- topics, networks ---- */

static void use_topic(struct scene *c, uint64_t id, uint32_t shape, const char *text)
{
    struct detect_sample s = {.kind = DETECT_SAMPLE_TOPIC,
                              .principal = id,
                              .topic = shape * 1000 + (uint32_t)id,
                              .shape = shape};
    event_text(s.text, sizeof s.text, slice_text(text));
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
}

static void topics(void **state)
{
    struct scene *c = *state;
    for (uint64_t id = 1; id <= PEERS; id++) {
        use_topic(c, id, 1, "a/state");
    }
    live(c, PEERS, 70);
    use_topic(c, 2, 2, "a/errors");  /* the role is not known for long enough */
    use_topic(c, 2, 3, "pumps/cmd"); /* but for that */
    assert_int_equal(c->n[DETECTOR_command_write], 1);
    live(c, PEERS, (c->t.topic_hours * 60) / PEERS);
    use_topic(c, 3, 2, "a/errors"); /* one of its peers has */
    use_topic(c, METER, 1, "a/state");
    assert_int_equal(found_in_all(c), 1);
    use_topic(c, METER, 4, "elsewhere");
    use_topic(c, METER, 4, "elsewhere");
    assert_int_equal(c->n[DETECTOR_new_topic], 1);
    assert_string_equal(c->last.target, "elsewhere");
    use_topic(c, 4, 4, "elsewhere");
    use_topic(c, 5, 4, "elsewhere"); /* a new firmware comes to all of them */
    use_topic(c, 6, 4, "elsewhere");
    assert_int_equal(c->n[DETECTOR_new_topic], 2);
}

static void connect_from(struct scene *c, uint64_t id, const char *peer)
{
    struct event e = happening(EVENT_connect, "meter", peer);
    show(c, &e, id);
}

static void confirm(struct scene *c)
{
    c->now_ms += 1000 * (uint64_t)c->t.move_confirm_s;
    look(c);
}

static void networks(void **state)
{
    struct scene *c = *state;
    for (uint64_t id = 1; id <= PEERS; id++) {
        connect_from(c, id, "10.0.0.1:5");
    }
    c->now_ms += 1000 * 3600 * (uint64_t)(c->t.move_hours / PEERS - 2);
    connect_from(c, METER, "10.0.0.200:9"); /* the same network */
    connect_from(c, METER, "10.0.1.1:9");   /* too early to tell */
    confirm(c);
    assert_int_equal(found_in_all(c), 0);
    c->now_ms += 1000 * 3600 * (uint64_t)(c->t.move_hours / PEERS + 5);
    connect_from(c, 2, "10.0.2.1:9");
    connect_from(c, 3, "10.0.2.2:9"); /* a site moves */
    confirm(c);
    connect_from(c, METER, "10.0.0.1:9"); /* where it has been */
    confirm(c);
    assert_int_equal(found_in_all(c), 0);
    connect_from(c, 4, "10.0.3.1:9");
    confirm(c);
    assert_int_equal(c->n[DETECTOR_new_network], 1);
    assert_string_equal(c->last.peer, "10.0.3.1:9");
    for (uint64_t id = 5; id <= PEERS; id++) { /* a role that roams */
        char peer[56];
        (void)snprintf(peer, sizeof peer, "10.1.%u.1:9", (unsigned)id);
        connect_from(c, id, peer);
        confirm(c);
    }
    assert_int_equal(found_in_all(c), 1);
}

/* ---- roles ---- */

static void roles_without_a_row_share_one(void **state)
{
    struct scene *c = *state;
    char role[24];
    for (unsigned i = 0; i < 3 * DETECT_ROLES; i++) {
        struct detect_sample s = {.principal = i % 100 + 1, .at_ms = c->now_ms, .n = 1};
        (void)snprintf(role, sizeof role, "role-%u", i);
        detect_sample(c->detect, &s, slice_text(role), c->now_ms);
        c->now_ms += 1000;
    }
    look(c);
    assert_int_equal(found_in_all(c), 0);
    assert_int_equal(detect_watched(c->detect), 100);
}

int main(void)
{
#define SCENE(f) cmocka_unit_test_setup_teardown(f, scene_setup, scene_teardown)
    const struct CMUnitTest tests[] = {
        SCENE(faster_for_half_a_minute),
        SCENE(what_is_not_faster_enough_or_long_enough),
        SCENE(before_an_hour_nothing_is_usual),
        SCENE(who_does_as_its_peers_is_not_told),
        SCENE(what_goes_on_becomes_usual),
        SCENE(sizes),
        SCENE(one_falls_silent),
        SCENE(many_fall_silent_and_one_does_not_come_back),
        SCENE(who_is_silent_with_its_site_is_not_told),
        SCENE(retained_messages),
        SCENE(packet_ids_that_are_not_released),
        SCENE(topics),
        SCENE(networks),
        SCENE(roles_without_a_row_share_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

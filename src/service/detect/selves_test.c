/* A copied key: another program in turn, two addresses in turn; and what honest devices do, which
 * is neither. Wills of many devices. */
#include "service/detect/detect_test_private.h"

enum { METER = 7, HERE = 11, THERE = 12, MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS };

static const struct detect_self first = {
    .id = 1, .will = 5, .settings = 9, .keep_alive_s = 60, .version = 5};

static void later(struct scene *c, uint64_t ms)
{
    c->now_ms += ms;
}

static void hello_of(struct scene *c, uint64_t id, const struct detect_self *self, uint32_t place,
                     bool has_taken_over)
{
    const struct detect_sample s = {.kind = DETECT_SAMPLE_HELLO,
                                    .principal = id,
                                    .at_ms = c->now_ms,
                                    .place = place,
                                    .self = *self,
                                    .has_taken_over = has_taken_over};
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
}

static void hello(struct scene *c, const struct detect_self *self, uint32_t place,
                  bool has_taken_over)
{
    hello_of(c, METER, self, place, has_taken_over);
}

static void heard(struct scene *c, uint32_t place)
{
    const struct detect_sample s = {
        .kind = DETECT_SAMPLE_HEARD, .principal = METER, .at_ms = c->now_ms, .place = place};
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
}

static void publish(struct scene *c)
{
    const struct detect_sample s = {.principal = METER, .at_ms = c->now_ms, .n = 1, .bytes = 10};
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
}

static struct detect_self other_program(void)
{
    struct detect_self self = first;
    self.version = 4;
    return self;
}

/* ---- another program ---- */

static void the_device_comes_back_to_its_copy(void **state)
{
    struct scene *c = *state;
    const struct detect_self copy = other_program();
    hello(c, &first, HERE, false);
    hello(c, &copy, THERE, true);
    assert_int_equal(found_in_all(c), 0);
    hello(c, &first, HERE, true);
    assert_int_equal(c->n[DETECTOR_two_places], 1);
    assert_int_equal(c->last.id, METER);
    assert_string_equal(c->last.evidence,
                        "in turn two programs (1 times): keep-alive 60 s, now 60; "
                        "MQTT level 4, now 5");
    hello(c, &copy, THERE, true);
    assert_int_equal(found_in_all(c), 1); /* told once */
}

/* Never both at a time: by how often it is in turn. */
static void programs_that_do_not_meet(void **state)
{
    struct scene *c = *state;
    const struct detect_self copy = other_program();
    for (unsigned i = 0; i < c->t.self_returns + 2; i++) {
        assert_int_equal(c->n[DETECTOR_two_places], 0);
        later(c, HOUR_MS / 2);
        hello(c, i % 2 == 0 ? &first : &copy, i % 2 == 0 ? HERE : THERE, false);
    }
    assert_int_equal(c->n[DETECTOR_two_places], 1);
}

/* An updater and a program of one device, at one address. */
static void two_programs_at_home(void **state)
{
    struct scene *c = *state;
    const struct detect_self updater = other_program();
    for (unsigned i = 0; i < 20; i++) {
        hello(c, i % 2 == 0 ? &first : &updater, HERE, i % 3 == 0);
        later(c, HOUR_MS / 2);
    }
    assert_int_equal(c->n[DETECTOR_two_places], 0);
}

/* One setting is what a device changes by itself, on another network or after a start. */
static void a_setting_is_no_program(void **state)
{
    struct scene *c = *state;
    struct detect_self mobile = first, restarted = first, without = first;
    mobile.keep_alive_s = 600;
    restarted.is_clean = true;
    without.will = 0;
    const struct detect_self *const way[] = {&first, &mobile, &restarted, &without};
    later(c, 2 * HOUR_MS);
    for (unsigned i = 0; i < 40; i++) {
        hello(c, &first, HERE, false);
        later(c, HOUR_MS);
        hello(c, way[i % COUNT_OF(way)], THERE, false);
        later(c, HOUR_MS);
    }
    assert_int_equal(found_in_all(c), 0);
}

static void each_trait_weighs(void **state)
{
    struct scene *c = *state;
    struct detect_self by[5];
    for (size_t i = 0; i < COUNT_OF(by); i++) {
        by[i] = first;
    }
    by[0].version = 4;
    by[1].id = 2;
    by[2].will = 6;
    by[3].keep_alive_s = 61, by[3].is_clean = true;
    by[4].settings = 10, by[4].will = 0;
    for (uint64_t i = 0; i < COUNT_OF(by); i++) {
        hello_of(c, 100 + i, &first, HERE, false);
        hello_of(c, 100 + i, &by[i], THERE, true);
        hello_of(c, 100 + i, &first, HERE, true);
        assert_int_equal(c->n[DETECTOR_two_places], i + 1);
    }
}

/* ---- new firmware ---- */

static void new_firmware_is_written_down(void **state)
{
    struct scene *c = *state;
    const struct detect_self next = other_program();
    assert_true(detector_is_notice(DETECTOR_personality) &&
                !detector_is_notice(DETECTOR_two_places));
    hello(c, &first, HERE, false);
    later(c, (uint64_t)(c->t.learn_s - 1) * 1000);
    hello(c, &next, HERE, false);
    assert_int_equal(found_in_all(c), 0); /* it was not known for long */
    later(c, (uint64_t)c->t.learn_s * 1000);
    hello(c, &first, HERE, false);
    assert_int_equal(found_in_all(c), 0); /* back: no news */
    struct detect_self third = next;
    third.id = 3;
    later(c, (uint64_t)c->t.learn_s * 1000);
    hello(c, &third, HERE, false);
    assert_int_equal(c->n[DETECTOR_personality], 1);
    assert_int_equal(found_in_all(c), 1);
}

static void a_release_is_told_a_few_times(void **state)
{
    struct scene *c = *state;
    const struct detect_self next = other_program();
    for (uint64_t id = 1; id <= 20; id++) {
        hello_of(c, id, &first, HERE, false);
    }
    later(c, 2 * HOUR_MS);
    for (uint64_t id = 1; id <= 20; id++) {
        hello_of(c, id, &next, HERE, false);
    }
    assert_int_equal(c->n[DETECTOR_personality], c->t.peers_least);
    assert_int_equal(found_in_all(c), c->t.peers_least);
}

/* ---- two addresses ---- */

static void addresses_in_turn(void **state)
{
    struct scene *c = *state;
    unsigned n = 2 + c->t.clone_returns / c->t.clone_turn_points;
    for (unsigned i = 0; i < n; i++) { /* here, there, and the returns */
        assert_int_equal(found_in_all(c), 0);
        heard(c, i % 2 == 0 ? HERE : THERE);
        later(c, (uint64_t)c->t.clone_turn_s * 1000 / 2);
    }
    assert_int_equal(c->n[DETECTOR_two_places], 1);
}

/* To and fro between two networks, or a router that chooses anew, in its own time. */
static void slower_is_roaming(void **state)
{
    struct scene *c = *state;
    for (unsigned i = 0; i < 200; i++) {
        heard(c, i % 2 == 0 ? HERE : THERE);
        later(c, (uint64_t)(c->t.clone_turn_s / 2 + 1) * 1000);
    }
    for (unsigned i = 0; i < 200; i++) {
        heard(c, 100 + i); /* another one each time */
        later(c, 1000);
    }
    assert_int_equal(found_in_all(c), 0);
}

/* Once in a minute, and another one in between as often. */
static void more_than_one_device_can_say(void **state)
{
    struct scene *c = *state;
    for (unsigned i = 0; i < 90; i++) {
        heard(c, HERE);
        publish(c);
        later(c, MINUTE_MS);
    }
    for (unsigned i = 0; i < 8; i++) {
        later(c, MINUTE_MS / 2);
        heard(c, THERE);
        later(c, MINUTE_MS / 2);
        heard(c, HERE);
    }
    assert_int_equal(c->n[DETECTOR_two_places], 1);
}

/* The same device, whose router has another address for it each minute. */
static void a_router_with_two_addresses(void **state)
{
    struct scene *c = *state;
    for (unsigned i = 0; i < 500; i++) {
        heard(c, i % 2 == 0 ? HERE : THERE);
        publish(c);
        later(c, MINUTE_MS);
    }
    assert_int_equal(found_in_all(c), 0);
}

static void many_clients_are_in_many_places(void **state)
{
    struct scene *c = *state;
    for (unsigned i = 0; i < 50; i++) {
        struct detect_sample s = {.kind = i % 2 == 0 ? DETECT_SAMPLE_HEARD : DETECT_SAMPLE_HELLO,
                                  .is_many = true,
                                  .principal = METER,
                                  .place = 1 + i % 2,
                                  .self = i % 3 == 0 ? first : other_program(),
                                  .has_taken_over = true};
        detect_sample(c->detect, &s, slice_text("console"), c->now_ms);
        take_findings(c);
        later(c, 1000);
    }
    assert_int_equal(found_in_all(c), 0);
}

/* ---- wills of many ---- */

static void die(struct scene *c, uint64_t id, const char *network)
{
    char peer[56];
    (void)snprintf(peer, sizeof peer, "10.0.%s.%u:9", network, (unsigned)id);
    struct event e = happening(EVENT_will, "meter", peer);
    show(c, &e, id);
}

static void an_outage_names_its_network(void **state)
{
    struct scene *c = *state;
    for (uint64_t id = 1; id < c->t.fleet_devices; id++) {
        die(c, id, id % 5 == 0 ? "9" : "7");
        assert_int_equal(found_in_all(c), 0);
    }
    die(c, c->t.fleet_devices, "7");
    assert_int_equal(c->n[DETECTOR_outage], 1);
    assert_string_equal(c->last.target, "10.0.7.0/24");
    assert_int_equal(c->last.id, 0);
    for (uint64_t id = 20; id < 200; id++) {
        die(c, id, "7");
    }
    assert_int_equal(found_in_all(c), 1); /* one event */
    assert_true(detector_is_notice(DETECTOR_outage) && !detector_is_notice(DETECTOR_will_fleet));
}

static void a_storm_comes_again_from_everywhere(void **state)
{
    struct scene *c = *state;
    static const char *const networks[] = {"1", "2", "3", "4"};
    unsigned n_each = c->t.fleet_again;
    for (unsigned n = 0; n < n_each; n++) {
        assert_int_equal(c->n[DETECTOR_will_fleet], 0);
        for (uint64_t id = 1; id <= c->t.fleet_devices; id++) {
            die(c, id, networks[(n + id) % COUNT_OF(networks)]);
        }
        later(c, 10 * 1000);
    }
    assert_int_equal(c->n[DETECTOR_will_fleet], 1);
    assert_string_equal(c->last.target, "many networks");
    assert_int_equal(c->n[DETECTOR_outage], 1);
}

/* A link that comes and goes is one network's. */
static void a_bad_link_is_no_storm(void **state)
{
    struct scene *c = *state;
    for (unsigned n = 0; n < 6; n++) {
        for (uint64_t id = 1; id <= 30; id++) {
            die(c, id, "7");
        }
        later(c, 10 * 1000);
    }
    assert_int_equal(c->n[DETECTOR_will_fleet], 0);
    assert_int_equal(c->n[DETECTOR_outage], 1);
}

/* ---- who is gone ---- */

static enum detect_standing standing(const void *ctx, uint64_t id)
{
    (void)ctx;
    return id == 1 ? DETECT_GONE : id == 2 ? DETECT_BARRED : DETECT_ACTIVE;
}

static void who_is_gone_has_no_row(void **state)
{
    struct scene *c = *state;
    for (uint64_t id = 1; id <= 3; id++) {
        hello_of(c, id, &first, HERE, false);
    }
    detect_sweep(c->detect, standing, NULL);
    assert_int_equal(detect_watched(c->detect), 2);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_device_comes_back_to_its_copy),
        CASE(programs_that_do_not_meet),
        CASE(two_programs_at_home),
        CASE(a_setting_is_no_program),
        CASE(each_trait_weighs),
        CASE(new_firmware_is_written_down),
        CASE(a_release_is_told_a_few_times),
        CASE(addresses_in_turn),
        CASE(slower_is_roaming),
        CASE(more_than_one_device_can_say),
        CASE(a_router_with_two_addresses),
        CASE(many_clients_are_in_many_places),
        CASE(an_outage_names_its_network),
        CASE(a_storm_comes_again_from_everywhere),
        CASE(a_bad_link_is_no_storm),
        CASE(who_is_gone_has_no_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Clocks of devices: ahead, set back, far behind; and readings that waited, which are none of it.
 */
#include "service/detect/detect_test_private.h"

enum { METER = 7, MINUTE_S = 60, HOUR_S = 3600, DAY_S = 86400 };
static const int64_t today_s = 1800000000;

/* A reading of so many seconds from now, by the server's clock. */
static void reads(struct scene *c, int64_t offset_s)
{
    int64_t wall_ms = today_s * 1000 + (int64_t)c->now_ms;
    const struct detect_sample s = {.kind = DETECT_SAMPLE_CLOCK,
                                    .principal = METER,
                                    .at_ms = c->now_ms,
                                    .clock_ms = wall_ms + offset_s * 1000,
                                    .wall_ms = wall_ms};
    detect_sample(c->detect, &s, slice_text("sensor"), c->now_ms);
    take_findings(c);
}

/* Once in so many seconds. */
static void goes_on(struct scene *c, unsigned n, int64_t offset_s, unsigned every_s)
{
    for (unsigned i = 0; i < n; i++) {
        reads(c, offset_s);
        c->now_ms += (uint64_t)every_s * 1000;
    }
}

/* ---- ahead ---- */

static void a_reading_of_the_future(void **state)
{
    struct scene *c = *state;
    goes_on(c, 5, (int64_t)c->t.clock_ahead_s - 1, MINUTE_S);
    goes_on(c, 5, c->t.clock_ahead_s, MINUTE_S);
    assert_int_equal(found_in_all(c), 0);
    uint64_t since_ms = c->now_ms;
    reads(c, (int64_t)c->t.clock_ahead_s + 1);
    assert_int_equal(c->n[DETECTOR_clock_skew], 1);
    assert_int_equal(c->last.id, METER);
    assert_int_equal(c->last.since_ms, since_ms);
    assert_string_equal(c->last.evidence,
                        "its newest reading is 301 s ahead of the server's clock, more than 300");
    goes_on(c, c->t.again_s / MINUTE_S, HOUR_S, MINUTE_S);
    assert_int_equal(found_in_all(c), 1);
    reads(c, HOUR_S);
    assert_int_equal(found_in_all(c), 2); /* it goes on, and since when has not changed */
    assert_int_equal(c->last.since_ms, since_ms);
}

/* To the right time is no way back. */
static void it_is_set_right(void **state)
{
    struct scene *c = *state;
    reads(c, HOUR_S);
    assert_int_equal(found_in_all(c), 1);
    goes_on(c, 60, 0, MINUTE_S);
    goes_on(c, 60, -20, MINUTE_S);
    assert_int_equal(found_in_all(c), 1);
}

/* ---- back ---- */

static void it_goes_back(void **state)
{
    struct scene *c = *state;
    goes_on(c, 10, 0, MINUTE_S);
    uint64_t since_ms = c->now_ms;
    goes_on(c, c->t.clock_confirm_s / MINUTE_S, -HOUR_S, MINUTE_S);
    assert_int_equal(found_in_all(c), 0);
    reads(c, -HOUR_S);
    assert_int_equal(c->n[DETECTOR_clock_skew], 1);
    assert_int_equal(c->last.since_ms, since_ms);
    assert_string_equal(c->last.evidence, "its clock went back: 6 times 3600 s behind the "
                                          "server's, 3240 s before its own");
}

static void so_far_is_not_back(void **state)
{
    struct scene *c = *state;
    int64_t before_s = c->t.clock_back_s; /* of its newest reading */
    reads(c, 0);
    for (unsigned i = 0; i < 60; i++) { /* no more than that behind its own */
        reads(c, -before_s);
        c->now_ms += 10 * 1000;
    }
    assert_int_equal(found_in_all(c), 0);
    goes_on(c, 30, 0, 10);
    for (unsigned i = 0; i < 31; i++) { /* for 300 s just beyond, and again and again new */
        reads(c, -before_s - 11);
        reads(c, 0);
        c->now_ms += 10 * 1000;
    }
    assert_int_equal(found_in_all(c), 0);
    reads(c, 0);
    for (unsigned i = 0; i < 31; i++) {
        reads(c, -before_s - 311);
        c->now_ms += 10 * 1000;
    }
    assert_int_equal(c->n[DETECTOR_clock_skew], 1);
}

/* ---- behind ---- */

static void a_battery_was_empty(void **state)
{
    struct scene *c = *state;
    int64_t y2000_s = 946684800 - today_s;
    goes_on(c, c->t.clock_confirm_s / MINUTE_S, y2000_s, MINUTE_S);
    assert_int_equal(found_in_all(c), 0);
    reads(c, y2000_s);
    assert_int_equal(c->n[DETECTOR_clock_skew], 1);
    assert_string_equal(c->last.evidence, "6 times its newest reading is 853315200 s behind the "
                                          "server's clock, more than 86400");
}

static void so_far_is_not_behind(void **state)
{
    struct scene *c = *state;
    goes_on(c, 60, -(int64_t)c->t.clock_behind_s, MINUTE_S);
    assert_int_equal(found_in_all(c), 0);
    goes_on(c, 60, -(int64_t)c->t.clock_behind_s - 1, MINUTE_S);
    assert_true(found_in_all(c) > 0);
}

static void it_takes_several(void **state)
{
    struct scene *c = *state;
    unsigned n = c->t.clock_samples;
    goes_on(c, n - 1, -2 * DAY_S, c->t.clock_gap_s);
    assert_int_equal(found_in_all(c), 0);
    reads(c, -2 * DAY_S);
    assert_int_equal(found_in_all(c), 1);
}

/* One that comes once a day may be of yesterday. */
static void who_speaks_rarely_is_not_judged(void **state)
{
    struct scene *c = *state;
    goes_on(c, 30, -26 * HOUR_S, c->t.clock_gap_s + 1);
    assert_int_equal(found_in_all(c), 0);
}

static void how_steady_it_is(void **state)
{
    struct scene *c = *state;
    for (unsigned i = 0; i < 60; i++) {
        goes_on(c, 1, -2 * DAY_S - (i % 2) * ((int64_t)c->t.clock_steady_s + 1), MINUTE_S);
    }
    assert_int_equal(found_in_all(c), 0);
    for (unsigned i = 0; i < 60; i++) {
        goes_on(c, 1, -2 * DAY_S - (i % 2) * (int64_t)c->t.clock_steady_s, MINUTE_S);
    }
    assert_true(found_in_all(c) > 0);
}

/* ---- what waited ---- */

/* Three days of it, oldest first, newest first, and with what is new in between. */
static void a_backlog_is_no_clock(void **state)
{
    struct scene *c = *state;
    goes_on(c, 10, 0, MINUTE_S);
    c->now_ms += (uint64_t)3 * DAY_S * 1000;
    for (int64_t late_s = 3 * DAY_S; late_s > 0; late_s -= 5 * MINUTE_S) {
        goes_on(c, 1, -late_s, MINUTE_S);
    }
    goes_on(c, 10, 0, MINUTE_S);
    for (int64_t late_s = 0; late_s < 3 * DAY_S; late_s += 5 * MINUTE_S) {
        goes_on(c, 1, -late_s, MINUTE_S);
    }
    for (int64_t late_s = 3 * DAY_S; late_s > 0; late_s -= 5 * MINUTE_S) {
        goes_on(c, 1, -late_s, MINUTE_S / 2);
        goes_on(c, 1, 0, MINUTE_S / 2);
    }
    assert_int_equal(found_in_all(c), 0);
}

/* After an hour without a network it sends one for one: an hour late for ever, and in order. */
static void a_queue_that_never_empties(void **state)
{
    struct scene *c = *state;
    goes_on(c, 10, 0, MINUTE_S);
    c->now_ms += (uint64_t)HOUR_S * 1000;
    goes_on(c, 500, -HOUR_S, MINUTE_S);
    assert_int_equal(found_in_all(c), 0);
}

static void clocks_drift(void **state)
{
    struct scene *c = *state;
    for (int64_t drift_s = 120; drift_s >= -120; drift_s--) {
        goes_on(c, 3, drift_s, MINUTE_S);
    }
    assert_int_equal(found_in_all(c), 0);
}

static void any_number_is_taken(void **state)
{
    struct scene *c = *state;
    int64_t last_s = 253402300799 - today_s - (int64_t)(c->now_ms / 1000);
    reads(c, last_s);
    assert_int_equal(found_in_all(c), 1);
    for (unsigned i = 0; i < 10; i++) {
        goes_on(c, 1, 268435456 - today_s - (int64_t)(c->now_ms / 1000), 1);
    }
    assert_int_equal(found_in_all(c), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_reading_of_the_future),
        CASE(it_is_set_right),
        CASE(it_goes_back),
        CASE(so_far_is_not_back),
        CASE(a_battery_was_empty),
        CASE(so_far_is_not_behind),
        CASE(it_takes_several),
        CASE(who_speaks_rarely_is_not_judged),
        CASE(how_steady_it_is),
        CASE(a_backlog_is_no_clock),
        CASE(a_queue_that_never_empties),
        CASE(clocks_drift),
        CASE(any_number_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

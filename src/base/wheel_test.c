#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"

enum { N_TIMERS = 200, N_STEPS = 20000 };

/* A model that cannot be wrong: an array and a loop. */
struct bench {
    struct wheel wheel;
    struct timer timers[N_TIMERS];
    uint64_t at_ms[N_TIMERS]; /* UINT64_MAX: not armed */
    uint64_t state;
    struct random_source random;
};

static void bench_init(struct bench *b, uint64_t now_ms, uint64_t seed)
{
    *b = (struct bench){.state = seed};
    b->random = random_seeded(&b->state);
    wheel_init(&b->wheel, now_ms);
    for (size_t i = 0; i < N_TIMERS; i++) {
        b->at_ms[i] = UINT64_MAX;
    }
}

static uint64_t model_earliest(const struct bench *b)
{
    uint64_t earliest = UINT64_MAX;
    for (size_t i = 0; i < N_TIMERS; i++) {
        earliest = b->at_ms[i] < earliest ? b->at_ms[i] : earliest;
    }
    return earliest;
}

static size_t model_armed(const struct bench *b)
{
    size_t n = 0;
    for (size_t i = 0; i < N_TIMERS; i++) {
        n += b->at_ms[i] != UINT64_MAX ? 1 : 0;
    }
    return n;
}

static void arm(struct bench *b, size_t i, uint64_t at_ms)
{
    wheel_arm(&b->wheel, &b->timers[i], at_ms);
    b->at_ms[i] = at_ms == UINT64_MAX || at_ms > b->wheel.now_ms ? at_ms : b->wheel.now_ms;
}

/* Takes what is due and compares: nothing early, nothing twice, nothing left, in order. */
static void take_due(struct bench *b)
{
    uint64_t last = 0;
    struct timer *t = NULL;
    while ((t = wheel_next(&b->wheel)) != NULL) {
        size_t i = (size_t)(t - b->timers);
        assert_true(b->at_ms[i] <= b->wheel.now_ms);
        assert_true(b->at_ms[i] >= last);
        last = b->at_ms[i];
        b->at_ms[i] = UINT64_MAX;
    }
    uint64_t earliest = model_earliest(b);
    assert_true(earliest > b->wheel.now_ms);
    assert_true(b->wheel.n_armed == model_armed(b));
    uint64_t deadline = wheel_deadline(&b->wheel);
    assert_true(deadline <= earliest);
    assert_true((deadline == UINT64_MAX) == (earliest == UINT64_MAX));
    assert_true(deadline > b->wheel.now_ms); /* a driver that sleeps until then gets on */
}

static uint64_t random_span(struct bench *b)
{
    return random_u64(&b->random) >> random_below(&b->random, 64);
}

/* Stops one before "never". */
static uint64_t saturating_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - 1 - b ? UINT64_MAX - 1 : a + b;
}

static void random_steps(uint64_t start_ms, uint64_t seed, unsigned smallest_jump_bits)
{
    static struct bench b;
    bench_init(&b, start_ms, seed);
    for (size_t step = 0; step < N_STEPS; step++) {
        size_t i = random_below(&b.random, N_TIMERS);
        uint64_t now = b.wheel.now_ms;
        uint64_t span = random_span(&b);
        switch (random_below(&b.random, 8)) {
        case 0:
            wheel_cancel(&b.wheel, &b.timers[i]);
            b.at_ms[i] = UINT64_MAX;
            break;
        case 1:
            arm(&b, i, now > span ? now - span : 0); /* the past */
            break;
        case 2:
            wheel_advance(&b.wheel, saturating_add(now, span >> smallest_jump_bits));
            take_due(&b);
            break;
        case 3:
            wheel_advance(&b.wheel, wheel_deadline(&b.wheel) != UINT64_MAX
                                        ? wheel_deadline(&b.wheel)
                                        : saturating_add(now, 1));
            take_due(&b);
            break;
        default:
            arm(&b, i, saturating_add(now, span));
            break;
        }
        assert_true(wheel_deadline(&b.wheel) <= model_earliest(&b));
    }
}

static void agrees_with_a_model(void **state)
{
    (void)state;
    random_steps(1, 1, 40);
    random_steps(0, 2, 52);
    random_steps(UINT64_C(1) << 20, 3, 30);
    random_steps((UINT64_C(1) << 48) - 100, 4, 44);
    random_steps((UINT64_C(5) << 48) - 3, 5, 8);
    random_steps(UINT64_MAX - 100000, 6, 56);
}

static void fires_at_its_millisecond(void **state)
{
    (void)state;
    static struct wheel w;
    for (unsigned bit = 0; bit < 64; bit++) {
        struct timer t = {0};
        uint64_t at_ms = (UINT64_C(1) << bit) + (bit > 8 ? 77 : 0);
        wheel_init(&w, 0);
        wheel_arm(&w, &t, at_ms);
        wheel_advance(&w, at_ms - 1);
        assert_null(wheel_next(&w));
        wheel_advance(&w, at_ms);
        assert_ptr_equal(wheel_next(&w), &t);
        assert_null(wheel_next(&w));
        assert_int_equal(w.n_armed, 0);
    }
}

static void sleeping_until_the_deadline_is_exact(void **state)
{
    (void)state;
    static struct wheel w;
    struct timer t = {0};
    wheel_init(&w, 1000);
    wheel_arm(&w, &t, 123456789);
    unsigned n_wakes = 0;
    while (wheel_next(&w) == NULL) {
        assert_true(wheel_deadline(&w) <= 123456789);
        wheel_advance(&w, wheel_deadline(&w));
        n_wakes++;
    }
    assert_int_equal(w.now_ms, 123456789);
    assert_true(n_wakes <= WHEEL_LEVELS);
}

static void past_and_now_are_due_at_once(void **state)
{
    (void)state;
    static struct wheel w;
    struct timer past = {0};
    struct timer now = {0};
    wheel_init(&w, 500);
    wheel_arm(&w, &past, 3);
    wheel_arm(&w, &now, 500);
    assert_true(wheel_deadline(&w) <= 500);
    assert_ptr_equal(wheel_next(&w), &past);
    assert_ptr_equal(wheel_next(&w), &now);
    assert_true(wheel_deadline(&w) == UINT64_MAX);
}

static void never_means_disarmed(void **state)
{
    (void)state;
    static struct wheel w;
    struct timer t = {0};
    wheel_init(&w, 1);
    wheel_arm(&w, &t, 10);
    wheel_arm(&w, &t, UINT64_MAX);
    assert_int_equal(w.n_armed, 0);
    assert_true(wheel_deadline(&w) == UINT64_MAX);
    wheel_advance(&w, UINT64_MAX);
    assert_null(wheel_next(&w));
    wheel_arm(&w, &t, UINT64_MAX - 1);
    assert_ptr_equal(wheel_next(&w), &t);
}

static void time_never_goes_back(void **state)
{
    (void)state;
    static struct wheel w;
    struct timer t = {0};
    wheel_init(&w, 1000);
    wheel_arm(&w, &t, 1010);
    wheel_advance(&w, 5);
    assert_int_equal(w.now_ms, 1000);
    wheel_advance(&w, 1010);
    assert_ptr_equal(wheel_next(&w), &t);
}

static void cancel_works_in_every_state(void **state)
{
    (void)state;
    static struct wheel w;
    struct timer t = {0};
    wheel_init(&w, 10);
    wheel_cancel(&w, &t); /* idle */
    wheel_arm(&w, &t, 20);
    wheel_cancel(&w, &t); /* armed */
    wheel_advance(&w, 30);
    assert_null(wheel_next(&w));
    wheel_arm(&w, &t, 5);
    wheel_cancel(&w, &t); /* due */
    assert_null(wheel_next(&w));
    wheel_arm(&w, &t, 40);
    wheel_arm(&w, &t, 70); /* moved later */
    wheel_advance(&w, 69);
    assert_null(wheel_next(&w));
    wheel_advance(&w, 70);
    assert_ptr_equal(wheel_next(&w), &t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_model),
        cmocka_unit_test(fires_at_its_millisecond),
        cmocka_unit_test(sleeping_until_the_deadline_is_exact),
        cmocka_unit_test(past_and_now_are_due_at_once),
        cmocka_unit_test(never_means_disarmed),
        cmocka_unit_test(time_never_goes_back),
        cmocka_unit_test(cancel_works_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "engine/coap_dedup.h"

static enum err add(struct coap_dedup *d, const struct coap_limits *limits, uint16_t mid,
                    uint64_t now_ms)
{
    return coap_dedup_add(d, limits, mid, COAP_SEEN_OPEN, 1000, now_ms);
}

static void remembers_and_forgets(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    assert_true(coap_dedup_deadline(&d) == UINT64_MAX);
    assert_null(coap_dedup_find(&d, 1, 0));
    assert_int_equal(add(&d, &limits, 1, 0), OK);
    assert_non_null(coap_dedup_find(&d, 1, 0));
    assert_non_null(coap_dedup_find(&d, 1, 1000)); /* never too early */
    assert_null(coap_dedup_find(&d, 1, 1000 + 2 * COAP_DEDUP_TICK_MS));
    assert_null(coap_dedup_find(&d, 2, 0));
    uint64_t at_ms = coap_dedup_deadline(&d);
    coap_dedup_sweep(&d, at_ms);
    assert_null(d.all);
}

static void limit_of_entries(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    limits.dedup_entries = 100;
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    for (uint16_t mid = 0; mid < 100; mid++) {
        assert_int_equal(add(&d, &limits, mid, mid), OK);
    }
    assert_int_equal(add(&d, &limits, 100, 100), ERR_LIMIT);
    for (uint16_t mid = 0; mid < 100; mid++) {
        assert_non_null(coap_dedup_find(&d, mid, 100));
    }
    /* What has expired makes room. */
    assert_int_equal(add(&d, &limits, 100, 1200), OK);
    assert_non_null(coap_dedup_find(&d, 100, 1200));
}

static void kept_answers(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    limits.dedup_bytes = 10;
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    for (uint16_t mid = 1; mid <= 3; mid++) {
        assert_int_equal(add(&d, &limits, mid, 0), OK);
        coap_dedup_keep(&d, &limits, coap_dedup_find(&d, mid, 0), slice_text("12345"));
    }
    assert_int_equal(coap_dedup_find(&d, 1, 0)->state, COAP_SEEN_LOST);
    assert_int_equal(coap_dedup_find(&d, 2, 0)->state, COAP_SEEN_KEPT);
    assert_true(slice_is(coap_dedup_kept(&d, 3), "12345"));
    assert_int_equal(add(&d, &limits, 4, 0), OK);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 4, 0), slice_text("12345678901"));
    assert_int_equal(coap_dedup_find(&d, 4, 0)->state, COAP_SEEN_LOST);
    assert_int_equal(coap_dedup_find(&d, 2, 0)->state, COAP_SEEN_KEPT);
    assert_true(slice_is(coap_dedup_kept(&d, 2), "12345"));
    assert_int_equal(coap_dedup_shed(&d), 2);
    assert_int_equal(coap_dedup_find(&d, 2, 0)->state, COAP_SEEN_LOST);
    assert_int_equal(coap_dedup_kept(&d, 2).n, 0);

    mem_fail_after(0);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 4, 0), slice_text("1"));
    assert_int_equal(mem_fail_after(-1), 1);
    assert_int_equal(coap_dedup_find(&d, 4, 0)->state, COAP_SEEN_LOST);
}

/* Many answers of one byte: what stands before each does not make it more than a little. */
static void small_answers_have_a_bound(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    for (uint16_t mid = 0; mid < 4000; mid++) {
        assert_int_equal(add(&d, &limits, mid, 0), OK);
        coap_dedup_keep(&d, &limits, coap_dedup_find(&d, mid, 0), slice_text("1"));
        assert_true(slice_is(coap_dedup_kept(&d, mid), "1"));
        assert_true(d.all->kept_cap <= 2 * limits.dedup_bytes);
    }
    assert_int_equal(coap_dedup_find(&d, 0, 0)->state, COAP_SEEN_LOST);
    assert_true(coap_dedup_bytes(&d) < 5000 * 2 * sizeof(struct coap_seen) + d.all->kept_cap);
}

/* What it must do, done plainly: the oldest answers go, all else is as it was said. */
struct model {
    uint64_t until_ms[1 << 16];
    uint8_t answers[1 << 16]; /* the first byte of the answer; 0: none was kept */
};

static void check_model(struct coap_dedup *d, const struct model *m, uint16_t mid, uint64_t now_ms)
{
    struct coap_seen *s = coap_dedup_find(d, mid, now_ms);
    bool is_live = m->until_ms[mid] > now_ms;
    if (is_live) {
        assert_non_null(s);
    } else if (now_ms >= m->until_ms[mid] + 2 * COAP_DEDUP_TICK_MS) {
        assert_null(s);
    }
    if (s != NULL && s->state == COAP_SEEN_KEPT) {
        struct slice answer = coap_dedup_kept(d, mid);
        assert_true(answer.n > 0);
        assert_int_equal(answer.p[0], m->answers[mid]);
        assert_int_equal(answer.p[answer.n - 1], m->answers[mid]);
    }
}

/* n message ids out of `span`, in steps of `step`, which decides how they lie in the table. */
static void play(struct model *m, uint64_t seed, uint32_t span, uint16_t step)
{
    struct random_source random = random_seeded(&seed);
    struct coap_limits limits = coap_limits_default();
    limits.dedup_entries = 700;
    limits.dedup_bytes = 2000;
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    *m = (struct model){.until_ms = {0}};
    uint64_t now_ms = 1000;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t draw = random_u64(&random);
        uint16_t mid = (uint16_t)((draw >> 32) % span * step);
        now_ms += draw % 7;
        check_model(&d, m, mid, now_ms);
        if (coap_dedup_find(&d, mid, now_ms) != NULL) {
            continue;
        }
        uint32_t lifetime_ms = draw % 3 == 0 ? 900 : 1700;
        enum err err = coap_dedup_add(&d, &limits, mid, COAP_SEEN_OPEN, lifetime_ms, now_ms);
        assert_int_equal(err, OK); /* never so many at a time */
        m->until_ms[mid] = now_ms + lifetime_ms;
        uint8_t answer[300];
        size_t n = 1 + (draw >> 8) % sizeof(answer);
        m->answers[mid] = (uint8_t)(draw >> 16);
        memset(answer, m->answers[mid], n);
        coap_dedup_keep(&d, &limits, coap_dedup_find(&d, mid, now_ms), slice_of(answer, n));
        assert_int_equal(coap_dedup_find(&d, mid, now_ms)->state, COAP_SEEN_KEPT);
        check_model(&d, m, mid, now_ms);
        assert_true(d.all->kept_bytes <= limits.dedup_bytes);
        if (draw % 101 == 0) {
            coap_dedup_sweep(&d, now_ms);
        }
    }
    for (uint32_t i = 0; i < span; i++) {
        check_model(&d, m, (uint16_t)(i * step), now_ms);
    }
    coap_dedup_sweep(&d, now_ms + 2000);
    assert_int_equal(coap_dedup_bytes(&d), 0);
}

static void as_a_plain_model(void **state)
{
    (void)state;
    static const uint16_t steps[] = {1,    2,     256,
                                     4096, 40503, 30599}; /* the last: all side by side */
    struct model *m = mem_alloc(sizeof(*m));
    assert_non_null(m);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        play(m, i + 1, 600, steps[i]);
    }
    mem_free(m);
}

/* A client at full speed costs no memory but what it has. */
static void takes_no_memory_for_each(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    char answer[161] = {0};
    memset(answer, 'a', sizeof(answer) - 1);
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    unsigned n_taken = 0;
    for (uint16_t mid = 0; mid < 8000; mid++) {
        size_t before = coap_dedup_bytes(&d);
        mem_fail_after(-1);
        assert_int_equal(add(&d, &limits, mid, 0), OK);
        coap_dedup_keep(&d, &limits, coap_dedup_find(&d, mid, 0), slice_text(answer));
        n_taken += coap_dedup_bytes(&d) != before ? 1 : 0;
    }
    assert_true(n_taken <= 24); /* two tables that double */
    mem_fail_after(0);
    assert_int_equal(add(&d, &limits, 8001, 0), OK);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 8001, 0), slice_text(answer));
    assert_int_equal(mem_fail_after(-1), 0);
}

/* An id that comes back after its lifetime must not get the old answer. */
static void id_comes_back(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    assert_int_equal(add(&d, &limits, 1, 0), OK);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 1, 0), slice_text("old"));
    assert_int_equal(add(&d, &limits, 2, 900), OK);
    assert_int_equal(add(&d, &limits, 1, 1500), OK);
    coap_dedup_keep(&d, &limits, coap_dedup_find(&d, 1, 1500), slice_text("new"));
    assert_true(slice_is(coap_dedup_kept(&d, 1), "new"));
    assert_int_equal(d.all->kept_bytes, 3);
    coap_dedup_sweep(&d, 2000);
    assert_true(slice_is(coap_dedup_kept(&d, 1), "new"));
}

static void no_memory(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    AUTO(coap_dedup_done) struct coap_dedup d;
    coap_dedup_init(&d);
    mem_fail_after(0);
    assert_int_equal(add(&d, &limits, 1, 0), ERR_NOMEM);
    mem_fail_after(-1);
    assert_null(coap_dedup_find(&d, 1, 0));
    assert_int_equal(add(&d, &limits, 1, 0), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_and_forgets), cmocka_unit_test(limit_of_entries),
        cmocka_unit_test(kept_answers),          cmocka_unit_test(small_answers_have_a_bound),
        cmocka_unit_test(as_a_plain_model),      cmocka_unit_test(takes_no_memory_for_each),
        cmocka_unit_test(id_comes_back),         cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "core/match_cache.h"

static const struct siphash_key KEY = {.k0 = 1, .k1 = 2};

/* Who keeps only stores them: numbers do as filters. */
static struct filter *filter(uintptr_t n)
{
    return (struct filter *)n;
}

static struct match_cache *fresh(void)
{
    struct match_cache *c = mem_zalloc(sizeof(*c));
    assert_non_null(c);
    match_cache_init(c, &KEY);
    return c;
}

static void keep(struct match_cache *c, const char *topic, uintptr_t n)
{
    struct filter *one = filter(n);
    match_cache_keep(c, slice_text(topic), &one, 1);
}

static uintptr_t found(const struct match_cache *c, const char *topic)
{
    const struct match_place *place = match_cache_find(c, slice_text(topic));
    return place != NULL ? (uintptr_t)place->filters[0] : 0;
}

static void test_second_time(void **state)
{
    (void)state;
    struct match_cache *c = fresh();
    assert_int_equal(found(c, "a/b"), 0);
    keep(c, "a/b", 7);
    assert_int_equal(found(c, "a/b"), 0); /* it may never come again */
    keep(c, "a/b", 7);
    assert_int_equal(found(c, "a/b"), 7);
    assert_int_equal(found(c, "a/c"), 0);
    assert_int_equal(found(c, "a"), 0);
    match_cache_forget(c);
    assert_int_equal(found(c, "a/b"), 0);
    keep(c, "a/b", 8); /* its place is still its own */
    assert_int_equal(found(c, "a/b"), 8);
    mem_free(c);
}

/* Topics that differ where the hash does not look share a place and a hash, and are told apart. */
static void test_same_hash(void **state)
{
    (void)state;
    struct match_cache *c = fresh();
    char a[] = "sensors/hall-1/meter-0001/kitchen/temperature", b[sizeof(a)];
    size_t n_alike = 0;
    for (size_t i = 0; i + 1 < sizeof(a); i++) {
        match_cache_forget(c);
        keep(c, a, 1);
        keep(c, a, 1);
        assert_int_equal(found(c, a), 1);
        memcpy(b, a, sizeof(a));
        b[i] = '~';
        assert_int_equal(found(c, b), 0);
        keep(c, b, 2);
        n_alike += found(c, b) == 2 ? 1 : 0; /* at once: it had the hash of the other */
        keep(c, b, 2);
        assert_int_equal(found(c, b), 2);
        assert_true(found(c, a) == 0 || found(c, a) == 1);
    }
    assert_true(n_alike > 0);
    mem_free(c);
}

static void test_limits(void **state)
{
    (void)state;
    struct match_cache *c = fresh();
    struct filter *many[MATCH_CACHE_FILTERS + 1] = {filter(1), filter(2), filter(3), filter(4),
                                                    filter(5)};
    for (size_t n = 0; n <= MATCH_CACHE_FILTERS + 1; n++) {
        char topic[8];
        (void)snprintf(topic, sizeof(topic), "t/%zu", n);
        match_cache_keep(c, slice_text(topic), many, n);
        match_cache_keep(c, slice_text(topic), many, n);
        const struct match_place *place = match_cache_find(c, slice_text(topic));
        assert_int_equal(place != NULL, n <= MATCH_CACHE_FILTERS);
        assert_true(place == NULL || place->n_filters == n);
        for (size_t i = 0; place != NULL && i < n; i++) {
            assert_ptr_equal(place->filters[i], many[i]);
        }
    }
    char topic[MATCH_CACHE_TOPIC_BYTES + 2];
    memset(topic, 'x', sizeof(topic));
    for (size_t n = 1; n <= MATCH_CACHE_TOPIC_BYTES + 1; n++) {
        struct slice s = slice_of(topic, n);
        match_cache_keep(c, s, many, 1);
        match_cache_keep(c, s, many, 1);
        assert_int_equal(match_cache_find(c, s) != NULL, n <= MATCH_CACHE_TOPIC_BYTES);
    }
    mem_free(c);
}

/* More topics than places: whatever is found was kept for that very topic since the last change. */
static void test_crowd(void **state)
{
    (void)state;
    enum { TOPICS = MATCH_CACHE_PLACES * 4, STEPS = 100000 };
    static uintptr_t kept[TOPICS];
    struct match_cache *c = fresh();
    uint64_t seed = 1;
    size_t n_found = 0;
    for (uintptr_t step = 1; step < STEPS; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        size_t t = (size_t)(seed >> 33) % TOPICS / (step % 3 + 1);
        char topic[32];
        (void)snprintf(topic, sizeof(topic), "fleet/meter-%zu/state", t);
        if (step % 5000 == 0) {
            match_cache_forget(c);
            memset(kept, 0, sizeof(kept));
        }
        uintptr_t seen = found(c, topic);
        assert_true(seen == 0 || seen == kept[t]);
        n_found += seen != 0 ? 1 : 0;
        if (seen == 0) {
            keep(c, topic, step);
            kept[t] = step;
        }
    }
    assert_true(n_found > 0);
    mem_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_second_time),
        cmocka_unit_test(test_same_hash),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/coap_cache.h"

static const struct siphash_key map_key = {1, 2};

struct fixture {
    struct coap_cache cache;
};

static void open_fixture(struct fixture *f, uint32_t entries, uint32_t owner_entries)
{
    struct coap_cache_limits limits = {
        .entries = entries, .owner_entries = owner_entries, .bytes = 100000, .owner_bytes = 50000};
    coap_cache_init(&f->cache, &limits, &map_key);
}

static void put(struct fixture *f, uint64_t owner, const char *key, const char *payload)
{
    static const uint8_t etag[] = {0x42, 'e', '1'};
    coap_cache_put(&f->cache, owner, slice_text(key), 7, slice_of(etag, sizeof(etag)),
                   slice_text(payload), 1000);
}

static const char *get(struct fixture *f, uint64_t owner, const char *key)
{
    static char text[64];
    struct coap_cached *e = coap_cache_find(&f->cache, owner, slice_text(key));
    return e != NULL && slice_to_text(e->payload, text, sizeof(text)) ? text : NULL;
}

static void test_an_answer_is_its_owners_alone(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 8, 8);
    put(&f, 1, "a", "mine");
    assert_string_equal(get(&f, 1, "a"), "mine");
    assert_null(get(&f, 2, "a"));
    assert_null(get(&f, 1, "b"));
    put(&f, 2, "a", "theirs");
    assert_string_equal(get(&f, 1, "a"), "mine");
    assert_string_equal(get(&f, 2, "a"), "theirs");
    put(&f, 1, "a", "newer");
    assert_string_equal(get(&f, 1, "a"), "newer");
    assert_int_equal(f.cache.by_key.n, 2);
    assert_true(slice_is(coap_cache_find(&f.cache, 1, slice_text("a"))->etag, "e1"));
    coap_cache_drop(&f.cache, 1, slice_text("a"));
    assert_null(get(&f, 1, "a"));
    coap_cache_done(&f.cache);
    assert_int_equal(f.cache.bytes, 0);
}

static void test_a_change_makes_all_of_it_old(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 8, 8);
    put(&f, 1, "a", "x");
    put(&f, 2, "a", "x");
    coap_cache_put(&f.cache, 1, slice_text("b"), 8, (struct slice){0}, slice_text("y"), 1000);
    coap_cache_changed(&f.cache, 7);
    assert_null(get(&f, 1, "a"));
    assert_null(get(&f, 2, "a"));
    assert_string_equal(get(&f, 1, "b"), "y");
    assert_int_equal(coap_cache_shed(&f.cache), 1);
    coap_cache_done(&f.cache);
}

static void test_an_owner_makes_room_by_its_own(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 8, 2);
    put(&f, 2, "other", "stays");
    put(&f, 1, "a", "1");
    put(&f, 1, "b", "2"); /* at the bound */
    assert_string_equal(get(&f, 1, "a"), "1");
    put(&f, 1, "c", "3"); /* over it: b was used longest ago */
    assert_null(get(&f, 1, "b"));
    assert_string_equal(get(&f, 1, "a"), "1");
    assert_string_equal(get(&f, 1, "c"), "3");
    assert_string_equal(get(&f, 2, "other"), "stays");
    coap_cache_done(&f.cache);
}

static void test_all_together_are_bounded(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 2, 2);
    put(&f, 1, "a", "1");
    put(&f, 2, "a", "2");
    put(&f, 3, "a", "3");
    assert_null(get(&f, 1, "a"));
    assert_string_equal(get(&f, 3, "a"), "3");
    assert_int_equal(f.cache.by_key.n, 2);
    coap_cache_done(&f.cache);
}

static void test_what_is_too_large_is_not_kept(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 8, 8);
    put(&f, 1, "a", "");
    size_t bare = (size_t)f.cache.bytes;
    coap_cache_done(&f.cache);
    for (size_t more = 3; more <= 5; more++) {
        struct coap_cache_limits limits = {
            .entries = 8, .owner_entries = 8, .bytes = 100000, .owner_bytes = bare + 4};
        char text[8] = "xxxxxxx";
        text[more] = '\0';
        coap_cache_init(&f.cache, &limits, &map_key);
        put(&f, 1, "a", text);
        assert_int_equal(f.cache.by_key.n, more <= 4 ? 1 : 0);
        coap_cache_done(&f.cache);
    }
}

static void test_without_memory_nothing_is_kept(void **state)
{
    (void)state;
    for (long at = 0; at < 8; at++) {
        struct fixture f;
        open_fixture(&f, 8, 8);
        (void)mem_fail_after(at);
        put(&f, 1, "a", "1");
        (void)mem_fail_after(-1);
        assert_true(f.cache.by_key.n <= 1);
        assert_int_equal(f.cache.by_key.n == 0, f.cache.bytes == 0);
        put(&f, 1, "a", "2");
        assert_string_equal(get(&f, 1, "a"), "2");
        coap_cache_done(&f.cache);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_is_its_owners_alone),
        cmocka_unit_test(test_a_change_makes_all_of_it_old),
        cmocka_unit_test(test_an_owner_makes_room_by_its_own),
        cmocka_unit_test(test_all_together_are_bounded),
        cmocka_unit_test(test_what_is_too_large_is_not_kept),
        cmocka_unit_test(test_without_memory_nothing_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/scope.h"

enum { N_NAMES = 600, NAME_BYTES = 12 };

struct item {
    char name[NAME_BYTES];
    size_t n_name;
    bool is_in; /* the model */
};

static const struct siphash_key map_key = {1, 2};

static struct slice item_key(const void *value)
{
    const struct item *item = value;
    return slice_of(item->name, item->n_name);
}

static void name_items(struct item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        items[i] = (struct item){0};
        items[i].n_name = (size_t)snprintf(items[i].name, NAME_BYTES, "dev/%zu", i);
    }
    items[0].n_name = 0; /* the empty key is a key */
}

static void compare(const struct map *m, const struct item *items, size_t n)
{
    size_t n_in = 0;
    for (size_t i = 0; i < n; i++) {
        const void *found = map_find(m, item_key(&items[i]));
        assert_ptr_equal(found, items[i].is_in ? &items[i] : NULL);
        n_in += items[i].is_in ? 1 : 0;
    }
    assert_int_equal(m->n, n_in);
    size_t n_walked = 0;
    for (size_t at = 0; map_next(m, &at) != NULL;) {
        n_walked++;
    }
    assert_int_equal(n_walked, n_in);
    size_t n_tombs = 0;
    for (size_t i = 0; i < m->n_slots; i++) {
        n_tombs += m->slots[i].value == NULL && m->slots[i].hash != 0 ? 1 : 0;
    }
    assert_int_equal(n_tombs, m->n_tombs);
}

static void agrees_with_a_model(void **state)
{
    (void)state;
    static struct item items[N_NAMES];
    name_items(items, N_NAMES);
    uint64_t seed = 7;
    struct random_source random = random_seeded(&seed);
    AUTO(map_done) struct map m = {0};
    map_init(&m, &map_key, item_key);
    for (size_t step = 0; step < 60000; step++) {
        /* The window of names in use grows and shrinks, so that tombs and growth meet. */
        struct item *item = &items[random_below(&random, 1 + step / 100 % N_NAMES)];
        if (random_below(&random, 2) == 0) {
            enum err e = map_add(&m, item);
            assert_int_equal(e, item->is_in ? ERR_EXISTS : OK);
            item->is_in = true;
        } else {
            void *removed = map_remove(&m, item_key(item));
            assert_ptr_equal(removed, item->is_in ? item : NULL);
            item->is_in = false;
        }
        assert_true(m.n_slots == 0 ? m.n <= 1 : m.n + m.n_tombs <= m.n_slots - m.n_slots / 4);
        if (step % 500 == 0) {
            compare(&m, items, N_NAMES);
        }
    }
    compare(&m, items, N_NAMES);
}

static void churn_does_not_grow_the_table(void **state)
{
    (void)state;
    struct item items[4];
    name_items(items, COUNT_OF(items));
    AUTO(map_done) struct map m = {0};
    map_init(&m, &map_key, item_key);
    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(map_add(&m, &items[i % 4]), OK);
        assert_ptr_equal(map_remove(&m, item_key(&items[i % 4])), &items[i % 4]);
    }
    assert_int_equal(m.n_slots, 0);
    assert_int_equal(map_add(&m, &items[0]), OK);
    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(map_add(&m, &items[1 + i % 3]), OK);
        assert_ptr_equal(map_remove(&m, item_key(&items[1 + i % 3])), &items[1 + i % 3]);
    }
    assert_int_equal(m.n_slots, 4);
    assert_int_equal(m.n, 1);
}

/* No memory is asked for it, so none can be missing; a second one that finds none changes nothing.
 */
static void the_first_value_needs_no_memory(void **state)
{
    struct item items[2];
    (void)state;
    name_items(items, COUNT_OF(items));
    AUTO(map_done) struct map m = {0};
    map_init(&m, &map_key, item_key);
    (void)mem_fail_after(0);
    assert_int_equal(map_add(&m, &items[0]), OK);
    assert_int_equal(map_add(&m, &items[0]), ERR_EXISTS);
    assert_int_equal(map_add(&m, &items[1]), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    items[0].is_in = true;
    items[1].is_in = false;
    compare(&m, items, COUNT_OF(items));
    assert_int_equal(map_add(&m, &items[1]), OK);
    items[1].is_in = true;
    compare(&m, items, COUNT_OF(items));
}

/* Nearly empty it becomes small, without memory for that it stays, and it answers all the time. */
static void a_table_that_was_large_fits_again(void **state)
{
    static struct item items[20000];
    struct map m;
    (void)state;
    name_items(items, COUNT_OF(items));
    map_init(&m, &map_key, item_key);
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        assert_int_equal(map_add(&m, &items[i]), OK);
    }
    size_t large = m.n_slots;
    map_fit(&m);
    assert_int_equal(m.n_slots, large);
    for (size_t i = 10; i < COUNT_OF(items); i++) {
        assert_ptr_equal(map_remove(&m, item_key(&items[i])), &items[i]);
    }
    (void)mem_fail_after(0);
    map_fit(&m);
    mem_fail_after(-1);
    assert_int_equal(m.n_slots, large);
    map_fit(&m);
    assert_true(m.n_slots <= 64 && m.n == 10);
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        assert_ptr_equal(map_find(&m, item_key(&items[i])), i < 10 ? &items[i] : NULL);
    }
    map_done(&m);
}

static void walking_allows_removing(void **state)
{
    (void)state;
    static struct item items[100];
    name_items(items, COUNT_OF(items));
    AUTO(map_done) struct map m = {0};
    map_init(&m, &map_key, item_key);
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        assert_int_equal(map_add(&m, &items[i]), OK);
    }
    size_t n = 0;
    struct item *item = NULL;
    for (size_t at = 0; (item = map_next(&m, &at)) != NULL; n++) {
        assert_ptr_equal(map_remove(&m, item_key(item)), item);
    }
    assert_int_equal(n, COUNT_OF(items));
    assert_int_equal(m.n, 0);
    assert_int_equal(m.n_tombs, 0);
}

static void no_memory_changes_nothing(void **state)
{
    (void)state;
    static struct item items[200];
    name_items(items, COUNT_OF(items));
    AUTO(map_done) struct map m = {0};
    map_init(&m, &map_key, item_key);
    size_t n_failures = 0;
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        (void)mem_fail_after(0);
        enum err e = map_add(&m, &items[i]);
        if (mem_fail_after(-1) != 0) {
            n_failures++;
            assert_int_equal(e, ERR_NOMEM);
            compare(&m, items, COUNT_OF(items));
            assert_int_equal(map_add(&m, &items[i]), OK);
        } else {
            assert_int_equal(e, OK);
        }
        items[i].is_in = true;
    }
    assert_true(n_failures >= 5);
    compare(&m, items, COUNT_OF(items));
}

static void an_empty_map_answers(void **state)
{
    (void)state;
    AUTO(map_done) struct map m = {0};
    map_init(&m, &map_key, item_key);
    size_t at = 0;
    assert_null(map_find(&m, slice_text("x")));
    assert_null(map_remove(&m, slice_text("x")));
    assert_null(map_next(&m, &at));
    map_done(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_model),
        cmocka_unit_test(churn_does_not_grow_the_table),
        cmocka_unit_test(the_first_value_needs_no_memory),
        cmocka_unit_test(a_table_that_was_large_fits_again),
        cmocka_unit_test(walking_allows_removing),
        cmocka_unit_test(no_memory_changes_nothing),
        cmocka_unit_test(an_empty_map_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

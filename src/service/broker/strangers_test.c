#include "service/broker/strangers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"

enum { MAX = 16, STEPS = 20000, NETWORKS = 5 };

static const struct siphash_key key = {3, 4};

static struct net_prefix network(uint8_t n)
{
    return (struct net_prefix){.bytes = {n}};
}

static struct strangers pool(void)
{
    struct strangers s = {0};
    assert_int_equal(strangers_init(&s, &key, MAX), OK);
    return s;
}

static void add(struct strangers *s, struct stranger *m, uint8_t from)
{
    struct net_prefix p = network(from);
    assert_int_equal(strangers_add(s, m, &p), OK);
}

static void empty(struct strangers *s, struct stranger *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        strangers_remove(s, &m[i]);
    }
    assert_int_equal(s->n, 0);
    assert_int_equal(s->groups.n, 0);
    strangers_done(s);
}

static void at_under_and_over(void **state)
{
    (void)state;
    struct strangers s = pool();
    struct stranger m[MAX + 1] = {0};
    for (size_t i = 0; i < MAX; i++) {
        assert_null(strangers_victim(&s));
        add(&s, &m[i], (uint8_t)i);
    }
    struct net_prefix p = network(200);
    assert_int_equal(strangers_add(&s, &m[MAX], &p), ERR_LIMIT);
    assert_ptr_equal(strangers_victim(&s), &m[0]); /* all equal: the oldest */
    strangers_remove(&s, &m[0]);
    strangers_remove(&s, &m[0]); /* fine again */
    assert_null(strangers_victim(&s));
    add(&s, &m[MAX], 200);
    empty(&s, m, MAX + 1);
}

static void the_largest_network_pays(void **state)
{
    (void)state;
    struct strangers s = pool();
    struct stranger m[MAX] = {0};
    add(&s, &m[0], 1); /* the oldest of all is innocent */
    for (size_t i = 1; i < MAX; i++) {
        add(&s, &m[i], i % 3 == 0 ? 3 : 2);
    }
    assert_ptr_equal(strangers_victim(&s), &m[1]);
    for (size_t i = 1; i < MAX; i++) {
        if (i % 3 != 0) {
            strangers_remove(&s, &m[i]);
        }
    }
    for (size_t i = 1; i < MAX; i++) {
        if (i % 3 != 0) {
            add(&s, &m[i], (uint8_t)(100 + i));
        }
    }
    assert_ptr_equal(strangers_victim(&s), &m[3]);
    empty(&s, m, MAX);
}

/* Against a slow model. */
static void any_order(void **state)
{
    (void)state;
    uint64_t seed = 5;
    struct random_source random = random_seeded(&seed);
    struct strangers s = pool();
    struct stranger m[MAX] = {0};
    uint64_t added_at[MAX] = {0}; /* 0: not in */
    uint8_t from[MAX] = {0};
    for (uint64_t step = 1; step < STEPS; step++) {
        size_t i = random_below(&random, MAX);
        if (added_at[i] != 0 && random_below(&random, 8) == 0) {
            strangers_remove(&s, &m[i]);
            added_at[i] = 0;
        } else if (added_at[i] == 0) {
            from[i] = (uint8_t)random_below(&random, NETWORKS);
            add(&s, &m[i], from[i]);
            added_at[i] = step;
        }
        size_t count[NETWORKS] = {0}, most = 0, n = 0;
        for (size_t k = 0; k < MAX; k++) {
            n += added_at[k] != 0;
            count[from[k]] += added_at[k] != 0;
        }
        for (size_t k = 0; k < NETWORKS; k++) {
            most = count[k] > most ? count[k] : most;
        }
        assert_int_equal(s.n, n);
        assert_int_equal(s.largest, most);
        struct net_prefix p = network(from[i]);
        assert_int_equal(strangers_count(&s, &p), count[from[i]]);
        const struct stranger *victim = strangers_victim(&s);
        assert_int_equal(victim != NULL, n == MAX);
        if (victim != NULL) {
            size_t v = (size_t)(victim - m);
            assert_int_equal(count[from[v]], most);
            for (size_t k = 0; k < MAX; k++) {
                assert_true(from[k] != from[v] || added_at[k] >= added_at[v]);
            }
        }
    }
    empty(&s, m, MAX);
}

/* Who is over a smaller pool goes one by one; a larger one keeps the order. */
static void a_pool_that_changes(void **state)
{
    (void)state;
    struct strangers s = pool();
    struct stranger m[2 * MAX] = {0};
    for (size_t i = 0; i < MAX; i++) {
        add(&s, &m[i], i < 6 ? 1 : (uint8_t)(2 + i));
    }
    assert_int_equal(strangers_set_max(&s, 4), OK);
    struct net_prefix p = network(200);
    assert_int_equal(strangers_add(&s, &m[MAX], &p), ERR_LIMIT);
    for (size_t i = 0; i < 5; i++) {
        assert_ptr_equal(strangers_victim(&s), &m[i]); /* of the largest network, down to one */
        strangers_remove(&s, &m[i]);
    }
    (void)mem_fail_after(0);
    assert_int_equal(strangers_set_max(&s, 2 * MAX), ERR_NOMEM);
    (void)mem_fail_after(-1);
    assert_non_null(strangers_victim(&s));
    assert_int_equal(strangers_set_max(&s, 2 * MAX), OK);
    assert_null(strangers_victim(&s));
    for (size_t i = MAX; i < 2 * MAX; i++) {
        add(&s, &m[i], 1);
    }
    for (size_t i = 0; i < 5; i++) {
        add(&s, &m[i], 250);
    }
    assert_int_equal(s.largest, MAX + 1);
    assert_ptr_equal(strangers_victim(&s), &m[5]);
    empty(&s, m, 2 * MAX);
}

static void without_memory(void **state)
{
    (void)state;
    struct strangers s = {0};
    (void)mem_fail_after(0);
    assert_int_equal(strangers_init(&s, &key, MAX), ERR_NOMEM);
    strangers_done(&s);
    s = pool();
    struct stranger m[2] = {0};
    struct net_prefix p = network(1);
    add(&s, &m[1], 2); /* the first network of a map needs no table */
    for (long n = 0; n < 2; n++) {
        (void)mem_fail_after(n);
        assert_int_equal(strangers_add(&s, &m[0], &p), ERR_NOMEM);
        assert_int_equal(mem_fail_after(-1), 1);
        assert_int_equal(s.n, 1);
    }
    add(&s, &m[0], 1);
    empty(&s, m, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_under_and_over), cmocka_unit_test(the_largest_network_pays),
        cmocka_unit_test(any_order),         cmocka_unit_test(a_pool_that_changes),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

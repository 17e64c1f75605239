/* Whose turn it is in the line of handshakes. */
#include "service/broker/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"

enum { WAITERS_MAX = 128 };

struct waiter {
    struct list_node node;
    char is; /* 'b'egun, with a 'r'esumption, 'f'ull */
};

struct crowd {
    struct line line;
    struct waiter waiters[WAITERS_MAX];
    size_t n;
};

static void come(struct crowd *c, const char *who)
{
    for (; *who != '\0'; who++) {
        struct waiter *w = &c->waiters[c->n++];
        w->is = *who;
        line_add(&c->line,
                 *who == 'b'   ? LINE_BEGUN
                 : *who == 'r' ? LINE_RESUMED
                               : LINE_FULL,
                 &w->node);
    }
}

static void crowd_open(struct crowd *c, const char *who)
{
    memset(c, 0, sizeof *c);
    line_init(&c->line);
    come(c, who);
}

static char take(struct crowd *c)
{
    size_t before = c->line.n;
    struct list_node *n = line_take(&c->line);
    if (n == NULL) {
        assert_int_equal(before, 0);
        return '\0';
    }
    assert_int_equal(c->line.n, before - 1);
    assert_false(list_is_linked(n));
    return CONTAINER_OF(n, struct waiter, node)->is;
}

static void turns(void **state)
{
    (void)state;
    static const struct {
        const char *come, *go;
    } cases[] = {
        {"", ""},
        {"f", "f"},
        {"fff", "fff"},
        {"rrr", "rrr"},
        {"frb", "brf"},
        {"ffrrbb", "bbrrff"},
        {"frrrrrrrr", "rrrrrrrrf"},   /* 8 */
        {"frrrrrrrrr", "rrrrrrrrfr"}, /* 9 */
        {"rrrrrrrrrrf", "rrrrrrrrfrr"},
        {"ffrrrrrrrrrrrrrrrrr", "rrrrrrrrfrrrrrrrrfr"},
        {"frrrrrrrrrb", "brrrrrrrrfr"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct crowd c;
        crowd_open(&c, cases[i].come);
        for (const char *go = cases[i].go; *go != '\0'; go++) {
            if (take(&c) != *go) {
                fail_msg("%s: %zu left", cases[i].come, c.line.n);
            }
        }
        assert_int_equal(take(&c), '\0');
    }
}

/* The run is counted only while somebody waits for its end, and begins anew when one was served. */
static void a_run_is_of_those_overtaken(void **state)
{
    (void)state;
    struct crowd c;
    crowd_open(&c, "rrrrrrrrrrrrrrrrrrrr");
    for (int i = 0; i < 12; i++) {
        assert_int_equal(take(&c), 'r');
    }
    come(&c, "f");
    for (int i = 0; i < LINE_RESUMED_RUN; i++) {
        assert_int_equal(take(&c), 'r');
    }
    assert_int_equal(take(&c), 'f');
}

static void in_order(void **state)
{
    (void)state;
    struct crowd c;
    crowd_open(&c, "ffff");
    for (size_t i = 0; i < 4; i++) {
        assert_ptr_equal(line_take(&c.line), &c.waiters[i].node);
    }
}

static void who_leaves(void **state)
{
    (void)state;
    struct crowd c;
    crowd_open(&c, "bfr");
    line_remove(&c.line, &c.waiters[0].node);
    line_remove(&c.line, &c.waiters[0].node);
    assert_int_equal(c.line.n, 2);
    assert_int_equal(take(&c), 'r');
    assert_int_equal(take(&c), 'f');
    assert_int_equal(take(&c), '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(turns),
                                       cmocka_unit_test(a_run_is_of_those_overtaken),
                                       cmocka_unit_test(in_order), cmocka_unit_test(who_leaves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

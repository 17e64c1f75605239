#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "core/lending.h"

enum { ROOM = 2 * 1024 * 1024 };

static const struct msg *message(size_t n, uint8_t fill)
{
    static uint8_t bytes[64 * 1024];
    struct msg *m = NULL;
    memset(bytes, fill, n);
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, slice_of(bytes, n), &m), OK);
    return m;
}

static unsigned refs(const struct msg *m)
{
    return atomic_load_explicit(&m->refs, memory_order_relaxed);
}

static struct slice output(const struct lending *l, struct slice copied, struct buf *ret)
{
    struct slice parts[LENDING_PARTS];
    size_t n = lending_parts(l, copied, parts);
    assert_in_range(n, 0, LENDING_PARTS);
    buf_clear(ret);
    for (size_t i = 0; i < n; i++) {
        assert_true(parts[i].n > 0);
        assert_int_equal(buf_append(ret, parts[i], ROOM), OK);
    }
    return buf_slice(ret);
}

/* At the least, under it, over it; without anybody who lends; and nothing of nothing. */
static void only_from_the_least_on(void **state)
{
    (void)state;
    static const struct {
        size_t least, payload;
        bool is_lent;
    } rows[] = {{LENDING_LEAST, LENDING_LEAST - 1, false},
                {LENDING_LEAST, LENDING_LEAST, true},
                {LENDING_LEAST, LENDING_LEAST + 1, true},
                {0, 0, false},
                {0, 1, true}};
    static uint8_t bytes[16];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct lending l = {.least = rows[i].least};
        struct wr w = wr_into(bytes, ROOM); /* nobody writes */
        const struct msg *m = message(rows[i].payload, 'a');
        assert_false(lending_take(NULL, m, &w));
        assert_int_equal(lending_take(&l, m, &w), rows[i].is_lent);
        assert_int_equal(refs(m), rows[i].is_lent ? 2 : 1);
        assert_int_equal(l.bytes, rows[i].is_lent ? rows[i].payload : 0);
        assert_int_equal(wr_left(&w), ROOM - l.bytes);
        lending_done(&l);
        assert_int_equal(refs(m), 1);
        assert_int_equal(l.n + l.bytes, 0);
        msg_unref(m);
    }
}

/* What is copied and what is lent fill the caller's bytes together, never more. */
static void room_is_for_both(void **state)
{
    (void)state;
    uint8_t bytes[100];
    struct lending l = {.least = 1};
    struct wr w = wr_into(bytes, sizeof(bytes));
    const struct msg *m = message(40, 'm'), *rest = message(51, 'r'), *last = message(50, 'l');
    wr_bytes(&w, slice_text("0123456789"));
    assert_true(lending_take(&l, m, &w));
    assert_false(lending_take(&l, rest, &w));
    assert_int_equal(refs(rest), 1);
    assert_true(lending_take(&l, last, &w));
    assert_int_equal(wr_left(&w), 0);
    wr_u8(&w, 0);
    assert_int_equal(w.err, ERR_SPACE);
    assert_false(lending_take(&l, m, &w)); /* nor after that */
    lending_done(&l);
    msg_unref(m);
    msg_unref(rest);
    msg_unref(last);
}

static void parts_are_in_order(void **state)
{
    (void)state;
    uint8_t bytes[100];
    AUTO(buf_done) struct buf all = {0};
    struct lending l = {.least = 3};
    struct wr w = wr_into(bytes, sizeof(bytes));
    const struct msg *a = message(3, 'a'), *b = message(4, 'b');
    assert_int_equal(output(&l, wr_slice(&w), &all).n, 0);
    assert_true(lending_take(&l, a, &w)); /* at the front, */
    wr_bytes(&w, slice_text("12"));
    assert_true(lending_take(&l, b, &w));
    assert_true(lending_take(&l, a, &w)); /* one at the other, and the same once more, */
    wr_bytes(&w, slice_text("3"));
    assert_true(slice_equal(output(&l, wr_slice(&w), &all), slice_text("aaa12bbbbaaa3")));
    assert_true(lending_take(&l, b, &w)); /* and at the end */
    assert_true(slice_equal(output(&l, wr_slice(&w), &all), slice_text("aaa12bbbbaaa3bbbb")));
    assert_int_equal(w.at + l.bytes, all.n);
    lending_done(&l);
    assert_true(slice_equal(output(&l, wr_slice(&w), &all), slice_text("123")));
    msg_unref(a);
    msg_unref(b);
}

/* Who gives a message up while it is lent does not take it away. */
static void outlives_its_owner(void **state)
{
    (void)state;
    uint8_t bytes[8];
    AUTO(buf_done) struct buf all = {0};
    uint64_t before = mem_used();
    struct lending l = {.least = 1};
    struct wr w = wr_into(bytes, sizeof(bytes));
    const struct msg *m = message(5, 'm');
    assert_true(lending_take(&l, m, &w));
    msg_unref(m);
    assert_true(mem_used() > before);
    assert_true(slice_equal(output(&l, wr_slice(&w), &all), slice_text("mmmmm")));
    lending_done(&l);
    buf_done(&all);
    assert_int_equal(mem_used(), before);
}

static void bound_of_one_send(void **state)
{
    (void)state;
    static uint8_t bytes[ROOM];
    AUTO(buf_done) struct buf all = {0};
    struct lending l = {.least = LENDING_LEAST};
    struct wr w = wr_into(bytes, sizeof(bytes));
    const struct msg *m = message(LENDING_LEAST, 'm');
    for (unsigned i = 0; i < LENDING_MAX; i++) {
        wr_u8(&w, 'h');
        assert_true(lending_take(&l, m, &w));
    }
    wr_u8(&w, 'h');
    assert_false(lending_take(&l, m, &w));
    assert_int_equal(refs(m), 1 + LENDING_MAX);
    struct slice parts[LENDING_PARTS];
    assert_int_equal(lending_parts(&l, wr_slice(&w), parts), LENDING_PARTS);
    assert_int_equal(output(&l, wr_slice(&w), &all).n,
                     (size_t)LENDING_MAX * (LENDING_LEAST + 1) + 1);
    lending_done(&l);
    assert_int_equal(refs(m), 1);
    msg_unref(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_from_the_least_on), cmocka_unit_test(room_is_for_both),
        cmocka_unit_test(parts_are_in_order),     cmocka_unit_test(outlives_its_owner),
        cmocka_unit_test(bound_of_one_send),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

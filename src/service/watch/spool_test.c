#include "service/watch/spool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"

enum { MANY = 3000, EVERY_LONG = 97 };

static struct spool s;
static uint8_t text[TRAIL_LINE_MAX];

/* The line of a number; now and then one of the longest, of bytes unlike each other. */
static struct slice line_of(uint64_t number)
{
    int n = snprintf((char *)text, sizeof text,
                     "{\"time\":\"%llu\",\"category\":\"allow\",\"principal\":\"sensor-%llu\","
                     "\"reason\":\"subscribed with QoS 1\",\"target\":\"a/%08llx/+\"}\n",
                     (unsigned long long)number * 7, (unsigned long long)number % 100,
                     (unsigned long long)number * 31);
    if (number % EVERY_LONG != 0) {
        return slice_of(text, (size_t)n);
    }
    uint64_t x = number;
    for (size_t i = 0; i < sizeof text; i++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        text[i] = (uint8_t)(x >> 56);
    }
    return slice_of(text, sizeof text - number % 3);
}

static void push(uint64_t number)
{
    assert_int_equal(s.next, number);
    assert_int_equal(spool_push(&s, line_of(number), 1000 + number), OK);
}

static void check(uint64_t number)
{
    struct slice read = spool_read(&s, number), want = line_of(number);
    assert_true(slice_equal(read, want));
}

static void check_oldest(void)
{
    uint64_t since_ms;
    uint64_t number = s.first;
    assert_int_equal(spool_oldest(&s, &since_ms), line_of(number).n);
    assert_int_equal(since_ms, 1000 + number);
}

static void lines_come_as_they_went(void **state)
{
    (void)state;
    uint64_t before = mem_used();
    spool_init(&s);
    for (uint64_t i = 1; i <= MANY; i++) {
        push(i);
    }
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t i = s.first; i < s.next; i++) {
            check(i);
            check(i);
        }
    }
    for (uint64_t i = MANY; i > 0; i -= i > 100 ? 100 : 1) {
        check(i);
    }
    for (uint64_t i = 1; i <= MANY; i++) {
        check_oldest();
        spool_drop(&s);
        if (i < MANY) {
            check(s.first + (MANY - i) / 2);
        }
    }
    assert_int_equal(s.first, s.next);
    assert_int_equal(mem_used(), before);
    spool_done(&s);
}

/* Pushed, read and dropped at the same time; what is read may be dropped, and what was not read. */
static void three_ends(void **state)
{
    (void)state;
    uint64_t pushed = 0, read = 0;
    uint64_t x = 1;
    spool_init(&s);
    for (unsigned step = 0; step < 20000; step++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        unsigned what = (unsigned)(x >> 60);
        if (what < 7) {
            push(++pushed);
        } else if (what < 12 && read < pushed) {
            check(++read);
        } else if (s.first < s.next) {
            check_oldest();
            spool_drop(&s);
            read = read < s.first ? s.first - 1 : read;
        }
        if (what == 15) {
            read = s.first - 1; /* from the beginning */
        }
    }
    spool_done(&s);
}

/* What it is for. */
static void like_lines_take_little(void **state)
{
    (void)state;
    uint64_t before = mem_used(), bytes = 0;
    spool_init(&s);
    for (uint64_t i = 1; i < EVERY_LONG * 90; i++) {
        uint64_t number = i % EVERY_LONG == 0 ? i + 1 : i;
        struct slice line = line_of(number);
        bytes += line.n;
        assert_int_equal(spool_push(&s, line, 1), OK);
    }
    assert_true((mem_used() - before) * 2 < bytes);
    spool_done(&s);
    assert_int_equal(mem_used(), before);
}

static void long_waits_and_no_memory(void **state)
{
    (void)state;
    uint64_t since_ms;
    spool_init(&s);
    mem_fail_after(0);
    assert_int_equal(spool_push(&s, slice_text("a"), 1), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(s.first, s.next);
    assert_int_equal(spool_push(&s, slice_text("a"), 1), OK);
    assert_int_equal(spool_push(&s, slice_text("ab"), 1 + (uint64_t)UINT32_MAX), OK);
    mem_fail_after(0);
    assert_int_equal(spool_push(&s, slice_text("abc"), 2 + (uint64_t)UINT32_MAX), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(spool_push(&s, slice_text("abc"), 2 + (uint64_t)UINT32_MAX), OK);
    assert_true(slice_is(spool_read(&s, 3), "abc"));
    assert_true(slice_is(spool_read(&s, 2), "ab"));
    spool_drop(&s);
    assert_int_equal(spool_oldest(&s, &since_ms), 2);
    assert_int_equal(since_ms, 1 + (uint64_t)UINT32_MAX);
    spool_drop(&s);
    assert_int_equal(spool_oldest(&s, &since_ms), 3);
    assert_int_equal(since_ms, 2 + (uint64_t)UINT32_MAX);
    spool_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_as_they_went),
        cmocka_unit_test(three_ends),
        cmocka_unit_test(like_lines_take_little),
        cmocka_unit_test(long_waits_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

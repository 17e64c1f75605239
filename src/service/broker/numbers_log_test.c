/* The numbers of OSCORE over restarts and old copies of the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/broker/kept_test.h"
#include "service/broker/numbers.h"

enum { SOMEBODY = 1, ANOTHER = 2 };

static void write_next(struct kept *k, uint64_t principal, uint64_t next)
{
    uint8_t bytes[8];
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_u64(&w, next);
    struct log_change c = {.table = JOURNAL_TABLE_NUMBERS,
                           .id = principal,
                           .owner = principal,
                           .content = wr_slice(&w)};
    assert_int_equal(log_save(k->log, &c, 1), OK);
}

/* Where a start on this log begins. */
static uint64_t first_of(struct kept *k, uint64_t principal)
{
    static const struct siphash_key key = {1, 2};
    struct numbers n;
    numbers_init(&n, &key);
    assert_int_equal(numbers_load(&n, k->log, NULL, NULL), OK);
    uint64_t first = numbers_first(&n, principal);
    numbers_done(&n);
    return first;
}

static void over_restarts(void **state)
{
    (void)state;
    const struct clock clock = clock_system();
    const uint64_t ids[] = {SOMEBODY, ANOTHER};
    struct kept k;
    kept_open(&k, 1, &clock);
    assert_int_equal(keyring_add(k.keyring, ids, COUNT_OF(ids)), OK);
    write_next(&k, SOMEBODY, 512);
    kept_shut(&k);
    kept_reopen(&k, 1, &clock);
    assert_true(first_of(&k, SOMEBODY) == 512);
    assert_true(first_of(&k, ANOTHER) == 0);
    /* an old copy of the log: who is on it, and who came later, are both far behind the leap */
    assert_int_equal(numbers_leap(k.log), OK);
    kept_shut(&k);
    kept_reopen(&k, 1, &clock);
    assert_true(first_of(&k, SOMEBODY) == NUMBERS_LEAP);
    assert_true(first_of(&k, ANOTHER) == NUMBERS_LEAP);
    write_next(&k, SOMEBODY, NUMBERS_LEAP + 256);
    assert_int_equal(numbers_leap(k.log), OK); /* and once more */
    assert_true(first_of(&k, SOMEBODY) == 2 * NUMBERS_LEAP);
    kept_close(&k);
}

/* What cannot be read is not taken for nothing. */
static void not_a_number(void **state)
{
    (void)state;
    const struct clock clock = clock_system();
    static const struct siphash_key key = {1, 2};
    struct kept k;
    struct numbers n;
    kept_open(&k, 1, &clock);
    struct log_change c = {
        .table = JOURNAL_TABLE_NUMBERS, .id = SOMEBODY, .content = slice_text("short")};
    assert_int_equal(log_save(k.log, &c, 1), OK);
    numbers_init(&n, &key);
    assert_int_equal(numbers_load(&n, k.log, NULL, NULL), ERR_TRUNCATED);
    numbers_done(&n);
    kept_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_restarts),
        cmocka_unit_test(not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

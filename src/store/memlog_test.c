#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "store/memlog.h"

static uint64_t append(struct journal *w, const char *body)
{
    uint64_t lsn = 0;
    assert_int_equal(journal_append(w, JOURNAL_BODY, 0, slice_text("head"), slice_text(body), &lsn),
                     OK);
    return lsn;
}

/* Each writer counts its own records from 1; nothing is committed before it was handed over. */
static void commits_late(void **state)
{
    (void)state;
    AUTO(memlog_autofree) struct memlog *l = NULL;
    assert_int_equal(memlog_new(2, &l), OK);
    struct journal *a = memlog_writer(l, 0), *b = memlog_writer(l, 1);
    assert_int_equal(memlog_commit(l), 0);
    assert_int_equal(append(a, "x"), 1);
    assert_int_equal(append(a, "yz"), 2);
    assert_int_equal(memlog_commit(l), 0);
    journal_handover(a, true);
    assert_int_equal(journal_committed(a), 0);
    assert_int_equal(memlog_commit(l), 1);
    assert_int_equal(journal_committed(a), 2);
    assert_int_equal(append(b, ""), 1);
    assert_int_equal(append(a, ""), 3);
    assert_int_equal(journal_committed(a), 2);
    assert_int_equal(journal_committed(b), 0);
    journal_handover(a, true);
    journal_handover(b, true);
    assert_int_equal(memlog_commit(l), 3);
    assert_int_equal(journal_committed(a), 3);
    assert_int_equal(journal_committed(b), 1);
    assert_int_equal(memlog_commit(l), 0);
    assert_int_equal(memlog_bytes(l), 4 * 4 + 3);
}

static void no_memory(void **state)
{
    (void)state;
    struct memlog *l = NULL;
    (void)mem_fail_after(0);
    assert_int_equal(memlog_new(2, &l), ERR_NOMEM);
    assert_true(mem_fail_after(-1) != 0);
    assert_null(l);
    assert_null(memlog_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(commits_late), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

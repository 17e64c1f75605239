#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_progress.h"

#include <string.h>

enum { TEXT_BYTES = 1024 };

static void test_lines(void **state)
{
    (void)state;
    char text[TEXT_BYTES] = "";
    FILE *to = fmemopen(text, sizeof(text), "w");
    assert_non_null(to);
    struct client_progress p;
    client_progress_init(&p, to, true, true);
    assert_true(client_progress_deadline(&p) == UINT64_MAX); /* not connected yet */
    client_progress_start(&p, 1000);
    assert_true(client_progress_deadline(&p) == 2000);
    client_progress_count(&p, 10);
    client_progress_count(&p, 5);
    client_progress_tick(&p, 2, 1999);
    client_progress_tick(&p, 1, 2000);
    assert_true(client_progress_deadline(&p) == 3000);
    client_progress_count(&p, 1);
    client_progress_end(&p, true, 2500);
    fclose(to);
    assert_string_equal(text, "2 messages, 15 bytes, 2/s, 1 not acknowledged yet\n"
                              "3 messages, 16 bytes, 2/s, 0 not acknowledged yet\n");
}

/* Nobody asked and there is no terminal; or it failed before anything began. */
static void test_silence(void **state)
{
    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        char text[TEXT_BYTES] = "";
        FILE *to = fmemopen(text, sizeof(text), "w");
        assert_non_null(to);
        struct client_progress p;
        client_progress_init(&p, to, asked == 1, true);
        if (asked == 0) {
            client_progress_start(&p, 1);
            client_progress_count(&p, 1);
            assert_true(client_progress_deadline(&p) == UINT64_MAX);
            client_progress_tick(&p, 1, 100000);
        }
        client_progress_end(&p, false, 100001);
        fclose(to);
        assert_int_equal(strlen(text), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_silence)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

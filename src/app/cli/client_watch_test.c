#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_watch.h"
#include "base/mem.h"

enum { TEXT_BYTES = 64 * 1024 };

static const struct client_print how = {.format = "%t %p", .is_terminal = true};

static enum err print(struct client_watch *w, FILE *to, const char *topic, const char *payload)
{
    struct mqtt_publish m = {.topic = slice_text(topic), .payload = slice_text(payload)};
    return client_watch_print(w, to, &how, &m, 0);
}

static void test_rows(void **state)
{
    (void)state;
    static struct client_watch w;
    char text[TEXT_BYTES] = "";
    FILE *to = fmemopen(text, sizeof(text), "w");
    assert_non_null(to);
    assert_int_equal(print(&w, to, "a", "1"), OK);
    assert_int_equal(print(&w, to, "b", "2\n3"), OK);
    assert_int_equal(print(&w, to, "a", "\x1b[9;9H"), OK);
    client_watch_end(&w, to);
    fclose(to);
    assert_string_equal(text, "\x1b[2J\x1b[1;1H\x1b[?7la 1\x1b[K\x1b[?7h"
                              "\x1b[2;1H\x1b[?7lb 2\x1b[K\x1b[?7h"
                              "\x1b[1;1H\x1b[?7la \\x1b[9;9H\x1b[K\x1b[?7h"
                              "\x1b[2;1H\n");
    client_watch_done(&w);
}

/* As many topics as there are rows, and one more; a long message is cut. */
static void test_limits(void **state)
{
    (void)state;
    static struct client_watch w;
    static char text[TEXT_BYTES], name[16], large[8192];
    FILE *to = fmemopen(text, sizeof(text), "w");
    assert_non_null(to);
    for (int i = 0; i < CLIENT_WATCH_ROWS + 1; i++) {
        (void)snprintf(name, sizeof(name), "t/%d", i);
        assert_int_equal(print(&w, to, name, "x"), OK);
    }
    assert_int_equal(w.n, CLIENT_WATCH_ROWS);
    assert_int_equal(w.n_hidden, 1);
    memset(large, 'y', sizeof(large) - 1);
    assert_int_equal(print(&w, to, "t/0", large), OK);
    client_watch_end(&w, to);
    fclose(to);
    assert_non_null(strstr(text, "1 messages of other topics"));
    client_watch_done(&w);
}

static void test_no_memory(void **state)
{
    (void)state;
    static struct client_watch w;
    FILE *to = fopen("/dev/null", "w");
    assert_non_null(to);
    (void)mem_fail_after(0);
    assert_int_equal(print(&w, to, "a", "1"), ERR_NOMEM);
    (void)mem_fail_after(-1);
    assert_int_equal(w.n, 0);
    fclose(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

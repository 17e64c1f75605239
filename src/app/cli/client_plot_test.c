#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/cli/client_plot.h"

#include <string.h>

enum { TEXT_BYTES = 32 * 1024 };

static void drawn(const struct client_plot *p, char text[TEXT_BYTES])
{
    memset(text, 0, TEXT_BYTES);
    FILE *to = fmemopen(text, TEXT_BYTES, "w");
    assert_non_null(to);
    client_plot_write(to, p);
    assert_int_equal(ferror(to), 0);
    assert_int_equal(fclose(to), 0);
}

static void test_escape(void **state)
{
    (void)state;
    char text[256] = "";
    FILE *to = fmemopen(text, sizeof(text), "w");
    assert_non_null(to);
    client_plot_escape(to, "<a href=\"x\" b='y'>&\x01\x7f\xc3\xa9");
    assert_int_equal(fclose(to), 0);
    assert_string_equal(text, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;????");
}

static void test_ceiling(void **state)
{
    (void)state;
    static const struct {
        double most, end;
    } cases[] = {{0, 1}, {1, 1}, {1.01, 2}, {4, 5}, {5, 5}, {99, 100}, {100001, 200000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_true(client_plot_ceiling(cases[i].most) == cases[i].end);
    }
}

static void test_lines(void **state)
{
    (void)state;
    static char text[TEXT_BYTES];
    const struct client_plot_point points[] = {{1, 50, 20}, {2, 100, 100}};
    struct client_plot p = {.title = "fan-in </svg>",
                            .unit = "deliveries",
                            .points = points,
                            .n_points = 2,
                            .has_cpu = true};
    drawn(&p, text);
    /* the frame is 640 by 300 at 90, 50: half of its height is y 200, its top y 50 */
    assert_non_null(strstr(text, "points=\"410.0,200.0 730.0,50.0\""));
    assert_non_null(strstr(text, "points=\"410.0,290.0 730.0,50.0\""));
    assert_non_null(strstr(text, "fan-in &lt;/svg&gt;"));
    assert_ptr_equal(strstr(text, "</svg>"), text + strlen(text) - strlen("</svg>\n"));
    p.has_cpu = false;
    drawn(&p, text);
    assert_null(strstr(text, "410.0,290.0 "));
    assert_null(strstr(text, "CPU"));
}

static void test_nothing(void **state)
{
    (void)state;
    static char text[TEXT_BYTES];
    drawn(&(struct client_plot){.title = "", .unit = ""}, text);
    assert_non_null(strstr(text, "points=\"\""));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_escape),
                                       cmocka_unit_test(test_ceiling), cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

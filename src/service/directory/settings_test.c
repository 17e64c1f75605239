#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/scope.h"
#include "service/directory/settings.h"

static void check_row(const struct setting *s, const void *preset)
{
    const uint64_t edges[] = {s->least, s->most, setting_get(s, preset)};
    for (size_t i = 0; i < COUNT_OF(edges); i++) {
        char text[SETTING_TEXT_BYTES], why[SETTING_WHY_BYTES];
        uint64_t back = 0;
        setting_text(s, edges[i], text);
        if (setting_parse(s, slice_text(text), 1, why, &back) != OK || back != edges[i]) {
            fail_msg("%s: %s read back as %llu", s->name, text, (unsigned long long)back);
        }
    }
    char why[SETTING_WHY_BYTES], text[SETTING_TEXT_BYTES];
    uint64_t v;
    setting_text(s, s->most + 1, text);
    assert_int_equal(setting_parse(s, slice_text(text), 1, why, &v), ERR_LIMIT);
    if (s->least > 0) {
        setting_text(s, s->least - 1, text);
        assert_int_equal(setting_parse(s, slice_text(text), 1, why, &v), ERR_LIMIT);
    }
    assert_true(s->bytes == 8 || s->most <= UINT32_MAX);
}

static void test_tables(void **state)
{
    (void)state;
    struct global_settings g = global_settings_preset(UINT64_C(1) << 32);
    static const struct role_limits r = ROLE_LIMITS_DEFAULT;
    for (size_t i = 0; i < n_global_settings; i++) {
        check_row(&global_setting_table[i], &g);
    }
    for (size_t i = 0; i < n_role_settings; i++) {
        check_row(&role_setting_table[i], &r);
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *text;
        enum err err;
        uint64_t value;
    } cases[] = {
        {"packet_bytes", "264KiB", OK, 270336},
        {"packet_bytes", "270336", OK, 270336},
        {"packet_bytes", "1MiB", OK, 1 << 20},
        {"packet_bytes", "1MB", ERR_MALFORMED, 0},
        {"packet_bytes", "1mib", ERR_MALFORMED, 0},
        {"packet_bytes", "", ERR_MALFORMED, 0},
        {"packet_bytes", "KiB", ERR_MALFORMED, 0},
        {"packet_bytes", "1.5KiB", ERR_MALFORMED, 0},
        {"packet_bytes", " 1KiB", ERR_MALFORMED, 0},
        {"packet_bytes", "1KiB ", ERR_MALFORMED, 0},
        {"packet_bytes", "+1KiB", ERR_MALFORMED, 0},
        {"packet_bytes", "9999999999999", ERR_LIMIT, 0},
        {"memory_bytes", "50%", OK, 500000000},
        {"memory_bytes", "0%", ERR_LIMIT, 0},
        {"preauth_seconds", "1m", OK, 60},
        {"preauth_seconds", "2h", ERR_LIMIT, 0},
        {"topic_levels", "16x", ERR_MALFORMED, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct setting *s =
            setting_find(global_setting_table, n_global_settings, slice_text(cases[i].setting));
        char why[SETTING_WHY_BYTES] = "";
        uint64_t v = 0;
        assert_non_null(s);
        enum err e = setting_parse(s, slice_text(cases[i].text), 1000000000, why, &v);
        if (e != cases[i].err || v != cases[i].value || (e != OK && why[0] == '\0')) {
            fail_msg("%s: %s: %s %llu", cases[i].setting, cases[i].text, err_name(e),
                     (unsigned long long)v);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables),
                                       cmocka_unit_test(test_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

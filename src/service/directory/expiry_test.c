/* What ends when. */
#include "service/directory/expiry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "service/directory/directory_place_test.h"

static int place_setup(void **state)
{
    struct test_place *p = test_calloc(1, sizeof *p);
    test_place_open(p);
    *state = p;
    return 0;
}

static int place_teardown(void **state)
{
    test_place_close(*state);
    test_free(*state);
    return 0;
}

static unsigned made; /* secrets, so that each is another */

static void add(struct test_place *p, const char *name, enum credential_kind kind, int64_t days)
{
    char text[64];
    struct directory_secret s = test_secret(kind, ++made, text);
    struct directory_order o = {
        .name = slice_text(name), .role = slice_text("sensor"), .secrets = &s, .n_secrets = 1};
    s.expires_wall_ms = days != 0 ? TEST_NOW + days * TEST_DAY_MS : CREDENTIAL_NEVER;
    uint64_t id;
    assert_int_equal(directory_add(p->d, &o, TEST_NOW, &id, NULL), OK);
}

static void rotate(struct test_place *p, const char *name, int64_t now, int64_t days)
{
    char text[64];
    struct directory_secret s = test_secret(CREDENTIAL_X509, ++made, text);
    s.expires_wall_ms = now + days * TEST_DAY_MS;
    assert_int_equal(directory_rotate(p->d, slice_text(name), &s, TEST_HOUR_MS, now, NULL), OK);
}

static struct expiry_list collect(struct test_place *p, int64_t now)
{
    struct expiry_list l;
    const struct directory_version *v = directory_current(p->d);
    assert_int_equal(expiry_collect(v, now, &l), OK);
    directory_version_unref(v); /* the directory has it yet */
    return l;
}

static const char *name_at(const struct expiry_list *l, size_t i)
{
    return l->items[i].entry->principal->name;
}

static void soonest_first_and_the_last_of_a_kind(void **state)
{
    struct test_place *p = *state;
    add(p, "late", CREDENTIAL_X509, 90);
    add(p, "soon", CREDENTIAL_X509, 30);
    add(p, "endless", CREDENTIAL_PSK, 0);
    add(p, "gone", CREDENTIAL_X509, 1);
    add(p, "off", CREDENTIAL_X509, 1);
    assert_int_equal(directory_revoke(p->d, slice_text("gone"), slice_text("lost")), OK);
    assert_int_equal(directory_disable(p->d, slice_text("off"), slice_text("")), OK);
    struct expiry_list l = collect(p, TEST_NOW);
    assert_int_equal(l.n, 2);
    assert_string_equal(name_at(&l, 0), "soon");
    assert_string_equal(name_at(&l, 1), "late");
    assert_int_equal(l.n_endless, 1);
    assert_int_equal(l.n_never_renewed, 2);
    expiry_done(&l);

    rotate(p, "soon", TEST_NOW + TEST_DAY_MS, 365);
    l = collect(p, TEST_NOW + TEST_DAY_MS);
    assert_int_equal(l.n, 2); /* the old one is good for an hour, and is not counted */
    assert_string_equal(name_at(&l, 1), "soon");
    assert_true(l.items[1].is_renewed);
    assert_false(l.items[0].is_renewed);
    assert_int_equal(l.n_never_renewed, 1);
    expiry_done(&l);
}

static void a_third_before_its_end_it_is_due(void **state)
{
    static const struct {
        int64_t at_ms;
        enum expiry_state state;
    } rows[] = {
        {60 * TEST_DAY_MS - 1, EXPIRY_FINE}, {60 * TEST_DAY_MS, EXPIRY_DUE},
        {90 * TEST_DAY_MS - 1, EXPIRY_DUE},  {90 * TEST_DAY_MS, EXPIRY_OVER},
        {900 * TEST_DAY_MS, EXPIRY_OVER},
    };
    struct test_place *p = *state;
    add(p, "a", CREDENTIAL_X509, 90);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct expiry_list l = collect(p, TEST_NOW + rows[i].at_ms);
        assert_int_equal(l.items[0].state, rows[i].state);
        assert_int_equal(l.n_due, rows[i].state == EXPIRY_DUE);
        assert_int_equal(l.n_over, rows[i].state == EXPIRY_OVER);
        expiry_done(&l);
    }
}

static void ten_and_a_fifth_of_all_are_a_cliff(void **state)
{
    struct test_place *p = *state;
    char name[16];
    for (int i = 0; i < 45; i++) { /* 9 together, and 36 on days of their own */
        (void)snprintf(name, sizeof name, "d%d", i);
        add(p, name, CREDENTIAL_X509, i < 9 ? 50 : 51 + i);
    }
    struct expiry_day day;
    size_t at = 0;
    struct expiry_list l = collect(p, TEST_NOW);
    assert_true(expiry_next_day(&l, &at, &day));
    assert_int_equal(day.n, 9);
    assert_false(day.is_cliff); /* a fifth, but not ten */
    expiry_done(&l);

    add(p, "tenth", CREDENTIAL_X509, 50);
    l = collect(p, TEST_NOW);
    at = 0;
    assert_true(expiry_next_day(&l, &at, &day));
    assert_int_equal(day.n, 10);
    assert_true(day.is_cliff); /* 10 of 46 */
    size_t n_days = 1;
    while (expiry_next_day(&l, &at, &day)) {
        assert_false(day.is_cliff);
        n_days++;
    }
    assert_int_equal(n_days, 37);
    expiry_done(&l);

    for (int i = 0; i < 5; i++) { /* 10 of 51 */
        (void)snprintf(name, sizeof name, "e%d", i);
        add(p, name, CREDENTIAL_X509, 200 + i);
    }
    l = collect(p, TEST_NOW);
    at = 0;
    assert_true(expiry_next_day(&l, &at, &day));
    assert_false(day.is_cliff);
    expiry_done(&l);
}

static void weeks_begin_on_monday(void **state)
{
    (void)state;
    assert_int_equal(expiry_week_of(4), 4);  /* Monday 1970-01-05 */
    assert_int_equal(expiry_week_of(10), 4); /* Sunday */
    assert_int_equal(expiry_week_of(11), 11);
    assert_int_equal(expiry_week_of(20779), 20773); /* Sunday 2026-11-22 */
    assert_int_equal(expiry_week_of(20773), 20773);
}

static void what_waits_is_old_or_was_silent(void **state)
{
    struct test_place *p = *state;
    const struct secret_ages ages = {
        .report_s = {86400 * 30}, .refuse_s = {86400 * 40}, .wait_s = 86400 * 20};
    char text[64];
    directory_set_ages(p->d, &ages);
    add(p, "key", CREDENTIAL_PSK, 0);
    add(p, "word", CREDENTIAL_PASSWORD, 0); /* has no age here */
    add(p, "cert", CREDENTIAL_X509, 90);
    struct expiry_list l = collect(p, TEST_NOW);
    assert_int_equal(l.n, 2); /* by its age */
    assert_int_equal(l.n_listed, 2);
    assert_int_equal(l.n_endless, 1);
    assert_string_equal(name_at(&l, 0), "key");
    assert_true(l.items[0].ends_wall_ms == TEST_NOW + 40 * TEST_DAY_MS);
    assert_int_equal(l.n_aged + l.n_waiting + l.n_silent, 0);
    credential_left(l.items[1].credential, TEST_NOW);
    credential_used(l.items[1].credential, TEST_NOW + 30 * TEST_DAY_MS);
    credential_left(l.items[1].credential, TEST_NOW + 30 * TEST_DAY_MS);
    assert_false(expiry_is_silent(&l.items[1])); /* as it was when they were collected */
    expiry_done(&l);

    l = collect(p, TEST_NOW + 30 * TEST_DAY_MS);
    assert_int_equal(l.items[0].state, EXPIRY_AGED);
    assert_int_equal(l.n_aged, 1);
    assert_int_equal(l.n_silent, 0); /* 30 days of 30 */
    credential_used(l.items[1].credential, TEST_NOW + 60 * TEST_DAY_MS + 1);
    expiry_done(&l);
    l = collect(p, TEST_NOW + 30 * TEST_DAY_MS);
    assert_true(l.n_silent == 1 && expiry_is_silent(&l.items[1]));
    expiry_done(&l);

    struct directory_secret s = test_secret(CREDENTIAL_PASSWORD, ++made, text);
    int64_t later = TEST_NOW + TEST_DAY_MS;
    assert_int_equal(directory_succeed(p->d, slice_text("word"), &s, 1, later, NULL), OK);
    l = collect(p, later);
    assert_int_equal(l.n_waiting, 1);
    assert_string_equal(name_at(&l, 0), "word"); /* who never comes is locked out then */
    assert_true(l.items[0].ends_wall_ms == later + 20 * TEST_DAY_MS);
    assert_int_equal(l.items[0].state, EXPIRY_WAITING);
    assert_true(l.items[0].waiting->created_wall_ms == later);
    expiry_done(&l);
    l = collect(p, later + 20 * TEST_DAY_MS);
    assert_int_equal(l.items[0].state, EXPIRY_OVER);
    expiry_done(&l);
}

static void nothing_ends(void **state)
{
    struct test_place *p = *state;
    struct expiry_day day;
    size_t at = 0;
    struct expiry_list l = collect(p, TEST_NOW);
    assert_int_equal(l.n, 0);
    assert_false(expiry_next_day(&l, &at, &day));
    expiry_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(soonest_first_and_the_last_of_a_kind, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(a_third_before_its_end_it_is_due, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(ten_and_a_fifth_of_all_are_a_cliff, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(what_waits_is_old_or_was_silent, place_setup,
                                        place_teardown),
        cmocka_unit_test(weeks_begin_on_monday),
        cmocka_unit_test_setup_teardown(nothing_ends, place_setup, place_teardown),
    };
    return cmocka_run_group_tests_name("expiry", tests, NULL, NULL);
}

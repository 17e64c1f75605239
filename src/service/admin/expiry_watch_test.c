/* Alerts of credentials that end, and the calendar of them. */
#include "service/admin/admin_private.h"
#include "service/admin/admin_test_private.h"
#include "service/directory/expiry.h"

enum { TOGETHER = 100, CLIFF_DAY = 80 };

/* days 0: without an end */
static void put(struct home *p, const char *name, int64_t days)
{
    struct directory_secret s = {.kind = CREDENTIAL_X509, .expires_wall_ms = CREDENTIAL_NEVER};
    struct directory_order o = {
        .name = slice_text(name), .role = slice_text("sensor"), .secrets = &s, .n_secrets = 1};
    int64_t now = test_wall_ms(NULL);
    uint64_t id;
    assert_int_equal(digest_sha256(slice_text(name), &s.spki), OK);
    s.expires_wall_ms = days != 0 ? now + days * EXPIRY_DAY_MS : CREDENTIAL_NEVER;
    assert_int_equal(directory_add(p->directory, &o, now, &id, NULL), OK);
}

static void put_together(struct home *p, int n, int64_t days)
{
    char name[16];
    directory_begin(p->directory);
    for (int i = 0; i < n; i++) {
        (void)snprintf(name, sizeof name, "m%lld-%d", (long long)days, i);
        put(p, name, days);
    }
    assert_int_equal(directory_commit(p->directory), OK);
}

static size_t n_alerts(struct home *p, const char *word)
{
    size_t n = 0;
    struct answer a = ask(p, "alerts", NULL);
    for (size_t i = 0; i < json_array_size(a.lines); i++) {
        n += strstr(text_of(json_array_get(a.lines, i), "reason"), word) != NULL ? 1 : 0;
    }
    answer_done(&a);
    return n;
}

static void what_ends_together_is_told_at_once(void **state)
{
    struct home *p = *state;
    put_together(p, TOGETHER - 1, CLIFF_DAY);
    admin_watch_expiry(p->admin, 1);
    assert_int_equal(n_alerts(p, "same day"), 0);
    put(p, "the-hundredth", CLIFF_DAY);
    admin_watch_expiry(p->admin, 2); /* the directory has changed: no hour is waited for */
    assert_int_equal(n_alerts(p, "same day"), 1);
    assert_int_equal(n_alerts(p, "within"), 0);
    admin_watch_expiry(p->admin, 3);
    put(p, "another", CLIFF_DAY + 5);
    admin_watch_expiry(p->admin, 4);
    assert_int_equal(count_events(p, "credential_expiring", "100 of 100 credentials"), 1);
    assert_int_equal(count_events(p, "credential_expiring", "same day"), 1); /* said once */

    put_together(p, 5 * TOGETHER, 0); /* what has no end changes nothing */
    admin_watch_expiry(p->admin, 5);
    assert_int_equal(n_alerts(p, "same day"), 1);
    for (int64_t day = 100; day < 500; day++) { /* a fifth of all: 100 of 501 is less */
        char name[16];
        (void)snprintf(name, sizeof name, "d%lld", (long long)day);
        put(p, name, day);
    }
    admin_watch_expiry(p->admin, 6);
    assert_int_equal(n_alerts(p, "same day"), 0);
}

static void what_ends_soon_is_told_until_it_is_renewed(void **state)
{
    struct home *p = *state;
    put(p, "early", 15);
    admin_watch_expiry(p->admin, 1);
    assert_int_equal(n_alerts(p, "within"), 0);
    __atomic_store_n(&p->shift_ms, 2 * EXPIRY_DAY_MS, __ATOMIC_RELAXED);
    admin_watch_expiry(p->admin, 2); /* nothing changed, and the hour is not over */
    assert_int_equal(n_alerts(p, "within"), 0);
    admin_watch_expiry(p->admin, test_mono_ms(NULL) + 61 * 60 * 1000);
    assert_int_equal(n_alerts(p, "within 14 days"), 1);
    assert_int_equal(n_alerts(p, "early"), 1);
    assert_int_equal(directory_disable(p->directory, slice_text("early"), slice_text("")), OK);
    admin_watch_expiry(p->admin, 3);
    assert_int_equal(n_alerts(p, "within"), 0);
}

static void an_authority_that_ends_is_told_half_a_year_before(void **state)
{
    struct home *p = *state;
    admin_watch_expiry(p->admin, 1);
    assert_int_equal(n_alerts(p, "authority"), 0);
    __atomic_store_n(&p->shift_ms, 1650 * EXPIRY_DAY_MS, __ATOMIC_RELAXED); /* of 1826 */
    admin_watch_expiry(p->admin, test_mono_ms(NULL) + 61 * 60 * 1000);
    assert_int_equal(n_alerts(p, "certs roll switch"), 1);
}

static void the_calendar_has_each_week(void **state)
{
    struct home *p = *state;
    put_together(p, 12, 30);
    put(p, "later", 60);
    put(p, "endless", 0);
    struct answer a = ask(p, "certs.plan", NULL);
    size_t n = json_array_size(a.lines), n_cliffs = 0, sum = 0;
    assert_int_equal(n, 3 + 1 + 2);
    assert_string_equal(text_of(json_array_get(a.lines, 0), "authority"), "server certificate");
    assert_string_equal(text_of(json_array_get(a.lines, 1), "authority"), "root authority");
    const json_t *sums = json_array_get(a.lines, 3);
    assert_int_equal(json_integer_value(json_object_get(sums, "ending")), 13);
    assert_int_equal(json_integer_value(json_object_get(sums, "endless")), 1);
    assert_int_equal(json_integer_value(json_object_get(sums, "never_renewed")), 13);
    for (size_t i = 4; i < n; i++) {
        const json_t *week = json_array_get(a.lines, i);
        n_cliffs += json_is_true(json_object_get(week, "cliff")) ? 1 : 0;
        sum += (size_t)json_integer_value(json_object_get(week, "count"));
    }
    assert_int_equal(n_cliffs, 1);
    assert_int_equal(sum, 13);
    assert_non_null(strstr(text_of(json_array_get(a.lines, 4), "text"),
                           "12  ########################################  CLIFF: 12 on "));
    assert_non_null(strstr(text_of(json_array_get(a.lines, 5), "text"), "1  ####"));
    answer_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_ends_together_is_told_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_ends_soon_is_told_until_it_is_renewed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_authority_that_ends_is_told_half_a_year_before, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_calendar_has_each_week, setup, teardown),
    };
    return cmocka_run_group_tests_name("expiry_watch", tests, NULL, NULL);
}

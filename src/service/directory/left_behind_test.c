/* Whom the end of an authority would shut out. */
#include "service/directory/left_behind.h"

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

static void add(struct test_place *p, const char *name, enum credential_kind kind)
{
    char text[64];
    struct directory_secret s = test_secret(kind, ++made, text);
    struct directory_order o = {
        .name = slice_text(name), .role = slice_text("sensor"), .secrets = &s, .n_secrets = 1};
    uint64_t id;
    assert_int_equal(directory_add(p->d, &o, TEST_NOW, &id, NULL), OK);
}

static void rotate(struct test_place *p, const char *name, enum credential_kind kind, int64_t at)
{
    char text[64];
    struct directory_secret s = test_secret(kind, ++made, text);
    assert_int_equal(directory_rotate(p->d, slice_text(name), &s, TEST_HOUR_MS, at, NULL), OK);
}

static size_t behind(struct test_place *p, int64_t prepared_at, int64_t switched_at, int64_t now)
{
    const struct directory_version *v = directory_current(p->d);
    struct left_behind l = left_behind_find(v, prepared_at, switched_at, now);
    for (size_t i = 0; i < l.n && i < LEFT_BEHIND_NAMED; i++) {
        assert_non_null(l.first[i]);
    }
    directory_version_unref(v);
    return l.n;
}

static void who_has_nothing_of_the_new_one(void **state)
{
    struct test_place *p = *state;
    const int64_t prepared = TEST_NOW + TEST_HOUR_MS, switched = TEST_NOW + 10 * TEST_HOUR_MS;
    const int64_t now = TEST_NOW + 20 * TEST_HOUR_MS;
    add(p, "by-certificate", CREDENTIAL_X509);
    add(p, "by-password", CREDENTIAL_PASSWORD);
    add(p, "by-key", CREDENTIAL_PSK); /* verifies us by its key: no authority matters to it */
    add(p, "revoked", CREDENTIAL_X509);
    assert_int_equal(directory_revoke(p->d, slice_text("revoked"), slice_text("lost")), OK);
    assert_int_equal(behind(p, prepared, switched, now), 2);
    assert_int_equal(behind(p, 0, switched, now), 1); /* the root stays */

    rotate(p, "by-certificate", CREDENTIAL_X509, prepared + 1); /* has the root, not the signer */
    assert_int_equal(behind(p, prepared, switched, now), 2);
    rotate(p, "by-certificate", CREDENTIAL_X509, switched);
    assert_int_equal(behind(p, prepared, switched, now), 1);
    rotate(p, "by-password", CREDENTIAL_PASSWORD, prepared);
    assert_int_equal(behind(p, prepared, switched, now), 0);
}

static void names_are_bounded(void **state)
{
    struct test_place *p = *state;
    char name[8];
    for (int i = 0; i < LEFT_BEHIND_NAMED + 2; i++) {
        (void)snprintf(name, sizeof name, "d%d", i);
        add(p, name, CREDENTIAL_X509);
    }
    assert_int_equal(behind(p, 0, TEST_NOW + 1, TEST_NOW + 2), LEFT_BEHIND_NAMED + 2);
    assert_int_equal(behind(p, 0, TEST_NOW, TEST_NOW + 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_has_nothing_of_the_new_one, place_setup,
                                        place_teardown),
        cmocka_unit_test_setup_teardown(names_are_bounded, place_setup, place_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

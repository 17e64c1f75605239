#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/directory/directory_place_test.h"

/* What is written is read, at every length of the kid and one beside. */
static void form(void **state)
{
    (void)state;
    const struct random_source random = random_system();
    for (size_t n = OSCORE_KID_MIN; n <= OSCORE_KID_MAX; n++) {
        struct oscore_secret s, back;
        uint8_t bytes[OSCORE_SECRET_BYTES];
        oscore_secret_generate(&random, n, &s);
        size_t written = oscore_secret_write(&s, bytes);
        assert_int_equal(written, OSCORE_MASTER_BYTES + OSCORE_SALT_BYTES + n);
        assert_int_equal(oscore_secret_read(slice_of(bytes, written), &back), OK);
        assert_memory_equal(&s, &back, sizeof(s));
    }
    static const uint8_t raw[OSCORE_SECRET_BYTES + 1];
    struct oscore_secret s;
    for (size_t n = 0; n <= sizeof(raw); n++) {
        bool fits = n >= OSCORE_MASTER_BYTES + OSCORE_SALT_BYTES + OSCORE_KID_MIN &&
                    n <= OSCORE_SECRET_BYTES;
        assert_int_equal(oscore_secret_read(slice_of(raw, n), &s), fits ? OK : ERR_MALFORMED);
    }
}

static const struct credential *find(struct test_place *p, const struct oscore_secret *s,
                                     const struct directory_entry **ret_entry)
{
    const struct credential *c = NULL;
    const struct directory_version *v = directory_current(p->d);
    *ret_entry = directory_find_kid(v, oscore_kid_slice(&s->kid), &c);
    directory_version_unref(v); /* the directory holds it on */
    return c;
}

static void add(struct test_place *p, const char *name, const struct directory_secret *s,
                enum err expected)
{
    struct directory_order o = {
        .name = slice_text(name), .role = slice_text("sensor"), .secrets = s, .n_secrets = 1};
    uint64_t id;
    assert_int_equal(directory_add(p->d, &o, TEST_NOW, &id, NULL), expected);
}

static void reopen(struct test_place *p)
{
    test_place_stop(p);
    assert_int_equal(test_place_start(p), OK);
    assert_int_equal(directory_open(&p->setup, &p->d), OK);
}

/* Added, found by its kid, kept over a restart, hidden in memory, rotated, removed. */
static void life(void **state)
{
    (void)state;
    struct test_place p;
    test_place_open(&p);
    char t[2][64];
    struct directory_secret first = test_secret(CREDENTIAL_OSCORE, 1, t[0]);
    struct directory_secret second = test_secret(CREDENTIAL_OSCORE, 2, t[1]);
    const struct directory_entry *e = NULL;
    struct oscore_secret got;
    add(&p, "meter", &first, OK);
    add(&p, "thief", &first, ERR_EXISTS); /* one secret, one owner */
    reopen(&p);
    const struct credential *c = find(&p, first.oscore, &e);
    assert_non_null(c);
    assert_string_equal(e->principal->name, "meter");
    assert_int_equal(credential_oscore(c, &got), OK);
    assert_memory_equal(&got, first.oscore, sizeof(got));
    assert_memory_not_equal(c->psk_hidden, first.oscore->secret, OSCORE_MASTER_BYTES);
    assert_null(find(&p, second.oscore, &e));
    assert_null(e);
    assert_int_equal(
        directory_rotate(p.d, slice_text("meter"), &second, TEST_HOUR_MS, TEST_NOW, NULL), OK);
    c = find(&p, first.oscore, &e); /* an hour longer, so that nobody is cut off */
    assert_true(c != NULL && c->expires_wall_ms == TEST_NOW + TEST_HOUR_MS);
    assert_non_null(find(&p, second.oscore, &e));
    reopen(&p);
    c = find(&p, first.oscore, &e);
    assert_int_equal(credential_oscore(c, &got), OK);
    assert_memory_equal(&got, first.oscore, sizeof(got));
    assert_int_equal(directory_remove(p.d, slice_text("meter")), OK);
    assert_null(find(&p, first.oscore, &e));
    assert_null(find(&p, second.oscore, &e));
    test_place_close(&p);
}

static void nobody(void **state)
{
    (void)state;
    struct oscore_secret got;
    assert_int_equal(credential_oscore(NULL, &got), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form),
        cmocka_unit_test(life),
        cmocka_unit_test(nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "security/crypto/authority_test.h"
#include "security/crypto/crl_make.h"

static const int64_t now = AUTHORITY_NOW;

static int setup(void **state)
{
    struct test_authority *a = test_calloc(2, sizeof *a);
    assert_int_equal(test_authority_make("ours", &a[0]), OK);
    assert_int_equal(test_authority_make("another's", &a[1]), OK);
    *state = a;
    return 0;
}

static int teardown(void **state)
{
    struct test_authority *a = *state;
    test_authority_done(&a[0]);
    test_authority_done(&a[1]);
    test_free(a);
    return 0;
}

static struct crl_entry entry_of(const struct x509 *x, enum crl_reason reason)
{
    struct crl_entry e = {.reason = (uint8_t)reason, .at_wall_ms = now};
    assert_int_equal(serial_from(x509_info(x)->serial, &e.serial), OK);
    return e;
}

static struct crl_order order_of(const struct test_authority *a, const struct crl_entry *e,
                                 size_t n)
{
    return (struct crl_order){.issuer = a->cert,
                              .issuer_key = a->key,
                              .number = 7,
                              .now_wall_ms = now,
                              .next_update_wall_ms = now + 7 * AUTHORITY_DAY,
                              .entries = e,
                              .n = n};
}

static enum err pem_of(const struct crl_order *o, struct buf *ret)
{
    AUTO(buf_done) struct buf der = {0};
    TRY(crl_make(o, &der));
    return crl_to_pem(buf_slice(&der), ret);
}

/* What we sign we read again: the revoked one and no other. */
static void made_and_read(void **state)
{
    const struct test_authority *a = *state;
    AUTO(x509_autofree) struct x509 *other = NULL;
    AUTO(buf_done) struct buf pem = {0};
    struct crl_entry e[] = {entry_of(a->leaf, CRL_KEY_COMPROMISE),
                            {.serial = {1, {5}}, .at_wall_ms = now - AUTHORITY_DAY},
                            {.serial = {2, {0x80, 1}}, .at_wall_ms = now}};
    struct crl_order o = order_of(a, e, COUNT_OF(e));
    const struct crl_set *s = NULL;
    struct why why = {{0}};
    assert_int_equal(test_authority_leaf(a, &other), OK);
    assert_int_equal(pem_of(&o, &pem), OK);
    assert_int_equal(crl_set_new(buf_slice(&pem), buf_slice(&a->pem), now, &s, &why), OK);
    assert_int_equal(crl_set_count(s), 3);
    assert_true(crl_set_lists(s, &x509_info(a->leaf)->id));
    assert_false(crl_set_lists(s, &x509_info(other)->id)); /* the same key: another certificate */
    assert_false(crl_set_lists(s, &x509_info(a[1].leaf)->id));
    assert_int_equal(crl_set_next_update(s), now + 7 * AUTHORITY_DAY);
    const struct crl_set *again = crl_set_ref(s);
    assert_null(crl_set_unref(s));
    assert_true(crl_set_lists(again, &x509_info(a->leaf)->id));
    assert_null(crl_set_unref(again));
    assert_false(crl_set_lists(NULL, &x509_info(a->leaf)->id));
    assert_null(crl_set_unref(NULL));
}

/* Two authorities, two lists in one file: a serial counts for its own issuer alone. */
static void two_lists(void **state)
{
    const struct test_authority *a = *state;
    AUTO(buf_done) struct buf pem = {0};
    AUTO(buf_done) struct buf both = {0};
    struct crl_entry e[] = {entry_of(a[0].leaf, CRL_SUPERSEDED), entry_of(a[1].leaf, 0)};
    struct crl_order one = order_of(&a[0], &e[1], 1), two = order_of(&a[1], &e[1], 1);
    const struct crl_set *s = NULL;
    struct why why = {{0}};
    one.next_update_wall_ms = now + AUTHORITY_DAY;
    assert_int_equal(pem_of(&one, &pem), OK);
    assert_int_equal(pem_of(&two, &pem), OK);
    assert_int_equal(buf_append(&both, buf_slice(&a[0].pem), 1 << 16), OK);
    assert_int_equal(buf_append(&both, buf_slice(&a[1].pem), 1 << 16), OK);
    assert_int_equal(crl_set_new(buf_slice(&pem), buf_slice(&both), now, &s, &why), OK);
    assert_int_equal(crl_set_count(s), 2);
    assert_true(crl_set_lists(s, &x509_info(a[1].leaf)->id));
    assert_false(crl_set_lists(s, &x509_info(a[0].leaf)->id));
    assert_int_equal(crl_set_next_update(s), now + AUTHORITY_DAY);
    crl_set_unref(s);
    /* the second one's authority is not ours: the file is refused, not half of it */
    assert_int_equal(crl_set_new(buf_slice(&pem), buf_slice(&a[0].pem), now, &s, &why), ERR_AUTH);
    assert_non_null(strstr(why.text, "no authority"));
}

static void refused(void **state)
{
    const struct test_authority *a = *state;
    AUTO(buf_done) struct buf pem = {0};
    struct crl_entry e = entry_of(a->leaf, 0);
    struct crl_order o = order_of(a, &e, 1);
    const struct crl_set *s = NULL;
    struct slice ours = buf_slice(&a->pem);
    struct why why = {{0}};
    assert_int_equal(crl_set_new((struct slice){0}, ours, now, &s, &why), ERR_MALFORMED);
    assert_int_equal(crl_set_new(slice_text("revoke all"), ours, now, &s, &why), ERR_MALFORMED);
    assert_int_equal(crl_set_new(ours, ours, now, &s, &why), ERR_MALFORMED);
    assert_int_equal(pem_of(&o, &pem), OK);
    struct slice whole = buf_slice(&pem);
    assert(pem.p != NULL);
    for (size_t n = 0; n + 26 < whole.n; n += 13) { /* its last line is 25 bytes */
        assert_int_not_equal(crl_set_new(slice_head(whole, n), ours, now, &s, &why), OK);
    }
    /* a list whose bytes were changed is nobody's */
    for (size_t at = 30; at < whole.n - 30; at += 17) {
        uint8_t was = pem.p[at];
        pem.p[at] = was == 'A' ? 'B' : 'A';
        assert_int_not_equal(crl_set_new(whole, ours, now, &s, &why), OK);
        pem.p[at] = was;
    }
    /* clocks may differ a little */
    assert_int_equal(crl_set_new(whole, ours, now - CRL_CLOCK_SKEW_MS - 1000, &s, &why),
                     ERR_EXPIRED);
    assert_int_equal(crl_set_new(whole, ours, now - CRL_CLOCK_SKEW_MS, &s, &why), OK);
    crl_set_unref(s);
    /* past its time it still revokes */
    assert_int_equal(crl_set_new(whole, ours, now + 100 * AUTHORITY_DAY, &s, &why), OK);
    assert_true(crl_set_lists(s, &x509_info(a->leaf)->id));
    crl_set_unref(s);
}

static void orders_refused(void **state)
{
    const struct test_authority *a = *state;
    AUTO(buf_done) struct buf der = {0};
    struct crl_entry e = entry_of(a->leaf, 0);
    struct crl_order o = order_of(a, &e, 1);
    o.issuer_key = a[1].key;
    assert_int_equal(crl_make(&o, &der), ERR_CRYPTO);
    o = order_of(a, &e, 1);
    o.issuer = a->leaf;
    assert_int_equal(crl_make(&o, &der), ERR_CRYPTO);
    o = order_of(a, &e, 1);
    o.next_update_wall_ms = now;
    assert_int_equal(crl_make(&o, &der), ERR_MALFORMED);
    o = order_of(a, &e, CRL_ENTRIES_MAX + 1);
    assert_int_equal(crl_make(&o, &der), ERR_LIMIT);
    struct crl_entry bad[] = {{.reason = 1}, {.serial = {3, {0}}}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        o = order_of(a, &bad[i], 1);
        assert_int_equal(crl_make(&o, &der), ERR_MALFORMED);
    }
    assert_int_equal(der.n, 0);
    assert_int_equal(crl_to_pem(slice_text("no list"), &der), ERR_MALFORMED);
    assert_int_equal(crl_to_pem((struct slice){0}, &der), ERR_MALFORMED);
}

/* An empty list is a good one: nobody is revoked. */
static void empty(void **state)
{
    const struct test_authority *a = *state;
    AUTO(buf_done) struct buf pem = {0};
    struct crl_order o = order_of(a, NULL, 0);
    const struct crl_set *s = NULL;
    struct why why = {{0}};
    assert_int_equal(pem_of(&o, &pem), OK);
    assert_int_equal(crl_set_new(buf_slice(&pem), buf_slice(&a->pem), now, &s, &why), OK);
    assert_int_equal(crl_set_count(s), 0);
    assert_false(crl_set_lists(s, &x509_info(a->leaf)->id));
    crl_set_unref(s);
}

static void no_memory(void **state)
{
    const struct test_authority *a = *state;
    AUTO(buf_done) struct buf pem = {0};
    struct crl_entry e = entry_of(a->leaf, CRL_KEY_COMPROMISE);
    struct crl_order o = order_of(a, &e, 1);
    struct why why = {{0}};
    assert_int_equal(pem_of(&o, &pem), OK);
    bool failed = true;
    for (long n = 0; failed; n++) {
        AUTO(buf_done) struct buf der = {0};
        const struct crl_set *s = NULL;
        (void)mem_fail_after(n);
        enum err err = crl_set_new(buf_slice(&pem), buf_slice(&a->pem), now, &s, &why);
        enum err made = crl_make(&o, &der);
        failed = mem_fail_after(-1) != 0;
        assert_int_equal(err == OK && made == OK, !failed);
        crl_set_unref(s);
    }
}

static void reasons(void **state)
{
    enum crl_reason r;
    (void)state;
    assert_true(crl_reason_find(slice_text("key-compromise"), &r));
    assert_int_equal(r, CRL_KEY_COMPROMISE);
    assert_false(crl_reason_find(slice_text("certificate-hold"), &r)); /* for good, or not at all */
    assert_string_equal(crl_reason_name(CRL_WITHDRAWN), "withdrawn");
    assert_string_equal(crl_reason_name(6), "unspecified");
}

static void serials(void **state)
{
    struct serial s, again;
    char hex[SERIAL_HEX_BYTES];
    uint8_t long_one[SERIAL_BYTES + 1] = {1};
    (void)state;
    assert_int_equal(serial_from_hex(slice_text("0A:ff:00"), &s), OK);
    assert_int_equal(s.n, 3);
    serial_hex(&s, hex);
    assert_string_equal(hex, "0aff00");
    assert_int_equal(serial_from_hex(slice_text("00000aFF00"), &again), OK);
    assert_true(slice_equal(serial_slice(&s), serial_slice(&again)));
    assert_int_equal(serial_from(slice_of(long_one, SERIAL_BYTES), &s), OK);
    serial_hex(&s, hex);
    assert_int_equal(serial_from_hex(slice_text(hex), &again), OK);
    assert_int_equal(serial_from(slice_of(long_one, SERIAL_BYTES + 1), &s), ERR_MALFORMED);
    static const char *const bad[] = {
        "",    "0",   "00",     "abc",   "gg",
        "0a:", ":0a", "0a::0b", "0a 0b", "010203040506070809101112131415161718192021"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(serial_from_hex(slice_text(bad[i]), &s), ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_and_read),  cmocka_unit_test(two_lists), cmocka_unit_test(refused),
        cmocka_unit_test(orders_refused), cmocka_unit_test(empty),     cmocka_unit_test(no_memory),
        cmocka_unit_test(reasons),        cmocka_unit_test(serials)};
    return cmocka_run_group_tests(tests, setup, teardown);
}

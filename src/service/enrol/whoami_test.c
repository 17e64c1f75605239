/* Whom the server takes the holder of a certificate for. */
#include "service/enrol/whoami.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "security/crypto/authority_test.h"
#include "security/crypto/crl_make.h"
#include "service/directory/certify_test.h"
#include "service/directory/directory_place_test.h"

static int setup(void **state)
{
    struct test_place *p = test_calloc(1, sizeof *p);
    test_place_open(p);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    test_place_close(*state);
    test_free(*state);
    return 0;
}

/* listed: certificates that were taken back, or NULL. */
static struct whoami ask_with(struct test_place *p, const struct crl_set *listed, struct slice der,
                              int64_t now)
{
    struct whoami w = {.status = 0};
    const struct directory_version *v = directory_current(p->d);
    const struct realm realm = {.directory = v, .extra_list = listed};
    assert_int_equal(whoami_answer(&realm, der, 30 * (uint32_t)86400, now, &w), OK);
    directory_version_unref(v);
    return w;
}

static struct whoami ask(struct test_place *p, struct slice der, int64_t now)
{
    return ask_with(p, NULL, der, now);
}

/* Whom a list names is nobody, though the directory has the device and its key as before. */
static void who_is_listed(void **state)
{
    struct test_place *p = *state;
    struct test_authority ours;
    AUTO(buf_done) struct buf der = {0};
    AUTO(buf_done) struct buf crl = {0};
    AUTO(buf_done) struct buf pem = {0};
    const struct crl_set *listed = NULL;
    struct why why = {{0}};
    uint64_t id;
    AUTO(x509_autofree) struct x509 *x = NULL;
    assert_int_equal(test_authority_make("ours", &ours), OK);
    const struct x509_san san = {X509_SAN_URI, slice_text(IDENTITY_URI_PREFIX "meter")};
    const struct x509_order leaf = {.kind = X509_KIND_CLIENT,
                                    .common_name = slice_text("-"),
                                    .sans = &san,
                                    .n_sans = 1,
                                    .subject = ours.leaf_key,
                                    .issuer = ours.cert,
                                    .issuer_key = ours.key,
                                    .now_wall_ms = AUTHORITY_NOW};
    struct random_source random = random_system();
    assert_int_equal(x509_issue(&leaf, &random, &x), OK);
    assert_int_equal(x509_to_der(x, &der), OK);
    int64_t end = x509_info(x)->not_after_wall_ms;
    struct directory_secret s = {
        .kind = CREDENTIAL_X509, .expires_wall_ms = end, .spki = x509_info(x)->spki};
    struct directory_order o = {
        .name = slice_text("meter"), .role = slice_text("sensor"), .secrets = &s, .n_secrets = 1};
    assert_int_equal(directory_add(p->d, &o, AUTHORITY_NOW, &id, NULL), OK);
    struct crl_entry entry = {.reason = CRL_KEY_COMPROMISE, .at_wall_ms = AUTHORITY_NOW};
    assert_int_equal(serial_from(x509_info(x)->serial, &entry.serial), OK);
    const struct crl_order list = {.issuer = ours.cert,
                                   .issuer_key = ours.key,
                                   .number = 1,
                                   .now_wall_ms = AUTHORITY_NOW,
                                   .next_update_wall_ms = AUTHORITY_NOW + AUTHORITY_DAY,
                                   .entries = &entry,
                                   .n = 1};
    assert_int_equal(crl_make(&list, &crl), OK);
    assert_int_equal(crl_to_pem(buf_slice(&crl), &pem), OK);
    assert_int_equal(
        crl_set_new(buf_slice(&pem), buf_slice(&ours.pem), AUTHORITY_NOW, &listed, &why), OK);
    assert_int_equal(ask(p, buf_slice(&der), AUTHORITY_NOW).status, 200);
    struct whoami w = ask_with(p, listed, buf_slice(&der), AUTHORITY_NOW);
    assert_int_equal(w.status, 403);
    assert_non_null(strstr(w.text, "revoked"));
    w = ask_with(p, listed, buf_slice(&der), end); /* nor may it renew */
    assert_int_equal(w.status, 403);
    assert_null(strstr(w.text, "renew"));
    crl_set_unref(listed);
    test_authority_done(&ours);
}

static void who_is_it(void **state)
{
    struct test_place *p = *state;
    AUTO(buf_done) struct buf mine = {0};
    AUTO(buf_done) struct buf unknown = {0};
    AUTO(buf_done) struct buf other = {0};
    AUTO(buf_done) struct buf nameless = {0};
    struct digest spki, ignored;
    uint64_t id;
    certify("meter", true, TEST_NOW, &mine, &spki);
    certify("nobody", true, TEST_NOW, &unknown, &ignored);
    certify("meter", true, TEST_NOW, &other, &ignored);
    certify("meter", false, TEST_NOW, &nameless, &ignored);
    struct directory_secret s = {
        .kind = CREDENTIAL_X509, .expires_wall_ms = TEST_NOW + TEST_DAY_MS, .spki = spki};
    struct directory_order o = {
        .name = slice_text("meter"), .role = slice_text("sensor"), .secrets = &s, .n_secrets = 1};
    assert_int_equal(directory_add(p->d, &o, TEST_NOW, &id, NULL), OK);

    struct whoami w = ask(p, buf_slice(&mine), TEST_NOW + 5);
    assert_int_equal(w.status, 200);
    assert_non_null(strstr(w.text, "{\"name\":\"meter\",\"role\":\"sensor\",\"not_after\":\""));
    const struct directory_version *v = directory_current(p->d);
    const struct directory_entry *e = directory_find(v, slice_text("meter"));
    assert_int_equal(e->credentials[0]->used_wall_ms, TEST_NOW + 5); /* it counts as a use */
    uint64_t by = e->credentials[0]->id;
    directory_version_unref(v);

    assert_int_equal(ask(p, (struct slice){0}, TEST_NOW).status, 401);
    assert_int_equal(ask(p, slice_text("rubbish"), TEST_NOW).status, 401);
    assert_int_equal(ask(p, buf_slice(&unknown), TEST_NOW).status, 401);
    assert_int_equal(ask(p, buf_slice(&other), TEST_NOW).status, 401);
    assert_int_equal(ask(p, buf_slice(&nameless), TEST_NOW).status, 401);
    assert_int_equal(ask(p, buf_slice(&mine), TEST_NOW + TEST_DAY_MS).status, 401);

    /* the certificate itself has ended */
    AUTO(x509_autofree) struct x509 *x = NULL;
    assert_int_equal(x509_from_der(buf_slice(&mine), &x), OK);
    int64_t end = x509_info(x)->not_after_wall_ms;
    struct directory_renewal r = {.name = o.name, .by = by, .spki = spki, .expires_wall_ms = end};
    assert_int_equal(directory_renew(p->d, &r, TEST_NOW, NULL), OK);
    assert_int_equal(ask(p, buf_slice(&mine), end - 1).status, 200);
    w = ask(p, buf_slice(&mine), end);
    assert_int_equal(w.status, 403);
    assert_non_null(strstr(w.text, "it may only renew"));
    assert_int_equal(ask(p, buf_slice(&mine), end + 31 * TEST_DAY_MS).status, 401);
    assert_int_equal(ask(p, buf_slice(&other), end).status, 401);
    assert_int_equal(directory_disable(p->d, slice_text("meter"), slice_text("")), OK);
    assert_int_equal(ask(p, buf_slice(&mine), end).status, 403);
    assert_int_equal(ask(p, buf_slice(&mine), TEST_NOW).status, 403);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_it, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_listed, setup, teardown),
    };
    return cmocka_run_group_tests_name("whoami", tests, NULL, NULL);
}

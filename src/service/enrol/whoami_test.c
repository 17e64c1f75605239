/* Whom the server takes the holder of a certificate for. */
#include "service/enrol/whoami.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "security/crypto/x509.h"
#include "security/identity/identity.h"
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

/* A certificate that says it is of this name; what signs it is for TLS to judge. */
static void certify(const char *name, bool has_uri, struct buf *ret_der, struct digest *ret_spki)
{
    struct random_source random = random_system();
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(key_autofree) struct key *ca_key = NULL;
    AUTO(x509_autofree) struct x509 *ca = NULL;
    AUTO(x509_autofree) struct x509 *x = NULL;
    char uri[sizeof IDENTITY_URI_PREFIX + IDENTITY_NAME_MAX];
    (void)snprintf(uri, sizeof uri, IDENTITY_URI_PREFIX "%s", name);
    struct x509_san san = {X509_SAN_URI, slice_text(uri)};
    assert_int_equal(key_generate(&key), OK);
    assert_int_equal(key_generate(&ca_key), OK);
    struct x509_order o = {.kind = X509_KIND_ROOT,
                           .common_name = slice_text("root"),
                           .subject = ca_key,
                           .issuer_key = ca_key,
                           .now_wall_ms = TEST_NOW};
    assert_int_equal(x509_issue(&o, &random, &ca), OK);
    o = (struct x509_order){.kind = X509_KIND_CLIENT,
                            .common_name = slice_text("-"),
                            .sans = &san,
                            .n_sans = has_uri ? 1 : 0,
                            .subject = key,
                            .issuer = ca,
                            .issuer_key = ca_key,
                            .now_wall_ms = TEST_NOW};
    assert_int_equal(x509_issue(&o, &random, &x), OK);
    assert_int_equal(x509_to_der(x, ret_der), OK);
    *ret_spki = x509_info(x)->spki;
}

static struct whoami ask(struct test_place *p, struct slice der, int64_t now)
{
    struct whoami w = {.status = 0};
    const struct directory_version *v = directory_current(p->d);
    assert_int_equal(whoami_answer(v, der, 30 * (uint32_t)86400, now, &w), OK);
    directory_version_unref(v);
    return w;
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
    certify("meter", true, &mine, &spki);
    certify("nobody", true, &unknown, &ignored);
    certify("meter", true, &other, &ignored);
    certify("meter", false, &nameless, &ignored);
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
    };
    return cmocka_run_group_tests_name("whoami", tests, NULL, NULL);
}

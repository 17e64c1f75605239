#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/why.h"
#include "security/crypto/x509.h"

#define DAY_MS INT64_C(86400000)
static const int64_t now = INT64_C(1795000000000);

/* A root, an intermediate and a leaf key. */
struct chain {
    struct key *root_key, *intermediate_key, *leaf_key;
    struct x509 *root, *intermediate;
    struct buf root_pem, intermediate_pem;
};

static enum err issue(const struct x509_order *o, struct x509 **ret)
{
    struct random_source random = random_system();
    return x509_issue(o, &random, ret);
}

static struct x509_order root_order(const struct chain *c)
{
    return (struct x509_order){.kind = X509_KIND_ROOT,
                               .common_name = slice_text("root"),
                               .subject = c->root_key,
                               .issuer_key = c->root_key,
                               .now_wall_ms = now};
}

static struct x509_order leaf_order(const struct chain *c, enum x509_kind kind)
{
    return (struct x509_order){.kind = kind,
                               .common_name = slice_text("leaf"),
                               .subject = c->leaf_key,
                               .issuer = c->intermediate,
                               .issuer_key = c->intermediate_key,
                               .now_wall_ms = now};
}

static int setup(void **state)
{
    struct chain *c = test_calloc(1, sizeof *c);
    assert_int_equal(key_generate(&c->root_key), OK);
    assert_int_equal(key_generate(&c->intermediate_key), OK);
    assert_int_equal(key_generate(&c->leaf_key), OK);
    struct x509_order o = root_order(c);
    assert_int_equal(issue(&o, &c->root), OK);
    o.kind = X509_KIND_INTERMEDIATE;
    o.common_name = slice_text("intermediate");
    o.subject = c->intermediate_key;
    o.issuer = c->root;
    assert_int_equal(issue(&o, &c->intermediate), OK);
    assert_int_equal(x509_to_pem(c->root, &c->root_pem), OK);
    assert_int_equal(x509_to_pem(c->intermediate, &c->intermediate_pem), OK);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct chain *c = *state;
    key_free(c->root_key);
    key_free(c->intermediate_key);
    key_free(c->leaf_key);
    x509_free(c->root);
    x509_free(c->intermediate);
    buf_done(&c->root_pem);
    buf_done(&c->intermediate_pem);
    test_free(c);
    return 0;
}

static enum err verify(const struct chain *c, const struct x509 *leaf, enum x509_kind kind,
                       int64_t at, struct why *why)
{
    return x509_verify(leaf, buf_slice(&c->intermediate_pem), buf_slice(&c->root_pem), kind, at,
                       why);
}

static void chains(void **state)
{
    const struct chain *c = *state;
    const uint8_t ip[4] = {192, 0, 2, 7};
    struct x509_san sans[] = {{X509_SAN_DNS, slice_text("a.example")},
                              {X509_SAN_IP, slice_of(ip, sizeof ip)}};
    AUTO(x509_autofree) struct x509 *server = NULL;
    AUTO(x509_autofree) struct x509 *client = NULL;
    struct x509_order o = leaf_order(c, X509_KIND_SERVER);
    o.sans = sans;
    o.n_sans = 2;
    assert_int_equal(issue(&o, &server), OK);
    o = leaf_order(c, X509_KIND_CLIENT);
    assert_int_equal(issue(&o, &client), OK);

    struct why why;
    assert_int_equal(verify(c, server, X509_KIND_SERVER, now, &why), OK);
    assert_int_equal(verify(c, client, X509_KIND_CLIENT, now, &why), OK);
    assert_int_equal(verify(c, server, X509_KIND_CLIENT, now, &why), ERR_AUTH);
    assert_int_equal(verify(c, client, X509_KIND_SERVER, now, &why), ERR_AUTH);
    /* begins an hour early, ends after ninety days */
    assert_int_equal(verify(c, client, X509_KIND_CLIENT, now - 3599000, &why), OK);
    assert_int_equal(verify(c, client, X509_KIND_CLIENT, now - 3601000, &why), ERR_AUTH);
    assert_int_equal(verify(c, client, X509_KIND_CLIENT, now + 90 * DAY_MS - 1000, &why), OK);
    assert_int_equal(verify(c, client, X509_KIND_CLIENT, now + 90 * DAY_MS + 1000, &why), ERR_AUTH);
    assert_non_null(strstr(why.text, "expired"));

    const struct x509_info *i = x509_info(server);
    assert_true(i->is_server && !i->is_client && i->has_eku && !i->is_ca);
    assert_int_equal(i->n_sans, 2);
    assert_true(slice_is(i->sans[0].value, "a.example"));
    assert_memory_equal(i->sans[1].value.p, ip, 4);
    assert_true(slice_is(i->common_name, "leaf"));
    assert_int_equal(i->n_common_names, 1);
    assert_int_equal(i->serial.n, 16);
    assert_int_equal(i->not_after_wall_ms, now + 90 * DAY_MS);
    struct digest spki;
    assert_int_equal(key_spki_sha256(c->leaf_key, &spki), OK);
    assert_memory_equal(&spki, &i->spki, sizeof spki);
    assert_true(x509_info(c->root)->is_ca && x509_info(c->intermediate)->is_ca);
}

static void foreign_chain(void **state)
{
    const struct chain *c = *state;
    void *other_state = NULL;
    setup(&other_state);
    struct chain *other = other_state;
    AUTO(x509_autofree) struct x509 *client = NULL;
    struct x509_order o = leaf_order(other, X509_KIND_CLIENT);
    assert_int_equal(issue(&o, &client), OK);
    struct why why;
    assert_int_equal(verify(c, client, X509_KIND_CLIENT, now, &why), ERR_AUTH);
    assert_int_equal(verify(other, client, X509_KIND_CLIENT, now, &why), OK);
    teardown(&other_state);
}

static void refused_orders(void **state)
{
    const struct chain *c = *state;
    AUTO(x509_autofree) struct x509 *x = NULL;
    AUTO(x509_autofree) struct x509 *leaf = NULL;
    struct x509_order o = leaf_order(c, X509_KIND_CLIENT);
    assert_int_equal(issue(&o, &leaf), OK);

    o.issuer_key = c->root_key; /* not the issuer's */
    assert_int_equal(issue(&o, &x), ERR_CRYPTO);
    o = leaf_order(c, X509_KIND_CLIENT);
    o.issuer = leaf; /* no CA */
    o.issuer_key = c->leaf_key;
    assert_int_equal(issue(&o, &x), ERR_CRYPTO);
    o = leaf_order(c, X509_KIND_CLIENT);
    o.issuer = NULL; /* only a root signs itself */
    assert_int_equal(issue(&o, &x), ERR_CRYPTO);
    o = leaf_order(c, X509_KIND_CLIENT);
    o.common_name = (struct slice){0};
    assert_int_equal(issue(&o, &x), ERR_MALFORMED);

    static const struct x509_san bad[] = {
        {X509_SAN_DNS, {0}},
        {X509_SAN_DNS, {(const uint8_t *)"a b", 3}},
        {X509_SAN_DNS, {(const uint8_t *)"a\0b", 3}},
        {X509_SAN_URI, {(const uint8_t *)"urn:\xc3\xa4", 6}},
        {X509_SAN_IP, {(const uint8_t *)"12345", 5}},
        {X509_SAN_OTHER, {(const uint8_t *)"x", 1}},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        o = leaf_order(c, X509_KIND_SERVER);
        o.sans = &bad[i];
        o.n_sans = 1;
        assert_int_equal(issue(&o, &x), ERR_MALFORMED);
    }
    /* never past the issuer's end */
    o = leaf_order(c, X509_KIND_CLIENT);
    o.lifetime_ms = 9000 * DAY_MS;
    assert_int_equal(issue(&o, &x), OK);
    assert_int_equal(x509_info(x)->not_after_wall_ms,
                     x509_info(c->intermediate)->not_after_wall_ms);
}

static void damaged_der(void **state)
{
    const struct chain *c = *state;
    AUTO(buf_done) struct buf der = {0};
    AUTO(x509_autofree) struct x509 *x = NULL;
    struct x509_order o = leaf_order(c, X509_KIND_CLIENT);
    assert_int_equal(issue(&o, &x), OK);
    assert_int_equal(x509_to_der(x, &der), OK);
    x = x509_free(x);
    assert_int_equal(x509_from_der(buf_slice(&der), &x), OK);
    assert_int_equal(verify(c, x, X509_KIND_CLIENT, now, NULL), OK);
    x = x509_free(x);
    for (size_t n = 0; n < der.n; n++) {
        assert_int_equal(x509_from_der(slice_head(buf_slice(&der), n), &x), ERR_MALFORMED);
    }
    for (size_t bit = 0; bit < 8 * der.n; bit++) {
        der.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
        if (x509_from_der(buf_slice(&der), &x) == OK) {
            assert_int_equal(verify(c, x, X509_KIND_CLIENT, now, NULL), ERR_AUTH);
            x = x509_free(x);
        }
        der.p[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(buf_append(&der, slice_text("x"), X509_DER_MAX), OK);
    assert_int_equal(x509_from_der(buf_slice(&der), &x), ERR_MALFORMED);
}

static void pem_files(void **state)
{
    const struct chain *c = *state;
    AUTO(buf_done) struct buf both = {0};
    AUTO(x509_autofree) struct x509 *a = NULL;
    AUTO(x509_autofree) struct x509 *b = NULL;
    AUTO(x509_autofree) struct x509 *none = NULL;
    assert_int_equal(buf_append(&both, buf_slice(&c->root_pem), 9999), OK);
    assert_int_equal(buf_append(&both, buf_slice(&c->intermediate_pem), 9999), OK);
    struct slice rest = buf_slice(&both);
    assert_int_equal(x509_next_pem(&rest, &a), OK);
    assert_int_equal(x509_next_pem(&rest, &b), OK);
    assert_int_equal(x509_next_pem(&rest, &none), ERR_NOT_FOUND);
    assert_memory_equal(&x509_info(a)->spki, &x509_info(c->root)->spki, 32);
    assert_memory_equal(&x509_info(b)->spki, &x509_info(c->intermediate)->spki, 32);
    rest = slice_head(buf_slice(&both), 60);
    assert_int_equal(x509_next_pem(&rest, &none), ERR_MALFORMED);
}

/* Where peers hear of revocation stands in leaves alone, and only where one was said. */
static void status_url(void **state)
{
    const struct chain *c = *state;
    static const struct {
        const char *url;
        enum err err;
    } cases[] = {{"", OK},
                 {"http://pki.example:8080/a", OK},
                 {"http://", ERR_MALFORMED},
                 {"http://a/", ERR_MALFORMED},
                 {"https://a", ERR_MALFORMED},
                 {"http://a b", ERR_MALFORMED},
                 {"http://a,DNS:b", ERR_MALFORMED},
                 {"http://a;b", ERR_MALFORMED},
                 {"http://a?b", ERR_MALFORMED}};
    char longest[X509_URL_MAX + 2] = "http://";
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        AUTO(buf_done) struct buf der = {0};
        struct x509_order o = leaf_order(c, X509_KIND_CLIENT);
        o.status_url = slice_text(cases[i].url);
        assert_int_equal(issue(&o, &x), cases[i].err);
        if (x != NULL) {
            struct why why;
            assert_int_equal(x509_to_der(x, &der), OK);
            bool has = memmem(der.p, der.n, "/crl.der", 8) != NULL &&
                       memmem(der.p, der.n, "/ocsp", 5) != NULL;
            assert_int_equal(has, cases[i].url[0] != '\0');
            assert_int_equal(verify(c, x, X509_KIND_CLIENT, now, &why), OK);
        }
    }
    memset(longest + 7, 'a', X509_URL_MAX - 7);
    assert_true(x509_url_ok(slice_text(longest)));
    longest[X509_URL_MAX] = 'a';
    assert_false(x509_url_ok(slice_text(longest)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains),         cmocka_unit_test(foreign_chain),
        cmocka_unit_test(refused_orders), cmocka_unit_test(damaged_der),
        cmocka_unit_test(pem_files),      cmocka_unit_test(status_url),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

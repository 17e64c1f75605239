#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <openssl/x509v3.h>

#include "base/mem.h"
#include "security/identity/identity.h"

/* Certificates as hostile authorities make them: x509_issue would refuse these names, so the
 * library is used directly. */
struct claim {
    int type; /* GEN_URI, GEN_DNS, GEN_EMAIL, or 0: a CN */
    const char *value;
    size_t n; /* 0: strlen */
};

static struct x509 *make(const struct claim *claims, size_t n, const char *eku, bool is_ca)
{
    X509 *cert = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    X509_NAME *subject = X509_NAME_new();
    for (size_t i = 0; i < n; i++) {
        int length = (int)(claims[i].n > 0 ? claims[i].n : strlen(claims[i].value));
        if (claims[i].type == 0) {
            assert_int_equal(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                                        (const uint8_t *)claims[i].value, length,
                                                        -1, 0),
                             1);
            continue;
        }
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *value = ASN1_IA5STRING_new();
        assert_int_equal(ASN1_STRING_set(value, claims[i].value, length), 1);
        GENERAL_NAME_set0_value(name, claims[i].type, value);
        sk_GENERAL_NAME_push(names, name);
    }
    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_subject_name(cert, subject);
    X509_set_issuer_name(cert, subject);
    X509_set_pubkey(cert, key);
    if (sk_GENERAL_NAME_num(names) > 0) {
        X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
    }
    X509_EXTENSION *e = NULL;
    if (eku != NULL) {
        e = X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, eku);
        X509_add_ext(cert, e, -1);
        X509_EXTENSION_free(e);
    }
    if (is_ca) {
        e = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(cert, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    uint8_t *der = NULL;
    int der_n = i2d_X509(cert, &der);
    struct x509 *x = NULL;
    assert_int_equal(x509_from_der(slice_of(der, (size_t)der_n), &x), OK);
    OPENSSL_free(der);
    X509_NAME_free(subject);
    GENERAL_NAMES_free(names);
    EVP_PKEY_free(key);
    X509_free(cert);
    return x;
}

#define URI IDENTITY_URI_PREFIX
#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct test_case {
    const char *label;
    struct claim claims[3];
    size_t n;
    unsigned rule;
    enum err err;
    const char *name;
};

static const struct test_case cases[] = {
    {"uri", {{GEN_URI, URI "meter-7", 0}}, 1, IDENTITY_ANY, OK, "meter-7"},
    {"uri before dns before cn",
     {{0, "cn", 0}, {GEN_DNS, "dns", 0}, {GEN_URI, URI "uri", 0}},
     3,
     IDENTITY_ANY,
     OK,
     "uri"},
    {"dns before cn",
     {{0, "cn", 0}, {GEN_DNS, "dns.example", 0}},
     2,
     IDENTITY_ANY,
     OK,
     "dns.example"},
    {"cn", {{0, "cn", 0}}, 1, IDENTITY_ANY, OK, "cn"},
    {"rule leaves out uri", {{GEN_URI, URI "u", 0}, {0, "cn", 0}}, 2, IDENTITY_CN, OK, "cn"},
    {"rule without cn", {{0, "cn", 0}}, 1, IDENTITY_URI | IDENTITY_DNS, ERR_NOT_FOUND, NULL},
    {"no claim", {{0}}, 0, IDENTITY_ANY, ERR_NOT_FOUND, NULL},
    {"email is no claim", {{GEN_EMAIL, "a@b", 0}}, 1, IDENTITY_ANY, ERR_NOT_FOUND, NULL},
    {"foreign uri beside ours",
     {{GEN_URI, "https://a.example/x", 0}, {GEN_URI, URI "u", 0}},
     2,
     IDENTITY_ANY,
     OK,
     "u"},
    {"scheme without case", {{GEN_URI, "URN:Sallyport:device:u", 0}}, 1, IDENTITY_ANY, OK, "u"},
    {"two uris", {{GEN_URI, URI "a", 0}, {GEN_URI, URI "b", 0}}, 2, IDENTITY_ANY, ERR_LIMIT, NULL},
    {"two dns", {{GEN_DNS, "a", 0}, {GEN_DNS, "b", 0}}, 2, IDENTITY_ANY, ERR_LIMIT, NULL},
    {"two cns", {{0, "a", 0}, {0, "b", 0}}, 2, IDENTITY_ANY, ERR_LIMIT, NULL},
    {"bad uri does not fall through to cn",
     {{GEN_URI, URI "a/b", 0}, {0, "cn", 0}},
     2,
     IDENTITY_ANY,
     ERR_MALFORMED,
     NULL},
    {"empty", {{GEN_URI, URI, 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"64 bytes", {{GEN_URI, URI A64, 0}}, 1, IDENTITY_ANY, OK, A64},
    {"65 bytes", {{GEN_URI, URI A64 "a", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"slash", {{0, "a/b", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"plus", {{0, "+", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"hash", {{0, "#", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"dollar", {{0, "${device}", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"NUL", {{GEN_DNS, "admin\0.evil.example", 19}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"NUL at the end",
     {{GEN_URI, URI "a\0", sizeof URI "a"}},
     1,
     IDENTITY_ANY,
     ERR_MALFORMED,
     NULL},
    {"CR LF", {{0, "a\r\nb", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"space", {{0, "a b", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"wildcard dns", {{GEN_DNS, "*.example", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"umlaut", {{0, "ger\xc3\xa4t", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
    {"percent", {{GEN_URI, URI "a%2fb", 0}}, 1, IDENTITY_ANY, ERR_MALFORMED, NULL},
};

static void names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct test_case *t = &cases[i];
        AUTO(x509_autofree) struct x509 *x = make(t->claims, t->n, NULL, false);
        char name[IDENTITY_NAME_BYTES] = "unchanged";
        enum err err = identity_from_x509(x, t->rule, name);
        if (err != t->err || strcmp(name, t->err == OK ? t->name : "unchanged") != 0) {
            fail_msg("%s: %d %s", t->label, (int)err, name);
        }
    }
}

static void not_for_clients(void **state)
{
    (void)state;
    const struct claim claim = {GEN_URI, URI "a", 0};
    static const struct {
        const char *eku;
        bool is_ca;
        enum err err;
    } purposes[] = {
        {NULL, false, OK},
        {"clientAuth", false, OK},
        {"clientAuth,serverAuth", false, OK},
        {"serverAuth", false, ERR_DENIED},
        {"codeSigning", false, ERR_DENIED},
        {NULL, true, ERR_DENIED},
        {"clientAuth", true, ERR_DENIED},
    };
    for (size_t i = 0; i < COUNT_OF(purposes); i++) {
        AUTO(x509_autofree)
        struct x509 *x = make(&claim, 1, purposes[i].eku, purposes[i].is_ca);
        char name[IDENTITY_NAME_BYTES];
        assert_int_equal(identity_from_x509(x, IDENTITY_ANY, name), purposes[i].err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(not_for_clients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a client of ours may say about TLS, and what it may not. */
#include "net/stream_duo_test.h"

enum { CIPHERS_MAX = 512, ALPN_MAX = 31 };

static enum err make(struct tls_client_config c)
{
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    c.host = "localhost";
    enum err err = tls_client_new(&c, text, &t);
    assert_int_equal(err != OK, text[0] != '\0');
    (void)tls_free(t);
    return err;
}

static void test_ciphers(void **state)
{
    (void)state;
    static const struct {
        const char *ciphers;
        enum err err;
    } cases[] = {
        {"TLS_AES_256_GCM_SHA384", OK},
        {"ECDHE-ECDSA-AES128-GCM-SHA256", OK},
        {"TLS_CHACHA20_POLY1305_SHA256:ECDHE-RSA-CHACHA20-POLY1305:TLS_AES_128_GCM_SHA256", OK},
        {"ECDHE+AESGCM", OK},
        {"", OK}, /* names none, so nothing is narrowed */
        {"AES128-GCM-SHA256", ERR_CONFIG},
        {"ECDHE-RSA-AES128-SHA", ERR_CONFIG},
        {"DHE-RSA-AES256-GCM-SHA384", ERR_CONFIG},
        {"ECDHE-PSK-CHACHA20-POLY1305", ERR_CONFIG},
        {"PSK-AES128-GCM-SHA256", ERR_CONFIG},
        {"AECDH-NULL-SHA:@SECLEVEL=0", ERR_CONFIG},
        {"ADH-AES128-GCM-SHA256:@SECLEVEL=0", ERR_CONFIG},
        {"ALL:@SECLEVEL=0", ERR_CONFIG},
        {"DEFAULT", ERR_CONFIG},
        {"NONSENSE", ERR_CONFIG},
        {"TLS_NONSENSE", ERR_CONFIG},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_client_config c = {.ca_pem = test_cert_pem(&certs[CA]),
                                      .ciphers = cases[i].ciphers};
        if (make(c) != cases[i].err) {
            fail_msg("%s", cases[i].ciphers);
        }
    }
}

static void test_whom_to_trust(void **state)
{
    (void)state;
    assert_int_equal(make((struct tls_client_config){.alpn = "mqtt"}), ERR_CONFIG);
    assert_int_equal(make((struct tls_client_config){.use_os_authorities = true}), OK);
    assert_int_equal(make((struct tls_client_config){.ca_dir = "/etc/ssl/certs"}), OK);
    assert_int_equal(make((struct tls_client_config){.ca_pem = slice_text("x"), .ca_dir = "/etc"}),
                     ERR_CONFIG);
}

static void test_pin(void **state)
{
    (void)state;
    static const uint8_t digest[33];
    assert_int_equal(make((struct tls_client_config){.root_sha256 = slice_of(digest, 32)}), OK);
    assert_int_equal(make((struct tls_client_config){.root_sha256 = slice_of(digest, 31)}),
                     ERR_CONFIG);
    assert_int_equal(make((struct tls_client_config){.root_sha256 = slice_of(digest, 33)}),
                     ERR_CONFIG);
}

static void test_limits(void **state)
{
    (void)state;
    char name[ALPN_MAX + 2], ciphers[2 * CIPHERS_MAX];
    memset(name, 'a', sizeof(name));
    for (size_t over = 0; over < 2; over++) {
        struct tls_client_config c = {.ca_pem = test_cert_pem(&certs[CA]), .alpn = name};
        name[ALPN_MAX + over] = '\0';
        assert_int_equal(make(c), over ? ERR_CONFIG : OK);
        name[ALPN_MAX + over] = 'a';
    }
    assert_int_equal(
        make((struct tls_client_config){.ca_pem = test_cert_pem(&certs[CA]), .alpn = ""}),
        ERR_CONFIG);
    memset(ciphers, 'A', sizeof(ciphers));
    ciphers[sizeof(ciphers) - 1] = '\0';
    assert_int_equal(
        make((struct tls_client_config){.ca_pem = test_cert_pem(&certs[CA]), .ciphers = ciphers}),
        ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ciphers),
                                       cmocka_unit_test(test_whom_to_trust),
                                       cmocka_unit_test(test_pin), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

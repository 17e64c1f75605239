/* The words of handshakes that were refused: who, why, and the fix. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "security/identity/identity.h"
#include "service/broker/handshake.h"

static const int64_t made = INT64_C(1790000000000); /* 2026-09-21T14:13:20Z */

/* The certificate of meter-1, of a CA that nobody knows. */
static int make_certificate(void **state)
{
    static const char uri[] = IDENTITY_URI_PREFIX "meter-1";
    struct random_source random = random_system();
    struct buf *der = mem_zalloc(sizeof *der);
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(x509_autofree) struct x509 *root = NULL;
    AUTO(x509_autofree) struct x509 *leaf = NULL;
    assert_non_null(der);
    assert_int_equal(key_generate(&key), OK);
    struct x509_san san = {.kind = X509_SAN_URI, .value = slice_text(uri)};
    struct x509_order o = {.kind = X509_KIND_ROOT,
                           .common_name = slice_text("root"),
                           .subject = key,
                           .issuer_key = key,
                           .now_wall_ms = made};
    assert_int_equal(x509_issue(&o, &random, &root), OK);
    o.kind = X509_KIND_CLIENT;
    o.common_name = slice_text("meter-1");
    o.issuer = root;
    o.sans = &san;
    o.n_sans = 1;
    assert_int_equal(x509_issue(&o, &random, &leaf), OK);
    assert_int_equal(x509_to_der(leaf, der), OK);
    *state = der;
    return 0;
}

static int drop_certificate(void **state)
{
    struct buf *der = *state;
    buf_done(der);
    mem_free(der);
    return 0;
}

static void a_certificate_says_whose_it_is_and_both_clocks(void **state)
{
    static const struct {
        enum tls_verify verify;
        const char *reason;
    } cases[] = {
        {TLS_VERIFY_NOT_YET_VALID,
         "the client certificate is not valid yet: it begins 2026-09-21T13:13:20.000Z, the clock "
         "here says 2026-01-01T00:00:00.000Z. Set the clock that is wrong and keep it by NTP; then "
         "`sallyport device rotate NAME` if the certificate is"},
        {TLS_VERIFY_EXPIRED,
         "the authority that signed the client certificate has expired: the clock here says "
         "2026-01-01T00:00:00.000Z. Set that, if it is wrong; else give the device a new bundle: "
         "`sallyport device rotate NAME`"},
        {TLS_VERIFY_FORGED,
         "the text. Let it use cert.pem and key.pem of its bundle; `sallyport device rotate NAME` "
         "makes new ones"},
    };
    const struct buf *der = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tls_refusal r = {.failure = TLS_FAILED_CERTIFICATE,
                                .verify = cases[i].verify,
                                .cert = buf_slice(der),
                                .text = "the text"};
        struct event e = event_make(EVENT_tls_reject);
        handshake_explain(&r, INT64_C(1767225600000), &e);
        assert_string_equal(e.reason, cases[i].reason);
        assert_string_equal(e.principal, "meter-1");
        assert_true(e.is_claimed);
    }
}

/* Whatever stands there instead of a certificate. */
static void a_certificate_that_is_none_names_nobody(void **state)
{
    const struct buf *der = *state;
    for (size_t n = 0; n < der->n; n++) {
        struct tls_refusal r = {.failure = TLS_FAILED_CERTIFICATE,
                                .verify = TLS_VERIFY_EXPIRED,
                                .cert = slice_head(buf_slice(der), n),
                                .text = "the text"};
        struct event e = event_make(EVENT_tls_reject);
        handshake_explain(&r, made, &e);
        assert_false(e.is_claimed);
        assert_string_equal(e.principal, "");
        assert_non_null(strstr(e.reason, "an unknown time"));
    }
}

/* No reason is cut, whatever the alert or the text; each names a fix. */
static void every_reason_fits(void **state)
{
    char text[TLS_TEXT_BYTES];
    (void)state;
    memset(text, 'x', sizeof text);
    text[100] = '\0'; /* the library's own are shorter */
    for (unsigned failure = TLS_FAILED_OTHER; failure <= TLS_FAILED_ALERT; failure++) {
        for (unsigned alert = 0; alert <= UINT8_MAX; alert++) {
            struct tls_refusal r = {.failure = (enum tls_failure)failure,
                                    .alert = (uint8_t)alert,
                                    .version = 0x0303,
                                    .text = failure == TLS_FAILED_VERSION ? "unsupported protocol"
                                            : failure == TLS_FAILED_TERMS ? "no shared cipher"
                                                                          : text};
            struct event e = event_make(EVENT_tls_reject);
            handshake_explain(&r, made, &e);
            /* with room for "the DTLS handshake was refused: " */
            assert_in_range(strlen(e.reason), 20, sizeof e.reason - 1 - 32);
            assert_null(strchr(e.reason, '~'));
        }
    }
}

static void openings(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        enum opening opening;
    } cases[] = {
        {"", 0, OPENING_OTHER},
        {"G", 1, OPENING_OTHER},
        {"GET", 3, OPENING_OTHER},
        {"GET ", 4, OPENING_HTTP},
        {"PRI * HTTP/2.0\r\n", 16, OPENING_HTTP},
        {"get / HTTP/1.1", 14, OPENING_OTHER},
        {"\x16", 1, OPENING_OTHER},
        {"\x16\x03\x01", 3, OPENING_TLS},
        {"\x16\xfe\xfd", 3, OPENING_OTHER},
        {"\x10\x0c\0\4MQTT\4\2\0\1\0\0", 14, OPENING_MQTT},
        {"\x11\x0c\0\4MQTT", 8, OPENING_OTHER},
        {"\x20\x02\0\0", 4, OPENING_OTHER},
        {"\x10\xff\xff\xff\xff\x01", 6, OPENING_OTHER},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(opening_of(slice_of(cases[i].bytes, cases[i].n)), cases[i].opening);
    }
}

/* A CONNECT in the clear: who it says it is, never what it says to prove it. */
static void a_connect_in_the_clear_is_a_claim(void **state)
{
    static const char with_user[] = "\x10\x1e\0\4MQTT\4\xc2\0\1\0\2id\0\7meter-1\0\5horse";
    static const char without[] = "\x10\x13\0\4MQTT\4\2\0\1\0\7meter-2";
    struct event e = event_make(EVENT_tls_reject);
    (void)state;
    handshake_explain_foreign(slice_of(with_user, sizeof with_user - 1), &e);
    assert_string_equal(e.principal, "meter-1");
    assert_string_equal(e.client_id, "id");
    assert_true(e.is_claimed);
    assert_non_null(strstr(e.reason, "device rotate NAME --credential password"));
    assert_null(strstr(e.reason, "horse"));
    e = event_make(EVENT_tls_reject);
    handshake_explain_foreign(slice_of(without, sizeof without - 1), &e);
    assert_string_equal(e.principal, "meter-2");
    assert_true(e.is_claimed);
    assert_null(strstr(e.reason, "password"));
    /* Cut anywhere it is nobody's, and still MQTT. */
    for (size_t n = 2; n < sizeof with_user - 1; n++) {
        e = event_make(EVENT_tls_reject);
        handshake_explain_foreign(slice_of(with_user, n), &e);
        assert_false(e.is_claimed);
        assert_non_null(strstr(e.reason, "MQTT without TLS"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_says_whose_it_is_and_both_clocks),
        cmocka_unit_test(a_certificate_that_is_none_names_nobody),
        cmocka_unit_test(every_reason_fits),
        cmocka_unit_test(openings),
        cmocka_unit_test(a_connect_in_the_clear_is_a_claim),
    };
    return cmocka_run_group_tests(tests, make_certificate, drop_certificate);
}

/* What a server staples, and to whom: by the library's own client. */
#include "net/tls_staple.h"

#include "net/certs_test.h"
#include "net/tls_private.h"
#include "security/crypto/x509.h"

static struct test_cert ca, own, other;

static int setup(void **state)
{
    (void)state;
    test_cert_make(&ca, &(struct test_cert_spec){.name = "ca", .ca = true});
    test_cert_make(
        &own, &(struct test_cert_spec){
                  .name = "localhost", .issuer = &ca, .san = "DNS:localhost", .eku = "serverAuth"});
    test_cert_make(&other, &(struct test_cert_spec){.name = "localhost",
                                                    .issuer = &ca,
                                                    .san = "DNS:localhost",
                                                    .eku = "serverAuth"});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_cert_done(&ca);
    test_cert_done(&own);
    test_cert_done(&other);
    return 0;
}

static struct digest id_of(const struct test_cert *c)
{
    struct slice pem = test_cert_pem(c);
    AUTO(x509_autofree) struct x509 *x = NULL;
    assert_int_equal(x509_next_pem(&pem, &x), OK);
    return x509_info(x)->id;
}

static struct tls *server_of(struct tls_staple *staple)
{
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    struct tls_server_config c = {.chain_pem = test_cert_pem(&own),
                                  .key_pem = test_key_pem(&own),
                                  .allow_tls12 = true,
                                  .staple = staple};
    assert_int_equal(tls_server_new(&c, text, &t), OK);
    return t;
}

/* A handshake; what the client was shown, empty when nothing. */
static size_t shown(struct tls *t, int version, bool asks, uint8_t dst[TLS_STAPLE_MAX])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *client = SSL_new(ctx), *server = SSL_new(tls_ctx(t));
    BIO *one = NULL, *two = NULL;
    struct tls_note note = {.verify = TLS_VERIFY_OK};
    assert_int_equal(BIO_new_bio_pair(&one, 0, &two, 0), 1);
    SSL_set_app_data(server, &note);
    SSL_set_bio(client, one, one);
    SSL_set_bio(server, two, two);
    SSL_set_max_proto_version(client, version);
    if (asks) {
        SSL_set_tlsext_status_type(client, TLSEXT_STATUSTYPE_ocsp);
    }
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int i = 0; i < 10; i++) {
        (void)SSL_do_handshake(client);
        (void)SSL_do_handshake(server);
    }
    assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
    assert_int_equal(SSL_version(client), version);
    unsigned char *response = NULL;
    long n = SSL_get_tlsext_status_ocsp_resp(client, &response);
    size_t length = n > 0 ? (size_t)n : 0;
    slice_copy(dst, slice_of(response, length));
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(ctx);
    tls_note_done(&note);
    return length;
}

static void in_handshakes(void **state)
{
    static uint8_t word[TLS_STAPLE_MAX];
    const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    const struct digest id = id_of(&own), another = id_of(&other);
    struct tls_staple *staple = NULL;
    (void)state;
    assert_int_equal(tls_staple_new(&staple), OK);
    struct tls *t = server_of(staple);
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        assert_int_equal(tls_staple_set(staple, &id, (struct slice){0}), OK);
        assert_int_equal(shown(t, versions[i], true, word), 0);
        assert_int_equal(tls_staple_set(staple, &id, slice_text("it is good")), OK);
        assert_int_equal(shown(t, versions[i], true, word), 10);
        assert_memory_equal(word, "it is good", 10);
        assert_int_equal(shown(t, versions[i], false, word), 0); /* it did not ask */
        /* another word, while the same context serves */
        assert_int_equal(tls_staple_set(staple, &id, slice_text("still")), OK);
        assert_int_equal(shown(t, versions[i], true, word), 5);
        /* one about another certificate is not shown with this one */
        assert_int_equal(tls_staple_set(staple, &another, slice_text("good, too")), OK);
        assert_int_equal(shown(t, versions[i], true, word), 0);
    }
    assert_null(tls_staple_free(staple)); /* the server has its own share */
    assert_int_equal(shown(t, TLS1_3_VERSION, true, word), 0);
    (void)tls_free(t);
}

static void bounds(void **state)
{
    static uint8_t bytes[TLS_STAPLE_MAX + 1], back[TLS_STAPLE_MAX];
    const struct digest id = {{1}};
    struct tls_staple *s = NULL;
    (void)state;
    assert_int_equal(tls_staple_new(&s), OK);
    memset(bytes, 7, sizeof bytes);
    assert_int_equal(tls_staple_set(s, &id, slice_of(bytes, TLS_STAPLE_MAX)), OK);
    assert_int_equal(tls_staple_set(s, &id, slice_of(bytes, sizeof bytes)), ERR_TOO_LARGE);
    assert_int_equal(tls_staple_copy(s, &id, back), TLS_STAPLE_MAX);
    assert_memory_equal(back, bytes, TLS_STAPLE_MAX);
    assert_null(tls_staple_free(s));
    assert_null(tls_staple_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_handshakes), cmocka_unit_test(bounds)};
    return cmocka_run_group_tests(tests, setup, teardown);
}

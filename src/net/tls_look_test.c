/* What is wrong with a server's certificate, seen and not believed. */
#include "net/stream_duo_test.h"
#include "net/tls_look.h"

static struct tls *looker(const char *host)
{
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    assert_int_equal(tls_look_new(test_cert_pem(&certs[CA]), host, text, &t), OK);
    assert_string_equal(text, "");
    return t;
}

struct seen {
    enum who who;
    const char *host;
    bool allow_tls12, required;
    enum tls_verify verify;
    bool is_named, is_self_signed;
};

static const struct seen cases[] = {
    {SERVER, "localhost", false, false, TLS_VERIFY_OK, true, false},
    {SERVER, "127.0.0.1", true, false, TLS_VERIFY_OK, true, false},
    {SERVER, "other.example", false, false, TLS_VERIFY_OK, false, false},
    {SERVER, "192.0.2.1", false, false, TLS_VERIFY_OK, false, false},
    {SELF, "localhost", false, false, TLS_VERIFY_SELF_SIGNED, true, true},
    {FOREIGN, "localhost", false, false, TLS_VERIFY_UNKNOWN_CA, true, false},
    {SERVER, "localhost", false, true, TLS_VERIFY_OK, true, false},
};

/* A handshake that a client of ours would refuse is finished, and its certificate is looked at. */
static void test_what_is_shown(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct seen *c = &cases[i];
        struct duo d;
        struct tls_look l;
        duo_init(&d, looker(c->host), server_tls(c->who, c->required, c->allow_tls12));
        for (int k = 0; k < 10; k++) {
            duo_turn(&d);
        }
        assert_true(c->required || stream_is_ready(d.client.s));
        assert_int_equal(tls_look_at(d.client.s, &l), OK);
        if (l.verify != c->verify || l.is_named != c->is_named ||
            l.is_self_signed != c->is_self_signed) {
            fail_msg("case %zu: %s", i, tls_verify_name(l.verify));
        }
        assert_string_equal(l.key, "EC");
        assert_int_equal(l.key_bits, 256);
        assert_int_equal(l.key_strength, 128);
        assert_false(l.is_digest_weak);
        assert_true(l.not_before_wall_ms < l.not_after_wall_ms);
        assert_true(l.n_chain > 0);
        duo_done(&d);
    }
}

/* The same server, and a client that means it. */
static void test_who_means_it_still_refuses(void **state)
{
    (void)state;
    struct duo d;
    struct tls_look l;
    duo_init(&d, client_tls("localhost", NULL), server_tls(SELF, false, false));
    for (int k = 0; k < 10; k++) {
        duo_turn(&d);
    }
    assert_int_equal(d.client.err, ERR_AUTH);
    assert_false(stream_is_ready(d.client.s));
    /* What was refused can be looked at, too. */
    enum err err = tls_look_at(d.client.s, &l);
    assert_true(err == OK || err == ERR_NOT_FOUND);
    duo_done(&d);
}

static void test_nothing_to_see(void **state)
{
    (void)state;
    struct tls_look l;
    char text[TLS_TEXT_BYTES];
    struct tls *t = NULL;
    struct duo d;
    duo_init(&d, NULL, NULL);
    assert_int_equal(tls_look_at(d.client.s, &l), ERR_NOT_FOUND);
    duo_done(&d);
    duo_init(&d, looker("localhost"), server_tls(SERVER, false, false));
    assert_int_equal(tls_look_at(d.client.s, &l), ERR_NOT_FOUND); /* nobody has answered */
    duo_done(&d);
    assert_int_equal(tls_look_new(slice_text("no PEM"), "localhost", text, &t), ERR_CONFIG);
    assert_string_not_equal(text, "");
    assert_int_equal(tls_look_new((struct slice){0}, "localhost", text, &t), OK);
    (void)tls_free(t);
}

static void test_suites_have_names(void **state)
{
    (void)state;
    struct tls *t = looker("localhost");
    assert_string_equal(tls_look_suite(t, 0x1301), "TLS_AES_128_GCM_SHA256");
    assert_string_equal(tls_look_suite(t, 0x002f), "TLS_RSA_WITH_AES_128_CBC_SHA");
    assert_null(tls_look_suite(t, 0xfefe));
    (void)tls_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_shown),
        cmocka_unit_test(test_who_means_it_still_refuses),
        cmocka_unit_test(test_nothing_to_see),
        cmocka_unit_test(test_suites_have_names),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

/* Which origins are a listener's own; what else an upgrade must have is in ws_test. */
#include <openssl/err.h>
#include <stdio.h>

#include "net/stream_duo_test.h"
#include "net/tls_private.h"
#include "net/ws_private.h"

enum { HEAD_MAX = 1024, FORBIDDEN = 403, NAME_MAX_BYTES = 255 };

static unsigned judged(const struct tls *own, const char *host, const char *origin)
{
    static const struct ws_rules rules = {.path = {(const uint8_t *)"/mqtt", 5}};
    char text[HEAD_MAX];
    struct ws_answer answer;
    int n = snprintf(text, sizeof(text),
                     "GET /mqtt HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
                     "Origin: %s\r\n\r\n",
                     host, origin);
    assert_in_range(n, 1, HEAD_MAX - 1);
    ws_upgrade_judge(&rules, own, slice_of(text, (size_t)n), &answer);
    return answer.status;
}

/* Behind TLS, "https://" and the request's own Host is no foreign page, if the Host is ours. */
static void test_own_origin(void **state)
{
    (void)state;
    static const struct {
        const char *host, *origin;
        bool good;
    } cases[] = {
        {"localhost:8084", "https://localhost:8084", true},
        {"localhost", "https://localhost", true},
        {"127.0.0.1:8084", "https://127.0.0.1:8084", true},
        {"[::1]:8084", "https://[::1]:8084", true},
        {"[::1]", "https://[::1]", true},
        {"localhost:8084", "http://localhost:8084", false},
        {"localhost:8084", "https://localhost", false},
        {"localhost", "https://localhost:8084", false},
        {"localhost:8084", "https://localhost:8084/", false},
        {"localhost:8084", "https://localhost:8085", false},
        {"localhost:8084", "https://LOCALHOST:8084", false},
        {"localhost:8084", "https://evil.example", false},
        {"localhost:8084", "null", false},
        {"localhost:8084", "", false},
        /* A name that was made to lead here (DNS rebinding) is not the certificate's. */
        {"evil.example:8084", "https://evil.example:8084", false},
        {"evil.example", "https://evil.example", false},
        {"localhost.evil.example", "https://localhost.evil.example", false},
        {"a.localhost", "https://a.localhost", false},
        {"127.0.0.2:8084", "https://127.0.0.2:8084", false},
        {"server", "https://server", false}, /* the subject's name is no name of a server */
        {".localhost", "https://.localhost", false},
        {".", "https://.", false},
        {"", "https://", false},
        {":8084", "https://:8084", false},
        {"localhost:1:2", "https://localhost:1:2", false},
        {"::1", "https://::1", false},
        {"[::1", "https://[::1", false},
        {"[]", "https://[]", false},
        {"[::1]x", "https://[::1]x", false},
    };
    struct tls *own = server_tls(SERVER, false, false);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unsigned behind = judged(own, cases[i].host, cases[i].origin);
        unsigned plain = judged(NULL, cases[i].host, cases[i].origin);
        if (behind != (cases[i].good ? WS_SWITCHING : FORBIDDEN) || plain != FORBIDDEN) {
            fail_msg("%s, %s: %u, plain %u", cases[i].host, cases[i].origin, behind, plain);
        }
    }
    (void)tls_free(own);
}

static void test_names_of_the_certificate(void **state)
{
    (void)state;
    char name[NAME_MAX_BYTES + 2];
    struct tls *own = server_tls(SERVER, false, false);
    struct tls *client = client_tls("localhost", NULL);
    memset(name, 'a', sizeof(name));
    for (size_t n = 0; n <= sizeof(name); n++) {
        assert_false(tls_is_named(own, slice_of(name, n)));
    }
    assert_true(tls_is_named(own, slice_text("localhost")));
    assert_true(tls_is_named(own, slice_text("LocalHost"))); /* as DNS has it */
    assert_false(tls_is_named(own, slice_of("localhost\0.evil.example", 23)));
    assert_false(tls_is_named(own, (struct slice){0}));
    assert_false(tls_is_named(client, slice_text("localhost")));
    assert_int_equal(ERR_peek_error(), 0);
    (void)tls_free(own);
    (void)tls_free(client);
}

/* As issued for a name of the greatest length: at it and one byte over. */
static void test_the_longest_name(void **state)
{
    (void)state;
    char name[NAME_MAX_BYTES + 2], san[sizeof(name) + 4];
    char text[TLS_TEXT_BYTES];
    memset(name, 'b', sizeof(name));
    name[NAME_MAX_BYTES] = '\0';
    (void)snprintf(san, sizeof(san), "DNS:%s", name);
    struct test_cert cert;
    struct test_cert_spec spec = {.name = "long", .issuer = &certs[CA], .san = san};
    test_cert_make(&cert, &spec);
    struct tls_server_config c = {.chain_pem = test_cert_pem(&cert),
                                  .key_pem = test_key_pem(&cert)};
    struct tls *own = NULL;
    assert_int_equal(tls_server_new(&c, text, &own), OK);
    assert_true(tls_is_named(own, slice_text(name)));
    name[NAME_MAX_BYTES] = 'b';
    assert_false(tls_is_named(own, slice_of(name, NAME_MAX_BYTES + 1)));
    (void)tls_free(own);
    test_cert_done(&cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_origin),
        cmocka_unit_test(test_names_of_the_certificate),
        cmocka_unit_test(test_the_longest_name),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

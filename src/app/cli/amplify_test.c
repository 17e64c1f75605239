#include "app/cli/amplify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/dtls.h"
#include "net/listener.h"
#include "net/udp.h"
#include "wire/coap/message.h"

static struct udp *server(struct net_peer *ret_at)
{
    int fd = -1;
    struct udp *u = NULL;
    assert_int_equal(net_listen_udp(slice_text("127.0.0.1:0"), 1, &fd), OK);
    assert_int_equal(net_local(fd, ret_at), OK);
    assert_int_equal(udp_new(fd, &u), OK);
    return u;
}

/* Answers each datagram that is there by `times` its bytes, in datagrams of its size. */
static size_t answer_all(struct udp *u, unsigned times)
{
    const struct udp_datagram *in = NULL;
    size_t n = 0, all = 0;
    do {
        assert_int_equal(udp_recv(u, &in, &n), OK);
        all += n;
        for (size_t i = 0; i < n; i++) {
            for (unsigned k = 0; k < times; k++) {
                assert_int_equal(udp_send(u, &in[i].peer, in[i].bytes), OK);
            }
        }
        udp_flush(u);
    } while (n > 0);
    return all;
}

static void what_comes_is_counted(void **state)
{
    static const struct {
        unsigned times;
        bool is_over;
    } cases[] = {{0, false}, {1, false}, {3, false}, {4, true}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct net_peer at;
        struct udp *u = server(&at);
        struct amplify a;
        assert_int_equal(amplify_send(&at, &a), OK);
        assert_int_equal(answer_all(u, cases[i].times), a.n);
        amplify_collect(&a, 20);
        for (size_t k = 0; k < a.n; k++) {
            assert_int_equal(a.probe[k].received, cases[i].times * a.probe[k].sent);
            assert_int_equal(a.probe[k].answers, cases[i].times);
            assert_int_equal(amplify_is_over(&a.probe[k]), cases[i].is_over);
        }
        amplify_done(&a);
        udp_free(u);
    }
}

/* Each is what its name says: else a server would be praised for dropping noise. */
static void probes_are_what_they_say(void **state)
{
    (void)state;
    struct net_peer at;
    struct udp *u = server(&at);
    struct amplify a;
    const struct udp_datagram *in = NULL;
    size_t n = 0, at_probe = 0;
    assert_int_equal(amplify_send(&at, &a), OK);
    do {
        assert_int_equal(udp_recv(u, &in, &n), OK);
        for (size_t i = 0; i < n; i++, at_probe++) {
            const char *name = a.probe[at_probe].name;
            struct coap_message m;
            struct slice random;
            enum dtls_kind kind = dtls_kind_of(in[i].bytes, &random);
            bool is_coap =
                coap_message_decode(in[i].bytes, COAP_ENDPOINT_TOKEN_MAX, &m) == OK &&
                coap_options_check(m.options, UINT32_MAX, &(uint16_t){0}) != ERR_TRUNCATED;
            if (kind != DTLS_KIND_NONE) { /* one record, and nothing behind it */
                assert_int_equal(in[i].bytes.p[11] << 8 | in[i].bytes.p[12], in[i].bytes.n - 13);
            }
            bool is_good = strstr(name, "ClientHello") != NULL ? kind == DTLS_KIND_HELLO
                           : strncmp(name, "DTLS", 4) == 0     ? kind > DTLS_KIND_HELLO
                           : strstr(name, "version") != NULL || strstr(name, "cut") != NULL ||
                                   strstr(name, "nothing") != NULL
                               ? kind == DTLS_KIND_NONE && !is_coap
                               : is_coap;
            if (!is_good) {
                fail_msg("%s", name);
            }
        }
    } while (n > 0);
    assert_int_equal(at_probe, a.n);
    amplify_done(&a);
    udp_free(u);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct net_peer at;
    struct amplify a;
    udp_free(server(&at)); /* the port is closed again */
    if (amplify_send(&at, &a) == OK) {
        amplify_collect(&a, 1);
    }
    for (size_t k = 0; k < a.n; k++) {
        assert_int_equal(a.probe[k].answers, 0);
    }
    amplify_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_is_counted),
        cmocka_unit_test(probes_are_what_they_say),
        cmocka_unit_test(nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * dtls - what a handshake by a pre-shared key costs the server's side: hello and cookie, handshake,
 * one message both ways, close; no sockets. By hand, in an optimized build with tests:
 *
 *   ninja -C build tests/bench/dtls
 *   build/tests/bench/dtls [ROUNDS]
 *   valgrind --tool=callgrind '--toggle-collect=server_hears*' build/tests/bench/dtls 200
 *
 * Told is the CPU time of the server's part of one handshake in ROUNDS (200).
 */
#include <time.h>

#include "net/dtls_bench_test.h"
#include "security/crypto/prepare.h"

enum { ROUNDS = 200 };

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

__attribute__((noinline)) static void server_hears(struct end *server, const struct packet *p)
{
    dtls_input(server->dtls, &p->from, slice_of(p->bytes, p->n), now(server->net));
}

static double carry_all(struct net *n)
{
    double ns = 0;
    while (n->server.n_queued + n->client.n_queued > 0) {
        struct packet queue[QUEUE];
        size_t n_queued = n->server.n_queued;
        memcpy(queue, n->server.queue, n_queued * sizeof(queue[0]));
        n->server.n_queued = 0;
        for (size_t i = 0; i < n_queued; i++) {
            double from = now_ns();
            server_hears(&n->server, &queue[i]);
            ns += now_ns() - from;
        }
        deliver(&n->client);
    }
    return ns;
}

static double shake_hands(struct net *n)
{
    int n_before = n->server.n_opened;
    client_psk(n, "meter-1", key);
    dtls_tick(n->client.dtls, now(n));
    double ns = carry_all(n);
    assert_int_equal(n->server.n_opened, n_before + 1);
    assert_int_equal(dtls_send(n->client.dtls, n->client.id, slice_text("hello"), now(n)), OK);
    ns += carry_all(n);
    assert_string_equal(n->client.got, "hello");
    n->client.got[0] = '\0';
    dtls_close(n->client.dtls, n->client.id);
    return ns + carry_all(n);
}

int main(int argc, char **argv)
{
    unsigned n_rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : ROUNDS;
    static struct net n;
    double ns = 0;
    assert_int_equal(crypto_prepare(), OK);
    (void)make_certs(NULL);
    net_init(&n);
    n.server.echo = true;
    for (unsigned i = 0; i < n_rounds; i++) {
        ns += shake_hands(&n);
    }
    (void)printf("%s: %.1f us of CPU each in %u handshakes\n", n.server.cipher, ns / 1e3 / n_rounds,
                 n_rounds);
    net_done(&n);
    return drop_certs(NULL);
}

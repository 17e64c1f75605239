/*
 * turn - what a connection's turn costs between the socket and the engine: one read that brings a
 * batch, one write that takes it out again. By hand, in an optimized build with tests:
 *
 *   ninja -C build tests/bench/turn && build/tests/bench/turn [TURNS [ROW]]
 *   valgrind --tool=callgrind --toggle-collect=serve build/tests/bench/turn 2000 "TLS, 5 KiB"
 *
 * Both ends are in this process over a socket pair; told is the CPU time of the server's turn,
 * which is that of the kernel, too. The instructions that callgrind counts are without it and
 * depend on nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/stream_duo_test.h"

enum { TURNS = 20000, TURNS_MAX = 10000000, WARM = 20 };

struct row {
    const char *name;
    bool is_tls;
    size_t bytes;
    size_t n_writes; /* of the client in a turn: so many records, where there is TLS */
};

static const struct row rows[] = {
    {"plain, 32 B", false, 32, 1},          {"plain, 5 KiB", false, 5 * 1024, 1},
    {"plain, 80 KiB", false, 40 * 1024, 2}, {"TLS, 32 B", true, 32, 1},
    {"TLS, 5 KiB", true, 5 * 1024, 1},      {"TLS, 5 KiB in 20 records", true, 256, 20},
    {"TLS, 80 KiB", true, 40 * 1024, 2},
};

static double cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void must(enum err err)
{
    if (err != OK) {
        (void)fprintf(stderr, "turn: %s\n", err_name(err));
        exit(2);
    }
}

/* The turn, as a link does it. Its length is what was read. */
static __attribute__((noinline)) size_t serve(struct side *server)
{
    size_t n = 0;
    uint8_t *out = stream_io_out(server->io);
    do {
        struct slice plain = {0};
        must(stream_read(server->s, server->io, &plain));
        memcpy(&out[n], plain.p, plain.n); /* the engine's part */
        n += plain.n;
    } while (stream_has_pending(server->s));
    if (n > 0 && !stream_is_blocked(server->s)) {
        struct slice all = slice_of(out, n);
        must(stream_write(server->s, server->io, &all, 1));
    }
    return n;
}

static void take_back(struct side *client, size_t n)
{
    while (n > 0) {
        struct slice plain = {0};
        must(stream_read(client->s, client->io, &plain));
        n -= plain.n < n ? plain.n : n;
    }
}

static void turn(struct duo *d, const struct row *row, double *ns)
{
    static const uint8_t bytes[80 * 1024];
    size_t rest = row->bytes * row->n_writes;
    for (size_t i = 0; i < row->n_writes; i++) {
        struct slice one = slice_of(bytes, row->bytes);
        must(stream_write(d->client.s, d->client.io, &one, 1));
    }
    while (rest > 0) {
        double begin = cpu_ns();
        size_t n = serve(&d->server);
        *ns += cpu_ns() - begin;
        if (stream_is_blocked(d->client.s)) {
            enum err ignored = stream_flush(d->client.s, d->client.io); /* the next one tries */
            (void)ignored;
        }
        take_back(&d->client, n);
        rest -= n < rest ? n : rest;
    }
}

static void measure(const struct row *row, size_t n_turns)
{
    struct duo d;
    double ns = 0;
    duo_init(&d, row->is_tls ? client_tls("localhost", NULL) : NULL,
             row->is_tls ? server_tls(SERVER, false, false) : NULL);
    duo_connect(&d);
    for (size_t i = 0; i < n_turns + WARM; i++) {
        ns = i == WARM ? 0 : ns;
        turn(&d, row, &ns);
    }
    (void)printf("%-26s %10.0f ns a turn\n", row->name, ns / (double)n_turns);
    duo_done(&d);
}

int main(int argc, char **argv)
{
    size_t n_turns = argc > 1 ? strtoul(argv[1], NULL, 10) : TURNS;
    void *none = NULL;
    if (n_turns == 0 || n_turns > TURNS_MAX || make_certs(&none) != 0) {
        return 2;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (argc < 3 || strcmp(argv[2], rows[i].name) == 0) {
            measure(&rows[i], n_turns);
        }
    }
    return drop_certs(&none);
}

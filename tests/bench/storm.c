/*
 * storm - the clients of tests/bench/reconnect: many durable sessions that come back at once.
 *
 *   storm PORT CA CERT KEY CLIENTS tickets|full|none
 *
 * Each client connects once, logs in with a session that lasts, takes its ticket and is lost
 * without a word. Then a line is read, and all of them come back, ABREAST at a time, the refused
 * ones again after some tenths of a second, until each has its CONNACK. `full`: they forget their
 * tickets.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/stream.h"
#include "wire/mqtt/connect.h"

enum { ABREAST = 1000, HELD_MAX = 6000, EXPIRY_S = 3600, FILE_MAX = 16384, TURN_MS = 20 };

enum phase { AWAY, COMING, HERE, DONE };

struct client {
    struct storm *storm;
    struct stream *stream;
    struct ssl_session_st *session;
    uint64_t at_ms, began_ms; /* when it comes (again); when it first wanted to */
    unsigned index;
    enum phase phase;
};

struct storm {
    struct tls *tls;
    struct loop *loop;
    struct stream_io *io;
    struct client *clients;
    unsigned n, n_coming, n_here, n_held, n_resumed, n_again;
    uint16_t port;
    bool takes_tickets, is_second;
    uint64_t *took_ms;
    struct clock clock;
    struct random_source random;
};

static void must(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "storm: %s\n", what);
        exit(2);
    }
}

static uint64_t now_of(const struct storm *s)
{
    return s->clock.mono_ms(s->clock.ctx);
}

static void leave(struct client *c)
{
    c->stream = stream_free(c->stream);
    c->storm->n_held--;
}

static void refused(struct client *c)
{
    struct storm *s = c->storm;
    leave(c);
    s->n_coming--;
    s->n_again++;
    c->phase = AWAY;
    c->at_ms = now_of(s) + 100 + random_below(&s->random, 500);
}

static void say_connect(struct client *c)
{
    char id[32];
    uint8_t bytes[256];
    (void)snprintf(id, sizeof(id), "storm-%u", c->index);
    struct mqtt_connect m = {.version = MQTT_V5, .client_id = slice_text(id)};
    struct wr w = wr_into(bytes, sizeof(bytes));
    mqtt_props_set_number(&m.props, MQTT_PROP_SESSION_EXPIRY, EXPIRY_S);
    must(mqtt_connect_encode(&m, &w) == OK, "CONNECT");
    struct slice part = wr_slice(&w);
    must(stream_write(c->stream, c->storm->io, &part, 1) == OK, "write");
}

static void arrived(struct client *c)
{
    struct storm *s = c->storm;
    s->took_ms[s->n_here++] = now_of(s) - c->began_ms;
    s->n_resumed += stream_is_resumed(c->stream) ? 1 : 0;
    s->n_coming--;
    c->phase = HERE;
}

/* In the first round it goes when it has what it came for; in the second it stays while there is
 * room. */
static void settle(struct client *c)
{
    struct storm *s = c->storm;
    struct ssl_session_st *next = stream_session(c->stream);
    if (!s->is_second && next != NULL) {
        (void)stream_session_free(c->session);
        c->session = next;
    } else {
        (void)stream_session_free(next);
    }
    if (s->is_second ? s->n_held > HELD_MAX : c->session != NULL || !s->takes_tickets) {
        leave(c);
        c->phase = DONE;
    }
}

static void on_ready(void *owner, uint32_t events)
{
    struct client *c = owner;
    struct slice plain = {0};
    bool was_ready = stream_is_ready(c->stream);
    enum err err = (events & EPOLLOUT) != 0 ? stream_flush(c->stream, c->storm->io) : OK;
    err = err == ERR_AGAIN ? OK : err;
    if (err == OK && (events & ~(uint32_t)EPOLLOUT) != 0) {
        err = stream_read(c->stream, c->storm->io, &plain);
    }
    if (err != OK) {
        must(c->phase == COMING, "a client that had logged in was lost");
        refused(c);
        return;
    }
    if (!was_ready && stream_is_ready(c->stream)) {
        say_connect(c);
    }
    if (c->phase == COMING && plain.n >= 4) {
        must(plain.p[0] == 0x20 && plain.p[3] == 0, "CONNACK says no");
        arrived(c);
    }
    if (c->phase == HERE) {
        settle(c);
    }
}

static void come(struct client *c)
{
    struct storm *s = c->storm;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(s->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(fd >= 0, "no descriptor (ulimit -n)");
    (void)connect(fd, (const struct sockaddr *)&to, sizeof(to)); /* it goes on by itself */
    must(stream_new(fd, STREAM_CLIENT, s->tls, &c->stream) == OK &&
             stream_resume(c->stream, s->is_second ? c->session : NULL) == OK &&
             stream_attach(c->stream, s->loop, on_ready, c) == OK,
         "no memory");
    c->began_ms = c->began_ms == 0 ? now_of(s) : c->began_ms;
    c->phase = COMING;
    s->n_coming++;
    s->n_held++;
    if (stream_start(c->stream, s->io) != OK) {
        refused(c);
    }
}

static void round_of(struct storm *s, unsigned abreast)
{
    size_t n;
    s->n_here = s->n_resumed = s->n_again = 0;
    for (unsigned first = 0; s->n_here < s->n || (!s->is_second && s->n_held > 0);) {
        uint64_t now_ms = now_of(s);
        stream_io_now(s->io, now_ms);
        for (unsigned i = first; i < s->n && s->n_coming < abreast; i++) {
            struct client *c = &s->clients[i];
            if (c->phase == AWAY && c->at_ms <= now_ms) {
                come(c);
            }
        }
        while (first < s->n && s->clients[first].phase >= HERE) {
            first++;
        }
        must(loop_turn(s->loop, TURN_MS, &n) == OK, "epoll");
    }
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void tell(struct storm *s, const char *what, uint64_t began_ms)
{
    qsort(s->took_ms, s->n, sizeof(*s->took_ms), by_size);
    (void)printf("%s %u clients in %.2f s, %u by a ticket, %u tries more, login p50 %llu ms p99 "
                 "%llu ms\n",
                 what, s->n, (double)(now_of(s) - began_ms) / 1000, s->n_resumed, s->n_again,
                 (unsigned long long)s->took_ms[s->n / 2],
                 (unsigned long long)s->took_ms[(size_t)s->n * 99 / 100]);
    (void)fflush(stdout);
}

static struct slice load(const char *path)
{
    char *bytes = mem_alloc(FILE_MAX);
    FILE *f = fopen(path, "r");
    must(f != NULL && bytes != NULL, path);
    size_t n = fread(bytes, 1, FILE_MAX, f);
    (void)fclose(f);
    return slice_of(bytes, n);
}

int main(int argc, char **argv)
{
    static struct storm s;
    char text[TLS_TEXT_BYTES], line[8];
    must(argc == 7, "PORT CA CERT KEY CLIENTS tickets|full|none");
    bool resumes = strcmp(argv[6], "tickets") == 0;
    s.takes_tickets = strcmp(argv[6], "none") != 0;
    struct tls_client_config c = {.ca_pem = load(argv[2]),
                                  .chain_pem = load(argv[3]),
                                  .key_pem = load(argv[4]),
                                  .host = "localhost",
                                  .takes_tickets = s.takes_tickets};
    s.clock = clock_system();
    s.random = random_system();
    s.port = (uint16_t)strtoul(argv[1], NULL, 10);
    s.n = (unsigned)strtoul(argv[5], NULL, 10);
    must(tls_client_new(&c, text, &s.tls) == OK, text);
    s.clients = mem_array(s.n, sizeof(*s.clients));
    s.took_ms = mem_array(s.n, sizeof(*s.took_ms));
    must(s.clients != NULL && s.took_ms != NULL && loop_new(&s.loop) == OK &&
             stream_io_new(&s.io) == OK,
         "no memory");
    for (unsigned i = 0; i < s.n; i++) {
        s.clients[i] = (struct client){.storm = &s, .index = i};
    }
    uint64_t began_ms = now_of(&s);
    round_of(&s, 32);
    tell(&s, "first:", began_ms);
    must(fgets(line, sizeof(line), stdin) != NULL, "nobody says go");
    for (unsigned i = 0; i < s.n; i++) {
        s.clients[i].phase = AWAY;
        s.clients[i].began_ms = s.clients[i].at_ms = 0;
        s.clients[i].session = resumes ? s.clients[i].session : NULL;
    }
    s.is_second = true;
    began_ms = now_of(&s);
    round_of(&s, ABREAST);
    tell(&s, "again:", began_ms);
    return 0; /* the kernel takes what is left */
}

/* How bytes travel: in pieces, in part, in one call, and from thread to thread. */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net/stream_duo_test.h"

/* Carries bytes between two sockets, at most `chunk` at a time, and lets both sides act after each.
 */
static void bytes_arrive_in_pieces(void **state)
{
    (void)state;
    static const size_t chunks[] = {1, 2, 3, 5, 7, 100};
    for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
        int a[2], b[2];
        socket_pair(a);
        socket_pair(b);
        struct duo d = {0};
        struct tls *ct = client_tls("localhost", &certs[CLIENT]);
        struct tls *st = server_tls(SERVER, true, false);
        assert_int_equal(stream_io_new(&d.client.io), OK);
        assert_int_equal(stream_io_new(&d.server.io), OK);
        assert_int_equal(stream_new(a[0], STREAM_CLIENT, ct, &d.client.s), OK);
        assert_int_equal(stream_new(b[0], STREAM_SERVER, st, &d.server.s), OK);
        (void)tls_free(ct);
        (void)tls_free(st);
        d.client.err = stream_start(d.client.s, d.client.io);
        bool said = false;
        for (int i = 0; i < ROUNDS_MAX && d.server.got.n < 5; i++) {
            char piece[100];
            ssize_t n = read(a[1], piece, chunks[c]);
            if (n > 0) {
                assert_int_equal(write(b[1], piece, (size_t)n), n);
            }
            n = read(b[1], piece, chunks[c]);
            if (n > 0) {
                assert_int_equal(write(a[1], piece, (size_t)n), n);
            }
            duo_turn(&d);
            assert_int_equal(d.client.err, OK);
            assert_int_equal(d.server.err, OK);
            if (!said && stream_is_ready(d.client.s)) {
                said = true;
                assert_int_equal(write_text(&d.client, slice_text("hello")), OK);
            }
        }
        assert_got(&d.server, slice_text("hello"));
        duo_done(&d);
        close(a[1]);
        close(b[1]);
    }
}

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)(i * 31 + i / 251);
    }
}

/* Many parts of all sizes through a socket that takes little: nothing lost, nothing reordered. */
static void partial_writes(struct tls *ct, struct tls *st)
{
    struct duo d;
    duo_init(&d, ct, st);
    int tiny = 4096;
    assert_int_equal(setsockopt(stream_fd(d.client.s), SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny)),
                     0);
    duo_connect(&d);
    uint8_t *all = mem_alloc(STREAM_SEND_BYTES);
    assert_non_null(all);
    fill(all, STREAM_SEND_BYTES);
    struct slice rest = slice_of(all, STREAM_SEND_BYTES);
    struct slice parts[100] = {0};
    size_t sizes[] = {1, 16384, 16385, 3, 40000, 16383, 70000, 0, 2, 500};
    size_t n_parts = 0;
    for (; n_parts < 99 && rest.n > 0; n_parts++) {
        parts[n_parts] = slice_head(rest, sizes[n_parts % 10]);
        rest = slice_from(rest, sizes[n_parts % 10]);
    }
    parts[n_parts++] = rest;
    assert_int_equal(stream_write(d.client.s, d.client.io, parts, n_parts), OK);
    assert_true(stream_is_blocked(d.client.s));
    assert_int_equal(write_text(&d.client, slice_text("x")), ERR_AGAIN);
    for (int i = 0; i < ROUNDS_MAX && d.server.got.n < STREAM_SEND_BYTES; i++) {
        duo_turn(&d);
    }
    assert_got(&d.server, slice_of(all, STREAM_SEND_BYTES));
    assert_int_equal(stream_flush(d.client.s, d.client.io), OK);
    assert_false(stream_is_blocked(d.client.s));
    assert_int_equal(stream_pending_bytes(d.client.s), 0);
    parts[0] = slice_of(all, STREAM_SEND_BYTES);
    parts[1] = slice_text("x");
    assert_int_equal(stream_write(d.client.s, d.client.io, parts, 2), ERR_TOO_LARGE);
    (void)mem_free(all);
    duo_done(&d);
}

static void partial_writes_plain(void **state)
{
    (void)state;
    partial_writes(NULL, NULL);
}

static void partial_writes_tls(void **state)
{
    (void)state;
    partial_writes(client_tls("localhost", NULL), server_tls(SERVER, false, false));
}

/* A socket pair that keeps messages apart shows what one send was. */
static void a_turn_is_one_receive_and_one_send(void **state)
{
    static uint8_t seen[STREAM_SEND_BYTES];
    bool tls = *state != NULL;
    struct duo d;
    duo_init_over(&d, SOCK_SEQPACKET, tls ? client_tls("localhost", NULL) : NULL,
                  tls ? server_tls(SERVER, false, false) : NULL);
    duo_connect(&d);
    uint8_t *all = mem_alloc(50000);
    assert_non_null(all);
    fill(all, 50000);
    struct slice parts[3] = {slice_of(all, 5), slice_of(all + 5, 9995),
                             slice_of(all + 10000, 40000)};
    assert_int_equal(stream_write(d.client.s, d.client.io, parts, 3), OK);
    assert_false(stream_is_blocked(d.client.s));
    ssize_t n = recv(stream_fd(d.server.s), seen, sizeof(seen), MSG_PEEK | MSG_DONTWAIT);
    size_t n_records = 4; /* 50,000 bytes in full records of 16,384 */
    assert_int_equal(n, 50000 + (tls ? n_records * 22 : 0));
    d.server.n_reads = 0;
    side_turn(&d.server);
    assert_int_equal(d.server.n_reads, 1);
    assert_got(&d.server, slice_of(all, 50000));
    (void)mem_free(all);
    duo_done(&d);
}

/* A connection moves between the loops of two threads in the middle of a stream of data. */

enum { MOVED_BYTES = 4 << 20, MOVE_EVERY_BYTES = 50 * 1000 };

struct worker {
    struct loop *loop;
    struct stream_io *io;
    struct mover *mover;
    pthread_t thread;
    int index;
};

struct mover {
    struct worker workers[2];
    _Atomic(struct stream *) handed[2]; /* to worker i */
    atomic_bool finished;
    struct buf got; /* travels with the stream */
    size_t n_moves, next_move_at;
    struct stream *held; /* by the worker that serves it */
};

static void worker_ready(void *owner, uint32_t events)
{
    struct worker *w = owner;
    struct mover *m = w->mover;
    (void)events;
    do {
        struct slice plain = {0};
        enum err e = stream_read(m->held, w->io, &plain);
        if (e != OK || buf_append(&m->got, plain, GOT_MAX) != OK) {
            m->held = stream_free(m->held);
            atomic_store(&m->finished, true);
            loop_wake(m->workers[0].loop);
            loop_wake(m->workers[1].loop);
            return;
        }
    } while (stream_has_pending(m->held));
    if (m->got.n >= m->next_move_at) {
        m->next_move_at = m->got.n + MOVE_EVERY_BYTES;
        m->n_moves++;
        struct stream *s = m->held;
        stream_detach(s);
        struct worker *other = &m->workers[1 - w->index];
        atomic_store(&m->handed[other->index], s);
        loop_wake(other->loop);
    }
}

static void *worker_run(void *ctx)
{
    struct worker *w = ctx;
    struct mover *m = w->mover;
    while (!atomic_load(&m->finished)) {
        size_t n = 0;
        if (loop_turn(w->loop, 1000, &n) != OK) {
            return NULL;
        }
        struct stream *s = atomic_exchange(&m->handed[w->index], NULL);
        if (s != NULL) {
            m->held = s;
            if (stream_attach(s, w->loop, worker_ready, w) != OK) {
                return NULL;
            }
            worker_ready(w, 0); /* once: epoll may have nothing to say */
        }
    }
    return NULL;
}

static void wait_for_room(struct side *side)
{
    struct pollfd p = {.fd = stream_fd(side->s), .events = POLLOUT};
    (void)poll(&p, 1, 1000);
    (void)!stream_flush(side->s, side->io);
}

static void *writer_run(void *ctx)
{
    struct side *side = ctx;
    uint8_t *out = stream_io_out(side->io);
    size_t at = 0;
    while (at < MOVED_BYTES) {
        if (stream_is_blocked(side->s)) {
            wait_for_room(side);
            continue;
        }
        size_t n = 1 + at % 30000;
        n = n < MOVED_BYTES - at ? n : MOVED_BYTES - at;
        for (size_t i = 0; i < n; i++) {
            out[i] = (uint8_t)((at + i) % 251);
        }
        struct slice part = slice_of(out, n);
        if (stream_write(side->s, side->io, &part, 1) != OK) {
            return NULL;
        }
        at += n;
    }
    while (stream_is_blocked(side->s)) {
        wait_for_room(side);
    }
    stream_close(side->s, side->io);
    return NULL;
}

static void hand_over_between_threads(void **state)
{
    (void)state;
    struct duo d;
    struct mover m = {.next_move_at = MOVE_EVERY_BYTES};
    pthread_t writer;
    duo_init(&d, client_tls("localhost", &certs[CLIENT]), server_tls(SERVER, true, false));
    duo_connect(&d);
    for (int i = 0; i < 2; i++) {
        m.workers[i] = (struct worker){.mover = &m, .index = i};
        assert_int_equal(loop_new(&m.workers[i].loop), OK);
        assert_int_equal(stream_io_new(&m.workers[i].io), OK);
    }
    atomic_store(&m.handed[0], d.server.s);
    d.server.s = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&m.workers[i].thread, NULL, worker_run, &m.workers[i]), 0);
    }
    loop_wake(m.workers[0].loop);
    assert_int_equal(pthread_create(&writer, NULL, writer_run, &d.client), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(m.workers[i].thread, NULL);
    }
    for (int i = 0; i < 2; i++) { /* only now: each may wake the other at its end */
        m.workers[i].loop = loop_free(m.workers[i].loop);
        m.workers[i].io = stream_io_free(m.workers[i].io);
    }
    pthread_join(writer, NULL);
    assert_int_equal(m.got.n, MOVED_BYTES);
    for (size_t i = 0; i < m.got.n; i++) {
        assert_int_equal(m.got.p[i], i % 251);
    }
    assert_true(m.n_moves >= 10);
    buf_done(&m.got);
    duo_done(&d);
}

/* ---- a glance ---- */

static void tcp_pair(int fds[2])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    int door = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(door, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(door, 1), 0);
    assert_int_equal(getsockname(door, (struct sockaddr *)&at, &n), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&at, n), 0);
    fds[1] = accept(door, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(door);
}

/* A stream with a plain socket at the other end. */
struct glancer {
    int peer;
    struct stream *s;
    struct stream_io *io;
};

static void glancer_init(struct glancer *g)
{
    int fds[2];
    tcp_pair(fds);
    g->peer = fds[0];
    assert_int_equal(stream_io_new(&g->io), OK);
    assert_int_equal(stream_new(fds[1], STREAM_SERVER, NULL, &g->s), OK);
}

static void glancer_done(struct glancer *g)
{
    g->s = stream_free(g->s);
    g->io = stream_io_free(g->io);
    close(g->peer);
}

/* On loopback what was written has arrived. */
static void tell(struct glancer *g, const uint8_t *bytes, size_t n)
{
    assert_int_equal(write(g->peer, bytes, n), n);
}

static int n_unread(const struct glancer *g)
{
    int n = -1;
    assert_int_equal(ioctl(stream_fd(g->s), FIONREAD, &n), 0);
    return n;
}

static void glanced_stays_until_settled(void **state)
{
    (void)state;
    struct glancer g;
    struct slice plain;
    glancer_init(&g);
    stream_settle(g.s); /* nothing */
    tell(&g, (const uint8_t *)"abc", 3);
    assert_int_equal(stream_glance(g.s, g.io, &plain), OK);
    assert_true(slice_is(plain, "abc"));
    assert_false(stream_has_pending(g.s));
    assert_int_equal(n_unread(&g), 3);
    tell(&g, (const uint8_t *)"de", 2);
    stream_settle(g.s);
    stream_settle(g.s); /* once */
    assert_int_equal(n_unread(&g), 2);
    assert_int_equal(stream_glance(g.s, g.io, &plain), OK);
    assert_true(slice_is(plain, "de"));
    tell(&g, (const uint8_t *)"f", 1);
    assert_int_equal(stream_read(g.s, g.io, &plain), OK); /* settles it */
    assert_true(slice_is(plain, "f"));
    assert_int_equal(n_unread(&g), 0);
    assert_int_equal(stream_glance(g.s, g.io, &plain), OK);
    assert_int_equal(plain.n, 0);
    glancer_done(&g);
}

static void much_is_no_glance(void **state)
{
    (void)state;
    uint8_t bytes[STREAM_GLANCE_BYTES + 1];
    fill(bytes, sizeof(bytes));
    for (size_t n = STREAM_GLANCE_BYTES - 1; n <= sizeof(bytes); n++) {
        struct glancer g;
        struct slice plain;
        glancer_init(&g);
        tell(&g, bytes, n);
        assert_int_equal(stream_glance(g.s, g.io, &plain), OK);
        assert_true(slice_equal(plain, slice_of(bytes, n)));
        assert_int_equal(n_unread(&g), n < STREAM_GLANCE_BYTES ? (int)n : 0);
        glancer_done(&g);
    }
}

/* What was seen is not what the kernel takes for unread: the end is an end, and no reset. */
static void glanced_makes_no_reset(void **state)
{
    (void)state;
    struct glancer g;
    struct slice plain;
    char byte;
    glancer_init(&g);
    tell(&g, (const uint8_t *)"abc", 3);
    assert_int_equal(stream_glance(g.s, g.io, &plain), OK);
    assert_true(stream_is_bare(g.s));
    g.s = stream_free(g.s);
    assert_int_equal(read(g.peer, &byte, 1), 0);
    glancer_done(&g);
}

static void glanced_does_not_move(void **state)
{
    (void)state;
    struct glancer g;
    struct slice plain;
    struct loop *l;
    glancer_init(&g);
    assert_int_equal(loop_new(&l), OK);
    assert_int_equal(stream_attach(g.s, l, NULL, NULL), OK);
    tell(&g, (const uint8_t *)"abc", 3);
    assert_int_equal(stream_glance(g.s, g.io, &plain), OK);
    stream_detach(g.s);
    assert_int_equal(n_unread(&g), 0);
    glancer_done(&g);
    l = loop_free(l);
}

static void glanced_end_is_told(void **state)
{
    (void)state;
    struct glancer g;
    struct slice plain;
    glancer_init(&g);
    tell(&g, (const uint8_t *)"abc", 3);
    assert_int_equal(shutdown(g.peer, SHUT_WR), 0);
    assert_int_equal(stream_glance(g.s, g.io, &plain), OK);
    assert_int_equal(plain.n, 3);
    assert_int_equal(stream_glance(g.s, g.io, &plain), ERR_CLOSED);
    assert_true(stream_closed_cleanly(g.s));
    glancer_done(&g);
}

/* Records are opened out of what the kernel still has. */
static void glance_by_tls(void **state)
{
    (void)state;
    struct duo d;
    struct slice plain;
    duo_init(&d, client_tls("localhost", NULL), server_tls(SERVER, false, false));
    duo_connect(&d);
    for (int i = 0; i < 3; i++) {
        const char *said = i == 0 ? "first" : "then";
        assert_int_equal(write_text(&d.client, slice_text(said)), OK);
        assert_int_equal(stream_glance(d.server.s, d.server.io, &plain), OK);
        assert_true(slice_is(plain, said));
        if (i > 0) {
            stream_settle(d.server.s);
        }
    }
    assert_int_equal(stream_read(d.server.s, d.server.io, &plain), OK);
    assert_int_equal(plain.n, 0);
    duo_done(&d);
}

int main(void)
{
    char tls[] = "tls";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_in_pieces),
        cmocka_unit_test(partial_writes_plain),
        cmocka_unit_test(partial_writes_tls),
        cmocka_unit_test_prestate(a_turn_is_one_receive_and_one_send, tls),
        cmocka_unit_test(a_turn_is_one_receive_and_one_send),
        cmocka_unit_test(hand_over_between_threads),
        cmocka_unit_test(glanced_stays_until_settled),
        cmocka_unit_test(much_is_no_glance),
        cmocka_unit_test(glanced_makes_no_reset),
        cmocka_unit_test(glanced_does_not_move),
        cmocka_unit_test(glanced_end_is_told),
        cmocka_unit_test(glance_by_tls),
    };
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}

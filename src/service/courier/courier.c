/* One thread for each sink: follows the trail, connects, sends, waits until all is taken. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop.h"
#include "service/courier/errand_private.h"

enum {
    LOOK_MS = 200,  /* between two looks for new records, where nothing tells of them */
    TOLD_MS = 1000, /* and where something does */
    GATHER_MS = 20, /* so long records gather before the next look, at least */
    END_MS = 10,    /* between two looks for the end of a connection */
    EDGE_MS = 5000, /* between two looks at the end of the trail */
    THREAD_STACK_BYTES = 512 * 1024
};

void errand_publish(struct courier_errand *e, uint64_t sent, uint64_t taken, uint64_t retries,
                    uint64_t lost)
{
    struct courier_board *b = &e->of->boards[e->index];
    (void)pthread_mutex_lock(&b->lock);
    b->numbers.sent += sent;
    b->numbers.taken += taken;
    b->numbers.retries += retries;
    b->numbers.lost += lost;
    b->numbers.lag_records = e->n_waiting;
    b->numbers.lag_ms = e->since_ms > 0 ? e->now_ms - e->since_ms : 0;
    memcpy(b->trouble, e->trouble, sizeof b->trouble);
    (void)pthread_mutex_unlock(&b->lock);
}

static void send_out(struct courier_errand *e)
{
    struct slice part = buf_slice(&e->out);
    uint64_t before = e->n_waiting;
    if (part.n == 0) {
        enum err err = errand_fill(e);
        part = buf_slice(&e->out);
        if (err != OK && err != ERR_AGAIN) {
            errand_fail(e, "the trail cannot be read");
            return;
        }
    }
    if (part.n == 0) {
        return;
    }
    enum err err = stream_write(e->stream, e->io, &part, 1);
    if (err == ERR_AGAIN) {
        return;
    }
    if (err != OK) {
        errand_fail_stream(e, err);
        return;
    }
    e->opened_ms = e->opened_ms == 0 ? e->now_ms : e->opened_ms;
    e->until_ms = e->now_ms + COURIER_STALL_MS;
    buf_clear(&e->out);
    errand_publish(e, e->n_waiting > before ? e->n_waiting - before : e->n_waiting, 0, 0, 0);
}

/* ---- turns ---- */

/* A receiver that is being stopped also says goodbye, maybe without having read. */
static void look_for_end(struct courier_errand *e)
{
    uint8_t rest[256];
    struct tcp_info info = {0};
    socklen_t n = sizeof info;
    int error = 0;
    socklen_t error_n = sizeof error;
    int fd = stream_fd(e->stream);
    ssize_t got = recv(fd, rest, sizeof rest, MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) {
        return;
    }
    bool is_known = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 &&
                    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_n) == 0;
    if (got < 0 || !is_known || error != 0) {
        errand_fail(e, "it ended the connection without having read all");
    } else if (info.tcpi_unacked == 0 && info.tcpi_state != TCP_CLOSING &&
               info.tcpi_state != TCP_LAST_ACK) {
        errand_confirmed(e);
    }
}

static void read_stream(struct courier_errand *e)
{
    struct slice plain;
    enum err err;
    bool is_hook = e->sink->way == COURIER_WEBHOOK;
    do {
        err = stream_read(e->stream, e->io, &plain);
        /* What others than webhooks say is nothing that we asked. */
        if (err == OK && is_hook && stream_is_ready(e->stream)) {
            errand_hear_hook(e, plain);
        }
    } while (err == OK && e->stream != NULL && stream_has_pending(e->stream));
    if (e->stream == NULL) {
        return; /* hung up meanwhile */
    }
    if (err == OK) {
        if (e->state == SHAKING && stream_is_ready(e->stream)) {
            e->state = OPEN;
            e->until_ms = e->now_ms + COURIER_STALL_MS;
        }
        return;
    }
    if (is_hook && e->state == OPEN && err == ERR_CLOSED) {
        errand_hang_up(e); /* nothing is on its way: it need not keep a connection */
        return;
    }
    if (!is_hook && e->state == TURNING && err == ERR_CLOSED && stream_closed_cleanly(e->stream)) {
        e->has_goodbye = true;
        return;
    }
    errand_fail_stream(e, err);
}

static void turn_open(struct courier_errand *e)
{
    if (stream_is_blocked(e->stream)) {
        enum err err = stream_flush(e->stream, e->io);
        if (err == OK) {
            e->until_ms = e->now_ms + COURIER_STALL_MS;
        } else if (err != ERR_AGAIN) {
            errand_fail_stream(e, err);
        }
        return;
    }
    if (e->sink->way == COURIER_WEBHOOK) {
        errand_turn_hook(e);
        return;
    }
    bool is_due = e->opened_ms > 0 &&
                  (e->now_ms >= e->opened_ms + COURIER_TURN_MS ||
                   e->n_waiting >= COURIER_TURN_RECORDS || atomic_load(&e->of->is_stopping));
    if (is_due && e->out.n == 0) {
        e->state = TURNING;
        e->until_ms = e->now_ms + COURIER_STALL_MS;
        stream_close(e->stream, e->io);
        return;
    }
    send_out(e);
}

static void watch_time(struct courier_errand *e)
{
    if (e->state != IDLE && e->now_ms >= e->until_ms &&
        !(e->state == OPEN && !stream_is_blocked(e->stream))) {
        errand_fail(e, e->state == DIALLING || e->state == CONNECTING ? "it does not answer"
                       : e->state == SHAKING ? "the TLS handshake does not end"
                       : e->state == TURNING && e->sink->way == COURIER_WEBHOOK
                           ? "it does not answer the request"
                           : "it takes nothing any more");
    }
    if (e->now_ms >= e->edge_at_ms) {
        bool is_edge = false;
        e->edge_at_ms = e->now_ms + EDGE_MS;
        if (e->is_unsaved) {
            errand_save_taken(e);
        }
        if (trail_follow_is_last_chance(e->disk, &e->taken, &is_edge) == OK && is_edge &&
            !e->is_at_edge && e->since_ms > 0) {
            courier_say(e->of, e->index, COURIER_AT_EDGE, 0, "");
        }
        e->is_at_edge = is_edge;
    }
}

static void turn_idle(struct courier_errand *e)
{
    if (e->out.n == 0) {
        enum err err = errand_fill(e);
        if (err != OK && err != ERR_AGAIN) {
            errand_fail(e, "the trail cannot be read");
        }
    }
    if (e->out.n > 0 && e->now_ms >= e->retry_at_ms) {
        errand_dial(e);
    }
}

/* What the connection waits for; none in some states. */
static struct pollfd socket_of(const struct courier_errand *e)
{
    struct pollfd p = {.fd = -1, .events = POLLIN};
    switch (e->state) {
    case IDLE:
        break;
    case DIALLING:
        p.fd = e->dial_fd;
        break;
    case CONNECTING:
        p.fd = e->fd;
        p.events = POLLOUT;
        break;
    case WRITING:
        p.fd = e->fd;
        p.events = POLLOUT;
        break;
    case OPEN:
    case SHAKING:
    case TURNING:
        if (e->has_goodbye) {
            break;
        }
        p.fd = stream_fd(e->stream);
        p.events = (short)(POLLIN | (stream_is_blocked(e->stream) ? POLLOUT : 0));
        break;
    }
    return p;
}

/* For the next record: it has nothing to do but with that. */
static bool is_looking(const struct courier_errand *e)
{
    return e->out.n == 0 &&
           (e->state == IDLE || (e->state == OPEN && !stream_is_blocked(e->stream)));
}

static int until(const struct courier_errand *e, uint64_t at_ms, int most_ms)
{
    uint64_t left = at_ms > e->now_ms ? at_ms - e->now_ms : 0;
    return left < (uint64_t)most_ms ? (int)left : most_ms;
}

static int wait_ms(const struct courier_errand *e, bool is_told)
{
    int look_ms = e->watch_fd >= 0 ? TOLD_MS : LOOK_MS;
    if (e->state == OPEN && e->out.n > 0 && !stream_is_blocked(e->stream)) {
        return 0; /* there is more to send than one write took */
    }
    if (e->has_goodbye) {
        return END_MS;
    }
    if (e->state == IDLE && e->out.n > 0) {
        return until(e, e->retry_at_ms, look_ms);
    }
    if (is_looking(e) && e->watch_fd >= 0 && !is_told) {
        return until(e, e->got_ms + GATHER_MS, GATHER_MS);
    }
    return e->state == OPEN && e->opened_ms > 0 ? until(e, e->opened_ms + COURIER_TURN_MS, look_ms)
                                                : look_ms;
}

/* That the trail grew is all that they say. */
static void forget_tidings(const struct courier_errand *e)
{
    uint8_t tidings[4096];
    ssize_t n = read(e->watch_fd, tidings, sizeof tidings);
    (void)n; /* what is left says it again */
}

static void wait_for(struct courier_errand *e)
{
    bool is_told = is_looking(e) && e->now_ms >= e->got_ms + GATHER_MS;
    struct pollfd p[] = {socket_of(e),
                         {.fd = e->of->stop_fd, .events = POLLIN},
                         {.fd = is_told ? e->watch_fd : -1, .events = POLLIN}};
    int n = poll(p, COUNT_OF(p), wait_ms(e, is_told));
    e->now_ms = e->clock.mono_ms(e->clock.ctx);
    stream_io_now(e->io, e->now_ms);
    if (n > 0 && p[2].revents != 0) {
        forget_tidings(e);
    }
    if (n <= 0 || p[0].revents == 0) {
        return;
    }
    if (e->state == DIALLING) {
        errand_take_dialled(e);
    } else if (e->state == CONNECTING) {
        errand_take_connected(e);
    } else if (e->state != IDLE && e->state != WRITING &&
               (p[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        read_stream(e);
    }
}

static void turn(struct courier_errand *e)
{
    if (e->state == IDLE) {
        turn_idle(e);
    } else if (e->state == OPEN) {
        turn_open(e);
        /* The next batch, so that waiting knows whether there is one. */
        if (e->state == OPEN && e->sink->way == COURIER_TLS && !stream_is_blocked(e->stream) &&
            e->out.n == 0) {
            enum err err = errand_fill(e);
            (void)err; /* comes again with the next turn */
        }
    } else if (e->state == WRITING) {
        errand_turn_writing(e);
    } else if (e->state == TURNING && e->has_goodbye) {
        look_for_end(e);
    } else if (e->state == TURNING && stream_is_blocked(e->stream)) {
        enum err err = stream_flush(e->stream, e->io);
        if (err != OK && err != ERR_AGAIN) {
            errand_fail_stream(e, err);
        }
    }
    watch_time(e);
    errand_publish(e, 0, 0, 0, 0);
    atomic_store(&e->of->beats[e->index], e->now_ms);
    wait_for(e);
}

static void *errand_run(void *ctx)
{
    struct courier_errand *e = ctx;
    e->now_ms = e->clock.mono_ms(e->clock.ctx);
    while (!atomic_load(&e->of->is_stopping)) {
        turn(e);
    }
    errand_hang_up(e);
    return NULL;
}

/* ---- life ---- */

static void errand_free(struct courier_errand *e)
{
    if (e == NULL) {
        return;
    }
    if (e->is_running) {
        (void)pthread_join(e->thread, NULL);
    }
    trail_follow_free(e->follow);
    stream_io_free(e->io);
    buf_done(&e->out);
    buf_done(&e->request);
    buf_done(&e->in);
    buf_wipe(&e->secret);
    mem_free(e);
}

static enum err errand_start(struct courier *c, const struct courier_setup *s, size_t i)
{
    pthread_attr_t attributes;
    struct courier_errand *e = mem_zalloc(sizeof *e);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    c->errands[i] = e;
    *e = (struct courier_errand){.of = c,
                                 .index = i,
                                 .sink = &c->sinks[i],
                                 .dial_fd = s->dial_fds[i],
                                 .watch_fd = s->watch_fds[i],
                                 .disk = s->disk,
                                 .clock = s->clock,
                                 .fd = -1};
    (void)snprintf(e->host, sizeof e->host, "%s", s->host);
    TRY(trail_follow_new(s->disk, s->root, &e->follow));
    TRY(stream_io_new(&e->io));
    TRY(errand_read_spot(e));
    atomic_store(&c->beats[i], s->clock.mono_ms(s->clock.ctx));
    if (pthread_attr_init(&attributes) != 0) {
        return ERR_NOMEM;
    }
    (void)pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    e->is_running = pthread_create(&e->thread, &attributes, errand_run, e) == 0;
    (void)pthread_attr_destroy(&attributes);
    return e->is_running ? OK : ERR_NOMEM;
}

struct courier *courier_free(struct courier *c)
{
    if (c == NULL) {
        return NULL;
    }
    atomic_store(&c->is_stopping, true);
    (void)eventfd_write(c->stop_fd, 1);
    for (size_t i = 0; i < c->n; i++) {
        errand_free(c->errands[i]);
        (void)pthread_mutex_destroy(&c->boards[i].lock);
    }
    if (c->stop_fd >= 0) {
        close(c->stop_fd);
    }
    return mem_free(c);
}

enum err courier_open(const struct courier_setup *s, struct courier **ret)
{
    struct courier *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum err err = c->stop_fd >= 0 ? OK : ERR_IO;
    c->ctx = s->ctx;
    c->notify = s->notify;
    for (size_t i = 0; i < s->n && i < COURIER_SINKS_MAX && err == OK; i++) {
        if (pthread_mutex_init(&c->boards[i].lock, NULL) != 0) {
            err = ERR_NOMEM;
            break;
        }
        c->sinks[i] = s->sinks[i];
        c->n++;
        err = errand_start(c, s, i);
    }
    if (err != OK) {
        courier_free(c);
        return err;
    }
    *ret = c;
    return OK;
}

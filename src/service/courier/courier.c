/* One thread for each sink: follows the trail, connects, sends, waits until all is taken. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/random.h"
#include "net/loop.h"
#include "net/stream.h"
#include "service/courier/courier_private.h"
#include "service/courier/outlet.h"
#include "service/watch/trail_follow.h"
#include "wire/http1/request.h"

enum {
    FILL_BYTES = 48 * 1024, /* of one write */
    FILL_RECORDS = 4096,    /* looked at for it */
    STAY_MS = 1000,         /* a connection of a webhook with nothing to say stays so long */
    JITTER_PART = 4,        /* of the time until the next try: what is left to chance */
    MS = 1000,
    LOOK_MS = 200,  /* between two looks for new records, where nothing tells of them */
    TOLD_MS = 1000, /* and where something does */
    GATHER_MS = 20, /* so long records gather before the next look, at least */
    END_MS = 10,    /* between two looks for the end of a connection */
    EDGE_MS = 5000, /* between two looks at the end of the trail */
    PEM_MAX = 256 * 1024,
    THREAD_STACK_BYTES = 512 * 1024
};

/* idle -> dialling (the supervisor opens a socket) -> connecting -> shaking -> open -> turning
 * (our side has ended) -> idle; any failure -> idle. A webhook: open -> turning (a request is out)
 * -> open. A file, or journald: dialling -> writing -> idle. */
enum errand_state { IDLE, DIALLING, CONNECTING, SHAKING, OPEN, TURNING, WRITING };

struct courier_errand {
    struct courier *of;
    size_t index;
    const struct courier_sink *sink;
    char host[SHIPMENT_HOST_BYTES];
    pthread_t thread;
    bool is_running;
    int dial_fd, watch_fd;
    struct disk *disk;
    struct clock clock;
    struct trail_follow *follow;
    struct trail_spot taken; /* as saved */
    enum errand_state state;
    uint64_t now_ms, retry_at_ms, backoff_ms;
    uint64_t until_ms;  /* of the state */
    uint64_t since_ms;  /* the oldest record that waits was seen; 0: none waits */
    uint64_t opened_ms; /* the first record went into this connection; 0: none yet */
    uint64_t edge_at_ms;
    uint64_t got_ms;    /* new records were read */
    uint64_t seq;       /* of the last record that was read since the start */
    uint64_t n_waiting; /* records behind `taken` that were read and are for this sink */
    uint64_t first_seq; /* of them */
    bool is_unsaved;    /* `taken` went on over what is not for this sink */
    bool has_failed, is_at_edge;
    bool has_goodbye;                 /* turning: the receiver has said by TLS that it ends */
    char trouble[COURIER_TEXT_BYTES]; /* the last failure */
    struct buf out;
    int fd;                 /* while connecting or writing, else -1 */
    struct outlet outlet;   /* writing */
    struct buf request, in; /* of a webhook: what is asked, what came */
    struct buf secret;
    struct tls *tls;
    struct stream *stream;
    struct stream_io *io;
};

static void spot_name(const struct courier_errand *e, char dst[64])
{
    (void)snprintf(dst, 64, COURIER_DIR "/%s", e->sink->name);
}

static void publish(struct courier_errand *e, uint64_t sent, uint64_t taken, uint64_t retries,
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

/* ---- the connection ---- */

static void hang_up(struct courier_errand *e)
{
    e->stream = stream_free(e->stream);
    e->tls = tls_free(e->tls);
    if (e->fd >= 0) {
        close(e->fd);
    }
    e->fd = -1;
    e->opened_ms = 0;
    e->has_goodbye = false;
    buf_clear(&e->in);
    buf_wipe(&e->secret);
    e->state = IDLE;
}

/* Many servers that lost the same receiver do not come back in one moment. */
static void wait_before_retry(struct courier_errand *e, uint64_t least_ms, uint64_t more_ms)
{
    const struct random_source random = random_system();
    e->retry_at_ms = e->now_ms + least_ms + random_below(&random, more_ms + 1);
}

/* What was sent since the last confirmation is sent again. */
static void fail(struct courier_errand *e, const char *text)
{
    (void)snprintf(e->trouble, sizeof e->trouble, "%.190s", text);
    hang_up(e);
    buf_clear(&e->out);
    trail_follow_to(e->follow, &e->taken);
    e->n_waiting = 0;
    e->seq = e->taken.seq;
    e->backoff_ms = e->backoff_ms == 0                         ? COURIER_RETRY_MS
                    : e->backoff_ms * 2 < COURIER_RETRY_MAX_MS ? e->backoff_ms * 2
                                                               : COURIER_RETRY_MAX_MS;
    uint64_t jitter_ms = e->backoff_ms / JITTER_PART;
    wait_before_retry(e, e->backoff_ms - jitter_ms, jitter_ms);
    if (!e->has_failed) {
        e->has_failed = true;
        courier_say(e->of, e->index, COURIER_FAILED, 0, e->trouble);
    }
    publish(e, 0, 0, 1, 0);
}

static void fail_stream(struct courier_errand *e, enum err err)
{
    char text[COURIER_TEXT_BYTES];
    const char *why = stream_error(e->stream);
    (void)snprintf(text, sizeof text, "%s%s%s",
                   err == ERR_AUTH       ? "its certificate was refused"
                   : e->state == SHAKING ? "the TLS handshake failed"
                   : e->state == TURNING && e->sink->way == COURIER_WEBHOOK
                       ? "it ended the connection without an answer"
                   : e->state == TURNING ? "it did not confirm by close_notify what it was sent"
                                         : "the connection broke",
                   why[0] != '\0' ? ": " : "", why);
    fail(e, text);
}

enum err courier_sink_tls(struct disk *d, const struct courier_sink *s, char *ret_text,
                          struct tls **ret)
{
    AUTO(buf_wipe) struct buf ca = {0}, cert = {0}, key = {0};
    const struct {
        const char *name;
        struct buf *to;
    } files[] = {{s->ca, &ca}, {s->cert, &cert}, {s->key, &key}};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        enum err err =
            files[i].name[0] == '\0' ? OK : disk_load(d, files[i].name, PEM_MAX, files[i].to);
        if (err != OK) {
            (void)snprintf(ret_text, TLS_TEXT_BYTES, "DIR/%.60s cannot be read: %s", files[i].name,
                           err_name(err));
            return err;
        }
    }
    struct tls_client_config config = {.ca_pem = buf_slice(&ca),
                                       .host = s->host,
                                       .chain_pem = buf_slice(&cert),
                                       .key_pem = buf_slice(&key)};
    return tls_client_new(&config, ret_text, ret);
}

enum err courier_sink_secret(struct disk *d, const struct courier_sink *s, char *ret_text,
                             struct buf *ret)
{
    AUTO(buf_wipe) struct buf file = {0};
    struct slice secret;
    enum err err = disk_load(d, s->secret, WEBHOOK_SECRET_MAX + 2, &file);
    if (err != OK) {
        (void)snprintf(ret_text, TLS_TEXT_BYTES, "DIR/%.60s cannot be read: %s", s->secret,
                       err_name(err));
        return err;
    }
    err = webhook_secret_read(buf_slice(&file), &secret);
    if (err != OK) {
        (void)snprintf(ret_text, TLS_TEXT_BYTES,
                       "DIR/%.60s must hold one line of %d to %d characters, as `openssl rand "
                       "-hex 32` makes one",
                       s->secret, WEBHOOK_SECRET_MIN, WEBHOOK_SECRET_MAX);
        return err;
    }
    return buf_append(ret, secret, WEBHOOK_SECRET_MAX);
}

/* Read for each connection: a renewed certificate or secret needs no restart. */
static bool read_files(struct courier_errand *e)
{
    char text[TLS_TEXT_BYTES] = "";
    enum err err = OK;
    if (e->sink->way == COURIER_TLS || e->sink->way == COURIER_WEBHOOK) {
        err = courier_sink_tls(e->disk, e->sink, text, &e->tls);
    }
    if (err == OK && e->sink->way == COURIER_WEBHOOK) {
        err = courier_sink_secret(e->disk, e->sink, text, &e->secret);
    }
    if (err != OK) {
        fail(e, text);
    }
    return err == OK;
}

static void forget_late_answers(const struct courier_errand *e);

static void dial(struct courier_errand *e)
{
    if (!read_files(e)) {
        return;
    }
    forget_late_answers(e);
    const struct slice ask = slice_of(e->sink->to, strlen(e->sink->to));
    if (send(e->dial_fd, ask.p, ask.n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)ask.n) {
        fail(e, "the supervisor takes no request for a connection");
        return;
    }
    e->state = DIALLING;
    e->until_ms = e->now_ms + COURIER_DIAL_MS;
}

/* -1: none came, ret says whether the supervisor answered at all. */
static int receive_fd(int from, bool *ret_answered)
{
    uint8_t byte;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    int fd = -1;
    /* 0 is no answer: the supervisor has ended, and would be heard so for ever. */
    *ret_answered = recvmsg(from, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) > 0;
    struct cmsghdr *c = *ret_answered ? CMSG_FIRSTHDR(&m) : NULL;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof fd)) {
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    }
    return fd;
}

/* To a request that was given up, or of the courier before this one. */
static void forget_late_answers(const struct courier_errand *e)
{
    bool answered = true;
    while (answered) {
        int fd = receive_fd(e->dial_fd, &answered);
        if (fd >= 0) {
            close(fd);
        }
    }
}

static void take_dialled(struct courier_errand *e)
{
    bool answered;
    e->fd = receive_fd(e->dial_fd, &answered);
    if (e->fd >= 0 && e->sink->way >= COURIER_FILE) {
        e->state = WRITING;
        outlet_begin(e->fd, &e->outlet);
    } else if (e->fd >= 0) {
        e->state = CONNECTING;
    } else if (answered) {
        fail(e, e->sink->way == COURIER_FILE
                    ? "its file cannot be opened: its folder must be there, and be this user's to "
                      "write, and no link or other thing may have its name"
                : e->sink->way == COURIER_JOURNALD
                    ? "nothing takes records at its socket: is systemd-journald there?"
                    : "it cannot be reached: no socket, no way to its address, or another address "
                      "than that of the last reload");
    }
}

static void take_connected(struct courier_errand *e)
{
    int error = 0;
    socklen_t n = sizeof error;
    char text[COURIER_TEXT_BYTES];
    if (getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
        (void)snprintf(text, sizeof text, "it cannot be reached: %s",
                       strerrordesc_np(error != 0 ? error : errno));
        fail(e, text);
        return;
    }
    int fd = e->fd;
    e->fd = -1;
    e->state = SHAKING;
    enum err err = stream_new(fd, STREAM_CLIENT, e->tls, &e->stream);
    err = err == OK ? stream_start(e->stream, e->io) : err;
    if (err != OK) {
        fail(e, "no memory for the connection");
    }
}

/* ---- records ---- */

static void note_gap(struct courier_errand *e, uint64_t seq)
{
    char text[32];
    uint64_t before = e->seq;
    e->seq = seq;
    if (seq > before + 1) {
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)seq);
        courier_say(e->of, e->index, COURIER_LOST, seq - before - 1, text);
        publish(e, 0, 0, 0, seq - before - 1);
    }
}

static bool is_wanted(const struct courier_errand *e, const struct shipment *s)
{
    return !e->sink->only_alerts || (!s->is_checkpoint && s->severity == SEVERITY_ALERT);
}

static enum err pack(struct courier_errand *e, const struct trail_next *next)
{
    AUTO(shipment_done) struct shipment s = {0};
    enum err err = OK;
    if (next->entry.kind == CHAIN_CHECKPOINT) {
        s = shipment_checkpoint(next->entry.wall_ms);
    } else {
        err = shipment_read(next->entry.body, &s);
    }
    if (err == ERR_MALFORMED) {
        return OK; /* of another version: its number is missing, and says so */
    }
    TRY(err);
    if (!is_wanted(e, &s)) {
        return OK;
    }
    s.seq = next->entry.seq;
    s.leaf = next->leaf;
    TRY(shipment_encode(e->sink->format, &s, e->host, &e->out));
    e->first_seq = e->n_waiting == 0 ? s.seq : e->first_seq;
    e->n_waiting++;
    return OK;
}

/* Up to FILL_BYTES more. ERR_AGAIN: there is nothing new. */
static enum err fill(struct courier_errand *e)
{
    size_t n = 0;
    enum err err = OK;
    while (err == OK && e->out.n < FILL_BYTES && n < FILL_RECORDS) {
        struct trail_next next;
        err = trail_follow_next(e->follow, &next);
        if (err == OK) {
            note_gap(e, next.entry.seq);
            err = pack(e, &next);
            n++;
        }
    }
    if (n > 0) {
        e->got_ms = e->now_ms;
    }
    if (e->n_waiting > 0 && e->since_ms == 0) {
        e->since_ms = e->now_ms;
    }
    if (n > 0 && e->n_waiting == 0) {
        e->taken = trail_follow_spot(e->follow); /* none of it was for this sink */
        e->is_unsaved = true;
    }
    return n > 0 && err == ERR_AGAIN ? OK : err;
}

static void send_out(struct courier_errand *e)
{
    struct slice part = buf_slice(&e->out);
    uint64_t before = e->n_waiting;
    if (part.n == 0) {
        enum err err = fill(e);
        part = buf_slice(&e->out);
        if (err != OK && err != ERR_AGAIN) {
            fail(e, "the trail cannot be read");
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
        fail_stream(e, err);
        return;
    }
    e->opened_ms = e->opened_ms == 0 ? e->now_ms : e->opened_ms;
    e->until_ms = e->now_ms + COURIER_STALL_MS;
    buf_clear(&e->out);
    publish(e, e->n_waiting > before ? e->n_waiting - before : e->n_waiting, 0, 0, 0);
}

static void save_taken(struct courier_errand *e)
{
    uint8_t bytes[TRAIL_SPOT_BYTES];
    char name[64];
    spot_name(e, name);
    trail_spot_encode(&e->taken, bytes);
    e->is_unsaved = false;
    if (disk_save(e->disk, name, slice_of(bytes, sizeof bytes)) != OK) {
        (void)snprintf(e->trouble, sizeof e->trouble,
                       "DIR/%s cannot be written, so a restart repeats", name);
        courier_say(e->of, e->index, COURIER_FAILED, 0, e->trouble);
    }
}

static void mark_taken(struct courier_errand *e)
{
    uint64_t n = e->n_waiting;
    e->taken = trail_follow_spot(e->follow);
    save_taken(e);
    e->n_waiting = 0;
    e->since_ms = 0;
    e->backoff_ms = 0;
    e->retry_at_ms = 0;
    if (e->has_failed) {
        courier_say(e->of, e->index, COURIER_RECOVERED, n, "");
    }
    e->has_failed = false;
    e->trouble[0] = '\0';
    publish(e, 0, n, 0, 0);
}

/* The receiver has read all: it ended by TLS, all our bytes are with its machine, and that closed
 * the connection instead of resetting it, as it does for what nobody has read. */
static void confirmed(struct courier_errand *e)
{
    hang_up(e);
    mark_taken(e);
}

/* ---- webhooks ---- */

/* One request: all that is in `out`. */
static void ask_hook(struct courier_errand *e)
{
    const struct webhook_request request = {.url = e->sink->url,
                                            .sink = e->sink->name,
                                            .host = e->host,
                                            .secret = buf_slice(&e->secret),
                                            .first = e->first_seq,
                                            .last = e->seq,
                                            .lines = buf_slice(&e->out),
                                            .wall_ms = e->clock.wall_ms(e->clock.ctx)};
    buf_clear(&e->request);
    enum err err = webhook_request_write(&request, &e->request);
    if (err != OK) {
        fail(e, "the request could not be made");
        return;
    }
    struct slice part = buf_slice(&e->request);
    err = stream_write(e->stream, e->io, &part, 1);
    if (err != OK) {
        fail_stream(e, err);
        return;
    }
    buf_clear(&e->out);
    e->state = TURNING;
    e->until_ms = e->now_ms + COURIER_STALL_MS;
    publish(e, e->n_waiting, 0, 0, 0);
}

static void take_answer(struct courier_errand *e, const struct webhook_answer *a)
{
    char text[COURIER_TEXT_BYTES];
    if (a->verdict == WEBHOOK_TAKEN && stream_is_blocked(e->stream)) {
        fail(e, "it answered before it had read the request");
        return;
    }
    if (a->verdict == WEBHOOK_TAKEN) {
        buf_clear(&e->in);
        if (a->may_stay) {
            e->state = OPEN;
            e->until_ms = e->now_ms + STAY_MS;
        } else {
            stream_close(e->stream, e->io);
            hang_up(e);
        }
        mark_taken(e);
        return;
    }
    (void)snprintf(text, sizeof text, "it answered %u: %s", a->status, webhook_answer_text(a));
    fail(e, text);
    /* Nothing is passed over, so what is refused stands in the way until somebody looks. */
    uint64_t least_ms = (a->verdict == WEBHOOK_REFUSED ? WEBHOOK_REFUSED_S : a->retry_after_s) * MS;
    if (least_ms > e->backoff_ms) {
        wait_before_retry(e, least_ms, least_ms / JITTER_PART);
    }
}

/* What comes while nothing was asked is no answer. */
static void hear_hook(struct courier_errand *e, struct slice plain)
{
    struct webhook_answer a;
    enum err err = buf_append(&e->in, plain, WEBHOOK_ANSWER_MAX + HTTP1_HEAD_MAX);
    if (err == OK && e->state == TURNING) {
        err = webhook_answer_read(buf_slice(&e->in), &a);
    }
    if (err == OK && e->state == TURNING) {
        take_answer(e, &a);
    } else if (err != ERR_AGAIN && e->in.n > 0) {
        fail(e, "it does not speak HTTP/1.1");
    }
}

static void turn_open_hook(struct courier_errand *e)
{
    if (e->out.n == 0) {
        enum err err = fill(e);
        if (err != OK && err != ERR_AGAIN) {
            fail(e, "the trail cannot be read");
            return;
        }
    }
    if (e->out.n > 0) {
        ask_hook(e);
    } else if (e->now_ms >= e->until_ms) {
        stream_close(e->stream, e->io);
        hang_up(e);
    }
}

/* ---- files, journald ---- */

static void turn_writing(struct courier_errand *e)
{
    enum err err = OK;
    uint64_t before = e->n_waiting;
    if (e->out.n == 0) {
        err = fill(e);
        err = err == ERR_AGAIN ? OK : err;
    }
    if (err != OK) {
        fail(e, "the trail cannot be read");
        return;
    }
    bool is_last = e->out.n == 0;
    if (!is_last) {
        bool is_file = e->sink->way == COURIER_FILE;
        err = is_file ? outlet_append(&e->outlet, &e->out) : outlet_send(&e->outlet, &e->out);
        publish(e, e->n_waiting - before, 0, 0, 0);
        e->until_ms = err == OK ? e->now_ms + COURIER_STALL_MS : e->until_ms;
        is_last = err == OK && is_file && outlet_bytes(&e->outlet) >= e->sink->file_bytes;
    }
    if (err == OK && is_last) {
        err = e->sink->way == COURIER_FILE ? outlet_sync(&e->outlet) : OK;
    }
    if (err == ERR_AGAIN) {
        return;
    }
    if (err != OK) {
        char text[COURIER_TEXT_BYTES];
        (void)snprintf(text, sizeof text, "it cannot be written: %s", outlet_error(&e->outlet));
        fail(e, text);
    } else if (is_last) {
        confirmed(e);
    }
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
        fail(e, "it ended the connection without having read all");
    } else if (info.tcpi_unacked == 0 && info.tcpi_state != TCP_CLOSING &&
               info.tcpi_state != TCP_LAST_ACK) {
        confirmed(e);
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
            hear_hook(e, plain);
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
        hang_up(e); /* nothing is on its way: it need not keep a connection */
        return;
    }
    if (!is_hook && e->state == TURNING && err == ERR_CLOSED && stream_closed_cleanly(e->stream)) {
        e->has_goodbye = true;
        return;
    }
    fail_stream(e, err);
}

static void turn_open(struct courier_errand *e)
{
    if (stream_is_blocked(e->stream)) {
        enum err err = stream_flush(e->stream, e->io);
        if (err == OK) {
            e->until_ms = e->now_ms + COURIER_STALL_MS;
        } else if (err != ERR_AGAIN) {
            fail_stream(e, err);
        }
        return;
    }
    if (e->sink->way == COURIER_WEBHOOK) {
        turn_open_hook(e);
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
        fail(e, e->state == DIALLING || e->state == CONNECTING ? "it does not answer"
                : e->state == SHAKING                          ? "the TLS handshake does not end"
                : e->state == TURNING && e->sink->way == COURIER_WEBHOOK
                    ? "it does not answer the request"
                    : "it takes nothing any more");
    }
    if (e->now_ms >= e->edge_at_ms) {
        bool is_edge = false;
        e->edge_at_ms = e->now_ms + EDGE_MS;
        if (e->is_unsaved) {
            save_taken(e);
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
        enum err err = fill(e);
        if (err != OK && err != ERR_AGAIN) {
            fail(e, "the trail cannot be read");
        }
    }
    if (e->out.n > 0 && e->now_ms >= e->retry_at_ms) {
        dial(e);
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
        take_dialled(e);
    } else if (e->state == CONNECTING) {
        take_connected(e);
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
            enum err err = fill(e);
            (void)err; /* comes again with the next turn */
        }
    } else if (e->state == WRITING) {
        turn_writing(e);
    } else if (e->state == TURNING && e->has_goodbye) {
        look_for_end(e);
    } else if (e->state == TURNING && stream_is_blocked(e->stream)) {
        enum err err = stream_flush(e->stream, e->io);
        if (err != OK && err != ERR_AGAIN) {
            fail_stream(e, err);
        }
    }
    watch_time(e);
    publish(e, 0, 0, 0, 0);
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
    hang_up(e);
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

static enum err read_spot(struct courier_errand *e)
{
    AUTO(buf_done) struct buf bytes = {0};
    char name[64];
    spot_name(e, name);
    enum err err = disk_load(e->disk, name, TRAIL_SPOT_BYTES, &bytes);
    err = err == OK ? trail_spot_decode(buf_slice(&bytes), &e->taken) : err;
    if (err == ERR_NOT_FOUND || err == ERR_MALFORMED || err == ERR_TOO_LARGE) {
        e->taken = (struct trail_spot){0}; /* rather all again */
        err = OK;
    }
    trail_follow_to(e->follow, &e->taken);
    e->seq = e->taken.seq;
    return err;
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
    TRY(read_spot(e));
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

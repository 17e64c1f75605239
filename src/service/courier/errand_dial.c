/* How a sink is reached, and what happens when it is not. */
#include "service/courier/errand_private.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/random.h"

void errand_hang_up(struct courier_errand *e)
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
void errand_wait_before_retry(struct courier_errand *e, uint64_t least_ms, uint64_t more_ms)
{
    const struct random_source random = random_system();
    e->retry_at_ms = e->now_ms + least_ms + random_below(&random, more_ms + 1);
}

/* What was sent since the last confirmation is sent again. */
void errand_fail(struct courier_errand *e, const char *text)
{
    (void)snprintf(e->trouble, sizeof e->trouble, "%.190s", text);
    errand_hang_up(e);
    buf_clear(&e->out);
    trail_follow_to(e->follow, &e->taken);
    e->n_waiting = 0;
    e->seq = e->taken.seq;
    e->backoff_ms = e->backoff_ms == 0                         ? COURIER_RETRY_MS
                    : e->backoff_ms * 2 < COURIER_RETRY_MAX_MS ? e->backoff_ms * 2
                                                               : COURIER_RETRY_MAX_MS;
    uint64_t jitter_ms = e->backoff_ms / ERRAND_JITTER_PART;
    errand_wait_before_retry(e, e->backoff_ms - jitter_ms, jitter_ms);
    if (!e->has_failed) {
        e->has_failed = true;
        courier_say(e->of, e->index, COURIER_FAILED, 0, e->trouble);
    }
    errand_publish(e, 0, 0, 1, 0);
}

void errand_fail_stream(struct courier_errand *e, enum err err)
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
    errand_fail(e, text);
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
        errand_fail(e, text);
    }
    return err == OK;
}

static void forget_late_answers(const struct courier_errand *e);

void errand_dial(struct courier_errand *e)
{
    if (!read_files(e)) {
        return;
    }
    forget_late_answers(e);
    const struct slice ask = slice_of(e->sink->to, strlen(e->sink->to));
    if (send(e->dial_fd, ask.p, ask.n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)ask.n) {
        errand_fail(e, "the supervisor takes no request for a connection");
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

void errand_take_dialled(struct courier_errand *e)
{
    bool answered;
    e->fd = receive_fd(e->dial_fd, &answered);
    if (e->fd >= 0 && e->sink->way >= COURIER_FILE) {
        e->state = WRITING;
        outlet_begin(e->fd, &e->outlet);
    } else if (e->fd >= 0) {
        e->state = CONNECTING;
    } else if (answered) {
        errand_fail(
            e, e->sink->way == COURIER_FILE
                   ? "its file cannot be opened: its folder must be there, and be this user's to "
                     "write, and no link or other thing may have its name"
               : e->sink->way == COURIER_JOURNALD
                   ? "nothing takes records at its socket: is systemd-journald there?"
                   : "it cannot be reached: no socket, no way to its address, or another address "
                     "than that of the last reload");
    }
}

void errand_take_connected(struct courier_errand *e)
{
    int error = 0;
    socklen_t n = sizeof error;
    char text[COURIER_TEXT_BYTES];
    if (getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0 || error != 0) {
        (void)snprintf(text, sizeof text, "it cannot be reached: %s",
                       strerrordesc_np(error != 0 ? error : errno));
        errand_fail(e, text);
        return;
    }
    int fd = e->fd;
    e->fd = -1;
    e->state = SHAKING;
    enum err err = stream_new(fd, STREAM_CLIENT, e->tls, &e->stream);
    err = err == OK ? stream_start(e->stream, e->io) : err;
    if (err != OK) {
        errand_fail(e, "no memory for the connection");
    }
}

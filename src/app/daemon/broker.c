/* The frame of the broker: the link and the control socket, one client at a time. */
#include "app/daemon/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "service/admin/control.h"

enum { CLIENT_WAIT_MS = 2000, READ_BYTES = 4096 };

static enum err answer_status(void *ctx, const struct control_request *request, uint64_t token,
                              struct control_reply *reply)
{
    const struct boot *boot = ctx;
    (void)request;
    (void)token;
    TRY(control_line(reply,
                     json_pack("{s:i,s:i,s:i}", "workers", (int)boot->workers, "listeners",
                               (int)boot->n_listeners, "generation", (int)boot->generation)));
    return control_finish(reply, 0, NULL);
}

static const struct control_verb verbs[] = {{"status", answer_status}};

enum err broker_prepare(const struct boot *boot)
{
    (void)boot;
    return OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static void buf_release(struct buf *b)
{
    buf_done(b);
}

static enum err serve_client(const struct boot *boot, int fd)
{
    AUTO(buf_release) struct buf in = {0};
    AUTO(control_reply_done) struct control_reply reply = {0};
    struct slice line = {0};
    for (enum err cut = ERR_AGAIN; cut == ERR_AGAIN;) {
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        uint8_t *room;
        if (poll(&polled, 1, CLIENT_WAIT_MS) != 1) {
            return ERR_TIMEOUT;
        }
        TRY(buf_room(&in, READ_BYTES, CONTROL_REQUEST_MAX + READ_BYTES, &room));
        ssize_t n = recv(fd, room, READ_BYTES, MSG_DONTWAIT);
        if (n <= 0) {
            return ERR_CLOSED;
        }
        in.n += (size_t)n;
        struct slice all = buf_slice(&in);
        cut = control_cut(&all, &line);
        if (cut != ERR_AGAIN) {
            TRY(cut);
        }
    }
    TRY(control_dispatch(verbs, COUNT_OF(verbs), (void *)(uintptr_t)boot, line, 0, &reply));
    ssize_t sent = send(fd, reply.bytes.p, reply.bytes.n, MSG_NOSIGNAL);
    return sent == (ssize_t)reply.bytes.n ? OK : ERR_IO;
}

static void accept_client(const struct boot *boot)
{
    AUTO(close_fd) int fd = accept4(boot->control_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        enum err e = serve_client(boot, fd);
        if (e != OK) {
            log_line(LOG_WARN, "a control client was not served: %s", err_name(e));
        }
    }
}

static void report_denials(void)
{
    struct sandbox_denial denials[8];
    size_t n = sandbox_denials(denials, COUNT_OF(denials));
    for (size_t i = 0; i < n; i++) {
        log_line(LOG_WARN, "the sandbox refused %s, %u times", sandbox_call_name(denials[i].call),
                 denials[i].count);
    }
}

int broker_run(const struct boot *boot, const struct sandbox_report *sandbox, int link_fd)
{
    (void)sandbox;
    struct message ready = {.type = MESSAGE_READY};
    if (message_send(link_fd, &ready) != OK) {
        return 1;
    }
    for (;;) {
        struct pollfd polled[2] = {{.fd = link_fd, .events = POLLIN},
                                   {.fd = boot->control_fd, .events = POLLIN}};
        if (poll(polled, 2, 1000) < 0 && errno != EINTR) {
            return 1;
        }
        report_denials();
        if (polled[0].revents != 0) {
            struct message m;
            enum err e = message_receive(link_fd, &m);
            if (e == ERR_CLOSED || (e == OK && m.type == MESSAGE_STOP)) {
                return 0;
            }
            struct message reloaded = {.type = MESSAGE_RELOADED};
            if (e == OK && m.type == MESSAGE_RELOAD && message_send(link_fd, &reloaded) != OK) {
                return 1;
            }
        }
        if (polled[1].revents != 0) {
            accept_client(boot);
        }
    }
}

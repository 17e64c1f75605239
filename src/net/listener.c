#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

struct listener {
    struct loop_source source;
    struct loop *loop;
    const struct clock *clock;
    struct listener_handler handler;
    struct listener_counts counts;
    int spare_fd;          /* given up for a moment to shed one connection when there are no more */
    bool paused;           /* by the worker */
    uint64_t resume_at_ms; /* UINT64_MAX: not out of descriptors */
};

AUTOFREE(listener, listener_free)

/* A duplicate of the listening socket itself: needs no path, so it works inside the sandbox. */
static int spare_open(const struct listener *l)
{
    return fcntl(l->source.fd, F_DUPFD_CLOEXEC, 0);
}

static void watch(struct listener *l)
{
    bool wanted = !l->paused && l->resume_at_ms == UINT64_MAX;
    /* When the kernel refuses, the next tick or resume asks again. */
    if (loop_change(l->loop, &l->source, wanted ? EPOLLIN : 0) != OK) {
        l->resume_at_ms = l->clock->mono_ms(l->clock->ctx) + LISTENER_PAUSE_MS;
    }
}

/* The process has no descriptor left: one waiting connection is closed instead of kept in the dark,
 * the others wait in the kernel's queue while accepting rests. */
static void out_of_descriptors(struct listener *l)
{
    if (l->spare_fd >= 0) {
        (void)close(l->spare_fd);
        l->spare_fd = -1;
        int fd = accept4(l->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            (void)close(fd);
            l->counts.shed++;
        }
        l->spare_fd = spare_open(l);
    }
    l->counts.pauses++;
    l->resume_at_ms = l->clock->mono_ms(l->clock->ctx) + LISTENER_PAUSE_MS;
    watch(l);
}

static void listener_ready(struct loop_source *s, uint32_t events)
{
    (void)events;
    struct listener *l = CONTAINER_OF(s, struct listener, source);
    for (int i = 0; i < LISTENER_BATCH; i++) {
        struct sockaddr_storage from = {0};
        socklen_t n = sizeof(from);
        int fd = accept4(s->fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                out_of_descriptors(l);
            } else if (errno != EAGAIN) {
                continue; /* the errors of one connection that has gone already */
            }
            return;
        }
        struct net_peer peer;
        if (net_peer_from(&from, &peer) != OK) {
            (void)close(fd);
            continue;
        }
        l->counts.accepted++;
        l->handler.accepted(l->handler.ctx, fd, &peer);
        if (l->paused) {
            return;
        }
    }
}

enum err listener_new(int fd, struct loop *loop, const struct clock *clock,
                      const struct listener_handler *handler, struct listener **ret)
{
    AUTO(listener_autofree) struct listener *l = mem_zalloc(sizeof(*l));
    if (l == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    l->source = (struct loop_source){.fd = fd, .ready = listener_ready};
    l->clock = clock;
    l->handler = *handler;
    l->resume_at_ms = UINT64_MAX;
    l->spare_fd = spare_open(l);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return ERR_IO;
    }
    int one = 1;
    /* What is accepted inherits it. Without it a connection is slower, not wrong. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    TRY(loop_add(loop, &l->source, EPOLLIN));
    l->loop = loop;
    *ret = TAKE(l);
    return OK;
}

void net_reset(int fd)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    /* Without it the end is an orderly one. */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
    (void)close(fd);
}

struct listener *listener_free(struct listener *l)
{
    if (l != NULL) {
        if (l->loop != NULL) {
            loop_remove(l->loop, &l->source);
        }
        if (l->spare_fd >= 0) {
            (void)close(l->spare_fd);
        }
        (void)close(l->source.fd);
    }
    return mem_free(l);
}

void listener_pause(struct listener *l)
{
    l->paused = true;
    watch(l);
}

void listener_resume(struct listener *l)
{
    l->paused = false;
    watch(l);
}

uint64_t listener_deadline(const struct listener *l)
{
    return l->resume_at_ms;
}

void listener_tick(struct listener *l, uint64_t now_ms)
{
    if (now_ms < l->resume_at_ms) {
        return;
    }
    if (l->spare_fd < 0) {
        l->spare_fd = spare_open(l);
    }
    l->resume_at_ms = UINT64_MAX;
    watch(l);
}

const struct listener_counts *listener_counts(const struct listener *l)
{
    return &l->counts;
}

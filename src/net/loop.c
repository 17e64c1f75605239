#include "net/loop.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

enum { WAIT_MAX_MS = 60 * 1000 };

struct loop {
    int epoll_fd;
    int wake_fd;
    int at, n; /* the batch being served: ready[at..n) is still to come */
    struct epoll_event batch[LOOP_BATCH];
};

AUTOFREE(loop, loop_free)

enum err loop_new(struct loop **ret)
{
    AUTO(loop_autofree) struct loop *l = mem_zalloc(sizeof(*l));
    if (l == NULL) {
        return ERR_NOMEM;
    }
    l->wake_fd = -1;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        return ERR_IO;
    }
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* The waker is the one entry without a source. */
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (l->wake_fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &e) != 0) {
        return ERR_IO;
    }
    *ret = TAKE(l);
    return OK;
}

struct loop *loop_free(struct loop *l)
{
    if (l != NULL) {
        if (l->wake_fd >= 0) {
            (void)close(l->wake_fd);
        }
        if (l->epoll_fd >= 0) {
            (void)close(l->epoll_fd);
        }
    }
    return mem_free(l);
}

enum err loop_add(struct loop *l, struct loop_source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, s->fd, &e) != 0) {
        if (errno == EEXIST) {
            return ERR_EXISTS;
        }
        return errno == ENOMEM || errno == ENOSPC ? ERR_NOMEM : ERR_IO;
    }
    s->events = events;
    return OK;
}

enum err loop_change(struct loop *l, struct loop_source *s, uint32_t events)
{
    if (events == s->events) {
        return OK;
    }
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, s->fd, &e) != 0) {
        return ERR_IO;
    }
    s->events = events;
    return OK;
}

void loop_remove(struct loop *l, struct loop_source *s)
{
    /* It fails only for a descriptor that is not there, which is what is wanted. */
    (void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    for (int i = l->at; i < l->n; i++) {
        if (l->batch[i].data.ptr == s) {
            l->batch[i].data.ptr = NULL;
            l->batch[i].events = 0;
        }
    }
}

enum err loop_wait(struct loop *l, int timeout_ms)
{
    int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, timeout_ms);
    if (n < 0 && errno != EINTR) {
        return ERR_IO;
    }
    l->at = 0;
    l->n = n > 0 ? n : 0;
    return OK;
}

size_t loop_serve(struct loop *l)
{
    size_t n_served = 0;
    while (l->at < l->n) {
        struct epoll_event e = l->batch[l->at++];
        struct loop_source *s = e.data.ptr;
        if (s != NULL) {
            s->ready(s, e.events);
            n_served++;
        } else if (e.events != 0) {
            uint64_t wakes;
            /* Nothing to read only when another entry of the batch is a removed source. */
            (void)!read(l->wake_fd, &wakes, sizeof(wakes));
        }
    }
    l->at = l->n = 0;
    return n_served;
}

enum err loop_turn(struct loop *l, int timeout_ms, size_t *ret_n)
{
    TRY(loop_wait(l, timeout_ms));
    *ret_n = loop_serve(l);
    return OK;
}

void loop_wake(struct loop *l)
{
    uint64_t one = 1;
    /* It fails only when the counter is full, and then the loop wakes anyway. */
    (void)!write(l->wake_fd, &one, sizeof(one));
}

int loop_timeout(uint64_t now_ms, uint64_t deadline_ms)
{
    if (deadline_ms == UINT64_MAX) {
        return -1;
    }
    if (deadline_ms <= now_ms) {
        return 0;
    }
    uint64_t wait = deadline_ms - now_ms;
    return wait < WAIT_MAX_MS ? (int)wait : WAIT_MAX_MS;
}

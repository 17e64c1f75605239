#include "net/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"

enum { WAIT_MAX_MS = 60 * 1000, APART = 64 };

/*
 * Whether a wake has to be written. All changes but the plain store at birth are read-modify-write,
 * so they have one order: a wake comes before the change to ASLEEP, which then finds CALLED and
 * does not sleep, or behind it, and then it writes. What the waker did before is seen behind
 * loop_serve.
 */
enum sleep {
    AWAKE,
    ASLEEP, /* in epoll_wait, or about to */
    CALLED  /* since loop_serve; who is called again sleeps no less, so nothing is written */
};

struct loop {
    atomic_int sleep;     /* other threads write it: a cache line of its own */
    uint8_t apart[APART]; /* spacing, not alignment: as in a ring */
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
    atomic_init(&l->sleep, AWAKE);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0) {
        return ERR_IO;
    }
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* The waker is the one entry without a source. Edge-triggered: each write is news, and nobody
     * has to read. */
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
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
    loop_forget(l, s);
}

void loop_forget(struct loop *l, const struct loop_source *s)
{
    for (int i = l->at; i < l->n; i++) {
        if (l->batch[i].data.ptr == s) {
            l->batch[i].data.ptr = NULL;
            l->batch[i].events = 0;
        }
    }
}

/* Who was called meanwhile does not sleep. */
static int may_sleep(struct loop *l, int timeout_ms)
{
    int seen = AWAKE;
    bool sleeps = timeout_ms == 0 ||
                  atomic_compare_exchange_strong_explicit(
                      &l->sleep, &seen, ASLEEP, memory_order_acq_rel, memory_order_acquire);
    return sleeps || seen != CALLED ? timeout_ms : 0;
}

enum err loop_wait(struct loop *l, int timeout_ms)
{
    int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, may_sleep(l, timeout_ms));
    if (n < 0 && errno != EINTR) {
        return ERR_IO;
    }
    l->at = 0;
    l->n = n > 0 ? n : 0;
    return OK;
}

bool loop_is_lone(const struct loop *l)
{
    return l->n == 1 && l->at == 0 && l->batch[0].data.ptr != NULL;
}

bool loop_serve_one(struct loop *l)
{
    while (l->at < l->n) {
        struct epoll_event e = l->batch[l->at++];
        struct loop_source *s = e.data.ptr;
        if (s != NULL) { /* else the waker, or what was removed */
            s->ready(s, e.events);
            return true;
        }
    }
    l->at = l->n = 0;
    if (atomic_load_explicit(&l->sleep, memory_order_relaxed) != AWAKE) {
        (void)atomic_exchange_explicit(&l->sleep, AWAKE, memory_order_acq_rel);
    }
    return false;
}

size_t loop_serve(struct loop *l)
{
    size_t n_served = 0;
    while (loop_serve_one(l)) {
        n_served++;
    }
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
    if (atomic_exchange_explicit(&l->sleep, CALLED, memory_order_acq_rel) == ASLEEP) {
        /* It fails only when the counter is full: that many wakes nobody lives to see. */
        (void)!write(l->wake_fd, &one, sizeof(one));
    }
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

/*
 * loop - which descriptors are ready: epoll, level-triggered, one per worker.
 *
 * No timers: the caller knows its next deadline and passes the wait. A source is the owner's
 * storage; the loop borrows it from loop_add to loop_remove. Everything but loop_wake belongs to
 * one thread.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <sys/epoll.h>

#include "base/err.h"
#include "base/slice.h"

enum { LOOP_BATCH = 64 }; /* sources served in one turn, so that timers and rings get their turn */

struct loop;

struct loop_source {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT; set by loop_add and loop_change */
    /* May add, change and remove any source, itself too, and may free its own storage after
     * removing itself. `events` may hold EPOLLERR and EPOLLHUP unasked. */
    void (*ready)(struct loop_source *s, uint32_t events);
};

/* loop_new - gives. ERR_NOMEM, ERR_IO (no descriptors left). */
MUST_USE enum err loop_new(struct loop **ret);
struct loop *loop_free(struct loop *l);

/* loop_add - watches s->fd. Borrows s until loop_remove. ERR_EXISTS (the descriptor is in this loop
 * already), ERR_NOMEM (kernel), ERR_IO; s is not watched then. */
MUST_USE enum err loop_add(struct loop *l, struct loop_source *s, uint32_t events);
/* loop_change - no system call when nothing changes. ERR_IO: as it was. */
MUST_USE enum err loop_change(struct loop *l, struct loop_source *s, uint32_t events);
/* loop_remove - s is not called any more, not even for what this turn still holds for it. */
void loop_remove(struct loop *l, struct loop_source *s);
/* loop_forget - the same for a descriptor that its owner closes next, and that nobody has another
 * one of: the kernel ends the watch with it, so no system call is made for that. */
void loop_forget(struct loop *l, const struct loop_source *s);

/*
 * loop_turn - waits at most timeout_ms (0: not at all, -1: until something happens) and calls
 * `ready` for at most LOOP_BATCH sources. *ret_n: how many were called.
 *
 * OK      also after a wake, a signal or the timeout
 * ERR_IO  epoll itself failed: nothing sensible is left to do
 */
MUST_USE enum err loop_turn(struct loop *l, int timeout_ms, size_t *ret_n);
/* loop_wait, loop_serve - the two halves of a turn, for callers that read the clock in between.
 * What loop_wait found must be served before the next wait. Errors as loop_turn. */
MUST_USE enum err loop_wait(struct loop *l, int timeout_ms);
size_t loop_serve(struct loop *l);
/* loop_serve_one - the same one by one, for callers that have something to do in between: false
 * when all have been, and not before. */
bool loop_serve_one(struct loop *l);
/* loop_is_lone - loop_wait found one source, and no wake. Before it is served. */
bool loop_is_lone(const struct loop *l);

/* loop_wake - ends the wait of the current or next turn. Any thread, async-signal-safe; many wakes
 * before a turn count as one. No system call while the loop is awake. What was done before the call
 * is seen by its owner behind the next loop_serve, or behind the one that is running. */
void loop_wake(struct loop *l);

/* loop_timeout - from now to a deadline as the argument of loop_turn (UINT64_MAX: -1),
 * at most a minute. */
int loop_timeout(uint64_t now_ms, uint64_t deadline_ms);

#endif

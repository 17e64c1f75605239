/*
 * committer - the thread that commits the log: a batch when records wait, cleaning between batches,
 * and what the log has to say about itself, kept until the service thread asks.
 *
 * It is there before the log is opened, because a log is told at its opening whom to wake and to
 * whom its events go: committer_wake and committer_event with the committer as ctx.
 */
#ifndef SERVICE_BROKER_COMMITTER_H
#define SERVICE_BROKER_COMMITTER_H

#include "base/clock.h"
#include "base/event.h"
#include "store/log.h"

enum { COMMITTER_EVENTS = 256 /* kept; later ones are counted */ };

struct committer;

/* committer_new - clock is copied; its monotonic time is the machine's. ERR_NOMEM, ERR_IO. */
MUST_USE enum err committer_new(const struct clock *clock, struct committer **ret);
/* committer_free - after committer_stop, or stops itself. */
struct committer *committer_free(struct committer *c);
AUTOFREE(committer, committer_free)

/* For log_setup; any thread. */
void committer_wake(void *ctx);
void committer_event(void *ctx, const struct event *e);

/* Called by the committer's thread: bits of the writers whose records were committed; any thread:
 * that an event waits. */
struct committer_listener {
    void *ctx;
    void (*moved)(void *ctx, uint64_t writers);
    void (*notify)(void *ctx);
    /* A bounded piece of other work with the log, between batches: true: there is more of it.
     * committer_wake calls for it. NULL: none. */
    bool (*work)(void *ctx);
};
/* committer_start - the thread runs from here on, and log is its own (log_threaded). The first call
 * of moved names all writers. ERR_IO: no thread could be made. */
MUST_USE enum err committer_start(struct committer *c, struct log *log,
                                  const struct committer_listener *listener);
/* committer_stop - commits what was handed over and ends the thread. Fine when it never ran. */
void committer_stop(struct committer *c);
/* committer_next_event - in the order they came; false: none waits. One thread. */
bool committer_next_event(struct committer *c, struct event *ret);

#endif

/* replay_private - what a new subscription brings of what is retained; shared by the files of this
 * folder only. */
#ifndef SERVICE_BROKER_REPLAY_PRIVATE_H
#define SERVICE_BROKER_REPLAY_PRIVATE_H

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "core/retained.h"

struct conn;
struct decision;
struct sub;
struct worker;

/* Those of a connection. */
struct replays {
    struct list list;         /* struct replay */
    struct list_node waiting; /* while they wait for their time, */
    uint64_t at_ms;
    struct conn *conn;
};

/* Retained messages on their way into the queue of a connection's session. */
struct replay {
    struct list_node node;
    const struct sub *sub; /* ends with it */
    uint8_t qos;
    uint32_t id;
    uint64_t epoch; /* of the realm under which it began */
    struct retained_cursor cursor;
};

/* replay_start - c is to be given what is retained for sub. ERR_NOMEM. */
MUST_USE enum err replay_start(struct worker *w, struct conn *c, const struct sub *sub);
/* replay_check - ERR_QUOTA: a subscription to filter would bring more than its role may ask for;
 * why is said. Bounded, whatever the filter is. */
MUST_USE enum err replay_check(struct worker *w, const struct conn *c, struct slice filter,
                               struct decision *ret);
/* replays_feed - into the queue of its session what may be there now. It may close c. */
void replays_feed(struct worker *w, struct conn *c);
/* replays_go_on - what was queued has left: c is looked at again when there may be more. */
void replays_go_on(struct worker *w, struct conn *c);
/* replays_forget - those of one subscription, or all (NULL). */
void replays_forget(struct worker *w, struct conn *c, const struct sub *sub);
/* replays_turn - a turn begins. replays_deadline - when one is needed. */
void replays_turn(struct worker *w);
uint64_t replays_deadline(const struct worker *w);

#endif

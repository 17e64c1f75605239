/*
 * recall - what is remembered of each principal for `device show`: when it was last seen, and what
 * it was last refused and why. In memory, bounded; the audit trail has the whole story. Service
 * thread only.
 */
#ifndef SERVICE_WATCH_RECALL_H
#define SERVICE_WATCH_RECALL_H

#include "base/err.h"
#include "base/event.h"
#include "base/random.h"
#include "base/scope.h"

enum { RECALL_MAX = 4096 }; /* principals; then the one longest quiet is forgotten */

struct recall;

struct recalled {
    int64_t seen_wall_ms;    /* connected or disconnected last; 0: not since the start */
    char peer[56];           /* from where */
    int64_t refused_wall_ms; /* 0: never */
    enum event_category category;
    char target[130], reason[258]; /* of the refusal; the reason names the fix */
};

/* recall_new - ERR_NOMEM. random keys its map. */
MUST_USE enum err recall_new(const struct random_source *random, struct recall **ret);
struct recall *recall_free(struct recall *r);
AUTOFREE(recall, recall_free)

/* recall_note - e has a wall time. The caller passes only events of principals that exist, so that
 * strangers with invented names push nobody out. Without memory nothing is remembered. O(1). */
void recall_note(struct recall *r, const struct event *e);
/* recall_find - or NULL. Borrowed until the next note. */
const struct recalled *recall_find(const struct recall *r, struct slice principal);

#endif

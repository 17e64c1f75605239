/*
 * recall - what is remembered of each principal for `device show`: when it was last seen, and what
 * it was last refused and why. Beside that the refusals of peers that named nobody who exists, one
 * for each address: what a device runs into before it can say who it is. In memory, bounded, gone
 * with a restart; the audit trail has the whole story. Service thread only.
 */
#ifndef SERVICE_WATCH_RECALL_H
#define SERVICE_WATCH_RECALL_H

#include "base/err.h"
#include "base/event.h"
#include "base/random.h"
#include "base/scope.h"

enum {
    RECALL_MAX = 4096,       /* principals; then the one longest quiet is forgotten */
    RECALL_NAMELESS_MAX = 64 /* addresses of refusals that name nobody; likewise */
};

struct recall;

struct recalled_refusal {
    int64_t wall_ms; /* 0: never */
    enum event_category category;
    bool is_claimed; /* the peer only said that it was this principal */
    char peer[56];
    char target[130], reason[258]; /* the reason names the fix */
};

struct recalled {
    int64_t seen_wall_ms; /* connected or disconnected last; 0: not since the start */
    char peer[56];        /* from where */
    /* The newest, and the newest that was proven to be its own: whoever claims its name cannot hide
     * that one. */
    struct recalled_refusal refusal, proven;
};

/* recall_new - ERR_NOMEM. random keys its map. */
MUST_USE enum err recall_new(const struct random_source *random, struct recall **ret);
struct recall *recall_free(struct recall *r);
AUTOFREE(recall, recall_free)

/* recall_note - e has a wall time, and its principal exists: the caller sees to it, so that
 * strangers with invented names push nobody out. Without memory nothing is remembered. O(1). */
void recall_note(struct recall *r, const struct event *e);
/* recall_note_nameless - a refusal of somebody at an address; others are ignored.
 * O(RECALL_NAMELESS_MAX). */
void recall_note_nameless(struct recall *r, const struct event *e);
/* recall_find - or NULL. Borrowed until the next note. */
const struct recalled *recall_find(const struct recall *r, struct slice principal);
/* recall_nameless - the newest refusal without a name from the host of this peer ("address:port",
 * the port does not count); of any host when peer is empty. NULL: none. Borrowed until the next
 * note. */
const struct recalled_refusal *recall_nameless(const struct recall *r, struct slice peer);

#endif

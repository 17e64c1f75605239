/* Messages of shared subscriptions whose member is gone, and which another one is to have as soon
 * as the store has room for them. Until then they stay on record where they were. docs/ORDER.md,
 * rule 6. */
#include "base/mem.h"
#include "service/broker/group_private.h"
#include "service/broker/record_private.h"
#include "service/broker/worker_private.h"

enum {
    ORPHAN_RETRY_MS = 1000 /* what waits for room in the store */
};

struct orphan {
    struct list_node node;
    const struct msg *msg; /* owned reference */
    uint32_t group;
    uint64_t session, seq; /* where it is on record; 0: nowhere */
    bool ends_session;     /* the last of its session, whose record waits for it */
};

static void orphan_free(struct worker *w, struct orphan *o)
{
    list_unlink(&o->node);
    w->n_orphans--;
    msg_unref(o->msg);
    mem_free(o);
}

void orphans_free(struct worker *w)
{
    struct list_node *n;
    while (w->orphans.head.next != NULL && (n = list_first(&w->orphans)) != NULL) {
        orphan_free(w, LIST_ENTRY(n, struct orphan, node));
    }
}

bool orphan_keep(struct worker *w, uint64_t session, const struct delivery *d)
{
    struct orphan *o = w->n_orphans < ORPHANS_MAX ? mem_zalloc(sizeof(*o)) : NULL;
    if (o == NULL) {
        return false;
    }
    o->msg = msg_ref(d->msg);
    o->group = d->group;
    o->session = session;
    o->seq = d->seq;
    list_append(&w->orphans, &o->node);
    w->n_orphans++;
    return true;
}

void orphan_ends_session(struct worker *w, uint64_t session)
{
    struct orphan *last = LIST_ENTRY(w->orphans.head.prev, struct orphan, node);
    last->session = session; /* also when it is not on record itself */
    last->ends_session = true;
}

/* The end of where it was is part of the handover in which it goes on. */
static void settle(struct worker *w, const struct orphan *o)
{
    uint64_t lsn;
    enum err err = OK;
    if (o->ends_session) {
        err = record_session_end(w, o->session, &lsn);
    } else if (o->session != 0) {
        err = record_settle(w, JOURNAL_ACK, o->session, o->seq, 0, &lsn);
    }
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* after a restart it goes on again */
    }
}

void orphans_turn(struct worker *w)
{
    bool has_room = !list_is_empty(&w->orphans) && journal_admits(w->setup.journal) == OK;
    list_for_each_safe (n, next, &w->orphans) {
        struct orphan *o = LIST_ENTRY(n, struct orphan, node);
        if (!has_room || group_give(w, o->group, o->msg, NULL) != OK) {
            return;
        }
        settle(w, o);
        orphan_free(w, o);
    }
}

uint64_t orphans_deadline(const struct worker *w)
{
    return list_is_empty(&w->orphans) ? UINT64_MAX : w->now_ms + ORPHAN_RETRY_MS;
}

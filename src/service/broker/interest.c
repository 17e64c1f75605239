/* Who wants what, told to the other workers, and the end of a subscription. docs/ORDER.md, rule 3.
 */
#include <assert.h>

#include "base/mem.h"
#include "service/broker/conn_private.h"
#include "service/broker/group_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/replay_private.h"
#include "service/broker/subscribe_private.h"
#include "service/broker/worker_private.h"

enum { FILTER_COPY_MAX = 65536 };

bool interest_announce(struct worker *w, struct slice filter, bool any, bool durable)
{
    bool all_told = true;
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        if (i == w->setup.index) {
            continue;
        }
        struct wmsg_text *text = mem_alloc(sizeof(*text) + filter.n);
        struct wmsg m = {.kind = WMSG_INTEREST, .any = any, .durable = durable, .text = text};
        if (text == NULL) {
            count_add(&counts(w)->dropped_memory, 1);
            all_told = false;
            continue;
        }
        text->n = filter.n;
        memcpy(text->bytes, filter.p, filter.n);
        if (outbox_push(w, i, &m) != OK) {
            mem_free(text);
            count_add(&counts(w)->dropped_memory, 1);
            all_told = false;
        }
    }
    return all_told;
}

void sub_remove(struct worker *w, struct sub *sub)
{
    struct interest_change change;
    uint8_t copy[FILTER_COPY_MAX];
    struct slice filter = sub_filter(sub);
    assert(filter.n <= sizeof(copy));
    barriers_forget_sub(w, sub);
    if (sub->is_member) {
        group_leave(w, sub);
        return;
    }
    memcpy(copy, filter.p, filter.n);
    if (sub->subscriber->kind == SUBSCRIBER_SESSION) {
        struct conn *c = conn_find(w, ((struct session *)(void *)sub->subscriber)->conn);
        if (c != NULL) {
            replays_forget(w, c, sub); /* SPEC: MQTT-3.10.4-2 */
        }
    }
    filters_remove(w->filters, sub, &change);
    count_set(&counts(w)->subscriptions, filters_sub_count(w->filters));
    if (interest_changed(&change)) {
        /* Untold, the others send what nobody wants. */
        (void)interest_announce(w, slice_of(copy, filter.n), change.is_any, change.is_durable);
    }
}

void subs_remove_all(struct worker *w, struct subscriber *s)
{
    struct list_node *n;
    while ((n = list_first(&s->subs)) != NULL) {
        sub_remove(w, LIST_ENTRY(n, struct sub, in_subscriber));
    }
}

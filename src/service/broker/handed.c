#include "service/broker/handed.h"

#include "base/mem.h"
#include "service/broker/login_private.h"
#include "service/broker/outbox_private.h"
#include "service/broker/worker_private.h"

enum err handed_new(enum handed_kind kind, unsigned door, const struct net_peer *peer,
                    struct slice bytes, struct handed **ret)
{
    struct handed *h = mem_zalloc(sizeof(*h) + bytes.n);
    if (h == NULL) {
        return ERR_NOMEM;
    }
    h->kind = kind;
    h->door = door;
    h->peer = *peer;
    h->n = bytes.n;
    slice_copy(h->bytes, bytes);
    *ret = h;
    return OK;
}

unsigned worker_home(const struct worker *w, const struct principal *p)
{
    return w->setup.n_workers == 1 ? 0 : home_of(w, p, (struct slice){0}, false);
}

unsigned worker_index(const struct worker *w)
{
    return w->setup.index;
}

unsigned worker_count(const struct worker *w)
{
    return w->setup.n_workers;
}

static bool has_room(const struct outbox *o)
{
    return ring_count(o->ring) + (o->n - o->at) < o->ring->capacity / 2;
}

enum err worker_hand(struct worker *w, unsigned to, struct handed *h)
{
    struct wmsg m = {.kind = WMSG_HANDED, .handed = h};
    h->from = w->setup.index;
    if (h->kind == HANDED_DATAGRAM && !has_room(&w->outboxes[to])) {
        count_add(&w->setup.counters->dropped_ring, 1);
        mem_free(h);
        return ERR_AGAIN;
    }
    enum err err = outbox_push(w, to, &m);
    if (err != OK) {
        count_add(&w->setup.counters->dropped_memory, 1);
        mem_free(h);
    }
    return err;
}

void handed_arrived(struct worker *w, struct handed *h)
{
    list_append(&w->handed, &h->node);
}

struct handed *worker_next_handed(struct worker *w, unsigned door)
{
    list_for_each (node, &w->handed) {
        struct handed *h = LIST_ENTRY(node, struct handed, node);
        if (h->door == door) {
            list_unlink(&h->node);
            return h;
        }
    }
    return NULL;
}

void handed_clear(struct worker *w)
{
    struct list_node *n;
    while (w->handed.head.next != NULL && (n = list_first(&w->handed)) != NULL) {
        list_unlink(n);
        mem_free(LIST_ENTRY(n, struct handed, node));
    }
}

/* OSCORE on many workers: a context lives at its principal's home alone, whatever worker the kernel
 * gives its datagrams to. Whoever gets one looks up its kid and hands it there; an unknown kid is
 * refused on the spot. An acknowledgement names nobody, so the home says where an association is
 * heard when it has proven its address. docs/ORDER.md, rule 15. */
#include "base/mem.h"
#include "service/broker/handed.h"
#include "service/gateway/door_private.h"

/* Whose kidless datagrams from this address are. */
struct route {
    struct net_peer peer;
    unsigned home;
};

/* An association of ours that another worker hears. */
struct away {
    struct net_peer peer;
    unsigned via;
    struct association *a;
};

static struct slice route_key(const void *value)
{
    const struct route *r = value;
    return net_peer_key(&r->peer);
}

static struct slice away_key(const void *value)
{
    const struct away *w = value;
    return net_peer_key(&w->peer);
}

/* ---- what comes ---- */

/* Lost when there is no room: UDP is, and the client sends again. */
static void hand(struct coap_door *d, unsigned to, enum handed_kind kind,
                 const struct net_peer *peer, struct slice bytes)
{
    struct handed *h = NULL;
    if (handed_new(kind, d->setup.index, peer, bytes, &h) != OK) {
        count_add(&d->setup.counters->dropped_memory, 1);
        return;
    }
    (void)!worker_hand(d->setup.worker, to, h);
}

static bool pass_on(struct coap_door *d, unsigned home, const struct net_peer *peer,
                    struct slice datagram)
{
    if (home == worker_index(d->setup.worker)) {
        return false;
    }
    hand(d, home, HANDED_DATAGRAM, peer, datagram);
    return true;
}

/* Nothing of it is believed: the home judges all of it anew. */
bool homes_elsewhere(void *ctx, const struct net_peer *peer, struct slice kid,
                     struct slice datagram)
{
    struct coap_door *d = ctx;
    const struct credential *c = NULL;
    if (worker_count(d->setup.worker) == 1 || d->via != worker_index(d->setup.worker)) {
        return false; /* what was handed to us stays here */
    }
    if (kid.n == 0) {
        const struct route *r = map_find(&d->routes, net_peer_key(peer));
        return r != NULL && pass_on(d, r->home, peer, datagram);
    }
    const struct directory_entry *entry =
        directory_find_kid(worker_realm(d->setup.worker)->directory, kid, &c);
    return entry != NULL &&
           pass_on(d, worker_home(d->setup.worker, entry->principal), peer, datagram);
}

bool homes_know(const struct coap_door *d, const struct net_peer *peer)
{
    return map_find(&d->routes, net_peer_key(peer)) != NULL;
}

/* ---- where it is heard ---- */

static void route_drop(struct coap_door *d, struct route *r)
{
    if (r != NULL) {
        (void)map_remove(&d->routes, route_key(r));
        mem_free(r);
    }
}

static void route_set(struct coap_door *d, const struct net_peer *peer, unsigned home)
{
    struct route *r = map_find(&d->routes, net_peer_key(peer));
    if (r != NULL) {
        r->home = home; /* of two behind one address the newer is heard */
        return;
    }
    r = d->routes.n < OSCORE_CONTEXTS_MAX ? mem_zalloc(sizeof(*r)) : NULL;
    if (r == NULL) {
        count_add(&d->setup.counters->dropped_memory, 1);
        return;
    }
    *r = (struct route){*peer, home};
    if (map_add(&d->routes, r) != OK) {
        mem_free(r);
        count_add(&d->setup.counters->dropped_memory, 1);
    }
}

static void away_drop(struct coap_door *d, struct away *w)
{
    w->a->away = NULL;
    (void)map_remove(&d->aways, away_key(w));
    mem_free(w);
}

void homes_closed(struct association *a)
{
    struct coap_door *d = a->door;
    if (a->away != NULL) {
        hand(d, a->away->via, HANDED_GONE, &a->away->peer, (struct slice){0});
        away_drop(d, a->away);
    }
}

void homes_located(struct association *a, const struct net_peer *peer)
{
    struct coap_door *d = a->door;
    homes_closed(a); /* where it was before */
    struct away *other = map_find(&d->aways, net_peer_key(peer));
    if (other != NULL) {
        away_drop(d, other);
    }
    if (d->via == worker_index(d->setup.worker)) {
        route_drop(d, map_find(&d->routes, net_peer_key(peer)));
        return;
    }
    struct away *w = mem_zalloc(sizeof(*w));
    if (w == NULL) {
        count_add(&d->setup.counters->dropped_memory, 1);
        return; /* its acknowledgements get lost: it must observe anew */
    }
    *w = (struct away){*peer, d->via, a};
    if (map_add(&d->aways, w) != OK) {
        mem_free(w);
        count_add(&d->setup.counters->dropped_memory, 1);
        return;
    }
    a->away = w;
    hand(d, w->via, HANDED_HERE, peer, (struct slice){0});
}

/* ---- what is handed to us ---- */

static void take(struct coap_door *d, const struct handed *h)
{
    struct route *r = map_find(&d->routes, net_peer_key(&h->peer));
    switch (h->kind) {
    case HANDED_DATAGRAM:
        d->via = h->from;
        dtls_input(d->dtls, &h->peer, slice_of(h->bytes, h->n), d->now_ms);
        d->via = worker_index(d->setup.worker);
        break;
    case HANDED_HERE:
        route_set(d, &h->peer, h->from);
        break;
    case HANDED_GONE:
        if (r != NULL && r->home == h->from) {
            route_drop(d, r);
        }
        break;
    }
}

void homes_turn(struct coap_door *d)
{
    struct handed *h;
    while ((h = worker_next_handed(d->setup.worker, d->setup.index)) != NULL) {
        /* Who hears nothing of a draining server comes again. */
        if (!d->is_draining || h->kind != HANDED_DATAGRAM) {
            take(d, h);
        }
        mem_free(h);
    }
}

/* ---- life ---- */

void homes_init(struct coap_door *d)
{
    d->via = worker_index(d->setup.worker);
    map_init(&d->routes, &d->setup.key, route_key);
    map_init(&d->aways, &d->setup.key, away_key);
}

void homes_done(struct coap_door *d)
{
    struct route *r;
    size_t at = 0;
    while ((r = map_next(&d->routes, &at)) != NULL) {
        mem_free(r);
    }
    map_done(&d->routes);
    map_done(&d->aways); /* its associations have ended */
}

/* Networks that a device had not come from. A role that roams, or whose provider gives it another
 * address now and then, is not blamed; nor is a site that moves as a whole. */
#include "service/detect/detect_private.h"

static uint32_t network_of(const struct detect *d, const char *peer)
{
    struct net_peer p;
    if (net_peer_parse(slice_text(peer), &p) != OK) {
        return 0;
    }
    struct net_prefix prefix = net_peer_prefix(&p);
    uint32_t hash = (uint32_t)siphash(&d->key, slice_of(prefix.bytes, sizeof(prefix.bytes)));
    return hash != 0 ? hash : 1;
}

/* Moves it to the front; false: it was not there. */
static bool recall(struct habits *h, uint32_t network)
{
    size_t at = 0;
    while (at < NETWORKS_MAX && h->network[at] != network) {
        at++;
    }
    bool was_there = at < NETWORKS_MAX;
    for (size_t k = was_there ? at : NETWORKS_MAX - 1; k > 0; k--) {
        h->network[k] = h->network[k - 1];
    }
    h->network[0] = network;
    return was_there;
}

/* Somebody else left the same network, or came to the same one: a site moves. */
static bool is_alone(const struct detect *d, const struct move *m)
{
    for (size_t i = 0; i < MOVES_MAX; i++) {
        const struct move *o = &d->move[i];
        bool is_same = o->from == m->from || o->to == m->to;
        bool is_near = o->at_s + d->t.move_confirm_s >= m->at_s;
        if (o->id != 0 && o->id != m->id && is_same && is_near) {
            return false;
        }
    }
    return true;
}

void networks_see(struct detect *d, const struct sight *s)
{
    struct identity *i = s->identity;
    if (i == NULL || s->e->category != EVENT_connect) {
        return;
    }
    role_join(d, i, s->who->role, s->now_s);
    struct habits *h = &i->habits;
    uint32_t network = network_of(d, s->e->peer);
    uint32_t from = h->network[0];
    if (network == 0 || recall(h, network) || from == 0) {
        return;
    }
    struct move *m = &d->move[d->next_move++ % MOVES_MAX];
    *m = (struct move){.id = i->id,
                       .from = from,
                       .to = network,
                       .at_s = s->now_s,
                       .is_due = is_learned(d, h, s->now_s)};
    EVENT_TEXT(m, peer, slice_text(s->e->peer));
}

static void judge(struct detect *d, struct move *m, uint32_t now_s)
{
    struct identity *i = map_find(&d->identities, slice_of(&m->id, sizeof(m->id)));
    m->is_due = false;
    if (i == NULL || !is_alone(d, m)) {
        return;
    }
    struct role *r = role_of(d, i);
    uint64_t hours = role_hours(r, now_s);
    r->n_moves++;
    if (hours >= (uint64_t)d->t.move_hours * r->n_moves) {
        habit_tell(d, DETECTOR_new_network, i, m->peer, "", m->at_s, now_s,
                   "from %.40s; in %llu device-hours of its role %u moved alone", m->peer,
                   (unsigned long long)hours, r->n_moves);
    }
}

void moves_look(struct detect *d, uint32_t now_s)
{
    for (size_t k = 0; k < MOVES_MAX; k++) {
        struct move *m = &d->move[k];
        if (m->is_due && now_s - m->at_s >= d->t.move_confirm_s) {
            judge(d, m, now_s);
        }
    }
}

#include "service/gateway/spoof.h"

#include "base/scope.h"

void spoof_init(struct spoof_table *t, const struct siphash_key *key)
{
    memset(t, 0, sizeof(*t));
    t->key = *key;
    t->tick_at_ms = UINT64_MAX;
    t->at = COUNT_OF(t->network);
}

static struct spoof_network *set_of(struct spoof_table *t, const struct net_prefix *prefix)
{
    uint64_t hash = siphash(&t->key, slice_of(prefix->bytes, sizeof(prefix->bytes)));
    return &t->network[hash % SPOOF_SETS * SPOOF_WAYS];
}

static struct spoof_network *find(struct spoof_table *t, const struct net_prefix *prefix)
{
    struct spoof_network *set = set_of(t, prefix);
    for (size_t i = 0; i < SPOOF_WAYS; i++) {
        if (set[i].is_used &&
            memcmp(set[i].prefix.bytes, prefix->bytes, sizeof(prefix->bytes)) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

static uint64_t weight(const struct spoof_count *c)
{
    return c->n_new + c->n_old + c->n_untold;
}

/* A free place, or that of the network that did least. */
static struct spoof_network *make_room(struct spoof_table *t, const struct net_prefix *prefix)
{
    struct spoof_network *set = set_of(t, prefix);
    struct spoof_network *best = &set[0];
    for (size_t i = 0; i < SPOOF_WAYS; i++) {
        if (!set[i].is_used) {
            return &set[i];
        }
        best = weight(&set[i].count) < weight(&best->count) ? &set[i] : best;
    }
    return best;
}

void spoof_challenged(struct spoof_table *t, const struct net_peer *peer, uint64_t now_ms)
{
    struct net_prefix prefix = net_peer_prefix(peer);
    struct spoof_network *w = find(t, &prefix);
    if (w == NULL) {
        w = make_room(t, &prefix);
        *w = (struct spoof_network){.prefix = prefix, .is_used = true};
    }
    w->last = *peer;
    w->count.n_new++;
    t->all.n_new++;
    if (t->tick_at_ms == UINT64_MAX) {
        t->tick_at_ms = now_ms + SPOOF_INTERVAL_MS;
    }
}

static void give_back(struct spoof_count *c, uint64_t n)
{
    uint64_t old = n < c->n_old ? n : c->n_old;
    uint64_t rest = n - old;
    c->n_old -= old;
    c->n_new -= rest < c->n_new ? rest : c->n_new;
}

void spoof_came_back(struct spoof_table *t, const struct net_peer *peer, unsigned n)
{
    struct net_prefix prefix = net_peer_prefix(peer);
    struct spoof_network *w = find(t, &prefix);
    give_back(&t->all, n);
    if (w != NULL) {
        give_back(&w->count, n);
    }
}

static void shift(struct spoof_count *c)
{
    c->n_old = c->n_new;
    c->n_new = 0;
}

/* The interval is over: what nobody followed up in all of it is judged. */
static void end_interval(struct spoof_table *t, uint64_t now_ms)
{
    uint64_t n_named = 0;
    bool is_quiet = true;
    for (size_t i = 0; i < COUNT_OF(t->network); i++) {
        struct spoof_network *w = &t->network[i];
        struct spoof_count *c = &w->count;
        if (!w->is_used) {
            continue;
        }
        if (c->n_old >= SPOOF_SUSPECT) {
            n_named += c->n_old;
            c->n_untold += c->n_old;
        }
        shift(c);
        w->is_used = weight(c) > 0 || now_ms < c->tell_at_ms;
        is_quiet = is_quiet && !w->is_used;
    }
    uint64_t n_rest = t->all.n_old > n_named ? t->all.n_old - n_named : 0;
    t->all.n_untold += n_rest >= SPOOF_SUSPECT_SPREAD ? n_rest : 0;
    shift(&t->all);
    is_quiet = is_quiet && weight(&t->all) == 0;
    t->tick_at_ms = is_quiet ? UINT64_MAX : now_ms + SPOOF_INTERVAL_MS;
    t->at = 0;
    t->n_told = 0;
}

static bool take_report(struct spoof_count *c, uint64_t now_ms, uint64_t *ret_n)
{
    if (c->n_untold == 0 || now_ms < c->tell_at_ms) {
        return false;
    }
    *ret_n = c->n_untold;
    c->n_untold = 0;
    c->tell_at_ms = now_ms + SPOOF_TELL_MS;
    return true;
}

bool spoof_next_report(struct spoof_table *t, uint64_t now_ms, struct spoof_report *ret)
{
    struct spoof_report r = {.is_spread = false};
    if (now_ms >= t->tick_at_ms) {
        end_interval(t, now_ms);
        if (take_report(&t->all, now_ms, &r.n)) {
            r.is_spread = true;
            *ret = r;
            return true;
        }
    }
    while (t->at < COUNT_OF(t->network) && t->n_told < SPOOF_TELL_MAX) {
        struct spoof_network *w = &t->network[t->at++];
        if (w->is_used && take_report(&w->count, now_ms, &r.n)) {
            t->n_told++;
            r.prefix = w->prefix;
            r.last = w->last;
            *ret = r;
            return true;
        }
    }
    return false;
}

uint64_t spoof_deadline(const struct spoof_table *t)
{
    return t->tick_at_ms;
}

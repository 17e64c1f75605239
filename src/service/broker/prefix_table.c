#include "service/broker/prefix_table.h"

#include "base/scope.h"

void prefix_table_init(struct prefix_table *t, const struct siphash_key *key, uint32_t rate,
                       uint32_t burst, uint32_t share)
{
    memset(t, 0, sizeof(*t));
    t->key = *key;
    t->rate = rate;
    t->share = share;
    t->burst = burst > share ? burst : share;
    t->sweep_at_ms = UINT64_MAX;
}

static struct prefix_budget *set_of(struct prefix_table *t, const struct net_prefix *prefix)
{
    uint64_t hash = siphash(&t->key, slice_of(prefix->bytes, sizeof(prefix->bytes)));
    return &t->place[hash % PREFIX_SETS * PREFIX_WAYS];
}

static bool is_free(const struct prefix_budget *b)
{
    return b->bucket.burst == 0;
}

void prefix_table_set(struct prefix_table *t, uint32_t rate, uint32_t burst)
{
    t->rate = rate;
    t->burst = burst > t->share ? burst : t->share;
    for (size_t i = 0; i < COUNT_OF(t->place); i++) {
        if (!is_free(&t->place[i])) {
            bucket_set(&t->place[i].bucket, t->rate, t->burst);
        }
    }
}

static struct prefix_budget *find(struct prefix_table *t, const struct net_prefix *prefix)
{
    struct prefix_budget *set = set_of(t, prefix);
    for (size_t i = 0; i < PREFIX_WAYS; i++) {
        if (!is_free(&set[i]) &&
            memcmp(set[i].prefix.bytes, prefix->bytes, sizeof(prefix->bytes)) == 0) {
            return &set[i];
        }
    }
    return NULL;
}

/* A free place, or that of the network that loses least by being forgotten: most tokens left; among
 * equals the one that was quiet longest. */
static struct prefix_budget *make_room(struct prefix_table *t, const struct net_prefix *prefix,
                                       uint64_t now_ms)
{
    struct prefix_budget *set = set_of(t, prefix);
    struct prefix_budget *best = NULL;
    uint64_t best_millis = 0;
    for (size_t i = 0; i < PREFIX_WAYS; i++) {
        if (is_free(&set[i])) {
            return &set[i];
        }
        uint64_t millis = bucket_millis(&set[i].bucket, now_ms);
        if (best == NULL || millis > best_millis ||
            (millis == best_millis && set[i].bucket.at_ms < best->bucket.at_ms)) {
            best = &set[i];
            best_millis = millis;
        }
    }
    return best;
}

bool prefix_take(struct prefix_table *t, const struct net_prefix *prefix, uint64_t now_ms)
{
    struct prefix_budget *b = find(t, prefix);
    if (b == NULL) {
        b = make_room(t, prefix, now_ms);
        *b = (struct prefix_budget){.prefix = *prefix};
        bucket_init(&b->bucket, t->rate, t->burst, now_ms);
    }
    return bucket_take(&b->bucket, t->share, now_ms);
}

void prefix_refused(struct prefix_table *t, const struct net_prefix *prefix, unsigned listener,
                    uint64_t now_ms)
{
    struct prefix_budget *b = find(t, prefix);
    if (b == NULL) {
        return; /* its place was given away meanwhile: the counter has it */
    }
    b->refused += b->refused < UINT32_MAX;
    b->listener = listener;
    uint64_t at = t->swept_at_ms + PREFIX_SWEEP_MS;
    at = at > now_ms ? at : now_ms;
    at = at > b->tell_at_ms ? at : b->tell_at_ms;
    t->sweep_at_ms = at < t->sweep_at_ms ? at : t->sweep_at_ms;
}

void prefix_give(struct prefix_table *t, const struct net_prefix *prefix, uint64_t now_ms)
{
    struct prefix_budget *b = find(t, prefix);
    if (b != NULL) {
        bucket_give(&b->bucket, t->share, now_ms);
    }
}

static void end_sweep(struct prefix_table *t, uint64_t now_ms)
{
    t->swept_at_ms = now_ms;
    t->sweep_at_ms = UINT64_MAX;
    t->n_told = 0;
    t->at = 0;
    for (size_t i = 0; i < COUNT_OF(t->place); i++) {
        const struct prefix_budget *b = &t->place[i];
        if (b->refused > 0 && b->tell_at_ms < t->sweep_at_ms) {
            t->sweep_at_ms = b->tell_at_ms;
        }
    }
    uint64_t soonest = now_ms + PREFIX_SWEEP_MS;
    t->sweep_at_ms = t->sweep_at_ms > soonest ? t->sweep_at_ms : soonest;
}

bool prefix_next_report(struct prefix_table *t, uint64_t now_ms, struct prefix_report *ret)
{
    if (now_ms < t->sweep_at_ms) {
        return false;
    }
    while (t->at < COUNT_OF(t->place) && t->n_told < PREFIX_SWEEP_MAX) {
        struct prefix_budget *b = &t->place[t->at++];
        if (b->refused > 0 && b->tell_at_ms <= now_ms) {
            *ret = (struct prefix_report){b->prefix, b->refused, b->listener};
            b->refused = 0;
            b->tell_at_ms = now_ms + PREFIX_TELL_MS;
            t->n_told++;
            return true;
        }
    }
    end_sweep(t, now_ms);
    return false;
}

uint64_t prefix_deadline(const struct prefix_table *t)
{
    return t->sweep_at_ms;
}

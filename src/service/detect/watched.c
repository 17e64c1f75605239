/* Rows of who is watched: principals that exist, and networks. */
#include "base/mem.h"
#include "service/detect/detect_private.h"

static void forget(struct detect *d, struct identity *i)
{
    role_leave(d, i);
    (void)map_remove(&d->identities, slice_of(&i->id, sizeof(i->id)));
    list_unlink(&i->node);
    (void)mem_free(i);
}

struct identity *identity_of(struct detect *d, uint64_t id)
{
    struct identity *i = map_find(&d->identities, slice_of(&id, sizeof(id)));
    if (i != NULL) {
        list_unlink(&i->node);
        list_append(&d->order, &i->node);
        return i;
    }
    if (d->identities.n >= DETECT_IDENTITIES_MAX) {
        forget(d, LIST_ENTRY(list_first(&d->order), struct identity, node));
        d->n_forgotten++;
    }
    i = mem_zalloc(sizeof(*i));
    if (i == NULL) {
        return NULL;
    }
    i->id = id;
    if (map_add(&d->identities, i) != OK) {
        return mem_free(i);
    }
    list_append(&d->order, &i->node);
    return i;
}

void detect_sweep(struct detect *d, detect_standing_fn *of, const void *ctx)
{
    list_for_each_safe (n, next, &d->order) {
        struct identity *i = LIST_ENTRY(n, struct identity, node);
        enum detect_standing standing = of(ctx, i->id);
        if (standing == DETECT_GONE) {
            forget(d, i);
        } else if (standing == DETECT_BARRED) {
            role_leave(d, i);
        }
    }
}

void identities_done(struct detect *d)
{
    while (!list_is_empty(&d->order)) {
        forget(d, LIST_ENTRY(list_first(&d->order), struct identity, node));
    }
}

struct source *source_of(struct detect *d, const char *peer, uint32_t now_s)
{
    struct net_peer p;
    if (net_peer_parse(slice_text(peer), &p) != OK) {
        return &d->everywhere;
    }
    struct net_prefix prefix = net_peer_prefix(&p);
    uint64_t hash = siphash(&d->key, slice_of(prefix.bytes, sizeof(prefix.bytes)));
    struct source *set = &d->source[hash % SOURCE_SETS * SOURCE_WAYS];
    struct source *oldest = set;
    for (size_t i = 0; i < SOURCE_WAYS; i++) {
        struct source *one = &set[i];
        if (one->is_used && memcmp(one->prefix.bytes, prefix.bytes, sizeof(prefix.bytes)) == 0) {
            one->seen_s = now_s;
            return one;
        }
        bool is_older = !one->is_used || one->seen_s < oldest->seen_s;
        oldest = oldest->is_used && is_older ? one : oldest;
    }
    *oldest = (struct source){.prefix = prefix, .is_used = true, .seen_s = now_s};
    return oldest;
}

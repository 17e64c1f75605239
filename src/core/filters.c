#include "core/filters.h"

#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "core/filters_private.h"

enum {
    FIRST_BUCKETS = 16,
    FIT_BUCKETS = 1024, /* a smaller table is not worth making smaller */
    FIT_SHARE = 16      /* fewer filters than that share of the buckets: half full afterwards */
};

struct level {
    struct slice text;
    uint64_t hash; /* is_hashed */
    bool is_hashed;
};

struct step {
    const struct trie_node *node;
    size_t depth;
};

static size_t filter_bytes(const struct filter *filter)
{
    return sizeof(*filter) + filter->text_n;
}

void subscriber_init(struct subscriber *s, enum subscriber_kind kind, bool is_durable)
{
    *s = (struct subscriber){.kind = kind, .is_durable = is_durable};
    list_init(&s->subs);
}

enum err filters_new(const struct siphash_key *key, struct filters **ret)
{
    struct filters *f = mem_zalloc(sizeof *f);
    if (f == NULL) {
        return ERR_NOMEM;
    }
    slab_init(&f->slab);
    trie_init(&f->wild, key, &f->slab);
    match_cache_init(&f->cache, key);
    *ret = f;
    return OK;
}

/* ---- filters without wildcard: one table ---- */

static void bucket_add(struct filter **buckets, size_t n, struct filter *filter)
{
    struct filter **bucket = &buckets[filter->hash & (n - 1)];
    filter->in_bucket = *bucket;
    *bucket = filter;
}

/* Longer chains are slower, not wrong: only the first table must succeed. */
static enum err buckets_set(struct filters *f, size_t n)
{
    struct filter **buckets = mem_array(n, sizeof(struct filter *));
    if (buckets == NULL) {
        return f->n_buckets == 0 ? ERR_NOMEM : OK;
    }
    for (size_t i = 0; i < f->n_buckets; i++) {
        struct filter *filter = f->exact[i];
        while (filter != NULL) {
            struct filter *next = filter->in_bucket;
            bucket_add(buckets, n, filter);
            filter = next;
        }
    }
    mem_free(f->exact);
    f->exact = buckets;
    f->n_buckets = n;
    return OK;
}

static struct filter *exact_find(const struct filters *f, struct slice text)
{
    if (f->n_exact == 0) {
        return NULL;
    }
    uint32_t hash = filters_exact_hash(f, text);
    struct filter *filter = f->exact[hash & (f->n_buckets - 1)];
    while (filter != NULL && (filter->hash != hash || !slice_equal(filter_text(filter), text))) {
        filter = filter->in_bucket;
    }
    return filter;
}

static enum err exact_add(struct filters *f, struct filter *filter)
{
    if (f->n_exact >= f->n_buckets) {
        TRY(buckets_set(f, f->n_buckets == 0 ? FIRST_BUCKETS : f->n_buckets * 2));
    }
    filter->hash = filters_exact_hash(f, filter_text(filter));
    bucket_add(f->exact, f->n_buckets, filter);
    f->n_exact++;
    return OK;
}

static void exact_remove(struct filters *f, const struct filter *filter)
{
    struct filter **at = &f->exact[filter->hash & (f->n_buckets - 1)];
    while (*at != filter) {
        at = &(*at)->in_bucket;
    }
    *at = filter->in_bucket;
    f->n_exact--;
    if (f->n_buckets > FIT_BUCKETS && f->n_exact < f->n_buckets / FIT_SHARE) {
        enum err ignored = buckets_set(f, f->n_buckets / (FIT_SHARE / 2));
        (void)ignored;
    }
}

/* ---- all filters ---- */

static struct filter *filter_find(const struct filters *f, struct slice text)
{
    if (!topic_has_wildcard(text)) {
        return exact_find(f, text);
    }
    const struct trie_node *node = trie_find(&f->wild, text);
    return node != NULL ? node->value : NULL;
}

static enum err wild_add(struct filters *f, struct filter *filter)
{
    TRY(trie_add(&f->wild, filter_text(filter), &filter->node));
    filter->node->value = filter;
    f->n_wild++;
    return OK;
}

static enum err filter_get(struct filters *f, struct slice text, struct filter **ret)
{
    struct filter *filter = filter_find(f, text);
    if (filter != NULL) {
        *ret = filter;
        return OK;
    }
    assert(text.n <= UINT16_MAX);
    filter = slab_get(&f->slab, sizeof(*filter) + text.n);
    if (filter == NULL) {
        return ERR_NOMEM;
    }
    *filter = (struct filter){.text_n = (uint16_t)text.n, .is_wild = topic_has_wildcard(text)};
    slice_copy(filter->text, text);
    list_init(&filter->subs);
    enum err e = filter->is_wild ? wild_add(f, filter) : exact_add(f, filter);
    if (e != OK) {
        slab_put(&f->slab, filter, filter_bytes(filter));
        return e;
    }
    if (!PLANTED(PLANT_MATCH_STALE)) {
        match_cache_forget(&f->cache);
    }
    *ret = filter;
    return OK;
}

/* filter_drop - forgets a filter that nobody holds. */
static void filter_drop(struct filters *f, struct filter *filter)
{
    if (filter->n_subs > 0 || filter->remote != NULL) {
        return;
    }
    match_cache_forget(&f->cache);
    if (filter->is_wild) {
        filter->node->value = NULL;
        trie_prune(&f->wild, filter->node);
        f->n_wild--;
    } else {
        exact_remove(f, filter);
    }
    slab_put(&f->slab, filter, filter_bytes(filter));
}

/* filter_next - walks all filters, those without wildcard first: *bucket starts at 0, `last` at
 * NULL. */
static struct filter *filter_next(const struct filters *f, size_t *bucket,
                                  const struct filter *last)
{
    const struct trie_node *node = &f->wild.root;
    if (last != NULL && last->is_wild) {
        node = last->node;
    } else if (last != NULL && last->in_bucket != NULL) {
        return last->in_bucket;
    } else {
        while (*bucket < f->n_buckets) {
            struct filter *first = f->exact[(*bucket)++];
            if (first != NULL) {
                return first;
            }
        }
    }
    do {
        node = trie_after(&f->wild, &f->wild.root, node, true);
    } while (node != NULL && node->value == NULL);
    return node != NULL ? node->value : NULL;
}

struct filters *filters_free(struct filters *f)
{
    if (f == NULL) {
        return NULL;
    }
    assert(f->n_subs == 0);
    size_t bucket = 0;
    struct filter *filter = filter_next(f, &bucket, NULL);
    while (filter != NULL) {
        struct filter *next = filter_next(f, &bucket, filter);
        slab_put(&f->slab, filter->remote, sizeof(*filter->remote));
        slab_put(&f->slab, filter, filter_bytes(filter));
        filter = next;
    }
    trie_done(&f->wild);
    slab_done(&f->slab);
    mem_free(f->exact);
    mem_free(f->s.levels.p);
    mem_free(f->s.steps.p);
    mem_free(f->s.found.p);
    mem_free(f->s.hits.p);
    mem_free(f->s.ids.p);
    return mem_free(f);
}

static void change_before(const struct filter *filter, struct interest_change *c)
{
    c->was_any = filter->n_subs > filter->n_groups;
    c->was_durable = filter->n_durable > 0;
}

static void change_after(const struct filter *filter, struct interest_change *c)
{
    c->is_any = filter->n_subs > filter->n_groups;
    c->is_durable = filter->n_durable > 0;
}

/* Either list may be long: a subscriber with many filters, a filter with many subscribers. Walking
 * both in step finds the sub within the shorter one. */
static struct sub *sub_find(const struct filter *filter, const struct subscriber *s)
{
    const struct list_node *a = filter->subs.head.next;
    const struct list_node *b = s->subs.head.next;
    while (a != &filter->subs.head && b != &s->subs.head) {
        struct sub *of_filter = LIST_ENTRY(a, struct sub, in_filter);
        struct sub *of_subscriber = LIST_ENTRY(b, struct sub, in_subscriber);
        if (of_filter->subscriber == s) {
            return of_filter;
        }
        if (of_subscriber->filter == filter && !of_subscriber->is_member) {
            return of_subscriber;
        }
        a = a->next;
        b = b->next;
    }
    return NULL;
}

enum err filters_add(struct filters *f, struct slice text, struct subscriber *s,
                     struct sub **ret_sub, struct interest_change *ret_change)
{
    assert(text.n > 0);
    struct filter *filter = NULL;
    TRY(filter_get(f, text, &filter));
    struct sub *sub = sub_find(filter, s);
    if (sub != NULL) {
        *ret_sub = sub;
        return ERR_EXISTS;
    }
    sub = slab_get(&f->slab, sizeof(*sub));
    if (sub == NULL) {
        filter_drop(f, filter);
        return ERR_NOMEM;
    }
    change_before(filter, ret_change);
    *sub = (struct sub){.subscriber = s, .filter = filter};
    list_append(&filter->subs, &sub->in_filter);
    list_append(&s->subs, &sub->in_subscriber);
    filter->n_subs++;
    filter->n_groups += s->kind == SUBSCRIBER_GROUP ? 1 : 0;
    filter->n_durable += s->is_durable ? 1 : 0;
    s->n_subs++;
    f->n_subs += s->kind == SUBSCRIBER_GROUP ? 0 : 1;
    change_after(filter, ret_change);
    *ret_sub = sub;
    return OK;
}

enum err filters_add_member(struct filters *f, const struct sub *group, struct subscriber *s,
                            struct member *member, struct sub **ret)
{
    struct sub *sub = slab_get(&f->slab, sizeof(*sub));
    if (sub == NULL) {
        return ERR_NOMEM;
    }
    *sub =
        (struct sub){.subscriber = s, .filter = group->filter, .member = member, .is_member = true};
    list_append(&s->subs, &sub->in_subscriber);
    s->n_subs++;
    f->n_subs++;
    *ret = sub;
    return OK;
}

struct sub *filters_find(struct filters *f, struct slice text, const struct subscriber *s)
{
    const struct filter *filter = filter_find(f, text);
    return filter != NULL ? sub_find(filter, s) : NULL;
}

void filters_remove(struct filters *f, struct sub *sub, struct interest_change *ret_change)
{
    struct filter *filter = sub->filter;
    struct subscriber *s = sub->subscriber;
    change_before(filter, ret_change);
    if (!sub->is_member) {
        filter->n_subs--;
        filter->n_groups -= s->kind == SUBSCRIBER_GROUP ? 1 : 0;
        filter->n_durable -= s->is_durable ? 1 : 0;
        list_unlink(&sub->in_filter);
    }
    change_after(filter, ret_change);
    s->n_subs--;
    f->n_subs -= s->kind == SUBSCRIBER_GROUP ? 0 : 1;
    list_unlink(&sub->in_subscriber);
    slab_put(&f->slab, sub, sizeof(*sub));
    filter_drop(f, filter);
}

void filters_set_durable(struct filters *f, struct subscriber *s, bool is_durable,
                         void (*changed)(void *ctx, struct slice filter,
                                         const struct interest_change *c),
                         void *ctx)
{
    (void)f;
    if (s->is_durable == is_durable) {
        return;
    }
    s->is_durable = is_durable;
    list_for_each (node, &s->subs) {
        const struct sub *sub = LIST_ENTRY(node, struct sub, in_subscriber);
        struct filter *filter = sub->filter;
        struct interest_change c;
        if (sub->is_member) {
            continue;
        }
        change_before(filter, &c);
        filter->n_durable = is_durable ? filter->n_durable + 1 : filter->n_durable - 1;
        change_after(filter, &c);
        if (interest_changed(&c)) {
            changed(ctx, filter_text(filter), &c);
        }
    }
}

struct slice sub_filter(const struct sub *sub)
{
    return filter_text(sub->filter);
}

enum err filters_set_remote(struct filters *f, struct slice text, unsigned worker, bool any,
                            bool durable)
{
    assert(worker < FILTERS_WORKERS_MAX && text.n > 0);
    struct filter *filter = filter_find(f, text);
    if (!any && !durable && (filter == NULL || filter->remote == NULL)) {
        return OK;
    }
    TRY(filter_get(f, text, &filter));
    struct remote *remote = filter->remote;
    if (remote == NULL) {
        remote = slab_get(&f->slab, sizeof(*remote));
        if (remote == NULL) {
            filter_drop(f, filter);
            return ERR_NOMEM;
        }
        *remote = (struct remote){0};
        filter->remote = remote;
    }
    uint64_t bit = UINT64_C(1) << worker;
    remote->any = any ? remote->any | bit : remote->any & ~bit;
    remote->durable = durable ? remote->durable | bit : remote->durable & ~bit;
    if (remote->any == 0 && remote->durable == 0) {
        filter->remote = slab_put(&f->slab, remote, sizeof(*remote));
        filter_drop(f, filter);
    }
    return OK;
}

void filters_each_local(const struct filters *f,
                        void (*each)(void *ctx, struct slice filter, bool durable), void *ctx)
{
    size_t bucket = 0;
    const struct filter *filter = NULL;
    while ((filter = filter_next(f, &bucket, filter)) != NULL) {
        if (filter->n_subs > filter->n_groups) {
            each(ctx, filter_text(filter), filter->n_durable > 0);
        }
    }
}

size_t filters_count(const struct filters *f)
{
    return f->n_exact + f->n_wild;
}

size_t filters_sub_count(const struct filters *f)
{
    return f->n_subs;
}

/* pile_room - room for one more element behind the n there are. */
static enum err pile_room(struct pile *pile, size_t element_bytes)
{
    if (pile->n < pile->cap) {
        return OK;
    }
    size_t want = pile->cap == 0 ? 16 : pile->cap * 2, bytes = 0;
    if (__builtin_mul_overflow(want, element_bytes, &bytes)) {
        return ERR_NOMEM;
    }
    void *grown = mem_grow(pile->p, bytes);
    if (grown == NULL) {
        return ERR_NOMEM;
    }
    pile->p = grown;
    pile->cap = want;
    return OK;
}

static enum err found_add(struct scratch *s, struct filter *filter)
{
    TRY(pile_room(&s->found, sizeof(struct filter *)));
    struct filter **found = s->found.p;
    found[s->found.n++] = filter;
    return OK;
}

static enum err split_levels(struct scratch *s, struct slice topic)
{
    s->levels.n = 0;
    bool more = true;
    while (more) {
        TRY(pile_room(&s->levels, sizeof(struct level)));
        struct level *level = (struct level *)s->levels.p + s->levels.n++;
        level->text = slice_cut(&topic, '/', &more);
        level->is_hashed = false;
    }
    return OK;
}

static enum err step_add(struct scratch *s, const struct trie_node *node, size_t depth)
{
    if (node == NULL) {
        return OK;
    }
    TRY(pile_room(&s->steps, sizeof(struct step)));
    struct step *steps = s->steps.p;
    steps[s->steps.n++] = (struct step){.node = node, .depth = depth};
    return OK;
}

/* A level is hashed when a search needs it: many end before the last one. */
static struct trie_node *plain_child(const struct filters *f, struct step at)
{
    struct level *level = (struct level *)f->s.levels.p + at.depth;
    if (!trie_has_plain(&f->wild, at.node)) {
        return NULL;
    }
    if (!level->is_hashed) {
        level->hash = trie_level_hash(&f->wild, level->text);
        level->is_hashed = true;
    }
    return trie_child(&f->wild, at.node, level->text, level->hash);
}

/* All wildcard filters that match. Each step leaves at most two others behind, one level deeper, so
 * the stack is never higher than the topic has levels. */
static enum err find_wild(struct filters *f, struct slice topic)
{
    struct scratch *s = &f->s;
    TRY(split_levels(s, topic));
    bool is_reserved = topic.n > 0 && topic.p[0] == '$';
    s->steps.n = 0;
    TRY(step_add(s, &f->wild.root, 0));
    while (s->steps.n > 0) {
        struct step at = ((struct step *)s->steps.p)[--s->steps.n];
        bool may_wild = at.depth > 0 || !is_reserved; /* SPEC: MQTT-4.7.2-1 */
        if (may_wild && at.node->has_multi) {
            TRY(found_add(
                s,
                trie_multi(&f->wild, at.node)->value)); /* also the parent. SPEC: MQTT5 4.7.1.2 */
        }
        if (at.depth == s->levels.n) {
            if (at.node->value != NULL) {
                TRY(found_add(s, at.node->value));
            }
            continue;
        }
        TRY(step_add(s, may_wild ? trie_plus(&f->wild, at.node) : NULL, at.depth + 1));
        TRY(step_add(s, plain_child(f, at), at.depth + 1));
    }
    return OK;
}

/* hit_add - one more matching sub: a new hit, or more of the one its subscriber has. */
static enum err hit_add(struct filters *f, struct sub *sub)
{
    struct scratch *s = &f->s;
    struct subscriber *to = sub->subscriber;
    if (to->match_mark != f->mark) {
        TRY(pile_room(&s->hits, sizeof(struct match_hit)));
        to->match_mark = f->mark;
        to->match_at = (uint32_t)s->hits.n++;
        s->n_groups += to->kind == SUBSCRIBER_GROUP ? 1 : 0;
        ((struct match_hit *)s->hits.p)[to->match_at] =
            (struct match_hit){.subscriber = to, .first = sub};
    }
    struct match_hit *hit = (struct match_hit *)s->hits.p + to->match_at;
    hit->qos = sub->qos > hit->qos ? sub->qos : hit->qos; /* SPEC: MQTT5-3.3.4-2, MQTT3-3.3.5-1 */
    hit->retain_as_published = hit->retain_as_published || sub->retain_as_published;
    if (sub->id != 0 && hit->n_ids < UINT16_MAX) {
        TRY(pile_room(&s->ids, sizeof(uint32_t)));
        hit->n_ids++;
        s->ids.n++;
    }
    return OK;
}

static bool is_wanted(const struct sub *sub, const struct subscriber *from)
{
    if (sub->is_pending) {
        return false; /* nothing may come before its SUBACK; its interest counts already */
    }
    return !sub->no_local || sub->subscriber != from; /* SPEC: MQTT5-3.8.3-3 */
}

/* The identifiers of one hit lie together, in the order in which its filters were found.
 * SPEC: MQTT5-3.3.4-3, MQTT5-3.3.4-4 */
static void fill_ids(struct scratch *s, const struct subscriber *from)
{
    struct match_hit *hits = s->hits.p;
    struct filter **found = s->found.p;
    uint32_t *ids = s->ids.p;
    uint32_t at = 0;
    for (size_t i = 0; i < s->hits.n; i++) {
        hits[i].ids_at = at;
        at += hits[i].n_ids;
        hits[i].n_ids = 0;
    }
    for (size_t i = 0; i < s->found.n; i++) {
        list_for_each (node, &found[i]->subs) {
            const struct sub *sub = LIST_ENTRY(node, struct sub, in_filter);
            if (sub->id == 0 || !is_wanted(sub, from)) {
                continue;
            }
            struct match_hit *hit = &hits[sub->subscriber->match_at];
            if (hit->n_ids < UINT16_MAX) {
                ids[hit->ids_at + hit->n_ids++] = sub->id;
            }
        }
    }
}

static enum err find_all(struct filters *f, struct slice topic)
{
    struct scratch *s = &f->s;
    struct filter *exact = exact_find(f, topic);
    if (exact != NULL) {
        TRY(found_add(s, exact));
    }
    return f->wild.n_nodes > 0 ? find_wild(f, topic) : OK;
}

static enum err find(struct filters *f, struct slice topic)
{
    struct scratch *s = &f->s;
    const struct match_place *known = match_cache_find(&f->cache, topic);
    s->found.n = 0;
    if (known == NULL) {
        TRY(find_all(f, topic));
        match_cache_keep(&f->cache, topic, s->found.p, s->found.n);
        return OK;
    }
    for (size_t i = 0; i < known->n_filters; i++) {
        TRY(found_add(s, known->filters[i]));
    }
    return OK;
}

enum err filters_match(struct filters *f, struct slice topic, const struct subscriber *from,
                       struct match *ret)
{
    struct scratch *s = &f->s;
    s->hits.n = s->ids.n = s->n_groups = 0;
    f->mark++;
    TRY(find(f, topic));
    struct match m = {0};
    for (size_t i = 0; i < s->found.n; i++) {
        struct filter *filter = ((struct filter **)s->found.p)[i];
        if (filter->remote != NULL) {
            m.remote_any |= filter->remote->any;
            m.remote_durable |= filter->remote->durable;
        }
        list_for_each (node, &filter->subs) {
            struct sub *sub = LIST_ENTRY(node, struct sub, in_filter);
            if (is_wanted(sub, from)) {
                TRY(hit_add(f, sub));
                m.local_durable = m.local_durable || sub->subscriber->is_durable;
            }
        }
    }
    m.n_groups = s->n_groups;
    if (s->ids.n > 0) {
        fill_ids(s, from);
    }
    m.hits = s->hits.p;
    m.n_hits = s->hits.n;
    m.ids = s->ids.p;
    *ret = m;
    return OK;
}

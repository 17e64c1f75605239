#include "core/groups.h"

#include <assert.h>

#include "base/mem.h"

struct groups {
    struct filters *filters;
    struct siphash_key key;
    struct map by_text, by_number; /* struct group */
    struct map members;            /* struct member, by id */
    uint32_t last_number;
};

/* Its place in a match: room for the identifier of the member that is chosen. */
enum { ID_OF_NOBODY = UINT32_MAX };

/* A record names a group by its hash, and is read by another process. No secret: to meet the hash
 * of a group somebody else has named takes 2^63 tries, and gives at most a copy of what may be
 * heard. */
static const struct siphash_key same_everywhere = {.k0 = 0x73686172652f6772, .k1 = 1};

static struct slice key_text(const void *group)
{
    return ((const struct group *)group)->text;
}

static struct slice key_number(const void *group)
{
    const struct group *g = group;
    return slice_of(&g->number, sizeof(g->number));
}

static struct slice key_member(const void *member)
{
    const struct member *m = member;
    return slice_of(&m->facts.id, sizeof(m->facts.id));
}

enum err groups_new(const struct siphash_key *key, struct filters *filters, struct groups **ret)
{
    struct groups *g = mem_zalloc(sizeof(*g));
    if (g == NULL) {
        return ERR_NOMEM;
    }
    g->filters = filters;
    g->key = *key;
    map_init(&g->by_text, key, key_text);
    map_init(&g->by_number, key, key_number);
    map_init(&g->members, key, key_member);
    *ret = g;
    return OK;
}

static void group_drop(struct groups *g, struct group *group)
{
    struct interest_change ignored;
    if (!list_is_empty(&group->members)) {
        return;
    }
    if (group->sub != NULL) {
        filters_remove(g->filters, group->sub, &ignored);
    }
    if (map_find(&g->by_text, group->text) == group) {
        map_remove(&g->by_text, group->text);
    }
    map_remove(&g->by_number, key_number(group));
    mem_free(group);
}

void groups_leave(struct groups *g, struct member *m)
{
    struct interest_change ignored;
    struct group *group = m->group;
    list_unlink(&m->in_group);
    group->n_durable -= m->facts.is_durable ? 1 : 0;
    map_remove(&g->members, key_member(m));
    if (m->sub != NULL) {
        filters_remove(g->filters, m->sub, &ignored);
    }
    mem_free(m);
    group_drop(g, group);
}

struct groups *groups_free(struct groups *g)
{
    if (g == NULL) {
        return NULL;
    }
    size_t at = 0;
    struct member *m;
    while ((m = map_next(&g->members, &at)) != NULL) {
        assert(m->sub == NULL);
        groups_leave(g, m);
    }
    map_done(&g->by_text);
    map_done(&g->by_number);
    map_done(&g->members);
    return mem_free(g);
}

static enum err group_new(struct groups *g, struct slice text, struct group **ret)
{
    struct group *group = mem_zalloc(sizeof(*group) + text.n);
    if (group == NULL) {
        return ERR_NOMEM;
    }
    subscriber_init(&group->subscriber, SUBSCRIBER_GROUP, false);
    slice_copy(group + 1, text);
    group->text = slice_of(group + 1, text.n);
    group->hash = siphash(&same_everywhere, text) | 1;
    group->number = ++g->last_number;
    list_init(&group->members);
    struct interest_change ignored;
    struct slice name, filter;
    bool is_shared = topic_share_split(text, &name, &filter);
    assert(is_shared && g->last_number != 0);
    enum err err = filters_add(g->filters, filter, &group->subscriber, &group->sub, &ignored);
    if (err == OK) {
        err = map_add(&g->by_text, group);
    }
    if (err == OK) {
        err = map_add(&g->by_number, group);
    }
    if (err != OK) {
        group_drop(g, group);
        return err;
    }
    group->sub->id = ID_OF_NOBODY;
    *ret = group;
    return OK;
}

static enum err member_new(struct groups *g, struct group *group, const struct member_facts *facts,
                           struct subscriber *s, struct member **ret)
{
    struct member *m = mem_zalloc(sizeof(*m));
    if (m == NULL) {
        return ERR_NOMEM;
    }
    m->group = group;
    m->facts = *facts;
    enum err err = map_add(&g->members, m);
    if (err == OK && s != NULL) {
        err = filters_add_member(g->filters, group->sub, s, m, &m->sub);
        if (err != OK) {
            map_remove(&g->members, key_member(m));
        }
    }
    if (err != OK) {
        mem_free(m);
        return err;
    }
    list_append(&group->members, &m->in_group);
    group->n_durable += facts->is_durable ? 1 : 0;
    *ret = m;
    return OK;
}

void groups_change(struct member *m, const struct member_facts *facts)
{
    m->group->n_durable -= m->facts.is_durable ? 1 : 0;
    m->group->n_durable += facts->is_durable ? 1 : 0;
    m->facts = *facts;
    m->n_given = 0;
}

enum err groups_put(struct groups *g, struct slice text, const struct member_facts *facts,
                    struct subscriber *s, struct member **ret)
{
    struct member *m = groups_member(g, facts->id);
    if (m != NULL) {
        groups_change(m, facts);
        *ret = m;
        return OK;
    }
    struct group *group = groups_find(g, text);
    if (group == NULL) {
        TRY(group_new(g, text, &group));
    }
    enum err err = member_new(g, group, facts, s, ret);
    if (err != OK) {
        group_drop(g, group);
    }
    return err;
}

struct group *groups_find(const struct groups *g, struct slice text)
{
    return map_find(&g->by_text, text);
}

struct group *groups_numbered(const struct groups *g, uint32_t number)
{
    return map_find(&g->by_number, slice_of(&number, sizeof(number)));
}

struct member *groups_member(const struct groups *g, uint64_t id)
{
    return map_find(&g->members, slice_of(&id, sizeof(id)));
}

struct group *groups_next(const struct groups *g, size_t *at)
{
    return map_next(&g->by_text, at);
}

struct slice sub_text(const struct sub *sub)
{
    return sub->is_member ? sub->member->group->text : sub_filter(sub);
}

struct sub *group_sub_of(const struct subscriber *s, struct slice text)
{
    list_for_each (n, &s->subs) {
        struct sub *sub = LIST_ENTRY(n, struct sub, in_subscriber);
        if (sub->is_member && slice_equal(sub->member->group->text, text)) {
            return sub;
        }
    }
    return NULL;
}

struct member *group_pick(struct group *group, uint64_t (*load)(void *ctx, const struct member *m),
                          void *ctx)
{
    struct member *best = NULL;
    uint64_t least = GROUP_NEVER;
    list_for_each (n, &group->members) {
        struct member *m = LIST_ENTRY(n, struct member, in_group);
        uint64_t its = load(ctx, m);
        if (its < least) {
            best = m;
            least = its;
        }
        if (least == GROUP_AT_ONCE) {
            break;
        }
    }
    if (best != NULL) {
        list_unlink(&best->in_group);
        list_append(&group->members, &best->in_group);
        best->n_given++;
    }
    return best;
}

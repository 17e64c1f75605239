#include "service/broker/strangers.h"

#include "base/mem.h"

struct stranger_group {
    struct net_prefix prefix;
    struct list_node node; /* in by_count[n] */
    struct list members;
    size_t n;
};

static struct slice group_key(const void *value)
{
    const struct stranger_group *g = value;
    return slice_of(g->prefix.bytes, sizeof(g->prefix.bytes));
}

static struct list *lists_new(size_t most)
{
    struct list *by_count = mem_array(most + 1, sizeof(*by_count));
    for (size_t i = 0; by_count != NULL && i <= most; i++) {
        list_init(&by_count[i]);
    }
    return by_count;
}

enum err strangers_init(struct strangers *s, const struct siphash_key *key, size_t max)
{
    struct list *by_count = lists_new(max);
    if (by_count == NULL) {
        return ERR_NOMEM;
    }
    *s = (struct strangers){.by_count = by_count, .max = max, .room = max};
    map_init(&s->groups, key, group_key);
    return OK;
}

enum err strangers_set_max(struct strangers *s, size_t max)
{
    if (max > s->room) {
        struct list *by_count = lists_new(max);
        if (by_count == NULL) {
            return ERR_NOMEM;
        }
        for (size_t i = 1; i <= s->largest; i++) {
            list_for_each_safe (node, next, &s->by_count[i]) {
                list_unlink(node);
                list_append(&by_count[i], node);
            }
        }
        mem_free(s->by_count);
        s->by_count = by_count;
        s->room = max;
    }
    s->max = max;
    return OK;
}

void strangers_done(struct strangers *s)
{
    map_done(&s->groups);
    s->by_count = mem_free(s->by_count);
}

static enum err find_group(struct strangers *s, const struct net_prefix *prefix,
                           struct stranger_group **ret)
{
    struct stranger_group *g = map_find(&s->groups, slice_of(prefix, sizeof(*prefix)));
    if (g == NULL) {
        g = mem_zalloc(sizeof(*g));
        if (g == NULL) {
            return ERR_NOMEM;
        }
        g->prefix = *prefix;
        list_init(&g->members);
        enum err err = map_add(&s->groups, g);
        if (err != OK) {
            mem_free(g);
            return err;
        }
    }
    *ret = g;
    return OK;
}

static void recount(struct strangers *s, struct stranger_group *g, size_t n)
{
    list_unlink(&g->node);
    g->n = n;
    if (n > 0) {
        list_append(&s->by_count[n], &g->node);
    }
    s->largest = n > s->largest ? n : s->largest;
    while (s->largest > 0 && list_is_empty(&s->by_count[s->largest])) {
        s->largest--;
    }
}

enum err strangers_add(struct strangers *s, struct stranger *m, const struct net_prefix *prefix)
{
    struct stranger_group *g = NULL;
    if (s->n >= s->max) {
        return ERR_LIMIT;
    }
    TRY(find_group(s, prefix, &g));
    m->group = g;
    list_append(&g->members, &m->node);
    s->n++;
    recount(s, g, g->n + 1);
    return OK;
}

void strangers_remove(struct strangers *s, struct stranger *m)
{
    struct stranger_group *g = m->group;
    if (g == NULL) {
        return;
    }
    list_unlink(&m->node);
    m->group = NULL;
    s->n--;
    recount(s, g, g->n - 1);
    if (g->n == 0) {
        (void)map_remove(&s->groups, group_key(g));
        mem_free(g);
    }
}

size_t strangers_count(const struct strangers *s, const struct net_prefix *prefix)
{
    /* Mostly nobody waits, and then there is nothing to be hashed for. */
    const struct stranger_group *g =
        s->n > 0 ? map_find(&s->groups, slice_of(prefix, sizeof(*prefix))) : NULL;
    return g != NULL ? g->n : 0;
}

struct stranger *strangers_victim(const struct strangers *s)
{
    if (s->n < s->max) {
        return NULL;
    }
    const struct stranger_group *g =
        LIST_ENTRY(list_first(&s->by_count[s->largest]), struct stranger_group, node);
    return LIST_ENTRY(list_first(&g->members), struct stranger, node);
}

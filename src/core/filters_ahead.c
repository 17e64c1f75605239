/* What matches will touch is asked for ahead, of several topics in step: what one of them waits for
 * comes while the others are looked at. Nothing is decided here. */
#include <assert.h>

#include "base/fetch.h"
#include "core/filters_private.h"

enum { STEPS_MOST = 12 }; /* deeper filters are found when they are asked for */

/* What was asked for last, and is looked at next. */
enum asked { ASKED_BUCKET, ASKED_NODE, ASKED_CHILD, ASKED_FILTER, ASKED_SUB, ASKED_NOTHING };

/* One of the two ways to the filters of a topic. */
struct way {
    enum asked asked;
    uint32_t hash;
    uint32_t parent;   /* name of the node above */
    struct slice rest; /* levels that are still to come */
    union {
        const struct trie_node *node;
        const struct filter *filter;
        const struct sub *sub;
    };
};

struct ways {
    struct way exact, wild;
    struct subscriber *found; /* one that it will reach, as far as was seen */
};

static void ask_sub(struct way *at)
{
    const struct list_node *first = list_first(&at->filter->subs);
    at->asked = ASKED_NOTHING;
    if (first != NULL) {
        at->sub = LIST_ENTRY(first, struct sub, in_filter);
        at->asked = ASKED_SUB;
        fetch(at->sub, sizeof(*at->sub));
    }
}

static void ask_filter(struct way *at, const struct filter *filter)
{
    at->filter = filter;
    at->asked = filter != NULL ? ASKED_FILTER : ASKED_NOTHING;
    fetch(filter, sizeof(*filter) + 16); /* and what its text begins with */
}

static void ask_node(const struct filters *f, struct way *at, uint32_t name)
{
    at->node = slab_at(f->wild.slab, name);
    at->asked = name != 0 ? ASKED_NODE : ASKED_NOTHING;
    fetch(at->node, sizeof(*at->node));
}

static void ask_bucket(const struct filters *f, struct way *at, const struct trie_node *parent)
{
    bool more;
    struct slice level = slice_cut(&at->rest, '/', &more);
    at->rest = more ? at->rest : (struct slice){0};
    at->parent = parent->name;
    at->hash = trie_child_hash(parent, trie_level_hash(&f->wild, level));
    at->asked = ASKED_BUCKET;
    fetch(trie_bucket(&f->wild, at->hash), sizeof(uint32_t));
}

/* Down from a node that is there. Of several children the one behind a wildcard is taken. */
static void descend(const struct filters *f, struct way *at)
{
    const struct trie_node *node = at->node;
    if (node->has_plus || node->has_multi) {
        ask_node(f, at, node->first);
        at->asked = ASKED_CHILD;
    } else if (at->rest.n > 0 && node->first != 0) {
        ask_bucket(f, at, node);
    } else {
        ask_filter(at, node->value);
    }
}

static void step(const struct filters *f, struct way *at, struct subscriber **found)
{
    switch (at->asked) {
    case ASKED_BUCKET:
        ask_node(f, at, *trie_bucket(&f->wild, at->hash));
        break;
    case ASKED_NODE:
        if (at->node->hash == at->hash && at->node->parent == at->parent) {
            descend(f, at);
        } else {
            ask_node(f, at, at->node->in_bucket);
        }
        break;
    case ASKED_CHILD:
        ask_filter(at, at->node->value);
        break;
    case ASKED_FILTER:
        ask_sub(at);
        break;
    case ASKED_SUB:
        *found = at->sub->subscriber;
        at->asked = ASKED_NOTHING;
        fetch(*found, sizeof(**found));
        break;
    case ASKED_NOTHING:
        break;
    }
}

/* The table of exact filters has its chains by itself. */
static void step_exact(const struct filters *f, struct way *at, struct subscriber **found)
{
    if (at->asked == ASKED_BUCKET) {
        ask_filter(at, f->exact[at->hash & (f->n_buckets - 1)]);
    } else if (at->asked == ASKED_FILTER && at->filter->hash != at->hash) {
        ask_filter(at, at->filter->in_bucket);
    } else {
        step(f, at, found);
    }
}

static void begin(const struct filters *f, struct slice topic, struct ways *ret)
{
    *ret = (struct ways){.exact.asked = ASKED_NOTHING, .wild.asked = ASKED_NOTHING};
    if (f->n_exact > 0) {
        ret->exact.hash = filters_exact_hash(f, topic);
        ret->exact.asked = ASKED_BUCKET;
        fetch(&f->exact[ret->exact.hash & (f->n_buckets - 1)], sizeof(struct filter *));
    }
    if (f->wild.n_nodes > 0) {
        ret->wild.rest = topic;
        ask_bucket(f, &ret->wild, &f->wild.root);
    }
}

bool filters_are_many(const struct filters *f)
{
    return f->n_exact + f->n_wild >= FILTERS_MANY;
}

void filters_ahead(const struct filters *f, const struct slice *topics, size_t n,
                   struct subscriber **ret)
{
    struct ways ways[FILTERS_AHEAD];
    assert(n <= FILTERS_AHEAD);
    for (size_t i = 0; i < n; i++) {
        begin(f, topics[i], &ways[i]);
    }
    for (size_t steps = 0; steps < STEPS_MOST; steps++) {
        for (size_t i = 0; i < n; i++) {
            step_exact(f, &ways[i].exact, &ways[i].found);
            step(f, &ways[i].wild, &ways[i].found);
        }
    }
    for (size_t i = 0; i < n; i++) {
        ret[i] = ways[i].found;
    }
}

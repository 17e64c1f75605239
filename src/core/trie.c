#include "core/trie.h"

#include <assert.h>

#include "base/mem.h"

enum {
    TRIE_FIRST_BUCKETS = 16,
    TRIE_FIT_BUCKETS = 1024, /* a smaller table is not worth making smaller */
    TRIE_FIT_SHARE = 16      /* fewer nodes than that share of the buckets: half full afterwards */
};

void trie_init(struct trie *t, const struct siphash_key *key, struct slab *slab)
{
    *t = (struct trie){.key = *key, .slab = slab};
    t->plus_hash = trie_level_hash(t, slice_text("+"));
    t->multi_hash = trie_level_hash(t, slice_text("#"));
}

static size_t node_bytes(size_t level_n)
{
    return sizeof(struct trie_node) + (level_n <= TRIE_LEVEL_MOST ? level_n : sizeof(void *));
}

_Static_assert(sizeof(struct trie_node) + TRIE_LEVEL_MOST <= SLAB_MOST, "it has a name");

/* node_make - with its level; NULL: no memory. */
static struct trie_node *node_make(const struct trie *t, struct slice level)
{
    void *apart = level.n > TRIE_LEVEL_MOST ? mem_alloc(level.n) : NULL;
    if (level.n > TRIE_LEVEL_MOST && apart == NULL) {
        return NULL;
    }
    struct trie_node *node = slab_get(t->slab, node_bytes(level.n));
    if (node == NULL) {
        return mem_free(apart);
    }
    *node = (struct trie_node){.name = slab_name(node), .level_n = (uint16_t)level.n};
    if (apart != NULL) {
        memcpy(node + 1, &apart, sizeof(apart));
    }
    slice_copy(apart != NULL ? apart : node + 1, level);
    return node;
}

static void node_free(const struct trie *t, struct trie_node *node)
{
    if (node->level_n > TRIE_LEVEL_MOST) {
        mem_free((void *)(uintptr_t)trie_level(node).p);
    }
    slab_put(t->slab, node, node_bytes(node->level_n));
}

static void node_link(const struct trie *t, struct trie_node *parent, struct trie_node *node)
{
    uint32_t name = node->name;
    struct trie_node *first = trie_first(t, parent);
    node->prev = first != NULL ? first->prev : name;
    if (first != NULL) {
        struct trie_node *last = slab_at(t->slab, first->prev);
        last->next = name;
        first->prev = name;
    } else {
        parent->first = name;
    }
}

static void node_unlink(const struct trie *t, const struct trie_node *node)
{
    struct trie_node *parent = trie_parent(t, node), *next = trie_next(t, node);
    if (parent->first == node->name) {
        parent->first = node->next;
    } else {
        struct trie_node *prev = slab_at(t->slab, node->prev);
        prev->next = node->next;
    }
    struct trie_node *first = trie_first(t, parent);
    if (next != NULL) {
        next->prev = node->prev;
    } else if (first != NULL) {
        first->prev = node->prev;
    }
}

void trie_done(struct trie *t)
{
    struct trie_node *node = trie_first(t, &t->root);
    while (node != NULL) {
        if (node->first != 0) {
            node = trie_first(t, node);
            continue;
        }
        struct trie_node *parent = trie_parent(t, node);
        node_unlink(t, node);
        node_free(t, node);
        node = parent != &t->root ? parent : trie_first(t, &t->root);
    }
    t->buckets = mem_free(t->buckets);
    t->n_buckets = t->n_nodes = 0;
}

uint64_t trie_level_hash(const struct trie *t, struct slice level)
{
    return siphash(&t->key, level);
}

struct trie_node *trie_child(const struct trie *t, const struct trie_node *parent,
                             struct slice level, uint64_t level_hash)
{
    if (t->n_buckets == 0) {
        return NULL;
    }
    uint32_t hash = trie_child_hash(parent, level_hash);
    uint32_t name = *trie_bucket(t, hash);
    while (name != 0) {
        struct trie_node *node = slab_there(t->slab, name);
        if (node->hash == hash && node->parent == parent->name &&
            slice_equal(trie_level(node), level)) {
            return node;
        }
        name = node->in_bucket;
    }
    return NULL;
}

/* Who has a wildcard below often has nothing else: its first child is looked at before the table.
 */
static struct trie_node *wild_child(const struct trie *t, const struct trie_node *parent,
                                    const char *level, uint64_t level_hash)
{
    struct trie_node *first = trie_first(t, parent);
    if (first->level_n == 1 && trie_level(first).p[0] == (uint8_t)level[0]) {
        return first;
    }
    return trie_child(t, parent, slice_text(level), level_hash);
}

struct trie_node *trie_plus(const struct trie *t, const struct trie_node *parent)
{
    return parent->has_plus ? wild_child(t, parent, "+", t->plus_hash) : NULL;
}

struct trie_node *trie_multi(const struct trie *t, const struct trie_node *parent)
{
    return parent->has_multi ? wild_child(t, parent, "#", t->multi_hash) : NULL;
}

struct trie_node *trie_find(const struct trie *t, struct slice path)
{
    const struct trie_node *parent = &t->root;
    struct trie_node *node = NULL;
    for (bool more = true; more && parent != NULL; parent = node) {
        struct slice level = slice_cut(&path, '/', &more);
        node = trie_child(t, parent, level, trie_level_hash(t, level));
    }
    return node;
}

static void bucket_add(uint32_t *buckets, size_t n_buckets, struct trie_node *node)
{
    uint32_t *bucket = &buckets[node->hash & (n_buckets - 1)];
    node->in_bucket = *bucket;
    *bucket = node->name;
}

/* Longer chains are slower, not wrong: only the first table must succeed. */
static enum err buckets_set(struct trie *t, size_t n)
{
    uint32_t *buckets = mem_array(n, sizeof(*buckets));
    if (buckets == NULL) {
        return t->n_buckets == 0 ? ERR_NOMEM : OK;
    }
    for (size_t i = 0; i < t->n_buckets; i++) {
        struct trie_node *node = slab_at(t->slab, t->buckets[i]);
        while (node != NULL) {
            struct trie_node *next = slab_at(t->slab, node->in_bucket);
            bucket_add(buckets, n, node);
            node = next;
        }
    }
    mem_free(t->buckets);
    t->buckets = buckets;
    t->n_buckets = n;
    return OK;
}

static enum err buckets_room(struct trie *t)
{
    if (t->n_nodes < t->n_buckets) {
        return OK;
    }
    return buckets_set(t, t->n_buckets == 0 ? TRIE_FIRST_BUCKETS : t->n_buckets * 2);
}

static void buckets_fit(struct trie *t)
{
    if (t->n_buckets > TRIE_FIT_BUCKETS && t->n_nodes < t->n_buckets / TRIE_FIT_SHARE) {
        enum err ignored = buckets_set(t, t->n_buckets / (TRIE_FIT_SHARE / 2));
        (void)ignored;
    }
}

static enum err node_add(struct trie *t, struct trie_node *parent, struct slice level,
                         uint64_t level_hash, struct trie_node **ret)
{
    TRY(buckets_room(t));
    assert(level.n <= UINT16_MAX);
    struct trie_node *node = node_make(t, level);
    if (node == NULL) {
        return ERR_NOMEM;
    }
    node->parent = parent->name;
    node->hash = trie_child_hash(parent, level_hash);
    node_link(t, parent, node);
    bucket_add(t->buckets, t->n_buckets, node);
    t->n_nodes++;
    parent->has_plus = parent->has_plus || slice_is(level, "+");
    parent->has_multi = parent->has_multi || slice_is(level, "#");
    *ret = node;
    return OK;
}

static void node_remove(struct trie *t, struct trie_node *node)
{
    uint32_t *at = &t->buckets[node->hash & (t->n_buckets - 1)], name = node->name;
    struct trie_node *parent = trie_parent(t, node);
    while (*at != name) {
        struct trie_node *before = slab_at(t->slab, *at);
        at = &before->in_bucket;
    }
    *at = node->in_bucket;
    if (slice_is(trie_level(node), "+")) {
        parent->has_plus = false;
    } else if (slice_is(trie_level(node), "#")) {
        parent->has_multi = false;
    }
    node_unlink(t, node);
    node_free(t, node);
    t->n_nodes--;
    buckets_fit(t);
}

enum err trie_add(struct trie *t, struct slice path, struct trie_node **ret)
{
    struct trie_node *node = &t->root;
    bool more = true;
    while (more) {
        struct slice level = slice_cut(&path, '/', &more);
        uint64_t level_hash = trie_level_hash(t, level);
        struct trie_node *child = trie_child(t, node, level, level_hash);
        enum err e = child != NULL ? OK : node_add(t, node, level, level_hash, &child);
        if (e != OK) {
            trie_prune(t, node);
            return e;
        }
        node = child;
    }
    *ret = node;
    return OK;
}

void trie_prune(struct trie *t, struct trie_node *node)
{
    while (node != &t->root && node->value == NULL && node->n_pins == 0 && node->first == 0) {
        struct trie_node *parent = trie_parent(t, node);
        node_remove(t, node);
        node = parent;
    }
}

void trie_unpin(struct trie *t, struct trie_node *node)
{
    node->n_pins--;
    trie_prune(t, node);
}

void trie_count(const struct trie *t, struct trie_node *node, int32_t by)
{
    while (node != NULL) {
        node->n_below += (uint32_t)by;
        node = trie_parent(t, node);
    }
}

struct trie_node *trie_after(const struct trie *t, const struct trie_node *top,
                             const struct trie_node *node, bool is_deep)
{
    if (is_deep && node->first != 0) {
        return trie_first(t, node);
    }
    while (node != top) {
        if (node->next != 0) {
            return trie_next(t, node);
        }
        node = trie_parent(t, node);
    }
    return NULL;
}

/* A separator stands between two levels: none above those that hang on the root. */
size_t trie_path_n(const struct trie *t, const struct trie_node *node)
{
    size_t n = node->level_n;
    while (!trie_is_top(t, node)) {
        node = trie_parent(t, node);
        n += node->level_n + 1U;
    }
    return n;
}

void trie_path(const struct trie *t, const struct trie_node *node, size_t n, uint8_t *ret)
{
    while (true) {
        n -= node->level_n;
        slice_copy(ret + n, trie_level(node));
        if (trie_is_top(t, node)) {
            break;
        }
        node = trie_parent(t, node);
        ret[--n] = '/';
    }
    assert(n == 0);
}

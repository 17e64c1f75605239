#include "core/trie.h"

#include "base/mem.h"

enum {
    TRIE_FIRST_BUCKETS = 16,
    TRIE_FIT_BUCKETS = 1024, /* a smaller table is not worth making smaller */
    TRIE_FIT_SHARE = 16      /* fewer nodes than that share of the buckets: half full afterwards */
};

void trie_init(struct trie *t, const struct siphash_key *key)
{
    *t = (struct trie){.key = *key};
    list_init(&t->root.children);
}

void trie_done(struct trie *t)
{
    struct trie_node *node = trie_first_child(&t->root);
    while (node != NULL) {
        struct trie_node *child = trie_first_child(node);
        if (child != NULL) {
            node = child;
            continue;
        }
        struct trie_node *parent = node->parent;
        list_unlink(&node->sibling);
        mem_free(node);
        node = parent->parent != NULL ? parent : trie_first_child(parent);
    }
    t->buckets = mem_free(t->buckets);
    t->n_buckets = t->n_nodes = 0;
}

uint64_t trie_level_hash(const struct trie *t, struct slice level)
{
    return siphash(&t->key, level);
}

/* Nobody outside can pick levels that collide, since their hash is keyed; the parent's address only
 * tells equal levels of different parents apart. */
static uint64_t node_hash(const struct trie_node *parent, uint64_t level_hash)
{
    uint64_t h = level_hash ^ ((uint64_t)(uintptr_t)parent * UINT64_C(0x9e3779b97f4a7c15));
    return h ^ (h >> 32);
}

struct trie_node *trie_child(const struct trie *t, const struct trie_node *parent,
                             struct slice level, uint64_t level_hash)
{
    if (t->n_buckets == 0) {
        return NULL;
    }
    uint64_t hash = node_hash(parent, level_hash);
    struct trie_node *node = t->buckets[hash & (t->n_buckets - 1)];
    while (node != NULL &&
           (node->hash != hash || node->parent != parent || !slice_equal(node->level, level))) {
        node = node->in_bucket;
    }
    return node;
}

static void bucket_add(struct trie_node **buckets, size_t n_buckets, struct trie_node *node)
{
    struct trie_node **bucket = &buckets[node->hash & (n_buckets - 1)];
    node->in_bucket = *bucket;
    *bucket = node;
}

/* Longer chains are slower, not wrong: only the first table must succeed. */
static enum err buckets_set(struct trie *t, size_t n)
{
    struct trie_node **buckets = mem_array(n, sizeof(struct trie_node *));
    if (buckets == NULL) {
        return t->n_buckets == 0 ? ERR_NOMEM : OK;
    }
    for (size_t i = 0; i < t->n_buckets; i++) {
        struct trie_node *node = t->buckets[i];
        while (node != NULL) {
            struct trie_node *next = node->in_bucket;
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
    struct trie_node *node = mem_alloc(sizeof *node + level.n);
    if (node == NULL) {
        return ERR_NOMEM;
    }
    *node = (struct trie_node){.parent = parent, .hash = node_hash(parent, level_hash)};
    slice_copy(node + 1, level);
    node->level = slice_of(node + 1, level.n);
    list_init(&node->children);
    list_append(&parent->children, &node->sibling);
    bucket_add(t->buckets, t->n_buckets, node);
    t->n_nodes++;
    if (slice_is(level, "+")) {
        parent->plus = node;
    } else if (slice_is(level, "#")) {
        parent->multi = node;
    }
    *ret = node;
    return OK;
}

static void node_remove(struct trie *t, struct trie_node *node)
{
    struct trie_node **at = &t->buckets[node->hash & (t->n_buckets - 1)];
    while (*at != node) {
        at = &(*at)->in_bucket;
    }
    *at = node->in_bucket;
    if (node->parent->plus == node) {
        node->parent->plus = NULL;
    } else if (node->parent->multi == node) {
        node->parent->multi = NULL;
    }
    list_unlink(&node->sibling);
    mem_free(node);
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
    while (node->parent != NULL && node->value == NULL && node->n_pins == 0 &&
           list_is_empty(&node->children)) {
        struct trie_node *parent = node->parent;
        node_remove(t, node);
        node = parent;
    }
}

void trie_unpin(struct trie *t, struct trie_node *node)
{
    node->n_pins--;
    trie_prune(t, node);
}

void trie_count(struct trie_node *node, int32_t by)
{
    while (node != NULL) {
        node->n_below += (uint32_t)by;
        node = node->parent;
    }
}

struct trie_node *trie_next_sibling(const struct trie_node *node)
{
    if (node->parent == NULL || node->sibling.next == &node->parent->children.head) {
        return NULL;
    }
    return LIST_ENTRY(node->sibling.next, struct trie_node, sibling);
}

struct trie_node *trie_after(const struct trie_node *top, const struct trie_node *node,
                             bool is_deep)
{
    struct trie_node *child = is_deep ? trie_first_child(node) : NULL;
    if (child != NULL) {
        return child;
    }
    while (node != top) {
        struct trie_node *next = trie_next_sibling(node);
        if (next != NULL) {
            return next;
        }
        node = node->parent;
    }
    return NULL;
}

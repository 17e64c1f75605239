/*
 * trie - a tree of topic levels, under the filter tree and the retained index.
 *
 * A path is split at '/'; each level is one node, found among its siblings by one keyed hash table
 * for the whole tree, so a topic with many children costs no more than one with two. Nodes know
 * their parent and siblings, so every walk is a loop; they name each other by the slab's 32 bits,
 * for there are many. Private to src/core.
 */
#ifndef CORE_TRIE_H
#define CORE_TRIE_H

#include <string.h>

#include "base/err.h"
#include "base/siphash.h"
#include "base/slab.h"
#include "base/slice.h"

/* Links are names in the slab; 0: none. Its level lies behind it, or where that is, when it is too
 * long for the slab. */
struct trie_node {
    void *value;         /* the user's; a node without value, children and pins is pruned */
    uint32_t name;       /* its own; 0: the root, which lies in no slab */
    uint32_t parent;     /* 0: the root, or this is the root */
    uint32_t in_bucket;  /* next of the same bucket */
    uint32_t first;      /* child; its prev is the last one */
    uint32_t prev, next; /* siblings; next of the last one is 0 */
    uint32_t hash;
    uint32_t n_pins;  /* walks that have stopped here */
    uint32_t n_below; /* the user's count of values here and below; trie_count keeps it */
    uint16_t level_n;
    bool has_plus, has_multi; /* a child "+", "#" */
};

struct trie {
    struct siphash_key key;
    uint64_t plus_hash, multi_hash;
    struct slab *slab;
    struct trie_node root;
    uint32_t *buckets;
    size_t n_buckets, n_nodes; /* n_buckets is a power of two or 0; the root is not counted */
};

enum { TRIE_LEVEL_MOST = 200 /* bytes of a level that lies in its node */ };

/* trie_init - slab is borrowed: nodes come from it. */
void trie_init(struct trie *t, const struct siphash_key *key, struct slab *slab);
/* trie_done - releases all nodes, not their values. */
void trie_done(struct trie *t);
/* trie_level_hash - what trie_child needs; worth keeping for a level that is asked for often. */
uint64_t trie_level_hash(const struct trie *t, struct slice level);
/* trie_child - the child of `parent` with this level, or NULL. O(1). */
struct trie_node *trie_child(const struct trie *t, const struct trie_node *parent,
                             struct slice level, uint64_t level_hash);
/* trie_child_hash, trie_bucket - where trie_child looks: of a tree with nodes. */
static inline uint32_t trie_child_hash(const struct trie_node *parent, uint64_t level_hash)
{
    /* Nobody outside can pick levels that collide, since their hash is keyed; the parent's name
     * only tells equal levels of different parents apart. */
    uint64_t h = level_hash ^ ((uint64_t)parent->name * UINT64_C(0x9e3779b97f4a7c15));
    return (uint32_t)(h ^ (h >> 32));
}
static inline const uint32_t *trie_bucket(const struct trie *t, uint32_t hash)
{
    return &t->buckets[hash & (t->n_buckets - 1)];
}
/* trie_plus, trie_multi - the child "+" or "#", or NULL. */
struct trie_node *trie_plus(const struct trie *t, const struct trie_node *parent);
struct trie_node *trie_multi(const struct trie *t, const struct trie_node *parent);
static inline struct slice trie_level(const struct trie_node *node)
{
    const void *level = node + 1;
    if (node->level_n > TRIE_LEVEL_MOST) {
        memcpy(&level, node + 1, sizeof(level));
    }
    return slice_of(level, node->level_n);
}
/* trie_parent - NULL: node is the root. */
static inline struct trie_node *trie_parent(const struct trie *t, const struct trie_node *node)
{
    if (node == &t->root) {
        return NULL;
    }
    /* The root is only not const because a walk may stop there. */
    return node->parent != 0 ? slab_at(t->slab, node->parent)
                             : (struct trie_node *)(uintptr_t)&t->root;
}
/* trie_is_top - it hangs on the root. */
static inline bool trie_is_top(const struct trie *t, const struct trie_node *node)
{
    return node != &t->root && node->parent == 0;
}
/* trie_first, trie_next - a child, a sibling; NULL: there is none (more). */
static inline struct trie_node *trie_first(const struct trie *t, const struct trie_node *node)
{
    return slab_at(t->slab, node->first);
}
static inline struct trie_node *trie_next(const struct trie *t, const struct trie_node *node)
{
    return slab_at(t->slab, node->next);
}
/* trie_has_plain - may it have a child that is neither "+" nor "#"? */
static inline bool trie_has_plain(const struct trie *t, const struct trie_node *parent)
{
    if (!parent->has_plus && !parent->has_multi) {
        return parent->first != 0;
    }
    return trie_first(t, parent)->prev != parent->first; /* more than one */
}
/* trie_find - the node of `path`, or NULL. O(levels). */
struct trie_node *trie_find(const struct trie *t, struct slice path);
/* trie_add - the node of `path`, made with its ancestors when it is not there. A new node without a
 * value must get one. ERR_NOMEM: nothing changed. O(levels). */
MUST_USE enum err trie_add(struct trie *t, struct slice path, struct trie_node **ret);
/* trie_prune - removes node and its ancestors as far as they have neither value, children nor pins.
 */
void trie_prune(struct trie *t, struct trie_node *node);
/* trie_pin - node stays, whatever is pruned, so that a walk can go on from it later. trie_unpin -
 * not any more: it may be gone afterwards. */
static inline void trie_pin(struct trie_node *node)
{
    node->n_pins++;
}
void trie_unpin(struct trie *t, struct trie_node *node);
/* trie_count - a value came to this node (by 1) or left it (by -1). O(levels). */
void trie_count(const struct trie *t, struct trie_node *node, int32_t by);
/* trie_after - the node after `node` in a walk of the subtree of `top`, parents first; NULL at the
 * end. Only nodes that hang below `node` come when is_deep, else the subtree of `node` is skipped.
 */
struct trie_node *trie_after(const struct trie *t, const struct trie_node *top,
                             const struct trie_node *node, bool is_deep);
/* trie_path - the path of a node, levels and separators: as many bytes as trie_path_n says.
 * O(levels). */
size_t trie_path_n(const struct trie *t, const struct trie_node *node);
void trie_path(const struct trie *t, const struct trie_node *node, size_t n, uint8_t *ret);

#endif

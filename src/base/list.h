/* list - intrusive doubly linked ring. A node belongs to at most one list; { 0 } is an unlinked
 * node. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/scope.h"

struct list_node {
    struct list_node *prev, *next;
};

struct list {
    struct list_node head;
};

static inline void list_init(struct list *l)
{
    l->head.prev = l->head.next = &l->head;
}

static inline bool list_is_empty(const struct list *l)
{
    return l->head.next == &l->head;
}

static inline bool list_is_linked(const struct list_node *n)
{
    return n->next != NULL;
}

static inline void list_append(struct list *l, struct list_node *n)
{
    n->prev = l->head.prev;
    n->next = &l->head;
    n->prev->next = n;
    l->head.prev = n;
}

/* list_insert - n right behind `before`, which is in the list (or is its head: in front). */
static inline void list_insert(struct list_node *before, struct list_node *n)
{
    n->prev = before;
    n->next = before->next;
    before->next->prev = n;
    before->next = n;
}

/* list_unlink - fine on an unlinked node. */
static inline void list_unlink(struct list_node *n)
{
    if (n->next != NULL) {
        n->prev->next = n->next;
        n->next->prev = n->prev;
        n->prev = n->next = NULL;
    }
}

static inline struct list_node *list_first(const struct list *l)
{
    return list_is_empty(l) ? NULL : l->head.next;
}

#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

/* The safe form allows unlinking `node` inside the loop; `next_` is a scratch node pointer. */
#define list_for_each(node, l)                                                                     \
    for (struct list_node *node = (l)->head.next; node != &(l)->head; node = node->next)
#define list_for_each_back(node, l)                                                                \
    for (struct list_node *node = (l)->head.prev; node != &(l)->head; node = node->prev)
#define list_for_each_safe(node, next_, l)                                                         \
    for (struct list_node *node = (l)->head.next, *next_ = node->next; node != &(l)->head;         \
         node = next_, next_ = node->next)

#endif

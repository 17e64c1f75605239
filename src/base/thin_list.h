/* thin_list - a list whose head is one pointer: for objects of which there are many, and whose
 * lists are empty most of the time. The nodes are those of list.h, in a ring without a head, so
 * whoever takes one out says of which list. { 0 } is an empty one. */
#ifndef BASE_THIN_LIST_H
#define BASE_THIN_LIST_H

#include "base/list.h"

struct thin_list {
    struct list_node *first; /* NULL: empty */
};

static inline bool thin_is_empty(const struct thin_list *c)
{
    return c->first == NULL;
}

static inline struct list_node *thin_first(const struct thin_list *c)
{
    return c->first;
}

/* thin_next - NULL behind the last. */
static inline struct list_node *thin_next(const struct thin_list *c, const struct list_node *n)
{
    return n->next != c->first ? n->next : NULL;
}

static inline void thin_append(struct thin_list *c, struct list_node *n)
{
    if (c->first != NULL) {
        list_insert(c->first->prev, n);
        return;
    }
    n->prev = n->next = n;
    c->first = n;
}

/* thin_remove - n is in c, or in none: that is fine. */
static inline void thin_remove(struct thin_list *c, struct list_node *n)
{
    if (c->first == n) {
        c->first = n->next != n ? n->next : NULL;
    }
    list_unlink(n);
}

/* The safe form allows removing `node` inside the loop; `next_` is a scratch node pointer. */
#define thin_for_each(node, c)                                                                     \
    for (struct list_node *node = thin_first(c); node != NULL; node = thin_next((c), node))
#define thin_for_each_safe(node, next_, c)                                                         \
    for (struct list_node *node = thin_first(c),                                                   \
                          *next_ = node != NULL ? thin_next((c), node) : NULL;                     \
         node != NULL; node = next_, next_ = node != NULL ? thin_next((c), node) : NULL)

#endif

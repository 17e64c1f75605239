#include "service/broker/line.h"

void line_init(struct line *l)
{
    *l = (struct line){.n = 0};
    for (size_t i = 0; i < LINE_PARTS; i++) {
        list_init(&l->part[i]);
    }
}

void line_add(struct line *l, enum line_part part, struct list_node *node)
{
    list_append(&l->part[part], node);
    l->n++;
}

void line_remove(struct line *l, struct list_node *node)
{
    l->n -= list_is_linked(node) ? 1 : 0;
    list_unlink(node);
}

static enum line_part choose(struct line *l)
{
    bool has_full = !list_is_empty(&l->part[LINE_FULL]);
    if (!list_is_empty(&l->part[LINE_BEGUN])) {
        return LINE_BEGUN;
    }
    if (list_is_empty(&l->part[LINE_RESUMED]) ||
        (has_full && l->n_resumed_run >= LINE_RESUMED_RUN)) {
        l->n_resumed_run = 0;
        return LINE_FULL;
    }
    l->n_resumed_run += has_full ? 1 : 0;
    return LINE_RESUMED;
}

struct list_node *line_take(struct line *l)
{
    struct list_node *node = list_first(&l->part[choose(l)]);
    if (node != NULL) {
        line_remove(l, node);
    }
    return node;
}

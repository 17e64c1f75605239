/*
 * line - which TLS handshake takes the next step, of those that wait on one worker.
 *
 * Those that have begun go first: what was spent on them is not wasted. Then those that offer a
 * ticket which opens, for they cost half (TLS 1.3) or a quarter (1.2): so more of a plant is back
 * sooner after a restart. But when full ones wait, one of them goes after every LINE_RESUMED_RUN
 * others, so that nobody with a ticket keeps them out. Within a part, in order.
 */
#ifndef SERVICE_BROKER_LINE_H
#define SERVICE_BROKER_LINE_H

#include <stddef.h>

#include "base/list.h"

enum { LINE_RESUMED_RUN = 8 };

enum line_part { LINE_BEGUN, LINE_RESUMED, LINE_FULL, LINE_PARTS };

struct line {
    struct list part[LINE_PARTS];
    size_t n;
    unsigned n_resumed_run; /* taken out while a full one waited, since one was */
};

void line_init(struct line *l);
/* line_add - at the end of its part; node is in no list. */
void line_add(struct line *l, enum line_part part, struct list_node *node);
/* line_remove - fine when it is not in line. */
void line_remove(struct line *l, struct list_node *node);
/* line_take - whose turn it is, removed; NULL: nobody waits. */
struct list_node *line_take(struct line *l);

#endif

/*
 * retained_private - what a topic holds in the index of retained messages: a message, lying packed
 * or shared, or the marker of a clear. Of retained.c alone.
 */
#ifndef CORE_RETAINED_PRIVATE_H
#define CORE_RETAINED_PRIVATE_H

#include "base/map.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "core/retained.h"
#include "core/trie.h"

/* Who sent messages, once for all of them that lie packed. */
struct origin {
    uint64_t publisher, session, epoch;
    uint32_t segment;
    uint32_t n_refs;
};

/* One topic: its message, or the marker of a clear. A message with few bytes lies packed: what it
 * says is in the entry, its topic in the tree, its bytes behind the entry; a larger one is shared
 * with whoever else holds it. */
struct entry {
    uint64_t number;
    struct trie_node *node;
    union {
        struct {
            union {
                const struct msg *msg; /* shared */
                struct origin *origin; /* is_packed */
            };
            uint64_t arrival; /* of the message: when it came to this index; the entry's name */
        };
        struct list_node in_markers; /* is_marker; not linked: it is neither, for a moment */
    };
    uint64_t body_id; /* is_packed: and what follows */
    uint16_t content_format;
    uint8_t qos, props_n, payload_n;
    bool is_utf8 : 1;
    bool retain : 1;
    bool is_packed : 1;
    bool is_marker : 1;
    bool may_expire : 1; /* it is a struct expiring */
    uint8_t room;        /* bytes behind it */
};

struct expiring {
    struct entry entry; /* first */
    struct timer expiry;
};

struct retained {
    struct slab slab;
    struct trie tree; /* of messages and markers */
    struct map origins;
    struct origin *last_origin;
    struct entry *ready;     /* reserved; its node is pinned */
    const struct msg *shown; /* a packed one, as it was asked for last */
    uint64_t shown_arrival;
    uint8_t *path; /* scratch for its topic */
    size_t path_cap;
    struct wheel expiries;
    struct list markers; /* lowest number first */
    size_t n_messages, n_markers;
    size_t n_hidden; /* messages of topics that begin with '$' */
    uint64_t bytes, passed, n_arrivals;
    void (*gone)(void *ctx, uint64_t publisher, uint64_t bytes);
    void *gone_ctx;
};

/* retained_entry_make - of a clear when m is NULL, which is not linked yet; else the message.
 * ERR_NOMEM. */
MUST_USE enum err retained_entry_make(struct retained *r, struct trie_node *node,
                                      const struct msg *m, struct entry **ret);
void retained_entry_free(struct retained *r, struct entry *e);
/* retained_entry_empty - what it held goes; it is neither message nor linked marker. */
void retained_entry_empty(struct retained *r, struct entry *e);

/* Of a message: */
uint64_t retained_entry_publisher(const struct entry *e);
/* As msg_cost of the message: that is what its publisher answers for, however it lies here. */
uint64_t retained_entry_cost(const struct retained *r, const struct entry *e);
uint64_t retained_entry_expires_at(struct entry *e);
/* Only where it may expire. */
struct timer *retained_entry_expiry(struct entry *e);
/* retained_entry_show - the message, borrowed until the next one is shown; NULL: no memory. */
const struct msg *retained_entry_show(struct retained *r, struct entry *e);

/* How origins are found. */
struct slice retained_origin_key(const void *origin);

#endif

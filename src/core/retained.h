/*
 * retained - one worker's index of retained messages. Every worker holds the whole index; large
 * messages are shared, and a small one lies packed in it, which takes less than sharing it would:
 * it is made a message again when somebody asks for it.
 *
 * Each retained publish or clear carries a number from one process-wide counter and the highest
 * number wins per topic (docs/ORDER.md, rule 4), so all workers agree whatever the order of
 * arrival. A clear leaves a marker until the owner says that all workers have passed its number.
 */
#ifndef CORE_RETAINED_H
#define CORE_RETAINED_H

#include "base/siphash.h"
#include "core/msg.h"

struct retained;
struct trie_node;

MUST_USE enum err retained_new(const struct siphash_key *key, struct retained **ret);
struct retained *retained_free(struct retained *r);

/* What a change replaced, for the accounts of publishers (core/account.h). */
struct retained_change {
    bool is_applied;                   /* false: a higher number was there already */
    uint64_t old_publisher, old_bytes; /* msg_cost of the old one; 0, 0 when there was none */
};

/* retained_put - m (shares) becomes the retained message of its topic under m->number. ERR_NOMEM:
 * nothing changed. */
MUST_USE enum err retained_put(struct retained *r, const struct msg *m,
                               struct retained_change *ret);
/* retained_clear - removes the message of `topic` under this number and leaves a marker. Errors as
 * put. */
MUST_USE enum err retained_clear(struct retained *r, struct slice topic, uint64_t number,
                                 struct retained_change *ret);
/* retained_reserve - what comes next must be the put of m, or its clear when it has no payload, and
 * does not fail then; or retained_release. For whoever must know before m is on record. ERR_NOMEM.
 */
MUST_USE enum err retained_reserve(struct retained *r, const struct msg *m);
void retained_release(struct retained *r, const struct msg *m);
/* retained_passed - all workers have seen every number <= this: markers up to it are forgotten. */
void retained_passed(struct retained *r, uint64_t number);
/* retained_find - the message of exactly this topic, borrowed until the index changes or the next
 * message is asked for, or NULL: there is none, it has expired at now_ms, or there is no memory to
 * show it. O(levels). */
const struct msg *retained_find(struct retained *r, struct slice topic, uint64_t now_ms);
/* retained_publisher - who sent that message; false: there is none. Needs no memory. */
bool retained_publisher(const struct retained *r, struct slice topic, uint64_t now_ms,
                        uint64_t *ret);
/* retained_match - calls `each` for every live message whose topic the filter matches; `each` may
 * not change the index and returns false to stop. One that there is no memory to show is left out.
 * O(part of the index below the filter's fixed levels). */
void retained_match(struct retained *r, struct slice filter, uint64_t now_ms,
                    bool (*each)(void *ctx, const struct msg *m), void *ctx);

/*
 * A match that goes on from turn to turn while the index changes: memory of its own and none per
 * message. It brings what was there when it began and is there still, each once: a topic that was
 * cleared, has expired, or got another message after the beginning is passed over, for that one
 * comes live. The index pins the place where it waits, so a change costs no more for it.
 */
struct retained_cursor {
    struct slice filter;
    size_t at;
    struct trie_node *node; /* pinned; NULL: at the end */
    struct trie_node *top;  /* of the subtree that "#" means, while in it */
    uint64_t arrival;       /* messages that came to the index later are not its */
};
/* retained_cursor_init - filter is borrowed until retained_cursor_done, which must come before
 * retained_free. */
void retained_cursor_init(struct retained *r, struct slice filter, struct retained_cursor *ret);
/* retained_cursor_find - the message at hand, borrowed as retained_find's; the same one again until
 * retained_cursor_next or another message is asked for. Looks at up to *steps more places and takes
 * them off. NULL: at the end (c->node is NULL), or the steps are used up, or there is no memory:
 * the next call goes on. O(steps). */
const struct msg *retained_cursor_find(struct retained *r, struct retained_cursor *c,
                                       uint64_t now_ms, size_t *steps);
/* retained_cursor_next - the message at hand was dealt with. Not at the end. */
void retained_cursor_next(struct retained *r, struct retained_cursor *c);
/* retained_cursor_done - may be called again. */
void retained_cursor_done(struct retained *r, struct retained_cursor *c);
/* retained_estimate - how many messages the filter matches, with those that expired and were not
 * dropped yet. Exact when that takes at most `steps` places, where "#" is one, whatever is below;
 * else what lies below the fixed levels in front, so never too few. O(steps). */
uint64_t retained_estimate(const struct retained *r, struct slice filter, size_t steps);
/* retained_watch - `gone` is called for each message that retained_expire drops, so that whoever
 * counts a publisher's messages can take it off. NULL: nobody is told. */
void retained_watch(struct retained *r, void (*gone)(void *ctx, uint64_t publisher, uint64_t bytes),
                    void *ctx);
/* retained_expire - drops up to `max` messages that have expired; returns how many. Called from a
 * slow timer. */
size_t retained_expire(struct retained *r, uint64_t now_ms, size_t max);
size_t retained_count(const struct retained *r);
uint64_t retained_bytes(const struct retained *r);
size_t retained_marker_count(const struct retained *r);

#endif

#include "core/retained.h"

#include <assert.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/wheel.h"
#include "core/trie.h"

/* One topic: its message while `node` is set, else the marker of a clear. */
struct entry {
    const struct msg *msg; /* shared; in a marker NULL, or kept only because it holds the topic */
    char *copy;            /* the topic's own bytes in a marker that has no message */
    struct slice topic;    /* in msg or in copy */
    uint64_t number;
    struct trie_node *node; /* NULL: a marker */
    struct list_node in_markers;
    struct timer expiry;
};

struct retained {
    struct map by_topic;
    struct trie tree; /* of messages; markers are only in the map */
    struct wheel expiries;
    struct list markers; /* lowest number first */
    size_t n_messages, n_markers;
    uint64_t bytes, passed;
    void (*gone)(void *ctx, uint64_t publisher, uint64_t bytes);
    void *gone_ctx;
};

static struct slice entry_key(const void *entry)
{
    return ((const struct entry *)entry)->topic;
}

enum err retained_new(const struct siphash_key *key, struct retained **ret)
{
    struct retained *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    map_init(&r->by_topic, key, entry_key);
    trie_init(&r->tree, key);
    wheel_init(&r->expiries, 0);
    list_init(&r->markers);
    *ret = r;
    return OK;
}

static void entry_free(struct entry *e)
{
    msg_unref(e->msg);
    mem_free(e->copy);
    mem_free(e);
}

struct retained *retained_free(struct retained *r)
{
    if (r == NULL) {
        return NULL;
    }
    size_t at = 0;
    struct entry *e = NULL;
    while ((e = map_next(&r->by_topic, &at)) != NULL) {
        entry_free(e);
    }
    map_done(&r->by_topic);
    trie_done(&r->tree);
    return mem_free(r);
}

/* entry_unhang - its message leaves the tree and the counts; the entry stays in the map. */
static void entry_unhang(struct retained *r, struct entry *e)
{
    e->node->value = NULL;
    trie_prune(&r->tree, e->node);
    e->node = NULL;
    wheel_cancel(&r->expiries, &e->expiry);
    r->n_messages--;
    r->bytes -= msg_cost(e->msg);
}

static void entry_forget(struct retained *r, struct entry *e)
{
    map_remove(&r->by_topic, e->topic);
    if (list_is_linked(&e->in_markers)) {
        list_unlink(&e->in_markers);
        r->n_markers--;
    }
    entry_free(e);
}

/* Numbers arrive almost in order, so the place is at or near the end. */
static void marker_link(struct retained *r, struct entry *e)
{
    struct list_node *after = r->markers.head.prev;
    while (after != &r->markers.head &&
           LIST_ENTRY(after, struct entry, in_markers)->number > e->number) {
        after = after->prev;
    }
    e->in_markers.prev = after;
    e->in_markers.next = after->next;
    after->next->prev = &e->in_markers;
    after->next = &e->in_markers;
    r->n_markers++;
}

/* entry_mark - e, unhung, becomes the marker of `number`. Cannot fail: without memory for a copy of
 * the topic the old message stays for its sake. */
static void entry_mark(struct retained *r, struct entry *e, uint64_t number)
{
    e->number = number;
    if (number <= r->passed) {
        entry_forget(r, e);
        return;
    }
    char *copy = e->msg != NULL ? mem_alloc(e->topic.n) : NULL;
    if (copy != NULL) {
        memcpy(copy, e->topic.p, e->topic.n);
        e->topic = slice_of(copy, e->topic.n);
        e->copy = copy;
        e->msg = msg_unref(e->msg);
    }
    marker_link(r, e);
}

static void change_from(const struct entry *e, struct retained_change *c)
{
    *c = (struct retained_change){.is_applied = true};
    if (e != NULL && e->node != NULL) {
        c->old_publisher = e->msg->publisher;
        c->old_bytes = msg_cost(e->msg);
    }
}

/* entry_hang - m becomes the message of e, whose node is there. */
static void entry_hang(struct retained *r, struct entry *e, const struct msg *m)
{
    if (list_is_linked(&e->in_markers)) {
        list_unlink(&e->in_markers);
        r->n_markers--;
    }
    const struct msg *old = e->msg;
    e->msg = msg_ref(m);
    e->topic = m->topic;
    msg_unref(old);
    e->copy = mem_free(e->copy);
    e->number = m->number;
    e->node->value = e;
    wheel_arm(&r->expiries, &e->expiry, m->expires_at_ms);
    r->n_messages++;
    r->bytes += msg_cost(m);
}

/* entry_new - an entry for a topic that has none, in the map, neither message nor marker. */
static enum err entry_new(struct retained *r, struct slice topic, const struct msg *m,
                          struct entry **ret)
{
    struct entry *e = mem_zalloc(sizeof *e);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    if (m != NULL) {
        e->msg = msg_ref(m);
        e->topic = m->topic;
    } else {
        e->copy = mem_alloc(topic.n);
        if (e->copy == NULL) {
            entry_free(e);
            return ERR_NOMEM;
        }
        memcpy(e->copy, topic.p, topic.n);
        e->topic = slice_of(e->copy, topic.n);
    }
    enum err err = map_add(&r->by_topic, e);
    if (err != OK) {
        entry_free(e);
        return err;
    }
    *ret = e;
    return OK;
}

/* A place is a marker of number 0; for a message, its node is in the tree, too. */
enum err retained_reserve(struct retained *r, const struct msg *m)
{
    struct trie_node *node = NULL;
    struct entry *e = map_find(&r->by_topic, m->topic);
    if (e != NULL && e->node != NULL) {
        return OK;
    }
    if (m->payload.n > 0) {
        TRY(trie_add(&r->tree, m->topic, &node));
    }
    enum err err = e != NULL ? OK : entry_new(r, m->topic, NULL, &e);
    if (err != OK && node != NULL) {
        trie_prune(&r->tree, node);
    }
    TRY(err);
    if (!list_is_linked(&e->in_markers)) {
        marker_link(r, e);
    }
    return OK;
}

void retained_release(struct retained *r, const struct msg *m)
{
    struct trie_node *node = NULL;
    struct entry *e = map_find(&r->by_topic, m->topic);
    if (e == NULL || e->node != NULL) {
        return;
    }
    if (m->payload.n > 0 && trie_add(&r->tree, m->topic, &node) == OK) { /* it is there */
        trie_prune(&r->tree, node);
    }
    if (e->number == 0) {
        entry_forget(r, e);
    }
}

enum err retained_put(struct retained *r, const struct msg *m, struct retained_change *ret)
{
    assert(m->topic.n > 0);
    struct entry *e = map_find(&r->by_topic, m->topic);
    if (e != NULL && e->number >= m->number && !PLANTED(PLANT_RETAINED_NUMBER_IGNORED)) {
        *ret = (struct retained_change){0};
        return OK;
    }
    struct retained_change change;
    change_from(e, &change);
    if (e != NULL && e->node != NULL) {
        r->n_messages--; /* the new message hangs where the old one did */
        r->bytes -= msg_cost(e->msg);
    } else {
        struct trie_node *node = NULL;
        TRY(trie_add(&r->tree, m->topic, &node));
        enum err err = e != NULL ? OK : entry_new(r, m->topic, m, &e);
        if (err != OK) {
            trie_prune(&r->tree, node);
            return err;
        }
        e->node = node;
    }
    entry_hang(r, e, m);
    *ret = change;
    return OK;
}

enum err retained_clear(struct retained *r, struct slice topic, uint64_t number,
                        struct retained_change *ret)
{
    assert(topic.n > 0);
    struct entry *e = map_find(&r->by_topic, topic);
    if (e != NULL && e->number >= number && !PLANTED(PLANT_RETAINED_NUMBER_IGNORED)) {
        *ret = (struct retained_change){0};
        return OK;
    }
    struct retained_change change;
    change_from(e, &change);
    if (e == NULL) {
        TRY(entry_new(r, topic, NULL, &e));
    } else if (e->node != NULL) {
        entry_unhang(r, e);
    } else {
        list_unlink(&e->in_markers);
        r->n_markers--;
    }
    entry_mark(r, e, number);
    *ret = change;
    return OK;
}

void retained_passed(struct retained *r, uint64_t number)
{
    if (number > r->passed) {
        r->passed = number;
    }
    list_for_each_safe (node, next, &r->markers) {
        struct entry *e = LIST_ENTRY(node, struct entry, in_markers);
        if (e->number > r->passed) {
            return;
        }
        entry_forget(r, e);
    }
}

static bool is_live(const struct entry *e, uint64_t now_ms)
{
    return e->node != NULL && e->msg->expires_at_ms > now_ms;
}

const struct msg *retained_find(struct retained *r, struct slice topic, uint64_t now_ms)
{
    const struct entry *e = map_find(&r->by_topic, topic);
    return e != NULL && is_live(e, now_ms) ? e->msg : NULL;
}

/* Where a walk is in its filter: the level that the children of the current node must match. Past
 * the last one `at` is n + 1. */
struct position {
    struct slice filter;
    size_t at;
};

static struct slice position_level(const struct position *p)
{
    struct slice rest = slice_from(p->filter, p->at);
    return slice_head(rest, slice_find(rest, '/'));
}

static void position_down(struct position *p)
{
    p->at += position_level(p).n + 1;
}

static void position_up(struct position *p)
{
    size_t start = p->at - 1; /* on the separator, or the end, behind the level above */
    while (start > 0 && p->filter.p[start - 1] != '/') {
        start--;
    }
    p->at = start;
}

/* SPEC: MQTT-4.7.2-1 */
static bool is_hidden(const struct trie_node *node)
{
    return node->parent->parent == NULL && node->level.n > 0 && node->level.p[0] == '$';
}

static const struct trie_node *skip_hidden(const struct trie_node *node)
{
    while (node != NULL && is_hidden(node)) {
        node = trie_next_sibling(node);
    }
    return node;
}

struct asked {
    uint64_t now_ms;
    bool (*each)(void *ctx, const struct msg *m);
    void *ctx;
};

static bool emit(const struct asked *a, const struct trie_node *node)
{
    const struct entry *e = node->value;
    return e == NULL || !is_live(e, a->now_ms) || a->each(a->ctx, e->msg);
}

static bool emit_subtree(const struct asked *a, const struct trie_node *top)
{
    const struct trie_node *node = top;
    while (node != NULL) {
        bool is_skipped = node->parent != NULL && is_hidden(node) && top->parent == NULL;
        if (!is_skipped && !emit(a, node)) {
            return false;
        }
        node = trie_after(top, node, !is_skipped);
    }
    return true;
}

/* step_down - the first child that the level at p may mean. */
static const struct trie_node *step_down(const struct retained *r, const struct trie_node *node,
                                         const struct position *p)
{
    struct slice level = position_level(p);
    if (slice_is(level, "+")) {
        return skip_hidden(trie_first_child(node));
    }
    return trie_child(&r->tree, node, level, trie_level_hash(&r->tree, level));
}

/* step_aside - the next node in the walk when all below `node` is done; moves p along. */
static const struct trie_node *step_aside(const struct trie_node *node, struct position *p)
{
    while (node->parent != NULL) {
        struct position above = *p;
        position_up(&above);
        if (slice_is(position_level(&above), "+")) {
            const struct trie_node *next = skip_hidden(trie_next_sibling(node));
            if (next != NULL) {
                return next;
            }
        }
        *p = above;
        node = node->parent;
    }
    return NULL;
}

void retained_match(struct retained *r, struct slice filter, uint64_t now_ms,
                    bool (*each)(void *ctx, const struct msg *m), void *ctx)
{
    struct asked a = {.now_ms = now_ms, .each = each, .ctx = ctx};
    struct position p = {.filter = filter};
    const struct trie_node *node = &r->tree.root;
    while (node != NULL) {
        const struct trie_node *next = NULL;
        if (p.at > filter.n) {
            if (!emit(&a, node)) {
                return;
            }
        } else if (slice_is(position_level(&p), "#")) {
            if (!emit_subtree(&a, node)) { /* with the parent itself. SPEC: MQTT5 4.7.1.2 */
                return;
            }
        } else {
            next = step_down(r, node, &p);
            if (next != NULL) {
                position_down(&p);
            }
        }
        node = next != NULL ? next : step_aside(node, &p);
    }
}

void retained_watch(struct retained *r, void (*gone)(void *ctx, uint64_t publisher, uint64_t bytes),
                    void *ctx)
{
    r->gone = gone;
    r->gone_ctx = ctx;
}

size_t retained_expire(struct retained *r, uint64_t now_ms, size_t max)
{
    wheel_advance(&r->expiries, now_ms);
    size_t n = 0;
    while (n < max) {
        struct timer *t = wheel_next(&r->expiries);
        if (t == NULL) {
            break;
        }
        struct entry *e = CONTAINER_OF(t, struct entry, expiry);
        uint64_t publisher = e->msg->publisher, bytes = msg_cost(e->msg);
        entry_unhang(r, e);
        /* Its number still bars older messages that are on their way. */
        entry_mark(r, e, e->number);
        n++;
        if (r->gone != NULL) {
            r->gone(r->gone_ctx, publisher, bytes);
        }
    }
    return n;
}

size_t retained_count(const struct retained *r)
{
    return r->n_messages;
}

uint64_t retained_bytes(const struct retained *r)
{
    return r->bytes;
}

size_t retained_marker_count(const struct retained *r)
{
    return r->n_markers;
}

#include "core/retained.h"

#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "core/trie.h"

/* One topic: its message, or the marker of a clear. Its node is there as long as it is. */
struct entry {
    uint64_t number;
    struct trie_node *node;
    union {
        struct {
            const struct msg *msg; /* shared */
            uint64_t arrival;      /* of the message: when it came to this index */
        };
        struct list_node in_markers; /* is_marker; not linked: it is neither, for a moment */
    };
    bool is_marker;
    bool may_expire; /* it is a struct expiring */
};

struct expiring {
    struct entry entry; /* first */
    struct timer expiry;
};

struct retained {
    struct slab slab;
    struct trie tree; /* of messages and markers */
    struct wheel expiries;
    struct list markers; /* lowest number first */
    size_t n_messages, n_markers;
    size_t n_hidden; /* messages of topics that begin with '$' */
    uint64_t bytes, passed, n_arrivals;
    void (*gone)(void *ctx, uint64_t publisher, uint64_t bytes);
    void *gone_ctx;
};

enum err retained_new(const struct siphash_key *key, struct retained **ret)
{
    struct retained *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    slab_init(&r->slab);
    trie_init(&r->tree, key, &r->slab);
    wheel_init(&r->expiries, 0);
    list_init(&r->markers);
    *ret = r;
    return OK;
}

static void entry_free(struct retained *r, struct entry *e)
{
    if (!e->is_marker) {
        msg_unref(e->msg);
    }
    slab_put(&r->slab, e, e->may_expire ? sizeof(struct expiring) : sizeof(*e));
}

struct retained *retained_free(struct retained *r)
{
    if (r == NULL) {
        return NULL;
    }
    for (struct trie_node *node = &r->tree.root; node != NULL;
         node = trie_after(&r->tree.root, node, true)) {
        if (node->value != NULL) {
            entry_free(r, node->value);
        }
    }
    trie_done(&r->tree);
    slab_done(&r->slab);
    return mem_free(r);
}

static struct entry *entry_find(const struct retained *r, struct slice topic)
{
    const struct trie_node *node = trie_find(&r->tree, topic);
    return node != NULL ? node->value : NULL;
}

static struct timer *expiry_of(struct entry *e)
{
    return &((struct expiring *)(void *)e)->expiry;
}

static bool is_of_server(const struct entry *e)
{
    return e->msg->topic.p[0] == '$';
}

/* entry_unhang - its message leaves the counts; it is neither message nor linked marker. */
static void entry_unhang(struct retained *r, struct entry *e)
{
    trie_count(e->node, -1);
    r->n_hidden -= is_of_server(e);
    if (e->may_expire) {
        wheel_cancel(&r->expiries, expiry_of(e));
    }
    r->n_messages--;
    r->bytes -= msg_cost(e->msg);
    msg_unref(e->msg);
    e->is_marker = true;
    e->in_markers = (struct list_node){0};
}

static void marker_unlink(struct retained *r, struct entry *e)
{
    if (list_is_linked(&e->in_markers)) {
        list_unlink(&e->in_markers);
        r->n_markers--;
    }
}

/* entry_forget - a marker is gone. */
static void entry_forget(struct retained *r, struct entry *e)
{
    struct trie_node *node = e->node;
    marker_unlink(r, e);
    entry_free(r, e);
    node->value = NULL;
    trie_prune(&r->tree, node);
}

/* Numbers arrive almost in order, so the place is at or near the end. */
static void marker_link(struct retained *r, struct entry *e)
{
    struct list_node *after = r->markers.head.prev;
    while (after != &r->markers.head &&
           LIST_ENTRY(after, struct entry, in_markers)->number > e->number) {
        after = after->prev;
    }
    list_insert(after, &e->in_markers);
    r->n_markers++;
}

/* entry_mark - e, unhung, becomes the marker of `number`. */
static void entry_mark(struct retained *r, struct entry *e, uint64_t number)
{
    e->number = number;
    if (number <= r->passed) {
        entry_forget(r, e);
        return;
    }
    marker_link(r, e);
}

static void change_from(const struct entry *e, struct retained_change *c)
{
    *c = (struct retained_change){.is_applied = true};
    if (e != NULL && !e->is_marker) {
        c->old_publisher = e->msg->publisher;
        c->old_bytes = msg_cost(e->msg);
    }
}

/* entry_hang - m becomes the message of e, which is large enough for it. */
static void entry_hang(struct retained *r, struct entry *e, const struct msg *m)
{
    if (e->is_marker) {
        marker_unlink(r, e);
        e->is_marker = false;
        trie_count(e->node, 1);
        r->n_hidden += m->topic.p[0] == '$';
    } else {
        r->n_messages--; /* the new message hangs where the old one did */
        r->bytes -= msg_cost(e->msg);
        msg_unref(e->msg);
    }
    e->msg = msg_ref(m);
    e->number = m->number;
    e->arrival = ++r->n_arrivals;
    if (e->may_expire) {
        wheel_arm(&r->expiries, expiry_of(e), m->expires_at_ms);
    }
    r->n_messages++;
    r->bytes += msg_cost(m);
}

/* entry_make - one that is neither message nor linked marker. */
static enum err entry_make(struct retained *r, struct trie_node *node, bool may_expire,
                           struct entry **ret)
{
    struct entry *e = slab_get(&r->slab, may_expire ? sizeof(struct expiring) : sizeof(*e));
    if (e == NULL) {
        return ERR_NOMEM;
    }
    *e = (struct entry){.node = node, .is_marker = true, .may_expire = may_expire};
    if (may_expire) {
        *expiry_of(e) = (struct timer){0};
    }
    *ret = e;
    return OK;
}

/* entry_grow - e, which had no room for a timer, in a larger place. */
static enum err entry_grow(struct retained *r, struct entry *e, struct entry **ret)
{
    struct entry *large = NULL;
    TRY(entry_make(r, e->node, true, &large));
    large->number = e->number;
    large->is_marker = e->is_marker;
    if (!e->is_marker) {
        large->msg = msg_ref(e->msg);
        large->arrival = e->arrival;
    } else if (list_is_linked(&e->in_markers)) {
        list_insert(&e->in_markers, &large->in_markers);
        list_unlink(&e->in_markers);
    }
    e->node->value = large;
    entry_free(r, e);
    *ret = large;
    return OK;
}

/* entry_need - the entry of this topic, made when there is none. ERR_NOMEM: nothing changed. */
static enum err entry_need(struct retained *r, struct slice topic, bool may_expire,
                           struct entry **ret)
{
    struct trie_node *node = NULL;
    TRY(trie_add(&r->tree, topic, &node));
    struct entry *e = node->value;
    enum err err = OK;
    if (e == NULL) {
        err = entry_make(r, node, may_expire, &e);
    } else if (may_expire && !e->may_expire) {
        err = entry_grow(r, e, &e);
    }
    if (err != OK) {
        trie_prune(&r->tree, node);
        return err;
    }
    node->value = e;
    *ret = e;
    return OK;
}

static bool may_expire(const struct msg *m)
{
    return m->expires_at_ms != UINT64_MAX;
}

/* A place is an entry, which is a marker of number 0 when the topic had none. */
enum err retained_reserve(struct retained *r, const struct msg *m)
{
    struct entry *e = NULL;
    TRY(entry_need(r, m->topic, m->payload.n > 0 && may_expire(m), &e));
    if (e->is_marker && !list_is_linked(&e->in_markers)) {
        marker_link(r, e);
    }
    return OK;
}

void retained_release(struct retained *r, const struct msg *m)
{
    struct entry *e = entry_find(r, m->topic);
    if (e != NULL && e->is_marker && e->number == 0) {
        entry_forget(r, e);
    }
}

enum err retained_put(struct retained *r, const struct msg *m, struct retained_change *ret)
{
    assert(m->topic.n > 0);
    struct entry *e = entry_find(r, m->topic);
    if (e != NULL && e->number >= m->number && !PLANTED(PLANT_RETAINED_NUMBER_IGNORED)) {
        *ret = (struct retained_change){0};
        return OK;
    }
    struct retained_change change;
    change_from(e, &change);
    TRY(entry_need(r, m->topic, may_expire(m), &e));
    entry_hang(r, e, m);
    *ret = change;
    return OK;
}

enum err retained_clear(struct retained *r, struct slice topic, uint64_t number,
                        struct retained_change *ret)
{
    assert(topic.n > 0);
    struct entry *e = entry_find(r, topic);
    if (e != NULL && e->number >= number && !PLANTED(PLANT_RETAINED_NUMBER_IGNORED)) {
        *ret = (struct retained_change){0};
        return OK;
    }
    struct retained_change change;
    change_from(e, &change);
    if (e == NULL) {
        TRY(entry_need(r, topic, false, &e));
    } else if (e->is_marker) {
        marker_unlink(r, e);
    } else {
        entry_unhang(r, e);
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
    return !e->is_marker && e->msg->expires_at_ms > now_ms;
}

const struct msg *retained_find(struct retained *r, struct slice topic, uint64_t now_ms)
{
    const struct entry *e = entry_find(r, topic);
    return e != NULL && is_live(e, now_ms) ? e->msg : NULL;
}

/* A walk is in its filter at `at`: the level that the children of its node must match. Past the
 * last one that is n + 1. */
static struct slice level_at(const struct retained_cursor *c)
{
    struct slice rest = slice_from(c->filter, c->at);
    return slice_head(rest, slice_find(rest, '/'));
}

static void level_down(struct retained_cursor *c)
{
    c->at += level_at(c).n + 1;
}

static void level_up(struct retained_cursor *c)
{
    size_t start = c->at - 1; /* on the separator, or the end, behind the level above */
    while (start > 0 && c->filter.p[start - 1] != '/') {
        start--;
    }
    c->at = start;
}

/* SPEC: MQTT-4.7.2-1 */
static bool is_hidden(const struct trie_node *node)
{
    return node->parent != NULL && node->parent->parent == NULL && node->level_n > 0 &&
           trie_level(node).p[0] == '$';
}

static struct trie_node *skip_hidden(struct trie_node *node)
{
    while (node != NULL && is_hidden(node)) {
        node = node->next;
    }
    return node;
}

/* step_down - the first child that the level at hand may mean. */
static struct trie_node *step_down(const struct retained *r, const struct retained_cursor *c)
{
    struct slice level = level_at(c);
    if (slice_is(level, "+")) {
        return skip_hidden(c->node->first);
    }
    return trie_child(&r->tree, c->node, level, trie_level_hash(&r->tree, level));
}

/* step_aside - the next node in the walk when all below `node` is done; moves along in the filter.
 */
static struct trie_node *step_aside(struct trie_node *node, struct retained_cursor *c)
{
    while (node->parent != NULL) {
        level_up(c);
        if (slice_is(level_at(c), "+")) {
            struct trie_node *next = skip_hidden(node->next);
            if (next != NULL) {
                level_down(c);
                return next;
            }
        }
        node = node->parent;
    }
    return NULL;
}

static bool is_at_end_of_filter(const struct retained_cursor *c)
{
    return c->at > c->filter.n;
}

/* Everything below a node that "#" means, with the node itself. SPEC: MQTT5 4.7.1.2 */
static bool is_at_rest_of_filter(const struct retained_cursor *c)
{
    return c->top == NULL && !is_at_end_of_filter(c) && slice_is(level_at(c), "#");
}

static struct trie_node *next_below(struct retained_cursor *c)
{
    bool is_skipped = c->top->parent == NULL && is_hidden(c->node);
    struct trie_node *next = trie_after(c->top, c->node, !is_skipped);
    if (next == NULL) {
        next = step_aside(c->top, c);
        c->top = NULL;
    }
    return next;
}

/* cursor_step - to the next node of the walk; it is not pinned, and the last one is as it was. */
static void cursor_step(const struct retained *r, struct retained_cursor *c)
{
    struct trie_node *next = NULL;
    if (is_at_rest_of_filter(c)) {
        c->top = c->node;
    }
    if (c->top != NULL) {
        c->node = next_below(c);
        return;
    }
    if (!is_at_end_of_filter(c)) {
        next = step_down(r, c);
        if (next != NULL) {
            level_down(c);
        }
    }
    c->node = next != NULL ? next : step_aside(c->node, c);
}

/* The message of the node that the walk has reached, when it is one of the filter's. */
static const struct msg *cursor_msg(const struct retained_cursor *c, uint64_t now_ms)
{
    const struct entry *e = c->node->value;
    if (e == NULL || !is_live(e, now_ms) || e->arrival > c->arrival) {
        return NULL;
    }
    bool is_below = c->top != NULL || is_at_rest_of_filter(c);
    bool is_skipped = c->top != NULL && c->top->parent == NULL && is_hidden(c->node);
    return (is_below && !is_skipped) || (!is_below && is_at_end_of_filter(c)) ? e->msg : NULL;
}

void retained_match(struct retained *r, struct slice filter, uint64_t now_ms,
                    bool (*each)(void *ctx, const struct msg *m), void *ctx)
{
    struct retained_cursor c = {.filter = filter, .node = &r->tree.root, .arrival = r->n_arrivals};
    while (c.node != NULL) {
        const struct msg *m = cursor_msg(&c, now_ms);
        if (m != NULL && !each(ctx, m)) {
            return;
        }
        cursor_step(r, &c);
    }
}

void retained_cursor_init(struct retained *r, struct slice filter, struct retained_cursor *ret)
{
    *ret =
        (struct retained_cursor){.filter = filter, .node = &r->tree.root, .arrival = r->n_arrivals};
    trie_pin(ret->node);
}

void retained_cursor_done(struct retained *r, struct retained_cursor *c)
{
    if (c->node != NULL) {
        trie_unpin(&r->tree, c->node);
        c->node = NULL;
    }
}

void retained_cursor_next(struct retained *r, struct retained_cursor *c)
{
    struct trie_node *last = c->node;
    cursor_step(r, c);
    if (c->node != NULL) {
        trie_pin(c->node);
    }
    trie_unpin(&r->tree, last);
}

const struct msg *retained_cursor_find(struct retained *r, struct retained_cursor *c,
                                       uint64_t now_ms, size_t *steps)
{
    while (c->node != NULL) {
        const struct msg *m = cursor_msg(c, now_ms);
        if (m != NULL) {
            return m;
        }
        if (*steps == 0) {
            return NULL;
        }
        (*steps)--;
        retained_cursor_next(r, c);
    }
    return NULL;
}

static bool has_message(const struct trie_node *node)
{
    const struct entry *e = node->value;
    return e != NULL && !e->is_marker;
}

uint64_t retained_estimate(const struct retained *r, struct slice filter, size_t steps)
{
    /* The walk changes nothing: the root is only not const because a cursor may stop there. */
    struct retained_cursor c = {.filter = filter,
                                .node = (struct trie_node *)(uintptr_t)&r->tree.root};
    uint64_t n = 0, most = r->n_messages;
    bool is_fixed = true;
    while (c.node != NULL) {
        if (steps-- == 0) {
            return most;
        }
        if (is_at_rest_of_filter(&c)) {
            n += c.node->n_below - (c.node->parent == NULL ? r->n_hidden : 0);
            c.node = step_aside(c.node, &c);
            continue;
        }
        n += is_at_end_of_filter(&c) && has_message(c.node);
        is_fixed = is_fixed && !is_at_end_of_filter(&c) && !slice_is(level_at(&c), "+");
        cursor_step(r, &c);
        most = is_fixed && c.node != NULL ? c.node->n_below : most;
    }
    return n;
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
        struct entry *e = &CONTAINER_OF(t, struct expiring, expiry)->entry;
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

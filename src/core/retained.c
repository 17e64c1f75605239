#include "core/retained_private.h"

#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"

enum err retained_new(const struct siphash_key *key, struct retained **ret)
{
    struct retained *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    slab_init(&r->slab);
    trie_init(&r->tree, key, &r->slab);
    map_init(&r->origins, key, retained_origin_key);
    wheel_init(&r->expiries, 0);
    list_init(&r->markers);
    *ret = r;
    return OK;
}

/* ---- the index ---- */

static void ready_drop(struct retained *r)
{
    if (r->ready != NULL) {
        struct trie_node *node = r->ready->node;
        retained_entry_free(r, r->ready);
        r->ready = NULL;
        trie_unpin(&r->tree, node);
    }
}

struct retained *retained_free(struct retained *r)
{
    if (r == NULL) {
        return NULL;
    }
    ready_drop(r);
    for (struct trie_node *node = &r->tree.root; node != NULL;
         node = trie_after(&r->tree, &r->tree.root, node, true)) {
        if (node->value != NULL) {
            retained_entry_free(r, node->value);
        }
    }
    msg_unref(r->shown);
    mem_free(r->path);
    map_done(&r->origins);
    trie_done(&r->tree);
    slab_done(&r->slab);
    return mem_free(r);
}

static struct entry *entry_find(const struct retained *r, struct slice topic)
{
    const struct trie_node *node = trie_find(&r->tree, topic);
    return node != NULL ? node->value : NULL;
}

static bool is_of_server(const struct retained *r, const struct trie_node *node)
{
    while (!trie_is_top(&r->tree, node)) {
        node = trie_parent(&r->tree, node);
    }
    return slice_is(slice_head(trie_level(node), 1), "$");
}

/* entry_leave - its message leaves the counts. */
static void entry_leave(struct retained *r, struct entry *e)
{
    trie_count(&r->tree, e->node, -1);
    r->n_hidden -= is_of_server(r, e->node);
    if (e->may_expire) {
        wheel_cancel(&r->expiries, retained_entry_expiry(e));
    }
    r->n_messages--;
    r->bytes -= retained_entry_cost(r, e);
}

/* entry_unhang - it is neither message nor linked marker any more. */
static void entry_unhang(struct retained *r, struct entry *e)
{
    entry_leave(r, e);
    retained_entry_empty(r, e);
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
    retained_entry_free(r, e);
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

static void change_from(const struct retained *r, const struct entry *e, struct retained_change *c)
{
    *c = (struct retained_change){.is_applied = true};
    if (e != NULL && !e->is_marker) {
        c->old_publisher = retained_entry_publisher(e);
        c->old_bytes = retained_entry_cost(r, e);
    }
}

/* entry_hang - e, made for m, takes the place of what its topic had. */
static void entry_hang(struct retained *r, struct entry *e, uint64_t expires_at_ms)
{
    struct entry *old = e->node->value;
    if (old != NULL && old->is_marker) {
        marker_unlink(r, old);
    } else if (old != NULL) {
        entry_leave(r, old);
    }
    if (old != NULL) {
        retained_entry_free(r, old);
    }
    e->node->value = e;
    e->arrival = ++r->n_arrivals;
    trie_count(&r->tree, e->node, 1);
    r->n_hidden += is_of_server(r, e->node);
    if (e->may_expire) {
        wheel_arm(&r->expiries, retained_entry_expiry(e), expires_at_ms);
    }
    r->n_messages++;
    r->bytes += retained_entry_cost(r, e);
}

/* entry_need - an entry for the message m, or for a clear, beside what the topic has; its node is
 * pinned. It is the one that is ready, if there is one. */
static enum err entry_need(struct retained *r, struct slice topic, const struct msg *m,
                           struct entry **ret)
{
    struct trie_node *node = NULL;
    if (r->ready != NULL && r->ready->node == trie_find(&r->tree, topic) &&
        (m != NULL ? r->ready->number == m->number : r->ready->is_marker)) {
        *ret = TAKE(r->ready);
        return OK;
    }
    TRY(trie_add(&r->tree, topic, &node));
    enum err err = retained_entry_make(r, node, m, ret);
    if (err != OK) {
        trie_prune(&r->tree, node);
        return err;
    }
    trie_pin(node);
    return OK;
}

enum err retained_reserve(struct retained *r, const struct msg *m)
{
    struct entry *e = NULL;
    ready_drop(r);
    TRY(entry_need(r, m->topic, m->payload.n > 0 ? m : NULL, &e));
    r->ready = e;
    return OK;
}

void retained_release(struct retained *r, const struct msg *m)
{
    (void)m;
    ready_drop(r);
}

enum err retained_put(struct retained *r, const struct msg *m, struct retained_change *ret)
{
    assert(m->topic.n > 0);
    struct entry *e = entry_find(r, m->topic);
    if (e != NULL && e->number >= m->number && !PLANTED(PLANT_RETAINED_NUMBER_IGNORED)) {
        *ret = (struct retained_change){0};
        ready_drop(r);
        return OK;
    }
    struct retained_change change;
    change_from(r, e, &change);
    TRY(entry_need(r, m->topic, m, &e));
    entry_hang(r, e, m->expires_at_ms);
    trie_unpin(&r->tree, e->node);
    ready_drop(r);
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
        ready_drop(r);
        return OK;
    }
    struct retained_change change;
    change_from(r, e, &change);
    if (e == NULL) {
        TRY(entry_need(r, topic, NULL, &e));
        e->node->value = e;
        trie_unpin(&r->tree, e->node);
    } else if (e->is_marker) {
        marker_unlink(r, e);
    } else {
        entry_unhang(r, e);
    }
    entry_mark(r, e, number);
    ready_drop(r);
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

static bool is_live(struct entry *e, uint64_t now_ms)
{
    return !e->is_marker && retained_entry_expires_at(e) > now_ms;
}

const struct msg *retained_find(struct retained *r, struct slice topic, uint64_t now_ms)
{
    struct entry *e = entry_find(r, topic);
    return e != NULL && is_live(e, now_ms) ? retained_entry_show(r, e) : NULL;
}

bool retained_publisher(const struct retained *r, struct slice topic, uint64_t now_ms,
                        uint64_t *ret)
{
    struct entry *e = entry_find(r, topic);
    if (e == NULL || !is_live(e, now_ms)) {
        return false;
    }
    *ret = retained_entry_publisher(e);
    return true;
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
static bool is_hidden(const struct retained *r, const struct trie_node *node)
{
    return trie_is_top(&r->tree, node) && slice_is(slice_head(trie_level(node), 1), "$");
}

static struct trie_node *skip_hidden(const struct retained *r, struct trie_node *node)
{
    while (node != NULL && is_hidden(r, node)) {
        node = trie_next(&r->tree, node);
    }
    return node;
}

/* step_down - the first child that the level at hand may mean. */
static struct trie_node *step_down(const struct retained *r, const struct retained_cursor *c)
{
    struct slice level = level_at(c);
    if (slice_is(level, "+")) {
        return skip_hidden(r, trie_first(&r->tree, c->node));
    }
    return trie_child(&r->tree, c->node, level, trie_level_hash(&r->tree, level));
}

/* step_aside - the next node in the walk when all below `node` is done; moves along in the filter.
 */
static struct trie_node *step_aside(const struct retained *r, struct trie_node *node,
                                    struct retained_cursor *c)
{
    while (node != &r->tree.root) {
        level_up(c);
        if (slice_is(level_at(c), "+")) {
            struct trie_node *next = skip_hidden(r, trie_next(&r->tree, node));
            if (next != NULL) {
                level_down(c);
                return next;
            }
        }
        node = trie_parent(&r->tree, node);
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

static struct trie_node *next_below(const struct retained *r, struct retained_cursor *c)
{
    bool is_skipped = c->top == &r->tree.root && is_hidden(r, c->node);
    struct trie_node *next = trie_after(&r->tree, c->top, c->node, !is_skipped);
    if (next == NULL) {
        next = step_aside(r, c->top, c);
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
        c->node = next_below(r, c);
        return;
    }
    if (!is_at_end_of_filter(c)) {
        next = step_down(r, c);
        if (next != NULL) {
            level_down(c);
        }
    }
    c->node = next != NULL ? next : step_aside(r, c->node, c);
}

/* The entry of the node that the walk has reached, when its message is one of the filter's. */
static struct entry *cursor_entry(const struct retained *r, const struct retained_cursor *c,
                                  uint64_t now_ms)
{
    struct entry *e = c->node->value;
    if (e == NULL || !is_live(e, now_ms) || e->arrival > c->arrival) {
        return NULL;
    }
    bool is_below = c->top != NULL || is_at_rest_of_filter(c);
    bool is_skipped = c->top == &r->tree.root && is_hidden(r, c->node);
    return (is_below && !is_skipped) || (!is_below && is_at_end_of_filter(c)) ? e : NULL;
}

/* Whoever is called may look for another message meanwhile. */
static bool show_each(const struct msg *m, bool (*each)(void *ctx, const struct msg *m), void *ctx)
{
    msg_ref(m);
    bool goes_on = each(ctx, m);
    msg_unref(m);
    return goes_on;
}

void retained_match(struct retained *r, struct slice filter, uint64_t now_ms,
                    bool (*each)(void *ctx, const struct msg *m), void *ctx)
{
    struct retained_cursor c = {.filter = filter, .node = &r->tree.root, .arrival = r->n_arrivals};
    while (c.node != NULL) {
        struct entry *e = cursor_entry(r, &c, now_ms);
        const struct msg *m = e != NULL ? retained_entry_show(r, e) : NULL;
        if (m != NULL && !show_each(m, each, ctx)) {
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
        struct entry *e = cursor_entry(r, c, now_ms);
        if (e != NULL) {
            return retained_entry_show(r, e);
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
            n += c.node->n_below - (c.node == &r->tree.root ? r->n_hidden : 0);
            c.node = step_aside(r, c.node, &c);
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
        uint64_t publisher = retained_entry_publisher(e), bytes = retained_entry_cost(r, e);
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

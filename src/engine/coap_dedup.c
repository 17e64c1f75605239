#include "engine/coap_dedup.h"

#include <assert.h>

#include "base/mem.h"

enum { FIRST_ENTRIES = 4 };

struct kept {
    struct list_node node;
    uint16_t mid;
    size_t n;
    uint8_t bytes[];
};

static uint32_t tick_of(uint64_t now_ms)
{
    return (uint32_t)(now_ms / COAP_DEDUP_TICK_MS);
}

static void drop_kept(struct coap_dedup *d, struct kept *k)
{
    assert(k != NULL); /* a KEPT entry has its bytes, and kept_bytes > 0 means there are some */
    d->kept_bytes -= k->n;
    list_unlink(&k->node);
    (void)mem_free(k);
}

static struct kept *find_kept(const struct coap_dedup *d, uint16_t mid)
{
    list_for_each (node, &d->kept) {
        struct kept *k = LIST_ENTRY(node, struct kept, node);
        if (k->mid == mid) {
            return k;
        }
    }
    return NULL;
}

void coap_dedup_init(struct coap_dedup *d)
{
    *d = (struct coap_dedup){0};
    list_init(&d->kept);
}

void coap_dedup_done(struct coap_dedup *d)
{
    list_for_each_safe (node, next, &d->kept) {
        drop_kept(d, LIST_ENTRY(node, struct kept, node));
    }
    d->seen = mem_free(d->seen);
    d->n = d->cap = 0;
}

struct coap_seen *coap_dedup_find(struct coap_dedup *d, uint16_t mid, uint64_t now_ms)
{
    uint32_t now = tick_of(now_ms);
    for (size_t i = d->n; i > 0; i--) {
        struct coap_seen *s = &d->seen[i - 1];
        if (s->mid == mid && s->until > now) {
            return s;
        }
    }
    return NULL;
}

void coap_dedup_sweep(struct coap_dedup *d, uint64_t now_ms)
{
    uint32_t now = tick_of(now_ms);
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (d->seen[i].until > now) {
            d->seen[n++] = d->seen[i];
        } else if (d->seen[i].state == COAP_SEEN_KEPT) {
            drop_kept(d, find_kept(d, d->seen[i].mid));
        }
    }
    d->n = n;
    if (n == 0) {
        d->seen = mem_free(d->seen);
        d->cap = 0;
    }
}

static enum err make_room(struct coap_dedup *d, const struct coap_limits *limits, uint64_t now_ms)
{
    if (d->n < d->cap) {
        return OK;
    }
    coap_dedup_sweep(d, now_ms);
    /* A sweep that freed little is not repeated for every message: the table grows first. */
    if (d->n * 2 <= d->cap && d->n < d->cap) {
        return OK;
    }
    size_t cap = d->cap > 0 ? d->cap * 2 : FIRST_ENTRIES;
    if (cap > limits->dedup_entries) {
        cap = limits->dedup_entries;
    }
    if (cap <= d->cap) {
        return d->n < d->cap ? OK : ERR_LIMIT;
    }
    struct coap_seen *seen = mem_grow(d->seen, cap * sizeof(*seen));
    if (seen == NULL) {
        return d->n < d->cap ? OK : ERR_NOMEM;
    }
    d->seen = seen;
    d->cap = cap;
    return OK;
}

/* An id comes back after its lifetime: the old entry must not answer for the new one. */
static void forget_expired(struct coap_dedup *d, uint16_t mid, uint64_t now_ms)
{
    for (size_t i = 0; i < d->n; i++) {
        if (d->seen[i].mid == mid) {
            coap_dedup_sweep(d, now_ms);
            return;
        }
    }
}

enum err coap_dedup_add(struct coap_dedup *d, const struct coap_limits *limits, uint16_t mid,
                        enum coap_seen_state state, uint32_t lifetime_ms, uint64_t now_ms)
{
    forget_expired(d, mid, now_ms);
    TRY(make_room(d, limits, now_ms));
    uint32_t until = tick_of(now_ms + lifetime_ms) + 1;
    d->seen[d->n++] = (struct coap_seen){.until = until, .mid = mid, .state = (uint8_t)state};
    if (d->n == 1 || until > d->last_until) {
        d->last_until = until;
    }
    return OK;
}

/* The oldest answers go first; their message ids stay. */
static void evict(struct coap_dedup *d)
{
    struct list_node *oldest = list_first(&d->kept);
    assert(oldest != NULL);
    struct kept *k = LIST_ENTRY(oldest, struct kept, node);
    for (size_t i = 0; i < d->n; i++) {
        if (d->seen[i].mid == k->mid && d->seen[i].state == COAP_SEEN_KEPT) {
            d->seen[i].state = COAP_SEEN_LOST;
        }
    }
    drop_kept(d, k);
}

size_t coap_dedup_shed(struct coap_dedup *d)
{
    size_t n = 0;
    for (; !list_is_empty(&d->kept); n++) {
        evict(d);
    }
    return n;
}

size_t coap_dedup_bytes(const struct coap_dedup *d)
{
    return d->cap * sizeof(*d->seen) + d->kept_bytes;
}

void coap_dedup_keep(struct coap_dedup *d, const struct coap_limits *limits, struct coap_seen *seen,
                     struct slice answer)
{
    seen->state = COAP_SEEN_LOST;
    if (answer.n > limits->dedup_bytes) {
        return;
    }
    struct kept *k = mem_alloc(sizeof(*k) + answer.n);
    if (k == NULL) {
        return;
    }
    while (d->kept_bytes + answer.n > limits->dedup_bytes) {
        evict(d);
    }
    struct wr w = wr_into(k->bytes, answer.n);
    wr_bytes(&w, answer);
    k->node = (struct list_node){0};
    k->mid = seen->mid;
    k->n = answer.n;
    d->kept_bytes += answer.n;
    list_append(&d->kept, &k->node);
    seen->state = COAP_SEEN_KEPT;
}

struct slice coap_dedup_kept(const struct coap_dedup *d, uint16_t mid)
{
    const struct kept *k = find_kept(d, mid);
    return k != NULL ? slice_of(k->bytes, k->n) : (struct slice){0};
}

uint64_t coap_dedup_deadline(const struct coap_dedup *d)
{
    return d->n > 0 ? (uint64_t)d->last_until * COAP_DEDUP_TICK_MS : UINT64_MAX;
}

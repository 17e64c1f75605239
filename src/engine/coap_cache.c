#include "engine/coap_cache.h"

#include "base/mem.h"
#include "base/wr.h"
#include "wire/coap/option.h"

enum { OWNER_BYTES = 8 };

static struct slice key_of(const void *value)
{
    const struct coap_cached *e = value;
    return e->key;
}

void coap_cache_init(struct coap_cache *c, const struct coap_cache_limits *limits,
                     const struct siphash_key *key)
{
    *c = (struct coap_cache){.limits = *limits};
    map_init(&c->by_key, key, key_of);
    list_init(&c->oldest_first);
}

static void remove_entry(struct coap_cache *c, struct coap_cached *e)
{
    (void)map_remove(&c->by_key, e->key);
    list_unlink(&e->node);
    c->bytes -= e->bytes;
    (void)mem_free(e);
}

size_t coap_cache_shed(struct coap_cache *c)
{
    size_t n = c->by_key.n;
    struct list_node *node;
    while ((node = list_first(&c->oldest_first)) != NULL) {
        remove_entry(c, LIST_ENTRY(node, struct coap_cached, node));
    }
    return n;
}

void coap_cache_done(struct coap_cache *c)
{
    (void)coap_cache_shed(c);
    map_done(&c->by_key);
}

/* The owner stands in front of what names the answer, so that two owners never meet. */
static struct coap_cached *make(uint64_t owner, struct slice key, struct slice options,
                                struct slice payload)
{
    size_t n = OWNER_BYTES + key.n + options.n + payload.n;
    struct coap_cached *e = mem_zalloc(sizeof(*e) + n);
    if (e == NULL) {
        return NULL;
    }
    struct wr w = wr_into(e->held, n);
    wr_u64(&w, owner);
    wr_bytes(&w, key);
    wr_bytes(&w, options);
    wr_bytes(&w, payload);
    struct slice all = wr_slice(&w);
    e->owner = owner;
    e->bytes = sizeof(*e) + n;
    e->key = slice_head(all, OWNER_BYTES + key.n);
    e->options = slice_head(slice_from(all, e->key.n), options.n);
    e->payload = slice_from(all, e->key.n + options.n);
    if (!coap_options_find(e->options, COAP_OPTION_ETAG, &e->etag)) {
        e->etag = (struct slice){0};
    }
    return e;
}

struct coap_cached *coap_cache_find(struct coap_cache *c, uint64_t owner, struct slice key)
{
    struct coap_cached *asked = make(owner, key, (struct slice){0}, (struct slice){0});
    struct coap_cached *e = asked != NULL ? map_find(&c->by_key, asked->key) : NULL;
    (void)mem_free(asked);
    if (e != NULL) {
        list_unlink(&e->node);
        list_append(&c->oldest_first, &e->node);
    }
    return e;
}

void coap_cache_drop(struct coap_cache *c, uint64_t owner, struct slice key)
{
    struct coap_cached *e = coap_cache_find(c, owner, key);
    if (e != NULL) {
        remove_entry(c, e);
    }
}

void coap_cache_changed(struct coap_cache *c, uint64_t resource)
{
    list_for_each_safe (node, next, &c->oldest_first) {
        struct coap_cached *e = LIST_ENTRY(node, struct coap_cached, node);
        if (e->resource == resource) {
            remove_entry(c, e);
        }
    }
}

/* Room for one more of this owner: its own oldest ones go before anybody else's. */
static void make_room(struct coap_cache *c, uint64_t owner, size_t bytes)
{
    uint64_t held = 0;
    uint32_t n = 0;
    list_for_each (node, &c->oldest_first) {
        const struct coap_cached *e = LIST_ENTRY(node, struct coap_cached, node);
        held += e->owner == owner ? e->bytes : 0;
        n += e->owner == owner ? 1 : 0;
    }
    list_for_each_safe (node, next, &c->oldest_first) {
        struct coap_cached *e = LIST_ENTRY(node, struct coap_cached, node);
        bool is_over = held + bytes > c->limits.owner_bytes || n >= c->limits.owner_entries;
        if (is_over && e->owner == owner) {
            held -= e->bytes;
            n--;
            remove_entry(c, e);
        }
    }
    struct list_node *first;
    while ((first = list_first(&c->oldest_first)) != NULL &&
           (c->bytes + bytes > c->limits.bytes || c->by_key.n >= c->limits.entries)) {
        remove_entry(c, LIST_ENTRY(first, struct coap_cached, node));
    }
}

void coap_cache_put(struct coap_cache *c, uint64_t owner, struct slice key, uint64_t resource,
                    struct slice options, struct slice payload, uint64_t fresh_until_ms)
{
    struct coap_cached *e = make(owner, key, options, payload);
    if (e == NULL) {
        coap_cache_drop(c, owner, key);
        return;
    }
    struct coap_cached *before = map_find(&c->by_key, e->key);
    if (before != NULL) {
        remove_entry(c, before);
    }
    if (e->bytes > c->limits.owner_bytes || e->bytes > c->limits.bytes) {
        (void)mem_free(e);
        return;
    }
    make_room(c, owner, e->bytes);
    e->resource = resource;
    e->fresh_until_ms = fresh_until_ms;
    if (map_add(&c->by_key, e) != OK) {
        (void)mem_free(e);
        return;
    }
    list_append(&c->oldest_first, &e->node);
    c->bytes += e->bytes;
}

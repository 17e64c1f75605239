#include "engine/coap_block_body.h"

#include <assert.h>

#include "base/mem.h"

enum { NAME_BYTES_MAX = 2048 };

/* Who has begun how much. */
struct owner {
    uint64_t id;
    uint64_t bytes;
    uint32_t n;
};

struct body {
    struct list_node node;
    struct owner *owner;
    uint64_t endpoint;
    uint64_t touched_ms;
    struct buf bytes;
    size_t name_n;
    uint8_t name[];
};

static struct slice body_key(const void *value)
{
    const struct body *b = value;
    return slice_of(b->name, b->name_n);
}

static struct slice owner_key(const void *value)
{
    const struct owner *o = value;
    return slice_of(&o->id, sizeof(o->id));
}

struct coap_block_limits coap_block_limits_default(void)
{
    return (struct coap_block_limits){.body_bytes = 264 * 1024,
                                      .idle_ms = 120000,
                                      .owner_bytes = 512 * 1024,
                                      .all_bytes = 16 * 1024 * 1024,
                                      .owner_bodies = 4,
                                      .all_bodies = 1024,
                                      .szx = COAP_BLOCK_SZX_MAX};
}

void coap_bodies_init(struct coap_bodies *b, const struct coap_block_limits *limits,
                      const struct siphash_key *key)
{
    assert(limits->szx <= COAP_BLOCK_SZX_MAX);
    *b = (struct coap_bodies){.limits = *limits};
    map_init(&b->by_key, key, body_key);
    map_init(&b->owners, key, owner_key);
    list_init(&b->oldest_first);
}

/* ---- one body ---- */

static uint64_t cost_of(const struct body *body)
{
    return sizeof(*body) + body->name_n + body->bytes.n;
}

static void drop(struct coap_bodies *b, struct body *body)
{
    struct owner *o = body->owner;
    uint64_t cost = cost_of(body);
    (void)map_remove(&b->by_key, body_key(body));
    list_unlink(&body->node);
    b->bytes -= cost;
    o->bytes -= cost;
    if (--o->n == 0) {
        (void)map_remove(&b->owners, owner_key(o));
        (void)mem_free(o);
    }
    buf_done(&body->bytes);
    (void)mem_free(body);
}

void coap_bodies_done(struct coap_bodies *b)
{
    list_for_each_safe (node, next, &b->oldest_first) {
        drop(b, LIST_ENTRY(node, struct body, node));
    }
    map_done(&b->by_key);
    map_done(&b->owners);
}

/* Which options make one request the same operation as another: all but those that say which block
 * this is, and those that no cache looks at. Request-Tag is among them. SPEC: RFC9175 3.1 */
static bool names_the_operation(uint16_t number)
{
    bool is_block = number == COAP_OPTION_BLOCK1 || number == COAP_OPTION_BLOCK2 ||
                    number == COAP_OPTION_SIZE1 || number == COAP_OPTION_SIZE2;
    return !is_block && !coap_option_is_no_cache_key(number);
}

static enum err name_of(const struct coap_block_part *part, uint8_t dst[NAME_BYTES_MAX],
                        struct slice *ret)
{
    uint8_t named[NAME_BYTES_MAX];
    struct wr w = wr_into(dst, NAME_BYTES_MAX);
    struct coap_option_writer o = coap_option_writer_into(named, sizeof(named));
    struct coap_options it = coap_options_from(part->options);
    struct coap_option option;
    struct slice options;
    while (coap_options_next(&it, &option)) {
        if (names_the_operation(option.number)) {
            coap_option_add(&o, option.number, option.value);
        }
    }
    TRY(coap_options_finish(&it));
    TRY(coap_option_writer_done(&o, &options));
    wr_u64(&w, part->owner);
    wr_u64(&w, part->endpoint);
    wr_u8(&w, part->method);
    wr_bytes(&w, options);
    *ret = wr_slice(&w);
    return wr_ok(&w) ? OK : ERR_TOO_LARGE;
}

/* ---- budgets ---- */

static struct owner *owner_of(const struct coap_bodies *b, uint64_t id)
{
    return map_find(&b->owners, slice_of(&id, sizeof(id)));
}

static struct owner *largest_owner(const struct coap_bodies *b)
{
    struct owner *o, *largest = NULL;
    size_t at = 0;
    while ((o = map_next(&b->owners, &at)) != NULL) {
        largest = largest == NULL || o->bytes > largest->bytes ? o : largest;
    }
    return largest;
}

static void drop_oldest_of(struct coap_bodies *b, const struct owner *o)
{
    list_for_each_safe (node, next, &b->oldest_first) {
        struct body *body = LIST_ENTRY(node, struct body, node);
        if (body->owner == o) {
            drop(b, body);
            b->n_shed++;
            return;
        }
    }
}

bool coap_bodies_shed(struct coap_bodies *b)
{
    struct owner *o = largest_owner(b);
    if (o != NULL) {
        drop_oldest_of(b, o);
    }
    return o != NULL;
}

/* Room for `more` bytes and n_more bodies of this principal, at the cost of whoever holds most. */
static enum err make_room(struct coap_bodies *b, uint64_t owner, uint64_t more, uint32_t n_more)
{
    const struct coap_block_limits *l = &b->limits;
    const struct owner *o = owner_of(b, owner);
    uint64_t mine = (o != NULL ? o->bytes : 0) + more;
    uint32_t n_mine = (o != NULL ? o->n : 0) + n_more;
    if (mine > l->owner_bytes || n_mine > l->owner_bodies) {
        return ERR_QUOTA;
    }
    while (b->bytes + more > l->all_bytes || b->by_key.n + n_more > l->all_bodies) {
        const struct owner *largest = largest_owner(b);
        if (largest == NULL || largest == o || largest->bytes <= mine) {
            return ERR_LIMIT;
        }
        drop_oldest_of(b, largest);
    }
    return OK;
}

/* ---- blocks ---- */

static enum err owner_make(struct coap_bodies *b, uint64_t id, struct owner **ret)
{
    struct owner *o = owner_of(b, id);
    if (o == NULL) {
        o = mem_zalloc(sizeof(*o));
        if (o == NULL) {
            return ERR_NOMEM;
        }
        o->id = id;
        enum err err = map_add(&b->owners, o);
        if (err != OK) {
            (void)mem_free(o);
            return err;
        }
    }
    *ret = o;
    return OK;
}

static enum err begin(struct coap_bodies *b, const struct coap_block_part *part, struct slice name,
                      uint64_t now_ms, struct body **ret)
{
    struct owner *o = NULL;
    uint64_t cost = sizeof(struct body) + name.n;
    TRY(make_room(b, part->owner, cost + part->payload.n, 1));
    struct body *body = mem_zalloc(sizeof(*body) + name.n);
    if (body == NULL) {
        return ERR_NOMEM;
    }
    body->endpoint = part->endpoint;
    body->touched_ms = now_ms;
    body->name_n = name.n;
    slice_copy(body->name, name);
    enum err err = map_add(&b->by_key, body);
    if (err == OK) {
        err = owner_make(b, part->owner, &o);
        if (err != OK) {
            (void)map_remove(&b->by_key, name);
        }
    }
    if (err != OK) {
        (void)mem_free(body);
        return err;
    }
    body->owner = o;
    o->n++;
    o->bytes += cost;
    b->bytes += cost;
    list_append(&b->oldest_first, &body->node);
    *ret = body;
    return OK;
}

static enum err append(struct coap_bodies *b, struct body *body, const struct coap_block_part *part,
                       uint64_t now_ms)
{
    TRY(make_room(b, part->owner, part->payload.n, 0));
    TRY(buf_append(&body->bytes, part->payload, b->limits.body_bytes));
    body->owner->bytes += part->payload.n;
    b->bytes += part->payload.n;
    body->touched_ms = now_ms;
    list_unlink(&body->node);
    list_append(&b->oldest_first, &body->node);
    return OK;
}

/* The block that was taken last, once more: a client that missed our answer. */
static bool is_latest_again(const struct body *body, const struct coap_block_part *part)
{
    uint64_t offset = coap_block_offset(part->block);
    struct slice have = buf_slice(&body->bytes);
    return part->block.has_more && offset + part->payload.n == have.n &&
           slice_equal(slice_from(have, (size_t)offset), part->payload);
}

/* Can this block be right at all? */
static enum err check_part(const struct coap_bodies *b, const struct coap_block_part *part)
{
    uint64_t most = part->body_max < b->limits.body_bytes ? part->body_max : b->limits.body_bytes;
    uint64_t end = coap_block_offset(part->block) + part->payload.n;
    uint32_t said = 0;
    size_t size = coap_block_bytes(part->block.szx);
    bool is_many = part->is_bert && part->payload.n > 0 && part->payload.n % size == 0;
    if (part->block.has_more && part->payload.n != size && !is_many) {
        return ERR_MALFORMED; /* SPEC: RFC7959 2.3, RFC8323 6 */
    }
    if (part->block.number == 0 &&
        coap_options_find_uint(part->options, COAP_OPTION_SIZE1, &said) && said > most) {
        return ERR_TOO_LARGE; /* SPEC: RFC7959 4: known at once, before it is carried here */
    }
    return end > most ? ERR_TOO_LARGE : OK; /* SPEC: RFC7959 2.9.3 */
}

static struct coap_block ack_of(const struct coap_bodies *b, struct coap_block got)
{
    /* The number stays that of what came, in its own size; the size is what we would rather have.
     * SPEC: RFC7959 2.3, 2.5 */
    uint8_t szx = got.szx < b->limits.szx ? got.szx : b->limits.szx;
    return (struct coap_block){.number = got.number, .szx = szx, .has_more = got.has_more};
}

static enum err take(struct coap_bodies *b, const struct coap_block_part *part, struct slice name,
                     uint64_t now_ms, struct coap_block_taken *ret)
{
    struct body *body = map_find(&b->by_key, name);
    uint64_t offset = coap_block_offset(part->block);
    TRY(check_part(b, part));
    if (offset == 0) {
        if (body != NULL) {
            drop(b, body); /* SPEC: RFC7959 2.5: begun anew */
        }
        if (!part->block.has_more) {
            *ret = (struct coap_block_taken){
                .is_whole = true, .ack = ack_of(b, part->block), .body = part->payload};
            return OK;
        }
        TRY(begin(b, part, name, now_ms, &body));
    } else if (body != NULL && is_latest_again(body, part)) {
        *ret = (struct coap_block_taken){.ack = ack_of(b, part->block)};
        return OK;
    } else if (body == NULL || offset != body->bytes.n) {
        return ERR_NOT_FOUND; /* SPEC: RFC7959 2.9.2 */
    }
    TRY(append(b, body, part, now_ms));
    *ret = (struct coap_block_taken){.ack = ack_of(b, part->block)};
    if (!part->block.has_more) {
        ret->is_whole = true;
        ret->kept = body->bytes;
        ret->body = buf_slice(&ret->kept);
        uint64_t n = body->bytes.n;
        body->bytes = (struct buf){0};
        body->owner->bytes -= n;
        b->bytes -= n;
        drop(b, body);
    }
    return OK;
}

enum err coap_bodies_take(struct coap_bodies *b, const struct coap_block_part *part,
                          uint64_t now_ms, struct coap_block_taken *ret)
{
    uint8_t bytes[NAME_BYTES_MAX];
    struct slice name;
    coap_bodies_expire(b, now_ms);
    TRY(name_of(part, bytes, &name));
    enum err err = take(b, part, name, now_ms, ret);
    struct body *body = err != OK ? map_find(&b->by_key, name) : NULL;
    if (body != NULL) {
        drop(b, body); /* a transfer that failed once cannot become right any more */
    }
    return err;
}

/* ---- ends ---- */

void coap_bodies_forget(struct coap_bodies *b, const struct coap_block_part *part)
{
    uint8_t bytes[NAME_BYTES_MAX];
    struct slice name;
    struct body *body = name_of(part, bytes, &name) == OK ? map_find(&b->by_key, name) : NULL;
    if (body != NULL) {
        drop(b, body);
    }
}

void coap_bodies_end(struct coap_bodies *b, uint64_t endpoint)
{
    list_for_each_safe (node, next, &b->oldest_first) {
        struct body *body = LIST_ENTRY(node, struct body, node);
        if (body->endpoint == endpoint) {
            drop(b, body);
        }
    }
}

static struct body *oldest(const struct coap_bodies *b)
{
    struct list_node *node = list_first(&b->oldest_first);
    return node != NULL ? LIST_ENTRY(node, struct body, node) : NULL;
}

void coap_bodies_expire(struct coap_bodies *b, uint64_t now_ms)
{
    struct body *body;
    while ((body = oldest(b)) != NULL && now_ms >= body->touched_ms + b->limits.idle_ms) {
        drop(b, body);
        b->n_expired++;
    }
}

uint64_t coap_bodies_deadline(const struct coap_bodies *b)
{
    const struct body *body = oldest(b);
    return body != NULL ? body->touched_ms + b->limits.idle_ms : UINT64_MAX;
}

size_t coap_bodies_count(const struct coap_bodies *b)
{
    return b->by_key.n;
}

/* What a topic holds in the index: how a message lies there, and how it comes out again. */
#include "base/mem.h"
#include "core/retained_private.h"

enum {
    ORIGIN_KEY_BYTES = offsetof(struct origin, n_refs),
    PACKED_BYTES = SLAB_MOST - sizeof(struct expiring)
};

struct slice retained_origin_key(const void *origin)
{
    return slice_of(origin, ORIGIN_KEY_BYTES);
}

/* ---- origins ---- */

static enum err origin_ref(struct retained *r, const struct msg *m, struct origin **ret)
{
    struct origin want = {
        .publisher = m->publisher, .session = m->session, .epoch = m->epoch, .segment = m->segment};
    struct slice key = retained_origin_key(&want);
    struct origin *o = r->last_origin;
    if (o == NULL || !slice_equal(retained_origin_key(o), key)) {
        o = map_find(&r->origins, key);
    }
    if (o == NULL) {
        o = slab_get(&r->slab, sizeof(*o));
        if (o == NULL) {
            return ERR_NOMEM;
        }
        *o = want;
        enum err err = map_add(&r->origins, o);
        if (err != OK) {
            slab_put(&r->slab, o, sizeof(*o));
            return err;
        }
    }
    o->n_refs++;
    r->last_origin = o;
    *ret = o;
    return OK;
}

static void origin_unref(struct retained *r, struct origin *o)
{
    if (--o->n_refs > 0) {
        return;
    }
    map_remove(&r->origins, retained_origin_key(o));
    map_fit(&r->origins);
    r->last_origin = r->last_origin == o ? NULL : r->last_origin;
    slab_put(&r->slab, o, sizeof(*o));
}

/* ---- entries ---- */

static size_t header_bytes(const struct entry *e)
{
    return e->may_expire ? sizeof(struct expiring) : sizeof(*e);
}

struct timer *retained_entry_expiry(struct entry *e)
{
    return &((struct expiring *)(void *)e)->expiry;
}

static uint8_t *packed_bytes(struct entry *e)
{
    return (uint8_t *)e + header_bytes(e);
}

void retained_entry_empty(struct retained *r, struct entry *e)
{
    if (e->is_packed) {
        origin_unref(r, e->origin);
    } else if (!e->is_marker) {
        msg_unref(e->msg);
    }
    e->is_packed = false;
    e->is_marker = true;
    e->in_markers = (struct list_node){0};
}

void retained_entry_free(struct retained *r, struct entry *e)
{
    retained_entry_empty(r, e);
    slab_put(&r->slab, e, header_bytes(e) + e->room);
}

uint64_t retained_entry_publisher(const struct entry *e)
{
    return e->is_packed ? e->origin->publisher : e->msg->publisher;
}

uint64_t retained_entry_cost(const struct retained *r, const struct entry *e)
{
    return e->is_packed
               ? sizeof(struct msg) + trie_path_n(&r->tree, e->node) + e->props_n + e->payload_n
               : msg_cost(e->msg);
}

uint64_t retained_entry_expires_at(struct entry *e)
{
    if (!e->is_packed) {
        return e->msg->expires_at_ms;
    }
    return e->may_expire ? retained_entry_expiry(e)->at_ms : UINT64_MAX;
}

static bool is_packable(const struct msg *m)
{
    return !msg_is_husk(m) && m->for_group == 0 && m->props.n + m->payload.n <= PACKED_BYTES;
}

static void pack(struct entry *e, const struct msg *m, struct origin *o)
{
    e->is_packed = true;
    e->origin = o;
    e->body_id = m->body_id;
    e->content_format = m->content_format;
    e->qos = m->qos;
    e->is_utf8 = m->is_utf8;
    e->retain = m->retain;
    e->props_n = (uint8_t)m->props.n;
    e->payload_n = (uint8_t)m->payload.n;
    slice_copy(packed_bytes(e), m->props);
    slice_copy(packed_bytes(e) + e->props_n, m->payload);
}

enum err retained_entry_make(struct retained *r, struct trie_node *node, const struct msg *m,
                             struct entry **ret)
{
    struct entry blank = {.node = node, .is_marker = true};
    if (m != NULL) {
        blank.may_expire = m->expires_at_ms != UINT64_MAX;
        blank.room = is_packable(m) ? (uint8_t)(m->props.n + m->payload.n) : 0;
    }
    struct entry *e = slab_get(&r->slab, header_bytes(&blank) + blank.room);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    *e = blank;
    if (e->may_expire) {
        *retained_entry_expiry(e) = (struct timer){0};
    }
    if (m != NULL && is_packable(m)) {
        struct origin *o = NULL;
        if (origin_ref(r, m, &o) != OK) {
            retained_entry_free(r, e);
            return ERR_NOMEM;
        }
        pack(e, m, o);
    } else if (m != NULL) {
        e->msg = msg_ref(m);
    }
    if (m != NULL) {
        e->is_marker = false;
        e->number = m->number;
    }
    *ret = e;
    return OK;
}

/* ---- a packed message, as a message ---- */

static enum err path_of(struct retained *r, const struct trie_node *node, struct slice *ret)
{
    size_t n = trie_path_n(&r->tree, node);
    if (n > r->path_cap) {
        uint8_t *more = mem_grow(r->path, n);
        if (more == NULL) {
            return ERR_NOMEM;
        }
        r->path = more;
        r->path_cap = n;
    }
    trie_path(&r->tree, node, n, r->path);
    *ret = slice_of(r->path, n);
    return OK;
}

static enum err unpack(struct retained *r, struct entry *e, const struct msg **ret)
{
    struct slice topic = {0};
    struct msg *m = NULL;
    const uint8_t *bytes = packed_bytes(e);
    TRY(path_of(r, e->node, &topic));
    TRY(msg_new(topic, slice_of(bytes, e->props_n), slice_of(bytes + e->props_n, e->payload_n),
                &m));
    m->qos = e->qos;
    m->retain = e->retain;
    m->is_utf8 = e->is_utf8;
    m->expires_at_ms = retained_entry_expires_at(e);
    m->publisher = e->origin->publisher;
    m->session = e->origin->session;
    m->epoch = e->origin->epoch;
    m->segment = e->origin->segment;
    m->number = e->number;
    m->body_id = e->body_id;
    m->content_format = e->content_format;
    *ret = m;
    return OK;
}

const struct msg *retained_entry_show(struct retained *r, struct entry *e)
{
    const struct msg *m = NULL;
    if (!e->is_packed) {
        return e->msg;
    }
    if (r->shown != NULL && r->shown_arrival == e->arrival) {
        return r->shown;
    }
    if (unpack(r, e, &m) != OK) {
        return NULL;
    }
    msg_unref(r->shown);
    r->shown = m;
    r->shown_arrival = e->arrival;
    return m;
}

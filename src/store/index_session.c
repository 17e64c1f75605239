/* Sessions, their waiting deliveries, and parts. */
#include "store/index_private.h"

#include "base/rd.h"

static bool is_placed(const struct item *i)
{
    return i->place.segment != 0;
}

/* ---- parts ---- */

uint64_t part_key(const struct index *x, enum journal_kind kind, uint64_t a, struct slice name)
{
    /* Names longer than the buffer are hashed twice; the kinds and owners keep namespaces apart. */
    uint8_t bytes[280];
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_u8(&w, (uint8_t)kind);
    wr_u64(&w, a);
    if (name.n <= wr_left(&w)) {
        wr_bytes(&w, name);
    } else {
        wr_u64(&w, siphash(&x->key, name));
        wr_u64(&w, name.n);
    }
    return siphash(&x->key, wr_slice(&w));
}

void part_die(struct index *x, struct part *p)
{
    item_set_alive(x, &p->item, false);
    list_unlink(&p->node);
    p->owner = NULL;
    if ((p->item.flags & ITEM_HELD) == 0) {
        slab_put(&x->slab, p, sizeof(*p));
    }
}

/* ---- sessions ---- */

struct owner *owner_find(const struct index *x, uint64_t id)
{
    return (struct owner *)(void *)table_find(&x->owners, id);
}

struct owner *owner_begin(struct index *x, uint64_t id)
{
    struct owner *o = owner_find(x, id);
    x->ids.session = id > x->ids.session ? id : x->ids.session;
    if (o != NULL || table_room(&x->owners) != OK) {
        return o;
    }
    o = object_get(x, sizeof(*o));
    if (o != NULL) {
        o->key = id;
        list_init(&o->parts);
        list_init(&o->pages);
        table_add(&x->owners, (struct keyed *)(void *)o);
    }
    return o;
}

enum err owner_need(struct index *x, uint64_t id, struct owner **ret)
{
    struct owner *o = x->is_complete ? owner_find(x, id) : owner_begin(x, id);
    *ret = o;
    return o != NULL || x->is_complete ? OK : ERR_NOMEM;
}

void owner_end(struct index *x, struct owner *o)
{
    while (!list_is_empty(&o->pages)) {
        struct page *p = LIST_ENTRY(list_first(&o->pages), struct page, node);
        size_t i = 0;
        while (p->slots[i].deliver == NULL) {
            i++;
        }
        slot_settle(x, p, &p->slots[i]);
    }
    while (!list_is_empty(&o->parts)) {
        struct part *p = LIST_ENTRY(list_first(&o->parts), struct part, node);
        table_remove(&x->parts, (struct keyed *)(void *)p);
        part_die(x, p);
    }
    if (o->record != NULL) {
        part_die(x, o->record);
    }
    table_remove(&x->owners, (struct keyed *)(void *)o);
    slab_put(&x->slab, o, sizeof(*o));
}

/* ---- waiting deliveries ---- */

static uint64_t page_key(const struct owner *o, uint64_t at)
{
    return o->key * 0xd6e8feb86659fd93U + at;
}

static struct page *page_find(const struct index *x, const struct owner *o, uint64_t at)
{
    uint64_t key = page_key(o, at);
    if (x->pages.n == 0) {
        return NULL;
    }
    for (size_t i = table_at(&x->pages, key);; i = table_behind(&x->pages, i)) {
        struct page *p = (struct page *)(void *)table_slot(&x->pages, i);
        if (p == NULL || (p->key == key && p->owner == o && p->at == at)) {
            return p;
        }
    }
}

struct slot *slot_find(const struct index *x, const struct owner *o, uint64_t seq,
                       struct page **ret_page)
{
    struct page *p = page_find(x, o, seq / PAGE_SEQS);
    if (p == NULL || p->slots[seq % PAGE_SEQS].deliver == NULL) {
        return NULL;
    }
    *ret_page = p;
    return &p->slots[seq % PAGE_SEQS];
}

static void page_free_unused(struct index *x, struct page *p)
{
    if (p->n_used == 0) {
        list_unlink(&p->node);
        table_remove(&x->pages, (struct keyed *)(void *)p);
        slab_put(&x->slab, p, sizeof(*p));
    }
}

const uint32_t *slot_ids(const struct index *x, const struct slot *s)
{
    return s->n_ids > 1 ? x->many[s->id].ids : &s->id;
}

static void slot_clear(struct index *x, struct slot *s)
{
    if (s->n_ids > 1) {
        mem_free(x->many[s->id].ids);
        x->many[s->id].next_free = x->many_free;
        x->many_free = (size_t)s->id + 1;
    }
    *s = (struct slot){0};
}

void slot_settle(struct index *x, struct page *p, struct slot *s)
{
    struct deliver *d = s->deliver;
    struct body *b = d->body;
    if ((s->flags & SLOT_RECEIVED) == 0) {
        b->n_open--;
    }
    slot_clear(x, s);
    p->n_used--;
    page_free_unused(x, p);
    d->n_open--;
    if (d->n_open == 0) {
        deliver_idle(x, d);
    }
    body_update(x, b);
}

/* ---- DELIVER ---- */

static enum err fill_slot(struct index *x, struct slot *s, const struct journal_delivery *e)
{
    uint32_t id = journal_delivery_id(e, 0);
    if (e->n_ids > 1) {
        if (x->many_free == 0 && x->n_many == x->many_cap) {
            size_t cap = x->many_cap > 0 ? 2 * x->many_cap : 64;
            union many *more = cap <= UINT32_MAX ? mem_grow(x->many, cap * sizeof(*more)) : NULL;
            if (more == NULL) {
                return ERR_NOMEM;
            }
            x->many = more;
            x->many_cap = cap;
        }
        uint32_t *ids = mem_array(e->n_ids, sizeof(*ids));
        if (ids == NULL) {
            return ERR_NOMEM;
        }
        for (uint16_t i = 0; i < e->n_ids; i++) {
            ids[i] = journal_delivery_id(e, i);
        }
        id = (uint32_t)(x->many_free > 0 ? x->many_free - 1 : x->n_many);
        if (x->many_free > 0) {
            x->many_free = x->many[id].next_free;
        } else {
            x->n_many++;
        }
        x->many[id].ids = ids;
    }
    *s = (struct slot){.id = id, .n_ids = e->n_ids};
    s->flags = (uint8_t)(e->qos | (e->retain ? SLOT_RETAIN : 0));
    return OK;
}

static enum err page_need(struct index *x, struct owner *o, uint64_t at, struct page **ret)
{
    struct page *p = page_find(x, o, at);
    if (p == NULL) {
        TRY(table_room(&x->pages));
        p = object_get(x, sizeof(*p));
        if (p == NULL) {
            return ERR_NOMEM;
        }
        p->owner = o;
        p->at = at;
        p->key = page_key(o, at);
        list_append(&o->pages, &p->node);
        table_add(&x->pages, (struct keyed *)(void *)p);
    }
    *ret = p;
    return OK;
}

/* A filled slot, still of no DELIVER, for each entry that may wait: what follows cannot fail. */
static enum err make_slots(struct index *x, struct slice entries)
{
    struct journal_delivery e;
    while (journal_delivery_next(&entries, &e) == OK) {
        struct owner *o = NULL;
        struct page *p;
        if (!e.is_done) {
            TRY(owner_need(x, e.session, &o));
        }
        if (o == NULL) {
            continue;
        }
        TRY(page_need(x, o, e.seq / PAGE_SEQS, &p));
        struct slot *s = &p->slots[e.seq % PAGE_SEQS];
        if (s->deliver == NULL && s->n_ids <= 1) {
            TRY(fill_slot(x, s, &e));
        }
    }
    return OK;
}

static void free_slots(struct index *x, struct slice entries)
{
    struct journal_delivery e;
    while (journal_delivery_next(&entries, &e) == OK) {
        struct owner *o = owner_find(x, e.session);
        struct page *p = o != NULL ? page_find(x, o, e.seq / PAGE_SEQS) : NULL;
        if (p != NULL) {
            struct slot *s = &p->slots[e.seq % PAGE_SEQS];
            if (s->deliver == NULL) {
                slot_clear(x, s);
            }
            page_free_unused(x, p);
        }
    }
}

/* The entry waits in d now; it may have waited in an older copy of this record. */
static void wait_in(struct index *x, struct deliver *d, const struct journal_delivery *e)
{
    struct owner *o = e->is_done ? NULL : owner_find(x, e->session);
    if (o == NULL) {
        return;
    }
    struct page *p = page_find(x, o, e->seq / PAGE_SEQS);
    struct slot *s = &p->slots[e->seq % PAGE_SEQS];
    struct deliver *old = s->deliver;
    if (old == d) {
        return;
    }
    if (old == NULL) {
        p->n_used++;
    } else {
        struct body *b = old->body;
        b->n_open -= (s->flags & SLOT_RECEIVED) == 0 ? 1 : 0;
        old->n_open--;
        if (b != d->body) { /* no worker gives a seq to two bodies */
            if (old->n_open == 0) {
                deliver_idle(x, old);
            }
            body_update(x, b);
        } else if (old->n_open == 0) {
            deliver_die(x, old); /* d has all of it */
        }
    }
    s->flags |= e->is_received ? SLOT_RECEIVED : 0;
    s->n_tries = e->n_tries > s->n_tries ? e->n_tries : s->n_tries;
    s->deliver = d;
    d->n_open++;
    d->body->n_open += (s->flags & SLOT_RECEIVED) == 0 ? 1 : 0;
    if (e->seq >= o->next_seq) {
        o->next_seq = e->seq < UINT64_MAX ? e->seq + 1 : e->seq;
    }
}

/* What is known by the end of a restart: who must not get a body again. */
static enum err had_room(struct index *x, size_t n)
{
    if (x->is_complete || x->n_had + n <= x->had_cap) {
        return OK;
    }
    size_t kept = 0;
    for (size_t i = 0; i < x->n_had; i++) {
        const struct body *b = body_find(x, x->had[i].body);
        if (b != NULL && ((b->item.flags & ITEM_KNOWN) == 0 || b->unanswered != 0)) {
            x->had[kept++] = x->had[i];
        }
    }
    x->n_had = kept;
    if (x->n_had + n <= x->had_cap / 2) {
        return OK;
    }
    size_t cap = 2 * (x->n_had + n) + 64;
    struct had *more = mem_grow(x->had, cap * sizeof(*more));
    if (more == NULL) {
        return ERR_NOMEM;
    }
    x->had = more;
    x->had_cap = cap;
    return OK;
}

static void remember_had(struct index *x, const struct body *b, struct slice entries)
{
    struct journal_delivery e;
    if (x->is_complete || ((b->item.flags & ITEM_KNOWN) != 0 && b->unanswered == 0)) {
        return;
    }
    while (journal_delivery_next(&entries, &e) == OK) {
        x->had[x->n_had++] = (struct had){.body = b->key, .session = e.session};
    }
}

/* The worker's bit; an answer to a body on disk is written in any case, or a restart would ask
 * again. */
static void answer(struct body *b, struct deliver *d, uint16_t worker)
{
    uint64_t bit = UINT64_C(1) << worker;
    if ((b->item.flags & ITEM_KNOWN) != 0 && (b->unanswered & bit) != 0) {
        b->unanswered &= ~bit;
        if (is_placed(&b->item) && !is_placed(&d->item)) {
            d->item.flags |= ITEM_FORCED;
        }
    }
}

static enum err prepare(struct index *x, const struct journal_deliver *record, size_t n,
                        struct body **ret_body, struct deliver **ret)
{
    TRY(had_room(x, n));
    TRY(make_slots(x, record->entries));
    struct deliver *d = object_get(x, sizeof(*d));
    if (d == NULL) {
        return ERR_NOMEM;
    }
    struct body *b = body_find(x, record->body_id);
    b = b != NULL ? b : body_make(x, record->body_id);
    if (b == NULL) {
        slab_put(&x->slab, d, sizeof(*d));
        return ERR_NOMEM;
    }
    *ret_body = b;
    *ret = d;
    return OK;
}

static enum err count_entries(struct slice entries, size_t *ret)
{
    struct journal_delivery e;
    enum err err = OK;
    size_t n = 0;
    while ((err = journal_delivery_next(&entries, &e)) == OK) {
        n++;
    }
    *ret = n;
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err deliver_apply(struct index *x, struct slice content, struct place place,
                       struct item **ret_item)
{
    struct journal_deliver record;
    struct journal_delivery e;
    struct body *b;
    struct deliver *d;
    size_t n;
    TRY(journal_deliver_read(content, &record));
    TRY(count_entries(record.entries, &n));
    enum err err = prepare(x, &record, n, &b, &d);
    if (err != OK) {
        free_slots(x, record.entries);
        return err;
    }
    d->item = (struct item){.place = place, .kind = JOURNAL_DELIVER, .flags = ITEM_HELD};
    d->body = b;
    b->n_delivers++;
    item_set_alive(x, &d->item, true);
    answer(b, d, record.worker);
    for (struct slice at = record.entries; journal_delivery_next(&at, &e) == OK;) {
        wait_in(x, d, &e);
    }
    remember_had(x, b, record.entries);
    x->ids.body = record.body_id > x->ids.body ? record.body_id : x->ids.body;
    if (d->n_open == 0) {
        deliver_idle(x, d);
    }
    body_update(x, b);
    *ret_item = place.segment == 0 ? &d->item : NULL;
    if (place.segment != 0) {
        index_let_go(x, &d->item);
    }
    return OK;
}

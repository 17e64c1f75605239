#include "store/index_private.h"

#include "base/rd.h"
#include "base/scope.h"

static bool is_placed(const struct item *i)
{
    return i->place.segment != 0;
}

static bool is_at(const struct item *i, struct place place)
{
    return (i->flags & ITEM_ALIVE) != 0 && i->place.segment == place.segment &&
           i->place.offset == place.offset;
}

enum err index_new(const struct siphash_key *key, struct index **ret)
{
    struct index *x = mem_zalloc(sizeof(*x));
    if (x == NULL) {
        return ERR_NOMEM;
    }
    x->key = *key;
    slab_init(&x->slab);
    x->slab.is_warm = true;
    struct table *tables[] = {&x->bodies, &x->topics, &x->owners, &x->parts, &x->pages};
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        tables[i]->slab = &x->slab;
    }
    *ret = x;
    return OK;
}

/* Arrays of subscription ids belong to slots. */
static void free_many(struct index *x)
{
    for (size_t i = 0; i < x->pages.n_slots; i++) {
        const struct page *p = (const struct page *)(void *)table_slot(&x->pages, i);
        for (size_t k = 0; p != NULL && k < PAGE_SEQS; k++) {
            if (p->slots[k].n_ids > 1) {
                mem_free(x->many[p->slots[k].id].ids);
            }
        }
    }
    mem_free(x->many);
}

struct index *index_free(struct index *x)
{
    if (x != NULL) {
        free_many(x);
        struct table *tables[] = {&x->bodies, &x->topics, &x->owners, &x->parts, &x->pages};
        for (size_t i = 0; i < COUNT_OF(tables); i++) {
            mem_free(tables[i]->slots);
        }
        slab_clear(&x->slab);
        mem_free(x->loads);
        mem_free(x->had);
        mem_free(x);
    }
    return NULL;
}

bool index_is_alive(const struct item *i)
{
    return (i->flags & (ITEM_ALIVE | ITEM_FORCED)) != 0;
}

struct store_ids index_ids(const struct index *x)
{
    return x->ids;
}

/* ---- parts ---- */

static struct item *ended_of(struct item *i)
{
    return is_placed(i) || (i->flags & (ITEM_COVERS | ITEM_HELD)) != ITEM_HELD ? NULL : i;
}

static struct part *part_find(const struct index *x, uint64_t key)
{
    return (struct part *)(void *)table_find(&x->parts, key);
}

static enum err part_make(struct index *x, enum journal_kind kind, struct place place,
                          struct part **ret)
{
    struct part *p = object_get(x, sizeof(*p));
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->item = (struct item){.place = place, .kind = (uint8_t)kind};
    p->item.flags = place.segment == 0 ? ITEM_HELD : 0;
    item_set_alive(x, &p->item, true);
    *ret = p;
    return OK;
}

/* An older record of its name is over; the newer one must remember when it is on disk. */
static void replace(struct index *x, struct part *old, struct part *p)
{
    if (is_placed(&old->item) || (old->item.flags & ITEM_COVERS) != 0) {
        p->item.flags |= ITEM_COVERS;
    }
    part_die(x, old);
}

static enum err part_put(struct index *x, enum journal_kind kind, uint64_t key, struct owner *o,
                         struct place place, struct part **ret)
{
    struct part *old = part_find(x, key), *p;
    TRY(table_room(&x->parts));
    TRY(part_make(x, kind, place, &p));
    p->key = key;
    p->owner = o;
    if (old != NULL) {
        table_remove(&x->parts, (struct keyed *)(void *)old);
        replace(x, old, p);
    }
    if (o != NULL) {
        list_append(&o->parts, &p->node);
    }
    table_add(&x->parts, (struct keyed *)(void *)p);
    *ret = p;
    return OK;
}

static void part_end(struct index *x, uint64_t key, struct item **ret_ended)
{
    struct part *p = part_find(x, key);
    if (p != NULL) {
        *ret_ended = ended_of(&p->item);
        table_remove(&x->parts, (struct keyed *)(void *)p);
        part_die(x, p);
    }
}

static uint64_t packet_key(const struct index *x, const struct journal_packet *p)
{
    uint8_t id[2] = {(uint8_t)(p->packet_id >> 8), (uint8_t)p->packet_id};
    return part_key(x, JOURNAL_INBOUND, p->session, slice_of(id, sizeof(id)));
}

static uint64_t entry_key(const struct index *x, const struct journal_entry *e)
{
    return part_key(x, JOURNAL_ENTRY, e->id, slice_of(&e->table, 1));
}

/* ---- applying ---- */

/* What a record did. */
struct effect {
    struct item *item, *ended;
};

static struct item *held(struct part *p)
{
    return (p->item.flags & ITEM_HELD) != 0 ? &p->item : NULL;
}

static enum err apply_settle(struct index *x, enum journal_kind kind, struct slice content,
                             struct effect *ret)
{
    struct journal_settle s;
    struct page *p;
    TRY(journal_settle_read(kind, content, &s));
    const struct owner *o = owner_find(x, s.session);
    struct slot *slot = o != NULL ? slot_find(x, o, s.seq, &p) : NULL;
    if (slot == NULL) {
        return OK;
    }
    ret->ended = ended_of(&slot->deliver->item);
    if (kind == JOURNAL_TRIED) {
        slot->n_tries = s.n_tries > slot->n_tries ? s.n_tries : slot->n_tries;
    } else if (kind != JOURNAL_RECEIVED) {
        slot_settle(x, p, slot);
    } else if ((slot->flags & SLOT_RECEIVED) == 0) {
        struct body *b = slot->deliver->body;
        slot->flags |= SLOT_RECEIVED;
        b->n_open--;
        body_update(x, b);
    }
    return OK;
}

static enum err apply_packet(struct index *x, enum journal_kind kind, struct slice content,
                             struct place place, struct effect *ret)
{
    struct journal_packet packet;
    struct owner *o;
    struct part *p;
    TRY(journal_packet_read(content, &packet));
    if (kind == JOURNAL_RELEASED) {
        part_end(x, packet_key(x, &packet), &ret->ended);
        return OK;
    }
    TRY(owner_need(x, packet.session, &o));
    if (o != NULL) {
        TRY(part_put(x, kind, packet_key(x, &packet), o, place, &p));
        p->item.number = packet.packet_id;
        ret->item = held(p);
    }
    return OK;
}

static enum err apply_session(struct index *x, struct slice content, struct place place,
                              struct effect *ret)
{
    struct journal_session s;
    struct part *p;
    TRY(journal_session_read(content, &s));
    TRY(part_make(x, JOURNAL_SESSION, place, &p));
    struct owner *o = owner_begin(x, s.id);
    if (o == NULL) {
        item_set_alive(x, &p->item, false);
        slab_put(&x->slab, p, sizeof(*p));
        return ERR_NOMEM;
    }
    if (o->record != NULL) {
        replace(x, o->record, p);
    }
    o->record = p;
    p->owner = o;
    o->next_seq = s.next_seq > o->next_seq ? s.next_seq : o->next_seq;
    ret->item = held(p);
    return OK;
}

static enum err apply_session_end(struct index *x, struct slice content, struct effect *ret)
{
    uint64_t id;
    TRY(journal_session_end_read(content, &id));
    struct owner *o = owner_find(x, id);
    if (o != NULL) {
        ret->ended = o->record != NULL ? ended_of(&o->record->item) : NULL;
        owner_end(x, o);
    }
    x->ids.session = id > x->ids.session ? id : x->ids.session;
    return OK;
}

static enum err apply_sub(struct index *x, enum journal_kind kind, struct slice content,
                          struct place place, struct effect *ret)
{
    struct journal_sub s;
    struct owner *o;
    struct part *p;
    TRY(journal_sub_read(kind, content, &s));
    uint64_t key = part_key(x, JOURNAL_SUB, s.session, s.filter);
    if (kind == JOURNAL_UNSUB) {
        part_end(x, key, &ret->ended);
        return OK;
    }
    TRY(owner_need(x, s.session, &o));
    if (o != NULL) {
        TRY(part_put(x, kind, key, o, place, &p));
        ret->item = held(p);
    }
    return OK;
}

static enum err apply_will(struct index *x, struct slice content, struct place place,
                           struct effect *ret)
{
    struct journal_will w;
    struct owner *o;
    struct part *p;
    TRY(journal_will_read(content, &w));
    uint64_t key = part_key(x, JOURNAL_WILL, w.session, (struct slice){0});
    if (w.m.topic.n == 0) {
        part_end(x, key, &ret->ended);
        return OK;
    }
    TRY(owner_need(x, w.session, &o));
    if (o != NULL) {
        TRY(part_put(x, JOURNAL_WILL, key, o, place, &p));
        ret->item = held(p);
    }
    return OK;
}

static enum err apply_set_aside(struct index *x, struct slice content, struct place place,
                                struct effect *ret)
{
    struct journal_set_aside s;
    struct part *p;
    TRY(journal_set_aside_read(content, &s));
    uint64_t key = part_key(x, JOURNAL_SET_ASIDE, s.id, (struct slice){0});
    TRY(part_put(x, JOURNAL_SET_ASIDE, key, NULL, place, &p));
    p->id = s.id;
    x->ids.set_aside = s.id > x->ids.set_aside ? s.id : x->ids.set_aside;
    ret->item = held(p);
    return OK;
}

static enum err apply_set_aside_end(struct index *x, struct slice content, struct effect *ret)
{
    uint64_t id;
    TRY(journal_set_aside_end_read(content, &id));
    part_end(x, part_key(x, JOURNAL_SET_ASIDE, id, (struct slice){0}), &ret->ended);
    x->ids.set_aside = id > x->ids.set_aside ? id : x->ids.set_aside;
    return OK;
}

static enum err apply_entry(struct index *x, enum journal_kind kind, struct slice content,
                            struct place place, struct effect *ret)
{
    struct journal_entry e;
    struct part *p;
    TRY(journal_entry_read(kind, content, &e));
    if (kind == JOURNAL_ENTRY_END) {
        part_end(x, entry_key(x, &e), &ret->ended);
        return OK;
    }
    TRY(part_put(x, kind, entry_key(x, &e), NULL, place, &p));
    p->id = e.id;
    p->item.number = e.table;
    ret->item = held(p);
    return OK;
}

static enum err apply(struct index *x, enum journal_kind kind, struct slice content,
                      struct place place, struct effect *ret)
{
    switch (kind) {
    case JOURNAL_BODY:
        return body_apply(x, content, place, &ret->item);
    case JOURNAL_DELIVER:
        return deliver_apply(x, content, place, &ret->item);
    case JOURNAL_ACK:
    case JOURNAL_DROP:
    case JOURNAL_RECEIVED:
    case JOURNAL_TRIED:
        return apply_settle(x, kind, content, ret);
    case JOURNAL_INBOUND:
    case JOURNAL_RELEASED:
        return apply_packet(x, kind, content, place, ret);
    case JOURNAL_SESSION:
        return apply_session(x, content, place, ret);
    case JOURNAL_SESSION_END:
        return apply_session_end(x, content, ret);
    case JOURNAL_SUB:
    case JOURNAL_UNSUB:
        return apply_sub(x, kind, content, place, ret);
    case JOURNAL_WILL:
        return apply_will(x, content, place, ret);
    case JOURNAL_SET_ASIDE:
        return apply_set_aside(x, content, place, ret);
    case JOURNAL_SET_ASIDE_END:
        return apply_set_aside_end(x, content, ret);
    case JOURNAL_ENTRY:
    case JOURNAL_ENTRY_END:
        return apply_entry(x, kind, content, place, ret);
    case JOURNAL_KIND_END:
        break;
    }
    return ERR_MALFORMED;
}

enum err index_apply(struct index *x, enum journal_kind kind, struct slice content,
                     struct place place, struct item **ret_item, struct item **ret_ended)
{
    struct effect effect = {0};
    TRY(load_reserve(x));
    load_begin(x, place.segment);
    TRY(apply(x, kind, content, place, &effect));
    *ret_item = effect.item;
    if (ret_ended != NULL) {
        *ret_ended = effect.ended;
    }
    return OK;
}

void index_expect(const struct index *x, enum journal_kind kind, struct slice content)
{
    if (kind == JOURNAL_BODY && x->bodies.n > 0) {
        struct rd r = rd_from(content);
        __builtin_prefetch(&x->bodies.slots[table_at(&x->bodies, rd_u64(&r))]); /* its id */
    }
}

/* ---- places ---- */

/* The hold is over; what is dead goes. */
static void release(struct index *x, struct item *i)
{
    bool is_dead = (i->flags & ITEM_ALIVE) == 0;
    i->flags &= (uint8_t) ~(ITEM_HELD | ITEM_FORCED);
    if (i->kind == JOURNAL_BODY) {
        body_update(x, CONTAINER_OF(i, struct body, item));
    } else if (is_dead && i->kind == JOURNAL_DELIVER) {
        slab_put(&x->slab, CONTAINER_OF(i, struct deliver, item), sizeof(struct deliver));
    } else if (is_dead) {
        slab_put(&x->slab, CONTAINER_OF(i, struct part, item), sizeof(struct part));
    }
}

void index_placed(struct index *x, struct item *i, struct place place)
{
    assert((i->flags & ITEM_HELD) != 0 && place.segment != 0);
    load_begin(x, place.segment);
    bool is_alive = (i->flags & ITEM_ALIVE) != 0;
    if (is_alive) {
        load_change(x, i->place, false);
    }
    i->place = place;
    if (is_alive) {
        load_change(x, i->place, true);
    }
    if (i->kind == JOURNAL_BODY) {
        body_placed(x, CONTAINER_OF(i, struct body, item));
    }
    release(x, i);
}

void index_let_go(struct index *x, struct item *i)
{
    assert((i->flags & ITEM_HELD) != 0);
    release(x, i);
}

void index_moved(struct index *x, struct item *i, struct place place)
{
    if (i->kind == JOURNAL_BODY && (i->flags & ITEM_ALIVE) != 0) {
        struct body *b = CONTAINER_OF(i, struct body, item);
        body_owes(b, b->unanswered);
    }
    index_placed(x, i, place);
}

/* ---- finding ---- */

static struct item *find_deliver(const struct index *x, struct slice content, struct place place)
{
    struct journal_deliver record;
    struct journal_delivery e;
    if (journal_deliver_read(content, &record) != OK) {
        return NULL;
    }
    while (journal_delivery_next(&record.entries, &e) == OK) {
        struct page *p;
        const struct owner *o = owner_find(x, e.session);
        const struct slot *s = o != NULL ? slot_find(x, o, e.seq, &p) : NULL;
        if (s != NULL && is_at(&s->deliver->item, place)) {
            return &s->deliver->item;
        }
    }
    struct body *b = body_find(x, record.body_id);
    struct deliver *d = b != NULL ? slab_at(&x->slab, b->lingering) : NULL;
    for (; d != NULL; d = slab_at(&x->slab, d->next)) {
        if (is_at(&d->item, place)) {
            return &d->item;
        }
    }
    return NULL;
}

static struct item *part_item(const struct index *x, uint64_t key)
{
    struct part *p = part_find(x, key);
    return p != NULL ? &p->item : NULL;
}

/* The newest item of the record's name. */
static struct item *find_named(const struct index *x, enum journal_kind kind, struct slice content)
{
    struct journal_body body;
    struct journal_packet packet;
    struct journal_session session;
    struct journal_sub sub;
    struct journal_will will;
    struct journal_set_aside aside;
    struct journal_entry entry;
    struct slice none = {0};
    if (kind == JOURNAL_BODY && journal_body_read(content, &body) == OK) {
        struct body *b = body_find(x, body.id);
        return b != NULL ? &b->item : NULL;
    }
    if (kind == JOURNAL_INBOUND && journal_packet_read(content, &packet) == OK) {
        return part_item(x, packet_key(x, &packet));
    }
    if (kind == JOURNAL_SESSION && journal_session_read(content, &session) == OK) {
        const struct owner *o = owner_find(x, session.id);
        return o != NULL && o->record != NULL ? &o->record->item : NULL;
    }
    if (kind == JOURNAL_SUB && journal_sub_read(kind, content, &sub) == OK) {
        return part_item(x, part_key(x, kind, sub.session, sub.filter));
    }
    if (kind == JOURNAL_WILL && journal_will_read(content, &will) == OK) {
        return part_item(x, part_key(x, kind, will.session, none));
    }
    if (kind == JOURNAL_SET_ASIDE && journal_set_aside_read(content, &aside) == OK) {
        return part_item(x, part_key(x, kind, aside.id, none));
    }
    if (kind == JOURNAL_ENTRY && journal_entry_read(kind, content, &entry) == OK) {
        return part_item(x, entry_key(x, &entry));
    }
    return NULL;
}

struct item *index_find(struct index *x, enum journal_kind kind, struct slice content,
                        struct place place)
{
    struct item *i =
        kind == JOURNAL_DELIVER ? find_deliver(x, content, place) : find_named(x, kind, content);
    if (i == NULL || !is_at(i, place)) {
        return NULL;
    }
    i->flags |= ITEM_HELD;
    return i;
}

/* ---- copies ---- */

static enum err rewrite_body(const struct index *x, const struct body *b, struct slice content,
                             struct wr *w)
{
    struct journal_body record;
    const struct topic *t = body_topic(x, b);
    TRY(journal_body_read(content, &record));
    record.owed = b->unanswered;
    if (t == NULL || t->winner != slab_name(b)) {
        record.m.number = 0; /* who won may be gone when this is read */
    }
    TRY(journal_body_head(&record, w));
    wr_bytes(w, record.m.topic);
    wr_bytes(w, record.m.props);
    wr_bytes(w, record.m.payload);
    return OK;
}

static enum err rewrite_deliver(const struct index *x, const struct deliver *d,
                                struct slice content, struct wr *w)
{
    struct journal_deliver record;
    struct journal_delivery e;
    TRY(journal_deliver_read(content, &record));
    TRY(journal_deliver_head(record.body_id, record.worker, w));
    bool is_owing = d->body != NULL && body_is_owing(x, d->body);
    while (journal_delivery_next(&record.entries, &e) == OK) {
        struct page *p;
        const struct owner *o = e.is_done ? NULL : owner_find(x, e.session);
        const struct slot *s = o != NULL ? slot_find(x, o, e.seq, &p) : NULL;
        bool is_open = s != NULL && s->deliver == d;
        e.is_done = !is_open;
        e.is_received = is_open && (s->flags & SLOT_RECEIVED) != 0;
        e.n_tries = is_open ? s->n_tries : 0;
        if (is_open || is_owing) {
            journal_delivery_copy(&e, w);
        }
    }
    return OK;
}

static enum err rewrite_session(const struct part *p, struct slice content, struct wr *w)
{
    struct journal_session record;
    TRY(journal_session_read(content, &record));
    if (p->owner != NULL && p->owner->next_seq > record.next_seq) {
        record.next_seq = p->owner->next_seq;
    }
    TRY(journal_session_head(&record, w));
    wr_bytes(w, record.client_id);
    return OK;
}

enum err index_rewrite(const struct index *x, const struct item *i, enum journal_kind kind,
                       struct slice content, struct buf *ret)
{
    uint8_t *room;
    size_t n;
    TRY(buf_room(ret, content.n, SIZE_MAX, &room)); /* a copy is never longer */
    struct wr w = wr_into(room, content.n);
    if (kind == JOURNAL_BODY) {
        TRY(rewrite_body(x, CONTAINER_OF(i, const struct body, item), content, &w));
    } else if (kind == JOURNAL_DELIVER) {
        TRY(rewrite_deliver(x, CONTAINER_OF(i, const struct deliver, item), content, &w));
    } else if (kind == JOURNAL_SESSION) {
        TRY(rewrite_session(CONTAINER_OF(i, const struct part, item), content, &w));
    } else {
        wr_bytes(&w, content);
    }
    TRY(wr_done(&w, &n));
    ret->n += n;
    return OK;
}

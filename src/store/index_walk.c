/* The end of a restart, reading the index out, and what damage takes from it. */
#include <stdlib.h>

#include "store/index_private.h"

static int compare_had(const void *a, const void *b)
{
    const struct had *one = a, *two = b;
    return (one->body > two->body) - (one->body < two->body);
}

static bool is_had_needed(const struct index *x, const struct had *h)
{
    const struct body *b = body_find(x, h->body);
    return b != NULL && b->unanswered != 0;
}

void index_complete(struct index *x)
{
    x->is_complete = true;
    /* What is removed may let another one move to this place: look again. */
    for (size_t i = 0; i < x->owners.n_slots;) {
        struct owner *o = (struct owner *)(void *)table_slot(&x->owners, i);
        if (o != NULL && o->record == NULL) {
            owner_end(x, o);
        } else {
            i++;
        }
    }
    for (size_t i = 0; i < x->bodies.n_slots;) {
        uint32_t name = x->bodies.slots[i];
        if (name != 0) {
            body_update(x, slab_at(&x->slab, name));
        }
        i += name == 0 || x->bodies.slots[i] == name ? 1 : 0;
    }
    size_t kept = 0;
    for (size_t i = 0; i < x->n_had; i++) {
        if (is_had_needed(x, &x->had[i])) {
            x->had[kept++] = x->had[i];
        }
    }
    x->n_had = kept;
    if (kept > 0) {
        qsort(x->had, kept, sizeof(*x->had), compare_had);
    } else {
        x->had = mem_free(x->had);
        x->had_cap = 0;
    }
}

/* ---- walking ---- */

static int compare_pages(const void *a, const void *b)
{
    const struct page *one = *(struct page *const *)a, *two = *(struct page *const *)b;
    return (one->at > two->at) - (one->at < two->at);
}

/* Room for the pages of the longest queue; grows. */
struct walk {
    const struct index *x;
    const struct index_sink *sink;
    struct page **pages;
    size_t cap;
};

static struct place place_of(const struct body *b)
{
    return (b->item.flags & ITEM_ALIVE) != 0 ? b->item.place : (struct place){0};
}

static enum err walk_page(const struct walk *w, const struct page *p)
{
    for (size_t i = 0; i < PAGE_SEQS; i++) {
        const struct slot *s = &p->slots[i];
        if (s->deliver == NULL) {
            continue;
        }
        struct journal_delivery d = {.session = p->owner->key, .seq = p->at * PAGE_SEQS + i};
        d.qos = s->flags & SLOT_QOS;
        d.retain = (s->flags & SLOT_RETAIN) != 0;
        d.is_received = (s->flags & SLOT_RECEIVED) != 0;
        d.n_tries = s->n_tries;
        d.n_ids = s->n_ids;
        const struct body *b = s->deliver->body;
        struct place place = d.is_received ? (struct place){0} : place_of(b);
        TRY(w->sink->delivery(w->sink->ctx, &d, slot_ids(w->x, s), b->key, place));
    }
    return OK;
}

static enum err walk_pages(struct walk *w, const struct owner *o)
{
    size_t n = 0;
    list_for_each (node, &o->pages) {
        if (n == w->cap) {
            size_t cap = w->cap > 0 ? 2 * w->cap : 64;
            struct page **more = mem_grow(w->pages, cap * sizeof(*more));
            if (more == NULL) {
                return ERR_NOMEM;
            }
            w->pages = more;
            w->cap = cap;
        }
        w->pages[n++] = LIST_ENTRY(node, struct page, node);
    }
    if (n > 1) {
        qsort(w->pages, n, sizeof(struct page *), compare_pages);
    }
    for (size_t i = 0; i < n; i++) {
        TRY(walk_page(w, w->pages[i]));
    }
    return OK;
}

static enum err walk_parts(const struct walk *w, const struct owner *o, enum journal_kind kind)
{
    const struct index_sink *sink = w->sink;
    list_for_each (node, &o->parts) {
        const struct part *p = LIST_ENTRY(node, struct part, node);
        if (p->item.kind != kind) {
            continue;
        }
        if (kind == JOURNAL_INBOUND) {
            TRY(sink->inbound(sink->ctx, o->key, p->item.number));
        } else if (kind == JOURNAL_SUB) {
            TRY(sink->sub(sink->ctx, o->key, p->item.place));
        } else {
            TRY(sink->will(sink->ctx, o->key, p->item.place));
        }
    }
    return OK;
}

static enum err walk_owner(struct walk *w, const struct owner *o)
{
    if (o->record == NULL) {
        return OK;
    }
    TRY(w->sink->session(w->sink->ctx, o->key, o->record->item.place, o->next_seq));
    TRY(walk_parts(w, o, JOURNAL_SUB));
    TRY(walk_parts(w, o, JOURNAL_WILL));
    TRY(walk_parts(w, o, JOURNAL_INBOUND));
    return walk_pages(w, o);
}

static enum err walk_unanswered(const struct walk *w, const struct body *b)
{
    const struct index *x = w->x;
    size_t low = 0, high = x->n_had, n = 0;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (x->had[mid].body < b->key) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    while (low + n < x->n_had && x->had[low + n].body == b->key) {
        n++;
    }
    uint64_t *sessions = mem_array(n > 0 ? n : 1, sizeof(*sessions));
    if (sessions == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        sessions[i] = x->had[low + i].session;
    }
    enum err e = w->sink->unanswered(w->sink->ctx, b->key, b->item.place, sessions, n);
    mem_free(sessions);
    return e;
}

static enum err walk_retained(const struct walk *w)
{
    const struct index *x = w->x;
    for (size_t i = 0; i < x->topics.n_slots; i++) {
        const struct topic *t = (const struct topic *)(void *)table_slot(&x->topics, i);
        const struct body *b = t != NULL ? slab_at(&x->slab, t->winner) : NULL;
        if (b != NULL && (b->item.flags & (ITEM_MARKER | ITEM_ALIVE)) == ITEM_ALIVE) {
            TRY(w->sink->retained(w->sink->ctx, b->key, b->item.place));
        }
    }
    return OK;
}

static int compare_bodies(const void *a, const void *b)
{
    const struct body *one = *(struct body *const *)a, *two = *(struct body *const *)b;
    return (one->key > two->key) - (one->key < two->key);
}

static size_t gather_unanswered(const struct index *x, const struct body **dst)
{
    size_t n = 0;
    for (size_t i = 0; i < x->bodies.n_slots; i++) {
        const struct body *b = (const struct body *)(void *)table_slot(&x->bodies, i);
        if (b != NULL && (b->item.flags & ITEM_ALIVE) != 0 && b->unanswered != 0) {
            if (dst != NULL) {
                dst[n] = b;
            }
            n++;
        }
    }
    return n;
}

/* By id: one worker's bodies in the order in which it took them. */
static enum err walk_all_unanswered(const struct walk *w)
{
    size_t n = gather_unanswered(w->x, NULL);
    const struct body **bodies = mem_array(n > 0 ? n : 1, sizeof(struct body *));
    if (bodies == NULL) {
        return ERR_NOMEM;
    }
    (void)gather_unanswered(w->x, bodies);
    qsort(bodies, n, sizeof(struct body *), compare_bodies);
    enum err e = OK;
    for (size_t i = 0; i < n && e == OK; i++) {
        e = walk_unanswered(w, bodies[i]);
    }
    mem_free(bodies);
    return e;
}

static enum err walk_all(struct walk *w)
{
    const struct index *x = w->x;
    const struct index_sink *sink = w->sink;
    for (size_t i = 0; i < x->owners.n_slots; i++) {
        const struct owner *o = (const struct owner *)(void *)table_slot(&x->owners, i);
        if (o != NULL) {
            TRY(walk_owner(w, o));
        }
    }
    TRY(walk_retained(w));
    TRY(walk_all_unanswered(w));
    for (size_t i = 0; i < x->parts.n_slots; i++) {
        const struct part *p = (const struct part *)(void *)table_slot(&x->parts, i);
        if (p != NULL && p->item.kind == JOURNAL_SET_ASIDE) {
            TRY(sink->set_aside(sink->ctx, p->id, p->item.place));
        }
    }
    for (size_t i = 0; i < x->parts.n_slots; i++) {
        const struct part *p = (const struct part *)(void *)table_slot(&x->parts, i);
        if (p != NULL && p->item.kind == JOURNAL_ENTRY) {
            TRY(sink->entry(sink->ctx, (uint8_t)p->item.number, p->id, p->item.place));
        }
    }
    return OK;
}

enum err index_walk(const struct index *x, const struct index_sink *sink)
{
    struct walk w = {.x = x, .sink = sink};
    enum err e = walk_all(&w);
    mem_free(w.pages);
    return e;
}

/* ---- damage ---- */

static bool lies_at(const struct item *i, struct place place)
{
    return i->place.segment == place.segment && i->place.offset == place.offset;
}

/* All entries that wait in a DELIVER at this place. */
static void lose_deliver(struct index *x, struct place place)
{
    for (size_t i = 0; i < x->pages.n_slots;) {
        struct page *p = (struct page *)(void *)table_slot(&x->pages, i);
        struct slot *hit = NULL;
        for (size_t k = 0; p != NULL && k < PAGE_SEQS; k++) {
            struct slot *s = &p->slots[k];
            hit = s->deliver != NULL && lies_at(&s->deliver->item, place) ? s : hit;
        }
        if (hit != NULL) {
            slot_settle(x, p, hit); /* the page may have gone: look again */
        } else {
            i++;
        }
    }
}

static bool lose_lingering(struct index *x, struct body *b, struct place place)
{
    struct deliver *d;
    for (uint32_t *at = &b->lingering; *at != 0; at = &d->next) {
        d = slab_at(&x->slab, *at);
        if (lies_at(&d->item, place)) {
            *at = d->next;
            d->item.flags &= (uint8_t)~ITEM_LINGER;
            d->n_open = 0;
            deliver_die(x, d);
            return true;
        }
    }
    return false;
}

static bool lose_body(struct index *x, struct place place)
{
    for (size_t i = 0; i < x->bodies.n_slots; i++) {
        struct body *b = (struct body *)(void *)table_slot(&x->bodies, i);
        if (b != NULL && (b->item.flags & ITEM_ALIVE) != 0 && lies_at(&b->item, place)) {
            body_forget(x, b);
            return true;
        }
        if (b != NULL && lose_lingering(x, b, place)) {
            body_update(x, b);
            return true;
        }
    }
    return false;
}

void index_lost(struct index *x, struct place place)
{
    if (place.segment == 0 || index_living(x, place.segment) == 0) {
        return;
    }
    lose_deliver(x, place); /* it may linger then */
    if (lose_body(x, place)) {
        return;
    }
    for (size_t i = 0; i < x->owners.n_slots; i++) {
        struct owner *o = (struct owner *)(void *)table_slot(&x->owners, i);
        if (o != NULL && o->record != NULL && lies_at(&o->record->item, place)) {
            part_die(x, o->record);
            o->record = NULL; /* the session goes on until a restart, or its next record */
            return;
        }
    }
    for (size_t i = 0; i < x->parts.n_slots; i++) {
        struct part *p = (struct part *)(void *)table_slot(&x->parts, i);
        if (p != NULL && lies_at(&p->item, place)) {
            table_remove(&x->parts, (struct keyed *)(void *)p);
            part_die(x, p);
            return;
        }
    }
}

/* Bodies, retained messages, and the life of a DELIVER. */
#include <assert.h>

#include "store/index_private.h"

static bool is_placed(const struct item *i)
{
    return i->place.segment != 0;
}

void item_set_alive(struct index *x, struct item *i, bool is_alive)
{
    if (((i->flags & ITEM_ALIVE) != 0) != is_alive) {
        i->flags ^= ITEM_ALIVE;
        load_change(x, i->place, is_alive);
    }
}

struct body *body_find(const struct index *x, uint64_t id)
{
    return (struct body *)(void *)table_find(&x->bodies, id);
}

struct body *body_make(struct index *x, uint64_t id)
{
    if (table_room(&x->bodies) != OK) {
        return NULL;
    }
    struct body *b = object_get(x, sizeof(*b));
    if (b != NULL) {
        b->key = id;
        b->item.kind = JOURNAL_BODY;
        table_add(&x->bodies, (struct keyed *)(void *)b);
    }
    return b;
}

bool body_is_owing(const struct index *x, const struct body *b)
{
    if ((b->item.flags & ITEM_KNOWN) == 0) {
        return !x->is_complete;
    }
    return (b->item.flags & (ITEM_ALIVE | ITEM_OWED)) == (ITEM_ALIVE | ITEM_OWED);
}

void body_owes(struct body *b, uint64_t owed)
{
    b->item.flags &= (uint8_t)~ITEM_OWED;
    b->item.flags |= owed != 0 ? ITEM_OWED : 0;
}

/* ---- retained ---- */

static void topic_free_unused(struct index *x, struct topic *t)
{
    if (t->winner == 0 && t->n_losers == 0) {
        table_remove(&x->topics, (struct keyed *)(void *)t);
        slab_put(&x->slab, t, sizeof(*t));
    }
}

static bool is_winner(const struct index *x, const struct body *b)
{
    const struct topic *t = body_topic(x, b);
    return t != NULL && t->winner == slab_name(b);
}

static bool is_marker(const struct body *b)
{
    return (b->item.flags & ITEM_MARKER) != 0;
}

static void set_winner(struct index *x, struct topic *t, struct body *b)
{
    struct body *old = slab_at(&x->slab, t->winner);
    x->n_markers += b != NULL && is_marker(b) ? 1 : 0;
    x->n_markers -= old != NULL && is_marker(old) ? 1 : 0;
    t->winner = slab_name(b);
    if (b != NULL) {
        b->topic = slab_name(t);
    }
    if (old != NULL) { /* it lies before the new one, so it needs no mark */
        old->topic = 0;
        body_update(x, old);
    }
}

/* A loser's place tells how long the clear that it lost to is needed. */
static void lose(struct index *x, struct topic *t, struct place place)
{
    if (place.segment > t->loser_segment) {
        t->loser_segment = place.segment;
        if (t->winner != 0) {
            body_update(x, slab_at(&x->slab, t->winner));
        }
    }
}

static enum err topic_need(struct index *x, uint64_t hash, struct topic **ret)
{
    struct topic *t = (struct topic *)(void *)table_find(&x->topics, hash);
    if (t == NULL) {
        TRY(table_room(&x->topics));
        t = object_get(x, sizeof(*t));
        if (t == NULL) {
            return ERR_NOMEM;
        }
        t->key = hash;
        table_add(&x->topics, (struct keyed *)(void *)t);
    }
    *ret = t;
    return OK;
}

static void compete(struct index *x, struct topic *t, struct body *b, uint64_t number)
{
    if (b->topic != 0) {
        return; /* a copy */
    }
    if (number > t->number) {
        t->number = number;
        set_winner(x, t, b);
    } else if (is_placed(&b->item)) {
        lose(x, t, b->item.place);
    } else {
        b->topic = slab_name(t);
        t->n_losers++;
    }
}

static void stop_losing(struct index *x, struct body *b, bool is_written)
{
    struct topic *t = body_topic(x, b);
    if (t != NULL && t->winner != slab_name(b)) {
        b->topic = 0;
        t->n_losers--;
        if (is_written) {
            lose(x, t, b->item.place);
        }
        topic_free_unused(x, t);
    }
}

/* ---- bodies ---- */

static bool is_needed(const struct index *x, const struct body *b)
{
    uint8_t flags = b->item.flags;
    if ((flags & ITEM_KNOWN) == 0) {
        return false;
    }
    if (!x->is_complete && (flags & ITEM_HELD) == 0) {
        return true; /* its deliveries may be still to come */
    }
    if (b->unanswered != 0 || b->n_open > 0) {
        return true;
    }
    if (!is_winner(x, b)) {
        return false;
    }
    const struct topic *t = body_topic(x, b);
    assert(t != NULL);
    return !is_marker(b) || !is_placed(&b->item) || t->loser_segment > b->item.place.segment;
}

static void end_lingering(struct index *x, struct body *b)
{
    while (b->lingering != 0) {
        struct deliver *d = slab_at(&x->slab, b->lingering);
        b->lingering = d->next;
        d->item.flags &= (uint8_t)~ITEM_LINGER;
        d->n_open = 0;
        deliver_die(x, d);
    }
}

void body_free_unused(struct index *x, struct body *b)
{
    if ((b->item.flags & (ITEM_ALIVE | ITEM_HELD)) == 0 && b->n_delivers == 0 && !is_winner(x, b)) {
        stop_losing(x, b, false);
        table_remove(&x->bodies, (struct keyed *)(void *)b);
        slab_put(&x->slab, b, sizeof(*b));
    }
}

void body_update(struct index *x, struct body *b)
{
    item_set_alive(x, &b->item, is_needed(x, b));
    if (b->lingering != 0 && !body_is_owing(x, b)) {
        end_lingering(x, b);
    }
    body_free_unused(x, b);
}

void body_placed(struct index *x, struct body *b)
{
    stop_losing(x, b, is_placed(&b->item));
}

void body_forget(struct index *x, struct body *b)
{
    struct topic *t = body_topic(x, b);
    item_set_alive(x, &b->item, false);
    b->item.flags &= (uint8_t) ~(ITEM_KNOWN | ITEM_FORCED | ITEM_OWED);
    b->item.place = (struct place){0};
    b->unanswered = 0;
    if (is_winner(x, b)) {
        x->n_markers -= is_marker(b) ? 1 : 0;
        t->winner = 0;
        b->topic = 0;
        topic_free_unused(x, t);
    }
    body_update(x, b);
}

/* The record again: a copy, or the repetition of a batch. */
static void see_again(struct index *x, struct body *b, const struct journal_body *record,
                      struct place place)
{
    load_change(x, b->item.place, false);
    b->item.place = place;
    load_change(x, place, true);
    body_owes(b, record->owed);
    b->unanswered &= record->owed;
}

enum err body_apply(struct index *x, struct slice content, struct place place,
                    struct item **ret_item)
{
    struct journal_body record;
    struct topic *t = NULL;
    TRY(journal_body_read(content, &record));
    struct body *b = body_find(x, record.id);
    bool is_known = b != NULL && (b->item.flags & ITEM_KNOWN) != 0;
    if (is_known && (place.segment == 0 || (b->item.flags & ITEM_HELD) != 0)) {
        *ret_item = NULL; /* only what is read from disk may come twice */
        return OK;
    }
    if (record.m.number != 0) {
        TRY(topic_need(x, part_key(x, JOURNAL_BODY, 0, record.m.topic), &t));
    }
    b = b != NULL ? b : body_make(x, record.id);
    if (b == NULL) {
        if (t != NULL) {
            topic_free_unused(x, t);
        }
        return ERR_NOMEM;
    }
    if (is_known && (b->item.flags & ITEM_ALIVE) != 0) {
        see_again(x, b, &record, place);
    } else {
        b->item.place = place;
        b->unanswered = record.owed;
        body_owes(b, record.owed);
        b->item.flags |= ITEM_KNOWN | (place.segment == 0 ? ITEM_HELD : 0);
    }
    if (t != NULL) {
        bool is_clear = record.m.payload.n == 0 && b->topic == 0;
        b->item.flags |= is_clear ? ITEM_MARKER : 0;
        compete(x, t, b, record.m.number);
        topic_free_unused(x, t);
    }
    x->ids.body = record.id > x->ids.body ? record.id : x->ids.body;
    x->ids.retained = record.m.number > x->ids.retained ? record.m.number : x->ids.retained;
    *ret_item = place.segment == 0 ? &b->item : NULL;
    body_update(x, b);
    return OK;
}

struct place index_body(const struct index *x, uint64_t id)
{
    const struct body *b = body_find(x, id);
    return b != NULL && index_is_alive(&b->item) ? b->item.place : (struct place){0};
}

/* ---- deliveries ---- */

void deliver_die(struct index *x, struct deliver *d)
{
    struct body *b = d->body;
    item_set_alive(x, &d->item, false);
    d->body = NULL;
    if ((d->item.flags & ITEM_HELD) == 0) {
        slab_put(&x->slab, d, sizeof(*d));
    }
    if (b != NULL) {
        b->n_delivers--;
    }
}

void deliver_idle(struct index *x, struct deliver *d)
{
    struct body *b = d->body;
    if (b != NULL && body_is_owing(x, b)) {
        d->item.flags |= ITEM_LINGER;
        d->next = b->lingering;
        b->lingering = slab_name(d);
    } else {
        deliver_die(x, d);
    }
}

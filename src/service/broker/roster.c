/* The roster: one registration for each device, the same at all workers. docs/ORDER.md rule 17. */
#include "service/broker/roster.h"

#include <assert.h>

#include "base/mem.h"
#include "service/broker/handed.h"
#include "service/broker/outbox_private.h"
#include "service/broker/worker_private.h"

enum { WORKERS_MAX = 64 };

enum note_step {
    NOTE_PUT,    /* to the home */
    NOTE_UPDATE, /* to the home */
    NOTE_REMOVE, /* to the home */
    NOTE_IS,     /* from the home to all others: r is it now; NULL: there is none */
    NOTE_ANSWER  /* from the home to who asked */
};

struct roster_note {
    struct list_node node; /* an answer, while it waits for its door */
    enum note_step step;
    uint64_t principal;
    const struct registration *r; /* one reference; NULL: none */
    unsigned worker, door;        /* who asks */
    uint64_t cookie;
    enum err result;
};

struct row {
    struct list_node node; /* by_age */
    struct timer timer;
    bool is_home;                 /* of its principal: its bytes are counted here */
    const struct registration *r; /* owned reference */
};

/* ---- registrations ---- */

static void put(struct registration *r, struct slice s, size_t *at, struct slice *ret)
{
    slice_copy(r->bytes + *at, s);
    *ret = slice_of(r->bytes + *at, s.n);
    *at += s.n;
}

enum err registration_make(struct slice base, struct slice attributes, struct slice links,
                           struct registration **ret)
{
    size_t at = 0;
    struct registration *r = mem_zalloc(sizeof(*r) + base.n + attributes.n + links.n);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&r->refs, 1);
    put(r, base, &at, &r->base);
    put(r, attributes, &at, &r->attributes);
    put(r, links, &at, &r->links);
    *ret = r;
    return OK;
}

const struct registration *registration_ref(const struct registration *r)
{
    atomic_fetch_add_explicit(&((struct registration *)r)->refs, 1, memory_order_relaxed);
    return r;
}

const struct registration *registration_unref(const struct registration *r)
{
    struct registration *own = (struct registration *)r;
    if (own != NULL && atomic_fetch_sub_explicit(&own->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(own);
    }
    return NULL;
}

static uint64_t cost(const struct registration *r)
{
    return sizeof(*r) + sizeof(struct row) + r->base.n + r->attributes.n + r->links.n +
           (uint64_t)r->n_links * ROSTER_LINK_COST;
}

/* ---- notes ---- */

static enum err note_new(enum note_step step, uint64_t principal, const struct registration *r,
                         struct roster_note **ret)
{
    struct roster_note *n = mem_zalloc(sizeof(*n));
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->step = step;
    n->principal = principal;
    n->r = r != NULL ? registration_ref(r) : NULL;
    *ret = n;
    return OK;
}

struct roster_note *roster_note_free(struct roster_note *n)
{
    if (n != NULL) {
        list_unlink(&n->node);
        registration_unref(n->r);
        mem_free(n);
    }
    return NULL;
}

/* Takes n. */
static enum err pass_note(struct worker *w, unsigned to, struct roster_note *n)
{
    if (to == w->setup.index) {
        roster_take(w, n);
        return OK;
    }
    struct wmsg m = {.kind = WMSG_ROSTER, .roster = n};
    enum err err = outbox_push(w, to, &m);
    if (err != OK) {
        count_add(&counts(w)->dropped_memory, 1);
        roster_note_free(n);
    }
    return err;
}

/* ---- rows ---- */

static struct slice row_key(const void *value)
{
    const struct row *row = value;
    return slice_of(&row->r->principal, sizeof(row->r->principal));
}

void roster_init(struct roster *r, const struct siphash_key *key, uint64_t now_ms)
{
    map_init(&r->rows, key, row_key);
    list_init(&r->by_age);
    list_init(&r->answers);
    wheel_init(&r->wheel, now_ms);
}

static struct row *row_find(const struct worker *w, uint64_t principal)
{
    return map_find(&w->roster.rows, slice_of(&principal, sizeof(principal)));
}

static void row_count(struct worker *w, const struct row *row, bool is_there)
{
    if (row->is_home && is_there) {
        w->roster.bytes += cost(row->r);
        count_add(&counts(w)->registrations, 1);
    } else if (row->is_home) {
        w->roster.bytes -= cost(row->r);
        count_sub(&counts(w)->registrations, 1);
    }
}

static void row_free(struct worker *w, struct row *row)
{
    row_count(w, row, false);
    (void)map_remove(&w->roster.rows, row_key(row));
    list_unlink(&row->node);
    wheel_cancel(&w->roster.wheel, &row->timer);
    registration_unref(row->r);
    mem_free(row);
}

void roster_done(struct worker *w)
{
    struct list_node *n;
    while (w->roster.by_age.head.next != NULL && (n = list_first(&w->roster.by_age)) != NULL) {
        row_free(w, LIST_ENTRY(n, struct row, node));
    }
    while (w->roster.answers.head.next != NULL && (n = list_first(&w->roster.answers)) != NULL) {
        roster_note_free(LIST_ENTRY(n, struct roster_note, node));
    }
    map_done(&w->roster.rows);
}

static const struct principal *in_force(const struct worker *w, uint64_t principal)
{
    const struct directory_entry *e = directory_find_id(w->realm->directory, principal);
    return e != NULL && e->principal->status == PRINCIPAL_ACTIVE ? e->principal : NULL;
}

/* A registration that is renewed keeps its place, so that pages do not move. */
static enum err row_put(struct worker *w, const struct registration *r, bool is_home)
{
    struct row *row = row_find(w, r->principal);
    if (row == NULL) {
        row = mem_zalloc(sizeof(*row));
        if (row == NULL) {
            return ERR_NOMEM;
        }
        row->r = r;
        row->is_home = is_home;
        if (map_add(&w->roster.rows, row) != OK) {
            mem_free(row);
            return ERR_NOMEM;
        }
        list_append(&w->roster.by_age, &row->node);
    } else {
        row_count(w, row, false);
        registration_unref(row->r);
    }
    row->r = registration_ref(r);
    row_count(w, row, true);
    wheel_arm(&w->roster.wheel, &row->timer, r->expires_at_ms);
    return OK;
}

/* ---- at the home ---- */

/* What all others are told is there before anything is done, so that it is done everywhere. */
static enum err prepare(struct worker *w, const struct roster_note *asked,
                        struct roster_note **notes)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        if (i != w->setup.index) {
            all |= UINT64_C(1) << i;
            TRY(note_new(NOTE_IS, asked->principal, asked->r, &notes[i]));
        }
    }
    return outbox_reserve(w, all);
}

static enum err check(const struct worker *w, const struct roster_note *asked)
{
    const struct row *row = row_find(w, asked->principal);
    bool has_one = row != NULL && row->r->expires_at_ms > w->now_ms;
    if (asked->step != NOTE_PUT && !has_one) {
        return ERR_NOT_FOUND;
    }
    if (asked->r == NULL) {
        return OK;
    }
    if (in_force(w, asked->principal) == NULL) {
        return ERR_DENIED;
    }
    uint64_t beside = w->roster.bytes - (row != NULL ? cost(row->r) : 0);
    uint64_t most = w->setup.limits->registration_total_bytes / w->setup.n_workers;
    return beside + cost(asked->r) > most ? ERR_QUOTA : OK;
}

static void row_end(struct worker *w, uint64_t principal)
{
    struct row *row = row_find(w, principal);
    if (row != NULL) {
        row_free(w, row);
    }
}

static enum err decide(struct worker *w, const struct roster_note *asked)
{
    struct roster_note *notes[WORKERS_MAX] = {NULL};
    assert(w->setup.n_workers <= WORKERS_MAX);
    enum err err = check(w, asked);
    if (err == OK) {
        err = prepare(w, asked, notes);
    }
    if (err == OK && asked->r != NULL) {
        err = row_put(w, asked->r, true);
    } else if (err == OK) {
        row_end(w, asked->principal);
    }
    for (unsigned i = 0; i < w->setup.n_workers; i++) {
        if (err == OK && notes[i] != NULL) {
            (void)pass_note(w, i, notes[i]);
        } else {
            roster_note_free(notes[i]);
        }
    }
    return err;
}

/* What was asked goes back as its own answer. Takes n. */
static void take_wish(struct worker *w, struct roster_note *n)
{
    n->result = decide(w, n);
    n->step = NOTE_ANSWER;
    n->r = registration_unref(n->r);
    (void)pass_note(w, n->worker, n);
}

/* ---- elsewhere ---- */

static void take_is(struct worker *w, const struct roster_note *n)
{
    if (n->r == NULL || in_force(w, n->principal) == NULL) {
        row_end(w, n->principal);
    } else if (row_put(w, n->r, false) != OK) {
        row_end(w, n->principal); /* until it is said again; what was before would be wrong */
        count_add(&counts(w)->dropped_memory, 1);
    }
}

void roster_take(struct worker *w, struct roster_note *n)
{
    switch (n->step) {
    case NOTE_PUT:
    case NOTE_UPDATE:
    case NOTE_REMOVE:
        take_wish(w, n);
        break;
    case NOTE_IS:
        take_is(w, n);
        roster_note_free(n);
        break;
    case NOTE_ANSWER:
        list_append(&w->roster.answers, &n->node); /* its door takes it */
        break;
    }
}

void roster_recheck(struct worker *w)
{
    list_for_each_safe (node, next, &w->roster.by_age) {
        struct row *row = LIST_ENTRY(node, struct row, node);
        if (in_force(w, row->r->principal) == NULL) {
            row_free(w, row);
        }
    }
}

void roster_turn(struct worker *w)
{
    struct timer *t;
    wheel_advance(&w->roster.wheel, w->now_ms);
    while ((t = wheel_next(&w->roster.wheel)) != NULL) {
        row_free(w, CONTAINER_OF(t, struct row, timer));
    }
}

uint64_t roster_deadline(const struct worker *w)
{
    return list_is_empty(&w->roster.answers) ? wheel_deadline(&w->roster.wheel) : w->now_ms;
}

/* ---- for doors ---- */

enum err roster_ask(struct worker *w, const struct principal *p, enum roster_wish wish,
                    const struct registration *r, unsigned door, uint64_t cookie)
{
    static const enum note_step steps[] = {
        [ROSTER_PUT] = NOTE_PUT, [ROSTER_UPDATE] = NOTE_UPDATE, [ROSTER_REMOVE] = NOTE_REMOVE};
    struct roster_note *n = NULL;
    TRY(note_new(steps[wish], p->id, r, &n));
    n->worker = w->setup.index;
    n->door = door;
    n->cookie = cookie;
    return pass_note(w, worker_home(w, p), n);
}

bool roster_next_answer(struct worker *w, unsigned door, struct roster_answer *ret)
{
    list_for_each (node, &w->roster.answers) {
        struct roster_note *n = LIST_ENTRY(node, struct roster_note, node);
        if (n->door == door) {
            *ret = (struct roster_answer){.cookie = n->cookie, .result = n->result};
            roster_note_free(n);
            return true;
        }
    }
    return false;
}

const struct registration *roster_find(struct worker *w, const struct principal *p, uint64_t now_ms)
{
    const struct row *row = row_find(w, p->id);
    bool is_there =
        row != NULL && row->r->expires_at_ms > now_ms && in_force(w, row->r->principal) != NULL;
    return is_there ? row->r : NULL;
}

void roster_each(struct worker *w, uint64_t now_ms,
                 bool (*each)(void *ctx, const struct principal *p, const struct registration *r),
                 void *ctx)
{
    list_for_each (node, &w->roster.by_age) {
        const struct row *row = LIST_ENTRY(node, struct row, node);
        const struct principal *p =
            row->r->expires_at_ms > now_ms ? in_force(w, row->r->principal) : NULL;
        if (p != NULL && !each(ctx, p, row->r)) {
            break;
        }
    }
}

/* What the index knows, read out with contents: bodies first, in the order in which they lie. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/log_private.h"

/* ---- bodies ---- */

struct wanted {
    struct place place;
    bool is_retained;
};
struct wanted_list {
    struct wanted *items;
    size_t n, cap;
};

static void wanted_done(struct wanted_list *w)
{
    mem_free(w->items);
}

static enum err want(void *ctx, struct place place, bool is_retained)
{
    struct wanted_list *w = ctx;
    if (place.segment == 0) {
        return OK;
    }
    if (w->n == w->cap) {
        size_t cap = w->cap == 0 ? 1024 : 2 * w->cap;
        struct wanted *grown = mem_grow(w->items, cap * sizeof *grown);
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        w->items = grown;
        w->cap = cap;
    }
    w->items[w->n++] = (struct wanted){.place = place, .is_retained = is_retained};
    return OK;
}

static int wanted_order(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;
    if (x->place.segment != y->place.segment) {
        return x->place.segment < y->place.segment ? -1 : 1;
    }
    return x->place.offset < y->place.offset ? -1 : x->place.offset > y->place.offset ? 1 : 0;
}

/* The same body may be wanted by many: once, and the retained one if anybody says so. */
static void wanted_unite(struct wanted_list *w)
{
    if (w->n == 0) {
        return;
    }
    qsort(w->items, w->n, sizeof *w->items, wanted_order);
    size_t n = 1;
    for (size_t i = 1; i < w->n; i++) {
        if (wanted_order(&w->items[i], &w->items[n - 1]) == 0) {
            w->items[n - 1].is_retained |= w->items[i].is_retained;
        } else {
            w->items[n++] = w->items[i];
        }
    }
    w->n = n;
}

static enum err want_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                              uint64_t body_id, struct place body)
{
    (void)d;
    (void)ids;
    (void)body_id;
    return want(ctx, body, false);
}
static enum err want_retained(void *ctx, uint64_t body_id, struct place body)
{
    (void)body_id;
    return want(ctx, body, true);
}
static enum err want_unanswered(void *ctx, uint64_t body_id, struct place body,
                                const uint64_t *sessions, size_t n)
{
    (void)body_id;
    (void)sessions;
    (void)n;
    return want(ctx, body, false);
}
/* The walk calls everything; what is not wanted now is passed over. */
static enum err pass_session(void *ctx, uint64_t id, struct place place, uint64_t next_seq)
{
    (void)ctx;
    (void)id;
    (void)place;
    (void)next_seq;
    return OK;
}
static enum err pass_place(void *ctx, uint64_t id, struct place place)
{
    (void)ctx;
    (void)id;
    (void)place;
    return OK;
}
static enum err pass_inbound(void *ctx, uint64_t session, uint16_t packet_id)
{
    (void)ctx;
    (void)session;
    (void)packet_id;
    return OK;
}
static enum err pass_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                              uint64_t body_id, struct place body)
{
    (void)ctx;
    (void)d;
    (void)ids;
    (void)body_id;
    (void)body;
    return OK;
}
static enum err pass_unanswered(void *ctx, uint64_t body_id, struct place body,
                                const uint64_t *sessions, size_t n)
{
    (void)ctx;
    (void)body_id;
    (void)body;
    (void)sessions;
    (void)n;
    return OK;
}
static enum err pass_entry(void *ctx, uint8_t table, uint64_t id, struct place place)
{
    (void)ctx;
    (void)table;
    (void)id;
    (void)place;
    return OK;
}

/* ---- one record ---- */

struct restoring {
    struct log *log;
    const struct log_sink *sink;
    struct buf scratch;
    struct wanted_list lost; /* the index is told when nobody walks it */
    bool is_session_lost;
};

static void forget_lost(struct restoring *r)
{
    for (size_t i = 0; i < r->lost.n; i++) {
        index_lost(r->log->index, r->lost.items[i].place);
    }
    r->lost.n = 0;
}

static void restoring_done(struct restoring *r)
{
    forget_lost(r);
    wanted_done(&r->lost);
    buf_wipe(&r->scratch);
    log_readers_done(r->log);
}

/* ERR_NOT_FOUND: it cannot be read, and the index will forget it. */
static enum err read_place(struct restoring *r, enum journal_kind kind, struct place place,
                           struct slice *ret)
{
    struct record_head h = {0};
    enum err err = log_read(r->log, place, &r->scratch, &h, ret);
    if (err == OK && h.kind == kind) {
        return OK;
    }
    if (err == ERR_IO || err == ERR_NOMEM) {
        return err;
    }
    if (err != ERR_NOT_FOUND) {
        r->log->counts.damaged++;
        log_damage_event(r->log, place.segment, place.offset,
                         "a stored record was readable and is not any more; it is lost", NULL);
    }
    TRY(want(&r->lost, place, false));
    return ERR_NOT_FOUND;
}

static enum err not_understood(struct restoring *r, struct place place)
{
    log_damage_event(r->log, place.segment, place.offset,
                     "a stored record verifies and does not decode; it is left out", NULL);
    return OK;
}

static enum err restore_bodies(struct restoring *r)
{
    AUTO(wanted_done) struct wanted_list wanted = {0};
    const struct index_sink collect = {.ctx = &wanted,
                                       .session = pass_session,
                                       .sub = pass_place,
                                       .will = pass_place,
                                       .inbound = pass_inbound,
                                       .delivery = want_delivery,
                                       .retained = want_retained,
                                       .unanswered = want_unanswered,
                                       .set_aside = pass_place,
                                       .entry = pass_entry};
    TRY(index_walk(r->log->index, &collect));
    wanted_unite(&wanted);
    progress_begin(r->log->setup.progress, "messages read", wanted.n);
    for (size_t i = 0; i < wanted.n; i++) {
        TRY(progress_step(r->log->setup.progress));
        const struct wanted *w = &wanted.items[i];
        struct slice content;
        struct journal_body body;
        enum err err = read_place(r, JOURNAL_BODY, w->place, &content);
        if (err == ERR_NOT_FOUND) {
            continue;
        }
        TRY(err);
        if (journal_body_read(content, &body) != OK) {
            TRY(not_understood(r, w->place));
            continue;
        }
        TRY(r->sink->body(r->sink->ctx, &body, w->is_retained));
    }
    return OK;
}

/* ---- the rest, as the index walks it ---- */

static enum err restore_session(void *ctx, uint64_t id, struct place place, uint64_t next_seq)
{
    struct restoring *r = ctx;
    struct slice content;
    struct journal_session s;
    (void)id;
    TRY(progress_step(r->log->setup.progress));
    r->is_session_lost = true;
    enum err err = read_place(r, JOURNAL_SESSION, place, &content);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    if (journal_session_read(content, &s) != OK) {
        return not_understood(r, place);
    }
    r->is_session_lost = false;
    s.next_seq = next_seq > s.next_seq ? next_seq : s.next_seq;
    return r->sink->session(r->sink->ctx, &s);
}

static enum err restore_sub(void *ctx, uint64_t session, struct place place)
{
    struct restoring *r = ctx;
    struct slice content;
    struct journal_sub s;
    (void)session;
    TRY(progress_check(r->log->setup.progress));
    enum err err = r->is_session_lost ? ERR_NOT_FOUND : read_place(r, JOURNAL_SUB, place, &content);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    return journal_sub_read(JOURNAL_SUB, content, &s) == OK ? r->sink->sub(r->sink->ctx, &s)
                                                            : not_understood(r, place);
}

static enum err restore_will(void *ctx, uint64_t session, struct place place)
{
    struct restoring *r = ctx;
    struct slice content;
    struct journal_will w;
    (void)session;
    enum err err =
        r->is_session_lost ? ERR_NOT_FOUND : read_place(r, JOURNAL_WILL, place, &content);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    return journal_will_read(content, &w) == OK ? r->sink->will(r->sink->ctx, &w)
                                                : not_understood(r, place);
}

static enum err restore_inbound(void *ctx, uint64_t session, uint16_t packet_id)
{
    struct restoring *r = ctx;
    return r->is_session_lost ? OK : r->sink->inbound(r->sink->ctx, session, packet_id);
}

static enum err restore_delivery(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                                 uint64_t body_id, struct place body)
{
    struct restoring *r = ctx;
    TRY(progress_check(r->log->setup.progress));
    return r->is_session_lost
               ? OK
               : r->sink->delivery(r->sink->ctx, d, ids, body.segment != 0 ? body_id : 0);
}

static enum err restore_set_aside(void *ctx, uint64_t id, struct place place)
{
    struct restoring *r = ctx;
    struct slice content;
    struct journal_set_aside s;
    (void)id;
    TRY(progress_check(r->log->setup.progress));
    enum err err = read_place(r, JOURNAL_SET_ASIDE, place, &content);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    return journal_set_aside_read(content, &s) == OK ? r->sink->set_aside(r->sink->ctx, &s)
                                                     : not_understood(r, place);
}

static enum err restore_unanswered(void *ctx, uint64_t body_id, struct place body,
                                   const uint64_t *sessions, size_t n)
{
    struct restoring *r = ctx;
    return body.segment != 0 ? r->sink->unanswered(r->sink->ctx, body_id, sessions, n) : OK;
}

MUST_USE enum err log_restore(struct log *l, const struct log_sink *sink)
{
    AUTO(restoring_done) struct restoring r = {.log = l, .sink = sink};
    TRY(restore_bodies(&r));
    forget_lost(&r);
    const struct index_sink all = {.ctx = &r,
                                   .session = restore_session,
                                   .sub = restore_sub,
                                   .will = restore_will,
                                   .inbound = restore_inbound,
                                   .delivery = restore_delivery,
                                   .retained = pass_place,
                                   .unanswered = restore_unanswered,
                                   .set_aside = restore_set_aside,
                                   .entry = pass_entry};
    progress_begin(l->setup.progress, "sessions put back", 0);
    return index_walk(l->index, &all);
}

/* ---- entries ---- */

struct entry_list {
    struct wanted_list wanted; /* is_retained is not used */
    uint8_t table;
};

static enum err want_entry(void *ctx, uint8_t table, uint64_t id, struct place place)
{
    struct entry_list *e = ctx;
    (void)id;
    return table == e->table ? want(&e->wanted, place, false) : OK;
}
static void entry_list_done(struct entry_list *e)
{
    wanted_done(&e->wanted);
}

static enum err entries_locked(struct log *l, uint8_t table,
                               enum err (*each)(void *ctx, uint64_t id, struct slice content),
                               void *ctx)
{
    AUTO(entry_list_done) struct entry_list list = {.table = table};
    AUTO(restoring_done) struct restoring r = {.log = l};
    const struct index_sink collect = {.ctx = &list,
                                       .session = pass_session,
                                       .sub = pass_place,
                                       .will = pass_place,
                                       .inbound = pass_inbound,
                                       .delivery = pass_delivery,
                                       .retained = pass_place,
                                       .unanswered = pass_unanswered,
                                       .set_aside = pass_place,
                                       .entry = want_entry};
    TRY(index_walk(l->index, &collect));
    wanted_unite(&list.wanted);
    /* Behind the start nobody waits for it. */
    struct progress *progress = atomic_load(&l->is_threaded) ? NULL : l->setup.progress;
    progress_begin(progress, "entries read", list.wanted.n);
    for (size_t i = 0; i < list.wanted.n; i++) {
        TRY(progress_step(progress));
        struct place place = list.wanted.items[i].place;
        struct slice content;
        struct journal_entry entry;
        enum err err = read_place(&r, JOURNAL_ENTRY, place, &content);
        if (err == ERR_NOT_FOUND) {
            continue;
        }
        TRY(err);
        if (journal_entry_read(JOURNAL_ENTRY, content, &entry) != OK) {
            TRY(not_understood(&r, place));
            continue;
        }
        TRY(each(ctx, entry.id, entry.content));
    }
    return OK;
}

MUST_USE enum err log_entries(struct log *l, uint8_t table,
                              enum err (*each)(void *ctx, uint64_t id, struct slice content),
                              void *ctx)
{
    (void)pthread_mutex_lock(&l->lock);
    enum err err = entries_locked(l, table, each, ctx);
    (void)pthread_mutex_unlock(&l->lock);
    return err;
}

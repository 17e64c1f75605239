/*
 * What waits long leaves memory: above a share of the ceiling a delivery on record keeps the husk
 * of its message only (core/msg.h), and the body comes back from the log when the client is near to
 * it. docs/ORDER.md rule 11.
 *
 * Nothing here is done per message as long as there is room: a turn compares two numbers.
 */
#include "base/plant.h"
#include "core/pressure.h"
#include "service/broker/ceiling_private.h"
#include "service/broker/conn_private.h"
#include "service/broker/reading.h"
#include "service/broker/route_private.h"
#include "service/broker/worker_private.h"

enum {
    SPILL_STEPS = 1024,      /* sessions and deliveries looked at in a turn */
    SPILL_EVERY_MS = 20,     /* when all of them were, the next look */
    NEAR_BYTES = 512 << 10,  /* what stays of SPILL_NEAR, when it is more */
    AHEAD = 32,              /* bodies are asked for so far ahead, */
    AHEAD_BYTES = 256 << 10, /* or so many bytes; */
    AHEAD_SHORT = 2,         /* and these, as long as others have to leave */
    AHEAD_SHORT_BYTES = 32 << 10,
    DISK_TRIES = 10,     /* before what the disk cannot read is given up, */
    DISK_RETRY_MS = 1000 /* so long after each other */
};

static struct session_fetch *fetch_of(const struct conn *c)
{
    return &c->session->queue->fetch;
}

/* ---- out of memory ---- */

bool spill_takes(const struct worker *w, size_t away)
{
    const struct ceiling *c = w->setup.ceiling;
    if (c == NULL || w->setup.driver.read == NULL || away > UINT32_MAX) {
        return false;
    }
    return away >= (c->spill_bytes > 0 ? c->spill_bytes : SPILL_LEAST_BYTES);
}

/* Its client is about to get it: as if all before it were of its size. */
static bool is_near(const struct worker *w, const struct session *s, const struct delivery *d)
{
    uint32_t near = w->setup.ceiling->spill_near > 0 ? w->setup.ceiling->spill_near : SPILL_NEAR;
    size_t ahead = session_ahead(s, d);
    return s->conn != 0 && ahead < near && ahead * msg_cost(d->msg) < NEAR_BYTES;
}

/* What came by a group may have to go to another member at once, whole. */
static bool may_spill(const struct worker *w, const struct delivery *d)
{
    bool is_safe = d->is_recorded && !d->is_early && d->lsn <= w->committed;
    return d->msg != NULL && !msg_is_husk(d->msg) && d->group == 0 && d->msg->body_id != 0 &&
           (is_safe || PLANTED(PLANT_SPILL_EARLY)) && spill_takes(w, msg_away(d->msg));
}

/* Neither its record nor those of what came later are committed. */
static bool is_new(const struct worker *w, const struct delivery *d)
{
    return d->state == DELIVERY_QUEUED && !d->is_tried && d->lsn > w->committed;
}

static enum err spill_one(struct worker *w, struct delivery *d)
{
    const struct msg *husk = NULL;
    TRY(msg_husk(d->msg, &husk));
    session_swap(d, husk);
    count_add(&counts(w)->spilled, 1);
    return OK;
}

/* False: there is no memory, or no step is left; it goes on where it ended. */
static bool spill_session(struct worker *w, struct session *s, unsigned *steps)
{
    struct delivery *d = session_from(s, s->queue->spilled_seq);
    while (d != NULL && (!is_new(w, d) || PLANTED(PLANT_SPILL_EARLY))) {
        bool goes = may_spill(w, d) && !is_near(w, s, d);
        if (*steps == 0 || (goes && spill_one(w, d) != OK)) {
            return false;
        }
        (*steps)--;
        s->queue->spilled_seq = d->seq + 1;
        d = session_from(s, s->queue->spilled_seq);
    }
    s->queue->spilled_seq = d == NULL ? s->next_seq : s->queue->spilled_seq;
    return true;
}

static bool spill_account(struct worker *w, const struct account *a, unsigned *steps)
{
    size_t at = 0;
    struct session *s;
    while ((s = session_set_next(&a->sessions, &at)) != NULL) {
        if (s->subscriber.is_durable && session_has_queue(s) &&
            s->queue->spilled_seq < s->next_seq && !spill_session(w, s, steps)) {
            return false;
        }
    }
    return true;
}

/* The accounts in turn, from where the last look ended. */
static void spill_look(struct worker *w)
{
    unsigned steps = SPILL_STEPS;
    const struct account *a;
    size_t at = w->spill_account;
    while ((a = map_next(&w->accounts, &at)) != NULL && spill_account(w, a, &steps)) {
        steps -= steps > 0 ? 1 : 0;
        w->spill_account = at;
    }
    w->is_spill_through = a == NULL;
    if (w->is_spill_through) {
        w->spill_account = 0;
    }
    w->spill_at_ms = w->now_ms + (w->is_spill_through ? SPILL_EVERY_MS : 1);
}

void spill_turn(struct worker *w, uint64_t used)
{
    if (w->setup.driver.read == NULL) {
        return;
    }
    w->is_spilling = pressure_spills(w->is_spilling, used, w->setup.ceiling->bytes);
    if (w->is_spilling && w->now_ms >= w->spill_at_ms) {
        spill_look(w);
    }
}

/* Until it is acknowledged it is needed only if it has to leave once more. Else who wakes up with
 * many others would have a copy of his own of all that is in his window. */
void spill_sent(const struct worker *w, struct delivery *d)
{
    const struct msg *husk = NULL;
    if (msg_has_husk(d->msg) && may_spill(w, d) && msg_husk(d->msg, &husk) == OK) {
        session_swap(d, husk);
    }
}

void spill_stalled(struct worker *w, struct conn *c)
{
    struct delivery *d = session_unsent(c->session);
    for (unsigned i = 0; i < SPILL_NEAR && d != NULL; i++) {
        if (may_spill(w, d) && spill_one(w, d) != OK) {
            break; /* no memory: the next look is soon */
        }
        d = session_from(c->session, d->seq + 1);
    }
    if (fetch_of(c)->seq > 0) {
        fetch_of(c)->seq = 0;
    }
}

void spill_slept(struct session *s)
{
    if (session_has_queue(s)) {
        s->queue->spilled_seq = 0; /* what was near is far now */
        list_unlink(&s->queue->fetch.thirsty);
        s->queue->fetch = (struct session_fetch){0};
    }
}

/* ---- and back ---- */

/* c is looked at again when an answer makes room, or at this time. */
static void wait_for_room(struct worker *w, struct conn *c, uint64_t at_ms)
{
    struct session_fetch *f = fetch_of(c);
    if (!list_is_linked(&f->thirsty)) {
        f->conn = c->handle;
        list_append(&w->thirsty, &f->thirsty);
    }
    w->thirst_at_ms = at_ms < w->thirst_at_ms ? at_ms : w->thirst_at_ms;
}

static bool is_full(const struct worker *w, const struct msg *husk)
{
    return w->n_readings >= READING_MAX ||
           (w->n_readings > 0 && husk->n_away > READING_BYTES_MAX - w->reading_bytes);
}

/* False: not now. */
static bool ask(struct worker *w, struct conn *c, const struct delivery *d)
{
    struct reading *r = NULL;
    if (is_full(w, d->msg)) {
        wait_for_room(w, c, UINT64_MAX);
        return false;
    }
    if (reading_new(w->setup.index, c->handle, d->seq, d->msg, &r) != OK ||
        w->setup.driver.read(w->setup.driver.ctx, r) != OK) {
        wait_for_room(w, c, w->now_ms + SHORT_RETRY_MS);
        return false;
    }
    w->n_readings++;
    w->reading_bytes += d->msg->n_away;
    fetch_of(c)->n_asked++;
    fetch_of(c)->seq = d->seq;
    return true;
}

static void ask_ahead(struct worker *w, struct conn *c, const struct delivery *first)
{
    const struct delivery *d = first;
    unsigned most = w->is_spilling ? AHEAD_SHORT : AHEAD;
    size_t bytes = 0, most_bytes = w->is_spilling ? AHEAD_SHORT_BYTES : AHEAD_BYTES;
    bool goes_on = w->now_ms >= fetch_of(c)->at_ms;
    if (!goes_on) {
        wait_for_room(w, c, fetch_of(c)->at_ms);
    }
    for (unsigned i = 0; i < most && d != NULL && goes_on; i++) {
        if (d->msg != NULL && d->seq > fetch_of(c)->seq && msg_is_husk(d->msg)) {
            goes_on = ask(w, c, d);
        }
        bytes += d->msg != NULL ? msg_cost(d->msg) : 0;
        goes_on = goes_on && bytes < most_bytes;
        d = session_from(c->session, d->seq + 1);
    }
}

void spill_fetch(struct worker *w, struct conn *c, const struct delivery *d)
{
    if (PLANTED(PLANT_SPILL_OVERTAKEN)) {
        session_drop(c->session, session_unsent(c->session));
        conn_mark_dirty(w, c);
        return;
    }
    if (d->seq <= fetch_of(c)->seq && fetch_of(c)->n_asked == 0) {
        fetch_of(c)->seq = d->seq - 1; /* the answer was no, or did not fit in */
    }
    ask_ahead(w, c, d);
}

void spill_fetch_more(struct worker *w, struct conn *c)
{
    const struct delivery *d = session_unsent(c->session);
    if (d != NULL) {
        ask_ahead(w, c, d);
    }
}

/* d is the first that waits: without its body nothing behind it leaves. */
static void give_up(struct worker *w, struct conn *c, struct delivery *d, enum err why)
{
    bool is_short = why == ERR_NOMEM;
    bool is_lost = why == ERR_NOT_FOUND || why == ERR_CRYPTO || why == ERR_MALFORMED;
    if (is_short || (!is_lost && ++fetch_of(c)->n_errors < DISK_TRIES)) {
        fetch_of(c)->at_ms = w->now_ms + (is_short ? SHORT_RETRY_MS : DISK_RETRY_MS);
        wait_for_room(w, c, fetch_of(c)->at_ms);
        return;
    }
    fetch_of(c)->n_errors = 0;
    count_add(&counts(w)->dropped_store, 1);
    delivery_drop(
        w, c, d, EVENT_store_integrity,
        "its body cannot be read from the store any more, see the event of the log. Check "
        "the disk; a backup may have the message");
}

static void take(struct worker *w, struct conn *c, struct reading *r)
{
    const struct delivery *first = session_unsent(c->session);
    struct delivery *d = session_from(c->session, r->seq);
    if (d == NULL || d->seq != r->seq || d->msg != r->husk) {
        return;
    }
    if (r->result == OK) {
        session_swap(d, TAKE(r->whole));
        fetch_of(c)->n_errors = 0;
        count_add(&counts(w)->read_back, 1);
    } else if (d == first) {
        give_up(w, c, d, r->result);
    }
}

static void wake_thirsty(struct worker *w, size_t most)
{
    struct list_node *n;
    for (; most > 0 && (n = list_first(&w->thirsty)) != NULL; most--) {
        list_unlink(n);
        struct conn *c = conn_find(w, LIST_ENTRY(n, struct session_fetch, thirsty)->conn);
        if (c != NULL) {
            conn_mark_dirty(w, c);
        }
    }
}

void spill_arrived(struct worker *w, struct reading *r)
{
    struct conn *c = conn_find(w, r->conn);
    w->n_readings--;
    w->reading_bytes -= r->husk->n_away;
    wake_thirsty(w, 1); /* before c, which would take the room */
    if (c != NULL && c->phase == CONN_OPEN) {
        fetch_of(c)->n_asked--;
        take(w, c, r);
        conn_mark_dirty(w, c);
    }
    reading_free(r);
}

/* Who was woken for an answer may not have needed it: with the last one all the others are looked
 * at.
 */
static bool is_stuck(const struct worker *w)
{
    return w->n_readings == 0 && w->thirst_at_ms == UINT64_MAX && !list_is_empty(&w->thirsty);
}

void spill_retry(struct worker *w)
{
    if (w->thirst_at_ms <= w->now_ms || is_stuck(w)) {
        w->thirst_at_ms = UINT64_MAX;
        wake_thirsty(w, w->n_conns);
    }
}

bool worker_is_reading(const struct worker *w)
{
    return w->n_readings > 0 || !list_is_empty(&w->thirsty);
}

uint64_t spill_deadline(const struct worker *w)
{
    uint64_t at = w->is_spilling && !w->is_spill_through ? w->spill_at_ms : UINT64_MAX;
    at = is_stuck(w) ? w->now_ms : at;
    return w->thirst_at_ms < at ? w->thirst_at_ms : at;
}

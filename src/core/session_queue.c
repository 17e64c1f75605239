/* The deliveries of a session as they lie: a ring that grows by doubling, what it costs the
 * account, how one comes in, is found again and leaves. */
#include <assert.h>

#include "base/mem.h"
#include "core/account.h"
#include "core/session_private.h"

enum { SESSION_FIRST_RING = 8, SESSION_DONE_MAX = 32 };

/* Nothing is ever written there. */
static const struct session_queue EMPTY;

void queue_init(struct session *s)
{
    s->queue = (struct session_queue *)(uintptr_t)&EMPTY;
}

static struct queue_load *load_of(const struct session *s)
{
    return s->account != NULL ? s->account->load : NULL;
}

/* uncount - one delivery less is unfinished. */
static void uncount(const struct session *s)
{
    if (load_of(s) != NULL) {
        load_of(s)->messages--;
    }
}

/* charge - the newest delivery is unfinished, and its body (NULL: none) is kept. */
static void charge(struct session *s, const struct msg *m)
{
    size_t cost = m != NULL ? msg_cost(m) : 0;
    s->queue->queued_bytes += cost;
    if (s->account == NULL) {
        return;
    }
    s->account->queued_bytes += cost;
    if (s->account->load != NULL) {
        s->account->load->messages++;
        s->account->load->bytes += cost;
    }
}

void queue_release(struct session *s, struct delivery *d)
{
    if (d->msg == NULL) {
        return;
    }
    size_t cost = msg_cost(d->msg);
    struct queue_load *load = load_of(s);
    if (load != NULL) {
        load->bytes -= cost;
    }
    s->queue->queued_bytes -= cost;
    if (s->account != NULL) {
        s->account->queued_bytes -= cost;
    }
    d->msg = msg_unref(d->msg);
}

void queue_done(struct session *s)
{
    for (size_t i = 0; i < s->queue->n_deliveries; i++) {
        queue_release(s, queue_at(s, i));
        if (queue_at(s, i)->state != DELIVERY_DONE) {
            uncount(s);
        }
        mem_free(queue_at(s, i)->ids);
    }
    if (s->queue != &EMPTY) {
        list_unlink(&s->queue->fetch.thirsty);
        mem_free(s->queue->ring);
        mem_free(s->queue);
    }
}

/* compact - closes the holes that finished deliveries left behind an unfinished one. Nothing that
 * was never looked at is finished, so only the front part moves. */
static void compact(struct session *s)
{
    size_t to = s->queue->n_touched, holes_before_unsent = 0;
    for (size_t from = s->queue->n_touched; from > 0; from--) {
        if (queue_at(s, from - 1)->state == DELIVERY_DONE) {
            holes_before_unsent += from - 1 < s->queue->n_unsent_at ? 1 : 0;
            continue;
        }
        to--;
        if (to != from - 1) {
            *queue_at(s, to) = *queue_at(s, from - 1);
        }
    }
    s->queue->ring_at = (s->queue->ring_at + to) & (s->queue->ring_cap - 1);
    s->queue->n_deliveries -= to;
    s->queue->n_touched -= to;
    s->queue->n_unsent_at -= holes_before_unsent;
    s->queue->n_done = 0;
}

/* Finished ones leave the front at once. Holes behind are closed when they are the larger part of
 * what a search must pass, so their cost is spread over the deliveries that left them. */
void queue_tidy(struct session *s)
{
    if (s->queue->n_done == 0) {
        return;
    }
    while (s->queue->n_deliveries > 0 && queue_at(s, 0)->state == DELIVERY_DONE) {
        s->queue->ring_at = (s->queue->ring_at + 1) & (s->queue->ring_cap - 1);
        s->queue->n_deliveries--;
        s->queue->n_touched -= s->queue->n_touched > 0 ? 1 : 0;
        s->queue->n_unsent_at -= s->queue->n_unsent_at > 0 ? 1 : 0;
        s->queue->n_done--;
    }
    if (s->queue->n_done > SESSION_DONE_MAX && s->queue->n_done > s->queue->n_touched / 2) {
        compact(s);
    }
}

void queue_touch(struct session *s, const struct delivery *d)
{
    size_t next = queue_index(s, d) + 1;
    s->queue->n_touched = next > s->queue->n_touched ? next : s->queue->n_touched;
}

void queue_finish(struct session *s, struct delivery *d)
{
    if (d->state == DELIVERY_SENT || d->state == DELIVERY_RECEIVED ||
        d->state == DELIVERY_RELEASED) {
        s->queue->n_inflight--;
    }
    s->queue->n_received -= d->state == DELIVERY_RECEIVED ? 1 : 0;
    queue_release(s, d);
    d->ids = mem_free(d->ids);
    d->n_ids = 0;
    d->state = DELIVERY_DONE;
    uncount(s);
    s->queue->n_done++;
    queue_touch(s, d);
}

static enum err queue_own(struct session *s)
{
    struct session_queue *own = s->queue == &EMPTY ? mem_zalloc(sizeof *own) : s->queue;
    if (own == NULL) {
        return ERR_NOMEM;
    }
    s->queue = own;
    return OK;
}

static enum err ring_room(struct session *s)
{
    TRY(queue_own(s));
    if (s->queue->n_deliveries < s->queue->ring_cap) {
        return OK;
    }
    size_t cap = s->queue->ring_cap == 0 ? SESSION_FIRST_RING : s->queue->ring_cap * 2;
    struct delivery *ring = mem_array(cap, sizeof *ring);
    if (ring == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->queue->n_deliveries; i++) {
        ring[i] = *queue_at(s, i);
    }
    mem_free(s->queue->ring);
    s->queue->ring = ring;
    s->queue->ring_cap = cap;
    s->queue->ring_at = 0;
    return OK;
}

enum err queue_add(struct session *s, const struct delivery *d, const uint32_t *ids, uint16_t n_ids)
{
    uint32_t *several = NULL;
    TRY(ring_room(s));
    if (n_ids > 1) {
        several = mem_array(n_ids, sizeof *several);
        if (several == NULL) {
            return ERR_NOMEM;
        }
        memcpy(several, ids, n_ids * sizeof *several);
    }
    struct delivery *added = queue_at(s, s->queue->n_deliveries++);
    *added = *d;
    added->id = n_ids == 1 ? ids[0] : 0;
    added->ids = several;
    added->n_ids = n_ids;
    s->next_seq = d->seq + 1;
    if (d->msg != NULL) {
        msg_ref(d->msg);
    }
    charge(s, d->msg);
    return OK;
}

enum err session_enqueue(struct session *s, const struct msg *m, uint8_t qos, bool retain,
                         const uint32_t *ids, uint16_t n_ids, uint64_t lsn,
                         const struct role_limits *limits, uint64_t *ret_seq)
{
    assert(qos <= 2);
    if (session_count(s) >= limits->queue_messages ||
        s->queue->queued_bytes > limits->queue_bytes ||
        msg_cost(m) > limits->queue_bytes - s->queue->queued_bytes) {
        return ERR_QUOTA;
    }
    struct delivery d = {.msg = m, .seq = s->next_seq, .lsn = lsn, .qos = qos, .retain = retain};
    TRY(queue_add(s, &d, ids, n_ids));
    if (ret_seq != NULL) {
        *ret_seq = d.seq;
    }
    return OK;
}

void session_take_back(struct session *s, uint64_t seq)
{
    struct delivery *d = queue_at(s, s->queue->n_deliveries - 1);
    assert(s->queue->n_deliveries > s->queue->n_touched && d->seq == seq &&
           d->state == DELIVERY_QUEUED);
    queue_release(s, d);
    mem_free(d->ids);
    uncount(s);
    s->queue->n_deliveries--;
    s->next_seq = seq;
}

void session_set_lsn(struct session *s, uint64_t seq, uint64_t lsn)
{
    for (size_t i = s->queue->n_deliveries; i > 0 && queue_at(s, i - 1)->seq >= seq; i--) {
        struct delivery *d = queue_at(s, i - 1);
        if (d->seq == seq && d->state == DELIVERY_QUEUED) {
            d->lsn = lsn;
            d->is_recorded = true;
        }
    }
}

void session_set_group(struct session *s, uint32_t group)
{
    queue_at(s, s->queue->n_deliveries - 1)->group = group;
}

size_t queue_place(const struct session *s, uint64_t seq)
{
    size_t low = 0, high = s->queue->n_deliveries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (queue_at(s, middle)->seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* As a rule nothing is missing between it and the newest. */
struct delivery *queue_find(const struct session *s, uint64_t seq)
{
    size_t n = s->queue->n_deliveries;
    uint64_t behind =
        n > 0 ? queue_at(s, n - 1)->seq - seq : 0; /* of one that is not there yet: huge */
    if (behind < n && queue_at(s, n - 1 - behind)->seq == seq) {
        return queue_at(s, n - 1 - behind);
    }
    size_t place = queue_place(s, seq);
    return place < n && queue_at(s, place)->seq == seq ? queue_at(s, place) : NULL;
}

struct delivery *session_from(struct session *s, uint64_t seq)
{
    size_t place = queue_place(s, seq);
    while (place < s->queue->n_deliveries && queue_at(s, place)->state == DELIVERY_DONE) {
        place++;
    }
    return place < s->queue->n_deliveries ? queue_at(s, place) : NULL;
}

size_t session_ahead(const struct session *s, const struct delivery *d)
{
    size_t index = queue_index(s, d);
    return index > s->queue->n_unsent_at ? index - s->queue->n_unsent_at : 0;
}

void session_swap(struct delivery *d, const struct msg *m)
{
    assert(msg_cost(d->msg) == msg_cost(m)); /* nothing is charged anew */
    msg_unref(d->msg);
    d->msg = m;
}

size_t session_sleep(struct session *s)
{
    return session_shed(s);
}

size_t session_shed(struct session *s)
{
    size_t n = 0;
    for (size_t i = s->queue->n_unsent_at; i < s->queue->n_deliveries; i++) {
        struct delivery *d = queue_at(s, i);
        if (d->state == DELIVERY_QUEUED && d->qos == 0) {
            queue_finish(s, d);
            n++;
        }
    }
    queue_tidy(s);
    return n;
}

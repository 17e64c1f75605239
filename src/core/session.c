#include "core/session.h"

#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "core/account.h"

enum { SESSION_FIRST_RING = 8, SESSION_DONE_MAX = 32, PACKET_IDS = UINT16_MAX };

/* Nothing is ever written there. */
static const struct session_queue EMPTY;
static const struct session_rest NO_REST;

enum err session_new(uint64_t id, struct account *account, struct slice client_id, bool is_durable,
                     struct session **ret)
{
    assert(client_id.n <= UINT16_MAX);
    struct session *s = mem_zalloc(sizeof *s + client_id.n);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    subscriber_init(&s->subscriber, SUBSCRIBER_SESSION, is_durable);
    s->id = id;
    s->account = account;
    slice_copy(s->client_id, client_id);
    s->client_id_n = (uint16_t)client_id.n;
    s->next_seq = 1;
    s->queue = (struct session_queue *)(uintptr_t)&EMPTY;
    s->rest = (struct session_rest *)(uintptr_t)&NO_REST;
    enum err e = is_durable ? session_needs_rest(s) : OK;
    if (e != OK) {
        mem_free(s);
        return e;
    }
    *ret = s;
    return OK;
}

bool session_has_rest(const struct session *s)
{
    return s->rest != &NO_REST;
}

enum err session_needs_rest(struct session *s)
{
    if (session_has_rest(s)) {
        return OK;
    }
    struct session_rest *rest = mem_zalloc(sizeof *rest);
    if (rest == NULL) {
        return ERR_NOMEM;
    }
    rest->session = s;
    s->rest = rest;
    return OK;
}

static void rest_free(struct session *s)
{
    if (session_has_rest(s)) {
        msg_unref(s->rest->will);
        mem_free(s->rest);
    }
}

struct slice session_key(const void *session)
{
    return session_client_id(session);
}

static struct delivery *at(const struct session *s, size_t index)
{
    return &s->queue->ring[(s->queue->ring_at + index) & (s->queue->ring_cap - 1)];
}

static size_t index_of(const struct session *s, const struct delivery *d)
{
    return ((size_t)(d - s->queue->ring) - s->queue->ring_at) & (s->queue->ring_cap - 1);
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

/* a may be NULL: nobody is charged. */
static void charge(struct account *a, struct session_queue *q, const struct msg *m)
{
    size_t cost = msg_cost(m);
    q->queued_bytes += cost;
    if (a == NULL) {
        return;
    }
    a->queued_bytes += cost;
    if (a->load != NULL) {
        a->load->messages++;
        a->load->bytes += cost;
    }
}

/* release_msg - the body is not needed any more. */
static void release_msg(struct session *s, struct delivery *d)
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

struct session *session_free(struct session *s)
{
    if (s == NULL) {
        return NULL;
    }
    assert(s->subscriber.n_subs == 0);
    for (size_t i = 0; i < s->queue->n_deliveries; i++) {
        release_msg(s, at(s, i));
        if (at(s, i)->state != DELIVERY_DONE) {
            uncount(s);
        }
        mem_free(at(s, i)->ids);
    }
    if (s->complaint != NULL) {
        list_unlink(&s->complaint->node);
        mem_free(s->complaint);
    }
    if (s->queue != &EMPTY) {
        list_unlink(&s->queue->fetch.thirsty);
        mem_free(s->queue->ring);
        mem_free(s->queue);
    }
    mem_free(s->inbound);
    rest_free(s);
    return mem_free(s);
}

/* compact - closes the holes that finished deliveries left behind an unfinished one. Nothing that
 * was never looked at is finished, so only the front part moves. */
static void compact(struct session *s)
{
    size_t to = s->queue->n_touched, holes_before_unsent = 0;
    for (size_t from = s->queue->n_touched; from > 0; from--) {
        if (at(s, from - 1)->state == DELIVERY_DONE) {
            holes_before_unsent += from - 1 < s->queue->n_unsent_at ? 1 : 0;
            continue;
        }
        to--;
        if (to != from - 1) {
            *at(s, to) = *at(s, from - 1);
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
static void tidy(struct session *s)
{
    if (s->queue->n_done == 0) {
        return;
    }
    while (s->queue->n_deliveries > 0 && at(s, 0)->state == DELIVERY_DONE) {
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

/* touch - d was looked at. */
static void touch(struct session *s, const struct delivery *d)
{
    size_t next = index_of(s, d) + 1;
    s->queue->n_touched = next > s->queue->n_touched ? next : s->queue->n_touched;
}

/* receive - d is RECEIVED, its lsn is known. They are in order while each is behind the one before
 * it, in the queue and in the journal. */
static void receive(struct session *s, struct delivery *d)
{
    if (s->queue->n_received == 0) {
        s->queue->is_received_mixed = false;
        s->queue->received_seq = d->seq;
    } else if (d->seq < s->queue->received_last_seq || d->lsn < s->queue->received_lsn) {
        s->queue->is_received_mixed = true;
        s->queue->received_seq = d->seq < s->queue->received_seq ? d->seq : s->queue->received_seq;
    }
    s->queue->received_last_seq = d->seq;
    s->queue->received_lsn = d->lsn;
    d->state = DELIVERY_RECEIVED;
    s->queue->n_received++;
}

/* finish - d is DONE; it leaves with the next tidy(). */
static void finish(struct session *s, struct delivery *d)
{
    if (d->state == DELIVERY_SENT || d->state == DELIVERY_RECEIVED ||
        d->state == DELIVERY_RELEASED) {
        s->queue->n_inflight--;
    }
    s->queue->n_received -= d->state == DELIVERY_RECEIVED ? 1 : 0;
    release_msg(s, d);
    d->ids = mem_free(d->ids);
    d->n_ids = 0;
    d->state = DELIVERY_DONE;
    uncount(s);
    s->queue->n_done++;
    touch(s, d);
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
        ring[i] = *at(s, i);
    }
    mem_free(s->queue->ring);
    s->queue->ring = ring;
    s->queue->ring_cap = cap;
    s->queue->ring_at = 0;
    return OK;
}

/* add - d behind the others; its ids are copied, its reference is the caller's to make. */
static enum err add(struct session *s, const struct delivery *d, const uint32_t *ids,
                    uint16_t n_ids)
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
    struct delivery *added = at(s, s->queue->n_deliveries++);
    *added = *d;
    added->id = n_ids == 1 ? ids[0] : 0;
    added->ids = several;
    added->n_ids = n_ids;
    s->next_seq = d->seq + 1;
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
    TRY(add(s, &d, ids, n_ids));
    msg_ref(m);
    charge(s->account, s->queue, m);
    if (ret_seq != NULL) {
        *ret_seq = d.seq;
    }
    return OK;
}

void session_take_back(struct session *s, uint64_t seq)
{
    struct delivery *d = at(s, s->queue->n_deliveries - 1);
    assert(s->queue->n_deliveries > s->queue->n_touched && d->seq == seq &&
           d->state == DELIVERY_QUEUED);
    release_msg(s, d);
    mem_free(d->ids);
    uncount(s);
    s->queue->n_deliveries--;
    s->next_seq = seq;
}

void session_set_lsn(struct session *s, uint64_t seq, uint64_t lsn)
{
    for (size_t i = s->queue->n_deliveries; i > 0 && at(s, i - 1)->seq >= seq; i--) {
        struct delivery *d = at(s, i - 1);
        if (d->seq == seq && d->state == DELIVERY_QUEUED) {
            d->lsn = lsn;
            d->is_recorded = true;
        }
    }
}

void session_set_group(struct session *s, uint32_t group)
{
    at(s, s->queue->n_deliveries - 1)->group = group;
}

bool delivery_may_have_left(const struct delivery *d)
{
    return !PLANTED(PLANT_GROUP_QOS2_AGAIN) && (d->state != DELIVERY_QUEUED || d->n_sent > 0);
}

const struct delivery *session_next_shared(const struct session *s, size_t *next)
{
    while (*next < s->queue->n_deliveries) {
        const struct delivery *d = at(s, (*next)++);
        bool waits = d->state == DELIVERY_QUEUED || d->state == DELIVERY_SENT;
        bool is_stuck = delivery_may_have_left(d);
        if (d->group != 0 && waits && (d->qos == 1 || (d->qos == 2 && !is_stuck))) {
            return d; /* SPEC: MQTT5-4.8.2-5 */
        }
    }
    return NULL;
}

/* A message that began to leave is not expired: the client may hold its packet id.
 * SPEC: MQTT5-3.3.2-5, MQTT5-4.3.3-7 */
static bool is_expired(const struct delivery *d, uint64_t now_ms)
{
    return d->msg->expires_at_ms <= now_ms && (!d->is_dup || d->may_expire);
}

static void look_past(struct session *s)
{
    s->queue->n_unsent_at++;
    s->queue->n_touched =
        s->queue->n_unsent_at > s->queue->n_touched ? s->queue->n_unsent_at : s->queue->n_touched;
}

struct delivery *session_unsent(struct session *s)
{
    while (s->queue->n_unsent_at < s->queue->n_deliveries &&
           at(s, s->queue->n_unsent_at)->state != DELIVERY_QUEUED) {
        look_past(s);
    }
    tidy(s);
    return s->queue->n_unsent_at < s->queue->n_deliveries ? at(s, s->queue->n_unsent_at) : NULL;
}

struct delivery *session_next_expired(struct session *s, uint64_t now_ms)
{
    struct delivery *d = session_unsent(s);
    return d != NULL && is_expired(d, now_ms) ? d : NULL;
}

static uint16_t id_of(const struct session *s, uint64_t seq)
{
    return (uint16_t)((seq - 1 - s->queue->id_base) % PACKET_IDS + 1);
}

static bool holds_id(const struct delivery *d)
{
    return d->packet_id != 0 && d->state != DELIVERY_DONE;
}

/* The index of the first whose seq is this one or a later one. */
static size_t place_of(const struct session *s, uint64_t seq)
{
    size_t low = 0, high = s->queue->n_deliveries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (at(s, middle)->seq < seq) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* As a rule nothing is missing between it and the newest. */
static struct delivery *delivery_of(const struct session *s, uint64_t seq)
{
    size_t n = s->queue->n_deliveries;
    uint64_t behind = n > 0 ? at(s, n - 1)->seq - seq : 0; /* of one that is not there yet: huge */
    if (behind < n && at(s, n - 1 - behind)->seq == seq) {
        return at(s, n - 1 - behind);
    }
    size_t place = place_of(s, seq);
    return place < n && at(s, place)->seq == seq ? at(s, place) : NULL;
}

struct delivery *session_from(struct session *s, uint64_t seq)
{
    size_t place = place_of(s, seq);
    while (place < s->queue->n_deliveries && at(s, place)->state == DELIVERY_DONE) {
        place++;
    }
    return place < s->queue->n_deliveries ? at(s, place) : NULL;
}

size_t session_ahead(const struct session *s, const struct delivery *d)
{
    size_t index = index_of(s, d);
    return index > s->queue->n_unsent_at ? index - s->queue->n_unsent_at : 0;
}

void session_swap(struct delivery *d, const struct msg *m)
{
    assert(msg_cost(d->msg) == msg_cost(m)); /* nothing is charged anew */
    msg_unref(d->msg);
    d->msg = m;
}

/* Does an older delivery hold the packet id that d is to get? Only after 65,535 later ones, so as a
 * rule nothing is searched. */
static bool must_wait_for_id(const struct session *s, const struct delivery *d)
{
    uint64_t first = at(s, 0)->seq;
    for (uint64_t seq = d->seq; d->packet_id == 0 && seq - first >= PACKET_IDS;) {
        seq -= PACKET_IDS;
        const struct delivery *other = delivery_of(s, seq);
        if (other != NULL && holds_id(other)) {
            return true;
        }
    }
    return false;
}

struct delivery *session_next(struct session *s, uint32_t window, uint64_t committed,
                              uint64_t now_ms, uint32_t *n_expired)
{
    struct delivery *d = NULL;
    while ((d = session_unsent(s)) != NULL && is_expired(d, now_ms)) {
        session_drop(s, d);
        (*n_expired)++;
    }
    if (d == NULL) {
        return NULL;
    }
    uint32_t most = window < PACKET_IDS ? window : PACKET_IDS;
    if (d->qos > 0 && (s->queue->n_inflight >= most || must_wait_for_id(s, d))) {
        return NULL; /* SPEC: MQTT5-3.3.4-9, MQTT5-4.9.0-2, MQTT5-2.2.1-4 */
    }
    if ((d->qos == 2 || d->is_tried) && d->lsn > committed) {
        return NULL;
    }
    return d;
}

static bool is_retry(const struct delivery *d)
{
    return d->state == DELIVERY_QUEUED && d->is_dup && d->is_recorded && !d->is_tried;
}

struct delivery *session_next_retry(const struct session *s, uint32_t window, size_t *next)
{
    size_t n = s->queue->n_deliveries - s->queue->n_unsent_at;
    if (*next == 0 && (n == 0 || !is_retry(at(s, s->queue->n_unsent_at)))) {
        return NULL;
    }
    while (*next < n && *next < window) {
        struct delivery *d = at(s, s->queue->n_unsent_at + (*next)++);
        if (is_retry(d)) {
            return d;
        }
    }
    return NULL;
}

uint16_t session_assign_id(struct session *s, struct delivery *d)
{
    assert(d->qos > 0);
    if (d->packet_id == 0) {
        d->packet_id = id_of(s, d->seq); /* SPEC: MQTT5-2.2.1-4, MQTT3-2.3.1-4 */
        touch(s, d);
    }
    return d->packet_id;
}

void session_sent(struct session *s, struct delivery *d)
{
    assert(d->state == DELIVERY_QUEUED && index_of(s, d) == s->queue->n_unsent_at);
    d->n_sent = d->n_sent < UINT8_MAX ? (uint8_t)(d->n_sent + 1) : d->n_sent;
    if (d->qos == 0) {
        finish(s, d);
    } else {
        session_assign_id(s, d);
        d->state = DELIVERY_SENT;
        s->queue->n_inflight++;
    }
    look_past(s);
    tidy(s);
}

void session_drop(struct session *s, struct delivery *d)
{
    assert(d->state == DELIVERY_QUEUED && index_of(s, d) == s->queue->n_unsent_at);
    finish(s, d);
    look_past(s);
    tidy(s);
}

/* The id follows from the seq, so there is one place to look at for each 65,535 deliveries; what is
 * in flight is the newest of them. */
static struct delivery *find_id(const struct session *s, uint16_t packet_id)
{
    if (packet_id == 0 || s->queue->n_touched == 0) {
        return NULL;
    }
    uint64_t first = at(s, 0)->seq, seq = at(s, s->queue->n_touched - 1)->seq;
    uint64_t back = ((uint64_t)id_of(s, seq) + PACKET_IDS - packet_id) % PACKET_IDS;
    while (seq >= back && seq - back >= first) {
        seq -= back;
        back = PACKET_IDS;
        struct delivery *d = delivery_of(s, seq);
        if (d != NULL && d->packet_id == packet_id && holds_id(d) && d->state != DELIVERY_QUEUED) {
            return d;
        }
    }
    return NULL;
}

const struct delivery *session_find_packet(const struct session *s, uint16_t packet_id)
{
    return find_id(s, packet_id);
}

enum err session_puback(struct session *s, uint16_t packet_id, uint64_t *ret_seq)
{
    struct delivery *d = find_id(s, packet_id);
    if (d == NULL || d->qos != 1) {
        return ERR_NOT_FOUND;
    }
    *ret_seq = d->seq;
    finish(s, d);
    tidy(s);
    return OK;
}

enum err session_pubrec(struct session *s, uint16_t packet_id, uint8_t reason, uint64_t lsn,
                        uint64_t *ret_seq, bool *ret_again)
{
    struct delivery *d = find_id(s, packet_id);
    if (d == NULL || d->qos != 2) {
        return ERR_NOT_FOUND;
    }
    *ret_seq = d->seq;
    *ret_again = d->state == DELIVERY_RELEASED;
    if (d->state == DELIVERY_RELEASED) {
        return OK;
    }
    if (reason >= 0x80) {
        finish(s, d); /* SPEC: MQTT5-4.4.0-2 */
        tidy(s);
    } else if (d->state == DELIVERY_SENT) {
        release_msg(s, d); /* SPEC: MQTT5-4.3.3-6, MQTT3-4.3.3-1: never sent again */
        d->lsn = lsn;
        receive(s, d);
    }
    return OK;
}

/* The one whose PUBREC was committed first: where clients answer in order the first there is, else
 * all are looked at. */
static struct delivery *first_received(const struct session *s)
{
    struct delivery *first = NULL;
    uint32_t left = s->queue->n_received;
    for (size_t i = left > 0 ? place_of(s, s->queue->received_seq) : 0;
         left > 0 && i < s->queue->n_touched; i++) {
        struct delivery *d = at(s, i);
        if (d->state == DELIVERY_RECEIVED) {
            left = s->queue->is_received_mixed ? left - 1 : 0;
            first = first == NULL || d->lsn < first->lsn ? d : first;
        }
    }
    return first;
}

uint16_t session_next_pubrel(struct session *s, uint64_t committed)
{
    struct delivery *first = first_received(s);
    if (first == NULL || first->lsn > committed) {
        return 0;
    }
    first->state = DELIVERY_RELEASED; /* SPEC: MQTT5-4.3.3-4, MQTT5-4.3.3-5, MQTT-4.6.0-4 */
    s->queue->n_received--;
    s->queue->received_seq = s->queue->is_received_mixed ? s->queue->received_seq : first->seq + 1;
    return first->packet_id;
}

enum err session_pubcomp(struct session *s, uint16_t packet_id, uint64_t *ret_seq)
{
    struct delivery *d = find_id(s, packet_id);
    if (d == NULL || d->state != DELIVERY_RELEASED) {
        return ERR_NOT_FOUND;
    }
    *ret_seq = d->seq;
    finish(s, d);
    tidy(s);
    return OK;
}

void session_resume(struct session *s)
{
    if (s->queue == &EMPTY) {
        return;
    }
    if (PLANTED(PLANT_REUSED_OUTBOUND_ID)) {
        s->queue->id_base = s->next_seq - 1;
    }
    s->queue->n_received = 0; /* counted anew */
    for (size_t i = 0; i < s->queue->n_touched; i++) {
        struct delivery *d = at(s, i);
        d->is_tried = false;
        if (d->state == DELIVERY_SENT) {
            d->state = DELIVERY_QUEUED;
            d->is_dup = true; /* SPEC: MQTT-3.3.1-1 */
            d->may_expire = false;
            s->queue->n_inflight--;
        } else if (d->state == DELIVERY_RELEASED || d->state == DELIVERY_RECEIVED) {
            receive(s, d);
        }
    }
    s->queue->n_unsent_at =
        0; /* SPEC: MQTT-4.4.0-1, MQTT-4.6.0-1: from the oldest on, under their ids */
}

size_t session_sleep(struct session *s)
{
    return session_shed(s);
}

size_t session_shed(struct session *s)
{
    size_t n = 0;
    for (size_t i = s->queue->n_unsent_at; i < s->queue->n_deliveries; i++) {
        struct delivery *d = at(s, i);
        if (d->state == DELIVERY_QUEUED && d->qos == 0) {
            finish(s, d);
            n++;
        }
    }
    tidy(s);
    return n;
}

enum err session_restore(struct session *s, const struct msg *m, uint64_t seq, uint8_t qos,
                         bool retain, const uint32_t *ids, uint16_t n_ids)
{
    assert(qos > 0 && qos <= 2 && seq >= s->next_seq && (m != NULL || qos == 2));
    struct delivery d = {.msg = m,
                         .seq = seq,
                         .qos = qos,
                         .n_sent = 1,
                         .retain = retain,
                         .is_dup = true,
                         .is_recorded = true,
                         .may_expire = qos == 1,
                         .state = DELIVERY_QUEUED};
    TRY(add(s, &d, ids, n_ids));
    struct delivery *added = at(s, s->queue->n_deliveries - 1);
    if (m != NULL && must_wait_for_id(s, added)) { /* so it cannot have left before */
        added->is_dup = false;
        added->n_sent = 0;
    } else {
        (void)session_assign_id(s, added);
    }
    if (m != NULL) {
        msg_ref(m);
        charge(s->account, s->queue, m);
    } else {
        s->queue->n_inflight++;
        receive(s, added);
        if (load_of(s) != NULL) {
            load_of(s)->messages++;
        }
    }
    return OK;
}

void session_restore_tries(struct session *s, uint8_t n_tries)
{
    struct delivery *d = at(s, s->queue->n_deliveries - 1);
    d->n_sent = n_tries > d->n_sent ? n_tries : d->n_sent;
}

void session_restore_next(struct session *s, uint64_t next_seq)
{
    s->next_seq = next_seq > s->next_seq ? next_seq : s->next_seq;
}

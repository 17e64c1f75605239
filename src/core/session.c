/* A session: its life, what of its queue may leave now, and what its client acknowledges. */
#include <assert.h>

#include "base/mem.h"
#include "base/plant.h"
#include "core/session_private.h"

enum { PACKET_IDS = UINT16_MAX };

/* Nothing is ever written there. */
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
    queue_init(s);
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

struct session *session_free(struct session *s)
{
    if (s == NULL) {
        return NULL;
    }
    assert(s->subscriber.n_subs == 0);
    if (s->complaint != NULL) {
        list_unlink(&s->complaint->node);
        mem_free(s->complaint);
    }
    queue_done(s);
    mem_free(s->inbound);
    rest_free(s);
    return mem_free(s);
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

bool delivery_may_have_left(const struct delivery *d)
{
    return !PLANTED(PLANT_GROUP_QOS2_AGAIN) && (d->state != DELIVERY_QUEUED || d->n_sent > 0);
}

const struct delivery *session_next_shared(const struct session *s, size_t *next)
{
    while (*next < s->queue->n_deliveries) {
        const struct delivery *d = queue_at(s, (*next)++);
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
           queue_at(s, s->queue->n_unsent_at)->state != DELIVERY_QUEUED) {
        look_past(s);
    }
    queue_tidy(s);
    return s->queue->n_unsent_at < s->queue->n_deliveries ? queue_at(s, s->queue->n_unsent_at)
                                                          : NULL;
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

/* Does an older delivery hold the packet id that d is to get? Only after 65,535 later ones, so as a
 * rule nothing is searched. */
static bool must_wait_for_id(const struct session *s, const struct delivery *d)
{
    uint64_t first = queue_at(s, 0)->seq;
    for (uint64_t seq = d->seq; d->packet_id == 0 && seq - first >= PACKET_IDS;) {
        seq -= PACKET_IDS;
        const struct delivery *other = queue_find(s, seq);
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
    if (*next == 0 && (n == 0 || !is_retry(queue_at(s, s->queue->n_unsent_at)))) {
        return NULL;
    }
    while (*next < n && *next < window) {
        struct delivery *d = queue_at(s, s->queue->n_unsent_at + (*next)++);
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
        queue_touch(s, d);
    }
    return d->packet_id;
}

void session_sent(struct session *s, struct delivery *d)
{
    assert(d->state == DELIVERY_QUEUED && queue_index(s, d) == s->queue->n_unsent_at);
    d->n_sent = d->n_sent < UINT8_MAX ? (uint8_t)(d->n_sent + 1) : d->n_sent;
    if (d->qos == 0) {
        queue_finish(s, d);
    } else {
        session_assign_id(s, d);
        d->state = DELIVERY_SENT;
        s->queue->n_inflight++;
    }
    look_past(s);
    queue_tidy(s);
}

void session_drop(struct session *s, struct delivery *d)
{
    assert(d->state == DELIVERY_QUEUED && queue_index(s, d) == s->queue->n_unsent_at);
    queue_finish(s, d);
    look_past(s);
    queue_tidy(s);
}

/* The id follows from the seq, so there is one place to look at for each 65,535 deliveries; what is
 * in flight is the newest of them. */
static struct delivery *find_id(const struct session *s, uint16_t packet_id)
{
    if (packet_id == 0 || s->queue->n_touched == 0) {
        return NULL;
    }
    uint64_t first = queue_at(s, 0)->seq, seq = queue_at(s, s->queue->n_touched - 1)->seq;
    uint64_t back = ((uint64_t)id_of(s, seq) + PACKET_IDS - packet_id) % PACKET_IDS;
    while (seq >= back && seq - back >= first) {
        seq -= back;
        back = PACKET_IDS;
        struct delivery *d = queue_find(s, seq);
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
    queue_finish(s, d);
    queue_tidy(s);
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
        queue_finish(s, d); /* SPEC: MQTT5-4.4.0-2 */
        queue_tidy(s);
    } else if (d->state == DELIVERY_SENT) {
        queue_release(s, d); /* SPEC: MQTT5-4.3.3-6, MQTT3-4.3.3-1: never sent again */
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
    for (size_t i = left > 0 ? queue_place(s, s->queue->received_seq) : 0;
         left > 0 && i < s->queue->n_touched; i++) {
        struct delivery *d = queue_at(s, i);
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
    queue_finish(s, d);
    queue_tidy(s);
    return OK;
}

void session_resume(struct session *s)
{
    if (!session_has_queue(s)) {
        return;
    }
    if (PLANTED(PLANT_REUSED_OUTBOUND_ID)) {
        s->queue->id_base = s->next_seq - 1;
    }
    s->queue->n_received = 0; /* counted anew */
    for (size_t i = 0; i < s->queue->n_touched; i++) {
        struct delivery *d = queue_at(s, i);
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
    TRY(queue_add(s, &d, ids, n_ids));
    struct delivery *added = queue_at(s, s->queue->n_deliveries - 1);
    if (m != NULL && must_wait_for_id(s, added)) { /* so it cannot have left before */
        added->is_dup = false;
        added->n_sent = 0;
    } else {
        (void)session_assign_id(s, added);
    }
    if (m == NULL) {
        s->queue->n_inflight++;
        receive(s, added);
    }
    return OK;
}

void session_restore_tries(struct session *s, uint8_t n_tries)
{
    struct delivery *d = queue_at(s, s->queue->n_deliveries - 1);
    d->n_sent = n_tries > d->n_sent ? n_tries : d->n_sent;
}

void session_restore_next(struct session *s, uint64_t next_seq)
{
    s->next_seq = next_seq > s->next_seq ? next_seq : s->next_seq;
}

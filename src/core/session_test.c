#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/scope.h"
#include "core/account.h"
#include "core/session.h"
#include "core/session_model_private.h"

static const struct role_limits LIMITS = ROLE_LIMITS_DEFAULT;
static const uint64_t ALL = UINT64_MAX;

static struct session *fresh(void)
{
    struct session *s = NULL;
    assert_int_equal(session_new(9, NULL, slice_text("client"), true, &s), OK);
    return s;
}

static enum err put(struct session *s, uint8_t qos, size_t payload_bytes,
                    const struct role_limits *limits)
{
    static const uint8_t BYTES[1024];
    struct msg *m = NULL;
    assert_int_equal(
        msg_new(slice_text("t"), (struct slice){0}, slice_of(BYTES, payload_bytes), &m), OK);
    enum err e = session_enqueue(s, m, qos, false, NULL, 0, 0, limits, NULL);
    msg_unref(m);
    return e;
}

static uint16_t send_one(struct session *s)
{
    uint32_t n_expired = 0;
    struct delivery *d = session_next(s, 65535, ALL, 0, &n_expired);
    assert_non_null(d);
    uint16_t packet_id = d->qos > 0 ? session_assign_id(s, d) : 0;
    session_sent(s, d);
    return packet_id;
}

static void test_new(void **state)
{
    (void)state;
    struct session *s = fresh();
    assert_true(slice_is(session_key(s), "client"));
    assert_int_equal(s->id, 9);
    assert_true(s->subscriber.is_durable);
    session_free(s);
    assert_null(session_free(NULL));
}

static void test_queue_bounds(void **state)
{
    (void)state;
    struct role_limits l = LIMITS;
    struct session *s = fresh();
    l.queue_messages = 3;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(put(s, 1, 0, &l), OK);
    }
    assert_int_equal(put(s, 1, 0, &l), ERR_QUOTA);
    send_one(s);
    assert_int_equal(put(s, 1, 0, &l), ERR_QUOTA); /* sent is not acknowledged */
    uint64_t seq = 0;
    assert_int_equal(session_puback(s, 1, &seq), OK);
    assert_int_equal(seq, 1);
    assert_int_equal(put(s, 1, 0, &l), OK);
    session_free(s);

    s = fresh();
    l = LIMITS;
    l.queue_bytes = sizeof(struct msg) + 1 + 100;
    assert_int_equal(put(s, 1, 101, &l), ERR_QUOTA);
    assert_int_equal(put(s, 1, 100, &l), OK);
    assert_int_equal(put(s, 1, 0, &l), ERR_QUOTA);
    assert_int_equal(s->queue->queued_bytes, l.queue_bytes);
    l.queue_bytes = 1; /* the role was narrowed below what is queued */
    assert_int_equal(put(s, 1, 0, &l), ERR_QUOTA);
    session_free(s);
}

/* One QoS 1 message that is never acknowledged must not stop a stream of others, nor pile up holes
 * behind it. */
static void test_stuck_front(void **state)
{
    (void)state;
    struct session *s = fresh();
    uint64_t seq = 0;
    assert_int_equal(put(s, 1, 0, &LIMITS), OK);
    assert_int_equal(send_one(s), 1);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(put(s, (uint8_t)(i % 2), 0, &LIMITS), OK);
        uint16_t packet_id = send_one(s);
        if (packet_id != 0) {
            assert_int_not_equal(packet_id, 1);
            assert_int_equal(session_puback(s, packet_id, &seq), OK);
        }
    }
    assert_int_equal(session_count(s), 1);
    assert_true(s->queue->ring_cap <= 128);
    assert_int_equal(session_puback(s, 1, &seq), OK);
    assert_int_equal(seq, 1);
    assert_int_equal(s->queue->n_deliveries, 0);
    session_free(s);
}

/* After 65,535 the ids begin again; a delivery whose id is still in flight waits, and all behind
 * it. SPEC: MQTT5-2.2.1-4 */
static void test_packet_ids_go_round(void **state)
{
    (void)state;
    struct session *s = fresh();
    uint64_t seq = 0;
    uint32_t n_expired = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(put(s, 1, 0, &LIMITS), OK);
        assert_int_equal(send_one(s), i + 1);
    }
    assert_int_equal(session_puback(s, 1, &seq), OK); /* 2, 3 and 4 stay */
    for (uint32_t want = 5; want <= 65535 + 1; want++) {
        uint16_t id = (uint16_t)(want == 65536 ? 1 : want);
        assert_int_equal(put(s, 1, 0, &LIMITS), OK);
        assert_int_equal(send_one(s), id);
        assert_int_equal(session_puback(s, id, &seq), OK);
    }
    assert_int_equal(put(s, 1, 0, &LIMITS), OK);
    assert_int_equal(put(s, 0, 0, &LIMITS), OK);
    assert_null(session_next(s, 20, ALL, 0, &n_expired));
    assert_int_equal(session_puback(s, 3, &seq), OK);
    assert_null(session_next(s, 20, ALL, 0, &n_expired));
    assert_int_equal(session_puback(s, 2, &seq), OK);
    assert_int_equal(send_one(s), 2);
    session_free(s);
}

/* SPEC: MQTT5-2.2.1-4, MQTT3-2.3.1-4 */
static void test_all_packet_ids(void **state)
{
    (void)state;
    struct role_limits l = LIMITS;
    l.queue_messages = 70000;
    l.queue_bytes = UINT64_MAX;
    struct session *s = fresh();
    uint64_t seq = 0;
    uint32_t n_expired = 0;
    for (uint32_t i = 0; i < 65540; i++) {
        assert_int_equal(put(s, 1, 0, &l), OK);
    }
    for (uint32_t i = 1; i <= 65535; i++) {
        assert_int_equal(send_one(s), i);
    }
    assert_null(session_next(s, UINT32_MAX, ALL, 0, &n_expired));
    assert_int_equal(session_puback(s, 777, &seq), OK);
    assert_null(session_next(s, UINT32_MAX, ALL, 0, &n_expired));
    assert_int_equal(session_puback(s, 1, &seq), OK);
    assert_int_equal(send_one(s), 1);
    assert_null(session_next(s, UINT32_MAX, ALL, 0, &n_expired));
    session_free(s);
}

static void test_take_back(void **state)
{
    (void)state;
    struct session *s = fresh();
    struct msg *m = NULL;
    static const uint32_t IDS[] = {1, 2};
    uint64_t seq = 0;
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, (struct slice){0}, &m), OK);
    assert_int_equal(put(s, 1, 0, &LIMITS), OK);
    assert_int_equal(send_one(s), 1);
    uint64_t bytes = s->queue->queued_bytes;
    assert_int_equal(session_enqueue(s, m, 1, false, IDS, 2, 0, &LIMITS, &seq), OK);
    session_take_back(s, seq);
    assert_int_equal(m->refs, 1);
    assert_int_equal(session_count(s), 1);
    assert_int_equal(s->queue->queued_bytes, bytes);
    assert_int_equal(session_enqueue(s, m, 1, false, IDS, 2, 0, &LIMITS, &seq), OK);
    assert_int_equal(seq, 2);
    assert_int_equal(send_one(s), 2);
    msg_unref(m);
    session_free(s);
}

/* As it lies in the journal: what was received needs no body, ids are the same as before. */
static void test_restore(void **state)
{
    (void)state;
    struct session *s = fresh();
    struct msg *m = NULL;
    static const uint32_t IDS[] = {7, 8};
    uint32_t n_expired = 0;
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, (struct slice){0}, &m), OK);
    m->expires_at_ms = 100;
    assert_int_equal(session_restore(s, NULL, 3, 2, false, NULL, 0), OK);
    assert_int_equal(session_restore(s, m, 65540, 1, true, IDS, 2), OK);
    assert_int_equal(session_restore(s, m, 65541, 2, false, IDS, 1), OK);
    session_restore_next(s, 70000);
    session_restore_next(s, 5);
    session_resume(s);
    assert_int_equal(session_count(s), 3);
    assert_int_equal(session_next_pubrel(s, 0), 3);
    struct delivery *d = session_next(s, 20, 0, 50, &n_expired);
    assert_true(d->seq == 65540 && d->packet_id == 5 && d->is_dup && d->retain && d->n_ids == 2);
    d = session_next(s, 20, 0, 200, &n_expired);
    assert_int_equal(n_expired, 1); /* QoS 1: its time is over */
    assert_true(d->seq == 65541 && d->packet_id == 6 && d->is_dup && d->id == 7 && d->n_sent == 1);
    assert_int_equal(put(s, 1, 0, &LIMITS), OK);
    assert_int_equal(send_one(s), 6);
    assert_int_equal(send_one(s), (70000 - 1) % 65535 + 1);
    msg_unref(m);
    session_free(s);
}

/* One that waited for its packet id when the process died goes on waiting. */
static void test_restore_keeps_waiting(void **state)
{
    (void)state;
    struct session *s = fresh();
    struct msg *m = NULL;
    uint32_t n_expired = 0;
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, (struct slice){0}, &m), OK);
    assert_int_equal(session_restore(s, m, 3, 1, false, NULL, 0), OK);
    assert_int_equal(session_restore(s, m, 3 + 65535, 1, false, NULL, 0), OK);
    session_resume(s);
    assert_int_equal(send_one(s), 3);
    assert_null(session_next(s, 20, 0, 50, &n_expired)); /* SPEC: MQTT5-2.2.1-4 */
    uint64_t seq = 0;
    assert_int_equal(session_puback(s, 3, &seq), OK);
    assert_int_equal(seq, 3);
    const struct delivery *d = session_next(s, 20, 0, 50, &n_expired);
    assert_true(d != NULL && d->seq == 3 + 65535 && !d->is_dup && d->n_sent == 0);
    assert_int_equal(send_one(s), 3);
    msg_unref(m);
    session_free(s);
}

/* ---- QoS 2: each state against each packet ---- */

enum packet { PUBACK, PUBREC, PUBREC_FAILED, PUBCOMP, PACKETS };

struct qos2_case {
    enum delivery_state from;
    enum packet packet;
    enum err err;
    enum delivery_state to;
    bool again;
};

static const struct qos2_case QOS2[] = {
    {DELIVERY_QUEUED, PUBACK, ERR_NOT_FOUND, DELIVERY_QUEUED, false},
    {DELIVERY_QUEUED, PUBREC, ERR_NOT_FOUND, DELIVERY_QUEUED, false},
    {DELIVERY_QUEUED, PUBREC_FAILED, ERR_NOT_FOUND, DELIVERY_QUEUED, false},
    {DELIVERY_QUEUED, PUBCOMP, ERR_NOT_FOUND, DELIVERY_QUEUED, false},
    {DELIVERY_SENT, PUBACK, ERR_NOT_FOUND, DELIVERY_SENT, false},
    {DELIVERY_SENT, PUBREC, OK, DELIVERY_RECEIVED, false},
    {DELIVERY_SENT, PUBREC_FAILED, OK, DELIVERY_DONE, false},
    {DELIVERY_SENT, PUBCOMP, ERR_NOT_FOUND, DELIVERY_SENT, false},
    {DELIVERY_RECEIVED, PUBACK, ERR_NOT_FOUND, DELIVERY_RECEIVED, false},
    {DELIVERY_RECEIVED, PUBREC, OK, DELIVERY_RECEIVED, false},
    {DELIVERY_RECEIVED, PUBREC_FAILED, OK, DELIVERY_DONE, false},
    {DELIVERY_RECEIVED, PUBCOMP, ERR_NOT_FOUND, DELIVERY_RECEIVED, false},
    {DELIVERY_RELEASED, PUBACK, ERR_NOT_FOUND, DELIVERY_RELEASED, false},
    {DELIVERY_RELEASED, PUBREC, OK, DELIVERY_RELEASED, true},
    {DELIVERY_RELEASED, PUBREC_FAILED, OK, DELIVERY_RELEASED, true},
    {DELIVERY_RELEASED, PUBCOMP, OK, DELIVERY_DONE, false},
};

static void bring_to(struct session *s, enum delivery_state state)
{
    uint64_t seq = 0;
    bool again = false;
    if (state >= DELIVERY_SENT) {
        assert_int_equal(send_one(s), 1);
    }
    if (state >= DELIVERY_RECEIVED) {
        assert_int_equal(session_pubrec(s, 1, 0, 50, &seq, &again), OK);
    }
    if (state >= DELIVERY_RELEASED) {
        assert_int_equal(session_next_pubrel(s, 50), 1);
    }
}

static void test_qos2_table(void **state)
{
    (void)state;
    assert_int_equal(COUNT_OF(QOS2), 4 * PACKETS);
    for (size_t i = 0; i < COUNT_OF(QOS2); i++) {
        const struct qos2_case *c = &QOS2[i];
        struct session *s = fresh();
        assert_int_equal(put(s, 2, 0, &LIMITS), OK);
        bring_to(s, c->from);
        uint64_t seq = 0;
        bool again = false;
        enum err e = OK;
        switch (c->packet) {
        case PUBACK:
            e = session_puback(s, 1, &seq);
            break;
        case PUBREC:
            e = session_pubrec(s, 1, 0, 60, &seq, &again);
            break;
        case PUBREC_FAILED:
            e = session_pubrec(s, 1, 0x97, 60, &seq, &again);
            break;
        case PUBCOMP:
            e = session_pubcomp(s, 1, &seq);
            break;
        case PACKETS:
            break;
        }
        bool is_gone = session_count(s) == 0;
        if (e != c->err || again != c->again || is_gone != (c->to == DELIVERY_DONE) ||
            (!is_gone && s->queue->ring[s->queue->ring_at].state != c->to)) {
            fail_msg("state %d, packet %d: %s", c->from, c->packet, err_name(e));
        }
        session_free(s);
    }
}

static void test_qos2_commits(void **state)
{
    (void)state;
    struct session *s = fresh();
    uint64_t seq = 0;
    uint32_t n_expired = 0;
    bool again = false;
    assert_int_equal(put(s, 2, 0, &LIMITS), OK);
    assert_int_equal(put(s, 1, 0, &LIMITS), OK);
    session_set_lsn(s, 1, 10);
    session_set_lsn(s, 99, 10);                         /* not there: nothing happens */
    assert_null(session_next(s, 20, 9, 0, &n_expired)); /* and what is behind waits too */
    assert_non_null(session_next(s, 20, 10, 0, &n_expired));
    assert_int_equal(send_one(s), 1);
    assert_int_equal(send_one(s), 2);
    assert_int_equal(session_pubrec(s, 1, 0, 12, &seq, &again), OK);
    assert_null(s->queue->ring[s->queue->ring_at].msg); /* the body is not needed any more */
    assert_int_equal(session_next_pubrel(s, 11), 0);
    assert_int_equal(session_next_pubrel(s, 12), 1);
    assert_int_equal(session_next_pubrel(s, 12), 0);
    session_free(s);
}

/* In which order PUBRECs came for the deliveries 1 to n, the first of which is the first to be
 * committed. PUBRELs follow it, also behind holes and on the next connection. */
static void pubrels_follow(const uint16_t *order, size_t n, size_t early)
{
    struct session *s = fresh();
    uint64_t seq = 0;
    bool again = false;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(put(s, 2, 0, &LIMITS), OK);
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(send_one(s), i + 1);
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(session_pubrec(s, order[i], 0, 10 + i, &seq, &again), OK);
        if (i < early) { /* and those that are answered at once leave holes */
            assert_int_equal(session_next_pubrel(s, 9 + i), 0);
            assert_int_equal(session_next_pubrel(s, 10 + i), order[i]);
            assert_int_equal(session_pubcomp(s, order[i], &seq), OK);
        }
    }
    for (size_t i = early; i < n; i++) {
        assert_int_equal(session_next_pubrel(s, 9 + i), 0);
        assert_int_equal(session_next_pubrel(s, ALL), order[i]);
    }
    assert_int_equal(session_next_pubrel(s, ALL), 0);
    (void)session_sleep(s);
    session_resume(s);
    for (size_t i = early; i < n; i++) {
        assert_int_equal(session_next_pubrel(s, ALL), order[i]);
    }
    assert_int_equal(session_next_pubrel(s, ALL), 0);
    for (size_t i = n; i > early; i--) {
        assert_int_equal(session_pubcomp(s, order[i - 1], &seq), OK);
    }
    assert_int_equal(session_count(s), 0);
    session_free(s);
}

/* SPEC: MQTT-4.6.0-4 */
static void test_pubrels_in_order(void **state)
{
    (void)state;
    static const uint16_t forward[] = {1, 2, 3, 4, 5, 6}, back[] = {6, 5, 4, 3, 2, 1},
                          mixed[] = {2, 5, 1, 6, 3, 4}, gaps[] = {1, 3, 5, 2, 4, 6};
    for (size_t early = 0; early <= COUNT_OF(forward); early++) {
        pubrels_follow(forward, COUNT_OF(forward), early);
        pubrels_follow(back, COUNT_OF(back), early);
        pubrels_follow(mixed, COUNT_OF(mixed), early);
        pubrels_follow(gaps, COUNT_OF(gaps), early);
    }
}

static void test_resume(void **state)
{
    (void)state;
    struct session *s = fresh();
    uint64_t seq = 0;
    bool again = false;
    static const uint8_t QOS[] = {1, 2, 2, 1, 1, 0};
    for (size_t i = 0; i < COUNT_OF(QOS); i++) {
        assert_int_equal(put(s, QOS[i], 0, &LIMITS), OK);
    }
    for (uint16_t id = 1; id <= 4; id++) {
        assert_int_equal(send_one(s), id);
    }
    assert_int_equal(session_pubrec(s, 3, 0, 1, &seq, &again), OK);
    assert_int_equal(session_next_pubrel(s, 1), 3);
    assert_int_equal(session_puback(s, 1, &seq), OK);
    assert_int_equal(session_sleep(s), 1); /* the QoS 0 one at the end */
    session_resume(s);
    /* SPEC: MQTT-4.4.0-1 */
    assert_int_equal(session_next_pubrel(s, 1), 3);
    uint32_t n_expired = 0;
    struct delivery *d = session_next(s, 20, ALL, UINT64_MAX, &n_expired);
    assert_true(d->is_dup && d->qos == 2 && d->packet_id == 2 && d->n_sent == 1);
    assert_int_equal(send_one(s), 2);
    assert_int_equal(session_pubcomp(s, 3, &seq), OK);
    assert_int_equal(send_one(s), 4);
    d = session_next(s, 20, ALL, 0, &n_expired);
    assert_true(!d->is_dup && d->seq == 5);
    assert_int_equal(send_one(s), 5);
    assert_null(session_next(s, 20, ALL, 0, &n_expired));
    assert_int_equal(n_expired, 0);
    session_free(s);
}

static void test_expired_can_be_recorded(void **state)
{
    (void)state;
    struct session *s = fresh();
    struct msg *m = NULL;
    uint32_t n_expired = 0;
    assert_null(session_next_expired(s, 100));
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, (struct slice){0}, &m), OK);
    m->expires_at_ms = 100;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(session_enqueue(s, m, 1, false, NULL, 0, 0, &LIMITS, NULL), OK);
    }
    msg_unref(m);
    assert_int_equal(put(s, 1, 0, &LIMITS), OK);
    assert_int_equal(send_one(s), 1); /* began to leave in time */
    assert_null(session_next_expired(s, 99));
    struct delivery *d = NULL;
    for (uint64_t seq = 2; (d = session_next_expired(s, 100)) != NULL; seq++) {
        assert_int_equal(d->seq, seq);
        session_drop(s, d);
    }
    assert_int_equal(session_count(s), 2);
    assert_int_equal(session_next(s, 9, ALL, 100, &n_expired)->seq, 4);
    assert_int_equal(n_expired, 0);
    session_resume(s);
    assert_null(session_next_expired(s, 100)); /* SPEC: MQTT5-4.3.3-7 */
    session_free(s);
}

static void test_inbound(void **state)
{
    (void)state;
    struct session *s = fresh();
    enum inbound in;
    static const uint16_t IDS[] = {500, 1, 65535, 7, 300, 2, 9, 8, 6};
    for (size_t i = 0; i < COUNT_OF(IDS); i++) {
        assert_int_equal(session_inbound_add(s, IDS[i], 9, &in), OK);
        assert_int_equal(in, INBOUND_NEW);
    }
    assert_int_equal(session_inbound_add(s, 10, 9, &in), ERR_LIMIT);
    assert_int_equal(session_inbound_add(s, 300, 9, &in), OK);
    assert_int_equal(in, INBOUND_REPEATED);
    for (size_t i = 0; i < COUNT_OF(IDS); i++) {
        assert_true(session_inbound_remove(s, IDS[i]));
        assert_false(session_inbound_remove(s, IDS[i]));
    }
    assert_int_equal(session_inbound_count(s), 0);
    session_free(s);
}

static void test_account_is_charged(void **state)
{
    (void)state;
    struct account a = {0};
    struct session *s = NULL;
    assert_int_equal(session_new(1, &a, slice_text(""), false, &s), OK);
    assert_int_equal(put(s, 1, 10, &LIMITS), OK);
    assert_int_equal(put(s, 1, 10, &LIMITS), OK);
    assert_int_equal(a.queued_bytes, 2 * (sizeof(struct msg) + 11));
    uint64_t seq = 0;
    assert_int_equal(session_puback(s, send_one(s), &seq), OK);
    assert_int_equal(a.queued_bytes, sizeof(struct msg) + 11);
    session_free(s);
    assert_int_equal(a.queued_bytes, 0);
}

/* Only one that lasts has what an end or a will needs; another one gets it when it must. */
static void test_rest(void **state)
{
    (void)state;
    struct session *s = NULL;
    assert_int_equal(session_new(1, NULL, slice_text("c"), true, &s), OK);
    assert_true(session_has_rest(s));
    session_free(s);
    assert_int_equal(session_new(1, NULL, slice_text("c"), false, &s), OK);
    assert_false(session_has_rest(s));
    assert_null(s->rest->will);
    mem_fail_after(0);
    assert_int_equal(session_needs_rest(s), ERR_NOMEM);
    assert_false(session_has_rest(s));
    assert_int_equal(session_needs_rest(s), OK);
    mem_fail_after(0);
    assert_int_equal(session_needs_rest(s), OK); /* it has one */
    assert_int_equal(mem_fail_after(-1), 0);
    assert_ptr_equal(s->rest->session, s);
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, (struct slice){0}, &m), OK);
    s->rest->will = m;
    (void)msg_ref(m);
    session_free(s);
    assert_int_equal(m->refs, 1);
    msg_unref(m);
}

static void test_model(void **state)
{
    (void)state;
    uint64_t sent = 0, resent = 0, expired = 0, restarts = 0;
    for (uint64_t run = 0; run < 40; run++) {
        uint64_t seed = run;
        struct random_source random = random_seeded(&seed);
        struct session_model m;
        model_init(&m, run % 4 == 0 ? 1 : (uint32_t)random_below(&random, 40));
        if (run % 2 == 1) {
            session_restore_next(m.s, 65500); /* so that the ids go round in the middle of it */
        }
        for (int i = 0; i < 3000; i++) {
            model_step(&m, (uint8_t)random_below(&random, 16), random_u64(&random) >> 8);
        }
        sent += m.n_sent;
        resent += m.n_resent;
        expired += m.n_expired;
        restarts += m.n_restarts;
        model_done(&m);
    }
    assert_true(sent > 5000 && resent > 1000 && expired > 300 && restarts > 50);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const uint32_t IDS[] = {1, 2};
    struct msg *m = NULL;
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, (struct slice){0}, &m), OK);
    for (long n = 0;; n++) {
        mem_fail_after(n);
        struct session *s = NULL;
        bool failed = session_new(1, NULL, slice_text("c"), true, &s) != OK;
        enum inbound in;
        for (uint16_t i = 1; s != NULL && i <= 20; i++) {
            if (session_enqueue(s, m, 1, false, IDS, i % 3, 0, &LIMITS, NULL) != OK) {
                failed = true;
                assert_int_equal(session_count(s), i - 1);
                assert_int_equal(s->next_seq, i);
                assert_int_equal(m->refs, i);
                assert_int_equal(session_enqueue(s, m, 1, false, IDS, i % 3, 0, &LIMITS, NULL), OK);
            }
            if (session_inbound_add(s, i, 99, &in) != OK) {
                failed = true;
                assert_int_equal(session_inbound_count(s), i - 1);
                assert_int_equal(session_inbound_add(s, i, 99, &in), OK);
            }
        }
        bool injected = mem_fail_after(-1) != 0;
        session_free(s);
        assert_int_equal(m->refs, 1);
        if (!injected) {
            assert_false(failed);
            assert_true(n > 8);
            break;
        }
    }
    msg_unref(m);
}

static void test_warm_session_allocates_nothing(void **state)
{
    (void)state;
    struct session *s = fresh();
    struct msg *m = NULL;
    uint64_t seq = 0;
    static const uint32_t ID = 5;
    assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, (struct slice){0}, &m), OK);
    for (int round = 0; round < 2; round++) {
        if (round == 1) {
            mem_fail_after(0);
        }
        for (int i = 0; i < 50; i++) {
            assert_int_equal(session_enqueue(s, m, 1, false, &ID, 1, 0, &LIMITS, NULL), OK);
        }
        for (int i = 0; i < 50; i++) {
            assert_int_equal(session_puback(s, send_one(s), &seq), OK);
        }
    }
    assert_int_equal(mem_fail_after(-1), 0);
    msg_unref(m);
    session_free(s);
}

/* A delivery whose message is a husk is charged, counted, sent and expired as before. */
static void test_swap(void **state)
{
    (void)state;
    struct session *s = fresh();
    uint32_t n_expired = 0;
    for (int i = 0; i < 6; i++) {
        struct msg *m = NULL;
        assert_int_equal(msg_new(slice_text("t"), (struct slice){0}, slice_text("payload"), &m),
                         OK);
        m->body_id = 100 + (uint64_t)i;
        m->expires_at_ms = i == 4 ? 50 : UINT64_MAX;
        assert_int_equal(session_enqueue(s, m, 1, false, NULL, 0, 0, &LIMITS, NULL), OK);
        msg_unref(m);
    }
    uint64_t bytes = s->queue->queued_bytes;
    for (uint64_t seq = 3; seq <= 6; seq++) {
        struct delivery *d = session_from(s, seq);
        const struct msg *husk = NULL;
        assert_int_equal(d->seq, seq);
        assert_int_equal(msg_husk(d->msg, &husk), OK);
        session_swap(d, husk);
        assert_true(msg_is_husk(d->msg));
    }
    assert_int_equal(s->queue->queued_bytes, bytes);
    assert_null(session_from(s, 7));
    assert_int_equal(session_ahead(s, session_from(s, 1)), 0);
    assert_int_equal(session_ahead(s, session_from(s, 6)), 5);
    uint16_t first = send_one(s), second = send_one(s);
    assert_int_equal(session_ahead(s, session_from(s, 1)), 0); /* sent */
    assert_int_equal(session_ahead(s, session_from(s, 4)), 1);
    assert_int_equal(session_unsent(s)->seq, 3);
    uint64_t seq = 0;
    assert_int_equal(session_puback(s, second, &seq), OK);
    assert_int_equal(session_from(s, 2)->seq, 3); /* past the finished one */
    assert_int_equal(session_puback(s, first, &seq), OK);
    assert_int_equal(s->queue->queued_bytes, bytes / 6 * 4);
    session_resume(s);
    struct delivery *d = session_next(s, 10, ALL, 60, &n_expired);
    assert_true(d->seq == 3 && msg_is_husk(d->msg));
    session_drop(s, d);
    d = session_next(s, 10, ALL, 60, &n_expired);
    const struct msg *whole = NULL;
    assert_int_equal(msg_whole(d->msg, (struct slice){0}, slice_text("payload"), &whole), OK);
    session_swap(d, whole);
    send_one(s);
    d = session_next(s, 10, ALL, 60, &n_expired); /* the fifth has expired on disk */
    assert_true(n_expired == 1 && d->seq == 6);
    assert_int_equal(s->queue->queued_bytes, bytes / 6 * 2);
    session_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_queue_bounds),
        cmocka_unit_test(test_stuck_front),
        cmocka_unit_test(test_packet_ids_go_round),
        cmocka_unit_test(test_all_packet_ids),
        cmocka_unit_test(test_take_back),
        cmocka_unit_test(test_restore),
        cmocka_unit_test(test_restore_keeps_waiting),
        cmocka_unit_test(test_qos2_table),
        cmocka_unit_test(test_qos2_commits),
        cmocka_unit_test(test_pubrels_in_order),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_expired_can_be_recorded),
        cmocka_unit_test(test_swap),
        cmocka_unit_test(test_inbound),
        cmocka_unit_test(test_account_is_charged),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_warm_session_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

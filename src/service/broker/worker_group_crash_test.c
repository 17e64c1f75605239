/* Shared subscriptions on two workers: what a crash leaves. docs/ORDER.md, rule 6. */
#include "service/broker/group_private.h"
#include "service/broker/worker_group_story_test.h"
#include "service/broker/worker_private.h"

static void groups_come_back(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    joins(b, c, device_at(b, 1, 0), &durable);
    says(b, p, "before", 1);
    bench_crash(b, 1000, &report);
    assert_int_equal(report.subscriptions, 2);
    p = publisher(b);
    says(b, p, "after", 1);
    connects(b, a, device_at(b, 0, 0), &durable);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    (void)said(a);
    (void)said(c);
    assert_int_equal(occurs(a->text, "before") + occurs(c->text, "before"), 1);
    assert_int_equal(occurs(a->text, "after") + occurs(c->text, "after"), 1);
}

/* What was passed on to another worker is on record from the moment on in which the first one's is
 * not: a crash between the two finds it. */
static void passed_on_survives(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    says(b, p, "x", 1);
    joins(b, c, device_at(b, 1, 0), &durable);
    (void)said(c);
    is_in(b, &b->parties[2], device_at(b, 1, 1), &durable);
    subscribed(b, &b->parties[2], "t/#", 1);    /* has nothing to do with it */
    connects(b, a, device_at(b, 0, 0), &clean); /* the session of before ends at worker 0 */
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 1);
    connects(b, c, device_at(b, 1, 0), &durable);
    connects(b, &b->parties[2], device_at(b, 1, 1), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish1 t/a x; ");
    EXPECT(&b->parties[2], "connack 00 present; ");
}

/* The end of a session and what it leaves to others are on record in one step: another worker does
 * not hear of it before. */
static void passed_on_with_its_end(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    is_cut(b, a);
    says(b, p, "x", 2);
    acks(b, p, MQTT_PUBREL, 7);
    settle(b);
    joins(b, c, device_at(b, 1, 0), &durable);
    (void)said(c);
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_hello(&clean, &w);
    assert_true(arrives(b, a, 0, device_at(b, 0, 0)));
    worker_input(b->workers[0], a->conn, wr_slice(&w), b->now_ms); /* its session of before ends */
    turn(b, 1);
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    connects(b, a, device_at(b, 0, 0), &durable);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(a, "connack 00 present; publish2d t/a x; ");
    EXPECT(c, "connack 00 present; ");
}

/* A worker that has not answered has the message matched again; a group that has had it is left
 * out, also when the member that had it is gone and the message with another. */
static void had_by_one_who_is_gone(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1], *o = &b->parties[2];
    joins(b, c, device_at(b, 0, 0), &durable);
    is_cut(b, c);
    is_in(b, o, device_at(b, 0, 1), &durable);
    subscribed(b, o, "t/#", 2);
    joins(b, a, device_at(b, 1, 0), &durable);
    publishes(b, p, "t/a", "x", 2, 7, false); /* for a, and for o on worker 0, which has no turn */
    is_cut(b, a);
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_hello(&clean, &w);
    assert_true(arrives(b, a, 1, device_at(b, 1, 0)));
    give_wr(b, a, &w); /* its session of before ends: c is next */
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 2);
    connects(b, c, device_at(b, 0, 0), &durable);
    connects(b, o, device_at(b, 0, 1), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2 t/a x; ");
    EXPECT(o, "connack 00 present; publish2 t/a x; ");
}

/* Does each delivery stand on a body that its worker wrote, or that owes it one? Another may be
 * gone before the delivery is on record. */
static bool all_stand(const struct keeper *k)
{
    for (size_t i = 0; i < k->n; i++) {
        struct journal_deliver d;
        struct journal_delivery e;
        struct journal_body b = {0};
        bool is_own = false;
        if (k->records[i].kind != JOURNAL_DELIVER) {
            continue;
        }
        must(journal_deliver_read(k->records[i].content, &d));
        for (size_t j = 0; j < i; j++) {
            if (k->records[j].kind == JOURNAL_BODY) {
                must(journal_body_read(k->records[j].content, &b));
                is_own = is_own || (b.id == d.body_id && (k->records[j].writer == d.worker ||
                                                          (b.owed >> d.worker & 1) != 0));
            }
        }
        while (!is_own && journal_delivery_next(&d.entries, &e) == OK) {
            if (!e.is_done) {
                return false;
            }
        }
    }
    return true;
}

/* Chosen was one that does not last, so nobody waits for a record, and who has it instead lasts. */
static void kept_for_one_who_lasts(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1], *o = &b->parties[2];
    is_in(b, o, device_at(b, 1, 1), &durable);
    subscribed(b, o, "t/#", 1); /* for it the message has a body */
    joins(b, c, device_at(b, 0, 1), &durable);
    is_cut(b, c);
    joins(b, a, device_at(b, 0, 0), &clean);
    publishes(b, p, "t/a", "x", 2, 7, false);
    is_cut(b, a);
    settle(b);
    EXPECT(o, "publish1 t/a x; ");
    assert_true(all_stand(b->log));
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 0);
    assert_int_equal(report.lost, 0);
    connects(b, c, device_at(b, 0, 1), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2d t/a x; ");
}

/* A message that was acknowledged to nobody is matched again, for one member of the group. */
static void joins_by_number(struct bench *b, struct party *p, const char *filter, uint32_t id)
{
    uint8_t bytes[128], list[64];
    struct wr w = wr_into(bytes, sizeof(bytes)), l = wr_into(list, sizeof(list));
    struct mqtt_subscription s = {
        .whole = slice_text(filter), .filter = slice_text(filter), .qos = 1};
    mqtt_subscription_write(&l, &s, MQTT_V5);
    struct mqtt_subscribe m = {.packet_id = 9, .list = wr_slice(&l), .n_filters = 1};
    mqtt_props_set_number(&m.props, MQTT_PROP_SUBSCRIPTION_ID, id);
    must(mqtt_subscribe_encode(&m, MQTT_V5, &w));
    give_wr(b, p, &w);
    settle(b);
    EXPECT(p, "suback 01; ");
}

/* A member of two groups leaves a copy to each, also when a crash came between. */
static void two_groups_come_back(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1], *d = &b->parties[2];
    is_in(b, a, device_at(b, 0, 0), &durable);
    joins_by_number(b, a, "$share/g/t/#", 1);
    joins_by_number(b, a, "$share/h/t/#", 2);
    is_cut(b, a);
    settle(b);
    says(b, p, "x", 1);
    bench_crash(b, 1000, &report);
    is_in(b, c, device_at(b, 1, 0), &clean);
    subscribed(b, c, "$share/g/t/#", 1);
    is_in(b, d, device_at(b, 1, 1), &clean);
    subscribed(b, d, "$share/h/t/#", 1);
    connects(b, a, device_at(b, 0, 0), &clean); /* the session of before ends */
    settle(b);
    EXPECT(c, "publish1 t/a x; ");
    EXPECT(d, "publish1 t/a x; ");
}

/* The same when nobody at all wanted a body. */
static void kept_without_a_body(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, c, device_at(b, 0, 1), &durable);
    joins(b, a, device_at(b, 0, 0), &clean);
    is_cut(b, c);
    settle(b);
    connects(b, c, device_at(b, 0, 1), &durable);
    publishes(b, p, "t/a", "x", 2, 7, false);
    is_cut(b, a);
    settle(b);
    EXPECT(c, "connack 00 present; publish2 t/a x; ");
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    assert_int_equal(report.deliveries, 1);
    connects(b, c, device_at(b, 0, 1), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2d t/a x; ");
}

/* The session of a device on worker 0 has ended by a clean start, and nobody else knows it yet. */
static void begins_anew(struct bench *b, struct party *a)
{
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_hello(&clean, &w);
    assert_true(arrives(b, a, 0, device_at(b, 0, 0)));
    worker_input(b->workers[0], a->conn, wr_slice(&w), b->now_ms);
}

/* Others have it already when its member is gone and the store takes no other body: refused, it
 * would come in again, and they would get it twice. So who is acknowledged has it on record, for
 * the member that got it instead. */
static void passed_on_by_a_full_disk(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1], *o = &b->parties[2];
    is_in(b, o, device_at(b, 1, 1), &durable);
    subscribed(b, o, "t/#", 2);
    joins(b, c, device_at(b, 1, 0), &durable);
    is_cut(b, c);
    joins(b, a, device_at(b, 0, 0), &durable);
    publishes(b, p, "t/a", "x", 2, 7, false); /* for a on worker 0, which has no turn */
    is_cut(b, a);
    begins_anew(b, a);
    disk_is_full(b, true);
    settle(b); /* for c, on worker 1 */
    disk_is_full(b, false);
    EXPECT(p, "pubrec 7; ");
    EXPECT(o, "publish2 t/a x; ");
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 0);
    connects(b, c, device_at(b, 1, 0), &durable);
    connects(b, o, device_at(b, 1, 1), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2d t/a x; ");
    EXPECT(o, "connack 00 present; publish2d t/a x; "); /* the same packet id, not acknowledged */
}

/* What a session leaves behind while the disk is full waits for room, and goes on then. */
static void left_behind_on_a_full_disk(void **state)
{
    struct bench *b = *state;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    is_cut(b, a);
    says(b, p, "x", 2);
    says(b, p, "y", 1);
    joins(b, c, device_at(b, 1, 0), &durable);
    (void)said(c);
    disk_is_full(b, true);
    is_in(b, a, device_at(b, 0, 0), &clean); /* the session of before ends at worker 0 */
    settle(b);
    EXPECT(c, "");
    disk_is_full(b, false);
    settle(b);
    EXPECT(c, "publish2 t/a x; publish1 t/a y; ");
    struct restore_report report;
    bench_crash(b, 0, &report);
    assert_int_equal(report.sessions, 1);
    assert_int_equal(report.ended, 0);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2d t/a x; publish1d t/a y; ");
}

/* Until then it is on record where it was: a crash leaves it to a restart. */
static void left_behind_and_a_crash(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    is_cut(b, a);
    says(b, p, "x", 1);
    says(b, p, "y", 1);
    joins(b, c, device_at(b, 1, 0), &durable);
    (void)said(c);
    b->log->refuse_at = 1; /* there is room for one of them */
    b->log->refuses_on = true;
    b->log->refusal = ERR_SPACE;
    is_in(b, a, device_at(b, 0, 0), &clean);
    settle(b);
    disk_is_full(b, false);
    EXPECT(c, "publish1 t/a x; ");
    bench_crash(b, 0, &report);
    assert_int_equal(report.ended, 1);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish1d t/a x; publish1 t/a y; ");
    connects(b, a, device_at(b, 0, 0), &durable);
    settle(b);
    EXPECT(a, "connack 00; ");
}

/* Not without end. */
static void left_behind_up_to_a_limit(void **state)
{
    struct bench *b = *state;
    struct worker *w = b->workers[0];
    struct msg *m = NULL;
    must(msg_new(slice_text("t/a"), slice_text(""), slice_text("x"), &m));
    m->qos = 1;
    const struct delivery d = {.msg = m, .seq = 1, .qos = 1};
    for (size_t i = 0; i < ORPHANS_MAX - 1; i++) {
        assert_true(orphan_keep(w, 0, &d));
    }
    (void)mem_fail_after(0);
    assert_false(orphan_keep(w, 0, &d));
    (void)mem_fail_after(-1);
    assert_true(orphan_keep(w, 0, &d));
    assert_false(orphan_keep(w, 0, &d));
    turn(b, 0); /* there is room, and nobody who wants them */
    assert_true(orphan_keep(w, 0, &d) && w->n_orphans == 1);
    msg_unref(m);
}

/* Nobody is answered before the worker that got it instead has its record, and what was given
 * meanwhile where it was chosen is not given again after a crash between the two. */
static void passed_on_and_not_answered(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1], *o = &b->parties[2];
    is_in(b, o, device_at(b, 0, 1), &durable); /* on the worker where it is chosen */
    subscribed(b, o, "t/#", 2);
    joins(b, c, device_at(b, 1, 0), &durable);
    is_cut(b, c);
    joins(b, a, device_at(b, 0, 0), &durable);
    publishes(b, p, "t/a", "x", 2, 7, false);
    is_cut(b, a);
    begins_anew(b, a);
    disk_is_full(b, true);
    turn(b, 0);
    keeper_commit(b->log);
    turn(b, 0);
    disk_is_full(b, false);
    EXPECT(p, "");
    EXPECT(o, "publish2 t/a x; ");
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 1);
    connects(b, c, device_at(b, 1, 0), &durable);
    connects(b, o, device_at(b, 0, 1), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2 t/a x; ");
    EXPECT(o, "connack 00 present; publish2d t/a x; ");
}

/* The same when the one that was chosen does not last, and who has it instead does. */
static void passed_on_by_a_full_disk_for_one_who_does_not_last(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, c, device_at(b, 1, 0), &durable);
    is_cut(b, c);
    joins(b, a, device_at(b, 0, 0), &clean);
    publishes(b, p, "t/a", "x", 2, 7, false);
    is_cut(b, a);
    disk_is_full(b, true);
    settle(b);
    disk_is_full(b, false);
    EXPECT(p, "pubrec 7; ");
    bench_crash(b, 0, &report);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2d t/a x; ");
}

/* Two groups, both of whose members are gone: one way, and one answer. */
static void passed_on_in_two_groups(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    is_in(b, c, device_at(b, 1, 0), &durable);
    joins_by_number(b, c, share, 1);
    joins_by_number(b, c, "$share/h/t/#", 2);
    is_cut(b, c);
    is_in(b, a, device_at(b, 0, 0), &durable);
    joins_by_number(b, a, share, 1);
    joins_by_number(b, a, "$share/h/t/#", 2);
    publishes(b, p, "t/a", "x", 1, 7, false);
    is_cut(b, a);
    begins_anew(b, a);
    disk_is_full(b, true);
    settle(b);
    disk_is_full(b, false);
    EXPECT(p, "puback 7; ");
    bench_crash(b, 0, &report);
    assert_int_equal(report.deliveries, 2);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish1d t/a x; publish1d t/a x; ");
}

/* What a subscription brought that is there no more is not passed on in another group. */
static void passed_on_in_no_other_group(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    is_in(b, a, device_at(b, 0, 0), &durable);
    joins_by_number(b, a, "$share/h/t/#", 2);
    joins(b, c, device_at(b, 1, 0), &durable);
    says(b, p, "x", 2);
    EXPECT(a, "publish1 t/a x; ");
    EXPECT(c, "publish2 t/a x; ");
    unsubscribes(b, a, "$share/h/t/#");
    EXPECT(a, "unsuback 8 00; ");
    joins_by_number(b, a, share, 1);
    bench_crash(b, 1000, &report);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2d t/a x; ");
    connects(b, a, device_at(b, 0, 0), &clean); /* the session of before ends */
    settle(b);
    EXPECT(c, "");
}

/* A record for the members of one group is not for those of others that match as well. */
static void passed_on_within_its_group(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    says(b, p, "x", 1);
    is_in(b, c, device_at(b, 1, 0), &durable);
    joins_by_number(b, c, share, 1);
    joins_by_number(b, c, "$share/h/t/#", 2);
    connects(b, a, device_at(b, 0, 0), &clean); /* the session of before ends at worker 0 */
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 1);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish1 t/a x; ");
}

/* Its packet id is on record before another worker can pass it on, or it would come in again. */
static void passed_on_after_its_packet_id(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = &b->parties[3], *a = &b->parties[0], *c = &b->parties[1];
    is_in(b, p, device_at(b, 1, 2), &durable);
    joins(b, c, device_at(b, 1, 0), &durable);
    is_cut(b, c);
    joins(b, a, device_at(b, 0, 0), &clean);
    settle(b);
    uint8_t bytes[128];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_publish(&w, p->version, "t/a", "x", 2, 7, false);
    worker_input(b->workers[1], p->conn, wr_slice(&w), b->now_ms); /* for a, on worker 0 */
    is_cut(b, a);
    turn(b, 0); /* for c, on worker 1, which has had no turn yet */
    keeper_commit(b->log);
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 1);
    connects(b, p, device_at(b, 1, 2), &durable);
    settle(b);
    EXPECT(p, "connack 00 present; ");
    publishes(b, p, "t/a", "x", 2, 7, false);
    settle(b);
    EXPECT(p, "pubrec 7; ");
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish2 t/a x; ");
}

static void owed_to_a_group(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    joins(b, c, device_at(b, 0, 1), &durable);
    publishes(b, p, "t/a", "x", 1, 7, false); /* worker 0 has not taken it in */
    keeper_commit(b->log);
    EXPECT(p, "");
    bench_crash(b, 0, &report);
    assert_int_equal(report.rematched, 1);
    connects(b, a, device_at(b, 0, 0), &durable);
    connects(b, c, device_at(b, 0, 1), &durable);
    settle(b);
    assert_int_equal(occurs(said(a), "publish1") + occurs(said(c), "publish1"), 1);
}

/* Its time was over while nobody was there: what it left behind is another's. */
static void expired_while_down(void **state)
{
    struct bench *b = *state;
    struct restore_report report;
    struct party *p = publisher(b), *a = &b->parties[0], *c = &b->parties[1];
    joins(b, a, device_at(b, 0, 0), &durable);
    is_cut(b, a);
    pass(b, 3000 * 1000);
    p = publisher(b);
    says(b, p, "x", 1);
    joins(b, c, device_at(b, 1, 0), &durable);
    (void)said(c);
    bench_crash(b, 1800 * 1000, &report); /* a slept for more than its hour, c for half of one */
    assert_int_equal(report.sessions, 1);
    assert_int_equal(report.ended, 1);
    connects(b, c, device_at(b, 1, 0), &durable);
    settle(b);
    EXPECT(c, "connack 00 present; publish1 t/a x; ");
    connects(b, a, device_at(b, 0, 0), &durable);
    settle(b);
    EXPECT(a, "connack 00; ");
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        STORY(groups_come_back),
        STORY(passed_on_survives),
        STORY(passed_on_with_its_end),
        STORY(had_by_one_who_is_gone),
        STORY(kept_for_one_who_lasts),
        STORY(kept_without_a_body),
        STORY(two_groups_come_back),
        STORY(passed_on_within_its_group),
        STORY(passed_on_by_a_full_disk),
        STORY(left_behind_on_a_full_disk),
        STORY(left_behind_and_a_crash),
        STORY(left_behind_up_to_a_limit),
        STORY(passed_on_and_not_answered),
        STORY(passed_on_by_a_full_disk_for_one_who_does_not_last),
        STORY(passed_on_in_two_groups),
        STORY(passed_on_in_no_other_group),
        STORY(passed_on_after_its_packet_id),
        STORY(owed_to_a_group),
        STORY(expired_while_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

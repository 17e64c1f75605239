#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/event.h"
#include "base/scope.h"
#include "core/journal_record.h"

enum { RECORD_MAX = 512 };

static const struct journal_message MESSAGE = {.publisher = 0x0102030405060708,
                                               .number = 9,
                                               .expires_wall_ms = -2,
                                               .segment = 0xa0b0c0d0,
                                               .content_format = 50,
                                               .qos = 2,
                                               .retain = true,
                                               .is_utf8 = true,
                                               .topic = {(const uint8_t *)"a/b", 3},
                                               .props = {(const uint8_t *)"pp", 2},
                                               .payload = {(const uint8_t *)"xyz!", 4}};

static bool message_equal(const struct journal_message *a, const struct journal_message *b)
{
    return a->publisher == b->publisher && a->number == b->number &&
           a->expires_wall_ms == b->expires_wall_ms && a->segment == b->segment &&
           a->content_format == b->content_format && a->qos == b->qos && a->retain == b->retain &&
           a->is_utf8 == b->is_utf8 && a->for_group == b->for_group &&
           slice_equal(a->topic, b->topic) && slice_equal(a->props, b->props) &&
           slice_equal(a->payload, b->payload);
}

static void write_parts(struct wr *w, const struct journal_message *m)
{
    wr_bytes(w, m->topic);
    wr_bytes(w, m->props);
    wr_bytes(w, m->payload);
}

/* Each kind: writes its example; reads a record and says whether it is the example. */
static void body_write(struct wr *w)
{
    struct journal_body b = {.id = 77, .owed = 5, .m = MESSAGE};
    assert_int_equal(journal_body_head(&b, w), OK);
    write_parts(w, &b.m);
}

static enum err body_read(struct slice s, bool *ret_same)
{
    struct journal_body b;
    TRY(journal_body_read(s, &b));
    *ret_same = b.id == 77 && b.owed == 5 && message_equal(&b.m, &MESSAGE);
    return OK;
}

static const uint64_t GROUP = 0x8090a0b0c0d0e0f0;

static void passed_on_write(struct wr *w)
{
    struct journal_body b = {.id = 77, .owed = 5, .m = MESSAGE};
    b.m.for_group = GROUP;
    assert_int_equal(journal_body_head(&b, w), OK);
    write_parts(w, &b.m);
}

static enum err passed_on_read(struct slice s, bool *ret_same)
{
    struct journal_body b;
    struct journal_message want = MESSAGE;
    want.for_group = GROUP;
    TRY(journal_body_read(s, &b));
    *ret_same = b.id == 77 && b.owed == 5 && message_equal(&b.m, &want);
    return OK;
}

static void deliver_write(struct wr *w)
{
    static const uint32_t IDS[] = {1, 0x10000000};
    struct journal_delivery one = {
        .session = 3, .seq = 4, .qos = 2, .is_received = true, .n_tries = 6};
    struct journal_delivery two = {
        .session = 5, .seq = 6, .qos = 1, .retain = true, .is_done = true, .n_ids = 2};
    assert_int_equal(journal_deliver_head(77, 63, w), OK);
    journal_delivery_write(&one, NULL, w);
    journal_delivery_write(&two, IDS, w);
}

static enum err deliver_read(struct slice s, bool *ret_same)
{
    struct journal_deliver d;
    struct journal_delivery e[2] = {0};
    size_t n = 0;
    TRY(journal_deliver_read(s, &d));
    for (enum err err = OK; err == OK;) {
        struct journal_delivery one;
        err = journal_delivery_next(&d.entries, &one);
        if (err == OK) {
            e[n++ % 2] = one;
        } else if (err != ERR_NOT_FOUND) {
            return err;
        }
    }
    *ret_same = d.body_id == 77 && d.worker == 63 && n == 2 && e[0].session == 3 && e[0].seq == 4 &&
                e[0].qos == 2 && !e[0].retain && e[0].is_received && !e[0].is_done &&
                e[0].n_tries == 6 && e[1].n_tries == 0 && e[0].n_ids == 0 && e[1].session == 5 &&
                e[1].seq == 6 && e[1].qos == 1 && e[1].retain && !e[1].is_received &&
                e[1].is_done && e[1].n_ids == 2 && journal_delivery_id(&e[1], 0) == 1 &&
                journal_delivery_id(&e[1], 1) == 0x10000000;
    return OK;
}

static void ack_write(struct wr *w)
{
    struct journal_settle s = {.session = 3, .seq = 4};
    assert_int_equal(journal_settle_head(JOURNAL_ACK, &s, w), OK);
}

static enum err ack_read(struct slice s, bool *ret_same)
{
    struct journal_settle a;
    TRY(journal_settle_read(JOURNAL_ACK, s, &a));
    *ret_same = a.session == 3 && a.seq == 4 && a.reason == 0;
    return OK;
}

static void drop_write(struct wr *w)
{
    struct journal_settle s = {.session = 3, .seq = 4, .reason = EVENT_acl_deny};
    assert_int_equal(journal_settle_head(JOURNAL_DROP, &s, w), OK);
}

static enum err drop_read(struct slice s, bool *ret_same)
{
    struct journal_settle a;
    TRY(journal_settle_read(JOURNAL_DROP, s, &a));
    *ret_same = a.session == 3 && a.seq == 4 && a.reason == EVENT_acl_deny;
    return OK;
}

static void packet_write(struct wr *w)
{
    struct journal_packet p = {.session = 3, .packet_id = 65535};
    assert_int_equal(journal_packet_head(&p, w), OK);
}

static enum err packet_read(struct slice s, bool *ret_same)
{
    struct journal_packet p;
    TRY(journal_packet_read(s, &p));
    *ret_same = p.session == 3 && p.packet_id == 65535;
    return OK;
}

static void session_write(struct wr *w)
{
    struct journal_session s = {.id = 3,
                                .principal = 8,
                                .next_seq = UINT64_MAX,
                                .expiry_s = UINT32_MAX,
                                .asleep_wall_ms = INT64_MAX};
    assert_int_equal(journal_session_head(&s, w), OK);
    wr_bytes(w, slice_text("pump-7"));
}

static enum err session_read(struct slice s, bool *ret_same)
{
    struct journal_session a;
    TRY(journal_session_read(s, &a));
    *ret_same = a.id == 3 && a.principal == 8 && a.next_seq == UINT64_MAX &&
                a.expiry_s == UINT32_MAX && a.asleep_wall_ms == INT64_MAX &&
                slice_is(a.client_id, "pump-7");
    return OK;
}

static void session_end_write(struct wr *w)
{
    assert_int_equal(journal_session_end_head(3, w), OK);
}

static enum err session_end_read(struct slice s, bool *ret_same)
{
    uint64_t id;
    TRY(journal_session_end_read(s, &id));
    *ret_same = id == 3;
    return OK;
}

static const struct journal_sub SUB = {.session = 3,
                                       .id = 12,
                                       .qos = 1,
                                       .retain_handling = 2,
                                       .no_local = true,
                                       .filter = {(const uint8_t *)"a/#", 3}};

static void sub_write(struct wr *w)
{
    assert_int_equal(journal_sub_head(JOURNAL_SUB, &SUB, w), OK);
    wr_bytes(w, SUB.filter);
}

static enum err sub_read(struct slice s, bool *ret_same)
{
    struct journal_sub a;
    TRY(journal_sub_read(JOURNAL_SUB, s, &a));
    *ret_same = a.session == 3 && a.id == 12 && a.qos == 1 && a.retain_handling == 2 &&
                a.no_local && !a.retain_as_published && slice_is(a.filter, "a/#");
    return OK;
}

static void unsub_write(struct wr *w)
{
    assert_int_equal(journal_sub_head(JOURNAL_UNSUB, &SUB, w), OK);
    wr_bytes(w, SUB.filter);
}

static enum err unsub_read(struct slice s, bool *ret_same)
{
    struct journal_sub a;
    TRY(journal_sub_read(JOURNAL_UNSUB, s, &a));
    *ret_same = a.session == 3 && a.id == 0 && slice_is(a.filter, "a/#");
    return OK;
}

static void will_write(struct wr *w)
{
    struct journal_will a = {.session = 3, .delay_s = 30, .m = MESSAGE};
    assert_int_equal(journal_will_head(&a, w), OK);
    write_parts(w, &a.m);
}

static enum err will_read(struct slice s, bool *ret_same)
{
    struct journal_will a;
    TRY(journal_will_read(s, &a));
    *ret_same = a.session == 3 && a.delay_s == 30 && message_equal(&a.m, &MESSAGE);
    return OK;
}

static void tried_write(struct wr *w)
{
    struct journal_settle a = {.session = 3, .seq = 4, .n_tries = 9};
    assert_int_equal(journal_settle_head(JOURNAL_TRIED, &a, w), OK);
}

static enum err tried_read(struct slice s, bool *ret_same)
{
    struct journal_settle a;
    TRY(journal_settle_read(JOURNAL_TRIED, s, &a));
    *ret_same = a.session == 3 && a.seq == 4 && a.n_tries == 9 && a.reason == 0;
    return OK;
}

static void set_aside_write(struct wr *w)
{
    struct journal_set_aside a = {.id = 1,
                                  .session = 0,
                                  .principal = 8,
                                  .since_wall_ms = 1700000000000,
                                  .reason = EVENT_acl_deny,
                                  .n_tries = 5,
                                  .m = MESSAGE};
    assert_int_equal(journal_set_aside_head(&a, w), OK);
    write_parts(w, &a.m);
}

static enum err set_aside_read(struct slice s, bool *ret_same)
{
    struct journal_set_aside a;
    TRY(journal_set_aside_read(s, &a));
    *ret_same = a.id == 1 && a.session == 0 && a.principal == 8 &&
                a.since_wall_ms == 1700000000000 && a.reason == EVENT_acl_deny && a.n_tries == 5 &&
                message_equal(&a.m, &MESSAGE);
    assert_true(a.reason < EVENT_COUNT);
    return OK;
}

static void set_aside_end_write(struct wr *w)
{
    assert_int_equal(journal_set_aside_end_head(3, w), OK);
}

static enum err set_aside_end_read(struct slice s, bool *ret_same)
{
    uint64_t id;
    TRY(journal_set_aside_end_read(s, &id));
    *ret_same = id == 3;
    return OK;
}

static void entry_write(struct wr *w)
{
    assert_int_equal(journal_entry_head(JOURNAL_ENTRY, JOURNAL_TABLE_META, 0, w), OK);
    wr_bytes(w, slice_text("content"));
}

static enum err entry_read(struct slice s, bool *ret_same)
{
    struct journal_entry a;
    TRY(journal_entry_read(JOURNAL_ENTRY, s, &a));
    *ret_same = a.table == JOURNAL_TABLE_META && a.id == 0 && slice_is(a.content, "content");
    return OK;
}

static void entry_end_write(struct wr *w)
{
    assert_int_equal(journal_entry_head(JOURNAL_ENTRY_END, 200, UINT64_MAX, w), OK);
}

static enum err entry_end_read(struct slice s, bool *ret_same)
{
    struct journal_entry a;
    TRY(journal_entry_read(JOURNAL_ENTRY_END, s, &a));
    *ret_same = a.table == 200 && a.id == UINT64_MAX && a.content.n == 0;
    return OK;
}

/* fixed: bytes in front of the part that runs to the record's end (0: it has no such part);
 * may_end: a cut there, or behind it, leaves a record all the same. */
static const struct example {
    const char *name;
    void (*write)(struct wr *w);
    enum err (*read)(struct slice s, bool *ret_same);
    size_t bytes, may_end;
    bool has_rest;
    const char *front; /* the first bytes, in hexadecimal */
} EXAMPLES[] = {
    {"BODY", body_write, body_read, 63, 59, true,
     "000000000000004d00000000000000050102030405060708"
     "0000000000000009fffffffffffffffea0b0c0d0003202030003"
     "00000002612f62707078797a21"},
    {"DELIVER", deliver_write, deliver_read, 56, 10, true,
     "000000000000004d003f0000000000000003000000000000"
     "0004ca00000000000000000005000000000000000615000200000001"
     "10000000"},
    {"ACK", ack_write, ack_read, 16, 16, false, "00000000000000030000000000000004"},
    {"DROP", drop_write, drop_read, 17, 17, false, "00000000000000030000000000000004"},
    {"TRIED", tried_write, tried_read, 17, 17, false, "0000000000000003000000000000000409"},
    {"INBOUND", packet_write, packet_read, 10, 10, false, "0000000000000003ffff"},
    {"SESSION", session_write, session_read, 42, 36, true,
     "00000000000000030000000000000008ffffffffffffffffffffffff7fffffffffffffff70756d702d37"},
    {"SESSION_END", session_end_write, session_end_read, 8, 8, false, "0000000000000003"},
    {"SUB", sub_write, sub_read, 16, 14, true, "00000000000000030000000c19612f23"},
    {"UNSUB", unsub_write, unsub_read, 11, 9, true, "0000000000000003612f23"},
    {"WILL", will_write, will_read, 59, 55, true, "00000000000000030000001e01020304"},
    {"SET_ASIDE", set_aside_write, set_aside_read, 81, 77, true,
     "0000000000000001000000000000000000000000000000080000018bcfe56800"},
    {"SET_ASIDE_END", set_aside_end_write, set_aside_end_read, 8, 8, false, "0000000000000003"},
    {"ENTRY", entry_write, entry_read, 16, 9, true, "030000000000000000636f6e74656e74"},
    {"ENTRY_END", entry_end_write, entry_end_read, 9, 9, false, "c8ffffffffffffffff"},
    {"BODY for a group", passed_on_write, passed_on_read, 71, 67, true,
     "000000000000004d00000000000000050102030405060708"
     "0000000000000009fffffffffffffffea0b0c0d00032020b0003"
     "000000028090a0b0c0d0e0f0612f62707078797a21"},
};

static void test_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(EXAMPLES); i++) {
        const struct example *x = &EXAMPLES[i];
        uint8_t bytes[RECORD_MAX];
        char text[2 * RECORD_MAX + 1] = "";
        struct wr w = wr_into(bytes, sizeof(bytes));
        bool is_same = false;
        print_message("%s\n", x->name);
        x->write(&w);
        assert_true(wr_ok(&w));
        for (size_t k = 0; k < w.at; k++) {
            snprintf(text + 2 * k, 3, "%02x", bytes[k]);
        }
        assert_int_equal(w.at, x->bytes);
        text[strlen(x->front)] = '\0';
        assert_string_equal(text, x->front);
        assert_int_equal(x->read(wr_slice(&w), &is_same), OK);
        assert_true(is_same);
    }
}

static void test_cut_long_flipped(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(EXAMPLES); i++) {
        const struct example *x = &EXAMPLES[i];
        uint8_t bytes[RECORD_MAX] = {0};
        struct wr w = wr_into(bytes, sizeof(bytes));
        bool is_same = false;
        print_message("%s\n", x->name);
        x->write(&w);
        for (size_t n = 0; n < w.at; n++) {
            enum err e = x->read(slice_of(bytes, n), &is_same);
            assert_true(n < x->may_end ? e != OK : e == OK || e == ERR_TRUNCATED);
            assert_true(e != OK || !is_same);
            is_same = false;
        }
        enum err e = x->read(slice_of(bytes, w.at + 1), &is_same);
        assert_true(x->has_rest ? !is_same : e == ERR_TRAILING);
        for (size_t bit = 0; bit < 8 * w.at; bit++) {
            is_same = false;
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            e = x->read(slice_of(bytes, w.at), &is_same);
            assert_false(e == OK && is_same);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    uint8_t bytes[RECORD_MAX];
    bool is_same;
    /* example, offset, value that may not be there */
    static const struct {
        size_t example, at;
        uint8_t value;
    } BAD[] = {{0, 7, 0},   /* BODY id 0 */
               {0, 46, 3},  /* QoS 3 */
               {0, 47, 4},  /* an unknown flag */
               {1, 9, 64},  /* DELIVER of worker 64 */
               {1, 17, 0},  /* session 0 */
               {1, 25, 0},  /* seq 0 */
               {1, 26, 9},  /* received, and QoS 1 */
               {1, 26, 3},  /* QoS 3 */
               {2, 15, 0},  /* ACK of seq 0 */
               {8, 12, 3},  /* SUB with QoS 3 */
               {8, 12, 12}, /* retain handling 3 */
               {8, 12, 64}};
    for (size_t i = 0; i < COUNT_OF(BAD); i++) {
        struct wr w = wr_into(bytes, sizeof(bytes));
        EXAMPLES[BAD[i].example].write(&w);
        bytes[BAD[i].at] = BAD[i].value;
        assert_int_equal(EXAMPLES[BAD[i].example].read(wr_slice(&w), &is_same), ERR_MALFORMED);
    }
    struct wr none = wr_into(bytes, sizeof(bytes)); /* for a group, and for none */
    passed_on_write(&none);
    memset(bytes + 54, 0, sizeof(GROUP));
    assert_int_equal(passed_on_read(wr_slice(&none), &is_same), ERR_MALFORMED);
    struct wr w = wr_into(bytes, sizeof(bytes)); /* a reason that a later version gave */
    set_aside_write(&w);
    bytes[32] = EVENT_COUNT;
    assert_int_equal(set_aside_read(wr_slice(&w), &is_same), OK);
}

/* More than a record can hold is cut, not wrapped. */
/* As long as MQTT has them, and not longer. */
static void test_client_id_at_and_over(void **state)
{
    (void)state;
    static uint8_t bytes[64 + UINT16_MAX + 1];
    struct journal_session s = {.id = 3}, back;
    struct wr w = wr_into(bytes, sizeof(bytes));
    assert_int_equal(journal_session_head(&s, &w), OK);
    size_t head = w.at;
    assert_int_equal(journal_session_read(slice_of(bytes, head + UINT16_MAX), &back), OK);
    assert_int_equal(back.client_id.n, UINT16_MAX);
    assert_int_equal(journal_session_read(slice_of(bytes, head + UINT16_MAX + 1), &back),
                     ERR_MALFORMED);
}

static void test_tries_at_and_over(void **state)
{
    (void)state;
    for (unsigned n = JOURNAL_TRIES_MAX - 1; n <= UINT8_MAX; n++) {
        uint8_t bytes[JOURNAL_DELIVERY_BYTES];
        struct wr w = wr_into(bytes, sizeof(bytes));
        struct journal_delivery d = {.session = 1, .seq = 1, .n_tries = (uint8_t)n}, back;
        journal_delivery_write(&d, NULL, &w);
        struct slice entries = wr_slice(&w);
        assert_int_equal(journal_delivery_next(&entries, &back), OK);
        assert_int_equal(back.n_tries, n < JOURNAL_TRIES_MAX ? n : JOURNAL_TRIES_MAX);
        assert_int_equal(back.qos, 0);
    }
}

static void test_writing_fails(void **state)
{
    (void)state;
    static const uint8_t LONG[UINT16_MAX + 1];
    uint8_t bytes[JOURNAL_HEAD_MAX];
    struct journal_body b = {.id = 1, .m = MESSAGE};
    b.m.topic = slice_of(LONG, UINT16_MAX);
    struct wr w = wr_into(bytes, sizeof(bytes));
    assert_int_equal(journal_body_head(&b, &w), OK);
    b.m.topic = slice_of(LONG, sizeof(LONG));
    w = wr_into(bytes, sizeof(bytes));
    assert_int_equal(journal_body_head(&b, &w), ERR_TOO_LARGE);
    w = wr_into(bytes, 15);
    struct journal_settle s = {.session = 1, .seq = 1};
    assert_int_equal(journal_settle_head(JOURNAL_ACK, &s, &w), ERR_SPACE);
    struct journal_set_aside a = {.id = 1, .m = MESSAGE}; /* the longest head */
    a.m.for_group = GROUP;
    w = wr_into(bytes, sizeof(bytes));
    assert_int_equal(journal_set_aside_head(&a, &w), OK);
}

static void test_will_without_topic(void **state)
{
    (void)state;
    uint8_t bytes[JOURNAL_HEAD_MAX];
    struct journal_will a = {.session = 3}, b;
    struct wr w = wr_into(bytes, sizeof(bytes));
    assert_int_equal(journal_will_head(&a, &w), OK);
    assert_int_equal(journal_will_read(wr_slice(&w), &b), OK);
    assert_int_equal(b.m.topic.n, 0);
}

static void test_copy_of_entry(void **state)
{
    (void)state;
    uint8_t bytes[RECORD_MAX], copy[RECORD_MAX];
    struct wr w = wr_into(bytes, sizeof(bytes)), c = wr_into(copy, sizeof(copy));
    struct journal_deliver d;
    struct journal_delivery e;
    deliver_write(&w);
    assert_int_equal(journal_deliver_read(wr_slice(&w), &d), OK);
    struct slice all = d.entries;
    while (journal_delivery_next(&d.entries, &e) == OK) {
        journal_delivery_copy(&e, &c);
    }
    assert_true(slice_equal(all, wr_slice(&c)));
}

/* Whatever may replace or end something without its receiver's word is no traffic. */
static void test_traffic(void **state)
{
    (void)state;
    for (enum journal_kind k = JOURNAL_BODY; k <= JOURNAL_KIND_END; k++) {
        struct slice none = {0};
        assert_int_equal(journal_is_traffic(k, none), k == JOURNAL_DELIVER || k == JOURNAL_ACK);
    }
    for (uint64_t number = 0; number < 2; number++) {
        uint8_t head[JOURNAL_HEAD_MAX];
        struct wr w = wr_into(head, sizeof(head));
        struct journal_body b = {
            .id = 1, .owed = 6, .m = {.publisher = UINT64_MAX, .number = number, .for_group = 5}};
        b.m.topic = slice_text("t");
        assert_int_equal(journal_body_head(&b, &w), OK);
        assert_int_equal(journal_is_traffic(JOURNAL_BODY, wr_slice(&w)), number == 0);
        b.m.number = number << 63;
        w = wr_into(head, sizeof(head));
        assert_int_equal(journal_body_head(&b, &w), OK);
        assert_int_equal(journal_is_traffic(JOURNAL_BODY, wr_slice(&w)), number == 0);
    }
}

/* What settles is taken also on a full disk. */
static void test_adds(void **state)
{
    (void)state;
    static const enum journal_kind ADD[] = {JOURNAL_BODY, JOURNAL_INBOUND, JOURNAL_SUB,
                                            JOURNAL_SET_ASIDE, JOURNAL_ENTRY};
    size_t n = 0;
    for (enum journal_kind k = JOURNAL_BODY; k <= JOURNAL_KIND_END; k++) {
        bool is_one = n < COUNT_OF(ADD) && ADD[n] == k;
        assert_int_equal(journal_adds(k), is_one);
        n += is_one ? 1 : 0;
    }
    assert_int_equal(n, COUNT_OF(ADD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_cut_long_flipped),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_tries_at_and_over),
        cmocka_unit_test(test_client_id_at_and_over),
        cmocka_unit_test(test_writing_fails),
        cmocka_unit_test(test_will_without_topic),
        cmocka_unit_test(test_copy_of_entry),
        cmocka_unit_test(test_adds),
        cmocka_unit_test(test_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

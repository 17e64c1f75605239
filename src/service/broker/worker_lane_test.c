/* The renewal lane, and renewal over MQTT, as the workers see it. */
#include "base/random.h"
#include "service/broker/lane.h"
#include "service/broker/worker_story_test.h"

static const struct hello as_ever = {.client_id = "c", .resume = true, .will = "t/will"};

/* d0 comes with a certificate that has ended so long ago (below 0: that has not). */
static void comes(struct bench *b, struct party *p, const struct hello *h, int64_t ago_ms)
{
    uint8_t bytes[512];
    struct wr w = wr_into(bytes, sizeof(bytes));
    p->version = h->version != 0 ? h->version : MQTT_V5;
    write_hello(h, &w);
    assert_true(arrives(b, p, 0, "d0"));
    worker_certificate_ends(b->workers[0], p->conn, b->wall_ms - ago_ms);
    give_wr(b, p, &w);
    settle(b);
}

static void hears(struct bench *b, struct party *p)
{
    subscribes(b, p, LANE_ANSWER, 1);
    settle(b);
    EXPECT(p, "suback 00; ");
}

static void asks(struct bench *b, struct party *p, const char *payload)
{
    publishes(b, p, LANE_ASK, payload, 1, 5, false);
    settle(b);
}

/* The service thread has decided. */
static void decided(struct bench *b, enum err result, const char *text)
{
    struct renewal *r = b->renewal;
    struct wmsg m = {.kind = WMSG_RENEWED, .renewal = r};
    assert_non_null(r);
    b->renewal = NULL;
    r->result = result;
    if (result == OK) {
        must(buf_append(&r->chain, slice_text(text), SIZE_MAX));
    } else {
        why_set(&r->why, "%s", text);
    }
    must(ring_push(&b->service[r->worker], &m));
    settle(b);
}

#define CSR "\x30\x03\x01\x01\x01"

static void nothing_but_renewal(void **state)
{
    struct bench *b = *state;
    struct party *own = &b->parties[0], *late = &b->parties[1], *other = &b->parties[2];
    const char *away = device_at(b, 1, 0); /* somebody who publishes to it */
    comes(b, own, &as_ever, -3600000);
    EXPECT(own, "connack 00; ");
    subscribed(b, own, "t/x", 1);
    is_cut(b, own);
    comes(b, late, &as_ever, 1000);
    EXPECT(late, "connack 00; "); /* and no session is there */
    publishes(b, late, "t/x", "no", 1, 1, false);
    publishes(b, late, "t/x", "no", 0, 0, false);
    publishes(b, late, "t/x", "no", 2, 2, true);
    settle(b);
    EXPECT(late, "puback 1 87; pubrec 2 87; ");
    subscribes(b, late, "t/x", 1);
    settle(b);
    EXPECT(late, "suback 87; ");
    /* what is said meanwhile waits for the device */
    is_in(b, other, away, &(struct hello){.client_id = "o"});
    publishes(b, other, "t/x", "waits", 1, 1, false);
    settle(b);
    hears(b, late);
    asks(b, late, CSR);
    EXPECT(late, "");
    assert_true(b->renewal->is_late);
    assert_string_equal(b->renewal->name, "d0");
    assert_true(slice_is(buf_slice(&b->renewal->csr), CSR));
    assert_true(slice_is(buf_slice(&b->renewal->current), "a certificate"));
    decided(b, OK, "the chain");
    EXPECT(late, "puback 5; publish0 " LANE_ANSWER " the chain; ");
    is_cut(b, late);                               /* no will */
    assert_int_equal(events_of(b, EVENT_will), 1); /* that of its life before */
    comes(b, own, &as_ever, -3600000);
    EXPECT(own, "connack 00 present; publish1 t/x waits; ");
}

/* MQTT 3.1.1 has no code: who must be told hears it in the answer, or loses its connection. */
static void the_older_protocol(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    struct hello h = as_ever;
    h.version = MQTT_V311;
    comes(b, p, &h, 1000);
    EXPECT(p, "connack 00; ");
    hears(b, p);
    asks(b, p, "rubbish");
    assert_non_null(strstr(said(p), "puback 5; publish0 " LANE_ANSWER " refused: "));
    asks(b, p, CSR);
    decided(b, ERR_DENIED, "who, what, why, fix");
    EXPECT(p, "puback 5; publish0 " LANE_ANSWER " refused: who, what, why, fix\n; ");
    publishes(b, p, "t/x", "no", 1, 1, false);
    settle(b);
    EXPECT(p, "");
    assert_int_equal(p->conn, 0);
    comes(b, p, &h, 1000);
    EXPECT(p, "connack 00; ");
    asks(b, p, CSR);
    assert_int_equal(p->conn, 0);
}

static void what_is_asked_wrongly(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    comes(b, p, &as_ever, 1000);
    EXPECT(p, "connack 00; ");
    asks(b, p, CSR);
    EXPECT(p, "puback 5 83; "); /* nobody hears the answer */
    hears(b, p);
    publishes(b, p, LANE_ASK, CSR, 2, 6, false);
    settle(b);
    assert_non_null(strstr(said(p), "pubrec 6 83; "));
    publishes(b, p, LANE_ASK, CSR, 1, 7, true);
    settle(b);
    assert_non_null(strstr(said(p), "puback 7 83; "));
    asks(b, p, CSR);
    asks(b, p, CSR); /* the first is on its way */
    /* acknowledgements keep their order */
    EXPECT(p,
           "publish0 " LANE_ANSWER " refused: one renewal after the other: the answer to the last "
           "is on its way\n; ");
    decided(b, ERR_LIMIT, "later");
    assert_non_null(strstr(said(p), "puback 5 97; puback 5 97; publish0"));
    asks(b, p, CSR);
    is_cut(b, p);
    decided(b, OK, "nobody hears it");
    assert_int_equal(
        atomic_load(&b->counters[0].renewals_ok) + atomic_load(&b->counters[1].renewals_ok), 1);
}

static void who_is_not_let_in(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    b->limits.renewal_grace_s = 3600;
    comes(b, p, &as_ever, 3600000);
    EXPECT(p, "connack 00; ");
    is_cut(b, p);
    comes(b, p, &as_ever, 3600001);
    EXPECT(p, "connack 87; ");
    assert_int_equal(events_of(b, EVENT_credential_expiring), 1);
    /* while it is in */
    comes(b, p, &as_ever, 1000);
    EXPECT(p, "connack 00; ");
    must(directory_disable(b->directory, slice_text("d0"), slice_text("")));
    realm_changes(b);
    settle(b);
    EXPECT(p, "disconnect 87; ");
    comes(b, p, &as_ever, 1000);
    EXPECT(p, "connack 87; ");
}

/* So many as the rate says; the others have places, one behind the other. */
static void the_pace(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    unsigned n_in = 0;
    for (unsigned i = 0; i < 200; i++) {
        comes(b, p, &as_ever, 1000);
        const char *text = said(p);
        bool is_in = strcmp(text, "connack 00; ") == 0;
        assert_true(is_in || strcmp(text, "connack 9f; ") == 0);
        n_in += is_in;
        is_cut(b, p);
    }
    /* LIMITS_DEFAULT, in parts */
    assert_int_equal(n_in, 50 / WORKERS * LANE_BURST_S);
    assert_int_equal(atomic_load(&b->counters[0].renewals_later), 200 - n_in);
    pass(b, 1000);
    comes(b, p, &as_ever, 1000);
    EXPECT(p, "connack 00; ");
}

static void a_time_in_the_lane(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    comes(b, p, &as_ever, 1000);
    EXPECT(p, "connack 00; ");
    pass(b, LANE_SECONDS * 1000 - 1);
    EXPECT(p, "");
    pass(b, 1);
    EXPECT(p, "disconnect 87; ");
}

/* A connection ends with its certificate; a clock that goes back does not end it. */
static void the_end_while_it_is_there(void **state)
{
    struct bench *b = *state;
    struct party *p = &b->parties[0];
    comes(b, p, &(struct hello){.client_id = "c", .keep_alive_s = 60000}, -5000);
    EXPECT(p, "connack 00; ");
    pass(b, 4999);
    EXPECT(p, "");
    b->wall_ms -= 3000;
    pass(b, 1);
    EXPECT(p, "");
    pass(b, 3000);
    EXPECT(p, "disconnect 87; ");
}

int main(void)
{
#define STORY(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)
    const struct CMUnitTest tests[] = {
        STORY(nothing_but_renewal),      STORY(the_older_protocol), STORY(what_is_asked_wrongly),
        STORY(who_is_not_let_in),        STORY(the_pace),           STORY(a_time_in_the_lane),
        STORY(the_end_while_it_is_there)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

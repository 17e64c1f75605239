/* What plain requests ask of the heap: a GET nothing, a PUT or POST what it leaves behind. */
#include "service/gateway/door_bench_test.h"

enum {
    WARM = 60,     /* requests until the tables have grown to where they stay for a while, */
    MEASURED = 40, /* ... so many more */
    PAYLOAD_BYTES = 150,
    OF_A_MESSAGE = 4 /* the message, its place among the retained, its copies in the test's log */
};

static void add_role(struct fortress *f)
{
    struct role *r = NULL;
    assert_int_equal(policy_add_role(f->policy, slice_text("busy"), &r), OK);
    grant(r, POLICY_PUBLISH, "s/${device}/+", true, 2);
    grant(r, POLICY_SUBSCRIBE, "s/${device}/#", false, 2);
    struct role_limits *l = role_limits(r);
    l->publish_rate = l->publish_burst = l->replay_rate = 1000000;
    add_device(f, "busy", "busy");
    publish_realm(f);
}

/* Sends it, and gives whether more than n_allowed blocks were asked for before it was served. */
static bool takes_more(struct fortress *f, const struct ask *a, long n_allowed)
{
    uint8_t bytes[DATAGRAM];
    struct net_peer peer = peer_of(1);
    size_t n = build(f, a, bytes, sizeof(bytes));
    forget_sent(f);
    mem_fail_after(n_allowed);
    coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
    bool takes = mem_fail_after(-1) != 0;
    turns(f);
    return takes;
}

static void asks_for_little(struct fortress *f, uint8_t code, const char *payload, uint8_t want,
                            long n_allowed)
{
    struct ask a = {ASK(COAP_CON, code, "/mq/s/busy/t")};
    a.payload = slice_text(payload);
    for (unsigned i = 0; i < WARM; i++) {
        (void)asks(f, 0, 1, &a);
    }
    for (unsigned i = 0; i < MEASURED; i++) {
        assert_false(takes_more(f, &a, n_allowed));
        EXPECT_CODE(next_sent(f, 0, 1), want);
    }
}

static void requests_ask_for_little(void **state)
{
    static const struct {
        uint8_t code, want;
        long n_allowed;
    } rows[] = {{COAP_GET, COAP_CONTENT, 0},
                {COAP_PUT, COAP_CHANGED, OF_A_MESSAGE},
                {COAP_POST, COAP_CHANGED, OF_A_MESSAGE}};
    struct fortress *f = *state;
    char payload[PAYLOAD_BYTES + 1] = {0};
    memset(payload, 'x', PAYLOAD_BYTES);
    add_role(f);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_true(link_device(f, 0, 1, "busy"));
        struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/busy/t")};
        put.payload = slice_text(payload);
        EXPECT_CODE(asks(f, 0, 1, &put), i == 0 ? COAP_CREATED : COAP_CHANGED);
        asks_for_little(f, rows[i].code, rows[i].code == COAP_GET ? "" : payload, rows[i].want,
                        rows[i].n_allowed);
        f->fakes[0].handler.closed(f->fakes[0].handler.ctx, 1, OK);
        turns(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_ask_for_little, fortress_open, fortress_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

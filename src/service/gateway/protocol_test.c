/* What CoAP demands of any server, by datagrams as hex: each mistake has its code and its event,
 * and leaves nothing behind. */
#include "service/gateway/door_bench_test.h"

struct row {
    const char *what;
    const char *hex;  /* of the request; mmmm: its message id */
    uint8_t code;     /* of the answer; 0: there is none but an empty message or silence */
    int empty;        /* the type of the empty message then; -1: silence */
    int category;     /* of its event; -1: none */
    const char *says; /* in the event */
};

/* "b2 6d71 01 73 04 64657631 01 74" is /mq/s/dev1/t. */
#define TOPIC "b26d71017304646576310174"

#define NO_EVENT (-1)
#define SILENCE  (-1)

static const struct row rows[] = {
    {"unknown method", "4008mmmm" TOPIC, COAP_METHOD_NOT_ALLOWED, 0, EVENT_protocol_error, "4.05"},
    {"the last method", "401fmmmm" TOPIC, COAP_METHOD_NOT_ALLOWED, 0, EVENT_protocol_error, "4.05"},
    {"FETCH of no pack", "4005mmmm" TOPIC "ff31", COAP_UNSUPPORTED_FORMAT, 0, EVENT_protocol_error,
     "4.15"},
    {"PATCH", "4006mmmm" TOPIC "ff31", COAP_UNSUPPORTED_FORMAT, 0, EVENT_protocol_error, "4.15"},
    {"iPATCH", "4007mmmm" TOPIC "ff31", COAP_UNSUPPORTED_FORMAT, 0, EVENT_protocol_error, "4.15"},
    {"critical option 9",
     "4001mmmm9022"
     "6d7100",
     COAP_BAD_OPTION, 0, EVENT_protocol_error, "4.02"},
    {"critical option 65001", "4001mmmm" TOPIC "e0fcd1", COAP_BAD_OPTION, 0, EVENT_protocol_error,
     "4.02"},
    {"critical, in a NON", "5001mmmm" TOPIC "e0fcd1", 0, SILENCE, EVENT_protocol_error, "4.02"},
    {"elective option 65000", "4001mmmm" TOPIC "e0fcd0", COAP_NOT_FOUND, 0, NO_EVENT, NULL},
    {"two Accepts",
     "4001mmmm" TOPIC "613201"
     "32",
     COAP_BAD_OPTION, 0, EVENT_protocol_error, "4.02"},
    {"Accept of three bytes", "4001mmmm" TOPIC "63010203", COAP_BAD_OPTION, 0, EVENT_protocol_error,
     "4.02"},
    {"two If-None-Match",
     "4003mmmm5000"
     "62"
     "6d71017304646576310174"
     "ff31",
     COAP_BAD_OPTION, 0, EVENT_protocol_error, "4.02"},
    {"Proxy-Uri", "4001mmmm" TOPIC "d50b636f61703a", COAP_PROXYING_NOT_SUPPORTED, 0, EVENT_probe,
     "no proxy"},
    {"Hop-Limit 0", "4001mmmm" TOPIC "5100", COAP_BAD_REQUEST, 0, EVENT_malformed, "Hop-Limit"},
    {"Hop-Limit, empty", "4001mmmm" TOPIC "50", COAP_BAD_REQUEST, 0, EVENT_malformed, "Hop-Limit"},
    {"Hop-Limit 256", "4001mmmm" TOPIC "520100", COAP_BAD_REQUEST, 0, EVENT_malformed, "Hop-Limit"},
    {"Hop-Limit 255", "4001mmmm" TOPIC "51ff", COAP_NOT_FOUND, 0, NO_EVENT, NULL},
    {"Hop-Limit 1", "4001mmmm" TOPIC "5101", COAP_NOT_FOUND, 0, NO_EVENT, NULL},
    {"token of 32",
     "4d01mmmm13"
     "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20" TOPIC,
     COAP_NOT_FOUND, 0, NO_EVENT, NULL},
    {"token of 33",
     "4d01mmmm14"
     "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021" TOPIC,
     0, COAP_RST, EVENT_malformed, "no CoAP message"},
    {"token that ends early", "4d01mmmmff", 0, COAP_RST, EVENT_malformed, "no CoAP message"},
    {"token length alone", "4e01mmmm", 0, COAP_RST, EVENT_malformed, "no CoAP message"},
    {"token length 15", "4f01mmmm" TOPIC, 0, COAP_RST, EVENT_malformed, "no CoAP message"},
    {"option number over 65535", "4001mmmme0fef2c0", 0, COAP_RST, EVENT_malformed,
     "no CoAP message"},
    {"marker without payload", "4001mmmm" TOPIC "ff", 0, COAP_RST, EVENT_malformed,
     "no CoAP message"},
    {"class 1", "4021mmmm" TOPIC, 0, COAP_RST, EVENT_malformed, "no CoAP message"},
    {"class 7", "40e1mmmm" TOPIC, 0, COAP_RST, EVENT_malformed, "no CoAP message"},
    {"version 0", "0001mmmm" TOPIC, 0, SILENCE, EVENT_malformed, "no CoAP message"},
    {"version 2", "8001mmmm" TOPIC, 0, SILENCE, EVENT_malformed, "no CoAP message"},
    {"malformed NON", "5f01mmmm" TOPIC, 0, SILENCE, EVENT_malformed, "no CoAP message"},
    {"malformed ACK", "6f01mmmm" TOPIC, 0, SILENCE, EVENT_malformed, "no CoAP message"},
    {"request in an ACK", "6001mmmm" TOPIC, 0, SILENCE, EVENT_malformed, "no CoAP message"},
    {"request in a RST", "7001mmmm" TOPIC, 0, SILENCE, EVENT_malformed, "no CoAP message"},
    {"ACK of nothing", "6000mmmm", 0, SILENCE, NO_EVENT, NULL},
    {"RST of nothing", "7000mmmm", 0, SILENCE, NO_EVENT, NULL},
    {"empty NON", "5000mmmm", 0, SILENCE, EVENT_malformed, "no CoAP message"},
    {"empty with a token", "4100mmmm01", 0, COAP_RST, EVENT_malformed, "no CoAP message"},
    {"a ping", "4000mmmm", 0, COAP_RST, NO_EVENT, NULL},
    {"a response nobody asked for", "4045mmmmff31", 0, COAP_RST, NO_EVENT, NULL},
    {"No-Response to 4.xx",
     "4001mmmm" TOPIC "d1ea"
     "08",
     0, COAP_ACK, NO_EVENT, NULL},
    {"No-Response to 4.xx, refused",
     "4008mmmm" TOPIC "d1ea"
     "08",
     0, COAP_ACK, EVENT_protocol_error, "4.05"},
    {"No-Response to 2.xx",
     "4001mmmm" TOPIC "d1ea"
     "02",
     COAP_NOT_FOUND, 0, NO_EVENT, NULL},
    {"Accept of another format",
     "4001mmmm"
     "bb2e77656c6c2d6b6e6f776e04636f7265"
     "6132",
     COAP_NOT_ACCEPTABLE, 0, NO_EVENT, NULL},
    {"FETCH of the list",
     "4005mmmm"
     "bb2e77656c6c2d6b6e6f776e04636f7265",
     COAP_METHOD_NOT_ALLOWED, 0, EVENT_protocol_error, "4.05"},
};

static size_t bytes_of(const char *hex, uint16_t mid, uint8_t *dst)
{
    char text[5];
    size_t n = 0;
    (void)snprintf(text, sizeof(text), "%04x", mid);
    for (size_t i = 0; hex[i] != '\0'; i += 2) {
        char byte[3] = {hex[i], hex[i + 1], '\0'};
        if (byte[0] == 'm') {
            byte[0] = text[n == 2 ? 0 : 2];
            byte[1] = text[n == 2 ? 1 : 3];
        }
        dst[n++] = (uint8_t)strtoul(byte, NULL, 16);
    }
    return n;
}

static void has_code_and_event(struct fortress *f, const struct row *r, uint16_t mid)
{
    uint8_t bytes[256];
    struct net_peer peer = peer_of(1);
    struct coap_message m = {.code = 0};
    size_t n = bytes_of(r->hex, mid, bytes);
    struct fake *k = &f->fakes[0];
    f->n_events = 0;
    forget_sent(f);
    coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
    turns(f);
    if (k->n_sent != (r->code == 0 && r->empty == SILENCE ? 0 : 1)) {
        fail_msg("%s: %zu answers", r->what, k->n_sent);
    }
    if (k->n_sent > 0) {
        assert_int_equal(coap_message_decode(slice_of(k->sent[0].bytes, k->sent[0].n), 32, &m), OK);
        if (m.code != r->code || (r->code == 0 && (int)m.type != r->empty)) {
            fail_msg("%s: %u.%02u of type %d", r->what, m.code >> 5, m.code & 31, (int)m.type);
        }
    }
    const struct event *e =
        r->category != NO_EVENT ? find_event(f, (enum event_category)r->category) : NULL;
    if (f->n_events != (r->category != NO_EVENT ? 1 : 0) ||
        (r->says != NULL && (e == NULL || strstr(e->reason, r->says) == NULL))) {
        fail_msg("%s: %zu events, %s", r->what, f->n_events,
                 f->n_events > 0 ? f->events[0].reason : "-");
    }
}

static void each_mistake_has_its_code_and_event(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        has_code_and_event(f, &rows[i], (uint16_t)(5000 + i));
    }
    /* Nothing is left of any of them, and the association is as good as new. */
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
    assert_int_equal(coap_door_count(f->doors[0]), 1);
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t")};
    put.payload = slice_text("1");
    assert_int_equal(asks(f, 0, 1, &put).code, COAP_CREATED);
}

/* A request on a topic with the preconditions of RFC 7252 5.10.8. */
static uint8_t conditional(struct fortress *f, uint8_t method, const struct slice *match,
                           bool none_match)
{
    uint8_t bytes[DATAGRAM], block[256];
    size_t n = 0;
    struct net_peer peer = peer_of(1);
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_message m = {.type = COAP_CON, .code = method, .mid = ++f->mid};
    if (match != NULL) {
        coap_option_add(&o, COAP_OPTION_IF_MATCH, *match);
    }
    if (none_match) {
        coap_option_add(&o, COAP_OPTION_IF_NONE_MATCH, (struct slice){0});
    }
    coap_uri_path_options(slice_text("/mq/s/dev1/t"), &o);
    m.payload = method == COAP_PUT ? slice_text("v") : (struct slice){0};
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    forget_sent(f);
    coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
    turns(f);
    return next_sent(f, 0, 1).code;
}

static void conditions_are_kept(void **state)
{
    struct fortress *f = *state;
    struct slice any = {0}, etag, wrong = slice_text("12345678");
    uint8_t kept[8];
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")};
    assert_int_equal(conditional(f, COAP_PUT, &any, false), COAP_PRECONDITION_FAILED);
    assert_int_equal(conditional(f, COAP_DELETE, &any, false), COAP_PRECONDITION_FAILED);
    assert_int_equal(asks(f, 0, 1, &get).code, COAP_NOT_FOUND);
    assert_int_equal(conditional(f, COAP_PUT, NULL, true), COAP_CREATED);
    assert_int_equal(conditional(f, COAP_PUT, NULL, true), COAP_PRECONDITION_FAILED);
    assert_int_equal(conditional(f, COAP_PUT, &any, true), COAP_PRECONDITION_FAILED);
    assert_int_equal(conditional(f, COAP_PUT, &any, false), COAP_CHANGED);
    assert_int_equal(conditional(f, COAP_PUT, &wrong, false), COAP_PRECONDITION_FAILED);
    struct coap_message m = asks(f, 0, 1, &get);
    assert_true(coap_options_find(m.options, COAP_OPTION_ETAG, &etag) && etag.n == sizeof(kept));
    memcpy(kept, etag.p, sizeof(kept));
    etag = slice_of(kept, sizeof(kept));
    assert_int_equal(conditional(f, COAP_GET, &etag, false), COAP_CONTENT);
    assert_int_equal(conditional(f, COAP_GET, &wrong, false), COAP_PRECONDITION_FAILED);
    assert_int_equal(conditional(f, COAP_PUT, &etag, false), COAP_CHANGED);
    assert_int_equal(conditional(f, COAP_PUT, &etag, false), COAP_PRECONDITION_FAILED);
    assert_int_equal(conditional(f, COAP_DELETE, &any, false), COAP_DELETED);
    assert_int_equal(asks(f, 0, 1, &get).code, COAP_NOT_FOUND);
}

/* Whoever may not learn what is there does not learn it by a condition either. */
static void a_condition_is_asked_after_permission(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "mute"));
    struct slice any = {0};
    assert_int_equal(conditional(f, COAP_PUT, &any, false), COAP_FORBIDDEN);
    assert_int_equal(conditional(f, COAP_GET, NULL, true), COAP_FORBIDDEN);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_mistake_has_its_code_and_event),
        TEST(conditions_are_kept),
        TEST(a_condition_is_asked_after_permission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

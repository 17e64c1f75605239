/* PATCH and iPATCH: what becomes of a retained value, and every refusal of RFC 8132. */
#include "service/gateway/door_bench_test.h"
#include "wire/json/merge_patch.h"

enum { MERGE_PATCH_OVER = MERGE_PATCH_BYTES_MAX + 1 };

static uint8_t patches(struct fortress *f, unsigned worker, uint8_t code, const char *path,
                       int format, struct slice patch)
{
    struct ask a = {ASK(COAP_CON, code, path), .payload = patch};
    a.format = format;
    return asks(f, worker, 1, &a).code;
}

static uint8_t patch(struct fortress *f, const char *path, const char *text)
{
    return patches(f, 0, COAP_PATCH, path, COAP_FORMAT_MERGE_PATCH, slice_text(text));
}

static void value_is(struct fortress *f, unsigned worker, const char *path, const char *text)
{
    struct coap_message m = asks(f, worker, 1, &(struct ask){ASK(COAP_CON, COAP_GET, path)});
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, text));
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_JSON);
}

static int open_linked(void **state)
{
    int failed = fortress_open(state);
    struct fortress *f = *state;
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_true(link_device(f, i, 1, "dev1"));
    }
    return failed;
}

static void merges(void **state)
{
    struct fortress *f = *state;
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"on\":true,\"off\":null}"), COAP_CREATED);
    value_is(f, 0, "/mq/s/dev1/a", "{\"on\":true}");
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"t\":21.30}"), COAP_CHANGED);
    value_is(f, 0, "/mq/s/dev1/a", "{\"on\":true,\"t\":21.30}");
    /* the same at the other worker, and iPATCH is no other */
    assert_int_equal(patches(f, 1, COAP_IPATCH, "/mq/s/dev1/a", COAP_FORMAT_MERGE_PATCH,
                             slice_text("{\"on\":null}")),
                     COAP_CHANGED);
    value_is(f, 0, "/mq/s/dev1/a", "{\"t\":21.30}");
    value_is(f, 1, "/mq/s/dev1/a", "{\"t\":21.30}");
}

/* What MQTT clients retained, with and without a word of what it is. */
static void over_both_doors(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "s/dev1/a");
    mqtt_publish(f, "s/dev1/a", "{\"n\": 1}", true, NULL);
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"m\":2}"), COAP_CHANGED);
    assert_true(mqtt_has_seen(f, "{\"n\":1,\"m\":2}"));
    assert_true(mqtt_has_seen(f, "application/json"));
    mqtt_publish(f, "s/dev1/a", "{\"n\":1}", true, "application/cbor");
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"m\":2}"), COAP_CONFLICT);
    mqtt_publish(f, "s/dev1/a", "off", true, NULL);
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"m\":2}"), COAP_CONFLICT);
    mqtt_publish(f, "s/dev1/a", "7", true, "application/json");
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"m\":2}"), COAP_CHANGED); /* in its place */
    value_is(f, 0, "/mq/s/dev1/a", "{\"m\":2}");
}

static void refusals(void **state)
{
    struct fortress *f = *state;
    static const struct {
        const char *patch;
        int format;
        uint8_t code;
    } cases[] = {
        {"{}", -1, COAP_UNSUPPORTED_FORMAT},
        {"{}", COAP_FORMAT_JSON, COAP_UNSUPPORTED_FORMAT},
        {"[]", 51, COAP_UNSUPPORTED_FORMAT},
        {"", COAP_FORMAT_MERGE_PATCH, COAP_BAD_REQUEST},
        {"{\"a\":}", COAP_FORMAT_MERGE_PATCH, COAP_BAD_REQUEST},
        {"\"\xff\"", COAP_FORMAT_MERGE_PATCH, COAP_BAD_REQUEST},
        {"{\"a\":1,\"a\":2}", COAP_FORMAT_MERGE_PATCH, COAP_UNPROCESSABLE},
        {"[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]", COAP_FORMAT_MERGE_PATCH, COAP_UNPROCESSABLE},
    };
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"v\":1}"), COAP_CREATED);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice text = slice_text(cases[i].patch);
        assert_int_equal(patches(f, 0, COAP_PATCH, "/mq/s/dev1/a", cases[i].format, text),
                         cases[i].code);
        f->now_ms += 1000;
    }
    uint8_t large[MERGE_PATCH_OVER];
    memset(large, ' ', sizeof(large));
    large[0] = '1';
    assert_int_equal(patches(f, 0, COAP_PATCH, "/mq/s/dev1/a", COAP_FORMAT_MERGE_PATCH,
                             slice_of(large, sizeof(large))),
                     COAP_REQUEST_TOO_LARGE);
    assert_int_equal(
        patches(f, 0, COAP_FETCH, "/mq/s/dev1/a", COAP_FORMAT_JSON, slice_text("[\"v\"]")),
        COAP_UNSUPPORTED_FORMAT);
    value_is(f, 0, "/mq/s/dev1/a", "{\"v\":1}"); /* nothing was changed by any */
}

/* A patch tells something of the value, and says another: it needs both permissions. */
static void permissions(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_publish(f, "s/dev2/a", "{\"v\":1}", true, NULL);
    mqtt_publish(f, "low/dev1", "{\"v\":1}", true, NULL);
    mqtt_publish(f, "commands/dev1", "{\"v\":1}", true, NULL);
    assert_int_equal(patch(f, "/mq/s/dev2/a", "{\"v\":2}"), COAP_FORBIDDEN);
    struct ask low = {ASK(COAP_NON, COAP_PUT, "/mq/low/dev1"), PAYLOAD("{}")};
    EXPECT_CODE(asks(f, 0, 1, &low), COAP_CHANGED);
    low.code = COAP_PATCH; /* it may say another, but not read it */
    low.format = COAP_FORMAT_MERGE_PATCH;
    EXPECT_CODE(asks(f, 0, 1, &low), COAP_FORBIDDEN);
    assert_int_equal(patch(f, "/mq/commands/dev1", "{\"v\":2}"), COAP_FORBIDDEN); /* nor say it */
    assert_int_equal(count_events(f, EVENT_acl_deny), 3);
}

/* What it does not hear it does not pass on, and does not overwrite by a part. */
static void another_segment(void **state)
{
    struct fortress *f = *state;
    const struct principal_attr segment = {PRINCIPAL_SEGMENT, "office"};
    add_device_of(f, "elsewhere", "console", &segment, 1);
    publish_realm(f);
    (void)snprintf(f->mqtts.segment, sizeof(f->mqtts.segment), "office");
    mqtt_open(f, "elsewhere");
    mqtt_publish(f, "s/dev1/a", "{\"v\":1}", true, NULL);
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"w\":2}"), COAP_FORBIDDEN);
    const struct event *e = find_event(f, EVENT_acl_deny);
    assert_true(e != NULL && strstr(e->reason, "segment") != NULL);
    struct ask whole = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/a"), PAYLOAD("{}")};
    EXPECT_CODE(asks(f, 0, 1, &whole), COAP_CHANGED);
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"w\":2}"), COAP_CHANGED);
}

/* Also one that is refused reads: so often, and no more. */
static void rate(void **state)
{
    struct fortress *f = *state;
    uint8_t code = COAP_BAD_REQUEST;
    unsigned n = 0;
    for (; code == COAP_BAD_REQUEST && n < 1000; n++) {
        code = patch(f, "/mq/s/dev1/a", "no json");
    }
    assert_int_equal(code, COAP_TOO_MANY_REQUESTS);
    f->now_ms += 1000;
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{}"), COAP_CREATED);
}

static void conditions_and_bounds(void **state)
{
    struct fortress *f = *state;
    struct ask a = {ASK(COAP_CON, COAP_IPATCH, "/mq/s/dev1/a"), PAYLOAD("{\"v\":2}")};
    uint8_t etag[8], filler[560];
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"v\":1}"), COAP_CREATED);
    struct coap_message m = asks(f, 0, 1, &(struct ask){ASK(COAP_CON, COAP_GET, "/mq/s/dev1/a")});
    struct slice value;
    assert_true(coap_options_find(m.options, COAP_OPTION_ETAG, &value) && value.n == sizeof(etag));
    slice_copy(etag, value);
    a.format = COAP_FORMAT_MERGE_PATCH;
    a.if_match = slice_of(etag, sizeof(etag));
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CHANGED);
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_PRECONDITION_FAILED); /* it has another one now */
    value_is(f, 0, "/mq/s/dev1/a", "{\"v\":2}");
    mqtt_open(f, "desk"); /* a condition comes before what the value is */
    mqtt_publish(f, "s/dev1/b", "off", true, NULL);
    a.path = "/mq/s/dev1/b";
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_PRECONDITION_FAILED);
    /* what comes out is held against retained_bytes of the role, which is 600 */
    memset(filler, 'x', sizeof(filler));
    struct wr head = wr_into(filler, sizeof(filler));
    struct wr tail = wr_into(filler + sizeof(filler) - 2, 2);
    wr_bytes(&head, slice_text("{\"w\":\""));
    wr_bytes(&tail, slice_text("\"}"));
    for (int i = 0; i < 2; i++) {
        filler[2] = (uint8_t)('w' + i);
        assert_int_equal(patches(f, 0, COAP_PATCH, "/mq/s/dev1/a", COAP_FORMAT_MERGE_PATCH,
                                 slice_of(filler, sizeof(filler))),
                         i == 0 ? COAP_CHANGED : COAP_REQUEST_TOO_LARGE);
    }
}

static void no_memory(void **state)
{
    struct fortress *f = *state;
    bool has_failed = true;
    assert_int_equal(patch(f, "/mq/s/dev1/a", "{\"v\":1}"), COAP_CREATED);
    for (long k = 0; has_failed; k++) {
        struct ask a = {ASK(COAP_CON, COAP_PATCH, "/mq/s/dev1/a"), PAYLOAD("{\"v\":2}")};
        a.format = COAP_FORMAT_MERGE_PATCH;
        forget_sent(f);
        uint8_t bytes[DATAGRAM];
        struct net_peer peer = peer_of(1);
        size_t n = build(f, &a, bytes, sizeof(bytes));
        (void)mem_fail_after(k);
        coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
        has_failed = mem_fail_after(-1) != 0;
        pass(f, 1000);
    }
    value_is(f, 0, "/mq/s/dev1/a", "{\"v\":2}");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_linked, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(merges),
        CASE(over_both_doors),
        CASE(refusals),
        CASE(another_segment),
        CASE(rate),
        CASE(permissions),
        CASE(conditions_and_bounds),
        CASE(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

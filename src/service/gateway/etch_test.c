/* FETCH and (i)PATCH of SenML packs: what is selected, what becomes of the value, every refusal. */
#include "engine/senml.h"
#include "service/gateway/door_bench_test.h"
#include "service/gateway/door_private.h"

#define WHERE "/mq/s/dev1/a"
#define LIGHT                                                                                      \
    "[{\"bn\":\"l/\",\"n\":\"0\",\"vb\":true},{\"n\":\"1\",\"v\":42},{\"n\":\"2\",\"vs\":\"x\"}]"

#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
/* [{-2:"l/",0:"1",2:42}] */
#define ONE_LEFT                                                                                   \
    "\x81\xa3\x21\x62l/\x00\x61"                                                                   \
    "1\x02\x18\x2a"

static struct coap_message etch(struct fortress *f, uint8_t code, const char *path,
                                const char *payload)
{
    struct ask a = {ASK(COAP_CON, code, path), .payload = slice_text(payload)};
    a.format = COAP_FORMAT_SENML_ETCH_JSON;
    return asks(f, 0, 1, &a);
}

static void fetches(struct fortress *f, const char *payload, const char *want)
{
    struct coap_message m = etch(f, COAP_FETCH, WHERE, payload);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, want));
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_SENML_JSON);
}

static void value_is(struct fortress *f, unsigned worker, const char *want)
{
    struct coap_message m = asks(f, worker, 1, &(struct ask){ASK(COAP_CON, COAP_GET, WHERE)});
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, want));
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_SENML_JSON);
}

static void put(struct fortress *f, const char *payload)
{
    struct ask a = {ASK(COAP_CON, COAP_PUT, WHERE), .payload = slice_text(payload)};
    a.format = COAP_FORMAT_SENML_JSON;
    assert_true(coap_code_is_success(asks(f, 0, 1, &a).code));
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

static void selects_and_changes(void **state)
{
    struct fortress *f = *state;
    EXPECT_CODE(etch(f, COAP_FETCH, WHERE, "[{\"n\":\"l/1\"}]"), COAP_NOT_FOUND);
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/1\",\"v\":null}]"), COAP_NOT_FOUND);
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, LIGHT), COAP_CREATED);
    value_is(f, 1, LIGHT);
    fetches(f, "[{\"bn\":\"l/\",\"n\":\"1\"},{\"n\":\"0\"}]",
            "[{\"bn\":\"l/\",\"n\":\"0\",\"vb\":true},{\"n\":\"1\",\"v\":42}]");
    fetches(f, "[{\"n\":\"none\"}]", "[]");
    EXPECT_CODE(
        etch(f, COAP_IPATCH, WHERE,
             "[{\"n\":\"l/1\",\"v\":7},{\"n\":\"l/0\",\"v\":null},{\"n\":\"l/2\",\"v\":null}]"),
        COAP_CHANGED);
    value_is(f, 1, "[{\"n\":\"l/1\",\"v\":7}]");
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/1\",\"v\":null}]"), COAP_CHANGED);
    value_is(f, 1, "[]");
}

/* The same in CBOR: what it selects and publishes is CBOR, and who comes with JSON is told. */
static void in_cbor(void **state)
{
    struct fortress *f = *state;
    static const struct {
        uint8_t code;
        struct slice payload;
        uint8_t want;
    } steps[] = {
        /* [{-2:"l/",0:"0",4:true},{0:"1",2:42}] */
        {COAP_PATCH,
         BYTES("\x82\xa3\x21\x62l/\x00\x61"
               "0\x04\xf5\xa2\x00\x61"
               "1\x02\x18\x2a"),
         COAP_CREATED},
        /* [{0:"l/1"}] */
        {COAP_FETCH, BYTES("\x81\xa1\x00\x63l/1"), COAP_CONTENT},
        /* [{0:"l/0",2:null}] */
        {COAP_IPATCH, BYTES("\x81\xa2\x00\x63l/0\x02\xf6"), COAP_CHANGED},
        {COAP_FETCH, BYTES("\x81\xa1\x00\x63l/"), COAP_BAD_REQUEST},
        {COAP_FETCH, BYTES("\x80"), COAP_UNPROCESSABLE},
        {COAP_FETCH, BYTES("\x81\xa2\x00\x61x\x02\x01"), COAP_UNPROCESSABLE},
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct ask a = {ASK(COAP_CON, steps[i].code, WHERE), .payload = steps[i].payload};
        a.format = COAP_FORMAT_SENML_ETCH_CBOR;
        struct coap_message m = asks(f, 0, 1, &a);
        EXPECT_CODE(m, steps[i].want);
        if (m.code == COAP_CONTENT) {
            assert_true(slice_equal(m.payload, (struct slice)BYTES(ONE_LEFT)));
            assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_SENML_CBOR);
        }
    }
    struct coap_message m = asks(f, 1, 1, &(struct ask){ASK(COAP_CON, COAP_GET, WHERE)});
    assert_true(slice_equal(m.payload, (struct slice)BYTES(ONE_LEFT)));
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_SENML_CBOR);
    EXPECT_CODE(etch(f, COAP_FETCH, WHERE, "[{\"n\":\"l/1\"}]"), COAP_UNSUPPORTED_FORMAT);
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/1\",\"v\":1}]"), COAP_UNSUPPORTED_FORMAT);
}

/* Only what is selected is acceptable, and it is no observation. */
static void accepts(void **state)
{
    struct fortress *f = *state;
    struct ask a = {ASK(COAP_CON, COAP_FETCH, WHERE), PAYLOAD("[{\"n\":\"l/1\"}]")};
    put(f, LIGHT);
    a.format = COAP_FORMAT_SENML_ETCH_JSON;
    a.accept = COAP_FORMAT_SENML_JSON;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CONTENT);
    a.accept = COAP_FORMAT_SENML_CBOR;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_NOT_ACCEPTABLE);
    a.accept = -1;
    a.observe = 0;
    struct coap_message m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(option_of(&m, COAP_OPTION_OBSERVE), UINT32_MAX);
}

/* What MQTT clients retained, with and without a word of what it is. */
static void over_both_doors(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "s/dev1/a");
    mqtt_publish(f, "s/dev1/a", LIGHT, true, NULL);
    fetches(f, "[{\"n\":\"l/1\"}]", "[{\"bn\":\"l/\",\"n\":\"1\",\"v\":42}]");
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/2\",\"v\":null}]"), COAP_CHANGED);
    assert_true(mqtt_has_seen(f, "{\"n\":\"1\",\"v\":42}]"));
    assert_true(mqtt_has_seen(f, "application/senml+json"));
    static const struct {
        const char *value, *type;
        uint8_t code;
    } cases[] = {
        {LIGHT, "application/senml+json", COAP_CONTENT},
        {LIGHT, "application/json", COAP_CONTENT},
        {LIGHT, "application/cbor", COAP_CONFLICT},
        {LIGHT, "application/senml+cbor", COAP_UNSUPPORTED_FORMAT},
        {"off", NULL, COAP_CONFLICT},
        {"{\"v\":1}", NULL, COAP_CONFLICT},
        {"[{\"n\":\"a\"}]", NULL, COAP_CONFLICT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t code = cases[i].code;
        mqtt_publish(f, "s/dev1/a", cases[i].value, true, cases[i].type);
        EXPECT_CODE(etch(f, COAP_FETCH, WHERE, "[{\"n\":\"l/1\"}]"), code);
        EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/1\",\"v\":42}]"),
                    code == COAP_CONTENT ? COAP_CHANGED : code);
    }
}

static void refusals(void **state)
{
    struct fortress *f = *state;
    static const struct {
        const char *payload;
        int format;
        uint8_t fetch, patch;
    } cases[] = {
        {"[{\"n\":\"l/1\"}]", -1, COAP_UNSUPPORTED_FORMAT, COAP_UNSUPPORTED_FORMAT},
        {"[{\"n\":\"l/1\"}]", COAP_FORMAT_JSON, COAP_UNSUPPORTED_FORMAT, COAP_UNSUPPORTED_FORMAT},
        {"[{\"n\":\"l/1\"}]", COAP_FORMAT_SENML_JSON, COAP_UNSUPPORTED_FORMAT,
         COAP_UNSUPPORTED_FORMAT},
        {"{\"v\":1}", COAP_FORMAT_MERGE_PATCH, COAP_UNSUPPORTED_FORMAT, COAP_CONFLICT},
        {"", COAP_FORMAT_SENML_ETCH_JSON, COAP_BAD_REQUEST, COAP_BAD_REQUEST},
        {"[{\"n\":", COAP_FORMAT_SENML_ETCH_JSON, COAP_BAD_REQUEST, COAP_BAD_REQUEST},
        {"\"\xff\"", COAP_FORMAT_SENML_ETCH_JSON, COAP_BAD_REQUEST, COAP_BAD_REQUEST},
        {"[]", COAP_FORMAT_SENML_ETCH_JSON, COAP_UNPROCESSABLE, COAP_UNPROCESSABLE},
        {"[{\"n\":\"l/1\"}]", COAP_FORMAT_SENML_ETCH_JSON, COAP_CONTENT, COAP_UNPROCESSABLE},
        {"[{\"n\":\"a\",\"n\":\"b\",\"v\":1}]", COAP_FORMAT_SENML_ETCH_JSON, COAP_UNPROCESSABLE,
         COAP_UNPROCESSABLE},
        {"[{\"n\":\"a\",\"v\":1,\"bver\":11}]", COAP_FORMAT_SENML_ETCH_JSON, COAP_UNPROCESSABLE,
         COAP_UNPROCESSABLE},
        {"[{\"n\":\"a\",\"v\":[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]}]", COAP_FORMAT_SENML_ETCH_JSON,
         COAP_UNPROCESSABLE, COAP_UNPROCESSABLE},
    };
    put(f, "[{\"n\":\"l/1\",\"t\":1,\"v\":1},{\"n\":\"l/1\",\"t\":2,\"v\":2}]");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ask a = {ASK(COAP_CON, COAP_FETCH, WHERE), .payload = slice_text(cases[i].payload)};
        a.format = cases[i].format;
        EXPECT_CODE(asks(f, 0, 1, &a), cases[i].fetch);
        a.code = COAP_PATCH;
        uint8_t patch = i == 3 ? COAP_CHANGED : cases[i].patch; /* an array, which it replaces */
        if (i != 3) {
            EXPECT_CODE(asks(f, 0, 1, &a), patch);
        }
        f->now_ms += 1000;
    }
    /* which of the two is not said */
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"b\",\"v\":1},{\"n\":\"l/1\",\"v\":3}]"),
                COAP_CONFLICT);
    uint8_t large[DATAGRAM - 256];
    memset(large, ' ', sizeof(large));
    wr_bytes(&(struct wr){.base = large, .cap = sizeof(large)}, slice_text("[{\"n\":\"l/1\"}]"));
    struct ask a = {ASK(COAP_CON, COAP_FETCH, WHERE), .payload = slice_of(large, 1000)};
    a.format = COAP_FORMAT_SENML_ETCH_JSON;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CONTENT);
    value_is(f, 0, "[{\"n\":\"l/1\",\"t\":1,\"v\":1},{\"n\":\"l/1\",\"t\":2,\"v\":2}]");
    put(f, "[{\"n\":\"l/1\",\"bs\":1,\"v\":1}]");
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"b\",\"v\":1}]"), COAP_CONFLICT);
    value_is(f, 0, "[{\"n\":\"l/1\",\"bs\":1,\"v\":1}]"); /* nothing was changed by any */
}

/* FETCH is a subscription, a patch that and a retained publish: the same policy, one event each. */
static void permissions(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_publish(f, "s/dev2/a", LIGHT, true, NULL);
    mqtt_publish(f, "low/dev1", LIGHT, true, NULL);
    mqtt_publish(f, "commands/dev1", LIGHT, true, NULL);
    const char *one = "[{\"n\":\"l/1\"}]", *change = "[{\"n\":\"l/1\",\"v\":1}]";
    EXPECT_CODE(etch(f, COAP_FETCH, "/mq/s/dev2/a", one), COAP_FORBIDDEN);
    EXPECT_CODE(etch(f, COAP_PATCH, "/mq/s/dev2/a", change), COAP_FORBIDDEN);
    EXPECT_CODE(etch(f, COAP_FETCH, "/mq/low/dev1", one), COAP_FORBIDDEN);
    EXPECT_CODE(etch(f, COAP_PATCH, "/mq/low/dev1", change),
                COAP_FORBIDDEN); /* it may write only */
    EXPECT_CODE(etch(f, COAP_FETCH, "/mq/commands/dev1", one), COAP_CONTENT);
    EXPECT_CODE(etch(f, COAP_PATCH, "/mq/commands/dev1", change), COAP_FORBIDDEN); /* read only */
    assert_int_equal(count_events(f, EVENT_acl_deny), 5);
}

/* What it does not hear it does not get in pieces either. */
static void another_segment(void **state)
{
    struct fortress *f = *state;
    const struct principal_attr segment = {PRINCIPAL_SEGMENT, "office"};
    add_device_of(f, "elsewhere", "console", &segment, 1);
    publish_realm(f);
    (void)snprintf(f->mqtts.segment, sizeof(f->mqtts.segment), "office");
    mqtt_open(f, "elsewhere");
    mqtt_publish(f, "s/dev1/a", LIGHT, true, NULL);
    EXPECT_CODE(etch(f, COAP_FETCH, WHERE, "[{\"n\":\"l/1\"}]"), COAP_NOT_FOUND);
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/1\",\"v\":1}]"), COAP_FORBIDDEN);
}

/* Also one that is refused reads: so often, and no more. */
static void rate(void **state)
{
    struct fortress *f = *state;
    uint8_t code = COAP_BAD_REQUEST;
    unsigned n = 0;
    for (; code == COAP_BAD_REQUEST && n < 1000; n++) {
        code = etch(f, COAP_FETCH, WHERE, "no json").code;
    }
    assert_int_equal(code, COAP_TOO_MANY_REQUESTS);
    f->now_ms += 1000;
    EXPECT_CODE(etch(f, COAP_FETCH, WHERE, "[{\"n\":\"a\"}]"), COAP_NOT_FOUND);
}

/* How many times in one moment. */
static unsigned count_reads(struct fortress *f, uint8_t want)
{
    unsigned n = 0;
    f->now_ms += 10 * 1000;
    while (n < 1000 && etch(f, COAP_FETCH, WHERE, "[{\"n\":\"none\"}]").code == want) {
        n++;
    }
    return n;
}

static void a_large_value_is_dearer(void **state)
{
    enum { LARGE = 4096 };
    struct fortress *f = *state;
    static char value[LARGE + 1];
    memset(value, ' ', LARGE);
    value[0] = '[';
    value[LARGE - 1] = ']';
    mqtt_open(f, "desk");
    mqtt_publish(f, "s/dev1/a", "[]", true, NULL);
    unsigned small = count_reads(f, COAP_CONTENT);
    mqtt_publish(f, "s/dev1/a", value, true, NULL);
    assert_int_equal(count_reads(f, COAP_CONTENT), (small + 1) / 2);
    assert_true(small > 4);
}

static void conditions(void **state)
{
    struct fortress *f = *state;
    struct ask a = {ASK(COAP_CON, COAP_FETCH, WHERE), PAYLOAD("[{\"n\":\"l/1\"}]")};
    uint8_t etag[8], part[8];
    struct slice value;
    put(f, LIGHT);
    a.format = COAP_FORMAT_SENML_ETCH_JSON;
    struct coap_message m = asks(f, 0, 1, &a);
    assert_true(coap_options_find(m.options, COAP_OPTION_ETAG, &value) && value.n == sizeof(part));
    slice_copy(part, value);
    a.etag = slice_of(part, sizeof(part));
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_VALID);
    /* another record changes: of this one it is valid still */
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/2\",\"vs\":\"y\"}]"), COAP_CHANGED);
    EXPECT_CODE(asks(f, 1, 1, &a), COAP_VALID);
    a.payload = slice_text("[{\"n\":\"l/2\"}]"); /* another pack selects something else */
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CONTENT);
    a.payload = slice_text("[{\"n\":\"l/1\"}]");
    EXPECT_CODE(etch(f, COAP_PATCH, WHERE, "[{\"n\":\"l/1\",\"v\":1}]"), COAP_CHANGED);
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CONTENT);
    /* If-Match is about the whole value */
    m = asks(f, 0, 1, &(struct ask){ASK(COAP_CON, COAP_GET, WHERE)});
    assert_true(coap_options_find(m.options, COAP_OPTION_ETAG, &value) && value.n == sizeof(etag));
    slice_copy(etag, value);
    struct ask p = {ASK(COAP_CON, COAP_IPATCH, WHERE), PAYLOAD("[{\"n\":\"l/1\",\"v\":2}]")};
    p.format = COAP_FORMAT_SENML_ETCH_JSON;
    p.if_match = slice_of(part, sizeof(part));
    EXPECT_CODE(asks(f, 0, 1, &p), COAP_PRECONDITION_FAILED);
    p.if_match = slice_of(etag, sizeof(etag));
    EXPECT_CODE(asks(f, 0, 1, &p), COAP_CHANGED);
    EXPECT_CODE(asks(f, 0, 1, &p), COAP_PRECONDITION_FAILED); /* it has another one now */
}

/* A fetch or patch pack in pieces of 256 bytes; the last answer. */
static struct coap_message in_blocks(struct fortress *f, uint8_t code, const char *path,
                                     struct slice pack)
{
    enum { SZX = 4, BYTES = 256, MORE = 8 };
    struct coap_message m = {0};
    for (size_t at = 0; at < pack.n; at += BYTES) {
        bool has_more = pack.n - at > BYTES;
        struct ask a = {ASK(COAP_CON, code, path),
                        .payload = slice_head(slice_from(pack, at), BYTES)};
        a.format = COAP_FORMAT_SENML_ETCH_JSON;
        a.block1 = (int)(at / BYTES << 4 | (has_more ? MORE : 0) | SZX);
        m = asks(f, 0, 1, &a);
        if (m.code != COAP_CONTINUE) {
            return m;
        }
        assert_true(has_more);
    }
    return m;
}

/* Fetch and patch packs come in blocks, up to their bound; who may not is told with the first. */
static void packs_in_blocks(void **state)
{
    enum { OVER = SENML_ETCH_BYTES_MAX + 1 };
    struct fortress *f = *state;
    static uint8_t bytes[OVER];
    memset(bytes, ' ', sizeof(bytes));
    slice_copy(bytes, slice_text("[{\"n\":\"l/1\",\"v\":42}"));
    bytes[700] = ']';
    struct slice pack = slice_of(bytes, 701);
    EXPECT_CODE(in_blocks(f, COAP_PATCH, WHERE, pack), COAP_CREATED);
    EXPECT_CODE(in_blocks(f, COAP_IPATCH, WHERE, slice_head(pack, 700)), COAP_BAD_REQUEST);
    fetches(f, "[{\"n\":\"l/1\"}]", "[{\"n\":\"l/1\",\"v\":42}]");
    slice_copy(bytes, slice_text("[{\"n\":\"l/1\"}        "));
    struct coap_message m = in_blocks(f, COAP_FETCH, WHERE, pack);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, "[{\"n\":\"l/1\",\"v\":42}]"));
    EXPECT_CODE(in_blocks(f, COAP_FETCH, WHERE, slice_of(bytes, SENML_ETCH_BYTES_MAX)),
                COAP_CONTENT);
    m = in_blocks(f, COAP_FETCH, WHERE, slice_of(bytes, OVER));
    EXPECT_CODE(m, COAP_REQUEST_TOO_LARGE);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE1), SENML_ETCH_BYTES_MAX);
    size_t n = count_events(f, EVENT_acl_deny);
    EXPECT_CODE(in_blocks(f, COAP_FETCH, "/mq/s/dev2/a", pack), COAP_FORBIDDEN);
    EXPECT_CODE(in_blocks(f, COAP_PATCH, "/mq/low/dev1", pack), COAP_FORBIDDEN);
    EXPECT_CODE(in_blocks(f, COAP_PATCH, "/mq/commands/dev1", pack), COAP_FORBIDDEN);
    assert_int_equal(count_events(f, EVENT_acl_deny), n + 3);
}

static struct coap_message block_of(struct fortress *f, unsigned number, const char *payload)
{
    struct ask a = {ASK(COAP_CON, COAP_FETCH, WHERE), .payload = slice_text(payload)};
    a.format = COAP_FORMAT_SENML_ETCH_JSON;
    a.block2 = (int)(number << 4); /* of 16 bytes */
    return asks(f, 0, 1, &a);
}

/* What is selected goes in blocks. The rest is asked for with the pack, or without: then it is the
 * pack of this association on this topic, for a minute. */
static void answers_in_blocks(void **state)
{
    struct fortress *f = *state;
    static const char want[] = "[{\"bn\":\"l/\",\"n\":\"1\",\"v\":42}]";
    const char *packs[] = {"[{\"n\":\"l/1\"}]", ""};
    put(f, LIGHT);
    EXPECT_CODE(block_of(f, 1, ""), COAP_REQUEST_INCOMPLETE);
    for (size_t i = 0; i < COUNT_OF(packs); i++) {
        uint8_t got[sizeof(want)];
        struct wr w = wr_into(got, sizeof(got));
        for (unsigned k = 0; k * 16 < sizeof(want) - 1; k++) {
            struct coap_message m = block_of(f, k, packs[k > 0 ? i : 0]);
            EXPECT_CODE(m, COAP_CONTENT);
            wr_bytes(&w, m.payload);
        }
        assert_true(slice_is(wr_slice(&w), want));
    }
    EXPECT_CODE(block_of(f, 9, ""), COAP_BAD_REQUEST); /* there is no such block */
    assert_int_equal(fetches_drop(f->doors[0]), 1);
    EXPECT_CODE(block_of(f, 1, ""), COAP_REQUEST_INCOMPLETE);
    EXPECT_CODE(block_of(f, 0, packs[0]), COAP_CONTENT);
    f->now_ms += 59 * 1000;
    EXPECT_CODE(block_of(f, 1, ""), COAP_CONTENT);
    f->now_ms += 60 * 1000;
    EXPECT_CODE(block_of(f, 1, ""), COAP_REQUEST_INCOMPLETE);
    EXPECT_CODE(block_of(f, 0, packs[0]), COAP_CONTENT);
    EXPECT_CODE(etch(f, COAP_FETCH, WHERE, packs[0]), COAP_CONTENT); /* whole: nothing to keep */
    EXPECT_CODE(asks(f, 0, 1, &(struct ask){ASK(COAP_CON, COAP_DELETE, WHERE)}), COAP_DELETED);
    EXPECT_CODE(block_of(f, 1, ""), COAP_NOT_FOUND);
}

static void no_memory(void **state)
{
    struct fortress *f = *state;
    put(f, LIGHT);
    for (int is_patch = 0; is_patch < 2; is_patch++) {
        bool has_failed = true;
        for (long k = 0; has_failed; k++) {
            struct ask a = {ASK(COAP_CON, COAP_FETCH, WHERE), PAYLOAD("[{\"n\":\"l/1\"}]")};
            if (is_patch != 0) {
                a.code = COAP_IPATCH;
                a.payload = slice_text("[{\"n\":\"l/1\",\"v\":null}]");
            }
            a.format = COAP_FORMAT_SENML_ETCH_JSON;
            forget_sent(f);
            uint8_t bytes[DATAGRAM];
            struct net_peer peer = peer_of(1);
            size_t n = build(f, &a, bytes, sizeof(bytes));
            (void)mem_fail_after(k);
            coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
            has_failed = mem_fail_after(-1) != 0;
            pass(f, 1000);
        }
    }
    fetches(f, "[{\"bn\":\"l/\",\"n\":\"1\"},{\"n\":\"0\"}]",
            "[{\"bn\":\"l/\",\"n\":\"0\",\"vb\":true}]");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_linked, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(selects_and_changes),
        CASE(over_both_doors),
        CASE(refusals),
        CASE(permissions),
        CASE(another_segment),
        CASE(in_cbor),
        CASE(accepts),
        CASE(rate),
        CASE(conditions),
        CASE(packs_in_blocks),
        CASE(answers_in_blocks),
        CASE(no_memory),
        CASE(a_large_value_is_dearer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

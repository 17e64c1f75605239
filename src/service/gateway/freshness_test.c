/* Topics that ask for freshness: what is published by CoAP is shown to be said now. */
#include "service/gateway/door_bench_test.h"

#define VALVE "/mq/guarded/dev1/valve"

/* What a refusal gave, kept over the next datagram. */
struct echo {
    size_t n;
    uint8_t bytes[40];
};

static struct echo echo_of(const struct coap_message *m)
{
    struct slice value;
    struct echo e = {.n = 0};
    EXPECT_CODE(*m, COAP_UNAUTHORIZED);
    assert_true(coap_options_find(m->options, COAP_OPTION_ECHO, &value));
    assert_in_range(value.n, 1, sizeof(e.bytes));
    e.n = value.n;
    slice_copy(e.bytes, value);
    return e;
}

static void a_change_shows_that_it_is_new(void **state)
{
    static const struct {
        uint8_t code, done;
    } rows[] = {{COAP_PUT, COAP_CREATED},
                {COAP_PUT, COAP_CHANGED},
                {COAP_POST, COAP_CHANGED},
                {COAP_DELETE, COAP_DELETED}};
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "guarded/#");
    assert_true(link_device(f, 0, 1, "dev1"));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ask a = {ASK(COAP_CON, rows[i].code, VALVE)};
        if (rows[i].code != COAP_DELETE) {
            a.payload = slice_text("open");
        }
        f->mqtt.n = 0;
        struct coap_message m = asks(f, 0, 1, &a);
        struct echo e = echo_of(&m);
        assert_false(mqtt_has_seen(f, "guarded")); /* nothing was done */
        a.echo = slice_of(e.bytes, e.n);
        m = asks(f, 0, 1, &a);
        EXPECT_CODE(m, rows[i].done);
        assert_true(mqtt_has_seen(f, "guarded"));
    }
    assert_int_equal(atomic_load(&f->counters[0].refused_stale), COUNT_OF(rows));
}

static void an_echo_grows_old(void **state)
{
    struct fortress *f = *state;
    f->now_ms = 100000; /* values carry whole seconds */
    turns(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask a = {ASK(COAP_CON, COAP_PUT, VALVE), PAYLOAD("open")};
    struct coap_message m = asks(f, 0, 1, &a);
    struct echo e = echo_of(&m);
    a.echo = slice_of(e.bytes, e.n);
    pass(f, 10000);
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CREATED);
    pass(f, 1);
    m = asks(f, 0, 1, &a);
    e = echo_of(&m); /* and another one is given */
    a.echo = slice_of(e.bytes, e.n);
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CHANGED);
}

static void an_echo_is_of_one_association(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "dev1"));
    assert_true(link_device(f, 1, 1, "dev1"));
    struct ask a = {ASK(COAP_CON, COAP_PUT, VALVE), PAYLOAD("open")};
    struct coap_message m = asks(f, 0, 1, &a);
    struct echo e = echo_of(&m);
    a.echo = slice_of(e.bytes, e.n);
    m = asks(f, 0, 2, &a);
    EXPECT_CODE(m, COAP_UNAUTHORIZED);
    m = asks(f, 1, 1, &a);
    EXPECT_CODE(m, COAP_UNAUTHORIZED);
    e.bytes[e.n - 1] ^= 1;
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_UNAUTHORIZED);
    e.bytes[e.n - 1] ^= 1;
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CREATED);
}

static void others_are_not_asked(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask beside = {ASK(COAP_CON, COAP_PUT, "/mq/guarded/dev1/lamp"), PAYLOAD("on")};
    struct coap_message m = asks(f, 0, 1, &beside);
    EXPECT_CODE(m, COAP_CREATED);
    struct ask foreign = {ASK(COAP_CON, COAP_PUT, "/mq/guarded/dev2/valve"), PAYLOAD("on")};
    m = asks(f, 0, 1, &foreign);
    EXPECT_CODE(m, COAP_FORBIDDEN);
    struct ask get = {ASK(COAP_CON, COAP_GET, VALVE)};
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_FORBIDDEN); /* no grant to read, and no Echo asked for it */
}

/* The first block and the last are said now; between them nothing is. */
static void a_body_in_blocks_is_asked_at_its_ends(void **state)
{
    struct fortress *f = *state;
    static const char sixteen[] = "0123456789abcdef";
    f->now_ms = 100000;
    turns(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask a = {ASK(COAP_CON, COAP_PUT, VALVE), .payload = slice_text(sixteen)};
    a.block1 = 0 << 4 | 8;
    struct coap_message m = asks(f, 0, 1, &a);
    struct echo e = echo_of(&m);
    a.echo = slice_of(e.bytes, e.n);
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CONTINUE);
    pass(f, 30000);
    a.echo = (struct slice){0};
    a.block1 = 1 << 4 | 8;
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CONTINUE);
    a.block1 = 2 << 4;
    m = asks(f, 0, 1, &a);
    e = echo_of(&m);
    a.echo = slice_of(e.bytes, e.n);
    m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_CREATED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_change_shows_that_it_is_new),         TEST(an_echo_grows_old),
        TEST(an_echo_is_of_one_association),         TEST(others_are_not_asked),
        TEST(a_body_in_blocks_is_asked_at_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

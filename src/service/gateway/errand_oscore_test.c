/* Commands to a device that speaks OSCORE: sealed by its home, wherever the kernel brings its
 * answers. */
#include "net/oscore_device_test.h"
#include "service/gateway/errand_bench_test.h"
#include "service/gateway/oscore_homes_bench_test.h"

enum { PORT = 50 };

static void asks_for(struct homes *h, const char *topic)
{
    h->n_sent = 0;
    ask(h->f, topic);
    run(h);
}

/* The command that has just left, opened as the device does. */
static void is_asked(struct homes *h, struct taken *ret)
{
    assert_int_equal(h->n_sent, 1);
    assert_int_equal(h->from, h->home);
    assert_int_equal(h->client.sent_to.port, PORT);
    take(&h->client, ret);
}

static void hears(struct homes *h, unsigned worker, unsigned port, struct slice datagram)
{
    h->n_sent = 0;
    comes(h, worker, port, datagram);
    run(h);
}

static void a_device_is_asked_and_answers(void **state)
{
    struct homes *h = *state;
    struct taken t;
    uint8_t bytes[2048], recorded[2048];
    ready(h->f);
    comes_in(h, h->other, PORT);
    asks_for(h, "$coap/osc/PUT/light/1");
    is_asked(h, &t);
    assert_int_equal(t.inner.code, COAP_PUT);
    struct slice reply = answer(&h->client, &t, COAP_ACK, NULL, recorded);
    hears(h, h->home, PORT + 1, reply); /* from elsewhere: nobody */
    assert_false(mqtt_has_seen(h->f, "2.04"));
    hears(h, h->other, PORT, reply);
    assert_true(mqtt_has_seen(h->f, "2.04"));
    assert_true(mqtt_has_seen(h->f, "done"));
    assert_false(mqtt_has_seen(h->f, "coap-reason"));
    assert_int_equal(SUM(h->f, commands_answered), 1);
    /* That answer, recorded, answers nothing more. */
    h->f->mqtt.n = 0;
    asks_for(h, "$coap/osc/PUT/light/1");
    struct taken second;
    is_asked(h, &second);
    assert_true(second.option.piv > t.option.piv);
    hears(h, h->other, PORT, reply);
    uint64_t number = 900;
    reply = answer_with(&h->client, &second, COAP_CON, &number, COAP_NOT_FOUND, (struct slice){0},
                        bytes);
    assert_int_equal(SUM(h->f, commands_answered), 1);
    hears(h, h->other, PORT, reply);
    assert_int_equal(h->n_sent, 1); /* acknowledged */
    assert_true(mqtt_has_seen(h->f, "4.04"));
    assert_int_equal(SUM(h->f, commands_waiting), 0);
}

/* What is not acknowledged goes again, the very same, also to where the device is then. */
static void a_device_moves_and_wants_an_echo(void **state)
{
    struct homes *h = *state;
    struct taken first, again;
    struct slice echo;
    uint8_t bytes[2048], block[32];
    ready(h->f);
    comes_in(h, h->home, PORT - 1);
    asks_for(h, "$coap/osc/POST/pump");
    assert_int_equal(h->n_sent, 1);
    take(&h->client, &first);
    h->f->now_ms += 2000;
    comes_in(h, h->other, PORT);
    h->n_sent = 0;
    for (unsigned i = 0; i < 40 && h->n_sent == 0; i++) {
        h->f->now_ms += 200;
        run(h);
    }
    is_asked(h, &again);
    assert_int_equal(again.option.piv, first.option.piv);
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct slice options;
    coap_option_add(&o, COAP_OPTION_ECHO, slice_text("right now"));
    assert_int_equal(coap_option_writer_done(&o, &options), OK);
    hears(h, h->other, PORT,
          answer_with(&h->client, &again, COAP_ACK, NULL, COAP_UNAUTHORIZED, options, bytes));
    is_asked(h, &again);
    assert_true(again.option.piv > first.option.piv);
    assert_true(coap_options_find(again.inner.options, COAP_OPTION_ECHO, &echo));
    assert_true(slice_is(echo, "right now"));
    hears(h, h->other, PORT, answer(&h->client, &again, COAP_ACK, NULL, bytes));
    assert_true(mqtt_has_seen(h->f, "2.04"));
}

/* Nothing answers in its place, and its end is a code. */
static void silence_is_an_answer(void **state)
{
    struct homes *h = *state;
    struct taken t;
    uint8_t bare[64];
    size_t n = 0;
    ready(h->f);
    comes_in(h, h->home, PORT);
    asks_for(h, "$coap/osc/POST/pump");
    is_asked(h, &t);
    struct coap_message m = {
        .type = COAP_ACK, .code = COAP_CHANGED, .mid = t.outer.mid, .token = t.outer.token};
    assert_int_equal(coap_message_encode(&m, bare, sizeof(bare), &n), OK);
    hears(h, h->home, PORT, slice_of(bare, n)); /* not sealed */
    for (unsigned i = 0; i < 200; i++) {
        h->f->now_ms += 500;
        run(h);
    }
    assert_true(mqtt_has_seen(h->f, "5.04"));
    assert_true(mqtt_has_seen(h->f, "is not known"));
    assert_int_equal(SUM(h->f, commands_answered), 0);
    assert_int_equal(SUM(h->f, commands_waiting), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_homes, close_homes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_device_is_asked_and_answers),
        CASE(a_device_moves_and_wants_an_echo),
        CASE(silence_is_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Commands over MQTT 5 to devices that are at one of two workers: what the device is asked, what
 * its answer becomes, and what becomes of those that nobody answers. */
#include "service/gateway/door_private.h"
#include "service/gateway/errand_bench_test.h"

/* ---- asked and answered ---- */

static void a_device_is_asked_and_answers(void **state)
{
    struct fortress *f = *state;
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        const char *name = worker == 0 ? "dev1" : "dev2";
        char topic[64];
        if (worker == 0) {
            ready(f);
        }
        assert_true(link_device(f, worker, 1, name));
        turns(f);
        forget_sent(f);
        snprintf(topic, sizeof(topic), "$coap/%s/PUT/light/1", name);
        struct order o = {ORDER(topic), .payload = "{\"on\":1}", .type = "application/json"};
        o.query = "fade=2";
        o.qos = 1;
        command(f, &o);
        struct asked a = asked_at(f, worker, 1);
        assert_true(a.is_there);
        assert_int_equal(a.type, COAP_CON);
        assert_int_equal(a.code, COAP_PUT);
        assert_string_equal(a.path, "/light/1");
        assert_string_equal(a.query, "fade=2");
        assert_string_equal(a.payload, "{\"on\":1}");
        assert_int_equal(a.format, COAP_FORMAT_JSON);
        assert_int_equal(SUM(f, commands_waiting), 1);
        struct said s = {SAID(COAP_CHANGED), .payload = "\"done\""};
        s.format = COAP_FORMAT_JSON;
        say(f, worker, 1, &a, &s);
        assert_true(mqtt_has_seen(f, REPLY));
        assert_true(mqtt_has_seen(f, "corr-7"));
        assert_true(mqtt_has_seen(f, "2.04"));
        assert_true(mqtt_has_seen(f, "application/json"));
        assert_true(mqtt_has_seen(f, "\"done\""));
        assert_false(mqtt_has_seen(f, "coap-reason"));
        assert_int_equal(SUM(f, commands_waiting), 0);
    }
    assert_int_equal(SUM(f, commands_answered), 2);
    const struct event *e = find_event(f, EVENT_allow);
    assert_non_null(e);
    assert_non_null(strstr(e->reason, "a command to dev2: 2.04"));
    assert_string_equal(e->principal, "desk");
}

/* SPEC: RFC7252 5.2.2: acknowledged first, answered later */
static void an_answer_may_come_separately(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 1, 1, "dev1"));
    ask(f, "$coap/dev1/GET");
    struct asked a = asked_at(f, 1, 1);
    assert_string_equal(a.path, "");
    struct said ack = {SAID(COAP_EMPTY)};
    say(f, 1, 1, &a, &ack);
    pass(f, 20000);
    assert_false(asked_at(f, 1, 1).is_there); /* not again */
    struct said s = {SAID(COAP_NOT_FOUND), .payload = "nothing"};
    s.type = COAP_CON;
    say(f, 1, 1, &a, &s);
    assert_true(mqtt_has_seen(f, "4.04"));
    assert_true(mqtt_has_seen(f, "nothing"));
    assert_false(mqtt_has_seen(f, "coap-reason"));
}

static void bodies_go_in_blocks_both_ways(void **state)
{
    struct fortress *f = *state;
    char large[1500], half[1025];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    memset(half, 'y', sizeof(half) - 1);
    half[sizeof(half) - 1] = '\0';
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    struct order o = {ORDER("$coap/dev1/POST/log"), .payload = large};
    command(f, &o);
    struct asked a = asked_at(f, 0, 1);
    assert_int_equal(a.block1, 0 << 4 | 8 | 6);
    assert_int_equal(a.n, 1024);
    struct said s = {SAID(COAP_CONTINUE)};
    s.block1 = 0 << 4 | 8 | 6;
    say(f, 0, 1, &a, &s);
    a = asked_at(f, 0, 1);
    assert_int_equal(a.block1, 1 << 4 | 6);
    assert_int_equal(a.n, sizeof(large) - 1 - 1024);
    s = (struct said){SAID(COAP_CHANGED), .payload = half};
    s.block1 = 1 << 4 | 6;
    s.block2 = 0 << 4 | 8 | 6;
    say(f, 0, 1, &a, &s);
    a = asked_at(f, 0, 1);
    assert_int_equal(a.block2, 1 << 4 | 6);
    s = (struct said){SAID(COAP_CHANGED), .payload = "the end"};
    s.block2 = 1 << 4 | 6;
    say(f, 0, 1, &a, &s);
    assert_true(mqtt_has_seen(f, "yythe end"));
    assert_true(mqtt_has_seen(f, "2.04"));
}

static void an_answer_has_a_largest_size(void **state)
{
    struct fortress *f = *state;
    char half[1025];
    memset(half, 'y', sizeof(half) - 1);
    half[sizeof(half) - 1] = '\0';
    f->limits.packet_bytes = 2048 + 512 - 1;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/GET/log");
    for (unsigned i = 0; i < 2; i++) {
        struct asked a = asked_at(f, 0, 1);
        assert_true(a.is_there);
        struct said s = {SAID(COAP_CONTENT), .payload = half};
        s.block2 = (int)(i << 4 | 8 | 6);
        say(f, 0, 1, &a, &s);
    }
    assert_true(mqtt_has_seen(f, "5.02"));
    assert_true(mqtt_has_seen(f, "larger than packet_bytes"));
    assert_int_equal(SUM(f, commands_waiting), 0);
}

/* SPEC: RFC9175 2.3: a device that wants to see that it is asked now */
static void a_device_may_ask_for_an_echo(void **state)
{
    struct fortress *f = *state;
    uint8_t bytes[64], block[16], echo[8] = "proof-1";
    size_t n = 0;
    struct net_peer peer = peer_of(1);
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/POST/pump");
    for (unsigned i = 0; i < 2; i++) {
        struct asked a = asked_at(f, 0, 1);
        assert_true(a.is_there);
        assert_string_equal(a.echo, i == 0 ? "" : "proof-1");
        struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
        coap_option_add(&o, COAP_OPTION_ECHO, slice_of(echo, 7));
        struct coap_message m = {.type = COAP_ACK,
                                 .code = COAP_UNAUTHORIZED,
                                 .mid = a.mid,
                                 .token = slice_of(a.token, a.token_n)};
        assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
        assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
        forget_sent(f);
        assert_false(mqtt_has_seen(f, REPLY));
        coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
        turns(f);
    }
    assert_true(mqtt_has_seen(f, "4.01")); /* asked once more, not for ever */
    assert_false(asked_at(f, 0, 1).is_there);
}

/* ---- nobody answers ---- */

static void who_is_not_there_is_waited_for(void **state)
{
    struct fortress *f = *state;
    ready(f);
    ask(f, "$coap/dev1/GET/t");
    pass(f, 59000);
    assert_false(mqtt_has_seen(f, REPLY));
    pass(f, 2000);
    assert_true(mqtt_has_seen(f, "5.04"));
    assert_true(mqtt_has_seen(f, "corr-7"));
    assert_true(mqtt_has_seen(f, "it was not asked"));

    ask(f, "$coap/dev1/GET/t"); /* and comes */
    pass(f, 30000);
    assert_true(link_device(f, 1, 4, "dev1"));
    turns(f);
    struct asked a = asked_at(f, 1, 4);
    assert_true(a.is_there);
    struct said s = {SAID(COAP_CONTENT), .payload = "21"};
    say(f, 1, 4, &a, &s);
    assert_true(mqtt_has_seen(f, "2.05"));
    assert_int_equal(SUM(f, commands_timeout), 1);
}

static void the_wait_ends_with_the_message(void **state)
{
    struct fortress *f = *state;
    ready(f);
    struct order o = {ORDER("$coap/dev1/GET/t"), .expiry_s = 5};
    command(f, &o);
    pass(f, 4900);
    assert_false(mqtt_has_seen(f, REPLY));
    pass(f, 200);
    assert_true(mqtt_has_seen(f, "5.04"));
    o.expiry_s = 100000; /* not for longer than the server allows */
    command(f, &o);
    pass(f, 61000);
    assert_true(mqtt_has_seen(f, "5.04"));
}

static void silence_is_an_answer(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/POST/pump");
    size_t n_sent = 0;
    for (unsigned i = 0; i < 60; i++) {
        n_sent += asked_at(f, 0, 1).is_there ? 1 : 0;
        assert_false(mqtt_has_seen(f, REPLY));
        pass(f, 1000);
    }
    pass(f, 100);
    assert_true(mqtt_has_seen(f, "5.04"));
    assert_true(mqtt_has_seen(f, "is not known"));
    assert_in_range(n_sent, 4, 5);
    assert_int_equal(SUM(f, commands_waiting), 0);
    shows_itself(f, 0, 1);
    assert_false(asked_at(f, 0, 1).is_there); /* it is over */
}

/* A device that sleeps is asked again the moment it is heard, not when the next try is due. */
static void who_wakes_is_asked_at_once(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/POST/pump");
    pass(f, 4000);
    pass(f, 8000);
    forget_sent(f);
    pass(f, 2500);
    assert_false(asked_at(f, 0, 1).is_there);
    shows_itself(f, 0, 1);
    pass(f, 1);
    struct asked a = asked_at(f, 0, 1);
    assert_true(a.is_there);
    struct said s = {SAID(COAP_CHANGED)};
    say(f, 0, 1, &a, &s);
    assert_true(mqtt_has_seen(f, "2.04"));
}

/* Given up by CoAP, but not by who asks: what may be asked twice waits until the device is heard.
 */
static void who_sleeps_longer_is_asked_again_if_that_is_safe(void **state)
{
    struct fortress *f = *state;
    f->limits.command_seconds = 600;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "dev2"));
    forget_sent(f);
    ask(f, "$coap/dev1/PUT/valve");
    ask(f, "$coap/dev1/PUT/valve/2");
    ask(f, "$coap/dev2/POST/pump");
    for (unsigned i = 0; i < 120; i++) {
        pass(f, 1000);
        f->fakes[0].at = f->fakes[0].n_sent = 0;
    }
    assert_true(mqtt_has_seen(f, "5.04")); /* the POST */
    assert_true(mqtt_has_seen(f, "did not acknowledge"));
    assert_int_equal(SUM(f, commands_waiting), 2);
    shows_itself(f, 0, 1);
    struct asked a = asked_at(f, 0, 1);
    assert_string_equal(a.path, "/valve");
    struct said s = {SAID(COAP_CHANGED)};
    say(f, 0, 1, &a, &s);
    a = asked_at(f, 0, 1);
    assert_string_equal(a.path, "/valve/2");
    say(f, 0, 1, &a, &s);
    assert_int_equal(SUM(f, commands_waiting), 0);
    assert_int_equal(SUM(f, commands_answered), 2);
}

static void a_reset_is_an_answer(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/GET/t");
    struct asked a = asked_at(f, 0, 1);
    struct said s = {SAID(COAP_EMPTY)};
    s.type = COAP_RST;
    say(f, 0, 1, &a, &s);
    assert_true(mqtt_has_seen(f, "5.02"));
    assert_true(mqtt_has_seen(f, "RST"));
}

static void who_does_not_exist_is_not_waited_for(void **state)
{
    struct fortress *f = *state;
    ready(f);
    ask(f, "$coap/nobody/GET/t");
    assert_true(mqtt_has_seen(f, "4.04"));
    assert_true(mqtt_has_seen(f, "no device in force"));
    assert_int_equal(SUM(f, commands_waiting), 0);
}

/* ---- the device moves ---- */

static void a_command_follows_its_device(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/PUT/valve");
    assert_true(asked_at(f, 0, 1).is_there);
    assert_true(link_device(f, 1, 2, "dev1")); /* another port, another worker */
    turns(f);
    struct asked a = asked_at(f, 1, 2);
    assert_true(a.is_there);
    struct said s = {SAID(COAP_CHANGED)};
    say(f, 1, 2, &a, &s);
    assert_true(mqtt_has_seen(f, "2.04"));

    ask(f, "$coap/dev1/POST/pump"); /* may have been done: not twice */
    assert_true(asked_at(f, 1, 2).is_there);
    assert_true(link_device(f, 0, 3, "dev1"));
    turns(f);
    assert_false(asked_at(f, 0, 3).is_there);
    pass(f, 63000);
    assert_true(mqtt_has_seen(f, "5.04"));
}

/* Two associations are there; the one that was heard last is asked. */
static void the_device_is_where_it_was_heard(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 1, 2, "dev1"));
    turns(f);
    forget_sent(f);
    ask(f, "$coap/dev1/GET/t");
    struct asked a = asked_at(f, 1, 2);
    assert_true(a.is_there);
    struct said s = {SAID(COAP_CONTENT)};
    say(f, 1, 2, &a, &s);
    pass(f, 60000);
    shows_itself(f, 0, 1);
    forget_sent(f);
    ask(f, "$coap/dev1/GET/t");
    assert_false(asked_at(f, 1, 2).is_there);
    assert_true(asked_at(f, 0, 1).is_there);
}

static void an_acknowledgement_is_no_answer(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/POST/pump");
    struct asked a = asked_at(f, 0, 1);
    struct said ack = {SAID(COAP_EMPTY)};
    say(f, 0, 1, &a, &ack);
    pass(f, 59999);
    assert_false(mqtt_has_seen(f, REPLY));
    assert_false(asked_at(f, 0, 1).is_there); /* it has it */
    pass(f, 2);
    assert_true(mqtt_has_seen(f, "5.04"));
    struct said late = {SAID(COAP_CHANGED), .payload = "late"};
    late.type = COAP_CON;
    say(f, 0, 1, &a, &late); /* nobody waits for it any more */
    assert_false(mqtt_has_seen(f, "late"));
    assert_int_equal(SUM(f, commands_answered), 0);
}

static void an_association_ends_under_its_commands(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/POST/pump");
    struct order o = {.topic = "$coap/dev1/POST/next", .response = REPLY, .correlation = "corr-8"};
    command(f, &o);
    f->fakes[0].open[1] = false;
    f->fakes[0].handler.closed(f->fakes[0].handler.ctx, 1, OK);
    turns(f);
    assert_true(mqtt_has_seen(f, "association ended"));
    assert_int_equal(SUM(f, commands_waiting), 1); /* the other was never sent */
    forget_sent(f);
    assert_true(link_device(f, 1, 2, "dev1"));
    turns(f);
    struct asked a = asked_at(f, 1, 2);
    assert_string_equal(a.path, "/next");
    struct said s = {SAID(COAP_CHANGED)};
    say(f, 1, 2, &a, &s);
    assert_true(mqtt_has_seen(f, "corr-8"));
    assert_int_equal(SUM(f, commands_waiting), 0);
}

/* ---- bounds ---- */

static void bounds_have_names(void **state)
{
    struct fortress *f = *state;
    ready(f);
    f->limits.commands_per_device = 3;
    for (unsigned i = 0; i < 3; i++) {
        ask(f, "$coap/dev1/GET/t");
        assert_false(mqtt_has_seen(f, REPLY));
    }
    ask(f, "$coap/dev1/GET/t");
    assert_true(mqtt_has_seen(f, "5.03"));
    assert_true(mqtt_has_seen(f, "commands_per_device"));
    assert_int_equal(SUM(f, commands_waiting), 3);
    assert_non_null(find_event(f, EVENT_quota));
    f->limits.commands_per_device = 16;
    f->limits.commands_per_asker = 3;
    ask(f, "$coap/dev1/GET/t");
    assert_true(mqtt_has_seen(f, "4.29"));
    assert_true(mqtt_has_seen(f, "commands_per_asker"));
    f->limits.commands_per_asker = 64;
    f->limits.command_bytes = 24000; /* half of it for each worker: three are there */
    ask(f, "$coap/dev1/GET/t");
    assert_true(mqtt_has_seen(f, "5.03"));
    assert_true(mqtt_has_seen(f, "command_bytes"));
    pass(f, 61000); /* all of it ends, and there is room again */
    assert_int_equal(SUM(f, commands_waiting), 0);
    f->limits.command_bytes = 1 << 20;
    ask(f, "$coap/dev1/GET/t");
    assert_int_equal(SUM(f, commands_waiting), 1);
}

static void who_asks_may_go(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    forget_sent(f);
    ask(f, "$coap/dev1/PUT/valve");
    struct asked a = asked_at(f, 0, 1);
    worker_gone(f->workers[f->mqtt.worker], f->mqtt.conn, "lost", f->now_ms);
    f->mqtt = (struct mqtt_peer){.worker = 0};
    turns(f);
    struct said s = {SAID(COAP_CHANGED)};
    say(f, 0, 1, &a, &s);
    assert_int_equal(SUM(f, commands_waiting), 0);
    assert_int_equal(SUM(f, commands_answered), 1);
}

/* Whatever allocation fails: it is answered, or its time ends; nothing stays. */
static void without_memory_nothing_stays(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 1, 2, "dev2"));
    for (unsigned at = 1; at < 24; at++) {
        forget_sent(f);
        (void)mem_fail_after((long)at);
        ask(f, at % 2 == 0 ? "$coap/dev1/GET/t" : "$coap/dev2/GET/t");
        (void)mem_fail_after(-1);
        turns(f);
        struct asked a = asked_at(f, at % 2 == 0 ? 0 : 1, at % 2 == 0 ? 1 : 2);
        struct said s = {SAID(COAP_CONTENT), .payload = "1"};
        if (a.is_there) {
            (void)mem_fail_after((long)(at % 5));
            say(f, at % 2 == 0 ? 0 : 1, at % 2 == 0 ? 1 : 2, &a, &s);
            (void)mem_fail_after(-1);
        }
        if (f->mqtt.conn == 0 || worker_is_finished(f->workers[f->mqtt.worker], f->mqtt.conn)) {
            worker_gone(f->workers[f->mqtt.worker], f->mqtt.conn, "closed", f->now_ms);
            f->mqtt = (struct mqtt_peer){.worker = 0};
            ready(f);
        }
        for (unsigned i = 0; i < 130; i++) {
            pass(f, 1000);
            f->fakes[0].at = f->fakes[0].n_sent = f->fakes[1].at = f->fakes[1].n_sent = 0;
        }
        assert_int_equal(SUM(f, commands_waiting), 0);
    }
}

/* What few associations have costs the others nothing. */
static void what_is_under_way_stands_beside(void **state)
{
    struct fortress *f = *state;
    ready(f);
    assert_true(link_device(f, 0, 1, "dev1"));
    turns(f);
    forget_sent(f);
    struct association *a = association_find(f->doors[0], 1);
    assert_null(a->side);
    (void)mem_fail_after(0);
    assert_null(association_side(a));
    assert_true(mem_fail_after(-1));
    assert_null(a->side);
    association_fit_side(a);
    ask(f, "$coap/dev1/GET/t");
    assert_non_null(a->side);
    struct asked asked = asked_at(f, 0, 1);
    struct said s = {SAID(COAP_CONTENT), .payload = "1"};
    say(f, 0, 1, &asked, &s);
    assert_true(mqtt_has_seen(f, "2.05"));
    assert_null(a->side);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_device_is_asked_and_answers),
        TEST(an_answer_may_come_separately),
        TEST(bodies_go_in_blocks_both_ways),
        TEST(an_answer_has_a_largest_size),
        TEST(a_device_may_ask_for_an_echo),
        TEST(who_is_not_there_is_waited_for),
        TEST(the_wait_ends_with_the_message),
        TEST(silence_is_an_answer),
        TEST(who_wakes_is_asked_at_once),
        TEST(who_sleeps_longer_is_asked_again_if_that_is_safe),
        TEST(a_reset_is_an_answer),
        TEST(who_does_not_exist_is_not_waited_for),
        TEST(a_command_follows_its_device),
        TEST(the_device_is_where_it_was_heard),
        TEST(an_acknowledgement_is_no_answer),
        TEST(an_association_ends_under_its_commands),
        TEST(bounds_have_names),
        TEST(who_asks_may_go),
        TEST(without_memory_nothing_stays),
        TEST(what_is_under_way_stands_beside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

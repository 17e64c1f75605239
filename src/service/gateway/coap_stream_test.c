/* Connections of a CoAP entrance over TCP, beside the associations of the bench. */
#include "service/gateway/door_bench_test.h"

#include "base/heap_test.h"
#include "service/gateway/door_private.h"

enum { INDEX = 9, UNTIL_MS = 5000, GET_BYTES = 64 };

/* One client: what came to it, message by message. */
struct caller {
    struct coap_stream *s;
    uint8_t bytes[128 * 1024];
    size_t n, at;
    bool is_finished;
};

struct street {
    struct fortress *f;
    struct entrance entrance;
    struct coap_door *door;
    struct caller callers[3];
};

static struct street *street_open(void **state)
{
    static struct street street;
    struct fortress *f = *state;
    street = (struct street){.f = f,
                             .entrance = {.name = "coaps+tcp",
                                          .protocol = EVENT_PROTOCOL_coap,
                                          .auth_x509 = true,
                                          .is_stream = true}};
    struct coap_door_setup d = {.worker = f->workers[0],
                                .index = INDEX,
                                .entrance = &street.entrance,
                                .limits = &f->limits,
                                .key = {3, 4},
                                .random = random_seeded(&f->seed),
                                .counters = &f->counters[0],
                                .ctx = &f->contexts[0],
                                .event = worker_event};
    assert_int_equal(coap_door_new(&d, f->now_ms, f->wall_ms, &street.door), OK);
    return &street;
}

/* As a driver does: until nobody is dirty. */
static void pump(struct street *st)
{
    struct coap_stream *s;
    while ((s = coap_door_next_dirty(st->door)) != NULL) {
        struct caller *c = coap_stream_transport(s);
        c->n += coap_stream_output(s, c->bytes + c->n, sizeof(c->bytes) - c->n, st->f->now_ms);
        c->is_finished = coap_stream_is_finished(s);
    }
}

static void street_turns(struct street *st)
{
    for (int i = 0; i < 6; i++) {
        turns(st->f);
        coap_door_turn(st->door, st->f->now_ms, st->f->wall_ms);
        pump(st);
    }
}

static void street_pass(struct street *st, uint64_t ms)
{
    st->f->now_ms += ms;
    st->f->wall_ms += (int64_t)ms;
    street_turns(st);
}

static void leave(struct street *st, unsigned who)
{
    if (st->callers[who].s != NULL) {
        coap_stream_gone(st->callers[who].s, "the client closed the connection", st->f->now_ms);
        st->callers[who].s = NULL;
    }
}

static void street_close(struct street *st)
{
    for (unsigned i = 0; i < 3; i++) {
        leave(st, i);
    }
    coap_door_free(st->door);
}

static enum err connects(struct street *st, unsigned who, const char *name)
{
    struct caller *c = &st->callers[who];
    struct net_peer peer = peer_of(100 + who);
    struct digest spki;
    struct coap_caller caller = {
        .peer = &peer, .transport = c, .until_ms = st->f->now_ms + UNTIL_MS};
    *c = (struct caller){0};
    enum err err = coap_stream_open(st->door, &caller, st->f->now_ms, &c->s);
    if (err == OK && name != NULL) {
        spki_of(name, &spki);
        coap_stream_present(c->s, slice_text(name), &spki, &spki, "TLSv1.3", "TEST");
    }
    return err;
}

static void says(struct street *st, unsigned who, const struct coap_message *m)
{
    uint8_t bytes[4096];
    size_t n = 0;
    assert_int_equal(coap_tcp_encode(m, COAP_TCP_STREAM, bytes, sizeof(bytes), &n), OK);
    coap_stream_input(st->callers[who].s, slice_of(bytes, n), st->f->now_ms);
    street_turns(st);
}

static void says_csm(struct street *st, unsigned who)
{
    says(st, who, &(struct coap_message){.code = COAP_CSM});
}

/* A request on a path, with the token 1. */
static struct coap_message request_of(uint8_t code, const char *path, const char *payload,
                                      int observe, uint8_t options[GET_BYTES])
{
    static const uint8_t token = 1;
    struct coap_option_writer o = coap_option_writer_into(options, GET_BYTES);
    struct coap_message m = {
        .code = code, .token = slice_of(&token, 1), .payload = slice_text(payload)};
    add_optional(&o, COAP_OPTION_OBSERVE, observe);
    coap_uri_path_options(slice_text(path), &o);
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    return m;
}

static void requests(struct street *st, unsigned who, uint8_t code, const char *path,
                     const char *payload, int observe)
{
    uint8_t options[GET_BYTES];
    struct coap_message m = request_of(code, path, payload, observe, options);
    says(st, who, &m);
}

/* The next message that came; code 0.00: none. */
static struct coap_message next_of(struct caller *c)
{
    struct coap_message m = {.code = COAP_EMPTY};
    struct slice rest = slice_from(slice_of(c->bytes, c->n), c->at);
    size_t n = 0;
    if (rest.n > 0) {
        assert_int_equal(coap_tcp_size(rest, rest.n, &n), OK);
        assert_int_equal(coap_tcp_decode(slice_head(rest, n), COAP_TCP_STREAM, 8, &m), OK);
        c->at += n;
    }
    return m;
}

static void comes_in(struct street *st, unsigned who, const char *name)
{
    assert_int_equal(connects(st, who, name), OK);
    says_csm(st, who);
    EXPECT_CODE(next_of(&st->callers[who]), COAP_CSM);
    assert_true(coap_stream_is_known(st->callers[who].s));
}

/* ---- who comes in ---- */

static void a_csm_is_the_login(void **state)
{
    struct street *st = street_open(state);
    struct fortress *f = st->f;
    assert_int_equal(connects(st, 0, "dev1"), OK);
    street_turns(st);
    assert_int_equal(st->callers[0].n, 0); /* nothing is told to who says nothing */
    assert_false(coap_stream_is_known(st->callers[0].s));
    says_csm(st, 0);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_CSM);
    const struct event *e = find_event(f, EVENT_connect);
    assert_non_null(e);
    assert_string_equal(e->principal, "dev1");
    assert_string_equal(e->listener, "coaps+tcp");
    assert_int_equal(atomic_load(&f->counters[0].connections_coap), 1);
    street_pass(st, UNTIL_MS + 1); /* the deadline was a stranger's */
    assert_int_equal(coap_door_count(st->door), 1);
    leave(st, 0);
    assert_int_equal(coap_door_count(st->door), 0);
    assert_int_equal(atomic_load(&f->counters[0].connections_coap), 0);
    assert_non_null(find_event(f, EVENT_disconnect));
    street_close(st);
}

static void refused(struct street *st, const char *name, enum event_category category)
{
    size_t before = count_events(st->f, category);
    assert_int_equal(connects(st, 0, name), OK);
    says_csm(st, 0);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_CSM);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_ABORT);
    assert_true(st->callers[0].is_finished);
    assert_false(coap_stream_is_known(st->callers[0].s));
    assert_int_equal(coap_door_count(st->door), 0);
    assert_true(count_events(st->f, category) > before);
    leave(st, 0);
}

static void who_is_not_let_in(void **state)
{
    struct street *st = street_open(state);
    struct fortress *f = st->f;
    refused(st, NULL, EVENT_auth_fail);
    refused(st, "stranger", EVENT_auth_fail);
    assert_int_equal(directory_disable(f->directory, slice_text("dev2"), slice_text("test")), OK);
    publish_realm(f);
    refused(st, "dev2", EVENT_revoked);
    snprintf(st->entrance.segment, sizeof(st->entrance.segment), "elsewhere");
    refused(st, "dev1", EVENT_identity_mismatch);
    street_close(st);
}

static void the_key_of_another(void **state)
{
    struct street *st = street_open(state);
    struct digest spki;
    assert_int_equal(connects(st, 0, NULL), OK);
    spki_of("dev2", &spki);
    coap_stream_present(st->callers[0].s, slice_text("dev1"), &spki, &spki, "TLSv1.3", "TEST");
    says_csm(st, 0);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_CSM);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_ABORT);
    assert_non_null(find_event(st->f, EVENT_auth_fail));
    street_close(st);
}

static void too_often(void **state)
{
    struct street *st = street_open(state);
    unsigned n = 0;
    do {
        leave(st, 0);
        assert_int_equal(connects(st, 0, "dev1"), OK);
        says_csm(st, 0);
        n++;
    } while (coap_stream_is_known(st->callers[0].s) && n < 100);
    assert_in_range(n, 2, 99);
    assert_non_null(find_event(st->f, EVENT_rate));
    assert_int_equal(atomic_load(&st->f->counters[0].refused_rate), 1);
    street_close(st);
}

static void who_says_no_csm_is_closed(void **state)
{
    struct street *st = street_open(state);
    assert_int_equal(connects(st, 0, "dev1"), OK);
    coap_stream_input(st->callers[0].s, slice_text("\x10"), st->f->now_ms); /* half of one */
    assert_true(coap_door_deadline(st->door) <= st->f->now_ms + UNTIL_MS);
    street_pass(st, UNTIL_MS - 1);
    assert_false(st->callers[0].is_finished);
    street_pass(st, 1);
    assert_true(st->callers[0].is_finished);
    assert_int_equal(count_events(st->f, EVENT_slow_client), 1);
    street_close(st);
}

/* ---- what it asks ---- */

static void one_space_with_the_others(void **state)
{
    struct street *st = street_open(state);
    struct fortress *f = st->f;
    comes_in(st, 0, "dev1");
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "s/#");
    requests(st, 0, COAP_PUT, "/mq/s/dev1/temp", "21.5", -1);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_CREATED);
    assert_true(mqtt_has_seen(f, "21.5"));
    requests(st, 0, COAP_GET, "/mq/s/dev1/temp", NULL, -1);
    struct coap_message m = next_of(&st->callers[0]);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, "21.5"));
    assert_true(link_device(f, 1, 7, "dev1")); /* by DTLS, at another worker */
    m = asks(f, 1, 7, &(struct ask){ASK(COAP_CON, COAP_GET, "/mq/s/dev1/temp")});
    assert_true(slice_is(m.payload, "21.5"));
    requests(st, 0, COAP_PUT, "/mq/s/dev2/temp", "1", -1);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_FORBIDDEN);
    assert_non_null(find_event(f, EVENT_acl_deny));
    requests(st, 0, COAP_GET, "/mq/commands/dev1", NULL, 0);
    m = next_of(&st->callers[0]);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(option_of(&m, COAP_OPTION_OBSERVE), 0);
    mqtt_publish(f, "commands/dev1", "blink", true, NULL);
    street_turns(st);
    m = next_of(&st->callers[0]);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(slice_is(m.payload, "blink"));
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 1);
    leave(st, 0); /* SPEC: RFC8323 7.4: observations end with the connection */
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
    street_close(st);
}

static void what_it_cannot_read_ends_it(void **state)
{
    struct street *st = street_open(state);
    comes_in(st, 0, "dev1");
    coap_stream_input(st->callers[0].s, slice_of("\x0f\x01", 2), st->f->now_ms);
    street_turns(st);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_ABORT);
    assert_true(st->callers[0].is_finished);
    const struct event *e = find_event(st->f, EVENT_malformed);
    assert_non_null(e);
    assert_string_equal(e->principal, "dev1");
    assert_int_equal(coap_door_count(st->door), 0);
    coap_stream_input(st->callers[0].s, slice_of("\x00\xe2", 2), st->f->now_ms); /* nothing more */
    assert_false(coap_stream_wants_input(st->callers[0].s));
    street_close(st);
}

/* An answer that waits for the disk, a Release, a Ping with custody behind it. */
static void the_end_waits_for_the_disk(void **state)
{
    struct street *st = street_open(state);
    comes_in(st, 0, "dev1");
    mqtt_open(st->f, "desk");
    mqtt_subscribe(st->f, "s/#");
    st->f->log_stands = true;
    requests(st, 0, COAP_PUT, "/mq/s/dev1/temp", "1", -1);
    says(st, 0, &(struct coap_message){.code = COAP_RELEASE});
    bool waits = !st->callers[0].is_finished;
    st->f->log_stands = false;
    street_turns(st);
    struct coap_message m = next_of(&st->callers[0]);
    assert_true(coap_code_is_success(m.code));
    assert_true(waits && st->callers[0].is_finished);
    const struct event *e = find_event(st->f, EVENT_disconnect);
    assert_string_equal(e->reason, "the client released it");
    street_close(st);
}

/* All that came in one piece is answered, each once, however much it is. */
static void much_at_once(void **state)
{
    enum { N = 300 };
    static uint8_t bytes[N * GET_BYTES];
    struct street *st = street_open(state);
    uint8_t options[GET_BYTES];
    size_t n = 0;
    comes_in(st, 0, "desk");
    for (unsigned i = 0; i < N; i++) {
        uint8_t token[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        size_t more = 0;
        struct coap_message m = request_of(COAP_PUT, "/mq/a", "x", -1, options);
        m.token = slice_of(token, 2);
        assert_int_equal(coap_tcp_encode(&m, COAP_TCP_STREAM, bytes + n, sizeof(bytes) - n, &more),
                         OK);
        n += more;
    }
    coap_stream_input(st->callers[0].s, slice_of(bytes, n), st->f->now_ms);
    for (unsigned i = 0; i < N && st->callers[0].s != NULL; i++) {
        street_turns(st);
    }
    bool is_answered[N] = {false};
    for (unsigned i = 0; i < N; i++) {
        struct coap_message m = next_of(&st->callers[0]);
        assert_true(coap_code_is_response(m.code) && m.token.n == 2);
        unsigned which = (unsigned)m.token.p[0] << 8 | m.token.p[1];
        assert_true(which < N && !is_answered[which]);
        is_answered[which] = true;
    }
    assert_true(coap_stream_wants_input(st->callers[0].s));
    street_close(st);
}

/* ---- the end ---- */

static void a_new_realm_cuts_off(void **state)
{
    struct street *st = street_open(state);
    comes_in(st, 0, "dev1");
    comes_in(st, 1, "desk");
    assert_int_equal(directory_disable(st->f->directory, slice_text("dev1"), slice_text("lost")),
                     OK);
    publish_realm(st->f);
    street_turns(st);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_ABORT);
    assert_true(st->callers[0].is_finished && !st->callers[1].is_finished);
    assert_non_null(find_event(st->f, EVENT_revoked));
    street_close(st);
}

static void who_is_silent_is_asked(void **state)
{
    struct street *st = street_open(state);
    comes_in(st, 0, "dev1");
    street_pass(st, COAP_CHANNEL_PING_MS);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_PING);
    says(st, 0, &(struct coap_message){.code = COAP_PONG});
    street_pass(st, COAP_CHANNEL_PING_MS);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_PING);
    street_pass(st, COAP_CHANNEL_PONG_MS);
    assert_true(st->callers[0].is_finished);
    assert_string_equal(find_event(st->f, EVENT_disconnect)->reason, "it did not answer a Ping");
    street_close(st);
}

/* Memory is short: whoever has not logged in goes first, by the shedder of the door. */
static void strangers_are_turned_away(void **state)
{
    struct street *st = street_open(state);
    comes_in(st, 0, "dev1");
    assert_int_equal(connects(st, 1, "desk"), OK);
    requests(st, 0, COAP_GET, "/mq/commands/dev1", NULL, 0);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_CONTENT);
    struct shedder *shed = &st->door->shedder;
    assert_int_equal(shed->turn_away(shed->ctx), 1);
    pump(st);
    assert_true(st->callers[1].is_finished && coap_stream_is_shed(st->callers[1].s));
    assert_false(st->callers[0].is_finished);
    struct consumer most = shed->worst(shed->ctx);
    assert_true(most.bytes > 0);
    shed->close(shed->ctx, &most, 91);
    pump(st);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_ABORT);
    assert_int_equal(coap_door_count(st->door), 0);
    assert_non_null(find_event(st->f, EVENT_slow_client));
    street_close(st);
}

/* Its socket takes nothing: what it is owed is not kept for ever. */
static void who_does_not_read_its_last_words(void **state)
{
    struct street *st = street_open(state);
    comes_in(st, 0, "dev1");
    coap_stream_input(st->callers[0].s, slice_of("\x0f\x01", 2), st->f->now_ms);
    assert_true(coap_stream_has_ended(st->callers[0].s));
    for (int i = 0; i < 2; i++) { /* as street_turns, but nothing is pulled */
        assert_int_equal(coap_stream_is_finished(st->callers[0].s), i == 1);
        assert_true(i == 1 ||
                    coap_door_deadline(st->door) <= st->f->now_ms + COAP_STREAM_FAREWELL_MS);
        st->f->now_ms += COAP_STREAM_FAREWELL_MS;
        coap_door_turn(st->door, st->f->now_ms, st->f->wall_ms);
    }
    street_close(st);
}

static void the_server_goes_down(void **state)
{
    struct street *st = street_open(state);
    comes_in(st, 0, "dev1");
    assert_int_equal(connects(st, 1, "desk"), OK);
    coap_door_drain(st->door, st->f->now_ms);
    pump(st);
    EXPECT_CODE(next_of(&st->callers[0]), COAP_RELEASE);
    assert_true(st->callers[0].is_finished && st->callers[1].is_finished);
    assert_int_equal(connects(st, 2, "dev1"), ERR_DENIED);
    street_close(st);
}

/* Whatever allocation fails, nothing is lost of the heap and nobody is let in by it. */
static void without_memory(void **state)
{
    for (long n = 0; n < 40; n++) {
        struct street *st = street_open(state);
        size_t before = heap_in_use();
        mem_fail_after(n);
        if (connects(st, 0, "stranger") == OK) {
            coap_stream_input(st->callers[0].s, slice_of("\x00\xe1\x00\xe2", 4), st->f->now_ms);
            coap_door_turn(st->door, st->f->now_ms, st->f->wall_ms);
            pump(st);
            assert_false(coap_stream_is_known(st->callers[0].s));
            leave(st, 0);
        }
        mem_fail_after(-1);
        assert_int_equal(heap_in_use(), before);
        street_close(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH(test) cmocka_unit_test_setup_teardown(test, fortress_open, fortress_close)
        WITH(a_csm_is_the_login),
        WITH(who_is_not_let_in),
        WITH(the_key_of_another),
        WITH(too_often),
        WITH(who_says_no_csm_is_closed),
        WITH(one_space_with_the_others),
        WITH(what_it_cannot_read_ends_it),
        WITH(the_end_waits_for_the_disk),
        WITH(much_at_once),
        WITH(a_new_realm_cuts_off),
        WITH(who_is_silent_is_asked),
        WITH(strangers_are_turned_away),
        WITH(who_does_not_read_its_last_words),
        WITH(the_server_goes_down),
        WITH(without_memory),
#undef WITH
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

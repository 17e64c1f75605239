/* A channel as the side that connects: it asks a channel that was connected to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/coap_channel.h"

enum { KEY = 7, MESSAGE_MAX = 2000 };

struct pair {
    struct coap_limits limits;
    struct coap_counters counters;
    struct coap_channel *client, *server;
    struct coap_event asked, told; /* the newest of each */
    uint8_t said[4096];            /* payload of the latter */
    size_t said_n, n_told;
    uint64_t now_ms;
};

/* What one side has said goes to the other, in pieces of so many bytes. */
static void carry(struct pair *p, struct coap_channel *from, struct coap_channel *to, size_t piece)
{
    uint8_t out[MESSAGE_MAX * 2];
    size_t n;
    while ((n = coap_channel_output(from, out, piece)) > 0) {
        struct slice in = slice_of(out, n);
        while (in.n > 0 && coap_channel_wants_input(to)) {
            struct coap_event ev;
            coap_channel_next(to, &in, p->now_ms, &ev);
            if (ev.kind == COAP_EVENT_REQUEST) {
                p->asked = ev;
            } else if (ev.kind == COAP_EVENT_RESPONSE) {
                p->told = ev;
                p->n_told++;
                p->said_n = ev.m.payload.n;
                slice_copy(p->said, ev.m.payload);
            }
        }
    }
}

static void carry_all(struct pair *p, size_t piece)
{
    for (int i = 0; i < 3; i++) {
        carry(p, p->client, p->server, piece);
        carry(p, p->server, p->client, piece);
    }
}

static bool pair_open(struct pair *p, enum coap_tcp_form form)
{
    *p = (struct pair){.limits = coap_limits_default(), .now_ms = 1000};
    struct coap_channel_setup setup = {
        .limits = &p->limits, .counters = &p->counters, .form = form, .message_bytes = MESSAGE_MAX};
    if (coap_channel_new(&setup, p->now_ms, &p->server) != OK) {
        return false;
    }
    setup.is_client = true;
    setup.token_key = (struct siphash_key){1, 2};
    return coap_channel_new(&setup, p->now_ms, &p->client) == OK;
}

static void pair_close(struct pair *p)
{
    coap_channel_free(p->client);
    coap_channel_free(p->server);
}

static enum err ask(struct pair *p, bool observes, uint32_t *ret_id)
{
    static const uint8_t observe[] = {0x60};
    struct coap_request r = {.code = COAP_GET, .options = slice_of(observe, observes ? 1 : 0)};
    return coap_channel_request(p->client, &r, ret_id);
}

static enum err respond(struct pair *p, uint8_t code, const char *text)
{
    struct coap_answer a = {.code = code, .payload = slice_text(text)};
    return coap_channel_respond(p->server, p->asked.id, &a);
}

static void it_asks_and_is_answered(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 3, 7, MESSAGE_MAX * 2};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces) + 1; i++) {
        struct pair p;
        uint32_t one = 0, two = 0;
        bool is_framed = i == sizeof(pieces) / sizeof(*pieces);
        size_t piece = is_framed ? MESSAGE_MAX * 2 : pieces[i];
        assert_true(pair_open(&p, is_framed ? COAP_TCP_FRAMED : COAP_TCP_STREAM));
        assert_int_equal(ask(&p, false, &one), ERR_AGAIN); /* not before both CSMs */
        carry_all(&p, piece);
        assert_true(coap_channel_is_open(p.client) && coap_channel_is_open(p.server));
        assert_int_equal(ask(&p, false, &one), OK);
        carry_all(&p, piece);
        assert_int_equal(p.asked.m.code, COAP_GET);
        assert_int_equal(ask(&p, false, &two), OK);
        assert_int_equal(respond(&p, COAP_CONTENT, "one"), OK);
        carry_all(&p, piece);
        assert_int_equal(p.told.id, one);
        assert_false(p.told.is_notification);
        assert_true(slice_is(slice_of(p.said, p.said_n), "one"));
        assert_int_equal(respond(&p, COAP_NOT_FOUND, NULL), OK);
        carry_all(&p, piece);
        assert_int_equal(p.told.id, two);
        assert_int_equal(p.told.m.code, COAP_NOT_FOUND);
        pair_close(&p);
    }
}

static void it_observes_until_it_forgets(void **state)
{
    (void)state;
    struct pair p;
    uint32_t id = 0, other = 0;
    struct coap_answer value = {.code = COAP_CONTENT, .payload = slice_text("2")};
    assert_true(pair_open(&p, COAP_TCP_STREAM));
    carry_all(&p, MESSAGE_MAX);
    assert_int_equal(ask(&p, true, &id), OK);
    carry_all(&p, MESSAGE_MAX);
    assert_int_equal(coap_channel_observe(p.server, p.asked.id, KEY, p.now_ms), OK);
    assert_int_equal(respond(&p, COAP_CONTENT, "1"), OK);
    carry_all(&p, MESSAGE_MAX);
    assert_true(p.told.is_notification && p.told.id == id);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(coap_channel_notify(p.server, KEY, &value), OK);
        carry_all(&p, MESSAGE_MAX);
        assert_true(p.told.is_notification && p.told.id == id && p.n_told == (size_t)i + 2);
    }
    assert_int_equal(ask(&p, false, &other), OK);
    carry_all(&p, MESSAGE_MAX);
    coap_channel_forget(p.client, id);
    coap_channel_forget(p.client, 12345);
    assert_int_equal(coap_channel_notify(p.server, KEY, &value), OK);
    assert_int_equal(respond(&p, COAP_CONTENT, "x"), OK);
    carry_all(&p, MESSAGE_MAX);
    assert_true(p.told.id == other && p.n_told == 5);
    /* an observation that is not accepted is a plain answer */
    assert_int_equal(ask(&p, true, &id), OK);
    carry_all(&p, MESSAGE_MAX);
    assert_int_equal(respond(&p, COAP_CONTENT, "y"), OK);
    carry_all(&p, MESSAGE_MAX);
    assert_true(p.told.id == id && !p.told.is_notification);
    pair_close(&p);
}

/* It serves nothing, and takes no answer to what it never asked. */
static void it_serves_nothing(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x00, 0xe1,                   /* CSM */
                                    0x01, 0x01, 0x09,             /* GET */
                                    0x01, 0x45, 0x07, 0x01, 0x45, /* two answers to nothing */
                                    0x08};
    struct pair p;
    uint8_t out[256];
    struct slice in = slice_of(bytes, sizeof(bytes));
    assert_true(pair_open(&p, COAP_TCP_STREAM));
    (void)coap_channel_output(p.client, out, sizeof(out));
    while (in.n > 0) {
        struct coap_event ev;
        coap_channel_next(p.client, &in, p.now_ms, &ev);
        assert_int_equal(ev.kind, COAP_EVENT_NONE);
    }
    size_t n = coap_channel_output(p.client, out, sizeof(out));
    assert_int_equal(n, 3);
    assert_int_equal(out[1], COAP_NOT_IMPLEMENTED);
    assert_int_equal(coap_channel_ended(p.client), COAP_CHANNEL_LIVES);
    pair_close(&p);
}

static void ends_are_told(void **state)
{
    (void)state;
    struct pair p;
    uint32_t id = 0;
    assert_true(pair_open(&p, COAP_TCP_STREAM));
    carry_all(&p, MESSAGE_MAX);
    coap_channel_close(p.server, COAP_ABORT, "away");
    carry_all(&p, MESSAGE_MAX);
    assert_int_equal(coap_channel_ended(p.client), COAP_CHANNEL_ABORTED);
    assert_string_equal(coap_channel_why(p.client), "the server aborted the connection");
    assert_int_equal(ask(&p, false, &id), ERR_CLOSED);
    pair_close(&p);
    /* what was asked before a Release is answered behind it */
    assert_true(pair_open(&p, COAP_TCP_STREAM));
    carry_all(&p, MESSAGE_MAX);
    static const uint8_t release_then[] = {0x00, 0xe4};
    struct slice in = slice_of(release_then, sizeof(release_then));
    struct coap_event ev;
    assert_int_equal(ask(&p, false, &id), OK);
    coap_channel_next(p.client, &in, p.now_ms, &ev);
    assert_int_equal(coap_channel_ended(p.client), COAP_CHANNEL_LIVES);
    assert_int_equal(ask(&p, false, &id), ERR_CLOSED);
    carry(&p, p.client, p.server, MESSAGE_MAX);
    assert_int_equal(respond(&p, COAP_CONTENT, "last"), OK);
    carry(&p, p.server, p.client, MESSAGE_MAX);
    assert_true(slice_is(slice_of(p.said, p.said_n), "last"));
    pair_close(&p);
    /* nobody is there */
    assert_true(pair_open(&p, COAP_TCP_STREAM));
    carry_all(&p, MESSAGE_MAX);
    coap_channel_ping(p.client, p.now_ms);
    coap_channel_tick(p.client, p.now_ms + COAP_CHANNEL_PONG_MS);
    assert_int_equal(coap_channel_ended(p.client), COAP_CHANNEL_SILENT);
    pair_close(&p);
}

static void there_are_bounds(void **state)
{
    (void)state;
    static uint8_t large[MESSAGE_MAX];
    struct pair p;
    uint32_t id = 0;
    assert_true(pair_open(&p, COAP_TCP_STREAM));
    carry_all(&p, MESSAGE_MAX);
    struct coap_request r = {.code = COAP_PUT, .payload = slice_of(large, sizeof(large))};
    assert_int_equal(coap_channel_request(p.client, &r, &id), ERR_TOO_LARGE);
    r.code = COAP_CONTENT;
    assert_int_equal(coap_channel_request(p.client, &r, &id), ERR_MALFORMED);
    for (unsigned i = 0; i < p.limits.n_requests; i++) {
        assert_int_equal(ask(&p, false, &id), OK);
    }
    assert_int_equal(ask(&p, false, &id), ERR_LIMIT);
    coap_channel_forget(p.client, id);
    assert_int_equal(ask(&p, false, &id), OK);
    pair_close(&p);
}

/* At whatever allocation it fails: nothing leaks, and the client hears an error or an end. */
static void without_memory_it_ends(void **state)
{
    (void)state;
    bool was_injected = true;
    for (long n = 0; was_injected; n++) {
        struct pair p;
        uint32_t id = 0;
        (void)mem_fail_after(n);
        if (pair_open(&p, COAP_TCP_STREAM)) {
            carry_all(&p, 5);
            if (ask(&p, true, &id) == OK) {
                carry_all(&p, 5);
                (void)!respond(&p, COAP_CONTENT, "1");
                carry_all(&p, 5);
            }
        }
        was_injected = mem_fail_after(-1) != 0;
        pair_close(&p);
        assert_true(n < 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_asks_and_is_answered), cmocka_unit_test(it_observes_until_it_forgets),
        cmocka_unit_test(it_serves_nothing),       cmocka_unit_test(ends_are_told),
        cmocka_unit_test(there_are_bounds),        cmocka_unit_test(without_memory_it_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

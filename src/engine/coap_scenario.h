/*
 * coap_scenario - how the tests of the endpoint are written: lines of datagrams, calls and times,
 * and what must come of each. Every scenario runs again with each of its allocations failing in
 * turn.
 */
#ifndef ENGINE_COAP_SCENARIO_H
#define ENGINE_COAP_SCENARIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/coap_endpoint.h"

static const struct siphash_key echo_key = {0x0123456789abcdef, 0xfedcba9876543210};
enum { KEY = 7 };

/* One line of a scenario. In datagrams MMMM stands for the message id, and sixteen T for the token,
 * of the last datagram that came out; in what is expected to come out a dot is any digit. */
enum op {
    END,
    IN,      /* a datagram; want: the kind of event */
    TICK,    /* want: the kind of event */
    OUT,     /* the next datagram that comes out */
    QUIET,   /* no datagram comes out */
    ANSWER,  /* respond to the last exchange: 2.05 with text, or 2.04 when it is empty; want: err */
    REFUSE,  /* respond 4.04 */
    DROP,    /* no answer at all */
    OBSERVE, /* accept the last exchange's wish */
    NOTIFY,  /* 2.05 with text */
    NOTIFY_END, /* 4.04 */
    ASK,        /* a request of ours: CON GET */
    ASK_NON,
    ASK_OBSERVE,
    FORGET, /* our last request */
    HURRY,
    PING
};

struct step {
    uint64_t at_ms;
    enum op op;
    const char *text;
    int want;
};

struct bench {
    struct coap_limits limits;
    uint16_t out_max;
    struct coap_counters counters;
    struct coap_endpoint *e;
    uint32_t exchange, request;
    uint16_t mid;
    uint8_t token[8];
    bool is_lenient; /* an allocation fails somewhere: nothing may break, results may differ */
};

static void bench_open(struct bench *b, bool proven)
{
    struct coap_endpoint_setup setup = {.limits = &b->limits,
                                        .counters = &b->counters,
                                        .echo_key = &echo_key,
                                        .peer = slice_text("peer"),
                                        .seed = 42,
                                        .proven = proven,
                                        .out_max = b->out_max};
    b->e = NULL;
    enum err err = coap_endpoint_new(&setup, 0, &b->e);
    assert_true(b->is_lenient || err == OK);
}

static size_t bytes_of(const struct bench *b, const char *text, uint8_t *dst)
{
    const char *digits = "0123456789abcdef";
    size_t n = 0, n_mid = 0, n_token = 0;
    for (const char *at = text; at[0] != '\0'; at += 2) {
        if (at[0] == 'M') {
            dst[n++] = (uint8_t)(n_mid++ == 0 ? b->mid >> 8 : b->mid & 0xFF);
        } else if (at[0] == 'T') {
            dst[n++] = b->token[n_token++];
        } else {
            dst[n++] =
                (uint8_t)((strchr(digits, at[0]) - digits) << 4 | (strchr(digits, at[1]) - digits));
        }
    }
    return n;
}

static void expect_out(struct bench *b, const char *name, size_t line, const char *want)
{
    uint8_t bytes[2048];
    char text[4097] = "";
    size_t n = coap_endpoint_output(b->e, bytes, sizeof(bytes));
    for (size_t i = 0; i < n; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    struct coap_message m;
    if (n > 0 && coap_message_decode(slice_of(bytes, n), 8, &m) == OK) {
        b->mid = m.mid;
        memset(b->token, 0, sizeof(b->token));
        if (m.token.n > 0) {
            memcpy(b->token, m.token.p, m.token.n);
        }
    }
    bool is_same = strlen(want) == strlen(text);
    for (size_t i = 0; is_same && want[i] != '\0'; i++) {
        is_same = want[i] == '.' || want[i] == text[i];
    }
    if (!is_same && !b->is_lenient) {
        fail_msg("%s, step %zu: '%s' came out, not '%s'", name, line, text, want);
    }
}

static enum err ask(struct bench *b, bool confirmable, const char *options, uint64_t now_ms)
{
    struct coap_request r = {
        .confirmable = confirmable, .code = COAP_GET, .options = slice_text(options)};
    uint8_t observe[] = {0x60, 0x51, 'a'};
    if (options[0] == '*') {
        r.options = slice_of(observe, sizeof(observe));
    }
    return coap_endpoint_request(b->e, &r, now_ms, &b->request);
}

static int run_step(struct bench *b, const char *name, size_t line, const struct step *s)
{
    struct coap_event event = {.kind = COAP_EVENT_NONE};
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = slice_text(s->text)};
    uint8_t bytes[2048];
    switch (s->op) {
    case IN: {
        size_t n = bytes_of(b, s->text, bytes);
        enum err err = coap_endpoint_datagram(b->e, slice_of(bytes, n), s->at_ms, &event);
        assert_true(b->is_lenient || err == OK);
        break;
    }
    case TICK: {
        enum err err = coap_endpoint_tick(b->e, s->at_ms, &event);
        assert_true(b->is_lenient || err == OK);
        break;
    }
    case OUT:
        expect_out(b, name, line, s->text);
        return s->want;
    case QUIET:
        expect_out(b, name, line, "");
        return s->want;
    case ANSWER:
        answer.code = s->text[0] != '\0' ? COAP_CONTENT : COAP_CHANGED;
        return (int)coap_endpoint_respond(b->e, b->exchange, &answer, s->at_ms);
    case REFUSE:
        answer = (struct coap_answer){.code = COAP_NOT_FOUND};
        return (int)coap_endpoint_respond(b->e, b->exchange, &answer, s->at_ms);
    case DROP:
        return (int)coap_endpoint_drop(b->e, b->exchange, s->at_ms);
    case OBSERVE:
        return (int)coap_endpoint_observe(b->e, b->exchange, KEY, s->at_ms);
    case NOTIFY:
        return (int)coap_endpoint_notify(b->e, KEY, &answer, s->at_ms);
    case NOTIFY_END:
        answer = (struct coap_answer){.code = COAP_NOT_FOUND};
        return (int)coap_endpoint_notify(b->e, KEY, &answer, s->at_ms);
    case ASK:
        return (int)ask(b, true, "\xb1\x61", s->at_ms);
    case ASK_NON:
        return (int)ask(b, false, "\xb1\x61", s->at_ms);
    case ASK_OBSERVE:
        return (int)ask(b, true, "*", s->at_ms);
    case FORGET:
        coap_endpoint_forget(b->e, b->request);
        return s->want;
    case HURRY:
        coap_endpoint_hurry(b->e, s->at_ms);
        return s->want;
    case PING:
        return (int)coap_endpoint_ping(b->e, s->at_ms);
    case END:
        break;
    }
    if (event.kind == COAP_EVENT_REQUEST) {
        b->exchange = event.id;
    }
    return (int)event.kind;
}

static void run_once(struct bench *b, const char *name, const struct step *steps, bool proven)
{
    bench_open(b, proven);
    for (size_t i = 0; b->e != NULL && steps[i].op != END; i++) {
        int got = run_step(b, name, i, &steps[i]);
        if (got != steps[i].want && !b->is_lenient) {
            fail_msg("%s, step %zu: %d, not %d", name, i, got, steps[i].want);
        }
        (void)coap_endpoint_deadline(b->e);
    }
    b->e = coap_endpoint_free(b->e);
}

/* As written; and again with the allocation failing at every place in turn. */
static void run_with(const char *name, const struct step *steps, bool proven,
                     const struct coap_limits *limits)
{
    struct bench b = {.limits = *limits};
    run_once(&b, name, steps, proven);
    int was_injected = 1;
    for (long n = 0; was_injected; n++) {
        struct bench again = {.limits = *limits, .is_lenient = true};
        mem_fail_after(n);
        run_once(&again, name, steps, proven);
        was_injected = mem_fail_after(-1);
        assert_true(n < 1000);
    }
}

static struct coap_limits steady_limits(void)
{
    struct coap_limits limits = coap_limits_default();
    limits.ack_random_permille = 1000; /* so that times are exact */
    return limits;
}

static void run(const char *name, const struct step *steps)
{
    struct coap_limits limits = steady_limits();
    run_with(name, steps, true, &limits);
}

#define REQUEST COAP_EVENT_REQUEST

#endif

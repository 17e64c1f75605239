/* coap_channel_bench_test - one channel and its peer, for the tests of it. */
#ifndef ENGINE_COAP_CHANNEL_BENCH_TEST_H
#define ENGINE_COAP_CHANNEL_BENCH_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/coap_channel.h"

enum { KEY = 7, MESSAGE_MAX = 2000, OUT_MAX = 256 * 1024 };

struct bench {
    struct coap_limits limits;
    struct coap_counters counters;
    struct coap_channel *c;
    uint32_t asked[64];
    size_t n_asked;
    uint64_t now_ms;
    enum coap_tcp_form form;
    bool is_lenient; /* an allocation fails somewhere: nothing may break, results may differ */
};

/* Max-Message-Size 2000, Block-Wise-Transfer, Extended-Token-Length 32. */
#define OUR_CSM "60e12207d0202120"
#define CSM     "00e1"

static inline size_t hex(const char *text, uint8_t *dst)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    for (const char *at = text; at[0] != '\0'; at += 2) {
        dst[n++] =
            (uint8_t)((strchr(digits, at[0]) - digits) * 16 + (strchr(digits, at[1]) - digits));
    }
    return n;
}

static void bench_open(struct bench *b, enum coap_tcp_form form)
{
    *b = (struct bench){
        .limits = coap_limits_default(), .now_ms = 1000, .form = form, .is_lenient = b->is_lenient};
    b->limits.token_bytes = COAP_ENDPOINT_TOKEN_MAX;
    b->limits.n_exchanges = 3;
    b->limits.n_observations = 2;
    struct coap_channel_setup setup = {
        .limits = &b->limits, .counters = &b->counters, .form = form, .message_bytes = MESSAGE_MAX};
    enum err err = coap_channel_new(&setup, b->now_ms, &b->c);
    assert_true(b->is_lenient || err == OK);
}

/* A copy, so that nothing is read behind its end. Gives how many requests came. */
static inline int feed(struct bench *b, struct slice bytes)
{
    uint8_t *copy = test_malloc(bytes.n > 0 ? bytes.n : 1);
    assert_non_null(copy);
    slice_copy(copy, bytes);
    struct slice in = slice_of(copy, bytes.n);
    int n = 0;
    while (in.n > 0 && coap_channel_wants_input(b->c)) {
        struct coap_event ev;
        coap_channel_next(b->c, &in, b->now_ms, &ev);
        if (ev.kind == COAP_EVENT_REQUEST) {
            assert_true(b->n_asked < 64);
            b->asked[b->n_asked++] = ev.id;
            n++;
        }
    }
    test_free(copy);
    return n;
}

static inline uint32_t oldest(struct bench *b)
{
    uint32_t id = b->asked[0];
    for (size_t i = 1; i < b->n_asked; i++) {
        b->asked[i - 1] = b->asked[i];
    }
    b->n_asked -= b->n_asked > 0 ? 1 : 0;
    return id;
}

#endif

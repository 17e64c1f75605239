/* Requests of ours over a channel: who may be asked, what may be asked, and which answer counts. */
#include "engine/coap_channel_bench_test.h"

#include "base/mem.h"

static struct coap_message next_out(struct bench *b, uint8_t *dst, size_t cap)
{
    struct coap_message m = {.code = COAP_EMPTY};
    size_t n = coap_channel_output(b->c, dst, cap), one = 0;
    if (n == 0) {
        return m;
    }
    if (b->form == COAP_TCP_STREAM) {
        assert_int_equal(coap_tcp_size(slice_of(dst, n), (uint32_t)cap, &one), OK);
        assert_int_equal(one, n); /* one at a time, in these tests */
    }
    assert_int_equal(coap_tcp_decode(slice_of(dst, n), b->form, COAP_ENDPOINT_TOKEN_MAX, &m), OK);
    return m;
}

static void say(struct bench *b, const struct coap_message *m, struct coap_event *ret)
{
    static uint8_t bytes[4096]; /* the event borrows from it */
    size_t n = 0;
    assert_int_equal(coap_tcp_encode(m, b->form, bytes, sizeof(bytes), &n), OK);
    struct slice in = slice_of(bytes, n);
    coap_channel_next(b->c, &in, b->now_ms, ret);
    assert_int_equal(in.n, 0);
}

static void open_channel(struct bench *b, enum coap_tcp_form form)
{
    uint8_t csm[64], out[256];
    b->is_lenient = false;
    bench_open(b, form);
    b->limits.n_requests = 3;
    struct coap_option_writer o = coap_option_writer_into(csm, sizeof(csm));
    struct coap_message m = {.code = COAP_CSM};
    struct coap_event ev;
    coap_option_add_uint(&o, 2, 200); /* Max-Message-Size */
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    say(b, &m, &ev);
    assert_int_equal(next_out(b, out, sizeof(out)).code, COAP_CSM);
}

static const struct coap_request get = {.code = COAP_GET};

static void asked_and_answered(void **state)
{
    (void)state;
    for (int form = 0; form < 2; form++) {
        struct bench b;
        uint8_t out[256], other[256];
        uint32_t one = 0, two = 0;
        struct coap_event ev;
        open_channel(&b, form == 0 ? COAP_TCP_STREAM : COAP_TCP_FRAMED);
        assert_int_equal(coap_channel_request(b.c, &get, &one), OK);
        struct coap_message first = next_out(&b, out, sizeof(out));
        assert_int_equal(first.code, COAP_GET);
        struct coap_request put = {.code = COAP_PUT, .payload = slice_text("on")};
        assert_int_equal(coap_channel_request(b.c, &put, &two), OK);
        struct coap_message second = next_out(&b, other, sizeof(other));
        assert_true(slice_is(second.payload, "on"));
        assert_false(slice_equal(first.token, second.token));
        assert_int_not_equal(one, two);
        struct coap_message answer = {
            .code = COAP_CHANGED, .token = second.token, .payload = slice_text("well")};
        say(&b, &answer, &ev); /* in any order */
        assert_int_equal(ev.kind, COAP_EVENT_RESPONSE);
        assert_int_equal(ev.about, COAP_ABOUT_REQUEST);
        assert_int_equal(ev.id, two);
        assert_true(slice_is(ev.m.payload, "well"));
        say(&b, &answer, &ev); /* once */
        assert_int_equal(ev.kind, COAP_EVENT_NONE);
        answer.token = slice_text("what");
        say(&b, &answer, &ev);
        assert_int_equal(ev.kind, COAP_EVENT_NONE);
        answer.token = (struct slice){0};
        say(&b, &answer, &ev);
        assert_int_equal(ev.kind, COAP_EVENT_NONE);
        coap_channel_forget(b.c, one);
        answer.token = first.token;
        say(&b, &answer, &ev);
        assert_int_equal(ev.kind, COAP_EVENT_NONE);
        coap_channel_forget(b.c, one);
        assert_int_equal(coap_channel_ended(b.c), COAP_CHANNEL_LIVES);
        coap_channel_free(b.c);
    }
}

/* SPEC: RFC7252 5.4.1 */
static void an_answer_that_is_not_understood(void **state)
{
    (void)state;
    struct bench b;
    uint8_t out[256], block[16];
    uint32_t id = 0;
    struct coap_event ev;
    open_channel(&b, COAP_TCP_STREAM);
    assert_int_equal(coap_channel_request(b.c, &get, &id), OK);
    struct coap_message m = {.code = COAP_CONTENT, .token = next_out(&b, out, sizeof(out)).token};
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add_uint(&o, 65001, 1);
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    say(&b, &m, &ev);
    assert_int_equal(ev.kind, COAP_EVENT_RESET);
    assert_int_equal(ev.id, id);
    assert_int_equal(b.counters.bad_option, 1);
    coap_channel_free(b.c);
}

static void bounds(void **state)
{
    (void)state;
    static uint8_t large[200];
    struct bench b;
    uint8_t out[256];
    uint32_t id = 0;
    struct coap_event ev;
    bench_open(&b, COAP_TCP_STREAM);
    assert_int_equal(coap_channel_request(b.c, &get, &id), ERR_AGAIN); /* no CSM yet */
    coap_channel_free(b.c);
    open_channel(&b, COAP_TCP_STREAM);
    assert_false(coap_channel_takes_blocks(b.c));
    struct coap_request put = {.code = COAP_PUT, .payload = slice_of(large, sizeof(large))};
    assert_int_equal(coap_channel_request(b.c, &put, &id), ERR_TOO_LARGE);
    put.payload.n = coap_channel_payload_max(b.c);
    assert_int_equal(coap_channel_request(b.c, &put, &id), OK);
    (void)next_out(&b, out, sizeof(out));
    struct coap_request answer = {.code = COAP_CONTENT};
    assert_int_equal(coap_channel_request(b.c, &answer, &id), ERR_MALFORMED);
    assert_int_equal(coap_channel_request(b.c, &get, &id), OK);
    assert_int_equal(coap_channel_request(b.c, &get, &id), OK);
    assert_int_equal(coap_channel_request(b.c, &get, &id), ERR_LIMIT); /* n_requests 3 */
    coap_channel_forget(b.c, id);
    assert_int_equal(coap_channel_request(b.c, &get, &id), OK);
    struct coap_message csm = {.code = COAP_CSM};
    uint8_t block[8];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add(&o, 4, (struct slice){0});
    assert_int_equal(coap_option_writer_done(&o, &csm.options), OK);
    say(&b, &csm, &ev);
    assert_true(coap_channel_takes_blocks(b.c));
    say(&b, &(struct coap_message){.code = COAP_RELEASE}, &ev);
    assert_int_equal(coap_channel_ended(b.c), COAP_CHANNEL_RELEASED);
    assert_int_equal(coap_channel_request(b.c, &get, &id), ERR_CLOSED);
    coap_channel_free(b.c);
}

static void no_memory(void **state)
{
    (void)state;
    struct bench b;
    uint8_t out[256];
    uint32_t id = 0;
    open_channel(&b, COAP_TCP_STREAM);
    for (long k = 0; k < 2; k++) {
        (void)mem_fail_after(k);
        assert_int_equal(coap_channel_request(b.c, &get, &id), ERR_NOMEM);
        assert_true(mem_fail_after(-1));
        assert_int_equal(next_out(&b, out, sizeof(out)).code, COAP_EMPTY);
    }
    assert_int_equal(coap_channel_request(b.c, &get, &id), OK);
    assert_int_equal(next_out(&b, out, sizeof(out)).code, COAP_GET);
    coap_channel_free(b.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_and_answered),
        cmocka_unit_test(an_answer_that_is_not_understood),
        cmocka_unit_test(bounds),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a peer can make a channel keep, and how its bytes may be cut. */
#include "engine/coap_channel_bench_test.h"

static void the_bound_of_a_message(void **state)
{
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        struct bench b = {0};
        static uint8_t bytes[MESSAGE_MAX + 16];
        bench_open(&b, COAP_TCP_STREAM);
        assert_int_equal(feed(&b, slice_of(bytes, hex(CSM, bytes))), 0);
        struct coap_message m = {.code = COAP_PUT,
                                 .payload = slice_of(bytes, MESSAGE_MAX - 5 + over)};
        uint8_t *dst = malloc(MESSAGE_MAX + 1);
        size_t n = 0;
        assert_int_equal(coap_tcp_encode(&m, COAP_TCP_STREAM, dst, MESSAGE_MAX + 1, &n), OK);
        assert_int_equal(n, MESSAGE_MAX + over);
        assert_int_equal(feed(&b, slice_of(dst, over == 0 ? n : 4)), over == 0 ? 1 : 0);
        assert_int_equal(coap_channel_ended(b.c),
                         over == 0 ? COAP_CHANNEL_LIVES : COAP_CHANNEL_TOO_LARGE);
        free(dst);
        coap_channel_free(b.c);
    }
}

/* Before its CSM a stranger has the base value. SPEC: RFC8323 5.3.1 */
static void the_bound_of_a_stranger(void **state)
{
    (void)state;
    for (unsigned form = COAP_TCP_STREAM; form <= COAP_TCP_FRAMED; form++) {
        for (size_t over = 0; over < 2; over++) {
            struct bench b = {0};
            static uint8_t value[MESSAGE_MAX];
            uint8_t *bytes = malloc(MESSAGE_MAX);
            struct coap_message m = {.code = COAP_CSM};
            size_t n = 0;
            bench_open(&b, (enum coap_tcp_form)form);
            assert_int_equal(coap_channel_message_max(b.c), COAP_TCP_BASE_BYTES);
            do { /* diagnostic words, as many as fit */
                m.payload = slice_of(value, m.payload.n + 1);
            } while (coap_tcp_bytes(&m, (enum coap_tcp_form)form) < COAP_TCP_BASE_BYTES + over);
            assert_int_equal(coap_tcp_encode(&m, (enum coap_tcp_form)form, bytes, MESSAGE_MAX, &n),
                             OK);
            assert_int_equal(feed(&b, slice_of(bytes, n)), 0);
            assert_int_equal(coap_channel_ended(b.c),
                             over == 0 ? COAP_CHANNEL_LIVES : COAP_CHANNEL_TOO_LARGE);
            assert_true(over == 1 || coap_channel_message_max(b.c) == MESSAGE_MAX);
            coap_channel_free(b.c);
            free(bytes);
        }
    }
}

/* Who does not read gets the latest state, and nothing is read from it. */
static void a_slow_reader_gets_the_latest(void **state)
{
    struct bench b = {0};
    uint8_t in[64];
    static uint8_t value[1000], out[OUT_MAX];
    (void)state;
    bench_open(&b, COAP_TCP_STREAM);
    assert_int_equal(feed(&b, slice_of(in, hex(CSM "1101aa60", in))), 1);
    assert_int_equal(coap_channel_observe(b.c, b.asked[0], KEY, b.now_ms), OK);
    struct coap_answer a = {.code = COAP_CONTENT, .payload = slice_of(value, sizeof(value))};
    assert_int_equal(coap_channel_respond(b.c, oldest(&b), &a), OK);
    size_t told = 0;
    while (coap_channel_wants_input(b.c)) {
        assert_int_equal(coap_channel_notify(b.c, KEY, &a), OK);
        told++;
    }
    assert_in_range(told, 1, COAP_CHANNEL_OUTPUT_BYTES / sizeof(value) + 1);
    size_t bytes = coap_channel_bytes(b.c);
    for (uint8_t i = 0; i < 200; i++) {
        value[0] = i;
        assert_int_equal(coap_channel_notify(b.c, KEY, &a), OK);
    }
    assert_true(coap_channel_bytes(b.c) < bytes + 2 * sizeof(value) + 64);
    size_t n = 0, more;
    while ((more = coap_channel_output(b.c, out + n, 4096)) > 0) {
        n += more;
    }
    assert_true(coap_channel_wants_input(b.c));
    assert_int_equal(out[n - sizeof(value)], 199); /* the last value's first byte */
    assert_true(n < COAP_CHANNEL_OUTPUT_BYTES + 3 * (sizeof(value) + 16));
    coap_channel_free(b.c);
}

/* What the peer takes bounds what it gets. */
static void the_peers_own_bound(void **state)
{
    struct bench b = {0};
    static uint8_t value[1200], out[2048];
    uint8_t in[64];
    struct coap_answer a = {.code = COAP_CONTENT, .payload = slice_of(value, sizeof(value))};
    (void)state;
    bench_open(&b, COAP_TCP_STREAM);
    assert_int_equal(feed(&b, slice_of(in, hex(CSM "0101aa", in))), 1);
    assert_int_equal(coap_channel_payload_max(b.c),
                     COAP_TCP_BASE_BYTES - COAP_CHANNEL_BESIDE_BYTES);
    assert_int_equal(coap_channel_respond(b.c, b.asked[0], &a), ERR_TOO_LARGE);
    assert_int_equal(feed(&b, slice_of(in, hex("30e1220500", in))), 0); /* now 1280 */
    assert_int_equal(coap_channel_respond(b.c, b.asked[0], &a), OK);
    assert_true(coap_channel_output(b.c, out, sizeof(out)) > sizeof(value));
    assert_int_equal(feed(&b, slice_of(in, hex("20e12140", in))), 0); /* 64 */
    assert_int_equal(coap_channel_payload_max(b.c), 0);
    coap_channel_free(b.c);
}

static void memory_is_full(void **state)
{
    struct bench b = {0};
    uint8_t in[64];
    (void)state;
    bench_open(&b, COAP_TCP_STREAM);
    assert_int_equal(feed(&b, slice_of(in, hex(CSM, in))), 0);
    b.limits.is_full = true;
    assert_true(coap_channel_output(b.c, in, sizeof(in)) > 0);
    assert_int_equal(feed(&b, slice_of(in, hex("0101aa", in))), 0);
    uint8_t want[8];
    size_t n = hex("31a3aad1010a", want); /* 5.03 with Max-Age 10 */
    assert_int_equal(coap_channel_output(b.c, in, sizeof(in)), n);
    assert_memory_equal(in, want, n);
    assert_int_equal(b.counters.unserved, 1);
    coap_channel_free(b.c);
}

/* The same bytes, cut anywhere, bring the same. */
static void cut_anywhere(void **state)
{
    uint8_t bytes[128], out[256], whole[256];
    size_t n = hex("40e122048020"
                   "3101aab26d71"
                   "0d01000102030405060708090a0b0c0d"
                   "01e242",
                   bytes);
    size_t whole_n = 0;
    (void)state;
    for (size_t size = n; size > 0; size--) {
        struct bench b = {0};
        int asked = 0;
        bench_open(&b, COAP_TCP_STREAM);
        for (size_t at = 0; at < n; at += size) {
            asked += feed(&b, slice_head(slice_from(slice_of(bytes, n), at), size));
        }
        assert_int_equal(asked, 2);
        size_t out_n = coap_channel_output(b.c, out, sizeof(out));
        if (size == n) {
            whole_n = out_n;
            memcpy(whole, out, out_n);
        }
        assert_true(slice_equal(slice_of(out, out_n), slice_of(whole, whole_n)));
        coap_channel_free(b.c);
    }
}

/* In frames each call is a message, in and out. */
static void frames(void **state)
{
    struct bench b = {0};
    uint8_t in[64], out[64];
    (void)state;
    bench_open(&b, COAP_TCP_FRAMED);
    assert_int_equal(feed(&b, slice_of(in, hex(CSM, in))), 0);
    assert_int_equal(feed(&b, slice_of(in, hex("0101aab26d71", in))), 1);
    assert_int_equal(feed(&b, slice_of(in, hex("01e242", in))), 0);
    struct coap_answer a = {.code = COAP_CONTENT, .payload = slice_text("hi")};
    assert_int_equal(coap_channel_respond(b.c, b.asked[0], &a), OK);
    assert_int_equal(coap_channel_output(b.c, out, 4), 0); /* it needs more room */
    assert_int_equal(coap_channel_output(b.c, out, sizeof(out)), 8);
    assert_int_equal(coap_channel_output(b.c, out, sizeof(out)), 3);
    assert_int_equal(coap_channel_output(b.c, out, sizeof(out)), 6);
    assert_int_equal(out[0], 0x01);
    assert_int_equal(coap_channel_output(b.c, out, sizeof(out)), 0);
    assert_int_equal(feed(&b, slice_of(in, hex("3101aab26d71", in))), 0); /* a Len of its own */
    assert_int_equal(coap_channel_ended(b.c), COAP_CHANNEL_MALFORMED);
    coap_channel_free(b.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bound_of_a_message),
        cmocka_unit_test(the_bound_of_a_stranger),
        cmocka_unit_test(a_slow_reader_gets_the_latest),
        cmocka_unit_test(the_peers_own_bound),
        cmocka_unit_test(memory_is_full),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

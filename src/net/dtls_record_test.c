/* The codec of records: keys and records as another implementation made them, the window at, under
 * and over its edges, and everything that is no record of the peer's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "net/dtls_record.h"

/* PRF(00..2f, "key expansion", 32 bytes 53, 32 bytes 43), made with python's hmac. */
static const uint8_t key_block[] = {0x59, 0xff, 0xec, 0xea, 0x37, 0x75, 0x61, 0xc3, 0xfc, 0x1b,
                                    0x43, 0xea, 0x20, 0x9e, 0x38, 0x3a, 0xc5, 0xe4, 0xeb, 0xc3,
                                    0x34, 0x3a, 0xed, 0xce, 0x2d, 0xd3, 0x3f, 0xd8, 0xa4, 0x8c,
                                    0xe3, 0xbc, 0x64, 0xb8, 0x9d, 0x7c, 0x61, 0xf6, 0xb0, 0xc7};

static void keys_of_a_handshake(void **state)
{
    (void)state;
    uint8_t master[DTLS_MASTER_BYTES], client[DTLS_RANDOM_BYTES], server[DTLS_RANDOM_BYTES];
    struct dtls_keys keys;
    AUTO(prf_autofree) struct prf *prf = NULL;
    assert_int_equal(prf_new(&prf), OK);
    for (size_t i = 0; i < sizeof(master); i++) {
        master[i] = (uint8_t)i;
    }
    memset(client, 0x43, sizeof(client));
    memset(server, 0x53, sizeof(server));
    struct slice m = slice_of(master, sizeof(master)), c = slice_of(client, sizeof(client)),
                 s = slice_of(server, sizeof(server));
    assert_int_equal(dtls_keys_make(prf, m, c, s, &keys), OK);
    assert_memory_equal(keys.client.key, key_block, 16);
    assert_memory_equal(keys.server.key, key_block + 16, 16);
    assert_memory_equal(keys.client.salt, key_block + 32, 4);
    assert_memory_equal(keys.server.salt, key_block + 36, 4);
    assert_int_equal(dtls_keys_make(prf, m, slice_head(c, 31), s, &keys), ERR_CRYPTO);
    assert_int_equal(dtls_keys_make(prf, m, c, slice_head(s, 31), &keys), ERR_CRYPTO);
    assert_int_equal(dtls_keys_make(prf, (struct slice){0}, c, s, &keys), ERR_CRYPTO);
}

static const struct dtls_side side = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                      {0xa0, 0xa1, 0xa2, 0xa3}};
static const char plain[] = "GET /temperature";

/* Sealed by python-cryptography over the nonce and the additional data that the RFCs ask for. */
static const struct {
    enum record_suite suite;
    size_t n;
    uint8_t bytes[64];
} records[] = {
    {RECORD_AES128_GCM, 53, {23,   0xfe, 0xfd, 0,    1,    0,    0,    0,    0,    0,    5,
                             0,    40,   0,    1,    0,    0,    0,    0,    0,    5,    0x8b,
                             0x4f, 0x05, 0xa6, 0x0b, 0xe3, 0x8f, 0xf9, 0x84, 0x20, 0xc1, 0x9e,
                             0x00, 0x68, 0x7d, 0xc1, 0xcb, 0xc2, 0x19, 0xab, 0x7d, 0x0b, 0xc7,
                             0x9f, 0x27, 0x6e, 0xd0, 0x31, 0x4b, 0x71, 0xae, 0x71}},
    {RECORD_AES128_CCM8,
     45,
     {23,   0xfe, 0xfd, 0,    1,    0,    0,    0,    0,    0,    5,    0,    32,   0,    1,
      0,    0,    0,    0,    0,    5,    0x6b, 0xb8, 0x5a, 0x17, 0x80, 0xd2, 0xa1, 0x5e, 0x6c,
      0x52, 0x25, 0x84, 0xe7, 0x5f, 0x2f, 0x8a, 0x56, 0x5f, 0xd6, 0xd0, 0xe4, 0x6e, 0xbe, 0x78}},
};

static enum err open_bytes(struct record_aead *a, enum record_suite suite, struct slice bytes,
                           uint8_t *dst, size_t cap, struct slice *ret)
{
    struct rd r = rd_from(bytes);
    struct dtls_record record;
    return dtls_record_read(&r, &record) ? dtls_record_open(a, suite, &side, &record, dst, cap, ret)
                                         : ERR_TRUNCATED;
}

static void sealed_as_by_another(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    assert_int_equal(record_aead_new(&a), OK);
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        enum record_suite suite = records[i].suite;
        struct slice bytes = slice_of(records[i].bytes, records[i].n), got;
        uint8_t out[64];
        struct wr w = wr_into(out, sizeof(out));
        assert_int_equal(
            dtls_record_seal(a, suite, &side, DTLS_APPLICATION, 5, slice_text(plain), &w), OK);
        assert_true(slice_equal(slice_of(out, w.at), bytes));
        assert_int_equal(open_bytes(a, suite, bytes, out, 16, &got), OK);
        assert_true(slice_is(got, plain));
        assert_int_equal(open_bytes(a, suite, bytes, out, 15, &got), ERR_SPACE);
        /* room for it, and one byte too few */
        w = wr_into(out, bytes.n);
        assert_int_equal(
            dtls_record_seal(a, suite, &side, DTLS_APPLICATION, 5, slice_text(plain), &w), OK);
        w = wr_into(out, bytes.n - 1);
        assert_int_equal(
            dtls_record_seal(a, suite, &side, DTLS_APPLICATION, 5, slice_text(plain), &w),
            ERR_SPACE);
    }
}

/* The peer chooses the explicit part of its nonces as it likes. SPEC: RFC5288 3 */
static void a_nonce_that_is_no_number(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    static const uint8_t aad[] = {0, 1, 0, 0, 0, 0, 0, 9, 23, 0xfe, 0xfd, 0, 2};
    static const uint8_t nonce[] = {0xa0, 0xa1, 0xa2, 0xa3, 1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t bytes[DTLS_HEADER_BYTES + DTLS_EXPLICIT_BYTES + 2 + 8] = {
        23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 18, 1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t out[8];
    struct slice got = {0};
    assert_int_equal(record_aead_new(&a), OK);
    assert_int_equal(record_aead_seal(a, RECORD_AES128_CCM8, side.key, nonce,
                                      slice_of(aad, sizeof(aad)), slice_text("ok"),
                                      bytes + DTLS_HEADER_BYTES + DTLS_EXPLICIT_BYTES),
                     OK);
    assert_int_equal(
        open_bytes(a, RECORD_AES128_CCM8, slice_of(bytes, sizeof(bytes)), out, sizeof(out), &got),
        OK);
    assert_true(slice_is(got, "ok"));
}

static void every_bit_counts(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    assert_int_equal(record_aead_new(&a), OK);
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        uint8_t bad[64], out[64];
        struct slice got = {0};
        for (size_t bit = 0; bit < 8 * records[i].n; bit++) {
            memcpy(bad, records[i].bytes, sizeof(bad));
            bad[bit / 8] ^= (uint8_t)(1U << bit % 8);
            assert_int_not_equal(open_bytes(a, records[i].suite, slice_of(bad, records[i].n), out,
                                            sizeof(out), &got),
                                 OK);
        }
        for (size_t n = 0; n < records[i].n; n++) {
            assert_int_equal(open_bytes(a, records[i].suite, slice_of(records[i].bytes, n), out,
                                        sizeof(out), &got),
                             ERR_TRUNCATED);
        }
    }
}

static void numbers_at_their_end(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    uint8_t out[64], text[8];
    struct slice got = {0};
    assert_int_equal(record_aead_new(&a), OK);
    struct wr w = wr_into(out, sizeof(out));
    assert_int_equal(dtls_record_seal(a, RECORD_AES128_GCM, &side, DTLS_APPLICATION,
                                      DTLS_NUMBER_MAX, slice_text("x"), &w),
                     OK);
    assert_int_equal(
        open_bytes(a, RECORD_AES128_GCM, slice_of(out, w.at), text, sizeof(text), &got), OK);
    w = wr_into(out, sizeof(out));
    assert_int_equal(dtls_record_seal(a, RECORD_AES128_GCM, &side, DTLS_APPLICATION,
                                      DTLS_NUMBER_MAX + 1, slice_text("x"), &w),
                     ERR_CRYPTO);
    assert_int_equal(w.at, 0);
}

static void too_short_to_be_sealed(void **state)
{
    (void)state;
    AUTO(record_aead_autofree) struct record_aead *a = NULL;
    uint8_t bytes[64] = {23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0}, out[64];
    struct slice got = {0};
    assert_int_equal(record_aead_new(&a), OK);
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        size_t least = DTLS_EXPLICIT_BYTES + record_aead_tag(records[i].suite) + 1;
        for (size_t n = 0; n <= least; n++) {
            bytes[12] = (uint8_t)n;
            assert_int_equal(open_bytes(a, records[i].suite, slice_of(bytes, DTLS_HEADER_BYTES + n),
                                        out, sizeof(out), &got),
                             n < least ? ERR_TRUNCATED : ERR_CRYPTO);
        }
    }
}

static void the_window(void **state)
{
    (void)state;
    struct dtls_window w = {0};
    assert_true(dtls_window_is_fresh(&w, 0)); /* nothing is known: any may be the first */
    assert_true(dtls_window_is_fresh(&w, DTLS_NUMBER_MAX));
    dtls_window_take(&w, 100);
    assert_false(dtls_window_is_fresh(&w, 100));
    assert_true(dtls_window_is_fresh(&w, 99));
    assert_true(dtls_window_is_fresh(&w, 101));
    assert_true(dtls_window_is_fresh(&w, 100 - (DTLS_WINDOW - 1))); /* the last in it */
    assert_false(dtls_window_is_fresh(&w, 100 - DTLS_WINDOW));      /* one left of it */
    assert_false(dtls_window_is_fresh(&w, 0));
    dtls_window_take(&w, 100 - (DTLS_WINDOW - 1));
    assert_false(dtls_window_is_fresh(&w, 100 - (DTLS_WINDOW - 1)));
    dtls_window_take(&w, 101); /* what was the last in it is left of it now */
    assert_false(dtls_window_is_fresh(&w, 100));
    assert_false(dtls_window_is_fresh(&w, 101));
    assert_true(dtls_window_is_fresh(&w, 101 - (DTLS_WINDOW - 1)));
    dtls_window_take(&w, 101 + DTLS_WINDOW - 1); /* 101 is the last in it */
    assert_false(dtls_window_is_fresh(&w, 101));
    assert_true(dtls_window_is_fresh(&w, 102));
    dtls_window_take(&w, 1000); /* far on: nothing of before is in it */
    assert_false(dtls_window_is_fresh(&w, 1000));
    assert_true(dtls_window_is_fresh(&w, 1000 - (DTLS_WINDOW - 1)));
    assert_false(dtls_window_is_fresh(&w, 1000 - DTLS_WINDOW));
    dtls_window_take(&w, 1000 + DTLS_WINDOW); /* by its whole length */
    assert_true(dtls_window_is_fresh(&w, 1001));
    assert_false(dtls_window_is_fresh(&w, 1000));
    dtls_window_take(&w, DTLS_NUMBER_MAX);
    assert_false(dtls_window_is_fresh(&w, DTLS_NUMBER_MAX));
    w = (struct dtls_window){0};
    dtls_window_take(&w, 0);
    assert_false(dtls_window_is_fresh(&w, 0));
    assert_true(dtls_window_is_fresh(&w, 1));
}

/* Beside one that remembers everything. */
static void the_window_and_a_model(void **state)
{
    (void)state;
    enum { N = 4096 };
    static bool taken[N];
    struct dtls_window w = {0};
    uint64_t x = 88172645463325252U, highest = 0;
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        uint64_t number = (highest > 80 ? highest - 80 : 0) + x % (i % 50 == 0 ? 200 : 90);
        if (number >= N) {
            memset(taken, 0, sizeof(taken));
            w = (struct dtls_window){0};
            highest = 0;
            continue;
        }
        bool expected =
            w.seen == 0 || number > highest || (highest - number < DTLS_WINDOW && !taken[number]);
        assert_int_equal(dtls_window_is_fresh(&w, number), expected);
        if (expected) {
            dtls_window_take(&w, number);
            taken[number] = true;
            highest = number > highest ? number : highest;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_a_handshake),
        cmocka_unit_test(sealed_as_by_another),
        cmocka_unit_test(a_nonce_that_is_no_number),
        cmocka_unit_test(every_bit_counts),
        cmocka_unit_test(numbers_at_their_end),
        cmocka_unit_test(too_short_to_be_sealed),
        cmocka_unit_test(the_window),
        cmocka_unit_test(the_window_and_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

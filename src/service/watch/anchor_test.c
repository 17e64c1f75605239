#include "service/watch/anchor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static const uint8_t seed[ED25519_SEED_BYTES] = {5};

static void make(struct anchor *a, struct buf *text)
{
    struct ed25519 *key = NULL;
    *a = (struct anchor){.trail = {1}, .count = 42, .head = {{2}}, .wall_ms = 1700000000123};
    assert_int_equal(ed25519_new(slice_of(seed, sizeof seed), &key), OK);
    assert_int_equal(anchor_sign(key, a), OK);
    assert_int_equal(anchor_encode(a, text), OK);
    ed25519_free(key);
}

static void test_there_and_back(void **state)
{
    AUTO(buf_done) struct buf text = {0};
    struct anchor a, back;
    (void)state;
    make(&a, &text);
    assert_int_equal(anchor_decode(buf_slice(&text), &back), OK);
    assert_memory_equal(&a, &back, sizeof a);
    assert_int_equal(anchor_verify(&back), OK);
    assert_non_null(memmem(text.p, text.n, "2023-11-14T22:13:20.123Z", 24));
    for (size_t n = 0; n < text.n - 1; n++) {
        assert_int_equal(anchor_decode(slice_of(text.p, n), &back), ERR_MALFORMED);
    }
}

/* Nothing in it can be changed: it does not read, or is not signed. */
static void test_every_byte(void **state)
{
    AUTO(buf_done) struct buf text = {0};
    struct anchor a, back;
    (void)state;
    make(&a, &text);
    for (size_t i = 0; i + 1 < text.n; i++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            text.p[i] ^= (uint8_t)(1U << bit);
            enum err err = anchor_decode(buf_slice(&text), &back);
            bool is_same = err == OK && memcmp(&a, &back, sizeof a) == 0; /* 'a' or 'A' */
            assert_true(err != OK || is_same || anchor_verify(&back) == ERR_AUTH ||
                        anchor_verify(&back) == ERR_CRYPTO);
            text.p[i] ^= (uint8_t)(1U << bit);
        }
    }
}

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *text;
        enum err err;
    } cases[] = {
        {"nothing", "", ERR_MALFORMED},
        {"no JSON", "anchor", ERR_MALFORMED},
        {"a list", "[1]", ERR_MALFORMED},
        {"another object", "{\"count\":1}", ERR_MALFORMED},
        {"a later form", "{\"sallyport_audit_anchor\":2}", ERR_UNSUPPORTED},
        {"members missing", "{\"sallyport_audit_anchor\":1,\"count\":1}", ERR_MALFORMED},
        {"a member twice", "{\"sallyport_audit_anchor\":1,\"sallyport_audit_anchor\":1}",
         ERR_MALFORMED},
    };
    static uint8_t large[ANCHOR_BYTES_MAX + 1];
    struct anchor back;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("%s\n", cases[i].name);
        assert_int_equal(anchor_decode(slice_text(cases[i].text), &back), cases[i].err);
    }
    assert_int_equal(anchor_decode(slice_of(large, sizeof large), &back), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_every_byte),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "service/watch/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static struct chain_entry entry(void)
{
    return (struct chain_entry){.prev = {{1, 2}},
                                .kind = CHAIN_EVENT,
                                .seq = 7,
                                .wall_ms = -3,
                                .salt = {9},
                                .body = slice_text("{}\n")};
}

static struct slice encoded(const struct chain_entry *e, uint8_t *dst, size_t cap)
{
    struct wr w = wr_into(dst, cap);
    chain_entry_encode(e, &w);
    assert_true(wr_ok(&w));
    return wr_slice(&w);
}

static void test_there_and_back(void **state)
{
    uint8_t bytes[256];
    struct chain_entry e = entry(), back;
    (void)state;
    struct slice s = encoded(&e, bytes, sizeof bytes);
    assert_int_equal(s.n, CHAIN_FRONT_BYTES + 3);
    assert_int_equal(chain_entry_decode(s, &back), OK);
    assert_int_equal(back.seq, 7);
    assert_int_equal(back.wall_ms, -3);
    assert_memory_equal(&back.prev, &e.prev, sizeof e.prev);
    assert_memory_equal(back.salt, e.salt, sizeof e.salt);
    assert_true(slice_is(back.body, "{}\n"));
    for (size_t n = 0; n < CHAIN_FRONT_BYTES; n++) {
        assert_int_equal(chain_entry_decode(slice_head(s, n), &back), ERR_TRUNCATED);
    }
    assert_int_equal(chain_entry_decode(slice_head(s, CHAIN_FRONT_BYTES), &back), ERR_MALFORMED);
    bytes[DIGEST_BYTES] = 3; /* another kind */
    assert_int_equal(chain_entry_decode(s, &back), ERR_MALFORMED);
    e.seq = 0;
    assert_int_equal(chain_entry_decode(encoded(&e, bytes, sizeof bytes), &back), ERR_MALFORMED);
}

/* Every bit counts, but those of prev: they count in the head. */
static void test_leaf_and_head(void **state)
{
    uint8_t bytes[256];
    struct chain_entry e = entry();
    struct digest leaf, other, head, moved;
    (void)state;
    struct slice s = encoded(&e, bytes, sizeof bytes);
    assert_int_equal(chain_leaf(s, &leaf), OK);
    assert_int_equal(chain_head(&e.prev, &leaf, &head), OK);
    for (size_t bit = 0; bit < s.n * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(chain_leaf(s, &other), OK);
        assert_int_equal(memcmp(&leaf, &other, sizeof leaf) == 0, bit < (size_t)DIGEST_BYTES * 8);
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    e.prev.bytes[31] ^= 1;
    assert_int_equal(chain_head(&e.prev, &leaf, &moved), OK);
    assert_memory_not_equal(&head, &moved, sizeof head);
    assert_int_equal(chain_leaf(slice_head(s, CHAIN_FRONT_BYTES), &leaf), ERR_TRUNCATED);
}

static const uint8_t seed[ED25519_SEED_BYTES] = {5};

static void test_checkpoints(void **state)
{
    uint8_t bytes[CHAIN_CHECKPOINT_BYTES + 1];
    AUTO(ed25519_autofree) struct ed25519 *key = NULL;
    struct chain_entry e = entry();
    e.kind = CHAIN_CHECKPOINT;
    struct chain_checkpoint back, c = {.reason = CHAIN_REASON_start,
                                       .trail = {4},
                                       .file = 3,
                                       .oldest_file = 2,
                                       .torn_file = 3,
                                       .torn_at = 77,
                                       .torn_bytes = 5,
                                       .older_lines = 8,
                                       .older = {{6}},
                                       .next_key = {1}};
    (void)state;
    assert_int_equal(ed25519_new(slice_of(seed, sizeof seed), &key), OK);
    assert_int_equal(chain_checkpoint_sign(key, &e, &c), OK);
    struct wr w = wr_into(bytes, sizeof bytes);
    chain_checkpoint_encode(&c, &w);
    struct slice s = wr_slice(&w);
    assert_int_equal(s.n, CHAIN_CHECKPOINT_BYTES);
    assert_int_equal(chain_checkpoint_decode(s, &back), OK);
    assert_int_equal(chain_checkpoint_verify(&back, &e), OK);
    assert_int_equal(back.torn_at, 77);
    for (size_t n = 0; n < s.n; n++) {
        assert_int_equal(chain_checkpoint_decode(slice_head(s, n), &back), ERR_TRUNCATED);
    }
    assert_int_equal(chain_checkpoint_decode(slice_of(bytes, s.n + 1), &back), ERR_TRAILING);
    for (size_t i = 0; i < s.n; i++) { /* nothing of it can be changed */
        bytes[i] ^= 1;
        enum err err = chain_checkpoint_decode(s, &back);
        assert_true(err == ERR_MALFORMED || chain_checkpoint_verify(&back, &e) != OK);
        bytes[i] ^= 1;
    }
    assert_int_equal(chain_checkpoint_decode(s, &back), OK);
    struct chain_entry moved[] = {e, e, e, e};
    moved[0].seq++;
    moved[1].wall_ms++;
    moved[2].prev.bytes[0]++;
    moved[3].salt[0]++;
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++) {
        assert_int_equal(chain_checkpoint_verify(&back, &moved[i]), ERR_AUTH);
    }
    assert_string_equal(chain_reason_name(CHAIN_REASON_stop), "stop");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_leaf_and_head),
                                       cmocka_unit_test(test_checkpoints)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

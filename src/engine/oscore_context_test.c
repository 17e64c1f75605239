#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/oscore_context.h"

static const uint8_t bytes[OSCORE_ID_CONTEXT_MAX + 1] = {1, 2, 3};

/* Each bound of what is given, at n and n + 1. */
static void bounds(void **state)
{
    (void)state;
    const struct oscore_material good = {.secret = slice_of(bytes, OSCORE_SECRET_MIN),
                                         .sender_id = slice_of(bytes, 1),
                                         .recipient_id = slice_of(bytes, 2)};
    const struct {
        const char *name;
        size_t secret, salt, sender, context;
        enum err err;
    } cases[] = {
        {"shortest secret", OSCORE_SECRET_MIN, 0, 1, 0, OK},
        {"too short a secret", OSCORE_SECRET_MIN - 1, 0, 1, 0, ERR_DENIED},
        {"longest secret", OSCORE_SECRET_MAX, 0, 1, 0, OK},
        {"too long a secret", OSCORE_SECRET_MAX + 1, 0, 1, 0, ERR_TOO_LARGE},
        {"longest salt", OSCORE_SECRET_MIN, OSCORE_SALT_MAX, 1, 0, OK},
        {"too long a salt", OSCORE_SECRET_MIN, OSCORE_SALT_MAX + 1, 1, 0, ERR_TOO_LARGE},
        {"longest id", OSCORE_SECRET_MIN, 0, OSCORE_ID_MAX, 0, OK},
        {"too long an id", OSCORE_SECRET_MIN, 0, OSCORE_ID_MAX + 1, 0, ERR_TOO_LARGE},
        {"longest context", OSCORE_SECRET_MIN, 0, 1, OSCORE_ID_CONTEXT_MAX, OK},
        {"too long a context", OSCORE_SECRET_MIN, 0, 1, OSCORE_ID_CONTEXT_MAX + 1, ERR_TOO_LARGE},
        {"both ids the same", OSCORE_SECRET_MIN, 0, 2, 0, ERR_DENIED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct oscore_material m = good;
        struct oscore_keys k;
        print_message("%s\n", cases[i].name);
        m.secret.n = cases[i].secret;
        m.salt = slice_of(bytes, cases[i].salt);
        m.sender_id.n = cases[i].sender;
        m.has_id_context = cases[i].context > 0;
        m.id_context = slice_of(bytes, cases[i].context);
        assert_int_equal(oscore_keys_derive(&m, &k), cases[i].err);
    }
}

/* Nobody, an empty context and another one are three contexts. */
static void contexts_differ(void **state)
{
    (void)state;
    struct oscore_material m = {.secret = slice_of(bytes, OSCORE_SECRET_MIN),
                                .sender_id = slice_of(bytes, 1),
                                .recipient_id = slice_of(bytes, 2)};
    struct oscore_keys none, empty, some;
    assert_int_equal(oscore_keys_derive(&m, &none), OK);
    m.has_id_context = true;
    assert_int_equal(oscore_keys_derive(&m, &empty), OK);
    m.id_context = slice_of(bytes, 30); /* longer than what one byte of CBOR says */
    assert_int_equal(oscore_keys_derive(&m, &some), OK);
    assert_memory_not_equal(none.sender_key, empty.sender_key, CCM_KEY_BYTES);
    assert_memory_not_equal(some.sender_key, empty.sender_key, CCM_KEY_BYTES);
    oscore_keys_wipe(&some);
    static const struct oscore_keys wiped;
    assert_memory_equal(&some, &wiped, sizeof(some));
}

/* The longest of everything fits the room for the additional data. */
static void longest_data(void **state)
{
    (void)state;
    uint8_t aad[OSCORE_AAD_MAX];
    struct oscore_binding b = {.piv = COAP_OSCORE_PIV_MAX, .kid = {.n = OSCORE_ID_MAX}};
    assert_int_equal(oscore_aad(&b, aad).n, 11 + 1 + 4 + 1 + OSCORE_ID_MAX + 1 + 5 + 1);
}

static void window(void **state)
{
    (void)state;
    struct oscore_window w = {0};
    assert_false(oscore_window_take(&w, 0)); /* nothing is known: nothing passes */
    assert_false(oscore_window_take(&w, 7));
    oscore_window_open(&w, 100);
    assert_false(oscore_window_take(&w, 100));
    assert_false(oscore_window_take(&w, 99));
    assert_false(oscore_window_take(&w, 0));
    assert_true(oscore_window_take(&w, 103));
    assert_false(oscore_window_take(&w, 103));
    assert_true(oscore_window_take(&w, 101)); /* late, not twice */
    assert_false(oscore_window_take(&w, 101));
    assert_true(oscore_window_is_fresh(&w, 102));
    assert_true(oscore_window_take(&w, 103 + 31));
    assert_false(oscore_window_take(&w, 103)); /* the oldest that is known */
    assert_false(oscore_window_take(&w, 102)); /* left of the window */
    assert_true(oscore_window_take(&w, 104));
    assert_true(oscore_window_take(&w, 1000)); /* far ahead: all before is behind */
    assert_true(oscore_window_take(&w, 1000 - 31));
    assert_false(oscore_window_take(&w, 1000 - 32));
    assert_true(oscore_window_take(&w, COAP_OSCORE_PIV_MAX));
    assert_false(oscore_window_take(&w, COAP_OSCORE_PIV_MAX));
}

/* Against a set of all numbers, over every order that a small generator finds. */
static void window_against_model(void **state)
{
    (void)state;
    enum { NUMBERS = 200, STEPS = 20000 };
    struct oscore_window w = {0};
    bool taken[NUMBERS] = {0};
    uint64_t highest = 10;
    uint32_t x = 1;
    oscore_window_open(&w, highest);
    for (size_t i = 0; i <= highest; i++) {
        taken[i] = true;
    }
    for (size_t step = 0; step < STEPS; step++) {
        x = x * 1103515245 + 12345;
        uint64_t near = highest > 40 ? highest - 40 : 0;
        uint64_t piv = near + (x >> 16) % 44;
        if (piv >= NUMBERS) {
            break;
        }
        bool is_inside = piv > highest || highest - piv < OSCORE_WINDOW;
        bool is_expected = is_inside && !taken[piv];
        assert_int_equal(oscore_window_is_fresh(&w, piv), is_expected);
        assert_int_equal(oscore_window_take(&w, piv), is_expected);
        taken[piv] = taken[piv] || is_expected;
        highest = piv > highest ? piv : highest;
    }
    assert_true(highest > 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds),
        cmocka_unit_test(contexts_differ),
        cmocka_unit_test(longest_data),
        cmocka_unit_test(window),
        cmocka_unit_test(window_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

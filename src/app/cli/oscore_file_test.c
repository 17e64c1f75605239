#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>
#include <string.h>

#include "app/cli/client_hex.h"
#include "app/cli/oscore_file.h"
#include "base/mem.h"
#include "base/scope.h"

#define HEAD   "{\"version\": 1, \"algorithm\": \"AES-CCM-16-64-128\", \"hkdf\": \"HKDF-SHA-256\", "
#define SECRET "\"master_secret\": \"000102030405060708090a0b0c0d0e0f\", "
#define REST   "\"master_salt\": \"aB\", \"sender_id\": \"c0de\", \"recipient_id\": \"00\"}"

static void test_given(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
    } cases[] = {
        {HEAD SECRET REST, OK},
        {HEAD SECRET "\"more\": [], " REST, OK},
        {HEAD SECRET
         "\"master_salt\": \"\", \"sender_id\": \"\", \"recipient_id\": \"01020304050607\"}",
         OK},
        {HEAD SECRET
         "\"master_salt\": \"\", \"sender_id\": \"\", \"recipient_id\": \"0102030405060708\"}",
         ERR_MALFORMED},
        {HEAD SECRET "\"master_salt\": \"\", \"sender_id\": \"00\", \"recipient_id\": \"00\"}",
         ERR_DENIED},
        {HEAD "\"master_secret\": \"000102030405060708090a0b0c0d0e\", " REST, ERR_DENIED},
        {HEAD "\"master_secret\": \"00010203040506070809a0b0c0d0e\", " REST, ERR_MALFORMED},
        {HEAD "\"master_secret\": \"0001020304050607080900b0c0d0e0zz\", " REST, ERR_MALFORMED},
        {HEAD "\"master_secret\": 1, " REST, ERR_MALFORMED},
        {HEAD REST, ERR_MALFORMED},
        {HEAD "\"id_context\": \"00\", " SECRET REST, ERR_UNSUPPORTED},
        {"{\"version\": 1, \"algorithm\": \"AES-CCM-16-128-128\", \"hkdf\": "
         "\"HKDF-SHA-256\", " SECRET REST,
         ERR_UNSUPPORTED},
        {"{\"version\": 1, \"algorithm\": \"AES-CCM-16-64-128\", " SECRET REST, ERR_UNSUPPORTED},
        {"{\"version\": 2, " SECRET REST, ERR_MALFORMED},
        {HEAD SECRET SECRET REST, ERR_MALFORMED},
        {"[]", ERR_MALFORMED},
        {"", ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct oscore_given g = {.secret_n = 0};
        enum err err = oscore_given_read(slice_text(cases[i].text), &g);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].text, err_name(err));
        }
        struct oscore_keys keys;
        struct oscore_material m = oscore_given_material(&g);
        assert_true(err != OK || oscore_keys_derive(&m, &keys) == OK);
    }
    char large[OSCORE_FILE_MAX + 2];
    for (int over = 0; over < 2; over++) {
        struct oscore_given g;
        (void)snprintf(large, sizeof(large), "%-*s", OSCORE_FILE_MAX + over, HEAD SECRET REST);
        assert_int_equal(oscore_given_read(slice_text(large), &g), over ? ERR_MALFORMED : OK);
    }
}

/* Every part of a context is in its mark, and nothing of its secret can be read there. */
static void test_marks(void **state)
{
    (void)state;
    struct oscore_given g = {
        .secret_n = 16, .salt_n = 1, .sender = {2, {1, 2}}, .recipient = {1, {0}}};
    char first[OSCORE_MARK_CHARS + 1], other[OSCORE_MARK_CHARS + 1];
    assert_int_equal(oscore_given_mark(&g, first), OK);
    assert_int_equal(strlen(first), OSCORE_MARK_CHARS);
    for (int part = 0; part < 4; part++) {
        struct oscore_given changed = g;
        uint8_t *bytes[] = {changed.secret, changed.salt, changed.sender.bytes,
                            changed.recipient.bytes};
        bytes[part][0] ^= 1;
        assert_int_equal(oscore_given_mark(&changed, other), OK);
        assert_string_not_equal(first, other);
    }
}

static const struct oscore_record record = {.mark = "0123456789abcdef",
                                            .place = "fedcba9876543210",
                                            .id_context = {1, 2, 255},
                                            .id_context_n = 3,
                                            .next = COAP_OSCORE_PIV_MAX};

static void test_record(void **state)
{
    (void)state;
    AUTO(buf_done) struct buf text = {0};
    struct oscore_record r = {.next = 1};
    assert_int_equal(oscore_record_write(&record, &text), OK);
    assert_int_equal(oscore_record_read(buf_slice(&text), &r), OK);
    assert_memory_equal(&r, &record, sizeof(r));
    for (size_t n = 0; n < text.n - 1; n++) { /* behind it is the end of the line */
        assert_int_equal(oscore_record_read(slice_head(buf_slice(&text), n), &r), ERR_MALFORMED);
    }
    static const char *const bad[] = {
        "{\"version\": 1, \"context\": \"0123456789abcdef\", \"place\": \"0123456789abcdef\", "
        "\"id_context\": \"00\", \"next\": 1099511627776}",
        "{\"version\": 1, \"context\": \"0123456789abcdef\", \"place\": \"0123456789abcdef\", "
        "\"id_context\": \"00\", \"next\": -1}",
        "{\"version\": 1, \"context\": \"0123456789abcdef\", \"place\": \"0123456789abcdef\", "
        "\"id_context\": \"00\", \"next\": \"1\"}",
        "{\"version\": 1, \"context\": \"0123456789abcdef\", \"place\": \"0123456789abcdef\", "
        "\"id_context\": \"\", \"next\": 1}",
        "{\"version\": 1, \"context\": \"0123456789abcde\", \"place\": \"0123456789abcdef\", "
        "\"id_context\": \"00\", \"next\": 1}",
        "{\"version\": 1, \"context\": \"0123456789abcdef\", \"place\": \"0123456789abcdef0\", "
        "\"id_context\": \"00\", \"next\": 1}",
        "{\"version\": 1, \"context\": \"0123456789abcdef\", \"place\": \"0123456789abcdef\", "
        "\"id_context\": \"00\", \"next\": 1, \"next\": 2}",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(oscore_record_read(slice_text(bad[i]), &r), ERR_MALFORMED);
    }
    assert_memory_equal(&r, &record, sizeof(r));
    AUTO(buf_done) struct buf none = {0};
    (void)mem_fail_after(0);
    assert_int_equal(oscore_record_write(&record, &none), ERR_NOMEM);
    (void)mem_fail_after(-1);
}

static void test_hex(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
        size_t n;
    } cases[] = {{"", OK, 0},
                 {"0aF9", OK, 2},
                 {"0a0b0c", ERR_SPACE, 0},
                 {"0", ERR_MALFORMED, 0},
                 {"0g", ERR_MALFORMED, 0},
                 {"@0", ERR_MALFORMED, 0},
                 {"0x", ERR_MALFORMED, 0}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[2];
        size_t n = 99;
        char back[5];
        assert_int_equal(client_hex(slice_text(cases[i].text), bytes, sizeof(bytes), &n),
                         cases[i].err);
        assert_int_equal(n, cases[i].err == OK ? cases[i].n : 99);
        if (n == 2) {
            client_hex_write(slice_of(bytes, n), back);
            assert_string_equal(back, "0af9");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_given), cmocka_unit_test(test_marks),
                                       cmocka_unit_test(test_record), cmocka_unit_test(test_hex)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Who looks like a browser, SPEC: RFC8701 2; and who offers a ticket. */
#include "net/tls_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/scope.h"
#include "base/wr.h"

#define GREASES(...)                                                                               \
    tls_hello_greases(                                                                             \
        slice_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})))

static void browsers_grease(void **state)
{
    (void)state;
    assert_true(GREASES(0x0a, 0x0a, 0x13, 0x01));
    assert_true(GREASES(0xfa, 0xfa, 0x13, 0x01, 0x13, 0x02));
    assert_true(GREASES(0x13, 0x01, 0x13, 0x02, 0xda, 0xda));
}

static void others_do_not(void **state)
{
    (void)state;
    assert_false(tls_hello_greases((struct slice){0}));
    assert_false(GREASES(0x0a));
    assert_false(GREASES(0x13, 0x01, 0x13, 0x02, 0x13, 0x03));
    assert_false(GREASES(0xcc, 0xcc, 0x0b, 0x0b)); /* alike, but of another kind */
    assert_false(GREASES(0x0a, 0x1a, 0x1a, 0x0a)); /* of the kind, but not alike */
    assert_false(GREASES(0x13, 0x0a, 0x0a, 0x13)); /* alike across two suites */
    assert_false(GREASES(0x13, 0x01, 0x0a));       /* half a suite */
}

/* ---- tickets ---- */

/* A ClientHello with these extensions. */
static struct slice hello(struct wr *w, struct slice extensions)
{
    size_t body = 2 + 32 + 1 + 4 + 2 + 2 + 1 + 1 + 2 + extensions.n;
    wr_bytes(w, slice_of("\x16\x03\x01", 3));
    wr_u16(w, (uint16_t)(body + 4));
    wr_u8(w, 1);
    wr_u8(w, 0);
    wr_u16(w, (uint16_t)body);
    wr_bytes(w, slice_of("\x03\x03", 2));
    wr_bytes(w, slice_text("a random of thirty-two bytes...."));
    wr_bytes(w, slice_of("\x04"
                         "sid.",
                         5));
    wr_bytes(w, slice_of("\x00\x02\x13\x01", 4));
    wr_bytes(w, slice_of("\x01\x00", 2));
    wr_u16(w, (uint16_t)extensions.n);
    wr_bytes(w, extensions);
    assert_true(wr_ok(w));
    return wr_slice(w);
}

#define EXTENSIONS(text) slice_of(text, sizeof(text) - 1)
#define SNI                                                                                        \
    "\x00\x00\x00\x03"                                                                             \
    "abc"
#define TICKET                                                                                     \
    "\x00\x23\x00\x06"                                                                             \
    "ticket"
#define NO_TICKET "\x00\x23\x00\x00"
#define KEY_SHARED                                                                                 \
    "\x00\x29\x00\x13\x00\x0c\x00\x06"                                                             \
    "shared"                                                                                       \
    "\x00\x00\x00\x00"                                                                             \
    "\x00\x03\x02"                                                                                 \
    "bb"

static void tickets_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct slice extensions;
        const char *ticket;
    } cases[] = {
        {"no extension", {0}, ""},
        {"none of these", {(const uint8_t *)SNI, sizeof(SNI) - 1}, ""},
        {"would take one", {(const uint8_t *)NO_TICKET, sizeof(NO_TICKET) - 1}, ""},
        {"TLS 1.2", {(const uint8_t *)SNI TICKET SNI, sizeof(SNI TICKET SNI) - 1}, "ticket"},
        {"TLS 1.3", {(const uint8_t *)SNI KEY_SHARED, sizeof(SNI KEY_SHARED) - 1}, "shared"},
        {"both", {(const uint8_t *)TICKET KEY_SHARED, sizeof(TICKET KEY_SHARED) - 1}, "shared"},
        {"no identity", {(const uint8_t *)"\x00\x29\x00\x00", 4}, ""},
        {"cut identity", {(const uint8_t *)"\x00\x29\x00\x04\x00\x09\x00\x06", 8}, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t bytes[256];
        struct wr w = wr_into(bytes, sizeof(bytes));
        struct slice whole = hello(&w, cases[i].extensions);
        if (!slice_is(tls_hello_ticket(whole), cases[i].ticket)) {
            fail_msg("%s", cases[i].name);
        }
        for (size_t n = 0; n < whole.n; n++) { /* half of one is not all of one */
            struct slice found = tls_hello_ticket(slice_head(whole, n));
            assert_true(found.n == 0 || slice_is(found, cases[i].ticket) ||
                        slice_is(found, "ticket"));
        }
    }
}

static void others_have_none(void **state)
{
    (void)state;
    static const size_t kinds[] = {0, 5}; /* of record and message */
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        uint8_t bytes[256];
        struct wr w = wr_into(bytes, sizeof(bytes));
        struct slice whole = hello(&w, EXTENSIONS(TICKET));
        assert_true(slice_is(tls_hello_ticket(whole), "ticket"));
        bytes[kinds[i]] ^= 1;
        assert_int_equal(tls_hello_ticket(whole).n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(browsers_grease), cmocka_unit_test(others_do_not),
        cmocka_unit_test(tickets_are_found), cmocka_unit_test(others_have_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "service/directory/directory_record_private.h"

#define H64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define PSK                                                                                        \
    "{\"id\":1,\"kind\":\"psk\",\"created\":5,\"used\":0,\"fingerprint\":\"" H64                   \
    "\",\"psk\":\"6162636465666768696a6b6c6d6e6f70\"}"
#define LIFE(more)                                                                                 \
    "{\"life\":{" more                                                                             \
    "},\"id\":6,\"kind\":\"psk\",\"created\":5,\"used\":0,\"fingerprint\":\"" H64                  \
    "\",\"psk\":\"6162636465666768696a6b6c6d6e6f70\"}"
#define X509(more)                                                                                 \
    "{\"id\":2,\"kind\":\"x509\",\"created\":5,\"used\":7,\"fingerprint\":\"" H64                  \
    "\",\"expires\":9,\"spki\":\"" H64 "\"" more "}"
#define SCRAM(salt, iterations, more)                                                              \
    "{\"id\":3,\"kind\":\"scram\",\"created\":5,\"used\":0,\"fingerprint\":\"" H64                 \
    "\",\"scram\":{\"salt\":\"" salt "\",\"iterations\":" iterations ",\"stored\":\"" H64          \
    "\",\"server\":\"" H64 "\"" more "}}"
#define OSCORE(hex)                                                                                \
    "{\"id\":4,\"kind\":\"oscore\",\"created\":5,\"used\":0,\"fingerprint\":\"" H64                \
    "\",\"oscore\":\"" hex "\"}"
#define OSCORE_24 "000102030405060708090a0b0c0d0e0f1011121314151617"
#define CERT(serial, revoked, reason)                                                              \
    "{\"serial\":\"" serial "\",\"revoked\":" revoked ",\"reason\":" reason "}"
#define SALT "00112233445566778899aabbccddeeff"
#define PRINCIPAL(name, more, credentials)                                                         \
    "{\"attrs\":{\"site\":\"a\"},\"credentials\":[" credentials                                    \
    "],\"id\":1,\"epoch\":3,\"name\":\"" name "\",\"role\":\"r\",\"status\":\"disabled\","         \
    "\"reason\":\"why\",\"created\":5" more "}"
#define ANSWER(kind, until)                                                                        \
    "{\"id\":7,\"kind\":\"" kind "\",\"since\":5" until                                            \
    ",\"by\":\"rule probing\",\"reason\":\"why\"}"
#define EXCEPTION(more)                                                                            \
    "{\"id\":1,\"listener\":\"mqtt\",\"allow\":3,\"role\":\"r\",\"reason\":\"why\",\"created\":1," \
    "\"ends\":2" more "}"
#define HEAD(exceptions, erase, more)                                                              \
    "{\"next\":{\"principal\":5,\"credential\":9,\"exception\":3},\"admin\":{\"phc\":\"\","        \
    "\"expires\":0},\"epoch\":9,\"policy_epoch\":2,\"fingerprints\":\"" H64                        \
    "\",\"exceptions\":[" exceptions "],\"erase\":[" erase "]" more "}"
#define ZEROS          "0,0,0,0,0,0,0,0,0,0,"
#define ZEROS60        ZEROS ZEROS ZEROS ZEROS ZEROS ZEROS
#define ROSTER(epochs) "{\"epoch\":9,\"epochs\":[" epochs "]}"

enum record { PRINCIPAL_RECORD, EXCEPTION_RECORD, HEAD_RECORD, ROSTER_RECORD };

static const struct {
    enum record what;
    const char *text;
} golden[] = {
    {PRINCIPAL_RECORD,
     PRINCIPAL("a", "", PSK "," X509("") "," SCRAM(SALT, "4096", "") "," OSCORE(OSCORE_24 "abcd"))},
    {PRINCIPAL_RECORD, PRINCIPAL("a", ",\"gateway\":7", PSK)},
    {PRINCIPAL_RECORD,
     PRINCIPAL("a", ",\"answers\":[" ANSWER("quarantine", ",\"until\":9") "]", PSK)},
    {PRINCIPAL_RECORD,
     PRINCIPAL("a", ",\"answers\":[" ANSWER("step-up", ",\"until\":9") "," ANSWER("revoke", "") "]",
               PSK)},
    {PRINCIPAL_RECORD, PRINCIPAL("a", "", X509(",\"cert\":" CERT("4a01ff", "0", "0")))},
    {PRINCIPAL_RECORD, PRINCIPAL("a", "", X509(",\"cert\":" CERT("", "6", "1")))},
    {PRINCIPAL_RECORD, PRINCIPAL("a", "",
                                 LIFE("\"silence\":7,\"left\":6,\"tail\":0,\"before\":9,"
                                      "\"identity\":\"~0123456789abcdef\""))},
    {PRINCIPAL_RECORD, PRINCIPAL("a", "", LIFE("\"tail\":3600000"))},
    {EXCEPTION_RECORD, EXCEPTION("")},
    {HEAD_RECORD, HEAD("1,2", "3,4", "")},
    {ROSTER_RECORD, ROSTER(ZEROS60 "1,2,9,0")},
};

/* Reads and writes it again. */
static enum err again(enum record what, struct slice text, struct buf *ret)
{
    const struct random_source random = random_system();
    AUTO(credential_guard_autofree) const struct credential_guard *guard = NULL;
    AUTO(entry_autofree) const struct directory_entry *e = NULL;
    AUTO(directory_head_done) struct directory_head head = {0};
    struct directory_exception exception;
    struct roster_page page = {.page = 7};
    TRY(credential_guard_new(&random, &guard));
    switch (what) {
    case PRINCIPAL_RECORD:
        TRY(principal_record_read(text, guard, &e));
        return principal_record_write(e, ret);
    case EXCEPTION_RECORD:
        TRY(exception_record_read(text, &exception));
        return exception_record_write(&exception, ret);
    case HEAD_RECORD:
        TRY(head_record_read(text, &head));
        return head_record_write(&head, ret);
    case ROSTER_RECORD:
        TRY(roster_record_read(text, &page));
        return roster_record_write(&page, ret);
    }
    return ERR_UNSUPPORTED;
}

static void round_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        AUTO(buf_wipe) struct buf text = {0};
        AUTO(buf_wipe) struct buf last = {0};
        assert_int_equal(again(golden[i].what, slice_text(golden[i].text), &text), OK);
        assert_int_equal(text.n, strlen(golden[i].text));
        assert_int_equal(again(golden[i].what, buf_slice(&text), &last), OK);
        assert_true(slice_equal(buf_slice(&text), buf_slice(&last)));
    }
}

static void damaged(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        struct slice whole = slice_text(golden[i].text);
        AUTO(buf_wipe) struct buf text = {0};
        AUTO(buf_wipe) struct buf copy = {0};
        for (size_t n = 0; n < whole.n; n++) {
            assert_int_equal(again(golden[i].what, slice_head(whole, n), &text), ERR_CONFIG);
        }
        assert_int_equal(buf_append(&copy, whole, 1 << 20), OK);
        /* flipped bits give an error or a record, never a crash */
        for (size_t bit = 0; bit < 8 * whole.n; bit++) {
            copy.p[bit / 8] = (uint8_t)(copy.p[bit / 8] ^ (1U << bit % 8));
            buf_clear(&text);
            enum err err = again(golden[i].what, buf_slice(&copy), &text);
            assert_true(err == OK || err == ERR_CONFIG);
            copy.p[bit / 8] = (uint8_t)(copy.p[bit / 8] ^ (1U << bit % 8));
        }
    }
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        enum record what;
        const char *text;
    } cases[] = {
        {"empty", HEAD_RECORD, ""},
        {"array", PRINCIPAL_RECORD, "[]"},
        {"nothing", PRINCIPAL_RECORD, "{}"},
        {"unknown member", PRINCIPAL_RECORD, PRINCIPAL("a", ",\"x\":1", "")},
        {"unknown member of a credential", PRINCIPAL_RECORD, PRINCIPAL("a", "", X509(",\"x\":1"))},
        {"member twice", PRINCIPAL_RECORD, PRINCIPAL("a", ",\"id\":1", "")},
        {"no answers", PRINCIPAL_RECORD, PRINCIPAL("a", ",\"answers\":[]", "")},
        {"an answer that does nothing", PRINCIPAL_RECORD,
         PRINCIPAL("a", ",\"answers\":[" ANSWER("alert", "") "]", "")},
        {"an answer that is none", PRINCIPAL_RECORD,
         PRINCIPAL("a", ",\"answers\":[" ANSWER("jail", "") "]", "")},
        {"one kind twice", PRINCIPAL_RECORD,
         PRINCIPAL(
             "a",
             ",\"answers\":[" ANSWER("throttle", "") "," ANSWER("throttle", ",\"until\":9") "]",
             "")},
        {"unknown member of an answer", PRINCIPAL_RECORD,
         PRINCIPAL("a", ",\"answers\":[" ANSWER("throttle", ",\"x\":9") "]", "")},
        {"gateway below 0", PRINCIPAL_RECORD, PRINCIPAL("a", ",\"gateway\":-1", "")},
        {"gateway by name", PRINCIPAL_RECORD, PRINCIPAL("a", ",\"gateway\":\"b\"", "")},
        {"hostile name", PRINCIPAL_RECORD, PRINCIPAL("a/b", "", "")},
        {"no name", PRINCIPAL_RECORD, PRINCIPAL("", "", "")},
        {"two secrets in one", PRINCIPAL_RECORD, PRINCIPAL("a", "", X509(",\"psk\":\"6162\""))},
        {"too few iterations", PRINCIPAL_RECORD, PRINCIPAL("a", "", SCRAM(SALT, "4095", ""))},
        {"endless iterations", PRINCIPAL_RECORD, PRINCIPAL("a", "", SCRAM(SALT, "1000001", ""))},
        {"short salt", PRINCIPAL_RECORD, PRINCIPAL("a", "", SCRAM("0011", "4096", ""))},
        {"long salt", PRINCIPAL_RECORD, PRINCIPAL("a", "", SCRAM(SALT "00", "4096", ""))},
        {"unknown member of scram", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", SCRAM(SALT, "4096", ",\"x\":1"))},
        {"unknown member of a life", PRINCIPAL_RECORD, PRINCIPAL("a", "", LIFE("\"x\":1"))},
        {"negative tail", PRINCIPAL_RECORD, PRINCIPAL("a", "", LIFE("\"tail\":-1"))},
        {"negative silence", PRINCIPAL_RECORD, PRINCIPAL("a", "", LIFE("\"silence\":-1"))},
        {"identity like a name", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", LIFE("\"identity\":\"0123456789abcdefg\""))},
        {"short identity", PRINCIPAL_RECORD, PRINCIPAL("a", "", LIFE("\"identity\":\"~01\""))},
        {"a certificate that waits", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", X509(",\"life\":{\"tail\":1}"))},
        {"a certificate with an identity", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", X509(",\"life\":{\"identity\":\"~0123456789abcdef\"}"))},
        {"no kid", PRINCIPAL_RECORD, PRINCIPAL("a", "", OSCORE(OSCORE_24))},
        {"kid of one byte", PRINCIPAL_RECORD, PRINCIPAL("a", "", OSCORE(OSCORE_24 "01"))},
        {"kid of eight bytes", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", OSCORE(OSCORE_24 "0102030405060708"))},
        {"oscore not in hexadecimal", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", OSCORE(OSCORE_24 "xyz0"))},
        {"serial of a password", PRINCIPAL_RECORD,
         PRINCIPAL(
             "a", "",
             "{\"id\":1,\"kind\":\"psk\",\"created\":5,\"used\":0,\"fingerprint\":\"" H64
             "\",\"psk\":\"6162636465666768696a6b6c6d6e6f70\",\"cert\":" CERT("01", "0", "0") "}")},
        {"serial too long", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", X509(",\"cert\":" CERT("01" OSCORE_24, "0", "0")))},
        {"serial that is none", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", X509(",\"cert\":" CERT("0", "0", "0")))},
        {"revoked before all time", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", X509(",\"cert\":" CERT("01", "-1", "0")))},
        {"no such reason", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", X509(",\"cert\":" CERT("01", "1", "11")))},
        {"unknown member of cert", PRINCIPAL_RECORD,
         PRINCIPAL("a", "", X509(",\"cert\":" CERT("01", "1", "1,\"x\":1")))},
        {"trailing", EXCEPTION_RECORD, EXCEPTION("") "x"},
        {"unknown member of an exception", EXCEPTION_RECORD, EXCEPTION(",\"x\":1")},
        {"unknown member of the head", HEAD_RECORD, HEAD("", "", ",\"x\":1")},
        {"negative number", HEAD_RECORD, HEAD("", "-1", "")},
        {"text for a number", HEAD_RECORD, HEAD("\"1\"", "", "")},
        {"64 and one exceptions", HEAD_RECORD, HEAD(ZEROS60 "0,0,0,0,0", "", "")},
        {"short roster", ROSTER_RECORD, ROSTER(ZEROS60 "1,2,3")},
        {"long roster", ROSTER_RECORD, ROSTER(ZEROS60 "1,2,3,4,5")},
        {"newer than the roster", ROSTER_RECORD, ROSTER(ZEROS60 "1,2,3,10")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(buf_wipe) struct buf text = {0};
        enum err err = again(cases[i].what, slice_text(cases[i].text), &text);
        if (err != ERR_CONFIG) {
            fail_msg("%s: %s", cases[i].label, err_name(err));
        }
    }
}

static void no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        bool failed = true;
        for (long n = 0; failed; n++) {
            AUTO(buf_wipe) struct buf text = {0};
            (void)mem_fail_after(n);
            enum err err = again(golden[i].what, slice_text(golden[i].text), &text);
            failed = mem_fail_after(-1) != 0;
            assert_int_equal(err, failed ? ERR_NOMEM : OK);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(damaged),
                                       cmocka_unit_test(refused), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

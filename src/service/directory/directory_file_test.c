#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "service/directory/credential_private.h"
#include "service/directory/directory_file_private.h"

static const struct siphash_key key = {3, 4};

#define H64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEAD                                                                                       \
    "{\"version\":1,\"epoch\":9,\"policy_epoch\":2,\"next\":{\"principal\":5,\"credential\":9,"    \
    "\"exception\":3},\"admin\":{\"phc\":\"\",\"expires\":0},"
#define PSK                                                                                        \
    "{\"id\":1,\"kind\":\"psk\",\"created\":5,\"used\":0,\"fingerprint\":\"" H64                   \
    "\",\"psk\":\"6162636465666768696a6b6c6d6e6f70\"}"
#define PRINCIPAL(name, credentials)                                                               \
    "{\"id\":1,\"epoch\":3,\"created\":5,\"name\":\"" name "\",\"role\":\"r\",\"status\":"         \
    "\"active\",\"reason\":\"\",\"attrs\":{\"site\":\"a\"},\"credentials\":[" credentials "]}"
#define EXCEPTION                                                                                  \
    "{\"id\":1,\"listener\":\"mqtt\",\"allow\":3,\"role\":\"r\",\"reason\":\"why\",\"created\":1," \
    "\"ends\":2}"
#define FILE_OF(principals, exceptions)                                                            \
    HEAD "\"principals\":[" principals "],\"exceptions\":[" exceptions "]}"

static enum err decode_slice(struct slice text, struct directory_version **ret)
{
    const struct random_source random = random_system();
    AUTO(credential_guard_autofree) const struct credential_guard *guard = NULL;
    TRY(credential_guard_new(&random, &guard));
    return directory_file_decode(text, &key, guard, ret);
}

static enum err decode(const char *text, struct directory_version **ret)
{
    return decode_slice(slice_text(text), ret);
}

static const char golden[] = FILE_OF(PRINCIPAL("a", PSK), EXCEPTION);

static void golden_file(void **state)
{
    (void)state;
    AUTO(version_autofree) struct directory_version *v = NULL;
    assert_int_equal(decode(golden, &v), OK);
    assert_int_equal(directory_version_epoch(v), 9);
    assert_int_equal(directory_version_policy_epoch(v), 2);
    assert_int_equal(directory_version_count(v), 1);
    struct directory_live live = directory_live(v, slice_text("a"), CREDENTIAL_PSK, 10);
    assert_int_equal(live.n, 1);
    uint8_t psk[PSK_KEY_MAX];
    size_t n = 0;
    assert_int_equal(credential_psk(live.credentials[0], psk, &n), OK);
    assert_memory_not_equal(live.credentials[0]->psk_hidden, psk, n);
    assert_int_equal(n, 16);
    assert_memory_equal(psk, "abcdefghijklmnop", 16);
    assert_string_equal(principal_attr(live.entry->principal, slice_text("site")), "a");
    assert_int_equal(v->next_credential, 9);
}

static void damaged(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof golden - 1; n++) {
        struct directory_version *v = NULL;
        assert_int_equal(decode_slice(slice_of(golden, n), &v), ERR_CONFIG);
    }
    /* flipped bits give an error or a version, never a crash */
    char text[sizeof golden];
    for (size_t bit = 0; bit < 8 * (sizeof golden - 1); bit++) {
        memcpy(text, golden, sizeof golden);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        AUTO(version_autofree) struct directory_version *v = NULL;
        enum err err = decode_slice(slice_of(text, sizeof text - 1), &v);
        assert_true(err == OK || err == ERR_CONFIG || err == ERR_UNSUPPORTED);
    }
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *label, *text;
        enum err err;
    } cases[] = {
        {"empty", "", ERR_CONFIG},
        {"array", "[]", ERR_CONFIG},
        {"nothing", "{}", ERR_CONFIG},
        {"other version", "{\"version\":2}", ERR_UNSUPPORTED},
        {"duplicate member", "{\"version\":1,\"version\":1}", ERR_CONFIG},
        {"unknown member", HEAD "\"principals\":[],\"exceptions\":[],\"x\":1}", ERR_CONFIG},
        {"trailing", FILE_OF("", "") "x", ERR_CONFIG},
        {"name twice", FILE_OF(PRINCIPAL("a", "") "," PRINCIPAL("a", ""), ""), ERR_CONFIG},
        {"secret twice", FILE_OF(PRINCIPAL("a", PSK) "," PRINCIPAL("b", PSK), ""), ERR_CONFIG},
        {"hostile name", FILE_OF(PRINCIPAL("a/b", ""), ""), ERR_CONFIG},
        {"no name", FILE_OF(PRINCIPAL("", ""), ""), ERR_CONFIG},
        {"id never given out",
         "{\"version\":1,\"epoch\":9,\"policy_epoch\":2,\"next\":{\"principal\":1,\"credential\":9,"
         "\"exception\":3},\"admin\":{\"phc\":\"\",\"expires\":0},\"principals\":[" PRINCIPAL(
             "a", "") "],\"exceptions\":[]}",
         ERR_CONFIG},
        {"weak hash",
         FILE_OF(PRINCIPAL("a", "{\"id\":1,\"kind\":\"password\",\"created\":5,\"used\":0,"
                                "\"fingerprint\":\"" H64
                                "\",\"phc\":\"$argon2id$v=19$m=8,t=1,p=1$x$y\"}"),
                 ""),
         ERR_CONFIG},
        {"kind and secret differ",
         FILE_OF(PRINCIPAL("a", "{\"id\":1,\"kind\":\"x509\",\"created\":5,\"used\":0,"
                                "\"fingerprint\":\"" H64 "\",\"psk\":\"6162\"}"),
                 ""),
         ERR_CONFIG},
        {"bad hexadecimal",
         FILE_OF(PRINCIPAL("a", "{\"id\":1,\"kind\":\"psk\",\"created\":5,\"used\":0,"
                                "\"fingerprint\":\"" H64 "\",\"psk\":\"6x\"}"),
                 ""),
         ERR_CONFIG},
        {"exception allows nothing",
         FILE_OF("", "{\"id\":1,\"listener\":\"mqtt\",\"allow\":0,\"role\":\"r\",\"reason\":\"w\","
                     "\"created\":1,\"ends\":2}"),
         ERR_CONFIG},
        {"good", FILE_OF("", ""), OK},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(version_autofree) struct directory_version *v = NULL;
        enum err err = decode(cases[i].text, &v);
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].label, err_name(err));
        }
    }
}

static void no_memory(void **state)
{
    (void)state;
    for (long n = 0; n < 200; n++) {
        AUTO(version_autofree) struct directory_version *v = NULL;
        (void)mem_fail_after(n);
        enum err err = decode(golden, &v);
        bool failed = mem_fail_after(-1) != 0;
        assert_int_equal(err, failed ? ERR_NOMEM : OK);
        if (!failed) {
            return;
        }
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_file), cmocka_unit_test(damaged),
                                       cmocka_unit_test(refused), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

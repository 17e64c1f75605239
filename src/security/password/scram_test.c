#include "security/password/scram.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base64.h"
#include "base/mem.h"

/* The exchange of RFC 7677, section 3. */
static const char first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char nonce[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
#define BOTH_NONCES "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
static const char final[] =
    "c=biws,r=" BOTH_NONCES ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

static struct scram_salt salt;
static struct scram_keys keys[SCRAM_KEYS_MAX]; /* [0] somebody else's, [1] of "pencil" */

static json_t *vector(const char *name)
{
    char path[512];
    const char *root = getenv("SALLYPORT_SOURCE_ROOT");
    (void)snprintf(path, sizeof path, "%s/tests/vectors/scram-rfc7677-rfc5802.json",
                   root != NULL ? root : ".");
    json_t *file = json_load_file(path, 0, NULL);
    json_t *v = json_array_get(json_object_get(file, "vectors"), 0);
    assert_string_equal(json_string_value(json_object_get(v, "mechanism")), SCRAM_METHOD);
    json_t *found = json_object_get(v, name);
    assert_non_null(found);
    json_incref(found);
    json_decref(file);
    return found;
}

static int setup(void **state)
{
    size_t n = 0;
    (void)state;
    salt.iterations = 4096;
    if (base64_decode(BASE64_PADDED, slice_text("W22ZaJ0SNY7soEsUEjb6gQ=="), salt.bytes,
                      sizeof salt.bytes, &n) != OK) {
        return -1;
    }
    return scram_make(slice_text("crayon"), &salt, &keys[0]) == OK &&
                   scram_make(slice_text("pencil"), &salt, &keys[1]) == OK
               ? 0
               : -1;
}

static struct scram *begin(const char *message, const struct scram_keys *known, size_t n)
{
    struct scram *s = NULL;
    uint8_t out[SCRAM_ANSWER_MAX];
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(scram_new(slice_text(message), &s), OK);
    assert_int_equal(scram_challenge(s, &salt, known, n, slice_text(nonce), &w), OK);
    return s;
}

static enum err finish(const char *message, const struct scram_keys *known, size_t n)
{
    uint8_t out[SCRAM_ANSWER_MAX];
    struct wr w = wr_into(out, sizeof out);
    AUTO(scram_autofree) struct scram *s = begin(first, known, n);
    enum err err = scram_finish(s, slice_text(message), NULL, &w);
    assert_true((err == OK) == (w.at > 0));
    return err;
}

/* SPEC: RFC5802 3, 5.1; RFC7677 3 */
static void golden(void **state)
{
    uint8_t out[SCRAM_ANSWER_MAX];
    char hex[DIGEST_HEX_BYTES];
    size_t at = 9;
    struct scram *s = NULL;
    json_t *inner = vector("computed_intermediates");
    json_t *messages[] = {vector("client_first"), vector("server_first"), vector("client_final"),
                          vector("server_final")};
    (void)state;
    digest_hex(&keys[1].stored_key, hex);
    assert_string_equal(hex, json_string_value(json_object_get(inner, "StoredKey")));
    digest_hex(&keys[1].server_key, hex);
    assert_string_equal(hex, json_string_value(json_object_get(inner, "ServerKey")));

    assert_int_equal(scram_new(slice_text(json_string_value(messages[0])), &s), OK);
    assert_string_equal(scram_name(s), "user");
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(scram_challenge(s, &salt, keys, 2, slice_text(nonce), &w), OK);
    assert_true(slice_is(wr_slice(&w), json_string_value(messages[1])));
    w = wr_into(out, sizeof out);
    assert_int_equal(scram_finish(s, slice_text(json_string_value(messages[2])), &at, &w), OK);
    assert_true(slice_is(wr_slice(&w), json_string_value(messages[3])));
    assert_int_equal(at, 1);
    scram_free(s);
    json_decref(inner);
    for (size_t i = 0; i < 4; i++) {
        json_decref(messages[i]);
    }
}

static void who_proves(void **state)
{
    struct scram_keys zero = {0};
    (void)state;
    assert_int_equal(finish(final, &keys[1], 1), OK);
    assert_int_equal(finish(final, &keys[0], 2), OK);
    assert_int_equal(finish(final, &keys[0], 1), ERR_AUTH); /* the old password */
    assert_int_equal(finish(final, NULL, 0), ERR_AUTH);     /* nobody */
    assert_int_equal(finish(final, &zero, 1), ERR_AUTH);
}

static const struct {
    const char *message, *name;
    enum err want;
} firsts[] = {
    {"n,,n=user,r=12345678", "user", OK},
    {"y,,n=user,r=12345678", "user", OK}, /* it could bind, and saw that we do not */
    {"n,a=user,n=user,r=12345678", "user", OK},
    {"n,a=root,n=user,r=12345678", NULL, ERR_DENIED},
    {"n,a=,n=user,r=12345678", NULL, ERR_MALFORMED},
    {"n,,n=u=2Cs=3Der,r=12345678", "u,s=er", OK},
    {"n,,n=u=2cser,r=12345678", NULL, ERR_MALFORMED},
    {"n,,n=u=,r=12345678", NULL, ERR_MALFORMED},
    {"n,,n=u=2,r=12345678", NULL, ERR_MALFORMED},
    {"n,,n=,r=12345678", NULL, ERR_MALFORMED},
    {"n,,n=\xff,r=12345678", NULL, ERR_MALFORMED},
    {"n,,n=user,r=12345678,x=more", "user", OK},
    {"n,,n=user,r=12345678,x", NULL, ERR_MALFORMED},
    {"n,,n=user,r=12345678,", NULL, ERR_MALFORMED},
    {"n,,n=user,r=1234567", NULL, ERR_MALFORMED},
    {"n,,n=user,r=1234 678", NULL, ERR_MALFORMED},
    {"n,,n=user,r=1234\t678", NULL, ERR_MALFORMED},
    {"n,,n=user", NULL, ERR_MALFORMED},
    {"n,,r=12345678,n=user", NULL, ERR_MALFORMED},
    {"n,,m=must,n=user,r=12345678", NULL, ERR_UNSUPPORTED},
    {"p=tls-exporter,,n=user,r=12345678", NULL, ERR_UNSUPPORTED},
    {"n=user,r=12345678", NULL, ERR_MALFORMED},
    {"x,,n=user,r=12345678", NULL, ERR_MALFORMED},
    {",,n=user,r=12345678", NULL, ERR_MALFORMED},
    {"n,b=user,n=user,r=12345678", NULL, ERR_MALFORMED},
    {"n,,", NULL, ERR_MALFORMED},
    {"n,", NULL, ERR_MALFORMED},
    {"", NULL, ERR_MALFORMED},
};

static void first_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        struct scram *s = NULL;
        assert_int_equal(scram_new(slice_text(firsts[i].message), &s), firsts[i].want);
        if (s != NULL) {
            assert_string_equal(scram_name(s), firsts[i].name);
        }
        scram_free(s);
    }
}

static void first_limits(void **state)
{
    char message[SCRAM_MESSAGE_MAX + 2];
    char text[SCRAM_MESSAGE_MAX];
    struct scram *s = NULL;
    (void)state;
    for (size_t n = SCRAM_NONCE_MAX; n <= SCRAM_NONCE_MAX + 1; n++) {
        memset(text, 'r', n);
        (void)snprintf(message, sizeof message, "n,,n=user,r=%.*s", (int)n, text);
        assert_int_equal(scram_new(slice_text(message), &s),
                         n == SCRAM_NONCE_MAX ? OK : ERR_TOO_LARGE);
        s = scram_free(s);
    }
    for (size_t n = SCRAM_NAME_MAX; n <= SCRAM_NAME_MAX + 1; n++) {
        memset(text, 'n', n);
        (void)snprintf(message, sizeof message, "n,,n=%.*s,r=12345678", (int)n, text);
        assert_int_equal(scram_new(slice_text(message), &s), OK); /* it is just nobody's */
        assert_int_equal(strlen(scram_name(s)), n == SCRAM_NAME_MAX ? SCRAM_NAME_MAX : 0);
        s = scram_free(s);
    }
    for (size_t n = SCRAM_MESSAGE_MAX; n <= SCRAM_MESSAGE_MAX + 1; n++) {
        memset(message, 'x', sizeof message);
        (void)snprintf(message, sizeof message, "n,,n=user,r=12345678,x=");
        message[strlen(message)] = 'x';
        assert_int_equal(scram_new(slice_of(message, n), &s),
                         n == SCRAM_MESSAGE_MAX ? OK : ERR_TOO_LARGE);
        s = scram_free(s);
    }
}

/* The longest first message, our challenge and the longest proof fit. */
static void longest_exchange(void **state)
{
    char message[SCRAM_MESSAGE_MAX + 1];
    char client[SCRAM_NONCE_MAX + 1];
    uint8_t out[SCRAM_ANSWER_MAX];
    (void)state;
    memset(client, 'r', SCRAM_NONCE_MAX);
    client[SCRAM_NONCE_MAX] = '\0';
    int n = snprintf(message, sizeof message, "n,,n=user,r=%s,x=", client);
    memset(message + n, 'x', sizeof message - (size_t)n);
    struct scram *s = NULL;
    assert_int_equal(scram_new(slice_of(message, SCRAM_MESSAGE_MAX), &s), OK);
    struct wr w = wr_into(out, sizeof out);
    assert_int_equal(scram_challenge(s, &salt, keys, 2, slice_text(nonce), &w), OK);
    n = snprintf(message, sizeof message, "c=biws,r=%s%s,x=", client, nonce);
    static const char tail[] = ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    memset(message + n, 'x', sizeof message - (size_t)n);
    memcpy(message + SCRAM_MESSAGE_MAX - strlen(tail), tail, strlen(tail));
    w = wr_into(out, sizeof out);
    assert_int_equal(scram_finish(s, slice_of(message, SCRAM_MESSAGE_MAX), NULL, &w), ERR_AUTH);
    scram_free(s);
    message[SCRAM_MESSAGE_MAX] = 'x';
    s = begin(first, keys, 2);
    assert_int_equal(scram_finish(s, slice_of(message, SCRAM_MESSAGE_MAX + 1), NULL, &w),
                     ERR_TOO_LARGE);
    scram_free(s);
}

#define PROOF ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static const struct {
    const char *message;
    enum err want;
} finals[] = {
    {"c=biws,r=" BOTH_NONCES PROOF, OK},
    {"c=eSws,r=" BOTH_NONCES PROOF, ERR_AUTH}, /* "y,,": the header was changed on the way */
    {"c=biwsAA==,r=" BOTH_NONCES PROOF, ERR_AUTH},
    {"c=,r=" BOTH_NONCES PROOF, ERR_AUTH},
    {"c=biw,r=" BOTH_NONCES PROOF, ERR_MALFORMED},
    {"c=biws,r=rOprNGfwEbeRWgbNEkqO" PROOF, ERR_AUTH}, /* without our part */
    {"c=biws,r=" BOTH_NONCES "x" PROOF, ERR_AUTH},
    {"c=biws,r=" BOTH_NONCES ",x=1" PROOF, ERR_AUTH}, /* the proof is over all of it */
    {"c=biws,r=" BOTH_NONCES ",1=1" PROOF, ERR_MALFORMED},
    {"c=biws,r=" BOTH_NONCES ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR=", ERR_MALFORMED},
    {"c=biws,r=" BOTH_NONCES ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ", ERR_MALFORMED},
    {"c=biws,r=" BOTH_NONCES ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndQ==", ERR_MALFORMED},
    {"c=biws,r=" BOTH_NONCES PROOF "AAAA", ERR_MALFORMED},
    {"c=biws,r=" BOTH_NONCES ",p=", ERR_MALFORMED},
    {"c=biws,r=" BOTH_NONCES, ERR_MALFORMED},
    {"c=biws,r=" BOTH_NONCES PROOF ",x=1", ERR_MALFORMED}, /* the proof comes last */
    {"c=biws", ERR_MALFORMED},
    {"r=" BOTH_NONCES ",c=biws" PROOF, ERR_MALFORMED},
    {"", ERR_MALFORMED},
    {",", ERR_MALFORMED},
};

static void final_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) {
        assert_int_equal(finish(finals[i].message, keys, 2), finals[i].want);
    }
}

static void every_bit(void **state)
{
    char bad[sizeof final];
    (void)state;
    for (size_t i = 0; i < sizeof final - 1; i++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            memcpy(bad, final, sizeof final);
            bad[i] = (char)(bad[i] ^ (char)(1U << bit));
            if (bad[i] != '\0') {
                assert_int_not_equal(finish(bad, keys, 2), OK);
            }
        }
        memcpy(bad, final, sizeof final);
        bad[i] = '\0';
        assert_int_not_equal(finish(bad, keys, 2), OK);
    }
}

static void salts(void **state)
{
    struct scram_salt a;
    struct scram_salt b;
    (void)state;
    assert_int_equal(scram_salt_of(slice_text("key"), slice_text("pump-1"), &a), OK);
    assert_int_equal(scram_salt_of(slice_text("key"), slice_text("pump-1"), &b), OK);
    assert_memory_equal(a.bytes, b.bytes, sizeof a.bytes);
    assert_int_equal(a.iterations, SCRAM_ITERATIONS);
    assert_int_equal(scram_salt_of(slice_text("key"), slice_text("pump-2"), &b), OK);
    assert_memory_not_equal(a.bytes, b.bytes, sizeof a.bytes);
    assert_int_equal(scram_salt_of(slice_text("yek"), slice_text("pump-1"), &b), OK);
    assert_memory_not_equal(a.bytes, b.bytes, sizeof a.bytes);
}

static void nonces(void **state)
{
    uint64_t seed = 7;
    struct random_source random = random_seeded(&seed);
    uint8_t a[SCRAM_NONCE_CHARS];
    uint8_t b[SCRAM_NONCE_CHARS];
    (void)state;
    scram_nonce(&random, a);
    scram_nonce(&random, b);
    assert_memory_not_equal(a, b, sizeof a);
    for (size_t i = 0; i < sizeof a; i++) {
        assert_true(a[i] > ' ' && a[i] < 0x7f && a[i] != ',' && a[i] != '=');
    }
}

static void passwords(void **state)
{
    struct scram_keys k;
    (void)state;
    assert_int_equal(scram_make((struct slice){0}, &salt, &k), ERR_MALFORMED);
    assert_int_equal(scram_make(slice_text("pen cil"), &salt, &k), ERR_MALFORMED);
    assert_int_equal(scram_make(slice_text("p\xc3\xa9ncil"), &salt, &k), ERR_MALFORMED);
}

static void no_room(void **state)
{
    struct scram *s = NULL;
    uint8_t out[8];
    struct wr w = wr_into(out, sizeof out);
    (void)state;
    (void)mem_fail_after(0);
    assert_int_equal(scram_new(slice_text(first), &s), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(scram_new(slice_text(first), &s), OK);
    assert_int_equal(scram_challenge(s, &salt, keys, 2, slice_text(nonce), &w), ERR_SPACE);
    scram_free(s);
    s = begin(first, keys, 2);
    w = wr_into(out, sizeof out);
    assert_int_equal(scram_finish(s, slice_text(final), NULL, &w), ERR_SPACE);
    scram_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),           cmocka_unit_test(who_proves),
        cmocka_unit_test(first_table),      cmocka_unit_test(first_limits),
        cmocka_unit_test(longest_exchange), cmocka_unit_test(final_table),
        cmocka_unit_test(every_bit),        cmocka_unit_test(salts),
        cmocka_unit_test(nonces),           cmocka_unit_test(passwords),
        cmocka_unit_test(no_room),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}

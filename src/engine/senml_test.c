/* Fetch and patch packs on SenML packs: the examples of RFC 8790, what it demands, every limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "engine/senml_cbor_test.h"

#define LIGHT                                                                                      \
    "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5850\",\"vb\":true},"                                \
    "{\"n\":\"5851\",\"v\":42},{\"n\":\"5750\",\"vs\":\"Ceiling light\"}]"
#define SERIES                                                                                     \
    "[{\"bn\":\"urn:dev:a\",\"bt\":1.320067464e+09,\"bu\":\"%RH\",\"v\":20},"                      \
    "{\"u\":\"lon\",\"v\":24.30621},{\"t\":60,\"v\":20.3},"                                        \
    "{\"u\":\"lon\",\"t\":60.1,\"v\":24.30622},{\"t\":120,\"v\":20.70}]"

struct etch {
    const char *target, *etch, *result; /* target "": nothing */
};

static enum err check(const char *pack, enum senml_kind kind)
{
    const char *why = NULL;
    enum err err = senml_check(SENML_JSON, slice_text(pack), kind, &why);
    assert_true(err == OK || why != NULL);
    return err;
}

/* The same in CBOR. */
static enum err check_cbor(const char *pack, enum senml_kind kind)
{
    static uint8_t bytes[8 * SENML_PACK_BYTES_MAX];
    const char *why = NULL;
    enum err err =
        senml_check(SENML_CBOR, in_cbor(slice_text(pack), bytes, sizeof(bytes)), kind, &why);
    assert_true(err == OK || why != NULL);
    return err;
}

/* SPEC: RFC8790 3.1 */
static const struct etch fetches[] = {
    {LIGHT, "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5850\"},{\"n\":\"5851\"}]",
     "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5850\",\"vb\":true},{\"n\":\"5851\",\"v\":42}]"},
    /* in the order of the target, each once, whoever names it how often */
    {LIGHT,
     "[{\"n\":\"2001:db8::2/3311/0/5750\"},{\"bn\":\"2001:db8::2/3311/0/58\",\"n\":\"51\"},"
     "{\"n\":\"51\"}]",
     "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5851\",\"v\":42},{\"n\":\"5750\",\"vs\":\"Ceiling "
     "light\"}]"},
    {LIGHT, "[{\"n\":\"5850\"}]", "[]"},
    {"[]", "[{\"n\":\"a\"}]", "[]"},
    /* no time and no unit: all of the name */
    {"[{\"n\":\"a\",\"t\":1,\"v\":1},{\"n\":\"b\",\"v\":0},{\"n\":\"a\",\"u\":\"V\",\"v\":2}]",
     "[{\"n\":\"a\"}]", "[{\"n\":\"a\",\"t\":1,\"v\":1},{\"n\":\"a\",\"u\":\"V\",\"v\":2}]"},
    /* time: base and own of both, resolved; one without any has 0 */
    {"[{\"n\":\"a\",\"t\":1.276020076e+09,\"v\":23.5},{\"n\":\"a\",\"t\":1.276020091e+09,\"v\":23."
     "6}]",
     "[{\"n\":\"a\",\"t\":1276020091}]", "[{\"n\":\"a\",\"t\":1.276020091e+09,\"v\":23.6}]"},
    {SERIES, "[{\"n\":\"urn:dev:a\",\"t\":1320067524}]",
     "[{\"bn\":\"urn:dev:a\",\"bt\":1.320067464e+09,\"bu\":\"%RH\",\"t\":60,\"v\":20.3}]"},
    {SERIES, "[{\"bn\":\"urn:dev:a\",\"bt\":1320067524,\"t\":0.1}]",
     "[{\"bn\":\"urn:dev:a\",\"bt\":1.320067464e+09,\"u\":\"lon\",\"t\":60.1,\"v\":24.30622}]"},
    {SERIES, "[{\"n\":\"urn:dev:a\",\"t\":1320067524.1001}]", "[]"},
    {"[{\"n\":\"a\",\"v\":1},{\"n\":\"a\",\"t\":-5,\"v\":2}]", "[{\"n\":\"a\",\"t\":0}]",
     "[{\"n\":\"a\",\"v\":1}]"},
    {"[{\"n\":\"a\",\"bt\":0.1,\"t\":0.2,\"v\":1}]", "[{\"n\":\"a\",\"t\":0.3}]",
     "[{\"bt\":0.1,\"n\":\"a\",\"t\":0.2,\"v\":1}]"},
    /* unit, of the base as well; with the time both */
    {SERIES, "[{\"n\":\"urn:dev:a\",\"u\":\"lon\",\"t\":1320067464}]",
     "[{\"bn\":\"urn:dev:a\",\"bt\":1.320067464e+09,\"u\":\"lon\",\"v\":24.30621}]"},
    {SERIES, "[{\"n\":\"urn:dev:a\",\"bu\":\"%RH\",\"t\":1320067584}]",
     "[{\"bn\":\"urn:dev:a\",\"bt\":1.320067464e+09,\"bu\":\"%RH\",\"t\":120,\"v\":20.70}]"},
    {"[{\"n\":\"a\",\"v\":1}]", "[{\"n\":\"a\",\"u\":\"V\"}]", "[]"},
    /* base fields go where they are needed, also from a record that has nothing else */
    {"[{\"bn\":\"x:\",\"bver\":5},{\"n\":\"a\",\"bv\":20,\"v\":1.50},{\"n\":\"b\",\"v\":2},"
     "{\"bn\":\"y:\",\"n\":\"b\",\"s\":3}]",
     "[{\"n\":\"x:b\"},{\"n\":\"y:b\"}]",
     "[{\"bver\":5,\"bn\":\"x:\",\"bv\":20,\"n\":\"b\",\"v\":2},{\"bn\":\"y:\",\"n\":\"b\",\"s\":3}"
     "]"},
    {"[{\"bct\":\"60\",\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"vd\":\"oA\",\"ct\":\"50\"}]",
     "[{\"n\":\"b\"}]", "[{\"bct\":\"60\",\"n\":\"b\",\"vd\":\"oA\",\"ct\":\"50\"}]"},
    {"[{\"bn\":\"x\",\"v\":1},{\"bn\":\"\",\"n\":\"a\",\"v\":2}]", "[{\"n\":\"x\"},{\"n\":\"a\"}]",
     "[{\"bn\":\"x\",\"v\":1},{\"bn\":\"\",\"n\":\"a\",\"v\":2}]"},
    /* what is not understood stays as it is written */
    {"[ { \"\\u006e\" : \"\\u0061\" , \"v\" : 21.30 , \"x\" : [ 1 , { } ] } ]", "[{\"n\":\"a\"}]",
     "[{\"\\u006e\":\"\\u0061\",\"v\":21.30,\"x\":[ 1 , { } ]}]"},
};

/* SPEC: RFC8790 3.2 */
static const struct etch patches[] = {
    {LIGHT,
     "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5850\",\"vb\":false},{\"n\":\"5851\",\"v\":10}]",
     "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5850\",\"vb\":false},{\"n\":\"5851\",\"v\":10},"
     "{\"n\":\"5750\",\"vs\":\"Ceiling light\"}]"},
    {LIGHT,
     "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5850\",\"v\":null},{\"n\":\"5851\",\"v\":null}]",
     "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5750\",\"vs\":\"Ceiling light\"}]"},
    {LIGHT, "[{\"n\":\"new\",\"v\":1},{\"n\":\"none\",\"v\":null}]",
     "[{\"bn\":\"2001:db8::2/3311/0/\",\"n\":\"5850\",\"vb\":true},{\"n\":\"5851\",\"v\":42},"
     "{\"n\":\"5750\",\"vs\":\"Ceiling light\"},{\"bn\":\"\",\"n\":\"new\",\"v\":1}]"},
    {"", "[{\"bn\":\"a\",\"bver\":10,\"v\":1},{\"n\":\"b\",\"v\":2},{\"n\":\"c\",\"v\":null}]",
     "[{\"bver\":10,\"bn\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":2}]"},
    {"[{\"n\":\"a\",\"v\":1}]", "[{\"n\":\"a\",\"v\":null}]", "[]"},
    /* one behind the other: the second finds what the first made */
    {"[]", "[{\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":2},{\"n\":\"a\",\"v\":3}]",
     "[{\"n\":\"a\",\"v\":3},{\"n\":\"b\",\"v\":2}]"},
    {"[]", "[{\"n\":\"a\",\"v\":1},{\"n\":\"a\",\"v\":null}]", "[]"},
    /* another time or unit is another record; without them it is the one of the name */
    {"[{\"n\":\"a\",\"t\":1,\"v\":1}]", "[{\"n\":\"a\",\"t\":2,\"v\":2}]",
     "[{\"n\":\"a\",\"t\":1,\"v\":1},{\"n\":\"a\",\"t\":2,\"v\":2}]"},
    {"[{\"n\":\"a\",\"t\":1,\"v\":1},{\"n\":\"a\",\"t\":2,\"v\":2}]",
     "[{\"n\":\"a\",\"bt\":1,\"t\":1,\"vs\":\"x\"}]",
     "[{\"n\":\"a\",\"t\":1,\"v\":1},{\"bt\":1,\"n\":\"a\",\"t\":1,\"vs\":\"x\"}]"},
    {"[{\"n\":\"a\",\"u\":\"V\",\"v\":1}]", "[{\"n\":\"a\",\"u\":\"A\",\"v\":2}]",
     "[{\"n\":\"a\",\"u\":\"V\",\"v\":1},{\"n\":\"a\",\"u\":\"A\",\"v\":2}]"},
    {"[{\"n\":\"a\",\"u\":\"V\",\"t\":5,\"v\":1}]", "[{\"n\":\"a\",\"v\":2}]",
     "[{\"n\":\"a\",\"v\":2}]"},
    /* base fields of one do not reach the other */
    {"[{\"bn\":\"x:\",\"bt\":100,\"bv\":7,\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":2}]",
     "[{\"n\":\"x:a\",\"v\":3}]",
     "[{\"n\":\"x:a\",\"v\":3},{\"bn\":\"x:\",\"bt\":100,\"bv\":7,\"n\":\"b\",\"v\":2}]"},
    {"[{\"n\":\"a\",\"t\":50,\"v\":1},{\"n\":\"b\",\"v\":2}]",
     "[{\"bn\":\"a\",\"bt\":50,\"bv\":4,\"v\":3}]",
     "[{\"bn\":\"a\",\"bt\":50,\"bv\":4,\"v\":3},{\"bn\":\"\",\"bt\":0,\"bv\":0,\"n\":\"b\",\"v\":"
     "2}]"},
    {"[{\"bu\":\"A\",\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":2}]", "[{\"n\":\"c\",\"v\":3}]",
     "[{\"u\":\"A\",\"n\":\"a\",\"v\":1},{\"u\":\"A\",\"n\":\"b\",\"v\":2},{\"n\":\"c\",\"v\":3}]"},
    {"[{\"bu\":\"A\",\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":2}]",
     "[{\"n\":\"a\",\"u\":\"V\",\"v\":3}]",
     "[{\"bu\":\"A\",\"n\":\"a\",\"v\":1},{\"n\":\"b\",\"v\":2},{\"n\":\"a\",\"u\":\"V\",\"v\":3}"
     "]"},
    {"[{\"bver\":5,\"n\":\"a\",\"v\":1}]", "[{\"bver\":10,\"n\":\"a\",\"v\":2}]",
     "[{\"bver\":5,\"n\":\"a\",\"v\":2}]"},
    /* all fields are added, also those that a pack would have to understand. SPEC: RFC8790 5 */
    {"[]", "[{\"n\":\"a\",\"v\":1.10,\"ut\":5,\"s\":2,\"x\":{}}]",
     "[{\"n\":\"a\",\"v\":1.10,\"ut\":5,\"s\":2,\"x\":{}}]"},
};

static enum err apply(enum senml_form form, enum senml_kind kind, struct slice target,
                      struct slice etch, struct buf *ret)
{
    return kind == SENML_FETCH ? senml_fetch(form, target, etch, ret)
                               : senml_patch(form, target, etch, ret);
}

static void run_in(enum senml_form form, enum senml_kind kind, struct slice target,
                   struct slice etch, struct slice result)
{
    AUTO(buf_done) struct buf out = {0};
    AUTO(buf_done) struct buf again = {0};
    const char *why;
    assert_true(target.n == 0 || senml_check(form, target, SENML_PACK, &why) == OK);
    assert_int_equal(senml_check(form, etch, kind, &why), OK);
    assert_int_equal(apply(form, kind, target, etch, &out), OK);
    if (form == SENML_JSON) {
        print_message("  %.*s\n", SLICE_ARG(buf_slice(&out)));
    }
    assert_true(slice_equal(buf_slice(&out), result));
    assert_int_equal(senml_check(form, result, SENML_PACK, &why), OK);
    /* once more is no more */
    assert_int_equal(apply(form, kind, buf_slice(&out), etch, &again), OK);
    assert_true(slice_equal(buf_slice(&out), buf_slice(&again)));
}

static void run(const struct etch *c, enum senml_kind kind)
{
    uint8_t bytes[3][1024];
    struct slice target = slice_text(c->target), etch = slice_text(c->etch);
    struct slice result = slice_text(c->result);
    print_message("%s\n", c->etch);
    run_in(SENML_JSON, kind, target, etch, result);
    run_in(SENML_CBOR, kind, in_cbor(target, bytes[0], sizeof(bytes[0])),
           in_cbor(etch, bytes[1], sizeof(bytes[1])), in_cbor(result, bytes[2], sizeof(bytes[2])));
}

static void fetching(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(fetches); i++) {
        run(&fetches[i], SENML_FETCH);
    }
}

static void patching(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(patches); i++) {
        run(&patches[i], SENML_PATCH);
    }
}

/* Nothing is done by half. SPEC: RFC8790 3.2 */
static void conflicts(void **state)
{
    (void)state;
    static const struct {
        const char *target, *patch;
        enum err err;
    } cases[] = {
        {"[{\"n\":\"a\",\"t\":1,\"v\":1},{\"n\":\"a\",\"t\":2,\"v\":2}]",
         "[{\"n\":\"b\",\"v\":1},{\"n\":\"a\",\"v\":3}]", ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"t\":1,\"v\":1},{\"n\":\"a\",\"t\":2,\"v\":2}]",
         "[{\"n\":\"a\",\"v\":null}]", ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"bs\":1,\"v\":1}]", "[{\"n\":\"b\",\"v\":1}]", ERR_UNSUPPORTED},
        {"[{\"n\":\"a\",\"bct\":\"60\",\"v\":1}]", "[{\"n\":\"b\",\"v\":1}]", ERR_UNSUPPORTED},
        {"[{\"n\":\"a\",\"b1\":1,\"b2\":1,\"b3\":1,\"b4\":1,\"v\":1}]",
         "[{\"n\":\"b\",\"b5\":1,\"v\":1}]", ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out = {0};
        assert_int_equal(check(cases[i].target, SENML_PACK), OK);
        assert_int_equal(check(cases[i].patch, SENML_PATCH), OK);
        struct slice target = slice_text(cases[i].target), patch = slice_text(cases[i].patch);
        assert_int_equal(senml_patch(SENML_JSON, target, patch, &out), cases[i].err);
        assert_int_equal(out.n, 0);
        uint8_t bytes[2][512];
        target = in_cbor(target, bytes[0], sizeof(bytes[0]));
        patch = in_cbor(patch, bytes[1], sizeof(bytes[1]));
        assert_int_equal(senml_patch(SENML_CBOR, target, patch, &out), cases[i].err);
        assert_int_equal(out.n, 0);
        buf_done(&out);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *pack;
        enum err pack_err, fetch_err, patch_err;
    } cases[] = {
        {"", ERR_MALFORMED, ERR_MALFORMED, ERR_MALFORMED},
        {"{}", ERR_MALFORMED, ERR_MALFORMED, ERR_MALFORMED},
        {"[1]", ERR_MALFORMED, ERR_MALFORMED, ERR_MALFORMED},
        {"[[]]", ERR_MALFORMED, ERR_MALFORMED, ERR_MALFORMED},
        {"[{\"n\":\"a\"", ERR_MALFORMED, ERR_MALFORMED, ERR_MALFORMED},
        {"[\"\xff\"]", ERR_UTF8, ERR_UTF8, ERR_UTF8},
        {"[]", OK, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{}]", OK, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"bn\":\"a\"}]", OK, OK, ERR_PROTOCOL},
        {"[{\"n\":\"a\"}]", ERR_PROTOCOL, OK, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"v\":1}]", OK, ERR_PROTOCOL, OK},
        {"[{\"n\":\"a\",\"s\":1}]", OK, ERR_PROTOCOL, OK},
        {"[{\"n\":\"a\",\"v\":null}]", ERR_PROTOCOL, ERR_PROTOCOL, OK},
        {"[{\"n\":\"a\",\"vs\":null}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"t\":null}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"v\":1,\"vb\":true}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"v\":\"1\"}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":1}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"vb\":0}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"v\":1,\"bver\":11}]", ERR_UNSUPPORTED, ERR_PROTOCOL, ERR_UNSUPPORTED},
        {"[{\"n\":\"a\",\"v\":1,\"bver\":0}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"v\":1,\"bver\":2.5}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"v\":1,\"bver\":5},{\"n\":\"b\",\"v\":1,\"bver\":6}]", ERR_PROTOCOL,
         ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"v\":1,\"x_\":1}]", ERR_UNSUPPORTED, ERR_PROTOCOL, OK},
        {"[{\"n\":\"a\",\"v\":1,\"bx_\":1}]", ERR_UNSUPPORTED, ERR_PROTOCOL, OK},
        {"[{\"bver\":10,\"n\":\"a\"}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"bn\":\"a\",\"t\":1},{\"t\":2}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"\",\"v\":1}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"/a\",\"v\":1}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a b\"}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\\u0000\"}]", ERR_PROTOCOL, ERR_PROTOCOL, ERR_PROTOCOL},
        {"[{\"n\":\"a\",\"\\u006e\":\"b\",\"v\":1}]", ERR_EXISTS, ERR_EXISTS, ERR_EXISTS},
        {"[{\"n\":\"a\",\"v\":1e999}]", ERR_LIMIT, ERR_PROTOCOL, ERR_LIMIT},
        {"[{\"n\":\"a\",\"bt\":1e308,\"t\":1e308}]", ERR_PROTOCOL, ERR_LIMIT, ERR_PROTOCOL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        print_message("%s\n", cases[i].pack);
        assert_int_equal(check(cases[i].pack, SENML_PACK), cases[i].pack_err);
        assert_int_equal(check(cases[i].pack, SENML_FETCH), cases[i].fetch_err);
        assert_int_equal(check(cases[i].pack, SENML_PATCH), cases[i].patch_err);
        struct slice whole = slice_text(cases[i].pack);
        for (size_t n = 0; n < whole.n; n++) {
            const char *why;
            (void)!senml_check(SENML_JSON, slice_head(whole, n), SENML_PACK, &why);
        }
        bool has_nul = strstr(cases[i].pack, "\\u0000") != NULL; /* no text in CBOR */
        if (!has_nul && json_check(whole) == OK) {
            assert_int_equal(check_cbor(cases[i].pack, SENML_PACK), cases[i].pack_err);
            assert_int_equal(check_cbor(cases[i].pack, SENML_FETCH), cases[i].fetch_err);
            assert_int_equal(check_cbor(cases[i].pack, SENML_PATCH), cases[i].patch_err);
        }
    }
}

/* ---- limits: at, and over ---- */

static char text[4 * SENML_PACK_BYTES_MAX];

static enum err check_many(const char *each, size_t n, enum senml_kind kind)
{
    size_t at = 0;
    text[at++] = '[';
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i > 0 ? "," : "", each);
    }
    (void)snprintf(text + at, sizeof(text) - at, "]");
    return check(text, kind);
}

/* head, n letters, and what closes the pack. */
static enum err check_filled(const char *head, size_t n, const char *tail)
{
    char filler[2 * SENML_NAME_MAX];
    memset(filler, 'x', n);
    filler[n] = '\0';
    (void)snprintf(text, sizeof(text), "%s%s%s", head, filler, tail);
    return check(text, SENML_PACK);
}

static enum err check_fields(size_t n, const char *first, const char *prefix)
{
    size_t at = (size_t)snprintf(text, sizeof(text), "[{%s", first);
    for (size_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, sizeof(text) - at, ",\"%s%zu\":1", prefix, i);
    }
    (void)snprintf(text + at, sizeof(text) - at, "}]");
    return check(text, SENML_PACK);
}

static enum err check_padded(const char *pack, size_t n, enum senml_kind kind)
{
    memset(text, ' ', n);
    slice_copy(text, slice_text(pack));
    text[n] = '\0';
    return check(text, kind);
}

/* What is of CBOR alone. SPEC: RFC8428 6 */
static void written_in_cbor(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        enum err err;
    } cases[] = {
#define BYTES(text) text, sizeof(text) - 1
        {BYTES("\x81\xa2\x00\x61\x61\x02\x01"), OK},
        {BYTES("\x9f\xbf\x00\x61\x61\x02\x01\xff\xff"), OK}, /* a stream */
        {BYTES("\x98\x01\xb8\x02\x18\x00\x78\x01\x61\x02\x19\x00\x01"),
         OK},                                                        /* longer than needed */
        {BYTES("\x81\xa2\x00\x61\x61\x02\xc4\x82\x20\x18\xd5"), OK}, /* 21.3 */
        {BYTES("\x81\xa2\x00\x61\x61\x02\xf9\x3e\x00"), OK},
        {BYTES("\x81\xa2\x00\x61\x61\x08\x42\x00\xff"), OK},
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x20\x0a"), OK},
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x20\x0b"), ERR_UNSUPPORTED},
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x20\xf9\x49\x00"), ERR_PROTOCOL}, /* 10.0 */
        {BYTES("\x81\xa2\x61n\x61\x61\x02\x01"), ERR_PROTOCOL},        /* "n" has a number */
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x09\x01"), ERR_PROTOCOL}, /* 9 is no label */
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x26\x01"), ERR_PROTOCOL},
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x41x\x01"), ERR_PROTOCOL},
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x7f\x61x\xff\x01"), ERR_PROTOCOL}, /* in pieces */
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x18\x00\x61\x62"), ERR_EXISTS},    /* 0 twice */
        {BYTES("\x81\xa3\x00\x61\x61\x02\x01\x38\x01\x60"), OK},
        {BYTES("\x81\xa2\x00\x41\x61\x02\x01"), ERR_PROTOCOL}, /* a name of bytes */
        {BYTES("\x81\xa2\x00\x7f\x61\x61\xff\x02\x01"), ERR_PROTOCOL},
        {BYTES("\x81\xa2\x00\x61\x61\x08\x61\x61"), ERR_PROTOCOL},          /* data of text */
        {BYTES("\x81\xa2\x00\x61\x61\x02\xf9\x7e\x00"), ERR_LIMIT},         /* NaN */
        {BYTES("\x81\xa2\x00\x61\x61\x02\xc2\x41\x01"), ERR_PROTOCOL},      /* a bignum */
        {BYTES("\xd9\xd9\xf7\x81\xa2\x00\x61\x61\x02\x01"), ERR_MALFORMED}, /* a tag in front */
        {BYTES("\x81\xa2\x00\x61\x61\x02"), ERR_MALFORMED},
        {BYTES("\x81\xa2\x00\x61\xff\x02\x01"), ERR_UTF8},
        {BYTES("\x81\xa2\x00\x61\x61\x02\x01\x00"), ERR_MALFORMED},
        {BYTES("\xa0"), ERR_MALFORMED},
#undef BYTES
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *why = NULL;
        struct slice pack = slice_of(cases[i].bytes, cases[i].n);
        print_message("%zu\n", i);
        assert_int_equal(senml_check(SENML_CBOR, pack, SENML_PACK, &why), cases[i].err);
    }
}

/* Numbers stay as they are written, and are compared as what they say, however they are written. */
static void numbers_in_cbor(void **state)
{
    (void)state;
    /* [{"n":"a","t":21.3 as a decimal fraction,"v":1.0 as half},{"n":"b","v":2}] */
    static const char target[] = "\x82\xa3\x00\x61\x61\x06\xc4\x82\x20\x18\xd5\x02\xf9\x3c\x00"
                                 "\xa2\x00\x61\x62\x02\x02";
    uint8_t bytes[64];
    struct slice fetch = in_cbor(slice_text("[{\"n\":\"a\",\"t\":21.3}]"), bytes, sizeof(bytes));
    AUTO(buf_done) struct buf out = {0};
    assert_int_equal(senml_fetch(SENML_CBOR, slice_of(target, sizeof(target) - 1), fetch, &out),
                     OK);
    assert_true(
        slice_equal(buf_slice(&out),
                    slice_of("\x81\xa3\x00\x61\x61\x06\xc4\x82\x20\x18\xd5\x02\xf9\x3c\x00", 15)));
    assert_false(senml_is_empty(SENML_CBOR, buf_slice(&out)));
    assert_true(senml_is_empty(SENML_CBOR, slice_of("\x80", 1)));
    assert_true(senml_is_empty(SENML_JSON, slice_text(" [ ] ")));
}

static void limits(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        enum err over = more == 0 ? OK : ERR_LIMIT;
        enum err large = more == 0 ? OK : ERR_TOO_LARGE;
        assert_int_equal(check_many("{\"n\":\"a\",\"v\":1}", SENML_RECORDS_MAX + more, SENML_PACK),
                         over);
        assert_int_equal(check_many("{\"n\":\"a\"}", SENML_ETCH_RECORDS_MAX + more, SENML_FETCH),
                         over);
        assert_int_equal(
            check_many("{\"n\":\"a\",\"v\":1}", SENML_ETCH_RECORDS_MAX + more, SENML_PATCH), over);
        assert_int_equal(check_filled("[{\"n\":\"", SENML_NAME_MAX + more, "\",\"v\":1}]"), over);
        assert_int_equal(
            check_filled("[{\"bn\":\"urn\",\"n\":\"", SENML_NAME_MAX - 3 + more, "\",\"v\":1}]"),
            over);
        assert_int_equal(
            check_filled("[{\"n\":\"a\",\"v\":1,\"u\":\"", SENML_UNIT_MAX + more, "\"}]"), over);
        assert_int_equal(check_filled("[{\"n\":\"a\",\"v\":1,\"", SENML_LABEL_MAX + more, "\":1}]"),
                         over);
        assert_int_equal(
            check_fields(SENML_FIELDS_MAX - 2 + more, "\"bn\":\"a\",\"n\":\"a\",\"v\":1", "x"),
            over);
        assert_int_equal(check_fields(SENML_MORE_BASES_MAX + more, "\"n\":\"a\",\"v\":1", "bx"),
                         over);
        assert_int_equal(check_padded("[]", SENML_PACK_BYTES_MAX + more, SENML_PACK), large);
        assert_int_equal(check_padded("[{\"n\":\"a\"}]", SENML_ETCH_BYTES_MAX + more, SENML_FETCH),
                         large);
        assert_int_equal(
            check_padded("[{\"n\":\"a\",\"v\":1}]", SENML_ETCH_BYTES_MAX + more, SENML_PATCH),
            large);
    }
    /* the array, the record, and what its field holds */
    assert_int_equal(
        check("[{\"n\":\"a\",\"v\":1,\"x\":[[[[[[[[[[[[[[]]]]]]]]]]]]]]}]", SENML_PACK), OK);
    assert_int_equal(
        check("[{\"n\":\"a\",\"v\":1,\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}]", SENML_PACK),
        ERR_LIMIT);
}

/* What comes out is a pack that can be asked and patched again, or nothing is done. */
static void bounds_of_results(void **state)
{
    (void)state;
    struct slice one = slice_text("[{\"n\":\"b\",\"v\":1}]");
    for (size_t more = 0; more < 2; more++) {
        struct buf out = {0};
        assert_int_equal(
            check_many("{\"n\":\"a\",\"v\":1}", SENML_RECORDS_MAX - 1 + more, SENML_PACK), OK);
        assert_int_equal(senml_patch(SENML_JSON, slice_text(text), one, &out),
                         more == 0 ? OK : ERR_LIMIT);
        buf_done(&out);
    }
    for (size_t more = 0; more < 2; more++) {
        struct buf out = {0};
        const char head[] = "[{\"n\":\"a\",\"vs\":\"", tail[] = "\"}]";
        size_t n = SENML_PACK_BYTES_MAX - one.n + 1 + more;
        memset(text, 'x', n);
        memcpy(text, head, sizeof(head) - 1);
        memcpy(text + n - (sizeof(tail) - 1), tail, sizeof(tail));
        assert_int_equal(check(text, SENML_PACK), OK);
        assert_int_equal(senml_patch(SENML_JSON, slice_text(text), one, &out),
                         more == 0 ? OK : ERR_TOO_LARGE);
        assert_int_equal(out.n, more == 0 ? SENML_PACK_BYTES_MAX : 0);
        buf_done(&out);
    }
}

static void no_memory(void **state)
{
    (void)state;
    struct slice target = slice_text(LIGHT), fetch = slice_text("[{\"n\":\"a\"}]");
    struct slice patch = slice_text("[{\"n\":\"a\",\"v\":1}]");
    for (int is_patch = 0; is_patch < 2; is_patch++) {
        bool has_failed = true;
        for (long k = 0; has_failed; k++) {
            struct buf out = {0};
            (void)mem_fail_after(k);
            enum err err = is_patch != 0 ? senml_patch(SENML_JSON, target, patch, &out)
                                         : senml_fetch(SENML_JSON, target, fetch, &out);
            has_failed = mem_fail_after(-1) != 0;
            assert_int_equal(err, has_failed ? ERR_NOMEM : OK);
            assert_true(has_failed || k >= 2);
            buf_done(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetching),        cmocka_unit_test(patching),
        cmocka_unit_test(conflicts),       cmocka_unit_test(refusals),
        cmocka_unit_test(limits),          cmocka_unit_test(bounds_of_results),
        cmocka_unit_test(no_memory),       cmocka_unit_test(written_in_cbor),
        cmocka_unit_test(numbers_in_cbor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

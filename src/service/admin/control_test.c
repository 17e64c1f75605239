#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "base/mem.h"
#include "service/admin/control.h"

static void test_request(void **state)
{
    (void)state;
    static const struct {
        const char *name, *line;
        enum err err;
    } cases[] = {
        {"verb alone", "{\"verb\":\"status\"}", OK},
        {"with args", "{\"verb\":\"device.add\",\"args\":{\"name\":\"a\"}}", OK},
        {"empty", "", ERR_MALFORMED},
        {"not an object", "[]", ERR_MALFORMED},
        {"text", "\"status\"", ERR_MALFORMED},
        {"no verb", "{\"args\":{}}", ERR_MALFORMED},
        {"verb twice", "{\"verb\":\"a\",\"verb\":\"b\"}", ERR_MALFORMED},
        {"argument twice", "{\"verb\":\"a\",\"args\":{\"x\":1,\"x\":2}}", ERR_MALFORMED},
        {"unknown member", "{\"verb\":\"a\",\"x\":1}", ERR_MALFORMED},
        {"args a list", "{\"verb\":\"a\",\"args\":[]}", ERR_MALFORMED},
        {"verb a number", "{\"verb\":1}", ERR_MALFORMED},
        {"verb empty", "{\"verb\":\"\"}", ERR_MALFORMED},
        {"verb with a blank", "{\"verb\":\"a b\"}", ERR_MALFORMED},
        {"verb with NUL", "{\"verb\":\"a\\u0000\"}", ERR_MALFORMED},
        {"trailing", "{\"verb\":\"a\"} x", ERR_MALFORMED},
        {"bad UTF-8", "{\"verb\":\"a\",\"args\":{\"x\":\"\xff\"}}", ERR_MALFORMED},
        {"verb of 63",
         "{\"verb\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", OK},
        {"verb of 64",
         "{\"verb\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
         ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct control_request r = {0};
        enum err e = control_request_decode(slice_text(cases[i].line), &r);
        if (e != cases[i].err || (e == OK && !json_is_object(r.args))) {
            fail_msg("%s: %s", cases[i].name, err_name(e));
        }
        control_request_done(&r);
    }
}

static void test_deep_nesting(void **state)
{
    (void)state;
    enum { N = 200000 };
    char *text = mem_zalloc(N + 64);
    int at = snprintf(text, 64, "{\"verb\":\"a\",\"args\":{\"x\":");
    memset(text + at, '[', N);
    struct control_request r = {0};
    assert_int_equal(control_request_decode(slice_of(text, (size_t)at + N), &r), ERR_MALFORMED);
    mem_free(text);
}

static void test_round_trip(void **state)
{
    (void)state;
    json_t *args = json_pack("{s:s,s:b,s:i}", "name", "a", "all", 1, "n", 7);
    AUTO(buf_done) struct buf bytes = {0};
    assert_int_equal(control_request_encode("device.show", args, &bytes), OK);
    json_decref(args);
    struct slice in = buf_slice(&bytes), line;
    assert_int_equal(control_cut(&in, &line), OK);
    assert_int_equal(in.n, 0);
    struct control_request r;
    assert_int_equal(control_request_decode(line, &r), OK);
    assert_string_equal(r.verb, "device.show");
    assert_string_equal(control_arg_text(&r, "name"), "a");
    assert_true(control_arg_flag(&r, "all"));
    assert_int_equal(control_arg_number(&r, "n", 1), 7);
    assert_int_equal(control_arg_number(&r, "name", 1), 1);
    assert_null(control_arg_text(&r, "n"));
    control_request_done(&r);
}

static void test_cut(void **state)
{
    (void)state;
    struct slice in = slice_text("one\n\ntwo"), line;
    assert_int_equal(control_cut(&in, &line), OK);
    assert_true(slice_is(line, "one"));
    assert_int_equal(control_cut(&in, &line), OK);
    assert_int_equal(line.n, 0);
    assert_int_equal(control_cut(&in, &line), ERR_AGAIN);
    assert_true(slice_is(in, "two"));
    char *big = mem_zalloc(CONTROL_REQUEST_MAX + 1);
    in = slice_of(big, CONTROL_REQUEST_MAX);
    assert_int_equal(control_cut(&in, &line), ERR_AGAIN);
    in = slice_of(big, CONTROL_REQUEST_MAX + 1);
    assert_int_equal(control_cut(&in, &line), ERR_TOO_LARGE);
    mem_free(big);
}

static enum err say_two(void *ctx, const struct control_request *request, uint64_t token,
                        struct control_reply *reply)
{
    (void)request;
    *(uint64_t *)ctx = token;
    TRY(control_text(reply, "line %d", 1));
    return control_finish(reply, 0, NULL);
}

static enum err fail_handler(void *ctx, const struct control_request *request, uint64_t token,
                             struct control_reply *reply)
{
    (void)ctx;
    (void)request;
    (void)token;
    (void)reply;
    return ERR_IO;
}

static enum err later(void *ctx, const struct control_request *request, uint64_t token,
                      struct control_reply *reply)
{
    (void)ctx;
    (void)request;
    (void)token;
    reply->is_streaming = true;
    return OK;
}

static void test_dispatch(void **state)
{
    (void)state;
    static const struct control_verb table[] = {
        {"two", say_two}, {"fail", fail_handler}, {"later", later}};
    static const struct {
        const char *line, *answers;
    } cases[] = {
        {"{\"verb\":\"two\"}", "{\"text\":\"line 1\"}\n{\"done\":true,\"exit\":0}\n"},
        {"{\"verb\":\"fail\"}", "{\"done\":true,\"exit\":1,\"error\":\"fail failed: io\"}\n"},
        {"{\"verb\":\"later\"}", ""},
        {"{\"verb\":\"none\"}",
         "{\"done\":true,\"exit\":1,\"error\":\"this daemon does not know \\\"none\\\"\"}\n"},
        {"x", "{\"done\":true,\"exit\":1,\"error\":\"the request does not read: malformed\"}\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct control_reply reply = {0};
        uint64_t token = 0;
        assert_int_equal(
            control_dispatch(table, COUNT_OF(table), &token, slice_text(cases[i].line), 42, &reply),
            OK);
        if (!slice_is(buf_slice(&reply.bytes), cases[i].answers)) {
            fail_msg("%s: %.*s", cases[i].line, (int)reply.bytes.n, (const char *)reply.bytes.p);
        }
        assert_int_equal(reply.is_streaming, cases[i].answers[0] == '\0');
        assert_int_equal(token, i == 0 ? 42 : 0);
        control_reply_done(&reply);
    }
}

static void test_answer(void **state)
{
    (void)state;
    struct control_answer a = {0};
    assert_int_equal(
        control_answer_decode(slice_text("{\"done\":true,\"exit\":1,\"error\":\"no\"}"), &a), OK);
    assert_true(a.is_done);
    assert_int_equal(a.exit_code, 1);
    assert_string_equal(a.error, "no");
    control_answer_done(&a);
    assert_int_equal(control_answer_decode(slice_text("{\"text\":\"t\"}"), &a), OK);
    assert_false(a.is_done);
    assert_string_equal(a.text, "t");
    control_answer_done(&a);
    assert_int_equal(control_answer_decode(slice_text("{\"done\":true}"), &a), ERR_MALFORMED);
    assert_int_equal(control_answer_decode(slice_text("{\"done\":true,\"exit\":3}"), &a),
                     ERR_MALFORMED);
    assert_int_equal(control_answer_decode(slice_text("7"), &a), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),    cmocka_unit_test(test_deep_nesting),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_dispatch),   cmocka_unit_test(test_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

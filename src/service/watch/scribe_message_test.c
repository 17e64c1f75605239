#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <string.h>

#include "base/wr.h"
#include "service/watch/scribe_message.h"
#include "service/watch/trail.h"

static void test_messages(void **state)
{
    (void)state;
    uint8_t lines[16], bytes[128];
    struct wr w = wr_into(lines, sizeof lines);
    wr_block16(&w, slice_text("abc\n"));
    wr_block16(&w, slice_text("d\n"));
    const struct scribe_request requests[] = {
        {.type = SCRIBE_HELLO, .run = 1, .first = 7},
        {.type = SCRIBE_APPEND, .run = 1, .first = 2, .n = 2, .lines = wr_slice(&w)},
        {.type = SCRIBE_ANCHOR, .id = 5},
        {.type = SCRIBE_ROLL_KEY, .id = 6},
        {.type = SCRIBE_FLUSH, .id = 7}};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct scribe_request q;
        size_t n;
        assert_int_equal(scribe_request_encode(&requests[i], bytes, sizeof bytes, &n), OK);
        assert_int_equal(scribe_request_decode(slice_of(bytes, n), &q), OK);
        assert_int_equal(q.type, requests[i].type);
        assert_true(q.run == requests[i].run && q.first == requests[i].first);
        assert_int_equal(q.id, requests[i].id);
        assert_true(slice_equal(q.lines, requests[i].lines));
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_equal(scribe_request_decode(slice_of(bytes, cut), &q), ERR_TRUNCATED);
            assert_int_equal(scribe_request_encode(&requests[i], bytes, cut, &n), ERR_SPACE);
        }
        assert_int_equal(scribe_request_encode(&requests[i], bytes, sizeof bytes, &n), OK);
        bytes[n] = 0;
        assert_int_equal(scribe_request_decode(slice_of(bytes, n + 1), &q), ERR_TRAILING);
    }
    const struct scribe_answer answers[] = {
        {.type = SCRIBE_WELCOME, .run = 3, .last = 4},
        {.type = SCRIBE_BEGUN, .run = 3, .last = 4},
        {.type = SCRIBE_ACK, .run = 3, .last = 4, .code = ERR_SPACE},
        {.type = SCRIBE_REFUSED, .run = 3, .last = 4},
        {.type = SCRIBE_DONE, .id = 9, .code = ERR_QUOTA, .text = slice_text("x")}};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct scribe_answer a;
        size_t n;
        assert_int_equal(scribe_answer_encode(&answers[i], bytes, sizeof bytes, &n), OK);
        assert_int_equal(scribe_answer_decode(slice_of(bytes, n), &a), OK);
        assert_true(a.type == answers[i].type && a.run == answers[i].run &&
                    a.last == answers[i].last && a.id == answers[i].id &&
                    a.code == answers[i].code && slice_equal(a.text, answers[i].text));
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_equal(scribe_answer_decode(slice_of(bytes, cut), &a), ERR_TRUNCATED);
        }
        bytes[n] = 0;
        assert_int_equal(scribe_answer_decode(slice_of(bytes, n + 1), &a), ERR_TRAILING);
    }
}

/* n lines of `each` bytes in one message, as they are counted. */
static enum err decode_lines(uint64_t run, uint64_t first, unsigned n, unsigned written,
                             size_t each)
{
    static uint8_t bytes[SCRIBE_DATAGRAM_MAX + 16], line[TRAIL_LINE_MAX + 1];
    struct scribe_request q;
    struct wr w = wr_into(bytes, sizeof bytes);
    wr_u8(&w, SCRIBE_APPEND);
    wr_u64(&w, run);
    wr_u64(&w, first);
    wr_u16(&w, (uint16_t)n);
    for (unsigned i = 0; i < written; i++) {
        wr_block16(&w, slice_of(line, each));
    }
    assert_true(wr_ok(&w));
    return scribe_request_decode(wr_slice(&w), &q);
}

static void test_limits_of_messages(void **state)
{
    (void)state;
    struct scribe_request q;
    static uint8_t large[SCRIBE_DATAGRAM_MAX + 1];
    assert_int_equal(decode_lines(1, 1, SCRIBE_LINES_MAX, SCRIBE_LINES_MAX, 1), OK);
    assert_int_equal(decode_lines(1, 1, SCRIBE_LINES_MAX + 1, SCRIBE_LINES_MAX + 1, 1), ERR_LIMIT);
    assert_int_equal(decode_lines(1, 1, 0, 0, 1), ERR_LIMIT);
    assert_int_equal(decode_lines(1, 1, 1, 1, TRAIL_LINE_MAX), OK);
    assert_int_equal(decode_lines(1, 1, 1, 1, TRAIL_LINE_MAX + 1), ERR_LIMIT);
    assert_int_equal(decode_lines(1, 1, 1, 1, 0), ERR_LIMIT);
    assert_int_equal(decode_lines(1, 1, 2, 1, 1), ERR_TRUNCATED);
    assert_int_equal(decode_lines(1, 1, 1, 2, 1), ERR_TRAILING);
    assert_int_equal(decode_lines(0, 1, 1, 1, 1), ERR_MALFORMED);
    assert_int_equal(decode_lines(1, 0, 1, 1, 1), ERR_MALFORMED);
    assert_int_equal(decode_lines(1, UINT64_MAX / 2, 1, 1, 1), OK);
    assert_int_equal(decode_lines(1, UINT64_MAX / 2 + 1, 1, 1, 1), ERR_MALFORMED);
    assert_int_equal(scribe_request_decode(slice_of(large, sizeof large), &q), ERR_TOO_LARGE);
    assert_int_equal(scribe_request_decode(slice_of(large, 5), &q), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_limits_of_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

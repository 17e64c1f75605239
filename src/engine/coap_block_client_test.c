#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "engine/coap_block_client.h"

enum { BODY_MAX = 4096, NONE = -1 };

static uint8_t pattern[4096];

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i * 11 + i / 256);
    }
    return 0;
}

/* A response with these options; NONE: without it. Valid until the next call. */
static struct coap_message response(uint8_t code, const char *etag, int block2, int block1,
                                    struct slice payload)
{
    static uint8_t bytes[64];
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    struct coap_message m = {.type = COAP_ACK, .code = code, .payload = payload};
    if (etag != NULL) {
        coap_option_add(&o, COAP_OPTION_ETAG, slice_text(etag));
    }
    if (block2 != NONE) {
        coap_option_add_uint(&o, COAP_OPTION_BLOCK2, (uint32_t)block2);
    }
    if (block1 != NONE) {
        coap_option_add_uint(&o, COAP_OPTION_BLOCK1, (uint32_t)block1);
    }
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    return m;
}

static int option_of(const struct coap_request *r, uint16_t number)
{
    uint32_t value;
    return coap_options_find_uint(r->options, number, &value) ? (int)value : NONE;
}

static struct coap_request ask(uint8_t code, struct slice payload)
{
    return (struct coap_request){.confirmable = true,
                                 .code = code,
                                 .options = slice_text("\x60\x51\x61"),
                                 .payload = payload};
}

static void small_both_ways(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_PUT, slice_text("on")), r;
    enum coap_transfer_step step;
    coap_transfer_init(&t, &a, UINT8_MAX, 7, BODY_MAX);
    assert_int_equal(coap_transfer_next(&t, &r), OK);
    assert_true(slice_equal(r.options, a.options) && slice_is(r.payload, "on"));
    struct coap_message m = response(COAP_CHANGED, NULL, NONE, NONE, slice_text("fine"));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    assert_int_equal(step, COAP_TRANSFER_DONE);
    assert_true(t.code == COAP_CHANGED && slice_is(buf_slice(&t.body), "fine"));
}

/* 100 bytes in blocks of 64; the server would rather have 16. */
static void upload(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_POST, slice_of(pattern, 100)), r;
    enum coap_transfer_step step;
    coap_transfer_init(&t, &a, 2, 7, BODY_MAX);
    assert_int_equal(coap_transfer_next(&t, &r), OK);
    assert_int_equal(option_of(&r, COAP_OPTION_BLOCK1), 0x0A);
    assert_int_equal(option_of(&r, COAP_OPTION_SIZE1), 100);
    assert_int_equal(r.payload.n, 64);
    struct slice first_tag, tag;
    assert_true(coap_options_find(r.options, COAP_OPTION_REQUEST_TAG, &first_tag));
    uint8_t kept[8];
    assert_int_equal(first_tag.n, sizeof(kept));
    slice_copy(kept, first_tag);
    struct coap_message m = response(COAP_CONTINUE, NULL, NONE, 0x08, slice_text(""));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    assert_int_equal(step, COAP_TRANSFER_SEND);
    for (int number = 4; number <= 6; number++) {
        assert_int_equal(coap_transfer_next(&t, &r), OK);
        assert_int_equal(option_of(&r, COAP_OPTION_BLOCK1), number << 4 | (number < 6 ? 8 : 0));
        assert_int_equal(option_of(&r, COAP_OPTION_SIZE1), NONE);
        assert_true(
            slice_equal(r.payload, slice_of(pattern + 16 * (size_t)number, number < 6 ? 16 : 4)));
        assert_true(coap_options_find(r.options, COAP_OPTION_REQUEST_TAG, &tag));
        assert_true(slice_equal(tag, slice_of(kept, sizeof(kept))));
        m = response(number < 6 ? COAP_CONTINUE : COAP_CHANGED, NULL, NONE,
                     number << 4 | (number < 6 ? 8 : 0), slice_text(""));
        assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
        assert_int_equal(step, number < 6 ? COAP_TRANSFER_SEND : COAP_TRANSFER_DONE);
    }
    assert_int_equal(t.code, COAP_CHANGED);
}

/* 4.08: once more from the start, under another tag, but not for ever. */
static void upload_is_begun_anew(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_PUT, slice_of(pattern, 40)), r;
    enum coap_transfer_step step = COAP_TRANSFER_SEND;
    uint64_t tags[COAP_TRANSFER_RESTARTS_MAX + 1];
    coap_transfer_init(&t, &a, 0, 7, BODY_MAX);
    for (size_t i = 0; i <= COAP_TRANSFER_RESTARTS_MAX; i++) {
        struct slice tag;
        assert_int_equal(step, COAP_TRANSFER_SEND);
        assert_int_equal(coap_transfer_next(&t, &r), OK);
        assert_int_equal(option_of(&r, COAP_OPTION_BLOCK1), 0x08);
        assert_true(coap_options_find(r.options, COAP_OPTION_REQUEST_TAG, &tag));
        memcpy(&tags[i], tag.p, sizeof(tags[i]));
        for (size_t j = 0; j < i; j++) {
            assert_true(tags[i] != tags[j]);
        }
        struct coap_message m = response(COAP_CONTINUE, NULL, NONE, 0x08, slice_text(""));
        assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
        assert_int_equal(coap_transfer_next(&t, &r), OK);
        m = response(COAP_REQUEST_INCOMPLETE, NULL, NONE, 0x18, slice_text("gone"));
        assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    }
    assert_int_equal(step, COAP_TRANSFER_DONE);
    assert_int_equal(t.code, COAP_REQUEST_INCOMPLETE);
}

static void upload_that_is_too_large(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_PUT, slice_of(pattern, 1000)), r;
    enum coap_transfer_step step;
    coap_transfer_init(&t, &a, UINT8_MAX, 7, BODY_MAX);
    assert_int_equal(coap_transfer_next(&t, &r), OK);
    assert_int_equal(option_of(&r, COAP_OPTION_BLOCK1), NONE);
    struct coap_message m = response(COAP_REQUEST_TOO_LARGE, NULL, NONE, 0x04, slice_text(""));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    assert_int_equal(step, COAP_TRANSFER_SEND); /* a hint to use blocks of 256 */
    assert_int_equal(coap_transfer_next(&t, &r), OK);
    assert_int_equal(option_of(&r, COAP_OPTION_BLOCK1), 0x0C);
    m = response(COAP_REQUEST_TOO_LARGE, NULL, NONE, 0x0C, slice_text("no"));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    assert_int_equal(step, COAP_TRANSFER_DONE);
    assert_true(t.code == COAP_REQUEST_TOO_LARGE && slice_is(buf_slice(&t.body), "no"));
}

static void download(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_GET, (struct slice){0}), r;
    enum coap_transfer_step step;
    coap_transfer_init(&t, &a, UINT8_MAX, 7, BODY_MAX);
    assert_int_equal(coap_transfer_next(&t, &r), OK);
    assert_int_equal(option_of(&r, COAP_OPTION_OBSERVE), 0);
    for (int number = 0; number <= 2; number++) {
        struct coap_message m =
            response(COAP_CONTENT, "v1", number << 4 | (number < 2 ? 8 : 0), NONE,
                     slice_of(pattern + 16 * (size_t)number, number < 2 ? 16 : 3));
        assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
        assert_int_equal(step, number < 2 ? COAP_TRANSFER_SEND : COAP_TRANSFER_DONE);
        if (number < 2) {
            assert_int_equal(coap_transfer_next(&t, &r), OK);
            assert_int_equal(option_of(&r, COAP_OPTION_BLOCK2), (number + 1) << 4);
            assert_int_equal(option_of(&r, COAP_OPTION_OBSERVE), NONE);
        }
    }
    assert_true(slice_equal(buf_slice(&t.body), slice_of(pattern, 35)));
}

/* What FETCH asks with says which answer it is: it goes with each block, unless it went in blocks.
 */
static void download_of_a_fetch(void **state)
{
    (void)state;
    for (size_t n = 16; n <= 17; n++) {
        AUTO(coap_transfer_done) struct coap_transfer t;
        struct coap_request a = ask(COAP_FETCH, slice_of(pattern, n)), r;
        enum coap_transfer_step step;
        coap_transfer_init(&t, &a, 0, 7, BODY_MAX);
        if (n > 16) { /* the second of two blocks is answered */
            struct coap_message m = response(COAP_CONTINUE, NULL, NONE, 0x08, (struct slice){0});
            assert_int_equal(coap_transfer_next(&t, &r), OK);
            assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
        }
        assert_int_equal(coap_transfer_next(&t, &r), OK);
        struct coap_message m =
            response(COAP_CONTENT, "v1", 0x08, n > 16 ? 0x10 : NONE, slice_of(pattern, 16));
        assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
        assert_int_equal(coap_transfer_next(&t, &r), OK);
        assert_int_equal(option_of(&r, COAP_OPTION_BLOCK2), 1 << 4);
        assert_int_equal(r.payload.n, n > 16 ? 0 : n);
    }
}

static void download_asks_for_a_size(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_GET, (struct slice){0}), r;
    coap_transfer_init(&t, &a, 3, 7, BODY_MAX);
    assert_int_equal(coap_transfer_next(&t, &r), OK);
    assert_int_equal(option_of(&r, COAP_OPTION_BLOCK2), 3);
}

/* The value changes between two blocks: what was fetched is thrown away, the new one is fetched. */
static void download_of_two_versions(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_GET, (struct slice){0}), r;
    enum coap_transfer_step step;
    enum err err = OK;
    int tries = 0;
    coap_transfer_init(&t, &a, UINT8_MAX, 7, BODY_MAX);
    while (err == OK && tries < 100) {
        char etag[2] = {(char)('a' + tries), '\0'}, next[2] = {(char)('b' + tries), '\0'};
        struct coap_message m = response(COAP_CONTENT, etag, 0x08, NONE, slice_of(pattern, 16));
        assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
        assert_int_equal(coap_transfer_next(&t, &r), OK);
        m = response(COAP_CONTENT, next, 0x10, NONE, slice_of(pattern, 3));
        err = coap_transfer_take(&t, &m, &step);
        assert_true(err != OK || step == COAP_TRANSFER_SEND);
        assert_int_equal(t.body.n, 0);
        tries++;
    }
    assert_int_equal(err, ERR_AGAIN);
    assert_int_equal(tries, COAP_TRANSFER_RESTARTS_MAX + 1);
}

static void a_notification_interrupts(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_GET, (struct slice){0}), r;
    enum coap_transfer_step step;
    coap_transfer_init(&t, &a, UINT8_MAX, 7, BODY_MAX);
    struct coap_message m = response(COAP_CONTENT, "v1", 0x08, NONE, slice_of(pattern, 16));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    m = response(COAP_CONTENT, "v2", 0x08, NONE, slice_of(pattern + 100, 16));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    assert_int_equal(coap_transfer_next(&t, &r), OK);
    assert_int_equal(option_of(&r, COAP_OPTION_BLOCK2), 0x10);
    m = response(COAP_CONTENT, "v2", 0x10, NONE, slice_of(pattern + 116, 2));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    assert_int_equal(step, COAP_TRANSFER_DONE);
    assert_true(slice_equal(buf_slice(&t.body), slice_of(pattern + 100, 18)));
}

static void answers_that_do_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int first, second; /* Block2 */
        size_t n, n_second;
        enum err err, err_second;
    } cases[] = {
        {"the reserved size", 0x0F, NONE, 16, 0, ERR_MALFORMED, OK},
        {"a first block that is not", 0x18, NONE, 16, 0, ERR_MALFORMED, OK},
        {"short, but more to come", 0x08, NONE, 15, 0, ERR_MALFORMED, OK},
        {"a gap", 0x08, 0x20, 16, 16, OK, ERR_MALFORMED},
        {"the same again", 0x18, 0x18, 16, 16, ERR_MALFORMED, OK},
        {"larger than wanted", 0x0E, 0x1E, 1024, 1024, OK, ERR_TOO_LARGE},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(coap_transfer_done) struct coap_transfer t;
        struct coap_request a = ask(COAP_GET, (struct slice){0});
        enum coap_transfer_step step;
        coap_transfer_init(&t, &a, UINT8_MAX, 7, 2000);
        struct coap_message m =
            response(COAP_CONTENT, "v", cases[i].first, NONE, slice_of(pattern, cases[i].n));
        enum err err = coap_transfer_take(&t, &m, &step);
        if (err == OK) {
            m = response(COAP_CONTENT, "v", cases[i].second, NONE,
                         slice_of(pattern, cases[i].n_second));
            assert_int_equal(coap_transfer_take(&t, &m, &step), cases[i].err_second);
        }
        if (err != cases[i].err) {
            fail_msg("%s: %s", cases[i].name, err_name(err));
        }
    }
}

static void refused_in_the_middle(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_GET, (struct slice){0});
    enum coap_transfer_step step;
    coap_transfer_init(&t, &a, UINT8_MAX, 7, BODY_MAX);
    struct coap_message m = response(COAP_CONTENT, "v1", 0x08, NONE, slice_of(pattern, 16));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    m = response(COAP_NOT_FOUND, NULL, NONE, NONE, slice_text("gone"));
    assert_int_equal(coap_transfer_take(&t, &m, &step), OK);
    assert_int_equal(step, COAP_TRANSFER_DONE);
    assert_true(t.code == COAP_NOT_FOUND && slice_is(buf_slice(&t.body), "gone"));
}

static void no_memory(void **state)
{
    (void)state;
    AUTO(coap_transfer_done) struct coap_transfer t;
    struct coap_request a = ask(COAP_GET, (struct slice){0});
    enum coap_transfer_step step;
    coap_transfer_init(&t, &a, UINT8_MAX, 7, BODY_MAX);
    struct coap_message m = response(COAP_CONTENT, NULL, NONE, NONE, slice_text("x"));
    mem_fail_after(0);
    assert_int_equal(coap_transfer_take(&t, &m, &step), ERR_NOMEM);
    mem_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_both_ways),
        cmocka_unit_test(upload),
        cmocka_unit_test(upload_is_begun_anew),
        cmocka_unit_test(upload_that_is_too_large),
        cmocka_unit_test(download),
        cmocka_unit_test(download_of_a_fetch),
        cmocka_unit_test(download_asks_for_a_size),
        cmocka_unit_test(download_of_two_versions),
        cmocka_unit_test(a_notification_interrupts),
        cmocka_unit_test(answers_that_do_not_fit),
        cmocka_unit_test(refused_in_the_middle),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}

/* Bodies read back by id: wherever the cleaner moved them, and when the disk does not give them. */
#include "base/mem.h"
#include "store/log_private.h"
#include "store/log_story_test.h"

enum { BODIES = 40, FIRST = 1000 };

static enum err body(struct story *s, uint64_t id, struct buf *scratch, struct journal_body *ret)
{
    return log_body(s->log, id, scratch, ret);
}

static void assert_body(struct story *s, uint64_t id)
{
    struct buf scratch = {0};
    struct journal_body b;
    assert_int_equal(body(s, id, &scratch, &b), OK);
    assert_int_equal(b.id, id);
    assert_true(slice_is(b.m.topic, "story"));
    assert_int_equal(b.m.payload.n, STORY_PAYLOAD + 3);
    for (size_t i = 0; i < b.m.payload.n; i++) {
        assert_int_equal(b.m.payload.p[i], (uint8_t)id);
    }
    buf_done(&scratch);
}

static enum err body_error(struct story *s, uint64_t id)
{
    struct buf scratch = {0};
    struct journal_body b;
    enum err err = body(s, id, &scratch, &b);
    buf_done(&scratch);
    return err;
}

/* Messages that wait for ever, behind which the story goes on. */
static void keep_waiting(struct story *s)
{
    struct story_pen p = {.w = log_writer(s->log, 1)};
    story_session(&p);
    for (uint64_t v = FIRST; v < FIRST + BODIES; v++) {
        story_message(&p, v);
        assert_int_equal(p.err, OK);
        journal_handover(p.w, true);
        assert_int_equal(story_turn(s), OK);
    }
}

static size_t open_files(const struct story *s)
{
    size_t n = 0;
    for (size_t i = 0; i < TEST_DISK_FILES; i++) {
        n += s->disk.files[i] != NULL && s->disk.files[i]->n_open > 0 ? 1 : 0;
    }
    return n;
}

static void begin(struct story *s)
{
    story_init(s, 64 * 1024 * 1024, 1);
    assert_int_equal(story_open(s), OK);
    keep_waiting(s);
}

static void follows_the_cleaner(void **state)
{
    (void)state;
    static struct story s;
    struct log_status status;
    begin(&s);
    for (unsigned i = 0; i < 600; i++) { /* the story leaves garbage: the cleaner goes round */
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
        s.now_ms += 10;
        assert_body(&s, FIRST + i % BODIES);
        assert_body(&s, i + 1); /* the newest, in the segment that is being written */
    }
    log_status(s.log, &status);
    assert_true(status.cleaned_bytes > (uint64_t)BODIES * STORY_PAYLOAD);
    assert_int_equal(status.damaged, 0);
    for (uint64_t v = FIRST; v < FIRST + BODIES; v++) {
        assert_body(&s, v);
    }
    story_done(&s);
}

static void says_what_it_has_not(void **state)
{
    (void)state;
    static struct story s;
    begin(&s);
    assert_int_equal(body_error(&s, 1), ERR_NOT_FOUND);
    assert_int_equal(story_step(&s), OK);
    assert_int_equal(body_error(&s, 1), ERR_NOT_FOUND); /* handed over, and nothing more */
    assert_int_equal(story_turn(&s), OK);
    assert_body(&s, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(story_step(&s), OK);
        assert_int_equal(story_turn(&s), OK);
    }
    assert_int_equal(body_error(&s, 1), ERR_NOT_FOUND); /* acknowledged */
    assert_int_equal(body_error(&s, 0), ERR_NOT_FOUND);
    assert_int_equal(body_error(&s, UINT64_MAX), ERR_NOT_FOUND);
    assert_int_equal(s.n_events[EVENT_store_integrity], 0);
    story_done(&s);
}

/* However many segments there are: one of them stays open, beside those that are written. */
static void opens_one_file_at_a_time(void **state)
{
    (void)state;
    static struct story s;
    story_init(&s, 64 * 1024 * 1024, 1);
    s.keep_bytes = 32 * 1024 * 1024;
    assert_int_equal(story_open(&s), OK);
    keep_waiting(&s);
    size_t most = open_files(&s) + 1;
    struct log_status status;
    log_status(s.log, &status);
    assert_true(status.segments > 4);
    for (unsigned i = 0; i < 100; i++) {
        assert_body(&s, FIRST + i * 7 % BODIES);
        assert_true(open_files(&s) <= most);
    }
    story_done(&s);
}

static void damage_costs_one(void **state)
{
    (void)state;
    static struct story s;
    begin(&s);
    struct place place = index_body(s.log->index, FIRST + 3);
    assert_true(place.segment != 0);
    char name[SEGMENT_NAME_BYTES];
    segment_name(place.segment, name);
    struct test_file *f = test_disk_find(&s.disk, name);
    assert_non_null(f);
    f->now[place.offset + place.bytes / 2] ^= 1;
    assert_int_equal(body_error(&s, FIRST + 3), ERR_CRYPTO);
    assert_int_equal(s.n_events[EVENT_store_integrity], 1);
    assert_non_null(strstr(s.last[EVENT_store_integrity].reason, "lost"));
    assert_body(&s, FIRST + 2);
    assert_body(&s, FIRST + 4);
    f->now[place.offset + place.bytes / 2] ^= 1;
    assert_body(&s, FIRST + 3);
    story_done(&s);
}

static void the_disk_may_not_answer(void **state)
{
    (void)state;
    static struct story s;
    begin(&s);
    s.disk.is_unreadable = true;
    assert_int_equal(body_error(&s, FIRST), ERR_IO);
    s.disk.is_unreadable = false;
    assert_body(&s, FIRST);
    assert_int_equal(s.n_events[EVENT_store_integrity], 0); /* nothing is lost yet */
    story_done(&s);
}

/* What no memory can be had for comes when there is some. */
static void no_memory(void **state)
{
    (void)state;
    static struct story s;
    bool is_done = false;
    for (long n = 0; !is_done; n++) {
        begin(&s);
        s.log = log_free(s.log);
        assert_int_equal(story_open(&s), OK); /* a key schedule to make, a file to open */
        mem_fail_after(n);
        enum err err = body_error(&s, FIRST);
        is_done = mem_fail_after(-1) == 0;
        assert_true(err == OK || (!is_done && err == ERR_NOMEM));
        assert_body(&s, FIRST);
        story_done(&s);
        assert_true(n < 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_cleaner),      cmocka_unit_test(says_what_it_has_not),
        cmocka_unit_test(opens_one_file_at_a_time), cmocka_unit_test(damage_costs_one),
        cmocka_unit_test(the_disk_may_not_answer),  cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

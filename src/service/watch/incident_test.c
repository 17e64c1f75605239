#include <jansson.h>

#include "service/watch/audit.h"
#include "service/watch/incident_tally.h"
#include "service/watch/prove_case_test.h"

static const char *const who[] = {"meter-1", "meter-2", "meter-10"};

struct story {
    struct buf text;
    struct incident_report report;
    unsigned n_wrong;
    char last_wrong[300];
};

static enum err take(void *ctx, struct slice line)
{
    return buf_append(&((struct story *)ctx)->text, line, SIZE_MAX);
}

static void note(struct place *p, struct trail *t, const char *principal, const char *target)
{
    AUTO(buf_done) struct buf line = {0};
    struct event e = event_make(EVENT_acl_deny);
    p->now_ms += 10;
    e.wall_ms = place_wall_ms(p);
    EVENT_TEXT(&e, principal, slice_text(principal));
    EVENT_TEXT(&e, peer, slice_text("192.0.2.7:4711"));
    EVENT_TEXT(&e, target, slice_text(target));
    event_reason(&e, "not granted");
    assert_int_equal(audit_encode(&e, &line), OK);
    assert_int_equal(trail_append(t, buf_slice(&line)), OK);
}

/* Three openings, nine events of each of three devices. */
static void make_events(struct place *p)
{
    p->setup.file_bytes = 6000;
    for (unsigned i = 0; i < 3; i++) {
        struct trail *t = open_trail(p);
        for (unsigned k = 0; k < 9; k++) {
            note(p, t, who[k % 3], k % 2 == 0 ? "plant/a" : "plant/b");
        }
        trail_free(t);
    }
    keep(p);
}

static enum err write_file(struct place *p, const char *device, int64_t since, int64_t until,
                           struct story *s)
{
    struct incident_order o = {.disk = p->setup.disk,
                               .root = p->setup.root,
                               .device = device,
                               .since_ms = since,
                               .until_ms = until,
                               .made_ms = until,
                               .ctx = s,
                               .write = take};
    buf_clear(&s->text);
    return incident_write(&o, &s->report);
}

static void on_wrong(void *ctx, const char *text)
{
    struct story *s = ctx;
    s->n_wrong++;
    (void)snprintf(s->last_wrong, sizeof s->last_wrong, "%s", text);
}

/* What a stranger with the file finds. */
static enum err check(struct story *s, const struct anchor *anchors, size_t n, const uint8_t *key,
                      struct incident_report *ret)
{
    AUTO(incident_check_autofree) struct incident_check *c = NULL;
    struct incident_terms terms = {
        .anchors = anchors, .n_anchors = n, .key = key, .ctx = s, .wrong = on_wrong};
    const char *device;
    s->n_wrong = 0;
    TRY(incident_check_new(&terms, &c));
    struct slice rest = buf_slice(&s->text);
    for (bool more = true; more;) {
        struct slice line = slice_cut(&rest, '\n', &more);
        if (more || line.n > 0) {
            TRY(incident_check_line(c, line));
        }
    }
    TRY(incident_check_end(c, ret, &device));
    assert_string_equal(device, "meter-1");
    return OK;
}

static void test_all_of_a_device(void **state)
{
    struct place *p = *state;
    struct story s = {0};
    struct incident_report r = {0};
    struct anchor a;
    make_events(p);
    struct trail *t = open_trail(p);
    assert_int_equal(trail_anchor(t, &a), OK);
    trail_free(t);
    assert_int_equal(write_file(p, "meter-1", 0, INT64_MAX / 2, &s), OK);
    assert_int_equal(check(&s, &a, 1, a.key, &r), OK);
    assert_int_equal(s.n_wrong, 0);
    assert_int_equal(r.events, 9);
    assert_int_equal(r.left_out, 18);
    assert_int_equal(r.first, 1);
    assert_int_equal(r.records, r.last);
    assert_int_equal(r.signed_to, r.last);
    assert_int_equal(r.events, s.report.events);
    /* Nothing of the others is in it. */
    assert_null(memmem(s.text.p, s.text.n, "meter-2", 7));
    assert_null(memmem(s.text.p, s.text.n, "meter-10", 8));
    struct slice sums = slice_text("\"peers\":{\"192.0.2.7\":9},\"targets\":{\"plant/a\":6,"
                                   "\"plant/b\":3}}");
    assert_non_null(memmem(s.text.p, s.text.n, sums.p, sums.n));
    a.head.bytes[0] ^= 1;
    assert_int_equal(check(&s, &a, 1, NULL, &r), OK);
    assert_int_equal(s.n_wrong, 2); /* its head, and its signature */
    assert_int_equal(check(&s, NULL, 0, p->root, &r), OK);
    assert_int_equal(s.n_wrong, 1);
    buf_done(&s.text);
}

static void test_a_span_of_time(void **state)
{
    struct place *p = *state;
    struct story s = {0};
    struct incident_report r = {0};
    make_events(p);
    int64_t begin = 1700000000000 + 1000; /* of the place's clock */
    assert_int_equal(write_file(p, "meter-1", begin + 100, begin + 190, &s), OK);
    assert_int_equal(check(&s, NULL, 0, NULL, &r), OK);
    assert_int_equal(s.n_wrong, 0);
    assert_int_equal(r.events, 3);
    assert_true(r.first > 1 && r.last < p->n);
    assert_true(r.first_ms >= begin + 100 && r.last_ms < begin + 190);
    assert_int_equal(write_file(p, "meter-1", begin + 5000, begin + 6000, &s), ERR_NOT_FOUND);
    assert_int_equal(write_file(p, "meter-1", begin - 900, begin - 800, &s), ERR_NOT_FOUND);
    assert_int_equal(write_file(p, "nobody", 0, INT64_MAX / 2, &s), OK);
    buf_done(&s.text);
}

/* Whatever byte is changed in the file: it does not read, or does not hold; but for the head line's
 * words, and for a letter of another case in a hash. */
static void test_every_byte(void **state)
{
    struct place *p = *state;
    struct story s = {0};
    struct incident_report r = {0};
    make_events(p);
    assert_int_equal(write_file(p, "meter-1", 1700000000000 + 1100, 1700000000000 + 1190, &s), OK);
    size_t first = slice_find(buf_slice(&s.text), '\n') + 1;
    for (size_t i = first; i + 1 < s.text.n; i += 2) {
        uint8_t was = s.text.p[i];
        s.text.p[i] = was == '7' ? '8' : '7';
        enum err err = check(&s, NULL, 0, NULL, &r);
        if (err == OK && s.n_wrong == 0) {
            fail_msg("byte %zu: %.40s", i, (const char *)s.text.p + i);
        }
        s.text.p[i] = was;
    }
    for (size_t n = 0; n < s.text.n - 1; n += 3) {
        struct buf whole = s.text;
        s.text.n = n;
        assert_int_not_equal(check(&s, NULL, 0, NULL, &r), OK);
        s.text = whole;
    }
    buf_done(&s.text);
}

/* A line that is taken out, doubled, or changes its place. */
static void test_every_line(void **state)
{
    struct place *p = *state;
    struct story s = {0};
    struct incident_report r = {0};
    make_events(p);
    assert_int_equal(write_file(p, "meter-1", 0, INT64_MAX / 2, &s), OK);
    AUTO(buf_done) struct buf whole = {0};
    assert_int_equal(buf_append(&whole, buf_slice(&s.text), SIZE_MAX), OK);
    size_t n = 0;
    for (size_t i = 0; i < whole.n; i++) {
        n += whole.p[i] == '\n';
    }
    for (size_t gone = 0; gone < n; gone++) {
        struct slice rest = buf_slice(&whole);
        bool more;
        buf_clear(&s.text);
        for (size_t i = 0; i < n; i++) {
            struct slice line = slice_cut(&rest, '\n', &more);
            if (i != gone) {
                assert_int_equal(buf_append(&s.text, slice_of(line.p, line.n + 1), SIZE_MAX), OK);
            }
        }
        assert_true(check(&s, NULL, 0, NULL, &r) != OK || s.n_wrong > 0);
    }
    buf_done(&s.text);
}

/* What was deleted in the trail is seen in the file, too. */
static void test_a_trail_with_a_hole(void **state)
{
    struct place *p = *state;
    struct story s = {0};
    struct incident_report r = {0};
    make_events(p);
    const struct lying *hole = &p->records[p->n / 2];
    memset(file_bytes(&p->disk, hole->file)->p + hole->offset, 0xa5, (size_t)hole->bytes);
    assert_int_equal(write_file(p, "meter-1", 0, INT64_MAX / 2, &s), OK);
    assert_int_equal(s.report.breaks, 1);
    assert_int_equal(check(&s, NULL, 0, NULL, &r), OK);
    assert_int_equal(r.breaks, 1);
    assert_int_equal(s.n_wrong, 1);
    buf_done(&s.text);
}

static void test_who_is_meant(void **state)
{
    static const struct {
        const char *event;
        bool is_about;
    } cases[] = {
        {"{\"principal\":\"meter-1\"}", true},
        {"{\"client_id\":\"meter-1\"}", true},
        {"{\"target\":\"meter-1\"}", true},
        {"{\"target\":\"sensors/meter-1/x\"}", true},
        {"{\"reason\":\"for meter-1.\"}", true},
        {"{\"reason\":\"meter-1\"}", true},
        {"{\"principal\":\"meter-10\"}", false},
        {"{\"reason\":\"meter-1.5 is another\"}", false},
        {"{\"reason\":\"xmeter-1, meter-12\"}", false},
        {"{\"principal\":7}", false},
        {"{}", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *event = json_loads(cases[i].event, 0, NULL);
        print_message("%s\n", cases[i].event);
        assert_int_equal(incident_is_about(event, "meter-1"), cases[i].is_about);
        json_decref(event);
    }
}

static void test_lines_that_are_none(void **state)
{
    static const struct {
        const char *head, *line;
        enum err err;
    } cases[] = {
        {NULL, "", ERR_MALFORMED},
        {NULL, "[]", ERR_MALFORMED},
        {NULL, "{\"device\":\"x\"}", ERR_MALFORMED},
        {NULL, "{\"sallyport_incident\":2}", ERR_UNSUPPORTED},
        {NULL, "{\"sallyport_incident\":1,\"device\":7}", ERR_MALFORMED},
        {"x", "{\"other\":1}", ERR_MALFORMED},
        {"x", "{\"leaves\":[\"00\"]}", ERR_MALFORMED},
        {"x", "{\"from\":0,\"prev\":\"\"}", ERR_MALFORMED},
        {"x", "{\"from\":-1,\"prev\":\"\"}", ERR_MALFORMED},
        {"x", "{\"seq\":1,\"ms\":1,\"salt\":\"\",\"event\":\"{}\"}", ERR_MALFORMED},
        {"x", "{\"unproven\":\"no json\"}", ERR_MALFORMED},
        {"x", "{\"unproven\":\"{\\\"count\\\":0}\"}", ERR_MALFORMED},
    };
    static uint8_t large[INCIDENT_LINE_MAX + 1];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(incident_check_autofree) struct incident_check *c = NULL;
        struct incident_terms terms = {0};
        struct incident_report r;
        const char *device;
        print_message("%s\n", cases[i].line);
        assert_int_equal(incident_check_new(&terms, &c), OK);
        if (cases[i].head != NULL) {
            struct slice head = slice_text("{\"sallyport_incident\":1,\"device\":\"x\"}");
            assert_int_equal(incident_check_line(c, head), OK);
        }
        assert_int_equal(incident_check_line(c, slice_text(cases[i].line)), cases[i].err);
        assert_int_equal(incident_check_line(c, slice_of(large, sizeof large)), ERR_TOO_LARGE);
        assert_int_equal(incident_check_end(c, &r, &device), ERR_TRUNCATED);
    }
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_all_of_a_device),
        CASE(test_a_span_of_time),
        CASE(test_every_byte),
        CASE(test_every_line),
        CASE(test_a_trail_with_a_hole),
        cmocka_unit_test(test_who_is_meant),
        cmocka_unit_test(test_lines_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

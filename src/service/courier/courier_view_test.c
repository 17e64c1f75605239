#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "base/event.h"
#include "base/scope.h"
#include "service/courier/courier_view.h"

/* ---- messages ---- */

static struct courier_message state_message(void)
{
    return (struct courier_message){
        .type = COURIER_STATE,
        .edition = 3,
        .sink = "siem",
        .numbers =
            {.sent = 10, .taken = 8, .retries = 1, .lost = 2, .lag_records = 2, .lag_ms = 1500},
        .text = "it cannot be reached"};
}

static struct courier_message report_message(enum courier_news news)
{
    return (struct courier_message){
        .type = COURIER_REPORT, .edition = 3, .sink = "siem", .news = news, .n = 7, .text = "why"};
}

static size_t encode(const struct courier_message *m, uint8_t dst[COURIER_MESSAGE_BYTES_MAX])
{
    size_t n;
    assert_int_equal(courier_message_encode(m, dst, COURIER_MESSAGE_BYTES_MAX, &n), OK);
    return n;
}

static void test_round_trip(void **state)
{
    (void)state;
    const struct courier_message sent[] = {
        state_message(), report_message(COURIER_FAILED), report_message(COURIER_AT_EDGE),
        report_message(COURIER_LOST), report_message(COURIER_RECOVERED)};
    for (size_t i = 0; i < COUNT_OF(sent); i++) {
        uint8_t bytes[COURIER_MESSAGE_BYTES_MAX];
        size_t n = encode(&sent[i], bytes), short_n;
        struct courier_message got;
        assert_int_equal(courier_message_decode(slice_of(bytes, n), &got), OK);
        assert_int_equal(got.type, sent[i].type);
        assert_int_equal(got.edition, 3);
        assert_string_equal(got.sink, "siem");
        assert_string_equal(got.text, sent[i].text);
        assert_memory_equal(&got.numbers, &sent[i].numbers, sizeof got.numbers);
        assert_int_equal(got.news, sent[i].news);
        assert_int_equal(got.n, sent[i].n);
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_not_equal(courier_message_decode(slice_of(bytes, cut), &got), OK);
            assert_int_equal(courier_message_encode(&sent[i], bytes, cut, &short_n), ERR_SPACE);
        }
        (void)encode(&sent[i], bytes);
        bytes[n] = 0;
        assert_int_equal(courier_message_decode(slice_of(bytes, n + 1), &got), ERR_TRAILING);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    struct courier_message m = report_message(COURIER_FAILED), got;
    uint8_t bytes[COURIER_MESSAGE_BYTES_MAX];
    size_t n = encode(&m, bytes);
    const size_t news_at = 1 + 4 + 2 + 4, name_at = 1 + 4 + 2;
    const struct {
        size_t at;
        uint8_t value;
    } cases[] = {{0, 0},        {0, 3},        {news_at, COURIER_SILENT},
                 {news_at, 99}, {name_at, 0},  {name_at, '\n'},
                 {n - 1, 0x1b}, {n - 1, 0x7f}, {6, 255}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t kept = bytes[cases[i].at];
        bytes[cases[i].at] = cases[i].value;
        assert_int_not_equal(courier_message_decode(slice_of(bytes, n), &got), OK);
        bytes[cases[i].at] = kept;
    }
    assert_int_equal(courier_message_decode(slice_of(bytes, n), &got), OK);
}

/* Text of strangers may be in it: it goes over as text, and what is longest fits. */
static void test_longest(void **state)
{
    (void)state;
    struct courier_message m = state_message(), got;
    uint8_t bytes[COURIER_MESSAGE_BYTES_MAX];
    memset(m.text, 'a', sizeof m.text - 1);
    m.text[sizeof m.text - 1] = '\0';
    m.text[0] = '\x1b';
    memset(m.sink, 's', sizeof m.sink - 1);
    m.sink[sizeof m.sink - 1] = '\0';
    size_t n = encode(&m, bytes);
    assert_int_equal(courier_message_decode(slice_of(bytes, n), &got), OK);
    assert_int_equal(got.text[0], '?');
    assert_int_equal(strlen(got.text), sizeof got.text - 1);
    /* one byte more than fits */
    const size_t text_at = n - (sizeof m.text - 1) - 2;
    bytes[text_at + 1]++;
    bytes[n] = 'a';
    assert_int_equal(courier_message_decode(slice_of(bytes, n + 1), &got), ERR_MALFORMED);
}

/* ---- the view ---- */

struct watch {
    uint64_t now_ms;
    struct courier_view *view;
    struct courier_message said; /* STATE of the one sink */
};

static uint64_t watch_mono(void *ctx)
{
    const struct watch *w = ctx;
    return w->now_ms;
}

static const struct courier_sink siem = {.name = "siem", .to = "192.0.2.7:6514", .silence_s = 60};

static int set_up(void **state)
{
    static struct watch w;
    const struct clock clock = {.ctx = &w, .mono_ms = watch_mono};
    w = (struct watch){.now_ms = 1000000,
                       .said = {.type = COURIER_STATE, .edition = 1, .sink = "siem"}};
    assert_int_equal(courier_view_new(-1, &clock, &w.view), OK);
    courier_view_set(w.view, &siem, 1);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct watch *w = *state;
    courier_view_free(w->view);
    return 0;
}

static enum err note(struct watch *w, const struct courier_message *m)
{
    uint8_t bytes[COURIER_MESSAGE_BYTES_MAX];
    return courier_view_note(w->view, slice_of(bytes, encode(m, bytes)));
}

/* The courier says so each second, for so long. */
static void pass(struct watch *w, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        w->now_ms += 1000;
        w->said.numbers.lag_ms += w->said.numbers.lag_ms > 0 ? 1000 : 0;
        assert_int_equal(note(w, &w->said), OK);
    }
}

static bool has_news(struct watch *w, enum courier_news news)
{
    struct courier_report r;
    return courier_view_take(w->view, &r) && r.news == news && strcmp(r.sink->name, "siem") == 0;
}

static bool has_none(struct watch *w)
{
    struct courier_report r;
    return !courier_view_take(w->view, &r);
}

static void test_silence(void **state)
{
    struct watch *w = *state;
    w->said.numbers.lag_ms = 1;
    pass(w, 59);
    assert_true(has_none(w));
    pass(w, 2);
    struct courier_report r;
    assert_true(courier_view_take(w->view, &r));
    assert_int_equal(r.news, COURIER_SILENT);
    assert_in_range(r.n, 60, 62);
    assert_string_equal(r.sink->state, "export siem");
    struct event e = courier_event(&r);
    assert_int_equal(e.severity, SEVERITY_ALERT);
    pass(w, 100);
    assert_true(has_none(w)); /* said once */
    w->said.numbers.taken = 5;
    w->said.numbers.lag_ms = 0;
    pass(w, 1);
    assert_true(has_news(w, COURIER_RECOVERED));
    assert_true(has_none(w));
}

/* What it takes slowly it takes: each confirmation begins anew. */
static void test_slow_is_not_silent(void **state)
{
    struct watch *w = *state;
    for (unsigned i = 0; i < 10; i++) {
        w->said.numbers.lag_ms = 1;
        pass(w, 50);
        w->said.numbers.taken++;
    }
    assert_true(has_none(w));
}

/* A courier that ends again and again hides no silence, and loses no number. */
static void test_other_couriers(void **state)
{
    struct watch *w = *state;
    w->said.numbers.taken = 10;
    w->said.numbers.lost = 1;
    pass(w, 1);
    for (uint32_t edition = 2; edition < 9; edition++) {
        w->said.edition = edition;
        w->said.numbers = (struct courier_numbers){.lag_ms = 0};
        pass(w, 1);
        w->said.numbers.lag_ms = 1;
        pass(w, 9);
    }
    assert_true(has_news(w, COURIER_SILENT));
    w->said.numbers = (struct courier_numbers){.taken = 4};
    w->said.edition = 9;
    pass(w, 1);
    assert_true(has_news(w, COURIER_RECOVERED));
    assert_int_equal(courier_view_numbers(w->view, 0).taken, 14);
    assert_int_equal(courier_view_numbers(w->view, 0).lost, 1);
    AUTO(buf_done) struct buf text = {0};
    assert_int_equal(courier_metrics(w->view, &text), OK);
    assert_int_equal(buf_append(&text, slice_of("", 1), SIZE_MAX), OK);
    assert_non_null(strstr((const char *)text.p, "sallyport_sink_taken_total{sink=\"siem\"} 14\n"));
    assert_non_null(
        strstr((const char *)text.p, "sallyport_sink_lag_seconds{sink=\"siem\"} 0.000"));
}

/* When the one before had confirmed all and died before it said so, nothing waits. */
static void test_nothing_waits_after_all(void **state)
{
    struct watch *w = *state;
    w->said.numbers.lag_ms = 1;
    pass(w, 30);
    w->said.edition = 2;
    w->said.numbers = (struct courier_numbers){0};
    pass(w, 100);
    assert_true(has_none(w));
}

static void test_a_courier_that_says_nothing(void **state)
{
    struct watch *w = *state;
    w->now_ms += 59999;
    assert_true(has_none(w));
    w->now_ms += 1;
    assert_true(has_news(w, COURIER_SILENT));
    pass(w, 20);
    assert_true(has_news(w, COURIER_RECOVERED));
}

static void test_what_is_not_believed(void **state)
{
    struct watch *w = *state;
    struct courier_message m = report_message(COURIER_LOST);
    (void)snprintf(m.sink, sizeof m.sink, "other");
    assert_int_equal(note(w, &m), OK);
    assert_true(has_none(w));
    assert_int_not_equal(courier_view_note(w->view, slice_text("\x09")), OK);
    m = report_message(COURIER_LOST);
    for (unsigned i = 0; i < COURIER_VIEW_REPORTS; i++) {
        assert_int_equal(note(w, &m), OK);
        assert_true(has_news(w, COURIER_LOST));
    }
    assert_int_equal(note(w, &m), ERR_LIMIT);
    assert_true(has_none(w));
    w->now_ms += 60 * 1000;
    w->said.numbers.lag_ms = 0;
    pass(w, 1);
    assert_int_equal(note(w, &m), OK);
    assert_true(has_news(w, COURIER_LOST));
}

static void test_other_sinks(void **state)
{
    struct watch *w = *state;
    const struct courier_sink two[] = {{.name = "lake", .silence_s = 60}, siem};
    w->said.numbers.taken = 5;
    pass(w, 1);
    courier_view_set(w->view, two, 2);
    assert_int_equal(courier_view_count(w->view), 2);
    assert_string_equal(courier_view_sink(w->view, 0)->state, "export lake");
    assert_int_equal(courier_view_numbers(w->view, 0).taken, 0);
    assert_int_equal(courier_view_numbers(w->view, 1).taken, 5);
    courier_view_set(w->view, two, 0);
    assert_int_equal(courier_view_count(w->view), 0);
    pass(w, 100);
    assert_true(has_none(w));
}

static void test_channel(void **state)
{
    struct watch *w = *state;
    int pair[2];
    struct courier_view *v = NULL;
    const struct clock clock = {.ctx = w, .mono_ms = watch_mono};
    struct courier_report r;
    uint8_t bytes[COURIER_MESSAGE_BYTES_MAX + 1] = {0};
    struct courier_message m = report_message(COURIER_FAILED);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(courier_view_new(pair[0], &clock, &v), OK);
    courier_view_set(v, &siem, 1);
    courier_view_receive(v);                                               /* nothing is there */
    assert_int_equal(send(pair[1], bytes, sizeof bytes, 0), sizeof bytes); /* too long */
    size_t n = encode(&m, bytes);
    assert_int_equal(send(pair[1], bytes, n, 0), n);
    courier_view_receive(v);
    assert_true(courier_view_take(v, &r) && r.news == COURIER_FAILED && r.n == 7);
    assert_int_equal(courier_view_bad(v), 1);
    assert_int_equal(courier_view_bad(v), 0);
    close(pair[1]);
    courier_view_receive(v);
    courier_view_free(v);
    close(pair[0]);
}

#define VIEW_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_refuses),
                                       cmocka_unit_test(test_longest),
                                       VIEW_TEST(test_silence),
                                       VIEW_TEST(test_slow_is_not_silent),
                                       VIEW_TEST(test_other_couriers),
                                       VIEW_TEST(test_nothing_waits_after_all),
                                       VIEW_TEST(test_a_courier_that_says_nothing),
                                       VIEW_TEST(test_what_is_not_believed),
                                       VIEW_TEST(test_other_sinks),
                                       VIEW_TEST(test_channel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Stories of one connection: bytes in hex, what they bring, what leaves. */
#include "engine/coap_channel_bench_test.h"

#include "base/heap_test.h"
#include "base/mem.h"

enum op {
    END,
    IN,      /* want: how many requests it brings */
    OUT,     /* all that leaves; "" nothing */
    ANSWER,  /* 2.05 with text to the oldest request; want: err */
    REFUSE,  /* 4.04 to it */
    DROP,    /* nothing to it */
    OBSERVE, /* accept its wish; want: err */
    NOTIFY,  /* want: err */
    NOTIFY_END,
    PASS, /* so many milliseconds */
    CLOSE,
    ENDED, /* want: how */
    READS  /* want: does it read on? */
};

struct step {
    enum op op;
    const char *text;
    int want;
};

static void check_out(struct bench *b, const char *text, size_t line)
{
    static uint8_t got[OUT_MAX];
    uint8_t want[512];
    size_t n = 0, more, want_n = hex(text, want);
    while ((more = coap_channel_output(b->c, got + n, OUT_MAX - n)) > 0) {
        n += more;
    }
    if (!b->is_lenient && (n != want_n || memcmp(got, want, n) != 0)) {
        for (size_t i = 0; i < n && i < 200; i++) {
            print_message("%02x", got[i]);
        }
        fail_msg(" came out in step %zu, not %s", line, text);
    }
}

static void check(const struct bench *b, int got, int want, size_t line)
{
    if (!b->is_lenient && got != want) {
        fail_msg("step %zu: %d, not %d", line, got, want);
    }
}

static void do_step(struct bench *b, const struct step *s, size_t line)
{
    uint8_t bytes[512];
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = slice_text(s->text)};
    switch (s->op) {
    case IN:
        check(b, feed(b, slice_of(bytes, hex(s->text, bytes))), s->want, line);
        break;
    case OUT:
        check_out(b, s->text, line);
        break;
    case REFUSE:
        answer.code = COAP_NOT_FOUND;
        check(b, (int)coap_channel_respond(b->c, oldest(b), &answer), s->want, line);
        break;
    case ANSWER:
        check(b, (int)coap_channel_respond(b->c, oldest(b), &answer), s->want, line);
        break;
    case DROP:
        check(b, (int)coap_channel_drop(b->c, oldest(b)), s->want, line);
        break;
    case OBSERVE:
        check(b, (int)coap_channel_observe(b->c, b->asked[0], KEY, b->now_ms), s->want, line);
        break;
    case NOTIFY_END:
        answer.code = COAP_FORBIDDEN;
        check(b, (int)coap_channel_notify(b->c, KEY, &answer), s->want, line);
        break;
    case NOTIFY:
        check(b, (int)coap_channel_notify(b->c, KEY, &answer), s->want, line);
        break;
    case PASS:
        b->now_ms += (uint64_t)s->want;
        assert_true(coap_channel_deadline(b->c) >= b->now_ms - (uint64_t)s->want);
        coap_channel_tick(b->c, b->now_ms);
        break;
    case CLOSE:
        coap_channel_close(b->c, COAP_RELEASE, s->text);
        break;
    case ENDED:
        check(b, (int)coap_channel_ended(b->c), s->want, line);
        break;
    case READS:
        check(b, coap_channel_wants_input(b->c), s->want, line);
        break;
    case END:
        break;
    }
}

static void play(const struct step *steps, enum coap_tcp_form form, bool is_lenient)
{
    struct bench b = {.is_lenient = is_lenient};
    bench_open(&b, form);
    for (size_t i = 0; b.c != NULL && steps[i].op != END; i++) {
        do_step(&b, &steps[i], i);
    }
    coap_channel_free(b.c);
}

/* Once as it is, then with each of its allocations failing. */
static void run(const struct step *steps)
{
    play(steps, COAP_TCP_STREAM, false);
    for (long n = 0; n < 60; n++) {
        size_t before = heap_in_use();
        mem_fail_after(n);
        play(steps, COAP_TCP_STREAM, true);
        mem_fail_after(-1);
        assert_int_equal(heap_in_use(), before);
    }
}

/* ---- CSM. SPEC: RFC8323 3.3, 5.3 ---- */

static void csm_first_on_both_sides(void **state)
{
    (void)state;
    run((const struct step[]){{READS, "", 1},
                              {OUT, "", 0},
                              {IN, CSM, 0},
                              {OUT, OUR_CSM, 0},
                              {IN, "40e122048020", 0}, /* again: fine, and nothing to say */
                              {OUT, "", 0},
                              {IN, "3101aab26d71", 1},
                              {ANSWER, "hi", OK},
                              {OUT, "3145aaff6869", 0},
                              {ENDED, "", COAP_CHANNEL_LIVES},
                              {END, "", 0}});
}

static void an_empty_message_is_nothing(void **state)
{
    (void)state;
    run((const struct step[]){{IN, "0000" /* even before */ CSM "0000010042", 0},
                              {OUT, OUR_CSM, 0},
                              {ENDED, "", COAP_CHANNEL_LIVES},
                              {END, "", 0}});
}

/* Abort with the words "its first message was no CSM". */
#define NO_CSM_ABORT "d010e5ff697473206669727374206d65737361676520776173206e6f2043534d"

static void without_csm_it_is_aborted(void **state)
{
    static const char *const first[] = {"3101aab26d71", "01e242", "00e4", "00e5", "0045"};
    (void)state;
    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
        run((const struct step[]){{IN, first[i], 0},
                                  {READS, "", 0},
                                  {ENDED, "", COAP_CHANNEL_PROTOCOL},
                                  {OUT, OUR_CSM NO_CSM_ABORT, 0},
                                  {END, "", 0}});
    }
}

/* After a good CSM, these bytes end it, by an Abort with these options. */
static void ends(const char *bytes, enum coap_channel_end how, const char *abort)
{
    struct bench b = {0};
    uint8_t in[512], out[512], want[8];
    bench_open(&b, COAP_TCP_STREAM);
    assert_int_equal(feed(&b, slice_of(in, hex(CSM, in))), 0);
    assert_true(coap_channel_output(b.c, out, sizeof(out)) > 0);
    assert_int_equal(feed(&b, slice_of(in, hex(bytes, in))), 0);
    if (coap_channel_ended(b.c) != how) {
        fail_msg("%s: ended %d", bytes, (int)coap_channel_ended(b.c));
    }
    size_t n = coap_channel_output(b.c, out, sizeof(out));
    struct coap_message m;
    assert_int_equal(coap_tcp_decode(slice_of(out, n), COAP_TCP_STREAM, 8, &m), OK);
    assert_int_equal(m.code, COAP_ABORT);
    assert_true(m.payload.n > 0); /* SPEC: RFC8323 5.6: says why */
    assert_true(slice_equal(m.options, slice_of(want, hex(abort, want))));
    assert_false(coap_channel_wants_input(b.c));
    coap_channel_free(b.c);
}

static void options_of_signals(void **state)
{
    (void)state;
    /* SPEC: RFC8323 5.2, 5.6: a critical one that is not known; of a CSM it is named */
    ends("10e130", COAP_CHANNEL_PROTOCOL, "2103");
    ends("10e110", COAP_CHANNEL_PROTOCOL, "2101");
    ends("10e210", COAP_CHANNEL_PROTOCOL, "");
    ends("10e330", COAP_CHANNEL_PROTOCOL, "");
    ends("10e410", COAP_CHANNEL_PROTOCOL, "");
    ends("10e510", COAP_CHANNEL_PROTOCOL, "");
    ends("10e910", COAP_CHANNEL_PROTOCOL, ""); /* of a signal that is not known, too */
    /* a Max-Message-Size that nothing fits in */
    ends("20e1213f", COAP_CHANNEL_PROTOCOL, "2102");
    ends("10e120", COAP_CHANNEL_PROTOCOL, "2102");
    /* elective ones are ignored, and so are signals that are not known */
    run((const struct step[]){{IN, CSM, 0},
                              {OUT, OUR_CSM, 0},
                              {IN,
                               "10e180"
                               "10e980"
                               "00e9"
                               "00e0",
                               0},
                              {IN, "60e1250000000000", 0}, /* five bytes of it: as not known */
                              {OUT, "", 0},
                              {ENDED, "", COAP_CHANNEL_LIVES},
                              {END, "", 0}});
}

/* ---- Ping, Pong. SPEC: RFC8323 5.4 ---- */

static void a_ping_is_answered(void **state)
{
    (void)state;
    run((const struct step[]){{IN, CSM "01e242", 0},
                              {OUT, OUR_CSM "01e342", 0},
                              {IN,
                               "00e2"
                               "10e280",
                               0},
                              {OUT,
                               "00e3"
                               "00e3",
                               0},
                              {IN, "11e24220", 0}, /* with custody, and nothing waits */
                              {OUT, "11e34220", 0},
                              {IN,
                               "3101aab26d71"
                               "01e242",
                               1}, /* without, it overtakes */
                              {OUT, "01e342", 0},
                              {END, "", 0}});
}

static void custody_is_behind_what_was_asked(void **state)
{
    (void)state;
    run((const struct step[]){{IN,
                               CSM "3101aab26d71"
                                   "3101bbb26d71",
                               2},
                              {OUT, OUR_CSM, 0},
                              {IN, "11e24220", 0},
                              {READS, "", 0},
                              {OUT, "", 0},
                              {ANSWER, "", OK},
                              {OUT, "0145aa", 0},
                              {DROP, "", OK},
                              {OUT, "11e34220", 0},
                              {READS, "", 1},
                              {END, "", 0}});
}

static void who_is_silent_is_asked_and_then_gone(void **state)
{
    (void)state;
    run((const struct step[]){{IN, CSM, 0},
                              {OUT, OUR_CSM, 0},
                              {PASS, "", COAP_CHANNEL_PING_MS - 1},
                              {OUT, "", 0},
                              {PASS, "", 1},
                              {OUT, "00e2", 0},
                              {PASS, "", COAP_CHANNEL_PONG_MS - 1},
                              {IN, "00e3", 0}, /* just in time */
                              {PASS, "", COAP_CHANNEL_PING_MS},
                              {OUT, "00e2", 0},
                              {IN, "01", 0}, /* the beginning of something is not enough */
                              {PASS, "", COAP_CHANNEL_PONG_MS - 1},
                              {ENDED, "", COAP_CHANNEL_LIVES},
                              {PASS, "", 1},
                              {ENDED, "", COAP_CHANNEL_SILENT},
                              {OUT, "", 0},
                              {END, "", 0}});
}

/* ---- Release, Abort. SPEC: RFC8323 5.5, 5.6 ---- */

static void a_release_waits_for_the_answers(void **state)
{
    (void)state;
    run((const struct step[]){{IN,
                               CSM "3101aab26d71"
                                   "00e4"
                                   "3101bbb26d71",
                               1},
                              {READS, "", 0},
                              {ENDED, "", COAP_CHANNEL_LIVES},
                              {REFUSE, "", OK},
                              {ENDED, "", COAP_CHANNEL_RELEASED},
                              {OUT, OUR_CSM "0184aa", 0},
                              {END, "", 0}});
    run((const struct step[]){{IN, CSM, 0},
                              {IN, "50e42178ff6279", 0}, /* another address, and words */
                              {ENDED, "", COAP_CHANNEL_RELEASED},
                              {OUT, OUR_CSM, 0},
                              {END, "", 0}});
}

static void an_abort_ends_all(void **state)
{
    (void)state;
    run((const struct step[]){{IN,
                               CSM "3101aab26d71"
                                   "30e5ff6279"
                                   "00e2",
                               1},
                              {ENDED, "", COAP_CHANNEL_ABORTED},
                              {ANSWER, "late", ERR_NOT_FOUND},
                              {NOTIFY, "late", ERR_NOT_FOUND},
                              {OUT, "", 0},
                              {END, "", 0}});
}

static void what_we_say_when_we_go(void **state)
{
    (void)state;
    run((const struct step[]){{IN, CSM, 0},
                              {OUT, OUR_CSM, 0},
                              {CLOSE, "by", 0},
                              {CLOSE, "again", 0},
                              {OUT, "30e4ff6279", 0},
                              {ENDED, "", COAP_CHANNEL_ENDED_HERE},
                              {READS, "", 0},
                              {END, "", 0}});
    run((const struct step[]){{CLOSE, "by", 0}, /* before anything was heard */
                              {OUT, OUR_CSM "30e4ff6279", 0},
                              {END, "", 0}});
}

/* ---- messages ---- */

static void broken_messages_abort(void **state)
{
    (void)state;
    ends("0f01", COAP_CHANNEL_MALFORMED, "");   /* token length 15 */
    ends("1045ff", COAP_CHANNEL_MALFORMED, ""); /* a marker, no payload */
    ends("1001b5", COAP_CHANNEL_MALFORMED, ""); /* an option past the end */
    ends("0020", COAP_CHANNEL_MALFORMED, "");   /* class 1 */
    ends("0d0114"
         "0000000000000000000000000000000000000000000000000000000000000000"
         "00",
         COAP_CHANNEL_MALFORMED, ""); /* a token of 33 bytes. SPEC: RFC8974 2.2.1 */
}

static void requests_that_are_refused_here(void **state)
{
    (void)state;
    run((const struct step[]){{IN, CSM, 0},
                              {OUT, OUR_CSM, 0},
                              {IN, "011faa", 0}, /* method 0.31 */
                              {OUT, "0185aa", 0},
                              {IN, "1101aa90", 0}, /* OSCORE, critical, not here */
                              {OUT, "0182aa", 0},
                              {IN, "3101aad11661", 0}, /* Proxy-Uri */
                              {OUT, "01a5aa", 0},
                              {IN, "0145aa", 0}, /* an answer to nothing */
                              {OUT, "", 0},
                              {IN, "4101aa60e2f50a", 0}, /* No-Response: of all but success */
                              {END, "", 0}});
}

static void who_asks_much_waits(void **state)
{
    (void)state;
    run((const struct step[]){{IN,
                               CSM "0101aa"
                                   "0101bb"
                                   "0101cc"
                                   "0101dd",
                               3},
                              {READS, "", 0},
                              {OUT, OUR_CSM, 0},
                              {ANSWER, "", OK},
                              {READS, "", 1},
                              {PASS, "", 60000}, /* nobody answers the rest */
                              {OUT,
                               "0145aa"
                               "31a3bbd1010a"
                               "31a3ccd1010a",
                               0},
                              {END, "", 0}});
}

/* ---- Observe. SPEC: RFC8323 7 ---- */

static void observing(void **state)
{
    (void)state;
    run((const struct step[]){{IN, CSM "1101aa60", 1},
                              {OBSERVE, "", OK},
                              {ANSWER, "a", OK},
                              {OUT, OUR_CSM "3145aa60ff61", 0},
                              {NOTIFY, "b", OK},
                              {NOTIFY, "c", OK}, /* no order by numbers: the bytes have it */
                              {OUT,
                               "3145aa60ff62"
                               "3145aa60ff63",
                               0},
                              {IN, "2101aa6101", 1}, /* the end of it, by the same token */
                              {ANSWER, "d", OK},
                              {NOTIFY, "e", ERR_NOT_FOUND},
                              {OUT, "2145aaff64", 0},
                              {IN, "0101bb", 1},
                              {OBSERVE, "", ERR_PROTOCOL}, /* it did not ask for that */
                              {END, "", 0}});
}

static void the_end_of_an_observation(void **state)
{
    (void)state;
    run((const struct step[]){{IN, CSM "1101aa60", 1},
                              {OBSERVE, "", OK},
                              {ANSWER, "", OK},
                              {NOTIFY_END, "no", OK},
                              {NOTIFY, "b", ERR_NOT_FOUND},
                              {OUT,
                               OUR_CSM "1145aa60"
                                       "3183aaff6e6f",
                               0},
                              {IN, "1101bb60", 1},
                              {OBSERVE, "", OK},
                              {REFUSE, "", OK}, /* refused after all */
                              {NOTIFY, "b", ERR_NOT_FOUND},
                              {OUT, "0184bb", 0},
                              {IN,
                               "1101aa60"
                               "1101bb60"
                               "1101cc60",
                               3},
                              {OBSERVE, "", OK},
                              {ANSWER, "", OK},
                              {OBSERVE, "", OK},
                              {ANSWER, "", OK},
                              {OBSERVE, "", ERR_LIMIT},
                              {ANSWER, "", OK},
                              {OUT,
                               "1145aa60"
                               "1145bb60"
                               "0145cc",
                               0},
                              {END, "", 0}});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csm_first_on_both_sides),
        cmocka_unit_test(an_empty_message_is_nothing),
        cmocka_unit_test(without_csm_it_is_aborted),
        cmocka_unit_test(options_of_signals),
        cmocka_unit_test(a_ping_is_answered),
        cmocka_unit_test(custody_is_behind_what_was_asked),
        cmocka_unit_test(who_is_silent_is_asked_and_then_gone),
        cmocka_unit_test(a_release_waits_for_the_answers),
        cmocka_unit_test(an_abort_ends_all),
        cmocka_unit_test(what_we_say_when_we_go),
        cmocka_unit_test(broken_messages_abort),
        cmocka_unit_test(requests_that_are_refused_here),
        cmocka_unit_test(who_asks_much_waits),
        cmocka_unit_test(observing),
        cmocka_unit_test(the_end_of_an_observation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

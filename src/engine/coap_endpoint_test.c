#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/coap_echo.h"
#include "engine/coap_scenario.h"

static void piggybacked(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "40010001b161", REQUEST},
        {0, ANSWER, "x", OK},
        {0, OUT, "60450001ff78", 0},
        {0, QUIET, "", 0},
        {0, ANSWER, "x", ERR_NOT_FOUND},
        {1000, IN, "40010001b161", 0}, /* the same again: the same answer, no second event */
        {1000, OUT, "60450001ff78", 0},
        {246900, IN, "40010001b161", 0},
        {246900, OUT, "60450001ff78", 0},
        {247300, IN, "40010001b161", REQUEST},
        {247300, ANSWER, "y", OK},
        {247300, OUT, "60450001ff79", 0},
        {247400, IN, "40010001b161", 0},
        {247400, OUT, "60450001ff79", 0},
        {0, END, NULL, 0},
    };
    run("piggybacked", steps);
}

static void bare_answers_are_remembered(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "42030002abcdb161ff31", REQUEST},
        {0, ANSWER, "", OK},
        {0, OUT, "62440002abcd", 0},
        {900, IN, "42030002abcdb161ff31", 0},
        {900, OUT, "62440002abcd", 0},
        {900, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("bare", steps);
}

static void non_confirmable(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "5101000477b161", REQUEST},
        {0, ANSWER, "x", OK},
        {0, OUT, "5145....77ff78", 0},
        {9, IN, "5101000477b161", 0},
        {9, QUIET, "", 0},
        {145300, IN, "5101000477b161", REQUEST},
        {0, END, NULL, 0},
    };
    run("non", steps);
}

static void separate(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "4101000577b161", REQUEST},
        {499, TICK, "", 0},
        {499, QUIET, "", 0},
        {500, TICK, "", 0},
        {500, OUT, "60000005", 0},
        {600, IN, "4101000577b161", 0}, /* the acknowledgement was lost */
        {600, OUT, "60000005", 0},
        {700, ANSWER, "x", OK},
        {700, OUT, "4145....77ff78", 0},
        {800, IN, "4101000577b161", 0},
        {800, TICK, "", 0},
        {2700, TICK, "", 0}, /* the acknowledgement of the answer was lost */
        {2700, IN, "40000099", 0},
        {2700, OUT, "60000005", 0},
        {2700, OUT, "4145....77ff78", 0},
        {2750, IN, "6000MMMM", 0},
        {2750, OUT, "70000099", 0},
        {90000, TICK, "", 0},
        {90000, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("separate", steps);
}

/* What a stranger may send without becoming an event. */
static void malformed(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "4901000901020304050607", 0},
        {0, OUT, "70000009", 0},
        {0, IN, "5901000901020304050607", 0},
        {0, QUIET, "", 0},
        {0, IN, "6901000901020304050607", 0},
        {0, QUIET, "", 0},
        {0, IN, "7901000901020304050607", 0},
        {0, QUIET, "", 0},
        {0, IN, "40010009ff", 0},
        {0, OUT, "70000009", 0},
        {0, IN, "40010009e0fef2c0", 0},
        {0, OUT, "70000009", 0},
        {0, IN, "4000000a01", 0},
        {0, OUT, "7000000a", 0},
        {0, IN, "40e1000b", 0},
        {0, OUT, "7000000b", 0},
        {0, IN, "80010009", 0},
        {0, QUIET, "", 0},
        {0, IN, "8001", 0},
        {0, QUIET, "", 0},
        {0, IN, "", 0},
        {0, QUIET, "", 0},
        {0, IN, "4000000c", 0},
        {0, OUT, "7000000c", 0}, /* a ping */
        {0, IN, "5000000c", 0},
        {0, QUIET, "", 0},
        {0, IN, "6000000c", 0},
        {0, QUIET, "", 0},
        {0, IN, "7000000c", 0},
        {0, QUIET, "", 0},
        {0, IN, "6001000c", 0},
        {0, QUIET, "", 0},
        {0, IN, "6045000c", 0},
        {0, QUIET, "", 0},
        {0, IN, "7001000c", 0},
        {0, QUIET, "", 0},
        {0, IN, "4001000db161", REQUEST}, /* and none of it hurt */
        {0, ANSWER, "", OK},
        {0, OUT, "6044000d", 0},
        {0, END, NULL, 0},
    };
    run("malformed", steps);
}

static void options(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "40010012d2ff61", 0},
        {0, OUT, "70000012", 0}, /* cut */
        {0, IN, "40010012d00a", 0},
        {0, OUT, "60820012", 0}, /* Block2 */
        {0, IN, "50010012d00a", 0},
        {0, QUIET, "", 0},
        {0, IN, "40010013d11661", 0},
        {0, OUT, "60a50013", 0}, /* Proxy-Uri */
        {0, IN, "40010014d104320132", 0},
        {0, OUT, "60820014", 0}, /* two Accepts */
        {0, IN, "40010015b3616263c0", 0},
        {0, OUT, "60820015", 0}, /* Block2 behind a path */
        {0, END, NULL, 0},
    };
    static const struct step elective[] = {
        {0, IN, "40010015b16103", 0},
        {0, OUT, "70000015", 0},
        {0, IN, "40010016b161d09c", REQUEST}, /* 180, elective and unknown */
        {0, REFUSE, "", OK},
        {0, OUT, "60840016", 0},
        {0, IN, "40080017", 0},
        {0, OUT, "60850017", 0}, /* method 0.08 */
        {0, IN, "501f0018", 0},
        {0, OUT, "5085....", 0},
        {0, IN, "40010019b1ff", 0},
        {0, OUT, "60820019", 0}, /* a path that is not UTF-8 */
        {0, END, NULL, 0},
    };
    run("options", steps);
    run("elective options", elective);
}

static void unanswered(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "40010020b161", REQUEST},
        {500, TICK, "", 0},
        {500, OUT, "60000020", 0},
        {60000, TICK, "", 0},
        {60000, OUT, "40a3....d1010a", 0},
        {60001, ANSWER, "late", ERR_NOT_FOUND},
        {60002, IN, "7000MMMM", COAP_EVENT_RESET},
        {60003, IN, "40010021b161", REQUEST},
        {60004, DROP, "", OK},
        {60004, OUT, "60000021", 0},
        {60005, IN, "40010021b161", 0},
        {60005, OUT, "60000021", 0},
        {60006, IN, "50010022b161", REQUEST},
        {60006, DROP, "", OK},
        {60006, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("unanswered", steps);
}

static void exchange_limit(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.n_exchanges = 2;
    static const struct step steps[] = {
        {0, IN, "40010001b161", REQUEST},
        {0, IN, "40010002b161", REQUEST},
        {0, IN, "40010003b161", 0},
        {0, OUT, "609d0003d1010a", 0}, /* SPEC: RFC8516 3 */
        {0, IN, "50010004b161", 0},
        {0, QUIET, "", 0},
        {0, ANSWER, "", OK},
        {0, OUT, "60440002", 0},
        {0, IN, "40010005b161", REQUEST},
        {0, END, NULL, 0},
    };
    run_with("exchanges", steps, true, &limits);
}

static void dedup_limits(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.dedup_entries = 2;
    limits.dedup_bytes = 6;
    static const struct step steps[] = {
        {0, IN, "40020001b161", REQUEST},
        {0, ANSWER, "a", OK},
        {0, OUT, "60450001ff61", 0},
        {0, IN, "40020001b161", 0},
        {0, OUT, "60450001ff61", 0},
        {0, IN, "40020002b161", REQUEST},
        {0, ANSWER, "b", OK},
        {0, OUT, "60450002ff62", 0},
        /* the first answer had to go, its message id did not: no second run of the handler */
        {0, IN, "40020001b161", 0},
        {0, OUT, "60a30001d1010a", 0},
        {0, IN, "40020002b161", 0},
        {0, OUT, "60450002ff62", 0},
        {0, IN, "40020003b161", 0},
        {0, OUT, "609d0003d1010a", 0},
        {0, IN, "50020004b161", 0},
        {0, QUIET, "", 0},
        {247300, IN, "40020003b161", REQUEST},
        {0, END, NULL, 0},
    };
    run_with("dedup", steps, true, &limits);
}

/* Another request under the id of one that was answered: neither runs nor gets the other's answer.
 * SPEC: RFC7252 4.2, 4.4 */
static void an_id_of_two_requests(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    static const struct step steps[] = {
        {0, IN, "41020001aab161", REQUEST},
        {0, ANSWER, "", OK},
        {0, OUT, "61440001aa", 0},
        {0, IN, "41020001aab161", 0},
        {0, OUT, "61440001aa", 0},
        {0, IN, "41010001abb162", 0},
        {0, OUT, "70000001", 0},
        {0, IN, "51020001abb162", 0}, /* not confirmable */
        {0, QUIET, "", 0},
        {0, IN, "41020001aab161", 0}, /* and the first is what it was */
        {0, OUT, "61440001aa", 0},
        {0, IN, "41020002aab161", REQUEST}, /* an answer with a payload */
        {0, ANSWER, "a", OK},
        {0, OUT, "61450002aaff61", 0},
        {0, IN, "40020002b161", 0},
        {0, OUT, "70000002", 0},
        {0, IN, "41020002aab161", 0},
        {0, OUT, "61450002aaff61", 0},
        {0, END, NULL, 0},
    };
    run_with("an id of two requests", steps, true, &limits);
}

/* Who reads much is not refused for it, and leaves room to remember what must not run twice. */
static void gets_have_half_of_what_is_remembered(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.dedup_entries = 4;
    static const struct step steps[] = {
        {0, IN, "40010001b161", REQUEST},
        {0, ANSWER, "a", OK},
        {0, OUT, "60450001ff61", 0},
        {0, IN, "40010002b161", REQUEST},
        {0, ANSWER, "b", OK},
        {0, OUT, "60450002ff62", 0},
        {0, IN, "40010002b161", 0}, /* remembered */
        {0, OUT, "60450002ff62", 0},
        {0, IN, "40010003b161", REQUEST},
        {0, ANSWER, "c", OK},
        {0, OUT, "60450003ff63", 0},
        {0, IN, "40010003b161", REQUEST}, /* not remembered: asked anew */
        {0, ANSWER, "d", OK},
        {0, OUT, "60450003ff64", 0},
        {0, IN, "40020004b161", REQUEST},
        {0, ANSWER, "e", OK},
        {0, OUT, "60450004ff65", 0},
        {0, IN, "40020005b161", REQUEST},
        {0, ANSWER, "f", OK},
        {0, OUT, "60450005ff66", 0},
        {0, IN, "40020006b161", 0}, /* all of it is taken */
        {0, OUT, "609d0006d1010a", 0},
        {0, IN, "40010007b161", REQUEST},
        {0, ANSWER, "g", OK},
        {0, OUT, "60450007ff67", 0},
        {0, IN, "40020004b161", 0}, /* and a POST never runs twice */
        {0, OUT, "60450004ff65", 0},
        {247300, IN, "40010008b161", REQUEST}, /* all that was expired is forgotten */
        {247300, ANSWER, "h", OK},
        {247300, OUT, "60450008ff68", 0},
        {247300, IN, "40010008b161", 0},
        {247300, OUT, "60450008ff68", 0},
        {0, END, NULL, 0},
    };
    run_with("gets", steps, true, &limits);
}

static void too_large(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    b.limits.datagram_bytes = 16;
    static const struct step steps[] = {
        {0, IN, "40010001b161", REQUEST},
        {0, ANSWER, "123456789012", ERR_TOO_LARGE},
        {0, ANSWER, "12345678901", OK},
        {0, OUT, "60450001ff3132333435363738393031", 0},
        {0, IN, "40030002b161ff0102030405060708090a", 0},
        {0, OUT, "608d0002", 0},
        {0, IN, "40030003b161ff010203040506070809", REQUEST},
        {0, END, NULL, 0},
    };
    run_once(&b, "sizes", steps, true);
}

static void too_large_for_this_peer(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits(), .out_max = 16};
    static const struct step steps[] = {
        {0, IN, "40010001b161ff0102030405060708090a0b0c", REQUEST}, /* what it sends is not bound */
        {0, ANSWER, "123456789012", ERR_TOO_LARGE},
        {0, ANSWER, "12345678901", OK},
        {0, OUT, "60450001ff3132333435363738393031", 0},
        {0, END, NULL, 0},
    };
    run_once(&b, "sizes", steps, true);
}

/* The address has not proven itself: at most three bytes out for one in, no second datagram. */
static void three_times(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    static const struct step steps[] = {
        {0, IN, "40010001b161", REQUEST}, /* 6 bytes: 18 may leave */
        {0, ANSWER, "1234567890123", OK},
        {0, OUT, "60450001ff31323334353637383930313233", 0},
        {0, IN, "40010002b161", REQUEST},
        {0, ANSWER, "12345678901234", OK},
        {0, OUT, "60810002dcef........................", 0},
        {0, QUIET, "", 0},
        {0, IN, "40010003", REQUEST}, /* 4 bytes: not even the challenge fits */
        {0, ANSWER, "123456789012345", OK},
        {0, OUT, "60810003", 0},
        {0, IN, "40010004b161", REQUEST}, /* slow: a challenge, never a separate answer */
        {500, TICK, "", 0},
        {500, OUT, "60810004dcef........................", 0},
        {500, ANSWER, "x", ERR_NOT_FOUND},
        {600, IN, "50010005b161", REQUEST},
        {600, ANSWER, "12345678901234", OK},
        {600, OUT, "5081....dcef........................", 0},
        {700, IN, "41010006aa605161", REQUEST},
        {700, OBSERVE, "", ERR_DENIED},
        {700, ANSWER, "x", OK},
        {700, OUT, "61450006aaff78", 0},
        {0, END, NULL, 0},
    };
    run_with("three times", steps, false, &limits);
}

static size_t request_with_echo(uint8_t *dst, size_t cap, uint16_t mid, struct slice echo)
{
    uint8_t block[64];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add(&o, COAP_OPTION_URI_PATH, slice_text("a"));
    coap_option_add(&o, COAP_OPTION_ECHO, echo);
    struct coap_message m = {.type = COAP_CON, .code = COAP_GET, .mid = mid};
    size_t n = 0;
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, dst, cap, &n), OK);
    return n;
}

static void echo_proves(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    bench_open(&b, false);
    static const struct step steps[] = {{1000, IN, "40010002b161", REQUEST},
                                        {1000, ANSWER, "12345678901234", OK},
                                        {0, END, NULL, 0}};
    for (size_t i = 0; steps[i].op != END; i++) {
        assert_int_equal(run_step(&b, "echo", i, &steps[i]), steps[i].want);
    }
    uint8_t bytes[128];
    struct coap_message m;
    struct slice value;
    size_t n = coap_endpoint_output(b.e, bytes, sizeof(bytes));
    assert_int_equal(coap_message_decode(slice_of(bytes, n), 8, &m), OK);
    assert_int_equal(m.code, COAP_UNAUTHORIZED);
    assert_true(coap_options_find(m.options, COAP_OPTION_ECHO, &value));
    uint8_t echo[COAP_ECHO_BYTES];
    assert_int_equal(value.n, sizeof(echo));
    memcpy(echo, value.p, sizeof(echo));
    assert_int_equal(b.counters.challenged, 1);

    struct coap_event event;
    echo[11] ^= 1;
    n = request_with_echo(bytes, sizeof(bytes), 10, slice_of(echo, sizeof(echo)));
    assert_int_equal(coap_endpoint_datagram(b.e, slice_of(bytes, n), 2000, &event), OK);
    assert_false(coap_endpoint_is_proven(b.e, 2000));
    assert_true(event.echo_age_ms == UINT64_MAX);
    echo[11] ^= 1;
    n = request_with_echo(bytes, sizeof(bytes), 11, slice_of(echo, sizeof(echo)));
    assert_int_equal(coap_endpoint_datagram(b.e, slice_of(bytes, n), 61001, &event), OK);
    assert_false(coap_endpoint_is_proven(b.e, 61001)); /* stale */
    n = request_with_echo(bytes, sizeof(bytes), 12, slice_of(echo, sizeof(echo)));
    assert_int_equal(coap_endpoint_datagram(b.e, slice_of(bytes, n), 3000, &event), OK);
    assert_int_equal(event.kind, COAP_EVENT_REQUEST);
    assert_int_equal(event.echo_age_ms, 2000);
    assert_true(coap_endpoint_is_proven(b.e, 61000));
    assert_false(coap_endpoint_is_proven(b.e, 61001));

    uint8_t big[300] = {0};
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = slice_of(big, sizeof(big))};
    assert_int_equal(coap_endpoint_respond(b.e, event.id, &answer, 3000), OK);
    b.e = coap_endpoint_free(b.e);
}

static void counted(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    static const struct step steps[] = {
        {0, IN, "40010001b161", REQUEST}, {0, ANSWER, "x", OK}, {0, IN, "40010001b161", 0},
        {0, IN, "40010009ff", 0},         {0, END, NULL, 0},
    };
    run_once(&b, "counters", steps, false);
    assert_int_equal(b.counters.bytes_in, 17);
    assert_int_equal(b.counters.unproven_bytes_in, 17);
    assert_int_equal(b.counters.bytes_out, 16);
    assert_int_equal(b.counters.unproven_bytes_out, 16);
    assert_int_equal(b.counters.duplicates, 1);
    assert_int_equal(b.counters.malformed, 1);
}

static void becomes_idle(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    bench_open(&b, true);
    assert_true(coap_endpoint_is_idle(b.e));
    assert_true(coap_endpoint_deadline(b.e) == UINT64_MAX);
    static const struct step steps[] = {
        {0, IN, "40010001b161", REQUEST}, {0, ANSWER, "x", OK}, {0, OUT, "60450001ff78", 0}};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_int_equal(run_step(&b, "idle", i, &steps[i]), steps[i].want);
    }
    assert_false(coap_endpoint_is_idle(b.e));
    uint64_t at_ms = coap_endpoint_deadline(b.e);
    assert_in_range(at_ms, 247000, 247300);
    struct coap_event event;
    assert_int_equal(coap_endpoint_tick(b.e, at_ms, &event), OK);
    assert_true(coap_endpoint_is_idle(b.e));
    assert_true(coap_endpoint_deadline(b.e) == UINT64_MAX);
    b.e = coap_endpoint_free(b.e);
}

/* What is refused before anybody serves it is not said to who does not want to hear it; a CON is
 * acknowledged all the same. No-Response is option 258, behind Uri-Path by 247. SPEC: RFC7967 2.1
 */
static void refusals_that_nobody_wants(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    static const struct step steps[] = {
        {0, IN, "40080001b161", 0}, /* no such method; SPEC: RFC7252 5.8 */
        {0, OUT, "60850001", 0},
        {0, IN, "40080002b161d1ea08", 0}, /* No-Response 8: no 4.xx */
        {0, OUT, "60000002", 0},
        {0, IN, "40080003b161d1ea10", 0}, /* 16: no 5.xx */
        {0, OUT, "60850003", 0},
        {0, IN, "50080004b161d1ea08", 0},
        {0, QUIET, "", 0},
        {0, IN, "50080005b161d1ea02", 0},
        {0, OUT, "5085....", 0},
        {0, IN, "40010006902161", 0}, /* option 9 is critical and not served */
        {0, OUT, "60820006", 0},
        {0, IN, "40010007b161d0ea", REQUEST}, /* empty: everything is wanted */
        {0, REFUSE, NULL, OK},
        {0, OUT, "60840007", 0},
    };
    bench_open(&b, true);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_int_equal(run_step(&b, "unwanted", i, &steps[i]), steps[i].want);
    }
    assert_int_equal(b.counters.bad_method, 5);
    b.e = coap_endpoint_free(b.e);
}

/* Without room nothing is begun and nothing remembered; what was begun goes on. */
static void full(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    static const struct step before[] = {
        {0, IN, "40010001b161", REQUEST},
        {0, ANSWER, "a", OK},
        {0, OUT, "60450001ff61", 0},
        {0, IN, "40010002b161", REQUEST},
    };
    static const struct step while_full[] = {
        {0, IN, "40010003b161", 0},    {0, OUT, "60a30003d1010a", 0}, {0, IN, "40010003b161", 0},
        {0, OUT, "60a30003d1010a", 0}, {0, IN, "50010004b161", 0},    {0, QUIET, "", 0},
        {0, IN, "40010001b161", 0}, /* a known one has its answer */
        {0, OUT, "60450001ff61", 0},   {0, ANSWER, "b", OK},          {0, OUT, "60450002ff62", 0},
    };
    static const struct step after[] = {
        {0, IN, "40010003b161", REQUEST},
        {0, ANSWER, "c", OK},
        {0, OUT, "60450003ff63", 0},
    };
    bench_open(&b, true);
    for (size_t i = 0; i < COUNT_OF(before); i++) {
        assert_int_equal(run_step(&b, "before", i, &before[i]), before[i].want);
    }
    b.limits.is_full = true;
    for (size_t i = 0; i < COUNT_OF(while_full); i++) {
        assert_int_equal(run_step(&b, "full", i, &while_full[i]), while_full[i].want);
    }
    assert_int_equal(b.counters.unserved, 3);
    b.limits.is_full = false;
    for (size_t i = 0; i < COUNT_OF(after); i++) {
        assert_int_equal(run_step(&b, "after", i, &after[i]), after[i].want);
    }
    b.e = coap_endpoint_free(b.e);
}

/* What is critical and not understood is left to who passes it on; each way by its own word. */
static void passes_on(void **state)
{
    (void)state;
    static const uint8_t asked[] = {0x40, 0x01, 0x00, 0x13, 0xd1, 0x16, 'a'}; /* Proxy-Uri */
    static const uint8_t known[] = {0x40, 0x01, 0x00, 0x14, 0xb1, 'a'};
    static const struct step answered[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {0, IN, "6845MMMMTTTTTTTTTTTTTTTT90", COAP_EVENT_RESPONSE}, /* an empty OSCORE option */
    };
    static const struct step rejected[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {0, IN, "6845MMMMTTTTTTTTTTTTTTTT90", COAP_EVENT_RESET},
    };
    struct bench b = {.limits = steady_limits()};
    struct coap_event event;
    b.limits.passes_on = true;
    bench_open(&b, true);
    assert_int_equal(coap_endpoint_datagram(b.e, slice_of(asked, sizeof(asked)), 0, &event), OK);
    assert_int_equal(event.kind, COAP_EVENT_REQUEST);
    assert_int_equal(event.unknown, COAP_OPTION_PROXY_URI);
    assert_int_equal(coap_endpoint_datagram(b.e, slice_of(known, sizeof(known)), 0, &event), OK);
    assert_int_equal(event.unknown, 0);
    assert_int_equal(b.counters.bad_option, 0);
    for (size_t i = 0; i < COUNT_OF(rejected); i++) {
        assert_int_equal(run_step(&b, "rejected", i, &rejected[i]), rejected[i].want);
    }
    b.limits.passes_back = true;
    for (size_t i = 0; i < COUNT_OF(answered); i++) {
        assert_int_equal(run_step(&b, "answered", i, &answered[i]), answered[i].want);
    }
    b.e = coap_endpoint_free(b.e);
}

/* What is remembered of a peer is known in bytes, and answers can be given up: the request is not
 * served again all the same. */
static void shed(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    static const struct step before[] = {
        {0, IN, "40010001b161", REQUEST},
        {0, ANSWER, "abcdefgh", OK},
        {0, OUT, "60450001ff6162636465666768", 0},
    };
    static const struct step after[] = {
        {0, IN, "40010001b161", 0},
        {0, OUT, "60a30001d1010a", 0},
    };
    bench_open(&b, true);
    size_t idle = coap_endpoint_bytes(b.e);
    for (size_t i = 0; i < COUNT_OF(before); i++) {
        assert_int_equal(run_step(&b, "before", i, &before[i]), before[i].want);
    }
    size_t held = coap_endpoint_bytes(b.e);
    assert_true(held > idle + 13);
    assert_int_equal(coap_endpoint_shed(b.e), 1);
    assert_int_equal(coap_endpoint_shed(b.e), 0);
    assert_true(coap_endpoint_bytes(b.e) <= held - 13);
    for (size_t i = 0; i < COUNT_OF(after); i++) {
        assert_int_equal(run_step(&b, "after", i, &after[i]), after[i].want);
    }
    b.e = coap_endpoint_free(b.e);
}

/* Full output queues lose datagrams as a network does; a small buffer leaves them where they are.
 */
static void output_is_bounded(void **state)
{
    (void)state;
    struct bench b = {.limits = steady_limits()};
    b.limits.output_bytes = 12;
    bench_open(&b, true);
    static const struct step ping = {0, IN, "40000001", 0};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(run_step(&b, "output", i, &ping), 0);
    }
    assert_int_equal(b.counters.overflow, 1);
    uint8_t bytes[4];
    assert_int_equal(coap_endpoint_output(b.e, bytes, 3), 0);
    assert_int_equal(coap_endpoint_output(b.e, bytes, 4), 4);
    assert_int_equal(coap_endpoint_output(b.e, bytes, 4), 4);
    assert_int_equal(coap_endpoint_output(b.e, bytes, 4), 0);
    b.e = coap_endpoint_free(b.e);
}

/* One request and its answer, for whichever endpoint it is. */
static void serve_one(struct coap_endpoint *e, uint8_t mid)
{
    const uint8_t request[] = {0x40, 0x01, 0x00, mid};
    const struct coap_answer answer = {.code = COAP_NOT_FOUND};
    struct coap_event ev;
    uint8_t out[64];
    assert_int_equal(coap_endpoint_datagram(e, slice_of(request, sizeof(request)), 0, &ev), OK);
    assert_int_equal(ev.kind, COAP_EVENT_REQUEST);
    assert_int_equal(coap_endpoint_respond(e, ev.id, &answer, 0), OK);
    assert_int_equal(coap_endpoint_output(e, out, sizeof(out)), 4);
    assert_int_equal(out[3], mid);
    assert_int_equal(coap_endpoint_output(e, out, sizeof(out)), 0);
}

/* What one endpoint has given back is enough for the other, and is no endpoint's when it ends. */
static void spares(void **state)
{
    (void)state;
    struct coap_limits limits = coap_limits_default();
    struct coap_counters counters = {0};
    struct coap_spares spares = {.exchange = NULL};
    struct coap_endpoint *two[2] = {NULL, NULL};
    const struct coap_endpoint_setup setup = {
        .limits = &limits, .counters = &counters, .spares = &spares, .proven = true};
    coap_spares_done(&spares); /* none yet */
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(coap_endpoint_new(&setup, 0, &two[i]), OK);
        serve_one(two[i], 1);
        assert_non_null(spares.exchange);
        assert_non_null(spares.out.p);
        assert_int_equal(spares.out.n, 0);
    }
    mem_fail_after(0);
    serve_one(two[0], 2);
    serve_one(two[1], 2);
    assert_int_equal(mem_fail_after(-1), 0);
    coap_endpoint_free(two[0]);
    coap_endpoint_free(two[1]);
    assert_non_null(spares.exchange);
    coap_spares_done(&spares);
    assert_null(spares.exchange);
    assert_null(spares.out.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(piggybacked),
        cmocka_unit_test(bare_answers_are_remembered),
        cmocka_unit_test(non_confirmable),
        cmocka_unit_test(separate),
        cmocka_unit_test(malformed),
        cmocka_unit_test(options),
        cmocka_unit_test(unanswered),
        cmocka_unit_test(exchange_limit),
        cmocka_unit_test(dedup_limits),
        cmocka_unit_test(an_id_of_two_requests),
        cmocka_unit_test(gets_have_half_of_what_is_remembered),
        cmocka_unit_test(too_large),
        cmocka_unit_test(too_large_for_this_peer),
        cmocka_unit_test(three_times),
        cmocka_unit_test(echo_proves),
        cmocka_unit_test(counted),
        cmocka_unit_test(becomes_idle),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(full),
        cmocka_unit_test(passes_on),
        cmocka_unit_test(refusals_that_nobody_wants),
        cmocka_unit_test(shed),
        cmocka_unit_test(spares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

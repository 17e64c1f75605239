#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/coap_echo.h"
#include "engine/coap_endpoint.h"

static const struct siphash_key echo_key = {0x0123456789abcdef, 0xfedcba9876543210};
enum { KEY = 7 };

/* One line of a scenario. In datagrams MMMM stands for the message id, and sixteen T for the token,
 * of the last datagram that came out; in what is expected to come out a dot is any digit. */
enum op {
    END,
    IN,      /* a datagram; want: the kind of event */
    TICK,    /* want: the kind of event */
    OUT,     /* the next datagram that comes out */
    QUIET,   /* no datagram comes out */
    ANSWER,  /* respond to the last exchange: 2.05 with text, or 2.04 when it is empty; want: err */
    REFUSE,  /* respond 4.04 */
    DROP,    /* no answer at all */
    OBSERVE, /* accept the last exchange's wish */
    NOTIFY,  /* 2.05 with text */
    NOTIFY_END, /* 4.04 */
    ASK,        /* a request of ours: CON GET */
    ASK_NON,
    ASK_OBSERVE,
    FORGET /* our last request */
};

struct step {
    uint64_t at_ms;
    enum op op;
    const char *text;
    int want;
};

struct bench {
    struct coap_limits limits;
    struct coap_counters counters;
    struct coap_endpoint *e;
    uint32_t exchange, request;
    uint16_t mid;
    uint8_t token[8];
    bool is_lenient; /* an allocation fails somewhere: nothing may break, results may differ */
};

static void bench_open(struct bench *b, bool proven)
{
    struct coap_endpoint_setup setup = {.limits = &b->limits,
                                        .counters = &b->counters,
                                        .echo_key = &echo_key,
                                        .peer = slice_text("peer"),
                                        .seed = 42,
                                        .proven = proven};
    b->e = NULL;
    enum err err = coap_endpoint_new(&setup, 0, &b->e);
    assert_true(b->is_lenient || err == OK);
}

static size_t bytes_of(const struct bench *b, const char *text, uint8_t *dst)
{
    const char *digits = "0123456789abcdef";
    size_t n = 0, n_mid = 0, n_token = 0;
    for (const char *at = text; at[0] != '\0'; at += 2) {
        if (at[0] == 'M') {
            dst[n++] = (uint8_t)(n_mid++ == 0 ? b->mid >> 8 : b->mid & 0xFF);
        } else if (at[0] == 'T') {
            dst[n++] = b->token[n_token++];
        } else {
            dst[n++] =
                (uint8_t)((strchr(digits, at[0]) - digits) << 4 | (strchr(digits, at[1]) - digits));
        }
    }
    return n;
}

static void expect_out(struct bench *b, const char *name, size_t line, const char *want)
{
    uint8_t bytes[2048];
    char text[4097] = "";
    size_t n = coap_endpoint_output(b->e, bytes, sizeof(bytes));
    for (size_t i = 0; i < n; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    struct coap_message m;
    if (n > 0 && coap_message_decode(slice_of(bytes, n), 8, &m) == OK) {
        b->mid = m.mid;
        memset(b->token, 0, sizeof(b->token));
        if (m.token.n > 0) {
            memcpy(b->token, m.token.p, m.token.n);
        }
    }
    bool is_same = strlen(want) == strlen(text);
    for (size_t i = 0; is_same && want[i] != '\0'; i++) {
        is_same = want[i] == '.' || want[i] == text[i];
    }
    if (!is_same && !b->is_lenient) {
        fail_msg("%s, step %zu: '%s' came out, not '%s'", name, line, text, want);
    }
}

static enum err ask(struct bench *b, bool confirmable, const char *options, uint64_t now_ms)
{
    struct coap_request r = {
        .confirmable = confirmable, .code = COAP_GET, .options = slice_text(options)};
    uint8_t observe[] = {0x60, 0x51, 'a'};
    if (options[0] == '*') {
        r.options = slice_of(observe, sizeof(observe));
    }
    return coap_endpoint_request(b->e, &r, now_ms, &b->request);
}

static int run_step(struct bench *b, const char *name, size_t line, const struct step *s)
{
    struct coap_event event = {.kind = COAP_EVENT_NONE};
    struct coap_answer answer = {.code = COAP_CONTENT, .payload = slice_text(s->text)};
    uint8_t bytes[2048];
    switch (s->op) {
    case IN: {
        size_t n = bytes_of(b, s->text, bytes);
        enum err err = coap_endpoint_datagram(b->e, slice_of(bytes, n), s->at_ms, &event);
        assert_true(b->is_lenient || err == OK);
        break;
    }
    case TICK: {
        enum err err = coap_endpoint_tick(b->e, s->at_ms, &event);
        assert_true(b->is_lenient || err == OK);
        break;
    }
    case OUT:
        expect_out(b, name, line, s->text);
        return s->want;
    case QUIET:
        expect_out(b, name, line, "");
        return s->want;
    case ANSWER:
        answer.code = s->text[0] != '\0' ? COAP_CONTENT : COAP_CHANGED;
        return (int)coap_endpoint_respond(b->e, b->exchange, &answer, s->at_ms);
    case REFUSE:
        answer = (struct coap_answer){.code = COAP_NOT_FOUND};
        return (int)coap_endpoint_respond(b->e, b->exchange, &answer, s->at_ms);
    case DROP:
        return (int)coap_endpoint_drop(b->e, b->exchange, s->at_ms);
    case OBSERVE:
        return (int)coap_endpoint_observe(b->e, b->exchange, KEY, s->at_ms);
    case NOTIFY:
        return (int)coap_endpoint_notify(b->e, KEY, &answer, s->at_ms);
    case NOTIFY_END:
        answer = (struct coap_answer){.code = COAP_NOT_FOUND};
        return (int)coap_endpoint_notify(b->e, KEY, &answer, s->at_ms);
    case ASK:
        return (int)ask(b, true, "\xb1\x61", s->at_ms);
    case ASK_NON:
        return (int)ask(b, false, "\xb1\x61", s->at_ms);
    case ASK_OBSERVE:
        return (int)ask(b, true, "*", s->at_ms);
    case FORGET:
        coap_endpoint_forget(b->e, b->request);
        return s->want;
    case END:
        break;
    }
    if (event.kind == COAP_EVENT_REQUEST) {
        b->exchange = event.id;
    }
    return (int)event.kind;
}

static void run_once(struct bench *b, const char *name, const struct step *steps, bool proven)
{
    bench_open(b, proven);
    for (size_t i = 0; b->e != NULL && steps[i].op != END; i++) {
        int got = run_step(b, name, i, &steps[i]);
        if (got != steps[i].want && !b->is_lenient) {
            fail_msg("%s, step %zu: %d, not %d", name, i, got, steps[i].want);
        }
        (void)coap_endpoint_deadline(b->e);
    }
    b->e = coap_endpoint_free(b->e);
}

/* As written; and again with the allocation failing at every place in turn. */
static void run_with(const char *name, const struct step *steps, bool proven,
                     const struct coap_limits *limits)
{
    struct bench b = {.limits = *limits};
    run_once(&b, name, steps, proven);
    int was_injected = 1;
    for (long n = 0; was_injected; n++) {
        struct bench again = {.limits = *limits, .is_lenient = true};
        mem_fail_after(n);
        run_once(&again, name, steps, proven);
        was_injected = mem_fail_after(-1);
        assert_true(n < 1000);
    }
}

static struct coap_limits steady_limits(void)
{
    struct coap_limits limits = coap_limits_default();
    limits.ack_random_permille = 1000; /* so that times are exact */
    return limits;
}

static void run(const char *name, const struct step *steps)
{
    struct coap_limits limits = steady_limits();
    run_with(name, steps, true, &limits);
}

#define REQUEST COAP_EVENT_REQUEST

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

static void retransmission_schedule(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {1999, TICK, "", 0},
        {1999, QUIET, "", 0},
        {2000, TICK, "", 0},
        {2000, OUT, "4801....................b161", 0},
        {5999, TICK, "", 0},
        {5999, QUIET, "", 0},
        {6000, TICK, "", 0},
        {6000, OUT, "4801....................b161", 0},
        {13999, TICK, "", 0},
        {13999, QUIET, "", 0},
        {14000, TICK, "", 0},
        {14000, OUT, "4801....................b161", 0},
        {29999, TICK, "", 0},
        {29999, QUIET, "", 0},
        {30000, TICK, "", 0},
        {30000, OUT, "4801....................b161", 0},
        {61999, TICK, "", 0},
        {61999, QUIET, "", 0},
        {62000, TICK, "", COAP_EVENT_GIVE_UP},
        {62000, QUIET, "", 0},
        {62000, TICK, "", 0},
        {0, END, NULL, 0},
    };
    run("schedule", steps);
}

static void client_matching(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {1, IN, "68450000TTTTTTTTTTTTTTTTff79", 0}, /* another message id */
        {1, IN, "6845MMMM0102030405060708ff79", 0}, /* another token */
        {1, IN, "6145MMMM01ff79", 0},
        {1, QUIET, "", 0},
        {2, IN, "6845MMMMTTTTTTTTTTTTTTTTff79", COAP_EVENT_RESPONSE},
        {2, IN, "6845MMMMTTTTTTTTTTTTTTTTff79", 0},
        {99999, TICK, "", 0},
        {99999, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("client matching", steps);
}

static void lost_acknowledgement(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {5, IN, "48451234TTTTTTTTTTTTTTTTff79", COAP_EVENT_RESPONSE},
        {5, OUT, "60001234", 0},
        {2000, TICK, "", 0},
        {2000, QUIET, "", 0}, /* the response said enough: nothing is sent again */
        {2500, IN, "484512340102030405060708ff79", 0},
        {2500, OUT, "60001234", 0},
        {0, END, NULL, 0},
    };
    run("lost ack", steps);
}

static void client_separate_and_timeouts(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {10, IN, "6000MMMM", 0},
        {30000, TICK, "", 0},
        {30000, QUIET, "", 0},
        {93009, TICK, "", 0},
        {93010, TICK, "", COAP_EVENT_GIVE_UP},
        {93010, ASK_NON, "", OK},
        {93010, OUT, "5801....................b161", 0},
        {93020, IN, "7000MMMM", COAP_EVENT_RESET},
        {93030, ASK, "", OK},
        {93030, OUT, "4801....................b161", 0},
        {93040, IN, "7000MMMM", COAP_EVENT_RESET},
        {93050, ASK_NON, "", OK},
        {93050, OUT, "5801....................b161", 0},
        {93060, IN, "58840001TTTTTTTTTTTTTTTT", COAP_EVENT_RESPONSE},
        {93070, ASK, "", OK},
        {93070, OUT, "4801....................b161", 0},
        {93080, IN, "6845MMMMTTTTTTTTTTTTTTTTb161",
         COAP_EVENT_RESPONSE}, /* Uri-Path is understood */
        {93090, ASK, "", OK},
        {93090, OUT, "4801....................b161", 0},
        {93090, IN, "6845MMMMTTTTTTTTTTTTTTTTd10a10", COAP_EVENT_RESET}, /* Block2 is not */
        {0, END, NULL, 0},
    };
    run("client timeouts", steps);
}

static void unexpected_responses(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, IN, "4145aaaa01ff79", 0},
        {0, OUT, "7000aaaa", 0},
        {0, IN, "5145aaab01ff79", 0}, /* a NON nobody asked for: silence */
        {0, QUIET, "", 0},
        {0, IN, "5145aaac016105ff79", 0}, /* unless it is a notification we have forgotten */
        {0, OUT, "7000aaac", 0},
        {0, END, NULL, 0},
    };
    run("unexpected responses", steps);
}

static void one_at_a_time(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, ASK, "", OK},
        {0, OUT, "4801....................b161", 0},
        {0, QUIET, "", 0},
        {5, IN, "6845MMMMTTTTTTTTTTTTTTTTff79", COAP_EVENT_RESPONSE},
        {5, OUT, "4801....................b161", 0},
        {5, QUIET, "", 0},
        {5, ASK, "", OK},
        {5, QUIET, "", 0},
        {6, IN, "7000MMMM", COAP_EVENT_RESET},
        {6, OUT, "4801....................b161", 0},
        {7, IN, "6000MMMM", 0},
        {7, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("nstart", steps);
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

#define REGISTER                                                                                   \
    {0, IN, "41010010aa605161", REQUEST}, {0, OBSERVE, "", OK}, {0, ANSWER, "1", OK},              \
    {                                                                                              \
        0, OUT, "61450010aa6101ff31", 0                                                            \
    }

static void observe_and_reset(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {10, NOTIFY, "2", OK},
        {10, OUT, "5145....aa6102ff32", 0},
        {11, IN, "7000ffff", 0}, /* a Reset of something else */
        {12, NOTIFY, "3", OK},
        {12, OUT, "5145....aa6103ff33", 0},
        {13, IN, "7000MMMM", COAP_EVENT_RESET},
        {14, NOTIFY, "4", ERR_NOT_FOUND},
        {14, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("reset of a notification", steps);
}

static void observe_cancel(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {10, IN, "41010011aa61015161", REQUEST},
        {10, ANSWER, "2", OK},
        {10, OUT, "61450011aaff32", 0}, /* without Observe */
        {11, NOTIFY, "3", ERR_NOT_FOUND},
        {12, IN, "41010012aa5161", 0}, /* option 5, If-None-Match, of length 1: bad */
        {12, OUT, "61820012aa", 0},
        {13, IN, "41010013aa605161", REQUEST},
        {13, OBSERVE, "", OK},
        {13, REFUSE, "", OK}, /* an error ends what was accepted */
        {13, OUT, "61840013aa", 0},
        {14, NOTIFY, "4", ERR_NOT_FOUND},
        {15, IN, "41010014aab161", REQUEST},
        {15, OBSERVE, "", ERR_PROTOCOL},
        {15, ANSWER, "5", OK},
        {15, OUT, "61450014aaff35", 0},
        {0, END, NULL, 0},
    };
    run("cancel", steps);
}

static void observe_confirmable(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {1, NOTIFY, "a", OK},
        {1, OUT, "5145....aa6102ff61", 0},
        {1, NOTIFY, "b", OK},
        {1, OUT, "5145....aa6103ff62", 0},
        {1, NOTIFY, "c", OK},
        {1, OUT, "5145....aa6104ff63", 0},
        {1, NOTIFY, "d", OK},
        {1, OUT, "5145....aa6105ff64", 0},
        {1, NOTIFY, "e", OK},
        {1, OUT, "5145....aa6106ff65", 0},
        {1, NOTIFY, "f", OK},
        {1, OUT, "5145....aa6107ff66", 0},
        {1, NOTIFY, "g", OK},
        {1, OUT, "5145....aa6108ff67", 0},
        {1, NOTIFY, "h", OK},
        {1, OUT, "4145....aa6109ff68", 0}, /* the eighth */
        {2, NOTIFY, "i", OK},
        {2, QUIET, "", 0}, /* slow: only the latest waits */
        {3, NOTIFY, "j", OK},
        {3, QUIET, "", 0},
        {4, IN, "6000MMMM", 0},
        {4, OUT, "5145....aa610bff6a", 0},
        {4, QUIET, "", 0},
        /* after a day the next one is confirmable, whatever the count */
        {86400001, NOTIFY, "k", OK},
        {86400001, OUT, "4145....aa610cff6b", 0},
        /* nobody acknowledges: newer states take the tries that are left */
        {86400002, NOTIFY, "l", OK},
        {86400002, QUIET, "", 0},
        {86402001, TICK, "", 0},
        {86402001, OUT, "4145....aa610dff6c", 0},
        {86406001, TICK, "", 0},
        {86406001, OUT, "4145....aa610dff6c", 0},
        {86414001, TICK, "", 0},
        {86414001, OUT, "4145....aa610dff6c", 0},
        {86430001, TICK, "", 0},
        {86430001, OUT, "4145....aa610dff6c", 0},
        {86462001, TICK, "", COAP_EVENT_GIVE_UP},
        {86462001, NOTIFY, "m", ERR_NOT_FOUND},
        {86462001, TICK, "", 0},
        {86462001, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("confirmable notifications", steps);
}

static void observe_end(void **state)
{
    (void)state;
    static const struct step steps[] = {
        REGISTER,
        {1, NOTIFY_END, "", OK},
        {1, OUT, "4184....aa", 0}, /* the last word is confirmable, without Observe */
        {1, NOTIFY, "x", ERR_NOT_FOUND},
        {2, IN, "6000MMMM", 0},
        {2, NOTIFY, "x", ERR_NOT_FOUND},
        {99999, TICK, "", 0},
        {99999, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run("end of an observation", steps);
}

static void observe_rate(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.notification_burst = 2;
    limits.notification_every_ms = 1000;
    static const struct step steps[] = {
        REGISTER,
        {0, NOTIFY, "a", OK},
        {0, OUT, "5145....aa6102ff61", 0},
        {0, NOTIFY, "b", OK},
        {0, OUT, "5145....aa6103ff62", 0},
        {0, NOTIFY, "c", OK},
        {0, QUIET, "", 0},
        {0, NOTIFY, "d", OK},
        {999, TICK, "", 0},
        {999, QUIET, "", 0},
        {1000, TICK, "", 0},
        {1000, OUT, "5145....aa6105ff64", 0},
        {1000, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run_with("rate", steps, true, &limits);
}

static void observe_limit(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.n_observations = 1;
    static const struct step steps[] = {
        REGISTER,
        {1, IN, "41010011aa605161", REQUEST},
        {1, OBSERVE, "", OK}, /* replaced, not added */
        {1, ANSWER, "1", OK},
        {1, OUT, "61450011aa6102ff31", 0},
        {2, IN, "41010012bb605161", REQUEST},
        {2, OBSERVE, "", ERR_LIMIT},
        {2, ANSWER, "1", OK},
        {2, OUT, "61450012bbff31", 0},
        {3, NOTIFY, "x", OK},
        {3, OUT, "5145....aa6103ff78", 0},
        {3, QUIET, "", 0},
        {0, END, NULL, 0},
    };
    run_with("observations", steps, true, &limits);
}

static void client_observe(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {0, ASK_OBSERVE, "", OK},
        {0, OUT, "4801....................605161", 0},
        {1, IN, "6845MMMMTTTTTTTTTTTTTTTT6105ff31", COAP_EVENT_RESPONSE},
        {2, IN, "58450001TTTTTTTTTTTTTTTT6107ff32", COAP_EVENT_RESPONSE},
        {3, IN, "58450002TTTTTTTTTTTTTTTT6106ff33", 0}, /* older than one we had */
        {4, IN, "58450003TTTTTTTTTTTTTTTT6107ff33", 0},
        {5, IN, "58450001TTTTTTTTTTTTTTTT6107ff32", 0}, /* seen before */
        {5, QUIET, "", 0},
        {128003, IN, "58450004TTTTTTTTTTTTTTTT6106ff33",
         COAP_EVENT_RESPONSE}, /* too old to count */
        {128004, IN, "48450005TTTTTTTTTTTTTTTT6108ff34", COAP_EVENT_RESPONSE},
        {128004, OUT, "60000005", 0},
        {128005, FORGET, "", 0},
        {0, END, NULL, 0},
    };
    run("client observe", steps);
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
        {0, OUT, "60a30003d1010a", 0},
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
        {0, IN, "40010001b161", REQUEST},
        {0, ANSWER, "a", OK},
        {0, OUT, "60450001ff61", 0},
        {0, IN, "40010001b161", 0},
        {0, OUT, "60450001ff61", 0},
        {0, IN, "40010002b161", REQUEST},
        {0, ANSWER, "b", OK},
        {0, OUT, "60450002ff62", 0},
        /* the first answer had to go, its message id did not: no second run of the handler */
        {0, IN, "40010001b161", 0},
        {0, OUT, "60a30001d1010a", 0},
        {0, IN, "40010002b161", 0},
        {0, OUT, "60450002ff62", 0},
        {0, IN, "40010003b161", 0},
        {0, OUT, "60a30003d1010a", 0},
        {0, IN, "50010004b161", 0},
        {0, QUIET, "", 0},
        {247300, IN, "40010003b161", REQUEST},
        {0, END, NULL, 0},
    };
    run_with("dedup", steps, true, &limits);
}

static void request_limits(void **state)
{
    (void)state;
    struct coap_limits limits = steady_limits();
    limits.n_requests = 3;
    limits.n_transmissions = 2;
    static const struct step steps[] = {
        {0, ASK, "", OK},
        {0, ASK, "", OK},
        {0, ASK, "", ERR_LIMIT},
        {0, ASK_NON, "", OK},
        {0, ASK_NON, "", ERR_LIMIT},
        {0, END, NULL, 0},
    };
    run_with("requests", steps, true, &limits);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(piggybacked),
        cmocka_unit_test(bare_answers_are_remembered),
        cmocka_unit_test(non_confirmable),
        cmocka_unit_test(separate),
        cmocka_unit_test(retransmission_schedule),
        cmocka_unit_test(client_matching),
        cmocka_unit_test(lost_acknowledgement),
        cmocka_unit_test(client_separate_and_timeouts),
        cmocka_unit_test(unexpected_responses),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(malformed),
        cmocka_unit_test(options),
        cmocka_unit_test(unanswered),
        cmocka_unit_test(observe_and_reset),
        cmocka_unit_test(observe_cancel),
        cmocka_unit_test(observe_confirmable),
        cmocka_unit_test(observe_end),
        cmocka_unit_test(observe_rate),
        cmocka_unit_test(observe_limit),
        cmocka_unit_test(client_observe),
        cmocka_unit_test(exchange_limit),
        cmocka_unit_test(dedup_limits),
        cmocka_unit_test(request_limits),
        cmocka_unit_test(too_large),
        cmocka_unit_test(three_times),
        cmocka_unit_test(echo_proves),
        cmocka_unit_test(counted),
        cmocka_unit_test(becomes_idle),
        cmocka_unit_test(output_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The outer gate: one CONNECT, or a refusal in the words of the stranger's version. */
#include "engine/mqtt_talk_test.h"

#include "base/scope.h"
#include "engine/mqtt_gate.h"

enum { PREAUTH = 128 };

struct meeting {
    const char *name;
    const char *in;
    enum err err;
    const char *out;  /* what a refused stranger is told */
    const char *rest; /* left for the next engine */
};

static const struct meeting meetings[] = {
    {"3.1.1", "10 0e 0004'MQTT' 04 02 003c 0002'ab'", OK, "", ""},
    {"5.0", "10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", OK, "", ""},
    {"what follows stays", "10 0e 0004'MQTT' 04 02 003c 0002'ab' c000 c000", OK, "", "c000 c000"},
    {"half a packet follows", "10 0e 0004'MQTT' 04 02 003c 0002'ab' 30", OK, "", "30"},
    {"a second CONNECT is the next engine's", "10 0e 0004'MQTT' 04 02 003c 0002'ab' 10 00", OK, "",
     "10 00"},
    /* SPEC: MQTT-3.1.0-1 */
    {"PUBLISH first", "30 03 0001'a'", ERR_PROTOCOL, "", "30 03 0001'a'"},
    {"CONNACK first", "20 02 0000", ERR_PROTOCOL, "", "20 02 0000"},
    {"AUTH first", "f0 00", ERR_PROTOCOL, "", "f0 00"},
    {"PINGREQ first", "c0 00", ERR_PROTOCOL, "", "c0 00"},
    {"type 0", "00 00", ERR_PROTOCOL, "", "00 00"},
    {"one foreign byte is enough", "36", ERR_PROTOCOL, "", "36"},
    {"reserved flags", "11 0e 0004'MQTT' 04 02 003c 0002'ab'", ERR_MALFORMED, "",
     "11 0e 0004'MQTT' 04 02 003c 0002'ab'"},
    /* SPEC: MQTT3-3.1.2-2, MQTT5-3.1.2-2 */
    {"MQIsdp", "10 10 0006'MQIsdp' 03 02 003c 0002'ab'", ERR_UNSUPPORTED, "20 02 00 01",
     "10 10 0006'MQIsdp' 03 02 003c 0002'ab'"},
    {"MQIsdp, and no more of it than the level", "10 10 0006'MQIsdp' 03", ERR_AGAIN, "",
     "10 10 0006'MQIsdp' 03"},
    {"MQIsdp with level 4", "10 10 0006'MQIsdp' 04 02 003c 0002'ab'", ERR_UNSUPPORTED,
     "20 02 00 01", "10 10 0006'MQIsdp' 04 02 003c 0002'ab'"},
    {"MQIsdp with level 5", "10 10 0006'MQIsdp' 05 02 003c 0002'ab'", ERR_UNSUPPORTED,
     "20 02 00 01", "10 10 0006'MQIsdp' 05 02 003c 0002'ab'"},
    /* a mosquitto bridge then tries again without the bit */
    {"a bridge, 3.1", "10 10 0006'MQIsdp' 83 02 003c 0002'ab'", ERR_UNSUPPORTED, "20 02 00 01",
     "10 10 0006'MQIsdp' 83 02 003c 0002'ab'"},
    {"a bridge, 3.1.1", "10 0e 0004'MQTT' 84 02 003c 0002'ab'", ERR_UNSUPPORTED, "20 02 00 01",
     "10 0e 0004'MQTT' 84 02 003c 0002'ab'"},
    {"level 3", "10 0e 0004'MQTT' 03 02 003c 0002'ab'", ERR_UNSUPPORTED, "20 02 00 01",
     "10 0e 0004'MQTT' 03 02 003c 0002'ab'"},
    {"level 6", "10 0f 0004'MQTT' 06 02 003c 00 0002'ab'", ERR_UNSUPPORTED, "20 03 00 84 00",
     "10 0f 0004'MQTT' 06 02 003c 00 0002'ab'"},
    {"another name", "10 0e 0004'HTTP' 04 02 003c 0002'ab'", ERR_MALFORMED, "",
     "10 0e 0004'HTTP' 04 02 003c 0002'ab'"},
    /* SPEC: MQTT3-3.1.3-8, MQTT5-3.1.3-8 */
    {"no client id, 3.1.1 session", "10 0c 0004'MQTT' 04 00 003c 0000", ERR_PROTOCOL, "20 02 00 02",
     "10 0c 0004'MQTT' 04 00 003c 0000"},
    {"no client id, 3.1.1 clean", "10 0c 0004'MQTT' 04 02 003c 0000", OK, "", ""},
    {"no client id, 5.0", "10 0d 0004'MQTT' 05 00 003c 00 0000", OK, "", ""},
    /* SPEC: MQTT-3.1.2-3, MQTT-3.1.4-1 */
    {"reserved bit, 3.1.1", "10 0e 0004'MQTT' 04 03 003c 0002'ab'", ERR_MALFORMED, "",
     "10 0e 0004'MQTT' 04 03 003c 0002'ab'"},
    {"reserved bit, 5.0", "10 0f 0004'MQTT' 05 03 003c 00 0002'ab'", ERR_MALFORMED,
     "20 03 00 81 00", "10 0f 0004'MQTT' 05 03 003c 00 0002'ab'"},
    {"a will that is none", "10 0f 0004'MQTT' 05 22 003c 00 0002'ab'", ERR_MALFORMED,
     "20 03 00 81 00", "10 0f 0004'MQTT' 05 22 003c 00 0002'ab'"},
    {"a byte too many", "10 0f 0004'MQTT' 04 02 003c 0002'ab' 00", ERR_TRAILING, "",
     "10 0f 0004'MQTT' 04 02 003c 0002'ab' 00"},
    {"a client id that is no text", "10 0f 0004'MQTT' 05 02 003c 00 0002 c080", ERR_UTF8,
     "20 03 00 81 00", "10 0f 0004'MQTT' 05 02 003c 00 0002 c080"},
    {"larger than a stranger may send", "10 ff 7f", ERR_TOO_LARGE, "", "10 ff 7f"},
    {"a length without end", "10 ff ff ff ff", ERR_MALFORMED, "", "10 ff ff ff ff"},
};

/* Where MQTT 3.1 is taken. */
static const struct meeting old_meetings[] = {
    {"MQIsdp", "10 10 0006'MQIsdp' 03 02 003c 0002'ab' c0", OK, "", "c0"},
    {"its session", "10 10 0006'MQIsdp' 03 00 003c 0002'ab'", OK, "", ""},
    {"3.1.1 beside it", "10 0e 0004'MQTT' 04 02 003c 0002'ab'", OK, "", ""},
    {"5.0 beside it", "10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", OK, "", ""},
    {"no client id", "10 0e 0006'MQIsdp' 03 02 003c 0000", ERR_PROTOCOL, "20 02 00 02",
     "10 0e 0006'MQIsdp' 03 02 003c 0000"},
    {"no client id, session", "10 0e 0006'MQIsdp' 03 00 003c 0000", ERR_PROTOCOL, "20 02 00 02",
     "10 0e 0006'MQIsdp' 03 00 003c 0000"},
    {"a client id over our limit",
     "10 4f 0006'MQIsdp' 03 02 003c "
     "0041'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'",
     ERR_TOO_LARGE, "20 02 00 02",
     "10 4f 0006'MQIsdp' 03 02 003c "
     "0041'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"},
    {"reserved bit", "10 10 0006'MQIsdp' 03 03 003c 0002'ab'", ERR_MALFORMED, "",
     "10 10 0006'MQIsdp' 03 03 003c 0002'ab'"},
    {"MQIsdp with level 4", "10 10 0006'MQIsdp' 04 02 003c 0002'ab'", ERR_UNSUPPORTED,
     "20 02 00 01", "10 10 0006'MQIsdp' 04 02 003c 0002'ab'"},
    {"MQIsdp of a bridge", "10 10 0006'MQIsdp' 83 02 003c 0002'ab'", ERR_UNSUPPORTED, "20 02 00 01",
     "10 10 0006'MQIsdp' 83 02 003c 0002'ab'"},
    {"level 3 under the new name", "10 0e 0004'MQTT' 03 02 003c 0002'ab'", ERR_UNSUPPORTED,
     "20 02 00 01", "10 0e 0004'MQTT' 03 02 003c 0002'ab'"},
};

static struct mqtt_gate *gate_for(const struct meeting *m, const struct mqtt_wire_limits *limits)
{
    struct mqtt_gate *g = NULL;
    assert_int_equal(mqtt_gate_new(limits, PREAUTH, &g), OK);
    if (m >= old_meetings && m < old_meetings + COUNT_OF(old_meetings)) {
        mqtt_gate_take_v31(g);
    }
    return g;
}

static void check_output(const struct meeting *m, struct mqtt_gate *g)
{
    uint8_t out[64];
    uint8_t small[1];
    if (m->out[0] != '\0') {
        assert_int_equal(mqtt_gate_output(g, small, sizeof(small)), 0); /* whole or not at all */
    }
    size_t n = mqtt_gate_output(g, out, sizeof(out));
    talk_is(m->name, slice_of(out, n), m->out);
    assert_int_equal(mqtt_gate_output(g, out, sizeof(out)), 0);
}

static void meets(const struct meeting *m)
{
    struct mqtt_wire_limits limits = talk_limits();
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = gate_for(m, &limits);
    uint8_t bytes[TALK_MAX];
    struct slice in = slice_of(bytes, talk_bytes(m->in, bytes));
    struct mqtt_fault fault = {0};
    enum err err = mqtt_gate_next(g, &in, &fault);
    if (err != m->err) {
        fail_msg("%s: %s, not %s", m->name, err_name(err), err_name(m->err));
    }
    assert_true(err == OK || err == ERR_AGAIN || fault.err == err);
    talk_is(m->name, in, m->rest);
    check_output(m, g);
}

/* The bytes come one by one: the same verdict, at the latest with the last one. */
static void meets_bytewise(const struct meeting *m)
{
    struct mqtt_wire_limits limits = talk_limits();
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = gate_for(m, &limits);
    uint8_t bytes[TALK_MAX];
    size_t n = talk_bytes(m->in, bytes);
    struct mqtt_fault fault = {0};
    enum err err = ERR_AGAIN;
    for (size_t i = 1; i <= n && err == ERR_AGAIN; i++) {
        struct slice in = slice_of(bytes, i);
        err = mqtt_gate_next(g, &in, &fault);
        assert_true(err != ERR_AGAIN || in.n == i);
    }
    if (err != m->err) {
        fail_msg("%s byte by byte: %s", m->name, err_name(err));
    }
    check_output(m, g);
}

static void table(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(meetings); i++) {
        meets(&meetings[i]);
        meets_bytewise(&meetings[i]);
    }
    for (size_t i = 0; i < COUNT_OF(old_meetings); i++) {
        meets(&old_meetings[i]);
        meets_bytewise(&old_meetings[i]);
    }
}

/* SPEC: MQTT-3.1.4-1. The whole packet counts: 128 bytes pass, 129 do not. */
static void size_at_the_limit(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    for (size_t over = 0; over < 2; over++) {
        AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
        uint8_t bytes[PREAUTH + 1] = {
            0x10, (uint8_t)(PREAUTH - 2 + over), 0, 4, 'M', 'Q', 'T', 'T', 4, 0x02, 0, 60};
        bytes[13] = (uint8_t)(PREAUTH - 14 + over);
        memset(bytes + 14, 'x', sizeof(bytes) - 14);
        struct slice in = slice_of(bytes, PREAUTH + over);
        struct mqtt_fault fault = {0};
        assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
        assert_int_equal(mqtt_gate_next(g, &in, &fault), over == 0 ? OK : ERR_TOO_LARGE);
    }
}

/* What was read is the gate's own: the caller's bytes may go. */
static void keeps_a_copy(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = talk_limits();
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    uint8_t bytes[TALK_MAX];
    struct slice in = slice_of(
        bytes, talk_bytes("10 1b 0004'MQTT' 04 c2 003c 0002'ab' 0004'dev1' 0005'sesam'", bytes));
    struct mqtt_fault fault;
    assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
    assert_int_equal(mqtt_gate_next(g, &in, &fault), OK);
    memset(bytes, 0xee, sizeof(bytes));
    const struct mqtt_connect *c = mqtt_gate_connect(g);
    assert_true(slice_is(c->client_id, "ab"));
    assert_true(slice_is(c->username, "dev1"));
    assert_true(slice_is(c->password, "sesam"));
    assert_int_equal(c->keep_alive_s, 60);
}

#define LATER "20 1e 00 89 1b 1f 0018 'try again a little later'"

static void refuses_in_its_version(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        enum mqtt_reason reason;
        const char *out;
    } cases[] = {
        {"10 0e 0004'MQTT' 04 02 003c 0002'ab'", MQTT_NOT_AUTHORIZED, "20 02 00 05"},
        {"10 0e 0004'MQTT' 04 02 003c 0002'ab'", MQTT_BAD_CREDENTIALS, "20 02 00 04"},
        {"10 0e 0004'MQTT' 04 02 003c 0002'ab'", MQTT_SERVER_BUSY, "20 02 00 03"},
        {"10 10 0006'MQIsdp' 03 02 003c 0002'ab'", MQTT_NOT_AUTHORIZED, "20 02 00 05"},
        {"10 10 0006'MQIsdp' 03 02 003c 0002'ab'", MQTT_BANNED, "20 02 00 05"},
        {"10 10 0006'MQIsdp' 03 02 003c 0002'ab'", MQTT_QUOTA_EXCEEDED, "20 02 00 03"},
        {"10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", MQTT_SERVER_BUSY, LATER},
        {"10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", MQTT_BANNED, "20 03 00 8a 00"},
        /* SPEC: MQTT5-3.1.2-29: it does not want to know */
        {"10 11 0004'MQTT' 05 02 003c 02 1700 0002'ab'", MQTT_SERVER_BUSY, "20 03 00 89 00"},
        {"10 11 0004'MQTT' 05 02 003c 02 1701 0002'ab'", MQTT_SERVER_BUSY, LATER},
        /* SPEC: MQTT5-3.1.2-24, MQTT5-3.2.2-19 */
        {"10 14 0004'MQTT' 05 02 003c 05 2700000020 0002'ab'", MQTT_SERVER_BUSY, LATER},
        {"10 14 0004'MQTT' 05 02 003c 05 270000001f 0002'ab'", MQTT_SERVER_BUSY, "20 03 00 89 00"},
        {"10 14 0004'MQTT' 05 02 003c 05 2700000005 0002'ab'", MQTT_SERVER_BUSY, "20 03 00 89 00"},
        {"10 14 0004'MQTT' 05 02 003c 05 2700000004 0002'ab'", MQTT_SERVER_BUSY, ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_wire_limits limits = talk_limits();
        AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
        uint8_t bytes[TALK_MAX], out[64];
        struct slice in = slice_of(bytes, talk_bytes(cases[i].in, bytes));
        struct mqtt_fault fault;
        assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
        mqtt_gate_take_v31(g);
        assert_int_equal(mqtt_gate_next(g, &in, &fault), OK);
        mqtt_gate_refuse(g, cases[i].reason);
        size_t n = mqtt_gate_output(g, out, sizeof(out));
        talk_is(mqtt_reason_name((uint8_t)cases[i].reason), slice_of(out, n), cases[i].out);
    }
}

#define GO    "1f 002f'go to the server named here, or come back later'"
#define THERE "1c 0003'o:1'"

/* Who asks by 5.0 is told where else to go, as far as it takes a packet as large as that. */
static void names_another_server(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"10 0e 0004'MQTT' 04 02 003c 0002'ab'", "20 02 00 03"},
        {"10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", "20 3b 00 9c 38 " THERE GO},
        {"10 14 0004'MQTT' 05 02 003c 05 270000003d 0002'ab'", "20 3b 00 9c 38 " THERE GO},
        {"10 14 0004'MQTT' 05 02 003c 05 270000003c 0002'ab'", "20 09 00 9c 06 " THERE},
        {"10 14 0004'MQTT' 05 02 003c 05 270000000b 0002'ab'", "20 09 00 9c 06 " THERE},
        {"10 14 0004'MQTT' 05 02 003c 05 270000000a 0002'ab'", "20 03 00 9c 00"},
        {"10 14 0004'MQTT' 05 02 003c 05 2700000004 0002'ab'", ""},
    };
    struct mqtt_wire_limits limits = talk_limits();
    struct mqtt_fault fault;
    uint8_t out[512];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
        uint8_t bytes[TALK_MAX];
        struct slice in = slice_of(bytes, talk_bytes(cases[i].in, bytes));
        assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
        assert_int_equal(mqtt_gate_next(g, &in, &fault), OK);
        mqtt_gate_refer(g, MQTT_USE_ANOTHER_SERVER, slice_text("o:1"));
        talk_is(cases[i].in, slice_of(out, mqtt_gate_output(g, out, sizeof(out))), cases[i].out);
    }
    /* The longest one, with its words. */
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    uint8_t bytes[TALK_MAX], name[MQTT_REFERENCE_MAX];
    memset(name, 'o', sizeof name);
    struct slice in = slice_of(bytes, talk_bytes(cases[1].in, bytes));
    assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
    mqtt_gate_refer(g, MQTT_USE_ANOTHER_SERVER, slice_text("o:1")); /* nobody: the code alone */
    talk_is("a stranger", slice_of(out, mqtt_gate_output(g, out, sizeof(out))), "20 03 00 9c 00");
    g = mqtt_gate_free(g);
    assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
    assert_int_equal(mqtt_gate_next(g, &in, &fault), OK);
    mqtt_gate_refer(g, MQTT_USE_ANOTHER_SERVER, slice_of(name, sizeof name));
    assert_int_equal(mqtt_gate_output(g, out, sizeof(out)), 3 + 4 + 50 + 3 + MQTT_REFERENCE_MAX);
}

/* CONNECT of 5.0 that names the method "M", with data "1". */
#define WITH_METHOD "10 17 0004'MQTT' 05 02 003c 08 15 0001'M' 16 0001'1' 0002'ab' "

static struct mqtt_gate *challenged(const struct mqtt_wire_limits *limits)
{
    struct mqtt_gate *g = NULL;
    uint8_t bytes[TALK_MAX];
    uint8_t out[64];
    struct slice in = slice_of(bytes, talk_bytes(WITH_METHOD, bytes));
    struct mqtt_fault fault;
    assert_int_equal(mqtt_gate_new(limits, PREAUTH, &g), OK);
    assert_int_equal(mqtt_gate_next(g, &in, &fault), OK);
    assert_true(slice_is(mqtt_gate_method(g), "M"));
    assert_false(mqtt_gate_is_challenged(g));
    assert_int_equal(mqtt_gate_challenge(g, slice_text("22")), OK);
    assert_true(mqtt_gate_is_challenged(g));
    assert_int_equal(mqtt_gate_output(g, out, 4), 0); /* whole or not at all */
    /* SPEC: MQTT5-4.12.0-2, MQTT5-4.12.0-5 */
    talk_is("challenge", slice_of(out, mqtt_gate_output(g, out, sizeof(out))),
            "f0 0b 18 09 15 0001'M' 16 0002'22'");
    assert_int_equal(mqtt_gate_output(g, out, sizeof(out)), 0);
    return g;
}

/* SPEC: MQTT5-3.1.2-30, MQTT5-4.12.0-3, MQTT5-4.12.0-5, MQTT5-3.15.1-1 */
static const struct {
    const char *name, *in;
    enum err err;
    const char *out, *rest;
} answers[] = {
    {"the answer", "f0 0b 18 09 15 0001'M' 16 0002'33' c0 00", OK, "", "c0 00"},
    {"an empty answer", "f0 06 18 04 15 0001'M'", OK, "", ""},
    {"DISCONNECT", "e0 00", ERR_CLOSED, "", "e0 00"},
    {"another method", "f0 06 18 04 15 0001'N'", ERR_PROTOCOL, "20 03 00 82 00",
     "f0 06 18 04 15 0001'N'"},
    {"no method", "f0 02 18 00", ERR_PROTOCOL, "20 03 00 82 00", "f0 02 18 00"},
    {"nothing", "f0 00", ERR_PROTOCOL, "20 03 00 82 00", "f0 00"},
    {"re-authenticate", "f0 06 19 04 15 0001'M'", ERR_PROTOCOL, "20 03 00 82 00",
     "f0 06 19 04 15 0001'M'"},
    {"success", "f0 06 00 04 15 0001'M'", ERR_PROTOCOL, "20 03 00 82 00", "f0 06 00 04 15 0001'M'"},
    {"flags", "f1 06 18 04 15 0001'M'", ERR_MALFORMED, "20 03 00 81 00", "f1 06 18 04 15 0001'M'"},
    {"a byte too many", "f0 07 18 04 15 0001'M' 00", ERR_TRAILING, "20 03 00 81 00",
     "f0 07 18 04 15 0001'M' 00"},
    {"PINGREQ", "c0 00", ERR_PROTOCOL, "20 03 00 82 00", "c0 00"},
    {"one byte of a PUBLISH", "30", ERR_PROTOCOL, "20 03 00 82 00", "30"},
    {"larger than a stranger may send", "f0 ff 7f", ERR_TOO_LARGE, "20 03 00 95 00", "f0 ff 7f"},
};

static void challenge(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct mqtt_wire_limits limits = talk_limits();
        uint8_t bytes[TALK_MAX];
        uint8_t out[16];
        size_t n = talk_bytes(answers[i].in, bytes);
        for (size_t step = 1; step <= n; step += n > 1 ? n - 1 : 1) { /* bytewise, then whole */
            AUTO(mqtt_gate_autofree) struct mqtt_gate *g = challenged(&limits);
            struct mqtt_fault fault = {0};
            struct slice data = {0};
            struct slice in = {0};
            enum err err = ERR_AGAIN;
            for (size_t end = step; end <= n && err == ERR_AGAIN; end++) {
                in = slice_of(bytes, end);
                err = mqtt_gate_answer(g, &in, &fault, &data);
            }
            if (err != answers[i].err) {
                fail_msg("%s: %s", answers[i].name, err_name(err));
            }
            if (step == n) {
                talk_is(answers[i].name, in, answers[i].rest);
            }
            assert_true(err != OK || data.n == 0 || slice_is(data, "33"));
            assert_false(mqtt_gate_is_challenged(g));
            talk_is(answers[i].name, slice_of(out, mqtt_gate_output(g, out, sizeof(out))),
                    answers[i].out);
        }
    }
}

static void conclusion(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = talk_limits();
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = challenged(&limits);
    assert_int_equal(mqtt_gate_conclusion(g).n, 0);
    (void)mem_fail_after(0);
    assert_int_equal(mqtt_gate_conclude(g, slice_text("v=1")), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    assert_int_equal(mqtt_gate_conclude(g, slice_text("v=1")), OK);
    assert_true(slice_is(mqtt_gate_conclusion(g), "v=1"));
}

static void challenge_without_memory(void **state)
{
    (void)state;
    struct mqtt_wire_limits limits = talk_limits();
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    uint8_t bytes[TALK_MAX];
    uint8_t out[64];
    struct slice in = slice_of(bytes, talk_bytes(WITH_METHOD, bytes));
    struct mqtt_fault fault;
    assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
    assert_int_equal(mqtt_gate_next(g, &in, &fault), OK);
    (void)mem_fail_after(0);
    assert_int_equal(mqtt_gate_challenge(g, slice_text("22")), ERR_NOMEM);
    assert_true(mem_fail_after(-1));
    mqtt_gate_refuse(g, MQTT_SERVER_BUSY);
    talk_is("busy", slice_of(out, mqtt_gate_output(g, out, sizeof(out))),
            "20 1e 00 89 1b 1f 0018'try again a little later'");
}

/* Without memory nobody comes in, and the stranger is told to try later where that can be said. */
static void no_memory(void **state)
{
    (void)state;
    for (long at = 0;; at++) {
        struct mqtt_wire_limits limits = talk_limits();
        AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
        uint8_t bytes[TALK_MAX];
        struct slice in =
            slice_of(bytes, talk_bytes("10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", bytes));
        struct mqtt_fault fault = {0};
        (void)mem_fail_after(at);
        enum err err = mqtt_gate_new(&limits, PREAUTH, &g);
        if (err == OK) {
            err = mqtt_gate_next(g, &in, &fault);
        }
        bool failed = mem_fail_after(-1) != 0;
        assert_int_equal(err, failed ? ERR_NOMEM : OK);
        if (!failed) {
            assert_true(at > 1);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(size_at_the_limit),
        cmocka_unit_test(keeps_a_copy),
        cmocka_unit_test(refuses_in_its_version),
        cmocka_unit_test(names_another_server),
        cmocka_unit_test(challenge),
        cmocka_unit_test(conclusion),
        cmocka_unit_test(challenge_without_memory),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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
    /* SPEC: MQTT-3.1.2-2 */
    {"MQIsdp", "10 10 0006'MQIsdp' 03 02 003c 0002'ab'", ERR_UNSUPPORTED, "20 02 00 01",
     "10 10 0006'MQIsdp' 03 02 003c 0002'ab'"},
    {"level 3", "10 0e 0004'MQTT' 03 02 003c 0002'ab'", ERR_UNSUPPORTED, "20 02 00 01",
     "10 0e 0004'MQTT' 03 02 003c 0002'ab'"},
    {"level 6", "10 0f 0004'MQTT' 06 02 003c 00 0002'ab'", ERR_UNSUPPORTED, "20 03 00 84 00",
     "10 0f 0004'MQTT' 06 02 003c 00 0002'ab'"},
    {"another name", "10 0e 0004'HTTP' 04 02 003c 0002'ab'", ERR_MALFORMED, "",
     "10 0e 0004'HTTP' 04 02 003c 0002'ab'"},
    /* SPEC: MQTT-3.1.3-8 */
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
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    uint8_t bytes[TALK_MAX];
    struct slice in = slice_of(bytes, talk_bytes(m->in, bytes));
    struct mqtt_fault fault = {0};
    assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
    enum err err = mqtt_gate_next(g, &in, &fault);
    if (err != m->err) {
        fail_msg("%s: %s, not %s", m->name, err_name(err), err_name(m->err));
    }
    assert_true(err == OK || fault.err == err);
    talk_is(m->name, in, m->rest);
    check_output(m, g);
}

/* The bytes come one by one: the same verdict, at the latest with the last one. */
static void meets_bytewise(const struct meeting *m)
{
    struct mqtt_wire_limits limits = talk_limits();
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    uint8_t bytes[TALK_MAX];
    size_t n = talk_bytes(m->in, bytes);
    struct mqtt_fault fault = {0};
    enum err err = ERR_AGAIN;
    assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
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
        {"10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", MQTT_NOT_AUTHORIZED, "20 03 00 87 00"},
        {"10 0f 0004'MQTT' 05 02 003c 00 0002'ab'", MQTT_BAD_AUTH_METHOD, "20 03 00 8c 00"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct mqtt_wire_limits limits = talk_limits();
        AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
        uint8_t bytes[TALK_MAX], out[16];
        struct slice in = slice_of(bytes, talk_bytes(cases[i].in, bytes));
        struct mqtt_fault fault;
        assert_int_equal(mqtt_gate_new(&limits, PREAUTH, &g), OK);
        assert_int_equal(mqtt_gate_next(g, &in, &fault), OK);
        mqtt_gate_refuse(g, cases[i].reason);
        size_t n = mqtt_gate_output(g, out, sizeof(out));
        talk_is(mqtt_reason_name((uint8_t)cases[i].reason), slice_of(out, n), cases[i].out);
    }
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
        cmocka_unit_test(table),        cmocka_unit_test(size_at_the_limit),
        cmocka_unit_test(keeps_a_copy), cmocka_unit_test(refuses_in_its_version),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

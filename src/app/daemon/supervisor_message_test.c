#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "app/daemon/message.h"
#include "base/event.h"
#include "base/scope.h"

static struct message boot_message(void)
{
    return (struct message){
        .type = MESSAGE_BOOT,
        .boot = {.dir_fd = 4,
                 .key_fd = 5,
                 .spare_key_fd = 7,
                 .key_source = 1,
                 .control_fd = 6,
                 .authority_fd = 8,
                 .signs_per_second = 100,
                 .signs_burst = 1000,
                 .signs_per_name = 10,
                 .workers = 2,
                 .generation = 3,
                 .last = BOOT_LAST_SIGNAL,
                 .last_code = 11,
                 .dir = "/var/lib/sallyport",
                 .n_sinks = 2,
                 .first_sink_fd = 11,
                 .courier_fd = 13,
                 .scribe_fd = 12,
                 .porter_fd = 13,
                 .house = UINT64_C(0x0123456789abcdef),
                 .broker_generation = 7,
                 .n_listeners = 2,
                 .listeners = {
                     {.name = "mqtts", .listening = true, .port = 8883, .first_fd = 7, .n_fds = 2},
                     {.name = "coaps",
                      .udp = true,
                      .listening = true,
                      .port = 5684,
                      .first_fd = 9,
                      .n_fds = 2,
                      .asks = true}}}};
}

static void test_round_trip(void **state)
{
    (void)state;
    struct message sent[] = {
        boot_message(),
        {.type = MESSAGE_STOP},
        {.type = MESSAGE_RELOAD},
        {.type = MESSAGE_READY},
        {.type = MESSAGE_ALIVE},
        {.type = MESSAGE_RULES,
         .rules = {.grace_s = 1, .per_second = 2, .burst = 3, .per_name_minute = UINT32_MAX}},
        {.type = MESSAGE_RELOADED, .text = ""},
        {.type = MESSAGE_STARTING, .text = "busy"},
        {.type = MESSAGE_EVENT,
         .category = EVENT_enrolment,
         .severity = SEVERITY_ALERT,
         .name = "meter-7",
         .text = "why"},
        {.type = MESSAGE_BROKER, .life = {.generation = 3, .last = BOOT_LAST_HANG, .last_code = 9}},
        {.type = MESSAGE_FAILED, .text = "no key"}};
    for (size_t i = 0; i < COUNT_OF(sent); i++) {
        uint8_t bytes[MESSAGE_BYTES_MAX];
        size_t n;
        struct message got;
        memset(&got, 0xff, sizeof got);
        assert_int_equal(message_encode(&sent[i], bytes, sizeof bytes, &n), OK);
        assert_int_equal(message_decode(slice_of(bytes, n), &got), OK);
        assert_int_equal(got.type, sent[i].type);
        assert_string_equal(got.text, sent[i].text);
        assert_string_equal(got.name, sent[i].name);
        assert_memory_equal(&got.rules, &sent[i].rules, sizeof got.rules);
        assert_int_equal(got.category, sent[i].category);
        assert_int_equal(got.severity, sent[i].severity);
        assert_int_equal(got.life.generation, sent[i].life.generation);
        assert_int_equal(got.life.last, sent[i].life.last);
        assert_int_equal(got.life.last_code, sent[i].life.last_code);
        assert_int_equal(got.boot.scribe_fd, sent[i].boot.scribe_fd);
        assert_int_equal(got.boot.porter_fd, sent[i].boot.porter_fd);
        assert_true(got.boot.house == sent[i].boot.house);
        assert_int_equal(got.boot.broker_generation, sent[i].boot.broker_generation);
        assert_int_equal(got.boot.authority_fd, sent[i].boot.authority_fd);
        assert_int_equal(got.boot.courier_fd, sent[i].boot.courier_fd);
        assert_int_equal(got.boot.n_sinks, sent[i].boot.n_sinks);
        assert_int_equal(got.boot.first_sink_fd, sent[i].boot.first_sink_fd);
        assert_int_equal(got.boot.signs_burst, sent[i].boot.signs_burst);
        assert_string_equal(got.boot.dir, sent[i].boot.dir);
        assert_int_equal(got.boot.n_listeners, sent[i].boot.n_listeners);
        for (size_t k = 0; k < got.boot.n_listeners; k++) {
            assert_string_equal(got.boot.listeners[k].name, sent[i].boot.listeners[k].name);
            assert_int_equal(got.boot.listeners[k].first_fd, sent[i].boot.listeners[k].first_fd);
            assert_int_equal(got.boot.listeners[k].asks, sent[i].boot.listeners[k].asks);
            assert_int_equal(got.boot.listeners[k].udp, sent[i].boot.listeners[k].udp);
        }
        assert_int_equal(got.boot.spare_key_fd, sent[i].boot.spare_key_fd);
        assert_int_equal(got.boot.key_source, sent[i].boot.key_source);
        assert_int_equal(got.boot.last, sent[i].boot.last);
        assert_int_equal(got.boot.last_code, sent[i].boot.last_code);
        for (size_t cut = 0; cut < n; cut++) {
            assert_int_equal(message_decode(slice_of(bytes, cut), &got), ERR_TRUNCATED);
            assert_int_equal(message_encode(&sent[i], bytes, cut, &n), ERR_SPACE);
        }
        bytes[n] = 0;
        assert_int_equal(message_decode(slice_of(bytes, n + 1), &got), ERR_TRAILING);
    }
}

/* A part without a door, an authority or a courier: none is a number of none. */
static void test_none(void **state)
{
    (void)state;
    struct message m = boot_message(), got;
    m.boot.control_fd = m.boot.authority_fd = m.boot.courier_fd = 0;
    uint8_t bytes[MESSAGE_BYTES_MAX];
    size_t n;
    assert_int_equal(message_encode(&m, bytes, sizeof bytes, &n), OK);
    assert_int_equal(message_decode(slice_of(bytes, n), &got), OK);
    assert_int_equal(got.boot.control_fd, 0);
    assert_int_equal(got.boot.authority_fd, 0);
    assert_int_equal(got.boot.courier_fd, 0);
    enum { BEHIND_IT = 4 + 4 + 8 + 4 };
    bytes[n - BEHIND_IT - 1] = 3; /* the link is nobody's */
    assert_int_equal(message_decode(slice_of(bytes, n), &got), ERR_MALFORMED);
}

static void test_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int field, value;
        enum err err;
    } cases[] = {
        {"unknown type", 0, 99, ERR_MALFORMED}, {"descriptor of the link", 4, 3, ERR_MALFORMED},
        {"no workers", 37, 0, ERR_LIMIT},       {"too many workers", 37, 65, ERR_LIMIT},
        {"unknown end", 42, 4, ERR_MALFORMED},  {"unknown key source", 13, 2, ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct message m = boot_message();
        uint8_t bytes[MESSAGE_BYTES_MAX];
        size_t n;
        assert_int_equal(message_encode(&m, bytes, sizeof bytes, &n), OK);
        bytes[cases[i].field] = (uint8_t)cases[i].value;
        if (message_decode(slice_of(bytes, n), &m) != cases[i].err) {
            fail_msg("%s", cases[i].name);
        }
    }
}

static void test_pair(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct message m = boot_message(), got;
    assert_int_equal(message_receive(pair[1], &got), ERR_AGAIN);
    assert_int_equal(message_send(pair[0], &m), OK);
    m = (struct message){.type = MESSAGE_STOP};
    assert_int_equal(message_send(pair[0], &m), OK);
    assert_int_equal(message_receive(pair[1], &got), OK);
    assert_int_equal(got.type, MESSAGE_BOOT);
    assert_int_equal(message_receive(pair[1], &got), OK);
    assert_int_equal(got.type, MESSAGE_STOP);
    close(pair[0]);
    assert_int_equal(message_receive(pair[1], &got), ERR_CLOSED);
    assert_int_equal(message_send(pair[1], &m), ERR_CLOSED);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_none), cmocka_unit_test(test_refuses),
                                       cmocka_unit_test(test_pair)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

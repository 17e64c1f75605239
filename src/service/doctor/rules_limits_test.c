#include "service/doctor/doctor_case_test.h"

static void connections(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->connections = facts_preset(0, 0);
}

#define LIMIT(name, which, n)                                                                      \
    static void name(struct facts *f)                                                              \
    {                                                                                              \
        case_number(f, which, n);                                                                  \
    }

LIMIT(packet_none, FACTS_PACKET_BYTES, 0)
LIMIT(packet_at, FACTS_PACKET_BYTES, 16 << 20)
LIMIT(packet_over, FACTS_PACKET_BYTES, (16 << 20) + 1)
LIMIT(queue_none, FACTS_QUEUE_MESSAGES, 0)
LIMIT(queue_at, FACTS_QUEUE_MESSAGES, 100000)
LIMIT(queue_over, FACTS_QUEUE_MESSAGES, 100001)
LIMIT(bytes_none, FACTS_QUEUE_BYTES, 0)
LIMIT(inflight_none, FACTS_INFLIGHT, 0)
LIMIT(expiry_none, FACTS_SESSION_EXPIRY_S, 0)
LIMIT(expiry_at, FACTS_SESSION_EXPIRY_S, 90 * 86400)
LIMIT(expiry_over, FACTS_SESSION_EXPIRY_S, 90 * 86400 + 1)
LIMIT(retained_none, FACTS_RETAINED, 0)
LIMIT(retained_some, FACTS_RETAINED, 1)

static void test_rules(void **state)
{
    static const struct rule_case cases[] = {
        {FACTS_MOSQUITTO, "limit-connections", connections},
        {FACTS_MOSQUITTO, "limit-packet", packet_none},
        {FACTS_MOSQUITTO, "", packet_at},
        {FACTS_SALLYPORT, "limit-packet", packet_over},
        {FACTS_MOSQUITTO, "limit-queue", queue_none},
        {FACTS_MOSQUITTO, "", queue_at},
        {FACTS_SALLYPORT, "limit-queue", queue_over},
        {FACTS_MOSQUITTO, "limit-queue-bytes", bytes_none},
        {FACTS_MOSQUITTO, "limit-inflight", inflight_none},
        {FACTS_MOSQUITTO, "limit-expiry", expiry_none},
        {FACTS_MOSQUITTO, "", expiry_at},
        {FACTS_MOSQUITTO, "limit-expiry", expiry_over},
        {FACTS_MOSQUITTO, "limit-retained", retained_none},
        {FACTS_MOSQUITTO, "", retained_some},
    };
    (void)state;
    rule_cases(cases, COUNT_OF(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

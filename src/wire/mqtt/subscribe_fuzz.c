#include "wire/mqtt/fuzz_private.h"

/* Besides the round trip: the iterator gives exactly the filters that the decoder counted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_packet(MQTT_SUBSCRIBE, slice_of(data, n));
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct mqtt_input in = {
        .body = slice_of(data, n), .flags = 2, .version = MQTT_V5, .limits = &limits};
    struct mqtt_subscribe m;
    struct mqtt_subscription s;
    if (mqtt_subscribe_decode(&in, NULL, &m) == OK) {
        for (size_t i = 0; i < m.n_filters; i++) {
            assert(mqtt_subscribe_next(&m.list, &s));
            assert(s.filter.n > 0 && s.qos <= 2);
        }
        assert(m.list.n == 0);
    }
    return 0;
}

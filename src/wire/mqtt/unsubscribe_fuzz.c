#include "wire/mqtt/fuzz_private.h"

/* Besides the round trip: the iterator gives exactly the filters that the decoder counted. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_packet(MQTT_UNSUBSCRIBE, slice_of(data, n));
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct mqtt_input in = {
        .body = slice_of(data, n), .flags = 2, .version = MQTT_V311, .limits = &limits};
    struct mqtt_unsubscribe m;
    struct mqtt_unsubscription u;
    if (mqtt_unsubscribe_decode(&in, NULL, &m) == OK) {
        for (size_t i = 0; i < m.n_filters; i++) {
            assert(mqtt_unsubscribe_next(&m.list, &u));
            assert(u.filter.n > 0);
        }
        assert(m.list.n == 0);
    }
    return 0;
}

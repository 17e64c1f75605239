#include "wire/mqtt/fuzz_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_packet(MQTT_PUBLISH, slice_of(data, n));
    return 0;
}

#include "wire/mqtt/fixed.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Cuts the input into packets until it stops; each header writes back to the bytes it came from. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice in = slice_of(data, n), body;
    struct mqtt_fixed f;
    struct mqtt_fault fault = {0};
    const size_t packet_max = 1000;
    while (mqtt_packet_cut(&in, packet_max, &fault, &f, &body) == OK) {
        assert(f.packet_n <= packet_max && body.n == f.body_n);
        uint8_t out[MQTT_FIXED_MAX];
        struct wr w = wr_into(out, sizeof out);
        mqtt_fixed_encode(&w, f.type, f.flags, f.body_n);
        assert(w.at == f.header_n && mqtt_packet_size(f.body_n) == f.packet_n);
        size_t at = n - in.n - f.packet_n;
        assert(slice_equal(wr_slice(&w), slice_of(data + at, f.header_n)));
    }
    return 0;
}

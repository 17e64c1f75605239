#include <assert.h>

#include "base/mem.h"
#include "engine/mqtt_gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What follows CONNECT answers a challenge. */
static void answer(struct mqtt_gate *g, struct slice in)
{
    struct mqtt_fault fault = {0};
    struct slice data;
    static uint8_t out[512];
    size_t before = in.n;
    assert(mqtt_gate_output(g, out, sizeof(out)) > 0 && out[0] == 0xf0);
    enum err err = mqtt_gate_answer(g, &in, &fault, &data);
    assert(err == OK ? in.n < before : in.n == before);
    assert(mqtt_gate_is_challenged(g) == (err == ERR_AGAIN));
    size_t told = mqtt_gate_output(g, out, sizeof(out));
    assert((told > 0) == (err != OK && err != ERR_AGAIN && err != ERR_CLOSED));
}

/* First byte: how many bytes come at a time (with bit 4: where MQTT 3.1 is taken), and which
 * allocation fails. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct mqtt_wire_limits limits = {.topic_bytes = 64,
                                      .topic_levels = 4,
                                      .filters_per_packet = 4,
                                      .user_properties = 4,
                                      .client_id_bytes = 23};
    AUTO(mqtt_gate_autofree) struct mqtt_gate *g = NULL;
    struct mqtt_fault fault = {0};
    uint8_t out[256];
    if (n < 2 || mqtt_gate_new(&limits, 512, &g) != OK) {
        return 0;
    }
    if ((data[0] & 0x10) != 0) {
        mqtt_gate_take_v31(g);
    }
    size_t step = (data[0] & 0x3f) + 1u, end = 0;
    struct slice all = slice_of(data + 1, n - 1);
    enum err err = ERR_AGAIN;
    (void)mem_fail_after((data[0] & 0xc0) == 0xc0 ? 0 : -1);
    while (err == ERR_AGAIN && end < all.n) {
        end = end + step < all.n ? end + step : all.n;
        struct slice in = slice_head(all, end);
        err = mqtt_gate_next(g, &in, &fault);
        assert(err == OK ? in.n < end : in.n == end);
    }
    (void)mem_fail_after(-1);
    if (err == OK && mqtt_gate_method(g).n > 0 && mqtt_gate_challenge(g, slice_text("22")) == OK) {
        answer(g, slice_from(all, end));
        return 0;
    }
    if (err == OK) {
        assert(mqtt_gate_connect(g)->client_id.n <= 23);
        const struct mqtt_connect *c = mqtt_gate_connect(g);
        uint32_t most =
            c->version == MQTT_V5
                ? mqtt_props_number(&c->props, MQTT_PROP_MAXIMUM_PACKET_SIZE, UINT32_MAX)
                : UINT32_MAX;
        mqtt_gate_refuse(g, MQTT_NOT_AUTHORIZED);
        size_t told = mqtt_gate_output(g, out, sizeof(out));
        assert(told <= most && (told >= 4 || most < 5));
    } else if (err != ERR_AGAIN) {
        assert(fault.err == err);
        size_t told = mqtt_gate_output(g, out, sizeof(out));
        assert(told == 0 || (out[0] == 0x20 && out[3] != 0));
    }
    return 0;
}

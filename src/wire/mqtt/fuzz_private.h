/*
 * fuzz_private - the body of every fuzz target of this folder
 *
 * First byte: bit 0 MQTT 5, bit 1 from a server, bit 2 narrow limits, bit 3 MQTT 3.1 (without bit
 * 0) and a place that takes it, bits 4 to 7 the flags. The rest is the packet's body, copied so
 * that the sanitizer sees a read past its end.
 */
#ifndef WIRE_MQTT_FUZZ_PRIVATE_H
#define WIRE_MQTT_FUZZ_PRIVATE_H

#include "wire/mqtt/any_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What the fixed header lets through for this type. */
static inline uint8_t fuzz_flags(enum mqtt_type type, uint8_t flags)
{
    uint8_t first[2] = {(uint8_t)((unsigned)type << 4 | flags), 0};
    struct mqtt_fixed fixed;
    if (mqtt_fixed_decode(slice_of(first, 2), 2, NULL, &fixed) == OK) {
        return flags;
    }
    return type == MQTT_PUBREL || type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE ? 2 : 0;
}

static inline enum mqtt_version fuzz_version(uint8_t setup)
{
    if ((setup & 1) != 0) {
        return MQTT_V5;
    }
    return (setup & 8) != 0 ? MQTT_V31 : MQTT_V311;
}

static inline void fuzz_packet(enum mqtt_type type, struct slice data)
{
    if (data.n == 0) {
        return;
    }
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    if ((data.p[0] & 4) != 0) {
        limits = (struct mqtt_wire_limits){16, 3, 2, 2, 8, 4};
    }
    struct slice body = slice_from(data, 1), out;
    uint8_t *copy = mem_alloc(body.n), *room = mem_alloc(body.n + ANY_SLACK);
    if (copy != NULL && room != NULL) {
        if (body.n > 0) {
            memcpy(copy, body.p, body.n);
        }
        struct mqtt_input in = {.body = slice_of(copy, body.n),
                                .flags = fuzz_flags(type, data.p[0] >> 4),
                                .version = fuzz_version(data.p[0]),
                                .takes_v31 = (data.p[0] & 8) != 0,
                                .sender =
                                    (data.p[0] & 2) != 0 ? MQTT_FROM_SERVER : MQTT_FROM_CLIENT,
                                .limits = &limits};
        struct mqtt_fault fault = {0};
        (void)!any_round_trip(type, &in, &fault, room, body.n + ANY_SLACK, &out);
    }
    copy = mem_free(copy);
    room = mem_free(room);
}

#endif

#include "wire/mqtt/varint.h"

#define VARINT_BYTES 4

uint32_t mqtt_varint_read(struct rd *r)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < VARINT_BYTES; i++) {
        uint8_t b = rd_u8(r);
        v |= (uint32_t)(b & 0x7f) << (7 * i);
        if (!rd_ok(r)) {
            return 0;
        }
        if (b == 0 && i > 0) {
            break; /* a last byte that adds nothing: not the shortest form. SPEC: MQTT5-1.5.5-1 */
        }
        if ((b & 0x80) == 0) {
            return v;
        }
    }
    rd_fail(r, ERR_MALFORMED);
    return 0;
}

void mqtt_varint_write(struct wr *w, size_t v)
{
    if (v > MQTT_VARINT_MAX) {
        wr_fail(w, ERR_TOO_LARGE);
    }
    while (v > 0x7f && wr_ok(w)) {
        wr_u8(w, (uint8_t)(0x80 | (v & 0x7f)));
        v >>= 7;
    }
    wr_u8(w, (uint8_t)v);
}

size_t mqtt_varint_size(size_t v)
{
    return v < 0x80 ? 1 : v < 0x4000 ? 2 : v < 0x200000 ? 3 : 4;
}

#include "wire/mqtt/fixed.h"

#include "wire/mqtt/fault_private.h"
#include "wire/mqtt/varint.h"

enum { FLAG_DUP = 0x08 };

/* The flags are only a matter of the type; which type may come when is the engine's. */
static bool has_legal_flags(uint8_t first)
{
    uint8_t flags = first & 0x0f;
    switch (first >> 4) {
    case MQTT_PUBLISH:
        if (((flags >> 1) & 3) == 0) {
            return (flags & 8) == 0; /* SPEC: MQTT-3.3.1-2 */
        }
        return ((flags >> 1) & 3) != 3; /* SPEC: MQTT-3.3.1-4 */
    case MQTT_PUBREL:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        return flags == 2; /* SPEC: MQTT-3.6.1-1, MQTT-3.8.1-1, MQTT-3.10.1-1 */
    case 0:
        return false;
    default:
        return flags == 0; /* SPEC: MQTT5-2.1.3-1, MQTT3-2.2.2-1 */
    }
}

/* A 3.1 client sets DUP when it repeats PUBREL, SUBSCRIBE or UNSUBSCRIBE. It says nothing that the
 * packet id does not say, so nobody behind here sees it. */
static uint8_t without_dup(uint8_t first, enum mqtt_version version)
{
    unsigned type = first >> 4;
    bool may_repeat = type == MQTT_PUBREL || type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE;
    return version == MQTT_V31 && may_repeat ? first & (uint8_t)~FLAG_DUP : first;
}

static enum err decode(struct slice in, enum mqtt_version version, size_t packet_max,
                       struct mqtt_fault *fault, struct mqtt_fixed *ret)
{
    struct rd r = rd_from(in);
    uint8_t first = without_dup(rd_u8(&r), version);
    if (!rd_ok(&r)) {
        return ERR_AGAIN;
    }
    if (!has_legal_flags(first)) {
        return mqtt_malformed(fault, 0); /* SPEC: MQTT3-2.2.2-2 */
    }
    uint32_t body_n = mqtt_varint_read(&r);
    if (r.err == ERR_TRUNCATED) {
        return ERR_AGAIN;
    }
    TRY(mqtt_check_read(&r, fault));
    if (r.at + body_n > packet_max) {
        return mqtt_fail(fault, ERR_TOO_LARGE, r.at, MQTT_PACKET_TOO_LARGE);
    }
    *ret = (struct mqtt_fixed){.type = (enum mqtt_type)(first >> 4),
                               .flags = first & 0x0f,
                               .header_n = (uint8_t)r.at,
                               .body_n = body_n,
                               .packet_n = (uint32_t)r.at + body_n};
    return OK;
}

enum err mqtt_fixed_decode(struct slice in, size_t packet_max, struct mqtt_fault *fault,
                           struct mqtt_fixed *ret)
{
    return decode(in, MQTT_V311, packet_max, fault, ret);
}

enum err mqtt_packet_cut(struct slice *in, size_t packet_max, struct mqtt_fault *fault,
                         struct mqtt_fixed *ret, struct slice *ret_body)
{
    return mqtt_packet_cut_as(MQTT_V311, in, packet_max, fault, ret, ret_body);
}

enum err mqtt_packet_cut_as(enum mqtt_version version, struct slice *in, size_t packet_max,
                            struct mqtt_fault *fault, struct mqtt_fixed *ret,
                            struct slice *ret_body)
{
    struct mqtt_fixed f;
    TRY(decode(*in, version, packet_max, fault, &f));
    if (in->n < f.packet_n) {
        return ERR_AGAIN;
    }
    *ret_body = slice_head(slice_from(*in, f.header_n), f.body_n);
    *in = slice_from(*in, f.packet_n);
    *ret = f;
    return OK;
}

void mqtt_fixed_encode(struct wr *w, enum mqtt_type type, uint8_t flags, size_t body_n)
{
    wr_u8(w, (uint8_t)((unsigned)type << 4 | flags));
    mqtt_varint_write(w, body_n);
}

size_t mqtt_packet_size(size_t body_n)
{
    return 1 + mqtt_varint_size(body_n) + body_n;
}

bool mqtt_type_is_from(enum mqtt_type type, enum mqtt_version version, enum mqtt_sender sender)
{
    switch (type) {
    case MQTT_CONNECT:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
    case MQTT_PINGREQ:
        return sender == MQTT_FROM_CLIENT;
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGRESP:
        return sender == MQTT_FROM_SERVER;
    case MQTT_PUBLISH:
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        return true;
    case MQTT_DISCONNECT:
        return version == MQTT_V5 || sender == MQTT_FROM_CLIENT;
    case MQTT_AUTH:
        return version == MQTT_V5;
    }
    return false;
}

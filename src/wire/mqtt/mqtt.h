/*
 * mqtt - the words every codec of this folder shares: versions, packet types, limits, faults.
 *
 * All of wire/mqtt is pure: no socket, no clock, no heap on decode, no policy. Decoders borrow:
 * every slice in a decoded packet points into the caller's bytes.
 */
#ifndef WIRE_MQTT_MQTT_H
#define WIRE_MQTT_MQTT_H

#include "base/err.h"
#include "base/slice.h"

/* The protocol level as it stands in CONNECT. 3.1 goes by another name there, "MQIsdp"; a decoder
 * that is not told to take it refuses it. */
enum mqtt_version { MQTT_V31 = 3, MQTT_V311 = 4, MQTT_V5 = 5 };

/* The packet type as it stands in the fixed header. SPEC: MQTT5 2.1.2 */
enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK,
    MQTT_PUBLISH,
    MQTT_PUBACK,
    MQTT_PUBREC,
    MQTT_PUBREL,
    MQTT_PUBCOMP,
    MQTT_SUBSCRIBE,
    MQTT_SUBACK,
    MQTT_UNSUBSCRIBE,
    MQTT_UNSUBACK,
    MQTT_PINGREQ,
    MQTT_PINGRESP,
    MQTT_DISCONNECT,
    MQTT_AUTH
};

/* Who wrote the bytes. A few fields are legal in one direction only. */
enum mqtt_sender { MQTT_FROM_CLIENT, MQTT_FROM_SERVER };

/* Named limits on what a peer may send. Each is the largest value accepted; 0 accepts none. */
struct mqtt_wire_limits {
    uint32_t topic_levels;       /* levels of what topic_bytes is of: separators + 1 */
    uint32_t user_properties;    /* per property block */
    uint16_t topic_bytes;        /* topic name, filter, will topic, response topic */
    uint16_t filters_per_packet; /* SUBSCRIBE, UNSUBSCRIBE: over it the packet still decodes, see
                                  there */
    uint16_t client_id_bytes;
    uint16_t topic_alias_max; /* what we announced; 0: no alias accepted */
};

/* mqtt_wire_limits_max - what the format itself allows: for clients that trust their server, which
 * are sent no filters. */
static inline struct mqtt_wire_limits mqtt_wire_limits_max(void)
{
    return (struct mqtt_wire_limits){.topic_bytes = UINT16_MAX,
                                     .topic_levels = (uint32_t)UINT16_MAX + 1,
                                     .filters_per_packet = UINT16_MAX,
                                     .user_properties = UINT32_MAX,
                                     .client_id_bytes = UINT16_MAX,
                                     .topic_alias_max = UINT16_MAX};
}

/* One packet as a decoder takes it. `body` and `flags` come from mqtt_packet_cut. */
struct mqtt_input {
    struct slice body;         /* borrowed: what follows the fixed header, no more and no less */
    uint8_t flags;             /* low four bits of the first byte */
    enum mqtt_version version; /* CONNECT ignores it: it brings its own */
    enum mqtt_sender sender;
    bool takes_v31;                        /* CONNECT only: MQTT 3.1 is not refused */
    const struct mqtt_wire_limits *limits; /* borrowed, never NULL */
};

/*
 * What was wrong with a packet. A decoder that fails fills all of it; one that succeeds leaves it
 * alone. `reason` is the MQTT 5 code that says it best, also for 3.1.1 packets: mqtt_reason_v311_*
 * translate.
 *
 *   ERR_TRUNCATED ERR_TRAILING ERR_MALFORMED   0x81, or 0x90 0x8F for a topic or filter
 *   ERR_UTF8                                   0x81, or 0x99 for a payload declared as text
 *   ERR_PROTOCOL                               0x82, or 0x94 alias, 0x85 client id
 *   ERR_UNSUPPORTED                            0x84
 *   ERR_TOO_LARGE ERR_LIMIT                    0x95, 0x97, 0x90, 0x8F or 0x85: a limit of ours
 */
struct mqtt_fault {
    enum err err;
    size_t at;      /* offset in the body (in the packet for mqtt_fixed_decode) */
    uint8_t reason; /* 0x80 or greater */
    uint8_t level; /* CONNECT only: the protocol level read, without the bit that bridges set in it;
                      3 for MQIsdp, whatever it says; 0 = not reached */
    bool is_v31;   /* CONNECT only, with ERR_UNSUPPORTED: a whole MQIsdp of level 3 */
    uint8_t type;  /* filled by the engine: of the packet, as in its first byte */
};

#endif

/* fixed - the fixed header that opens every packet: type, flags, remaining length. */
#ifndef WIRE_MQTT_FIXED_H
#define WIRE_MQTT_FIXED_H

#include "base/wr.h"
#include "wire/mqtt/mqtt.h"

#define MQTT_FIXED_MAX 5 /* bytes of the longest fixed header */

struct mqtt_fixed {
    enum mqtt_type type;
    uint8_t flags;     /* checked against the type */
    uint8_t header_n;  /* 2 to 5: bytes of this header */
    uint32_t body_n;   /* remaining length */
    uint32_t packet_n; /* header_n + body_n */
};

/*
 * mqtt_fixed_decode - read the fixed header at the front of a stream
 *
 * in          borrows; may hold less or more than one packet.
 * packet_max  largest packet accepted, in bytes with its header.
 * fault       may be NULL; filled on every error but ERR_AGAIN.
 *
 * ERR_AGAIN      the header is not complete yet
 * ERR_MALFORMED  type 0, reserved flags, QoS 3, DUP with QoS 0 (known from the first byte), or a
 *                length that is not a shortest variable byte integer
 * ERR_TOO_LARGE  packet_n > packet_max, known before any of the body came
 * O(1). SPEC: MQTT5 2.1, MQTT5-2.1.3-1, MQTT3-2.2.2-1, MQTT-3.3.1-2, MQTT-3.3.1-4, MQTT5-1.5.5-1.
 */
MUST_USE enum err mqtt_fixed_decode(struct slice in, size_t packet_max, struct mqtt_fault *fault,
                                    struct mqtt_fixed *ret);

/*
 * mqtt_packet_cut - take one whole packet off the front of a stream
 *
 * in        in/out, borrows: on OK it starts behind the packet.
 * ret_body  borrows from *in.
 *
 * ERR_AGAIN also while the body is not complete; otherwise as mqtt_fixed_decode. *in is unchanged
 * on every error. O(1).
 */
MUST_USE enum err mqtt_packet_cut(struct slice *in, size_t packet_max, struct mqtt_fault *fault,
                                  struct mqtt_fixed *ret, struct slice *ret_body);
/* mqtt_packet_cut_as - as mqtt_packet_cut, from a sender of this version: one of MQTT 3.1 may set
 * DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE, and *ret does not show it. */
MUST_USE enum err mqtt_packet_cut_as(enum mqtt_version version, struct slice *in, size_t packet_max,
                                     struct mqtt_fault *fault, struct mqtt_fixed *ret,
                                     struct slice *ret_body);

/* mqtt_fixed_encode - writes type, flags and length; ERR_TOO_LARGE sticks when body_n has no
 * encoding. */
void mqtt_fixed_encode(struct wr *w, enum mqtt_type type, uint8_t flags, size_t body_n);
/* mqtt_packet_size - fixed header and body of body_n bytes together. */
size_t mqtt_packet_size(size_t body_n);

/* mqtt_type_is_from - may `sender` send this type at all in this version? State is the engine's. */
bool mqtt_type_is_from(enum mqtt_type type, enum mqtt_version version, enum mqtt_sender sender);

#endif

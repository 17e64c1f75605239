/* connect - the CONNECT packet. SPEC: MQTT311 3.1, MQTT5 3.1 */
#ifndef WIRE_MQTT_CONNECT_H
#define WIRE_MQTT_CONNECT_H

#include "wire/mqtt/props.h"

struct mqtt_will {
    struct slice topic;      /* a checked topic name */
    struct slice payload;    /* UTF-8 when props say payload format 1 */
    struct mqtt_props props; /* delay: MQTT_PROP_WILL_DELAY; forward with mqtt_props_copy_forward */
    uint8_t qos;             /* 0 to 2 */
    bool retain;
};

struct mqtt_connect {
    enum mqtt_version version;
    bool clean_start;       /* "clean session" before 5.0 */
    uint16_t keep_alive_s;  /* 0 = off */
    struct slice client_id; /* empty: the server assigns one */
    bool has_will, has_username, has_password;
    struct mqtt_will will; /* only when has_will */
    struct slice username; /* UTF-8; only when has_username */
    struct slice password; /* any bytes; only when has_password. A secret: never log it */
    struct mqtt_props props;
};

/*
 * mqtt_connect_decode - read a CONNECT body; in->version is ignored, in->takes_v31 is not
 *
 * fault  may be NULL; its `level` says what to answer in, also when the version is unsupported.
 *
 * ERR_UNSUPPORTED  a protocol level other than 4 and 5; MQIsdp with another than 3, or not taken
 * ERR_MALFORMED    wrong name, reserved bit, will or password bits that contradict each other
 * ERR_PROTOCOL     empty client id in 3.1, or that 3.1.1 wants to keep a session for (0x85);
 *                  excluded values
 * ERR_UTF8         any string; a will payload declared as text (0x99)
 * ERR_TOO_LARGE    client id (0x85), will topic (0x90); ERR_LIMIT user properties, topic levels
 * ERR_TRUNCATED, ERR_TRAILING
 * O(bytes). SPEC: MQTT-3.1.4-1.
 */
MUST_USE enum err mqtt_connect_decode(const struct mqtt_input *in, struct mqtt_fault *fault,
                                      struct mqtt_connect *ret);
/* mqtt_connect_encode - the whole packet, in m->version; the writer's error sticks. */
MUST_USE enum err mqtt_connect_encode(const struct mqtt_connect *m, struct wr *w);

#endif

/* reason - MQTT 5 reason codes: which exist, what they are called, where each is legal. */
#ifndef WIRE_MQTT_REASON_H
#define WIRE_MQTT_REASON_H

#include "wire/mqtt/mqtt.h"

/* SPEC: MQTT5 2.4 */
enum mqtt_reason {
    MQTT_SUCCESS = 0x00, /* also normal disconnection and granted QoS 0 */
    MQTT_GRANTED_QOS_1 = 0x01,
    MQTT_GRANTED_QOS_2 = 0x02,
    MQTT_DISCONNECT_WITH_WILL = 0x04,
    MQTT_NO_MATCHING_SUBSCRIBERS = 0x10,
    MQTT_NO_SUBSCRIPTION_EXISTED = 0x11,
    MQTT_CONTINUE_AUTHENTICATION = 0x18,
    MQTT_REAUTHENTICATE = 0x19,
    MQTT_UNSPECIFIED_ERROR = 0x80,
    MQTT_MALFORMED_PACKET = 0x81,
    MQTT_PROTOCOL_ERROR = 0x82,
    MQTT_IMPLEMENTATION_ERROR = 0x83,
    MQTT_UNSUPPORTED_VERSION = 0x84,
    MQTT_CLIENT_ID_INVALID = 0x85,
    MQTT_BAD_CREDENTIALS = 0x86,
    MQTT_NOT_AUTHORIZED = 0x87,
    MQTT_SERVER_UNAVAILABLE = 0x88,
    MQTT_SERVER_BUSY = 0x89,
    MQTT_BANNED = 0x8A,
    MQTT_SERVER_SHUTTING_DOWN = 0x8B,
    MQTT_BAD_AUTH_METHOD = 0x8C,
    MQTT_KEEP_ALIVE_TIMEOUT = 0x8D,
    MQTT_SESSION_TAKEN_OVER = 0x8E,
    MQTT_TOPIC_FILTER_INVALID = 0x8F,
    MQTT_TOPIC_NAME_INVALID = 0x90,
    MQTT_PACKET_ID_IN_USE = 0x91,
    MQTT_PACKET_ID_NOT_FOUND = 0x92,
    MQTT_RECEIVE_MAXIMUM_EXCEEDED = 0x93,
    MQTT_TOPIC_ALIAS_INVALID = 0x94,
    MQTT_PACKET_TOO_LARGE = 0x95,
    MQTT_MESSAGE_RATE_TOO_HIGH = 0x96,
    MQTT_QUOTA_EXCEEDED = 0x97,
    MQTT_ADMINISTRATIVE_ACTION = 0x98,
    MQTT_PAYLOAD_FORMAT_INVALID = 0x99,
    MQTT_RETAIN_NOT_SUPPORTED = 0x9A,
    MQTT_QOS_NOT_SUPPORTED = 0x9B,
    MQTT_USE_ANOTHER_SERVER = 0x9C,
    MQTT_SERVER_MOVED = 0x9D,
    MQTT_SHARED_NOT_SUPPORTED = 0x9E,
    MQTT_CONNECTION_RATE_EXCEEDED = 0x9F,
    MQTT_MAXIMUM_CONNECT_TIME = 0xA0,
    MQTT_SUBSCRIPTION_ID_NOT_SUPPORTED = 0xA1,
    MQTT_WILDCARD_NOT_SUPPORTED = 0xA2
};

/* mqtt_reason_is_legal - may `sender` put this code into an MQTT 5 packet of this type? O(1). */
bool mqtt_reason_is_legal(enum mqtt_type type, enum mqtt_sender sender, uint8_t code);
/* mqtt_reason_name - the code in words for logs and reason strings; "unknown". Never NULL. */
const char *mqtt_reason_name(uint8_t code);
/* mqtt_connack_name - the same of a CONNACK: MQTT 3.1.1 has return codes of its own. Never NULL. */
const char *mqtt_connack_name(enum mqtt_version version, uint8_t code);
/* mqtt_reason_v311_connack - the 3.1.1 return code (0 to 5) nearest to an MQTT 5 code.
 * SPEC: MQTT311 3.2.2.3 */
uint8_t mqtt_reason_v311_connack(uint8_t code);
/* mqtt_reason_v311_suback - 0, 1, 2 stay; everything else is 0x80. SPEC: MQTT3-3.9.3-2 */
uint8_t mqtt_reason_v311_suback(uint8_t code);

#endif

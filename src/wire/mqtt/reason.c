#include "wire/mqtt/reason.h"

#include "base/scope.h"

#define AT(type) (1u << MQTT_##type)
/* Places that share most of their codes. */
#define RECEIVED (AT(PUBACK) | AT(PUBREC))
#define RELEASED (AT(PUBREL) | AT(PUBCOMP))
#define CLOSING  (AT(CONNACK) | AT(DISCONNECT))
#define ASKED    (AT(SUBACK) | AT(UNSUBACK))
/* Packets that only one side sends: CONNACK, SUBACK, UNSUBACK. */
#define SERVER_ONLY (AT(CONNACK) | ASKED)
/* Packets that both sides send with different codes: there `by` counts. */
#define BY_SENDER (AT(DISCONNECT) | AT(AUTH))

enum by { BOTH, SERVER, CLIENT };

/* One row per code, or two where the senders differ by packet. SPEC: MQTT5 2.4, 3.14.2.1, 3.15.2.1
 */
static const struct reason_row {
    uint8_t code;
    enum by by;
    unsigned places;
    const char *name;
} rows[] = {
    {0x00, BOTH, AT(CONNACK) | RECEIVED | RELEASED | ASKED | AT(DISCONNECT), "success"},
    {0x00, SERVER, AT(AUTH), "success"},
    {0x01, BOTH, AT(SUBACK), "granted QoS 1"},
    {0x02, BOTH, AT(SUBACK), "granted QoS 2"},
    {0x04, CLIENT, AT(DISCONNECT), "disconnect with will"},
    {0x10, BOTH, RECEIVED, "no matching subscribers"},
    {0x11, BOTH, AT(UNSUBACK), "no subscription existed"},
    {0x18, BOTH, AT(AUTH), "continue authentication"},
    {0x19, CLIENT, AT(AUTH), "re-authenticate"},
    {0x80, BOTH, CLOSING | RECEIVED | ASKED, "unspecified error"},
    {0x81, BOTH, CLOSING, "malformed packet"},
    {0x82, BOTH, CLOSING, "protocol error"},
    {0x83, BOTH, CLOSING | RECEIVED | ASKED, "implementation specific error"},
    {0x84, BOTH, AT(CONNACK), "unsupported protocol version"},
    {0x85, BOTH, AT(CONNACK), "client identifier not valid"},
    {0x86, BOTH, AT(CONNACK), "bad user name or password"},
    {0x87, SERVER, CLOSING | RECEIVED | ASKED, "not authorized"},
    {0x88, BOTH, AT(CONNACK), "server unavailable"},
    {0x89, SERVER, CLOSING, "server busy"},
    {0x8A, BOTH, AT(CONNACK), "banned"},
    {0x8B, SERVER, AT(DISCONNECT), "server shutting down"},
    {0x8C, SERVER, CLOSING, "bad authentication method"},
    {0x8D, SERVER, AT(DISCONNECT), "keep alive timeout"},
    {0x8E, SERVER, AT(DISCONNECT), "session taken over"},
    {0x8F, SERVER, ASKED | AT(DISCONNECT), "topic filter invalid"},
    {0x90, BOTH, CLOSING | RECEIVED, "topic name invalid"},
    {0x91, BOTH, RECEIVED | ASKED, "packet identifier in use"},
    {0x92, BOTH, RELEASED, "packet identifier not found"},
    {0x93, BOTH, AT(DISCONNECT), "receive maximum exceeded"},
    {0x94, BOTH, AT(DISCONNECT), "topic alias invalid"},
    {0x95, BOTH, CLOSING, "packet too large"},
    {0x96, BOTH, AT(DISCONNECT), "message rate too high"},
    {0x97, BOTH, CLOSING | RECEIVED | AT(SUBACK), "quota exceeded"},
    {0x98, BOTH, AT(DISCONNECT), "administrative action"},
    {0x99, BOTH, CLOSING | RECEIVED, "payload format invalid"},
    {0x9A, SERVER, CLOSING, "retain not supported"},
    {0x9B, SERVER, CLOSING, "QoS not supported"},
    {0x9C, SERVER, CLOSING, "use another server"},
    {0x9D, SERVER, CLOSING, "server moved"},
    {0x9E, SERVER, AT(SUBACK) | AT(DISCONNECT), "shared subscriptions not supported"},
    {0x9F, SERVER, CLOSING, "connection rate exceeded"},
    {0xA0, SERVER, AT(DISCONNECT), "maximum connect time"},
    {0xA1, SERVER, AT(SUBACK) | AT(DISCONNECT), "subscription identifiers not supported"},
    {0xA2, SERVER, AT(SUBACK) | AT(DISCONNECT), "wildcard subscriptions not supported"},
};

bool mqtt_reason_is_legal(enum mqtt_type type, enum mqtt_sender sender, uint8_t code)
{
    unsigned place = 1u << type;
    enum by wrong_side = sender == MQTT_FROM_CLIENT ? SERVER : CLIENT;
    if (sender == MQTT_FROM_CLIENT && (place & SERVER_ONLY) != 0) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].code == code && (rows[i].places & place) != 0 &&
            ((place & BY_SENDER) == 0 || rows[i].by != wrong_side)) {
            return true;
        }
    }
    return false;
}

const char *mqtt_reason_name(uint8_t code)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (rows[i].code == code) {
            return rows[i].name;
        }
    }
    return "unknown";
}

const char *mqtt_connack_name(enum mqtt_version version, uint8_t code)
{
    static const char *const v311[] = {
        "accepted",           "unacceptable protocol version", "client id rejected",
        "server unavailable", "bad user name or password",     "not authorized"};
    if (version == MQTT_V5) {
        return mqtt_reason_name(code);
    }
    return code < COUNT_OF(v311) ? v311[code] : "unknown";
}

uint8_t mqtt_reason_v311_connack(uint8_t code)
{
    switch (code) {
    case MQTT_SUCCESS:
        return 0;
    case MQTT_UNSUPPORTED_VERSION:
        return 1;
    case MQTT_CLIENT_ID_INVALID:
        return 2;
    case MQTT_BAD_CREDENTIALS:
    case MQTT_BAD_AUTH_METHOD:
        return 4;
    case MQTT_NOT_AUTHORIZED:
    case MQTT_BANNED:
    case MQTT_TOPIC_NAME_INVALID:
        return 5;
    default:
        return 3;
    }
}

uint8_t mqtt_reason_v311_suback(uint8_t code)
{
    return code <= MQTT_GRANTED_QOS_2 ? code : MQTT_UNSPECIFIED_ERROR;
}

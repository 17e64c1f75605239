#include "engine/mqtt_advice.h"

#include "base/scope.h"
#include "wire/mqtt/reason.h"

static const struct {
    enum mqtt_reason reason;
    const char *text;
} rows[] = {
    {MQTT_MALFORMED_PACKET, "the bytes are no valid packet; the client must be repaired"},
    {MQTT_PROTOCOL_ERROR, "such a packet is not allowed at this point; repair the client"},
    {MQTT_UNSUPPORTED_VERSION, "speak MQTT 3.1.1 or 5.0"},
    {MQTT_CLIENT_ID_INVALID, "use the client id that belongs to the identity, by default its name"},
    {MQTT_BAD_CREDENTIALS, "these credentials do not hold; use those of the newest bundle"},
    {MQTT_NOT_AUTHORIZED, "not allowed; the operator finds the reason in the audit trail"},
    {MQTT_SERVER_BUSY, "try again a little later"},
    {MQTT_SERVER_SHUTTING_DOWN, "the server stops; connect again later"},
    {MQTT_BAD_AUTH_METHOD, "this authentication method is not spoken here"},
    {MQTT_KEEP_ALIVE_TIMEOUT, "nothing was heard for one and a half times the keep alive"},
    {MQTT_SESSION_TAKEN_OVER,
     "a newer connection has this session; two clients must not share one client id"},
    {MQTT_TOPIC_FILTER_INVALID, "the filter is malformed, too long or has too many levels"},
    {MQTT_TOPIC_NAME_INVALID, "the topic is malformed, too long or has too many levels"},
    {MQTT_RECEIVE_MAXIMUM_EXCEEDED, "wait for acknowledgements: CONNACK says how many may be open"},
    {MQTT_TOPIC_ALIAS_INVALID, "topic aliases begin at 1 and end at the maximum in CONNACK"},
    {MQTT_PACKET_TOO_LARGE, "a packet is larger than its receiver takes; see maximum packet size"},
    {MQTT_QUOTA_EXCEEDED, "a limit is reached; the operator finds which one in the audit trail"},
    {MQTT_ADMINISTRATIVE_ACTION, "the operator has closed this way in"},
    {MQTT_PAYLOAD_FORMAT_INVALID, "the payload is said to be text and is not valid UTF-8"},
    {MQTT_USE_ANOTHER_SERVER, "go to the server named here, or come back later"},
    {MQTT_SERVER_MOVED, "go to the server named here from now on"},
    {MQTT_SHARED_NOT_SUPPORTED, "subscribe without $share"},
    {MQTT_CONNECTION_RATE_EXCEEDED, "too many connections; wait longer before each new one"},
};

struct slice mqtt_advice(uint8_t reason)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if ((uint8_t)rows[i].reason == reason) {
            return slice_text(rows[i].text);
        }
    }
    return (struct slice){0};
}

#include "wire/mqtt/text.h"

#include "base/scope.h"

static const char *const type_names[] = {"type 0",    "CONNECT",  "CONNACK",     "PUBLISH",
                                         "PUBACK",    "PUBREC",   "PUBREL",      "PUBCOMP",
                                         "SUBSCRIBE", "SUBACK",   "UNSUBSCRIBE", "UNSUBACK",
                                         "PINGREQ",   "PINGRESP", "DISCONNECT",  "AUTH"};

const char *mqtt_type_name(enum mqtt_type type)
{
    return (size_t)type < COUNT_OF(type_names) ? type_names[type] : type_names[0];
}

const char *mqtt_version_name(unsigned level)
{
    switch (level) {
    case MQTT_V31:
        return "MQTT 3.1";
    case MQTT_V311:
        return "MQTT 3.1.1";
    case MQTT_V5:
        return "MQTT 5.0";
    default:
        return "unknown";
    }
}

/* text - packet types and versions in words, for logs. */
#ifndef WIRE_MQTT_TEXT_H
#define WIRE_MQTT_TEXT_H

#include "wire/mqtt/mqtt.h"

/* mqtt_type_name - "PUBLISH"; "type 0" for a value that is none. Static text, never NULL. */
const char *mqtt_type_name(enum mqtt_type type);
/* mqtt_version_name - "MQTT 5.0"; takes the level of a fault too. "unknown". Never NULL. */
const char *mqtt_version_name(unsigned level);

#endif

/*
 * mqtt_encode - the codecs of what a server answers, each as a function of the same type, so that
 * one function of mqtt_server.c finds room for any of them.
 */
#ifndef ENGINE_MQTT_ENCODE_H
#define ENGINE_MQTT_ENCODE_H

#include "base/wr.h"
#include "wire/mqtt/mqtt.h"

/* packet: the struct that is named after the packet; puback, pubrec, pubcomp and pubrel have a
 * struct mqtt_ack, pingresp NULL. The errors are its codec's. */
typedef enum err mqtt_encode_fn(const void *packet, enum mqtt_version version, struct wr *w);

MUST_USE mqtt_encode_fn mqtt_encode_connack;
MUST_USE mqtt_encode_fn mqtt_encode_suback;
MUST_USE mqtt_encode_fn mqtt_encode_unsuback;
MUST_USE mqtt_encode_fn mqtt_encode_disconnect;
MUST_USE mqtt_encode_fn mqtt_encode_auth;
MUST_USE mqtt_encode_fn mqtt_encode_pingresp;
MUST_USE mqtt_encode_fn mqtt_encode_pubrel;
MUST_USE mqtt_encode_fn mqtt_encode_puback;
MUST_USE mqtt_encode_fn mqtt_encode_pubrec;
MUST_USE mqtt_encode_fn mqtt_encode_pubcomp;

#endif

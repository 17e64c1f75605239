/* any_private - every codec behind one door, for the tests and the fuzz targets of this folder. */
#ifndef WIRE_MQTT_ANY_PRIVATE_H
#define WIRE_MQTT_ANY_PRIVATE_H

#include "base/mem.h"
#include "wire/mqtt/auth.h"
#include "wire/mqtt/connack.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/ping.h"
#include "wire/mqtt/puback.h"
#include "wire/mqtt/pubcomp.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/pubrec.h"
#include "wire/mqtt/pubrel.h"
#include "wire/mqtt/suback.h"
#include "wire/mqtt/subscribe.h"
#include "wire/mqtt/unsuback.h"
#include "wire/mqtt/unsubscribe.h"

#include <assert.h>

struct mqtt_any {
    enum mqtt_type type;
    union {
        struct mqtt_connect connect;
        struct mqtt_connack connack;
        struct mqtt_publish publish;
        struct mqtt_ack ack;
        struct mqtt_subscribe subscribe;
        struct mqtt_suback suback;
        struct mqtt_unsubscribe unsubscribe;
        struct mqtt_unsuback unsuback;
        struct mqtt_disconnect disconnect;
        struct mqtt_auth auth;
    };
};

MUST_USE static inline enum err any_decode(enum mqtt_type type, const struct mqtt_input *in,
                                           struct mqtt_fault *fault, struct mqtt_any *ret)
{
    ret->type = type;
    switch (type) {
    case MQTT_CONNECT:
        return mqtt_connect_decode(in, fault, &ret->connect);
    case MQTT_CONNACK:
        return mqtt_connack_decode(in, fault, &ret->connack);
    case MQTT_PUBLISH:
        return mqtt_publish_decode(in, fault, &ret->publish);
    case MQTT_PUBACK:
        return mqtt_puback_decode(in, fault, &ret->ack);
    case MQTT_PUBREC:
        return mqtt_pubrec_decode(in, fault, &ret->ack);
    case MQTT_PUBREL:
        return mqtt_pubrel_decode(in, fault, &ret->ack);
    case MQTT_PUBCOMP:
        return mqtt_pubcomp_decode(in, fault, &ret->ack);
    case MQTT_SUBSCRIBE:
        return mqtt_subscribe_decode(in, fault, &ret->subscribe);
    case MQTT_SUBACK:
        return mqtt_suback_decode(in, fault, &ret->suback);
    case MQTT_UNSUBSCRIBE:
        return mqtt_unsubscribe_decode(in, fault, &ret->unsubscribe);
    case MQTT_UNSUBACK:
        return mqtt_unsuback_decode(in, fault, &ret->unsuback);
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        return mqtt_ping_decode(in, fault);
    case MQTT_DISCONNECT:
        return mqtt_disconnect_decode(in, fault, &ret->disconnect);
    case MQTT_AUTH:
        return mqtt_auth_decode(in, fault, &ret->auth);
    }
    return ERR_MALFORMED;
}

MUST_USE static inline enum err any_encode(const struct mqtt_any *m, enum mqtt_version version,
                                           struct wr *w)
{
    switch (m->type) {
    case MQTT_CONNECT:
        return mqtt_connect_encode(&m->connect, w);
    case MQTT_CONNACK:
        return mqtt_connack_encode(&m->connack, version, w);
    case MQTT_PUBLISH:
        return mqtt_publish_encode(&m->publish, version, w);
    case MQTT_PUBACK:
        return mqtt_puback_encode(&m->ack, version, w);
    case MQTT_PUBREC:
        return mqtt_pubrec_encode(&m->ack, version, w);
    case MQTT_PUBREL:
        return mqtt_pubrel_encode(&m->ack, version, w);
    case MQTT_PUBCOMP:
        return mqtt_pubcomp_encode(&m->ack, version, w);
    case MQTT_SUBSCRIBE:
        return mqtt_subscribe_encode(&m->subscribe, version, w);
    case MQTT_SUBACK:
        return mqtt_suback_encode(&m->suback, version, w);
    case MQTT_UNSUBSCRIBE:
        return mqtt_unsubscribe_encode(&m->unsubscribe, version, w);
    case MQTT_UNSUBACK:
        return mqtt_unsuback_encode(&m->unsuback, version, w);
    case MQTT_PINGREQ:
        return mqtt_pingreq_encode(w);
    case MQTT_PINGRESP:
        return mqtt_pingresp_encode(w);
    case MQTT_DISCONNECT:
        return mqtt_disconnect_encode(&m->disconnect, version, w);
    case MQTT_AUTH:
        return mqtt_auth_encode(&m->auth, w);
    }
    return ERR_MALFORMED;
}

/*
 * any_round_trip - decode a body and write it back
 *
 * Asserts what holds for every body whatsoever: an error fills the fault; what decodes also
 * encodes, decodes again, and then encodes to the same bytes. Gives the decoder's error, and, on
 * OK, what was written into `room`: body bytes + ANY_SLACK are enough.
 */
#define ANY_SLACK 16

MUST_USE static inline enum err any_round_trip(enum mqtt_type type, const struct mqtt_input *in,
                                               struct mqtt_fault *fault, uint8_t *room, size_t cap,
                                               struct slice *ret)
{
    struct mqtt_any m;
    enum err e = any_decode(type, in, fault, &m);
    if (e != OK) {
        assert(fault->err == e && fault->reason >= 0x80 && fault->at <= in->body.n);
        return e;
    }
    enum mqtt_version version = type == MQTT_CONNECT ? m.connect.version : in->version;
    struct wr first = wr_into(room, cap);
    assert(any_encode(&m, version, &first) == OK);

    struct slice stream = wr_slice(&first);
    struct mqtt_fixed fixed;
    struct mqtt_input again = *in;
    assert(mqtt_packet_cut(&stream, SIZE_MAX, fault, &fixed, &again.body) == OK);
    assert(fixed.type == type && stream.n == 0 && fixed.flags == in->flags);
    assert(any_decode(type, &again, fault, &m) == OK);
    uint8_t *copy = mem_alloc(cap);
    assert(copy != NULL);
    struct wr second = wr_into(copy, cap);
    assert(any_encode(&m, version, &second) == OK);
    assert(slice_equal(wr_slice(&first), wr_slice(&second)));
    copy = mem_free(copy);
    *ret = wr_slice(&first);
    return OK;
}

#endif

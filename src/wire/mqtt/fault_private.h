/* fault_private - how the codecs of this folder fail, read text and finish a packet. */
#ifndef WIRE_MQTT_FAULT_PRIVATE_H
#define WIRE_MQTT_FAULT_PRIVATE_H

#include "base/rd.h"
#include "base/utf8.h"
#include "base/wr.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/mqtt.h"
#include "wire/mqtt/reason.h"
#include "wire/mqtt/varint.h"

#include <assert.h>

/* mqtt_fail - fill the fault (NULL is fine) and give e back. `level` stays as it is. */
MUST_USE static inline enum err mqtt_fail(struct mqtt_fault *fault, enum err e, size_t at,
                                          uint8_t reason)
{
    if (fault != NULL) {
        fault->err = e;
        fault->at = at;
        fault->reason = reason;
    }
    return e;
}

MUST_USE static inline enum err mqtt_malformed(struct mqtt_fault *fault, size_t at)
{
    return mqtt_fail(fault, ERR_MALFORMED, at, MQTT_MALFORMED_PACKET);
}

MUST_USE static inline enum err mqtt_protocol(struct mqtt_fault *fault, size_t at)
{
    return mqtt_fail(fault, ERR_PROTOCOL, at, MQTT_PROTOCOL_ERROR);
}

/* mqtt_check_read - OK, or the error that stuck in the reader. */
MUST_USE static inline enum err mqtt_check_read(const struct rd *r, struct mqtt_fault *fault)
{
    return rd_ok(r) ? OK : mqtt_fail(fault, r->err, r->at, MQTT_MALFORMED_PACKET);
}

/* mqtt_check_end - as mqtt_check_read; ERR_TRAILING when bytes are left over. */
MUST_USE static inline enum err mqtt_check_end(const struct rd *r, struct mqtt_fault *fault)
{
    enum err e = rd_finish(r);
    return e == OK ? OK : mqtt_fail(fault, e, r->at, MQTT_MALFORMED_PACKET);
}

/* mqtt_lift - a fault counted from an inner block now counts from the block around it. */
static inline enum err mqtt_lift(struct mqtt_fault *fault, enum err e, size_t by)
{
    if (e != OK && fault != NULL) {
        fault->at += by;
    }
    return e;
}

/* mqtt_check_text - is s, whose first byte stood at offset `at`, text as MQTT means it? */
MUST_USE static inline enum err mqtt_check_text(struct slice s, size_t at, struct mqtt_fault *fault,
                                                uint8_t reason)
{
    size_t bad = 0;
    /* SPEC: MQTT5-1.5.4-1, MQTT5-1.5.4-2, MQTT3-1.5.3-1, MQTT3-1.5.3-2 */
    if (utf8_check(s, UTF8_MQTT, &bad) != OK) {
        return mqtt_fail(fault, ERR_UTF8, at + bad, reason);
    }
    return OK;
}

/* mqtt_read_text - a 16-bit length and so many bytes of text. */
MUST_USE static inline enum err mqtt_read_text(struct rd *r, struct mqtt_fault *fault,
                                               struct slice *ret)
{
    struct slice s = rd_block16(r);
    TRY(mqtt_check_read(r, fault));
    TRY(mqtt_check_text(s, r->at - s.n, fault, MQTT_MALFORMED_PACKET));
    *ret = s;
    return OK;
}

/* mqtt_read_packet_id - two bytes, not zero. */
MUST_USE static inline enum err mqtt_read_packet_id(struct rd *r, struct mqtt_fault *fault,
                                                    uint16_t *ret)
{
    uint16_t id = rd_u16(r);
    TRY(mqtt_check_read(r, fault));
    if (id == 0) {
        return mqtt_malformed(fault, r->at - 2); /* SPEC: MQTT3-2.3.1-1, MQTT5-2.2.1-3 */
    }
    *ret = id;
    return OK;
}

/* mqtt_encode_begin - the fixed header, once it is sure that the packet fits, all but the last
 * `apart_n` bytes, which do not go through this writer: it is written whole or not at all. *ret_end
 * is where the writer must stand at the end. */
MUST_USE static inline enum err mqtt_encode_begin(struct wr *w, enum mqtt_type type, uint8_t flags,
                                                  size_t body_n, size_t apart_n, size_t *ret_end)
{
    if (body_n > MQTT_VARINT_MAX) {
        wr_fail(w, ERR_TOO_LARGE);
    } else if (mqtt_packet_size(body_n) - apart_n > wr_left(w)) {
        wr_fail(w, ERR_SPACE);
    }
    mqtt_fixed_encode(w, type, flags, body_n);
    *ret_end = w->at + body_n - apart_n;
    return w->err;
}

/* mqtt_encode_end - the size that was computed is the size that was written. */
MUST_USE static inline enum err mqtt_encode_end(const struct wr *w, size_t end)
{
    assert(!wr_ok(w) || w->at == end);
    return w->err;
}

/* Bytes of a 16-bit length and what it counts. */
static inline size_t mqtt_block_size(struct slice s)
{
    return 2 + s.n;
}

#endif

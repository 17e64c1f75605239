/* varint - the variable byte integer: 7 bits a byte, least first. SPEC: MQTT5 1.5.5 */
#ifndef WIRE_MQTT_VARINT_H
#define WIRE_MQTT_VARINT_H

#include "base/rd.h"
#include "base/wr.h"

#define MQTT_VARINT_MAX 268435455u /* four bytes of seven bits */

/* mqtt_varint_read - takes one; ERR_MALFORMED sticks when a fourth byte still continues or the
 * value would have fitted in fewer bytes, ERR_TRUNCATED when the bytes end first. 0 on error. */
uint32_t mqtt_varint_read(struct rd *r);
/* mqtt_varint_write - v in as few bytes as hold it; ERR_TOO_LARGE sticks over MQTT_VARINT_MAX. */
void mqtt_varint_write(struct wr *w, size_t v);
/* mqtt_varint_size - 1 to 4: bytes that mqtt_varint_write needs; 4 also for what is too large. */
size_t mqtt_varint_size(size_t v);

#endif

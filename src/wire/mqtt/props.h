/*
 * props - MQTT 5 properties: one table of what exists, a strict decoder, an iterator, an encoder.
 *
 * A decoded block keeps the validated bytes as they came. Properties that may appear once are also
 * kept as values, asked for by id; the two that repeat (user property, subscription identifier) are
 * read with the iterator. SPEC: MQTT5 2.2.2
 */
#ifndef WIRE_MQTT_PROPS_H
#define WIRE_MQTT_PROPS_H

#include "base/rd.h"
#include "base/wr.h"
#include "wire/mqtt/mqtt.h"

enum mqtt_prop_id {
    MQTT_PROP_PAYLOAD_FORMAT = 1,
    MQTT_PROP_MESSAGE_EXPIRY = 2,
    MQTT_PROP_CONTENT_TYPE = 3,
    MQTT_PROP_RESPONSE_TOPIC = 8,
    MQTT_PROP_CORRELATION_DATA = 9,
    MQTT_PROP_SUBSCRIPTION_ID = 11,
    MQTT_PROP_SESSION_EXPIRY = 17,
    MQTT_PROP_ASSIGNED_CLIENT_ID = 18,
    MQTT_PROP_SERVER_KEEP_ALIVE = 19,
    MQTT_PROP_AUTH_METHOD = 21,
    MQTT_PROP_AUTH_DATA = 22,
    MQTT_PROP_REQUEST_PROBLEM_INFO = 23,
    MQTT_PROP_WILL_DELAY = 24,
    MQTT_PROP_REQUEST_RESPONSE_INFO = 25,
    MQTT_PROP_RESPONSE_INFO = 26,
    MQTT_PROP_SERVER_REFERENCE = 28,
    MQTT_PROP_REASON_STRING = 31,
    MQTT_PROP_RECEIVE_MAXIMUM = 33,
    MQTT_PROP_TOPIC_ALIAS_MAXIMUM = 34,
    MQTT_PROP_TOPIC_ALIAS = 35,
    MQTT_PROP_MAXIMUM_QOS = 36,
    MQTT_PROP_RETAIN_AVAILABLE = 37,
    MQTT_PROP_USER = 38,
    MQTT_PROP_MAXIMUM_PACKET_SIZE = 39,
    MQTT_PROP_WILDCARD_AVAILABLE = 40,
    MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE = 41,
    MQTT_PROP_SHARED_AVAILABLE = 42
};
#define MQTT_PROP_ID_MAX 42

/* Where a block stands: the packet's type, or MQTT_PROPS_WILL for the will inside CONNECT. */
#define MQTT_PROPS_WILL 0u

#define MQTT_PROP_NUMBERS 17 /* properties with a number for a value */
#define MQTT_PROP_TEXTS   9  /* properties with one string or binary value */

/* { 0 } is an empty block. Read and set by the functions below, not by hand. */
struct mqtt_props {
    struct slice block;          /* borrowed: as received, without its length */
    uint64_t present;            /* bit id is set when property id is there */
    uint32_t n_user;             /* user properties in block */
    uint32_t n_subscription_ids; /* subscription identifiers in block */
    uint32_t number[MQTT_PROP_NUMBERS];
    struct slice text[MQTT_PROP_TEXTS];
};

/* One property as the iterator gives it. */
struct mqtt_prop {
    enum mqtt_prop_id id;
    uint32_t number;   /* numeric properties */
    struct slice text; /* string and binary properties; the value of a user property */
    struct slice key;  /* the name of a user property */
};

struct mqtt_props_iter {
    struct rd r;
};

/*
 * mqtt_props_decode - take a property length and so many bytes of properties
 *
 * r         in/out: the packet's reader; its error sticks when this fails.
 * where     packet type, or MQTT_PROPS_WILL.
 * user_max  user properties accepted.
 * fault     may be NULL.
 *
 * ERR_TRUNCATED  the block, or a property in it, is longer than what is there
 * ERR_MALFORMED  bad length, unknown id, or a property that does not belong to this packet
 * ERR_PROTOCOL   the same property twice, or a value its definition excludes (0x82; alias 0: 0x94)
 * ERR_UTF8       a string that is not MQTT's UTF-8
 * ERR_LIMIT      more than user_max user properties
 * O(bytes), one pass, no heap. SPEC: MQTT5 2.2.2.
 */
MUST_USE enum err mqtt_props_decode(struct rd *r, unsigned where, size_t user_max,
                                    struct mqtt_fault *fault, struct mqtt_props *ret);

/* mqtt_props_none - an empty block, as { 0 } is one, without writing the values that are not there.
 */
static inline void mqtt_props_none(struct mqtt_props *ret)
{
    ret->block = (struct slice){0};
    ret->present = 0;
    ret->n_user = ret->n_subscription_ids = 0;
}

/* mqtt_props_is_empty - nothing is there. */
static inline bool mqtt_props_is_empty(const struct mqtt_props *p)
{
    return p->present == 0;
}

/* mqtt_props_has - is it there? O(1). */
bool mqtt_props_has(const struct mqtt_props *p, enum mqtt_prop_id id);
/* mqtt_props_number - a numeric property, or `absent` when it is not there. For the subscription
 * identifier: the first one. O(1). */
uint32_t mqtt_props_number(const struct mqtt_props *p, enum mqtt_prop_id id, uint32_t absent);
/* mqtt_props_text - a string or binary property; empty when it is not there. Borrows. O(1). */
struct slice mqtt_props_text(const struct mqtt_props *p, enum mqtt_prop_id id);

/* mqtt_props_each - starts at the front of the block; mqtt_props_next gives one property in the
 * order they came, false after the last. Only for blocks that mqtt_props_decode accepted or the
 * mqtt_prop_write functions wrote. */
struct mqtt_props_iter mqtt_props_each(struct slice block);
bool mqtt_props_next(struct mqtt_props_iter *it, struct mqtt_prop *ret);

/* mqtt_props_set_* - for encoding: put a value that may appear once. text is borrowed until the
 * packet is encoded. Asserts that the id has this kind of value. The subscription
 * identifier can be set so only where block holds none. */
void mqtt_props_set_number(struct mqtt_props *p, enum mqtt_prop_id id, uint32_t v);
void mqtt_props_set_text(struct mqtt_props *p, enum mqtt_prop_id id, struct slice text);
/* mqtt_props_clear - as if it had not been there; for the repeatable ones, all of them. */
void mqtt_props_clear(struct mqtt_props *p, enum mqtt_prop_id id);
/* mqtt_props_set_repeated - for encoding: block (borrowed) holds user properties and subscription
 * identifiers written with mqtt_prop_write_*. */
void mqtt_props_set_repeated(struct mqtt_props *p, struct slice block);

/* mqtt_prop_write_* - one property, id first, without any length around it. */
void mqtt_prop_write_number(struct wr *w, enum mqtt_prop_id id, uint32_t v);
void mqtt_prop_write_text(struct wr *w, enum mqtt_prop_id id, struct slice text);
void mqtt_prop_write_user(struct wr *w, struct slice key, struct slice value);

/* mqtt_props_size - bytes that mqtt_props_encode writes, with the length. */
size_t mqtt_props_size(const struct mqtt_props *p);
/* mqtt_props_encode - length and properties: the single ones by ascending id, then the repeatable
 * ones as they stand in block. */
void mqtt_props_encode(const struct mqtt_props *p, struct wr *w);

/*
 * mqtt_props_copy_forward - write the properties of a PUBLISH (or a will) that go to subscribers
 *
 * Payload format, content type, response topic, correlation data, user properties; in the order
 * they came, without a length. Alias, expiry, subscription identifiers and will delay stay behind:
 * the sender of each copy adds its own. mqtt_props_forward_size says how many bytes. O(block).
 * SPEC: MQTT5-3.3.2-4, MQTT5-3.3.2-15, MQTT5-3.3.2-16, MQTT5-3.3.2-17, MQTT5-3.3.2-18,
 * MQTT5-3.3.2-20.
 */
void mqtt_props_copy_forward(const struct mqtt_props *p, struct wr *w);
size_t mqtt_props_forward_size(const struct mqtt_props *p);

/* mqtt_prop_name - "topic alias" for logs; "unknown" for an id without meaning. Never NULL. */
const char *mqtt_prop_name(uint32_t id);

#endif

#include "wire/mqtt/props.h"

#include "base/scope.h"
#include "wire/mqtt/fault_private.h"
#include "wire/mqtt/varint.h"

#define AT(type) (1u << MQTT_##type)
#define WILL     (1u << MQTT_PROPS_WILL)
#define ACKS     (AT(PUBACK) | AT(PUBREC) | AT(PUBREL) | AT(PUBCOMP) | AT(SUBACK) | AT(UNSUBACK))
#define MESSAGE  (AT(PUBLISH) | WILL)
#define OPENING  (AT(CONNECT) | AT(CONNACK))
#define ANYWHERE                                                                                   \
    (OPENING | MESSAGE | ACKS | AT(SUBSCRIBE) | AT(UNSUBSCRIBE) | AT(DISCONNECT) | AT(AUTH))

enum kind { U8, U16, U32, VARINT, TEXT, BINARY, PAIR };
enum rule { ANY, ZERO_OR_ONE, NOT_ZERO };

/* Everything there is to know about a property, by id. A row without a name is no property.
 * `slot` is its place in number[] or text[]. SPEC: MQTT5 2.2.2.2 */
static const struct prop_row {
    const char *name;
    enum kind kind;
    enum rule rule;
    uint8_t slot;
    unsigned places;
} rows[MQTT_PROP_ID_MAX + 1] = {
    [MQTT_PROP_PAYLOAD_FORMAT] = {"payload format indicator", U8, ZERO_OR_ONE, 0, MESSAGE},
    [MQTT_PROP_MESSAGE_EXPIRY] = {"message expiry interval", U32, ANY, 1, MESSAGE},
    [MQTT_PROP_CONTENT_TYPE] = {"content type", TEXT, ANY, 0, MESSAGE},
    [MQTT_PROP_RESPONSE_TOPIC] = {"response topic", TEXT, ANY, 1, MESSAGE},
    [MQTT_PROP_CORRELATION_DATA] = {"correlation data", BINARY, ANY, 2, MESSAGE},
    [MQTT_PROP_SUBSCRIPTION_ID] = {"subscription identifier", VARINT, NOT_ZERO, 2,
                                   AT(PUBLISH) | AT(SUBSCRIBE)},
    [MQTT_PROP_SESSION_EXPIRY] = {"session expiry interval", U32, ANY, 3, OPENING | AT(DISCONNECT)},
    [MQTT_PROP_ASSIGNED_CLIENT_ID] = {"assigned client identifier", TEXT, ANY, 3, AT(CONNACK)},
    [MQTT_PROP_SERVER_KEEP_ALIVE] = {"server keep alive", U16, ANY, 4, AT(CONNACK)},
    [MQTT_PROP_AUTH_METHOD] = {"authentication method", TEXT, ANY, 4, OPENING | AT(AUTH)},
    [MQTT_PROP_AUTH_DATA] = {"authentication data", BINARY, ANY, 5, OPENING | AT(AUTH)},
    [MQTT_PROP_REQUEST_PROBLEM_INFO] = {"request problem information", U8, ZERO_OR_ONE, 5,
                                        AT(CONNECT)},
    [MQTT_PROP_WILL_DELAY] = {"will delay interval", U32, ANY, 6, WILL},
    [MQTT_PROP_REQUEST_RESPONSE_INFO] = {"request response information", U8, ZERO_OR_ONE, 7,
                                         AT(CONNECT)},
    [MQTT_PROP_RESPONSE_INFO] = {"response information", TEXT, ANY, 6, AT(CONNACK)},
    [MQTT_PROP_SERVER_REFERENCE] = {"server reference", TEXT, ANY, 7, AT(CONNACK) | AT(DISCONNECT)},
    [MQTT_PROP_REASON_STRING] = {"reason string", TEXT, ANY, 8,
                                 AT(CONNACK) | ACKS | AT(DISCONNECT) | AT(AUTH)},
    [MQTT_PROP_RECEIVE_MAXIMUM] = {"receive maximum", U16, NOT_ZERO, 8, OPENING},
    [MQTT_PROP_TOPIC_ALIAS_MAXIMUM] = {"topic alias maximum", U16, ANY, 9, OPENING},
    [MQTT_PROP_TOPIC_ALIAS] = {"topic alias", U16, NOT_ZERO, 10, AT(PUBLISH)},
    [MQTT_PROP_MAXIMUM_QOS] = {"maximum QoS", U8, ZERO_OR_ONE, 11, AT(CONNACK)},
    [MQTT_PROP_RETAIN_AVAILABLE] = {"retain available", U8, ZERO_OR_ONE, 12, AT(CONNACK)},
    [MQTT_PROP_USER] = {"user property", PAIR, ANY, 0, ANYWHERE},
    [MQTT_PROP_MAXIMUM_PACKET_SIZE] = {"maximum packet size", U32, NOT_ZERO, 13, OPENING},
    [MQTT_PROP_WILDCARD_AVAILABLE] = {"wildcard subscription available", U8, ZERO_OR_ONE, 14,
                                      AT(CONNACK)},
    [MQTT_PROP_SUBSCRIPTION_ID_AVAILABLE] = {"subscription identifier available", U8, ZERO_OR_ONE,
                                             15, AT(CONNACK)},
    [MQTT_PROP_SHARED_AVAILABLE] = {"shared subscription available", U8, ZERO_OR_ONE, 16,
                                    AT(CONNACK)},
};

#define BIT(id)    (UINT64_C(1) << (id))
#define REPEATABLE (BIT(MQTT_PROP_USER) | BIT(MQTT_PROP_SUBSCRIPTION_ID))
#define FORWARDED                                                                                  \
    (BIT(MQTT_PROP_PAYLOAD_FORMAT) | BIT(MQTT_PROP_CONTENT_TYPE) | BIT(MQTT_PROP_RESPONSE_TOPIC) | \
     BIT(MQTT_PROP_CORRELATION_DATA) | BIT(MQTT_PROP_USER))

static bool is_numeric(enum kind kind)
{
    return kind == U8 || kind == U16 || kind == U32 || kind == VARINT;
}

static const struct prop_row *row_find(uint32_t id)
{
    return id <= MQTT_PROP_ID_MAX && rows[id].name != NULL ? &rows[id] : NULL;
}

static const struct prop_row *row_of(enum mqtt_prop_id id)
{
    const struct prop_row *row = row_find(id);
    assert(row != NULL);
    return row;
}

/* The value behind an id, by kind alone; the reader's error sticks. */
static void read_value(struct rd *r, enum kind kind, struct mqtt_prop *prop)
{
    switch (kind) {
    case U8:
        prop->number = rd_u8(r);
        break;
    case U16:
        prop->number = rd_u16(r);
        break;
    case U32:
        prop->number = rd_u32(r);
        break;
    case VARINT:
        prop->number = mqtt_varint_read(r);
        break;
    case PAIR:
        prop->key = rd_block16(r);
        prop->text = rd_block16(r);
        break;
    case TEXT:
    case BINARY:
        prop->text = rd_block16(r);
        break;
    }
}

static enum err check_value(const struct mqtt_prop *prop, const struct prop_row *row, size_t end,
                            struct mqtt_fault *fault)
{
    if (row->kind == PAIR) { /* SPEC: MQTT5-1.5.7-1 */
        size_t key_at = end - prop->text.n - 2 - prop->key.n;
        TRY(mqtt_check_text(prop->key, key_at, fault, MQTT_MALFORMED_PACKET));
    }
    if (row->kind == PAIR || row->kind == TEXT) {
        TRY(mqtt_check_text(prop->text, end - prop->text.n, fault, MQTT_MALFORMED_PACKET));
    }
    if ((row->rule == ZERO_OR_ONE && prop->number > 1) ||
        (row->rule == NOT_ZERO && prop->number == 0)) {
        /* SPEC: MQTT5-3.3.2-8 for the alias, MQTT5 3.1.2.11 and its like for the others */
        return mqtt_fail(fault, ERR_PROTOCOL, end,
                         prop->id == MQTT_PROP_TOPIC_ALIAS ? MQTT_TOPIC_ALIAS_INVALID
                                                           : MQTT_PROTOCOL_ERROR);
    }
    return OK;
}

/* Count it, and keep the value of what is asked for by id. */
static void keep(struct mqtt_props *p, const struct mqtt_prop *prop, const struct prop_row *row)
{
    bool first = !mqtt_props_has(p, prop->id);
    p->present |= BIT(prop->id);
    p->n_user += prop->id == MQTT_PROP_USER;
    p->n_subscription_ids += prop->id == MQTT_PROP_SUBSCRIPTION_ID;
    if (row->kind == PAIR || !first) {
        return;
    }
    if (is_numeric(row->kind)) {
        p->number[row->slot] = prop->number;
    } else {
        p->text[row->slot] = prop->text;
    }
}

static bool may_repeat(uint32_t id, unsigned where)
{
    return id == MQTT_PROP_USER || (id == MQTT_PROP_SUBSCRIPTION_ID && where == MQTT_PUBLISH);
}

static enum err decode_block(struct rd *r, unsigned where, size_t user_max,
                             struct mqtt_fault *fault, struct mqtt_props *p)
{
    while (rd_left(r) > 0) {
        size_t at = r->at;
        uint32_t id = mqtt_varint_read(r);
        TRY(mqtt_check_read(r, fault));
        const struct prop_row *row = row_find(id);
        if (row == NULL || (row->places & 1u << where) == 0) {
            return mqtt_malformed(fault, at); /* SPEC: MQTT5 2.2.2.2 */
        }
        struct mqtt_prop prop = {.id = (enum mqtt_prop_id)id};
        if (mqtt_props_has(p, prop.id) && !may_repeat(id, where)) {
            return mqtt_protocol(fault, at);
        }
        if (id == MQTT_PROP_USER && p->n_user >= user_max) {
            return mqtt_fail(fault, ERR_LIMIT, at, MQTT_QUOTA_EXCEEDED);
        }
        read_value(r, row->kind, &prop);
        TRY(mqtt_check_read(r, fault));
        TRY(check_value(&prop, row, r->at, fault));
        keep(p, &prop, row);
    }
    return OK;
}

enum err mqtt_props_decode(struct rd *r, unsigned where, size_t user_max, struct mqtt_fault *fault,
                           struct mqtt_props *ret)
{
    struct slice block = rd_bytes(r, mqtt_varint_read(r));
    TRY(mqtt_check_read(r, fault));
    if (block.n == 0) {
        mqtt_props_none(ret); /* most packets have none */
        return OK;
    }
    struct mqtt_props p = {.block = block};
    struct rd inner = rd_from(p.block);
    enum err e = decode_block(&inner, where, user_max, fault, &p);
    if (e != OK) {
        rd_fail(r, e);
        return mqtt_lift(fault, e, r->at - p.block.n);
    }
    *ret = p;
    return OK;
}

bool mqtt_props_has(const struct mqtt_props *p, enum mqtt_prop_id id)
{
    return (p->present & BIT(id)) != 0;
}

uint32_t mqtt_props_number(const struct mqtt_props *p, enum mqtt_prop_id id, uint32_t absent)
{
    const struct prop_row *row = row_of(id);
    assert(is_numeric(row->kind));
    return mqtt_props_has(p, id) ? p->number[row->slot] : absent;
}

struct slice mqtt_props_text(const struct mqtt_props *p, enum mqtt_prop_id id)
{
    const struct prop_row *row = row_of(id);
    assert(row->kind == TEXT || row->kind == BINARY);
    return mqtt_props_has(p, id) ? p->text[row->slot] : (struct slice){0};
}

struct mqtt_props_iter mqtt_props_each(struct slice block)
{
    return (struct mqtt_props_iter){.r = rd_from(block)};
}

bool mqtt_props_next(struct mqtt_props_iter *it, struct mqtt_prop *ret)
{
    if (rd_left(&it->r) == 0) {
        return false;
    }
    struct mqtt_prop prop = {.id = (enum mqtt_prop_id)mqtt_varint_read(&it->r)};
    const struct prop_row *row = row_find(prop.id);
    if (row == NULL) {
        return false;
    }
    read_value(&it->r, row->kind, &prop);
    if (!rd_ok(&it->r)) {
        return false;
    }
    *ret = prop;
    return true;
}

void mqtt_props_set_number(struct mqtt_props *p, enum mqtt_prop_id id, uint32_t v)
{
    const struct prop_row *row = row_of(id);
    assert(is_numeric(row->kind));
    assert(id != MQTT_PROP_SUBSCRIPTION_ID || p->n_subscription_ids == 0);
    p->present |= BIT(id);
    p->number[row->slot] = v;
}

void mqtt_props_set_text(struct mqtt_props *p, enum mqtt_prop_id id, struct slice text)
{
    const struct prop_row *row = row_of(id);
    assert(row->kind == TEXT || row->kind == BINARY);
    p->present |= BIT(id);
    p->text[row->slot] = text;
}

void mqtt_props_clear(struct mqtt_props *p, enum mqtt_prop_id id)
{
    p->present &= ~BIT(id);
    if (id == MQTT_PROP_USER) {
        p->n_user = 0;
    }
    if (id == MQTT_PROP_SUBSCRIPTION_ID) {
        p->n_subscription_ids = 0;
    }
}

void mqtt_props_set_repeated(struct mqtt_props *p, struct slice block)
{
    mqtt_props_clear(p, MQTT_PROP_USER);
    mqtt_props_clear(p, MQTT_PROP_SUBSCRIPTION_ID);
    p->block = block;
    struct mqtt_props_iter it = mqtt_props_each(block);
    struct mqtt_prop prop;
    while (mqtt_props_next(&it, &prop)) {
        assert(prop.id == MQTT_PROP_USER || prop.id == MQTT_PROP_SUBSCRIPTION_ID);
        keep(p, &prop, row_of(prop.id));
    }
}

void mqtt_prop_write_number(struct wr *w, enum mqtt_prop_id id, uint32_t v)
{
    enum kind kind = row_of(id)->kind;
    assert(is_numeric(kind));
    wr_u8(w, (uint8_t)id);
    switch (kind) {
    case U8:
        wr_u8(w, (uint8_t)v);
        break;
    case U16:
        wr_u16(w, (uint16_t)v);
        break;
    case U32:
        wr_u32(w, v);
        break;
    case VARINT:
        mqtt_varint_write(w, v);
        break;
    case TEXT:
    case BINARY:
    case PAIR:
        break;
    }
}

void mqtt_prop_write_text(struct wr *w, enum mqtt_prop_id id, struct slice text)
{
    assert(row_of(id)->kind == TEXT || row_of(id)->kind == BINARY);
    wr_u8(w, (uint8_t)id);
    wr_block16(w, text);
}

void mqtt_prop_write_user(struct wr *w, struct slice key, struct slice value)
{
    wr_u8(w, MQTT_PROP_USER);
    wr_block16(w, key);
    wr_block16(w, value);
}

/* Bytes of one property with its id. */
static size_t prop_size(const struct mqtt_prop *prop)
{
    switch (row_of(prop->id)->kind) {
    case U8:
        return 1 + 1;
    case U16:
        return 1 + 2;
    case U32:
        return 1 + 4;
    case VARINT:
        return 1 + mqtt_varint_size(prop->number);
    case TEXT:
    case BINARY:
        return 1 + mqtt_block_size(prop->text);
    case PAIR:
        return 1 + mqtt_block_size(prop->key) + mqtt_block_size(prop->text);
    }
    return 0;
}

static void prop_write(struct wr *w, const struct mqtt_prop *prop)
{
    enum kind kind = row_of(prop->id)->kind;
    if (kind == PAIR) {
        mqtt_prop_write_user(w, prop->key, prop->text);
    } else if (is_numeric(kind)) {
        mqtt_prop_write_number(w, prop->id, prop->number);
    } else {
        mqtt_prop_write_text(w, prop->id, prop->text);
    }
}

/* Sizes and writes the properties whose bit is in `wanted`: w may be NULL to count only. One
 * function, so that the length that is announced and the bytes that follow cannot disagree. */
static size_t write_wanted(const struct mqtt_props *p, uint64_t wanted, struct wr *w)
{
    size_t n = 0;
    uint64_t repeated = wanted & p->present & REPEATABLE;
    if (p->n_subscription_ids == 0) {
        repeated &= ~BIT(MQTT_PROP_SUBSCRIPTION_ID); /* set by hand: a value, not in the block */
    }
    for (uint64_t left = wanted & p->present & ~repeated; left != 0; left &= left - 1) {
        struct mqtt_prop prop = {.id = (enum mqtt_prop_id)__builtin_ctzll(left)};
        const struct prop_row *row = row_of(prop.id);
        if (is_numeric(row->kind)) {
            prop.number = p->number[row->slot];
        } else {
            prop.text = p->text[row->slot];
        }
        n += prop_size(&prop);
        if (w != NULL) {
            prop_write(w, &prop);
        }
    }
    struct mqtt_props_iter it = mqtt_props_each(repeated != 0 ? p->block : (struct slice){0});
    struct mqtt_prop prop;
    while (mqtt_props_next(&it, &prop)) {
        if ((repeated & BIT(prop.id)) != 0) {
            n += prop_size(&prop);
            if (w != NULL) {
                prop_write(w, &prop);
            }
        }
    }
    return n;
}

size_t mqtt_props_size(const struct mqtt_props *p)
{
    size_t n = write_wanted(p, UINT64_MAX, NULL);
    return mqtt_varint_size(n) + n;
}

void mqtt_props_encode(const struct mqtt_props *p, struct wr *w)
{
    mqtt_varint_write(w, write_wanted(p, UINT64_MAX, NULL)); /* SPEC: MQTT5-2.2.2-1 */
    (void)write_wanted(p, UINT64_MAX, w);
}

size_t mqtt_props_forward_size(const struct mqtt_props *p)
{
    return write_wanted(p, FORWARDED, NULL);
}

void mqtt_props_copy_forward(const struct mqtt_props *p, struct wr *w)
{
    (void)write_wanted(p, FORWARDED, w); /* SPEC: MQTT5-3.3.2-17, MQTT5-3.3.2-18 */
}

const char *mqtt_prop_name(uint32_t id)
{
    const struct prop_row *row = row_find(id);
    return row != NULL ? row->name : "unknown";
}

/*
 * golden_private - what every codec test of this folder does with its table of packets
 *
 * Bytes are written by hand: hexadecimal, spaces, and 'text' in quotes.
 */
#ifndef WIRE_MQTT_GOLDEN_PRIVATE_H
#define WIRE_MQTT_GOLDEN_PRIVATE_H

#include "base/scope.h"
#include "wire/mqtt/any_private.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A table row of 3.1 is decoded as where 3.1 is taken. */
#define C3 MQTT_V31, MQTT_FROM_CLIENT
#define S3 MQTT_V31, MQTT_FROM_SERVER
#define C4 MQTT_V311, MQTT_FROM_CLIENT
#define S4 MQTT_V311, MQTT_FROM_SERVER
#define C5 MQTT_V5, MQTT_FROM_CLIENT
#define S5 MQTT_V5, MQTT_FROM_SERVER

/* A packet that decodes, and that encodes to the same bytes. */
struct golden {
    const char *name;
    enum mqtt_version version;
    enum mqtt_sender sender;
    const char *bytes;   /* whole packet */
    size_t n_legal_cuts; /* how many shorter bodies are packets too */
    enum err trailing;   /* what one more byte (zero) gives */
};

/* A packet that must be refused, with these and no other codes. */
struct refused {
    const char *name;
    enum mqtt_version version;
    enum mqtt_sender sender;
    const char *bytes;
    enum err err;
    uint8_t reason;
};

#define GOLDEN_MAX 4096

static inline unsigned golden_nibble(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    assert_in_range(c, 'a', 'f');
    return (unsigned)(c - 'a' + 10);
}

static inline size_t golden_bytes(const char *s, uint8_t *dst)
{
    size_t n = 0;
    while (*s != '\0') {
        assert_true(n < GOLDEN_MAX);
        if (*s == '\'') {
            for (s++; *s != '\''; s++) {
                dst[n++] = (uint8_t)*s;
            }
            s++;
        } else if (*s == ' ') {
            s++;
        } else {
            dst[n++] = (uint8_t)(golden_nibble(s[0]) << 4 | golden_nibble(s[1]));
            s += 2;
        }
    }
    return n;
}

/* The limits of a default installation. */
static inline struct mqtt_wire_limits golden_limits(void)
{
    return (struct mqtt_wire_limits){.topic_bytes = 256,
                                     .topic_levels = 16,
                                     .filters_per_packet = 8,
                                     .user_properties = 64,
                                     .client_id_bytes = 64,
                                     .topic_alias_max = 16};
}

/* One try with a body of its own on the heap, so that the sanitizer sees a read one past its end.
 */
static inline enum err golden_try(enum mqtt_type type, uint8_t flags, enum mqtt_version version,
                                  enum mqtt_sender sender, const struct mqtt_wire_limits *limits,
                                  struct slice body, struct mqtt_fault *fault, uint8_t *room,
                                  struct slice *ret)
{
    uint8_t *exact = mem_alloc(body.n);
    assert_non_null(exact);
    if (body.n > 0) {
        memcpy(exact, body.p, body.n);
    }
    struct mqtt_input in = {.body = slice_of(exact, body.n),
                            .flags = flags,
                            .version = version,
                            .sender = sender,
                            .takes_v31 = version == MQTT_V31,
                            .limits = limits};
    enum err e = any_round_trip(type, &in, fault, room, body.n + ANY_SLACK, ret);
    exact = mem_free(exact);
    return e;
}

static inline void golden_check_encode_room(const struct golden *g, struct slice packet)
{
    uint8_t room[GOLDEN_MAX];
    struct mqtt_wire_limits limits = golden_limits();
    struct mqtt_fixed fixed;
    struct mqtt_input in = {.version = g->version,
                            .sender = g->sender,
                            .takes_v31 = g->version == MQTT_V31,
                            .limits = &limits};
    struct slice stream = packet;
    assert_int_equal(mqtt_packet_cut(&stream, SIZE_MAX, NULL, &fixed, &in.body), OK);
    in.flags = fixed.flags;
    struct mqtt_any m;
    assert_int_equal(any_decode(fixed.type, &in, NULL, &m), OK);
    struct wr exact = wr_into(room, packet.n), shorter = wr_into(room, packet.n - 1);
    assert_int_equal(any_encode(&m, g->version, &exact), OK);
    assert_int_equal(exact.at, packet.n);
    assert_int_equal(any_encode(&m, g->version, &shorter), ERR_SPACE);
    assert_int_equal(shorter.at, 0); /* whole or not at all */
}

static inline void golden_check_flips(const struct golden *g, uint8_t *bytes, size_t n)
{
    struct mqtt_wire_limits limits = golden_limits();
    uint8_t room[GOLDEN_MAX + ANY_SLACK];
    for (size_t bit = 0; bit < n * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct slice stream = slice_of(bytes, n), body, out;
        struct mqtt_fixed fixed;
        struct mqtt_fault fault = {0};
        if (mqtt_packet_cut(&stream, SIZE_MAX, &fault, &fixed, &body) == OK) {
            (void)!golden_try(fixed.type, fixed.flags, g->version, g->sender, &limits, body, &fault,
                              room, &out);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static inline void golden_check(const struct golden *g)
{
    uint8_t bytes[GOLDEN_MAX + 1], room[GOLDEN_MAX + ANY_SLACK];
    size_t n = golden_bytes(g->bytes, bytes);
    struct mqtt_wire_limits limits = golden_limits();
    struct slice stream = slice_of(bytes, n), body, out;
    struct mqtt_fixed fixed;
    struct mqtt_fault fault = {0};
    enum err e = mqtt_packet_cut(&stream, n, &fault, &fixed, &body);
    if (e != OK || stream.n != 0) {
        fail_msg("%s: cut gives %s, %zu left", g->name, err_name(e), stream.n);
    }
    e = golden_try(fixed.type, fixed.flags, g->version, g->sender, &limits, body, &fault, room,
                   &out);
    if (e != OK) {
        fail_msg("%s: %s at %zu", g->name, err_name(e), fault.at);
    }
    if (!slice_equal(out, slice_of(bytes, n))) {
        fail_msg("%s: encodes to other bytes", g->name);
    }
    golden_check_encode_room(g, slice_of(bytes, n));

    size_t n_legal = 0;
    for (size_t cut = 0; cut < body.n; cut++) {
        n_legal += golden_try(fixed.type, fixed.flags, g->version, g->sender, &limits,
                              slice_head(body, cut), &fault, room, &out) == OK;
    }
    if (n_legal != g->n_legal_cuts) {
        fail_msg("%s: %zu cuts are packets, not %zu", g->name, n_legal, g->n_legal_cuts);
    }
    bytes[n] = 0;
    struct slice longer = slice_from(slice_of(bytes, n + 1), fixed.header_n);
    e = golden_try(fixed.type, fixed.flags, g->version, g->sender, &limits, longer, &fault, room,
                   &out);
    if (e != g->trailing) {
        fail_msg("%s: one more byte gives %s", g->name, err_name(e));
    }
    golden_check_flips(g, bytes, n);
}

/* The whole way of a packet: cut, sender, decode. */
static inline enum err golden_take(struct slice packet, enum mqtt_version version,
                                   enum mqtt_sender sender, const struct mqtt_wire_limits *limits,
                                   struct mqtt_fault *fault)
{
    static uint8_t room[70000 + ANY_SLACK];
    struct slice stream = packet, body, out;
    struct mqtt_fixed fixed;
    assert_true(packet.n <= 70000);
    TRY(mqtt_packet_cut(&stream, packet.n, fault, &fixed, &body));
    return golden_try(fixed.type, fixed.flags, version, sender, limits, body, fault, room, &out);
}

static inline void refused_check(const struct refused *c)
{
    uint8_t bytes[GOLDEN_MAX];
    size_t n = golden_bytes(c->bytes, bytes);
    struct mqtt_wire_limits limits = golden_limits();
    struct mqtt_fault fault = {0};
    enum err e = golden_take(slice_of(bytes, n), c->version, c->sender, &limits, &fault);
    if (e != c->err || fault.reason != c->reason) {
        fail_msg("%s: %s 0x%02x at %zu", c->name, err_name(e), fault.reason, fault.at);
    }
}

#define GOLDEN_CHECK(table)                                                                        \
    for (size_t i_ = 0; i_ < COUNT_OF(table); i_++) {                                              \
        golden_check(&(table)[i_]);                                                                \
    }
#define REFUSED_CHECK(table)                                                                       \
    for (size_t i_ = 0; i_ < COUNT_OF(table); i_++) {                                              \
        refused_check(&(table)[i_]);                                                               \
    }

#endif

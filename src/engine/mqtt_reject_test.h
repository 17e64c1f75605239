/*
 * mqtt_reject_test - the classes of bad input: what a client can get wrong, by packet and property,
 * and what it is told. The engines' tests and the workers' tests walk the same classes.
 *
 * A packet is text: hexadecimal and spaces; 'text'; [...] with its length as a varint in front, the
 * remaining length or the length of properties; {...} with its length in two bytes; (3:...) three
 * times; @ the next packet id, from 1.
 */
#ifndef ENGINE_MQTT_REJECT_TEST_H
#define ENGINE_MQTT_REJECT_TEST_H

#include "base/scope.h"
#include "engine/mqtt_talk_test.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/reason.h"
#include "wire/mqtt/varint.h"

enum { REJECT_IN = 2048, REJECT_OUT = 16, REJECTS_MAX = 1024, REJECT_NESTED = 8 };

/* Where the class is met: as the first packet of a stranger, as its answer to a challenge, or on an
 * open connection. */
enum reject_place { REJECT_FIRST, REJECT_CHALLENGED, REJECT_OPEN };

/* Which versions a row is for. */
enum { IN4 = 1, IN5 = 2, BOTH = IN4 | IN5 };

/* A row as it is written. */
struct reject_row {
    const char *name;
    unsigned versions;
    const char *in;
    enum err err;
    uint8_t reason;
    const char *out; /* NULL: DISCONNECT with the reason, in 3.1.1 nothing */
};

/* A class: one row in one version, as bytes. */
struct reject {
    char name[96];
    enum mqtt_version version;
    enum reject_place place;
    enum err err;
    uint8_t reason;
    bool has_good; /* packets that are good stand in front, and deliver */
    size_t n_in, n_out;
    uint8_t in[REJECT_IN], out[REJECT_OUT];
};

struct rejects {
    struct reject *all;
    size_t n;
};

/* The limits that the classes are written for: those of a default installation. */
enum { REJECT_PREAUTH_BYTES = 8 * 1024, REJECT_PACKET_BYTES = 264 * 1024, REJECT_RECEIVE_MAX = 20 };

static inline struct mqtt_wire_limits reject_limits(void)
{
    struct mqtt_wire_limits limits = talk_limits();
    limits.topic_alias_max = 16;
    return limits;
}

/* ---- text to bytes ---- */

struct reject_text {
    const char *s;
    uint8_t *dst;
    size_t n;
    uint16_t packet_id;
    unsigned depth;
};

static inline void reject_put(struct reject_text *t, uint8_t byte)
{
    assert_true(t->n < REJECT_IN);
    t->dst[t->n++] = byte;
}

static inline void reject_expand(struct reject_text *t, char end);

/* What stands in the brackets, with its length in front. */
static inline void reject_block(struct reject_text *t, char end)
{
    uint8_t head[4];
    struct wr w = wr_into(head, sizeof(head));
    size_t at = t->n;
    reject_expand(t, end);
    size_t n = t->n - at;
    if (end == ']') {
        mqtt_varint_write(&w, n);
    } else {
        wr_u16(&w, (uint16_t)n);
    }
    assert_true(wr_ok(&w) && t->n + w.at <= REJECT_IN);
    memmove(t->dst + at + w.at, t->dst + at, n);
    memcpy(t->dst + at, head, w.at);
    t->n += w.at;
}

static inline void reject_repeat(struct reject_text *t)
{
    char *again = NULL;
    unsigned long times = strtoul(t->s, &again, 10);
    assert_true(times > 0 && *again == ':');
    for (; times > 0; times--) {
        t->s = again + 1;
        reject_expand(t, ')');
    }
}

static inline void reject_item(struct reject_text *t)
{
    switch (*t->s++) {
    case ' ':
        break;
    case '\'':
        for (; *t->s != '\''; t->s++) {
            reject_put(t, (uint8_t)*t->s);
        }
        t->s++;
        break;
    case '[':
        reject_block(t, ']');
        break;
    case '{':
        reject_block(t, '}');
        break;
    case '(':
        reject_repeat(t);
        break;
    case '@':
        t->packet_id++;
        reject_put(t, (uint8_t)(t->packet_id >> 8));
        reject_put(t, (uint8_t)t->packet_id);
        break;
    default:
        reject_put(t, (uint8_t)(talk_nibble(t->s[-1]) << 4 | talk_nibble(t->s[0])));
        t->s++;
        break;
    }
}

static inline void reject_expand(struct reject_text *t, char end)
{
    assert_true(t->depth++ < REJECT_NESTED);
    while (*t->s != end) {
        assert_true(*t->s != '\0');
        reject_item(t);
    }
    t->s += end != '\0';
    t->depth--;
}

/* dst has room for REJECT_IN. */
static inline size_t reject_bytes(const char *s, uint8_t *dst)
{
    struct reject_text t = {.s = s, .dst = dst};
    reject_expand(&t, '\0');
    return t.n;
}

/* ---- rows to classes ---- */

static inline void reject_add_one(struct rejects *r, const struct reject_row *row,
                                  enum reject_place place, enum mqtt_version version)
{
    assert_true(r->n < REJECTS_MAX);
    struct reject *c = &r->all[r->n++];
    (void)snprintf(c->name, sizeof(c->name), "%s, %s", row->name,
                   version == MQTT_V5 ? "5.0" : "3.1.1");
    c->version = version;
    c->place = place;
    c->err = row->err;
    c->reason = row->reason;
    c->n_in = reject_bytes(row->in, c->in);
    c->has_good = strchr(row->in, '@') != NULL;
    if (row->out != NULL) {
        assert_true(strlen(row->out) <= (size_t)2 * REJECT_OUT);
        uint8_t out[REJECT_IN];
        c->n_out = reject_bytes(row->out, out);
        memcpy(c->out, out, c->n_out);
    } else if (version == MQTT_V5) {
        uint8_t v5[] = {0xe0, 1, row->reason};
        uint8_t connack[] = {0x20, 3, 0, row->reason, 0};
        c->n_out = place == REJECT_OPEN ? sizeof(v5) : sizeof(connack);
        memcpy(c->out, place == REJECT_OPEN ? v5 : connack, c->n_out);
    }
}

static inline void reject_add(struct rejects *r, const struct reject_row *row,
                              enum reject_place place)
{
    if ((row->versions & IN4) != 0) {
        reject_add_one(r, row, place, MQTT_V311);
    }
    if ((row->versions & IN5) != 0) {
        reject_add_one(r, row, place, MQTT_V5);
    }
}

static inline struct rejects rejects_new(void)
{
    struct rejects r = {.all = mem_array(REJECTS_MAX, sizeof(struct reject))};
    assert_non_null(r.all);
    return r;
}

static inline void rejects_free(struct rejects *r)
{
    r->all = mem_free(r->all);
}

/* How often each class is sent: SALLYPORT_REJECTS, or so often. */
static inline unsigned long reject_times(unsigned long otherwise)
{
    const char *text = getenv("SALLYPORT_REJECTS");
    return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

#endif

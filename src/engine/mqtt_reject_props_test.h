/*
 * mqtt_reject_props_test - the classes of bad input that are a property's: every property of MQTT 5
 * in every packet that a client sends, where it may stand and where not, twice, cut, and with each
 * kind of value that it must not have. What is allowed is written down here once more, so that the
 * decoder's table is not its own judge.
 */
#ifndef ENGINE_MQTT_REJECT_PROPS_TEST_H
#define ENGINE_MQTT_REJECT_PROPS_TEST_H

#include "engine/mqtt_reject_test.h"

/* Where properties stand in what a client sends. % is the block without its length. */
struct prop_place {
    char letter;
    const char *name;
    enum reject_place place;
    const char *head, *tail; /* around the block */
};

static const struct prop_place prop_places[] = {
    {'C', "CONNECT", REJECT_FIRST, "10[{'MQTT'} 05 02 003c", "{'c'}]"},
    {'W', "will", REJECT_FIRST, "10[{'MQTT'} 05 06 003c 00 {'c'}", "{'t'} {'x'}]"},
    {'P', "PUBLISH", REJECT_OPEN, "30[{'t'}", "'x']"},
    {'a', "PUBACK", REJECT_OPEN, "40[0001 00", "]"},
    {'r', "PUBREC", REJECT_OPEN, "50[0001 00", "]"},
    {'l', "PUBREL", REJECT_OPEN, "62[0001 00", "]"},
    {'c', "PUBCOMP", REJECT_OPEN, "70[0001 00", "]"},
    {'S', "SUBSCRIBE", REJECT_OPEN, "82[0009", "{'t'} 00]"},
    {'U', "UNSUBSCRIBE", REJECT_OPEN, "a2[0009", "{'t'}]"},
    {'D', "DISCONNECT", REJECT_OPEN, "e0[00", "]"},
    {'A', "AUTH", REJECT_OPEN, "f0[19", "]"},
};

struct prop_bad {
    const char *what, *value;
    enum err err;
    uint8_t reason;
};

enum { PROP_BAD_MAX = 5 };
#define NOT_BOOL                                                                                   \
    {                                                                                              \
        {"2", "02", ERR_PROTOCOL, 0x82},                                                           \
        {                                                                                          \
            "255", "ff", ERR_PROTOCOL, 0x82                                                        \
        }                                                                                          \
    }
#define NOT_TEXT                                                                                   \
    {"no UTF-8", "{c080}", ERR_UTF8, 0x81}, {"a surrogate", "{eda080}", ERR_UTF8, 0x81},           \
    {                                                                                              \
        "NUL", "{'x'00}", ERR_UTF8, 0x81                                                           \
    }

static const struct prop_case {
    const char *id, *name;
    const char *good, *cut; /* values; cut ends too early */
    const char *places;     /* letters of prop_places */
    const char *protocol;   /* letters of places where it decodes, and is a server's */
    struct prop_bad bad[PROP_BAD_MAX];
} prop_cases[] = {
    {"01", "payload format indicator", "01", "", "WP", "", NOT_BOOL},
    {"02", "message expiry interval", "0000000a", "000000", "WP", "", {{0}}},
    {"03", "content type", "{'x'}", "0002'x'", "WP", "", {NOT_TEXT}},
    {"08",
     "response topic",
     "{'r'}",
     "0002'x'",
     "WP",
     "",
     {NOT_TEXT,
      {"a wildcard", "{'r/#'}", ERR_MALFORMED, 0x90},
      {"too long", "{(257:'r')}", ERR_TOO_LARGE, 0x90}}},
    {"09", "correlation data", "{00ff}", "0002'x'", "WP", "", {{0}}},
    {"0b",
     "subscription identifier",
     "01",
     "80",
     "S",
     "P",
     {{"0", "00", ERR_PROTOCOL, 0x82},
      {"five bytes", "ffffffff01", ERR_MALFORMED, 0x81},
      {"longer than needed", "8100", ERR_MALFORMED, 0x81}}},
    {"11", "session expiry interval", "0000000a", "000000", "CD", "", {{0}}},
    {"12", "assigned client identifier", "{'x'}", "0002'x'", "", "", {{0}}},
    {"13", "server keep alive", "0001", "00", "", "", {{0}}},
    {"15", "authentication method", "{'M'}", "0002'M'", "CA", "", {NOT_TEXT}},
    {"16", "authentication data", "{00ff}", "0002'x'", "CA", "", {{0}}},
    {"17", "request problem information", "01", "", "C", "", NOT_BOOL},
    {"18", "will delay interval", "0000000a", "000000", "W", "", {{0}}},
    {"19", "request response information", "01", "", "C", "", NOT_BOOL},
    {"1a", "response information", "{'x'}", "0002'x'", "", "", {{0}}},
    {"1c", "server reference", "{'x'}", "0002'x'", "", "D", {{0}}},
    {"1f", "reason string", "{'x'}", "0002'x'", "arlcDA", "", {NOT_TEXT}},
    {"21", "receive maximum", "0001", "00", "C", "", {{"0", "0000", ERR_PROTOCOL, 0x82}}},
    {"22", "topic alias maximum", "0001", "00", "C", "", {{0}}},
    {"23",
     "topic alias",
     "0001",
     "00",
     "P",
     "",
     {{"0", "0000", ERR_PROTOCOL, 0x94},
      {"over the maximum", "0011", ERR_PROTOCOL, 0x94},
      {"65535", "ffff", ERR_PROTOCOL, 0x94}}},
    {"24", "maximum QoS", "01", "", "", "", {{0}}},
    {"25", "retain available", "01", "", "", "", {{0}}},
    {"26",
     "user property",
     "{'k'}{'v'}",
     "{'k'}0002'v'",
     "CWParlcSUDA",
     "",
     {{"a name that is no UTF-8", "{ff}{'v'}", ERR_UTF8, 0x81},
      {"a value that is no UTF-8", "{'k'}{ff}", ERR_UTF8, 0x81},
      {"a name with NUL", "{00}{'v'}", ERR_UTF8, 0x81},
      {"a name alone", "{'k'}", ERR_TRUNCATED, 0x81},
      {"one more than the limit", "{'k'}{'v'}(64:26{'k'}{'v'})", ERR_LIMIT, 0x97}}},
    {"27",
     "maximum packet size",
     "0000ffff",
     "000000",
     "C",
     "",
     {{"0", "00000000", ERR_PROTOCOL, 0x82}}},
    {"28", "wildcard subscription available", "01", "", "", "", {{0}}},
    {"29", "subscription identifier available", "01", "", "", "", {{0}}},
    {"2a", "shared subscription available", "01", "", "", "", {{0}}},
    /* ids that are none */
    {"00", "id 0", "01", "", "", "", {{0}}},
    {"04", "id 4", "01", "", "", "", {{0}}},
    {"2b", "id 43", "01", "", "", "", {{0}}},
    {"7f", "id 127", "01", "", "", "", {{0}}},
    {"8001", "id 128", "01", "", "", "", {{0}}},
    {"a602", "id 294, 38 in its low byte", "{'k'}{'v'}", "", "", "", {{0}}},
    {"8100", "id 1, longer than needed", "01", "", "", "", {{0}}},
    {"ffffffff", "an id without end", "01", "", "", "", {{0}}},
};

/* The packet of this place with these properties. Authentication names its method, where the
 * property itself is not that. */
static inline void prop_write(const struct prop_place *at, const char *id, const char *props,
                              char *dst, size_t cap)
{
    bool needs_method = (at->letter == 'A' && strcmp(id, "15") != 0) ||
                        (at->letter == 'C' && strcmp(id, "16") == 0);
    (void)snprintf(dst, cap, "%s [%s%s] %s", at->head, needs_method ? "15{'M'}" : "", props,
                   at->tail);
}

static inline void prop_add(struct rejects *r, const struct prop_place *at,
                            const struct prop_case *c, const char *what, const char *props,
                            const struct prop_bad *bad)
{
    char name[96];
    char in[256];
    (void)snprintf(name, sizeof(name), "%s: %s %s", at->name, c->name, what);
    prop_write(at, c->id, props, in, sizeof(in));
    struct reject_row row = {name, IN5, in, bad->err, bad->reason, NULL};
    reject_add(r, &row, at->place);
}

static const struct prop_bad prop_malformed = {NULL, NULL, ERR_MALFORMED, 0x81};
static const struct prop_bad prop_protocol = {NULL, NULL, ERR_PROTOCOL, 0x82};
static const struct prop_bad prop_truncated = {NULL, NULL, ERR_TRUNCATED, 0x81};

/* A property where it may stand. */
static inline void prop_add_wrong(struct rejects *r, const struct prop_place *at,
                                  const struct prop_case *c)
{
    char props[128];
    if (strcmp(c->id, "26") != 0) {
        (void)snprintf(props, sizeof(props), "%s%s %s%s", c->id, c->good, c->id, c->good);
        prop_add(r, at, c, "twice", props, &prop_protocol);
    }
    (void)snprintf(props, sizeof(props), "%s%s", c->id, c->cut);
    prop_add(r, at, c, "cut", props, &prop_truncated);
    for (size_t i = 0; i < PROP_BAD_MAX && c->bad[i].what != NULL; i++) {
        (void)snprintf(props, sizeof(props), "%s%s", c->id, c->bad[i].value);
        prop_add(r, at, c, c->bad[i].what, props, &c->bad[i]);
    }
}

static inline bool prop_is_at(const char *letters, const struct prop_place *at)
{
    return strchr(letters, at->letter) != NULL;
}

static inline void prop_add_case(struct rejects *r, const struct prop_place *at,
                                 const struct prop_case *c)
{
    char props[64];
    (void)snprintf(props, sizeof(props), "%s%s", c->id, c->good);
    if (prop_is_at(c->places, at)) {
        prop_add_wrong(r, at, c);
    } else {
        prop_add(r, at, c, "does not belong there", props,
                 prop_is_at(c->protocol, at) ? &prop_protocol : &prop_malformed);
    }
}

/* The length of the properties itself. */
static inline void prop_add_lengths(struct rejects *r, const struct prop_place *at)
{
    static const struct prop_bad lengths[] = {
        {"past the end", "7f", ERR_TRUNCATED, 0x81},
        {"longer than needed", "8000", ERR_MALFORMED, 0x81},
        {"without end", "ffffffff", ERR_MALFORMED, 0x81},
    };
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        char name[96];
        char in[128];
        (void)snprintf(name, sizeof(name), "%s: length of properties %s", at->name,
                       lengths[i].what);
        (void)snprintf(in, sizeof(in), "%s %s %s", at->head, lengths[i].value, at->tail);
        struct reject_row row = {name, IN5, in, lengths[i].err, lengths[i].reason, NULL};
        reject_add(r, &row, at->place);
    }
}

static inline void rejects_add_props(struct rejects *r)
{
    for (size_t p = 0; p < COUNT_OF(prop_places); p++) {
        for (size_t i = 0; i < COUNT_OF(prop_cases); i++) {
            prop_add_case(r, &prop_places[p], &prop_cases[i]);
        }
        prop_add_lengths(r, &prop_places[p]);
    }
}

#endif

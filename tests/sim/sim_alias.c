/* Topic aliases of MQTT 5, both ways: what stands for which topic is known to one connection. */
#include <assert.h>

#include "sim.h"

/* ---- a client's own ---- */

static unsigned usable(const struct sim_link *l)
{
    return l->alias_max < SIM_ALIASES ? l->alias_max : SIM_ALIASES;
}

/* A number that stands for a topic is used without it; others are given, and given away again. */
void sim_alias_say(struct sim *s, const struct sim_client *c, struct mqtt_publish *m)
{
    struct sim_link *l = c->link;
    unsigned n = usable(l), alias = 0;
    if (n == 0 || sim_chance(s, 40)) {
        return;
    }
    uint8_t topic = (uint8_t)(sim_topic_find(m->topic) + 1);
    for (unsigned i = 0; i < n; i++) {
        alias = l->alias_said[i] == topic ? i + 1 : alias;
    }
    if (alias != 0) {
        m->topic = sim_chance(s, 70) ? (struct slice){0} : m->topic;
    } else {
        alias = 1 + sim_below(s, n);
        l->alias_said[alias - 1] = topic;
    }
    mqtt_props_set_number(&m->props, MQTT_PROP_TOPIC_ALIAS, alias);
}

/* One that this connection never gave, best if the one before did; 0: there is none. */
static unsigned unknown_alias(const struct sim_client *c)
{
    unsigned found = 0;
    for (unsigned i = 0; i < usable(c->link); i++) {
        if (c->link->alias_said[i] == 0 && (found == 0 || c->alias_before[i] != 0)) {
            found = i + 1;
        }
    }
    return found;
}

/* A number that is none, too high, or stands for nothing. */
bool sim_alias_misuse(struct sim *s, const struct sim_client *c, struct wr *w, uint8_t *ret_reason,
                      struct slice payload)
{
    unsigned alias = sim_chance(s, 50) ? 0 : c->link->alias_max + 1u;
    unsigned unknown = unknown_alias(c);
    *ret_reason = MQTT_TOPIC_ALIAS_INVALID;
    if (unknown != 0 && sim_chance(s, 60)) {
        alias = unknown;
        *ret_reason = MQTT_PROTOCOL_ERROR;
    }
    if (c->version != MQTT_V5) {
        return false;
    }
    wr_u8(w, 0x30);
    wr_u8(w, (uint8_t)(2 + 1 + 3 + payload.n));
    wr_u16(w, 0); /* no topic */
    wr_u8(w, 3);
    wr_u8(w, 0x23);
    wr_u16(w, (uint16_t)alias);
    wr_bytes(w, payload);
    sim_say(s, "client", "%u: PUBLISH with alias %u, which is wrong, on link %u", c->index, alias,
            c->link->id);
    return true;
}

void sim_alias_forget(struct sim_client *c)
{
    memcpy(c->alias_before, c->link->alias_said, sizeof(c->alias_before));
}

/* ---- the server's ---- */

/* What a client that keeps this connection's numbers takes the topic to be.
 * SPEC: MQTT5-3.1.2-26, MQTT5-3.1.2-27, MQTT5-3.3.2-11 */
void tap_alias(struct sim *s, struct sim_link *l, struct mqtt_publish *m)
{
    if (!mqtt_props_has(&m->props, MQTT_PROP_TOPIC_ALIAS)) {
        return;
    }
    uint32_t alias = mqtt_props_number(&m->props, MQTT_PROP_TOPIC_ALIAS, 0);
    if (alias == 0 || alias > l->alias_asked) {
        sim_fail(s, "-", "link %u gets alias %u and takes %u", l->id, alias, l->alias_asked);
        return;
    }
    uint8_t *said = &l->alias_given[alias - 1];
    if (m->topic.n > 0) {
        *said = (uint8_t)(sim_topic_find(m->topic) + 1);
    } else if (*said == 0 || *said > SIM_TOPICS) {
        sim_fail(s, "-", "link %u gets alias %u, which stands for nothing", l->id, alias);
    } else {
        m->topic = slice_text(sim_topic(*said - 1u));
    }
}

/* Only who sent what is not allowed is told so, and told what it was. */
void tap_disconnect(struct sim *s, const struct sim_link *l, uint8_t reason)
{
    bool is_fault = reason == MQTT_PROTOCOL_ERROR || reason == MQTT_TOPIC_ALIAS_INVALID ||
                    reason == MQTT_TOPIC_NAME_INVALID;
    sim_say(s, "tap", "link %u: DISCONNECT 0x%02x", l->id, reason);
    if (is_fault && reason != l->bad_reason) {
        sim_fail(s, "-", "link %u is closed for 0x%02x, it should be 0x%02x", l->id, reason,
                 l->bad_reason);
    }
}

void check_bad_links(struct sim *s)
{
    for (unsigned i = 0; i < s->n_links; i++) {
        const struct sim_link *l = s->links[i];
        if (l->bad_reason != 0 && !l->is_over && !l->is_cut) {
            sim_fail(s, "-", "link %u is open after a packet to be refused with 0x%02x", l->id,
                     l->bad_reason);
        }
    }
}

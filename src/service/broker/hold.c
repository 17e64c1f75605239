/* Who waits for a disk that is only slow: nothing is cut off a connection whose next packet asks
 * for lasting room, until the log has it. docs/decisions/0122. */
#include "base/plant.h"
#include "service/broker/conn_private.h"
#include "service/broker/worker_private.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/publish.h"

enum {
    RECORD_BYTES =
        JOURNAL_HEAD_MAX + 128, /* around what the packet says: heads, seals, a packet id */
    KEPT_FLAGS = 7,             /* of a PUBLISH: QoS over 0, RETAIN */
    FILTER_LEAST = 4,           /* bytes of a filter in a SUBSCRIBE */
    EASY_BYTES = 4096
};

/* A packet that is there in full. */
struct whole {
    struct mqtt_fixed fixed;
    struct slice body;
};

static enum mqtt_version version_of(const struct conn *c)
{
    return mqtt_server_terms(c->engine)->version;
}

/* The engine answers pings on its way to the next packet. */
static bool find_whole(const struct worker *w, const struct conn *c, struct slice in,
                       struct whole *ret)
{
    do {
        if (mqtt_packet_cut_as(version_of(c), &in, w->packet_most, NULL, &ret->fixed, &ret->body) !=
            OK) {
            return false; /* that it is wrong is for the engine to say */
        }
    } while (ret->fixed.type == MQTT_PINGREQ);
    return true;
}

/* Would what it says be on record? The policy may refuse it all the same. An alias is a topic that
 * only the engine knows. */
static bool is_kept(struct worker *w, const struct conn *c, const struct mqtt_publish *m)
{
    struct match match;
    bool is_durable = c->session->subscriber.is_durable;
    if (m->retain || (m->qos == 2 && is_durable)) {
        return true;
    }
    if (m->qos == 0) {
        return false;
    }
    return m->topic.n == 0 || w->wants_all != 0 ||
           (filters_match(w->filters, m->topic, &c->session->subscriber, &match) == OK &&
            (match.local_durable || match.remote_durable != 0 || match.n_groups > 0));
}

/* Bytes of records that a PUBLISH asks for; 0: of none. */
static uint64_t publish_bytes(struct worker *w, const struct conn *c, const struct whole *p)
{
    struct mqtt_publish m;
    struct mqtt_input in = {.body = p->body,
                            .flags = p->fixed.flags,
                            .version = version_of(c),
                            .sender = MQTT_FROM_CLIENT,
                            .limits = &w->wire};
    if (mqtt_publish_decode(&in, NULL, &m) != OK || !is_kept(w, c, &m)) {
        return 0;
    }
    return (uint64_t)RECORD_BYTES + p->fixed.packet_n + (m.topic.n == 0 ? w->wire.topic_bytes : 0);
}

/* The same of any packet. */
static uint64_t asked_bytes(struct worker *w, const struct conn *c, const struct whole *p)
{
    if (p->fixed.type == MQTT_SUBSCRIBE && c->session->subscriber.is_durable) {
        return (uint64_t)p->fixed.packet_n / FILTER_LEAST * RECORD_BYTES + p->fixed.packet_n;
    }
    return p->fixed.type == MQTT_PUBLISH ? publish_bytes(w, c, p) : 0;
}

bool hold_waits(const struct worker *w)
{
    return journal_lag(w->setup.journal, 0) == JOURNAL_BEHIND;
}

static bool may_ask(uint8_t first)
{
    switch (first >> 4) {
    case MQTT_PUBLISH:
        return (first & KEPT_FLAGS) != 0;
    case MQTT_SUBSCRIBE:
    case MQTT_PINGREQ: /* for what is behind it */
        return true;
    default:
        return false;
    }
}

/* As a guess, too high: is there room for it? Mostly there is, and nobody looks any closer. */
static bool is_easy(const struct worker *w, const struct conn *c, struct slice in)
{
    size_t n = in.n;
    struct whole p;
    if (n > EASY_BYTES) {
        if (!find_whole(w, c, in, &p)) {
            return true;
        }
        n = p.fixed.packet_n;
    }
    return journal_lag(w->setup.journal, (uint64_t)n + EASY_BYTES) == JOURNAL_KEEPS_UP;
}

bool hold_takes(struct worker *w, struct conn *c, struct slice in)
{
    struct journal *j = w->setup.journal;
    struct whole p;
    if (!may_ask(in.p[0]) || is_easy(w, c, in) || !find_whole(w, c, in, &p)) {
        return true;
    }
    uint64_t bytes = asked_bytes(w, c, &p);
    if (bytes == 0 || journal_lag(j, bytes) != JOURNAL_BEHIND || PLANTED(PLANT_UNHELD)) {
        return true;
    }
    worker_handover(w); /* it may be what this worker kept back that is in the way */
    if (journal_lag(j, bytes) != JOURNAL_BEHIND) {
        return true;
    }
    conn_pause(w, c, UINT64_MAX);
    c->is_held = true;
    return false;
}

MUST_USE enum err hold_admits(const struct worker *w)
{
    enum err err = journal_admits(w->setup.journal);
    bool is_behind = err == ERR_SPACE && journal_lag(w->setup.journal, 0) == JOURNAL_BEHIND;
    return is_behind ? OK : err;
}

_Static_assert(JOURNAL_STALL_S == 10, "as worker_store_refusal says");

const char *worker_store_refusal(const struct worker *w, enum err err)
{
    if (err == ERR_IO) {
        return "the disk of DIR/store fails. Look at the disk; what was acknowledged is kept";
    }
    switch (journal_lag(w->setup.journal, 0)) {
    case JOURNAL_BEHIND:
        return "the disk of DIR/store is behind, and the store has no room until it is not. Try "
               "again; if this comes often, that disk is too slow. What was acknowledged is kept";
    case JOURNAL_STANDS_STILL:
        return "the disk of DIR/store is too slow: it has taken nothing for 10 s, and the store "
               "has no room until it does. Look at that disk and who else uses it. What was "
               "acknowledged is kept";
    case JOURNAL_KEEPS_UP:
        break;
    }
    return "it needs room in the store, and there is none. Free space on the disk of DIR/store; if "
           "there is some, that disk does not keep up. What was acknowledged is kept";
}

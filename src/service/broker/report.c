/* Events of a worker: who did what, and what the operator can do about it. */
#include "service/broker/conn_private.h"
#include "service/broker/worker_private.h"
#include "wire/mqtt/text.h"

struct event event_of(const struct worker *w, enum event_category category, const struct conn *c)
{
    struct event e = event_make(category);
    e.wall_ms = w->wall_ms;
    if (c == NULL) {
        return e;
    }
    e.protocol = c->entrance->protocol;
    EVENT_TEXT(&e, peer, slice_text(c->peer));
    EVENT_TEXT(&e, listener, slice_text(c->entrance->name));
    EVENT_TEXT(&e, client_id, conn_client_id(c));
    if (c->account != NULL) {
        EVENT_TEXT(&e, principal, slice_text(c->account->principal->name));
    } else if (c->login->shown != NULL) {
        EVENT_TEXT(&e, principal, slice_text(c->login->shown->name));
    }
    return e;
}

void report_claim(struct event *e, struct slice name)
{
    EVENT_TEXT(e, principal, name);
    e->is_claimed = name.n > 0;
}

void worker_report(struct worker *w, const struct event *e)
{
    w->setup.driver.event(w->setup.driver.ctx, e);
}

void report_store(struct worker *w, const struct conn *c, struct slice target, enum err err,
                  const char *what)
{
    struct event e = event_of(w, EVENT_store_space, c);
    e.severity = SEVERITY_WARNING; /* the store itself raises the alert */
    EVENT_TEXT(&e, target, target);
    event_reason(&e, "%s was refused: %s", what, worker_store_refusal(w, err));
    count_add(&counts(w)->refused_store, 1);
    worker_report(w, &e);
}

static enum event_category fault_category(const struct mqtt_fault *f)
{
    switch ((unsigned)f->err) {
    case ERR_UTF8:
        return EVENT_utf8;
    case ERR_TOO_LARGE:
    case ERR_LIMIT:
        return EVENT_quota;
    case ERR_PROTOCOL:
        return EVENT_protocol_error;
    default:
        return EVENT_malformed;
    }
}

/* A CONNECT in a version that is not spoken here, and what its owner can do. */
static void report_version(struct worker *w, const struct conn *c, const struct mqtt_fault *fault)
{
    struct event e = event_of(w, EVENT_protocol_error, c);
    if (fault->is_v31) {
        event_reason(&e, "%s",
                     "its MQTT 3.1 is not taken here. Update it to MQTT 3.1.1 or 5.0. If it cannot "
                     "be: mqtt_3_1: yes at a listener without websocket, in sallyport.yaml; a "
                     "client of 3.1 is never told of a refusal, its connection just ends");
    } else {
        event_reason(&e,
                     "the protocol version it asked for (level %u%s) is not spoken here. Repair or "
                     "update the client: MQTT 3.1.1 is level 4, MQTT 5.0 level 5",
                     fault->level,
                     fault->level == MQTT_V31 ? ", or an old name with a wrong one" : "");
    }
    count_add(&counts(w)->refused_version, 1);
    worker_report(w, &e);
}

/* Which bound a packet was over, by how its decoder says so. */
static enum limit_name limit_of(const struct conn *c, const struct mqtt_fault *fault)
{
    switch ((unsigned)fault->reason) {
    case MQTT_PACKET_TOO_LARGE:
        return c->phase == CONN_OPEN ? LIMIT_packet_bytes : LIMIT_preauth_bytes;
    case MQTT_CLIENT_ID_INVALID:
        return LIMIT_client_id_bytes;
    case MQTT_QUOTA_EXCEEDED:
        return LIMIT_user_properties;
    default:
        return fault->err == ERR_TOO_LARGE ? LIMIT_topic_bytes : LIMIT_topic_levels;
    }
}

void report_fault(struct worker *w, const struct conn *c, const struct mqtt_fault *fault,
                  const char *packet)
{
    if (fault->err == ERR_UNSUPPORTED) {
        report_version(w, c, fault);
        return;
    }
    struct event e = event_of(w, fault_category(fault), c);
    event_reason(
        &e,
        "%s was refused at byte %zu: %s (0x%02x %s); the connection was closed, nothing was "
        "delivered. Fix the client, or raise the limit in sallyport.yaml if it is right",
        packet, fault->at, err_name(fault->err), fault->reason, mqtt_reason_name(fault->reason));
    if (fault->err == ERR_TOO_LARGE || fault->err == ERR_LIMIT) {
        count_add(&counts(w)->refused_limit, 1);
        count_limit(counts(w), limit_of(c, fault));
    }
    worker_report(w, &e);
}

/* The will of a session: taken with CONNECT, kept on record, published when its connection has
 * ended and the delay has passed or the session ends. docs/ORDER.md, rule 7. */
#include "base/plant.h"
#include "core/quarantine.h"
#include "service/broker/conn_private.h"
#include "service/broker/record_private.h"
#include "service/broker/route_private.h"
#include "service/broker/will_private.h"
#include "service/broker/worker_private.h"

enum {
    WILL_RETRY_MS = 1000 /* a will that found no room */
};

/* A copy: the number and the epoch are those of now. */
static enum err will_message(const struct worker *w, const struct msg *will, struct msg **ret)
{
    struct msg *m = NULL;
    TRY(msg_new(will->topic, will->props, will->payload, &m));
    m->qos = will->qos;
    m->retain = will->retain;
    m->is_utf8 = will->is_utf8;
    m->publisher = will->publisher;
    m->segment = will->segment;
    m->epoch = w->realm->epoch;
    m->expires_at_ms =
        will->expires_at_ms == UINT64_MAX ? UINT64_MAX : w->now_ms + will->expires_at_ms;
    *ret = m;
    return OK;
}

/* Who waits for nothing more: the session has none any more (NULL), or another one, and then a
 * rest.
 */
static void replace(struct session *s, const struct msg *will)
{
    if (session_has_rest(s)) {
        msg_unref(s->rest->will);
        s->rest->will = will;
        s->rest->is_will_late = false;
    }
}

static struct event about_will(struct worker *w, enum event_category category,
                               const struct session *s, const struct conn *c)
{
    struct event e = event_of(w, category, c);
    EVENT_TEXT(&e, principal, slice_text(s->account->principal->name));
    EVENT_TEXT(&e, client_id, session_client_id(s));
    EVENT_TEXT(&e, target, s->rest->will->topic);
    return e;
}

static void report_lost(struct worker *w, const struct session *s, const char *why)
{
    struct event e = about_will(w, EVENT_store_space, s, NULL);
    e.severity = SEVERITY_WARNING;
    event_reason(&e,
                 "a will that waited for room in the store was given up: %s. Free space on the "
                 "disk of DIR/store",
                 why);
    count_add(&counts(w)->refused_store, 1);
    worker_report(w, &e);
}

/* Room comes back, and so does memory. */
static void postpone(struct worker *w, struct session *s, const struct conn *c, enum err err)
{
    if (!s->rest->is_will_late && (err == ERR_SPACE || err == ERR_IO)) {
        struct event e = about_will(w, EVENT_store_space, s, c);
        e.severity = SEVERITY_WARNING; /* the store itself raises the alert */
        event_reason(&e, "a will waits, and is published when the store takes it: %s",
                     worker_store_refusal(w, err));
        worker_report(w, &e);
    }
    s->rest->is_will_late = true;
    s->rest->will_at_ms = w->now_ms + WILL_RETRY_MS;
}

/* Authorized at CONNECT, and again now that it fires. On an error it is as it was. */
static enum err publish(struct worker *w, struct session *s, const struct conn *c)
{
    const struct msg *will = s->rest->will;
    struct account *a = s->account;
    struct decision why;
    struct event e = about_will(w, EVENT_will, s, c);
    enum err err =
        passage_will(a, will->topic, will->qos, retain_wish(w, a, will->topic, will->retain),
                     will->payload.n, &why);
    if (err != OK && !PLANTED(PLANT_WILL_UNJUDGED)) {
        e.category = EVENT_acl_deny;
        e.is_unasked = true;
        e.severity = event_make(EVENT_acl_deny).severity;
        event_reason(&e, "the will is not published any more: %s", why.rule);
        worker_report(w, &e);
        will_forget(w, s);
        return OK;
    }
    struct route r = {.will_of = s->rest->is_will_on_record ? s : NULL};
    TRY(will_message(w, will, &r.m));
    enum err taken = quarantine_take(a, &r.m);
    if (taken != OK) {
        msg_unref(r.m);
        return taken;
    }
    TRY(publish_route(w, &r));
    event_reason(&e, "the connection ended without DISCONNECT%s; its will was published",
                 s->rest->will_delay_s > 0
                     ? ", and the delay of the will has passed or the session "
                       "has ended"
                     : "");
    worker_report(w, &e);
    return OK;
}

void will_fire(struct worker *w, struct session *s, const struct conn *c)
{
    if (s->rest->will == NULL) {
        return;
    }
    /* A will that is late is not tried, once a second for hours, at what refuses everything. */
    enum err err = s->rest->is_will_late ? journal_admits(w->setup.journal) : OK;
    if (err == OK) {
        err = publish(w, s, c);
    }
    if (err == OK) {
        replace(s, NULL); /* SPEC: MQTT-3.1.2-10 */
    } else if (err == ERR_SPACE || err == ERR_IO || err == ERR_NOMEM) {
        postpone(w, s, c, err);
    } else {
        will_lose(w, s, err_name(err));
    }
}

void will_lose(struct worker *w, struct session *s, const char *why)
{
    if (s->rest->will != NULL) {
        report_lost(w, s, why);
        will_forget(w, s);
    }
}

void will_forget(struct worker *w, struct session *s)
{
    uint64_t lsn;
    replace(s, NULL);
    if (s->rest->is_will_on_record && record_will(w, s, NULL, 0, &lsn) != OK) {
        count_add(&counts(w)->dropped_memory, 1); /* after a restart it is published */
    }
}

uint64_t will_delay_ms(const struct session *s)
{
    if (PLANTED(PLANT_WILL_EARLY)) {
        return 0;
    }
    return (uint64_t)(s->rest->will_delay_s < s->expiry_s ? s->rest->will_delay_s : s->expiry_s) *
           1000;
}

void will_conn_ended(struct worker *w, struct session *s, const struct conn *c)
{
    uint64_t delay_ms = will_delay_ms(s);
    if (c->is_clean_end) {
        will_forget(w, s);
    } else if (delay_ms == 0) {
        will_fire(w, s, c); /* SPEC: MQTT5-3.1.2-8 */
    } else {
        s->rest->will_at_ms = w->now_ms + delay_ms;
    }
}

static const char came_back[] = "its client came back, and has another now or none";

MUST_USE enum err will_take(struct worker *w, struct session *s, const struct mqtt_connect *connect,
                            uint64_t *ret_lsn)
{
    if (!connect->has_will && PLANTED(PLANT_WILL_KEPT)) {
        return OK;
    }
    if (!connect->has_will) {
        if (s->rest->is_will_late) {
            report_lost(w, s, came_back);
        }
        if (s->rest->is_will_on_record) {
            will_forget(w, s);
            *ret_lsn = w->last_lsn; /* the client is told that it is there: it must not fire */
        }
        replace(s, NULL); /* SPEC: MQTT5-3.1.3-9 */
        return OK;
    }
    const struct mqtt_will *will = &connect->will;
    struct mqtt_publish p = {.topic = will->topic,
                             .payload = will->payload,
                             .qos = will->qos,
                             .retain = will->retain,
                             .props = will->props};
    uint32_t delay_s = mqtt_props_number(&will->props, MQTT_PROP_WILL_DELAY, 0);
    struct msg *m = NULL;
    TRY(msg_from_publish(w, s->account, &p, &m));
    if (m->expires_at_ms != UINT64_MAX) {
        m->expires_at_ms -= w->now_ms; /* a lifetime, that begins when it is published */
    }
    enum err err = session_needs_rest(s);
    err = err == OK && s->subscriber.is_durable ? record_will(w, s, m, delay_s, ret_lsn) : err;
    if (err != OK) {
        msg_unref(m);
        return err;
    }
    if (s->rest->is_will_late) {
        report_lost(w, s, came_back);
    }
    replace(s, m); /* SPEC: MQTT5-3.1.3-9 */
    s->rest->will_delay_s = delay_s;
    return OK;
}

/* route_private - the way of a message through a worker, from PUBLISH to those who get it; shared
 * by the files of this folder only. */
#ifndef SERVICE_BROKER_ROUTE_PRIVATE_H
#define SERVICE_BROKER_ROUTE_PRIVATE_H

#include "base/event.h"
#include "base/slice.h"
#include "core/filters.h"
#include "core/msg.h"
#include "core/passage.h"
#include "engine/mqtt_server.h"

struct conn;
struct session;
struct wmsg;
struct worker;

/* publish.c */
void publish_event(struct worker *w, struct conn *c, const struct mqtt_event *ev);
/* publish_announced - what the server says itself; takes m. Where there is no room it is dropped,
 * and counted. */
void publish_announced(struct worker *w, struct msg *m);
MUST_USE enum err msg_from_publish(const struct worker *w, const struct account *a,
                                   const struct mqtt_publish *p, struct msg **ret);

/* route.c */
/* A message on its way to everybody. What else it settles is part of the same handover. */
struct route {
    struct msg *m; /* takes one reference */
    const struct subscriber *from;
    uint64_t token; /* 0: nobody waits; else one more place is opened for each commit it needs */
    struct session *inbound; /* durable, QoS 2: packet_id is open from now on; NULL: not so */
    uint16_t packet_id;
    struct session *will_of; /* whose will it is, when that is on record */
};
/* publish_remote - ERR_NOMEM: nothing was done, the message is to come again. */
MUST_USE enum err publish_remote(struct worker *w, const struct wmsg *m);
/* publish_route - on an error nobody was promised anything, and nothing waits for the token. */
MUST_USE enum err publish_route(struct worker *w, const struct route *r);

/* retain.c */
void retained_expired(void *ctx, uint64_t publisher, uint64_t bytes);
MUST_USE enum err retain_locally(struct worker *w, const struct msg *m);
enum passage_retain retain_wish(struct worker *w, const struct account *a, struct slice topic,
                                bool retain);

/* One delivery that fan_durable has queued. */
struct queued {
    struct session *s;
    uint64_t seq;
};

/* fan.c */
/* fan_gather - queues m for the durable sessions that were hit, and writes down who: all of them,
 * or none. Next is fan_record, or fan_take_back: as if nothing had been queued. ERR_NOMEM. */
MUST_USE enum err fan_gather(struct worker *w, const struct msg *m, const struct match *match);
void fan_take_back(struct worker *w);
/* fan_record - what was gathered is on record now, or taken back.
 *
 * debtor   the worker in whose name the record is written; one that owes none has nothing settled
 * is_owed  the record is waited for, also when nobody wants the message
 *
 * *ret_lsn is written when there is a record. What is left is fan_others'. ERR_NOMEM and the
 * journal's errors. fan_durable - both. */
MUST_USE enum err fan_record(struct worker *w, const struct msg *m, unsigned debtor, bool is_owed,
                             uint64_t *ret_lsn);
MUST_USE enum err fan_durable(struct worker *w, const struct msg *m, const struct match *match,
                              unsigned debtor, bool is_owed, uint64_t *ret_lsn);
void fan_others(struct worker *w, const struct msg *m, const struct match *match);
/* fan_missed - m was matched before a restart: for durable sessions but these. */
MUST_USE enum err fan_missed(struct worker *w, const struct msg *m, const uint64_t *sessions,
                             size_t n);
/* fan_pending - how many pending actions fan_durable may add. */
size_t fan_pending(const struct msg *m, const struct match *match);

/* May messages of this principal still be delivered? Kept for one epoch. */
struct publisher {
    uint64_t id;
    const struct principal *principal; /* owned; NULL: gone or not active */
    struct grants *grants;
};

/* publisher.c */
/* publisher_judge - may what was said still be heard? ERR_DENIED: not any more; ERR_NOMEM: that
 * cannot be told now, so it is not heard now. publisher_ok - the same, where nothing waits. */
MUST_USE enum err publisher_judge(struct worker *w, const struct msg *m);
bool publisher_ok(struct worker *w, const struct msg *m);
void publishers_clear(struct worker *w);

/* hear.c */
/* may_hear - as passage_hear; counts and reports what must not pass. client_id may be empty. */
bool may_hear(struct worker *w, struct account *a, struct slice client_id, const struct msg *m);

/* deliver.c */
/* delivery_drop - d, the first that waits, is dropped on record, and that is said. */
void delivery_drop(struct worker *w, struct conn *c, struct delivery *d,
                   enum event_category category, const char *why);
size_t deliver_output(struct worker *w, struct conn *c, uint8_t *dst, size_t cap,
                      struct lending *lending);
void ack_event(struct worker *w, struct conn *c, const struct mqtt_event *ev);

#endif

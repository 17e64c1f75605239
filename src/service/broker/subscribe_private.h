/* subscribe_private - subscriptions come and go, and who was told; shared by the files of this
 * folder only. */
#ifndef SERVICE_BROKER_SUBSCRIBE_PRIVATE_H
#define SERVICE_BROKER_SUBSCRIBE_PRIVATE_H

#include "base/list.h"
#include "base/slice.h"
#include "wire/mqtt/subscribe.h"
#include "wire/mqtt/unsubscribe.h"

struct conn;
struct session;
struct sub;
struct subscriber;
struct wmsg;
struct worker;

enum barrier_kind { BARRIER_SUBACK, BARRIER_UNSUBACK, BARRIER_MARKERS, BARRIER_OBSERVE };

struct barrier_filter {
    struct sub *sub; /* NULL when refused, or removed meanwhile */
    uint8_t code;
    bool replay; /* retained messages follow */
};

struct barrier {
    struct list_node node;
    uint64_t id;
    uint64_t waiting; /* bits of workers that have not answered; the own one: the journal */
    enum barrier_kind kind;
    uint64_t conn; /* SUBACK, UNSUBACK */
    uint64_t lsn;  /* of a durable session: its records must be committed */
    uint16_t packet_id;
    uint64_t number; /* MARKERS: retained numbers up to this have arrived then */
    uint64_t cookie; /* OBSERVE */
    size_t n_filters;
    struct barrier_filter filters[];
};

/* subscribe.c */
void subscribe_event(struct worker *w, struct conn *c, const struct mqtt_subscribe *m);
void unsubscribe_event(struct worker *w, struct conn *c, const struct mqtt_unsubscribe *m);
void barrier_acked(struct worker *w, const struct wmsg *m);
void barriers_forget_sub(struct worker *w, const struct sub *sub);
/* unsub_recorded - a subscription ends without the client's word. */
void unsub_recorded(struct worker *w, const struct session *s, struct slice filter);
void markers_sweep(struct worker *w);

/* interest.c */
/* interest_announce - false: some worker was not told, for want of memory. */
bool interest_announce(struct worker *w, struct slice filter, bool any, bool durable);
void sub_remove(struct worker *w, struct sub *sub);
void subs_remove_all(struct worker *w, struct subscriber *s);

#endif

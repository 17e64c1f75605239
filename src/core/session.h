/*
 * session - what outlives a connection: subscriptions, the queue of deliveries, packet ids in both
 * directions, the will.
 *
 * Keyed by (principal, client id), owned by the principal's home worker. Knows no packet layout and
 * no clock. A delivery is 40 bytes in a ring that grows by doubling; nothing is allocated per
 * delivered message once the ring has grown.
 */
#ifndef CORE_SESSION_H
#define CORE_SESSION_H

#include "base/wheel.h"
#include "core/filters.h"
#include "core/limits.h"
#include "core/msg.h"

struct account;

enum delivery_state {
    DELIVERY_QUEUED,   /* not sent on this connection */
    DELIVERY_SENT,     /* QoS 1: awaits PUBACK; QoS 2: awaits PUBREC */
    DELIVERY_RECEIVED, /* QoS 2: PUBREC seen, being committed; PUBREL not sent yet */
    DELIVERY_RELEASED, /* QoS 2: PUBREL sent, awaits PUBCOMP */
    DELIVERY_DONE      /* acknowledged; leaves when it reaches the front */
};

struct delivery {
    const struct msg
        *msg;       /* shared; NULL from DELIVERY_RECEIVED on: the body is no longer needed */
    uint64_t seq;   /* this session's delivery counter, from 1: names it in the journal */
    uint64_t lsn;   /* journal position that must be committed first: of the deliver record while
                       QUEUED   (QoS 2 waits for it), or that it is tried once more (is_tried: any QoS
                       waits); of the   "PUBREC seen" record while RECEIVED; 0 = none */
    uint32_t id;    /* subscription identifier when n_ids == 1 */
    uint32_t group; /* number of the group (core/groups.h) that gave it to this session; 0: none */
    uint32_t *ids;  /* when n_ids > 1; owned by the delivery */
    uint16_t n_ids;
    uint16_t packet_id; /* 0 until sent with QoS > 0 */
    uint8_t qos;
    uint8_t n_sent;       /* on how many connections; a restart counts as one */
    bool retain : 1;      /* the flag to send */
    bool is_dup : 1;      /* was sent on an earlier connection, or may have been */
    bool is_recorded : 1; /* the owner's: a record says that this session gets it */
    bool is_tried : 1;    /* the owner's: its record of this try is at lsn, and it waits for it */
    bool may_expire : 1;  /* though is_dup: nobody knows whether it was ever sent */
    bool is_early : 1;    /* the owner's: it was sent when its record was not committed yet, and
                             lsn does not say any more when that is */
    enum delivery_state state;
};

/* Bodies of its deliveries that are on their way from the disk: the owner's,
 * service/broker/spill.c. */
struct session_fetch {
    struct list_node thirsty; /* its connection waits until it may ask for a body */
    uint64_t conn;            /* that one, while in the list */
    uint64_t seq;             /* bodies of deliveries up to here were asked for; 0: none */
    uint64_t at_ms;           /* not before */
    uint32_t n_asked;         /* that are not answered */
    uint32_t n_errors;        /* of the disk, one after the other */
};

/* Its deliveries, from the first one on. */
struct session_queue {
    struct delivery *ring;
    size_t ring_cap, ring_at, n_deliveries; /* ring_cap is a power of two */
    size_t n_unsent_at;     /* index from the front of the first QUEUED that was not looked at */
    size_t n_touched;       /* entries from the front that were looked at on any connection */
    size_t n_done;          /* DELIVERY_DONE entries behind an unfinished one */
    uint32_t n_inflight;    /* QoS > 0 sent and not DONE */
    uint32_t n_received;    /* DELIVERY_RECEIVED: PUBRELs to send; while there are any: */
    bool is_received_mixed; /* their PUBRECs did not come in the order of the queue */
    uint64_t received_seq;  /* none is before this one */
    uint64_t received_last_seq, received_lsn; /* of the one that came last */
    uint64_t id_base; /* packet ids count from the seq behind this; 0 but for a planted bug */
    uint64_t queued_bytes;
    /* the owner's: */
    uint64_t judged_seq;  /* deliveries before it were queued under other rights */
    uint64_t spilled_seq; /* deliveries before it were looked at, whether to spill them */
    struct session_fetch fetch;
};

/* QoS 2 packet ids received and not released, sorted. */
struct session_inbound {
    size_t n, cap;
    uint16_t ids[];
};

struct session;

/* Deliveries that were dropped: the owner's, service/broker/slow.c. */
struct complaint {
    struct list_node node; /* while some were not said yet */
    struct session *session;
    uint64_t said_ms;     /* when some were said last */
    uint32_t n_unsaid[2]; /* of each kind */
};

/* Only of one that may outlast its connection, or that has a will: the owner's, freed with it. */
struct session_rest {
    struct session *session;
    struct timer due;       /* while asleep: the end of it, or its will */
    uint64_t ends_at_ms;    /* while asleep */
    uint64_t promised_lsn;  /* no CONNACK says that this session is there before */
    const struct msg *will; /* shared; NULL = none */
    uint64_t will_at_ms;    /* while asleep with a will */
    uint32_t will_delay_s;  /* after the connection ends, not after the session */
    bool is_will_on_record;
    bool is_will_late; /* it was due, and waits for room */
};

/* What an idle one has; the rest is beside it when there is some. */
struct session {
    struct subscriber subscriber; /* first */
    uint64_t id;                  /* 64 bit, never reused */
    struct account *account;      /* borrows: the principal it belongs to */
    uint64_t conn;                /* connection handle; 0 when asleep */
    uint32_t expiry_s;            /* after the connection ends; UINT32_MAX = bounded by the role */
    bool is_on_record;            /* the owner's: the journal knows it: its end must be recorded */
    bool is_held;                 /* the owner's: its time is over, but for its will */
    uint16_t client_id_n;         /* session_client_id */
    struct session_rest *rest; /* never NULL; where session_has_rest says no, nothing is written */
    struct complaint *complaint; /* the owner's, freed with it: drops; NULL: there were none */
    /* the rest is core's: session.c, session_queue.c, session_inbound.c */
    uint64_t next_seq;           /* the seq that the next delivery gets */
    struct session_queue *queue; /* never NULL; of one that nothing has come for, an empty one */
    struct session_inbound *inbound; /* NULL: it has not opened a packet id yet */
    uint8_t client_id[];
};

static inline struct slice session_client_id(const struct session *s)
{
    return slice_of(s->client_id, s->client_id_n);
}

/* session_new - account is borrowed for life and charged in its queued_bytes (NULL: nobody is
 * charged); client_id copied, at most UINT16_MAX bytes. is_durable: survives its connection, and
 * has a rest. ERR_NOMEM. */
MUST_USE enum err session_new(uint64_t id, struct account *account, struct slice client_id,
                              bool is_durable, struct session **ret);
/* session_needs_rest - from here on it has one. ERR_NOMEM: as before. */
MUST_USE enum err session_needs_rest(struct session *s);
bool session_has_rest(const struct session *s);
/* session_free - releases deliveries and will. Its subs must have been removed from the tree, its
 * timer is cancelled by the caller. NULL is fine. */
struct session *session_free(struct session *s);
/* session_key - the map key of a session inside an account: its client id. */
struct slice session_key(const void *session);

/*
 * session_enqueue - keep a message until this session can take it
 *
 * m        shares.
 * qos      of the delivery: the smaller of m->qos and the granted one.
 * retain   the flag to send.
 * ids      subscription identifiers; copied.
 * lsn      see struct delivery; session_set_lsn gives it later.
 * ret_seq  may be NULL; names the delivery. It is s->next_seq as it was before the call.
 *
 * OK           queued; every struct delivery pointer of this session is void
 * ERR_QUOTA    limits->queue_messages or queue_bytes reached; nothing changed, the caller records
 *              the drop
 * ERR_NOMEM    nothing changed
 * O(1) amortised. SPEC: MQTT5 3.3.4, 4.9.
 */
MUST_USE enum err session_enqueue(struct session *s, const struct msg *m, uint8_t qos, bool retain,
                                  const uint32_t *ids, uint16_t n_ids, uint64_t lsn,
                                  const struct role_limits *limits, uint64_t *ret_seq);

/* session_set_lsn - the deliver record of delivery `seq` was appended at lsn: it is_recorded.
 * Nothing happens when the delivery has gone. O(1) for the last ones queued. */
void session_set_lsn(struct session *s, uint64_t seq, uint64_t lsn);

/* session_set_group - the delivery that was queued last came through this group. */
void session_set_group(struct session *s, uint32_t group);
/* delivery_may_have_left - its client may have it, or its packet id, already. */
bool delivery_may_have_left(const struct delivery *d);
/* session_next_shared - walks the deliveries that came through a group and that another member may
 * have once this session is gone: *at starts at 0; NULL at the end. QoS 1 that was not
 * acknowledged; QoS 2 only while it cannot have left. SPEC: MQTT5-4.8.2-5 */
const struct delivery *session_next_shared(const struct session *s, size_t *at);

/* session_take_back - the newest delivery, `seq`, was not to be queued: as if session_enqueue had
 * not been called. Nothing may have happened to the session in between. */
void session_take_back(struct session *s, uint64_t seq);

/* session_count - deliveries that are not finished. */
static inline size_t session_count(const struct session *s)
{
    return s->queue->n_deliveries - s->queue->n_done;
}

/* session_has_queue - something has come for it: its queue may be written to. */
static inline bool session_has_queue(const struct session *s)
{
    return s->queue->ring_cap > 0;
}

/* session_unsent - the first one that waits; NULL: none. Every struct delivery pointer is void. */
struct delivery *session_unsent(struct session *s);
/* session_from - the first delivery that is not finished whose seq is this one or a later one;
 * NULL: none. O(log n), and what is finished on the way. */
struct delivery *session_from(struct session *s, uint64_t seq);
/* session_ahead - how many stand between d and the first one that waits: 0 for that one, and for
 * those before it. */
size_t session_ahead(const struct session *s, const struct delivery *d);
/* session_swap - d has m from here on, the same message as a husk or whole. Takes one reference. */
void session_swap(struct delivery *d, const struct msg *m);

/*
 * session_next - the next delivery that may leave now, or NULL
 *
 * window     QoS > 0 deliveries the client allows in flight (its Receive Maximum and the role's
 *            inflight, the smaller).
 * committed  journal position reached: a QoS 2 delivery with a higher lsn waits, and everything
 *            behind it waits too (order). So does one whose packet id an older delivery holds that
 *            is in flight still.
 * n_expired  expired messages are dropped on the way and added to it. One that was sent before
 *            is not dropped: its packet id means something to the client.
 *
 * The caller sends it and calls session_sent, or refuses it by policy and calls session_drop. The
 * delivery is good until the next call that changes the session.
 */
struct delivery *session_next(struct session *s, uint32_t window, uint64_t committed,
                              uint64_t now_ms, uint32_t *n_expired);
/* session_next_expired - the delivery that session_next would drop first, or NULL: whoever records
 * drops asks for these before, and calls session_drop for each. */
struct delivery *session_next_expired(struct session *s, uint64_t now_ms);
/* session_next_retry - walks deliveries on record that leave once more within `window`, as long as
 * the first that waits is one whose try is not on record yet: *at starts at 0; NULL at the end.
 * O(1) when there is nothing to do. */
struct delivery *session_next_retry(const struct session *s, uint32_t window, size_t *at);
/* session_assign_id - makes sure that d, from session_next, has its packet id (QoS > 0), and gives
 * it: it is in use by no other delivery. The id follows from d->seq, (seq - 1) % 65535 + 1, so it
 * is the same one after a restart, without a record. */
uint16_t session_assign_id(struct session *s, struct delivery *d);
/* session_sent - it left: it has a packet id now when QoS > 0, and is finished when QoS 0. */
void session_sent(struct session *s, struct delivery *d);
/* session_drop - d (from session_next or session_next_expired) is finished without being sent. */
void session_drop(struct session *s, struct delivery *d);

/* session_find_packet - the delivery in flight under this packet id, or NULL: read its seq and
 * state before a record about it is journalled. */
const struct delivery *session_find_packet(const struct session *s, uint16_t packet_id);

/* Acknowledgements from the client. ERR_NOT_FOUND: no such packet id in that state; the caller
 * ignores or answers 0x92. *ret_seq is the delivery's, for the journal. */
MUST_USE enum err session_puback(struct session *s, uint16_t packet_id, uint64_t *ret_seq);
/* PUBREC: success moves SENT to RECEIVED with lsn (that of the "PUBREC seen" record); a failure
 * reason (>= 0x80) ends the delivery. A repeated PUBREC changes nothing; for a RELEASED one it is
 * OK with *ret_again = true: send PUBREL again. */
MUST_USE enum err session_pubrec(struct session *s, uint16_t packet_id, uint8_t reason,
                                 uint64_t lsn, uint64_t *ret_seq, bool *ret_again);
/* session_next_pubrel - a packet id whose "PUBREC seen" is committed and whose PUBREL has not left;
 * 0 = none. It becomes RELEASED. In the order of the PUBRECs. SPEC: MQTT-4.6.0-4. */
uint16_t session_next_pubrel(struct session *s, uint64_t committed);
MUST_USE enum err session_pubcomp(struct session *s, uint16_t packet_id, uint64_t *ret_seq);

/* session_resume - a new connection took the session: SENT becomes QUEUED with is_dup and its old
 * packet id, RELEASED becomes RECEIVED (PUBREL again), in the original order.
 * SPEC: MQTT-4.4.0-1. */
void session_resume(struct session *s);
/* session_shed - QoS 0 deliveries that wait are dropped; gives how many. */
size_t session_shed(struct session *s);
/* session_sleep - the connection ended: QoS 0 deliveries that wait are dropped (returns how many).
 */
size_t session_sleep(struct session *s);

/*
 * Restoring after a restart, before anything else is done with the session: deliveries in the order
 * of seq (gaps are fine), as the journal has them. m NULL: PUBREC was seen, PUBREL comes again.
 * What is restored goes out with DUP set: it may have left before. With QoS 1 it may still expire,
 * with QoS 2 the client may hold its packet id. ERR_NOMEM; limits are not asked: it was promised.
 */
MUST_USE enum err session_restore(struct session *s, const struct msg *m, uint64_t seq, uint8_t qos,
                                  bool retain, const uint32_t *ids, uint16_t n_ids);
/* session_restore_tries - the delivery that was restored last was sent on so many connections. */
void session_restore_tries(struct session *s, uint8_t n_tries);
/* session_restore_next - the next delivery gets at least this seq. */
void session_restore_next(struct session *s, uint64_t next_seq);

/* Inbound QoS 2: ids between PUBLISH and PUBREL. */
enum inbound { INBOUND_NEW, INBOUND_REPEATED };
/* ERR_LIMIT: more than `max` ids are open (Receive Maximum): 0x93; ERR_NOMEM. */
MUST_USE enum err session_inbound_add(struct session *s, uint16_t packet_id, uint32_t max,
                                      enum inbound *ret);
size_t session_inbound_count(const struct session *s);
bool session_inbound_has(const struct session *s, uint16_t packet_id);
/* session_inbound_remove - false: it was not there (still answered by PUBCOMP). */
bool session_inbound_remove(struct session *s, uint16_t packet_id);

#endif

/*
 * journal_record - the fields of the journal's records, to bytes and back: what a worker writes,
 * the log keeps, and a restart reads. Big-endian, one version; the store's format number counts
 * changes.
 *
 * A writer fills `head` (at most JOURNAL_HEAD_MAX bytes) and passes variable parts as the body; a
 * reader gets both behind each other as one slice, and its slices point into it. Readers take
 * hostile bytes: ERR_TRUNCATED, ERR_TRAILING, ERR_MALFORMED, nothing written then. Ids of bodies,
 * sessions and set-aside messages, seqs and packet ids are never 0; only a will's topic may be
 * empty. Writers say ERR_TOO_LARGE (a topic over 65,535 bytes) and ERR_SPACE, and they stick.
 */
#ifndef CORE_JOURNAL_RECORD_H
#define CORE_JOURNAL_RECORD_H

#include "base/wr.h"
#include "core/journal.h"

enum {
    JOURNAL_HEAD_MAX = 96,
    JOURNAL_WORKERS_MAX = 64 /* a worker's number is a bit of `owed` */
};

/* The parts of a message that live on. Times are wall milliseconds; INT64_MAX: never. */
struct journal_message {
    uint64_t publisher; /* principal id */
    uint64_t number;    /* retained number; 0: not retained */
    uint64_t for_group; /* hash of a shared subscription: who owes it is asked again for its members
                           alone; 0: for everybody */
    int64_t expires_wall_ms;
    uint32_t segment;
    uint16_t content_format;
    uint8_t qos;
    bool retain, is_utf8;
    struct slice topic, props, payload; /* behind each other in this order */
};

/* BODY. `owed`: bits of other workers whose DELIVER is still to come when this is written; each of
 * them writes one, without entries when nobody durable wants it there. A body that is found at a
 * restart with a bit that no DELIVER answered was acknowledged to nobody: whoever restores it
 * matches it again for the sessions that have not had it (docs/ORDER.md, rule 7). */
struct journal_body {
    uint64_t id; /* unique for ever */
    uint64_t owed;
    struct journal_message m;
};
/* The body part of the record is m's topic, props and payload. */
MUST_USE enum err journal_body_head(const struct journal_body *b, struct wr *head);
MUST_USE enum err journal_body_read(struct slice record, struct journal_body *ret);

/* journal_is_traffic - is it part of a message that is not retained: the message, a delivery, its
 * acknowledgement? Such a record ends nothing but by its receiver's word, and replaces nothing.
 * `head` is that of a record just written. */
bool journal_is_traffic(enum journal_kind kind, struct slice head);

/* DELIVER: which worker speaks, about which body; then its entries. */
struct journal_deliver {
    uint64_t body_id;
    uint16_t worker;
    struct slice entries; /* for journal_delivery_next */
};
struct journal_delivery {
    uint64_t session, seq;
    uint8_t qos;
    bool retain;      /* the flag to send */
    bool is_received; /* QoS 2, PUBREC seen: only PUBREL is left to do */
    bool is_done;     /* settled; copies of the log's have such entries while the body still owes,
                         so that this session does not get it again. Writers leave it false but
                         for a group (journal_group_session) */
    uint8_t n_tries;  /* on how many connections it was sent, as far as TRIED says so; in a record
                         at most JOURNAL_TRIES_MAX, writers cut it to that */
    uint16_t n_ids;
    struct slice ids; /* n_ids times u32 */
};
enum { JOURNAL_TRIES_MAX = 7 };
enum { JOURNAL_DELIVERY_BYTES = 8 + 8 + 1 + 2 /* and 4 for each id */ };
MUST_USE enum err journal_deliver_head(uint64_t body_id, uint16_t worker, struct wr *head);
/* One entry; ids are d->n_ids numbers (d->ids is not looked at). */
void journal_delivery_write(const struct journal_delivery *d, const uint32_t *ids,
                            struct wr *entries);
/* journal_group_session - under what a DELIVER says, in an entry with is_done, that a group has had
 * the body, whoever of it: no session has such an id. */
static inline uint64_t journal_group_session(uint64_t group_hash)
{
    return group_hash | UINT64_C(1) << 63;
}
/* The same with the ids of d->ids: an entry that was read goes to a copy of its record. */
void journal_delivery_copy(const struct journal_delivery *d, struct wr *entries);
MUST_USE enum err journal_deliver_read(struct slice record, struct journal_deliver *ret);
/* journal_delivery_next - the next entry; ERR_NOT_FOUND at the end, ERR_TRUNCATED, ERR_MALFORMED.
 */
MUST_USE enum err journal_delivery_next(struct slice *entries, struct journal_delivery *ret);
uint32_t journal_delivery_id(const struct journal_delivery *d, uint16_t i);

/* ACK, DROP, RECEIVED, TRIED: one delivery of a session. */
struct journal_settle {
    uint64_t session, seq;
    uint8_t reason;  /* DROP: an event category; else 0 */
    uint8_t n_tries; /* TRIED: on how many connections it was sent by now; else 0 */
};
MUST_USE enum err journal_settle_head(enum journal_kind kind, const struct journal_settle *s,
                                      struct wr *head);
MUST_USE enum err journal_settle_read(enum journal_kind kind, struct slice record,
                                      struct journal_settle *ret);

/* INBOUND, RELEASED: one packet id of a session. */
struct journal_packet {
    uint64_t session;
    uint16_t packet_id;
};
MUST_USE enum err journal_packet_head(const struct journal_packet *p, struct wr *head);
MUST_USE enum err journal_packet_read(struct slice record, struct journal_packet *ret);

/* SESSION. The body part is the client id. SESSION_END has the session alone. */
struct journal_session {
    uint64_t id, principal;
    uint64_t next_seq;      /* at least this; deliveries on record may say more */
    uint32_t expiry_s;      /* after the connection's end; UINT32_MAX: bounded by the role */
    int64_t asleep_wall_ms; /* since when; INT64_MAX: it has a connection */
    struct slice client_id;
};
MUST_USE enum err journal_session_head(const struct journal_session *s, struct wr *head);
MUST_USE enum err journal_session_read(struct slice record, struct journal_session *ret);
MUST_USE enum err journal_session_end_head(uint64_t session, struct wr *head);
MUST_USE enum err journal_session_end_read(struct slice record, uint64_t *ret_session);

/* SUB, UNSUB. The body part is the filter. */
struct journal_sub {
    uint64_t session;
    uint32_t id; /* subscription identifier; 0: none. SUB only, as the next four */
    uint8_t qos, retain_handling;
    bool no_local, retain_as_published;
    struct slice filter;
};
MUST_USE enum err journal_sub_head(enum journal_kind kind, const struct journal_sub *s,
                                   struct wr *head);
MUST_USE enum err journal_sub_read(enum journal_kind kind, struct slice record,
                                   struct journal_sub *ret);

/* WILL. The body part is the message's; an empty topic means that there is none any more. The
 * expiry is a lifetime in milliseconds that begins when the will is published. */
struct journal_will {
    uint64_t session;
    uint32_t delay_s;
    struct journal_message m;
};
MUST_USE enum err journal_will_head(const struct journal_will *w, struct wr *head);
MUST_USE enum err journal_will_read(struct slice record, struct journal_will *ret);

/* SET_ASIDE: a message that nobody will get by itself any more. SET_ASIDE_END has the id alone. */
struct journal_set_aside {
    uint64_t id, session, principal; /* whose queue it was taken from */
    int64_t since_wall_ms;
    uint8_t reason; /* an event category */
    uint8_t n_tries;
    struct journal_message m;
};
MUST_USE enum err journal_set_aside_head(const struct journal_set_aside *s, struct wr *head);
MUST_USE enum err journal_set_aside_read(struct slice record, struct journal_set_aside *ret);
MUST_USE enum err journal_set_aside_end_head(uint64_t id, struct wr *head);
MUST_USE enum err journal_set_aside_end_read(struct slice record, uint64_t *ret_id);

/* ENTRY: (table, id) names it, the newest counts; what the content says is the table owner's. The
 * body part is the content. ENTRY_END has table and id alone. */
enum journal_table {
    JOURNAL_TABLE_PRINCIPAL = 1,
    JOURNAL_TABLE_EXCEPTION = 2,
    JOURNAL_TABLE_META = 3,
    JOURNAL_TABLE_NUMBERS = 4 /* OSCORE: by principal, see service/broker/numbers.h */
};
struct journal_entry {
    uint8_t table;
    uint64_t id;
    struct slice content;
};
MUST_USE enum err journal_entry_head(enum journal_kind kind, uint8_t table, uint64_t id,
                                     struct wr *head);
MUST_USE enum err journal_entry_read(enum journal_kind kind, struct slice record,
                                     struct journal_entry *ret);

#endif

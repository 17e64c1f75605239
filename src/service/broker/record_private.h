/* record_private - what a worker writes into the journal; shared by the files of this folder only.
 */
#ifndef SERVICE_BROKER_RECORD_PRIVATE_H
#define SERVICE_BROKER_RECORD_PRIVATE_H

#include "base/err.h"
#include "base/slice.h"
#include "core/journal_record.h"

struct delivery;
struct msg;
struct session;
struct worker;

enum { HANDOVER_RECORDS = 256 /* appended within one input: given to the log in between */ };

/* Each gives its lsn (also kept in w->last_lsn); errors are the journal's */
MUST_USE enum err record_body(struct worker *w, const struct msg *m, uint64_t owed,
                              uint64_t *ret_lsn);
/* record_entry - d of s, one more entry in w->record; record_deliver writes the record of them, as
 * worker `worker`. */
MUST_USE enum err record_entry(struct worker *w, const struct session *s,
                               const struct journal_delivery *d, const uint32_t *ids);
/* record_group_entry - one more, too: the group with this hash has had it. */
MUST_USE enum err record_group_entry(struct worker *w, uint64_t group);
MUST_USE enum err record_deliver(struct worker *w, uint64_t body_id, unsigned worker,
                                 uint64_t *ret_lsn);
/* record_numbers - the OSCORE numbers of a principal, see numbers.h. */
MUST_USE enum err record_numbers(struct worker *w, uint64_t principal, struct slice content,
                                 uint64_t *ret_lsn);
MUST_USE enum err record_settle(struct worker *w, enum journal_kind kind, uint64_t session,
                                uint64_t seq, uint8_t reason, uint64_t *ret_lsn);
void record_drop(struct worker *w, const struct session *s, uint64_t seq, uint8_t reason);
/* record_try - d leaves once more. */
MUST_USE enum err record_try(struct worker *w, const struct session *s, const struct delivery *d,
                             uint64_t *ret_lsn);
MUST_USE enum err record_packet(struct worker *w, enum journal_kind kind, const struct session *s,
                                uint16_t packet_id, uint64_t *ret_lsn);
/* record_set_aside - about's message is m with about's qos and retain. */
MUST_USE enum err record_set_aside(struct worker *w, const struct journal_set_aside *about,
                                   const struct msg *m, uint64_t *ret_lsn);
MUST_USE enum err record_set_aside_end(struct worker *w, uint64_t id);
/* record_session - asleep_wall_ms INT64_MAX: it has a connection. */
MUST_USE enum err record_session(struct worker *w, struct session *s, int64_t asleep_wall_ms,
                                 uint64_t *ret_lsn);
MUST_USE enum err record_session_end(struct worker *w, uint64_t session, uint64_t *ret_lsn);
MUST_USE enum err record_sub(struct worker *w, enum journal_kind kind, const struct session *s,
                             const struct journal_sub *sub, uint64_t *ret_lsn);
/* record_will - NULL: it has none any more. */
MUST_USE enum err record_will(struct worker *w, struct session *s, const struct msg *will,
                              uint32_t delay_s, uint64_t *ret_lsn);

#endif

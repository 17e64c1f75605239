/* aside_private - messages that were set aside, where they are kept; shared by the files of this
 * folder only. */
#ifndef SERVICE_BROKER_ASIDE_PRIVATE_H
#define SERVICE_BROKER_ASIDE_PRIVATE_H

#include "base/err.h"
#include "base/slice.h"

struct aside_ask;
struct delivery;
struct journal_set_aside;
struct msg;
struct session;
struct worker;

/* aside_take - d of s is set aside, on record, as *ret_id; the caller drops the delivery. The
 * oldest may go for it. ERR_NOMEM and the journal's errors. */
MUST_USE enum err aside_take(struct worker *w, const struct session *s, const struct delivery *d,
                             uint64_t *ret_id);
/* aside_restore - one that the log kept. asides_report - what is still there, one event for each
 * session and topic. */
MUST_USE enum err aside_restore(struct worker *w, const struct journal_set_aside *s,
                                struct slice client_id, const struct msg *m);
void asides_report(struct worker *w);
/* aside_holds - m, a retained message, was set aside for s. */
bool aside_holds(const struct worker *w, const struct session *s, const struct msg *m);
void asides_expire(struct worker *w);
/* asides_recheck - those of removed principals go. */
void asides_recheck(struct worker *w);
void asides_free(struct worker *w);
/* aside_asked - does what an administrator asks; takes ask. asks_run - those whose changes are
 * committed are answered. */
void aside_asked(struct worker *w, struct aside_ask *ask);
bool asks_are_due(const struct worker *w);
void asks_run(struct worker *w);

#endif

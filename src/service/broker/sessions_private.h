/* sessions_private - accounts and sessions whose home is a worker; shared by the files of this
 * folder only. */
#ifndef SERVICE_BROKER_SESSIONS_PRIVATE_H
#define SERVICE_BROKER_SESSIONS_PRIVATE_H

#include "base/err.h"
#include "base/slice.h"

struct account;
struct conn;
struct principal;
struct session;
struct worker;

enum { SESSIONS_HELD_MAX = 1024 /* of a worker: over, but for wills that found no room */ };

/* session_end - now, whatever becomes of its will. */
void session_end(struct worker *w, struct session *s);
/* session_forget - without a record and a word: it has had its end. */
void session_forget(struct worker *w, struct session *s);
/* session_over - its time is over: it ends, or is held until there is room for its will. */
void session_over(struct worker *w, struct session *s);
/* session_add - a new one with this id, in its account. */
MUST_USE enum err session_add(struct worker *w, struct account *a, uint64_t id,
                              struct slice client_id, bool is_durable, struct session **ret);
/* session_arm - asleep: its timer, for the will or for its end, whichever comes first. */
void session_arm(struct worker *w, struct session *s);
void session_disarm(struct worker *w, struct session *s);
/* session_due - its timer has fired: the will is published, or it ends. */
void session_due(struct worker *w, struct session *s);
/* session_fall_asleep - it has no connection any more; one without expiry ends. */
void session_fall_asleep(struct worker *w, struct session *s);
/* conn_release_session - c ends, or is thrown out; `why` is said where neither side has said it. No
 * session, no effect. */
void conn_release_session(struct worker *w, struct conn *c, const char *why);
/* account_of - the one of p, from here on there is one. ERR_NOMEM. */
MUST_USE enum err account_of(struct worker *w, const struct principal *p, struct account **ret);
/* account_drop_if_unused - unless its budgets are to be remembered. */
void account_drop_if_unused(struct worker *w, struct account *a);

#endif

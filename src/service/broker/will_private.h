/* will_private - wills of sessions whose home is a worker; shared by the files of this folder only.
 */
#ifndef SERVICE_BROKER_WILL_PRIVATE_H
#define SERVICE_BROKER_WILL_PRIVATE_H

#include "base/err.h"
#include "wire/mqtt/connect.h"

struct conn;
struct session;
struct worker;

/* will_take - what CONNECT says about the will replaces what there was. *ret_lsn is written when it
 * is a promise that is on record. Errors of the journal, ERR_NOMEM: the session has what it had. */
MUST_USE enum err will_take(struct worker *w, struct session *s, const struct mqtt_connect *connect,
                            uint64_t *ret_lsn);
/* will_conn_ended - c, the connection of s: its will fires, waits (will_at_ms) or is forgotten. */
void will_conn_ended(struct worker *w, struct session *s, const struct conn *c);
/* will_delay_ms - between the end of the connection and the will; not longer than the session. */
uint64_t will_delay_ms(const struct session *s);
/* will_fire - c: its last connection, or NULL when it has none any more. None, no effect. A will
 * for which there is no room or memory stays, due at will_at_ms: the caller has the timer. */
void will_fire(struct worker *w, struct session *s, const struct conn *c);
/* will_lose - it cannot wait any longer, which is said. None, no effect. */
void will_lose(struct worker *w, struct session *s, const char *why);
/* will_forget - its record ends. */
void will_forget(struct worker *w, struct session *s);

#endif

/*
 * handshake - what a client that did not get in is told to the operator: who it says it is, what
 * went wrong, and the fix. For all doors; the words are the operator's, the client hears what TLS
 * or its protocol allows.
 */
#ifndef SERVICE_BROKER_HANDSHAKE_H
#define SERVICE_BROKER_HANDSHAKE_H

#include "base/event.h"
#include "net/tls.h"
#include "service/directory/directory_version.h"

/*
 * handshake_explain - the reason of a refused TLS or DTLS handshake, and the name it claimed
 *
 * r            borrowed.
 * now_wall_ms  by which certificates are judged here; said beside the times of a certificate.
 * e            gets a reason; principal and is_claimed when the refused certificate names somebody.
 */
void handshake_explain(const struct tls_refusal *r, int64_t now_wall_ms, struct event *e);

/* What the first bytes of a connection look like. */
enum opening {
    OPENING_OTHER,
    OPENING_MQTT, /* a CONNECT */
    OPENING_HTTP, /* a method and a space */
    OPENING_TLS   /* a handshake record. SPEC: RFC8446 5.1 */
};
/* opening_of - any bytes; O(1). What is cut before it can be told is OPENING_OTHER. */
enum opening opening_of(struct slice bytes);

/* handshake_explain_foreign - what came is not TLS, but bytes: reason, and the name in a CONNECT as
 * claimed (user name, else client id). */
void handshake_explain_foreign(struct slice bytes, struct event *e);

/* handshake_say_aged - category and reason of e: this secret of entry opens nothing any more, for
 * its age. */
void handshake_say_aged(struct event *e, const struct directory_entry *entry,
                        const struct credential *c);

#endif

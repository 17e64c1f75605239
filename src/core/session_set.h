/* session_set - the sessions of one account, by client id. Most accounts have one: that stands in
 * the set, and costs no table. { 0 } is an empty one; it owns no session. */
#ifndef CORE_SESSION_SET_H
#define CORE_SESSION_SET_H

#include "base/map.h"
#include "core/session.h"

struct session_set {
    union {
        struct session *only; /* !has_table: the one there is, or NULL */
        struct map *table;    /* owned: since there was a second one */
    };
    uint32_t n;
    bool has_table;
};

/* session_set_done - releases the table, not the sessions. */
void session_set_done(struct session_set *set);
/* session_set_add - key is of the table, if it takes one. ERR_EXISTS: there is one of this client
 * id, ERR_NOMEM; nothing changed then. */
MUST_USE enum err session_set_add(struct session_set *set, const struct siphash_key *key,
                                  struct session *s);
/* session_set_find - or NULL. session_set_remove - s, which is there. Never allocates. */
struct session *session_set_find(const struct session_set *set, struct slice client_id);
void session_set_remove(struct session_set *set, const struct session *s);
/* session_set_next - walks all of them in no order: *at starts at 0; NULL at the end. Removing the
 * one just returned is fine, adding while walking is not. */
struct session *session_set_next(const struct session_set *set, size_t *at);

#endif

/* commit_private - who waits until the journal has committed something; shared by the files of this
 * folder only. */
#ifndef SERVICE_BROKER_COMMIT_PRIVATE_H
#define SERVICE_BROKER_COMMIT_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct worker;

enum token_kind { TOKEN_ANSWER, TOKEN_DOOR };

struct token {
    uint32_t generation;
    uint32_t n_open; /* places that have not committed; 0 = free */
    enum token_kind kind;
    uint64_t conn; /* TOKEN_ANSWER */
    uint32_t ask;
    uint16_t packet_id; /* QoS 2 of `session`: a repeated PUBLISH waits for the same commits */
    uint64_t session;
    uint64_t cookie; /* TOKEN_DOOR */
};

enum pending_action {
    PENDING_TOKEN,   /* one place of a token of ours is committed */
    PENDING_REMOTE,  /* the same for a token of worker `worker` */
    PENDING_ANSWER,  /* answer an ask of a connection */
    PENDING_BARRIER, /* a SUBACK waits for its subscriptions too */
    PENDING_WAKE     /* deliveries of a connection waited for this */
};

struct pending {
    uint64_t lsn;
    enum pending_action action;
    uint32_t ask, worker;
    uint64_t id; /* token, connection or barrier */
};

MUST_USE enum err token_new(struct worker *w, const struct token *t, uint64_t *ret);
/* token_of_publish - the token of a QoS 2 PUBLISH of this session that still waits, or NULL. */
struct token *token_of_publish(struct worker *w, uint64_t session, uint16_t packet_id);
void token_open(struct worker *w, uint64_t token, uint32_t n);
void token_close_one(struct worker *w, uint64_t token);
/* token_drop - nobody is answered. token_fail - it could not be done: the publisher tries again. */
void token_drop(struct worker *w, uint64_t token);
void token_fail(struct worker *w, uint64_t token);
/* token_close_if_alone - closes the caller's place: true when it was the last, and then nothing
 * else happens. */
bool token_close_if_alone(struct worker *w, uint64_t token);
/* pending_reserve - the next n pending_add do not fail. */
MUST_USE enum err pending_reserve(struct worker *w, size_t n);
MUST_USE enum err pending_add(struct worker *w, const struct pending *p);
void commits_run(struct worker *w);
/* commits_are_due - somebody waits for what is committed already. */
bool commits_are_due(const struct worker *w);
MUST_USE enum err done_add(struct worker *w, uint64_t cookie);

#endif

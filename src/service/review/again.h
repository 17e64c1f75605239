/*
 * again - what happened under one policy, asked again under another: a line of the audit trail, or
 * a retained message.
 *
 * The trail has samples (the first publish of a connection, every subscription, every login), not
 * every message; what it does not have cannot be asked.
 */
#ifndef SERVICE_REVIEW_AGAIN_H
#define SERVICE_REVIEW_AGAIN_H

#include <jansson.h>

#include "service/review/ask.h"
#include "service/review/crowd.h"

enum act_kind { ACT_PUBLISH, ACT_SUBSCRIBE, ACT_CONNECT };

/* Who did what. Borrows. */
struct act {
    enum act_kind kind;
    const char *who;
    struct slice what; /* topic, filter, client id */
    uint8_t qos;
    bool retain;
};

/* act_name - "publish". */
const char *act_name(enum act_kind kind);
/* act_read - a line of the trail; false: nothing that a policy is asked about, nobody proven, or a
 * text that the trail has cut. Borrows line. */
bool act_read(const json_t *line, struct act *ret);
/* act_read_retained - a line of `retained list`. */
bool act_read_retained(const json_t *line, struct act *ret);

struct again;

/* again_new - shares the policies, borrows the sorted crowd for life. ERR_NOMEM. */
MUST_USE enum err again_new(const struct policy *old, const struct policy *new,
                            const struct crowd *crowd, struct again **ret);
struct again *again_free(struct again *a); /* NULL is fine; returns NULL */
AUTOFREE(again, again_free)

enum again_answer { AGAIN_SAME, AGAIN_REFUSED, AGAIN_ALLOWED, AGAIN_UNKNOWN };

/* again_ask - REFUSED: it was allowed and is not any more, ret->rule says why; ALLOWED: the other
 * way; UNKNOWN: there is no such principal now. ERR_NOMEM. */
MUST_USE enum err again_ask(struct again *a, const struct act *act, enum again_answer *ret_answer,
                            struct decision *ret);

#endif

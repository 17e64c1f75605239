/*
 * ask - one question to the rights of a principal, as people write it: an action or a method, and a
 * topic, filter or path. What `policy explain`, `policy test` and `policy diff` ask with, so that
 * all three mean the same.
 */
#ifndef SERVICE_REVIEW_ASK_H
#define SERVICE_REVIEW_ASK_H

#include "base/why.h"
#include "core/policy.h"

struct review_question {
    struct slice action; /* publish, retain (publish with retain), subscribe, or a method */
    struct slice what;   /* topic, filter, path like /mq/a/b or /fw, or coap://... */
    uint8_t qos;         /* of publish */
    bool retain;         /* the same */
};

/* review_check - is it a question at all? ERR_MALFORMED with *why: there is no such action, or
 * `what` is nothing that it could be done with. */
MUST_USE enum err review_check(const struct review_question *q, struct why *why);
/* review_ask - ERR_MALFORMED as review_check; then nothing was asked. OK: *ret has the answer.
 * Below /mq a method is about a topic, by the rules that MQTT has, confirmable as a client sends it
 * by default. */
MUST_USE enum err review_ask(const struct grants *g, const struct review_question *q,
                             struct decision *ret, struct why *why);
/* review_method - the bit of a method's name, in any case; 0: it is none. */
unsigned review_method(struct slice action);

#endif

/*
 * passage - the one way in: authorize and meter, for every door.
 *
 * Each question is asked of the account of whoever acts, at the moment of the act. The caller
 * records the answer (an event for each refusal) and routes. No side effect other than spent
 * budget.
 */
#ifndef CORE_PASSAGE_H
#define CORE_PASSAGE_H

#include "core/account.h"
#include "core/topic.h"

/* Where the server says what its alerts are; nobody else publishes there, whatever a role grants.
 */
#define PASSAGE_ALERTS "$sallyport/alerts"
/* The publisher of what the server itself says: no principal has this id, and as with who was
 * anonymous, no change of the policy takes back what was said. */
#define PASSAGE_SERVER UINT64_MAX

/* passage_connect - may a connection under this client id begin? ERR_DENIED: closed account or
 * foreign client id; ERR_QUOTA: too many in a second. */
MUST_USE enum err passage_connect(struct account *a, struct slice client_id, uint64_t now_ms,
                                  struct decision *ret);

/* What a publish asks of the retained index. An empty payload clears, which no bound forbids. */
enum passage_retain {
    RETAIN_NO,
    RETAIN_NEW,    /* the topic holds no message of this principal yet */
    RETAIN_FULL,   /* nobody may retain more: retained_total or retained_total_bytes is reached */
    RETAIN_REPLACE /* it does: the count does not grow */
};

/* passage_publish - topic is a checked name. Order of the checks: closed account, grants, retained
 * bounds, rate. ERR_DENIED, ERR_QUOTA (rate or count), ERR_TOO_LARGE (retained payload). `ret`
 * explains a refusal; required. */
MUST_USE enum err passage_publish(struct account *a, struct slice topic, uint8_t qos,
                                  enum passage_retain retain, size_t payload_bytes, uint64_t now_ms,
                                  struct decision *ret);
/* passage_will - the same question without spending rate: asked at CONNECT, and again when it
 * fires. */
MUST_USE enum err passage_will(struct account *a, struct slice topic, uint8_t qos,
                               enum passage_retain retain, size_t payload_bytes,
                               struct decision *ret);
/* passage_subscribe - filter is a checked filter. s NULL: an observer, whose count the caller
 * bounds. `ret` explains a refusal. ERR_DENIED; ERR_QUOTA: over role subscriptions (is_new only).
 */
MUST_USE enum err passage_subscribe(struct account *a, const struct session *s, struct slice filter,
                                    bool is_new, struct decision *ret);
/* passage_deliver - may this still reach that subscriber? The fast path is one compare of epochs;
 * a sub found covered again carries the account's epoch afterwards. ERR_DENIED; ERR_NOMEM: the
 * account is stale, nobody knows yet: not a reason to drop what was promised. */
MUST_USE enum err passage_deliver(struct account *a, struct sub *sub, struct decision *ret);
/* passage_hear - may this message reach that account, as far as segments go? Within one segment
 * that is one compare. What the server says is of no segment: grants alone decide. What
 * passage_deliver says is asked apart. ERR_DENIED. */
MUST_USE enum err passage_hear(const struct account *a, const struct msg *m);
/* passage_segment - may this account act at a door of that segment? ERR_DENIED. */
MUST_USE enum err passage_segment(const struct account *a, const char *segment,
                                  struct decision *ret);
/* passage_resource - method is one METHOD_ bit. ERR_DENIED. */
MUST_USE enum err passage_resource(struct account *a, struct slice path, unsigned method,
                                   struct decision *ret);

#endif

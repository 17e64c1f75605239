/*
 * policy - roles and what they grant; deny is the default.
 *
 * A policy is built once (policy_new, policy_add_role, role_add_*), then only read: immutable and
 * shared by reference. Templates are split into levels first and placeholders substituted per level
 * afterwards, so that a value that holds '+', '#' or '/' stays one literal level and can never
 * widen a filter (such a value matches no topic at all). A grant whose placeholder has no value, or
 * an empty one, grants nothing.
 *
 * grants are a policy compiled for one principal. All questions are asked of grants.
 *
 * A level that is ${assigned} makes a grant for a gateway: it matches the names of the devices that
 * are assigned to whoever acts (principal.gateway) and are active, and nothing else. Who that is,
 * is looked up when the question is asked (core/people.h). A subscription names the device: a
 * wildcard at that level is not covered.
 */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H

#include "base/err.h"
#include "base/slice.h"
#include "core/limits.h"
#include "core/people.h"
#include "core/principal.h"

struct policy;
struct role;
struct rights; /* grants.c */

/* What one principal may: a place in whatever has it. The fields are grants.c's. */
struct grants {
    const struct principal *principal; /* owned reference */
    const struct people *people;       /* borrowed; NULL: nobody is known */
    const struct rights *rights;       /* owned unless all who have the role share it */
};

enum policy_action { POLICY_PUBLISH, POLICY_SUBSCRIBE };

/* CoAP and HTTP methods on resources outside the topic space, as bits. */
enum policy_method {
    METHOD_GET = 1,
    METHOD_POST = 2,
    METHOD_PUT = 4,
    METHOD_DELETE = 8,
    METHOD_FETCH = 16,
    METHOD_PATCH = 32,
    METHOD_IPATCH = 64
};

/* ---- building ---- */

MUST_USE enum err policy_new(struct policy **ret);
const struct policy *policy_ref(const struct policy *p);
const struct policy *policy_unref(const struct policy *p);
/* policy_set_source - keeps a copy of the text it is built from; once. ERR_NOMEM. policy_source -
 * that text, borrowed; empty: there is none. */
MUST_USE enum err policy_set_source(struct policy *p, struct slice text);
struct slice policy_source(const struct policy *p);

/* policy_add_role - an empty role: client id "${device}", default limits. ERR_EXISTS, ERR_MALFORMED
 * (name), ERR_NOMEM. *ret is borrowed from the policy. */
MUST_USE enum err policy_add_role(struct policy *p, struct slice name, struct role **ret);
/* role_set_client_id - template like "${device}" or "${device}-1"; "*" allows any. ERR_MALFORMED
 * (${assigned}, too), ERR_NOMEM. */
MUST_USE enum err role_set_client_id(struct role *r, struct slice template);
void role_set_many(struct role *r, bool many);
/* role_set_service - a program or person, not a device: for listings, it decides nothing. */
void role_set_service(struct role *r, bool is_service);
struct role_limits *role_limits(struct role *r);
/* role_add_topic - a grant on topics. `filter` is a template of a topic filter. retain and qos
 * (0..2) only mean something for POLICY_PUBLISH; qos is the highest allowed. line is for
 * explanations (0: unknown). ERR_MALFORMED: not a valid filter template (a '+' or '#' not alone in
 * its level, an unclosed placeholder, ${assigned} twice or not alone in its level, a leading
 * "$share"), ERR_LIMIT: over POLICY_GRANTS_MAX or the topic limits, ERR_NOMEM. */
enum { POLICY_GRANTS_MAX = 256, POLICY_ROLES_MAX = 1024, POLICY_LEVELS_MAX = 128 };
MUST_USE enum err role_add_topic(struct role *r, enum policy_action action, struct slice filter,
                                 bool retain, uint8_t qos, uint32_t line);
/* role_set_freshness - of the grant that was added last: who publishes by it over CoAP shows with
 * an Echo that it does so now, and not longer ago than so many seconds (2 to
 * POLICY_FRESHNESS_MAX_S). SPEC: RFC9175 2.3 */
enum { POLICY_FRESHNESS_MIN_S = 2, POLICY_FRESHNESS_MAX_S = 60 };
void role_set_freshness(struct role *r, uint32_t seconds);
/* role_add_resource - methods is a set of METHOD_ bits; path like "/fw/${class}" or, through a
 * proxy, "coap://192.0.2.1:5683/fw"; '+' and a final
 * '#' as in filters. */
MUST_USE enum err role_add_resource(struct role *r, struct slice path, unsigned methods,
                                    uint32_t line);
/* policy_has_role - for checks when a principal or exception names one. */
bool policy_has_role(const struct policy *p, struct slice name);
/* policy_is_gateway - some grant of this role is for ${assigned}. */
bool policy_is_gateway(const struct policy *p, struct slice role);
/* policy_is_many - see role_set_many; false when there is no such role. */
bool policy_is_many(const struct policy *p, struct slice name);

/* ---- asking ---- */

/* decision - the answer and the rule that gave it, for events and `policy explain`. */
struct decision {
    enum err err;          /* OK or ERR_DENIED */
    enum limit_name limit; /* of ERR_QUOTA and ERR_TOO_LARGE: the bound; of others not written */
    char rule[256]; /* "role sensor, line 7: publish sensors/${site}/${device}/+" or why nothing
                       allows it */
};

/* grants_init - shares policy and principal. A role the policy does not know gives grants that deny
 * everything. ERR_NOMEM: g is as it was. O(grants of the role). grants_new - the same on the heap.
 */
MUST_USE enum err grants_init(struct grants *g, const struct policy *policy,
                              const struct principal *principal);
void grants_done(struct grants *g);
MUST_USE enum err grants_new(const struct policy *policy, const struct principal *principal,
                             struct grants **ret);
struct grants *grants_free(struct grants *g);
/* grants_know - whom ${assigned} is looked up with; borrowed for life. Without it a gateway speaks
 * for nobody. */
void grants_know(struct grants *g, const struct people *people);
const struct people *grants_people(const struct grants *g);
/* grants_is_gateway - some grant is for ${assigned}: what it allows changes with the directory. */
bool grants_is_gateway(const struct grants *g);
const struct principal *grants_principal(const struct grants *g);
const struct role_limits *grants_limits(const struct grants *g);
const struct policy *grants_policy(const struct grants *g);
/* grants_client_id_ok - may this principal connect under this client id? */
bool grants_client_id_ok(const struct grants *g, struct slice client_id);

/* The three questions; OK or ERR_DENIED. `ret` may be NULL where nobody reads the explanation: the
 * fast path, which allocates nothing. topic and filter are already checked (core/topic.h). */
enum err grants_publish(const struct grants *g, struct slice topic, uint8_t qos, bool retain,
                        struct decision *ret);
/* grants_freshness - the least that any publish grant for this topic asks, in seconds; 0: none
 * asks.
 */
uint32_t grants_freshness(const struct grants *g, struct slice topic);
/* A subscription must be covered: every topic it matches is matched by one grant. `$share/G/F` asks
 * about F. */
enum err grants_subscribe(const struct grants *g, struct slice filter, struct decision *ret);
enum err grants_resource(const struct grants *g, struct slice path, unsigned method,
                         struct decision *ret);

/* grants_each - every topic grant as the filter it means for this principal (borrowed for the
 * call), placeholders filled in, ${assigned} as '+', in the order of the role; is_exact: it holds
 * no wildcard. Nothing when the principal is not active. For listings: what may be done is asked of
 * grants_publish and grants_subscribe. */
void grants_each(const struct grants *g,
                 void (*each)(void *ctx, enum policy_action action, struct slice filter,
                              bool is_exact),
                 void *ctx);

#endif

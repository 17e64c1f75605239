/* sim_policy - topics, filters and policies of the simulator, and what they mean, written without
 * the broker's code. */
#ifndef SIM_SIM_POLICY_H
#define SIM_SIM_POLICY_H

#include "base/random.h"
#include "core/policy.h"

enum {
    SIM_TOPICS = 6,
    SIM_PLAIN = 8, /* ordinary filters; behind them shared ones */
    SIM_GROUPS = 3,
    SIM_FILTERS = SIM_PLAIN + SIM_GROUPS,
    SIM_POLICIES = 6,
    SIM_ROLES = 3,
    SIM_GRANTS = 3
};

struct sim_grant {
    uint8_t filter; /* index; SIM_PLAIN: no grant */
    uint8_t qos;
    bool retain;
};

struct sim_role {
    struct sim_grant publish[SIM_GRANTS];
    struct sim_grant subscribe[SIM_GRANTS];
};

struct sim_policy {
    struct sim_role roles[SIM_ROLES];
};

const char *sim_topic(unsigned i);
const char *sim_filter(unsigned i);
/* sim_topic_find - the index of a topic, SIM_TOPICS when it is none of ours. */
unsigned sim_topic_find(struct slice topic);
unsigned sim_filter_find(struct slice filter);
bool sim_matches(unsigned filter, unsigned topic);
bool sim_may_publish(const struct sim_policy *p, unsigned role, unsigned topic, uint8_t qos,
                     bool retain);
bool sim_may_subscribe(const struct sim_policy *p, unsigned role, unsigned filter);
/* sim_may_hear - is this one topic covered, as a filter? */
bool sim_may_hear(const struct sim_policy *p, unsigned role, unsigned topic);
/* sim_policy_make - policy 0 grants everything; others are drawn. */
void sim_policy_make(struct sim_policy *p, unsigned index, const struct random_source *random);
/* sim_policy_build - the same as a policy of core. Role 1 is `many`. NULL: no memory. */
const struct policy *sim_policy_build(const struct sim_policy *p, const struct role_limits *limits);

#endif

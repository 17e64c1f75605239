/*
 * policy_list - a policy as it was written, for listings and comparisons. Nothing is decided here:
 * what may be done is asked of grants (core/policy.h).
 */
#ifndef CORE_POLICY_LIST_H
#define CORE_POLICY_LIST_H

#include "core/policy.h"

/* A role; borrowed from its policy. */
struct policy_role {
    const struct role *role;
    const char *name;
    struct slice client_id; /* template, or "*" */
    bool many, is_service;
    const struct role_limits *limits;
    size_t n_rules;
};

enum policy_rule_kind { POLICY_RULE_PUBLISH, POLICY_RULE_SUBSCRIBE, POLICY_RULE_RESOURCE };

/* One line of a role; what its kind does not have is 0. */
struct policy_rule {
    size_t index; /* in its role */
    enum policy_rule_kind kind;
    struct slice text; /* template */
    bool is_assigned;  /* a level is ${assigned} */
    bool retain;
    uint8_t qos;
    uint32_t freshness_s;
    unsigned methods;
    uint32_t line; /* 0: unknown */
};

/* policy_role_at - in the order of the file; false: there are not so many. */
bool policy_role_at(const struct policy *p, size_t i, struct policy_role *ret);
/* policy_role_find - false: there is none of this name. O(roles). */
bool policy_role_find(const struct policy *p, struct slice name, struct policy_role *ret);
/* policy_rule_at - i < r->n_rules. */
struct policy_rule policy_rule_at(const struct policy_role *r, size_t i);

/* grants_each_rule - every rule that grants this principal something, and what it means for it
 * (borrowed for the call), ${assigned} as '+'; whatever its status. */
void grants_each_rule(const struct grants *g,
                      void (*each)(void *ctx, const struct policy_rule *rule, struct slice meant),
                      void *ctx);

#endif

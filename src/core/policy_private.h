/*
 * policy_private - what building a policy (policy.c) and asking it (grants.c) share.
 */
#ifndef CORE_POLICY_PRIVATE_H
#define CORE_POLICY_PRIVATE_H

#include <stdatomic.h>

#include "core/policy.h"
#include "core/policy_list.h"

enum rule_kind { RULE_PUBLISH, RULE_SUBSCRIBE, RULE_RESOURCE, RULE_KINDS };

/* One line of a role, as written. */
struct rule {
    enum rule_kind kind;
    struct slice text; /* checked template; owned */
    size_t assigned;   /* its level that is ${assigned}, counted from 1; 0: none */
    bool retain;
    uint8_t qos;
    uint32_t freshness_s; /* 0: none is asked */
    unsigned methods;
    uint32_t line;
};

struct role {
    char name[PRINCIPAL_NAME_MAX + 1];
    struct slice client_id; /* checked template; owned */
    bool many, is_service;
    struct role_limits limits;
    struct rule *rules;
    size_t n_rules, rules_cap;
    bool has_freshness; /* some rule asks for it */
    bool is_gateway;    /* some rule is for ${assigned} */
    /* What all who have it share, owned; NULL: nobody had it yet, or its rules say who it is. The
     * one thing of a policy that is made while many threads ask it. */
    _Atomic(struct rights *) common;
    struct rights *retired; /* what it was before a change; owned, for some may have it */
};

struct policy {
    atomic_uint refs;
    struct slice source; /* owned; empty: it was not read from a text */
    struct role **roles;
    size_t n_roles, roles_cap;
    struct flow **flows; /* flow.c */
    size_t n_flows, flows_cap;
};

/* role_rights_renew - r was changed: who has it keeps what they have, who comes gets anew.
 * role_rights_free - with r, when nobody has it. grants.c */
void role_rights_renew(struct role *r);
void role_rights_free(struct role *r);
void policy_free_flows(struct policy *p);
/* policy_text_copy - gives; policy_text_free takes it back. ERR_NOMEM. */
MUST_USE enum err policy_text_copy(struct slice text, struct slice *ret);
void policy_text_free(struct slice text);
/* policy_array_room - room for one more element of a growing array behind the n there are; NULL:
 * no memory, the array is as it was. */
void *policy_array_room(void *array, size_t n, size_t element_bytes, size_t *cap);

/* policy_rule_list - a rule of this role, as listings see it. */
struct policy_rule policy_rule_list(const struct role *role, const struct rule *rule);
/* policy_find_role - by name, or NULL. O(roles). */
const struct role *policy_find_role(const struct policy *p, struct slice name);

/* A template is a row of parts: literal text, and keys of placeholders. */
struct template_part {
    struct slice text;
    bool is_key;
};

/* template_next - cuts the next part off *rest; false at the end. An unclosed placeholder gives
 * ERR_MALFORMED in *ret_err. */
bool template_next(struct slice *rest, struct template_part *ret, enum err *ret_err);
/* The key that stands for the devices of a gateway. */
#define TEMPLATE_ASSIGNED "assigned"

#endif

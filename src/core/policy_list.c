#include "core/policy_list.h"

#include <assert.h>

#include "core/policy_private.h"

_Static_assert((int)POLICY_RULE_PUBLISH == (int)RULE_PUBLISH &&
                   (int)POLICY_RULE_SUBSCRIBE == (int)RULE_SUBSCRIBE &&
                   (int)POLICY_RULE_RESOURCE == (int)RULE_RESOURCE,
               "one kind, two names: inside and outside of core");

static struct policy_role listed(const struct role *r)
{
    return (struct policy_role){.role = r,
                                .name = r->name,
                                .client_id = r->client_id,
                                .many = r->many,
                                .is_service = r->is_service,
                                .limits = &r->limits,
                                .n_rules = r->n_rules};
}

bool policy_role_at(const struct policy *p, size_t i, struct policy_role *ret)
{
    if (i >= p->n_roles) {
        return false;
    }
    *ret = listed(p->roles[i]);
    return true;
}

bool policy_role_find(const struct policy *p, struct slice name, struct policy_role *ret)
{
    const struct role *r = policy_find_role(p, name);
    if (r == NULL) {
        return false;
    }
    *ret = listed(r);
    return true;
}

struct policy_rule policy_rule_list(const struct role *role, const struct rule *rule)
{
    return (struct policy_rule){.index = (size_t)(rule - role->rules),
                                .kind = (enum policy_rule_kind)rule->kind,
                                .text = rule->text,
                                .is_assigned = rule->assigned > 0,
                                .retain = rule->retain,
                                .qos = rule->qos,
                                .freshness_s = rule->freshness_s,
                                .methods = rule->methods,
                                .line = rule->line};
}

struct policy_rule policy_rule_at(const struct policy_role *r, size_t i)
{
    assert(i < r->role->n_rules);
    return policy_rule_list(r->role, &r->role->rules[i]);
}

/* difference_private - what comparing (difference.c) and warning (wide.c) share. */
#ifndef SERVICE_REVIEW_DIFFERENCE_PRIVATE_H
#define SERVICE_REVIEW_DIFFERENCE_PRIVATE_H

#include "core/policy_list.h"
#include "service/review/difference.h"

/* A change and the rules it is about; SIZE_MAX: none. */
struct change_row {
    struct change shown;
    size_t old_rule, new_rule;
};

/* A role of the old policy, the new one, or both; its changes are in one row. */
struct role_pair {
    const char *name;
    bool in_old, in_new;
    struct policy_role old, new;
    size_t first, n; /* of the changes */
};

struct difference {
    const struct policy *old, *new; /* shared */
    const struct crowd *crowd;
    struct role_pair *roles; /* by name */
    size_t n_roles;
    struct change_row *changes;
    size_t n, cap;
    size_t n_concerned;
};

/* difference_add - an empty change of this role; line of the rule it is about. ERR_NOMEM. */
MUST_USE enum err difference_add(struct difference *d, enum change_kind kind, const char *role,
                                 uint32_t line, struct change_row **ret);
/* rule_covers - whoever has `a` may do all that `b` grants. The texts are templates, or what they
 * mean for one principal. */
bool rule_covers(const struct policy_rule *a, struct slice a_text, const struct policy_rule *b,
                 struct slice b_text);
/* rule_is_covered - by some rule of this role, as templates. */
bool rule_is_covered(const struct policy_role *role, const struct policy_rule *rule);

/* difference_warn - what is dangerously wide in this role of the new policy, and was not granted by
 * the old one. ERR_NOMEM. */
MUST_USE enum err difference_warn(struct difference *d, const struct role_pair *pair);

#endif

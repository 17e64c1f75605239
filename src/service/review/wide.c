/* What is dangerously wide in a new policy. Roles of `kind: service` are meant to be wide. */
#include "core/topic.h"
#include "service/review/difference_private.h"

static bool has_key(struct slice text, const char *key)
{
    size_t n = strlen(key);
    while (text.n >= n) {
        if (memcmp(text.p, key, n) == 0) {
            return true;
        }
        text = slice_from(text, 1);
    }
    return false;
}

/* The grant follows who acts: nobody acts in the place of another. */
static bool is_own(struct slice text)
{
    return has_key(text, "${device}") || has_key(text, "${assigned}");
}

static bool is_wide(struct slice text)
{
    bool more;
    struct slice first = slice_cut(&text, '/', &more);
    return slice_is(first, "+") || slice_is(first, "#");
}

/* May a topic that `publish` grants be one that `commands` takes, of another device? */
static bool reaches_others(struct slice publish, struct slice commands)
{
    bool more_a = true, more_b = true;
    while (more_a && more_b) {
        struct slice a = slice_cut(&publish, '/', &more_a), b = slice_cut(&commands, '/', &more_b);
        if (slice_is(a, "#") || slice_is(b, "#")) {
            return true;
        }
        bool is_key = has_key(a, "${") || has_key(b, "${");
        if (has_key(b, "${device}") && has_key(a, "${device}")) {
            return false; /* its own alone */
        }
        if (!is_key && !slice_is(a, "+") && !slice_is(b, "+") && !slice_equal(a, b)) {
            return false;
        }
    }
    return (more_a || more_b) ? slice_is(more_a ? publish : commands, "#") : true;
}

/* A role whose devices take commands there; false: none. */
static bool find_commanded(const struct policy *policy, const struct policy_rule *publish,
                           struct policy_role *ret, struct slice *ret_filter)
{
    for (size_t i = 0; policy_role_at(policy, i, ret); i++) {
        for (size_t k = 0; k < ret->n_rules; k++) {
            const struct policy_rule rule = policy_rule_at(ret, k);
            if (rule.kind == POLICY_RULE_SUBSCRIBE && has_key(rule.text, "${device}") &&
                reaches_others(publish->text, rule.text)) {
                *ret_filter = rule.text;
                return true;
            }
        }
    }
    return false;
}

static enum err warn(struct difference *d, const struct role_pair *pair,
                     const struct policy_rule *rule, const char *what, struct slice other)
{
    struct change_row *row;
    TRY(difference_add(d, CHANGE_WARNING, pair->name, rule->line, &row));
    (void)snprintf(row->shown.text, sizeof row->shown.text, "%s %.*s %s%.*s",
                   rule->kind == POLICY_RULE_PUBLISH ? "publish" : "subscribe",
                   SLICE_ARG(slice_head_text(rule->text, 80)), what,
                   SLICE_ARG(slice_head_text(other, 80)));
    return OK;
}

static enum err warn_rule(struct difference *d, const struct role_pair *pair,
                          const struct policy_rule *rule)
{
    struct policy_role commanded;
    struct slice filter, none = {0};
    if (is_wide(rule->text)) {
        return warn(d, pair, rule,
                    "is every topic at the top level; name the level, or say kind: service if it "
                    "is no device",
                    none);
    }
    if (rule->kind != POLICY_RULE_PUBLISH) {
        return OK;
    }
    if (find_commanded(d->new, rule, &commanded, &filter)) {
        return warn(d, pair, rule,
                    "lets every device of the role write commands of others: ", filter);
    }
    if (!is_own(rule->text)) {
        return warn(d, pair, rule,
                    "names no ${device}: every device of the role can write in the name of "
                    "another",
                    none);
    }
    return OK;
}

enum err difference_warn(struct difference *d, const struct role_pair *pair)
{
    if (pair->new.is_service) {
        return OK;
    }
    for (size_t i = 0; i < pair->new.n_rules; i++) {
        const struct policy_rule rule = policy_rule_at(&pair->new, i);
        bool is_known = pair->in_old && rule_is_covered(&pair->old, &rule);
        if (rule.kind != POLICY_RULE_RESOURCE && !is_known) {
            TRY(warn_rule(d, pair, &rule));
        }
    }
    return OK;
}

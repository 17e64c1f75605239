#include "app/daemon/config_respond.h"

#include "service/directory/settings.h"

#define COMPLAIN(r, node, ...) yaml_complain((r)->doc, (node), (r)->complaint, __VA_ARGS__)

struct reading {
    const struct yaml_doc *doc;
    struct yaml_complaint *complaint;
};

static bool is_scalar(const struct yaml_node *n)
{
    return n != NULL && n->kind == YAML_SCALAR;
}

/* ---- what a rule is about ---- */

/* Those that find what is proven; the rest cannot be answered with more than an alert. */
static uint64_t answerable(void)
{
    uint64_t bits = 0;
    for (unsigned d = 0; d < DETECTOR_COUNT; d++) {
        bits |= respond_can_answer((enum detector)d) ? UINT64_C(1) << d : 0;
    }
    return bits;
}

static uint64_t of_name(struct slice name)
{
    uint64_t bits = 0;
    for (unsigned d = 0; d < DETECTOR_COUNT; d++) {
        const struct detector_words *w = detector_words((enum detector)d);
        bool is_it = slice_is(name, w->name) || slice_is(name, event_category_name(w->category));
        bits |= is_it ? UINT64_C(1) << d : 0;
    }
    return bits;
}

static enum err read_on(const struct reading *r, const struct yaml_node *n,
                        struct respond_rule *ret)
{
    if (!is_scalar(n) || !slice_to_text(n->text, ret->name, sizeof ret->name)) {
        return COMPLAIN(r, n, "on must be a detector, its category, or any: docs/DETECTORS.md");
    }
    ret->detectors = slice_is(n->text, "any") ? answerable() : of_name(n->text);
    if (ret->detectors == 0) {
        return COMPLAIN(r, n,
                        "on: there is no detector and no category \"%.40s\"; docs/DETECTORS.md has "
                        "them, like probing or anomaly; any is all",
                        ret->name);
    }
    if (ret->answer != ANSWER_ALERT && (ret->detectors & answerable()) == 0) {
        return COMPLAIN(r, n,
                        "%.40s names who is attacked, or says nothing that is proven: who wants a "
                        "device shut out would only have to pretend. It can only alert",
                        ret->name);
    }
    ret->detectors &= ret->answer == ANSWER_ALERT ? UINT64_MAX : answerable();
    return OK;
}

/* ---- the rest of a rule ---- */

static enum err read_answer(const struct reading *r, const struct yaml_node *n,
                            enum answer_kind *ret)
{
    if (!is_scalar(n) || !answer_find(n->text, ret)) {
        return COMPLAIN(r, n,
                        "answer must be one of: alert, throttle, step-up, quarantine, disconnect, "
                        "revoke");
    }
    return OK;
}

static enum err read_for(const struct reading *r, const struct yaml_node *rule,
                         struct respond_rule *ret)
{
    static const struct setting row = {
        "for", SETTING_DURATION, RESPOND_FOR_MIN_S, RESPOND_FOR_MAX_S, "", 0, 4};
    const struct yaml_node *n = yaml_find(rule, "for");
    char why[SETTING_WHY_BYTES];
    uint64_t v = 0;
    if (n == NULL) {
        return ret->answer == ANSWER_ALERT || ret->answer == ANSWER_REVOKE
                   ? OK
                   : COMPLAIN(r, rule, "%s needs for, like 1h: it ends by itself",
                              answer_name(ret->answer));
    }
    TRY(yaml_expect(r->doc, n, YAML_SCALAR, "for", r->complaint));
    if (ret->answer == ANSWER_ALERT) {
        return COMPLAIN(r, n, "an alert does not last: no for");
    }
    if (setting_parse(&row, n->text, 0, why, &v) != OK) {
        return COMPLAIN(r, n, "%s", why);
    }
    ret->for_s = (uint32_t)v;
    return OK;
}

static enum err read_mode(const struct reading *r, const struct yaml_node *n, bool *ret)
{
    if (n == NULL) {
        return OK;
    }
    if (!is_scalar(n) || (!slice_is(n->text, "dry-run") && !slice_is(n->text, "enforce"))) {
        return COMPLAIN(r, n, "mode must be dry-run or enforce");
    }
    *ret = slice_is(n->text, "enforce");
    return OK;
}

static enum err read_rule(const struct reading *r, const struct yaml_node *n,
                          struct respond_rules *c)
{
    static const char *const keys[] = {"on", "role", "answer", "for", "mode", NULL};
    struct respond_rule rule = {.for_s = 0};
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a rule", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a rule", r->complaint));
    const struct yaml_node *on = yaml_find(n, "on"), *answer = yaml_find(n, "answer");
    const struct yaml_node *role = yaml_find(n, "role");
    if (on == NULL || answer == NULL) {
        return COMPLAIN(r, n,
                        "a rule needs on and answer, like { on: probing, answer: quarantine, for: "
                        "1h, mode: dry-run }");
    }
    TRY(read_answer(r, answer, &rule.answer));
    TRY(read_on(r, on, &rule));
    if (role != NULL && (!is_scalar(role) || !principal_name_ok(role->text) ||
                         !slice_to_text(role->text, rule.role, sizeof rule.role))) {
        return COMPLAIN(r, role, "role must be the name of a role");
    }
    TRY(read_for(r, n, &rule));
    TRY(read_mode(r, yaml_find(n, "mode"), &rule.is_enforced));
    c->rules[c->n++] = rule;
    return OK;
}

/* ---- bounds of them all ---- */

static enum err read_names(const struct reading *r, const struct yaml_node *list, const char *what,
                           char dst[RESPOND_EXCEPT_MAX][PRINCIPAL_NAME_MAX + 1], size_t *ret_n)
{
    if (list == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, list, YAML_LIST, what, r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        if (*ret_n == RESPOND_EXCEPT_MAX) {
            return COMPLAIN(r, n, "more than %d %s in except", RESPOND_EXCEPT_MAX, what);
        }
        if (!is_scalar(n) || !principal_name_ok(n->text) ||
            !slice_to_text(n->text, dst[*ret_n], PRINCIPAL_NAME_MAX + 1)) {
            return COMPLAIN(r, n, "%s holds names of 1 to %d of A-Z a-z 0-9 . _ -", what,
                            PRINCIPAL_NAME_MAX);
        }
        (*ret_n)++;
    }
    return OK;
}

static enum err read_except(const struct reading *r, const struct yaml_node *n,
                            struct respond_rules *c)
{
    static const char *const keys[] = {"names", "roles", NULL};
    if (n == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, n, YAML_MAP, "except", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "except", r->complaint));
    TRY(read_names(r, yaml_find(n, "names"), "names", c->names, &c->n_names));
    return read_names(r, yaml_find(n, "roles"), "roles", c->roles, &c->n_roles);
}

static enum err read_per_hour(const struct reading *r, const struct yaml_node *n, uint32_t *ret)
{
    static const struct setting row = {"per_hour", SETTING_COUNT, 0, RESPOND_PER_HOUR_MAX, "", 0,
                                       4};
    char why[SETTING_WHY_BYTES];
    uint64_t v = 0;
    if (n == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, n, YAML_SCALAR, "per_hour", r->complaint));
    if (setting_parse(&row, n->text, 0, why, &v) != OK) {
        return COMPLAIN(r, n, "%s", why);
    }
    *ret = (uint32_t)v;
    return OK;
}

enum err config_read_respond(const struct yaml_doc *doc, const struct yaml_node *n,
                             struct yaml_complaint *ret_complaint, struct respond_rules *ret)
{
    static const char *const keys[] = {"rules", "except", "per_hour", NULL};
    const struct reading r = {doc, ret_complaint};
    respond_rules_preset(ret);
    if (n == NULL) {
        return OK;
    }
    TRY(yaml_expect(doc, n, YAML_MAP, "responses", ret_complaint));
    TRY(yaml_only(doc, n, keys, "responses", ret_complaint));
    TRY(read_except(&r, yaml_find(n, "except"), ret));
    TRY(read_per_hour(&r, yaml_find(n, "per_hour"), &ret->per_hour));
    const struct yaml_node *rules = yaml_find(n, "rules");
    if (rules == NULL) {
        return OK; /* what is suggested, within these bounds */
    }
    TRY(yaml_expect(doc, rules, YAML_LIST, "rules", ret_complaint));
    ret->n = 0;
    for (const struct yaml_node *one = rules->first; one != NULL; one = one->next) {
        if (ret->n == RESPOND_RULES_MAX) {
            return COMPLAIN(&r, one, "more than %d rules in responses", RESPOND_RULES_MAX);
        }
        TRY(read_rule(&r, one, ret));
    }
    return OK;
}

#include "service/review/difference.h"

#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"
#include "core/flow.h"
#include "core/topic.h"
#include "service/directory/settings.h"
#include "service/review/difference_private.h"

enum { SHOWN = 120 };

#define SHOWN_ARG(s) SLICE_ARG(slice_head_text((s), SHOWN)), (s).n > SHOWN ? "..." : ""

static const char *const kind_name[] = {[POLICY_RULE_PUBLISH] = "publish",
                                        [POLICY_RULE_SUBSCRIBE] = "subscribe",
                                        [POLICY_RULE_RESOURCE] = "resource"};

static const struct {
    const char *name;
    unsigned bit;
} methods[] = {{"GET", METHOD_GET},       {"POST", METHOD_POST},   {"PUT", METHOD_PUT},
               {"DELETE", METHOD_DELETE}, {"FETCH", METHOD_FETCH}, {"PATCH", METHOD_PATCH},
               {"iPATCH", METHOD_IPATCH}};

static void release_grants(struct grants **g)
{
    *g = grants_free(*g);
}

/* Appends to a text that is cut when it is full. */
__attribute__((format(printf, 2, 3))) static void add(char text[CHANGE_TEXT_BYTES],
                                                      const char *format, ...)
{
    size_t at = strlen(text);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text + at, CHANGE_TEXT_BYTES - at, format, args);
    va_end(args);
}

enum err difference_add(struct difference *d, enum change_kind kind, const char *role,
                        uint32_t line, struct change_row **ret)
{
    if (d->n == d->cap) {
        size_t cap = d->cap > 0 ? 2 * d->cap : 16;
        struct change_row *grown = mem_grow(d->changes, cap * sizeof *grown);
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        d->changes = grown;
        d->cap = cap;
    }
    *ret = &d->changes[d->n++];
    **ret = (struct change_row){.shown = {.kind = kind, .role = role, .line = line},
                                .old_rule = SIZE_MAX,
                                .new_rule = SIZE_MAX};
    return OK;
}

/* ---- rules ---- */

bool rule_covers(const struct policy_rule *a, struct slice a_text, const struct policy_rule *b,
                 struct slice b_text)
{
    if (a->kind != b->kind || (a->methods & b->methods) != b->methods || a->qos < b->qos ||
        (b->retain && !a->retain) ||
        (a->freshness_s > 0 && (b->freshness_s == 0 || a->freshness_s < b->freshness_s))) {
        return false;
    }
    /* '+' in place of ${assigned} is not every device. */
    return a->is_assigned ? slice_equal(a->text, b->text) && slice_equal(a_text, b_text)
                          : topic_covers(a_text, b_text);
}

bool rule_is_covered(const struct policy_role *role, const struct policy_rule *rule)
{
    for (size_t i = 0; i < role->n_rules; i++) {
        const struct policy_rule other = policy_rule_at(role, i);
        if (rule_covers(&other, other.text, rule, rule->text)) {
            return true;
        }
    }
    return false;
}

static void methods_text(unsigned bits, char text[CHANGE_TEXT_BYTES])
{
    const char *between = "";
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if ((bits & methods[i].bit) != 0) {
            add(text, "%s%s", between, methods[i].name);
            between = ",";
        }
    }
}

static void rule_text(const struct policy_rule *r, char text[CHANGE_TEXT_BYTES])
{
    add(text, "%s %.*s%s", kind_name[r->kind], SHOWN_ARG(r->text));
    switch (r->kind) {
    case POLICY_RULE_PUBLISH:
        add(text, " (QoS up to %u, %s retain", (unsigned)r->qos, r->retain ? "with" : "without");
        if (r->freshness_s > 0) {
            add(text, ", freshness %u s", (unsigned)r->freshness_s);
        }
        add(text, ")");
        break;
    case POLICY_RULE_SUBSCRIBE:
        break;
    case POLICY_RULE_RESOURCE:
        add(text, " (");
        methods_text(r->methods, text);
        add(text, ")");
        break;
    }
}

static void altered_text(const struct policy_rule *a, const struct policy_rule *b,
                         char text[CHANGE_TEXT_BYTES])
{
    const char *between = "";
    add(text, "%s %.*s%s: ", kind_name[a->kind], SHOWN_ARG(a->text));
    if (a->qos != b->qos) {
        add(text, "QoS up to %u -> %u", (unsigned)a->qos, (unsigned)b->qos);
        between = ", ";
    }
    if (a->retain != b->retain) {
        add(text, "%s%s retain", between, b->retain ? "now with" : "no more");
        between = ", ";
    }
    if (a->freshness_s != b->freshness_s) {
        add(text, "%sfreshness %u -> %u s", between, (unsigned)a->freshness_s,
            (unsigned)b->freshness_s);
    }
    if (a->methods != b->methods) {
        methods_text(a->methods, text);
        add(text, " -> ");
        methods_text(b->methods, text);
    }
}

/* A rule of the new role with the same text that differs, when either of them is not covered. */
static bool find_altered(const struct role_pair *pair, const struct policy_rule *old,
                         struct policy_rule *ret)
{
    for (size_t i = 0; i < pair->new.n_rules; i++) {
        const struct policy_rule rule = policy_rule_at(&pair->new, i);
        if (rule.kind == old->kind && slice_equal(rule.text, old->text)) {
            *ret = rule;
            return true;
        }
    }
    return false;
}

static bool is_named(const struct difference *d, const struct role_pair *pair, size_t new_rule)
{
    for (size_t i = pair->first; i < d->n; i++) {
        if (d->changes[i].new_rule == new_rule) {
            return true;
        }
    }
    return false;
}

/* A part that is left of what is lost, or that was there of what is gained: less than all
 * of it changes. */
static void add_part(const struct policy_role *other, const struct policy_rule *rule,
                     const char *word, char text[CHANGE_TEXT_BYTES])
{
    for (size_t i = 0; i < other->n_rules; i++) {
        const struct policy_rule part = policy_rule_at(other, i);
        if (part.kind == rule->kind && !rule->is_assigned && !slice_equal(part.text, rule->text) &&
            topic_covers(rule->text, part.text)) {
            add(text, "; %s %.*s%s", word, SHOWN_ARG(part.text));
            return;
        }
    }
}

static enum err compare_old_rule(struct difference *d, const struct role_pair *pair, size_t i)
{
    const struct policy_rule old = policy_rule_at(&pair->old, i);
    struct policy_rule other;
    struct change_row *row;
    bool is_lost = !rule_is_covered(&pair->new, &old);
    bool has_other = find_altered(pair, &old, &other) && !is_named(d, pair, other.index);
    if (has_other && (is_lost || !rule_is_covered(&pair->old, &other))) {
        TRY(difference_add(d, CHANGE_ALTERED, pair->name, other.line, &row));
        altered_text(&old, &other, row->shown.text);
        row->new_rule = other.index;
    } else if (is_lost) {
        TRY(difference_add(d, CHANGE_LOST, pair->name, old.line, &row));
        rule_text(&old, row->shown.text);
        add_part(&pair->new, &old, "of it remains", row->shown.text);
    } else {
        return OK;
    }
    row->old_rule = i;
    return OK;
}

static enum err compare_rules(struct difference *d, const struct role_pair *pair)
{
    struct change_row *row;
    for (size_t i = 0; pair->in_old && i < pair->old.n_rules; i++) {
        TRY(compare_old_rule(d, pair, i));
    }
    for (size_t i = 0; i < pair->new.n_rules; i++) {
        const struct policy_rule rule = policy_rule_at(&pair->new, i);
        if ((pair->in_old && rule_is_covered(&pair->old, &rule)) || is_named(d, pair, i)) {
            continue;
        }
        TRY(difference_add(d, CHANGE_GAINED, pair->name, rule.line, &row));
        rule_text(&rule, row->shown.text);
        add_part(&pair->old, &rule, "of it there was", row->shown.text);
        row->new_rule = i;
    }
    return OK;
}

/* ---- what else a role has ---- */

static enum err compare_settings(struct difference *d, const struct role_pair *pair)
{
    const struct policy_role *a = &pair->old, *b = &pair->new;
    struct change_row *row;
    if (!slice_equal(a->client_id, b->client_id)) {
        TRY(difference_add(d, CHANGE_SETTING, pair->name, 0, &row));
        add(row->shown.text, "client_id: %.*s%s -> %.*s%s", SHOWN_ARG(a->client_id),
            SHOWN_ARG(b->client_id));
    }
    if (a->many != b->many) {
        TRY(difference_add(d, CHANGE_SETTING, pair->name, 0, &row));
        add(row->shown.text, "many: %s -> %s", a->many ? "yes" : "no", b->many ? "yes" : "no");
    }
    for (size_t i = 0; i < n_role_settings; i++) {
        const struct setting *s = &role_setting_table[i];
        char from[SETTING_TEXT_BYTES], to[SETTING_TEXT_BYTES];
        uint64_t x = setting_get(s, a->limits), y = setting_get(s, b->limits);
        if (x != y) {
            TRY(difference_add(d, CHANGE_SETTING, pair->name, 0, &row));
            setting_text(s, x, from);
            setting_text(s, y, to);
            add(row->shown.text, "limits: %s %s -> %s", s->name, from, to);
        }
    }
    return OK;
}

static enum err compare_role(struct difference *d, struct role_pair *pair)
{
    struct change_row *row;
    pair->first = d->n;
    if (!pair->in_new) {
        TRY(difference_add(d, CHANGE_ROLE_GONE, pair->name, 0, &row));
        add(row->shown.text, "the role vanishes: who has it is denied everything");
    } else {
        if (pair->in_old) {
            TRY(compare_settings(d, pair));
        } else {
            TRY(difference_add(d, CHANGE_ROLE_NEW, pair->name, 0, &row));
            add(row->shown.text, "the role is new");
        }
        TRY(compare_rules(d, pair));
        TRY(difference_warn(d, pair));
    }
    pair->n = d->n - pair->first;
    return OK;
}

/* ---- roles of both ---- */

static int role_order(const void *a, const void *b)
{
    const struct role_pair *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static enum err gather_roles(struct difference *d)
{
    struct policy_role r;
    size_t n = 0;
    while (policy_role_at(d->old, n, &r)) {
        n++;
    }
    for (size_t i = 0; policy_role_at(d->new, i, &r); i++) {
        n++;
    }
    d->roles = mem_array(n, sizeof *d->roles);
    if (d->roles == NULL) {
        return n > 0 ? ERR_NOMEM : OK;
    }
    for (size_t i = 0; policy_role_at(d->old, i, &r); i++) {
        struct role_pair *pair = &d->roles[d->n_roles++];
        *pair = (struct role_pair){.name = r.name, .in_old = true, .old = r};
        pair->in_new = policy_role_find(d->new, slice_text(r.name), &pair->new);
    }
    for (size_t i = 0; policy_role_at(d->new, i, &r); i++) {
        struct policy_role before;
        if (!policy_role_find(d->old, slice_text(r.name), &before)) {
            d->roles[d->n_roles++] = (struct role_pair){.name = r.name, .in_new = true, .new = r};
        }
    }
    if (d->n_roles > 0) {
        qsort(d->roles, d->n_roles, sizeof *d->roles, role_order);
    }
    return OK;
}

static const struct role_pair *find_pair(const struct difference *d, const char *role)
{
    const struct role_pair key = {.name = role};
    return d->n_roles > 0 ? bsearch(&key, d->roles, d->n_roles, sizeof key, role_order) : NULL;
}

/* ---- flows ---- */

struct flow_walk {
    struct difference *d;
    const struct policy *other;
    enum change_kind kind;
    const char *from, *to; /* looked for, in the other policy */
    struct slice filter;
    bool is_found;
    enum err err;
};

static void look_for_flow(void *ctx, const char *from, const char *to, struct slice filter)
{
    struct flow_walk *w = ctx;
    w->is_found = w->is_found || (strcmp(from, w->from) == 0 && strcmp(to, w->to) == 0 &&
                                  topic_covers(filter, w->filter));
}

static void compare_flow(void *ctx, const char *from, const char *to, struct slice filter)
{
    struct flow_walk *w = ctx;
    struct change_row *row;
    w->from = from;
    w->to = to;
    w->filter = filter;
    w->is_found = false;
    policy_each_flow(w->other, look_for_flow, w);
    if (w->is_found || w->err != OK) {
        return;
    }
    w->err = difference_add(w->d, w->kind, "", 0, &row);
    if (w->err == OK) {
        add(row->shown.text, "flow from %s to %s: %.*s%s", from, to, SHOWN_ARG(filter));
    }
}

static enum err compare_flows(struct difference *d)
{
    struct flow_walk lost = {.d = d, .other = d->new, .kind = CHANGE_FLOW_LOST};
    struct flow_walk gained = {.d = d, .other = d->old, .kind = CHANGE_FLOW_GAINED};
    policy_each_flow(d->old, compare_flow, &lost);
    policy_each_flow(d->new, compare_flow, &gained);
    return lost.err != OK ? lost.err : gained.err;
}

/* ---- whom it concerns ---- */

/* What a policy means for one principal. */
struct meaning {
    struct grants *grants; /* owned */
    size_t n;
    struct {
        struct policy_rule rule;
        struct slice text;
    } rules[POLICY_GRANTS_MAX];
};

static void note_rule(void *ctx, const struct policy_rule *rule, struct slice meant)
{
    struct meaning *m = ctx;
    m->rules[m->n].rule = *rule;
    m->rules[m->n++].text = meant;
}

static enum err meaning_of(const struct policy *policy, const struct principal *p,
                           struct meaning *ret)
{
    ret->n = 0;
    TRY(grants_new(policy, p, &ret->grants));
    grants_each_rule(ret->grants, note_rule, ret);
    return OK;
}

/* `has` has this rule for the principal, and `other` nothing that covers it. */
static bool is_missing(const struct meaning *has, size_t rule, const struct meaning *other)
{
    size_t at = 0;
    while (at < has->n && has->rules[at].rule.index != rule) {
        at++;
    }
    if (at == has->n) {
        return false;
    }
    for (size_t i = 0; i < other->n; i++) {
        if (rule_covers(&other->rules[i].rule, other->rules[i].text, &has->rules[at].rule,
                        has->rules[at].text)) {
            return false;
        }
    }
    return true;
}

static bool is_concerned(const struct change_row *row, const struct meaning *old,
                         const struct meaning *new)
{
    switch (row->shown.kind) {
    case CHANGE_LOST:
    case CHANGE_GAINED:
    case CHANGE_ALTERED:
        return (row->old_rule != SIZE_MAX && is_missing(old, row->old_rule, new)) ||
               (row->new_rule != SIZE_MAX && is_missing(new, row->new_rule, old));
    case CHANGE_ROLE_GONE:
    case CHANGE_ROLE_NEW:
    case CHANGE_SETTING:
    case CHANGE_WARNING:
        return true;
    case CHANGE_FLOW_LOST:
    case CHANGE_FLOW_GAINED:
        break;
    }
    return false;
}

static void concern(struct difference *d, const struct role_pair *pair, const struct principal *p,
                    const struct meaning *old, const struct meaning *new)
{
    bool any = false;
    for (size_t i = pair->first; i < pair->first + pair->n; i++) {
        struct change *c = &d->changes[i].shown;
        if (!is_concerned(&d->changes[i], old, new)) {
            continue;
        }
        any = any || c->kind != CHANGE_WARNING;
        c->n_concerned++;
        if (c->n_names < CHANGE_NAMES) {
            c->names[c->n_names++] = p->name;
        }
    }
    d->n_concerned += any ? 1 : 0;
}

static enum err count_one(struct difference *d, const struct role_pair *pair,
                          const struct principal *p, struct meaning *old, struct meaning *new)
{
    AUTO(release_grants) struct grants *before = NULL;
    AUTO(release_grants) struct grants *after = NULL;
    enum err e = meaning_of(d->old, p, old);
    before = e == OK ? old->grants : NULL;
    TRY(e);
    e = meaning_of(d->new, p, new);
    after = e == OK ? new->grants : NULL;
    TRY(e);
    concern(d, pair, p, old, new);
    return OK;
}

static enum err count_concerned(struct difference *d)
{
    struct meaning *both = mem_array(2, sizeof *both);
    enum err e = both != NULL ? OK : ERR_NOMEM;
    for (size_t i = 0; e == OK && i < crowd_count(d->crowd); i++) {
        const struct principal *p = crowd_at(d->crowd, i);
        const struct role_pair *pair = find_pair(d, p->role);
        if (pair != NULL && pair->n > 0 && p->status == PRINCIPAL_ACTIVE) {
            e = count_one(d, pair, p, &both[0], &both[1]);
        }
    }
    mem_free(both);
    return e;
}

/* ---- the whole ---- */

enum err difference_new(const struct policy *old, const struct policy *new,
                        const struct crowd *crowd, struct difference **ret)
{
    AUTO(difference_autofree) struct difference *d = mem_zalloc(sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    d->old = policy_ref(old);
    d->new = policy_ref(new);
    d->crowd = crowd;
    TRY(gather_roles(d));
    for (size_t i = 0; i < d->n_roles; i++) {
        TRY(compare_role(d, &d->roles[i]));
    }
    TRY(compare_flows(d));
    TRY(count_concerned(d));
    *ret = TAKE(d);
    return OK;
}

struct difference *difference_free(struct difference *d)
{
    if (d == NULL) {
        return NULL;
    }
    (void)policy_unref(d->old);
    (void)policy_unref(d->new);
    mem_free(d->roles);
    mem_free(d->changes);
    return mem_free(d);
}

size_t difference_count(const struct difference *d)
{
    return d->n;
}

const struct change *difference_at(const struct difference *d, size_t i)
{
    assert(i < d->n);
    return &d->changes[i].shown;
}

size_t difference_concerned(const struct difference *d)
{
    return d->n_concerned;
}

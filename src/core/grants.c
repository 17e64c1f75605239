#include <assert.h>
#include <stdarg.h>

#include "base/mem.h"
#include "base/wr.h"
#include "core/policy.h"
#include "core/policy_private.h"
#include "core/topic.h"

/* A rule with its placeholders filled in. A value that holds a separator or wildcard never gets
 * here, so the text means as a filter exactly what the template means level by level. */
struct grant {
    const struct rule *rule;
    struct slice text;
    uint32_t n_fixed; /* what any topic it matches begins with */
    bool is_tail;     /* its one wildcard is a '#' behind n_fixed and a separator */
    bool is_exact;    /* no wildcard: it matches its own text and nothing else */
};

/* What the rules of a role come to, for one principal or, where no rule says who it is, for all who
 * have the role: then the role owns it. The texts are behind the list. */
struct rights {
    const struct policy *policy; /* whose role it is; borrowed: grants keep it alive */
    const struct role *role;     /* NULL: the policy does not know it, and nothing is allowed */
    struct rights *older;        /* of the same role before a rule was added: some may have them */
    bool is_common;              /* the role's */
    struct slice client_id;      /* empty: none is allowed */
    uint32_t from[RULE_KINDS + 1];
    struct grant list[];
};

static const struct role_limits LIMITS_NONE = ROLE_LIMITS_DEFAULT;

/* The value of a key, empty when the principal has none. */
static struct slice key_value(const struct principal *p, struct slice key)
{
    return slice_text(principal_attr(p, key));
}

static bool is_one_level(struct slice value)
{
    return slice_find(value, '/') == value.n && slice_find(value, '+') == value.n &&
           slice_find(value, '#') == value.n;
}

/*
 * expand - writes the template with its placeholders filled in
 *
 * ERR_NOT_FOUND: *ret_key has no value; ERR_MALFORMED: the value of *ret_key cannot be a level
 * (only when is_level). SPACE stays in w.
 */
static enum err expand(struct slice template, const struct principal *p, bool is_level,
                       struct wr *w, struct slice *ret_key)
{
    struct template_part part;
    enum err e = OK;
    while (template_next(&template, &part, &e)) {
        struct slice text = part.is_key ? key_value(p, part.text) : part.text;
        if (part.is_key && is_level && slice_is(part.text, TEMPLATE_ASSIGNED)) {
            wr_u8(w, '+'); /* which device it is, is asked with every question */
            continue;
        }
        if (part.is_key && (text.n == 0 || (is_level && !is_one_level(text)))) {
            *ret_key = part.text;
            return text.n == 0 ? ERR_NOT_FOUND : ERR_MALFORMED;
        }
        wr_bytes(w, text);
    }
    assert(e == OK);
    return OK;
}

/* An upper bound of what the template becomes. */
static size_t expanded_bytes(struct slice template, const struct principal *p)
{
    struct template_part part;
    enum err e = OK;
    size_t n = 0;
    while (template_next(&template, &part, &e)) {
        n += part.is_key ? key_value(p, part.text).n + 1 : part.text.n;
    }
    return n;
}

static struct grant grant_of(const struct rule *rule, struct slice text)
{
    struct grant grant = {.rule = rule, .text = text};
    size_t at = 0;
    while (at < text.n && text.p[at] != '+' && text.p[at] != '#') {
        at++;
    }
    grant.is_exact = at == text.n;
    /* "a/#" also matches "a", which has no separator at its end. */
    bool drops_separator = !grant.is_exact && text.p[at] == '#' && at > 0;
    grant.n_fixed = (uint32_t)(drops_separator ? at - 1 : at); /* of a text of a policy file */
    grant.is_tail = drops_separator;
    return grant;
}

static void compile(struct rights *r, const struct role *role, const struct principal *principal,
                    struct wr *w)
{
    size_t n = 0;
    struct slice key;
    for (unsigned kind = 0; kind < RULE_KINDS; kind++) {
        r->from[kind] = (uint32_t)n;
        for (size_t i = 0; i < role->n_rules; i++) {
            const struct rule *rule = &role->rules[i];
            size_t start = w->at;
            if (rule->kind == kind && expand(rule->text, principal, true, w, &key) == OK) {
                r->list[n++] = grant_of(rule, slice_from(wr_slice(w), start));
            }
        }
    }
    r->from[RULE_KINDS] = (uint32_t)n;
    size_t start = w->at;
    if (expand(role->client_id, principal, false, w, &key) == OK) {
        r->client_id = slice_from(wr_slice(w), start);
    }
    assert(wr_ok(w));
}

/* n_rules in `bytes`, none of them there yet. */
static enum err rights_room(const struct policy *policy, const struct role *role, size_t n_rules,
                            size_t bytes, struct rights **ret)
{
    struct rights *r = mem_zalloc(sizeof *r + n_rules * sizeof r->list[0] + bytes);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    r->policy = policy;
    r->role = role;
    *ret = r;
    return OK;
}

static enum err rights_new(const struct policy *policy, const struct role *role,
                           const struct principal *principal, struct rights **ret)
{
    size_t bytes = expanded_bytes(role->client_id, principal);
    for (size_t i = 0; i < role->n_rules; i++) {
        bytes += expanded_bytes(role->rules[i].text, principal);
    }
    TRY(rights_room(policy, role, role->n_rules, bytes, ret));
    struct wr w = wr_into((uint8_t *)&(*ret)->list[role->n_rules], bytes);
    compile(*ret, role, principal, &w);
    return OK;
}

/* Does it come to the same for every principal? */
static bool is_common_text(struct slice template)
{
    struct template_part part;
    enum err e = OK;
    while (template_next(&template, &part, &e)) {
        if (part.is_key && !slice_is(part.text, TEMPLATE_ASSIGNED)) {
            return false;
        }
    }
    return true;
}

static bool is_common(const struct role *role)
{
    for (size_t i = 0; i < role->n_rules; i++) {
        if (!is_common_text(role->rules[i].text)) {
            return false;
        }
    }
    return is_common_text(role->client_id);
}

/* It is const to all who ask. */
static struct role *keeper(const struct role *role)
{
    return (struct role *)(uintptr_t)role;
}

/* Whoever comes first makes what all have. */
static enum err common_rights(const struct policy *policy, const struct role *role,
                              const struct principal *principal, struct rights **ret)
{
    struct rights *own = NULL;
    struct rights *there = atomic_load_explicit(&role->common, memory_order_acquire);
    if (there == NULL) {
        TRY(rights_new(policy, role, principal, &own));
        own->is_common = true;
        if (atomic_compare_exchange_strong_explicit(&keeper(role)->common, &there, own,
                                                    memory_order_acq_rel, memory_order_acquire)) {
            there = own;
        } else {
            mem_free(own);
        }
    }
    *ret = there;
    return OK;
}

static enum err rights_of(const struct policy *policy, const struct principal *principal,
                          struct rights **ret)
{
    const struct role *role = policy_find_role(policy, slice_text(principal->role));
    if (role == NULL) {
        return rights_room(policy, NULL, 0, 0, ret);
    }
    return is_common(role) ? common_rights(policy, role, principal, ret)
                           : rights_new(policy, role, principal, ret);
}

void role_rights_renew(struct role *r)
{
    struct rights *common = atomic_load_explicit(&r->common, memory_order_relaxed);
    if (common != NULL) {
        common->older = r->retired;
        r->retired = common;
        atomic_store_explicit(&r->common, NULL, memory_order_relaxed);
    }
}

void role_rights_free(struct role *r)
{
    role_rights_renew(r);
    while (r->retired != NULL) {
        struct rights *older = r->retired->older;
        mem_free(r->retired);
        r->retired = older;
    }
}

enum err grants_init(struct grants *g, const struct policy *policy,
                     const struct principal *principal)
{
    struct rights *rights = NULL;
    TRY(rights_of(policy, principal, &rights));
    policy_ref(policy);
    *g = (struct grants){.principal = principal_ref(principal), .rights = rights};
    return OK;
}

void grants_done(struct grants *g)
{
    const struct policy *policy = g->rights->policy;
    if (!g->rights->is_common) {
        mem_free((struct rights *)(uintptr_t)g->rights);
    }
    principal_unref(g->principal);
    policy_unref(policy); /* last: what is common is its role's */
    *g = (struct grants){0};
}

enum err grants_new(const struct policy *policy, const struct principal *principal,
                    struct grants **ret)
{
    struct grants *g = mem_alloc(sizeof *g);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    enum err e = grants_init(g, policy, principal);
    if (e != OK) {
        mem_free(g);
        return e;
    }
    *ret = g;
    return OK;
}

struct grants *grants_free(struct grants *g)
{
    if (g == NULL) {
        return NULL;
    }
    grants_done(g);
    return mem_free(g);
}

void grants_know(struct grants *g, const struct people *people)
{
    g->people = people;
}

const struct people *grants_people(const struct grants *g)
{
    return g->people;
}

bool grants_is_gateway(const struct grants *g)
{
    return g->rights->role != NULL && g->rights->role->is_gateway;
}

const struct principal *grants_principal(const struct grants *g)
{
    return g->principal;
}

const struct policy *grants_policy(const struct grants *g)
{
    return g->rights->policy;
}

const struct role_limits *grants_limits(const struct grants *g)
{
    return g->rights->role != NULL ? &g->rights->role->limits : &LIMITS_NONE;
}

static bool may_act(const struct grants *g)
{
    return g->rights->role != NULL && g->principal->status == PRINCIPAL_ACTIVE;
}

bool grants_client_id_ok(const struct grants *g, struct slice client_id)
{
    if (!may_act(g) || g->rights->client_id.n == 0) {
        return false;
    }
    return slice_is(g->rights->role->client_id, "*") ||
           slice_equal(client_id, g->rights->client_id);
}

/* ---- explanations: only where somebody reads them ---- */

enum { SHOWN_BYTES = 48 };

#define SHOWN_FORMAT "%.*s%s"
#define SHOWN(s)     SLICE_ARG(slice_head_text((s), SHOWN_BYTES)), (s).n > SHOWN_BYTES ? "..." : ""

static const char *const KIND_NAME[RULE_KINDS] = {
    [RULE_PUBLISH] = "publish", [RULE_SUBSCRIBE] = "subscribe", [RULE_RESOURCE] = "resource"};
static const char *const KIND_VERB[RULE_KINDS] = {
    [RULE_PUBLISH] = "matches", [RULE_SUBSCRIBE] = "covers", [RULE_RESOURCE] = "allows"};

__attribute__((format(printf, 3, 4))) static void say(struct decision *d, enum err e,
                                                      const char *format, ...)
{
    d->err = e;
    va_list args;
    va_start(args, format);
    vsnprintf(d->rule, sizeof d->rule, format, args);
    va_end(args);
}

/* What is asked, for the three questions alike. */
struct question {
    enum rule_kind kind;
    struct slice what; /* topic, filter or path */
    uint8_t qos;
    bool retain;
    unsigned method;
};

static void say_where(const struct grants *g, const struct rule *rule, char *dst, size_t cap)
{
    if (rule->line > 0) {
        snprintf(dst, cap, "role %s, line %u", g->rights->role->name, (unsigned)rule->line);
    } else {
        snprintf(dst, cap, "role %s", g->rights->role->name);
    }
}

static void say_allowed(const struct grants *g, const struct grant *grant, struct decision *ret)
{
    char where[PRINCIPAL_NAME_MAX + 32];
    say_where(g, grant->rule, where, sizeof where);
    if (grant->rule->freshness_s > 0) {
        say(ret, OK, "%s: %s " SHOWN_FORMAT "; over CoAP with an Echo not older than %u s", where,
            KIND_NAME[grant->rule->kind], SHOWN(grant->rule->text),
            (unsigned)grant->rule->freshness_s);
        return;
    }
    say(ret, OK, "%s: %s " SHOWN_FORMAT, where, KIND_NAME[grant->rule->kind],
        SHOWN(grant->rule->text));
}

/* As if every device were assigned. */
static bool fits(const struct grant *grant, const struct question *q)
{
    if (grant->is_exact) {
        return slice_equal(grant->text, q->what);
    }
    if (q->kind == RULE_SUBSCRIBE) {
        return topic_covers(grant->text, q->what);
    }
    if (!slice_has_prefix(q->what, slice_head(grant->text, grant->n_fixed))) {
        return false;
    }
    if (grant->is_tail) {
        return q->what.n == grant->n_fixed || q->what.p[grant->n_fixed] == '/';
    }
    return topic_matches(grant->text, q->what);
}

/* What stands in the level that names a device; empty: there is none. */
static struct slice assigned_level(const struct grant *grant, struct slice what)
{
    struct slice level = {0};
    bool more = true;
    for (size_t i = 0; i < grant->rule->assigned; i++) {
        if (!more) {
            return (struct slice){0};
        }
        level = slice_cut(&what, '/', &more);
    }
    return level;
}

static const struct principal *person(const struct grants *g, struct slice name)
{
    return g->people != NULL && principal_name_ok(name) ? g->people->by_name(g->people->ctx, name)
                                                        : NULL;
}

static bool speaks_for(const struct grants *g, const struct grant *grant, struct slice what)
{
    if (grant->rule->assigned == 0) {
        return true;
    }
    const struct principal *p = person(g, assigned_level(grant, what));
    return p != NULL && p->gateway == g->principal->id && p->status == PRINCIPAL_ACTIVE;
}

static bool reaches(const struct grants *g, const struct grant *grant, const struct question *q)
{
    return fits(grant, q) && speaks_for(g, grant, q->what);
}

static bool allows(const struct rule *rule, const struct question *q)
{
    switch (q->kind) {
    case RULE_PUBLISH:
        return q->qos <= rule->qos && (!q->retain || rule->retain);
    case RULE_SUBSCRIBE:
        return true;
    case RULE_RESOURCE:
        return (rule->methods & q->method) == q->method && q->method != 0;
    case RULE_KINDS:
        break;
    }
    return false;
}

/* A rule reaches the topic but not this way of using it. */
static void say_near(const struct grants *g, const struct grant *grant, const struct question *q,
                     struct decision *ret)
{
    const struct rule *rule = grant->rule;
    char where[PRINCIPAL_NAME_MAX + 32];
    say_where(g, rule, where, sizeof where);
    if (q->kind == RULE_RESOURCE) {
        say(ret, ERR_DENIED, "%s: " SHOWN_FORMAT " does not allow this method; add it there", where,
            SHOWN(rule->text));
    } else if (q->qos > rule->qos) {
        say(ret, ERR_DENIED,
            "%s: " SHOWN_FORMAT " is granted up to QoS %u; publish with that or raise qos there",
            where, SHOWN(rule->text), (unsigned)rule->qos);
    } else {
        say(ret, ERR_DENIED,
            "%s: " SHOWN_FORMAT " is granted without retain; publish without it or add "
            "retain: yes there",
            where, SHOWN(rule->text));
    }
}

/* The first rule of this kind that a missing or unfit attribute switched off. */
static const struct rule *find_switched_off(const struct grants *g, enum rule_kind kind,
                                            struct slice *ret_key)
{
    for (size_t i = 0; i < g->rights->role->n_rules; i++) {
        const struct rule *rule = &g->rights->role->rules[i];
        struct wr nowhere = wr_into(NULL, 0);
        if (rule->kind == kind && expand(rule->text, g->principal, true, &nowhere, ret_key) != OK) {
            return rule;
        }
    }
    return NULL;
}

/* The grant is for a device that is not this gateway's to speak for. */
static void say_foreign(const struct grants *g, const struct grant *grant, const struct question *q,
                        struct decision *ret)
{
    struct slice device = assigned_level(grant, q->what);
    const struct principal *p = person(g, device);
    const char *gateway = g->principal->name;
    if (topic_has_wildcard(device)) {
        say(ret, ERR_DENIED, "role %s: %s names one device of the gateway in place of '%.*s'",
            g->rights->role->name, KIND_NAME[q->kind], SLICE_ARG(slice_head(device, 1)));
        return;
    }
    if (p == NULL) {
        say(ret, ERR_DENIED,
            "'" SHOWN_FORMAT "' is no device: gateway %s speaks for devices that "
            "are assigned to it",
            SHOWN(device), gateway);
        return;
    }
    const struct principal *own =
        p->gateway != 0 ? g->people->by_id(g->people->ctx, p->gateway) : NULL;
    if (own == NULL) {
        say(ret, ERR_DENIED,
            "%s is assigned to no gateway: `device assign %s --gateway %s` lets %s "
            "speak for it",
            p->name, p->name, gateway, gateway);
    } else if (own->id != g->principal->id) {
        say(ret, ERR_DENIED, "%s is assigned to gateway %s, not to %s; `device assign` moves it",
            p->name, own->name, gateway);
    } else {
        say(ret, ERR_DENIED, "%s, assigned to gateway %s, is %s: nobody speaks for it", p->name,
            gateway, p->status == PRINCIPAL_DISABLED ? "disabled" : "revoked");
    }
}

static void say_denied(const struct grants *g, const struct question *q, struct decision *ret)
{
    const char *who = g->principal->name;
    if (g->rights->role == NULL) {
        say(ret, ERR_DENIED, "role %s of %s is not in policy.yaml; add it there",
            g->principal->role, who);
        return;
    }
    if (g->principal->status != PRINCIPAL_ACTIVE) {
        say(ret, ERR_DENIED, "%s is %s; nothing is allowed", who,
            g->principal->status == PRINCIPAL_DISABLED ? "disabled" : "revoked");
        return;
    }
    for (size_t i = g->rights->from[q->kind]; i < g->rights->from[q->kind + 1]; i++) {
        if (reaches(g, &g->rights->list[i], q)) {
            say_near(g, &g->rights->list[i], q, ret);
            return;
        }
    }
    for (size_t i = g->rights->from[q->kind]; i < g->rights->from[q->kind + 1]; i++) {
        if (fits(&g->rights->list[i], q)) {
            say_foreign(g, &g->rights->list[i], q, ret);
            return;
        }
    }
    const char *kind = KIND_NAME[q->kind], *verb = KIND_VERB[q->kind],
               *role = g->rights->role->name;
    struct slice key;
    const struct rule *off = find_switched_off(g, q->kind, &key);
    if (off != NULL) {
        say(ret, ERR_DENIED,
            "no %s grant of role %s %s '" SHOWN_FORMAT
            "'; line %u grants nothing: set attribute %.*s of %s to one level",
            kind, role, verb, SHOWN(q->what), (unsigned)off->line, SLICE_ARG(key), who);
    } else if (g->rights->from[q->kind] < g->rights->from[q->kind + 1] &&
               q->kind != RULE_RESOURCE) {
        say(ret, ERR_DENIED,
            "no %s grant of role %s %s '" SHOWN_FORMAT
            "'; add one to role %s in policy.yaml or %s under " SHOWN_FORMAT,
            kind, role, verb, SHOWN(q->what), role, kind,
            SHOWN(g->rights->list[g->rights->from[q->kind]].text));
    } else {
        say(ret, ERR_DENIED,
            "no %s grant of role %s %s '" SHOWN_FORMAT "'; add one to role %s in policy.yaml", kind,
            role, verb, SHOWN(q->what), role);
    }
}

/* ---- the questions ---- */

static enum err ask(const struct grants *g, const struct question *q, struct decision *ret)
{
    for (size_t i = g->rights->from[q->kind]; may_act(g) && i < g->rights->from[q->kind + 1]; i++) {
        const struct grant *grant = &g->rights->list[i];
        if (allows(grant->rule, q) && reaches(g, grant, q)) {
            if (ret != NULL) {
                say_allowed(g, grant, ret);
            }
            return OK;
        }
    }
    if (ret != NULL) {
        say_denied(g, q, ret);
    }
    return ERR_DENIED;
}

enum err grants_publish(const struct grants *g, struct slice topic, uint8_t qos, bool retain,
                        struct decision *ret)
{
    struct question q = {.kind = RULE_PUBLISH, .what = topic, .qos = qos, .retain = retain};
    return ask(g, &q, ret);
}

/* The strictest: a wide grant beside a guarded one does not take the guard away. */
uint32_t grants_freshness(const struct grants *g, struct slice topic)
{
    struct question q = {.kind = RULE_PUBLISH, .what = topic};
    uint32_t least = 0;
    if (g->rights->role == NULL || !g->rights->role->has_freshness) {
        return 0;
    }
    for (size_t i = g->rights->from[RULE_PUBLISH]; i < g->rights->from[RULE_PUBLISH + 1]; i++) {
        uint32_t asked = g->rights->list[i].rule->freshness_s;
        if (asked > 0 && (least == 0 || asked < least) && reaches(g, &g->rights->list[i], &q)) {
            least = asked;
        }
    }
    return least;
}

enum err grants_subscribe(const struct grants *g, struct slice filter, struct decision *ret)
{
    struct slice group, shared;
    topic_share_split(filter, &group, &shared);
    struct question q = {.kind = RULE_SUBSCRIBE, .what = shared};
    return ask(g, &q, ret);
}

enum err grants_resource(const struct grants *g, struct slice path, unsigned method,
                         struct decision *ret)
{
    struct question q = {.kind = RULE_RESOURCE, .what = path, .method = method};
    return ask(g, &q, ret);
}

void grants_each(const struct grants *g,
                 void (*each)(void *ctx, enum policy_action action, struct slice filter,
                              bool is_exact),
                 void *ctx)
{
    for (size_t i = g->rights->from[RULE_PUBLISH];
         may_act(g) && i < g->rights->from[RULE_SUBSCRIBE + 1]; i++) {
        const struct grant *grant = &g->rights->list[i];
        enum policy_action action =
            grant->rule->kind == RULE_PUBLISH ? POLICY_PUBLISH : POLICY_SUBSCRIBE;
        each(ctx, action, grant->text, grant->is_exact);
    }
}

void grants_each_rule(const struct grants *g,
                      void (*each)(void *ctx, const struct policy_rule *rule, struct slice meant),
                      void *ctx)
{
    for (size_t i = 0; i < g->rights->from[RULE_KINDS]; i++) {
        const struct policy_rule rule = policy_rule_list(g->rights->role, g->rights->list[i].rule);
        each(ctx, &rule, g->rights->list[i].text);
    }
}

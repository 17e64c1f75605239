#include "core/policy.h"

#include <assert.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "core/policy_private.h"

static const unsigned METHODS_ALL = METHOD_GET | METHOD_POST | METHOD_PUT | METHOD_DELETE |
                                    METHOD_FETCH | METHOD_PATCH | METHOD_IPATCH;

enum err policy_new(struct policy **ret)
{
    struct policy *p = mem_zalloc(sizeof *p);
    if (p == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&p->refs, 1);
    *ret = p;
    return OK;
}

/* References are counted in an object that is const to all who read it. */
static struct policy *counted(const struct policy *p)
{
    return (struct policy *)(uintptr_t)p;
}

const struct policy *policy_ref(const struct policy *p)
{
    atomic_fetch_add_explicit(&counted(p)->refs, 1, memory_order_relaxed);
    return p;
}

void policy_text_free(struct slice text)
{
    mem_free((void *)(uintptr_t)text.p);
}

static struct role *role_free(struct role *r)
{
    for (size_t i = 0; i < r->n_rules; i++) {
        policy_text_free(r->rules[i].text);
    }
    policy_text_free(r->client_id);
    role_rights_free(r);
    mem_free(r->rules);
    return mem_free(r);
}

const struct policy *policy_unref(const struct policy *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&counted(p)->refs, 1, memory_order_acq_rel) != 1) {
        return NULL;
    }
    for (size_t i = 0; i < p->n_roles; i++) {
        role_free(p->roles[i]);
    }
    mem_free(p->roles);
    policy_text_free(p->source);
    policy_free_flows(counted(p));
    return mem_free(counted(p));
}

bool template_next(struct slice *rest, struct template_part *ret, enum err *ret_err)
{
    *ret_err = OK;
    if (rest->n == 0) {
        return false;
    }
    struct slice open = slice_text("${");
    if (slice_has_prefix(*rest, open)) {
        size_t end = slice_find(*rest, '}');
        struct slice key = slice_from(slice_head(*rest, end), open.n);
        if (end == rest->n || !principal_name_ok(key)) {
            *ret_err = ERR_MALFORMED;
            return false;
        }
        *ret = (struct template_part){.text = key, .is_key = true};
        *rest = slice_from(*rest, end + 1);
        return true;
    }
    size_t n = 1;
    while (n < rest->n && !slice_has_prefix(slice_from(*rest, n), open)) {
        n++;
    }
    *ret = (struct template_part){.text = slice_head(*rest, n)};
    *rest = slice_from(*rest, n);
    return true;
}

static enum err parts_check(struct slice text)
{
    if (utf8_check(text, UTF8_MQTT, NULL) != OK) {
        return ERR_MALFORMED;
    }
    struct template_part part;
    enum err e = OK;
    while (template_next(&text, &part, &e)) {
    }
    return e;
}

static bool has_assigned(struct slice text)
{
    struct template_part part;
    enum err e = OK;
    while (template_next(&text, &part, &e)) {
        if (part.is_key && slice_is(part.text, TEMPLATE_ASSIGNED)) {
            return true;
        }
    }
    return false;
}

static bool has_wild(struct slice level)
{
    return slice_find(level, '+') < level.n || slice_find(level, '#') < level.n;
}

/* A placeholder's key is a name, so no '/', '+' or '#' of the text belongs to one. */
static enum err levels_check(struct slice text, size_t *ret_assigned)
{
    size_t n = 0, assigned = 0;
    bool more = true;
    while (more) {
        struct slice level = slice_cut(&text, '/', &more);
        bool is_hash = slice_is(level, "#");
        if ((is_hash && more) || (has_wild(level) && !is_hash && !slice_is(level, "+"))) {
            return ERR_MALFORMED;
        }
        if (++n > POLICY_LEVELS_MAX) {
            return ERR_LIMIT;
        }
        if (has_assigned(level)) {
            if (assigned > 0 || !slice_is(level, "${" TEMPLATE_ASSIGNED "}")) {
                return ERR_MALFORMED; /* one level is one device, whole */
            }
            assigned = n;
        }
    }
    *ret_assigned = assigned;
    return OK;
}

enum err policy_text_copy(struct slice text, struct slice *ret)
{
    uint8_t *copy = mem_alloc(text.n);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    memcpy(copy, text.p, text.n);
    *ret = slice_of(copy, text.n);
    return OK;
}

void *policy_array_room(void *array, size_t n, size_t element_bytes, size_t *cap)
{
    if (n < *cap) {
        return array;
    }
    size_t want = *cap == 0 ? 8 : *cap * 2;
    void *grown = mem_grow(array, want * element_bytes);
    if (grown != NULL) {
        *cap = want;
    }
    return grown;
}

static struct role *role_named(const struct policy *p, struct slice name)
{
    for (size_t i = 0; i < p->n_roles; i++) {
        if (slice_is(name, p->roles[i]->name)) {
            return p->roles[i];
        }
    }
    return NULL;
}

const struct role *policy_find_role(const struct policy *p, struct slice name)
{
    return role_named(p, name);
}

bool policy_has_role(const struct policy *p, struct slice name)
{
    return role_named(p, name) != NULL;
}

bool policy_is_gateway(const struct policy *p, struct slice role)
{
    const struct role *r = policy_find_role(p, role);
    return r != NULL && r->is_gateway;
}

bool policy_is_many(const struct policy *p, struct slice name)
{
    const struct role *r = policy_find_role(p, name);
    return r != NULL && r->many;
}

enum err policy_add_role(struct policy *p, struct slice name, struct role **ret)
{
    if (!principal_name_ok(name)) {
        return ERR_MALFORMED;
    }
    if (role_named(p, name) != NULL) {
        return ERR_EXISTS;
    }
    if (p->n_roles >= POLICY_ROLES_MAX) {
        return ERR_LIMIT;
    }
    struct role **roles =
        policy_array_room(p->roles, p->n_roles, sizeof(struct role *), &p->roles_cap);
    if (roles == NULL) {
        return ERR_NOMEM;
    }
    p->roles = roles;
    struct role *r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        return ERR_NOMEM;
    }
    memcpy(r->name, name.p, name.n);
    r->limits = (struct role_limits)ROLE_LIMITS_DEFAULT;
    enum err e = policy_text_copy(slice_text("${device}"), &r->client_id);
    if (e != OK) {
        role_free(r);
        return e;
    }
    p->roles[p->n_roles++] = r;
    *ret = r;
    return OK;
}

enum err role_set_client_id(struct role *r, struct slice template)
{
    bool is_any = slice_is(template, "*");
    if (template.n == 0 || (!is_any && slice_find(template, '*') < template.n)) {
        return ERR_MALFORMED; /* a '*' that means itself would be read as a wildcard */
    }
    TRY(parts_check(template));
    if (has_assigned(template)) {
        return ERR_MALFORMED; /* a gateway connects as itself */
    }
    struct slice copy;
    TRY(policy_text_copy(template, &copy));
    policy_text_free(r->client_id);
    r->client_id = copy;
    role_rights_renew(r);
    return OK;
}

void role_set_many(struct role *r, bool many)
{
    r->many = many;
}

void role_set_service(struct role *r, bool is_service)
{
    r->is_service = is_service;
}

enum err policy_set_source(struct policy *p, struct slice text)
{
    assert(p->source.p == NULL);
    return text.n > 0 ? policy_text_copy(text, &p->source) : OK;
}

struct slice policy_source(const struct policy *p)
{
    return p->source;
}

struct role_limits *role_limits(struct role *r)
{
    return &r->limits;
}

static enum err rule_add(struct role *r, const struct rule *rule)
{
    if (rule->text.n > UINT16_MAX || r->n_rules >= POLICY_GRANTS_MAX) {
        return ERR_LIMIT;
    }
    struct rule *rules = policy_array_room(r->rules, r->n_rules, sizeof *rules, &r->rules_cap);
    if (rules == NULL) {
        return ERR_NOMEM;
    }
    r->rules = rules;
    struct rule kept = *rule;
    TRY(policy_text_copy(rule->text, &kept.text));
    r->rules[r->n_rules++] = kept;
    role_rights_renew(r);
    r->is_gateway = r->is_gateway || rule->assigned > 0;
    return OK;
}

enum err role_add_topic(struct role *r, enum policy_action action, struct slice filter, bool retain,
                        uint8_t qos, uint32_t line)
{
    struct slice rest = filter;
    bool more = false;
    bool is_share = slice_is(slice_cut(&rest, '/', &more), "$share");
    if (filter.n == 0 || qos > 2 || is_share) {
        return ERR_MALFORMED;
    }
    size_t assigned = 0;
    TRY(parts_check(filter));
    TRY(levels_check(filter, &assigned));
    struct rule rule = {.kind = action == POLICY_PUBLISH ? RULE_PUBLISH : RULE_SUBSCRIBE,
                        .text = filter,
                        .assigned = assigned,
                        .retain = retain,
                        .qos = qos,
                        .line = line};
    return rule_add(r, &rule);
}

void role_set_freshness(struct role *r, uint32_t seconds)
{
    assert(r->n_rules > 0 && seconds >= POLICY_FRESHNESS_MIN_S &&
           seconds <= POLICY_FRESHNESS_MAX_S);
    r->rules[r->n_rules - 1].freshness_s = seconds;
    r->has_freshness = true;
}

enum err role_add_resource(struct role *r, struct slice path, unsigned methods, uint32_t line)
{
    bool is_place =
        slice_has_prefix(path, slice_text("/")) || slice_has_prefix(path, slice_text("coap://"));
    if (!is_place || methods == 0 || (methods & ~METHODS_ALL) != 0) {
        return ERR_MALFORMED;
    }
    size_t assigned = 0;
    TRY(parts_check(path));
    TRY(levels_check(path, &assigned));
    struct rule rule = {.kind = RULE_RESOURCE,
                        .text = path,
                        .assigned = assigned,
                        .methods = methods,
                        .line = line};
    return rule_add(r, &rule);
}

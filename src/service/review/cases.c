#include "service/review/cases.h"

#include "base/mem.h"
#include "core/flow.h"
#include "service/review/crowd.h"

enum case_kind { CASE_ASK, CASE_CONNECT, CASE_HEAR };

struct case_row {
    unsigned line;
    enum case_kind kind;
    bool expected;
    size_t device, from; /* places in the crowd */
    struct review_question q;
};

struct cases {
    struct yaml_doc *doc; /* what the questions borrow from */
    struct crowd *crowd;
    struct case_row *rows;
    size_t n;
};

struct reading {
    struct cases *c;
    struct yaml_complaint *complaint;
    struct grants *nobody; /* owned; denied everything: can a question be asked at all? */
};

#define COMPLAIN(r, node, ...) yaml_complain((r)->c->doc, (node), (r)->complaint, __VA_ARGS__)

static enum err no_memory(const struct reading *r)
{
    return yaml_no_memory(yaml_file(r->c->doc), r->complaint);
}

/* ---- devices ---- */

static enum err read_attrs(const struct reading *r, const struct yaml_node *map,
                           struct principal_attr attrs[PRINCIPAL_ATTRS_MAX], size_t *ret_n)
{
    *ret_n = 0;
    if (map == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->c->doc, map, YAML_MAP, "attrs", r->complaint));
    if (map->n > PRINCIPAL_ATTRS_MAX) {
        return COMPLAIN(r, map, "a device has at most %d attributes", PRINCIPAL_ATTRS_MAX);
    }
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        struct principal_attr *a = &attrs[*ret_n];
        TRY(yaml_expect(r->c->doc, n, YAML_SCALAR, "an attribute", r->complaint));
        if (!principal_name_ok(n->key) || !slice_to_text(n->key, a->key, sizeof a->key) ||
            !slice_to_text(n->text, a->value, sizeof a->value)) {
            return COMPLAIN(r, n, "an attribute has a name of [A-Za-z0-9._-] and at most %d bytes",
                            PRINCIPAL_ATTR_MAX);
        }
        if (slice_is(n->key, PRINCIPAL_SEGMENT) && !principal_name_ok(n->text)) {
            return COMPLAIN(r, n, "a segment is a name of [A-Za-z0-9._-]");
        }
        (*ret_n)++;
    }
    return OK;
}

static enum err read_device(const struct reading *r, const struct yaml_node *n, uint64_t id)
{
    static const char *const keys[] = {"role", "attrs", "gateway", NULL};
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX];
    struct principal *p = NULL;
    size_t n_attrs;
    TRY(yaml_expect(r->c->doc, n, YAML_MAP, "a device", r->complaint));
    TRY(yaml_only(r->c->doc, n, keys, "a device", r->complaint));
    const struct yaml_node *role = yaml_find(n, "role");
    if (role == NULL) {
        return COMPLAIN(r, n, "a device needs its role, like { role: sensor }");
    }
    TRY(yaml_expect(r->c->doc, role, YAML_SCALAR, "role", r->complaint));
    TRY(read_attrs(r, yaml_find(n, "attrs"), attrs, &n_attrs));
    enum err e = principal_new(id, n->key, role->text, attrs, n_attrs, &p);
    if (e == ERR_MALFORMED) {
        return COMPLAIN(r, n,
                        "name and role of a device are 1 to %d of [A-Za-z0-9._-], attributes are "
                        "text without control bytes",
                        PRINCIPAL_NAME_MAX);
    }
    return e == OK && crowd_add(r->c->crowd, p) == OK ? OK : no_memory(r);
}

/* The numbers are the places in the file, from 1: a gateway may stand below its devices. */
static uint64_t number_of(const struct yaml_node *devices, struct slice name)
{
    uint64_t id = 1;
    for (const struct yaml_node *n = devices->first; n != NULL; n = n->next, id++) {
        if (slice_equal(n->key, name)) {
            return id;
        }
    }
    return 0;
}

static enum err assign(const struct reading *r, const struct yaml_node *devices)
{
    for (const struct yaml_node *n = devices->first; n != NULL; n = n->next) {
        const struct yaml_node *gateway = yaml_find(n, "gateway");
        size_t at = 0;
        if (gateway == NULL) {
            continue;
        }
        TRY(yaml_expect(r->c->doc, gateway, YAML_SCALAR, "gateway", r->complaint));
        uint64_t id = number_of(devices, gateway->text);
        if (id == 0 || !crowd_find(r->c->crowd, n->key, &at)) {
            return COMPLAIN(r, gateway, "gateway %.*s is not among the devices of this file",
                            SLICE_ARG(slice_head(gateway->text, PRINCIPAL_NAME_MAX)));
        }
        /* Nobody else has seen it yet. */
        ((struct principal *)(uintptr_t)crowd_at(r->c->crowd, at))->gateway = id;
    }
    return OK;
}

static enum err read_devices(const struct reading *r, const struct yaml_node *devices)
{
    uint64_t id = 0;
    if (devices == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->c->doc, devices, YAML_MAP, "devices", r->complaint));
    if (devices->n > CASES_DEVICES_MAX) {
        return COMPLAIN(r, devices, "more than %d devices: cut the file in two", CASES_DEVICES_MAX);
    }
    for (const struct yaml_node *n = devices->first; n != NULL; n = n->next) {
        TRY(read_device(r, n, ++id));
    }
    enum err e = crowd_sort(r->c->crowd); /* a key twice was refused */
    return e == OK ? assign(r, devices) : no_memory(r);
}

/* ---- tests ---- */

static enum err find_device(const struct reading *r, const struct yaml_node *n, size_t *ret)
{
    TRY(yaml_expect(r->c->doc, n, YAML_SCALAR, "the name of a device", r->complaint));
    return crowd_find(r->c->crowd, n->text, ret)
               ? OK
               : COMPLAIN(r, n, "%.*s is not among the devices of this file; add it to devices",
                          SLICE_ARG(slice_head(n->text, PRINCIPAL_NAME_MAX)));
}

/* What an action is asked about, and which keys its row may have. */
struct action_form {
    const char *what; /* the key */
    const char *const *keys;
    enum case_kind kind;
};

static bool form_find(struct slice action, struct action_form *ret)
{
    static const char *const publish[] = {"device", "allow",  "deny", "topic",
                                          "qos",    "retain", NULL};
    static const char *const subscribe[] = {"device", "allow", "deny", "topic", NULL};
    static const char *const hear[] = {"device", "allow", "deny", "topic", "from", NULL};
    static const char *const connect[] = {"device", "allow", "deny", "client_id", NULL};
    static const char *const method[] = {"device", "allow", "deny", "path", NULL};
    if (slice_is(action, "publish")) {
        *ret = (struct action_form){"topic", publish, CASE_ASK};
    } else if (slice_is(action, "subscribe")) {
        *ret = (struct action_form){"topic", subscribe, CASE_ASK};
    } else if (slice_is(action, "hear")) {
        *ret = (struct action_form){"topic", hear, CASE_HEAR};
    } else if (slice_is(action, "connect")) {
        *ret = (struct action_form){"client_id", connect, CASE_CONNECT};
    } else if (review_method(action) != 0) {
        *ret = (struct action_form){"path", method, CASE_ASK};
    } else {
        return false;
    }
    return true;
}

static enum err read_way(const struct reading *r, const struct yaml_node *n,
                         struct review_question *q)
{
    const struct yaml_node *qos = yaml_find(n, "qos"), *retain = yaml_find(n, "retain");
    if (qos != NULL) {
        if (qos->kind != YAML_SCALAR || qos->text.n != 1 || qos->text.p[0] < '0' ||
            qos->text.p[0] > '2') {
            return COMPLAIN(r, qos, "qos must be 0, 1 or 2");
        }
        q->qos = (uint8_t)(qos->text.p[0] - '0');
    }
    if (retain != NULL) {
        q->retain = slice_is(retain->text, "yes") || slice_is(retain->text, "true");
        if (retain->kind != YAML_SCALAR ||
            !(q->retain || slice_is(retain->text, "no") || slice_is(retain->text, "false"))) {
            return COMPLAIN(r, retain, "retain must be yes or no");
        }
    }
    return OK;
}

static enum err check_question(const struct reading *r, const struct yaml_node *at,
                               const struct case_row *row)
{
    struct review_question q = row->q;
    struct decision ignored;
    struct why why = {{0}};
    if (row->kind == CASE_CONNECT) {
        return OK;
    }
    q.action = row->kind == CASE_HEAR ? slice_text("publish") : q.action;
    return review_ask(r->nobody, &q, &ignored, &why) == OK ? OK : COMPLAIN(r, at, "%s", why.text);
}

static enum err read_test(const struct reading *r, const struct yaml_node *n)
{
    struct case_row *row = &r->c->rows[r->c->n];
    struct action_form form;
    TRY(yaml_expect(r->c->doc, n, YAML_MAP, "a test", r->complaint));
    const struct yaml_node *device = yaml_find(n, "device");
    const struct yaml_node *allow = yaml_find(n, "allow"), *deny = yaml_find(n, "deny");
    const struct yaml_node *action = allow != NULL ? allow : deny;
    if (device == NULL || (allow == NULL) == (deny == NULL)) {
        return COMPLAIN(r, n,
                        "a test needs device, and allow or deny: { device: meter-1, deny: "
                        "subscribe, topic: \"#\" }");
    }
    if (action->kind != YAML_SCALAR || !form_find(action->text, &form)) {
        return COMPLAIN(r, action,
                        "what is allowed or denied is publish, subscribe, hear, connect, or a "
                        "method: GET, POST, PUT, DELETE, FETCH, PATCH, iPATCH");
    }
    TRY(yaml_only(r->c->doc, n, form.keys, "this test", r->complaint));
    const struct yaml_node *what = yaml_find(n, form.what), *from = yaml_find(n, "from");
    if (what == NULL || (form.kind == CASE_HEAR && from == NULL)) {
        return COMPLAIN(r, n, "this test needs %s%s", form.what,
                        form.kind == CASE_HEAR ? " and from, who publishes it" : "");
    }
    TRY(yaml_expect(r->c->doc, what, YAML_SCALAR, form.what, r->complaint));
    *row = (struct case_row){.line = n->line,
                             .kind = form.kind,
                             .expected = allow != NULL,
                             .q = {.action = action->text, .what = what->text}};
    TRY(find_device(r, device, &row->device));
    if (from != NULL) {
        TRY(find_device(r, from, &row->from));
    }
    TRY(read_way(r, n, &row->q));
    TRY(check_question(r, what, row));
    r->c->n++;
    return OK;
}

static enum err read_all(struct reading *r)
{
    static const char *const keys[] = {"version", "devices", "tests", NULL};
    const struct yaml_node *root = yaml_root(r->c->doc);
    TRY(yaml_expect(r->c->doc, root, YAML_MAP, "the file of tests", r->complaint));
    TRY(yaml_only(r->c->doc, root, keys, "the file of tests", r->complaint));
    const struct yaml_node *version = yaml_find(root, "version");
    if (version == NULL || version->kind != YAML_SCALAR || !slice_is(version->text, "1")) {
        return COMPLAIN(r, version != NULL ? version : root, "the tests must say version: 1");
    }
    TRY(read_devices(r, yaml_find(root, "devices")));
    const struct yaml_node *tests = yaml_find(root, "tests");
    if (tests == NULL) {
        return COMPLAIN(r, root, "there are no tests: write tests: and a list");
    }
    TRY(yaml_expect(r->c->doc, tests, YAML_LIST, "tests", r->complaint));
    if (tests->n == 0 || tests->n > CASES_MAX) {
        return COMPLAIN(r, tests, "a file has 1 to %d tests", CASES_MAX);
    }
    r->c->rows = mem_array(tests->n, sizeof *r->c->rows);
    if (r->c->rows == NULL) {
        return no_memory(r);
    }
    for (const struct yaml_node *n = tests->first; n != NULL; n = n->next) {
        TRY(read_test(r, n));
    }
    return OK;
}

/* Rights of somebody under a policy that knows no role. */
static enum err nobody_new(struct grants **ret)
{
    struct policy *none = NULL;
    struct principal *p = NULL;
    enum err e = policy_new(&none);
    if (e == OK) {
        e = principal_new(1, slice_text("nobody"), slice_text("none"), NULL, 0, &p);
    }
    if (e == OK) {
        e = grants_new(none, p, ret);
    }
    (void)policy_unref(none);
    (void)principal_unref(p);
    return e;
}

enum err cases_read(struct slice bytes, const char *file, struct yaml_complaint *ret_complaint,
                    struct cases **ret)
{
    AUTO(cases_autofree) struct cases *c = mem_zalloc(sizeof *c);
    struct reading r = {.c = c, .complaint = ret_complaint};
    if (c == NULL || crowd_new(&c->crowd) != OK || nobody_new(&r.nobody) != OK) {
        return yaml_no_memory(file, ret_complaint);
    }
    enum err e = yaml_read(bytes, file, ret_complaint, &c->doc);
    if (e == OK) {
        e = read_all(&r);
    }
    (void)grants_free(r.nobody);
    if (e == OK) {
        *ret = TAKE(c);
    }
    return e;
}

struct cases *cases_free(struct cases *c)
{
    if (c == NULL) {
        return NULL;
    }
    (void)crowd_free(c->crowd);
    (void)yaml_doc_free(c->doc);
    mem_free(c->rows);
    return mem_free(c);
}

size_t cases_count(const struct cases *c)
{
    return c->n;
}

/* ---- the run ---- */

/* Rights, made for each device when a test asks for them. */
struct run {
    const struct cases *c;
    const struct policy *policy;
    struct people people;
    struct grants **grants; /* owned, as many as devices */
};

static void run_done(struct run *run)
{
    for (size_t i = 0; run->grants != NULL && i < crowd_count(run->c->crowd); i++) {
        (void)grants_free(run->grants[i]);
    }
    mem_free(run->grants);
}

static enum err rights_of(struct run *run, size_t device, const struct grants **ret)
{
    struct grants **own = &run->grants[device];
    if (*own == NULL) {
        TRY(grants_new(run->policy, crowd_at(run->c->crowd, device), own));
        grants_know(*own, &run->people);
    }
    *ret = *own;
    return OK;
}

__attribute__((format(printf, 3, 4))) static void decide(struct decision *d, bool allowed,
                                                         const char *format, ...)
{
    va_list args;
    d->err = allowed ? OK : ERR_DENIED;
    va_start(args, format);
    (void)vsnprintf(d->rule, sizeof d->rule, format, args);
    va_end(args);
}

static void ask_connect(const struct grants *g, const struct review_question *q,
                        struct decision *ret)
{
    const char *role = grants_principal(g)->role;
    if (!policy_has_role(grants_policy(g), slice_text(role))) {
        decide(ret, false, "role %s is not in the policy; add it there", role);
        return;
    }
    bool ok = grants_client_id_ok(g, q->what);
    decide(ret, ok, ok ? "client_id of role %s" : "client_id of role %s is another", role);
}

/* The first step that stops the message decides. */
static void ask_hear(const struct grants *to, const struct grants *from,
                     const struct review_question *q, struct decision *ret)
{
    const struct principal *a = grants_principal(from), *b = grants_principal(to);
    const char *near = principal_attr(a, slice_text(PRINCIPAL_SEGMENT));
    const char *far = principal_attr(b, slice_text(PRINCIPAL_SEGMENT));
    if (grants_publish(from, q->what, 0, false, ret) != OK ||
        grants_subscribe(to, q->what, ret) != OK) {
        return;
    }
    if (!policy_lets_flow(grants_policy(to), flow_segment_of(a), flow_segment_of(b), q->what)) {
        decide(ret, false, "no flow lets it pass from segment %.32s to %.32s", near, far);
    }
}

static enum err run_row(struct run *run, const struct case_row *row, struct decision *ret)
{
    const struct grants *g = NULL, *from = NULL;
    struct why why;
    TRY(rights_of(run, row->device, &g));
    switch (row->kind) {
    case CASE_ASK:
        return review_ask(g, &row->q, ret, &why);
    case CASE_CONNECT:
        ask_connect(g, &row->q, ret);
        return OK;
    case CASE_HEAR:
        TRY(rights_of(run, row->from, &from));
        ask_hear(g, from, &row->q, ret);
        return OK;
    }
    return ERR_MALFORMED;
}

enum err cases_run(const struct cases *c, const struct policy *policy,
                   void (*each)(void *ctx, const struct case_result *r), void *ctx)
{
    AUTO(run_done)
    struct run run = {.c = c, .policy = policy, .people = crowd_people(c->crowd)};
    run.grants = mem_array(crowd_count(c->crowd), sizeof(struct grants *));
    if (run.grants == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct case_row *row = &c->rows[i];
        struct decision d = {0};
        TRY(run_row(&run, row, &d));
        struct case_result result = {
            .line = row->line,
            .expected = row->expected,
            .allowed = d.err == OK,
            .device = crowd_at(c->crowd, row->device)->name,
            .action = row->q.action,
            .what = row->q.what,
            .qos = row->q.qos,
            .retain = row->q.retain,
            .from = row->kind == CASE_HEAR ? crowd_at(c->crowd, row->from)->name : NULL,
            .rule = d.rule};
        each(ctx, &result);
    }
    return OK;
}

#include "service/directory/policy_yaml.h"

#include "core/flow.h"
#include "service/directory/settings.h"

/* What every step of the walk needs. */
struct reading {
    const struct yaml_doc *doc;
    struct yaml_complaint *complaint;
    const struct role_limits *start;
};

#define COMPLAIN(r, node, ...) yaml_complain((r)->doc, (node), (r)->complaint, __VA_ARGS__)

static enum err out_of_memory(const struct reading *r)
{
    return yaml_no_memory(yaml_file(r->doc), r->complaint);
}

static enum err read_flag(const struct reading *r, const struct yaml_node *n, const char *what,
                          bool *ret)
{
    if (n->kind == YAML_SCALAR && (slice_is(n->text, "yes") || slice_is(n->text, "true"))) {
        *ret = true;
        return OK;
    }
    if (n->kind == YAML_SCALAR && (slice_is(n->text, "no") || slice_is(n->text, "false"))) {
        *ret = false;
        return OK;
    }
    return COMPLAIN(r, n, "%s must be yes or no", what);
}

/* What the policy builder says about a template, in words. */
static enum err template_refused(const struct reading *r, const struct yaml_node *n, enum err e,
                                 const char *what)
{
    struct slice shown = slice_head(n->text, 80);
    if (e == ERR_NOMEM) {
        return out_of_memory(r);
    }
    if (e == ERR_LIMIT || e == ERR_TOO_LARGE) {
        return COMPLAIN(r, n, "%s: more than %d grants in one role, or too long or too deep", what,
                        POLICY_GRANTS_MAX);
    }
    return COMPLAIN(
        r, n,
        "%s \"%.*s\" is not valid: + and # stand alone in their level, # last; "
        "placeholders are ${device}, ${role} or ${attribute}; ${assigned} alone in one level; "
        "no $share/",
        what, SLICE_ARG(shown));
}

/* A name in ${...} must be one that can be looked up at all, or the grant could never match. */
static enum err check_placeholders(const struct reading *r, const struct yaml_node *n)
{
    struct slice rest = n->text;
    for (;;) {
        bool more;
        (void)slice_cut(&rest, '$', &more);
        if (!more) {
            return OK;
        }
        if (rest.n == 0 || rest.p[0] != '{') {
            continue;
        }
        rest = slice_from(rest, 1);
        struct slice name = slice_cut(&rest, '}', &more);
        if (!more) {
            return COMPLAIN(r, n, "a placeholder is not closed: write ${name}");
        }
        if (!principal_name_ok(name)) {
            struct slice shown = slice_head(name, 40);
            return COMPLAIN(r, n,
                            "placeholder \"${%.*s}\" is not a name; allowed are ${device}, ${role} "
                            "and attributes of [A-Za-z0-9._-]",
                            SLICE_ARG(shown));
        }
    }
}

static enum err read_freshness(const struct reading *r, const struct yaml_node *n, uint32_t *ret)
{
    static const struct setting row = {
        "freshness", SETTING_DURATION, POLICY_FRESHNESS_MIN_S, POLICY_FRESHNESS_MAX_S, "", 0, 0};
    char why[SETTING_WHY_BYTES];
    uint64_t seconds = 0;
    if (n == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, n, YAML_SCALAR, "freshness", r->complaint));
    if (setting_parse(&row, n->text, 0, why, &seconds) != OK) {
        return COMPLAIN(r, n, "%s", why);
    }
    *ret = (uint32_t)seconds;
    return OK;
}

static enum err read_topic(const struct reading *r, struct role *role, enum policy_action action,
                           const struct yaml_node *n)
{
    const struct yaml_node *topic = n;
    bool retain = false;
    uint8_t qos = 2;
    uint32_t freshness_s = 0;
    if (n->kind == YAML_MAP) {
        static const char *const publish_keys[] = {"topic", "retain", "qos", "freshness", NULL};
        static const char *const subscribe_keys[] = {"topic", NULL};
        TRY(yaml_only(r->doc, n, action == POLICY_PUBLISH ? publish_keys : subscribe_keys,
                      action == POLICY_PUBLISH ? "a publish grant" : "a subscribe grant",
                      r->complaint));
        topic = yaml_find(n, "topic");
        if (topic == NULL) {
            return COMPLAIN(r, n, "a grant needs its topic");
        }
        const struct yaml_node *flag = yaml_find(n, "retain");
        if (flag != NULL) {
            TRY(read_flag(r, flag, "retain", &retain));
        }
        TRY(read_freshness(r, yaml_find(n, "freshness"), &freshness_s));
        const struct yaml_node *level = yaml_find(n, "qos");
        if (level != NULL) {
            if (level->kind != YAML_SCALAR || level->text.n != 1 || level->text.p[0] < '0' ||
                level->text.p[0] > '2') {
                return COMPLAIN(r, level, "qos must be 0, 1 or 2: the highest that is allowed");
            }
            qos = (uint8_t)(level->text.p[0] - '0');
        }
    }
    TRY(yaml_expect(r->doc, topic, YAML_SCALAR, "a topic", r->complaint));
    TRY(check_placeholders(r, topic));
    enum err e = role_add_topic(role, action, topic->text, retain, qos, topic->line);
    if (e == OK && freshness_s > 0) {
        role_set_freshness(role, freshness_s);
    }
    return e == OK ? OK : template_refused(r, topic, e, "topic");
}

static enum err read_topics(const struct reading *r, struct role *role, enum policy_action action,
                            const struct yaml_node *list)
{
    if (list == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, list, YAML_LIST, action == POLICY_PUBLISH ? "publish" : "subscribe",
                    r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        TRY(read_topic(r, role, action, n));
    }
    return OK;
}

static enum err read_methods(const struct reading *r, const struct yaml_node *list, unsigned *ret)
{
    static const struct {
        const char *name;
        unsigned bit;
    } table[] = {
        {"GET", METHOD_GET},       {"POST", METHOD_POST},   {"PUT", METHOD_PUT},
        {"DELETE", METHOD_DELETE}, {"FETCH", METHOD_FETCH}, {"PATCH", METHOD_PATCH},
        {"iPATCH", METHOD_IPATCH},
    };
    TRY(yaml_expect(r->doc, list, YAML_LIST, "methods", r->complaint));
    unsigned bits = 0;
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        unsigned bit = 0;
        for (size_t i = 0; n->kind == YAML_SCALAR && i < COUNT_OF(table); i++) {
            bit |= slice_is(n->text, table[i].name) ? table[i].bit : 0;
        }
        if (bit == 0) {
            return COMPLAIN(r, n,
                            "a method is one of GET, POST, PUT, DELETE, FETCH, PATCH, iPATCH");
        }
        bits |= bit;
    }
    if (bits == 0) {
        return COMPLAIN(r, list, "methods must name at least one, like [GET]");
    }
    *ret = bits;
    return OK;
}

static enum err read_resources(const struct reading *r, struct role *role,
                               const struct yaml_node *list)
{
    static const char *const keys[] = {"path", "methods", NULL};
    if (list == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, list, YAML_LIST, "resources", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        TRY(yaml_expect(r->doc, n, YAML_MAP, "a resource", r->complaint));
        TRY(yaml_only(r->doc, n, keys, "a resource", r->complaint));
        const struct yaml_node *path = yaml_find(n, "path");
        const struct yaml_node *methods = yaml_find(n, "methods");
        if (path == NULL || methods == NULL) {
            return COMPLAIN(r, n,
                            "a resource needs path and methods: { path: \"/fw\", methods: [GET] }");
        }
        TRY(yaml_expect(r->doc, path, YAML_SCALAR, "path", r->complaint));
        if (!slice_has_prefix(path->text, slice_text("/")) &&
            !slice_has_prefix(path->text, slice_text("coap://"))) {
            return COMPLAIN(r, path,
                            "path must begin with /, or for what is reached through the proxy "
                            "with coap://");
        }
        TRY(check_placeholders(r, path));
        unsigned bits = 0;
        TRY(read_methods(r, methods, &bits));
        enum err e = role_add_resource(role, path->text, bits, path->line);
        if (e != OK) {
            return template_refused(r, path, e, "path");
        }
    }
    return OK;
}

static uint32_t burst_of(uint32_t rate, uint32_t times)
{
    return rate < UINT32_MAX / times ? rate * times : UINT32_MAX;
}

static enum err read_limits(const struct reading *r, struct role_limits *limits,
                            const struct yaml_node *map)
{
    if (map == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, map, YAML_MAP, "limits", r->complaint));
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        const struct setting *s = setting_find(role_setting_table, n_role_settings, n->key);
        if (s == NULL) {
            struct slice shown = slice_head(n->key, 40);
            return yaml_complain_key(
                r->doc, n, r->complaint,
                "unknown limit \"%.*s\"; allowed are: connect_rate, connect_burst, publish_rate, "
                "publish_burst, subscriptions, inflight, queue_messages, queue_bytes, "
                "retained_count, retained_bytes, retained_ttl, replay_rate, retained_replay, "
                "session_expiry, "
                "redeliveries",
                SLICE_ARG(shown));
        }
        TRY(yaml_expect(r->doc, n, YAML_SCALAR, s->name, r->complaint));
        char why[SETTING_WHY_BYTES];
        if (setting_apply(s, n->text, 0, why, limits) != OK) {
            return COMPLAIN(r, n, "%s", why);
        }
    }
    /* Who names a rate means it: the burst keeps its usual relation to it, unless it is named too.
     */
    if (yaml_find(map, "publish_rate") != NULL && yaml_find(map, "publish_burst") == NULL) {
        limits->publish_burst = burst_of(limits->publish_rate, 2);
    }
    if (yaml_find(map, "connect_rate") != NULL && yaml_find(map, "connect_burst") == NULL) {
        limits->connect_burst = burst_of(limits->connect_rate, 20);
    }
    return OK;
}

static enum err read_kind(const struct reading *r, struct role_limits *limits,
                          const struct yaml_node *kind)
{
    static const struct role_limits service = ROLE_LIMITS_SERVICE;
    *limits = *r->start;
    if (kind == NULL || (kind->kind == YAML_SCALAR && slice_is(kind->text, "device"))) {
        return OK;
    }
    if (kind->kind == YAML_SCALAR && slice_is(kind->text, "service")) {
        *limits = service;
        return OK;
    }
    return COMPLAIN(r, kind, "kind must be device or service (which starts at higher limits)");
}

static enum err read_role(const struct reading *r, struct policy *p, const struct yaml_node *n)
{
    static const char *const keys[] = {"client_id", "kind",      "many",   "publish",
                                       "subscribe", "resources", "limits", NULL};
    struct slice shown = slice_head(n->key, 40);
    struct role *role;
    enum err e = policy_add_role(p, n->key, &role);
    if (e == ERR_NOMEM) {
        return out_of_memory(r);
    }
    if (e != OK) {
        return yaml_complain_key(r->doc, n, r->complaint,
                                 "role name \"%.*s\" must be 1 to 64 of [A-Za-z0-9._-], and there "
                                 "may be %d roles",
                                 SLICE_ARG(shown), POLICY_ROLES_MAX);
    }
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a role", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a role", r->complaint));
    const struct yaml_node *client_id = yaml_find(n, "client_id");
    if (client_id != NULL) {
        TRY(yaml_expect(r->doc, client_id, YAML_SCALAR, "client_id", r->complaint));
        TRY(check_placeholders(r, client_id));
        e = role_set_client_id(role, client_id->text);
        if (e == ERR_NOMEM) {
            return out_of_memory(r);
        }
        if (e != OK) {
            return COMPLAIN(r, client_id,
                            "client_id must be \"*\", or text with placeholders like ${device}");
        }
    }
    const struct yaml_node *many = yaml_find(n, "many");
    if (many != NULL) {
        bool yes = false;
        TRY(read_flag(r, many, "many", &yes));
        role_set_many(role, yes);
        /* Several client ids at once need more than the one name; a client_id of its own still
         * rules. */
        if (yes && client_id == NULL && role_set_client_id(role, slice_text("*")) != OK) {
            return out_of_memory(r);
        }
    }
    const struct yaml_node *kind = yaml_find(n, "kind");
    TRY(read_kind(r, role_limits(role), kind));
    role_set_service(role, kind != NULL && slice_is(kind->text, "service"));
    TRY(read_limits(r, role_limits(role), yaml_find(n, "limits")));
    TRY(read_topics(r, role, POLICY_PUBLISH, yaml_find(n, "publish")));
    TRY(read_topics(r, role, POLICY_SUBSCRIBE, yaml_find(n, "subscribe")));
    return read_resources(r, role, yaml_find(n, "resources"));
}

static enum err read_flow_topics(const struct reading *r, struct flow *f,
                                 const struct yaml_node *list)
{
    TRY(yaml_expect(r->doc, list, YAML_LIST, "topics", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        TRY(yaml_expect(r->doc, n, YAML_SCALAR, "a topic", r->complaint));
        enum err e = flow_add_topic(f, n->text);
        if (e == ERR_NOMEM) {
            return out_of_memory(r);
        }
        if (e == ERR_LIMIT) {
            return COMPLAIN(r, n, "more than %d topics in one flow, or one too long or too deep",
                            FLOW_TOPICS_MAX);
        }
        if (e != OK) {
            return COMPLAIN(r, n,
                            "topic \"%.*s\" is no topic filter: + and # stand alone in their "
                            "level, # last; no $share/",
                            SLICE_ARG(slice_head(n->text, 80)));
        }
    }
    return list->first != NULL ? OK : COMPLAIN(r, list, "a flow needs at least one topic");
}

static enum err read_flow(const struct reading *r, struct policy *p, const struct yaml_node *n)
{
    static const char *const keys[] = {"from", "to", "topics", NULL};
    TRY(yaml_expect(r->doc, n, YAML_MAP, "a flow", r->complaint));
    TRY(yaml_only(r->doc, n, keys, "a flow", r->complaint));
    const struct yaml_node *from = yaml_find(n, "from"), *to = yaml_find(n, "to");
    const struct yaml_node *topics = yaml_find(n, "topics");
    if (from == NULL || to == NULL || topics == NULL) {
        return COMPLAIN(r, n,
                        "a flow needs from, to and topics, like { from: field, to: control, "
                        "topics: [\"sensors/#\"] }");
    }
    TRY(yaml_expect(r->doc, from, YAML_SCALAR, "from", r->complaint));
    TRY(yaml_expect(r->doc, to, YAML_SCALAR, "to", r->complaint));
    struct flow *f = NULL;
    switch ((unsigned)policy_add_flow(p, from->text, to->text, &f)) {
    case OK:
        return read_flow_topics(r, f, topics);
    case ERR_NOMEM:
        return out_of_memory(r);
    case ERR_LIMIT:
        return COMPLAIN(r, n, "more than %d flows", POLICY_FLOWS_MAX);
    case ERR_EXISTS:
        return COMPLAIN(r, to, "a flow leads from one segment to another");
    default:
        return COMPLAIN(r, n, "a segment is a name of [A-Za-z0-9._-], as listeners say it");
    }
}

static enum err read_flows(const struct reading *r, struct policy *p, const struct yaml_node *list)
{
    if (list == NULL) {
        return OK;
    }
    TRY(yaml_expect(r->doc, list, YAML_LIST, "flows", r->complaint));
    for (const struct yaml_node *n = list->first; n != NULL; n = n->next) {
        TRY(read_flow(r, p, n));
    }
    return OK;
}

static enum err read_all(const struct reading *r, struct policy *p)
{
    static const char *const keys[] = {"version", "roles", "flows", NULL};
    const struct yaml_node *root = yaml_root(r->doc);
    TRY(yaml_expect(r->doc, root, YAML_MAP, "the policy", r->complaint));
    TRY(yaml_only(r->doc, root, keys, "the policy", r->complaint));
    const struct yaml_node *version = yaml_find(root, "version");
    if (version == NULL || version->kind != YAML_SCALAR || !slice_is(version->text, "1")) {
        return COMPLAIN(r, version != NULL ? version : root, "the policy must say version: 1");
    }
    const struct yaml_node *roles = yaml_find(root, "roles");
    if (roles == NULL) {
        return COMPLAIN(r, root, "the policy needs roles (they may be empty: roles: {})");
    }
    TRY(yaml_expect(r->doc, roles, YAML_MAP, "roles", r->complaint));
    for (const struct yaml_node *n = roles->first; n != NULL; n = n->next) {
        TRY(read_role(r, p, n));
    }
    return read_flows(r, p, yaml_find(root, "flows"));
}

enum err policy_yaml_read(struct slice bytes, const char *file, const struct role_limits *start,
                          struct yaml_complaint *ret_complaint, const struct policy **ret)
{
    static const struct role_limits preset = ROLE_LIMITS_DEFAULT;
    AUTO(yaml_doc_autofree) struct yaml_doc *doc = NULL;
    TRY(yaml_read(bytes, file, ret_complaint, &doc));
    struct policy *p;
    if (policy_new(&p) != OK) {
        return yaml_no_memory(file, ret_complaint);
    }
    struct reading r = {
        .doc = doc, .complaint = ret_complaint, .start = start != NULL ? start : &preset};
    enum err e = policy_set_source(p, bytes) == OK ? read_all(&r, p) : out_of_memory(&r);
    if (e != OK) {
        policy_unref(p);
        return e;
    }
    *ret = p;
    return OK;
}

const char *policy_yaml_default(void)
{
    return "# Who may do what. Deny is the default: what no line here grants is refused.\n"
           "# ${device} is the name of a device, ${site} and others are its attributes\n"
           "# (device add NAME --role ROLE --attr site=lab). They fill one level and never widen "
           "a\n"
           "# topic. A bare topic grants QoS 0 to 2 without retain.\n"
           "# Check a change with `sallyport policy check FILE`, put it in force with\n"
           "# `sallyport policy apply FILE`, ask why with `sallyport policy explain`.\n"
           "# Who is in another segment (listeners and attribute segment) hears only what flows\n"
           "# lets pass: flows: [ { from: field, to: control, topics: [\"sensors/#\"] } ]\n"
           "# Who commands CoAP devices publishes to \"$coap/DEVICE/METHOD/PATH\" "
           "(\"$coap/+/GET/#\"),\n"
           "# and publishes and subscribes where the answers go (\"replies/${device}/#\"). A "
           "publish\n"
           "# grant with freshness: 10s wants changes by CoAP to show by an Echo that they are "
           "new.\n"
           "# A gateway speaks for the devices that are assigned to it (device assign NAME "
           "--gateway\n"
           "# GW), and for no other: ${assigned} is a level that holds the name of one of them.\n"
           "version: 1\n"
           "roles:\n"
           "  sensor:                        # measures and reports; takes commands of its own\n"
           "    publish:\n"
           "      - { topic: \"sensors/${site}/${device}/+\", retain: yes }\n"
           "      - { topic: \"status/${device}\", retain: yes, qos: 1 }\n"
           "    subscribe: [ \"commands/${device}/#\" ]\n"
           "    resources: [ { path: \"/fw/${class}\", methods: [GET] } ]\n"
           "    limits: { publish_rate: 20/s }\n"
           "  actuator:                      # obeys commands, reports its state, sees its site\n"
           "    publish:\n"
           "      - { topic: \"state/${site}/${device}/+\", retain: yes }\n"
           "      - { topic: \"status/${device}\", retain: yes, qos: 1 }\n"
           "    subscribe: [ \"commands/${device}/#\", \"sensors/${site}/#\" ]\n"
           "  gateway:                       # speaks for the devices assigned to it; events name "
           "both\n"
           "    publish:\n"
           "      - { topic: \"sensors/${site}/${assigned}/+\", retain: yes }\n"
           "      - { topic: \"state/${site}/${assigned}/+\", retain: yes }\n"
           "      - { topic: \"status/${assigned}\", retain: yes, qos: 1 }\n"
           "      - { topic: \"status/${device}\", retain: yes, qos: 1 }\n"
           "    subscribe: [ \"commands/${assigned}/#\", \"commands/${device}/#\" ]\n"
           "  console:                       # a person or program that watches and commands\n"
           "    kind: service\n"
           "    many: yes                    # several connections at once, under any client id\n"
           "    publish: [ { topic: \"commands/#\", retain: yes } ]\n"
           "    subscribe: [ \"sensors/#\", \"state/#\", \"status/#\" ]\n";
}

/* policy check, apply, explain */
#include "base/mem.h"
#include "core/flow.h"
#include "core/topic.h"
#include "service/admin/admin_private.h"
#include "service/directory/policy_yaml.h"
#include "service/review/ask.h"

static void policy_release(const struct policy **p)
{
    *p = policy_unref(*p);
}

static void grants_release(struct grants **g)
{
    *g = grants_free(*g);
}

/* How many principals have a role that the policy does not know: they are denied everything. */
static size_t count_strays(const struct directory_version *v, const struct policy *policy)
{
    size_t n = 0;
    size_t at = 0;
    for (const struct directory_entry *e = directory_next(v, &at); e != NULL;
         e = directory_next(v, &at)) {
        n += policy_has_role(policy, slice_text(e->principal->role)) ? 0 : 1;
    }
    return n;
}

/* Saved before it is numbered: what a restart finds is never older than what was in force. */
static enum err save_policy(struct admin *a, struct slice text)
{
    AUTO(buf_done) struct buf before = {0};
    uint64_t epoch;
    enum err had = disk_load(a->setup.disk, ADMIN_POLICY_FILE, YAML_BYTES_MAX, &before);
    TRY(disk_save(a->setup.disk, ADMIN_POLICY_FILE, text));
    enum err e = directory_policy_changed(a->setup.directory, &epoch);
    if (e != OK && had == OK) {
        enum err ignored = disk_save(a->setup.disk, ADMIN_POLICY_FILE, buf_slice(&before));
        (void)ignored; /* the disk refuses everything now; the error says so */
    }
    return e;
}

static enum err install(struct admin *a, uint64_t token, struct slice text, const char *file,
                        struct why *why)
{
    AUTO(policy_release) const struct policy *policy = NULL;
    struct yaml_complaint complaint = {{0}};
    enum err e = policy_yaml_read(text, file, &a->setup.role_start, &complaint, &policy);
    if (e != OK) {
        why_set(why, "%.300s", complaint.text);
        admin_act(a, token, EVENT_config_reject, SEVERITY_WARNING, file,
                  "the policy was refused, the old one stays in force: %s", complaint.text);
        return e;
    }
    e = save_policy(a, text);
    if (e != OK) {
        why_set(why, "the policy cannot be saved (%s); the old one stays in force", err_name(e));
        admin_act(a, token, EVENT_config_reject, SEVERITY_WARNING, file,
                  "the policy cannot be saved (%s), the old one stays in force; look at the disk",
                  err_name(e));
        return e;
    }
    const struct policy *old = a->policy;
    a->policy = TAKE(policy);
    (void)policy_unref(old);
    admin_act(a, token, EVENT_policy_change, SEVERITY_NOTICE, file, "a new policy is in force");
    return OK;
}

/* ---- verbs ---- */

static const char *file_of(const struct control_request *r)
{
    const char *file = control_arg_text(r, "file");
    return file != NULL ? file : ADMIN_POLICY_FILE;
}

static struct slice text_of(const struct control_request *r)
{
    const json_t *text = json_object_get(r->args, "text");
    return slice_of(json_string_value(text), json_string_length(text));
}

enum err verb_policy_check(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    AUTO(policy_release) const struct policy *policy = NULL;
    struct yaml_complaint complaint = {{0}};
    (void)token;
    if (policy_yaml_read(text_of(r), file_of(r), &a->setup.role_start, &complaint, &policy) != OK) {
        return control_finish(reply, 1, "%s", complaint.text);
    }
    TRY(control_line(reply, json_pack("{s:b,s:s}", "ok", 1, "text", "the policy is right")));
    return control_finish(reply, 0, NULL);
}

enum err verb_policy_apply(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    char text[256];
    enum err e = install(a, token, text_of(r), file_of(r), &why);
    if (e != OK) {
        return admin_refuse(reply, "the policy", e, &why);
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    size_t strays = count_strays(v, a->policy);
    if (strays > 0) {
        snprintf(text, sizeof text,
                 "the policy is in force; %zu devices have a role that it does not know and are "
                 "denied everything: see `sallyport device list`",
                 strays);
    } else {
        snprintf(text, sizeof text, "the policy is in force");
    }
    return admin_changed(a, token, reply,
                         json_pack("{s:b,s:I,s:I,s:s}", "ok", 1, "epoch",
                                   (json_int_t)directory_version_epoch(v), "without_role",
                                   (json_int_t)strays, "text", text));
}

/* The highest QoS that this topic may be published with; -1: none. */
static int highest_qos(const struct grants *g, struct slice topic, bool retain)
{
    int qos = 2;
    while (qos >= 0 && grants_publish(g, topic, (uint8_t)qos, retain, NULL) != OK) {
        qos--;
    }
    return qos;
}

/* ---- what segments have to do with it ---- */

struct flow_list {
    const char *segment; /* of the device */
    bool publishes;
    struct slice topic;
    char text[240];
    size_t at;
    bool is_cut;
};

static void add_flow(void *ctx, const char *from, const char *to, struct slice filter)
{
    struct flow_list *l = ctx;
    const char *near = l->publishes ? from : to, *far = l->publishes ? to : from;
    if (strcmp(near, l->segment) != 0 || (l->publishes && !topic_matches(filter, l->topic))) {
        return;
    }
    char one[120];
    int n = snprintf(one, sizeof one, "%s%.32s (%.*s)", l->at > 0 ? ", " : "", far,
                     SLICE_ARG(slice_head(filter, 64)));
    if (n < 0 || l->at + (size_t)n + sizeof ", ..." > sizeof l->text) {
        l->is_cut = true;
        return;
    }
    memcpy(l->text + l->at, one, (size_t)n + 1);
    l->at += (size_t)n;
}

/* Whom the words reach, or whose words come in: a grant alone does not lead out of a segment. */
static void explain_segment(const struct policy *policy, const struct principal *p,
                            struct slice action, struct slice topic, char *dst, size_t cap)
{
    struct flow_list l = {.segment = principal_attr(p, slice_text(PRINCIPAL_SEGMENT)),
                          .publishes = !slice_is(action, "subscribe"),
                          .topic = topic};
    policy_each_flow(policy, add_flow, &l);
    (void)snprintf(dst, cap, "segment %.32s; %s %s%s", l.segment,
                   l.publishes ? "heard in other segments:" : "hears of other segments:",
                   l.at > 0 ? l.text : "nothing", l.is_cut ? ", ..." : "");
}

static json_t *explanation(const struct policy *policy, const struct directory_entry *e,
                           const struct grants *g, struct slice action, struct slice topic,
                           const struct decision *d)
{
    char more[96] = "", segment[330] = "";
    bool is_active = e->principal->status == PRINCIPAL_ACTIVE;
    bool allowed = is_active && d->err == OK;
    const char *rule = is_active                                   ? d->rule
                       : e->principal->status == PRINCIPAL_REVOKED ? "the device is revoked"
                                                                   : "the device is disabled";
    json_t *line =
        json_pack("{s:s,s:s,s:s,s:s%,s:s%}", "decision", allowed ? "allow" : "deny", "rule", rule,
                  "name", e->principal->name, "action", (const char *)action.p, action.n, "topic",
                  (const char *)topic.p, topic.n);
    if (allowed && slice_is(action, "publish")) {
        int qos = highest_qos(g, topic, false);
        bool retain = grants_publish(g, topic, 0, true, NULL) == OK;
        snprintf(more, sizeof more, " (QoS up to %d, %s retain)", qos, retain ? "with" : "without");
        (void)json_object_set_new(line, "qos", json_integer(qos));
        (void)json_object_set_new(line, "retain", json_boolean(retain));
    }
    if (review_method(action) == 0) {
        explain_segment(policy, e->principal, action, topic, segment, sizeof segment);
        (void)json_object_set_new(line, "segment", json_string(segment));
    }
    char text[700];
    (void)snprintf(text, sizeof text, "%s%s%s%s%s", allowed ? "allow: " : "deny: ", rule, more,
                   segment[0] != '\0' ? "\n" : "", segment);
    (void)json_object_set_new(line, "text", json_string(text));
    return line;
}

/* Whom a gateway speaks for, out of the version that ctx is. */
static const struct principal *person(const struct directory_entry *e)
{
    return e != NULL ? e->principal : NULL;
}

static const struct principal *person_by_name(void *ctx, struct slice name)
{
    return person(directory_find(ctx, name));
}

static const struct principal *person_by_id(void *ctx, uint64_t id)
{
    return person(directory_find_id(ctx, id));
}

/* The one that was sent along, else the one in force. */
static bool pick_policy(const struct admin *a, const struct control_request *r, struct why *why,
                        const struct policy **ret)
{
    struct yaml_complaint complaint = {{0}};
    if (json_object_get(r->args, "text") == NULL) {
        *ret = policy_ref(a->policy);
        return true;
    }
    if (policy_yaml_read(text_of(r), file_of(r), &a->setup.role_start, &complaint, ret) != OK) {
        why_set(why, "%.300s", complaint.text);
        return false;
    }
    return true;
}

enum err verb_policy_explain(void *ctx, const struct control_request *r, uint64_t token,
                             struct control_reply *reply)
{
    struct admin *a = ctx;
    struct slice name = slice_text(control_arg_text(r, "name"));
    struct slice action = slice_text(control_arg_text(r, "action"));
    struct slice topic = slice_text(control_arg_text(r, "topic"));
    struct why why = {{0}};
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = directory_find(v, name);
    if (e == NULL) {
        return control_finish(reply, 1, "there is no device %.64s; see `sallyport device list`",
                              name.n > 0 ? (const char *)name.p : "");
    }
    AUTO(grants_release) struct grants *g = NULL;
    AUTO(policy_release) const struct policy *policy = NULL;
    struct decision d = {0};
    if (!pick_policy(a, r, &why, &policy)) {
        return control_finish(reply, 1, "%s", why.text);
    }
    struct people people = {.ctx = (void *)(uintptr_t)v, /* it is only read */
                            .by_name = person_by_name,
                            .by_id = person_by_id};
    TRY(grants_new(policy, e->principal, &g));
    grants_know(g, &people);
    const struct review_question q = {.action = action, .what = topic};
    if (review_ask(g, &q, &d, &why) != OK) {
        return control_finish(reply, 1, "%s", why.text);
    }
    TRY(control_line(reply, explanation(policy, e, g, action, topic, &d)));
    return control_finish(reply, 0, NULL);
}

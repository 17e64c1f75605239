#include "service/review/again.h"

#include "base/event.h"
#include "base/mem.h"

/* Rights under both policies, made when somebody acts. */
struct rights {
    struct grants *old, *new; /* owned */
};

struct again {
    const struct policy *old, *new; /* shared */
    const struct crowd *crowd;
    struct people people;
    struct rights *rights; /* as many as principals */
};

const char *act_name(enum act_kind kind)
{
    switch (kind) {
    case ACT_PUBLISH:
        return "publish";
    case ACT_SUBSCRIBE:
        return "subscribe";
    case ACT_CONNECT:
        return "connect";
    }
    return "";
}

/* ---- what happened ---- */

static struct slice member(const json_t *line, const char *key)
{
    const json_t *text = json_object_get(line, key);
    return slice_of(json_string_value(text), json_string_length(text));
}

/* The trail cuts long texts, which a final '~' says. */
static bool is_whole(struct slice text)
{
    const struct event *e = NULL;
    return text.n > 0 && !(text.p[text.n - 1] == '~' && text.n >= sizeof e->client_id - 1);
}

static bool read_allow(struct slice reason, struct act *ret)
{
    if (slice_has_prefix(reason, slice_text("first publish of this ")) ||
        slice_has_prefix(reason, slice_text("a command to "))) {
        ret->kind = ACT_PUBLISH;
        return true;
    }
    ret->kind = ACT_SUBSCRIBE;
    return slice_has_prefix(reason, slice_text("subscribed with ")) || slice_is(reason, "observed");
}

static bool has(struct slice text, const char *part)
{
    size_t n = strlen(part);
    while (text.n >= n && memcmp(text.p, part, n) != 0) {
        text = slice_from(text, 1);
    }
    return text.n >= n;
}

/* What was refused, by the words of core/grants.c; of others it is not known what was asked. */
static bool read_deny(struct slice reason, struct act *ret)
{
    ret->kind =
        slice_has_prefix(reason, slice_text("no subscribe grant ")) ? ACT_SUBSCRIBE : ACT_PUBLISH;
    ret->retain = has(reason, " is granted without retain; ");
    ret->qos = has(reason, " is granted up to QoS 0; ")   ? 1
               : has(reason, " is granted up to QoS 1; ") ? 2
                                                          : 0;
    return ret->kind == ACT_SUBSCRIBE || ret->retain || ret->qos > 0 ||
           slice_has_prefix(reason, slice_text("no publish grant "));
}

bool act_read(const json_t *line, struct act *ret)
{
    struct slice category = member(line, "category"), reason = member(line, "reason");
    const json_t *claimed = json_object_get(line, "claimed");
    *ret = (struct act){.who = json_string_value(json_object_get(line, "principal"))};
    if (ret->who == NULL || json_is_true(claimed)) {
        return false;
    }
    if (slice_is(category, "connect") && slice_is(member(line, "protocol"), "mqtt")) {
        ret->kind = ACT_CONNECT;
        ret->what = member(line, "client_id");
    } else if ((slice_is(category, "allow") && read_allow(reason, ret)) ||
               (slice_is(category, "acl_deny") && slice_is(member(line, "protocol"), "mqtt") &&
                read_deny(reason, ret))) {
        ret->what = member(line, "target");
    }
    return is_whole(ret->what);
}

bool act_read_retained(const json_t *line, struct act *ret)
{
    json_int_t qos = json_integer_value(json_object_get(line, "qos"));
    *ret = (struct act){.kind = ACT_PUBLISH,
                        .who = json_string_value(json_object_get(line, "principal")),
                        .what = member(line, "topic"),
                        .qos = qos >= 0 && qos <= 2 ? (uint8_t)qos : 0,
                        .retain = true};
    return ret->who != NULL && ret->what.n > 0;
}

/* ---- asked again ---- */

enum err again_new(const struct policy *old, const struct policy *new, const struct crowd *crowd,
                   struct again **ret)
{
    struct again *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->rights = mem_array(crowd_count(crowd), sizeof *a->rights);
    if (a->rights == NULL && crowd_count(crowd) > 0) {
        mem_free(a);
        return ERR_NOMEM;
    }
    a->old = policy_ref(old);
    a->new = policy_ref(new);
    a->crowd = crowd;
    a->people = crowd_people(crowd);
    *ret = a;
    return OK;
}

struct again *again_free(struct again *a)
{
    if (a == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < crowd_count(a->crowd); i++) {
        (void)grants_free(a->rights[i].old);
        (void)grants_free(a->rights[i].new);
    }
    (void)policy_unref(a->old);
    (void)policy_unref(a->new);
    mem_free(a->rights);
    return mem_free(a);
}

static enum err make_rights(struct again *a, size_t at)
{
    struct rights *r = &a->rights[at];
    if (r->old == NULL) {
        TRY(grants_new(a->old, crowd_at(a->crowd, at), &r->old));
        grants_know(r->old, &a->people);
    }
    if (r->new == NULL) {
        TRY(grants_new(a->new, crowd_at(a->crowd, at), &r->new));
        grants_know(r->new, &a->people);
    }
    return OK;
}

/* false: it is no question. */
static bool ask_one(const struct grants *g, const struct act *act, struct decision *ret)
{
    struct why ignored;
    if (act->kind == ACT_CONNECT) {
        bool ok = grants_client_id_ok(g, act->what);
        ret->err = ok ? OK : ERR_DENIED;
        (void)snprintf(ret->rule, sizeof ret->rule, "client_id of role %s %s",
                       grants_principal(g)->role,
                       policy_has_role(grants_policy(g), slice_text(grants_principal(g)->role))
                           ? "is another"
                           : "is not there: the policy has no such role");
        return true;
    }
    const struct review_question q = {.action = slice_text(act_name(act->kind)),
                                      .what = act->what,
                                      .qos = act->qos,
                                      .retain = act->retain};
    return review_ask(g, &q, ret, &ignored) == OK;
}

enum err again_ask(struct again *a, const struct act *act, enum again_answer *ret_answer,
                   struct decision *ret)
{
    struct decision before = {0}, after = {0};
    size_t at;
    *ret_answer = AGAIN_UNKNOWN;
    if (!crowd_find(a->crowd, slice_text(act->who), &at)) {
        return OK;
    }
    TRY(make_rights(a, at));
    if (!ask_one(a->rights[at].old, act, &before) || !ask_one(a->rights[at].new, act, &after)) {
        return OK;
    }
    *ret_answer = (before.err == OK) == (after.err == OK) ? AGAIN_SAME
                  : after.err == OK                       ? AGAIN_ALLOWED
                                                          : AGAIN_REFUSED;
    *ret = after;
    return OK;
}

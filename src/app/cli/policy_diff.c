/* policy diff: FILE against the policy in force. The daemon tells the policy and who is under it,
 * piece by piece; all the comparing is done here, where it holds up nobody. */
#include <fcntl.h>

#include "app/cli/policy_tools.h"
#include "app/daemon/config.h"
#include "base/log.h"
#include "service/directory/policy_yaml.h"
#include "service/directory/settings.h"
#include "service/review/again.h"
#include "service/review/difference.h"

enum {
    CHANGES_SHOWN = 200,
    TURNS_SHOWN = 50,
    EVENTS_ASKED = 1000,     /* what the daemon keeps of the trail in memory */
    RETAINED_ASKED = 100000, /* messages */
    PAGES_MAX = 256          /* of the directory; more is no answer of a daemon */
};

/* ---- what the daemon tells ---- */

struct told {
    struct crowd *crowd;      /* owned */
    json_t *policy;           /* owned: the text in force */
    struct role_limits start; /* what roles begin with */
    json_int_t page;          /* the next one; -1: none */
    size_t n_active;
};

static void told_done(struct told *t)
{
    (void)crowd_free(t->crowd);
    json_decref(t->policy);
}

static int unreadable(struct cli *cli)
{
    return cli_fail(cli, "the daemon's answer does not read; are both the same version?");
}

static enum err read_attrs(const json_t *attrs, struct principal_attr dst[PRINCIPAL_ATTRS_MAX],
                           size_t *ret_n)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    /* jansson's own loop takes a mutable object, but changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)attrs, key, value)
    {
        struct slice text = slice_of(json_string_value(value), json_string_length(value));
        if (n == PRINCIPAL_ATTRS_MAX ||
            !slice_to_text(slice_text(key), dst[n].key, sizeof dst[n].key) ||
            !slice_to_text(text, dst[n].value, sizeof dst[n].value)) {
            return ERR_MALFORMED;
        }
        n++;
    }
    *ret_n = n;
    return OK;
}

static enum err take_member(struct told *t, const json_t *m)
{
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX];
    struct principal *p = NULL;
    size_t n_attrs = 0;
    json_int_t id = json_integer_value(json_object_get(m, "id"));
    json_int_t gateway = json_integer_value(json_object_get(m, "gateway"));
    json_int_t status = json_integer_value(json_object_get(m, "status"));
    if (id <= 0 || gateway < 0 || status < PRINCIPAL_ACTIVE || status > PRINCIPAL_REVOKED) {
        return ERR_MALFORMED;
    }
    TRY(read_attrs(json_object_get(m, "attrs"), attrs, &n_attrs));
    TRY(principal_new((uint64_t)id, slice_text(json_string_value(json_object_get(m, "name"))),
                      slice_text(json_string_value(json_object_get(m, "role"))), attrs, n_attrs,
                      &p));
    p->gateway = (uint64_t)gateway;
    p->status = (enum principal_status)status;
    t->n_active += p->status == PRINCIPAL_ACTIVE ? 1 : 0;
    return crowd_add(t->crowd, p);
}

static void take_start(struct told *t, const json_t *start)
{
    for (size_t i = 0; i < n_role_settings; i++) {
        const struct setting *s = &role_setting_table[i];
        const json_t *value = json_object_get(start, s->name);
        char text[24], why[SETTING_WHY_BYTES];
        (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        if (json_is_integer(value)) {
            enum err ignored = setting_apply(s, slice_text(text), 0, why, &t->start);
            (void)ignored; /* out of bounds: both policies begin with the default then */
        }
    }
}

static int take_piece(struct cli *cli, void *ctx, const json_t *line)
{
    struct told *t = ctx;
    const json_t *members = json_object_get(line, "members");
    const json_t *page = json_object_get(line, "page");
    json_t *policy = json_object_get(line, "policy");
    if (json_is_string(policy) && t->policy == NULL) {
        t->policy = json_incref(policy);
        take_start(t, json_object_get(line, "start"));
        return CLI_DONE;
    }
    if (!json_is_array(members) || !json_is_integer(page) ||
        (json_integer_value(page) != -1 && json_integer_value(page) <= t->page) ||
        json_integer_value(page) > PAGES_MAX) {
        return unreadable(cli);
    }
    for (size_t i = 0; i < json_array_size(members); i++) {
        if (take_member(t, json_array_get(members, i)) != OK) {
            return unreadable(cli);
        }
    }
    t->page = json_integer_value(page);
    return CLI_DONE;
}

static int ask_crowd(struct cli *cli, struct told *ret)
{
    static const struct role_limits preset = ROLE_LIMITS_DEFAULT;
    ret->start = preset;
    if (crowd_new(&ret->crowd) != OK) {
        return cli_fail(cli, "memory is out");
    }
    while (ret->page >= 0) {
        int code =
            cli_call(cli, "policy.crowd", json_pack("{s:I}", "page", ret->page), take_piece, ret);
        if (code != CLI_DONE) {
            return code;
        }
    }
    enum err e = crowd_sort(ret->crowd);
    return e == OK ? CLI_DONE
                   : cli_fail(cli, "the devices changed while they were asked; ask again");
}

/* ---- recent traffic ---- */

enum turn { TURN_REFUSED, TURN_ALLOWED, TURNS };

struct replay {
    struct again *again;
    json_t *seen;        /* owned: each once */
    json_t *rows[TURNS]; /* owned: the first TURNS_SHOWN of them */
    size_t n[TURNS], n_acts, n_retained;
    bool is_cut;
};

static void replay_done(struct replay *r)
{
    (void)again_free(r->again);
    json_decref(r->seen);
    json_decref(r->rows[TURN_REFUSED]);
    json_decref(r->rows[TURN_ALLOWED]);
}

static bool note_turn(struct replay *r, enum turn turn, const struct act *act, const char *when,
                      const char *rule)
{
    char key[400];
    (void)snprintf(key, sizeof key, "%s %s %d %.*s", act->who, act_name(act->kind),
                   act->retain ? 1 : 0, SLICE_ARG(slice_head_text(act->what, 300)));
    if (json_object_get(r->seen, key) != NULL) {
        return true;
    }
    r->n[turn]++;
    if (json_object_set_new(r->seen, key, json_true()) != 0) {
        return false;
    }
    if (json_array_size(r->rows[turn]) == TURNS_SHOWN) {
        return true;
    }
    return json_array_append_new(r->rows[turn],
                                 json_pack("{s:s,s:s,s:s%,s:b,s:s,s:s}", "name", act->who, "action",
                                           act_name(act->kind), "what", (const char *)act->what.p,
                                           act->what.n, "retained", act->retain ? 1 : 0, "time",
                                           when != NULL ? when : "-", "rule", rule)) == 0;
}

static int ask_act(struct cli *cli, struct replay *r, const struct act *act, const char *when)
{
    enum again_answer answer;
    struct decision d;
    bool ok = again_ask(r->again, act, &answer, &d) == OK;
    if (ok && (answer == AGAIN_REFUSED || answer == AGAIN_ALLOWED)) {
        ok = note_turn(r, answer == AGAIN_REFUSED ? TURN_REFUSED : TURN_ALLOWED, act, when, d.rule);
    }
    return ok ? CLI_DONE : cli_fail(cli, "memory is out");
}

static int take_event(struct cli *cli, void *ctx, const json_t *line)
{
    struct replay *r = ctx;
    struct act act;
    if (!act_read(line, &act)) {
        return CLI_DONE;
    }
    r->n_acts++;
    return ask_act(cli, r, &act, json_string_value(json_object_get(line, "time")));
}

static int take_retained(struct cli *cli, void *ctx, const json_t *line)
{
    struct replay *r = ctx;
    struct act act;
    if (r->n_retained == RETAINED_ASKED) {
        r->is_cut = true;
        return CLI_FAILED; /* the rest is not asked */
    }
    if (!act_read_retained(line, &act)) {
        return CLI_DONE;
    }
    r->n_retained++;
    return ask_act(cli, r, &act, NULL);
}

static int ask_traffic(struct cli *cli, struct replay *r)
{
    int code = cli_call(cli, "audit.tail", json_pack("{s:i}", "n", EVENTS_ASKED), take_event, r);
    if (code != CLI_DONE) {
        return code;
    }
    code = cli_call(cli, "retained.list", json_pack("{s:s}", "filter", "#"), take_retained, r);
    return r->is_cut ? CLI_DONE : code;
}

/* ---- what is printed ---- */

static const struct {
    const char *name, *sign;
} words[] = {
    [CHANGE_ROLE_GONE] = {"role_gone", "-"}, [CHANGE_ROLE_NEW] = {"role_new", "+"},
    [CHANGE_LOST] = {"lost", "-"},           [CHANGE_GAINED] = {"gained", "+"},
    [CHANGE_ALTERED] = {"altered", "~"},     [CHANGE_SETTING] = {"setting", "~"},
    [CHANGE_FLOW_LOST] = {"flow_lost", "-"}, [CHANGE_FLOW_GAINED] = {"flow_gained", "+"},
    [CHANGE_WARNING] = {"warning", "!"},
};

static void print_line(struct cli *cli, json_t *line)
{
    (void)json_dumpf(line, cli->out, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', cli->out);
    json_decref(line);
}

static void print_change_json(struct cli *cli, const struct change *c)
{
    json_t *names = json_array();
    for (size_t i = 0; i < c->n_names; i++) {
        (void)json_array_append_new(names, json_string(c->names[i]));
    }
    print_line(cli, json_pack("{s:s,s:s,s:I,s:s,s:I,s:o}", "change", words[c->kind].name, "role",
                              c->role, "line", (json_int_t)c->line, "what", c->text, "concerned",
                              (json_int_t)c->n_concerned, "names", names));
}

static void print_change(struct cli *cli, const struct change *c)
{
    char text[CHANGE_TEXT_BYTES * 4];
    log_escape(c->text, strlen(c->text), text, sizeof text);
    fprintf(cli->out, "  %s %s", words[c->kind].sign, text);
    if (c->line > 0) {
        fprintf(cli->out, ", line %u%s", (unsigned)c->line,
                c->kind == CHANGE_LOST ? " of the old" : "");
    }
    if (c->kind == CHANGE_FLOW_LOST || c->kind == CHANGE_FLOW_GAINED) {
        fputc('\n', cli->out);
        return;
    }
    fprintf(cli->out, ": %zu device%s", c->n_concerned, c->n_concerned == 1 ? "" : "s");
    for (size_t i = 0; i < c->n_names; i++) {
        fprintf(cli->out, "%s%s", i == 0 ? ": " : ", ", c->names[i]);
    }
    if (c->n_concerned > c->n_names) {
        fprintf(cli->out, " and %zu more", c->n_concerned - c->n_names);
    }
    fputc('\n', cli->out);
}

static void print_changes(struct cli *cli, const struct difference *d)
{
    const char *role = NULL;
    size_t n = difference_count(d), shown = n < CHANGES_SHOWN ? n : CHANGES_SHOWN;
    for (size_t i = 0; i < shown; i++) {
        const struct change *c = difference_at(d, i);
        if (cli->json) {
            print_change_json(cli, c);
            continue;
        }
        if (role == NULL || strcmp(role, c->role) != 0) {
            role = c->role;
            fprintf(cli->out, "%s%s\n", role[0] != '\0' ? "role " : "flows", role);
        }
        print_change(cli, c);
    }
    if (shown < n && !cli->json) {
        fprintf(cli->out, "and %zu more changes\n", n - shown);
    }
}

static void print_turn(struct cli *cli, const struct replay *r, enum turn turn)
{
    static const char *const word[] = {[TURN_REFUSED] = "refused", [TURN_ALLOWED] = "allowed"};
    size_t shown = json_array_size(r->rows[turn]);
    if (shown > 0 && !cli->json) {
        fprintf(cli->out, "would be %s from now on:\n", word[turn]);
    }
    for (size_t i = 0; i < shown; i++) {
        json_t *row = json_array_get(r->rows[turn], i);
        if (cli->json) {
            print_line(cli, json_pack("{s:O}", word[turn], row));
            continue;
        }
        const json_t *what = json_object_get(row, "what");
        const char *rule = json_string_value(json_object_get(row, "rule"));
        const char *when = json_string_value(json_object_get(row, "time"));
        char topic[600], why[700];
        log_escape(json_string_value(what), json_string_length(what), topic, sizeof topic);
        log_escape(rule, strlen(rule), why, sizeof why);
        bool is_kept = strcmp(when, "-") == 0;
        fprintf(cli->out, "  %s %s %s (%s%s): %s\n",
                json_string_value(json_object_get(row, "name")),
                json_string_value(json_object_get(row, "action")), topic,
                is_kept ? "is retained" : "last ", is_kept ? "" : when, why);
    }
    if (r->n[turn] > shown && !cli->json) {
        fprintf(cli->out, "  and %zu more\n", r->n[turn] - shown);
    }
}

static void print_sum(struct cli *cli, const struct told *t, const struct difference *d,
                      const struct replay *r)
{
    size_t n = difference_count(d), warnings = 0;
    for (size_t i = 0; i < n; i++) {
        warnings += difference_at(d, i)->kind == CHANGE_WARNING ? 1 : 0;
    }
    if (cli->json) {
        print_line(cli, json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:I}", "changes",
                                  (json_int_t)(n - warnings), "warnings", (json_int_t)warnings,
                                  "concerned", (json_int_t)difference_concerned(d), "active",
                                  (json_int_t)t->n_active, "events_asked", (json_int_t)r->n_acts,
                                  "retained_asked", (json_int_t)r->n_retained, "retained_cut",
                                  r->is_cut ? 1 : 0, "would_refuse", (json_int_t)r->n[TURN_REFUSED],
                                  "would_allow", (json_int_t)r->n[TURN_ALLOWED], "left_out",
                                  (json_int_t)(n > CHANGES_SHOWN ? n - CHANGES_SHOWN : 0)));
        return;
    }
    fprintf(cli->out,
            "%zu change%s and %zu warning%s; %zu of %zu active devices are concerned\n"
            "asked again: %zu acts of the newest events and %zu retained messages%s; %zu would be "
            "refused, %zu allowed\n",
            n - warnings, n - warnings == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s",
            difference_concerned(d), t->n_active, r->n_acts, r->n_retained,
            r->is_cut ? " (there are more)" : "", r->n[TURN_REFUSED], r->n[TURN_ALLOWED]);
}

/* ---- the command ---- */

static int compare(struct cli *cli, const struct told *told, const struct policy *old,
                   const struct policy *new)
{
    AUTO(difference_autofree) struct difference *d = NULL;
    AUTO(replay_done)
    struct replay r = {.seen = json_object(), .rows = {json_array(), json_array()}};
    if (difference_new(old, new, told->crowd, &d) != OK ||
        again_new(old, new, told->crowd, &r.again) != OK) {
        return cli_fail(cli, "memory is out");
    }
    int code = ask_traffic(cli, &r);
    if (code == CLI_DONE) {
        print_changes(cli, d);
        print_turn(cli, &r, TURN_REFUSED);
        print_turn(cli, &r, TURN_ALLOWED);
        print_sum(cli, told, d, &r);
    }
    return code;
}

int policy_diff(struct cli *cli, const char *file)
{
    AUTO(policy_release) const struct policy *old = NULL;
    AUTO(policy_release) const struct policy *new = NULL;
    AUTO(told_done) struct told told = {0};
    AUTO(buf_done) struct buf text = {0};
    struct yaml_complaint complaint;
    if (config_read_file(AT_FDCWD, file, file, &complaint, &text) != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    int code = ask_crowd(cli, &told);
    if (code != CLI_DONE) {
        return code;
    }
    struct slice in_force =
        slice_of(json_string_value(told.policy), json_string_length(told.policy));
    if (policy_yaml_read(buf_slice(&text), file, &told.start, &complaint, &new) != OK ||
        policy_yaml_read(in_force, "the policy in force", &told.start, &complaint, &old) != OK) {
        return cli_fail(cli, "%s", complaint.text);
    }
    return compare(cli, &told, old, new);
}

/* respond list, start, undo. */
#include <inttypes.h>

#include "service/admin/responses_private.h"

/* ---- list ---- */

static json_t *row_json(const struct directory_entry *e, const struct directory_answer *x)
{
    char id[24], text[512], until[CLOCK_ISO8601_BYTES], since[CLOCK_ISO8601_BYTES];
    bool stays = x->until_wall_ms == DIRECTORY_ANSWER_STAYS;
    (void)snprintf(id, sizeof id, "%" PRIu64, x->id);
    admin_time_text(stays ? 0 : x->until_wall_ms, until);
    admin_time_text(x->since_wall_ms, since);
    (void)snprintf(text, sizeof text, "%s  %s  %s  since %s  until %s  by %s  %s", id,
                   answer_name(x->kind), e->principal->name, since, stays ? "it is undone" : until,
                   x->by, x->reason);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "id", id, "answer",
                     answer_name(x->kind), "name", e->principal->name, "role", e->principal->role,
                     "since", since, "until", until, "by", x->by, "reason", x->reason, "text",
                     text);
}

static enum err list_running(struct admin *a, const struct directory_version *v,
                             struct control_reply *reply)
{
    const struct respond_row *row;
    size_t at = 0;
    while ((row = respond_each(a->respond, &at)) != NULL) {
        const struct directory_entry *e = NULL;
        const struct directory_answer *x = admin_answer_find(v, row, &e);
        if (x != NULL) {
            json_t *line = row_json(e, x);
            (void)json_object_set_new(line, "mode", json_string("enforce"));
            TRY(control_line(reply, line));
        }
    }
    return control_finish(reply, 0, NULL);
}

static enum err list_trials(struct admin *a, const struct directory_version *v,
                            struct control_reply *reply)
{
    const struct respond_trial *t;
    size_t at = 0;
    while ((t = respond_trials(a->respond, &at)) != NULL) {
        const struct directory_entry *e = directory_find_id(v, t->principal);
        char text[320], last[CLOCK_ISO8601_BYTES];
        if (e == NULL) {
            continue;
        }
        admin_time_text(t->last_wall_ms, last);
        (void)snprintf(text, sizeof text,
                       "would %s  %s  %" PRIu64 " times, last %s  by rule %s (%s)",
                       answer_name(t->answer), e->principal->name, t->count, last, t->rule,
                       detector_words(t->detector)->name);
        TRY(control_line(reply,
                         json_pack("{s:s,s:s,s:s,s:s,s:s,s:I,s:o,s:o,s:s,s:s}", "answer",
                                   answer_name(t->answer), "name", e->principal->name, "role",
                                   e->principal->role, "by", t->rule, "detector",
                                   detector_words(t->detector)->name, "count", (json_int_t)t->count,
                                   "first", admin_time(t->first_wall_ms), "last",
                                   admin_time(t->last_wall_ms), "mode", "dry-run", "text", text)));
    }
    return control_finish(reply, 0, NULL);
}

enum err verb_respond_list(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    (void)token;
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    return control_arg_flag(r, "dry_run") ? list_trials(a, v, reply) : list_running(a, v, reply);
}

/* ---- start ---- */

enum err verb_respond_start(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct admin *a = ctx;
    struct why why = {{0}};
    struct directory_answer x;
    char by[DIRECTORY_ANSWER_BY_MAX + 1];
    struct slice name = slice_text(control_arg_text(r, "name"));
    int64_t seconds = control_arg_number(r, "for_s", 0);
    struct directory_answer_order o = {.reason = slice_text(control_arg_text(r, "reason")),
                                       .until_wall_ms = DIRECTORY_ANSWER_STAYS};
    if (!answer_find(slice_text(control_arg_text(r, "answer")), &o.kind) ||
        o.kind == ANSWER_ALERT) {
        return control_finish(
            reply, 1, "an answer is one of throttle, step-up, quarantine, disconnect, revoke");
    }
    bool is_endless = seconds == 0 && o.kind == ANSWER_REVOKE;
    if (!is_endless && (seconds < RESPOND_FOR_MIN_S || seconds > RESPOND_FOR_MAX_S)) {
        return control_finish(reply, 1,
                              "a response lasts 60 s to 30 days: --for 1h; only revoke may go "
                              "without, until it is undone");
    }
    if (seconds > 0) {
        o.until_wall_ms = admin_wall_ms(a) + seconds * 1000;
    }
    (void)snprintf(by, sizeof by, "uid=%u", (unsigned)control_server_uid(a->server, token));
    o.by = slice_text(by);
    enum err e = admin_respond_start(a, token, name, &o, &x, &why);
    if (e != OK) {
        return admin_refuse(reply, "the response", e, &why);
    }
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *entry = directory_find(v, name);
    json_t *line = entry != NULL ? row_json(entry, &x) : NULL;
    /* The id alone, so that a script can take it. */
    (void)json_object_set(line, "text", json_object_get(line, "id"));
    return admin_changed(a, token, reply, line);
}

/* ---- undo ---- */

static enum err undo_all(struct admin *a, uint64_t token, struct control_reply *reply)
{
    size_t n = 0, at = 0;
    const struct respond_row *row;
    enum err e = OK;
    while (e == OK && (row = respond_each(a->respond, &at)) != NULL) {
        e = admin_respond_end(a, token, row, "undone");
        n++;
        at = 0; /* it has left the list */
    }
    if (e != OK) {
        admin_push_realm(a);
        return admin_refuse(reply, "the responses", e, NULL);
    }
    char text[64];
    (void)snprintf(text, sizeof text, "undone: %zu response%s", n, n == 1 ? "" : "s");
    return admin_changed(a, token, reply,
                         json_pack("{s:I,s:s}", "undone", (json_int_t)n, "text", text));
}

enum err verb_respond_undo(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    const char *text = control_arg_text(r, "id");
    char *rest = NULL;
    if (control_arg_flag(r, "all")) {
        return undo_all(a, token, reply);
    }
    uint64_t id = text != NULL ? strtoull(text, &rest, 10) : 0;
    if (text == NULL || rest == text || *rest != '\0') {
        return control_finish(reply, 1, "a response is named by its number; see `respond list`");
    }
    const struct respond_row *row = respond_find(a->respond, id);
    if (row == NULL) {
        return control_finish(reply, 1, "no response %" PRIu64 " runs", id);
    }
    enum err e = admin_respond_end(a, token, row, "undone");
    if (e != OK) {
        return admin_refuse(reply, "the response", e, NULL);
    }
    return admin_changed(a, token, reply,
                         json_pack("{s:s,s:s+}", "id", text, "text", "undone: response ", text));
}

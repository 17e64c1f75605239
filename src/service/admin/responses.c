/* Answers to misuse: what a rule wants is put on record, reaches every worker like any change of
 * the directory, and ends at its deadline. Each beginning, end and refusal is an event. */
#include <inttypes.h>

#include "service/admin/responses_private.h"

/* ---- words ---- */

static void until_text(int64_t until_wall_ms, char dst[64])
{
    char at[CLOCK_ISO8601_BYTES];
    if (until_wall_ms == DIRECTORY_ANSWER_STAYS) {
        (void)snprintf(dst, 64, "until it is undone");
        return;
    }
    admin_time_text(until_wall_ms, at);
    (void)snprintf(dst, 64, "until %s", at);
}

static void response_event(struct admin *a, uint64_t token, const char *name,
                           const struct directory_answer *x, const char *what)
{
    char until[64];
    struct event e = admin_act_make(a, token, EVENT_response, SEVERITY_NOTICE, name);
    until_text(x->until_wall_ms, until);
    event_reason(&e, "%s: response %" PRIu64 ", %s of %s, by %s, %s: %s", what, x->id,
                 answer_name(x->kind), name, x->by, until, x->reason);
    admin_event(a, &e);
}

/* ---- beginnings ---- */

enum err admin_respond_start(struct admin *a, uint64_t token, struct slice name,
                             const struct directory_answer_order *o, struct directory_answer *ret,
                             struct why *why)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = directory_find(v, name);
    struct directory_answer x;
    if (e == NULL) {
        why_set(why, "there is no device %.*s; see `sallyport device list`",
                SLICE_ARG(slice_head(name, PRINCIPAL_NAME_MAX)));
        return ERR_NOT_FOUND;
    }
    TRY(directory_answer_start(a->setup.directory, name, o, admin_wall_ms(a), &x, why));
    const struct respond_row row = {.id = x.id,
                                    .principal = e->principal->id,
                                    .answer = x.kind,
                                    .since_wall_ms = x.since_wall_ms,
                                    .until_wall_ms = x.until_wall_ms,
                                    .is_by_rule = token == 0};
    enum err err = respond_began(a->respond, &row);
    if (err != OK) { /* nobody would end it */
        (void)!directory_answer_end(a->setup.directory, name, x.id);
        why_set(why, "%d responses run: `respond undo` one first", RESPOND_RUNNING_MAX);
        return err;
    }
    response_event(a, token, e->principal->name, &x, "began");
    *ret = x;
    return OK;
}

/* ---- what a finding leads to ---- */

static void tell(struct admin *a, enum event_severity severity, const struct respond_finding *f,
                 const struct respond_verdict *v, const char *what)
{
    char name[PRINCIPAL_NAME_MAX + 1];
    (void)slice_to_text(f->name, name, sizeof name);
    struct event e = admin_act_make(a, 0, EVENT_response, severity, name);
    event_reason(&e, "%s: %s of %s, by rule %s (%s)", what, answer_name(v->answer), name,
                 v->by->name, detector_words(f->detector)->name);
    admin_event(a, &e);
}

static void act(struct admin *a, const struct respond_finding *f, const struct respond_verdict *v,
                const char *evidence)
{
    char by[DIRECTORY_ANSWER_BY_MAX + 1], reason[DIRECTORY_REASON_MAX + 1];
    struct directory_answer started;
    struct why why = {{0}};
    (void)snprintf(by, sizeof by, "rule %s", v->by->name);
    (void)snprintf(reason, sizeof reason, "%s: %s", detector_words(f->detector)->name, evidence);
    const struct directory_answer_order o = {
        .kind = v->answer,
        .until_wall_ms =
            v->for_s == 0 ? DIRECTORY_ANSWER_STAYS : admin_wall_ms(a) + (int64_t)v->for_s * 1000,
        .by = slice_text(by),
        .reason = slice_text(reason)};
    enum err err = admin_respond_start(a, 0, f->name, &o, &started, &why);
    if (err != OK && err != ERR_EXISTS) {
        tell(a, SEVERITY_ALERT, f, v, "could not begin, only alerted: the store refused");
        return;
    }
    admin_push_realm(a);
}

static void follow(struct admin *a, const struct respond_finding *f,
                   const struct respond_verdict *v, const char *evidence)
{
    switch (v->kind) {
    case RESPOND_START:
        act(a, f, v, evidence);
        break;
    case RESPOND_TRIAL:
        tell(a, SEVERITY_INFO, f, v, "dry run, nothing was done: would begin");
        break;
    case RESPOND_EXEMPT:
        tell(a, SEVERITY_NOTICE, f, v, "not begun, it is excepted by `except`");
        break;
    case RESPOND_CAPPED:
        tell(a, SEVERITY_ALERT, f, v,
             "not begun, only alerted: `per_hour` devices were answered by rule in this hour. A "
             "false alarm, or an attack of many? `sallyport alerts`; `respond start` by hand");
        break;
    case RESPOND_FULL:
        tell(a, SEVERITY_ALERT, f, v, "not begun, only alerted: too many responses run");
        break;
    case RESPOND_NOTHING:
        break;
    }
}

void admin_respond(struct admin *a, const struct directory_version *v,
                   const struct detect_finding *found, const char *name)
{
    const struct directory_entry *e = directory_find(v, slice_text(name));
    struct respond_verdict verdicts[RESPOND_VERDICTS];
    /* A name is believed when the detector knew its number. */
    if (e == NULL || found->id != e->principal->id) {
        return;
    }
    const struct respond_finding f = {.detector = found->detector,
                                      .id = found->id,
                                      .name = slice_text(e->principal->name),
                                      .role = slice_text(e->principal->role)};
    size_t n = respond_ask(a->respond, &f, admin_wall_ms(a), verdicts);
    for (size_t i = 0; i < n; i++) {
        follow(a, &f, &verdicts[i], found->evidence);
    }
}

/* ---- ends ---- */

const struct directory_answer *admin_answer_find(const struct directory_version *v,
                                                 const struct respond_row *row,
                                                 const struct directory_entry **ret)
{
    const struct directory_entry *e = directory_find_id(v, row->principal);
    for (size_t i = 0; e != NULL && i < e->n_answers; i++) {
        if (e->answers[i].id == row->id) {
            *ret = e;
            return &e->answers[i];
        }
    }
    return NULL;
}

enum err admin_respond_end(struct admin *a, uint64_t token, const struct respond_row *row,
                           const char *what)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e = NULL;
    const struct directory_answer *x = admin_answer_find(v, row, &e);
    uint64_t id = row->id;
    if (x != NULL) {
        TRY(directory_answer_end(a->setup.directory, slice_text(e->principal->name), id));
        response_event(a, token, e->principal->name, x, what);
    }
    (void)respond_ended(a->respond, id); /* with its device, where that was removed */
    return OK;
}

int64_t admin_responses_end(struct admin *a)
{
    int64_t now = admin_wall_ms(a);
    const struct respond_row *row;
    bool changed = false;
    while ((row = respond_due(a->respond, now)) != NULL) {
        /* Whom it shuts out stays so while the disk refuses: it is tried again, with every tick. */
        if (admin_respond_end(a, 0, row, "its time is over, ended") != OK) {
            return now + RETRY_MS;
        }
        changed = true;
    }
    if (changed) {
        admin_push_realm(a);
    }
    return respond_next_end(a->respond);
}

/* ---- the start ---- */

static enum err take_back(struct admin *a, const struct directory_entry *e)
{
    for (size_t i = 0; i < e->n_answers; i++) {
        const struct directory_answer *x = &e->answers[i];
        const struct respond_row row = {.id = x->id,
                                        .principal = e->principal->id,
                                        .answer = x->kind,
                                        .since_wall_ms = x->since_wall_ms,
                                        .until_wall_ms = x->until_wall_ms,
                                        .is_by_rule = strncmp(x->by, "rule ", 5) == 0};
        TRY(respond_began(a->respond, &row));
    }
    return OK;
}

enum err admin_respond_begin(struct admin *a)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct directory_entry *e;
    size_t at = 0;
    TRY(respond_new(&a->respond));
    if (a->setup.responses != NULL) {
        respond_set_rules(a->respond, a->setup.responses);
    }
    while ((e = directory_next(v, &at)) != NULL) {
        TRY(take_back(a, e));
    }
    respond_restarted(a->respond);
    (void)admin_responses_end(a);
    return OK;
}

/* audit tail, anchor, roll-key; alerts */
#include "service/admin/admin_private.h"
#include "service/watch/anchor.h"

static enum err send_line(struct control_reply *reply, struct slice line)
{
    /* The trail's own lines: written by jansson, so they load again. */
    return control_line(reply, json_loadb((const char *)line.p, line.n, 0, NULL));
}

static enum err send_lines(const struct audit *audit, uint64_t from, struct control_reply *reply)
{
    for (uint64_t i = from; i < audit_end(audit); i++) {
        TRY(send_line(reply, audit_line(audit, i)));
    }
    return OK;
}

enum err verb_audit_tail(void *ctx, const struct control_request *r, uint64_t token,
                         struct control_reply *reply)
{
    struct admin *a = ctx;
    const struct audit *audit = a->setup.audit;
    int64_t asked = control_arg_number(r, "n", 100);
    uint64_t n = asked > 0 ? (uint64_t)asked : 0;
    uint64_t first = audit_first(audit);
    uint64_t end = audit_end(audit);
    TRY(send_lines(audit, end - first > n ? end - n : first, reply));
    if (!control_arg_flag(r, "follow")) {
        return control_finish(reply, 0, NULL);
    }
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (a->followers[i].token == 0) {
            a->followers[i] = (struct follower){.token = token, .next = end};
            reply->is_streaming = true;
            return OK;
        }
    }
    return ERR_LIMIT; /* there is a row for every connection */
}

static enum err send_anchor(const struct anchor *anchor, struct control_reply *reply)
{
    AUTO(buf_done) struct buf text = {0};
    TRY(anchor_encode(anchor, &text));
    TRY(send_line(reply, buf_slice(&text)));
    return control_finish(reply, 0, NULL);
}

enum err verb_audit_anchor(void *ctx, const struct control_request *r, uint64_t token,
                           struct control_reply *reply)
{
    struct admin *a = ctx;
    struct anchor anchor;
    (void)r;
    (void)token;
    enum err err = audit_anchor(a->setup.audit, &anchor);
    return err == OK ? send_anchor(&anchor, reply)
                     : admin_refuse(reply, "the audit trail", err, NULL);
}

enum err verb_audit_roll_key(void *ctx, const struct control_request *r, uint64_t token,
                             struct control_reply *reply)
{
    struct admin *a = ctx;
    struct anchor anchor;
    (void)r;
    enum err err = audit_roll_key(a->setup.audit, &anchor);
    if (err == OK) {
        admin_act(
            a, token, EVENT_credential_rotated, SEVERITY_NOTICE, "audit key",
            "another key signs the audit trail from here on; the old one has signed that, and "
            "is erased");
    }
    return err == OK ? send_anchor(&anchor, reply)
                     : admin_refuse(reply, "the audit key", err, NULL);
}

void admin_follow(struct admin *a)
{
    const struct audit *audit = a->setup.audit;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct follower *f = &a->followers[i];
        struct control_reply *reply =
            f->token != 0 ? control_server_reply(a->server, f->token) : NULL;
        if (reply == NULL) {
            f->token = 0;
            continue;
        }
        if (f->next == audit_end(audit)) {
            continue;
        }
        uint64_t first = audit_first(audit);
        if (send_lines(audit, f->next > first ? f->next : first, reply) != OK) {
            control_server_drop(a->server, f->token); /* it does not read */
            f->token = 0;
            continue;
        }
        f->next = audit_end(audit);
        control_server_flush(a->server, f->token);
    }
}

/* The same as the reason has, in parts, for who reads by program. */
static void set_finding(json_t *line, const struct alert *row)
{
    char evidence[4 * ALERTS_EVIDENCE_BYTES];
    if (row->finding.detector == NULL) {
        return;
    }
    admin_shown(slice_text(row->finding.evidence), evidence, sizeof evidence);
    (void)json_object_set_new(line, "detector", json_string(row->finding.detector));
    (void)json_object_set_new(line, "since", admin_time(row->first_wall_ms));
    (void)json_object_set_new(line, "evidence", json_string(evidence));
    (void)json_object_set_new(line, "answer", json_string(row->finding.answer));
}

static enum err alert_line(const struct alert *row, struct control_reply *reply)
{
    char last[CLOCK_ISO8601_BYTES], first[CLOCK_ISO8601_BYTES];
    char who[256];
    char reason[512];
    char text[1024];
    AUTO(buf_done) struct buf encoded = {0};
    admin_time_text(row->last.wall_ms, last);
    admin_time_text(row->first_wall_ms, first);
    TRY(audit_encode(&row->last, &encoded));
    json_t *line = json_loadb((const char *)encoded.p, encoded.n, 0, NULL);
    const char *name = row->last.principal;
    if (name[0] == '\0' && row->finding.detector != NULL) {
        name = row->last.peer; /* a stranger, whom only the address tells from others */
    }
    admin_shown(slice_text(name), who, sizeof who);
    admin_shown(slice_text(row->last.reason), reason, sizeof reason);
    snprintf(text, sizeof text, "%s  %s  %s  %llu times since %s  %s", last,
             event_category_name(row->last.category), who[0] != '\0' ? who : "-",
             (unsigned long long)row->count, first, reason);
    set_finding(line, row);
    (void)json_object_set_new(line, "first", admin_time(row->first_wall_ms));
    (void)json_object_set_new(line, "count", json_integer((json_int_t)row->count));
    (void)json_object_set_new(line, "text", json_string(text));
    return control_line(reply, line);
}

enum err verb_alerts(void *ctx, const struct control_request *r, uint64_t token,
                     struct control_reply *reply)
{
    struct admin *a = ctx;
    (void)r;
    (void)token;
    int64_t now = admin_wall_ms(a);
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    size_t at = 0;
    for (const struct directory_exception *x = admin_exception_next(v, &at, now); x != NULL;
         x = admin_exception_next(v, &at, now)) {
        char shown[512];
        admin_exception_text(x, shown, sizeof shown);
        json_t *line = admin_exception_json(x);
        (void)json_object_set_new(line, "category", json_string("exception"));
        (void)json_object_set_new(line, "severity", json_string("alert"));
        (void)json_object_set_new(line, "text", json_pack("s+", "in force: exception ", shown));
        TRY(control_line(reply, line));
    }
    at = 0;
    for (const struct alert *row = alerts_next(&a->alerts, &at, now); row != NULL;
         row = alerts_next(&a->alerts, &at, now)) {
        TRY(alert_line(row, reply));
    }
    return control_finish(reply, 0, NULL);
}

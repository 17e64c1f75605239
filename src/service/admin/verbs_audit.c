/* audit tail, alerts */
#include "service/admin/admin_private.h"

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

static enum err alert_line(const struct alert *row, struct control_reply *reply)
{
    char last[CLOCK_ISO8601_BYTES];
    char principal[256];
    char reason[512];
    char text[1024];
    AUTO(buf_done) struct buf encoded = {0};
    admin_time_text(row->last.wall_ms, last);
    TRY(audit_encode(&row->last, &encoded));
    json_t *line = json_loadb((const char *)encoded.p, encoded.n, 0, NULL);
    admin_shown(slice_text(row->last.principal), principal, sizeof principal);
    admin_shown(slice_text(row->last.reason), reason, sizeof reason);
    snprintf(text, sizeof text, "%s  %s  %s  %llu times  %s", last,
             event_category_name(row->last.category), principal[0] != '\0' ? principal : "-",
             (unsigned long long)row->count, reason);
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

/* retained list, purge, undo: one page of one worker's index at a time. A page that is purged is in
 * the undo record before it is cleared, so a crash loses neither. */
#include <inttypes.h>
#include <stdlib.h>

#include "core/topic.h"
#include "service/admin/admin_private.h"
#include "service/admin/undo.h"
#include "service/directory/policy_yaml.h"

enum { REPLY_ENOUGH = 1 << 20 /* waits for its reader: the next page comes later */ };

static struct inquiry *free_row(struct admin *a)
{
    for (size_t i = 0; i < COUNT_OF(a->inquiries); i++) {
        if (a->inquiries[i].browse == NULL) {
            return &a->inquiries[i];
        }
    }
    return NULL;
}

static bool is_changing(const struct admin *a)
{
    for (size_t i = 0; i < COUNT_OF(a->inquiries); i++) {
        if (a->inquiries[i].browse != NULL && a->inquiries[i].kind >= INQUIRY_PURGE) {
            return true;
        }
    }
    return false;
}

/* ---- begin ---- */

static enum err begin(struct admin *a, const struct inquiry *wish, struct slice filter,
                      struct control_reply *reply)
{
    static const struct topic_limits limits = {.bytes = 65535, .levels = POLICY_LEVELS_MAX};
    struct slice group, plain;
    if (topic_filter_check(filter, &limits) != OK || topic_share_split(filter, &group, &plain)) {
        return control_finish(reply, 1,
                              "that is no topic filter; write one like sensors/+/temperature or "
                              "sensors/#");
    }
    if (wish->kind >= INQUIRY_PURGE && is_changing(a)) {
        return control_finish(reply, 1, "another purge or undo is under way; wait for its end");
    }
    struct inquiry *q = free_row(a);
    if (q == NULL) {
        return control_finish(reply, 1, "too many look at retained messages; wait for their end");
    }
    struct browse *b = NULL;
    TRY(browse_begin(filter, &b));
    b->job = wish->kind == INQUIRY_UNDO ? BROWSE_RESTORE : BROWSE_LOOK;
    *q = *wish;
    q->browse = b;
    q->is_due = true;
    (void)slice_to_text(slice_head(filter, sizeof q->shown - 1), q->shown, sizeof q->shown);
    reply->is_streaming = true;
    return OK;
}

static struct slice filter_of(const struct control_request *r)
{
    const char *filter = control_arg_text(r, "filter");
    return slice_text(filter != NULL ? filter : "#");
}

enum err verb_retained_list(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct inquiry q = {.token = token,
                        .kind = control_arg_flag(r, "sum") ? INQUIRY_SUM : INQUIRY_LIST};
    return begin(ctx, &q, filter_of(r), reply);
}

enum err verb_retained_purge(void *ctx, const struct control_request *r, uint64_t token,
                             struct control_reply *reply)
{
    struct admin *a = ctx;
    struct inquiry q = {.token = token, .kind = INQUIRY_PURGE};
    if (control_arg_text(r, "filter") == NULL) {
        return control_finish(reply, 1, "say which: a topic filter like sensors/lab/#");
    }
    if (a->setup.keyring == NULL) {
        return control_finish(reply, 1, "this daemon has no store");
    }
    enum err err = is_changing(a) ? OK : undo_begin(&a->setup, &q.id);
    if (err != OK) {
        return admin_refuse(reply, "the undo record", err, NULL);
    }
    return begin(a, &q, filter_of(r), reply);
}

enum err verb_retained_undo(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct admin *a = ctx;
    struct inquiry q = {.token = token, .kind = INQUIRY_UNDO};
    int64_t id = control_arg_number(r, "id", 0);
    if (id <= 0 || a->setup.keyring == NULL || is_changing(a)) {
        return control_finish(reply, 1, "%s",
                              id <= 0 ? "say which: the number that `retained purge` printed"
                                      : "another purge or undo is under way; wait for its end");
    }
    undo_sweep(&a->setup);
    q.id = (uint64_t)id;
    if (!undo_has(&a->setup, q.id)) {
        return control_finish(reply, 1,
                              "there is no undo record %" PRId64 "; they are kept for a day, and "
                              "the last %d of them",
                              id, UNDO_KEPT);
    }
    return begin(a, &q, slice_text("#"), reply);
}

/* ---- pages ---- */

static const char *who(const struct directory_version *v, uint64_t id)
{
    if (id >> 63 != 0) {
        return "(anonymous)";
    }
    const struct directory_entry *e = directory_find_id(v, id);
    return e != NULL ? e->principal->name : "(removed)";
}

static enum err list_one(struct admin *a, const struct directory_version *v, const struct msg *m,
                         struct control_reply *reply)
{
    char topic[520], expires[CLOCK_ISO8601_BYTES] = "-", text[800];
    uint64_t now_ms = admin_now_ms(a);
    int64_t left = m->expires_at_ms > now_ms ? (int64_t)(m->expires_at_ms - now_ms) : 0;
    int64_t ends = m->expires_at_ms == UINT64_MAX ? 0 : admin_wall_ms(a) + left;
    admin_shown(m->topic, topic, sizeof topic);
    admin_time_text(ends, expires);
    snprintf(text, sizeof text, "%s  %zu bytes  %s  expires %s", topic, m->payload.n,
             who(v, m->publisher), expires);
    return control_line(reply, json_pack("{s:s%,s:I,s:I,s:s,s:i,s:s,s:s}", "topic",
                                         (const char *)m->topic.p, m->topic.n, "bytes",
                                         (json_int_t)m->payload.n, "memory_bytes",
                                         (json_int_t)msg_cost(m), "principal", who(v, m->publisher),
                                         "qos", (int)m->qos, "expires", expires, "text", text));
}

static enum err list_page(struct admin *a, struct inquiry *q, struct control_reply *reply)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    const struct browse *b = q->browse;
    for (size_t i = 0; i < b->n; i++) {
        q->n++;
        q->bytes += b->page[i]->payload.n;
        if (q->kind == INQUIRY_LIST) {
            TRY(list_one(a, v, b->page[i], reply));
        }
    }
    if (!b->is_end) {
        return OK;
    }
    q->is_done = true;
    if (q->kind == INQUIRY_SUM) {
        TRY(control_line(reply, json_pack("{s:I,s:I}", "messages", (json_int_t)q->n, "bytes",
                                          (json_int_t)q->bytes)));
    }
    return control_finish(reply, 0, NULL);
}

/* What was done is said also to the trail, and also when nobody waits for the answer any more. */
static enum err purged(struct admin *a, struct inquiry *q, struct control_reply *reply,
                       enum err err)
{
    q->is_done = true;
    bool is_cut = err != OK || reply == NULL;
    admin_act(a, reply != NULL ? q->token : 0, EVENT_config_change, SEVERITY_NOTICE, q->shown,
              "retained purge: %" PRIu64 " messages cleared%s; `sallyport retained undo %" PRIu64
              "` brings %" PRIu64 " of them back for a day",
              q->n, is_cut ? ", then it stopped" : "", q->id, q->kept);
    if (reply == NULL) {
        return OK;
    }
    if (q->n == 0 && err == OK) {
        TRY(control_line(reply, json_pack("{s:i,s:s}", "purged", 0, "text",
                                          "no retained message matches; nothing was purged")));
        return control_finish(reply, 0, NULL);
    }
    char text[160];
    snprintf(text, sizeof text,
             "%" PRIu64 " retained messages purged; `sallyport retained undo %" PRIu64
             "` brings them back for a day",
             q->n, q->id);
    TRY(control_line(reply,
                     json_pack("{s:I,s:I,s:I,s:s}", "purged", (json_int_t)q->n, "undo",
                               (json_int_t)q->id, "kept", (json_int_t)q->kept, "text", text)));
    return err == OK ? control_finish(reply, 0, NULL)
                     : control_finish(reply, 1, "it stopped there (%s); the rest is as it was",
                                      err_name(err));
}

static enum err purge_page(struct admin *a, struct inquiry *q, struct control_reply *reply)
{
    struct browse *b = q->browse;
    size_t kept = 0;
    q->n += b->n_done;
    if (b->err != OK || reply == NULL || (b->n == 0 && b->is_end)) {
        return purged(a, q, reply, b->err);
    }
    b->job = BROWSE_LOOK;
    if (b->n > 0) {
        enum err err = undo_save(&a->setup, q->id, ++q->part, b->page, b->n, &kept);
        if (err != OK) {
            return purged(a, q, reply, err);
        }
        q->kept += kept;
        b->job = BROWSE_CLEAR;
    }
    return OK;
}

static enum err restored(struct admin *a, struct inquiry *q, struct control_reply *reply,
                         enum err err)
{
    q->is_done = true;
    char target[32];
    snprintf(target, sizeof target, "%" PRIu64, q->id);
    admin_act(a, reply != NULL ? q->token : 0, EVENT_config_change, SEVERITY_NOTICE, target,
              "retained undo: %" PRIu64 " messages put back, %" PRIu64
              " not: their topics have a newer one, or their time is over",
              q->n, q->kept - q->n);
    if (err == OK && reply != NULL) {
        undo_drop(&a->setup, q->id);
    }
    if (reply == NULL) {
        return OK;
    }
    char text[160];
    snprintf(text, sizeof text,
             "%" PRIu64 " retained messages put back; %" PRIu64
             " not: their topics have a newer one, or their time is over",
             q->n, q->kept - q->n);
    TRY(control_line(reply, json_pack("{s:I,s:I,s:s}", "restored", (json_int_t)q->n, "passed_over",
                                      (json_int_t)(q->kept - q->n), "text", text)));
    return err == OK ? control_finish(reply, 0, NULL)
                     : control_finish(reply, 1, "it stopped there (%s); undo again goes on",
                                      err_name(err));
}

static enum err undo_page(struct admin *a, struct inquiry *q, struct control_reply *reply)
{
    struct browse *b = q->browse;
    q->n += b->n_done;
    if (b->err != OK || reply == NULL) {
        return restored(a, q, reply, b->err);
    }
    browse_clear(b);
    enum err err = undo_load(&a->setup, q->id, ++q->part, b->page, BROWSE_PAGE, &b->n);
    if (err != OK) {
        return restored(a, q, reply, err == ERR_NOT_FOUND ? OK : err);
    }
    q->kept += b->n;
    b->job = BROWSE_RESTORE;
    return OK;
}

static enum err take_page(struct admin *a, struct inquiry *q, struct control_reply *reply)
{
    switch (q->kind) {
    case INQUIRY_LIST:
    case INQUIRY_SUM:
        if (reply == NULL) {
            q->is_done = true;
            return OK;
        }
        return list_page(a, q, reply);
    case INQUIRY_PURGE:
        return purge_page(a, q, reply);
    case INQUIRY_UNDO:
        return undo_page(a, q, reply);
    }
    return OK;
}

static void hand_over(struct admin *a, struct inquiry *q)
{
    q->browse->is_over = q->is_done;
    q->is_due = broker_browse(a->setup.broker, q->browse) != OK;
    if (!q->is_due && q->is_done) {
        browse_unref(q->browse);
        *q = (struct inquiry){0};
    }
}

static void inquire(struct admin *a, struct inquiry *q)
{
    struct control_reply *reply = control_server_reply(a->server, q->token);
    if (q->is_due || !browse_is_ready(q->browse)) {
        if (q->is_due) {
            hand_over(a, q);
        }
        return;
    }
    if (reply != NULL && reply->bytes.n > REPLY_ENOUGH) {
        return;
    }
    enum err err = take_page(a, q, reply);
    if (err != OK) {
        control_server_drop(a->server, q->token); /* it does not read, or there is no memory */
        q->is_done = true;
    } else if (reply != NULL) {
        control_server_flush(a->server, q->token);
    }
    hand_over(a, q);
}

bool admin_inquire(struct admin *a)
{
    bool waits = false;
    for (size_t i = 0; i < COUNT_OF(a->inquiries); i++) {
        if (a->inquiries[i].browse != NULL) {
            inquire(a, &a->inquiries[i]);
            waits = waits || a->inquiries[i].browse != NULL;
        }
    }
    return waits;
}

void admin_inquiries_end(struct admin *a)
{
    for (size_t i = 0; i < COUNT_OF(a->inquiries); i++) {
        a->inquiries[i].browse = browse_unref(a->inquiries[i].browse);
    }
}

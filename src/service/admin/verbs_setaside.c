/* setaside list, replay, drop: every worker is asked, and the answer leaves when all have said what
 * they did, and it is on disk. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/mem.h"
#include "service/admin/admin_private.h"

enum {
    PAGE_ROWS = 500,
    PAGE_PAYLOADS = 8,           /* rows of a page that has payloads */
    PAYLOAD_BYTES_MAX = 1 << 20, /* of each, longer ones are cut */
    PAYLOAD_SHOWN = 200          /* bytes of the line for a person */
};

/* ---- one message ---- */

static const char *outcome_of(enum aside_fate f)
{
    return f == ASIDE_REPLAYED ? "replayed" : f == ASIDE_DROPPED ? "dropped" : "stays";
}

static json_t *row_json(const struct aside_row *r)
{
    char id[24], topic[512], client[4 * sizeof r->client_id];
    snprintf(id, sizeof id, "%" PRIu64, r->id);
    admin_shown(r->msg->topic, topic, sizeof topic);
    admin_shown(slice_text(r->client_id), client, sizeof client);
    return json_pack("{s:s,s:o,s:s,s:s,s:s,s:i,s:I,s:i,s:s}", "id", id, "time",
                     admin_time(r->since_wall_ms), "principal", r->principal, "client_id",
                     client[0] != '\0' ? client : "-", "topic", topic, "qos", (int)r->qos, "bytes",
                     (json_int_t)r->msg->payload.n, "sent", (int)r->n_tries, "why",
                     event_category_name((enum event_category)r->reason));
}

static enum err add_payload(json_t *line, struct slice payload, char *text, size_t cap)
{
    AUTO(buf_wipe) struct buf encoded = {0};
    struct slice part = slice_head(payload, PAYLOAD_BYTES_MAX);
    uint8_t *room;
    size_t at = strlen(text);
    TRY(buf_room(&encoded, BASE64_TEXT_BYTES(part.n) + 1, SIZE_MAX, &room));
    struct wr w = wr_into(room, BASE64_TEXT_BYTES(part.n));
    base64_encode(BASE64_PADDED, part, &w);
    TRY(w.err);
    (void)json_object_set_new(line, "payload_base64",
                              json_stringn((const char *)room, wr_slice(&w).n));
    (void)json_object_set_new(line, "payload_is_cut", json_boolean(part.n < payload.n));
    if (at + 2 < cap) {
        snprintf(text + at, cap - at, "  ");
        admin_shown(slice_head(payload, PAYLOAD_SHOWN), text + at + 2, cap - at - 2);
    }
    return OK;
}

static enum err list_row(const struct asking *q, const struct aside_row *r,
                         struct control_reply *reply)
{
    AUTO(admin_json_release) json_t *line = row_json(r);
    char text[2048];
    if (line == NULL) {
        return ERR_NOMEM;
    }
    snprintf(text, sizeof text,
             "%" PRIu64 "  %s  %s as %s  %s  QoS %u  %zu bytes  sent %u times  %s", r->id,
             json_string_value(json_object_get(line, "time")), r->principal,
             json_string_value(json_object_get(line, "client_id")),
             json_string_value(json_object_get(line, "topic")), (unsigned)r->qos, r->msg->payload.n,
             (unsigned)r->n_tries, event_category_name((enum event_category)r->reason));
    if (q->with_payload) {
        TRY(add_payload(line, r->msg->payload, text, sizeof text));
    }
    (void)json_object_set_new(line, "text", json_string(text));
    return control_line(reply, TAKE(line));
}

static enum err act_row(const struct aside_row *r, struct control_reply *reply)
{
    AUTO(admin_json_release) json_t *line = row_json(r);
    char text[1024];
    const char *fix = aside_fate_text(r->fate);
    if (line == NULL) {
        return ERR_NOMEM;
    }
    snprintf(text, sizeof text, "%" PRIu64 "  %s  %s%s%s", r->id, outcome_of(r->fate),
             json_string_value(json_object_get(line, "topic")), fix[0] != '\0' ? ": " : "", fix);
    (void)json_object_set_new(line, "outcome", json_string(outcome_of(r->fate)));
    (void)json_object_set_new(line, "reason", json_string(fix));
    (void)json_object_set_new(line, "text", json_string(text));
    return control_line(reply, TAKE(line));
}

/* Who did it, also when the asker has gone meanwhile. */
static void audit_row(struct admin *a, const struct asking *q, const struct aside_row *r)
{
    struct event e = q->act;
    EVENT_TEXT(&e, target, r->msg->topic);
    EVENT_TEXT(&e, client_id, slice_text(r->client_id));
    if (q->verb == ASIDE_LIST) {
        event_reason(&e, "the payload of message %" PRIu64 ", set aside for %s, was read", r->id,
                     r->principal);
    } else {
        event_reason(&e, "message %" PRIu64 ", set aside for %s: %s%s%s", r->id, r->principal,
                     outcome_of(r->fate), aside_fate_text(r->fate)[0] != '\0' ? ", because " : "",
                     aside_fate_text(r->fate));
    }
    admin_event(a, &e);
}

/* ---- the answers of all workers ---- */

void admin_asking_close(struct asking *q)
{
    for (unsigned i = 0; i < q->n; i++) {
        q->asks[i] = aside_ask_unref(q->asks[i]);
    }
    *q = (struct asking){0};
}

static bool is_answered(const struct asking *q)
{
    for (unsigned i = 0; i < q->n; i++) {
        if (!aside_ask_is_done(q->asks[i])) {
            return false;
        }
    }
    return true;
}

/* The next row of all, by id; *at has a place for each worker. */
static const struct aside_row *next_row(const struct asking *q, size_t at[BROKER_WORKERS_MAX])
{
    const struct aside_row *least = NULL;
    unsigned of = 0;
    for (unsigned i = 0; i < q->n; i++) {
        const struct aside_ask *ask = q->asks[i];
        if (aside_ask_is_done(ask) && at[i] < ask->n_rows &&
            (least == NULL || ask->rows[at[i]].id < least->id)) {
            least = &ask->rows[at[i]];
            of = i;
        }
    }
    if (least != NULL) {
        at[of]++;
    }
    return least;
}

static enum err finish_list(struct admin *a, const struct asking *q, struct control_reply *reply)
{
    size_t at[BROKER_WORKERS_MAX] = {0}, n = 0;
    bool has_more = false;
    const struct aside_row *r;
    uint64_t last = 0;
    for (unsigned i = 0; i < q->n; i++) {
        has_more = has_more || q->asks[i]->has_more;
    }
    while ((r = next_row(q, at)) != NULL) {
        if (n == q->most) {
            has_more = true;
            break;
        }
        if (q->with_payload) {
            audit_row(a, q, r);
        }
        TRY(list_row(q, r, reply));
        last = r->id;
        n++;
    }
    if (has_more) {
        char next[24];
        snprintf(next, sizeof next, "%" PRIu64, last);
        TRY(control_line(reply, json_pack("{s:s}", "next", next)));
    }
    return control_finish(reply, 0, NULL);
}

static enum err finish_act(const struct asking *q, bool is_whole, size_t n, size_t n_stay,
                           struct control_reply *reply)
{
    if (!is_whole) {
        return control_finish(reply, 1,
                              "after %d s not every worker had done it and had it on disk; it may "
                              "still happen. Look at `setaside list` and `alerts`",
                              ADMIN_REALM_WAIT_MS / 1000);
    }
    if (n == 0 && q->id != 0) {
        return control_finish(reply, 1, "no message %" PRIu64 " is set aside; see `setaside list`",
                              q->id);
    }
    if (n_stay == 1 && n == 1) {
        size_t at[BROKER_WORKERS_MAX] = {0};
        const struct aside_row *r = next_row(q, at);
        return control_finish(reply, 1, "message %" PRIu64 " stays: %s", r->id,
                              aside_fate_text(r->fate));
    }
    return n_stay > 0 ? control_finish(reply, 1, "%zu of %zu messages stay, as said", n_stay, n)
                      : control_finish(reply, 0, NULL);
}

/* reply NULL: who asked has gone; what was done is on record all the same. */
static enum err answer_act(struct admin *a, const struct asking *q, bool is_whole,
                           struct control_reply *reply)
{
    size_t at[BROKER_WORKERS_MAX] = {0}, n = 0, n_stay = 0;
    const struct aside_row *r;
    enum err err = OK;
    while ((r = next_row(q, at)) != NULL) {
        audit_row(a, q, r);
        err = err == OK && reply != NULL ? act_row(r, reply) : err;
        n_stay += r->fate >= ASIDE_NO_SESSION ? 1 : 0;
        n++;
    }
    return err == OK && reply != NULL ? finish_act(q, is_whole, n, n_stay, reply) : err;
}

static bool has_failed(const struct asking *q)
{
    for (unsigned i = 0; i < q->n; i++) {
        if (aside_ask_is_done(q->asks[i]) && q->asks[i]->err != OK) {
            return true;
        }
    }
    return false;
}

static enum err answer(struct admin *a, const struct asking *q, bool is_whole,
                       struct control_reply *reply)
{
    if (q->verb != ASIDE_LIST) {
        return answer_act(a, q, is_whole && !has_failed(q), reply);
    }
    if (reply == NULL) {
        return OK;
    }
    return is_whole && !has_failed(q)
               ? finish_list(a, q, reply)
               : control_finish(reply, 1, "not every worker answered within %d s; ask again",
                                ADMIN_REALM_WAIT_MS / 1000);
}

bool admin_answer_asking(struct admin *a, uint64_t now_ms)
{
    bool waits = false;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct asking *q = &a->asking[i];
        bool is_whole = q->token != 0 && is_answered(q);
        if (q->token == 0 || (!is_whole && now_ms < q->until_ms)) {
            waits = waits || q->token != 0;
            continue;
        }
        struct control_reply *reply = control_server_reply(a->server, q->token);
        if (answer(a, q, is_whole, reply) == OK) {
            control_server_flush(a->server, q->token);
        } else {
            control_server_drop(a->server, q->token);
        }
        admin_asking_close(q);
    }
    return waits;
}

/* ---- asking ---- */

static struct asking *asking_free_row(struct admin *a)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (a->asking[i].token == 0) {
            return &a->asking[i];
        }
    }
    return NULL;
}

static enum err ask_all(struct admin *a, struct asking *q, uint64_t after, const char *device)
{
    for (unsigned i = 0; i < broker_workers(a->setup.broker); i++) {
        struct aside_ask *ask = NULL;
        TRY(aside_ask_new(q->verb, &ask));
        ask->id = q->id;
        ask->after = after;
        ask->most = q->most;
        event_text(ask->principal, sizeof ask->principal, slice_text(device));
        q->asks[q->n++] = ask;
        TRY(broker_ask_aside(a->setup.broker, i, ask));
    }
    return OK;
}

static bool read_number(const char *text, uint64_t *ret)
{
    char *rest = NULL;
    if (text == NULL || text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret = strtoull(text, &rest, 10);
    return *rest == '\0';
}

static enum err begin(struct admin *a, const struct control_request *r, uint64_t token,
                      struct control_reply *reply, const struct asking *wanted, uint64_t after)
{
    struct asking *q = asking_free_row(a);
    const char *device = control_arg_text(r, "device");
    if (q == NULL) {
        return ERR_LIMIT; /* there is a row for every connection; those of who left, a little on */
    }
    if (device != NULL) {
        AUTO(admin_version_release)
        const struct directory_version *v = directory_current(a->setup.directory);
        if (directory_find(v, slice_text(device)) == NULL) {
            struct slice shown = slice_head(slice_text(device), PRINCIPAL_NAME_MAX);
            return control_finish(reply, 1, "there is no device %.*s; see `device list`",
                                  SLICE_ARG(shown));
        }
    }
    *q = *wanted;
    q->act = admin_act_make(a, token, EVENT_poison_message, SEVERITY_NOTICE, "setaside");
    enum err err = ask_all(a, q, after, device != NULL ? device : "");
    if (err != OK && q->verb == ASIDE_LIST) {
        admin_asking_close(q);
        return control_finish(reply, 1, "a worker has no room for the question now; ask again");
    }
    /* What was asked so far is done, so it is waited for and told. */
    q->token = token;
    q->until_ms = err == OK ? admin_now_ms(a) + ADMIN_REALM_WAIT_MS : admin_now_ms(a);
    reply->is_streaming = true;
    return OK;
}

enum err verb_setaside_list(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    struct asking q = {.verb = ASIDE_LIST, .with_payload = control_arg_flag(r, "payload")};
    const char *from = control_arg_text(r, "after");
    size_t most = q.with_payload ? PAGE_PAYLOADS : PAGE_ROWS;
    int64_t wanted = control_arg_number(r, "limit", (int64_t)most);
    uint64_t after = 0;
    if (wanted < 1 || (from != NULL && !read_number(from, &after))) {
        return control_finish(reply, 1, "limit is a number above 0, after the id of a message");
    }
    q.most = wanted < (int64_t)most ? (size_t)wanted : most;
    return begin(ctx, r, token, reply, &q, after);
}

static enum err act(struct admin *a, const struct control_request *r, uint64_t token,
                    struct control_reply *reply, enum aside_verb verb)
{
    struct asking q = {.verb = verb};
    const char *id = control_arg_text(r, "id");
    bool is_all = id != NULL && slice_is(slice_text(id), "all");
    if (!is_all && (!read_number(id, &q.id) || q.id == 0)) {
        return control_finish(reply, 1,
                              "a message that was set aside is named by its number, or "
                              "all; see `setaside list`");
    }
    return begin(a, r, token, reply, &q, 0);
}

enum err verb_setaside_replay(void *ctx, const struct control_request *r, uint64_t token,
                              struct control_reply *reply)
{
    return act(ctx, r, token, reply, ASIDE_REPLAY);
}

enum err verb_setaside_drop(void *ctx, const struct control_request *r, uint64_t token,
                            struct control_reply *reply)
{
    return act(ctx, r, token, reply, ASIDE_DROP);
}

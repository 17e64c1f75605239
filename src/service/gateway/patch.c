/* PATCH and iPATCH of a topic: a merge patch, or a patch pack (etch.c), on the retained value. It
 * is a GET and a PUT in one turn, with the permissions of both, and nothing between them. SPEC:
 * RFC8132 3, RFC7396. */
#include "base/buf.h"
#include "service/gateway/door_private.h"
#include "wire/json/merge_patch.h"

/* May it read the value, and say another? No rate of publishing is spent yet. */
static bool is_allowed(const struct request *rq)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct decision why;
    uint8_t qos = rq->m->type == COAP_CON ? 1 : 0;
    enum err err = passage_subscribe(a->account, NULL, rq->path.text, false, &why);
    if (err == OK) {
        enum passage_retain wish =
            worker_retain_wish(d->setup.worker, a->account, rq->path.text, true, d->now_ms);
        err = passage_will(a->account, rq->path.text, qos, wish, 0, &why);
    }
    if (err != OK) {
        request_refuse_by_passage(rq, err, &why, 0);
        return false;
    }
    if (!bucket_take(&a->reads, 1, d->now_ms)) {
        count_limit(d->setup.counters, LIMIT_replay_rate);
        request_refuse_rate(rq, EVENT_rate, bucket_wait_ms(&a->reads, 1, d->now_ms),
                            "it reads faster than replay_rate of its role");
        return false;
    }
    return true;
}

/* SPEC: RFC8132 3.4 */
static bool is_merge_patch(const struct request *rq)
{
    enum err err = merge_patch_check(rq->m->payload);
    switch ((unsigned)err) {
    case OK:
        return true;
    case ERR_TOO_LARGE:
        request_refuse_size(rq, MERGE_PATCH_BYTES_MAX, "its patch is too large");
        return false;
    case ERR_LIMIT:
    case ERR_EXISTS:
        request_refuse(rq, EVENT_protocol_error, COAP_UNPROCESSABLE,
                       err == ERR_EXISTS ? "the patch has a name twice"
                                         : "the patch is too deep, or has too many names",
                       err == ERR_EXISTS ? "its patch has a name twice"
                                         : "its patch is too deep, or has too many names");
        return false;
    default:
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, "the patch is not JSON in UTF-8",
                       "its patch is not JSON in UTF-8. Fix the client");
        return false;
    }
}

/* Whoever says nothing of the format may have said JSON: many MQTT clients do not tell. */
static bool may_be_json(const struct msg *m)
{
    uint16_t format = value_format(m);
    return format == COAP_FORMAT_JSON || format == COAP_FORMAT_TEXT || format == UINT16_MAX;
}

bool patch_find(const struct request *rq, const struct msg **ret)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct worker *w = d->setup.worker;
    const struct msg *m = worker_retained(w, a->account, rq->path.text, d->now_ms);
    if (m == NULL && worker_retained(w, NULL, rq->path.text, d->now_ms) != NULL) {
        /* It would be overwritten by a part of itself. */
        request_refuse(rq, EVENT_acl_deny, COAP_FORBIDDEN, "not granted",
                       "the value is of another segment, which it does not hear");
        return false;
    }
    *ret = m;
    return true;
}

/* The value that is patched, empty when there is none. */
static bool find_target(const struct request *rq, struct slice *ret)
{
    const struct msg *m = NULL;
    if (!patch_find(rq, &m)) {
        return false;
    }
    if (m != NULL && m->payload.n > MERGE_TARGET_BYTES_MAX) {
        request_refuse(rq, EVENT_quota, COAP_UNPROCESSABLE,
                       "the value is too large to be patched: PUT it whole",
                       "the value is over 16 KiB: that is not patched");
        return false;
    }
    if (m != NULL && (!may_be_json(m) || json_check(m->payload) != OK)) {
        request_refuse(rq, EVENT_protocol_error, COAP_CONFLICT,
                       "the value is not JSON that can be patched: PUT it whole",
                       "the value that it patches is not JSON, or too deep");
        return false;
    }
    *ret = m != NULL ? m->payload : (struct slice){0};
    return true;
}

static void merge(const struct request *rq)
{
    static const struct content json = {COAP_FORMAT_JSON, true};
    AUTO(buf_done) struct buf merged = {0};
    struct slice target = {0};
    uint8_t *room = NULL;
    if (!is_merge_patch(rq) || !find_target(rq, &target)) {
        return;
    }
    size_t most = target.n + rq->m->payload.n + 1;
    if (buf_room(&merged, most, most, &room) != OK) {
        request_refuse_unavailable(&rq->asker);
        return;
    }
    struct wr w = wr_into(room, most);
    merge_patch(target, rq->m->payload, &w);
    if (!wr_ok(&w)) { /* there is room for all that can come out */
        request_refuse_unavailable(&rq->asker);
        return;
    }
    request_publish(rq, true, wr_slice(&w), &json, COAP_CHANGED);
}

void patch_serve(const struct request *rq)
{
    uint32_t format = UINT16_MAX;
    if (!is_allowed(rq) || !request_is_met(rq)) {
        return;
    }
    (void)coap_options_find_uint(rq->m->options, COAP_OPTION_CONTENT_FORMAT, &format);
    if (format == COAP_FORMAT_MERGE_PATCH) {
        merge(rq);
    } else if (etch_find(format) != NULL) {
        etch_patch(rq, etch_find(format));
    } else {
        request_refuse(rq, EVENT_protocol_error, COAP_UNSUPPORTED_FORMAT,
                       "a patch is merge-patch+json (52), " ETCH_FORMATS,
                       "its patch is not application/merge-patch+json (52), " ETCH_FORMATS);
    }
}

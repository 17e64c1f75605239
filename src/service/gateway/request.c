/* What a request means: the topic space under /mq, and the permission to anything beside it. */
#include "base/utf8.h"
#include "service/gateway/door_private.h"

/* ---- conditions ---- */

/* Does the topic have a value that one of the ETags names, or with an empty one, any value?
 * SPEC: RFC7252 5.10.8.1 */
static bool has_match(const struct request *rq, const struct msg *m)
{
    struct coap_options it = coap_options_from(rq->m->options);
    struct coap_option o;
    uint8_t etag[ETAG_BYTES];
    if (m != NULL) {
        value_etag(rq->asker.a->door, m, etag);
    }
    while (m != NULL && coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_IF_MATCH &&
            (o.value.n == 0 || slice_equal(o.value, slice_of(etag, sizeof(etag))))) {
            return true;
        }
    }
    return false;
}

bool request_is_met(const struct request *rq)
{
    struct coap_door *d = rq->asker.a->door;
    struct slice ignored;
    if (coap_message_lacks(rq->m, COAP_OPTION_IF_MATCH) &&
        coap_message_lacks(rq->m, COAP_OPTION_IF_NONE_MATCH)) {
        return true;
    }
    bool wants_match = coap_options_find(rq->m->options, COAP_OPTION_IF_MATCH, &ignored);
    bool wants_none = coap_options_find(rq->m->options, COAP_OPTION_IF_NONE_MATCH, &ignored);
    if (!wants_match && !wants_none) {
        return true;
    }
    const struct msg *m = worker_retained(d->setup.worker, NULL, rq->path.text, d->now_ms);
    if ((wants_none && m != NULL) || (wants_match && !has_match(rq, m))) {
        (void)answer_text(&rq->asker, COAP_PRECONDITION_FAILED,
                          wants_match ? "the value is another" : "there is a value");
        return false;
    }
    return true;
}

/* ---- PUT, POST, DELETE ---- */

/* Text must be text, by whichever door it comes. */
static bool content_ok(const struct request *rq, struct content *ret)
{
    uint32_t format = UINT16_MAX;
    struct content c = {.format = UINT16_MAX};
    if (coap_options_find_uint(rq->m->options, COAP_OPTION_CONTENT_FORMAT, &format)) {
        c.format = (uint16_t)format;
    }
    if (c.format == COAP_FORMAT_TEXT || c.format == COAP_FORMAT_JSON) {
        if (utf8_check(rq->m->payload, UTF8_MQTT, NULL) != OK) {
            request_refuse(rq, EVENT_utf8, COAP_BAD_REQUEST,
                           "the payload is not the UTF-8 that its format promises",
                           "the payload is not the UTF-8 that its Content-Format promises; nothing "
                           "was published. Fix the client, or let it say 42");
            return false;
        }
        c.is_utf8 = true;
    }
    *ret = c;
    return true;
}

static enum err make_msg(const struct request *rq, const struct content *c, bool retain,
                         struct msg **ret)
{
    const struct coap_door *d = rq->asker.a->door;
    struct msg *m = NULL;
    uint8_t props[160];
    uint32_t max_age;
    struct slice written = value_props(c->format, c->is_utf8, props, sizeof(props));
    TRY(msg_new(rq->path.text, written, rq->m->payload, &m));
    m->qos = rq->m->type == COAP_CON ? 1 : 0;
    m->retain = retain;
    m->is_utf8 = c->is_utf8;
    m->content_format = c->format;
    if (!coap_message_lacks(rq->m, COAP_OPTION_MAX_AGE) &&
        coap_options_find_uint(rq->m->options, COAP_OPTION_MAX_AGE, &max_age)) {
        m->expires_at_ms = d->now_ms + (uint64_t)max_age * 1000;
    }
    *ret = m;
    return OK;
}

/* The answer leaves when the message is where it must be. */
static void route(const struct request *rq, struct msg *m, uint8_t code)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct ticket *t = NULL;
    bool is_done = false;
    enum err err = ticket_new(&rq->asker, ++d->next_cookie, NULL, &t);
    if (err == ERR_LIMIT) {
        msg_unref(m);
        request_refuse_rate(rq, EVENT_quota, 0, "too many of its requests wait for an answer");
        return;
    }
    if (err != OK) {
        msg_unref(m);
        request_refuse_unavailable(&rq->asker);
        return;
    }
    t->code = code;
    err = worker_publish(d->setup.worker, a->account, m, t->cookie, d->now_ms, &is_done);
    if (err != OK) {
        ticket_free(t);
        request_refuse_unrouted(rq, err);
    } else if (is_done) {
        ticket_committed(t);
    }
}

void request_publish(const struct request *rq, bool retain, struct slice payload,
                     const struct content *said, uint8_t code)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    uint8_t qos = rq->m->type == COAP_CON ? 1 : 0;
    const struct msg *before = worker_retained(d->setup.worker, NULL, rq->path.text, d->now_ms);
    enum passage_retain wish =
        worker_retain_wish(d->setup.worker, a->account, rq->path.text, retain, d->now_ms);
    struct content content = said != NULL ? *said : (struct content){0};
    struct decision why;
    struct msg *m = NULL;
    count_add(qos == 0 ? &d->setup.counters->received_qos0 : &d->setup.counters->received_qos1, 1);
    enum err err =
        passage_publish(a->account, rq->path.text, qos, wish, payload.n, d->now_ms, &why);
    if (err != OK) {
        request_refuse_by_passage(rq, err, &why,
                                  bucket_wait_ms(&a->account->publishes, 1, d->now_ms));
        return;
    }
    if ((said == NULL && !content_ok(rq, &content)) || !request_is_met(rq)) {
        return;
    }
    if (!a->has_published) {
        a->has_published = true;
        request_allowed(rq, "first publish of this association");
    }
    struct coap_message bare = *rq->m;
    struct request wanted = *rq;
    bare.payload = payload;
    wanted.m = &bare;
    if (make_msg(&wanted, &content, retain, &m) != OK) {
        request_refuse_unavailable(&rq->asker);
        return;
    }
    /* SPEC: RFC7252 5.8.3: 2.01 when the resource is new */
    bool is_new = retain && code == COAP_CHANGED && before == NULL;
    if (said == NULL) { /* a pack that was patched has the times of others, too */
        worker_clock(d->setup.worker, a->account, content.format, payload, d->now_ms);
    }
    route(rq, m, is_new ? COAP_CREATED : code);
}

static void put(const struct request *rq)
{
    if (rq->m->payload.n == 0) {
        request_refuse(rq, EVENT_protocol_error, COAP_BAD_REQUEST,
                       "an empty value would clear the topic: use DELETE",
                       "an empty value would clear the topic: DELETE is for that");
        return;
    }
    request_publish(rq, true, rq->m->payload, NULL, COAP_CHANGED);
}

/* ---- GET ---- */

static bool is_acceptable(const struct asker *asker, const struct msg *m)
{
    uint16_t format = m != NULL ? value_format(m) : UINT16_MAX;
    if (!asker->has_accept || m == NULL) {
        return true;
    }
    return format == UINT16_MAX ? asker->accept == COAP_FORMAT_OCTETS : asker->accept == format;
}

bool asker_has(const struct asker *asker, const uint8_t etag[ETAG_BYTES])
{
    for (size_t i = 0; i < asker->n_etags; i++) {
        if (memcmp(etag, asker->etags[i], ETAG_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

uint8_t topic_read(const struct asker *asker, struct slice topic, bool observes)
{
    struct coap_door *d = asker->a->door;
    const struct msg *m = worker_retained(d->setup.worker, asker->a->account, topic, d->now_ms);
    struct watch *w = watch_find(asker->a, topic);
    struct value v;
    uint8_t etag[ETAG_BYTES];
    bool is_rest = asker->has_block2 && asker->block2.number > 0;
    const struct msg *passing = is_rest && w != NULL ? passing_find(w, etag) : NULL;
    if (passing != NULL && worker_may_hear(d->setup.worker, asker->a->account, passing)) {
        value_of(d, passing, etag, &v);
        return answer_send(asker, &v.answer);
    }
    if (w != NULL && !observes) {
        passing_drop(w); /* a new transfer, of what is retained */
    }
    if (m == NULL && !observes) {
        return answer_text(asker, COAP_NOT_FOUND, "no value is retained");
    }
    if (!is_acceptable(asker, m)) {
        return answer_text(asker, COAP_NOT_ACCEPTABLE, "the value has another Content-Format");
    }
    if (m != NULL) {
        value_etag(d, m, etag);
        if (asker_has(asker, etag)) {
            value_valid(d, m, etag, &v);
            return answer_send(asker, &v.answer);
        }
    }
    value_of(d, m, m != NULL && m->number != 0 ? etag : NULL, &v);
    return answer_send(asker, &v.answer);
}

bool request_reads(const struct request *rq, bool is_free)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct decision why;
    enum err err = passage_subscribe(a->account, NULL, rq->path.text, false, &why);
    if (err != OK) {
        request_refuse_by_passage(rq, err, &why, 0);
        return false;
    }
    if (!is_free && !bucket_take(&a->reads, 1, d->now_ms)) {
        count_limit(d->setup.counters, LIMIT_replay_rate);
        request_refuse_rate(rq, EVENT_rate, bucket_wait_ms(&a->reads, 1, d->now_ms),
                            "it reads faster than replay_rate of its role");
        return false;
    }
    return request_is_met(rq);
}

static void get(const struct request *rq)
{
    /* The rest of what was notified is no wish to observe once more. SPEC: RFC7959 2.6 */
    bool is_rest = rq->asker.has_block2 && rq->asker.block2.number > 0;
    /* Small blocks are no dearer than large ones, or who reads in small ones gets no large value.
     */
    bool is_free = is_rest && coap_block_offset(rq->asker.block2) % COAP_BLOCK_BYTES_MAX != 0;
    if (!request_reads(rq, is_free)) {
        return;
    }
    if (rq->observe == COAP_OBSERVE_REGISTER && !is_rest) {
        watch_request(rq);
    } else {
        (void)topic_read(&rq->asker, rq->path.text, false);
    }
}

/* ---- what is asked for ---- */

static void serve_topic(const struct request *rq)
{
    switch (rq->m->code) {
    case COAP_GET:
        get(rq);
        break;
    case COAP_PUT:
        put(rq);
        break;
    case COAP_POST:
        request_publish(rq, false, rq->m->payload, NULL, COAP_CHANGED);
        break;
    case COAP_DELETE:
        request_publish(rq, true, (struct slice){0}, NULL, COAP_DELETED);
        break;
    case COAP_PATCH:
    case COAP_IPATCH:
        patch_serve(rq);
        break;
    case COAP_FETCH:
        etch_fetch(rq);
        break;
    default:
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED,
                       "a topic takes GET, PUT, POST, DELETE, FETCH, PATCH and iPATCH",
                       "a topic takes GET, PUT, POST, DELETE, FETCH, PATCH and iPATCH");
        break;
    }
}

unsigned request_method_bit(uint8_t code)
{
    static const unsigned bits[] = {
        [COAP_GET] = METHOD_GET,       [COAP_POST] = METHOD_POST,   [COAP_PUT] = METHOD_PUT,
        [COAP_DELETE] = METHOD_DELETE, [COAP_FETCH] = METHOD_FETCH, [COAP_PATCH] = METHOD_PATCH,
        [COAP_IPATCH] = METHOD_IPATCH};
    return code < COUNT_OF(bits) ? bits[code] : 0;
}

/* Permission first: whoever may not go there learns nothing of what is there. */
static void serve_other(const struct request *rq)
{
    struct decision why;
    unsigned method = request_method_bit(rq->m->code);
    if (method == 0) {
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED, "unknown method",
                       "the method is not known here");
        return;
    }
    enum err err = passage_resource(rq->asker.a->account, rq->path.text, method, &why);
    if (err != OK) {
        request_refuse_by_passage(rq, err, &why, 0);
        return;
    }
    if (!enrol_serve(rq) && !lookup_serve(rq)) {
        (void)answer_text(&rq->asker, COAP_NOT_FOUND, "there is no such resource");
    }
}

static void refuse_path(const struct request *rq, enum err err, const char *why)
{
    switch ((unsigned)err) {
    case ERR_UTF8:
        request_refuse(rq, EVENT_utf8, COAP_BAD_REQUEST, why, why);
        break;
    case ERR_DENIED:
        request_refuse(rq, EVENT_acl_deny, COAP_BAD_REQUEST, why, why);
        break;
    case ERR_TOO_LARGE:
    case ERR_LIMIT:
        request_refuse(rq, EVENT_quota, COAP_BAD_REQUEST, why, why);
        break;
    default:
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, why, why);
        break;
    }
}

/* Who forwards counts it down, and none leaves at 0. SPEC: RFC8768 3 */
static bool has_hops(const struct request *rq)
{
    struct coap_options it = coap_options_from(rq->m->options);
    struct coap_option o;
    if (coap_message_lacks(rq->m, COAP_OPTION_HOP_LIMIT)) {
        return true;
    }
    while (coap_options_next(&it, &o) && o.number <= COAP_OPTION_HOP_LIMIT) {
        if (o.number == COAP_OPTION_HOP_LIMIT) {
            return o.value.n == 1 && o.value.p[0] != 0;
        }
    }
    return true;
}

/* Does the policy ask that it is said now, and is it not shown? Blocks between the first and the
 * last of a body say nothing by themselves. SPEC: RFC9175 2.3 */
static bool is_stale(const struct request *rq)
{
    const struct association *a = rq->asker.a;
    struct coap_block block = {.number = 0};
    bool reads = rq->m->code == COAP_GET || rq->m->code == COAP_FETCH;
    if (rq->path.kind != DOOR_PATH_TOPIC || reads || a->endpoint == NULL) {
        return false; /* without an endpoint it came by a stream, which keeps the order */
    }
    if (!coap_message_lacks(rq->m, COAP_OPTION_BLOCK1) &&
        coap_block_find(rq->m->options, COAP_OPTION_BLOCK1, &block) == OK && block.number > 0 &&
        block.has_more) {
        return false;
    }
    uint32_t least_s = grants_freshness(&a->account->grants, rq->path.text);
    return least_s > 0 && rq->echo_age_ms > (uint64_t)least_s * 1000;
}

/* Nothing was done of it, and the same with this Echo will be. */
static void ask_for_echo(const struct request *rq)
{
    const struct coap_door *d = rq->asker.a->door;
    count_add(&d->setup.counters->refused_stale, 1);
    if (coap_endpoint_challenge(rq->asker.a->endpoint, rq->asker.exchange, d->now_ms) != OK) {
        request_refuse_unavailable(&rq->asker);
    }
}

static void serve(struct request *rq)
{
    if (proxy_takes(rq->asker.a, rq->m->options)) {
        proxy_serve(rq);
        return;
    }
    const struct limits *l = rq->asker.a->door->setup.limits;
    struct topic_limits limits = {l->topic_bytes, l->topic_levels};
    uint8_t text[DOOR_PATH_BYTES];
    const char *why = "";
    enum err err = door_path_read(rq->m->options, &limits, text, &rq->path, &why);
    if (err != OK) {
        refuse_path(rq, err, why);
        return;
    }
    if (!has_hops(rq)) {
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, "Hop-Limit is from 1 to 255",
                       "its Hop-Limit is not from 1 to 255");
        return;
    }
    if (is_stale(rq)) {
        ask_for_echo(rq);
        return;
    }
    AUTO(buf_done) struct buf kept = {0};
    struct coap_message whole;
    if (!blocks_take(rq, &whole, &kept)) {
        return;
    }
    switch (rq->path.kind) {
    case DOOR_PATH_TOPIC:
        serve_topic(rq);
        break;
    case DOOR_PATH_CORE:
        discovery_serve(rq);
        break;
    case DOOR_PATH_EST:
        est_serve(rq);
        break;
    case DOOR_PATH_OTHER:
        serve_other(rq);
        break;
    }
}

static struct asker asker_of(struct association *a, const struct coap_event *ev)
{
    struct asker asker = {.a = a, .exchange = ev->id};
    struct slice options = ev->m.options;
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    bool has_etags = !coap_message_lacks(&ev->m, COAP_OPTION_ETAG);
    asker.has_accept = !coap_message_lacks(&ev->m, COAP_OPTION_ACCEPT) &&
                       coap_options_find_uint(options, COAP_OPTION_ACCEPT, &asker.accept);
    if (coap_message_lacks(&ev->m, COAP_OPTION_NO_RESPONSE) ||
        !coap_options_find_uint(options, COAP_OPTION_NO_RESPONSE, &asker.quiet)) {
        asker.quiet = 0;
    }
    while (has_etags && asker.n_etags < ETAGS_MAX && coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_ETAG && o.value.n == ETAG_BYTES) {
            memcpy(asker.etags[asker.n_etags++], o.value.p, ETAG_BYTES);
        }
    }
    asker.token_n = (uint8_t)ev->m.token.n;
    if (ev->m.token.n > 0) {
        memcpy(asker.token, ev->m.token.p, ev->m.token.n);
    }
    return asker;
}

/* Of a topic, or of something at another server. */
static void observation_ended(struct association *a, uint64_t key, bool is_lost)
{
    looker_ended(a, key, is_lost);
    if (a->side != NULL) {
        proxy_looker_ended(a, key);
    }
}

void request_serve(struct association *a, const struct coap_event *ev)
{
    if (ev->has_ended) {
        observation_ended(a, ev->key, false);
    }
    switch (ev->kind) {
    case COAP_EVENT_REQUEST: {
        struct request rq = {.asker = asker_of(a, ev),
                             .m = &ev->m,
                             .observe = ev->observe,
                             .echo_age_ms = ev->echo_age_ms};
        serve(&rq);
        break;
    }
    case COAP_EVENT_RESET:
    case COAP_EVENT_GIVE_UP:
        if (ev->about == COAP_ABOUT_OBSERVATION) {
            observation_ended(a, ev->key, ev->kind == COAP_EVENT_GIVE_UP);
        }
        errand_event(a, ev);
        break;
    case COAP_EVENT_RESPONSE:
        errand_event(a, ev);
        break;
    case COAP_EVENT_NONE:
        break;
    }
}

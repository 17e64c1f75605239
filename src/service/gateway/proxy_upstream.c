/* The other servers: what was asked of them and for whom, their answers, time. */
#include "base/mem.h"
#include "service/gateway/proxy.h"

struct slice upstream_key(const void *value)
{
    const struct upstream *u = value;
    return net_peer_key(&u->peer);
}

/* ---- answers to the client ---- */

void proxy_respond(const struct asker *asker, const struct coap_answer *answer)
{
    struct association *a = asker->a;
    uint64_t now_ms = a->door->now_ms;
    enum err err;
    if (coap_is_unwanted(asker->quiet, answer->code)) {
        err = coap_endpoint_drop(a->endpoint, asker->exchange, now_ms);
    } else {
        err = coap_endpoint_respond(a->endpoint, asker->exchange, answer, now_ms);
        if (err == ERR_TOO_LARGE) {
            struct coap_answer small = {.code = COAP_BAD_GATEWAY};
            err = coap_endpoint_respond(a->endpoint, asker->exchange, &small, now_ms);
        }
    }
    if (err == ERR_NOMEM) {
        count_add(&a->door->setup.counters->dropped_memory, 1);
    }
}

static void respond_text(const struct asker *asker, uint8_t code, const char *text)
{
    struct coap_answer answer = {.code = code, .payload = slice_text(text)};
    proxy_respond(asker, &answer);
}

void proxy_respond_cached(const struct asker *asker, const struct coap_cached *kept,
                          bool knows_etag)
{
    uint8_t bytes[COAP_FORWARD_BYTES], age[4], etag[16];
    struct slice source = kept->options;
    uint64_t now_ms = asker->a->door->now_ms;
    uint64_t left_s = kept->fresh_until_ms > now_ms ? (kept->fresh_until_ms - now_ms) / 1000 : 0;
    struct coap_answer answer = {.code = knows_etag ? COAP_VALID : COAP_CONTENT,
                                 .payload = knows_etag ? (struct slice){0} : kept->payload};
    if (knows_etag) { /* SPEC: RFC7252 5.9.1.3: nothing but the ETag and the age */
        struct coap_option_writer e = coap_option_writer_into(etag, sizeof(etag));
        coap_option_add(&e, COAP_OPTION_ETAG, kept->etag);
        enum err err = coap_option_writer_done(&e, &source);
        (void)err; /* 8 bytes at most: they fit */
    }
    struct wr number = wr_into(age, sizeof(age));
    wr_u32(&number, (uint32_t)left_s);
    struct slice value = wr_slice(&number);
    while (value.n > 0 && value.p[0] == 0) {
        value = slice_from(value, 1);
    }
    struct coap_option_writer w = coap_option_writer_into(bytes, sizeof(bytes));
    coap_option_add_merged(&w, source, COAP_OPTION_MAX_AGE, value);
    if (coap_option_writer_done(&w, &answer.options) != OK) {
        answer.options = kept->options;
    }
    proxy_respond(asker, &answer);
}

/* ---- relays ---- */

static struct relay *relay_free(struct relay *r)
{
    list_unlink(&r->in_upstream);
    list_unlink(&r->in_association);
    r->upstream->n_relays--;
    buf_done(&r->name);
    buf_done(&r->what);
    return mem_free(r);
}

/* What is on its way to the server is not repeated; a notification that comes gets a Reset. */
static void relay_end(struct relay *r)
{
    coap_endpoint_forget(r->upstream->endpoint, r->request);
    relay_free(r);
}

static struct relay *find_request(const struct upstream *u, uint32_t id)
{
    list_for_each (n, &u->relays) {
        struct relay *r = LIST_ENTRY(n, struct relay, in_upstream);
        if (r->request == id) {
            return r;
        }
    }
    return NULL;
}

static uint64_t owner_of(const struct relay *r)
{
    return r->asker.a->account->principal->id;
}

/* ---- upstreams ---- */

static struct upstream *upstream_free(struct upstream *u)
{
    if (u != NULL) {
        coap_endpoint_free(u->endpoint);
        mem_free(u);
    }
    return NULL;
}

static void upstream_remove(struct upstream *u)
{
    struct proxy *p = u->proxy;
    wheel_cancel(&p->wheel, &u->timer);
    list_unlink(&u->by_use);
    (void)map_remove(&p->upstreams, upstream_key(u));
    upstream_free(u);
}

static void touch(struct upstream *u)
{
    u->used_at_ms = u->proxy->door->now_ms;
    list_unlink(&u->by_use);
    list_append(&u->proxy->by_use, &u->by_use);
}

/* The one that nobody waits for and was used longest ago goes. */
static bool make_room(struct proxy *p)
{
    if (p->upstreams.n < PROXY_UPSTREAMS_MAX) {
        return true;
    }
    list_for_each (n, &p->by_use) {
        struct upstream *u = LIST_ENTRY(n, struct upstream, by_use);
        if (u->n_relays == 0) {
            upstream_remove(u);
            return true;
        }
    }
    return false;
}

static enum err upstream_new(struct proxy *p, const struct net_peer *peer, struct upstream **ret)
{
    struct coap_door *d = p->door;
    if (!make_room(p)) {
        return ERR_LIMIT;
    }
    struct upstream *u = mem_zalloc(sizeof(*u));
    if (u == NULL) {
        return ERR_NOMEM;
    }
    u->peer = *peer;
    u->proxy = p;
    list_init(&u->relays);
    struct coap_endpoint_setup setup = {.limits = &p->limits,
                                        .counters = &p->counts,
                                        .peer = net_peer_key(&u->peer),
                                        .seed = random_u64(&d->setup.random),
                                        .proven = true};
    enum err err = coap_endpoint_new(&setup, d->now_ms, &u->endpoint);
    if (err == OK) {
        err = map_add(&p->upstreams, u);
    }
    if (err != OK) {
        upstream_free(u);
        return err;
    }
    list_append(&p->by_use, &u->by_use);
    *ret = u;
    return OK;
}

static enum err upstream_get(struct proxy *p, const struct net_peer *peer, struct upstream **ret)
{
    struct upstream *u = map_find(&p->upstreams, net_peer_key(peer));
    if (u == NULL) {
        TRY(upstream_new(p, peer, &u));
    }
    touch(u);
    *ret = u;
    return OK;
}

static void upstream_arm(struct upstream *u)
{
    struct proxy *p = u->proxy;
    uint64_t now_ms = p->door->now_ms, at = coap_endpoint_deadline(u->endpoint);
    list_for_each (n, &u->relays) {
        const struct relay *r = LIST_ENTRY(n, struct relay, in_upstream);
        at = r->deadline_ms < at ? r->deadline_ms : at;
    }
    if (u->n_relays == 0) {
        uint64_t idle = u->used_at_ms + PROXY_IDLE_MS;
        at = idle < at ? idle : at;
    }
    wheel_arm(&p->wheel, &u->timer, at > now_ms ? at : now_ms + 1);
}

static void upstream_serve(struct upstream *u)
{
    struct coap_door *d = u->proxy->door;
    uint8_t out[COAP_MESSAGE_BYTES];
    size_t n;
    while ((n = coap_endpoint_output(u->endpoint, out, sizeof(out))) > 0) {
        d->setup.ask(d->setup.ctx, &u->peer, slice_of(out, n));
    }
    upstream_arm(u);
}

/* ---- sending ---- */

static void unavailable(const struct proxy_order *o, const char *why)
{
    count_add(&o->rq->asker.a->door->setup.counters->proxy_refused, 1);
    request_refuse_busy(o->rq, why);
}

static bool has_room(const struct proxy_order *o, const struct upstream *u)
{
    uint64_t owner = o->rq->asker.a->account->principal->id;
    size_t own = 0;
    list_for_each (n, &u->relays) {
        own += owner_of(LIST_ENTRY(n, struct relay, in_upstream)) == owner ? 1 : 0;
    }
    if (u->n_relays >= PROXY_REQUESTS_MAX || own >= PROXY_REQUESTS_OF_ONE_MAX) {
        unavailable(o, own >= PROXY_REQUESTS_OF_ONE_MAX
                           ? "as many of its requests as may already wait for that server"
                           : "too many requests already wait for that server");
        return false;
    }
    return true;
}

/* Many servers know a body only by our address: one client's blocks at a time. */
static bool may_upload(const struct proxy_order *o, struct upstream *u)
{
    const struct association *a = o->rq->asker.a;
    if (!o->is_upload) {
        return true;
    }
    if (u->upload_owner != a->id && u->upload_until_ms > a->door->now_ms) {
        unavailable(o, "another client sends that server a body in blocks just now");
        return false;
    }
    u->upload_owner = a->id;
    u->upload_until_ms = a->door->now_ms + PROXY_UPLOAD_MS;
    return true;
}

static enum err relay_new(struct upstream *u, const struct proxy_order *o, struct relay **ret)
{
    struct association *a = o->rq->asker.a;
    const struct proxy *p = u->proxy;
    struct sidework *side = association_side(a);
    struct relay *r = side != NULL ? mem_zalloc(sizeof(*r)) : NULL;
    if (r == NULL) {
        association_fit_side(a);
        return ERR_NOMEM;
    }
    r->upstream = u;
    r->asker = o->rq->asker;
    r->deadline_ms = p->door->now_ms + p->rules->wait_ms;
    r->wants_observe = o->wants_observe;
    r->is_oscore = o->is_oscore;
    r->may_cache = o->name.n > 0;
    r->knows_etag = o->knows_etag;
    r->changes = !o->is_oscore && o->rq->m->code != COAP_GET && o->rq->m->code != COAP_FETCH;
    r->is_upload = o->is_upload;
    r->is_last_block = o->is_last_block;
    r->method = o->method;
    r->resource = o->resource;
    if (o->path != NULL) {
        memcpy(r->path, o->path->path, sizeof(r->path)); /* rules may change meanwhile */
    }
    r->etag_n = (uint8_t)o->etag.n;
    slice_copy(r->etag, slice_head(o->etag, sizeof(r->etag)));
    list_append(&u->relays, &r->in_upstream);
    list_append(&side->relays, &r->in_association);
    u->n_relays++;
    enum err err = buf_append(&r->name, o->name, PROXY_KEY_BYTES);
    if (err == OK) {
        err = buf_append(&r->what, o->what, PROXY_WHAT_BYTES);
    }
    if (err != OK) {
        relay_free(r);
        return err;
    }
    *ret = r;
    return OK;
}

static enum err start(struct upstream *u, const struct proxy_order *o)
{
    struct relay *r = NULL;
    struct coap_request request = {.confirmable = o->rq->m->type == COAP_CON,
                                   .code = o->rq->m->code,
                                   .options = o->options,
                                   .payload = o->rq->m->payload};
    TRY(relay_new(u, o, &r));
    enum err err =
        coap_endpoint_request(u->endpoint, &request, u->proxy->door->now_ms, &r->request);
    if (err != OK) {
        relay_free(r);
    }
    return err;
}

void proxy_send(struct proxy *p, const struct proxy_order *o)
{
    struct upstream *u = NULL;
    enum err err = upstream_get(p, &o->to, &u);
    if (err == ERR_LIMIT) {
        unavailable(o, "too many servers are asked by the proxy just now");
        return;
    }
    if (err == OK && (!has_room(o, u) || !may_upload(o, u))) {
        upstream_arm(u);
        return;
    }
    if (err == OK) {
        err = start(u, o);
        upstream_serve(u);
    }
    if (err == ERR_TOO_LARGE) {
        count_add(&p->door->setup.counters->proxy_refused, 1);
        request_refuse_size(o->rq, p->limits.datagram_bytes,
                            "with what a proxy adds it does not fit one datagram; let it send "
                            "smaller blocks");
    } else if (err != OK) {
        request_refuse_unavailable(&o->rq->asker);
    }
}

/* ---- answers of the server ---- */

/* Its place in our paths. */
static struct slice location_of(const struct relay *r, uint8_t *dst, size_t cap)
{
    struct coap_option_writer w = coap_option_writer_into(dst, cap);
    struct slice rest, ret = {0};
    bool more = r->path[0] != '\0';
    rest = more ? slice_from(slice_text(r->path), 1) : (struct slice){0};
    while (more) {
        coap_option_add(&w, COAP_OPTION_LOCATION_PATH, slice_cut(&rest, '/', &more));
    }
    return coap_option_writer_done(&w, &ret) == OK ? ret : (struct slice){0};
}

static void keep(const struct relay *r, const struct coap_answer *answer)
{
    struct proxy *p = r->upstream->proxy;
    uint8_t bytes[COAP_FORWARD_BYTES];
    struct coap_option_writer w = coap_option_writer_into(bytes, sizeof(bytes));
    struct coap_options it = coap_options_from(answer->options);
    struct coap_option o;
    struct slice options, ignored;
    uint32_t age_s = PROXY_MAX_AGE_S;
    (void)coap_options_find_uint(answer->options, COAP_OPTION_MAX_AGE, &age_s);
    while (coap_options_next(&it, &o)) {
        if (o.number != COAP_OPTION_MAX_AGE) {
            coap_option_add(&w, o.number, o.value);
        }
    }
    /* Of what came in blocks, old and new ones would be mixed. */
    if (coap_options_find(answer->options, COAP_OPTION_OSCORE, &ignored) ||
        coap_options_find(answer->options, COAP_OPTION_BLOCK2, &ignored) ||
        coap_option_writer_done(&w, &options) != OK) {
        return;
    }
    if (answer->code != COAP_CONTENT || age_s == 0) {
        coap_cache_drop(&p->cache, owner_of(r), buf_slice(&r->name));
        return;
    }
    coap_cache_put(&p->cache, owner_of(r), buf_slice(&r->name), r->resource, options,
                   answer->payload, p->door->now_ms + (uint64_t)age_s * 1000);
}

/* The server says that what is kept is still right. True: the client has its answer. */
static bool confirm(const struct relay *r, const struct coap_answer *answer)
{
    struct proxy *p = r->upstream->proxy;
    struct slice etag;
    uint32_t age_s = PROXY_MAX_AGE_S;
    if (answer->code != COAP_VALID || r->etag_n == 0 ||
        !coap_options_find(answer->options, COAP_OPTION_ETAG, &etag) ||
        !slice_equal(etag, slice_of(r->etag, r->etag_n))) {
        return false;
    }
    struct coap_cached *kept = coap_cache_find(&p->cache, owner_of(r), buf_slice(&r->name));
    if (kept == NULL || !slice_equal(kept->etag, etag)) {
        if (!r->knows_etag) {
            respond_text(&r->asker, COAP_UNAVAILABLE, "ask again");
        }
        return !r->knows_etag;
    }
    (void)coap_options_find_uint(answer->options, COAP_OPTION_MAX_AGE, &age_s);
    kept->fresh_until_ms = p->door->now_ms + (uint64_t)age_s * 1000;
    proxy_respond_cached(&r->asker, kept, r->knows_etag);
    return true;
}

/* The token observes something else from now on. */
static void end_same_token(const struct relay *r)
{
    struct association *a = r->asker.a;
    struct slice token = slice_of(r->asker.token, r->asker.token_n);
    list_for_each_safe (n, next, &a->side->relays) { /* r itself is in it */
        struct relay *other = LIST_ENTRY(n, struct relay, in_association);
        if (other != r && other->key != 0 &&
            slice_equal(token, slice_of(other->asker.token, other->asker.token_n))) {
            struct upstream *u = other->upstream;
            relay_end(other);
            upstream_arm(u);
        }
    }
}

/* The first answer. Gives whether more will follow. */
static bool answer_first(struct relay *r, const struct coap_answer *answer, bool is_notification)
{
    struct association *a = r->asker.a;
    struct coap_door *d = a->door;
    if (is_notification && r->wants_observe) {
        uint64_t key = ++d->next_key;
        if (coap_endpoint_observe(a->endpoint, r->asker.exchange, key, d->now_ms) == OK) {
            end_same_token(r);
            r->key = key;
            r->asker.quiet = 0;
        }
    }
    if (r->changes && coap_code_is_success(answer->code)) {
        coap_cache_changed(&r->upstream->proxy->cache, r->resource);
    }
    if (r->may_cache && confirm(r, answer)) {
        return false;
    }
    if (r->may_cache && answer->code != COAP_VALID) {
        keep(r, answer);
    }
    proxy_respond(&r->asker, answer);
    r->deadline_ms = UINT64_MAX;
    return r->key != 0;
}

/* A later one. A server that goes on no more without saying why leaves the client to ask again. */
static bool answer_more(struct relay *r, const struct coap_answer *answer, bool is_notification)
{
    struct association *a = r->asker.a;
    struct coap_answer last = {.code = COAP_UNAVAILABLE};
    bool is_end = !is_notification;
    const struct coap_answer *told = is_end && coap_code_is_success(answer->code) ? &last : answer;
    enum err err = coap_endpoint_notify(a->endpoint, r->key, told, a->door->now_ms);
    if (err == ERR_TOO_LARGE) {
        last.code = COAP_BAD_GATEWAY;
        err = coap_endpoint_notify(a->endpoint, r->key, &last, a->door->now_ms);
        is_end = true;
    }
    if (err == ERR_NOMEM) {
        count_add(&a->door->setup.counters->dropped_memory, 1);
        return !is_end;
    }
    return err == OK && !is_end;
}

static void take_answer(struct relay *r, const struct coap_message *m, bool is_notification)
{
    uint8_t options[COAP_FORWARD_BYTES], where[PROXY_PATH_BYTES * 2];
    struct association *a = r->asker.a;
    struct coap_answer answer = {.code = m->code, .payload = m->payload};
    uint16_t number = 0;
    if (coap_forward_answer(m->options, location_of(r, where, sizeof(where)), options,
                            &answer.options, &number) != OK) {
        answer = (struct coap_answer){.code = COAP_BAD_GATEWAY,
                                      .payload = slice_text("an option that must not go back")};
        is_notification = false;
    }
    if (r->is_upload && r->upstream->upload_owner == a->id &&
        (r->is_last_block || !coap_code_is_success(answer.code))) {
        r->upstream->upload_until_ms = 0;
    }
    bool goes_on = r->key == 0 ? answer_first(r, &answer, is_notification)
                               : answer_more(r, &answer, is_notification);
    if (!goes_on) {
        relay_end(r);
    }
    association_serve(a);
}

/* Nothing came, or a Reset. */
static void take_failure(struct relay *r, uint8_t code, const char *text)
{
    struct association *a = r->asker.a;
    if (r->key == 0) {
        respond_text(&r->asker, code, text);
    } else {
        struct coap_answer answer = {.code = code};
        enum err err = coap_endpoint_notify(a->endpoint, r->key, &answer, a->door->now_ms);
        (void)err; /* the client asks again when its Max-Age is over */
    }
    relay_end(r);
    association_serve(a);
}

static void take_silence(struct relay *r)
{
    struct counters *c = r->asker.a->door->setup.counters;
    count_add(&c->proxy_silent, 1);
    take_failure(r, COAP_GATEWAY_TIMEOUT, "the server behind the proxy does not answer");
}

static void take_event(struct upstream *u, const struct coap_event *ev)
{
    struct relay *r = ev->kind != COAP_EVENT_NONE ? find_request(u, ev->id) : NULL;
    if (r == NULL || ev->about != COAP_ABOUT_REQUEST) {
        return;
    }
    switch (ev->kind) {
    case COAP_EVENT_RESPONSE:
        take_answer(r, &ev->m, ev->is_notification);
        break;
    case COAP_EVENT_RESET:
        take_failure(r, COAP_BAD_GATEWAY, "the server behind the proxy rejects it");
        break;
    case COAP_EVENT_GIVE_UP:
        take_silence(r);
        break;
    case COAP_EVENT_REQUEST:
    case COAP_EVENT_NONE:
        break;
    }
}

void coap_door_upstream(struct coap_door *d, const struct net_peer *peer, struct slice bytes,
                        uint64_t now_ms)
{
    struct coap_event ev;
    door_enter(d, now_ms);
    struct upstream *u =
        d->proxy != NULL ? map_find(&d->proxy->upstreams, net_peer_key(peer)) : NULL;
    if (u == NULL) {
        count_add(&d->setup.counters->proxy_strays, 1);
    } else if (coap_endpoint_datagram(u->endpoint, bytes, d->now_ms, &ev) != OK) {
        count_add(&d->setup.counters->dropped_memory, 1);
    } else {
        take_event(u, &ev);
        upstream_serve(u);
    }
    door_leave(d);
}

/* ---- time, and the end ---- */

/* Anew each time: telling one client may end its association, and so others in the list. */
static struct relay *find_late(const struct upstream *u, uint64_t now_ms)
{
    list_for_each (n, &u->relays) {
        struct relay *r = LIST_ENTRY(n, struct relay, in_upstream);
        if (now_ms >= r->deadline_ms) {
            return r;
        }
    }
    return NULL;
}

static void upstream_tick(struct upstream *u)
{
    struct coap_door *d = u->proxy->door;
    struct coap_event ev = {.kind = COAP_EVENT_NONE};
    do {
        if (coap_endpoint_tick(u->endpoint, d->now_ms, &ev) != OK) {
            count_add(&d->setup.counters->dropped_memory, 1);
            break;
        }
        take_event(u, &ev);
    } while (ev.kind != COAP_EVENT_NONE);
    struct relay *late;
    while ((late = find_late(u, d->now_ms)) != NULL) {
        take_silence(late);
    }
    if (u->n_relays == 0 && d->now_ms >= u->used_at_ms + PROXY_IDLE_MS) {
        upstream_remove(u);
    } else {
        upstream_serve(u);
    }
}

void proxy_upstreams_turn(struct proxy *p)
{
    struct timer *t;
    wheel_advance(&p->wheel, p->door->now_ms);
    while ((t = wheel_next(&p->wheel)) != NULL) {
        upstream_tick(CONTAINER_OF(t, struct upstream, timer));
    }
}

void proxy_upstreams_recheck(struct proxy *p)
{
    struct coap_door *d = p->door;
    size_t at = 0;
    struct upstream *u;
    door_enter(d, d->now_ms);
    while ((u = map_next(&p->upstreams, &at)) != NULL) {
        struct list_node *n;
        while ((p->rules == NULL || !proxy_rules_reach(p->rules, &u->peer)) &&
               (n = list_first(&u->relays)) != NULL) {
            take_failure(LIST_ENTRY(n, struct relay, in_upstream), COAP_FORBIDDEN, "not granted");
        }
        upstream_arm(u);
    }
    door_leave(d);
}

void proxy_upstreams_done(struct proxy *p)
{
    struct list_node *n;
    while ((n = list_first(&p->by_use)) != NULL) {
        upstream_remove(LIST_ENTRY(n, struct upstream, by_use));
    }
}

void proxy_turn(struct coap_door *d)
{
    if (d->proxy != NULL) {
        proxy_upstreams_turn(d->proxy);
    }
}

uint64_t proxy_deadline(const struct coap_door *d)
{
    return d->proxy != NULL ? wheel_deadline(&d->proxy->wheel) : UINT64_MAX;
}

/* ---- what becomes of associations ---- */

void proxy_left(struct association *a)
{
    struct list_node *n;
    while (a->side != NULL && (n = list_first(&a->side->relays)) != NULL) {
        struct relay *r = LIST_ENTRY(n, struct relay, in_association);
        struct upstream *u = r->upstream;
        if (u->upload_owner == a->id) {
            u->upload_until_ms = 0;
        }
        relay_end(r);
        upstream_arm(u);
    }
}

size_t proxy_bytes(const struct association *a)
{
    size_t n = 0;
    list_for_each (node, &a->side->relays) {
        const struct relay *r = LIST_ENTRY(node, struct relay, in_association);
        n += sizeof(*r) + r->name.cap + r->what.cap;
    }
    return n;
}

void proxy_looker_ended(struct association *a, uint64_t key)
{
    list_for_each_safe (n, next, &a->side->relays) {
        struct relay *r = LIST_ENTRY(n, struct relay, in_association);
        if (r->key == key && key != 0) {
            struct upstream *u = r->upstream;
            relay_end(r);
            upstream_arm(u);
        }
    }
}

void proxy_recheck(struct association *a)
{
    list_for_each_safe (n, next, &a->side->relays) {
        struct relay *r = LIST_ENTRY(n, struct relay, in_association);
        struct decision why;
        if (r->key == 0 ||
            passage_resource(a->account, buf_slice(&r->what), r->method, &why) == OK) {
            continue;
        }
        struct event e = association_event(a, EVENT_acl_deny);
        EVENT_TEXT(&e, target, buf_slice(&r->what));
        event_reason(&e, "the observation through the proxy ended with the new policy: %s",
                     why.rule);
        count_add(&a->door->setup.counters->refused_denied, 1);
        door_report(a->door, &e);
        struct coap_answer answer = {.code = COAP_FORBIDDEN, .payload = slice_text("not granted")};
        enum err err = coap_endpoint_notify(a->endpoint, r->key, &answer, a->door->now_ms);
        struct upstream *u = r->upstream;
        if (err != OK) {
            coap_endpoint_unobserve(a->endpoint, r->key);
        }
        relay_end(r);
        upstream_arm(u);
    }
}

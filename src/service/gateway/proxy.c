/* What a request asks of a proxy, and whether it may: rules, policy, rate, cache. */
#include "service/gateway/proxy.h"

#include "base/mem.h"

/* ---- life ---- */

enum err proxy_open(struct coap_door *d)
{
    struct coap_cache_limits cache = {.entries = PROXY_CACHE_ENTRIES,
                                      .owner_entries = PROXY_CACHE_OF_ONE_ENTRIES,
                                      .bytes = PROXY_CACHE_BYTES,
                                      .owner_bytes = PROXY_CACHE_OF_ONE_BYTES};
    if (d->setup.ask == NULL || d->setup.entrance->is_oscore) {
        return OK;
    }
    struct proxy *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return ERR_NOMEM;
    }
    p->door = d;
    p->rules = d->setup.proxy;
    p->limits = coap_limits_default();
    p->limits.n_exchanges = 0; /* nobody there asks anything of us */
    p->limits.n_requests = PROXY_REQUESTS_MAX;
    p->limits.n_transmissions = PROXY_REQUESTS_MAX;
    p->limits.max_retransmit = PROXY_RETRANSMIT_MAX;
    p->limits.dedup_entries = PROXY_SEEN_MAX;
    p->limits.passes_back = true;
    map_init(&p->upstreams, &d->setup.key, upstream_key);
    list_init(&p->by_use);
    wheel_init(&p->wheel, d->now_ms);
    coap_cache_init(&p->cache, &cache, &d->setup.key);
    d->proxy = p;
    d->coap.passes_on = true;
    return OK;
}

void proxy_done(struct coap_door *d)
{
    struct proxy *p = d->proxy;
    if (p != NULL) {
        proxy_upstreams_done(p);
        map_done(&p->upstreams);
        coap_cache_done(&p->cache);
        d->proxy = mem_free(p);
    }
}

void proxy_follow(struct coap_door *d, const struct proxy_rules *rules)
{
    if (d->proxy != NULL) {
        d->proxy->rules = rules;
        proxy_upstreams_recheck(d->proxy);
        (void)coap_cache_shed(&d->proxy->cache);
    }
}

size_t proxy_shed(struct coap_door *d)
{
    return d->proxy != NULL ? coap_cache_shed(&d->proxy->cache) : 0;
}

/* ---- is it the proxy's? ---- */

static const struct proxy_target *named(const struct proxy_rules *r, struct slice options)
{
    struct slice host;
    bool has = coap_options_find(options, COAP_OPTION_URI_HOST, &host);
    return has ? proxy_rules_name(r, host) : NULL;
}

bool proxy_takes(const struct association *a, struct slice options)
{
    const struct proxy_rules *r = a->door->proxy != NULL ? a->door->proxy->rules : NULL;
    if (r == NULL) {
        return false;
    }
    return (r->n_targets > 0 && coap_forward_is_asked(options)) || named(r, options) != NULL ||
           proxy_rules_path(r, options, NULL) != NULL;
}

/* ---- where to ---- */

/* A request on its way to a decision. */
struct route {
    struct net_peer to;
    const struct proxy_target *name; /* it was named so; NULL: by its address */
    const struct proxy_path *path;   /* NULL: it was named, or asked for by its address */
    bool is_secure, is_oscore;
    struct slice uri; /* Uri-Host, Uri-Path, Uri-Query there */
    struct slice host;
    uint16_t port;
    struct slice what; /* what the policy is asked for */
    uint8_t read[COAP_FORWARD_BYTES], written[COAP_FORWARD_BYTES], text[PROXY_WHAT_BYTES];
};

static void refuse(const struct request *rq, enum event_category category, uint8_t code,
                   const char *text, const char *why)
{
    count_add(&rq->asker.a->door->setup.counters->proxy_refused, 1);
    request_refuse(rq, category, code, text, why);
}

static bool refuse_read(const struct request *rq, enum err err)
{
    if (err == ERR_UNSUPPORTED) {
        refuse(rq, EVENT_probe, COAP_PROXYING_NOT_SUPPORTED, "the proxy speaks coap only",
               "it was to go on by another scheme than coap, which this proxy does not speak");
    } else {
        refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, "no URI that a proxy could ask for",
               "its Proxy-Uri, or Proxy-Scheme with Uri-Host, is no URI");
    }
    return false;
}

/* An address as it is, or a name of the rules. */
static bool find_address(const struct request *rq, struct route *r)
{
    const struct proxy_rules *rules = rq->asker.a->door->proxy->rules;
    char text[NET_PEER_TEXT_BYTES + 8];
    bool is_v6 = slice_find(r->host, ':') != r->host.n;
    r->name = proxy_rules_name(rules, r->host);
    if (r->name != NULL && r->name->port == r->port) {
        r->to = proxy_target_peer(r->name);
        return true;
    }
    int n = snprintf(text, sizeof(text), is_v6 ? "[%.*s]:%u" : "%.*s:%u",
                     SLICE_ARG(slice_head(r->host, NET_PEER_TEXT_BYTES)), (unsigned)r->port);
    r->name = NULL;
    if (n < 0 || r->host.n > NET_PEER_TEXT_BYTES || (size_t)n >= sizeof(text) ||
        net_peer_parse(slice_text(text), &r->to) != OK) {
        refuse(rq, EVENT_probe, COAP_PROXYING_NOT_SUPPORTED,
               "names are not looked up here: write an address",
               "it was to go on to a name that proxy.targets does not have, and names are not "
               "looked up");
        return false;
    }
    if (!proxy_rules_allow(rules, &r->to)) {
        refuse(rq, EVENT_acl_deny, COAP_FORBIDDEN, "not granted",
               "proxy.targets in sallyport.yaml does not list this address and port");
        return false;
    }
    return true;
}

static bool by_uri(const struct request *rq, struct route *r)
{
    struct coap_forward f;
    enum err err = coap_forward_read(rq->m->options, r->read, &f);
    if (err != OK) {
        return refuse_read(rq, err);
    }
    if (f.secure) {
        return refuse_read(rq, ERR_UNSUPPORTED);
    }
    r->host = f.host;
    r->port = f.port;
    r->uri = f.uri;
    return find_address(rq, r);
}

/* Uri-Path but for the first `skip` segments, and Uri-Query, of the request. */
static enum err own_uri(const struct request *rq, size_t skip, struct route *r)
{
    struct coap_options it = coap_options_from(rq->m->options);
    struct coap_option_writer w = coap_option_writer_into(r->read, sizeof(r->read));
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        bool is_path = o.number == COAP_OPTION_URI_PATH;
        if (is_path && skip > 0) {
            skip--;
        } else if (is_path || o.number == COAP_OPTION_URI_QUERY) {
            coap_option_add(&w, o.number, o.value);
        }
    }
    return coap_option_writer_done(&w, &r->uri);
}

/* Requests that say nothing of a proxy: a name, or a path of ours, that is another server's. */
static bool by_own(const struct request *rq, struct route *r)
{
    const struct proxy_rules *rules = rq->asker.a->door->proxy->rules;
    size_t skip = 0;
    r->name = named(rules, rq->m->options);
    if (r->name != NULL) {
        r->to = proxy_target_peer(r->name);
    } else {
        r->path = proxy_rules_path(rules, rq->m->options, &skip);
        r->to = r->path->to;
    }
    return own_uri(rq, skip, r) == OK || refuse_read(rq, ERR_MALFORMED);
}

/* A server with a name hears it. */
static enum err add_name(struct route *r)
{
    struct coap_option_writer w = coap_option_writer_into(r->written, sizeof(r->written));
    if (r->name == NULL) {
        return OK;
    }
    coap_option_add(&w, COAP_OPTION_URI_HOST, slice_text(r->name->name));
    coap_option_add_block(&w, r->uri);
    return coap_option_writer_done(&w, &r->uri);
}

/* ---- may it? ---- */

/* "coap://192.0.2.1:5683/a/b", or "/line2/a/b" for a path of ours. Under OSCORE nobody sees the
 * path, so all of the server is asked for. */
static bool name_it(const struct request *rq, struct route *r)
{
    struct wr w = wr_into(r->text, sizeof(r->text));
    char peer[NET_PEER_TEXT_BYTES];
    const char *why = "the path is too long";
    if (r->path == NULL) {
        net_peer_text(&r->to, peer);
        wr_bytes(&w, slice_text("coap://"));
        wr_bytes(&w, slice_text(r->name != NULL ? r->name->name : peer));
    } else {
        wr_bytes(&w, slice_text(r->path->path));
    }
    enum err err = r->is_oscore ? OK : door_path_text(r->uri, &w, &why);
    if (err != OK || !wr_ok(&w)) {
        refuse(rq, err == ERR_UTF8 ? EVENT_utf8 : EVENT_malformed, COAP_BAD_REQUEST, why, why);
        return false;
    }
    r->what = wr_slice(&w);
    return true;
}

static bool is_granted(const struct request *rq, const struct route *r)
{
    struct association *a = rq->asker.a;
    struct decision why;
    enum err err = passage_resource(a->account, r->what, request_method_bit(rq->m->code), &why);
    if (err != OK) {
        count_add(&a->door->setup.counters->proxy_refused, 1);
        request_refuse_by_passage(rq, err, &why, 0);
        return false;
    }
    if (!bucket_take(&a->reads, 1, a->door->now_ms)) {
        count_add(&a->door->setup.counters->proxy_refused, 1);
        count_limit(a->door->setup.counters, LIMIT_replay_rate);
        request_refuse_rate(rq, EVENT_rate, bucket_wait_ms(&a->reads, 1, a->door->now_ms),
                            "it asks the proxy faster than replay_rate of its role");
        return false;
    }
    if (!a->has_proxied) {
        a->has_proxied = true;
        request_allowed(rq, "first request of this association through the proxy");
    }
    return true;
}

/* ---- what goes on ---- */

static uint64_t resource_of(const struct proxy *p, const struct route *r)
{
    uint8_t bytes[sizeof(r->to) + COAP_FORWARD_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_bytes(&w, net_peer_key(&r->to));
    wr_bytes(&w, r->uri);
    return siphash(&p->door->setup.key, wr_slice(&w));
}

/* What an answer is kept under, beside the principal. Which ETags the client has and how far the
 * request may go make no other answer. SPEC: RFC7252 5.6 */
static struct slice cache_name(const struct route *r, struct slice options,
                               uint8_t dst[PROXY_KEY_BYTES])
{
    struct wr w = wr_into(dst, PROXY_KEY_BYTES);
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    wr_bytes(&w, net_peer_key(&r->to));
    while (coap_options_next(&it, &o)) {
        if (o.number != COAP_OPTION_ETAG && o.number != COAP_OPTION_HOP_LIMIT &&
            !coap_option_is_no_cache_key(o.number)) {
            wr_u16(&w, o.number);
            wr_block16(&w, o.value);
        }
    }
    return wr_ok(&w) ? wr_slice(&w) : (struct slice){0};
}

static bool knows_etag(struct slice options, struct slice etag)
{
    struct coap_options it = coap_options_from(options);
    struct coap_option o;
    while (etag.n > 0 && coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_ETAG && slice_equal(o.value, etag)) {
            return true;
        }
    }
    return false;
}

/* Blocks of two clients must not become one body at the server. SPEC: RFC9175 3.5 */
static void make_tag(const struct request *rq, uint8_t dst[8])
{
    const struct association *a = rq->asker.a;
    uint8_t bytes[COAP_MESSAGE_BYTES];
    struct coap_options it = coap_options_from(rq->m->options);
    struct coap_option o;
    struct wr w = wr_into(bytes, sizeof(bytes)), tag = wr_into(dst, 8);
    wr_u64(&w, a->id);
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_REQUEST_TAG) {
            wr_block16(&w, o.value);
        }
    }
    wr_u64(&tag, siphash(&a->door->setup.key, wr_slice(&w)));
}

/* A cached answer serves, or its ETag goes along. True: the request is answered. */
static bool serve_cached(const struct request *rq, const struct route *r, struct proxy_order *order,
                         struct coap_forward_change *change)
{
    struct coap_door *d = rq->asker.a->door;
    uint64_t owner = rq->asker.a->account->principal->id;
    struct coap_cached *kept = coap_cache_find(&d->proxy->cache, owner, order->name);
    (void)r;
    if (kept == NULL) {
        return false;
    }
    order->knows_etag = knows_etag(rq->m->options, kept->etag);
    if (kept->fresh_until_ms > d->now_ms) {
        count_add(&d->setup.counters->proxy_cached, 1);
        proxy_respond_cached(&rq->asker, kept, order->knows_etag);
        return true;
    }
    order->etag = kept->etag;
    change->etag = order->knows_etag ? (struct slice){0} : kept->etag;
    return false;
}

static enum err write_options(const struct request *rq, const struct coap_forward_change *change,
                              uint8_t dst[COAP_FORWARD_BYTES], struct slice *ret)
{
    uint16_t number = 0;
    enum err err = coap_forward_request(rq->m->options, change, dst, ret, &number);
    if (err == ERR_UNSUPPORTED) {
        char why[96];
        (void)snprintf(why, sizeof(why), "option %u is unknown or wrong, and not safe to forward",
                       (unsigned)number);
        refuse(rq, EVENT_protocol_error, COAP_BAD_OPTION, "an option that a proxy must not forward",
               why);
    } else if (err != OK) {
        refuse(rq, EVENT_quota, COAP_REQUEST_TOO_LARGE, "too large to go on",
               "its options do not fit a datagram of the proxy's");
    }
    return err;
}

static void forward(const struct request *rq, const struct route *r, uint8_t hops)
{
    struct association *a = rq->asker.a;
    struct proxy *p = a->door->proxy;
    uint8_t options[COAP_FORWARD_BYTES], name[PROXY_KEY_BYTES], tag[8];
    uint32_t value = 0;
    struct slice ignored;
    bool registers = rq->observe == COAP_OBSERVE_REGISTER;
    /* Without OSCORE an end is ours to tell: the token there is another one. */
    struct coap_forward_change change = {
        .uri = r->uri, .hops = hops, .drops_observe = !registers && !r->is_oscore};
    struct proxy_order order = {.rq = rq,
                                .to = r->to,
                                .what = r->what,
                                .method = request_method_bit(rq->m->code),
                                .wants_observe = registers,
                                .is_oscore = r->is_oscore,
                                .resource = resource_of(p, r),
                                .path = r->path};
    order.is_upload =
        !r->is_oscore && coap_options_find_uint(rq->m->options, COAP_OPTION_BLOCK1, &value);
    order.is_last_block = order.is_upload && (value & 8) == 0;
    if (order.is_upload) {
        make_tag(rq, tag);
        change.tag = slice_of(tag, sizeof(tag));
    }
    if (write_options(rq, &change, options, &order.options) != OK) {
        return;
    }
    bool may_cache = rq->m->code == COAP_GET && !r->is_oscore && rq->m->payload.n == 0 &&
                     rq->observe == COAP_OBSERVE_NONE &&
                     !coap_options_find(rq->m->options, COAP_OPTION_ECHO, &ignored);
    if (may_cache) {
        order.name = cache_name(r, order.options, name);
        if (serve_cached(rq, r, &order, &change) ||
            (change.etag.n > 0 && write_options(rq, &change, options, &order.options) != OK)) {
            return;
        }
    }
    proxy_send(p, &order);
}

void proxy_serve(const struct request *given)
{
    struct route r = {.port = 0};
    struct request own = *given;
    const struct request *rq = &own;
    struct slice ignored;
    uint8_t hops = 0;
    if (!coap_options_find(rq->m->options, COAP_OPTION_PROXY_URI, &own.path.text)) {
        own.path.text = (struct slice){0};
    }
    enum err err = coap_forward_hops(rq->m->options, &hops);
    count_add(&rq->asker.a->door->setup.counters->proxy_requests, 1);
    r.is_oscore = coap_options_find(rq->m->options, COAP_OPTION_OSCORE, &ignored);
    if (err == ERR_LIMIT) {
        refuse(rq, EVENT_protocol_error, COAP_HOP_LIMIT_REACHED, "it has gone round too often",
               "its Hop-Limit is used up: proxies send it round in a loop. Look at where they "
               "forward to");
        return;
    }
    if (err != OK) {
        refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, "Hop-Limit is from 1 to 255",
               "its Hop-Limit is not from 1 to 255");
        return;
    }
    bool found = coap_forward_is_asked(rq->m->options) ? by_uri(rq, &r) : by_own(rq, &r);
    if (!found || !name_it(rq, &r)) {
        return;
    }
    own.path.text = r.what; /* what events are about */
    if (!is_granted(rq, &r)) {
        return;
    }
    if (add_name(&r) != OK) {
        refuse(rq, EVENT_quota, COAP_REQUEST_TOO_LARGE, "too large to go on",
               "its options do not fit a datagram of the proxy's");
        return;
    }
    forward(rq, &r, hops);
}

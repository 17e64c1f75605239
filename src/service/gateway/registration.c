/* Devices in the resource directory: they register, update and leave. SPEC: RFC9176 5.
 * Who it is, its association says; a name, a sector and an address in the query may only repeat
 * that. */
#include "base/mem.h"
#include "core/flow.h"
#include "service/broker/roster.h"
#include "service/gateway/door_private.h"
#include "service/gateway/link_set.h"
#include "wire/coap/uri.h"

enum { ATTRIBUTES_BYTES = 4096, REASON_BYTES = 160 };

enum resource { NO_RESOURCE, COLLECTION, ENTRY, SIMPLE };

/* A simple registration whose links are being fetched. */
struct registering {
    uint64_t cookie; /* of its ticket */
    uint32_t lifetime_s;
    size_t n; /* of the attributes */
    uint8_t attributes[];
};

static enum resource resource_of(struct slice path, struct slice *ret_name)
{
    if (slice_is(path, ENROL_PATH)) {
        return COLLECTION;
    }
    if (slice_is(path, "/.well-known/rd")) {
        return SIMPLE;
    }
    *ret_name = slice_from(path, sizeof(ENROL_PATH));
    return slice_has_prefix(path, slice_text(ENROL_PATH "/")) ? ENTRY : NO_RESOURCE;
}

/* SPEC: RFC9176 5: scheme, address and port of the request */
struct slice enrol_base(const struct association *a, char dst[ENROL_BASE_BYTES])
{
    const struct entrance *e = a->door->setup.entrance;
    char at[NET_PEER_TEXT_BYTES];
    const char *scheme = e->is_oscore ? "coap" : "coaps";
    const char *carrier = e->is_stream ? "+tcp" : "";
    net_peer_text(&a->peer, at);
    int n = snprintf(dst, ENROL_BASE_BYTES, "%s%s://%s", scheme, carrier, at);
    return slice_of(dst, (size_t)n);
}

/* ---- is it what it says? ---- */

static void refuse_foreign(const struct request *rq, const char *what, struct slice said,
                           const char *own)
{
    char why[REASON_BYTES];
    (void)snprintf(why, sizeof(why),
                   "%s of a registration is %.40s by its association, and it said %.*s", what, own,
                   SLICE_ARG(slice_head(said, 64)));
    request_refuse(rq, EVENT_acl_deny, COAP_FORBIDDEN, "a device registers itself only", why);
}

static bool is_itself(const struct request *rq, const struct link_set_query *q)
{
    const struct association *a = rq->asker.a;
    const struct principal *p = a->account->principal;
    const char *segment = principal_attr(p, slice_text(PRINCIPAL_SEGMENT));
    char base[ENROL_BASE_BYTES];
    struct slice own = enrol_base(a, base);
    if (q->has_ep && !slice_is(q->ep, p->name)) {
        refuse_foreign(rq, "the endpoint name", q->ep, p->name);
    } else if (q->has_d && !slice_is(q->d, segment)) {
        refuse_foreign(rq, "the sector", q->d, segment);
    } else if (q->has_base && !slice_equal(q->base, own)) {
        refuse_foreign(rq, "the base", q->base, base);
    } else {
        return true;
    }
    return false;
}

static bool has_lifetime(const struct request *rq, const struct link_set_query *q,
                         uint32_t otherwise_s, uint32_t *ret_s)
{
    const struct limits *l = rq->asker.a->door->setup.limits;
    char why[REASON_BYTES];
    *ret_s = q->has_lt ? (uint32_t)q->lt : otherwise_s;
    if (!q->has_lt || (q->lt >= REGISTRATION_LEAST_S && q->lt <= l->registration_lifetime_s)) {
        return true;
    }
    (void)snprintf(why, sizeof(why),
                   "a registration lives %d to %u seconds (registration_lifetime); lt says another",
                   REGISTRATION_LEAST_S, (unsigned)l->registration_lifetime_s);
    request_refuse(rq, EVENT_quota, COAP_BAD_REQUEST, why, why);
    return false;
}

static void refuse_text(const struct request *rq, enum err err, const char *why)
{
    switch ((unsigned)err) {
    case ERR_UTF8:
        request_refuse(rq, EVENT_utf8, COAP_BAD_REQUEST, why, why);
        break;
    case ERR_LIMIT:
    case ERR_TOO_LARGE:
    case ERR_SPACE:
        request_refuse(rq, EVENT_quota, COAP_REQUEST_TOO_LARGE, why, why);
        break;
    default:
        request_refuse(rq, EVENT_malformed, COAP_BAD_REQUEST, why, why);
        break;
    }
}

static bool has_query(const struct request *rq, struct link_set_query *ret)
{
    const char *why = "";
    enum err err = link_set_query_read(rq->m->options, ret, &why);
    if (err != OK) {
        refuse_text(rq, err, why);
    }
    return err == OK;
}

/* A registration goes to all workers, as a publish does. */
static bool is_in_rate(const struct request *rq)
{
    struct account *a = rq->asker.a->account;
    uint64_t now_ms = rq->asker.a->door->now_ms;
    if (bucket_take(&a->publishes, 1, now_ms)) {
        return true;
    }
    count_limit(rq->asker.a->door->setup.counters, LIMIT_publish_rate);
    request_refuse_rate(rq, EVENT_rate, bucket_wait_ms(&a->publishes, 1, now_ms),
                        "it registers faster than publish_rate of its role");
    return false;
}

/* ---- to the roster ---- */

static struct ticket *wait_for(const struct request *rq, uint8_t code)
{
    struct coap_door *d = rq->asker.a->door;
    struct ticket *t = NULL;
    enum err err = ticket_new(&rq->asker, ++d->next_cookie, NULL, &t);
    if (err == ERR_LIMIT) {
        request_refuse_rate(rq, EVENT_quota, 0, "too many of its requests wait for an answer");
    } else if (err != OK) {
        request_refuse_unavailable(&rq->asker);
    } else {
        t->code = code;
    }
    return t;
}

/* What it is registered with. */
struct wanted {
    enum roster_wish wish;
    uint32_t lifetime_s, n_links;
    struct slice attributes, links;
};

static enum err tell_roster(const struct ticket *t, const struct wanted *as)
{
    struct association *a = t->asker.a;
    struct coap_door *d = a->door;
    const struct principal *p = a->account->principal;
    struct registration *r = NULL;
    char base[ENROL_BASE_BYTES];
    TRY(registration_make(enrol_base(a, base), as->attributes, as->links, &r));
    r->principal = p->id;
    (void)slice_to_text(slice_text(p->name), r->name, sizeof(r->name));
    r->lifetime_s = as->lifetime_s;
    r->expires_at_ms = d->now_ms + (uint64_t)as->lifetime_s * 1000;
    r->n_links = as->n_links;
    enum err err = roster_ask(d->setup.worker, p, as->wish, r, d->setup.index, t->cookie);
    registration_unref(r);
    return err;
}

static void ask_roster(const struct request *rq, uint8_t code, const struct wanted *as)
{
    struct ticket *t = wait_for(rq, code);
    if (t != NULL && tell_roster(t, as) != OK) {
        ticket_free(t);
        request_refuse_unavailable(&rq->asker);
    }
}

static void answer_created(const struct asker *asker)
{
    uint8_t block[PRINCIPAL_NAME_MAX + 16];
    struct coap_answer answer = {.code = COAP_CREATED};
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add(&o, COAP_OPTION_LOCATION_PATH, slice_text(&ENROL_PATH[1]));
    coap_option_add(&o, COAP_OPTION_LOCATION_PATH, slice_text(asker->a->account->principal->name));
    if (coap_option_writer_done(&o, &answer.options) == OK) {
        (void)answer_send(asker, &answer);
    }
}

/* The home of the principal has refused it. */
static void refuse_late(const struct asker *asker, enum err err)
{
    struct association *a = asker->a;
    struct coap_door *d = a->door;
    if (err == ERR_NOT_FOUND) {
        (void)answer_text(asker, COAP_NOT_FOUND, "not registered (any more): register at /rd");
    } else if (err == ERR_DENIED) {
        (void)answer_text(asker, COAP_FORBIDDEN, "not granted");
    } else if (err == ERR_QUOTA) {
        struct event e = association_event(a, EVENT_quota);
        event_reason(&e, "a registration was refused with 5.03: all of them take as much as "
                         "registration_total_bytes allows. Raise it, or let devices register less");
        count_add(&d->setup.counters->refused_quota, 1);
        count_limit(d->setup.counters, LIMIT_registration_total_bytes);
        door_report(d, &e);
        (void)answer_number(asker, COAP_UNAVAILABLE, "the directory is full", COAP_OPTION_MAX_AGE,
                            d->coap.retry_after_s);
    } else {
        request_refuse_unavailable(asker);
    }
}

static void finish(struct ticket *t, enum err result)
{
    const struct asker *asker = &t->asker;
    if (result != OK) {
        refuse_late(asker, result);
    } else if (t->code == COAP_CREATED) {
        answer_created(asker);
    } else {
        (void)answer_text(asker, t->code, NULL);
    }
    ticket_free(t);
}

void enrol_turn(struct coap_door *d)
{
    struct roster_answer answer;
    while (roster_next_answer(d->setup.worker, d->setup.index, &answer)) {
        struct slice key = slice_of(&answer.cookie, sizeof(answer.cookie));
        struct ticket *t = map_find(&d->tickets, key);
        if (t != NULL) {
            struct association *a = t->asker.a;
            finish(t, answer.result);
            association_serve(a);
        }
    }
}

/* ---- registrations ---- */

static bool has_links(const struct request *rq, uint32_t *ret_n)
{
    const struct limits *l = rq->asker.a->door->setup.limits;
    const char *why = "";
    uint32_t format = UINT32_MAX;
    struct slice links = rq->m->payload;
    (void)coap_options_find_uint(rq->m->options, COAP_OPTION_CONTENT_FORMAT, &format);
    if (links.n > 0 && format != COAP_FORMAT_LINK) {
        request_refuse(rq, EVENT_protocol_error, COAP_UNSUPPORTED_FORMAT,
                       "links are in link format: Content-Format 40",
                       "the links of a registration are not in link format (Content-Format 40)");
        return false;
    }
    if (links.n > l->registration_bytes) {
        count_limit(rq->asker.a->door->setup.counters, LIMIT_registration_bytes);
        request_refuse_size(rq, l->registration_bytes,
                            "its links are over registration_bytes; let it register less");
        return false;
    }
    enum err err = link_set_check(links, l->registration_links, ret_n, &why);
    if (err != OK) {
        refuse_text(rq, err, why);
    }
    return err == OK;
}

static bool has_attributes(const struct request *rq, const struct link_set_query *q,
                           struct slice old, struct wr *w)
{
    enum err err = link_set_attributes(old, q, w);
    if (err != OK) {
        refuse_text(rq, err, "its parameters are more than the directory keeps");
    }
    return err == OK;
}

static void enrol(const struct request *rq)
{
    struct link_set_query q;
    uint8_t text[ATTRIBUTES_BYTES];
    struct wr w = wr_into(text, sizeof(text));
    struct wanted as = {.wish = ROSTER_PUT, .links = rq->m->payload};
    if (has_query(rq, &q) && is_itself(rq, &q) &&
        has_lifetime(rq, &q, REGISTRATION_DEFAULT_S, &as.lifetime_s) &&
        has_links(rq, &as.n_links) && has_attributes(rq, &q, (struct slice){0}, &w) &&
        is_in_rate(rq)) {
        as.attributes = wr_slice(&w);
        request_allowed(rq, "registers in the resource directory");
        ask_roster(rq, COAP_CREATED, &as);
    }
}

/* SPEC: RFC9176 5.3.1 */
static void update(const struct request *rq)
{
    struct association *a = rq->asker.a;
    struct coap_door *d = a->door;
    struct link_set_query q;
    uint8_t text[ATTRIBUTES_BYTES];
    struct wr w = wr_into(text, sizeof(text));
    struct wanted as = {.wish = ROSTER_UPDATE};
    const struct registration *old = roster_find(d->setup.worker, a->account->principal, d->now_ms);
    if (rq->m->payload.n > 0) {
        request_refuse(rq, EVENT_protocol_error, COAP_BAD_REQUEST,
                       "an update has no payload: register anew at /rd",
                       "an update of a registration came with a payload");
    } else if (old == NULL) {
        (void)answer_text(&rq->asker, COAP_NOT_FOUND, "not registered (any more): register at /rd");
    } else if (has_query(rq, &q) && is_itself(rq, &q) &&
               has_lifetime(rq, &q, old->lifetime_s, &as.lifetime_s) &&
               has_attributes(rq, &q, old->attributes, &w) && is_in_rate(rq)) {
        as.attributes = wr_slice(&w);
        as.links = old->links;
        as.n_links = old->n_links;
        ask_roster(rq, COAP_CHANGED, &as);
    }
}

static void leave(const struct request *rq)
{
    struct coap_door *d = rq->asker.a->door;
    struct ticket *t = is_in_rate(rq) ? wait_for(rq, COAP_DELETED) : NULL;
    if (t != NULL && roster_ask(d->setup.worker, rq->asker.a->account->principal, ROSTER_REMOVE,
                                NULL, d->setup.index, t->cookie) != OK) {
        ticket_free(t);
        request_refuse_unavailable(&rq->asker);
    }
}

static void serve_entry(const struct request *rq, struct slice name)
{
    const char *own = rq->asker.a->account->principal->name;
    if (!slice_is(name, own)) {
        refuse_foreign(rq, "the name", name, own);
    } else if (rq->m->code == COAP_POST) {
        update(rq);
    } else if (rq->m->code == COAP_DELETE) {
        leave(rq);
    } else {
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED,
                       "a registration takes POST and DELETE",
                       "a registration takes POST and DELETE");
    }
}

/* ---- simple registration ---- */

static bool can_be_fetched(const struct request *rq, const struct link_set_query *q)
{
    const struct association *a = rq->asker.a;
    if (q->has_base || rq->m->payload.n > 0) {
        /* SPEC: RFC9176 5.1 */
        request_refuse(rq, EVENT_protocol_error, COAP_BAD_REQUEST,
                       "a simple registration has no base and no payload",
                       "a simple registration came with a base or a payload");
    } else if (!errand_can_be_asked(a)) {
        (void)answer_text(&rq->asker, COAP_NOT_IMPLEMENTED,
                          "only over DTLS this server can ask for the links: register at /rd");
    } else if (a->side != NULL && a->side->registering != NULL) {
        request_refuse_rate(rq, EVENT_quota, 0, "its last simple registration is under way");
    } else {
        return true;
    }
    return false;
}

/* The device is asked for its links on its own association, and answered behind that. */
static void fetch(const struct request *rq, uint32_t lifetime_s, struct slice attributes)
{
    struct association *a = rq->asker.a;
    struct ticket *t = wait_for(rq, COAP_CHANGED);
    struct registering *e = t != NULL ? mem_zalloc(sizeof(*e) + attributes.n) : NULL;
    if (t == NULL) {
        return;
    }
    if (e == NULL || errand_fetch_links(a) != OK) {
        mem_free(e);
        ticket_free(t);
        request_refuse_unavailable(&rq->asker);
        return;
    }
    e->cookie = t->cookie;
    e->lifetime_s = lifetime_s;
    e->n = attributes.n;
    slice_copy(e->attributes, attributes);
    a->side->registering = e; /* beside the errand */
}

static void enrol_simply(const struct request *rq)
{
    struct link_set_query q;
    uint32_t lifetime_s = 0;
    uint8_t text[ATTRIBUTES_BYTES];
    struct wr w = wr_into(text, sizeof(text));
    if (has_query(rq, &q) && is_itself(rq, &q) && can_be_fetched(rq, &q) &&
        has_lifetime(rq, &q, REGISTRATION_DEFAULT_S, &lifetime_s) &&
        has_attributes(rq, &q, (struct slice){0}, &w) && is_in_rate(rq)) {
        request_allowed(rq, "registers in the resource directory; it is asked for its links");
        fetch(rq, lifetime_s, wr_slice(&w));
    }
}

/* Nothing of it is there: an event says what was wrong with the device's list. */
static void refuse_fetched(struct ticket *t, uint8_t code, const char *why)
{
    struct association *a = t->asker.a;
    struct event e = association_event(a, EVENT_protocol_error);
    event_reason(&e, "a simple registration was refused: %s", why);
    count_add(&a->door->setup.counters->refused_limit, 1);
    door_report(a->door, &e);
    (void)answer_text(&t->asker, code, why);
    ticket_free(t);
}

static void take_links(struct ticket *t, const struct registering *e,
                       const struct errand_fetched *said)
{
    const struct limits *l = t->asker.a->door->setup.limits;
    const char *why = "";
    struct wanted as = {.wish = ROSTER_PUT,
                        .lifetime_s = e->lifetime_s,
                        .attributes = slice_of(e->attributes, e->n),
                        .links = said->links};
    if (said->why != NULL) {
        refuse_fetched(t, said->code, said->why);
    } else if (said->code != COAP_CONTENT || said->format != COAP_FORMAT_LINK) {
        refuse_fetched(t, COAP_BAD_GATEWAY,
                       "the device did not answer /.well-known/core with 2.05 in link format");
    } else if (said->links.n > l->registration_bytes) {
        refuse_fetched(t, COAP_REQUEST_TOO_LARGE, "its links are over registration_bytes");
    } else if (link_set_check(said->links, l->registration_links, &as.n_links, &why) != OK) {
        refuse_fetched(t, COAP_BAD_REQUEST, why);
    } else if (tell_roster(t, &as) != OK) {
        request_refuse_unavailable(&t->asker);
        ticket_free(t);
    }
}

void enrol_fetched(struct association *a, const struct errand_fetched *said)
{
    struct registering *e = a->side != NULL ? a->side->registering : NULL;
    struct slice key = e != NULL ? slice_of(&e->cookie, sizeof(e->cookie)) : (struct slice){0};
    struct ticket *t = e != NULL ? map_find(&a->door->tickets, key) : NULL;
    if (e != NULL) {
        a->side->registering = NULL;
    }
    if (t != NULL) {
        take_links(t, e, said);
    }
    mem_free(e);
}

/* ---- what is asked for ---- */

bool enrol_takes_body(const struct request *rq)
{
    struct slice name;
    return rq->path.kind == DOOR_PATH_OTHER && rq->m->code == COAP_POST &&
           resource_of(rq->path.text, &name) == COLLECTION;
}

bool enrol_serve(const struct request *rq)
{
    struct slice name = {0};
    enum resource what = resource_of(rq->path.text, &name);
    if (what == NO_RESOURCE) {
        return false;
    }
    if (plain_is(rq->asker.a)) {
        request_refuse(rq, EVENT_acl_deny, COAP_FORBIDDEN, "only devices with a name register",
                       "an anonymous client cannot register: it has no name that others could ask "
                       "for. Give the device OSCORE or DTLS");
    } else if (what == ENTRY) {
        serve_entry(rq, name);
    } else if (rq->m->code != COAP_POST) {
        request_refuse(rq, EVENT_protocol_error, COAP_METHOD_NOT_ALLOWED, "it takes POST",
                       "registrations take POST");
    } else if (what == COLLECTION) {
        enrol(rq);
    } else {
        enrol_simply(rq);
    }
    return true;
}

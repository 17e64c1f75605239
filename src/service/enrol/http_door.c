#include "service/enrol/http_door.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/wheel.h"
#include "service/broker/handed.h"
#include "service/enrol/est.h"
#include "service/enrol/shown.h"
#include "service/enrol/whoami.h"
#include "service/pki/status_door.h"

struct http_conn {
    struct list_node node; /* in door->conns */
    struct list_node dirty;
    struct http_door *door;
    struct http_server *engine;
    void *transport;
    struct timer timer;
    uint64_t id, stranger_until_ms, answer_until_ms;
    struct net_peer peer;
    struct buf leaf_der, bundle_json;
    enum enrolment_want want;
    bool is_asking, is_known, is_shed, is_told;
};

struct http_door {
    struct http_door_setup setup;
    struct list conns, dirty;
    struct map by_id;
    struct wheel wheel;
    struct shedder shedder;
    uint64_t now_ms, next_id;
    int64_t wall_ms;
    bool is_draining;
};

static struct slice conn_key(const void *value)
{
    const struct http_conn *c = value;
    return slice_of(&c->id, sizeof c->id);
}

static void mark(struct http_conn *c)
{
    if (!list_is_linked(&c->dirty)) {
        list_append(&c->door->dirty, &c->dirty);
    }
}

struct http_conn *http_door_next_dirty(struct http_door *d)
{
    struct list_node *n = list_first(&d->dirty);
    if (n == NULL) {
        return NULL;
    }
    list_unlink(n);
    return LIST_ENTRY(n, struct http_conn, dirty);
}

struct http_conn *http_door_any(const struct http_door *d)
{
    struct list_node *n = list_first(&d->conns);
    return n != NULL ? LIST_ENTRY(n, struct http_conn, node) : NULL;
}

/* ---- events ---- */

static void report(const struct http_conn *c, enum event_category category, const char *what,
                   const char *fix)
{
    const struct http_door *d = c->door;
    char text[NET_PEER_TEXT_BYTES];
    struct event e = event_make(category);
    e.wall_ms = d->wall_ms;
    e.protocol = EVENT_PROTOCOL_https;
    net_peer_text(&c->peer, text);
    EVENT_TEXT(&e, peer, slice_text(text));
    EVENT_TEXT(&e, listener, slice_text(d->setup.entrance->name));
    event_reason(&e, "%s%s", what, fix);
    d->setup.event(d->setup.ctx, &e);
}

/* What the engine has refused by itself. */
static void report_refused(struct http_conn *c)
{
    const char *why;
    unsigned status = http_server_refusal(c->engine, &why);
    if (status == 0 || c->is_told) {
        return;
    }
    c->is_told = true;
    count_add(&c->door->setup.counters->refused_limit, status == 413 || status == 431);
    report(
        c,
        status == 408                    ? EVENT_slow_client
        : status == 413 || status == 431 ? EVENT_quota
                                         : EVENT_malformed,
        why,
        ": the connection was closed. This port is for devices that enrol (EST over HTTPS); look "
        "at what connects from there");
}

/* ---- time ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void arm(struct http_conn *c)
{
    uint64_t at = least(http_server_deadline(c->engine), c->stranger_until_ms);
    wheel_arm(&c->door->wheel, &c->timer, least(at, c->answer_until_ms));
}

/* ---- answers ---- */

static void say(struct http_conn *c, const struct http_answer *a)
{
    (void)!http_server_answer(c->engine, a, c->door->now_ms); /* without memory it ends */
    mark(c);
}

static void say_text(struct http_conn *c, unsigned status, const char *text)
{
    char line[WHY_BYTES + 2];
    (void)snprintf(line, sizeof line, "%s.\n", text);
    struct http_answer a = {.status = status, .type = "text/plain", .body = slice_text(line)};
    if (status == 401) { /* SPEC: RFC7030 3.2.3, RFC9110 11.6.1 */
        a.fields[0] = (struct http_field){"WWW-Authenticate", "Basic realm=\"claim token\""};
    } else if (status == 503) {
        a.fields[0] = (struct http_field){"Retry-After", "10"};
    }
    say(c, &a);
}

static void say_allowed(struct http_conn *c, const char *methods)
{
    struct http_answer a = {.status = 405,
                            .type = "text/plain",
                            .body = slice_text("another method.\n"),
                            .fields = {{"Allow", methods}}};
    say(c, &a);
}

static void say_der(struct http_conn *c, const char *type, struct slice der)
{
    AUTO(buf_done) struct buf text = {0};
    if (est_text(der, &text) != OK) {
        http_server_close(c->engine);
        return;
    }
    struct http_answer a = {.status = 200, .type = type, .body = buf_slice(&text)};
    say(c, &a);
}

static void say_issued(struct http_conn *c, const struct enrolment *e)
{
    if (e->want != ENROLMENT_PAIR) {
        say_der(c, EST_CERTS_TYPE, buf_slice(&e->certs_der));
        return;
    }
    AUTO(buf_wipe) struct buf body = {0};
    if (est_pair(buf_slice(&e->key_der), buf_slice(&e->certs_der), &body) != OK) {
        http_server_close(c->engine);
        return;
    }
    struct http_answer a = {.status = 200, .type = EST_PAIR_TYPE, .body = buf_slice(&body)};
    say(c, &a);
}

/* The text is for the person at the device. */
static void say_again(struct http_conn *c, unsigned status, const struct enrolment *e)
{
    char seconds[16], line[WHY_BYTES + 2];
    (void)snprintf(seconds, sizeof seconds, "%u", e->retry_after_s);
    (void)snprintf(line, sizeof line, "%s.\n", e->why.text);
    struct http_answer a = {.status = status,
                            .type = "text/plain",
                            .body = slice_text(line),
                            .fields = {{"Retry-After", seconds}}}; /* SPEC: RFC7030 4.2.3 */
    say(c, &a);
}

static void answer(struct http_conn *c, struct enrolment *e)
{
    switch (e->result) {
    case ENROLMENT_ISSUED:
        c->is_known = true;
        buf_done(&c->bundle_json);
        c->bundle_json = e->bundle_json;
        e->bundle_json = (struct buf){0};
        say_issued(c, e);
        break;
    case ENROLMENT_WAITS:
        say_again(c, 202, e);
        break;
    case ENROLMENT_TOO_MANY:
        say_again(c, 429, e);
        break;
    case ENROLMENT_BUSY:
        say_again(c, 503, e);
        break;
    case ENROLMENT_UNPROVEN:
        say_text(c, 401, e->why.text);
        break;
    case ENROLMENT_REFUSED:
        say_text(c, 403, e->why.text);
        break;
    case ENROLMENT_MALFORMED:
        say_text(c, 400, e->why.text);
        break;
    }
}

/* ---- requests ---- */

/* Without its parameters; empty: there is none. */
static struct slice type_of(const struct http1_request *r)
{
    struct slice field;
    bool more;
    if (!http1_request_find(r, "Content-Type", &field)) {
        return (struct slice){0};
    }
    struct slice bare = slice_cut(&field, ';', &more);
    while (bare.n > 0 && bare.p[bare.n - 1] == ' ') {
        bare = slice_head(bare, bare.n - 1);
    }
    return bare;
}

static void come_from(const struct http_conn *c, struct enrolment *e)
{
    const struct http_door *d = c->door;
    e->worker = worker_index(d->setup.worker);
    e->door = d->setup.entrance->index;
    e->client = c->id;
    e->want = c->want;
    e->protocol = EVENT_PROTOCOL_https;
    e->peer = c->peer;
    (void)slice_to_text(slice_text(d->setup.entrance->name), e->listener, sizeof e->listener);
}

static enum err fill(struct http_conn *c, const struct http_request *r, struct enrolment *e,
                     unsigned *ret_status, const char **ret_why)
{
    come_from(c, e);
    *ret_status = 400;
    *ret_why = "the body is no base64 of a certificate request (PKCS#10, DER)";
    TRY(est_body(r->body, ENROLMENT_CSR_MAX, &e->csr_der));
    *ret_status = 401;
    *ret_why = "the Authorization field is no Basic one with a claim token as its password";
    enum err err = est_basic(&r->head, e->user, e->secret);
    TRY(err == ERR_NOT_FOUND ? OK : err);
    return buf_append(&e->current_der, buf_slice(&c->leaf_der), ENROLMENT_CERT_MAX);
}

/* Takes e. */
static void hand_in(struct http_conn *c, struct enrolment *e)
{
    struct http_door *d = c->door;
    enum err err = ERR_UNSUPPORTED;
    if (d->setup.ask != NULL) {
        err = d->setup.ask(d->setup.ctx, e);
    } else {
        enrolment_free(e);
    }
    if (err != OK) {
        count_add(&d->setup.counters->refused_limit, 1);
        say_text(c, 503, "too many devices enrol at once: come again");
        return;
    }
    c->is_asking = true;
    c->answer_until_ms = d->now_ms + HTTP_DOOR_ANSWER_MS;
}

static void ask(struct http_conn *c, const struct http_request *r)
{
    AUTO(enrolment_autofree) struct enrolment *e = NULL;
    unsigned status = 503;
    const char *why = "the server is short of memory: come again";
    if (!slice_is(type_of(&r->head), EST_CSR_TYPE)) { /* SPEC: RFC7030 4.2.1 */
        say_text(c, 415, "a certificate request is sent as application/pkcs10");
        return;
    }
    enum err err = enrolment_new(&e);
    if (err == OK) {
        err = fill(c, r, e, &status, &why);
    }
    if (err != OK) {
        say_text(c, err == ERR_NOMEM ? 503 : status, why);
    } else if (shown_look(&c->door->setup, e, c->door->wall_ms)) {
        hand_in(c, TAKE(e));
    } else {
        answer(c, e);
    }
}

/* ---- what the authority says of its certificates: to anybody, for it is signed ---- */

static void ask_status(struct http_conn *c, const struct status_question *q)
{
    AUTO(enrolment_autofree) struct enrolment *e = NULL;
    enum err err = enrolment_new(&e);
    c->want = ENROLMENT_STATUS;
    if (err == OK) {
        come_from(c, e);
        e->status_kind = q->kind;
        err = buf_append(&e->csr_der, slice_of(q->ocsp_der, q->n), OCSP_REQUEST_MAX);
    }
    if (err != OK) {
        say_text(c, 503, "the server is short of memory: come again");
        return;
    }
    hand_in(c, TAKE(e));
}

/* false: it asks for something else. */
static bool serve_status(struct http_conn *c, const struct http_request *r)
{
    struct status_question q;
    const char *allow = NULL;
    const struct status_request asked = {
        .method = r->head.method, .path = r->path, .type = type_of(&r->head), .body = r->body};
    enum err err = status_door_find(&asked, &q, &allow);
    if (err == ERR_NOT_FOUND) {
        return false;
    }
    if (err == OK) {
        ask_status(c, &q);
    } else if (err == ERR_UNSUPPORTED) {
        say_allowed(c, allow);
    } else if (err == ERR_PROTOCOL) {
        say_text(c, 415, "a question is sent as application/ocsp-request");
    } else if (err == ERR_TOO_LARGE) {
        say_text(c, 413, "the question is too long");
    } else {
        say_text(c, 400, "the path is no base64 of an OCSPRequest (DER)");
    }
    return true;
}

static void say_status(struct http_conn *c, const struct enrolment *e)
{
    if (e->result != ENROLMENT_ISSUED) {
        say_text(c, 503, "the authority does not answer now: come again");
    } else if (e->certs_der.n > HTTP_DOOR_LIST_MAX) {
        say_text(c, 503, "the list is larger than what this port gives: ask by /ocsp");
    } else {
        struct http_answer a = {.status = 200, .type = e->type, .body = buf_slice(&e->certs_der)};
        say(c, &a);
    }
}

/* Names and ports of this server, for who was certified on this very connection. */
static void say_bundle(struct http_conn *c)
{
    if (c->bundle_json.n == 0) {
        say_text(c, 403,
                 "the rest of a bundle is for who was given a certificate before, on the "
                 "same connection");
        return;
    }
    struct http_answer a = {
        .status = 200, .type = "application/json", .body = buf_slice(&c->bundle_json)};
    say(c, &a);
}

static void say_who(struct http_conn *c, const struct http_request *r)
{
    const struct http_door *d = c->door;
    struct whoami w;
    if (!slice_is(r->head.method, "GET")) {
        say_allowed(c, "GET");
        return;
    }
    if (whoami_answer(worker_realm(d->setup.worker)->directory, buf_slice(&c->leaf_der),
                      worker_limits(d->setup.worker)->renewal_grace_s, d->wall_ms, &w) != OK) {
        say_text(c, 503, "the server is short of memory: come again");
        return;
    }
    struct http_answer a = {.status = w.status,
                            .type = w.status == 200 ? WHOAMI_TYPE : "text/plain",
                            .body = slice_text(w.text)};
    say(c, &a);
}

static void serve(struct http_conn *c, const struct http_request *r)
{
    enum est_operation o = EST_CACERTS;
    const char *why;
    c->stranger_until_ms = UINT64_MAX; /* from here on the engine's idle time counts */
    if (slice_is(r->path, HTTP_DOOR_BUNDLE) && slice_is(r->head.method, "GET")) {
        say_bundle(c);
        return;
    }
    if (slice_is(r->path, WHOAMI_PATH)) {
        say_who(c, r);
        return;
    }
    if (serve_status(c, r)) {
        return;
    }
    enum err err = est_find(r->path, &o, &why);
    if (err != OK) {
        say_text(c, err == ERR_UNSUPPORTED ? 501 : 404,
                 err == ERR_UNSUPPORTED ? why
                                        : "this port is for enrolment alone: EST below "
                                          "/.well-known/est");
        return;
    }
    if (!slice_is(r->head.method, est_method(o))) {
        say_allowed(c, est_method(o));
        return;
    }
    switch (o) {
    case EST_CACERTS:
        say_der(c, EST_CERTS_TYPE, c->door->setup.entrance->cacerts);
        return;
    case EST_CSRATTRS:
        say_der(c, EST_ATTRS_TYPE, est_csr_attributes());
        return;
    case EST_SIMPLEENROLL:
        c->want = ENROLMENT_FIRST;
        break;
    case EST_SIMPLEREENROLL:
        c->want = ENROLMENT_AGAIN;
        break;
    case EST_SERVERKEYGEN:
        c->want = ENROLMENT_PAIR;
        break;
    case EST_OPERATIONS:
        return;
    }
    ask(c, r);
}

static void take(struct http_conn *c, struct slice in)
{
    const struct http_request *r;
    while (http_server_next(c->engine, &in, c->door->now_ms, &r) == OK) {
        serve(c, r);
    }
    report_refused(c);
    arm(c);
    mark(c);
}

/* ---- connections ---- */

enum err http_conn_open(struct http_door *d, const struct net_peer *peer, void *transport,
                        uint64_t until_ms, uint64_t now_ms, struct http_conn **ret)
{
    static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    if (d->is_draining || worker_takes_nobody(d->setup.worker)) {
        return ERR_DENIED;
    }
    struct http_conn *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->door = d;
    c->id = ++d->next_id;
    c->peer = *peer;
    c->transport = transport;
    c->stranger_until_ms = until_ms;
    c->answer_until_ms = UINT64_MAX;
    enum err err = http_server_new(&limits, now_ms, &c->engine);
    if (err == OK) {
        err = map_add(&d->by_id, c);
    }
    if (err != OK) {
        http_server_free(c->engine);
        mem_free(c);
        return err;
    }
    list_append(&d->conns, &c->node);
    arm(c);
    count_add(&d->setup.counters->connections_enrol, 1);
    count_add(&d->setup.counters->connections_at[d->setup.entrance->index], 1);
    *ret = c;
    return OK;
}

void http_conn_gone(struct http_conn *c)
{
    struct http_door *d = c->door;
    count_sub(&d->setup.counters->connections_enrol, 1);
    count_sub(&d->setup.counters->connections_at[d->setup.entrance->index], 1);
    (void)map_remove(&d->by_id, conn_key(c));
    wheel_cancel(&d->wheel, &c->timer);
    list_unlink(&c->node);
    list_unlink(&c->dirty);
    http_server_free(c->engine);
    buf_done(&c->leaf_der);
    buf_done(&c->bundle_json);
    mem_free(c);
}

void http_conn_present(struct http_conn *c, const struct x509 *x)
{
    if (x509_to_der(x, &c->leaf_der) != OK) {
        buf_done(&c->leaf_der); /* without memory it has shown none */
    }
}

void http_conn_input(struct http_conn *c, struct slice plain, uint64_t now_ms)
{
    c->door->now_ms = now_ms;
    take(c, plain);
}

/* What was kept behind a request that is answered now is looked at in the next output. */
bool http_conn_wants_input(const struct http_conn *c)
{
    return http_server_wants_input(c->engine);
}

size_t http_conn_output(struct http_conn *c, uint8_t *dst, size_t cap, uint64_t now_ms)
{
    c->door->now_ms = now_ms;
    size_t n = http_server_output(c->engine, dst, cap);
    if (n > 0) {
        mark(c); /* for the rest, and for what came behind the request */
        take(c, (struct slice){0});
    }
    return n;
}

bool http_conn_is_known(const struct http_conn *c)
{
    return c->is_known;
}

bool http_conn_is_finished(const struct http_conn *c)
{
    return http_server_is_finished(c->engine);
}

bool http_conn_is_shed(const struct http_conn *c)
{
    return c->is_shed;
}

void *http_conn_transport(const struct http_conn *c)
{
    return c->transport;
}

/* ---- turns ---- */

static void answered(struct http_door *d, struct enrolment *e)
{
    struct http_conn *c = map_find(&d->by_id, slice_of(&e->client, sizeof e->client));
    if (c == NULL || !c->is_asking) {
        return; /* it has gone, or was told to come again */
    }
    c->is_asking = false;
    c->answer_until_ms = UINT64_MAX;
    if (c->want == ENROLMENT_STATUS) {
        say_status(c, e);
    } else {
        answer(c, e);
    }
    take(c, (struct slice){0});
}

static void late(struct http_conn *c)
{
    struct http_door *d = c->door;
    if (c->is_asking && c->answer_until_ms <= d->now_ms) {
        c->is_asking = false;
        c->answer_until_ms = UINT64_MAX;
        say_text(c, 503, "the server could not decide in time: come again");
    } else if (c->stranger_until_ms <= d->now_ms) {
        c->stranger_until_ms = UINT64_MAX;
        report(c, EVENT_slow_client, "no request came within preauth_seconds",
               ": the connection was closed. If it is one of ours, look at its network");
        http_server_close(c->engine);
    } else {
        http_server_tick(c->engine, d->now_ms);
        report_refused(c);
    }
    arm(c);
    mark(c);
}

void http_door_turn(struct http_door *d, uint64_t now_ms, int64_t wall_ms)
{
    struct enrolment *e;
    struct timer *t;
    d->now_ms = now_ms;
    d->wall_ms = wall_ms;
    while ((e = worker_next_enrolled(d->setup.worker, d->setup.entrance->index)) != NULL) {
        answered(d, e);
        enrolment_free(e);
    }
    wheel_advance(&d->wheel, now_ms);
    while ((t = wheel_next(&d->wheel)) != NULL) {
        late(CONTAINER_OF(t, struct http_conn, timer));
    }
}

uint64_t http_door_deadline(const struct http_door *d)
{
    return wheel_deadline(&d->wheel);
}

void http_door_drain(struct http_door *d, uint64_t now_ms)
{
    if (d->is_draining) {
        return;
    }
    d->is_draining = true;
    d->now_ms = now_ms;
    list_for_each (n, &d->conns) {
        struct http_conn *c = LIST_ENTRY(n, struct http_conn, node);
        http_server_close(c->engine);
        mark(c);
    }
}

void http_door_follow(struct http_door *d, const struct entrance *e)
{
    d->setup.entrance = e;
}

/* ---- memory ---- */

static void spare(void *ctx)
{
    (void)ctx; /* what is kept of one is 24 KiB at most, and of strangers there are few */
}

static struct consumer worst(void *ctx)
{
    (void)ctx;
    return (struct consumer){0};
}

static void close_worst(void *ctx, const struct consumer *who, unsigned percent)
{
    (void)ctx, (void)who, (void)percent;
}

static size_t turn_away(void *ctx)
{
    struct http_door *d = ctx;
    size_t n = 0;
    list_for_each (node, &d->conns) {
        struct http_conn *c = LIST_ENTRY(node, struct http_conn, node);
        if (!c->is_known && !http_server_has_ended(c->engine)) {
            http_server_close(c->engine);
            c->is_shed = true;
            mark(c);
            n++;
        }
    }
    return n;
}

/* ---- life ---- */

enum err http_door_new(const struct http_door_setup *s, uint64_t now_ms, struct http_door **ret)
{
    struct http_door *d = mem_zalloc(sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    d->setup = *s;
    d->now_ms = now_ms;
    list_init(&d->conns);
    list_init(&d->dirty);
    map_init(&d->by_id, &d->setup.key, conn_key);
    wheel_init(&d->wheel, now_ms);
    d->shedder = (struct shedder){
        .ctx = d, .spare = spare, .worst = worst, .close = close_worst, .turn_away = turn_away};
    worker_add_shedder(s->worker, &d->shedder);
    *ret = d;
    return OK;
}

struct http_door *http_door_free(struct http_door *d)
{
    if (d != NULL) {
        list_unlink(&d->shedder.node);
        map_done(&d->by_id);
        mem_free(d);
    }
    return NULL;
}

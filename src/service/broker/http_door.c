#include "service/broker/http_conn.h"

#include "base/mem.h"
#include "base/why.h"

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

struct event http_event(const struct http_conn *c, enum event_category category)
{
    const struct http_door *d = c->door;
    char text[NET_PEER_TEXT_BYTES];
    struct event e = event_make(category);
    e.wall_ms = d->wall_ms;
    e.protocol = d->setup.entrance->protocol;
    net_peer_text(&c->peer, text);
    EVENT_TEXT(&e, peer, slice_text(text));
    EVENT_TEXT(&e, listener, slice_text(d->setup.entrance->name));
    return e;
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
    struct event e = http_event(c, status == 408                    ? EVENT_slow_client
                                   : status == 413 || status == 431 ? EVENT_quota
                                                                    : EVENT_malformed);
    event_reason(&e,
                 "%s: the connection was closed. This port is for %s; look at what connects from "
                 "there",
                 why, c->door->setup.pages->purpose);
    c->door->setup.event(c->door->setup.ctx, &e);
}

/* ---- time ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void arm(struct http_conn *c)
{
    uint64_t at = least(http_server_deadline(c->engine), c->stranger_until_ms);
    at = least(at, c->leave_until_ms);
    wheel_arm(&c->door->wheel, &c->timer, least(at, c->answer_until_ms));
}

/* It has ended, and its client does not read the rest. */
static void bound_leaving(struct http_conn *c)
{
    if (c->leave_until_ms == UINT64_MAX && http_server_has_ended(c->engine) &&
        http_server_has_output(c->engine)) {
        c->leave_until_ms = c->door->now_ms + HTTP_IDLE_MS;
    }
}

/* ---- answers ---- */

void http_say(struct http_conn *c, const struct http_answer *a)
{
    (void)!http_server_answer(c->engine, a, c->door->now_ms); /* without memory it ends */
    mark(c);
}

void http_say_text(struct http_conn *c, unsigned status, const char *text)
{
    char line[WHY_BYTES + 2];
    (void)snprintf(line, sizeof line, "%s.\n", text);
    struct http_answer a = {.status = status, .type = "text/plain", .body = slice_text(line)};
    const char *challenge = c->door->setup.pages->challenge;
    if (status == 401 && challenge != NULL) { /* SPEC: RFC7030 3.2.3, RFC9110 11.6.1 */
        a.fields[0] = (struct http_field){"WWW-Authenticate", challenge};
    } else if (status == 503) {
        a.fields[0] = (struct http_field){"Retry-After", "10"};
    }
    http_say(c, &a);
}

void http_say_allowed(struct http_conn *c, const char *methods)
{
    struct http_answer a = {.status = 405,
                            .type = "text/plain",
                            .body = slice_text("another method.\n"),
                            .fields = {{"Allow", methods}}};
    http_say(c, &a);
}

/* ---- bytes ---- */

static void take(struct http_conn *c, struct slice in)
{
    const struct http_request *r;
    while (http_server_next(c->engine, &in, c->door->now_ms, &r) == OK) {
        c->stranger_until_ms = UINT64_MAX; /* from here on the engine's idle time counts */
        c->door->setup.pages->serve(c, r);
    }
    report_refused(c);
    bound_leaving(c);
    arm(c);
    mark(c);
}

void http_wait(struct http_conn *c)
{
    c->is_asking = true;
    c->answer_until_ms = c->door->now_ms + HTTP_DOOR_ANSWER_MS;
}

struct http_conn *http_waiting(struct http_door *d, uint64_t id)
{
    struct http_conn *c = map_find(&d->by_id, slice_of(&id, sizeof id));
    if (c == NULL || !c->is_asking) {
        return NULL;
    }
    c->is_asking = false;
    c->answer_until_ms = UINT64_MAX;
    return c;
}

void http_resume(struct http_conn *c)
{
    take(c, (struct slice){0});
}

/* ---- connections ---- */

static _Atomic uint64_t *counter(const struct http_door *d)
{
    struct counters *all = d->setup.counters;
    return d->setup.entrance->is_metrics ? &all->connections_metrics : &all->connections_enrol;
}

enum err http_conn_open(struct http_door *d, const struct net_peer *peer, void *transport,
                        uint64_t until_ms, uint64_t now_ms, struct http_conn **ret)
{
    struct http_limits limits = HTTP_LIMITS_DEFAULT;
    limits.answer_bytes = d->setup.pages->answer_bytes;
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
    c->leave_until_ms = UINT64_MAX;
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
    count_add(counter(d), 1);
    count_add(&d->setup.counters->connections_at[d->setup.entrance->index], 1);
    *ret = c;
    return OK;
}

void http_conn_gone(struct http_conn *c)
{
    struct http_door *d = c->door;
    count_sub(counter(d), 1);
    count_sub(&d->setup.counters->connections_at[d->setup.entrance->index], 1);
    (void)map_remove(&d->by_id, conn_key(c));
    wheel_cancel(&d->wheel, &c->timer);
    list_unlink(&c->node);
    list_unlink(&c->dirty);
    http_server_free(c->engine);
    buf_done(&c->leaf_der);
    buf_done(&c->kept);
    mem_free(c);
}

void http_conn_present(struct http_conn *c, const struct x509 *x)
{
    if (x509_to_der(x, &c->leaf_der) != OK) {
        buf_done(&c->leaf_der); /* without memory it has shown none */
    }
}

void http_conn_resumed(struct http_conn *c)
{
    c->is_resumed = true;
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

static void late(struct http_conn *c)
{
    struct http_door *d = c->door;
    if (c->is_asking && c->answer_until_ms <= d->now_ms) {
        c->is_asking = false;
        c->answer_until_ms = UINT64_MAX;
        http_say_text(c, 503, "the server could not decide in time: come again");
    } else if (c->stranger_until_ms <= d->now_ms) {
        struct event e = http_event(c, EVENT_slow_client);
        c->stranger_until_ms = UINT64_MAX;
        event_reason(&e, "no request came within preauth_seconds: the connection was closed. If it "
                         "is one of ours, look at its network");
        d->setup.event(d->setup.ctx, &e);
        count_add(&d->setup.counters->refused_limit, 1);
        count_limit(d->setup.counters, LIMIT_preauth_seconds);
        http_server_close(c->engine);
    } else if (c->leave_until_ms <= d->now_ms) {
        c->leave_until_ms = UINT64_MAX;
        c->is_shed = true;
    } else {
        http_server_tick(c->engine, d->now_ms);
        report_refused(c);
    }
    bound_leaving(c);
    arm(c);
    mark(c);
}

void http_door_turn(struct http_door *d, uint64_t now_ms, int64_t wall_ms)
{
    struct timer *t;
    d->now_ms = now_ms;
    d->wall_ms = wall_ms;
    d->setup.pages->turn(d);
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

#include "service/broker/admit.h"

#include "base/mem.h"
#include "service/broker/driver_private.h"

/* A connection that was accepted and not served yet. */
struct outsider {
    struct stranger stranger; /* in waiting */
    struct list_node node;    /* in outside */
    struct net_prefix prefix;
    struct net_peer peer;
    unsigned entrance; /* index: it begins by what that is then */
    uint64_t until_ms;
    int fd;
};

/* ---- life ---- */

/* This worker's part of preauth_connections. */
static size_t pool_of(const struct limits *l, size_t share)
{
    size_t most = l->preauth_connections / share;
    return most > 0 ? most : 1;
}

enum err admit_init(struct driver *d, const struct worker_setup *worker)
{
    struct admit *a = &d->admit;
    const struct limits *l = worker->limits;
    size_t share = worker->n_workers > 0 ? worker->n_workers : 1;
    size_t most = pool_of(l, share);
    list_init(&a->outside);
    line_init(&a->line);
    a->preauth_ms = (uint64_t)l->preauth_seconds * 1000;
    a->moved_at_ms = d->now_ms;
    a->prefixes = mem_alloc(sizeof(*a->prefixes));
    if (a->prefixes == NULL) {
        return ERR_NOMEM;
    }
    prefix_table_init(a->prefixes, &worker->key, l->connect_per_second, l->connect_burst,
                      (uint32_t)share);
    TRY(strangers_init(&a->strangers, &worker->key, most));
    return strangers_init(&a->waiting, &worker->key, most);
}

enum err admit_follow(struct driver *d, const struct limits *l)
{
    struct admit *a = &d->admit;
    size_t most = pool_of(l, a->prefixes->share);
    TRY(strangers_set_max(&a->strangers, most));
    TRY(strangers_set_max(&a->waiting, most));
    a->preauth_ms = (uint64_t)l->preauth_seconds * 1000;
    prefix_table_set(a->prefixes, l->connect_per_second, l->connect_burst);
    a->look_at_ms = 0;
    return OK;
}

/* Gives its descriptor to the caller. */
static int outsider_take(struct admit *a, struct outsider *o)
{
    int fd = o->fd;
    strangers_remove(&a->waiting, &o->stranger);
    list_unlink(&o->node);
    mem_free(o);
    return fd;
}

void admit_done(struct driver *d)
{
    struct admit *a = &d->admit;
    while (a->outside.head.next != NULL && !list_is_empty(&a->outside)) {
        net_reset(outsider_take(a, LIST_ENTRY(list_first(&a->outside), struct outsider, node)));
    }
    strangers_done(&a->waiting);
    strangers_done(&a->strangers);
    d->admit.prefixes = mem_free(d->admit.prefixes);
}

/* ---- events ---- */

static struct event admit_event(const struct driver *d, enum event_category category,
                                const char *listener)
{
    struct event e = event_make(category);
    e.wall_ms = d->setup.clock.wall_ms(d->setup.clock.ctx);
    EVENT_TEXT(&e, listener, slice_text(listener));
    return e;
}

static void tell_prefixes(struct driver *d)
{
    struct prefix_report r;
    while (prefix_next_report(d->admit.prefixes, d->now_ms, &r)) {
        char text[NET_PEER_TEXT_BYTES];
        struct event e =
            admit_event(d, EVENT_flood, driver_entrance_at(d, r.listener)->entrance.name);
        net_prefix_text(&r.prefix, text);
        e.count = r.refused;
        EVENT_TEXT(&e, peer, slice_text(text));
        event_reason(&e,
                     "the network %s begins more connections that fail or say nothing than "
                     "connect_per_second and connect_burst allow; more of it are closed at once. "
                     "Look there for a client that does not trust this server or has a wrong "
                     "certificate, or block it",
                     text);
        d->setup.event(d->setup.ctx, d->index, &e);
    }
}

static void tell_crowd(struct driver *d)
{
    struct admit *a = &d->admit;
    if (a->n_crowded_out == 0 || d->now_ms < a->tell_crowd_at_ms) {
        return;
    }
    struct event e = admit_event(d, EVENT_flood, "");
    e.count = a->n_crowded_out > UINT32_MAX ? UINT32_MAX : (uint32_t)a->n_crowded_out;
    event_reason(&e,
                 "more than preauth_connections were open that had not logged in; the oldest of "
                 "the network with most of them was closed each time. Look for slow or silent "
                 "clients in the slow_client events, or block their networks");
    a->n_crowded_out = 0;
    a->tell_crowd_at_ms = d->now_ms + ADMIT_TELL_MS;
    d->setup.event(d->setup.ctx, d->index, &e);
}

static void tell_pauses(struct driver *d)
{
    struct admit *a = &d->admit;
    uint64_t n = 0;
    const char *where = "";
    for (size_t i = 0; i < d->n_doors; i++) {
        if (d->doors[i].listener != NULL && listener_counts(d->doors[i].listener)->pauses > 0) {
            n += listener_counts(d->doors[i].listener)->pauses;
            where = d->doors[i].entrance->entrance.name;
        }
    }
    count_set(&d->counters->accept_pauses, n);
    if (n <= a->n_pauses_told || d->now_ms < a->tell_pause_at_ms) {
        return;
    }
    struct event e = admit_event(d, EVENT_quota, where);
    e.severity = SEVERITY_ALERT; /* clients stay outside until somebody does something */
    e.count = n - a->n_pauses_told > UINT32_MAX ? UINT32_MAX : (uint32_t)(n - a->n_pauses_told);
    event_reason(&e,
                 "no file descriptor is left for a new connection: accepting rests for %u ms each "
                 "time, who is connected is served. Raise LimitNOFILE of the service (ulimit -n)",
                 LISTENER_PAUSE_MS);
    a->n_pauses_told = n;
    a->tell_pause_at_ms = d->now_ms + ADMIT_TELL_MS;
    d->setup.event(d->setup.ctx, d->index, &e);
}

/* ---- in and out ---- */

static void refuse(struct driver *d, const struct driver_entrance *e,
                   const struct net_prefix *prefix)
{
    prefix_refused(d->admit.prefixes, prefix, e->entrance.index, d->now_ms);
    count_add(&d->counters->refused_prefix, 1);
    count_limit(d->counters, LIMIT_connect_per_second);
}

/* Only who may hope: others of its network are logging in. */
static bool may_wait(const struct admit *a, const struct net_prefix *prefix)
{
    return strangers_count(&a->strangers, prefix) > 0 &&
           strangers_count(&a->waiting, prefix) < ADMIT_OUTSIDE_PREFIX &&
           a->waiting.n < a->waiting.max;
}

static enum err wait_outside(struct driver *d, const struct driver_entrance *e, int fd,
                             const struct net_peer *peer, const struct net_prefix *prefix)
{
    struct admit *a = &d->admit;
    struct outsider *o = mem_zalloc(sizeof(*o));
    if (o == NULL) {
        return ERR_NOMEM;
    }
    enum err err = strangers_add(&a->waiting, &o->stranger, prefix);
    if (err != OK) {
        mem_free(o);
        return err;
    }
    o->prefix = *prefix;
    o->peer = *peer;
    o->entrance = e->entrance.index;
    o->fd = fd;
    o->until_ms = d->now_ms + a->preauth_ms;
    list_append(&a->outside, &o->node);
    return OK;
}

void admit_come(struct driver *d, const struct driver_entrance *e, int fd,
                const struct net_peer *peer)
{
    struct admit *a = &d->admit;
    struct net_prefix prefix = net_peer_prefix(peer);
    bool is_first = strangers_count(&a->waiting, &prefix) == 0; /* nobody is overtaken */
    if (is_first && prefix_take(a->prefixes, &prefix, d->now_ms)) {
        link_open(d, e, fd, peer, d->now_ms + a->preauth_ms);
    } else if (!may_wait(a, &prefix) || wait_outside(d, e, fd, peer, &prefix) != OK) {
        net_reset(fd);
        refuse(d, e, &prefix);
    }
}

/* In order; of each network as many as its budget has tokens. */
static void look_outside(struct driver *d)
{
    struct admit *a = &d->admit;
    if (list_is_empty(&a->outside) || d->now_ms < a->look_at_ms) {
        return;
    }
    a->look_at_ms = d->now_ms + ADMIT_LOOK_MS;
    list_for_each_safe (n, next, &a->outside) {
        struct outsider *o = LIST_ENTRY(n, struct outsider, node);
        struct outsider copy = *o;
        const struct driver_entrance *e = driver_entrance_at(d, o->entrance);
        if (!door_admits(d, o->entrance, &o->peer)) {
            net_reset(outsider_take(a, o)); /* `from` has changed since it came */
        } else if (d->now_ms >= o->until_ms) {
            net_reset(outsider_take(a, o));
            refuse(d, e, &copy.prefix);
        } else if (prefix_take(a->prefixes, &o->prefix, d->now_ms)) {
            link_open(d, e, outsider_take(a, o), &copy.peer, copy.until_ms);
        }
    }
}

static void make_room(struct driver *d)
{
    const struct stranger *victim;
    while ((victim = strangers_victim(&d->admit.strangers)) != NULL) {
        d->admit.n_crowded_out++;
        count_add(&d->counters->refused_preauth, 1);
        count_limit(d->counters, LIMIT_preauth_connections);
        link_crowd_out(CONTAINER_OF(victim, struct admitted, stranger)->link);
    }
}

enum err admit_enter(struct link *l, const struct net_peer *peer)
{
    struct driver *d = l->driver;
    struct admitted *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    l->admitted = s;
    s->link = l;
    s->prefix = net_peer_prefix(peer);
    make_room(d);
    TRY(strangers_add(&d->admit.strangers, &s->stranger, &s->prefix));
    s->is_charged = true;
    return OK;
}

void admit_gone(struct link *l)
{
    struct admit *a = &l->driver->admit;
    if (l->admitted != NULL) {
        line_remove(&a->line, &l->admitted->line);
        strangers_remove(&a->strangers, &l->admitted->stranger);
        l->admitted = mem_free(l->admitted);
    }
}

void admit_spoke(struct link *l)
{
    struct admit *a = &l->driver->admit;
    if (l->admitted == NULL || !l->admitted->is_charged) {
        return;
    }
    const struct net_prefix *prefix = &l->admitted->prefix;
    l->admitted->is_charged = false;
    prefix_give(a->prefixes, prefix, l->driver->now_ms);
    if (strangers_count(&a->waiting, prefix) > 0) {
        a->look_at_ms = 0;
        a->moved_at_ms = l->driver->now_ms;
    }
}

void admit_known(struct link *l)
{
    admit_spoke(l);
    admit_gone(l);
}

bool admit_knock_dtls(struct driver *d, const struct driver_entrance *e,
                      const struct net_peer *peer)
{
    struct net_prefix prefix = net_peer_prefix(peer);
    bool is_handshake = !e->entrance.is_oscore; /* a plain peer costs no cryptography */
    if (is_handshake && d->admit.n_dtls >= ADMIT_DTLS_A_TURN) {
        return false;
    }
    if (!prefix_take(d->admit.prefixes, &prefix, d->now_ms)) {
        refuse(d, e, &prefix);
        return false;
    }
    d->admit.n_dtls += is_handshake ? 1 : 0;
    return true;
}

void admit_known_dtls(struct driver *d, const struct net_peer *peer)
{
    struct net_prefix prefix = net_peer_prefix(peer);
    prefix_give(d->admit.prefixes, &prefix, d->now_ms);
}

/* ---- the line ---- */

void admit_wait(struct link *l)
{
    struct driver *d = l->driver;
    enum line_part part = LINE_BEGUN;
    if (list_is_linked(&l->admitted->line)) {
        return;
    }
    if (!l->admitted->has_begun) {
        part = stream_offers_ticket(link_stream(l), d->io) ? LINE_RESUMED : LINE_FULL;
    }
    line_add(&d->admit.line, part, &l->admitted->line);
}

static struct link *take_from_line(struct admit *a)
{
    struct list_node *n = line_take(&a->line);
    return n != NULL ? LIST_ENTRY(n, struct admitted, line)->link : NULL;
}

/* Messages of those who have logged in, through every door. */
static uint64_t traffic(const struct counters *c)
{
    _Atomic uint64_t const *const each[] = {&c->received_qos0, &c->received_qos1, &c->received_qos2,
                                            &c->sent_qos0,     &c->sent_qos1,     &c->sent_qos2};
    uint64_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(each); i++) {
        sum += atomic_load_explicit(each[i], memory_order_relaxed);
    }
    return sum;
}

/* Nobody to feel it: all of the time. */
static unsigned percent_of(const struct admit *a, uint64_t now_ms)
{
    return a->live_at_ms != 0 && now_ms - a->live_at_ms < ADMIT_LIVE_MS ? ADMIT_PERCENT : 100;
}

static void look_for_live(struct driver *d)
{
    struct admit *a = &d->admit;
    uint64_t now = traffic(d->counters);
    if (now != a->traffic) {
        a->traffic = now;
        a->live_at_ms = d->now_ms;
    }
}

static uint64_t mono_us(const struct driver *d)
{
    return d->setup.clock.mono_us(d->setup.clock.ctx);
}

bool admit_may(struct driver *d)
{
    struct admit *a = &d->admit;
    return duty_may(&a->duty, mono_us(d), percent_of(a, d->now_ms));
}

void admit_spend(struct driver *d, uint64_t us)
{
    duty_spend(&d->admit.duty, us);
    count_add(&d->counters->admission_us, us);
}

uint64_t admit_again_ms(const struct driver *d)
{
    const struct admit *a = &d->admit;
    uint64_t wait_us = duty_wait_us(&a->duty, percent_of(a, d->now_ms));
    return wait_us == 0 ? 0 : (a->duty.earned_at_us + wait_us) / 1000 + 1;
}

static uint64_t share_us(const struct admit *a)
{
    uint64_t half = a->live_us / 2;
    return half < ADMIT_TURN_LEAST_US ? ADMIT_TURN_LEAST_US
           : half > ADMIT_TURN_US     ? ADMIT_TURN_US
                                      : half;
}

void admit_measured(struct driver *d, uint64_t turn_us)
{
    struct admit *a = &d->admit;
    a->live_us = turn_us > a->spent_us ? turn_us - a->spent_us : 0;
    a->spent_us = 0;
}

static void serve_line(struct driver *d)
{
    struct admit *a = &d->admit;
    if (a->line.n == 0 || !admit_may(d)) {
        return;
    }
    uint64_t start_us = mono_us(d);
    struct link *l = take_from_line(a);
    while (l != NULL) {
        l->admitted->has_begun = true;
        l->admitted->is_held = false;
        link_step(l);
        uint64_t spent_us = mono_us(d) - start_us;
        admit_spend(d, spent_us - a->spent_us);
        a->spent_us = spent_us;
        l = spent_us >= share_us(a) || !admit_may(d) ? NULL : take_from_line(a);
    }
}

/* Who goes on waiting is not watched: level-triggered epoll would tell of it each turn. */
static void hold_line(struct driver *d)
{
    for (size_t i = 0; i < LINE_PARTS; i++) {
        list_for_each_safe (n, next, &d->admit.line.part[i]) {
            struct link *l = LIST_ENTRY(n, struct admitted, line)->link;
            if (!l->admitted->is_held) {
                l->admitted->is_held = true;
                link_hold(l);
            }
        }
    }
}

/* ---- rest ---- */

static void rest_or_accept(struct driver *d)
{
    struct admit *a = &d->admit;
    unsigned part = a->is_resting ? 2 : 1; /* it ends at half of where it began */
    bool is_moving = d->now_ms - a->moved_at_ms < ADMIT_PATIENCE_MS;
    bool rest = a->line.n >= ADMIT_LINE_MAX / part ||
                (is_moving && a->waiting.n >= ADMIT_OUTSIDE_REST / part);
    if (rest == a->is_resting) {
        return;
    }
    a->is_resting = rest;
    for (size_t i = 0; i < d->n_doors; i++) {
        if (d->doors[i].listener == NULL) {
            continue;
        }
        if (rest) {
            listener_pause(d->doors[i].listener);
        } else {
            listener_resume(d->doors[i].listener);
        }
    }
}

void admit_turn(struct driver *d)
{
    struct admit *a = &d->admit;
    look_for_live(d);
    serve_line(d);
    hold_line(d);
    look_outside(d);
    rest_or_accept(d);
    a->n_dtls = 0;
    tell_prefixes(d);
    tell_crowd(d);
    tell_pauses(d);
    count_set(&d->counters->strangers, a->strangers.n);
    count_set(&d->counters->handshakes_waiting, a->line.n + a->waiting.n);
}

uint64_t admit_deadline(const struct driver *d)
{
    const struct admit *a = &d->admit;
    uint64_t at = prefix_deadline(a->prefixes);
    if (a->line.n > 0) {
        uint64_t again = admit_again_ms(d);
        at = again < at ? again : at;
    }
    if (!list_is_empty(&a->outside)) { /* ends a rest without moves, too */
        at = a->look_at_ms < at ? a->look_at_ms : at;
    }
    if (a->n_crowded_out > 0) {
        at = a->tell_crowd_at_ms < at ? a->tell_crowd_at_ms : at;
    }
    return at;
}

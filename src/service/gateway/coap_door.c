/* The door itself: birth, turns, end. */
#include "service/gateway/coap_door.h"

#include "base/mem.h"
#include "net/unproven.h"
#include "service/gateway/door_private.h"

_Static_assert(COAP_DOOR_NUDGE_MS == COAP_DOOR_IDLE_MS / 2, "half way, as nudge_at has it");

/* ---- keys of maps ---- */

struct slice association_key(const void *value)
{
    const struct association *a = value;
    return slice_of(&a->id, sizeof(a->id));
}

static struct slice watch_cookie_key(const void *value)
{
    const struct watch *w = value;
    return slice_of(&w->observer.cookie, sizeof(w->observer.cookie));
}

static struct slice ticket_key(const void *value)
{
    const struct ticket *t = value;
    return slice_of(&t->cookie, sizeof(t->cookie));
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- birth and end ---- */

MUST_USE enum err coap_door_new(const struct coap_door_setup *setup, uint64_t now_ms,
                                int64_t wall_ms, struct coap_door **ret)
{
    AUTO(coap_door_autofree) struct coap_door *d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        return ERR_NOMEM;
    }
    d->setup = *setup;
    d->coap = setup->coap != NULL ? *setup->coap : coap_limits_default();
    d->coap.understood |= COAP_OPTION_BIT(COAP_OPTION_BLOCK1) | COAP_OPTION_BIT(COAP_OPTION_BLOCK2);
    /* SPEC: RFC7641 4.5: at least every 24 hours; and a nudge is confirmable */
    d->coap.notification_con_ms = (uint32_t)least(d->coap.notification_con_ms, COAP_DOOR_NUDGE_MS);
    struct coap_block_limits blocks = coap_block_limits_default();
    blocks.body_bytes = setup->limits->packet_bytes;
    blocks.owner_bytes = 2 * (uint64_t)setup->limits->packet_bytes;
    coap_bodies_init(&d->bodies, &blocks, &setup->key);
    list_init(&d->passing);
    list_init(&d->wishes);
    d->coap.understood |=
        COAP_OPTION_BIT(COAP_OPTION_IF_MATCH) | COAP_OPTION_BIT(COAP_OPTION_IF_NONE_MATCH);
    d->echo_key = (struct siphash_key){random_u64(&setup->random), random_u64(&setup->random)};
    d->coap.token_bytes = COAP_ENDPOINT_TOKEN_MAX; /* SPEC: RFC8974 2.1 */
    d->now_ms = now_ms;
    d->wall_ms = wall_ms;
    d->epoch = worker_realm(setup->worker)->epoch;
    d->next_cookie = (uint64_t)setup->index << WORKER_DOOR_SHIFT;
    map_init(&d->associations, &setup->key, association_key);
    map_init(&d->beginning, &setup->key, watch_cookie_key);
    map_init(&d->tickets, &setup->key, ticket_key);
    map_init(&d->failures, &setup->key, failure_key);
    list_init(&d->failures_by_age);
    list_init(&d->held);
    wheel_init(&d->wheel, now_ms);
    homes_init(d);
    spoof_init(&d->spoof, &setup->key);
    struct dtls_handler handler = door_dtls_handler(d, setup->entrance);
    list_init(&d->streams);
    list_init(&d->dirty_streams);
    wheel_init(&d->callers, now_ms);
    if (!setup->entrance->is_stream) {
        TRY(setup->entrance->is_oscore ? oscore_open(d, &handler)
                                       : setup->open(setup->ctx, &handler, &d->dtls));
    }
    TRY(proxy_open(d));
    d->shedder = door_shedder(d);
    worker_add_shedder(setup->worker, &d->shedder);
    *ret = TAKE(d);
    return OK;
}

struct coap_door *coap_door_free(struct coap_door *d)
{
    if (d == NULL) {
        return NULL;
    }
    size_t at = 0;
    struct association *a;
    d->depth = 1; /* nobody hears of these ends */
    d->setup.event = NULL;
    while ((a = map_next(&d->associations, &at)) != NULL) {
        association_close(a, NULL);
    }
    door_leave(d);
    list_unlink(&d->shedder.node);
    dtls_free(d->dtls);
    proxy_done(d);
    multicast_done(d);
    coap_bodies_done(&d->bodies);
    est_done(d);
    (void)lookups_drop(d);
    (void)fetches_drop(d);
    oscore_done(d);
    homes_done(d);
    map_done(&d->associations);
    map_done(&d->beginning);
    map_done(&d->tickets);
    tickets_done(d);
    coap_spares_done(&d->spares);
    poison_forget_all(d);
    map_done(&d->failures);
    return mem_free(d);
}

void coap_door_drain(struct coap_door *d, uint64_t now_ms)
{
    size_t at = 0;
    struct association *a;
    door_enter(d, now_ms);
    d->is_draining = true;
    while ((a = map_next(&d->associations, &at)) != NULL) {
        association_close(a, "the server goes down");
    }
    (void)streams_turn_away(d);
    door_leave(d);
}

enum err coap_door_renew(struct coap_door *d, const struct entrance *entrance,
                         const struct dtls_server_config *dtls)
{
    char text[TLS_TEXT_BYTES];
    struct dtls_handler handler = door_dtls_handler(d, entrance);
    return dtls_renew(d->dtls, dtls, &handler, text);
}

void coap_door_follow(struct coap_door *d, const struct entrance *entrance,
                      const struct limits *limits, const struct proxy_rules *proxy)
{
    d->setup.entrance = entrance;
    d->setup.limits = limits;
    proxy_follow(d, proxy);
}

size_t coap_door_count(const struct coap_door *d)
{
    return d->associations.n;
}

/* ---- calls ---- */

void door_enter(struct coap_door *d, uint64_t now_ms)
{
    d->depth++;
    d->now_ms = now_ms > d->now_ms ? now_ms : d->now_ms;
}

void door_leave(struct coap_door *d)
{
    struct list_node *n;
    d->depth--;
    while (d->depth == 0 && (n = thin_first(&d->gone)) != NULL) {
        thin_remove(&d->gone, n);
        association_free(LIST_ENTRY(n, struct association, timer.node));
    }
}

void coap_door_set_time(struct coap_door *d, int64_t wall_ms)
{
    d->wall_ms = wall_ms;
}

/* ---- who has not proven its address ---- */

/* Only what was answered, or would have been, can be aimed at somebody else. */
static void note_unproven(struct coap_door *d, const struct net_peer *peer,
                          const struct coap_counters *before)
{
    const struct coap_counters *now = &d->counts;
    uint64_t n_heard = now->unproven_datagrams - before->unproven_datagrams;
    bool is_answered = now->unproven_bytes_out != before->unproven_bytes_out ||
                       now->unproven_withheld != before->unproven_withheld;
    if (now->proofs != before->proofs) {
        spoof_came_back(&d->spoof, peer, 1);
    } else if (n_heard > 0 && is_answered) {
        spoof_challenged(&d->spoof, peer, d->now_ms);
    }
}

static void tell_spoofed(struct coap_door *d)
{
    struct spoof_report r;
    char from[NET_PEER_TEXT_BYTES], network[NET_PEER_TEXT_BYTES];
    while (spoof_next_report(&d->spoof, d->now_ms, &r)) {
        struct event e = door_event(d, EVENT_amplification);
        net_prefix_text(&r.prefix, network);
        net_peer_text(&r.last, from);
        if (!r.is_spread) {
            EVENT_TEXT(&e, peer, slice_text(from));
            EVENT_TEXT(&e, target, slice_text(network));
        }
        e.count = r.n < UINT32_MAX ? (uint32_t)r.n : UINT32_MAX;
        event_reason(
            &e,
            "requests in the name of %s were challenged and nobody came back: their source "
            "addresses seem forged. None got over %d bytes for one. Let the router drop "
            "forged sources; `from` of the listener says who may come",
            r.is_spread ? "many networks" : network, UNPROVEN_TIMES);
        door_report(d, &e);
    }
}

/* Several doors of one worker add to the same numbers. */
static void show_unproven(struct coap_door *d)
{
    struct counters *to = d->setup.counters;
    const struct coap_counters *now = &d->counts;
    const struct coap_counters *shown = &d->shown;
    count_add(&to->coap_in_bytes, now->unproven_bytes_in - shown->unproven_bytes_in);
    count_add(&to->coap_out_bytes, now->unproven_bytes_out - shown->unproven_bytes_out);
    count_add(&to->coap_unproven, now->unproven_datagrams - shown->unproven_datagrams);
    count_add(&to->coap_withheld, now->unproven_withheld - shown->unproven_withheld);
    count_add(&to->coap_proofs, now->proofs - shown->proofs);
    count_most(&to->coap_worst_per_mille, now->unproven_worst_per_mille);
    d->shown = *now;
}

void coap_door_datagram(struct coap_door *d, const struct net_peer *peer, struct slice bytes,
                        uint64_t now_ms)
{
    if (d->is_draining && d->setup.entrance->is_oscore) {
        return; /* who hears nothing comes again; who hears 4.01 may give up */
    }
    struct coap_counters before = d->counts;
    door_enter(d, now_ms);
    dtls_input(d->dtls, peer, bytes, d->now_ms);
    note_unproven(d, peer, &before);
    door_leave(d);
}

/* ---- what an endpoint wants ---- */

/* How long it may say nothing. */
static uint64_t idle_ms(const struct association *a)
{
    return plain_is(a) ? COAP_DOOR_PLAIN_IDLE_MS : COAP_DOOR_IDLE_MS;
}

/* When whoever only listens is asked whether it still does: half way. */
static uint64_t nudge_at(const struct association *a)
{
    uint64_t since = a->nudged_at_ms > a->heard_at_ms ? a->nudged_at_ms : a->heard_at_ms;
    return thin_is_empty(&a->lookers) ? UINT64_MAX : since + idle_ms(a) / 2;
}

static void arm(struct association *a)
{
    struct coap_door *d = a->door;
    uint64_t at = least(talk_deadline(a), a->heard_at_ms + idle_ms(a));
    at = a->stream == NULL ? least(at, nudge_at(a)) : at;
    at = least(at, errands_deadline(a));
    if (a->credential_ends_wall_ms != CREDENTIAL_NEVER) {
        int64_t left = a->credential_ends_wall_ms - d->wall_ms;
        at = least(at, left > 0 ? d->now_ms + (uint64_t)left : d->now_ms);
    }
    /* Never now: an endpoint that lacks memory asks again and again. */
    wheel_arm(&d->wheel, &a->timer, at > d->now_ms ? at : d->now_ms + 1);
}

void association_serve(struct association *a)
{
    struct coap_door *d = a->door;
    size_t n;
    if (a->stream != NULL && !a->is_gone) {
        stream_mark(a->stream);
        stream_follow(a->stream);
    }
    while (!a->is_gone && a->endpoint != NULL &&
           (n = coap_endpoint_output(a->endpoint, d->plain, sizeof(d->plain))) > 0) {
        enum err err = dtls_send(d->dtls, a->id, slice_of(d->plain, n), d->now_ms);
        if (err != OK && err != ERR_NOT_FOUND) {
            association_close(a, "a datagram could not be sealed");
        }
    }
    if (!a->is_gone) {
        association_fit_side(a);
        arm(a);
    }
}

/* What time demands of its engine. */
static void tick_endpoint(struct association *a)
{
    struct coap_door *d = a->door;
    struct coap_event ev = {.kind = COAP_EVENT_NONE};
    do {
        if (coap_endpoint_tick(a->endpoint, d->now_ms, &ev) != OK) {
            count_add(&d->setup.counters->dropped_memory, 1);
            return;
        }
        request_serve(a, &ev);
    } while (ev.kind != COAP_EVENT_NONE && !a->is_gone);
}

static void association_tick(struct association *a)
{
    struct coap_door *d = a->door;
    if (d->now_ms >= a->heard_at_ms + idle_ms(a)) {
        association_close(a, plain_is(a) ? "nothing was heard of it for a quarter of an hour"
                                         : "nothing was heard of it for a day");
        return;
    }
    if (a->credential_ends_wall_ms <= d->wall_ms) {
        association_recheck(a); /* says so and closes it */
        return;
    }
    if (a->stream == NULL && d->now_ms >= nudge_at(a)) {
        a->nudged_at_ms = d->now_ms;
        watch_nudge(a);
    }
    errands_expire(a);
    if (a->stream != NULL) {
        coap_channel_tick(talk_channel(a), d->now_ms);
    } else {
        tick_endpoint(a);
    }
    association_serve(a);
}

/* ---- turns ---- */

void coap_door_realm_changed(struct coap_door *d, uint64_t now_ms, int64_t wall_ms)
{
    size_t at = 0;
    struct association *a;
    door_enter(d, now_ms);
    d->wall_ms = wall_ms;
    d->epoch = worker_realm(d->setup.worker)->epoch;
    while ((a = map_next(&d->associations, &at)) != NULL) {
        association_recheck(a);
    }
    door_leave(d);
}

static void take_done(struct coap_door *d)
{
    uint64_t cookie;
    while (worker_next_done(d->setup.worker, d->setup.index, &cookie)) {
        struct slice key = slice_of(&cookie, sizeof(cookie));
        struct ticket *t = map_find(&d->tickets, key);
        struct watch *w = map_find(&d->beginning, key);
        if (t != NULL) {
            struct association *a = t->asker.a;
            ticket_committed(t);
            association_serve(a);
        } else if (w != NULL) {
            struct association *a = w->a;
            watch_ready(w);
            association_serve(a);
        } else {
            (void)oscore_numbers_done(d, cookie);
        }
    }
}

static void take_messages(struct coap_door *d)
{
    struct observer *o;
    while ((o = worker_next_observer(d->setup.worker, d->setup.index)) != NULL) {
        struct watch *w = CONTAINER_OF(o, struct watch, observer);
        struct association *a = w->a;
        watch_notify(w);
        association_serve(a);
    }
}

void coap_door_turn(struct coap_door *d, uint64_t now_ms, int64_t wall_ms)
{
    struct timer *t;
    door_enter(d, now_ms);
    d->wall_ms = wall_ms;
    if (worker_realm(d->setup.worker)->epoch != d->epoch) {
        coap_door_realm_changed(d, now_ms, wall_ms); /* before anything is said to anybody */
    }
    shed_look(d);
    homes_turn(d);
    take_done(d);
    take_messages(d);
    errands_turn(d);
    enrol_turn(d);
    est_turn(d);
    shed_release(d);
    poison_turn(d);
    if (d->dtls != NULL) {
        dtls_tick(d->dtls, d->now_ms);
    }
    streams_turn(d);
    coap_bodies_expire(&d->bodies, d->now_ms);
    passing_expire(d);
    proxy_turn(d);
    multicast_turn(d);
    wheel_advance(&d->wheel, d->now_ms);
    while ((t = wheel_next(&d->wheel)) != NULL) {
        association_tick(CONTAINER_OF(t, struct association, timer));
    }
    tell_spoofed(d);
    show_unproven(d);
    door_leave(d);
}

uint64_t coap_door_deadline(const struct coap_door *d)
{
    uint64_t blocks = least(coap_bodies_deadline(&d->bodies), passing_deadline(d));
    uint64_t strangers = d->dtls != NULL ? dtls_deadline(d->dtls) : wheel_deadline(&d->callers);
    uint64_t others = least(proxy_deadline(d), spoof_deadline(&d->spoof));
    others = least(others, multicast_deadline(d));
    others = least(others, est_deadline(d));
    return least(least(blocks, others), least(strangers, wheel_deadline(&d->wheel)));
}

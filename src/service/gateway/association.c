/* Who is there: from the end of the handshake to the end of an association. */
#include "base/mem.h"
#include "service/broker/lane.h"
#include "service/gateway/door_private.h"

/* ---- events ---- */

void door_report(struct coap_door *d, const struct event *e)
{
    if (d->setup.event != NULL) {
        d->setup.event(d->setup.ctx, e);
    }
}

struct event door_event(const struct coap_door *d, enum event_category category)
{
    struct event e = event_make(category);
    e.wall_ms = d->wall_ms;
    e.protocol = EVENT_PROTOCOL_coap;
    EVENT_TEXT(&e, listener, slice_text(d->setup.entrance->name));
    return e;
}

struct event association_event(const struct association *a, enum event_category category)
{
    struct event e = door_event(a->door, category);
    char text[NET_PEER_TEXT_BYTES];
    net_peer_text(&a->peer, text);
    EVENT_TEXT(&e, peer, slice_text(text));
    if (a->account != NULL) {
        EVENT_TEXT(&e, principal, slice_text(a->account->principal->name));
    }
    return e;
}

/* ---- records that came before ---- */

static void on_replayed(void *ctx, uint64_t id)
{
    struct coap_door *d = ctx;
    struct door_replays *r = &d->replays;
    const struct association *a = association_find(d, id);
    if (d->now_ms >= r->since_ms + REPLAYS_INTERVAL_MS) {
        uint32_t n_untold = r->n >= REPLAYS_BURST ? r->n_untold : 0;
        *r = (struct door_replays){.since_ms = d->now_ms, .n_untold = n_untold};
    }
    r->n++;
    r->n_untold++;
    if (r->n < REPLAYS_BURST || r->is_told || a == NULL) {
        return;
    }
    struct event e = association_event(a, EVENT_replay);
    e.count = r->n_untold;
    event_reason(&e, "sealed records came again that were taken before, or were forged to look so: "
                     "they were dropped, nothing was done twice. Somebody on the way records and "
                     "repeats; look at the network of this address");
    r->is_told = true;
    r->n_untold = 0;
    door_report(d, &e);
}

/* ---- birth and death ---- */

static enum err open_endpoint(struct association *a)
{
    struct coap_door *d = a->door;
    struct coap_endpoint_setup setup = {.limits = &d->coap,
                                        .counters = &d->counts,
                                        .spares = &d->spares,
                                        /* an Echo is of one association, not of an address */
                                        .peer = slice_of(&a->id, sizeof(a->id)),
                                        .echo_key = &d->echo_key,
                                        .seed = random_u64(&d->setup.random),
                                        .proven = true,
                                        .out_max = a->out_max};
    return coap_endpoint_new(&setup, d->now_ms, &a->endpoint);
}

enum err association_begin_as(struct coap_door *d, const struct dtls_info *info,
                              struct coap_stream *stream, const struct principal *principal,
                              struct association **ret)
{
    struct association *a = mem_zalloc(sizeof(*a));
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->id = info->id;
    a->door = d;
    a->heard_at_ms = d->now_ms;
    a->peer = info->peer;
    a->out_max = info->plain_max;
    a->stream = stream;
    enum err err = worker_account(d->setup.worker, principal, d->now_ms, &a->account);
    if (err == OK && stream == NULL) {
        err = open_endpoint(a);
    }
    if (err == OK) {
        err = map_add(&d->associations, a);
    }
    if (err != OK) {
        association_free(a);
        return err;
    }
    uint32_t rate = grants_limits(&a->account->grants)->replay_rate;
    bucket_init(&a->reads, rate, rate, d->now_ms);
    *ret = a;
    return OK;
}

struct sidework *association_side(struct association *a)
{
    if (a->side == NULL && (a->side = mem_zalloc(sizeof(*a->side))) != NULL) {
        list_init(&a->side->errands);
        list_init(&a->side->relays);
    }
    return a->side;
}

void association_fit_side(struct association *a)
{
    if (a->side != NULL && list_is_empty(&a->side->errands) && list_is_empty(&a->side->relays) &&
        a->side->registering == NULL) {
        a->side = mem_free(a->side);
    }
}

struct association *association_free(struct association *a)
{
    if (a != NULL) {
        coap_endpoint_free(a->endpoint);
        if (a->side != NULL) {
            mem_free(a->side->registering);
            mem_free(a->side);
        }
        if (a->stream == NULL) {
            mem_free(a->cert_id);
        }
        if (a->account != NULL) {
            worker_account_release(a->door->setup.worker, a->account);
        }
        mem_free(a);
    }
    return NULL;
}

/* Too many new associations of one principal in a second: its rate, like that of connections. */
static bool is_too_often(struct association *a)
{
    struct coap_door *d = a->door;
    if (account_take(a->account, ACCOUNT_CONNECTS, 1, d->now_ms)) {
        return false;
    }
    struct event e = association_event(a, EVENT_rate);
    event_reason(&e, "%s connects too often (connect_rate %u/s); let it keep its association",
                 a->account->principal->name, (unsigned)account_rate(a->account, ACCOUNT_CONNECTS));
    count_add(&d->setup.counters->refused_rate, 1);
    count_limit(d->setup.counters, LIMIT_connect_rate);
    door_report(d, &e);
    return true;
}

/* It has a place in the plant, and this door is elsewhere. */
static bool is_misplaced(struct association *a)
{
    struct coap_door *d = a->door;
    struct decision why;
    if (passage_segment(a->account, entrance_segment(d->setup.entrance), &why) == OK) {
        return false;
    }
    struct event e = association_event(a, EVENT_identity_mismatch);
    event_reason(&e, "%s", why.rule);
    door_report(d, &e);
    return true;
}

enum err association_welcome(struct association *a, const char *words, const char *cipher,
                             const char *more)
{
    struct coap_door *d = a->door;
    if (is_too_often(a) || is_misplaced(a)) {
        (void)map_remove(&d->associations, association_key(a));
        association_free(a);
        return ERR_DENIED;
    }
    struct event e = association_event(a, EVENT_connect);
    event_reason(&e, "%s, %s%s", words, cipher, more);
    door_report(d, &e);
    count_add(&d->setup.counters->connections_coap, 1);
    count_add(&d->setup.counters->connections_at[d->setup.entrance->index], 1);
    return OK;
}

enum err association_begin(struct coap_door *d, const struct dtls_info *info,
                           struct coap_stream *stream, const struct directory_entry *entry,
                           const struct credential *credential, bool is_late, const char *words,
                           struct association **ret)
{
    struct association *a = NULL;
    const struct principal *p = NULL;
    if (is_late) {
        TRY(late_principal(entry, &p));
    } else {
        p = principal_ref(entry->principal);
    }
    enum err err = association_begin_as(d, info, stream, p, &a);
    principal_unref(p);
    TRY(err);
    a->credential = credential->id;
    a->step_up = entry->principal->step_up;
    a->credential_ends_wall_ms =
        is_late ? d->wall_ms + LANE_SECONDS * 1000
                : directory_ends(worker_realm(d->setup.worker)->directory, credential);
    TRY(association_welcome(a, words, info->cipher,
                            is_late ? ", in the renewal lane: its certificate has ended" : ""));
    if (!is_late) {
        credential_used(credential, d->wall_ms);
    }
    *ret = a;
    return OK;
}

/* A certificate may be revoked later. */
static enum err keep_cert_id(struct association *a, const struct digest *id)
{
    struct digest *copy = mem_alloc(sizeof(*copy));
    if (copy == NULL) {
        association_close(a, "there is no memory for who it is");
        return ERR_NOMEM;
    }
    *copy = *id;
    a->cert_id = copy;
    return OK;
}

static enum err admit(struct coap_door *d, const struct dtls_info *info)
{
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    struct association *a = NULL;
    bool is_late = false;
    struct digest cert_id = {{0}};
    if (info->permission != 0) {
        return plain_admit(d, info);
    }
    TRY(stranger_who_is(d, info, &cert_id, &entry, &credential, &is_late));
    TRY(stranger_steps_up(d, info, entry->principal));
    const char *words = info->credential != 0      ? "OSCORE"
                        : info->psk_identity.n > 0 ? "DTLS 1.2 with a pre-shared key"
                        : info->is_resumed         ? "DTLS 1.2 with a certificate, by a ticket"
                                                   : "DTLS 1.2 with a certificate";
    TRY(association_begin(d, info, NULL, entry, credential, is_late, words, &a));
    if (info->peer_cert.n > 0) {
        TRY(keep_cert_id(a, &cert_id));
    }
    if (info->credential != 0) {
        homes_located(a, &info->peer);
    }
    errands_heard(a);
    association_serve(a);
    return OK;
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    struct coap_door *d = ctx;
    enum err err = d->is_draining ? ERR_CLOSED : admit(d, info);
    if (err != OK) {
        count_add(&d->setup.counters->refused_denied, 1);
        dtls_close(d->dtls, info->id);
    } else {
        count_add(&d->setup.counters->handshakes_ok, 1);
        count_add(&d->setup.counters->handshakes_resumed, info->is_resumed ? 1 : 0);
        if (d->setup.known != NULL) {
            d->setup.known(d->setup.ctx, &info->peer);
        }
    }
}

/* ---- the end ---- */

void association_close(struct association *a, const char *why)
{
    struct coap_door *d = a->door;
    if (a->is_gone) {
        return;
    }
    a->is_gone = true;
    if (a->account != NULL) {
        directory_left(worker_realm(d->setup.worker)->directory, a->account->principal,
                       a->credential, d->wall_ms);
    }
    struct event e = association_event(a, EVENT_disconnect);
    event_reason(&e, "%s", why != NULL ? why : "-");
    door_report(d, &e);
    homes_closed(a);
    count_sub(&d->setup.counters->connections_coap, 1);
    count_sub(&d->setup.counters->connections_at[d->setup.entrance->index], 1);
    struct list_node *n;
    while ((n = thin_first(&a->watches)) != NULL) {
        watch_free(LIST_ENTRY(n, struct watch, in_association));
    }
    while ((n = thin_first(&a->tickets)) != NULL) {
        ticket_free(LIST_ENTRY(n, struct ticket, node));
    }
    proxy_left(a);
    coap_bodies_end(&d->bodies, a->id);
    errands_close(a);
    wheel_cancel(&d->wheel, &a->timer);
    (void)map_remove(&d->associations, association_key(a));
    if (a->stream != NULL) {
        stream_leave(a->stream);
    } else {
        dtls_close(d->dtls, a->id);
    }
    thin_append(&d->gone, &a->timer.node);
}

struct association *association_find(const struct coap_door *d, uint64_t id)
{
    return map_find(&d->associations, slice_of(&id, sizeof(id)));
}

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct coap_door *d = ctx;
    struct association *a = association_find(d, id);
    if (a != NULL && why == ERR_EXISTS) {
        lookers_lost(a); /* it began anew before it had acknowledged */
    }
    if (a != NULL) {
        association_close(a, why == OK           ? "the client closed it"
                             : why == ERR_EXISTS ? "the client made a new association"
                                                 : "the association broke");
    }
}

/* ---- a new realm ---- */

/* Is the credential it came in by still in force? A rotation may have moved its end. */
static bool has_credential(struct association *a, const struct directory_entry *entry)
{
    const struct directory_version *v = worker_realm(a->door->setup.worker)->directory;
    for (size_t i = 0; i < entry->n_credentials; i++) {
        const struct credential *c = entry->credentials[i];
        if (c->id == a->credential) {
            a->credential_ends_wall_ms = directory_ends(v, c);
            return directory_is_live(v, c, a->door->wall_ms);
        }
    }
    return false;
}

static void cut_off(struct association *a, const char *why)
{
    struct event e = association_event(a, EVENT_revoked);
    e.is_unasked = true;
    event_reason(&e, "%s %s: its association was closed", a->account->principal->name, why);
    door_report(a->door, &e);
    association_close(a, why);
}

/* It stays; what it does, it may not any more. */
static void recheck_grants(struct association *a)
{
    thin_for_each_safe (n, next, &a->watches) {
        watch_recheck(LIST_ENTRY(n, struct watch, in_association));
    }
    if (a->side != NULL) {
        proxy_recheck(a);
    }
    bucket_set(&a->reads, grants_limits(&a->account->grants)->replay_rate,
               grants_limits(&a->account->grants)->replay_rate);
    association_serve(a);
}

void association_recheck(struct association *a)
{
    struct coap_door *d = a->door;
    const struct principal *p = a->account->principal;
    if (p->is_late) {
        bool is_over = a->credential_ends_wall_ms <= d->wall_ms;
        if (is_over || !late_stands(worker_realm(d->setup.worker)->directory, p, a->credential)) {
            cut_off(a, is_over ? "has had its time in the renewal lane"
                               : "has another certificate now, or is not active any more");
        }
        return;
    }
    if (plain_is(a)) {
        if (plain_stands(a)) {
            recheck_grants(a);
        }
        return;
    }
    const struct directory_entry *entry =
        directory_find(worker_realm(d->setup.worker)->directory, slice_text(p->name));
    if (entry == NULL || entry->principal->id != p->id) {
        cut_off(a, "was removed");
    } else if (entry->principal->status != PRINCIPAL_ACTIVE || a->account->is_closed) {
        cut_off(a, (entry->principal->answers & PRINCIPAL_SHUT_OUT) != 0
                       ? "is shut out by a response"
                       : "is not active any more");
    } else if (entry->principal->step_up != 0 && entry->principal->step_up != a->step_up) {
        cut_off(a, "must prove itself anew, by a response");
    } else if (a->cert_id != NULL && realm_revokes(worker_realm(d->setup.worker), a->cert_id)) {
        cut_off(a, "showed a certificate that is revoked now");
    } else if (!has_credential(a, entry)) {
        cut_off(a, "has another credential now, or this one has ended");
    } else {
        recheck_grants(a);
    }
}

/* ---- datagrams ---- */

void association_heard(const struct association *a)
{
    enum { DOOR_BITS = 8 }; /* ids are of one door */
    const struct coap_door *d = a->door;
    worker_heard(d->setup.worker, a->account, a->id << DOOR_BITS | d->setup.entrance->index,
                 &a->peer, d->now_ms);
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
{
    struct coap_door *d = ctx;
    struct association *a = association_find(d, id);
    struct coap_event ev;
    if (a == NULL) {
        return;
    }
    shed_look(d);
    struct coap_counters before = d->counts;
    a->heard_at_ms = d->now_ms;
    enum err err = coap_endpoint_datagram(a->endpoint, plain, d->now_ms, &ev);
    if (err != OK) {
        count_add(&d->setup.counters->dropped_memory, 1);
        return;
    }
    association_heard(a);
    association_refuse_unknown(a, &ev);
    association_report_refused(a, &before, plain, NULL);
    request_serve(a, &ev);
    errands_heard(a);
    association_serve(a);
}

static bool on_admit(void *ctx, const struct net_peer *peer)
{
    struct coap_door *d = ctx;
    return !worker_takes_nobody(d->setup.worker) &&
           (d->setup.admit == NULL || d->setup.admit(d->setup.ctx, peer));
}

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct coap_door *d = ctx;
    d->setup.transmit(d->setup.ctx, to, datagram);
}

struct dtls_handler door_dtls_handler(struct coap_door *d, const struct entrance *entrance)
{
    return (struct dtls_handler){.ctx = d,
                                 .transmit = on_transmit,
                                 .admit = on_admit,
                                 .opened = on_opened,
                                 .received = on_received,
                                 .closed = on_closed,
                                 .failed = stranger_failed,
                                 .replayed = on_replayed,
                                 .foreign = stranger_foreign,
                                 .counters = &d->counts,
                                 .find_psk = entrance->auth_psk ? stranger_find_psk : NULL};
}

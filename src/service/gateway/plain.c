/* Plain CoAP at an OSCORE entrance: who is let in by an exception, as whom, and until when.
 * docs/decisions/0112 */
#include "net/plain_server.h"

#include "service/gateway/door_private.h"

/* Both of one exception: nobody has a name here, so plaintext alone would let nobody in. */
static const struct directory_exception *exception_of(const struct coap_door *d)
{
    return worker_let_in(d->setup.worker, d->setup.entrance, DIRECTORY_ALLOW_PLAINTEXT);
}

/* ---- for net/plain_server.h ---- */

static uint64_t let_in_by(void *ctx)
{
    const struct coap_door *d = ctx;
    const struct directory_exception *x = d->is_draining ? NULL : exception_of(d);
    return x != NULL ? x->id : 0;
}

static bool is_known_behind(void *ctx, const struct net_peer *peer)
{
    const struct coap_door *d = ctx;
    return oscore_server_is_at(d->oscore, peer) || homes_know(d, peer);
}

/* Whoever has proven an address can cause these: all of a second are one event. */
static void on_refused(void *ctx, const struct net_peer *peer, enum plain_refusal why)
{
    enum { SECOND_MS = 1000 };
    struct coap_door *d = ctx;
    struct door_told *told = &d->plain_refused;
    char text[NET_PEER_TEXT_BYTES];
    count_add(&d->setup.counters->refused_denied, 1);
    told->n++;
    if (told->at_ms != 0 && d->now_ms < told->at_ms + SECOND_MS) {
        return;
    }
    struct event e = door_event(d, EVENT_rate);
    net_peer_text(peer, text);
    EVENT_TEXT(&e, peer, slice_text(text));
    e.count = told->n;
    if (why == PLAIN_REFUSED_FULL) {
        event_reason(&e,
                     "plain CoAP got 5.03: an exception lets in %d peers for a worker, %d of one "
                     "address, and all have just spoken. Give devices OSCORE or DTLS",
                     PLAIN_PEERS_MAX, PLAIN_PEERS_OF_ADDRESS_MAX);
    } else {
        event_reason(&e, "plain CoAP %s",
                     why == PLAIN_REFUSED_ADMIT
                         ? "got no answer: too many newcomers from there, or nobody is taken now"
                         : "got 5.03: there was no room for this peer");
    }
    told->at_ms = d->now_ms;
    told->n = 0;
    door_report(d, &e);
}

enum err plain_open(struct coap_door *d, const struct dtls_handler *handler)
{
    struct plain_server_config config = {.ctx = d,
                                         .let_in_by = let_in_by,
                                         .is_known_behind = is_known_behind,
                                         .refused = on_refused,
                                         .random = &d->setup.random,
                                         .counters = &d->counts};
    return plain_server_new(&config, handler, d->oscore, &d->dtls);
}

/* ---- associations ---- */

enum err plain_admit(struct coap_door *d, const struct dtls_info *info)
{
    const struct directory_exception *x = exception_of(d);
    const struct principal *p = NULL;
    struct association *a = NULL;
    if (x == NULL || x->id != info->permission) {
        return ERR_DENIED;
    }
    TRY(worker_anonymous(d->setup.worker, d->setup.entrance, x, &p));
    enum err err = association_begin_as(d, info, NULL, p, &a);
    principal_unref(p);
    TRY(err);
    a->credential = x->id;
    a->credential_ends_wall_ms = x->ends_wall_ms;
    TRY(association_welcome(a, "CoAP in PLAINTEXT by an exception", info->cipher, ""));
    association_serve(a);
    return OK;
}

bool plain_is(const struct association *a)
{
    return a->account->principal->is_anonymous;
}

bool plain_stands(struct association *a)
{
    const struct directory_exception *x = exception_of(a->door);
    if (x != NULL && x->id == a->credential) {
        a->credential_ends_wall_ms = x->ends_wall_ms;
        return true;
    }
    struct event e = association_event(a, EVENT_exception);
    event_reason(&e, "the exception that let this association in has ended");
    door_report(a->door, &e);
    association_close(a, "the exception that let it in has ended");
    return false;
}

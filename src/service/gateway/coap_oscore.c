/* The OSCORE side of a door: whose a kid is, the numbers of answers, and the words of refusals. */
#include "base/mem.h"
#include "net/oscore_server.h"
#include "service/broker/handshake.h"
#include "service/broker/numbers.h"
#include "service/gateway/door_private.h"

/* Numbers that a context waits for: they are on their way to the disk. */
struct number_ask {
    uint64_t cookie;
    struct oscore_id kid;
    uint64_t credential, first;
};

static struct slice ask_key(const void *value)
{
    const struct number_ask *a = value;
    return slice_of(&a->cookie, sizeof(a->cookie));
}

/* ---- who calls itself so ---- */

static const struct directory_entry *entry_of(const struct coap_door *d, struct slice kid,
                                              const struct credential **ret)
{
    return directory_find_kid(worker_realm(d->setup.worker)->directory, kid, ret);
}

static bool is_in_force(const struct coap_door *d, const struct directory_entry *entry,
                        const struct credential *c)
{
    return entry != NULL && c != NULL && !d->is_draining &&
           entry->principal->status == PRINCIPAL_ACTIVE &&
           directory_is_live(worker_realm(d->setup.worker)->directory, c, d->wall_ms);
}

static bool knows(void *ctx, struct slice kid)
{
    const struct credential *c = NULL;
    return entry_of(ctx, kid, &c) != NULL;
}

/* Somebody unknown costs the same derivations, under a secret of nobody's. */
static enum err find_context(void *ctx, struct slice kid, const struct slice *id_context,
                             struct oscore_found *ret)
{
    static const uint8_t our_id[] = {OSCORE_OUR_ID};
    struct coap_door *d = ctx;
    const struct credential *c = NULL;
    const struct directory_entry *entry = entry_of(d, kid, &c);
    bool is_somebody = is_in_force(d, entry, c);
    AUTO(oscore_secret_wipe) struct oscore_secret secret = {.kid = {.n = OSCORE_KID_MIN}};
    enum err err = credential_oscore(is_somebody ? c : NULL, &secret);
    if (err != OK && err != ERR_NOT_FOUND) {
        return err;
    }
    struct oscore_material m = {
        .secret = slice_of(secret.secret, sizeof(secret.secret)),
        .salt = slice_of(secret.salt, sizeof(secret.salt)),
        .sender_id = slice_of(our_id, sizeof(our_id)),
        .recipient_id = oscore_kid_slice(&secret.kid),
        .has_id_context = id_context != NULL,
        .id_context = id_context != NULL ? *id_context : (struct slice){0},
    };
    TRY(oscore_keys_derive(&m, &ret->keys));
    if (!is_somebody || err != OK) {
        return ERR_NOT_FOUND;
    }
    ret->credential = c->id;
    ret->owner = entry->principal->id;
    return OK;
}

enum err oscore_who_is(struct coap_door *d, const struct dtls_info *info,
                       const struct directory_entry **ret_entry,
                       const struct credential **ret_credential)
{
    const struct credential *c = NULL;
    const struct directory_entry *entry = entry_of(d, info->kid, &c);
    if (!is_in_force(d, entry, c) || c->id != info->credential) {
        return ERR_DENIED;
    }
    *ret_entry = entry;
    *ret_credential = c;
    return OK;
}

/* ---- numbers ---- */

static void report_numbers(struct coap_door *d, struct slice kid)
{
    const struct credential *c = NULL;
    const struct directory_entry *entry = entry_of(d, kid, &c);
    struct event e = door_event(d, EVENT_nonce_risk);
    const char *name = entry != NULL ? entry->principal->name : "a device";
    EVENT_TEXT(&e, principal, slice_text(name));
    event_reason(&e,
                 "the sequence numbers of %s are used up: it gets no more notifications. Give it "
                 "another context: remove it and add it anew",
                 name);
    door_report(d, &e);
}

static bool reserve(void *ctx, const struct oscore_id *kid, uint64_t credential, uint64_t owner)
{
    struct coap_door *d = ctx;
    struct number_ask *ask = mem_zalloc(sizeof(*ask));
    if (ask == NULL) {
        return false;
    }
    *ask = (struct number_ask){++d->next_cookie, *kid, credential, 0};
    enum err err = map_add(&d->number_asks, ask);
    if (err != OK) {
        mem_free(ask);
        return false;
    }
    err = worker_numbers(d->setup.worker, owner, ask->cookie, &ask->first);
    if (err != OK) {
        (void)map_remove(&d->number_asks, ask_key(ask));
        mem_free(ask);
    }
    if (err == ERR_LIMIT) {
        report_numbers(d, oscore_id_slice(kid));
    }
    return err == OK;
}

bool oscore_numbers_done(struct coap_door *d, uint64_t cookie)
{
    struct number_ask *ask = d->number_asks.n > 0
                                 ? map_remove(&d->number_asks, slice_of(&cookie, sizeof(cookie)))
                                 : NULL;
    if (ask != NULL) {
        oscore_server_numbers(d->oscore, &ask->kid, ask->credential, ask->first,
                              ask->first + NUMBERS_BLOCK, d->now_ms);
        mem_free(ask);
    }
    return ask != NULL;
}

/* ---- refusals ---- */

static const struct {
    enum event_category category;
    const char *why;
} refusals[] = {
    [OSCORE_REFUSED_PLAIN] = {EVENT_tls_reject,
                              "CoAP without OSCORE came to an OSCORE port and got 4.01. Let the "
                              "client use oscore.json of its bundle, or coaps:// and its port"},
    [OSCORE_REFUSED_OPTION] = {EVENT_malformed,
                               "the OSCORE option of a request cannot be read: 4.02"},
    [OSCORE_REFUSED_KID] = {EVENT_auth_fail,
                            "no context in force has this kid: 4.01. It is sender_id of the "
                            "device's oscore.json; `sallyport device rotate NAME --credential "
                            "oscore` makes a new one"},
    [OSCORE_REFUSED_KEY] = {EVENT_auth_fail,
                            "a request does not open with the key of its kid, or was changed on "
                            "the way: 4.01. The key comes from oscore.json of the device's "
                            "bundle; `sallyport device rotate NAME --credential oscore` makes "
                            "another"},
    [OSCORE_REFUSED_REPLAY] =
        {EVENT_replay,
         "a request came again, whose sequence number was used: 4.01, and "
         "nothing was done. A client that loses its number over a restart "
         "derives its context anew (RFC 8613, B.2), or `sallyport device rotate NAME --credential "
         "oscore`"},
    [OSCORE_REFUSED_INSIDE] = {EVENT_malformed,
                               "a request opened, but what was inside is no CoAP request: 4.00. "
                               "Fix the client"},
};

_Static_assert(COUNT_OF(refusals) == OSCORE_REFUSALS, "each refusal has its words");

/* Anybody can cause these, from any address: all of a kind in a second are one event. */
static void on_refused(void *ctx, const struct net_peer *peer, enum oscore_refusal why,
                       struct slice kid)
{
    enum { SECOND_MS = 1000 };
    struct coap_door *d = ctx;
    struct door_told *told = &d->refused[why];
    const struct credential *c = NULL;
    char text[NET_PEER_TEXT_BYTES];
    count_add(&d->setup.counters->refused_denied, 1);
    told->n++;
    if (told->at_ms != 0 && d->now_ms < told->at_ms + SECOND_MS) {
        return;
    }
    struct event e = door_event(d, refusals[why].category);
    const struct directory_entry *entry = entry_of(d, kid, &c);
    net_peer_text(peer, text);
    EVENT_TEXT(&e, peer, slice_text(text));
    if (entry != NULL) {
        EVENT_TEXT(&e, principal, slice_text(entry->principal->name));
        e.is_claimed = true;
    }
    e.count = told->n;
    if (why == OSCORE_REFUSED_KID && entry != NULL && c != NULL &&
        directory_is_aged(worker_realm(d->setup.worker)->directory, c, d->wall_ms)) {
        handshake_say_aged(&e, entry, c);
    } else if (why == OSCORE_REFUSED_KID && entry != NULL) {
        event_reason(&e, "%s is not active, or its OSCORE credential has ended: 4.01",
                     entry->principal->name);
    } else {
        event_reason(&e, "%s", refusals[why].why);
    }
    told->at_ms = d->now_ms;
    told->n = 0;
    door_report(d, &e);
}

static void on_moved(void *ctx, uint64_t id, const struct net_peer *peer)
{
    struct coap_door *d = ctx;
    struct association *a = map_find(&d->associations, slice_of(&id, sizeof(id)));
    if (a != NULL) {
        char text[NET_PEER_TEXT_BYTES];
        struct event e = association_event(a, EVENT_connect);
        a->peer = *peer;
        worker_moved(a->account);
        homes_located(a, peer);
        net_peer_text(peer, text);
        event_reason(&e, "its association goes on from %s, which has proven itself", text);
        door_report(d, &e);
    }
}

/* ---- life ---- */

enum err oscore_open(struct coap_door *d, const struct dtls_handler *handler)
{
    struct oscore_server_config config = {.ctx = d,
                                          .knows = knows,
                                          .find = find_context,
                                          .reserve = reserve,
                                          .refused = on_refused,
                                          .moved = on_moved,
                                          .elsewhere = homes_elsewhere,
                                          .random = &d->setup.random,
                                          .counters = &d->counts};
    map_init(&d->number_asks, &d->setup.key, ask_key);
    TRY(oscore_server_new(&config, handler, &d->oscore));
    return plain_open(d, handler);
}

void oscore_done(struct coap_door *d)
{
    struct number_ask *ask;
    size_t at = 0;
    while ((ask = map_next(&d->number_asks, &at)) != NULL) {
        mem_free(ask);
    }
    map_done(&d->number_asks);
}

/* Who is there: from the handshake to the end of an association. */
#include "base/mem.h"
#include "security/crypto/x509.h"
#include "security/identity/identity.h"
#include "service/broker/handshake.h"
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

/* An event about somebody who has no association. */
static struct event stranger_event(const struct coap_door *d, enum event_category category,
                                   const struct net_peer *peer, struct slice name)
{
    struct event e = door_event(d, category);
    char text[NET_PEER_TEXT_BYTES];
    net_peer_text(peer, text);
    EVENT_TEXT(&e, peer, slice_text(text));
    EVENT_TEXT(&e, principal, name);
    e.is_claimed = name.n > 0;
    return e;
}

/* ---- keys of identities ---- */

static struct directory_live live_keys(const struct coap_door *d, struct slice name)
{
    return directory_live(worker_realm(d->setup.worker)->directory, name, CREDENTIAL_PSK,
                          d->wall_ms);
}

/* While a key is being replaced both are live, but a handshake can try only one of them: the newer,
 * and after a failure with it the older, by turns. Before the newer one's first use it is the other
 * way round: who slept through the rotation does not notice it. Whose turn it is stands at the
 * newer one, which all workers see: the next datagram may be another's. Of nobody the decoy, which
 * has no key and costs the same. */
static const struct credential *key_to_try(const struct directory_live *live)
{
    bool is_newer = live->n < 2 || !credential_waits(live->credentials[0]);
    if (live->n > 1 && credential_is_passed_over(live->credentials[0])) {
        is_newer = !is_newer;
    }
    return live->credentials[is_newer ? 0 : 1];
}

static enum err on_find_psk(void *ctx, struct slice identity, uint8_t *key, size_t *ret_n,
                            uint64_t *ret_credential)
{
    struct coap_door *d = ctx;
    struct directory_live live = live_keys(d, identity);
    const struct credential *c = d->is_draining ? NULL : key_to_try(&live);
    TRY(credential_psk(c, key, ret_n));
    *ret_credential = c != NULL ? c->id : 0;
    return *ret_n > 0 ? OK : ERR_NOT_FOUND;
}

static void pass_over(const struct coap_door *d, struct slice identity)
{
    struct directory_live live = live_keys(d, identity);
    if (live.n > 1) {
        credential_pass_over(live.credentials[0], !credential_is_passed_over(live.credentials[0]));
    }
}

/* Whose identity it is, as events name it: an opaque one says nothing to a person. */
static struct slice claimed_name(const struct coap_door *d, struct slice identity)
{
    const struct directory_entry *e =
        directory_find_identity(worker_realm(d->setup.worker)->directory, identity);
    return e != NULL ? slice_text(e->principal->name) : identity;
}

/* ---- handshakes that failed ---- */

static void report_inactive(struct coap_door *d, const struct net_peer *peer,
                            const struct directory_entry *entry, bool is_claimed)
{
    struct event e = stranger_event(d, EVENT_revoked, peer, slice_text(entry->principal->name));
    e.is_claimed = is_claimed;
    bool is_disabled = entry->principal->status == PRINCIPAL_DISABLED;
    event_reason(&e, "%s is %s%s%s; %s", entry->principal->name,
                 is_disabled ? "disabled" : "revoked", entry->reason[0] != '\0' ? ": " : "",
                 entry->reason,
                 is_disabled ? "`sallyport device enable` lets it in again"
                             : "remove it and add it anew to let it in again");
    door_report(d, &e);
}

static void report_identity(struct coap_door *d, const struct net_peer *peer, struct slice name)
{
    const struct directory_version *v = worker_realm(d->setup.worker)->directory;
    const struct directory_entry *entry = directory_find_identity(v, name);
    if (entry != NULL && entry->principal->status != PRINCIPAL_ACTIVE) {
        report_inactive(d, peer, entry, true); /* its key was not even tried */
        return;
    }
    struct event e = stranger_event(d, EVENT_auth_fail, peer, claimed_name(d, name));
    const struct credential *aged = directory_aged(v, entry, CREDENTIAL_PSK, d->wall_ms);
    if (aged != NULL) {
        handshake_say_aged(&e, entry, aged);
    } else if (entry == NULL) {
        event_reason(&e,
                     "nobody has this PSK identity: it is the device's name, see psk.txt of its "
                     "bundle; `sallyport device add NAME --role ROLE --credential psk --out DIR` "
                     "makes one");
    } else {
        event_reason(&e,
                     "%s has no pre-shared key in force. Give it one: `sallyport device rotate %s "
                     "--credential psk`",
                     entry->principal->name, entry->principal->name);
    }
    door_report(d, &e);
}

static void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                      struct slice psk_identity, const struct tls_refusal *how)
{
    struct coap_door *d = ctx;
    struct slice name = claimed_name(d, psk_identity);
    struct event e = stranger_event(d, EVENT_tls_reject, peer, name);
    count_add(&d->setup.counters->handshakes_failed, 1);
    switch (why) {
    case DTLS_FAILED_IDENTITY:
        report_identity(d, peer, psk_identity);
        return;
    case DTLS_FAILED_KEY:
        pass_over(d, psk_identity);
        e = stranger_event(d, EVENT_auth_fail, peer, name);
        event_reason(&e,
                     "wrong pre-shared key. The key is in psk.txt of the device's bundle, behind "
                     "the ':'; `sallyport device rotate NAME --credential psk` makes a new one");
        break;
    case DTLS_FAILED_CERTIFICATE:
    case DTLS_FAILED_PROTOCOL: {
        handshake_explain(how, d->wall_ms, &e);
        struct event words = e;
        event_reason(&e, "the DTLS handshake was refused: %s", words.reason);
        break;
    }
    case DTLS_FAILED_TIMEOUT:
        event_reason(&e,
                     "the DTLS handshake was not finished: %s. If the client is one of ours, look "
                     "at its key and at lost UDP packets",
                     how->text);
        break;
    }
    door_report(d, &e);
}

/* CoAP without DTLS, by the version in its first byte: no DTLS record begins so. SPEC: RFC7252 3 */
static bool is_plain_coap(struct slice bytes)
{
    enum { HEADER_BYTES = 4, VERSION_MASK = 0xc0, VERSION_1 = 0x40 };
    return bytes.n >= HEADER_BYTES && (bytes.p[0] & VERSION_MASK) == VERSION_1;
}

/* Nobody has proven this address, so it gets no answer, and all of a second are one event. */
static void on_foreign(void *ctx, const struct net_peer *peer, struct slice datagram)
{
    enum { SECOND_MS = 1000 };
    struct coap_door *d = ctx;
    if (!is_plain_coap(datagram)) {
        return;
    }
    d->n_plain++;
    if (d->now_ms < d->plain_told_at_ms + SECOND_MS && d->plain_told_at_ms != 0) {
        return;
    }
    struct event e = stranger_event(d, EVENT_tls_reject, peer, (struct slice){0});
    e.count = d->n_plain;
    event_reason(&e, "CoAP without DTLS came to a DTLS port and was not answered. Let the client "
                     "use coaps:// with the identity and key of psk.txt, or the certificate, of "
                     "its bundle");
    d->plain_told_at_ms = d->now_ms;
    d->n_plain = 0;
    door_report(d, &e);
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

/* ---- a handshake finished: who is it? ---- */

static void refuse_x509(struct coap_door *d, const struct net_peer *peer, const char *name,
                        enum err err)
{
    enum event_category category = err == ERR_EXPIRED ? EVENT_credential_expiring : EVENT_auth_fail;
    struct event e = stranger_event(d, category, peer, slice_text(name));
    e.is_claimed = false; /* our CA has signed it */
    event_reason(&e,
                 err == ERR_EXPIRED
                     ? "the certificate of %s is past its time in the directory. Give it a new "
                       "one: `sallyport device rotate %s`"
                     : "the certificate names %s, but that principal does not own this key. Use "
                       "the bundle of this device, or `sallyport device rotate %s` for a new one",
                 name, name);
    door_report(d, &e);
}

static void refuse_revoked(struct coap_door *d, const struct net_peer *peer, struct slice name)
{
    struct event e = stranger_event(d, EVENT_revoked, peer, name);
    e.is_claimed = false;
    event_reason(
        &e,
        "the certificate that %.*s showed is revoked. Give it a new one: `sallyport device "
        "rotate %.*s`",
        SLICE_ARG(name), SLICE_ARG(name));
    count_add(&d->setup.counters->refused_revoked, 1);
    door_report(d, &e);
}

static enum err who_is_late(struct coap_door *d, const struct net_peer *peer,
                            const struct late_claim *claim,
                            const struct directory_entry **ret_entry,
                            const struct credential **ret_credential)
{
    struct why why = {""};
    const struct worker *w = d->setup.worker;
    enum err err = late_look(worker_realm(w)->directory, claim, worker_limits(w)->renewal_grace_s,
                             d->wall_ms, ret_entry, ret_credential, &why);
    if (err != OK && err != ERR_DENIED) {
        struct event e = stranger_event(
            d, err == ERR_AUTH ? EVENT_auth_fail : EVENT_credential_expiring, peer, claim->name);
        e.is_claimed = false;
        event_reason(&e, "%s", why.text);
        door_report(d, &e);
    }
    return err;
}

enum err association_who(struct coap_door *d, const struct net_peer *peer,
                         const struct late_claim *claim, const struct directory_entry **ret_entry,
                         const struct credential **ret_credential, bool *ret_is_late)
{
    const struct realm *realm = worker_realm(d->setup.worker);
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    *ret_is_late = late_is(claim->ends_wall_ms, d->wall_ms);
    bool is_listed = realm_revokes(realm, claim->id);
    enum err err;
    if (*ret_is_late && !is_listed) {
        err = who_is_late(d, peer, claim, &entry, &credential);
    } else {
        err = directory_login_x509(realm->directory, claim->name, claim->spki, d->wall_ms, &entry,
                                   &credential);
    }
    /* Who was removed has no new one to be given: that is said below. */
    bool is_known = directory_find(realm->directory, claim->name) != NULL;
    if (err == ERR_DENIED) {
        report_inactive(d, peer, entry, false);
    } else if ((is_listed && is_known) ||
               (credential != NULL && credential_is_revoked(credential))) {
        refuse_revoked(d, peer, claim->name);
        err = ERR_DENIED;
    } else if (err != OK && (!*ret_is_late || is_listed)) {
        char name[IDENTITY_NAME_BYTES] = "";
        (void)slice_to_text(claim->name, name, sizeof(name));
        refuse_x509(d, peer, name, err);
    }
    *ret_entry = entry;
    *ret_credential = credential;
    return err;
}

static enum err who_by_x509(struct coap_door *d, const struct dtls_info *info,
                            struct digest *ret_id, const struct directory_entry **ret_entry,
                            const struct credential **ret_credential, bool *ret_is_late)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    char name[IDENTITY_NAME_BYTES];
    enum err err = x509_from_der(info->peer_cert, &x);
    if (err == OK) {
        err = identity_from_x509(x, IDENTITY_ANY, name);
    }
    if (err != OK) {
        struct event e = stranger_event(d, EVENT_identity_mismatch, &info->peer, (struct slice){0});
        event_reason(&e,
                     "the client's certificate names no device (%s): the name must stand once, as "
                     "URI " IDENTITY_URI_PREFIX "NAME, DNS name or CN. Use a bundle of `sallyport "
                     "device add`",
                     err_name(err));
        door_report(d, &e);
        return err;
    }
    *ret_id = x509_info(x)->id;
    struct late_claim claim = {.name = slice_text(name),
                               .spki = &x509_info(x)->spki,
                               .id = ret_id,
                               .ends_wall_ms = x509_info(x)->not_after_wall_ms};
    return association_who(d, &info->peer, &claim, ret_entry, ret_credential, ret_is_late);
}

/* The key was right, but much can happen during a handshake: the newest word of the directory
 * counts. */
static enum err who_by_psk(struct coap_door *d, const struct dtls_info *info,
                           const struct directory_entry **ret_entry,
                           const struct credential **ret_credential)
{
    struct directory_live live = live_keys(d, info->psk_identity);
    for (size_t i = 0; i < live.n; i++) {
        if (live.credentials[i]->id == info->psk_credential) {
            /* The first use of a newer key changes which one is tried first. */
            if (i == 0 && credential_waits(live.credentials[0])) {
                credential_pass_over(live.credentials[0], false);
            }
            *ret_entry = live.entry;
            *ret_credential = live.credentials[i];
            return OK;
        }
    }
    report_identity(d, &info->peer, info->psk_identity);
    return ERR_DENIED;
}

static void report_unwelcome(struct coap_door *d, const struct dtls_info *info)
{
    struct event e =
        stranger_event(d, EVENT_auth_fail, &info->peer, claimed_name(d, info->psk_identity));
    e.is_claimed = false; /* it had the key */
    event_reason(&e, "listener %s does not take %s; see `auth` of the listener in sallyport.yaml",
                 d->setup.entrance->name,
                 info->psk_identity.n > 0 ? "pre-shared keys" : "certificates");
    door_report(d, &e);
}

static enum err who_is(struct coap_door *d, const struct dtls_info *info,
                       struct digest *ret_cert_id, const struct directory_entry **ret_entry,
                       const struct credential **ret_credential, bool *ret_is_late)
{
    bool by_psk = info->psk_identity.n > 0;
    if (info->credential != 0) {
        return oscore_who_is(d, info, ret_entry, ret_credential);
    }
    if (by_psk ? !d->setup.entrance->auth_psk : !d->setup.entrance->auth_x509) {
        report_unwelcome(d, info);
        return ERR_AUTH;
    }
    return by_psk ? who_by_psk(d, info, ret_entry, ret_credential)
                  : who_by_x509(d, info, ret_cert_id, ret_entry, ret_credential, ret_is_late);
}

static enum err open_endpoint(struct association *a)
{
    struct coap_door *d = a->door;
    struct coap_endpoint_setup setup = {.limits = &d->coap,
                                        .counters = &d->counts,
                                        /* an Echo is of one association, not of an address */
                                        .peer = slice_of(&a->id, sizeof(a->id)),
                                        .echo_key = &d->echo_key,
                                        .seed = random_u64(&d->setup.random),
                                        .proven = true};
    return coap_endpoint_new(&setup, d->now_ms, &a->endpoint);
}

static enum err association_new(struct coap_door *d, const struct dtls_info *info,
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
    list_init(&a->lookers);
    list_init(&a->tickets);
    list_init(&a->watches);
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
    uint32_t rate = grants_limits(a->account->grants)->replay_rate;
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
    if (a->side != NULL && list_is_empty(&a->side->errands) && list_is_empty(&a->side->relays)) {
        a->side = mem_free(a->side);
    }
}

struct association *association_free(struct association *a)
{
    if (a != NULL) {
        coap_endpoint_free(a->endpoint);
        mem_free(a->side);
        mem_free(a->registering);
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
    if (bucket_take(&a->account->connects, 1, d->now_ms)) {
        return false;
    }
    struct event e = association_event(a, EVENT_rate);
    event_reason(&e, "%s connects too often (connect_rate %u/s); let it keep its association",
                 a->account->principal->name, (unsigned)a->account->connects.rate);
    count_add(&d->setup.counters->refused_rate, 1);
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
    enum err err = association_new(d, info, stream, p, &a);
    principal_unref(p);
    TRY(err);
    a->credential = credential->id;
    a->credential_ends_wall_ms =
        is_late ? d->wall_ms + LANE_SECONDS * 1000
                : directory_ends(worker_realm(d->setup.worker)->directory, credential);
    if (is_too_often(a) || is_misplaced(a)) {
        (void)map_remove(&d->associations, association_key(a));
        association_free(a);
        return ERR_DENIED;
    }
    if (!is_late) {
        credential_used(credential, d->wall_ms);
    }
    struct event e = association_event(a, EVENT_connect);
    event_reason(&e, "%s, %s%s", words, info->cipher,
                 is_late ? ", in the renewal lane: its certificate has ended" : "");
    door_report(d, &e);
    count_add(&d->setup.counters->connections_coap, 1);
    count_add(&d->setup.counters->connections_at[d->setup.entrance->index], 1);
    *ret = a;
    return OK;
}

static enum err admit(struct coap_door *d, const struct dtls_info *info)
{
    const struct directory_entry *entry = NULL;
    const struct credential *credential = NULL;
    struct association *a = NULL;
    bool is_late = false;
    struct digest cert_id = {{0}};
    TRY(who_is(d, info, &cert_id, &entry, &credential, &is_late));
    const char *words = info->credential != 0      ? "OSCORE"
                        : info->psk_identity.n > 0 ? "DTLS 1.2 with a pre-shared key"
                                                   : "DTLS 1.2 with a certificate";
    TRY(association_begin(d, info, NULL, entry, credential, is_late, words, &a));
    a->cert_id = cert_id;
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
    while ((n = list_first(&a->watches)) != NULL) {
        watch_free(LIST_ENTRY(n, struct watch, in_association));
    }
    while ((n = list_first(&a->tickets)) != NULL) {
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
    a->next_gone = d->gone;
    d->gone = a;
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
    event_reason(&e, "%s %s: its association was closed", a->account->principal->name, why);
    door_report(a->door, &e);
    association_close(a, why);
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
    const struct directory_entry *entry =
        directory_find(worker_realm(d->setup.worker)->directory, slice_text(p->name));
    if (entry == NULL || entry->principal->id != p->id) {
        cut_off(a, "was removed");
    } else if (entry->principal->status != PRINCIPAL_ACTIVE || a->account->is_closed) {
        cut_off(a, "is not active any more");
    } else if (realm_revokes(worker_realm(d->setup.worker), &a->cert_id)) {
        cut_off(a, "showed a certificate that is revoked now");
    } else if (!has_credential(a, entry)) {
        cut_off(a, "has another credential now, or this one has ended");
    } else {
        list_for_each_safe (n, next, &a->watches) {
            watch_recheck(LIST_ENTRY(n, struct watch, in_association));
        }
        if (a->side != NULL) {
            proxy_recheck(a);
        }
        bucket_set(&a->reads, grants_limits(a->account->grants)->replay_rate,
                   grants_limits(a->account->grants)->replay_rate);
        association_serve(a);
    }
}

/* ---- datagrams ---- */

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
                                 .failed = on_failed,
                                 .replayed = on_replayed,
                                 .foreign = on_foreign,
                                 .counters = &d->counts,
                                 .find_psk = entrance->auth_psk ? on_find_psk : NULL};
}

/* Who comes, before there is an association: whose key or certificate it is, and what is told of
 * those whose it is not. */
#include "security/crypto/x509.h"
#include "security/identity/identity.h"
#include "service/broker/handshake.h"
#include "service/gateway/door_private.h"

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

enum err stranger_find_psk(void *ctx, struct slice identity, uint8_t *key, size_t *ret_n,
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
    if ((entry->principal->answers & PRINCIPAL_SHUT_OUT) != 0) {
        event_reason(&e,
                     "%s is shut out by a response; `sallyport respond list` says why and until "
                     "when",
                     entry->principal->name);
        door_report(d, &e);
        return;
    }
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

void stranger_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
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
void stranger_foreign(void *ctx, const struct net_peer *peer, struct slice datagram)
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

/* ---- a handshake finished: who is it? ---- */

static void refuse_x509(struct coap_door *d, const struct net_peer *peer, const char *name,
                        enum err err)
{
    enum event_category category = err == ERR_EXPIRED ? EVENT_credential_expiring : EVENT_auth_fail;
    struct event e = stranger_event(d, category, peer, slice_text(name));
    e.is_claimed = false; /* our CA has signed it */
    e.is_foreign_key = err != ERR_EXPIRED;
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

enum err stranger_who_is(struct coap_door *d, const struct dtls_info *info,
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

enum err stranger_steps_up(struct coap_door *d, const struct dtls_info *info,
                           const struct principal *p)
{
    if (p->step_up == 0 || !info->is_resumed) {
        return OK;
    }
    struct event e = stranger_event(d, EVENT_auth_fail, &info->peer, slice_text(p->name));
    event_reason(&e,
                 "a response asks %s for a full handshake: a ticket does not let it in. `sallyport "
                 "respond list` says until when",
                 p->name);
    door_report(d, &e);
    return ERR_DENIED;
}

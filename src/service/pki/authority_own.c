#include "service/pki/authority_own.h"

#include "base/clock.h"
#include "base/mem.h"
#include "core/quota.h"
#include "security/crypto/x509_request.h"
#include "security/identity/identity.h"
#include "service/pki/authority_own_private.h"
#include "service/pki/pki_private.h"

#define DAY_MS INT64_C(86400000)

enum { SECOND_MS = 1000, MINUTE_MS = 60000 };

static struct authority_policy with_defaults(const struct authority_policy *p)
{
    struct authority_policy d = *p;
    d.device_lifetime_ms = d.device_lifetime_ms > 0 ? d.device_lifetime_ms : 90 * DAY_MS;
    d.grace_ms = d.grace_ms > 0 ? d.grace_ms : 30 * DAY_MS;
    d.grace_ms = d.grace_ms < REGISTER_KEEP_MS ? d.grace_ms : REGISTER_KEEP_MS;
    d.per_second = d.per_second > 0 ? d.per_second : 100;
    d.burst = d.burst > 0 ? d.burst : 1000;
    d.per_name_minute = d.per_name_minute > 0 ? d.per_name_minute : 10;
    return d;
}

/* ---- what a request asks for, against what may be granted ---- */

/* The subject of one certificate: of a request, or of a pair that is made here. */
struct subject {
    struct x509_request *request; /* NULL: none */
    struct key *key;
    struct digest spki;
};

static void subject_done(struct subject *s)
{
    s->request = x509_request_free(s->request);
    s->key = key_free(s->key);
}

static enum err read_subject(struct slice csr_der, struct subject *ret, struct why *why)
{
    enum err err = x509_request_from_der(csr_der, &ret->request);
    if (err == OK) {
        const struct x509_request_info *info = x509_request_info(ret->request);
        ret->spki = info->spki;
        err = key_from_spki(info->spki_der, &ret->key);
    }
    if (err == ERR_UNSUPPORTED) {
        why_set(why, "the request's key is not ECDSA P-256: make one with `openssl ecparam -name "
                     "prime256v1 -genkey`");
    } else if (err == ERR_MALFORMED || err == ERR_TOO_LARGE || err == ERR_LIMIT) {
        why_set(why,
                "this is no certificate request (PKCS#10, at most %d bytes) signed by its own "
                "key; make it again",
                X509_REQUEST_MAX);
        return ERR_MALFORMED;
    }
    return err;
}

static bool is_own_claim(struct slice claim, struct slice name)
{
    struct slice prefix = slice_text(IDENTITY_URI_PREFIX);
    return slice_equal(claim, name) ||
           (slice_has_prefix(claim, prefix) && slice_equal(slice_from(claim, prefix.n), name));
}

/* Of a request only the key is used; but who asks for more than it gets is told so. */
static enum err check_request(const struct x509_request_info *info, struct slice name,
                              struct why *why)
{
    if (info->asks_ca) {
        why_set(why, "%.*s asks to become an authority: devices get client certificates only",
                SLICE_ARG(name));
        return ERR_DENIED;
    }
    bool good = info->n_common_names <= 1 &&
                (info->n_common_names == 0 || slice_equal(info->common_name, name));
    for (size_t i = 0; i < info->n_sans; i++) {
        good =
            good && info->sans[i].kind != X509_SAN_OTHER && is_own_claim(info->sans[i].value, name);
    }
    if (!good) {
        why_set(why,
                "the request of %.*s names somebody else too: CN is %.*s or empty, alternative "
                "names are " IDENTITY_URI_PREFIX "%.*s or none",
                SLICE_ARG(name), SLICE_ARG(name), SLICE_ARG(name));
        return ERR_DENIED;
    }
    return OK;
}

/* One key is one device's, and a revoked one is nobody's. */
static enum err check_key(const struct authority_own *a, const struct digest *spki,
                          const struct register_name *owner, struct slice name, struct why *why)
{
    const struct register_issued *i = register_key_find(a->setup.reg, spki);
    for (; i != NULL; i = i->same_key) {
        if (i->name == NULL || i->name != owner) {
            why_set(why,
                    "the key that %.*s asks a certificate for belongs to %.*s: make a key of its "
                    "own",
                    SLICE_ARG(name), i->name != NULL ? i->name->n : 10,
                    i->name != NULL ? i->name->text : "the server");
            return ERR_DENIED;
        }
        if (i->revoked_wall_ms != 0 && i->reason == AUTHORITY_KEY_COMPROMISE) {
            why_set(why, "the key of %.*s was revoked as compromised: make a new one",
                    SLICE_ARG(name));
            return ERR_DENIED;
        }
    }
    return OK;
}

/* ---- proofs ---- */

/* What the proof has shown, beyond that it is good. */
struct proven {
    struct register_name *name; /* NULL: not known yet */
    struct register_token *token;
    bool enrols, closes;
};

static enum err refuse_unknown(struct slice name, struct why *why)
{
    why_set(why, "%.*s is not enrolled: `sallyport device add %.*s`, or a claim token, enrols it",
            SLICE_ARG(name), SLICE_ARG(name));
    return ERR_NOT_FOUND;
}

static enum err refuse_revoked(struct slice name, struct why *why)
{
    why_set(why, "%.*s is revoked for good: `sallyport device remove %.*s` and add it anew",
            SLICE_ARG(name), SLICE_ARG(name));
    return ERR_DENIED;
}

static enum err check_enrolled(const struct register_name *n, struct slice name, struct why *why)
{
    if (n == NULL || n->state == REGISTER_FORGOTTEN) {
        return refuse_unknown(name, why);
    }
    return n->state == REGISTER_REVOKED ? refuse_revoked(name, why) : OK;
}

static enum err by_operator(const struct authority_order *o, const struct subject *s,
                            struct proven *p, struct why *why)
{
    TRY(check_enrolled(p->name, o->name, why));
    bool is_bound = o->proof == AUTHORITY_BY_APPROVAL || p->name->has_spki;
    if (is_bound && (!p->name->has_spki || s->request == NULL ||
                     !slice_equal(digest_slice(&s->spki), digest_slice(&p->name->spki)))) {
        why_set(why,
                "%.*s may have a certificate for the key that was approved only: approve this one "
                "(`sallyport enrol approve`)",
                SLICE_ARG(o->name));
        return ERR_AUTH;
    }
    /* An operator's word is good once: else whoever asks here could be every enrolled device. */
    if (!is_bound && !p->name->is_open) {
        why_set(why,
                "%.*s has had the certificate that an operator allowed: `sallyport device rotate "
                "%.*s --credential x509` allows another",
                SLICE_ARG(o->name), SLICE_ARG(o->name));
        return ERR_AUTH;
    }
    p->closes = !is_bound;
    return OK;
}

static enum err by_token(const struct authority_own *a, const struct authority_order *o,
                         int64_t now_wall_ms, const struct subject *s, struct proven *p,
                         struct why *why)
{
    char text[AUTHORITY_TOKEN_BYTES];
    struct register_token *t = NULL;
    if (authority_token_text(o->token, text) == OK) {
        t = register_token_find(a->setup.reg, slice_text(text));
    }
    if (t == NULL || t->uses == 0) {
        why_set(why, "this claim token is none, or used up: ask for another "
                     "(`sallyport enrol token`)");
        return ERR_AUTH;
    }
    if (t->expires_wall_ms <= now_wall_ms) {
        why_set(why, "this claim token's time is over: ask for another (`sallyport enrol token`)");
        return ERR_EXPIRED;
    }
    bool is_fixed = t->name[0] != '\0';
    if (is_fixed ? !slice_is(o->name, t->name)
                 : !authority_pattern_matches(slice_text(t->pattern), o->name)) {
        why_set(why, "this claim token is not for %.*s, but for %s", SLICE_ARG(o->name),
                is_fixed ? t->name : t->pattern);
        return ERR_AUTH;
    }
    if (p->name != NULL && p->name->state == REGISTER_REVOKED) {
        return refuse_revoked(o->name, why);
    }
    /* Who lost the answer asks again with the same key; anybody else would take a name over. */
    const struct register_issued *own = register_key_find(a->setup.reg, &s->spki);
    if (!is_fixed && p->name != NULL && p->name->state == REGISTER_ENROLLED &&
        (own == NULL || own->name != p->name)) {
        why_set(why,
                "%.*s is another device's name already: choose another, or ask for a token of "
                "this name",
                SLICE_ARG(o->name));
        return ERR_DENIED;
    }
    p->token = t;
    p->enrols = true;
    return OK;
}

static void x509_release(struct x509 **x)
{
    *x = x509_free(*x);
}

/* Signed by this authority, whenever that was good? */
static enum err check_own_signature(const struct authority_own *a, const struct x509 *current,
                                    int64_t now_wall_ms)
{
    const struct x509_info *info = x509_info(current);
    int64_t last = info->not_after_wall_ms - SECOND_MS; /* the end itself counts as over */
    int64_t at = now_wall_ms < last ? now_wall_ms : last;
    at = at > info->not_before_wall_ms ? at : info->not_before_wall_ms;
    struct slice ca = pki_ca_pem(a->setup.pki);
    return x509_verify(current, ca, ca, X509_KIND_CLIENT, at, NULL);
}

static enum err by_renewal(const struct authority_own *a, const struct authority_order *o,
                           int64_t now_wall_ms, struct proven *p, struct why *why)
{
    AUTO(x509_release) struct x509 *current = NULL;
    char claimed[IDENTITY_NAME_BYTES];
    enum err err = x509_from_der(o->current_der, &current);
    if (err != OK || check_own_signature(a, current, now_wall_ms) != OK ||
        identity_from_x509(current, IDENTITY_URI, claimed) != OK || !slice_is(o->name, claimed)) {
        why_set(why, "the certificate shown is not one of %.*s that was signed here",
                SLICE_ARG(o->name));
        return err == ERR_NOMEM ? err : ERR_AUTH;
    }
    TRY(check_enrolled(p->name, o->name, why));
    const struct x509_info *info = x509_info(current);
    struct authority_serial serial;
    TRY(authority_serial_of(info->serial, &serial));
    const struct register_issued *row = register_issued_find(a->setup.reg, &serial);
    bool is_older = row == NULL && p->name->is_migrated &&
                    info->not_before_wall_ms < register_born(a->setup.reg);
    if (!is_older && (row == NULL || row->name != p->name)) {
        why_set(why, "the certificate that %.*s shows is not on record here", SLICE_ARG(o->name));
        return ERR_AUTH;
    }
    if (row != NULL && row->revoked_wall_ms != 0) {
        why_set(why,
                "the certificate that %.*s shows is revoked: `sallyport device rotate` gives "
                "it another",
                SLICE_ARG(o->name));
        return ERR_DENIED;
    }
    if (now_wall_ms - info->not_after_wall_ms > a->policy.grace_ms) {
        char ended[CLOCK_ISO8601_BYTES];
        clock_iso8601(info->not_after_wall_ms, ended);
        why_set(why,
                "the certificate of %.*s ended at %s, longer ago than it may renew by itself: "
                "`sallyport device rotate %.*s`",
                SLICE_ARG(o->name), ended, SLICE_ARG(o->name));
        return ERR_EXPIRED;
    }
    return OK;
}

static enum err by_maker(const struct authority_own *a, const struct authority_order *o,
                         int64_t now_wall_ms, struct proven *p, struct why *why)
{
    AUTO(x509_release) struct x509 *current = NULL;
    char claimed[IDENTITY_NAME_BYTES];
    bool is_known = false;
    enum err err = x509_from_der(o->current_der, &current);
    if (err == ERR_NOMEM) {
        return err;
    }
    for (size_t i = 0; err == OK && i < a->setup.n_makers && !is_known; i++) {
        const struct authority_maker *m = &a->setup.makers[i];
        is_known = authority_pattern_matches(m->pattern, o->name) &&
                   x509_verify(current, o->chain_pem, m->roots_pem, X509_KIND_CLIENT, now_wall_ms,
                               NULL) == OK;
    }
    if (!is_known || identity_from_x509(current, IDENTITY_ANY, claimed) != OK ||
        !slice_is(o->name, claimed)) {
        why_set(why,
                "no manufacturer whose certificates count here vouches for %.*s: a claim token "
                "(`sallyport enrol token`) enrols it",
                SLICE_ARG(o->name));
        return ERR_AUTH;
    }
    if (p->name != NULL && p->name->state == REGISTER_REVOKED) {
        return refuse_revoked(o->name, why);
    }
    /* Who was removed comes back by an operator's word, not by its maker's. */
    if (p->name != NULL && p->name->state == REGISTER_FORGOTTEN) {
        return refuse_unknown(o->name, why);
    }
    p->enrols = true;
    return OK;
}

static enum err check_proof(const struct authority_own *a, const struct authority_order *o,
                            int64_t now_wall_ms, const struct subject *s, struct proven *p,
                            struct why *why)
{
    switch (o->proof) {
    case AUTHORITY_BY_OPERATOR:
    case AUTHORITY_BY_APPROVAL:
        return by_operator(o, s, p, why);
    case AUTHORITY_BY_TOKEN:
        return by_token(a, o, now_wall_ms, s, p, why);
    case AUTHORITY_BY_RENEWAL:
        return by_renewal(a, o, now_wall_ms, p, why);
    case AUTHORITY_BY_MAKER:
        return by_maker(a, o, now_wall_ms, p, why);
    }
    return ERR_AUTH;
}

/* ---- signing ---- */

/* Certificates of this minute, of this name and in all. A fleet that an operator brings in by one
   command is as large as it is: of that only the names are counted. */
static enum err take_share(struct authority_own *a, struct register_name *n, struct slice name,
                           bool is_counted, int64_t now_wall_ms, struct why *why)
{
    uint64_t now_ms = now_wall_ms > 0 ? (uint64_t)now_wall_ms : 0;
    int64_t minute = now_wall_ms / MINUTE_MS;
    bool is_same = n != NULL && n->recent_minute == minute;
    if (is_same && n->n_recent >= a->policy.per_name_minute) {
        why_set(why, "%.*s has had %u certificates in this minute: try again in the next",
                SLICE_ARG(name), n->n_recent);
        return ERR_LIMIT;
    }
    if (is_counted && !bucket_take(&a->all, 1, now_ms)) {
        why_set(why,
                "more certificates are asked for than the %u a second that are signed: %.*s "
                "tries again in a minute",
                a->policy.per_second, SLICE_ARG(name));
        return ERR_LIMIT;
    }
    if (n != NULL) {
        n->n_recent = is_same ? n->n_recent + 1 : 1;
        n->recent_minute = minute;
    }
    return OK;
}

static void certificate_release(struct authority_certificate *c)
{
    authority_certificate_done(c);
}

/* Signed, put on record, and only then given. */
static enum err sign(struct authority_own *a, const struct pki_template *t, struct slice name,
                     const struct proven *p, int64_t now_wall_ms, struct authority_certificate *ret)
{
    AUTO(x509_release) struct x509 *cert = NULL;
    TRY(pki_sign(a->setup.pki, t, &a->setup.random, now_wall_ms, &cert, &ret->chain_pem));
    TRY(x509_to_der(cert, &ret->leaf_der));
    const struct x509_info *info = x509_info(cert);
    TRY(authority_serial_of(info->serial, &ret->serial));
    ret->spki = info->spki;
    ret->not_before_wall_ms = info->not_before_wall_ms;
    ret->not_after_wall_ms = info->not_after_wall_ms;
    const struct register_row row = {.serial = ret->serial,
                                     .spki = ret->spki,
                                     .not_before_wall_ms = ret->not_before_wall_ms,
                                     .not_after_wall_ms = ret->not_after_wall_ms,
                                     .enrols = p->enrols,
                                     .closes = p->closes,
                                     .token = p->token};
    return register_issue(a->setup.reg, name, &row, now_wall_ms);
}

static enum err own_issue(struct authority *base, const struct authority_order *o,
                          int64_t now_wall_ms, struct authority_certificate *ret, struct why *why)
{
    struct authority_own *a = authority_own_of(base);
    AUTO(subject_done) struct subject s = {0};
    AUTO(certificate_release) struct authority_certificate c = {0};
    char uri[sizeof IDENTITY_URI_PREFIX + IDENTITY_NAME_MAX];
    if (!identity_name_ok(o->name)) {
        why_set(why, "names of devices are 1 to %d of A-Z a-z 0-9 . _ -", IDENTITY_NAME_MAX);
        return ERR_MALFORMED;
    }
    if (o->csr_der.n > 0) {
        TRY(read_subject(o->csr_der, &s, why));
        TRY(check_request(x509_request_info(s.request), o->name, why));
    }
    struct proven p = {.name = register_name_find(a->setup.reg, o->name)};
    TRY(check_proof(a, o, now_wall_ms, &s, &p, why));
    if (s.request != NULL) {
        TRY(check_key(a, &s.spki, p.name, o->name, why));
    }
    TRY(take_share(a, p.name, o->name, o->proof != AUTHORITY_BY_OPERATOR, now_wall_ms, why));
    if (s.request == NULL) {
        TRY(key_generate(&s.key));
        TRY(key_to_pem(s.key, &c.key_pem));
    }
    int64_t most = a->policy.device_lifetime_ms;
    (void)snprintf(uri, sizeof uri, IDENTITY_URI_PREFIX "%.*s", SLICE_ARG(o->name));
    const struct x509_san san = {X509_SAN_URI, slice_text(uri)};
    const struct pki_template t = {
        .kind = X509_KIND_CLIENT,
        .common_name = o->name,
        .sans = &san,
        .n_sans = 1,
        .subject = s.key,
        .lifetime_ms = o->lifetime_ms > 0 && o->lifetime_ms < most ? o->lifetime_ms : most};
    TRY(sign(a, &t, o->name, &p, now_wall_ms, &c));
    *ret = c;
    c = (struct authority_certificate){0};
    return OK;
}

static enum err check_hosts(const struct authority_own *a, const struct x509_request_info *info,
                            struct why *why)
{
    bool good = !info->asks_ca && info->n_sans > 0;
    for (size_t i = 0; i < info->n_sans; i++) {
        good = good && register_has_host(a->setup.reg, &info->sans[i]);
    }
    if (!good) {
        why_set(why,
                "the server's certificate is for the names that `init --host` and `certs renew "
                "--host` gave it, and no others");
    }
    return good ? OK : ERR_DENIED;
}

static enum err own_issue_server(struct authority *base, struct slice csr_der, int64_t now_wall_ms,
                                 struct authority_certificate *ret, struct why *why)
{
    struct authority_own *a = authority_own_of(base);
    AUTO(subject_done) struct subject s = {0};
    AUTO(certificate_release) struct authority_certificate c = {0};
    TRY(read_subject(csr_der, &s, why));
    const struct x509_request_info *info = x509_request_info(s.request);
    TRY(check_hosts(a, info, why));
    for (const struct register_issued *i = register_key_find(a->setup.reg, &s.spki); i != NULL;
         i = i->same_key) {
        if (i->name != NULL) {
            why_set(why, "the key is the device's %.*s", i->name->n, i->name->text);
            return ERR_DENIED;
        }
    }
    TRY(take_share(a, NULL, slice_text("the server"), true, now_wall_ms, why));
    bool fits = info->n_common_names == 1 && info->common_name.n > 0;
    const struct pki_template t = {.kind = X509_KIND_SERVER,
                                   .common_name =
                                       fits ? info->common_name : slice_text("Sallyport server"),
                                   .sans = info->sans,
                                   .n_sans = info->n_sans,
                                   .subject = s.key};
    const struct proven none = {0};
    TRY(sign(a, &t, (struct slice){0}, &none, now_wall_ms, &c));
    TRY(buf_append(&c.trusted_pem, pki_trusted_pem(a->setup.pki), AUTHORITY_TRUSTED_MAX));
    *ret = c;
    c = (struct authority_certificate){0};
    return OK;
}

/* ---- what the register keeps ---- */

static enum err own_revoke(struct authority *base, struct slice name,
                           const struct authority_serial *serial, enum authority_reason reason,
                           int64_t now_wall_ms)
{
    struct pki_register *r = authority_own_of(base)->setup.reg;
    return serial != NULL && serial->n > 0 ? register_revoke_serial(r, serial, reason, now_wall_ms)
                                           : register_revoke(r, name, reason, now_wall_ms);
}

static enum err own_crl(struct authority *base, int64_t now_wall_ms, struct buf *ret_der,
                        int64_t *ret_next_update_wall_ms)
{
    return authority_own_crl(authority_own_of(base), now_wall_ms, ret_der, ret_next_update_wall_ms);
}

static enum err own_ocsp(struct authority *base, struct slice request_der, int64_t now_wall_ms,
                         struct buf *ret_der)
{
    return authority_own_ocsp(authority_own_of(base), request_der, now_wall_ms, ret_der);
}

static enum err own_enrol(struct authority *base, struct slice name, const struct digest *spki,
                          int64_t now_wall_ms, struct why *why)
{
    enum err err = register_enrol(authority_own_of(base)->setup.reg, name, spki, now_wall_ms);
    if (err == ERR_DENIED) {
        return refuse_revoked(name, why);
    }
    if (err == ERR_MALFORMED) {
        why_set(why, "names of devices are 1 to %d of A-Z a-z 0-9 . _ -", IDENTITY_NAME_MAX);
    } else if (err != OK) {
        why_set(why, "%.*s cannot be put on the register: %s", SLICE_ARG(name), err_name(err));
    }
    return err;
}

static enum err own_allow(struct authority *base, struct slice name, int64_t now_wall_ms,
                          struct why *why)
{
    const struct register_name *n = register_name_find(authority_own_of(base)->setup.reg, name);
    if (n == NULL || n->state == REGISTER_FORGOTTEN) {
        return refuse_unknown(name, why);
    }
    return own_enrol(base, name, NULL, now_wall_ms, why);
}

static bool own_is_operators(const struct authority *base)
{
    (void)base;
    return true;
}

static enum err own_forget(struct authority *base, struct slice name, int64_t now_wall_ms)
{
    return register_forget(authority_own_of(base)->setup.reg, name, now_wall_ms);
}

static enum err own_reload(struct authority *base, struct why *why)
{
    struct authority_own *a = authority_own_of(base);
    struct pki *pki = NULL;
    if (a->setup.disk == NULL) {
        return OK;
    }
    TRY(pki_open_signing(a->setup.disk, register_seal(a->setup.reg), &pki, why));
    pki_set_url(pki, a->setup.url);
    (void)pki_free(a->newer);
    a->newer = pki;
    a->setup.pki = pki;
    return OK;
}

static enum err own_roll(struct authority *base, enum authority_roll_step step, int64_t now_wall_ms,
                         struct why *why)
{
    struct authority_own *a = authority_own_of(base);
    struct slice seal = register_seal(a->setup.reg);
    const struct random_source *random = &a->setup.random;
    if (a->setup.disk == NULL) {
        return ERR_UNSUPPORTED;
    }
    switch (step) {
    case AUTHORITY_ROLL_PREPARE:
        TRY(pki_roll_prepare(a->setup.disk, seal, random, now_wall_ms, why));
        break;
    case AUTHORITY_ROLL_SWITCH:
        TRY(pki_roll_switch(a->setup.disk, seal, random, now_wall_ms, why));
        break;
    case AUTHORITY_ROLL_FINISH:
        TRY(pki_roll_finish(a->setup.disk, seal, random, why));
        break;
    case AUTHORITY_ROLL_STEPS:
        return ERR_MALFORMED;
    }
    return own_reload(base, why);
}

static enum err own_host(struct authority *base, struct slice host, struct why *why)
{
    struct authority_own *a = authority_own_of(base);
    struct pki_hosts hosts;
    struct pki_sans s;
    hosts.n = s.n = 0;
    enum err err = pki_hosts_add(&hosts, host);
    if (err != OK) {
        why_set(why, "a name of the server is a DNS name or an IP address");
        return err;
    }
    TRY(pki_sans_add_hosts(&s, &hosts));
    err = register_add_host(a->setup.reg, &s.san[0]);
    if (err == ERR_LIMIT) {
        why_set(why, "the server has as many names as a certificate can have");
    }
    return err;
}

static struct authority *own_free(struct authority *base)
{
    authority_word_done(&authority_own_of(base)->word);
    (void)pki_free(authority_own_of(base)->newer);
    mem_free(authority_own_of(base));
    return NULL;
}

static const struct authority_ops own_ops = {.issue = own_issue,
                                             .issue_server = own_issue_server,
                                             .revoke = own_revoke,
                                             .crl = own_crl,
                                             .ocsp = own_ocsp,
                                             .enrol = own_enrol,
                                             .allow = own_allow,
                                             .forget = own_forget,
                                             .token_make = authority_own_token_make,
                                             .roll = own_roll,
                                             .host = own_host,
                                             .reload = own_reload,
                                             .token_ask = authority_own_token_ask,
                                             .tokens = authority_own_tokens,
                                             .token_cancel = authority_own_token_cancel,
                                             .is_operators = own_is_operators,
                                             .free = own_free};

MUST_USE enum err authority_own_new(const struct authority_own_setup *s, struct authority **ret)
{
    struct authority_own *a = mem_zalloc(sizeof *a);
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->base.ops = &own_ops;
    a->setup = *s;
    a->policy = with_defaults(&s->policy);
    bucket_init(&a->all, a->policy.per_second, a->policy.burst, 0);
    authority_word_init(&a->word);
    *ret = &a->base;
    return OK;
}

void authority_own_set_policy(struct authority *base, const struct authority_policy *p)
{
    struct authority_own *a = authority_own_of(base);
    a->policy = with_defaults(p);
    bucket_set(&a->all, a->policy.per_second, a->policy.burst);
}

MUST_USE enum err authority_files_open(const struct authority_files_setup *s,
                                       struct authority_files *ret, struct why *why)
{
    *ret = (struct authority_files){.pki = NULL};
    const struct register_setup reg = {.disk = s->disk,
                                       .seal = s->signing_key,
                                       .random = s->random,
                                       .now_wall_ms = s->now_wall_ms};
    TRY(pki_open_signing(s->disk, s->signing_key, &ret->pki, why));
    TRY(register_open(&reg, &ret->reg, why));
    pki_set_url(ret->pki, s->url);
    const struct authority_own_setup own = {.pki = ret->pki,
                                            .url = s->url,
                                            .reg = ret->reg,
                                            .random = s->random,
                                            .policy = s->policy,
                                            .makers = s->makers,
                                            .n_makers = s->n_makers,
                                            .disk = s->disk};
    return authority_own_new(&own, &ret->authority);
}

void authority_files_close(struct authority_files *f)
{
    f->authority = authority_free(f->authority);
    f->reg = register_free(f->reg);
    f->pki = pki_free(f->pki);
}

MUST_USE enum err authority_serial_of(struct slice serial, struct authority_serial *ret)
{
    if (serial.n == 0 || serial.n > sizeof ret->bytes) {
        return ERR_MALFORMED;
    }
    *ret = (struct authority_serial){.n = (uint8_t)serial.n};
    slice_copy(ret->bytes, serial);
    return OK;
}

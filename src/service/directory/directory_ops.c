#include "base/mem.h"
#include "base/utf8.h"
#include "service/directory/credential_private.h"
#include "service/directory/directory_private.h"

static bool is_reason(struct slice reason)
{
    return reason.n <= DIRECTORY_REASON_MAX && utf8_check(reason, UTF8_STRICT, NULL) == OK;
}

/* ---- credentials ---- */

static struct slice secret_of(const struct directory_secret *s)
{
    switch (s->kind) {
    case CREDENTIAL_X509:
        return digest_slice(&s->spki);
    case CREDENTIAL_PASSWORD:
    case CREDENTIAL_SCRAM:
        return s->password;
    case CREDENTIAL_PSK:
        return s->psk;
    case CREDENTIAL_OSCORE:
        return slice_of(s->oscore->secret, sizeof s->oscore->secret);
    case CREDENTIAL_KINDS:
        break;
    }
    return (struct slice){0};
}

static enum err check_secret(const struct directory_secret *s, struct slice name, struct why *why)
{
    switch (s->kind) {
    case CREDENTIAL_X509:
        return OK;
    case CREDENTIAL_PASSWORD:
        return password_check_new(s->password, name, why);
    case CREDENTIAL_PSK:
        return psk_check_new(s->psk, name, why);
    case CREDENTIAL_SCRAM:
        /* A chosen one would need more iterations, and those show who exists. */
        if (password_profile_of(s->password) != PASSWORD_GENERATED) {
            why_set(why, "passwords for SCRAM are generated ones; leave it out and one is made");
            return ERR_DENIED;
        }
        return OK;
    case CREDENTIAL_OSCORE:
        return oscore_kid_ok(oscore_kid_slice(&s->oscore->kid)) ? OK : ERR_MALFORMED;
    case CREDENTIAL_KINDS:
        break;
    }
    return ERR_MALFORMED;
}

/* The index knows the secret by its keyed hash, whatever kind it is registered as: a PSK of one
 * device as the password of another is refused as well. */
static enum err check_owner(const struct directory *d, const struct directory_version *v,
                            const struct directory_secret *s, struct digest *ret_fingerprint,
                            struct why *why)
{
    struct digest fingerprint;
    TRY(digest_hmac(secret_bytes(d->fingerprint_key), secret_of(s), &fingerprint));
    const struct directory_entry *owner =
        version_find(v, VERSION_FINGERPRINT, digest_slice(&fingerprint));
    if (owner != NULL) {
        why_set(why, "this %s is registered for %s: every device needs its own",
                s->kind == CREDENTIAL_X509 ? "certificate key" : credential_kind_name(s->kind),
                owner->principal->name);
        return ERR_EXISTS;
    }
    *ret_fingerprint = fingerprint;
    return OK;
}

static enum err set_identity(struct credential *c, struct slice identity)
{
    bool is_one = identity.n == 0 || (identity.n == CREDENTIAL_IDENTITY_BYTES - 1 &&
                                      identity.p[0] == CREDENTIAL_OPAQUE[0]);
    return is_one && slice_to_text(identity, c->identity, sizeof c->identity) ? OK : ERR_MALFORMED;
}

enum err credential_make(const struct directory *d, struct directory_version *v, struct slice name,
                         const struct directory_secret *s, int64_t now_wall_ms,
                         struct credential **ret, struct why *why)
{
    struct digest fingerprint;
    if (s->kind >= CREDENTIAL_KINDS || s->expires_wall_ms <= now_wall_ms) {
        why_set(why, "a credential's end lies in the future");
        return ERR_MALFORMED;
    }
    TRY(check_secret(s, name, why));
    TRY(check_owner(d, v, s, &fingerprint, why));
    AUTO(credential_autofree)
    struct credential *c = credential_new(v->next_credential++, s->kind, now_wall_ms);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->expires_wall_ms = s->expires_wall_ms;
    c->fingerprint = fingerprint;
    if (s->kind == CREDENTIAL_X509) {
        c->spki = s->spki;
        c->cert.serial = s->serial;
    } else if (s->kind == CREDENTIAL_PASSWORD) {
        TRY(password_hash(s->password, c->phc));
    } else if (s->kind == CREDENTIAL_PSK) {
        TRY(credential_set_psk(c, d->guard, s->psk));
        TRY(set_identity(c, s->identity));
    } else if (s->kind == CREDENTIAL_OSCORE) {
        TRY(credential_set_oscore(c, d->guard, s->oscore));
    } else if (s->kind == CREDENTIAL_SCRAM) {
        TRY(scram_salt_of(digest_slice(&v->scram_key), name, &c->scram.salt));
        TRY(scram_make(s->password, &c->scram.salt, &c->scram.keys));
    }
    *ret = TAKE(c);
    return OK;
}

/* ---- principals ---- */

static enum err check_kinds(const struct directory_order *o, struct why *why)
{
    size_t n[CREDENTIAL_KINDS] = {0};
    for (size_t i = 0; i < o->n_secrets; i++) {
        if (o->secrets[i].kind >= CREDENTIAL_KINDS) {
            return ERR_MALFORMED;
        }
        if (++n[o->secrets[i].kind] > DIRECTORY_LIVE_MAX) {
            why_set(why, "at most %d credentials of one kind", DIRECTORY_LIVE_MAX);
            return ERR_LIMIT;
        }
    }
    return OK;
}

/* The number of the gateway of that name, 0 for none. */
static enum err find_gateway(const struct directory_version *v, struct slice device,
                             struct slice gateway, uint64_t *ret, struct why *why)
{
    if (gateway.n == 0) {
        *ret = 0;
        return OK;
    }
    struct slice shown = slice_head(gateway, PRINCIPAL_NAME_MAX);
    if (slice_equal(device, gateway)) {
        why_set(why, "%.*s speaks for itself: a gateway is assigned to no gateway of its own name",
                SLICE_ARG(shown));
        return ERR_DENIED;
    }
    const struct directory_entry *e = directory_find(v, gateway);
    if (e == NULL) {
        why_set(why, "there is no gateway %.*s: `device add` it first", SLICE_ARG(shown));
        return ERR_NOT_FOUND;
    }
    if (e->principal->status == PRINCIPAL_REVOKED) {
        why_set(why, "gateway %.*s is revoked: it speaks for nobody again", SLICE_ARG(shown));
        return ERR_DENIED;
    }
    *ret = e->principal->id;
    return OK;
}

enum err directory_add(struct directory *d, const struct directory_order *o, int64_t now_wall_ms,
                       uint64_t *ret_id, struct why *why)
{
    if (!principal_name_ok(o->name) || !principal_name_ok(o->role)) {
        why_set(why, "names of devices and roles are 1 to %d of A-Z a-z 0-9 . _ -",
                PRINCIPAL_NAME_MAX);
        return ERR_MALFORMED;
    }
    TRY(check_kinds(o, why));
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    if (directory_find(next, o->name) != NULL) {
        why_set(why, "%.*s is there already: `device rotate` gives it new credentials",
                SLICE_ARG(o->name));
        return ERR_EXISTS;
    }
    uint64_t gateway = 0;
    TRY(find_gateway(next, o->name, o->gateway, &gateway, why));
    AUTO(credential_list_done) struct credential_list list = {0};
    for (size_t i = 0; i < o->n_secrets; i++) {
        struct credential *c = NULL;
        TRY(credential_make(d, next, o->name, &o->secrets[i], now_wall_ms, &c, why));
        list.items[list.n++] = c;
    }
    AUTO(principal_autofree) struct principal *p = NULL;
    AUTO(entry_autofree) const struct directory_entry *e = NULL;
    enum err err =
        principal_new(next->next_principal++, o->name, o->role, o->attrs, o->n_attrs, &p);
    if (err == ERR_MALFORMED || err == ERR_LIMIT) {
        why_set(why,
                "attributes: at most %d, names as for devices, values without control "
                "characters, each once",
                PRINCIPAL_ATTRS_MAX);
    }
    TRY(err);
    p->epoch = next->epoch;
    p->gateway = gateway;
    uint64_t id = p->id;
    TRY(entry_new(p, now_wall_ms, (struct slice){0}, (struct answer_list){0}, list.items, list.n,
                  &e));
    err = version_replace(next, NULL, e);
    if (err == ERR_EXISTS) {
        why_set(why, "two of the new credentials hold the same secret");
    }
    TRY(err);
    TRY(change_finish(d, &next));
    *ret_id = id;
    return OK;
}

/* What a change makes of a principal; its name, number and attributes stay. */
struct successor {
    enum principal_status status;
    struct slice role;
    uint64_t gateway;
    struct answer_list answers;
};

static struct successor same(const struct directory_entry *e)
{
    const struct principal *p = e->principal;
    return (struct successor){p->own_status, slice_text(p->role), p->gateway,
                              (struct answer_list){e->answers, e->n_answers}};
}

/* A principal's successor, of this epoch. */
static enum err next_principal(const struct principal *p, const struct directory_version *v,
                               const struct successor *s, struct principal **ret)
{
    TRY(principal_new(p->id, slice_text(p->name), s->role, p->attrs, p->n_attrs, ret));
    (*ret)->epoch = v->epoch;
    (*ret)->own_status = s->status;
    (*ret)->gateway = s->gateway;
    answers_apply(*ret, s->answers);
    return OK;
}

static enum err replace(struct directory *d, struct directory_version **next,
                        const struct directory_entry *before, const struct successor *s,
                        struct slice reason, const struct credential *const *credentials, size_t n)
{
    AUTO(principal_autofree) struct principal *p = NULL;
    AUTO(entry_autofree) const struct directory_entry *after = NULL;
    TRY(next_principal(before->principal, *next, s, &p));
    TRY(entry_new(p, before->created_wall_ms, reason, s->answers, credentials, n, &after));
    TRY(version_replace(*next, before, after));
    return change_finish(d, next);
}

enum err directory_remove(struct directory *d, struct slice name)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, name);
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(version_replace(next, e, NULL));
    return change_finish(d, &next);
}

enum err entry_replace(struct directory *d, struct directory_version **next,
                       const struct directory_entry *before, enum principal_status status,
                       struct slice reason, const struct credential *const *credentials, size_t n)
{
    struct successor s = same(before);
    s.status = status;
    return replace(d, next, before, &s, reason, credentials, n);
}

static enum err set_status(struct directory *d, struct slice name, enum principal_status status,
                           struct slice reason, struct why *why)
{
    if (!is_reason(reason)) {
        return ERR_MALFORMED;
    }
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, name);
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    if (e->principal->status == PRINCIPAL_REVOKED && status != PRINCIPAL_REVOKED) {
        why_set(why, "%s is revoked for good: remove it and add it anew, with new credentials",
                e->principal->name);
        return ERR_DENIED;
    }
    struct successor s = same(e);
    s.status = status;
    return replace(d, &next, e, &s, reason, e->credentials, e->n_credentials);
}

enum err directory_disable(struct directory *d, struct slice name, struct slice reason)
{
    return set_status(d, name, PRINCIPAL_DISABLED, reason, NULL);
}

enum err directory_enable(struct directory *d, struct slice name, struct why *why)
{
    return set_status(d, name, PRINCIPAL_ACTIVE, (struct slice){0}, why);
}

enum err directory_revoke(struct directory *d, struct slice name, struct slice reason)
{
    return reason.n > 0 ? set_status(d, name, PRINCIPAL_REVOKED, reason, NULL) : ERR_MALFORMED;
}

/* The entry that is to be changed: ERR_NOT_FOUND, and ERR_DENIED for who is revoked. */
static enum err find_changeable(const struct directory_version *v, struct slice name,
                                const struct directory_entry **ret, struct why *why)
{
    const struct directory_entry *e = directory_find(v, name);
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    if (e->principal->status == PRINCIPAL_REVOKED) {
        why_set(why, "%s is revoked for good: remove it and add it anew", e->principal->name);
        return ERR_DENIED;
    }
    *ret = e;
    return OK;
}

enum err directory_set_role(struct directory *d, struct slice name, struct slice role,
                            struct why *why)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    const struct directory_entry *e = NULL;
    TRY(change_begin(d, &next));
    TRY(find_changeable(next, name, &e, why));
    struct successor s = same(e);
    s.role = role;
    return replace(d, &next, e, &s, slice_text(e->reason), e->credentials, e->n_credentials);
}

enum err directory_assign(struct directory *d, struct slice name, struct slice gateway,
                          struct why *why)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    const struct directory_entry *e = NULL;
    TRY(change_begin(d, &next));
    TRY(find_changeable(next, name, &e, why));
    struct successor s = same(e);
    TRY(find_gateway(next, name, gateway, &s.gateway, why));
    return replace(d, &next, e, &s, slice_text(e->reason), e->credentials, e->n_credentials);
}

enum err directory_withdraw(struct directory *d, struct slice name, int64_t since_wall_ms)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    AUTO(credential_list_done) struct credential_list list = {0};
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, name);
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        if (c->created_wall_ms < since_wall_ms ||
            atomic_load_explicit(&c->used_wall_ms, memory_order_relaxed) != 0) {
            list.items[list.n++] = credential_ref(c);
        }
    }
    if (list.n == e->n_credentials) {
        return OK;
    }
    struct successor s = same(e);
    return replace(d, &next, e, &s, slice_text(e->reason), list.items, list.n);
}

static bool is_key(const struct credential *c, const struct digest *spki)
{
    return c->kind == CREDENTIAL_X509 && slice_equal(digest_slice(&c->spki), digest_slice(spki));
}

/* What stays beside a certificate that came for `o->by`. *ret_is_there: a credential of the same
 * key, with its end moved. */
static enum err keep_renewed(const struct directory_entry *e, const struct directory_renewal *o,
                             struct credential_list *ret, bool *ret_is_there)
{
    bool has_by = false;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        has_by = has_by || (c->id == o->by && c->kind == CREDENTIAL_X509);
        if (is_key(c, &o->spki)) {
            const struct credential *longer = NULL;
            int64_t until = c->expires_wall_ms;
            until = o->expires_wall_ms > until ? o->expires_wall_ms : until;
            TRY(credential_until(c, until, &longer));
            ret->items[ret->n++] = longer;
            *ret_is_there = true;
        } else if (c->kind != CREDENTIAL_X509 || c->id == o->by) {
            ret->items[ret->n++] = credential_ref(c);
        }
    }
    return has_by ? OK : ERR_DENIED;
}

enum err directory_renew(struct directory *d, const struct directory_renewal *o,
                         int64_t now_wall_ms, struct why *why)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    AUTO(credential_list_done) struct credential_list list = {0};
    AUTO(credential_autofree) struct credential *fresh = NULL;
    struct directory_secret secret = {.kind = CREDENTIAL_X509,
                                      .spki = o->spki,
                                      .serial = o->serial,
                                      .expires_wall_ms = o->expires_wall_ms};
    bool is_there = false;
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, o->name);
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    enum err err = e->principal->status == PRINCIPAL_ACTIVE ? keep_renewed(e, o, &list, &is_there)
                                                            : ERR_DENIED;
    if (err == ERR_DENIED) {
        why_set(why,
                "%s is not active, or the certificate it came by was replaced meanwhile. Use the "
                "newest bundle",
                e->principal->name);
    }
    TRY(err);
    if (!is_there) {
        TRY(credential_make(d, next, o->name, &secret, now_wall_ms, &fresh, why));
        if (list.n == DIRECTORY_CREDENTIALS_MAX) {
            return ERR_LIMIT;
        }
        list.items[list.n++] = credential_ref(fresh);
    }
    return entry_replace(d, &next, e, PRINCIPAL_ACTIVE, (struct slice){0}, list.items, list.n);
}

/* ---- answers to misuse ---- */

static enum err check_answer(const struct directory_answer_order *o, int64_t now_wall_ms,
                             struct why *why)
{
    if (o->reason.n == 0 || !is_reason(o->reason) || o->by.n > DIRECTORY_ANSWER_BY_MAX) {
        why_set(why, "a response needs a reason of 1 to %d bytes", DIRECTORY_REASON_MAX);
        return ERR_MALFORMED;
    }
    if (o->kind == ANSWER_ALERT || o->kind >= ANSWER_KINDS) {
        why_set(why, "an answer is one of throttle, step-up, quarantine, disconnect, revoke");
        return ERR_MALFORMED;
    }
    if (o->until_wall_ms <= now_wall_ms) {
        why_set(why, "a response ends in the future");
        return ERR_MALFORMED;
    }
    return OK;
}

static enum err answers_replace(struct directory *d, struct directory_version **next,
                                const struct directory_entry *e, struct answer_list answers)
{
    struct successor s = same(e);
    s.answers = answers;
    return replace(d, next, e, &s, slice_text(e->reason), e->credentials, e->n_credentials);
}

enum err directory_answer_start(struct directory *d, struct slice name,
                                const struct directory_answer_order *o, int64_t now_wall_ms,
                                struct directory_answer *ret, struct why *why)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    const struct directory_entry *e = NULL;
    struct directory_answer items[DIRECTORY_ANSWERS_MAX];
    struct directory_answer one = {.kind = o->kind, .since_wall_ms = now_wall_ms};
    size_t n = 0;
    TRY(check_answer(o, now_wall_ms, why));
    TRY(change_begin(d, &next));
    TRY(find_changeable(next, name, &e, why));
    one.id = next->next_exception++;
    one.until_wall_ms = o->until_wall_ms;
    for (size_t i = 0; i < e->n_answers; i++) {
        const struct directory_answer *x = &e->answers[i];
        if (x->kind != o->kind) {
            items[n++] = *x;
        } else if (x->until_wall_ms >= o->until_wall_ms) {
            why_set(why, "response %llu is the same, and lasts as long", (unsigned long long)x->id);
            return ERR_EXISTS;
        } else {
            one.id = x->id; /* the longer one wins; it is the same to whoever it meets */
            one.since_wall_ms = x->since_wall_ms;
        }
    }
    if (!slice_to_text(o->by, one.by, sizeof one.by) ||
        !slice_to_text(o->reason, one.reason, sizeof one.reason)) {
        return ERR_MALFORMED;
    }
    items[n++] = one;
    TRY(answers_replace(d, &next, e, (struct answer_list){items, n}));
    *ret = one;
    return OK;
}

enum err directory_answer_end(struct directory *d, struct slice name, uint64_t id)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    struct directory_answer items[DIRECTORY_ANSWERS_MAX];
    size_t n = 0;
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, name);
    for (size_t i = 0; e != NULL && i < e->n_answers; i++) {
        if (e->answers[i].id != id) {
            items[n++] = e->answers[i];
        }
    }
    if (e == NULL || n == e->n_answers) {
        return ERR_NOT_FOUND;
    }
    return answers_replace(d, &next, e, (struct answer_list){items, n});
}

/* ---- certificates ---- */

static bool is_meant(const struct credential *c, const struct serial *serial)
{
    return c->kind == CREDENTIAL_X509 &&
           (serial == NULL || slice_equal(serial_slice(&c->cert.serial), serial_slice(serial)));
}

enum err directory_revoke_certificate(struct directory *d, struct slice name,
                                      const struct serial *serial, unsigned reason,
                                      int64_t now_wall_ms, size_t *ret_n, struct why *why)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    const struct directory_entry *e = directory_find(next, name);
    AUTO(credential_list_done) struct credential_list list = {0};
    size_t n_meant = 0, n_changed = 0;
    for (size_t i = 0; e != NULL && i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        bool changes = is_meant(c, serial) && !credential_is_revoked(c);
        n_meant += is_meant(c, serial) ? 1 : 0;
        n_changed += changes ? 1 : 0;
        if (changes) {
            TRY(credential_taken_back(c, reason, now_wall_ms, &list.items[list.n]));
        } else {
            list.items[list.n] = credential_ref(c);
        }
        list.n++;
    }
    if (n_meant == 0) {
        struct slice shown = slice_head(name, PRINCIPAL_NAME_MAX);
        why_set(why, "%s%.*s%s", e != NULL ? "" : "there is no device ", SLICE_ARG(shown),
                e == NULL        ? ""
                : serial != NULL ? " has no certificate of this serial; `device show` names those "
                                   "it has"
                                 : " has no certificate");
        return ERR_NOT_FOUND;
    }
    if (n_changed > 0) {
        TRY(entry_replace(d, &next, e, e->principal->own_status, slice_text(e->reason), list.items,
                          list.n));
    }
    *ret_n = n_changed;
    return OK;
}

/* ---- policy ---- */

enum err directory_policy_changed(struct directory *d, uint64_t *ret_epoch)
{
    AUTO(version_autofree) struct directory_version *next = NULL;
    TRY(change_begin(d, &next));
    uint64_t epoch = next->epoch;
    next->policy_epoch = epoch;
    TRY(change_finish(d, &next));
    *ret_epoch = epoch;
    return OK;
}

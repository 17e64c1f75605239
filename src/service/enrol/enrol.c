#include "service/enrol/enrol.h"

#include <stdarg.h>

#include "base/mem.h"
#include "security/crypto/key.h"
#include "security/crypto/x509_certs.h"
#include "service/directory/late.h"
#include "service/enrol/enrol_private.h"

static void json_release(json_t **j)
{
    json_decref(*j);
}

static void version_release(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
}

/* ---- answers ---- */

void enrol_answer(struct enrol_case *c, enum enrolment_result result, const char *format, ...)
{
    va_list args;
    c->e->result = result;
    c->e->retry_after_s = result == ENROLMENT_BUSY ? 10 : c->e->retry_after_s;
    va_start(args, format);
    (void)vsnprintf(c->e->why.text, sizeof c->e->why.text, format, args);
    va_end(args);
}

static void report(struct enrol_case *c, enum event_category category, const char *principal,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
static void report(struct enrol_case *c, enum event_category category, const char *principal,
                   const char *format, ...)
{
    char peer[NET_PEER_TEXT_BYTES];
    char text[512];
    struct event ev = event_make(category);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    net_peer_text(&c->e->peer, peer);
    ev.wall_ms = c->now_wall_ms;
    ev.protocol = c->e->protocol;
    EVENT_TEXT(&ev, peer, slice_text(peer));
    EVENT_TEXT(&ev, listener, slice_text(c->e->listener));
    EVENT_TEXT(&ev, principal, slice_text(principal));
    EVENT_TEXT(&ev, target, slice_text(c->name));
    EVENT_TEXT(&ev, reason, slice_text(text));
    c->e->is_told = true;
    c->d->setup.event(c->d->setup.ctx, &ev);
}

/* A refusal, to who asked and to the operator. */
static void refuse(struct enrol_case *c, enum enrolment_result result, const char *principal,
                   const char *text)
{
    enrol_answer(c, result, "%s", text);
    report(c, EVENT_enrolment, principal, "refused: %s", text);
}

/* What the authority or the directory said no with. */
static void refuse_err(struct enrol_case *c, enum err err, const char *principal,
                       const struct why *why)
{
    switch ((unsigned)err) {
    case ERR_LIMIT:
        enrol_answer(c, ENROLMENT_BUSY, "the authority signs no more in this minute: come again");
        return;
    case ERR_MALFORMED:
    case ERR_UNSUPPORTED:
        refuse(c, ENROLMENT_MALFORMED, principal, why->text);
        return;
    case ERR_AUTH:
    case ERR_EXPIRED:
    case ERR_DENIED:
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
        refuse(c, ENROLMENT_REFUSED, principal,
               why->text[0] != '\0' ? why->text : "it may not have this certificate");
        return;
    default:
        report(c, EVENT_enrolment, principal,
               "a certificate could not be given (%s)%s%s. Look at the disk and at `sallyport "
               "alerts`; the device tries again",
               err_name(err), why->text[0] != '\0' ? ": " : "", why->text);
        enrol_answer(c, ENROLMENT_BUSY, "the server has a trouble of its own: come again");
        return;
    }
}

/* ---- the request ---- */

/* Whom it asks a certificate for: our own form of name, else the common name. */
static bool name_of(const struct x509_request_info *r, char ret[PRINCIPAL_NAME_MAX + 1])
{
    static const char prefix[] = IDENTITY_URI_PREFIX;
    struct slice name = r->n_common_names == 1 ? r->common_name : (struct slice){0};
    size_t n_ours = 0;
    for (size_t i = 0; i < r->n_sans; i++) {
        struct slice s = r->sans[i].value;
        if (r->sans[i].kind == X509_SAN_URI && slice_has_prefix(s, slice_text(prefix))) {
            name = slice_from(s, sizeof prefix - 1);
            n_ours++;
        }
    }
    ret[0] = '\0';
    return n_ours < 2 && principal_name_ok(name) &&
           slice_to_text(name, ret, PRINCIPAL_NAME_MAX + 1);
}

/* Their key is not used for it: one is made here, and asked for in the same name. */
static enum err make_pair(struct enrol_case *c)
{
    AUTO(key_autofree) struct key *key = NULL;
    AUTO(buf_wipe) struct buf pem = {0};
    TRY(key_generate(&key));
    TRY(key_to_der(key, &c->e->key_der));
    buf_clear(&c->e->csr_der);
    TRY(key_spki_sha256(key, &c->spki));
    return x509_request_make(key, slice_text(c->name), NULL, 0, &c->e->csr_der);
}

static bool read_request(struct enrol_case *c)
{
    AUTO(x509_request_autofree) struct x509_request *r = NULL;
    bool is_pair = c->e->want == ENROLMENT_PAIR;
    enum err err = is_pair ? x509_request_wish_from_der(buf_slice(&c->e->csr_der), &r)
                           : x509_request_from_der(buf_slice(&c->e->csr_der), &r);
    if (err == ERR_UNSUPPORTED) {
        enrol_answer(c, ENROLMENT_MALFORMED,
                     "the request's key is not on P-256: make one with `openssl ecparam -name "
                     "prime256v1 -genkey -noout`");
    } else if (err == ERR_NOMEM) {
        enrol_answer(c, ENROLMENT_BUSY, "the server is short of memory: come again");
    } else if (err != OK) {
        enrol_answer(c, ENROLMENT_MALFORMED,
                     is_pair ? "the request is no PKCS#10 in DER"
                             : "the request is no PKCS#10 in DER that its own key has signed");
    } else if (is_pair && x509_request_info(r)->asks_sealed_key) { /* SPEC: RFC7030 4.4.1.1 */
        enrol_answer(
            c, ENROLMENT_MALFORMED,
            "the request wants its key encrypted once more (DecryptKeyIdentifier), which is "
            "not done here: leave that out, or make the key on the device and ask for the "
            "certificate alone");
        err = ERR_UNSUPPORTED;
    }
    if (err != OK) {
        return false;
    }
    c->spki = x509_request_info(r)->spki;
    (void)name_of(x509_request_info(r), c->name);
    return true;
}

/* A manufacturer, or a token, knows the name when the request has none. */
static bool settle_name(struct enrol_case *c, const char *known)
{
    if (c->name[0] == '\0') {
        (void)slice_to_text(slice_text(known), c->name, sizeof c->name);
    }
    if (c->name[0] == '\0') {
        enrol_answer(c, ENROLMENT_MALFORMED,
                     "the request names no device: give it a common name (CN) of 1 to %d of A-Z "
                     "a-z 0-9 . _ -",
                     PRINCIPAL_NAME_MAX);
        return false;
    }
    if (c->e->want == ENROLMENT_PAIR && c->e->key_der.n == 0 && make_pair(c) != OK) {
        enrol_answer(c, ENROLMENT_BUSY, "the server is short of memory: come again");
        return false;
    }
    return true;
}

/* ---- signing and registering ---- */

struct granted {
    struct slice role;
    const struct principal_attr *attrs;
    size_t n_attrs;
    uint64_t by; /* the credential by which it renews; 0: it does not */
};

static enum err enter_renewed(struct enrol_case *c, const struct authority_certificate *cert,
                              uint64_t by, struct why *why)
{
    struct directory_renewal row = {.name = slice_text(c->name),
                                    .by = by,
                                    .spki = cert->spki,
                                    .serial = authority_serial_plain(&cert->serial),
                                    .expires_wall_ms = cert->not_after_wall_ms};
    TRY(directory_renew(c->d->setup.directory, &row, c->now_wall_ms, why));
    c->has_changed = true;
    return OK;
}

static enum err enter(struct enrol_case *c, const struct authority_certificate *cert,
                      const struct granted *granted, struct why *why)
{
    struct slice name = slice_text(c->name);
    if (granted->by != 0) {
        return enter_renewed(c, cert, granted->by, why);
    }
    struct directory_secret secret = {.kind = CREDENTIAL_X509,
                                      .expires_wall_ms = cert->not_after_wall_ms,
                                      .spki = cert->spki,
                                      .serial = authority_serial_plain(&cert->serial)};
    const struct directory_entry *mine = directory_find(c->version, name);
    const struct directory_entry *owner = directory_find_spki(c->version, &cert->spki);
    if (owner != NULL && owner == mine) {
        return OK; /* its answer was lost, and it asks again */
    }
    c->has_changed = true;
    if (mine != NULL) {
        return directory_rotate(c->d->setup.directory, name, &secret, 0, c->now_wall_ms, why);
    }
    uint64_t id;
    struct directory_order order = {.name = name,
                                    .role = granted->role,
                                    .attrs = granted->attrs,
                                    .n_attrs = granted->n_attrs,
                                    .secrets = &secret,
                                    .n_secrets = 1};
    return directory_add(c->d->setup.directory, &order, c->now_wall_ms, &id, why);
}

/* What is refused here costs no token and no signature. */
static bool may_have(struct enrol_case *c, const struct granted *granted)
{
    char text[WHY_BYTES];
    const struct directory_entry *mine = directory_find(c->version, slice_text(c->name));
    const struct directory_entry *owner = directory_find_spki(c->version, &c->spki);
    if (owner != NULL && owner != mine) {
        (void)snprintf(text, sizeof text,
                       "the key of the request for %s belongs to another device: make one of its "
                       "own",
                       c->name);
    } else if (mine != NULL && mine->principal->status != PRINCIPAL_ACTIVE) {
        (void)snprintf(text, sizeof text, "%s is disabled or revoked here: an operator knows why",
                       c->name);
    } else if (mine == NULL && !c->d->setup.has_role(c->d->setup.ctx, granted->role)) {
        (void)snprintf(text, sizeof text,
                       "%s would get the role %.*s, which the policy in force does not have: "
                       "`policy apply` one that has",
                       c->name, SLICE_ARG(granted->role));
    } else {
        return true;
    }
    refuse(c, ENROLMENT_REFUSED, "", text);
    return false;
}

static enum err issue(struct enrol_case *c, struct authority_order *o,
                      const struct granted *granted, struct why *why)
{
    struct authority_certificate cert = {0};
    o->name = slice_text(c->name);
    o->csr_der = buf_slice(&c->e->csr_der);
    TRY(authority_issue(c->d->setup.authority, o, c->now_wall_ms, &cert, why));
    enum err err = enter(c, &cert, granted, why);
    err = err == OK ? x509_certs_make(buf_slice(&cert.chain_pem), &c->e->certs_der) : err;
    err = err == OK ? buf_append(&c->e->leaf_der, buf_slice(&cert.leaf_der), X509_DER_MAX) : err;
    err = err == OK ? buf_append(&c->e->chain_pem, buf_slice(&cert.chain_pem), X509_CERTS_BYTES)
                    : err;
    (void)slice_to_text(slice_text(c->name), c->e->name, sizeof c->e->name);
    authority_certificate_done(&cert);
    return err;
}

static void issued(struct enrol_case *c, const char *by, bool is_again)
{
    enrol_answer(c, ENROLMENT_ISSUED, "%s", "");
    report(c, is_again ? EVENT_credential_rotated : EVENT_enrolment, c->name,
           is_again ? "renewed its certificate (%s)" : "enrolled: it has a certificate (%s)", by);
}

static void finish(struct enrol_case *c, enum err err, const char *by, bool is_again,
                   const struct why *why)
{
    if (err == OK) {
        issued(c, by, is_again);
    } else {
        refuse_err(c, err, is_again ? c->name : "", why);
    }
}

/* ---- by a claim token ---- */

enum err enrol_attrs(const json_t *o, struct principal_attr *dst, size_t cap, size_t *ret_n,
                     struct why *why)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    if (o == NULL) {
        *ret_n = 0;
        return OK;
    }
    if (!json_is_object(o)) {
        why_set(why, "attributes are a JSON object of text");
        return ERR_MALFORMED;
    }
    /* jansson's own loop takes a mutable object, but changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        struct slice text = slice_of(json_string_value(value), json_string_length(value));
        if (n == cap) {
            why_set(why, "a device has at most %zu attributes", cap);
            return ERR_LIMIT;
        }
        if (!json_is_string(value) || !principal_name_ok(slice_text(key)) ||
            !slice_to_text(slice_text(key), dst[n].key, sizeof dst[n].key) ||
            !slice_to_text(text, dst[n].value, sizeof dst[n].value)) {
            why_set(why,
                    "attribute %.64s: names are as of devices, values text of at most %d bytes",
                    key, PRINCIPAL_ATTR_MAX);
            return ERR_MALFORMED;
        }
        n++;
    }
    *ret_n = n;
    return OK;
}

static struct slice text_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return slice_of(json_string_value(v), json_string_length(v));
}

static void wrong_token(struct enrol_case *c)
{
    bool is_news = enrol_guess_wrong(c->d, &c->e->peer, c->now_ms);
    enrol_answer(
        c, ENROLMENT_UNPROVEN,
        "the claim token is not good: mistyped, used already, or its time is over. Ask for "
        "a new one (`sallyport enrol token` on the server)");
    report(c, EVENT_auth_fail, "",
           "a claim token that is not in force was shown: mistyped, used already, or its time is "
           "over. `sallyport enrol token` makes a new one");
    if (is_news) {
        report(c, EVENT_auth_bruteforce, "",
               "%d wrong claim tokens within a minute from this network: for the rest of the "
               "minute none from there is looked at. If they are yours, look at what they were "
               "given; else keep them out with `from` of the listener",
               ENROL_WRONG_MAX);
    }
}

/* A token for one name brings a device back, too; what is enrolled already keeps its role. */
static bool fits_claim(struct enrol_case *c, const json_t *claim)
{
    struct slice name = text_of(claim, "name");
    struct slice pattern = text_of(claim, "pattern");
    bool is_there = directory_find(c->version, slice_text(c->name)) != NULL;
    if (name.n > 0 ? !slice_is(name, c->name)
                   : !authority_pattern_matches(pattern, slice_text(c->name))) {
        enrol_answer(c, ENROLMENT_REFUSED,
                     "the claim token is for %s%.*s, the request is for %s: name the device so, or "
                     "ask for another token",
                     name.n > 0 ? "" : "names like ", SLICE_ARG(name.n > 0 ? name : pattern),
                     c->name);
    } else if (name.n == 0 && is_there) {
        enrol_answer(c, ENROLMENT_REFUSED,
                     "a device named %s is there already: take another name, or a token made for "
                     "this one (`sallyport enrol token --name %s`)",
                     c->name, c->name);
    } else {
        return true;
    }
    report(c, EVENT_enrolment, "", "refused: %s", c->e->why.text);
    return false;
}

static void by_token(struct enrol_case *c)
{
    struct enrol *d = c->d;
    char token[AUTHORITY_TOKEN_BYTES] = "";
    AUTO(buf_done) struct buf text = {0};
    struct principal_attr attrs[PRINCIPAL_ATTRS_MAX];
    struct why why = {{0}};
    unsigned blocked_s = enrol_guess_blocked(d, &c->e->peer, c->now_ms);
    if (blocked_s > 0) {
        enrol_answer(c, ENROLMENT_TOO_MANY, "too many wrong claim tokens came from your network");
        c->e->retry_after_s = blocked_s;
        return;
    }
    enum err err = authority_token_text(slice_text(c->e->secret), token);
    if (err == OK) {
        err = authority_token_ask(d->setup.authority, slice_text(token), c->now_wall_ms, &text);
    }
    if (err == ERR_AUTH || err == ERR_MALFORMED || err == ERR_EXPIRED || err == ERR_NOT_FOUND) {
        wrong_token(c);
        return;
    }
    AUTO(json_release) json_t *claim = NULL;
    if (err == OK) {
        claim = json_loadb((const char *)text.p, text.n, 0, NULL);
        err = json_is_object(claim) ? OK : ERR_NOMEM;
    }
    if (err != OK) {
        refuse_err(c, err, "", &why);
        return;
    }
    char known[PRINCIPAL_NAME_MAX + 1] = "";
    (void)slice_to_text(text_of(claim, "name"), known, sizeof known);
    if (!settle_name(c, known) || !fits_claim(c, claim)) {
        return;
    }
    struct granted granted = {.role = text_of(claim, "role"), .attrs = attrs};
    err = enrol_attrs(json_object_get(claim, "attrs"), attrs, COUNT_OF(attrs), &granted.n_attrs,
                      &why);
    if (err == OK && !may_have(c, &granted)) {
        return;
    }
    struct authority_order o = {.proof = AUTHORITY_BY_TOKEN, .token = slice_text(token)};
    err = err == OK ? issue(c, &o, &granted, &why) : err;
    mem_wipe(token, sizeof token);
    finish(c, err, "claim token", false, &why);
}

/* ---- by a certificate ---- */

enum { LAST_MS = 1000 }; /* before its end a certificate was good for the last time */

void est_proof_of_connection(const struct enrol_case *c, struct enrol_proven *ret)
{
    struct slice ca = c->d->setup.ca_pem;
    AUTO(x509_autofree) struct x509 *leaf = NULL;
    struct slice der = buf_slice(&c->e->current_der);
    *ret = (struct enrol_proven){.proof = der.n > 0 ? ENROL_NOT_GOOD : ENROL_NO_PROOF};
    if (der.n == 0 || x509_from_der(der, &leaf) != OK) {
        return;
    }
    ret->spki = x509_info(leaf)->spki;
    ret->id = x509_info(leaf)->id;
    ret->ends_wall_ms = x509_info(leaf)->not_after_wall_ms;
    ret->is_late = late_is(ret->ends_wall_ms, c->now_wall_ms);
    int64_t at = ret->is_late ? ret->ends_wall_ms - LAST_MS : c->now_wall_ms;
    if (x509_verify(leaf, ca, ca, X509_KIND_CLIENT, at, &ret->why) == OK) {
        char name[IDENTITY_NAME_BYTES];
        if (identity_from_x509(leaf, IDENTITY_URI, name) == OK) {
            ret->proof = ENROL_OURS;
            (void)slice_to_text(slice_text(name), ret->name, sizeof ret->name);
        }
        return;
    }
    if (c->d->setup.makers != NULL &&
        enrol_maker_find(c->d->setup.makers, leaf, c->now_wall_ms, &ret->maker, &ret->why) == OK) {
        ret->proof = ENROL_MAKERS;
        if (enrol_maker_name(ret->maker, leaf, ret->name) != OK) {
            ret->proof = ENROL_NOT_GOOD;
            why_set(&ret->why,
                    "the manufacturer's certificate has no name that a device may have here (name "
                    "of `manufacturers` in sallyport.yaml)");
        }
    }
}

/* The credential that it renews by. *why says why not. */
static enum err find_renewed(const struct enrol_case *c, const struct enrol_proven *p,
                             uint64_t *ret, struct why *why)
{
    struct slice name = slice_text(p->name);
    const struct directory_entry *mine = NULL;
    const struct credential *credential = NULL;
    enum err err;
    if (p->is_late) {
        const struct late_claim claim = {
            .name = name, .spki = &p->spki, .id = &p->id, .ends_wall_ms = p->ends_wall_ms};
        err = late_look(c->version, &claim, c->d->setup.grace_s(c->d->setup.ctx), c->now_wall_ms,
                        &mine, &credential, why);
    } else {
        err = directory_login_x509(c->version, name, &p->spki, c->now_wall_ms, &mine, &credential);
    }
    if (err == OK) {
        *ret = credential->id;
    } else if (why->text[0] == '\0') {
        why_set(why,
                "the certificate that %s shows is not registered for it any more, or it is "
                "disabled or revoked: it enrols anew with a claim token",
                c->name);
    }
    return err;
}

static void by_renewal(struct enrol_case *c, const struct enrol_proven *p)
{
    struct why why = {{0}};
    struct granted granted = {.attrs = NULL};
    char text[WHY_BYTES];
    if (!settle_name(c, p->name)) {
        return;
    }
    if (strcmp(c->name, p->name) != 0) {
        (void)snprintf(text, sizeof text, "%s may renew its own certificate, not one for %s",
                       p->name, c->name);
        refuse(c, ENROLMENT_REFUSED, p->name, text);
        return;
    }
    if (find_renewed(c, p, &granted.by, &why) != OK) {
        refuse(c, ENROLMENT_REFUSED, p->name, why.text);
        return;
    }
    if (!may_have(c, &granted)) {
        return;
    }
    struct authority_order o = {.proof = AUTHORITY_BY_RENEWAL,
                                .current_der = buf_slice(&c->e->current_der)};
    enum err err = issue(c, &o, &granted, &why);
    finish(c, err, p->is_late ? "after the end of its present one" : "by its present one", true,
           &why);
}

static void by_maker(struct enrol_case *c, const struct enrol_proven *p)
{
    struct why why = {{0}};
    struct granted granted = {.role = slice_text(p->maker->role)};
    char text[WHY_BYTES];
    if (!settle_name(c, p->name)) {
        return;
    }
    if (strcmp(c->name, p->name) != 0) {
        (void)snprintf(text, sizeof text,
                       "the manufacturer's certificate is of %s, the request is for %s: name the "
                       "device as its manufacturer does",
                       p->name, c->name);
        refuse(c, ENROLMENT_REFUSED, "", text);
        return;
    }
    if (slice_equal(digest_slice(&p->spki), digest_slice(&c->spki))) {
        refuse(c, ENROLMENT_REFUSED, "",
               "the request has the manufacturer's key: make one for this plant");
        return;
    }
    if (!may_have(c, &granted)) {
        return;
    }
    const struct directory_entry *mine = directory_find(c->version, slice_text(c->name));
    if (mine != NULL && mine != directory_find_spki(c->version, &c->spki)) {
        (void)snprintf(text, sizeof text,
                       "a device named %s is there already, and its maker's word takes nobody's "
                       "place: a token made for it does (`sallyport enrol token --name %s`)",
                       c->name, c->name);
        refuse(c, ENROLMENT_REFUSED, "", text);
        return;
    }
    struct authority_order o = {.proof = AUTHORITY_BY_MAKER,
                                .current_der = buf_slice(&c->e->current_der),
                                .chain_pem = buf_slice(&p->maker->ca_pem)};
    enum err err = issue(c, &o, &granted, &why);
    finish(c, err, "manufacturer's certificate", false, &why);
}

/* ---- by a person ---- */

/* Approved is who has a principal without a certificate, or with this key's; the authority knows
 * whether it is this key that was approved. */
static bool is_approved(const struct enrol_case *c)
{
    const struct directory_entry *mine = directory_find(c->version, slice_text(c->name));
    const struct directory_entry *owner = directory_find_spki(c->version, &c->spki);
    return mine != NULL && (mine->n_credentials == 0 || owner == mine);
}

static void by_person(struct enrol_case *c)
{
    struct why why = {{0}};
    struct granted granted = {.attrs = NULL};
    if (c->e->want == ENROLMENT_PAIR) {
        enrol_answer(c, ENROLMENT_UNPROVEN,
                     "a key is made here only for who proves itself: show a claim token as the "
                     "password, or a certificate");
        return;
    }
    if (!settle_name(c, "")) {
        return;
    }
    if (is_approved(c)) {
        struct authority_order o = {.proof = AUTHORITY_BY_APPROVAL};
        if (issue(c, &o, &granted, &why) == OK) {
            issued(c, "approved by an operator", false);
            return;
        }
    }
    enrol_queue(c);
}

/* ---- all ---- */

static void not_good(struct enrol_case *c, const struct enrol_proven *p)
{
    char text[WHY_BYTES];
    size_t n = strcspn(p->why.text, "\r\n"); /* of the library */
    while (n > 0 && (p->why.text[n - 1] == ' ' || p->why.text[n - 1] == '.')) {
        n--;
    }
    (void)snprintf(text, sizeof text,
                   "the certificate of the connection proves nothing here: %.*s. Show one that was "
                   "given here, one of an allowed manufacturer, or a claim token without any",
                   n > 0 ? (int)(n < 120 ? n : 120) : 120,
                   n > 0 ? p->why.text : "it does not read");
    refuse(c, ENROLMENT_REFUSED, "", text);
}

static void judge(struct enrol_case *c)
{
    struct enrol_proven p;
    if (!read_request(c)) {
        return;
    }
    if (c->e->secret[0] != '\0') {
        by_token(c);
        return;
    }
    est_proof_of_connection(c, &p);
    switch (p.proof) {
    case ENROL_OURS:
        by_renewal(c, &p);
        return;
    case ENROL_MAKERS:
        by_maker(c, &p);
        return;
    case ENROL_NOT_GOOD:
        not_good(c, &p);
        return;
    case ENROL_NO_PROOF:
        break;
    }
    if (c->e->want == ENROLMENT_AGAIN) {
        enrol_answer(c, ENROLMENT_UNPROVEN,
                     "a renewal shows the certificate it had (in TLS), or a claim token as the "
                     "password");
        return;
    }
    by_person(c);
}

bool enrol_decide(struct enrol *d, struct enrolment *e, uint64_t now_ms, int64_t now_wall_ms)
{
    AUTO(version_release) const struct directory_version *v = directory_current(d->setup.directory);
    struct enrol_case c = {
        .d = d, .e = e, .now_ms = now_ms, .now_wall_ms = now_wall_ms, .version = v};
    enrol_answer(&c, ENROLMENT_BUSY, "come again");
    judge(&c);
    if (e->result != ENROLMENT_ISSUED) {
        buf_wipe(&e->key_der);
    }
    return c.has_changed;
}

void enrol_set_ca(struct enrol *d, struct slice ca_pem)
{
    d->setup.ca_pem = ca_pem;
}

enum err enrol_new(const struct enrol_setup *s, struct enrol **ret)
{
    struct enrol *d = mem_zalloc(sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    d->setup = *s;
    *ret = d;
    return OK;
}

struct enrol *enrol_free(struct enrol *d)
{
    return mem_free(d);
}

#include "service/admin/provision.h"

#include "base/mem.h"
#include "security/password/password.h"
#include "security/password/psk.h"

unsigned provision_credential_find(struct slice name)
{
    static const struct {
        const char *name;
        unsigned bit;
    } table[] = {{"x509", PROVISION_X509},
                 {"password", PROVISION_PASSWORD},
                 {"psk", PROVISION_PSK},
                 {"oscore", PROVISION_OSCORE},
                 {"scram", PROVISION_SCRAM}};
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (slice_is(name, table[i].name)) {
            return table[i].bit;
        }
    }
    return 0;
}

/* Secrets on their way from the generator to the bundle. */
struct made {
    struct authority_certificate device;
    char password[PASSWORD_GENERATED_BYTES];
    char psk[PSK_KEY_BYTES];
    char identity[CREDENTIAL_IDENTITY_BYTES]; /* of psk; empty: the name */
    char scram[PASSWORD_GENERATED_BYTES];
    struct oscore_secret oscore;
    struct directory_secret secrets[5];
    size_t n_secrets;
};

static void made_wipe(struct made *m)
{
    authority_certificate_done(&m->device);
    mem_wipe(m, sizeof *m);
}

/* The kid travels in every request, so the shortest that nobody has. */
static void make_oscore(const struct provision *p, struct oscore_secret *ret)
{
    enum { TRIES = 4 };
    const struct directory_version *v = directory_latest(p->directory);
    const struct credential *taken = NULL;
    size_t tries = 0;
    do {
        size_t n = OSCORE_KID_MIN + tries++ / TRIES;
        oscore_secret_generate(&p->random, n < OSCORE_KID_MAX ? n : OSCORE_KID_MAX, ret);
    } while (directory_find_kid(v, oscore_kid_slice(&ret->kid), &taken) != NULL);
    directory_version_unref(v);
}

static enum err make_certificate(const struct provision *p, struct slice name, int64_t now_wall_ms,
                                 struct made *m, struct why *why)
{
    const struct authority_order order = {.name = name, .proof = AUTHORITY_BY_OPERATOR};
    if (authority_is_operators(p->authority)) {
        TRY(authority_enrol(p->authority, name, NULL, now_wall_ms, why));
    }
    return authority_issue(p->authority, &order, now_wall_ms, &m->device, why);
}

static enum err make_secrets(const struct provision *p, const struct provision_order *o,
                             unsigned wanted, int64_t now_wall_ms, struct made *m, struct why *why)
{
    if ((wanted & PROVISION_X509) != 0) {
        TRY(make_certificate(p, o->name, now_wall_ms, m, why));
        m->secrets[m->n_secrets++] =
            (struct directory_secret){.kind = CREDENTIAL_X509,
                                      .expires_wall_ms = m->device.not_after_wall_ms,
                                      .spki = m->device.spki,
                                      .serial = authority_serial_plain(&m->device.serial)};
    }
    if ((wanted & PROVISION_PASSWORD) != 0) {
        password_generate(&p->random, m->password);
        m->secrets[m->n_secrets++] = (struct directory_secret){.kind = CREDENTIAL_PASSWORD,
                                                               .expires_wall_ms = CREDENTIAL_NEVER,
                                                               .password = slice_text(m->password)};
    }
    if ((wanted & PROVISION_PSK) != 0) {
        psk_generate(&p->random, m->psk);
        if (o->is_opaque) {
            credential_opaque(&p->random, m->identity);
        }
        m->secrets[m->n_secrets++] = (struct directory_secret){.kind = CREDENTIAL_PSK,
                                                               .expires_wall_ms = CREDENTIAL_NEVER,
                                                               .psk = slice_text(m->psk),
                                                               .identity = slice_text(m->identity)};
    }
    if ((wanted & PROVISION_OSCORE) != 0) {
        make_oscore(p, &m->oscore);
        m->secrets[m->n_secrets++] = (struct directory_secret){
            .kind = CREDENTIAL_OSCORE, .expires_wall_ms = CREDENTIAL_NEVER, .oscore = &m->oscore};
    }
    if ((wanted & PROVISION_SCRAM) != 0) {
        password_generate(&p->random, m->scram);
        m->secrets[m->n_secrets++] = (struct directory_secret){.kind = CREDENTIAL_SCRAM,
                                                               .expires_wall_ms = CREDENTIAL_NEVER,
                                                               .password = slice_text(m->scram)};
    }
    return OK;
}

/* The usual topics of the default roles, as far as this device may use them. */
struct examples {
    char publish[256], subscribe[256];
};

static void principal_release(struct principal **p)
{
    (void)principal_unref(*p);
}

static void grants_release(struct grants **g)
{
    *g = grants_free(*g);
}

static const char *attr_or(const struct principal *p, const char *key, const char *fallback)
{
    const char *value = principal_attr(p, slice_text(key));
    return value != NULL ? value : fallback;
}

static enum err find_examples(const struct provision *p, const struct provision_order *o,
                              struct examples *ret)
{
    AUTO(principal_release) struct principal *principal = NULL;
    AUTO(grants_release) struct grants *grants = NULL;
    TRY(principal_new(1, o->name, o->role, o->attrs, o->n_attrs, &principal));
    TRY(grants_new(p->policy, principal, &grants));
    const char *site = attr_or(principal, "site", "-");
    char tried[4][256];
    snprintf(tried[0], sizeof tried[0], "sensors/%s/%s/temperature", site, principal->name);
    snprintf(tried[1], sizeof tried[1], "state/%s/%s/power", site, principal->name);
    snprintf(tried[2], sizeof tried[2], "commands/meter-1/interval");
    snprintf(tried[3], sizeof tried[3], "status/%s", principal->name);
    for (size_t i = 0; i < COUNT_OF(tried) && ret->publish[0] == '\0'; i++) {
        if (grants_publish(grants, slice_text(tried[i]), 1, false, NULL) == OK) {
            (void)slice_to_text(slice_text(tried[i]), ret->publish, sizeof ret->publish);
        }
    }
    snprintf(tried[0], sizeof tried[0], "sensors/#");
    snprintf(tried[1], sizeof tried[1], "sensors/%s/#", site);
    snprintf(tried[2], sizeof tried[2], "commands/%s/#", principal->name);
    for (size_t i = 0; i < 3 && ret->subscribe[0] == '\0'; i++) {
        if (grants_subscribe(grants, slice_text(tried[i]), NULL) == OK) {
            (void)slice_to_text(slice_text(tried[i]), ret->subscribe, sizeof ret->subscribe);
        }
    }
    return OK;
}

static enum err pack(const struct provision *p, const struct provision_order *o,
                     const struct made *m, const struct examples *examples, struct bundle *ret,
                     struct why *why)
{
    struct bundle_order order = {.device = o->name,
                                 .role = o->role,
                                 .host = p->host,
                                 .mqtts_port = p->mqtts_port,
                                 .coaps_port = p->coaps_port,
                                 .coap_port = p->coap_port,
                                 .coaps_tcp_port = p->coaps_tcp_port,
                                 .coaps_ws_port = p->coaps_ws_port,
                                 .wss_port = p->wss_port,
                                 .enrol_port = p->enrol_port,
                                 .wss_path = p->wss_path,
                                 .ca_pem = p->ca_pem,
                                 .cert_pem = buf_slice(&m->device.chain_pem),
                                 .key_pem = buf_slice(&m->device.key_pem),
                                 .password = slice_text(m->password),
                                 .psk = slice_text(m->psk),
                                 .psk_identity = slice_text(m->identity),
                                 .is_successor = o->is_successor,
                                 .scram = slice_text(m->scram),
                                 .oscore = m->oscore.kid.n > 0 ? &m->oscore : NULL,
                                 .publish = slice_text(examples->publish),
                                 .subscribe = slice_text(examples->subscribe),
                                 .save_dir = o->save_dir};
    return bundle_make(&order, ret, why);
}

static void version_release(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
}

/* Nothing is signed for a name that is taken; the directory has the words for it. */
static enum err check_free(const struct provision *p, const struct provision_order *o,
                           int64_t now_wall_ms, struct why *why)
{
    AUTO(version_release) const struct directory_version *v = directory_current(p->directory);
    const struct directory_order again = {.name = o->name, .role = o->role};
    uint64_t id;
    return directory_find(v, o->name) != NULL
               ? directory_add(p->directory, &again, now_wall_ms, &id, why)
               : OK;
}

enum err provision_device(const struct provision *p, const struct provision_order *o,
                          int64_t now_wall_ms, struct bundle *ret, struct why *why)
{
    unsigned wanted = o->credentials != 0 ? o->credentials : PROVISION_X509;
    if (!principal_name_ok(o->name)) {
        why_set(why, "names of devices are 1 to %d of A-Z a-z 0-9 . _ -", PRINCIPAL_NAME_MAX);
        return ERR_MALFORMED;
    }
    struct examples examples = {{0}, {0}};
    if (p->policy != NULL) {
        if (!policy_has_role(p->policy, o->role)) {
            struct slice shown = slice_head(o->role, 64);
            why_set(why, "the policy in force has no role %.*s; `policy apply` a policy that has",
                    SLICE_ARG(shown));
            return ERR_NOT_FOUND;
        }
        enum err e = find_examples(p, o, &examples);
        if (e == ERR_MALFORMED || e == ERR_LIMIT) {
            why_set(why,
                    "attributes: at most %d, names as for devices, values without control "
                    "characters",
                    PRINCIPAL_ATTRS_MAX);
        }
        TRY(e);
    }
    TRY(check_free(p, o, now_wall_ms, why));
    AUTO(made_wipe) struct made made = {0};
    TRY(make_secrets(p, o, wanted, now_wall_ms, &made, why));
    /* Packed before it is registered: what cannot be handed out must not be let in. */
    AUTO(bundle_done) struct bundle bundle = {0};
    TRY(pack(p, o, &made, &examples, &bundle, why));
    struct directory_order order = {.name = o->name,
                                    .role = o->role,
                                    .gateway = o->gateway,
                                    .attrs = o->attrs,
                                    .n_attrs = o->n_attrs,
                                    .secrets = made.secrets,
                                    .n_secrets = made.n_secrets};
    uint64_t id;
    TRY(directory_add(p->directory, &order, now_wall_ms, &id, why));
    *ret = bundle;
    bundle = (struct bundle){0};
    return OK;
}

enum err provision_describe(const struct provision *p, struct slice name, struct slice cert_pem,
                            struct bundle *ret, struct why *why)
{
    AUTO(version_release) const struct directory_version *v = directory_current(p->directory);
    const struct directory_entry *e = directory_find(v, name);
    struct examples examples = {{0}, {0}};
    AUTO(made_wipe) struct made made = {0};
    if (e == NULL) {
        return ERR_NOT_FOUND;
    }
    struct provision_order order = {.name = name,
                                    .role = slice_text(e->principal->role),
                                    .attrs = e->principal->attrs,
                                    .n_attrs = e->principal->n_attrs};
    if (p->policy != NULL && policy_has_role(p->policy, order.role)) {
        TRY(find_examples(p, &order, &examples));
    }
    TRY(buf_append(&made.device.chain_pem, cert_pem, BUNDLE_FILE_MAX));
    return pack(p, &order, &made, &examples, ret, why);
}

unsigned provision_kinds(const struct directory_entry *e)
{
    unsigned kinds = 0;
    for (size_t i = 0; i < e->n_credentials; i++) {
        kinds |=
            provision_credential_find(slice_text(credential_kind_name(e->credentials[i]->kind)));
    }
    return kinds;
}

/* One of each kind that the principal has; a certificate when it has nothing. */
static unsigned kinds_of(const struct directory_entry *e)
{
    unsigned kinds = provision_kinds(e);
    return kinds != 0 ? kinds : PROVISION_X509;
}

static bool has_opaque(const struct directory_entry *e)
{
    bool is_opaque = false;
    for (size_t i = 0; i < e->n_credentials; i++) {
        const struct credential *c = e->credentials[i];
        is_opaque = c->kind == CREDENTIAL_PSK ? c->identity[0] != '\0' : is_opaque;
    }
    return is_opaque;
}

static enum err rotate_all(const struct provision *p, struct slice name, const struct made *m,
                           int64_t overlap_ms, int64_t now_wall_ms, struct why *why)
{
    for (size_t i = 0; i < m->n_secrets; i++) {
        const struct directory_secret *s = &m->secrets[i];
        bool waits = s->kind != CREDENTIAL_X509 && overlap_ms > 0;
        TRY(waits ? directory_succeed(p->directory, name, s, overlap_ms, now_wall_ms, why)
                  : directory_rotate(p->directory, name, s, overlap_ms, now_wall_ms, why));
    }
    return OK;
}

static enum err register_all(const struct provision *p, struct slice name, const struct made *m,
                             int64_t overlap_ms, int64_t now_wall_ms, struct why *why)
{
    if (directory_is_batch(p->directory)) {
        return rotate_all(p, name, m, overlap_ms, now_wall_ms, why);
    }
    directory_begin(p->directory);
    enum err e = rotate_all(p, name, m, overlap_ms, now_wall_ms, why);
    if (e == OK) {
        e = directory_commit(p->directory);
    }
    if (e != OK) {
        directory_rollback(p->directory);
    }
    return e;
}

enum err provision_rotate(const struct provision *p, const struct provision_order *o,
                          int64_t overlap_ms, int64_t now_wall_ms, struct bundle *ret,
                          struct why *why)
{
    AUTO(version_release) const struct directory_version *v = directory_latest(p->directory);
    const struct directory_entry *e = directory_find(v, o->name);
    if (e == NULL) {
        struct slice shown = slice_head(o->name, 64);
        why_set(why, "there is no device %.*s", SLICE_ARG(shown));
        return ERR_NOT_FOUND;
    }
    struct provision_order order = {.name = o->name,
                                    .role = slice_text(e->principal->role),
                                    .attrs = e->principal->attrs,
                                    .n_attrs = e->principal->n_attrs,
                                    .credentials =
                                        o->credentials != 0 ? o->credentials : kinds_of(e),
                                    .is_opaque = o->is_opaque || has_opaque(e),
                                    .is_successor = overlap_ms > 0,
                                    .save_dir = o->save_dir};
    if (e->principal->status == PRINCIPAL_REVOKED) {
        why_set(why, "%s is revoked for good: remove it and add it anew", e->principal->name);
        return ERR_DENIED;
    }
    struct examples examples = {{0}, {0}};
    if (p->policy != NULL) {
        TRY(find_examples(p, &order, &examples));
    }
    AUTO(made_wipe) struct made made = {0};
    AUTO(bundle_done) struct bundle bundle = {0};
    TRY(make_secrets(p, &order, order.credentials, now_wall_ms, &made, why));
    TRY(pack(p, &order, &made, &examples, &bundle, why));
    TRY(register_all(p, o->name, &made, overlap_ms, now_wall_ms, why));
    *ret = bundle;
    bundle = (struct bundle){0};
    return OK;
}

enum err provision_rotate_again(const struct provision *p, const struct provision_order *o,
                                int64_t since_wall_ms, int64_t overlap_ms, int64_t now_wall_ms,
                                struct bundle *ret, struct why *why)
{
    AUTO(version_release) const struct directory_version *v = directory_latest(p->directory);
    const struct directory_entry *e = directory_find(v, o->name);
    struct provision_order order = *o;
    if (e != NULL && e->principal->status != PRINCIPAL_REVOKED) {
        /* Before some of them go: what it had is what it gets. */
        order.credentials = o->credentials != 0 ? o->credentials : kinds_of(e);
        TRY(directory_withdraw(p->directory, o->name, since_wall_ms));
    }
    return provision_rotate(p, &order, overlap_ms, now_wall_ms, ret, why);
}

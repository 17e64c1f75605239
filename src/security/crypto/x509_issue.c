#include <limits.h>

#include "security/crypto/x509_private.h"

#define DAY_MS (INT64_C(86400) * 1000)

enum { SERIAL_BYTES = 16, COMMON_NAME_MAX = 64 };

/* SPEC: RFC5280 4.2.1.3, 4.2.1.9, 4.2.1.12 */
static const struct profile {
    const char *constraints, *usage, *extended;
    int64_t lifetime_ms;
} profiles[] = {
    [X509_KIND_ROOT] = {"critical,CA:TRUE,pathlen:1", "critical,keyCertSign,cRLSign", NULL,
                        3652 * DAY_MS},
    [X509_KIND_INTERMEDIATE] = {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", NULL,
                                1826 * DAY_MS},
    [X509_KIND_SERVER] = {"critical,CA:FALSE", "critical,digitalSignature", "serverAuth",
                          90 * DAY_MS},
    [X509_KIND_CLIENT] = {"critical,CA:FALSE", "critical,digitalSignature", "clientAuth",
                          90 * DAY_MS},
};

static void cert_autofree(X509 **cert)
{
    X509_free(*cert);
}

static void names_autofree(GENERAL_NAMES **names)
{
    GENERAL_NAMES_free(*names);
}

static void name_autofree(X509_NAME **name)
{
    X509_NAME_free(*name);
}

/* SPEC: RFC5280 4.1.2.2: positive, at most 20 octets */
static enum err set_serial(X509 *cert, const struct random_source *random)
{
    uint8_t serial[SERIAL_BYTES];
    random->fill(random->ctx, serial, sizeof serial);
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and always of one length */
    BIGNUM *n = BN_bin2bn(serial, sizeof serial, NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok ? OK : crypto_fail(ERR_NOMEM);
}

static bool set_time(ASN1_TIME *t, int64_t wall_ms)
{
    return ASN1_TIME_set(t, (time_t)(wall_ms / 1000)) != NULL;
}

enum err x509_make_name(struct slice common_name, X509_NAME **ret)
{
    if (common_name.n == 0 || common_name.n > COMMON_NAME_MAX) {
        return ERR_MALFORMED;
    }
    AUTO(name_autofree) X509_NAME *name = X509_NAME_new();
    if (name == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    if (X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, common_name.p,
                                   (int)common_name.n, -1, 0) != 1) {
        return crypto_fail(ERR_MALFORMED);
    }
    *ret = TAKE(name);
    return OK;
}

static enum err set_names(X509 *cert, const struct x509_order *o)
{
    AUTO(name_autofree) X509_NAME *subject = NULL;
    TRY(x509_make_name(o->common_name, &subject));
    const X509_NAME *issuer =
        o->issuer != NULL ? X509_get_subject_name(o->issuer->cert) : (const X509_NAME *)subject;
    if (X509_set_subject_name(cert, subject) != 1 || X509_set_issuer_name(cert, issuer) != 1) {
        return crypto_fail(ERR_NOMEM);
    }
    return OK;
}

static enum err add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
    bool ok = e != NULL && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok ? OK : crypto_fail(ERR_CRYPTO);
}

/* IA5 without control characters; an IP address by its length. */
static bool can_encode(const struct x509_san *san)
{
    if (san->kind == X509_SAN_IP) {
        return san->value.n == 4 || san->value.n == 16;
    }
    if (san->kind == X509_SAN_OTHER || san->value.n == 0 || san->value.n > 255) {
        return false;
    }
    for (size_t i = 0; i < san->value.n; i++) {
        if (san->value.p[i] <= 0x20 || san->value.p[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static int san_type(enum x509_san_kind kind)
{
    switch (kind) {
    case X509_SAN_URI:
        return GEN_URI;
    case X509_SAN_DNS:
        return GEN_DNS;
    case X509_SAN_IP:
        return GEN_IPADD;
    case X509_SAN_OTHER:
        break;
    }
    return GEN_OTHERNAME;
}

static bool push_san(GENERAL_NAMES *names, const struct x509_san *san)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value =
        ASN1_STRING_type_new(san->kind == X509_SAN_IP ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    if (name == NULL || value == NULL ||
        ASN1_STRING_set(value, san->value.p, (int)san->value.n) != 1) {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return false;
    }
    GENERAL_NAME_set0_value(name, san_type(san->kind), value);
    if (sk_GENERAL_NAME_push(names, name) <= 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

enum err x509_make_sans(const struct x509_san *sans, size_t n, GENERAL_NAMES **ret)
{
    if (n > X509_SANS_MAX) {
        return ERR_MALFORMED;
    }
    AUTO(names_autofree) GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    if (names == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    for (size_t i = 0; i < n; i++) {
        if (!can_encode(&sans[i])) {
            return ERR_MALFORMED;
        }
        if (!push_san(names, &sans[i])) {
            return crypto_fail(ERR_NOMEM);
        }
    }
    *ret = TAKE(names);
    return OK;
}

static enum err add_sans(X509 *cert, const struct x509_order *o)
{
    AUTO(names_autofree) GENERAL_NAMES *names = NULL;
    if (o->n_sans == 0) {
        return OK;
    }
    TRY(x509_make_sans(o->sans, o->n_sans, &names));
    if (X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}

bool x509_url_ok(struct slice url)
{
    struct slice scheme = slice_text("http://");
    bool good = url.n > scheme.n && url.n <= X509_URL_MAX && slice_has_prefix(url, scheme) &&
                url.p[url.n - 1] != '/';
    for (size_t i = 0; good && i < url.n; i++) {
        good = url.p[i] > ' ' && url.p[i] < 0x7f && strchr("\"'\\,;@<>#?", url.p[i]) == NULL;
    }
    return good;
}

/* SPEC: RFC5280 4.2.1.13, 4.2.2.1 */
static enum err add_status(X509 *cert, X509V3_CTX *ctx, struct slice url)
{
    char text[X509_URL_MAX + 32];
    if (url.n == 0) {
        return OK;
    }
    if (!x509_url_ok(url)) {
        return ERR_MALFORMED;
    }
    (void)snprintf(text, sizeof text, "URI:%.*s/crl.der", SLICE_ARG(url));
    TRY(add_extension(cert, ctx, NID_crl_distribution_points, text));
    (void)snprintf(text, sizeof text, "OCSP;URI:%.*s/ocsp", SLICE_ARG(url));
    return add_extension(cert, ctx, NID_info_access, text);
}

static enum err add_extensions(X509 *cert, const struct x509_order *o)
{
    const struct profile *profile = &profiles[o->kind];
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, o->issuer != NULL ? o->issuer->cert : cert, cert, NULL, NULL, 0);
    TRY(add_extension(cert, &ctx, NID_basic_constraints, profile->constraints));
    TRY(add_extension(cert, &ctx, NID_key_usage, profile->usage));
    if (profile->extended != NULL) {
        TRY(add_extension(cert, &ctx, NID_ext_key_usage, profile->extended));
    }
    TRY(add_extension(cert, &ctx, NID_subject_key_identifier, "hash"));
    TRY(add_extension(cert, &ctx, NID_authority_key_identifier, "keyid:always"));
    if (profile->extended != NULL) { /* a leaf; an authority's list is the root's */
        TRY(add_status(cert, &ctx, o->status_url));
    }
    return add_sans(cert, o);
}

static enum err check_issuer(const struct x509_order *o)
{
    if (!o->issuer_key->is_private || (o->issuer == NULL) != (o->kind == X509_KIND_ROOT)) {
        return ERR_CRYPTO;
    }
    if (o->issuer == NULL) {
        return EVP_PKEY_eq(o->subject->pkey, o->issuer_key->pkey) == 1 ? OK
                                                                       : crypto_fail(ERR_CRYPTO);
    }
    if (!o->issuer->info.is_ca ||
        X509_check_private_key(o->issuer->cert, o->issuer_key->pkey) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    return OK;
}

/* Clocks differ; a short life is not begun long before its time. */
static int64_t backdate(int64_t lifetime_ms)
{
    enum { MOST_MS = 3600 * 1000, SHARE = 12 };
    return lifetime_ms / SHARE < MOST_MS ? lifetime_ms / SHARE : MOST_MS;
}

enum err x509_issue(const struct x509_order *o, const struct random_source *random,
                    struct x509 **ret)
{
    TRY(check_issuer(o));
    AUTO(cert_autofree) X509 *cert = X509_new();
    if (cert == NULL) {
        return crypto_fail(ERR_NOMEM);
    }
    int64_t lifetime = o->lifetime_ms > 0 ? o->lifetime_ms : profiles[o->kind].lifetime_ms;
    if (lifetime > profiles[X509_KIND_ROOT].lifetime_ms) {
        lifetime = profiles[X509_KIND_ROOT].lifetime_ms;
    }
    int64_t end = o->now_wall_ms + lifetime;
    if (o->issuer != NULL && end > o->issuer->info.not_after_wall_ms) {
        end = o->issuer->info.not_after_wall_ms;
    }
    if (X509_set_version(cert, X509_VERSION_3) != 1 ||
        !set_time(X509_getm_notBefore(cert), o->now_wall_ms - backdate(lifetime)) ||
        !set_time(X509_getm_notAfter(cert), end) || X509_set_pubkey(cert, o->subject->pkey) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    TRY(set_serial(cert, random));
    TRY(set_names(cert, o));
    TRY(add_extensions(cert, o));
    if (X509_sign(cert, o->issuer_key->pkey, EVP_sha256()) <= 0) {
        return crypto_fail(ERR_CRYPTO);
    }
    return x509_wrap(TAKE(cert), ret);
}

#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/scope.h"
#include "net/tls_private.h"

enum {
    ALPN_MAX = 32,
    CIPHERS_MAX = 512,
    SECURITY_LEVEL = 2,
    CHAIN_MAX = 8,
    CHAIN_DEPTH = 4,
    HOST_BYTES = 256
};

struct tls {
    uint8_t root_sha256[TLS_PIN_BYTES]; /* of a client that knows no more of its authority */
    atomic_uint refs;
    SSL_CTX *ctx;
    BIO_METHOD *method;
    char *host;
    bool server;
    uint32_t key_updates; /* a minute */
    struct tls_judge judge;
    uint8_t alpn[ALPN_MAX]; /* length byte and name */
    unsigned alpn_n;
    struct tls_tickets *tickets; /* NULL: none */
    struct tls_stapler stapler;
};

AUTOFREE(tls, tls_free)

static void bio_autofree(BIO **b)
{
    BIO_free(*b);
}

static void x509_autofree(X509 **x)
{
    X509_free(*x);
}

static void key_autofree(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}

void tls_error_text(char *dst)
{
    unsigned long code = ERR_get_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    dst[0] = '\0';
    if (reason != NULL) {
        (void)snprintf(dst, TLS_TEXT_BYTES, "%s", reason);
    } else if (code != 0) {
        (void)snprintf(dst, TLS_TEXT_BYTES, "library error %lx", code);
    }
    ERR_clear_error();
}

static enum err config_error(char *text, const char *what)
{
    char why[TLS_TEXT_BYTES];
    tls_error_text(why);
    (void)snprintf(text, TLS_TEXT_BYTES, "%s%s%.120s", what, why[0] != '\0' ? ": " : "", why);
    return ERR_CONFIG;
}

static enum tls_verify verify_of(int x509_error)
{
    switch (x509_error) {
    case X509_V_OK:
        return TLS_VERIFY_OK;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return TLS_VERIFY_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return TLS_VERIFY_NOT_YET_VALID;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return TLS_VERIFY_SELF_SIGNED;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return TLS_VERIFY_UNKNOWN_CA;
    case X509_V_ERR_INVALID_PURPOSE:
    case X509_V_ERR_INVALID_CA:
    case X509_V_ERR_CERT_REJECTED:
        return TLS_VERIFY_WRONG_PURPOSE;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return TLS_VERIFY_WRONG_NAME;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return TLS_VERIFY_WEAK;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return TLS_VERIFY_FORGED;
    case X509_V_ERR_CERT_REVOKED:
        return TLS_VERIFY_REVOKED;
    default:
        return TLS_VERIFY_OTHER;
    }
}

int tls_on_verify(int ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_note *note = ssl != NULL ? SSL_get_app_data(ssl) : NULL;
    if (ok == 0 && note != NULL && note->verify == TLS_VERIFY_OK) {
        if (tls_takes_late(store, note)) {
            return 1;
        }
        note->verify = verify_of(X509_STORE_CTX_get_error(store));
        X509 *leaf = X509_STORE_CTX_get0_cert(store);
        if (leaf == NULL || tls_cert_der(leaf, &note->cert) != OK) {
            buf_done(&note->cert); /* then nobody hears whose it says it is */
        }
    }
    return ok;
}

struct verify_word {
    const char *name, *text;
};

static struct verify_word verify_word(enum tls_verify v)
{
    switch (v) {
    case TLS_VERIFY_OK:
        return (struct verify_word){"ok", "is valid"};
    case TLS_VERIFY_EXPIRED:
        return (struct verify_word){"expired", "has expired"};
    case TLS_VERIFY_NOT_YET_VALID:
        return (struct verify_word){"not_yet_valid", "is not valid yet (is a clock wrong?)"};
    case TLS_VERIFY_UNKNOWN_CA:
        return (struct verify_word){"unknown_ca", "is signed by a CA that is not trusted here"};
    case TLS_VERIFY_SELF_SIGNED:
        return (struct verify_word){"self_signed", "is self-signed, not signed by a trusted CA"};
    case TLS_VERIFY_WRONG_PURPOSE:
        return (struct verify_word){"wrong_purpose", "is not made for this purpose"};
    case TLS_VERIFY_WRONG_NAME:
        return (struct verify_word){"wrong_name", "is for another host name or address"};
    case TLS_VERIFY_WEAK:
        return (struct verify_word){"weak", "or its CA has too short a key or too old a digest"};
    case TLS_VERIFY_FORGED:
        return (struct verify_word){"forged", "bears a signature that does not fit its CA"};
    case TLS_VERIFY_REVOKED:
        return (struct verify_word){"revoked", "is revoked"};
    case TLS_VERIFY_OTHER:
        break;
    }
    return (struct verify_word){"other", "does not verify"};
}

void tls_verify_text(enum tls_verify v, const char *peer, char *dst)
{
    (void)snprintf(dst, TLS_TEXT_BYTES, "the %s certificate %s", peer, verify_word(v).text);
}

const char *tls_verify_name(enum tls_verify v)
{
    return verify_word(v).name;
}

static enum err bio_of(struct slice pem, BIO **ret)
{
    if (pem.n == 0 || pem.n > INT32_MAX) {
        return ERR_CONFIG;
    }
    *ret = BIO_new_mem_buf(pem.p, (int)pem.n);
    return *ret != NULL ? OK : ERR_NOMEM;
}

/* Refuses an encrypted key instead of asking for its passphrase on the terminal. */
static int no_passphrase(char *dst, int size, int writing, void *ctx)
{
    (void)dst;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

/* Whether reading certificates stopped at the end of the PEM and not at something broken. */
static bool is_end_of_pem(void)
{
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (end) {
        ERR_clear_error();
    }
    return end;
}

enum err tls_ctx_identity(SSL_CTX *ctx, struct slice chain_pem, struct slice key_pem, char *text)
{
    AUTO(bio_autofree) BIO *chain = NULL;
    AUTO(bio_autofree) BIO *key_bio = NULL;
    if (bio_of(chain_pem, &chain) != OK || bio_of(key_pem, &key_bio) != OK) {
        return config_error(text, "certificate or private key is missing");
    }
    AUTO(x509_autofree) X509 *leaf = PEM_read_bio_X509(chain, NULL, no_passphrase, NULL);
    if (leaf == NULL) {
        return config_error(text, "the certificate cannot be read");
    }
    if (SSL_CTX_use_certificate(ctx, leaf) != 1) {
        return config_error(text, "the certificate is not acceptable");
    }
    for (int i = 0; i < CHAIN_MAX; i++) {
        X509 *issuer = PEM_read_bio_X509(chain, NULL, no_passphrase, NULL);
        if (issuer == NULL) {
            break;
        }
        if (SSL_CTX_add0_chain_cert(ctx, issuer) != 1) { /* takes issuer, but only when it works */
            X509_free(issuer);
            return config_error(text, "a certificate of the chain is not acceptable");
        }
    }
    if (!is_end_of_pem()) {
        return config_error(text, "the certificate chain cannot be read to its end");
    }
    AUTO(key_autofree) EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL);
    if (key == NULL) {
        return config_error(text, "the private key cannot be read");
    }
    if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        return config_error(text, "the private key does not belong to the certificate");
    }
    return OK;
}

enum err tls_ctx_authorities(SSL_CTX *ctx, struct slice ca_pem, bool announce, char *text)
{
    AUTO(bio_autofree) BIO *bio = NULL;
    if (bio_of(ca_pem, &bio) != OK) {
        return config_error(text, "the CA certificate is missing");
    }
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    size_t n = 0;
    for (;;) {
        AUTO(x509_autofree) X509 *ca = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (ca == NULL) {
            break;
        }
        if (X509_STORE_add_cert(store, ca) != 1 ||
            (announce && SSL_CTX_add_client_CA(ctx, ca) != 1)) {
            return config_error(text, "a CA certificate is not acceptable");
        }
        n++;
    }
    if (!is_end_of_pem() || n == 0) {
        return config_error(text, "the CA certificate cannot be read");
    }
    return OK;
}

bool tls_host_is_address(const char *host)
{
    struct in6_addr six;
    return inet_pton(AF_INET6, host, &six) == 1 || inet_pton(AF_INET, host, &six) == 1;
}

enum err tls_ctx_host(SSL_CTX *ctx, const char *host, char *text)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);
    if (host == NULL || host[0] == '\0') {
        return config_error(text, "the name of the server to verify is missing");
    }
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int ok = tls_host_is_address(host) ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
                                       : X509_VERIFY_PARAM_set1_host(param, host, 0);
    return ok == 1 ? OK : config_error(text, "the name of the server cannot be used");
}

enum err tls_ctx_common(SSL_CTX *ctx)
{
    static const uint8_t name[] = "sallyport";
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, TLS_CERT_LIST_BYTES);
    SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH);
    X509_VERIFY_PARAM_set_auth_level(SSL_CTX_get0_param(ctx), SECURITY_LEVEL);
    if (SSL_CTX_set_session_id_context(ctx, name, sizeof(name) - 1) != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1 ||
        SSL_CTX_set1_sigalgs_list(
            ctx, "ECDSA+SHA256:ed25519:ECDSA+SHA384:RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:"
                 "RSA+SHA256:RSA+SHA384:RSA+SHA512") != 1) {
        return ERR_CRYPTO;
    }
    return OK;
}

static enum err tls_configure(SSL_CTX *ctx, bool allow_tls12)
{
    TRY(tls_ctx_common(ctx));
    SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* A read returns after every record that is not data, so that their number can be judged. */
    SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
    if (SSL_CTX_set_min_proto_version(ctx, allow_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                      "TLS_CHACHA20_POLY1305_SHA256") != 1 ||
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK") != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_set_max_early_data(ctx, 0) != 1 ||
        SSL_CTX_set_recv_max_early_data(ctx, 0) != 1) {
        return ERR_CRYPTO;
    }
    return OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                   const unsigned char *in, unsigned in_n, void *ctx)
{
    (void)ssl;
    const struct tls *t = ctx;
    unsigned char *chosen = NULL;
    if (SSL_select_next_proto(&chosen, out_n, t->alpn, t->alpn_n, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* SPEC: RFC7301 3.2 */
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static enum err tls_new(bool server, struct tls **ret)
{
    AUTO(tls_autofree) struct tls *t = mem_zalloc(sizeof(*t));
    if (t == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&t->refs, 1);
    t->server = server;
    t->key_updates = TLS_KEY_UPDATES_PER_MIN;
    t->ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    t->method = stream_bio_method_new();
    if (t->ctx == NULL || t->method == NULL) {
        return ERR_CRYPTO;
    }
    *ret = TAKE(t);
    return OK;
}

static enum err server_setup(struct tls *t, const struct tls_server_config *c, char *text)
{
    const char *alpn = c->alpn != NULL ? c->alpn : "mqtt";
    size_t n = strlen(alpn);
    if (n == 0 || n >= sizeof(t->alpn)) {
        return config_error(text, "the ALPN name is empty or too long");
    }
    TRY(tls_configure(t->ctx, c->allow_tls12));
    TRY(tls_ctx_identity(t->ctx, c->chain_pem, c->key_pem, text));
    t->alpn[0] = (uint8_t)n;
    memcpy(&t->alpn[1], alpn, n);
    t->alpn_n = (unsigned)n + 1;
    SSL_CTX_set_alpn_select_cb(t->ctx, on_alpn, t);
    if (c->client_ca_pem.n == 0 && c->client_cert_required) {
        return config_error(text, "client certificates are required, but no CA is given for them");
    }
    if (c->client_ca_pem.n > 0) {
        TRY(tls_ctx_authorities(t->ctx, c->client_ca_pem, true, text));
        int mode = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
        mode |= c->client_cert_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
        SSL_CTX_set_verify(t->ctx, mode, tls_on_verify);
        t->judge.clock = c->clock != NULL ? *c->clock : clock_system();
        t->judge.late_s = c->late_s;
        tls_ctx_judge(t->ctx, &t->judge);
    }
    if (c->spare_browsers && !c->client_cert_required) {
        tls_hello_spare_browsers(t->ctx);
    }
    if (c->staple != NULL) {
        TRY(tls_stapler_install(&t->stapler, c->staple, t->ctx));
    }
    if (c->tickets == NULL) {
        return OK;
    }
    struct tls_tickets_place place = {.name = c->name != NULL ? c->name : "",
                                      .chain_pem = c->chain_pem,
                                      .client_ca_pem = c->client_ca_pem};
    t->tickets = tls_tickets_ref(c->tickets);
    return tls_tickets_install(t->tickets, &place, t->ctx);
}

static enum err client_authorities(struct tls *t, const struct tls_client_config *c, char *text)
{
    SSL_CTX *ctx = t->ctx;
    if (c->root_sha256.n > 0) {
        if (c->root_sha256.n != sizeof(t->root_sha256)) {
            return config_error(text, "the fingerprint of the authority is no SHA-256");
        }
        slice_copy(t->root_sha256, c->root_sha256);
        tls_ctx_pin(ctx, t->root_sha256);
        return OK;
    }
    if (c->ca_pem.n > 0 || (c->ca_dir == NULL && !c->use_os_authorities)) {
        TRY(tls_ctx_authorities(ctx, c->ca_pem, false, text));
    }
    if (c->ca_dir != NULL && SSL_CTX_load_verify_locations(ctx, NULL, c->ca_dir) != 1) {
        return config_error(text, "the directory of CA certificates cannot be used");
    }
    if (c->use_os_authorities && SSL_CTX_set_default_verify_paths(ctx) != 1) {
        return config_error(text, "the system's CA certificates cannot be used");
    }
    return OK;
}

/* Does the list hold only what tls_configure allows? Filled by OpenSSL, so with the 1.3 suites. */
static bool are_allowed(SSL_CTX *ctx)
{
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ctx);
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *c = sk_SSL_CIPHER_value(all, i);
        int exchange = SSL_CIPHER_get_kx_nid(c);
        bool is_ephemeral = exchange == NID_kx_any || exchange == NID_kx_ecdhe;
        if (!is_ephemeral || SSL_CIPHER_is_aead(c) != 1 ||
            SSL_CIPHER_get_auth_nid(c) == NID_auth_null) {
            return false;
        }
    }
    return true;
}

/* The names of one kind, as the library takes them. false: they do not fit. */
static bool names_of(const char *ciphers, bool of_tls13, char dst[CIPHERS_MAX])
{
    struct slice rest = slice_text(ciphers);
    size_t n = 0;
    bool more = true;
    while (more) {
        struct slice name = slice_cut(&rest, ':', &more);
        if (slice_has_prefix(name, slice_text("TLS_")) != of_tls13) {
            continue;
        }
        if (name.n + 2 > CIPHERS_MAX - n) {
            return false;
        }
        if (n > 0) {
            dst[n++] = ':';
        }
        slice_copy(&dst[n], name);
        n += name.n;
    }
    dst[n] = '\0';
    return true;
}

static enum err client_ciphers(SSL_CTX *ctx, const char *ciphers, char *text)
{
    char older[CIPHERS_MAX], newer[CIPHERS_MAX];
    if (!names_of(ciphers, false, older) || !names_of(ciphers, true, newer)) {
        return config_error(text, "the list of ciphers is too long");
    }
    if ((older[0] != '\0' && SSL_CTX_set_cipher_list(ctx, older) != 1) ||
        (newer[0] != '\0' && SSL_CTX_set_ciphersuites(ctx, newer) != 1)) {
        return config_error(text, "the list of ciphers names none that there is");
    }
    if (!are_allowed(ctx)) {
        return config_error(text, "the list of ciphers holds one without ECDHE or AEAD");
    }
    return OK;
}

static enum err client_alpn(struct tls *t, const char *name, char *text)
{
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof(t->alpn)) {
        return config_error(text, "the ALPN name is empty or too long");
    }
    t->alpn[0] = (uint8_t)n;
    memcpy(&t->alpn[1], name, n);
    t->alpn_n = (unsigned)n + 1;
    return SSL_CTX_set_alpn_protos(t->ctx, t->alpn, t->alpn_n) == 0 ? OK : ERR_CRYPTO;
}

/* The library keeps nothing: each stream has its own, of who it was. */
static void client_tickets(SSL_CTX *ctx)
{
    (void)SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, tls_on_session);
}

static enum err client_setup(struct tls *t, const struct tls_client_config *c, char *text)
{
    TRY(tls_configure(t->ctx, !c->tls13_only));
    TRY(client_authorities(t, c, text));
    TRY(tls_ctx_host(t->ctx, c->host, text));
    if (c->ciphers != NULL) {
        TRY(client_ciphers(t->ctx, c->ciphers, text));
    }
    if (c->alpn != NULL) {
        TRY(client_alpn(t, c->alpn, text));
    }
    if (c->chain_pem.n > 0 || c->key_pem.n > 0) {
        TRY(tls_ctx_identity(t->ctx, c->chain_pem, c->key_pem, text));
    }
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, tls_on_verify);
    if (c->takes_tickets) {
        client_tickets(t->ctx);
    }
    t->host = mem_strdup(c->host);
    if (t->host == NULL) {
        return ERR_NOMEM;
    }
    return OK;
}

enum err tls_server_new(const struct tls_server_config *c, char *ret_text, struct tls **ret)
{
    AUTO(tls_autofree) struct tls *t = NULL;
    ret_text[0] = '\0';
    ERR_clear_error();
    TRY(tls_new(true, &t));
    TRY(server_setup(t, c, ret_text));
    t->key_updates = c->key_updates_per_minute != 0 ? c->key_updates_per_minute : t->key_updates;
    *ret = TAKE(t);
    return OK;
}

enum err tls_client_new(const struct tls_client_config *c, char *ret_text, struct tls **ret)
{
    AUTO(tls_autofree) struct tls *t = NULL;
    ret_text[0] = '\0';
    ERR_clear_error();
    TRY(tls_new(false, &t));
    TRY(client_setup(t, c, ret_text));
    *ret = TAKE(t);
    return OK;
}

enum err tls_client_bare(const char *host, struct tls **ret)
{
    AUTO(tls_autofree) struct tls *t = NULL;
    TRY(tls_new(false, &t));
    t->host = mem_strdup(host);
    if (t->host == NULL) {
        return ERR_NOMEM;
    }
    *ret = TAKE(t);
    return OK;
}

struct tls *tls_ref(struct tls *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

struct tls *tls_free(struct tls *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1) {
        return NULL;
    }
    SSL_CTX_free(t->ctx);
    t->tickets = tls_tickets_free(t->tickets);
    t->stapler.staple = tls_staple_free(t->stapler.staple);
    BIO_meth_free(t->method);
    (void)mem_free(t->host);
    return mem_free(t);
}

SSL_CTX *tls_ctx(const struct tls *t)
{
    return t->ctx;
}

const BIO_METHOD *tls_bio_method(const struct tls *t)
{
    return t->method;
}

enum err tls_cert_der(X509 *cert, struct buf *ret)
{
    uint8_t *at = NULL;
    int n = i2d_X509(cert, NULL);
    if (n <= 0) {
        return ERR_CRYPTO;
    }
    TRY(buf_room(ret, (size_t)n, ret->n + TLS_CERT_LIST_BYTES, &at));
    if (i2d_X509(cert, &at) != n) {
        return ERR_CRYPTO;
    }
    ret->n += (size_t)n;
    return OK;
}

struct tls_tickets *tls_tickets_of(const struct tls *t)
{
    return t->tickets;
}

uint32_t tls_key_updates(const struct tls *t)
{
    return t->key_updates;
}

bool tls_is_server(const struct tls *t)
{
    return t->server;
}

bool tls_is_named(const struct tls *t, struct slice name)
{
    char text[HOST_BYTES];
    X509 *own = SSL_CTX_get0_certificate(t->ctx);
    /* To the library a leading dot means every name below. */
    if (!t->server || own == NULL || name.n == 0 || name.p[0] == '.' ||
        !slice_to_text(name, text, sizeof(text))) {
        return false;
    }
    ERR_set_mark();
    int ok = tls_host_is_address(text) ? X509_check_ip_asc(own, text, 0)
                                       : X509_check_host(own, text, 0,
                                                         X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                                             X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                                                         NULL);
    (void)ERR_pop_to_mark();
    return ok == 1;
}

const char *tls_host(const struct tls *t)
{
    return t->host;
}

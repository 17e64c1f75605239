#include "net/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/secret.h"
#include "base/wr.h"
#include "net/tls_private.h"
#include "security/crypto/digest.h"

enum {
    NAME_BYTES = 16,
    IV_BYTES = 16,
    CIPHER_KEY_BYTES = 32,
    MATERIAL_BYTES = 64, /* of the cipher, then of the MAC */
    NOTE_BYTES = 8 + 8,
    SKEW_MS = 5 * 60 * 1000, /* a clock that was set back a little ends no ticket */
    MS = 1000
};

struct key {
    uint8_t name[NAME_BYTES];
    int64_t from_wall_ms;
    struct secret *material; /* NULL: no key */
};

struct tls_tickets {
    atomic_uint refs;
    pthread_mutex_t lock; /* over keys */
    bool has_lock;
    struct key keys[TLS_TICKET_KEYS]; /* the newest first, no gaps */
    int64_t life_ms, rotate_ms;
    struct clock clock;
    struct random_source random;
    EVP_CIPHER *cipher;
};

/* ---- keys ---- */

static int64_t now_of(const struct tls_tickets *t)
{
    return t->clock.wall_ms(t->clock.ctx);
}

static void key_drop(struct key *k)
{
    secret_autofree(&k->material);
    *k = (struct key){.from_wall_ms = 0};
}

static enum err key_make(const struct tls_tickets *t, struct key *ret)
{
    uint8_t material[MATERIAL_BYTES];
    struct key k = {.from_wall_ms = now_of(t)};
    t->random.fill(t->random.ctx, k.name, sizeof(k.name));
    t->random.fill(t->random.ctx, material, sizeof(material));
    enum err err = secret_new(slice_of(material, sizeof(material)), &k.material);
    mem_wipe(material, sizeof(material));
    if (err == OK) {
        *ret = k;
    }
    return err;
}

/* Could there be a ticket of it that is taken? One from the future is of a clock that was wrong. */
static bool key_is_of_use(const struct tls_tickets *t, const struct key *k, int64_t now_ms)
{
    return k->material != NULL && k->from_wall_ms <= now_ms + SKEW_MS &&
           now_ms - k->from_wall_ms < t->rotate_ms + t->life_ms + SKEW_MS;
}

/* Under the lock. Those of use move to the front, beginning at keys[at]. */
static void keys_settle(struct tls_tickets *t, size_t at, int64_t now_ms)
{
    for (size_t i = at; i < TLS_TICKET_KEYS; i++) {
        struct key k = t->keys[i];
        t->keys[i] = (struct key){.from_wall_ms = 0};
        if (key_is_of_use(t, &k, now_ms)) {
            t->keys[at++] = k;
        } else {
            key_drop(&k);
        }
    }
}

static void lock(struct tls_tickets *t)
{
    (void)pthread_mutex_lock(&t->lock);
}

static void unlock(struct tls_tickets *t)
{
    (void)pthread_mutex_unlock(&t->lock);
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

struct tls_tickets *tls_tickets_free(struct tls_tickets *t)
{
    if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1) {
        return NULL;
    }
    for (size_t i = 0; i < TLS_TICKET_KEYS; i++) {
        key_drop(&t->keys[i]);
    }
    if (t->has_lock) {
        (void)pthread_mutex_destroy(&t->lock);
    }
    EVP_CIPHER_free(t->cipher);
    return mem_free(t);
}

enum err tls_tickets_new(const struct tls_tickets_setup *s, struct tls_tickets **ret)
{
    if (s->life_s == 0 || s->life_s > TLS_TICKETS_LIFE_S_MAX) {
        return ERR_CONFIG;
    }
    AUTO(tls_tickets_autofree) struct tls_tickets *t = mem_zalloc(sizeof(*t));
    if (t == NULL) {
        return ERR_NOMEM;
    }
    uint32_t half_s = s->life_s / 2;
    atomic_init(&t->refs, 1);
    t->life_ms = (int64_t)s->life_s * MS;
    t->rotate_ms =
        (int64_t)(half_s > TLS_TICKETS_ROTATE_S_MIN ? half_s : TLS_TICKETS_ROTATE_S_MIN) * MS;
    t->clock = s->clock;
    t->random = s->random;
    t->has_lock = pthread_mutex_init(&t->lock, NULL) == 0;
    t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!t->has_lock || t->cipher == NULL) {
        return ERR_CRYPTO;
    }
    TRY(key_make(t, &t->keys[0]));
    *ret = TAKE(t);
    return OK;
}

enum err tls_tickets_rotate(struct tls_tickets *t, bool *ret_changed)
{
    int64_t now_ms = now_of(t);
    struct key fresh = {.from_wall_ms = 0};
    lock(t);
    int64_t age_ms = now_ms - t->keys[0].from_wall_ms;
    bool is_due = age_ms >= t->rotate_ms || age_ms < -SKEW_MS;
    enum err err = is_due ? key_make(t, &fresh) : OK;
    if (err == OK && is_due) {
        key_drop(&t->keys[TLS_TICKET_KEYS - 1]);
        memmove(&t->keys[1], &t->keys[0], (TLS_TICKET_KEYS - 1) * sizeof(t->keys[0]));
        t->keys[0] = fresh;
        keys_settle(t, 1, now_ms);
    }
    unlock(t);
    TRY(err);
    *ret_changed = is_due;
    return OK;
}

enum err tls_tickets_save(struct tls_tickets *t, struct buf *ret)
{
    uint8_t bytes[TLS_TICKETS_SAVED_MAX];
    struct wr w = wr_into(bytes, sizeof(bytes));
    size_t n = 0;
    lock(t);
    while (n < TLS_TICKET_KEYS && t->keys[n].material != NULL) {
        n++;
    }
    wr_u8(&w, (uint8_t)n);
    for (size_t i = 0; i < n; i++) {
        const struct key *k = &t->keys[i];
        wr_bytes(&w, slice_of(k->name, sizeof(k->name)));
        wr_u64(&w, (uint64_t)k->from_wall_ms);
        wr_bytes(&w, secret_bytes(k->material));
    }
    unlock(t);
    enum err err = buf_append(ret, wr_slice(&w), ret->n + TLS_TICKETS_SAVED_MAX);
    mem_wipe(bytes, sizeof(bytes));
    return err;
}

static void keys_done(struct key (*keys)[TLS_TICKET_KEYS])
{
    for (size_t i = 0; i < TLS_TICKET_KEYS; i++) {
        key_drop(&(*keys)[i]);
    }
}

enum err tls_tickets_load(struct tls_tickets *t, struct slice saved)
{
    AUTO(keys_done) struct key keys[TLS_TICKET_KEYS] = {{.from_wall_ms = 0}};
    struct rd r = rd_from(saved);
    size_t n = rd_u8(&r);
    if (n == 0 || n > TLS_TICKET_KEYS) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < n; i++) {
        slice_copy(keys[i].name, rd_bytes(&r, NAME_BYTES));
        keys[i].from_wall_ms = (int64_t)rd_u64(&r);
        struct slice material = rd_bytes(&r, MATERIAL_BYTES);
        if (!rd_ok(&r)) {
            return ERR_MALFORMED;
        }
        TRY(secret_new(material, &keys[i].material));
    }
    TRY(rd_finish(&r));
    int64_t now_ms = now_of(t);
    if (!key_is_of_use(t, &keys[0], now_ms)) {
        return OK; /* nor are those before it; its own stays */
    }
    lock(t);
    for (size_t i = 0; i < TLS_TICKET_KEYS; i++) {
        struct key own = t->keys[i];
        t->keys[i] = keys[i];
        keys[i] = own;
    }
    keys_settle(t, 1, now_ms);
    unlock(t);
    return OK;
}

/* Copies the material of the key with this name, or of the newest; false: there is none. The caller
 * wipes it. */
static bool key_copy(struct tls_tickets *t, const uint8_t *name, uint8_t ret_name[NAME_BYTES],
                     uint8_t ret[MATERIAL_BYTES], bool *ret_is_newest)
{
    int64_t now_ms = now_of(t);
    bool found = false;
    lock(t);
    for (size_t i = 0; i < TLS_TICKET_KEYS && !found; i++) {
        const struct key *k = &t->keys[i];
        found = name == NULL
                    ? k->material != NULL
                    : key_is_of_use(t, k, now_ms) && memcmp(k->name, name, NAME_BYTES) == 0;
        if (found) {
            memcpy(ret_name, k->name, NAME_BYTES);
            memcpy(ret, secret_bytes(k->material).p, MATERIAL_BYTES);
            *ret_is_newest = i == 0;
        }
    }
    unlock(t);
    return found;
}

/* ---- tickets ---- */

bool tls_tickets_open(struct tls_tickets *t, struct slice ticket)
{
    uint8_t name[NAME_BYTES], material[MATERIAL_BYTES];
    struct digest expected;
    bool is_newest;
    if (ticket.n < NAME_BYTES + IV_BYTES + DIGEST_BYTES ||
        !key_copy(t, ticket.p, name, material, &is_newest)) {
        return false;
    }
    struct slice sealed = slice_head(ticket, ticket.n - DIGEST_BYTES);
    struct slice key = slice_of(&material[CIPHER_KEY_BYTES], MATERIAL_BYTES - CIPHER_KEY_BYTES);
    enum err err = digest_hmac(key, sealed, &expected);
    mem_wipe(material, sizeof(material));
    return err == OK && secret_equal(digest_slice(&expected), slice_from(ticket, sealed.n));
}

static int set_keys(const struct tls_tickets *t, uint8_t material[MATERIAL_BYTES],
                    const uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seals)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
                                                             &material[CIPHER_KEY_BYTES],
                                                             MATERIAL_BYTES - CIPHER_KEY_BYTES),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    int ok = seals ? EVP_EncryptInit_ex2(cipher, t->cipher, material, iv, NULL)
                   : EVP_DecryptInit_ex2(cipher, t->cipher, material, iv, NULL);
    return ok == 1 && EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* The library asks for keys: -1 it failed, 0 no such key, 1 here it is, 2 and it is not the newest.
 */
static int on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                  EVP_MAC_CTX *mac, int seals)
{
    struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    uint8_t found[NAME_BYTES], material[MATERIAL_BYTES];
    bool is_newest = false;
    if (!key_copy(t, seals ? NULL : name, found, material, &is_newest)) {
        return 0;
    }
    if (seals) {
        memcpy(name, found, NAME_BYTES);
        t->random.fill(t->random.ctx, iv, IV_BYTES);
    }
    int ok = set_keys(t, material, iv, cipher, mac, seals != 0);
    mem_wipe(material, sizeof(material));
    if (!ok) {
        return -1;
    }
    return is_newest ? 1 : 2;
}

/* ---- what a ticket says beside the session ---- */

struct note {
    int64_t since_wall_ms; /* the full handshake */
    int64_t until_wall_ms; /* the first certificate of the chain ends */
};

static bool note_read(SSL_SESSION *session, struct note *ret)
{
    void *bytes = NULL;
    size_t n = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &bytes, &n) != 1) {
        return false;
    }
    struct rd r = rd_from(slice_of(bytes, n));
    ret->since_wall_ms = (int64_t)rd_u64(&r);
    ret->until_wall_ms = (int64_t)rd_u64(&r);
    return rd_finish(&r) == OK;
}

static bool note_write(SSL_SESSION *session, const struct note *note)
{
    uint8_t bytes[NOTE_BYTES];
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_u64(&w, (uint64_t)note->since_wall_ms);
    wr_u64(&w, (uint64_t)note->until_wall_ms);
    return SSL_SESSION_set1_ticket_appdata(session, bytes, w.at) == 1;
}

/* A ticket is about to be sealed. On a resumed connection it says what the one before it said: no
 * chain of tickets outlives a life. One that began in full has proven itself for as long as it
 * lasts. */
static int on_seal(SSL *ssl, void *ctx)
{
    const struct tls_tickets *t = ctx;
    SSL_SESSION *session = SSL_get_session(ssl);
    struct note note;
    if (SSL_session_reused(ssl) == 1 && note_read(session, &note)) {
        return 1;
    }
    note = (struct note){.since_wall_ms = now_of(t),
                         .until_wall_ms = tls_chain_end(ssl, SSL_get_app_data(ssl))};
    return note_write(session, &note) ? 1 : 0;
}

/* That it is of this listener the library compares itself: its session id context. */
/* Without an extended master secret another session may share the keys of one of TLS 1.2. That the
 * old one had it when the new one asks for it, the library sees to. SPEC: RFC7627 5.3 */
static bool is_bound(SSL *ssl)
{
    const unsigned char *body = NULL;
    size_t n = 0;
    return SSL_version(ssl) == TLS1_3_VERSION ||
           SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_extended_master_secret, &body, &n) == 1;
}

static bool is_good(const struct tls_tickets *t, SSL *ssl, SSL_SESSION *session)
{
    struct note note;
    int64_t now_ms = now_of(t);
    bool needs_cert = (SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0;
    return note_read(session, &note) && is_bound(ssl) && now_ms < note.until_wall_ms &&
           note.since_wall_ms <= now_ms + SKEW_MS && now_ms - note.since_wall_ms < t->life_ms &&
           (!needs_cert || SSL_SESSION_get0_peer(session) != NULL);
}

/* A ticket came. What is not taken leads to a full handshake, which says what is wrong. */
static SSL_TICKET_RETURN on_open(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                 size_t name_n, SSL_TICKET_STATUS status, void *ctx)
{
    (void)name;
    (void)name_n;
    bool is_open = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!is_open || session == NULL || !is_good(ctx, ssl, session)) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    /* A ticket of TLS 1.3 is for one use: who comes gets the next one. SPEC: RFC8446 C.4 */
    bool renews = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) == TLS1_3_VERSION;
    return renews ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

uint64_t tls_tickets_period_ms(const struct tls_tickets *t)
{
    return (uint64_t)t->rotate_ms;
}

static enum err context_of(const struct tls_tickets_place *p, struct digest *ret)
{
    AUTO(buf_done) struct buf all = {0};
    const struct slice parts[] = {slice_text(p->name), p->chain_pem, p->client_ca_pem};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        uint64_t n = parts[i].n; /* so that no part ends where the next begins */
        TRY(buf_append(&all, slice_of(&n, sizeof(n)), SIZE_MAX));
        TRY(buf_append(&all, parts[i], SIZE_MAX));
    }
    return digest_sha256(buf_slice(&all), ret);
}

enum err tls_tickets_install(struct tls_tickets *t, const struct tls_tickets_place *place,
                             SSL_CTX *ctx)
{
    struct digest context;
    TRY(context_of(place, &context));
    if (SSL_CTX_set_session_id_context(ctx, context.bytes, sizeof(context.bytes)) != 1 ||
        SSL_CTX_set_app_data(ctx, t) != 1 ||
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_key) != 1 ||
        SSL_CTX_set_session_ticket_cb(ctx, on_seal, on_open, t) != 1) {
        return ERR_CRYPTO;
    }
    (void)SSL_CTX_set_timeout(ctx, (long)(t->life_ms / MS));
    (void)SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    return OK;
}

#include "service/directory/credential.h"

#include <assert.h>

#include "base/mem.h"
#include "base/secret.h"
#include "base/wr.h"
#include "security/crypto/kdf.h"
#include "service/directory/credential_private.h"

static const char *const kind_names[CREDENTIAL_KINDS] = {
    [CREDENTIAL_X509] = "x509",   [CREDENTIAL_PASSWORD] = "password", [CREDENTIAL_PSK] = "psk",
    [CREDENTIAL_SCRAM] = "scram", [CREDENTIAL_OSCORE] = "oscore",
};

/* The counter, what is known of its use and whose turn it is are the only members that change;
 * whoever reads a credential holds it as const. */
static struct credential *counted(const struct credential *c)
{
    return (struct credential *)(uintptr_t)c;
}

/* ---- the guard ---- */

enum { GUARD_KEY_BYTES = 32 };

struct credential_guard {
    atomic_uint refs;
    struct secret *key;
};

static struct credential_guard *guard_counted(const struct credential_guard *g)
{
    return (struct credential_guard *)(uintptr_t)g;
}

enum err credential_guard_new(const struct random_source *random,
                              const struct credential_guard **ret)
{
    uint8_t key[GUARD_KEY_BYTES];
    struct credential_guard *g = mem_zalloc(sizeof *g);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&g->refs, 1);
    random->fill(random->ctx, key, sizeof key);
    enum err err = secret_new(slice_of(key, sizeof key), &g->key);
    mem_wipe(key, sizeof key);
    if (err != OK) {
        mem_free(g);
        return err;
    }
    *ret = g;
    return OK;
}

const struct credential_guard *credential_guard_ref(const struct credential_guard *g)
{
    atomic_fetch_add_explicit(&guard_counted(g)->refs, 1, memory_order_relaxed);
    return g;
}

const struct credential_guard *credential_guard_unref(const struct credential_guard *g)
{
    if (g != NULL &&
        atomic_fetch_sub_explicit(&guard_counted(g)->refs, 1, memory_order_acq_rel) == 1) {
        secret_free(g->key);
        mem_free(guard_counted(g));
    }
    return NULL;
}

/* dst = src xor a mask that belongs to this id alone; its own inverse. Without a guard the same
 * work under a key of nobody. */
static enum err mask(const struct credential_guard *guard, uint64_t id, struct slice src,
                     uint8_t dst[PSK_KEY_MAX])
{
    static const uint8_t nobody[GUARD_KEY_BYTES];
    struct slice key = guard != NULL ? secret_bytes(guard->key) : slice_of(nobody, sizeof nobody);
    uint8_t salt[8];
    uint8_t pad[PSK_KEY_MAX];
    struct wr w = wr_into(salt, sizeof salt);
    wr_u64(&w, id);
    TRY(kdf_hkdf(key, wr_slice(&w), slice_text("sallyport psk in memory"), pad, sizeof pad));
    for (size_t i = 0; i < src.n; i++) {
        dst[i] = src.p[i] ^ pad[i];
    }
    mem_wipe(pad, sizeof pad);
    return OK;
}

enum err credential_set_psk(struct credential *c, const struct credential_guard *guard,
                            struct slice key)
{
    if (key.n > PSK_KEY_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(mask(guard, c->id, key, c->psk_hidden));
    c->psk_n = key.n;
    c->guard = credential_guard_ref(guard);
    return OK;
}

enum err credential_psk(const struct credential *c, uint8_t dst[PSK_KEY_MAX], size_t *ret_n)
{
    static const struct credential nobody; /* has no key, at the same cost */
    const struct credential *whose = c != NULL ? c : &nobody;
    /* All of it, so that the length does not show either. */
    TRY(mask(whose->guard, whose->id, slice_of(whose->psk_hidden, sizeof whose->psk_hidden), dst));
    *ret_n = whose->psk_n;
    return OK;
}

enum err credential_set_oscore(struct credential *c, const struct credential_guard *guard,
                               const struct oscore_secret *s)
{
    uint8_t bytes[OSCORE_SECRET_BYTES];
    size_t n = oscore_secret_write(s, bytes);
    enum err err = credential_set_psk(c, guard, slice_of(bytes, n));
    mem_wipe(bytes, sizeof bytes);
    TRY(err);
    c->kid = s->kid;
    return OK;
}

enum err credential_oscore(const struct credential *c, struct oscore_secret *ret)
{
    uint8_t bytes[PSK_KEY_MAX];
    size_t n = 0;
    bool is_one = c != NULL && c->kind == CREDENTIAL_OSCORE;
    TRY(credential_psk(is_one ? c : NULL, bytes, &n));
    enum err err = is_one ? oscore_secret_read(slice_of(bytes, n), ret) : ERR_NOT_FOUND;
    mem_wipe(bytes, sizeof bytes);
    return err;
}

/* ---- credentials ---- */

struct credential *credential_new(uint64_t id, enum credential_kind kind, int64_t created_wall_ms)
{
    struct credential *c = mem_zalloc(sizeof *c);
    if (c != NULL) {
        atomic_init(&c->refs, 1);
        atomic_init(&c->used_wall_ms, 0);
        atomic_init(&c->silence_ms, 0);
        atomic_init(&c->left_wall_ms, 0);
        atomic_init(&c->is_passed_over, false);
        c->id = id;
        c->kind = kind;
        c->created_wall_ms = created_wall_ms;
        c->expires_wall_ms = CREDENTIAL_NEVER;
    }
    return c;
}

static enum err copy_of(const struct credential *c, struct credential **ret)
{
    AUTO(credential_autofree)
    struct credential *copy = credential_new(c->id, c->kind, c->created_wall_ms);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    copy->expires_wall_ms = c->expires_wall_ms;
    atomic_store(&copy->used_wall_ms, atomic_load(&c->used_wall_ms));
    atomic_store(&copy->silence_ms, atomic_load(&c->silence_ms));
    atomic_store(&copy->left_wall_ms, atomic_load(&c->left_wall_ms));
    copy->is_unconfirmed = c->is_unconfirmed;
    copy->tail_ms = c->tail_ms;
    copy->before_wall_ms = c->before_wall_ms;
    copy->kept_wall_ms = c->kept_wall_ms;
    copy->fingerprint = c->fingerprint;
    copy->spki = c->spki;
    if (c->kind == CREDENTIAL_SCRAM) {
        copy->scram = c->scram;
    } else if (c->kind == CREDENTIAL_OSCORE) {
        copy->kid = c->kid;
    } else if (c->kind == CREDENTIAL_X509) {
        copy->cert = c->cert;
    } else {
        memcpy(copy->phc, c->phc, sizeof copy->phc);
    }
    memcpy(copy->psk_hidden, c->psk_hidden, sizeof copy->psk_hidden);
    copy->psk_n = c->psk_n;
    copy->guard = c->guard != NULL ? credential_guard_ref(c->guard) : NULL;
    *ret = TAKE(copy);
    return OK;
}

enum err credential_until(const struct credential *c, int64_t expires_wall_ms,
                          const struct credential **ret)
{
    struct credential *copy = NULL;
    TRY(copy_of(c, &copy));
    copy->expires_wall_ms = expires_wall_ms;
    copy->is_unconfirmed = false;
    copy->tail_ms = copy->before_wall_ms = 0;
    *ret = copy;
    return OK;
}

enum err credential_confirmed(const struct credential *c, const struct credential **ret)
{
    return credential_until(c, c->expires_wall_ms, ret);
}

const struct credential *credential_ref(const struct credential *c)
{
    atomic_fetch_add_explicit(&counted(c)->refs, 1, memory_order_relaxed);
    return c;
}

const struct credential *credential_unref(const struct credential *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&counted(c)->refs, 1, memory_order_acq_rel) == 1) {
        credential_guard_unref(c->guard);
        mem_wipe(counted(c), sizeof *c);
        mem_free(counted(c));
    }
    return NULL;
}

const char *credential_kind_name(enum credential_kind k)
{
    assert(k < CREDENTIAL_KINDS);
    return kind_names[k];
}

bool credential_kind_find(struct slice name, enum credential_kind *ret)
{
    for (enum credential_kind k = CREDENTIAL_X509; k < CREDENTIAL_KINDS; k++) {
        if (slice_is(name, kind_names[k])) {
            *ret = k;
            return true;
        }
    }
    return false;
}

bool credential_is_live(const struct credential *c, int64_t now_wall_ms)
{
    /* A clock that went back behind the creation refuses nobody: only the end counts. */
    return now_wall_ms < c->expires_wall_ms;
}

void credential_opaque(const struct random_source *random, char ret[CREDENTIAL_IDENTITY_BYTES])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t bits[CREDENTIAL_IDENTITY_BYTES - 2];
    random->fill(random->ctx, bits, sizeof bits);
    ret[0] = CREDENTIAL_OPAQUE[0];
    for (size_t i = 0; i < sizeof bits; i++) {
        ret[1 + i] = digits[bits[i] & 63];
    }
    ret[1 + sizeof bits] = '\0';
}

bool credential_waits(const struct credential *c)
{
    return c->is_unconfirmed &&
           atomic_load_explicit(&counted(c)->used_wall_ms, memory_order_relaxed) == 0;
}

bool credential_is_revoked(const struct credential *c)
{
    return c->kind == CREDENTIAL_X509 && c->cert.revoked_wall_ms != 0;
}

enum err credential_taken_back(const struct credential *c, unsigned reason, int64_t now_wall_ms,
                               const struct credential **ret)
{
    const struct credential *copy = NULL;
    TRY(credential_until(c, now_wall_ms < c->expires_wall_ms ? now_wall_ms : c->expires_wall_ms,
                         &copy));
    counted(copy)->cert.reason = (uint8_t)reason;
    counted(copy)->cert.revoked_wall_ms = now_wall_ms;
    *ret = copy;
    return OK;
}

void credential_pass_over(const struct credential *c, bool is_passed_over)
{
    atomic_store_explicit(&counted(c)->is_passed_over, is_passed_over, memory_order_relaxed);
}

bool credential_is_passed_over(const struct credential *c)
{
    return atomic_load_explicit(&counted(c)->is_passed_over, memory_order_relaxed);
}

void credential_used(const struct credential *c, int64_t now_wall_ms)
{
    /* Of two logins at one moment either may count: a time is lost, never invented. */
    struct credential *own = counted(c);
    int64_t before =
        atomic_exchange_explicit(&own->used_wall_ms, now_wall_ms, memory_order_relaxed);
    int64_t left = atomic_load_explicit(&own->left_wall_ms, memory_order_relaxed);
    int64_t silence = left != 0 && left >= before && now_wall_ms > left ? now_wall_ms - left : 0;
    if (silence > atomic_load_explicit(&own->silence_ms, memory_order_relaxed)) {
        atomic_store_explicit(&own->silence_ms, silence, memory_order_relaxed);
    }
}

void credential_left(const struct credential *c, int64_t now_wall_ms)
{
    atomic_store_explicit(&counted(c)->left_wall_ms, now_wall_ms, memory_order_relaxed);
}

int64_t credential_touched(const struct credential *c)
{
    int64_t used = atomic_load_explicit(&c->used_wall_ms, memory_order_relaxed);
    int64_t left = atomic_load_explicit(&c->left_wall_ms, memory_order_relaxed);
    return used > left ? used : left;
}

void credential_kept(const struct credential *c, int64_t used_wall_ms)
{
    counted(c)->kept_wall_ms = used_wall_ms;
}

#include "service/directory/credential.h"

#include <assert.h>

#include "base/mem.h"
#include "service/directory/credential_private.h"

static const char *const kind_names[CREDENTIAL_KINDS] = {
    [CREDENTIAL_X509] = "x509",
    [CREDENTIAL_PASSWORD] = "password",
    [CREDENTIAL_PSK] = "psk",
};

/* The counter and the time of last use are the only members that change; whoever reads a credential
 * holds it as const. */
static struct credential *counted(const struct credential *c)
{
    return (struct credential *)(uintptr_t)c;
}

struct credential *credential_new(uint64_t id, enum credential_kind kind, int64_t created_wall_ms)
{
    struct credential *c = mem_zalloc(sizeof *c);
    if (c != NULL) {
        atomic_init(&c->refs, 1);
        atomic_init(&c->used_wall_ms, 0);
        c->id = id;
        c->kind = kind;
        c->created_wall_ms = created_wall_ms;
        c->expires_wall_ms = CREDENTIAL_NEVER;
    }
    return c;
}

enum err credential_until(const struct credential *c, int64_t expires_wall_ms,
                          const struct credential **ret)
{
    AUTO(credential_autofree)
    struct credential *copy = credential_new(c->id, c->kind, c->created_wall_ms);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    copy->expires_wall_ms = expires_wall_ms;
    atomic_store(&copy->used_wall_ms, atomic_load(&c->used_wall_ms));
    copy->fingerprint = c->fingerprint;
    copy->spki = c->spki;
    memcpy(copy->phc, c->phc, sizeof copy->phc);
    if (c->psk != NULL) {
        TRY(secret_new(secret_bytes(c->psk), &copy->psk));
    }
    *ret = TAKE(copy);
    return OK;
}

const struct credential *credential_ref(const struct credential *c)
{
    atomic_fetch_add_explicit(&counted(c)->refs, 1, memory_order_relaxed);
    return c;
}

const struct credential *credential_unref(const struct credential *c)
{
    if (c != NULL && atomic_fetch_sub_explicit(&counted(c)->refs, 1, memory_order_acq_rel) == 1) {
        secret_free(c->psk);
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

void credential_psk(const struct credential *c, uint8_t dst[PSK_KEY_MAX], size_t *ret_n)
{
    struct slice key = c->psk != NULL ? secret_bytes(c->psk) : (struct slice){0};
    assert(key.n <= PSK_KEY_MAX);
    if (key.n > 0) {
        memcpy(dst, key.p, key.n);
    }
    *ret_n = key.n;
}

void credential_used(const struct credential *c, int64_t now_wall_ms)
{
    atomic_store_explicit(&counted(c)->used_wall_ms, now_wall_ms, memory_order_relaxed);
}

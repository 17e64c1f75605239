#include "service/directory/decoys.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "service/directory/credential_private.h"

/* What a login reads of a principal. */
struct nobody {
    uint64_t id;
    enum principal_status status;
    char name[PRINCIPAL_NAME_MAX + 1];
};

struct decoys {
    atomic_uint refs;
    const struct credential_guard *guard;
    struct decoy items[DECOYS];
    struct decoy_entry entries[DECOYS];
    struct nobody nobodies[DECOYS];
    struct credential credentials[DECOYS][DECOY_CREDENTIALS];
};

static struct decoys *counted(const struct decoys *d)
{
    return (struct decoys *)(uintptr_t)d;
}

/* In the order in which `device add` makes them. A password hash needs none: with no hash to
 * verify, one of nobody is. */
static const enum credential_kind kinds[DECOY_CREDENTIALS] = {CREDENTIAL_PASSWORD, CREDENTIAL_PSK,
                                                              CREDENTIAL_SCRAM};

static void make(struct decoys *d, size_t at, const struct random_source *random)
{
    struct nobody *who = &d->nobodies[at];
    struct decoy_entry *one = &d->entries[at];
    int n = snprintf(who->name, sizeof(who->name), "(nobody %zu)", at);
    who->status = PRINCIPAL_ACTIVE;
    d->items[at] = (struct decoy){slice_of(who->name, (size_t)n), one};
    one->status = &who->status;
    one->n_credentials = DECOY_CREDENTIALS;
    for (size_t i = 0; i < DECOY_CREDENTIALS; i++) {
        struct credential *c = &d->credentials[at][i];
        c->id = random_u64(random);
        c->kind = kinds[i];
        c->expires_wall_ms = CREDENTIAL_NEVER;
        c->created_wall_ms = INT64_MAX; /* no age ends it */
        if (c->kind == CREDENTIAL_PSK) {
            c->guard = d->guard;
            random->fill(random->ctx, c->psk_hidden, sizeof(c->psk_hidden));
        } else if (c->kind == CREDENTIAL_SCRAM) {
            random->fill(random->ctx, (uint8_t *)&c->scram.keys, sizeof(c->scram.keys));
        }
        one->credentials[i] = c;
    }
}

enum err decoys_new(uint64_t seed, const struct decoys **ret)
{
    struct random_source random = random_seeded(&seed);
    struct decoys *d = mem_zalloc(sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&d->refs, 1);
    enum err err = credential_guard_new(&random, &d->guard);
    if (err != OK) {
        mem_free(d);
        return err;
    }
    for (size_t i = 0; i < DECOYS; i++) {
        make(d, i, &random);
    }
    *ret = d;
    return OK;
}

const struct decoys *decoys_ref(const struct decoys *d)
{
    atomic_fetch_add_explicit(&counted(d)->refs, 1, memory_order_relaxed);
    return d;
}

const struct decoys *decoys_unref(const struct decoys *d)
{
    if (d != NULL && atomic_fetch_sub_explicit(&counted(d)->refs, 1, memory_order_acq_rel) == 1) {
        credential_guard_unref(d->guard);
        mem_free(counted(d));
    }
    return NULL;
}

const struct decoy *decoys_of(const struct decoys *d, uint64_t hash)
{
    return &d->items[(hash >> 32) % DECOYS]; /* its low bits are the bucket */
}

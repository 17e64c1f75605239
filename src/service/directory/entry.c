#include "base/mem.h"
#include "service/directory/directory_version_private.h"

static struct directory_entry *counted(const struct directory_entry *e)
{
    return (struct directory_entry *)(uintptr_t)e;
}

enum err entry_new(const struct principal *principal, int64_t created_wall_ms, struct slice reason,
                   const struct credential *const *credentials, size_t n,
                   const struct directory_entry **ret)
{
    struct directory_entry *e = mem_zalloc(sizeof *e + n * sizeof e->credentials[0]);
    if (e == NULL) {
        return ERR_NOMEM;
    }
    if (!slice_to_text(reason, e->reason, sizeof e->reason)) {
        mem_free(e);
        return ERR_MALFORMED;
    }
    atomic_init(&e->refs, 1);
    e->principal = principal_ref(principal);
    e->created_wall_ms = created_wall_ms;
    e->n_credentials = n;
    for (size_t i = 0; i < n; i++) {
        e->credentials[i] = credential_ref(credentials[i]);
    }
    *ret = e;
    return OK;
}

const struct directory_entry *entry_ref(const struct directory_entry *e)
{
    atomic_fetch_add_explicit(&counted(e)->refs, 1, memory_order_relaxed);
    return e;
}

const struct directory_entry *entry_unref(const struct directory_entry *e)
{
    if (e != NULL && atomic_fetch_sub_explicit(&counted(e)->refs, 1, memory_order_acq_rel) == 1) {
        for (size_t i = 0; i < e->n_credentials; i++) {
            credential_unref(e->credentials[i]);
        }
        principal_unref(e->principal);
        mem_free(counted(e));
    }
    return NULL;
}

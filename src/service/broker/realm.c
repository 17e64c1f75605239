#include "service/broker/realm.h"

#include "base/mem.h"

MUST_USE enum err realm_new(const struct directory_version *directory, const struct policy *policy,
                            const struct realm **ret)
{
    return realm_new_trusting(directory, policy, NULL, ret);
}

MUST_USE enum err realm_new_trusting(const struct directory_version *directory,
                                     const struct policy *policy, const struct trust *trust,
                                     const struct realm **ret)
{
    const struct realm_lists none = {NULL, NULL};
    return realm_new_revoking(directory, policy, trust, &none, ret);
}

MUST_USE enum err realm_new_revoking(const struct directory_version *directory,
                                     const struct policy *policy, const struct trust *trust,
                                     const struct realm_lists *lists, const struct realm **ret)
{
    struct realm *r = mem_zalloc(sizeof(*r));
    if (r == NULL) {
        return ERR_NOMEM;
    }
    atomic_init(&r->refs, 1);
    r->epoch = directory_version_epoch(directory);
    r->directory = directory_version_ref(directory);
    r->policy = policy_ref(policy);
    r->trust = trust != NULL ? trust_ref(trust) : NULL;
    r->own_list = lists->own != NULL ? crl_set_ref(lists->own) : NULL;
    r->extra_list = lists->extra != NULL ? crl_set_ref(lists->extra) : NULL;
    *ret = r;
    return OK;
}

/* The count is the one mutable word of a shared immutable object. */
static atomic_uint *refs_of(const struct realm *r)
{
    return (atomic_uint *)(uintptr_t)&r->refs;
}

const struct realm *realm_ref(const struct realm *r)
{
    atomic_fetch_add_explicit(refs_of(r), 1, memory_order_relaxed);
    return r;
}

const struct realm *realm_unref(const struct realm *r)
{
    if (r != NULL && atomic_fetch_sub_explicit(refs_of(r), 1, memory_order_acq_rel) == 1) {
        directory_version_unref(r->directory);
        policy_unref(r->policy);
        trust_unref(r->trust);
        crl_set_unref(r->own_list);
        crl_set_unref(r->extra_list);
        mem_free((void *)(uintptr_t)r);
    }
    return NULL;
}

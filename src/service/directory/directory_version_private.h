/*
 * directory_version_private - how the writer makes a version out of another.
 *
 * Six indexes (name, certificate key, fingerprint, id, OSCORE kid, opaque PSK identity) of 256
 * buckets each; a bucket is an immutable sorted array. A new version shares all buckets with the
 * old one but those it changes. A version is changed only while its maker holds the only reference.
 */
#ifndef SERVICE_DIRECTORY_DIRECTORY_VERSION_PRIVATE_H
#define SERVICE_DIRECTORY_DIRECTORY_VERSION_PRIVATE_H

#include "base/scope.h"
#include "base/siphash.h"
#include "service/directory/decoys.h"
#include "service/directory/directory_version.h"

enum { VERSION_BUCKETS = 256 };
enum version_index {
    VERSION_NAME,
    VERSION_SPKI,
    VERSION_FINGERPRINT,
    VERSION_ID,
    VERSION_KID,
    VERSION_IDENTITY,
    VERSION_INDEXES
};

struct version_item {
    struct slice key; /* borrowed from entry */
    const struct directory_entry *entry;
};

struct version_bucket {
    atomic_uint refs;
    size_t n;
    struct version_item items[];
};

struct version_exceptions {
    atomic_uint refs;
    size_t n;
    struct directory_exception items[];
};

struct directory_version {
    atomic_uint refs;
    uint64_t epoch, policy_epoch;
    struct siphash_key key;  /* a stranger who picks names cannot fill one bucket */
    struct digest scram_key; /* of the salts of names, see directory_scram */
    size_t n;
    const struct version_bucket *index[VERSION_INDEXES][VERSION_BUCKETS]; /* NULL: empty */
    const struct version_exceptions *exceptions;                          /* NULL: none */
    const struct decoys *decoys;
    struct secret_ages ages;
    /* of the writer only */
    uint64_t next_principal, next_credential, next_exception;
    char admin_phc[PASSWORD_PHC_BYTES]; /* empty: no secret is waiting */
    int64_t admin_expires_wall_ms;
};

/* version_new - an empty one. ERR_NOMEM. */
MUST_USE enum err version_new(const struct siphash_key *key, struct directory_version **ret);
/* version_copy - the same contents with the next epoch, for the caller to change. ERR_NOMEM. */
MUST_USE enum err version_copy(const struct directory_version *v, struct directory_version **ret);
/* version_replace - takes `before` out (NULL: nothing) and puts `after` in (NULL: nothing; shares
 * it). ERR_EXISTS: a name, key or fingerprint of `after` is there already; ERR_NOMEM. After an
 * error v is good for directory_version_unref only. */
MUST_USE enum err version_replace(struct directory_version *v, const struct directory_entry *before,
                                  const struct directory_entry *after);
/* version_diff - calls each for every principal that `to` has (after) or `from` had (before) in
 * another state or not at all. from NULL: it had none; else one of them was copied from the other.
 * An error of each ends it. O(differing buckets). */
MUST_USE enum err version_diff(const struct directory_version *from,
                               const struct directory_version *to,
                               enum err (*each)(void *ctx, const struct directory_entry *before,
                                                const struct directory_entry *after),
                               void *ctx);
/* version_find - by any index. */
const struct directory_entry *version_find(const struct directory_version *v,
                                           enum version_index index, struct slice key);
/* version_set_exceptions - copies n of them. ERR_NOMEM. */
MUST_USE enum err version_set_exceptions(struct directory_version *v,
                                         const struct directory_exception *items, size_t n);

/* A principal's answers, borrowed. */
struct answer_list {
    const struct directory_answer *items;
    size_t n;
};
/* answers_apply - makes p, whose own_status is set, what its answers make of it. */
void answers_apply(struct principal *p, struct answer_list answers);

/* entry_new - shares principal and credentials, copies answers; reason is at most
 * DIRECTORY_REASON_MAX bytes without a NUL. ERR_NOMEM, ERR_MALFORMED (reason). */
MUST_USE enum err entry_new(const struct principal *principal, int64_t created_wall_ms,
                            struct slice reason, struct answer_list answers,
                            const struct credential *const *credentials, size_t n,
                            const struct directory_entry **ret);
const struct directory_entry *entry_ref(const struct directory_entry *e);
const struct directory_entry *entry_unref(const struct directory_entry *e);

static inline void entry_autofree(const struct directory_entry **e)
{
    *e = entry_unref(*e);
}

static inline void version_autofree(struct directory_version **v)
{
    (void)directory_version_unref(*v);
}

static inline void principal_autofree(struct principal **p)
{
    (void)principal_unref(*p);
}

/* credential_list - references to the credentials that an entry will have. */
struct credential_list {
    const struct credential *items[DIRECTORY_CREDENTIALS_MAX];
    size_t n;
};

static inline void credential_list_done(struct credential_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        credential_unref(l->items[i]);
    }
}

#endif

/* directory_private - the writer's inside, shared by directory*.c. */
#ifndef SERVICE_DIRECTORY_DIRECTORY_PRIVATE_H
#define SERVICE_DIRECTORY_DIRECTORY_PRIVATE_H

#include "base/secret.h"
#include "service/directory/credential_private.h"
#include "service/directory/directory.h"
#include "service/directory/directory_record_private.h"
#include "service/directory/directory_version_private.h"

struct directory {
    struct log *log; /* NULL with keyring: nothing is kept */
    struct keyring *keyring;
    struct random_source random;
    struct secret *fingerprint_key;
    const struct credential_guard *guard;
    struct siphash_key key;            /* of the versions' indexes */
    struct directory_version *current; /* published, saved */
    struct directory_version *draft;   /* what a batch has gathered; NULL outside */
    bool in_batch;
    struct id_list erase; /* removed principals whose keys are still there; the head has them too */
    /* Of a save that failed: what of it comes to the disk later is not known, so the next one
     * writes these again. */
    struct id_list unsure_principals, unsure_exceptions;
    struct directory_damage damage;
    struct secret_ages ages;
    struct id_list unsettled; /* who may have a rotation that waits, or one that ends */
};

/* credential_make - out of what was ordered, of v, which counts it. Errors as directory_add. */
MUST_USE enum err credential_make(const struct directory *d, struct directory_version *v,
                                  struct slice name, const struct directory_secret *s,
                                  int64_t now_wall_ms, struct credential **ret, struct why *why);
/* entry_replace - this principal with these credentials, as change_finish. */
MUST_USE enum err entry_replace(struct directory *d, struct directory_version **next,
                                const struct directory_entry *before, enum principal_status status,
                                struct slice reason, const struct credential *const *credentials,
                                size_t n);
/* directory_find_unsettled - fills the list from a version that was loaded. ERR_NOMEM. */
MUST_USE enum err directory_find_unsettled(struct directory *d);

/* directory_scram_key - gives the only version there is its key for salts. ERR_CRYPTO. */
MUST_USE enum err directory_scram_key(struct directory *d);
/* change_begin - a copy of the latest state for one operation to work on. ERR_NOMEM. */
MUST_USE enum err change_begin(const struct directory *d, struct directory_version **ret);
/* change_finish - outside a batch saves *next and publishes it, inside keeps it as the draft. Takes
 * *next on success only. */
MUST_USE enum err change_finish(struct directory *d, struct directory_version **next);

/* directory_prepare - an empty one with nothing but its keys. fingerprint_key is copied. */
MUST_USE enum err directory_prepare(const struct directory_setup *s, struct slice fingerprint_key,
                                    struct directory **ret);

/* directory_save - what differs between the versions as one log_save: all or nothing. from NULL:
 * nothing was there. Keys of new principals are made before; those of removed ones wait in
 * d->erase. Costs a few microseconds for each principal that differs, and the log's commit. */
MUST_USE enum err directory_save(struct directory *d, const struct directory_version *from,
                                 const struct directory_version *to);
/* directory_save_all - the same out of a first version of any size, in bounded pieces, the head
 * last: until it is there nothing counts. Entries of an earlier try that this version does not have
 * are ended. */
MUST_USE enum err directory_save_all(struct directory *d, const struct directory_version *to);
/* directory_load - d->current out of the log's entries; the newest counts, and what damage brought
 * back is not let in (d->damage). ERR_NOT_FOUND: there is nothing. */
MUST_USE enum err directory_load(struct directory *d);
/* directory_has_head - a directory was saved here as a whole. */
MUST_USE enum err directory_has_head(struct log *log, bool *ret);

#endif

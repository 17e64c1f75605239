/* directory_private - the writer's inside, shared by directory.c and directory_ops.c. */
#ifndef SERVICE_DIRECTORY_DIRECTORY_PRIVATE_H
#define SERVICE_DIRECTORY_DIRECTORY_PRIVATE_H

#include "base/secret.h"
#include "service/directory/credential_private.h"
#include "service/directory/directory.h"
#include "service/directory/directory_version_private.h"

struct directory {
    struct disk *disk;
    struct random_source random;
    struct secret *master, *index_key;
    const struct credential_guard *guard;
    struct directory_version *current; /* published, saved */
    struct directory_version *draft;   /* what a batch has gathered; NULL outside */
    bool in_batch;
};

/* change_begin - a copy of the latest state for one operation to work on. ERR_NOMEM. */
MUST_USE enum err change_begin(const struct directory *d, struct directory_version **ret);
/* change_finish - outside a batch saves *next and publishes it, inside keeps it as the draft. Takes
 * *next on success only. */
MUST_USE enum err change_finish(struct directory *d, struct directory_version **next);

#endif

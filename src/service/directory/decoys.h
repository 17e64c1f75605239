/*
 * decoys - entries that nobody owns, so that a name that is not there costs what one costs that is:
 * the same loads from memory, the same loops. No secret of a decoy fits anything.
 */
#ifndef SERVICE_DIRECTORY_DECOYS_H
#define SERVICE_DIRECTORY_DECOYS_H

#include "core/principal.h"
#include "service/directory/credential.h"

enum { DECOYS = 64, DECOY_CREDENTIALS = 3 };

/* As much of an entry as a login looks at, and as far apart in memory. */
struct decoy_entry {
    const enum principal_status *status;
    char unused[256];
    size_t n_credentials;
    const struct credential *credentials[DECOY_CREDENTIALS];
};

struct decoy {
    struct slice name; /* no name that a principal may have */
    const struct decoy_entry *entry;
};

struct decoys;

/* decoys_new - one reference. ERR_NOMEM. Two allocations, and a page of locked memory. */
MUST_USE enum err decoys_new(uint64_t seed, const struct decoys **ret);
const struct decoys *decoys_ref(const struct decoys *d);
const struct decoys *decoys_unref(const struct decoys *d);
/* decoys_of - the decoy of a name, by its hash. */
const struct decoy *decoys_of(const struct decoys *d, uint64_t hash);

#endif

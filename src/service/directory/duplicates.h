/*
 * duplicates - secrets that more than one device has, or one device as two kinds.
 *
 * The directory refuses a secret that somebody has, whatever it is there (check_owner in
 * directory_ops.c). What came otherwise, a directory whose head was lost, or one secret in two
 * spellings, is found here: keys and OSCORE secrets are hashed anew under the directory's key, as
 * they are, as hexadecimal and out of it; passwords are known by the hash they were registered
 * with. Nothing here shows a secret.
 */
#ifndef SERVICE_DIRECTORY_DUPLICATES_H
#define SERVICE_DIRECTORY_DUPLICATES_H

#include "service/directory/directory.h"

struct duplicate {
    const struct directory_entry *entry; /* borrowed from the version */
    const struct credential *credential;
};

struct duplicate_pair {
    struct duplicate one, other; /* one's credential is the older */
};

struct duplicate_list {
    struct duplicate_pair *pairs;
    size_t n;
};

/* duplicates_find - of three with one secret there are two pairs. v must be d's and outlive *ret;
 * release it with duplicates_done. ERR_NOMEM, ERR_CRYPTO. O(n log n), a few microseconds a
 * credential. */
MUST_USE enum err duplicates_find(const struct directory *d, const struct directory_version *v,
                                  struct duplicate_list *ret);
void duplicates_done(struct duplicate_list *l);

#endif

/*
 * master_key - the 32 bytes under which the keyring is sealed, and by it everything at rest.
 *
 * A file beside the data directory (DIR.key by default), so that a copy of DIR alone opens nothing.
 * A file that others can read is refused, not repaired: somebody may have read it.
 */
#ifndef SERVICE_PKI_MASTER_KEY_H
#define SERVICE_PKI_MASTER_KEY_H

#include "base/err.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/why.h"

enum { MASTER_KEY_BYTES = 32 };

/* master_key_create - a new random key in a new file, mode 0600, synced. ERR_EXISTS, ERR_IO with
 * *why; ERR_NOMEM. */
MUST_USE enum err master_key_create(const char *path, const struct random_source *random,
                                    struct secret **ret, struct why *why);
/* master_key_copy - this key in a new file. Errors as above. */
MUST_USE enum err master_key_copy(const char *path, const struct secret *key, struct why *why);
/* master_key_open - ERR_NOT_FOUND, ERR_IO; ERR_DENIED: not a regular file, readable by group or
 * others, or somebody else's; ERR_CONFIG: not 32 bytes; *why names the fix. A symbolic link is not
 * followed. */
MUST_USE enum err master_key_open(const char *path, struct secret **ret, struct why *why);
/* master_key_read - the same from an open descriptor (not closed) that the supervisor passed; path
 * is for *why only. The owner may also be root here; group_may_read is the key source's. */
MUST_USE enum err master_key_read(int fd, const char *path, bool group_may_read,
                                  struct secret **ret, struct why *why);

#endif

/*
 * directory_file - a version as JSON text, which directory.c seals.
 *
 * {"version":1, "epoch", "policy_epoch", "next":{principal, credential, exception},
 *  "admin":{phc, expires}, "principals":[...], "exceptions":[...]}; times are wall milliseconds,
 * digests and PSKs hexadecimal, a credential that never ends has no "expires".
 */
#ifndef SERVICE_DIRECTORY_DIRECTORY_FILE_PRIVATE_H
#define SERVICE_DIRECTORY_DIRECTORY_FILE_PRIVATE_H

#include "base/buf.h"
#include "service/directory/directory_version_private.h"

enum { DIRECTORY_FILE_MAX = 512 * 1024 * 1024 };

/* directory_file_encode - appends to *ret, which the caller wipes. ERR_NOMEM, ERR_TOO_LARGE. */
MUST_USE enum err directory_file_encode(const struct directory_version *v, struct buf *ret);
/* directory_file_decode - checks every member; unknown or missing ones, and names or secrets
 * that occur twice are ERR_CONFIG. Shares guard. ERR_UNSUPPORTED: another version; ERR_NOMEM. */
MUST_USE enum err directory_file_decode(struct slice text, const struct siphash_key *key,
                                        const struct credential_guard *guard,
                                        struct directory_version **ret);

#endif

/*
 * directory_file - DIR/directory.sealed of former versions, which had all of the directory in one
 * file under the master key. Only read, once: directory_import.
 *
 * {"version":1, "epoch", "policy_epoch", "next":{principal, credential, exception},
 *  "admin":{phc, expires}, "principals":[...], "exceptions":[...]}, with principals and exceptions
 * as in directory_record_private.h.
 */
#ifndef SERVICE_DIRECTORY_DIRECTORY_FILE_PRIVATE_H
#define SERVICE_DIRECTORY_DIRECTORY_FILE_PRIVATE_H

#include "service/directory/directory_record_private.h"

#define DIRECTORY_FILE "directory.sealed"
enum { DIRECTORY_FILE_MAX = 512 * 1024 * 1024 };

/* directory_file_decode - checks every member; unknown or missing ones, and names or secrets
 * that occur twice are ERR_CONFIG. Shares guard. ERR_UNSUPPORTED: another version; ERR_NOMEM. */
MUST_USE enum err directory_file_decode(struct slice text, const struct siphash_key *key,
                                        const struct credential_guard *guard,
                                        struct directory_version **ret);

#endif

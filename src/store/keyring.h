/*
 * keyring - the keys behind everything at rest: one root key for files, and one key for each
 * principal, so that removing a principal makes what was its own unreadable, also in old backups.
 *
 * DIR/keyring, sealed under the master key and nothing else; no backup has it. It is one sealed
 * base and sealed additions behind it, so that adding a device costs one append; erasing, and
 * rotating the master key, write it anew and overwrite the old file first. Keys are random, never
 * derived from the master. One thread changes and copies it; keyring_record_key, _has, _count,
 * _root and _erasures may be called by any thread (a lock). In memory the keys of principals are
 * hidden under masks from one locked secret; root and master lie in locked pages.
 *
 * Overwriting reaches what the file system and the drive write in place. Copies that they keep on
 * their own (snapshots, wear levelling) are still sealed under the master key of their time.
 */
#ifndef STORE_KEYRING_H
#define STORE_KEYRING_H

#include "base/disk.h"
#include "base/random.h"
#include "base/scope.h"
#include "base/secret.h"
#include "base/why.h"

enum { KEYRING_KEY_BYTES = 32 };
#define KEYRING_FILE "keyring"

struct keyring;

/* disk outlives the keyring; master is borrowed for the call; random is copied. */
struct keyring_setup {
    struct disk *disk;
    struct slice master;
    struct random_source random;
};

/* keyring_create - a new one with a fresh root key, saved. ERR_EXISTS, ERR_IO, ERR_SPACE, ... */
MUST_USE enum err keyring_create(const struct keyring_setup *s, struct keyring **ret);
/* keyring_open - ERR_NOT_FOUND; ERR_CRYPTO: changed, or another master key; ERR_UNSUPPORTED: a
 * later format; ERR_CONFIG: the master has not 32 bytes. A torn last addition (power cut) is passed
 * over and goes with the next change: nothing was sealed with it. Writes nothing. */
MUST_USE enum err keyring_open(const struct keyring_setup *s, struct keyring **ret);
struct keyring *keyring_free(struct keyring *k);
AUTOFREE(keyring, keyring_free)

/* keyring_root - the key of sealed files (CA key, server key, audit trail): what was "master" to
 * them. Borrowed. */
struct slice keyring_root(const struct keyring *k);

/* keyring_add - keys for these principals, durable before it returns; those that have one keep it.
 */
MUST_USE enum err keyring_add(struct keyring *k, const uint64_t *principals, size_t n);
/* keyring_erase - forgets their keys for ever; durable before it returns, the old file overwritten.
 * Unknown ones are fine. After an error they are still there, here at least: try again. */
MUST_USE enum err keyring_erase(struct keyring *k, const uint64_t *principals, size_t n);
/* keyring_erasures - grows with each erasure: whoever caches keys forgets them then. */
unsigned keyring_erasures(const struct keyring *k);
bool keyring_has(const struct keyring *k, uint64_t principal);
size_t keyring_count(const struct keyring *k);

/*
 * keyring_record_key - the key of one principal's records in one opening of the log
 *
 * principal  0: the log's own.
 * salt       of the opening (segment header).
 * ERR_NOT_FOUND: it was never there, or erased; ERR_CRYPTO, ERR_NOMEM. Two HKDF-SHA-256, 6 us:
 * callers keep what they need often, and wipe it.
 */
MUST_USE enum err keyring_record_key(const struct keyring *k, uint64_t principal,
                                     const uint8_t salt[32], uint8_t ret[KEYRING_KEY_BYTES]);

/* keyring_rotate - from here on it opens under `master` alone. Atomic: after a power cut one of the
 * two masters opens it. The root and the principals' keys stay. */
MUST_USE enum err keyring_rotate(struct keyring *k, struct slice master);

/* keyring_copy - the file as it would be written now, sealed under `master`, appended to *ret. */
MUST_USE enum err keyring_copy(const struct keyring *k, struct slice master, struct buf *ret);

#endif

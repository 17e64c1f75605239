/*
 * archive - what `backup` and `restore` share: the keys they work with, and places by path.
 */
#ifndef APP_CLI_ARCHIVE_H
#define APP_CLI_ARCHIVE_H

#include <stdint.h>

#include "app/cli/cli.h"
#include "base/disk.h"
#include "base/scope.h"
#include "base/secret.h"
#include "base/why.h"
#include "store/backup.h"
#include "store/keyring.h"

enum { ARCHIVE_PATH_BYTES = 4096 };
/* What `backup` leaves in the data directory: when the newest one was made. */
#define ARCHIVE_MADE_FILE "backup.made"

/* A file by its folder. */
struct archive_place {
    struct disk *disk; /* of the folder */
    char name[256];
};
/* archive_place_open - the folder is there, the file may be. ERR_NOT_FOUND, ERR_DENIED, ERR_IO,
 * ERR_TOO_LARGE, ERR_NOMEM, with *why. */
MUST_USE enum err archive_place_open(const char *path, struct archive_place *ret, struct why *why);
void archive_place_done(struct archive_place *p);

/* archive_dir - a data directory as a disk. */
MUST_USE enum err archive_dir(const char *dir, struct disk **ret, struct why *why);
/* archive_exists - is there something under this path? */
bool archive_exists(const char *path);
/* archive_key_path - DIR.key of a data directory. ERR_TOO_LARGE. */
MUST_USE enum err archive_key_path(const char *dir, char ret[ARCHIVE_PATH_BYTES]);
/* archive_whole_path - from /. ERR_TOO_LARGE, ERR_IO. */
MUST_USE enum err archive_whole_path(const char *path, char ret[ARCHIVE_PATH_BYTES]);

/* A master key and the keyring that it opens; the keyring is a copy in memory, the file stays as it
 * is. */
struct archive_keys {
    struct secret *master;
    struct disk *memory;
    struct keyring *keyring;
    struct buf file; /* the keyring's bytes */
};
/* archive_keys_open - master is given, or NULL: of master_path. *why names file and fix. */
MUST_USE enum err archive_keys_open(struct secret *master, const char *master_path,
                                    const char *keyring_path, struct archive_keys *ret,
                                    struct why *why);
/* archive_keys_find - the master key as `serve` finds it for this data directory (a whole path):
 * the one of the option, else the configured one, else DIR.key; FILE.new when a rotation was cut
 * short. ret_path says which it was. */
MUST_USE enum err archive_keys_find(const char *dir, const char *option, const char *keyring,
                                    char ret_path[ARCHIVE_PATH_BYTES], struct archive_keys *ret,
                                    struct why *why);
void archive_keys_done(struct archive_keys *k); /* wipes */

/* A data directory with its keys, opened beside a daemon or without one. */
struct archive_house {
    char dir[ARCHIVE_PATH_BYTES];
    char key_path[ARCHIVE_PATH_BYTES];
    struct archive_keys keys;
    struct disk *disk;
};
/* archive_house_open - of cli->dir. master_key and keyring: of options, or NULL. The exit code,
 * after a message unless CLI_DONE. */
int archive_house_open(struct cli *cli, const char *master_key, const char *keyring,
                       struct archive_house **ret);
void archive_house_release(struct archive_house **h); /* of AUTO; NULL is fine; wipes */

/* A line on a terminal's standard error that says how far it is; nothing elsewhere. */
struct archive_progress {
    struct cli *cli;
    const char *what; /* "copied" */
    bool is_shown;
    unsigned last; /* MiB */
};
void archive_progress_begin(struct cli *cli, const char *what, struct archive_progress *ret);
/* all 0: not known. ctx is the progress. */
void archive_progress_show(void *ctx, uint64_t bytes, uint64_t all);
void archive_progress_end(struct archive_progress *p);

#endif

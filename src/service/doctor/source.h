/*
 * source - the seam by which readers get at further files that a configuration names: its ACL, its
 * passwords, what it includes. The command line gives the disk, tests give texts.
 */
#ifndef SERVICE_DOCTOR_SOURCE_H
#define SERVICE_DOCTOR_SOURCE_H

#include "base/buf.h"
#include "base/why.h"

enum {
    SOURCE_BYTES_MAX = 4 << 20, /* of one file */
    SOURCE_LIST_MAX = 32        /* files of an included directory */
};

struct source_entry {
    char name[256];
};

struct source_look {
    uint32_t mode; /* permission bits */
    int64_t changed_wall_ms;
};

struct source {
    void *ctx;
    /* read - the file into *ret (appended), and how it lies there. What it is not: ERR_NOT_FOUND,
     * ERR_DENIED, ERR_TOO_LARGE (over SOURCE_BYTES_MAX), ERR_IO; ERR_NOMEM. */
    enum err (*read)(void *ctx, const char *path, struct buf *ret, struct source_look *ret_look);
    /* look - how it lies there, without reading it. Errors as read. */
    enum err (*look)(void *ctx, const char *path, struct source_look *ret);
    /* list - names of a directory that end in ".conf", sorted. Errors as read. */
    enum err (*list)(void *ctx, const char *path, struct source_entry entries[SOURCE_LIST_MAX],
                     size_t *ret_n);
};

/* source_entries_done - for AUTO. */
void source_entries_done(struct source_entry **entries);

/* source_place - the path of a file that `from` names: absolute ones as they are, else beside it.
 * ERR_TOO_LARGE. */
enum { SOURCE_PATH_BYTES = 1024 };
MUST_USE enum err source_place(const char *from, struct slice named, char dst[SOURCE_PATH_BYTES]);

#endif

/*
 * disk - the seam to a directory of files; the simulator's drops and tears un-synced writes.
 *
 * Paths are relative to the directory the disk was opened on and never leave it ("..", a leading
 * "/" and symbolic links are refused with ERR_DENIED). Offsets and sizes in bytes. A disk that
 * became read-only says ERR_IO. A file stays usable through what is open when another one is
 * renamed over it.
 */
#ifndef BASE_DISK_H
#define BASE_DISK_H

#include "base/buf.h"
#include "base/err.h"
#include "base/random.h"
#include "base/slice.h"

struct disk;
struct disk_file;

/* Every mode can read. Writing modes create (mode 0600) and keep what is there. A file created is
 * found again after a power cut; its contents only after sync. */
enum disk_mode {
    DISK_READ,
    DISK_WRITE, /* write_at */
    DISK_APPEND /* append */
};

struct disk_ops {
    enum err (*open)(struct disk *d, const char *path, enum disk_mode mode, struct disk_file **ret);
    void (*close)(struct disk_file *f);
    enum err (*read_at)(struct disk_file *f, uint64_t at, void *dst, size_t n, size_t *ret_n);
    enum err (*write_at)(struct disk_file *f, uint64_t at, struct slice s); /* all or an error */
    enum err (*append)(struct disk_file *f, struct slice s);                /* all or nothing */
    enum err (*sync)(struct disk_file *f);
    enum err (*size)(struct disk_file *f, uint64_t *ret);
    enum err (*rename)(struct disk *d, const char *from,
                       const char *to); /* and syncs the directory */
    enum err (*remove)(struct disk *d, const char *path);
    /* DISK_WRITE. Makes sure that size bytes of the file can be written without asking for room
     * again; the file is at least that long then, and what was not written reads as zeros.
     * ERR_SPACE: nothing changed. Synced. */
    enum err (*reserve)(struct disk_file *f, uint64_t size);
    /* DISK_WRITE. Bytes from here to the end of the file read as zeros, and others may have the
     * room that was reserved for them; the size stays. NULL: this disk cannot. */
    enum err (*give_back)(struct disk_file *f, uint64_t from);
    /* Behind *ret nothing was ever written, so it reads as zeros; at most the size. What was read
     * may count as written, so ask first. NULL: this disk cannot say. */
    enum err (*written_to)(struct disk_file *f, uint64_t *ret);
    /* A directory in the data directory, mode 0700, durable. OK when it is there. */
    enum err (*make_dir)(struct disk *d, const char *path);
    /* Calls each for every regular file of a directory, in no order; each may not change it. "" or
     * ".": the data directory itself. */
    enum err (*list)(struct disk *d, const char *dir, void (*each)(void *ctx, const char *name),
                     void *ctx);
    /* Bytes of the file system under a directory of it: all, and those that this process could
     * still take. */
    enum err (*space)(struct disk *d, const char *dir, uint64_t *ret_total, uint64_t *ret_free);
    struct disk *(*free)(struct disk *d);
};

struct disk {
    const struct disk_ops *ops;
};

/* disk_system - a real directory by descriptor. Takes dir_fd (closed with the disk). ERR_NOMEM. */
MUST_USE enum err disk_system(int dir_fd, struct disk **ret);

/* Who opens, renames and removes what this process may not (EACCES): a descriptor or 0, else a
 * negative number of an error. flags: those of open(2) that matter, O_CREAT with O_EXCL. */
struct disk_porter {
    void *ctx;
    int (*open)(void *ctx, const char *path, int flags);
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*remove)(void *ctx, const char *path);
};
/* disk_system_with - the same with such a one; its ctx is borrowed for life. */
MUST_USE enum err disk_system_with(int dir_fd, const struct disk_porter *porter, struct disk **ret);

/* disk_load - the whole file appended to *ret. ERR_NOT_FOUND, ERR_TOO_LARGE over limit, ERR_IO,
 * ERR_NOMEM. */
MUST_USE enum err disk_load(struct disk *d, const char *path, size_t limit, struct buf *ret);
/* disk_save - replaces the file by contents: temporary file, sync, rename. After OK it survives a
 * power cut; after an error the old one is untouched. */
MUST_USE enum err disk_save(struct disk *d, const char *path, struct slice contents);
/* disk_shred - random bytes over all of a file that is open for DISK_WRITE, synced. It reaches what
 * the file system and the drive write in place. ERR_IO. */
MUST_USE enum err disk_shred(struct disk *d, struct disk_file *f,
                             const struct random_source *random);

#endif

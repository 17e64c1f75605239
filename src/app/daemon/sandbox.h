/*
 * sandbox - what a part gives up before it reads a stranger's byte: new privileges, all
 * capabilities, core dumps, ptrace, every path but DIR (Landlock), every call that is not on the
 * list (seccomp): no connect, no socket, no execve.
 *
 * A refused call returns EPERM to its caller and is remembered, so that a denial becomes an event
 * instead of a crash. Sanitizer builds leave seccomp out, because the sanitizers' own calls are
 * not on the list; that is decided when compiling, no switch of a running program weakens it.
 */
#ifndef APP_DAEMON_SANDBOX_H
#define APP_DAEMON_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct sandbox_report {
    int landlock_abi; /* 0: this kernel has none */
    bool seccomp;     /* false only in sanitizer builds */
};

/* sandbox_apply - for this process, for good. Call it with one thread, before any other is made.
 * dir_fd is the one directory that stays readable and writable. ERR_IO when the kernel refuses a
 * step it should have (the caller must not go on); a kernel without Landlock is reported, not an
 * error. */
MUST_USE enum err sandbox_apply(int dir_fd, struct sandbox_report *ret);
/* sandbox_apply_below - the same for who needs one folder of a directory: of dir_fd names can be
 * listed and folders walked through, files are opened in folder_fd alone. */
MUST_USE enum err sandbox_apply_below(int dir_fd, int folder_fd, struct sandbox_report *ret);

/* What somebody needs of the file system: a folder or one file, and how. */
enum sandbox_use {
    SANDBOX_WALK, /* of a folder: names are listed, no file in it is opened */
    SANDBOX_READ, /* ... files in it are read; or this one file */
    SANDBOX_WRITE /* ... read, written, made, renamed, removed */
};
struct sandbox_place {
    int fd;
    enum sandbox_use use;
};
enum { SANDBOX_PLACES_MAX = 32 };
/* sandbox_apply_places - the same for who needs these places alone. Without doors it serves nobody:
 * nothing is listened at, and no connection accepted. ERR_LIMIT. */
MUST_USE enum err sandbox_apply_places(const struct sandbox_place *places, size_t n, bool has_doors,
                                       struct sandbox_report *ret);

/* sandbox_become - for root, before exec: empties the bounding and ambient sets and becomes this
 * user and group for good, with no other groups. ERR_IO: do not go on. */
MUST_USE enum err sandbox_become(unsigned uid, unsigned gid);

struct sandbox_denial {
    int call; /* number of the system call */
    unsigned count;
};

/* sandbox_denials - takes what was refused since the last call: at most cap different calls,
 * returns how many were written. Async-signal-safe counters behind it; callable from one thread at
 * a time.
 */
size_t sandbox_denials(struct sandbox_denial *dst, size_t cap);
/* sandbox_call_name - "execve"; static or thread-local text, never NULL. */
const char *sandbox_call_name(int call);

#endif

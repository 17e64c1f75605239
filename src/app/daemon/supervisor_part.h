/*
 * supervisor_part - one process that the supervisor starts and keeps: its descriptors, its birth,
 * its times.
 */
#ifndef APP_DAEMON_SUPERVISOR_PART_H
#define APP_DAEMON_SUPERVISOR_PART_H

#include <sys/types.h>

#include "app/daemon/places.h"

struct part {
    const char *what;        /* "broker": for people */
    const char *flag;        /* the hidden first argument that makes the binary this */
    struct boot boot;        /* what it is told; its numbers of descriptors are those of fds */
    int fds[PLACES_FDS_MAX]; /* in the order of their numbers in the part */
    size_t n_fds;
    /* the present one */
    pid_t child; /* 0: none */
    int link_fd;
    uint64_t started_ms, restart_at_ms, backoff_ms;
    bool is_ready, hung;
    uint64_t alive_at_ms; /* when it is asked again for a sign of life; UINT64_MAX: no more */
    unsigned n_silent;    /* turns since it gave one */
    unsigned silent_max;  /* then it hangs */
};

enum {
    PART_BACKOFF_MS = 100, /* before the first restart; doubles */
    PART_BACKOFF_MAX_MS = 10000,
    PART_STEADY_MS = 60000, /* one that lived so long starts the back-off anew */
    PART_ALIVE_MS = 2000    /* a turn of asking whether it lives */
};

/* part_add_fd - takes fd; returns its number in the part. part_dup_fd - a copy of fd, -1 and
 * nothing added without one. */
int part_add_fd(struct part *p, int fd);
int part_dup_fd(struct part *p, int fd);

/* part_start - forks and executes exe_fd, tells it BOOT. ERR_IO: there is none. */
MUST_USE enum err part_start(struct part *p, int exe_fd, const struct places_user *user,
                             uint64_t now_ms);
/* part_ended - notes how it ended, for BOOT of the next. */
void part_ended(struct part *p, int status);
/* part_back_off - when the next one is to be started; returns how long from now. */
uint64_t part_back_off(struct part *p, uint64_t now_ms);
void part_done(struct part *p);

/*
 * part_watch - from now on, or from a sign of life on, p is asked each PART_ALIVE_MS whether it
 * lives. part_is_alive - a turn of that, at alive_at_ms or later: false, once, when it has been
 * silent for silent_max turns. A turn is one however late it comes: what stood still together with
 * who asks, as in a machine that slept, does not hang.
 */
void part_watch(struct part *p, uint64_t now_ms);
MUST_USE bool part_is_alive(struct part *p, uint64_t now_ms);

#endif

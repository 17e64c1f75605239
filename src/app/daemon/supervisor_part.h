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
    uint64_t alive_ms; /* of one that says so: when it did last; 0: it never did */
    bool is_ready, hung;
};

enum {
    PART_BACKOFF_MS = 100, /* before the first restart; doubles */
    PART_BACKOFF_MAX_MS = 10000,
    PART_HANG_MS = 10000,  /* without a sign of life, of one that gives any */
    PART_STEADY_MS = 60000 /* one that lived so long starts the back-off anew */
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

#endif

/*
 * dialler - the supervisor's side of the courier: for each sink of `export` a pair of sockets, by
 * which the courier's process asks for a connection to that sink's address, and to nowhere else, or
 * for its file (outlet_open.h). No part's sandbox knows connect and socket, and the broker has no
 * such pair.
 */
#ifndef APP_DAEMON_DIALLER_H
#define APP_DAEMON_DIALLER_H

#include "app/daemon/config_export.h"
#include "net/peer.h"

struct dialler {
    size_t n;
    int fds[COURIER_SINKS_MAX]; /* ours */
    struct net_peer to[COURIER_SINKS_MAX];
    struct courier_sink sinks[COURIER_SINKS_MAX]; /* `to` is what the courier asks for */
};

/* dialler_open - their ends are the caller's. ERR_IO. */
MUST_USE enum err dialler_open(const struct config_export *c, struct dialler *d,
                               int ret_theirs[COURIER_SINKS_MAX]);
/* dialler_answer - one request: a socket that connects, or what a sink on this machine is
 * written by; or a byte without one, also for another address than this sink's. Never waits for
 * anybody. */
void dialler_answer(const struct dialler *d, size_t i);
void dialler_close(struct dialler *d);

#endif

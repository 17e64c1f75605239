/*
 * supervisor_sinks - what the supervisor has of `export`: the sinks as they were read last, the
 * sockets by which the courier's process asks for connections to them, and when that process is to
 * be another.
 */
#ifndef APP_DAEMON_SUPERVISOR_SINKS_H
#define APP_DAEMON_SUPERVISOR_SINKS_H

#include "app/daemon/dialler.h"
#include "app/daemon/supervisor_part.h"

struct sinks {
    struct config_export config;
    struct dialler dialler;
    size_t n_other_fds; /* of the courier's part: those that are not for asking */
};

/* sinks_open - the descriptors of the courier's part: its end of a pair with the broker's, which
 * outlives both, and copies of the broker's. Behind them those of the sinks. ERR_IO. */
MUST_USE enum err sinks_open(struct sinks *s, const struct config_export *c, struct part *broker,
                             struct part *courier);
/* sinks_renew - reads the configuration again; what is wrong in it changes nothing. True: the sinks
 * are others now, and so are the part's descriptors. */
bool sinks_renew(struct sinks *s, struct part *courier);

#endif

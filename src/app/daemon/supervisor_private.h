/* supervisor_private - one run of `serve`: opened by supervisor_open.c, its parts kept running by
 * supervisor.c. */
#ifndef APP_DAEMON_SUPERVISOR_PRIVATE_H
#define APP_DAEMON_SUPERVISOR_PRIVATE_H

#include "app/daemon/supervisor_part.h"
#include "app/daemon/supervisor_sinks.h"
#include "base/clock.h"

/* One run of `serve`. */
struct supervisor {
    struct config config;
    struct places_user user;
    struct part broker, signer, scribe, courier;
    struct sinks sinks;
    struct signing_rules rules; /* in force */
    bool is_reloading;
    char dir[4096];         /* as given: the key is opened anew for each part */
    const char *key_option; /* of the command line, or NULL */
    int exe_fd, signal_fd, porter_fd;
    struct clock clock;
    uint64_t stop_at_ms;
    bool is_up; /* all have been ready once */
    bool is_stopping, has_failed;
};

/* supervisor_open - configuration, keys, listeners and the pairs between the parts; says what is
 * wrong. */
MUST_USE enum err supervisor_open(struct supervisor *s, const char *dir, const char *key_option);
/* supervisor_reopen_key - the key of p as it is now: it may have been changed since the start. */
void supervisor_reopen_key(struct supervisor *s, struct part *p);

#endif

/*
 * admin - what the service thread does: it answers the control socket, makes every change of the
 * directory and the policy reach every worker before it answers, ends exceptions when their time is
 * over, takes the workers' events into the audit trail, alerts and numbers, and watches what lasts:
 * the state of the store, the clock.
 *
 *   loop_new(&loop)  ...  broker_new(notify = loop_wake)  ...
 *   admin_new(&setup, &admin); admin_attach(admin, control_fd); broker_start(broker);
 *   for (;;) {
 *       uint64_t next = admin_tick(admin);
 *       loop_turn(loop, loop_timeout(now, next), &n);
 *   }
 */
#ifndef SERVICE_ADMIN_ADMIN_H
#define SERVICE_ADMIN_ADMIN_H

#include <sys/types.h>

#include "base/kept_clock.h"
#include "net/loop.h"
#include "service/broker/broker.h"
#include "service/directory/directory.h"
#include "service/pki/key_source.h"
#include "service/pki/pki.h"
#include "service/watch/audit.h"
#include "service/watch/metrics.h"

enum {
    ADMIN_REALM_WAIT_MS = 5000, /* for every worker to have a change, then the answer says so */
    ADMIN_INQUIRIES_MAX = 4,    /* who look at retained messages at once */
    ADMIN_POLL_MS = 5,          /* between two looks at the workers' epochs while somebody waits */
    ADMIN_KEEP_MS = 3600000,    /* between two savings of times of last use */
    ADMIN_LISTENERS_MAX = METRICS_LISTENERS_MAX,
    ADMIN_HOST_BYTES = 254,
    /* What `check` and the alert of what fits count with. */
    ADMIN_IDLE_CONNECTION_BYTES = 24 * 1024,
    ADMIN_OWN_DESCRIPTORS = 64
};
#define ADMIN_POLICY_FILE "policy.yaml"
/* What `restore` leaves: the time of the backup. Reported once by admin_new and kept under
 * ADMIN_RESTORED_FILE ".seen": whoever holds replay state must begin afresh. */
#define ADMIN_RESTORED_FILE "restored"

struct admin;

struct admin_listener {
    const char *name; /* "mqtts"; borrowed for life */
    enum event_protocol door;
    const char *path; /* of a WebSocket listener; NULL: none. Borrowed for life */
    bool is_plain, takes_v31;
    bool is_oscore; /* CoAP under OSCORE, no DTLS */
    uint16_t port;
};

/* All pointers are borrowed for life, except policy, which is shared. */
struct admin_setup {
    struct loop *loop;
    struct directory *directory;
    struct disk *disk; /* the data directory's: policy.yaml */
    const struct pki *pki;
    struct broker *broker;
    struct log *log; /* NULL: no backups */
    struct keyring *keyring;
    const struct key_source *key_source; /* where the master key comes from */
    struct kept_clock *kept_clock;       /* NULL: the clock is not watched */
    struct audit *audit;
    const struct metrics *metrics; /* NULL: no numbers of the process, no alerts of what fills */
    uint64_t memory_bytes;         /* the ceiling of the configuration; 0: none */
    const struct policy *policy;   /* in force, as in the broker's first realm */
    const struct trust *trust;     /* in force; NULL: no tokens; shared */
    struct role_limits role_start; /* what a role of policy.yaml starts with */
    struct clock clock;
    struct random_source random;
    const char *host;                       /* that bundles name */
    const struct admin_listener *listeners; /* in the order of entrance.index */
    size_t n_listeners;                     /* at most ADMIN_LISTENERS_MAX */
    uid_t uid;           /* who may use the control socket besides root: the daemon's own */
    const char *sandbox; /* one line for `status`, or NULL */
};

/* admin_new - reports the exceptions in force and ends those whose time is over. ERR_NOMEM, ERR_IO.
 */
MUST_USE enum err admin_new(const struct admin_setup *s, struct admin **ret);
struct admin *admin_free(struct admin *a);
AUTOFREE(admin, admin_free)

/* admin_attach - serves the listening control socket (borrowed) in the loop. ERR_NOMEM, ERR_IO. */
MUST_USE enum err admin_attach(struct admin *a, int control_fd);
/* admin_adopt - one connected control socket; takes fd. As control_server_adopt. */
MUST_USE enum err admin_adopt(struct admin *a, int fd);

/* admin_tick - after every turn of the loop: events of the workers, late answers, ends of
 * exceptions, the audit trail. Returns the monotonic time of the next one at the latest. */
uint64_t admin_tick(struct admin *a);

/* admin_event - notes an event of this thread's own making (crash_recovery, exposure, ...). */
void admin_event(struct admin *a, const struct event *e);

/* admin_reload_policy - reads DIR/policy.yaml again (SIGHUP) and puts it in force; after an error
 * the old one stays, *why says file:line:column, and an event is noted. ERR_CONFIG, ERR_IO,
 * ERR_NOMEM. *ret_epoch: when broker_realm_epoch has reached it every worker has it. */
MUST_USE enum err admin_reload_policy(struct admin *a, uint64_t *ret_epoch, struct why *why);
/* admin_set_role_start - what roles start with, from a reloaded configuration; before
 * admin_reload_policy. */
void admin_set_role_start(struct admin *a, const struct role_limits *start);
/* admin_set_trust - whose tokens count from here on (shares; NULL: nobody's); the workers are told,
 * whatever becomes of the policy. Who came in by a token of before stays until
 * the end of that token. */
void admin_set_trust(struct admin *a, const struct trust *trust);
/* admin_set_pki - after the server's certificate was renewed: borrowed for life. */
void admin_set_pki(struct admin *a, const struct pki *pki);

#endif

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
#include "net/tls_staple.h"
#include "net/tls_tickets.h"
#include "service/broker/broker.h"
#include "service/directory/directory.h"
#include "service/enrol/enrol.h"
#include "service/pki/authority.h"
#include "service/pki/key_source.h"
#include "service/pki/pki.h"
#include "service/respond/respond.h"
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
    bool is_loopback; /* without TLS, and nobody but this machine reaches it: no exception opens it
                       */
    bool is_oscore;   /* CoAP under OSCORE, no DTLS */
    bool is_stream;   /* CoAP over TCP */
    uint16_t port;
    const char *bind; /* "[::]:5684", as configured: port says where it is. Borrowed for life */
};

/* One of sallyport.yaml that nothing listens on; borrowed for life. */
struct admin_unopened {
    const char *name, *door, *bind, *why;
};

/* All pointers are borrowed for life, except policy, which is shared. */
struct admin_setup {
    struct loop *loop;
    struct directory *directory;
    struct disk *disk; /* the data directory's: policy.yaml */
    const struct pki *pki;
    struct authority *authority; /* who certifies devices */
    struct broker *broker;
    struct log *log; /* NULL: no backups */
    struct keyring *keyring;
    const struct key_source *key_source; /* where the master key comes from */
    struct kept_clock *kept_clock;       /* NULL: the clock is not watched */
    struct tls_tickets *tickets;         /* rotated and saved here; NULL: none */
    struct tls_staple *staple;           /* kept good here; NULL: nothing is stapled */
    const struct enrol_makers *makers;   /* NULL: none */
    struct audit *audit;
    const struct metrics *metrics; /* NULL: no numbers of the process, no alerts of what fills */
    const struct policy *policy;   /* in force, as in the broker's first realm */
    const struct trust *trust;     /* in force; NULL: no tokens; shared */
    const struct crl_set *extra;   /* an operator's revocation lists; NULL: none; shared */
    struct role_limits role_start; /* what a role of policy.yaml starts with */
    const struct respond_rules *responses; /* NULL: respond_rules_preset; copied */
    uint32_t renewal_grace_s; /* of the limits; those of a reload come in its edition */
    struct clock clock;
    struct random_source random;
    const char *host;                       /* that bundles name */
    const struct admin_listener *listeners; /* in the order of entrance.index */
    size_t n_listeners;                     /* at most ADMIN_LISTENERS_MAX */
    const struct admin_unopened *unopened;  /* for `status` */
    size_t n_unopened;
    uid_t uid;           /* who may use the control socket besides root: the daemon's own */
    const char *sandbox; /* one line for `status`, or NULL */
    /* DIR/pki holds another certificate of the server: it is to be taken, by admin_set_certificate.
     * What it says besides OK is the answer to who asked for it. NULL: nobody does. */
    void *ctx;
    enum err (*certificate_changed)(void *ctx, struct why *why);
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

/* admin_hold - the same for what lasts until it is mended: its alert stays open, however old, until
 * admin_release of this state (a static name; fine when it is not held). */
void admin_hold(struct admin *a, const char *state, const struct event *e);
void admin_release(struct admin *a, const char *state);

/* What a reload has read: none of it is in force before admin_reload, all of it is then. */
struct admin_reload {
    const struct policy *policy;           /* shared */
    const struct trust *trust;             /* shared; NULL: no tokens are taken */
    const struct crl_set *extra;           /* as the setup's; shared */
    struct role_limits role_start;         /* as the setup's */
    const struct pki *pki;                 /* as the setup's, in its place */
    const struct edition *edition;         /* shared */
    const struct respond_rules *responses; /* as the setup's; NULL: as before; copied */
    struct secret_ages ages;
};
/* admin_reload - in force, and on its way to the workers, who take all of it in one step: each has
 * it when broker_realm_epoch has reached *ret_epoch and broker_edition the edition's number. Who
 * came in by a token of before stays until the end of that token. ERR_IO, ERR_NOMEM: it could not
 * be put on record; nothing changed. */
MUST_USE enum err admin_reload(struct admin *a, const struct admin_reload *n, uint64_t *ret_epoch);
/* admin_set_courier - whose numbers `metrics` shows, too; outlives a. NULL: none. */
struct courier_view;
void admin_set_courier(struct admin *a, const struct courier_view *c);

/* admin_set_certificate - the same for another certificate of the server, with the edition that
 * shows it; both as above. */
void admin_set_certificate(struct admin *a, const struct pki *pki, const struct edition *edition);

#endif

/*
 * admit - who may begin: what a worker spends on those who have not logged in.
 *
 * Before the first byte of TLS: the budget of the network they come from (prefix_table.h) and the
 * pool of strangers (strangers.h). Then the line: handshakes take their steps in order, those that
 * have begun first, within a share of each turn that live connections do not feel; while the line
 * is long, or many have just come, accepting rests and the kernel's queue holds the others. Private
 * to the driver.
 */
#ifndef SERVICE_BROKER_ADMIT_H
#define SERVICE_BROKER_ADMIT_H

#include "service/broker/prefix_table.h"
#include "service/broker/strangers.h"
#include "service/broker/worker.h"

enum {
    ADMIT_TURN_US = 2000,   /* of one turn for TLS handshakes; one step is always taken */
    ADMIT_LINE_MAX = 64,    /* in line: accepting rests until half of it has been served */
    ADMIT_FRESH_MAX = 64,   /* strangers younger than ADMIT_FRESH_MS: the same */
    ADMIT_FRESH_LEAST = 4,  /* when connect_burst is small */
    ADMIT_FRESH_MS = 250,   /* so long a stranger may hold up those who come after it */
    ADMIT_DTLS_A_TURN = 16, /* new DTLS handshakes; a client asks again after a second */
    ADMIT_TELL_MS = 10 * 1000
};

struct driver;
struct driver_entrance;
struct door;
struct link;

/* A stranger's part of its link; { 0 } is not admitted by anybody. */
struct admitted {
    struct stranger stranger;
    struct list_node fresh, line;
    struct net_prefix prefix;
    uint64_t fresh_until_ms;
    bool is_charged; /* its network's token is out */
    bool has_begun;  /* the first step of its handshake is done */
    bool is_held;    /* its socket is not watched while it is in line */
};

struct admit {
    struct prefix_table *prefixes;
    struct strangers strangers;
    struct list fresh;   /* by age */
    struct list line[2]; /* handshakes that have begun, and those that have not */
    size_t n_fresh, n_line, fresh_max;
    unsigned n_dtls; /* begun in this turn */
    bool is_resting; /* the listeners do not accept */
    uint64_t n_crowded_out, n_pauses_told, tell_crowd_at_ms, tell_pause_at_ms;
};

/* admit_init - ERR_NOMEM; admit_done is fine then, and on { 0 }. */
MUST_USE enum err admit_init(struct driver *d, const struct worker_setup *worker);
void admit_done(struct driver *d);

/* admit_knock - may a connection from there begin? An event and a count when not. */
bool admit_knock(struct driver *d, const struct driver_entrance *e, const struct net_peer *peer);
/* admit_enter - the link, which admit_knock let in, joins the strangers; when they are too many,
 * one of them is closed. ERR_NOMEM. */
MUST_USE enum err admit_enter(struct link *l, const struct net_peer *peer);
/* admit_known - it has logged in. Fine again and again. */
void admit_known(struct link *l);
/* admit_gone - it has ended, or belongs to another worker. Fine again and again. */
void admit_gone(struct link *l);
/* admit_wait - puts a link whose handshake has something to read in line. */
void admit_wait(struct link *l);

/* admit_knock_dtls, admit_known_dtls - the same for a DTLS peer that has shown its cookie. */
bool admit_knock_dtls(struct driver *d, const struct driver_entrance *e,
                      const struct net_peer *peer);
void admit_known_dtls(struct driver *d, const struct net_peer *peer);

/* admit_turn - once a turn, after live connections were served: the line, rest, events. */
void admit_turn(struct driver *d);
/* admit_deadline - when admit_turn must run; 0: at once. */
uint64_t admit_deadline(const struct driver *d);

#endif

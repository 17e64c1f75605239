/*
 * admit - who may begin: what a worker spends on those who have not logged in.
 *
 * Before the first byte of TLS: the budget of the network they come from (prefix_table.h) and the
 * pool of strangers (strangers.h). Who comes when its network's budget is held by others who are
 * still logging in waits outside for them: all clients of a plant behind one address come back at
 * once after a restart, and are no flood. Then the line (line.h): handshakes take their steps
 * within a share of each turn that live connections do not feel. While the line is long, or those
 * outside get in one after the other, accepting rests and the kernel's queue holds the rest.
 */
#ifndef SERVICE_BROKER_ADMIT_H
#define SERVICE_BROKER_ADMIT_H

#include "service/broker/duty.h"
#include "service/broker/line.h"
#include "service/broker/prefix_table.h"
#include "service/broker/strangers.h"
#include "service/broker/worker.h"

enum {
    /* Of one turn for TLS handshakes: half of what live connections took in the last one, within
     * these; one step at least. A short turn is what live connections feel of a storm. */
    ADMIT_TURN_US = 2000,
    ADMIT_TURN_LEAST_US = 500,
    /* And of a worker's time, while messages come and go: so much for handshakes and tickets, the
     * rest of the processor is for who is connected. Without messages for so long: all of it. */
    ADMIT_PERCENT = 25,
    ADMIT_LIVE_MS = 1000,
    ADMIT_LINE_MAX = 64,        /* in line: accepting rests until half of it has been served */
    ADMIT_OUTSIDE_REST = 32,    /* outside: the same, while they get in */
    ADMIT_PATIENCE_MS = 2000,   /* nobody outside got in for so long: they are no restart */
    ADMIT_OUTSIDE_PREFIX = 128, /* outside, of one network */
    ADMIT_LOOK_MS = 50,         /* budgets grow by themselves: so often those outside try again */
    ADMIT_DTLS_A_TURN = 16,     /* new DTLS handshakes; a client asks again after a second */
    ADMIT_TELL_MS = 10 * 1000
};

struct driver;
struct driver_entrance;
struct door;
struct link;

/* A stranger's part of its link. */
struct admitted {
    struct link *link;
    struct stranger stranger;
    struct list_node line;
    struct net_prefix prefix;
    bool is_charged; /* its network's token is out */
    bool has_begun;  /* the first step of its handshake is done */
    bool is_held;    /* its socket is not watched while it is in line */
};

struct admit {
    struct prefix_table *prefixes;
    struct strangers strangers;
    struct strangers waiting; /* outside, by network */
    struct list outside;      /* and by age */
    struct line line;         /* TLS handshakes */
    uint64_t preauth_ms;
    uint64_t spent_us;    /* on the line in this turn */
    uint64_t live_us;     /* on everything else in the last one */
    struct duty duty;     /* on it and on tickets, of all time */
    uint64_t traffic;     /* messages so far */
    uint64_t live_at_ms;  /* when the last of them was; 0: none yet */
    uint64_t look_at_ms;  /* those outside try again */
    uint64_t moved_at_ms; /* the last time that one got in whom somebody outside waited for */
    unsigned n_dtls;      /* begun in this turn */
    bool is_resting;      /* the listeners do not accept */
    uint64_t n_crowded_out, n_pauses_told, tell_crowd_at_ms, tell_pause_at_ms;
};

/* admit_init - ERR_NOMEM; admit_done is fine then, and on { 0 }. */
MUST_USE enum err admit_init(struct driver *d, const struct worker_setup *worker);
void admit_done(struct driver *d);
/* admit_follow - other limits, from a reload. ERR_NOMEM: call again; what is new already does no
 * harm. */
MUST_USE enum err admit_follow(struct driver *d, const struct limits *l);

/* admit_come - a connection from there: takes fd. It begins (link_open), waits outside, or is reset
 * and counted. */
void admit_come(struct driver *d, const struct driver_entrance *e, int fd,
                const struct net_peer *peer);
/* admit_enter - the link, whose token was taken, joins the strangers; when they are too many, one
 * of them is closed. ERR_NOMEM. */
MUST_USE enum err admit_enter(struct link *l, const struct net_peer *peer);
/* admit_spoke - its handshake, if there is one, is done, and the first bytes of its protocol are
 * there: its network gets its token back, and what it says is judged by other limits. Fine again
 * and again. */
void admit_spoke(struct link *l);
/* admit_known - it has logged in. Fine again and again. */
void admit_known(struct link *l);
/* admit_gone - it has ended, or belongs to another worker. Fine again and again. */
void admit_gone(struct link *l);
/* admit_wait - puts a link whose handshake has something to read in line. What its first bytes
 * offer is looked at here, once. */
void admit_wait(struct link *l);

/* admit_knock_dtls, admit_known_dtls - a DTLS peer that has shown its cookie, or a plain one its
 * Echo: may it begin? And it has logged in. It never waits: it asks again by itself. */
bool admit_knock_dtls(struct driver *d, const struct driver_entrance *e,
                      const struct net_peer *peer);
void admit_known_dtls(struct driver *d, const struct net_peer *peer);

/* admit_may - has the work for strangers, and for those who have just come, time left? admit_spend
 * - it took so much. admit_again_ms - when it has time again; 0: now. */
bool admit_may(struct driver *d);
void admit_spend(struct driver *d, uint64_t us);
uint64_t admit_again_ms(const struct driver *d);

/* admit_turn - once a turn, after live connections were served: the line, rest, events. */
void admit_turn(struct driver *d);
/* admit_measured - how long the turn took as a whole. */
void admit_measured(struct driver *d, uint64_t turn_us);
/* admit_deadline - when admit_turn must run; 0: at once. */
uint64_t admit_deadline(const struct driver *d);

#endif

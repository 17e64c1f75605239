/*
 * wmsg - what threads of the broker tell a worker, through its rings. One FIFO ring for each pair,
 * so that what one thread says arrives in the order it was said; everything rests on that
 * (docs/ORDER.md, rules 3 to 5).
 */
#ifndef SERVICE_BROKER_WMSG_H
#define SERVICE_BROKER_WMSG_H

#include <stdatomic.h>

#include "core/msg.h"
#include "service/broker/edition.h"
#include "service/broker/realm.h"

enum wmsg_kind {
    WMSG_HANDOVER, /* a connection comes home; takes `handover` */
    WMSG_INTEREST, /* worker `from` has (any, durable) for `text`; takes text */
    WMSG_MEMBER,   /* member `id` (session `token`) of the shared subscription `text` is there with
                      (connected, durable), or (any false) not any more; takes text */
    WMSG_BARRIER,  /* answer BARRIER_ACK with `id` when all before this has been taken in */
    WMSG_BARRIER_ACK,
    WMSG_PUBLISH, /* deliver `msg` (owns one reference) to local subscribers; index it when retained
                   */
    WMSG_TOKEN,   /* what was asked under `token` is committed here too, or has failed */
    WMSG_VERIFIED, /* answer of the verify pool; takes `verified` */
    WMSG_BROWSE,   /* `browse` is the worker's until it is ready; owns one reference */
    WMSG_REALM, /* a new realm, and with a reload its edition; answer through worker_realm_epoch */
    WMSG_ASIDE, /* an administrator's question; takes `ask`, which says when it is done */
    WMSG_DRAIN, /* tell all clients that the server goes down, and close */
    WMSG_BODY,  /* answer of the log; takes `reading` */
    WMSG_COMMAND,  /* takes `note` */
    WMSG_HANDED,   /* for a door, from the same door of another worker; takes `handed` */
    WMSG_ENROLLED, /* what the service thread has decided; takes `enrolment` */
    WMSG_ROSTER,   /* takes `roster` */
    WMSG_RENEWED,  /* answer of the service thread; takes `renewal` */
    WMSG_SCRAPED,  /* the same; takes `scrape` */
    WMSG_ANNOUNCE  /* the server itself publishes `msg` (owns the only reference) */
};

struct handover;
struct aside_ask;
struct verified;
struct browse;
struct command_note;
struct reading;
struct handed;
struct enrolment;
struct roster_note;
struct renewal;
struct scrape;

struct wmsg_text {
    size_t n;
    uint8_t bytes[];
};

/* Which members of which groups a message goes to. Shared by reference, and not changed any more.
 */
struct wmsg_place {
    uint64_t member, group; /* the member's id, the hash of its group's text */
    uint8_t n_hops;         /* how often a worker found another member than was chosen */
};

struct wmsg_chosen {
    atomic_uint refs;
    size_t n;
    struct wmsg_place at[];
};

struct wmsg {
    enum wmsg_kind kind;
    uint16_t from;      /* index of the sending worker, where it matters */
    bool any;           /* INTEREST, MEMBER */
    bool durable;       /* INTEREST, MEMBER; PUBLISH: its body waits for a deliver record of worker
                           `debtor`, which who takes this in writes */
    bool connected;     /* MEMBER */
    bool is_for_groups; /* PUBLISH: for the members in `chosen` alone, wherever they are */
    uint8_t debtor;     /* PUBLISH: this worker, or the one that passed it on */
    uint8_t asker;      /* PUBLISH: the worker of the body, and of `token` */
    uint64_t id;        /* BARRIER, BARRIER_ACK, MEMBER; TOKEN: not 0 when it could not be done */
    uint64_t token;     /* 0: nobody waits for the commit */
    struct wmsg_chosen *chosen; /* PUBLISH: one reference; NULL: no member of a group */
    union {
        struct handover *handover;
        struct wmsg_text *text;
        const struct msg *msg;
        struct verified *verified;
        const struct realm *realm;
        struct aside_ask *ask;
        struct browse *browse;
        struct reading *reading;
        struct command_note *note;
        struct handed *handed;
        struct enrolment *enrolment;
        struct roster_note *roster;
        struct renewal *renewal;
        struct scrape *scrape;
    };
    const struct edition *edition; /* REALM: one reference; NULL: as it was */
};

/* The verify pool's work: one password of one connection. Heap; the password is wiped on release.
 */
struct verified {
    uint64_t conn;
    unsigned worker;
    const struct realm *realm;         /* owned reference: the directory it was checked against */
    enum err result;                   /* OK, ERR_AUTH, ERR_DENIED, ERR_NOMEM */
    const struct principal *principal; /* owned reference on OK */
    uint64_t credential;               /* on OK */
    char name[PRINCIPAL_NAME_MAX + 1];
    struct slice password; /* points into bytes */
    uint8_t bytes[];
};

/* verified_new - shares realm, copies name (cut to its field when too long: it then matches nobody)
 * and password. */
MUST_USE enum err verified_new(uint64_t conn, unsigned worker, const struct realm *realm,
                               struct slice name, struct slice password, struct verified **ret);
struct verified *verified_free(struct verified *v);
/* verified_check - the slow part, run by the pool's thread: fills result and principal. */
void verified_check(struct verified *v, int64_t now_wall_ms);

struct wmsg_chosen *chosen_ref(struct wmsg_chosen *c);   /* NULL is fine */
struct wmsg_chosen *chosen_unref(struct wmsg_chosen *c); /* NULL is fine; returns NULL */

/* wmsg_done - releases what an undelivered message owns. */
void wmsg_done(struct wmsg *m);

#endif

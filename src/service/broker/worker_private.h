/* worker_private - what a worker has, and what each of its files may call; shared by the files of
 * this folder only. Its parts have headers of their own: conn_, login_, sessions_, route_,
 * subscribe_, replay_, will_, commit_, record_, outbox_, aside_, ceiling_ and group_private.h. */
#ifndef SERVICE_BROKER_WORKER_PRIVATE_H
#define SERVICE_BROKER_WORKER_PRIVATE_H

#include "base/buf.h"
#include "base/event.h"
#include "base/list.h"
#include "base/map.h"
#include "base/wheel.h"
#include "core/account.h"
#include "core/passage.h"
#include "core/people.h"
#include "core/pressure.h"
#include "engine/mqtt_server.h"
#include "service/broker/command.h"
#include "service/broker/lane.h"
#include "service/broker/numbers.h"
#include "service/broker/roster.h"
#include "service/broker/worker.h"

struct browse;
struct conn;
struct filters;
struct groups;
struct handed;
struct outbox;
struct pending;
struct retained;
struct token;

enum {
    SHORT_RETRY_MS = 10, /* after which what there was no memory for is tried again */
    WORKER_ID_BITS = 6   /* of ids that never come again: which worker gave them */
};

struct worker {
    struct worker_setup setup;
    uint64_t now_ms;
    int64_t wall_ms;
    const struct realm *realm;
    struct people people; /* of whatever realm is the newest: epoch.c */
    _Atomic uint64_t realm_epoch;

    struct conn **conns; /* slots */
    size_t n_slots, n_conns;
    uint32_t next_generation;
    struct list dirty, paused, replaying, browses; /* replaying: struct replays that wait */
    size_t replay_steps;                           /* left in this turn */
    struct wheel conn_wheel, session_wheel;

    struct map accounts;    /* by principal id */
    struct queue_load load; /* of all sessions */
    struct map publishers;  /* struct publisher by principal id, of this epoch */
    struct filters *filters;
    struct groups *groups;
    struct retained *retained;
    uint64_t next_session, next_body, next_set_aside; /* see worker_id */
    uint64_t next_barrier_id, next_anonymous_id, next_member;
    size_t n_sessions, n_held;

    struct token *tokens;
    uint32_t n_tokens, free_token; /* free_token: index + 1 */
    struct pending *pending;       /* FIFO ring */
    size_t pending_at, pending_n, pending_cap;
    uint64_t last_lsn, handed_lsn, committed;
    uint64_t called_lsn; /* up to here the log was asked to commit, not only handed over */
    uint64_t call_at_ms; /* when to ask for the rest; UINT64_MAX: there is none */

    uint64_t wants_all; /* bits of workers whose interest is not known in full */
    struct list barriers;
    struct outbox *outboxes; /* [n_workers] */
    bool has_held;           /* some outbox is */
    uint64_t wakes;
    uint64_t fanned_bytes;  /* msg_cost of what was queued since nobody was dirty, each once */
    uint64_t n_wide;        /* deliveries of messages to WORKER_WIDE_HITS subscribers or more */
    uint64_t rest_until_ms; /* nothing dirty is asked for before */
    uint64_t next_sweep_ms;
    bool has_tired_accounts; /* some that nobody uses stay until their budgets are full */
    bool has_stale_accounts; /* some whose rights could not be renewed for want of memory */
    struct decision why;     /* scratch: of the question that was asked last */
    struct buf record;       /* scratch: entries of a deliver record */
    struct buf hits;         /* scratch: struct queued, what the record is about */
    bool is_short;           /* a ring holds what there was no memory for */
    bool is_draining;
    const struct edition *edition;      /* owned reference; NULL: as setup says */
    uint32_t packet_most, preauth_most; /* bytes, of all editions: who came in by an older one may
                                         * send what that one allowed */
    struct mqtt_wire_limits wire;       /* of every codec here */
    struct slice *feeding;              /* what conn_feed has not used yet, while it runs */

    struct list asides; /* messages that were set aside, by id; aside.c's */
    size_t n_asides;
    uint64_t aside_bytes;
    struct list orphans; /* orphan.c's, */
    size_t n_orphans;
    struct list asks;       /* struct aside_ask that wait for the commit of what they changed */
    enum pressure pressure; /* of memory, as this worker saw it last */
    uint64_t full_since_ms, next_shed_ms, turned_away_said_ms;
    bool is_worst_told;     /* the other workers know what its worst consumer holds */
    unsigned n_trims;       /* of the ceiling, as this worker did its part of them */
    uint32_t n_turned_away; /* strangers, since that was said */
    struct list complaints; /* sessions with drops that were not said yet */
    struct list shedders;   /* of other doors */

    bool is_spilling, is_spill_through; /* the second: all sessions were looked at */
    uint64_t spill_at_ms;               /* when the next look is due */
    size_t spill_account;               /* where it goes on */
    struct list thirsty;                /* struct session_fetch */
    uint64_t thirst_at_ms;              /* when they are looked at in any case */
    uint32_t n_readings;                /* under way, */
    uint64_t reading_bytes;             /* and what they bring */
    struct numbers numbers;             /* of OSCORE, of those whose home this is */
    struct list handed, enrolled;       /* struct handed, enrolment; until a door takes it */
    struct list scraped;                /* struct scrape; the same */
    struct list usages;                 /* of accounts that have something to tell, */
    uint64_t usage_at_ms;               /* at this time */
    struct desk desk;                   /* commands for devices whose home is here */
    struct roster roster;               /* the resource directory */
    struct lane_pace pace;              /* of renewals */

    struct list observers_dirty;
    uint64_t *done; /* cookies, FIFO */
    size_t done_at, done_n, done_cap;
};

/* report.c */
struct event event_of(const struct worker *w, enum event_category category, const struct conn *c);
/* report_claim - the event is about somebody of this name, as far as the peer says. */
void report_claim(struct event *e, struct slice name);
void worker_report(struct worker *w, const struct event *e);
/* report_store - what the journal would not take: a full disk, or one that fails. */
void report_store(struct worker *w, const struct conn *c, struct slice target, enum err err,
                  const char *what);
void report_fault(struct worker *w, const struct conn *c, const struct mqtt_fault *fault,
                  const char *packet);

/* epoch.c */
/* recheck_subs - subscriptions that no grant covers any more end. */
void recheck_subs(struct worker *w, struct account *a);
void realm_changed(struct worker *w, const struct realm *realm);
/* people_init - whom gateways speak for, out of w->realm as it is when they are asked. */
void people_init(struct worker *w);
/* accounts_retry - rights that could not be renewed, once more. */
void accounts_retry(struct worker *w);
void worker_drain(struct worker *w);
/* drain_reason - why the connection of a client that is known ends, or is not opened, at a stop. */
enum mqtt_reason drain_reason(const struct worker *w);

/* browse.c */
/* browse_arrived - takes a reference. browses_wait - some are at work: a turn is due. browses_end -
 * the worker ends. */
void browse_arrived(struct worker *w, struct browse *b);
void browses_turn(struct worker *w);
bool browses_wait(const struct worker *w);
void browses_end(struct worker *w);

/* handed.c */
/* handed_arrived - takes h, for its door. */
void handed_arrived(struct worker *w, struct handed *h);
void handed_clear(struct worker *w);

/* topic_is_reserved - what is asked of the server itself (the lane, the desk) is asked below such a
 * topic, so all others pass without a question. */
static inline bool topic_is_reserved(struct slice topic)
{
    return topic.n > 0 && topic.p[0] == '$';
}

static inline struct counters *counts(struct worker *w)
{
    return w->setup.counters;
}

/* worker_id - an id that no worker of this process gives again, nor one after a restart that began
 * above the highest one on record. */
static inline uint64_t worker_id(const struct worker *w, uint64_t *counter)
{
    return ++*counter << WORKER_ID_BITS | w->setup.index;
}

static inline uint64_t others(const struct worker *w)
{
    unsigned n = w->setup.n_workers;
    uint64_t all = n >= 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
    return all & ~((uint64_t)1 << w->setup.index);
}

#endif

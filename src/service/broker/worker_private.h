/* worker_private - the parts of a worker, shared by the files of this folder only. */
#ifndef SERVICE_BROKER_WORKER_PRIVATE_H
#define SERVICE_BROKER_WORKER_PRIVATE_H

#include "base/buf.h"
#include "base/map.h"
#include "base/wheel.h"
#include "core/groups.h"
#include "core/journal_record.h"
#include "core/passage.h"
#include "engine/mqtt_gate.h"
#include "engine/mqtt_server.h"
#include "security/password/scram.h"
#include "service/broker/aside.h"
#include "service/broker/browse.h"
#include "service/broker/command.h"
#include "service/broker/handover.h"
#include "service/broker/lane.h"
#include "service/broker/numbers.h"
#include "service/broker/roster.h"
#include "service/broker/worker.h"

enum {
    OVERFLOW_PAUSE =
        4096, /* messages waiting for a full ring: publishers are not read above this */
    OVERFLOW_DROP = 16384, /* QoS 0 is dropped above this */
    JOURNAL_LAG_PAUSE =
        65536, /* records appended and not committed: publishers are not read above this */
    MARKER_SWEEP_MS = 1000,
    EXPIRE_BATCH = 1000,
    CLOSE_LINGER_MS = 5000, /* for the last words of a connection to leave */
    FILTER_COPY_MAX = 65536,
    PAUSED_TICK_MS = 1000,
    SUBACK_HOLD_MS = 1000,    /* a PUBLISH waits for the SUBACK before it so long at most */
    WILL_RETRY_MS = 1000,     /* a will that found no room */
    SESSIONS_HELD_MAX = 1024, /* of a worker: over, but for wills that found no room */
    ORPHANS_MAX = 4096,       /* of a worker */
    ORPHAN_RETRY_MS = 1000,   /* what waits for room in the store */
    SHORT_RETRY_MS = 10,      /* after which what there was no memory for is tried again */
    CODES_MAX = 64, /* filters of one packet; over limits.filters_per_packet in any sane setting */
    HANDOVER_RECORDS = 256,     /* appended within one input: given to the log in between */
    HANDOVER_BYTES = 64 * 1024, /* of one packet: the same, so that the other workers see it */
    SETTLED_WAIT_MS = 20, /* how long what only settles waits for company on its way to the log */
    WORKER_ID_BITS = 6,   /* of ids that never come again: which worker gave them */
    UNREAD_SLACK = 256 * 1024 /* read from the socket before back-pressure was felt */
};

/* ---- connections ---- */

enum conn_phase {
    CONN_FREE,
    CONN_GATE,   /* before CONNECT */
    CONN_ASKED,  /* the verify pool has a question */
    CONN_OPEN,   /* mqtt_server runs, a session is bound */
    CONN_CLOSING /* its last words are to leave, then finished */
};

/* The certificate that a connection showed, as far as who it is depends on it. */
struct shown {
    struct digest spki, cert_id;
    char name[PRINCIPAL_NAME_MAX + 1]; /* empty where it has come to its home: it was judged */
};

/* How a connection came in, if not anonymous or by a password alone: it goes along to its home. */
struct conn_login {
    struct lane lane;        /* the certificate it came in by, and its renewal */
    struct shown *shown;     /* owned; NULL: no certificate */
    struct scram *scram;     /* owned: a login or re-authentication that waits for its proof */
    int64_t token_wall_ms;   /* end of the token that let it in; 0: none did */
    uint64_t token_until_ms; /* the same, monotonic, while OPEN; UINT64_MAX: none */
};

struct conn {
    uint64_t handle; /* generation << 24 | slot; 0 when free */
    const struct entrance *entrance;
    void *transport;
    struct mqtt_gate *gate;
    struct mqtt_server *engine;
    struct conn_login *login; /* how it came in; never NULL: LOGIN_NONE, where nothing is written */
    uint64_t credential;      /* that let it in; 0: not yet, anonymous, or by token */
    struct account *account;  /* while OPEN */
    struct session *session;  /* while OPEN */
    struct buf *unread; /* the unfinished packet, or what back-pressure keeps; NULL: nothing */
    struct timer timer; /* pre-authentication deadline, then keep-alive */
    struct list_node dirty, paused;
    uint64_t backlog_bytes;   /* written, and not taken by its socket */
    struct replays *replays;  /* retained messages for its new subscriptions; NULL: none */
    uint64_t held_until_ms;   /* see n_subacks */
    uint64_t paused_until_ms; /* UINT64_MAX: until a ring or the journal drains */
    uint64_t hello_lsn;       /* CONNACK, and all behind it, waits until this is committed */
    uint64_t reported_rate_ms;
    const char *peer;   /* of its transport */
    uint32_t n_subacks; /* that wait for their barriers: a PUBLISH behind them waits, too, but not
                           longer than until held_until_ms */
    enum conn_phase phase : 8;
    enum mqtt_reason closed_for : 8; /* MQTT_SUCCESS: nothing that we said */
    bool is_paused : 1;              /* the publisher waits for budget, ring or journal */
    bool is_held : 1;                /* the same, for a disk that is slow: see hold_takes */
    bool is_stalled : 1; /* the engine waits for answers or for a reader; `unread` holds packets */
    bool is_resumed : 1, is_clean_end : 1, has_left : 1, has_published : 1, is_abandoned : 1,
        is_shed : 1;
};

/* ---- who waits for a commit ---- */

enum token_kind { TOKEN_ANSWER, TOKEN_DOOR };

struct token {
    uint32_t generation;
    uint32_t n_open; /* places that have not committed; 0 = free */
    enum token_kind kind;
    uint64_t conn; /* TOKEN_ANSWER */
    uint32_t ask;
    uint16_t packet_id; /* QoS 2 of `session`: a repeated PUBLISH waits for the same commits */
    uint64_t session;
    uint64_t cookie; /* TOKEN_DOOR */
};

enum pending_action {
    PENDING_TOKEN,   /* one place of a token of ours is committed */
    PENDING_REMOTE,  /* the same for a token of worker `worker` */
    PENDING_ANSWER,  /* answer an ask of a connection */
    PENDING_BARRIER, /* a SUBACK waits for its subscriptions too */
    PENDING_WAKE     /* deliveries of a connection waited for this */
};

struct pending {
    uint64_t lsn;
    enum pending_action action;
    uint32_t ask, worker;
    uint64_t id; /* token, connection or barrier */
};

/* ---- barriers ---- */

enum barrier_kind { BARRIER_SUBACK, BARRIER_UNSUBACK, BARRIER_MARKERS, BARRIER_OBSERVE };

struct barrier_filter {
    struct sub *sub; /* NULL when refused, or removed meanwhile */
    uint8_t code;
    bool replay; /* retained messages follow */
};

struct barrier {
    struct list_node node;
    uint64_t id;
    uint64_t waiting; /* bits of workers that have not answered; the own one: the journal */
    enum barrier_kind kind;
    uint64_t conn; /* SUBACK, UNSUBACK */
    uint64_t lsn;  /* of a durable session: its records must be committed */
    uint16_t packet_id;
    uint64_t number; /* MARKERS: retained numbers up to this have arrived then */
    uint64_t cookie; /* OBSERVE */
    size_t n_filters;
    struct barrier_filter filters[];
};

/* Those of a connection. */
struct replays {
    struct list list;         /* struct replay */
    struct list_node waiting; /* while they wait for their time, */
    uint64_t at_ms;
    struct conn *conn;
};

/* Retained messages on their way into the queue of a connection's session. */
struct replay {
    struct list_node node;
    const struct sub *sub; /* ends with it */
    uint8_t qos;
    uint32_t id;
    uint64_t epoch; /* of the realm under which it began */
    struct retained_cursor cursor;
};

struct outbox {
    struct ring *ring;
    struct wmsg *overflow; /* FIFO: at..n */
    size_t at, n, cap;
    bool is_held; /* the overflow waits for the next handover */
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

/* One delivery that fan_durable has queued. */
struct queued {
    struct session *s;
    uint64_t seq;
};

/* May messages of this principal still be delivered? Kept for one epoch. */
struct publisher {
    uint64_t id;
    const struct principal *principal; /* owned; NULL: gone or not active */
    struct grants *grants;
};

/* conn.c */
/* entrance_is_open - do the exceptions in force let such a client in here? */
bool entrance_is_open(const struct worker *w, const struct entrance *e, bool is_anonymous);
struct conn *conn_find(const struct worker *w, uint64_t handle);
/* conn_is_taken_back - a list in force revokes the certificate that it showed. */
bool conn_is_taken_back(const struct worker *w, const struct conn *c);
MUST_USE enum err conn_new(struct worker *w, const struct entrance *entrance, const char *peer,
                           void *transport, struct conn **ret);
/* conn_client_id - for events: as its CONNECT says, then as its session does. Borrows. */
struct slice conn_client_id(const struct conn *c);
/* conn_keep - `more` waits unread, behind what does; with that, `most` bytes at most.
 * ERR_TOO_LARGE, ERR_NOMEM: nothing changed. */
MUST_USE enum err conn_keep(struct conn *c, struct slice more, size_t most);
static inline struct slice conn_unread(const struct conn *c)
{
    return c->unread != NULL ? buf_slice(c->unread) : (struct slice){0};
}
void conn_mark_dirty(struct worker *w, struct conn *c);
/* conn_close - says why to the client in its protocol and to the audit trail (NULL event: already
 * said), then lets the output leave. */
void conn_close(struct worker *w, struct conn *c, enum mqtt_reason reason);
void conn_forget(struct worker *w, struct conn *c);
void conn_arm(struct worker *w, struct conn *c);
void conn_feed(struct worker *w, struct conn *c, struct slice plain);
/* ahead.c: ahead_input - what the first messages of `in` will touch is asked for, if they are
 * several and it is not near anyway. Returns how many bytes are behind them. */
size_t ahead_input(const struct worker *w, struct slice in);
/* ahead_output - the same of the connections behind `first` in the dirty list. */
void ahead_output(const struct worker *w, const struct list_node *first);
void conn_pause(struct worker *w, struct conn *c, uint64_t until_ms);
void conns_resume(struct worker *w);
void conn_timeout(struct worker *w, struct conn *c);

/* hold.c: a disk that is only slow for a moment */
/* hold_takes - may the packet in front of `in` be cut? false: it asks for lasting room, the log
 * will have it when the disk has caught up, and c is paused until then. Never longer than the disk
 * stands still for JOURNAL_STALL_S: it is refused then. hold_waits - nothing that waits for the
 * disk has room yet. */
bool hold_takes(struct worker *w, struct conn *c, struct slice in);
bool hold_waits(const struct worker *w);
/* hold_admits - journal_admits for a new session: its record, and its will's, are always taken, and
 * CONNACK leaves behind them. So a log that is only behind does not refuse it. */
MUST_USE enum err hold_admits(const struct worker *w);

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

/* slow.c */
enum drop_kind { DROP_QUEUE, DROP_PRESSURE };
/* slow_dropped - n deliveries that s does not get, the last one on this topic (or empty). */
void slow_dropped(struct worker *w, struct session *s, enum drop_kind kind, uint32_t n,
                  struct slice target);
/* slow_say - what was not said yet, now. */
void slow_say(struct worker *w, struct session *s);
void slow_sweep(struct worker *w);

/* spill.c */
/* spill_takes - is a body of so many bytes worth its way to the disk and back, and is there one? */
bool spill_takes(const struct worker *w, size_t away);
/* spill_turn - used: bytes of memory, held against the ceiling that there is. */
void spill_turn(struct worker *w, uint64_t used);
/* spill_sent - d is about to leave, written already: its body may go if it was away before. */
void spill_sent(const struct worker *w, struct delivery *d);
/* spill_stalled - c's socket takes nothing, and memory is short: what is near leaves, too. */
void spill_stalled(struct worker *w, struct conn *c);
/* spill_slept - s has no connection any more. */
void spill_slept(struct session *s);
/* spill_fetch - d, the first that waits, is a husk: its body is asked for, and those of the next. c
 * is dirty when it is there, or when it cannot be had. spill_fetch_more - it was asked before. */
void spill_fetch(struct worker *w, struct conn *c, const struct delivery *d);
void spill_fetch_more(struct worker *w, struct conn *c);
/* spill_arrived - takes the answer. */
void spill_arrived(struct worker *w, struct reading *r);
/* spill_retry - a turn begins. spill_deadline - when one is needed. */
void spill_retry(struct worker *w);
uint64_t spill_deadline(const struct worker *w);

/* ceiling.c */
/* ceiling_turn - looks at the memory in use, and sheds what the step asks for. */
void ceiling_turn(struct worker *w);
uint64_t ceiling_deadline(const struct worker *w);
/* ceiling_before_output - what is to be shed of its queue goes before it becomes a copy. */
void ceiling_before_output(struct worker *w, const struct conn *c);
/* ceiling_drops - is memory so short that this session gets no QoS 0? */
bool ceiling_drops(const struct worker *w, const struct session *s);
/* ceiling_takes_nobody - true: a new connection is to be refused, and that is counted. */
bool ceiling_takes_nobody(struct worker *w);
/* ceiling_holds - true: this publisher waits a moment for memory. */
bool ceiling_holds(struct worker *w, struct conn *c);
/* ceiling_refuses - true: a message is not taken, and that is counted; ret says why. */
bool ceiling_refuses(struct worker *w, struct decision *ret);

/* login.c */
void login_begin(struct worker *w, struct conn *c);
void login_verified(struct worker *w, struct verified *v);
extern const struct conn_login LOGIN_NONE;
/* login_own - c has a login of its own from here on, that may be written. ERR_NOMEM. login_take -
 * c's, for somebody else, who gives it to login_put or login_free. login_put - c had none of its
 * own; takes l, or NULL. */
MUST_USE enum err login_own(struct conn *c);
struct conn_login *login_take(struct conn *c);
void login_put(struct conn *c, struct conn_login *l);
struct conn_login *login_free(struct conn_login *l);
/* login_refuse - counts, reports, and closes with this reason. */
void login_refuse(struct worker *w, struct conn *c, enum mqtt_reason reason, const struct event *e);
void login_refuse_inactive(struct worker *w, struct conn *c, const struct directory_entry *entry);
/* login_go_home - who it is is known: the session is opened here or on its home worker. c may be
 * gone afterwards. */
void login_go_home(struct worker *w, struct conn *c, const struct principal *p);
/* login_ways_in - what this listener takes, for the hint of a refusal. */
const char *login_ways_in(const struct entrance *e);
/* role_is_many - its clients are spread by client id as well. Allocates nothing: a home that
 * depends on free memory would be two homes. */
bool role_is_many(const struct worker *w, const struct principal *p);
unsigned home_of(const struct worker *w, const struct principal *p, struct slice client_id,
                 bool is_many);

/* auth.c: enhanced authentication */
/* auth_method - the name of one that we take, as a literal; NULL: it is none. */
const char *auth_method(struct slice name);
/* auth_begin - CONNECT named a method. */
void auth_begin(struct worker *w, struct conn *c);
/* auth_token - the password of CONNECT is a token. */
void auth_token(struct worker *w, struct conn *c, const struct mqtt_connect *connect);
/* auth_token_begins - the connection is open (or has a new token): its end is known from here. */
void auth_token_begins(struct worker *w, struct conn *c);
/* auth_token_over - the token's end has come: says so and closes. False: not yet. */
bool auth_token_over(struct worker *w, struct conn *c);
/* auth_answered - the client's AUTH before CONNACK; data borrows from what is being fed. */
void auth_answered(struct worker *w, struct conn *c, struct slice data);
/* reauth_event - AUTH on an open connection. */
void reauth_event(struct worker *w, struct conn *c, const struct mqtt_auth *m);

/* open.c */
/* credential_stands - is what let c in still a live credential of this principal, and is its
 * certificate taken back by no list? */
bool credential_stands(const struct worker *w, const struct conn *c, const struct principal *p);
void open_here(struct worker *w, struct conn *c, const struct principal *principal);
void handover_arrived(struct worker *w, struct handover *h);

/* sessions.c */
/* session_end - now, whatever becomes of its will. */
void session_end(struct worker *w, struct session *s);
/* session_forget - without a record and a word: it has had its end. */
void session_forget(struct worker *w, struct session *s);
/* session_over - its time is over: it ends, or is held until there is room for its will. */
void session_over(struct worker *w, struct session *s);
/* session_add - a new one with this id, in its account. */
MUST_USE enum err session_add(struct worker *w, struct account *a, uint64_t id,
                              struct slice client_id, bool is_durable, struct session **ret);
/* session_arm - asleep: its timer, for the will or for its end, whichever comes first. */
void session_arm(struct worker *w, struct session *s);
void session_disarm(struct worker *w, struct session *s);
/* session_due - its timer has fired: the will is published, or it ends. */
void session_due(struct worker *w, struct session *s);
/* session_fall_asleep - it has no connection any more; one without expiry ends. */
void session_fall_asleep(struct worker *w, struct session *s);
/* conn_release_session - c ends, or is thrown out; `why` is said where neither side has said it. No
 * session, no effect. */
void conn_release_session(struct worker *w, struct conn *c, const char *why);
/* account_of - the one of p, from here on there is one. ERR_NOMEM. */
MUST_USE enum err account_of(struct worker *w, const struct principal *p, struct account **ret);
/* account_drop_if_unused - unless its budgets are to be remembered. */
void account_drop_if_unused(struct worker *w, struct account *a);

/* route.c */
/* A message on its way to everybody. What else it settles is part of the same handover. */
struct route {
    struct msg *m; /* takes one reference */
    const struct subscriber *from;
    uint64_t token; /* 0: nobody waits; else one more place is opened for each commit it needs */
    struct session *inbound; /* durable, QoS 2: packet_id is open from now on; NULL: not so */
    uint16_t packet_id;
    struct session *will_of; /* whose will it is, when that is on record */
};
/* publish_remote - ERR_NOMEM: nothing was done, the message is to come again. */
MUST_USE enum err publish_remote(struct worker *w, const struct wmsg *m);
/* publish_route - on an error nobody was promised anything, and nothing waits for the token. */
MUST_USE enum err publish_route(struct worker *w, const struct route *r);

/* publish.c */
void publish_event(struct worker *w, struct conn *c, const struct mqtt_event *ev);
/* publish_announced - what the server says itself; takes m. Where there is no room it is dropped,
 * and counted. */
void publish_announced(struct worker *w, struct msg *m);
MUST_USE enum err msg_from_publish(const struct worker *w, const struct account *a,
                                   const struct mqtt_publish *p, struct msg **ret);

/* will.c */
/* will_take - what CONNECT says about the will replaces what there was. *ret_lsn is written when it
 * is a promise that is on record. Errors of the journal, ERR_NOMEM: the session has what it had. */
MUST_USE enum err will_take(struct worker *w, struct session *s, const struct mqtt_connect *connect,
                            uint64_t *ret_lsn);
/* will_conn_ended - c, the connection of s: its will fires, waits (will_at_ms) or is forgotten. */
void will_conn_ended(struct worker *w, struct session *s, const struct conn *c);
/* will_delay_ms - between the end of the connection and the will; not longer than the session. */
uint64_t will_delay_ms(const struct session *s);
/* will_fire - c: its last connection, or NULL when it has none any more. None, no effect. A will
 * for which there is no room or memory stays, due at will_at_ms: the caller has the timer. */
void will_fire(struct worker *w, struct session *s, const struct conn *c);
/* will_lose - it cannot wait any longer, which is said. None, no effect. */
void will_lose(struct worker *w, struct session *s, const char *why);
/* will_forget - its record ends. */
void will_forget(struct worker *w, struct session *s);

/* fan.c */
/* fan_gather - queues m for the durable sessions that were hit, and writes down who: all of them,
 * or none. Next is fan_record, or fan_take_back: as if nothing had been queued. ERR_NOMEM. */
MUST_USE enum err fan_gather(struct worker *w, const struct msg *m, const struct match *match);
void fan_take_back(struct worker *w);
/* fan_record - what was gathered is on record now, or taken back.
 *
 * debtor   the worker in whose name the record is written; one that owes none has nothing settled
 * is_owed  the record is waited for, also when nobody wants the message
 *
 * *ret_lsn is written when there is a record. What is left is fan_others'. ERR_NOMEM and the
 * journal's errors. fan_durable - both. */
MUST_USE enum err fan_record(struct worker *w, const struct msg *m, unsigned debtor, bool is_owed,
                             uint64_t *ret_lsn);
MUST_USE enum err fan_durable(struct worker *w, const struct msg *m, const struct match *match,
                              unsigned debtor, bool is_owed, uint64_t *ret_lsn);
void fan_others(struct worker *w, const struct msg *m, const struct match *match);
/* fan_missed - m was matched before a restart: for durable sessions but these. */
MUST_USE enum err fan_missed(struct worker *w, const struct msg *m, const uint64_t *sessions,
                             size_t n);
/* fan_pending - how many pending actions fan_durable may add. */
size_t fan_pending(const struct msg *m, const struct match *match);

/* publisher.c */
/* publisher_judge - may what was said still be heard? ERR_DENIED: not any more; ERR_NOMEM: that
 * cannot be told now, so it is not heard now. publisher_ok - the same, where nothing waits. */
MUST_USE enum err publisher_judge(struct worker *w, const struct msg *m);
bool publisher_ok(struct worker *w, const struct msg *m);
void publishers_clear(struct worker *w);

/* hear.c */
/* may_hear - as passage_hear; counts and reports what must not pass. client_id may be empty. */
bool may_hear(struct worker *w, struct account *a, struct slice client_id, const struct msg *m);

/* retain.c */
void retained_expired(void *ctx, uint64_t publisher, uint64_t bytes);
MUST_USE enum err retain_locally(struct worker *w, const struct msg *m);
enum passage_retain retain_wish(struct worker *w, const struct account *a, struct slice topic,
                                bool retain);

/* commit.c */
MUST_USE enum err token_new(struct worker *w, const struct token *t, uint64_t *ret);
/* token_of_publish - the token of a QoS 2 PUBLISH of this session that still waits, or NULL. */
struct token *token_of_publish(struct worker *w, uint64_t session, uint16_t packet_id);
void token_open(struct worker *w, uint64_t token, uint32_t n);
void token_close_one(struct worker *w, uint64_t token);
/* token_drop - nobody is answered. token_fail - it could not be done: the publisher tries again. */
void token_drop(struct worker *w, uint64_t token);
void token_fail(struct worker *w, uint64_t token);
/* token_close_if_alone - closes the caller's place: true when it was the last, and then nothing
 * else happens. */
bool token_close_if_alone(struct worker *w, uint64_t token);
/* pending_reserve - the next n pending_add do not fail. */
MUST_USE enum err pending_reserve(struct worker *w, size_t n);
MUST_USE enum err pending_add(struct worker *w, const struct pending *p);
void commits_run(struct worker *w);
/* commits_are_due - somebody waits for what is committed already. */
bool commits_are_due(const struct worker *w);
MUST_USE enum err done_add(struct worker *w, uint64_t cookie);

/* record.c: each gives its lsn (also kept in w->last_lsn); errors are the journal's */
MUST_USE enum err record_body(struct worker *w, const struct msg *m, uint64_t owed,
                              uint64_t *ret_lsn);
/* record_entry - d of s, one more entry in w->record; record_deliver writes the record of them, as
 * worker `worker`. */
MUST_USE enum err record_entry(struct worker *w, const struct session *s,
                               const struct journal_delivery *d, const uint32_t *ids);
/* record_group_entry - one more, too: the group with this hash has had it. */
MUST_USE enum err record_group_entry(struct worker *w, uint64_t group);
MUST_USE enum err record_deliver(struct worker *w, uint64_t body_id, unsigned worker,
                                 uint64_t *ret_lsn);
/* record_numbers - the OSCORE numbers of a principal, see numbers.h. */
MUST_USE enum err record_numbers(struct worker *w, uint64_t principal, struct slice content,
                                 uint64_t *ret_lsn);
MUST_USE enum err record_settle(struct worker *w, enum journal_kind kind, uint64_t session,
                                uint64_t seq, uint8_t reason, uint64_t *ret_lsn);
void record_drop(struct worker *w, const struct session *s, uint64_t seq, uint8_t reason);
/* record_try - d leaves once more. */
MUST_USE enum err record_try(struct worker *w, const struct session *s, const struct delivery *d,
                             uint64_t *ret_lsn);
MUST_USE enum err record_packet(struct worker *w, enum journal_kind kind, const struct session *s,
                                uint16_t packet_id, uint64_t *ret_lsn);
/* record_set_aside - about's message is m with about's qos and retain. */
MUST_USE enum err record_set_aside(struct worker *w, const struct journal_set_aside *about,
                                   const struct msg *m, uint64_t *ret_lsn);
MUST_USE enum err record_set_aside_end(struct worker *w, uint64_t id);
/* record_session - asleep_wall_ms INT64_MAX: it has a connection. */
MUST_USE enum err record_session(struct worker *w, struct session *s, int64_t asleep_wall_ms,
                                 uint64_t *ret_lsn);
MUST_USE enum err record_session_end(struct worker *w, uint64_t session, uint64_t *ret_lsn);
MUST_USE enum err record_sub(struct worker *w, enum journal_kind kind, const struct session *s,
                             const struct journal_sub *sub, uint64_t *ret_lsn);
/* record_will - NULL: it has none any more. */
MUST_USE enum err record_will(struct worker *w, struct session *s, const struct msg *will,
                              uint32_t delay_s, uint64_t *ret_lsn);

/* subscribe.c */
void subscribe_event(struct worker *w, struct conn *c, const struct mqtt_subscribe *m);
void unsubscribe_event(struct worker *w, struct conn *c, const struct mqtt_unsubscribe *m);
void barrier_acked(struct worker *w, const struct wmsg *m);
void barriers_forget_sub(struct worker *w, const struct sub *sub);
/* unsub_recorded - a subscription ends without the client's word. */
void unsub_recorded(struct worker *w, const struct session *s, struct slice filter);
void markers_sweep(struct worker *w);

/* replay.c */
/* replay_start - c is to be given what is retained for sub. ERR_NOMEM. */
MUST_USE enum err replay_start(struct worker *w, struct conn *c, const struct sub *sub);
/* replay_check - ERR_QUOTA: a subscription to filter would bring more than its role may ask for;
 * why is said. Bounded, whatever the filter is. */
MUST_USE enum err replay_check(struct worker *w, const struct conn *c, struct slice filter,
                               struct decision *ret);
/* replays_feed - into the queue of its session what may be there now. It may close c. */
void replays_feed(struct worker *w, struct conn *c);
/* replays_go_on - what was queued has left: c is looked at again when there may be more. */
void replays_go_on(struct worker *w, struct conn *c);
/* replays_forget - those of one subscription, or all (NULL). */
void replays_forget(struct worker *w, struct conn *c, const struct sub *sub);
/* replays_turn - a turn begins. replays_deadline - when one is needed. */
void replays_turn(struct worker *w);
uint64_t replays_deadline(const struct worker *w);

/* browse.c */
/* browse_arrived - takes a reference. browses_wait - some are at work: a turn is due. browses_end -
 * the worker ends. */
void browse_arrived(struct worker *w, struct browse *b);
void browses_turn(struct worker *w);
bool browses_wait(const struct worker *w);
void browses_end(struct worker *w);

/* interest.c */
/* interest_announce - false: some worker was not told, for want of memory. */
bool interest_announce(struct worker *w, struct slice filter, bool any, bool durable);
void sub_remove(struct worker *w, struct sub *sub);
void subs_remove_all(struct worker *w, struct subscriber *s);

/* deliver.c */
/* delivery_drop - d, the first that waits, is dropped on record, and that is said. */
void delivery_drop(struct worker *w, struct conn *c, struct delivery *d,
                   enum event_category category, const char *why);
size_t deliver_output(struct worker *w, struct conn *c, uint8_t *dst, size_t cap,
                      struct lending *lending);
void ack_event(struct worker *w, struct conn *c, const struct mqtt_event *ev);

/* aside.c: messages that were set aside */
/* aside_take - d of s is set aside, on record, as *ret_id; the caller drops the delivery. The
 * oldest may go for it. ERR_NOMEM and the journal's errors. */
MUST_USE enum err aside_take(struct worker *w, const struct session *s, const struct delivery *d,
                             uint64_t *ret_id);
/* aside_restore - one that the log kept. asides_report - what is still there, one event for each
 * session and topic. */
MUST_USE enum err aside_restore(struct worker *w, const struct journal_set_aside *s,
                                struct slice client_id, const struct msg *m);
void asides_report(struct worker *w);
/* aside_holds - m, a retained message, was set aside for s. */
bool aside_holds(const struct worker *w, const struct session *s, const struct msg *m);
void asides_expire(struct worker *w);
/* asides_recheck - those of removed principals go. */
void asides_recheck(struct worker *w);
void asides_free(struct worker *w);
/* aside_asked - does what an administrator asks; takes ask. asks_run - those whose changes are
 * committed are answered. */
void aside_asked(struct worker *w, struct aside_ask *ask);
bool asks_are_due(const struct worker *w);
void asks_run(struct worker *w);

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

/* handed.c */
/* handed_arrived - takes h, for its door. */
void handed_arrived(struct worker *w, struct handed *h);
void handed_clear(struct worker *w);

/* outbox.c */
/* outbox_reserve - one outbox_push to each of these workers does not fail. */
MUST_USE enum err outbox_reserve(struct worker *w, uint64_t to);
MUST_USE enum err outbox_push(struct worker *w, unsigned to, const struct wmsg *m);
/* outbox_push_held - leaves, and all behind it, with the next handover: what it stands on, and what
 * else this turn records about it, are one then. There is room (outbox_reserve). */
void outbox_push_held(struct worker *w, unsigned to, const struct wmsg *m);
/* outboxes_release - the handover has happened. */
void outboxes_release(struct worker *w);
void outboxes_drain(struct worker *w);
bool outboxes_are_full(const struct worker *w, size_t over);

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

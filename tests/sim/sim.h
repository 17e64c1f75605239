/*
 * sim - a whole broker in one thread, driven by one seed: workers, clients, journal, verify pool,
 * service thread and clock, and a model of the rules (docs/ORDER.md) that looks at every packet
 * that leaves.
 *
 * Two views are kept apart. What a client knows (sim_client.c) it learns from bytes that may be cut
 * or lost. What the model knows (sim_model.c) it learns where packets enter and leave a worker,
 * from events and from the journal.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/buf.h"
#include "base/disk.h"
#include "base/event.h"
#include "service/broker/reading.h"
#include "service/broker/worker.h"
#include "service/directory/directory.h"
#include "sim_journal.h"
#include "sim_policy.h"
#include "sim_survey.h"
#include "store/keyring.h"
#include "store/log.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/reason.h"

enum {
    SIM_WORKERS_MAX = 3,
    SIM_PRINCIPALS_MAX = 5,
    SIM_CLIENTS_MAX = 8,
    SIM_PUBS_MAX = 900,
    SIM_SENDINGS_MAX = 1 << 14,
    SIM_STATES_MAX = 64,
    SIM_QUESTIONS_MAX = 16,
    SIM_DUTIES_MAX = 8192,
    SIM_DROPS_MAX = 4096,
    SIM_FLIGHTS_MAX = 32,
    SIM_WISHES_MAX = 64,
    SIM_LINKS_MAX = 2048,
    SIM_TRACE_LINES = 60,
    SIM_TRACE_BYTES = 200,
    SIM_SMALL_QUEUE = 6,
    SIM_ALIASES = 3, /* of a connection that a client uses, each way */
    SIM_READINGS_MAX = SIM_WORKERS_MAX * READING_MAX,
    SIM_SENDERS_MAX = SIM_WORKERS_MAX + 3, /* workers, service thread, verify pool, log */
    SIM_NOBODY = 0xff
};

/* One message somebody publishes: its payload is its number. Times are ticks; 0 = not yet. */
struct sim_pub {
    uint8_t client, topic, qos;
    bool retain, is_clear, is_will, is_refused, is_given_up;
    bool is_doubtful; /* a will that was published after a restart, this one or another */
    uint16_t n_sent;
    uint64_t fed_first, fed_last, done_at;
    unsigned state_first; /* the oldest policy state of any worker when it was fed first */
    uint32_t expiry_s;    /* message expiry; 0: none */
    uint64_t fed_first_ms, fed_last_ms;
    unsigned held_on;        /* link whose worker may not have looked at it yet; 0: none */
    uint32_t newest_sending; /* index + 1; 0: none */
};

/* One time that a message entered a worker: a publisher sends again what was not acknowledged. */
struct sim_sending {
    unsigned life;
    uint32_t older; /* of the same message, as newest_sending */
};

/* What a packet of the client means for the model, at its last byte. */
enum sim_mark_kind {
    MARK_CONNECT,
    MARK_PUBLISH,
    MARK_PUBREL,
    MARK_SUBSCRIBE,
    MARK_UNSUBSCRIBE,
    MARK_PUBACK,
    MARK_DISCONNECT, /* without its will */
    MARK_BAD,        /* the server must end the connection for `reason` */
    MARK_OTHER
};

struct sim_mark {
    uint64_t end; /* bytes of the link up to and with this packet */
    enum sim_mark_kind kind;
    uint16_t packet_id, pub;
    uint8_t filter, qos, reason;
    bool no_replay;
};

/* An acknowledgement that the worker owes, oldest first. */
struct sim_owed {
    enum mqtt_type type; /* MQTT_PUBLISH: QoS 0, nothing is owed */
    uint16_t packet_id, pub;
    uint64_t fed_at;
};

struct sim_wish {
    uint16_t packet_id;
    uint8_t filter, qos;
    bool is_unsubscribe, no_replay;
    uint16_t n_said; /* of the subscription, when this was fed */
    unsigned state;  /* the oldest policy state of any worker when it was fed */
    uint64_t fed_at;
    int expect[SIM_TOPICS]; /* retained messages that must follow the SUBACK; -1: none */
};

/* A transport: one TCP connection with bytes under way in both directions. */
struct sim_link {
    unsigned id;
    uint8_t client;
    int worker; /* -1: on its way, or over */
    uint64_t conn;
    struct buf up, down, tap; /* to the worker; to the client; packets leaving, not whole yet */
    uint64_t up_total;        /* bytes taken from `up` so far */
    uint64_t put_total;
    struct sim_mark *marks; /* ring-less queue: at..n */
    size_t marks_at, marks_n, marks_cap;
    struct sim_owed *owed;
    size_t owed_at, owed_n, owed_cap;
    struct sim_wish wishes[SIM_WISHES_MAX];
    size_t n_wishes;
    bool is_held;    /* its worker keeps what it was fed: the publisher is slowed */
    bool is_cut;     /* the client went away */
    bool is_over;    /* the worker has given it back */
    bool is_blocked; /* the client does not read */
    bool is_open;    /* CONNECT was accepted: its session is bound, or was */
    bool is_present; /* session present, as the model expects it in CONNACK */
    bool is_clean, has_tapped_connack;
    uint64_t opened_at;
    uint64_t session_since; /* `since` of the session that it was given */
    uint32_t expiry_s;
    int will; /* number of its will, -1: none */
    uint32_t will_delay_s;
    bool has_cancelled;  /* a will that waited */
    bool is_leaving;     /* its worker was fed a DISCONNECT that forgets the will */
    uint64_t connect_ms; /* when its CONNECT was fed; 0: not yet */
    uint64_t over_at;
    uint8_t bad_reason;               /* of the first bad packet that its worker was fed; 0: none */
    uint16_t alias_max;               /* how many the server takes */
    uint16_t alias_asked;             /* how many the client takes */
    uint8_t alias_said[SIM_ALIASES];  /* topic + 1, by alias - 1: what the client gave */
    uint8_t alias_given[SIM_ALIASES]; /* the same: what the server gave */
    char peer[24];
};

/* A QoS 1 or 2 message of a client that is not finished. */
struct sim_flight {
    uint16_t packet_id, pub;
    bool is_released; /* QoS 2: PUBREC came, PUBREL is due or sent */
};

struct sim_reply {
    enum mqtt_type type;
    uint16_t packet_id;
};

struct sim_client {
    uint8_t index, principal;
    char id[8];
    enum mqtt_version version;
    bool uses_password;
    struct sim_link *link; /* the newest; NULL: off */
    bool is_on;            /* CONNACK came */
    bool must_clean;       /* it has forgotten its half of the session */
    uint16_t next_packet_id;
    struct sim_flight flights[SIM_FLIGHTS_MAX];
    size_t n_flights;
    struct sim_reply replies[256]; /* acknowledgements it withholds */
    size_t n_replies;
    uint16_t open_ids[256]; /* QoS 2 ids between PUBLISH and PUBREL */
    int open_pubs[256];
    uint64_t open_since[256]; /* of which session they are */
    size_t n_open_ids;
    uint32_t keep_s; /* session expiry it asks for */
    uint16_t receive_max;
    uint8_t alias_before[SIM_ALIASES]; /* on the connection before: dead */
};

struct sim_sub {
    bool is_certain, is_ending;
    uint8_t qos;
    uint16_t n_asked;
    uint16_t n_said;                        /* SUBSCRIBEs that were fed, answered or not */
    uint64_t certain_since, possible_until; /* 0: never */
};

/* What the model says of a client's session. */
struct sim_session {
    bool exists, is_durable;
    bool is_vague; /* it may have ended, or be an older one: a crash left that open */
    int will;      /* of its last connection, while it may be published; -1: none */
    uint32_t will_delay_s;
    bool is_will_due;  /* the connection has ended, and nothing has ended the will */
    bool is_will_lost; /* the server has said that it gave it up */
    uint64_t will_since, will_from_ms, will_until_ms; /* tick; monotonic: when it is due */
    uint32_t expiry_s;
    uint64_t asleep_ms, asleep_at; /* monotonic, tick: since when it has no connection */
    uint64_t since, sid;           /* sid: the broker's id, from the journal */
    struct sim_link *link;
    struct sim_sub subs[SIM_FILTERS];
    uint16_t got[SIM_PUBS_MAX];  /* receptions at the client; QoS 2: acceptances */
    uint16_t left[SIM_PUBS_MAX]; /* first copies (no DUP, no replay) that left the worker */
    uint16_t got2[SIM_PUBS_MAX], left2[SIM_PUBS_MAX]; /* of these, with QoS 2 */
    uint16_t touched[SIM_PUBS_MAX];                   /* copies of any kind that left */
    uint32_t came_by[SIM_PUBS_MAX]; /* link of the last copy that reached the client */
    /* Of what left, by publisher, topic, QoS: the place of the sending that brought it. */
    uint64_t newest[SIM_CLIENTS_MAX][SIM_TOPICS][3];
    uint32_t newest_own[SIM_CLIENTS_MAX][SIM_TOPICS][3]; /* of those not matched again */
    uint64_t newest_kept[SIM_CLIENTS_MAX][SIM_TOPICS];   /* the same of live retained messages */
    uint16_t out_pub[1024];                              /* by packet id: message + 1, QoS 2 */
    bool out_released[1024];
    uint64_t n_releases;
    /* Of shared subscriptions, by group: copies with QoS 1 that left as new, those of them that
     * were not acknowledged yet, and whether any left. */
    uint8_t had[SIM_GROUPS][SIM_PUBS_MAX], held[SIM_GROUPS][SIM_PUBS_MAX];
    bool seen[SIM_GROUPS][SIM_PUBS_MAX];
    struct sim_shared_out {
        uint16_t packet_id, pub;
        uint8_t group;
        bool is_held;
        bool is_said; /* its PUBACK was fed to the worker, which may not have looked at it yet */
    } out_shared[1024];
    unsigned n_said;
};

/* A message that must reach a session, or be dropped with a recorded reason. */
struct sim_duty {
    uint8_t client, qos, replayed; /* of a replay: its filter */
    uint16_t pub;
    uint64_t since, session_since;
    unsigned link;  /* not 0: only while this connection lasts */
    unsigned state; /* of a replay: the newest one when it was promised */
    bool is_replay, is_done;
    uint8_t filter;   /* not 0: any member of this group, of whom the client is one */
    bool is_recorded; /* of a group: for a member that lasts */
};

struct sim_drop {
    uint8_t client, topic;
    bool is_policy, is_set_aside, is_used;
    uint64_t at;
};

/* The directory and policy at one epoch. */
struct sim_state {
    uint64_t epoch;
    unsigned policy;
    bool is_active[SIM_PRINCIPALS_MAX], is_gone[SIM_PRINCIPALS_MAX];
};

/* A shared subscription: how often a message left for a member, and reached one. */
struct sim_share {
    uint8_t left[SIM_PUBS_MAX], left2[SIM_PUBS_MAX]; /* first copies; those with QoS 2 */
    uint8_t got[SIM_PUBS_MAX];
    uint8_t lost[SIM_PUBS_MAX]; /* copies whose member was not to acknowledge them any more */
    /* Copies with QoS 2 for members that did not last; those of them that a crash took. */
    uint8_t fleeting2[SIM_PUBS_MAX], taken2[SIM_PUBS_MAX];
    bool is_stuck[SIM_PUBS_MAX]; /* it waited over a restart for one that had unsubscribed, or whose
                                    principal is removed */
    bool is_weak;                /* it had members that do not last */
};

struct sim_model {
    struct sim_share shares[SIM_GROUPS];
    struct sim_pub pubs[SIM_PUBS_MAX];
    size_t n_pubs;
    struct sim_sending sendings[SIM_SENDINGS_MAX];
    uint32_t n_sendings;
    struct sim_session sessions[SIM_CLIENTS_MAX];
    struct sim_session former[SIM_CLIENTS_MAX]; /* what a crash may bring back */
    struct sim_duty duties[SIM_DUTIES_MAX];
    size_t n_duties;
    struct sim_drop drops[SIM_DROPS_MAX];
    size_t n_drops;
};

struct sim_knobs {
    unsigned n_workers, n_principals, n_clients, n_steps, ring_capacity, n_roles;
    unsigned crashes;  /* in ten thousand steps */
    unsigned troubles; /* of the disk, and of memory: the same */
    uint64_t segment_bytes, keep_bytes, lag_bytes;
    bool small_queue, small_window, slow_publish, has_policy_changes, has_expiry, has_will_delay,
        has_groups, has_laggard, has_spill, has_stalls;
};

struct sim {
    uint64_t seed, random_state, tick, now_ms;
    int64_t wall_ms;
    struct random_source random;
    struct sim_knobs knobs;
    bool is_settling;
    /* bad days */
    unsigned n_lives;
    uint64_t crashed_at;    /* tick of the last crash; 0: none */
    uint64_t trouble_at;    /* tick of the last moment when disk or memory failed; 0: none */
    bool is_trouble_news;   /* the disk is well again, and the log has not written since */
    uint64_t trouble_until; /* monotonic; the disk fails until then */
    uint64_t stalled_from, stalled_until; /* monotonic; the disk stands still */
    unsigned memory_steps;                /* steps in which allocations fail */
    uint64_t starved_at;                  /* tick when one failed last; 0: never */
    /* the broker */
    struct limits limits;
    struct entrance entrance;
    struct worker *workers[SIM_WORKERS_MAX];
    uint64_t turned_ms[SIM_WORKERS_MAX]; /* when it had its last turn */
    struct ring rings[SIM_SENDERS_MAX][SIM_WORKERS_MAX];
    struct ring *to[SIM_WORKERS_MAX][SIM_WORKERS_MAX];
    struct ring *from[SIM_WORKERS_MAX][SIM_SENDERS_MAX];
    struct sim_worker {
        struct sim *sim;
        unsigned index;
    } ctx[SIM_WORKERS_MAX];
    struct sim_log *log;
    struct keyring *keyring;
    struct log *store;
    struct sim_nonces *nonces;
    struct counters counters[SIM_WORKERS_MAX];
    _Atomic uint64_t retained_counter;
    struct verified *questions[SIM_QUESTIONS_MAX];
    size_t n_questions;
    struct reading *readings[SIM_READINGS_MAX]; /* bodies that somebody asked for, oldest first */
    size_t n_readings;
    struct ceiling ceiling; /* of memory, in seeds that spill */
    uint64_t n_spilled, n_read_back;
    /* the service thread */
    struct disk *disk;
    struct directory *directory;
    struct sim_policy policies[SIM_POLICIES];
    const struct policy *built[SIM_POLICIES];
    struct sim_state states[SIM_STATES_MAX];
    unsigned n_states;
    unsigned roles[SIM_PRINCIPALS_MAX];
    uint64_t principal_ids[SIM_PRINCIPALS_MAX];
    char password[32];
    const struct realm *realm;
    unsigned n_untold; /* workers that have not been sent the newest realm */
    /* the world outside */
    struct sim_client clients[SIM_CLIENTS_MAX];
    struct sim_link *links[SIM_LINKS_MAX];
    unsigned n_links;
    struct sim_model model;
    /* the trace */
    bool is_tracing, is_printing, has_failed;
    char lines[SIM_TRACE_LINES][SIM_TRACE_BYTES];
    size_t n_lines;
    char rule[16], failure[400];
};

/* ---- sim_trace.c ---- */
void sim_say(struct sim *s, const char *actor, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* sim_fail - the first violation of a seed is kept; rule is its number in docs/ORDER.md. */
void sim_fail(struct sim *s, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_print_trace(const struct sim *s);
unsigned sim_below(struct sim *s, unsigned n);
bool sim_chance(struct sim *s, unsigned percent);

/* ---- sim_world.c ---- */
/* sim_run - one seed from birth to end; false when a rule was broken. */
bool sim_run(struct sim *s);

/* ---- sim_setup.c ---- */
void sim_setup(struct sim *s);
void sim_teardown(struct sim *s);
enum err sim_open_directory(struct sim *s);

/* ---- sim_process.c: one life of the broker's process ---- */
enum sim_end { SIM_POWER_CUT, SIM_KILLED, SIM_STOPPED };
/* sim_start - opens what is on the disk, restores, and compares with what was promised. */
void sim_start(struct sim *s);
void sim_end(struct sim *s, enum sim_end how);

/* ---- sim_trouble.c: disk and memory fail for a while, and nonces are watched ---- */
void sim_trouble_begin(struct sim *s);
void sim_trouble_tend(struct sim *s);
/* sim_trouble_note - remembers this moment if disk or log are not well. */
void sim_trouble_note(struct sim *s);
void sim_trouble_end(struct sim *s);
/* sim_stall_begin, sim_stall_end - the disk does nothing meanwhile, and fails at nothing. */
void sim_stall_begin(struct sim *s);
void sim_stall_end(struct sim *s);
bool sim_is_stalled(struct sim *s);
/* sim_memory_begin, sim_memory_end - around what a worker does in a step. */
void sim_memory_begin(struct sim *s);
void sim_memory_end(struct sim *s);
/* sim_had_trouble - since this tick, or a crash? */
bool sim_had_trouble(const struct sim *s, uint64_t since);
struct sim_nonces *sim_nonces_new(struct sim *s);
struct sim_nonces *sim_nonces_free(struct sim_nonces *n);

/* ---- sim_service.c ---- */
void sim_state_push(struct sim *s, unsigned policy);
bool sim_service_is_busy(const struct sim *s);
void sim_service_act(struct sim *s);
void sim_service_tell(struct sim *s);
/* False: the disk does not take it yet. */
bool sim_service_enable_all(struct sim *s);
const struct sim_state *sim_state_of_worker(const struct sim *s, unsigned worker);
unsigned sim_oldest_state(const struct sim *s);

/* ---- sim_link.c ---- */
struct sim_link *sim_link_new(struct sim *s, uint8_t client);
void sim_link_free(struct sim_link *l);
void sim_link_put(struct sim *s, struct sim_link *l, struct slice packet, struct sim_mark mark);
void sim_link_feed(struct sim *s, struct sim_link *l, size_t n);
void sim_link_pump(struct sim *s, struct sim_link *l);
void sim_link_cut(struct sim *s, struct sim_link *l);
void sim_link_reap(struct sim *s, struct sim_link *l);
void sim_link_receive(struct sim *s, struct sim_link *l, size_t n);

/* ---- sim_client.c ---- */
void sim_client_act(struct sim *s, struct sim_client *c);
void sim_client_connect(struct sim *s, struct sim_client *c, bool clean);
bool sim_client_reply(struct sim *s, struct sim_client *c);
/* sim_client_take - one whole packet reached the client. */
void sim_client_take(struct sim *s, struct sim_link *l, const struct mqtt_fixed *f,
                     struct slice body);
void sim_client_lost(struct sim *s, struct sim_link *l);

/* ---- sim_alias.c ---- */
void sim_alias_say(struct sim *s, const struct sim_client *c, struct mqtt_publish *m);
/* sim_alias_misuse - writes a PUBLISH that must be refused; false: this client cannot. */
bool sim_alias_misuse(struct sim *s, const struct sim_client *c, struct wr *w, uint8_t *ret_reason,
                      struct slice payload);
/* sim_alias_forget - c is about to have another connection. */
void sim_alias_forget(struct sim_client *c);
/* tap_alias - m->topic becomes what its alias stands for. */
void tap_alias(struct sim *s, struct sim_link *l, struct mqtt_publish *m);
void tap_disconnect(struct sim *s, const struct sim_link *l, uint8_t reason);
void check_bad_links(struct sim *s);

/* ---- sim_model.c: what enters ---- */
void model_fed(struct sim *s, struct sim_link *l, const struct sim_mark *m);
/* model_held - after a worker had input or a turn: what waits in front of it, and what does not. */
void model_held(struct sim *s, struct sim_link *l);
/* model_over - its worker has given it back. */
void model_over(struct sim *s, struct sim_link *l);
void model_event(struct sim *s, unsigned worker, const struct event *e);
void model_state_pushed(struct sim *s);
void model_session_reset(struct sim *s, struct sim_session *t);
/* model_may_have_ended - by its time. */
bool model_may_have_ended(const struct sim *s, const struct sim_session *t);
/* model_may_be_ending - by a clean start, or because its principal is gone. */
bool model_may_be_ending(const struct sim *s, unsigned client);
/* model_duty - d.client must get d.pub, from now on. */
void model_duty(struct sim *s, struct sim_duty d);
/* model_most_copies - how often a message may come as new. */
unsigned model_most_copies(const struct sim *s, const struct sim_pub *p, uint8_t qos);

/* ---- sim_share.c ---- */
/* sim_share_qos - with which this client joins a group: always the same. */
uint8_t sim_share_qos(unsigned client, unsigned filter);
/* share_of - the shared filter that brought it, by its identifier; -1: none. */
int share_of(const struct mqtt_publish *m);
void share_connected(struct sim *s, const struct sim_session *t);
void share_session_over(struct sim *s, struct sim_session *t);
void share_crashed(struct sim_session *t);
/* share_erased - while the tap knows what was on record. */
void share_erased(struct sim *s);
/* share_process_over - the same for the groups, when it is known what is on record. */
void share_process_over(struct sim *s);
void share_dropped(struct sim *s, unsigned client, unsigned topic);
/* share_said_ack - a worker was fed a PUBACK; share_took_acks - it has taken in all it was fed;
 * share_lost_acks - the connection has ended, and what it had not taken in is lost. */
void share_said_ack(struct sim_session *t, uint16_t packet_id);
void share_took_acks(struct sim_session *t);
void share_lost_acks(struct sim_session *t);
/* share_id_is_anothers - what leaves with this packet id came by no group. */
void share_id_is_anothers(struct sim_session *t, uint16_t packet_id);
void share_left(struct sim *s, struct sim_link *l, unsigned pub, unsigned filter,
                const struct mqtt_publish *m);
void share_reception(struct sim *s, unsigned pub, unsigned filter);
void share_accepted(struct sim *s, unsigned pub);
void share_check_duty(struct sim *s, const struct sim_duty *d);

/* ---- sim_will.c ---- */
/* will_meets_connect - the client is back: resumed, the will is cancelled; else the session, and so
 * its will, has had its end. */
void will_meets_connect(struct sim *s, struct sim_session *t, struct sim_link *l, bool is_resumed);
void will_begins(struct sim *s, struct sim_session *t, const struct sim_link *l);
/* will_conn_over - is_clean: the server took the client's DISCONNECT. */
void will_conn_over(struct sim *s, struct sim_session *t, const struct sim_link *l, bool is_clean);
/* will_recovered - with the will that is on record after a crash. */
void will_recovered(struct sim *s, struct sim_session *t, const struct survey_session *found);
void will_published(struct sim *s, unsigned worker, int client, const struct event *e);
void will_denied(struct sim *s, unsigned worker, int client, const struct event *e);
void will_given_up(struct sim *s, unsigned worker, int client, const struct event *e);
void check_wills(struct sim *s);

/* ---- sim_recover.c ---- */
/* model_has_erased - may an older retained message of this topic be back? */
bool model_has_erased(const struct sim *s, unsigned topic);
/* model_crashed - all connections are gone; found: what the log kept. */
void model_crashed(struct sim *s, const struct sim_survey *found);
/* model_denied - may this message not reach this client at this state? */
bool model_denied(const struct sim *s, const struct sim_state *st, const struct sim_pub *p,
                  uint8_t client);
/* model_filter_denied - may this client not subscribe to this filter at this state? */
bool model_filter_denied(const struct sim *s, const struct sim_state *st, uint8_t client,
                         uint8_t filter);
/* model_is_done - the worker has answered the last copy that was sent. */
bool model_is_done(const struct sim_pub *p);
/* model_retained - the message that a topic must hold now, -1: none or not decidable. */
int model_retained(const struct sim *s, unsigned topic);
/* model_has_expired - its time is over, or may be: a restart with another clock came between. */
bool model_has_expired(const struct sim *s, const struct sim_pub *p);
/* ---- sim_tap.c: what leaves ---- */
void tap_packet(struct sim *s, struct sim_link *l, unsigned worker, const struct mqtt_fixed *f,
                struct slice body);
void model_reception(struct sim *s, struct sim_link *l, unsigned pub, uint8_t qos);
/* model_certain_qos - with which this session certainly gets the message; -1: not certain. */
int model_certain_qos(const struct sim_session *t, const struct sim_pub *p);
int sim_pub_of(const struct sim *s, struct slice payload);
/* ---- sim_check.c: at the end ---- */
void check_end(struct sim *s);

#endif

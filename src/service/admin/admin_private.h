/* admin_private - what the verbs share: the state of admin, late answers, events of administrative
 * acts. */
#ifndef SERVICE_ADMIN_ADMIN_PRIVATE_H
#define SERVICE_ADMIN_ADMIN_PRIVATE_H

#include "service/admin/admin.h"
#include "service/admin/control_server.h"
#include "service/admin/provision.h"
#include "service/admin/renewals.h"
#include "service/admin/slack.h"
#include "service/detect/detect.h"
#include "service/respond/respond.h"
#include "service/watch/alerts.h"
#include "service/watch/recall.h"

enum { ADMIN_FILLS = 4 }; /* descriptors, connections, memory, store */

/* An answer that leaves when every worker decides by `epoch`. */
struct waiting {
    uint64_t token; /* 0: a free row */
    uint64_t epoch, edition;
    uint64_t until_ms;
    bool erases;  /* and not before the keys of removed devices are gone */
    json_t *line; /* owned; NULL: none */
};

/* `audit tail -f`: the next line to send. */
struct follower {
    uint64_t token; /* 0: a free row */
    uint64_t next;
};

/* A question to every worker about what was set aside. */
struct asking {
    uint64_t token; /* 0: a free row */
    enum aside_verb verb;
    uint64_t id; /* 0: all */
    size_t most; /* rows of the answer; 0: no bound */
    bool with_payload;
    uint64_t until_ms;
    struct event act; /* who asked, for the audit trail */
    unsigned n;
    struct aside_ask *asks[BROKER_WORKERS_MAX]; /* owned references */
};

enum inquiry_kind { INQUIRY_LIST, INQUIRY_SUM, INQUIRY_PURGE, INQUIRY_UNDO };

/* Somebody looks at retained messages, or changes them, page by page. */
struct inquiry {
    struct browse *browse; /* owned; NULL: a free row */
    uint64_t token;
    enum inquiry_kind kind;
    uint64_t id;             /* PURGE, UNDO: of the undo record */
    unsigned part;           /* the last one that was written or read */
    uint64_t n, kept, bytes; /* done or seen; in the undo record; of what was seen */
    bool is_due, is_done;    /* to be handed to the worker; for the last time */
    char shown[128];         /* the filter, for events */
};

/* A row of the alerts, as it was last said to who subscribes to them. */
struct admin_announced {
    bool is_open;
    enum event_category category;
    int64_t first_wall_ms;
    char principal[sizeof(((struct event *)NULL)->principal)];
};

struct admin {
    struct admin_setup setup;
    const struct courier_view *courier;               /* NULL: nothing is exported */
    const char *listeners[ADMIN_LISTENERS_MAX];       /* names, for metrics */
    const struct policy *policy;                      /* owned reference */
    const struct trust *trust;                        /* owned reference, or NULL */
    struct realm_lists lists;                         /* owned references, or NULL */
    struct buf own_list_der;                          /* of lists.own, as the authority signed it */
    uint64_t lists_at_ms, lists_soon_ms, lists_epoch; /* the next look at them */
    bool is_list_failing, is_extra_past;              /* as their alerts stand */
    struct digest stapled;                            /* id of the certificate that has a word */
    int64_t staple_again_wall_ms;
    const struct edition *edition; /* the newest of a reload; owned reference, or NULL */
    struct recall *recall;
    struct detect *detect;
    struct respond *respond;
    uint64_t detect_at_ms; /* when it looks who is silent */
    struct renewals *renewals;
    struct alerts alerts;
    struct admin_announced announced[ALERTS_MAX];
    struct control_server *server; /* NULL before admin_attach or admin_adopt */
    struct waiting waiting[CONTROL_CLIENTS_MAX];
    struct asking asking[CONTROL_CLIENTS_MAX];
    struct enrol *enrol;  /* NULL: there is no authority */
    struct list enrolled; /* struct enrolment: decided, until the workers know */
    struct list scraped;  /* struct scrape: answered, until their workers take them */
    struct buf page;      /* the numbers as they were given last */
    uint64_t page_until_ms;
    struct follower followers[CONTROL_CLIENTS_MAX];
    struct inquiry inquiries[ADMIN_INQUIRIES_MAX];
    bool is_realm_due; /* the workers do not all have the newest realm in their rings */
    uint64_t started_ms;
    int64_t started_wall_ms;
    uint64_t backup_token;            /* who holds the store's segments; 0: nobody */
    uint64_t erase_at_ms, keep_at_ms; /* the next try; the next saving of times of last use */
    uint64_t tickets_at_ms;           /* the next look at the age of their keys */
    uint64_t certificate_at_ms;       /* the next look at the age of the server's certificate */
    bool is_certificate_late;         /* renewing it failed, and an event said so */
    bool are_tickets_unsaved;         /* a saving failed, and the log said so */
    bool is_erase_late;               /* a try failed, and an event said so */
    uint64_t conditions_at_ms;        /* the next look at what lasts */
    bool is_clock_behind;
    bool is_scribe_behind;
    uint64_t fills_at_ms; /* the next look at what fills up */
    bool is_filling[ADMIN_FILLS];
    enum pressure memory_step; /* of the ceiling, as it was said last */
    struct slack slack;
    uint64_t expiry_at_ms,
        expiry_epoch; /* the next look at what ends; the directory's at the last */
    bool is_ending_soon, is_ending_together, is_authority_ending; /* as their alerts stand */
    bool has_aged, has_waiting;                                   /* the same */
    uint64_t settle_at_ms;       /* the next look at rotations that wait */
    struct digest waivers_seen;  /* of the file that was told of last; of none: zeros */
    int64_t waivers_due_wall_ms; /* when the first of them ends */
    bool has_seen_waivers;
};

static inline uint64_t admin_now_ms(const struct admin *a)
{
    return a->setup.clock.mono_ms(a->setup.clock.ctx);
}

static inline int64_t admin_wall_ms(const struct admin *a)
{
    return a->setup.clock.wall_ms(a->setup.clock.ctx);
}

static inline void admin_json_release(json_t **j)
{
    json_decref(*j);
}

static inline void admin_version_release(const struct directory_version **v)
{
    *v = directory_version_unref(*v);
}

/* admin_act - notes an administrative act: principal "admin", protocol control, the asker's uid as
 * peer. token 0: nobody asked, the daemon itself acts. admin_act_make: without the reason, for the
 * caller to complete and to give to admin_event. */
struct event admin_act_make(struct admin *a, uint64_t token, enum event_category category,
                            enum event_severity severity, const char *target);
void admin_act(struct admin *a, uint64_t token, enum event_category category,
               enum event_severity severity, const char *target, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* admin_changed - after a change of the directory or policy: gives the new realm to the workers
 * (again at every tick until they have it) and answers this request with line when all of them do.
 * Takes line; NULL is ERR_NOMEM. */
MUST_USE enum err admin_changed(struct admin *a, uint64_t token, struct control_reply *reply,
                                json_t *line);
/* admin_push_realm - the first half: the new realm on its way, nobody waits. */
void admin_push_realm(struct admin *a);

/* admin_exceptions_end - those whose time is over, each with an event. Returns the wall time of the
 * next end, INT64_MAX: none. */
int64_t admin_exceptions_end(struct admin *a);
/* admin_exceptions_report - an event for each that is in force. */
void admin_exceptions_report(struct admin *a);
/* admin_exception_text - "3  mqtt  plaintext  until 2026-...  reason". */
void admin_exception_text(const struct directory_exception *x, char *dst, size_t cap);
json_t *admin_exception_json(const struct directory_exception *x);
/* admin_exception_next - the next one in force: *at starts at 0; NULL at the end. */
const struct directory_exception *admin_exception_next(const struct directory_version *v,
                                                       size_t *at, int64_t now_wall_ms);

/* admin_note - into the trail alone: an event whose alert is held open apart from it. */
void admin_note(struct admin *a, const struct event *e);
/* admin_conditions - now and then: opens and closes the alerts of states that last. Returns when it
 * wants to look again. */
uint64_t admin_conditions(struct admin *a, uint64_t now_ms);

/* admin_announce - publishes which alerts have opened and which have closed since the last call,
 * below PASSAGE_ALERTS. */
void admin_announce(struct admin *a);
/* admin_detect - shows an event to the detectors; what they find becomes events and alerts. */
void admin_detect(struct admin *a, const struct directory_version *v, const struct event *e);
/* admin_detect_turn - the same for the samples of the workers, and for what shows only with time.
 * Returns when it wants to be called again. */
uint64_t admin_detect_turn(struct admin *a, uint64_t now_ms);
/* admin_respond - answers a finding about this principal, as the rules want it. */
void admin_respond(struct admin *a, const struct directory_version *v,
                   const struct detect_finding *found, const char *name);
/* admin_responses_end - those whose time is over, each with an event. Returns as
 * admin_exceptions_end. */
int64_t admin_responses_end(struct admin *a);
/* admin_respond_begin - with what the directory has on record. ERR_NOMEM, ERR_LIMIT. */
MUST_USE enum err admin_respond_begin(struct admin *a);
/* admin_detect_begin - ERR_NOMEM. */
MUST_USE enum err admin_detect_begin(struct admin *a);

/* admin_watch_expiry - opens and closes the alerts of credentials that end soon, or together: when
 * the directory has changed, and every hour. */
void admin_watch_expiry(struct admin *a, uint64_t now_ms);

/* admin_watch_waivers - an event for each waiver of the doctor that began, changed or ended since
 * the last look; cheap while there is no news. */
void admin_watch_waivers(struct admin *a);

/* admin_roll_line - how far a roll-over of the authority is, and who would be left behind; nothing
 * when none is under way. */
MUST_USE enum err admin_roll_line(const struct admin *a, struct control_reply *reply);
/* admin_settle - takes note of devices that have used their new secrets, and ends the old ones.
 * Returns when it wants to be called again. */
uint64_t admin_settle(struct admin *a, uint64_t now_ms);
/* admin_decide_rotation - `device rotate --abort` and `--now`: no new credentials. */
MUST_USE enum err admin_decide_rotation(struct admin *a, const struct control_request *r,
                                        uint64_t token, struct control_reply *reply);
/* admin_rotation_note - what is to be known of a rotation that was just made; empty: nothing. */
void admin_rotation_note(const struct admin *a, struct slice name, size_t n_replaced, char *dst,
                         size_t cap);
/* admin_waiting_count - credentials of this device that wait for their first use. */
size_t admin_waiting_count(const struct admin *a, struct slice name);
/* admin_list_duplicates - `device list --duplicates`. */
MUST_USE enum err admin_list_duplicates(struct admin *a, struct control_reply *reply);

/* admin_backup_watch - lets the store's segments go when the backup that held them has gone. */
void admin_backup_watch(struct admin *a);
/* admin_restored - says, once, that this data directory was restored. */
void admin_restored(struct admin *a);
/* admin_erase - the keys of removed devices go when no worker can write for them any more; again
 * every second while the disk refuses. Returns when it wants to be called again. */
uint64_t admin_erase(struct admin *a, uint64_t now_ms);
/* admin_keep_tickets - replaces the keys of TLS tickets when it is time, and saves them. Returns
 * when it wants to be called again. */
uint64_t admin_keep_tickets(struct admin *a, uint64_t now_ms);
/* admin_keep_certificate - gives the server a new certificate when a third of the old one's life is
 * left; while that fails an alert is open, and it is tried again. Returns as admin_keep_tickets. */
uint64_t admin_keep_certificate(struct admin *a, uint64_t now_ms);
/* admin_keep_uses - saves times of last use, every hour. Returns when it wants to be called again.
 */
uint64_t admin_keep_uses(struct admin *a, uint64_t now_ms);
/* admin_directory_report - an event when the directory was found damaged. */
void admin_directory_report(struct admin *a);

/* admin_answer_asking - answers who asked about what was set aside, when all workers have spoken.
 * Returns whether somebody still waits. */
bool admin_answer_asking(struct admin *a, uint64_t now_ms);
void admin_asking_close(struct asking *q);
/* admin_inquire - goes on with who looks at retained messages; true: some wait for a worker. */
bool admin_inquire(struct admin *a);
void admin_inquiries_end(struct admin *a);
/* admin_enrol - decides who wants a certificate, and answers them when all workers would let them
 * in. True: some wait for that. admin_enrol_end - those who wait get no answer. */
bool admin_enrol(struct admin *a, uint64_t now_ms);
MUST_USE enum err admin_enrol_begin(struct admin *a);
void admin_enrol_end(struct admin *a);
/* admin_scrapes - answers who reads numbers over HTTP. True: some wait for room in a ring. */
bool admin_scrapes(struct admin *a, uint64_t now_ms);
void admin_scrapes_begin(struct admin *a);
void admin_scrapes_end(struct admin *a);
/* admin_provision - what new devices are made by, and with which ports. */
struct provision admin_provision(const struct admin *a);
/* admin_follow - sends the new lines of the trail to who follows it. */
void admin_follow(struct admin *a);

/* admin_sources - what metrics and status are made of; sets has BROKER_WORKERS_MAX places, store
 * and responses are filled and borrowed. */
struct metrics_sources admin_sources(const struct admin *a, const struct counters **sets,
                                     struct log_status *store, struct respond_counts *responses);

/* admin_time - a JSON string of a wall time; "-" for 0 and CREDENTIAL_NEVER. */
json_t *admin_time(int64_t wall_ms);
/* admin_time_text - the same as text. */
void admin_time_text(int64_t wall_ms, char dst[CLOCK_ISO8601_BYTES]);

/* admin_serial_text - the serial of a certificate; NULL: it is none, or not known. */
const char *admin_serial_text(const struct credential *c, char dst[SERIAL_HEX_BYTES]);

/* admin_shown - a stranger's text fit for a terminal and for JSON: what is not plain UTF-8 becomes
 * \xNN; cut to fit. cap > 0. */
void admin_shown(struct slice text, char *dst, size_t cap);

/* admin_refuse - the final line for an error of the directory: *why if it says something, else the
 * error's name after `what`. */
MUST_USE enum err admin_refuse(struct control_reply *reply, const char *what, enum err e,
                               const struct why *why);

/* The verbs; ctx is the admin. */
control_handler verb_device_add, verb_device_list, verb_device_show, verb_device_disable,
    verb_device_enable, verb_device_revoke, verb_device_rotate, verb_device_remove,
    verb_policy_check, verb_policy_apply, verb_policy_explain, verb_exception_add,
    verb_exception_list, verb_exception_end, verb_status, verb_metrics, verb_alerts,
    verb_audit_tail, verb_audit_anchor, verb_audit_roll_key, verb_backup_pin,
    verb_master_key_rotate, verb_retained_list, verb_retained_purge, verb_retained_undo,
    verb_setaside_list, verb_setaside_replay, verb_setaside_drop, verb_certs_renew, verb_certs_roll,
    verb_certs_list, verb_certs_plan, verb_enrol_terms, verb_enrol_list, verb_enrol_approve,
    verb_enrol_reject, verb_enrol_row, verb_device_role, verb_device_assign, verb_fleet_select,
    verb_fleet_change, verb_fleet_add, verb_fleet_rotate, verb_certs_revoke, verb_certs_crl,
    verb_policy_crowd, verb_respond_list, verb_respond_start, verb_respond_undo;

#endif

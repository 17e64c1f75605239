/*
 * sim_journal - a tap between each worker and its journal of the real log: every record that was
 * taken is noted, so that the model can ask at any moment what would survive, and compare after a
 * restart (sim_survey.c). Nothing here allocates while a worker calls.
 */
#ifndef SIM_SIM_JOURNAL_H
#define SIM_SIM_JOURNAL_H

#include "core/journal_record.h"

struct sim;

enum { SIM_RECORDS_MAX = 1 << 15, SIM_RECORD_BYTES = 4096 };

/* One record; a DELIVER is one for each of its entries. */
struct sim_record {
    enum journal_kind kind;
    uint8_t writer, qos;
    uint8_t client;     /* SESSION */
    uint8_t name;       /* BODY: topic; SUB, UNSUB: filter */
    int16_t pub;        /* BODY, DELIVER, WILL; -1: a clear, or not known */
    uint64_t lsn;       /* 0: it has survived a restart */
    uint64_t id;        /* of the body; else of the session */
    uint64_t seq;       /* of a delivery; packet id; retained number */
    uint64_t body;      /* DELIVER */
    uint64_t owed;      /* BODY: bits of workers that owe a DELIVER */
    uint64_t publisher; /* BODY, DELIVER: principal */
    uint16_t debtor;    /* DELIVER: the worker in whose name it was written */
    bool is_settled;    /* DELIVER: by ACK or DROP; BODY: its debt; at settled_lsn of settled_by */
    bool is_owing;      /* BODY: when the process began */
    bool is_received;
    uint8_t via;       /* DELIVER: the shared filter; 0: no such */
    bool is_passed_on; /* BODY, DELIVER: a copy for a group */
    bool is_replay;    /* DELIVER: of a retained message to a new subscription */
    uint8_t settled_by, received_by;
    uint64_t settled_lsn, received_lsn;
};

struct sim_writer {
    struct journal journal; /* first */
    struct sim_log *log;
    struct journal *real;
    unsigned index;
    uint64_t committed; /* of a journal that is no more */
    uint64_t n_ghosts;
    uint64_t refused_at; /* tick when it did not take something last; 0: never */
};

struct sim_log {
    struct sim *sim;
    unsigned n_writers;
    bool is_dead; /* the process has died: what its parts still say nobody hears */
    struct sim_writer writers[4];
    struct sim_record *records;
    size_t n;
    uint8_t bytes[SIM_RECORD_BYTES];
};

/* sim_log_new - NULL: no memory. */
struct sim_log *sim_log_new(struct sim *s);
struct sim_log *sim_log_free(struct sim_log *l);
/* sim_log_attach - records of writer i go to this journal from now on. */
struct journal *sim_log_attach(struct sim_log *l, unsigned i, struct journal *real);
/* sim_log_die - the process has ended: what is committed now is so for good. Before the real log is
 * freed. */
void sim_log_die(struct sim_log *l);

/* What would survive of something at this moment. */
enum sim_kept { SIM_ABSENT, SIM_APPENDED, SIM_COMMITTED };

enum sim_kept sim_log_kept(const struct sim_log *l, const struct sim_record *r);
enum sim_kept sim_log_settled(const struct sim_log *l, const struct sim_record *r);
enum sim_kept sim_log_seen(const struct sim_log *l, const struct sim_record *r);
/* The newest record of a kind about (session or body, seq); NULL: none. */
struct sim_record *sim_log_find(const struct sim_log *l, enum journal_kind kind, uint64_t id,
                                uint64_t seq);
/* The newest SUB or UNSUB of a filter; NULL: none. */
struct sim_record *sim_log_sub(const struct sim_log *l, uint64_t sid, unsigned filter);
/* The id of the session that began last for a client; 0: none. */
uint64_t sim_log_session_of(const struct sim_log *l, unsigned client);
enum sim_kept sim_log_session(const struct sim_log *l, uint64_t sid);
enum sim_kept sim_log_session_end(const struct sim_log *l, uint64_t sid);
/* The delivery record of message `pub` for session sid: the best of several. */
enum sim_kept sim_log_delivery(const struct sim_log *l, uint64_t sid, unsigned pub);
/* A delivery record of message `pub` as its publisher sent it, to a member by this shared filter.
 * One that its publisher's worker did not ask for counts when it is committed: it chose a member
 * that does not last, which was gone. */
enum sim_kept sim_log_shared(const struct sim_log *l, unsigned filter, unsigned pub);
/* Is there one of this session, passed on or not? */
bool sim_log_has_shared(const struct sim_log *l, uint64_t sid, unsigned filter, unsigned pub);
/* Is there a body of this message on record that a crash now would have matched again? */
bool sim_log_is_owing(const struct sim_log *l, unsigned pub);
/* The body record of this message as its publisher sent it: the best of several. */
enum sim_kept sim_log_body(const struct sim_log *l, unsigned pub);
/* The last INBOUND, RELEASED record of (session, packet id). */
enum sim_kept sim_log_inbound(const struct sim_log *l, uint64_t sid, uint16_t packet_id);
enum sim_kept sim_log_released(const struct sim_log *l, uint64_t sid, uint16_t packet_id);
/* Committed "PUBREC seen" records of a session. */
uint64_t sim_log_received(const struct sim_log *l, uint64_t sid);
/* A delivery of this session without ack and drop: its message, -1: none. */
int sim_log_unsettled(const struct sim_log *l, uint64_t sid);
unsigned sim_log_count_unsettled(const struct sim_log *l, uint64_t sid);
/* Has some worker's journal refused a record since this tick? */
bool sim_log_has_refused(const struct sim_log *l, uint64_t since);
/* The body with the highest retained number on this topic; NULL: none. */
struct sim_record *sim_log_retained(const struct sim_log *l, unsigned topic, bool only_committed);

#endif

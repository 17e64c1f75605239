/*
 * sim_journal - a journal behind core/journal.h that keeps every record and commits when it is told to, so that the
 * model can ask at any moment what would survive.
 */
#ifndef SIM_SIM_JOURNAL_H
#define SIM_SIM_JOURNAL_H

#include "core/journal.h"

struct sim_log;

/* sim_log_new - n writers. name gives the number of a message from its payload, -1: none. NULL: no
 * memory. */
struct sim_log *sim_log_new(unsigned n, int (*name)(const void *ctx, struct slice payload),
                            const void *ctx);
struct sim_log *sim_log_free(struct sim_log *l);
struct journal *sim_log_writer(struct sim_log *l, unsigned i);
uint64_t sim_log_appended(const struct sim_log *l, unsigned i);
uint64_t sim_log_committed(const struct sim_log *l, unsigned i);
void sim_log_commit(struct sim_log *l, unsigned i, uint64_t up_to);

/* sim_log_take_session - id of the last session record of this writer, once; 0: none since. */
uint64_t sim_log_take_session(struct sim_log *l, unsigned writer);

/* What would survive of something at this moment. */
enum sim_kept { SIM_ABSENT, SIM_APPENDED, SIM_COMMITTED };

/* The delivery record of message `pub` for session sid: the best of several. */
enum sim_kept sim_log_delivery(const struct sim_log *l, uint64_t sid, unsigned pub);
/* The body record of this message: the best of several. */
enum sim_kept sim_log_body(const struct sim_log *l, unsigned pub);
/* The last INBOUND, RELEASED record of (session, packet id). */
enum sim_kept sim_log_inbound(const struct sim_log *l, uint64_t sid, uint16_t packet_id);
enum sim_kept sim_log_released(const struct sim_log *l, uint64_t sid, uint16_t packet_id);
/* Committed "PUBREC seen" records of a session. */
uint64_t sim_log_received(const struct sim_log *l, uint64_t sid);
/* A delivery of this session without ack and drop: its message, -1: none. */
int sim_log_unsettled(const struct sim_log *l, uint64_t sid);
/* The body with the highest retained number on this topic: its message, -1 for a clear, -2: none. */
int sim_log_retained(const struct sim_log *l, struct slice topic);

#endif

/* group_private - shared subscriptions: which member gets a message, and what waits for another;
 * shared by the files of this folder only. */
#ifndef SERVICE_BROKER_GROUP_PRIVATE_H
#define SERVICE_BROKER_GROUP_PRIVATE_H

#include "service/broker/worker_private.h"

/* group.c */
/* Members on other workers that were chosen for one message. */
struct choice {
    struct wmsg_chosen *chosen; /* owned; NULL: none */
    uint64_t to, owed; /* bits of their workers; of those where one that lasts may get it */
};
/* groups_choose - every group in `match` becomes one hit of a member that lives here, or part of
 * the choice. ERR_NOMEM: nothing was chosen. */
MUST_USE enum err groups_choose(struct worker *w, const struct msg *m, struct match *match,
                                struct choice *ret);
/* groups_chosen - the same where a message of another worker arrives: what was chosen there counts.
 * Who has gone meanwhile, or must not have it any more, is replaced; by members of other workers:
 * they are in *onward then, whose `chosen` is the caller's also after an error. ERR_NOMEM. */
MUST_USE enum err groups_chosen(struct worker *w, const struct wmsg *in, struct match *match,
                                struct choice *onward);
/* group_send_on - with the next handover, to the worker of the first place, for which there is room
 * (outbox_reserve). is_owed: with the debt of this worker, and its answer to who asked. */
void group_send_on(struct worker *w, const struct wmsg *in, struct wmsg_chosen *chosen,
                   bool is_owed);
/* groups_missed - the same after a restart, all workers alike: a group of which nobody is in
 * `sessions` becomes a hit of one durable member, at the worker where that lives. */
void groups_missed(struct worker *w, const struct msg *m, const uint64_t *sessions, size_t n,
                   struct match *match);
/* group_pass_on - a delivery of s through this group, which s does not get: the next member does,
 * on record when that is durable; nobody does with QoS 2 when it may have left. */
void group_pass_on(struct worker *w, const struct session *s, const struct delivery *d);
/* group_give - m goes to a member of this group, if there is one that can have it; not to `from`
 * (NULL: to anybody). ERR_NOMEM and the journal's errors: it went to nobody. */
MUST_USE enum err group_give(struct worker *w, uint32_t number, const struct msg *m,
                             const struct session *from);
/* groups_end_session - what s leaves behind, its subs removed already, goes to other members. True:
 * some waits for room in the store, and the end of the session's record with it. */
bool groups_end_session(struct worker *w, const struct session *s);
/* groups_session_changed - it fell asleep, woke up, or lasts longer or shorter. */
void groups_session_changed(struct worker *w, struct session *s);
/* group_join - s is a new member: the others are told. ERR_NOMEM: nothing changed, or those that
 * were told are told otherwise. */
MUST_USE enum err group_join(struct worker *w, struct session *s, struct slice text,
                             struct sub **ret);
void group_leave(struct worker *w, struct sub *sub);
/* member_told - what another worker says of a member. ERR_NOMEM: it is to come again. */
MUST_USE enum err member_told(struct worker *w, const struct wmsg *m);
/* group_of_restored - through which group a delivery with these identifiers came that was read
 * back, as far as can be told: 0 when an ordinary subscription of s may have brought it as well. */
uint32_t group_of_restored(const struct session *s, struct slice topic, const uint32_t *ids,
                           size_t n_ids);

enum { ORPHANS_MAX = 4096 /* of a worker */ };

/* orphan.c: what waits for room to go on to another member */
/* orphan_keep - d waits, on record as a delivery of this session (0: nowhere). False: no memory, or
 * too many do. */
bool orphan_keep(struct worker *w, uint64_t session, const struct delivery *d);
/* orphan_ends_session - the newest is the last of this session, whose record ends with it. */
void orphan_ends_session(struct worker *w, uint64_t session);
void orphans_turn(struct worker *w);
uint64_t orphans_deadline(const struct worker *w);
void orphans_free(struct worker *w);

#endif

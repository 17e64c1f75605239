/*
 * index - what in the log is still alive, and where: sessions and what belongs to them, bodies that
 * somebody waits for, retained messages, set-aside messages, table entries. It holds places and
 * numbers, no contents but client ids, filters and topics (as keyed hashes where only sameness
 * counts).
 *
 * Pure: no disk, no clock, no thread. The log applies every record in log order, live and at a
 * restart, so both build the same. Applying is idempotent: the cleaner copies living records to the
 * end, and a crash may leave both copies. Records may also come before what they refer to (a copied
 * body behind its deliveries): the index waits for it.
 *
 * The cleaner empties the *oldest* segment always, so a record that ends another (ACK, UNSUB,
 * SESSION_END, ...) is never needed longer than its own segment lives: what it ended lies in the
 * same or an older one. The one exception is a retained clear that overtook an older number of its
 * topic: it stays alive until the segment of the loser is gone.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/siphash.h"
#include "core/journal_record.h"
#include "store/segment.h"

struct index;
struct item; /* one record that may be alive; the index owns it */

MUST_USE enum err index_new(const struct siphash_key *key, struct index **ret);
struct index *index_free(struct index *x);

/*
 * index_apply - one record, in log order
 *
 * content   head and body of the record; borrowed for the call.
 * place     where it lies; segment 0: not written yet, index_placed follows.
 * ret_item  what the record made; NULL for one that only ends things, and for one that lost at once
 *           (an older retained number that nobody waits for, a session that has ended).
 * ret_ended may be NULL; the item that this record ends or shrinks (the DELIVER of an ACK), NULL:
 *           none was there. A record whose `ended` item is dead and was never placed needs no
 *           writing.
 * ERR_MALFORMED and the like: nothing changed. ERR_NOMEM.
 */
MUST_USE enum err index_apply(struct index *x, enum journal_kind kind, struct slice content,
                              struct place place, struct item **ret_item, struct item **ret_ended);
/* index_is_alive - an item stays readable, also when dead, until it was placed or let go. */
bool index_is_alive(const struct item *i);
/* index_placed - an unplaced item lies here now. Dead ones count nothing. index_let_go - it will
 * not be written: it was dead. */
void index_placed(struct index *x, struct item *i, struct place place);
void index_let_go(struct index *x, struct item *i);

/* index_find - the living item of this record, if it lies at this very place; NULL: dead, or copied
 * meanwhile. For the cleaner. */
struct item *index_find(const struct index *x, enum journal_kind kind, struct slice content,
                        struct place place);
/* index_rewrite - the content with which a living record is copied: entries that are settled are
 * left out of DELIVER and PUBREC-seen ones marked, BODY owes nothing that has come, SESSION has the
 * newest next_seq. Appended to *ret. After index_moved the item lies at the new place. */
MUST_USE enum err index_rewrite(const struct index *x, const struct item *i, enum journal_kind kind,
                                struct slice content, struct buf *ret);
void index_moved(struct index *x, struct item *i, struct place place);

/* index_lost - what lay here cannot be read any more (damage, an erased key): its item, if one is
 * known, is forgotten; deliveries of a lost body stay and are reported at a restart. */
void index_lost(struct index *x, struct place place);

/* Bytes of living records in a segment, and in all. */
uint64_t index_living(const struct index *x, uint32_t segment);
uint64_t index_living_all(const struct index *x);
/* index_segment_gone - the segment was removed: markers that waited for it are forgotten. */
void index_segment_gone(struct index *x, uint32_t segment);
struct store_ids index_ids(const struct index *x);

/* ---- reading it out after a restart ---- */

/* What is walked, in this order; every call may fail, which ends the walk. Bodies are named by id;
 * whoever walks asks the log for their contents. */
struct index_sink {
    void *ctx;
    enum err (*session)(void *ctx, uint64_t id, struct place place, uint64_t next_seq);
    enum err (*sub)(void *ctx, uint64_t session, struct place place);
    enum err (*will)(void *ctx, uint64_t session, struct place place);
    enum err (*inbound)(void *ctx, uint64_t session, uint16_t packet_id);
    /* In the order of seq. body place segment 0: it is lost, or not needed (is_received). */
    enum err (*delivery)(void *ctx, const struct journal_delivery *d, const uint32_t *ids,
                         uint64_t body_id, struct place body);
    enum err (*retained)(void *ctx, uint64_t body_id, struct place body);
    /* A body that some worker never answered; sessions that have had it. */
    enum err (*unanswered)(void *ctx, uint64_t body_id, struct place body, const uint64_t *sessions,
                           size_t n);
    enum err (*set_aside)(void *ctx, uint64_t id, struct place place);
    enum err (*entry)(void *ctx, uint8_t table, uint64_t id, struct place place);
};
/* Session by session, each with all that is its own; then the rest. */
MUST_USE enum err index_walk(const struct index *x, const struct index_sink *sink);

#endif

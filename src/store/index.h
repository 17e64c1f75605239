/*
 * index - what in the log is still alive, and where: sessions and what belongs to them, bodies that
 * somebody waits for, retained messages, set-aside messages, table entries. It holds places and
 * numbers, no contents but client ids, filters and topics (as keyed hashes where only sameness
 * counts).
 *
 * Pure: no disk, no clock, no thread. The log applies every record in log order, live and at a
 * restart, so both build the same. Applying is idempotent: the cleaner copies living records to the
 * end, and a crash may leave both copies. Records may also come before what they refer to (a copied
 * body behind its deliveries): until index_complete the index waits for it.
 *
 * The cleaner empties the *oldest* segment always, so a record that ends another (ACK, UNSUB,
 * SESSION_END, ...) is never needed longer than its own segment lives: what it ended lies in the
 * same or an older one. The one exception is a retained clear that overtook an older number of its
 * topic: it stays alive until the segment of the loser is gone.
 *
 * So nothing remembers the sessions that ended. Behind index_complete a record of an unknown
 * session is one of an ended session, and dead at once. Before it, the record waits: its SESSION
 * may come as a copy. It came before the SESSION_END when there was one, and is never copied behind
 * that; what still waits when all is read belongs to nobody.
 *
 * What was applied counts at once. Whoever removes a segment makes sure first that everything that
 * was applied is durable: a retained message may have lost to one that is not.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/siphash.h"
#include "core/journal_record.h"
#include "store/segment.h"

struct index;
struct item; /* one record that may be alive; the index owns it. It stays readable, also when dead,
                as long as somebody holds it: from index_apply without a place until index_placed or
                index_let_go, from index_find until index_moved or index_let_go. */

MUST_USE enum err index_new(const struct siphash_key *key, struct index **ret);
struct index *index_free(struct index *x);

/*
 * index_apply - one record, in log order
 *
 * content   head and body of the record; borrowed for the call.
 * place     where it lies (nobody holds the item then); segment 0: not written yet, index_placed or
 *           index_let_go follows.
 * ret_item  what the record made, held; NULL for one with a place, that only ends, or of a session
 * that has ended. A BODY is often dead until its DELIVER comes: ask at the end of the batch.
 * ret_ended may be NULL; the item that this record ends or shrinks (the DELIVER of an ACK) when it
 *           was never placed and nothing older of its name is on disk; else NULL. A record whose
 *           `ended` item is dead at the end of the batch needs no writing, as long as no part of
 *           the batch has been tried on disk: after a failed write all of it is written again.
 * ERR_MALFORMED and the like, ERR_NOMEM: nothing changed.
 */
MUST_USE enum err index_apply(struct index *x, enum journal_kind kind, struct slice content,
                              struct place place, struct item **ret_item, struct item **ret_ended);
/* index_expect - this record will be applied soon: what a search for it touches first is brought
 * nearer. Changes nothing; any content will do. */
void index_expect(const struct index *x, enum journal_kind kind, struct slice content);
/* index_complete - all that is on disk was applied (also when that is nothing): what still waits
 * for its session is forgotten, and bodies that nobody waits for die. Until then they do not: their
 * deliveries may lie far behind them as copies. */
void index_complete(struct index *x);
/* index_is_alive - must it be written, or copied? */
bool index_is_alive(const struct item *i);
/* index_placed - an unplaced item lies here now. index_let_go - it will not be written, because it
 * was dead; or it will not be copied. Both end the hold. */
void index_placed(struct index *x, struct item *i, struct place place);
void index_let_go(struct index *x, struct item *i);

/* index_find - the living item of this record, if it lies at this very place, held; NULL: dead, or
 * copied meanwhile. For the cleaner. */
struct item *index_find(struct index *x, enum journal_kind kind, struct slice content,
                        struct place place);
/* index_rewrite - the content with which a living record is copied: entries that are settled are
 * left out of DELIVER (kept and marked while the body owes) and PUBREC-seen ones marked, and how
 * often each was sent (TRIED); BODY owes
 * nothing that has come and has no number when it is not the retained one, SESSION has the newest
 * next_seq. Appended to *ret. After index_moved the item lies at the new place; the copy stands in
 * the log before everything that is applied behind index_rewrite. */
MUST_USE enum err index_rewrite(const struct index *x, const struct item *i, enum journal_kind kind,
                                struct slice content, struct buf *ret);
void index_moved(struct index *x, struct item *i, struct place place);

/* index_lost - what lay here cannot be read any more (damage, an erased key): its item, if one is
 * known, is forgotten; deliveries of a lost body stay and are reported at a restart. O(all). */
void index_lost(struct index *x, struct place place);

/* Bytes of living records in a segment, and in all. */
uint64_t index_living(const struct index *x, uint32_t segment);
uint64_t index_living_all(const struct index *x);
/* index_segment_gone - the segment was removed: markers that waited for it are forgotten. */
void index_segment_gone(struct index *x, uint32_t segment);
struct store_ids index_ids(const struct index *x);
/* index_body - where a living body lies; segment 0: there is none, or it was not written yet. */
struct place index_body(const struct index *x, uint64_t id);

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
    /* A body that some worker never answered; sessions that have had it (some maybe twice). Known
     * after a restart only. In the order of body ids: a publisher's messages in theirs. */
    enum err (*unanswered)(void *ctx, uint64_t body_id, struct place body, const uint64_t *sessions,
                           size_t n);
    enum err (*set_aside)(void *ctx, uint64_t id, struct place place);
    enum err (*entry)(void *ctx, uint8_t table, uint64_t id, struct place place);
};
/* Session by session, each with all that is its own; then the rest. */
MUST_USE enum err index_walk(const struct index *x, const struct index_sink *sink);

#endif

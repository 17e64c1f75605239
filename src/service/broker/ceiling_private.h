/* ceiling_private - what a worker does when memory is short: what is not taken, what waits on disk
 * alone, what slow readers do not get; shared by the files of this folder only. */
#ifndef SERVICE_BROKER_CEILING_PRIVATE_H
#define SERVICE_BROKER_CEILING_PRIVATE_H

#include "base/slice.h"

struct conn;
struct decision;
struct delivery;
struct reading;
struct session;
struct worker;

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

/* slow.c */
enum drop_kind { DROP_QUEUE, DROP_PRESSURE };
/* slow_dropped - n deliveries that s does not get, the last one on this topic (or empty). */
void slow_dropped(struct worker *w, struct session *s, enum drop_kind kind, uint32_t n,
                  struct slice target);
/* slow_say - what was not said yet, now. */
void slow_say(struct worker *w, struct session *s);
void slow_sweep(struct worker *w);

#endif

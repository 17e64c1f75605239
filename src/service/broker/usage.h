/* usage - what principals publish, in numbers for the detectors: counted with each message, without
 * an allocation from the second on, told at the end of a turn (service/detect/sample.h). */
#ifndef SERVICE_BROKER_USAGE_H
#define SERVICE_BROKER_USAGE_H

#include "core/account.h"

struct worker;

/* usage_publish - one message that may be published; usage_release - one PUBREL. usage_leave - the
 * account goes: what is untold of it is told now. usage_turn, usage_deadline: tells what is due.
 * O(1) but the turn. */
void usage_publish(struct worker *w, struct account *a, struct slice topic, size_t bytes,
                   bool is_retained);
void usage_release(struct worker *w, struct account *a);
void usage_leave(struct worker *w, struct account *a);
void usage_turn(struct worker *w);
uint64_t usage_deadline(const struct worker *w);

#endif

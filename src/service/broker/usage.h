/* usage - what principals publish, in numbers for the detectors: counted with each message, without
 * an allocation from the second on, told at the end of a turn (service/detect/sample.h). */
#ifndef SERVICE_BROKER_USAGE_H
#define SERVICE_BROKER_USAGE_H

#include "core/account.h"
#include "service/detect/sample.h"
#include "wire/mqtt/connect.h"

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
/* usage_clock - what is published, with the Content-Format of CoAP that says what it is: of SenML,
 * of a role without many clients, is read now and then for its newest time. Nothing but comparisons
 * otherwise. */
void usage_clock(struct worker *w, struct account *a, uint16_t format, struct slice payload);
/* usage_hello - how it comes, to be told when it is in; peer is "address:port". false: nobody
 * watches. usage_hello_tell - tells it. */
bool usage_hello(const struct worker *w, const struct account *a, const struct mqtt_connect *c,
                 bool is_assigned, const char *peer, struct detect_sample *ret);
void usage_hello_tell(struct worker *w, const struct detect_sample *s);

#endif

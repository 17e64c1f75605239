/*
 * shown - what a door knows by itself of the certificate that a client renews by: whether a list
 * has taken it back, and, when it has ended, whether more come to renew than may at once.
 */
#ifndef SERVICE_ENROL_SHOWN_H
#define SERVICE_ENROL_SHOWN_H

#include "service/broker/enrolment.h"
#include "service/broker/worker.h"

/* What it needs of the door; borrowed for the call. */
struct shown_door {
    struct worker *worker;
    struct counters *counters;
    void *ctx;
    void (*event)(void *ctx, const struct event *e);
    bool paces_all; /* whoever renews takes a place, not only who has an ended certificate */
};

/* shown_look - true: e may go to who decides; false: it has its answer, which is reported. Only who
 * could renew takes a place of the pace, and who brings a token is not renewing. */
MUST_USE bool shown_look(const struct shown_door *door, struct enrolment *e, int64_t now_wall_ms);

#endif

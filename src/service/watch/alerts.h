/*
 * alerts - what needs a person: events of severity alert of the last day, one row for each category
 * and principal (of exposure for each listener); states that last (a full disk, a wrong clock),
 * held open until they end; and
 * poison_message, a row for each client and topic, open until an event of severity notice with the
 * same principal, client id and target says that nothing is set aside there any more; and what
 * detectors found, with since when, evidence and a suggested answer. Exceptions in
 * force are added by who lists (they are in the directory). Service thread only.
 */
#ifndef SERVICE_WATCH_ALERTS_H
#define SERVICE_WATCH_ALERTS_H

#include "base/event.h"

enum {
    ALERTS_MAX = 128,
    ALERTS_OF_ONE_MAX = 8, /* rows of poison_message of one principal, and of what detectors found
                              in one category about one principal, or about strangers; the oldest
                              gives way */
    ALERTS_EVIDENCE_BYTES = 112,
    ALERTS_OPEN_MS = 24 * 3600 * 1000
};

/* What a detector says beside the event. */
struct alert_finding {
    const char *detector; /* its name, static; NULL: no detector found it */
    const char *answer;   /* what a person can do, static */
    char evidence[ALERTS_EVIDENCE_BYTES];
};

struct alert {
    struct event last; /* the newest of them */
    int64_t first_wall_ms;
    uint64_t count;   /* 0: a free row */
    const char *held; /* NULL, or the name of the state that keeps it open */
    struct alert_finding finding;
};

/* { 0 } has none. */
struct alerts {
    struct alert row[ALERTS_MAX];
    uint64_t forgotten; /* rows given up for newer ones while still open */
};

/* alerts_note - counts e when it is an alert (exceptions are left out, see above); when all rows
 * are open the one that was quiet longest is given up. O(ALERTS_MAX). */
void alerts_note(struct alerts *a, const struct event *e, int64_t now_wall_ms);
/* alerts_found - the same for what a detector found, seen since since_wall_ms: a row for each
 * detector and principal, or, when it is about a stranger, for each address. */
void alerts_found(struct alerts *a, const struct event *e, const struct alert_finding *f,
                  int64_t since_wall_ms, int64_t now_wall_ms);
/* alerts_hold - one row for this state (a static name), open until alerts_release, however old; e
 * is what it shows. */
void alerts_hold(struct alerts *a, const char *state, const struct event *e, int64_t now_wall_ms);
/* alerts_release - closes it; false: it was not held. */
bool alerts_release(struct alerts *a, const char *state);
/* alerts_next - the open ones, in no order: *at starts at 0; NULL at the end. */
const struct alert *alerts_next(const struct alerts *a, size_t *at, int64_t now_wall_ms);

#endif

/* incident_tally - events of an incident, summed up: who writes the file and who checks it count in
 * the same way. */
#ifndef SERVICE_WATCH_INCIDENT_TALLY_H
#define SERVICE_WATCH_INCIDENT_TALLY_H

#include <jansson.h>

#include "service/watch/incident.h"

struct incident_tally {
    json_t *categories, *peers, *targets;
};

void incident_tally_done(struct incident_tally *t);
MUST_USE enum err incident_tally_init(struct incident_tally *t);
/* incident_tally_add - one event, as JSON. ERR_MALFORMED: it is no object of texts; ERR_NOMEM. */
MUST_USE enum err incident_tally_add(struct incident_tally *t, const json_t *event);
/* incident_is_about - does the event name this device: as who acted, as the client, as what was
 * acted on, or in words? */
bool incident_is_about(const json_t *event, const char *device);
/* incident_end_line - the file's last line as JSON, for the caller; NULL: no memory. */
json_t *incident_end_line(const struct incident_tally *t, const struct incident_report *r);

#endif

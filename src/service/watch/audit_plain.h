/*
 * audit_plain - the trail as it was before it was sealed: DIR/audit.jsonl and the older
 * audit.jsonl.1 to .8, one line of JSON each event.
 */
#ifndef SERVICE_WATCH_AUDIT_PLAIN_H
#define SERVICE_WATCH_AUDIT_PLAIN_H

#include "service/watch/trail.h"

#define AUDIT_PLAIN_FILE "audit.jsonl"
enum { AUDIT_PLAIN_OLD_MAX = 8 };

/*
 * audit_plain_take - all that is there goes into the trail, oldest first; each file is then
 * overwritten with zeros and removed
 *
 * What is not a line of JSON is left out. After an error the file that met it is still there, and
 * the next try takes it once more: a line may then be in the trail twice, none is lost. (A file
 * system that copies on write, or an SSD, may keep what was overwritten.) *ret_lines: how many were
 * taken, also after an error. ERR_IO, ERR_SPACE, ERR_DENIED, ERR_NOMEM, ERR_CRYPTO.
 */
MUST_USE enum err audit_plain_take(struct disk *d, struct trail *t, uint64_t *ret_lines);

#endif

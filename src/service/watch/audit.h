/*
 * audit - the trail of events: one JSON object a line, given to the scribe, who writes them to
 * DIR/audit (scribe.h), and the last lines in memory.
 *
 * Repeats (all but time and the peer's port the same) within a second become one line with their
 * count; the first of them is written at once, so that nothing is hidden and nothing floods the
 * disk. Service thread only.
 */
#ifndef SERVICE_WATCH_AUDIT_H
#define SERVICE_WATCH_AUDIT_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/event.h"
#include "base/random.h"
#include "base/scope.h"
#include "service/watch/scribe_client.h"

enum {
    AUDIT_FOLD_MS = 1000,
    AUDIT_FOLDS_MAX = 1024, /* different events that wait for their repeats */
    AUDIT_LINES_MAX = 1000, /* kept in memory for `audit tail` */
    AUDIT_LINE_MAX = 8192   /* bytes of a line; no event of struct event reaches it */
};

struct audit;

/* disk is the data directory's, borrowed for the call, as root is; clock, random and link are
 * copied. */
struct audit_setup {
    struct disk *disk;
    struct clock clock;
    struct slice root;           /* 32 bytes: keyring_root */
    struct random_source random; /* the run, and the key of the map of repeats */
    struct scribe_link link;
};

/* audit_open - reads the last lines of the trail back. A torn end and damage are passed over.
 * ERR_IO, ERR_DENIED, ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err audit_open(const struct audit_setup *s, struct audit **ret);
/* audit_free - gives what was folded to the scribe, and waits SCRIBE_FINISH_MS for it at most. NULL
 * is fine. */
struct audit *audit_free(struct audit *a);
AUTOFREE(audit, audit_free)
/* audit_damage - what audit_open found damaged, as an event; false: nothing. */
bool audit_damage(const struct audit *a, struct event *ret);

/* audit_note - takes a copy of e: counts it, writes or folds it; warnings and alerts that are
 * written also go to the log. A line that the spool has no room for is given up: counted as lost,
 * and logged. */
void audit_note(struct audit *a, const struct event *e);
/* audit_tick - the folded lines whose second is over, and the scribe's answers. */
void audit_tick(struct audit *a, uint64_t now_ms);
/* audit_deadline - when the next tick has something to do; UINT64_MAX: nothing. */
uint64_t audit_deadline(const struct audit *a);

/* Lines are numbered from 0 since the audit was opened; audit_end is the next one's number. A line
 * (with its newline) is borrowed until the next note or tick; empty when it is too old or not there
 * yet. */
uint64_t audit_end(const struct audit *a);
uint64_t audit_first(const struct audit *a);
struct slice audit_line(const struct audit *a, uint64_t number);

/* audit_total - events of a category since the start, repeats included. */
uint64_t audit_total(const struct audit *a, enum event_category c);
/* audit_lost - lines that were given up. */
uint64_t audit_lost(const struct audit *a);
/* audit_gap - once the spool has room again, what was given up meanwhile, as an event; false:
 * nothing. */
bool audit_gap(struct audit *a, struct event *ret);
/* audit_scribe - how far the scribe is. */
struct scribe_client_state audit_scribe(const struct audit *a);

/* audit_anchor, audit_roll_key - as scribe_client_ask; the second one with an anchor by the new
 * key. */
MUST_USE enum err audit_anchor(struct audit *a, struct anchor *ret);
MUST_USE enum err audit_roll_key(struct audit *a, struct anchor *ret);

/* audit_encode - e as one line with its newline, appended. Bytes that are not UTF-8 become \xNN.
 * ERR_NOMEM. */
MUST_USE enum err audit_encode(const struct event *e, struct buf *ret);

#endif

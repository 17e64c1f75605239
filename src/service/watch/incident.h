/*
 * incident - what the trail has about one device in a span of time, as one file that proves itself
 * to somebody without our keys: JSON lines.
 *
 *   {"sallyport_incident":1,"device":…,"since":…,"until":…,"made":…,"version":…}
 *   {"unproven":"LINE"}                                   an event of before the chain
 *   {"from":N,"prev":HEX}                                 the chain is followed from record N on
 *   {"seq":N,"ms":T,"salt":HEX,"event":"LINE"}            a record about the device
 *   {"leaves":[HEX,…]}                                    records that were left out
 *   {"seq":N,"ms":T,"salt":HEX,"checkpoint":HEX}
 *   {"end":N,"events":…,"left_out":…,"unproven":…,"first":…,"last":…,"categories":{…},"peers":{…},"targets":{…}}
 *
 * Records go on in number; a second `from` is a place where the trail does not hold together. The
 * signatures of the checkpoints cover all between `from` and them, what was left out too. The end
 * sums up the events, so that it can be counted again.
 */
#ifndef SERVICE_WATCH_INCIDENT_H
#define SERVICE_WATCH_INCIDENT_H

#include "base/disk.h"
#include "service/watch/anchor.h"

enum {
    INCIDENT_LINE_MAX = 64 * 1024, /* without its newline */
    INCIDENT_LEAVES_MAX = 64,      /* of a line */
    INCIDENT_NAMES_MAX = 1000,     /* peers, and targets; the others are one, "others" */
    INCIDENT_ANCHORS_MAX = 16
};

struct incident_report {
    uint64_t records, events, left_out, checkpoints, older;
    uint64_t first, last;      /* records, by their number; 0: none */
    uint64_t signed_to;        /* the last record under a good signature */
    uint64_t breaks;           /* places where the chain does not go on */
    int64_t first_ms, last_ms; /* of the events */
};

/* ---- writing ---- */

struct incident_order {
    struct disk *disk; /* the data directory */
    struct slice root;
    const char *device;
    int64_t since_ms, until_ms; /* of the records' time; until is not in it */
    int64_t made_ms;
    void *ctx;
    enum err (*write)(void *ctx, struct slice line); /* with its newline; borrowed for the call */
};

/* incident_write - reads the whole trail and writes what belongs to it, to the first checkpoint
 * behind until_ms. ERR_NOT_FOUND: no record was written in that time; what write answers; ERR_IO,
 * ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err incident_write(const struct incident_order *o, struct incident_report *ret);

/* ---- checking ---- */

struct incident_check;

struct incident_terms {
    const struct anchor *anchors; /* from outside; n <= INCIDENT_ANCHORS_MAX, copied */
    size_t n_anchors;
    const uint8_t *key; /* from outside, ED25519_PUBLIC_BYTES, copied; NULL: the file's own word */
    void *ctx;
    void (*wrong)(void *ctx, const char *text); /* each thing that is, once */
};

/* incident_check_new - ERR_NOMEM. */
MUST_USE enum err incident_check_new(const struct incident_terms *terms,
                                     struct incident_check **ret);
struct incident_check *incident_check_free(struct incident_check *c);
AUTOFREE(incident_check, incident_check_free)
/* incident_check_line - the next line, without its newline. ERR_MALFORMED: it is none of the kinds
 * above, at this place; ERR_UNSUPPORTED: a later form; ERR_TOO_LARGE; ERR_NOMEM; nothing more is to
 * be given then. That hashes or signatures do not hold is no error, but said to `wrong`. */
MUST_USE enum err incident_check_line(struct incident_check *c, struct slice line);
/* incident_check_end - the file's end. ERR_TRUNCATED: its last line is missing. *ret_device is
 * borrowed from c. */
MUST_USE enum err incident_check_end(struct incident_check *c, struct incident_report *ret,
                                     const char **ret_device);
/* incident_check_key - in force at the end, ED25519_PUBLIC_BYTES; NULL: no checkpoint. */
const uint8_t *incident_check_key(const struct incident_check *c);

#endif

/*
 * detect - the detectors: events, samples and time in, findings out. No I/O, no clock, nobody is
 * called back: a trace of months runs in a test.
 *
 * Who is watched: principals that exist (one row each, made at their first event; at
 * DETECT_IDENTITIES_MAX the one longest quiet is forgotten) and, for who has no name or an invented
 * one, networks (/24, /56: a fixed table). A stranger grows neither.
 *
 * All of it is in memory and begins anew with a restart.
 */
#ifndef SERVICE_DETECT_DETECT_H
#define SERVICE_DETECT_DETECT_H

#include "base/err.h"
#include "base/random.h"
#include "base/scope.h"
#include "service/detect/detector.h"
#include "service/detect/sample.h"
#include "service/detect/thresholds.h"

enum {
    DETECT_IDENTITIES_MAX = 32768,
    DETECT_IDENTITY_BYTES =
        640,           /* of the heap, with its place in the map; detect_test.c measures */
    DETECT_ROLES = 64, /* with a picture of their own; the rest share one */
    DETECT_TICK_MS = 30 * 1000,
    DETECT_SOURCES = 512,     /* networks */
    DETECT_FINDINGS_MAX = 32, /* that nobody has taken yet; more are dropped and counted */
    DETECT_EVIDENCE_BYTES = 112
};

struct detect;

/* The principal of an event, as the directory knows it. id 0: nobody, or a name that is not
 * there. */
struct detect_who {
    uint64_t id;
    struct slice role;
};

struct detect_finding {
    enum detector detector;
    uint64_t id;        /* of the principal; 0: a stranger */
    char principal[66]; /* as the event said; empty: of a sample, or a stranger, see id */
    char client_id[66];
    char peer[56]; /* the last address it was seen from */
    char target[130];
    uint64_t since_ms; /* monotonic, as the caller's now_ms; to a second */
    char evidence[DETECT_EVIDENCE_BYTES];
};

/* detect_new - t is copied. ERR_NOMEM. */
MUST_USE enum err detect_new(const struct detect_thresholds *t, const struct random_source *random,
                             struct detect **ret);
struct detect *detect_free(struct detect *d);
AUTOFREE(detect, detect_free)

/* detect_event - one event, in the order in which they came; those of the control socket are
 * nobody's misuse and are passed over. Without memory its principal is not watched. O(1). */
void detect_event(struct detect *d, const struct event *e, const struct detect_who *who,
                  uint64_t now_ms);
/* detect_sample - what a principal that exists has published; role is its role. Without memory it
 * is passed over. O(1). */
void detect_sample(struct detect *d, const struct detect_sample *s, struct slice role,
                   uint64_t now_ms);
/* detect_tick - looks who is silent; to be called every DETECT_TICK_MS. O(principals). */
void detect_tick(struct detect *d, uint64_t now_ms);
/* detect_sweep - who is gone is forgotten, and who may not come is expected by nobody: neither
 * excuses those who are silent. To be called before detect_tick. O(principals). */
enum detect_standing { DETECT_GONE, DETECT_BARRED, DETECT_ACTIVE };
typedef enum detect_standing detect_standing_fn(const void *ctx, uint64_t id);
void detect_sweep(struct detect *d, detect_standing_fn *of, const void *ctx);
/* detect_next - takes the oldest finding; false: there is none. */
bool detect_next(struct detect *d, struct detect_finding *ret);
/* detect_forgotten - principals that were given up for others. detect_watched - that have a row. */
uint64_t detect_forgotten(const struct detect *d);
size_t detect_watched(const struct detect *d);
/* detect_dropped - findings that nobody took in time. */
uint64_t detect_dropped(const struct detect *d);

#endif

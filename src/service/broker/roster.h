/*
 * roster - what the devices have registered in the resource directory (RFC 9176), at every worker.
 *
 * A registration never changes: it is replaced by another one, or removed. Each principal has at
 * most one. Its home worker decides which it is and tells all others, so that all versions of one
 * principal arrive everywhere in one order; a lookup then asks its own worker alone (docs/ORDER.md,
 * rule 17). Who is not in force any more, and what is over its time, is seen by nobody from that
 * moment on. Nothing of it is on record: after a restart devices register again.
 */
#ifndef SERVICE_BROKER_ROSTER_H
#define SERVICE_BROKER_ROSTER_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "base/wheel.h"
#include "core/principal.h"

struct worker;

/* What one link costs beside its bytes: what a lookup spends on it. */
enum { ROSTER_LINK_COST = 128 };

struct registration {
    atomic_uint refs;
    uint64_t principal; /* id */
    char name[PRINCIPAL_NAME_MAX + 1];
    uint32_t lifetime_s;
    uint64_t expires_at_ms;
    uint32_t n_links;
    struct slice base;       /* "coaps://192.0.2.1:5684": where the device was heard */
    struct slice attributes; /* of the endpoint, as link attributes: ";et=\"lamp\"" */
    struct slice links;      /* checked link format, targets and anchors from one '/' on */
    uint8_t bytes[];
};

/* registration_make - copies the texts; zeroed otherwise. ERR_NOMEM. */
MUST_USE enum err registration_make(struct slice base, struct slice attributes, struct slice links,
                                    struct registration **ret);
const struct registration *registration_ref(const struct registration *r);
const struct registration *registration_unref(const struct registration *r);

/* ---- for doors ---- */

enum roster_wish {
    ROSTER_PUT,    /* this is its registration now */
    ROSTER_UPDATE, /* the same, if it has one */
    ROSTER_REMOVE
};

/*
 * roster_ask - asks the home of p; the answer comes by roster_next_answer
 *
 * r  shares; NULL with ROSTER_REMOVE.
 * ERR_NOMEM: nothing was asked. Where the home has memory for all and another worker then has none,
 * that one shows nothing of p until it registers or updates again; that is counted.
 */
MUST_USE enum err roster_ask(struct worker *w, const struct principal *p, enum roster_wish wish,
                             const struct registration *r, unsigned door, uint64_t cookie);

struct roster_answer {
    uint64_t cookie;
    /* OK; ERR_NOT_FOUND: it has none; ERR_QUOTA: registration_total_bytes; ERR_DENIED: it is not in
     * force; ERR_NOMEM */
    enum err result;
};

/* roster_next_answer - in the order of each home; false: none. What was done is seen by this worker
 * before. */
bool roster_next_answer(struct worker *w, unsigned door, struct roster_answer *ret);

/* roster_find - of a principal in force; NULL: none. Borrowed until the worker's next turn. */
const struct registration *roster_find(struct worker *w, const struct principal *p,
                                       uint64_t now_ms);
/* roster_each - of all principals in force, in the order in which they came, while `each` gives
 * true. O(registrations). */
void roster_each(struct worker *w, uint64_t now_ms,
                 bool (*each)(void *ctx, const struct principal *p, const struct registration *r),
                 void *ctx);

/* ---- for the worker ---- */

struct roster_note;

struct roster {
    struct map rows; /* by principal */
    struct list by_age;
    struct wheel wheel;
    uint64_t bytes; /* of those whose home is here */
    struct list answers;
};

void roster_init(struct roster *r, const struct siphash_key *key, uint64_t now_ms);
void roster_done(struct worker *w);
/* roster_take - a note that came by ring, or from this worker; takes it. */
void roster_take(struct worker *w, struct roster_note *n);
struct roster_note *roster_note_free(struct roster_note *n);
/* roster_recheck - under a new realm: who is not in force any more leaves. */
void roster_recheck(struct worker *w);
void roster_turn(struct worker *w);
uint64_t roster_deadline(const struct worker *w);

#endif

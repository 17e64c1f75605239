/*
 * expiry - which credentials end when: what `certs list`, `certs plan` and their alerts stand on.
 *
 * Of each active principal and kind the credential that ends last counts: an older one that is
 * still good beside it keeps nobody in. While a rotation waits for its device the older one counts,
 * which the device has. A secret ends by its age where the settings say so. Pure; nothing here
 * changes a credential.
 */
#ifndef SERVICE_DIRECTORY_EXPIRY_H
#define SERVICE_DIRECTORY_EXPIRY_H

#include "base/clock.h"
#include "service/directory/directory_version.h"

#define EXPIRY_DAY_MS INT64_C(86400000)

enum {
    /* So many on one day (UTC), and so much of all that end, are a cliff: one mistake then stops
     * them together. */
    EXPIRY_CLIFF_LEAST = 10,
    EXPIRY_CLIFF_PERCENT = 20,
    EXPIRY_WEEK_DAYS = 7
};

enum expiry_state {
    EXPIRY_FINE,
    EXPIRY_DUE,     /* in the last third of its life: it should have been renewed */
    EXPIRY_AGED,    /* a secret past the age at which it is reported */
    EXPIRY_WAITING, /* beside it one waits for its first use */
    EXPIRY_OVER
};

struct expiry_item {
    const struct directory_entry *entry; /* borrowed from the version */
    const struct credential *credential;
    int64_t ends_wall_ms;             /* CREDENTIAL_NEVER: listed for another reason */
    const struct credential *waiting; /* NULL: none */
    int64_t silence_ms, window_ms;    /* of a certificate: its longest silence, its last third */
    enum expiry_state state;
    bool is_renewed; /* not the one that the device was added with */
};

struct expiry_list {
    struct expiry_item *items; /* by their end, then by name */
    size_t n;                  /* that end */
    size_t n_listed;           /* and those behind them, which are old, or wait */
    size_t n_endless; /* credentials of active principals that have no end, one of each kind */
    size_t n_over, n_due, n_never_renewed; /* of those that end */
    size_t n_aged, n_waiting;              /* of all that are listed; one may be both */
    size_t n_silent;                       /* expiry_is_silent */
};

/* expiry_collect - v must outlive *ret; release it with expiry_done. ERR_NOMEM. O(n log n). */
MUST_USE enum err expiry_collect(const struct directory_version *v, int64_t now_wall_ms,
                                 struct expiry_list *ret);
void expiry_done(struct expiry_list *l);

/* expiry_is_silent - a device that was away for longer than the time in which it should renew. */
bool expiry_is_silent(const struct expiry_item *item);

struct expiry_day {
    int64_t day; /* since 1970-01-01, UTC */
    size_t n;    /* that end in it */
    bool is_cliff;
};
/* expiry_next_day - the next day on which something ends: *at starts at 0; false at the end. */
bool expiry_next_day(const struct expiry_list *l, size_t *at, struct expiry_day *ret);
/* expiry_week_of - the day number of the Monday before or at `day`. */
int64_t expiry_week_of(int64_t day);
/* expiry_day_text - "2026-11-22". */
void expiry_day_text(int64_t day, char dst[CLOCK_ISO8601_BYTES]);

const char *expiry_state_name(enum expiry_state s);

#endif

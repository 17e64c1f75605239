/*
 * respond - what misuse is answered with: rules and findings in, decisions out; and which answers
 * run. No I/O, no clock, nobody is called back.
 *
 * Only a finding about somebody who has proven who it is is ever answered with more than an alert:
 * else whoever fails to log in as a device could have it shut out (respond_can_answer).
 */
#ifndef SERVICE_RESPOND_RESPOND_H
#define SERVICE_RESPOND_RESPOND_H

#include "base/err.h"
#include "base/scope.h"
#include "core/principal.h"
#include "service/detect/detector.h"
#include "service/directory/directory_version.h"

enum {
    RESPOND_RULES_MAX = 32,
    RESPOND_EXCEPT_MAX = 32, /* names, and as many roles */
    RESPOND_RUNNING_MAX = 1024,
    RESPOND_TRIALS_MAX = 256, /* of dry runs, one for each principal and rule; the oldest goes */
    RESPOND_PER_HOUR = 10,    /* principals that are answered by rule in an hour, by default */
    RESPOND_PER_HOUR_MAX = 100,
    RESPOND_FOR_MIN_S = 60,
    RESPOND_FOR_MAX_S = 30 * 86400,
    RESPOND_HOUR_MS = 3600 * 1000
};

/* ---- rules ---- */

struct respond_rule {
    char name[DIRECTORY_ANSWER_BY_MAX - 4]; /* how it is spoken of: what it is about */
    uint64_t detectors;                     /* bits 1 << enum detector */
    char role[PRINCIPAL_NAME_MAX + 1];      /* empty: any */
    enum answer_kind answer;
    uint32_t for_s; /* 0: until it is taken back (revoke), or nothing to end (alert) */
    bool is_enforced;
};
_Static_assert(DETECTOR_COUNT <= 64, "a rule has a bit for each");

/* { 0 } answers nobody. */
struct respond_rules {
    struct respond_rule rules[RESPOND_RULES_MAX];
    size_t n;
    char names[RESPOND_EXCEPT_MAX][PRINCIPAL_NAME_MAX + 1]; /* who is never answered by rule */
    char roles[RESPOND_EXCEPT_MAX][PRINCIPAL_NAME_MAX + 1];
    size_t n_names, n_roles;
    uint32_t per_hour; /* principals; at most RESPOND_PER_HOUR_MAX */
};

/* respond_rules_preset - what is suggested for each detector, as dry runs. */
void respond_rules_preset(struct respond_rules *ret);
/* respond_can_answer - is what this detector finds proven to be somebody's own doing? */
bool respond_can_answer(enum detector d);
/* respond_suggested - ANSWER_ALERT where nothing but a person can help. */
enum answer_kind respond_suggested(enum detector d);

/* ---- what is found, and what is to be done ---- */

struct respond_finding {
    enum detector detector;
    uint64_t id; /* of the principal; 0: a stranger, who is never answered */
    struct slice name, role;
};

enum respond_kind {
    RESPOND_NOTHING,
    RESPOND_START,  /* do it */
    RESPOND_TRIAL,  /* say that it would have been done */
    RESPOND_EXEMPT, /* a rule would have it; the principal is excepted */
    RESPOND_CAPPED, /* a rule would have it; too many were answered in this hour */
    RESPOND_FULL    /* a rule would have it; RESPOND_RUNNING_MAX run */
};

struct respond_verdict {
    enum respond_kind kind;
    enum answer_kind answer;
    uint32_t for_s;                /* as the rule's */
    const struct respond_rule *by; /* borrowed from the rules */
    uint64_t count;                /* TRIAL: how often this one would have been done */
};

struct respond;
/* respond_new - with respond_rules_preset. ERR_NOMEM. */
MUST_USE enum err respond_new(struct respond **ret);
struct respond *respond_free(struct respond *r);
AUTOFREE(respond, respond_free)
/* respond_set_rules - copied; what runs goes on. */
void respond_set_rules(struct respond *r, const struct respond_rules *rules);
const struct respond_rules *respond_rules(const struct respond *r);

/*
 * respond_ask - what is to be done about a finding
 *
 * Of the rules that are enforced the strongest answer counts, of equals the longest; of the dry
 * runs likewise, where they would do more than that. ret is filled with up to RESPOND_VERDICTS;
 * returns how many. START is noted as done: it counts for the hour. O(rules + running).
 */
enum { RESPOND_VERDICTS = 2 };
size_t respond_ask(struct respond *r, const struct respond_finding *f, int64_t now_wall_ms,
                   struct respond_verdict ret[RESPOND_VERDICTS]);

/* ---- what runs ---- */

struct respond_row {
    uint64_t id, principal; /* numbers of the answer and of whom it meets */
    enum answer_kind answer;
    int64_t since_wall_ms, until_wall_ms;
    bool is_by_rule;
};

/* respond_began - it is on record now; one with this number is replaced. ERR_LIMIT:
 * RESPOND_RUNNING_MAX run. */
MUST_USE enum err respond_began(struct respond *r, const struct respond_row *row);
/* respond_restarted - what began so far was on record before this start: it is not counted as
 * started. */
void respond_restarted(struct respond *r);
/* respond_ended - false: it did not run. */
bool respond_ended(struct respond *r, uint64_t id);
/* respond_find - NULL: none. */
const struct respond_row *respond_find(const struct respond *r, uint64_t id);
/* respond_due - one whose time is over, or NULL. */
const struct respond_row *respond_due(const struct respond *r, int64_t now_wall_ms);
/* respond_next_end - of the first that ends; INT64_MAX: none. */
int64_t respond_next_end(const struct respond *r);
/* respond_each - in the order in which they began: *at starts at 0; NULL at the end. */
const struct respond_row *respond_each(const struct respond *r, size_t *at);

/* ---- dry runs ---- */

struct respond_trial {
    uint64_t principal;
    char rule[DIRECTORY_ANSWER_BY_MAX - 4];
    enum detector detector; /* of the last */
    enum answer_kind answer;
    int64_t first_wall_ms, last_wall_ms;
    uint64_t count; /* 0: a free row */
};
/* respond_trials - as respond_each, in no order. */
const struct respond_trial *respond_trials(const struct respond *r, size_t *at);

/* ---- numbers ---- */

struct respond_counts {
    uint64_t running[ANSWER_KINDS], started[ANSWER_KINDS];
    uint64_t trials, exempt, capped;
};
void respond_counts(const struct respond *r, struct respond_counts *ret);

#endif

/*
 * findings - what the rules found, in the order of how bad it is.
 *
 * A rule may find many objects; past FINDINGS_PER_RULE they are only counted. What was waived stays
 * in the list, marked.
 */
#ifndef SERVICE_DOCTOR_FINDINGS_H
#define SERVICE_DOCTOR_FINDINGS_H

#include "service/doctor/facts.h"

enum { FINDINGS_PER_RULE = 20, FINDINGS_MAX = 2000, FINDING_EVIDENCE = 320 };

enum severity { SEVERITY_LOW, SEVERITY_MEDIUM, SEVERITY_HIGH, SEVERITY_CRITICAL };

struct rule;

struct finding {
    const struct rule *rule; /* static */
    struct facts_place at;
    char object[FACTS_PATH];         /* a listener, an account, a file …: what a waiver names */
    char evidence[FINDING_EVIDENCE]; /* what was seen there */
    size_t waiver;                   /* 1 + its index in the list of waivers; 0: none */
};

struct findings {
    struct finding *items;
    size_t n;
    size_t n_more; /* that were only counted */
};

/* findings_add - object and the evidence. ERR_NOMEM. */
MUST_USE enum err findings_add(struct findings *l, const struct rule *rule, struct facts_place at,
                               const char *object, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* findings_sort - worst first, then by rule, file and line. */
void findings_sort(struct findings *l);
/* finding_fix - the lines to type: {} in the rule's fix is the object. One that is cut, or holds
 * what a shell or a configuration could take for more than a name, is not put there: NAME is. */
enum { FINDING_FIX_BYTES = 2048 };
void finding_fix(const struct finding *f, enum facts_product product, char dst[FINDING_FIX_BYTES]);
void findings_done(struct findings *l);

const char *severity_name(enum severity s);

#endif

/*
 * rules - what a safe installation does not have. Each rule is a row: an id that never changes, how
 * bad it is, why it matters, the clauses it speaks of, the fix for each product, and a pure
 * function over the facts.
 *
 * A fix never weakens: it is a command or the lines to write.
 */
#ifndef SERVICE_DOCTOR_RULES_H
#define SERVICE_DOCTOR_RULES_H

#include "service/doctor/findings.h"

enum profile {
    PROFILE_CRA,   /* Regulation (EU) 2024/2847, Annex I */
    PROFILE_ETSI,  /* EN 303 645, clause 5 */
    PROFILE_NIST,  /* NISTIR 8259A, capabilities */
    PROFILE_OWASP, /* IoT Top 10 of 2018 */
    PROFILES
};

struct rule;
typedef enum err rule_judge(const struct rule *self, const struct facts *f, struct findings *ret);

struct rule {
    const char *id;
    enum severity severity;
    const char *title, *why;
    const char *clauses[PROFILES];   /* ids with blanks between, of profiles.h */
    const char *fix[FACTS_PRODUCTS]; /* lines; NULL: the rule asks nothing of this product */
    rule_judge *judge;
};

/* rules_judge - all rules, sorted. *ret is released by findings_done, also after an error.
 * ERR_NOMEM. */
MUST_USE enum err rules_judge(const struct facts *f, struct findings *ret);

/* rules_next - each rule once: *at starts at 0; NULL at the end. */
const struct rule *rules_next(size_t *at);
const struct rule *rules_find(struct slice id);

#endif

/*
 * profiles - the clauses of four documents that an installation's configuration can speak of, and
 * what the findings say to each. The words are ours, the numbers are theirs.
 *
 * A clause without a rule is listed too, as not assessed: a configuration shows nothing of it.
 */
#ifndef SERVICE_DOCTOR_PROFILES_H
#define SERVICE_DOCTOR_PROFILES_H

#include "service/doctor/rules.h"

struct clause {
    const char *id;    /* as rules name it: "d" */
    const char *label; /* as the document does: "Annex I, Part I (2)(d)" */
    const char *about;
};

enum verdict { VERDICT_PASS, VERDICT_PARTLY, VERDICT_WAIVED, VERDICT_FAIL, VERDICT_NOT_JUDGED };

/* profile_find - cra, etsi303645, nist8259a, owasp; false: none. profile_name, profile_title. */
bool profile_find(const char *name, enum profile *ret);
const char *profile_name(enum profile p);
const char *profile_title(enum profile p);
/* profile_clause - the at-th, or NULL behind the last. */
const struct clause *profile_clause(enum profile p, size_t at);
/* clause_has - does the rule speak of it? */
bool clause_has(const struct rule *r, enum profile p, const struct clause *c);
/* clause_judge - of an installation. Findings of low severity are advice: they fail nothing. Where
 * not all of it was seen, nothing passes, but partly. *ret_rules: how many rules looked at it,
 * *ret_found: findings. */
enum verdict clause_judge(enum profile p, const struct clause *c, const struct facts *f,
                          const struct findings *l, size_t *ret_rules, size_t *ret_found);
const char *verdict_name(enum verdict v);

#endif

/* rules_private - the families of rules; each table ends with a row without id. */
#ifndef SERVICE_DOCTOR_RULES_PRIVATE_H
#define SERVICE_DOCTOR_RULES_PRIVATE_H

#include "service/doctor/rules.h"

extern const struct rule transport_rules[], identity_rules[], access_rules[], limit_rules[],
    keeping_rules[], life_rules[], machine_rules[];

/* Does a number of the installation say what the rule is about? */
static inline bool number_is(const struct facts *f, enum facts_number which, int64_t n)
{
    return f->numbers[which].is_known && f->numbers[which].n == n;
}

static inline const char *listener_word(const struct facts_listener *l)
{
    return l->name[0] != '\0' ? l->name : l->bind;
}

#endif

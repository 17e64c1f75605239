/*
 * crowd - the principals that a policy is asked about: made up in a file of tests, or what the
 * directory of a daemon holds. Built, sorted once, then only read.
 */
#ifndef SERVICE_REVIEW_CROWD_H
#define SERVICE_REVIEW_CROWD_H

#include "base/scope.h"
#include "core/people.h"

struct crowd;

/* crowd_new - ERR_NOMEM. */
MUST_USE enum err crowd_new(struct crowd **ret);
struct crowd *crowd_free(struct crowd *c); /* NULL is fine; returns NULL */
AUTOFREE(crowd, crowd_free)

/* crowd_add - takes the reference p, also on error. Before crowd_sort. ERR_NOMEM. */
MUST_USE enum err crowd_add(struct crowd *c, const struct principal *p);
/* crowd_sort - from here on everybody is found. ERR_EXISTS: two have one name, or one number.
 * O(n log n). */
MUST_USE enum err crowd_sort(struct crowd *c);

size_t crowd_count(const struct crowd *c);
/* crowd_at - i < crowd_count, by name. Borrowed. */
const struct principal *crowd_at(const struct crowd *c, size_t i);
/* crowd_find - the place of a name for crowd_at; false: nobody has it. O(log n). */
bool crowd_find(const struct crowd *c, struct slice name, size_t *ret);
/* crowd_people - for grants_know; borrows c. */
struct people crowd_people(const struct crowd *c);

#endif

/*
 * difference - what a new policy grants more and less than the old one, role by role, and how many
 * active principals of a crowd each change concerns.
 *
 * By meaning, not by text: a grant that another one covers is not lost when it is removed, and
 * none is gained that was covered before. Who is concerned is asked for everybody by itself: a
 * grant that an attribute switches off, or that another one covers for this device, concerns
 * nobody.
 */
#ifndef SERVICE_REVIEW_DIFFERENCE_H
#define SERVICE_REVIEW_DIFFERENCE_H

#include "core/policy.h"
#include "service/review/crowd.h"

enum { CHANGE_NAMES = 5, CHANGE_TEXT_BYTES = 400 };

enum change_kind {
    CHANGE_ROLE_GONE, /* who has the role is denied everything */
    CHANGE_ROLE_NEW,
    CHANGE_LOST,    /* a grant */
    CHANGE_GAINED,  /* a grant */
    CHANGE_ALTERED, /* a grant with the same topic or path: QoS, retain, freshness, methods */
    CHANGE_SETTING, /* client_id, many, limits */
    CHANGE_FLOW_LOST,
    CHANGE_FLOW_GAINED,
    CHANGE_WARNING /* the new policy is wide here, where the old one was not */
};

struct change {
    enum change_kind kind;
    const char *role; /* "" of flows */
    uint32_t line;    /* of the new policy, of the old one for what is lost; 0: unknown */
    char text[CHANGE_TEXT_BYTES];
    size_t n_concerned;              /* active principals */
    const char *names[CHANGE_NAMES]; /* the first of them */
    size_t n_names;
};

struct difference;

/* difference_new - shares the policies, borrows the sorted crowd for life. ERR_NOMEM.
 * O(principals * rules * changed rules of the role). */
MUST_USE enum err difference_new(const struct policy *old, const struct policy *new,
                                 const struct crowd *crowd, struct difference **ret);
struct difference *difference_free(struct difference *d); /* NULL is fine; returns NULL */
AUTOFREE(difference, difference_free)

/* In the order of roles, then of the policies; warnings last of their role. */
size_t difference_count(const struct difference *d);
const struct change *difference_at(const struct difference *d, size_t i);
/* difference_concerned - active principals that at least one change concerns, flows and warnings
 * left out. */
size_t difference_concerned(const struct difference *d);

#endif

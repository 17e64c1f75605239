/*
 * quarantine - a topic space of its own for who is suspected: what it publishes to a/b is a message
 * of $quarantine/NAME/a/b, which only those hear whose role grants them that. It is told of no
 * difference.
 */
#ifndef CORE_QUARANTINE_H
#define CORE_QUARANTINE_H

#include "core/account.h"
#include "core/msg.h"

#define QUARANTINE_ROOT "$quarantine/"

/*
 * quarantine_take - puts a message of a quarantined account where it belongs
 *
 * m  in/out: a message that nobody shares yet; replaced by another one, that is not retained and is
 *    of the principal's own segment. Of any other account it stays as it is.
 *
 * ERR_NOMEM: *m is as it was.
 */
MUST_USE enum err quarantine_take(const struct account *a, struct msg **m);
/* quarantine_is_of - is this a topic that only quarantine_take gives messages of p? */
bool quarantine_is_of(const struct principal *p, struct slice topic);

#endif

/* respond_private - what rules.c tells respond.c. */
#ifndef SERVICE_RESPOND_RESPOND_PRIVATE_H
#define SERVICE_RESPOND_RESPOND_PRIVATE_H

#include "service/respond/respond.h"

/* respond_excepts - is f about somebody whom no rule may touch? */
bool respond_excepts(const struct respond_rules *r, const struct respond_finding *f);
/* respond_rule_for - the one that counts, of those enforced or of the dry runs; NULL: none is for
 * it. */
const struct respond_rule *respond_rule_for(const struct respond_rules *r,
                                            const struct respond_finding *f, bool is_enforced);
/* respond_is_more - a is stronger than b (NULL: nothing), or as strong and longer. */
bool respond_is_more(const struct respond_rule *a, const struct respond_rule *b);

#endif

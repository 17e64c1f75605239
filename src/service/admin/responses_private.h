/* responses_private - responses.c and the verbs over it. */
#ifndef SERVICE_ADMIN_RESPONSES_PRIVATE_H
#define SERVICE_ADMIN_RESPONSES_PRIVATE_H

#include "service/admin/admin_private.h"

enum { RETRY_MS = 1000 };

/* admin_respond_start - on record, with its event; the caller gives the new realm to the workers.
 * token 0: by rule. As directory_answer_start; ERR_LIMIT: RESPOND_RUNNING_MAX run. */
MUST_USE enum err admin_respond_start(struct admin *a, uint64_t token, struct slice name,
                                      const struct directory_answer_order *o,
                                      struct directory_answer *ret, struct why *why);
/* admin_respond_end - the same for the end; what: "undone". Errors of saving. */
MUST_USE enum err admin_respond_end(struct admin *a, uint64_t token, const struct respond_row *row,
                                    const char *what);
/* admin_answer_find - what is on record of it, and whose; NULL: its device was removed. */
const struct directory_answer *admin_answer_find(const struct directory_version *v,
                                                 const struct respond_row *row,
                                                 const struct directory_entry **ret);

#endif

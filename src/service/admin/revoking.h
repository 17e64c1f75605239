/*
 * revoking - the lists of certificates that were taken back, as the workers have them, and what is
 * told to the world: our authority's list (DIR/pki/crl.pem), kept fresh, and the word that is
 * stapled to the server's certificate. Beside them an operator's lists (DIR/pki/crl-extra.pem).
 */
#ifndef SERVICE_ADMIN_REVOKING_H
#define SERVICE_ADMIN_REVOKING_H

#include "service/admin/admin_private.h"

/* admin_lists_begin - with the setup's, and our own as it was published last. */
void admin_lists_begin(struct admin *a);
void admin_lists_end(struct admin *a);
/* admin_set_extra - the operator's lists from now on (shares; NULL: none); the caller gives the
 * workers a new realm. */
void admin_set_extra(struct admin *a, const struct crl_set *extra);
/* admin_publish_list - the authority's list of now, to the workers and to the file; when it names
 * others than before, a new realm is on its way. ERR_NOMEM, what the authority, the directory and
 * the disk say: the former list stays in force. */
MUST_USE enum err admin_publish_list(struct admin *a);
/* admin_answer_status - what the authority says of its certificates, to a client of a door. */
void admin_answer_status(struct admin *a, struct enrolment *e);
/* admin_keep_lists - publishes when something changed or time has come, and staples; opens and
 * closes the alerts of lists that are past their time. Returns when it wants to be called again. */
uint64_t admin_keep_lists(struct admin *a, uint64_t now_ms);

#endif

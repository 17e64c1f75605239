/*
 * revoking - the lists of certificates that were taken back, as the workers have them: our
 * authority's, which is kept fresh and published here, and an operator's (DIR/pki/crl-extra.pem).
 */
#ifndef SERVICE_ADMIN_REVOKING_H
#define SERVICE_ADMIN_REVOKING_H

#include "service/admin/admin_private.h"

/* admin_set_extra - the operator's lists from now on (shares; NULL: none); the caller gives the
 * workers a new realm. */
void admin_set_extra(struct admin *a, const struct crl_set *extra);

#endif

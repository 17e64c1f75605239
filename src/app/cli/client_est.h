/* client_est - what a device that has a certificate asks of the enrolment door: the authorities to
 * trust, another certificate, and whether it is let in by it. What goes wrong is said on cli->err.
 * SPEC: RFC7030 4.1, 4.2.2; RFC8951 3.1 */
#ifndef APP_CLI_CLIENT_EST_H
#define APP_CLI_CLIENT_EST_H

#include "app/cli/client_target.h"

/* The target is whom to ask, whom to trust, and the certificate to show. Each call is a connection
 * of its own. ERR_CLOSED: none, or not to whom we trust; ERR_AGAIN: later, in *ret_again_s;
 * ERR_DENIED: refused; ERR_MALFORMED: no answer of such a door; ERR_NOMEM. */

/* client_est_authorities - PEM of the roots that are to be trusted, appended to *ret. */
MUST_USE enum err client_est_authorities(struct cli *cli, const struct client_target *t,
                                         struct buf *ret);
/* client_est_renew - for this request (PKCS#10, DER): PEM, leaf first, appended to *ret. */
MUST_USE enum err client_est_renew(struct cli *cli, const struct client_target *t,
                                   struct slice csr_der, struct buf *ret, unsigned *ret_again_s);
/* client_est_prove - is the target's certificate let in? */
MUST_USE enum err client_est_prove(struct cli *cli, const struct client_target *t);

#endif

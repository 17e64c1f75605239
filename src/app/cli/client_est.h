/* client_est - what a device asks of the enrolment door: the authorities to trust, a certificate.
 * SPEC: RFC7030 4.1, 4.2; RFC8951 3.1 */
#ifndef APP_CLI_CLIENT_EST_H
#define APP_CLI_CLIENT_EST_H

#include "app/cli/client_target.h"
#include "base/why.h"

/* The target is whom to ask, and as whom (its chain and key; none: by authorization alone). */

/* client_est_authorities - PEM of the roots that the server says are to be trusted, appended to
 * *ret. Errors as client_https_ask; ERR_DENIED: it answers with another status. */
MUST_USE enum err client_est_authorities(const struct client_target *t, struct buf *ret,
                                         struct why *why);

enum client_est_want { CLIENT_EST_ENROLL, CLIENT_EST_REENROLL };

/*
 * client_est_certificate - a certificate for this request (PKCS#10, DER): PEM, leaf first
 *
 * authorization  NULL, or the field's value.
 * ERR_AGAIN: it waits for an operator, or the server is busy: ask again in *ret_again_s; ERR_AUTH, ERR_DENIED:
 * refused; else as client_https_ask. *why has the server's own words.
 */
MUST_USE enum err client_est_certificate(const struct client_target *t, enum client_est_want want,
                                         const char *authorization, struct slice csr_der,
                                         struct buf *ret_chain_pem, unsigned *ret_again_s,
                                         struct why *why);

#endif

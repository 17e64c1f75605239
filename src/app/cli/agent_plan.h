/* agent_plan - when a certificate is to be renewed, and when it is tried again. No I/O, no clock.
 */
#ifndef APP_CLI_AGENT_PLAN_H
#define APP_CLI_AGENT_PLAN_H

#include "security/crypto/x509.h"

/* agent_due - at two thirds of its life, up to a thirtieth of it earlier or later, by the
 * certificate's own serial: a fleet that was certified in one hour does not come back in one. */
int64_t agent_due(const struct x509_info *i);

/* agent_again_ms - how long to wait after the failed try number `tries` (from 1): doubled each
 * time, from a minute to an hour, or sixtieths and tenths of a life that is shorter; random is any
 * number, and moves it by a quarter. */
uint64_t agent_again_ms(const struct x509_info *i, unsigned tries, uint64_t random);

#endif

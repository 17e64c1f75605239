/*
 * agent_swap - a renewed certificate on its way into a bundle: kept apart until it is proven, then
 * put in the place of the old one, so that a crash at any moment leaves one pair that fits.
 *
 *   DIR/.renewed  key, certificate, authorities: made, and perhaps not yet accepted by the server
 *   DIR/.proven   the same, accepted: on its way into DIR
 */
#ifndef APP_CLI_AGENT_SWAP_H
#define APP_CLI_AGENT_SWAP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/why.h"

/* agent_swap_keep - writes DIR/.renewed, in place of what is there. ERR_IO, ERR_SPACE, ERR_NOMEM,
 * *why. */
MUST_USE enum err agent_swap_keep(const char *dir, struct slice key_pem, struct slice chain_pem,
                                  struct slice ca_pem, struct why *why);
/* agent_swap_kept - what a former run left in DIR/.renewed. ERR_NOT_FOUND: nothing whole. */
MUST_USE enum err agent_swap_kept(const char *dir, struct buf *ret_key_pem,
                                  struct buf *ret_chain_pem, struct buf *ret_ca_pem);
/* agent_swap_drop - forgets it. */
MUST_USE enum err agent_swap_drop(const char *dir, struct why *why);
/* agent_swap_take - it is proven: into the places of cert.pem, key.pem and ca.pem. */
MUST_USE enum err agent_swap_take(const char *dir, struct why *why);
/* agent_swap_finish - goes on with a taking that was interrupted; OK when there is none. */
MUST_USE enum err agent_swap_finish(const char *dir, struct why *why);

#endif

/*
 * authority_remote - the authority in another process: the signer, asked over a socket.
 *
 * Each call waits for its answer, at most AUTHORITY_WAIT_MS. When the signer has died meanwhile the
 * supervisor starts another behind the same socket: the call ends with ERR_TIMEOUT or ERR_CLOSED
 * and words that say so, and the next one is answered. An answer that comes too late is thrown
 * away.
 */
#ifndef SERVICE_PKI_AUTHORITY_REMOTE_H
#define SERVICE_PKI_AUTHORITY_REMOTE_H

#include "service/pki/authority.h"

/* authority_remote_new - fd is a connected SOCK_SEQPACKET socket; taken, also on error.
 * is_operator: it is the operator's channel. ERR_NOMEM. */
MUST_USE enum err authority_remote_new(int fd, bool is_operator, const struct random_source *random,
                                       struct authority **ret);

#endif

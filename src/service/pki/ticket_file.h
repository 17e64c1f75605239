/*
 * ticket_file - the keys of TLS tickets over a restart, when a whole plant comes back at once and
 * full handshakes are dearest.
 *
 * DIR/tickets.sealed, sealed under the keyring's root key; no backup has it. Replaced at each
 * rotation, and the former file is overwritten then: whoever gets at old keys could read what was
 * recorded of TLS 1.2 connections that resumed by them. (TLS 1.3 adds fresh keys to each.) Without
 * the file, or with one that does not open, clients do one full handshake more.
 */
#ifndef SERVICE_PKI_TICKET_FILE_H
#define SERVICE_PKI_TICKET_FILE_H

#include "base/disk.h"
#include "base/random.h"
#include "net/tls_tickets.h"

#define TICKET_FILE "tickets.sealed"

/* ticket_file_save - ERR_SPACE, ERR_IO, ERR_CRYPTO, ERR_NOMEM. After an error the file holds the
 * former keys or these. */
MUST_USE enum err ticket_file_save(struct disk *disk, struct slice root,
                                   const struct random_source *random, struct tls_tickets *t);
/* ticket_file_load - ERR_NOT_FOUND: there is none; ERR_CRYPTO: another root key, or changed;
 * ERR_UNSUPPORTED, ERR_TRUNCATED, ERR_MALFORMED, ERR_TRAILING, ERR_TOO_LARGE, ERR_IO, ERR_NOMEM:
 * t keeps its own keys. */
MUST_USE enum err ticket_file_load(struct disk *disk, struct slice root, struct tls_tickets *t);

#endif

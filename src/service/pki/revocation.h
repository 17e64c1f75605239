/*
 * revocation - the files of DIR/pki that say which certificates were taken back.
 *
 * crl.pem is our authority's list as it was published last; crl-extra.pem is what an operator puts
 * there: lists of the same authorities that were signed elsewhere. root-crl.pem is the root's own
 * list, signed once, when the root's key was at hand.
 */
#ifndef SERVICE_PKI_REVOCATION_H
#define SERVICE_PKI_REVOCATION_H

#include "base/disk.h"
#include "base/slice.h"
#include "base/why.h"
#include "security/crypto/crl.h"
#include "security/crypto/x509.h"

#define REVOCATION_FILE       "pki/crl.pem"
#define REVOCATION_EXTRA_FILE "pki/crl-extra.pem"
#define REVOCATION_ROOT_FILE  "pki/root-crl.pem"

/* revocation_load - the lists of one of these files, checked against the authorities (PEM). *ret is
 * NULL when there is no such file. Else errors of crl_set_new and of reading; *why names the file.
 */
MUST_USE enum err revocation_load(struct disk *disk, const char *path, struct slice authorities_pem,
                                  int64_t now_wall_ms, const struct crl_set **ret, struct why *why);

/* revocation_found - the root says, until its intermediate ends, that it has revoked none: what a
 * peer that checks the whole chain asks for. Errors of signing and saving. */
MUST_USE enum err revocation_found(struct disk *disk, const struct x509 *root,
                                   const struct key *root_key, int64_t now_wall_ms,
                                   int64_t until_wall_ms);

#endif

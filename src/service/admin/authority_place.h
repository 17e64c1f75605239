/*
 * authority_place - the register of a data directory that has none: of a new one, or of one whose
 * version had none. Made once, out of what the directory knows.
 */
#ifndef SERVICE_ADMIN_AUTHORITY_PLACE_H
#define SERVICE_ADMIN_AUTHORITY_PLACE_H

#include "service/directory/directory.h"
#include "service/pki/authority_own.h"

/* Borrowed for the call. */
struct authority_place {
    struct disk *disk;
    struct slice root; /* of the keyring */
    struct random_source random;
    int64_t now_wall_ms;
    const struct pki *pki; /* of pki_open: whose names are the server's */
    const struct directory *directory;
};

/* authority_place_prepare - without a register: enrols whoever has a certificate in the directory;
 * the log says how many. Else does nothing. Errors as register_create. */
MUST_USE enum err authority_place_prepare(const struct authority_place *p, struct why *why);

#endif

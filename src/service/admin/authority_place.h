/*
 * authority_place - the authority of a data directory, opened in this process; its register is made
 * when there is none, out of what the directory knows.
 */
#ifndef SERVICE_ADMIN_AUTHORITY_PLACE_H
#define SERVICE_ADMIN_AUTHORITY_PLACE_H

#include "service/directory/directory.h"
#include "service/pki/authority_own.h"

/* disk, pki and directory are borrowed for life, seal for the call. */
struct authority_place {
    struct disk *disk;
    struct slice seal; /* 32 bytes */
    struct random_source random;
    int64_t now_wall_ms;
    const struct pki *pki;
    const struct directory *directory;
    const struct authority_maker *makers; /* borrowed for life */
    size_t n_makers;
};

/* authority_place_open - without a register (the first start, or of a version that had none)
 * enrols, once, whoever has a certificate in the directory; the log says how many. After an error
 * *ret_reg may be set and is released as after OK. Errors as register_create and register_open. */
MUST_USE enum err authority_place_open(const struct authority_place *p,
                                       struct pki_register **ret_reg, struct authority **ret,
                                       struct why *why);

#endif

/*
 * fortress - a data directory on its way to its first daemon: what `init` makes and `quickstart`
 * adds devices to. Only used while no daemon serves it.
 */
#ifndef APP_CLI_FORTRESS_H
#define APP_CLI_FORTRESS_H

#include "app/daemon/config.h"
#include "app/daemon/vault.h"
#include "base/disk.h"
#include "service/admin/provision.h"
#include "service/pki/authority_own.h"

struct fortress {
    int dir_fd; /* the disk's own copy is apart */
    struct disk *disk;
    struct vault vault;
    struct directory *directory;
    struct pki *pki;
    struct authority_files signing;
    const struct policy *policy;
    struct config config;
    char key_path[4096];
    char admin_secret[PASSWORD_GENERATED_BYTES];
};

struct fortress_order {
    const char *dir;
    const char *master_key; /* NULL: DIR.key */
    struct config_init init;
};

/* fortress_make - everything of a new data directory, in a place that is empty or not there. After
 * an error *ret can still be given to fortress_done; *why says what is wrong. ERR_EXISTS: not
 * empty; ERR_CONFIG: an option; ERR_IO and others. */
MUST_USE enum err fortress_make(const struct fortress_order *o, struct fortress *ret,
                                struct why *why);
/* fortress_add - a device and its bundle in save_dir. */
MUST_USE enum err fortress_add(struct fortress *f, const struct provision_order *o,
                               const char *save_dir, struct why *why);
/* fortress_port - of a listener by name, 0 when it is not there. */
uint16_t fortress_port(const struct fortress *f, const char *name);
void fortress_done(struct fortress *f); /* wipes */

#endif

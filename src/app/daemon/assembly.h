/*
 * assembly - the broker's parts, made out of DIR and the descriptors of BOOT, in the one order that
 * works: configuration, master key, directory, policy, certificates, entrances, workers.
 */
#ifndef APP_DAEMON_ASSEMBLY_H
#define APP_DAEMON_ASSEMBLY_H

#include "app/daemon/config.h"
#include "app/daemon/message.h"
#include "base/disk.h"
#include "base/secret.h"
#include "base/why.h"
#include "service/broker/broker.h"
#include "service/directory/directory.h"
#include "service/pki/pki.h"

struct assembly {
    struct config config;
    struct secret *master;
    struct disk *disk;
    struct directory *directory;
    struct pki *pki;
    const struct policy *policy;
    struct tls *tls[CONFIG_LISTENERS_MAX]; /* by entrance */
    struct driver_entrance entrances[CONFIG_LISTENERS_MAX];
    int fds[CONFIG_LISTENERS_MAX][BOOT_SOCKETS_MAX];
    struct dtls_server_config dtls[CONFIG_LISTENERS_MAX];
    size_t n_entrances;
    struct random_source random;
    struct broker *broker;
};

/*
 * assembly_open - everything but the threads
 *
 * notify, ctx  handed to the broker.
 * ret          caller's storage, zeroed by the call; after an error too it takes assembly_close.
 * why          on error: what is wrong, where, and the fix; for the operator.
 *
 * ERR_CONFIG, ERR_DENIED, ERR_CRYPTO, ERR_NOT_FOUND, ERR_IO, ERR_NOMEM.
 */
MUST_USE enum err assembly_open(const struct boot *boot, void (*notify)(void *ctx), void *ctx,
                                struct assembly *ret, struct why *why);
void assembly_close(struct assembly *a);

/* assembly_policy - reads and compiles DIR/policy.yaml; one reference for the caller. Errors as
 * above. */
MUST_USE enum err assembly_policy(const struct assembly *a, const char *dir,
                                  const struct policy **ret, struct why *why);

#endif

/*
 * assembly - the broker's parts, made out of DIR and the descriptors of BOOT, in the one order that
 * works: configuration, master key, keyring, log, directory, policy, certificates, entrances,
 * workers.
 */
#ifndef APP_DAEMON_ASSEMBLY_H
#define APP_DAEMON_ASSEMBLY_H

#include <stdatomic.h>

#include "app/daemon/config.h"
#include "app/daemon/message.h"
#include "app/daemon/porter.h"
#include "app/daemon/serving.h"
#include "app/daemon/vault.h"
#include "base/disk.h"
#include "base/why.h"
#include "service/broker/broker.h"
#include "service/directory/directory.h"
#include "service/enrol/makers.h"
#include "service/pki/authority.h"
#include "service/pki/pki.h"
#include "service/pki/revocation.h"

struct assembly {
    struct config config; /* as it was at the start: what needs a restart is as it says */
    struct kept_clock kept_clock;
    struct clock clock; /* of the above: the one that everything in the broker goes by */
    struct porter *porter;
    struct disk *disk;
    struct vault vault;
    struct directory *directory;
    struct pki *pki;
    struct enrol_makers makers;  /* of the start */
    struct authority *authority; /* the signer process */
    const struct policy *policy;
    const struct trust *trust;     /* NULL: no tokens are taken */
    const struct crl_set *extra;   /* lists of DIR/pki/crl-extra.pem; NULL: there are none */
    const struct serving *serving; /* the newest: listeners and limits as they are served */
    struct tls_tickets *tickets;   /* of all listeners; NULL: none are given */
    struct tls_staple *staple;     /* of all listeners */
    struct random_source random;
    struct broker *broker;
    struct restore_report restored;
};

struct assembly_watcher {
    void *ctx;
    void (*notify)(void *ctx); /* the broker's: something waits for the service thread */
    uint64_t fixed_bytes;      /* of memory, as broker_setup has it */
    struct progress *progress; /* of the opening, which it may end; borrowed for the call, and by
                                * the log for life */
};

/*
 * assembly_open - everything but the threads
 *
 * watcher  borrowed for the call, its ctx for life.
 * ret      caller's storage, zeroed by the call; after an error too it takes assembly_close.
 * why      on error: what is wrong, where, and the fix; for the operator.
 *
 * ERR_CLOSED (progress), ERR_CONFIG, ERR_DENIED, ERR_CRYPTO, ERR_NOT_FOUND, ERR_IO, ERR_NOMEM.
 */
MUST_USE enum err assembly_open(const struct boot *boot, const struct assembly_watcher *watcher,
                                struct assembly *ret, struct why *why);
void assembly_close(struct assembly *a);

/* assembly_policy - reads and compiles DIR/policy.yaml, which complaints call `shown`; start is
 * what its roles start with. One reference for the caller. Errors as above. */
MUST_USE enum err assembly_policy(const struct assembly *a, const char *shown,
                                  const struct role_limits *start, const struct policy **ret,
                                  struct why *why);

/* assembly_trust - the key sets and rules that `tokens` of this configuration names; *ret is NULL
 * when it names none. One reference for the caller. Errors as above. */
MUST_USE enum err assembly_trust(const struct assembly *a, const struct config_tokens *t,
                                 const struct trust **ret, struct why *why);

#endif

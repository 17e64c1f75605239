/*
 * vault - what at rest opens by the master key: the keyring, and under it the log.
 */
#ifndef APP_DAEMON_VAULT_H
#define APP_DAEMON_VAULT_H

#include "base/kept_clock.h"
#include "base/secret.h"
#include "base/why.h"
#include "service/broker/committer.h"
#include "service/directory/settings.h"
#include "store/keyring.h"
#include "store/log.h"

/* { 0 } is closed. */
struct vault {
    struct disk *disk; /* borrowed */
    struct keyring *keyring;
    struct committer *committer;
    struct log *log;
    struct log_report report; /* of log_open */
};

struct vault_setup {
    struct disk *disk; /* of the data directory; borrowed for life */
    struct random_source random;
    struct clock clock; /* copied */
    const struct global_settings *settings;
    unsigned n_workers;
    struct progress *progress; /* as log_setup has it */
};

/* A master key, and what people call it. */
struct vault_key {
    int fd; /* read from its beginning */
    const char *name;
    bool group_may_read;
};

/*
 * vault_open - the keyring by the first of these keys that opens it, then the log
 *
 * ret_opened_by  which key it was.
 * ERR_NOT_FOUND: there is no keyring; ERR_CRYPTO: no key opens it; ERR_DENIED, ERR_CONFIG: a key
 * file that is none; what log_open says. After an error too *ret takes vault_close. *why says what
 * to do.
 */
MUST_USE enum err vault_open(const struct vault_setup *s, const struct vault_key *keys,
                             size_t n_keys, struct vault *ret, size_t *ret_opened_by,
                             struct why *why);
/* vault_create - in a new data directory: keyring, folder and first segments. Errors as above. */
MUST_USE enum err vault_create(const struct vault_setup *s, struct slice master, struct vault *ret,
                               struct why *why);
/* vault_close - commits, writes the closing record, wipes. */
void vault_close(struct vault *v);

#endif

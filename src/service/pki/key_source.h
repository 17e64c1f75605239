/*
 * key_source - where the master key comes from: a file, or a credential of systemd; later a TPM or
 * a PKCS#11 token. The configuration's `master_key` names one: a path from /, or "credential:NAME".
 *
 * A source gives a descriptor of the 32 bytes, opened by the supervisor, read by the broker.
 */
#ifndef SERVICE_PKI_KEY_SOURCE_H
#define SERVICE_PKI_KEY_SOURCE_H

#include "base/err.h"
#include "base/slice.h"
#include "base/why.h"

struct key_source {
    const char *prefix; /* of the configured text; "": a path */
    /* What comes behind the prefix, as it may be written in sallyport.yaml. */
    bool (*check)(struct slice name);
    /* ERR_NOT_FOUND, ERR_DENIED, ERR_IO with *why. The caller closes *ret_fd. */
    enum err (*open)(const char *name, int *ret_fd, struct why *why);
    bool group_may_read; /* who keeps the file decides its mode, not we */
    /* NULL: `master-key rotate` writes a new one itself; else why it cannot, and what to do. */
    const char *no_rotation;
};

enum { KEY_SOURCE_FILE, KEY_SOURCE_CREDENTIAL, KEY_SOURCE_COUNT };

/* key_source_of - the source that a configured text names; *ret_name is what comes behind its
 * prefix. Never NULL: without a known prefix it is a path. */
const struct key_source *key_source_of(const char *text, const char **ret_name);
/* key_source_at - by KEY_SOURCE_*, as the supervisor tells the broker. */
const struct key_source *key_source_at(unsigned index);
unsigned key_source_index(const struct key_source *s);

#endif

/*
 * anchor - a small signed statement of how far the trail was: so many entries, this head, at this
 * time. Kept outside, it says later whether the trail still begins with them. One line of JSON, so
 * that it travels by mail or on paper; the daemon keeps its newest one in DIR/scribe/audit.head.
 */
#ifndef SERVICE_WATCH_ANCHOR_H
#define SERVICE_WATCH_ANCHOR_H

#include "base/buf.h"
#include "base/disk.h"
#include "service/watch/chain.h"

enum { ANCHOR_BYTES_MAX = 1024 };
#define ANCHOR_FILE        "scribe/audit.head"
#define ANCHOR_FILE_FORMER "audit.head" /* of a version before the scribe */
#define ANCHOR_DOMAIN      "sallyport audit anchor 1"

struct anchor {
    uint8_t trail[CHAIN_ID_BYTES];
    uint64_t count;     /* entries, the first is 1 */
    struct digest head; /* over them */
    int64_t wall_ms;
    uint8_t key[ED25519_PUBLIC_BYTES];
    uint8_t signature[ED25519_SIGNATURE_BYTES];
};

/* anchor_sign - a->key and a->signature. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err anchor_sign(const struct ed25519 *key, struct anchor *a);
/* anchor_verify - signed by a->key? Whose key that is, is another question. ERR_AUTH, ERR_NOMEM,
 * ERR_CRYPTO. */
MUST_USE enum err anchor_verify(const struct anchor *a);
/* anchor_encode - with a newline, appended. ERR_NOMEM, ERR_TOO_LARGE. */
MUST_USE enum err anchor_encode(const struct anchor *a, struct buf *ret);
/* anchor_decode - ERR_TOO_LARGE over ANCHOR_BYTES_MAX, ERR_MALFORMED: another text, also one with
 * something more; ERR_UNSUPPORTED: a later form; ERR_NOMEM. The signature is not looked at. */
MUST_USE enum err anchor_decode(struct slice text, struct anchor *ret);
/* anchor_load - the text of the daemon's newest one, appended; of a version before the scribe, too.
 * As disk_load. */
MUST_USE enum err anchor_load(struct disk *d, struct buf *ret);

#endif

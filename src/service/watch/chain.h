/*
 * chain - what binds the records of the trail to each other: each has its place in the count and
 * the hash of all before it, and some of them (checkpoints) are signed.
 *
 *   entry       prev (32), kind (u8), seq (u64), time (u64, ms of Unix), salt (16), body
 *   leaf        SHA-256 of the entry from kind on
 *   head        SHA-256 of 0x00, prev and leaf; the next entry's prev
 *   checkpoint  the body of an entry; its signature is over CHAIN_DOMAIN, prev, kind, seq, time,
 *               salt and the body before the signature
 *
 * Entries count from 1. So a leaf can stand for an entry whose words stay private, and the chain
 * still closes over it; the salt keeps anybody from guessing words by their hash.
 */
#ifndef SERVICE_WATCH_CHAIN_H
#define SERVICE_WATCH_CHAIN_H

#include "base/wr.h"
#include "security/crypto/digest.h"
#include "security/crypto/ed25519.h"

#define CHAIN_DOMAIN "sallyport audit checkpoint 1"

enum {
    CHAIN_SALT_BYTES = 16,
    CHAIN_ID_BYTES = 16,
    CHAIN_FRONT_BYTES = DIGEST_BYTES + 1 + 8 + 8 + CHAIN_SALT_BYTES, /* of an entry, before body */
    CHAIN_CHECKPOINT_CLEAR_BYTES =
        1 + CHAIN_ID_BYTES + 4 + 4 + 4 + 8 + 8 + 8 + DIGEST_BYTES + 2 * ED25519_PUBLIC_BYTES,
    CHAIN_CHECKPOINT_BYTES = CHAIN_CHECKPOINT_CLEAR_BYTES + ED25519_SIGNATURE_BYTES
};

enum chain_kind { CHAIN_EVENT = 1, CHAIN_CHECKPOINT = 2 };

struct chain_entry {
    struct digest prev; /* all zeros for the first */
    enum chain_kind kind;
    uint64_t seq;
    int64_t wall_ms;
    uint8_t salt[CHAIN_SALT_BYTES];
    struct slice body; /* borrowed: of an event its line */
};

void chain_entry_encode(const struct chain_entry *e, struct wr *w);
/* chain_entry_decode - ret->body borrows from bytes. ERR_TRUNCATED, ERR_MALFORMED. */
MUST_USE enum err chain_entry_decode(struct slice bytes, struct chain_entry *ret);
/* chain_leaf - of an encoded entry, behind its prev or whole. ERR_TRUNCATED, ERR_CRYPTO. */
MUST_USE enum err chain_leaf(struct slice encoded, struct digest *ret);
MUST_USE enum err chain_head(const struct digest *prev, const struct digest *leaf,
                             struct digest *ret);

/* X(name, meaning) */
#define CHAIN_REASONS(X)                                                                           \
    X(begin, "the chain begins")                                                                   \
    X(start, "the daemon started")                                                                 \
    X(file, "a new file begins")                                                                   \
    X(failed, "a write had failed")                                                                \
    X(routine, "so many entries, or so long, after the one before")                                \
    X(asked, "somebody asked for an anchor")                                                       \
    X(full, "the file is full")                                                                    \
    X(key, "the key changes")                                                                      \
    X(stop, "the daemon stopped in order")

enum chain_reason {
    CHAIN_REASON_none,
#define X(name, meaning) CHAIN_REASON_##name,
    CHAIN_REASONS(X)
#undef X
        CHAIN_REASON_END
};

struct chain_checkpoint {
    enum chain_reason reason;
    uint8_t trail[CHAIN_ID_BYTES];     /* random, made with the chain */
    uint32_t file;                     /* where it was written */
    uint32_t oldest_file;              /* that was still kept */
    uint32_t torn_file;                /* bytes that a crash or a failed write left there, as */
    uint64_t torn_at, torn_bytes;      /* whoever goes on behind them found them */
    uint64_t older_lines;              /* begin: lines of the version before the chain, */
    struct digest older;               /* and the hash over them */
    uint8_t key[ED25519_PUBLIC_BYTES]; /* that signs this one */
    uint8_t next_key[ED25519_PUBLIC_BYTES]; /* that signs those after it */
    uint8_t signature[ED25519_SIGNATURE_BYTES];
};

/* chain_reason_name - "start"; "-" for none. */
const char *chain_reason_name(enum chain_reason r);
void chain_checkpoint_encode(const struct chain_checkpoint *c, struct wr *w);
MUST_USE enum err chain_checkpoint_decode(struct slice body, struct chain_checkpoint *ret);
/* chain_checkpoint_sign - c->key and c->signature. e: the entry that it becomes; its body is not
 * looked at. ERR_NOMEM, ERR_CRYPTO. */
MUST_USE enum err chain_checkpoint_sign(const struct ed25519 *key, const struct chain_entry *e,
                                        struct chain_checkpoint *c);
/* chain_checkpoint_verify - is it signed by c->key, in this entry? ERR_AUTH, ERR_NOMEM, ERR_CRYPTO.
 */
MUST_USE enum err chain_checkpoint_verify(const struct chain_checkpoint *c,
                                          const struct chain_entry *e);

#endif

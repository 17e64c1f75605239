/*
 * numbers - the sequence numbers that OSCORE answers bear: each is given out once, for ever. They
 * are reserved in blocks, ahead of their use and on record (docs/ORDER.md, rule 15): a restart goes
 * on behind all that may have been used. Each principal's are at its home worker.
 *
 * On record is, for each principal, the first number that was never reserved, under its key; and
 * one below which nobody's begins, which leaps when older records may be what is left (a backup was
 * restored, records are damaged).
 */
#ifndef SERVICE_BROKER_NUMBERS_H
#define SERVICE_BROKER_NUMBERS_H

#include "base/map.h"
#include "store/log.h"

enum { NUMBERS_BLOCK = 256 };

#define NUMBERS_END  (UINT64_C(1) << 40) /* SPEC: RFC8613 7.2.1: no more with one key */
#define NUMBERS_LEAP (UINT64_C(1) << 30) /* more than anybody uses between two backups */

struct worker;

struct numbers {
    struct map next; /* by principal */
    uint64_t base;
};

void numbers_init(struct numbers *n, const struct siphash_key *key);
void numbers_done(struct numbers *n);
/* numbers_load - what is on record of those that are ours (NULL: all); before any thread runs.
 * ERR_NOMEM and what the log says. */
MUST_USE enum err numbers_load(struct numbers *n, struct log *log,
                               bool (*is_ours)(const void *ctx, uint64_t principal),
                               const void *ctx);

/* numbers_first - where the next block of a principal begins. */
uint64_t numbers_first(const struct numbers *n, uint64_t principal);

/* numbers_leap - from here on nobody's numbers begin below what may have been used behind this
 * copy of the log. Durable when it returns OK. Before numbers_load. */
MUST_USE enum err numbers_leap(struct log *log);

/*
 * worker_numbers - reserves NUMBERS_BLOCK numbers of a principal from *ret_first on
 *
 * They may be used when cookie has come back through worker_next_done, not before.
 * ERR_LIMIT: the first 2^40 are used up; ERR_SPACE, ERR_IO, ERR_NOMEM: none are reserved.
 */
MUST_USE enum err worker_numbers(struct worker *w, uint64_t principal, uint64_t cookie,
                                 uint64_t *ret_first);

#endif

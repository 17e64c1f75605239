/*
 * memlog - a journal in memory that commits late: records are counted, not kept. It gives the
 * broker the asynchronous shape of the encrypted log (append now, committed later, in another
 * thread) until that log takes its place behind core/journal.h. Nothing survives a restart.
 */
#ifndef STORE_MEMLOG_H
#define STORE_MEMLOG_H

#include "base/scope.h"
#include "core/journal.h"

struct memlog;

/* memlog_new - n writers. ERR_NOMEM. */
MUST_USE enum err memlog_new(unsigned n_writers, struct memlog **ret);
struct memlog *memlog_free(struct memlog *l);
AUTOFREE(memlog, memlog_free)
/* memlog_writer - borrowed; one thread appends to it. */
struct journal *memlog_writer(struct memlog *l, unsigned i);
/* memlog_commit - everything handed over so far is committed; bits of the writers that moved on.
 * One thread. */
uint64_t memlog_commit(struct memlog *l);
/* memlog_bytes - appended since the start; any thread. */
uint64_t memlog_bytes(const struct memlog *l);

#endif

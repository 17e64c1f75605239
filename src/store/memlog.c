#include "store/memlog.h"

#include <stdatomic.h>

#include "base/mem.h"

struct memlog_writer {
    struct journal journal; /* first */
    uint64_t appended;      /* the writer's own */
    _Atomic uint64_t handed, committed, bytes;
};

struct memlog {
    unsigned n;
    struct memlog_writer writers[];
};

static enum err memlog_append(struct journal *j, enum journal_kind kind, uint64_t owner,
                              struct slice head, struct slice body, uint64_t *ret_lsn)
{
    struct memlog_writer *w = (struct memlog_writer *)(void *)j;
    (void)kind;
    (void)owner;
    uint64_t bytes = atomic_load_explicit(&w->bytes, memory_order_relaxed);
    atomic_store_explicit(&w->bytes, bytes + head.n + body.n, memory_order_relaxed);
    *ret_lsn = ++w->appended;
    return OK;
}

static enum err memlog_admits(const struct journal *j)
{
    (void)j;
    return OK;
}

static enum journal_lag memlog_lag(const struct journal *j, uint64_t bytes)
{
    (void)j;
    (void)bytes;
    return JOURNAL_KEEPS_UP;
}

static void memlog_handover(struct journal *j, bool is_awaited)
{
    (void)is_awaited;
    struct memlog_writer *w = (struct memlog_writer *)(void *)j;
    atomic_store_explicit(&w->handed, w->appended, memory_order_release);
}

static uint64_t memlog_committed(const struct journal *j)
{
    const struct memlog_writer *w = (const struct memlog_writer *)(const void *)j;
    return atomic_load_explicit(&w->committed, memory_order_acquire);
}

static const struct journal_ops memlog_ops = {.append = memlog_append,
                                              .admits = memlog_admits,
                                              .lag = memlog_lag,
                                              .handover = memlog_handover,
                                              .committed = memlog_committed};

MUST_USE enum err memlog_new(unsigned n_writers, struct memlog **ret)
{
    struct memlog *l = mem_zalloc(sizeof(*l) + n_writers * sizeof(l->writers[0]));
    if (l == NULL) {
        return ERR_NOMEM;
    }
    l->n = n_writers;
    for (unsigned i = 0; i < n_writers; i++) {
        l->writers[i].journal.ops = &memlog_ops;
    }
    *ret = l;
    return OK;
}

struct memlog *memlog_free(struct memlog *l)
{
    return mem_free(l);
}

struct journal *memlog_writer(struct memlog *l, unsigned i)
{
    return &l->writers[i].journal;
}

uint64_t memlog_commit(struct memlog *l)
{
    uint64_t moved = 0;
    for (unsigned i = 0; i < l->n; i++) {
        struct memlog_writer *w = &l->writers[i];
        uint64_t handed = atomic_load_explicit(&w->handed, memory_order_acquire);
        if (handed != atomic_load_explicit(&w->committed, memory_order_relaxed)) {
            atomic_store_explicit(&w->committed, handed, memory_order_release);
            moved |= (uint64_t)1 << i;
        }
    }
    return moved;
}

uint64_t memlog_bytes(const struct memlog *l)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < l->n; i++) {
        bytes += atomic_load_explicit(&l->writers[i].bytes, memory_order_relaxed);
    }
    return bytes;
}

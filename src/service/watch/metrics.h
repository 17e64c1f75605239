/*
 * metrics - the numbers of the process as Prometheus text (exposition format 0.0.4).
 *
 * Names are `sallyport_` and those of the table in counters.h, summed over all workers, with the
 * events by category and what the kernel says of the process.
 */
#ifndef SERVICE_WATCH_METRICS_H
#define SERVICE_WATCH_METRICS_H

#include "base/buf.h"
#include "base/scope.h"
#include "service/watch/audit.h"
#include "service/watch/counters.h"
#include "store/log.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum { METRICS_TEXT_MAX = 1 << 20, METRICS_LISTENERS_MAX = COUNTERS_LISTENERS_MAX };

struct metrics;

/* metrics_prepare - opens /proc/self/statm and /proc/self/fd: call it before the sandbox closes.
 * What is not there is left out of the text. ERR_NOMEM. */
MUST_USE enum err metrics_prepare(struct metrics **ret);
struct metrics *metrics_free(struct metrics *m);
AUTOFREE(metrics, metrics_free)

/* What the process has now; -1: the kernel does not say. */
int64_t metrics_resident_bytes(const struct metrics *m);
int64_t metrics_open_descriptors(const struct metrics *m);

struct respond_counts;

struct metrics_sources {
    const struct counters *const *workers; /* n_workers of them */
    size_t n_workers;
    const char *const *listeners;                     /* names, in the order of entrance.index */
    size_t n_listeners;                               /* at most METRICS_LISTENERS_MAX */
    const struct audit *audit;                        /* NULL: no events */
    const struct log_status *store;                   /* NULL: no store */
    uint64_t memory_ceiling_bytes, memory_used_bytes; /* ceiling 0: there is none */
    uint64_t memory_peak_bytes;
    uint64_t open_alerts, exceptions, principals, epoch;
    const struct respond_counts *responses;            /* NULL: none */
    int64_t started_wall_ms, certificate_ends_wall_ms; /* 0: not known */
};

/* metrics_sum - all workers' sets into one. */
void metrics_sum(const struct counters *const *workers, size_t n, struct counters *ret);
/* metrics_text - appended to *ret. m may be NULL. ERR_NOMEM, ERR_TOO_LARGE. */
MUST_USE enum err metrics_text(const struct metrics *m, const struct metrics_sources *s,
                               struct buf *ret);

#endif

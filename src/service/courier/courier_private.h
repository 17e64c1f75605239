/* courier_private - what a sink's thread shares with the process's first one. */
#ifndef SERVICE_COURIER_COURIER_PRIVATE_H
#define SERVICE_COURIER_COURIER_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "service/courier/courier.h"

enum { COURIER_REPORTS_MAX = 8 };

/* Under the lock. */
struct courier_board {
    pthread_mutex_t lock;
    struct courier_report
        reports[COURIER_REPORTS_MAX]; /* the oldest first; when full, new ones go */
    size_t n_reports;
    struct courier_numbers numbers;
    char trouble[COURIER_TEXT_BYTES]; /* the last failure */
};

struct courier_errand; /* of one sink, errand_private.h */

struct courier {
    struct courier_sink sinks[COURIER_SINKS_MAX];
    struct courier_board boards[COURIER_SINKS_MAX];
    struct courier_errand *errands[COURIER_SINKS_MAX];
    _Atomic uint64_t beats[COURIER_SINKS_MAX]; /* when each thread turned last, in ms */
    size_t n;
    int stop_fd; /* readable from courier_free on */
    atomic_bool is_stopping;
    void *ctx;
    void (*notify)(void *ctx);
};

void courier_say(struct courier *c, size_t sink, enum courier_news news, uint64_t n,
                 const char *text);

#endif

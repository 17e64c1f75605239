#include "service/broker/restore.h"

#include "service/broker/handed.h"
#include "service/broker/restore_private.h"
#include "service/broker/worker_private.h"

/* The same worker that will ask for them. */
static bool is_home(const void *ctx, uint64_t principal)
{
    const struct worker *w = ctx;
    const struct principal p = {.id = principal};
    return worker_home(w, &p) == w->setup.index;
}

MUST_USE enum err restore_workers(struct log *log, struct worker *const *workers, unsigned n,
                                  uint64_t now_ms, int64_t wall_ms, struct progress *progress,
                                  struct restore_report *ret)
{
    struct restore r;
    restore_init(&r, workers, n, now_ms, wall_ms, ret);
    r.log = log;
    r.progress = progress;
    struct log_sink sink = restore_sink(&r);
    enum err err = log_restore(log, &sink);
    for (unsigned i = 0; err == OK && i < n; i++) {
        err = numbers_load(&workers[i]->numbers, log, is_home, workers[i]);
    }
    if (err == OK) {
        struct store_ids ids = log_ids(log);
        err = restore_finish(&r, &ids);
    }
    if (err != OK) {
        log_discard(log); /* half of what a restart changes is told to nobody */
    }
    restore_done(&r);
    return err;
}

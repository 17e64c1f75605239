#include "service/broker/restore.h"

#include "service/broker/restore_private.h"
#include "service/broker/worker_private.h"

MUST_USE enum err restore_workers(struct log *log, struct worker *const *workers, unsigned n,
                                  uint64_t now_ms, int64_t wall_ms, struct restore_report *ret)
{
    struct restore r;
    restore_init(&r, workers, n, now_ms, wall_ms, ret);
    r.log = log;
    struct log_sink sink = restore_sink(&r);
    enum err err = log_restore(log, &sink);
    if (err == OK) {
        err = numbers_load(&workers[0]->numbers, log);
    }
    if (err == OK) {
        struct store_ids ids = log_ids(log);
        err = restore_finish(&r, &ids);
    }
    restore_done(&r);
    return err;
}

/* How long a batch waits for company: docs/decisions/0017 has the measurements. */
#include "store/log_private.h"

enum {
    PACE_FROM = 4000,  /* records a second; below it each batch leaves at once */
    PACE_FULL = 40000, /* from here on the whole pause */
    PACE_BATCH = 8,    /* with less in a batch there is nobody to wait for: they wait for us */
    PACE_ENOUGH = 128, /* so many share a sync well: what comes faster waits less, but... */
    PACE_MAX_US = 2000,
    PACE_BUSY_US = 1000,     /* ...this long also at any rate: then it is the CPU that is short */
    PACE_SPARED = 2,         /* times as long, when the disk is spared */
    PACE_SYNC_SLOW_US = 4000 /* a disk this slow gathers enough by itself */
};

uint64_t pace_us(uint64_t records_per_s, uint64_t records_per_batch, uint64_t sync_us)
{
    if (records_per_s <= PACE_FROM || records_per_batch < PACE_BATCH ||
        sync_us >= PACE_SYNC_SLOW_US) {
        return 0;
    }
    uint64_t over = records_per_s < PACE_FULL ? records_per_s - PACE_FROM : PACE_FULL - PACE_FROM;
    uint64_t us = PACE_MAX_US * over / (PACE_FULL - PACE_FROM);
    uint64_t enough_us = PACE_ENOUGH * (uint64_t)1000000 / records_per_s;
    enough_us = enough_us > PACE_BUSY_US ? enough_us : PACE_BUSY_US;
    us = us < enough_us ? us : enough_us;
    /* The sync itself is time in which others gather. */
    return us > sync_us ? us - sync_us : 0;
}

uint64_t log_quiet_us(struct log *l)
{
    (void)pthread_mutex_lock(&l->inbox);
    uint64_t at_us = l->last_handover_us;
    (void)pthread_mutex_unlock(&l->inbox);
    uint64_t now_us = l->setup.clock.mono_us(l->setup.clock.ctx);
    return now_us > at_us ? now_us - at_us : 0;
}

uint64_t log_pace(const struct log *l)
{
    uint64_t gap_us = l->gap_us_x16 / LOG_MEAN;
    uint64_t rate = gap_us > 0 ? l->records_per_batch_x16 * 1000000 / LOG_MEAN / gap_us : 0;
    uint64_t batch = l->records_per_batch_x16 / LOG_MEAN;
    /* Without a sync there is no time in which others gather by themselves. */
    return l->is_spared ? PACE_SPARED * pace_us(rate, batch, 0)
                        : pace_us(rate, batch, l->sync_us_x16 / LOG_MEAN);
}

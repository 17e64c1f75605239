#include "core/pressure.h"

unsigned pressure_percent(enum pressure step)
{
    switch (step) {
    case PRESSURE_NONE:
        break;
    case PRESSURE_QOS0:
        return PRESSURE_QOS0_PERCENT;
    case PRESSURE_CONSUMERS:
        return PRESSURE_CONSUMERS_PERCENT;
    case PRESSURE_STRANGERS:
        return PRESSURE_STRANGERS_PERCENT;
    case PRESSURE_FULL:
        return PRESSURE_FULL_PERCENT;
    }
    return 0;
}

const char *pressure_does(enum pressure step)
{
    switch (step) {
    case PRESSURE_NONE:
        break;
    case PRESSURE_QOS0:
        return "QoS 0 to clients that read too slowly is dropped";
    case PRESSURE_CONSUMERS:
        return "the client that reads slowest is disconnected";
    case PRESSURE_STRANGERS:
        return "connections that have not logged in are closed";
    case PRESSURE_FULL:
        return "new connections and messages are refused";
    }
    return "nothing is shed";
}

/* Percentages of sizes that may fill 64 bits. */
static uint64_t share(uint64_t ceiling, unsigned percent)
{
    return ceiling / 100 * percent + ceiling % 100 * percent / 100;
}

uint64_t pressure_headroom(uint64_t ceiling, unsigned n_workers)
{
    uint64_t most = ceiling / PRESSURE_HEADROOM_SHARE;
    uint64_t wanted = (uint64_t)n_workers * PRESSURE_HEADROOM_BYTES;
    return wanted < most ? wanted : most;
}

enum pressure pressure_next(enum pressure before, uint64_t used, uint64_t ceiling)
{
    enum pressure step = PRESSURE_NONE;
    for (unsigned i = PRESSURE_QOS0; ceiling > 0 && i <= PRESSURE_FULL; i++) {
        unsigned percent = pressure_percent((enum pressure)i);
        percent -= i <= before ? PRESSURE_BACK_PERCENT : 0;
        if (used >= share(ceiling, percent)) {
            step = (enum pressure)i;
        }
    }
    return step;
}

bool pressure_spills(bool before, uint64_t used, uint64_t ceiling)
{
    unsigned percent = PRESSURE_SPILL_PERCENT - (before ? PRESSURE_BACK_PERCENT : 0);
    return ceiling > 0 && used >= share(ceiling, percent);
}

const struct consumer *pressure_worst(const struct consumer *consumers, size_t n)
{
    const struct consumer *worst = NULL;
    for (size_t i = 0; i < n; i++) {
        if (consumer_is_slow(consumers[i].bytes) &&
            (worst == NULL || consumers[i].bytes > worst->bytes)) {
            worst = &consumers[i];
        }
    }
    return worst;
}

bool pressure_sheds(uint64_t own, const uint64_t *all, size_t n, size_t index)
{
    for (size_t i = 0; i < n; i++) {
        if (i != index && all[i] > own) {
            return false;
        }
    }
    return consumer_is_slow(own);
}

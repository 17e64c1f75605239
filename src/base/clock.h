/* clock - the seam to time. Engines and core get `now_ms` as an argument; only drivers hold a
 * clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t (*mono_ms)(void *ctx); /* monotonic, arbitrary start, never 0 */
    uint64_t (*mono_us)(void *ctx); /* the same, finer: clock_ms says which mono_ms it is */
    int64_t (*wall_ms)(void *ctx);  /* Unix time; may step, may be wrong */
    void *ctx;
};

/* clock_system - the machine's own. */
struct clock clock_system(void);

/* clock_ms - what mono_ms gives when mono_us gives this: one look at the clock is enough. */
static inline uint64_t clock_ms(uint64_t mono_us)
{
    return mono_us >= 1000 ? mono_us / 1000 : 1;
}

/* clock_iso8601 - "2026-11-21T09:00:00.123Z" into dst, for every wall_ms (years outside 0 to 9999
 * take more digits or a sign). */
enum { CLOCK_ISO8601_BYTES = 32 };
void clock_iso8601(int64_t wall_ms, char dst[CLOCK_ISO8601_BYTES]);

#endif

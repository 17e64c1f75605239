#include <assert.h>

#include "base/rd.h"
#include "base/scope.h"
#include "service/broker/prefix_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct net_prefix prefix_of(uint8_t high, uint8_t low)
{
    return (struct net_prefix){.bytes = {high, low}};
}

static void tell(struct prefix_table *t, uint64_t now_ms)
{
    struct prefix_report report;
    unsigned n = 0;
    while (prefix_next_report(t, now_ms, &report)) {
        assert(report.refused > 0);
        n++;
    }
    assert(n <= PREFIX_SWEEP_MAX);
    assert(prefix_deadline(t) > now_ms);
}

/* Three bytes are a step: what, and which network. In any order no bucket holds more than its
 * burst, a refusal never follows from what others took, and the events are paced. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct prefix_table t;
    const struct siphash_key key = {7, 11};
    static uint8_t begun[256]; /* of the networks {0, low}; saturates */
    struct rd r = rd_from(slice_of(data, n));
    uint32_t rate = 1U + rd_u8(&r), burst = 1U + rd_u8(&r), share = 1U + rd_u8(&r) % 32;
    uint64_t now_ms = 1000;
    uint64_t most = burst > share ? burst : share;
    memset(begun, 0, sizeof(begun));
    prefix_table_init(&t, &key, rate, burst, share);
    while (rd_left(&r) >= 3) {
        uint8_t what = rd_u8(&r), high = rd_u8(&r), low = rd_u8(&r);
        struct net_prefix p = prefix_of(high, low);
        if (what < 0x80) {
            bool is_in = prefix_take(&t, &p, now_ms);
            if (!is_in) {
                prefix_refused(&t, &p, 0, now_ms);
            }
            assert(is_in || high != 0 || begun[low] >= most / share || begun[low] == UINT8_MAX);
            begun[low] += high == 0 && is_in && begun[low] < UINT8_MAX;
        } else if (what < 0xa0) {
            prefix_give(&t, &p, now_ms);
        } else if (what < 0xc0) {
            now_ms += (uint64_t)high << (low % 8);
        }
        tell(&t, now_ms);
    }
    for (size_t i = 0; i < COUNT_OF(t.place); i++) {
        assert(t.place[i].bucket.millis <= most * 1000);
    }
    return 0;
}

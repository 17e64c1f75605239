#include "engine/coap_echo.h"

#include "base/secret.h"
#include "base/wr.h"

void coap_echo_make(const struct siphash_key *key, uint64_t peer_tag, uint64_t now_ms,
                    uint8_t dst[COAP_ECHO_BYTES])
{
    uint32_t seconds = (uint32_t)(now_ms / 1000);
    uint8_t input[13];
    struct wr in = wr_into(input, sizeof(input));
    wr_u8(&in, 'E'); /* keeps these hashes apart from those of addresses under the same key */
    wr_u64(&in, peer_tag);
    wr_u32(&in, seconds);
    struct wr out = wr_into(dst, COAP_ECHO_BYTES);
    wr_u32(&out, seconds);
    wr_u64(&out, siphash(key, wr_slice(&in)));
}

bool coap_echo_check(const struct siphash_key *key, uint64_t peer_tag, struct slice value,
                     uint64_t now_ms, uint64_t window_ms, uint64_t *ret_age_ms)
{
    if (value.n != COAP_ECHO_BYTES) {
        return false;
    }
    uint64_t made_at_ms = 0;
    for (size_t i = 0; i < sizeof(uint32_t); i++) {
        made_at_ms = made_at_ms << 8 | value.p[i];
    }
    made_at_ms *= 1000;
    uint8_t expected[COAP_ECHO_BYTES];
    coap_echo_make(key, peer_tag, made_at_ms, expected);
    if (!secret_equal(value, slice_of(expected, sizeof(expected)))) {
        return false;
    }
    if (made_at_ms > now_ms || now_ms - made_at_ms > window_ms) {
        return false;
    }
    *ret_age_ms = now_ms - made_at_ms;
    return true;
}

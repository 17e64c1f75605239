#include <assert.h>

#include "base/mem.h"
#include "engine/coap_endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void drain(struct coap_endpoint *e, uint64_t now_ms)
{
    uint8_t out[2048];
    size_t n = 0;
    struct coap_message m;
    struct coap_event event;
    for (int i = 0; i < 100 && coap_endpoint_deadline(e) <= now_ms; i++) {
        (void)!coap_endpoint_tick(e, now_ms, &event);
    }
    while ((n = coap_endpoint_output(e, out, sizeof(out))) > 0) {
        /* What we say must be well-formed. */
        assert(coap_message_decode(slice_of(out, n), COAP_TOKEN_LIMIT, &m) == OK);
    }
}

/* Each step: what, how much time passes, a length, and so many bytes. Datagrams, answers, time, and
 * failing allocations are all the fuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct siphash_key key = {1, 2};
    struct coap_limits limits = coap_limits_default();
    struct coap_counters counters = {0};
    limits.n_exchanges = limits.n_requests = limits.n_observations = limits.n_transmissions = 3;
    limits.dedup_entries = 12;
    limits.dedup_bytes = 64;
    struct rd r = rd_from(slice_of(data, n));
    bool is_proven = (rd_u8(&r) & 1) != 0;
    struct coap_endpoint_setup setup = {
        .limits = &limits, .counters = &counters, .echo_key = &key, .proven = is_proven};
    struct coap_endpoint *e = NULL;
    if (coap_endpoint_new(&setup, 0, &e) != OK) {
        return 0;
    }
    uint64_t now_ms = 0;
    uint32_t exchange = 0, request = 0;
    while (rd_left(&r) > 3) {
        uint8_t what = rd_u8(&r), pause = rd_u8(&r);
        struct slice bytes = rd_bytes(&r, rd_u8(&r));
        struct coap_answer answer = {.code = what & 0x10 ? COAP_CONTENT : COAP_NOT_FOUND,
                                     .payload = bytes};
        struct coap_request ask = {.confirmable = what & 0x20, .code = COAP_GET, .options = bytes};
        struct coap_event event = {0};
        now_ms += (uint64_t)pause * pause;
        mem_fail_after(what & 0x80 ? what >> 4 & 3 : -1);
        switch (what & 7) {
        case 0:
        case 1:
            (void)!coap_endpoint_datagram(e, bytes, now_ms, &event);
            exchange = event.kind == COAP_EVENT_REQUEST ? event.id : exchange;
            break;
        case 2:
            (void)!coap_endpoint_respond(e, exchange, &answer, now_ms);
            break;
        case 3:
            (void)!coap_endpoint_observe(e, exchange, bytes.n, now_ms);
            break;
        case 4:
            (void)!coap_endpoint_notify(e, what >> 3 & 3, &answer, now_ms);
            break;
        case 5:
            if (is_proven) {
                (void)!coap_endpoint_request(e, &ask, now_ms, &request);
            }
            break;
        case 6:
            (void)!coap_endpoint_drop(e, exchange, now_ms);
            coap_endpoint_forget(e, request);
            break;
        default:
            limits.is_full = (what & 8) != 0;
            if (limits.is_full) {
                size_t held = coap_endpoint_bytes(e);
                (void)coap_endpoint_shed(e);
                assert(coap_endpoint_bytes(e) <= held);
            }
            (void)!coap_endpoint_challenge(e, exchange, now_ms);
            break;
        }
        mem_fail_after(-1);
        drain(e, now_ms);
    }
    /* Nobody can guess an Echo value: to a stranger at most three bytes went for each that came. */
    assert(is_proven || counters.bytes_out <= 3 * counters.bytes_in);
    (void)coap_endpoint_free(e);
    return 0;
}

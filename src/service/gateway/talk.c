/* What an association says, whatever carries it: datagrams (coap_endpoint) or a stream
 * (coap_channel). */
#include "service/gateway/door_private.h"

enum err talk_respond(struct association *a, uint32_t exchange, const struct coap_answer *answer)
{
    return a->channel != NULL
               ? coap_channel_respond(a->channel, exchange, answer)
               : coap_endpoint_respond(a->endpoint, exchange, answer, a->door->now_ms);
}

enum err talk_drop(struct association *a, uint32_t exchange)
{
    return a->channel != NULL ? coap_channel_drop(a->channel, exchange)
                              : coap_endpoint_drop(a->endpoint, exchange, a->door->now_ms);
}

enum err talk_observe(struct association *a, uint32_t exchange, uint64_t key)
{
    return a->channel != NULL ? coap_channel_observe(a->channel, exchange, key, a->door->now_ms)
                              : coap_endpoint_observe(a->endpoint, exchange, key, a->door->now_ms);
}

enum err talk_notify(struct association *a, uint64_t key, const struct coap_answer *answer)
{
    return a->channel != NULL ? coap_channel_notify(a->channel, key, answer)
                              : coap_endpoint_notify(a->endpoint, key, answer, a->door->now_ms);
}

void talk_unobserve(struct association *a, uint64_t key)
{
    if (a->channel != NULL) {
        coap_channel_unobserve(a->channel, key);
    } else {
        coap_endpoint_unobserve(a->endpoint, key);
    }
}

bool talk_is_unacked(const struct association *a, uint64_t key)
{
    return a->channel == NULL && coap_endpoint_is_unacked(a->endpoint, key);
}

size_t talk_bytes(const struct association *a)
{
    return a->channel != NULL ? coap_channel_bytes(a->channel) + a->backlog
                              : coap_endpoint_bytes(a->endpoint);
}

size_t talk_shed(struct association *a)
{
    return a->channel != NULL ? 0 : coap_endpoint_shed(a->endpoint);
}

uint64_t talk_deadline(const struct association *a)
{
    return a->channel != NULL ? coap_channel_deadline(a->channel)
                              : coap_endpoint_deadline(a->endpoint);
}

size_t talk_whole_max(const struct association *a)
{
    return a->channel != NULL ? coap_channel_payload_max(a->channel) : COAP_BLOCK_BYTES_MAX;
}

uint8_t talk_szx_max(const struct association *a)
{
    uint8_t szx = COAP_BLOCK_SZX_MAX;
    while (szx > 0 && coap_block_bytes(szx) > talk_whole_max(a)) {
        szx--;
    }
    return szx;
}

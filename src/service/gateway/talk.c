/* What an association says, whatever carries it: datagrams (coap_endpoint) or a stream
 * (coap_channel). */
#include "service/gateway/door_private.h"

struct coap_channel *talk_channel(const struct association *a)
{
    return a->stream != NULL ? stream_channel(a->stream) : NULL;
}

enum err talk_respond(struct association *a, uint32_t exchange, const struct coap_answer *answer)
{
    return a->stream != NULL
               ? coap_channel_respond(talk_channel(a), exchange, answer)
               : coap_endpoint_respond(a->endpoint, exchange, answer, a->door->now_ms);
}

enum err talk_drop(struct association *a, uint32_t exchange)
{
    return a->stream != NULL ? coap_channel_drop(talk_channel(a), exchange)
                             : coap_endpoint_drop(a->endpoint, exchange, a->door->now_ms);
}

enum err talk_observe(struct association *a, uint32_t exchange, uint64_t key)
{
    return a->stream != NULL ? coap_channel_observe(talk_channel(a), exchange, key, a->door->now_ms)
                             : coap_endpoint_observe(a->endpoint, exchange, key, a->door->now_ms);
}

enum err talk_notify(struct association *a, uint64_t key, const struct coap_answer *answer)
{
    return a->stream != NULL ? coap_channel_notify(talk_channel(a), key, answer)
                             : coap_endpoint_notify(a->endpoint, key, answer, a->door->now_ms);
}

void talk_unobserve(struct association *a, uint64_t key)
{
    if (a->stream != NULL) {
        coap_channel_unobserve(talk_channel(a), key);
    } else {
        coap_endpoint_unobserve(a->endpoint, key);
    }
}

enum err talk_request(struct association *a, const struct coap_request *request, uint32_t *ret_id)
{
    return a->stream != NULL ? coap_channel_request(talk_channel(a), request, ret_id)
                             : coap_endpoint_request(a->endpoint, request, a->door->now_ms, ret_id);
}

void talk_forget(struct association *a, uint32_t id)
{
    if (a->stream != NULL) {
        coap_channel_forget(talk_channel(a), id);
    } else {
        coap_endpoint_forget(a->endpoint, id);
    }
}

void talk_hurry(struct association *a)
{
    if (a->stream == NULL) {
        coap_endpoint_hurry(a->endpoint, a->door->now_ms);
    }
}

bool talk_is_unacked(const struct association *a, uint64_t key)
{
    return a->stream == NULL && coap_endpoint_is_unacked(a->endpoint, key);
}

size_t talk_bytes(const struct association *a)
{
    return a->stream != NULL ? coap_channel_bytes(talk_channel(a)) + stream_backlog(a->stream)
                             : coap_endpoint_bytes(a->endpoint);
}

size_t talk_shed(struct association *a)
{
    return a->stream != NULL ? 0 : coap_endpoint_shed(a->endpoint);
}

uint64_t talk_deadline(const struct association *a)
{
    return a->stream != NULL ? coap_channel_deadline(talk_channel(a))
                             : coap_endpoint_deadline(a->endpoint);
}

size_t talk_whole_max(const struct association *a)
{
    enum { BESIDE = 96 }; /* header, token and the options of an answer */
    if (a->stream != NULL) {
        return coap_channel_payload_max(talk_channel(a));
    }
    bool is_small = a->out_max > 0 && a->out_max < COAP_BLOCK_BYTES_MAX + BESIDE;
    return is_small ? (size_t)a->out_max - BESIDE : COAP_BLOCK_BYTES_MAX;
}

uint8_t talk_szx_max(const struct association *a)
{
    uint8_t szx = COAP_BLOCK_SZX_MAX;
    while (szx > 0 && coap_block_bytes(szx) > talk_whole_max(a)) {
        szx--;
    }
    return szx;
}

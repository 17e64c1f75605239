/* A server that knows two addresses, and datagrams from both and from a stranger. */
#include <assert.h>

#include "base/rd.h"
#include "net/dtls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    (void)to;
    *(size_t *)ctx += datagram.n;
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    (void)ctx;
    (void)info;
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
{
    (void)ctx;
    (void)id;
    (void)plain;
}

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    (void)ctx;
    (void)id;
    (void)why;
}

static void on_failed(void *ctx, const struct net_peer *peer, enum dtls_failure why,
                      struct slice identity, const struct tls_refusal *how)
{
    (void)ctx;
    (void)peer;
    (void)why;
    (void)identity;
    (void)how;
}

static enum err on_find_psk(void *ctx, struct slice identity, uint8_t *key, size_t *ret_n,
                            uint64_t *ret_credential)
{
    (void)ctx;
    *ret_credential = 1;
    (void)identity;
    memset(key, 7, DTLS_PSK_MIN);
    *ret_n = DTLS_PSK_MIN;
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    size_t n_sent = 0;
    uint64_t seed = 1, now_ms = 1;
    struct random_source random = random_seeded(&seed);
    struct dtls_handler handler = {.ctx = &n_sent,
                                   .transmit = on_transmit,
                                   .opened = on_opened,
                                   .received = on_received,
                                   .closed = on_closed,
                                   .failed = on_failed,
                                   .find_psk = on_find_psk};
    struct dtls_server_config config = {.random = &random, .half_open_max = 2};
    char text[TLS_TEXT_BYTES];
    struct dtls *d = NULL;
    if (dtls_server_openssl(&config, &handler, text, &d) != OK) {
        return 0;
    }
    struct rd r = rd_from(slice_of(data, n));
    while (rd_left(&r) > 0) {
        uint8_t control = rd_u8(&r);
        struct net_peer peer = {.port = control & 3U};
        struct slice datagram = rd_bytes(&r, rd_u16(&r));
        now_ms += (uint64_t)(control >> 2) * 1000;
        dtls_input(d, &peer, datagram, now_ms);
        dtls_tick(d, now_ms);
    }
    assert(dtls_counts(d)->half_open <= 2);
    d = dtls_free(d);
    return 0;
}

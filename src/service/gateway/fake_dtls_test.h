/*
 * fake_dtls_test - a DTLS without cryptography: the port of a peer names its association, and what
 * is sent is kept.
 */
#ifndef SERVICE_GATEWAY_FAKE_DTLS_TEST_H
#define SERVICE_GATEWAY_FAKE_DTLS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/dtls.h"

enum { SENT_MAX = 64, LINKS_MAX = 16, DATAGRAM = 2048 };

struct sent {
    uint64_t id;
    size_t n;
    uint8_t bytes[DATAGRAM];
};

struct fake {
    struct dtls dtls;
    struct dtls_handler handler;
    struct dtls_counts counts;
    bool open[LINKS_MAX];
    struct sent sent[SENT_MAX];
    size_t n_sent, at;
    size_t n_strangers; /* handshakes that are not finished */
};

static struct net_peer peer_of(uint64_t id)
{
    struct net_peer p = {.address = {[10] = 0xff, [11] = 0xff, 127, 0, 0, 1}, .port = (uint32_t)id};
    return p;
}

static void fake_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                       uint64_t now_ms)
{
    struct fake *f = CONTAINER_OF(d, struct fake, dtls);
    (void)now_ms;
    if (f->open[peer->port]) {
        f->handler.received(f->handler.ctx, peer->port, datagram);
    }
}

static enum err fake_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct fake *f = CONTAINER_OF(d, struct fake, dtls);
    (void)now_ms;
    if (!f->open[id]) {
        return ERR_NOT_FOUND;
    }
    assert_true(f->n_sent < SENT_MAX && plain.n <= DATAGRAM);
    struct sent *s = &f->sent[f->n_sent++];
    s->id = id;
    s->n = plain.n;
    memcpy(s->bytes, plain.p, plain.n);
    return OK;
}

static void fake_close(struct dtls *d, uint64_t id)
{
    CONTAINER_OF(d, struct fake, dtls)->open[id] = false;
}

static bool fake_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    (void)d, (void)id, (void)ret;
    return false;
}

static uint64_t fake_deadline(const struct dtls *d)
{
    (void)d;
    return UINT64_MAX;
}

static void fake_tick(struct dtls *d, uint64_t now_ms)
{
    (void)d, (void)now_ms;
}

static const struct dtls_counts *fake_counts(const struct dtls *d)
{
    return &((const struct fake *)(const void *)d)->counts;
}

static size_t fake_turn_away(struct dtls *d)
{
    struct fake *f = CONTAINER_OF(d, struct fake, dtls);
    size_t n = f->n_strangers;
    f->n_strangers = 0;
    return n;
}

static struct dtls *fake_free(struct dtls *d)
{
    (void)d;
    return NULL;
}

static const struct dtls_ops fake_ops = {.input = fake_input,
                                         .send = fake_send,
                                         .close = fake_close,
                                         .info = fake_info,
                                         .deadline = fake_deadline,
                                         .tick = fake_tick,
                                         .turn_away = fake_turn_away,
                                         .counts = fake_counts,
                                         .free = fake_free};

#endif

/* Connections that come, log in and leave, again and again: in full, or by tickets. */
#include "app/cli/client_load_private.h"

/* A ticket comes behind the handshake, at some servers behind the login. Whoever has none yet waits
 * for the first. */
static bool has_ticket(struct load *l, struct conn *c)
{
    struct ssl_session_st *newer = stream_session(c->stream);
    if (newer != NULL) {
        c->session = stream_session_free(c->session);
        c->session = newer;
    }
    return c->session != NULL || l->tls == NULL;
}

static void count_login(struct load *l, struct conn *c)
{
    bool is_resumed = stream_is_resumed(c->stream);
    l->r.version = stream_version(c->stream);
    l->r.cipher = stream_cipher(c->stream);
    l->r.unresumed += l->o->shape == LOAD_RESUMED && c->session != NULL && !is_resumed;
    l->r.delivered++;
    latency_add(&l->latency, l->clock.mono_us(l->clock.ctx) - c->began_us);
}

/* Whoever has logged in is counted once, leaves when it has what it came for, and comes again. The
 * server ends the connection: so its port is free again at once. */
static void step(struct load *l)
{
    for (uint32_t i = 0; l->code == GO_ON && i < l->n_conns; i++) {
        struct conn *c = &l->conns[i];
        if (c->phase == READY && !c->is_counted) {
            c->is_counted = true;
            l->n_ready--;
            count_login(l, c);
        }
        if (c->phase == READY && (l->o->shape != LOAD_RESUMED || has_ticket(l, c))) {
            load_say_disconnect(c);
            c->phase = LEAVING;
        } else if (c->phase == GONE && l->is_sending) {
            c->is_counted = false;
            load_open(l, i);
        }
    }
}

static bool is_empty(const struct load *l)
{
    for (uint32_t i = 0; i < l->n_conns; i++) {
        if (l->conns[i].phase != GONE) {
            return false;
        }
    }
    return true;
}

void load_storm(struct load *l)
{
    for (uint32_t i = 0; i < l->n_conns; i++) {
        l->conns[i] = (struct conn){.load = l, .index = i, .is_publisher = true, .phase = GONE};
    }
    stream_io_now(l->io, load_now_ms(l));
    l->step = step;
    l->is_sending = true;
    step(l);
    load_measure(l);
    l->is_sending = false; /* those who are there leave, and nobody comes any more */
    uint64_t end_ms = load_now_ms(l) + DRAIN_MS;
    while (l->code == GO_ON && !is_empty(l) && load_now_ms(l) < end_ms) {
        load_turn(l, 10);
        step(l);
    }
    l->r.sent = l->r.delivered;
    for (uint32_t i = 0; i < l->n_conns; i++) {
        l->r.lost += l->conns[i].phase != GONE; /* no login, no ticket, or no end of it */
    }
}

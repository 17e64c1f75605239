/* Connections that are held: what they cost the server, and whether they are still there. */
#include "app/cli/client_load_private.h"
#include "wire/mqtt/mqtt.h"

static bool all_answered(const struct load *l)
{
    return l->r.delivered >= l->n_conns;
}

void load_idle(struct load *l)
{
    load_tell(l, LOAD_FILL_BEGINS);
    uint64_t began_us = l->now_us;
    load_open_until(l, l->n_conns);
    l->r.fill_us = l->clock.mono_us(l->clock.ctx) - began_us;
    if (l->code != GO_ON) {
        return;
    }
    l->r.filled = l->n_conns;
    load_rest(l, SETTLE_MS);
    load_tell(l, LOAD_FILL_ENDS);
    load_measure_begin(l);
    load_rest(l, l->o->measure_ms);
    for (uint32_t i = 0; l->code == GO_ON && i < l->n_conns; i++) {
        uint8_t ping[2];
        struct wr w = wr_into(ping, sizeof(ping));
        wr_u8(&w, MQTT_PINGREQ << 4);
        wr_u8(&w, 0);
        load_say(&l->conns[i], &w);
    }
    (void)load_wait(l, all_answered);
    load_measure_end(l);
    l->r.sent = l->n_conns;
    l->r.lost = l->n_conns - l->r.delivered;
}

/* Many filters, and messages that match one each. */
#include "app/cli/client_load_private.h"
#include "wire/mqtt/subscribe.h"

enum { KINDS = 4, ENTRY_BYTES = LOAD_PREFIX_BYTES + 32 };

/* Each client gets all kinds. */
uint32_t load_owner_of(const struct load *l, uint32_t filter)
{
    return filter / KINDS % l->o->n_subscribers;
}

/* The k-th filter of a client; `count` or more: it has no such one. */
static uint64_t filter_of(const struct conn *c, uint32_t k)
{
    uint64_t group = (uint64_t)(k / KINDS) * c->load->o->n_subscribers + c->index;
    return group * KINDS + k % KINDS;
}

static void ask_more(struct conn *c)
{
    static const char *const ends[KINDS] = {"x", "x", "+", "#"};
    const struct load_order *o = c->load->o;
    uint8_t list[FILTERS_AT_ONCE * ENTRY_BYTES], bytes[sizeof(list) + 16];
    struct wr entries = wr_into(list, sizeof(list)), w = wr_into(bytes, sizeof(bytes));
    size_t n = 0;
    for (; n < FILTERS_AT_ONCE && filter_of(c, c->n_asked) < o->count; n++) {
        char filter[ENTRY_BYTES];
        uint64_t at = filter_of(c, c->n_asked++);
        (void)snprintf(filter, sizeof(filter), "%s/%08x/%s", o->prefix, (uint32_t)at,
                       ends[at % KINDS]);
        struct mqtt_subscription s = {.whole = slice_text(filter), .qos = o->qos};
        mqtt_subscription_write(&entries, &s, o->version);
    }
    if (n > 0) {
        struct mqtt_subscribe m = {.packet_id = 1, .list = wr_slice(&entries), .n_filters = n};
        (void)!mqtt_subscribe_encode(&m, o->version, &w);
        load_say(c, &w);
    }
}

void load_asked(struct conn *c, struct slice codes)
{
    c->load->r.filled += codes.n;
    ask_more(c);
}

static bool is_subscribed(const struct load *l)
{
    return l->r.filled >= l->o->count;
}

void load_subscriptions(struct load *l)
{
    load_open_until(l, l->n_conns);
    if (l->code != GO_ON) {
        return;
    }
    load_tell(l, LOAD_FILL_BEGINS);
    uint64_t began_us = l->now_us;
    for (uint32_t i = l->o->n_publishers; i < l->n_conns; i++) {
        ask_more(&l->conns[i]);
    }
    if (!load_wait(l, is_subscribed) && l->code == GO_ON) {
        load_give_up(l, cli_fail(l->cli,
                                 "%llu of %u filters were acknowledged, then nothing came "
                                 "for %d s",
                                 (unsigned long long)l->r.filled, l->o->count, DRAIN_MS / 1000));
    }
    l->r.fill_us = l->clock.mono_us(l->clock.ctx) - began_us;
    load_rest(l, SETTLE_MS);
    load_tell(l, LOAD_FILL_ENDS);
    l->step = l->o->rate > 0 ? load_pace : NULL;
    load_measure(l);
    load_drain(l);
}

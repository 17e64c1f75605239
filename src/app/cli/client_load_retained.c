/* Many retained messages, and one new subscriber who gets them all. */
#include "app/cli/client_load_private.h"

static bool is_published(const struct load *l)
{
    return l->conns[0].n_acked >= l->n_limit;
}

static bool has_all(const struct load *l)
{
    return l->r.delivered >= l->o->count;
}

static bool has_left(const struct load *l)
{
    return l->conns[1].phase == GONE;
}

static void publish_until(struct load *l, uint64_t n)
{
    l->n_limit = n;
    l->is_sending = true;
    load_mark_dirty(l, &l->conns[0]);
    if (!load_wait(l, is_published) && l->code == GO_ON) {
        load_give_up(l, cli_fail(l->cli,
                                 "%llu of %llu retained messages were acknowledged, then "
                                 "nothing came for %d s",
                                 (unsigned long long)l->conns[0].n_acked, (unsigned long long)n,
                                 DRAIN_MS / 1000));
    }
    l->is_sending = false;
}

void load_retained(struct load *l)
{
    load_open_until(l, 1);
    load_tell(l, LOAD_FILL_BEGINS);
    uint64_t began_us = l->now_us;
    publish_until(l, l->o->count);
    l->r.fill_us = l->clock.mono_us(l->clock.ctx) - began_us;
    l->r.filled = l->conns[0].n_acked;
    load_rest(l, SETTLE_MS);
    load_tell(l, LOAD_FILL_ENDS);
    load_open_until(l, 2);
    if (l->code != GO_ON) {
        return;
    }
    load_measure_begin(l);
    load_say_subscribe(&l->conns[1]);
    (void)load_wait(l, has_all);
    load_measure_end(l);
    load_rest(l, SETTLE_MS); /* what comes twice would come now */
    l->r.sent = l->o->count;
    l->r.lost = l->o->count - l->r.delivered;
    load_say_disconnect(&l->conns[1]); /* the removals are not for it */
    l->conns[1].phase = LEAVING;
    (void)load_wait(l, has_left);
    if (load_make_packet(&l->conns[0], 0) != OK) {
        load_give_up(l, cli_fail(l->cli, "no memory"));
    }
    publish_until(l, (uint64_t)l->o->count * 2); /* the topics are as they were */
}

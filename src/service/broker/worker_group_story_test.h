/* worker_group_story_test - the readers of a shared subscription and its publisher, on the bench.
 */
#ifndef SERVICE_BROKER_WORKER_GROUP_STORY_TEST_H
#define SERVICE_BROKER_WORKER_GROUP_STORY_TEST_H

#include "service/broker/worker_story_test.h"
#include "wire/mqtt/unsubscribe.h"

static const struct hello clean = {.client_id = "c"};
static const char *const share = "$share/g/t/#";

static inline void joins(struct bench *b, struct party *p, const char *name, const struct hello *h)
{
    is_in(b, p, name, h);
    subscribed(b, p, share, 2);
}

/* Party 3 publishes; its home is worker 1. */
static inline struct party *publisher(struct bench *b)
{
    struct party *p = &b->parties[3];
    is_in(b, p, device_at(b, 1, 2), &clean);
    return p;
}

static inline void says(struct bench *b, struct party *p, const char *payload, uint8_t qos)
{
    publishes(b, p, "t/a", payload, qos, 7, false);
    settle(b);
    (void)said(p);
}

static inline void unsubscribes(struct bench *b, struct party *p, const char *filter)
{
    uint8_t bytes[128], list[64];
    struct wr w = wr_into(bytes, sizeof(bytes)), l = wr_into(list, sizeof(list));
    wr_block16(&l, slice_text(filter));
    struct mqtt_unsubscribe m = {.packet_id = 8, .list = wr_slice(&l), .n_filters = 1};
    must(mqtt_unsubscribe_encode(&m, p->version, &w));
    give_wr(b, p, &w);
    settle(b);
}

#endif

/* worker_story_test - the first steps of every story that a test tells on the workers' bench. */
#ifndef SERVICE_BROKER_WORKER_STORY_TEST_H
#define SERVICE_BROKER_WORKER_STORY_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "service/broker/worker_bench_test.h"

#define EXPECT(party, text) assert_string_equal(said(party), (text))

static const struct hello durable = {.client_id = "c", .resume = true};

static inline int open_bench(void **state)
{
    *state = bench_open();
    return 0;
}

static inline int close_bench(void **state)
{
    bench_close(*state);
    return 0;
}

static inline void is_in(struct bench *b, struct party *p, const char *name, const struct hello *h)
{
    connects(b, p, name, h);
    settle(b);
    EXPECT(p, "connack 00; ");
}

static inline void subscribed(struct bench *b, struct party *p, const char *filter, uint8_t qos)
{
    char want[24];
    subscribes(b, p, filter, qos);
    settle(b);
    (void)snprintf(want, sizeof(want), "suback %02x; ", qos);
    EXPECT(p, want);
}

static inline size_t occurs(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) {
        n++;
    }
    return n;
}

/* From here on no record that adds is taken. */
static inline void disk_is_full(struct bench *b, bool is_full)
{
    b->log->refuse_at = is_full ? 0 : -1;
    b->log->refuses_on = is_full;
    b->log->refusal = ERR_SPACE;
}

/* SUBSCRIBE with QoS 2 and, in the same write, a PUBLISH behind it. */
static inline void subscribes_and_publishes(struct bench *b, struct party *p, const char *topic,
                                            uint8_t qos)
{
    uint8_t bytes[512];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_subscribe(&w, p->version, topic, 1, 2);
    write_publish(&w, p->version, topic, "mine", qos, 1, false);
    give_wr(b, p, &w);
}

static inline size_t events_of(const struct bench *b, enum event_category c)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_events; i++) {
        n += b->events[i].category == c ? 1 : 0;
    }
    return n;
}

#endif

/* detect_test_private - one detector engine under a clock that a test moves, and what it found. */
#ifndef SERVICE_DETECT_DETECT_TEST_PRIVATE_H
#define SERVICE_DETECT_DETECT_TEST_PRIVATE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "service/detect/detect.h"

struct scene {
    struct detect *detect;
    struct detect_thresholds t;
    uint64_t seed, now_ms;
    struct detect_finding last; /* of those below */
    unsigned n[DETECTOR_COUNT]; /* found so far */
};

static inline int scene_setup(void **state)
{
    struct scene *c = test_calloc(1, sizeof *c);
    c->t = (struct detect_thresholds)DETECT_THRESHOLDS_DEFAULT;
    c->seed = 7;
    c->now_ms = 1000 * 1000;
    struct random_source random = random_seeded(&c->seed);
    assert_int_equal(detect_new(&c->t, &random, &c->detect), OK);
    *state = c;
    return 0;
}

static inline int scene_teardown(void **state)
{
    struct scene *c = *state;
    assert_null(detect_free(c->detect));
    test_free(c);
    return 0;
}

static inline void take_findings(struct scene *c)
{
    struct detect_finding f;
    while (detect_next(c->detect, &f)) {
        c->last = f;
        c->n[f.detector]++;
    }
}

static inline void show(struct scene *c, const struct event *e, uint64_t id)
{
    struct detect_who who = {.id = id, .role = slice_text("sensor")};
    detect_event(c->detect, e, &who, c->now_ms);
    take_findings(c);
}

static inline struct event happening(enum event_category category, const char *principal,
                                     const char *peer)
{
    struct event e = event_make(category);
    e.protocol = EVENT_PROTOCOL_mqtt;
    EVENT_TEXT(&e, principal, slice_text(principal));
    EVENT_TEXT(&e, client_id, slice_text(principal));
    EVENT_TEXT(&e, peer, slice_text(peer));
    return e;
}

static inline unsigned found_in_all(const struct scene *c)
{
    unsigned n = 0;
    for (size_t i = 0; i < DETECTOR_COUNT; i++) {
        n += c->n[i];
    }
    return n;
}

#endif

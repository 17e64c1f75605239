/*
 * calm_trace - a calm fleet for many device-days in seconds, then one injected attack after the
 * other. Seeded: a seed is a trace.
 */
#ifndef SERVICE_DETECT_CALM_TRACE_TEST_H
#define SERVICE_DETECT_CALM_TRACE_TEST_H

#include <assert.h>

#include "service/detect/calm_attacks_test.h"

static inline void calm_begin(struct calm *c, const struct calm_terms *terms)
{
    const struct detect_thresholds thresholds = DETECT_THRESHOLDS_DEFAULT;
    *c = (struct calm){.terms = *terms, .state = terms->seed};
    c->random = random_seeded(&c->state);
    bool is_made = detect_new(&thresholds, &c->random, &c->detect) == OK;
    assert(is_made && terms->n_devices <= CALM_DEVICES_MAX);
    for (unsigned i = 0; i < CALM_SITES; i++) {
        c->site[i] = (struct calm_site){.network = 100 + i,
                                        .outage_ms = calm_about(c, 5 * CALM_DAY / terms->wide),
                                        .renumber_ms = calm_about(c, 10 * CALM_DAY / terms->wide)};
    }
    c->storm_ms = calm_about(c, 7 * CALM_DAY);
    for (unsigned k = 0; k < CALM_KINDS; k++) {
        c->release_ms[k] = calm_about(c, 20 * CALM_DAY / terms->wide);
    }
    for (unsigned k = 0; k < terms->n_devices; k++) {
        static const unsigned periods_s[] = {30, 60, 60, 120, 300, 900};
        struct calm_device *d = &c->device[k];
        *d = (struct calm_device){.id = k + 1,
                                  .kind = (enum calm_kind)(k % CALM_KINDS),
                                  .site = (unsigned)calm_below(c, CALM_SITES),
                                  .period_ms = 1000 * periods_s[calm_below(c, COUNT_OF(periods_s))],
                                  .size = 20 + (unsigned)calm_below(c, 400),
                                  .jitter_percent = 5 + (unsigned)calm_below(c, 40),
                                  .home = 50000 + k,
                                  .has_will = calm_below(c, 2) == 0,
                                  .keeps = calm_below(c, 2) == 0,
                                  .back_ms = 1 + calm_below(c, CALM_MINUTE)};
        d->next_ms = calm_below(c, d->period_ms);
        d->is_coap = calm_below(c, 3) == 0;
        d->has_pool = calm_below(c, 4) == 0;
        d->update_ms = calm_below(c, CALM_DAY);
        bool moves = d->kind == CALM_TRACKER || d->kind == CALM_HOME;
        d->place = moves ? d->home : 0;
        d->moves_ms = moves ? 1 + calm_below(c, CALM_DAY) : 0;
    }
}

/* calm_run - the whole trace; what was found stands in c. Returns device-days of calm. */
static inline unsigned calm_run(struct calm *c, const struct calm_terms *terms)
{
    calm_begin(c, terms);
    uint64_t end_ms = terms->n_days * CALM_DAY + (uint64_t)CALM_ATTACKS_N * CALM_ATTACK_EVERY;
    for (c->now_ms = CALM_STEP_MS; c->now_ms < end_ms; c->now_ms += CALM_STEP_MS) {
        calm_sites(c);
        if (c->now_ms % CALM_MINUTE == 0) {
            calm_update(c);
        }
        for (unsigned k = 0; k < terms->n_devices; k++) {
            struct calm_device *d = &c->device[k];
            if (d->back_ms != 0 && c->now_ms >= d->back_ms) {
                calm_connect(c, d);
            }
            calm_roam(c, d);
            if (c->now_ms >= d->next_ms) {
                calm_speak(c, d);
            }
        }
        calm_attack(c);
        if (c->now_ms % DETECT_TICK_MS == 0) {
            detect_tick(c->detect, c->now_ms);
            calm_take(c);
        }
    }
    c->detect = detect_free(c->detect);
    return (unsigned)(terms->n_devices * end_ms / CALM_DAY);
}

#endif

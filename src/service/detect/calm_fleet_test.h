/*
 * calm_fleet - devices that do nothing wrong, as the detectors would see them: sensors with a day
 * and a night, motion detectors, lamps that rest, trackers that roam, homes behind changing
 * addresses, sites that lose their network and come back in a storm. And what was found, rightly or
 * not.
 */
#ifndef SERVICE_DETECT_CALM_FLEET_TEST_H
#define SERVICE_DETECT_CALM_FLEET_TEST_H

#include <stdio.h>
#include <stdlib.h>

#include "service/detect/detect.h"

enum {
    CALM_DEVICES_MAX = 400,
    CALM_SITES = 10,
    CALM_STEP_MS = 5000, /* as often as workers tell */
    CALM_POOL = 3,       /* addresses of a router that has several */
    CALM_MINUTE = 60 * 1000,
    CALM_HOUR = 60 * CALM_MINUTE,
    CALM_ATTACK_EVERY = 6 * CALM_HOUR
};
#define CALM_DAY ((uint64_t)24 * CALM_HOUR)

enum calm_kind {
    CALM_STEADY,
    CALM_DIURNAL,
    CALM_MOTION,
    CALM_RESTING,
    CALM_TRACKER,
    CALM_HOME,
    CALM_KINDS
};

#define CALM_ATTACKS(X)                                                                            \
    X(clone, two_places)                                                                           \
    X(takeovers, ping_pong)                                                                        \
    X(guesses, login_source)                                                                       \
    X(guesses_for_one, login_name)                                                                 \
    X(probes, probing)                                                                             \
    X(wide, wide_filter)                                                                           \
    X(command, command_write)                                                                      \
    X(wills, will_storm)                                                                           \
    X(replays, replay_burst)                                                                       \
    X(retained, retained_flood)                                                                    \
    X(hoard, qos2_hoard)                                                                           \
    X(faster, faster)                                                                              \
    X(larger, size_drift)                                                                          \
    X(topic, new_topic)                                                                            \
    X(gone, silent_device)                                                                         \
    X(moved, new_network)                                                                          \
    X(other_program, two_places)                                                                   \
    X(programs_in_turn, two_places)                                                                \
    X(coap_copy, two_places)                                                                       \
    X(coap_copy_slow, two_places)                                                                  \
    X(odd_firmware, personality)                                                                   \
    X(fleet_wills, will_fleet)                                                                     \
    X(lost_network, outage)                                                                        \
    X(clock_ahead, clock_skew)                                                                     \
    X(clock_back, clock_skew)

enum calm_attack {
#define X(name, detector) CALM_ATTACK_##name,
    CALM_ATTACKS(X)
#undef X
        CALM_ATTACKS_N
};

struct calm_terms {
    uint64_t seed;
    unsigned n_devices, n_days; /* attacks come after the last of them */
    unsigned wide;              /* 1; more: jitter, outages and moves are so much worse */
};

struct calm_device {
    uint64_t id, next_ms, moves_ms;
    enum calm_kind kind;
    unsigned site, period_ms, size, jitter_percent, home;
    uint32_t place; /* of its address, when it is not that of its site */
    bool is_online, has_will, keeps, is_attacked;
    uint64_t back_ms; /* when it connects again; 0: it is there */
    unsigned n_kept;
    bool is_coap, has_pool; /* has_pool: its router takes another address when it was quiet */
    uint32_t pooled;
    unsigned firmware;
    uint64_t update_ms, spoke_ms, clocked_ms;
    int64_t clock_s; /* so much it is ahead */
};

struct calm_site {
    uint32_t network;
    uint64_t outage_ms, up_ms, renumber_ms;
    bool is_down;
    unsigned n_flaps; /* left: the link comes and goes */
};

struct calm_attacked {
    unsigned n, n_found;
    uint64_t sum_ms, most_ms; /* until it was found */
};

struct calm {
    struct calm_terms terms;
    uint64_t state, now_ms;
    struct random_source random;
    struct detect *detect;
    struct calm_device device[CALM_DEVICES_MAX];
    struct calm_site site[CALM_SITES];
    uint64_t storm_ms, release_ms[CALM_KINDS];
    unsigned release[CALM_KINDS];
    /* what was found */
    unsigned n_false, n_notices, false_of[DETECTOR_COUNT];
    struct calm_attacked attack[CALM_ATTACKS_N];
    struct calm_device *victim;
    enum calm_attack running;
    bool is_attacking, is_found;
    uint64_t attacked_ms;
};

static const char *const calm_roles[] = {"steady",  "diurnal", "motion",
                                         "resting", "tracker", "home"};
static const enum detector calm_expected[] = {
#define X(name, detector) DETECTOR_##detector,
    CALM_ATTACKS(X)
#undef X
};
static const char *const calm_attack_names[] = {
#define X(name, detector) #name,
    CALM_ATTACKS(X)
#undef X
};

static inline uint64_t calm_below(struct calm *c, uint64_t n)
{
    return random_below(&c->random, n > 0 ? n : 1);
}

/* About as an exponential: from a tenth to three times the mean. */
static inline uint64_t calm_about(struct calm *c, uint64_t mean)
{
    uint64_t a = calm_below(c, 1000) + 1, b = calm_below(c, 1000) + 1;
    return mean / 10 + mean * 2 * (a < b ? a : b) * (a < b ? b : a) / 1000 / 1000 + mean * a / 2000;
}

static inline void calm_take(struct calm *c)
{
    struct detect_finding f;
    while (detect_next(c->detect, &f)) {
        bool is_wanted = c->is_attacking && f.detector == calm_expected[c->running] &&
                         (f.id == 0 || f.id == c->victim->id);
        bool is_of_victim = f.id != 0 && c->is_attacking && f.id == c->victim->id;
        if (is_wanted && !c->is_found) {
            struct calm_attacked *a = &c->attack[c->running];
            uint64_t took = c->now_ms - c->attacked_ms;
            c->is_found = true;
            a->n_found++;
            a->sum_ms += took;
            a->most_ms = took > a->most_ms ? took : a->most_ms;
        }
        bool was_attacked =
            f.id != 0 && f.id <= c->terms.n_devices && c->device[f.id - 1].is_attacked;
        bool is_fleets = c->is_attacking && (c->running == CALM_ATTACK_fleet_wills ||
                                             c->running == CALM_ATTACK_lost_network);
        if (!is_wanted && !is_of_victim && !was_attacked && !is_fleets) {
            bool is_notice = detector_is_notice(f.detector);
            c->n_false += is_notice ? 0 : 1;
            c->n_notices += is_notice ? 1 : 0;
            c->false_of[f.detector]++;
            if (getenv("SALLYPORT_CALM") != NULL) {
                printf("seed %llu day %.2f device %llu (%s): %s: %s\n",
                       (unsigned long long)c->terms.seed, (double)c->now_ms / (double)CALM_DAY,
                       (unsigned long long)f.id,
                       f.id > 0 && f.id <= c->terms.n_devices ? calm_roles[c->device[f.id - 1].kind]
                                                              : "-",
                       detector_words(f.detector)->name, f.evidence);
            }
        }
    }
}

static inline uint32_t calm_place(const struct calm *c, const struct calm_device *d)
{
    if (d->has_pool && d->place == 0) {
        return c->site[d->site].network + (d->pooled % CALM_POOL << 20);
    }
    return d->place != 0 ? d->place : c->site[d->site].network;
}

static inline void calm_event(struct calm *c, struct calm_device *d, enum event_category category,
                              const char *target, uint32_t place, bool is_claimed, bool is_known)
{
    struct event e = event_make(category);
    struct detect_who who = {.id = is_known ? d->id : 0, .role = slice_text(calm_roles[d->kind])};
    (void)snprintf(e.principal, sizeof e.principal, "device-%u", (unsigned)d->id);
    (void)snprintf(e.client_id, sizeof e.client_id, "device-%u", (unsigned)d->id);
    (void)snprintf(e.peer, sizeof e.peer, "10.%u.%u.%u:4711", place >> 8 & 255, place & 255,
                   place >> 16 & 255);
    EVENT_TEXT(&e, target, slice_text(target));
    e.is_claimed = is_claimed;
    detect_event(c->detect, &e, &who, c->now_ms);
    calm_take(c);
}

static inline void calm_traffic(struct calm *c, struct calm_device *d, unsigned n, uint64_t bytes,
                                unsigned n_retained, unsigned n_held)
{
    struct detect_sample s = {.principal = d->id,
                              .at_ms = c->now_ms,
                              .bytes = bytes,
                              .n = n,
                              .n_retained = n_retained,
                              .n_held = n_held};
    detect_sample(c->detect, &s, slice_text(calm_roles[d->kind]), c->now_ms);
    calm_take(c);
}

static inline void calm_topic(struct calm *c, struct calm_device *d, uint32_t shape,
                              const char *text)
{
    struct detect_sample s = {.kind = DETECT_SAMPLE_TOPIC,
                              .principal = d->id,
                              .at_ms = c->now_ms,
                              .topic = shape + (uint32_t)d->id * 100,
                              .shape = shape};
    event_text(s.text, sizeof s.text, slice_text(text));
    detect_sample(c->detect, &s, slice_text(calm_roles[d->kind]), c->now_ms);
    calm_take(c);
}

/* Another release of the firmware of a kind comes with another keep-alive, will and library. */
static inline struct detect_self calm_self(const struct calm_device *d)
{
    uint32_t v = d->firmware, kind = (uint32_t)d->kind;
    return (struct detect_self){.id = 1,
                                .will = d->has_will ? 1 + kind + v / 2 * 10 : 0,
                                .settings = kind + v / 3 * 10,
                                .keep_alive_s = (uint16_t)(60 + 30 * (v % 3)),
                                .version = (uint8_t)(v % 8 < 4 ? 4 : 5),
                                .is_clean = d->id % 2 == 0};
}

static inline void calm_told(struct calm *c, const struct calm_device *d, struct detect_sample *s,
                             uint32_t place)
{
    s->principal = d->id;
    s->at_ms = c->now_ms;
    s->place = place + 1;
    (void)snprintf(s->text, sizeof s->text, "10.%u.%u.%u:4711", place >> 8 & 255, place & 255,
                   place >> 16 & 255);
    detect_sample(c->detect, s, slice_text(calm_roles[d->kind]), c->now_ms);
    calm_take(c);
}

static inline void calm_hello(struct calm *c, const struct calm_device *d,
                              const struct detect_self *self, uint32_t place, bool has_taken_over)
{
    struct detect_sample s = {
        .kind = DETECT_SAMPLE_HELLO, .self = *self, .has_taken_over = has_taken_over};
    /* After a start it begins anew, later it goes on. */
    s.self.is_clean = s.self.is_clean != (calm_below(c, 4) == 0);
    calm_told(c, d, &s, place);
}

static inline void calm_heard(struct calm *c, const struct calm_device *d, uint32_t place)
{
    struct detect_sample s = {.kind = DETECT_SAMPLE_HEARD};
    calm_told(c, d, &s, place);
}

/* ---- clocks ---- */

/* Half of the devices send SenML; one is up to two minutes off, and drifts to and fro. */
static inline void calm_clock(struct calm *c, struct calm_device *d, int64_t offset_s)
{
    const int64_t day = (int64_t)(c->now_ms / CALM_DAY), wall_ms = 1800000000000;
    const int64_t drift_s = (int64_t)(d->id * 37 + (uint64_t)day * 11) % 241 - 120;
    int64_t off_s = d->clock_s + drift_s + offset_s;
    bool is_senml = d->id / 2 % 2 == 0 || d->is_attacked;
    if (!is_senml || (c->now_ms - d->clocked_ms < CALM_MINUTE && off_s >= -5 * 60)) {
        return;
    }
    d->clocked_ms = c->now_ms;
    const struct detect_sample s = {.kind = DETECT_SAMPLE_CLOCK,
                                    .principal = d->id,
                                    .at_ms = c->now_ms,
                                    .clock_ms = wall_ms + (int64_t)c->now_ms + off_s * 1000,
                                    .wall_ms = wall_ms + (int64_t)c->now_ms};
    detect_sample(c->detect, &s, slice_text(calm_roles[d->kind]), c->now_ms);
    calm_take(c);
}

/* What it kept, from its newest back or from its oldest on, and what is new at the end. */
static inline void calm_clock_flush(struct calm *c, struct calm_device *d, unsigned n)
{
    int64_t each_s = d->period_ms / 1000;
    for (unsigned i = 0; i < n; i += 40) {
        calm_clock(c, d, -each_s * (d->id % 4 < 2 ? i : n + d->n_kept - i));
    }
    calm_clock(c, d, d->n_kept > 0 ? -each_s * d->n_kept : 0);
}

/* ---- a device's day ---- */

static inline unsigned calm_hour(const struct calm *c)
{
    return (unsigned)(c->now_ms / CALM_HOUR % 24);
}

static inline uint64_t calm_gap(struct calm *c, const struct calm_device *d)
{
    uint64_t p = d->period_ms;
    unsigned hour = calm_hour(c);
    unsigned wide = d->jitter_percent * c->terms.wide;
    bool is_night = hour < 6 || hour >= 22;
    if (d->kind == CALM_DIURNAL) { /* up to four times as often by day */
        unsigned from_noon = hour > 13 ? hour - 13 : 13 - hour;
        p += p * 3 * from_noon / 12;
    } else if (d->kind == CALM_MOTION) {
        return calm_about(c, is_night ? 10 * p : p);
    } else if (d->kind == CALM_RESTING && is_night) {
        p = (uint64_t)((30 - hour) % 24) * CALM_HOUR + calm_below(c, CALM_HOUR); /* until morning */
    }
    return p - p * wide / 200 + calm_below(c, p * wide / 100 + 1);
}

static inline void calm_speak(struct calm *c, struct calm_device *d)
{
    unsigned n = 0;
    while (d->next_ms <= c->now_ms) {
        n++;
        d->next_ms += calm_gap(c, d) + 1;
    }
    if (n == 0) {
        return;
    }
    if (!d->is_online) {
        d->n_kept += d->keeps && d->n_kept < 1000 ? n : 0;
        return;
    }
    unsigned flush = d->n_kept < 250 ? d->n_kept : 250; /* what it kept, as fast as it may */
    d->n_kept -= flush;
    if (d->is_coap) { /* a router forgets who is quiet */
        bool is_forgotten = c->now_ms - d->spoke_ms > CALM_MINUTE;
        d->pooled = is_forgotten ? (uint32_t)calm_below(c, CALM_POOL) : d->pooled;
        calm_heard(c, d, calm_place(c, d));
        d->spoke_ms = c->now_ms;
    }
    calm_clock_flush(c, d, flush);
    uint64_t each = d->size + calm_below(c, d->size / 4 * c->terms.wide + 1);
    calm_traffic(c, d, n + flush, each * (n + flush), calm_below(c, 50) == 0 ? 1 : 0, 0);
    if (calm_below(c, 2000) == 0) {
        calm_topic(c, d, 2, "errors"); /* rarely, and by anybody */
    }
}

static inline void calm_connect(struct calm *c, struct calm_device *d)
{
    bool has_taken_over = !d->is_coap && calm_below(c, 3) == 0;
    if (has_taken_over) {
        calm_event(c, d, EVENT_takeover, "", calm_place(c, d), false, true);
    }
    d->is_online = true;
    d->back_ms = 0;
    calm_event(c, d, EVENT_connect, "", calm_place(c, d), false, true);
    if (!d->is_coap) {
        const struct detect_self self = calm_self(d);
        calm_hello(c, d, &self, calm_place(c, d), has_taken_over);
    }
    calm_topic(c, d, 1, "state");
    if (d->id % 17 == 0) { /* its firmware asks for a little too much */
        calm_event(c, d, EVENT_acl_deny, "config/all", calm_place(c, d), false, true);
        calm_event(c, d, EVENT_acl_deny, "#", calm_place(c, d), false, true);
    }
}

static inline void calm_lose(struct calm *c, struct calm_device *d, uint64_t back_ms)
{
    if (d->is_online && d->has_will && !d->is_coap) {
        calm_event(c, d, EVENT_will, "status", calm_place(c, d), false, true);
    }
    d->is_online = false;
    d->back_ms = back_ms;
}

static inline void calm_roam(struct calm *c, struct calm_device *d)
{
    if (d->moves_ms == 0 || c->now_ms < d->moves_ms || !d->is_online) {
        return;
    }
    uint64_t mean = d->kind == CALM_TRACKER ? CALM_HOUR : 7 * CALM_DAY;
    /* At the edge of two networks it goes to and fro. */
    bool is_edge = d->kind == CALM_TRACKER && calm_below(c, 30) == 0;
    d->moves_ms = c->now_ms +
                  (is_edge ? calm_about(c, 5 * CALM_MINUTE) : calm_about(c, mean / c->terms.wide));
    bool is_known_place = d->kind == CALM_TRACKER && calm_below(c, 2) == 0;
    d->place = is_known_place ? d->home : (uint32_t)(1 + calm_below(c, 1 << 16)) | 1u << 16;
    calm_lose(c, d, c->now_ms + calm_below(c, 30 * 1000));
}

/* Releases are rolled out within a day; some devices get theirs alone, some go back. */
static inline void calm_update(struct calm *c)
{
    for (unsigned k = 0; k < CALM_KINDS; k++) {
        bool is_due = c->now_ms >= c->release_ms[k];
        c->release[k] += is_due ? 1 : 0;
        c->release_ms[k] += is_due ? calm_about(c, 20 * CALM_DAY / c->terms.wide) : 0;
    }
    for (unsigned k = 0; k < c->terms.n_devices; k++) {
        struct calm_device *d = &c->device[k];
        if (c->now_ms < d->update_ms || !d->is_online) {
            continue;
        }
        bool goes_back = d->firmware > 0 && calm_below(c, 20) == 0;
        bool is_alone = calm_below(c, 40) == 0;
        unsigned next = goes_back ? d->firmware - 1 : c->release[d->kind] + (is_alone ? 1 : 0);
        bool is_new = next != d->firmware;
        d->firmware = next;
        d->update_ms = c->now_ms + calm_about(c, CALM_DAY);
        if (is_new) {
            calm_lose(c, d, c->now_ms + calm_below(c, CALM_MINUTE));
        }
    }
}

static inline void calm_sites(struct calm *c)
{
    for (unsigned i = 0; i < CALM_SITES; i++) {
        struct calm_site *s = &c->site[i];
        bool goes_down = !s->is_down && c->now_ms >= s->outage_ms;
        bool comes_up = s->is_down && c->now_ms >= s->up_ms;
        bool is_renumbered = !s->is_down && c->now_ms >= s->renumber_ms;
        if (!goes_down && !comes_up && !is_renumbered) {
            continue;
        }
        if (goes_down && s->n_flaps == 0 && calm_below(c, 4) == 0) {
            s->n_flaps = 1 + (unsigned)calm_below(c, 2 * c->terms.wide); /* a bad link */
        }
        if (goes_down && s->n_flaps > 0) {
            s->n_flaps--;
            s->up_ms = c->now_ms + calm_about(c, 20 * 1000);
            s->outage_ms = s->up_ms + calm_about(c, CALM_MINUTE);
        } else if (goes_down) {
            s->up_ms = c->now_ms + calm_about(c, 20 * CALM_MINUTE * c->terms.wide);
            s->outage_ms = s->up_ms + calm_about(c, 5 * CALM_DAY / c->terms.wide);
        }
        if (is_renumbered) {
            s->network = (uint32_t)(1 + calm_below(c, 1 << 16)) | 2u << 16;
            s->renumber_ms = c->now_ms + calm_about(c, 10 * CALM_DAY / c->terms.wide);
        }
        s->is_down = goes_down || (s->is_down && !comes_up);
        for (unsigned k = 0; k < c->terms.n_devices; k++) {
            struct calm_device *d = &c->device[k];
            if (d->site == i && d->kind != CALM_TRACKER) {
                uint64_t within = is_renumbered ? 5 * CALM_MINUTE : CALM_MINUTE;
                calm_lose(c, d, goes_down ? UINT64_MAX : c->now_ms + calm_below(c, within));
            }
        }
    }
    if (c->now_ms >= c->storm_ms) { /* the server has restarted: all at once, some of them twice */
        c->storm_ms = c->now_ms + calm_about(c, 7 * CALM_DAY / c->terms.wide);
        for (unsigned k = 0; k < c->terms.n_devices; k++) {
            if (c->device[k].is_online) {
                calm_lose(c, &c->device[k], c->now_ms + calm_below(c, CALM_MINUTE));
            }
        }
    }
}

#endif

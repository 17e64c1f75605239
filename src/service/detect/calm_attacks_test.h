/*
 * calm_attacks - the attacks on a calm fleet, each by a device of its own: what they do, and when
 * which one runs.
 */
#ifndef SERVICE_DETECT_CALM_ATTACKS_TEST_H
#define SERVICE_DETECT_CALM_ATTACKS_TEST_H

#include "service/detect/calm_fleet_test.h"

#define CALM_AWAY (7u << 16) /* the place of a copy */

static inline struct calm_device *calm_choose(struct calm *c)
{
    for (;;) {
        struct calm_device *d = &c->device[calm_below(c, c->terms.n_devices)];
        bool fits =
            d->kind == CALM_STEADY || (d->kind == CALM_DIURNAL && c->running != CALM_ATTACK_moved);
        bool is_coap_wanted =
            c->running == CALM_ATTACK_coap_copy || c->running == CALM_ATTACK_coap_copy_slow;
        fits = fits && (!is_coap_wanted || (d->is_coap && !d->has_pool && d->kind == CALM_STEADY &&
                                            d->period_ms <= 300 * 1000));
        bool is_any = c->running == CALM_ATTACK_clock_ahead || c->running == CALM_ATTACK_clock_back;
        fits = fits && (is_coap_wanted || is_any || !d->is_coap);
        fits = fits && (c->running != CALM_ATTACK_gone || d->period_ms <= 300 * 1000);
        if (fits && d->is_online && !d->is_attacked) {
            return d;
        }
    }
}

/* ---- what they do every CALM_STEP_MS; d is the victim ---- */

static inline unsigned calm_attack_steps(const struct calm *c)
{
    return (unsigned)((c->now_ms - c->attacked_ms) / CALM_STEP_MS);
}

/* As another program than the device's own says it. */
static inline struct detect_self calm_other_self(const struct calm_device *d)
{
    struct detect_self other = calm_self(d);
    other.version = other.version == 4 ? 5 : 4;
    other.keep_alive_s = 17;
    return other;
}

static inline void calm_do_clone(struct calm *c, struct calm_device *d)
{
    bool is_copy = calm_attack_steps(c) % 2 == 0;
    calm_event(c, d, EVENT_takeover, "", 0, false, true);
    calm_event(c, d, EVENT_connect, "", is_copy ? CALM_AWAY : calm_place(c, d), false, true);
}

static inline void calm_do_takeovers(struct calm *c, struct calm_device *d)
{
    for (unsigned i = 0; i < 2; i++) {
        calm_event(c, d, EVENT_takeover, "", calm_place(c, d), false, true);
        calm_event(c, d, EVENT_connect, "", calm_place(c, d), false, true);
    }
}

static inline void calm_do_guesses(struct calm *c, struct calm_device *d)
{
    for (unsigned i = 0; i < 6; i++) {
        calm_event(c, d, EVENT_auth_fail, "", 9, true, false);
    }
}

static inline void calm_do_guesses_for_one(struct calm *c, struct calm_device *d)
{
    for (unsigned i = 0; i < 6; i++) {
        calm_event(c, d, EVENT_auth_fail, "", 9 + (i + calm_attack_steps(c)) % 4, true, true);
    }
}

static inline void calm_do_probes(struct calm *c, struct calm_device *d)
{
    char text[32];
    (void)snprintf(text, sizeof text, "plant/%u", calm_attack_steps(c));
    calm_event(c, d, EVENT_acl_deny, text, calm_place(c, d), false, true);
}

static inline void calm_do_wide(struct calm *c, struct calm_device *d)
{
    const char *filter = calm_attack_steps(c) % 2 == 0 ? "#" : "+/#";
    calm_event(c, d, EVENT_acl_deny, filter, calm_place(c, d), false, true);
}

static inline void calm_do_command(struct calm *c, struct calm_device *d)
{
    calm_topic(c, d, 1000 + calm_attack_steps(c), "pumps/3/cmd");
}

static inline void calm_do_wills(struct calm *c, struct calm_device *d)
{
    calm_event(c, d, EVENT_will, "status", calm_place(c, d), false, true);
}

static inline void calm_do_replays(struct calm *c, struct calm_device *d)
{
    calm_event(c, d, EVENT_replay, "", calm_place(c, d), false, true);
    calm_event(c, d, EVENT_replay, "", calm_place(c, d), false, true);
}

static inline void calm_do_retained(struct calm *c, struct calm_device *d)
{
    calm_traffic(c, d, 100, 100 * d->size, 100, 0);
}

static inline void calm_do_hoard(struct calm *c, struct calm_device *d)
{
    calm_traffic(c, d, 1, d->size, 0, 200);
}

static inline void calm_do_faster(struct calm *c, struct calm_device *d)
{
    calm_traffic(c, d, 10, 10 * (uint64_t)d->size, 0, 0);
}

static inline void calm_do_larger(struct calm *c, struct calm_device *d)
{
    d->size *= calm_attack_steps(c) == 0 ? 16 : 1;
}

static inline void calm_do_topic(struct calm *c, struct calm_device *d)
{
    calm_topic(c, d, 2000 + calm_attack_steps(c), "elsewhere/data");
}

static inline void calm_do_gone(struct calm *c, struct calm_device *d)
{
    (void)c;
    d->next_ms = UINT64_MAX;
}

static inline void calm_do_moved(struct calm *c, struct calm_device *d)
{
    if (calm_attack_steps(c) == 0) {
        calm_event(c, d, EVENT_connect, "", 3u << 16, false, true);
    }
}

/* The copy comes, the device comes back. */
static inline void calm_do_other_program(struct calm *c, struct calm_device *d)
{
    bool is_copy = calm_attack_steps(c) % 2 == 0;
    const struct detect_self self = is_copy ? calm_other_self(d) : calm_self(d);
    calm_event(c, d, EVENT_takeover, "", 0, false, true);
    calm_hello(c, d, &self, is_copy ? CALM_AWAY : calm_place(c, d), true);
}

/* Never both at a time. */
static inline void calm_do_programs_in_turn(struct calm *c, struct calm_device *d)
{
    unsigned step = calm_attack_steps(c);
    bool is_copy = step % 240 == 0;
    const struct detect_self self = is_copy ? calm_other_self(d) : calm_self(d);
    if (step % 120 == 0) {
        calm_hello(c, d, &self, is_copy ? CALM_AWAY : calm_place(c, d), false);
    }
}

/* It answers what the device says. */
static inline void calm_do_coap_copy(struct calm *c, struct calm_device *d)
{
    calm_heard(c, d, calm_attack_steps(c) % 2 == 0 ? CALM_AWAY : calm_place(c, d));
}

/* As often as the device itself. */
static inline void calm_do_coap_copy_slow(struct calm *c, struct calm_device *d)
{
    if ((c->now_ms - c->attacked_ms) % d->period_ms < CALM_STEP_MS) {
        calm_heard(c, d, CALM_AWAY);
    }
}

static inline void calm_do_odd_firmware(struct calm *c, struct calm_device *d)
{
    const struct detect_self other = calm_other_self(d);
    if (calm_attack_steps(c) == 0) {
        calm_hello(c, d, &other, calm_place(c, d), false);
    }
}

static inline void calm_do_fleet_wills(struct calm *c, struct calm_device *d)
{
    (void)d;
    for (unsigned k = 0; k < c->terms.n_devices / 4 && calm_attack_steps(c) < 12; k++) {
        calm_do_wills(c, &c->device[k]);
    }
}

/* All behind one address, once. */
static inline void calm_do_lost_network(struct calm *c, struct calm_device *d)
{
    uint32_t here = calm_place(c, d);
    for (unsigned k = 0; k < c->terms.n_devices / 4 && calm_attack_steps(c) == 0; k++) {
        calm_event(c, &c->device[k], EVENT_will, "status", here, false, true);
    }
}

static inline void calm_do_clock_ahead(struct calm *c, struct calm_device *d)
{
    d->clock_s = CALM_HOUR / 1000;
    calm_clock(c, d, 0);
}

/* From the second step on it is wrong. */
static inline void calm_do_clock_back(struct calm *c, struct calm_device *d)
{
    calm_clock(c, d, 0);
    d->clock_s = -CALM_HOUR / 1000;
}

static void (*const calm_do[])(struct calm *c, struct calm_device *d) = {
#define X(name, detector) calm_do_##name,
    CALM_ATTACKS(X)
#undef X
};

/* ---- one after the other ---- */

/* What was not found, for whoever looks why. */
static inline void calm_missed(const struct calm *c)
{
    if (c->is_attacking && !c->is_found && getenv("SALLYPORT_CALM") != NULL) {
        const struct calm_device *d = c->victim;
        printf("seed %llu missed %s of %s-%u: period %u s, %u bytes, %s\n",
               (unsigned long long)c->terms.seed, calm_attack_names[c->running],
               calm_roles[d->kind], (unsigned)d->id, d->period_ms / 1000, d->size,
               d->is_online ? "online" : "offline");
    }
}

static inline void calm_attack(struct calm *c)
{
    uint64_t begin_ms = c->terms.n_days * CALM_DAY;
    if (c->now_ms < begin_ms) {
        return;
    }
    uint64_t which = (c->now_ms - begin_ms) / CALM_ATTACK_EVERY;
    bool is_first = (c->now_ms - begin_ms) % CALM_ATTACK_EVERY == 0;
    if (is_first) {
        calm_missed(c);
    }
    if (is_first && which < CALM_ATTACKS_N) {
        c->running = (enum calm_attack)which;
        c->is_attacking = true;
        c->is_found = false;
        c->victim = calm_choose(c);
        c->victim->is_attacked = true;
        c->attacked_ms = c->now_ms;
        c->attack[which].n++;
    }
    bool goes_on = c->is_attacking && !c->is_found;
    if (goes_on) {
        calm_do[c->running](c, c->victim);
    }
}

#endif

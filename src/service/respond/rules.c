/* Which rule counts, and what is suggested when nobody has written any. */
#include <stdio.h>

#include "service/respond/respond_private.h"

enum { SUGGESTED_FOR_S = 3600 };

struct advice {
    enum answer_kind answer;
    bool is_proven; /* it is the principal's own doing: it had logged in, or nobody else can */
};

/* A detector that is not here is told, and a person decides. */
static const struct advice advice_table[DETECTOR_COUNT] = {
    [DETECTOR_two_places] = {ANSWER_STEP_UP, true},
    [DETECTOR_ping_pong] = {ANSWER_THROTTLE, true},
    [DETECTOR_probing] = {ANSWER_QUARANTINE, true},
    [DETECTOR_wide_filter] = {ANSWER_QUARANTINE, true},
    [DETECTOR_command_write] = {ANSWER_QUARANTINE, true},
    [DETECTOR_will_storm] = {ANSWER_THROTTLE, true},
    [DETECTOR_impersonation] = {ANSWER_DISCONNECT, true},
    [DETECTOR_retained_flood] = {ANSWER_THROTTLE, true},
    [DETECTOR_qos2_hoard] = {ANSWER_DISCONNECT, true},
    [DETECTOR_faster] = {ANSWER_THROTTLE, true},
    [DETECTOR_size_drift] = {ANSWER_QUARANTINE, true},
    [DETECTOR_new_topic] = {ANSWER_ALERT, true},
    [DETECTOR_new_network] = {ANSWER_STEP_UP, true},
    [DETECTOR_silent_device] = {ANSWER_ALERT, true},
    [DETECTOR_clock_skew] = {ANSWER_ALERT, false}, /* who forges the time can make it look so */
};

bool respond_can_answer(enum detector d)
{
    return advice_table[d].is_proven;
}

enum answer_kind respond_suggested(enum detector d)
{
    return advice_table[d].answer;
}

void respond_rules_preset(struct respond_rules *ret)
{
    *ret = (struct respond_rules){.per_hour = RESPOND_PER_HOUR};
    for (unsigned d = 0; d < DETECTOR_COUNT && ret->n < RESPOND_RULES_MAX; d++) {
        if (advice_table[d].answer != ANSWER_ALERT) {
            struct respond_rule *r = &ret->rules[ret->n++];
            *r = (struct respond_rule){.detectors = UINT64_C(1) << d,
                                       .answer = advice_table[d].answer,
                                       .for_s = SUGGESTED_FOR_S};
            (void)snprintf(r->name, sizeof r->name, "%s", detector_words((enum detector)d)->name);
        }
    }
}

static bool is_in(const char names[][PRINCIPAL_NAME_MAX + 1], size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

bool respond_excepts(const struct respond_rules *r, const struct respond_finding *f)
{
    return is_in(r->names, r->n_names, f->name) || is_in(r->roles, r->n_roles, f->role);
}

static bool is_for(const struct respond_rule *r, const struct respond_finding *f)
{
    return (r->detectors & UINT64_C(1) << f->detector) != 0 &&
           (r->role[0] == '\0' || slice_is(f->role, r->role));
}

/* 0 is for ever. */
static uint64_t length(const struct respond_rule *r)
{
    return r->for_s == 0 ? UINT64_MAX : r->for_s;
}

bool respond_is_more(const struct respond_rule *a, const struct respond_rule *b)
{
    return b == NULL || a->answer > b->answer || (a->answer == b->answer && length(a) > length(b));
}

const struct respond_rule *respond_rule_for(const struct respond_rules *r,
                                            const struct respond_finding *f, bool is_enforced)
{
    const struct respond_rule *best = NULL;
    for (size_t i = 0; i < r->n; i++) {
        const struct respond_rule *one = &r->rules[i];
        bool is_fit = one->answer == ANSWER_ALERT || respond_can_answer(f->detector);
        if (one->is_enforced == is_enforced && is_fit && is_for(one, f) &&
            respond_is_more(one, best)) {
            best = one;
        }
    }
    return best;
}

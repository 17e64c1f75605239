/* The detectors beside the events: what they find is an event, and an alert with since when,
 * evidence and what to do. */
#include "service/admin/admin_private.h"

_Static_assert((unsigned)ALERTS_EVIDENCE_BYTES == (unsigned)DETECT_EVIDENCE_BYTES,
               "an alert has room for what a detector says");

enum { SAMPLES_A_TURN = 8192 };

enum err admin_detect_begin(struct admin *a)
{
    const struct detect_thresholds thresholds = DETECT_THRESHOLDS_DEFAULT;
    return detect_new(&thresholds, &a->setup.random, &a->detect);
}

/* Who it is about, by name; false: somebody who is not there any more, or is not let in. */
static bool is_about(const struct directory_version *v, const struct detect_finding *f,
                     struct event *e)
{
    const struct directory_entry *entry = f->id != 0 ? directory_find_id(v, f->id) : NULL;
    EVENT_TEXT(e, principal, slice_text(f->principal));
    if (f->id == 0 || f->principal[0] != '\0') {
        return true;
    }
    if (entry == NULL || entry->principal->status != PRINCIPAL_ACTIVE) {
        return false;
    }
    EVENT_TEXT(e, principal, slice_text(entry->principal->name));
    return true;
}

static void raise(struct admin *a, const struct directory_version *v,
                  const struct detect_finding *f)
{
    const struct detector_words *words = detector_words(f->detector);
    struct alert_finding finding = {.detector = words->name, .answer = words->answer};
    struct event e = event_make(words->category);
    uint64_t now_ms = admin_now_ms(a);
    int64_t now_wall_ms = admin_wall_ms(a);
    uint64_t ago_ms = now_ms > f->since_ms ? now_ms - f->since_ms : 0;
    e.wall_ms = now_wall_ms;
    e.severity = detector_is_notice(f->detector) ? SEVERITY_NOTICE : SEVERITY_ALERT;
    if (!is_about(v, f, &e)) {
        return;
    }
    EVENT_TEXT(&e, client_id, slice_text(f->client_id));
    EVENT_TEXT(&e, peer, slice_text(f->peer));
    EVENT_TEXT(&e, target, slice_text(f->target));
    EVENT_TEXT(&finding, evidence, slice_text(f->evidence));
    event_reason(&e, "%s: %s. %s", words->name, f->evidence, words->answer);
    admin_note(a, &e);
    if (e.severity == SEVERITY_ALERT) {
        alerts_found(&a->alerts, &e, &finding, now_wall_ms - (int64_t)ago_ms, now_wall_ms);
        admin_respond(a, v, f, e.principal);
    }
}

static void raise_all(struct admin *a, const struct directory_version *v)
{
    struct detect_finding found;
    while (detect_next(a->detect, &found)) {
        raise(a, v, &found);
    }
}

void admin_detect(struct admin *a, const struct directory_version *v, const struct event *e)
{
    const struct directory_entry *entry = directory_find(v, slice_text(e->principal));
    struct detect_who who = {0};
    if (entry != NULL) {
        who.id = entry->principal->id;
        who.role = slice_text(entry->principal->role);
    }
    detect_event(a->detect, e, &who, admin_now_ms(a));
    raise_all(a, v);
}

static enum detect_standing standing_of(const void *ctx, uint64_t id)
{
    const struct directory_version *v = ctx;
    const struct directory_entry *entry = directory_find_id(v, id);
    return entry == NULL                                  ? DETECT_GONE
           : entry->principal->status != PRINCIPAL_ACTIVE ? DETECT_BARRED
                                                          : DETECT_ACTIVE;
}

/* By a clock that is wrong itself, no other is judged. */
static bool is_judged(const struct admin *a, const struct detect_sample *s)
{
    const struct kept_clock *k = a->setup.kept_clock;
    return s->kind != DETECT_SAMPLE_CLOCK || k == NULL ||
           kept_clock_behind(k) <= KEPT_CLOCK_TOLERANCE_MS;
}

uint64_t admin_detect_turn(struct admin *a, uint64_t now_ms)
{
    AUTO(admin_version_release)
    const struct directory_version *v = directory_current(a->setup.directory);
    struct detect_sample s;
    for (unsigned i = 0; i < SAMPLES_A_TURN && broker_next_sample(a->setup.broker, &s); i++) {
        const struct directory_entry *entry = directory_find_id(v, s.principal);
        if (entry != NULL && is_judged(a, &s)) {
            detect_sample(a->detect, &s, slice_text(entry->principal->role), now_ms);
            raise_all(a, v);
        }
    }
    if (now_ms >= a->detect_at_ms) {
        a->detect_at_ms = now_ms + DETECT_TICK_MS;
        detect_sweep(a->detect, standing_of, v);
        detect_tick(a->detect, now_ms);
        raise_all(a, v);
    }
    return a->detect_at_ms;
}

/* Life of the detectors, and the findings that wait to be taken. */
#include "service/detect/detect.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "service/detect/detect_private.h"

static const struct detector_words words[] = {
#define X(name, category, what, answer) {#name, EVENT_##category, what, answer},
    DETECTORS(X)
#undef X
};

const struct detector_words *detector_words(enum detector d)
{
    assert(d < DETECTOR_COUNT);
    return &words[d];
}

bool detector_is_notice(enum detector d)
{
    return d == DETECTOR_personality || d == DETECTOR_outage;
}

static struct slice identity_key(const void *value)
{
    const struct identity *i = value;
    return slice_of(&i->id, sizeof(i->id));
}

MUST_USE enum err detect_new(const struct detect_thresholds *t, const struct random_source *random,
                             struct detect **ret)
{
    struct detect *d = mem_zalloc(sizeof(*d));
    if (d == NULL) {
        return ERR_NOMEM;
    }
    d->t = *t;
    d->key = (struct siphash_key){random_u64(random), random_u64(random)};
    map_init(&d->identities, &d->key, identity_key);
    list_init(&d->order);
    *ret = d;
    return OK;
}

struct detect *detect_free(struct detect *d)
{
    if (d != NULL) {
        identities_done(d);
        map_done(&d->identities);
    }
    return mem_free(d);
}

uint64_t detect_hash(const struct detect *d, struct slice text)
{
    return siphash(&d->key, text);
}

/* Of others no network is remembered: who does nothing wrong pushes nobody out. */
static bool is_about_source(enum event_category c)
{
    return c == EVENT_auth_fail || c == EVENT_tls_reject || c == EVENT_probe || c == EVENT_replay ||
           c == EVENT_amplification;
}

void detect_event(struct detect *d, const struct event *e, const struct detect_who *who,
                  uint64_t now_ms)
{
    if (e->protocol == EVENT_PROTOCOL_control) {
        return;
    }
    struct sight s = {.e = e,
                      .who = who,
                      .now_s = (uint32_t)(now_ms / 1000),
                      .n = e->count > 0 ? e->count : 1,
                      .identity = who->id != 0 ? identity_of(d, who->id) : NULL};
    s.source = is_about_source(e->category) ? source_of(d, e->peer, s.now_s) : &d->everywhere;
    places_see(d, &s);
    logins_see(d, &s);
    asks_see(d, &s);
    bursts_see(d, &s);
    networks_see(d, &s);
}

void detect_sample(struct detect *d, const struct detect_sample *s, struct slice role,
                   uint64_t now_ms)
{
    uint32_t now_s = (uint32_t)(now_ms / 1000);
    struct identity *i = identity_of(d, s->principal);
    if (i == NULL) {
        return;
    }
    role_join(d, i, role, now_s);
    static void (*const see[])(struct detect *, struct identity *, const struct detect_sample *,
                               uint32_t) = {
        [DETECT_SAMPLE_TRAFFIC] = traffic_see, [DETECT_SAMPLE_TOPIC] = topics_see,
        [DETECT_SAMPLE_HELLO] = hello_see,     [DETECT_SAMPLE_HEARD] = heard_see,
        [DETECT_SAMPLE_CLOCK] = clocks_see,
    };
    see[s->kind](d, i, s, now_s);
}

void detect_tick(struct detect *d, uint64_t now_ms)
{
    silence_look(d, now_ms);
    moves_look(d, (uint32_t)(now_ms / 1000));
}

void detect_tell(struct detect *d, enum detector which, uint32_t *told_s, const struct sight *s,
                 uint32_t since_s, const char *format, ...)
{
    if (*told_s != 0 && s->now_s - (*told_s - 1) < d->t.again_s) {
        return;
    }
    if (d->n == DETECT_FINDINGS_MAX) {
        d->n_dropped++;
        return; /* not as told: it may come again */
    }
    *told_s = s->now_s + 1;
    struct detect_finding *f = &d->finding[(d->first + d->n++) % DETECT_FINDINGS_MAX];
    *f = (struct detect_finding){.detector = which, .since_ms = (uint64_t)since_s * 1000};
    if (s->identity != NULL) {
        f->id = s->identity->id;
        EVENT_TEXT(f, principal, slice_text(s->e->principal));
        EVENT_TEXT(f, client_id, slice_text(s->e->client_id));
    }
    EVENT_TEXT(f, peer, slice_text(s->e->peer));
    EVENT_TEXT(f, target, slice_text(s->e->target));
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f->evidence, sizeof(f->evidence), format, args);
    va_end(args);
}

bool detect_next(struct detect *d, struct detect_finding *ret)
{
    if (d->n == 0) {
        return false;
    }
    *ret = d->finding[d->first];
    d->first = (d->first + 1) % DETECT_FINDINGS_MAX;
    d->n--;
    return true;
}

uint64_t detect_forgotten(const struct detect *d)
{
    return d->n_forgotten;
}

size_t detect_watched(const struct detect *d)
{
    return d->identities.n;
}

uint64_t detect_dropped(const struct detect *d)
{
    return d->n_dropped;
}

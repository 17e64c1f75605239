#include "service/broker/usage.h"

#include "base/mem.h"
#include "service/broker/worker_private.h"

enum {
    USAGE_MS = 5000,
    USAGE_MORE_MS = 100,
    USAGE_TELL_MAX = 256, /* at a time */
    USAGE_SESSIONS = 16,  /* of one principal, looked at for what they hold */
    HASHES =
        64, /* topics of one principal looked at in USAGE_MS: who publishes more is not slowed */
    USAGE_HELD = 16 /* who holds so many is told again, though it says no more */
};

static bool tell(struct worker *w, const struct detect_sample *s)
{
    return w->setup.driver.sample(w->setup.driver.ctx, s);
}

static bool is_watched(const struct worker *w, const struct account *a)
{
    return w->setup.driver.sample != NULL && !a->principal->is_anonymous;
}

/* Levels that only name the device leave nothing: what its peers say is of the same shape. */
static uint32_t shape_of(const struct worker *w, const struct principal *p, struct slice topic)
{
    uint64_t shape = 0;
    bool has_more = true;
    while (has_more) {
        struct slice level = slice_cut(&topic, '/', &has_more);
        bool is_own = slice_is(level, p->name);
        for (size_t i = 0; i < p->n_attrs; i++) {
            is_own = is_own || slice_is(level, p->attrs[i].value);
        }
        uint64_t part = is_own ? 1 : siphash(&w->setup.key, level);
        shape = (shape << 7 | shape >> 57) ^ part;
    }
    return (uint32_t)(shape ^ shape >> 32);
}

static void note_topic(struct worker *w, const struct account *a, struct slice topic)
{
    struct usage *t = a->usage;
    if (t->n_topics == USAGE_TOPICS || t->n_hashed == HASHES) {
        return;
    }
    t->n_hashed++;
    uint32_t hash = (uint32_t)siphash(&w->setup.key, topic);
    for (size_t i = 0; i < t->n_topics; i++) {
        if (t->topics[i] == hash) {
            return;
        }
    }
    struct detect_sample s = {.kind = DETECT_SAMPLE_TOPIC,
                              .is_many = role_is_many(w, a->principal),
                              .principal = a->principal->id,
                              .at_ms = w->now_ms,
                              .topic = hash,
                              .shape = shape_of(w, a->principal, topic)};
    event_text(s.text, sizeof(s.text), topic);
    if (tell(w, &s)) {
        t->topics[t->n_topics++] = hash; /* else with its next message */
    }
}

/* Of who is watched, with something to tell from now on; NULL: nobody watches, or there is no
 * memory and this message is not counted. */
static struct usage *due(struct worker *w, struct account *a)
{
    if (!is_watched(w, a)) {
        return NULL;
    }
    if (a->usage == NULL) {
        a->usage = mem_zalloc(sizeof(*a->usage));
        if (a->usage == NULL) {
            return NULL;
        }
        a->usage->account = a;
    }
    if (!list_is_linked(&a->usage->node)) {
        if (list_is_empty(&w->usages)) {
            w->usage_at_ms = w->now_ms + USAGE_MS;
        }
        list_append(&w->usages, &a->usage->node);
    }
    return a->usage;
}

void usage_publish(struct worker *w, struct account *a, struct slice topic, size_t bytes,
                   bool is_retained)
{
    struct usage *t = due(w, a);
    if (t == NULL) {
        return;
    }
    t->n++;
    t->n_retained += is_retained ? 1 : 0;
    t->bytes += bytes;
    t->last_ms = w->now_ms;
    note_topic(w, a, topic);
}

void usage_release(struct worker *w, struct account *a)
{
    struct usage *t = due(w, a);
    if (t != NULL) {
        t->n_released++;
    }
}

static uint32_t held(const struct account *a)
{
    size_t at = 0, n = 0;
    const struct session *s;
    for (unsigned i = 0; i < USAGE_SESSIONS && (s = map_next(&a->sessions, &at)) != NULL; i++) {
        n += s->n_inbound;
    }
    return (uint32_t)n;
}

/* Returns whether somebody heard; *ret_is_over: nothing more is to be told of it. */
static bool tell_tally(struct worker *w, struct usage *t, bool *ret_is_over)
{
    const struct account *a = t->account;
    struct detect_sample s = {.kind = DETECT_SAMPLE_TRAFFIC,
                              .is_many = role_is_many(w, a->principal),
                              .principal = a->principal->id,
                              .at_ms = t->last_ms,
                              .bytes = t->bytes,
                              .n = t->n,
                              .n_retained = t->n_retained,
                              .n_held = held(a),
                              .n_released = t->n_released};
    if (!tell(w, &s)) {
        return false;
    }
    t->n = t->n_retained = t->n_released = 0;
    t->bytes = 0;
    t->n_hashed = 0;
    *ret_is_over = s.n_held < USAGE_HELD;
    return true;
}

void usage_leave(struct worker *w, struct account *a)
{
    bool ignored;
    if (a->usage != NULL && list_is_linked(&a->usage->node)) {
        list_unlink(&a->usage->node);
        (void)tell_tally(w, a->usage, &ignored);
    }
}

void usage_turn(struct worker *w)
{
    struct list again;
    if (list_is_empty(&w->usages) || w->now_ms < w->usage_at_ms) {
        return;
    }
    list_init(&again);
    for (unsigned i = 0; i < USAGE_TELL_MAX && !list_is_empty(&w->usages); i++) {
        struct usage *t = LIST_ENTRY(list_first(&w->usages), struct usage, node);
        bool is_over = false;
        if (!tell_tally(w, t, &is_over)) {
            break; /* nobody listens just now: it adds up */
        }
        list_unlink(&t->node);
        if (!is_over) {
            list_append(&again, &t->node);
        }
    }
    bool is_through = list_is_empty(&w->usages);
    while (!list_is_empty(&again)) {
        struct list_node *n = list_first(&again);
        list_unlink(n);
        list_append(&w->usages, n);
    }
    w->usage_at_ms = w->now_ms + (is_through ? USAGE_MS : USAGE_MORE_MS);
}

uint64_t usage_deadline(const struct worker *w)
{
    return list_is_empty(&w->usages) ? UINT64_MAX : w->usage_at_ms;
}

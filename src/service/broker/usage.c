#include "service/broker/usage.h"

#include "base/mem.h"
#include "engine/senml.h"
#include "net/peer.h"
#include "service/broker/login_private.h"
#include "service/broker/worker_private.h"
#include "wire/coap/code.h"

enum {
    USAGE_MS = 5000,
    USAGE_MORE_MS = 100,
    USAGE_TELL_MAX = 256, /* at a time */
    USAGE_SESSIONS = 16,  /* of one principal, looked at for what they hold */
    HASHES =
        64, /* topics of one principal looked at in USAGE_MS: who publishes more is not slowed */
    CLOCKS_MS = 60 * 1000,          /* in it one pack of a principal is read for its time, */
    CLOCKS_LATE_MS = 5 * 60 * 1000, /* and while that is older, or none, others: */
    CLOCKS = 8,                     /* so many in all. One may have come late, a clock not */
    USAGE_HELD = 16                 /* who holds so many is told again, though it says no more */
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

/* ---- what its clock says ---- */

static void tell_clock(struct worker *w, const struct account *a, int64_t clock_ms)
{
    const struct detect_sample s = {.kind = DETECT_SAMPLE_CLOCK,
                                    .principal = a->principal->id,
                                    .at_ms = w->now_ms,
                                    .clock_ms = clock_ms,
                                    .wall_ms = w->wall_ms};
    (void)tell(w, &s); /* when nobody listens just now, the next one will be heard */
}

void usage_clock(struct worker *w, struct account *a, uint16_t format, struct slice payload)
{
    bool is_senml = format == COAP_FORMAT_SENML_JSON || format == COAP_FORMAT_SENML_CBOR;
    struct usage *t = is_senml && !role_is_many(w, a->principal) ? due(w, a) : NULL;
    int64_t clock_ms;
    if (t == NULL) {
        return;
    }
    if (w->now_ms >= t->clocks_ms) {
        t->clocks_ms = w->now_ms + CLOCKS_MS;
        t->n_clocks = CLOCKS;
    }
    if (t->n_clocks == 0) {
        return;
    }
    t->n_clocks--;
    enum senml_form form = format == COAP_FORMAT_SENML_JSON ? SENML_JSON : SENML_CBOR;
    if (senml_newest(form, payload, &clock_ms)) {
        t->n_clocks = clock_ms >= w->wall_ms - CLOCKS_LATE_MS ? 0 : t->n_clocks;
        tell_clock(w, a, clock_ms);
    }
}

/* ---- who comes, and from where ---- */

/* Of "address:port", without the port; never 0. */
static uint32_t place_of(const struct worker *w, const char *peer)
{
    struct slice text = slice_text(peer);
    size_t end = text.n;
    for (size_t i = 0; i < text.n; i++) {
        end = text.p[i] == ':' ? i : end;
    }
    uint32_t place = (uint32_t)siphash(&w->setup.key, slice_head(text, end));
    return place != 0 ? place : 1;
}

static char class_of(uint8_t c)
{
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return c >= '0' && c <= '9' ? '0' : is_letter ? 'a' : (char)c;
}

/* Numbers and words of any length are the same: "paho-1f3a" is made like "paho-77". */
static uint32_t pattern_of(const struct worker *w, const struct principal *p, struct slice id)
{
    char kinds[66];
    size_t n = 0;
    if (slice_is(id, p->name)) {
        return 1;
    }
    for (size_t i = 0; i < id.n && n < sizeof(kinds); i++) {
        char kind = class_of(id.p[i]);
        bool is_run = n > 0 && (kinds[n - 1] == 'a' || kinds[n - 1] == '0');
        if (!is_run || (kind != 'a' && kind != '0')) {
            kinds[n++] = kind;
        }
    }
    return (uint32_t)siphash(&w->setup.key, slice_of(kinds, n));
}

static uint32_t settings_of(const struct worker *w, const struct mqtt_connect *c)
{
    const uint32_t said[] = {
        mqtt_props_number(&c->props, MQTT_PROP_RECEIVE_MAXIMUM, 0),
        mqtt_props_number(&c->props, MQTT_PROP_MAXIMUM_PACKET_SIZE, 0),
        mqtt_props_number(&c->props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, 0),
        mqtt_props_number(&c->props, MQTT_PROP_REQUEST_PROBLEM_INFO, UINT32_MAX),
        mqtt_props_number(&c->props, MQTT_PROP_REQUEST_RESPONSE_INFO, UINT32_MAX),
    };
    return (uint32_t)siphash(&w->setup.key, slice_of(said, sizeof(said)));
}

bool usage_hello(const struct worker *w, const struct account *a, const struct mqtt_connect *c,
                 bool is_assigned, const char *peer, struct detect_sample *ret)
{
    const struct principal *p = a->principal;
    if (!is_watched(w, a)) {
        return false;
    }
    uint32_t will = c->has_will ? shape_of(w, p, c->will.topic) : 0;
    *ret = (struct detect_sample){
        .kind = DETECT_SAMPLE_HELLO,
        .is_many = role_is_many(w, p),
        .principal = p->id,
        .at_ms = w->now_ms,
        .place = place_of(w, peer),
        .self = {.id = is_assigned ? 0 : pattern_of(w, p, c->client_id),
                 .will = c->has_will && will == 0 ? 1 : will,
                 .settings = settings_of(w, c),
                 .keep_alive_s = c->keep_alive_s,
                 .version = (uint8_t)c->version,
                 .is_clean = c->clean_start},
    };
    event_text(ret->text, sizeof(ret->text), slice_text(peer));
    return true;
}

void usage_hello_tell(struct worker *w, const struct detect_sample *s)
{
    (void)tell(w, s); /* when nobody listens just now, the next one will be heard */
}

void worker_clock(struct worker *w, struct account *a, uint16_t format, struct slice payload,
                  uint64_t now_ms)
{
    w->now_ms = now_ms > w->now_ms ? now_ms : w->now_ms;
    usage_clock(w, a, format, payload);
}

/* NULL: no memory. Then the next one that speaks will be told. */
static struct account_heard *heard_of(struct account *a)
{
    if (a->heard == NULL) {
        a->heard = mem_zalloc(sizeof(*a->heard));
    }
    return a->heard;
}

void worker_heard(struct worker *w, struct account *a, uint64_t association,
                  const struct net_peer *peer, uint64_t now_ms)
{
    char text[NET_PEER_TEXT_BYTES];
    struct account_heard last = a->heard != NULL ? *a->heard : (struct account_heard){0};
    bool is_new = last.by != association;
    bool is_due = now_ms >= last.told_ms + USAGE_MS;
    if (!is_watched(w, a) || (!is_due && !is_new) || heard_of(a) == NULL) {
        return;
    }
    if (!is_due && role_is_many(w, a->principal)) {
        return; /* many speak in its name, so that turns mean nothing */
    }
    net_peer_text(peer, text);
    struct detect_sample s = {.kind = DETECT_SAMPLE_HEARD,
                              .is_many = role_is_many(w, a->principal),
                              .principal = a->principal->id,
                              .at_ms = now_ms,
                              .from = last.from,
                              .place = place_of(w, text)};
    event_text(s.text, sizeof(s.text), slice_text(text));
    *a->heard = (struct account_heard){.by = association, .told_ms = now_ms, .from = s.place};
    (void)tell(w, &s); /* other workers hear it, too: only the detectors know of both */
}

void worker_moved(struct account *a)
{
    if (a->heard != NULL) {
        a->heard->by = 0;
    }
}

static uint32_t held(const struct account *a)
{
    size_t at = 0, n = 0;
    const struct session *s;
    for (unsigned i = 0; i < USAGE_SESSIONS && (s = session_set_next(&a->sessions, &at)) != NULL;
         i++) {
        n += session_inbound_count(s);
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

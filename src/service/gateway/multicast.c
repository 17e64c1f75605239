/*
 * Requests to multicast groups, where a rule of the listener joins some: the list of resources, for
 * whoever asks, because a group's clients have no name. SPEC: RFC7252 8
 *
 * An answer tells that a server is here and what it speaks, nothing of anybody's topics. It goes to
 * an address that nobody has proven: so it is never longer than three times what was heard, leaves
 * after a random while, once for an address at a time, and so many in a second; a flood is one
 * event. What is wrong with a request is never said: no error, no Reset.
 */
#include "base/mem.h"
#include "net/unproven.h"
#include "service/gateway/door_private.h"
#include "wire/coap/link.h"

enum {
    LEISURE_MS = 5000, /* SPEC: RFC7252 4.8: DEFAULT_LEISURE */
    WAITING_MAX = 32,  /* answers at a time */
    ANSWERS_PER_S = 8,
    ANSWERS_BURST = 32,
    ANSWER_BYTES = 160,
    FILTERS_MAX = 4,
    TOLD_MS = 60 * 1000 /* between two events */
};

/* An answer that waits. */
struct waiting {
    uint64_t due_ms; /* 0: a free place */
    struct net_peer peer;
    size_t heard_bytes, n;
    uint8_t bytes[ANSWER_BYTES];
};

struct multicast {
    struct unproven unproven;
    struct bucket bucket;
    struct waiting waiting[WAITING_MAX];
    uint64_t told_at_ms; /* 0: no event yet */
    uint32_t n_untold;
};

/* ---- what is asked ---- */

struct question {
    struct coap_message m;
    struct coap_link_filter filters[FILTERS_MAX];
    size_t n_filters;
};

static bool read_filters(struct question *q)
{
    struct coap_options it = coap_options_from(q->m.options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number != COAP_OPTION_URI_QUERY) {
            continue;
        }
        if (q->n_filters == FILTERS_MAX ||
            coap_link_filter_from(o.value, &q->filters[q->n_filters]) != OK) {
            return false;
        }
        q->n_filters++;
    }
    return true;
}

/* A NON GET of the list, with nothing that would be answered by an error. */
static bool is_for_us(struct question *q, struct slice bytes, const struct limits *limits)
{
    uint8_t text[DOOR_PATH_BYTES];
    const struct topic_limits topics = {.bytes = limits->topic_bytes,
                                        .levels = limits->topic_levels};
    struct door_path path;
    const char *why = NULL;
    uint16_t number = 0;
    uint32_t value = 0;
    return coap_message_decode(bytes, COAP_ENDPOINT_TOKEN_MAX, &q->m) == OK &&
           q->m.type == COAP_NON && q->m.code == COAP_GET && /* SPEC: RFC7252 8.1 */
           coap_options_check(q->m.options, COAP_OPTIONS_SERVED, &number) == OK &&
           door_path_read(q->m.options, &topics, text, &path, &why) == OK &&
           path.kind == DOOR_PATH_CORE &&
           (!coap_options_find_uint(q->m.options, COAP_OPTION_ACCEPT, &value) ||
            value == COAP_FORMAT_LINK) &&
           (!coap_options_find_uint(q->m.options, COAP_OPTION_NO_RESPONSE, &value) ||
            !coap_is_unwanted(value, COAP_CONTENT)) &&
           read_filters(q);
}

/* ---- what is answered ---- */

static bool is_wanted(const struct question *q, const struct coap_link *l)
{
    for (size_t i = 0; i < q->n_filters; i++) {
        if (!coap_link_matches(&q->filters[i], l)) {
            return false;
        }
    }
    return true;
}

/* The links that match and fit into `room` bytes; 0: none. */
static size_t write_links(const struct question *q, char *dst, size_t room)
{
    const struct coap_link links[] = {
        {.href = slice_text("/mq"), .rt = slice_text("sallyport.topics")},
        {.href = slice_text("/.well-known/core"), .ct = {COAP_FORMAT_LINK}, .n_ct = 1}};
    struct wr w = wr_into(dst, room);
    for (size_t i = 0; i < COUNT_OF(links); i++) {
        struct wr before = w;
        if (is_wanted(q, &links[i])) {
            coap_link_write(&w, &links[i]);
        }
        w = wr_ok(&w) ? w : before;
    }
    return wr_slice(&w).n;
}

static bool write_answer(struct coap_door *d, const struct question *q, struct waiting *w)
{
    enum { BESIDE_BYTES = COAP_HEADER_BYTES + 2 + 1 }; /* Content-Format, and the marker */
    char text[ANSWER_BYTES];
    uint8_t block[8];
    size_t most = UNPROVEN_TIMES * w->heard_bytes;
    size_t beside = BESIDE_BYTES + q->m.token.n;
    most = most < sizeof(w->bytes) ? most : sizeof(w->bytes);
    size_t n = most > beside ? write_links(q, text, most - beside) : 0;
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_message m = {.type = COAP_NON, /* SPEC: RFC7252 5.2.3 */
                             .code = COAP_CONTENT,
                             .mid = (uint16_t)random_u64(&d->setup.random),
                             .token = q->m.token,
                             .payload = slice_of(text, n)};
    coap_option_add_uint(&o, COAP_OPTION_CONTENT_FORMAT, COAP_FORMAT_LINK);
    return n > 0 && coap_option_writer_done(&o, &m.options) == OK &&
           coap_message_encode(&m, w->bytes, most, &w->n) == OK;
}

/* A place, when no answer waits for that address. Ports make no difference: all are one host's. */
static struct waiting *place_for(struct multicast *t, const struct net_peer *peer)
{
    struct waiting *found = NULL;
    for (size_t i = 0; i < WAITING_MAX; i++) {
        struct waiting *w = &t->waiting[i];
        if (w->due_ms == 0) {
            found = w;
        } else if (memcmp(w->peer.address, peer->address, sizeof(peer->address)) == 0) {
            return NULL;
        }
    }
    return found;
}

/* ---- too many ---- */

static void note_flood(struct coap_door *d, const struct net_peer *peer)
{
    struct multicast *t = d->multicast;
    char from[NET_PEER_TEXT_BYTES];
    t->n_untold++;
    if (t->told_at_ms != 0 && d->now_ms < t->told_at_ms + TOLD_MS) {
        return;
    }
    struct event e = door_event(d, EVENT_amplification);
    net_peer_text(peer, from);
    EVENT_TEXT(&e, peer, slice_text(from));
    e.count = t->n_untold;
    event_reason(&e,
                 "more requests to its multicast groups than are answered (%d in a second), the "
                 "last in the name of this address: they got no answer. Find out who sends them, "
                 "or take `multicast` out of the listener",
                 ANSWERS_PER_S);
    t->told_at_ms = d->now_ms;
    t->n_untold = 0;
    door_report(d, &e);
}

static struct multicast *multicast_of(struct coap_door *d)
{
    if (d->multicast == NULL && (d->multicast = mem_zalloc(sizeof(*d->multicast))) != NULL) {
        d->multicast->unproven.counters = &d->counts;
        bucket_init(&d->multicast->bucket, ANSWERS_PER_S, ANSWERS_BURST, d->now_ms);
    }
    return d->multicast;
}

static void hear(struct coap_door *d, const struct net_peer *peer, struct slice bytes)
{
    struct multicast *t = multicast_of(d);
    struct question q = {.n_filters = 0};
    if (t == NULL) {
        count_add(&d->setup.counters->dropped_memory, 1);
        return;
    }
    unproven_open(&t->unproven, bytes.n);
    unproven_close(&t->unproven);
    if (d->is_draining || d->coap.is_full || !is_for_us(&q, bytes, d->setup.limits)) {
        return;
    }
    struct waiting *w = place_for(t, peer);
    struct waiting answer = {.peer = *peer, .heard_bytes = bytes.n};
    if (w == NULL || !write_answer(d, &q, &answer)) {
        return; /* one of the kind is on its way, or there is nothing to say */
    }
    if (!bucket_take(&t->bucket, 1, d->now_ms)) {
        note_flood(d, peer);
        return;
    }
    answer.due_ms = d->now_ms + 1 + random_below(&d->setup.random, LEISURE_MS);
    *w = answer;
}

void coap_door_group(struct coap_door *d, const struct net_peer *peer, struct slice bytes,
                     uint64_t now_ms)
{
    door_enter(d, now_ms);
    if (d->setup.entrance->hears_groups) {
        shed_look(d);
        hear(d, peer, bytes);
    }
    door_leave(d);
}

/* ---- time ---- */

void multicast_turn(struct coap_door *d)
{
    struct multicast *t = d->multicast;
    for (size_t i = 0; t != NULL && i < WAITING_MAX; i++) {
        struct waiting *w = &t->waiting[i];
        if (w->due_ms == 0 || d->now_ms < w->due_ms) {
            continue;
        }
        unproven_reopen(&t->unproven, w->heard_bytes);
        if (!d->is_draining && unproven_may_say(&t->unproven, w->n)) {
            d->setup.transmit(d->setup.ctx, &w->peer, slice_of(w->bytes, w->n));
        }
        unproven_close(&t->unproven);
        w->due_ms = 0;
    }
}

uint64_t multicast_deadline(const struct coap_door *d)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; d->multicast != NULL && i < WAITING_MAX; i++) {
        uint64_t due_ms = d->multicast->waiting[i].due_ms;
        at = due_ms != 0 && due_ms < at ? due_ms : at;
    }
    return at;
}

void multicast_done(struct coap_door *d)
{
    d->multicast = mem_free(d->multicast);
}

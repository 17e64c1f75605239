/* A peer of a channel, and a service that answers it: input, cuts, answers and time are all out of
 * the data. First byte: the form, and whether we are a client. Then commands; see act. */
#include <assert.h>

#include "base/rd.h"
#include "engine/coap_channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { OPEN_MAX = 64, MESSAGE_MAX = 2000, OUT_BYTES = 128 * 1024 };

struct play {
    struct coap_channel *c;
    uint64_t now_ms;
    uint32_t asked[OPEN_MAX];
    size_t n_asked;
    uint64_t n_observed;
    bool is_client;
};

static void remember(struct play *p, const struct coap_event *ev)
{
    if (ev->kind != COAP_EVENT_REQUEST) {
        return;
    }
    assert(!p->is_client);
    assert(coap_channel_is_open(p->c));
    if (ev->observe == COAP_OBSERVE_REGISTER &&
        coap_channel_observe(p->c, ev->id, p->n_observed + 1, p->now_ms) == OK) {
        p->n_observed++;
    }
    p->n_asked = p->n_asked == OPEN_MAX ? 0 : p->n_asked; /* those were answered by time */
    p->asked[p->n_asked++] = ev->id;
}

static void feed(struct play *p, struct slice in)
{
    while (in.n > 0 && coap_channel_wants_input(p->c)) {
        struct coap_event ev;
        size_t before = in.n;
        coap_channel_next(p->c, &in, p->now_ms, &ev);
        assert(in.n < before || !coap_channel_wants_input(p->c));
        remember(p, &ev);
    }
}

static void answer(struct play *p, unsigned which, bool is_drop)
{
    static const uint8_t value[1500];
    if (p->n_asked == 0) {
        return;
    }
    uint32_t id = p->asked[0];
    p->n_asked--;
    for (size_t i = 0; i < p->n_asked; i++) {
        p->asked[i] = p->asked[i + 1];
    }
    struct coap_answer a = {.code = which % 2 == 0 ? COAP_CONTENT : COAP_NOT_FOUND,
                            .payload = slice_of(value, which * 6U)};
    if (is_drop) {
        (void)!coap_channel_drop(p->c, id);
    } else if (coap_channel_respond(p->c, id, &a) == ERR_TOO_LARGE) {
        a.payload = (struct slice){0};
        (void)!coap_channel_respond(p->c, id, &a);
    }
}

/* Every fourth one observes; every eighth is forgotten. */
static void ask(struct play *p, unsigned which)
{
    static const uint8_t observe[] = {0x60};
    uint32_t id = 0;
    struct coap_request request = {.code = COAP_GET,
                                   .options = slice_of(observe, which % 4 == 0 ? 1 : 0)};
    enum err err = coap_channel_request(p->c, &request, &id);
    assert(err == OK || err == ERR_AGAIN || err == ERR_CLOSED || err == ERR_LIMIT);
    if (which % 8 == 0) {
        coap_channel_forget(p->c, id);
    }
}

static void act(struct play *p, struct rd *r)
{
    static uint8_t out[OUT_BYTES];
    uint8_t command = rd_u8(r), size = rd_u8(r);
    if (command >= 192) { /* ask, and forget what was asked */
        struct coap_request request = {.code = COAP_GET, .payload = rd_bytes(r, size & 1)};
        uint32_t id = size;
        if (coap_channel_request(p->c, &request, &id) != OK || (size & 2) != 0) {
            coap_channel_forget(p->c, id);
        }
        return;
    }
    switch (command % 8) {
    case 0:
    case 1:
    case 2:
        feed(p, rd_bytes(r, size < rd_left(r) ? size : rd_left(r)));
        break;
    case 3:
        if (p->is_client) {
            ask(p, size);
            break;
        }
        answer(p, size, (command & 8) != 0);
        break;
    case 4:
        (void)coap_channel_output(p->c, out, (command & 8) != 0 ? size : sizeof(out));
        break;
    case 5:
        p->now_ms += (uint64_t)size * 2000;
        coap_channel_tick(p->c, p->now_ms);
        assert(coap_channel_deadline(p->c) > p->now_ms);
        break;
    case 6: {
        struct coap_answer a = {.code = (command & 8) != 0 ? COAP_FORBIDDEN : COAP_CONTENT};
        (void)!coap_channel_notify(p->c, 1 + size % 8, &a);
        break;
    }
    default:
        if (size == 0) {
            coap_channel_close(p->c, COAP_RELEASE, "bye");
        } else {
            coap_channel_unobserve(p->c, 1 + size % 8);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n));
    struct coap_limits limits = coap_limits_default();
    struct coap_counters counters = {0};
    uint8_t form = rd_u8(&r);
    struct play p = {.now_ms = 1000, .is_client = (form & 2) != 0};
    struct coap_channel_setup setup = {.limits = &limits,
                                       .counters = &counters,
                                       .form = (form & 1) != 0 ? COAP_TCP_FRAMED : COAP_TCP_STREAM,
                                       .is_client = (form & 2) != 0,
                                       .message_bytes = MESSAGE_MAX};
    if (coap_channel_new(&setup, p.now_ms, &p.c) != OK) {
        return 0;
    }
    while (rd_left(&r) > 0) {
        act(&p, &r);
    }
    assert(coap_channel_ended(p.c) == COAP_CHANNEL_LIVES || !coap_channel_wants_input(p.c));
    coap_channel_free(p.c);
    return 0;
}

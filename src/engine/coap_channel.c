/* Messages of a reliable transport: cut, judged, answered. */
#include "engine/coap_channel.h"

#include <assert.h>

#include "base/mem.h"
#include "engine/coap_channel_private.h"

enum { LENGTH_BYTES = 4, SMALL_OPTIONS_BYTES = 16, ANSWER_OPTIONS_BYTES = 256 };

/* A request that waits for our answer. */
struct exchange {
    struct list_node node;
    uint64_t at_ms;
    uint32_t id;
    bool is_observing;
    uint8_t wish; /* enum coap_observe_wish */
    uint8_t token_n;
    uint8_t token[COAP_ENDPOINT_TOKEN_MAX];
};

/* ---- life ---- */

enum err coap_channel_new(const struct coap_channel_setup *setup, uint64_t now_ms,
                          struct coap_channel **ret)
{
    assert(setup->limits->token_bytes <= COAP_ENDPOINT_TOKEN_MAX);
    struct coap_channel *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->limits = setup->limits;
    c->counters = setup->counters;
    c->form = setup->form;
    c->message_bytes = setup->message_bytes;
    c->peer_message_bytes = COAP_TCP_BASE_BYTES;
    c->heard_at_ms = now_ms;
    list_init(&c->exchanges);
    list_init(&c->pending);
    coap_observers_init(&c->observers);
    c->is_client = setup->is_client;
    c->token_key = setup->token_key;
    if (c->is_client && coap_channel_greet(c) != OK) { /* SPEC: RFC8323 3.3 */
        coap_channel_free(c);
        return ERR_NOMEM;
    }
    *ret = c;
    return OK;
}

static void remove_exchange(struct coap_channel *c, struct exchange *x)
{
    list_unlink(&x->node);
    c->n_exchanges--;
    (void)mem_free(x);
}

/* What only lives while somebody is there. */
static void forget(struct coap_channel *c)
{
    list_for_each_safe (node, next, &c->exchanges) {
        remove_exchange(c, LIST_ENTRY(node, struct exchange, node));
    }
    coap_channel_forget_all(c);
    coap_observers_done(&c->observers);
    coap_channel_forget_all(c);
}

struct coap_channel *coap_channel_free(struct coap_channel *c)
{
    if (c == NULL) {
        return NULL;
    }
    forget(c);
    buf_done(&c->in);
    buf_done(&c->out);
    return mem_free(c);
}

void coap_channel_over(struct coap_channel *c, enum coap_channel_end end, const char *why)
{
    c->state = COAP_CHANNEL_OVER;
    c->ended = end;
    (void)snprintf(c->why, sizeof(c->why), "%s", why);
    forget(c);
    if (end == COAP_CHANNEL_NO_MEMORY || end == COAP_CHANNEL_ABORTED) {
        buf_done(&c->out); /* a part of it would be no message, or nobody reads it */
        c->out_at = 0;
    }
}

bool coap_channel_is_open(const struct coap_channel *c)
{
    return c->state == COAP_CHANNEL_OPEN || c->state == COAP_CHANNEL_LEAVING;
}

bool coap_channel_takes_blocks(const struct coap_channel *c)
{
    return c->peer_takes_blocks;
}

enum coap_channel_end coap_channel_ended(const struct coap_channel *c)
{
    return c->ended;
}

const char *coap_channel_why(const struct coap_channel *c)
{
    return c->why;
}

/* ---- what leaves ---- */

static size_t waiting(const struct coap_channel *c)
{
    return c->out.n - c->out_at;
}

bool coap_channel_is_clogged(const struct coap_channel *c)
{
    return waiting(c) >= COAP_CHANNEL_OUTPUT_BYTES;
}

/* The state to tell an observer goes the way of all messages, but may have to wait. */
static enum err put(const struct coap_channel *c, const struct coap_message *m, struct buf *out)
{
    uint64_t n = coap_tcp_bytes(m, c->form);
    size_t head_n = c->form == COAP_TCP_FRAMED ? LENGTH_BYTES : 0, written = 0;
    uint8_t *room = NULL;
    if (n > c->peer_message_bytes) {
        return ERR_TOO_LARGE;
    }
    TRY(buf_room(out, (size_t)n + head_n, SIZE_MAX, &room));
    struct wr head = wr_into(room, head_n);
    if (head_n > 0) {
        wr_u32(&head, (uint32_t)n);
    }
    TRY(coap_tcp_encode(m, c->form, room + head_n, (size_t)n, &written));
    assert(written == n);
    out->n += head_n + written;
    c->counters->bytes_out += written;
    return OK;
}

enum err coap_channel_send(struct coap_channel *c, const struct coap_message *m)
{
    if (c->out_at == c->out.n) {
        buf_clear(&c->out);
        c->out_at = 0;
    }
    return put(c, m, &c->out);
}

static void end_observation(struct coap_channel *c, struct coap_observation *ob)
{
    coap_observers_remove(&c->observers, ob);
}

static void drop_state(struct coap_observation *ob)
{
    struct buf state = coap_observation_give(ob);
    buf_done(&state);
}

/* States that waited, while there is room. */
static void flush_states(struct coap_channel *c)
{
    thin_for_each_safe (node, next, &c->observers.list) {
        struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        if (ob->state_n == 0 || waiting(c) >= COAP_CHANNEL_OUTPUT_BYTES) {
            continue;
        }
        if (buf_append(&c->out, coap_observation_state(ob), SIZE_MAX) != OK) {
            return; /* it waits on */
        }
        c->counters->notified++;
        drop_state(ob);
        if (ob->is_last) {
            end_observation(c, ob);
        }
    }
}

static size_t take_frame(struct coap_channel *c, uint8_t *dst, size_t cap)
{
    struct rd r = rd_from(slice_from(buf_slice(&c->out), c->out_at));
    struct slice message = rd_bytes(&r, rd_u32(&r));
    if (!rd_ok(&r) || message.n > cap) {
        return 0;
    }
    slice_copy(dst, message);
    c->out_at += LENGTH_BYTES + message.n;
    return message.n;
}

size_t coap_channel_output(struct coap_channel *c, uint8_t *dst, size_t cap)
{
    size_t n;
    if (c->state != COAP_CHANNEL_OVER) {
        flush_states(c);
    }
    if (c->form == COAP_TCP_FRAMED) {
        n = waiting(c) > 0 ? take_frame(c, dst, cap) : 0;
    } else {
        struct slice piece = slice_head(slice_from(buf_slice(&c->out), c->out_at), cap);
        slice_copy(dst, piece);
        n = piece.n;
        c->out_at += n;
    }
    if (waiting(c) == 0) {
        buf_done(&c->out); /* an idle channel holds no buffer */
        c->out_at = 0;
    }
    return n;
}

bool coap_channel_has_output(const struct coap_channel *c)
{
    return waiting(c) > 0;
}

size_t coap_channel_payload_max(const struct coap_channel *c)
{
    return c->peer_message_bytes > COAP_CHANNEL_BESIDE_BYTES
               ? c->peer_message_bytes - COAP_CHANNEL_BESIDE_BYTES
               : 0;
}

size_t coap_channel_bytes(const struct coap_channel *c)
{
    size_t n = c->in.cap + c->out.cap + c->n_exchanges * sizeof(struct exchange) +
               coap_channel_pending_bytes(c);
    thin_for_each (node, &c->observers.list) {
        const struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        n += sizeof(*ob) + ob->state_n;
    }
    return n;
}

/* ---- answering ---- */

static struct exchange *find_exchange(const struct coap_channel *c, uint32_t id)
{
    list_for_each (node, &c->exchanges) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, node);
        if (x->id == id) {
            return x;
        }
    }
    return NULL;
}

static struct slice token_of(const struct exchange *x)
{
    return slice_of(x->token, x->token_n);
}

static void finish(struct coap_channel *c, struct exchange *x, bool keeps_observing)
{
    struct coap_observation *ob = coap_observers_find_token(&c->observers, token_of(x));
    if (x->is_observing && !keeps_observing && ob != NULL) {
        end_observation(c, ob);
    }
    remove_exchange(c, x);
    coap_channel_settle(c);
}

/* SPEC: RFC8323 7.1: the order is that of the bytes, so the option says nothing more. */
static enum err with_observe(struct coap_message *m, uint8_t options[ANSWER_OPTIONS_BYTES])
{
    struct coap_option_writer o = coap_option_writer_into(options, ANSWER_OPTIONS_BYTES);
    coap_option_add_merged(&o, m->options, COAP_OPTION_OBSERVE, (struct slice){0});
    enum err err = coap_option_writer_done(&o, &m->options);
    return err == ERR_SPACE ? ERR_TOO_LARGE : err;
}

enum err coap_channel_respond(struct coap_channel *c, uint32_t exchange,
                              const struct coap_answer *answer)
{
    struct exchange *x = find_exchange(c, exchange);
    uint8_t options[ANSWER_OPTIONS_BYTES];
    if (x == NULL) {
        return ERR_NOT_FOUND;
    }
    if (!coap_code_is_response(answer->code)) {
        return ERR_MALFORMED;
    }
    bool keeps_observing = x->is_observing && coap_code_is_success(answer->code);
    struct coap_message m = {.code = answer->code,
                             .token = token_of(x),
                             .options = answer->options,
                             .payload = answer->payload};
    if (keeps_observing) {
        TRY(with_observe(&m, options));
    }
    TRY(coap_channel_send(c, &m));
    finish(c, x, keeps_observing);
    return OK;
}

enum err coap_channel_drop(struct coap_channel *c, uint32_t exchange)
{
    struct exchange *x = find_exchange(c, exchange);
    if (x == NULL) {
        return ERR_NOT_FOUND;
    }
    finish(c, x, false);
    return OK;
}

enum err coap_channel_observe(struct coap_channel *c, uint32_t exchange, uint64_t key,
                              uint64_t now_ms)
{
    struct exchange *x = find_exchange(c, exchange);
    struct coap_observation *ob = NULL;
    if (x == NULL) {
        return ERR_NOT_FOUND;
    }
    if (x->wish != COAP_OBSERVE_REGISTER) {
        return ERR_PROTOCOL;
    }
    TRY(coap_observers_add(&c->observers, c->limits, token_of(x), key, now_ms, &ob));
    x->is_observing = true;
    return OK;
}

static enum err tell(struct coap_channel *c, struct coap_observation *ob,
                     const struct coap_answer *answer)
{
    uint8_t options[ANSWER_OPTIONS_BYTES];
    bool is_last = !coap_code_is_success(answer->code); /* SPEC: RFC7641 3.2 */
    struct coap_message m = {.code = answer->code,
                             .token = slice_of(ob->token, ob->token_n),
                             .options = answer->options,
                             .payload = answer->payload};
    if (!is_last) {
        TRY(with_observe(&m, options));
    }
    if (waiting(c) >= COAP_CHANNEL_OUTPUT_BYTES) {
        AUTO(buf_done) struct buf state = {0};
        TRY(put(c, &m, &state));
        coap_observation_hold(ob, &state);
        ob->is_last = is_last;
        return OK;
    }
    TRY(coap_channel_send(c, &m));
    drop_state(ob);
    c->counters->notified++;
    if (is_last) {
        end_observation(c, ob);
    }
    return OK;
}

enum err coap_channel_notify(struct coap_channel *c, uint64_t key, const struct coap_answer *answer)
{
    bool is_found = false;
    if (!coap_code_is_response(answer->code)) {
        return ERR_MALFORMED;
    }
    thin_for_each_safe (node, next, &c->observers.list) {
        struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        if (ob->key == key && !ob->is_last) {
            is_found = true;
            TRY(tell(c, ob, answer));
        }
    }
    return is_found ? OK : ERR_NOT_FOUND;
}

void coap_channel_unobserve(struct coap_channel *c, uint64_t key)
{
    thin_for_each_safe (node, next, &c->observers.list) {
        struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        if (ob->key == key) {
            end_observation(c, ob);
        }
    }
}

/* ---- requests ---- */

/* Refused before anybody looks at it. max_age_s 0: none. */
static void refuse(struct coap_channel *c, const struct coap_message *request, uint8_t code,
                   uint32_t max_age_s)
{
    uint8_t bytes[SMALL_OPTIONS_BYTES];
    struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
    struct coap_message m = {.code = code, .token = request->token};
    uint32_t quiet = 0;
    if (coap_options_find_uint(request->options, COAP_OPTION_NO_RESPONSE, &quiet) &&
        coap_is_unwanted(quiet, code)) {
        return;
    }
    if (max_age_s > 0) {
        coap_option_add_uint(&o, COAP_OPTION_MAX_AGE, max_age_s);
    }
    if (coap_option_writer_done(&o, &m.options) != OK || coap_channel_send(c, &m) != OK) {
        coap_channel_lost(c);
    }
}

uint32_t coap_channel_new_id(struct coap_channel *c)
{
    c->next_id = c->next_id == UINT32_MAX ? 1 : c->next_id + 1;
    return c->next_id;
}

static void open_exchange(struct coap_channel *c, const struct coap_message *m, uint64_t now_ms,
                          struct coap_event *ret)
{
    struct exchange *x = mem_zalloc(sizeof(*x));
    if (x == NULL) {
        coap_channel_lost(c);
        return;
    }
    *x = (struct exchange){.at_ms = now_ms,
                           .id = coap_channel_new_id(c),
                           .wish = (uint8_t)coap_wish_of(m),
                           .token_n = (uint8_t)m->token.n};
    struct wr w = wr_into(x->token, sizeof(x->token));
    wr_bytes(&w, m->token);
    assert(wr_ok(&w)); /* decode refused tokens over limits.token_bytes */
    list_append(&c->exchanges, &x->node);
    c->n_exchanges++;
    ret->kind = COAP_EVENT_REQUEST;
    ret->id = x->id;
    ret->observe = (enum coap_observe_wish)x->wish;
    struct coap_observation *ob = coap_observers_find_token(&c->observers, m->token);
    if (x->wish == COAP_OBSERVE_CANCEL && ob != NULL) {
        ret->has_ended = true;
        ret->key = ob->key;
        end_observation(c, ob); /* SPEC: RFC8323 7.4 */
    }
}

static void take_request(struct coap_channel *c, const struct coap_message *m, uint64_t now_ms,
                         struct coap_event *ret)
{
    uint16_t number = 0;
    ret->m = *m;
    if (c->is_client) {
        refuse(c, m, COAP_NOT_IMPLEMENTED, 0);
    } else if (m->code > COAP_IPATCH) {
        c->counters->bad_method++;
        refuse(c, m, COAP_METHOD_NOT_ALLOWED, 0); /* SPEC: RFC7252 5.8 */
    } else if (coap_options_check(m->options, c->limits->understood, &number) != OK) {
        bool is_proxy = number == COAP_OPTION_PROXY_URI || number == COAP_OPTION_PROXY_SCHEME;
        c->counters->bad_option++;
        refuse(c, m, is_proxy ? COAP_PROXYING_NOT_SUPPORTED : COAP_BAD_OPTION, 0);
    } else if (c->limits->is_full) {
        c->counters->unserved++;
        refuse(c, m, COAP_UNAVAILABLE, c->limits->retry_after_s);
    } else {
        open_exchange(c, m, now_ms, ret);
    }
}

/* ---- messages ---- */

static void take_message(struct coap_channel *c, struct slice bytes, uint64_t now_ms,
                         struct coap_event *ret)
{
    struct coap_message m;
    c->counters->bytes_in += bytes.n;
    c->heard_at_ms = now_ms;
    c->pinged_at_ms = 0;
    if (coap_tcp_decode(bytes, c->form, c->limits->token_bytes, &m) != OK) {
        c->counters->malformed++;
        /* SPEC: RFC8323 5.6 */
        coap_channel_fail(c, COAP_CHANNEL_MALFORMED, "a message cannot be read", -1);
    } else if (m.code == COAP_EMPTY) {
        return; /* SPEC: RFC8323 3.4 */
    } else if (c->state == COAP_CHANNEL_CSM_AWAITED && m.code != COAP_CSM) {
        /* SPEC: RFC8323 3.3 */
        coap_channel_fail(c, COAP_CHANNEL_PROTOCOL, "its first message was no CSM", -1);
    } else if (coap_code_is_signal(m.code)) {
        coap_channel_take_signal(c, &m);
    } else if (coap_code_is_request(m.code)) {
        take_request(c, &m, now_ms, ret);
    } else {
        coap_channel_take_response(c, &m, ret);
    }
}

uint32_t coap_channel_message_max(const struct coap_channel *c)
{
    bool is_stranger = c->state == COAP_CHANNEL_CSM_AWAITED;
    return is_stranger && c->message_bytes > COAP_TCP_BASE_BYTES ? COAP_TCP_BASE_BYTES
                                                                 : c->message_bytes;
}

/* The message that *in begins with, or goes on with; empty while it is not whole. */
static struct slice cut(struct coap_channel *c, struct slice *in)
{
    enum { HEAD_BYTES = COAP_TCP_HEAD_MAX };
    size_t n = 0;
    uint8_t bytes[HEAD_BYTES];
    struct slice begun = buf_slice(&c->in);
    if (begun.n > 0) { /* its head may be split: a few bytes more of it tell the length */
        size_t more = begun.n < HEAD_BYTES ? HEAD_BYTES - begun.n : 0;
        struct wr w = wr_into(bytes, sizeof(bytes));
        wr_bytes(&w, slice_head(begun, HEAD_BYTES));
        wr_bytes(&w, slice_head(*in, more));
        begun = wr_slice(&w);
    } else {
        begun = *in;
    }
    enum err err = coap_tcp_size(begun, coap_channel_message_max(c), &n);
    if (err == ERR_AGAIN) {
        n = c->in.n + in->n + 1; /* all there is, and it is not enough */
    } else if (err == ERR_TOO_LARGE) {
        coap_channel_fail(c, COAP_CHANNEL_TOO_LARGE, "a message is over our Max-Message-Size", -1);
        return (struct slice){0};
    } else if (err != OK) {
        c->counters->malformed++;
        coap_channel_fail(c, COAP_CHANNEL_MALFORMED, "a message cannot be read", -1);
        return (struct slice){0};
    }
    if (c->in.n == 0 && in->n >= n) {
        struct slice whole = slice_head(*in, n);
        *in = slice_from(*in, n);
        return whole;
    }
    struct slice piece = slice_head(*in, n - c->in.n);
    if (buf_append(&c->in, piece, c->message_bytes) != OK) {
        coap_channel_lost(c);
        return (struct slice){0};
    }
    *in = slice_from(*in, piece.n);
    c->is_in_used = c->in.n == n;
    return c->is_in_used ? buf_slice(&c->in) : (struct slice){0};
}

void coap_channel_next(struct coap_channel *c, struct slice *in, uint64_t now_ms,
                       struct coap_event *ret)
{
    *ret = (struct coap_event){.kind = COAP_EVENT_NONE, .echo_age_ms = UINT64_MAX};
    if (c->is_in_used) {
        buf_done(&c->in);
        c->is_in_used = false;
    }
    if (!coap_channel_wants_input(c) || in->n == 0) {
        return;
    }
    struct slice message = *in;
    if (c->form == COAP_TCP_FRAMED) {
        *in = (struct slice){0};
    } else {
        message = cut(c, in);
    }
    if (message.n > 0 && message.n <= coap_channel_message_max(c)) {
        take_message(c, message, now_ms, ret);
    } else if (message.n > 0) {
        coap_channel_fail(c, COAP_CHANNEL_TOO_LARGE, "a message is over our Max-Message-Size", -1);
    }
}

bool coap_channel_wants_input(const struct coap_channel *c)
{
    bool is_listening = c->state == COAP_CHANNEL_CSM_AWAITED || c->state == COAP_CHANNEL_OPEN ||
                        (c->is_client && c->state == COAP_CHANNEL_LEAVING);
    return is_listening && !c->pong_waits && c->n_exchanges < c->limits->n_exchanges &&
           waiting(c) < COAP_CHANNEL_OUTPUT_BYTES;
}

/* ---- time ---- */

static void answer_late(struct coap_channel *c, uint64_t now_ms)
{
    list_for_each_safe (node, next, &c->exchanges) {
        struct exchange *x = LIST_ENTRY(node, struct exchange, node);
        if (now_ms < x->at_ms + c->limits->answer_ms) {
            return; /* they are in order of age */
        }
        uint8_t bytes[SMALL_OPTIONS_BYTES];
        struct coap_option_writer o = coap_option_writer_into(bytes, sizeof(bytes));
        struct coap_answer answer = {.code = COAP_UNAVAILABLE};
        coap_option_add_uint(&o, COAP_OPTION_MAX_AGE, c->limits->retry_after_s);
        bool is_last = c->n_exchanges == 1;
        if (coap_option_writer_done(&o, &answer.options) != OK ||
            coap_channel_respond(c, x->id, &answer) != OK) {
            coap_channel_lost(c);
            return;
        }
        if (is_last) {
            return;
        }
    }
}

static uint64_t silence_at(const struct coap_channel *c)
{
    bool is_pinged = c->pinged_at_ms != 0;
    return is_pinged ? c->pinged_at_ms + COAP_CHANNEL_PONG_MS
                     : c->heard_at_ms + COAP_CHANNEL_PING_MS;
}

void coap_channel_tick(struct coap_channel *c, uint64_t now_ms)
{
    if (!coap_channel_is_open(c)) {
        return;
    }
    answer_late(c, now_ms);
    if (!coap_channel_is_open(c) || now_ms < silence_at(c)) {
        return;
    }
    if (c->pinged_at_ms == 0) {
        coap_channel_ping(c, now_ms);
    } else {
        coap_channel_over(c, COAP_CHANNEL_SILENT, "it did not answer a Ping");
    }
}

uint64_t coap_channel_deadline(const struct coap_channel *c)
{
    if (!coap_channel_is_open(c)) {
        return UINT64_MAX;
    }
    uint64_t at_ms = silence_at(c);
    const struct list_node *oldest = list_first(&c->exchanges);
    if (oldest != NULL) {
        uint64_t late =
            LIST_ENTRY(oldest, const struct exchange, node)->at_ms + c->limits->answer_ms;
        at_ms = late < at_ms ? late : at_ms;
    }
    return at_ms;
}

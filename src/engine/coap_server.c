/* The peer's requests: what is refused at once, exchanges, answers, challenges. */
#include <assert.h>

#include "engine/coap_echo.h"
#include "engine/coap_endpoint_private.h"

enum { SMALL_OPTIONS_BYTES = 64 };

static struct slice exchange_token(const struct coap_exchange *x)
{
    return slice_of(x->token, x->token_n);
}

static struct coap_exchange *find_exchange(const struct coap_endpoint *e, uint32_t id)
{
    thin_for_each (node, &e->exchanges) {
        struct coap_exchange *x = LIST_ENTRY(node, struct coap_exchange, node);
        if (x->id == id) {
            return x;
        }
    }
    return NULL;
}

static void remove_exchange(struct coap_endpoint *e, struct coap_exchange *x)
{
    thin_remove(&e->exchanges, &x->node);
    e->n_exchanges--;
    (void)coap_spare_exchange_give(e->spares, x);
}

static bool is_over_budget(const struct coap_endpoint *e, size_t request_n, size_t answer_n,
                           uint64_t now_ms)
{
    return !coap_endpoint_is_proven(e, now_ms) &&
           answer_n > (uint64_t)request_n * e->limits->amplification;
}

/* ---- answers without an exchange: the handler never sees these requests ---- */

bool coap_is_unwanted(uint32_t no_response, uint8_t code)
{
    return (no_response & UINT32_C(1) << (coap_code_class(code) - 1)) != 0;
}

/* max_age_s 0: none. A NON gets a NON; who wants no such answer, an acknowledgement at most. */
static enum err refuse(struct coap_endpoint *e, const struct coap_message *request,
                       size_t datagram_n, uint8_t code, uint32_t max_age_s, uint64_t now_ms)
{
    uint32_t quiet = 0;
    if (coap_options_find_uint(request->options, COAP_OPTION_NO_RESPONSE, &quiet) &&
        coap_is_unwanted(quiet, code)) {
        return request->type == COAP_CON ? coap_send_empty(e, COAP_ACK, request->mid, now_ms) : OK;
    }
    uint8_t options[SMALL_OPTIONS_BYTES], bytes[COAP_MESSAGE_CAP];
    struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
    if (max_age_s > 0) {
        coap_option_add_uint(&o, COAP_OPTION_MAX_AGE, max_age_s);
    }
    bool is_con = request->type == COAP_CON;
    struct coap_message m = {.type = is_con ? COAP_ACK : COAP_NON,
                             .code = code,
                             .mid = is_con ? request->mid : coap_new_mid(e),
                             .token = request->token};
    TRY(coap_option_writer_done(&o, &m.options));
    struct slice answer;
    TRY(coap_encode(e, &m, bytes, &answer));
    if (is_over_budget(e, datagram_n, answer.n, now_ms)) {
        m.options = (struct slice){0};
        TRY(coap_encode(e, &m, bytes, &answer));
    }
    return coap_send(e, answer, now_ms);
}

/* SPEC: RFC7252 5.4.1, 5.10.2: a NON with an option we must not ignore is passed over. */
static enum err refuse_option(struct coap_endpoint *e, const struct coap_message *m,
                              size_t datagram_n, uint16_t number, uint64_t now_ms)
{
    bool is_proxy = number == COAP_OPTION_PROXY_URI || number == COAP_OPTION_PROXY_SCHEME;
    e->counters->bad_option++;
    if (m->type != COAP_CON) {
        return OK;
    }
    return refuse(e, m, datagram_n, is_proxy ? COAP_PROXYING_NOT_SUPPORTED : COAP_BAD_OPTION, 0,
                  now_ms);
}

/* It may come again after Max-Age; a NON is passed over. */
static enum err put_off(struct coap_endpoint *e, const struct coap_message *m, size_t datagram_n,
                        uint8_t code, uint64_t now_ms)
{
    if (m->type != COAP_CON) {
        return OK;
    }
    return refuse(e, m, datagram_n, code, e->limits->retry_after_s, now_ms);
}

/* More at a time than one peer may have. SPEC: RFC8516 3 */
static enum err refuse_overflow(struct coap_endpoint *e, const struct coap_message *m,
                                size_t datagram_n, uint64_t now_ms)
{
    e->counters->overflow++;
    return put_off(e, m, datagram_n, COAP_TOO_MANY_REQUESTS, now_ms);
}

/* The id is a repeated one, and the token is not that of what was answered: no copy, but another
 * request under an id that is taken. What was said of the first is no answer to it, and whether it
 * may run nobody can tell. SPEC: RFC7252 4.4, 4.2 */
static bool is_another(const struct coap_seen *seen, const struct coap_message *m)
{
    bool is_answered = seen->state == COAP_SEEN_ANSWERED || seen->state == COAP_SEEN_KEPT;
    return is_answered && seen->asker != coap_dedup_fold(m->token);
}

enum err coap_server_repeat(struct coap_endpoint *e, const struct coap_message *m,
                            size_t datagram_n, const struct coap_seen *seen, uint64_t now_ms)
{
    if (m->type != COAP_CON) {
        return OK; /* SPEC: RFC7252 4.3 */
    }
    if (is_another(seen, m)) {
        e->counters->malformed++;
        return coap_send_empty(e, COAP_RST, m->mid, now_ms);
    }
    switch ((enum coap_seen_state)seen->state) {
    case COAP_SEEN_OPEN:
    case COAP_SEEN_SILENT:
        return OK;
    case COAP_SEEN_ACKED:
        return coap_send_empty(e, COAP_ACK, m->mid, now_ms);
    case COAP_SEEN_ANSWERED:
        return refuse(e, m, datagram_n, seen->code, 0, now_ms);
    case COAP_SEEN_KEPT: {
        struct slice answer = coap_dedup_kept(&e->dedup, m->mid);
        bool is_too_much = is_over_budget(e, datagram_n, answer.n, now_ms);
        return is_too_much ? OK : coap_send(e, answer, now_ms);
    }
    case COAP_SEEN_LOST:
        return put_off(e, m, datagram_n, COAP_UNAVAILABLE, now_ms);
    }
    return OK;
}

/* ---- a new request ---- */

enum coap_observe_wish coap_wish_of(const struct coap_message *m)
{
    uint32_t value = 0;
    if ((m->code != COAP_GET && m->code != COAP_FETCH) ||
        coap_message_lacks(m, COAP_OPTION_OBSERVE) ||
        !coap_options_find_uint(m->options, COAP_OPTION_OBSERVE, &value)) {
        return COAP_OBSERVE_NONE;
    }
    switch (value) { /* SPEC: RFC7641 2 */
    case 0:
        return COAP_OBSERVE_REGISTER;
    case 1:
        return COAP_OBSERVE_CANCEL;
    default:
        return COAP_OBSERVE_NONE;
    }
}

static void take_echo(struct coap_endpoint *e, const struct coap_message *m, uint64_t now_ms,
                      struct coap_event *ret)
{
    struct slice value;
    uint64_t age_ms = 0;
    if (e->echo_key == NULL || coap_message_lacks(m, COAP_OPTION_ECHO) ||
        !coap_options_find(m->options, COAP_OPTION_ECHO, &value) ||
        !coap_echo_check(e->echo_key, e->peer_tag, value, now_ms, e->limits->echo_ms, &age_ms)) {
        return;
    }
    ret->echo_age_ms = age_ms;
    uint64_t until_ms = now_ms - age_ms + e->limits->echo_ms;
    if (until_ms > e->proven_until_ms) {
        e->proven_until_ms = until_ms;
    }
}

/* A GET that starts nothing may run twice: such requests have half of what is remembered, and a
 * peer that sends more of them is served without. SPEC: RFC7252 4.5 */
static enum err remember_id(struct coap_endpoint *e, const struct coap_message *m, uint64_t now_ms)
{
    bool is_con = m->type == COAP_CON;
    bool may_run_twice = m->code == COAP_GET && coap_wish_of(m) == COAP_OBSERVE_NONE;
    if (may_run_twice && coap_dedup_is_half(&e->dedup, e->limits, now_ms)) {
        return OK;
    }
    return coap_dedup_add(&e->dedup, e->limits, m->mid, is_con ? COAP_SEEN_OPEN : COAP_SEEN_SILENT,
                          is_con ? e->limits->exchange_lifetime_ms : e->limits->non_lifetime_ms,
                          now_ms);
}

static enum err open_exchange(struct coap_endpoint *e, const struct coap_message *m,
                              size_t datagram_n, uint64_t now_ms, struct coap_event *ret)
{
    struct coap_exchange *x = coap_spare_exchange(e->spares);
    if (x == NULL) {
        return ERR_NOMEM;
    }
    bool is_con = m->type == COAP_CON;
    enum err err = remember_id(e, m, now_ms);
    if (err != OK) {
        (void)coap_spare_exchange_give(e->spares, x);
        return err;
    }
    *x = (struct coap_exchange){.at_ms = now_ms,
                                .id = coap_new_id(e),
                                .request_bytes = (uint32_t)datagram_n,
                                .mid = m->mid,
                                .is_con = is_con,
                                .wish = (uint8_t)coap_wish_of(m),
                                .token_n = (uint8_t)m->token.n};
    struct wr w = wr_into(x->token, sizeof(x->token));
    wr_bytes(&w, m->token);
    assert(wr_ok(&w)); /* decode refused tokens over limits.token_bytes */
    thin_append(&e->exchanges, &x->node);
    e->n_exchanges++;

    ret->kind = COAP_EVENT_REQUEST;
    ret->id = x->id;
    ret->observe = (enum coap_observe_wish)x->wish;
    ret->m = *m;
    if (x->wish == COAP_OBSERVE_CANCEL) {
        struct coap_observation *ob = coap_observers_find_token(&e->observers, m->token);
        if (ob != NULL) {
            ret->has_ended = true;
            ret->key = ob->key;
            coap_observation_end(e, ob); /* SPEC: RFC7641 4.1 */
        }
    }
    return OK;
}

enum err coap_server_request(struct coap_endpoint *e, const struct coap_message *m,
                             size_t datagram_n, uint64_t now_ms, struct coap_event *ret)
{
    uint16_t number = 0;
    if (m->code > COAP_IPATCH) {
        e->counters->bad_method++;
        return refuse(e, m, datagram_n, COAP_METHOD_NOT_ALLOWED, 0, now_ms); /* SPEC: RFC7252 5.8 */
    }
    if (coap_options_check(m->options, e->limits->understood, &number) != OK &&
        !e->limits->passes_on) {
        return refuse_option(e, m, datagram_n, number, now_ms);
    }
    if (datagram_n > e->limits->datagram_bytes) {
        return refuse(e, m, datagram_n, COAP_REQUEST_TOO_LARGE, 0, now_ms);
    }
    if (e->limits->is_full) {
        e->counters->unserved++;
        return put_off(e, m, datagram_n, COAP_UNAVAILABLE, now_ms);
    }
    if (e->n_exchanges >= e->limits->n_exchanges) {
        return refuse_overflow(e, m, datagram_n, now_ms);
    }
    enum err err = open_exchange(e, m, datagram_n, now_ms, ret);
    if (err == ERR_LIMIT) {
        return refuse_overflow(e, m, datagram_n, now_ms);
    }
    TRY(err);
    ret->unknown = number;
    take_echo(e, m, now_ms, ret);
    return OK;
}

/* ---- answering ---- */

/* A piggybacked answer is remembered, so that the same request again gets the same answer. */
static void remember(struct coap_endpoint *e, const struct coap_exchange *x,
                     const struct coap_message *m, struct slice answer, uint64_t now_ms)
{
    struct coap_seen *seen = coap_dedup_find(&e->dedup, x->mid, now_ms);
    if (seen == NULL) {
        return;
    }
    seen->asker = coap_dedup_fold(exchange_token(x)) & (unsigned)COAP_SEEN_ASKERS;
    if (m->options.n == 0 && m->payload.n == 0) {
        seen->state = COAP_SEEN_ANSWERED;
        seen->code = m->code;
    } else {
        coap_dedup_keep(&e->dedup, e->limits, seen, answer);
    }
}

static void end_observation_of(struct coap_endpoint *e, const struct coap_exchange *x)
{
    struct coap_observation *ob = coap_observers_find_token(&e->observers, exchange_token(x));
    if (x->is_observing && ob != NULL) {
        coap_observation_end(e, ob);
    }
}

/* Sends m, encoded as answer, the way the exchange asks for, and ends the exchange. */
static enum err finish(struct coap_endpoint *e, struct coap_exchange *x,
                       const struct coap_message *m, struct slice answer, bool keeps_observing,
                       uint64_t now_ms)
{
    bool is_piggybacked = x->is_con && !x->is_acked;
    enum err err = OK;
    if (x->is_con && !is_piggybacked) {
        err = coap_transmit(e, answer, m->mid, COAP_ABOUT_ANSWER, x->id, NULL, now_ms);
    } else {
        err = coap_send(e, answer, now_ms);
    }
    if (err != OK && err != ERR_LIMIT) {
        return err;
    }
    if (is_piggybacked) {
        remember(e, x, m, answer, now_ms);
    }
    if (err == ERR_LIMIT) {
        struct coap_seen *seen = coap_dedup_find(&e->dedup, x->mid, now_ms);
        if (seen != NULL) {
            seen->state = COAP_SEEN_LOST;
        }
    }
    if (!keeps_observing || err != OK) {
        end_observation_of(e, x);
    }
    remove_exchange(e, x);
    return err;
}

static struct coap_message answer_head(struct coap_endpoint *e, const struct coap_exchange *x,
                                       uint8_t code)
{
    bool is_piggybacked = x->is_con && !x->is_acked;
    enum coap_type own_type = x->is_con ? COAP_CON : COAP_NON; /* SPEC: RFC7252 5.2.2, 5.2.3 */
    return (struct coap_message){.type = is_piggybacked ? COAP_ACK : own_type,
                                 .code = code,
                                 .mid = is_piggybacked ? x->mid : coap_new_mid(e),
                                 .token = exchange_token(x)};
}

static enum err challenge(struct coap_endpoint *e, struct coap_exchange *x, uint64_t now_ms)
{
    uint8_t options[SMALL_OPTIONS_BYTES], bytes[COAP_MESSAGE_CAP], value[COAP_ECHO_BYTES];
    struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
    if (e->echo_key != NULL) {
        coap_echo_make(e->echo_key, e->peer_tag, now_ms, value);
        coap_option_add(&o, COAP_OPTION_ECHO, slice_of(value, sizeof(value)));
    }
    struct coap_message m = answer_head(e, x, COAP_UNAUTHORIZED);
    TRY(coap_option_writer_done(&o, &m.options));
    struct slice answer;
    TRY(coap_encode(e, &m, bytes, &answer));
    if (is_over_budget(e, x->request_bytes, answer.n, now_ms)) {
        m.options = (struct slice){0};
        TRY(coap_encode(e, &m, bytes, &answer));
    }
    TRY(finish(e, x, &m, answer, false, now_ms));
    e->counters->challenged++;
    return OK;
}

/* m with Observe among its options, encoded into dst of COAP_MESSAGE_CAP bytes. */
static enum err encode_observed(struct coap_endpoint *e, struct coap_message m, uint8_t *dst,
                                struct slice *ret)
{
    uint8_t options[COAP_MESSAGE_CAP];
    struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
    coap_add_observe(&o, m.options, coap_observers_sequence(&e->observers));
    enum err err = coap_option_writer_done(&o, &m.options);
    if (err != OK) {
        return err == ERR_SPACE ? ERR_TOO_LARGE : err;
    }
    return coap_encode(e, &m, dst, ret);
}

enum err coap_endpoint_respond(struct coap_endpoint *e, uint32_t exchange,
                               const struct coap_answer *answer, uint64_t now_ms)
{
    struct coap_exchange *x = find_exchange(e, exchange);
    if (x == NULL) {
        return ERR_NOT_FOUND;
    }
    if (!coap_code_is_response(answer->code)) {
        return ERR_MALFORMED;
    }
    bool keeps_observing = x->is_observing && coap_code_is_success(answer->code);
    uint8_t bytes[COAP_MESSAGE_CAP];
    struct coap_message m = answer_head(e, x, answer->code);
    m.options = answer->options;
    m.payload = answer->payload;
    struct slice encoded;
    TRY(keeps_observing ? encode_observed(e, m, bytes, &encoded)
                        : coap_encode(e, &m, bytes, &encoded));
    if (is_over_budget(e, x->request_bytes, encoded.n, now_ms)) {
        return challenge(e, x, now_ms); /* SPEC: RFC9175 2.4 */
    }
    return finish(e, x, &m, encoded, keeps_observing, now_ms);
}

enum err coap_endpoint_challenge(struct coap_endpoint *e, uint32_t exchange, uint64_t now_ms)
{
    struct coap_exchange *x = find_exchange(e, exchange);
    return x != NULL ? challenge(e, x, now_ms) : ERR_NOT_FOUND;
}

static enum err acknowledge(struct coap_endpoint *e, struct coap_exchange *x, uint64_t now_ms)
{
    TRY(coap_send_empty(e, COAP_ACK, x->mid, now_ms));
    struct coap_seen *seen = coap_dedup_find(&e->dedup, x->mid, now_ms);
    if (seen != NULL) {
        seen->state = COAP_SEEN_ACKED;
    }
    x->is_acked = true;
    return OK;
}

enum err coap_endpoint_drop(struct coap_endpoint *e, uint32_t exchange, uint64_t now_ms)
{
    struct coap_exchange *x = find_exchange(e, exchange);
    if (x == NULL) {
        return ERR_NOT_FOUND;
    }
    if (x->is_con && !x->is_acked) {
        TRY(acknowledge(e, x, now_ms));
    }
    end_observation_of(e, x);
    remove_exchange(e, x);
    return OK;
}

enum err coap_endpoint_observe(struct coap_endpoint *e, uint32_t exchange, uint64_t key,
                               uint64_t now_ms)
{
    struct coap_exchange *x = find_exchange(e, exchange);
    if (x == NULL) {
        return ERR_NOT_FOUND;
    }
    if (x->wish != COAP_OBSERVE_REGISTER) {
        return ERR_PROTOCOL;
    }
    if (!coap_endpoint_is_proven(e, now_ms)) {
        return ERR_DENIED; /* a stranger's address could be flooded with notifications */
    }
    struct coap_observation *old = coap_observers_find_token(&e->observers, exchange_token(x));
    if (old != NULL) {
        coap_transmissions_of_observation_remove(e, old);
        old->in_flight = false;
    }
    struct coap_observation *ob = NULL;
    TRY(coap_observers_add(&e->observers, e->limits, exchange_token(x), key, now_ms, &ob));
    x->is_observing = true;
    return OK;
}

/* ---- time ---- */

static uint64_t exchange_deadline(const struct coap_endpoint *e, const struct coap_exchange *x)
{
    bool is_acknowledged = !x->is_con || x->is_acked;
    return x->at_ms + (is_acknowledged ? e->limits->answer_ms : e->limits->processing_ms);
}

/* SPEC: RFC7252 5.2.2. A stranger gets no separate answer, whose repetitions would multiply. */
static enum err tick_exchange(struct coap_endpoint *e, struct coap_exchange *x, uint64_t now_ms)
{
    if (x->is_con && !x->is_acked) {
        return coap_endpoint_is_proven(e, now_ms) ? acknowledge(e, x, now_ms)
                                                  : challenge(e, x, now_ms);
    }
    uint8_t options[SMALL_OPTIONS_BYTES];
    struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
    coap_option_add_uint(&o, COAP_OPTION_MAX_AGE, e->limits->retry_after_s);
    struct coap_answer answer = {.code = COAP_UNAVAILABLE};
    TRY(coap_option_writer_done(&o, &answer.options));
    enum err err = coap_endpoint_respond(e, x->id, &answer, now_ms);
    return err == ERR_LIMIT ? OK : err;
}

enum err coap_server_tick(struct coap_endpoint *e, uint64_t now_ms)
{
    thin_for_each_safe (node, next, &e->exchanges) {
        struct coap_exchange *x = LIST_ENTRY(node, struct coap_exchange, node);
        if (now_ms >= exchange_deadline(e, x)) {
            TRY(tick_exchange(e, x, now_ms));
        }
    }
    return OK;
}

uint64_t coap_server_deadline(const struct coap_endpoint *e)
{
    uint64_t earliest = UINT64_MAX;
    thin_for_each (node, &e->exchanges) {
        const struct coap_exchange *x = LIST_ENTRY(node, struct coap_exchange, node);
        uint64_t at_ms = exchange_deadline(e, x);
        earliest = at_ms < earliest ? at_ms : earliest;
    }
    return earliest;
}

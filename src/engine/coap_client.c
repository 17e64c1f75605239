/* Our own requests and observations, and the responses to them. */
#include "base/mem.h"
#include "engine/coap_endpoint_private.h"

static struct slice pending_token(const struct coap_pending *p)
{
    return slice_of(p->token, sizeof(p->token));
}

struct coap_pending *coap_pending_find(const struct coap_endpoint *e, uint32_t id)
{
    thin_for_each (node, &e->pending) {
        struct coap_pending *p = LIST_ENTRY(node, struct coap_pending, node);
        if (p->id == id) {
            return p;
        }
    }
    return NULL;
}

static struct coap_pending *find_token(const struct coap_endpoint *e, struct slice token)
{
    thin_for_each (node, &e->pending) {
        struct coap_pending *p = LIST_ENTRY(node, struct coap_pending, node);
        if (slice_equal(token, pending_token(p))) {
            return p;
        }
    }
    return NULL;
}

void coap_pending_remove(struct coap_endpoint *e, struct coap_pending *p)
{
    thin_remove(&e->pending, &p->node);
    e->n_pending--;
    (void)mem_free(p);
}

static enum err start(struct coap_endpoint *e, struct coap_pending *p,
                      const struct coap_request *request, uint64_t now_ms)
{
    uint8_t bytes[COAP_MESSAGE_CAP];
    struct slice encoded;
    struct coap_message m = {.type = request->confirmable ? COAP_CON : COAP_NON,
                             .code = request->code,
                             .mid = p->mid,
                             .token = pending_token(p),
                             .options = request->options,
                             .payload = request->payload};
    TRY(coap_encode(e, &m, bytes, &encoded));
    if (request->confirmable) {
        return coap_transmit(e, encoded, p->mid, COAP_ABOUT_REQUEST, p->id, NULL, now_ms);
    }
    return coap_send(e, encoded, now_ms);
}

enum err coap_endpoint_request(struct coap_endpoint *e, const struct coap_request *request,
                               uint64_t now_ms, uint32_t *ret_id)
{
    if (!coap_code_is_request(request->code)) {
        return ERR_MALFORMED;
    }
    if (e->n_pending >= e->limits->n_requests) {
        return ERR_LIMIT;
    }
    struct coap_pending *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return ERR_NOMEM;
    }
    uint32_t observe = 1;
    bool has_observe =
        coap_options_find_uint(request->options, COAP_OPTION_OBSERVE, &observe) && observe == 0;
    p->id = coap_new_id(e);
    p->mid = coap_new_mid(e);
    p->is_observing = has_observe;
    p->deadline_ms = request->confirmable ? UINT64_MAX : now_ms + e->limits->response_ms;
    /* Never used twice under one seed, and not to be guessed. SPEC: RFC7252 5.3.1, RFC9175 4 */
    struct wr w = wr_into(p->token, sizeof(p->token));
    wr_u64(&w, coap_draw(e));
    enum err err = start(e, p, request, now_ms);
    if (err != OK) {
        (void)mem_free(p);
        return err;
    }
    thin_append(&e->pending, &p->node);
    e->n_pending++;
    *ret_id = p->id;
    return OK;
}

void coap_endpoint_forget(struct coap_endpoint *e, uint32_t id)
{
    struct coap_pending *p = coap_pending_find(e, id);
    if (p != NULL) {
        coap_transmissions_of_request_remove(e, id);
        coap_pending_remove(e, p);
    }
}

enum err coap_endpoint_ping(struct coap_endpoint *e, uint64_t now_ms)
{
    return coap_send_empty(e, COAP_CON, coap_new_mid(e), now_ms);
}

/* Gives the response to the caller, unless a newer notification was given before. */
static void deliver(struct coap_endpoint *e, struct coap_pending *p, const struct coap_message *m,
                    uint64_t now_ms, struct coap_event *ret)
{
    uint32_t sequence = 0;
    bool is_notification = p->is_observing && coap_code_is_success(m->code) &&
                           coap_options_find_uint(m->options, COAP_OPTION_OBSERVE, &sequence);
    /* A response says as much as the acknowledgement that may have been lost. SPEC: RFC7252 5.2.2
     */
    coap_transmissions_of_request_remove(e, p->id);
    p->deadline_ms = UINT64_MAX;
    if (is_notification && !coap_order_is_newer(&p->order, sequence, now_ms)) {
        return;
    }
    ret->kind = COAP_EVENT_RESPONSE;
    ret->about = COAP_ABOUT_REQUEST;
    ret->id = p->id;
    ret->is_notification = is_notification;
    ret->m = *m;
    if (!is_notification) {
        coap_pending_remove(e, p);
    }
}

static void end_with(struct coap_endpoint *e, struct coap_pending *p, enum coap_event_kind kind,
                     struct coap_event *ret)
{
    ret->kind = kind;
    ret->about = COAP_ABOUT_REQUEST;
    ret->id = p->id;
    coap_transmissions_of_request_remove(e, p->id);
    coap_pending_remove(e, p);
}

enum err coap_client_piggybacked(struct coap_endpoint *e, const struct coap_message *m,
                                 struct coap_transmission *t, uint64_t now_ms,
                                 struct coap_event *ret)
{
    struct coap_pending *p = coap_pending_find(e, t->id);
    uint16_t number = 0;
    if (t->about != COAP_ABOUT_REQUEST || p == NULL || !slice_equal(m->token, pending_token(p))) {
        e->counters->malformed++; /* SPEC: RFC7252 5.3.2: message id and token must both match */
        return OK;
    }
    if (!e->limits->passes_back &&
        coap_options_check(m->options, e->limits->understood, &number) != OK) {
        e->counters->bad_option++;
        end_with(e, p, COAP_EVENT_RESET, ret); /* SPEC: RFC7252 5.4.1 */
        return OK;
    }
    deliver(e, p, m, now_ms, ret);
    return OK;
}

/* What nobody here asked for, or cannot be understood: a Reset, which also ends an observation we
 * have forgotten. SPEC: RFC7252 4.2, 4.3; RFC7641 3.6 */
static enum err reject(struct coap_endpoint *e, const struct coap_message *m, uint64_t now_ms)
{
    uint32_t sequence = 0;
    bool is_notification = coap_options_find_uint(m->options, COAP_OPTION_OBSERVE, &sequence);
    if (m->type == COAP_CON || is_notification) {
        return coap_send_empty(e, COAP_RST, m->mid, now_ms);
    }
    return OK;
}

enum err coap_client_response(struct coap_endpoint *e, const struct coap_message *m,
                              uint64_t now_ms, struct coap_event *ret)
{
    struct coap_pending *p = find_token(e, m->token);
    uint16_t number = 0;
    if (p == NULL) {
        return reject(e, m, now_ms);
    }
    if (!e->limits->passes_back &&
        coap_options_check(m->options, e->limits->understood, &number) != OK) {
        e->counters->bad_option++;
        return reject(e, m, now_ms);
    }
    bool is_con = m->type == COAP_CON;
    uint32_t lifetime_ms = is_con ? e->limits->exchange_lifetime_ms : e->limits->non_lifetime_ms;
    if (is_con) {
        TRY(coap_send_empty(e, COAP_ACK, m->mid, now_ms));
    }
    enum err err = coap_dedup_add(&e->dedup, e->limits, m->mid,
                                  is_con ? COAP_SEEN_ACKED : COAP_SEEN_SILENT, lifetime_ms, now_ms);
    if (err != OK) {
        /* Without a place to remember it in, a repeated final response finds no request any more
         * and a repeated notification is not newer: nothing is given twice. */
        e->counters->overflow++;
    }
    deliver(e, p, m, now_ms, ret);
    return OK;
}

bool coap_client_reset(struct coap_endpoint *e, uint16_t mid, struct coap_event *ret)
{
    thin_for_each (node, &e->pending) {
        struct coap_pending *p = LIST_ENTRY(node, struct coap_pending, node);
        if (p->mid == mid) {
            end_with(e, p, COAP_EVENT_RESET, ret);
            return true;
        }
    }
    return false;
}

bool coap_client_tick(struct coap_endpoint *e, uint64_t now_ms, struct coap_event *ret)
{
    thin_for_each (node, &e->pending) {
        struct coap_pending *p = LIST_ENTRY(node, struct coap_pending, node);
        if (now_ms >= p->deadline_ms) {
            e->counters->given_up++;
            end_with(e, p, COAP_EVENT_GIVE_UP, ret);
            return true;
        }
    }
    return false;
}

uint64_t coap_client_deadline(const struct coap_endpoint *e)
{
    uint64_t earliest = UINT64_MAX;
    thin_for_each (node, &e->pending) {
        const struct coap_pending *p = LIST_ENTRY(node, struct coap_pending, node);
        earliest = p->deadline_ms < earliest ? p->deadline_ms : earliest;
    }
    return earliest;
}

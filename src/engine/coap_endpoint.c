/* The message layer: what a datagram is, what it is about, and what time demands. */
#include "engine/coap_endpoint.h"

#include <assert.h>

#include "base/mem.h"
#include "engine/coap_endpoint_private.h"

struct coap_limits coap_limits_default(void)
{
    return (struct coap_limits){
        .ack_timeout_ms = 2000,
        .ack_random_permille = 1500,
        .max_retransmit = 4,
        .exchange_lifetime_ms = 247000,
        .non_lifetime_ms = 145000,
        .processing_ms = 500,
        .answer_ms = 60000,
        .response_ms = 93000,
        .retry_after_s = 10,
        .echo_ms = 60000,
        .amplification = 3,
        .notification_con_ms = 24 * 3600 * 1000,
        .notification_every_ms = 100,
        .notification_burst = 16,
        .notification_con_nth = 8,
        .datagram_bytes = COAP_MESSAGE_BYTES,
        .token_bytes = COAP_TOKEN_BYTES,
        .n_exchanges = 16,
        .n_requests = 16,
        .n_observations = 16,
        .n_transmissions = 32,
        .dedup_entries = 8192,
        .dedup_bytes = 8192,
        .output_bytes = 32768,
        .understood = COAP_OPTIONS_SERVED,
    };
}

enum err coap_endpoint_new(const struct coap_endpoint_setup *setup, uint64_t now_ms,
                           struct coap_endpoint **ret)
{
    assert(setup->limits->datagram_bytes <= COAP_MESSAGE_CAP);
    assert(setup->limits->token_bytes <= COAP_ENDPOINT_TOKEN_MAX);
    assert(setup->limits->ack_random_permille >= 1000);
    assert(setup->proven || setup->echo_key != NULL);
    (void)now_ms;
    struct coap_endpoint *e = mem_zalloc(sizeof(*e));
    if (e == NULL) {
        return ERR_NOMEM;
    }
    e->limits = setup->limits;
    e->counters = setup->counters;
    e->spares = setup->spares;
    e->echo_key = setup->echo_key;
    e->peer_tag = setup->echo_key != NULL ? siphash(setup->echo_key, setup->peer) : 0;
    e->seed = setup->seed;
    e->out_max = setup->out_max > 0 && setup->out_max < setup->limits->datagram_bytes
                     ? setup->out_max
                     : setup->limits->datagram_bytes;
    e->proven_until_ms = setup->proven ? UINT64_MAX : 0;
    e->next_mid = (uint16_t)coap_draw(e);
    e->next_id = 1;
    coap_observers_init(&e->observers);
    coap_dedup_init(&e->dedup);
    *ret = e;
    return OK;
}

struct coap_endpoint *coap_endpoint_free(struct coap_endpoint *e)
{
    if (e == NULL) {
        return NULL;
    }
    thin_for_each_safe (node, next, &e->exchanges) {
        (void)mem_free(LIST_ENTRY(node, struct coap_exchange, node));
    }
    thin_for_each_safe (node, next, &e->pending) {
        coap_pending_remove(e, LIST_ENTRY(node, struct coap_pending, node));
    }
    thin_for_each_safe (node, next, &e->transmissions) {
        coap_transmission_remove(e, LIST_ENTRY(node, struct coap_transmission, node));
    }
    coap_observers_done(&e->observers);
    coap_dedup_done(&e->dedup);
    buf_done(&e->out);
    return mem_free(e);
}

void coap_endpoint_prove(struct coap_endpoint *e, uint64_t until_ms)
{
    e->proven_until_ms = until_ms;
}

bool coap_endpoint_is_proven(const struct coap_endpoint *e, uint64_t now_ms)
{
    return now_ms <= e->proven_until_ms && e->proven_until_ms > 0;
}

bool coap_endpoint_is_idle(const struct coap_endpoint *e)
{
    return e->n_exchanges == 0 && e->n_pending == 0 && e->n_transmissions == 0 &&
           e->observers.n == 0 && e->dedup.all == NULL && e->out.n == e->out_at;
}

size_t coap_endpoint_bytes(const struct coap_endpoint *e)
{
    size_t n = coap_dedup_bytes(&e->dedup) + e->out.cap;
    n += e->n_exchanges * sizeof(struct coap_exchange) + e->n_pending * sizeof(struct coap_pending);
    thin_for_each (node, &e->transmissions) {
        const struct coap_transmission *t = LIST_ENTRY(node, struct coap_transmission, node);
        n += sizeof(*t) + t->bytes.cap;
    }
    thin_for_each (node, &e->observers.list) {
        const struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        n += sizeof(*ob) + ob->state_n;
    }
    return n;
}

size_t coap_endpoint_shed(struct coap_endpoint *e)
{
    return coap_dedup_shed(&e->dedup);
}

/* Something of ours that the peer refused or never acknowledged. Ends t. */
static void end_transmission(struct coap_endpoint *e, struct coap_transmission *t,
                             enum coap_event_kind kind, struct coap_event *ret)
{
    ret->kind = kind;
    ret->about = (enum coap_about)t->about;
    ret->id = t->id;
    struct coap_observation *ob = t->ob;
    coap_transmission_remove(e, t);
    switch (ret->about) {
    case COAP_ABOUT_ANSWER:
        return;
    case COAP_ABOUT_OBSERVATION:
        ret->key = ob->key;
        coap_observation_end(e, ob); /* SPEC: RFC7641 4.5 */
        return;
    case COAP_ABOUT_REQUEST:
        coap_endpoint_forget(e, ret->id);
        return;
    }
}

/* SPEC: RFC7252 4.2, 4.3; RFC7641 3.6: known by its message id alone, so only ids that are in
 * flight or were sent lately count. */
static void take_reset(struct coap_endpoint *e, uint16_t mid, struct coap_event *ret)
{
    struct coap_transmission *t = coap_transmission_find(e, mid);
    struct coap_observation *ob = NULL;
    if (t != NULL) {
        end_transmission(e, t, COAP_EVENT_RESET, ret);
    } else if ((ob = coap_observers_find_mid(&e->observers, mid)) != NULL) {
        ret->kind = COAP_EVENT_RESET;
        ret->about = COAP_ABOUT_OBSERVATION;
        ret->key = ob->key;
        coap_observation_end(e, ob);
    } else if (!coap_client_reset(e, mid, ret)) {
        return; /* SPEC: RFC7252 4.2: of nothing we sent; silence */
    }
    e->counters->resets++;
}

static enum err take_ack(struct coap_endpoint *e, const struct coap_message *m, uint64_t now_ms,
                         struct coap_event *ret)
{
    struct coap_transmission *t = coap_transmission_find(e, m->mid);
    if (t == NULL) {
        return OK;
    }
    if (m->code != COAP_EMPTY) {
        return coap_client_piggybacked(e, m, t, now_ms, ret);
    }
    enum coap_about about = (enum coap_about)t->about;
    uint32_t id = t->id;
    struct coap_observation *ob = t->ob;
    coap_transmission_remove(e, t);
    if (about == COAP_ABOUT_OBSERVATION) {
        return coap_observation_acked(e, ob, now_ms);
    }
    struct coap_pending *p = about == COAP_ABOUT_REQUEST ? coap_pending_find(e, id) : NULL;
    if (p != NULL) {
        p->deadline_ms = now_ms + e->limits->response_ms;
    }
    return OK;
}

/* A CON or NON that is neither malformed nor empty. */
static enum err take_message(struct coap_endpoint *e, const struct coap_message *m,
                             size_t datagram_n, uint64_t now_ms, struct coap_event *ret)
{
    const struct coap_seen *seen = coap_dedup_find(&e->dedup, m->mid, now_ms);
    if (seen != NULL) {
        e->counters->duplicates++;
        return coap_server_repeat(e, m, datagram_n, seen, now_ms);
    }
    return coap_code_is_request(m->code) ? coap_server_request(e, m, datagram_n, now_ms, ret)
                                         : coap_client_response(e, m, now_ms, ret);
}

/* A format error: rejected when somebody waits for an answer. SPEC: RFC7252 4.2, 4.3 */
static enum err take_malformed(struct coap_endpoint *e, struct slice datagram, uint64_t now_ms)
{
    struct coap_message header;
    e->counters->malformed++;
    if (coap_header_peek(datagram, &header) != OK || header.type != COAP_CON) {
        return OK;
    }
    return coap_send_empty(e, COAP_RST, header.mid, now_ms);
}

static enum err take_datagram(struct coap_endpoint *e, struct slice datagram, uint64_t now_ms,
                              struct coap_event *ret)
{
    struct coap_message m;
    if (coap_message_decode(datagram, e->limits->token_bytes, &m) != OK) {
        return take_malformed(e, datagram, now_ms);
    }
    switch (m.type) {
    case COAP_CON:
        if (m.code == COAP_EMPTY) {
            return coap_send_empty(e, COAP_RST, m.mid, now_ms); /* SPEC: RFC7252 4.3, a ping */
        }
        return take_message(e, &m, datagram.n, now_ms, ret);
    case COAP_NON:
        if (m.code == COAP_EMPTY) {
            e->counters->malformed++;
            return OK;
        }
        return take_message(e, &m, datagram.n, now_ms, ret);
    case COAP_ACK:
        if (coap_code_is_request(m.code)) {
            e->counters->malformed++;
            return OK;
        }
        return take_ack(e, &m, now_ms, ret);
    case COAP_RST:
        if (m.code != COAP_EMPTY) {
            e->counters->malformed++;
            return OK;
        }
        take_reset(e, m.mid, ret);
        return OK;
    }
    return OK;
}

static const struct coap_event no_event = {.kind = COAP_EVENT_NONE, .echo_age_ms = UINT64_MAX};

enum err coap_endpoint_datagram(struct coap_endpoint *e, struct slice datagram, uint64_t now_ms,
                                struct coap_event *ret)
{
    *ret = no_event;
    e->counters->bytes_in += datagram.n;
    if (!coap_endpoint_is_proven(e, now_ms)) {
        e->counters->unproven_bytes_in += datagram.n;
    }
    TRY(take_datagram(e, datagram, now_ms, ret));
    /* An event must not be lost to a lack of memory for the next CON: the tick tries again. */
    enum err err = coap_transmissions_start(e, now_ms);
    return ret->kind != COAP_EVENT_NONE ? OK : err;
}

enum err coap_endpoint_tick(struct coap_endpoint *e, uint64_t now_ms, struct coap_event *ret)
{
    *ret = no_event;
    struct coap_transmission *lost = NULL;
    TRY(coap_transmissions_tick(e, now_ms, &lost));
    if (lost != NULL) {
        e->counters->given_up++;
        end_transmission(e, lost, COAP_EVENT_GIVE_UP, ret);
        return OK;
    }
    if (coap_client_tick(e, now_ms, ret)) {
        return OK;
    }
    TRY(coap_server_tick(e, now_ms));
    TRY(coap_notify_tick(e, now_ms));
    if (now_ms >= coap_dedup_deadline(&e->dedup)) {
        coap_dedup_sweep(&e->dedup, now_ms);
    }
    return OK;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t coap_endpoint_deadline(const struct coap_endpoint *e)
{
    uint64_t at_ms = coap_dedup_deadline(&e->dedup);
    const struct list_node *node = thin_first(&e->transmissions);
    if (node != NULL) {
        const struct coap_transmission *t = LIST_ENTRY(node, struct coap_transmission, node);
        at_ms = earlier(at_ms, t->n_sent > 0 ? t->due_at_ms : 0);
    }
    at_ms = earlier(at_ms, coap_server_deadline(e));
    at_ms = earlier(at_ms, coap_notify_deadline(e));
    return earlier(at_ms, coap_client_deadline(e));
}

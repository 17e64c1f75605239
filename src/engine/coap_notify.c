/* Notifications: the latest state of what the peer observes, in its order and at its pace. */
#include "base/mem.h"
#include "engine/coap_endpoint_private.h"

void coap_observation_end(struct coap_endpoint *e, struct coap_observation *ob)
{
    coap_transmissions_of_observation_remove(e, ob);
    coap_observers_remove(&e->observers, ob);
}

void coap_add_observe(struct coap_option_writer *o, struct slice options, uint32_t sequence)
{
    uint8_t value[3] = {0};
    struct wr w = wr_into(value, sizeof(value));
    wr_be(&w, sequence, sizeof(value));
    size_t zeros = 0;
    while (zeros < sizeof(value) && value[zeros] == 0) {
        zeros++;
    }
    coap_option_add_merged(o, options, COAP_OPTION_OBSERVE, slice_from(wr_slice(&w), zeros));
}

/* The state to tell waits, as a message whose type and message id are filled in when it leaves. */
static enum err encode_state(struct coap_endpoint *e, struct coap_observation *ob,
                             const struct coap_answer *answer)
{
    uint8_t options[COAP_MESSAGE_CAP], bytes[COAP_MESSAGE_CAP];
    struct coap_message m = {.type = COAP_NON,
                             .code = answer->code,
                             .token = slice_of(ob->token, ob->token_n),
                             .options = answer->options,
                             .payload = answer->payload};
    if (coap_code_is_success(answer->code)) {
        struct coap_option_writer o = coap_option_writer_into(options, sizeof(options));
        coap_add_observe(&o, answer->options, coap_observers_sequence(&e->observers));
        enum err err = coap_option_writer_done(&o, &m.options);
        if (err != OK) {
            return err == ERR_SPACE ? ERR_TOO_LARGE : err;
        }
    }
    struct slice encoded;
    TRY(coap_encode(e, &m, bytes, &encoded));
    AUTO(buf_done) struct buf copy = {0};
    TRY(buf_append(&copy, encoded, encoded.n));
    coap_observation_hold(ob, &copy);
    return OK;
}

/* Sends the pending state when nothing of this observation is in flight and the rate allows. Ends
 * an observation whose last word has gone. */
static enum err flush(struct coap_endpoint *e, struct coap_observation *ob, uint64_t now_ms)
{
    if (ob->in_flight || ob->state_n == 0 || now_ms < coap_observation_ready_at(ob, e->limits)) {
        return OK;
    }
    /* A lapsed proof is renewed by acknowledgements: strangers get nothing unasked. */
    bool is_con = ob->is_last || !coap_endpoint_is_proven(e, now_ms) ||
                  coap_observation_wants_con(ob, e->limits, now_ms);
    uint16_t mid = coap_new_mid(e);
    coap_patch_header(coap_observation_state(ob), ob->state, is_con ? COAP_CON : COAP_NON, mid);
    if (is_con) {
        enum err err = coap_transmit(e, coap_observation_state(ob), mid, COAP_ABOUT_OBSERVATION, 0,
                                     ob, now_ms);
        if (err == ERR_LIMIT) {
            return OK; /* stays pending until the others are acknowledged */
        }
        TRY(err);
        ob->in_flight = true;
    } else {
        TRY(coap_send(e, coap_observation_state(ob), now_ms));
    }
    coap_observation_sent(ob, e->limits, mid, is_con, now_ms);
    e->counters->notified++;
    struct buf gone = coap_observation_give(ob);
    buf_done(&gone);
    return OK;
}

enum err coap_observation_acked(struct coap_endpoint *e, struct coap_observation *ob,
                                uint64_t now_ms)
{
    ob->in_flight = false;
    if (ob->is_last && ob->state_n == 0) {
        coap_observation_end(e, ob);
        return OK;
    }
    return flush(e, ob, now_ms);
}

enum err coap_endpoint_notify(struct coap_endpoint *e, uint64_t key,
                              const struct coap_answer *answer, uint64_t now_ms)
{
    if (!coap_code_is_response(answer->code)) {
        return ERR_MALFORMED;
    }
    bool is_found = false;
    thin_for_each_safe (node, next, &e->observers.list) {
        struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        if (ob->key != key || ob->is_last) {
            continue;
        }
        is_found = true;
        TRY(encode_state(e, ob, answer));
        ob->is_last = !coap_code_is_success(answer->code); /* SPEC: RFC7641 3.2 */
        TRY(flush(e, ob, now_ms));
    }
    return is_found ? OK : ERR_NOT_FOUND;
}

bool coap_endpoint_is_unacked(const struct coap_endpoint *e, uint64_t key)
{
    thin_for_each (node, &e->observers.list) {
        const struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        if (ob->key == key && ob->in_flight) {
            return true;
        }
    }
    return false;
}

void coap_endpoint_unobserve(struct coap_endpoint *e, uint64_t key)
{
    thin_for_each_safe (node, next, &e->observers.list) {
        struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        if (ob->key == key) {
            coap_observation_end(e, ob);
        }
    }
}

enum err coap_notify_tick(struct coap_endpoint *e, uint64_t now_ms)
{
    thin_for_each_safe (node, next, &e->observers.list) {
        TRY(flush(e, LIST_ENTRY(node, struct coap_observation, node), now_ms));
    }
    return OK;
}

uint64_t coap_notify_deadline(const struct coap_endpoint *e)
{
    uint64_t earliest = UINT64_MAX;
    bool is_full = e->n_transmissions >= e->limits->n_transmissions;
    thin_for_each (node, &e->observers.list) {
        const struct coap_observation *ob = LIST_ENTRY(node, struct coap_observation, node);
        uint64_t at_ms = coap_observation_ready_at(ob, e->limits);
        /* With all transmissions taken, the end of one of them is what is waited for. */
        if (ob->state_n > 0 && !ob->in_flight && !is_full && at_ms < earliest) {
            earliest = at_ms;
        }
    }
    return earliest;
}

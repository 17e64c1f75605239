/* Our own requests to the peer of a channel, and the answers to them. */
#include "base/mem.h"
#include "engine/coap_channel_private.h"

/* A request of ours that has no answer yet. */
struct question {
    struct list_node node;
    uint32_t id; /* and its token, in four bytes */
};

static void remove_question(struct coap_channel *c, struct question *q)
{
    list_unlink(&q->node);
    c->n_questions--;
    mem_free(q);
}

void coap_channel_forget_all(struct coap_channel *c)
{
    list_for_each_safe (node, next, &c->questions) {
        remove_question(c, LIST_ENTRY(node, struct question, node));
    }
}

size_t coap_channel_question_bytes(const struct coap_channel *c)
{
    return c->n_questions * sizeof(struct question);
}

enum err coap_channel_request(struct coap_channel *c, const struct coap_request *request,
                              uint32_t *ret_id)
{
    if (!coap_code_is_request(request->code)) {
        return ERR_MALFORMED;
    }
    if (c->state != COAP_CHANNEL_OPEN) {
        return ERR_CLOSED; /* SPEC: RFC8323 5.5: who leaves is asked nothing more */
    }
    if (c->n_questions >= c->limits->n_requests || coap_channel_is_clogged(c)) {
        return ERR_LIMIT;
    }
    struct question *q = mem_zalloc(sizeof(*q));
    if (q == NULL) {
        return ERR_NOMEM;
    }
    /* Used once on a channel, which nobody else writes to: a late answer is nobody's. */
    uint8_t token[sizeof(q->id)];
    struct wr w = wr_into(token, sizeof(token));
    q->id = coap_channel_new_id(c);
    wr_u32(&w, q->id);
    struct coap_message m = {.code = request->code,
                             .token = wr_slice(&w),
                             .options = request->options,
                             .payload = request->payload};
    enum err err = coap_channel_send(c, &m);
    if (err != OK) {
        mem_free(q);
        return err;
    }
    list_append(&c->questions, &q->node);
    c->n_questions++;
    *ret_id = q->id;
    return OK;
}

void coap_channel_forget(struct coap_channel *c, uint32_t id)
{
    list_for_each_safe (node, next, &c->questions) {
        struct question *q = LIST_ENTRY(node, struct question, node);
        if (q->id == id) {
            remove_question(c, q);
        }
    }
}

void coap_channel_take_response(struct coap_channel *c, const struct coap_message *m,
                                struct coap_event *ret)
{
    uint16_t number = 0;
    struct rd r = rd_from(m->token);
    uint32_t id = rd_u32(&r);
    if (rd_finish(&r) != OK) {
        return;
    }
    list_for_each_safe (node, next, &c->questions) {
        struct question *q = LIST_ENTRY(node, struct question, node);
        if (q->id != id) {
            continue;
        }
        bool is_understood = coap_options_check(m->options, c->limits->understood, &number) == OK;
        c->counters->bad_option += is_understood ? 0 : 1;
        /* SPEC: RFC7252 5.4.1: else it is rejected */
        ret->kind = is_understood ? COAP_EVENT_RESPONSE : COAP_EVENT_RESET;
        ret->about = COAP_ABOUT_REQUEST;
        ret->id = q->id;
        ret->m = *m;
        remove_question(c, q);
        return;
    }
}

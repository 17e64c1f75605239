/* Our own requests over a reliable transport, and the responses to them. */
#include "base/mem.h"
#include "engine/coap_channel_private.h"

struct pending {
    struct list_node node;
    uint32_t id;
    bool is_observing;
    uint8_t token[COAP_CHANNEL_TOKEN_BYTES];
};

static struct slice token_of(const struct pending *p)
{
    return slice_of(p->token, sizeof(p->token));
}

static void remove_pending(struct coap_channel *c, struct pending *p)
{
    list_unlink(&p->node);
    c->n_pending--;
    (void)mem_free(p);
}

void coap_channel_forget_all(struct coap_channel *c)
{
    list_for_each_safe (node, next, &c->pending) {
        remove_pending(c, LIST_ENTRY(node, struct pending, node));
    }
}

size_t coap_channel_pending_bytes(const struct coap_channel *c)
{
    return c->n_pending * sizeof(struct pending);
}

void coap_channel_forget(struct coap_channel *c, uint32_t id)
{
    list_for_each_safe (node, next, &c->pending) {
        struct pending *p = LIST_ENTRY(node, struct pending, node);
        if (p->id == id) {
            remove_pending(c, p);
        }
    }
}

enum err coap_channel_request(struct coap_channel *c, const struct coap_request *request,
                              uint32_t *ret_id)
{
    uint32_t observe = 1;
    if (!coap_code_is_request(request->code)) {
        return ERR_MALFORMED;
    }
    if (c->state != COAP_CHANNEL_OPEN) {
        /* SPEC: RFC8323 5.5: who leaves is asked nothing more */
        return c->state == COAP_CHANNEL_CSM_AWAITED ? ERR_AGAIN : ERR_CLOSED;
    }
    if (c->n_pending >= c->limits->n_requests || coap_channel_is_clogged(c)) {
        return ERR_LIMIT;
    }
    struct pending *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return ERR_NOMEM;
    }
    /* Never used twice under one key, and not to be guessed. SPEC: RFC7252 5.3.1, RFC9175 4 */
    struct wr w = wr_into(p->token, sizeof(p->token));
    c->n_asked++;
    wr_u64(&w, siphash(&c->token_key, slice_of(&c->n_asked, sizeof(c->n_asked))));
    p->id = coap_channel_new_id(c);
    p->is_observing =
        coap_options_find_uint(request->options, COAP_OPTION_OBSERVE, &observe) && observe == 0;
    struct coap_message m = {.code = request->code,
                             .token = token_of(p),
                             .options = request->options,
                             .payload = request->payload};
    enum err err = coap_channel_send(c, &m);
    if (err != OK) {
        mem_free(p);
        return err;
    }
    list_append(&c->pending, &p->node);
    c->n_pending++;
    *ret_id = p->id;
    return OK;
}

/* SPEC: RFC8323 7.1: the order is that of the bytes, so the newest is what comes last. */
void coap_channel_take_response(struct coap_channel *c, const struct coap_message *m,
                                struct coap_event *ret)
{
    struct slice ignored;
    uint16_t number = 0;
    list_for_each_safe (node, next, &c->pending) {
        struct pending *p = LIST_ENTRY(node, struct pending, node);
        if (!slice_equal(token_of(p), m->token)) {
            continue;
        }
        /* Our own clients look at options themselves. SPEC: RFC7252 5.4.1: else it is rejected */
        bool is_understood =
            c->is_client || coap_options_check(m->options, c->limits->understood, &number) == OK;
        c->counters->bad_option += is_understood ? 0 : 1;
        ret->kind = is_understood ? COAP_EVENT_RESPONSE : COAP_EVENT_RESET;
        ret->about = COAP_ABOUT_REQUEST;
        ret->id = p->id;
        ret->m = *m;
        ret->is_notification = is_understood && p->is_observing && coap_code_is_success(m->code) &&
                               coap_options_find(m->options, COAP_OPTION_OBSERVE, &ignored);
        if (!ret->is_notification) {
            remove_pending(c, p);
        }
        return;
    }
}

/* Requests of ours to a client that has proven to be there, and its answers. SPEC: RFC8613 8.1,
 * 8.4. */
#include "base/buf.h"
#include "base/mem.h"
#include "net/oscore_private.h"

/* A request of ours that has left. What is sent again is the very same bytes, so no number ever
 * seals two texts. */
struct oscore_asked {
    struct list_node node; /* of its context, the oldest first */
    struct oscore_context *context;
    struct oscore_binding binding;
    uint64_t at_ms;
    uint16_t mid;                /* of the request */
    uint16_t their_mid, our_mid; /* of an answer that came in a message of its own: as it
                                    travelled, and as our endpoint knows it */
    bool is_answered;
    uint8_t token[OSCORE_NAME_BYTES];
    struct buf sealed; /* until it is answered */
};

struct slice oscore_asked_key(const void *value)
{
    const struct oscore_asked *a = value;
    return slice_of(a->token, sizeof(a->token));
}

static void asked_free(struct oscore_asked *a)
{
    struct oscore_context *c = a->context;
    (void)map_remove(&c->server->by_token, oscore_asked_key(a));
    list_unlink(&a->node);
    c->n_asked--;
    buf_done(&a->sealed);
    mem_free(a);
}

void oscore_asked_clear(struct oscore_context *c)
{
    struct list_node *n;
    while ((n = list_first(&c->asked)) != NULL) {
        asked_free(LIST_ENTRY(n, struct oscore_asked, node));
    }
}

void oscore_asked_expire(struct oscore_context *c, uint64_t now_ms)
{
    list_for_each_safe (n, next, &c->asked) {
        struct oscore_asked *a = LIST_ENTRY(n, struct oscore_asked, node);
        if (now_ms >= a->at_ms + OSCORE_ASKED_MS) {
            asked_free(a);
        }
    }
}

bool oscore_asked_names(const struct oscore_context *c, uint16_t our_mid, uint16_t *ret)
{
    list_for_each (n, &c->asked) {
        const struct oscore_asked *a = LIST_ENTRY(n, const struct oscore_asked, node);
        if (a->our_mid != 0 && a->our_mid == our_mid) {
            *ret = a->their_mid;
            return true;
        }
    }
    return false;
}

/* ---- out ---- */

static void send_again(struct oscore_context *c, const struct oscore_asked *a)
{
    struct coap_message sealed;
    if (coap_message_decode(buf_slice(&a->sealed), COAP_ENDPOINT_TOKEN_MAX, &sealed) == OK) {
        oscore_transmit_to(c, &sealed);
    }
}

static enum err seal(struct oscore_context *c, const struct coap_message *m, uint64_t number,
                     struct oscore_asked *a)
{
    struct oscore_server *s = c->server;
    struct oscore_peer p = {&c->keys, s->ccm};
    struct oscore_outgoing how = {.piv = number};
    struct coap_message sealed;
    size_t n = 0;
    TRY(oscore_request_protect(&p, &how, m, s->sealed, &sealed, &a->binding));
    TRY(coap_message_encode(&sealed, s->out, sizeof(s->out), &n));
    return buf_append(&a->sealed, slice_of(s->out, n), sizeof(s->out));
}

/* SPEC: RFC8613 8.1: with a number of its own, out of those that answers of ours have, too. */
enum err oscore_ask(struct oscore_context *c, const struct coap_message *m, uint64_t now_ms)
{
    struct oscore_asked *a = map_find(&c->server->by_token, m->token);
    uint64_t number = 0;
    if (a != NULL) {
        if (a->context != c || a->mid != m->mid) {
            return ERR_EXISTS;
        }
        send_again(c, a);
        return OK;
    }
    if (m->token.n != OSCORE_NAME_BYTES) {
        return ERR_MALFORMED;
    }
    oscore_asked_expire(c, now_ms);
    if (c->n_asked >= OSCORE_ASKED_MAX) {
        asked_free(LIST_ENTRY(list_first(&c->asked), struct oscore_asked, node));
    }
    if (!oscore_take_number(c, &number)) {
        return ERR_AGAIN;
    }
    a = mem_zalloc(sizeof(*a));
    if (a == NULL) {
        return ERR_NOMEM;
    }
    a->context = c;
    a->at_ms = now_ms;
    a->mid = m->mid;
    slice_copy(a->token, m->token);
    list_append(&c->asked, &a->node);
    c->n_asked++;
    enum err err = map_add(&c->server->by_token, a);
    if (err == OK) {
        err = seal(c, m, number, a);
    }
    if (err != OK) {
        asked_free(a);
        return err;
    }
    send_again(c, a);
    return OK;
}

/* ---- in ---- */

/* It opened before: whoever sends it again did not hear our acknowledgement. */
static void acknowledge(struct oscore_context *c, const struct coap_message *outer)
{
    if (outer->type == COAP_CON) {
        oscore_transmit_to(c, &(struct coap_message){.type = COAP_ACK, .mid = outer->mid});
    }
}

/* The names of messages of the client's own are ours behind here, as those of its requests. */
static void rename_message(struct oscore_asked *a, struct coap_message *inner)
{
    if (inner->type == COAP_CON || inner->type == COAP_NON) {
        a->their_mid = inner->mid;
        a->our_mid = ++a->context->last_mid;
        a->our_mid = a->our_mid == 0 ? ++a->context->last_mid : a->our_mid;
        inner->mid = a->our_mid;
    }
}

static void deliver(struct oscore_asked *a, struct coap_message *inner, uint64_t now_ms)
{
    uint8_t plain[OSCORE_MESSAGE_MAX];
    size_t n = 0;
    struct oscore_context *c = a->context;
    const struct dtls_handler *handler = &c->server->handler;
    a->is_answered = true;
    buf_done(&a->sealed);
    c->heard_at_ms = now_ms;
    rename_message(a, inner);
    if (coap_message_encode(inner, plain, sizeof(plain), &n) == OK) {
        handler->received(handler->ctx, c->known.id,
                          slice_of(plain, n)); /* a may be gone behind it */
    }
    mem_wipe(plain, sizeof(plain));
}

bool oscore_take_answer(struct oscore_server *s, const struct net_peer *peer,
                        const struct coap_message *outer, uint64_t now_ms)
{
    struct oscore_asked *a = map_find(&s->by_token, outer->token);
    struct coap_oscore option;
    struct coap_message inner;
    struct slice value;
    /* Only from where it was sent to. SPEC: RFC7252 5.3.2 */
    if (a == NULL || !net_peer_equal(&a->context->known.peer, peer) ||
        !coap_options_find(outer->options, COAP_OPTION_OSCORE, &value) ||
        coap_oscore_decode(value, &option) != OK) {
        return false; /* what is not sealed says nothing. SPEC: RFC8613 8.4 */
    }
    struct oscore_peer p = {&a->context->keys, s->ccm};
    enum err err = oscore_response_open(&p, &a->binding, outer, &option, s->opened, &inner);
    if (err == OK && a->is_answered) {
        acknowledge(a->context, outer);
    } else if (err == OK) {
        deliver(a, &inner, now_ms);
    }
    mem_wipe(s->opened, sizeof(s->opened));
    return err == OK;
}

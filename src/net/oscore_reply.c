/* What leaves: answers, challenges, bare refusals; and the numbers they bear. */
#include "base/mem.h"
#include "engine/coap_echo.h"
#include "net/oscore_private.h"

/* ---- numbers ---- */

static void ask_for_numbers(struct oscore_context *c)
{
    if (!c->is_asking) {
        const struct oscore_server_config *config = &c->server->config;
        c->is_asking = config->reserve(config->ctx, &c->kid, c->credential, c->owner);
    }
}

/* Each number once, and asked for again before the last one is used. */
bool oscore_take_number(struct oscore_context *c, uint64_t *ret)
{
    if (c->numbers.next >= c->numbers.end) {
        c->numbers = c->spare;
        c->spare = (struct oscore_numbers){0};
    }
    bool has_one = c->numbers.next < c->numbers.end && c->numbers.next <= COAP_OSCORE_PIV_MAX;
    if (has_one) {
        *ret = c->numbers.next++;
    }
    if (c->spare.end == 0 && c->numbers.end - c->numbers.next < OSCORE_NUMBERS_LOW) {
        ask_for_numbers(c);
    }
    return has_one;
}

void oscore_server_numbers(struct dtls *d, const struct oscore_id *kid, uint64_t credential,
                           uint64_t first, uint64_t end, uint64_t now_ms)
{
    struct oscore_server *s = (struct oscore_server *)(void *)d;
    struct oscore_context *c = map_find(&s->by_kid, oscore_id_slice(kid));
    if (c == NULL || c->credential != credential || !c->is_asking) {
        return;
    }
    c->is_asking = false;
    c->spare = (struct oscore_numbers){first, end};
    if (c->challenge.is_waiting) {
        unproven_reopen(&s->unproven, c->challenge.heard_bytes);
        oscore_challenge_send(c, now_ms);
        unproven_close(&s->unproven);
    }
}

/* ---- requests that may be answered ---- */

static struct slice bound_token(const struct oscore_bound *b)
{
    return slice_of(b->token, b->token_n);
}

struct oscore_bound *oscore_bound_find(const struct oscore_context *c, struct slice token)
{
    struct oscore_bound *newest = NULL;
    list_for_each (node, &c->bounds) {
        struct oscore_bound *b = LIST_ENTRY(node, struct oscore_bound, node);
        if (slice_equal(bound_token(b), token) && (newest == NULL || b->at_ms >= newest->at_ms)) {
            newest = b;
        }
    }
    return newest;
}

static struct oscore_bound *bound_of_name(const struct oscore_context *c, struct slice token)
{
    struct rd r = rd_from(token);
    uint64_t name = rd_u64(&r);
    if (rd_finish(&r) != OK) {
        return NULL;
    }
    list_for_each_back(node, &c->bounds)
    { /* most answers follow their request at once */
        struct oscore_bound *b = LIST_ENTRY(node, struct oscore_bound, node);
        if (b->name == name) {
            return b;
        }
    }
    return NULL;
}

static struct oscore_bound *bound_of_mid(const struct oscore_context *c, uint16_t our_mid)
{
    list_for_each (node, &c->bounds) {
        struct oscore_bound *b = LIST_ENTRY(node, struct oscore_bound, node);
        if (b->our_mid == our_mid) {
            return b;
        }
    }
    return NULL;
}

static struct oscore_bound *bound_unlink(struct oscore_context *c, struct oscore_bound *b)
{
    list_unlink(&b->node);
    c->n_bounds--;
    return b;
}

void oscore_bounds_clear(struct oscore_context *c)
{
    struct list_node *n;
    while ((n = list_first(&c->bounds)) != NULL) {
        mem_free(bound_unlink(c, LIST_ENTRY(n, struct oscore_bound, node)));
    }
}

/* One to be used, in no list: a new one, or when there are as many as may be, one that is
 * forgotten.
 */
static struct oscore_bound *bound_take(struct oscore_context *c)
{
    if (c->n_bounds < OSCORE_BINDINGS_MAX) {
        return mem_zalloc(sizeof(struct oscore_bound));
    }
    struct oscore_bound *oldest = LIST_ENTRY(list_first(&c->bounds), struct oscore_bound, node);
    list_for_each (node, &c->bounds) {
        struct oscore_bound *b = LIST_ENTRY(node, struct oscore_bound, node);
        if (!b->is_observing) {
            oldest = b;
            break;
        }
    }
    return bound_unlink(c, oldest);
}

enum err oscore_bound_add(struct oscore_context *c, const struct coap_message *inner,
                          const struct oscore_binding *binding, uint64_t now_ms,
                          struct oscore_bound **ret)
{
    uint32_t observe = UINT32_MAX;
    bool has_observe = coap_options_find_uint(inner->options, COAP_OPTION_OBSERVE, &observe);
    struct oscore_bound *old = has_observe ? oscore_bound_find(c, inner->token) : NULL;
    /* An observation is registered anew, and ended, by its token. SPEC: RFC7641 3.6 */
    bool is_again = old != NULL && old->is_observing && old->is_answered;
    uint64_t name = is_again ? old->name : ++c->last_name;
    struct oscore_bound *b = is_again ? bound_unlink(c, old) : bound_take(c);
    if (b == NULL) {
        return ERR_NOMEM;
    }
    *b = (struct oscore_bound){.name = name,
                               .our_mid = ++c->last_mid,
                               .binding = *binding,
                               .at_ms = now_ms,
                               .mid = inner->mid,
                               .is_observing = has_observe && observe == 0,
                               .token_n = (uint8_t)inner->token.n};
    slice_copy(b->token, inner->token);
    list_append(&c->bounds, &b->node);
    c->n_bounds++;
    *ret = b;
    return OK;
}

/* ---- sending ---- */

static void transmit(struct oscore_server *s, const struct net_peer *to,
                     const struct coap_message *m, bool is_proven)
{
    size_t n = 0;
    if (coap_message_encode(m, s->out, sizeof(s->out), &n) == OK &&
        (is_proven || unproven_may_say(&s->unproven, n))) {
        s->handler.transmit(s->handler.ctx, to, slice_of(s->out, n));
    }
}

void oscore_transmit(struct oscore_server *s, const struct net_peer *to,
                     const struct coap_message *m)
{
    transmit(s, to, m, known_at(&s->by_peer, to) != NULL);
}

/* To where it has proven to be, whoever else was heard from there since. */
void oscore_transmit_to(struct oscore_context *c, const struct coap_message *m)
{
    if (c->is_located) {
        transmit(c->server, &c->known.peer, m, true);
    } else {
        oscore_transmit(c->server, &c->known.peer, m);
    }
}

void oscore_refuse(struct oscore_server *s, const struct net_peer *peer,
                   const struct coap_message *outer, uint8_t code)
{
    struct coap_message m = {
        .type = COAP_ACK, .code = code, .mid = outer->mid, .token = outer->token};
    if (outer->type == COAP_CON) {
        oscore_transmit(s, peer, &m);
    }
}

enum err oscore_reply(struct oscore_context *c, struct slice plain, uint64_t now_ms)
{
    struct oscore_server *s = c->server;
    struct oscore_peer p = {&c->keys, s->ccm};
    struct coap_message m, sealed;
    struct slice observe;
    uint64_t number = 0;
    TRY(coap_message_decode(plain, COAP_ENDPOINT_TOKEN_MAX, &m));
    struct oscore_bound *b =
        m.code == COAP_EMPTY ? bound_of_mid(c, m.mid) : bound_of_name(c, m.token);
    if (b != NULL && (m.type == COAP_ACK || m.type == COAP_RST)) {
        m.mid = b->mid;
    }
    if (m.code == COAP_EMPTY) {
        if (b != NULL || oscore_asked_names(c, m.mid, &m.mid)) {
            oscore_transmit_to(c, &m); /* SPEC: RFC8613 4.2: not protected */
        }
        return OK;
    }
    if (coap_code_is_request(m.code)) {
        return oscore_ask(c, &m, now_ms);
    }
    if (b == NULL || !coap_code_is_response(m.code)) {
        return ERR_NOT_FOUND;
    }
    /* SPEC: RFC8613 8.3, 8.3.1: the nonce of the request serves one answer, whatever follows is new
     */
    bool has_number = b->is_answered;
    if (has_number && !oscore_take_number(c, &number)) {
        return ERR_AGAIN;
    }
    b->is_answered = true;
    m.token = bound_token(b);
    b->is_observing =
        b->is_observing && coap_options_find(m.options, COAP_OPTION_OBSERVE, &observe);
    list_unlink(&b->node);
    list_append(&c->bounds, &b->node);
    const uint64_t *piv = has_number ? &number : NULL;
    TRY(oscore_response_protect(&p, &b->binding, piv, &m, s->sealed, &sealed));
    oscore_transmit_to(c, &sealed);
    return OK;
}

/* ---- Echo ---- */

/* Of this context, at this address. */
static uint64_t echo_tag(const struct oscore_context *c, const struct net_peer *peer)
{
    uint8_t bytes[sizeof(*peer) + sizeof(c->credential)];
    struct wr w = wr_into(bytes, sizeof(bytes));
    wr_bytes(&w, net_peer_key(peer));
    wr_u64(&w, c->credential);
    return siphash(&c->server->key, wr_slice(&w));
}

bool oscore_echo_is_good(const struct oscore_context *c, const struct coap_message *inner,
                         const struct net_peer *peer, uint64_t now_ms)
{
    struct slice value;
    uint64_t age_ms = 0;
    return coap_options_find(inner->options, COAP_OPTION_ECHO, &value) &&
           coap_echo_check(&c->server->key, echo_tag(c, peer), value, now_ms, OSCORE_ECHO_MS,
                           &age_ms);
}

bool oscore_may_challenge(struct oscore_context *c, uint64_t now_ms)
{
    enum { SECOND_MS = 1000 };
    if (now_ms >= c->second_at_ms + SECOND_MS) {
        c->second_at_ms = now_ms;
        c->n_challenges = 0;
    }
    return c->n_challenges++ < OSCORE_CHALLENGES_PER_S;
}

void oscore_challenge_send(struct oscore_context *c, uint64_t now_ms)
{
    uint8_t block[32], value[COAP_ECHO_BYTES];
    struct oscore_server *s = c->server;
    struct oscore_peer p = {&c->keys, s->ccm};
    struct oscore_challenge *ch = &c->challenge;
    struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
    struct coap_message sealed;
    uint64_t number = 0;
    if (!oscore_may_challenge(c, now_ms)) {
        return;
    }
    ch->is_waiting = !oscore_take_number(c, &number);
    if (ch->is_waiting) {
        return;
    }
    /* Nothing but the Echo, under a number of ours. SPEC: RFC8613 B.1.2 */
    struct coap_message m = {.type = ch->is_con ? COAP_ACK : COAP_NON,
                             .code = COAP_UNAUTHORIZED,
                             .mid = ch->mid,
                             .token = slice_of(ch->token, ch->token_n)};
    coap_echo_make(&c->server->key, echo_tag(c, &ch->peer), now_ms, value);
    coap_option_add(&w, COAP_OPTION_ECHO, slice_of(value, sizeof(value)));
    if (coap_option_writer_done(&w, &m.options) == OK &&
        oscore_response_protect(&p, &ch->binding, &number, &m, s->sealed, &sealed) == OK) {
        s->config.counters->challenged++;
        oscore_transmit(s, &ch->peer, &sealed);
    }
}

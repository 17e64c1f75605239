/* What comes: whose it is, whether it is new, and who gets it. */
#include "net/oscore_server.h"

#include "base/mem.h"
#include "net/oscore_private.h"

enum { SECOND_MS = 1000 };

static struct slice kid_key(const void *value)
{
    const struct oscore_context *c = value;
    return oscore_id_slice(&c->kid);
}

/* ---- contexts ---- */

static struct oscore_context *context_of_id(const struct oscore_server *s, uint64_t id)
{
    return known_of_id(&s->by_id, id);
}

static void unlocate(struct oscore_context *c)
{
    if (c->is_located) {
        (void)map_remove(&c->server->by_peer, known_peer_key(c));
        c->is_located = false;
    }
}

/* Its acknowledgements come from there. Of two behind one address the newer gets them. */
static void locate(struct oscore_context *c, const struct net_peer *peer)
{
    unlocate(c);
    c->known.peer = *peer;
    struct oscore_context *other = known_at(&c->server->by_peer, peer);
    if (other != NULL) {
        unlocate(other);
    }
    c->is_located = map_add(&c->server->by_peer, c) == OK;
}

static struct oscore_context *context_free(struct oscore_context *c)
{
    if (c != NULL) {
        oscore_bounds_clear(c);
        oscore_asked_clear(c);
        mem_wipe(c, sizeof(*c));
        mem_free(c);
    }
    return NULL;
}

static void forget(struct oscore_context *c)
{
    (void)map_remove(&c->server->by_kid, kid_key(c));
    context_free(c);
}

/* Its window stays until no Echo of this time is good any more: then nothing old comes in. */
static void close_context(struct oscore_context *c)
{
    struct oscore_server *s = c->server;
    unlocate(c);
    (void)map_remove(&s->by_id, known_id_key(c));
    oscore_bounds_clear(c);
    oscore_asked_clear(c);
    oscore_keys_wipe(&c->keys);
    c->challenge = (struct oscore_challenge){0};
    c->state = OSCORE_CLOSED;
    s->counts.open--;
}

static enum err context_new(struct oscore_server *s, const struct oscore_id *kid,
                            const struct oscore_found *found, struct oscore_context **ret)
{
    if (s->by_kid.n >= OSCORE_CONTEXTS_MAX) {
        return ERR_LIMIT;
    }
    struct oscore_context *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->server = s;
    c->kid = *kid;
    c->keys = found->keys;
    c->credential = found->credential;
    c->owner = found->owner;
    list_init(&c->bounds);
    list_init(&c->asked);
    enum err err = map_add(&s->by_kid, c);
    if (err != OK) {
        context_free(c);
        return err;
    }
    *ret = c;
    return OK;
}

/* ---- one request ---- */

/* What came, and what is known of it so far. */
struct incoming {
    const struct net_peer *peer;
    struct slice datagram;
    struct coap_message outer, inner;
    struct coap_oscore option;
    struct oscore_id kid;
    struct slice id_context; /* that its kid context wraps; empty: it has none */
    struct oscore_binding binding;
    uint64_t now_ms;
};

static void report(const struct oscore_server *s, const struct incoming *in,
                   enum oscore_refusal why)
{
    s->config.refused(s->config.ctx, in->peer, why, in->option.kid);
}

/* Unknown, forged and repeated look the same from outside. */
static void refuse(struct oscore_server *s, const struct incoming *in, enum oscore_refusal why)
{
    s->counts.dropped++;
    oscore_refuse(s, in->peer, &in->outer,
                  why == OSCORE_REFUSED_OPTION   ? COAP_BAD_OPTION
                  : why == OSCORE_REFUSED_INSIDE ? COAP_BAD_REQUEST
                                                 : COAP_UNAUTHORIZED);
    report(s, in, why);
}

/* repeated: the request came before; NULL: it is new. */
static enum err deliver(struct oscore_context *c, struct incoming *in,
                        struct oscore_bound *repeated)
{
    struct oscore_server *s = c->server;
    struct oscore_bound *b = repeated;
    if (b == NULL) {
        TRY(oscore_bound_add(c, &in->inner, &in->binding, in->now_ms, &b));
    }
    c->heard_at_ms = in->now_ms;
    oscore_asked_expire(c, in->now_ms);
    s->handler.received(s->handler.ctx, c->known.id,
                        oscore_request_named(s->opened, &in->inner, b->our_mid, b->name));
    return OK;
}

/* The very request that was answered a moment ago, from where it came then: its client did not hear
 * the answer, and whoever keeps the answers knows our id of it. */
static struct oscore_bound *repeat_of(const struct oscore_context *c, const struct incoming *in)
{
    struct oscore_bound *b = oscore_bound_find(c, in->inner.token);
    bool is_one = c->state == OSCORE_OPEN && net_peer_equal(&c->known.peer, in->peer) &&
                  b != NULL && in->outer.type == COAP_CON && b->binding.piv == in->binding.piv &&
                  b->mid == in->outer.mid && in->now_ms < b->at_ms + OSCORE_REPEAT_MS;
    return is_one ? b : NULL;
}

static void challenge(struct oscore_context *c, const struct incoming *in)
{
    struct oscore_challenge *ch = &c->challenge;
    *ch = (struct oscore_challenge){.peer = *in->peer,
                                    .binding = in->binding,
                                    .is_there = true,
                                    .is_con = in->outer.type == COAP_CON,
                                    .mid = in->outer.mid,
                                    .heard_bytes = in->datagram.n,
                                    .token_n = (uint8_t)in->outer.token.n};
    slice_copy(ch->token, in->outer.token);
    c->idle_at_ms = in->now_ms;
    oscore_challenge_send(c, in->now_ms);
}

static bool was_challenged(const struct oscore_context *c, const struct incoming *in)
{
    const struct oscore_challenge *ch = &c->challenge;
    return ch->is_there && ch->binding.piv == in->binding.piv &&
           net_peer_equal(&ch->peer, in->peer);
}

/* Its Echo is good: it is there, at this address, now. */
static void arrive(struct oscore_context *c, const struct incoming *in)
{
    struct oscore_server *s = c->server;
    c->challenge = (struct oscore_challenge){0};
    s->config.counters->proofs++;
    if (c->state == OSCORE_OPEN) {
        locate(c, in->peer);
        s->config.moved(s->config.ctx, c->known.id, in->peer);
        return;
    }
    c->known.id = ++s->next_id;
    if (map_add(&s->by_id, c) != OK) {
        return; /* it asks again */
    }
    c->state = OSCORE_OPEN;
    s->counts.opened++;
    s->counts.open++;
    locate(c, in->peer);
    struct dtls_info info = {.id = c->known.id,
                             .peer = *in->peer,
                             .cipher = "AES-CCM-16-64-128",
                             .credential = c->credential,
                             .kid = oscore_id_slice(&c->kid)};
    s->handler.opened(s->handler.ctx, &info);
}

/* SPEC: RFC8613 7.4: the window is looked at and changed here, behind what proved the sender. */
static void judge(struct oscore_context *c, struct incoming *in)
{
    struct oscore_server *s = c->server;
    uint64_t piv = in->binding.piv;
    bool is_here = c->state == OSCORE_OPEN && net_peer_equal(&c->known.peer, in->peer);
    if (c->window.is_known && !oscore_window_take(&c->window, piv)) {
        struct oscore_bound *repeated = repeat_of(c, in);
        if (repeated != NULL) {
            (void)!deliver(c, in, repeated);
        } else if (was_challenged(c, in)) {
            challenge(c, in);
        } else {
            refuse(s, in, OSCORE_REFUSED_REPLAY);
        }
        return;
    }
    if (!is_here && !oscore_echo_is_good(c, &in->inner, in->peer, in->now_ms)) {
        challenge(c, in);
        return;
    }
    if (!c->window.is_known) {
        oscore_window_open(&c->window, piv);
    }
    if (!is_here) {
        arrive(c, in);
    }
    if (c->state == OSCORE_OPEN && deliver(c, in, NULL) != OK) {
        s->counts.refused++;
    }
}

/* A stranger's kid makes us derive keys, which costs: so many in a second. A flood of one kid, or
 * of kids that nobody has, leaves room for those who come back. */
static bool may_derive(struct oscore_server *s, struct slice kid, uint64_t now_ms)
{
    bool is_known = s->config.knows(s->config.ctx, kid);
    uint8_t *slot = &s->n_derived_of_slot[siphash(&s->key, kid) % OSCORE_SLOTS];
    if (now_ms >= s->second_at_ms + SECOND_MS) {
        s->second_at_ms = now_ms;
        s->n_derived = s->n_derived_of_nobody = 0;
        memset(s->n_derived_of_slot, 0, sizeof(s->n_derived_of_slot));
    }
    unsigned *n = is_known ? &s->n_derived : &s->n_derived_of_nobody;
    unsigned most = is_known ? OSCORE_DERIVATIONS_PER_S : OSCORE_DERIVATIONS_OF_NOBODY_PER_S;
    if (*n >= most || *slot >= OSCORE_DERIVATIONS_OF_SLOT_PER_S) {
        return false;
    }
    *n += 1;
    *slot += 1;
    return true;
}

/* The request opens under the keys of `found`: from here on it is its sender's. */
static void believe(struct oscore_server *s, struct oscore_context *c,
                    const struct oscore_found *found, struct incoming *in)
{
    enum err err = OK;
    if (c != NULL && c->credential != found->credential) {
        forget(c); /* another device has this kid now */
        c = NULL;
    }
    if (c == NULL) {
        err = context_new(s, &in->kid, found, &c);
    }
    if (err != OK) {
        s->counts.refused++;
        return;
    }
    if (c->state != OSCORE_OPEN) {
        c->keys = found->keys;
        c->idle_at_ms = in->now_ms;
    }
    judge(c, in);
}

static struct slice id_context_of(const struct oscore_context *c)
{
    return c != NULL ? slice_of(c->id_context, c->id_context_n) : (struct slice){0};
}

/* The client brings back our part of a new context: all that was before is over. */
static void renew(struct oscore_context *c, const struct incoming *in)
{
    c->n_renewed++;
    c->id_context_n = (uint8_t)in->id_context.n;
    slice_copy(c->id_context, in->id_context);
    oscore_window_open(&c->window, in->binding.piv);
}

static void take_renewal(struct oscore_server *s, struct oscore_context *c,
                         const struct oscore_found *found, struct incoming *in)
{
    if (c != NULL && c->credential != found->credential) {
        refuse(s, in, OSCORE_REFUSED_KID); /* its kid was another device's a moment ago */
        return;
    }
    if (c == NULL && context_new(s, &in->kid, found, &c) != OK) {
        s->counts.refused++;
        return;
    }
    if (c->state == OSCORE_OPEN) {
        uint64_t id = c->known.id; /* what it asked for before, it does not know any more */
        close_context(c);
        s->handler.closed(s->handler.ctx, id, ERR_EXISTS);
    }
    c->keys = found->keys;
    c->idle_at_ms = in->now_ms;
    renew(c, in);
    arrive(c, in);
    if (c->state == OSCORE_OPEN && deliver(c, in, NULL) != OK) {
        s->counts.refused++;
    }
}

/* Takes the number all the same, when it can: what is inside will not get better. */
static void refuse_inside(struct oscore_server *s, struct oscore_context *c,
                          const struct incoming *in)
{
    if (c != NULL && !oscore_window_take(&c->window, in->option.piv)) {
        s->counts.dropped++;
    }
    refuse(s, in, OSCORE_REFUSED_INSIDE);
}

/* Which of its contexts a request is for. */
enum oscore_use {
    USE_CURRENT, /* the one we know, or its first */
    USE_RENEWED, /* the one that it makes of our part and its own */
    USE_OFFER    /* one of its own alone */
};

static enum oscore_use use_of(const struct oscore_server *s, const struct oscore_context *c,
                              const struct incoming *in)
{
    if (in->id_context.n == 0 || slice_equal(in->id_context, id_context_of(c))) {
        return USE_CURRENT;
    }
    bool is_ours = oscore_is_renewal(s, in->id_context, in->option.kid, in->peer,
                                     c != NULL ? c->n_renewed : 0, in->now_ms);
    return is_ours ? USE_RENEWED : USE_OFFER;
}

static void offer(struct oscore_server *s, struct oscore_context *c, const struct incoming *in)
{
    uint32_t n_renewed = c != NULL ? c->n_renewed : 0;
    if (c != NULL && !oscore_may_challenge(c, in->now_ms)) {
        return;
    }
    if (!oscore_renewal_offer(s, in->peer, &in->outer, &in->binding, in->id_context, n_renewed,
                              in->now_ms)) {
        refuse(s, in, OSCORE_REFUSED_KID);
    }
}

static void opened(struct oscore_server *s, struct oscore_context *c, enum oscore_use use,
                   const struct oscore_found *found, struct incoming *in)
{
    switch (use) {
    case USE_CURRENT:
        believe(s, c, found, in);
        break;
    case USE_RENEWED:
        take_renewal(s, c, found, in);
        break;
    case USE_OFFER:
        offer(s, c, in);
        break;
    }
}

/* ERR_NOT_FOUND with keys of nobody: also those are tried, so that the time does not tell.
 * ERR_AGAIN: too many at a time. */
static enum err find_keys(struct oscore_server *s, const struct oscore_context *c,
                          enum oscore_use use, const struct incoming *in, struct oscore_found *ret)
{
    struct slice id_context = use == USE_CURRENT ? id_context_of(c) : in->id_context;
    if (c != NULL && c->state == OSCORE_OPEN && use == USE_CURRENT) {
        ret->keys = c->keys;
        ret->credential = c->credential;
        return OK;
    }
    if (!may_derive(s, in->option.kid, in->now_ms)) {
        return ERR_AGAIN;
    }
    enum err err =
        s->config.find(s->config.ctx, in->option.kid, id_context.n > 0 ? &id_context : NULL, ret);
    ret->keys = err == OK ? ret->keys : s->nobody;
    return err;
}

/* What was inside is no longer than what came, with a header in front. */
static void wipe_opened(struct oscore_server *s, const struct incoming *in)
{
    size_t n = in->outer.options.n + in->outer.payload.n + COAP_HEADER_BYTES + OSCORE_NAME_BYTES;
    mem_wipe(s->opened, n < sizeof(s->opened) ? n : sizeof(s->opened));
}

static void open_request(struct oscore_server *s, struct oscore_context *c, struct incoming *in)
{
    struct oscore_found found = {.keys = s->nobody};
    enum oscore_use use = use_of(s, c, in);
    enum err known = find_keys(s, c, use, in, &found);
    if (known == ERR_AGAIN) {
        s->counts.refused++;
        return;
    }
    struct oscore_peer p = {&found.keys, s->ccm};
    enum err err =
        oscore_request_open(&p, &in->outer, &in->option, s->opened, &in->inner, &in->binding);
    if (known != OK) {
        refuse(s, in, OSCORE_REFUSED_KID);
    } else if (err == OK) {
        opened(s, c, use, &found, in);
    } else if (err == ERR_MALFORMED) {
        refuse_inside(s, use == USE_CURRENT ? c : NULL, in);
    } else {
        refuse(s, in, OSCORE_REFUSED_KEY);
    }
    oscore_keys_wipe(&found.keys);
    wipe_opened(s, in);
}

/* What stands outside of a request: OSCORE_REFUSALS when it can be looked at further. */
static enum oscore_refusal read_request(struct incoming *in)
{
    struct slice value;
    if (!coap_options_find(in->outer.options, COAP_OPTION_OSCORE, &value)) {
        return OSCORE_REFUSED_PLAIN;
    }
    enum err err = coap_oscore_decode(value, &in->option);
    /* SPEC: RFC8613 5: a request has both */
    if (err != OK || !in->option.has_kid || !in->option.has_piv) {
        return OSCORE_REFUSED_OPTION;
    }
    bool is_possible = in->option.kid.n <= OSCORE_ID_MAX &&
                       (!in->option.has_kid_context ||
                        oscore_kid_context_read(in->option.kid_context, &in->id_context));
    if (!is_possible) {
        return OSCORE_REFUSED_KID;
    }
    in->kid.n = (uint8_t)in->option.kid.n;
    slice_copy(in->kid.bytes, in->option.kid);
    return OSCORE_REFUSALS;
}

static bool is_elsewhere(const struct oscore_server *s, const struct incoming *in)
{
    return s->config.elsewhere != NULL &&
           s->config.elsewhere(s->config.ctx, in->peer, in->option.kid, in->datagram);
}

static void count_in(struct oscore_server *s, const struct incoming *in, bool is_proven)
{
    if (!is_proven) {
        unproven_open(&s->unproven, in->datagram.n);
    }
}

static struct oscore_context *context_at(const struct oscore_server *s, const struct net_peer *peer)
{
    return known_at(&s->by_peer, peer);
}

static void take_request(struct oscore_server *s, struct incoming *in)
{
    enum oscore_refusal why = read_request(in);
    struct oscore_context *c = why == OSCORE_REFUSALS ? map_find(&s->by_kid, in->option.kid) : NULL;
    if (why == OSCORE_REFUSALS && c == NULL && is_elsewhere(s, in)) {
        return;
    }
    bool is_its_own = c != NULL && c->is_located && net_peer_equal(&c->known.peer, in->peer);
    count_in(s, in, is_its_own || context_at(s, in->peer) != NULL);
    if (why == OSCORE_REFUSALS) {
        open_request(s, c, in);
    } else {
        refuse(s, in, why);
    }
}

/* An acknowledgement, a Reset, a ping or an answer: whoever is at this address. */
static void take_other(struct oscore_server *s, struct incoming *in)
{
    bool is_asked =
        coap_code_is_response(in->outer.code) && map_find(&s->by_token, in->outer.token) != NULL;
    if (!is_asked && is_elsewhere(s, in)) {
        return;
    }
    struct oscore_context *at = context_at(s, in->peer);
    count_in(s, in, at != NULL);
    if (coap_code_is_response(in->outer.code)) {
        s->counts.dropped += oscore_take_answer(s, in->peer, &in->outer, in->now_ms) ? 0 : 1;
    } else if (at == NULL || in->outer.code != COAP_EMPTY) {
        s->counts.dropped++;
    } else if (in->outer.type == COAP_CON) {
        in->outer.type = COAP_RST; /* a ping. SPEC: RFC7252 4.3 */
        oscore_transmit(s, in->peer, &in->outer);
    } else {
        s->handler.received(s->handler.ctx, at->known.id, in->datagram);
    }
}

/* ---- the interface ---- */

static struct oscore_server *server_of(struct dtls *d)
{
    return (struct oscore_server *)(void *)d;
}

static void server_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                         uint64_t now_ms)
{
    struct oscore_server *s = server_of(d);
    struct incoming in = {.peer = peer, .datagram = datagram, .now_ms = now_ms};
    if (datagram.n > OSCORE_MESSAGE_MAX ||
        coap_message_decode(datagram, COAP_ENDPOINT_TOKEN_MAX, &in.outer) != OK) {
        count_in(s, &in, context_at(s, peer) != NULL);
        s->counts.dropped++;
    } else if (coap_code_is_request(in.outer.code)) {
        take_request(s, &in);
    } else {
        take_other(s, &in);
    }
    unproven_close(&s->unproven);
}

static enum err server_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct oscore_context *c = context_of_id(server_of(d), id);
    if (c == NULL) {
        return ERR_NOT_FOUND;
    }
    enum err err = plain.n <= DTLS_PLAIN_MAX ? oscore_reply(c, plain, now_ms) : ERR_TOO_LARGE;
    /* Without a number it is lost, and comes again when it was confirmable. */
    return err == ERR_AGAIN ? OK : err;
}

static void server_close(struct dtls *d, uint64_t id)
{
    struct oscore_context *c = context_of_id(server_of(d), id);
    if (c != NULL) {
        close_context(c);
    }
}

static bool server_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    const struct oscore_server *s = (const struct oscore_server *)(const void *)d;
    const struct oscore_context *c = context_of_id(s, id);
    if (c != NULL) {
        *ret = (struct dtls_info){.id = c->known.id,
                                  .peer = c->known.peer,
                                  .cipher = "AES-CCM-16-64-128",
                                  .credential = c->credential,
                                  .kid = oscore_id_slice(&c->kid)};
    }
    return c != NULL;
}

bool oscore_server_is_at(const struct dtls *d, const struct net_peer *peer)
{
    return context_at((const struct oscore_server *)(const void *)d, peer) != NULL;
}

static uint64_t server_deadline(const struct dtls *d)
{
    const struct oscore_server *s = (const struct oscore_server *)(const void *)d;
    return s->by_kid.n > s->counts.open ? s->sweep_at_ms : UINT64_MAX;
}

static void server_tick(struct dtls *d, uint64_t now_ms)
{
    struct oscore_server *s = server_of(d);
    struct oscore_context *c;
    size_t at = 0;
    if (now_ms < s->sweep_at_ms) {
        return;
    }
    s->sweep_at_ms = now_ms + OSCORE_LINGER_MS;
    while ((c = map_next(&s->by_kid, &at)) != NULL) {
        uint64_t since_ms = c->heard_at_ms > c->idle_at_ms ? c->heard_at_ms : c->idle_at_ms;
        if (c->state != OSCORE_OPEN && now_ms >= since_ms + OSCORE_LINGER_MS) {
            forget(c);
        }
    }
}

static const struct dtls_counts *server_counts(const struct dtls *d)
{
    return &((const struct oscore_server *)(const void *)d)->counts;
}

static struct dtls *server_free(struct dtls *d)
{
    struct oscore_server *s = server_of(d);
    struct oscore_context *c;
    size_t at = 0;
    while ((c = map_next(&s->by_kid, &at)) != NULL) {
        context_free(c);
    }
    map_done(&s->by_kid);
    map_done(&s->by_id);
    map_done(&s->by_peer);
    map_done(&s->by_token);
    ccm_free(s->ccm);
    mem_wipe(s, sizeof(*s));
    mem_free(s);
    return NULL;
}

static const struct dtls_ops ops = {.input = server_input,
                                    .send = server_send,
                                    .close = server_close,
                                    .info = server_info,
                                    .deadline = server_deadline,
                                    .tick = server_tick,
                                    .counts = server_counts,
                                    .free = server_free};

enum err oscore_server_new(const struct oscore_server_config *config,
                           const struct dtls_handler *handler, struct dtls **ret)
{
    struct oscore_server *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->dtls.ops = &ops;
    s->config = *config;
    s->handler = *handler;
    s->unproven.counters = config->counters;
    s->key = (struct siphash_key){random_u64(config->random), random_u64(config->random)};
    s->renew_key = (struct siphash_key){random_u64(config->random), random_u64(config->random)};
    config->random->fill(config->random->ctx, &s->nobody, sizeof(s->nobody));
    s->nobody.sender.n = s->nobody.recipient.n = 1;
    map_init(&s->by_kid, &s->key, kid_key);
    map_init(&s->by_id, &s->key, known_id_key);
    map_init(&s->by_peer, &s->key, known_peer_key);
    map_init(&s->by_token, &s->key, oscore_asked_key);
    enum err err = ccm_new(&s->ccm);
    if (err != OK) {
        server_free(&s->dtls);
        return err;
    }
    *ret = &s->dtls;
    return OK;
}

#include "net/oscore_client.h"

#include "base/mem.h"
#include "engine/coap_endpoint.h"
#include "engine/oscore_message.h"
#include "net/oscore_private.h"

enum {
    PART_BYTES = 8, /* random bytes of ours in a context derived anew. SPEC: RFC8613 B.2 */
    CBOR_BYTES = 0x40,
    CBOR_ONE = 0x58,
    CBOR_DIRECT_MAX = 23,
    WRAPPED_MAX = OSCORE_ID_CONTEXT_MAX + 2
};

enum state {
    IDLE,    /* before the first tick */
    ASKING,  /* the context is of our random part alone: the server is to add its own */
    CURRENT, /* under a context that the caller keeps */
    GONE
};

/* A request of ours, and what may answer it. */
struct asked {
    struct oscore_binding binding;
    uint64_t highest; /* number of the last notification */
    uint64_t at;      /* the order they were sent in; 0: the place is free */
    uint32_t n_notified;
    uint16_t mid;
    uint8_t token_n;
    uint8_t token[COAP_ENDPOINT_TOKEN_MAX];
    bool is_observing, is_answered, has_highest;
    size_t sealed_n;
    uint8_t sealed[OSCORE_MESSAGE_MAX];
};

struct oscore_client {
    struct dtls dtls; /* the first member */
    struct oscore_client_config config;
    struct dtls_handler handler;
    struct net_peer server;
    struct ccm *ccm;
    uint8_t secret[OSCORE_SECRET_MAX], salt[OSCORE_SALT_MAX];
    struct oscore_id sender, recipient;
    enum state state;
    struct oscore_keys keys;
    uint8_t id_context[OSCORE_ID_CONTEXT_MAX];
    uint8_t id_context_n;
    uint64_t id;       /* of the association: rises when everything is to be asked anew */
    uint64_t n_asking; /* numbers used while ASKING */
    unsigned n_offers;
    bool has_asked_anew;
    uint64_t n_sent;
    struct dtls_counts counts;
    struct asked asked[OSCORE_CLIENT_ASKED];
};

static struct oscore_client *client_of(struct dtls *d)
{
    return (struct oscore_client *)(void *)d;
}

static const struct oscore_client *client_of_const(const struct dtls *d)
{
    return (const struct oscore_client *)(const void *)d;
}

/* ---- contexts ---- */

static enum err derive(const struct oscore_client *c, struct slice id_context,
                       struct oscore_keys *ret)
{
    struct oscore_material m = c->config.material;
    m.has_id_context = true;
    m.id_context = id_context;
    return oscore_keys_derive(&m, ret);
}

/* Everything asked before was asked under another context. */
static enum err use_context(struct oscore_client *c, struct slice id_context, enum state state)
{
    TRY(derive(c, id_context, &c->keys));
    c->id_context_n = (uint8_t)id_context.n;
    slice_copy(c->id_context, id_context);
    c->state = state;
    mem_wipe(c->asked, sizeof(c->asked));
    return OK;
}

/* Keys that nobody had before, for one question: what does the server add? SPEC: RFC8613 B.2 */
static enum err ask_anew(struct oscore_client *c)
{
    uint8_t part[PART_BYTES];
    c->config.random->fill(c->config.random->ctx, part, sizeof(part));
    c->n_asking = 0;
    c->has_asked_anew = true;
    return use_context(c, slice_of(part, sizeof(part)), ASKING);
}

static void fill_info(const struct oscore_client *c, struct dtls_info *ret)
{
    *ret = (struct dtls_info){.id = c->id,
                              .peer = c->server,
                              .cipher = "AES-CCM-16-64-128",
                              .kid = oscore_id_slice(&c->sender)};
}

/* With another context, if it could be derived: everything is to be asked anew. */
static void go_on(struct oscore_client *c, enum err derived)
{
    struct dtls_info info;
    if (derived != OK) {
        c->state = GONE;
        c->config.refused(c->config.ctx, COAP_EMPTY);
        return;
    }
    c->id++;
    c->counts.opened++;
    fill_info(c, &info);
    c->handler.opened(c->handler.ctx, &info);
}

/* ---- out ---- */

static void transmit(const struct oscore_client *c, const struct coap_message *m)
{
    uint8_t bytes[OSCORE_MESSAGE_MAX];
    size_t n;
    if (coap_message_encode(m, bytes, sizeof(bytes), &n) == OK) {
        c->handler.transmit(c->handler.ctx, &c->server, slice_of(bytes, n));
    }
}

static struct slice token_of(const struct asked *a)
{
    return slice_of(a->token, a->token_n);
}

static struct asked *find_asked(struct oscore_client *c, struct slice token)
{
    for (size_t i = 0; i < OSCORE_CLIENT_ASKED; i++) {
        struct asked *a = &c->asked[i];
        if (a->at > 0 && slice_equal(token_of(a), token)) {
            return a;
        }
    }
    return NULL;
}

/* A free place, else the oldest that is no observation. */
static struct asked *place_for(struct oscore_client *c)
{
    struct asked *found = NULL;
    for (size_t i = 0; i < OSCORE_CLIENT_ASKED; i++) {
        struct asked *a = &c->asked[i];
        bool is_better = found == NULL || a->at < found->at;
        if ((!a->is_observing || a->at == 0) && is_better) {
            found = a;
        }
    }
    return found;
}

static enum err next_number(struct oscore_client *c, uint64_t *ret)
{
    if (c->state == ASKING) {
        *ret = c->n_asking++;
        return OK;
    }
    return c->config.number(c->config.ctx, ret);
}

/* SPEC: RFC8613 B.2: the kid context is the ID context as a CBOR byte string. */
static struct slice wrap(const struct oscore_client *c, uint8_t dst[WRAPPED_MAX])
{
    struct wr w = wr_into(dst, WRAPPED_MAX);
    if (c->id_context_n > CBOR_DIRECT_MAX) {
        wr_u8(&w, CBOR_ONE);
        wr_u8(&w, c->id_context_n);
    } else {
        wr_u8(&w, (uint8_t)(CBOR_BYTES + c->id_context_n));
    }
    wr_bytes(&w, slice_of(c->id_context, c->id_context_n));
    return wr_slice(&w);
}

static enum err seal(struct oscore_client *c, const struct coap_message *plain, struct asked *a)
{
    uint8_t room[OSCORE_MESSAGE_MAX], wrapped[WRAPPED_MAX];
    struct coap_message sealed;
    struct oscore_peer p = {&c->keys, c->ccm};
    struct oscore_outgoing how = {.has_kid_context = true, .kid_context = wrap(c, wrapped)};
    TRY(next_number(c, &how.piv));
    TRY(oscore_request_protect(&p, &how, plain, room, &sealed, &a->binding));
    return coap_message_encode(&sealed, a->sealed, sizeof(a->sealed), &a->sealed_n);
}

static enum err send_request(struct oscore_client *c, const struct coap_message *plain)
{
    struct asked *a = find_asked(c, plain->token);
    if (a == NULL || a->mid != plain->mid) {
        uint32_t observe = 1;
        a = place_for(c);
        if (a == NULL || plain->token.n > sizeof(a->token)) {
            return ERR_LIMIT;
        }
        *a = (struct asked){.mid = plain->mid, .token_n = (uint8_t)plain->token.n};
        slice_copy(a->token, plain->token);
        a->is_observing =
            coap_options_find_uint(plain->options, COAP_OPTION_OBSERVE, &observe) && observe == 0;
        enum err err = seal(c, plain, a);
        if (err != OK) {
            *a = (struct asked){0};
            return err;
        }
        a->at = ++c->n_sent;
    }
    c->handler.transmit(c->handler.ctx, &c->server, slice_of(a->sealed, a->sealed_n));
    return OK;
}

static enum err client_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct oscore_client *c = client_of(d);
    struct coap_message m;
    (void)now_ms;
    if (id != c->id || (c->state != ASKING && c->state != CURRENT)) {
        return ERR_NOT_FOUND;
    }
    TRY(coap_message_decode(plain, COAP_ENDPOINT_TOKEN_MAX, &m));
    if (coap_code_is_request(m.code)) {
        return send_request(c, &m);
    }
    if (m.code != COAP_EMPTY) {
        return ERR_DENIED; /* an answer: we serve nothing, and nothing leaves unsealed */
    }
    c->handler.transmit(c->handler.ctx, &c->server, plain);
    return OK;
}

/* ---- in ---- */

static void acknowledge(const struct oscore_client *c, const struct coap_message *outer)
{
    if (outer->type == COAP_CON) {
        transmit(c, &(struct coap_message){.type = COAP_ACK, .mid = outer->mid});
    }
}

/* Was there no such answer before? SPEC: RFC8613 7.4.1, 8.4.2 */
static bool is_news(const struct asked *a, const struct coap_oscore *o)
{
    if (!a->is_observing || !o->has_piv) {
        return !a->is_answered;
    }
    return !a->has_highest || o->piv > a->highest;
}

/* The options with an Observe that rises by one for each notification: the number it was made of
 * has forty bits, of which the option holds only the last ones. */
static enum err number_notification(struct asked *a, struct coap_message *m,
                                    uint8_t room[OSCORE_MESSAGE_MAX])
{
    struct coap_option_writer w = coap_option_writer_into(room, OSCORE_MESSAGE_MAX);
    struct coap_options it = coap_options_from(m->options);
    struct coap_option o;
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_OBSERVE) {
            coap_option_add_uint(&w, o.number, ++a->n_notified & 0xFFFFFF);
        } else {
            coap_option_add(&w, o.number, o.value);
        }
    }
    return coap_option_writer_done(&w, &m->options);
}

static void deliver(struct oscore_client *c, struct asked *a, struct coap_message *inner,
                    const struct coap_oscore *o)
{
    uint8_t options[OSCORE_MESSAGE_MAX], plain[OSCORE_MESSAGE_MAX];
    size_t n;
    if (!is_news(a, o)) {
        acknowledge(c, inner);
        return;
    }
    struct slice observe;
    a->is_answered = true;
    a->is_observing =
        a->is_observing && coap_options_find(inner->options, COAP_OPTION_OBSERVE, &observe);
    a->has_highest = a->has_highest || o->has_piv;
    a->highest = o->has_piv ? o->piv : a->highest;
    if (number_notification(a, inner, options) == OK &&
        coap_message_encode(inner, plain, sizeof(plain), &n) == OK) {
        c->handler.received(c->handler.ctx, c->id, slice_of(plain, n));
    }
    mem_wipe(plain, sizeof(plain));
    mem_wipe(options, sizeof(options));
}

/* The server's part of a context, in an answer that only it can have sealed: with one more part of
 * ours that becomes the context from now on. SPEC: RFC8613 B.2 */
static void take_offer(struct oscore_client *c, const struct asked *a,
                       const struct coap_message *outer, const struct coap_oscore *o,
                       struct slice theirs)
{
    uint8_t joined[OSCORE_ID_CONTEXT_MAX], room[OSCORE_MESSAGE_MAX];
    struct oscore_keys second;
    struct coap_message inner;
    struct wr w = wr_into(joined, sizeof(joined));
    wr_bytes(&w, theirs);
    wr_bytes(&w, slice_of(c->id_context, c->id_context_n));
    if (!wr_ok(&w) || theirs.n > OSCORE_ID_CONTEXT_MAX - PART_BYTES ||
        derive(c, wr_slice(&w), &second) != OK) {
        c->counts.dropped++;
        return;
    }
    struct oscore_peer p = {&second, c->ccm};
    enum err err = oscore_response_open(&p, &a->binding, outer, o, room, &inner);
    oscore_keys_wipe(&second);
    if (err != OK || inner.code != COAP_UNAUTHORIZED) {
        c->counts.dropped++;
        return;
    }
    if (++c->n_offers > OSCORE_CLIENT_OFFERS_MAX) {
        c->config.refused(c->config.ctx, COAP_UNAUTHORIZED);
        return;
    }
    w = wr_into(joined, sizeof(joined));
    wr_bytes(&w, theirs);
    c->config.random->fill(c->config.random->ctx, joined + w.at, PART_BYTES);
    struct slice id_context = slice_of(joined, w.at + PART_BYTES);
    if (c->config.begin(c->config.ctx, id_context) != OK) {
        c->state = GONE; /* who could not keep it knows why */
        return;
    }
    go_on(c, use_context(c, id_context, CURRENT));
}

/* Who does not know our context cannot seal that for us. A new one may help, once. */
static void on_bare(struct oscore_client *c, const struct asked *a, uint8_t code)
{
    if (a->is_answered) {
        c->counts.dropped++;
    } else if (code == COAP_UNAUTHORIZED && !c->has_asked_anew) {
        go_on(c, ask_anew(c));
    } else {
        c->config.refused(c->config.ctx, code);
    }
}

static void take_response(struct oscore_client *c, const struct coap_message *outer)
{
    uint8_t room[OSCORE_MESSAGE_MAX];
    struct slice value, theirs;
    struct coap_oscore o;
    struct coap_message inner;
    struct asked *a = find_asked(c, outer->token);
    if (a == NULL) {
        c->counts.dropped++;
        return;
    }
    if (!coap_options_find(outer->options, COAP_OPTION_OSCORE, &value)) {
        on_bare(c, a, outer->code);
        return;
    }
    if (coap_oscore_decode(value, &o) != OK) {
        c->counts.dropped++;
        return;
    }
    struct oscore_peer p = {&c->keys, c->ccm};
    if (o.has_kid_context && oscore_kid_context_read(o.kid_context, &theirs) && !a->is_answered) {
        take_offer(c, a, outer, &o, theirs);
    } else if (oscore_response_open(&p, &a->binding, outer, &o, room, &inner) == OK) {
        deliver(c, a, &inner, &o);
    } else {
        c->counts.dropped++;
    }
    mem_wipe(room, sizeof(room));
}

static void client_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                         uint64_t now_ms)
{
    struct oscore_client *c = client_of(d);
    (void)now_ms;
    struct coap_message outer;
    bool is_open = c->state == ASKING || c->state == CURRENT;
    if (!is_open || !net_peer_equal(peer, &c->server) || datagram.n > OSCORE_MESSAGE_MAX ||
        coap_message_decode(datagram, COAP_ENDPOINT_TOKEN_MAX, &outer) != OK) {
        c->counts.dropped++;
    } else if (outer.code == COAP_EMPTY) {
        c->handler.received(c->handler.ctx, c->id, datagram);
    } else if (coap_code_is_response(outer.code)) {
        take_response(c, &outer);
    } else {
        c->counts.dropped++; /* a request: we serve nothing */
    }
}

/* ---- the rest of the interface ---- */

static void client_close(struct dtls *d, uint64_t id)
{
    struct oscore_client *c = client_of(d);
    c->state = id == c->id ? GONE : c->state;
}

static bool client_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    const struct oscore_client *c = client_of_const(d);
    bool is_there = id == c->id && (c->state == ASKING || c->state == CURRENT);
    if (is_there) {
        fill_info(c, ret);
    }
    return is_there;
}

static uint64_t client_deadline(const struct dtls *d)
{
    return client_of_const(d)->state == IDLE ? 0 : UINT64_MAX;
}

static void client_tick(struct dtls *d, uint64_t now_ms)
{
    struct oscore_client *c = client_of(d);
    struct slice kept = slice_of(c->id_context, c->id_context_n);
    (void)now_ms;
    if (c->state != IDLE) {
        return;
    }
    go_on(c, kept.n > 0 ? use_context(c, kept, CURRENT) : ask_anew(c));
}

static const struct dtls_counts *client_counts(const struct dtls *d)
{
    return &client_of_const(d)->counts;
}

static struct dtls *client_free(struct dtls *d)
{
    struct oscore_client *c = client_of(d);
    ccm_free(c->ccm);
    mem_wipe(c, sizeof(*c));
    mem_free(c);
    return NULL;
}

static const struct dtls_ops ops = {.input = client_input,
                                    .send = client_send,
                                    .close = client_close,
                                    .info = client_info,
                                    .deadline = client_deadline,
                                    .tick = client_tick,
                                    .counts = client_counts,
                                    .free = client_free};

static struct oscore_id id_of(struct slice s)
{
    struct oscore_id id = {.n = (uint8_t)s.n};
    slice_copy(id.bytes, s);
    return id;
}

/* The material, copied. */
static enum err take_material(struct oscore_client *c, const struct oscore_material *m)
{
    AUTO(oscore_keys_wipe) struct oscore_keys probe = {0};
    TRY(oscore_keys_derive(m, &probe)); /* is it within its bounds? */
    slice_copy(c->secret, m->secret);
    slice_copy(c->salt, m->salt);
    c->sender = id_of(m->sender_id);
    c->recipient = id_of(m->recipient_id);
    c->config.material = (struct oscore_material){.secret = slice_of(c->secret, m->secret.n),
                                                  .salt = slice_of(c->salt, m->salt.n),
                                                  .sender_id = oscore_id_slice(&c->sender),
                                                  .recipient_id = oscore_id_slice(&c->recipient)};
    return OK;
}

enum err oscore_client_new(const struct oscore_client_config *config, const struct net_peer *server,
                           const struct dtls_handler *handler, struct dtls **ret)
{
    struct slice kept = config->id_context;
    struct oscore_client *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->dtls.ops = &ops;
    c->config = *config;
    c->handler = *handler;
    c->server = *server;
    enum err err = kept.n > OSCORE_ID_CONTEXT_MAX ? ERR_TOO_LARGE : OK;
    err = err == OK ? take_material(c, &config->material) : err;
    err = err == OK ? ccm_new(&c->ccm) : err;
    if (err != OK) {
        (void)client_free(&c->dtls);
        return err;
    }
    c->id_context_n = (uint8_t)kept.n;
    slice_copy(c->id_context, kept);
    c->config.id_context = (struct slice){0};
    *ret = &c->dtls;
    return OK;
}

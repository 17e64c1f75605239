#include "net/plain_server.h"

#include "base/list.h"
#include "base/mem.h"
#include "engine/coap_echo.h"
#include "net/known.h"
#include "net/unproven.h"

_Static_assert(PLAIN_QUIET_MS >= PLAIN_ECHO_MS, "no request is served twice by one Echo");

/* Sets its names of associations apart from those of the server behind. */
#define PLAIN_ID ((uint64_t)1 << 62)

struct plain_peer {
    struct known known; /* first */
    uint64_t by;        /* what let it in */
    uint64_t heard_at_ms, proven_at_ms;
    uint16_t last_mid;     /* of its last request: it may come again */
    struct list_node node; /* the one heard last is last */
};

struct plain_server {
    struct dtls dtls; /* first */
    struct plain_server_config config;
    struct dtls_handler handler;
    struct dtls *behind; /* owned */
    struct unproven unproven;
    struct siphash_key key; /* of the maps, and of Echo values */
    struct map by_peer, by_id;
    struct list peers;
    uint64_t last_id;
};

struct incoming {
    const struct net_peer *peer;
    struct slice datagram;
    struct coap_message m;
    uint64_t by, now_ms;
};

static struct plain_server *server_of(const struct dtls *d)
{
    return (struct plain_server *)(uintptr_t)d;
}

static struct plain_peer *peer_of_id(const struct plain_server *s, uint64_t id)
{
    return known_of_id(&s->by_id, id);
}

static bool is_plain_id(uint64_t id)
{
    return (id & PLAIN_ID) != 0;
}

static struct dtls_info info_of(const struct plain_peer *p)
{
    return (struct dtls_info){
        .id = p->known.id, .peer = p->known.peer, .cipher = "no cipher", .permission = p->by};
}

/* ---- peers ---- */

static void forget(struct plain_server *s, struct plain_peer *p)
{
    (void)map_remove(&s->by_peer, known_peer_key(p));
    (void)map_remove(&s->by_id, known_id_key(p));
    list_unlink(&p->node);
    mem_free(p);
}

static void end(struct plain_server *s, struct plain_peer *p)
{
    uint64_t id = p->known.id;
    forget(s, p);
    s->handler.closed(s->handler.ctx, id, ERR_EXISTS);
}

static bool is_of_address(const struct plain_peer *p, const struct net_peer *peer)
{
    return memcmp(p->known.peer.address, peer->address, sizeof(peer->address)) == 0 &&
           p->known.peer.scope == peer->scope;
}

/* Only whoever has just proven its address comes here, so walking is paid for. */
static size_t count_of(const struct plain_server *s, const struct net_peer *peer,
                       struct plain_peer **ret_oldest)
{
    size_t n = 0;
    *ret_oldest = NULL;
    list_for_each (node, &s->peers) {
        struct plain_peer *p = LIST_ENTRY(node, struct plain_peer, node);
        if (is_of_address(p, peer)) {
            *ret_oldest = *ret_oldest == NULL ? p : *ret_oldest;
            n++;
        }
    }
    return n;
}

/* Who would have to leave for one more from there; NULL: there is room. */
static struct plain_peer *in_the_way(const struct plain_server *s, const struct net_peer *peer)
{
    struct plain_peer *oldest;
    if (count_of(s, peer, &oldest) >= s->config.peers_of_address_max) {
        return oldest;
    }
    struct list_node *first = list_first(&s->peers);
    bool is_full = s->by_peer.n >= s->config.peers_max && first != NULL;
    return is_full ? LIST_ENTRY(first, struct plain_peer, node) : NULL;
}

/* Room for one more, by the end of one that is quiet if need be. */
static bool make_room(struct plain_server *s, const struct incoming *in)
{
    struct plain_peer *p = in_the_way(s, in->peer);
    if (p != NULL && in->now_ms < p->heard_at_ms + PLAIN_QUIET_MS) {
        return false;
    }
    if (p != NULL) {
        end(s, p);
    }
    return true;
}

static enum err peer_new(struct plain_server *s, const struct incoming *in, struct plain_peer **ret)
{
    struct plain_peer *p = mem_zalloc(sizeof(*p));
    if (p == NULL) {
        return ERR_NOMEM;
    }
    *p = (struct plain_peer){.known = {PLAIN_ID | ++s->last_id, *in->peer}, .by = in->by};
    enum err err = map_add(&s->by_peer, p);
    err = err == OK ? map_add(&s->by_id, p) : err;
    if (err != OK) {
        forget(s, p);
        return err;
    }
    list_append(&s->peers, &p->node);
    *ret = p;
    return OK;
}

/* ---- requests ---- */

/* An Echo is of an address, and of what lets it in. */
static uint64_t echo_tag(const struct plain_server *s, const struct incoming *in)
{
    const uint64_t of[] = {siphash(&s->key, net_peer_key(in->peer)), in->by};
    return siphash(&s->key, slice_of(of, sizeof(of)));
}

static bool has_echo(const struct plain_server *s, const struct incoming *in)
{
    struct slice value;
    uint64_t age_ms;
    return coap_options_find(in->m.options, COAP_OPTION_ECHO, &value) &&
           coap_echo_check(&s->key, echo_tag(s, in), value, in->now_ms, PLAIN_ECHO_MS, &age_ms);
}

/* The answer to a request that nobody serves. */
static void say(struct plain_server *s, const struct incoming *in, uint8_t code,
                struct slice options, bool is_proven)
{
    uint8_t out[64];
    size_t n;
    const struct coap_message m = {.type = in->m.type == COAP_CON ? COAP_ACK : COAP_NON,
                                   .code = code,
                                   .mid = in->m.mid,
                                   .token = in->m.token,
                                   .options = options};
    if (coap_message_encode(&m, out, sizeof(out), &n) == OK &&
        (is_proven || unproven_may_say(&s->unproven, n))) {
        s->handler.transmit(s->handler.ctx, in->peer, slice_of(out, n));
    }
}

static void challenge(struct plain_server *s, const struct incoming *in)
{
    uint8_t value[COAP_ECHO_BYTES], block[COAP_ECHO_BYTES + 8];
    struct slice options;
    struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
    coap_echo_make(&s->key, echo_tag(s, in), in->now_ms, value);
    coap_option_add(&w, COAP_OPTION_ECHO, slice_of(value, sizeof(value)));
    if (coap_option_writer_done(&w, &options) == OK) {
        /* A bare request may get a bare answer only. */
        size_t n = COAP_HEADER_BYTES + in->m.token.n + options.n;
        if (n > (size_t)UNPROVEN_TIMES * in->datagram.n) {
            options = (struct slice){0};
        }
        unproven_open(&s->unproven, in->datagram.n);
        s->config.counters->challenged++;
        say(s, in, COAP_UNAUTHORIZED, options, false);
        unproven_close(&s->unproven);
    }
}

static void refuse(struct plain_server *s, const struct incoming *in, enum plain_refusal why)
{
    say(s, in, COAP_UNAVAILABLE, (struct slice){0}, true);
    s->config.refused(s->config.ctx, in->peer, why);
}

static void deliver(struct plain_server *s, struct plain_peer *p, const struct incoming *in)
{
    list_unlink(&p->node);
    list_append(&s->peers, &p->node);
    p->heard_at_ms = in->now_ms;
    s->handler.received(s->handler.ctx, p->known.id, in->datagram);
}

static void deliver_request(struct plain_server *s, struct plain_peer *p, const struct incoming *in)
{
    p->last_mid = in->m.mid;
    deliver(s, p, in);
}

/* Its Echo is good, and nobody is there yet. */
static void arrive(struct plain_server *s, const struct incoming *in)
{
    struct plain_peer *p = NULL;
    if (s->handler.admit != NULL && !s->handler.admit(s->handler.ctx, in->peer)) {
        s->config.refused(s->config.ctx, in->peer, PLAIN_REFUSED_ADMIT);
        return;
    }
    if (!make_room(s, in)) {
        refuse(s, in, PLAIN_REFUSED_FULL);
        return;
    }
    if (peer_new(s, in, &p) != OK) {
        refuse(s, in, PLAIN_REFUSED_OPENED);
        return;
    }
    p->proven_at_ms = p->heard_at_ms = in->now_ms;
    struct dtls_info info = info_of(p);
    s->handler.opened(s->handler.ctx, &info);
    p = peer_of_id(s, info.id);
    if (p != NULL) {
        deliver_request(s, p, in);
    } else {
        refuse(s, in, PLAIN_REFUSED_OPENED);
    }
}

/* Proven and still so; a request that comes again belongs to the proof that it came by. */
static bool is_proven(const struct plain_peer *p, const struct incoming *in)
{
    return p != NULL && p->by == in->by &&
           (in->now_ms < p->proven_at_ms + PLAIN_PROOF_MS || in->m.mid == p->last_mid);
}

static void take_request(struct plain_server *s, struct plain_peer *p, const struct incoming *in)
{
    if (is_proven(p, in)) {
        deliver_request(s, p, in);
    } else if (!has_echo(s, in)) {
        challenge(s, in);
    } else {
        s->config.counters->proofs++;
        if (p != NULL && p->by == in->by) {
            p->proven_at_ms = in->now_ms;
            deliver_request(s, p, in);
            return;
        }
        if (p != NULL) {
            end(s, p);
        }
        arrive(s, in);
    }
}

static bool is_protected(const struct coap_message *m)
{
    struct slice value;
    return coap_options_find(m->options, COAP_OPTION_OSCORE, &value);
}

/* ---- the interface ---- */

static void server_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                         uint64_t now_ms)
{
    struct plain_server *s = server_of(d);
    struct incoming in = {.peer = peer, .datagram = datagram, .now_ms = now_ms};
    struct plain_peer *p = known_at(&s->by_peer, peer);
    in.by = s->config.let_in_by(s->config.ctx);
    if (in.by == 0 || coap_message_decode(datagram, COAP_ENDPOINT_TOKEN_MAX, &in.m) != OK) {
        dtls_input(s->behind, peer, datagram, now_ms);
        return;
    }
    bool is_request = coap_code_is_request(in.m.code);
    if (is_request && !is_protected(&in.m)) {
        take_request(s, p, &in);
        return;
    }
    bool is_for_peer = !is_request && p != NULL && p->by == in.by;
    bool is_for_other = !is_for_peer || s->config.is_known_behind(s->config.ctx, peer);
    if (is_for_peer) {
        deliver(s, p, &in);
    }
    if (is_for_other) {
        dtls_input(s->behind, peer, datagram, now_ms);
    }
}

static enum err server_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct plain_server *s = server_of(d);
    if (!is_plain_id(id)) {
        return dtls_send(s->behind, id, plain, now_ms);
    }
    const struct plain_peer *p = peer_of_id(s, id);
    if (p == NULL) {
        return ERR_NOT_FOUND;
    }
    if (plain.n > DTLS_PLAIN_MAX) {
        return ERR_TOO_LARGE;
    }
    s->handler.transmit(s->handler.ctx, &p->known.peer, plain);
    return OK;
}

static void server_close(struct dtls *d, uint64_t id)
{
    struct plain_server *s = server_of(d);
    struct plain_peer *p = is_plain_id(id) ? peer_of_id(s, id) : NULL;
    if (p != NULL) {
        forget(s, p);
    } else if (!is_plain_id(id)) {
        dtls_close(s->behind, id);
    }
}

static bool server_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    const struct plain_server *s = server_of(d);
    if (!is_plain_id(id)) {
        return dtls_info(s->behind, id, ret);
    }
    const struct plain_peer *p = peer_of_id(s, id);
    if (p != NULL) {
        *ret = info_of(p);
    }
    return p != NULL;
}

/* Who has gone quiet is its owner's to close: only there it is known who still listens. */
static uint64_t server_deadline(const struct dtls *d)
{
    return dtls_deadline(server_of(d)->behind);
}

static void server_tick(struct dtls *d, uint64_t now_ms)
{
    dtls_tick(server_of(d)->behind, now_ms);
}

static size_t server_turn_away(struct dtls *d)
{
    return dtls_turn_away(server_of(d)->behind);
}

static const struct dtls_counts *server_counts(const struct dtls *d)
{
    return dtls_counts(server_of(d)->behind);
}

static struct dtls *server_free(struct dtls *d)
{
    struct plain_server *s = server_of(d);
    struct list_node *n;
    while ((n = list_first(&s->peers)) != NULL) {
        forget(s, LIST_ENTRY(n, struct plain_peer, node));
    }
    map_done(&s->by_peer);
    map_done(&s->by_id);
    dtls_free(s->behind);
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
                                    .turn_away = server_turn_away,
                                    .counts = server_counts,
                                    .free = server_free};

size_t plain_server_count(const struct dtls *d)
{
    return server_of(d)->by_peer.n;
}

enum err plain_server_new(const struct plain_server_config *config,
                          const struct dtls_handler *handler, struct dtls *behind,
                          struct dtls **ret)
{
    struct plain_server *s = mem_zalloc(sizeof(*s));
    if (s == NULL) {
        dtls_free(behind);
        return ERR_NOMEM;
    }
    s->dtls.ops = &ops;
    s->config = *config;
    s->handler = *handler;
    s->behind = behind;
    s->unproven.counters = config->counters;
    s->config.peers_max = config->peers_max != 0 ? config->peers_max : PLAIN_PEERS_MAX;
    s->config.peers_of_address_max = config->peers_of_address_max != 0
                                         ? config->peers_of_address_max
                                         : PLAIN_PEERS_OF_ADDRESS_MAX;
    s->key = (struct siphash_key){random_u64(config->random), random_u64(config->random)};
    map_init(&s->by_peer, &s->key, known_peer_key);
    map_init(&s->by_id, &s->key, known_id_key);
    list_init(&s->peers);
    *ret = &s->dtls;
    return OK;
}

/* oscore_pair_test - an oscore_server and a client of it, for tests and the fuzz target. */
#ifndef NET_OSCORE_PAIR_TEST_H
#define NET_OSCORE_PAIR_TEST_H

#include <assert.h>
#include <string.h>

#include "engine/oscore_message.h"
#include "net/oscore_server.h"
#include "wire/coap/uri.h"

enum { PAIR_CREDENTIAL = 7, PAIR_OWNER = 70 };

struct pair {
    struct dtls *server;
    struct random_source random;
    uint64_t seed;
    struct coap_counters counters;
    bool is_registered; /* the device is in force */
    bool refuses;       /* opened closes at once */
    bool has_numbers;   /* false: asking for numbers fails */
    uint64_t now_ms;
    /* what the server said */
    uint64_t id; /* of the association that is open; 0: none */
    struct net_peer moved_to, sent_to;
    unsigned n_opened, n_received, n_moved, n_sent, n_asked;
    unsigned n_refused[OSCORE_REFUSALS];
    unsigned n_closed;
    uint8_t token[8]; /* of the last request, as the server names it */
    uint16_t our_mid;
    uint8_t plain[2048], out[2048]; /* the last of each */
    size_t plain_n, out_n;
    /* the client */
    struct ccm *ccm;
    struct oscore_keys keys;
    uint64_t piv;
    uint16_t mid;
    struct oscore_binding bound; /* of its last request */
    struct slice kid_context;    /* that it sends; empty: none */
    const char *path;            /* that it asks for; NULL: a */
};

static const uint8_t pair_kid[] = {0xc0, 0xde};
static const uint8_t pair_our_id[] = {0};
static const uint8_t pair_secret[OSCORE_SECRET_MIN] = {1, 2, 3};

static inline struct oscore_keys pair_derive(bool is_server, const struct slice *id_context)
{
    struct slice ours = slice_of(pair_our_id, sizeof(pair_our_id));
    struct slice theirs = slice_of(pair_kid, sizeof(pair_kid));
    struct oscore_material m = {.secret = slice_of(pair_secret, sizeof(pair_secret)),
                                .sender_id = is_server ? ours : theirs,
                                .recipient_id = is_server ? theirs : ours,
                                .has_id_context = id_context != NULL,
                                .id_context = id_context != NULL ? *id_context : (struct slice){0}};
    struct oscore_keys k;
    enum err err = oscore_keys_derive(&m, &k);
    assert(err == OK);
    return k;
}

static inline bool pair_knows(void *ctx, struct slice kid)
{
    (void)ctx;
    return slice_equal(kid, slice_of(pair_kid, sizeof(pair_kid)));
}

static inline enum err pair_find(void *ctx, struct slice kid, const struct slice *id_context,
                                 struct oscore_found *ret)
{
    const struct pair *p = ctx;
    if (!p->is_registered || !slice_equal(kid, slice_of(pair_kid, sizeof(pair_kid)))) {
        return ERR_NOT_FOUND;
    }
    *ret = (struct oscore_found){pair_derive(true, id_context), PAIR_CREDENTIAL, PAIR_OWNER};
    return OK;
}

static inline bool pair_reserve(void *ctx, const struct oscore_id *kid, uint64_t credential,
                                uint64_t owner)
{
    struct pair *p = ctx;
    assert(kid->n == sizeof(pair_kid) && credential == PAIR_CREDENTIAL && owner == PAIR_OWNER);
    p->n_asked += p->has_numbers ? 1 : 0;
    return p->has_numbers;
}

static inline void pair_refused(void *ctx, const struct net_peer *peer, enum oscore_refusal why,
                                struct slice kid)
{
    struct pair *p = ctx;
    (void)peer;
    (void)kid;
    p->n_refused[why]++;
}

static inline void pair_moved(void *ctx, uint64_t id, const struct net_peer *peer)
{
    struct pair *p = ctx;
    assert(id == p->id);
    p->n_moved++;
    p->moved_to = *peer;
}

static inline void pair_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct pair *p = ctx;
    assert(datagram.n <= sizeof(p->out));
    p->n_sent++;
    p->sent_to = *to;
    p->out_n = datagram.n;
    slice_copy(p->out, datagram);
}

static inline void pair_opened(void *ctx, const struct dtls_info *info)
{
    struct pair *p = ctx;
    assert(info->credential == PAIR_CREDENTIAL);
    p->n_opened++;
    p->id = info->id;
    if (p->refuses) {
        dtls_close(p->server, info->id);
        p->id = 0;
    }
}

static inline void pair_received(void *ctx, uint64_t id, struct slice plain)
{
    struct pair *p = ctx;
    assert(id == p->id && plain.n <= sizeof(p->plain));
    p->n_received++;
    p->plain_n = plain.n;
    slice_copy(p->plain, plain);
    struct coap_message m;
    if (coap_message_decode(plain, COAP_ENDPOINT_TOKEN_MAX, &m) == OK && m.token.n == 8) {
        slice_copy(p->token, m.token);
        p->our_mid = m.mid;
    }
}

static inline void pair_closed(void *ctx, uint64_t id, enum err why)
{
    struct pair *p = ctx;
    assert(id == p->id && why == ERR_EXISTS);
    (void)why;
    p->n_closed++;
    p->id = 0;
}

static inline void pair_serve(struct pair *p)
{
    struct oscore_server_config config = {.ctx = p,
                                          .knows = pair_knows,
                                          .find = pair_find,
                                          .reserve = pair_reserve,
                                          .refused = pair_refused,
                                          .moved = pair_moved,
                                          .random = &p->random,
                                          .counters = &p->counters};
    struct dtls_handler handler = {.ctx = p,
                                   .transmit = pair_transmit,
                                   .opened = pair_opened,
                                   .received = pair_received,
                                   .closed = pair_closed};
    enum err err = oscore_server_new(&config, &handler, &p->server);
    assert(err == OK);
}

/* The pair must not move afterwards. */
static inline void pair_init(struct pair *p)
{
    *p = (struct pair){.seed = 5, .is_registered = true, .has_numbers = true, .now_ms = 1000000};
    p->random = random_seeded(&p->seed);
    pair_serve(p);
    enum err err = ccm_new(&p->ccm);
    assert(err == OK);
    p->keys = pair_derive(false, NULL);
}

static inline void pair_done(struct pair *p)
{
    dtls_free(p->server);
    ccm_free(p->ccm);
}

static inline struct net_peer pair_peer(unsigned n)
{
    return (struct net_peer){.address = {[10] = 0xff, [11] = 0xff, [15] = 1}, .port = 4000 + n};
}

static inline void pair_input(struct pair *p, unsigned from, struct slice datagram)
{
    struct net_peer peer = pair_peer(from);
    dtls_input(p->server, &peer, datagram, p->now_ms);
}

/* One request of the client's as it travels; echo and observe as options inside. */
static inline struct slice pair_request(struct pair *p, struct slice echo, bool observes,
                                        uint8_t dst[2048])
{
    uint8_t options[128], room[OSCORE_MESSAGE_MAX];
    struct coap_option_writer w = coap_option_writer_into(options, sizeof(options));
    struct coap_message plain = {.type = COAP_CON, .code = COAP_GET, .mid = ++p->mid}, sealed;
    struct oscore_peer client = {&p->keys, p->ccm};
    struct oscore_outgoing how = {
        .piv = p->piv++, .has_kid_context = p->kid_context.n > 0, .kid_context = p->kid_context};
    size_t n = 0;
    if (observes) {
        coap_option_add_uint(&w, COAP_OPTION_OBSERVE, 0);
    }
    coap_uri_path_options(slice_text(p->path != NULL ? p->path : "a"), &w);
    if (echo.n > 0) {
        coap_option_add(&w, COAP_OPTION_ECHO, echo);
    }
    enum err err = coap_option_writer_done(&w, &plain.options);
    plain.token = slice_text("tok");
    err = err == OK ? oscore_request_protect(&client, &how, &plain, room, &sealed, &p->bound) : err;
    err = err == OK ? coap_message_encode(&sealed, dst, 2048, &n) : err;
    assert(err == OK);
    return slice_of(dst, n);
}

/* Opens what the server sent last as the answer to the last request. */
static inline enum err pair_answer(struct pair *p, uint8_t room[OSCORE_MESSAGE_MAX],
                                   struct coap_message *ret, struct coap_oscore *ret_option)
{
    struct coap_message outer;
    struct slice value;
    struct oscore_peer client = {&p->keys, p->ccm};
    TRY(coap_message_decode(slice_of(p->out, p->out_n), COAP_ENDPOINT_TOKEN_MAX, &outer));
    if (!coap_options_find(outer.options, COAP_OPTION_OSCORE, &value)) {
        return ERR_NOT_FOUND;
    }
    TRY(coap_oscore_decode(value, ret_option));
    return oscore_response_open(&client, &p->bound, &outer, ret_option, room, ret);
}

#endif

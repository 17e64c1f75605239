/* oscore_duo_test - an oscore_client and the oscore_server of a pair, for tests and the fuzz
 * target. */
#ifndef NET_OSCORE_DUO_TEST_H
#define NET_OSCORE_DUO_TEST_H

#include "net/oscore_client.h"
#include "net/oscore_pair_test.h"

struct duo {
    struct pair pair; /* its server; its own client is not used */
    struct dtls *client;
    struct net_peer server_peer;
    uint64_t id; /* of the client's association; 0: it did not open */
    unsigned n_opened, n_received, n_sent, n_begun, n_numbers, n_refused;
    uint8_t refused;
    uint64_t next; /* number under the kept context */
    bool has_no_numbers, keeps_nothing;
    uint8_t kept[OSCORE_ID_CONTEXT_MAX];
    size_t kept_n;
    uint8_t sent[2048], plain[2048]; /* the last of each */
    size_t sent_n, plain_n;
    struct coap_message got; /* in `plain` */
};

static inline void duo_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct duo *d = ctx;
    assert(net_peer_equal(to, &d->server_peer) && datagram.n <= sizeof(d->sent));
    d->n_sent++;
    d->sent_n = datagram.n;
    slice_copy(d->sent, datagram);
}

static inline void duo_opened(void *ctx, const struct dtls_info *info)
{
    struct duo *d = ctx;
    assert(info->id > d->id);
    d->n_opened++;
    d->id = info->id;
}

static inline void duo_received(void *ctx, uint64_t id, struct slice plain)
{
    struct duo *d = ctx;
    assert(id == d->id && plain.n <= sizeof(d->plain));
    d->n_received++;
    d->plain_n = plain.n;
    slice_copy(d->plain, plain);
    enum err err =
        coap_message_decode(slice_of(d->plain, plain.n), COAP_ENDPOINT_TOKEN_MAX, &d->got);
    assert(err == OK);
}

static inline enum err duo_number(void *ctx, uint64_t *ret)
{
    struct duo *d = ctx;
    d->n_numbers++;
    if (d->has_no_numbers) {
        return ERR_IO;
    }
    *ret = d->next++;
    return OK;
}

static inline enum err duo_begin(void *ctx, struct slice id_context)
{
    struct duo *d = ctx;
    d->n_begun++;
    if (d->keeps_nothing) {
        return ERR_IO;
    }
    d->kept_n = id_context.n;
    slice_copy(d->kept, id_context);
    d->next = 0;
    return OK;
}

static inline void duo_refused(void *ctx, uint8_t code)
{
    struct duo *d = ctx;
    d->n_refused++;
    d->refused = code;
}

/* A client as it starts: with what the one before it kept. */
static inline enum err duo_start(struct duo *d, const uint8_t secret[OSCORE_SECRET_MIN])
{
    struct oscore_client_config config = {
        .ctx = d,
        .material = {.secret = slice_of(secret, OSCORE_SECRET_MIN),
                     .sender_id = slice_of(pair_kid, sizeof(pair_kid)),
                     .recipient_id = slice_of(pair_our_id, sizeof(pair_our_id))},
        .id_context = slice_of(d->kept, d->kept_n),
        .number = duo_number,
        .begin = duo_begin,
        .refused = duo_refused,
        .random = &d->pair.random};
    struct dtls_handler handler = {
        .ctx = d, .transmit = duo_transmit, .opened = duo_opened, .received = duo_received};
    d->id = 0;
    return oscore_client_new(&config, &d->server_peer, &handler, &d->client);
}

/* The duo must not move afterwards. */
static inline void duo_init(struct duo *d)
{
    *d = (struct duo){.server_peer = pair_peer(99)};
    pair_init(&d->pair);
    enum err err = duo_start(d, pair_secret);
    assert(err == OK);
    dtls_tick(d->client, 0);
}

static inline void duo_done(struct duo *d)
{
    d->client = dtls_free(d->client);
    pair_done(&d->pair);
}

/* The server gets the numbers that it has asked for since. */
static inline void duo_numbers(struct duo *d, unsigned n_asked)
{
    if (d->pair.n_asked > n_asked) {
        struct oscore_id kid = {.n = 2, .bytes = {pair_kid[0], pair_kid[1]}};
        oscore_server_numbers(d->pair.server, &kid, PAIR_CREDENTIAL, 1000 * d->pair.n_asked,
                              1000 * d->pair.n_asked + 500, d->pair.now_ms);
    }
}

/* What the client sent last goes to the server. */
static inline void duo_up(struct duo *d, unsigned from)
{
    unsigned n_asked = d->pair.n_asked;
    pair_input(&d->pair, from, slice_of(d->sent, d->sent_n));
    duo_numbers(d, n_asked);
}

/* What the server sent last comes to the client. */
static inline void duo_down(struct duo *d)
{
    dtls_input(d->client, &d->server_peer, slice_of(d->pair.out, d->pair.out_n), d->pair.now_ms);
}

/* A request of the client's. */
static inline enum err duo_ask(struct duo *d, uint16_t mid, struct slice echo, bool observes)
{
    uint8_t bytes[512], options[128], token[2] = {(uint8_t)(mid >> 8), (uint8_t)mid};
    size_t n = 0;
    struct coap_option_writer w = coap_option_writer_into(options, sizeof(options));
    struct coap_message m = {
        .type = COAP_CON, .code = COAP_GET, .mid = mid, .token = slice_of(token, sizeof(token))};
    if (observes) {
        coap_option_add_uint(&w, COAP_OPTION_OBSERVE, 0);
    }
    coap_option_add(&w, COAP_OPTION_URI_PATH, slice_text("a"));
    if (echo.n > 0) {
        coap_option_add(&w, COAP_OPTION_ECHO, echo);
    }
    enum err err = coap_option_writer_done(&w, &m.options);
    err = err == OK ? coap_message_encode(&m, bytes, sizeof(bytes), &n) : err;
    assert(err == OK);
    return dtls_send(d->client, d->id, slice_of(bytes, n), d->pair.now_ms);
}

/* The server answers what it received last. */
static inline enum err duo_answer(struct duo *d, enum coap_type type, const char *payload,
                                  bool observes)
{
    uint8_t bytes[512], options[16];
    size_t n = 0;
    struct coap_option_writer w = coap_option_writer_into(options, sizeof(options));
    struct coap_message m = {.type = type,
                             .code = COAP_CONTENT,
                             .mid = d->pair.our_mid,
                             .token = slice_of(d->pair.token, sizeof(d->pair.token)),
                             .payload = slice_text(payload)};
    if (observes) {
        coap_option_add_uint(&w, COAP_OPTION_OBSERVE, 7);
    }
    enum err err = coap_option_writer_done(&w, &m.options);
    err = err == OK ? coap_message_encode(&m, bytes, sizeof(bytes), &n) : err;
    assert(err == OK);
    unsigned n_asked = d->pair.n_asked, n_sent = d->pair.n_sent;
    err = dtls_send(d->pair.server, d->pair.id, slice_of(bytes, n), d->pair.now_ms);
    if (err == OK && d->pair.n_sent == n_sent) {
        duo_numbers(d, n_asked); /* it was lost, for there was none */
        err = dtls_send(d->pair.server, d->pair.id, slice_of(bytes, n), d->pair.now_ms);
    }
    return err;
}

#endif

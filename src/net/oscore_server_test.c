#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/oscore_pair_test.h"

static const struct slice none;

static void give_numbers(struct pair *p, uint64_t first, uint64_t end)
{
    oscore_server_numbers(p->server,
                          &(struct oscore_id){.n = 2, .bytes = {pair_kid[0], pair_kid[1]}},
                          PAIR_CREDENTIAL, first, end, p->now_ms);
}

/* A request that brings nothing but itself. */
static void asks(struct pair *p, unsigned from)
{
    uint8_t request[2048];
    pair_input(p, from, pair_request(p, none, false, request));
}

/* A request without Echo is answered by one, sealed; gives its value, in `value`. */
static struct slice challenged(struct pair *p, unsigned from, uint8_t value[64])
{
    uint8_t request[2048], room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    struct slice echo = {0};
    unsigned n_received = p->n_received;
    pair_input(p, from, pair_request(p, none, false, request));
    assert_int_equal(p->n_received, n_received); /* nothing was done */
    assert_int_equal(pair_answer(p, room, &m, &o), OK);
    assert_int_equal(m.code, COAP_UNAUTHORIZED);
    assert_true(o.has_piv); /* SPEC: RFC8613 B.1.2 */
    assert_int_equal(m.payload.n, 0);
    assert_true(coap_options_find(m.options, COAP_OPTION_ECHO, &echo));
    slice_copy(value, echo);
    return slice_of(value, echo.n);
}

/* One that has a number on record, and was asked for its Echo: the value. */
static struct slice challenged_pair(struct pair *p, uint8_t value[64])
{
    pair_init(p);
    asks(p, 0);
    assert_int_equal(p->n_sent, 0); /* no number is on record yet: it waits for one */
    assert_int_equal(p->n_asked, 1);
    give_numbers(p, 0, 256);
    assert_int_equal(p->n_sent, 1);
    return challenged(p, 0, value);
}

/* The whole way in. */
static void open_pair(struct pair *p)
{
    uint8_t request[2048], value[64];
    struct slice echo = challenged_pair(p, value);
    pair_input(p, 0, pair_request(p, echo, false, request));
    assert_int_equal(p->n_opened, 1);
    assert_int_equal(p->n_received, 1);
}

static void reply(struct pair *p, enum coap_type type, const char *payload, int observe)
{
    uint8_t bytes[256], options[16];
    size_t n = 0;
    struct coap_option_writer w = coap_option_writer_into(options, sizeof(options));
    struct coap_message m = {.type = type,
                             .code = COAP_CONTENT,
                             .mid = p->our_mid,
                             .token = slice_of(p->token, sizeof(p->token)),
                             .payload = slice_text(payload)};
    if (observe >= 0) {
        coap_option_add_uint(&w, COAP_OPTION_OBSERVE, (uint32_t)observe);
    }
    assert_int_equal(coap_option_writer_done(&w, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    assert_int_equal(dtls_send(p->server, p->id, slice_of(bytes, n), p->now_ms), OK);
}

static void way_in(void **state)
{
    (void)state;
    struct pair p;
    uint8_t room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    open_pair(&p);
    assert_int_equal(coap_message_decode(slice_of(p.plain, p.plain_n), 8, &m), OK);
    assert_int_equal(m.code, COAP_GET);
    assert_int_equal(m.token.n, 8); /* ours, not the client's */
    reply(&p, COAP_ACK, "21.5", -1);
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(slice_is(m.payload, "21.5"));
    assert_false(o.has_piv); /* the first answer has the nonce of its request */
    reply(&p, COAP_ACK, "21.6", -1);
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(o.has_piv); /* another one never has */
    /* known and here: no further Echo */
    asks(&p, 0);
    assert_int_equal(p.n_received, 2);
    pair_done(&p);
}

/* Every refusal: the code, that it is bare, and that nothing else came of it. */
static void refusals(void **state)
{
    (void)state;
    struct pair p;
    uint8_t request[2048], forged[2048];
    struct coap_message m = {0};
    open_pair(&p);
    struct slice good = pair_request(&p, none, false, request);
    const struct {
        const char *name;
        enum oscore_refusal why;
        uint8_t code;
    } cases[] = {
        {"no OSCORE option", OSCORE_REFUSED_PLAIN, COAP_UNAUTHORIZED},
        {"no kid", OSCORE_REFUSED_OPTION, COAP_BAD_OPTION},
        {"reserved flag", OSCORE_REFUSED_OPTION, COAP_BAD_OPTION},
        {"unknown kid", OSCORE_REFUSED_KID, COAP_UNAUTHORIZED},
        {"longer kid than can be", OSCORE_REFUSED_KID, COAP_UNAUTHORIZED},
        {"a kid context", OSCORE_REFUSED_KID, COAP_UNAUTHORIZED},
        {"changed text", OSCORE_REFUSED_KEY, COAP_UNAUTHORIZED},
        {"no text", OSCORE_REFUSED_KEY, COAP_UNAUTHORIZED},
    };
    static const uint8_t options[][20] = {
        {0},
        {2, 0x01, 9},
        {4, 0x29, 9, 0xc0, 0xde},
        {4, 0x09, 9, 0xc0, 0xdf},
        {10, 0x09, 9, 1, 2, 3, 4, 5, 6, 7, 8},
        {6, 0x19, 9, 1, 'x', 0xc0, 0xde},
        {4, 0x09, 9, 0xc0, 0xde},
        {4, 0x09, 9, 0xc0, 0xde},
    };
    size_t bare_n = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t block[64];
        struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
        size_t n = 0;
        print_message("%s\n", cases[i].name);
        assert_int_equal(coap_message_decode(good, 8, &m), OK);
        m.mid = (uint16_t)(900 + i);
        if (options[i][0] > 0) {
            coap_option_add(&w, COAP_OPTION_OSCORE, slice_of(options[i] + 1, options[i][0]));
        }
        assert_int_equal(coap_option_writer_done(&w, &m.options), OK);
        m.payload = i == 7 ? none : m.payload;
        assert_int_equal(coap_message_encode(&m, forged, sizeof(forged), &n), OK);
        for (int is_non = 0; is_non < 2; is_non++) {
            unsigned n_sent = p.n_sent;
            unsigned n_refused = p.n_refused[cases[i].why];
            forged[0] = (uint8_t)((forged[0] & 0xCF) | (is_non != 0 ? 0x10 : 0));
            pair_input(&p, 1, slice_of(forged, n));
            assert_int_equal(p.n_refused[cases[i].why], n_refused + 1);
            assert_int_equal(p.n_sent, n_sent + (is_non != 0 ? 0 : 1)); /* a NON gets nothing */
        }
        assert_int_equal(coap_message_decode(slice_of(p.out, p.out_n), 8, &m), OK);
        assert_int_equal(m.code, cases[i].code);
        assert_int_equal(m.mid, 900 + i);
        assert_true(m.options.n == 0 && m.payload.n == 0);
        assert_true(p.out_n <= n);
        if (m.code == COAP_UNAUTHORIZED) { /* kid or key: it looks the same */
            assert_true(bare_n == 0 || bare_n == p.out_n);
            bare_n = p.out_n;
        }
    }
    assert_int_equal(p.n_received, 1);
    assert_int_equal(dtls_counts(p.server)->open, 1);
    pair_input(&p, 0, good); /* its number was not used up by the forgeries */
    assert_int_equal(p.n_received, 2);
    pair_done(&p);
}

/* The same datagram again: within a minute, from the same place, whoever keeps the answers gets it;
 * anywhere else, or with another message id, it is a replay. SPEC: RFC8613 7.4 */
static void replays(void **state)
{
    (void)state;
    struct pair p;
    uint8_t request[2048];
    open_pair(&p);
    struct slice r = pair_request(&p, none, false, request);
    pair_input(&p, 0, r);
    assert_int_equal(p.n_received, 2);
    reply(&p, COAP_ACK, "once", -1);
    pair_input(&p, 0, r);
    assert_int_equal(p.n_received, 3); /* the endpoint above knows the message id */
    assert_int_equal(p.n_refused[OSCORE_REFUSED_REPLAY], 0);
    uint8_t room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    reply(&p, COAP_ACK, "once", -1);
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(o.has_piv); /* never the same nonce again */
    pair_input(&p, 1, r);   /* from elsewhere */
    assert_int_equal(p.n_refused[OSCORE_REFUSED_REPLAY], 1);
    request[3] ^= 1; /* the message id is not protected */
    pair_input(&p, 0, r);
    assert_int_equal(p.n_refused[OSCORE_REFUSED_REPLAY], 2);
    request[3] ^= 1;
    p.now_ms += OSCORE_REPEAT_MS;
    pair_input(&p, 0, r);
    assert_int_equal(p.n_refused[OSCORE_REFUSED_REPLAY], 3);
    assert_int_equal(p.n_received, 3);
    pair_done(&p);
}

/* What was recorded before a restart, or before the end of the association, is never taken. */
static void recorded(void **state)
{
    (void)state;
    struct pair p;
    uint8_t with_echo[2048], value[64], request[2048];
    open_pair(&p);
    dtls_close(p.server, p.id);
    p.id = 0;
    struct slice echo = challenged(&p, 0, value);
    struct slice first = pair_request(&p, echo, false, with_echo);
    pair_input(&p, 0, first);
    assert_int_equal(p.n_opened, 2);
    assert_int_equal(p.n_received, 2);
    dtls_close(p.server, p.id);
    p.id = 0;
    pair_input(&p, 0, first); /* its Echo is good still: the window knows better */
    assert_int_equal(p.n_opened, 2);
    assert_int_equal(p.n_refused[OSCORE_REFUSED_REPLAY], 1);
    p.now_ms += OSCORE_LINGER_MS;
    dtls_tick(p.server, p.now_ms); /* the window is forgotten when no Echo of then is good */
    p.now_ms += OSCORE_LINGER_MS;
    dtls_tick(p.server, p.now_ms);
    assert_int_equal(dtls_deadline(p.server), UINT64_MAX);
    pair_input(&p, 0, first);
    assert_int_equal(p.n_opened, 2);
    assert_int_equal(p.n_received, 2);
    /* a restart: other keys of Echo values, no window */
    dtls_free(p.server);
    pair_serve(&p);
    pair_input(&p, 0, first);
    give_numbers(&p, 256, 512);
    assert_int_equal(p.n_received, 2);
    echo = challenged(&p, 0, value);
    pair_input(&p, 0, pair_request(&p, echo, false, request));
    assert_int_equal(p.n_opened, 3);
    assert_int_equal(p.n_received, 3);
    pair_input(&p, 0, first); /* left of where the window begins */
    assert_int_equal(p.n_received, 3);
    pair_done(&p);
}

/* An Echo is good for its address and its minute. */
static void echo_is_bound(void **state)
{
    (void)state;
    struct pair p;
    uint8_t value[64], request[2048];
    open_pair(&p);
    struct slice echo = challenged(&p, 1, value);              /* another port: prove it */
    pair_input(&p, 2, pair_request(&p, echo, false, request)); /* brought back from elsewhere */
    assert_int_equal(p.n_moved, 0);
    p.now_ms += OSCORE_ECHO_MS + 1000;
    pair_input(&p, 1, pair_request(&p, echo, false, request)); /* too old */
    assert_int_equal(p.n_moved, 0);
    assert_int_equal(p.n_received, 1);
    pair_done(&p);
}

/* The same association goes on from the new address, with its observations. */
static void rebinding(void **state)
{
    (void)state;
    struct pair p;
    uint8_t value[64], request[2048], room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    uint32_t number = 0;
    open_pair(&p);
    pair_input(&p, 0, pair_request(&p, none, true, request));
    struct oscore_binding registration = p.bound;
    uint8_t token[8];
    memcpy(token, p.token, sizeof(token));
    reply(&p, COAP_ACK, "a", 1);
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(coap_options_find_uint(m.options, COAP_OPTION_OBSERVE, &number));
    assert_int_equal(coap_message_decode(slice_of(p.out, p.out_n), 8, &m), OK);
    assert_true(coap_options_find_uint(m.options, COAP_OPTION_OBSERVE, &number));
    assert_int_equal(number, 1); /* outside, for whoever is between */
    assert_int_equal(m.code, COAP_CONTENT);
    struct slice echo = challenged(&p, 1, value);
    struct net_peer from = pair_peer(0), to = pair_peer(1);
    reply(&p, COAP_NON, "b", 2);
    assert_true(net_peer_equal(&p.sent_to, &from)); /* nothing was proven yet */
    /* another token, so that the observation is not replaced */
    struct slice r = pair_request(&p, echo, false, request);
    slice_copy(request + 4, slice_text("new"));
    pair_input(&p, 1, r);
    assert_int_equal(p.n_moved, 1);
    assert_int_equal(p.n_opened, 1);
    assert_true(net_peer_equal(&p.moved_to, &to));
    memcpy(p.token, token, sizeof(token));
    reply(&p, COAP_NON, "c", 3);
    assert_true(net_peer_equal(&p.sent_to, &to));
    p.bound = registration;
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(o.has_piv);
    assert_true(slice_is(m.payload, "c"));
    /* acknowledgements count from there, and from nowhere else */
    static const uint8_t ack[] = {0x60, 0, 0, 1};
    unsigned n = p.n_received;
    pair_input(&p, 0, slice_of(ack, sizeof(ack)));
    assert_int_equal(p.n_received, n);
    pair_input(&p, 1, slice_of(ack, sizeof(ack)));
    assert_int_equal(p.n_received, n + 1);
    pair_done(&p);
}

/* A lost challenge is sent again to the same request, under another number; not without end. */
static void challenge_again(void **state)
{
    (void)state;
    struct pair p;
    uint8_t request[2048];
    open_pair(&p);
    struct slice r = pair_request(&p, none, false, request);
    pair_input(&p, 1, r);
    uint8_t before[2048];
    memcpy(before, p.out, p.out_n);
    unsigned n = p.n_sent;
    pair_input(&p, 1, r);
    assert_int_equal(p.n_sent, n + 1);
    assert_memory_not_equal(before, p.out, p.out_n);
    for (int i = 0; i < 100; i++) {
        pair_input(&p, 1, r);
    }
    assert_true(p.n_sent <= n + OSCORE_CHALLENGES_PER_S);
    assert_true(p.counters.unproven_bytes_out <= 3 * p.counters.unproven_bytes_in);
    pair_done(&p);
}

/* Numbers: asked for ahead, used once, and nothing leaves without one. */
static void numbers(void **state)
{
    (void)state;
    struct pair p;
    uint8_t room[OSCORE_MESSAGE_MAX], request[2048];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    uint64_t seen[300];
    size_t n_seen = 0;
    open_pair(&p);
    pair_input(&p, 0, pair_request(&p, none, true, request));
    reply(&p, COAP_ACK, "first", 0);
    unsigned n_asked = p.n_asked;
    for (int i = 0; i < 300; i++) {
        unsigned n = p.n_sent;
        reply(&p, COAP_NON, "x", i + 1);
        if (p.n_sent == n) {
            break;
        }
        assert_int_equal(pair_answer(&p, room, &m, &o), OK);
        for (size_t k = 0; k < n_seen; k++) {
            assert_true(seen[k] != o.piv);
        }
        seen[n_seen++] = o.piv;
    }
    assert_int_equal(n_seen, 254); /* 256 but for two challenges */
    assert_int_equal(p.n_asked, n_asked + 1);
    give_numbers(&p, 1000, 1001);
    reply(&p, COAP_NON, "y", 500);
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(o.piv == 1000);
    give_numbers(&p, COAP_OSCORE_PIV_MAX, COAP_OSCORE_PIV_MAX + 2); /* the very last one */
    reply(&p, COAP_NON, "z", 501);
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(o.piv == COAP_OSCORE_PIV_MAX);
    unsigned n = p.n_sent;
    reply(&p, COAP_NON, "z", 502);
    assert_int_equal(p.n_sent, n);
    pair_done(&p);
}

/* Strangers cost no state, whatever they send; a flood of derivations has a bound. */
static void flood(void **state)
{
    (void)state;
    struct pair p;
    uint8_t request[2048], forged[2048];
    struct coap_message m = {0};
    pair_init(&p);
    struct slice r = pair_request(&p, none, false, request);
    assert_int_equal(coap_message_decode(r, 8, &m), OK);
    (void)mem_fail_after(0); /* nothing here may want memory */
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t block[16];
        const uint8_t value[] = {0x09, 1, (uint8_t)(i >> 8), (uint8_t)i};
        struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
        size_t n = 0;
        coap_option_add(&w, COAP_OPTION_OSCORE, slice_of(value, sizeof(value)));
        assert_int_equal(coap_option_writer_done(&w, &m.options), OK);
        assert_int_equal(coap_message_encode(&m, forged, sizeof(forged), &n), OK);
        pair_input(&p, i, slice_of(forged, n));
        if (i == 10000) {
            p.now_ms += 1000;
        }
    }
    assert_int_equal(mem_fail_after(-1), 0);
    assert_int_equal(p.n_sent, 2 * OSCORE_DERIVATIONS_OF_NOBODY_PER_S);
    assert_int_equal(p.n_opened, 0);
    assert_int_equal(dtls_deadline(p.server), UINT64_MAX);
    assert_true(p.counters.unproven_bytes_out <= 3 * p.counters.unproven_bytes_in);
    /* who comes back in that very second gets its Echo */
    pair_input(&p, 0, r);
    assert_int_equal(p.n_asked, 1);
    pair_done(&p);
}

/* One kid that somebody has overheard: its flood has a bound of its own. */
static void flood_of_one_kid(void **state)
{
    (void)state;
    struct pair p;
    uint8_t request[2048];
    pair_init(&p);
    struct slice r = pair_request(&p, none, false, request);
    request[r.n - 1] ^= 1;
    for (unsigned i = 0; i < 1000; i++) {
        pair_input(&p, i, r);
    }
    assert_int_equal(p.n_sent, OSCORE_DERIVATIONS_OF_SLOT_PER_S);
    p.now_ms += 1000;
    asks(&p, 0);
    assert_int_equal(p.n_asked, 1);
    pair_done(&p);
}

/* Each allocation that fails leaves nothing behind; afterwards it works. */
static void no_memory(void **state)
{
    (void)state;
    for (long k = 0; k < 12; k++) {
        struct pair p;
        uint8_t request[2048], value[64];
        struct slice echo = challenged_pair(&p, value);
        (void)mem_fail_after(k);
        pair_input(&p, 0, pair_request(&p, echo, true, request));
        (void)mem_fail_after(-1);
        pair_input(&p, 0, pair_request(&p, echo, true, request));
        assert_int_equal(p.n_opened, 1);
        assert_true(p.n_received >= 1);
        pair_done(&p);
    }
}

/* Who is not in force any more does not come in, whatever it proves. */
static void refused_by_caller(void **state)
{
    (void)state;
    struct pair p;
    uint8_t request[2048], value[64];
    struct slice echo = challenged_pair(&p, value);
    p.refuses = true;
    pair_input(&p, 0, pair_request(&p, echo, false, request));
    assert_int_equal(p.n_opened, 1);
    assert_int_equal(p.n_received, 0);
    assert_int_equal(dtls_counts(p.server)->open, 0);
    p.is_registered = false;
    pair_input(&p, 0, pair_request(&p, echo, false, request));
    assert_int_equal(p.n_refused[OSCORE_REFUSED_KID], 1);
    pair_done(&p);
}

/* ---- contexts derived anew ---- */

enum { R2_BYTES = 20 };

/* The client's keys under an ID Context, which it sends wrapped. */
static void use_context(struct pair *p, struct slice id_context, uint8_t wrapped[80])
{
    struct wr w = wr_into(wrapped, 80);
    if (id_context.n > 23) {
        wr_u8(&w, 0x58);
        wr_u8(&w, (uint8_t)id_context.n);
    } else {
        wr_u8(&w, (uint8_t)(0x40 + id_context.n));
    }
    wr_bytes(&w, id_context);
    p->kid_context = wr_slice(&w);
    p->keys = pair_derive(false, &id_context);
    p->piv = 0;
}

/* Request #1 under R1; gives R2 from response #1, opened under R2 and R1. */
static void offered(struct pair *p, unsigned from, const char *r1, uint8_t r2[R2_BYTES])
{
    uint8_t wrapped[80], request[2048], joined[64], room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0}, outer;
    struct coap_oscore o = {0};
    struct slice value, none_of_it = {0};
    unsigned n_received = p->n_received;
    use_context(p, slice_text(r1), wrapped);
    pair_input(p, from, pair_request(p, none_of_it, false, request));
    assert_int_equal(p->n_received, n_received); /* nothing was done */
    assert_int_equal(coap_message_decode(slice_of(p->out, p->out_n), 8, &outer), OK);
    assert_true(coap_options_find(outer.options, COAP_OPTION_OSCORE, &value));
    assert_int_equal(coap_oscore_decode(value, &o), OK);
    assert_true(o.has_kid_context && !o.has_piv);
    assert_int_equal(o.kid_context.n, R2_BYTES + 1);
    assert_int_equal(o.kid_context.p[0], 0x40 + R2_BYTES);
    memcpy(r2, o.kid_context.p + 1, R2_BYTES);
    struct wr w = wr_into(joined, sizeof(joined));
    wr_bytes(&w, slice_of(r2, R2_BYTES));
    wr_bytes(&w, slice_text(r1));
    struct slice second = wr_slice(&w);
    struct oscore_keys first = p->keys;
    p->keys = pair_derive(false, &second);
    assert_int_equal(pair_answer(p, room, &m, &o), OK);
    assert_int_equal(m.code, COAP_UNAUTHORIZED);
    assert_true(m.options.n == 0 && m.payload.n == 0);
    p->keys = first;
}

static struct slice third_of(const uint8_t r2[R2_BYTES], const char *r3, uint8_t dst[64])
{
    struct wr w = wr_into(dst, 64);
    wr_bytes(&w, slice_of(r2, R2_BYTES));
    wr_bytes(&w, slice_text(r3));
    return wr_slice(&w);
}

/* SPEC: RFC8613 B.2: request #1, response #1, request #2, response #2; then without kid context. */
static void renewal(void **state)
{
    (void)state;
    struct pair p;
    uint8_t r2[R2_BYTES], joined[64], wrapped[80], second[2048];
    uint8_t room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    open_pair(&p);
    unsigned n_received = p.n_received;
    offered(&p, 0, "client-1", r2);
    assert_int_equal(dtls_counts(p.server)->open, 1); /* the one of before goes on */
    use_context(&p, third_of(r2, "client-3", joined), wrapped);
    struct slice request2 = pair_request(&p, none, false, second);
    pair_input(&p, 0, request2);
    assert_int_equal(p.n_closed, 1); /* what began before is over */
    assert_int_equal(p.n_opened, 2);
    assert_int_equal(p.n_received, n_received + 1);
    reply(&p, COAP_ACK, "new", -1);
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(slice_is(m.payload, "new") && !o.has_kid_context);
    p.kid_context = none;
    asks(&p, 0);
    assert_int_equal(p.n_received, n_received + 2);
    /* request #2 again: here, elsewhere, and when another renewal has been offered */
    p.now_ms += OSCORE_REPEAT_MS / 2;
    pair_input(&p, 1, request2);
    assert_int_equal(p.n_refused[OSCORE_REFUSED_REPLAY], 1);
    offered(&p, 0, "client-4", r2);
    use_context(&p, third_of(r2, "client-5", joined), wrapped);
    asks(&p, 0);
    assert_int_equal(p.n_opened, 3);
    n_received = p.n_received;
    pair_input(&p, 0, request2); /* its part of ours is void by now */
    assert_int_equal(p.n_received, n_received);
    assert_int_equal(p.n_opened, 3);
    pair_done(&p);
}

/* Our part is good for its address, its minute and this process. */
static void renewal_is_bound(void **state)
{
    (void)state;
    struct pair p;
    uint8_t r2[R2_BYTES], joined[64], wrapped[80];
    pair_init(&p);
    offered(&p, 0, "client-1", r2);
    use_context(&p, third_of(r2, "client-3", joined), wrapped);
    asks(&p, 1);                                      /* from elsewhere */
    use_context(&p, slice_of(r2, R2_BYTES), wrapped); /* without a part of its own */
    asks(&p, 0);
    r2[0] ^= 1;
    use_context(&p, third_of(r2, "client-3", joined), wrapped);
    asks(&p, 0);
    r2[0] ^= 1;
    p.now_ms += OSCORE_ECHO_MS + 1000;
    use_context(&p, third_of(r2, "client-3", joined), wrapped);
    asks(&p, 0);
    assert_int_equal(p.n_opened, 0);
    assert_int_equal(p.n_received, 0);
    assert_true(p.counters.unproven_bytes_out <= 3 * p.counters.unproven_bytes_in);
    assert_int_equal(dtls_deadline(p.server), UINT64_MAX); /* and none of it left state */
    offered(&p, 0, "client-6", r2);
    use_context(&p, third_of(r2, "client-3", joined), wrapped);
    dtls_free(p.server);
    pair_serve(&p);
    asks(&p, 0);
    assert_int_equal(p.n_opened, 0);
    pair_done(&p);
}

/* ---- what OSCORE does not protect ---- */

/* The same token twice while the first answer is out: each gets its own, or none. */
static void token_twice(void **state)
{
    (void)state;
    struct pair p;
    uint8_t room[OSCORE_MESSAGE_MAX], token[8];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    open_pair(&p);
    asks(&p, 0);
    struct oscore_binding first = p.bound;
    memcpy(token, p.token, sizeof(token));
    asks(&p, 0);
    struct oscore_binding second = p.bound;
    assert_memory_not_equal(token, p.token, sizeof(token));
    memcpy(p.token, token, sizeof(token));
    reply(&p, COAP_CON, "of the first", -1); /* late, by itself */
    assert_int_equal(pair_answer(&p, room, &m, &o), ERR_CRYPTO);
    p.bound = first;
    assert_int_equal(pair_answer(&p, room, &m, &o), OK);
    assert_true(slice_is(m.payload, "of the first"));
    p.bound = second;
    pair_done(&p);
}

/* A new request under an old message id is a new request, whoever wrote the id. */
static void message_id_changed(void **state)
{
    (void)state;
    struct pair p;
    uint8_t request[2048];
    open_pair(&p);
    uint16_t before = p.our_mid;
    struct slice r = pair_request(&p, none, false, request);
    request[2] = 0;
    request[3] = 2; /* that of the one before */
    pair_input(&p, 0, r);
    assert_int_not_equal(p.our_mid, before);
    reply(&p, COAP_ACK, "x", -1);
    assert_int_equal(p.out[2] << 8 | p.out[3], 2); /* and the answer has it */
    pair_done(&p);
}

static void pings(void **state)
{
    (void)state;
    struct pair p;
    static const uint8_t ping[] = {0x40, 0, 0x12, 0x34}, pong[] = {0x70, 0, 0x12, 0x34};
    open_pair(&p);
    unsigned n = p.n_sent;
    pair_input(&p, 1, slice_of(ping, sizeof(ping))); /* a stranger's gets nothing */
    assert_int_equal(p.n_sent, n);
    pair_input(&p, 0, slice_of(ping, sizeof(ping)));
    assert_int_equal(p.n_sent, n + 1);
    assert_memory_equal(p.out, pong, sizeof(pong));
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(way_in),          cmocka_unit_test(refusals),
        cmocka_unit_test(replays),         cmocka_unit_test(recorded),
        cmocka_unit_test(echo_is_bound),   cmocka_unit_test(rebinding),
        cmocka_unit_test(challenge_again), cmocka_unit_test(numbers),
        cmocka_unit_test(flood),           cmocka_unit_test(flood_of_one_kid),
        cmocka_unit_test(no_memory),       cmocka_unit_test(refused_by_caller),
        cmocka_unit_test(renewal),         cmocka_unit_test(renewal_is_bound),
        cmocka_unit_test(token_twice),     cmocka_unit_test(message_id_changed),
        cmocka_unit_test(pings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

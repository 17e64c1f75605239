#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/plain_server.h"
#include "net/unproven.h"
#include "wire/coap/message.h"
#include "wire/coap/option.h"

enum { PEERS = 8, OF_ADDRESS = 4, EXCEPTION = 7 };

/* The server behind: it remembers that something came, and what was asked of it. */
struct behind {
    struct dtls dtls; /* first */
    unsigned *n_input, *n_sent, *n_closed;
    bool *is_freed;
};

struct pair {
    struct dtls *server;
    struct random_source random;
    uint64_t seed;
    struct coap_counters counters;
    uint64_t let_in_by, now_ms;
    bool is_known_behind, admits, refuses, is_freed;
    unsigned n_behind, n_sent_behind, n_closed_behind;
    unsigned n_opened, n_received, n_closed, n_sent, n_refused[PLAIN_REFUSED_OPENED + 1];
    uint64_t id; /* of the one opened last */
    uint64_t closed_id, received_id;
    struct net_peer sent_to;
    uint8_t out[2048];
    size_t out_n;
    uint16_t mid;
};

/* ---- the server behind ---- */

static void behind_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                         uint64_t now_ms)
{
    (void)peer;
    (void)datagram;
    (void)now_ms;
    ++*((struct behind *)(void *)d)->n_input;
}

static enum err behind_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    (void)id;
    (void)plain;
    (void)now_ms;
    ++*((struct behind *)(void *)d)->n_sent;
    return OK;
}

static void behind_close(struct dtls *d, uint64_t id)
{
    (void)id;
    ++*((struct behind *)(void *)d)->n_closed;
}

static bool behind_info(const struct dtls *d, uint64_t id, struct dtls_info *ret)
{
    (void)d;
    *ret = (struct dtls_info){.id = id, .credential = 1};
    return true;
}

static uint64_t behind_deadline(const struct dtls *d)
{
    (void)d;
    return 12345;
}

static void behind_tick(struct dtls *d, uint64_t now_ms)
{
    (void)d;
    (void)now_ms;
}

static struct dtls *behind_free(struct dtls *d)
{
    *((struct behind *)(void *)d)->is_freed = true;
    return mem_free(d);
}

static const struct dtls_ops behind_ops = {.input = behind_input,
                                           .send = behind_send,
                                           .close = behind_close,
                                           .info = behind_info,
                                           .deadline = behind_deadline,
                                           .tick = behind_tick,
                                           .free = behind_free};

/* ---- its owner ---- */

static void on_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct pair *p = ctx;
    p->n_sent++;
    p->sent_to = *to;
    p->out_n = datagram.n;
    slice_copy(p->out, datagram);
}

static bool on_admit(void *ctx, const struct net_peer *peer)
{
    (void)peer;
    return ((struct pair *)ctx)->admits;
}

static void on_opened(void *ctx, const struct dtls_info *info)
{
    struct pair *p = ctx;
    struct dtls_info again;
    assert_true(info->permission == p->let_in_by);
    assert_true(dtls_info(p->server, info->id, &again) && net_peer_equal(&again.peer, &info->peer));
    p->n_opened++;
    p->id = info->id;
    if (p->refuses) {
        dtls_close(p->server, info->id);
    }
}

static void on_received(void *ctx, uint64_t id, struct slice plain)
{
    struct pair *p = ctx;
    (void)plain;
    p->received_id = id;
    p->n_received++;
}

static void on_closed(void *ctx, uint64_t id, enum err why)
{
    struct pair *p = ctx;
    assert_int_equal(why, ERR_EXISTS);
    p->closed_id = id;
    p->n_closed++;
}

static uint64_t let_in_by(void *ctx)
{
    return ((struct pair *)ctx)->let_in_by;
}

static bool is_known_behind(void *ctx, const struct net_peer *peer)
{
    (void)peer;
    return ((struct pair *)ctx)->is_known_behind;
}

static void on_refused(void *ctx, const struct net_peer *peer, enum plain_refusal why)
{
    (void)peer;
    ((struct pair *)ctx)->n_refused[why]++;
}

static int set_up(void **state)
{
    struct pair *p = mem_zalloc(sizeof(*p));
    assert_non_null(p);
    *p = (struct pair){.let_in_by = EXCEPTION, .admits = true, .now_ms = 1000000, .seed = 1};
    p->random = random_seeded(&p->seed);
    struct behind *b = mem_zalloc(sizeof(*b));
    assert_non_null(b);
    *b = (struct behind){
        {&behind_ops}, &p->n_behind, &p->n_sent_behind, &p->n_closed_behind, &p->is_freed};
    const struct dtls_handler handler = {.ctx = p,
                                         .transmit = on_transmit,
                                         .admit = on_admit,
                                         .opened = on_opened,
                                         .received = on_received,
                                         .closed = on_closed};
    const struct plain_server_config config = {.ctx = p,
                                               .let_in_by = let_in_by,
                                               .is_known_behind = is_known_behind,
                                               .refused = on_refused,
                                               .random = &p->random,
                                               .counters = &p->counters,
                                               .peers_max = PEERS,
                                               .peers_of_address_max = OF_ADDRESS};
    assert_int_equal(plain_server_new(&config, &handler, &b->dtls, &p->server), OK);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *p = *state;
    dtls_free(p->server);
    assert_true(p->is_freed);
    mem_free(p);
    return 0;
}

/* ---- its clients ---- */

static struct net_peer peer_at(unsigned host, unsigned port)
{
    struct net_peer peer = {.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, (uint8_t)host},
                            .port = port};
    return peer;
}

/* A request for /a, with an Echo, or protected (of OSCORE), or neither; gives its length. */
static size_t sends(struct pair *p, const struct net_peer *from, enum coap_type type,
                    struct slice echo, bool is_protected)
{
    uint8_t bytes[128], block[64];
    size_t n;
    struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
    struct coap_message m = {
        .type = type, .code = COAP_GET, .mid = p->mid, .token = slice_text("tokn")};
    if (is_protected) {
        coap_option_add(&w, COAP_OPTION_OSCORE, slice_text("\t\1k"));
    }
    coap_option_add(&w, COAP_OPTION_URI_PATH, slice_text("a"));
    if (echo.n > 0) {
        coap_option_add(&w, COAP_OPTION_ECHO, echo);
    }
    assert_int_equal(coap_option_writer_done(&w, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    dtls_input(p->server, from, slice_of(bytes, n), p->now_ms);
    return n;
}

static void asks(struct pair *p, const struct net_peer *from, struct slice echo)
{
    p->mid++;
    (void)sends(p, from, COAP_CON, echo, false);
}

/* What was answered, when nothing was served. */
static struct coap_message answer(const struct pair *p)
{
    struct coap_message m;
    assert_int_equal(coap_message_decode(slice_of(p->out, p->out_n), 8, &m), OK);
    return m;
}

/* Asked without a proof: the Echo that comes back, in `value`. */
static struct slice challenged(struct pair *p, const struct net_peer *from, uint8_t value[64])
{
    struct slice echo = {0};
    unsigned n_received = p->n_received, n_sent = p->n_sent;
    asks(p, from, echo);
    assert_int_equal(p->n_received, n_received);
    assert_int_equal(p->n_sent, n_sent + 1);
    assert_true(net_peer_equal(&p->sent_to, from));
    struct coap_message m = answer(p);
    assert_int_equal(m.code, COAP_UNAUTHORIZED);
    assert_int_equal(m.type, COAP_ACK);
    assert_int_equal(m.mid, p->mid);
    assert_true(slice_is(m.token, "tokn"));
    assert_true(coap_options_find(m.options, COAP_OPTION_ECHO, &echo));
    slice_copy(value, echo);
    return slice_of(value, echo.n);
}

static void comes(struct pair *p, const struct net_peer *from)
{
    uint8_t value[64];
    unsigned n_received = p->n_received;
    asks(p, from, challenged(p, from, value));
    assert_int_equal(p->n_received, n_received + 1);
}

/* ---- tests ---- */

static void an_echo_lets_in(void **state)
{
    struct pair *p = *state;
    const struct net_peer one = peer_at(1, 1000), other = peer_at(1, 1001);
    uint8_t value[64];
    struct slice echo = challenged(p, &one, value);
    assert_int_equal(plain_server_count(p->server), 0); /* nothing is kept of it */
    asks(p, &other, echo);                              /* of another port: not its own */
    assert_int_equal(p->n_received, 0);
    asks(p, &one, echo);
    assert_int_equal(p->n_opened, 1);
    assert_int_equal(p->n_received, 1);
    assert_int_equal(p->counters.proofs, 1);
    asks(p, &one, (struct slice){0}); /* it is known now */
    assert_int_equal(p->n_received, 2);
    assert_int_equal(p->n_opened, 1);
    comes(p, &other); /* a peer of its own */
    assert_int_equal(p->n_opened, 2);
    assert_int_equal(plain_server_count(p->server), 2);
    assert_true(p->received_id == p->id);
    assert_int_equal(p->n_behind, 0);
}

static void an_echo_ends(void **state)
{
    struct pair *p = *state;
    const struct net_peer one = peer_at(1, 1000);
    uint8_t value[64];
    struct slice echo = challenged(p, &one, value);
    p->now_ms += PLAIN_ECHO_MS + 1;
    asks(p, &one, echo);
    assert_int_equal(p->n_received, 0);
    echo = challenged(p, &one, value);
    p->now_ms += PLAIN_ECHO_MS - 1;
    p->let_in_by = EXCEPTION + 1; /* it was for another permission */
    asks(p, &one, echo);
    assert_int_equal(p->n_received, 0);
    p->let_in_by = EXCEPTION;
    value[11] ^= 1;
    asks(p, &one, echo);
    assert_int_equal(p->n_received, 0);
    value[11] ^= 1;
    asks(p, &one, echo);
    assert_int_equal(p->n_received, 1);
}

/* At most three bytes for one, whatever comes; and nothing is kept. */
static void strangers_get_little(void **state)
{
    struct pair *p = *state;
    const struct net_peer one = peer_at(1, 1000);
    uint8_t bytes[] = {0x40, COAP_GET, 0, 1, 0xb1, 'a'};
    for (size_t n = 4; n <= 6; n += 2) {
        p->out_n = 0;
        dtls_input(p->server, &one, slice_of(bytes, n), p->now_ms);
        assert_true(p->out_n > 0 && p->out_n <= UNPROVEN_TIMES * n);
    }
    p->mid++;
    size_t n = sends(p, &one, COAP_NON, (struct slice){0}, false);
    assert_int_equal(answer(p).type, COAP_NON);
    assert_true(p->out_n <= UNPROVEN_TIMES * n);
    assert_true(p->counters.unproven_worst_per_mille <= UNPROVEN_TIMES * UNPROVEN_PER_MILLE);
    assert_int_equal(p->counters.unproven_withheld, 0); /* nothing even wants to be more */
    assert_int_equal(plain_server_count(p->server), 0);
}

static void a_proof_ends(void **state)
{
    struct pair *p = *state;
    const struct net_peer one = peer_at(1, 1000);
    uint8_t value[64];
    comes(p, &one);
    p->now_ms += PLAIN_PROOF_MS - 1;
    asks(p, &one, (struct slice){0});
    assert_int_equal(p->n_received, 2);
    p->now_ms++;
    (void)sends(p, &one, COAP_CON, (struct slice){0}, false); /* the very same, once more */
    assert_int_equal(p->n_received, 3);
    asks(p, &one, challenged(p, &one, value));
    assert_int_equal(p->n_received, 4);
    assert_int_equal(p->n_opened, 1); /* it is still itself */
}

static void what_is_not_for_it(void **state)
{
    struct pair *p = *state;
    struct dtls_info info;
    const struct net_peer one = peer_at(1, 1000);
    const uint8_t ack[] = {0x60, 0, 0, 1};
    p->let_in_by = 0; /* the door is shut: all is the other's */
    asks(p, &one, (struct slice){0});
    assert_int_equal(p->n_behind, 1);
    p->let_in_by = EXCEPTION;
    (void)sends(p, &one, COAP_CON, (struct slice){0}, true);
    dtls_input(p->server, &one, slice_of(ack, sizeof(ack)), p->now_ms);
    dtls_input(p->server, &one, slice_text("\xff"), p->now_ms);
    assert_int_equal(p->n_behind, 4);
    comes(p, &one);
    uint64_t id = p->id;
    dtls_input(p->server, &one, slice_of(ack, sizeof(ack)), p->now_ms);
    assert_int_equal(p->n_received, 2);
    assert_int_equal(p->n_behind, 4); /* an acknowledgement is the peer's */
    p->is_known_behind = true;
    dtls_input(p->server, &one, slice_of(ack, sizeof(ack)), p->now_ms);
    assert_int_equal(p->n_received, 3);
    assert_int_equal(p->n_behind, 5); /* but of both where both are */
    (void)sends(p, &one, COAP_CON, (struct slice){0}, true);
    assert_int_equal(p->n_behind, 6); /* what is protected is under its own identity */
    assert_int_equal(p->n_received, 3);
    assert_int_equal(dtls_send(p->server, 1, slice_text("x"), p->now_ms), OK);
    dtls_close(p->server, 1);
    assert_true(dtls_info(p->server, 1, &info) && info.credential == 1);
    assert_true(dtls_deadline(p->server) == 12345);
    assert_int_equal(p->n_sent_behind, 1);
    assert_int_equal(p->n_closed_behind, 1);
    assert_int_equal(dtls_send(p->server, id, slice_text("hello"), p->now_ms), OK);
    assert_true(slice_is(slice_of(p->out, p->out_n), "hello"));
}

static void the_end_of_a_permission(void **state)
{
    struct pair *p = *state;
    const struct net_peer one = peer_at(1, 1000);
    uint8_t value[64];
    comes(p, &one);
    uint64_t first = p->id;
    p->let_in_by = 0;
    asks(p, &one, (struct slice){0});
    assert_int_equal(p->n_behind, 1);
    p->let_in_by = EXCEPTION + 1; /* another one: it proves itself anew, and is somebody new */
    struct slice echo = challenged(p, &one, value);
    asks(p, &one, echo);
    assert_int_equal(p->n_closed, 1);
    assert_true(p->closed_id == first && p->id != first);
    assert_int_equal(p->n_received, 2);
    dtls_close(p->server, p->id);
    assert_int_equal(plain_server_count(p->server), 0);
    assert_int_equal(p->n_closed, 1); /* who closes is not told */
    assert_int_equal(dtls_send(p->server, p->id, slice_text("x"), p->now_ms), ERR_NOT_FOUND);
}

static void refusals(void **state)
{
    struct pair *p = *state;
    const struct net_peer one = peer_at(1, 1000);
    uint8_t value[64];
    struct slice echo = challenged(p, &one, value);
    p->admits = false;
    asks(p, &one, echo);
    assert_int_equal(p->n_sent, 1); /* its repetition may come at a better time */
    assert_int_equal(p->n_refused[PLAIN_REFUSED_ADMIT], 1);
    p->admits = true;
    p->refuses = true;
    asks(p, &one, echo);
    assert_int_equal(answer(p).code, COAP_UNAVAILABLE);
    assert_int_equal(p->n_refused[PLAIN_REFUSED_OPENED], 1);
    assert_int_equal(p->n_received, 0);
    assert_int_equal(plain_server_count(p->server), 0);
}

/* n peers of one address each, from this one on. */
static void fills(struct pair *p, unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct net_peer from = peer_at(first + i, 1000);
        comes(p, &from);
    }
}

static void limit_of_all(void **state)
{
    struct pair *p = *state;
    const struct net_peer late = peer_at(100, 1000), first = peer_at(1, 1000);
    uint8_t value[64];
    fills(p, 1, PEERS);
    assert_int_equal(p->n_opened, PEERS); /* at the limit */
    asks(p, &late, challenged(p, &late, value));
    assert_int_equal(p->n_refused[PLAIN_REFUSED_FULL], 1); /* over: all have just spoken */
    assert_int_equal(answer(p).code, COAP_UNAVAILABLE);
    p->now_ms += PLAIN_QUIET_MS - 1;
    asks(p, &first, (struct slice){0}); /* the oldest speaks: it is the newest now */
    asks(p, &late, challenged(p, &late, value));
    assert_int_equal(p->n_refused[PLAIN_REFUSED_FULL], 2);
    assert_int_equal(p->n_closed, 0);
    p->now_ms++;
    comes(p, &late); /* in the place of the second */
    assert_int_equal(p->n_closed, 1);
    assert_int_equal(plain_server_count(p->server), PEERS);
    unsigned n_received = p->n_received;
    asks(p, &first, (struct slice){0}); /* who spoke has stayed */
    assert_int_equal(p->n_received, n_received + 1);
}

static void limit_of_an_address(void **state)
{
    struct pair *p = *state;
    uint8_t value[64];
    fills(p, 1, 2); /* others, who are older */
    for (unsigned i = 0; i < OF_ADDRESS; i++) {
        const struct net_peer from = peer_at(50, 2000 + i);
        comes(p, &from);
    }
    const struct net_peer over = peer_at(50, 3000);
    asks(p, &over, challenged(p, &over, value));
    assert_int_equal(p->n_refused[PLAIN_REFUSED_FULL], 1);
    fills(p, 60, 1); /* another address has room */
    p->now_ms += PLAIN_QUIET_MS;
    uint64_t own = p->id - OF_ADDRESS; /* its own first one, though others are older */
    comes(p, &over);
    assert_int_equal(p->n_closed, 1);
    assert_true(p->closed_id == own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_echo_lets_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_echo_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_get_little, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_proof_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_for_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_a_permission, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refusals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limit_of_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limit_of_an_address, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

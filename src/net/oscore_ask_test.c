/* Requests of ours under OSCORE: sealed once, sent as often as they get lost, answered once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/oscore_device_test.h"

enum { TOKEN_BYTES = 8, FIRST_NUMBER = 300 };

static void give_numbers(struct pair *p, uint64_t first, uint64_t end)
{
    oscore_server_numbers(p->server,
                          &(struct oscore_id){.n = 2, .bytes = {pair_kid[0], pair_kid[1]}},
                          PAIR_CREDENTIAL, first, end, p->now_ms);
}

/* Proves an address: the first time it is the way in, later it moves the association. */
static void comes_from(struct pair *p, unsigned from)
{
    uint8_t request[2048], room[OSCORE_MESSAGE_MAX];
    struct coap_message m = {0};
    struct coap_oscore o = {0};
    struct slice echo = {0};
    pair_input(p, from, pair_request(p, echo, false, request));
    assert_int_equal(pair_answer(p, room, &m, &o), OK);
    assert_true(coap_options_find(m.options, COAP_OPTION_ECHO, &echo));
    pair_input(p, from, pair_request(p, echo, false, request));
}

static void open_pair(struct pair *p)
{
    uint8_t request[2048];
    pair_init(p);
    pair_input(p, 0, pair_request(p, (struct slice){0}, false, request)); /* asks for numbers */
    give_numbers(p, FIRST_NUMBER, FIRST_NUMBER + 256);
    comes_from(p, 0);
    assert_int_equal(p->n_opened, 1);
}

/* What the endpoint of an association says: its token begins with `name`. */
static enum err ask(struct pair *p, uint8_t name, uint16_t mid, const char *payload)
{
    uint8_t bytes[256], token[TOKEN_BYTES] = {name, 9, 9};
    size_t n = 0;
    struct coap_message m = {.type = COAP_CON,
                             .code = COAP_PUT,
                             .mid = mid,
                             .token = slice_of(token, sizeof(token)),
                             .payload = slice_text(payload)};
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    p->n_sent = 0;
    return dtls_send(p->server, p->id, slice_of(bytes, n), p->now_ms);
}

static void taken_one(struct pair *p, struct taken *ret)
{
    assert_int_equal(p->n_sent, 1);
    take(p, ret);
}

static void was_answered(struct pair *p, enum coap_type type)
{
    struct coap_message m;
    assert_int_equal(coap_message_decode(slice_of(p->plain, p->plain_n), TOKEN_BYTES, &m), OK);
    assert_int_equal(m.type, type);
    assert_int_equal(m.code, COAP_CHANGED);
    assert_true(slice_is(m.payload, "done"));
}

static void asked_and_answered(void **state)
{
    (void)state;
    struct pair p;
    struct taken t, again;
    uint8_t bytes[2048];
    open_pair(&p);
    unsigned n = p.n_received;
    assert_int_equal(ask(&p, 1, 0x5001, "open"), OK);
    taken_one(&p, &t);
    assert_int_equal(t.inner.code, COAP_PUT);
    assert_true(slice_is(t.inner.payload, "open"));
    assert_int_equal(t.outer.mid, 0x5001);
    assert_int_equal(ask(&p, 1, 0x5001, "open"), OK); /* it was lost */
    taken_one(&p, &again);
    assert_memory_equal(t.bytes, again.bytes, p.out_n); /* the same, under the same number */
    struct slice reply = answer(&p, &t, COAP_ACK, NULL, bytes);
    pair_input(&p, 0, reply);
    assert_int_equal(p.n_received, n + 1);
    was_answered(&p, COAP_ACK);
    p.n_sent = 0;
    pair_input(&p, 0, reply); /* SPEC: RFC8613 8.4: one answer */
    assert_int_equal(p.n_received, n + 1);
    assert_int_equal(p.n_sent, 0);
    assert_int_equal(ask(&p, 2, 0x5002, "shut"), OK);
    taken_one(&p, &again);
    assert_true(again.option.piv > t.option.piv);
    pair_input(&p, 0, reply); /* to the other one */
    assert_int_equal(p.n_received, n + 1);
    pair_done(&p);
}

/* A message of its own: renamed for our endpoint, whose acknowledgement has the client's id. */
static void answered_separately(void **state)
{
    (void)state;
    struct pair p;
    struct taken t;
    struct coap_message m;
    uint8_t bytes[2048], ack[8];
    uint64_t number = 77;
    size_t n = 0;
    open_pair(&p);
    assert_int_equal(ask(&p, 1, 0x5001, "open"), OK);
    taken_one(&p, &t);
    struct slice reply = answer(&p, &t, COAP_CON, &number, bytes);
    unsigned received = p.n_received;
    pair_input(&p, 0, reply);
    assert_int_equal(p.n_received, received + 1);
    was_answered(&p, COAP_CON);
    assert_int_equal(coap_message_decode(slice_of(p.plain, p.plain_n), TOKEN_BYTES, &m), OK);
    assert_int_not_equal(m.mid, 0x7007); /* that may be the name of a request, too */
    struct coap_message acked = {.type = COAP_ACK, .mid = m.mid};
    assert_int_equal(coap_message_encode(&acked, ack, sizeof(ack), &n), OK);
    p.n_sent = 0;
    assert_int_equal(dtls_send(p.server, p.id, slice_of(ack, n), p.now_ms), OK);
    assert_int_equal(p.n_sent, 1);
    assert_int_equal(coap_message_decode(slice_of(p.out, p.out_n), TOKEN_BYTES, &m), OK);
    assert_int_equal(m.mid, 0x7007);
    pair_input(&p, 0, reply); /* our acknowledgement was lost */
    assert_int_equal(p.n_received, received + 1);
    assert_int_equal(p.n_sent, 2);
    assert_int_equal(coap_message_decode(slice_of(p.out, p.out_n), TOKEN_BYTES, &m), OK);
    assert_true(m.type == COAP_ACK && m.code == COAP_EMPTY && m.mid == 0x7007);
    pair_done(&p);
}

/* Nothing but the sealed answer to that request, from where it was asked, is one. */
static void what_is_no_answer(void **state)
{
    (void)state;
    struct pair p;
    struct taken one, two;
    uint8_t bytes[2048], bare[64];
    size_t n = 0;
    open_pair(&p);
    assert_int_equal(ask(&p, 1, 0x5001, "one"), OK);
    taken_one(&p, &one);
    assert_int_equal(ask(&p, 2, 0x5002, "two"), OK);
    taken_one(&p, &two);
    unsigned received = p.n_received;
    p.n_sent = 0;
    struct coap_message m = {.type = COAP_ACK,
                             .code = COAP_UNAUTHORIZED,
                             .mid = two.outer.mid,
                             .token = two.outer.token};
    assert_int_equal(coap_message_encode(&m, bare, sizeof(bare), &n), OK);
    pair_input(&p, 0, slice_of(bare, n)); /* SPEC: RFC8613 8.4: not sealed */
    struct slice reply = answer(&p, &two, COAP_ACK, NULL, bytes);
    for (size_t at = reply.n - 6; at < reply.n; at++) { /* each byte of its end changed */
        bytes[at] ^= 1;
        pair_input(&p, 0, reply);
        bytes[at] ^= 1;
    }
    for (size_t k = 0; k < reply.n; k++) { /* and cut */
        pair_input(&p, 0, slice_head(reply, k));
    }
    pair_input(&p, 1, reply); /* from another address */
    one.outer.token = two.outer.token;
    pair_input(&p, 0, answer(&p, &one, COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received);
    assert_int_equal(p.n_sent, 0);
    pair_input(&p, 0, answer(&p, &two, COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received + 1);
    pair_done(&p);
}

/* It goes where the client was last proven to be, and is heard from there alone. */
static void the_client_moves(void **state)
{
    (void)state;
    struct pair p;
    struct taken t;
    uint8_t bytes[2048];
    open_pair(&p);
    assert_int_equal(ask(&p, 1, 0x5001, "open"), OK);
    taken_one(&p, &t);
    p.now_ms += 5000;
    comes_from(&p, 1);
    assert_int_equal(p.n_moved, 1);
    assert_int_equal(ask(&p, 1, 0x5001, "open"), OK); /* again, to there */
    struct net_peer to = pair_peer(1);
    assert_true(net_peer_equal(&p.sent_to, &to));
    taken_one(&p, &t);
    unsigned received = p.n_received;
    pair_input(&p, 0, answer(&p, &t, COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received);
    pair_input(&p, 1, answer(&p, &t, COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received + 1);
    pair_done(&p);
}

/* Requests, challenges and later answers have one row of numbers; without one nothing leaves. */
static void numbers_are_used_once(void **state)
{
    (void)state;
    struct pair p;
    struct taken t;
    uint64_t last = 0;
    uint16_t mid = 0;
    open_pair(&p);
    for (;; mid++) { /* as many as are on record */
        assert_int_equal(ask(&p, (uint8_t)(mid + 1), (uint16_t)(0x5000 + mid), "x"), OK);
        if (p.n_sent == 0) {
            break;
        }
        taken_one(&p, &t);
        assert_true(mid == 0 || t.option.piv == last + 1);
        last = t.option.piv;
    }
    assert_int_equal(last, FIRST_NUMBER + 255);
    assert_true(p.n_asked >= 2);
    give_numbers(&p, 1000, 1256);
    assert_int_equal(ask(&p, (uint8_t)(mid + 1), (uint16_t)(0x5000 + mid), "x"), OK);
    taken_one(&p, &t);
    assert_int_equal(t.option.piv, 1000);
    pair_done(&p);
}

/* Answers to the latest few are known, and not for ever; another request never has their token. */
static void bounds(void **state)
{
    (void)state;
    struct pair p;
    struct taken t[OSCORE_ASKED_MAX + 1];
    uint8_t bytes[2048], request[2048];
    open_pair(&p);
    for (unsigned i = 0; i <= OSCORE_ASKED_MAX; i++) {
        assert_int_equal(ask(&p, (uint8_t)(i + 1), (uint16_t)(0x5001 + i), "x"), OK);
        taken_one(&p, &t[i]);
    }
    unsigned received = p.n_received;
    pair_input(&p, 0, answer(&p, &t[0], COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received);
    pair_input(&p, 0, answer(&p, &t[1], COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received + 1);
    assert_int_equal(ask(&p, 2, 0x6000, "other"), ERR_EXISTS);
    assert_int_equal(p.n_sent, 0);
    p.now_ms += OSCORE_ASKED_MS;
    pair_input(&p, 0, pair_request(&p, (struct slice){0}, false, request));
    received = p.n_received;
    pair_input(&p, 0, answer(&p, &t[2], COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received);
    assert_int_equal(ask(&p, 9, 0x6001, "x"), OK);
    dtls_close(p.server, p.id);
    p.id = 0;
    pair_input(&p, 0, answer(&p, &t[3], COAP_ACK, NULL, bytes));
    assert_int_equal(p.n_received, received);
    pair_done(&p);
}

/* Whatever allocation fails: it is as if it was lost, and no number comes twice. */
static void no_memory(void **state)
{
    (void)state;
    struct pair p;
    struct taken t;
    uint8_t bytes[2048];
    open_pair(&p);
    uint64_t last = 0;
    for (long k = 0; k < 6; k++) {
        (void)mem_fail_after(k);
        enum err err = ask(&p, (uint8_t)(k + 1), (uint16_t)(0x5001 + k), "x");
        bool has_failed = mem_fail_after(-1);
        assert_int_equal(err, has_failed ? ERR_NOMEM : OK);
        assert_int_equal(p.n_sent, has_failed ? 0 : 1);
        assert_int_equal(ask(&p, (uint8_t)(k + 1), (uint16_t)(0x5001 + k), "x"), OK);
        taken_one(&p, &t);
        assert_true(k == 0 || t.option.piv > last);
        last = t.option.piv;
        unsigned received = p.n_received;
        pair_input(&p, 0, answer(&p, &t, COAP_ACK, NULL, bytes));
        assert_int_equal(p.n_received, received + 1);
    }
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_and_answered),
        cmocka_unit_test(answered_separately),
        cmocka_unit_test(what_is_no_answer),
        cmocka_unit_test(the_client_moves),
        cmocka_unit_test(numbers_are_used_once),
        cmocka_unit_test(bounds),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

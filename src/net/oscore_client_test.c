#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/oscore_duo_test.h"

static const struct slice none;
static const uint8_t other_secret[OSCORE_SECRET_MIN] = {9};

/* The first contact of a client that keeps nothing, up to the answer. */
static void meet(struct duo *d, bool observes)
{
    duo_init(d);
    assert_int_equal(d->n_opened, 1);
    assert_int_equal(duo_ask(d, 1, none, observes), OK);
    duo_up(d, 0);
    assert_int_equal(d->pair.n_opened, 0); /* a context of the client's alone brings nothing in */
    duo_down(d);
    assert_int_equal(d->n_begun, 1);
    assert_int_equal(d->n_opened, 2); /* ask anew */
    assert_int_equal(d->n_received, 0);
    assert_int_equal(duo_ask(d, 2, none, observes), OK);
    duo_up(d, 0);
    assert_int_equal(d->pair.n_received, 1);
    assert_int_equal(duo_answer(d, COAP_ACK, "21.5", observes), OK);
    duo_down(d);
    assert_int_equal(d->n_received, 1);
    assert_true(slice_is(d->got.payload, "21.5"));
    assert_int_equal(d->got.mid, 2);
}

static bool is_protected(const struct duo *d)
{
    struct coap_message m;
    struct slice value;
    assert_int_equal(coap_message_decode(slice_of(d->sent, d->sent_n), 8, &m), OK);
    return coap_options_find(m.options, COAP_OPTION_OSCORE, &value) && m.payload.n >= 9;
}

static void first_contact(void **state)
{
    (void)state;
    struct duo d;
    meet(&d, false);
    assert_int_equal(d.n_numbers, 1);
    assert_int_equal(d.next, 1);
    assert_true(d.kept_n > 8);
    assert_int_equal(duo_ask(&d, 3, none, false), OK);
    duo_up(&d, 0);
    assert_int_equal(d.pair.n_received, 2);
    duo_done(&d);
}

/* The next run goes on where the numbers of the one before it ended, behind an Echo. */
static void second_run(void **state)
{
    (void)state;
    struct duo d;
    struct slice echo;
    meet(&d, false);
    dtls_free(d.client);
    assert_int_equal(duo_start(&d, pair_secret), OK);
    dtls_tick(d.client, d.pair.now_ms);
    d.next = 64; /* some that were reserved are lost */
    assert_int_equal(duo_ask(&d, 10, none, false), OK);
    duo_up(&d, 0);
    assert_int_equal(d.pair.n_received, 2); /* the same address */
    duo_up(&d, 1);
    assert_int_equal(d.pair.n_refused[OSCORE_REFUSED_REPLAY], 1);
    assert_int_equal(duo_ask(&d, 11, none, false), OK);
    duo_up(&d, 1); /* another one: it has to prove itself */
    duo_down(&d);
    assert_int_equal(d.got.code, COAP_UNAUTHORIZED);
    assert_true(coap_options_find(d.got.options, COAP_OPTION_ECHO, &echo));
    assert_int_equal(duo_ask(&d, 12, echo, false), OK);
    duo_up(&d, 1);
    assert_int_equal(d.pair.n_received, 3);
    assert_int_equal(d.n_begun, 1);
    duo_done(&d);
}

/* A server that has forgotten the context adds its part to another one; nothing is done before. */
static void forgotten(void **state)
{
    (void)state;
    struct duo d;
    uint8_t before[OSCORE_ID_CONTEXT_MAX];
    meet(&d, false);
    memcpy(before, d.kept, sizeof(before));
    dtls_free(d.pair.server);
    d.pair.id = 0;
    pair_serve(&d.pair);
    assert_int_equal(duo_ask(&d, 5, none, false), OK);
    duo_up(&d, 0);
    assert_int_equal(d.pair.n_received, 1);
    duo_down(&d);
    assert_int_equal(d.n_begun, 2);
    assert_memory_not_equal(before, d.kept, sizeof(before));
    assert_int_equal(duo_ask(&d, 6, none, false), OK);
    assert_int_equal(d.next, 1);
    duo_up(&d, 0);
    assert_int_equal(d.pair.n_received, 2);
    duo_done(&d);
}

/* Repeated messages are the same bytes: no number is used for two texts, none for nothing. */
static void repeated(void **state)
{
    (void)state;
    struct duo d;
    uint8_t first[2048];
    meet(&d, false);
    assert_int_equal(duo_ask(&d, 3, none, false), OK);
    memcpy(first, d.sent, d.sent_n);
    size_t n = d.sent_n;
    assert_int_equal(duo_ask(&d, 3, none, false), OK);
    assert_int_equal(d.sent_n, n);
    assert_memory_equal(first, d.sent, n);
    assert_int_equal(d.next, 2);
    duo_up(&d, 0);
    assert_int_equal(duo_answer(&d, COAP_CON, "once", false), OK);
    duo_down(&d);
    assert_int_equal(d.n_received, 2);
    unsigned n_sent = d.n_sent;
    duo_down(&d); /* its acknowledgement was lost */
    assert_int_equal(d.n_received, 2);
    assert_int_equal(d.n_sent, n_sent + 1);
    assert_int_equal(d.sent_n, 4); /* acknowledged all the same */
    assert_int_equal(d.sent[0], 0x60);
    duo_done(&d);
}

/* SPEC: RFC8613 8.4.2: notifications in the order of their numbers, each once */
static void notifications(void **state)
{
    (void)state;
    struct duo d;
    uint32_t order = 0, last = 0;
    uint8_t old[2048];
    meet(&d, true);
    assert_true(coap_options_find_uint(d.got.options, COAP_OPTION_OBSERVE, &last));
    assert_int_equal(duo_answer(&d, COAP_NON, "old", true), OK);
    size_t old_n = d.pair.out_n;
    memcpy(old, d.pair.out, old_n);
    assert_int_equal(duo_answer(&d, COAP_NON, "new", true), OK);
    duo_down(&d);
    assert_true(slice_is(d.got.payload, "new"));
    assert_true(coap_options_find_uint(d.got.options, COAP_OPTION_OBSERVE, &order));
    assert_true(order > last);
    unsigned n = d.n_received;
    duo_down(&d);
    dtls_input(d.client, &d.server_peer, slice_of(old, old_n), d.pair.now_ms + 1000000);
    old[2] ^= 1; /* under another message id */
    dtls_input(d.client, &d.server_peer, slice_of(old, old_n), d.pair.now_ms + 1000000);
    assert_int_equal(d.n_received, n);
    assert_int_equal(duo_answer(&d, COAP_CON, "end", false), OK);
    duo_down(&d);
    assert_true(slice_is(d.got.payload, "end"));
    assert_int_equal(duo_answer(&d, COAP_CON, "more", true), OK);
    duo_down(&d);
    assert_int_equal(d.n_received, n + 1); /* it was over */
    duo_done(&d);
}

/* Requests and ended observations give their places away, open observations do not. */
static void places(void **state)
{
    (void)state;
    struct duo d;
    meet(&d, true);
    for (int mid = 10; mid < 10 + 3 * OSCORE_CLIENT_ASKED; mid++) {
        assert_int_equal(duo_ask(&d, (uint16_t)mid, none, false), OK);
    }
    assert_int_equal(duo_answer(&d, COAP_NON, "still", true), OK);
    duo_down(&d);
    assert_true(slice_is(d.got.payload, "still"));
    for (int mid = 100; mid < 99 + OSCORE_CLIENT_ASKED; mid++) {
        assert_int_equal(duo_ask(&d, (uint16_t)mid, none, true), OK);
    }
    assert_int_equal(duo_ask(&d, 200, none, true), ERR_LIMIT);
    duo_done(&d);
}

static void bare(struct duo *d, uint8_t code, uint16_t mid)
{
    uint8_t bytes[16], token[2] = {(uint8_t)(mid >> 8), (uint8_t)mid};
    size_t n = 0;
    struct coap_message m = {
        .type = COAP_ACK, .code = code, .mid = mid, .token = slice_of(token, sizeof(token))};
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    dtls_input(d->client, &d->server_peer, slice_of(bytes, n), 0);
}

/* What is not sealed is never an answer: a 4.01 makes us ask anew, once. */
static void unprotected(void **state)
{
    (void)state;
    struct duo d;
    meet(&d, false);
    dtls_free(d.client);
    assert_int_equal(duo_start(&d, pair_secret), OK);
    dtls_tick(d.client, 0);
    bare(&d, COAP_CONTENT, 77); /* nobody asked */
    assert_int_equal(duo_ask(&d, 20, none, false), OK);
    unsigned n_opened = d.n_opened, n_received = d.n_received;
    bare(&d, COAP_UNAUTHORIZED, 20);
    assert_int_equal(d.n_opened, n_opened + 1);
    assert_int_equal(duo_ask(&d, 21, none, false), OK);
    assert_int_equal(d.next, 2); /* one in the first run, one in this: not of the new context */
    bare(&d, COAP_UNAUTHORIZED, 20);
    assert_int_equal(d.n_refused, 0);
    bare(&d, COAP_UNAUTHORIZED, 21);
    assert_int_equal(d.n_refused, 1);
    assert_int_equal(d.refused, COAP_UNAUTHORIZED);
    bare(&d, COAP_CONTENT, 21);
    assert_int_equal(d.refused, COAP_CONTENT);
    assert_int_equal(d.n_received, n_received);
    duo_done(&d);
}

/* Each bit of an offer and of an answer matters: changed, it is as if it had not come. */
static void changed_on_the_way(void **state)
{
    (void)state;
    enum { KID_FLAG = 8 * 8 + 3 };
    struct duo d;
    duo_init(&d);
    assert_int_equal(duo_ask(&d, 1, none, false), OK);
    duo_up(&d, 0);
    for (int turn = 0; turn < 2; turn++) {
        /* Behind header and token; those and the type OSCORE leaves open. The option says by its
         * flags what it is: without it, the message counts as not protected. */
        for (size_t bit = (4 + 2 + 2) * 8; bit < d.pair.out_n * 8; bit++) {
            if (turn == 0 && bit == KID_FLAG) {
                continue; /* a kid in an answer means nothing, and is not protected */
            }
            d.pair.out[bit / 8] ^= (uint8_t)(1U << bit % 8);
            duo_down(&d);
            d.pair.out[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        assert_int_equal(d.n_begun, turn);
        assert_int_equal(d.n_received, 0);
        assert_int_equal(d.n_refused, 0);
        if (turn == 0) {
            duo_down(&d);
            assert_int_equal(duo_ask(&d, 2, none, false), OK);
            duo_up(&d, 0);
            assert_int_equal(duo_answer(&d, COAP_ACK, "21.5", false), OK);
        }
    }
    duo_down(&d);
    assert_int_equal(d.n_received, 1);
    duo_done(&d);
}

/* No number, no place to keep one, an answer of ours: nothing leaves. */
static void nothing_leaves(void **state)
{
    (void)state;
    struct duo d;
    meet(&d, false);
    unsigned n_sent = d.n_sent;
    d.has_no_numbers = true;
    assert_int_equal(duo_ask(&d, 5, none, false), ERR_IO);
    static const uint8_t answer[] = {0x60, COAP_CONTENT, 0, 5};
    assert_int_equal(dtls_send(d.client, d.id, slice_of(answer, sizeof(answer)), 0), ERR_DENIED);
    assert_int_equal(dtls_send(d.client, d.id - 1, slice_of(answer, sizeof(answer)), 0),
                     ERR_NOT_FOUND);
    assert_int_equal(d.n_sent, n_sent);
    static const uint8_t ping[] = {0x40, 0, 0, 5};
    assert_int_equal(dtls_send(d.client, d.id, slice_of(ping, sizeof(ping)), 0), OK);
    assert_int_equal(d.n_sent, n_sent + 1);
    d.has_no_numbers = false;
    assert_int_equal(duo_ask(&d, 6, none, false), OK);
    assert_true(is_protected(&d));
    dtls_close(d.client, d.id);
    assert_int_equal(duo_ask(&d, 7, none, false), ERR_NOT_FOUND);
    duo_done(&d);
    duo_init(&d);
    d.keeps_nothing = true;
    assert_int_equal(duo_ask(&d, 1, none, false), OK);
    duo_up(&d, 0);
    duo_down(&d);
    assert_int_equal(d.n_begun, 1);
    assert_int_equal(duo_ask(&d, 2, none, false), ERR_NOT_FOUND);
    duo_done(&d);
}

static void other_key(void **state)
{
    (void)state;
    struct duo d;
    duo_init(&d);
    dtls_free(d.client);
    assert_int_equal(duo_start(&d, other_secret), OK);
    dtls_tick(d.client, 0);
    assert_int_equal(duo_ask(&d, 1, none, false), OK);
    duo_up(&d, 0);
    duo_down(&d);
    assert_int_equal(d.n_refused, 1);
    assert_int_equal(d.n_begun, 0);
    duo_done(&d);
}

static void bounds_and_memory(void **state)
{
    (void)state;
    struct duo d;
    struct dtls_info info;
    duo_init(&d);
    assert_true(dtls_info(d.client, d.id, &info));
    assert_false(dtls_info(d.client, d.id + 1, &info));
    assert_int_equal(dtls_deadline(d.client), UINT64_MAX);
    d.client = dtls_free(d.client);
    for (long n = 0;; n++) {
        (void)mem_fail_after(n);
        enum err err = duo_start(&d, pair_secret);
        if (!mem_fail_after(-1)) {
            assert_int_equal(err, OK);
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
    }
    assert_int_equal(dtls_deadline(d.client), 0);
    struct oscore_client_config config = {
        .material = {.secret = slice_of(pair_secret, sizeof(pair_secret) - 1)}};
    struct dtls_handler handler = {.ctx = NULL};
    struct dtls *none_made = NULL;
    assert_int_equal(oscore_client_new(&config, &d.server_peer, &handler, &none_made), ERR_DENIED);
    uint8_t long_context[OSCORE_ID_CONTEXT_MAX + 1] = {0};
    config.id_context = slice_of(long_context, sizeof(long_context));
    assert_int_equal(oscore_client_new(&config, &d.server_peer, &handler, &none_made),
                     ERR_TOO_LARGE);
    assert_null(none_made);
    duo_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_contact),    cmocka_unit_test(second_run),
        cmocka_unit_test(forgotten),        cmocka_unit_test(repeated),
        cmocka_unit_test(notifications),    cmocka_unit_test(places),
        cmocka_unit_test(unprotected),      cmocka_unit_test(changed_on_the_way),
        cmocka_unit_test(nothing_leaves),   cmocka_unit_test(other_key),
        cmocka_unit_test(bounds_and_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Beside the published vectors: every option's class, every bit changed, every bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/oscore_message.h"

struct pair {
    struct ccm *ccm;
    struct oscore_keys client_keys, server_keys;
    struct oscore_peer client, server;
};

static struct pair pair_new(void)
{
    static const uint8_t secret[16] = {9, 8, 7};
    static const uint8_t ids[] = {0x00, 0x31, 0x32};
    struct pair p = {0};
    struct oscore_material m = {.secret = slice_of(secret, sizeof(secret)),
                                .salt = slice_text("salt"),
                                .sender_id = slice_of(ids + 1, 2),
                                .recipient_id = slice_of(ids, 1)};
    assert_int_equal(ccm_new(&p.ccm), OK);
    assert_int_equal(oscore_keys_derive(&m, &p.client_keys), OK);
    m.sender_id = slice_of(ids, 1);
    m.recipient_id = slice_of(ids + 1, 2);
    assert_int_equal(oscore_keys_derive(&m, &p.server_keys), OK);
    return p;
}

/* A struct that is returned cannot point into itself. */
static void pair_ready(struct pair *p)
{
    p->client = (struct oscore_peer){&p->client_keys, p->ccm};
    p->server = (struct oscore_peer){&p->server_keys, p->ccm};
}

static void pair_done(struct pair *p)
{
    p->ccm = ccm_free(p->ccm);
}

static struct coap_oscore option_of(struct slice options)
{
    struct slice value;
    struct coap_oscore o;
    assert_true(coap_options_find(options, COAP_OPTION_OSCORE, &value));
    assert_int_equal(coap_oscore_decode(value, &o), OK);
    return o;
}

/* The same request as whoever serves it gets it: where it lies, under a name of ours. */
static void named(const struct coap_message *inner, uint8_t room[OSCORE_MESSAGE_MAX])
{
    struct coap_message m;
    struct slice whole = oscore_request_named(room, inner, 0x1234, 0x0102030405060708);
    assert_ptr_equal(whole.p, room);
    assert_int_equal(coap_message_decode(whole, OSCORE_NAME_BYTES, &m), OK);
    assert_int_equal(m.type, inner->type);
    assert_int_equal(m.code, inner->code);
    assert_int_equal(m.mid, 0x1234);
    assert_true(slice_is(m.token, "\1\2\3\4\5\6\7\10"));
    assert_true(slice_equal(m.options, inner->options));
    assert_true(slice_equal(m.payload, inner->payload));
}

static bool has(struct slice options, uint16_t number)
{
    struct slice value;
    return coap_options_find(options, number, &value);
}

static struct slice all_options(uint8_t *dst, size_t cap)
{
    struct coap_option_writer w = coap_option_writer_into(dst, cap);
    struct slice block = {0};
    coap_option_add(&w, COAP_OPTION_IF_MATCH, slice_text("m"));
    coap_option_add(&w, COAP_OPTION_URI_HOST, slice_text("host"));
    coap_option_add(&w, COAP_OPTION_ETAG, slice_text("etag"));
    coap_option_add_uint(&w, COAP_OPTION_OBSERVE, 0);
    coap_option_add_uint(&w, COAP_OPTION_URI_PORT, 5683);
    coap_option_add(&w, COAP_OPTION_URI_PATH, slice_text("mq"));
    coap_option_add(&w, COAP_OPTION_URI_PATH, slice_text("a"));
    coap_option_add_uint(&w, COAP_OPTION_CONTENT_FORMAT, 60);
    coap_option_add_uint(&w, COAP_OPTION_MAX_AGE, 9);
    coap_option_add(&w, COAP_OPTION_URI_QUERY, slice_text("q=1"));
    coap_option_add_uint(&w, COAP_OPTION_HOP_LIMIT, 16);
    coap_option_add_uint(&w, COAP_OPTION_ACCEPT, 60);
    coap_option_add_uint(&w, COAP_OPTION_BLOCK2, 6);
    coap_option_add_uint(&w, COAP_OPTION_BLOCK1, 14);
    coap_option_add_uint(&w, COAP_OPTION_SIZE1, 99);
    coap_option_add(&w, COAP_OPTION_ECHO, slice_text("echo"));
    coap_option_add_uint(&w, COAP_OPTION_NO_RESPONSE, 2);
    coap_option_add(&w, COAP_OPTION_REQUEST_TAG, slice_text("tag"));
    coap_option_add(&w, 64999, slice_text("unknown, so hidden"));
    assert_int_equal(coap_option_writer_done(&w, &block), OK);
    return block;
}

/* SPEC: RFC8613 4.1, Figure 5 */
static void classes(void **state)
{
    (void)state;
    struct pair p = pair_new();
    pair_ready(&p);
    uint8_t block[256], room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX];
    struct coap_message plain = {.code = COAP_GET,
                                 .mid = 7,
                                 .token = slice_text("tok"),
                                 .options = all_options(block, sizeof(block)),
                                 .payload = slice_text("body")};
    struct oscore_outgoing how = {.piv = 1};
    struct coap_message sealed, back;
    struct oscore_binding b, got;
    assert_int_equal(oscore_request_protect(&p.client, &how, &plain, room, &sealed, &b), OK);
    assert_int_equal(sealed.code, COAP_FETCH); /* because it observes */
    const uint16_t outside[] = {COAP_OPTION_URI_HOST, COAP_OPTION_OBSERVE, COAP_OPTION_URI_PORT,
                                COAP_OPTION_OSCORE, COAP_OPTION_HOP_LIMIT};
    struct coap_options it = coap_options_from(sealed.options);
    struct coap_option o;
    size_t n = 0;
    while (coap_options_next(&it, &o)) {
        assert_true(n < COUNT_OF(outside));
        assert_int_equal(o.number, outside[n++]);
    }
    assert_int_equal(n, COUNT_OF(outside));
    struct coap_oscore header = option_of(sealed.options);
    assert_int_equal(oscore_request_open(&p.server, &sealed, &header, again, &back, &got), OK);
    assert_int_equal(back.code, COAP_GET);
    assert_int_equal(back.mid, 7);
    assert_true(slice_is(back.token, "tok"));
    assert_true(slice_equal(back.options, plain.options)); /* all of them, in order */
    assert_true(slice_is(back.payload, "body"));
    named(&back, again);
    pair_done(&p);
}

/* What somebody on the way adds outside is not believed. SPEC: RFC8613 8.2, step 1 */
static void outer_options_are_not_believed(void **state)
{
    (void)state;
    struct pair p = pair_new();
    pair_ready(&p);
    uint8_t block[64], forged[128], room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX];
    struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
    struct coap_message plain = {.code = COAP_PUT, .payload = slice_text("on")}, sealed, back;
    struct oscore_outgoing how = {.piv = 2};
    struct oscore_binding b, got;
    coap_option_add(&w, COAP_OPTION_URI_PATH, slice_text("lamp"));
    assert_int_equal(coap_option_writer_done(&w, &plain.options), OK);
    assert_int_equal(oscore_request_protect(&p.client, &how, &plain, room, &sealed, &b), OK);
    assert_int_equal(sealed.code, COAP_POST);
    struct coap_oscore header = option_of(sealed.options);
    struct slice value;
    assert_true(coap_options_find(sealed.options, COAP_OPTION_OSCORE, &value));
    struct coap_option_writer f = coap_option_writer_into(forged, sizeof(forged));
    coap_option_add(&f, COAP_OPTION_IF_MATCH, slice_text("x"));
    coap_option_add_uint(&f, COAP_OPTION_OBSERVE, 0);
    coap_option_add(&f, COAP_OPTION_OSCORE, value);
    coap_option_add(&f, COAP_OPTION_URI_PATH, slice_text("door"));
    coap_option_add_uint(&f, COAP_OPTION_NO_RESPONSE, 26);
    assert_int_equal(coap_option_writer_done(&f, &sealed.options), OK);
    sealed.code = COAP_DELETE;
    assert_int_equal(oscore_request_open(&p.server, &sealed, &header, again, &back, &got), OK);
    assert_int_equal(back.code, COAP_PUT);
    assert_true(slice_equal(back.options, plain.options));
    named(&back, again);
    pair_done(&p);
}

/* Answers: Observe inside is empty, the client numbers by the Partial IV. SPEC: RFC8613 4.1.3.5.2
 */
static void notifications(void **state)
{
    (void)state;
    struct pair p = pair_new();
    pair_ready(&p);
    uint8_t block[64], room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX];
    struct oscore_binding b = {.piv = 5, .kid = p.client_keys.sender};
    struct coap_message plain = {.code = COAP_CONTENT, .payload = slice_text("21.5")};
    struct coap_message sealed, back;
    struct coap_option_writer w = coap_option_writer_into(block, sizeof(block));
    const uint64_t piv = 0x01020304;
    uint32_t number = 0;
    coap_option_add_uint(&w, COAP_OPTION_OBSERVE, 77);
    coap_option_add_uint(&w, COAP_OPTION_CONTENT_FORMAT, 0);
    assert_int_equal(coap_option_writer_done(&w, &plain.options), OK);
    assert_int_equal(oscore_response_protect(&p.server, &b, &piv, &plain, room, &sealed), OK);
    assert_int_equal(sealed.code, COAP_CONTENT);
    assert_true(coap_options_find_uint(sealed.options, COAP_OPTION_OBSERVE, &number));
    assert_int_equal(number, 77); /* for who stands between */
    struct coap_oscore header = option_of(sealed.options);
    assert_true(header.has_piv && header.piv == piv && !header.has_kid);
    assert_int_equal(oscore_response_open(&p.client, &b, &sealed, &header, again, &back), OK);
    assert_true(coap_options_find_uint(back.options, COAP_OPTION_OBSERVE, &number));
    assert_int_equal(number, 0x020304);
    assert_true(has(back.options, COAP_OPTION_CONTENT_FORMAT));
    assert_true(slice_is(back.payload, "21.5"));
    b.piv = 6; /* the answer to another request */
    assert_int_equal(oscore_response_open(&p.client, &b, &sealed, &header, again, &back),
                     ERR_CRYPTO);
    pair_done(&p);
}

/* Whatever of the sealed text, the number or the key is changed, nothing comes out. */
static void tampering(void **state)
{
    (void)state;
    struct pair p = pair_new();
    pair_ready(&p);
    uint8_t room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX], bad[128];
    struct coap_message plain = {.code = COAP_GET}, sealed, back;
    struct oscore_outgoing how = {.piv = 3};
    struct oscore_binding b, got;
    assert_int_equal(oscore_request_protect(&p.client, &how, &plain, room, &sealed, &b), OK);
    struct coap_oscore header = option_of(sealed.options), other = header;
    struct slice whole = sealed.payload;
    for (size_t bit = 0; bit < 8 * whole.n; bit++) {
        memcpy(bad, whole.p, whole.n);
        bad[bit / 8] ^= (uint8_t)(1u << bit % 8);
        sealed.payload = slice_of(bad, whole.n);
        assert_int_equal(oscore_request_open(&p.server, &sealed, &header, again, &back, &got),
                         ERR_CRYPTO);
    }
    for (size_t n = 0; n < whole.n; n++) {
        sealed.payload = slice_head(whole, n);
        enum err err = oscore_request_open(&p.server, &sealed, &header, again, &back, &got);
        assert_int_equal(err, n <= CCM_TAG_BYTES ? ERR_TRUNCATED : ERR_CRYPTO);
    }
    sealed.payload = whole;
    other.piv++;
    assert_int_equal(oscore_request_open(&p.server, &sealed, &other, again, &back, &got),
                     ERR_CRYPTO);
    assert_int_equal(oscore_request_open(&p.client, &sealed, &header, again, &back, &got),
                     ERR_CRYPTO); /* reflected to its sender */
    assert_int_equal(oscore_request_open(&p.server, &sealed, &header, again, &back, &got), OK);
    pair_done(&p);
}

/* Sealed by the right key, but no request, or no answer, or no message at all. */
static void nonsense_inside(void **state)
{
    (void)state;
    struct pair p = pair_new();
    pair_ready(&p);
    static const struct {
        const char *name;
        uint8_t bytes[4];
        size_t n;
    } cases[] = {
        {"empty message", {0x00}, 1},
        {"an answer", {0x45}, 1},
        {"a reserved class", {0xE1}, 1},
        {"a marker without payload", {0x01, 0xFF}, 2},
        {"an option past the end", {0x01, 0xB4, 'a'}, 3},
    };
    struct coap_oscore header = {.has_piv = true, .piv = 4, .has_kid = true};
    struct oscore_binding b = {.piv = 4, .kid = p.client_keys.sender}, got;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t nonce[CCM_NONCE_BYTES], aad[OSCORE_AAD_MAX], text[16], room[OSCORE_MESSAGE_MAX];
        struct coap_message outer = {.code = COAP_POST}, back;
        print_message("%s\n", cases[i].name);
        oscore_nonce(&p.client_keys, &p.client_keys.sender, 4, nonce);
        assert_int_equal(ccm_seal(p.ccm, p.client_keys.sender_key, nonce, oscore_aad(&b, aad),
                                  slice_of(cases[i].bytes, cases[i].n), text),
                         OK);
        outer.payload = slice_of(text, cases[i].n + CCM_TAG_BYTES);
        assert_int_equal(oscore_request_open(&p.server, &outer, &header, room, &back, &got),
                         ERR_MALFORMED);
    }
    pair_done(&p);
}

static void bounds(void **state)
{
    (void)state;
    struct pair p = pair_new();
    pair_ready(&p);
    static uint8_t large[2 * OSCORE_MESSAGE_MAX];
    uint8_t room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX];
    struct coap_message plain = {.code = COAP_PUT}, sealed, back;
    struct oscore_outgoing how = {.piv = COAP_OSCORE_PIV_MAX};
    struct oscore_binding b, got;
    size_t most = 0;
    for (size_t n = 0; n <= OSCORE_MESSAGE_MAX; n++) {
        plain.payload = slice_of(large, n);
        enum err err = oscore_request_protect(&p.client, &how, &plain, room, &sealed, &b);
        assert_true(err == OK || err == ERR_TOO_LARGE);
        most = err == OK ? n : most;
    }
    assert_int_equal(most, OSCORE_MESSAGE_MAX - (1 + 1 + 5 + 2) - (1 + 1) - CCM_TAG_BYTES);
    plain.payload = slice_of(large, most - 8);
    assert_int_equal(oscore_request_protect(&p.client, &how, &plain, room, &sealed, &b), OK);
    struct coap_oscore header = option_of(sealed.options);
    assert_int_equal(oscore_request_open(&p.server, &sealed, &header, again, &back, &got), OK);
    assert_int_equal(back.payload.n, most - 8);
    sealed.payload = slice_of(large, sizeof(large));
    assert_int_equal(oscore_request_open(&p.server, &sealed, &header, again, &back, &got),
                     ERR_TOO_LARGE);
    how.piv++;
    plain.payload.n = 0;
    assert_int_equal(oscore_request_protect(&p.client, &how, &plain, room, &sealed, &b),
                     ERR_TOO_LARGE);
    plain.code = COAP_CONTENT;
    how.piv = 0;
    assert_int_equal(oscore_request_protect(&p.client, &how, &plain, room, &sealed, &b),
                     ERR_MALFORMED);
    plain.code = COAP_GET;
    assert_int_equal(oscore_response_protect(&p.server, &got, NULL, &plain, room, &sealed),
                     ERR_MALFORMED);
    const uint64_t over = COAP_OSCORE_PIV_MAX + 1;
    plain.code = COAP_CONTENT;
    assert_int_equal(oscore_response_protect(&p.server, &got, &over, &plain, room, &sealed),
                     ERR_TOO_LARGE);
    pair_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes),         cmocka_unit_test(outer_options_are_not_believed),
        cmocka_unit_test(notifications),   cmocka_unit_test(tampering),
        cmocka_unit_test(nonsense_inside), cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

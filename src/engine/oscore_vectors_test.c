/* RFC 8613, Appendix C, all of it: keys, nonces, additional data, requests and answers, both ways,
 * out of tests/vectors/oscore-rfc8613-appendix-c.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "engine/oscore_message.h"

struct hex {
    uint8_t bytes[128];
    size_t n;
    bool is_there;
};

static struct hex field(const json_t *v, const char *name)
{
    struct hex h = {0};
    const char *text = json_string_value(json_object_get(v, name));
    h.is_there = text != NULL;
    for (h.n = 0; text != NULL && text[2 * h.n] != '\0'; h.n++) {
        const char pair[] = {text[2 * h.n], text[2 * h.n + 1], '\0'};
        char *end = NULL;
        assert_true(h.n < sizeof(h.bytes));
        h.bytes[h.n] = (uint8_t)strtoul(pair, &end, 16);
        assert_ptr_equal(end, pair + 2);
    }
    return h;
}

static struct slice of(const struct hex *h)
{
    return slice_of(h->bytes, h->n);
}

static void assert_field(const json_t *v, const char *name, struct slice s)
{
    struct hex h = field(v, name);
    assert_true(h.is_there);
    assert_int_equal(s.n, h.n);
    assert_memory_equal(s.p, h.bytes, h.n);
}

static json_t *load(void)
{
    char path[512];
    const char *root = getenv("SALLYPORT_SOURCE_ROOT");
    (void)snprintf(path, sizeof(path), "%s/tests/vectors/oscore-rfc8613-appendix-c.json",
                   root != NULL ? root : ".");
    json_t *file = json_load_file(path, 0, NULL);
    assert_non_null(file);
    return file;
}

static struct oscore_keys keys_of(const json_t *v)
{
    struct hex secret = field(v, "Master Secret"), salt = field(v, "Master Salt");
    struct hex sender = field(v, "Sender ID"), recipient = field(v, "Recipient ID");
    struct hex context = field(v, "ID Context");
    struct oscore_material m = {.secret = of(&secret),
                                .salt = of(&salt),
                                .sender_id = of(&sender),
                                .recipient_id = of(&recipient),
                                .has_id_context = context.is_there,
                                .id_context = of(&context)};
    struct oscore_keys k;
    assert_int_equal(oscore_keys_derive(&m, &k), OK);
    return k;
}

static const json_t *find(const json_t *list, const char *section)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (strcmp(json_string_value(json_object_get(v, "section")), section) == 0) {
            return v;
        }
    }
    fail_msg("no vector %s", section);
    return NULL;
}

/* C.1 to C.3. SPEC: RFC8613 3.2 */
static void derivation(void **state)
{
    (void)state;
    json_t *file = load();
    const json_t *list = json_object_get(file, "vectors");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        uint8_t nonce[CCM_NONCE_BYTES];
        if (json_object_get(v, "Master Secret") == NULL) {
            continue;
        }
        struct oscore_keys k = keys_of(v);
        assert_field(v, "Sender Key", slice_of(k.sender_key, sizeof(k.sender_key)));
        assert_field(v, "Recipient Key", slice_of(k.recipient_key, sizeof(k.recipient_key)));
        assert_field(v, "Common IV", slice_of(k.common_iv, sizeof(k.common_iv)));
        oscore_nonce(&k, &k.sender, 0, nonce);
        assert_field(v, "sender nonce", slice_of(nonce, sizeof(nonce)));
        oscore_nonce(&k, &k.recipient, 0, nonce);
        assert_field(v, "recipient nonce", slice_of(nonce, sizeof(nonce)));
        n++;
    }
    assert_int_equal(n, 6);
    json_decref(file);
}

static struct coap_message decoded(const struct hex *h)
{
    struct coap_message m;
    assert_int_equal(coap_message_decode(of(h), COAP_TOKEN_BYTES, &m), OK);
    return m;
}

static void assert_encodes(const struct coap_message *m, const json_t *v, const char *name)
{
    uint8_t bytes[OSCORE_MESSAGE_MAX];
    size_t n = 0;
    assert_int_equal(coap_message_encode(m, bytes, sizeof(bytes), &n), OK);
    assert_field(v, name, slice_of(bytes, n));
}

static struct coap_oscore option_of(const struct coap_message *m)
{
    struct slice value;
    struct coap_oscore o;
    assert_true(coap_options_find(m->options, COAP_OPTION_OSCORE, &value));
    assert_int_equal(coap_oscore_decode(value, &o), OK);
    return o;
}

/* C.4 to C.6: sealed by the client, opened by the server. */
static void requests(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"C.4", "C.1.1", "C.1.2"}, {"C.5", "C.2.1", "C.2.2"}, {"C.6", "C.3.1", "C.3.2"}};
    json_t *file = load();
    const json_t *list = json_object_get(file, "vectors");
    AUTO(ccm_autofree) struct ccm *ccm = NULL;
    assert_int_equal(ccm_new(&ccm), OK);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const json_t *v = find(list, cases[i][0]);
        struct oscore_keys client = keys_of(find(list, cases[i][1]));
        struct oscore_keys server = keys_of(find(list, cases[i][2]));
        struct oscore_peer from = {&client, ccm}, to = {&server, ccm};
        struct hex plain_hex = field(v, "Unprotected CoAP request"),
                   context = field(v, "kid context");
        struct coap_message plain = decoded(&plain_hex), sealed, back;
        struct oscore_outgoing how = {20, context.is_there, of(&context)};
        uint8_t room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX], aad[OSCORE_AAD_MAX];
        struct oscore_binding sent, got;
        assert_int_equal(oscore_request_protect(&from, &how, &plain, room, &sealed, &sent), OK);
        assert_encodes(&sealed, v, "Protected CoAP request (OSCORE message)");
        assert_field(v, "AAD", oscore_aad(&sent, aad));
        assert_field(v, "ciphertext", sealed.payload);
        struct coap_oscore o = option_of(&sealed);
        assert_true(o.piv == 20 && o.has_kid);
        assert_field(v, "kid", o.kid);
        assert_int_equal(oscore_request_open(&to, &sealed, &o, again, &back, &got), OK);
        assert_encodes(&back, v, "Unprotected CoAP request");
        assert_true(got.piv == sent.piv);
        assert_true(slice_equal(oscore_id_slice(&got.kid), oscore_id_slice(&sent.kid)));
    }
    json_decref(file);
}

/* C.7 and C.8: answers to C.4, without and with a Partial IV. */
static void answers(void **state)
{
    (void)state;
    json_t *file = load();
    const json_t *list = json_object_get(file, "vectors");
    AUTO(ccm_autofree) struct ccm *ccm = NULL;
    assert_int_equal(ccm_new(&ccm), OK);
    struct oscore_keys client = keys_of(find(list, "C.1.1"));
    struct oscore_keys server = keys_of(find(list, "C.1.2"));
    struct oscore_peer c = {&client, ccm}, s = {&server, ccm};
    struct oscore_binding b = {.piv = 20, .kid = client.sender};
    const uint64_t number = 0;
    for (int has_piv = 0; has_piv < 2; has_piv++) {
        const json_t *v = find(list, has_piv != 0 ? "C.8" : "C.7");
        struct hex plain_hex = field(v, "Unprotected CoAP response");
        struct coap_message plain = decoded(&plain_hex), sealed, back;
        uint8_t room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX];
        assert_int_equal(
            oscore_response_protect(&s, &b, has_piv != 0 ? &number : NULL, &plain, room, &sealed),
            OK);
        assert_encodes(&sealed, v, "Protected CoAP response (OSCORE message)");
        struct coap_oscore o = option_of(&sealed);
        assert_int_equal(o.has_piv, has_piv);
        assert_int_equal(oscore_response_open(&c, &b, &sealed, &o, again, &back), OK);
        assert_encodes(&back, v, "Unprotected CoAP response");
    }
    json_decref(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(derivation),
        cmocka_unit_test(requests),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

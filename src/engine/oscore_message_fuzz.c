#include <assert.h>
#include <stdlib.h>

#include "engine/oscore_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct setting {
    struct oscore_keys client, server;
    struct ccm *ccm;
};

static void prepare(struct setting *s)
{
    static const uint8_t secret[OSCORE_SECRET_MIN] = {1};
    struct oscore_material m = {.secret = slice_of(secret, sizeof(secret)),
                                .sender_id = slice_text("c"),
                                .recipient_id = slice_text("s")};
    if (ccm_new(&s->ccm) != OK || oscore_keys_derive(&m, &s->client) != OK) {
        abort();
    }
    m.sender_id = slice_text("s");
    m.recipient_id = slice_text("c");
    if (oscore_keys_derive(&m, &s->server) != OK) {
        abort();
    }
}

/* What a stranger sends never opens; what our own client makes of any message opens to the same
 * code and payload; and text that only a key's owner can seal is read with the same care. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct setting s = {0};
    uint8_t room[OSCORE_MESSAGE_MAX], again[OSCORE_MESSAGE_MAX], text[OSCORE_MESSAGE_MAX];
    uint8_t nonce[CCM_NONCE_BYTES], aad[OSCORE_AAD_MAX];
    struct coap_message m, sealed, back;
    struct oscore_binding b, got;
    struct coap_oscore o = {.has_piv = true, .piv = 9, .has_kid = true};
    struct slice in = slice_of(data, n), value;
    if (n == 0 || n > OSCORE_MESSAGE_MAX - 64) {
        return 0;
    }
    prepare(&s);
    struct oscore_peer client = {&s.client, s.ccm}, server = {&s.server, s.ccm};
    struct oscore_outgoing how = {.piv = 9};
    if (coap_message_decode(in, COAP_TOKEN_BYTES, &m) == OK) {
        if (coap_options_find(m.options, COAP_OPTION_OSCORE, &value) &&
            coap_oscore_decode(value, &o) == OK) {
            (void)!oscore_request_open(&server, &m, &o, room, &back, &got);
        }
        if (oscore_request_protect(&client, &how, &m, room, &sealed, &b) == OK &&
            coap_options_find(sealed.options, COAP_OPTION_OSCORE, &value)) {
            assert(coap_oscore_decode(value, &o) == OK);
            enum err err = oscore_request_open(&server, &sealed, &o, again, &back, &got);
            assert(err == OK || err == ERR_TOO_LARGE);
            assert(err != OK || (back.code == m.code && slice_equal(back.payload, m.payload)));
        }
    }
    b = (struct oscore_binding){.piv = 9, .kid = s.client.sender};
    oscore_nonce(&s.client, &s.client.sender, 9, nonce);
    if (ccm_seal(s.ccm, s.client.sender_key, nonce, oscore_aad(&b, aad), in, text) == OK) {
        m = (struct coap_message){.code = COAP_POST, .payload = slice_of(text, n + CCM_TAG_BYTES)};
        o = (struct coap_oscore){.has_piv = true, .piv = 9, .has_kid = true};
        (void)!oscore_request_open(&server, &m, &o, room, &back, &got);
        (void)!oscore_response_open(&client, &b, &m, &o, room, &back);
    }
    ccm_free(s.ccm);
    return 0;
}

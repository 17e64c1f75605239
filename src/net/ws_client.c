/* The request of our own clients, and whether the answer is the one that was wanted. */
#include <openssl/evp.h>
#include <stdio.h>

#include "base/mem.h"
#include "net/ws_private.h"
#include "wire/http1/response.h"

enum { NONCE_BYTES = 16, KEY_BYTES = 25, HOST_MAX = 255, REQUEST_BYTES = 1792 };

struct ws_client {
    struct random_source random;
    bool is_coap;
    char accept[WS_ACCEPT_BYTES];
    char request[REQUEST_BYTES];
};

static void client_autofree(struct ws_client **c)
{
    mem_free(*c);
}

static bool is_printable(const char *text, size_t most)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    return n > 0 && n <= most;
}

enum err ws_client_begin(const struct ws_target *t, const struct random_source *random,
                         struct ws_client **ret)
{
    uint8_t nonce[NONCE_BYTES];
    char key[KEY_BYTES];
    if (!is_printable(t->host, HOST_MAX) || !is_printable(t->path, WS_TARGET_PATH_MAX) ||
        t->path[0] != '/') {
        return ERR_MALFORMED;
    }
    AUTO(client_autofree) struct ws_client *c = mem_zalloc(sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->random = *random;
    c->is_coap = t->is_coap;
    random->fill(random->ctx, nonce, NONCE_BYTES);
    if (EVP_EncodeBlock((unsigned char *)key, nonce, NONCE_BYTES) != KEY_BYTES - 1 ||
        !ws_accept_of(slice_of(key, KEY_BYTES - 1), c->accept)) {
        return ERR_CRYPTO;
    }
    bool is_six = strchr(t->host, ':') != NULL;
    int n = snprintf(c->request, sizeof(c->request),
                     "GET %s HTTP/1.1\r\n"
                     "Host: %s%s%s:%u\r\n"
                     "Upgrade: websocket\r\n"
                     "Connection: Upgrade\r\n"
                     "Sec-WebSocket-Key: %s\r\n"
                     "Sec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Protocol: %s\r\n\r\n",
                     t->path, is_six ? "[" : "", t->host, is_six ? "]" : "", (unsigned)t->port, key,
                     t->is_coap ? "coap" : "mqtt"); /* SPEC: MQTT-6.0.0-3 */
    assert(n > 0 && (size_t)n < sizeof(c->request) && n < WS_OUTPUT_BYTES);
    *ret = TAKE(c);
    return OK;
}

bool ws_client_is_coap(const struct ws_client *c)
{
    return c->is_coap;
}

struct slice ws_client_request(const struct ws_client *c)
{
    return slice_text(c->request);
}

const char *ws_client_judge(const struct ws_client *c, struct slice head, unsigned *ret_status)
{
    struct http1_response r;
    struct slice accept = {0}, protocol = {0};
    *ret_status = 0;
    if (http1_response_decode(head, &r) != OK) {
        return "the answer is not HTTP/1.1: this port speaks no WebSocket";
    }
    *ret_status = r.status != WS_SWITCHING ? r.status : 0;
    if (r.status != WS_SWITCHING) {
        return "the server refuses the WebSocket: is the path right?";
    }
    if (!http1_request_lists(&r.fields, "connection", "upgrade", false) ||
        !http1_request_lists(&r.fields, "upgrade", "websocket", false) ||
        http1_request_count(&r.fields, "sec-websocket-accept") != 1 ||
        !http1_request_find(&r.fields, "sec-websocket-accept", &accept) ||
        !slice_is(accept, c->accept)) {
        return "the answer does not fit the request for a WebSocket";
    }
    if (http1_request_count(&r.fields, "sec-websocket-protocol") != 1 ||
        !http1_request_find(&r.fields, "sec-websocket-protocol", &protocol) ||
        !slice_is(protocol, c->is_coap ? "coap" : "mqtt")) {
        return c->is_coap ? "the server speaks WebSocket, but not CoAP in it"
                          : "the server speaks WebSocket, but not MQTT in it";
    }
    if (http1_request_count(&r.fields, "sec-websocket-extensions") > 0) {
        return "the server uses a WebSocket extension that nobody asked for";
    }
    return NULL;
}

void ws_client_mask(const struct ws_client *c, uint8_t mask[4])
{
    c->random.fill(c->random.ctx, mask, 4);
}

/* ws_upgrade - who may become a WebSocket connection, and what everybody else is told. */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "base/wr.h"
#include "net/tls_private.h"
#include "net/ws_private.h"
#include "wire/http1/request.h"

enum { KEY_CHARS = 24, KEY_PAD = 2, GUID_CHARS = 36 };

static bool is_base64(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Sixteen bytes in base64. */
static bool is_key(struct slice key)
{
    if (key.n != KEY_CHARS || !slice_is(slice_from(key, KEY_CHARS - KEY_PAD), "==")) {
        return false;
    }
    for (size_t i = 0; i < KEY_CHARS - KEY_PAD; i++) {
        if (!is_base64(key.p[i])) {
            return false;
        }
    }
    return true;
}

/* SPEC: RFC6455 4.2.2: proves that the request was understood; it is no secret and no signature. */
bool ws_accept_of(struct slice key, char dst[WS_ACCEPT_BYTES])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_CHARS + GUID_CHARS];
    uint8_t sum[SHA_DIGEST_LENGTH];
    struct wr w = wr_into(text, sizeof(text));
    wr_bytes(&w, key);
    wr_bytes(&w, slice_text(guid));
    struct slice all = wr_slice(&w);
    if (EVP_Digest(all.p, all.n, sum, NULL, EVP_sha1(), NULL) != 1) {
        return false;
    }
    return EVP_EncodeBlock((unsigned char *)dst, sum, (int)sizeof(sum)) == WS_ACCEPT_BYTES - 1;
}

static void refuse(struct ws_answer *a, unsigned status, const char *why)
{
    a->status = status;
    a->why = why;
}

static bool origin_is_listed(const struct ws_rules *rules, struct slice origin)
{
    for (size_t i = 0; i < rules->n_origins; i++) {
        if (slice_equal(origin, rules->origins[i])) {
            return true;
        }
    }
    return false;
}

/* The host of "host:port", without the brackets of an IPv6 address; false when it has no such form.
 */
static bool take_host(struct slice authority, struct slice *ret)
{
    bool cut;
    if (authority.n > 0 && authority.p[0] == '[') {
        struct slice rest = slice_from(authority, 1);
        *ret = slice_cut(&rest, ']', &cut);
        return cut && (rest.n == 0 || rest.p[0] == ':');
    }
    *ret = slice_cut(&authority, ':', &cut);
    return ret->n > 0 && slice_find(authority, ':') == authority.n;
}

/*
 * Origin is "https://" and the request's own Host. A page says that only when it came from this
 * listener's name and port, which serves no pages; libraries outside of browsers say it on their
 * own. A stranger's name that was made to lead here is none of the certificate's.
 */
static bool origin_is_own(const struct tls *own, struct slice origin, struct slice authority)
{
    static const char scheme[] = "https://";
    struct slice host;
    return slice_has_prefix(origin, slice_text(scheme)) &&
           slice_equal(slice_from(origin, strlen(scheme)), authority) &&
           take_host(authority, &host) && own != NULL && tls_is_named(own, host);
}

const char *ws_no_request(const struct ws_rules *rules)
{
    return rules->is_coap ? "this is not an HTTP request; CoAP comes here inside of WebSocket"
                          : "this is not an HTTP request; MQTT comes here inside of WebSocket";
}

static void refuse_undecoded(const struct ws_rules *rules, enum err e, struct ws_answer *ret)
{
    switch ((unsigned)e) {
    case ERR_TOO_LARGE:
        refuse(ret, 414, "the request line is too long");
        break;
    case ERR_LIMIT:
        refuse(ret, 431, "the request has too many header fields");
        break;
    case ERR_UNSUPPORTED:
        refuse(ret, 505, "this is a WebSocket listener: it speaks HTTP/1.1 only");
        break;
    default:
        refuse(ret, 400, ws_no_request(rules));
        break;
    }
}

/* The request itself: method, path, that it asks for WebSocket at all. */
static bool is_upgrade(const struct ws_rules *rules, const struct http1_request *r,
                       struct ws_answer *ret)
{
    bool has_query;
    struct slice path = r->target;
    path = slice_cut(&path, '?', &has_query);
    struct slice length = slice_text("0");
    bool has_length = http1_request_find(r, "content-length", &length);
    if (!slice_is(r->method, "GET")) {
        refuse(ret, 405, "the method must be GET");
    } else if (!slice_equal(path, rules->path)) {
        refuse(ret, 404,
               "there is nothing under this path; the listener's `path` says which it is");
    } else if (http1_request_count(r, "host") != 1 ||
               http1_request_count(r, "transfer-encoding") > 0 ||
               (has_length && !slice_is(length, "0"))) {
        refuse(ret, 400, "the request must have one Host field and no body");
    } else if (!http1_request_lists(r, "connection", "upgrade", false) ||
               !http1_request_lists(r, "upgrade", "websocket", false)) {
        refuse(ret, 426, "the request must ask for an upgrade to websocket");
    } else {
        return true;
    }
    return false;
}

void ws_upgrade_judge(const struct ws_rules *rules, const struct tls *own, struct slice head,
                      struct ws_answer *ret)
{
    struct http1_request r;
    struct slice version = {0}, key = {0}, origin = {0}, host = {0};
    *ret = (struct ws_answer){.why = "", .is_coap = rules->is_coap};
    enum err e = http1_request_decode(head, &r);
    if (e != OK) {
        refuse_undecoded(rules, e, ret);
        return;
    }
    if (!is_upgrade(rules, &r, ret)) {
        return;
    }
    bool has_version = http1_request_find(&r, "sec-websocket-version", &version);
    bool has_key = http1_request_find(&r, "sec-websocket-key", &key);
    bool has_origin = http1_request_find(&r, "origin", &origin);
    (void)http1_request_find(&r, "host", &host); /* is_upgrade saw that there is one */
    if (!has_version || http1_request_count(&r, "sec-websocket-version") != 1 ||
        !slice_is(version, "13")) {
        refuse(ret, 426, "Sec-WebSocket-Version must be 13");
    } else if (!has_key || http1_request_count(&r, "sec-websocket-key") != 1 || !is_key(key)) {
        refuse(ret, 400, "Sec-WebSocket-Key must be 16 bytes in base64");
    } else if (http1_request_count(&r, "origin") > 1) {
        refuse(ret, 400, "the request has more than one Origin field");
    } else if (has_origin && !origin_is_listed(rules, origin) &&
               !origin_is_own(own, origin, host)) {
        /* A page elsewhere must not use what the browser has: certificate, place in the network. */
        refuse(ret, 403,
               "this page's origin may not connect; `origins` of the listener names those "
               "that may");
    } else if (!http1_request_lists(&r, "sec-websocket-protocol", rules->is_coap ? "coap" : "mqtt",
                                    true)) {
        /* SPEC: MQTT-6.0.0-3, RFC8323 4.1 */
        refuse(ret, 400,
               rules->is_coap ? "Sec-WebSocket-Protocol must offer coap"
                              : "Sec-WebSocket-Protocol must offer mqtt");
    } else if (!ws_accept_of(key, ret->accept)) {
        refuse(ret, 500, "the crypto library failed");
    } else {
        ret->status = WS_SWITCHING;
    }
}

static const char *reason_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {{400, "Bad Request"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {WS_TIMED_OUT, "Request Timeout"},
                   {414, "URI Too Long"},
                   {426, "Upgrade Required"},
                   {431, "Request Header Fields Too Large"},
                   {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < COUNT_OF(phrases); i++) {
        if (phrases[i].status == status) {
            return phrases[i].phrase;
        }
    }
    return "Internal Server Error";
}

size_t ws_upgrade_encode(const struct ws_answer *a, uint8_t *dst, size_t cap)
{
    int n;
    if (a->status == WS_SWITCHING) {
        /* SPEC: MQTT-6.0.0-4 */
        n = snprintf((char *)dst, cap,
                     "HTTP/1.1 101 Switching Protocols\r\n"
                     "Upgrade: websocket\r\n"
                     "Connection: Upgrade\r\n"
                     "Sec-WebSocket-Accept: %s\r\n"
                     "Sec-WebSocket-Protocol: %s\r\n\r\n",
                     a->accept, a->is_coap ? "coap" : "mqtt");
    } else {
        const char *more = a->status == 405 ? "Allow: GET\r\n"
                           : a->status == 426
                               ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                               : "";
        const char *connection = a->status == 426 ? "Upgrade, close" : "close";
        n = snprintf((char *)dst, cap,
                     "HTTP/1.1 %u %s\r\n"
                     "%s"
                     "Connection: %s\r\n"
                     "Content-Type: text/plain\r\n"
                     "Content-Length: %zu\r\n\r\n"
                     "%s\n",
                     a->status, reason_phrase(a->status), more, connection, strlen(a->why) + 1,
                     a->why);
    }
    assert(n > 0 && (size_t)n < cap);
    return (size_t)n;
}

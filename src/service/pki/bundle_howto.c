#include <stdarg.h>

#include "service/pki/bundle_private.h"

enum { LINE_MAX_BYTES = 2048 };

/* A text that grows; the first error sticks. */
struct page {
    struct buf *buf;
    enum err err;
};

__attribute__((format(printf, 2, 3))) static void say(struct page *p, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (p->err == OK) {
        p->err = n < 0 || (size_t)n >= sizeof line
                     ? ERR_TOO_LARGE
                     : buf_append(p->buf, slice_of(line, (size_t)n), BUNDLE_FILE_MAX);
    }
}

static void put(struct page *p, struct slice s)
{
    if (p->err == OK) {
        p->err = buf_append(p->buf, s, BUNDLE_FILE_MAX);
    }
}

/* For the shell: in single quotes, whatever is inside. */
static void quote(struct page *p, struct slice s)
{
    bool more = s.n > 0;
    put(p, slice_text("'"));
    while (more) {
        put(p, slice_cut(&s, '\'', &more));
        if (more) {
            put(p, slice_text("'\\''"));
        }
    }
    put(p, slice_text("'"));
}

/* SPEC: RFC3986 2.1, 2.3 */
static void uri_path(struct page *p, struct slice topic)
{
    for (size_t i = 0; i < topic.n; i++) {
        uint8_t c = topic.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~' || c == '/';
        if (plain) {
            put(p, slice_of(&c, 1));
        } else {
            say(p, "%%%02X", c);
        }
    }
}

static bool is_filter(struct slice s)
{
    return slice_find(s, '+') < s.n || slice_find(s, '#') < s.n;
}

static void mosquitto(struct page *p, const struct bundle_order *o, const char *program,
                      struct slice topic, bool by_certificate)
{
    say(p, "    %s -V 5 -h %.*s -p %u --cafile ca.pem -i %.*s", program, SLICE_ARG(o->host),
        (unsigned)o->mqtts_port, SLICE_ARG(o->device));
    if (by_certificate) {
        say(p, " --cert cert.pem --key key.pem");
    } else {
        say(p, " -u %.*s -P \"$(cat password.txt)\"", SLICE_ARG(o->device));
    }
    say(p, " -q 1 -t ");
    quote(p, topic);
}

static void mqtt_section(struct page *p, const struct bundle_order *o, bool by_certificate)
{
    say(p, "%s\n",
        by_certificate ? "MQTT over TLS, by certificate" : "MQTT over TLS, by name and password");
    if (o->publish.n > 0) {
        mosquitto(p, o, "mosquitto_pub", o->publish, by_certificate);
        say(p, " -m '21.5'\n");
    }
    if (o->subscribe.n > 0) {
        mosquitto(p, o, "mosquitto_sub", o->subscribe, by_certificate);
        say(p, " -v\n");
    }
    say(p, "\n");
}

/* mosquitto's own clients cannot; libraries for MQTT 5 can. */
static void scram_section(struct page *p, const struct bundle_order *o)
{
    say(p,
        "MQTT over TLS, by SCRAM\n    MQTT 5, port %u, client id %.*s, authentication method "
        "SCRAM-SHA-256:\n    name %.*s, password in scram.txt. No user name, no password in "
        "CONNECT.\n\n",
        (unsigned)o->mqtts_port, SLICE_ARG(o->device), SLICE_ARG(o->device));
}

static void coap(struct page *p, const struct bundle_order *o, const char *program,
                 const char *action, struct slice topic, bool by_certificate)
{
    bool is_v6 = slice_find(o->host, ':') < o->host.n;
    say(p, "    %s %s ", program, action);
    if (by_certificate) {
        say(p, "-c cert.pem -j key.pem -C ca.pem");
    } else {
        /* an opaque one begins with what a shell takes for a home */
        const char *quote = o->psk_identity.n > 0 ? "'" : "";
        struct slice identity = o->psk_identity.n > 0 ? o->psk_identity : o->device;
        say(p, "-u %s%.*s%s -k \"$(cut -d: -f2 psk.txt)\"", quote, SLICE_ARG(identity), quote);
    }
    say(p, " 'coaps://%s%.*s%s:%u/mq/", is_v6 ? "[" : "", SLICE_ARG(o->host), is_v6 ? "]" : "",
        (unsigned)o->coaps_port);
    uri_path(p, topic);
    say(p, "'\n");
}

static void coap_section(struct page *p, const struct bundle_order *o, bool by_certificate)
{
    static const char *const programs[] = {"coap-client-openssl", "coap-client-gnutls"};
    say(p, "%s\n", by_certificate ? "CoAP over DTLS, by certificate" : "CoAP over DTLS, by key");
    for (size_t i = 0; i < 2; i++) {
        if (o->publish.n > 0) {
            coap(p, o, programs[i], "-m put -e '21.5'", o->publish, by_certificate);
        }
        if (o->subscribe.n > 0 && !is_filter(o->subscribe)) {
            coap(p, o, programs[i], "-m get -s 60", o->subscribe, by_certificate);
        }
    }
    say(p, "\n");
}

/* Where no UDP gets through. Ours reads the bundle, Debian's takes its files. */
static void coap_stream_section(struct page *p, const struct bundle_order *o, const char *scheme,
                                uint16_t port)
{
    bool is_v6 = slice_find(o->host, ':') < o->host.n;
    static const char *const asks[] = {
        "    sallyport coap put --bundle . -e '21.5'",
        "    coap-client-openssl -m put -e '21.5' -c cert.pem -j key.pem -C ca.pem"};
    say(p, "CoAP over %s, by certificate, where no UDP gets through\n",
        strcmp(scheme, "coaps+ws") == 0 ? "WebSocket" : "TLS");
    for (size_t i = 0; i < 2; i++) {
        say(p, "%s '%s://%s%.*s%s:%u/mq/", asks[i], scheme, is_v6 ? "[" : "", SLICE_ARG(o->host),
            is_v6 ? "]" : "", (unsigned)port);
        uri_path(p, o->publish);
        say(p, "'\n");
    }
    say(p, "\n");
}

/* No stock program of Debian's speaks it; ours does, and libraries. */
static void oscore_section(struct page *p, const struct bundle_order *o)
{
    bool is_v6 = slice_find(o->host, ':') < o->host.n;
    say(p,
        "CoAP under OSCORE (RFC 8613): oscore.json\n"
        "    sallyport coap get coap://%s%.*s%s:%u/mq/TOPIC --bundle .\n"
        "For libraries that speak it (no DTLS; ids and secrets are hexadecimal):\n"
        "    Never use one sequence number twice: keep yours over a restart, or derive a context\n"
        "    anew (RFC 8613, Appendix B.2; or `sallyport device rotate %.*s --credential oscore`). "
        "The server may answer\n"
        "    4.01 with an Echo option first: send the request again with that option inside.\n\n",
        is_v6 ? "[" : "", SLICE_ARG(o->host), is_v6 ? "]" : "", (unsigned)o->coap_port,
        SLICE_ARG(o->device));
}

static void websocket_section(struct page *p, const struct bundle_order *o)
{
    bool is_v6 = slice_find(o->host, ':') < o->host.n;
    say(p,
        "MQTT over WebSocket, for browsers and what runs in them\n"
        "    wss://%s%.*s%s:%u%.*s   (subprotocol mqtt, client id %.*s, authority ca.pem)\n"
        "    A page may connect when the listener's `origins` name it, with password or token.\n\n",
        is_v6 ? "[" : "", SLICE_ARG(o->host), is_v6 ? "]" : "", (unsigned)o->wss_port,
        SLICE_ARG(o->wss_path), SLICE_ARG(o->device));
}

enum err bundle_howto(const struct bundle_order *o, struct buf *ret)
{
    struct page p = {.buf = ret};
    bool has_cert = o->cert_pem.n > 0 && o->key_pem.n > 0;
    say(&p,
        "This is the bundle of device %.*s%s%.*s.\nKeep it secret: whoever has these files is "
        "this device.\n\nGo to its directory first:\n    cd ",
        SLICE_ARG(o->device), o->role.n > 0 ? ", role " : "", SLICE_ARG(o->role));
    quote(&p, o->save_dir.n > 0 ? o->save_dir : slice_text("."));
    say(&p, "\n\n");
    if (o->mqtts_port != 0 && has_cert) {
        mqtt_section(&p, o, true);
    }
    if (o->mqtts_port != 0 && o->password.n > 0) {
        mqtt_section(&p, o, false);
    }
    if (o->wss_port != 0 && (has_cert || o->password.n > 0)) {
        websocket_section(&p, o);
    }
    if (o->mqtts_port != 0 && o->scram.n > 0) {
        scram_section(&p, o);
    }
    if (o->coaps_port != 0 && o->psk.n > 0) {
        coap_section(&p, o, false);
    }
    if (o->coaps_port != 0 && has_cert) {
        coap_section(&p, o, true);
    }
    if (o->coaps_tcp_port != 0 && has_cert && o->publish.n > 0) {
        coap_stream_section(&p, o, "coaps+tcp", o->coaps_tcp_port);
    }
    if (o->coaps_ws_port != 0 && has_cert && o->publish.n > 0) {
        coap_stream_section(&p, o, "coaps+ws", o->coaps_ws_port);
    }
    if (o->coap_port != 0 && o->oscore != NULL) {
        oscore_section(&p, o);
    }
    if (o->is_successor) {
        say(&p,
            "These files follow others. What the device has opens until it has used these once "
            "(a DTLS\nhandshake, an OSCORE request, a login), then for the overlap: put them "
            "there, use them, and only\nthen forget the old ones. `sallyport device show "
            "%.*s` says whether they were used.\n\n",
            SLICE_ARG(o->device));
    }
    say(&p, "A refused connection says in the server's log what to do: `sallyport audit tail`.\n");
    return p.err;
}

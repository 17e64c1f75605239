/* From what was seen to what is wrong: nothing is asked here, so each rule is tested by itself. */
#include <stdarg.h>
#include <stdio.h>

#include "app/cli/amplify.h"
#include "app/scan/scan.h"
#include "base/scope.h"
#include "wire/mqtt/reason.h"

enum {
    EXPIRING_DAYS = 30,
    LIFETIME_DAYS = 825,
    STRENGTH_MIN = 112, /* bits: RSA 2048, P-224. SPEC: RFC9325 4.5 */
    MQTT_PACKET_MOST = 268435455,
    MQTT_311 = 4
};

#define DAY_MS INT64_C(86400000)

enum rule {
    MQTT_PLAIN,
    MQTT_ANONYMOUS,
    MQTT_ANY_PASSWORD,
    MQTT_DEFAULT_PASSWORD,
    MQTT_READS_ALL,
    MQTT_READS_SYS,
    MQTT_SHOWS_VERSION,
    MQTT_BAD_UTF8,
    MQTT_TAKEOVER,
    MQTT_RETAINED,
    MQTT_LEFT_BEHIND,
    MQTT_HUGE,
    MQTT_UNLIMITED_PACKET,
    MQTT_UNLIMITED_KEEP_ALIVE,
    WS_ORIGIN,
    TLS_OLD,
    TLS_NO_CIPHER,
    TLS_NO_IDENTITY,
    TLS_BROKEN,
    TLS_KEPT_KEY,
    TLS_CBC,
    TLS_NO_13,
    CERT_EXPIRED,
    CERT_NOT_YET,
    CERT_EXPIRING,
    CERT_SELF_SIGNED,
    CERT_NAME,
    CERT_WEAK_KEY,
    CERT_WEAK_DIGEST,
    CERT_UNTRUSTED,
    CERT_UNKNOWN,
    CERT_LONG,
    COAP_OPEN,
    COAP_LISTS,
    COAP_AMPLIFIES,
    COAP_NO_ECHO,
    COAP_OBSERVED,
    DTLS_NO_COOKIE,
    N_RULES
};

/* clang-format off */
static const struct scan_rule rules[N_RULES] = {
    [MQTT_PLAIN] = {"mqtt-plaintext", SCAN_HIGH, "MQTT without TLS",
        "Serve MQTT by TLS only (8883, wss) and close this port, or bind it to loopback: whoever is on the path reads and "
        "changes messages and passwords."},
    [MQTT_ANONYMOUS] = {"mqtt-anonymous", SCAN_HIGH, "anybody may connect without a name",
        "Refuse connections without credentials (mosquitto: allow_anonymous false) and give each device its own."},
    [MQTT_ANY_PASSWORD] = {"mqtt-any-password", SCAN_HIGH, "any user name and password is accepted",
        "Configure who may connect (mosquitto: allow_anonymous false with password_file or certificates): passwords are not "
        "looked at now."},
    [MQTT_DEFAULT_PASSWORD] = {"mqtt-default-password", SCAN_HIGH, "a default password is accepted",
        "Give this account a password of its own at once, look in the log for who has used it, and delete accounts that came "
        "with the installation."},
    [MQTT_READS_ALL] = {"mqtt-reads-all", SCAN_HIGH, "whoever came in may subscribe to everything (#)",
        "Grant each device the topics it needs and nothing else (mosquitto: acl_file); # is for nobody but a tool of yours."},
    [MQTT_READS_SYS] = {"mqtt-reads-sys", SCAN_MEDIUM, "whoever came in may read $SYS/#",
        "Grant $SYS/# to operators only: it tells the version, the load and who comes and goes."},
    [MQTT_SHOWS_VERSION] = {"mqtt-shows-version", SCAN_LOW, "the server tells its version",
        "Keep $SYS/broker/version from strangers, and the server up to date."},
    [MQTT_BAD_UTF8] = {"mqtt-takes-bad-utf8", SCAN_MEDIUM, "a topic that is not UTF-8 is accepted",
        "Update the server: such a topic must end the connection, for it breaks those that it is sent to."},
    [MQTT_TAKEOVER] = {"mqtt-takeover", SCAN_MEDIUM, "a stranger with the client id of another ends its connection",
        "Bind the client id to the proven identity (mosquitto: use_username_as_clientid with authentication), so that nobody "
        "takes over a session that is not its own."},
    [MQTT_RETAINED] = {"mqtt-retained", SCAN_MEDIUM, "strangers may leave retained messages",
        "Grant writing per device and topic, and bound retained messages: each later subscriber gets what a stranger left."},
    [MQTT_LEFT_BEHIND] = {"scan-left-behind", SCAN_HIGH, "a message of this scan could not be taken away again",
        "Clear it: publish an empty retained message to the topic named here."},
    [MQTT_HUGE] = {"mqtt-huge-before-connect", SCAN_MEDIUM, "a huge packet is waited for before CONNECT",
        "Bound packets, and the time until CONNECT (mosquitto: max_packet_size; newer releases bound it by themselves): each "
        "such connection holds memory for nobody known."},
    [MQTT_UNLIMITED_PACKET] = {"mqtt-packet-unlimited", SCAN_MEDIUM, "packets of any size are accepted",
        "Set the maximum packet size to what your devices send (mosquitto: max_packet_size)."},
    [MQTT_UNLIMITED_KEEP_ALIVE] = {"mqtt-keep-alive-unlimited", SCAN_LOW, "a silent connection is kept for hours, or for ever",
        "Bound the keep-alive (mosquitto: max_keepalive), so that who says nothing holds no place."},
    [WS_ORIGIN] = {"ws-origin", SCAN_MEDIUM, "a WebSocket is opened for any web page",
        "Take the upgrade from origins of yours only: any page that a user visits can use this server from that user's place "
        "in the network."},
    [TLS_OLD] = {"tls-old-version", SCAN_HIGH, "TLS 1.0 or 1.1 is accepted",
        "Allow TLS 1.2 and 1.3 only (mosquitto: tls_version tlsv1.2)."},
    [TLS_NO_CIPHER] = {"tls-no-encryption", SCAN_HIGH, "a suite that does not encrypt is accepted",
        "Take NULL suites off the list of suites."},
    [TLS_NO_IDENTITY] = {"tls-no-identity", SCAN_HIGH, "a suite without a certificate is accepted",
        "Take anonymous suites (aNULL) off the list: whoever is on the path can answer in the server's place."},
    [TLS_BROKEN] = {"tls-broken-suite", SCAN_HIGH, "a broken suite (RC4, DES, 3DES, export) is accepted",
        "Allow suites with ECDHE and AES-GCM or ChaCha20 only."},
    [TLS_KEPT_KEY] = {"tls-no-forward-secrecy", SCAN_MEDIUM, "RSA key exchange is accepted",
        "Allow suites with ECDHE only: who gets the server's key later reads what was recorded before."},
    [TLS_CBC] = {"tls-cbc", SCAN_LOW, "suites without AEAD (CBC) are accepted",
        "Allow suites with AES-GCM or ChaCha20 only."},
    [TLS_NO_13] = {"tls-no-13", SCAN_LOW, "TLS 1.3 is not spoken", "Update the server or allow TLS 1.3."},
    [CERT_EXPIRED] = {"cert-expired", SCAN_HIGH, "the certificate has expired",
        "Put a new certificate in place, and let it be renewed by a program."},
    [CERT_NOT_YET] = {"cert-not-yet-valid", SCAN_HIGH, "the certificate is not valid yet",
        "Look at the clocks of the server and of who issued it, and issue it anew."},
    [CERT_EXPIRING] = {"cert-expiring", SCAN_MEDIUM, "the certificate expires soon",
        "Renew it now, and let it be renewed by a program from then on."},
    [CERT_SELF_SIGNED] = {"cert-self-signed", SCAN_MEDIUM, "the certificate is signed by itself",
        "Let an authority of yours sign the server's certificate and give devices that authority: then it can be renewed "
        "without touching a device."},
    [CERT_NAME] = {"cert-name", SCAN_MEDIUM, "the certificate does not carry the name that was asked",
        "Issue it for every name and address by which devices reach the server, as subject alternative names."},
    [CERT_WEAK_KEY] = {"cert-weak-key", SCAN_HIGH, "the key of the certificate is too short",
        "Make a new key (EC P-256, or RSA of 2048 bits and more) and issue the certificate anew."},
    [CERT_WEAK_DIGEST] = {"cert-weak-digest", SCAN_HIGH, "the certificate is signed over SHA-1 or MD5",
        "Issue it anew with SHA-256."},
    [CERT_UNTRUSTED] = {"cert-untrusted", SCAN_HIGH, "the certificate is none of the authorities that were named",
        "Issue it by that authority, and look whether this is the server you mean: a stranger on the path would look so."},
    [CERT_UNKNOWN] = {"cert-unknown-authority", SCAN_INFO, "the certificate is of an authority that this system does not know",
        "Fine for an authority of your own: say which by --cafile, so that it is verified."},
    [CERT_LONG] = {"cert-long-lived", SCAN_LOW, "the certificate lives for years",
        "Issue certificates for months, and let a program renew them: a stolen key is of use as long as its certificate."},
    [COAP_OPEN] = {"coap-nosec", SCAN_HIGH, "CoAP without protection is served",
        "Serve coaps (5684) or OSCORE, and close this port: nobody is known here, and everything can be read and changed."},
    [COAP_LISTS] = {"coap-discovery", SCAN_LOW, "strangers get the list of resources",
        "Show strangers what they need to log in, and the rest to who is known."},
    [COAP_AMPLIFIES] = {"coap-amplification", SCAN_HIGH, "small requests bring about large answers",
        "Answer an address that has not proven itself with at most three times its bytes: ask for Echo (RFC 9175) first, and "
        "give large values in small blocks. Until then keep the port from the internet: it floods others for whoever forges "
        "their address."},
    [COAP_NO_ECHO] = {"coap-no-echo", SCAN_MEDIUM, "no Echo is asked for before a large answer",
        "Switch on the Echo option (RFC 9175) where the server has it; else do not serve CoAP without DTLS."},
    [COAP_OBSERVED] = {"coap-observe", SCAN_MEDIUM, "an observation begins without any proof of the address",
        "Take observations by DTLS or OSCORE only, or after an Echo: one forged datagram makes the server send for ever."},
    [DTLS_NO_COOKIE] = {"dtls-no-cookie", SCAN_HIGH, "a DTLS handshake goes on without a cookie",
        "Switch on the cookie exchange (HelloVerifyRequest), for resumption, too: without it a forged hello brings about a "
        "flight of certificates."},
};
/* clang-format on */

static const char *const severities[SCAN_SEVERITY_COUNT] = {"info", "low", "medium", "high"};
static const char *const kinds[] = {"mqtt", "mqtts", "ws", "wss", "coap", "coaps"};

const struct scan_rule *scan_rules(size_t *ret_n)
{
    *ret_n = N_RULES;
    return rules;
}

const char *scan_severity_name(enum scan_severity s)
{
    return severities[s];
}

const char *scan_kind_name(enum scan_kind kind)
{
    return kinds[kind];
}

bool scan_kind_is_mqtt(enum scan_kind kind)
{
    return kind <= SCAN_WSS;
}

bool scan_kind_has_tls(enum scan_kind kind)
{
    return kind == SCAN_MQTTS || kind == SCAN_WSS;
}

void scan_word(struct slice s, char *dst, size_t cap)
{
    static const char hex[] = "0123456789abcdef";
    enum { DOTS = 4, WIDEST = 4 }; /* with the NUL */
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (n + WIDEST + DOTS > cap) {
            (void)snprintf(&dst[n], cap - n, "...");
            return;
        }
        if (c >= 0x20 && c < 0x7f && c != '\\' && c != '"') {
            dst[n++] = (char)c;
        } else {
            dst[n++] = '\\';
            dst[n++] = 'x';
            dst[n++] = hex[c >> 4];
            dst[n++] = hex[c & 15];
        }
    }
    dst[n] = '\0';
}

/* ---- findings ---- */

struct judge {
    const struct scan_seen *seen;
    const struct scan_door_seen *door;
    struct scan_findings *to;
};

__attribute__((format(printf, 3, 4))) static void find(struct judge *j, enum rule rule,
                                                       const char *format, ...)
{
    if (j->to->n == SCAN_FINDINGS_MAX) {
        return;
    }
    struct scan_finding *f = &j->to->all[j->to->n++];
    *f = (struct scan_finding){.rule = &rules[rule], .door = j->door->door};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(f->evidence, sizeof(f->evidence), format, args);
    va_end(args);
}

static void judge_terms(struct judge *j)
{
    static const struct {
        enum scan_terms terms;
        enum rule rule;
        const char *asked;
    } cases[] = {
        {SCAN_TERMS_TLS10, TLS_OLD, "a hello of TLS 1.0"},
        {SCAN_TERMS_TLS11, TLS_OLD, "a hello of TLS 1.1"},
        {SCAN_TERMS_PLAIN, TLS_NO_CIPHER, "a hello with NULL suites only"},
        {SCAN_TERMS_NOBODY, TLS_NO_IDENTITY, "a hello with anonymous suites only"},
        {SCAN_TERMS_BROKEN, TLS_BROKEN, "a hello with RC4, DES, 3DES and export suites only"},
        {SCAN_TERMS_KEPT_KEY, TLS_KEPT_KEY, "a hello with RSA key exchange only"},
        {SCAN_TERMS_CBC, TLS_CBC, "a hello with CBC suites only"}};
    const struct scan_tls_seen *t = &j->door->tls;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (t->terms[cases[i].terms] == SCAN_YES) {
            find(j, cases[i].rule, "sent %s; the server goes on, with suite 0x%04x", cases[i].asked,
                 t->suite[cases[i].terms]);
        }
    }
    if (t->terms[SCAN_TERMS_TLS13] == SCAN_NO && t->terms[SCAN_TERMS_TLS12] == SCAN_YES) {
        find(j, TLS_NO_13, "a hello of TLS 1.3 was refused, one of TLS 1.2 was not");
    }
}

static void judge_times(struct judge *j, const struct tls_look *c)
{
    int64_t now = j->seen->wall_ms;
    char from[CLOCK_ISO8601_BYTES], to[CLOCK_ISO8601_BYTES];
    clock_iso8601(c->not_before_wall_ms, from);
    clock_iso8601(c->not_after_wall_ms, to);
    if (now > c->not_after_wall_ms) {
        find(j, CERT_EXPIRED, "the certificate was valid until %s", to);
    } else if (now < c->not_before_wall_ms) {
        find(j, CERT_NOT_YET, "the certificate is valid from %s on", from);
    } else if (c->not_after_wall_ms - now < EXPIRING_DAYS * DAY_MS) {
        find(j, CERT_EXPIRING, "the certificate is valid until %s, that is %lld days", to,
             (long long)((c->not_after_wall_ms - now) / DAY_MS));
    }
    if (c->not_after_wall_ms > c->not_before_wall_ms &&
        c->not_after_wall_ms / DAY_MS - c->not_before_wall_ms / DAY_MS > LIFETIME_DAYS) {
        find(j, CERT_LONG, "valid from %s until %s", from, to);
    }
}

static void judge_chain(struct judge *j, const struct tls_look *c)
{
    char why[TLS_TEXT_BYTES];
    tls_verify_text(c->verify, "server", why);
    if (c->verify == TLS_VERIFY_OK) {
        return;
    }
    if (j->seen->has_authorities) {
        find(j, CERT_UNTRUSTED, "%s; %u certificates were shown", why, c->n_chain);
    } else if (c->is_self_signed) {
        find(j, CERT_SELF_SIGNED, "%s; %u certificates were shown", why, c->n_chain);
    } else {
        find(j, CERT_UNKNOWN, "%s; %u certificates were shown", why, c->n_chain);
    }
}

static void judge_certificate(struct judge *j)
{
    const struct tls_look *c = &j->door->tls.certificate;
    judge_times(j, c);
    judge_chain(j, c);
    if (!c->is_named) {
        find(j, CERT_NAME, "the name or address that was asked is not among the certificate's");
    }
    if (c->key_strength < STRENGTH_MIN) {
        find(j, CERT_WEAK_KEY, "%s of %u bits", c->key, c->key_bits);
    }
    if (c->is_digest_weak) {
        find(j, CERT_WEAK_DIGEST, "the signature of the certificate is over SHA-1 or MD5");
    }
}

/* How whoever looked came in. */
static const char *who(const struct scan_mqtt_seen *m)
{
    switch (m->who) {
    case SCAN_WHO_ANONYMOUS:
        return "without a name";
    case SCAN_WHO_ANY:
        return "with a made-up name and password";
    case SCAN_WHO_DEFAULT:
        return "with a default password";
    case SCAN_WHO_NOBODY:
        break;
    }
    return "nobody";
}

static void judge_entry(struct judge *j, const struct scan_mqtt_seen *m)
{
    if (m->anonymous == SCAN_ENTRY_IN) {
        find(j, MQTT_ANONYMOUS, "sent CONNECT (MQTT %s) without a name; CONNACK 0x00",
             m->version == MQTT_311 ? "3.1.1" : "5");
    } else if (m->who == SCAN_WHO_ANY) {
        find(j, MQTT_ANY_PASSWORD,
             "sent CONNECT with a random user name and password; CONNACK 0x00");
    } else if (m->who == SCAN_WHO_DEFAULT) {
        find(j, MQTT_DEFAULT_PASSWORD, "sent CONNECT with user %s and password %s; CONNACK 0x00",
             m->user, m->password);
    }
}

static void judge_topics(struct judge *j, const struct scan_mqtt_seen *m)
{
    if (m->reads_all == SCAN_YES) {
        find(j, MQTT_READS_ALL, "%s: sent SUBSCRIBE #; SUBACK grants it", who(m));
    }
    if (m->reads_sys == SCAN_YES) {
        find(j, MQTT_READS_SYS, "%s: sent SUBSCRIBE $SYS/#; SUBACK grants it, %u messages came",
             who(m), m->n_sys);
    }
    if (m->sys_version[0] != '\0') {
        find(j, MQTT_SHOWS_VERSION, "$SYS/broker/version says \"%s\"", m->sys_version);
    }
    if (m->takes_bad_utf8 == SCAN_YES) {
        find(j, MQTT_BAD_UTF8,
             "%s: sent PUBLISH to a topic that ends in the bytes c0 80; the "
             "connection goes on",
             who(m));
    }
    if (m->keeps_retained == SCAN_YES) {
        find(j, MQTT_RETAINED,
             "%s: sent a retained PUBLISH to %s; it was given to a new "
             "subscription, and cleared again",
             who(m), m->retained_topic);
    }
    if (m->has_left_retained) {
        find(j, MQTT_LEFT_BEHIND, "the retained message on %s was kept, and clearing it failed",
             m->retained_topic);
    }
}

static void judge_limits(struct judge *j, const struct scan_mqtt_seen *m)
{
    if (m->takes_over == SCAN_YES) {
        find(j, MQTT_TAKEOVER,
             "two connections of this scan, both %s, with one random client id: the "
             "second ended the first",
             who(m));
    }
    if (m->keeps_huge == SCAN_YES) {
        find(j, MQTT_HUGE,
             "sent the head of a CONNECT of %d bytes and 16 KiB of it; the server waits "
             "for the rest",
             MQTT_PACKET_MOST);
    }
    if (m->unlimited_packet == SCAN_YES && m->packet_max == 0) {
        find(j, MQTT_UNLIMITED_PACKET, "CONNACK names no maximum packet size, so it is %d bytes",
             MQTT_PACKET_MOST);
    } else if (m->unlimited_packet == SCAN_YES) {
        find(j, MQTT_UNLIMITED_PACKET, "CONNACK names %u bytes as the maximum packet size",
             (unsigned)m->packet_max);
    }
    if (m->unlimited_keep_alive == SCAN_YES) {
        find(j, MQTT_UNLIMITED_KEEP_ALIVE,
             "sent CONNECT with keep-alive off; CONNACK sets %u s (0: none)",
             (unsigned)m->keep_alive_s);
    }
    if (m->takes_origin == SCAN_YES) {
        find(j, WS_ORIGIN, "sent an upgrade with Origin: https://sallyport-scan.invalid; HTTP 101");
    }
}

static void judge_mqtt(struct judge *j)
{
    const struct scan_mqtt_seen *m = &j->door->mqtt;
    if (j->door->state == SCAN_OPEN && !scan_kind_has_tls(j->door->door.kind)) {
        find(j, MQTT_PLAIN, "the port speaks MQTT without TLS (CONNECT %s)",
             m->anonymous == SCAN_ENTRY_IN        ? "is accepted"
             : m->anonymous == SCAN_ENTRY_REFUSED ? "is answered"
                                                  : "is read");
    }
    judge_entry(j, m);
    judge_topics(j, m);
    judge_limits(j, m);
}

static double factor(const struct scan_exchange *e)
{
    return e->sent > 0 ? (double)e->received / (double)e->sent : 0;
}

static bool is_over(const struct scan_exchange *e)
{
    return e->received > AMPLIFY_MOST * e->sent;
}

static void judge_coap(struct judge *j)
{
    const struct scan_coap_seen *c = &j->door->coap;
    const struct scan_exchange *d = &c->discovery, *r = &c->resource;
    if (c->serves == SCAN_YES) {
        find(j, COAP_OPEN, "sent GET %s without protection; 2.05", c->served);
    }
    if (c->n_links > 0) {
        find(j, COAP_LISTS, "sent GET /.well-known/core; %u links came", c->n_links);
    }
    if (is_over(d) || is_over(r)) {
        const struct scan_exchange *most = factor(r) > factor(d) ? r : d;
        find(j, COAP_AMPLIFIES,
             "GET %s: %zu bytes in, %zu out, factor %.1f; discovery %.1f, the largest resource "
             "%.1f; "
             "the bound is %d",
             most->path, most->sent, most->received, factor(most), factor(d), factor(r),
             AMPLIFY_MOST);
        if (c->asks_echo != SCAN_YES) {
            find(j, COAP_NO_ECHO, "GET %s was answered with %zu bytes at once, without Echo",
                 most->path, most->received);
        }
    }
    if (c->observes == SCAN_YES) {
        find(j, COAP_OBSERVED,
             "sent GET %s with Observe (%zu bytes); registered, %u datagrams of %zu bytes in all "
             "came "
             "until it was ended",
             c->observation.path, c->observation.sent, c->observation.answers,
             c->observation.received);
    }
}

static void judge_coaps(struct judge *j)
{
    const struct scan_coaps_seen *c = &j->door->coaps;
    if (c->has_cookie == SCAN_NO) {
        find(j, DTLS_NO_COOKIE,
             "sent a ClientHello of %zu bytes without a cookie; a ServerHello and %zu bytes came, "
             "factor %.1f",
             c->hello.sent, c->hello.received, factor(&c->hello));
    }
}

/* The gravest first; what is equally grave stays in order. */
static void sort(struct scan_finding *f, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct scan_finding moved = f[i];
        size_t at = i;
        for (; at > 0 && f[at - 1].rule->severity < moved.rule->severity; at--) {
            f[at] = f[at - 1];
        }
        f[at] = moved;
    }
}

void scan_judge(const struct scan_seen *seen, struct scan_findings *ret)
{
    ret->n = 0;
    for (size_t i = 0; i < seen->n_doors; i++) {
        struct judge j = {.seen = seen, .door = &seen->doors[i], .to = ret};
        size_t from = ret->n;
        judge_terms(&j);
        if (j.door->tls.has_certificate) {
            judge_certificate(&j);
        }
        if (scan_kind_is_mqtt(j.door->door.kind)) {
            judge_mqtt(&j);
        }
        judge_coap(&j);
        judge_coaps(&j);
        sort(&ret->all[from], ret->n - from);
    }
}

bool scan_is_grave(const struct scan_findings *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->all[i].rule->severity >= SCAN_MEDIUM) {
            return true;
        }
    }
    return false;
}

bool scan_has_answers(const struct scan_seen *seen)
{
    for (size_t i = 0; i < seen->n_doors; i++) {
        if (seen->doors[i].state == SCAN_OPEN) {
            return true;
        }
    }
    return false;
}

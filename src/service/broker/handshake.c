#include "service/broker/handshake.h"

#include "base/clock.h"
#include "security/identity/identity.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/fixed.h"

/* ---- TLS ---- */

/* What a certificate says that did not verify. */
struct claim {
    char name[IDENTITY_NAME_BYTES]; /* empty: nobody */
    char begins[CLOCK_ISO8601_BYTES], ends[CLOCK_ISO8601_BYTES];
    int64_t ends_wall_ms; /* 0: not known */
};

static void read_claim(struct slice der, struct claim *ret)
{
    AUTO(x509_autofree) struct x509 *x = NULL;
    *ret = (struct claim){.begins = "an unknown time", .ends = "an unknown time"};
    if (der.n == 0 || x509_from_der(der, &x) != OK) {
        return;
    }
    clock_iso8601(x509_info(x)->not_before_wall_ms, ret->begins);
    clock_iso8601(x509_info(x)->not_after_wall_ms, ret->ends);
    ret->ends_wall_ms = x509_info(x)->not_after_wall_ms;
    if (identity_from_x509(x, IDENTITY_ANY, ret->name) != OK) {
        ret->name[0] = '\0';
    }
}

static void explain_expired(const struct claim *claim, int64_t now_wall_ms, struct event *e)
{
    char now[CLOCK_ISO8601_BYTES];
    clock_iso8601(now_wall_ms, now);
    if (claim->ends_wall_ms > now_wall_ms) {
        event_reason(e,
                     "the authority that signed the client certificate has expired: the clock here "
                     "says %s. Set that, if it is wrong; else give the device a new bundle: "
                     "`sallyport device rotate NAME`",
                     now);
        return;
    }
    event_reason(e,
                 "the client certificate has expired: it ended %s, the clock here says %s: past "
                 "renewal_grace. Give it a new one: `sallyport device rotate NAME`; or set the "
                 "clock, if it is wrong",
                 claim->ends, now);
}

static void explain_certificate(const struct tls_refusal *r, int64_t now_wall_ms, struct event *e)
{
    struct claim claim;
    char now[CLOCK_ISO8601_BYTES];
    read_claim(r->cert, &claim);
    clock_iso8601(now_wall_ms, now);
    if (claim.name[0] != '\0') {
        EVENT_TEXT(e, principal, slice_text(claim.name));
        e->is_claimed = true;
    }
    switch (r->verify) {
    case TLS_VERIFY_EXPIRED:
        explain_expired(&claim, now_wall_ms, e);
        break;
    case TLS_VERIFY_NOT_YET_VALID:
        event_reason(e,
                     "the client certificate is not valid yet: it begins %s, the clock here says "
                     "%s. Set the clock that is wrong and keep it by NTP; then `sallyport device "
                     "rotate NAME` if the certificate is",
                     claim.begins, now);
        break;
    case TLS_VERIFY_OK:
    case TLS_VERIFY_UNKNOWN_CA:
    case TLS_VERIFY_SELF_SIGNED:
    case TLS_VERIFY_WRONG_PURPOSE:
    case TLS_VERIFY_WRONG_NAME:
    case TLS_VERIFY_WEAK:
    case TLS_VERIFY_FORGED:
    case TLS_VERIFY_REVOKED:
    case TLS_VERIFY_OTHER:
        event_reason(e,
                     "%s. Let it use cert.pem and key.pem of its bundle; `sallyport device rotate "
                     "NAME` makes new ones",
                     r->text);
        break;
    }
}

/* What a client says by an alert is about us; only it can be mended. SPEC: RFC8446 6.2 */
static void explain_alert(const struct tls_refusal *r, int64_t now_wall_ms, struct event *e)
{
    enum {
        BAD_CERTIFICATE = 42,
        CERTIFICATE_EXPIRED = 45,
        CERTIFICATE_UNKNOWN = 46,
        UNKNOWN_CA = 48,
        PROTOCOL_VERSION = 70,
        INSUFFICIENT_SECURITY = 71
    };
    const char *name = tls_alert_name(r->alert);
    char now[CLOCK_ISO8601_BYTES];
    clock_iso8601(now_wall_ms, now);
    switch (r->alert) {
    case UNKNOWN_CA:
        event_reason(e,
                     "the client does not trust the CA of this server's certificate (its alert: "
                     "%s). Give it ca.pem of its bundle as the CA to trust, and no other",
                     name);
        break;
    case BAD_CERTIFICATE:
    case CERTIFICATE_UNKNOWN:
        event_reason(e,
                     "the client refused this server's certificate (its alert: %s): wrong server "
                     "name, or its clock is off. Let it connect to the host in its bundle.json, "
                     "and set its clock: here it is %s",
                     name, now);
        break;
    case CERTIFICATE_EXPIRED:
        event_reason(e,
                     "to the client this server's certificate has expired (its alert: %s). Set its "
                     "clock, here it is %s; `sallyport status` says until when the certificate is "
                     "valid",
                     name, now);
        break;
    case PROTOCOL_VERSION:
    case INSUFFICIENT_SECURITY:
        event_reason(e,
                     "the client wants other TLS versions or suites (its alert: %s). Update its "
                     "TLS library: TLS 1.3, and AES-GCM or ChaCha20",
                     name);
        break;
    default:
        event_reason(e,
                     "the client ended the handshake (its alert: %s). Look at its own log; it "
                     "needs ca.pem, cert.pem and key.pem of its bundle, and TLS 1.3",
                     name);
        break;
    }
}

static void explain_version(const struct tls_refusal *r, struct event *e)
{
    enum { TLS_1_2 = 0x0303 };
    event_reason(e,
                 "the client speaks %s at most, which is too old here (%s). Update its TLS "
                 "library%s",
                 tls_version_name(r->version), r->text,
                 r->version == TLS_1_2 ? ". A board that cannot: tls_min: \"1.2\" at a listener of "
                                         "its own takes TLS 1.2 with strong suites"
                                       : "");
}

void handshake_explain(const struct tls_refusal *r, int64_t now_wall_ms, struct event *e)
{
    switch (r->failure) {
    case TLS_FAILED_CERTIFICATE:
        explain_certificate(r, now_wall_ms, e);
        break;
    case TLS_FAILED_NO_CERTIFICATE:
        event_reason(e,
                     "%s. Let it use cert.pem and key.pem of its bundle; `sallyport device add` "
                     "makes one",
                     r->text);
        break;
    case TLS_FAILED_VERSION:
        explain_version(r, e);
        break;
    case TLS_FAILED_TERMS:
        event_reason(e,
                     "client and server have nothing in common that is strong enough (%s). Update "
                     "its TLS library: ECDHE with X25519 or P-256, and AES-GCM, ChaCha20 or, for "
                     "DTLS, AES-CCM8",
                     r->text);
        break;
    case TLS_FAILED_PROTOCOL:
        event_reason(e, "the client asks for a protocol that this port does not speak (ALPN). "
                        "Wrong port? MQTT belongs to the mqtts listener, WebSocket to wss, CoAP to "
                        "coaps, and a browser to none of them");
        break;
    case TLS_FAILED_ALERT:
        explain_alert(r, now_wall_ms, e);
        break;
    case TLS_FAILED_OTHER:
        event_reason(e, "%s. Let the client speak TLS with a current library", r->text);
        break;
    }
}

/* ---- what is not TLS ---- */

static bool is_connect(struct slice bytes)
{
    struct mqtt_fixed fixed;
    return bytes.n > 0 && bytes.p[0] == MQTT_CONNECT << 4 &&
           mqtt_fixed_decode(bytes, UINT32_MAX, NULL, &fixed) != ERR_MALFORMED;
}

enum opening opening_of(struct slice bytes)
{
    static const char *const methods[] = {"GET ",    "POST ", "PUT ",   "HEAD ",
                                          "DELETE ", "PRI ",  "PATCH ", "OPTIONS "};
    static const uint8_t record[] = {22, 3};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        if (slice_has_prefix(bytes, slice_text(methods[i]))) {
            return OPENING_HTTP;
        }
    }
    if (slice_has_prefix(bytes, slice_of(record, sizeof(record)))) {
        return OPENING_TLS;
    }
    return is_connect(bytes) ? OPENING_MQTT : OPENING_OTHER;
}

/* Who a CONNECT says it is from. *ret_has_secret: its password has been in the clear. */
static void read_connect(struct slice bytes, struct event *e, bool *ret_has_secret)
{
    enum { BYTES_MAX = 64 * 1024 };
    struct mqtt_fixed fixed;
    struct slice body;
    struct mqtt_connect m;
    struct mqtt_fault fault;
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    *ret_has_secret = false;
    if (mqtt_packet_cut(&bytes, BYTES_MAX, &fault, &fixed, &body) != OK) {
        return;
    }
    struct mqtt_input in = {.body = body,
                            .flags = fixed.flags,
                            .version = MQTT_V5,
                            .sender = MQTT_FROM_CLIENT,
                            .takes_v31 = true,
                            .limits = &limits};
    if (mqtt_connect_decode(&in, &fault, &m) != OK) {
        return;
    }
    EVENT_TEXT(e, client_id, m.client_id);
    EVENT_TEXT(e, principal, m.has_username ? m.username : m.client_id);
    e->is_claimed = e->principal[0] != '\0';
    *ret_has_secret = m.has_password;
}

void handshake_explain_foreign(struct slice bytes, struct event *e)
{
    bool has_secret = false;
    switch (opening_of(bytes)) {
    case OPENING_MQTT:
        read_connect(bytes, e, &has_secret);
        event_reason(e,
                     "MQTT without TLS came to a TLS port. Let the client use TLS, with ca.pem "
                     "of its bundle as the CA to trust%s",
                     has_secret ? ". Its password went through the network in the clear: "
                                  "`sallyport device rotate NAME --credential password`"
                                : "");
        break;
    case OPENING_HTTP:
        event_reason(e, "HTTP without TLS came to a TLS port. A WebSocket client belongs to the "
                        "port of the wss listener, with wss:// and ca.pem of its bundle as the CA "
                        "to trust");
        break;
    case OPENING_TLS:
    case OPENING_OTHER:
        event_reason(e, "what came is not TLS. Look at what connects from there; a client needs "
                        "TLS, and ca.pem of its bundle as the CA to trust");
        break;
    }
}

void handshake_say_aged(struct event *e, const struct directory_entry *entry,
                        const struct credential *c)
{
    const char *kind = credential_kind_name(c->kind);
    char since[CLOCK_ISO8601_BYTES];
    clock_iso8601(c->created_wall_ms, since);
    e->category = EVENT_credential_expiring;
    event_reason(e,
                 "the %s of %s, of %s, is older than %s_age_refused: it opens nothing. Give it a "
                 "new one: `device rotate %s --credential %s`",
                 kind, entry->principal->name, since,
                 c->kind == CREDENTIAL_SCRAM ? "password" : kind, entry->principal->name, kind);
}

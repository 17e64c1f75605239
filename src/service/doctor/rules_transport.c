/* What travels, and to whom a door is open. */
#include "service/doctor/rules_private.h"
#include "service/doctor/weak_words.h"

static enum err judge_door(const struct rule *self, const struct facts *f, struct findings *ret,
                           enum facts_door door)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->door == door && !l->is_tls && !l->is_loopback) {
            TRY(findings_add(ret, self, l->at, listener_word(l),
                             "listener %s takes clients without TLS at %s", listener_word(l),
                             l->bind));
        }
    }
    return OK;
}

/* A door with TLS of the same kind stands beside it: the plain one is for some, or was forgotten.
 */
static bool has_safe_door(const struct facts *f, enum facts_door door)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->door == door && l->is_tls) {
            return true;
        }
    }
    return false;
}

static enum err judge_plain(const struct rule *self, const struct facts *f, struct findings *ret,
                            bool beside_tls)
{
    static const enum facts_door doors[] = {FACTS_MQTT, FACTS_COAP};
    for (size_t i = 0; i < COUNT_OF(doors); i++) {
        if (has_safe_door(f, doors[i]) == beside_tls) {
            TRY(judge_door(self, f, ret, doors[i]));
        }
    }
    return OK;
}

static enum err plaintext(const struct rule *self, const struct facts *f, struct findings *ret)
{
    return judge_plain(self, f, ret, false);
}

static enum err debug_port(const struct rule *self, const struct facts *f, struct findings *ret)
{
    TRY(judge_plain(self, f, ret, true));
    for (size_t i = 0; i < f->n_permits; i++) {
        const struct facts_permit *p = &f->permits[i];
        if (p->is_plaintext) {
            TRY(findings_add(ret, self, (struct facts_place){0}, p->listener,
                             "exception %s opens listener %s without TLS until %s", p->id,
                             p->listener, p->ends));
        }
    }
    return OK;
}

static bool is_weak_list(const char *ciphers)
{
    struct slice rest = slice_text(ciphers);
    bool more = rest.n > 0;
    while (more) {
        if (is_weak_cipher(slice_cut(&rest, ':', &more))) {
            return true;
        }
    }
    return false;
}

static enum err weak_ciphers(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->is_tls && is_weak_list(l->ciphers)) {
            TRY(findings_add(ret, self, l->ciphers_at, listener_word(l),
                             "listener %s takes broken ciphers: %s", listener_word(l), l->ciphers));
        }
    }
    return OK;
}

static enum err plain_websocket(const struct rule *self, const struct facts *f,
                                struct findings *ret)
{
    return judge_door(self, f, ret, FACTS_WEBSOCKET);
}

static enum err tls_old(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->is_tls && l->tls_min.is_known && l->tls_min.n < 12) {
            TRY(findings_add(ret, self, l->tls_min.at, listener_word(l),
                             "listener %s takes TLS 1.%d", listener_word(l),
                             (int)(l->tls_min.n - 10)));
        }
    }
    return OK;
}

static enum err no_client_certificate(const struct rule *self, const struct facts *f,
                                      struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->is_tls && l->client_certificate.is_known && l->client_certificate.n == 0) {
            TRY(findings_add(ret, self, l->client_certificate.at, listener_word(l),
                             "listener %s does not need a certificate of its clients%s",
                             listener_word(l),
                             l->client_certificate.at.line == 0 ? " (the default)" : ""));
        }
    }
    return OK;
}

static enum err no_revocation(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        bool needs = l->client_certificate.is_known && l->client_certificate.n != 0;
        if (needs && l->revocation.is_known && l->revocation.n == 0) {
            TRY(findings_add(ret, self, l->at, listener_word(l),
                             "listener %s takes certificates and looks at no revocation list",
                             listener_word(l)));
        }
    }
    return OK;
}

static enum err proxy_believed(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->proxy.is_known && l->proxy.n != 0 && !l->is_loopback) {
            TRY(findings_add(ret, self, l->proxy.at, listener_word(l),
                             "listener %s at %s believes the PROXY header of whoever connects",
                             listener_word(l), l->bind));
        }
    }
    return OK;
}

static enum err origin_open(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->door == FACTS_WEBSOCKET && l->origin.is_known && l->origin.n == 0) {
            TRY(findings_add(ret, self, l->origin.at.line != 0 ? l->origin.at : l->at,
                             listener_word(l), "WebSocket listener %s takes scripts of any page",
                             listener_word(l)));
        }
    }
    return OK;
}

static enum err multicast_open(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->multicast.is_known && l->multicast.n != 0) {
            TRY(findings_add(ret, self, l->multicast.at, listener_word(l),
                             "listener %s answers discovery in multicast groups",
                             listener_word(l)));
        }
    }
    return OK;
}

static enum err mqtt_3_1_taken(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if (l->mqtt_3_1.is_known && l->mqtt_3_1.n != 0) {
            TRY(findings_add(ret, self, l->mqtt_3_1.at, listener_word(l),
                             "listener %s takes clients of MQTT 3.1", listener_word(l)));
        }
    }
    return OK;
}

static enum err management_open(const struct rule *self, const struct facts *f,
                                struct findings *ret)
{
    for (size_t i = 0; i < f->n_listeners; i++) {
        const struct facts_listener *l = &f->listeners[i];
        if ((l->door == FACTS_DASHBOARD || l->door == FACTS_API) && !l->is_loopback) {
            TRY(findings_add(ret, self, l->at, listener_word(l), "the %s is at %s%s",
                             l->door == FACTS_DASHBOARD ? "dashboard" : "administration by HTTP",
                             l->bind, l->is_tls ? "" : ", without TLS"));
        }
        if (l->pages.is_known && l->pages.n != 0 && !l->is_loopback) {
            TRY(findings_add(ret, self, l->pages.at, listener_word(l),
                             "listener %s serves the files of a directory at %s", listener_word(l),
                             l->bind));
        }
    }
    return OK;
}

static enum err bridge_plain(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_bridges; i++) {
        const struct facts_bridge *b = &f->bridges[i];
        if (!b->is_tls && !b->is_loopback) {
            TRY(findings_add(ret, self, b->at, b->name, "bridge %s connects to %s without TLS",
                             b->name, b->address));
        }
    }
    return OK;
}

static enum err bridge_unverified(const struct rule *self, const struct facts *f,
                                  struct findings *ret)
{
    for (size_t i = 0; i < f->n_bridges; i++) {
        const struct facts_bridge *b = &f->bridges[i];
        if (b->is_tls && !b->is_verified) {
            TRY(findings_add(ret, self, b->at, b->name,
                             "bridge %s does not verify who answers at %s", b->name, b->address));
        }
    }
    return OK;
}

static enum err bridge_wide(const struct rule *self, const struct facts *f, struct findings *ret)
{
    for (size_t i = 0; i < f->n_bridges; i++) {
        const struct facts_bridge *b = &f->bridges[i];
        if (b->is_wide) {
            TRY(findings_add(ret, self, b->at, b->name,
                             "bridge %s carries every topic, also towards here", b->name));
        }
    }
    return OK;
}

const struct rule transport_rules[] = {
    {"plaintext",
     SEVERITY_CRITICAL,
     "a listener without TLS that others reach",
     "Passwords, readings and commands can be read and changed by everybody on the way.",
     {"b e f j", "5.5 5.6", "data access", "I2 I7"},
     {NULL,
      "listener 8883\ncafile /etc/mosquitto/ca_certificates/ca.pem\n"
      "certfile /etc/mosquitto/certs/server.pem\nkeyfile /etc/mosquitto/certs/server.key\n"
      "require_certificate true",
      "listeners.tcp.default.enable = false\nlisteners.ssl.default.bind = \"0.0.0.0:8883\"",
      "listeners.tcp.bind = \"127.0.0.1:1883\"\nlisteners.ssl.bind = \"0.0.0.0:8883\""},
     plaintext},
    {"debug-port",
     SEVERITY_CRITICAL,
     "a plain listener beside one with TLS",
     "What was opened for an hour of debugging is found by scanners, and used past every rule.",
     {"b e f j", "5.5 5.6", "data access", "I2 I7 I9"},
     {"sallyport exception end ID\n"
      "sallyport device add NAME --role ROLE --out BUNDLE    # clients then use mqtts with it",
      "# take out the plain listener, or keep it on this machine:\nlistener 1883 127.0.0.1",
      "listeners.tcp.default.enable = false    # or bind = \"127.0.0.1:1883\"",
      "listeners.tcp.bind = \"127.0.0.1:1883\""},
     debug_port},
    {"plaintext-websocket",
     SEVERITY_CRITICAL,
     "a WebSocket listener without TLS that others reach",
     "A page that is loaded in a cafe hands its password and data to everybody in the room.",
     {"b e f j", "5.5 5.6", "data access", "I2 I7"},
     {NULL,
      "listener 8084\nprotocol websockets\n"
      "cafile /etc/mosquitto/ca_certificates/ca.pem\ncertfile /etc/mosquitto/certs/server.pem\n"
      "keyfile /etc/mosquitto/certs/server.key",
      "listeners.ws.default.enable = false\nlisteners.wss.default.bind = \"0.0.0.0:8084\"",
      "listeners.ws.bind = \"127.0.0.1:8083/mqtt\"\nlisteners.wss.bind = \"0.0.0.0:8084/mqtt\""},
     plain_websocket},
    {"tls-old",
     SEVERITY_HIGH,
     "a TLS version of before 1.2",
     "TLS 1.0 and 1.1 are withdrawn: their ciphers and hashes are broken in practice.",
     {"b e", "5.5", "data", "I7 I9"},
     {NULL, "tls_version tlsv1.2",
      "listeners.ssl.default.ssl_options.versions = [\"tlsv1.3\", \"tlsv1.2\"]",
      "listeners.ssl.tls_version = \"tlsv1.3\""},
     tls_old},
    {"tls-ciphers",
     SEVERITY_HIGH,
     "broken ciphers",
     "They are read or forged by who records the connection, some without any effort.",
     {"b e", "5.5", "data", "I7 I9"},
     {NULL, "ciphers ECDHE+AESGCM:ECDHE+CHACHA20",
      "listeners.ssl.default.ssl_options.ciphers = []    # the safe ones that it chooses itself",
      NULL},
     weak_ciphers},
    {"no-client-certificate",
     SEVERITY_MEDIUM,
     "TLS that proves the server only",
     "Whoever learns a password is the device; a private key does not leave it.",
     {"d", "5.5 5.1", "id access", "I1 I3"},
     {NULL, "require_certificate true\nuse_identity_as_username true",
      "listeners.ssl.default.ssl_options.verify = verify_peer\n"
      "listeners.ssl.default.ssl_options.fail_if_no_peer_cert = true",
      "listeners.ssl.verify_peer = true\nlisteners.ssl.fail_if_no_peer_cert = true"},
     no_client_certificate},
    {"no-revocation",
     SEVERITY_MEDIUM,
     "client certificates without a revocation list",
     "A device that was stolen stays welcome until its certificate ends by itself.",
     {"d", "5.5", "access", "I3 I8"},
     {NULL, "crlfile /etc/mosquitto/ca_certificates/ca.crl",
      "listeners.ssl.default.ssl_options.enable_crl_check = true", NULL},
     no_revocation},
    {"proxy-header",
     SEVERITY_HIGH,
     "a PROXY header that anybody can send",
     "A forged header claims another address, and with it what is granted or blocked by address.",
     {"d j", "5.6 5.13", "access", "I2 I3"},
     {NULL, NULL,
      "listeners.tcp.default.proxy_protocol = false    # or bind it where only the load balancer "
      "is",
      NULL},
     proxy_believed},
    {"websocket-origin",
     SEVERITY_MEDIUM,
     "WebSockets for scripts of every page",
     "A page that a user happens to open can talk to the broker from inside the user's network.",
     {"d j", "5.6 5.13", "access", "I3"},
     {NULL,
      "# mosquitto 2.0 cannot ask: put it on loopback, behind a proxy that checks Origin\n"
      "listener 8083 127.0.0.1\nprotocol websockets",
      "listeners.wss.default.websocket.check_origin_enable = true\n"
      "listeners.wss.default.websocket.check_origins = \"https://dash.example\"",
      NULL},
     origin_open},
    {"multicast",
     SEVERITY_LOW,
     "discovery in multicast groups",
     "Whoever reaches the group learns that a server is here, and it answers unproven addresses.",
     {"i j", "5.6", "access", "I2"},
     {"# take multicast out of the listener in sallyport.yaml, then\nkill -HUP $(pidof -s "
      "sallyport)",
      NULL, NULL, NULL},
     multicast_open},
    {"mqtt-3.1",
     SEVERITY_LOW,
     "clients of MQTT 3.1",
     "This version cannot say no: a client is never told that it was refused.",
     {"j", "5.6", "conf", "I5"},
     {"# take mqtt_3_1 out of the listener in sallyport.yaml, then\nkill -HUP $(pidof -s "
      "sallyport)",
      NULL, NULL, NULL},
     mqtt_3_1_taken},
    {"management-open",
     SEVERITY_CRITICAL,
     "a dashboard or administration that others reach",
     "Whoever guesses one password there owns every device behind it.",
     {"b d j", "5.1 5.6", "access conf", "I2 I3"},
     {NULL, "http_dir    # take this line out: serve pages elsewhere",
      "dashboard.listeners.http.bind = \"127.0.0.1:18083\"",
      "http_server.ip_addr = \"127.0.0.1\"\n# reach it by: ssh -L 8081:127.0.0.1:8081 HOST"},
     management_open},
    {"bridge-plaintext",
     SEVERITY_HIGH,
     "a bridge without TLS",
     "All it carries, its password too, can be read and changed between the two brokers.",
     {"e f", "5.5", "data", "I7"},
     {NULL, "bridge_cafile /etc/mosquitto/ca_certificates/ca.pem\naddress HOST:8883",
      "bridges.mqtt.{}.ssl.enable = true\nbridges.mqtt.{}.ssl.verify = verify_peer",
      "bridges.mqtt.{}.server = \"tls+mqtt-tcp://HOST:8883\"\n"
      "bridges.mqtt.{}.ssl.cacertfile = \"/etc/certs/cacert.pem\""},
     bridge_plain},
    {"bridge-unverified",
     SEVERITY_CRITICAL,
     "a bridge that does not verify its peer",
     "Anybody on the way can be the other broker, read everything and give commands.",
     {"d e f", "5.5", "data", "I7"},
     {NULL, "bridge_insecure false\nbridge_cafile /etc/mosquitto/ca_certificates/ca.pem",
      "bridges.mqtt.{}.ssl.verify = verify_peer",
      "bridges.mqtt.{}.ssl.cacertfile = \"/etc/certs/cacert.pem\""},
     bridge_unverified},
    {"bridge-wide",
     SEVERITY_MEDIUM,
     "a bridge for every topic",
     "Who breaks into one broker then commands the devices of the other.",
     {"d j", "5.6", "access", "I3"},
     {NULL, "topic sensors/# out 1\ntopic commands/# in 1",
      "# name topics in the bridge's rules: sensors/# out, commands/# in",
      "# forwards = [ { remote_topic = \"sensors/#\", local_topic = \"sensors/#\" } ]"},
     bridge_wide},
    {.id = NULL}};

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above first */
#include <cmocka.h>

#include "app/daemon/config.h"
#include "base/mem.h"

static const struct config_machine machine = {.ram_bytes = UINT64_C(4) << 30, .cores = 2};

#define HEAD "version: 1\nlisteners: []\n"

struct bad_case {
    const char *name, *text, *complaint; /* the complaint begins so */
};

static const struct bad_case bad_cases[] = {
    {"empty", "", "f:1:1: the file is empty"},
    {"a list", "- a\n", "f:1:1: the configuration must be a mapping"},
    {"no version", "listeners: []\n", "f:1:1: the configuration must say version: 1"},
    {"version 2", "version: 2\nlisteners: []\n", "f:1:10: the configuration must say version: 1"},
    {"no listeners", "version: 1\n", "f:1:1: the configuration needs listeners"},
    {"unknown key", HEAD "lissteners: []\n", "f:3:1: unknown key \"lissteners\" in the config"},
    {"key twice", HEAD "workers: 2\nworkers: 3\n", "f:4:1: key \"workers\" is there twice"},
    {"unknown limit", HEAD "limits: { packet: 5 }\n", "f:3:11: unknown key \"packet\" in limits"},
    {"limit too low", HEAD "limits:\n  packet_bytes: 1023\n",
     "f:4:17: packet_bytes must be between 1KiB and 256MiB"},
    {"limit too high", HEAD "limits:\n  topic_levels: 129\n",
     "f:4:17: topic_levels must be between 1 and 128"},
    {"a size with a blank", HEAD "limits: { packet_bytes: 2 KiB }\n",
     "f:3:25: packet_bytes must be"},
    {"negative", HEAD "limits: { topic_levels: -1 }\n", "f:3:25: topic_levels must be a whole"},
    {"hexadecimal", HEAD "limits: { topic_levels: 0x10 }\n",
     "f:3:25: topic_levels must be a whole"},
    {"huge", HEAD "limits: { packet_bytes: 99999999999999999999 }\n",
     "f:3:25: packet_bytes must be"},
    {"rate without unit", HEAD "role_limits: { publish_rate: 5 }\n",
     "f:3:30: publish_rate must be"},
    {"rate of zero", HEAD "role_limits: { publish_rate: 0/s }\n", "f:3:30: publish_rate must be"},
    {"rate not whole", HEAD "role_limits: { publish_rate: 5/min }\n",
     "f:3:30: publish_rate must be"},
    {"share over all", HEAD "limits: { memory_bytes: 101% }\n", "f:3:25: memory_bytes must be"},
    {"a list for a limit", HEAD "limits: { topic_levels: [1] }\n", "f:3:25: topic_levels must be"},
    {"no workers", HEAD "workers: 0\n", "f:3:10: workers must be auto"},
    {"too many workers", HEAD "workers: 65\n", "f:3:10: workers must be auto"},
    {"anchor", "version: &a 1\n", "f:1:10: anchors"},
    {"alias", "version: 1\nlisteners: *a\n", "f:2:12: aliases"},
    {"tag", "version: !!int 1\n", "f:1:10: tags"},
    {"merge key", "version: 1\n<<: {}\n", "f:2:1: merge keys"},
    {"two documents", HEAD "---\nversion: 1\n", "f:3:1: a second document"},
    {"not YAML", "version: [1\n", "f:2:1: not valid YAML"},
    {"tab", "version: 1\n\tlisteners: []\n", "f:2:1: not valid YAML"},
    {"not UTF-8", "version: 1\n# \xff\n", "f:2:3: byte 0xff is not UTF-8"},
    {"a map as key", "{a: 1}: 2\n", "f:1:1: a key must be a single value"},
    {"too deep", "a: [[[[[[[[[[[[[[1]]]]]]]]]]]]]]\n", "f:1:15: nested more than 12 deep"},
    {"listener without bind", "version: 1\nlisteners:\n  - { name: a, door: mqtt }\n",
     "f:3:5: a listener needs name, door and bind"},
    {"unknown door", "version: 1\nlisteners:\n  - { name: a, door: amqp, bind: \"[::]:1\" }\n",
     "f:3:22: door must be one of: mqtt, coap, https, enrol, metrics"},
    {"a password where devices enrol",
     "version: 1\nlisteners:\n  - { name: a, door: enrol, bind: \"[::]:1\", auth: [password] }\n",
     "f:3:5: an enrol listener has auth [x509, token] and is never plain"},
    {"numbers in plain text for everybody",
     "version: 1\nlisteners:\n  - { name: a, door: metrics, bind: \"[::]:1\", plain: yes }\n",
     "f:3:5: a metrics listener is plain on loopback only, not on [::]:1: bind 127.0.0.1:9464"},
    {"numbers in plain text for whom?",
     "version: 1\nlisteners:\n  - { name: a, door: metrics, bind: \"[::1]:1\", plain: yes, auth: "
     "[x509] }\n",
     "f:3:66: a metrics listener with plain: yes asks nobody who it is"},
    {"numbers by a password",
     "version: 1\nlisteners:\n  - { name: a, door: metrics, bind: \"[::]:1\", auth: [password] }\n",
     "f:3:5: a metrics listener has auth [x509]"},
    {"enrolment in plain text",
     "version: 1\nlisteners:\n  - { name: a, door: enrol, bind: \"[::]:1\", plain: yes }\n",
     "f:3:5: an enrol listener has"},
    {"a manufacturer without an authority", HEAD "enrol: { manufacturers: [ { role: r } ] }\n",
     "f:3:27: a manufacturer needs ca and role"},
    {"an authority elsewhere", HEAD "enrol: { manufacturers: [ { ca: ../a.pem, role: r } ] }\n",
     "f:3:33: ca must be the name"},
    {"a serial number for a name",
     HEAD "enrol: { manufacturers: [ { ca: a, role: r, name: serial } ] }\n", "f:3:51: name says"},
    {"an unknown key of enrol", HEAD "enrol: { tokens: 1 }\n", "f:3:10: "},
    {"a name for an address",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"localhost:1\" }\n",
     "f:3:34: bind must be an address and a port"},
    {"port too large",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:65536\" }\n",
     "f:3:34: bind must be"},
    {"IPv6 without brackets",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"::1:1883\" }\n",
     "f:3:34: bind must be"},
    {"3.1 at a coap door",
     "version: 1\nlisteners:\n  - { name: a, door: coap, bind: \"[::]:1\", mqtt_3_1: yes }\n",
     "f:3:54: mqtt_3_1 is for the mqtt door without websocket"},
    {"3.1 over WebSocket",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", websocket: yes,\n"
     "      mqtt_3_1: yes }\n",
     "f:4:17: mqtt_3_1 is for the mqtt door without websocket"},
    {"3.1 or not",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", mqtt_3_1: 1 }\n",
     "f:3:54: mqtt_3_1 must be one of: yes, no, true, false"},
    {"listener twice",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\" }\n"
     "  - { name: a, door: mqtt, bind: \"[::]:2\" }\n",
     "f:4:13: a listener named \"a\" is there already"},
    {"psk for mqtt",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", auth: [psk] }\n",
     "f:3:5: auth psk is for the coap door"},
    {"psk over TCP",
     "version: 1\nlisteners:\n  - { name: a, door: coap, tcp: yes, bind: \"[::]:1\", auth: [psk] "
     "}\n",
     "f:3:5: a coap listener over TCP has auth [x509]"},
    {"plain CoAP over TCP",
     "version: 1\nlisteners:\n  - { name: a, door: coap, tcp: yes, bind: \"[::]:1\", plain: yes "
     "}\n",
     "f:3:5: a coap listener over TCP has auth [x509] and is never plain"},
    {"tcp and websocket",
     "version: 1\nlisteners:\n  - { name: a, door: coap, tcp: yes, websocket: yes, bind: "
     "\"[::]:1\" "
     "}\n",
     "f:3:5: a coap listener has tcp: yes or websocket: yes, not both"},
    {"websocket at the https door",
     "version: 1\nlisteners:\n  - { name: a, door: https, websocket: yes, bind: \"[::]:1\" }\n",
     "f:3:5: websocket is for the mqtt and coap doors"},
    {"tcp at the mqtt door",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, tcp: yes, bind: \"[::]:1\" }\n",
     "f:3:33: tcp is for the coap door"},
    {"oscore beside psk",
     "version: 1\nlisteners:\n  - { name: a, door: coap, bind: \"[::]:1\", auth: [oscore, psk] }\n",
     "f:3:5: auth oscore is for a coap listener of its own"},
    {"oscore at the mqtt door",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", auth: [oscore] }\n",
     "f:3:5: auth oscore is for a coap listener of its own"},
    {"plain oscore",
     "version: 1\nlisteners:\n  - { name: a, door: coap, bind: \"[::]:1\", auth: [oscore], plain: "
     "yes }\n",
     "f:3:5: auth oscore is for a coap listener of its own"},
    {"no auth", "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", auth: [] }\n",
     "f:3:50: auth must name at least one"},
    {"TLS 1.1",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", tls_min: \"1.1\" }\n",
     "f:3:53: tls_min must be one of: 1.3, 1.2"},
    {"records of nobody",
     "version: 1\nlisteners:\n  - { name: a, door: coap, bind: \"[::]:1\", dtls_records: gnutls "
     "}\n",
     "f:3:58: dtls_records must be one of: own, openssl"},
    {"records of DTLS over TCP",
     "version: 1\nlisteners:\n  - { name: a, door: coap, tcp: yes, bind: \"[::]:1\", dtls_records: "
     "openssl }\n",
     "f:3:68: dtls_records is for a coap listener of DTLS"},
    {"records of DTLS under OSCORE",
     "version: 1\nlisteners:\n  - { name: a, door: coap, auth: [oscore], bind: \"[::]:1\", "
     "dtls_records: own }\n",
     "f:3:74: dtls_records is for a coap listener of DTLS"},
    {"records of DTLS at the mqtt door",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", dtls_records: own }\n",
     "f:3:58: dtls_records is for a coap listener of DTLS"},
    {"a bad network",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", from: [1.2.3.4/33] }\n",
     "f:3:51: a network is written like"},
    {"a network with a bit too much",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\",\n"
     "      from: [10.0.0.0/8, 10.1.0.0/15, 192.168.1.1/24] }\n",
     "f:4:26: the address has bits behind the length: a whole network is written 10.0.0.0/15"},
    {"no network",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", from: [] }\n",
     "f:3:50: from names the networks"},
    {"one network, no list",
     "version: 1\nlisteners:\n  - { name: a, door: mqtt, bind: \"[::]:1\", from: 10.0.0.0/8 }\n",
     "f:3:50: from must be a list"},
    {"pki without url", HEAD "pki: { }\n", "f:3:6: pki needs a url"},
    {"https for revocation", HEAD "pki: { url: \"https://a\" }\n", "f:3:13: pki needs a url"},
    {"a slash too many", HEAD "pki: { url: \"http://a/\" }\n", "f:3:13: pki needs a url"},
    {"a second url in one", HEAD "pki: { url: \"http://a,http://b\" }\n",
     "f:3:13: pki needs a url"},
    {"tokens without keys", HEAD "tokens: { issuer: a, audience: b }\n",
     "f:3:9: tokens needs keys (a JWK set in this directory), issuer and audience"},
    {"keys elsewhere", HEAD "tokens: { keys: ../a, issuer: a, audience: b }\n",
     "f:3:17: keys must be"},
    {"no issuer", HEAD "tokens: { keys: k, issuer: \"\", audience: b }\n",
     "f:3:28: issuer must be"},
    {"skew over all", HEAD "tokens: { keys: k, issuer: a, audience: b, skew: 301s }\n",
     "f:3:50: skew must be a time from 0s to 300s"},
    {"unknown key of tokens", HEAD "tokens: { keys: k, issuer: a, audience: b, alg: none }\n",
     "f:3:44: unknown key \"alg\""},
    {"relative master key", HEAD "master_key: key\n", "f:3:13: master_key must be the whole path"},
    {"escape in a key", HEAD "\"a\\e[31m\": 1\n", "f:3:1: unknown key \"a\\x1b[31m\""},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_cases); i++) {
        const struct bad_case *c = &bad_cases[i];
        struct yaml_complaint complaint = {{0}};
        struct config config;
        enum err e = config_parse(slice_text(c->text), "f", &machine, &complaint, &config);
        if (e != ERR_CONFIG || strncmp(complaint.text, c->complaint, strlen(c->complaint)) != 0) {
            fail_msg("%s: %s: %s", c->name, err_name(e), complaint.text);
        }
    }
}

static const char good_text[] =
    "version: 1\n"
    "workers: 4\n"
    "user: broker\n"
    "hosts: [fort.local, 192.168.1.2]\n"
    "listeners:\n"
    "  - { name: mqtts, door: mqtt, bind: \"[::]:8883\", auth: [x509, token], segment: field,\n"
    "      tls_min: \"1.2\", from: [10.0.0.0/8, \"fd00::/9\"] }\n"
    "  - { name: coaps, door: coap, bind: \"127.0.0.1:5684\" }\n"
    "  - { name: mqtt, door: mqtt, bind: \"[::]:1883\", plain: yes }\n"
    "  - { name: c1, door: coap, bind: \"127.0.0.1:5685\", dtls_records: openssl }\n"
    "  - { name: c2, door: coap, bind: \"127.0.0.1:5686\", dtls_records: own }\n"
    "limits: { packet_bytes: 1MiB, preauth_seconds: 5, memory_bytes: 50%, keep_alive_seconds: 10m "
    "}\n"
    "tokens: { keys: jwks.json, issuer: \"https://id.example/\", audience: sallyport, skew: 2m }\n"
    "role_limits: { publish_rate: 120/min, session_expiry: 2d, queue_bytes: 2GiB }\n";

static void test_good(void **state)
{
    (void)state;
    struct yaml_complaint complaint;
    struct config c;
    assert_int_equal(config_parse(slice_text(good_text), "f", &machine, &complaint, &c), OK);
    assert_int_equal(c.workers, 4);
    assert_string_equal(c.user, "broker");
    assert_string_equal(c.hosts[1], "192.168.1.2");
    assert_int_equal(c.n_listeners, 5);
    assert_false(c.listeners[1].openssl_records);
    assert_true(c.listeners[3].openssl_records);
    assert_false(c.listeners[4].openssl_records);
    assert_int_equal(c.listeners[0].auth, CONFIG_AUTH_X509 | CONFIG_AUTH_TOKEN);
    assert_int_equal(c.listeners[0].tls_min, CONFIG_TLS_1_2);
    assert_int_equal(c.listeners[1].auth, CONFIG_AUTH_PSK | CONFIG_AUTH_X509);
    assert_int_equal(c.listeners[1].tls_min, CONFIG_TLS_1_3);
    assert_false(c.listeners[0].plain);
    assert_true(c.listeners[2].plain);
    assert_int_equal(c.settings.limits.packet_bytes, 1 << 20);
    assert_int_equal(c.settings.limits.preauth_seconds, 5);
    assert_int_equal(c.settings.limits.memory_bytes, machine.ram_bytes / 100 * 50);
    assert_int_equal(c.settings.limits.keep_alive_seconds, 600);
    assert_int_equal(c.settings.limits.topic_levels, 16);
    assert_int_equal(c.tokens.n, 1);
    assert_string_equal(c.tokens.issuers[0].keys, "jwks.json");
    assert_string_equal(c.tokens.issuers[0].issuer, "https://id.example/");
    assert_string_equal(c.tokens.issuers[0].audience, "sallyport");
    assert_int_equal(c.tokens.issuers[0].skew_s, 120);
    assert_int_equal(c.role_limits.publish_rate, 2);
    assert_int_equal(c.role_limits.session_expiry_s, 2 * 86400);
    assert_int_equal(c.role_limits.queue_bytes, UINT64_C(2) << 30);
    assert_int_equal(c.role_limits.inflight, 20);
}

static void test_workers_default(void **state)
{
    (void)state;
    static const struct {
        unsigned cores, workers;
    } cases[] = {{1, 2}, {2, 2}, {3, 3}, {500, CONFIG_WORKERS_MAX}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_machine m = {.ram_bytes = UINT64_C(4) << 30, .cores = cases[i].cores};
        struct yaml_complaint complaint;
        struct config c;
        assert_int_equal(config_parse(slice_text(HEAD), "f", &m, &complaint, &c), OK);
        assert_int_equal(c.workers, cases[i].workers);
        assert_int_equal(c.settings.limits.memory_bytes, m.ram_bytes / 100 * 80);
    }
}

static void test_from(void **state)
{
    (void)state;
    struct yaml_complaint complaint;
    struct config c;
    char text[64];
    assert_int_equal(config_parse(slice_text(good_text), "f", &machine, &complaint, &c), OK);
    net_networks_text(&c.listeners[0].from, text, sizeof text);
    assert_string_equal(text, "10.0.0.0/8, fd00::/9");
    assert_int_equal(c.listeners[1].from.n, 0);
}

static enum err one_listener(const char *door, const char *more, struct config *ret)
{
    char text[4096];
    struct yaml_complaint complaint;
    snprintf(text, sizeof text,
             "version: 1\nlisteners:\n  - { name: wss, door: %s, bind: \"[::]:8084\"%s }\n", door,
             more);
    return config_parse(slice_text(text), "f", &machine, &complaint, ret);
}

/* MQTT 3.1 is out unless a listener takes it, one by one, plain or not. */
static void test_mqtt_3_1(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        bool is_taken;
    } cases[] = {{"", false},
                 {", mqtt_3_1: no", false},
                 {", mqtt_3_1: yes", true},
                 {", mqtt_3_1: true, plain: yes", true},
                 {", mqtt_3_1: yes, websocket: no", true}};
    struct config c;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(one_listener("mqtt", cases[i].more, &c), OK);
        assert_int_equal(c.listeners[0].mqtt_3_1, cases[i].is_taken);
    }
    assert_int_equal(one_listener("coap", ", mqtt_3_1: no", &c), OK);
}

#define ON     ", websocket: yes"
#define X31    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define ORIGIN "\"https://dash.example\""

static void test_websocket(void **state)
{
    (void)state;
    static const struct {
        const char *door, *more;
        enum err err;
    } cases[] = {
        {"mqtt", ON ", path: \"/a/b\"", OK},
        {"mqtt", ON ", path: /" X31 X31, OK},
        {"mqtt", ON ", path: /x" X31 X31, ERR_CONFIG},
        {"mqtt", ON ", path: mqtt", ERR_CONFIG},
        {"mqtt", ON ", path: \"/a?b\"", ERR_CONFIG},
        {"mqtt", ON ", path: \"\"", ERR_CONFIG},
        {"mqtt", ON ", origins: []", OK},
        {"mqtt", ON ", origins: [ \"http://[::1]:8080\" ]", OK},
        {"mqtt", ON ", origins: [ \"https://" X31 X31 X31 "xxxxxxxxxxxxxxxxxxxxxxxxxx\" ]", OK},
        {"mqtt", ON ", origins: [ \"https://" X31 X31 X31 "xxxxxxxxxxxxxxxxxxxxxxxxxxx\" ]",
         ERR_CONFIG},
        {"mqtt", ON ", origins: \"https://dash.example\"", ERR_CONFIG},
        {"mqtt", ON ", origins: [ \"*\" ]", ERR_CONFIG},
        {"mqtt", ON ", origins: [ \"null\" ]", ERR_CONFIG},
        {"mqtt", ON ", origins: [ \"https://\" ]", ERR_CONFIG},
        {"mqtt", ON ", origins: [ \"https://*.example\" ]", ERR_CONFIG},
        {"mqtt", ON ", origins: [ \"https://Dash.example\" ]", ERR_CONFIG},
        {"mqtt", ON ", origins: [ \"https://dash.example/\" ]", ERR_CONFIG},
        {"mqtt", ", origins: [ " ORIGIN " ]", ERR_CONFIG}, /* they would bind nobody */
        {"mqtt", ", path: /mqtt", ERR_CONFIG},
        {"https", ON, ERR_CONFIG},
    };
    struct config c;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (one_listener(cases[i].door, cases[i].more, &c) != cases[i].err) {
            fail_msg("%s%s", cases[i].door, cases[i].more);
        }
    }
    assert_int_equal(one_listener("mqtt", ON ", origins: [ " ORIGIN ", \"http://a:1\" ]", &c), OK);
    assert_string_equal(c.listeners[0].path, "/mqtt"); /* when nothing is said */
    assert_int_equal(c.listeners[0].n_origins, 2);
    assert_string_equal(c.listeners[0].origins[1], "http://a:1");
    char list[1024] = ON ", origins: [ " ORIGIN;
    for (size_t n = 2; n <= CONFIG_ORIGINS_MAX + 1; n++) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, ", " ORIGIN);
        char whole[1100];
        snprintf(whole, sizeof whole, "%s ]", list);
        assert_int_equal(one_listener("mqtt", whole, &c),
                         n <= CONFIG_ORIGINS_MAX ? OK : ERR_CONFIG);
    }
}

static enum err moved(const char *reference, const char *door, struct config *ret)
{
    char text[1024];
    struct yaml_complaint complaint;
    snprintf(text, sizeof text,
             "version: 1\n%slisteners:\n  - { name: a, bind: \"[::]:8084\", door: %s }\n",
             reference, door);
    return config_parse(slice_text(text), "f", &machine, &complaint, ret);
}

#define X50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X250 X50 X50 X50 X50 X50

static void test_server_reference(void **state)
{
    (void)state;
    static const struct {
        const char *reference, *door;
        enum err err;
    } cases[] = {
        {"server_reference: \"other.example:8883\"\n", "mqtt", OK},
        {"server_reference: \"[::1]:8883\"\n", "mqtt, moved: temporarily", OK},
        {"server_reference: o\n", "mqtt, moved: permanently", OK},
        {"server_reference: " X250 "xxxxx\n", "mqtt", OK},
        {"server_reference: " X250 "xxxxxx\n", "mqtt", ERR_CONFIG},
        {"server_reference: \"\"\n", "mqtt", ERR_CONFIG},
        {"server_reference: \"a b\"\n", "mqtt", ERR_CONFIG},
        {"server_reference: [ a ]\n", "mqtt", ERR_CONFIG},
        {"", "mqtt, moved: no", OK},
        {"", "mqtt, moved: temporarily", ERR_CONFIG}, /* where to? */
        {"server_reference: o\n", "mqtt, moved: yes", ERR_CONFIG},
        {"server_reference: o\n", "coap, moved: temporarily", ERR_CONFIG},
    };
    struct config c;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (moved(cases[i].reference, cases[i].door, &c) != cases[i].err) {
            fail_msg("%s%s", cases[i].reference, cases[i].door);
        }
    }
    assert_int_equal(moved(cases[1].reference, cases[1].door, &c), OK);
    assert_string_equal(c.server_reference, "[::1]:8883");
    assert_int_equal(c.listeners[0].moved, CONFIG_MOVED_TEMPORARILY);
    assert_int_equal(moved("", "mqtt", &c), OK);
    assert_int_equal(c.listeners[0].moved, CONFIG_STAYS);
}

static enum err issuers(size_t n, const char *first, struct yaml_complaint *complaint,
                        struct config *ret)
{
    char text[2048];
    size_t at = (size_t)snprintf(text, sizeof text, "version: 1\nlisteners: []\ntokens: [ ");
    for (size_t i = 0; i < n; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "i%zu", i);
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "%s{ keys: k%zu.json, issuer: %s, audience: a%zu }",
                               i > 0 ? ", " : "", i, i > 0 ? name : first, i);
    }
    (void)snprintf(text + at, sizeof text - at, " ]\n");
    return config_parse(slice_text(text), "f", &machine, complaint, ret);
}

static void test_issuers(void **state)
{
    (void)state;
    struct yaml_complaint complaint = {{0}};
    struct config c;
    assert_int_equal(issuers(TRUST_ISSUERS_MAX, "i0", &complaint, &c), OK);
    assert_int_equal(c.tokens.n, TRUST_ISSUERS_MAX);
    assert_string_equal(c.tokens.issuers[7].issuer, "i7");
    assert_string_equal(c.tokens.issuers[7].keys, "k7.json");
    assert_int_equal(issuers(TRUST_ISSUERS_MAX + 1, "i0", &complaint, &c), ERR_CONFIG);
    assert_non_null(strstr(complaint.text, "more than 8 issuers"));
    assert_int_equal(issuers(2, "i1", &complaint, &c), ERR_CONFIG);
    assert_non_null(strstr(complaint.text, "an issuer named \"i1\" is there already"));
    assert_int_equal(issuers(0, "", &complaint, &c), ERR_CONFIG);
    assert_non_null(strstr(complaint.text, "no issuer"));
}

/* Whatever the file is cut to, it is refused or read, and never half read. */
static void test_truncations(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof good_text - 1; n++) {
        struct yaml_complaint complaint = {{0}};
        struct config c;
        enum err e = config_parse(slice_of(good_text, n), "f", &machine, &complaint, &c);
        assert_true(e == OK || (e == ERR_CONFIG && strncmp(complaint.text, "f:", 2) == 0));
    }
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (long n = 0;; n++) {
        struct yaml_complaint complaint;
        struct config c;
        mem_fail_after(n);
        enum err e = config_parse(slice_text(good_text), "f", &machine, &complaint, &c);
        if (!mem_fail_after(-1)) {
            assert_int_equal(e, OK);
            break;
        }
        assert_int_equal(e, ERR_NOMEM);
    }
}

static void test_write(void **state)
{
    (void)state;
    const char *hosts[] = {"fort.local"};
    const char *listens[] = {"mqtts=127.0.0.1:18883", "coaps=127.0.0.1:0"};
    const char *sets[] = {"workers=3", "publish_rate=7/s", "limits.connect_burst=9",
                          "role_limits.connect_burst=8", "packet_bytes=1MiB"};
    struct config_init init = {.hosts = hosts,
                               .n_hosts = 1,
                               .listens = listens,
                               .n_listens = 2,
                               .sets = sets,
                               .n_sets = COUNT_OF(sets),
                               .master_key = "/k/key"};
    AUTO(buf_done) struct buf text = {0};
    struct yaml_complaint complaint;
    struct config c;
    assert_int_equal(config_write(&init, &machine, &complaint, &text), OK);
    assert_int_equal(config_parse(buf_slice(&text), "f", &machine, &complaint, &c), OK);
    assert_int_equal(c.workers, 3);
    assert_string_equal(c.master_key, "/k/key");
    assert_string_equal(config_listener_find(&c, "mqtts")->bind, "127.0.0.1:18883");
    assert_true(config_listener_find(&c, "mqtt")->plain);
    assert_null(config_listener_find(&c, "wss"));
    assert_int_equal(c.role_limits.publish_rate, 7);
    assert_int_equal(c.role_limits.connect_burst, 8);
    assert_int_equal(c.settings.limits.connect_burst, 9);
    assert_int_equal(c.settings.limits.packet_bytes, 1 << 20);
}

static void test_write_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *listen, *set, *complaint;
    } cases[] = {
        {"mqttx=127.0.0.1:1", NULL, "--listen mqttx=127.0.0.1:1: is not NAME"},
        {"mqtts", NULL, "--listen mqtts: is not NAME"},
        {"mqtts=1\"2", NULL, "--listen mqtts=1\"2: is not NAME"},
        {"mqtts=nowhere:1", NULL, "--listen mqtts=nowhere:1: behind = stands an address"},
        {NULL, "colour=red", "--set colour=red: is not KEY=VALUE"},
        {NULL, "workers", "--set workers: is not KEY=VALUE"},
        {NULL, "workers=many", "the configuration asked for:"},
        {NULL, "workers=2\nlisteners=x", "--set workers=2\nlisteners=x: is not"},
        {NULL, "publish_rate=fast", "--set publish_rate=fast: publish_rate must be"},
        {NULL, "packet_bytes=1", "--set packet_bytes=1: packet_bytes must be between"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_init init = {.listens = &cases[i].listen,
                                   .n_listens = cases[i].listen != NULL ? 1 : 0,
                                   .sets = &cases[i].set,
                                   .n_sets = cases[i].set != NULL ? 1 : 0};
        AUTO(buf_done) struct buf text = {0};
        struct yaml_complaint complaint = {{0}};
        assert_int_equal(config_write(&init, &machine, &complaint, &text), ERR_CONFIG);
        if (strncmp(complaint.text, cases[i].complaint, strlen(cases[i].complaint)) != 0) {
            fail_msg("case %zu: %s", i, complaint.text);
        }
        assert_int_equal(text.n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_from),
        cmocka_unit_test(test_workers_default),
        cmocka_unit_test(test_mqtt_3_1),
        cmocka_unit_test(test_websocket),
        cmocka_unit_test(test_server_reference),
        cmocka_unit_test(test_issuers),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A hardened EMQX and a hardened NanoMQ in which nothing is found; then one piece is made wrong. */
#include "service/doctor/hocon_conf.h"

#include "service/doctor/doctor_case_test.h"

static const char EMQX[] =
    "node.cookie = \"file:///etc/emqx/cookie\"\n"
    "listeners.tcp.default.enable = false\n"
    "listeners.ws.default.enable = false\n"
    "listeners.wss.default { bind = \"0.0.0.0:8084\", max_connections = 1000\n"
    "  websocket { check_origin_enable = true }\n"
    "  ssl_options { verify = verify_peer, fail_if_no_peer_cert = true, enable_crl_check = true } "
    "}\n"
    "listeners.ssl.default { bind = 8883, max_connections = 1000\n"
    "  ssl_options { verify = verify_peer, fail_if_no_peer_cert = true, enable_crl_check = true\n"
    "    versions = [\"tlsv1.3\", \"tlsv1.2\"], ciphers = [\"TLS_AES_256_GCM_SHA384\"] } }\n"
    "dashboard { listeners.http { bind = \"127.0.0.1:18083\" }\n"
    "  default_password = \"file:///etc/emqx/admin\" }\n"
    "authentication = [ { mechanism = password_based, backend = built_in_database\n"
    "  password_hash_algorithm { name = pbkdf2, iterations = 600000 } } ]\n"
    "authorization { no_match = deny, deny_action = disconnect\n"
    "  sources = [ { type = file, path = \"/acl\" } ] }\n"
    "mqtt { max_packet_size = 1MB, peer_cert_as_clientid = cn, max_mqueue_len = 1000 }\n"
    "retainer { enable = true, max_retained_messages = 1000 }\n"
    "durable_sessions { enable = true }\n"
    "log.file.enable = true\n"
    "connectors.mqtt.cloud { server = \"b.example:8883\"\n"
    "  ssl { enable = true, verify = verify_peer } }\n";
static const char NANOMQ[] =
    "listeners.ssl { bind = \"0.0.0.0:8883\", max_connections = 1000\n"
    "  verify_peer = true, fail_if_no_peer_cert = true }\n"
    "http_server { port = 8081, ip_addr = \"127.0.0.1\"\n"
    "  password = \"Q9ZtqUakdJ2vW4wL\" }\n"
    "auth { allow_anonymous = false, no_match = deny, deny_action = disconnect\n"
    "  acl = { include \"/acl\" } }\n"
    "mqtt { max_packet_size = 1MB, max_mqueue_len = 1000 }\n"
    "sqlite { mounted_file_path = \"/var\", flush_mem_threshold = 1 }\n"
    "log { to = [file], level = info }\n"
    "bridges.mqtt.cloud { server = \"tls+mqtt-tcp://b.example:8883\"\n"
    "  ssl { cacertfile = \"/ca.pem\" }\n"
    "  subscription = [ { remote_topic = \"cmd/#\" } ] }\n";

enum { TEXT_BYTES = 8192 };

static void replace(const char *text, const char *from, const char *to, char dst[TEXT_BYTES])
{
    const char *at = from != NULL ? strstr(text, from) : text + strlen(text);
    assert_non_null(at);
    (void)snprintf(dst, TEXT_BYTES, "%.*s%s%s", (int)(at - text), text, to,
                   from != NULL ? at + strlen(from) : "");
}

static void judge(enum facts_product product, const char *conf, const char *acl, uint32_t mode,
                  const char *ids, size_t n_unread)
{
    const struct case_file files[] = {
        {"/x.conf", conf, mode, 1}, {"/acl", acl, 0644, 1}, {NULL, NULL, 0, 0}};
    AUTO(facts_autofree) struct facts *f = NULL;
    struct case_disk disk = {files};
    struct source source = case_source(&disk);
    char got[CASE_IDS_BYTES];
    assert_int_equal(facts_new(product, CASE_NOW_MS, &f), OK);
    assert_int_equal(product == FACTS_EMQX ? emqx_conf_read(&source, "/x.conf", f)
                                           : nanomq_conf_read(&source, "/x.conf", f),
                     OK);
    case_ids(f, got);
    assert_string_equal(got, ids);
    assert_int_equal(f->n_unread, n_unread);
}

struct change {
    const char *from, *to, *ids;
};

static void check(enum facts_product product, const char *base, const char *acl,
                  const struct change *changes, size_t n, size_t n_unread)
{
    for (size_t i = 0; i < n; i++) {
        char conf[TEXT_BYTES];
        replace(base, changes[i].from, changes[i].to, conf);
        judge(product, conf, acl, 0640, changes[i].ids, n_unread);
    }
}

static void test_emqx(void **state)
{
    static const struct change changes[] = {
        {NULL, "", ""},
        {"tcp.default.enable = false", "tcp.default.max_connections = 10", "debug-port"},
        {"tcp.default.enable = false",
         "tcp.default { bind = \"127.0.0.1:1883\", max_connections = 10 }", ""},
        {"ws.default.enable = false",
         "ws.default { max_connections = 10, websocket.check_origin_enable = true }",
         "plaintext-websocket"},
        {"check_origin_enable = true", "", "websocket-origin"},
        {"\"tlsv1.2\"", "\"tlsv1.1\"", "tls-old"},
        {"TLS_AES_256_GCM_SHA384", "DES-CBC3-SHA", "tls-ciphers"},
        {"bind = 8883, max_connections = 1000", "bind = 8883, max_connections = infinity",
         "limit-connections"},
        {"bind = 8883", "bind = 8883, proxy_protocol = true", "proxy-header"},
        {"bind = 8883", "bind = 8883, enable_authn = false", "anonymous"},
        {"bind = 8883", "bind = 8883, enable_authn = quick_deny_anonymous", ""},
        {"fail_if_no_peer_cert = true, enable_crl_check = true }", "enable_crl_check = true }",
         "no-client-certificate"},
        {"verify = verify_peer, fail_if_no_peer_cert = true, enable_crl_check = true }",
         "enable_crl_check = true }", "no-client-certificate"},
        {"enable_crl_check = true }", "}", "no-revocation"},
        {"127.0.0.1:18083", "0.0.0.0:18083", "management-open"},
        {"  default_password = \"file:///etc/emqx/admin\"", "", "default-credential"},
        {"file:///etc/emqx/admin", "public", "default-credential"},
        {"file:///etc/emqx/cookie", "emqxsecretcookie", "default-credential"},
        {"authentication = [", "old = [", "anonymous"},
        {"name = pbkdf2", "name = sha256", "password-fast-hash"},
        {"name = pbkdf2", "name = plain", "password-clear"},
        {"  password_hash_algorithm { name = pbkdf2, iterations = 600000 }", "",
         "password-fast-hash"},
        {"no_match = deny, ", "", "default-allow"},
        {"deny_action = disconnect", "deny_action = ignore", "deny-ignored"},
        {"{ type = file, path = \"/acl\" }", "", "no-acl"},
        {"max_packet_size = 1MB", "max_packet_size = 256MB", "limit-packet"},
        {"peer_cert_as_clientid = cn, ", "", "client-id-unbound"},
        {"peer_cert_as_clientid = cn", "use_username_as_clientid = true", ""},
        {"max_mqueue_len = 1000", "max_mqueue_len = infinity", "limit-queue"},
        {"max_mqueue_len = 1000", "max_inflight = 0", "limit-inflight"},
        {"max_mqueue_len = 1000", "session_expiry_interval = 365d", "limit-expiry"},
        {"max_retained_messages = 1000", "max_retained_messages = 0", "limit-retained"},
        {"max_retained_messages = 1000", "msg_expiry_interval = 30d", ""},
        {"enable = true, max_retained_messages = 1000", "enable = false", ""},
        {"durable_sessions { enable = true }", "", "no-persistence"},
        {"log.file.enable = true", "log.file.enable = false\nlog.console.enable = false",
         "log-off"},
        {"ssl { enable = true, verify", "ssl { enable = false, verify", "bridge-plaintext"},
        {"ssl { enable = true, verify = verify_peer }", "ssl { enable = true }",
         "bridge-unverified"},
        {"ssl { enable = true, verify",
         "ingress.remote.topic = \"#\"\n  ssl { enable = true, verify", "bridge-wide"},
    };
    (void)state;
    check(FACTS_EMQX, EMQX, "{deny, all}.\n", changes, COUNT_OF(changes), 0);
    judge(FACTS_EMQX, EMQX, "{allow, all}.\n", 0640, "wide-grant", 0);
    judge(FACTS_EMQX, EMQX, "{allow, {username, \"a\"}, all, [\"b\"]}.\n{deny, all}.\n", 0640, "",
          1);
    judge(FACTS_EMQX, EMQX, "{deny, all}.\n", 0646, "file-writable", 0);
}

/* Its own file, nearly empty: what it does by itself. */
static void test_emqx_default(void **state)
{
    (void)state;
    judge(FACTS_EMQX, "node.cookie = \"emqxsecretcookie\"\n", "", 0644,
          "anonymous debug-port default-allow default-credential management-open "
          "plaintext-websocket client-id-unbound file-readable limit-connections "
          "no-client-certificate no-persistence websocket-origin deny-ignored limit-retained",
          0);
}

static void test_nanomq(void **state)
{
    static const struct change changes[] = {
        {NULL, "", ""},
        {NULL, "listeners.tcp { bind = \"0.0.0.0:1883\", max_connections = 10 }", "debug-port"},
        {NULL, "listeners.tcp.here { bind = \"127.0.0.1:1883\", max_connections = 10 }", ""},
        {"listeners.ssl", "listeners.tcp", "plaintext"},
        {NULL, "listeners.ws { bind = \"0.0.0.0:8083/mqtt\", max_connections = 10 }",
         "plaintext-websocket"},
        {"8883\"", "8883\", tls_version = \"tlsv1.1\"", "tls-old"},
        {"max_connections = 1000", "max_connections = infinity", "limit-connections"},
        {"verify_peer = true, ", "", "no-client-certificate"},
        {"\"127.0.0.1\"", "\"0.0.0.0\"", "management-open"},
        {"Q9ZtqUakdJ2vW4wL", "public", "default-credential"},
        {"  password = \"Q9ZtqUakdJ2vW4wL\"", "", "default-credential"},
        {"allow_anonymous = false", "allow_anonymous = true", "anonymous"},
        {"allow_anonymous = false, ", "", "anonymous"},
        {"no_match = deny, ", "", "default-allow"},
        {"deny_action = disconnect", "", "deny-ignored"},
        {"auth {", "auth { password { meter = \"Vb7k3mPq-93\" }", "password-clear"},
        {"auth {", "auth { password { meter = \"Vb7k3mPq-93\", b = \"Vb7k3mPq-93\" }",
         "shared-secret password-clear"},
        {"auth {", "auth { password { meter = password }", "default-credential password-clear"},
        {"acl = { include \"/acl\" }", "", "no-acl"},
        {"max_packet_size = 1MB, ", "", "limit-packet"},
        {"max_mqueue_len = 1000", "max_mqueue_len = 0", "limit-queue"},
        {"sqlite {", "other {", "no-persistence"},
        {"flush_mem_threshold = 1", "", "saved-late"},
        {"level = info", "level = none", "log-off"},
        {"tls+mqtt", "mqtt", "bridge-plaintext"},
        {"cacertfile", "other", "bridge-unverified"},
        {"cmd/#", "#", "bridge-wide"},
    };
    static const struct {
        const char *acl, *ids;
    } rules[] = {
        {"rules = [ {\"permit\": \"allow\"} ]", "wide-grant"},
        {"rules = [ {permit = allow, username = me, action = publish, topics = [\"#\"]} ]",
         "wide-grant"},
        {"rules = [ {permit = deny} ]", ""},
        {"rules = [ {permit = allow, action = publish, topics = [\"s/${clientid}\"]} ]",
         "client-id-rule"},
        {"rules = [ {permit = allow, action = publish, topics = [\"s/${username}\"]} ]", ""},
        {"rules = [ {permit = allow, action = publish, topics = [\"status\"]} ]",
         "grant-everybody"},
        {"rules = [ {permit = allow, action = publish, topics = [\"cmd/${username}\"]} ]",
         "own-commands"},
        {"rules = [ {permit = allow, action = subscribe, topics = [\"$SYS/#\"]} ]", "sys-open"},
    };
    static const char good[] = "rules = [ {permit = allow, username = a, topics = [\"a/b\"]} ]\n";
    (void)state;
    check(FACTS_NANOMQ, NANOMQ, good, changes, COUNT_OF(changes), 0);
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        judge(FACTS_NANOMQ, NANOMQ, rules[i].acl, 0640, rules[i].ids, 0);
    }
    judge(FACTS_NANOMQ, NANOMQ, good, 0644, "file-readable", 0);
    judge(FACTS_NANOMQ, "", "", 0640,
          "anonymous default-allow no-acl plaintext limit-connections limit-packet no-persistence "
          "deny-ignored",
          0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_emqx),
                                       cmocka_unit_test(test_emqx_default),
                                       cmocka_unit_test(test_nanomq)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

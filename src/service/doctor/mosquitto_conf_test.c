/* A hardened mosquitto in which nothing is found; then one line is made wrong, and its rule finds
 * it. */
#include "service/doctor/mosquitto_conf.h"

#include "base/mem.h"
#include "security/crypto/authority_test.h"
#include "service/doctor/doctor_case_test.h"

static const char BASE[] = "per_listener_settings false\n"
                           "user mosquitto\n"
                           "listener 8883\n"
                           "certfile /server.pem\n"
                           "keyfile /server.key\n"
                           "cafile /ca.pem\n"
                           "crlfile /ca.crl\n"
                           "require_certificate true\n"
                           "use_username_as_clientid true\n"
                           "max_connections 1000\n"
                           "tls_version tlsv1.2\n"
                           "allow_anonymous false\n"
                           "allow_zero_length_clientid false\n"
                           "password_file /passwd\n"
                           "acl_file /acl\n"
                           "persistence true\n"
                           "autosave_interval 30\n"
                           "max_packet_size 100000\n"
                           "max_queued_bytes 1000000\n"
                           "persistent_client_expiration 7d\n"
                           "retain_available false\n"
                           "log_dest file /log\n";
static const char PASSWORDS[] = "# who\n"
                                "meter:$7$101$c2FsdA==$aGFzaA==\n"
                                "lamp:$7$101$c2FsdB==$aGFzaB==\n";
static const char ACL[] = "user operator\n"
                          "topic write commands/#\n"
                          "topic read sensors/#\n"
                          "pattern write sensors/%u/#\n"
                          "pattern read commands/%u/#\n"
                          "topic deny secret/#\n";
static const char KEYS[] = "lamp:00112233445566778899aabbccddeeff\n";

enum { TEXT_BYTES = 4096 };

/* text with its only `from` replaced; from NULL: `to` comes behind it. */
static void replace(const char *text, const char *from, const char *to, char dst[TEXT_BYTES])
{
    const char *at = from != NULL ? strstr(text, from) : text + strlen(text);
    assert_non_null(at);
    (void)snprintf(dst, TEXT_BYTES, "%.*s%s%s", (int)(at - text), text, to,
                   from != NULL ? at + strlen(from) : "");
}

struct story {
    const char *conf, *passwords, *acl, *keys, *further;
    const char *pem;
    uint32_t mode;
    int64_t age_days;
};

static void read_story(const struct story *s, struct facts *f)
{
    const struct case_file files[] = {{"/m.conf", s->conf, 0644, 1},
                                      {"/passwd", s->passwords, s->mode, s->age_days},
                                      {"/acl", s->acl, 0644, 1},
                                      {"/keys", s->keys, 0600, 1},
                                      {"/server.pem", s->pem, 0644, 1},
                                      {"/server.key", "", 0600, 1000},
                                      {"/ca.pem", s->pem, 0644, 1},
                                      {"/conf.d/a.conf", s->further, 0644, 1},
                                      {NULL, NULL, 0, 0}};
    struct case_disk disk = {files};
    struct source source = case_source(&disk);
    assert_int_equal(mosquitto_conf_read(&source, "/m.conf", f), OK);
}

static void check(const struct story *s, const char *ids, size_t n_unread)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    char got[CASE_IDS_BYTES];
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    read_story(s, f);
    case_ids(f, got);
    assert_string_equal(got, ids);
    assert_int_equal(f->n_unread, n_unread);
}

static struct story base(void)
{
    return (struct story){BASE, PASSWORDS, ACL, KEYS, "log_type all\n", "", 0640, 1};
}

/* Two files of certificates are empty here: that is said, and nothing else. */
enum { BASE_UNREAD = 2 };

static void test_lines(void **state)
{
    static const struct {
        const char *from, *to, *ids;
    } cases[] = {
        {NULL, "", ""},
        {NULL, "include_dir /conf.d\n", ""},
        {"allow_anonymous false", "allow_anonymous true", "anonymous"},
        {"allow_anonymous false\n", "", ""},
        {"listener 8883\ncertfile /server.pem\n", "listener 8883\n", "plaintext"},
        {"listener 8883\ncertfile /server.pem\n", "listener 8883 127.0.0.1\n", ""},
        {"listener 8883\ncertfile /server.pem\n", "listener 8883 ::1\n", ""},
        {"listener 8883\ncertfile /server.pem\n", "listener 0 /run/m.sock\n", ""},
        {NULL, "listener 1883\nmax_connections 5\nuse_username_as_clientid true\n", "debug-port"},
        {NULL, "listener 1883 127.0.0.1\nmax_connections 5\nuse_username_as_clientid true\n", ""},
        {"tlsv1.2", "tlsv1.1", "tls-old"},
        {"tls_version tlsv1.2\n", "", ""},
        {"tlsv1.2", "tlsv1.2\nciphers DEFAULT:RC4", "tls-ciphers"},
        {"require_certificate true", "require_certificate false", "no-client-certificate"},
        {"require_certificate true\n", "", "no-client-certificate"},
        {"crlfile /ca.crl\n", "", "no-revocation"},
        {"use_username_as_clientid true\n", "", "client-id-unbound"},
        {"max_connections 1000\n", "", "limit-connections"},
        {"max_connections 1000", "max_connections -1", "limit-connections"},
        {"allow_zero_length_clientid false\n", "", "empty-client-id"},
        {"acl_file /acl\n", "", "no-acl sys-open"},
        {"persistence true", "persistence false", "no-persistence"},
        {"persistence true\n", "", "no-persistence"},
        {"autosave_interval 30\n", "", "saved-late"},
        {"autosave_interval 30", "autosave_interval 61", "saved-late"},
        {"max_packet_size 100000\n", "", "limit-packet"},
        {"max_packet_size 100000", "max_packet_size 1000000000", "limit-packet"},
        {NULL, "max_queued_messages 0\n", "limit-queue"},
        {"max_queued_bytes 1000000\n", "", "limit-queue-bytes"},
        {NULL, "max_inflight_messages 0\n", "limit-inflight"},
        {"persistent_client_expiration 7d\n", "", "limit-expiry"},
        {"persistent_client_expiration 7d", "persistent_client_expiration 1y", "limit-expiry"},
        {"retain_available false\n", "", "limit-retained"},
        {"log_dest file /log", "log_dest none", "log-off"},
        {NULL, "log_type none\n", "log-off"},
        {NULL, "connection_messages false\n", "log-off"},
        {"user mosquitto", "user root", "as-root"},
        {"max_connections 1000\n", "max_connections 1000\nhttp_dir /www\n", "management-open"},
        {"max_connections 1000\n", "max_connections 1000\nprotocol http_api\n", "management-open"},
        {"max_connections 1000\n", "max_connections 1000\nprotocol websockets\n",
         "websocket-origin"},
        {"max_connections 1000\n",
         "max_connections 1000\nprotocol websockets\nwebsockets_origin https://a.example\n", ""},
        {"certfile /server.pem\n", "protocol websockets\nwebsockets_origin https://a.example\n",
         "plaintext-websocket"},
        {NULL, "connection c\naddress b.example:8883\nbridge_cafile /ca.pem\ntopic a/# both\n", ""},
        {NULL, "connection c\naddress b.example:1883\ntopic a/# both\n", "bridge-plaintext"},
        {NULL, "connection c\naddress 127.0.0.1:1883\ntopic a/# both\n", ""},
        {NULL, "connection c\naddress b.example\nbridge_cafile /ca.pem\nbridge_insecure true\n",
         "bridge-unverified"},
        {NULL, "connection c\naddress b.example\nbridge_cafile /ca.pem\ntopic # both 1\n",
         "bridge-wide"},
        {NULL, "connection c\naddress b.example\nbridge_cafile /ca.pem\ntopic # out 1\n", ""},
        {NULL, "connection c\naddress b.example\nbridge_cafile /ca.pem\nremote_password p\n",
         "file-readable"},
        {NULL, "psk_file /keys\n", ""},
        {NULL,
         "listener 1884 127.0.0.1\nallow_anonymous true\nmax_connections 5\n"
         "use_username_as_clientid true\n",
         "anonymous per-listener"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char conf[TEXT_BYTES];
        struct story s = base();
        bool has_certificate = cases[i].from == NULL || strstr(cases[i].from, "certfile") == NULL;
        replace(BASE, cases[i].from, cases[i].to, conf);
        s.conf = conf;
        check(&s, cases[i].ids, has_certificate ? BASE_UNREAD : BASE_UNREAD - 1);
    }
}

static void test_passwords(void **state)
{
    static const struct {
        const char *passwords, *ids;
    } cases[] = {
        {"meter:$7$101$c2FsdA==$aGFzaA==\nlamp:$7$101$c2FsdA==$aGFzaA==\n", "shared-secret"},
        {"meter:$6$c2FsdA==$aGFzaA==\n", "password-fast-hash"},
        {"meter:correct horse battery\n", "password-clear"},
        {"meter:password\n", "default-credential password-clear"},
        {"meter:Mosquitto\n", "default-credential password-clear"},
        {"meter12345:meter12345\n", "default-credential password-clear"},
        {"meter:1234567\n", "default-credential password-clear"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct story s = base();
        s.passwords = cases[i].passwords;
        check(&s, cases[i].ids, BASE_UNREAD);
    }
    struct story s = base();
    s.mode = 0644;
    check(&s, "file-readable", BASE_UNREAD);
    s.mode = 0646;
    check(&s, "file-writable", BASE_UNREAD);
    s = base();
    s.age_days = 367;
    check(&s, "no-rotation", BASE_UNREAD);
    s = base();
    s.passwords = "no colon here\n";
    check(&s, "", BASE_UNREAD + 1);
}

static void test_acl(void **state)
{
    static const struct {
        const char *acl, *ids;
        size_t n_unread;
    } cases[] = {
        {"", "", 0},
        {"pattern readwrite #\n", "wide-grant", 0},
        {"user logger\ntopic read #\n", "wide-service", 0},
        {"user admin\ntopic #\n", "wide-grant", 0},
        {"user admin\ntopic readwrite +/+/#\n", "wide-grant", 0},
        {"pattern read $SYS/#\n", "sys-open", 0},
        {"pattern write sensors/%c/#\n", "", 0}, /* the client id is the user's name */
        {"pattern write commands/%u/#\n", "own-commands", 0},
        {"pattern write status/all\n", "grant-everybody", 0},
        {"topic read #\n", "", 0}, /* of clients without a name: there are none */
        {"topics read #\n", "", 1},
        {"user a\ntopic read\n", "", 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct story s = base();
        s.acl = cases[i].acl;
        check(&s, cases[i].ids, BASE_UNREAD + cases[i].n_unread);
    }
    char conf[TEXT_BYTES];
    struct story s = base();
    replace(BASE, "use_username_as_clientid true\n", "", conf);
    s.conf = conf;
    s.acl = "pattern write sensors/%c/#\n";
    check(&s, "client-id-rule client-id-unbound", BASE_UNREAD);
}

static void test_keys(void **state)
{
    char conf[TEXT_BYTES], many[TEXT_BYTES];
    struct story s = base();
    size_t n = 0;
    (void)state;
    replace(BASE, NULL, "psk_file /keys\n", conf);
    s.conf = conf;
    s.keys = "lamp:0011223344556677\n";
    check(&s, "psk-weak", BASE_UNREAD);
    s.keys = "a:00112233445566778899aabbccddeeff\nb:00112233445566778899aabbccddeeff\n";
    check(&s, "shared-secret", BASE_UNREAD);
    for (size_t i = 0; i < 51; i++) {
        n += (size_t)snprintf(many + n, sizeof many - n, "d%zu:00112233445566778899aabbccdd%04zx\n",
                              i, i);
    }
    s.keys = many;
    check(&s, "psk-fleet", BASE_UNREAD);
}

/* Debian's file with the two lines that every guide tells to add. */
static void test_open(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(findings_done) struct findings l = {0};
    char ids[CASE_IDS_BYTES];
    struct story s = base();
    (void)state;
    s.conf = "pid_file /run/mosquitto/mosquitto.pid\npersistence true\n"
             "persistence_location /var/lib/mosquitto/\nlog_dest file /log\ninclude_dir /conf.d\n";
    s.further = "listener 1883\nallow_anonymous true\n";
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    read_story(&s, f);
    case_ids(f, ids);
    assert_string_equal(ids, "anonymous no-acl plaintext client-id-unbound limit-connections "
                             "limit-packet saved-late sys-open empty-client-id limit-expiry "
                             "limit-queue-bytes limit-retained");
    assert_int_equal(f->n_unread, 0);
    assert_int_equal(rules_judge(f, &l), OK);
    assert_string_equal(f->files[l.items[0].at.file].path, "/conf.d/a.conf");
    assert_int_equal(l.items[0].at.line, 2);
    assert_string_equal(l.items[0].object, "1883");
}

/* Without a listener it serves this machine, and everybody on it. */
static void test_none(void **state)
{
    struct story s = base();
    (void)state;
    s.conf = "";
    check(&s,
          "anonymous no-acl client-id-unbound limit-connections limit-packet no-persistence "
          "sys-open empty-client-id limit-expiry limit-queue-bytes limit-retained",
          0);
}

static void test_per_listener(void **state)
{
    static const char conf[] = "per_listener_settings true\n"
                               "listener 1883 127.0.0.1\nallow_anonymous true\nacl_file /acl\n"
                               "listener 1884 127.0.0.1\nacl_file /acl\npassword_file /passwd\n";
    AUTO(facts_autofree) struct facts *f = NULL;
    struct story s = base();
    (void)state;
    s.conf = conf;
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    read_story(&s, f);
    assert_int_equal(f->n_listeners, 2);
    assert_int_equal(f->listeners[0].anonymous.n, 1);
    assert_int_equal(f->listeners[1].anonymous.n, 0);
    assert_int_equal(f->numbers[FACTS_MIXED_SETTINGS].n, 0);
    assert_int_equal(f->n_accounts, 2);
}

static void test_default_listener(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    struct story s = base();
    (void)state;
    s.conf = "listener 8883 127.0.0.1\nport 1884\nbind_address 192.0.2.1\nmax_connections 7\n";
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    read_story(&s, f);
    assert_int_equal(f->n_listeners, 2);
    assert_string_equal(f->listeners[1].bind, "192.0.2.1:1884");
    assert_int_equal(f->listeners[0].connections.n, 7);
}

/* What does not read is said with its line, and no secret of it. */
static void test_unread(void **state)
{
    static const char *const lines[] = {"allow_anonymous perhaps",
                                        "listener many",
                                        "max_connections x",
                                        "no_such_key hush",
                                        "tls_version ssl3",
                                        "max_packet_size -1",
                                        "plugin /dynsec.so",
                                        "include_dir /nowhere",
                                        "acl_file /nowhere",
                                        "persistence",
                                        "persistent_client_expiration 5x"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        AUTO(facts_autofree) struct facts *f = NULL;
        char conf[TEXT_BYTES];
        struct story s = base();
        (void)snprintf(conf, sizeof conf, "# first\n%s\n", lines[i]);
        s.conf = conf;
        assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
        read_story(&s, f);
        assert_int_equal(f->n_unread, 1);
        assert_int_equal(f->unread[0].at.line, 2);
        assert_null(strstr(f->unread[0].text, "hush"));
    }
}

static void test_limits(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(buf_done) struct buf text = {0};
    struct story s = base();
    (void)state;
    for (size_t i = 0; i < FACTS_LISTENERS_MAX + 1; i++) {
        assert_int_equal(buf_append(&text, slice_text("listener 1883 127.0.0.1\n"), 1 << 20), OK);
    }
    assert_int_equal(buf_append(&text, slice_text("max_connections 5\npsk_hint x\n"), 1 << 20), OK);
    assert_int_equal(buf_append(&text, slice_of("", 1), 1 << 20), OK);
    s.conf = (const char *)text.p;
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    read_story(&s, f);
    assert_int_equal(f->n_listeners, FACTS_LISTENERS_MAX);
    assert_int_equal(f->n_dropped, 1);
    assert_int_equal(f->listeners[FACTS_LISTENERS_MAX - 1].connections.n, 0);
}

/* It includes itself: the depth has an end. */
static void test_loop(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    struct story s = base();
    (void)state;
    s.conf = "include_dir /conf.d\n";
    s.further = "include_dir /conf.d\n";
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    read_story(&s, f);
    assert_int_equal(f->n_unread, 1);
    assert_int_equal(f->n_files, 1 + MOSQUITTO_DEPTH_MAX);
}

static void test_certificates(void **state)
{
    AUTO(facts_autofree) struct facts *f = NULL;
    AUTO(test_authority_done) struct test_authority a = {0};
    AUTO(buf_done) struct buf pem = {0};
    struct story s = base();
    (void)state;
    assert_int_equal(test_authority_make("Plant", &a), OK);
    assert_int_equal(x509_to_pem(a.cert, &pem), OK);
    assert_int_equal(buf_append(&pem, slice_of("", 1), 1 << 20), OK);
    s.pem = (const char *)pem.p;
    assert_int_equal(facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f), OK);
    read_story(&s, f);
    assert_int_equal(f->n_certificates, 2);
    assert_true(!f->certificates[0].is_authority && f->certificates[1].is_authority);
    assert_int_equal(f->certificates[0].ends_wall_ms, x509_info(a.cert)->not_after_wall_ms);
    assert_int_equal(f->n_unread, 0);
}

/* RSA of 1024 bits, until 2126. */
static const char WEAK[] = "-----BEGIN CERTIFICATE-----\n"
                           "MIIB/DCCAWWgAwIBAgIUeQBB71Tjk4DQHy7cB2zeiQK+z8EwDQYJKoZIhvcNAQEL\n"
                           "BQAwDzENMAsGA1UEAwwEd2VhazAgFw0yNjExMjIwODE0MTZaGA8yMTI2MTAyOTA4\n"
                           "MTQxNlowDzENMAsGA1UEAwwEd2VhazCBnzANBgkqhkiG9w0BAQEFAAOBjQAwgYkC\n"
                           "gYEAy+KaVFcNEEzRBy00AikgqQPjZJmyOt2TQ892aXxNwXiQkpRh/gjMdoIsAiAW\n"
                           "Bm5iw6sVPlrXEW8V3ceYuzXrV8R1ikUHJuAQQUQVvbjj24JeUOnA24uTpRDVeClH\n"
                           "WR7VyYbWoTuBP0NV8O0E8YHGFB/ipbADn2TzxxUEWLlM7nECAwEAAaNTMFEwHQYD\n"
                           "VR0OBBYEFLm0NyIlOPgTuh64PPftExi09v8bMB8GA1UdIwQYMBaAFLm0NyIlOPgT\n"
                           "uh64PPftExi09v8bMA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADgYEA\n"
                           "ofyuu8mwOjKdqHGJS1eIQplzbmua4xHzdRzIrjlN5IvW0VsxPalDUKtj2uGaAHKB\n"
                           "GzthgwDS6T/ujYJ6ne3sYtO7ztqdrdZuojFm0xIqv7eGXWqxoKSwUgGzvTC0qEhx\n"
                           "QhLD+h7ExdnT6Pys4MRXu3SoACYdUYMHJo8okv/Ju/E=\n"
                           "-----END CERTIFICATE-----\n";

/* A key on P-256, signed by SHA-1 under another one. */
static const char SHA_1[] = "-----BEGIN CERTIFICATE-----\n"
                            "MIIBFzCBvgIUb2uZlFFEiAUa9aWIWlNVkg81xeIwCQYHKoZIzj0EATANMQswCQYD\n"
                            "VQQDDAJjYTAgFw0yNjExMjIwODE3MDhaGA8yMTI2MTAyOTA4MTcwOFowDzENMAsG\n"
                            "A1UEAwwEbGVhZjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNAFaJi/VXpep6Eo\n"
                            "iZsBrPUtCfYcUiogGl8Y3uN/PcUYn043Fb66d20llyXjFtqbesvPE6bIoqtv0KWh\n"
                            "c3TMcxEwCQYHKoZIzj0EAQNJADBGAiEAtvdtjn6WavHWqawY74ARPcsjy+ggWTQr\n"
                            "AKSpS/0FBQoCIQDKJsHGXltVZjOtEkrQPZy5VZqAN6ZjQkesFAKIjLXNwg==\n"
                            "-----END CERTIFICATE-----\n";

static void test_weak_certificate(void **state)
{
    AUTO(test_authority_done) struct test_authority a = {0};
    AUTO(buf_done) struct buf pem = {0};
    struct story s = base();
    (void)state;
    s.pem = WEAK;
    check(&s, "certificate-weak", 0);
    s.pem = SHA_1;
    check(&s, "certificate-weak", 0);
    assert_int_equal(test_authority_make("Plant", &a), OK);
    assert_int_equal(x509_strength_bits(a.cert), 128);
}

/* Whatever allocation fails, nothing leaks and nothing is half judged. */
static void test_memory(void **state)
{
    (void)state;
    enum err e = ERR_NOMEM;
    for (long n = 0; e != OK; n++) {
        AUTO(facts_autofree) struct facts *f = NULL;
        AUTO(findings_done) struct findings l = {0};
        const struct case_file files[] = {{"/m.conf", "listener 1883\nacl_file /acl\n", 0644, 1},
                                          {"/acl", ACL, 0644, 1},
                                          {NULL, NULL, 0, 0}};
        struct case_disk disk = {files};
        struct source source = case_source(&disk);
        (void)mem_fail_after(n);
        e = facts_new(FACTS_MOSQUITTO, CASE_NOW_MS, &f);
        e = e == OK ? mosquitto_conf_read(&source, "/m.conf", f) : e;
        e = e == OK ? rules_judge(f, &l) : e;
        bool has_failed = mem_fail_after(-1) != 0;
        assert_true(e == OK ? !has_failed : has_failed && e == ERR_NOMEM);
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_passwords),
                                       cmocka_unit_test(test_acl),
                                       cmocka_unit_test(test_keys),
                                       cmocka_unit_test(test_open),
                                       cmocka_unit_test(test_none),
                                       cmocka_unit_test(test_per_listener),
                                       cmocka_unit_test(test_default_listener),
                                       cmocka_unit_test(test_unread),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_loop),
                                       cmocka_unit_test(test_certificates),
                                       cmocka_unit_test(test_weak_certificate),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

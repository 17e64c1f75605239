#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "service/pki/bundle.h"

static struct bundle_order order(void)
{
    return (struct bundle_order){.device = slice_text("meter-7"),
                                 .role = slice_text("sensor"),
                                 .host = slice_text("broker.example"),
                                 .mqtts_port = 8883,
                                 .coaps_port = 5684,
                                 .wss_port = 8084,
                                 .wss_path = slice_text("/mqtt"),
                                 .ca_pem = slice_text("CA\n"),
                                 .cert_pem = slice_text("CERT\n"),
                                 .key_pem = slice_text("KEY\n"),
                                 .password = slice_text("sp1_abc"),
                                 .psk = slice_text("0123456789abcdefghijklmnopqrstuv"),
                                 .scram = slice_text("sp1_abcdefghijklmnopqrstuvwxyz"),
                                 .publish = slice_text("sensors/lab/meter-7/temperature"),
                                 .subscribe = slice_text("commands/meter-7/#")};
}

static const char *text(const struct bundle *b, enum bundle_file f, char *dst, size_t cap)
{
    assert_true(slice_to_text(buf_slice(&b->file[f]), dst, cap));
    return dst;
}

static void contents(void **state)
{
    (void)state;
    struct bundle_order o = order();
    AUTO(bundle_done) struct bundle b = {0};
    char t[8192];
    assert_int_equal(bundle_make(&o, &b, NULL), OK);
    assert_string_equal(text(&b, BUNDLE_PSK, t, sizeof t),
                        "meter-7:0123456789abcdefghijklmnopqrstuv\n");
    assert_string_equal(text(&b, BUNDLE_PASSWORD, t, sizeof t), "sp1_abc\n");
    assert_string_equal(text(&b, BUNDLE_CERT, t, sizeof t), "CERT\n");
    assert_int_equal(b.file[BUNDLE_OSCORE].n, 0);
    json_t *json = json_loads(text(&b, BUNDLE_JSON, t, sizeof t), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "device")), "meter-7");
    assert_string_equal(json_string_value(json_object_get(json, "host")), "broker.example");
    const json_t *ports = json_object_get(json, "ports");
    assert_int_equal(json_integer_value(json_object_get(ports, "mqtts")), 8883);
    assert_int_equal(json_integer_value(json_object_get(ports, "coaps")), 5684);
    assert_int_equal(json_integer_value(json_object_get(ports, "wss")), 8084);
    json_decref(json);

    text(&b, BUNDLE_HOWTO, t, sizeof t);
    static const char *const lines[] = {
        "wss://broker.example:8084/mqtt   (subprotocol mqtt, client id meter-7, authority "
        "ca.pem)\n",
        "mosquitto_pub -V 5 -h broker.example -p 8883 --cafile ca.pem -i meter-7 --cert cert.pem "
        "--key key.pem -q 1 -t 'sensors/lab/meter-7/temperature' -m '21.5'\n",
        "mosquitto_sub -V 5 -h broker.example -p 8883 --cafile ca.pem -i meter-7 -u meter-7 -P "
        "\"$(cat password.txt)\" -q 1 -t 'commands/meter-7/#' -v\n",
        "coap-client-openssl -m put -e '21.5' -u meter-7 -k \"$(cut -d: -f2 psk.txt)\" "
        "'coaps://broker.example:5684/mq/sensors/lab/meter-7/temperature'\n",
        "coap-client-gnutls -m put -e '21.5' -c cert.pem -j key.pem -C ca.pem "
        "'coaps://broker.example:5684/mq/sensors/lab/meter-7/temperature'\n",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        if (strstr(t, lines[i]) == NULL) {
            fail_msg("no line %s in\n%s", lines[i], t);
        }
    }
    assert_null(strstr(t, "sp1_abc")); /* the page itself holds no secret */
    assert_null(strstr(t, "insecure"));
}

static void hostile_texts(void **state)
{
    (void)state;
    struct bundle_order o = order();
    AUTO(bundle_done) struct bundle b = {0};
    char t[8192];
    o.host = slice_text("2001:db8::7");
    o.publish = slice_text("it's/50%/a b");
    o.save_dir = slice_text("/home/o'neil/x");
    assert_int_equal(bundle_make(&o, &b, NULL), OK);
    text(&b, BUNDLE_HOWTO, t, sizeof t);
    assert_non_null(strstr(t, "cd '/home/o'\\''neil/x'\n"));
    assert_non_null(strstr(t, "-t 'it'\\''s/50%/a b' -m"));
    assert_non_null(strstr(t, "'coaps://[2001:db8::7]:5684/mq/it%27s/50%25/a%20b'"));
}

static void every_root(void **state)
{
    (void)state;
    struct bundle_order o = order();
    AUTO(bundle_done) struct bundle b = {0};
    char t[256];
    o.ca_pem = slice_text("-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n"
                          "-----BEGIN CERTIFICATE-----\nother\n-----END CERTIFICATE-----\n");
    assert_int_equal(bundle_make(&o, &b, NULL), OK);
    assert_string_equal(text(&b, BUNDLE_CA, t, sizeof t),
                        "-----BEGIN CERTIFICATE-----\nroot\n-----END CERTIFICATE-----\n"
                        "-----BEGIN CERTIFICATE-----\nother\n-----END CERTIFICATE-----\n");
}

static void oscore(void **state)
{
    (void)state;
    struct bundle_order o = order();
    struct oscore_secret secret = {.secret = {1, 2}, .salt = {0xab}, .kid = {2, {0xc0, 0xde}}};
    AUTO(bundle_done) struct bundle b = {0};
    char t[2048];
    o.oscore = &secret;
    o.coap_port = 5683;
    assert_int_equal(bundle_make(&o, &b, NULL), OK);
    json_t *json = json_loads(text(&b, BUNDLE_OSCORE, t, sizeof t), 0, NULL);
    assert_non_null(json);
    static const char *const members[][2] = {{"master_secret", "01020000000000000000000000000000"},
                                             {"master_salt", "ab00000000000000"},
                                             {"sender_id", "c0de"},
                                             {"recipient_id", "00"},
                                             {"algorithm", "AES-CCM-16-64-128"},
                                             {"hkdf", "HKDF-SHA-256"}};
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        assert_string_equal(json_string_value(json_object_get(json, members[i][0])), members[i][1]);
    }
    json_decref(json);
    char howto[8192];
    assert_non_null(strstr(text(&b, BUNDLE_HOWTO, howto, sizeof howto), ":5683/mq/"));
    assert_null(strstr(howto, "0102000000")); /* the secret is in one file alone */
    char ports[1024];
    assert_non_null(strstr(text(&b, BUNDLE_JSON, ports, sizeof ports), "\"coap\": 5683"));
}

static void coap_over_tcp(void **state)
{
    (void)state;
    struct bundle_order o = order();
    char howto[8192], ports[1024];
    for (int has_ports = 0; has_ports < 2; has_ports++) {
        AUTO(bundle_done) struct bundle b = {0};
        o.coaps_tcp_port = has_ports ? 5685 : 0;
        o.coaps_ws_port = has_ports ? 8085 : 0;
        assert_int_equal(bundle_make(&o, &b, NULL), OK);
        (void)text(&b, BUNDLE_HOWTO, howto, sizeof howto);
        (void)text(&b, BUNDLE_JSON, ports, sizeof ports);
        assert_int_equal(strstr(ports, "\"coaps+tcp\": 5685") != NULL, has_ports);
        assert_int_equal(strstr(ports, "\"coaps+ws\": 8085") != NULL, has_ports);
        assert_int_equal(strstr(howto, ":5685/mq/") != NULL, has_ports);
        assert_int_equal(strstr(howto, "coaps+ws://") != NULL, has_ports);
    }
}

static void json_form(void **state)
{
    (void)state;
    struct bundle_order o = order();
    AUTO(bundle_done) struct bundle b = {0};
    AUTO(bundle_done) struct bundle back = {0};
    json_t *json = NULL;
    assert_int_equal(bundle_make(&o, &b, NULL), OK);
    assert_int_equal(bundle_to_json(&b, &json), OK);
    assert_int_equal(bundle_from_json(json, &back), OK);
    for (size_t i = 0; i < BUNDLE_FILES; i++) {
        assert_true(slice_equal(buf_slice(&b.file[i]), buf_slice(&back.file[i])));
    }
    json_decref(json);
    static const char *const bad[] = {"[]", "{\"../x\": \"\"}", "{\"ca.pem\": 1}",
                                      "{\"authorized_keys\": \"x\"}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct bundle none = {0};
        json = json_loads(bad[i], 0, NULL);
        assert_int_equal(bundle_from_json(json, &none), ERR_MALFORMED);
        json_decref(json);
    }
}

static void saving(void **state)
{
    (void)state;
    char root[] = "/tmp/sallyport-bundle-XXXXXX";
    char dir[64];
    char path[96];
    assert_non_null(mkdtemp(root));
    (void)snprintf(dir, sizeof dir, "%s/b", root);
    struct bundle_order o = order();
    struct why why = {""};
    AUTO(bundle_done) struct bundle b = {0};
    assert_int_equal(bundle_make(&o, &b, &why), OK);
    assert_int_equal(bundle_save(&b, dir, &why), OK);
    assert_int_equal(bundle_save(&b, dir, &why), ERR_EXISTS);
    assert_non_null(strstr(why.text, "bundle.json"));
    struct stat st;
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    for (enum bundle_file f = BUNDLE_JSON; f < BUNDLE_FILES; f++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, bundle_file_name(f));
        if (f == BUNDLE_OSCORE) {
            assert_int_equal(stat(path, &st), -1);
            continue;
        }
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal((size_t)st.st_size, b.file[f].n);
        assert_int_equal(unlink(path), 0);
    }
    /* not through a link */
    (void)snprintf(path, sizeof path, "%s/key.pem", dir);
    assert_int_equal(symlink("/tmp/elsewhere", path), 0);
    assert_int_equal(bundle_save(&b, dir, &why), ERR_EXISTS);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(rmdir(root), 0);
}

static void no_memory(void **state)
{
    (void)state;
    struct bundle_order o = order();
    for (long n = 0; n < 200; n++) {
        struct bundle b = {0};
        (void)mem_fail_after(n);
        enum err err = bundle_make(&o, &b, NULL);
        bool failed = mem_fail_after(-1) != 0;
        assert_int_equal(err, failed ? ERR_NOMEM : OK);
        bundle_done(&b);
        if (!failed) {
            return;
        }
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents), cmocka_unit_test(hostile_texts), cmocka_unit_test(every_root),
        cmocka_unit_test(oscore),   cmocka_unit_test(coap_over_tcp), cmocka_unit_test(json_form),
        cmocka_unit_test(saving),   cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

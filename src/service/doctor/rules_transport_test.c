#include "service/doctor/doctor_case_test.h"

static void clean(struct facts *f)
{
    (void)case_listener(f, FACTS_MQTT);
    (void)case_listener(f, FACTS_WEBSOCKET);
    (void)case_listener(f, FACTS_COAP);
}

static void plain(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->is_tls = false;
}

static void plain_on_loopback(struct facts *f)
{
    struct facts_listener *l = case_listener(f, FACTS_MQTT);
    l->is_tls = false;
    l->is_loopback = true;
}

static void plain_coap(struct facts *f)
{
    (void)case_listener(f, FACTS_MQTT);
    case_listener(f, FACTS_COAP)->is_tls = false;
}

static void plain_beside_tls(struct facts *f)
{
    (void)case_listener(f, FACTS_MQTT);
    case_listener(f, FACTS_MQTT)->is_tls = false;
}

static void exception(struct facts *f)
{
    struct facts_permit *p;
    assert_int_equal(facts_add_permit(f, &p), OK);
    p->is_plaintext = true;
    facts_text(p->listener, slice_text("mqtt"));
}

static void plain_pages(struct facts *f)
{
    case_listener(f, FACTS_WEBSOCKET)->is_tls = false;
}

static void tls_1_1(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->tls_min = facts_preset(11, 0);
}

static void rc4(struct facts *f)
{
    facts_text(case_listener(f, FACTS_MQTT)->ciphers, slice_text("HIGH:RC4-SHA:!aNULL"));
}

static void not_rc4(struct facts *f)
{
    facts_text(case_listener(f, FACTS_MQTT)->ciphers, slice_text("ECDHE+AESGCM:!RC4:!aNULL:-DES"));
}

static void no_certificate(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->client_certificate = facts_preset(0, 0);
}

static void no_list(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->revocation = facts_preset(0, 0);
}

static void proxy(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->proxy = facts_preset(1, 0);
}

static void origin(struct facts *f)
{
    case_listener(f, FACTS_WEBSOCKET)->origin = facts_preset(0, 0);
}

static void groups(struct facts *f)
{
    case_listener(f, FACTS_COAP)->multicast = facts_preset(1, 0);
}

static void old_mqtt(struct facts *f)
{
    case_listener(f, FACTS_MQTT)->mqtt_3_1 = facts_preset(1, 0);
}

static void dashboard(struct facts *f)
{
    (void)case_listener(f, FACTS_DASHBOARD);
}

static void api(struct facts *f)
{
    case_listener(f, FACTS_API)->is_tls = false;
}

static void dashboard_on_loopback(struct facts *f)
{
    case_listener(f, FACTS_DASHBOARD)->is_loopback = true;
}

static void pages(struct facts *f)
{
    case_listener(f, FACTS_WEBSOCKET)->pages = facts_preset(1, 0);
}

static struct facts_bridge *bridge(struct facts *f)
{
    struct facts_bridge *b;
    assert_int_equal(facts_add_bridge(f, &b), OK);
    facts_text(b->name, slice_text("cloud"));
    b->is_tls = true;
    b->is_verified = true;
    return b;
}

static void good_bridge(struct facts *f)
{
    (void)bridge(f);
}

static void plain_bridge(struct facts *f)
{
    bridge(f)->is_tls = false;
}

static void blind_bridge(struct facts *f)
{
    bridge(f)->is_verified = false;
}

static void wide_bridge(struct facts *f)
{
    bridge(f)->is_wide = true;
}

static void test_rules(void **state)
{
    static const struct rule_case cases[] = {
        {FACTS_SALLYPORT, "", clean},
        {FACTS_MOSQUITTO, "", clean},
        {FACTS_MOSQUITTO, "plaintext", plain},
        {FACTS_MOSQUITTO, "", plain_on_loopback},
        {FACTS_EMQX, "plaintext", plain_coap},
        {FACTS_MOSQUITTO, "debug-port", plain_beside_tls},
        {FACTS_SALLYPORT, "debug-port", exception},
        {FACTS_MOSQUITTO, "plaintext-websocket", plain_pages},
        {FACTS_MOSQUITTO, "tls-old", tls_1_1},
        {FACTS_MOSQUITTO, "tls-ciphers", rc4},
        {FACTS_MOSQUITTO, "", not_rc4},
        {FACTS_MOSQUITTO, "no-client-certificate", no_certificate},
        {FACTS_MOSQUITTO, "no-revocation", no_list},
        {FACTS_EMQX, "proxy-header", proxy},
        {FACTS_MOSQUITTO, "websocket-origin", origin},
        {FACTS_SALLYPORT, "multicast", groups},
        {FACTS_SALLYPORT, "mqtt-3.1", old_mqtt},
        {FACTS_EMQX, "management-open", dashboard},
        {FACTS_NANOMQ, "management-open", api},
        {FACTS_EMQX, "", dashboard_on_loopback},
        {FACTS_MOSQUITTO, "management-open", pages},
        {FACTS_MOSQUITTO, "", good_bridge},
        {FACTS_MOSQUITTO, "bridge-plaintext", plain_bridge},
        {FACTS_MOSQUITTO, "bridge-unverified", blind_bridge},
        {FACTS_MOSQUITTO, "bridge-wide", wide_bridge},
    };
    (void)state;
    rule_cases(cases, COUNT_OF(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

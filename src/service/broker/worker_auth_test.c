/* Enhanced authentication in a worker: what fits into the client's packets, and every allocation
 * that fails on the way, at CONNECT and again. */
#include "security/crypto/sign_test.h"
#include "security/password/password.h"
#include "security/password/scram_client_test.h"
#include "service/broker/worker_story_test.h"
#include "wire/mqtt/auth.h"

#define NAME "meter-7"
#define JWT  "OAUTH2-JWT"

struct login {
    struct party *party;
    char password[PASSWORD_GENERATED_BYTES], token[1024];
    uint32_t packet_max; /* 0: not said */
    bool by_token;
    size_t largest; /* of the packets that came */
};

static struct signer signer;

static int make_signer(void **state)
{
    (void)state;
    signer = signer_new(SIGKEY_EDDSA, 0);
    return 0;
}

static int free_signer(void **state)
{
    (void)state;
    signer_done(&signer);
    return 0;
}

/* A device with a SCRAM password, an issuer, and a listener that takes both. */
static void prepare(struct bench *b, struct login *l)
{
    char jwk[2048];
    char set[2100];
    const struct trust *trust = NULL;
    struct random_source random = random_system();
    uint64_t id;
    password_generate(&random, l->password);
    struct directory_secret secret = {.kind = CREDENTIAL_SCRAM,
                                      .expires_wall_ms = CREDENTIAL_NEVER,
                                      .password = slice_text(l->password)};
    struct directory_order o = {
        .name = slice_text(NAME), .role = slice_text("any"), .secrets = &secret, .n_secrets = 1};
    must(directory_add(b->directory, &o, WALL, &id, NULL));
    signer_jwk(&signer, "", jwk, sizeof jwk);
    (void)snprintf(set, sizeof set, "{\"keys\":[%s]}", jwk);
    struct trust_order rules = {.keys = slice_text(set),
                                .issuer = slice_text("https://id"),
                                .audience = slice_text("sallyport")};
    must(trust_new(&rules, 1, NULL, NULL, &trust));
    signer_token(&signer, "{\"alg\":\"EdDSA\"}",
                 "{\"iss\":\"https://id\",\"aud\":\"sallyport\",\"sub\":\"" NAME
                 "\",\"exp\":1800000000}",
                 l->token, sizeof l->token);
    const struct directory_version *v = directory_current(b->directory);
    const struct realm *realm = NULL;
    must(realm_new_trusting(v, b->policy, trust, &realm));
    directory_version_unref(v);
    trust_unref(trust);
    realm_unref(b->realm);
    b->realm = realm;
    for (unsigned i = 0; i < WORKERS; i++) {
        realm_to(b, i);
    }
    b->mqtts.auth_password = b->mqtts.auth_token = true;
    l->party = &b->parties[0];
}

static struct slice method_of(const struct login *l)
{
    return slice_text(l->by_token ? JWT : SCRAM_METHOD);
}

static struct slice first_data(const struct login *l, char text[SCRAM_MESSAGE_MAX])
{
    scram_client_first(NAME, text);
    return slice_text(l->by_token ? l->token : text);
}

static void measure(struct login *l)
{
    struct slice in = slice_of(l->party->bytes, l->party->n);
    while (in.n > 0) {
        size_t before = in.n;
        struct mqtt_fixed f;
        struct slice body;
        must(mqtt_packet_cut(&in, OUT, NULL, &f, &body));
        l->largest = before - in.n > l->largest ? before - in.n : l->largest;
    }
}

/* The next packet the server sent; false: none. Its data, if it has any, lies in the party's
 * bytes until more comes. */
static bool took(struct login *l, struct mqtt_auth *ret)
{
    struct party *p = l->party;
    struct slice in = slice_of(p->bytes, p->n);
    struct mqtt_fixed f;
    struct mqtt_wire_limits most = mqtt_wire_limits_max();
    struct mqtt_input m = {.version = MQTT_V5, .sender = MQTT_FROM_SERVER, .limits = &most};
    if (p->n == 0) {
        return false;
    }
    measure(l);
    must(mqtt_packet_cut(&in, OUT, NULL, &f, &m.body));
    m.flags = f.flags;
    if (f.type != MQTT_AUTH) {
        return false;
    }
    must(mqtt_auth_decode(&m, NULL, ret));
    p->n = 0;
    return true;
}

static void gives_auth(struct bench *b, struct login *l, enum mqtt_reason reason, struct slice data)
{
    uint8_t bytes[1200];
    struct wr w = wr_into(bytes, sizeof bytes);
    struct mqtt_auth m = {.reason = (uint8_t)reason};
    mqtt_props_set_text(&m.props, MQTT_PROP_AUTH_METHOD, method_of(l));
    mqtt_props_set_text(&m.props, MQTT_PROP_AUTH_DATA, data);
    must(mqtt_auth_encode(&m, &w));
    give_wr(b, l->party, &w);
    settle(b);
}

/* The challenge is answered, if one came. */
static void proves(struct bench *b, struct login *l)
{
    struct mqtt_auth challenge;
    char text[SCRAM_MESSAGE_MAX];
    struct directory_scram d;
    if (l->by_token || !took(l, &challenge) || challenge.reason != MQTT_CONTINUE_AUTHENTICATION) {
        return;
    }
    must(directory_scram(b->realm->directory, slice_text(NAME), b->wall_ms, &d));
    scram_client_final(NAME, &d.salt, slice_text(l->password),
                       mqtt_props_text(&challenge.props, MQTT_PROP_AUTH_DATA), text);
    gives_auth(b, l, MQTT_CONTINUE_AUTHENTICATION, slice_text(text));
}

static void logs_in(struct bench *b, struct login *l)
{
    uint8_t bytes[1500];
    char text[SCRAM_MESSAGE_MAX];
    struct wr w = wr_into(bytes, sizeof bytes);
    struct mqtt_connect c = {.version = MQTT_V5, .clean_start = true, .keep_alive_s = 60};
    mqtt_props_set_text(&c.props, MQTT_PROP_AUTH_METHOD, method_of(l));
    mqtt_props_set_text(&c.props, MQTT_PROP_AUTH_DATA, first_data(l, text));
    if (l->packet_max > 0) {
        mqtt_props_set_number(&c.props, MQTT_PROP_MAXIMUM_PACKET_SIZE, l->packet_max);
    }
    must(mqtt_connect_encode(&c, &w));
    l->party->version = MQTT_V5;
    if (!arrives(b, l->party, 0, NAME)) {
        return;
    }
    give_wr(b, l->party, &w);
    settle(b);
    proves(b, l);
}

/* "connack 00; " and so on; what was larger than before is noted. */
static const char *hears(struct login *l)
{
    measure(l);
    return said(l->party);
}

/* SPEC: MQTT5-3.1.2-24: neither the challenge nor a CONNACK with the method's data */
static void no_packet_is_larger_than_the_client_takes(void **state)
{
    struct bench *b = *state;
    struct login l = {0};
    prepare(b, &l);
    logs_in(b, &l);
    assert_string_equal(hears(&l), "connack 00; ");
    is_cut(b, l.party);
    uint32_t enough = (uint32_t)l.largest;
    assert_true(enough > 60);
    b->n_events = 0;
    for (uint32_t most = 20; most <= enough + 1; most++) {
        l.packet_max = most;
        l.largest = 0;
        logs_in(b, &l);
        assert_string_equal(hears(&l), most < enough ? "connack 95; " : "connack 00; ");
        assert_true(l.largest <= most);
        is_cut(b, l.party);
        settle(b);
    }
    assert_int_equal(events_of(b, EVENT_quota), enough - 20);
    assert_int_equal(events_of(b, EVENT_auth_fail), 0);
}

/* Another challenge may be larger than the first: the client's nonce is part of it. */
static void again_with_a_longer_nonce(void **state)
{
    struct bench *b = *state;
    struct login l = {.packet_max = 120};
    prepare(b, &l);
    logs_in(b, &l);
    assert_string_equal(hears(&l), "connack 00; ");
    gives_auth(
        b, &l, MQTT_REAUTHENTICATE,
        slice_text("n,,n=" NAME ",r=12345678123456781234567812345678123456781234567812345678"));
    assert_string_equal(hears(&l), "disconnect 95; ");
    assert_int_equal(l.party->conn, 0);
    assert_int_equal(events_of(b, EVENT_quota), 1);
}

/* ---- without memory ---- */

/* true: every step was done. */
static bool tells(struct bench *b, struct login *l)
{
    char text[SCRAM_MESSAGE_MAX];
    logs_in(b, l);
    const char *hello = hears(l);
    assert_true(hello[0] == '\0' || strcmp(hello, "connack 00; ") == 0 ||
                strcmp(hello, "connack 89; ") == 0);
    gives_auth(b, l, MQTT_REAUTHENTICATE, first_data(l, text));
    proves(b, l);
    const char *again = hears(l);
    assert_true(strstr(again, "87") == NULL && strstr(again, "86") == NULL); /* nothing was wrong */
    return l->party->conn != 0 && strstr(again, "auth") != NULL;
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    for (int by_token = 0; by_token < 2; by_token++) {
        bool failed = true;
        long at = 0;
        for (; failed; at++) {
            struct bench *b = bench_open();
            struct login l = {.by_token = by_token == 1};
            prepare(b, &l);
            (void)mem_fail_after(at);
            bool is_done = tells(b, &l);
            failed = mem_fail_after(-1) != 0;
            assert_true(is_done || failed);
            is_cut(b, l.party);
            settle(b);
            l.party->n = 0;
            logs_in(b, &l);
            assert_string_equal(hears(&l), "connack 00; ");
            bench_close(b);
        }
        assert_true(at > 8);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(no_packet_is_larger_than_the_client_takes),
        TEST(again_with_a_longer_nonce),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, make_signer, free_signer);
}

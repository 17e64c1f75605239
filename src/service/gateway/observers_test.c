/* What one observer costs: associations with an observation each, on the real door, engine and
 * worker, over a DTLS that is none. SALLYPORT_OBSERVERS says how many. What OpenSSL keeps for an
 * association comes on top: docs/FEATURES.md. */
#include <inttypes.h>

#include "service/gateway/door_bench_test.h"

enum {
    N_OBSERVERS = 5000,
    /* For each. Tables are fuller or emptier by how many there are: 100,000 lie near the worst, and
     * cost 75 more than 5,000. They shall fit into 200 MB with what a field or two may add. */
    BYTES_MAX = 1800,
    BYTES_OF_MANY_MAX = 1900,
    LEFT_MAX = 400,
    DOOR = 2,
    LIFETIME_MS = 300 * 1000 /* more than any answer is remembered */
};

struct crowd {
    struct dtls dtls;
    struct dtls_handler handler;
    struct dtls_counts counts;
    uint64_t n_answers, n_notified;
    uint64_t last_id;
};

static struct crowd crowd;

static void crowd_input(struct dtls *d, const struct net_peer *peer, struct slice datagram,
                        uint64_t now_ms)
{
    (void)d, (void)now_ms;
    crowd.handler.received(crowd.handler.ctx, peer->port, datagram);
}

static enum err crowd_send(struct dtls *d, uint64_t id, struct slice plain, uint64_t now_ms)
{
    struct coap_message m;
    uint32_t number = 0;
    (void)d, (void)now_ms;
    assert_int_equal(coap_message_decode(plain, 32, &m), OK);
    assert_int_equal(m.code, COAP_CONTENT);
    assert_true(coap_options_find_uint(m.options, COAP_OPTION_OBSERVE, &number));
    crowd.n_answers += m.type == COAP_ACK ? 1 : 0;
    crowd.n_notified += m.type != COAP_ACK ? 1 : 0;
    crowd.last_id = id;
    return OK;
}

static void crowd_close(struct dtls *d, uint64_t id)
{
    (void)d, (void)id;
}

static const struct dtls_ops crowd_ops = {.input = crowd_input,
                                          .send = crowd_send,
                                          .close = crowd_close,
                                          .info = fake_info,
                                          .deadline = fake_deadline,
                                          .tick = fake_tick,
                                          .turn_away = NULL,
                                          .counts = NULL,
                                          .free = fake_free};

static enum err open_crowd(void *ctx, const struct dtls_handler *handler, struct dtls **ret)
{
    (void)ctx;
    crowd = (struct crowd){.dtls.ops = &crowd_ops, .handler = *handler};
    *ret = &crowd.dtls;
    return OK;
}

static const char *name_of(uint64_t id, char text[32])
{
    (void)snprintf(text, 32, "meter-%06" PRIu64, id);
    return text;
}

/* What a device in the field has: it says its values and its state, and hears commands. */
static void add_role(struct fortress *f)
{
    struct role *r = NULL;
    assert_int_equal(policy_add_role(f->policy, slice_text("meter"), &r), OK);
    grant(r, POLICY_PUBLISH, "s/${device}/+", true, 2);
    grant(r, POLICY_PUBLISH, "status/${device}", false, 2);
    grant(r, POLICY_SUBSCRIBE, "commands/${device}", false, 2);
}

static void turn(struct fortress *f, struct coap_door *d, uint64_t ms)
{
    f->now_ms += ms;
    f->wall_ms += (int64_t)ms;
    turns(f);
    coap_door_turn(d, f->now_ms, f->wall_ms);
}

static void observe(struct fortress *f, struct coap_door *d, uint64_t id)
{
    char name[32], path[64];
    uint8_t bytes[DATAGRAM];
    struct net_peer peer = peer_of(id);
    struct dtls_info info = {.id = id,
                             .peer = peer,
                             .psk_identity = slice_text(name_of(id, name)),
                             .cipher = "PSK-TEST"};
    uint8_t key[PSK_KEY_MAX];
    size_t key_n = 0;
    assert_int_equal(crowd.handler.find_psk(crowd.handler.ctx, info.psk_identity, key, &key_n,
                                            &info.psk_credential),
                     OK);
    crowd.handler.opened(crowd.handler.ctx, &info);
    (void)snprintf(path, sizeof(path), "/mq/commands/%s", name);
    struct ask a = {ASK(COAP_CON, COAP_GET, path)};
    a.observe = 0;
    size_t n = build(f, &a, bytes, sizeof(bytes));
    coap_door_datagram(d, &peer, slice_of(bytes, n), f->now_ms);
    if (id % 16 == 0) {
        turn(f, d, 0);
    }
}

static void publish_to(struct fortress *f, struct coap_door *d, uint64_t id)
{
    char name[32], topic[64];
    (void)snprintf(topic, sizeof(topic), "commands/%s", name_of(id, name));
    mqtt_publish(f, topic, "on", false, NULL);
    f->mqtt.n = 0;
    turn(f, d, 10);
}

static void an_observer_is_small(void **state)
{
    struct fortress *f = *state;
    const char *wanted = getenv("SALLYPORT_OBSERVERS");
    uint64_t n = wanted != NULL ? strtoull(wanted, NULL, 10) : N_OBSERVERS;
    struct coap_door *d = NULL;
    char name[32];
    if (n < 100) { /* as many hear something in the end */
        n = N_OBSERVERS;
    }
    for (uint64_t id = 1; id <= n; id++) {
        add_device(f, name_of(id, name), "meter");
    }
    add_role(f);
    publish_realm(f);
    struct coap_door_setup setup = {.worker = f->workers[0],
                                    .index = DOOR,
                                    .entrance = &f->coaps,
                                    .limits = &f->limits,
                                    .key = {5, 6},
                                    .random = random_seeded(&f->seed),
                                    .counters = &f->counters[0],
                                    .ctx = &f->contexts[0],
                                    .open = open_crowd,
                                    .transmit = door_transmit,
                                    .event = worker_event};
    assert_int_equal(coap_door_new(&setup, f->now_ms, f->wall_ms, &d), OK);
    uint64_t before = mem_used();
    for (uint64_t id = 1; id <= n; id++) {
        observe(f, d, id);
    }
    turn(f, d, 0);
    assert_int_equal(coap_door_count(d), n);
    assert_int_equal(crowd.n_answers, n);
    uint64_t fresh = mem_used();
    turn(f, d, LIFETIME_MS);
    uint64_t at_rest = mem_used();
    print_message("%" PRIu64 " observers: %" PRIu64 " bytes each, %" PRIu64 " at rest\n", n,
                  (fresh - before) / n, (at_rest - before) / n);
    /* They are not just there: each hears what is its own. */
    mqtt_open(f, "desk");
    for (uint64_t i = 0; i < 100; i++) {
        uint64_t id = i * (n / 100) + 1;
        crowd.n_notified = 0;
        publish_to(f, d, id);
        assert_int_equal(crowd.n_notified, 1);
        assert_int_equal(crowd.last_id, id);
    }
    uint64_t most = n <= N_OBSERVERS ? BYTES_MAX : BYTES_OF_MANY_MAX;
    bool fits = fresh - before <= n * most && at_rest - before <= n * most;
    coap_door_free(d);
    pass(f, LIFETIME_MS);
    uint64_t left = mem_used() - before;
    print_message("%" PRIu64 " bytes each are left\n", left / n);
    assert_true(left <= n * LEFT_MAX); /* tables and accounts, which a new one uses */
    assert_true(fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_observer_is_small, fortress_open, fortress_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

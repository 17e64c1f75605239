/* The door from outside: requests of CoAP clients, an MQTT client on the other side, the
 * directory's changes in between. */
#include "service/gateway/door_bench_test.h"

static bool has_text(const struct coap_message *m, const char *text)
{
    return m->payload.n > 0 && memmem(m->payload.p, m->payload.n, text, strlen(text)) != NULL;
}

/* ---- one topic space ---- */

static void put_reaches_mqtt_and_back(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "s/#");
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 1, 2, "dev1"));
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t"), PAYLOAD("21.5")};
    put.format = COAP_FORMAT_JSON;
    struct coap_message m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_CREATED);
    assert_true(mqtt_has_seen(f, "21.5"));
    assert_true(mqtt_has_seen(f, "application/json"));
    m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_CHANGED);

    /* the other worker has it too */
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")};
    m = asks(f, 1, 2, &get);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(has_text(&m, "21.5"));
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_JSON);

    mqtt_publish(f, "commands/dev1", "open", true, "text/plain");
    struct ask read = {ASK(COAP_NON, COAP_GET, "/mq/commands/dev1")};
    m = asks(f, 0, 1, &read);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(m.type, COAP_NON);
    assert_true(has_text(&m, "open"));
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_TEXT);
    assert_non_null(find_event(f, EVENT_connect));
    assert_non_null(find_event(f, EVENT_allow));
}

static void post_is_not_retained_and_delete_clears(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "s/dev1/p");
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask post = {ASK(COAP_NON, COAP_POST, "/mq/s/dev1/p"), PAYLOAD("passing")};
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/p")};
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/p"), PAYLOAD("kept")};
    struct ask clear = {ASK(COAP_CON, COAP_DELETE, "/mq/s/dev1/p")};
    struct coap_message m = asks(f, 0, 1, &post);
    EXPECT_CODE(m, COAP_CHANGED);
    assert_true(mqtt_has_seen(f, "passing"));
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_NOT_FOUND);
    m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_CREATED);
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_CONTENT);
    m = asks(f, 0, 1, &clear);
    EXPECT_CODE(m, COAP_DELETED);
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_NOT_FOUND);
    m = asks(f, 0, 1, &clear);
    EXPECT_CODE(m, COAP_DELETED);
}

/* SPEC: RFC7252 5.2.2: the answer waits for the commit, the acknowledgement does not */
static void answer_waits_for_the_commit(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    f->log_stands = true;
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t"), PAYLOAD("1")};
    struct coap_message m = asks(f, 0, 1, &put);
    assert_int_equal(m.type, COAP_RST);
    pass(f, 600);
    m = next_sent(f, 0, 1);
    assert_int_equal(m.type, COAP_RST);
    f->log_stands = false;
    forget_sent(f);
    pass(f, 10);
    m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_CREATED);
    assert_int_equal(m.type, COAP_CON); /* a separate response */
}

static void etag_accept_and_age(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t"), PAYLOAD("1")};
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")};
    put.max_age = 30;
    put.format = COAP_FORMAT_CBOR;
    struct coap_message m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_CREATED);
    pass(f, 10000);
    m = asks(f, 0, 1, &get);
    assert_int_equal(option_of(&m, COAP_OPTION_MAX_AGE), 20);
    struct slice etag;
    uint8_t kept[8];
    assert_true(coap_options_find(m.options, COAP_OPTION_ETAG, &etag));
    assert_int_equal(etag.n, sizeof(kept));
    memcpy(kept, etag.p, sizeof(kept));
    get.etag = slice_of(kept, sizeof(kept));
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_VALID);
    assert_int_equal(m.payload.n, 0);
    put.payload = slice_text("2");
    m = asks(f, 0, 1, &put);
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_CONTENT);
    get.accept = COAP_FORMAT_JSON;
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_NOT_ACCEPTABLE);
    get.accept = COAP_FORMAT_CBOR;
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_CONTENT);
    pass(f, 31000);
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_NOT_FOUND);
}

static void no_response_is_honoured(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask put = {ASK(COAP_NON, COAP_PUT, "/mq/s/dev1/t"), PAYLOAD("1")};
    put.no_response = 2;
    struct coap_message m = asks(f, 0, 1, &put);
    assert_int_equal(m.type, COAP_RST);
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")};
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_CONTENT);
}

/* ---- refusals ---- */

struct refusal {
    const char *name, *who;
    struct ask ask;
    uint8_t code;
    enum event_category category;
};

#define DENY(t, c, p)                                                                              \
    {                                                                                              \
        ASK(t, c, p), PAYLOAD("x")                                                                 \
    }

static const struct refusal refusals[] = {
    {"publish outside the grant", "dev1", DENY(COAP_CON, COAP_PUT, "/mq/s/dev2/t"), COAP_FORBIDDEN,
     EVENT_acl_deny},
    {"retain without the grant", "dev1", DENY(COAP_CON, COAP_PUT, "/mq/status/dev1"),
     COAP_FORBIDDEN, EVENT_acl_deny},
    {"clear without the grant", "dev1", DENY(COAP_CON, COAP_DELETE, "/mq/status/dev1"),
     COAP_FORBIDDEN, EVENT_acl_deny},
    {"QoS 1 where 0 is granted", "dev1", DENY(COAP_CON, COAP_PUT, "/mq/low/dev1"), COAP_FORBIDDEN,
     EVENT_acl_deny},
    {"read outside the grant", "dev1", DENY(COAP_CON, COAP_GET, "/mq/commands/dev2"),
     COAP_FORBIDDEN, EVENT_acl_deny},
    {"a role that grants nothing", "mute", DENY(COAP_CON, COAP_GET, "/mq/a"), COAP_FORBIDDEN,
     EVENT_acl_deny},
    {"a resource without a grant", "dev1", DENY(COAP_CON, COAP_GET, "/secret"), COAP_FORBIDDEN,
     EVENT_acl_deny},
    {"a method without a grant", "dev1", DENY(COAP_CON, COAP_PUT, "/fw/x"), COAP_FORBIDDEN,
     EVENT_acl_deny},
    {"no path", "dev1", DENY(COAP_CON, COAP_GET, "/"), COAP_FORBIDDEN, EVENT_acl_deny},
    {"a server topic", "desk", DENY(COAP_CON, COAP_GET, "/mq/$SYS/x"), COAP_BAD_REQUEST,
     EVENT_acl_deny},
    {"publish to a server topic", "desk", DENY(COAP_CON, COAP_PUT, "/mq/$SYS/x"), COAP_BAD_REQUEST,
     EVENT_acl_deny},
    {"a plus", "desk", DENY(COAP_CON, COAP_PUT, "/mq/a/+"), COAP_BAD_REQUEST, EVENT_malformed},
    {"a hash", "desk", DENY(COAP_CON, COAP_GET, "/mq/%23"), COAP_BAD_REQUEST, EVENT_malformed},
    {"a separator inside a level", "desk", DENY(COAP_CON, COAP_PUT, "/mq/a%2Fb"), COAP_BAD_REQUEST,
     EVENT_malformed},
    {"a separator inside a resource", "dev1", DENY(COAP_CON, COAP_GET, "/fw%2Fx"), COAP_BAD_REQUEST,
     EVENT_malformed},
    {"an empty first level", "desk", DENY(COAP_CON, COAP_PUT, "/mq//a"), COAP_BAD_REQUEST,
     EVENT_malformed},
    {"no topic", "desk", DENY(COAP_CON, COAP_PUT, "/mq"), COAP_BAD_REQUEST, EVENT_malformed},
    {"too many levels", "desk",
     DENY(COAP_CON, COAP_PUT, "/mq/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17"), COAP_BAD_REQUEST,
     EVENT_quota},
    {"broken UTF-8", "desk", DENY(COAP_CON, COAP_PUT, "/mq/%FF"), COAP_BAD_OPTION, EVENT_utf8},
    {"a NUL", "desk", DENY(COAP_CON, COAP_PUT, "/mq/a%00"), COAP_BAD_OPTION, EVENT_utf8},
    {"an unknown method", "desk", DENY(COAP_CON, COAP_IPATCH + 1, "/mq/a"), COAP_METHOD_NOT_ALLOWED,
     EVENT_protocol_error},
    {"a list that is put", "desk", DENY(COAP_CON, COAP_PUT, "/.well-known/core"),
     COAP_METHOD_NOT_ALLOWED, EVENT_protocol_error},
    {"an empty value",
     "desk",
     {ASK(COAP_CON, COAP_PUT, "/mq/a")},
     COAP_BAD_REQUEST,
     EVENT_protocol_error},
};

static void refusals_have_a_code_and_an_event(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "desk"));
    assert_true(link_device(f, 0, 3, "mute"));
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        const struct refusal *r = &refusals[i];
        uint64_t id = strcmp(r->who, "dev1") == 0 ? 1 : (strcmp(r->who, "desk") == 0 ? 2 : 3);
        size_t before = f->n_events;
        struct coap_message m = asks(f, 0, id, &r->ask);
        if (m.code != r->code || f->n_events != before + 1 ||
            f->events[before].category != r->category) {
            fail_msg("%s: code %02x, %zu events, %s: %s", r->name, m.code, f->n_events - before,
                     event_category_name(f->events[before].category), f->events[before].reason);
        }
        assert_string_equal(f->events[before].principal, r->who);
        assert_string_equal(f->events[before].listener, "coaps");
        assert_true(strlen(f->events[before].peer) > 0 && strlen(f->events[before].reason) > 0);
    }
    struct ask exists = {ASK(COAP_CON, COAP_GET, "/fw/x")};
    struct coap_message m = asks(f, 0, 1, &exists);
    EXPECT_CODE(m, COAP_NOT_FOUND); /* permitted, but not there */
}

static void empty_levels_are_levels(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_publish(f, "empty//level/", "hollow", true, NULL);
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/empty//level/")};
    struct coap_message m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(has_text(&m, "hollow"));
}

static void text_must_be_text(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t"), PAYLOAD("\xC3\x28")};
    put.format = COAP_FORMAT_TEXT;
    struct coap_message m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_BAD_REQUEST);
    assert_int_equal(count_events(f, EVENT_utf8), 1);
    put.format = COAP_FORMAT_OCTETS;
    m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_CREATED);
}

static void rate_and_size_are_bounded(void **state)
{
    struct fortress *f = *state;
    static const uint8_t large[601];
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t")};
    put.payload = slice_of(large, sizeof(large));
    struct coap_message m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_REQUEST_TOO_LARGE);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE1), 600);
    put.payload = slice_of(large, 600);
    m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_CREATED);
    put.payload = slice_text("1");
    for (int i = 0; i < 39; i++) {
        m = asks(f, 0, 1, &put);
        EXPECT_CODE(m, COAP_CHANGED);
    }
    m = asks(f, 0, 1, &put);
    EXPECT_CODE(m, COAP_TOO_MANY_REQUESTS);
    assert_true(option_of(&m, COAP_OPTION_MAX_AGE) >= 1);
    assert_non_null(find_event(f, EVENT_rate));
    assert_int_equal(count_events(f, EVENT_quota), 1);
}

/* ---- observing ---- */

static void observe_follows_the_topic(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    assert_true(link_device(f, 1, 1, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    watch.observe = 0;
    struct coap_message m = asks(f, 1, 1, &watch);
    EXPECT_CODE(m, COAP_CONTENT); /* nothing yet: empty, and registered */
    assert_int_equal(m.payload.n, 0);
    uint32_t first = option_of(&m, COAP_OPTION_OBSERVE);
    assert_true(first != UINT32_MAX);
    watch.token = 2;
    m = asks(f, 1, 1, &watch);
    EXPECT_CODE(m, COAP_CONTENT);

    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "passing", false, NULL);
    m = next_sent(f, 1, 1);
    assert_true(has_text(&m, "passing"));
    assert_true(option_of(&m, COAP_OPTION_OBSERVE) > first);
    m = next_sent(f, 1, 1); /* the other token */
    assert_true(has_text(&m, "passing"));
    m = next_sent(f, 1, 1);
    assert_int_equal(m.type, COAP_RST);

    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "kept", true, NULL);
    m = next_sent(f, 1, 1);
    assert_true(has_text(&m, "kept"));
    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "", true, NULL);
    m = next_sent(f, 1, 1); /* cleared: an empty value, the observation lives */
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(m.payload.n, 0);
    assert_true(option_of(&m, COAP_OPTION_OBSERVE) != UINT32_MAX);
    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "again", false, NULL);
    m = next_sent(f, 1, 1);
    assert_true(has_text(&m, "again"));

    /* both tokens cancel: the subscription ends */
    assert_int_equal(atomic_load(&f->counters[1].subscriptions), 1);
    watch.observe = 1;
    m = asks(f, 1, 1, &watch);
    EXPECT_CODE(m, COAP_NOT_FOUND);
    assert_int_equal(atomic_load(&f->counters[1].subscriptions), 1);
    watch.token = 1;
    m = asks(f, 1, 1, &watch);
    assert_int_equal(atomic_load(&f->counters[1].subscriptions), 0);
}

static void observations_are_bounded(void **state)
{
    struct fortress *f = *state;
    static const char *const topics[] = {"/mq/s/dev1/a", "/mq/s/dev1/b", "/mq/s/dev1/c",
                                         "/mq/s/dev1/d"};
    assert_true(link_device(f, 0, 1, "dev1"));
    struct coap_message m = {.code = 0};
    for (size_t i = 0; i < COUNT_OF(topics); i++) {
        struct ask watch = {ASK(COAP_CON, COAP_GET, topics[i])};
        watch.observe = 0;
        watch.token = (uint8_t)(10 + i);
        m = asks(f, 0, 1, &watch);
        EXPECT_CODE(m, i < 3 ? COAP_CONTENT : COAP_TOO_MANY_REQUESTS);
    }
    /* a token that moves to another topic gives its place back */
    struct ask moved = {ASK(COAP_CON, COAP_GET, topics[1])};
    moved.observe = 0;
    moved.token = 10;
    m = asks(f, 0, 1, &moved);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 2);
    coap_door_drain(f->doors[0], f->now_ms);
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
    assert_int_equal(coap_door_count(f->doors[0]), 0);
    assert_int_equal(count_events(f, EVENT_disconnect), 1);
}

/* A Reset to a notification ends it. SPEC: RFC7641 3.6 */
static void reset_ends_an_observation(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    watch.observe = 0;
    struct coap_message m = asks(f, 0, 1, &watch);
    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "one", false, NULL);
    m = next_sent(f, 0, 1);
    assert_true(has_text(&m, "one"));
    uint8_t reset[4] = {0x70, 0, (uint8_t)(m.mid >> 8), (uint8_t)m.mid};
    struct net_peer peer = peer_of(1);
    coap_door_datagram(f->doors[0], &peer, slice_of(reset, sizeof(reset)), f->now_ms);
    turns(f);
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
}

/* A notification that is never acknowledged: sent a few times, and then the observation is over,
 * not tried with the next message; who else looks on gets all. SPEC: RFC7641 4.5 */
static void a_silent_observer_ends(void **state)
{
    struct fortress *f = *state;
    enum { ROUNDS_MAX = 400, SENT_AT_MOST = 5 };
    mqtt_open(f, "desk");
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    watch.observe = 0;
    struct coap_message m = asks(f, 0, 1, &watch);
    EXPECT_CODE(m, COAP_CONTENT);
    size_t n = 0, rounds = 0;
    forget_sent(f);
    while (atomic_load(&f->counters[0].subscriptions) > 0 && rounds < ROUNDS_MAX) {
        if (rounds++ % 4 == 0) {
            mqtt_publish(f, "commands/dev1", "poison", false, NULL);
        }
        while ((m = next_sent(f, 0, 1)).type != COAP_RST) {
            n += m.type == COAP_CON ? 1 : 0; /* every few notifications, one is */
        }
        forget_sent(f);
        pass(f, 1000);
    }
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
    assert_in_range(n, 2, SENT_AT_MOST);
    mqtt_publish(f, "commands/dev1", "after", false, NULL);
    assert_int_equal(next_sent(f, 0, 1).type, COAP_RST); /* nothing any more */
}

/* ---- the directory and the policy in time ---- */

static void revoking_closes(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "dev2"));
    assert_int_equal(atomic_load(&f->counters[0].connections_coap), 2);
    assert_int_equal(directory_revoke(f->directory, slice_text("dev1"), slice_text("lost")), OK);
    publish_realm(f);
    assert_false(f->fakes[0].open[1]);
    assert_true(f->fakes[0].open[2]);
    assert_int_equal(count_events(f, EVENT_revoked), 1);
    assert_int_equal(count_events(f, EVENT_disconnect), 1);
    assert_int_equal(atomic_load(&f->counters[0].connections_coap), 1);
    assert_false(link_device(f, 0, 3, "dev1"));
    assert_int_equal(count_events(f, EVENT_revoked), 2);
    assert_non_null(strstr(find_event(f, EVENT_revoked)->reason, "lost"));
    assert_int_equal(directory_remove(f->directory, slice_text("dev2")), OK);
    publish_realm(f);
    assert_false(f->fakes[0].open[2]);
    assert_int_equal(coap_door_count(f->doors[0]), 0);
}

static void rotating_ends_the_old_key(void **state)
{
    struct fortress *f = *state;
    static const char next[] = "Zk3vQ8mT1xWr7bLpH5nC9dYs2fGjKaUe";
    struct directory_secret s = {.kind = CREDENTIAL_PSK,
                                 .expires_wall_ms = CREDENTIAL_NEVER,
                                 .psk = slice_of(next, sizeof(next) - 1)};
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_int_equal(
        directory_rotate(f->directory, slice_text("dev1"), &s, 60000, f->wall_ms, NULL), OK);
    publish_realm(f);
    assert_true(f->fakes[0].open[1]);
    /* both keys are good, the newer one at once, the older one at the second try */
    assert_true(link_psk(f, 0, 2, "dev1", s.psk));
    assert_false(link_device(f, 0, 3, "dev1"));
    assert_true(link_device(f, 0, 4, "dev1"));
    pass(f, 61000);
    assert_false(f->fakes[0].open[1]);
    assert_false(f->fakes[0].open[4]);
    assert_true(f->fakes[0].open[2]);
    assert_false(link_device(f, 0, 5, "dev1"));
    assert_true(link_psk(f, 0, 6, "dev1", s.psk));
}

static void a_narrower_policy_ends_observations(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    watch.observe = 0;
    struct coap_message m = asks(f, 0, 1, &watch);
    EXPECT_CODE(m, COAP_CONTENT);
    struct ask own = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")};
    own.observe = 0;
    own.token = 2;
    m = asks(f, 0, 1, &own);
    EXPECT_CODE(m, COAP_CONTENT);
    policy_unref(f->policy);
    f->policy = make_policy(true);
    uint64_t epoch;
    assert_int_equal(directory_policy_changed(f->directory, &epoch), OK);
    forget_sent(f);
    publish_realm(f);
    m = next_sent(f, 0, 1);
    EXPECT_CODE(m, COAP_FORBIDDEN);
    assert_true(f->fakes[0].open[1]);
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 1);
    assert_int_equal(count_events(f, EVENT_acl_deny), 1);
    forget_sent(f);
    mqtt_publish(f, "commands/dev1", "secret", false, NULL);
    m = next_sent(f, 0, 1);
    assert_int_equal(m.type, COAP_RST);
    m = asks(f, 0, 1, &watch);
    EXPECT_CODE(m, COAP_FORBIDDEN);
}

static void strangers_are_refused(void **state)
{
    struct fortress *f = *state;
    assert_false(link_psk(f, 0, 1, "ghost", slice_text("0123456789abcdef")));
    assert_int_equal(count_events(f, EVENT_auth_fail), 1);
    assert_false(link_psk(f, 0, 2, "dev1", slice_text("0123456789abcdef")));
    assert_int_equal(count_events(f, EVENT_auth_fail), 2);
    struct net_peer peer = peer_of(3);
    f->fakes[0].handler.failed(f->fakes[0].handler.ctx, &peer, DTLS_FAILED_CERTIFICATE,
                               (struct slice){0}, &(struct tls_refusal){.text = "unknown CA"});
    assert_int_equal(count_events(f, EVENT_tls_reject), 1);
    /* a certificate that is none */
    struct dtls_info info = {.id = 4, .peer = peer, .peer_cert = slice_text("x"), .cipher = "T"};
    f->fakes[0].open[4] = true;
    f->fakes[0].handler.opened(f->fakes[0].handler.ctx, &info);
    assert_false(f->fakes[0].open[4]);
    assert_int_equal(count_events(f, EVENT_identity_mismatch), 1);
    assert_int_equal(coap_door_count(f->doors[0]), 0);
    assert_int_equal(atomic_load(&f->counters[0].handshakes_failed), 3);
    assert_null(find_event(f, EVENT_connect));
    f->coaps.auth_psk = false;
    assert_false(link_device(f, 0, 5, "dev1"));
    assert_int_equal(count_events(f, EVENT_auth_fail), 3);
}

/* Nobody has proven the address of a datagram: it gets no answer, and a flood is one event. */
static void coap_without_dtls_is_told_once_a_second(void **state)
{
    struct fortress *f = *state;
    static const uint8_t get[] = {0x40, 0x01, 0x12, 0x34};
    struct net_peer peer = peer_of(9);
    const struct dtls_handler *h = &f->fakes[0].handler;
    for (int i = 0; i < 100; i++) {
        h->foreign(h->ctx, &peer, slice_of(get, sizeof get));
    }
    assert_int_equal(count_events(f, EVENT_tls_reject), 1);
    coap_door_turn(f->doors[0], f->now_ms + 1000, f->wall_ms);
    h->foreign(h->ctx, &peer, slice_of(get, sizeof get));
    assert_int_equal(count_events(f, EVENT_tls_reject), 2);
    coap_door_turn(f->doors[0], f->now_ms + 3000, f->wall_ms);
    h->foreign(h->ctx, &peer, slice_of(get, 3));
    h->foreign(h->ctx, &peer, slice_of("\x16\xfe\xfd\x00", 4));
    assert_int_equal(count_events(f, EVENT_tls_reject), 2);
}

static void idle_associations_end(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    turns(f);
    assert_true(coap_door_deadline(f->doors[0]) <= f->now_ms + COAP_DOOR_IDLE_MS);
    pass(f, COAP_DOOR_IDLE_MS - 1000);
    assert_true(f->fakes[0].open[1]);
    pass(f, 1000);
    assert_false(f->fakes[0].open[1]);
    assert_int_equal(count_events(f, EVENT_disconnect), 1);
}

static void broken_datagrams_leave_a_trace(void **state)
{
    struct fortress *f = *state;
    static const uint8_t broken[] = {0x4D, 0x01, 0x00, 0x01};
    struct net_peer peer = peer_of(1);
    assert_true(link_device(f, 0, 1, "dev1"));
    coap_door_datagram(f->doors[0], &peer, slice_of(broken, sizeof(broken)), f->now_ms);
    assert_int_equal(count_events(f, EVENT_malformed), 1);
    assert_true(f->fakes[0].open[1]);
}

/* ---- what there is ---- */

static void the_list_is_the_principals(void **state)
{
    struct fortress *f = *state;
    mqtt_open(f, "desk");
    mqtt_publish(f, "s/dev1/room one", "x", true, "application/cbor");
    mqtt_publish(f, "s/dev2/hidden", "x", true, NULL);
    assert_true(link_device(f, 0, 1, "dev1"));
    assert_true(link_device(f, 0, 2, "mute"));
    struct ask list = {ASK(COAP_CON, COAP_GET, "/.well-known/core")};
    struct coap_message m = asks(f, 0, 1, &list);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_LINK);
    assert_true(has_text(&m, "</.well-known/core>;ct=40"));
    assert_true(has_text(&m, "</mq/commands/dev1>;rt=\"sallyport.topic\";if=\"sub\";obs"));
    assert_true(has_text(&m, "</mq/status/dev1>;rt=\"sallyport.topic\";if=\"pub\""));
    assert_true(
        has_text(&m, "</mq/s/dev1/room%20one>;rt=\"sallyport.topic\";if=\"sub pub\";ct=60"));
    assert_true(has_text(&m, "</mq/s/dev1/fixed>"));
    assert_false(has_text(&m, "dev2"));
    list.query = "href=/mq/comm*";
    m = asks(f, 0, 1, &list);
    assert_true(m.payload.n > 0 && m.payload.p[0] == '<');
    assert_true(has_text(&m, "commands") && !has_text(&m, "status"));
    list.query = "rt=other";
    m = asks(f, 0, 1, &list);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(m.payload.n, 0);
    list.query = NULL;
    m = asks(f, 0, 2, &list);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_false(has_text(&m, "/mq"));
}

/* ---- lack of memory ---- */

static void use_everything(struct fortress *f)
{
    static const struct ask asked[] = {
        {ASK(COAP_CON, COAP_PUT, "/mq/s/dev1/t"), PAYLOAD("1")},
        {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")},
        {ASK(COAP_NON, COAP_POST, "/mq/s/dev1/t"), PAYLOAD("2")},
        {ASK(COAP_CON, COAP_DELETE, "/mq/s/dev1/t")},
        {ASK(COAP_CON, COAP_GET, "/.well-known/core")},
        {ASK(COAP_CON, COAP_GET, "/mq/secret")},
    };
    if (!link_device(f, 0, 1, "dev1")) {
        return;
    }
    struct ask watch = {ASK(COAP_CON, COAP_GET, "/mq/s/dev1/t")};
    watch.observe = 0;
    watch.token = 9;
    send_ask(f, 0, 1, &watch);
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        send_ask(f, 0, 1, &asked[i]);
    }
    pass(f, 3000);
}

static void every_allocation_may_fail(void **state)
{
    struct fortress *f = *state;
    long n = 0;
    bool failed = true;
    for (; failed; n++) {
        (void)mem_fail_after(n);
        use_everything(f);
        failed = mem_fail_after(-1) != 0;
        if (f->fakes[0].open[1]) {
            f->fakes[0].handler.closed(f->fakes[0].handler.ctx, 1, OK);
        }
        turns(f);
        forget_sent(f);
        assert_int_equal(coap_door_count(f->doors[0]), 0);
        assert_int_equal(atomic_load(&f->counters[0].connections_coap), 0);
        assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
        f->n_events = 0;
        f->now_ms += 60000; /* the rate of connections recovers */
    }
    assert_true(n > 20);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_reaches_mqtt_and_back),
        TEST(post_is_not_retained_and_delete_clears),
        TEST(answer_waits_for_the_commit),
        TEST(etag_accept_and_age),
        TEST(no_response_is_honoured),
        TEST(refusals_have_a_code_and_an_event),
        TEST(empty_levels_are_levels),
        TEST(text_must_be_text),
        TEST(rate_and_size_are_bounded),
        TEST(observe_follows_the_topic),
        TEST(observations_are_bounded),
        TEST(reset_ends_an_observation),
        TEST(a_silent_observer_ends),
        TEST(revoking_closes),
        TEST(rotating_ends_the_old_key),
        TEST(a_narrower_policy_ends_observations),
        TEST(strangers_are_refused),
        TEST(idle_associations_end),
        TEST(coap_without_dtls_is_told_once_a_second),
        TEST(broken_datagrams_leave_a_trace),
        TEST(the_list_is_the_principals),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

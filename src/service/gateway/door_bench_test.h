/*
 * door_bench_test - two workers, each with a CoAP door on a DTLS that is none (fake_dtls_test.h), a
 * directory, a policy, and an MQTT client: what the tests of the door stand on.
 */
#ifndef SERVICE_GATEWAY_DOOR_BENCH_TEST_H
#define SERVICE_GATEWAY_DOOR_BENCH_TEST_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "service/broker/ceiling.h"
#include "service/directory/directory.h"
#include "service/gateway/coap_door.h"
#include "service/gateway/fake_dtls_test.h"
#include "store/memlog.h"
#include "wire/coap/uri.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/subscribe.h"

enum { WORKERS = 2, EVENTS_MAX = 256 };
#define WALL INT64_C(1795000000000)

/* ---- everything ---- */

struct mqtt_peer {
    unsigned worker;
    uint64_t conn; /* 0: gone */
    uint8_t bytes[8192];
    size_t n;
};

struct fortress;

struct driver_ctx {
    struct fortress *f;
    unsigned index;
};

struct fortress {
    struct driver_ctx contexts[WORKERS];
    struct directory *directory;
    struct policy *policy;
    const struct realm *realm;
    struct limits limits;
    struct ceiling ceiling; /* none, until a test says its bytes */
    struct memlog *log;
    bool log_stands; /* nothing is committed */
    struct ring rings[WORKERS][WORKERS], service[WORKERS];
    struct ring *to[WORKERS][WORKERS], *from[WORKERS][WORKERS + 1];
    _Atomic uint64_t number;
    struct counters counters[WORKERS];
    struct worker *workers[WORKERS];
    struct entrance mqtts, coaps;
    struct fake fakes[WORKERS];
    struct coap_door *doors[WORKERS];
    struct mqtt_peer mqtt;
    uint64_t now_ms, seed;
    int64_t wall_ms;
    struct event events[EVENTS_MAX];
    size_t n_events;
    uint16_t mid;
};

static void depart(void *ctx, void *transport)
{
    struct mqtt_peer *p = transport;
    (void)ctx;
    p->conn = 0;
}

static enum err arrive(void *ctx, void *transport, uint64_t conn)
{
    struct driver_ctx *d = ctx;
    struct mqtt_peer *p = transport;
    p->conn = conn;
    p->worker = d->index;
    return OK;
}

static void discard(void *ctx, void *transport)
{
    struct mqtt_peer *p = transport;
    (void)ctx;
    p->conn = 0;
}

static enum err verify(void *ctx, struct verified *v)
{
    (void)ctx;
    verified_free(v);
    return ERR_AGAIN;
}

static void keep_event(struct fortress *f, const struct event *e)
{
    if (f->n_events < EVENTS_MAX) {
        f->events[f->n_events++] = *e;
    }
}

static void worker_event(void *ctx, const struct event *e)
{
    keep_event(((struct driver_ctx *)ctx)->f, e);
}

static void door_transmit(void *ctx, const struct net_peer *to, struct slice datagram)
{
    (void)ctx, (void)to, (void)datagram;
}

static enum err open_fake(void *ctx, const struct dtls_handler *handler, struct dtls **ret)
{
    struct driver_ctx *d = ctx;
    struct fake *k = &d->f->fakes[d->index];
    *k = (struct fake){.dtls.ops = &fake_ops, .handler = *handler};
    *ret = &k->dtls;
    return OK;
}

/* A key that only this name has. */
static struct slice psk_of(const char *name, char text[DIGEST_HEX_BYTES])
{
    struct digest d;
    assert_int_equal(digest_hmac(slice_text("psk"), slice_text(name), &d), OK);
    digest_hex(&d, text);
    return slice_text(text);
}

static void spki_of(const char *name, struct digest *ret)
{
    assert_int_equal(digest_sha256(slice_text(name), ret), OK);
}

static void add_device_of(struct fortress *f, const char *name, const char *role,
                          const struct principal_attr *attrs, size_t n_attrs)
{
    char text[DIGEST_HEX_BYTES];
    uint64_t id;
    struct why why = {.text = ""};
    struct directory_secret secrets[2] = {
        {.kind = CREDENTIAL_PSK, .expires_wall_ms = CREDENTIAL_NEVER, .psk = psk_of(name, text)},
        {.kind = CREDENTIAL_X509, .expires_wall_ms = CREDENTIAL_NEVER}};
    spki_of(name, &secrets[1].spki);
    struct directory_order o = {.name = slice_text(name),
                                .role = slice_text(role),
                                .attrs = attrs,
                                .n_attrs = n_attrs,
                                .secrets = secrets,
                                .n_secrets = 2};
    enum err err = directory_add(f->directory, &o, WALL, &id, &why);
    if (err != OK) {
        fail_msg("%s: %s %s", name, err_name(err), why.text);
    }
}

static void add_device(struct fortress *f, const char *name, const char *role)
{
    add_device_of(f, name, role, NULL, 0);
}

static void grant(struct role *r, enum policy_action action, const char *filter, bool retain,
                  uint8_t qos)
{
    assert_int_equal(role_add_topic(r, action, slice_text(filter), retain, qos, 1), OK);
}

static struct policy *make_policy(bool narrow)
{
    struct policy *p = NULL;
    struct role *r = NULL;
    assert_int_equal(policy_new(&p), OK);
    assert_int_equal(policy_add_role(p, slice_text("sensor"), &r), OK);
    grant(r, POLICY_PUBLISH, "s/${device}/+", true, 2);
    grant(r, POLICY_PUBLISH, "status/${device}", false, 2);
    grant(r, POLICY_PUBLISH, "low/${device}", true, 0);
    grant(r, POLICY_PUBLISH, "s/${device}/fixed", true, 2);
    grant(r, POLICY_SUBSCRIBE, "s/${device}/#", false, 2);
    grant(r, POLICY_PUBLISH, "guarded/${device}/#", true, 2);
    grant(r, POLICY_PUBLISH, "guarded/${device}/valve", true, 2);
    role_set_freshness(r, 10);
    grant(r, POLICY_SUBSCRIBE, "empty/+/level/#", false, 2);
    if (!narrow) {
        grant(r, POLICY_SUBSCRIBE, "commands/${device}", false, 2);
    }
    assert_int_equal(role_add_resource(r, slice_text("/fw/+"), METHOD_GET, 1), OK);
    role_limits(r)->publish_burst = 40;
    role_limits(r)->publish_rate = 1;
    role_limits(r)->retained_bytes = 600;
    role_limits(r)->subscriptions = 3;
    assert_int_equal(policy_add_role(p, slice_text("console"), &r), OK);
    grant(r, POLICY_PUBLISH, "#", true, 2);
    grant(r, POLICY_SUBSCRIBE, "#", false, 2);
    if (!narrow) {
        grant(r, POLICY_PUBLISH, "$coap/#", false, 2);
    }
    assert_int_equal(policy_add_role(p, slice_text("nobody"), &r), OK);
    return p;
}

static void make_realm(struct fortress *f)
{
    const struct directory_version *v = directory_current(f->directory);
    const struct realm *realm = NULL;
    assert_int_equal(realm_new(v, f->policy, &realm), OK);
    directory_version_unref(v);
    realm_unref(f->realm);
    f->realm = realm;
}

/* ---- time ---- */

static void mqtt_drain(struct fortress *f)
{
    struct mqtt_peer *p = &f->mqtt;
    if (p->conn != 0) {
        p->n += worker_output(f->workers[p->worker], p->conn, p->bytes + p->n,
                              sizeof(p->bytes) - p->n, NULL, f->now_ms);
    }
}

static void turns(struct fortress *f)
{
    for (int round = 0; round < 6; round++) {
        if (!f->log_stands) {
            (void)memlog_commit(f->log);
        }
        for (unsigned i = 0; i < WORKERS; i++) {
            worker_turn(f->workers[i], f->now_ms, f->wall_ms);
            coap_door_turn(f->doors[i], f->now_ms, f->wall_ms);
            while (worker_next_dirty(f->workers[i]) != 0) {
            }
        }
        mqtt_drain(f);
    }
}

static inline void pass(struct fortress *f, uint64_t ms)
{
    f->now_ms += ms;
    f->wall_ms += (int64_t)ms;
    turns(f);
}

/* The directory has changed, or the policy: all workers learn of it. */
static inline void publish_realm(struct fortress *f)
{
    make_realm(f);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct wmsg m = {.kind = WMSG_REALM, .realm = realm_ref(f->realm)};
        assert_int_equal(ring_push(&f->service[i], &m), OK);
    }
    turns(f);
}

/* ---- birth and end ---- */

static void fortress_open_workers(struct fortress *f)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned j = 0; j < WORKERS; j++) {
            assert_int_equal(ring_init(&f->rings[i][j], sizeof(struct wmsg), 64), OK);
            f->to[i][j] = i == j ? NULL : &f->rings[i][j];
            f->from[j][i] = i == j ? NULL : &f->rings[i][j];
        }
        assert_int_equal(ring_init(&f->service[i], sizeof(struct wmsg), 16), OK);
        f->from[i][WORKERS] = &f->service[i];
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        f->contexts[i] = (struct driver_ctx){f, i};
        struct worker_setup s = {.index = i,
                                 .n_workers = WORKERS,
                                 .limits = &f->limits,
                                 .ceiling = &f->ceiling,
                                 .key = {1, 2},
                                 .random = random_seeded(&f->seed),
                                 .journal = memlog_writer(f->log, i),
                                 .to = f->to[i],
                                 .from = f->from[i],
                                 .n_from = WORKERS + 1,
                                 .retained_counter = &f->number,
                                 .counters = &f->counters[i],
                                 .realm = f->realm,
                                 .driver = {.ctx = &f->contexts[i],
                                            .depart = depart,
                                            .arrive = arrive,
                                            .discard = discard,
                                            .verify = verify,
                                            .event = worker_event}};
        assert_int_equal(worker_new(&s, f->now_ms, f->wall_ms, &f->workers[i]), OK);
        struct coap_door_setup d = {.worker = f->workers[i],
                                    .index = i, /* any */
                                    .entrance = &f->coaps,
                                    .limits = &f->limits,
                                    .key = {3, 4},
                                    .random = random_seeded(&f->seed),
                                    .counters = &f->counters[i],
                                    .ctx = &f->contexts[i],
                                    .open = open_fake,
                                    .transmit = door_transmit,
                                    .event = worker_event};
        assert_int_equal(coap_door_new(&d, f->now_ms, f->wall_ms, &f->doors[i]), OK);
    }
}

static int fortress_open(void **state)
{
    struct fortress *f = mem_zalloc(sizeof(*f));
    assert_non_null(f);
    const struct directory_setup setup = {.random = random_system()};
    assert_int_equal(directory_create(&setup, &f->directory), OK);
    add_device(f, "dev1", "sensor");
    add_device(f, "dev2", "sensor");
    add_device(f, "desk", "console");
    add_device(f, "mute", "nobody");
    f->policy = make_policy(false);
    f->limits = (struct limits)LIMITS_DEFAULT;
    f->now_ms = 1000;
    f->wall_ms = WALL;
    f->seed = 7;
    f->mid = 100;
    f->mqtts =
        (struct entrance){.name = "mqtts", .protocol = EVENT_PROTOCOL_mqtt, .auth_x509 = true};
    f->coaps = (struct entrance){
        .name = "coaps", .protocol = EVENT_PROTOCOL_coap, .auth_x509 = true, .auth_psk = true};
    make_realm(f);
    assert_int_equal(memlog_new(WORKERS, &f->log), OK);
    fortress_open_workers(f);
    *state = f;
    return 0;
}

static int fortress_close(void **state)
{
    struct fortress *f = *state;
    if (f->mqtt.conn != 0) {
        worker_gone(f->workers[f->mqtt.worker], f->mqtt.conn, "the test ends", f->now_ms);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        coap_door_free(f->doors[i]);
        worker_free(f->workers[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        struct wmsg m;
        for (unsigned j = 0; j <= WORKERS; j++) {
            while (f->from[i][j] != NULL && ring_pop(f->from[i][j], &m)) {
                wmsg_done(&m);
            }
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned j = 0; j < WORKERS; j++) {
            ring_done(&f->rings[i][j]);
        }
        ring_done(&f->service[i]);
    }
    memlog_free(f->log);
    realm_unref(f->realm);
    policy_unref(f->policy);
    directory_free(f->directory);
    mem_free(f);
    return 0;
}

/* ---- events ---- */

static inline const struct event *find_event(const struct fortress *f, enum event_category c)
{
    for (size_t i = f->n_events; i > 0; i--) {
        if (f->events[i - 1].category == c) {
            return &f->events[i - 1];
        }
    }
    return NULL;
}

static inline size_t count_events(const struct fortress *f, enum event_category c)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_events; i++) {
        n += f->events[i].category == c ? 1 : 0;
    }
    return n;
}

/* ---- CoAP clients ---- */

/* A handshake with this identity; the id of the association at this worker, as the test names it.
 * Gives whether it was let in. */
static bool link_psk(struct fortress *f, unsigned worker, uint64_t id, const char *identity,
                     struct slice key)
{
    struct fake *k = &f->fakes[worker];
    uint8_t known[DTLS_PSK_MAX];
    size_t n = 0;
    struct net_peer peer = peer_of(id);
    struct dtls_info info = {
        .id = id, .peer = peer, .psk_identity = slice_text(identity), .cipher = "PSK-TEST"};
    enum err err =
        k->handler.find_psk(k->handler.ctx, info.psk_identity, known, &n, &info.psk_credential);
    if (err != OK || !slice_equal(slice_of(known, n), key)) {
        k->handler.failed(k->handler.ctx, &peer, err != OK ? DTLS_FAILED_IDENTITY : DTLS_FAILED_KEY,
                          slice_text(identity), &(struct tls_refusal){.text = "test"});
        return false;
    }
    k->open[id] = true;
    k->handler.opened(k->handler.ctx, &info);
    return k->open[id];
}

static inline bool link_device(struct fortress *f, unsigned worker, uint64_t id, const char *name)
{
    char text[DIGEST_HEX_BYTES];
    return link_psk(f, worker, id, name, psk_of(name, text));
}

struct ask {
    enum coap_type type;
    uint8_t code;
    const char *path;  /* escaped */
    const char *query; /* parts with '&' between them */
    struct slice payload;
    int observe; /* -1: no option */
    int format, accept, no_response, max_age, block1, block2, size1;
    struct slice etag, second_etag, request_tag, echo, if_match;
    uint8_t token;
};

#define PAYLOAD(text)        .payload = {(const uint8_t *)(text), sizeof(text) - 1}
#define EXPECT_CODE(m, want) assert_int_equal((m).code, (want))

#define ASK(t, c, p)                                                                               \
    .type = (t), .code = (c), .path = (p), .observe = -1, .format = -1, .accept = -1,              \
    .no_response = -1, .max_age = -1, .block1 = -1, .block2 = -1, .size1 = -1, .token = 1

static void add_optional(struct coap_option_writer *o, uint16_t number, int value)
{
    if (value >= 0) {
        coap_option_add_uint(o, number, (uint32_t)value);
    }
}

static size_t build(struct fortress *f, const struct ask *a, uint8_t *dst, size_t cap)
{
    uint8_t block[1500];
    size_t n = 0;
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_message m = {.type = a->type,
                             .code = a->code,
                             .mid = ++f->mid,
                             .token = slice_of(&a->token, 1),
                             .payload = a->payload};
    if (a->if_match.n > 0) {
        coap_option_add(&o, COAP_OPTION_IF_MATCH, a->if_match);
    }
    if (a->etag.n > 0) {
        coap_option_add(&o, COAP_OPTION_ETAG, a->etag);
    }
    if (a->second_etag.n > 0) {
        coap_option_add(&o, COAP_OPTION_ETAG, a->second_etag);
    }
    add_optional(&o, COAP_OPTION_OBSERVE, a->observe);
    coap_uri_path_options(slice_text(a->path), &o);
    add_optional(&o, COAP_OPTION_CONTENT_FORMAT, a->format);
    add_optional(&o, COAP_OPTION_MAX_AGE, a->max_age);
    struct slice queries = slice_text(a->query);
    for (bool has_query = a->query != NULL; has_query;) {
        coap_option_add(&o, COAP_OPTION_URI_QUERY, slice_cut(&queries, '&', &has_query));
    }
    add_optional(&o, COAP_OPTION_ACCEPT, a->accept);
    add_optional(&o, COAP_OPTION_BLOCK2, a->block2);
    add_optional(&o, COAP_OPTION_BLOCK1, a->block1);
    add_optional(&o, COAP_OPTION_SIZE1, a->size1);
    if (a->echo.n > 0) {
        coap_option_add(&o, COAP_OPTION_ECHO, a->echo);
    }
    add_optional(&o, COAP_OPTION_NO_RESPONSE, a->no_response);
    if (a->request_tag.n > 0) {
        coap_option_add(&o, COAP_OPTION_REQUEST_TAG, a->request_tag);
    }
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, dst, cap, &n), OK);
    return n;
}

static void send_ask(struct fortress *f, unsigned worker, uint64_t id, const struct ask *a)
{
    uint8_t bytes[DATAGRAM];
    struct net_peer peer = peer_of(id);
    size_t n = build(f, a, bytes, sizeof(bytes));
    coap_door_datagram(f->doors[worker], &peer, slice_of(bytes, n), f->now_ms);
    turns(f);
}

/* The next message to this association; code 0.00 with type RST: there is none. */
static struct coap_message next_sent(struct fortress *f, unsigned worker, uint64_t id)
{
    struct fake *k = &f->fakes[worker];
    struct coap_message m;
    while (k->at < k->n_sent) {
        const struct sent *s = &k->sent[k->at++];
        assert_int_equal(coap_message_decode(slice_of(s->bytes, s->n), 32, &m), OK);
        if (s->id == id && m.code != COAP_EMPTY) {
            return m;
        }
    }
    k->at = k->n_sent = 0;
    return (struct coap_message){.type = COAP_RST};
}

static inline void forget_sent(struct fortress *f)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        f->fakes[i].at = f->fakes[i].n_sent = 0;
    }
}

/* Sends and gives the answer. */
static inline struct coap_message asks(struct fortress *f, unsigned worker, uint64_t id,
                                       const struct ask *a)
{
    forget_sent(f);
    send_ask(f, worker, id, a);
    return next_sent(f, worker, id);
}

static inline uint32_t option_of(const struct coap_message *m, uint16_t number)
{
    uint32_t value = UINT32_MAX;
    return coap_options_find_uint(m->options, number, &value) ? value : UINT32_MAX;
}

/* ---- the MQTT client ---- */

static inline void mqtt_send(struct fortress *f, struct wr *w)
{
    assert_true(wr_ok(w));
    worker_input(f->workers[f->mqtt.worker], f->mqtt.conn, wr_slice(w), f->now_ms);
    turns(f);
}

/* Arrives at worker 0 and ends up at its home. */
static inline void mqtt_open(struct fortress *f, const char *name)
{
    uint8_t bytes[256];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct digest spki;
    spki_of(name, &spki);
    f->mqtt.worker = 0;
    assert_int_equal(
        worker_accept(f->workers[0], &f->mqtts, "127.0.0.1:9", &f->mqtt, f->now_ms, &f->mqtt.conn),
        OK);
    worker_present(f->workers[0], f->mqtt.conn, slice_text(name), &spki, &spki);
    struct mqtt_connect c = {
        .version = MQTT_V5, .clean_start = true, .client_id = slice_text(name)};
    assert_int_equal(mqtt_connect_encode(&c, &w), OK);
    mqtt_send(f, &w);
    assert_true(f->mqtt.conn != 0 && f->mqtt.n > 3 && f->mqtt.bytes[0] == 0x20);
}

static inline void mqtt_publish(struct fortress *f, const char *topic, const char *payload,
                                bool retain, const char *content_type)
{
    uint8_t bytes[6144];
    struct wr w = wr_into(bytes, sizeof(bytes));
    struct mqtt_publish p = {.topic = slice_text(topic),
                             .payload = slice_text(payload),
                             .qos = 1,
                             .packet_id = 5,
                             .retain = retain};
    if (content_type != NULL) {
        mqtt_props_set_text(&p.props, MQTT_PROP_CONTENT_TYPE, slice_text(content_type));
    }
    assert_int_equal(mqtt_publish_encode(&p, MQTT_V5, &w), OK);
    mqtt_send(f, &w);
}

static inline void mqtt_subscribe(struct fortress *f, const char *filter)
{
    uint8_t bytes[256], list[128];
    struct wr w = wr_into(bytes, sizeof(bytes)), l = wr_into(list, sizeof(list));
    struct mqtt_subscription one = {
        .whole = slice_text(filter), .filter = slice_text(filter), .qos = 1};
    mqtt_subscription_write(&l, &one, MQTT_V5);
    struct mqtt_subscribe s = {.packet_id = 9, .list = wr_slice(&l), .n_filters = 1};
    assert_int_equal(mqtt_subscribe_encode(&s, MQTT_V5, &w), OK);
    mqtt_send(f, &w);
}

static inline bool mqtt_has_seen(const struct fortress *f, const char *text)
{
    return memmem(f->mqtt.bytes, f->mqtt.n, text, strlen(text)) != NULL;
}

#endif

/*
 * worker_bench_test - two workers with rings by hand, a journal that commits when told to, a
 * directory, and MQTT parties: what the tests and the fuzz target of the workers stand on. Output
 * is taken only from connections that are dirty, as a driver does.
 */
#ifndef SERVICE_BROKER_WORKER_BENCH_TEST_H
#define SERVICE_BROKER_WORKER_BENCH_TEST_H

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "service/broker/journal_bench_test.h"
#include "service/broker/lent_output_test.h"
#include "service/broker/reading.h"
#include "service/broker/restore_private.h"
#include "service/broker/worker.h"
#include "service/directory/directory.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/disconnect.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/puback.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/subscribe.h"

enum {
    WORKERS = 2,
    DEVICES = 8, /* d0 .. d7; s0 and s1 have narrow limits */
    PARTIES = 4,
    RING = 16,
    EVENTS_MAX = 512,
    SAID = 8192,
    OUT = 300 * 1024,
    READINGS = WORKERS * READING_MAX
};
#define WALL INT64_C(1795000000000)

struct party {
    unsigned worker;
    uint64_t conn; /* 0: gone */
    enum mqtt_version version;
    bool is_deaf;   /* its socket takes nothing */
    uint8_t *bytes; /* OUT: what the server sent and said() has not told */
    size_t n;
    char text[SAID];
};

struct bench;

struct driver_ctx {
    struct bench *b;
    unsigned index;
};

enum { SAMPLES_MAX = 32 };

struct bench {
    struct directory *directory;
    struct policy *policy;
    struct role *any; /* of the policy */
    const struct realm *realm;
    struct limits limits;
    struct keeper *log;
    bool log_stands; /* nothing is committed */
    struct ring rings[WORKERS][WORKERS], service[WORKERS], bodies[WORKERS];
    struct ring *to[WORKERS][WORKERS], *from[WORKERS][WORKERS + 2];
    struct reading *readings[READINGS]; /* that no log has answered */
    struct renewal *renewal;            /* that nobody has decided; one at a time */
    size_t n_readings, n_read;
    bool reads_stand;      /* none is answered, */
    enum err reads_result; /* or with this, unless it is OK */
    _Atomic uint64_t number;
    struct counters counters[WORKERS];
    struct ceiling ceiling; /* none, until a test says its bytes */
    uint32_t say_every_ms;
    struct worker *workers[WORKERS];
    struct entrance mqtts;
    struct driver_ctx contexts[WORKERS];
    struct party parties[PARTIES];
    uint64_t now_ms, seed;
    int64_t wall_ms;
    struct event events[EVENTS_MAX];
    size_t n_events;
    struct detect_sample samples[SAMPLES_MAX]; /* of what was published */
    struct detect_sample came;                 /* how somebody came, or was heard, last */
    size_t n_came;
    size_t n_samples;
    bool samples_stand; /* none is taken */
};

static const struct siphash_key bench_key = {1, 2};

/* ---- what a worker calls ---- */

static inline void bench_depart(void *ctx, void *transport)
{
    (void)ctx;
    ((struct party *)transport)->conn = 0;
}

static inline enum err bench_arrive(void *ctx, void *transport, uint64_t conn)
{
    struct party *p = transport;
    p->conn = conn;
    p->worker = ((struct driver_ctx *)ctx)->index;
    return OK;
}

static inline void bench_discard(void *ctx, void *transport)
{
    bench_depart(ctx, transport);
}

static inline enum err bench_verify(void *ctx, struct verified *v)
{
    (void)ctx;
    verified_free(v);
    return ERR_AGAIN;
}

static inline enum err bench_read(void *ctx, struct reading *r)
{
    struct bench *b = ((struct driver_ctx *)ctx)->b;
    assert(b->n_readings < READINGS);
    b->readings[b->n_readings++] = r;
    return OK;
}

static inline enum err bench_renew(void *ctx, struct renewal *r)
{
    struct bench *b = ((struct driver_ctx *)ctx)->b;
    if (b->renewal != NULL) {
        renewal_free(r);
        return ERR_AGAIN;
    }
    b->renewal = r;
    return OK;
}

static inline enum err bench_certificate(void *ctx, void *transport, struct buf *ret)
{
    (void)ctx;
    (void)transport;
    return buf_append(ret, slice_text("a certificate"), SIZE_MAX);
}

static inline bool bench_sample(void *ctx, const struct detect_sample *s)
{
    struct bench *b = ((struct driver_ctx *)ctx)->b;
    if (b->samples_stand) {
        return false;
    }
    if (s->kind == DETECT_SAMPLE_HELLO || s->kind == DETECT_SAMPLE_HEARD) {
        b->came = *s;
        b->n_came++;
        return true;
    }
    b->samples[b->n_samples++ % SAMPLES_MAX] = *s;
    return true;
}

static inline void bench_event(void *ctx, const struct event *e)
{
    struct bench *b = ((struct driver_ctx *)ctx)->b;
    if (b->n_events < EVENTS_MAX) {
        b->events[b->n_events++] = *e;
    }
}

/* ---- birth ---- */

static inline void must(enum err err)
{
    assert(err == OK);
    (void)err;
}

static inline void bench_spki(const char *name, struct digest *ret)
{
    must(digest_sha256(slice_text(name), ret));
}

static inline void bench_add(struct bench *b, const char *name, const char *role)
{
    uint64_t id;
    struct directory_secret secret = {.kind = CREDENTIAL_X509, .expires_wall_ms = CREDENTIAL_NEVER};
    bench_spki(name, &secret.spki);
    struct directory_order o = {
        .name = slice_text(name), .role = slice_text(role), .secrets = &secret, .n_secrets = 1};
    must(directory_add(b->directory, &o, WALL, &id, NULL));
}

static inline void bench_role(struct policy *p, const char *name, bool is_narrow, struct role **ret)
{
    must(policy_add_role(p, slice_text(name), ret));
    must(role_set_client_id(*ret, slice_text("*")));
    must(role_add_topic(*ret, POLICY_PUBLISH, slice_text("t/#"), true, 2, 1));
    must(role_add_topic(*ret, POLICY_SUBSCRIBE, slice_text("t/#"), false, 2, 1));
    if (!is_narrow) {
        must(role_add_topic(*ret, POLICY_PUBLISH, slice_text("w/#"), true, 2, 1));
        must(role_add_topic(*ret, POLICY_SUBSCRIBE, slice_text("w/#"), false, 2, 1));
    }
    role_limits(*ret)->connect_burst = 10000;
    role_limits(*ret)->publish_burst = 100000;
    role_limits(*ret)->publish_rate = 100000;
}

/* is_narrow: without the topics under w/. */
static inline void bench_policy(struct bench *b, bool is_narrow)
{
    struct policy *p = NULL;
    struct role *r = NULL;
    must(policy_new(&p));
    bench_role(p, "any", is_narrow, &b->any);
    bench_role(p, "small", is_narrow, &r);
    role_limits(r)->publish_burst = 5;
    role_limits(r)->publish_rate = 1;
    role_limits(r)->queue_messages = 3;
    policy_unref(b->policy);
    b->policy = p;
}

static inline void bench_realm(struct bench *b)
{
    const struct directory_version *v = directory_current(b->directory);
    const struct realm *realm = NULL;
    must(realm_new(v, b->policy, &realm));
    directory_version_unref(v);
    realm_unref(b->realm);
    b->realm = realm;
}

static inline void bench_workers(struct bench *b)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned j = 0; j < WORKERS; j++) {
            must(ring_init(&b->rings[i][j], sizeof(struct wmsg), RING));
            b->to[i][j] = i == j ? NULL : &b->rings[i][j];
            b->from[j][i] = i == j ? NULL : &b->rings[i][j];
        }
        must(ring_init(&b->service[i], sizeof(struct wmsg), RING));
        b->from[i][WORKERS] = &b->service[i];
        must(ring_init(&b->bodies[i], sizeof(struct wmsg), READING_MAX));
        b->from[i][WORKERS + 1] = &b->bodies[i];
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        b->contexts[i] = (struct driver_ctx){b, i};
        struct worker_setup s = {.index = i,
                                 .n_workers = WORKERS,
                                 .limits = &b->limits,
                                 .key = bench_key,
                                 .random = random_seeded(&b->seed),
                                 .journal = &b->log->writers[i].journal,
                                 .to = b->to[i],
                                 .from = b->from[i],
                                 .n_from = WORKERS + 2,
                                 .retained_counter = &b->number,
                                 .counters = &b->counters[i],
                                 .ceiling = &b->ceiling,
                                 .say_every_ms = b->say_every_ms,
                                 .realm = b->realm,
                                 .driver = {.ctx = &b->contexts[i],
                                            .depart = bench_depart,
                                            .arrive = bench_arrive,
                                            .discard = bench_discard,
                                            .verify = bench_verify,
                                            .read = bench_read,
                                            .renew = bench_renew,
                                            .certificate = bench_certificate,
                                            .event = bench_event,
                                            .sample = bench_sample}};
        must(worker_new(&s, b->now_ms, b->wall_ms, &b->workers[i]));
    }
}

static inline struct bench *bench_open(void)
{
    struct bench *b = mem_zalloc(sizeof(*b));
    assert(b != NULL);
    const struct directory_setup setup = {.random = random_system()};
    must(directory_create(&setup, &b->directory));
    directory_begin(b->directory);
    for (unsigned i = 0; i < DEVICES; i++) {
        char name[4] = {'d', (char)('0' + i)};
        bench_add(b, name, "any");
    }
    bench_add(b, "s0", "small");
    bench_add(b, "s1", "small");
    must(directory_commit(b->directory));
    bench_policy(b, false);
    b->limits = (struct limits)LIMITS_DEFAULT;
    b->now_ms = 1000;
    b->wall_ms = WALL;
    b->mqtts =
        (struct entrance){.name = "mqtts", .protocol = EVENT_PROTOCOL_mqtt, .auth_x509 = true};
    for (unsigned i = 0; i < PARTIES; i++) {
        b->parties[i].bytes = mem_alloc(OUT);
    }
    bench_realm(b);
    b->log = keeper_new();
    bench_workers(b);
    return b;
}

/* Workers and rings vanish; connections with them. */
static inline void bench_stop(struct bench *b)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        b->parties[i].conn = 0;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        b->workers[i] = worker_free(b->workers[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        struct wmsg m;
        for (unsigned j = 0; j < WORKERS + 2; j++) {
            while (b->from[i][j] != NULL && ring_pop(b->from[i][j], &m)) {
                wmsg_done(&m);
            }
        }
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        for (unsigned j = 0; j < WORKERS; j++) {
            ring_done(&b->rings[i][j]);
        }
        ring_done(&b->service[i]);
        ring_done(&b->bodies[i]);
    }
    b->renewal = renewal_free(b->renewal);
    while (b->n_readings > 0) {
        reading_free(b->readings[--b->n_readings]);
    }
}

/* What was not committed is gone; everything else is read back. */
static inline void bench_restore(struct bench *b, struct restore_report *report)
{
    struct restore r;
    struct store_ids ids = keeper_ids(b->log);
    atomic_store(&b->number, 0);
    bench_workers(b);
    restore_init(&r, (struct worker *const *)b->workers, WORKERS, b->now_ms, b->wall_ms, report);
    struct log_sink sink = restore_sink(&r);
    must(keeper_restore(b->log, &sink));
    must(restore_finish(&r, &ids));
    restore_done(&r);
}

/* down_ms: how long nobody was there. */
static inline void bench_crash(struct bench *b, uint64_t down_ms, struct restore_report *report)
{
    bench_stop(b);
    keeper_crash(b->log);
    b->now_ms = 1000; /* the monotonic clock knows no past */
    b->wall_ms += (int64_t)down_ms;
    bench_restore(b, report);
}

static inline void bench_close(struct bench *b)
{
    for (unsigned i = 0; i < PARTIES; i++) {
        if (b->parties[i].conn != 0) {
            worker_gone(b->workers[b->parties[i].worker], b->parties[i].conn, "end", b->now_ms);
        }
        mem_free(b->parties[i].bytes);
    }
    bench_stop(b);
    keeper_free(b->log);
    realm_unref(b->realm);
    policy_unref(b->policy);
    directory_free(b->directory);
    mem_free(b);
}

/* ---- turns ---- */

static inline void pump(struct bench *b, unsigned i)
{
    uint64_t conn;
    for (int n = 0; (conn = worker_next_dirty(b->workers[i])) != 0; n++) {
        struct party *p = worker_transport(b->workers[i], conn);
        assert(n < 100000); /* a connection that is dirty for ever */
        if (p != NULL && !p->is_deaf && p->n < OUT) {
            size_t least = n % 2 == 0 ? 1 : SIZE_MAX; /* whether lent or not: the same bytes */
            p->n += lent_output(b->workers[i], conn, p->bytes + p->n, OUT - p->n, least, b->now_ms);
        }
        if (p != NULL && worker_is_finished(b->workers[i], conn)) {
            worker_gone(b->workers[i], conn, "closed by the server", b->now_ms);
            p->conn = 0;
        }
    }
}

static inline void turn(struct bench *b, unsigned i)
{
    worker_turn(b->workers[i], b->now_ms, b->wall_ms);
    pump(b, i);
}

/* The log answers what was asked, in order. */
static inline void bench_answer(struct bench *b)
{
    for (size_t i = 0; i < b->n_readings; i++) {
        struct reading *r = b->readings[i];
        struct wmsg m = {.kind = WMSG_BODY, .reading = r};
        struct journal_body body = {0};
        bool has = keeper_body(b->log, r->husk->body_id, &body);
        enum err err = b->reads_result != OK || has ? b->reads_result : ERR_NOT_FOUND;
        reading_done(r, err, body.m.props, body.m.payload);
        must(ring_push(&b->bodies[r->worker], &m));
        b->n_read++;
    }
    b->n_readings = 0;
}

static inline void settle(struct bench *b)
{
    for (int round = 0; round < 40; round++) {
        if (!b->log_stands) {
            keeper_commit(b->log);
        }
        if (!b->reads_stand) {
            bench_answer(b);
        }
        for (unsigned i = 0; i < WORKERS; i++) {
            turn(b, i);
        }
    }
}

/* Acknowledgements alone wait that long for company on their way to the log. */
enum { SETTLES_MS = 20 };

static inline void pass(struct bench *b, uint64_t ms)
{
    b->now_ms += ms;
    b->wall_ms += (int64_t)ms;
    settle(b);
}

static inline void realm_to(struct bench *b, unsigned i)
{
    struct wmsg m = {.kind = WMSG_REALM, .realm = realm_ref(b->realm)};
    must(ring_push(&b->service[i], &m));
    turn(b, i);
}

/* The directory has changed, or the policy: all workers learn of it. */
static inline void realm_changes(struct bench *b)
{
    bench_realm(b);
    for (unsigned i = 0; i < WORKERS; i++) {
        realm_to(b, i);
    }
}

/* ---- parties ---- */

/* The n-th device whose home is this worker. */
static inline const char *device_at(const struct bench *b, unsigned home, unsigned nth)
{
    static const char *const names[DEVICES] = {"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"};
    for (unsigned i = 0; i < DEVICES; i++) {
        uint64_t id = directory_find(b->realm->directory, slice_text(names[i]))->principal->id;
        if (siphash(&bench_key, slice_of(&id, sizeof(id))) % WORKERS == home && nth-- == 0) {
            return names[i];
        }
    }
    abort();
}

static inline void give(struct bench *b, struct party *p, struct slice bytes)
{
    if (p->conn != 0) {
        unsigned worker = p->worker;
        worker_input(b->workers[worker], p->conn, bytes, b->now_ms);
        pump(b, worker);
    }
}

static inline void give_wr(struct bench *b, struct party *p, const struct wr *w)
{
    assert(wr_ok(w));
    give(b, p, wr_slice(w));
}

/* A stranger with this device's certificate; false: not let near. */
static inline bool arrives(struct bench *b, struct party *p, unsigned worker, const char *name)
{
    struct digest spki;
    bench_spki(name, &spki);
    p->worker = worker;
    p->n = 0;
    if (worker_accept(b->workers[worker], &b->mqtts, "127.0.0.1:9", p, b->now_ms, &p->conn) != OK) {
        p->conn = 0;
        return false;
    }
    worker_present(b->workers[worker], p->conn, slice_text(name), &spki, &spki);
    return true;
}

struct hello {
    const char *client_id;
    enum mqtt_version version;
    bool resume;  /* keeps and wants a session of an hour */
    bool is_last; /* with resume: it ends with this connection */
    const char *will;
    uint8_t will_qos;
    uint32_t will_expiry_s, will_delay_s;
    uint32_t expiry_s; /* of the session; 0: an hour */
    uint16_t keep_alive_s;
};

static inline void write_hello(const struct hello *h, struct wr *w)
{
    struct mqtt_connect c = {.version = h->version != 0 ? h->version : MQTT_V5,
                             .clean_start = !h->resume,
                             .keep_alive_s = h->keep_alive_s,
                             .client_id = slice_text(h->client_id)};
    if (h->resume && !h->is_last && c.version == MQTT_V5) {
        mqtt_props_set_number(&c.props, MQTT_PROP_SESSION_EXPIRY,
                              h->expiry_s > 0 ? h->expiry_s : 3600);
    }
    if (h->will != NULL) {
        c.has_will = true;
        c.will = (struct mqtt_will){
            .topic = slice_text(h->will), .payload = slice_text("gone"), .qos = h->will_qos};
        if (h->will_expiry_s > 0) {
            mqtt_props_set_number(&c.will.props, MQTT_PROP_MESSAGE_EXPIRY, h->will_expiry_s);
        }
        if (h->will_delay_s > 0) {
            mqtt_props_set_number(&c.will.props, MQTT_PROP_WILL_DELAY, h->will_delay_s);
        }
    }
    must(mqtt_connect_encode(&c, w));
}

static inline void connects(struct bench *b, struct party *p, const char *name,
                            const struct hello *h)
{
    uint8_t bytes[512];
    struct wr w = wr_into(bytes, sizeof(bytes));
    p->version = h->version != 0 ? h->version : MQTT_V5;
    write_hello(h, &w);
    if (arrives(b, p, 0, name)) {
        give_wr(b, p, &w);
    }
}

static inline void is_cut(struct bench *b, struct party *p)
{
    if (p->conn != 0) {
        worker_gone(b->workers[p->worker], p->conn, "cut", b->now_ms);
        p->conn = 0;
    }
}

static inline void write_publish(struct wr *w, enum mqtt_version version, const char *topic,
                                 const char *payload, uint8_t qos, uint16_t packet_id, bool retain)
{
    struct mqtt_publish m = {.topic = slice_text(topic),
                             .payload = slice_text(payload),
                             .qos = qos,
                             .packet_id = qos > 0 ? packet_id : 0,
                             .retain = retain};
    must(mqtt_publish_encode(&m, version, w));
}

static inline void publishes(struct bench *b, struct party *p, const char *topic,
                             const char *payload, uint8_t qos, uint16_t packet_id, bool retain)
{
    uint8_t bytes[1024];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_publish(&w, p->version, topic, payload, qos, packet_id, retain);
    give_wr(b, p, &w);
}

static inline void write_subscribe(struct wr *w, enum mqtt_version version, const char *filter,
                                   size_t n_filters, uint8_t qos)
{
    uint8_t list[2048];
    struct wr l = wr_into(list, sizeof(list));
    for (size_t i = 0; i < n_filters; i++) {
        struct mqtt_subscription s = {
            .whole = slice_text(filter), .filter = slice_text(filter), .qos = qos};
        mqtt_subscription_write(&l, &s, version);
    }
    struct mqtt_subscribe m = {.packet_id = 9, .list = wr_slice(&l), .n_filters = n_filters};
    must(mqtt_subscribe_encode(&m, version, w));
}

static inline void subscribes(struct bench *b, struct party *p, const char *filter, uint8_t qos)
{
    uint8_t bytes[512];
    struct wr w = wr_into(bytes, sizeof(bytes));
    write_subscribe(&w, p->version, filter, 1, qos);
    give_wr(b, p, &w);
}

static inline void acks(struct bench *b, struct party *p, enum mqtt_type type, uint16_t packet_id)
{
    uint8_t bytes[4] = {(uint8_t)((unsigned)type << 4 | (type == MQTT_PUBREL ? 2u : 0u)), 2,
                        (uint8_t)(packet_id >> 8), (uint8_t)packet_id};
    give(b, p, slice_of(bytes, sizeof(bytes)));
}

/* ---- what the server said, as text: "connack 00; publish1 t/a hi; puback 5; " ---- */

static inline void tell(struct party *p, const struct mqtt_fixed *f, struct slice body)
{
    static const char *const names[] = {
        [MQTT_CONNACK] = "connack",       [MQTT_PUBACK] = "puback",
        [MQTT_PUBREC] = "pubrec",         [MQTT_PUBREL] = "pubrel",
        [MQTT_PUBCOMP] = "pubcomp",       [MQTT_SUBACK] = "suback",
        [MQTT_UNSUBACK] = "unsuback",     [MQTT_PINGRESP] = "pingresp",
        [MQTT_DISCONNECT] = "disconnect", [MQTT_AUTH] = "auth"};
    size_t n = strlen(p->text);
    char *at = p->text + n;
    size_t cap = sizeof(p->text) - n;
    struct mqtt_wire_limits limits = mqtt_wire_limits_max();
    struct mqtt_input in = {.body = body,
                            .flags = f->flags,
                            .version = p->version,
                            .sender = MQTT_FROM_SERVER,
                            .limits = &limits};
    struct mqtt_publish m;
    if (f->type == MQTT_PUBLISH) {
        must(mqtt_publish_decode(&in, NULL, &m));
        (void)snprintf(at, cap, "publish%u%s%s %.*s %.*s; ", m.qos, m.retain ? "r" : "",
                       m.dup ? "d" : "", SLICE_ARG(m.topic), SLICE_ARG(m.payload));
    } else if (f->type == MQTT_CONNACK) {
        (void)snprintf(at, cap, "connack %02x%s; ", body.p[1], body.p[0] != 0 ? " present" : "");
    } else if (f->type == MQTT_DISCONNECT) {
        (void)snprintf(at, cap, "disconnect %02x; ", body.n > 0 ? body.p[0] : 0);
    } else if (f->type == MQTT_SUBACK) {
        (void)snprintf(at, cap, "suback %02x; ", body.p[body.n - 1]);
    } else if (body.n < 3) {
        (void)snprintf(at, cap, "%s%s", names[f->type], body.n == 0 ? "; " : "");
        if (body.n == 2) {
            (void)snprintf(at + strlen(at), cap - strlen(at), " %u; ",
                           (unsigned)body.p[0] << 8 | body.p[1]);
        }
    } else {
        (void)snprintf(at, cap, "%s %u %02x; ", names[f->type],
                       (unsigned)body.p[0] << 8 | body.p[1], body.p[2]);
    }
}

/* Everything since the last call; "" when it was silent. */
static inline const char *said(struct party *p)
{
    struct slice in = slice_of(p->bytes, p->n), body;
    struct mqtt_fixed f;
    p->text[0] = '\0';
    while (in.n > 0) {
        must(mqtt_packet_cut(&in, OUT, NULL, &f, &body)); /* whole packets of a server only */
        tell(p, &f, body);
    }
    p->n = 0;
    return p->text;
}

#endif

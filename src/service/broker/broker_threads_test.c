/* The real threads: workers, journal, verify pool, service thread, and clients that block; for the
 * thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "service/broker/broker.h"
#include "service/broker/kept_test.h"
#include "service/directory/directory.h"
#include "wire/mqtt/connect.h"
#include "wire/mqtt/fixed.h"
#include "wire/mqtt/publish.h"
#include "wire/mqtt/subscribe.h"

enum { PAIRS = 2, CLIENTS = 2 * PAIRS, MESSAGES = 100, ROUNDS = 5, REALMS = 20, BUFFER = 65536 };

struct client {
    pthread_t thread;
    uint16_t port;
    unsigned index; /* even: publishes, odd: listens to the one before */
    atomic_uint *n_listening;
    const char *failed; /* NULL: all went well */
    int fd;
    uint8_t bytes[BUFFER];
    size_t n;
};

/* ---- the directory ---- */

/* In the generated form, whose hash is cheap. */
static struct directory_secret secret_of(unsigned index, char text[64])
{
    (void)snprintf(text, 64, "sp1_abcdef%cghijklmnopqrstuvwxy", (char)('a' + index));
    return (struct directory_secret){.kind = CREDENTIAL_PASSWORD,
                                     .expires_wall_ms = CREDENTIAL_NEVER,
                                     .password = slice_text(text)};
}

/* ---- a client that blocks ---- */

static bool send_all(const struct client *c, const struct wr *w)
{
    struct slice s = wr_slice(w);
    while (s.n > 0) {
        ssize_t n = send(c->fd, s.p, s.n, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        s = slice_from(s, (size_t)n);
    }
    return true;
}

/* The next packet's type and the last byte of its body, or the reason of a DISCONNECT; 0: the
 * connection ended. */
static unsigned next_packet(struct client *c, uint8_t *ret_last)
{
    for (;;) {
        struct slice in = slice_of(c->bytes, c->n), body;
        struct mqtt_fixed f;
        if (mqtt_packet_cut(&in, BUFFER, NULL, &f, &body) == OK) {
            size_t at = f.type == MQTT_DISCONNECT ? 0 : body.n - 1;
            *ret_last = body.n > 0 ? body.p[at] : 0;
            if (in.n > 0) {
                memmove(c->bytes, in.p, in.n);
            }
            c->n = in.n;
            return f.type;
        }
        ssize_t n = recv(c->fd, c->bytes + c->n, BUFFER - c->n, 0);
        if (n <= 0) {
            return 0;
        }
        c->n += (size_t)n;
    }
}

static void name_of(unsigned index, char name[4])
{
    (void)snprintf(name, 4, "c%u", index);
}

static bool comes_in(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(c->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 60};
    char name[4], text[64];
    uint8_t bytes[256], last;
    struct wr w = wr_into(bytes, sizeof(bytes));
    name_of(c->index, name);
    struct directory_secret secret = secret_of(c->index, text);
    struct mqtt_connect m = {.version = MQTT_V5,
                             .clean_start = true,
                             .client_id = slice_text(name),
                             .has_username = true,
                             .username = slice_text(name),
                             .has_password = true,
                             .password = secret.password};
    c->n = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
           mqtt_connect_encode(&m, &w) == OK && send_all(c, &w) &&
           next_packet(c, &last) == MQTT_CONNACK && c->fd >= 0;
}

static bool listens(struct client *c)
{
    uint8_t bytes[128], list[64], last;
    char filter[8];
    struct wr w = wr_into(bytes, sizeof(bytes)), l = wr_into(list, sizeof(list));
    (void)snprintf(filter, sizeof(filter), "t/%u", c->index - 1);
    struct mqtt_subscription s = {
        .whole = slice_text(filter), .filter = slice_text(filter), .qos = 1};
    mqtt_subscription_write(&l, &s, MQTT_V5);
    struct mqtt_subscribe m = {.packet_id = 1, .list = wr_slice(&l), .n_filters = 1};
    return mqtt_subscribe_encode(&m, MQTT_V5, &w) == OK && send_all(c, &w) &&
           next_packet(c, &last) == MQTT_SUBACK && last == 1;
}

/* All messages come, in their order. */
static const char *hear(struct client *c)
{
    uint8_t last = 0;
    if (!comes_in(c) || !listens(c)) {
        return "no SUBACK";
    }
    atomic_fetch_add(c->n_listening, 1);
    for (unsigned i = 0; i < MESSAGES; i++) {
        if (next_packet(c, &last) != MQTT_PUBLISH || last != (uint8_t)i) {
            return "a message is missing";
        }
        uint8_t ack[4] = {0x40, 2, 0, (uint8_t)(i + 1)};
        struct wr w = {.base = ack, .at = 4, .cap = 4};
        if (!send_all(c, &w)) {
            return "the listener was cut off";
        }
    }
    return NULL;
}

static const char *speak(struct client *c)
{
    char topic[8];
    (void)snprintf(topic, sizeof(topic), "t/%u", c->index);
    /* The same session again and again: each but the first takes the one before over. */
    struct client old = {.fd = -1};
    for (int round = 0; round < ROUNDS; round++) {
        if (!comes_in(c)) {
            return "no CONNACK";
        }
        if (old.fd >= 0) {
            (void)close(old.fd);
        }
        old.fd = round + 1 < ROUNDS ? c->fd : -1;
    }
    while (atomic_load(c->n_listening) < PAIRS) {
        (void)sched_yield();
    }
    for (unsigned i = 0; i < MESSAGES; i++) {
        uint8_t bytes[64], payload = (uint8_t)i, last;
        struct wr w = wr_into(bytes, sizeof(bytes));
        struct mqtt_publish m = {.topic = slice_text(topic),
                                 .payload = slice_of(&payload, 1),
                                 .qos = 1,
                                 .packet_id = (uint16_t)(i + 1)};
        if (mqtt_publish_encode(&m, MQTT_V5, &w) != OK || !send_all(c, &w) ||
            next_packet(c, &last) != MQTT_PUBACK) {
            return "no PUBACK";
        }
    }
    return NULL;
}

static void *client_thread(void *arg)
{
    struct client *c = arg;
    uint8_t last = 0;
    c->failed = c->index % 2 == 0 ? speak(c) : hear(c);
    /* until the server goes down */
    if (c->failed == NULL && (next_packet(c, &last) != MQTT_DISCONNECT || last != 0x8b)) {
        c->failed = "not told that the server goes down";
    }
    (void)close(c->fd);
    return NULL;
}

/* ---- the service thread ---- */

static void notified(void *ctx)
{
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

static const struct policy *make_policy(void)
{
    struct policy *p = NULL;
    struct role *r = NULL;
    assert_int_equal(policy_new(&p), OK);
    assert_int_equal(policy_add_role(p, slice_text("any"), &r), OK);
    assert_int_equal(role_add_topic(r, POLICY_PUBLISH, slice_text("t/#"), true, 2, 1), OK);
    assert_int_equal(role_add_topic(r, POLICY_SUBSCRIBE, slice_text("t/#"), false, 2, 1), OK);
    role_limits(r)->publish_rate = role_limits(r)->publish_burst = 100000;
    return p;
}

static const struct realm *realm_of(struct directory *d, const struct policy *p)
{
    const struct directory_version *v = directory_current(d);
    const struct realm *realm = NULL;
    assert_int_equal(realm_new(v, p, &realm), OK);
    directory_version_unref(v);
    return realm;
}

static void add_clients(struct directory *d, int64_t wall_ms)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        char name[4], text[64];
        uint64_t id;
        name_of(i, name);
        struct directory_secret secret = secret_of(i, text);
        struct directory_order o = {.name = slice_text(name),
                                    .role = slice_text("any"),
                                    .secrets = &secret,
                                    .n_secrets = 1};
        assert_int_equal(directory_add(d, &o, wall_ms, &id, NULL), OK);
    }
    struct directory_exception_order x = {.listener = slice_text("mqtt"),
                                          .role = slice_text("any"),
                                          .reason = slice_text("test"),
                                          .allow = DIRECTORY_ALLOW_PLAINTEXT,
                                          .for_ms = 3600 * 1000};
    uint64_t id;
    assert_int_equal(directory_exception_add(d, &x, wall_ms, &id, NULL), OK);
}

static size_t count_events(struct broker *b)
{
    struct event e;
    size_t n = 0;
    while (broker_next_event(b, &e)) {
        n++;
    }
    return n;
}

/* How many of them say that an edition cannot be taken. */
static size_t take_events(struct broker *b)
{
    struct event e;
    size_t n = 0;
    while (broker_next_event(b, &e)) {
        n += e.category == EVENT_config_reject;
    }
    return n;
}

/* An edition with all that its entrances point to: freed with its last reference, by any thread. */
struct made {
    struct edition edition; /* first */
    struct driver_entrance entrance;
    struct perimeter perimeter;
    struct dtls_server_config dtls;
};

static atomic_uint n_made; /* alive */

static void made_release(const struct edition *e)
{
    atomic_fetch_sub(&n_made, 1);
    mem_free((struct made *)(uintptr_t)e);
}

static const struct edition *make_edition(uint64_t number, const struct driver_entrance *entrance,
                                          const struct random_source *random)
{
    struct made *m = mem_zalloc(sizeof(*m));
    assert_non_null(m);
    atomic_fetch_add(&n_made, 1);
    m->entrance = *entrance;
    m->entrance.perimeter = &m->perimeter;
    m->entrance.dtls = &m->dtls;
    m->dtls.random = random;
    m->edition = (struct edition){.number = number,
                                  .limits = LIMITS_DEFAULT,
                                  .entrances = &m->entrance,
                                  .n_entrances = 1,
                                  .release = made_release};
    m->edition.limits.preauth_connections += (uint32_t)number;
    atomic_init(&m->edition.refs, 1);
    return &m->edition;
}

/* Takes edition. */
static size_t give_realm(struct broker *b, struct directory *d, const struct policy *p,
                         const struct edition *edition)
{
    const struct realm *realm = realm_of(d, p);
    uint64_t epoch = realm->epoch, number = edition->number;
    size_t n_rejects = 0;
    while (broker_set_realm(b, realm, edition) == ERR_AGAIN) {
        (void)sched_yield();
    }
    realm_unref(realm);
    edition_unref(edition);
    while (broker_realm_epoch(b) < epoch || broker_edition(b) < number) {
        n_rejects += take_events(b);
        (void)sched_yield();
    }
    return n_rejects + take_events(b);
}

static void workers_and_clients(void **state)
{
    (void)state;
    struct directory *directory = NULL;
    const struct directory_setup directory_setup = {.random = random_system()};
    static struct client clients[CLIENTS];
    atomic_uint n_listening = 0, n_notified = 0;
    struct clock clock = clock_system();
    int64_t wall_ms = clock.wall_ms(clock.ctx);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t at_n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &at_n), 0);
    assert_int_equal(directory_create(&directory_setup, &directory), OK);
    add_clients(directory, wall_ms);
    struct kept kept;
    kept_open(&kept, 2, &clock);
    const struct policy *policy = make_policy();
    const struct realm *realm = realm_of(directory, policy);
    struct driver_entrance entrance = {.entrance = {.name = "mqtt",
                                                    .protocol = EVENT_PROTOCOL_mqtt,
                                                    .auth_password = true,
                                                    .is_plain = true},
                                       .fds = &fd,
                                       .n_fds = 1};
    const struct edition *first = make_edition(1, &entrance, NULL);
    struct broker_setup setup = {.n_workers = 2,
                                 .edition = first,
                                 .clock = clock,
                                 .random = random_system(),
                                 .realm = realm,
                                 .log = kept.log,
                                 .committer = kept.committer,
                                 .ctx = &n_notified,
                                 .notify = notified};
    struct broker *b = NULL;
    assert_int_equal(broker_new(&setup, &b, NULL), OK);
    realm_unref(realm);
    edition_unref(first);
    assert_int_equal(broker_start(b), OK);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] =
            (struct client){.port = ntohs(at.sin_port), .index = i, .n_listening = &n_listening};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_thread, &clients[i]), 0);
    }
    for (int i = 0; i < REALMS; i++) {
        uint64_t epoch;
        assert_int_equal(directory_policy_changed(directory, &epoch), OK);
        assert_int_equal(
            give_realm(b, directory, policy, make_edition((uint64_t)i + 2, &entrance, NULL)), 0);
    }
    /* every message was sent: then the end */
    uint64_t sent = 0;
    for (uint64_t end = clock.mono_ms(clock.ctx) + 60000; sent < PAIRS * MESSAGES;) {
        sent = 0;
        for (unsigned i = 0; i < broker_workers(b); i++) {
            sent += atomic_load_explicit(&broker_counters(b, i)->sent_qos1, memory_order_relaxed);
        }
        (void)take_events(b);
        (void)sched_yield();
        assert_true(clock.mono_ms(clock.ctx) < end);
    }
    broker_drain(b);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        if (clients[i].failed != NULL) {
            print_error("client %u: %s\n", i, clients[i].failed);
        }
    }
    while (!broker_is_drained(b)) {
        (void)sched_yield();
    }
    broker_stop(b);
    assert_true(count_events(b) >= CLIENTS);   /* each went */
    assert_true(atomic_load(&n_notified) > 0); /* many are told at once (news.h) */
    broker_free(b);
    assert_int_equal(atomic_load(&n_made), 0);
    policy_unref(policy);
    directory_free(directory);
    kept_close(&kept);
    (void)close(fd);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_null(clients[i].failed);
    }
}

/* A worker that cannot take an edition goes on by the old one, says so once, and takes the next one
 * that it can. */
static void an_edition_that_cannot_be_followed(void **state)
{
    (void)state;
    struct directory *directory = NULL;
    const struct directory_setup directory_setup = {.random = random_system()};
    struct random_source random = random_system();
    struct clock clock = clock_system();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    atomic_uint n_notified = 0;
    int fds[2];
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&at, sizeof(at)), 0);
    }
    assert_int_equal(directory_create(&directory_setup, &directory), OK);
    struct kept kept;
    kept_open(&kept, 2, &clock);
    const struct policy *policy = make_policy();
    const struct realm *realm = realm_of(directory, policy);
    struct driver_entrance good = {
        .entrance = {.name = "coaps", .protocol = EVENT_PROTOCOL_coap, .auth_psk = true},
        .is_udp = true,
        .fds = fds,
        .n_fds = COUNT_OF(fds)};
    struct driver_entrance bad = good;
    bad.entrance.auth_psk = false; /* neither keys nor a certificate: no handshake could ever end */
    const struct edition *first = make_edition(1, &good, &random);
    const struct edition *second = make_edition(2, &bad, &random);
    struct broker_setup setup = {.n_workers = 2,
                                 .edition = first,
                                 .clock = clock,
                                 .random = random,
                                 .realm = realm,
                                 .log = kept.log,
                                 .committer = kept.committer,
                                 .ctx = &n_notified,
                                 .notify = notified};
    struct broker *b = NULL;
    assert_int_equal(broker_new(&setup, &b, NULL), OK);
    edition_unref(first);
    assert_int_equal(broker_start(b), OK);
    assert_int_equal(broker_set_realm(b, realm, second), OK);
    for (size_t n = 0; n < 2; n += take_events(b)) {
        (void)sched_yield();
    }
    assert_int_equal(broker_edition(b), 1);
    assert_int_equal(broker_set_realm(b, realm, second), OK);
    edition_unref(second);
    realm_unref(realm);
    uint64_t epoch;
    assert_int_equal(directory_policy_changed(directory, &epoch), OK);
    const struct edition *third = make_edition(3, &good, &random);
    assert_int_equal(give_realm(b, directory, policy, third), 0);
    assert_int_equal(atomic_load(&n_made), 1);
    broker_stop(b);
    broker_free(b);
    assert_int_equal(atomic_load(&n_made), 0);
    policy_unref(policy);
    directory_free(directory);
    kept_close(&kept);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        (void)close(fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(workers_and_clients),
                                       cmocka_unit_test(an_edition_that_cannot_be_followed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

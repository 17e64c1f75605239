/* admin_test_private - the verbs over a socket, against a real directory in a fresh place and a
 * broker of two workers without listeners. */
#ifndef SERVICE_ADMIN_ADMIN_TEST_PRIVATE_H
#define SERVICE_ADMIN_ADMIN_TEST_PRIVATE_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/tree_test.h"
#include "service/admin/admin.h"
#include "service/admin/authority_place.h"
#include "service/admin/control_server.h"
#include "service/broker/kept_test.h"
#include "service/directory/policy_yaml.h"
#include "service/pki/bundle.h"
#include "service/watch/scribe_near_test.h"

static const uint8_t master_bytes[32] = "the master key of this test, 32";
struct home {
    char dir[40];
    int fd;
    struct disk *disk;
    struct slice master;
    struct random_source random;
    struct directory *directory;
    struct pki *pki;
    struct authority_files signing;
    const struct policy *policy;
    struct loop *loop;
    struct kept kept;
    struct broker *broker;
    struct near near;
    struct audit *audit;
    struct admin *admin;
    struct admin_setup setup;
    int64_t shift_ms; /* how far the wall clock is ahead */
};

static const struct admin_listener listeners[] = {
    {.name = "mqtts", .door = EVENT_PROTOCOL_mqtt, .port = 8883},
    {.name = "mqtt", .door = EVENT_PROTOCOL_mqtt, .is_plain = true, .port = 1883},
    {.name = "coaps", .door = EVENT_PROTOCOL_coap, .port = 5684}};

static struct home *the_place; /* for the clock, whose ctx the broker copies */

static inline uint64_t test_mono_ms(void *ctx)
{
    struct clock c = clock_system();
    (void)ctx;
    return c.mono_ms(c.ctx);
}

static inline uint64_t test_mono_us(void *ctx)
{
    struct clock c = clock_system();
    (void)ctx;
    return c.mono_us(c.ctx);
}

static inline int64_t test_wall_ms(void *ctx)
{
    struct clock c = clock_system();
    (void)ctx;
    return c.wall_ms(c.ctx) + __atomic_load_n(&the_place->shift_ms, __ATOMIC_RELAXED);
}

static inline void quiet(void *ctx, enum log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)line;
}

static inline void wake(void *ctx)
{
    loop_wake(ctx);
}

static inline void open_signing(struct home *p)
{
    struct why why = {{0}};
    uint8_t key[PKI_SIGNING_KEY_BYTES];
    const struct authority_place place = {.disk = p->disk,
                                          .root = p->master,
                                          .random = p->random,
                                          .now_wall_ms = test_wall_ms(NULL),
                                          .pki = p->pki,
                                          .directory = p->directory};
    assert_int_equal(authority_place_prepare(&place, &why), OK);
    assert_int_equal(pki_signing_key(p->master, key), OK);
    const struct authority_files_setup files = {.disk = p->disk,
                                                .signing_key = slice_of(key, sizeof key),
                                                .random = p->random,
                                                .now_wall_ms = test_wall_ms(NULL)};
    assert_int_equal(authority_files_open(&files, &p->signing, &why), OK);
}

static inline void make_fortress(struct home *p)
{
    struct pki_hosts hosts = {0};
    struct why why = {{0}};
    struct yaml_complaint complaint;
    struct directory_setup setup = {.random = p->random};
    assert_int_equal(pki_hosts_add(&hosts, slice_text("localhost")), OK);
    assert_int_equal(pki_init(p->fd, p->master, &hosts, &p->random, test_wall_ms(NULL)), OK);
    assert_int_equal(pki_open(p->disk, p->master, &p->pki, &why), OK);
    assert_int_equal(disk_save(p->disk, ADMIN_POLICY_FILE, slice_text(policy_yaml_default())), OK);
    assert_int_equal(policy_yaml_read(slice_text(policy_yaml_default()), "policy.yaml", NULL,
                                      &complaint, &p->policy),
                     OK);
    assert_int_equal(directory_create(&setup, &p->directory), OK);
    open_signing(p);
}

static inline void make_broker(struct home *p)
{
    const struct directory_version *v = directory_current(p->directory);
    const struct realm *realm = NULL;
    assert_int_equal(realm_new(v, p->policy, &realm), OK);
    struct broker_setup setup = {.n_workers = 2,
                                 .limits = LIMITS_DEFAULT,
                                 .clock = p->setup.clock,
                                 .random = p->random,
                                 .realm = realm,
                                 .log = p->kept.log,
                                 .committer = p->kept.committer,
                                 .ctx = p->loop,
                                 .notify = wake};
    assert_int_equal(broker_new(&setup, &p->broker, NULL), OK);
    realm_unref(realm);
    directory_version_unref(v);
}

static inline void make_admin(struct home *p)
{
    struct audit_setup audit = {.disk = p->disk,
                                .clock = p->setup.clock,
                                .root = p->master,
                                .random = p->random,
                                .link = near_link(&p->near)};
    p->near.setup = (struct scribe_setup){
        .trail = {
            .disk = p->disk, .clock = p->setup.clock, .root = p->master, .random = p->random}};
    near_start(&p->near);
    struct role_limits start = ROLE_LIMITS_DEFAULT;
    assert_int_equal(audit_open(&audit, &p->audit), OK);
    p->setup.loop = p->loop;
    p->setup.directory = p->directory;
    p->setup.disk = p->disk;
    p->setup.pki = p->pki;
    p->setup.authority = p->signing.authority;
    p->setup.broker = p->broker;
    p->setup.log = p->kept.log;
    p->setup.keyring = p->kept.keyring;
    p->setup.key_source = key_source_at(KEY_SOURCE_FILE);
    p->setup.audit = p->audit;
    p->setup.policy = p->policy;
    p->setup.role_start = start;
    p->setup.random = p->random;
    p->setup.host = "localhost";
    p->setup.listeners = listeners;
    p->setup.n_listeners = COUNT_OF(listeners);
    p->setup.uid = getuid();
    assert_int_equal(admin_new(&p->setup, &p->admin), OK);
}

static inline int setup_stopped(void **state)
{
    struct home *p = test_calloc(1, sizeof *p);
    the_place = p;
    log_to(quiet, NULL, LOG_ERROR);
    memcpy(p->dir, "/tmp/sallyport-adm-XXXXXX", sizeof "/tmp/sallyport-adm-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(disk_system(fcntl(p->fd, F_DUPFD_CLOEXEC, 3), &p->disk), OK);
    p->master = slice_of(master_bytes, sizeof master_bytes);
    p->random = random_system();
    p->setup.clock = (struct clock){test_mono_ms, test_mono_us, test_wall_ms, NULL};
    kept_open(&p->kept, 2, &p->setup.clock);
    make_fortress(p);
    assert_int_equal(loop_new(&p->loop), OK);
    make_broker(p);
    make_admin(p);
    *state = p;
    return 0;
}

static inline int setup(void **state)
{
    int failed = setup_stopped(state);
    struct home *p = *state;
    assert_int_equal(broker_start(p->broker), OK);
    return failed;
}

static inline int teardown(void **state)
{
    struct home *p = *state;
    p->admin = admin_free(p->admin);
    p->broker = broker_free(p->broker);
    p->audit = audit_free(p->audit);
    near_stop(&p->near);
    p->loop = loop_free(p->loop);
    p->policy = policy_unref(p->policy);
    p->directory = directory_free(p->directory);
    kept_close(&p->kept);
    authority_files_close(&p->signing);
    p->pki = pki_free(p->pki);
    p->disk = p->disk->ops->free(p->disk);
    (void)close(p->fd);
    (void)tree_remove(p->dir);
    log_to(NULL, NULL, LOG_INFO);
    test_free(p);
    return 0;
}

/* ---- a client ---- */

struct answer {
    json_t *lines; /* all but the final one */
    int exit_code; /* -1: none yet */
    char error[1024];
};

static inline void answer_done(struct answer *a)
{
    json_decref(a->lines);
}

static inline void turn(struct home *p)
{
    size_t n;
    uint64_t next = admin_tick(p->admin);
    assert_int_equal(loop_turn(p->loop, loop_timeout(test_mono_ms(NULL), next) > 5 ? 5 : 1, &n),
                     OK);
    (void)admin_tick(p->admin);
}

static inline void take_lines(int fd, struct buf *in, struct answer *ret)
{
    uint8_t *room;
    assert_int_equal(buf_room(in, 65536, CONTROL_ANSWER_MAX, &room), OK);
    ssize_t n = recv(fd, room, 65536, MSG_DONTWAIT);
    in->n += n > 0 ? (size_t)n : 0;
    struct slice rest = buf_slice(in);
    for (size_t at = slice_find(rest, '\n'); at < rest.n; at = slice_find(rest, '\n')) {
        struct control_answer a;
        assert_int_equal(control_answer_decode(slice_head(rest, at), &a), OK);
        if (a.is_done) {
            ret->exit_code = a.exit_code;
            snprintf(ret->error, sizeof ret->error, "%s", a.error != NULL ? a.error : "");
        } else {
            json_array_append(ret->lines, a.line);
        }
        control_answer_done(&a);
        rest = slice_from(rest, at + 1);
    }
    buf_drop(in, in->n - rest.n);
}

static inline int send_request(struct home *p, const char *verb, json_t *args)
{
    int pair[2];
    struct buf request = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(admin_adopt(p->admin, pair[0]), OK);
    assert_int_equal(control_request_encode(verb, args, &request), OK);
    /* Byte by byte at the front, so that a request in pieces is seen too. */
    assert_int_equal(send(pair[1], request.p, 3, 0), 3);
    turn(p);
    assert_int_equal(send(pair[1], request.p + 3, request.n - 3, 0), (ssize_t)request.n - 3);
    buf_done(&request);
    json_decref(args);
    return pair[1];
}

static inline struct answer ask(struct home *p, const char *verb, json_t *args)
{
    struct answer a = {.lines = json_array(), .exit_code = -1};
    struct buf in = {0};
    int fd = send_request(p, verb, args);
    uint64_t until = test_mono_ms(NULL) + 2 * ADMIN_REALM_WAIT_MS;
    while (a.exit_code < 0 && test_mono_ms(NULL) < until) {
        turn(p);
        take_lines(fd, &in, &a);
    }
    assert_int_not_equal(a.exit_code, -1);
    buf_done(&in);
    (void)close(fd);
    return a;
}

static inline const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text != NULL ? text : "";
}

/* Asks, expects this exit code and, for 1, a reason that holds `word`. */
static inline void expect(struct home *p, const char *verb, json_t *args, int exit_code,
                          const char *word)
{
    struct answer a = ask(p, verb, args);
    if (a.exit_code != exit_code || (word != NULL && strstr(a.error, word) == NULL)) {
        fail_msg("%s: exit %d, %s", verb, a.exit_code, a.error);
    }
    answer_done(&a);
}

static inline json_t *order(const char *name, const char *credential)
{
    return json_pack("{s:s,s:s,s:{s:s},s:[s],s:s}", "name", name, "role", "sensor", "attrs", "site",
                     "lab", "credentials", credential, "save_dir", "out");
}

static inline void add(struct home *p, const char *name)
{
    expect(p, "device.add", order(name, "psk"), 0, NULL);
}

/* Events of a category in the memory of the trail. */
static inline size_t count_events(const struct home *p, const char *category, const char *word)
{
    size_t n = 0;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"category\":\"%s\"", category);
    for (uint64_t i = audit_first(p->audit); i < audit_end(p->audit); i++) {
        struct slice s = audit_line(p->audit, i);
        n += memmem(s.p, s.n, wanted, strlen(wanted)) != NULL &&
                     memmem(s.p, s.n, word, strlen(word)) != NULL
                 ? 1
                 : 0;
    }
    return n;
}

#endif

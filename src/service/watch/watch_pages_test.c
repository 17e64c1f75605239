/* A metrics listener: who may read, how much at once, and what happens when nobody answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "service/broker/http_conn.h"
#include "service/broker/scrape.h"
#include "service/broker/worker_bench_test.h"
#include "service/directory/certify_test.h"

enum { ASKED_MAX = 32, ANSWER_BYTES = 4096 };

struct scene {
    struct bench *b;
    struct entrance entrance;
    struct http_door *door;
    struct buf reader_der; /* of `reader`, whose role may read /metrics */
    struct scrape *asked[ASKED_MAX];
    size_t n_asked;
    bool takes_none;
    struct event last;
    unsigned n_events;
};

static enum err on_scrape(void *ctx, struct scrape *s)
{
    struct scene *p = ctx;
    if (p->takes_none || p->n_asked == ASKED_MAX) {
        scrape_free(s);
        return ERR_AGAIN;
    }
    p->asked[p->n_asked++] = s;
    return OK;
}

static void on_event(void *ctx, const struct event *e)
{
    struct scene *p = ctx;
    p->last = *e;
    p->n_events++;
}

static void renew_realm(struct scene *p)
{
    bench_realm(p->b);
    realm_to(p->b, 0);
    settle(p->b);
}

static void open_door(struct scene *p, bool is_open)
{
    p->entrance = (struct entrance){.name = "metrics",
                                    .protocol = EVENT_PROTOCOL_metrics,
                                    .is_metrics = true,
                                    .is_open = is_open};
    struct http_door_setup s = {.worker = p->b->workers[0],
                                .entrance = &p->entrance,
                                .pages = &watch_pages,
                                .key = bench_key,
                                .counters = &p->b->counters[0],
                                .ctx = p,
                                .event = on_event,
                                .scrape = on_scrape};
    assert_int_equal(http_door_new(&s, p->b->now_ms, &p->door), OK);
    http_door_turn(p->door, p->b->now_ms, p->b->wall_ms);
}

static int setup(void **state)
{
    struct scene *p = test_calloc(1, sizeof *p);
    struct directory_secret secret = {.kind = CREDENTIAL_X509, .expires_wall_ms = CREDENTIAL_NEVER};
    struct directory_order o = {.name = slice_text("reader"),
                                .role = slice_text("any"),
                                .secrets = &secret,
                                .n_secrets = 1};
    uint64_t id;
    p->b = bench_open();
    certify("reader", true, WALL, &p->reader_der, &secret.spki);
    assert_int_equal(directory_add(p->b->directory, &o, WALL, &id, NULL), OK);
    assert_int_equal(role_add_resource(p->b->any, slice_text("/metrics"), METHOD_GET, 1), OK);
    renew_realm(p);
    open_door(p, false);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct scene *p = *state;
    struct http_conn *c;
    while ((c = http_door_any(p->door)) != NULL) {
        http_conn_gone(c);
    }
    for (size_t i = 0; i < p->n_asked; i++) {
        scrape_free(p->asked[i]);
    }
    assert_int_equal(atomic_load(&p->b->counters[0].connections_metrics), 0);
    http_door_free(p->door);
    buf_done(&p->reader_der);
    bench_close(p->b);
    test_free(p);
    return 0;
}

/* Time passes: answers and deadlines. */
static void later(struct scene *p, uint64_t ms)
{
    p->b->now_ms += ms;
    p->b->wall_ms += (int64_t)ms;
    worker_turn(p->b->workers[0], p->b->now_ms, p->b->wall_ms);
    http_door_turn(p->door, p->b->now_ms, p->b->wall_ms);
}

static struct http_conn *come(struct scene *p, struct slice der)
{
    struct net_peer peer;
    struct http_conn *c = NULL;
    assert_int_equal(net_peer_parse(slice_text("192.0.2.7:40000"), &peer), OK);
    assert_int_equal(http_conn_open(p->door, &peer, p, p->b->now_ms + 10000, p->b->now_ms, &c), OK);
    if (der.n > 0) {
        AUTO(x509_autofree) struct x509 *x = NULL;
        assert_int_equal(x509_from_der(der, &x), OK);
        http_conn_present(c, x);
    }
    return c;
}

static void ask(struct scene *p, struct http_conn *c, const char *method, const char *path,
                const char *host)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, host);
    http_conn_input(c, slice_text(text), p->b->now_ms);
}

/* What has come, as text; its status, or 0. */
static unsigned hear(struct scene *p, struct http_conn *c, char text[ANSWER_BYTES])
{
    size_t n = http_conn_output(c, (uint8_t *)text, ANSWER_BYTES - 1, p->b->now_ms);
    text[n] = '\0';
    return n > 12 && strncmp(text, "HTTP/1.1 ", 9) == 0 ? (unsigned)strtoul(text + 9, NULL, 10) : 0;
}

static unsigned get(struct scene *p, struct http_conn *c, const char *path)
{
    char text[ANSWER_BYTES];
    ask(p, c, "GET", path, "plant.example");
    return hear(p, c, text);
}

/* The service thread answers the oldest question. */
static void answer(struct scene *p, unsigned status, const char *text)
{
    assert_true(p->n_asked > 0);
    struct scrape *s = p->asked[0];
    memmove(p->asked, p->asked + 1, --p->n_asked * sizeof p->asked[0]);
    s->status = status;
    assert_int_equal(buf_append(&s->text, slice_text(text), SIZE_MAX), OK);
    struct wmsg m = {.kind = WMSG_SCRAPED, .scrape = s};
    assert_int_equal(ring_push(&p->b->service[0], &m), OK);
    later(p, 0);
}

static void test_who_is_granted_reads(void **state)
{
    struct scene *p = *state;
    char text[ANSWER_BYTES];
    struct http_conn *c = come(p, buf_slice(&p->reader_der));
    assert_int_equal(get(p, c, "/metrics"), 0); /* it is asked for */
    assert_true(http_conn_is_known(c));
    assert_int_equal(p->n_asked, 1);
    assert_int_equal(p->asked[0]->want, SCRAPE_NUMBERS);
    answer(p, 200, "sallyport_x 1\n");
    assert_int_equal(hear(p, c, text), 200);
    assert_non_null(strstr(text, "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(text, "\r\n\r\nsallyport_x 1\n"));
    assert_int_equal(p->n_events, 0);
    assert_int_equal(get(p, c, "/other"), 404);
    ask(p, c, "PUT", "/metrics", "x");
    assert_int_equal(hear(p, c, text), 405);
    assert_non_null(strstr(text, "Allow: GET\r\n"));
    assert_int_equal(p->n_asked, 0);
}

static void expect_refused(struct scene *p, struct http_conn *c, const char *path,
                           enum event_category category, const char *words)
{
    unsigned before = p->n_events;
    assert_int_equal(get(p, c, path), 403);
    assert_int_equal(p->n_events, before + 1);
    assert_int_equal(p->last.category, category);
    assert_int_equal(p->last.protocol, EVENT_PROTOCOL_metrics);
    if (strstr(p->last.reason, words) == NULL) {
        fail_msg("%s is not in: %s", words, p->last.reason);
    }
    assert_int_equal(p->n_asked, 0);
    assert_false(http_conn_is_finished(c)); /* a refusal ends no connection */
}

static void test_nobody_else(void **state)
{
    struct scene *p = *state;
    AUTO(buf_done) struct buf other = {0};
    AUTO(buf_done) struct buf nobody = {0};
    struct digest ignored;
    certify("reader", true, WALL, &other, &ignored);
    certify("nobody", true, WALL, &nobody, &ignored);
    struct http_conn *c = come(p, buf_slice(&p->reader_der));
    expect_refused(p, c, "/ready", EVENT_acl_deny, "path: /ready, methods: [GET]");
    assert_string_equal(p->last.principal, "reader");
    expect_refused(p, come(p, buf_slice(&other)), "/metrics", EVENT_auth_fail, "own this key");
    expect_refused(p, come(p, buf_slice(&nobody)), "/metrics", EVENT_auth_fail, "own this key");
    expect_refused(p, come(p, (struct slice){0}), "/metrics", EVENT_identity_mismatch,
                   "no principal");

    EVENT_TEXT(&p->entrance, segment, slice_text("control"));
    expect_refused(p, c, "/metrics", EVENT_identity_mismatch, "segment");
    p->entrance.segment[0] = '\0';

    struct directory *d = p->b->directory;
    assert_int_equal(directory_disable(d, slice_text("reader"), slice_text("")), OK);
    renew_realm(p);
    expect_refused(p, c, "/metrics", EVENT_revoked, "disabled or revoked");
    assert_int_equal(directory_enable(d, slice_text("reader"), NULL), OK);
    renew_realm(p);
    assert_int_equal(get(p, c, "/metrics"), 0);
    answer(p, 200, "x\n");
    char text[ANSWER_BYTES];
    assert_int_equal(hear(p, c, text), 200);

    AUTO(x509_autofree) struct x509 *x = NULL;
    assert_int_equal(x509_from_der(buf_slice(&p->reader_der), &x), OK);
    p->b->wall_ms = x509_info(x)->not_after_wall_ms;
    later(p, 0);
    expect_refused(p, c, "/metrics", EVENT_credential_expiring, "past its time");
    assert_int_equal(atomic_load(&p->b->counters[0].refused_denied), 7);
}

static void test_under_a_name_of_this_machine(void **state)
{
    static const struct {
        const char *host;
        unsigned status;
    } rows[] = {{"localhost", 0},       {"localhost:9464", 0},
                {"127.0.0.1", 0},       {"127.9.8.7:1", 0},
                {"[::1]", 0},           {"[::1]:9464", 0},
                {"evil.example", 403},  {"localhost.", 403},
                {"localhostx", 403},    {"127.0.0.1.example", 403},
                {"[::1]x", 403},        {"[::2]", 403},
                {"128.0.0.1", 403},     {"", 403},
                {"127.0.0.1@evil", 403}};
    struct scene *p = *state;
    http_door_free(p->door);
    open_door(p, true);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[ANSWER_BYTES];
        struct http_conn *c = come(p, (struct slice){0});
        ask(p, c, "GET", "/health", rows[i].host);
        if (hear(p, c, text) != rows[i].status) {
            fail_msg("%s: %s", rows[i].host, text);
        }
        assert_int_equal(p->n_asked, rows[i].status == 0 ? 1 : 0);
        if (p->n_asked > 0) {
            assert_int_equal(p->asked[0]->want, SCRAPE_ALIVE);
            answer(p, 200, "alive\n");
        }
        http_conn_gone(c);
    }
}

/* Four pages wait, or were not read; one more is told to come again, and /health is not. */
static void test_how_much_at_once(void **state)
{
    struct scene *p = *state;
    struct http_conn *c[5];
    char text[ANSWER_BYTES];
    http_door_free(p->door);
    open_door(p, true);
    for (size_t i = 0; i < COUNT_OF(c); i++) {
        c[i] = come(p, (struct slice){0});
        ask(p, c[i], "GET", "/metrics", "localhost");
    }
    assert_int_equal(p->n_asked, 4);
    assert_int_equal(hear(p, c[4], text), 503);
    assert_non_null(strstr(text, "Retry-After: "));
    ask(p, c[4], "GET", "/ready", "localhost");
    assert_int_equal(p->n_asked, 5);
    answer(p, 200, "page\n"); /* of the first, who does not read it */
    ask(p, come(p, (struct slice){0}), "GET", "/metrics", "localhost");
    assert_int_equal(p->n_asked, 4);
    assert_int_equal(hear(p, c[0], text), 200);
    ask(p, come(p, (struct slice){0}), "GET", "/metrics", "localhost");
    assert_int_equal(p->n_asked, 5);
    p->takes_none = true;
    ask(p, c[0], "GET", "/health", "localhost");
    assert_int_equal(hear(p, c[0], text), 503);
}

static void test_nobody_answers(void **state)
{
    struct scene *p = *state;
    char text[ANSWER_BYTES];
    struct http_conn *c = come(p, buf_slice(&p->reader_der));
    assert_int_equal(get(p, c, "/metrics"), 0);
    later(p, HTTP_DOOR_ANSWER_MS - 1);
    assert_int_equal(hear(p, c, text), 0);
    later(p, 2);
    assert_int_equal(hear(p, c, text), 503);
    answer(p, 200, "too late\n");
    assert_int_equal(hear(p, c, text), 0);
    assert_int_equal(get(p, c, "/metrics"), 0); /* the next one is its own */
    answer(p, 200, "now\n");
    assert_int_equal(hear(p, c, text), 200);
    assert_non_null(strstr(text, "\r\n\r\nnow\n"));
}

/* Who is silent, and who does not read the end of its answer. */
static void test_slow_clients(void **state)
{
    struct scene *p = *state;
    struct http_conn *silent = come(p, buf_slice(&p->reader_der));
    later(p, 10001);
    assert_int_equal(p->last.category, EVENT_slow_client);
    assert_true(http_conn_is_finished(silent));
    assert_int_equal(atomic_load(&p->b->counters[0].refused_by[LIMIT_preauth_seconds]), 1);
    http_conn_gone(silent);
    struct http_conn *c = come(p, buf_slice(&p->reader_der));
    assert_int_equal(get(p, c, "/metrics"), 0);
    answer(p, 200, "page\n");
    later(p, HTTP_IDLE_MS + 1);
    assert_false(http_conn_is_finished(c) || http_conn_is_shed(c)); /* it may read the rest */
    later(p, HTTP_IDLE_MS + 1);
    assert_true(http_conn_is_shed(c));
}

/* Without memory a request is refused, or its connection ends: nothing else. */
static void test_every_allocation_fails(void **state)
{
    struct scene *p = *state;
    bool is_through = false;
    for (long n = 0; n < 200 && !is_through; n++) {
        char text[ANSWER_BYTES];
        struct http_conn *c = come(p, buf_slice(&p->reader_der));
        (void)mem_fail_after(n);
        ask(p, c, "GET", "/metrics", "plant.example");
        (void)mem_fail_after(-1);
        unsigned status = hear(p, c, text);
        assert_true(status == 0 || status == 403 || status == 503);
        is_through = p->n_asked == 1;
        if (!is_through) {
            assert_true(status != 0 || http_conn_is_finished(c));
        }
        http_conn_gone(c);
    }
    assert_true(is_through);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_is_granted_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_else, setup, teardown),
        cmocka_unit_test_setup_teardown(test_under_a_name_of_this_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_how_much_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_allocation_fails, setup, teardown),
    };
    return cmocka_run_group_tests_name("watch_pages", tests, NULL, NULL);
}

/* The proxy from both sides: clients of the door, and servers that a test plays. */
#include "service/gateway/door_bench_test.h"
#include "service/gateway/proxy.h"

enum { ASKED_MAX = 600, WAIT_MS = 45000 };

struct asked {
    struct net_peer to;
    size_t n;
    uint8_t bytes[COAP_MESSAGE_BYTES];
};

/* Worker 0's door, and what it sent to servers. */
struct plant {
    struct driver_ctx ctx; /* first: what the bench calls with */
    struct fortress *f;
    struct proxy_rules rules;
    struct asked asked[ASKED_MAX];
    size_t n_asked, at;
    uint16_t mid;
};

static void keep_asked(void *ctx, const struct net_peer *to, struct slice datagram)
{
    struct plant *p = ctx;
    if (p->n_asked < ASKED_MAX) {
        struct asked *a = &p->asked[p->n_asked++];
        a->to = *to;
        a->n = datagram.n;
        slice_copy(a->bytes, datagram);
    }
}

static struct net_peer address(const char *text)
{
    struct net_peer p;
    assert_int_equal(net_peer_parse(slice_text(text), &p), OK);
    return p;
}

static struct proxy_target target(const char *network, uint16_t port, const char *name)
{
    struct proxy_target t = {.port = port};
    bool is_exact;
    assert_int_equal(net_network_parse(slice_text(network), &is_exact, &t.to), OK);
    assert_true(slice_to_text(slice_text(name), t.name, sizeof(t.name)));
    return t;
}

static void grant_resource(struct role *r, const char *path, unsigned methods)
{
    assert_int_equal(role_add_resource(r, slice_text(path), methods, 1), OK);
}

static void put_policy(struct plant *p, bool narrow)
{
    struct policy *policy = NULL;
    struct role *r = NULL;
    uint64_t epoch;
    assert_int_equal(policy_new(&policy), OK);
    assert_int_equal(policy_add_role(policy, slice_text("sensor"), &r), OK);
    if (!narrow) {
        grant_resource(r, "coap://+/#", METHOD_GET | METHOD_PUT | METHOD_POST | METHOD_FETCH);
    }
    grant_resource(r, "/line2/+", METHOD_GET);
    role_limits(r)->replay_rate = 100000;
    role_limits(r)->connect_burst = 100;
    assert_int_equal(policy_add_role(policy, slice_text("console"), &r), OK);
    grant_resource(r, "coap://+/#", METHOD_GET);
    assert_int_equal(policy_add_role(policy, slice_text("nobody"), &r), OK);
    (void)policy_unref(p->f->policy);
    p->f->policy = policy;
    assert_int_equal(directory_policy_changed(p->f->directory, &epoch), OK);
    publish_realm(p->f);
}

static void open_door(struct plant *p)
{
    struct fortress *f = p->f;
    struct coap_door_setup d = {.worker = f->workers[0],
                                .entrance = &f->coaps,
                                .limits = &f->limits,
                                .key = {3, 4},
                                .random = random_seeded(&f->seed),
                                .counters = &f->counters[0],
                                .ctx = p,
                                .open = open_fake,
                                .transmit = door_transmit,
                                .event = worker_event,
                                .proxy = &p->rules,
                                .ask = keep_asked};
    coap_door_free(f->doors[0]);
    assert_int_equal(coap_door_new(&d, f->now_ms, f->wall_ms, &f->doors[0]), OK);
}

static int plant_open(void **state)
{
    void *f = NULL;
    struct plant *p = mem_zalloc(sizeof(*p));
    assert_non_null(p);
    assert_int_equal(fortress_open(&f), 0);
    p->f = f;
    p->ctx = (struct driver_ctx){p->f, 0};
    p->rules = (struct proxy_rules){.wait_ms = WAIT_MS, .n_targets = 3, .n_paths = 1};
    p->rules.targets[0] = target("192.0.2.0/24", 5683, "");
    p->rules.targets[1] = target("198.51.100.0/23", 5683, "");
    p->rules.targets[2] = target("192.0.2.9", 7000, "plc");
    p->rules.paths[0] = (struct proxy_path){.path = "/line2", .to = address("192.0.2.8:5683")};
    open_door(p);
    put_policy(p, false);
    assert_true(link_device(p->f, 0, 1, "dev1"));
    assert_true(link_device(p->f, 0, 2, "dev2"));
    *state = p;
    return 0;
}

static int plant_close(void **state)
{
    struct plant *p = *state;
    void *f = p->f;
    assert_int_equal(fortress_close(&f), 0);
    mem_free(p);
    return 0;
}

/* ---- both sides ---- */

struct wish {
    enum coap_type type;
    uint8_t code;
    const char *uri; /* Proxy-Uri; NULL: none */
    const char *path;
    int observe, block1;
    const char *oscore, *payload;
    uint16_t odd; /* an option of this number */
    uint8_t token;
};

#define GETS(where) .code = COAP_GET, .uri = (where), .observe = -1, .block1 = -1, .token = 1

static void wishes(struct plant *p, uint64_t id, const struct wish *w)
{
    uint8_t block[COAP_MESSAGE_BYTES], bytes[DATAGRAM];
    struct net_peer peer = peer_of(id);
    size_t n = 0;
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_message m = {.type = w->type,
                             .code = w->code,
                             .mid = ++p->mid,
                             .token = slice_of(&w->token, 1),
                             .payload = slice_text(w->payload)};
    add_optional(&o, COAP_OPTION_OBSERVE, w->observe);
    if (w->oscore != NULL) {
        coap_option_add(&o, COAP_OPTION_OSCORE, slice_text(w->oscore));
    }
    if (w->path != NULL) {
        coap_uri_path_options(slice_text(w->path), &o);
    }
    add_optional(&o, COAP_OPTION_BLOCK1, w->block1);
    if (w->uri != NULL) {
        coap_option_add(&o, COAP_OPTION_PROXY_URI, slice_text(w->uri));
    }
    if (w->odd != 0) {
        coap_option_add(&o, w->odd, (struct slice){0});
    }
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    forget_sent(p->f);
    coap_door_datagram(p->f->doors[0], &peer, slice_of(bytes, n), p->f->now_ms);
    turns(p->f);
}

static struct coap_message answer_to(struct plant *p, uint64_t id)
{
    return next_sent(p->f, 0, id);
}

/* The next datagram to a server; a Reset message: none. */
static struct coap_message next_asked(struct plant *p, struct net_peer *ret_to)
{
    struct coap_message m = {.type = COAP_RST};
    if (p->at < p->n_asked) {
        const struct asked *a = &p->asked[p->at++];
        *ret_to = a->to;
        assert_int_equal(coap_message_decode(slice_of(a->bytes, a->n), 8, &m), OK);
    }
    return m;
}

static void comes(struct plant *p, const struct net_peer *from, const struct coap_message *m)
{
    uint8_t bytes[DATAGRAM];
    size_t n = 0;
    assert_int_equal(coap_message_encode(m, bytes, sizeof(bytes), &n), OK);
    coap_door_upstream(p->f->doors[0], from, slice_of(bytes, n), p->f->now_ms);
    turns(p->f);
}

static void server_says(struct plant *p, const struct net_peer *from, const struct coap_message *to,
                        uint8_t code, const char *payload, int observe, int max_age)
{
    uint8_t block[64];
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct coap_message m = {.type = to->type == COAP_CON ? COAP_ACK : COAP_NON,
                             .code = code,
                             .mid = to->mid,
                             .token = to->token,
                             .payload = slice_text(payload)};
    add_optional(&o, COAP_OPTION_OBSERVE, observe);
    add_optional(&o, COAP_OPTION_MAX_AGE, max_age);
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    comes(p, from, &m);
}

static bool says(const struct coap_message *m, const char *text)
{
    return slice_equal(m->payload, slice_text(text));
}

static uint64_t counted(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* ---- one request ---- */

static void a_request_and_its_answer(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a/b?q"), .type = COAP_CON});
    struct coap_message asked = next_asked(p, &to);
    assert_int_equal(asked.type, COAP_CON);
    assert_int_equal(asked.token.n, 8);
    assert_int_equal(option_of(&asked, COAP_OPTION_HOP_LIMIT), COAP_FORWARD_HOPS);
    struct net_peer want = address("192.0.2.7:5683");
    assert_true(net_peer_equal(&to, &want));
    assert_int_equal(answer_to(p, 1).type, COAP_RST);
    server_says(p, &to, &asked, COAP_CONTENT, "value", -1, 0);
    struct coap_message got = answer_to(p, 1);
    EXPECT_CODE(got, COAP_CONTENT);
    assert_true(says(&got, "value"));
    server_says(p, &to, &asked, COAP_CONTENT, "again", -1, 0);
    assert_int_equal(answer_to(p, 1).type, COAP_RST);
    assert_int_equal(counted(&p->f->counters[0].proxy_requests), 1);
}

static void nothing_goes_where_it_may_not(void **state)
{
    static const struct {
        const char *uri;
        uint8_t code;
    } rows[] = {{"coap://192.0.3.7/", COAP_FORBIDDEN},
                {"coap://192.0.2.7:5684/", COAP_FORBIDDEN},
                {"coap://127.0.0.1/", COAP_FORBIDDEN},
                {"coap://[::ffff:192.0.3.7]/", COAP_FORBIDDEN},
                {"coap://somewhere/", COAP_PROXYING_NOT_SUPPORTED},
                {"coap://plc/", COAP_PROXYING_NOT_SUPPORTED}, /* its port is another */
                {"coaps://192.0.2.7/", COAP_PROXYING_NOT_SUPPORTED},
                {"coap:///", COAP_BAD_REQUEST}};
    struct plant *p = *state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        wishes(p, 1, &(struct wish){GETS(rows[i].uri), .type = COAP_CON});
        EXPECT_CODE(answer_to(p, 1), rows[i].code);
    }
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/"), .type = COAP_CON, .odd = 65003});
    EXPECT_CODE(answer_to(p, 1), COAP_BAD_OPTION);
    assert_int_equal(p->n_asked, 0);
    assert_int_equal(counted(&p->f->counters[0].proxy_refused), COUNT_OF(rows) + 1);
    wishes(p, 1, &(struct wish){GETS("coap://plc:7000/"), .type = COAP_CON});
    assert_int_equal(p->n_asked, 1);
}

static void only_who_was_asked_may_answer(void **state)
{
    struct plant *p = *state;
    struct net_peer to, other = address("192.0.2.66:5683"), port = address("192.0.2.7:5684");
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_CON});
    struct coap_message asked = next_asked(p, &to), forged = asked;
    server_says(p, &other, &asked, COAP_CONTENT, "forged", -1, 0);
    server_says(p, &port, &asked, COAP_CONTENT, "forged", -1, 0);
    assert_int_equal(counted(&p->f->counters[0].proxy_strays), 2);
    forged.token = slice_text("guessed!");
    server_says(p, &to, &forged, COAP_CONTENT, "forged", -1, 0);
    assert_int_equal(answer_to(p, 1).type, COAP_RST);
    server_says(p, &to, &asked, COAP_CONTENT, "true", -1, 0);
    struct coap_message got = answer_to(p, 1);
    assert_true(says(&got, "true"));
}

static void a_server_asks_nothing_of_us(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_CON});
    (void)next_asked(p, &to);
    struct coap_message m = {.type = COAP_CON, .code = COAP_GET, .mid = 9};
    comes(p, &to, &m);
    EXPECT_CODE(next_asked(p, &to), COAP_TOO_MANY_REQUESTS);
}

static void silence_and_rejection(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_CON});
    struct coap_message asked = next_asked(p, &to);
    comes(p, &to, &(struct coap_message){.type = COAP_RST, .mid = asked.mid});
    EXPECT_CODE(answer_to(p, 1), COAP_BAD_GATEWAY);
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_NON});
    pass(p->f, WAIT_MS - 1);
    struct coap_message got = answer_to(p, 1);
    assert_int_equal(got.type, COAP_RST);
    pass(p->f, 1100); /* as exact as the wheel is */
    EXPECT_CODE(answer_to(p, 1), COAP_GATEWAY_TIMEOUT);
    assert_int_equal(counted(&p->f->counters[0].proxy_silent), 1);
}

/* Answers with bytes changed, cut and made longer, by a server that was asked. */
static void answers_that_are_broken(void **state)
{
    enum { ROUNDS = 3000 };
    struct plant *p = *state;
    struct random_source random = random_seeded(&p->f->seed);
    struct net_peer to = address("192.0.2.7:5683");
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct wish w = {GETS("coap://192.0.2.7/w"), .type = COAP_CON, .path = NULL};
        w.observe = i % 3 == 0 ? 0 : -1;
        p->at = p->n_asked = 0;
        wishes(p, 1, &w);
        struct coap_message asked = next_asked(p, &to);
        uint8_t bytes[64];
        struct wr r = wr_into(bytes, sizeof(bytes));
        bool is_con = asked.type == COAP_CON && asked.token.n == 8;
        wr_u8(&r, 0x68);
        wr_u8(&r, COAP_CONTENT);
        wr_u16(&r, asked.mid);
        wr_bytes(&r, is_con ? asked.token : slice_text("12345678"));
        wr_bytes(&r, slice_text("\x41"
                                "e"
                                "\x21\x07\x81\x3c\x91\x06\xff"
                                "payload"));
        size_t n = wr_slice(&r).n;
        bytes[random_u64(&random) % n] ^= (uint8_t)(1U << random_u64(&random) % 8);
        coap_door_upstream(p->f->doors[0], &to, slice_of(bytes, n - random_u64(&random) % 4),
                           p->f->now_ms);
        pass(p->f, 6000);
    }
    assert_int_equal(counted(&p->f->counters[0].proxy_requests), ROUNDS);
    p->f->fakes[0].handler.closed(p->f->fakes[0].handler.ctx, 1, OK); /* it may observe still */
    pass(p->f, WAIT_MS + 10000);
    pass(p->f, PROXY_IDLE_MS + 10000);
    assert_int_equal(p->f->doors[0]->proxy->upstreams.n, 0); /* nothing is left of all that */
}

/* ---- bounds ---- */

static void one_principal_at_one_server(void **state)
{
    struct plant *p = *state;
    assert_true(link_device(p->f, 0, 3, "dev1"));
    for (unsigned i = 0; i < PROXY_REQUESTS_OF_ONE_MAX; i++) {
        struct wish w = {GETS("coap://192.0.2.7/a"), .type = COAP_NON, .path = NULL};
        w.token = (uint8_t)i;
        wishes(p, i % 2 == 0 ? 1 : 3, &w);
    }
    assert_int_equal(p->n_asked, PROXY_REQUESTS_OF_ONE_MAX);
    wishes(p, 3, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_NON});
    EXPECT_CODE(answer_to(p, 3), COAP_UNAVAILABLE);
    wishes(p, 2, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_NON});
    wishes(p, 3, &(struct wish){GETS("coap://192.0.2.10/a"), .type = COAP_NON});
    assert_int_equal(p->n_asked, PROXY_REQUESTS_OF_ONE_MAX + 2);
}

static void all_principals_at_one_server(void **state)
{
    struct plant *p = *state;
    char name[16];
    unsigned most = PROXY_REQUESTS_MAX / PROXY_REQUESTS_OF_ONE_MAX;
    for (unsigned k = 0; k <= most; k++) {
        (void)snprintf(name, sizeof(name), "more%u", k);
        add_device(p->f, name, "sensor");
    }
    publish_realm(p->f);
    for (unsigned k = 0; k <= most; k++) {
        (void)snprintf(name, sizeof(name), "more%u", k);
        assert_true(link_device(p->f, 0, 4 + k, name));
    }
    for (unsigned i = 0; i < PROXY_REQUESTS_MAX; i++) {
        struct wish w = {GETS("coap://192.0.2.7/a"), .type = COAP_NON, .path = NULL};
        w.token = (uint8_t)i;
        wishes(p, 4 + i / PROXY_REQUESTS_OF_ONE_MAX, &w);
    }
    assert_int_equal(p->n_asked, PROXY_REQUESTS_MAX);
    wishes(p, 4 + most, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_NON});
    EXPECT_CODE(answer_to(p, 4 + most), COAP_UNAVAILABLE);
    assert_int_equal(p->n_asked, PROXY_REQUESTS_MAX);
}

/* A server that nobody waits for gives its place; one that somebody waits for does not. */
static void so_many_servers_are_remembered(void **state)
{
    struct plant *p = *state;
    struct proxy *proxy = p->f->doors[0]->proxy;
    char uri[64];
    struct net_peer to;
    for (unsigned i = 0; i <= PROXY_UPSTREAMS_MAX; i++) {
        (void)snprintf(uri, sizeof(uri), "coap://198.51.%u.%u/", 100 + i / 256, i % 256);
        wishes(p, 1, &(struct wish){GETS(uri), .type = COAP_NON});
        struct coap_message asked = next_asked(p, &to);
        server_says(p, &to, &asked, COAP_NOT_FOUND, "", -1, -1);
        assert_int_equal(proxy->upstreams.n, i < PROXY_UPSTREAMS_MAX ? i + 1 : PROXY_UPSTREAMS_MAX);
    }
    struct net_peer first = address("198.51.100.0:5683");
    assert_null(map_find(&proxy->upstreams, net_peer_key(&first)));
    pass(p->f, PROXY_IDLE_MS + 5000);
    assert_int_equal(proxy->upstreams.n, 0);
}

static void nothing_is_left_of_who_has_gone(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_CON});
    struct coap_message asked = next_asked(p, &to);
    p->f->fakes[0].handler.closed(p->f->fakes[0].handler.ctx, 1, OK);
    turns(p->f);
    size_t n = p->n_asked;
    pass(p->f, 10000);
    assert_int_equal(p->n_asked, n); /* it is not repeated for nobody */
    server_says(p, &to, &asked, COAP_CONTENT, "late", -1, 0);
}

/* ---- cache ---- */

static void a_cached_answer_is_one_principals(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    struct wish w = {GETS("coap://192.0.2.7/a"), .type = COAP_CON};
    wishes(p, 1, &w);
    struct coap_message asked = next_asked(p, &to);
    server_says(p, &to, &asked, COAP_CONTENT, "kept", -1, 10);
    pass(p->f, 4000);
    wishes(p, 1, &w);
    struct coap_message got = answer_to(p, 1);
    assert_true(says(&got, "kept"));
    assert_int_equal(option_of(&got, COAP_OPTION_MAX_AGE), 6);
    assert_int_equal(p->n_asked, 1);
    assert_true(link_device(p->f, 0, 3, "dev1")); /* the same principal, elsewhere */
    wishes(p, 3, &w);
    got = answer_to(p, 3);
    assert_true(says(&got, "kept"));
    wishes(p, 2, &w);
    assert_int_equal(p->n_asked, 2);
    pass(p->f, 6000); /* exactly its age */
    wishes(p, 1, &w);
    assert_int_equal(p->n_asked, 3);
    assert_int_equal(counted(&p->f->counters[0].proxy_cached), 2);
    /* who may not ask is told nothing of what is kept */
    put_policy(p, true);
    wishes(p, 1, &w);
    EXPECT_CODE(answer_to(p, 1), COAP_FORBIDDEN);
}

static void what_is_sealed_is_never_kept(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    for (unsigned i = 0; i < 2; i++) {
        struct wish w = {GETS("coap://192.0.2.7/"), .type = COAP_CON, .oscore = "\x09\x01",
                         .payload = "sealed"};
        w.code = i == 0 ? COAP_FETCH : COAP_POST;
        wishes(p, 1, &w);
        struct coap_message asked = next_asked(p, &to);
        assert_true(says(&asked, "sealed"));
        assert_int_equal(asked.code, w.code);
        server_says(p, &to, &asked, COAP_CONTENT, "too", -1, 60);
        struct coap_message got = answer_to(p, 1);
        assert_true(says(&got, "too"));
    }
    assert_int_equal(p->f->doors[0]->proxy->cache.by_key.n, 0);
}

/* A block of an old value beside one of a new would never fit. */
static void what_comes_in_blocks_is_not_kept(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    uint8_t block[8];
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/large"), .type = COAP_CON});
    struct coap_message asked = next_asked(p, &to);
    struct coap_message m = {.type = COAP_ACK,
                             .code = COAP_CONTENT,
                             .mid = asked.mid,
                             .token = asked.token,
                             .payload = slice_text("0123456789abcdef")};
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    coap_option_add_uint(&o, COAP_OPTION_BLOCK2, 8);
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    comes(p, &to, &m);
    struct coap_message got = answer_to(p, 1);
    assert_int_equal(option_of(&got, COAP_OPTION_BLOCK2), 8);
    assert_int_equal(p->f->doors[0]->proxy->cache.by_key.n, 0);
}

static void memory_that_is_short_takes_the_cache(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_CON});
    struct coap_message asked = next_asked(p, &to);
    server_says(p, &to, &asked, COAP_CONTENT, "kept", -1, 60);
    assert_int_equal(p->f->doors[0]->proxy->cache.by_key.n, 1);
    p->f->doors[0]->shedder.spare(p->f->doors[0]->shedder.ctx);
    assert_int_equal(p->f->doors[0]->proxy->cache.by_key.n, 0);
}

/* ---- observations ---- */

static struct coap_message observes_there(struct plant *p, struct net_peer *ret_to)
{
    struct wish w = {GETS("coap://192.0.2.7/w"), .type = COAP_CON, .oscore = NULL};
    w.observe = 0;
    wishes(p, 1, &w);
    struct coap_message asked = next_asked(p, ret_to);
    assert_int_equal(option_of(&asked, COAP_OPTION_OBSERVE), 0);
    server_says(p, ret_to, &asked, COAP_CONTENT, "first", 5, -1);
    struct coap_message got = answer_to(p, 1);
    assert_true(says(&got, "first"));
    assert_int_not_equal(option_of(&got, COAP_OPTION_OBSERVE), UINT32_MAX);
    return asked;
}

static void server_notifies(struct plant *p, const struct net_peer *from,
                            const struct coap_message *to, uint16_t mid, uint8_t code,
                            const char *payload, int observe)
{
    struct coap_message told = {.type = COAP_NON, .mid = mid, .token = to->token};
    forget_sent(p->f);
    server_says(p, from, &told, code, payload, observe, -1);
}

static void a_narrower_policy_ends_what_is_watched(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    struct coap_message asked = observes_there(p, &to);
    server_notifies(p, &to, &asked, 500, COAP_CONTENT, "second", 6);
    struct coap_message got = answer_to(p, 1);
    assert_true(says(&got, "second"));
    pass(p->f, 1000);
    forget_sent(p->f);
    put_policy(p, true);
    EXPECT_CODE(answer_to(p, 1), COAP_FORBIDDEN);
    p->at = p->n_asked;
    server_notifies(p, &to, &asked, 501, COAP_CONTENT, "third", 7);
    assert_int_equal(answer_to(p, 1).type, COAP_RST);
    assert_int_equal(next_asked(p, &to).type, COAP_RST); /* a Reset: the server hears it */
}

static void rules_that_change_end_it_too(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    (void)observes_there(p, &to);
    forget_sent(p->f);
    struct proxy_rules fewer = p->rules;
    fewer.n_targets = 0;
    coap_door_follow(p->f->doors[0], &p->f->coaps, &p->f->limits, &fewer);
    turns(p->f);
    EXPECT_CODE(answer_to(p, 1), COAP_FORBIDDEN);
    wishes(p, 1, &(struct wish){GETS("coap://192.0.2.7/a"), .type = COAP_CON});
    EXPECT_CODE(answer_to(p, 1), COAP_PROXYING_NOT_SUPPORTED);
    coap_door_follow(p->f->doors[0], &p->f->coaps, &p->f->limits, &p->rules);
}

/* A server that stops without an error leaves the client to ask again. */
static void a_server_that_stops_notifying(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    struct coap_message asked = observes_there(p, &to);
    server_notifies(p, &to, &asked, 500, COAP_CONTENT, "last", -1);
    EXPECT_CODE(answer_to(p, 1), COAP_UNAVAILABLE);
    asked = observes_there(p, &to);
    pass(p->f, 1000);
    server_notifies(p, &to, &asked, 501, COAP_NOT_FOUND, "gone", -1);
    EXPECT_CODE(answer_to(p, 1), COAP_NOT_FOUND);
}

/* ---- memory ---- */

static void without_memory_somebody_is_told(void **state)
{
    struct plant *p = *state;
    struct net_peer to;
    for (long n = 0; n < 40; n++) {
        struct wish w = {GETS("coap://192.0.2.7/m"), .type = COAP_CON, .path = NULL};
        w.observe = n % 2 == 0 ? 0 : -1;
        w.token = (uint8_t)n;
        p->at = p->n_asked;
        (void)mem_fail_after(n);
        wishes(p, 1, &w);
        struct coap_message asked = next_asked(p, &to);
        if (asked.type == COAP_CON) {
            server_says(p, &to, &asked, COAP_CONTENT, "x", w.observe, 60);
        }
        (void)mem_fail_after(-1);
        pass(p->f, WAIT_MS + 20000);
    }
    pass(p->f, PROXY_IDLE_MS + 5000);
    wishes(p, 2, &(struct wish){GETS("coap://192.0.2.7/m"), .type = COAP_CON});
    p->at = p->n_asked - 1;
    struct coap_message asked = next_asked(p, &to);
    server_says(p, &to, &asked, COAP_CONTENT, "well", -1, 0);
    struct coap_message got = answer_to(p, 2);
    assert_true(says(&got, "well"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, plant_open, plant_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_and_its_answer),
        CASE(nothing_goes_where_it_may_not),
        CASE(only_who_was_asked_may_answer),
        CASE(a_server_asks_nothing_of_us),
        CASE(silence_and_rejection),
        CASE(answers_that_are_broken),
        CASE(one_principal_at_one_server),
        CASE(all_principals_at_one_server),
        CASE(so_many_servers_are_remembered),
        CASE(nothing_is_left_of_who_has_gone),
        CASE(a_cached_answer_is_one_principals),
        CASE(what_is_sealed_is_never_kept),
        CASE(what_comes_in_blocks_is_not_kept),
        CASE(memory_that_is_short_takes_the_cache),
        CASE(a_narrower_policy_ends_what_is_watched),
        CASE(rules_that_change_end_it_too),
        CASE(a_server_that_stops_notifying),
        CASE(without_memory_somebody_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

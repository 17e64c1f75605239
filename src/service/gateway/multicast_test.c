/* Requests to groups: what is answered, when, how often, and that nothing else ever is. */
#include "net/unproven.h"
#include "service/gateway/door_bench_test.h"
#include "service/gateway/door_private.h"
#include "wire/coap/link.h"

enum { DOOR = 3, LEISURE_MS = 5000, BURST = 32, HEARD_MAX = 64 };

struct leaving {
    struct net_peer to;
    size_t n;
    uint8_t bytes[256];
};

struct scene {
    struct fortress *f;
    struct coap_door *door;
    struct entrance entrance;
    struct leaving sent[HEARD_MAX];
    size_t n_sent;
};

static void transmit(void *ctx, const struct net_peer *to, struct slice bytes)
{
    struct scene *s = ctx;
    assert_true(s->n_sent < HEARD_MAX && bytes.n <= sizeof(s->sent[0].bytes));
    struct leaving *one = &s->sent[s->n_sent++];
    one->to = *to;
    one->n = bytes.n;
    slice_copy(one->bytes, bytes);
}

static void scene_event(void *ctx, const struct event *e)
{
    keep_event(((struct scene *)ctx)->f, e);
}

static int open_scene(void **state)
{
    struct scene *s = mem_zalloc(sizeof(*s));
    void *fortress = NULL;
    assert_non_null(s);
    (void)fortress_open(&fortress);
    s->f = fortress;
    s->entrance = (struct entrance){.name = "coap",
                                    .protocol = EVENT_PROTOCOL_coap,
                                    .is_oscore = true,
                                    .hears_groups = true,
                                    .index = 1};
    struct coap_door_setup setup = {.worker = s->f->workers[0],
                                    .index = DOOR,
                                    .entrance = &s->entrance,
                                    .limits = &s->f->limits,
                                    .key = {3, 4},
                                    .random = random_seeded(&s->f->seed),
                                    .counters = &s->f->counters[0],
                                    .ctx = s,
                                    .transmit = transmit,
                                    .event = scene_event};
    assert_int_equal(coap_door_new(&setup, s->f->now_ms, s->f->wall_ms, &s->door), OK);
    *state = s;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *s = *state;
    void *fortress = s->f;
    coap_door_free(s->door);
    mem_free(s);
    return fortress_close(&fortress);
}

/* What is not said is as in the request that is answered. */
struct wish {
    enum coap_type type; /* COAP_CON stands for a NON, is_con for itself */
    bool is_con, is_empty, has_no_token;
    uint8_t code;
    const char *path, *query, *token;
    int accept, quiet, critical; /* one more than the value */
};

static size_t hears(struct scene *s, unsigned from, const struct wish *w)
{
    uint8_t bytes[256], block[128];
    struct net_peer peer = peer_of(from);
    size_t n = 0;
    struct coap_option_writer o = coap_option_writer_into(block, sizeof(block));
    struct slice path = slice_text(w->path != NULL ? w->path : "/.well-known/core");
    bool has_more = path.n > 1;
    path = slice_from(path, 1);
    while (has_more) {
        coap_option_add(&o, COAP_OPTION_URI_PATH, slice_cut(&path, '/', &has_more));
    }
    if (w->query != NULL) {
        coap_option_add(&o, COAP_OPTION_URI_QUERY, slice_text(w->query));
    }
    add_optional(&o, COAP_OPTION_ACCEPT, w->accept - 1);
    add_optional(&o, COAP_OPTION_NO_RESPONSE, w->quiet - 1);
    add_optional(&o, 2049, w->critical - 1);
    struct coap_message m = {.type = w->type == COAP_CON && !w->is_con ? COAP_NON : w->type,
                             .code = w->is_empty    ? COAP_EMPTY
                                     : w->code != 0 ? w->code
                                                    : COAP_GET,
                             .mid = ++s->f->mid};
    if (!w->has_no_token) {
        m.token = slice_text(w->token != NULL ? w->token : "t");
    }
    assert_int_equal(coap_option_writer_done(&o, &m.options), OK);
    assert_int_equal(coap_message_encode(&m, bytes, sizeof(bytes), &n), OK);
    peer.address[15] = (uint8_t)from;
    coap_door_group(s->door, &peer, slice_of(bytes, n), s->f->now_ms);
    return n;
}

/* As a driver does: to the next deadline, until `ms` have passed. */
static void wait_for(struct scene *s, uint64_t ms)
{
    uint64_t until = s->f->now_ms + ms;
    while (s->f->now_ms < until) {
        uint64_t next = coap_door_deadline(s->door);
        s->f->now_ms = next > s->f->now_ms && next < until ? next : until;
        coap_door_turn(s->door, s->f->now_ms, s->f->wall_ms);
    }
}

static void the_list_is_answered(void **state)
{
    struct scene *s = *state;
    struct coap_message m;
    uint32_t format = 0;
    size_t n = hears(s, 1, &(struct wish){0});
    assert_int_equal(s->n_sent, 0); /* not at once */
    assert_true(coap_door_deadline(s->door) <= s->f->now_ms + LEISURE_MS);
    wait_for(s, LEISURE_MS);
    assert_int_equal(s->n_sent, 1);
    assert_true(s->sent[0].n <= UNPROVEN_TIMES * n);
    assert_int_equal(coap_message_decode(slice_of(s->sent[0].bytes, s->sent[0].n), 8, &m), OK);
    assert_int_equal(m.type, COAP_NON);
    assert_int_equal(m.code, COAP_CONTENT);
    assert_true(slice_is(m.token, "t"));
    assert_true(coap_options_find_uint(m.options, COAP_OPTION_CONTENT_FORMAT, &format));
    assert_int_equal(format, COAP_FORMAT_LINK);
    assert_true(slice_is(m.payload, "</mq>;rt=\"sallyport.topics\",</.well-known/core>;ct=40"));
    assert_int_equal(s->door->counts.unproven_bytes_in, n);
    assert_int_equal(s->door->counts.unproven_bytes_out, s->sent[0].n);
    assert_int_equal(coap_door_count(s->door), 0);
    wait_for(s, LEISURE_MS);
    assert_int_equal(s->n_sent, 1);
    (void)hears(s, 1, &(struct wish){.query = "rt=sallyport.*", .accept = 41, .quiet = 27});
    wait_for(s, LEISURE_MS); /* it wants no answer at all */
    assert_int_equal(s->n_sent, 1);
    (void)hears(s, 1, &(struct wish){.query = "rt=sallyport.*", .accept = 41, .quiet = 1});
    wait_for(s, LEISURE_MS);
    assert_int_equal(s->n_sent, 2);
    assert_int_equal(coap_message_decode(slice_of(s->sent[1].bytes, s->sent[1].n), 8, &m), OK);
    assert_true(slice_is(m.payload, "</mq>;rt=\"sallyport.topics\""));
}

/* No error, no Reset, no acknowledgement. SPEC: RFC7252 8.1, 8.2 */
static void nothing_else_is_answered(void **state)
{
    struct scene *s = *state;
    static const struct wish wishes[] = {
        {.is_con = true},
        {.type = COAP_ACK},
        {.code = COAP_PUT},
        {.code = COAP_POST},
        {.code = COAP_CONTENT},
        {.is_empty = true, .path = "/", .has_no_token = true},
        {.path = "/"},
        {.path = "/mq/s/dev1/x"},
        {.path = "/.well-known/other"},
        {.path = "/.well-known/core/x"},
        {.query = "rt=nobody"},
        {.query = "=x"},
        {.accept = 51},
        {.quiet = 3},
        {.critical = 2},
    };
    for (unsigned i = 0; i < COUNT_OF(wishes); i++) {
        (void)hears(s, i + 1, &wishes[i]);
    }
    static const uint8_t junk[] = {0x50, 1, 2, 3, 0xff};
    struct net_peer peer = peer_of(1);
    for (size_t n = 0; n <= sizeof(junk); n++) {
        coap_door_group(s->door, &peer, slice_of(junk, n), s->f->now_ms);
    }
    wait_for(s, 2ULL * LEISURE_MS);
    assert_int_equal(s->n_sent, 0);
    s->entrance.hears_groups = false; /* without a rule */
    (void)hears(s, 1, &(struct wish){0});
    wait_for(s, LEISURE_MS);
    assert_int_equal(s->n_sent, 0);
}

/* At most three for one, however small; the parts of the list that fit. */
static void small_requests_get_little(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < 16; i++) {
        char token[] = "tokentoke";
        token[i % 9] = '\0';
        s->n_sent = 0;
        size_t n = hears(s, 1, &(struct wish){.token = token});
        wait_for(s, LEISURE_MS);
        assert_int_equal(s->n_sent, 1);
        assert_true(s->sent[0].n <= UNPROVEN_TIMES * n);
    }
    assert_int_equal(s->door->counts.unproven_withheld, 0);
    assert_true(s->door->counts.unproven_worst_per_mille <= 3000);
}

/* One answer for an address at a time, spread over the leisure, and so many in a second. */
static void floods(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < 100; i++) {
        (void)hears(s, 1, &(struct wish){0});
    }
    uint64_t began = s->f->now_ms, first = 0;
    wait_for(s, LEISURE_MS);
    assert_int_equal(s->n_sent, 1);
    assert_null(find_event(s->f, EVENT_amplification));
    wait_for(s, LEISURE_MS);
    s->n_sent = 0;
    for (unsigned i = 0; i < 200; i++) {
        (void)hears(s, i + 1, &(struct wish){0});
    }
    first = coap_door_deadline(s->door);
    wait_for(s, LEISURE_MS);
    assert_true(s->n_sent <= BURST && s->n_sent > BURST / 2);
    assert_true(first > began);
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < 200; i++) {
            (void)hears(s, i + 1, &(struct wish){0});
        }
        s->n_sent = 0;
        wait_for(s, 1000);
    }
    const struct event *e = find_event(s->f, EVENT_amplification);
    assert_non_null(e);
    assert_string_equal(e->listener, "coap");
    assert_non_null(strstr(e->reason, "multicast groups"));
    wait_for(s, LEISURE_MS);
    assert_int_equal(coap_door_count(s->door), 0);
}

/* What waits when the server goes down is not said, and without memory nothing is. */
static void the_end(void **state)
{
    struct scene *s = *state;
    (void)mem_fail_after(0);
    (void)hears(s, 1, &(struct wish){0});
    assert_true(mem_fail_after(-1));
    wait_for(s, LEISURE_MS);
    assert_int_equal(s->n_sent, 0);
    (void)hears(s, 1, &(struct wish){0});
    coap_door_drain(s->door, s->f->now_ms);
    (void)hears(s, 2, &(struct wish){0});
    wait_for(s, LEISURE_MS);
    assert_int_equal(s->n_sent, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_scene, close_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_list_is_answered),
        CASE(nothing_else_is_answered),
        CASE(small_requests_get_little),
        CASE(floods),
        CASE(the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

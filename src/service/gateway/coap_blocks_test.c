/* Values in blocks through the door: what becomes of them, what is refused, and that nothing of it
 * stays. */
#include "service/gateway/door_bench_test.h"
#include "service/gateway/door_private.h"

enum { SIZE = 1024, SZX = 6, MORE = 8, BODY = 5000 };

static uint8_t pattern[80000];

static int group_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)('a' + (i + i / SIZE) % 26);
    }
    return 0;
}

static size_t n_bodies(const struct fortress *f, unsigned worker)
{
    return coap_bodies_count(&f->doors[worker]->bodies);
}

/* Block `number` of the first n bytes of the pattern. */
static struct ask block_of(uint8_t code, const char *path, uint32_t number, size_t n)
{
    struct ask a = {ASK(COAP_CON, code, path)};
    size_t at = (size_t)number * SIZE;
    bool has_more = at + SIZE < n;
    a.payload = slice_of(pattern + at, has_more ? SIZE : n - at);
    a.block1 = (int)(number << 4 | (has_more ? MORE : 0U) | SZX);
    return a;
}

/* All blocks of a value; gives the last answer. */
static struct coap_message sends(struct fortress *f, unsigned worker, uint64_t id, uint8_t code,
                                 const char *path, size_t n)
{
    struct coap_message m = {.code = COAP_EMPTY};
    for (uint32_t number = 0; number * (size_t)SIZE < n; number++) {
        struct ask a = block_of(code, path, number, n);
        m = asks(f, worker, id, &a);
        if (m.code != COAP_CONTINUE) {
            return m;
        }
        assert_int_equal(option_of(&m, COAP_OPTION_BLOCK1), a.block1);
        assert_int_equal(n_bodies(f, worker), 1);
    }
    return m;
}

static uint64_t etag_of(const struct coap_message *m)
{
    struct slice etag = {0};
    uint64_t value = 0;
    if (coap_options_find(m->options, COAP_OPTION_ETAG, &etag)) {
        assert_int_equal(etag.n, sizeof(value));
        memcpy(&value, etag.p, sizeof(value));
    }
    return value;
}

/* Gets blocks from `first` on, by this size, until there are no more; checks them. */
static size_t fetches(struct fortress *f, unsigned worker, uint64_t id, const char *path,
                      uint32_t first, unsigned szx, uint64_t etag)
{
    uint32_t number = first, value;
    size_t size = (size_t)16 << szx;
    do {
        struct ask get = {ASK(COAP_CON, COAP_GET, path)};
        get.block2 = (int)(number << 4 | szx);
        struct coap_message m = asks(f, worker, id, &get);
        EXPECT_CODE(m, COAP_CONTENT);
        assert_true(etag_of(&m) == etag);
        value = option_of(&m, COAP_OPTION_BLOCK2);
        assert_int_equal(value & ~8U, number << 4 | szx);
        assert_true(slice_equal(m.payload, slice_of(pattern + number * size, m.payload.n)));
        if ((value & MORE) == 0) {
            return number * size + m.payload.n;
        }
        assert_int_equal(m.payload.n, size);
        number++;
    } while (number < 10000);
    return 0;
}

/* ---- what works ---- */

static void many_blocks_are_one_message(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "desk"));
    struct coap_message m = sends(f, 0, 1, COAP_PUT, "/mq/commands/dev1", BODY);
    EXPECT_CODE(m, COAP_CREATED);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK1), 4 << 4 | SZX);
    assert_int_equal(n_bodies(f, 0), 0);
    assert_int_equal(atomic_load(&f->counters[0].received_qos1), 1);
    EXPECT_CODE(sends(f, 0, 1, COAP_PUT, "/mq/commands/dev1", BODY), COAP_CHANGED);
    mqtt_open(f, "desk");
    mqtt_subscribe(f, "commands/#");
    char text[64];
    (void)snprintf(text, sizeof(text), "%.60s", (const char *)pattern + 4900);
    assert_true(mqtt_has_seen(f, text));
    EXPECT_CODE(sends(f, 0, 1, COAP_POST, "/mq/commands/dev9", BODY), COAP_CHANGED);
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev9")};
    EXPECT_CODE(asks(f, 0, 1, &get), COAP_NOT_FOUND);
}

static void large_values_are_read_in_blocks(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "desk"));
    assert_true(link_device(f, 1, 2, "dev1"));
    EXPECT_CODE(sends(f, 0, 1, COAP_PUT, "/mq/commands/dev1", BODY), COAP_CREATED);
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    struct coap_message m = asks(f, 1, 2, &get);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(m.payload.n, SIZE);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK2), MORE | SZX);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE2), BODY);
    uint64_t etag = etag_of(&m);
    assert_true(etag != 0);
    for (unsigned szx = 0; szx <= SZX; szx++) {
        f->now_ms += 60000; /* reading has a rate */
        uint32_t first = szx == 0 ? 200 : 0;
        assert_int_equal(fetches(f, 1, 2, "/mq/commands/dev1", first, szx, etag), BODY);
    }
    /* another value: another version from here on, which the client sees by its ETag */
    EXPECT_CODE(sends(f, 0, 1, COAP_PUT, "/mq/commands/dev1", BODY - 1), COAP_CHANGED);
    get.block2 = 1 << 4 | SZX;
    m = asks(f, 1, 2, &get);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(etag_of(&m) != etag && etag_of(&m) != 0);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE2), UINT32_MAX);
}

static void small_values_and_lists_come_in_blocks_when_asked(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "desk"));
    struct ask put = {ASK(COAP_CON, COAP_PUT, "/mq/commands/dev1")};
    put.payload = slice_of(pattern, 20);
    EXPECT_CODE(asks(f, 0, 1, &put), COAP_CREATED);
    struct ask get = {ASK(COAP_CON, COAP_GET, "/mq/commands/dev1")};
    struct coap_message m = asks(f, 0, 1, &get);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK2), UINT32_MAX);
    uint64_t etag = etag_of(&m);
    assert_int_equal(fetches(f, 0, 1, "/mq/commands/dev1", 0, 0, etag), 20);
    struct ask core = {ASK(COAP_CON, COAP_GET, "/.well-known/core")};
    core.block2 = 1; /* 32 bytes */
    m = asks(f, 0, 1, &core);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(m.payload.n, 32);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK2), MORE | 1);
}

/* Two at a time of one association, kept apart by their tags; and one of another association. */
static void transfers_do_not_mix(void **state)
{
    struct fortress *f = *state;
    const char *path = "/mq/commands/dev1";
    assert_true(link_device(f, 0, 1, "desk"));
    assert_true(link_device(f, 0, 2, "desk"));
    for (uint32_t number = 0; number < 3; number++) {
        for (unsigned who = 0; who < 3; who++) {
            struct ask a = block_of(COAP_POST, path, number, 2500);
            uint8_t tag = (uint8_t)who;
            a.request_tag = slice_of(&tag, who < 2 ? 1 : 0);
            struct coap_message m = asks(f, 0, who < 2 ? 1 : 2, &a);
            EXPECT_CODE(m, number < 2 ? COAP_CONTINUE : COAP_CHANGED);
        }
    }
    assert_int_equal(n_bodies(f, 0), 0);
    assert_int_equal(atomic_load(&f->counters[0].received_qos1), 3);
}

static void a_repeated_datagram_changes_nothing(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "desk"));
    for (uint32_t number = 0; number < 3; number++) {
        uint8_t bytes[DATAGRAM];
        struct net_peer peer = peer_of(1);
        struct ask a = block_of(COAP_POST, "/mq/commands/dev1", number, 2500);
        size_t n = build(f, &a, bytes, sizeof(bytes));
        for (int again = 0; again < 3; again++) {
            forget_sent(f);
            coap_door_datagram(f->doors[0], &peer, slice_of(bytes, n), f->now_ms);
            turns(f);
            struct coap_message m = next_sent(f, 0, 1);
            EXPECT_CODE(m, number < 2 ? COAP_CONTINUE : COAP_CHANGED);
        }
    }
    assert_int_equal(atomic_load(&f->counters[0].received_qos1), 1);
}

/* 2.31 is heard even by who wants to hear nothing: else no next block would come. */
static void continue_is_not_kept_back(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "desk"));
    for (uint32_t number = 0; number < 3; number++) {
        struct ask a = block_of(COAP_POST, "/mq/commands/dev1", number, 2500);
        a.type = COAP_NON;
        a.no_response = 2;
        struct coap_message m = asks(f, 0, 1, &a);
        EXPECT_CODE(m, number < 2 ? COAP_CONTINUE : COAP_EMPTY);
    }
    assert_int_equal(atomic_load(&f->counters[0].received_qos0), 1);
}

/* ---- what is refused: code, event, and nothing left ---- */

static void expect_refused(struct fortress *f, const char *name, const struct ask *a, uint8_t code,
                           enum event_category category)
{
    size_t before = count_events(f, category);
    struct coap_message m = asks(f, 0, 1, a);
    if (m.code != code || count_events(f, category) != before + 1 || n_bodies(f, 0) != 0) {
        fail_msg("%s: %x, %zu events, %zu left", name, m.code, count_events(f, category) - before,
                 n_bodies(f, 0));
    }
}

static void wrong_blocks(void **state)
{
    struct fortress *f = *state;
    const char *path = "/mq/s/dev1/t", *large = "/mq/commands/dev1";
    assert_true(link_device(f, 0, 1, "desk"));
    struct ask a = block_of(COAP_PUT, path, 1, 2500);
    expect_refused(f, "no first block", &a, COAP_REQUEST_INCOMPLETE, EVENT_protocol_error);

    struct ask first = block_of(COAP_PUT, path, 0, 3500);
    EXPECT_CODE(asks(f, 0, 1, &first), COAP_CONTINUE);
    a = block_of(COAP_PUT, path, 2, 3500);
    expect_refused(f, "a gap", &a, COAP_REQUEST_INCOMPLETE, EVENT_protocol_error);

    EXPECT_CODE(asks(f, 0, 1, &first), COAP_CONTINUE);
    a = block_of(COAP_PUT, path, 1, 3500);
    a.payload.n = 100;
    expect_refused(f, "a short block", &a, COAP_BAD_REQUEST, EVENT_malformed);

    EXPECT_CODE(asks(f, 0, 1, &first), COAP_CONTINUE);
    a = block_of(COAP_PUT, path, 1, 3500);
    a.format = COAP_FORMAT_OCTETS;
    struct coap_message m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_REQUEST_INCOMPLETE); /* another Content-Format: another operation */
    assert_int_equal(n_bodies(f, 0), 1);
    a = block_of(COAP_PUT, path, 3, 3500);
    expect_refused(f, "a gap at the end", &a, COAP_REQUEST_INCOMPLETE, EVENT_protocol_error);

    a = block_of(COAP_PUT, path, 0, 2500);
    a.block1 = MORE | 7;
    expect_refused(f, "the reserved size", &a, COAP_BAD_REQUEST, EVENT_malformed);
    struct ask get = {ASK(COAP_CON, COAP_GET, path)};
    get.block2 = 7;
    expect_refused(f, "the reserved size in Block2", &get, COAP_BAD_REQUEST, EVENT_malformed);
    get.block2 = -1;
    get.block1 = SZX;
    expect_refused(f, "Block1 in a GET", &get, COAP_BAD_OPTION, EVENT_protocol_error);

    EXPECT_CODE(sends(f, 0, 1, COAP_PUT, large, BODY), COAP_CREATED);
    get = (struct ask){ASK(COAP_CON, COAP_GET, large)};
    get.block2 = 5 << 4 | SZX;
    expect_refused(f, "behind the end", &get, COAP_BAD_REQUEST, EVENT_protocol_error);
    get.block2 = COAP_BLOCK_NUMBER_MAX << 4 | SZX;
    expect_refused(f, "far behind the end", &get, COAP_BAD_REQUEST, EVENT_protocol_error);
    get.observe = 0; /* and not observed for it, nor while it would have to wait */
    expect_refused(f, "behind the end, observing", &get, COAP_BAD_REQUEST, EVENT_protocol_error);
    assert_int_equal(atomic_load(&f->counters[0].subscriptions), 0);
    get.observe = -1;
    get.block2 = 0x10000 << 4 | SZX; /* a number of more than 16 bits is not number 0 */
    expect_refused(f, "number 65536", &get, COAP_BAD_REQUEST, EVENT_protocol_error);
}

static void not_granted_before_any_body(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "dev1"));
    struct ask a = block_of(COAP_PUT, "/mq/s/dev2/t", 0, 2500);
    expect_refused(f, "another's topic", &a, COAP_FORBIDDEN, EVENT_acl_deny);
    a = block_of(COAP_PUT, "/fw/meter", 0, 2500);
    expect_refused(f, "no topic at all", &a, COAP_FORBIDDEN, EVENT_acl_deny);
    a = block_of(COAP_PUT, "/.well-known/core", 0, 2500);
    expect_refused(f, "the list", &a, COAP_METHOD_NOT_ALLOWED, EVENT_protocol_error);
    a = block_of(COAP_PUT, "/mq/a/+", 0, 2500);
    expect_refused(f, "a wildcard", &a, COAP_BAD_REQUEST, EVENT_malformed);
    assert_int_equal(atomic_load(&f->counters[0].received_qos1), 0);
}

/* At the bound, and over it: by what came, and by what Size1 says will come. */
static void sizes_are_bounded(void **state)
{
    struct fortress *f = *state;
    const char *path = "/mq/s/dev1/t";
    assert_true(link_device(f, 0, 1, "dev1")); /* retains 600 bytes at most */
    struct ask a = block_of(COAP_PUT, path, 0, 2500);
    struct coap_message m = asks(f, 0, 1, &a);
    EXPECT_CODE(m, COAP_REQUEST_TOO_LARGE);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE1), 600);
    for (int said = 600; said <= 601; said++) {
        a = block_of(COAP_PUT, path, 0, 2500);
        a.payload.n = 512;
        a.block1 = MORE | 5;
        a.size1 = said;
        m = asks(f, 0, 1, &a);
        EXPECT_CODE(m, said == 600 ? COAP_CONTINUE : COAP_REQUEST_TOO_LARGE);
        assert_int_equal(n_bodies(f, 0), said == 600);
    }
    assert_non_null(find_event(f, EVENT_quota));
    f->limits.packet_bytes = 4096; /* the door's bound of all bodies stays: the caller's counts */
    size_t most = 4096 - strlen("s/dev1/t") - BODY_MARGIN;
    EXPECT_CODE(sends(f, 0, 1, COAP_POST, path, most), COAP_CHANGED);
    m = sends(f, 0, 1, COAP_POST, path, most + 1);
    EXPECT_CODE(m, COAP_REQUEST_TOO_LARGE);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE1), most);
    assert_int_equal(n_bodies(f, 0), 0);
}

static void one_principal_begins_so_many(void **state)
{
    struct fortress *f = *state;
    char path[32];
    assert_true(link_device(f, 0, 1, "desk"));
    assert_true(link_device(f, 0, 2, "dev1"));
    uint32_t most = coap_block_limits_default().owner_bodies;
    for (uint32_t i = 0; i <= most; i++) {
        (void)snprintf(path, sizeof(path), "/mq/a/%u", (unsigned)i);
        struct ask a = block_of(COAP_POST, path, 0, 2500);
        struct coap_message m = asks(f, 0, 1, &a);
        EXPECT_CODE(m, i < most ? COAP_CONTINUE : COAP_TOO_MANY_REQUESTS);
        assert_true(i < most || option_of(&m, COAP_OPTION_MAX_AGE) > 0);
    }
    assert_int_equal(count_events(f, EVENT_quota), 1);
    struct ask other = block_of(COAP_POST, "/mq/s/dev1/t", 0, 2500);
    EXPECT_CODE(asks(f, 0, 2, &other), COAP_CONTINUE);
    assert_int_equal(n_bodies(f, 0), most + 1);
    /* the association goes, and what it began with it */
    f->fakes[0].handler.closed(f->fakes[0].handler.ctx, 1, OK);
    turns(f);
    assert_int_equal(n_bodies(f, 0), 1);
}

static void unfinished_values_are_dropped_in_time(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "desk"));
    struct ask a = block_of(COAP_POST, "/mq/a/b", 0, 2500);
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CONTINUE);
    uint32_t idle_ms = coap_block_limits_default().idle_ms;
    assert_true(coap_door_deadline(f->doors[0]) <= f->now_ms + idle_ms);
    pass(f, idle_ms - 1);
    assert_int_equal(n_bodies(f, 0), 1);
    pass(f, 1);
    assert_int_equal(n_bodies(f, 0), 0);
    a = block_of(COAP_POST, "/mq/a/b", 1, 2500);
    expect_refused(f, "too late", &a, COAP_REQUEST_INCOMPLETE, EVENT_protocol_error);
}

/* Each allocation fails in turn: a refusal or silence, never half a value; then all is well. */
static void no_memory(void **state)
{
    struct fortress *f = *state;
    assert_true(link_device(f, 0, 1, "desk"));
    int was_injected = 1;
    for (long n = 0; was_injected; n++) {
        uint64_t before = atomic_load(&f->counters[0].received_qos1);
        f->now_ms += 60000;
        mem_fail_after(n);
        struct coap_message m = sends(f, 0, 1, COAP_POST, "/mq/a/b", 2500);
        was_injected = mem_fail_after(-1);
        assert_true(was_injected || m.code == COAP_CHANGED);
        assert_true(m.code == COAP_CHANGED || m.code == COAP_UNAVAILABLE || m.type == COAP_RST);
        assert_true(atomic_load(&f->counters[0].received_qos1) <= before + 1);
        pass(f, 200000);
        assert_int_equal(n_bodies(f, 0), 0);
        assert_true(n < 500);
    }
}

/* ---- observing ---- */

static void observers_get_the_first_block(void **state)
{
    struct fortress *f = *state;
    const char *path = "/mq/commands/dev1";
    assert_true(link_device(f, 0, 1, "desk"));
    assert_true(link_device(f, 1, 2, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, path)};
    watch.observe = 0;
    watch.block2 = 4; /* 256 bytes at most */
    EXPECT_CODE(asks(f, 1, 2, &watch), COAP_CONTENT);
    EXPECT_CODE(sends(f, 0, 1, COAP_PUT, path, BODY), COAP_CREATED);
    struct coap_message m = next_sent(f, 1, 2);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_true(option_of(&m, COAP_OPTION_OBSERVE) != UINT32_MAX);
    assert_int_equal(option_of(&m, COAP_OPTION_BLOCK2), MORE | 4);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE2), BODY);
    assert_int_equal(m.payload.n, 256);
    assert_int_equal(fetches(f, 1, 2, path, 1, 4, etag_of(&m)), BODY);
    /* Observe in a request for the rest registers nothing */
    struct ask rest = {ASK(COAP_CON, COAP_GET, path)};
    rest.observe = 0;
    rest.block2 = 1 << 4 | 4;
    rest.token = 9;
    m = asks(f, 1, 2, &rest);
    EXPECT_CODE(m, COAP_CONTENT);
    assert_int_equal(option_of(&m, COAP_OPTION_OBSERVE), UINT32_MAX);
}

/* What is not retained has its rest for a while, under an ETag of its own. */
static void what_passes_can_be_fetched(void **state)
{
    struct fortress *f = *state;
    const char *path = "/mq/commands/dev1";
    assert_true(link_device(f, 0, 1, "desk"));
    assert_true(link_device(f, 0, 2, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, path)};
    watch.observe = 0;
    EXPECT_CODE(asks(f, 0, 2, &watch), COAP_CONTENT);
    uint64_t etags[2];
    for (int i = 0; i < 2; i++) {
        EXPECT_CODE(sends(f, 0, 1, COAP_POST, path, BODY), COAP_CHANGED);
        struct coap_message m = next_sent(f, 0, 2);
        EXPECT_CODE(m, COAP_CONTENT);
        assert_int_equal(m.payload.n, SIZE);
        etags[i] = etag_of(&m);
        assert_true(etags[i] != 0);
        assert_int_equal(f->doors[0]->n_passing, 1);
        assert_int_equal(fetches(f, 0, 2, path, 1, SZX, etags[i]), BODY);
    }
    assert_true(etags[0] != etags[1]);
    pass(f, PASSING_MS);
    assert_int_equal(f->doors[0]->n_passing, 0);
    struct ask rest = {ASK(COAP_CON, COAP_GET, path)};
    rest.block2 = 1 << 4 | SZX;
    EXPECT_CODE(asks(f, 0, 2, &rest), COAP_NOT_FOUND);
    /* what another device may not hear is not kept for it, and ends with the association */
    EXPECT_CODE(sends(f, 0, 1, COAP_POST, path, BODY), COAP_CHANGED);
    assert_int_equal(f->doors[0]->n_passing, 1);
    f->fakes[0].handler.closed(f->fakes[0].handler.ctx, 2, OK);
    turns(f);
    assert_int_equal(f->doors[0]->n_passing, 0);
}

static void what_passes_is_bounded(void **state)
{
    struct fortress *f = *state;
    char path[32];
    assert_true(link_device(f, 0, 1, "desk"));
    for (unsigned i = 0; i <= PASSING_MAX; i++) {
        uint64_t id = 2 + i / 14;
        if (i % 14 == 0) {
            assert_true(link_device(f, 0, id, "desk"));
        }
        (void)snprintf(path, sizeof(path), "/mq/a/%u", i);
        struct ask watch = {ASK(COAP_CON, COAP_GET, path)};
        watch.observe = 0;
        watch.token = (uint8_t)(i % 14);
        f->now_ms += 1000;
        EXPECT_CODE(asks(f, 0, id, &watch), COAP_CONTENT);
        EXPECT_CODE(sends(f, 0, 1, COAP_POST, path, 2500), COAP_CHANGED);
        assert_int_equal(f->doors[0]->n_passing, i < PASSING_MAX ? i + 1 : PASSING_MAX);
    }
}

/* What nobody was promised goes when memory is short; the clients begin anew. */
static void short_memory_takes_what_is_unfinished(void **state)
{
    struct fortress *f = *state;
    const char *path = "/mq/commands/dev1";
    assert_true(link_device(f, 0, 1, "desk"));
    assert_true(link_device(f, 0, 2, "dev1"));
    struct ask watch = {ASK(COAP_CON, COAP_GET, path)};
    watch.observe = 0;
    EXPECT_CODE(asks(f, 0, 2, &watch), COAP_CONTENT);
    EXPECT_CODE(sends(f, 0, 1, COAP_POST, path, BODY), COAP_CHANGED);
    struct ask a = block_of(COAP_POST, path, 0, BODY);
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CONTINUE);
    assert_int_equal(blocks_shed(f->doors[0]), 2);
    assert_int_equal(blocks_shed(f->doors[0]), 0);
    assert_true(n_bodies(f, 0) == 0 && f->doors[0]->n_passing == 0);
    a = block_of(COAP_POST, path, 1, BODY);
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_REQUEST_INCOMPLETE);
    EXPECT_CODE(sends(f, 0, 1, COAP_POST, path, BODY), COAP_CHANGED);
}

/* ---- versions ---- */

static void known_versions_are_not_sent_again(void **state)
{
    struct fortress *f = *state;
    const char *path = "/mq/commands/dev1";
    assert_true(link_device(f, 0, 1, "desk"));
    struct ask put = block_of(COAP_PUT, path, 0, 700);
    put.block1 = -1;
    put.format = COAP_FORMAT_TEXT;
    put.max_age = 500;
    EXPECT_CODE(asks(f, 0, 1, &put), COAP_CREATED);
    struct ask get = {ASK(COAP_CON, COAP_GET, path)};
    struct coap_message m = asks(f, 0, 1, &get);
    uint64_t etag = etag_of(&m), wrong = ~etag;
    assert_int_equal(option_of(&m, COAP_OPTION_MAX_AGE), 500);
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), COAP_FORMAT_TEXT);
    pass(f, 100000);
    get.etag = slice_of(&wrong, sizeof(wrong));
    get.second_etag = slice_of(&etag, sizeof(etag));
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_VALID); /* SPEC: RFC7252 5.9.1.3, 5.10.6.2: any of them */
    assert_true(etag_of(&m) == etag && m.payload.n == 0);
    assert_int_equal(option_of(&m, COAP_OPTION_MAX_AGE), 400);
    assert_int_equal(option_of(&m, COAP_OPTION_CONTENT_FORMAT), UINT32_MAX);
    get.observe = 0;
    m = asks(f, 0, 1, &get); /* observed all the same */
    EXPECT_CODE(m, COAP_VALID);
    assert_true(option_of(&m, COAP_OPTION_OBSERVE) != UINT32_MAX);
    put.max_age = -1;
    EXPECT_CODE(asks(f, 0, 1, &put), COAP_CHANGED);
    get.observe = -1;
    m = asks(f, 0, 1, &get);
    EXPECT_CODE(m, COAP_CONTENT); /* the same bytes, but a newer message */
    assert_true(etag_of(&m) != etag);
    assert_int_equal(option_of(&m, COAP_OPTION_MAX_AGE), UINT32_MAX);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fortress_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(many_blocks_are_one_message),
        CASE(large_values_are_read_in_blocks),
        CASE(small_values_and_lists_come_in_blocks_when_asked),
        CASE(transfers_do_not_mix),
        CASE(a_repeated_datagram_changes_nothing),
        CASE(continue_is_not_kept_back),
        CASE(wrong_blocks),
        CASE(not_granted_before_any_body),
        CASE(sizes_are_bounded),
        CASE(one_principal_begins_so_many),
        CASE(unfinished_values_are_dropped_in_time),
        CASE(no_memory),
        CASE(observers_get_the_first_block),
        CASE(what_passes_can_be_fetched),
        CASE(what_passes_is_bounded),
        CASE(short_memory_takes_what_is_unfinished),
        CASE(known_versions_are_not_sent_again),
    };
    return cmocka_run_group_tests(tests, group_open, NULL);
}

/* Devices register in the resource directory, update and leave; only themselves, within bounds. */
#include "service/broker/roster.h"
#include "service/gateway/registration_bench_test.h"

static const char *location(const struct coap_message *m, char text[128])
{
    struct coap_options it = coap_options_from(m->options);
    struct coap_option o;
    struct wr w = wr_into(text, 127);
    while (coap_options_next(&it, &o)) {
        if (o.number == COAP_OPTION_LOCATION_PATH) {
            wr_u8(&w, '/');
            wr_bytes(&w, o.value);
        }
    }
    text[w.at] = '\0';
    return text;
}

static void a_device_registers_updates_and_leaves(void **state)
{
    struct fortress *f = *state;
    char text[128];
    for (int round = 0; round < 2; round++) { /* twice is once: the same answer and place */
        struct coap_message m = enrols(f, 1, "lt=3600&et=oic", LIGHTS);
        EXPECT_CODE(m, COAP_CREATED);
        assert_string_equal(location(&m, text), "/rd/lamp1");
        assert_int_equal(SUM(f, registrations), 1);
    }
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        assert_string_equal(looks(f, worker, 3 + worker, EP, NULL),
                            "</rd/lamp1>;ep=\"lamp1\";d=\"field\";base=\"coaps://127.0.0.1:1\";rt="
                            "\"core.rd-ep\";et=\"oic\"");
    }
    EXPECT_CODE(post(f, 1, "/rd/lamp1", "et=other&x=1", NULL), COAP_CHANGED);
    assert_non_null(strstr(looks(f, 1, 4, EP, NULL), ";et=\"other\";x=\"1\""));
    assert_non_null(strstr(looks(f, 1, 4, RES, NULL), "<coaps://127.0.0.1:1/light>"));
    struct ask leave = {ASK(COAP_CON, COAP_DELETE, "/rd/lamp1")};
    EXPECT_CODE(asks(f, 0, 1, &leave), COAP_DELETED);
    assert_string_equal(looks(f, 1, 4, EP, NULL), "");
    assert_int_equal(SUM(f, registrations), 0);
    EXPECT_CODE(asks(f, 0, 1, &leave), COAP_NOT_FOUND);
    EXPECT_CODE(post(f, 1, "/rd/lamp1", NULL, NULL), COAP_NOT_FOUND);
}

/* It comes by another association, at the other worker, and is the same. */
static void a_device_may_move(void **state)
{
    struct fortress *f = *state;
    EXPECT_CODE(enrols(f, 1, NULL, LIGHTS), COAP_CREATED);
    assert_true(link_device(f, 1, 5, "lamp1"));
    struct ask a = {ASK(COAP_CON, COAP_POST, "/rd/lamp1")};
    EXPECT_CODE(asks(f, 1, 5, &a), COAP_CHANGED);
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        assert_non_null(
            strstr(looks(f, worker, 3 + worker, EP, NULL), "base=\"coaps://127.0.0.1:5\""));
    }
}

static void nobody_is_somebody_else(void **state)
{
    struct fortress *f = *state;
    EXPECT_CODE(enrols(f, 1, "ep=lamp1&d=field&base=coaps://127.0.0.1:1", LIGHTS), COAP_CREATED);
    static const char *const queries[] = {"ep=lamp1", "d=other", "base=coaps://127.0.0.1:1",
                                          "base=coaps://192.0.2.1", "base=coap://127.0.0.1:2"};
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        f->n_events = 0;
        EXPECT_CODE(enrols(f, 2, queries[i], "</evil>;rt=light"), COAP_FORBIDDEN);
        EXPECT_CODE(post(f, 2, "/.well-known/rd", queries[i], NULL), COAP_FORBIDDEN);
        const struct event *e = find_event(f, EVENT_acl_deny);
        if (e == NULL || strcmp(e->principal, "lamp2") != 0 ||
            strstr(e->reason, "by its association") == NULL) {
            fail_msg("%s: %s", queries[i], e != NULL ? e->reason : "no event");
        }
    }
    EXPECT_CODE(post(f, 2, "/rd/lamp1", NULL, NULL), COAP_FORBIDDEN);
    EXPECT_CODE(post(f, 1, "/rd/lamp1", "base=coaps://192.0.2.1", NULL), COAP_FORBIDDEN);
    struct ask leave = {ASK(COAP_CON, COAP_DELETE, "/rd/lamp1")};
    EXPECT_CODE(asks(f, 0, 2, &leave), COAP_FORBIDDEN);
    assert_null(strstr(looks(f, 1, 4, RES, NULL), "evil"));
    assert_non_null(strstr(looks(f, 1, 4, RES, NULL), "/light"));
    /* the policy comes first */
    EXPECT_CODE(enrols(f, 3, NULL, LIGHTS), COAP_FORBIDDEN);
    assert_int_equal(SUM(f, registrations), 1);
}

static void what_is_no_registration_is_refused(void **state)
{
    struct fortress *f = *state;
    static const struct {
        const char *query, *links;
        int format;
        uint8_t code;
    } rows[] = {
        {NULL, "</a>", -1, COAP_UNSUPPORTED_FORMAT},
        {NULL, "</a>", COAP_FORMAT_TEXT, COAP_UNSUPPORTED_FORMAT},
        {NULL, "</a", 40, COAP_BAD_REQUEST},
        {NULL, "<coap://192.0.2.1/a>", 40, COAP_BAD_REQUEST},
        {NULL, "</a>;title=\"\xff\"", 40, COAP_BAD_REQUEST},
        {"ep=lamp1&ep=lamp1", "</a>", 40, COAP_BAD_REQUEST},
        {"lt=x", "</a>", 40, COAP_BAD_REQUEST},
        {"a=1&b=1&c=1&e=1&f=1&g=1&h=1&i=1&j=1", "</a>", 40, COAP_REQUEST_TOO_LARGE},
        {"lt=59", "</a>", 40, COAP_BAD_REQUEST},
        {"lt=60", "</a>", 40, COAP_CREATED},
        {"lt=100000", "</a>", 40, COAP_CREATED},
        {"lt=100001", "</a>", 40, COAP_BAD_REQUEST},
        {NULL, "</a>,</b>", 40, COAP_CREATED},
        {NULL, "</a>,</b>,</c>", 40, COAP_CREATED},
        {NULL, "</a>,</b>,</c>,</d>", 40, COAP_REQUEST_TOO_LARGE},
        {NULL, "</a>;rt=45678901234567890123456789012345678901234567890123456789012", 40,
         COAP_CREATED}, /* 63 */
        {NULL, "</a>;rt=456789012345678901234567890123456789012345678901234567890123", 40,
         COAP_CREATED},
        {NULL, "</a>;rt=4567890123456789012345678901234567890123456789012345678901234", 40,
         COAP_REQUEST_TOO_LARGE},
    };
    f->limits.registration_links = 3;
    f->limits.registration_bytes = 68;
    f->limits.registration_lifetime_s = 100000;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ask a = {ASK(COAP_CON, COAP_POST, "/rd"), .query = rows[i].query,
                        .payload = slice_text(rows[i].links)};
        a.format = rows[i].format;
        f->n_events = 0;
        uint64_t before = SUM(f, refused_limit);
        struct coap_message m = asks(f, 0, 1, &a);
        if (m.code != rows[i].code) {
            fail_msg("%zu: %u.%02u", i, m.code >> 5U, m.code & 31U);
        }
        bool is_refused = rows[i].code != COAP_CREATED;
        assert_int_equal(SUM(f, refused_limit), before + (is_refused ? 1 : 0));
        assert_int_equal(f->n_events, 1); /* a refusal, or what was allowed */
    }
    EXPECT_CODE(post(f, 1, "/rd/lamp1", NULL, "</a>"), COAP_BAD_REQUEST);
    struct ask get = {ASK(COAP_CON, COAP_PUT, "/rd-lookup/ep")};
    EXPECT_CODE(asks(f, 0, 1, &get), COAP_FORBIDDEN);
}

/* All bounds that are not one request's: the rate, and what all of them take. */
static void there_are_not_too_many(void **state)
{
    struct fortress *f = *state;
    for (int i = 0; i < 30; i++) {
        EXPECT_CODE(enrols(f, 1, NULL, "</a>"), COAP_CREATED);
    }
    struct coap_message m = enrols(f, 1, NULL, "</a>");
    EXPECT_CODE(m, COAP_TOO_MANY_REQUESTS);
    assert_int_equal(option_of(&m, COAP_OPTION_MAX_AGE), 2);
    assert_non_null(find_event(f, EVENT_rate));
    pass(f, 1000);
    EXPECT_CODE(enrols(f, 1, NULL, "</a>"), COAP_CREATED);
    f->limits.registration_total_bytes = 16; /* what there is stays; new ones do not come */
    m = enrols(f, 2, NULL, "</a>");
    EXPECT_CODE(m, COAP_UNAVAILABLE);
    assert_true(option_of(&m, COAP_OPTION_MAX_AGE) != UINT32_MAX);
    assert_non_null(strstr(find_event(f, EVENT_quota)->reason, "registration_total_bytes"));
    assert_int_equal(SUM(f, refused_quota), 1);
    assert_int_equal(SUM(f, registrations), 1);
}

static uint8_t with_room(struct fortress *f, uint64_t total)
{
    struct ask leave = {ASK(COAP_CON, COAP_DELETE, "/rd/lamp2")};
    f->limits.registration_total_bytes = total;
    uint8_t code = enrols(f, 2, NULL, "</a>").code;
    (void)asks(f, 0, 2, &leave);
    pass(f, 3000);
    return code;
}

/* Each worker has its part: at that it is taken, with one byte less it is not. */
static void all_of_them_have_a_bound(void **state)
{
    struct fortress *f = *state;
    uint64_t no = 0, yes = UINT64_C(4096);
    assert_int_equal(with_room(f, yes), COAP_CREATED);
    while (yes - no > WORKERS) {
        uint64_t middle = (no + yes) / 2 / WORKERS * WORKERS;
        if (with_room(f, middle) == COAP_CREATED) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    assert_true(yes > ROSTER_LINK_COST);
    assert_int_equal(with_room(f, yes), COAP_CREATED);
    assert_int_equal(with_room(f, yes - 1), COAP_UNAVAILABLE);
    assert_int_equal(SUM(f, registrations), 0);
}

/* In blocks, as large as a registration may be; who may not register carries nothing here. */
static void links_may_come_in_blocks(void **state)
{
    struct fortress *f = *state;
    static char links[128 + 1];
    memset(links, 'a', sizeof(links) - 1);
    slice_copy(links, slice_text("</light>;rt=\""));
    links[127] = '"';
    f->limits.registration_bytes = 128;
    struct ask a = {ASK(COAP_CON, COAP_POST, "/rd"), .payload = slice_of(links, 64)};
    a.format = COAP_FORMAT_LINK;
    a.block1 = 0 << 4 | 8 | 2;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CONTINUE);
    a.payload = slice_of(links + 64, 64);
    a.block1 = 1 << 4 | 2;
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_CREATED);
    assert_non_null(strstr(looks(f, 1, 4, RES, NULL), "aaaa\""));
    a.payload = slice_of(links, 64);
    a.block1 = 0 << 4 | 8 | 2;
    EXPECT_CODE(asks(f, 0, 3, &a), COAP_FORBIDDEN);
    EXPECT_CODE(asks(f, 0, 2, &a), COAP_CONTINUE);
    a.payload = slice_of(links + 64, 64);
    a.block1 = 1 << 4 | 8 | 2;
    EXPECT_CODE(asks(f, 0, 2, &a), COAP_CONTINUE);
    a.payload = slice_text("\"");
    a.block1 = 2 << 4 | 2;
    struct coap_message m = asks(f, 0, 2, &a);
    EXPECT_CODE(m, COAP_REQUEST_TOO_LARGE);
    assert_int_equal(option_of(&m, COAP_OPTION_SIZE1), 128);
}

static void a_registration_ends_with_its_time(void **state)
{
    struct fortress *f = *state;
    EXPECT_CODE(enrols(f, 1, "lt=60", LIGHTS), COAP_CREATED);
    EXPECT_CODE(enrols(f, 2, NULL, LIGHTS), COAP_CREATED);
    pass(f, 59999);
    EXPECT_CODE(post(f, 1, "/rd/lamp1", NULL, NULL), COAP_CHANGED); /* with the same lifetime */
    pass(f, 59999);
    assert_non_null(strstr(looks(f, 1, 4, EP, NULL), "lamp1"));
    pass(f, 1);
    assert_null(strstr(looks(f, 1, 4, EP, NULL), "lamp1"));
    assert_non_null(strstr(looks(f, 1, 4, EP, NULL), "lamp2"));
    assert_int_equal(SUM(f, registrations), 1);
    EXPECT_CODE(post(f, 1, "/rd/lamp1", NULL, NULL), COAP_NOT_FOUND);
    pass(f, (uint64_t)(REGISTRATION_DEFAULT_S - 119) * 1000); /* its association slept, too */
    assert_int_equal(SUM(f, registrations), 0);
}

static void who_is_removed_is_seen_by_nobody(void **state)
{
    struct fortress *f = *state;
    EXPECT_CODE(enrols(f, 1, NULL, LIGHTS), COAP_CREATED);
    EXPECT_CODE(enrols(f, 2, NULL, LIGHTS), COAP_CREATED);
    assert_int_equal(directory_disable(f->directory, slice_text("lamp1"), slice_text("lost")), OK);
    publish_realm(f);
    assert_null(strstr(looks(f, 1, 4, EP, NULL), "lamp1"));
    assert_int_equal(SUM(f, registrations), 1);
    assert_int_equal(directory_remove(f->directory, slice_text("lamp2")), OK);
    publish_realm(f);
    assert_string_equal(looks(f, 0, 3, EP, NULL), "");
    assert_int_equal(SUM(f, registrations), 0);
}

/* ---- simple registration ---- */

static void a_simple_device_is_asked_for_its_links(void **state)
{
    struct fortress *f = *state;
    struct ask a = {ASK(COAP_CON, COAP_POST, "/.well-known/rd"), .query = "lt=3600&et=x"};
    forget_sent(f);
    send_ask(f, 0, 1, &a);
    struct asked fetch = asked_at(f, 0, 1);
    assert_true(fetch.is_there && fetch.code == COAP_GET);
    assert_string_equal(fetch.path, "/.well-known/core");
    EXPECT_CODE(asks(f, 0, 1, &a), COAP_TOO_MANY_REQUESTS); /* one at a time */
    struct said list = {SAID(COAP_CONTENT), .payload = LIGHTS};
    list.format = COAP_FORMAT_LINK;
    say(f, 0, 1, &fetch, &list);
    EXPECT_CODE(next_sent(f, 0, 1), COAP_CHANGED);
    assert_non_null(strstr(looks(f, 1, 4, RES, NULL), "/light>"));
    assert_non_null(strstr(looks(f, 1, 4, EP, NULL), ";et=\"x\""));
}

static void a_simple_device_may_answer_badly(void **state)
{
    struct fortress *f = *state;
    static const struct {
        uint8_t code;
        int format;
        const char *links;
        uint8_t answer;
    } rows[] = {{COAP_NOT_FOUND, -1, "", COAP_BAD_GATEWAY},
                {COAP_CONTENT, COAP_FORMAT_TEXT, "</a>", COAP_BAD_GATEWAY},
                {COAP_CONTENT, COAP_FORMAT_LINK, "</a", COAP_BAD_REQUEST},
                {COAP_CONTENT, COAP_FORMAT_LINK, "<coap://x/a>", COAP_BAD_REQUEST},
                {COAP_CONTENT, COAP_FORMAT_LINK, "</a>,</b>,</c>", COAP_BAD_REQUEST}};
    f->limits.registration_links = 2;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ask a = {ASK(COAP_CON, COAP_POST, "/.well-known/rd")};
        forget_sent(f);
        send_ask(f, 0, 1, &a);
        struct asked fetch = asked_at(f, 0, 1);
        struct said said = {SAID(rows[i].code), .payload = rows[i].links};
        said.format = rows[i].format;
        say(f, 0, 1, &fetch, &said);
        EXPECT_CODE(next_sent(f, 0, 1), rows[i].answer);
    }
    assert_int_equal(SUM(f, registrations), 0);
    EXPECT_CODE(post(f, 1, "/.well-known/rd", NULL, "</a>"), COAP_BAD_REQUEST);
    EXPECT_CODE(post(f, 1, "/.well-known/rd", "base=coaps://127.0.0.1:1", NULL), COAP_BAD_REQUEST);
    struct ask get = {ASK(COAP_CON, COAP_GET, "/.well-known/rd")};
    EXPECT_CODE(asks(f, 0, 1, &get), COAP_FORBIDDEN);
}

/* It never answers: it is told so, and nothing is left of it. */
static void a_simple_device_may_be_silent(void **state)
{
    struct fortress *f = *state;
    struct ask a = {ASK(COAP_CON, COAP_POST, "/.well-known/rd")};
    forget_sent(f);
    send_ask(f, 0, 1, &a);
    struct coap_message m = {.code = COAP_EMPTY};
    for (int i = 0; i < 120 && m.code != COAP_GATEWAY_TIMEOUT; i++) {
        pass(f, 1000);
        while ((m = next_sent(f, 0, 1)).type != COAP_RST && m.code != COAP_GATEWAY_TIMEOUT) {
        }
    }
    EXPECT_CODE(m, COAP_GATEWAY_TIMEOUT);
    send_ask(f, 0, 2, &a);
    coap_door_drain(f->doors[0], f->now_ms); /* and it may go while it is asked */
    turns(f);
    assert_int_equal(SUM(f, registrations), 0);
}

/* ---- memory ---- */

/* At whatever allocation it fails, the next time heals it. */
static void a_registration_without_memory(void **state)
{
    struct fortress *f = *state;
    bool is_done = false;
    for (long n = 0; n < 200 && !is_done; n++) {
        struct ask a = {ASK(COAP_CON, COAP_POST, "/rd"), .payload = slice_text(LIGHTS)};
        a.format = COAP_FORMAT_LINK;
        forget_sent(f);
        (void)mem_fail_after(n);
        send_ask(f, 0, 1, &a);
        is_done = mem_fail_after(-1) == 0;
        pass(f, 1000);
    }
    assert_true(is_done);
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        assert_non_null(strstr(looks(f, worker, 3 + worker, EP, NULL), "lamp1"));
    }
    assert_int_equal(SUM(f, registrations), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enrol_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_device_registers_updates_and_leaves),
                                       TEST(a_device_may_move),
                                       TEST(nobody_is_somebody_else),
                                       TEST(what_is_no_registration_is_refused),
                                       TEST(there_are_not_too_many),
                                       TEST(all_of_them_have_a_bound),
                                       TEST(links_may_come_in_blocks),
                                       TEST(a_registration_ends_with_its_time),
                                       TEST(who_is_removed_is_seen_by_nobody),
                                       TEST(a_simple_device_is_asked_for_its_links),
                                       TEST(a_simple_device_may_answer_badly),
                                       TEST(a_simple_device_may_be_silent),
                                       TEST(a_registration_without_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

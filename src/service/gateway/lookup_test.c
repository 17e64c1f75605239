/* Lookups: what the policy shows, what filters find, and no more. */
#include "service/gateway/door_private.h"
#include "service/gateway/registration_bench_test.h"

#define AT1 "<coaps://127.0.0.1:1"
#define AT2 "<coaps://127.0.0.1:2"

static void two_lamps(struct fortress *f)
{
    EXPECT_CODE(enrols(f, 1, "et=oic", LIGHTS), COAP_CREATED);
    EXPECT_CODE(enrols(f, 2, NULL, "</light>;rt=dimmer,</doc>;rel=describedby;anchor=\"/light\""),
                COAP_CREATED);
}

static void who_may_command_sees(void **state)
{
    struct fortress *f = *state;
    two_lamps(f);
    /* an operator: what it may GET. Not /fw, nor /doc */
    assert_string_equal(looks(f, 1, 4, RES, NULL), AT1 "/light>;rt=\"light lamp\";if=core.a," AT1
                                                       "/t>;ct=50;obs," AT2 "/light>;rt=dimmer");
    /* a lamp: itself */
    assert_string_equal(looks(f, 0, 2, RES, NULL),
                        AT2 "/light>;rt=dimmer," AT2
                            "/doc>;rel=describedby;anchor=\"coaps://127.0.0.1:2/light\"");
    assert_string_equal(looks(f, 0, 2, EP, NULL),
                        "</rd/lamp2>;ep=\"lamp2\";d=\"field\";base=\"coaps://127.0.0.1:2\";rt="
                        "\"core.rd-ep\"");
    /* and no filter tells what it may not see */
    assert_string_equal(looks(f, 1, 4, EP, "rt=fw"), "");
    assert_string_equal(looks(f, 1, 4, RES, "rt=fw"), "");
    assert_string_equal(looks(f, 0, 2, EP, "ep=lamp1"), "");
    /* a policy that takes the right takes the sight */
    directory_follow(f, directory_policy(false));
    assert_string_equal(looks(f, 1, 4, RES, NULL), "");
    assert_string_equal(looks(f, 1, 4, EP, NULL), "");
    struct ask a = {ASK(COAP_CON, COAP_GET, RES)};
    assert_true(link_device(f, 1, 7, "dev1"));
    EXPECT_CODE(asks(f, 1, 7, &a), COAP_FORBIDDEN);
}

static size_t count_links(const char *text)
{
    size_t n = text[0] != '\0' ? 1 : 0;
    while ((text = strstr(text, ",<")) != NULL) {
        text++;
        n++;
    }
    return n;
}

static void criteria_find(void **state)
{
    struct fortress *f = *state;
    two_lamps(f);
    static const struct {
        const char *path, *query;
        size_t n;
    } rows[] = {
        {RES, "rt=light", 1},
        {RES, "rt=lamp", 1},
        {RES, "rt=li*", 1},
        {RES, "rt=ligh", 0},
        {RES, "rt=light lamp", 0},
        {RES, "obs", 1},
        {RES, "ct=50", 1},
        {RES, "if=core.a", 1},
        {RES, "if=*", 1},
        {RES, "rt=light&if=core.a", 1},
        {RES, "rt=light&ct=50", 0},
        {RES, "ep=lamp1", 2},
        {RES, "ep=lamp*", 3},
        {RES, "d=field", 3},
        {RES, "d=elsewhere", 0},
        {RES, "et=oic", 2},
        {RES, "et=oic&rt=lamp", 1},
        {RES, "href=coaps://127.0.0.1:1/light", 1},
        {RES, "href=/light", 0},
        {RES, "href=/rd/lamp2", 1},
        {RES, "base=coaps://127.0.0.1:2", 1},
        {RES, "rt=core.rd-ep", 3},
        {RES, "anchor=coaps://127.0.0.1:2/light", 0}, /* of what it may not see */
        {EP, "ep=lamp1", 1},
        {EP, "rt=dimmer", 1},
        {EP, "rt=light&ct=50", 1}, /* by different links */
        {EP, "rt=dimmer&ct=50", 0},
        {EP, "et=oic", 1},
        {EP, "href=/rd/lamp1", 1},
        {EP, "href=/rd/*", 2},
        {EP, "nothing=1", 0},
        {RES, "count=2", 2},
        {RES, "count=3", 3},
        {RES, "count=9", 3},
        {RES, "count=2&page=0", 2},
        {RES, "count=2&page=1", 1},
        {RES, "count=2&page=2", 0},
        {EP, "count=1&page=1", 1},
        {RES, "rt=light&count=1&page=1", 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *text = looks(f, 1, 4, rows[i].path, rows[i].query);
        if (count_links(text) != rows[i].n) {
            fail_msg("%s?%s: %s", rows[i].path, rows[i].query, text);
        }
    }
    /* its owner finds it by its anchor */
    assert_int_equal(count_links(looks(f, 0, 2, RES, "anchor=coaps://127.0.0.1:2/light")), 1);
    assert_int_equal(count_links(looks(f, 0, 2, RES, "anchor=*")), 1);
    static const char *const bad[] = {
        "page=1",          "count=0", "count=x",          "count=1&count=1",
        "count=1&page=-1", "=x",      "count=1234567890", "a=&b=&c=&d=&e=&f=&g=&h=&i="};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct ask a = {ASK(COAP_CON, COAP_GET, RES), .query = bad[i]};
        EXPECT_CODE(asks(f, 1, 4, &a), COAP_BAD_REQUEST);
    }
    struct ask eight = {ASK(COAP_CON, COAP_GET, RES), .query = "a=&b=&c=&d=&e=&f=&g=&h="};
    EXPECT_CODE(asks(f, 1, 4, &eight), COAP_CONTENT);
    struct ask json = {ASK(COAP_CON, COAP_GET, RES)};
    json.accept = COAP_FORMAT_JSON;
    EXPECT_CODE(asks(f, 1, 4, &json), COAP_NOT_ACCEPTABLE);
}

/* What no topic can name is no command: only its owner sees it. */
static void a_wildcard_is_no_right(void **state)
{
    struct fortress *f = *state;
    EXPECT_CODE(enrols(f, 1, NULL, "</+>,</%23>,</light/+>,</>"), COAP_CREATED);
    assert_string_equal(looks(f, 1, 4, RES, NULL), "");
    assert_int_equal(count_links(looks(f, 0, 1, RES, NULL)), 4);
}

static void segments_divide_lookups_too(void **state)
{
    struct fortress *f = *state;
    static const struct principal_attr attrs[] = {{"segment", "plant"}};
    two_lamps(f);
    add_device_of(f, "planner", "operator", attrs, 1);
    memcpy(f->coaps.segment, "plant", sizeof("plant"));
    publish_realm(f);
    assert_true(link_device(f, 0, 8, "planner"));
    assert_string_equal(looks(f, 0, 8, RES, NULL), "");
    struct policy *p = directory_policy(true);
    struct flow *flow = NULL;
    assert_int_equal(policy_add_flow(p, slice_text("plant"), slice_text("field"), &flow), OK);
    assert_int_equal(flow_add_topic(flow, slice_text("$coap/lamp1/#")), OK);
    directory_follow(f, p);
    assert_int_equal(count_links(looks(f, 0, 8, RES, NULL)), 2);
}

static void a_list_is_read_in_blocks(void **state)
{
    struct fortress *f = *state;
    two_lamps(f);
    struct ask a = {ASK(COAP_CON, COAP_GET, RES)};
    char whole[512], text[512];
    struct wr w = wr_into(text, sizeof(text));
    assert_true(slice_to_text(slice_text(looks(f, 1, 4, RES, NULL)), whole, sizeof(whole)));
    struct ask leave = {ASK(COAP_CON, COAP_DELETE, "/rd/lamp2")};
    for (int i = 0; w.at < strlen(whole); i++) {
        if (i == 1) { /* what is being fetched stays as it was when it was asked for */
            EXPECT_CODE(asks(f, 0, 2, &leave), COAP_DELETED);
        }
        a.block2 = i << 4 | 2;
        struct coap_message m = asks(f, 1, 4, &a);
        EXPECT_CODE(m, COAP_CONTENT);
        assert_true(m.payload.n > 0);
        wr_bytes(&w, m.payload);
    }
    assert_true(slice_is(wr_slice(&w), whole));
    /* a new question finds what there is now; and nothing is kept when memory is short */
    assert_null(strstr(looks(f, 1, 4, RES, NULL), AT2));
    a.block2 = 0 << 4 | 2;
    EXPECT_CODE(asks(f, 1, 4, &a), COAP_CONTENT);
    assert_int_equal(lookups_drop(f->doors[1]), 1);
    assert_int_equal(lookups_drop(f->doors[1]), 0);
    /* nor over a new realm */
    EXPECT_CODE(asks(f, 1, 4, &a), COAP_CONTENT);
    directory_follow(f, directory_policy(false));
    a.block2 = 1 << 4 | 2;
    struct coap_message m = asks(f, 1, 4, &a);
    assert_null(memmem(m.payload.p, m.payload.n, "coaps", 5));
}

/* Each association has one at most, and eight of a door are kept. */
static void not_too_many_lists_are_kept(void **state)
{
    struct fortress *f = *state;
    two_lamps(f);
    struct ask a = {ASK(COAP_CON, COAP_GET, RES)};
    a.block2 = 0 << 4 | 2;
    for (uint64_t id = 5; id < 15; id++) {
        assert_true(link_device(f, 1, id, "oper"));
        EXPECT_CODE(asks(f, 1, id, &a), COAP_CONTENT);
        EXPECT_CODE(asks(f, 1, id, &a), COAP_CONTENT);
        pass(f, 1000);
    }
    assert_int_equal(lookups_drop(f->doors[1]), LOOKUPS_KEPT);
}

/* Over 64 KiB of links: refused as a whole, never cut in silence; pages are given. */
static void what_is_too_much_comes_in_pages(void **state)
{
    enum { LINKS = 3000, LINK = 5 };
    struct fortress *f = *state;
    static char links[LINKS * LINK];
    f->limits.registration_links = LINKS;
    f->limits.registration_bytes = sizeof(links);
    for (size_t i = 0; i < LINKS; i++) {
        slice_copy(links + i * LINK, slice_text(i + 1 < LINKS ? "</t>," : "</t> "));
    }
    EXPECT_CODE(enrols_in_blocks(f, 1, slice_of(links, sizeof(links))), COAP_CREATED);
    struct ask a = {ASK(COAP_CON, COAP_GET, RES)};
    EXPECT_CODE(asks(f, 1, 4, &a), COAP_BAD_REQUEST);
    assert_non_null(strstr(find_event(f, EVENT_quota)->reason, "count and page"));
    assert_int_equal(count_links(looks(f, 1, 4, RES, "count=10&page=299")), 10);
    assert_int_equal(count_links(looks(f, 1, 4, RES, "count=10&page=300")), 0);
}

static void discovery_names_the_directory(void **state)
{
    struct fortress *f = *state;
    assert_string_equal(
        looks(f, 0, 1, "/.well-known/core", "rt=core.rd*"),
        "</rd>;rt=\"core.rd\";ct=40,</rd-lookup/res>;rt=\"core.rd-lookup-res\";ct=40,"
        "</rd-lookup/ep>;rt=\"core.rd-lookup-ep\";ct=40");
    assert_null(strstr(looks(f, 0, 3, "/.well-known/core", "rt=core.rd*"), "</rd>"));
    assert_true(link_device(f, 0, 9, "dev1"));
    assert_string_equal(looks(f, 0, 9, "/.well-known/core", "rt=core.rd*"), "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enrol_open, fortress_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_may_command_sees),        TEST(criteria_find),
        TEST(a_wildcard_is_no_right),      TEST(segments_divide_lookups_too),
        TEST(a_list_is_read_in_blocks),    TEST(what_is_too_much_comes_in_pages),
        TEST(not_too_many_lists_are_kept), TEST(discovery_names_the_directory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

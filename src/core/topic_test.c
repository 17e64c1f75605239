#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "core/oracle_private.h"
#include "core/topic.h"

static const struct topic_limits LIMITS = {.bytes = 256, .levels = 16};

struct check_case {
    const char *text;
    enum err name, filter;
};

static const struct check_case CHECKS[] = {
    {"a", OK, OK},
    {"a/b/c", OK, OK},
    {"/", OK, OK},
    {"//", OK, OK},
    {"/a", OK, OK},
    {"a/", OK, OK},
    {"$SYS/x", OK, OK},
    {"a b", OK, OK},
    {"", ERR_MALFORMED, ERR_MALFORMED},
    {"+", ERR_MALFORMED, OK},
    {"#", ERR_MALFORMED, OK},
    {"a/+", ERR_MALFORMED, OK},
    {"+/+/#", ERR_MALFORMED, OK},
    {"/#", ERR_MALFORMED, OK},
    {"$SYS/#", ERR_MALFORMED, OK},
    {"a+/b", ERR_MALFORMED, ERR_MALFORMED},
    {"+a/b", ERR_MALFORMED, ERR_MALFORMED},
    {"a/b+", ERR_MALFORMED, ERR_MALFORMED},
    {"++", ERR_MALFORMED, ERR_MALFORMED},
    {"##", ERR_MALFORMED, ERR_MALFORMED},
    {"#/a", ERR_MALFORMED, ERR_MALFORMED},
    {"a/#/b", ERR_MALFORMED, ERR_MALFORMED},
    {"a#", ERR_MALFORMED, ERR_MALFORMED},
    {"a/#/", ERR_MALFORMED, ERR_MALFORMED},
    {"+#", ERR_MALFORMED, ERR_MALFORMED},
    {"$share/g/x", OK, OK},
    {"$share/g/+/#", ERR_MALFORMED, OK},
    {"$share//x", OK, ERR_MALFORMED},
    {"$share/g", OK, ERR_MALFORMED},
    {"$share/", OK, ERR_MALFORMED},
    {"$share/g/", OK, ERR_MALFORMED},
    {"$share/g+/x", ERR_MALFORMED, ERR_MALFORMED},
    {"$share/+/x", ERR_MALFORMED, ERR_MALFORMED},
    {"$share/#/x", ERR_MALFORMED, ERR_MALFORMED},
    {"$share/g/a+", ERR_MALFORMED, ERR_MALFORMED},
    {"$share/g/#/a", ERR_MALFORMED, ERR_MALFORMED},
    {"$share/g//", OK, OK},
    {"$share", OK, OK},
    {"$shared/g+", ERR_MALFORMED, ERR_MALFORMED},
    {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", OK, OK},
    {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", ERR_LIMIT, ERR_LIMIT},
    {"///////////////", OK, OK},
    {"////////////////", ERR_LIMIT, ERR_LIMIT},
};

/* SPEC: MQTT-4.7.3-1, MQTT3-4.7.1-1, MQTT3-4.7.1-2, MQTT3-4.7.1-3, MQTT5-4.7.0-1, MQTT5-4.7.1-1,
 * MQTT5-4.7.1-2, MQTT5-4.8.2-1, MQTT5-4.8.2-2 */
static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(CHECKS); i++) {
        const struct check_case *c = &CHECKS[i];
        enum err name = topic_name_check(slice_text(c->text), &LIMITS);
        enum err filter = topic_filter_check(slice_text(c->text), &LIMITS);
        if (name != c->name || filter != c->filter) {
            fail_msg("'%s': name %s, filter %s", c->text, err_name(name), err_name(filter));
        }
    }
}

/* SPEC: MQTT-4.7.3-2 */
static void test_check_nul(void **state)
{
    (void)state;
    static const char NUL[] = {'a', 0, 'b'}, GROUP[] = "$share/g\0/x";
    assert_int_equal(topic_name_check(slice_of(NUL, 3), &LIMITS), ERR_MALFORMED);
    assert_int_equal(topic_filter_check(slice_of(NUL, 3), &LIMITS), ERR_MALFORMED);
    assert_int_equal(topic_filter_check(slice_of(GROUP, sizeof GROUP - 1), &LIMITS), ERR_MALFORMED);
}

static void test_check_bytes(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'x', sizeof text);
    assert_int_equal(topic_name_check(slice_of(text, 256), &LIMITS), OK);
    assert_int_equal(topic_name_check(slice_of(text, 257), &LIMITS), ERR_TOO_LARGE);
    assert_int_equal(topic_filter_check(slice_of(text, 256), &LIMITS), OK);
    assert_int_equal(topic_filter_check(slice_of(text, 257), &LIMITS), ERR_TOO_LARGE);
}

/* Depth costs neither stack nor time. */
static void test_slashes(void **state)
{
    (void)state;
    enum { MANY = 65535 };
    static const struct topic_limits WIDE = {.bytes = MANY, .levels = UINT32_MAX};
    char *text = mem_alloc(MANY);
    assert_non_null(text);
    memset(text, '/', MANY);
    struct slice s = slice_of(text, MANY);
    assert_int_equal(topic_name_check(s, &LIMITS), ERR_TOO_LARGE);
    assert_int_equal(topic_name_check(s, &WIDE), OK);
    assert_int_equal(topic_filter_check(s, &WIDE), OK);
    assert_true(topic_matches(s, s));
    assert_true(topic_covers(s, s));
    assert_true(topic_matches(slice_text("#"), s));
    assert_false(topic_matches(slice_text("+/+"), s));
    mem_free(text);
}

struct match_case {
    const char *filter, *name;
    bool is_match;
};

static const struct match_case MATCHES[] = {
    {"sport/tennis/player1/#", "sport/tennis/player1", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
    {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
    {"sport/tennis/player1/#", "sport/tennis/player12", false},
    {"sport/#", "sport", true},
    {"sport/tennis/+", "sport/tennis/player1", true},
    {"sport/tennis/+", "sport/tennis/player1/ranking", false},
    {"sport/+", "sport", false},
    {"sport/+", "sport/", true},
    {"+/+", "/finance", true},
    {"/+", "/finance", true},
    {"+", "/finance", false},
    {"#", "$SYS/monitor", false},
    {"+/monitor/Clients", "$SYS/monitor/Clients", false},
    {"$SYS/#", "$SYS/monitor", true},
    {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
    {"a/+/c", "a//c", true},
    {"a/$x", "a/$x", true},
    {"a/+", "a/$x", true},
    {"#", "/", true},
    {"A", "a", false},
    {"a", "a/", false},
    {"a/", "a", false},
};

/* SPEC: MQTT-4.7.2-1 */
static void test_matches(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(MATCHES); i++) {
        const struct match_case *c = &MATCHES[i];
        if (topic_matches(slice_text(c->filter), slice_text(c->name)) != c->is_match) {
            fail_msg("'%s' and '%s'", c->filter, c->name);
        }
    }
}

static void test_share_split(void **state)
{
    (void)state;
    struct slice group = {0}, filter = {0};
    assert_true(topic_share_split(slice_text("$share/g/a/+"), &group, &filter));
    assert_true(slice_is(group, "g"));
    assert_true(slice_is(filter, "a/+"));
    assert_true(topic_share_split(slice_text("$share/g//"), &group, &filter));
    assert_true(slice_is(filter, "/"));
    static const char *const PLAIN[] = {"a/b", "$share", "$share/g", "$share//x", "$share/g/"};
    for (size_t i = 0; i < COUNT_OF(PLAIN); i++) {
        assert_false(topic_share_split(slice_text(PLAIN[i]), &group, &filter));
        assert_true(slice_is(filter, PLAIN[i]));
    }
}

/*
 * Covering, proved by brute force: every filter of up to four levels over a small alphabet against
 * every topic of up to five levels over the same letters and one, "z", that no filter names. A
 * filter covers another one when it matches all topics that the other one does; with the fresh
 * letter and one level more than any filter, no larger set of topics could tell more.
 */
enum {
    FILTER_LEVELS = 4,
    TOPIC_LEVELS = 5,
    TEXT_BYTES = 24,
    FILTERS_MAX = 2048,
    TOPICS_MAX = 8192
};

struct proof {
    char filters[FILTERS_MAX][TEXT_BYTES], topics[TOPICS_MAX][TEXT_BYTES];
    uint64_t matched[FILTERS_MAX][TOPICS_MAX / 64];
    size_t n_filters, n_topics;
};

static size_t enumerate(char (*texts)[TEXT_BYTES], size_t most, const char *const *words,
                        size_t n_words, size_t n_levels_max)
{
    size_t n = 0;
    for (size_t n_levels = 1; n_levels <= n_levels_max; n_levels++) {
        size_t n_choices = 1;
        for (size_t i = 0; i < n_levels; i++) {
            n_choices *= n_words;
        }
        for (size_t choice = 0; choice < n_choices; choice++) {
            char *text = texts[n];
            size_t at = 0, rest = choice;
            bool is_valid = true;
            for (size_t i = 0; i < n_levels; i++, rest /= n_words) {
                const char *word = words[rest % n_words];
                is_valid = is_valid && (word[0] != '#' || i + 1 == n_levels);
                at += (size_t)snprintf(text + at, TEXT_BYTES - at, "%s%s", i > 0 ? "/" : "", word);
            }
            n += is_valid && at > 0 ? 1 : 0;
            assert_true(n < most);
        }
    }
    return n;
}

static void test_covers_exactly(void **state)
{
    (void)state;
    static const char *const FILTER_WORDS[] = {"a", "b", "+", "$x", "", "#"};
    static const char *const TOPIC_WORDS[] = {"a", "b", "z", "$x", ""};
    struct proof *p = mem_zalloc(sizeof *p);
    assert_non_null(p);
    p->n_filters = enumerate(p->filters, FILTERS_MAX, FILTER_WORDS, 6, FILTER_LEVELS);
    p->n_topics = enumerate(p->topics, TOPICS_MAX, TOPIC_WORDS, 5, TOPIC_LEVELS);
    assert_int_equal(p->n_filters, 935);
    assert_int_equal(p->n_topics, 3904);
    for (size_t f = 0; f < p->n_filters; f++) {
        for (size_t t = 0; t < p->n_topics; t++) {
            struct slice filter = slice_text(p->filters[f]), topic = slice_text(p->topics[t]);
            bool is_match = oracle_matches(filter, topic);
            if (topic_matches(filter, topic) != is_match) {
                fail_msg("'%s' and '%s': oracle says %d", p->filters[f], p->topics[t], is_match);
            }
            p->matched[f][t / 64] |= (uint64_t)is_match << (t % 64);
        }
    }
    size_t n_words = (p->n_topics + 63) / 64, n_covered = 0;
    for (size_t g = 0; g < p->n_filters; g++) {
        for (size_t f = 0; f < p->n_filters; f++) {
            bool covers = true;
            for (size_t w = 0; w < n_words && covers; w++) {
                covers = (p->matched[f][w] & ~p->matched[g][w]) == 0;
            }
            if (topic_covers(slice_text(p->filters[g]), slice_text(p->filters[f])) != covers) {
                fail_msg("'%s' covers '%s': %d expected", p->filters[g], p->filters[f], covers);
            }
            n_covered += covers;
        }
    }
    assert_true(n_covered > p->n_filters);
    mem_free(p);
}

static void test_has_wildcard(void **state)
{
    (void)state;
    assert_true(topic_has_wildcard(slice_text("a/+")));
    assert_true(topic_has_wildcard(slice_text("#")));
    assert_false(topic_has_wildcard(slice_text("a/b")));
    assert_false(topic_has_wildcard(slice_text("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),        cmocka_unit_test(test_check_nul),
        cmocka_unit_test(test_check_bytes),  cmocka_unit_test(test_slashes),
        cmocka_unit_test(test_matches),      cmocka_unit_test(test_share_split),
        cmocka_unit_test(test_has_wildcard), cmocka_unit_test(test_covers_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

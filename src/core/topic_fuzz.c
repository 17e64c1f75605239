/* Two texts, separated by a NUL, as filters and as a topic: matching against the obvious way, and
 * covering against matching. */
#include <assert.h>

#include "core/oracle_private.h"
#include "core/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct topic_limits LIMITS = {.bytes = 65535, .levels = ORACLE_LEVELS_MAX};

/* A topic that `filter` matches: every '+' becomes a word no filter here holds, '#' two of them. */
static struct slice example_of(struct slice filter, char *dst, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < filter.n && n + 3 < cap; i++) {
        uint8_t c = filter.p[i];
        if (c == '#') {
            memcpy(dst + n, "\x01/\x01", 3);
            n += 3;
        } else {
            dst[n++] = (char)(c == '+' ? 1 : c);
        }
    }
    return slice_of(dst, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char example[512];
    struct slice second = slice_of(data, n);
    bool more = false;
    struct slice first = slice_cut(&second, 0, &more);
    struct slice group, rest;
    if (topic_filter_check(first, &LIMITS) != OK) {
        return 0;
    }
    topic_share_split(first, &group, &rest);
    assert(topic_covers(rest, rest) || rest.p[0] == '$');
    if (topic_name_check(second, &LIMITS) == OK) {
        assert(topic_matches(rest, second) == oracle_matches(rest, second));
        assert(topic_covers(rest, second) == topic_matches(rest, second));
    }
    if (topic_filter_check(second, &LIMITS) == OK && second.n < sizeof example / 4) {
        struct slice topic = example_of(second, example, sizeof example);
        assert(topic_matches(second, topic));
        assert(!topic_covers(rest, second) || topic_matches(rest, topic));
    }
    return 0;
}

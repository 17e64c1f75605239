/*
 * oracle_private - for tests and fuzz targets only: the slow and obvious way to match a topic, and
 * random topics and filters that often meet.
 */
#ifndef CORE_ORACLE_PRIVATE_H
#define CORE_ORACLE_PRIVATE_H

#include <assert.h>

#include "base/slice.h"

enum { ORACLE_LEVELS_MAX = 64 };

struct oracle_levels {
    struct slice at[ORACLE_LEVELS_MAX];
    size_t n;
};

static inline struct oracle_levels oracle_split(struct slice s)
{
    struct oracle_levels l = {0};
    size_t start = 0;
    for (size_t i = 0; i <= s.n; i++) {
        if (i == s.n || s.p[i] == '/') {
            assert(l.n < ORACLE_LEVELS_MAX);
            l.at[l.n++] = slice_of(i > start ? s.p + start : NULL, i - start);
            start = i + 1;
        }
    }
    return l;
}

/* The next level of what is left of a text; *is_last says that none comes behind it. */
static inline struct slice oracle_next(struct slice *rest, bool *is_last)
{
    size_t n = 0;
    while (n < rest->n && rest->p[n] != '/') {
        n++;
    }
    struct slice level = slice_of(rest->p, n);
    *is_last = n == rest->n;
    *rest = slice_from(*rest, n + 1);
    return level;
}

/* oracle_matches - level by level over both texts, the rules in the order of the text. */
static inline bool oracle_matches(struct slice filter, struct slice name)
{
    bool is_dollar = name.n > 0 && name.p[0] == '$', is_first = true;
    bool is_filter_over = false, is_name_over = false;
    while (!is_filter_over) {
        struct slice f = oracle_next(&filter, &is_filter_over);
        bool is_rest = is_filter_over && slice_is(f, "#"), is_any = slice_is(f, "+");
        if (is_dollar && is_first && (is_any || slice_is(f, "#"))) {
            return false;
        }
        if (is_rest) {
            return true;
        }
        if (is_name_over) {
            return false;
        }
        struct slice t = oracle_next(&name, &is_name_over);
        if (!is_any && !slice_equal(f, t)) {
            return false;
        }
        is_first = false;
    }
    return is_name_over;
}

/* oracle_text - a topic, or a filter when is_filter, written to dst (at least 64 bytes) from the
 * digits of `choice`; few words, so that texts often meet. */
static inline struct slice oracle_text(uint64_t choice, bool is_filter, char *dst)
{
    static const char *const WORDS[] = {"a", "b", "", "$x", "ab", "+", "#"};
    size_t n = 0, n_levels = 1 + choice % 4;
    choice /= 4;
    for (size_t i = 0; i < n_levels; i++) {
        const char *word = WORDS[choice % (is_filter ? 7 : 5)];
        choice /= 7;
        bool is_last = i + 1 == n_levels || word[0] == '#';
        memcpy(dst + n, word, strlen(word));
        n += strlen(word);
        if (is_last) {
            break;
        }
        dst[n++] = '/';
    }
    if (n == 0) {
        dst[n++] = 'a';
    }
    return slice_of(dst, n);
}

#endif

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

/* oracle_matches - level by level over both split texts, the rules in the order of the text. */
static inline bool oracle_matches(struct slice filter, struct slice name)
{
    struct oracle_levels f = oracle_split(filter), t = oracle_split(name);
    bool is_wild_first = slice_is(f.at[0], "#") || slice_is(f.at[0], "+");
    if (is_wild_first && name.n > 0 && name.p[0] == '$') {
        return false;
    }
    bool has_rest = slice_is(f.at[f.n - 1], "#");
    size_t n_fixed = has_rest ? f.n - 1 : f.n;
    if (has_rest ? t.n < n_fixed : t.n != n_fixed) {
        return false;
    }
    for (size_t i = 0; i < n_fixed; i++) {
        if (!slice_is(f.at[i], "+") && !slice_equal(f.at[i], t.at[i])) {
            return false;
        }
    }
    return true;
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

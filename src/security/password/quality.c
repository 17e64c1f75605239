#include "security/password/quality_private.h"

#include "base/mem.h"
#include "base/scope.h"
#include "security/password/common_private.h"

enum { DIFFERENT_MIN = 6, PERIOD_MAX = 8, FOLD_MAX = 256, NAME_SLACK = 3 };

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* Lower case, and the letter that a digit or sign usually stands for. */
static uint8_t fold(uint8_t c)
{
    switch (c) {
    case '0':
        return 'o';
    case '1':
        return 'l';
    case '3':
        return 'e';
    case '4':
    case '@':
        return 'a';
    case '5':
    case '$':
        return 's';
    case '7':
        return 't';
    case '8':
        return 'b';
    case '!':
        return 'i';
    default:
        return lower(c);
    }
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static size_t different(struct slice s)
{
    bool seen[256] = {false};
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        n += seen[s.p[i]] ? 0 : 1;
        seen[s.p[i]] = true;
    }
    return n;
}

bool quality_is_pattern(struct slice s)
{
    if (different(s) < DIFFERENT_MIN) {
        return true;
    }
    for (size_t period = 1; period <= PERIOD_MAX && 2 * period <= s.n; period++) {
        if (slice_equal(slice_from(s, period), slice_head(s, s.n - period))) {
            return true;
        }
    }
    size_t steps = 0;
    for (size_t i = 1; i < s.n; i++) {
        int step = s.p[i] - s.p[i - 1];
        steps += step == 1 || step == -1 || step == 0 ? 1 : 0;
    }
    return s.n > 1 && steps * 10 >= (s.n - 1) * 8; /* "123456789012" wraps once */
}

static int compare(struct slice s, const char *word)
{
    size_t n = strlen(word);
    size_t common = s.n < n ? s.n : n;
    int order =
        common > 0 ? memcmp(s.p, word, common) : 0; /* both are public by now: a word list */
    if (order != 0) {
        return order;
    }
    return s.n == n ? 0 : s.n < n ? -1 : 1;
}

static bool is_word(struct slice s)
{
    size_t low = 0;
    size_t high = COUNT_OF(common_words);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(s, common_words[middle]);
        if (order == 0) {
            return true;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return false;
}

/* One word, or two in a row. */
static bool is_words(struct slice s)
{
    if (s.n == 0 || is_word(s)) {
        return true;
    }
    for (size_t cut = 1; cut < s.n; cut++) {
        if (is_word(slice_head(s, cut)) && is_word(slice_from(s, cut))) {
            return true;
        }
    }
    return false;
}

static void wipe_folded(uint8_t (*folded)[FOLD_MAX])
{
    mem_wipe(folded, sizeof *folded);
}

bool quality_is_common(struct slice s)
{
    AUTO(wipe_folded) uint8_t folded[FOLD_MAX];
    AUTO(wipe_folded) uint8_t letters[FOLD_MAX];
    if (s.n > FOLD_MAX) {
        return false;
    }
    size_t first = s.n;
    size_t end = 0;
    size_t n_letters = 0;
    for (size_t i = 0; i < s.n; i++) {
        folded[i] = fold(s.p[i]);
        if (is_letter(s.p[i])) {
            first = i < first ? i : first;
            end = i + 1;
            letters[n_letters++] = lower(s.p[i]);
        }
    }
    if (first >= end) {
        return true; /* digits and signs only */
    }
    struct slice whole = slice_of(folded, s.n);
    struct slice core =
        slice_from(slice_head(whole, end), first); /* "p4ssw0rd" of "12p4ssw0rd!!" */
    return is_words(whole) || is_words(core) || is_words(slice_of(letters, n_letters));
}

bool quality_is_made_of(struct slice s, struct slice name)
{
    if (name.n == 0 || s.n < name.n || s.n - name.n > NAME_SLACK) {
        return false;
    }
    for (size_t at = 0; at + name.n <= s.n; at++) {
        size_t same = 0;
        while (same < name.n && lower(s.p[at + same]) == lower(name.p[same])) {
            same++;
        }
        if (same == name.n) {
            return true;
        }
    }
    return false;
}

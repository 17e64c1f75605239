#include "service/doctor/lines.h"

enum { DIGITS_MAX = 18 };

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

struct slice lines_trim(struct slice s)
{
    size_t at = 0;
    while (at < s.n && is_blank(s.p[at])) {
        at++;
    }
    s = slice_from(s, at);
    while (s.n > 0 && is_blank(s.p[s.n - 1])) {
        s = slice_head(s, s.n - 1);
    }
    return s;
}

bool lines_next(struct lines *l, struct slice *ret)
{
    if (l->rest.n == 0) {
        return false;
    }
    bool more;
    l->number++;
    *ret = lines_trim(slice_cut(&l->rest, '\n', &more));
    return true;
}

struct slice words_next(struct slice *rest)
{
    struct slice s = lines_trim(*rest);
    size_t at = 0;
    while (at < s.n && !is_blank(s.p[at])) {
        at++;
    }
    *rest = lines_trim(slice_from(s, at));
    return slice_head(s, at);
}

enum err lines_number(struct slice s, int64_t *ret)
{
    bool is_negative = s.n > 0 && s.p[0] == '-';
    s = is_negative ? slice_from(s, 1) : s;
    if (s.n == 0 || s.n > DIGITS_MAX) {
        return ERR_MALFORMED;
    }
    int64_t value = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return ERR_MALFORMED;
        }
        value = 10 * value + (s.p[i] - '0');
    }
    *ret = is_negative ? -value : value;
    return OK;
}

bool lines_same(struct slice s, const char *text)
{
    if (s.n != strlen(text)) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        c = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
        if (c != (uint8_t)text[i]) {
            return false;
        }
    }
    return true;
}

enum err lines_flag(struct slice s, bool *ret)
{
    bool is_yes = lines_same(s, "true") || lines_same(s, "yes") || lines_same(s, "on");
    if (!is_yes && !lines_same(s, "false") && !lines_same(s, "no") && !lines_same(s, "off")) {
        return ERR_MALFORMED;
    }
    *ret = is_yes;
    return OK;
}

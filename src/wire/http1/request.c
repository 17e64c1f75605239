#include "wire/http1/request.h"

#include "wire/http1/head_private.h"

enum { CR = '\r', LF = '\n', TAB = '\t', CRLF = 0x0d0a, DEL = 0x7f, FIRST_PRINTABLE = 0x20 };

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool equals_anycase(struct slice a, const char *text)
{
    struct slice b = slice_text(text);
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

/* SPEC: RFC9110 5.6.2 */
static bool is_token(struct slice s)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = lower(s.p[i]);
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    slice_find(slice_of(marks, sizeof(marks) - 1), c) < sizeof(marks) - 1;
        if (!good) {
            return false;
        }
    }
    return s.n > 0;
}

static bool is_target(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= FIRST_PRINTABLE || s.p[i] >= DEL) {
            return false;
        }
    }
    return s.n > 0 && s.p[0] == '/';
}

static struct slice trim(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == TAB)) {
        s = slice_from(s, 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == TAB)) {
        s = slice_head(s, s.n - 1);
    }
    return s;
}

enum err http1_head_find(struct slice bytes, size_t from, size_t *ret_n)
{
    for (size_t i = from; i < bytes.n; i++) {
        uint8_t c = bytes.p[i];
        bool after_cr = i > 0 && bytes.p[i - 1] == CR;
        if ((c == LF) != after_cr || (c < FIRST_PRINTABLE && c != CR && c != LF && c != TAB) ||
            c == DEL) {
            return ERR_MALFORMED;
        }
        if (c == LF && i >= 3 && bytes.p[i - 2] == LF) {
            *ret_n = i + 1;
            return OK;
        }
    }
    return ERR_AGAIN;
}

struct slice http1_line_take(struct rd *r)
{
    struct slice rest = slice_of(r->base + r->at, rd_left(r));
    struct slice line = rd_bytes(r, slice_find(rest, CR));
    if (rd_u16(r) != CRLF) {
        rd_fail(r, ERR_MALFORMED);
    }
    return line;
}

bool http1_is_version(struct slice s)
{
    static const char form[] = "HTTP/n.n";
    for (size_t i = 0; i < s.n && i < sizeof(form) - 1; i++) {
        bool is_digit = s.p[i] >= '0' && s.p[i] <= '9';
        if (form[i] == 'n' ? !is_digit : s.p[i] != (uint8_t)form[i]) {
            return false;
        }
    }
    return s.n == sizeof(form) - 1;
}

static enum err read_request_line(struct slice line, struct http1_request *ret, bool *ret_old)
{
    bool more;
    ret->method = slice_cut(&line, ' ', &more);
    ret->target = slice_cut(&line, ' ', &more);
    if (!is_token(ret->method) || !is_target(ret->target) || !http1_is_version(line)) {
        return ERR_MALFORMED;
    }
    *ret_old = slice_is(line, "HTTP/1.0");
    return *ret_old || slice_is(line, "HTTP/1.1") ? OK : ERR_UNSUPPORTED;
}

static enum err read_field(struct slice line, struct http1_field *ret)
{
    bool has_colon;
    struct slice name = slice_cut(&line, ':', &has_colon);
    if (!has_colon || !is_token(name)) {
        return ERR_MALFORMED; /* a folded line and "Name :" end here, too. SPEC: RFC9112 5.1, 5.2 */
    }
    for (size_t i = 0; i < line.n; i++) {
        if ((line.p[i] < FIRST_PRINTABLE && line.p[i] != TAB) || line.p[i] == DEL) {
            return ERR_MALFORMED;
        }
    }
    *ret = (struct http1_field){.name = name, .value = trim(line)};
    return OK;
}

enum err http1_fields_decode(struct rd *r, struct http1_request *ret)
{
    struct slice line;
    while (rd_ok(r) && (line = http1_line_take(r)).n > 0) {
        if (ret->n_fields == HTTP1_FIELDS_MAX) {
            return ERR_LIMIT;
        }
        TRY(read_field(line, &ret->fields[ret->n_fields]));
        ret->n_fields++;
    }
    return rd_finish(r) == OK ? OK : ERR_MALFORMED;
}

enum err http1_request_decode(struct slice head, struct http1_request *ret)
{
    bool is_old = false;
    enum err err = http1_request_decode_old(head, ret, &is_old);
    return err == OK && is_old ? ERR_UNSUPPORTED : err;
}

enum err http1_request_decode_old(struct slice head, struct http1_request *ret, bool *ret_old)
{
    if (head.n == 0 || head.n > HTTP1_HEAD_MAX) {
        return head.n == 0 ? ERR_MALFORMED : ERR_TOO_LARGE;
    }
    struct rd r = rd_from(head);
    struct slice line = http1_line_take(&r);
    ret->n_fields = 0;
    if (!rd_ok(&r)) {
        return ERR_MALFORMED;
    }
    if (line.n > HTTP1_LINE_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(read_request_line(line, ret, ret_old));
    return http1_fields_decode(&r, ret);
}

size_t http1_request_count(const struct http1_request *r, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_fields; i++) {
        n += equals_anycase(r->fields[i].name, name);
    }
    return n;
}

bool http1_request_find(const struct http1_request *r, const char *name, struct slice *ret)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        if (equals_anycase(r->fields[i].name, name)) {
            *ret = r->fields[i].value;
            return true;
        }
    }
    return false;
}

static bool list_has(struct slice list, const char *member, bool exact)
{
    for (bool more = true; more;) {
        struct slice one = trim(slice_cut(&list, ',', &more));
        if (exact ? slice_is(one, member) : equals_anycase(one, member)) {
            return true;
        }
    }
    return false;
}

bool http1_request_lists(const struct http1_request *r, const char *name, const char *member,
                         bool exact)
{
    for (size_t i = 0; i < r->n_fields; i++) {
        if (equals_anycase(r->fields[i].name, name) &&
            list_has(r->fields[i].value, member, exact)) {
            return true;
        }
    }
    return false;
}

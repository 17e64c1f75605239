#include "wire/json/merge_patch.h"

#include <assert.h>

#include "base/rd.h"
#include "base/utf8.h"

/* ---- reading. SPEC: RFC8259 2 to 7 ---- */

static void skip_space(struct rd *r)
{
    while (rd_left(r) > 0 && strchr(" \t\r\n", rd_peek_u8(r)) != NULL) {
        (void)rd_u8(r);
    }
}

/* The next byte, which must be one of these. */
static uint8_t expect(struct rd *r, const char *any)
{
    uint8_t c = rd_u8(r);
    if (c == 0 || strchr(any, c) == NULL) {
        rd_fail(r, ERR_MALFORMED);
    }
    return c;
}

static uint32_t hex4(struct rd *r)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = expect(r, digits);
        const char *at = rd_ok(r) ? strchr(digits, c) : digits;
        value = value << 4 | (uint32_t)((at - digits) & 15);
    }
    return value;
}

/* SPEC: RFC8259 7: what is beyond 16 bits is a pair */
static uint32_t escaped_unicode(struct rd *r)
{
    enum { HIGH = 0xD800, LOW = 0xDC00, END = 0xE000, BITS = 10, BASE = 0x10000 };
    uint32_t high = hex4(r);
    if (high < HIGH || high >= END) {
        return high;
    }
    (void)expect(r, "\\");
    (void)expect(r, "u");
    uint32_t low = hex4(r);
    if (high >= LOW || low < LOW || low >= END) {
        rd_fail(r, ERR_MALFORMED);
    }
    return BASE + ((high - HIGH) << BITS) + (low - LOW);
}

static uint32_t escaped(struct rd *r)
{
    uint8_t c = expect(r, "\"\\/bfnrtu");
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        return escaped_unicode(r);
    default:
        return c;
    }
}

/* A character of a string; the text is known to be UTF-8. */
static uint32_t next_char(struct rd *r)
{
    enum { CONTINUATION = 0x3F, TWO = 0xC0, THREE = 0xE0, FOUR = 0xF0 };
    uint32_t c = rd_u8(r);
    if (c == '\\') {
        return escaped(r);
    }
    if (c < ' ') {
        rd_fail(r, ERR_MALFORMED); /* a control character, or the end */
    }
    if (c < TWO) {
        return c;
    }
    int more = c >= FOUR ? 3 : c >= THREE ? 2 : 1;
    c &= (uint32_t)(CONTINUATION >> more);
    while (more-- > 0) {
        c = c << 6 | (rd_u8(r) & CONTINUATION);
    }
    return c;
}

static struct slice since(const struct rd *r, size_t from)
{
    return slice_head(slice_from(slice_of(r->base, r->n), from), r->at - from);
}

/* What is between its quotes. */
static struct slice read_string(struct rd *r)
{
    (void)expect(r, "\"");
    size_t from = r->at;
    while (rd_ok(r) && rd_peek_u8(r) != '"') {
        (void)next_char(r);
    }
    struct slice content = rd_ok(r) ? since(r, from) : (struct slice){0};
    (void)expect(r, "\"");
    return content;
}

static bool has_digit(const struct rd *r)
{
    return rd_left(r) > 0 && rd_peek_u8(r) >= '0' && rd_peek_u8(r) <= '9';
}

static void read_digits(struct rd *r)
{
    do {
        (void)expect(r, "0123456789");
    } while (rd_ok(r) && has_digit(r));
}

static bool read_if(struct rd *r, const char *any)
{
    bool is_there = rd_left(r) > 0 && rd_peek_u8(r) != 0 && strchr(any, rd_peek_u8(r)) != NULL;
    if (is_there) {
        (void)rd_u8(r);
    }
    return is_there;
}

static void read_number(struct rd *r)
{
    (void)read_if(r, "-");
    if (!read_if(r, "0")) {
        read_digits(r);
    }
    if (read_if(r, ".")) {
        read_digits(r);
    }
    if (read_if(r, "eE")) {
        (void)read_if(r, "+-");
        read_digits(r);
    }
}

static void read_word(struct rd *r, const char *word)
{
    if (!slice_is(rd_bytes(r, slice_text(word).n), word)) {
        rd_fail(r, ERR_MALFORMED);
    }
}

static void read_value(struct rd *r, unsigned depth);

static void read_name(struct rd *r)
{
    (void)read_string(r);
    skip_space(r);
    (void)expect(r, ":");
    skip_space(r);
}

/* An object or an array. */
static void read_list(struct rd *r, bool is_object, unsigned depth)
{
    const char *end = is_object ? "}" : "]", *next = is_object ? ",}" : ",]";
    if (depth >= JSON_DEPTH_MAX) {
        rd_fail(r, ERR_LIMIT);
        return;
    }
    (void)rd_u8(r);
    skip_space(r);
    if (read_if(r, end)) {
        return;
    }
    uint8_t c;
    do {
        skip_space(r);
        if (is_object) {
            read_name(r);
        }
        read_value(r, depth + 1);
        skip_space(r);
        c = expect(r, next);
    } while (rd_ok(r) && c == ',');
}

static void read_value(struct rd *r, unsigned depth)
{
    switch (rd_peek_u8(r)) {
    case '{':
        read_list(r, true, depth);
        break;
    case '[':
        read_list(r, false, depth);
        break;
    case '"':
        (void)read_string(r);
        break;
    case 't':
        read_word(r, "true");
        break;
    case 'f':
        read_word(r, "false");
        break;
    case 'n':
        read_word(r, "null");
        break;
    default:
        read_number(r);
        break;
    }
}

enum err json_check(struct slice text)
{
    struct rd r = rd_from(text);
    TRY(utf8_check(text, UTF8_MQTT, NULL));
    skip_space(&r);
    read_value(&r, 0);
    skip_space(&r);
    enum err err = rd_finish(&r);
    return err == OK || err == ERR_LIMIT ? err : ERR_MALFORMED;
}

/* ---- members of what was checked ---- */

struct member {
    struct slice name, value; /* the name between its quotes */
    bool is_plain;            /* nothing in the name is escaped */
};

static bool is_object(struct slice value)
{
    return value.n > 0 && value.p[0] == '{';
}

static bool is_null(struct slice value)
{
    return value.n > 0 && value.p[0] == 'n';
}

static struct rd members_of(struct slice object)
{
    struct rd r = rd_from(object);
    (void)rd_u8(&r);
    return r;
}

static bool next_member(struct rd *r, struct member *ret)
{
    skip_space(r);
    (void)read_if(r, ",");
    skip_space(r);
    if (rd_peek_u8(r) != '"') {
        return false;
    }
    ret->name = read_string(r);
    ret->is_plain = slice_find(ret->name, '\\') == ret->name.n;
    skip_space(r);
    (void)expect(r, ":");
    skip_space(r);
    size_t from = r->at;
    read_value(r, 0);
    assert(rd_ok(r)); /* it was checked */
    ret->value = since(r, from);
    return true;
}

static bool is_same_name(const struct member *a, const struct member *b)
{
    struct rd x = rd_from(a->name), y = rd_from(b->name);
    if (a->is_plain && b->is_plain) {
        return slice_equal(a->name, b->name);
    }
    while (rd_left(&x) > 0 && rd_left(&y) > 0) {
        if (next_char(&x) != next_char(&y)) {
            return false;
        }
    }
    return rd_left(&x) == rd_left(&y);
}

/* The members of one object of a patch. */
struct changes {
    size_t n;
    struct member at[MERGE_NAMES_MAX];
};

static const struct member *find_change(const struct changes *c, const struct member *named)
{
    for (size_t i = 0; i < c->n; i++) {
        if (is_same_name(&c->at[i], named)) {
            return &c->at[i];
        }
    }
    return NULL;
}

static enum err read_changes(struct slice object, struct changes *c)
{
    struct rd r = members_of(object);
    struct member m;
    c->n = 0;
    while (next_member(&r, &m)) {
        if (c->n >= MERGE_NAMES_MAX) {
            return ERR_LIMIT;
        }
        if (find_change(c, &m) != NULL) {
            return ERR_EXISTS;
        }
        c->at[c->n++] = m;
    }
    return OK;
}

static enum err check_changes(struct slice value)
{
    struct changes c;
    if (!is_object(value)) {
        return OK; /* what is in an array is no patch */
    }
    TRY(read_changes(value, &c));
    for (size_t i = 0; i < c.n; i++) {
        TRY(check_changes(c.at[i].value));
    }
    return OK;
}

static struct slice trimmed(struct slice text)
{
    struct rd r = rd_from(text);
    skip_space(&r);
    size_t from = r.at;
    read_value(&r, 0);
    return since(&r, from);
}

enum err merge_patch_check(struct slice patch)
{
    if (patch.n > MERGE_PATCH_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    TRY(json_check(patch));
    return check_changes(trimmed(patch));
}

/* ---- merging ---- */

static void write_name(struct wr *w, struct slice name, bool *is_first)
{
    if (!*is_first) {
        wr_u8(w, ',');
    }
    *is_first = false;
    wr_u8(w, '"');
    wr_bytes(w, name);
    wr_u8(w, '"');
    wr_u8(w, ':');
}

static void merge(struct slice target, struct slice patch, struct wr *w);

/* The members that there are, as they become; bits of *seen: whose changes are done. */
static void merge_members(struct slice target, const struct changes *c, uint64_t *seen,
                          bool *is_first, struct wr *w)
{
    struct rd old = members_of(target);
    struct member m;
    while (next_member(&old, &m)) {
        const struct member *change = find_change(c, &m);
        if (change != NULL) {
            *seen |= UINT64_C(1) << (change - c->at);
        }
        if (change != NULL && is_null(change->value)) {
            continue;
        }
        write_name(w, m.name, is_first);
        if (change != NULL) {
            merge(m.value, change->value, w);
        } else {
            wr_bytes(w, m.value);
        }
    }
}

/* As deep as the patch, which is bounded. */
static void merge(struct slice target, struct slice patch, struct wr *w)
{
    struct changes c;
    uint64_t seen = 0;
    bool is_first = true;
    if (!is_object(patch)) {
        wr_bytes(w, patch);
        return;
    }
    enum err err = read_changes(patch, &c);
    assert(err == OK); /* it was checked */
    (void)err;
    wr_u8(w, '{');
    if (is_object(target)) {
        merge_members(target, &c, &seen, &is_first, w);
    }
    for (size_t i = 0; i < c.n; i++) {
        if (!is_null(c.at[i].value) && (seen >> i & 1) == 0) {
            write_name(w, c.at[i].name, &is_first);
            merge((struct slice){0}, c.at[i].value, w);
        }
    }
    wr_u8(w, '}');
}

void merge_patch(struct slice target, struct slice patch, struct wr *w)
{
    merge(target.n > 0 ? trimmed(target) : target, trimmed(patch), w);
}

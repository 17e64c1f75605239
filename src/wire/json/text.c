#include "wire/json/text.h"

#include <assert.h>
#include <math.h>

#include "base/utf8.h"

/* ---- reading. SPEC: RFC8259 2 to 7 ---- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct rd *r)
{
    while (rd_left(r) > 0 && is_space(rd_peek_u8(r))) {
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

/* ---- parts of what was checked ---- */

struct slice json_trim(struct slice text)
{
    struct rd r = rd_from(text);
    skip_space(&r);
    struct slice value = rd_rest(&r);
    while (value.n > 0 && is_space(value.p[value.n - 1])) {
        value.n--;
    }
    return value;
}

struct rd json_parts(struct slice list)
{
    struct rd r = rd_from(list);
    (void)rd_u8(&r);
    return r;
}

/* Up to the first byte of the next part, if there is one. */
static void skip_to_part(struct rd *r)
{
    skip_space(r);
    (void)read_if(r, ",");
    skip_space(r);
}

static struct slice take_value(struct rd *r)
{
    size_t from = r->at;
    read_value(r, 0);
    assert(rd_ok(r)); /* it was checked */
    return since(r, from);
}

bool json_next_member(struct rd *r, struct json_member *ret)
{
    skip_to_part(r);
    if (rd_peek_u8(r) != '"') {
        return false;
    }
    ret->name = read_string(r);
    ret->is_plain = json_is_plain(ret->name);
    skip_space(r);
    (void)expect(r, ":");
    skip_space(r);
    ret->value = take_value(r);
    return true;
}

bool json_next_element(struct rd *r, struct slice *ret)
{
    skip_to_part(r);
    if (rd_left(r) == 0 || rd_peek_u8(r) == ']') {
        return false;
    }
    *ret = take_value(r);
    return true;
}

bool json_is_same_name(const struct json_member *a, const struct json_member *b)
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

/* ---- what a value says ---- */

static void write_char(struct wr *w, uint32_t c)
{
    enum { ONE = 0x80, TWO = 0x800, THREE = 0x10000, TAIL = 0x3F };
    enum { LEAD2 = 0xC0, LEAD3 = 0xE0, LEAD4 = 0xF0 };
    int more = c < ONE ? 0 : c < TWO ? 1 : c < THREE ? 2 : 3;
    static const uint8_t leads[] = {0, LEAD2, LEAD3, LEAD4};
    wr_u8(w, (uint8_t)(leads[more] | c >> (more * 6)));
    while (more-- > 0) {
        wr_u8(w, (uint8_t)(ONE | (c >> (more * 6) & TAIL)));
    }
}

void json_string_write(struct slice content, struct wr *w)
{
    struct rd r = rd_from(content);
    if (json_is_plain(content)) {
        wr_bytes(w, content);
        return;
    }
    while (rd_left(&r) > 0 && wr_ok(w)) {
        write_char(w, next_char(&r));
    }
}

struct slice json_content(struct slice string)
{
    struct rd r = rd_from(string);
    return read_string(&r);
}

enum err json_number(struct slice value, double *ret)
{
    char text[JSON_NUMBER_BYTES + 1];
    char *end = text;
    if (!json_is_number(value)) {
        return ERR_MALFORMED;
    }
    if (!slice_to_text(value, text, sizeof(text))) {
        return ERR_LIMIT;
    }
    double number = strtod(text, &end);
    if (*end != '\0' || !isfinite(number)) {
        return ERR_LIMIT; /* beyond what a double holds */
    }
    *ret = number;
    return OK;
}

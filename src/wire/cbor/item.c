#include "wire/cbor/item.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

enum {
    MAJOR_SHIFT = 5,
    INFO_MASK = 31,
    INFO_U8 = 24, /* the value stands in 1, 2, 4, 8 bytes behind the first */
    INFO_U16,
    INFO_U32,
    INFO_U64,
    INFO_OPEN = 31, /* no count or length: a break ends it */
    BREAK = 0xFF,
    FALSE = 0xF4,
    TRUE = 0xF5,
    NULL_ITEM = 0xF6,
    TAG_DECIMAL = 4
};

struct head {
    enum cbor_major major;
    uint8_t info;
    uint64_t value;
};

/* ---- reading. SPEC: RFC8949 3 ---- */

static struct head read_head(struct rd *r)
{
    uint8_t first = rd_u8(r);
    struct head h = {.major = first >> MAJOR_SHIFT, .info = first & INFO_MASK};
    if (h.info < INFO_U8) {
        h.value = h.info;
    } else if (h.info <= INFO_U64) {
        h.value = rd_be(r, (size_t)1 << (h.info - INFO_U8));
    } else if (h.info != INFO_OPEN) {
        rd_fail(r, ERR_MALFORMED);
    }
    if (h.info == INFO_OPEN &&
        (h.major == CBOR_UNSIGNED || h.major == CBOR_NEGATIVE || h.major == CBOR_TAG)) {
        rd_fail(r, ERR_MALFORMED);
    }
    return h;
}

static void read_piece(struct rd *r, const struct head *h)
{
    if (h->value > rd_left(r)) {
        rd_fail(r, ERR_MALFORMED);
        return;
    }
    struct slice piece = rd_bytes(r, (size_t)h->value);
    if (h->major == CBOR_TEXT && utf8_check(piece, UTF8_MQTT, NULL) != OK) {
        rd_fail(r, ERR_UTF8);
    }
}

static bool read_break(struct rd *r)
{
    bool is_there = rd_left(r) > 0 && rd_peek_u8(r) == BREAK;
    if (is_there) {
        (void)rd_u8(r);
    }
    return is_there;
}

/* In one piece, or in pieces of its kind. SPEC: RFC8949 3.2.3 */
static void read_string(struct rd *r, const struct head *h)
{
    if (h->info != INFO_OPEN) {
        read_piece(r, h);
        return;
    }
    while (rd_ok(r) && !read_break(r)) {
        struct head piece = read_head(r);
        if (piece.major != h->major || piece.info == INFO_OPEN) {
            rd_fail(r, ERR_MALFORMED);
            return;
        }
        read_piece(r, &piece);
    }
}

static void read_item(struct rd *r, unsigned depth);

/* A count is believed only as far as there are bytes. */
static void read_list(struct rd *r, const struct head *h, unsigned depth)
{
    unsigned each = h->major == CBOR_MAP ? 2 : 1;
    bool is_open = h->info == INFO_OPEN;
    for (uint64_t i = 0; rd_ok(r) && (is_open || i < h->value); i++) {
        if (is_open && read_break(r)) {
            return;
        }
        for (unsigned k = 0; k < each && rd_ok(r); k++) {
            read_item(r, depth);
        }
    }
}

/* SPEC: RFC8949 3.3: a simple value under 32 has no byte of its own, and a break is no item */
static void check_simple(struct rd *r, const struct head *h)
{
    enum { SIMPLE_LEAST = 32 };
    if (h->info == INFO_OPEN || (h->info == INFO_U8 && h->value < SIMPLE_LEAST)) {
        rd_fail(r, ERR_MALFORMED);
    }
}

static void read_item(struct rd *r, unsigned depth)
{
    struct head h = read_head(r);
    if (!rd_ok(r)) {
        return;
    }
    if (h.major >= CBOR_ARRAY && h.major <= CBOR_TAG && depth >= CBOR_DEPTH_MAX) {
        rd_fail(r, ERR_LIMIT);
        return;
    }
    switch (h.major) {
    case CBOR_UNSIGNED:
    case CBOR_NEGATIVE:
        break;
    case CBOR_BYTES:
    case CBOR_TEXT:
        read_string(r, &h);
        break;
    case CBOR_ARRAY:
    case CBOR_MAP:
        read_list(r, &h, depth + 1);
        break;
    case CBOR_TAG:
        read_item(r, depth + 1);
        break;
    case CBOR_SIMPLE:
        check_simple(r, &h);
        break;
    }
}

enum err cbor_check(struct slice item)
{
    struct rd r = rd_from(item);
    read_item(&r, 0);
    enum err err = rd_finish(&r);
    return err == OK || err == ERR_LIMIT || err == ERR_UTF8 ? err : ERR_MALFORMED;
}

/* ---- what a checked item says ---- */

static struct head head_of(struct slice item)
{
    struct rd r = rd_from(item);
    struct head h = read_head(&r);
    return rd_ok(&r) ? h : (struct head){.major = CBOR_SIMPLE};
}

enum cbor_major cbor_major(struct slice item)
{
    return head_of(item).major;
}

bool cbor_is_bool(struct slice item)
{
    return item.n == 1 && (item.p[0] == FALSE || item.p[0] == TRUE);
}

bool cbor_is_null(struct slice item)
{
    return item.n == 1 && item.p[0] == NULL_ITEM;
}

bool cbor_is_definite(struct slice item)
{
    return head_of(item).info != INFO_OPEN;
}

bool cbor_integer(struct slice item, uint64_t *ret)
{
    struct head h = head_of(item);
    *ret = h.value;
    return h.major == CBOR_UNSIGNED || h.major == CBOR_NEGATIVE;
}

struct slice cbor_string(struct slice item)
{
    struct rd r = rd_from(item);
    struct head h = read_head(&r);
    bool is_string = (h.major == CBOR_BYTES || h.major == CBOR_TEXT) && h.info != INFO_OPEN;
    return rd_ok(&r) && is_string ? rd_rest(&r) : (struct slice){0};
}

/* SPEC: RFC8949 D */
static double half(uint64_t bits)
{
    enum { EXPONENT = 10, EXPONENT_MASK = 31, MANTISSA = 0x3FF, HIDDEN = 0x400, SIGN = 15 };
    unsigned exponent = (unsigned)(bits >> EXPONENT) & EXPONENT_MASK;
    unsigned mantissa = (unsigned)bits & MANTISSA;
    const double least = 1.0 / (1 << 24); /* the value of the last bit of the smallest */
    double v = exponent == 0 ? mantissa * least : (mantissa + HIDDEN) * least;
    for (unsigned i = 1; i < exponent; i++) {
        v *= 2;
    }
    v = exponent == EXPONENT_MASK ? HUGE_VAL : v; /* not finite, whichever */
    return (bits >> SIGN & 1) != 0 ? -v : v;
}

static double floating(const struct head *h)
{
    double d = 0;
    float f = 0;
    uint32_t bits = (uint32_t)h->value;
    switch (h->info) {
    case INFO_U16:
        return half(h->value);
    case INFO_U32:
        memcpy(&f, &bits, sizeof(f));
        return f;
    default:
        memcpy(&d, &h->value, sizeof(d));
        return d;
    }
}

static double integer(const struct head *h)
{
    return h->major == CBOR_NEGATIVE ? -1.0 - (double)h->value : (double)h->value;
}

/* Ten to the power of the one, times the other: rounded once, by the C library. */
static enum err decimal(struct slice pair, double *ret)
{
    enum { DIGITS = 48 };
    char text[DIGITS];
    struct rd r = cbor_parts(pair);
    struct slice items[2] = {0}, third;
    uint64_t values[2];
    if (cbor_major(pair) != CBOR_ARRAY || !cbor_next(&r, &items[0]) || !cbor_next(&r, &items[1]) ||
        cbor_next(&r, &third) || !cbor_integer(items[0], &values[0]) ||
        !cbor_integer(items[1], &values[1])) {
        return ERR_MALFORMED;
    }
    if (values[0] > INT32_MAX || values[1] > INT64_MAX) {
        return ERR_LIMIT;
    }
    int64_t exponent = (int64_t)values[0], mantissa = (int64_t)values[1];
    exponent = cbor_major(items[0]) == CBOR_NEGATIVE ? -1 - exponent : exponent;
    mantissa = cbor_major(items[1]) == CBOR_NEGATIVE ? -1 - mantissa : mantissa;
    (void)snprintf(text, sizeof(text), "%" PRId64 "e%" PRId64, mantissa, exponent);
    *ret = strtod(text, NULL);
    return OK;
}

enum err cbor_number(struct slice item, double *ret)
{
    struct rd r = rd_from(item);
    struct head h = read_head(&r);
    double number = 0;
    if (h.major == CBOR_UNSIGNED || h.major == CBOR_NEGATIVE) {
        number = integer(&h);
    } else if (h.major == CBOR_SIMPLE && h.info >= INFO_U16 && h.info <= INFO_U64) {
        number = floating(&h);
    } else if (h.major == CBOR_TAG && h.value == TAG_DECIMAL) {
        TRY(decimal(rd_rest(&r), &number));
    } else {
        return ERR_MALFORMED;
    }
    if (!isfinite(number)) {
        return ERR_LIMIT;
    }
    *ret = number;
    return OK;
}

/* ---- parts of what was checked ---- */

struct rd cbor_parts(struct slice list)
{
    struct rd r = rd_from(list);
    (void)read_head(&r);
    return r;
}

bool cbor_next(struct rd *r, struct slice *ret)
{
    /* An item never begins with the break, and a list of a count ends with its bytes. */
    if (rd_left(r) == 0 || rd_peek_u8(r) == BREAK) {
        return false;
    }
    size_t from = r->at;
    read_item(r, 0);
    assert(rd_ok(r)); /* it was checked */
    *ret = slice_of(r->base + from, r->at - from);
    return true;
}

/* ---- writing ---- */

void cbor_wrap(struct wr *w, size_t from, enum cbor_major major, uint64_t value)
{
    uint8_t head[1 + sizeof(value)];
    struct wr h = wr_into(head, sizeof(head));
    unsigned info = value < INFO_U8       ? (unsigned)value
                    : value <= UINT8_MAX  ? INFO_U8
                    : value <= UINT16_MAX ? INFO_U16
                    : value <= UINT32_MAX ? INFO_U32
                                          : INFO_U64;
    wr_u8(&h, (uint8_t)((unsigned)major << MAJOR_SHIFT | info));
    if (info >= INFO_U8) {
        wr_be(&h, value, (size_t)1 << (info - INFO_U8));
    }
    size_t n = w->at - from;
    if (wr_reserve(w, h.at) == NULL) {
        return;
    }
    memmove(w->base + from + h.at, w->base + from, n);
    slice_copy(w->base + from, wr_slice(&h));
}

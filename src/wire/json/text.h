/*
 * text - JSON read where it stands: what is not understood is passed on byte for byte.
 *
 * Strict JSON (RFC 8259) in UTF-8; a lone surrogate is no text. No heap. json_check looks at
 * strangers' bytes; everything else takes only what has passed it.
 */
#ifndef WIRE_JSON_TEXT_H
#define WIRE_JSON_TEXT_H

#include "base/err.h"
#include "base/rd.h"
#include "base/slice.h"
#include "base/wr.h"

enum {
    JSON_DEPTH_MAX = 16,   /* objects and arrays in each other */
    JSON_NUMBER_BYTES = 63 /* of a number that is understood; passed on it may be longer */
};

/* A member of an object, as it is written. */
struct json_member {
    struct slice name, value; /* the name between its quotes */
    bool is_plain;            /* nothing in the name is escaped */
};

/* json_check - ERR_MALFORMED: it is not one JSON value; ERR_UTF8; ERR_LIMIT: over JSON_DEPTH_MAX.
 * O(bytes). */
MUST_USE enum err json_check(struct slice text);

/* json_trim - the value without the space around it. */
struct slice json_trim(struct slice text);

static inline bool json_is_object(struct slice value)
{
    return value.n > 0 && value.p[0] == '{';
}

static inline bool json_is_array(struct slice value)
{
    return value.n > 0 && value.p[0] == '[';
}

static inline bool json_is_string(struct slice value)
{
    return value.n > 0 && value.p[0] == '"';
}

static inline bool json_is_bool(struct slice value)
{
    return slice_is(value, "true") || slice_is(value, "false");
}

static inline bool json_is_null(struct slice value)
{
    return slice_is(value, "null");
}

static inline bool json_is_number(struct slice value)
{
    return value.n > 0 && (value.p[0] == '-' || (value.p[0] >= '0' && value.p[0] <= '9'));
}

/* json_is_plain - nothing between these quotes is escaped. */
static inline bool json_is_plain(struct slice content)
{
    return slice_find(content, '\\') == content.n;
}

/* json_parts - before the first part of a trimmed object or array. json_next_member, _element -
 * the next one; false: there is none. */
struct rd json_parts(struct slice list);
bool json_next_member(struct rd *r, struct json_member *ret);
bool json_next_element(struct rd *r, struct slice *ret);
/* json_is_same_name - compared as what they mean, not as they are written. */
bool json_is_same_name(const struct json_member *a, const struct json_member *b);

/* json_content - of a string, what is between its quotes. json_string_write - what that means, in
 * UTF-8; ERR_SPACE sticks. */
struct slice json_content(struct slice string);
void json_string_write(struct slice content, struct wr *w);
/* json_number - ERR_MALFORMED: it is none; ERR_LIMIT: longer than JSON_NUMBER_BYTES, or beyond a
 * double. In the "C" locale, which the process never leaves. */
MUST_USE enum err json_number(struct slice value, double *ret);

#endif

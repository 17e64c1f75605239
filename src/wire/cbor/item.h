/*
 * item - CBOR read where it stands (RFC 8949): what is not understood is passed on byte for byte.
 *
 * Well-formed CBOR, its text strings in UTF-8. No heap. cbor_check looks at strangers' bytes;
 * everything else takes only what has passed it. Shortest forms are not asked for.
 */
#ifndef WIRE_CBOR_ITEM_H
#define WIRE_CBOR_ITEM_H

#include "base/err.h"
#include "base/rd.h"
#include "base/slice.h"
#include "base/wr.h"

enum { CBOR_DEPTH_MAX = 16 }; /* arrays, maps and tags in each other */

/* SPEC: RFC8949 3.1 */
enum cbor_major {
    CBOR_UNSIGNED,
    CBOR_NEGATIVE,
    CBOR_BYTES,
    CBOR_TEXT,
    CBOR_ARRAY,
    CBOR_MAP,
    CBOR_TAG,
    CBOR_SIMPLE /* false, true, null, and floating-point numbers */
};

/* cbor_check - ERR_MALFORMED: it is not one well-formed item; ERR_UTF8; ERR_LIMIT: over
 * CBOR_DEPTH_MAX. O(bytes). SPEC: RFC8949 1.2, 5.3.1 */
MUST_USE enum err cbor_check(struct slice item);

/* cbor_major - of an item; of an empty slice, CBOR_SIMPLE. */
enum cbor_major cbor_major(struct slice item);
bool cbor_is_bool(struct slice item);
bool cbor_is_null(struct slice item);
/* cbor_is_definite - a string that is in one piece. */
bool cbor_is_definite(struct slice item);
/* cbor_integer - what it says is *ret, or -1 - *ret of a negative one; false: it is none. */
bool cbor_integer(struct slice item, uint64_t *ret);
/* cbor_string - the bytes of a string in one piece; empty: it is none. */
struct slice cbor_string(struct slice item);
/* cbor_number - an integer, a floating-point number or a decimal fraction. ERR_MALFORMED: it is
 * none of them; ERR_LIMIT: beyond a double, or not finite. In the "C" locale, which the process
 * never leaves. SPEC: RFC8949 3.3, 3.4.4 */
MUST_USE enum err cbor_number(struct slice item, double *ret);

/* cbor_parts - before the first item in an array or a map, where keys and values take turns.
 * cbor_next - the next one; false: there is none. */
struct rd cbor_parts(struct slice list);
bool cbor_next(struct rd *r, struct slice *ret);

/* cbor_wrap - puts the shortest head of this kind in front of what w has since `from`. ERR_SPACE
 * sticks. */
void cbor_wrap(struct wr *w, size_t from, enum cbor_major major, uint64_t value);

#endif

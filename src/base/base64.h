/*
 * base64 - bytes as text, in two alphabets, read strictly: one text for one sequence of bytes.
 *
 * BASE64_PADDED is RFC 4648's section 4 with its '='; BASE64_URL its section 5 without. Line
 * breaks, blanks, foreign characters, missing or surplus padding and bits that no byte uses are
 * ERR_MALFORMED.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/err.h"
#include "base/slice.h"
#include "base/wr.h"

enum base64_kind { BASE64_PADDED, BASE64_URL };

/* What n bytes become at most, and what n characters become at most. */
#define BASE64_TEXT_BYTES(n) (((n) + 2) / 3 * 4)
#define BASE64_BYTES_MAX(n)  (((n) + 3) / 4 * 3)

/* base64_decode - text to bytes. dst has room for cap; it may be half written after an error.
 * ERR_MALFORMED, ERR_SPACE. O(n). SPEC: RFC4648 3.5. */
MUST_USE enum err base64_decode(enum base64_kind kind, struct slice text, void *dst, size_t cap,
                                size_t *ret_n);
/* base64_encode - bytes to text at the writer's place; its error sticks. O(n). */
void base64_encode(enum base64_kind kind, struct slice bytes, struct wr *w);

#endif

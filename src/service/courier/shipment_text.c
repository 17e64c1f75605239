/* What is no letter, as letters. SPEC: RFC5424 6.3.3. */
#include "service/courier/shipment_text.h"

#include <inttypes.h>
#include <stdio.h>

/* What a terminal, or a reader of lines, takes for more than a letter. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           c == 0x061c;
}

/* The next character of valid UTF-8. */
static uint32_t take_character(struct slice *s, size_t *ret_n)
{
    uint8_t first = s->p[0];
    size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = first & masks[n];
    n = n < s->n ? n : s->n;
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (s->p[i] & 0x3f);
    }
    *ret_n = n;
    return c;
}

static bool is_escaped(uint32_t c, enum shipment_text as)
{
    return (c == '\\' && as != SHIPMENT_TEXT_ASCII) ||
           ((c == '"' || c == ']') && as == SHIPMENT_TEXT_QUOTED);
}

enum err shipment_put_text(struct buf *b, const char *text, enum shipment_text as)
{
    bool is_ascii = as == SHIPMENT_TEXT_ASCII;
    struct slice rest = slice_text(text);
    while (rest.n > 0) {
        size_t n;
        char escaped[16];
        uint32_t c = take_character(&rest, &n);
        if (is_control(c) || (is_ascii && c >= 0x80)) {
            (void)snprintf(escaped, sizeof escaped, "%s\\u%04" PRIx32,
                           as == SHIPMENT_TEXT_QUOTED ? "\\" : "", c);
            TRY(buf_append(b, slice_text(escaped), SIZE_MAX));
        } else {
            if (is_escaped(c, as)) {
                TRY(buf_append(b, slice_text("\\"), SIZE_MAX));
            }
            TRY(buf_append(b, slice_head(rest, n), SIZE_MAX));
        }
        rest = slice_from(rest, n);
    }
    return OK;
}

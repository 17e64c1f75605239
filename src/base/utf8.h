/* utf8 - is it well-formed UTF-8 (Unicode 15, table 3-7) and fit for MQTT? A table-driven DFA, one
 * pass. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/err.h"
#include "base/slice.h"

enum utf8_mode {
    UTF8_MQTT,  /* well-formed, no surrogates, no U+0000. SPEC: MQTT5-1.5.4-1, MQTT3-1.5.3-1,
                   MQTT5-1.5.4-2, MQTT3-1.5.3-2 */
    UTF8_STRICT /* also no control characters (U+0001..1F, 7F..9F), no non-characters, and nothing
                   that begins a line or turns the order of what is shown (U+2028..2E, 2066..69) */
};

/* utf8_check - ERR_UTF8 with *ret_at (may be NULL) = offset of the first bad byte or code point.
 * O(n). */
MUST_USE enum err utf8_check(struct slice s, enum utf8_mode mode, size_t *ret_at);

#endif

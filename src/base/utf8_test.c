#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scope.h"

/* The oracle works from the other side: it decodes by arithmetic, then asks whether this was the
 * shortest form and an allowed code point. Returns the length, 0 when the bytes are bad. */
static size_t oracle_one(const uint8_t *p, size_t n, enum utf8_mode mode)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t want = p[0] < 0x80             ? 1
                  : (p[0] & 0xe0) == 0xc0 ? 2
                  : (p[0] & 0xf0) == 0xe0 ? 3
                  : (p[0] & 0xf8) == 0xf0 ? 4
                                          : 0;
    if (want == 0 || want > n) {
        return 0;
    }
    uint32_t c = want == 1 ? p[0] : p[0] & (0x7fu >> want);
    for (size_t i = 1; i < want; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c * 64 + (p[i] - 0x80u);
    }
    if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || c == 0) {
        return 0;
    }
    if (mode == UTF8_STRICT &&
        (c < 32 || (c >= 127 && c < 160) || (c >= 0xfdd0 && c < 0xfdf0) || c % 65536 >= 65534)) {
        return 0;
    }
    if (mode == UTF8_STRICT && (c - 0x2028 < 7 || c - 0x2066 < 4)) {
        return 0;
    }
    return want;
}

static size_t oracle(const uint8_t *p, size_t n, enum utf8_mode mode)
{
    size_t at = 0;
    while (at < n) {
        size_t step = oracle_one(p + at, n - at, mode);
        if (step == 0) {
            break;
        }
        at += step;
    }
    return at;
}

static void compare(const uint8_t *p, size_t n, enum utf8_mode mode)
{
    size_t at = n;
    enum err e = utf8_check(slice_of(p, n), mode, &at);
    size_t expected = oracle(p, n, mode);
    if (e != (expected == n ? OK : ERR_UTF8) || at != expected) {
        fail_msg("%02x %02x %02x %02x (%zu bytes), mode %d: bad at %zu, expected %zu", p[0], p[1],
                 p[2], p[3], n, (int)mode, at, expected);
    }
}

static void all_of_one_to_three_bytes(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 1u << 24; v++) {
        uint8_t p[4] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        if ((v & 0xffff) == 0) {
            compare(p, 1, UTF8_MQTT);
            compare(p, 1, UTF8_STRICT);
        }
        if ((v & 0xff) == 0) {
            compare(p, 2, UTF8_MQTT);
            compare(p, 2, UTF8_STRICT);
        }
        if (p[0] >= 0xc0 || v % 61 == 0) { /* behind a plain first byte two bytes are enough */
            compare(p, 3, UTF8_MQTT);
        }
    }
}

/* One or two bytes on each side of every border between the classes, in all places of four. */
static void every_class_of_four_bytes(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x01, 0x1f, 0x20, 0x7e, 0x7f, 0x80, 0x8f, 0x90, 0x9f,
                                    0xa0, 0xb7, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
                                    0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    for (size_t a = 0; a < sizeof edges; a++) {
        for (size_t b = 0; b < sizeof edges; b++) {
            for (size_t c = 0; c < sizeof edges; c++) {
                for (size_t d = 0; d < sizeof edges; d++) {
                    uint8_t p[4] = {edges[a], edges[b], edges[c], edges[d]};
                    compare(p, 4, UTF8_MQTT);
                    compare(p, 4, UTF8_STRICT);
                }
            }
        }
    }
}

/* Plain text is read in words: each byte in each place of some words, and what follows it. */
static void every_byte_in_words(void **state)
{
    (void)state;
    enum { WORDS = 27 };
    static const uint8_t after[] = {'a', 0x00, 0x01, 0x80, 0xbf, 0xff};
    for (size_t n = 1; n <= WORDS; n++) {
        for (size_t at = 0; at < n; at++) {
            for (unsigned v = 0; v < 256 * sizeof after; v++) {
                uint8_t p[WORDS + 1];
                memset(p, 'a', sizeof p);
                p[at] = (uint8_t)v;
                p[at + 1] = after[v / 256];
                compare(p, n, UTF8_MQTT);
                compare(p, n, UTF8_STRICT);
            }
        }
    }
}

/* SPEC: MQTT3-1.5.3-1, MQTT3-1.5.3-2, MQTT5-1.5.4-1, MQTT5-1.5.4-2 */
static void named_cases(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *text;
        size_t n, bad_mqtt, bad_strict; /* n: none */
    } cases[] = {
        {"empty", "", 0, 0, 0},
        {"plain", "a/b", 3, 3, 3},
        {"NUL", "a\0b", 3, 1, 1},
        {"line feed", "a\nb", 3, 3, 1},
        {"C1 control", "\xc2\x9b", 2, 2, 0},
        {"no-break space", "\xc2\xa0", 2, 2, 2},
        {"overlong slash", "\xc0\xaf", 2, 0, 0},
        {"overlong NUL", "\xc0\x80", 2, 0, 0},
        {"surrogate", "x\xed\xa0\x80", 4, 1, 1},
        {"byte order mark stays", "\xef\xbb\xbf", 3, 3, 3},
        {"line separator", "a\xe2\x80\xa8", 4, 4, 1},
        {"narrow no-break space", "\xe2\x80\xaf", 3, 3, 3},
        {"right to left from here", "a\xe2\x80\xae", 4, 4, 1},
        {"before the isolates", "\xe2\x81\xa5", 3, 3, 3},
        {"isolate", "\xe2\x81\xa6", 3, 3, 0},
        {"end of an isolate", "\xe2\x81\xa9", 3, 3, 0},
        {"behind the isolates", "\xe2\x81\xaa", 3, 3, 3},
        {"U+FDD0", "\xef\xb7\x90", 3, 3, 0},
        {"U+FFFF", "\xef\xbf\xbf", 3, 3, 0},
        {"U+10FFFF", "\xf4\x8f\xbf\xbf", 4, 4, 0},
        {"above U+10FFFF", "\xf4\x90\x80\x80", 4, 0, 0},
        {"cut at the end", "ab\xe2\x82", 4, 2, 2},
        {"five-byte form", "\xf8\x88\x80\x80\x80", 5, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice s = slice_of(cases[i].text, cases[i].n);
        size_t at = s.n;
        enum err e = utf8_check(s, UTF8_MQTT, &at);
        assert_int_equal(at, cases[i].bad_mqtt);
        assert_int_equal(e, at == s.n ? OK : ERR_UTF8);
        at = s.n;
        e = utf8_check(s, UTF8_STRICT, &at);
        assert_int_equal(at, cases[i].bad_strict);
        assert_int_equal(e, at == s.n ? OK : ERR_UTF8);
        assert_int_equal(utf8_check(s, UTF8_STRICT, NULL), e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_one_to_three_bytes),
        cmocka_unit_test(every_class_of_four_bytes),
        cmocka_unit_test(every_byte_in_words),
        cmocka_unit_test(named_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

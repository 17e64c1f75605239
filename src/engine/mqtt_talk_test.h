/*
 * mqtt_talk_test - packets as text for the tests of the two gates: hexadecimal, spaces, and 'text'
 * in quotes; output is compared in the same form.
 */
#ifndef ENGINE_MQTT_TALK_TEST_H
#define ENGINE_MQTT_TALK_TEST_H

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/mqtt/mqtt.h"

enum { TALK_MAX = 16384, TALK_TEXT = 4096 };

static inline unsigned talk_nibble(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    assert_in_range(c, 'a', 'f');
    return (unsigned)(c - 'a' + 10);
}

static inline size_t talk_bytes(const char *s, uint8_t *dst)
{
    size_t n = 0;
    while (*s != '\0') {
        assert_true(n < TALK_MAX);
        if (*s == '\'') {
            for (s++; *s != '\''; s++) {
                dst[n++] = (uint8_t)*s;
            }
            s++;
        } else if (*s == ' ') {
            s++;
        } else {
            dst[n++] = (uint8_t)(talk_nibble(s[0]) << 4 | talk_nibble(s[1]));
            s += 2;
        }
    }
    return n;
}

static inline void talk_is(const char *name, struct slice got, const char *want)
{
    uint8_t bytes[TALK_MAX];
    size_t n = talk_bytes(want, bytes);
    if (!slice_equal(got, slice_of(bytes, n))) {
        char text[TALK_TEXT] = "";
        for (size_t i = 0; i < got.n && i * 2 + 3 < sizeof(text); i++) {
            (void)snprintf(text + i * 2, 3, "%02x", got.p[i]);
        }
        fail_msg("%s: the output is %s, not %s", name, text, want);
    }
}

/* The limits of a default installation. */
static inline struct mqtt_wire_limits talk_limits(void)
{
    return (struct mqtt_wire_limits){.topic_bytes = 256,
                                     .topic_levels = 16,
                                     .filters_per_packet = 8,
                                     .user_properties = 64,
                                     .client_id_bytes = 64};
}

#endif

/* psk - pre-shared keys for DTLS: text whose bytes are the key. */
#ifndef SECURITY_PASSWORD_PSK_H
#define SECURITY_PASSWORD_PSK_H

#include "base/err.h"
#include "base/random.h"
#include "base/slice.h"
#include "base/why.h"

enum {
    PSK_KEY_CHARS = 32,
    PSK_KEY_BYTES = PSK_KEY_CHARS + 1,
    PSK_KEY_MAX = 64,
    PSK_BITS_MIN = 128
};

/* psk_generate - 32 characters of [A-Za-z0-9], 190 bits, with a NUL. The caller wipes it. */
void psk_generate(const struct random_source *random, char ret[PSK_KEY_BYTES]);

/* psk_check_new - a key brought by somebody: 16..PSK_KEY_MAX bytes that can hold 128 bits (length
 * times the bits of the smallest of digits, hexadecimal, letters and digits, bytes that holds it
 * all), not a pattern, not the name. ERR_DENIED with *why (may be NULL); ERR_TOO_LARGE. */
MUST_USE enum err psk_check_new(struct slice key, struct slice name, struct why *why);

#endif

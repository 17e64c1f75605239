#include "security/password/psk.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "security/password/quality_private.h"

enum { PSK_KEY_MIN = 16 };

void psk_generate(const struct random_source *random, char ret[PSK_KEY_BYTES])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < PSK_KEY_CHARS; i++) {
        ret[i] = alphabet[random_below(random, sizeof alphabet - 1)];
    }
    ret[PSK_KEY_CHARS] = '\0';
}

/* Hundredths of a bit that one byte of this key can hold. */
static size_t centibits(struct slice key)
{
    bool digits = true;
    bool hex = true;
    bool alnum = true;
    bool printable = true;
    for (size_t i = 0; i < key.n; i++) {
        uint8_t c = key.p[i];
        bool is_digit = c >= '0' && c <= '9';
        bool is_hex = is_digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        bool is_alnum = is_digit || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        digits = digits && is_digit;
        hex = hex && is_hex;
        alnum = alnum && is_alnum;
        printable = printable && c >= 0x20 && c < 0x7f;
    }
    if (digits) {
        return 332;
    }
    if (hex) {
        return 400;
    }
    if (alnum) {
        return 595;
    }
    return printable ? 656 : 800;
}

enum err psk_check_new(struct slice key, struct slice name, struct why *why)
{
    if (key.n > PSK_KEY_MAX) {
        why_set(why, "a PSK has at most %d bytes", PSK_KEY_MAX);
        return ERR_TOO_LARGE;
    }
    if (key.n < PSK_KEY_MIN || key.n * centibits(key) < PSK_BITS_MIN * 100) {
        why_set(why, "this PSK cannot hold %d bits; leave it out and a strong one is generated",
                PSK_BITS_MIN);
        return ERR_DENIED;
    }
    if (quality_is_pattern(key) || quality_is_made_of(key, name)) {
        why_set(why, "this PSK is a pattern or made of the name; leave it out and a strong one is "
                     "generated");
        return ERR_DENIED;
    }
    return OK;
}

#include "security/crypto/serial.h"

enum err serial_from(struct slice bytes, struct serial *ret)
{
    while (bytes.n > 0 && bytes.p[0] == 0) {
        bytes = slice_from(bytes, 1);
    }
    if (bytes.n == 0 || bytes.n > SERIAL_BYTES) {
        return ERR_MALFORMED;
    }
    *ret = (struct serial){.n = (uint8_t)bytes.n};
    slice_copy(ret->bytes, bytes);
    return OK;
}

void serial_hex(const struct serial *s, char dst[SERIAL_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s->n; i++) {
        dst[2 * i] = digits[s->bytes[i] >> 4];
        dst[2 * i + 1] = digits[s->bytes[i] & 15];
    }
    dst[2 * (size_t)s->n] = '\0';
}

static int value_of(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum err serial_from_hex(struct slice text, struct serial *ret)
{
    uint8_t bytes[SERIAL_BYTES];
    size_t n = 0;
    while (text.n > 0) {
        int high = value_of(text.p[0]);
        int low = text.n > 1 ? value_of(text.p[1]) : -1;
        if (n == SERIAL_BYTES || high < 0 || low < 0) {
            return ERR_MALFORMED;
        }
        bytes[n++] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
        text = slice_from(text, 2);
        text = slice_from(text, text.n > 1 && text.p[0] == ':' ? 1 : 0);
    }
    return serial_from(slice_of(bytes, n), ret);
}

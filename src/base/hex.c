#include "base/hex.h"

#include "base/wr.h"

static int digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

enum err hex_read(struct slice text, void *dst, size_t cap, size_t *ret_n)
{
    struct wr w = wr_into(dst, cap);
    if (text.n % 2 != 0) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < text.n; i += 2) {
        int high = digit(text.p[i]), low = digit(text.p[i + 1]);
        if (high < 0 || low < 0) {
            return ERR_MALFORMED;
        }
        wr_u8(&w, (uint8_t)((unsigned)high << 4 | (unsigned)low));
    }
    TRY(w.err);
    *ret_n = w.at;
    return OK;
}

void hex_write(struct slice s, char *dst)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < s.n; i++) {
        *dst++ = digits[s.p[i] >> 4];
        *dst++ = digits[s.p[i] & 15];
    }
    *dst = '\0';
}

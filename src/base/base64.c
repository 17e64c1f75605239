#include "base/base64.h"

static const char alphabets[][65] = {
    [BASE64_PADDED] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

static int value_of(enum base64_kind kind, uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == (uint8_t)alphabets[kind][62]) {
        return 62;
    }
    return c == (uint8_t)alphabets[kind][63] ? 63 : -1;
}

/* Takes the padding off; what is left may not hold any. */
static enum err unpad(struct slice *text)
{
    if (text->n % 4 != 0) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < 2 && text->n > 0 && text->p[text->n - 1] == '='; i++) {
        *text = slice_head(*text, text->n - 1);
    }
    return OK;
}

enum err base64_decode(enum base64_kind kind, struct slice text, void *dst, size_t cap,
                       size_t *ret_n)
{
    if (kind == BASE64_PADDED) {
        TRY(unpad(&text));
    }
    if (text.n % 4 == 1) {
        return ERR_MALFORMED;
    }
    struct wr w = wr_into(dst, cap);
    unsigned bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        int value = value_of(kind, text.p[i]);
        if (value < 0) {
            return ERR_MALFORMED;
        }
        bits = (bits << 6 | (unsigned)value) & 0xfff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            wr_u8(&w, (uint8_t)(bits >> n_bits));
        }
    }
    if ((bits & ((1U << n_bits) - 1)) != 0) {
        return ERR_MALFORMED; /* SPEC: RFC4648 3.5, a second text for the same bytes */
    }
    return wr_done(&w, ret_n);
}

void base64_encode(enum base64_kind kind, struct slice bytes, struct wr *w)
{
    unsigned bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < bytes.n; i++) {
        bits = (bits << 8 | bytes.p[i]) & 0xffff;
        n_bits += 8;
        while (n_bits >= 6) {
            n_bits -= 6;
            wr_u8(w, (uint8_t)alphabets[kind][bits >> n_bits & 63]);
        }
    }
    if (n_bits > 0) {
        wr_u8(w, (uint8_t)alphabets[kind][bits << (6 - n_bits) & 63]);
    }
    for (size_t i = bytes.n; kind == BASE64_PADDED && i % 3 != 0; i++) {
        wr_u8(w, '=');
    }
}

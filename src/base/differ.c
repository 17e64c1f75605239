#include "base/differ.h"

#include <assert.h>

enum {
    KEY = 4,   /* bytes by which a place is found */
    WORTH = 5, /* a shorter piece is not: it takes as many bytes as it saves */
    PIECE_MAX = 255,
    PLACES = 1024
};

static size_t place_of(struct slice s, size_t at)
{
    uint32_t key = 0;
    memcpy(&key, slice_from(s, at).p, KEY);
    return (key * 0x9e3779b1U) >> 22;
}

_Static_assert(PLACES == 1 << (32 - 22), "as many as the shift leaves");

/* How many bytes are the same from here on. */
static size_t same(struct slice a, struct slice b)
{
    size_t n = 0, most = a.n < b.n ? a.n : b.n;
    most = most < PIECE_MAX ? most : PIECE_MAX;
    while (n < most && a.p[n] == b.p[n]) {
        n++;
    }
    return n;
}

/* The last place of each key; 1 + it. */
static void learn(uint16_t *places, struct slice like)
{
    for (size_t at = 0; at + KEY <= like.n; at++) {
        places[place_of(like, at)] = (uint16_t)(at + 1);
    }
}

/* A piece of `like` that text has at `at`; 0: none that is worth it. */
static size_t find(const uint16_t *places, struct slice like, struct slice text, size_t at,
                   size_t *ret_from)
{
    if (at + KEY > text.n) {
        return 0;
    }
    size_t place = places[place_of(text, at)];
    size_t n = place > 0 ? same(slice_from(like, place - 1), slice_from(text, at)) : 0;
    *ret_from = place > 0 ? place - 1 : 0;
    return n >= WORTH ? n : 0;
}

static void write_new(struct wr *w, struct slice piece)
{
    wr_u8(w, (uint8_t)piece.n);
    wr_bytes(w, piece);
}

void differ_write(struct wr *w, struct slice like, struct slice text)
{
    uint16_t places[PLACES] = {0};
    assert(like.n <= DIFFER_TEXT_MAX && text.n <= DIFFER_TEXT_MAX && text.n > 0);
    learn(places, like);
    size_t from = 0, begin = 0, at = 0;
    while (at < text.n) {
        size_t n = find(places, like, text, at, &from);
        bool is_long = at - begin == PIECE_MAX;
        if (n == 0 && !is_long) {
            at++;
            continue;
        }
        from = n > 0 ? from : 0; /* a long new piece is followed by an empty old one */
        write_new(w, slice_head(slice_from(text, begin), at - begin));
        wr_u16(w, (uint16_t)from);
        wr_u8(w, (uint8_t)n);
        at += n;
        begin = at;
    }
    if (begin < text.n) {
        write_new(w, slice_from(text, begin));
    }
}

enum err differ_read(struct slice packed, struct slice like, uint8_t *ret, size_t n)
{
    struct rd r = rd_from(packed);
    struct wr w = wr_into(ret, n);
    while (w.at < n && rd_ok(&r) && wr_ok(&w)) {
        wr_bytes(&w, rd_bytes(&r, rd_u8(&r)));
        if (w.at < n && wr_ok(&w)) {
            size_t at = rd_u16(&r), piece = rd_u8(&r);
            if (at > like.n || piece > like.n - at) {
                return ERR_MALFORMED;
            }
            wr_bytes(&w, slice_head(slice_from(like, at), piece));
        }
    }
    TRY(rd_finish(&r));
    return w.at == n && wr_ok(&w) ? OK : ERR_MALFORMED;
}

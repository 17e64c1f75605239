#include "base/siphash.h"

#include <endian.h>

struct sip_state {
    uint64_t a, b, c, d;
};

static uint64_t rotate_left(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_rounds(struct sip_state *s, int n)
{
    for (int i = 0; i < n; i++) {
        s->a += s->b;
        s->c += s->d;
        s->b = rotate_left(s->b, 13) ^ s->a;
        s->d = rotate_left(s->d, 16) ^ s->c;
        s->a = rotate_left(s->a, 32);
        s->c += s->b;
        s->a += s->d;
        s->b = rotate_left(s->b, 17) ^ s->c;
        s->d = rotate_left(s->d, 21) ^ s->a;
        s->c = rotate_left(s->c, 32);
    }
}

static uint64_t little_endian_word(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static uint64_t little_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return v;
}

static void sip_word(struct sip_state *s, uint64_t word)
{
    s->d ^= word;
    sip_rounds(s, 2);
    s->a ^= word;
}

uint64_t siphash(const struct siphash_key *key, struct slice s)
{
    struct sip_state state = {
        .a = key->k0 ^ UINT64_C(0x736f6d6570736575),
        .b = key->k1 ^ UINT64_C(0x646f72616e646f6d),
        .c = key->k0 ^ UINT64_C(0x6c7967656e657261),
        .d = key->k1 ^ UINT64_C(0x7465646279746573),
    };
    size_t at = 0;
    for (; s.n - at >= 8; at += 8) {
        sip_word(&state, little_endian_word(s.p + at));
    }
    uint64_t tail = at < s.n ? little_endian(s.p + at, s.n - at) : 0;
    sip_word(&state, tail | (uint64_t)s.n << 56);
    state.c ^= 0xff;
    sip_rounds(&state, 4);
    return state.a ^ state.b ^ state.c ^ state.d;
}

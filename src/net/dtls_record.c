#include "net/dtls_record.h"

#include "base/mem.h"

enum { EPOCH = 1, NUMBER_BYTES = 6, AAD_BYTES = 13 };

bool dtls_record_read(struct rd *r, struct dtls_record *ret)
{
    ret->type = rd_u8(r);
    ret->version = rd_u16(r);
    ret->epoch = rd_u16(r);
    ret->number = rd_be(r, NUMBER_BYTES);
    ret->body = rd_block16(r);
    return rd_ok(r);
}

bool dtls_window_is_fresh(const struct dtls_window *w, uint64_t number)
{
    if (w->seen == 0 || number > w->highest) {
        return true;
    }
    uint64_t back = w->highest - number;
    return back < DTLS_WINDOW && (w->seen >> back & 1) == 0;
}

void dtls_window_take(struct dtls_window *w, uint64_t number)
{
    if (w->seen == 0) {
        w->highest = number;
    } else if (number > w->highest) {
        uint64_t step = number - w->highest;
        w->seen = step < DTLS_WINDOW ? w->seen << step : 0;
        w->highest = number;
    }
    w->seen |= UINT64_C(1) << (w->highest - number);
}

enum err dtls_keys_make(struct prf *prf, struct slice master, struct slice client_random,
                        struct slice server_random, struct dtls_keys *ret)
{
    const struct slice seeds[] = {slice_text("key expansion"), server_random, client_random};
    uint8_t block[2 * (RECORD_AEAD_KEY_BYTES + DTLS_SALT_BYTES)];
    if (client_random.n != DTLS_RANDOM_BYTES || server_random.n != DTLS_RANDOM_BYTES) {
        return ERR_CRYPTO;
    }
    TRY(prf_make(prf, master, seeds, COUNT_OF(seeds), block, sizeof(block)));
    /* AEAD suites have no keys for a MAC. */
    const uint8_t *p = block;
    memcpy(ret->client.key, p, RECORD_AEAD_KEY_BYTES);
    p += RECORD_AEAD_KEY_BYTES;
    memcpy(ret->server.key, p, RECORD_AEAD_KEY_BYTES);
    p += RECORD_AEAD_KEY_BYTES;
    memcpy(ret->client.salt, p, DTLS_SALT_BYTES);
    p += DTLS_SALT_BYTES;
    memcpy(ret->server.salt, p, DTLS_SALT_BYTES);
    mem_wipe(block, sizeof(block));
    return OK;
}

static void make_nonce(const struct dtls_side *side, const uint8_t *explicit_part,
                       uint8_t nonce[RECORD_AEAD_NONCE_BYTES])
{
    memcpy(nonce, side->salt, DTLS_SALT_BYTES);
    memcpy(nonce + DTLS_SALT_BYTES, explicit_part, DTLS_EXPLICIT_BYTES);
}

/* The sequence number of TLS, which in DTLS is the epoch and the number of the record. SPEC:
 * RFC5246 6.2.3.3, RFC6347 4.1.2.1. */
static void make_aad(uint8_t type, uint64_t number, size_t n, uint8_t aad[AAD_BYTES])
{
    struct wr w = wr_into(aad, AAD_BYTES);
    wr_u16(&w, EPOCH);
    wr_be(&w, number, NUMBER_BYTES);
    wr_u8(&w, type);
    wr_u16(&w, DTLS_VERSION);
    wr_u16(&w, (uint16_t)n);
}

enum err dtls_record_seal(struct record_aead *a, enum record_suite suite,
                          const struct dtls_side *side, uint8_t type, uint64_t number,
                          struct slice plain, struct wr *w)
{
    uint8_t aad[AAD_BYTES], nonce[RECORD_AEAD_NONCE_BYTES];
    if (number > DTLS_NUMBER_MAX || plain.n > RECORD_AEAD_PLAIN_MAX) {
        return ERR_CRYPTO;
    }
    size_t sealed_n = plain.n + record_aead_tag(suite);
    make_aad(type, number, plain.n, aad);
    wr_u8(w, type);
    wr_u16(w, DTLS_VERSION);
    wr_u16(w, EPOCH);
    wr_be(w, number, NUMBER_BYTES);
    wr_u16(w, (uint16_t)(DTLS_EXPLICIT_BYTES + sealed_n));
    wr_bytes(w, slice_of(aad, DTLS_EXPLICIT_BYTES)); /* epoch and number never come again */
    uint8_t *dst = wr_reserve(w, sealed_n);
    if (dst == NULL) {
        return ERR_SPACE;
    }
    make_nonce(side, aad, nonce);
    return record_aead_seal(a, suite, side->key, nonce, slice_of(aad, sizeof(aad)), plain, dst);
}

enum err dtls_record_open(struct record_aead *a, enum record_suite suite,
                          const struct dtls_side *side, const struct dtls_record *record,
                          uint8_t *dst, size_t cap, struct slice *ret_plain)
{
    uint8_t aad[AAD_BYTES], nonce[RECORD_AEAD_NONCE_BYTES];
    struct slice body = record->body;
    size_t more = DTLS_EXPLICIT_BYTES + record_aead_tag(suite);
    if (record->epoch != EPOCH || record->version != DTLS_VERSION) {
        return ERR_CRYPTO;
    }
    if (body.n <= more) {
        return ERR_TRUNCATED;
    }
    size_t n = body.n - more;
    if (n > cap) {
        return ERR_SPACE;
    }
    make_aad(record->type, record->number, n, aad);
    make_nonce(side, body.p, nonce);
    TRY(record_aead_open(a, suite, side->key, nonce, slice_of(aad, sizeof(aad)),
                         slice_from(body, DTLS_EXPLICIT_BYTES), dst));
    *ret_plain = slice_of(dst, n);
    return OK;
}

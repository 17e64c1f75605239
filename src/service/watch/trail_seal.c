/* Heads and records of the trail, to bytes and back; and which files there are. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/kdf.h"
#include "service/watch/trail_private.h"

enum { FILES_MAX = 1 << 16, NUMBER_DIGITS = 8, PLACE_BYTES = 4 + 8 };

/* The version follows. */
static const uint8_t magic[TRAIL_MAGIC_BYTES - 1] = {'S', 'P', 'A', 'U', 'D', 'I', 'T'};

size_t trail_head_bytes(unsigned version)
{
    return version == TRAIL_VERSION_LINES ? TRAIL_HEAD_BYTES_1 : TRAIL_HEAD_BYTES;
}

static size_t record_head_bytes(unsigned version)
{
    return version == TRAIL_VERSION_LINES ? TRAIL_RECORD_HEAD_BYTES_1 : TRAIL_RECORD_HEAD_BYTES;
}

size_t trail_record_min(unsigned version)
{
    return record_head_bytes(version) + AEAD_TAG_BYTES;
}

struct derived {
    uint8_t key[AEAD_KEY_BYTES];
    struct siphash_key check;
};

static void derived_wipe(struct derived *d)
{
    mem_wipe(d, sizeof *d);
}

void trail_seal_done(struct trail_seal *s)
{
    s->aead = aead_free(s->aead);
    mem_wipe(s, sizeof *s);
}

enum err trail_seal_new(unsigned version, struct slice root, const uint8_t salt[TRAIL_SALT_BYTES],
                        struct trail_seal *s)
{
    AUTO(derived_wipe) struct derived keys;
    AUTO(aead_autofree) struct aead *aead = NULL;
    if (root.n != TRAIL_ROOT_BYTES) {
        return ERR_CRYPTO;
    }
    TRY(kdf_hkdf(root, slice_of(salt, TRAIL_SALT_BYTES), slice_text("sallyport audit"), &keys,
                 sizeof keys));
    TRY(aead_new(slice_of(keys.key, sizeof keys.key), &aead));
    struct trail_seal made = {.version = version, .check = keys.check};
    memcpy(made.salt, salt, sizeof made.salt);
    trail_seal_done(s);
    *s = made;
    s->aead = TAKE(aead);
    return OK;
}

/* A head's nonce is one that no record's number reaches. */
static void nonce_of(bool is_head, uint64_t number, uint8_t dst[AEAD_NONCE_BYTES])
{
    struct wr w = wr_into(dst, AEAD_NONCE_BYTES);
    wr_u32(&w, is_head ? UINT32_MAX : 0);
    wr_u64(&w, number);
}

static struct slice place_aad(struct trail_place at, struct slice head, uint8_t *dst, size_t cap)
{
    struct wr w = wr_into(dst, cap);
    wr_u32(&w, at.file);
    wr_u64(&w, at.offset);
    wr_bytes(&w, head);
    return wr_slice(&w);
}

/* ---- heads ---- */

enum { HEAD_CLEAR_MAX = TRAIL_HEAD_BYTES - AEAD_TAG_BYTES };

enum err trail_head_write(const struct trail_seal *s, struct trail_place at, uint32_t copy,
                          uint8_t dst[TRAIL_HEAD_BYTES])
{
    uint8_t aad[PLACE_BYTES + HEAD_CLEAR_MAX];
    uint8_t nonce[AEAD_NONCE_BYTES];
    struct wr w = wr_into(dst, HEAD_CLEAR_MAX);
    wr_bytes(&w, slice_of(magic, sizeof magic));
    wr_u8(&w, (uint8_t)s->version);
    wr_u32(&w, copy);
    wr_u32(&w, s->version == TRAIL_VERSION_LINES ? 0 : at.file);
    if (s->version != TRAIL_VERSION_LINES) {
        wr_u64(&w, at.offset);
    }
    wr_bytes(&w, slice_of(s->salt, sizeof s->salt));
    nonce_of(true, copy, nonce);
    size_t n = wr_slice(&w).n;
    return aead_seal(s->aead, nonce, place_aad(at, wr_slice(&w), aad, sizeof aad),
                     (struct slice){0}, dst + n);
}

enum err trail_head_read(struct slice root, struct trail_place at, struct slice bytes,
                         struct trail_seal *s, uint32_t *ret_copy)
{
    uint8_t aad[PLACE_BYTES + HEAD_CLEAR_MAX];
    uint8_t nonce[AEAD_NONCE_BYTES];
    uint8_t nothing[1];
    struct rd r = rd_from(bytes);
    struct slice front = rd_bytes(&r, sizeof magic);
    if (!rd_ok(&r) || !slice_equal(front, slice_of(magic, sizeof magic))) {
        return ERR_NOT_FOUND;
    }
    unsigned version = rd_u8(&r);
    uint32_t copy = rd_u32(&r);
    struct trail_place written = {.file = rd_u32(&r)};
    if (version == TRAIL_VERSION_CHAIN) {
        written.offset = rd_u64(&r);
    } else {
        written = at;
    }
    struct slice salt = rd_bytes(&r, TRAIL_SALT_BYTES);
    struct slice clear = slice_head(bytes, r.at);
    struct slice tag = rd_bytes(&r, AEAD_TAG_BYTES);
    bool is_known = version == TRAIL_VERSION_LINES || version == TRAIL_VERSION_CHAIN;
    if (!rd_ok(&r) || !is_known || copy >= TRAIL_HEADS) {
        return ERR_NOT_FOUND;
    }
    AUTO(trail_seal_done) struct trail_seal found = {0};
    TRY(trail_seal_new(version, root, salt.p, &found));
    nonce_of(true, copy, nonce);
    if (aead_open(found.aead, nonce, place_aad(written, clear, aad, sizeof aad), tag, nothing) !=
        OK) {
        return ERR_NOT_FOUND;
    }
    *ret_copy = copy;
    trail_seal_done(s);
    *s = found;
    s->written = written;
    found.aead = NULL;
    return OK;
}

/* ---- records ---- */

static uint32_t check_of(const struct trail_seal *s, const struct trail_record *r)
{
    uint8_t bytes[PLACE_BYTES + 4 + 8];
    struct wr w = wr_into(bytes, sizeof bytes);
    wr_u32(&w, r->written.file);
    wr_u64(&w, r->written.offset);
    wr_u32(&w, r->bytes);
    wr_u64(&w, r->number);
    return (uint32_t)siphash(&s->check, wr_slice(&w));
}

enum err trail_record_write(const struct trail_seal *s, struct trail_place at, uint64_t number,
                            struct slice plain, uint8_t *dst)
{
    uint8_t aad[PLACE_BYTES + TRAIL_RECORD_HEAD_BYTES];
    uint8_t nonce[AEAD_NONCE_BYTES];
    if (plain.n > TRAIL_PLAIN_MAX) {
        return ERR_TOO_LARGE;
    }
    struct trail_record r = {.bytes = (uint32_t)(trail_record_min(s->version) + plain.n),
                             .number = number,
                             .written = at};
    struct wr w = wr_into(dst, record_head_bytes(s->version));
    wr_u32(&w, check_of(s, &r));
    wr_u32(&w, r.bytes);
    wr_u64(&w, r.number);
    if (s->version != TRAIL_VERSION_LINES) {
        wr_u64(&w, at.offset);
    }
    nonce_of(false, number, nonce);
    return aead_seal(s->aead, nonce, place_aad(at, wr_slice(&w), aad, sizeof aad), plain,
                     dst + record_head_bytes(s->version));
}

bool trail_record_head(const struct trail_seal *s, struct trail_place at, struct slice bytes,
                       struct trail_record *ret)
{
    struct rd r = rd_from(bytes);
    uint32_t check = rd_u32(&r);
    struct trail_record found = {.bytes = rd_u32(&r)};
    found.number = rd_u64(&r);
    found.written = at;
    if (s->version == TRAIL_VERSION_CHAIN) {
        found.written = (struct trail_place){.file = s->written.file, .offset = rd_u64(&r)};
    }
    size_t min = trail_record_min(s->version);
    if (!rd_ok(&r) || found.bytes < min || found.bytes - min > TRAIL_PLAIN_MAX ||
        check != check_of(s, &found)) {
        return false;
    }
    *ret = found;
    return true;
}

enum err trail_record_open(const struct trail_seal *s, const struct trail_record *r,
                           struct slice bytes, uint8_t *dst, struct slice *ret)
{
    uint8_t aad[PLACE_BYTES + TRAIL_RECORD_HEAD_BYTES];
    uint8_t nonce[AEAD_NONCE_BYTES];
    size_t head = record_head_bytes(s->version);
    if (bytes.n < r->bytes) {
        return ERR_TRUNCATED;
    }
    struct slice whole = slice_head(bytes, r->bytes);
    nonce_of(false, r->number, nonce);
    TRY(aead_open(s->aead, nonce, place_aad(r->written, slice_head(whole, head), aad, sizeof aad),
                  slice_from(whole, head), dst));
    *ret = slice_of(dst, r->bytes - trail_record_min(s->version));
    return OK;
}

/* ---- files ---- */

void trail_name(uint32_t file, char ret[TRAIL_NAME_BYTES])
{
    (void)snprintf(ret, TRAIL_NAME_BYTES, TRAIL_DIR "/%08x.sealed", (unsigned)file);
}

bool trail_number(const char *name, uint32_t *ret)
{
    struct slice s = slice_text(name);
    uint32_t number = 0;
    if (s.n <= NUMBER_DIGITS || !slice_is(slice_from(s, NUMBER_DIGITS), ".sealed")) {
        return false;
    }
    for (size_t i = 0; i < NUMBER_DIGITS; i++) {
        uint8_t c = s.p[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && (c < 'a' || c > 'f')) {
            return false;
        }
        number = number << 4 | (uint32_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    *ret = number;
    return true;
}

struct listing {
    struct buf *numbers;
    enum err err;
};

static void add_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    uint32_t number;
    if (l->err == OK && trail_number(name, &number)) {
        l->err =
            buf_append(l->numbers, slice_of(&number, sizeof number), FILES_MAX * sizeof number);
    }
}

static int in_order(const void *a, const void *b)
{
    uint32_t x;
    uint32_t y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y ? 1 : 0;
}

enum err trail_files_list(struct disk *d, struct trail_files *ret)
{
    struct listing l = {.numbers = &ret->numbers};
    enum err err = d->ops->list(d, TRAIL_DIR, add_name, &l);
    if (err != OK && err != ERR_NOT_FOUND) {
        return err;
    }
    TRY(l.err);
    if (trail_files_n(ret) > 1) {
        qsort(ret->numbers.p, trail_files_n(ret), sizeof(uint32_t), in_order);
    }
    return OK;
}

size_t trail_files_n(const struct trail_files *f)
{
    return f->numbers.n / sizeof(uint32_t);
}

uint32_t trail_files_at(const struct trail_files *f, size_t i)
{
    uint32_t number;
    memcpy(&number, f->numbers.p + i * sizeof number, sizeof number);
    return number;
}

void trail_files_done(struct trail_files *f)
{
    buf_done(&f->numbers);
}

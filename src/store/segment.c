#include "store/segment.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/kdf.h"

/* Header copy: magic and format (8 bytes), u32 number, u64 bytes of the file, salt, i64 wall time,
 * four ids, zeros; then the tag. */
enum {
    MAGIC_BYTES = 8,
    TAG_BYTES = 32,
    COPY_BYTES = SEGMENT_HEAD_BYTES - SEGMENT_COPY_AT,
    SIGNED_BYTES = COPY_BYTES - TAG_BYTES,
    N_COPIES = 2
};
static const uint8_t MAGIC[MAGIC_BYTES] = {'S', 'P', 'S', 'T', 'O', 'R', 'E', SEGMENT_FORMAT};

void segment_name(uint32_t number, char ret[SEGMENT_NAME_BYTES])
{
    (void)snprintf(ret, SEGMENT_NAME_BYTES, STORE_DIR "/%08x.log", (unsigned)number);
}

bool segment_number(const char *name, uint32_t *ret)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t number = 0;
    struct slice s = slice_text(name);
    if (s.n != 12 || !slice_is(slice_from(s, 8), ".log")) {
        return false;
    }
    for (size_t i = 0; i < 8; i++) {
        size_t digit = slice_find(slice_of(digits, 16), s.p[i]);
        if (digit == 16) {
            return false;
        }
        number = number << 4 | (uint32_t)digit;
    }
    *ret = number;
    return number != 0;
}

/*
 * The tag is a pseudo-random function of the header's bytes under the root key, not an AEAD: there
 * is no number that could serve as a nonce, since a header that could not be written is made again
 * under the same segment number.
 */
static enum err tag_make(const struct keyring *k, struct slice signed_part, uint8_t ret[TAG_BYTES])
{
    static const char label[] = "sallyport segment head";
    uint8_t info[sizeof label + SIGNED_BYTES];
    struct wr w = wr_into(info, sizeof info);
    wr_bytes(&w, slice_of(label, sizeof label));
    wr_bytes(&w, signed_part);
    return kdf_hkdf(keyring_root(k), (struct slice){0}, wr_slice(&w), ret, TAG_BYTES);
}

static enum err copy_write(const struct keyring *k, const struct segment_head *h,
                           uint8_t dst[COPY_BYTES])
{
    struct wr w = wr_into(dst, COPY_BYTES);
    memset(dst, 0, COPY_BYTES);
    wr_bytes(&w, slice_of(MAGIC, sizeof MAGIC));
    wr_u32(&w, h->number);
    wr_u64(&w, h->bytes);
    wr_bytes(&w, slice_of(h->salt, sizeof h->salt));
    wr_u64(&w, (uint64_t)h->wall_ms);
    wr_u64(&w, h->ids.session);
    wr_u64(&w, h->ids.body);
    wr_u64(&w, h->ids.retained);
    wr_u64(&w, h->ids.set_aside);
    return tag_make(k, slice_of(dst, SIGNED_BYTES), dst + SIGNED_BYTES);
}

static enum err copy_read(const struct keyring *k, uint32_t number, struct slice copy,
                          struct segment_head *ret)
{
    struct rd r = rd_from(copy);
    struct segment_head h = {0};
    uint8_t tag[TAG_BYTES];
    TRY(tag_make(k, slice_head(copy, SIGNED_BYTES), tag));
    if (!secret_equal(slice_from(copy, SIGNED_BYTES), slice_of(tag, sizeof tag))) {
        return ERR_CRYPTO;
    }
    struct slice magic = rd_bytes(&r, MAGIC_BYTES);
    h.number = rd_u32(&r);
    h.bytes = rd_u64(&r);
    slice_copy(h.salt, rd_bytes(&r, sizeof h.salt));
    h.wall_ms = (int64_t)rd_u64(&r);
    h.ids.session = rd_u64(&r);
    h.ids.body = rd_u64(&r);
    h.ids.retained = rd_u64(&r);
    h.ids.set_aside = rd_u64(&r);
    if (!rd_ok(&r) || !slice_has_prefix(magic, slice_of(MAGIC, MAGIC_BYTES - 1))) {
        return ERR_CRYPTO;
    }
    if (magic.p[MAGIC_BYTES - 1] < SEGMENT_FORMAT_OLDEST ||
        magic.p[MAGIC_BYTES - 1] > SEGMENT_FORMAT) {
        return ERR_UNSUPPORTED;
    }
    if (h.number != number || h.bytes < SEGMENT_HEAD_BYTES || h.bytes > UINT32_MAX) {
        return ERR_CRYPTO; /* under another name */
    }
    *ret = h;
    return OK;
}

static enum err head_save(struct disk *d, const struct keyring *k, const struct segment_head *h,
                          struct disk_file *f)
{
    uint8_t copy[COPY_BYTES];
    TRY(copy_write(k, h, copy));
    TRY(d->ops->reserve(f, h->bytes));
    TRY(d->ops->write_at(f, 0, slice_of(copy, sizeof copy)));
    TRY(d->ops->write_at(f, SEGMENT_COPY_AT, slice_of(copy, sizeof copy)));
    return d->ops->sync(f);
}

enum err segment_create(struct disk *d, const struct keyring *k, const struct segment_head *h,
                        struct disk_file **ret)
{
    char name[SEGMENT_NAME_BYTES];
    struct disk_file *f = NULL;
    if (h->bytes < SEGMENT_HEAD_BYTES || h->bytes > UINT32_MAX) {
        return ERR_TOO_LARGE;
    }
    segment_name(h->number, name);
    enum err e = d->ops->open(d, name, DISK_READ, &f);
    if (e == OK) {
        d->ops->close(f);
        return ERR_EXISTS;
    }
    if (e != ERR_NOT_FOUND) {
        return e;
    }
    TRY(d->ops->open(d, name, DISK_WRITE, &f));
    e = head_save(d, k, h, f);
    if (e != OK) {
        d->ops->close(f);
        enum err cleanup = d->ops->remove(d, name);
        (void)cleanup; /* a file without a header is no segment to anybody */
        return e;
    }
    *ret = f;
    return OK;
}

/* One copy; the bytes behind it up to `room` are zeros, else it counts as bad too. */
static enum err copy_load(struct disk *d, const struct keyring *k, uint32_t number,
                          struct disk_file *f, unsigned which, struct segment_head *ret,
                          bool *ret_is_bad)
{
    uint8_t bytes[SEGMENT_COPY_AT];
    size_t want = which == 0 ? SEGMENT_COPY_AT : COPY_BYTES;
    size_t n = 0;
    TRY(d->ops->read_at(f, which * (uint64_t)SEGMENT_COPY_AT, bytes, want, &n));
    if (n < COPY_BYTES) {
        return ERR_TRUNCATED;
    }
    TRY(copy_read(k, number, slice_of(bytes, COPY_BYTES), ret));
    *ret_is_bad = n < want;
    for (size_t i = COPY_BYTES; i < n; i++) {
        *ret_is_bad = *ret_is_bad || bytes[i] != 0;
    }
    return OK;
}

static enum err head_load(struct disk *d, const struct keyring *k, uint32_t number,
                          struct disk_file *f, struct segment_head *ret)
{
    struct segment_head heads[N_COPIES];
    enum err errs[N_COPIES];
    struct place bad = {0};
    for (unsigned i = 0; i < N_COPIES; i++) {
        bool is_bad = false;
        errs[i] = copy_load(d, k, number, f, i, &heads[i], &is_bad);
        if (errs[i] != OK || is_bad) {
            bad = (struct place){.segment = number,
                                 .offset = i * (uint32_t)SEGMENT_COPY_AT,
                                 .bytes = i == 0 ? SEGMENT_COPY_AT : COPY_BYTES};
        }
    }
    for (unsigned i = 0; i < N_COPIES; i++) {
        if (errs[i] == OK) {
            *ret = heads[i];
            ret->bad = bad;
            return OK;
        }
    }
    return errs[0] == ERR_CRYPTO ? errs[1] == ERR_UNSUPPORTED ? ERR_UNSUPPORTED : ERR_CRYPTO
                                 : errs[0];
}

enum err segment_open(struct disk *d, const struct keyring *k, uint32_t number, bool for_write,
                      struct segment_head *ret, struct disk_file **ret_file)
{
    char name[SEGMENT_NAME_BYTES];
    struct disk_file *f = NULL;
    segment_name(number, name);
    TRY(d->ops->open(d, name, DISK_READ, &f));
    enum err e = head_load(d, k, number, f, ret);
    if (e == OK && for_write) {
        d->ops->close(f); /* not at once: opening for writing would make a missing file */
        e = d->ops->open(d, name, DISK_WRITE, &f);
        TRY(e);
    }
    if (e != OK) {
        d->ops->close(f);
        return e;
    }
    *ret_file = f;
    return OK;
}

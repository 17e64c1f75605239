#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/digest.h"
#include "security/crypto/kdf.h"
#include "store/backup_private.h"

/* The last byte is the format's version. */
static const uint8_t magic[BACKUP_MAGIC_BYTES] = {'S', 'P', 'B', 'A', 'C', 'K', 0, BACKUP_FORMAT};

struct key_bytes {
    uint8_t bytes[AEAD_KEY_BYTES];
};

static void key_bytes_wipe(struct key_bytes *k)
{
    mem_wipe(k, sizeof *k);
}

enum err backup_key(struct slice root, struct slice head, struct aead **ret)
{
    AUTO(key_bytes_wipe) struct key_bytes key;
    struct digest digest;
    if (root.n != BACKUP_ROOT_BYTES) {
        return ERR_CRYPTO;
    }
    TRY(digest_sha256(head, &digest));
    TRY(kdf_hkdf(root, digest_slice(&digest), slice_text("sallyport backup"), key.bytes,
                 sizeof key.bytes));
    return aead_new(slice_of(key.bytes, sizeof key.bytes), ret);
}

void backup_head_write(const uint8_t salt[BACKUP_SALT_BYTES], size_t n_clear,
                       uint8_t dst[BACKUP_HEAD_BYTES])
{
    struct wr w = wr_into(dst, BACKUP_HEAD_BYTES);
    wr_bytes(&w, slice_of(magic, sizeof magic));
    wr_bytes(&w, slice_of(salt, BACKUP_SALT_BYTES));
    wr_u32(&w, (uint32_t)n_clear);
}

enum err backup_head_read(struct slice bytes, size_t *ret_clear)
{
    struct rd r = rd_from(slice_head(bytes, BACKUP_HEAD_BYTES));
    struct slice front = rd_bytes(&r, BACKUP_MAGIC_BYTES);
    if (!rd_ok(&r) || !slice_has_prefix(front, slice_of(magic, BACKUP_MAGIC_BYTES - 1))) {
        return ERR_MALFORMED;
    }
    if (front.p[BACKUP_MAGIC_BYTES - 1] != BACKUP_FORMAT) {
        return ERR_UNSUPPORTED;
    }
    (void)rd_bytes(&r, BACKUP_SALT_BYTES);
    size_t n = rd_u32(&r);
    TRY(rd_finish(&r));
    if (n > BACKUP_CLEAR_MAX) {
        return ERR_MALFORMED;
    }
    *ret_clear = n;
    return OK;
}

/* ---- parts ---- */

enum { AAD_BYTES = AEAD_TAG_BYTES + BACKUP_PART_HEAD_BYTES };

struct bound {
    uint8_t nonce[AEAD_NONCE_BYTES];
    uint8_t aad[AAD_BYTES];
};

static void bind(const struct backup_link *link, struct slice head, struct bound *ret)
{
    struct wr nonce = wr_into(ret->nonce, sizeof ret->nonce);
    wr_u32(&nonce, 0);
    wr_u64(&nonce, link->number);
    struct wr aad = wr_into(ret->aad, sizeof ret->aad);
    wr_bytes(&aad, slice_of(link->tag, sizeof link->tag));
    wr_bytes(&aad, head);
}

static void move_on(struct backup_link *link, struct slice part)
{
    link->number++;
    slice_copy(link->tag, slice_from(part, part.n - AEAD_TAG_BYTES));
}

enum err backup_part_seal(struct aead *a, struct backup_link *link, enum backup_type type,
                          struct slice plain, uint8_t *dst)
{
    struct bound bound;
    struct wr w = wr_into(dst, BACKUP_PART_HEAD_BYTES);
    if (plain.n > BACKUP_PART_MAX) {
        return ERR_TOO_LARGE;
    }
    wr_u8(&w, (uint8_t)type);
    wr_be(&w, 0, 3);
    wr_u32(&w, (uint32_t)plain.n);
    bind(link, wr_slice(&w), &bound);
    TRY(aead_seal(a, bound.nonce, slice_of(bound.aad, sizeof bound.aad), plain,
                  dst + BACKUP_PART_HEAD_BYTES));
    move_on(link, slice_of(dst, plain.n + BACKUP_PART_OVERHEAD));
    return OK;
}

enum err backup_part_head(struct slice bytes, enum backup_type *ret_type, size_t *ret_n)
{
    struct rd r = rd_from(slice_head(bytes, BACKUP_PART_HEAD_BYTES));
    uint8_t type = rd_u8(&r);
    uint64_t zeros = rd_be(&r, 3);
    size_t n = rd_u32(&r);
    TRY(rd_finish(&r));
    if (type < BACKUP_MANIFEST || type > BACKUP_END || zeros != 0 || n > BACKUP_PART_MAX) {
        return ERR_CRYPTO;
    }
    *ret_type = (enum backup_type)type;
    *ret_n = n;
    return OK;
}

enum err backup_part_open(struct aead *a, struct backup_link *link, struct slice part, uint8_t *dst)
{
    struct bound bound;
    bind(link, slice_head(part, BACKUP_PART_HEAD_BYTES), &bound);
    TRY(aead_open(a, bound.nonce, slice_of(bound.aad, sizeof bound.aad),
                  slice_from(part, BACKUP_PART_HEAD_BYTES), dst));
    move_on(link, part);
    return OK;
}

/* ---- names ---- */

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

enum err backup_name_check(struct slice name)
{
    if (name.n > BACKUP_NAME_MAX) {
        return ERR_TOO_LARGE;
    }
    for (bool more = true; more;) {
        struct slice part = slice_cut(&name, '/', &more);
        if (part.n == 0 || part.p[0] == '.') {
            return ERR_MALFORMED;
        }
        for (size_t i = 0; i < part.n; i++) {
            if (!is_plain(part.p[i])) {
                return ERR_MALFORMED;
            }
        }
    }
    return OK;
}

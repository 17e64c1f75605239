#include "security/crypto/sealed.h"

#include "base/mem.h"
#include "base/rd.h"
#include "base/scope.h"
#include "base/wr.h"
#include "security/crypto/aead.h"
#include "security/crypto/kdf.h"

enum { MAGIC_BYTES = 8, SALT_BYTES = 32, PURPOSE_MAX = 64 };

/* The last byte is the format's version. */
static const uint8_t magic[MAGIC_BYTES] = {'S', 'P', 'S', 'E', 'A', 'L', 0, 1};

struct sealed_keys {
    uint8_t key[AEAD_KEY_BYTES];
    uint8_t nonce[AEAD_NONCE_BYTES];
};

static void keys_wipe(struct sealed_keys *k)
{
    mem_wipe(k, sizeof *k);
}

static enum err derive(struct slice master, const char *purpose, struct slice salt,
                       struct sealed_keys *ret)
{
    if (master.n != SEALED_MASTER_BYTES) {
        return ERR_CRYPTO;
    }
    uint8_t info[sizeof "sallyport sealed " + PURPOSE_MAX];
    struct wr w = wr_into(info, sizeof info);
    wr_bytes(&w, slice_text("sallyport sealed "));
    wr_bytes(&w, slice_text(purpose));
    if (!wr_ok(&w)) {
        return ERR_CRYPTO;
    }
    return kdf_hkdf(master, salt, wr_slice(&w), ret, sizeof *ret);
}

enum err sealed_make(struct slice master, const char *purpose, const struct random_source *random,
                     struct slice plain, size_t limit, struct buf *ret)
{
    uint8_t head[SEALED_HEAD_BYTES];
    memcpy(head, magic, MAGIC_BYTES);
    random->fill(random->ctx, head + MAGIC_BYTES, SALT_BYTES);
    struct slice aad = slice_of(head, sizeof head);

    AUTO(keys_wipe) struct sealed_keys keys;
    TRY(derive(master, purpose, slice_from(aad, MAGIC_BYTES), &keys));
    AUTO(aead_autofree) struct aead *a = NULL;
    TRY(aead_new(slice_of(keys.key, sizeof keys.key), &a));

    uint8_t *dst = NULL;
    size_t n_before = ret->n;
    if (plain.n > SIZE_MAX - SEALED_OVERHEAD_BYTES) {
        return ERR_TOO_LARGE;
    }
    TRY(buf_room(ret, plain.n + SEALED_OVERHEAD_BYTES, limit, &dst));
    memcpy(dst, head, sizeof head);
    enum err err = aead_seal(a, keys.nonce, aad, plain, dst + sizeof head);
    ret->n = err == OK ? n_before + plain.n + SEALED_OVERHEAD_BYTES : n_before;
    return err;
}

enum err sealed_open(struct slice master, const char *purpose, struct slice file, struct buf *ret)
{
    struct rd r = rd_from(file);
    struct slice head = rd_bytes(&r, SEALED_HEAD_BYTES);
    struct slice body = rd_rest(&r);
    if (!rd_ok(&r) || body.n < AEAD_TAG_BYTES) {
        return ERR_TRUNCATED;
    }
    if (!slice_has_prefix(head, slice_of(magic, sizeof magic))) {
        return ERR_UNSUPPORTED;
    }
    AUTO(keys_wipe) struct sealed_keys keys;
    TRY(derive(master, purpose, slice_from(head, MAGIC_BYTES), &keys));
    AUTO(aead_autofree) struct aead *a = NULL;
    TRY(aead_new(slice_of(keys.key, sizeof keys.key), &a));

    uint8_t *dst = NULL;
    size_t n_before = ret->n;
    size_t n_plain = body.n - AEAD_TAG_BYTES;
    TRY(buf_room(ret, n_plain, SIZE_MAX, &dst));
    enum err err = aead_open(a, keys.nonce, head, body, dst);
    ret->n = err == OK ? n_before + n_plain : n_before;
    return err;
}

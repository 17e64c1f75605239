#include "security/crypto/hmac.h"

#include "base/mem.h"
#include "security/crypto/crypto_private.h"

enum { BLOCK_MAX = 128, INNER = 0x36, OUTER = 0x5c, PIECES_MAX = HMAC_PRF_SEEDS + 1 };

struct hmac {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
    size_t block_n, digest_n;
};

/* A key as the digest takes it in. */
struct pads {
    uint8_t inner[BLOCK_MAX], outer[BLOCK_MAX];
};

struct hmac *hmac_free(struct hmac *h)
{
    if (h != NULL) {
        EVP_MD_CTX_free(h->ctx);
        EVP_MD_free(h->md);
    }
    return mem_free(h);
}

enum err hmac_over(EVP_MD *md, struct hmac **ret)
{
    AUTO(hmac_autofree) struct hmac *h = mem_zalloc(sizeof(*h));
    if (h == NULL) {
        return ERR_NOMEM;
    }
    int block_n = EVP_MD_get_block_size(md), digest_n = EVP_MD_get_size(md);
    h->ctx = EVP_MD_CTX_new();
    if (h->ctx == NULL || block_n <= 0 || block_n > BLOCK_MAX || digest_n <= 0 ||
        digest_n > block_n || EVP_DigestInit_ex2(h->ctx, md, NULL) != 1 || EVP_MD_up_ref(md) != 1) {
        return crypto_fail(ERR_CRYPTO);
    }
    h->md = md;
    h->block_n = (size_t)block_n;
    h->digest_n = (size_t)digest_n;
    *ret = TAKE(h);
    return OK;
}

enum err hmac_new(struct hmac **ret)
{
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    enum err err = md != NULL ? hmac_over(md, ret) : crypto_fail(ERR_CRYPTO);
    EVP_MD_free(md);
    return err;
}

static bool begin(struct hmac *h)
{
    return EVP_DigestInit_ex2(h->ctx, NULL, NULL) == 1; /* the digest that it has */
}

static bool add(struct hmac *h, struct slice s)
{
    return s.n == 0 || EVP_DigestUpdate(h->ctx, s.p, s.n) == 1;
}

static bool end(struct hmac *h, uint8_t *dst)
{
    unsigned n = 0;
    return EVP_DigestFinal_ex(h->ctx, dst, &n) == 1 && n == h->digest_n;
}

/* SPEC: RFC2104 2, a key that is longer than a block goes in as its digest */
static bool make_pads(struct hmac *h, struct slice key, struct pads *ret)
{
    uint8_t block[BLOCK_MAX] = {0};
    bool is_long = key.n > h->block_n;
    if (!is_long) {
        slice_copy(block, key);
    }
    bool is_done = !is_long || (begin(h) && add(h, key) && end(h, block));
    for (size_t i = 0; i < h->block_n; i++) {
        ret->inner[i] = block[i] ^ INNER;
        ret->outer[i] = block[i] ^ OUTER;
    }
    mem_wipe(block, sizeof(block));
    return is_done;
}

static bool make(struct hmac *h, const struct pads *pads, const struct slice *pieces, size_t n,
                 uint8_t *dst)
{
    bool is_good = begin(h) && add(h, slice_of(pads->inner, h->block_n));
    for (size_t i = 0; i < n; i++) {
        is_good = is_good && add(h, pieces[i]);
    }
    return is_good && end(h, dst) && begin(h) && add(h, slice_of(pads->outer, h->block_n)) &&
           add(h, slice_of(dst, h->digest_n)) && end(h, dst);
}

/* The digest's own state goes back to its beginning, too. */
static enum err leave(struct hmac *h, struct pads *pads, bool is_good)
{
    mem_wipe(pads, sizeof(*pads));
    return begin(h) && is_good ? OK : crypto_fail(ERR_CRYPTO);
}

enum err hmac_make(struct hmac *h, struct slice key, struct slice text, struct digest *ret)
{
    struct pads pads;
    bool is_good = make_pads(h, key, &pads) && make(h, &pads, &text, 1, ret->bytes);
    return leave(h, &pads, is_good);
}

enum err hmac_prf(struct hmac *h, struct slice secret, const struct slice *seeds, size_t n_seeds,
                  void *dst, size_t n)
{
    struct slice pieces[PIECES_MAX];
    struct pads pads;
    uint8_t a[EVP_MAX_MD_SIZE], out[EVP_MAX_MD_SIZE];
    if (secret.n == 0 || n_seeds == 0 || n_seeds > HMAC_PRF_SEEDS || n == 0 || n > HMAC_PRF_MAX) {
        return ERR_CRYPTO;
    }
    pieces[0] = slice_of(a, h->digest_n);
    memcpy(pieces + 1, seeds, n_seeds * sizeof(*seeds));
    bool is_good = make_pads(h, secret, &pads) && make(h, &pads, seeds, n_seeds, a);
    for (size_t at = 0; is_good && at < n;) {
        struct slice part = slice_head(slice_of(out, h->digest_n), n - at);
        is_good = make(h, &pads, pieces, n_seeds + 1, out);
        slice_copy((uint8_t *)dst + at, part);
        at += part.n;
        is_good = is_good && (at >= n || make(h, &pads, pieces, 1, a));
    }
    mem_wipe(a, sizeof(a));
    mem_wipe(out, sizeof(out));
    if (!is_good) {
        mem_wipe(dst, n);
    }
    return leave(h, &pads, is_good);
}

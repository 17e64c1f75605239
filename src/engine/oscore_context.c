#include "engine/oscore_context.h"

#include <assert.h>

#include "base/mem.h"
#include "security/crypto/kdf.h"

enum {
    ALG_AES_CCM_16_64_128 = 10,
    VERSION = 1,
    INFO_MAX = 16 + OSCORE_ID_MAX + OSCORE_ID_CONTEXT_MAX
};

/* ---- the little CBOR that is needed, always in its shortest form ---- */

enum {
    CBOR_UINT = 0,
    CBOR_BYTES = 2,
    CBOR_TEXT = 3,
    CBOR_ARRAY = 4,
    CBOR_SHIFT = 5,
    CBOR_NULL = 0xF6
};

static void cbor_head(struct wr *w, unsigned major, size_t n)
{
    enum { DIRECT = 24 };
    if (n < DIRECT) {
        wr_u8(w, (uint8_t)(major << CBOR_SHIFT | n));
    } else if (n <= UINT8_MAX) {
        wr_u8(w, (uint8_t)(major << CBOR_SHIFT | DIRECT));
        wr_u8(w, (uint8_t)n);
    } else {
        wr_fail(w, ERR_TOO_LARGE);
    }
}

static void cbor_bytes(struct wr *w, struct slice s)
{
    cbor_head(w, CBOR_BYTES, s.n);
    wr_bytes(w, s);
}

static void cbor_text(struct wr *w, const char *text)
{
    cbor_head(w, CBOR_TEXT, slice_text(text).n);
    wr_bytes(w, slice_text(text));
}

/* ---- keys ---- */

static enum err derive(const struct oscore_material *m, struct slice id, const char *type,
                       uint8_t *dst, size_t n)
{
    uint8_t info[INFO_MAX];
    struct wr w = wr_into(info, sizeof(info));
    cbor_head(&w, CBOR_ARRAY, 5); /* SPEC: RFC8613 3.2.1 */
    cbor_bytes(&w, id);
    if (m->has_id_context) {
        cbor_bytes(&w, m->id_context);
    } else {
        wr_u8(&w, CBOR_NULL);
    }
    cbor_head(&w, CBOR_UINT, ALG_AES_CCM_16_64_128);
    cbor_text(&w, type);
    cbor_head(&w, CBOR_UINT, n);
    TRY(w.err);
    return kdf_hkdf(m->secret, m->salt, wr_slice(&w), dst, n);
}

static enum err check(const struct oscore_material *m)
{
    if (m->sender_id.n > OSCORE_ID_MAX || m->recipient_id.n > OSCORE_ID_MAX ||
        m->secret.n > OSCORE_SECRET_MAX || m->salt.n > OSCORE_SALT_MAX ||
        m->id_context.n > OSCORE_ID_CONTEXT_MAX) {
        return ERR_TOO_LARGE;
    }
    bool is_weak = m->secret.n < OSCORE_SECRET_MIN;
    return is_weak || slice_equal(m->sender_id, m->recipient_id) ? ERR_DENIED : OK;
}

static struct oscore_id id_of(struct slice s)
{
    struct oscore_id id = {.n = (uint8_t)s.n};
    slice_copy(id.bytes, s);
    return id;
}

enum err oscore_keys_derive(const struct oscore_material *m, struct oscore_keys *ret)
{
    AUTO(oscore_keys_wipe) struct oscore_keys k = {0};
    TRY(check(m));
    k.sender = id_of(m->sender_id);
    k.recipient = id_of(m->recipient_id);
    TRY(derive(m, m->sender_id, "Key", k.sender_key, sizeof(k.sender_key)));
    TRY(derive(m, m->recipient_id, "Key", k.recipient_key, sizeof(k.recipient_key)));
    TRY(derive(m, (struct slice){0}, "IV", k.common_iv, sizeof(k.common_iv)));
    *ret = k;
    return OK;
}

void oscore_keys_wipe(struct oscore_keys *k)
{
    mem_wipe(k, sizeof(*k));
}

/* ---- nonces and additional data ---- */

void oscore_nonce(const struct oscore_keys *k, const struct oscore_id *id, uint64_t piv,
                  uint8_t dst[CCM_NONCE_BYTES])
{
    static const uint8_t zeros[OSCORE_ID_MAX];
    struct wr w = wr_into(dst, CCM_NONCE_BYTES);
    assert(id->n <= OSCORE_ID_MAX && piv <= COAP_OSCORE_PIV_MAX);
    wr_u8(&w, id->n);
    wr_bytes(&w, slice_of(zeros, (size_t)OSCORE_ID_MAX - id->n));
    wr_bytes(&w, oscore_id_slice(id));
    wr_be(&w, piv, COAP_OSCORE_PIV_BYTES);
    assert(wr_ok(&w) && w.at == CCM_NONCE_BYTES);
    for (size_t i = 0; i < CCM_NONCE_BYTES; i++) {
        dst[i] ^= k->common_iv[i];
    }
}

struct slice oscore_aad(const struct oscore_binding *b, uint8_t dst[OSCORE_AAD_MAX])
{
    uint8_t array[OSCORE_AAD_MAX], piv[COAP_OSCORE_PIV_BYTES];
    struct wr p = wr_into(piv, sizeof(piv));
    coap_oscore_piv_write(b->piv, &p);
    struct wr a = wr_into(array, sizeof(array));
    cbor_head(&a, CBOR_ARRAY, 5);
    cbor_head(&a, CBOR_UINT, VERSION);
    cbor_head(&a, CBOR_ARRAY, 1);
    cbor_head(&a, CBOR_UINT, ALG_AES_CCM_16_64_128);
    cbor_bytes(&a, oscore_id_slice(&b->kid));
    cbor_bytes(&a, wr_slice(&p));
    cbor_bytes(&a, (struct slice){0}); /* no option of class I exists */
    struct wr w = wr_into(dst, OSCORE_AAD_MAX);
    cbor_head(&w, CBOR_ARRAY, 3); /* SPEC: RFC9052 5.3 */
    cbor_text(&w, "Encrypt0");
    cbor_bytes(&w, (struct slice){0});
    cbor_bytes(&w, wr_slice(&a));
    assert(wr_ok(&p) && wr_ok(&a) && wr_ok(&w)); /* ids and numbers are bounded */
    return wr_slice(&w);
}

/* ---- the replay window ---- */

void oscore_window_open(struct oscore_window *w, uint64_t piv)
{
    *w = (struct oscore_window){.highest = piv, .seen = UINT32_MAX, .is_known = true};
}

bool oscore_window_is_fresh(const struct oscore_window *w, uint64_t piv)
{
    if (!w->is_known) {
        return false;
    }
    if (piv > w->highest) {
        return true;
    }
    uint64_t back = w->highest - piv;
    return back < OSCORE_WINDOW && (w->seen & UINT32_C(1) << back) == 0;
}

bool oscore_window_take(struct oscore_window *w, uint64_t piv)
{
    if (!oscore_window_is_fresh(w, piv)) {
        return false;
    }
    if (piv > w->highest) {
        uint64_t step = piv - w->highest;
        w->seen = step < OSCORE_WINDOW ? w->seen << step : 0;
        w->highest = piv;
    }
    w->seen |= UINT32_C(1) << (w->highest - piv);
    return true;
}

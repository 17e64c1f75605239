#include "service/watch/chain.h"

#include "base/rd.h"

enum { LINK_BYTES = 1 + 2 * DIGEST_BYTES, SIGNED_MAX = 64 + CHAIN_FRONT_BYTES + 256 };
_Static_assert((int)CHAIN_CHECKPOINT_CLEAR_BYTES <= 256, "what is signed fits its buffer");

static void encode_front(const struct chain_entry *e, struct wr *w)
{
    wr_bytes(w, digest_slice(&e->prev));
    wr_u8(w, (uint8_t)e->kind);
    wr_u64(w, e->seq);
    wr_u64(w, (uint64_t)e->wall_ms);
    wr_bytes(w, slice_of(e->salt, sizeof e->salt));
}

void chain_entry_encode(const struct chain_entry *e, struct wr *w)
{
    encode_front(e, w);
    wr_bytes(w, e->body);
}

enum err chain_entry_decode(struct slice bytes, struct chain_entry *ret)
{
    struct rd r = rd_from(bytes);
    struct chain_entry e = {.kind = CHAIN_EVENT};
    slice_copy(e.prev.bytes, rd_bytes(&r, DIGEST_BYTES));
    uint8_t kind = rd_u8(&r);
    e.seq = rd_u64(&r);
    e.wall_ms = (int64_t)rd_u64(&r);
    slice_copy(e.salt, rd_bytes(&r, CHAIN_SALT_BYTES));
    e.body = rd_rest(&r);
    TRY(rd_finish(&r));
    if ((kind != CHAIN_EVENT && kind != CHAIN_CHECKPOINT) || e.seq == 0 || e.body.n == 0) {
        return ERR_MALFORMED;
    }
    e.kind = (enum chain_kind)kind;
    *ret = e;
    return OK;
}

enum err chain_leaf(struct slice encoded, struct digest *ret)
{
    if (encoded.n <= CHAIN_FRONT_BYTES) {
        return ERR_TRUNCATED;
    }
    return digest_sha256(slice_from(encoded, DIGEST_BYTES), ret);
}

enum err chain_head(const struct digest *prev, const struct digest *leaf, struct digest *ret)
{
    uint8_t bytes[LINK_BYTES];
    struct wr w = wr_into(bytes, sizeof bytes);
    wr_u8(&w, 0); /* no leaf begins so: a kind is never 0 */
    wr_bytes(&w, digest_slice(prev));
    wr_bytes(&w, digest_slice(leaf));
    return digest_sha256(wr_slice(&w), ret);
}

/* ---- checkpoints ---- */

const char *chain_reason_name(enum chain_reason r)
{
    static const char *const names[CHAIN_REASON_END] = {[CHAIN_REASON_none] = "-",
#define X(name, meaning) [CHAIN_REASON_##name] = #name,
                                                        CHAIN_REASONS(X)
#undef X
    };
    return names[r];
}

static void encode_clear(const struct chain_checkpoint *c, struct wr *w)
{
    wr_u8(w, (uint8_t)c->reason);
    wr_bytes(w, slice_of(c->trail, sizeof c->trail));
    wr_u32(w, c->file);
    wr_u32(w, c->oldest_file);
    wr_u32(w, c->torn_file);
    wr_u64(w, c->torn_at);
    wr_u64(w, c->torn_bytes);
    wr_u64(w, c->older_lines);
    wr_bytes(w, digest_slice(&c->older));
    wr_bytes(w, slice_of(c->key, sizeof c->key));
    wr_bytes(w, slice_of(c->next_key, sizeof c->next_key));
}

void chain_checkpoint_encode(const struct chain_checkpoint *c, struct wr *w)
{
    encode_clear(c, w);
    wr_bytes(w, slice_of(c->signature, sizeof c->signature));
}

enum err chain_checkpoint_decode(struct slice body, struct chain_checkpoint *ret)
{
    struct rd r = rd_from(body);
    struct chain_checkpoint c = {0};
    uint8_t reason = rd_u8(&r);
    slice_copy(c.trail, rd_bytes(&r, sizeof c.trail));
    c.file = rd_u32(&r);
    c.oldest_file = rd_u32(&r);
    c.torn_file = rd_u32(&r);
    c.torn_at = rd_u64(&r);
    c.torn_bytes = rd_u64(&r);
    c.older_lines = rd_u64(&r);
    slice_copy(c.older.bytes, rd_bytes(&r, sizeof c.older.bytes));
    slice_copy(c.key, rd_bytes(&r, sizeof c.key));
    slice_copy(c.next_key, rd_bytes(&r, sizeof c.next_key));
    slice_copy(c.signature, rd_bytes(&r, sizeof c.signature));
    TRY(rd_finish(&r));
    if (reason == CHAIN_REASON_none || reason >= CHAIN_REASON_END ||
        c.torn_bytes > UINT64_MAX - c.torn_at) {
        return ERR_MALFORMED;
    }
    c.reason = (enum chain_reason)reason;
    *ret = c;
    return OK;
}

static struct slice signed_text(const struct chain_checkpoint *c, const struct chain_entry *e,
                                uint8_t dst[SIGNED_MAX])
{
    struct wr w = wr_into(dst, SIGNED_MAX);
    wr_bytes(&w, slice_text(CHAIN_DOMAIN));
    encode_front(e, &w);
    encode_clear(c, &w);
    return wr_slice(&w);
}

enum err chain_checkpoint_sign(const struct ed25519 *key, const struct chain_entry *e,
                               struct chain_checkpoint *c)
{
    uint8_t text[SIGNED_MAX];
    slice_copy(c->key, ed25519_public(key));
    return ed25519_sign(key, signed_text(c, e, text), c->signature);
}

enum err chain_checkpoint_verify(const struct chain_checkpoint *c, const struct chain_entry *e)
{
    uint8_t text[SIGNED_MAX];
    return ed25519_verify(c->key, signed_text(c, e, text), c->signature);
}

#include <assert.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/kdf.h"
#include "store/segment_private.h"

enum { OWNERS_MAX = 4096, AAD_BYTES = 4 + 4 + RECORD_HEAD_BYTES + RECORD_LINK_BYTES };

struct owner {
    uint64_t id;
    struct aead *aead;
    struct list_node node; /* the longest unused first */
};

struct sealer {
    const struct keyring *keyring;
    uint8_t salt[32];
    struct siphash_key check;
    struct aead *log;
    struct map owners;
    struct list used;
    struct owner *last; /* of the call before this one: a batch has runs of one owner */
    unsigned n_erased;
};

/* ---- keys ---- */

static struct slice owner_key(const void *value)
{
    const struct owner *o = value;
    return slice_of(&o->id, sizeof o->id);
}

static void owner_forget(struct sealer *s, struct owner *o)
{
    (void)map_remove(&s->owners, owner_key(o));
    list_unlink(&o->node);
    if (s->last == o) {
        s->last = NULL;
    }
    aead_free(o->aead);
    mem_free(o);
}

static void owners_forget(struct sealer *s)
{
    while (!list_is_empty(&s->used)) {
        owner_forget(s, LIST_ENTRY(list_first(&s->used), struct owner, node));
    }
}

static void key_wipe(uint8_t (*key)[KEYRING_KEY_BYTES])
{
    mem_wipe(*key, KEYRING_KEY_BYTES);
}

static enum err owner_new(struct sealer *s, uint64_t id, struct owner **ret)
{
    AUTO(key_wipe) uint8_t key[KEYRING_KEY_BYTES];
    AUTO(aead_autofree) struct aead *aead = NULL;
    TRY(keyring_record_key(s->keyring, id, s->salt, key));
    TRY(aead_new(slice_of(key, sizeof key), &aead));
    struct owner *o = mem_zalloc(sizeof *o);
    if (o == NULL) {
        return ERR_NOMEM;
    }
    o->id = id;
    enum err e = map_add(&s->owners, o);
    if (e != OK) {
        mem_free(o);
        return e;
    }
    o->aead = TAKE(aead);
    list_append(&s->used, &o->node);
    if (s->owners.n > OWNERS_MAX) {
        owner_forget(s, LIST_ENTRY(list_first(&s->used), struct owner, node));
    }
    *ret = o;
    return OK;
}

/* ERR_NOT_FOUND: this owner has no key. */
static enum err cipher_of(struct sealer *s, uint64_t id, struct aead **ret)
{
    if (id == 0) {
        *ret = s->log;
        return OK;
    }
    unsigned n_erased = keyring_erasures(s->keyring);
    if (n_erased != s->n_erased) {
        owners_forget(s); /* else what was erased would go on being readable */
        s->n_erased = n_erased;
    }
    struct owner *o = s->last;
    if (o == NULL || o->id != id) {
        o = map_find(&s->owners, slice_of(&id, sizeof id));
        if (o == NULL) {
            TRY(owner_new(s, id, &o));
        } else {
            list_unlink(&o->node);
            list_append(&s->used, &o->node);
        }
        s->last = o;
    }
    *ret = o->aead;
    return OK;
}

struct sealer *sealer_free(struct sealer *s)
{
    if (s != NULL) {
        owners_forget(s);
        map_done(&s->owners);
        aead_free(s->log);
        mem_wipe(s, sizeof *s);
        mem_free(s);
    }
    return NULL;
}
AUTOFREE(sealer, sealer_free)

enum err sealer_new(const struct keyring *k, const uint8_t salt[32], struct sealer **ret)
{
    AUTO(sealer_autofree) struct sealer *s = mem_zalloc(sizeof *s);
    AUTO(key_wipe) uint8_t key[KEYRING_KEY_BYTES];
    if (s == NULL) {
        return ERR_NOMEM;
    }
    list_init(&s->used);
    s->keyring = k;
    s->n_erased = keyring_erasures(k);
    memcpy(s->salt, salt, sizeof s->salt);
    TRY(keyring_record_key(k, 0, salt, key));
    TRY(aead_new(slice_of(key, sizeof key), &s->log));
    TRY(kdf_hkdf(slice_of(key, sizeof key), slice_of(salt, sizeof s->salt),
                 slice_text("sallyport log check"), &s->check, sizeof s->check));
    map_init(&s->owners, &s->check, owner_key);
    *ret = TAKE(s);
    return OK;
}

/* ---- the header ---- */

static size_t head_bytes(uint8_t flags)
{
    return (flags & RECORD_FIRST) != 0 ? RECORD_HEAD_BYTES + RECORD_LINK_BYTES : RECORD_HEAD_BYTES;
}

static uint32_t head_check(const struct sealer *s, uint32_t segment, uint32_t offset,
                           struct slice head)
{
    uint8_t text[AAD_BYTES];
    struct wr w = wr_into(text, sizeof text);
    wr_u32(&w, segment);
    wr_u32(&w, offset);
    wr_bytes(&w, slice_from(head, 4));
    return (uint32_t)siphash(&s->check, wr_slice(&w));
}

static struct slice aad_make(uint32_t segment, uint32_t offset, struct slice head,
                             uint8_t dst[AAD_BYTES])
{
    struct wr w = wr_into(dst, AAD_BYTES);
    wr_u32(&w, segment);
    wr_u32(&w, offset);
    wr_bytes(&w, head);
    return wr_slice(&w);
}

static void nonce_make(uint64_t number, uint8_t dst[AEAD_NONCE_BYTES])
{
    struct wr w = wr_into(dst, AEAD_NONCE_BYTES);
    wr_u32(&w, 0);
    wr_u64(&w, number);
}

bool record_find(const struct sealer *s, uint32_t segment, uint32_t offset, struct slice bytes,
                 struct record_found *ret)
{
    struct rd r = rd_from(bytes);
    struct record_found f = {.n_head = RECORD_HEAD_BYTES};
    uint32_t check = rd_u32(&r);
    f.head.bytes = rd_u32(&r);
    if (f.head.bytes < RECORD_BYTES_MIN || f.head.bytes > RECORD_BYTES_MAX ||
        f.head.bytes % RECORD_ALIGN != 0) {
        return false; /* all there is to do in a long run of zeros */
    }
    f.head.kind = rd_u8(&r);
    f.head.flags = rd_u8(&r);
    f.n_padding = rd_u8(&r);
    uint8_t zero = rd_u8(&r);
    f.head.owner = rd_u64(&r);
    f.head.number = rd_u64(&r);
    if (f.head.kind == 0 || f.head.flags > (RECORD_FIRST | RECORD_LAST | RECORD_COPY) ||
        f.n_padding >= RECORD_ALIGN || zero != 0) {
        return false;
    }
    f.n_head = (uint8_t)head_bytes(f.head.flags);
    if ((f.head.flags & RECORD_FIRST) != 0) {
        f.link.segment = rd_u32(&r);
        f.link.offset = rd_u32(&r);
    }
    if (!rd_ok(&r) || f.head.bytes < f.n_head + f.n_padding + (uint32_t)RECORD_TAG_BYTES ||
        check != head_check(s, segment, offset, slice_head(bytes, f.n_head))) {
        return false;
    }
    *ret = f;
    return true;
}

/* ---- records ---- */

enum err record_seal(struct sealer *s, uint32_t segment, uint32_t base_offset,
                     const struct record_head *head, const struct batch_link *link,
                     struct slice content_head, struct slice content_body, struct buf *batch,
                     struct place *ret)
{
    assert(head->kind != 0 && base_offset % RECORD_ALIGN == 0 && batch->n % RECORD_ALIGN == 0);
    assert((link != NULL) == ((head->flags & RECORD_FIRST) != 0));
    if (content_head.n > RECORD_CONTENT_MAX ||
        content_body.n > RECORD_CONTENT_MAX - content_head.n) {
        return ERR_TOO_LARGE;
    }
    struct aead *aead = NULL;
    uint64_t owner = head->owner;
    enum err e = cipher_of(s, owner, &aead);
    bool is_erased = e == ERR_NOT_FOUND && keyring_erasures(s->keyring) > 0;
    if (e == ERR_NOT_FOUND) {
        owner = is_erased ? owner : 0;
        aead = s->log;
    } else {
        TRY(e);
    }
    size_t n_head = head_bytes(head->flags);
    size_t n_content = content_head.n + content_body.n;
    size_t n_padding = (RECORD_ALIGN - n_content % RECORD_ALIGN) % RECORD_ALIGN;
    size_t n_plain = n_content + n_padding;
    size_t n = n_head + n_plain + RECORD_TAG_BYTES;
    uint8_t *room = NULL;
    TRY(buf_room(batch, n, UINT32_MAX - base_offset, &room));
    uint32_t offset = base_offset + (uint32_t)batch->n;

    struct wr w = wr_into(room, n);
    uint8_t *check = wr_reserve(&w, 4);
    wr_u32(&w, (uint32_t)n);
    wr_u8(&w, head->kind);
    wr_u8(&w, head->flags);
    wr_u8(&w, (uint8_t)n_padding);
    wr_u8(&w, 0);
    wr_u64(&w, owner);
    wr_u64(&w, head->number);
    if (link != NULL) {
        wr_u32(&w, link->segment);
        wr_u32(&w, link->offset);
    }
    struct slice clear = wr_slice(&w);
    struct wr c = wr_into(check, 4);
    wr_u32(&c, head_check(s, segment, offset, clear));
    uint8_t *plain = room + n_head;
    wr_bytes(&w, content_head);
    wr_bytes(&w, content_body);
    wr_be(&w, 0, n_padding);
    if (is_erased) {
        mem_wipe(plain, n_plain); /* on its way when the key went: nothing of it may be readable */
    }

    uint8_t nonce[AEAD_NONCE_BYTES];
    uint8_t aad[AAD_BYTES];
    nonce_make(head->number, nonce);
    TRY(aead_seal(aead, nonce, aad_make(segment, offset, clear, aad), slice_of(plain, n_plain),
                  plain));
    batch->n += n;
    *ret = (struct place){.segment = segment, .offset = offset, .bytes = (uint32_t)n};
    return OK;
}

enum err record_open(struct sealer *s, uint32_t segment, uint32_t offset,
                     const struct record_found *r, struct slice bytes, uint8_t *dst, size_t *ret_n)
{
    struct aead *aead = NULL;
    uint8_t nonce[AEAD_NONCE_BYTES];
    uint8_t aad[AAD_BYTES];
    TRY(cipher_of(s, r->head.owner, &aead));
    struct slice sealed = slice_from(bytes, r->n_head);
    nonce_make(r->head.number, nonce);
    TRY(aead_open(aead, nonce, aad_make(segment, offset, slice_head(bytes, r->n_head), aad), sealed,
                  dst));
    *ret_n = sealed.n - RECORD_TAG_BYTES - r->n_padding;
    return OK;
}

enum err record_read(struct sealer *s, struct disk *d, struct disk_file *f, struct place place,
                     struct buf *scratch, struct record_head *ret_head, struct slice *ret_content)
{
    uint8_t *room = NULL;
    size_t n = 0;
    struct record_found r;
    buf_clear(scratch);
    if (place.bytes < RECORD_BYTES_MIN || place.bytes > RECORD_BYTES_MAX) {
        return ERR_CRYPTO;
    }
    TRY(buf_room(scratch, place.bytes, RECORD_BYTES_MAX, &room));
    TRY(d->ops->read_at(f, place.offset, room, place.bytes, &n));
    struct slice bytes = slice_of(room, n);
    if (!record_find(s, place.segment, place.offset, bytes, &r) || r.head.bytes != n) {
        return ERR_CRYPTO;
    }
    TRY(record_open(s, place.segment, place.offset, &r, bytes, room + r.n_head, &n));
    scratch->n = place.bytes;
    *ret_head = r.head;
    *ret_content = slice_of(room + r.n_head, n);
    return OK;
}

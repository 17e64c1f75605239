#include "service/directory/duplicates.h"

#include <stdlib.h>

#include "base/mem.h"
#include "service/directory/directory_private.h"

enum { SPELLINGS = 3 }; /* as it is, as hexadecimal, out of hexadecimal */

struct spelling {
    struct duplicate who;
    struct digest hash;
};

struct spellings {
    struct spelling *items;
    size_t n, cap;
};

static void spellings_done(struct spellings *l)
{
    mem_free(l->items);
}

void duplicates_done(struct duplicate_list *l)
{
    mem_free(l->pairs);
    *l = (struct duplicate_list){0};
}

static void add(struct spellings *l, const struct duplicate *who, const struct digest *hash)
{
    if (l->n < l->cap) { /* there is room for every spelling */
        l->items[l->n++] = (struct spelling){*who, *hash};
    }
}

static enum err add_hashed(const struct directory *d, const struct duplicate *who,
                           struct slice secret, struct spellings *l)
{
    struct digest hash;
    TRY(digest_hmac(secret_bytes(d->fingerprint_key), secret, &hash));
    add(l, who, &hash);
    return OK;
}

static int hex_value(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* How many bytes; 0: it is no hexadecimal. */
static size_t out_of_hex(struct slice text, uint8_t dst[PSK_KEY_MAX])
{
    size_t n = text.n / 2;
    bool is_hex = text.n % 2 == 0 && n <= PSK_KEY_MAX;
    for (size_t i = 0; is_hex && i < n; i++) {
        int high = hex_value(text.p[2 * i]), low = hex_value(text.p[2 * i + 1]);
        is_hex = high >= 0 && low >= 0;
        dst[i] = is_hex ? (uint8_t)((unsigned)high << 4 | (unsigned)low) : 0;
    }
    return is_hex ? n : 0;
}

static size_t as_hex(struct slice bytes, uint8_t dst[2 * PSK_KEY_MAX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.n; i++) {
        dst[2 * i] = (uint8_t)digits[bytes.p[i] >> 4];
        dst[2 * i + 1] = (uint8_t)digits[bytes.p[i] & 15];
    }
    return 2 * bytes.n;
}

static enum err add_spellings(const struct directory *d, const struct duplicate *who,
                              struct slice secret, struct spellings *l)
{
    uint8_t other[2 * PSK_KEY_MAX];
    TRY(add_hashed(d, who, secret, l));
    size_t n = out_of_hex(secret, other);
    enum err err = n > 0 ? add_hashed(d, who, slice_of(other, n), l) : OK;
    if (err == OK) {
        n = as_hex(secret, other);
        err = add_hashed(d, who, slice_of(other, n), l);
    }
    mem_wipe(other, sizeof other);
    return err;
}

static enum err add_credential(const struct directory *d, const struct duplicate *who,
                               struct spellings *l)
{
    const struct credential *c = who->credential;
    uint8_t key[PSK_KEY_MAX];
    size_t n = 0;
    if (c->kind != CREDENTIAL_PSK && c->kind != CREDENTIAL_OSCORE) {
        add(l, who, &c->fingerprint);
        return OK;
    }
    TRY(credential_psk(c, key, &n));
    n = c->kind == CREDENTIAL_OSCORE && n > OSCORE_MASTER_BYTES ? OSCORE_MASTER_BYTES : n;
    enum err err = add_spellings(d, who, slice_of(key, n), l);
    mem_wipe(key, sizeof key);
    return err;
}

static int by_hash(const void *a, const void *b)
{
    const struct spelling *x = a, *y = b;
    int order = memcmp(x->hash.bytes, y->hash.bytes, sizeof x->hash.bytes);
    uint64_t one = x->who.credential->id, other = y->who.credential->id;
    return order != 0 ? order : one < other ? -1 : one > other;
}

static int by_ids(const void *a, const void *b)
{
    const struct duplicate_pair *x = a, *y = b;
    uint64_t one = x->one.credential->id, other = y->one.credential->id;
    if (one == other) {
        one = x->other.credential->id;
        other = y->other.credential->id;
    }
    return one < other ? -1 : one > other;
}

static enum err spell_all(const struct directory *d, const struct directory_version *v,
                          struct spellings *ret)
{
    size_t n = 0, at = 0;
    const struct directory_entry *e;
    while ((e = directory_next(v, &at)) != NULL) {
        n += e->n_credentials;
    }
    ret->cap = n * SPELLINGS;
    ret->items = mem_array(ret->cap + 1, sizeof ret->items[0]);
    if (ret->items == NULL) {
        return ERR_NOMEM;
    }
    at = 0;
    while ((e = directory_next(v, &at)) != NULL) {
        for (size_t i = 0; i < e->n_credentials; i++) {
            const struct duplicate who = {e, e->credentials[i]};
            TRY(add_credential(d, &who, ret));
        }
    }
    qsort(ret->items, ret->n, sizeof ret->items[0], by_hash);
    return OK;
}

/* Two spellings of two may both be the same: they are one pair. */
static size_t once(struct duplicate_pair *pairs, size_t n)
{
    size_t kept = 0;
    qsort(pairs, n, sizeof pairs[0], by_ids);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || by_ids(&pairs[kept - 1], &pairs[i]) != 0) {
            pairs[kept++] = pairs[i];
        }
    }
    return kept;
}

enum err duplicates_find(const struct directory *d, const struct directory_version *v,
                         struct duplicate_list *ret)
{
    AUTO(spellings_done) struct spellings all = {0};
    TRY(spell_all(d, v, &all));
    struct duplicate_list l = {.pairs = mem_array(all.n + 1, sizeof l.pairs[0])};
    if (l.pairs == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 1; i < all.n; i++) {
        const struct spelling *one = &all.items[i - 1], *other = &all.items[i];
        if (memcmp(one->hash.bytes, other->hash.bytes, sizeof one->hash.bytes) == 0 &&
            one->who.credential != other->who.credential) {
            l.pairs[l.n++] = (struct duplicate_pair){one->who, other->who};
        }
    }
    l.n = once(l.pairs, l.n);
    *ret = l;
    return OK;
}

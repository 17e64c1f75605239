#include "store/keyring.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/kdf.h"
#include "security/crypto/sealed.h"

/*
 * File: magic, version (8 bytes together), u32 length of the base, the base, then additions, each
 * with a u32 length in front. Base and additions are sealed files of their own (crypto/sealed.h).
 * Base, sealed under the master: u8 format, root key, chain key, u32 count, (u64 id, key)... in
 * the order of ids. Addition, sealed under the chain key: u32 which one, counted from 1, u32 count,
 * (u64 id, key)... The chain key is fresh in every base: an addition of an older file does not
 * verify behind a newer base, so an erased key cannot be put back by splicing.
 */
enum {
    FORMAT = 1,
    MAGIC_BYTES = 8,
    KEY = KEYRING_KEY_BYTES,
    ENTRY_BYTES = 8 + KEY,
    BASE_HEAD_BYTES = 1 + KEY + KEY + 4,
    ADDITION_HEAD_BYTES = 4 + 4,
    ADDED_AT_ONCE_MAX = 64, /* more are worth a new base */
    ADDITIONS_MAX = 1024,   /* each costs 15 us at the next start */
    ADDITION_BYTES_MAX =
        4 + SEALED_OVERHEAD_BYTES + ADDITION_HEAD_BYTES + ADDED_AT_ONCE_MAX * ENTRY_BYTES,
    FILE_BYTES_MAX = 256 * 1024 * 1024
};
static const uint8_t MAGIC[MAGIC_BYTES] = {'S', 'P', 'K', 'E', 'Y', 'S', 0, FORMAT};
static const char PURPOSE_BASE[] = "keyring";
static const char PURPOSE_ADDITION[] = "keyring addition";
static const char FILE_NEW[] = KEYRING_FILE ".new"; /* what disk_save leaves when it is cut off */

/* A principal and its key, hidden under a mask that belongs to the principal alone: a locked page
 * for each would be 80 MB for 20,000 devices. */
struct entry {
    uint64_t id;
    uint8_t hidden[KEY];
};
/* Sorted by id. */
struct entries {
    struct entry *at;
    size_t n;
};

struct keyring {
    struct disk *disk;
    struct random_source random;
    struct secret *master, *root, *chain;
    struct secret *mask;
    struct entries entries; /* written under lock by the one thread that changes them */
    pthread_mutex_t lock;
    atomic_uint n_erased;
    uint32_t n_additions;
    bool must_rewrite; /* what is behind the base is not known for sure: never append there */
};

/* ---- entries ---- */

static void entries_done(struct entries *e)
{
    if (e->at != NULL) {
        mem_wipe(e->at, e->n * sizeof *e->at);
    }
    mem_free(e->at);
    *e = (struct entries){0};
}

static void key_wipe(uint8_t (*key)[KEY])
{
    mem_wipe(*key, KEY);
}

/* dst = src xor the mask; its own inverse. */
static enum err mask_apply(const struct keyring *k, uint64_t id, const uint8_t src[KEY],
                           uint8_t dst[KEY])
{
    uint8_t salt[8];
    AUTO(key_wipe) uint8_t pad[KEY];
    struct wr w = wr_into(salt, sizeof salt);
    wr_u64(&w, id);
    TRY(kdf_hkdf(secret_bytes(k->mask), wr_slice(&w), slice_text("sallyport keyring in memory"),
                 pad, sizeof pad));
    for (size_t i = 0; i < KEY; i++) {
        dst[i] = (uint8_t)(src[i] ^ pad[i]);
    }
    return OK;
}

static int id_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static const struct entry *entries_find(const struct entries *e, uint64_t id)
{
    size_t low = 0;
    size_t high = e->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (e->at[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < e->n && e->at[low].id == id ? &e->at[low] : NULL;
}

/* a and b together; an id that both have keeps a's key. */
static enum err entries_merge(const struct entries *a, const struct entries *b, struct entries *ret)
{
    struct entries all = {.at = mem_array(a->n + b->n + 1, sizeof *all.at)};
    if (all.at == NULL) {
        return ERR_NOMEM;
    }
    size_t i = 0;
    size_t j = 0;
    while (i < a->n || j < b->n) {
        bool is_a = j == b->n || (i < a->n && a->at[i].id <= b->at[j].id);
        if (is_a && j < b->n && a->at[i].id == b->at[j].id) {
            j++;
        }
        all.at[all.n++] = is_a ? a->at[i++] : b->at[j++];
    }
    *ret = all;
    return OK;
}

/* The ids, sorted. */
static enum err ids_sorted(const uint64_t *ids, size_t n, struct buf *ret)
{
    TRY(buf_append(ret, slice_of(ids, n * sizeof *ids), SIZE_MAX));
    if (n > 1) {
        qsort(ret->p, n, sizeof *ids, id_compare);
    }
    return OK;
}

static uint64_t id_at(const struct buf *ids, size_t i)
{
    uint64_t id;
    memcpy(&id, ids->p + i * sizeof id, sizeof id);
    return id;
}

/* ---- the file, written ---- */

static enum err entries_write(const struct keyring *k, const struct entries *e, struct wr *w)
{
    wr_u32(w, (uint32_t)e->n);
    for (size_t i = 0; i < e->n; i++) {
        AUTO(key_wipe) uint8_t key[KEY];
        TRY(mask_apply(k, e->at[i].id, e->at[i].hidden, key));
        wr_u64(w, e->at[i].id);
        wr_bytes(w, slice_of(key, sizeof key));
    }
    return OK;
}

/* The length goes in front when the sealed bytes are there. */
static enum err sealed_append(struct slice key, const char *purpose,
                              const struct random_source *random, struct slice plain,
                              struct buf *ret)
{
    uint8_t *room = NULL;
    size_t before = ret->n;
    TRY(buf_room(ret, 4, FILE_BYTES_MAX, &room));
    ret->n += 4;
    enum err e = sealed_make(key, purpose, random, plain, FILE_BYTES_MAX, ret);
    if (e != OK) {
        ret->n = before;
        return e;
    }
    struct wr w = wr_into(ret->p + before, 4);
    wr_u32(&w, (uint32_t)(ret->n - before - 4));
    return OK;
}

static enum err file_make(const struct keyring *k, struct slice master, struct slice chain,
                          const struct entries *e, struct buf *ret)
{
    AUTO(buf_wipe) struct buf plain = {0};
    uint8_t *room = NULL;
    size_t n = BASE_HEAD_BYTES + e->n * ENTRY_BYTES;
    TRY(buf_room(&plain, n, FILE_BYTES_MAX, &room));
    struct wr w = wr_into(room, n);
    wr_u8(&w, FORMAT);
    wr_bytes(&w, secret_bytes(k->root));
    wr_bytes(&w, chain);
    plain.n = n; /* so that an early return wipes it */
    TRY(entries_write(k, e, &w));
    TRY(wr_done(&w, &plain.n));
    size_t before = ret->n;
    TRY(buf_append(ret, slice_of(MAGIC, sizeof MAGIC), FILE_BYTES_MAX));
    enum err err = sealed_append(master, PURPOSE_BASE, &k->random, buf_slice(&plain), ret);
    ret->n = err == OK ? ret->n : before;
    return err;
}

/* An open file for disk_shred, or NULL when there is none of this name. */
static enum err shred_open(struct keyring *k, const char *path, struct disk_file **ret)
{
    struct disk_file *probe = NULL;
    *ret = NULL;
    enum err e = k->disk->ops->open(k->disk, path, DISK_READ, &probe);
    if (e != OK) {
        return e == ERR_NOT_FOUND ? OK : e;
    }
    k->disk->ops->close(probe);
    return k->disk->ops->open(k->disk, path, DISK_WRITE, ret);
}

static enum err shred_leftover(struct keyring *k)
{
    struct disk_file *f = NULL;
    TRY(shred_open(k, FILE_NEW, &f));
    if (f == NULL) {
        return OK;
    }
    enum err e = disk_shred(k->disk, f, &k->random);
    k->disk->ops->close(f);
    return e;
}

/*
 * The whole file anew. The old one is held open while the new one takes its name, and overwritten
 * only then: the other way round a power cut in between would lose every key.
 */
static enum err file_replace(struct keyring *k, struct slice contents)
{
    struct disk_file *old = NULL;
    TRY(shred_leftover(k));
    TRY(shred_open(k, KEYRING_FILE, &old));
    enum err e = disk_save(k->disk, KEYRING_FILE, contents);
    if (old != NULL) {
        if (e == OK) {
            e = disk_shred(k->disk, old, &k->random);
        }
        k->disk->ops->close(old);
    }
    return e;
}

/* Saves these entries as a new base with a new chain key, under `master`. */
static enum err rewrite(struct keyring *k, struct slice master, const struct entries *e)
{
    AUTO(buf_wipe) struct buf file = {0};
    AUTO(key_wipe) uint8_t fresh[KEY];
    AUTO(secret_autofree) struct secret *chain = NULL;
    k->random.fill(k->random.ctx, fresh, sizeof fresh);
    TRY(secret_new(slice_of(fresh, sizeof fresh), &chain));
    TRY(file_make(k, master, secret_bytes(chain), e, &file));
    k->must_rewrite = true; /* until it is known which of the two files is there */
    TRY(file_replace(k, buf_slice(&file)));
    k->must_rewrite = false;
    k->n_additions = 0;
    secret_free(k->chain);
    k->chain = TAKE(chain);
    return OK;
}

static enum err append_synced(struct keyring *k, struct slice bytes)
{
    struct disk_file *f = NULL;
    TRY(k->disk->ops->open(k->disk, KEYRING_FILE, DISK_APPEND, &f));
    enum err e = k->disk->ops->append(f, bytes);
    if (e == OK) {
        e = k->disk->ops->sync(f);
    }
    k->disk->ops->close(f);
    return e;
}

static enum err addition_append(struct keyring *k, const struct entries *added)
{
    AUTO(buf_wipe) struct buf plain = {0};
    AUTO(buf_wipe) struct buf sealed = {0};
    uint8_t *room = NULL;
    size_t n = ADDITION_HEAD_BYTES + added->n * ENTRY_BYTES;
    TRY(buf_room(&plain, n, FILE_BYTES_MAX, &room));
    struct wr w = wr_into(room, n);
    wr_u32(&w, k->n_additions + 1);
    plain.n = n;
    TRY(entries_write(k, added, &w));
    TRY(wr_done(&w, &plain.n));
    TRY(sealed_append(secret_bytes(k->chain), PURPOSE_ADDITION, &k->random, buf_slice(&plain),
                      &sealed));
    k->must_rewrite = true;
    TRY(append_synced(k, buf_slice(&sealed)));
    k->must_rewrite = false;
    k->n_additions++;
    return OK;
}

/* ---- the file, read ---- */

static enum err entries_read(const struct keyring *k, struct rd *r, struct entries *ret)
{
    size_t n = rd_u32(r);
    if (!rd_ok(r) || rd_left(r) != n * ENTRY_BYTES) {
        return ERR_CRYPTO;
    }
    struct entries all = {.at = mem_array(n + 1, sizeof *all.at)};
    if (all.at == NULL) {
        return ERR_NOMEM;
    }
    enum err e = OK;
    for (; e == OK && all.n < n; all.n++) {
        struct entry *one = &all.at[all.n];
        one->id = rd_u64(r);
        struct slice key = rd_bytes(r, KEY);
        if (one->id == 0 || (all.n > 0 && all.at[all.n - 1].id >= one->id)) {
            e = ERR_CRYPTO;
        } else {
            e = mask_apply(k, one->id, key.p, one->hidden);
        }
    }
    if (e != OK) {
        entries_done(&all);
        return e;
    }
    *ret = all;
    return OK;
}

static enum err base_read(struct keyring *k, struct rd *file)
{
    AUTO(buf_wipe) struct buf plain = {0};
    struct slice sealed = rd_bytes(file, rd_u32(file));
    if (!rd_ok(file)) {
        return ERR_CRYPTO;
    }
    enum err e = sealed_open(secret_bytes(k->master), PURPOSE_BASE, sealed, &plain);
    if (e != OK) {
        return e == ERR_NOMEM ? e : ERR_CRYPTO;
    }
    struct rd r = rd_from(buf_slice(&plain));
    uint8_t format = rd_u8(&r);
    struct slice root = rd_bytes(&r, KEY);
    struct slice chain = rd_bytes(&r, KEY);
    if (!rd_ok(&r) || format != FORMAT) {
        return ERR_CRYPTO;
    }
    TRY(secret_new(root, &k->root));
    TRY(secret_new(chain, &k->chain));
    return entries_read(k, &r, &k->entries);
}

/* One addition at the front of *rest, which then begins behind it. */
static enum err addition_read(const struct keyring *k, struct slice *rest, uint32_t *ret_which,
                              struct entries *ret)
{
    AUTO(buf_wipe) struct buf plain = {0};
    struct rd r = rd_from(*rest);
    struct slice sealed = rd_bytes(&r, rd_u32(&r));
    if (!rd_ok(&r) || sealed.n > ADDITION_BYTES_MAX) {
        return ERR_CRYPTO;
    }
    enum err e = sealed_open(secret_bytes(k->chain), PURPOSE_ADDITION, sealed, &plain);
    if (e != OK) {
        return e == ERR_NOMEM ? e : ERR_CRYPTO;
    }
    struct rd inner = rd_from(buf_slice(&plain));
    uint32_t which = rd_u32(&inner);
    struct entries added = {0};
    TRY(entries_read(k, &inner, &added));
    *rest = rd_rest(&r);
    *ret_which = which;
    *ret = added;
    return OK;
}

/* A power cut leaves at most a piece of the last addition. Anything longer, or an addition that
 * verifies somewhere behind, says that this was damage: then nothing may be cut off. */
static enum err tail_check(const struct keyring *k, struct slice tail)
{
    if (tail.n > ADDITION_BYTES_MAX) {
        return ERR_CRYPTO;
    }
    for (size_t at = 1; at < tail.n; at++) {
        struct slice rest = slice_from(tail, at);
        struct entries added = {0};
        uint32_t which = 0;
        enum err e = addition_read(k, &rest, &which, &added);
        entries_done(&added);
        if (e != ERR_CRYPTO) {
            return e == OK ? ERR_CRYPTO : e;
        }
    }
    return OK;
}

static enum err additions_read(struct keyring *k, struct slice rest)
{
    while (rest.n > 0) {
        struct entries added = {0};
        struct entries all = {0};
        uint32_t which = 0;
        struct slice here = rest;
        enum err e = addition_read(k, &rest, &which, &added);
        if (e == ERR_CRYPTO) {
            k->must_rewrite = true;
            return tail_check(k, here);
        }
        TRY(e);
        e = which == k->n_additions + 1 ? entries_merge(&k->entries, &added, &all) : ERR_CRYPTO;
        entries_done(&added);
        TRY(e);
        entries_done(&k->entries);
        k->entries = all;
        k->n_additions++;
    }
    return OK;
}

static enum err file_read(struct keyring *k, struct slice file)
{
    struct rd r = rd_from(file);
    struct slice magic = rd_bytes(&r, MAGIC_BYTES);
    if (!rd_ok(&r) || !slice_has_prefix(magic, slice_of(MAGIC, MAGIC_BYTES - 1))) {
        return ERR_CRYPTO;
    }
    if (magic.p[MAGIC_BYTES - 1] != FORMAT) {
        return ERR_UNSUPPORTED;
    }
    TRY(base_read(k, &r));
    return additions_read(k, rd_rest(&r));
}

/* ---- lifetime ---- */

static enum err keyring_new(const struct keyring_setup *s, struct keyring **ret)
{
    if (s->master.n != SEALED_MASTER_BYTES) {
        return ERR_CONFIG;
    }
    struct keyring *fresh = mem_zalloc(sizeof *fresh);
    if (fresh == NULL) {
        return ERR_NOMEM;
    }
    if (pthread_mutex_init(&fresh->lock, NULL) != 0) {
        mem_free(fresh);
        return ERR_NOMEM;
    }
    AUTO(keyring_autofree) struct keyring *k = fresh;
    atomic_init(&k->n_erased, 0);
    k->disk = s->disk;
    k->random = s->random;
    AUTO(key_wipe) uint8_t mask[KEY];
    k->random.fill(k->random.ctx, mask, sizeof mask);
    TRY(secret_new(slice_of(mask, sizeof mask), &k->mask));
    TRY(secret_new(s->master, &k->master));
    *ret = TAKE(k);
    return OK;
}

struct keyring *keyring_free(struct keyring *k)
{
    if (k != NULL) {
        entries_done(&k->entries);
        secret_free(k->master);
        secret_free(k->root);
        secret_free(k->chain);
        secret_free(k->mask);
        (void)pthread_mutex_destroy(&k->lock);
        mem_free(k);
    }
    return NULL;
}

enum err keyring_create(const struct keyring_setup *s, struct keyring **ret)
{
    AUTO(keyring_autofree) struct keyring *k = NULL;
    TRY(keyring_new(s, &k));
    struct disk_file *there = NULL;
    enum err e = k->disk->ops->open(k->disk, KEYRING_FILE, DISK_READ, &there);
    if (e == OK) {
        k->disk->ops->close(there);
        return ERR_EXISTS;
    }
    if (e != ERR_NOT_FOUND) {
        return e;
    }
    AUTO(key_wipe) uint8_t root[KEY];
    k->random.fill(k->random.ctx, root, sizeof root);
    TRY(secret_new(slice_of(root, sizeof root), &k->root));
    TRY(rewrite(k, s->master, &k->entries));
    *ret = TAKE(k);
    return OK;
}

enum err keyring_open(const struct keyring_setup *s, struct keyring **ret)
{
    AUTO(keyring_autofree) struct keyring *k = NULL;
    AUTO(buf_done) struct buf file = {0};
    TRY(keyring_new(s, &k));
    TRY(disk_load(k->disk, KEYRING_FILE, FILE_BYTES_MAX, &file));
    TRY(file_read(k, buf_slice(&file)));
    *ret = TAKE(k);
    return OK;
}

/* ---- use ---- */

/* The lock changes, what the keyring says does not: so a const keyring can be read. */
static pthread_mutex_t *lock_of(const struct keyring *k)
{
    return &((struct keyring *)(uintptr_t)k)->lock;
}

struct slice keyring_root(const struct keyring *k)
{
    return secret_bytes(k->root);
}

unsigned keyring_erasures(const struct keyring *k)
{
    return atomic_load_explicit(&k->n_erased, memory_order_acquire);
}

static void entries_publish(struct keyring *k, struct entries *next)
{
    (void)pthread_mutex_lock(&k->lock);
    struct entries old = k->entries;
    k->entries = *next;
    (void)pthread_mutex_unlock(&k->lock);
    entries_done(&old);
    *next = (struct entries){0};
}

/* Keys for those of the ids that have none. */
static enum err entries_new(struct keyring *k, const uint64_t *ids, size_t n, struct entries *ret)
{
    AUTO(buf_done) struct buf sorted = {0};
    TRY(ids_sorted(ids, n, &sorted));
    AUTO(entries_done) struct entries added = {.at = mem_array(n + 1, sizeof *added.at)};
    if (added.at == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t id = id_at(&sorted, i);
        bool is_again = added.n > 0 && added.at[added.n - 1].id == id;
        if (id == 0 || is_again || entries_find(&k->entries, id) != NULL) {
            continue;
        }
        AUTO(key_wipe) uint8_t key[KEY];
        k->random.fill(k->random.ctx, key, sizeof key);
        added.at[added.n].id = id;
        TRY(mask_apply(k, id, key, added.at[added.n].hidden));
        added.n++;
    }
    *ret = added;
    added = (struct entries){0};
    return OK;
}

enum err keyring_add(struct keyring *k, const uint64_t *principals, size_t n)
{
    AUTO(entries_done) struct entries added = {0};
    AUTO(entries_done) struct entries next = {0};
    TRY(entries_new(k, principals, n, &added));
    if (added.n == 0) {
        return OK;
    }
    TRY(entries_merge(&k->entries, &added, &next));
    bool is_small = added.n <= ADDED_AT_ONCE_MAX && k->n_additions < ADDITIONS_MAX;
    TRY(is_small && !k->must_rewrite ? addition_append(k, &added)
                                     : rewrite(k, secret_bytes(k->master), &next));
    entries_publish(k, &next);
    return OK;
}

enum err keyring_erase(struct keyring *k, const uint64_t *principals, size_t n)
{
    AUTO(buf_done) struct buf sorted = {0};
    TRY(ids_sorted(principals, n, &sorted));
    AUTO(entries_done)
    struct entries next = {.at = mem_array(k->entries.n + 1, sizeof *next.at)};
    if (next.at == NULL) {
        return ERR_NOMEM;
    }
    size_t at = 0;
    for (size_t i = 0; i < k->entries.n; i++) {
        while (at < n && id_at(&sorted, at) < k->entries.at[i].id) {
            at++;
        }
        if (at == n || id_at(&sorted, at) != k->entries.at[i].id) {
            next.at[next.n++] = k->entries.at[i];
        }
    }
    /* must_rewrite: a try before this one may have left the file half done. */
    if (next.n == k->entries.n && !k->must_rewrite) {
        return OK;
    }
    TRY(rewrite(k, secret_bytes(k->master), &next));
    /* Before: who finds no key from here on knows why. After: who cached one forgets it. */
    (void)atomic_fetch_add_explicit(&k->n_erased, 1, memory_order_release);
    entries_publish(k, &next);
    (void)atomic_fetch_add_explicit(&k->n_erased, 1, memory_order_release);
    return OK;
}

bool keyring_has(const struct keyring *k, uint64_t principal)
{
    (void)pthread_mutex_lock(lock_of(k));
    bool is_there = entries_find(&k->entries, principal) != NULL;
    (void)pthread_mutex_unlock(lock_of(k));
    return is_there;
}

size_t keyring_count(const struct keyring *k)
{
    (void)pthread_mutex_lock(lock_of(k));
    size_t n = k->entries.n;
    (void)pthread_mutex_unlock(lock_of(k));
    return n;
}

static bool hidden_copy(const struct keyring *k, uint64_t principal, uint8_t ret[KEY])
{
    (void)pthread_mutex_lock(lock_of(k));
    const struct entry *e = entries_find(&k->entries, principal);
    if (e != NULL) {
        memcpy(ret, e->hidden, KEY);
    }
    (void)pthread_mutex_unlock(lock_of(k));
    return e != NULL;
}

enum err keyring_record_key(const struct keyring *k, uint64_t principal, const uint8_t salt[32],
                            uint8_t ret[KEYRING_KEY_BYTES])
{
    struct slice of_opening = slice_of(salt, 32);
    if (principal == 0) {
        return kdf_hkdf(secret_bytes(k->root), of_opening, slice_text("sallyport log"), ret, KEY);
    }
    AUTO(key_wipe) uint8_t key[KEY];
    if (!hidden_copy(k, principal, key)) {
        return ERR_NOT_FOUND;
    }
    TRY(mask_apply(k, principal, key, key));
    return kdf_hkdf(slice_of(key, sizeof key), of_opening, slice_text("sallyport record"), ret,
                    KEY);
}

enum err keyring_rotate(struct keyring *k, struct slice master)
{
    if (master.n != SEALED_MASTER_BYTES) {
        return ERR_CONFIG;
    }
    AUTO(secret_autofree) struct secret *next = NULL;
    TRY(secret_new(master, &next));
    TRY(rewrite(k, master, &k->entries));
    secret_free(k->master);
    k->master = TAKE(next);
    return OK;
}

enum err keyring_copy(const struct keyring *k, struct slice master, struct buf *ret)
{
    if (master.n != SEALED_MASTER_BYTES) {
        return ERR_CONFIG;
    }
    AUTO(key_wipe) uint8_t chain[KEY];
    k->random.fill(k->random.ctx, chain, sizeof chain);
    return file_make(k, master, slice_of(chain, sizeof chain), &k->entries, ret);
}

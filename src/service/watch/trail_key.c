#include "service/watch/trail_key.h"

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/kdf.h"
#include "security/crypto/sealed.h"
#include "service/watch/trail.h"

enum { PLAIN_MAX = 1 + TRAIL_SEEDS_MAX * ED25519_SEED_BYTES };
#define PURPOSE "sallyport audit checkpoint key"

struct plain {
    uint8_t bytes[PLAIN_MAX];
};

static void plain_wipe(struct plain *p)
{
    mem_wipe(p, sizeof *p);
}

void trail_seeds_wipe(struct trail_seeds *s)
{
    mem_wipe(s, sizeof *s);
}

void trail_seed_make(const struct random_source *random, uint8_t ret[ED25519_SEED_BYTES])
{
    random->fill(random->ctx, ret, ED25519_SEED_BYTES);
}

static enum err load(struct disk *d, const char *path, struct slice seal, struct trail_seeds *ret)
{
    AUTO(buf_done) struct buf file = {0};
    AUTO(buf_wipe) struct buf plain = {0};
    TRY(disk_load(d, path, SEALED_OVERHEAD_BYTES + PLAIN_MAX, &file));
    TRY(sealed_open(seal, PURPOSE, buf_slice(&file), &plain));
    struct rd r = rd_from(buf_slice(&plain));
    AUTO(trail_seeds_wipe) struct trail_seeds s = {.n = rd_u8(&r)};
    if (s.n == 0 || s.n > TRAIL_SEEDS_MAX) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < s.n; i++) {
        slice_copy(s.seed[i], rd_bytes(&r, ED25519_SEED_BYTES));
    }
    TRY(rd_finish(&r));
    *ret = s;
    return OK;
}

enum err trail_seeds_load(struct disk *d, struct slice seal, struct trail_seeds *ret)
{
    return load(d, TRAIL_KEY_FILE, seal, ret);
}

enum err trail_seeds_save(struct disk *d, struct slice seal, const struct random_source *random,
                          const struct trail_seeds *s)
{
    AUTO(plain_wipe) struct plain plain;
    AUTO(buf_done) struct buf file = {0};
    struct wr w = wr_into(plain.bytes, sizeof plain.bytes);
    wr_u8(&w, (uint8_t)s->n);
    for (size_t i = 0; i < s->n; i++) {
        wr_bytes(&w, slice_of(s->seed[i], ED25519_SEED_BYTES));
    }
    TRY(sealed_make(seal, PURPOSE, random, wr_slice(&w), SEALED_OVERHEAD_BYTES + PLAIN_MAX, &file));
    struct disk_file *old = NULL;
    struct disk_file *there = NULL;
    if (d->ops->open(d, TRAIL_KEY_FILE, DISK_READ, &there) == OK) {
        d->ops->close(there);
        TRY(d->ops->open(d, TRAIL_KEY_FILE, DISK_WRITE, &old)); /* which would have made it */
    }
    enum err err = disk_save(d, TRAIL_KEY_FILE, buf_slice(&file));
    if (old != NULL) {
        if (err == OK) {
            err = disk_shred(d, old, random);
        }
        d->ops->close(old);
    }
    return err;
}

/* ---- what they are sealed under ---- */

struct secret_bytes {
    uint8_t bytes[TRAIL_SECRET_BYTES];
};

static void secret_wipe(struct secret_bytes *s)
{
    mem_wipe(s, sizeof *s);
}

enum err trail_key_seal(struct disk *d, struct slice root, const struct random_source *random,
                        uint8_t dst[32])
{
    AUTO(buf_wipe) struct buf file = {0};
    TRY(d->ops->make_dir(d, TRAIL_OWN_DIR));
    enum err err = disk_load(d, TRAIL_SECRET_FILE, TRAIL_SECRET_BYTES, &file);
    if (err == ERR_NOT_FOUND) {
        AUTO(secret_wipe) struct secret_bytes made;
        random->fill(random->ctx, made.bytes, sizeof made.bytes);
        TRY(disk_save(d, TRAIL_SECRET_FILE, slice_of(made.bytes, sizeof made.bytes)));
        err = buf_append(&file, slice_of(made.bytes, sizeof made.bytes), TRAIL_SECRET_BYTES);
    }
    TRY(err);
    if (file.n != TRAIL_SECRET_BYTES) {
        return ERR_MALFORMED;
    }
    return kdf_hkdf(root, buf_slice(&file), slice_text("sallyport audit key seal"), dst, 32);
}

static enum err shred_former(struct disk *d, const struct random_source *random)
{
    struct disk_file *f = NULL;
    TRY(d->ops->open(d, TRAIL_KEY_FILE_FORMER, DISK_WRITE, &f));
    enum err err = disk_shred(d, f, random);
    d->ops->close(f);
    TRY(err);
    return d->ops->remove(d, TRAIL_KEY_FILE_FORMER);
}

enum err trail_seeds_adopt(struct disk *d, struct slice root, struct slice seal,
                           const struct random_source *random)
{
    AUTO(trail_seeds_wipe) struct trail_seeds former = {0};
    AUTO(trail_seeds_wipe) struct trail_seeds present = {0};
    enum err err = load(d, TRAIL_KEY_FILE_FORMER, root, &former);
    if (err != OK) {
        return err == ERR_IO || err == ERR_NOMEM || err == ERR_DENIED ? err : OK;
    }
    err = trail_seeds_load(d, seal, &present);
    if (err == ERR_IO || err == ERR_NOMEM || err == ERR_DENIED) {
        return err;
    }
    if (err != OK) { /* one that opens is newer than what a crash, or somebody, left behind */
        TRY(trail_seeds_save(d, seal, random, &former));
    }
    return shred_former(d, random);
}

#include "service/watch/trail_key.h"

#include "base/mem.h"
#include "base/rd.h"
#include "base/wr.h"
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

enum err trail_seeds_load(struct disk *d, struct slice root, struct trail_seeds *ret)
{
    AUTO(buf_done) struct buf file = {0};
    AUTO(buf_wipe) struct buf plain = {0};
    TRY(disk_load(d, TRAIL_KEY_FILE, SEALED_OVERHEAD_BYTES + PLAIN_MAX, &file));
    TRY(sealed_open(root, PURPOSE, buf_slice(&file), &plain));
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

enum err trail_seeds_save(struct disk *d, struct slice root, const struct random_source *random,
                          const struct trail_seeds *s)
{
    AUTO(plain_wipe) struct plain plain;
    AUTO(buf_done) struct buf file = {0};
    struct wr w = wr_into(plain.bytes, sizeof plain.bytes);
    wr_u8(&w, (uint8_t)s->n);
    for (size_t i = 0; i < s->n; i++) {
        wr_bytes(&w, slice_of(s->seed[i], ED25519_SEED_BYTES));
    }
    TRY(sealed_make(root, PURPOSE, random, wr_slice(&w), SEALED_OVERHEAD_BYTES + PLAIN_MAX, &file));
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

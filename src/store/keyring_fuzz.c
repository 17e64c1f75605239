/* First byte: how the bytes come to be a keyring. 0: as they are; 1: as the plaintext of a base,
 * sealed rightly; else: behind a good file, each piece of it as an addition. What opens counts its
 * keys and saves itself again. */
#include "base/rd.h"
#include "base/wr.h"
#include "security/crypto/sealed.h"
#include "store/keyring.h"
#include "store/memdisk_private.h"

enum { FILE_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void base_add(struct slice master, const struct random_source *random, struct slice plain,
                     struct buf *file)
{
    static const uint8_t magic[12] = {'S', 'P', 'K', 'E', 'Y', 'S', 0, 1};
    enum err e = buf_append(file, slice_of(magic, sizeof magic), FILE_MAX);
    assert(e == OK);
    e = sealed_make(master, "keyring", random, plain, FILE_MAX, file);
    assert(e == OK);
    struct wr w = wr_into(file->p + 8, 4);
    wr_u32(&w, (uint32_t)(file->n - sizeof magic));
}

/* A base with a known chain key, then what the fuzzer says: pieces sealed under it, or raw. */
static void additions_add(struct slice master, const struct random_source *random, struct rd *r,
                          struct buf *file)
{
    static const uint8_t plain[1 + 32 + 32 + 4] = {1};
    base_add(master, random, slice_of(plain, sizeof plain), file);
    while (rd_left(r) > 2) {
        uint8_t how = rd_u8(r);
        size_t size = rd_u8(r);
        struct slice piece = rd_bytes(r, size < rd_left(r) ? size : rd_left(r));
        uint8_t *room = NULL;
        size_t at = file->n;
        enum err e = OK;
        if (how % 2 == 0) {
            e = buf_room(file, 4, FILE_MAX, &room);
            assert(e == OK);
            file->n += 4;
            e = sealed_make(slice_of(plain + 33, 32), "keyring addition", random, piece, FILE_MAX,
                            file);
            struct wr w = wr_into(file->p + at, 4);
            wr_u32(&w, (uint32_t)(file->n - at - 4));
        } else {
            e = buf_append(file, piece, FILE_MAX);
        }
        assert(e == OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const uint8_t zeros[32];
    uint64_t seed = 1;
    struct memdisk *disk = memdisk_new();
    struct keyring_setup setup = {.disk = &disk->disk,
                                  .master = slice_of(zeros, sizeof zeros),
                                  .random = random_seeded(&seed)};
    AUTO(buf_done) struct buf file = {0};
    struct rd r = rd_from(slice_of(data, n));
    uint8_t how = rd_u8(&r);
    enum err e = OK;
    if (how == 0) {
        e = buf_append(&file, rd_rest(&r), FILE_MAX);
    } else if (how == 1) {
        base_add(setup.master, &setup.random, rd_rest(&r), &file);
    } else {
        additions_add(setup.master, &setup.random, &r, &file);
    }
    assert(e == OK);
    e = disk_save(&disk->disk, KEYRING_FILE, buf_slice(&file));
    assert(e == OK);
    struct keyring *k = NULL;
    e = keyring_open(&setup, &k);
    assert(e == OK || e == ERR_CRYPTO || e == ERR_UNSUPPORTED);
    if (e == OK) {
        size_t n_keys = keyring_count(k);
        bool is_new = !keyring_has(k, 99);
        e = keyring_add(k, (uint64_t[]){99}, 1);
        assert(e == OK && keyring_count(k) == n_keys + is_new);
        k = keyring_free(k);
        e = keyring_open(&setup, &k);
        assert(e == OK && keyring_count(k) == n_keys + is_new && keyring_has(k, 99));
        keyring_free(k);
    }
    disk->disk.ops->free(&disk->disk);
    return 0;
}

/* A backup that somebody changed, and one that somebody made up under the right key: neither is
 * believed beyond what it can prove. The first byte decides; the second kind seals the rest of the
 * input as parts, each {u8 type, u16 n, bytes}. */
#include <assert.h>

#include "base/mem.h"
#include "base/rd.h"
#include "store/backup_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const uint8_t root[BACKUP_ROOT_BYTES] = {5};

static void read_all(struct backup *b)
{
    uint8_t bytes[512];
    for (size_t i = 0; i < backup_count(b); i++) {
        size_t got;
        enum err err = backup_read(b, i, 0, bytes, sizeof bytes, &got);
        assert(err == OK && got <= backup_size(b, i));
        err = backup_name_check(slice_text(backup_name(b, i)));
        assert(err == OK);
    }
}

/* Sealed parts as the input says. */
static void make_up(struct rd *r, struct buf *ret)
{
    static const uint8_t salt[BACKUP_SALT_BYTES];
    static uint8_t part[BACKUP_PART_MAX + BACKUP_PART_OVERHEAD];
    uint8_t head[BACKUP_HEAD_BYTES];
    struct backup_link link = {0};
    struct aead *a = NULL;
    backup_head_write(salt, 0, head);
    enum err err = backup_key(slice_of(root, sizeof root), slice_of(head, sizeof head), &a);
    assert(err == OK);
    err = buf_append(ret, slice_of(head, sizeof head), SIZE_MAX);
    while (rd_left(r) > 0) {
        enum backup_type type = (enum backup_type)(rd_u8(r) % 4 + 1);
        struct slice plain = slice_head(
            rd_bytes(r, rd_left(r) < 2 ? 0 : rd_u16(r) % (rd_left(r) + 1)), BACKUP_PART_MAX);
        err = backup_part_seal(a, &link, type, plain, part);
        assert(err == OK);
        err = buf_append(ret, slice_of(part, plain.n + BACKUP_PART_OVERHEAD), SIZE_MAX);
    }
    assert(err == OK);
    aead_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct rd r = rd_from(slice_of(data, n));
    struct disk *d = NULL;
    struct backup *b = NULL;
    struct buf file = {0};
    enum err err = backup_disk(NULL, &d);
    assert(err == OK);
    if (rd_u8(&r) % 2 == 0) {
        err = buf_append(&file, rd_rest(&r), SIZE_MAX);
    } else {
        make_up(&r, &file);
    }
    assert(err == OK);
    err = disk_save(d, "b", buf_slice(&file));
    assert(err == OK);
    if (backup_open(d, "b", slice_of(root, sizeof root), NULL, NULL, &b, NULL) == OK) {
        read_all(b);
    }
    backup_free(b);
    buf_done(&file);
    d->ops->free(d);
    return 0;
}

#include "base/mem.h"
#include "base/wr.h"
#include "store/backup_private.h"

struct backup_writer {
    struct disk *to;
    char *name;
    struct disk_file *file;
    struct aead *aead;
    struct backup_link link;
    uint64_t written;
    uint32_t n_files;
    bool is_whole;
    uint8_t plain[BACKUP_PIECE_BYTES];
    uint8_t part[BACKUP_PART_MAX + BACKUP_PART_OVERHEAD];
};

uint64_t backup_written(const struct backup_writer *w)
{
    return w->written;
}

static enum err put(struct backup_writer *w, struct slice bytes)
{
    TRY(w->to->ops->append(w->file, bytes));
    w->written += bytes.n;
    return OK;
}

static enum err put_part(struct backup_writer *w, enum backup_type type, struct slice plain)
{
    TRY(backup_part_seal(w->aead, &w->link, type, plain, w->part));
    return put(w, slice_of(w->part, plain.n + BACKUP_PART_OVERHEAD));
}

struct backup_writer *backup_writer_free(struct backup_writer *w)
{
    if (w == NULL) {
        return NULL;
    }
    if (w->file != NULL) {
        w->to->ops->close(w->file);
        if (!w->is_whole) {
            enum err err = w->to->ops->remove(w->to, w->name);
            (void)err; /* half a backup does not open */
        }
    }
    w->aead = aead_free(w->aead);
    mem_free(w->name);
    mem_wipe(w, sizeof *w);
    return mem_free(w);
}

static enum err make_file(struct backup_writer *w)
{
    struct disk_file *there;
    enum err err = w->to->ops->open(w->to, w->name, DISK_READ, &there);
    if (err == OK) {
        w->to->ops->close(there);
        return ERR_EXISTS;
    }
    return err == ERR_NOT_FOUND ? w->to->ops->open(w->to, w->name, DISK_APPEND, &w->file) : err;
}

enum err backup_begin(const struct backup_order *o, struct backup_writer **ret)
{
    AUTO(buf_done) struct buf head = {0};
    uint8_t salt[BACKUP_SALT_BYTES];
    uint8_t front[BACKUP_HEAD_BYTES];
    if (o->clear.n > BACKUP_CLEAR_MAX || o->manifest.n > BACKUP_MANIFEST_MAX) {
        return ERR_TOO_LARGE;
    }
    AUTO(backup_writer_autofree) struct backup_writer *w = mem_zalloc(sizeof *w);
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->to = o->to;
    w->name = mem_strdup(o->name);
    if (w->name == NULL) {
        return ERR_NOMEM;
    }
    o->random.fill(o->random.ctx, salt, sizeof salt);
    backup_head_write(salt, o->clear.n, front);
    TRY(buf_append(&head, slice_of(front, sizeof front), SIZE_MAX));
    TRY(buf_append(&head, o->clear, SIZE_MAX));
    TRY(backup_key(o->root, buf_slice(&head), &w->aead));
    TRY(make_file(w));
    TRY(put(w, buf_slice(&head)));
    TRY(put_part(w, BACKUP_MANIFEST, o->manifest));
    *ret = TAKE(w);
    return OK;
}

static enum err put_name(struct backup_writer *w, const char *path, uint64_t size, uint64_t stored)
{
    uint8_t bytes[8 + 8 + BACKUP_NAME_MAX];
    struct wr head = wr_into(bytes, sizeof bytes);
    TRY(backup_name_check(slice_text(path)));
    wr_u64(&head, size);
    wr_u64(&head, stored);
    wr_bytes(&head, slice_text(path));
    return put_part(w, BACKUP_FILE, wr_slice(&head));
}

/* Up to the last byte that is not zero. */
static enum err find_stored(struct backup_writer *w, struct disk *d, struct disk_file *f,
                            uint64_t size, uint64_t *ret)
{
    uint64_t end = size;
    while (end > 0) {
        size_t want = end < BACKUP_PIECE_BYTES ? (size_t)end : BACKUP_PIECE_BYTES;
        size_t got;
        TRY(d->ops->read_at(f, end - want, w->plain, want, &got));
        if (got != want) {
            return ERR_TRUNCATED;
        }
        while (got > 0 && w->plain[got - 1] == 0) {
            got--;
        }
        if (got > 0) {
            *ret = end - want + got;
            return OK;
        }
        end -= want;
    }
    *ret = 0;
    return OK;
}

static enum err put_contents(struct backup_writer *w, struct disk *d, struct disk_file *f,
                             const char *path)
{
    uint64_t size;
    uint64_t stored = 0;
    TRY(d->ops->size(f, &size));
    TRY(find_stored(w, d, f, size, &stored));
    TRY(put_name(w, path, size, stored));
    for (uint64_t at = 0; at < stored;) {
        uint64_t left = stored - at;
        size_t want = left < BACKUP_PIECE_BYTES ? (size_t)left : BACKUP_PIECE_BYTES;
        size_t got;
        TRY(d->ops->read_at(f, at, w->plain, want, &got));
        if (got != want) {
            return ERR_TRUNCATED;
        }
        TRY(put_part(w, BACKUP_DATA, slice_of(w->plain, got)));
        at += got;
    }
    return OK;
}

enum err backup_add(struct backup_writer *w, struct disk *d, const char *path)
{
    struct disk_file *f;
    if (w->n_files >= BACKUP_FILES_MAX) {
        return ERR_LIMIT;
    }
    TRY(d->ops->open(d, path, DISK_READ, &f));
    enum err err = put_contents(w, d, f, path);
    d->ops->close(f);
    TRY(err);
    w->n_files++;
    return OK;
}

enum err backup_end(struct backup_writer *w)
{
    uint8_t bytes[8 + 4];
    struct wr end = wr_into(bytes, sizeof bytes);
    wr_u64(&end, w->link.number);
    wr_u32(&end, w->n_files);
    TRY(put_part(w, BACKUP_END, wr_slice(&end)));
    TRY(w->to->ops->sync(w->file));
    w->is_whole = true;
    return OK;
}

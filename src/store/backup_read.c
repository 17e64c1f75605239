#include "base/mem.h"
#include "base/rd.h"
#include "store/backup_private.h"

struct stored_file {
    char name[BACKUP_NAME_MAX + 1];
    uint64_t size, stored; /* what is behind stored is zeros */
    uint64_t at;           /* of its first piece in the backup */
    uint64_t number;       /* of that part */
};

struct backup {
    struct disk *disk;
    struct disk_file *f;
    uint64_t size;
    struct aead *aead;
    struct buf manifest;
    struct buf files; /* of struct stored_file */
    size_t open_file; /* whose piece lies in plain; SIZE_MAX: none does */
    uint64_t open_piece;
    size_t n_plain;
    uint8_t plain[BACKUP_PIECE_BYTES];
    uint8_t part[BACKUP_PART_MAX + BACKUP_PART_OVERHEAD];
};

struct backup *backup_free(struct backup *b)
{
    if (b == NULL) {
        return NULL;
    }
    if (b->f != NULL) {
        b->disk->ops->close(b->f);
    }
    b->aead = aead_free(b->aead);
    buf_wipe(&b->manifest);
    buf_done(&b->files);
    mem_wipe(b, sizeof *b);
    return mem_free(b);
}

struct slice backup_manifest(const struct backup *b)
{
    return buf_slice(&b->manifest);
}

size_t backup_count(const struct backup *b)
{
    return b->files.n / sizeof(struct stored_file);
}

static const struct stored_file *file_at(const struct backup *b, size_t i)
{
    return (const struct stored_file *)(const void *)b->files.p + i;
}

const char *backup_name(const struct backup *b, size_t i)
{
    return file_at(b, i)->name;
}

uint64_t backup_size(const struct backup *b, size_t i)
{
    return file_at(b, i)->size;
}

/* ---- the head ---- */

static enum err load_head(struct disk *d, struct disk_file *f, struct buf *ret, size_t *ret_clear)
{
    uint8_t *room;
    size_t got;
    size_t n_clear;
    TRY(buf_room(ret, BACKUP_HEAD_BYTES, SIZE_MAX, &room));
    TRY(d->ops->read_at(f, 0, room, BACKUP_HEAD_BYTES, &got));
    TRY(backup_head_read(slice_of(room, got), &n_clear));
    ret->n += BACKUP_HEAD_BYTES;
    TRY(buf_room(ret, n_clear, SIZE_MAX, &room));
    TRY(d->ops->read_at(f, BACKUP_HEAD_BYTES, room, n_clear, &got));
    if (got != n_clear) {
        return ERR_TRUNCATED;
    }
    ret->n += n_clear;
    *ret_clear = n_clear;
    return OK;
}

static enum err head_refused(enum err e, const char *name, struct why *why)
{
    switch ((unsigned)e) {
    case ERR_NOT_FOUND:
        why_set(why, "%s is not there", name);
        break;
    case ERR_MALFORMED:
        why_set(why, "%s is no backup of Sallyport, or its beginning is damaged", name);
        break;
    case ERR_UNSUPPORTED:
        why_set(why, "%s was made by a later version; use that one", name);
        break;
    case ERR_TRUNCATED:
        why_set(why, "%s is cut off in its head: take another copy", name);
        break;
    default:
        why_set(why, "%s cannot be read: %s", name, err_name(e));
        break;
    }
    return e;
}

enum err backup_clear(struct disk *d, const char *name, struct buf *ret, struct why *why)
{
    AUTO(buf_done) struct buf head = {0};
    struct disk_file *f;
    size_t n_clear;
    enum err err = d->ops->open(d, name, DISK_READ, &f);
    if (err == OK) {
        err = load_head(d, f, &head, &n_clear);
        d->ops->close(f);
    }
    return err == OK ? buf_append(ret, slice_from(buf_slice(&head), BACKUP_HEAD_BYTES), SIZE_MAX)
                     : head_refused(err, name, why);
}

/* ---- all parts, once ---- */

struct walk {
    struct backup *b;
    uint64_t at; /* of the next part */
    struct backup_link link;
    uint64_t owed; /* bytes of the last file that are still to come */
    bool is_over;
};

static enum err take_file(struct walk *w, struct slice content)
{
    struct rd r = rd_from(content);
    struct stored_file f = {.at = w->at, .number = w->link.number};
    f.size = rd_u64(&r);
    f.stored = rd_u64(&r);
    struct slice name = rd_rest(&r);
    if (!rd_ok(&r) || w->owed > 0 || f.stored > f.size || f.size > INT64_MAX ||
        backup_name_check(name) != OK || !slice_to_text(name, f.name, sizeof f.name) ||
        backup_count(w->b) >= BACKUP_FILES_MAX) {
        return ERR_MALFORMED;
    }
    w->owed = f.stored;
    return buf_append(&w->b->files, slice_of(&f, sizeof f), SIZE_MAX);
}

static enum err take_end(struct walk *w, struct slice content)
{
    struct rd r = rd_from(content);
    uint64_t n_parts = rd_u64(&r);
    uint32_t n_files = rd_u32(&r);
    TRY(rd_finish(&r));
    if (n_parts + 1 != w->link.number || n_files != backup_count(w->b) || w->owed > 0) {
        return ERR_MALFORMED;
    }
    w->is_over = true;
    return OK;
}

static enum err take_part(struct walk *w, enum backup_type type, struct slice content)
{
    if ((type == BACKUP_MANIFEST) != (w->link.number == 1)) {
        return ERR_MALFORMED; /* first, and once */
    }
    switch (type) {
    case BACKUP_MANIFEST:
        return buf_append(&w->b->manifest, content, BACKUP_MANIFEST_MAX);
    case BACKUP_FILE:
        return take_file(w, content);
    case BACKUP_DATA:
        /* Pieces are full but for the last, so that a place in a file is found by division. */
        if (content.n == 0 || content.n > w->owed ||
            (content.n < BACKUP_PIECE_BYTES && content.n != w->owed)) {
            return ERR_MALFORMED;
        }
        w->owed -= content.n;
        return OK;
    case BACKUP_END:
        return take_end(w, content);
    }
    return ERR_MALFORMED;
}

static enum err next_part(struct walk *w)
{
    struct backup *b = w->b;
    enum backup_type type;
    size_t n;
    size_t got;
    TRY(b->disk->ops->read_at(b->f, w->at, b->part, sizeof b->part, &got));
    struct slice here = slice_of(b->part, got);
    TRY(backup_part_head(here, &type, &n));
    if (here.n < n + BACKUP_PART_OVERHEAD) {
        return ERR_TRUNCATED;
    }
    here = slice_head(here, n + BACKUP_PART_OVERHEAD);
    TRY(backup_part_open(b->aead, &w->link, here, b->plain));
    w->at += here.n;
    return take_part(w, type, slice_of(b->plain, n));
}

static enum err walk_refused(enum err e, const struct walk *w, const char *name, struct why *why)
{
    unsigned long long at = w->at;
    if (e == ERR_CRYPTO && w->link.number == 0) {
        why_set(why,
                "%s does not open with this keyring: it was made under another one, or its head is "
                "damaged",
                name);
    } else if (e == ERR_CRYPTO || e == ERR_MALFORMED) {
        why_set(why, "%s is damaged near byte %llu: take another copy of it", name, at);
    } else if (e == ERR_TRUNCATED) {
        why_set(why, "%s is cut off at byte %llu: take another copy of it", name,
                (unsigned long long)w->b->size);
    } else if (e == ERR_TRAILING) {
        why_set(why, "%s goes on behind its end at byte %llu: take another copy of it", name, at);
    } else {
        why_set(why, "%s cannot be read: %s", name, err_name(e));
    }
    return e;
}

static enum err walk_all(struct walk *w, void (*seen)(void *ctx, uint64_t bytes, uint64_t all),
                         void *ctx)
{
    while (!w->is_over) {
        TRY(next_part(w));
        if (seen != NULL) {
            seen(ctx, w->at, w->b->size);
        }
    }
    return w->at == w->b->size ? OK : ERR_TRAILING;
}

enum err backup_open(struct disk *d, const char *name, struct slice root,
                     void (*seen)(void *ctx, uint64_t bytes, uint64_t all), void *ctx,
                     struct backup **ret, struct why *why)
{
    AUTO(buf_done) struct buf head = {0};
    size_t n_clear = 0;
    AUTO(backup_autofree) struct backup *b = mem_zalloc(sizeof *b);
    if (b == NULL) {
        return ERR_NOMEM;
    }
    b->disk = d;
    b->open_file = SIZE_MAX;
    enum err err = d->ops->open(d, name, DISK_READ, &b->f);
    if (err == OK) {
        err = d->ops->size(b->f, &b->size);
    }
    if (err == OK) {
        err = load_head(d, b->f, &head, &n_clear);
    }
    if (err != OK) {
        return head_refused(err, name, why);
    }
    TRY(backup_key(root, buf_slice(&head), &b->aead));
    struct walk w = {.b = b, .at = head.n};
    err = walk_all(&w, seen, ctx);
    if (err != OK) {
        return walk_refused(err, &w, name, why);
    }
    *ret = TAKE(b);
    return OK;
}

/* ---- any place of a file ---- */

static enum err load_piece(struct backup *b, size_t i, uint64_t piece)
{
    const struct stored_file *f = file_at(b, i);
    enum { STEP = BACKUP_PIECE_BYTES + BACKUP_PART_OVERHEAD };
    uint64_t at = f->at + piece * STEP;
    uint64_t left = f->stored - piece * BACKUP_PIECE_BYTES;
    size_t n = left < BACKUP_PIECE_BYTES ? (size_t)left : BACKUP_PIECE_BYTES;
    struct backup_link link = {.number = f->number + piece};
    size_t got;
    b->open_file = SIZE_MAX;
    TRY(b->disk->ops->read_at(b->f, at - sizeof link.tag, link.tag, sizeof link.tag, &got));
    TRY(b->disk->ops->read_at(b->f, at, b->part, n + BACKUP_PART_OVERHEAD, &got));
    if (got != n + BACKUP_PART_OVERHEAD) {
        return ERR_CRYPTO;
    }
    TRY(backup_part_open(b->aead, &link, slice_of(b->part, got), b->plain));
    b->open_file = i;
    b->open_piece = piece;
    b->n_plain = n;
    return OK;
}

enum err backup_read(struct backup *b, size_t i, uint64_t at, void *dst, size_t n, size_t *ret_n)
{
    uint64_t size = file_at(b, i)->size;
    uint64_t stored = file_at(b, i)->stored;
    uint8_t *to = dst;
    size_t done = 0;
    if (at >= size) {
        n = 0;
    } else if (n > size - at) {
        n = (size_t)(size - at);
    }
    while (done < n && at < stored) {
        uint64_t piece = at / BACKUP_PIECE_BYTES;
        if (b->open_file != i || b->open_piece != piece) {
            TRY(load_piece(b, i, piece));
        }
        struct slice rest =
            slice_from(slice_of(b->plain, b->n_plain), (size_t)(at % BACKUP_PIECE_BYTES));
        struct slice take = slice_head(rest, n - done);
        slice_copy(to + done, take);
        done += take.n;
        at += take.n;
    }
    memset(to + done, 0, n - done);
    *ret_n = n;
    return OK;
}

enum err backup_copy(struct backup *b, size_t i, struct disk *d)
{
    struct disk_file *f;
    TRY(d->ops->open(d, backup_name(b, i), DISK_WRITE, &f));
    enum err err = OK;
    uint64_t stored = file_at(b, i)->stored;
    for (uint64_t piece = 0; err == OK && piece * BACKUP_PIECE_BYTES < stored; piece++) {
        err = load_piece(b, i, piece);
        if (err == OK) {
            err = d->ops->write_at(f, piece * BACKUP_PIECE_BYTES, slice_of(b->plain, b->n_plain));
        }
    }
    if (err == OK && stored < backup_size(b, i)) {
        err = d->ops->write_at(f, backup_size(b, i) - 1, slice_of("", 1));
    }
    if (err == OK) {
        err = d->ops->sync(f);
    }
    d->ops->close(f);
    return err;
}

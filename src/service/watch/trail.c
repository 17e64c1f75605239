/* The writer of the trail. */
#include "service/watch/trail.h"

#include "base/mem.h"
#include "service/watch/trail_private.h"

struct trail {
    struct disk *disk;
    struct random_source random;
    uint8_t root[TRAIL_ROOT_BYTES];
    uint64_t file_bytes;
    uint32_t number; /* of the file */
    struct disk_file *file;
    uint64_t size;
    struct trail_seal seal; /* of the opening; none before its first line */
    uint64_t next_number;
    uint8_t record[TRAIL_RECORD_MAX];
};

static enum err open_file(struct trail *t)
{
    char name[TRAIL_NAME_BYTES];
    trail_name(t->number, name);
    TRY(t->disk->ops->open(t->disk, name, DISK_APPEND, &t->file));
    return t->disk->ops->size(t->file, &t->size);
}

static void close_file(struct trail *t)
{
    if (t->file != NULL) {
        t->disk->ops->close(t->file);
        t->file = NULL;
    }
}

/* The oldest files go until TRAIL_FILES_MAX are left. */
static enum err forget_old(struct trail *t)
{
    AUTO(trail_files_done) struct trail_files files = {0};
    TRY(trail_files_list(t->disk, &files));
    size_t n = trail_files_n(&files);
    for (size_t i = 0; i + TRAIL_FILES_MAX < n; i++) {
        char name[TRAIL_NAME_BYTES];
        trail_name(trail_files_at(&files, i), name);
        enum err err = t->disk->ops->remove(t->disk, name);
        if (err != OK && err != ERR_NOT_FOUND) {
            return err;
        }
    }
    return OK;
}

/* Behind what was written, however a write before went. */
static enum err put(struct trail *t, struct slice bytes)
{
    enum err err = t->disk->ops->append(t->file, bytes);
    enum err sized = t->disk->ops->size(t->file, &t->size);
    return err != OK ? err : sized;
}

static enum err begin_opening(struct trail *t)
{
    AUTO(trail_seal_done) struct trail_seal seal = {0};
    uint8_t salt[TRAIL_SALT_BYTES];
    uint8_t heads[TRAIL_HEADS * TRAIL_HEAD_BYTES];
    t->random.fill(t->random.ctx, salt, sizeof salt);
    TRY(trail_seal_new(slice_of(t->root, sizeof t->root), salt, &seal));
    for (uint32_t i = 0; i < TRAIL_HEADS; i++) {
        size_t at = (size_t)i * TRAIL_HEAD_BYTES;
        struct trail_place place = {.file = t->number, .offset = t->size + at};
        TRY(trail_head_write(&seal, place, i, heads + at));
    }
    TRY(put(t, slice_of(heads, sizeof heads)));
    t->seal = seal;
    seal.aead = NULL;
    t->next_number = 0;
    return OK;
}

/* A number is used up also when its record did not reach the file: its bytes may lie there. */
static enum err seal_and_put(struct trail *t, struct slice line)
{
    struct trail_place place = {.file = t->number, .offset = t->size};
    TRY(trail_record_write(&t->seal, place, t->next_number++, line, t->record));
    return put(t, slice_of(t->record, TRAIL_RECORD_MIN + line.n));
}

static void end_opening(struct trail *t)
{
    if (t->seal.aead != NULL) {
        enum err err = seal_and_put(t, (struct slice){0});
        (void)err; /* without it the end counts as torn, and nothing is lost by that */
        trail_seal_done(&t->seal);
    }
}

static enum err next_file(struct trail *t)
{
    end_opening(t);
    enum err err = t->disk->ops->sync(t->file);
    close_file(t);
    TRY(err);
    TRY(forget_old(t));
    t->number++;
    return OK;
}

enum err trail_append(struct trail *t, struct slice line)
{
    if (line.n == 0 || line.n > TRAIL_LINE_MAX) {
        return ERR_TOO_LARGE;
    }
    if (t->file != NULL && t->size > 0 && t->size + TRAIL_RECORD_MIN + line.n > t->file_bytes) {
        TRY(next_file(t));
    }
    if (t->file == NULL) {
        TRY(open_file(t));
    }
    if (t->seal.aead == NULL) {
        TRY(begin_opening(t));
    }
    return seal_and_put(t, line);
}

enum err trail_sync(struct trail *t)
{
    return t->file != NULL ? t->disk->ops->sync(t->file) : OK;
}

/* The newest file goes on, unless it begins with something that is not ours (a later format, a bad
 * sector): that is left as it is. */
static enum err find_file(struct trail *t)
{
    AUTO(trail_files_done) struct trail_files files = {0};
    AUTO(trail_seal_done) struct trail_seal seal = {0};
    uint8_t head[TRAIL_HEADS * TRAIL_HEAD_BYTES];
    size_t got;
    uint32_t copy;
    TRY(trail_files_list(t->disk, &files));
    size_t n = trail_files_n(&files);
    t->number = n > 0 ? trail_files_at(&files, n - 1) : 1;
    TRY(open_file(t));
    TRY(t->disk->ops->read_at(t->file, 0, head, sizeof head, &got));
    enum err err = OK;
    for (uint32_t i = 0; i < TRAIL_HEADS && got == sizeof head; i++) {
        size_t at = (size_t)i * TRAIL_HEAD_BYTES;
        struct trail_place place = {.file = t->number, .offset = at};
        err = trail_head_read(slice_of(t->root, sizeof t->root), place,
                              slice_of(head + at, TRAIL_HEAD_BYTES), &seal, &copy);
        if (err != ERR_NOT_FOUND) {
            return err;
        }
    }
    if (t->size == 0 || t->number == UINT32_MAX) {
        return OK;
    }
    close_file(t);
    t->number++;
    return open_file(t);
}

enum err trail_open(const struct trail_setup *s, struct trail **ret)
{
    AUTO(trail_autofree) struct trail *t = mem_zalloc(sizeof *t);
    if (t == NULL) {
        return ERR_NOMEM;
    }
    if (s->root.n != TRAIL_ROOT_BYTES) {
        return ERR_CRYPTO;
    }
    t->disk = s->disk;
    t->random = s->random;
    t->file_bytes = s->file_bytes > 0 ? s->file_bytes : TRAIL_FILE_BYTES;
    memcpy(t->root, s->root.p, sizeof t->root);
    TRY(t->disk->ops->make_dir(t->disk, TRAIL_DIR));
    TRY(find_file(t));
    *ret = TAKE(t);
    return OK;
}

struct trail *trail_free(struct trail *t)
{
    if (t == NULL) {
        return NULL;
    }
    end_opening(t);
    if (t->file != NULL) {
        enum err err = t->disk->ops->sync(t->file);
        (void)err; /* the next reader finds what is there */
        close_file(t);
    }
    trail_seal_done(&t->seal);
    mem_wipe(t, sizeof *t);
    return mem_free(t);
}

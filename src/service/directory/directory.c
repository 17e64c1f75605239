#include "service/directory/directory.h"

#include <assert.h>

#include "base/mem.h"
#include "security/crypto/kdf.h"
#include "security/crypto/sealed.h"
#include "service/directory/directory_file_private.h"
#include "service/directory/directory_private.h"

#define PURPOSE "directory"

enum { INDEX_KEY_BYTES = 32 };

struct directory *directory_free(struct directory *d)
{
    if (d != NULL) {
        directory_version_unref(d->current);
        directory_version_unref(d->draft);
        d->master = secret_free(d->master);
        d->index_key = secret_free(d->index_key);
        d->guard = credential_guard_unref(d->guard);
        mem_free(d);
    }
    return NULL;
}

const struct directory_version *directory_current(const struct directory *d)
{
    return directory_version_ref(d->current);
}

/* ---- saving ---- */

static enum err save(struct directory *d, const struct directory_version *v)
{
    AUTO(buf_wipe) struct buf text = {0};
    AUTO(buf_done) struct buf file = {0};
    TRY(directory_file_encode(v, &text));
    TRY(sealed_make(secret_bytes(d->master), PURPOSE, &d->random, buf_slice(&text),
                    DIRECTORY_FILE_MAX, &file));
    return disk_save(d->disk, DIRECTORY_FILE, buf_slice(&file));
}

static enum err load(const struct directory *d, const struct siphash_key *key,
                     struct directory_version **ret)
{
    AUTO(buf_done) struct buf file = {0};
    AUTO(buf_wipe) struct buf text = {0};
    TRY(disk_load(d->disk, DIRECTORY_FILE, DIRECTORY_FILE_MAX, &file));
    enum err err = sealed_open(secret_bytes(d->master), PURPOSE, buf_slice(&file), &text);
    TRY(err == OK || err == ERR_NOMEM ? err : ERR_CRYPTO);
    err = directory_file_decode(buf_slice(&text), key, d->guard, ret);
    return err == ERR_UNSUPPORTED ? ERR_CONFIG : err;
}

static enum err prepare(const struct directory_setup *s, struct siphash_key *ret_key,
                        struct directory **ret)
{
    AUTO(directory_autofree) struct directory *d = mem_zalloc(sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    uint8_t index_key[INDEX_KEY_BYTES];
    d->disk = s->disk;
    d->random = s->random;
    TRY(secret_new(s->master, &d->master));
    TRY(credential_guard_new(&d->random, &d->guard));
    TRY(kdf_hkdf(s->master, (struct slice){0}, slice_text("sallyport directory fingerprints"),
                 index_key, sizeof index_key));
    enum err err = secret_new(slice_of(index_key, sizeof index_key), &d->index_key);
    mem_wipe(index_key, sizeof index_key);
    TRY(err);
    ret_key->k0 = random_u64(&s->random);
    ret_key->k1 = random_u64(&s->random);
    *ret = TAKE(d);
    return OK;
}

enum err directory_create(const struct directory_setup *s, struct directory **ret)
{
    struct disk_file *file = NULL;
    enum err err = s->disk->ops->open(s->disk, DIRECTORY_FILE, DISK_READ, &file);
    if (err == OK) {
        s->disk->ops->close(file);
        return ERR_EXISTS;
    }
    TRY(err == ERR_NOT_FOUND ? OK : err);
    struct siphash_key key;
    AUTO(directory_autofree) struct directory *d = NULL;
    TRY(prepare(s, &key, &d));
    TRY(version_new(&key, &d->current));
    TRY(save(d, d->current));
    *ret = TAKE(d);
    return OK;
}

enum err directory_open(const struct directory_setup *s, struct directory **ret)
{
    struct siphash_key key;
    AUTO(directory_autofree) struct directory *d = NULL;
    TRY(prepare(s, &key, &d));
    TRY(load(d, &key, &d->current));
    *ret = TAKE(d);
    return OK;
}

/* ---- changing ---- */

enum err change_begin(const struct directory *d, struct directory_version **ret)
{
    return version_copy(d->draft != NULL ? d->draft : d->current, ret);
}

enum err change_finish(struct directory *d, struct directory_version **next)
{
    if (d->in_batch) {
        directory_version_unref(d->draft);
        d->draft = TAKE(*next);
        return OK;
    }
    TRY(save(d, *next));
    directory_version_unref(d->current);
    d->current = TAKE(*next);
    return OK;
}

void directory_begin(struct directory *d)
{
    assert(!d->in_batch);
    d->in_batch = true;
}

enum err directory_commit(struct directory *d)
{
    assert(d->in_batch);
    if (d->draft != NULL) {
        TRY(save(d, d->draft));
        directory_version_unref(d->current);
        d->current = TAKE(d->draft);
    }
    d->in_batch = false;
    return OK;
}

void directory_rollback(struct directory *d)
{
    directory_version_unref(d->draft);
    d->draft = NULL;
    d->in_batch = false;
}

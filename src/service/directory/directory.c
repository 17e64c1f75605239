#include "service/directory/directory.h"

#include <assert.h>

#include "base/mem.h"
#include "service/directory/directory_private.h"

struct directory *directory_free(struct directory *d)
{
    if (d != NULL) {
        directory_version_unref(d->current);
        directory_version_unref(d->draft);
        d->fingerprint_key = secret_free(d->fingerprint_key);
        id_list_done(&d->erase);
        id_list_done(&d->unsure_principals);
        id_list_done(&d->unsure_exceptions);
        id_list_done(&d->unsettled);
        d->guard = credential_guard_unref(d->guard);
        mem_free(d);
    }
    return NULL;
}

const struct directory_version *directory_current(const struct directory *d)
{
    return directory_version_ref(d->current);
}

const struct directory_version *directory_latest(const struct directory *d)
{
    return directory_version_ref(d->draft != NULL ? d->draft : d->current);
}

const struct directory_damage *directory_damage(const struct directory *d)
{
    return &d->damage;
}

/* ---- life ---- */

enum err directory_prepare(const struct directory_setup *s, struct slice fingerprint_key,
                           struct directory **ret)
{
    AUTO(directory_autofree) struct directory *d = mem_zalloc(sizeof *d);
    if (d == NULL) {
        return ERR_NOMEM;
    }
    assert((s->log == NULL) == (s->keyring == NULL));
    d->log = s->log;
    d->keyring = s->keyring;
    d->random = s->random;
    d->ages = s->ages;
    d->key = (struct siphash_key){random_u64(&s->random), random_u64(&s->random)};
    TRY(credential_guard_new(&d->random, &d->guard));
    if (fingerprint_key.n > 0) {
        TRY(secret_new(fingerprint_key, &d->fingerprint_key));
    }
    *ret = TAKE(d);
    return OK;
}

enum err directory_scram_key(struct directory *d)
{
    return digest_hmac(secret_bytes(d->fingerprint_key), slice_text("sallyport scram salts"),
                       &d->current->scram_key);
}

static enum err check_absent(struct log *log)
{
    bool has = false;
    TRY(directory_has_head(log, &has));
    return has ? ERR_EXISTS : OK;
}

enum err directory_create(const struct directory_setup *s, struct directory **ret)
{
    uint8_t key[FINGERPRINT_KEY_BYTES];
    AUTO(directory_autofree) struct directory *d = NULL;
    TRY(s->log != NULL ? check_absent(s->log) : OK);
    s->random.fill(s->random.ctx, key, sizeof key);
    enum err err = directory_prepare(s, slice_of(key, sizeof key), &d);
    mem_wipe(key, sizeof key);
    TRY(err);
    TRY(version_new(&d->key, &d->current));
    d->current->ages = d->ages;
    TRY(directory_scram_key(d));
    TRY(directory_save(d, NULL, d->current));
    *ret = TAKE(d);
    return OK;
}

enum err directory_open(const struct directory_setup *s, struct directory **ret)
{
    AUTO(directory_autofree) struct directory *d = NULL;
    TRY(directory_prepare(s, (struct slice){0}, &d));
    TRY(directory_load(d));
    TRY(directory_scram_key(d));
    TRY(directory_find_unsettled(d));
    d->current->ages = d->ages;
    /* On a disk that is full or fails it stays due; nobody is kept from connecting for it. */
    (void)!directory_erase(d);
    *ret = TAKE(d);
    return OK;
}

/* ---- changing ---- */

enum err change_begin(const struct directory *d, struct directory_version **ret)
{
    TRY(version_copy(d->draft != NULL ? d->draft : d->current, ret));
    (*ret)->ages = d->ages;
    return OK;
}

enum err change_finish(struct directory *d, struct directory_version **next)
{
    if (d->in_batch) {
        directory_version_unref(d->draft);
        d->draft = TAKE(*next);
        return OK;
    }
    TRY(directory_save(d, d->current, *next));
    directory_version_unref(d->current);
    d->current = TAKE(*next);
    return OK;
}

void directory_begin(struct directory *d)
{
    assert(!d->in_batch);
    d->in_batch = true;
}

bool directory_is_batch(const struct directory *d)
{
    return d->in_batch;
}

enum err directory_commit(struct directory *d)
{
    assert(d->in_batch);
    if (d->draft != NULL) {
        TRY(directory_save(d, d->current, d->draft));
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

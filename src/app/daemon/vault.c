#include "app/daemon/vault.h"

#include <pthread.h>
#include <time.h>

#include "base/log.h"
#include "service/directory/directory.h"
#include "service/pki/master_key.h"
#include "service/pki/pki.h"

/* ---- patience: somebody says that the opening still goes on ---- */

enum { PROGRESS_S = 2 };

struct patience {
    const struct vault_setup *setup;
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool is_over;
    pthread_t thread;
    bool is_running;
};

static void *patience_thread(void *arg)
{
    struct patience *p = arg;
    struct timespec at;
    unsigned seconds = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    (void)pthread_mutex_lock(&p->lock);
    while (!p->is_over) {
        at.tv_sec += PROGRESS_S;
        int e = 0;
        while (!p->is_over && e == 0) {
            e = pthread_cond_clockwait(&p->over, &p->lock, CLOCK_MONOTONIC, &at);
        }
        seconds += PROGRESS_S;
        if (!p->is_over) {
            p->setup->progress(p->setup->ctx, seconds);
        }
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Without a thread nobody hears of it; the opening itself does not need one. */
static void patience_begin(struct patience *p, const struct vault_setup *s)
{
    *p = (struct patience){.setup = s};
    if (s->progress != NULL && pthread_mutex_init(&p->lock, NULL) == 0 &&
        pthread_cond_init(&p->over, NULL) == 0) {
        p->is_running = pthread_create(&p->thread, NULL, patience_thread, p) == 0;
    }
}

static void patience_end(struct patience *p)
{
    if (p->is_running) {
        (void)pthread_mutex_lock(&p->lock);
        p->is_over = true;
        (void)pthread_cond_signal(&p->over);
        (void)pthread_mutex_unlock(&p->lock);
        (void)pthread_join(p->thread, NULL);
        (void)pthread_cond_destroy(&p->over);
        (void)pthread_mutex_destroy(&p->lock);
    }
}

/* ---- opening ---- */

static enum err open_log(const struct vault_setup *s, struct vault *v, struct why *why)
{
    TRY(committer_new(&s->clock, &v->committer));
    struct log_setup setup = {.disk = s->disk,
                              .keyring = v->keyring,
                              .random = s->random,
                              .clock = s->clock,
                              .n_writers = s->n_workers,
                              .segment_bytes = s->settings->segment_bytes,
                              .keep_bytes = s->settings->keep_bytes,
                              .given_up = s->given_up,
                              .ctx = v->committer,
                              .event = committer_event,
                              .wake = committer_wake};
    struct patience patience;
    patience_begin(&patience, s);
    enum err err = log_open(&setup, &v->log, &v->report, why);
    patience_end(&patience);
    if (err != OK && why->text[0] == '\0') {
        why_set(why, "the store (DIR/" STORE_DIR ") does not open: %s", err_name(err));
    }
    return err;
}

/* The data directory of a former version: all under the master key itself, and no keyring. Its
 * directory.sealed goes last, so an upgrade that was cut short begins anew. */
#define FORMER_DIRECTORY "directory.sealed"

static bool is_former(struct disk *disk)
{
    struct disk_file *f = NULL;
    if (disk->ops->open(disk, FORMER_DIRECTORY, DISK_READ, &f) != OK) {
        return false;
    }
    disk->ops->close(f);
    return true;
}

static enum err upgrade(const struct vault_setup *s, struct vault *v, struct slice master,
                        struct why *why)
{
    struct directory_setup directory = {.log = v->log, .keyring = v->keyring, .random = s->random};
    log_line(LOG_NOTICE,
             "upgrading the data directory: keys into the keyring, devices into the store");
    TRY(pki_reseal(s->disk, master, keyring_root(v->keyring), &s->random, why));
    enum err err = directory_import(&directory, s->disk, master);
    if (err != OK && err != ERR_NOT_FOUND) {
        why_set(why, "DIR/" FORMER_DIRECTORY " cannot be taken into the store: %s", err_name(err));
        return err;
    }
    return OK;
}

static enum err try_key(const struct vault_setup *s, const struct vault_key *key, struct vault *v,
                        struct secret **ret_master, struct why *why)
{
    AUTO(secret_autofree) struct secret *master = NULL;
    TRY(master_key_read(key->fd, key->name, key->group_may_read, &master, why));
    struct keyring_setup setup = {
        .disk = s->disk, .master = secret_bytes(master), .random = s->random};
    enum err err = keyring_open(&setup, &v->keyring);
    if (err == ERR_NOT_FOUND && is_former(s->disk)) {
        err = keyring_create(&setup, &v->keyring);
    }
    if (err == OK) {
        *ret_master = TAKE(master);
    }
    if (err == ERR_CRYPTO) {
        why_set(why,
                "DIR/" KEYRING_FILE " does not open with %s: it belongs to another data directory, "
                "or is an old one (after `master-key rotate` only the new one opens)",
                key->name);
    } else if (err != OK) {
        why_set(why, "DIR/" KEYRING_FILE ": %s%s", err_name(err),
                err == ERR_NOT_FOUND
                    ? ". Without it nothing in DIR can be read: put it back from where it is kept"
                    : "");
    }
    return err;
}

MUST_USE enum err vault_open(const struct vault_setup *s, const struct vault_key *keys,
                             size_t n_keys, struct vault *ret, size_t *ret_opened_by,
                             struct why *why)
{
    *ret = (struct vault){.disk = s->disk};
    AUTO(secret_autofree) struct secret *master = NULL;
    enum err first = ERR_NOT_FOUND;
    for (size_t i = 0; i < n_keys && ret->keyring == NULL; i++) {
        struct why other = {{0}}; /* the first key's words are the useful ones */
        enum err err = try_key(s, &keys[i], ret, &master, i == 0 ? why : &other);
        first = i == 0 ? err : first;
        *ret_opened_by = i;
    }
    if (ret->keyring == NULL) {
        return first;
    }
    TRY(open_log(s, ret, why));
    return is_former(s->disk) ? upgrade(s, ret, secret_bytes(master), why) : OK;
}

MUST_USE enum err vault_create(const struct vault_setup *s, struct slice master, struct vault *ret,
                               struct why *why)
{
    *ret = (struct vault){.disk = s->disk};
    struct keyring_setup setup = {.disk = s->disk, .master = master, .random = s->random};
    enum err err = keyring_create(&setup, &ret->keyring);
    if (err == OK) {
        err = s->disk->ops->make_dir(s->disk, STORE_DIR);
    }
    if (err != OK) {
        why_set(why, "keyring and store cannot be made: %s", err_name(err));
        return err;
    }
    return open_log(s, ret, why);
}

void vault_close(struct vault *v)
{
    v->log = log_free(v->log);
    v->committer = committer_free(v->committer);
    v->keyring = keyring_free(v->keyring);
}

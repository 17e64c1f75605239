#include "app/daemon/vault.h"

#include "base/log.h"
#include "service/directory/directory.h"
#include "service/pki/master_key.h"
#include "service/pki/pki.h"

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
                              .progress = s->progress,
                              .ctx = v->committer,
                              .event = committer_event,
                              .wake = committer_wake};
    enum err err = log_open(&setup, &v->log, &v->report, why);
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

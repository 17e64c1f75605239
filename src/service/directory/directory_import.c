/* The directory of former versions: one file under the master key. */
#include "base/mem.h"
#include "security/crypto/kdf.h"
#include "security/crypto/sealed.h"
#include "service/directory/directory_file_private.h"
#include "service/directory/directory_private.h"

#define PURPOSE          "directory"
#define FINGERPRINT_INFO "sallyport directory fingerprints"

static enum err read_file(const struct directory *d, struct slice master, struct slice file,
                          struct directory_version **ret)
{
    AUTO(buf_wipe) struct buf text = {0};
    enum err err = sealed_open(master, PURPOSE, file, &text);
    TRY(err == OK || err == ERR_NOMEM ? err : ERR_CRYPTO);
    err = directory_file_decode(buf_slice(&text), &d->key, d->guard, ret);
    return err == ERR_UNSUPPORTED ? ERR_CONFIG : err;
}

/* Secrets that are registered were fingerprinted under a key that came from the master. */
static enum err prepare(const struct directory_setup *s, struct slice master,
                        struct directory **ret)
{
    uint8_t key[FINGERPRINT_KEY_BYTES];
    TRY(kdf_hkdf(master, (struct slice){0}, slice_text(FINGERPRINT_INFO), key, sizeof key));
    enum err err = directory_prepare(s, slice_of(key, sizeof key), ret);
    mem_wipe(key, sizeof key);
    return err;
}

/* The file has every device's secrets under the master: a device that is removed later must not be
 * readable in what a file system keeps of removed files. */
static enum err overwrite(struct disk *disk, size_t n)
{
    static const uint8_t zeros[64 * 1024];
    struct disk_file *f = NULL;
    enum err err = disk->ops->open(disk, DIRECTORY_FILE, DISK_WRITE, &f);
    TRY(err);
    for (size_t at = 0; err == OK && at < n; at += sizeof zeros) {
        size_t part = n - at < sizeof zeros ? n - at : sizeof zeros;
        err = disk->ops->write_at(f, at, slice_of(zeros, part));
    }
    if (err == OK) {
        err = disk->ops->sync(f);
    }
    disk->ops->close(f);
    return err;
}

enum err directory_import(const struct directory_setup *s, struct disk *disk, struct slice master)
{
    AUTO(buf_done) struct buf file = {0};
    AUTO(directory_autofree) struct directory *d = NULL;
    bool is_done = false;
    TRY(disk_load(disk, DIRECTORY_FILE, DIRECTORY_FILE_MAX, &file));
    TRY(directory_has_head(s->log, &is_done));
    if (!is_done) {
        TRY(prepare(s, master, &d));
        TRY(read_file(d, master, buf_slice(&file), &d->current));
        TRY(directory_save_all(d, d->current));
    }
    TRY(overwrite(disk, file.n));
    return disk->ops->remove(disk, DIRECTORY_FILE);
}

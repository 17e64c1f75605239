#include "service/pki/ticket_file.h"

#include "security/crypto/sealed.h"

static const char PURPOSE[] = "tls tickets";

enum { FILE_MAX = TLS_TICKETS_SAVED_MAX + SEALED_OVERHEAD_BYTES };

/* What is overwritten must be held open while the new file takes its name. */
static enum err open_former(struct disk *disk, struct disk_file **ret)
{
    struct disk_file *probe = NULL;
    *ret = NULL;
    enum err err = disk->ops->open(disk, TICKET_FILE, DISK_READ, &probe);
    if (err != OK) {
        return err == ERR_NOT_FOUND ? OK : err;
    }
    disk->ops->close(probe);
    return disk->ops->open(disk, TICKET_FILE, DISK_WRITE, ret);
}

enum err ticket_file_save(struct disk *disk, struct slice root, const struct random_source *random,
                          struct tls_tickets *t)
{
    AUTO(buf_wipe) struct buf keys = {0};
    AUTO(buf_done) struct buf file = {0};
    struct disk_file *former = NULL;
    TRY(tls_tickets_save(t, &keys));
    TRY(sealed_make(root, PURPOSE, random, buf_slice(&keys), FILE_MAX, &file));
    TRY(open_former(disk, &former));
    enum err err = disk_save(disk, TICKET_FILE, buf_slice(&file));
    if (former != NULL) {
        err = err == OK ? disk_shred(disk, former, random) : err;
        disk->ops->close(former);
    }
    return err;
}

enum err ticket_file_load(struct disk *disk, struct slice root, struct tls_tickets *t)
{
    AUTO(buf_done) struct buf file = {0};
    AUTO(buf_wipe) struct buf keys = {0};
    TRY(disk_load(disk, TICKET_FILE, FILE_MAX, &file));
    TRY(sealed_open(root, PURPOSE, buf_slice(&file), &keys));
    return tls_tickets_load(t, buf_slice(&keys));
}
